/*
 * The table of processes: a fixed number of entries, found by pid, and two lists of them in order of age.
 * Used by the tracker (tracker.c), in its thread; no rule about events is in here.
 */
#ifndef WVU_PROCESSES_H
#define WVU_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/sample.h"
#include "winvirtue/status.h"

#define WVU_PROCESS_NONE UINT32_MAX

enum wvu_process_state {
    WVU_PROCESS_FREE,
    WVU_PROCESS_UNKNOWN, /* an event named its pid; its key is not known */
    WVU_PROCESS_WAITING, /* forked and not announced: it may exec yet */
    WVU_PROCESS_ANNOUNCED,
    WVU_PROCESS_ENDED /* kept for a while, to know late reports for what they are */
};

enum wvu_process_list {
    WVU_LIST_NONE,
    WVU_LIST_WAITING, /* oldest fork first; without those whose exec has begun */
    WVU_LIST_ENDED,
    WVU_LISTS
};

struct wvu_process {
    struct wvu_sample_task task; /* pid always; the rest when state is not UNKNOWN */
    uint64_t time;               /* of its fork */
    uint64_t exec_time;          /* when its exec began */
    uint64_t described;          /* until then a walk told what it runs; 0: no walk did */
    uint64_t as_parent;          /* what the filter has to know of it when it judges its children */
    uint32_t wanted;             /* the kinds of its events that are wanted, as the filter judged */
    uint32_t program;            /* chain in the tracker's blocks: what it runs; WVU_BLOCK_NONE */
    uint32_t held_first;         /* chains: images that wait for its announcement */
    uint32_t held_last;
    uint32_t held_count;
    uint32_t walk;      /* the last walk that saw it, or the one before it appeared */
    uint32_t exec_walk; /* the last walk before its exec began */
    uint32_t next;      /* in its bucket, or in the free list */
    uint32_t older;     /* in its list */
    uint32_t newer;
    uint8_t state;
    uint8_t list;
    bool exec_begun;   /* images belong to a program that is not announced yet */
    bool task_known;   /* false: of `task` only pid and key */
    bool is_protected; /* the filter says that nobody may end it */
};

struct wvu_processes {
    struct wvu_process *entries;
    uint32_t *buckets;
    uint32_t count;
    uint32_t mask; /* of the buckets */
    uint32_t free;
    uint32_t ended_max;
    uint32_t in_list[WVU_LISTS];
    uint32_t oldest[WVU_LISTS];
    uint32_t newest[WVU_LISTS];
    uint32_t used; /* entries that are neither FREE nor ENDED */
};

wvu_status wvu_processes_create(struct wvu_processes *table, uint32_t count); /* PASSIVE */
void wvu_processes_destroy(struct wvu_processes *table); /* also a zeroed one */

/* The entry of a pid: there is at most one. NULL when there is none. */
struct wvu_process *wvu_processes_find(const struct wvu_processes *table, uint32_t pid);

/* A new entry for a pid that has none: state UNKNOWN, all else empty. Takes the place of the process that
 * ended longest ago when nothing is free. NULL: all of them live. */
struct wvu_process *wvu_processes_take(struct wvu_processes *table, uint32_t pid);

/* The entry is free again. What it refers to in the blocks is the caller's to give back. */
void wvu_processes_release(struct wvu_processes *table, struct wvu_process *process);

/* Its state becomes ENDED; it stays to be found until it is the oldest of too many. */
void wvu_processes_end(struct wvu_processes *table, struct wvu_process *process);

/* Adds it as the newest of a list; removes it from the one it is in. */
void wvu_processes_enlist(struct wvu_processes *table, struct wvu_process *process,
                          enum wvu_process_list list);
void wvu_processes_delist(struct wvu_processes *table, struct wvu_process *process);
struct wvu_process *wvu_processes_oldest(const struct wvu_processes *table,
                                         enum wvu_process_list list);

#endif
