/*
 * The programs in the kernel (bpf/sensor.bpf.c), seen from user space: load, attach, counters, the walk
 * over all processes. See programs.c.
 */
#ifndef WVU_PROGRAMS_H
#define WVU_PROGRAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/sample.h"
#include "perf_ring.h"
#include "winvirtue/status.h"

struct wvu_programs;

/* PASSIVE. Whether the pids that the kernel tells this process are those of the whole machine; otherwise
 * `reason` (256 bytes) says what to do. Loading checks it too. */
wvu_status wvu_programs_check_pids(char *reason);

/* PASSIVE. Loads them for `cpus` possible CPUs; nothing runs yet. On failure `reason` (256 bytes) says what
 * the machine or this process lacks, and how to get it. */
wvu_status wvu_programs_load(uint32_t cpus, struct wvu_programs **programs, char *reason);
/* PASSIVE. From here on samples come. */
wvu_status wvu_programs_attach(struct wvu_programs *programs, char *reason);
void wvu_programs_unload(struct wvu_programs *programs); /* NULL is allowed */

/* PASSIVE. Tells the programs the ring of a CPU. */
wvu_status wvu_programs_set_ring(struct wvu_programs *programs, const struct wvu_perf_ring *ring);

/* True when the kernel tells of modules that are loaded. */
bool wvu_programs_see_modules(const struct wvu_programs *programs);

/* What each CPU's programs could not write; `cpus` entries that the programs go on changing. */
const struct wvu_cpu_counters *wvu_programs_counters(const struct wvu_programs *programs);

/* Any thread. Whether the first event from now on is to ring its CPU's bell. */
void wvu_programs_arm_bell(struct wvu_programs *programs, bool armed);

/* PASSIVE. Calls `each` for every process that is alive. */
wvu_status wvu_programs_walk(const struct wvu_programs *programs,
                             void (*each)(void *context, const struct wvu_sample_running *running),
                             void *context);

#endif
