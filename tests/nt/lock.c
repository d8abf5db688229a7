/*
 * Locks: spin locks, fast mutexes, IRQL and critical regions, and what must not happen with them.
 *
 * Each thread knows the locks that it holds (kernel.h, nt_held). From every two that are held
 * together an order is learned; the opposite order, also by way of others, is reported although
 * nothing hung, as Driver Verifier's deadlock detection does. Dispatcher mutexes (ke.c) take part.
 *
 * A spin lock's word holds the owner. Spinning is real, and bounded by SPIN_LIMIT_NS: nobody holds a
 * spin lock that long.
 *
 * `order_lock` guards the learned orders. Everything else belongs to the thread that holds.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define SPIN_LIMIT_NS 20000000000u
#define EDGES_MAX     4096u

/* ---- IRQL -------------------------------------------------------------------------------------- */

void nt_set_irql(KIRQL irql)
{
    struct nt_thread *thread = nt_self;
    bool was = thread->irql >= DISPATCH_LEVEL;
    thread->irql = irql;
    if (was != (irql >= DISPATCH_LEVEL))
        nt_keys_apply();
}

static NTAPI KIRQL KeGetCurrentIrql(void)
{
    return nt_self->irql;
}

static NTAPI KIRQL KfRaiseIrql(KIRQL irql)
{
    KIRQL old = nt_self->irql;
    if (irql < old || irql > HIGH_LEVEL)
        nt_broken(NT_RULE_IRQL, "KfRaiseIrql from %u to %u", old, irql);
    nt_set_irql(irql);
    return old;
}

static NTAPI KIRQL KeRaiseIrqlToDpcLevel(void)
{
    return KfRaiseIrql(DISPATCH_LEVEL);
}

static NTAPI void KeLowerIrql(KIRQL irql)
{
    if (irql > nt_self->irql)
        nt_broken(NT_RULE_IRQL, "KeLowerIrql from %u to %u", nt_self->irql, irql);
    nt_set_irql(irql);
}

static NTAPI void KeEnterCriticalRegion(void)
{
    nt_self->critical++;
}

static NTAPI void KeLeaveCriticalRegion(void)
{
    if (nt_self->critical == 0)
        nt_broken(NT_RULE_LOCK, "KeLeaveCriticalRegion without KeEnterCriticalRegion");
    nt_self->critical--;
}

/* ---- the order of locks ------------------------------------------------------------------------ */

struct edge {
    const void *first;
    const void *second;
};

static pthread_mutex_t order_lock = PTHREAD_MUTEX_INITIALIZER;
static struct edge edges[EDGES_MAX];
static size_t edge_count;

static bool reaches(const void *from, const void *to, uint32_t depth)
{
    if (from == to)
        return true;
    for (size_t i = 0; i < edge_count && depth < NT_HELD_MAX; i++) {
        if (edges[i].first == from && reaches(edges[i].second, to, depth + 1))
            return true;
    }
    return false;
}

static void learn(const void *first, const void *second)
{
    for (size_t i = 0; i < edge_count; i++) {
        if (edges[i].first == first && edges[i].second == second)
            return;
    }
    if (reaches(second, first, 0))
        nt_broken(NT_RULE_LOCK_ORDER, "lock %p is taken while %p is held, and the other way round",
                  second, first);
    if (edge_count < EDGES_MAX)
        edges[edge_count++] = (struct edge){first, second};
}

void nt_locks_forget(uintptr_t begin, uintptr_t end)
{
    pthread_mutex_lock(&order_lock);
    size_t kept = 0;
    for (size_t i = 0; i < edge_count; i++) {
        uintptr_t first = (uintptr_t)edges[i].first, second = (uintptr_t)edges[i].second;
        if ((first < begin || first >= end) && (second < begin || second >= end))
            edges[kept++] = edges[i];
    }
    edge_count = kept;
    pthread_mutex_unlock(&order_lock);
    const struct nt_thread *thread = nt_self;
    for (uint32_t i = 0; i < thread->held_count; i++) {
        uintptr_t held = (uintptr_t)thread->held[i].lock;
        if (held >= begin && held < end)
            nt_broken(NT_RULE_LOCK, "memory with a lock that is held is freed");
    }
}

void nt_lock_taken(const void *lock, enum nt_lock_kind kind)
{
    struct nt_thread *thread = nt_self;
    if (thread->held_count == NT_HELD_MAX)
        nt_broken(NT_RULE_LOCK, "more than %d locks are held", NT_HELD_MAX);
    pthread_mutex_lock(&order_lock);
    for (uint32_t i = 0; i < thread->held_count; i++)
        learn(thread->held[i].lock, lock);
    pthread_mutex_unlock(&order_lock);
    thread->held[thread->held_count++] =
        (struct nt_held){.lock = lock, .kind = kind, .where = thread->caller};
}

bool nt_lock_held(const void *lock)
{
    const struct nt_thread *thread = nt_self;
    for (uint32_t i = 0; i < thread->held_count; i++) {
        if (thread->held[i].lock == lock)
            return true;
    }
    return false;
}

