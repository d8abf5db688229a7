/*
 * What the engine asks of its host: memory, locks, events, threads, run-down, clocks, randomness
 * and a place for log lines. The engine includes no OS header; each host implements this file once
 * (linux/os_linux.c, windows/os_nt.c, tests/sim/os_sim.c).
 *
 * IRQL (Windows) or thread is stated for each service. "Any" means any thread, and on Windows up to
 * DISPATCH_LEVEL: these are what probes may use inside a kernel callback. All other services wait
 * or allocate and belong to PASSIVE_LEVEL.
 *
 * The objects below are opaque; their size is the largest that any host needs. They must not move
 * after their init, and are used from init to destroy.
 */
#ifndef WVU_OS_H
#define WVU_OS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "winvirtue/status.h"

#define WVU_TIMEOUT_NONE UINT64_MAX /* wait until it happens */

/* Four characters, as pool tags are: WVU_TAG('W','v','Q','u') names the component that owns it. */
#define WVU_TAG(a, b, c, d)                                                                        \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* ---- memory: PASSIVE. Zeroed, 16-byte aligned, never pages (NX). NULL when there is none. ---- */
void *wvu_os_alloc(size_t size, uint32_t tag);
void wvu_os_free(void *memory,
                 uint32_t tag); /* NULL is allowed; the tag must be that of the alloc */

/* ---- spin lock: Any. Not recursive; nothing that waits may run under it. On Windows the holder
 *      runs at DISPATCH_LEVEL, so the memory touched under it must not be pageable.
 * ---------------- */
typedef struct wvu_lock {
    uint64_t opaque[4];
} wvu_lock;
void wvu_lock_init(wvu_lock *lock);
void wvu_lock_acquire(wvu_lock *lock);
void wvu_lock_release(wvu_lock *lock);

/* ---- mutex: PASSIVE. Not recursive. The holder may wait and allocate; it serialises control
 * (start, stop, configure), never events.
 * ------------------------------------------------------------- */
typedef struct wvu_mutex {
    uint64_t opaque[8];
} wvu_mutex;
wvu_status wvu_mutex_init(wvu_mutex *mutex);
void wvu_mutex_destroy(wvu_mutex *mutex);
void wvu_mutex_acquire(wvu_mutex *mutex);
void wvu_mutex_release(wvu_mutex *mutex);

/* ---- event: one waiter at a time, auto-reset: a set stays until one wait took it. -------------
 */
typedef struct wvu_event {
    uint64_t opaque[8];
} wvu_event;
wvu_status wvu_event_init(wvu_event *event);
void wvu_event_destroy(wvu_event *event);
void wvu_event_set(wvu_event *event); /* Any; a full barrier */
/* PASSIVE. OK, or TIMEOUT after timeout_ns (0 only looks, WVU_TIMEOUT_NONE waits for ever). */
wvu_status wvu_event_wait(wvu_event *event, uint64_t timeout_ns);

/* ---- thread: PASSIVE ----------------------------------------------------------------------------
 */
typedef struct wvu_thread {
    uint64_t opaque[4];
} wvu_thread;
wvu_status wvu_thread_start(wvu_thread *thread, const char *name, void (*body)(void *),
                            void *context);
void wvu_thread_join(wvu_thread *thread); /* exactly once for each start that succeeded */

/* ---- run-down protection: lets a stopper wait until all users have left -------------------------
 */
typedef struct wvu_rundown {
    uint64_t opaque[4];
} wvu_rundown;
wvu_status wvu_rundown_init(wvu_rundown *rundown); /* open: acquire succeeds */
void wvu_rundown_destroy(wvu_rundown *rundown);
bool wvu_rundown_acquire(wvu_rundown *rundown); /* Any. false: the stopper was first, do nothing */
void wvu_rundown_release(wvu_rundown *rundown); /* Any. Only after an acquire that returned true */
void wvu_rundown_wait(wvu_rundown *rundown); /* PASSIVE. Closes it, returns when nobody is inside */
void wvu_rundown_reopen(wvu_rundown *rundown); /* PASSIVE. After a wait: acquire succeeds again */

/* ---- clocks: Any ---------------------------------------------------------------------------- */
int64_t wvu_os_system_time(void); /* 100 ns since 1601-01-01 UTC; can be set back by people */
uint64_t wvu_os_uptime(void);     /* ns; monotonic; the clock of every time-out */

/* ---- randomness: PASSIVE. For boot ids and hash keys. -------------------------------------------
 */
wvu_status wvu_os_random(void *buffer, size_t size);

/* ---- case: PASSIVE. The unit that a UTF-16 unit is compared as where the host's file names ignore case; the
 * unit itself elsewhere. ---- */
uint16_t wvu_os_upcase(uint16_t unit);

/* ---- log sink: Any (on Windows the engine logs texts in ANSI only). One call is one line; the
 * host adds time, level and line end. Formats: %s %c %d %u %x %lld %llu %llx and widths; nothing
 * else. */
void wvu_os_log(uint32_t module, uint32_t level, const char *format, va_list arguments);

#endif
