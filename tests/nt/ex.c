/*
 * Run-down protection. The block in the driver's memory is one word: twice the number of those who
 * are inside, and bit 0 once it is being run down.
 *
 * The word is changed atomically; who waits, waits on nt_changed. A wait at most STUCK_NS long: run-down
 * is never allowed to take longer, because everything that is inside is a callback.
 */
#include "kernel.h"

#define ACTIVE   1u
#define STUCK_NS 30000000000u

static NTAPI void ExInitializeRundownProtection(uint64_t *rundown)
{
    *rundown = 0;
}

static NTAPI BOOLEAN ExAcquireRundownProtection(uint64_t *rundown)
{
    uint64_t value = __atomic_load_n(rundown, __ATOMIC_RELAXED);
    do {
        if ((value & ACTIVE) != 0)
            return 0;
    } while (!__atomic_compare_exchange_n(rundown, &value, value + 2, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    return 1;
}

static NTAPI void ExReleaseRundownProtection(uint64_t *rundown)
{
    pthread_mutex_lock(&nt_lock); /* the block may be gone as soon as the waiter sees it */
    uint64_t value = __atomic_load_n(rundown, __ATOMIC_RELAXED);
    if (value < 2)
        nt_broken(NT_RULE_RUNDOWN, "ExReleaseRundownProtection: nobody is inside");
    value = __atomic_sub_fetch(rundown, 2, __ATOMIC_SEQ_CST);
    if (value == ACTIVE)
        pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
}

static NTAPI void ExWaitForRundownProtectionRelease(uint64_t *rundown)
{
    nt_check_wait(false);
    uint64_t deadline = nt_now() + STUCK_NS;
    pthread_mutex_lock(&nt_lock);
    __atomic_fetch_or(rundown, ACTIVE, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(rundown, __ATOMIC_SEQ_CST) != ACTIVE) {
        if (!nt_wait_changed(deadline))
            nt_broken(NT_RULE_STUCK, "ExWaitForRundownProtectionRelease: somebody stays inside");
    }
    pthread_mutex_unlock(&nt_lock);
}

static NTAPI void ExReInitializeRundownProtection(uint64_t *rundown)
{
    if (*rundown != ACTIVE)
        nt_broken(NT_RULE_RUNDOWN, "ExReInitializeRundownProtection: it was not run down");
    __atomic_store_n(rundown, 0, __ATOMIC_SEQ_CST);
}

static NTAPI void ExRundownCompleted(uint64_t *rundown)
{
    if (*rundown != ACTIVE)
        nt_broken(NT_RULE_RUNDOWN, "ExRundownCompleted: it was not run down");
}

static const struct nt_export exports[] = {
    NT_ROUTINE(ExInitializeRundownProtection, PASSIVE_LEVEL, APC_LEVEL,
               "wdm/nf-wdm-exinitializerundownprotection"),
    NT_ROUTINE(ExAcquireRundownProtection, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-exacquirerundownprotection"),
    NT_ROUTINE(ExReleaseRundownProtection, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-exreleaserundownprotection"),
    NT_ROUTINE(ExWaitForRundownProtectionRelease, PASSIVE_LEVEL, APC_LEVEL,
               "wdm/nf-wdm-exwaitforrundownprotectionrelease"),
    NT_ROUTINE(ExReInitializeRundownProtection, PASSIVE_LEVEL, APC_LEVEL,
               "wdm/nf-wdm-exreinitializerundownprotection"),
    NT_ROUTINE(ExRundownCompleted, PASSIVE_LEVEL, APC_LEVEL, "wdm/nf-wdm-exrundowncompleted"),
};
const struct nt_export_table nt_ex_table = NT_TABLE(exports);