void nt_lock_released(const void *lock, enum nt_lock_kind kind)
{
    struct nt_thread *thread = nt_self;
    for (uint32_t i = thread->held_count; i != 0; i--) {
        if (thread->held[i - 1].lock == lock && thread->held[i - 1].kind == kind) {
            memmove(&thread->held[i - 1], &thread->held[i],
                    (thread->held_count - i) * sizeof thread->held[0]);
            thread->held_count--;
            return;
        }
    }
    nt_broken(NT_RULE_LOCK, "%s: the lock %p is not held by this thread", thread->routine, lock);
}

void nt_check_wait(bool user)
{
    const struct nt_thread *thread = nt_self;
    for (uint32_t i = 0; i < thread->held_count; i++) {
        if (thread->held[i].kind == NT_SPIN_LOCK)
            nt_broken(NT_RULE_WAIT, "%s waits while the spin lock %p is held", thread->routine,
                      thread->held[i].lock);
        if (user)
            nt_broken(NT_RULE_WAIT, "%s waits for a user program while the lock %p is held",
                      thread->routine, thread->held[i].lock);
    }
    if (thread->irql >= DISPATCH_LEVEL)
        nt_broken(NT_RULE_WAIT, "%s waits at IRQL %u", thread->routine, thread->irql);
}

/* ---- spin locks ---------------------------------------------------------------------------------- */

