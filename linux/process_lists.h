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
#define WVU_LIST_KERNEL    0x1u /* Kernel: the kernel's own list */
#define WVU_LIST_CALLBACKS 0x2u /* Callbacks: what was seen to start and not to end */
#define WVU_LIST_PROC      0x4u /* Proc: what /proc shows to those who read it */

/* Younger processes are left for the next time: the kernel has them in its list before it tells of them. */
#define WVU_LISTS_AGE_NS UINT64_C(1000000000)

struct wvu_listed {
    uint32_t pid;
    bool dead;      /* Kernel: it ended and waits to be waited for */
    uint64_t key;   /* 0: the list does not tell (Proc) */
    uint64_t start; /* Kernel: of CLOCK_MONOTONIC, ns; Proc: in the units of /proc/PID/stat */
    char name[16];  /* Kernel, Proc: of its first thread; not always terminated */
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
const struct wvu_listed *wvu_process_list_find(const struct wvu_process_list *list, uint32_t pid);
void wvu_process_list_free(struct wvu_process_list *list); /* it can be filled again */

/* The lists of about one moment, sorted: the kernel's was taken before and after the other two. */
struct wvu_process_lists {
    struct wvu_process_list before;
    struct wvu_process_list callbacks;
    struct wvu_process_list proc;
    struct wvu_process_list after;
    bool has_callbacks;
    uint64_t begun; /* uptime before the first of them was taken */
};

struct wvu_mismatch {
    uint32_t pid;
    uint32_t in;     /* WVU_LIST_... */
    uint32_t not_in; /* not 0 */
    uint64_t key;    /* 0: only /proc shows it */
    uint64_t start;  /* as Proc has it, if key is 0 */
    char name[16];
};

struct wvu_mismatches {
    struct wvu_mismatch *entries;
    uint32_t count;
    uint32_t capacity;
    bool failed;
};
void wvu_mismatches_free(struct wvu_mismatches *mismatches);

/* What is in one list and not in another, as far as it neither started nor ended meanwhile. */
void wvu_process_lists_compare(const struct wvu_process_lists *lists,
                               struct wvu_mismatches *mismatches);
/* Keeps those of `first` that `second`, of a later look, has too: of the same process. */
void wvu_mismatches_confirm(struct wvu_mismatches *first, const struct wvu_mismatches *second);
bool wvu_mismatches_have(const struct wvu_mismatches *mismatches,
                         const struct wvu_mismatch *mismatch);

/* Whether /proc is what it should be: of this pid name space, and showing all processes to this one. Otherwise
 * `reason` (256 bytes) says what to do. */
wvu_status wvu_process_lists_check(char *reason);
/* Everything that /proc shows: what is in its directory and can be used. IO_ERROR, NO_MEMORY or NO_RESOURCES: the
 * list has gaps. */
wvu_status wvu_process_lists_read_proc(struct wvu_process_list *list);
/* For tests: the line of /proc/PID/stat. False: it is not that of this pid. */
bool wvu_process_lists_read_stat(const char *line, uint32_t pid, struct wvu_listed *process);

#endif
