/*
 * Failing on purpose: the n-th fallible call of a driver, or every call of one routine.
 *
 * What can fail is said in the export tables. Asked by the gate for each such call (exports.c); any
 * thread. "The n-th" counts the calls of all threads.
 */
#include <string.h>

#include "kernel.h"

static _Atomic uint64_t calls;
static _Atomic uint64_t failing;
static const char *_Atomic failed;
static const char *_Atomic broken_routine;

void nt_fail_call(uint64_t n)
{
    failing = 0;
    calls = 0;
    failed = NULL;
    failing = n;
}

void nt_fail_routine(const char *name, bool fail)
{
    broken_routine = fail ? name : NULL;
}

const char *nt_failed_routine(void)
{
    return failed;
}

bool nt_inject(const char *routine)
{
    const char *always = broken_routine;
    if (always != NULL && strcmp(always, routine) == 0)
        return true;
    uint64_t n = ++calls;
    if (n != failing)
        return false;
    failed = routine;
    return true;
}
