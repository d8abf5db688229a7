/*
 * The rings of all CPUs, and sleeping until something is in one of them. See rings.c.
 */
#ifndef WVU_RINGS_H
#define WVU_RINGS_H

#include "merge.h"
#include "perf_ring.h"
#include "programs.h"

struct wvu_rings {
    uint32_t cpus; /* possible ones; arrays have so many entries */
    uint64_t bytes;
    struct wvu_perf_features features;
    struct wvu_programs *programs; /* write to the rings; NULL: only the kernel does */
    struct wvu_perf_ring *rings;
    struct wvu_merge merge; /* lane n: CPU n */
    int attention;          /* eventfd */
    int busy_set;           /* epoll: attention, and rings that are half full */
    int idle_set;           /* epoll: these and the bells */
    bool armed;
};

/* PASSIVE. Opens the ring of each CPU that is online. On failure nothing is left and `reason` (256 bytes)
 * says what is missing. `programs` must outlive the rings. */
wvu_status wvu_rings_create(struct wvu_rings *rings, uint32_t cpus, uint64_t bytes,
                            struct wvu_programs *programs, char *reason);
void wvu_rings_destroy(struct wvu_rings *rings); /* also a zeroed one */

/* PASSIVE, the reader. Closes the ring of a CPU, if it has one, and opens it anew. What was in it and not
 * taken is gone. NAME_NOT_FOUND: the CPU is not online. */
wvu_status wvu_rings_reopen(struct wvu_rings *rings, uint32_t cpu, char *reason);

/* PASSIVE, the reader. While they are armed, any event ends an idle sleep. A full barrier: what was written
 * before and rang no bell is seen by a look after this. */
void wvu_rings_arm(struct wvu_rings *rings);
void wvu_rings_silence(struct wvu_rings *rings);

/* PASSIVE, the reader. Sleeps for `ns`, or until a ring is half full, somebody wants attention, or (idle) a
 * bell rings. Returns true when it was not the time that ended it. */
bool wvu_rings_sleep(struct wvu_rings *rings, bool idle, uint64_t ns);

/* Any thread. Ends the present sleep, or the next one. */
void wvu_rings_want_attention(struct wvu_rings *rings);

#endif
