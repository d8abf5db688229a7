/*
 * A cmocka test whose body runs in the simulated host:
 *
 *     SIMULATED(queue_is_empty_at_first)
 *     {
 *         check(...);
 *         check_equal(a, b);
 *     }
 *
 * The body runs as the control thread, with nobody else unless it starts threads, and switches at every
 * scheduling point. cmocka's own asserts jump out of it and must not be used there.
 */
#ifndef WVU_UNIT_SIMULATED_H
#define WVU_UNIT_SIMULATED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "os_sim.h"

static inline void run_simulated(void (*body)(void *))
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const struct wvu_sim_settings settings = {
            .seed = seed, .switch_odds = 1, .store_buffers = seed == 2};

        if (!wvu_sim_run(&settings, body, NULL))
            fail_msg("seed %u %s", (unsigned)seed, wvu_sim_failure());
    }
}

#define SIMULATED(name)                                                                            \
    static void name##_body(void *unused);                                                         \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run_simulated(name##_body);                                                                \
    }                                                                                              \
    static void name##_body(void *unused __attribute__((unused)))

#define check(condition)                                                                           \
    wvu_sim_check((condition), "%s:%d: %s does not hold", __FILE__, __LINE__, #condition)
#define check_equal(actual, expected)                                                              \
    check_equal_at((unsigned long long)(actual), (unsigned long long)(expected), #actual,          \
                   __FILE__, __LINE__)

static inline void check_equal_at(unsigned long long actual, unsigned long long expected,
                                  const char *what, const char *file, int line)
{
    wvu_sim_check(actual == expected, "%s:%d: %s is %llu, not %llu", file, line, what, actual,
                  expected);
}

#endif
