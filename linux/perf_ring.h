/*
 * The kernel side of one CPU's event stream: a perf ring that the BPF programs and the kernel itself write
 * to, and a bell, a tiny second ring that wakes the source when it sleeps. See perf_ring.c.
 */
#ifndef WVU_PERF_RING_H
#define WVU_PERF_RING_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "winvirtue/status.h"

struct wvu_perf_ring {
    uint32_t cpu;
    int samples; /* descriptors; -1: not open. BPF samples, COMM, MMAP2 with build ids */
    int inodes;  /* MMAP2 with inodes, written into the same ring */
    int bell;
    struct perf_event_mmap_page *control;
    const void *data;
    uint64_t size;
    struct perf_event_mmap_page *bell_control;
};

/* What follows the path in a MMAP2 record: the time, and before it, if the record has device and inode and
 * was written by the event for that, process and thread. */
#define WVU_TIME_TRAILER  8u
#define WVU_INODE_TRAILER 16u

/* What the running kernel can do; found out by the first ring that is opened. */
struct wvu_perf_features {
    bool build_ids; /* from 5.12 on */
    bool inodes;    /* in addition to build ids */
};

/* PASSIVE. Opens ring and bell of an online CPU with `bytes` of data (a power of two, at least one page).
 * `features` is what to use; what the kernel does not know is cleared. NAME_NOT_FOUND: the CPU is not
 * online. On failure nothing is left open and `reason` (256 bytes) says why. */
wvu_status wvu_perf_ring_open(struct wvu_perf_ring *ring, uint32_t cpu, uint64_t bytes,
                              struct wvu_perf_features *features, char *reason);
void wvu_perf_ring_close(struct wvu_perf_ring *ring); /* also one that is not open */
static inline bool wvu_perf_ring_is_open(const struct wvu_perf_ring *ring)
{
    return ring->control != NULL;
}

/* Any thread, no system call. While it is armed, the next event on this CPU makes `bell` readable (for
 * poll); while it is silent nothing does. Arming is not a barrier: wvu_fence() before looking again. */
void wvu_perf_ring_arm(struct wvu_perf_ring *ring);
void wvu_perf_ring_silence(struct wvu_perf_ring *ring);

/* CPUs: how many there can ever be, and whether one is online now. */
uint32_t wvu_cpu_count(void);
bool wvu_cpu_is_online(uint32_t cpu);

#endif
