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
/* PASSIVE. From here on samples come. (The walk over processes works from load on.) */
wvu_status wvu_programs_attach(struct wvu_programs *programs, char *reason);
void wvu_programs_unload(struct wvu_programs *programs); /* NULL is allowed */

/* PASSIVE. Tells the programs the ring of a CPU. */
wvu_status wvu_programs_set_ring(struct wvu_programs *programs, const struct wvu_perf_ring *ring);

/* Any thread. Whether threads that begin and end are told. */
void wvu_programs_want_threads(struct wvu_programs *programs, bool wanted);

/* Any thread. The reader of the events, 0: nobody. No rule of the kernel's side ends it, or this process. */
void wvu_programs_spare(struct wvu_programs *programs, uint32_t reader_pid);

/* One thread at a time. The files that may not be executed: a process that does is killed before the program's
 * first instruction, and its sample says so. NO_RESOURCES: there are WVU_DENIED_MAX already. */
wvu_status wvu_programs_deny(struct wvu_programs *programs, const struct wvu_denied_file *file,
                             const struct wvu_denied *denied);
void wvu_programs_allow(struct wvu_programs *programs, const struct wvu_denied_file *file);

/* True when the kernel tells of modules that are loaded. */
bool wvu_programs_see_modules(const struct wvu_programs *programs);

/* What each CPU's programs could not write; `cpus` entries that the programs go on changing. */
const struct wvu_cpu_counters *wvu_programs_counters(const struct wvu_programs *programs);

/* Any thread. Whether the first event from now on is to ring its CPU's bell. */
void wvu_programs_arm_bell(struct wvu_programs *programs, bool armed);

/* PASSIVE, any thread. Calls `each` for every process, also the dead that nobody waited for (WVU_TASK_DEAD). */
wvu_status wvu_programs_walk(const struct wvu_programs *programs,
                             void (*each)(void *context, const struct wvu_sample_running *running),
                             void *context);

/* PASSIVE, any thread. The process that has this pid now, as the kernel has it. NOT_FOUND: there is none that is
 * alive. */
wvu_status wvu_programs_find(struct wvu_programs *programs, uint32_t pid,
                             struct wvu_sample_running *running);

#endif
