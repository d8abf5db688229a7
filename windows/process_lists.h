/*
 * Lists of the processes that run, from different places, and what is in one and not in another. See
 * process_lists.c.
 */
#ifndef WVU_PROCESS_LISTS_H
#define WVU_PROCESS_LISTS_H

#include <stdbool.h>
#include <stdint.h>

#include "winvirtue/status.h"

/* Bits, and their names in events. */
#define WVU_LIST_CALLBACKS 0x1u /* Callbacks: what was seen to start and not to end */
#define WVU_LIST_SYSTEM    0x2u /* System: ZwQuerySystemInformation */
#define WVU_LIST_LOOKUP    0x4u /* Lookup: PsLookupProcessByProcessId, for each id that there may be */
#define WVU_LISTS          3u

/* More than this runs on no machine. */
#define WVU_PROCESS_LIST_MOST 65536u

struct wvu_listed {
    uint32_t pid;
    uint32_t threads;      /* System */
    uint32_t first_thread; /* System: its id */
    uint64_t key;          /* 0: the list does not tell (System) */
};

/* Grows as it is filled; ordered by pid when it was sorted. */
struct wvu_process_list {
    struct wvu_listed *entries;
    uint32_t count;
    uint32_t capacity;
    bool failed; /* no memory, or too many: entries are missing */
};

/* PASSIVE */
void wvu_process_list_add(struct wvu_process_list *list, const struct wvu_listed *process);
void wvu_process_list_sort(struct wvu_process_list *list);
void wvu_process_list_free(struct wvu_process_list *list); /* it can be filled again */

/* The lists of one look, sorted. `have`: those that were taken. `complete`: those of them that have every
 * process; only from these can one be missing. */
struct wvu_process_lists {
    struct wvu_process_list lists[WVU_LISTS]; /* by the number of their bit */
    uint32_t have;
    uint32_t complete;
};

struct wvu_mismatch {
    uint32_t pid;
    uint32_t in; /* WVU_LIST_... */
    uint32_t not_in;
    uint32_t threads; /* as System has it */
    uint32_t first_thread;
    uint32_t told; /* by the probe: the part of not_in that was reported */
    uint64_t key;  /* 0: only System has it */
};

struct wvu_mismatches {
    struct wvu_mismatch *entries;
    uint32_t count;
    uint32_t capacity;
    bool failed;
};
void wvu_mismatches_free(struct wvu_mismatches *mismatches);

/* What is in one list and not in another. */
void wvu_process_lists_compare(const struct wvu_process_lists *lists,
                               struct wvu_mismatches *mismatches);
/* Keeps those of `first` that `second`, of a later look, has too: the same process, in and not in the same
 * lists both times. */
void wvu_mismatches_confirm(struct wvu_mismatches *first, const struct wvu_mismatches *second);
/* The mismatch of the same process; NULL: there is none. */
const struct wvu_mismatch *wvu_mismatches_find(const struct wvu_mismatches *mismatches,
                                               const struct wvu_mismatch *mismatch);

#endif
