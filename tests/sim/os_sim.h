/*
 * The simulated host's own side: what tests ask of it beyond os.h. See os_sim.c for how it works.
 *
 * All functions but wvu_sim_run, wvu_sim_failure and wvu_sim_stamp_* are called by a coroutine of a
 * running simulation.
 */
#ifndef WVU_OS_SIM_H
#define WVU_OS_SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os.h"

#define WVU_SIM_MS UINT64_C(1000000) /* virtual time is in ns */
#define WVU_SIM_S  (UINT64_C(1000) * WVU_SIM_MS)

struct wvu_sim_settings {
    uint64_t seed;
    uint32_t switch_odds; /* one in so many scheduling points may switch; at least 1 */
    bool store_buffers;   /* delay atomic stores, as processors do */
    bool uneven;          /* some threads get far less of the processor than others */
    bool verbose;         /* print the log and the trace to standard error */
    uint64_t point_limit; /* scheduling points until the run counts as hung; 0: a default */
};

/* Runs `body` as the first thread of a new simulated host until every thread has ended. False when
 * anything was wrong; wvu_sim_failure() says what. Memory still allocated at the end is a failure.
 */
bool wvu_sim_run(const struct wvu_sim_settings *settings, void (*body)(void *), void *context);
const char *wvu_sim_failure(void);

/* Ends the simulation at once with this message. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2), noreturn))
#endif
void wvu_sim_fail(const char *format, ...);
#define wvu_sim_check(condition, ...)                                                              \
    do {                                                                                           \
        if (!(condition))                                                                          \
            wvu_sim_fail(__VA_ARGS__);                                                             \
    } while (0)

/* A line for --verbose, with virtual time and thread. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void wvu_sim_trace(const char *format, ...);

uint64_t wvu_sim_random(uint64_t bound); /* 0 .. bound-1, from the seed; bound at least 1 */
bool wvu_sim_odds(uint32_t one_in);      /* true once in so many times */

void wvu_sim_sleep(uint64_t ns); /* a wait, as a program's */
void wvu_sim_stall(uint64_t ns); /* the thread just does not get on: allowed in a callback too */

/* Between these the thread is in a kernel callback: whatever waits, allocates or logs is a failure.
 */
void wvu_sim_callback_begin(void);
void wvu_sim_callback_end(void);

/* Memory, inits, thread starts and random numbers are services that can fail. The n-th one from now
 * does (1: the next); 0: none. */
void wvu_sim_fail_service(uint64_t nth);
uint64_t wvu_sim_services(void); /* how many were asked for since the start of the run */

/* The test itself hands something from thread to thread; for ThreadSanitizer. */
void wvu_sim_order(const void *object);

void wvu_sim_shift_clock(int64_t units); /* somebody sets the system clock; 100 ns each */

/* How often running threads of that name went on after a sleep on an event; after one on this event. */
uint64_t wvu_sim_wakes(const char *thread);
uint64_t wvu_sim_event_wakes(const wvu_event *event);
uint64_t wvu_sim_points(void);
uint64_t wvu_sim_allocations(void); /* live */

#endif
