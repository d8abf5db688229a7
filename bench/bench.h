/*
 * What the measuring programs share: a clock, pinning, waiting, and one line of JSON a result.
 *
 * Standard output carries results only, one JSON object a line, with every sample: medians and
 * tables are made by measure.py. Nothing here asserts how fast something is; what is wrong (a
 * record lost, changed or out of order) ends the program with an error.
 */
#ifndef WVU_BENCH_H
#define WVU_BENCH_H

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_ROUNDS_MAX 1000u

static inline uint64_t bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline _Noreturn void bench_fail(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

/* The first and the last processor that this process may use; equal when there is only one. */
static inline void bench_two_cpus(int *first, int *last)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        bench_fail("the processors of this process cannot be read");
    *first = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set))
            continue;
        if (*first < 0)
            *first = cpu;
        *last = cpu;
    }
}

/* The calling thread. */
static inline void bench_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        bench_fail("a thread cannot be pinned to a processor");
}

static inline void bench_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* One more look in vain: spins for some microseconds, then gives the processor away each time. */
static inline void bench_relax(uint32_t *looks)
{
    if (++*looks < 64)
        bench_pause();
    else
        sched_yield();
}

/* {"bench":...,"name":...,"variant":...,"unit":...,"samples":[...]} */
static inline void bench_print(const char *bench, const char *name, const char *variant,
                               const char *unit, const double *samples, uint32_t count)
{
    printf("{\"bench\":\"%s\",\"name\":\"%s\",\"variant\":\"%s\",\"unit\":\"%s\",\"samples\":[",
           bench, name, variant, unit);
    for (uint32_t i = 0; i < count; i++)
        printf("%s%.6g", i == 0 ? "" : ",", samples[i]);
    printf("]}\n");
    fflush(stdout);
}

#endif
