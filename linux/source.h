/*
 * The event source of the Linux host: the kernel's events as they become the probes' records. See source.c.
 */
#ifndef WVU_SOURCE_H
#define WVU_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "winvirtue/status.h"

/* One record of any size fits the smallest, with room to spare. */
#define WVU_RING_BYTES_DEFAULT (4u << 20)
#define WVU_RING_BYTES_MIN     (64u << 10)
#define WVU_RING_BYTES_MAX     (64u << 20)

#define WVU_PROCESSES_DEFAULT 16384u
#define WVU_PROCESSES_MIN     64u
#define WVU_PROCESSES_MAX     4194304u /* as many as there can be pids */

struct wvu_probe;
struct wvu_source;

struct wvu_source_settings {
    uint32_t ring_bytes; /* for each CPU; a power of two; 0: the default */
    uint32_t processes;  /* followed at a time, each takes about 256 bytes; 0: the default */
};

/* What a probe wants from the source. LISTS: no events, but the lists of what runs (wvu_source_list...). */
enum wvu_source_use {
    WVU_SOURCE_PROCESSES,
    WVU_SOURCE_IMAGES,
    WVU_SOURCE_THREADS,
    WVU_SOURCE_LISTS,
    WVU_SOURCE_USES
};

/* PASSIVE. Allocates little; nothing is opened before a probe needs it. INVALID_PARAMETER when a setting is
 * outside the limits above. */
wvu_status wvu_source_create(const struct wvu_source_settings *settings,
                             struct wvu_source **source);
void wvu_source_destroy(struct wvu_source *source); /* NULL is allowed; after the probes stopped */

/* PASSIVE, by a probe's start and stop, in pairs for each use. The first one attaches to the kernel and
 * starts the source's thread, the last one ends both. On failure nothing is left behind and `reason`
 * (256 bytes) says what is missing and how to get it. */
wvu_status wvu_source_acquire(struct wvu_source *source, enum wvu_source_use use,
                              struct wvu_probe *probe, char *reason);
void wvu_source_release(struct wvu_source *source, enum wvu_source_use use);

/* PASSIVE, any thread but the source's. The filter changed: all processes that are followed are judged anew, and
 * the programs that are denied before their first instruction are looked for. Returns when that was done; at
 * once when nothing is attached. */
void wvu_source_rejudge(struct wvu_source *source);

/* Any thread. The process that reads the events now (0: nobody), which no rule may keep from running. */
void wvu_source_spare(struct wvu_source *source, uint32_t reader_pid);

/* ---- for the host's probes: PASSIVE, any thread but the source's ----------------------------------------- */

struct wvu_followed;
struct wvu_programs;
struct wvu_sample_running;

/* Everything that happened up to the call is taken in; then calls `each`, in the source's thread, for every
 * process that the ProcessCreate probe saw start and not end. INVALID_STATE: that probe does not run. AGAIN:
 * events were lost, or not all processes find room, so that the list would have gaps. */
wvu_status wvu_source_list(struct wvu_source *source,
                           void (*each)(void *context, const struct wvu_followed *followed),
                           void *context);

/* Calls `each`, in this thread, for every process of the kernel's own list. INVALID_STATE: nothing that needs the
 * kernel's programs runs. */
wvu_status wvu_source_walk(struct wvu_source *source,
                           void (*each)(void *context, const struct wvu_sample_running *running),
                           void *context);

/* What is known of a process that is followed. In: pid and key. */
struct wvu_source_process {
    uint32_t pid;
    uint64_t key;
    bool is_protected;   /* false when it is not followed */
    uint32_t wanted;     /* WVU_WANTED_ALL when it is not followed */
    uint32_t image_size; /* 0: not known */
    char image[4096];    /* not terminated */
};
void wvu_source_find(struct wvu_source *source, struct wvu_source_process *process);

/* The key of the process that has this pid now; 0 when there is none, or nothing is attached to the kernel. */
uint64_t wvu_source_key(struct wvu_source *source, uint32_t pid);

/* Calls `use` with the kernel's programs, which are loaded for that when nothing runs. `reason`: 256 bytes. */
wvu_status wvu_source_use_programs(struct wvu_source *source,
                                   void (*use)(void *context, struct wvu_programs *programs),
                                   void *context, char *reason);

struct wvu_source_counters {
    uint64_t looks;       /* at the rings */
    uint64_t records;     /* taken from them */
    uint64_t sleeps;      /* without a time-out but the safety net's */
    uint64_t walks;       /* over all processes */
    uint64_t lost_full;   /* samples that did not fit a ring */
    uint64_t lost_failed; /* samples that a program could not read or write */
    uint64_t lost_kernel; /* records of the kernel itself that did not fit a ring */
    uint64_t malformed;   /* records that were not what they should be; 0 */
    uint64_t followed;    /* processes now */
    uint64_t unfollowed;  /* processes that found the table full */
    uint64_t forgotten;   /* programs that found no room to be remembered */
    uint64_t prevented;   /* programs that a rule kept from running */
    uint64_t ended;       /* processes that a rule ended */
};

/* Any thread. As of the last look; zero while nothing is attached. */
void wvu_source_read_counters(struct wvu_source *source, struct wvu_source_counters *counters);

#endif