static void spin(uint64_t *lock)
{
    if (nt_lock_held(lock))
        nt_broken(NT_RULE_LOCK, "the spin lock %p is taken twice by one thread", (void *)lock);
    uint64_t owner = (uintptr_t)nt_self | 1, expected = 0, begun = 0;
    for (uint32_t tries = 0; !__atomic_compare_exchange_n(lock, &expected, owner, false,
                                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
         expected = 0) {
        if (++tries % 64 != 0)
            continue;
        uint64_t now = nt_real_time();
        begun = begun != 0 ? begun : now;
        if (now - begun > SPIN_LIMIT_NS)
            nt_broken(NT_RULE_STUCK, "the spin lock %p is not let go, or was never initialised",
                      (void *)lock);
        sched_yield();
    }
    nt_lock_taken(lock, NT_SPIN_LOCK);
}

static void unspin(uint64_t *lock)
{
    nt_lock_released(lock, NT_SPIN_LOCK);
    if (*lock != ((uintptr_t)nt_self | 1))
        nt_broken(NT_RULE_LOCK, "the spin lock %p was overwritten while it was held", (void *)lock);
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/* The owner before it was taken must come back at release. */
static void lower_to(KIRQL old)
{
    if (old > DISPATCH_LEVEL)
        nt_broken(NT_RULE_IRQL, "a spin lock is released to IRQL %u: not what its acquire returned",
                  old);
    nt_set_irql(old);
}

static NTAPI void KeInitializeSpinLock(uint64_t *lock)
{
    *lock = 0;
}

static NTAPI KIRQL KeAcquireSpinLockRaiseToDpc(uint64_t *lock)
{
    KIRQL old = nt_self->irql;
    nt_set_irql(DISPATCH_LEVEL);
    spin(lock);
    return old;
}

static NTAPI void KeReleaseSpinLock(uint64_t *lock, KIRQL old)
{
    unspin(lock);
    lower_to(old);
}

static NTAPI void KeAcquireSpinLockAtDpcLevel(uint64_t *lock)
{
    spin(lock);
}

static NTAPI void KeReleaseSpinLockFromDpcLevel(uint64_t *lock)
{
    unspin(lock);
}

static NTAPI BOOLEAN KeTryToAcquireSpinLockAtDpcLevel(uint64_t *lock)
{
    uint64_t expected = 0;
    if (!__atomic_compare_exchange_n(lock, &expected, (uintptr_t)nt_self | 1, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return 0;
    nt_lock_taken(lock, NT_SPIN_LOCK);
    return 1;
}

static NTAPI void KeAcquireInStackQueuedSpinLock(uint64_t *lock, KLOCK_QUEUE_HANDLE *handle)
{
    handle->Next = NULL;
    handle->Lock = lock;
    handle->OldIrql = KeAcquireSpinLockRaiseToDpc(lock);
}

static NTAPI void KeReleaseInStackQueuedSpinLock(KLOCK_QUEUE_HANDLE *handle)
{
    KeReleaseSpinLock(handle->Lock, handle->OldIrql);
}

static NTAPI void KeAcquireInStackQueuedSpinLockAtDpcLevel(uint64_t *lock,
                                                           KLOCK_QUEUE_HANDLE *handle)
{
    handle->Next = NULL;
    handle->Lock = lock;
    handle->OldIrql = nt_self->irql;
    spin(lock);
}

static NTAPI void KeReleaseInStackQueuedSpinLockFromDpcLevel(KLOCK_QUEUE_HANDLE *handle)
{
    unspin(handle->Lock);
}

/* ---- fast mutexes: APC_LEVEL while held ------------------------------------------------------------
 * Drivers initialise them inline (Count 1, a synchronization event), so there is nothing to do here
 * for that. */

static void check_fast_mutex(const FAST_MUTEX *mutex)
{
    if (mutex->Event.Header.WaitListHead.Flink != &mutex->Event.Header.WaitListHead)
        nt_broken(NT_RULE_OBJECT, "the fast mutex %p was never initialised", (const void *)mutex);
}

static void take_fast_mutex(FAST_MUTEX *mutex, KIRQL old)
{
    nt_lock_taken(mutex, NT_FAST_MUTEX);
    mutex->OldIrql = old;
    nt_set_irql(APC_LEVEL);
}

static NTAPI void ExAcquireFastMutex(FAST_MUTEX *mutex)
{
    check_fast_mutex(mutex);
    if (nt_lock_held(mutex))
        nt_broken(NT_RULE_LOCK, "the fast mutex %p is taken twice by one thread", (void *)mutex);
    nt_check_wait(false);
    KIRQL old = nt_self->irql;
    pthread_mutex_lock(&nt_lock);
    while (mutex->Count <= 0) {
        mutex->Contention++;
        nt_wait_changed(UINT64_MAX);
    }
    mutex->Count = 0;
    mutex->Owner = nt_self->object->address;
    pthread_mutex_unlock(&nt_lock);
    take_fast_mutex(mutex, old);
}

static NTAPI BOOLEAN ExTryToAcquireFastMutex(FAST_MUTEX *mutex)
{
    check_fast_mutex(mutex);
    KIRQL old = nt_self->irql;
    pthread_mutex_lock(&nt_lock);
    bool got = mutex->Count > 0;
    if (got)
        mutex->Count = 0;
    pthread_mutex_unlock(&nt_lock);
    if (got)
        take_fast_mutex(mutex, old);
    return got;
}

static NTAPI void ExReleaseFastMutex(FAST_MUTEX *mutex)
{
    nt_lock_released(mutex, NT_FAST_MUTEX);
    KIRQL old = (KIRQL)mutex->OldIrql;
    pthread_mutex_lock(&nt_lock);
    mutex->Owner = NULL;
    mutex->Count = 1;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
    nt_set_irql(old);
}

static const struct nt_export exports[] = {
    NT_ROUTINE(KeGetCurrentIrql, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-kegetcurrentirql"),
    NT_ROUTINE(KfRaiseIrql, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-keraiseirql"),
    NT_ROUTINE(KeRaiseIrqlToDpcLevel, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-keraiseirqltodpclevel"),
    NT_ROUTINE(KeLowerIrql, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-kelowerirql"),
    NT_ROUTINE(KeEnterCriticalRegion, PASSIVE_LEVEL, APC_LEVEL,
               "ntddk/nf-ntddk-keentercriticalregion"),
    NT_ROUTINE(KeLeaveCriticalRegion, PASSIVE_LEVEL, APC_LEVEL,
               "ntddk/nf-ntddk-keleavecriticalregion"),
    NT_ROUTINE(KeInitializeSpinLock, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-keinitializespinlock"),
    NT_ROUTINE(KeAcquireSpinLockRaiseToDpc, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-keacquirespinlockraisetodpc"),
    NT_ROUTINE(KeReleaseSpinLock, DISPATCH_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kereleasespinlock"),
    NT_ROUTINE(KeAcquireSpinLockAtDpcLevel, DISPATCH_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-keacquirespinlockatdpclevel"),
    NT_ROUTINE(KeReleaseSpinLockFromDpcLevel, DISPATCH_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-kereleasespinlockfromdpclevel"),
    NT_ROUTINE(KeTryToAcquireSpinLockAtDpcLevel, DISPATCH_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-ketrytoacquirespinlockatdpclevel"),
    NT_ROUTINE(KeAcquireInStackQueuedSpinLock, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-keacquireinstackqueuedspinlock"),
    NT_ROUTINE(KeReleaseInStackQueuedSpinLock, DISPATCH_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-kereleaseinstackqueuedspinlock"),
    NT_ROUTINE(KeAcquireInStackQueuedSpinLockAtDpcLevel, DISPATCH_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-keacquireinstackqueuedspinlockatdpclevel"),
    NT_ROUTINE(KeReleaseInStackQueuedSpinLockFromDpcLevel, DISPATCH_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-kereleaseinstackqueuedspinlockfromdpclevel"),
    NT_ROUTINE(ExAcquireFastMutex, PASSIVE_LEVEL, APC_LEVEL, "wdm/nf-wdm-exacquirefastmutex"),
    NT_ROUTINE(ExTryToAcquireFastMutex, PASSIVE_LEVEL, APC_LEVEL,
               "wdm/nf-wdm-extrytoacquirefastmutex"),
    NT_ROUTINE(ExReleaseFastMutex, APC_LEVEL, APC_LEVEL, "wdm/nf-wdm-exreleasefastmutex"),
};
const struct nt_export_table nt_lock_table = NT_TABLE(exports);
