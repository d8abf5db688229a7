/*
 * Time as the stand-in kernel has it: real time, with an offset for a clock that somebody sets.
 *
 * The shared data page (0xFFFFF780'00000000 on Windows), from which drivers read time inline, is
 * refreshed on every such read (trap.c).
 */
#include <time.h>

#include "kernel.h"

#define EPOCH_DIFFERENCE INT64_C(116444736000000000) /* 1601 to 1970 in 100 ns */

static _Atomic int64_t offset;
static _Atomic uint64_t advanced;

uint64_t nt_real_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t nt_now(void)
{
    return nt_real_time() + advanced;
}

int64_t nt_system_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return EPOCH_DIFFERENCE + (int64_t)now.tv_sec * 10000000 + now.tv_nsec / 100 + offset;
}

void nt_advance_uptime(uint64_t ns)
{
    pthread_mutex_lock(&nt_lock);
    advanced += ns;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
}

void nt_set_system_time_offset(int64_t value)
{
    offset = value;
}

/* Negative: from now on; otherwise an instant of the system time. Both in 100 ns. */
uint64_t nt_deadline(const int64_t *timeout)
{
    if (timeout == NULL)
        return UINT64_MAX;
    int64_t wait = *timeout < 0 ? -(*timeout + 1) + 1 : *timeout - nt_system_time();
    if (wait <= 0)
        return nt_now();
    if (wait > INT64_MAX / 100)
        return UINT64_MAX;
    return nt_now() + (uint64_t)wait * 100;
}

bool nt_wait_changed(uint64_t deadline)
{
    if (deadline == UINT64_MAX) {
        pthread_cond_wait(&nt_changed, &nt_lock);
        return true;
    }
    uint64_t real = deadline > advanced ? deadline - advanced : 0;
    struct timespec until = {.tv_sec = (time_t)(real / 1000000000u),
                             .tv_nsec = (long)(real % 1000000000u)};
    if (nt_now() >= deadline)
        return false;
    return pthread_cond_timedwait(&nt_changed, &nt_lock, &until) == 0 || nt_now() < deadline;
}
