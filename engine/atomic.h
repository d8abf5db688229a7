/*
 * Atomic accesses and memory barriers: the only place of the engine that uses compiler extensions.
 *
 * The names state the order. Everything shared between threads without a lock goes through here, so
 * that ThreadSanitizer and a reader see the same thing. The kernel driver cannot include
 * <stdatomic.h> with every compiler that builds it, hence the two implementations.
 *
 * wvu_fence() is a full barrier: no load or store moves across it, store-load included. The
 * doorbell between queue and dispatcher needs exactly that (queue.c, "The doorbell").
 */
#ifndef WVU_ATOMIC_H
#define WVU_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

/* The engine is built a second time for the simulated host of the tests, which may run another
 * thread before each access, and may delay a store as processors do (tests/sim/os_sim.c). */
#ifdef WVU_SIMULATED
void wvu_simulated_load(const void *where);
bool wvu_simulated_store(void *where, uint32_t size, uint64_t value); /* true: it will be made */
void wvu_simulated_barrier(void);
#else
#define wvu_simulated_load(where)               ((void)0)
#define wvu_simulated_store(where, size, value) (false)
#define wvu_simulated_barrier()                 ((void)0)
#endif

#if defined(__GNUC__) || defined(__clang__)

static inline uint32_t wvu_load_relaxed(const uint32_t *p)
{
    wvu_simulated_load(p);
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint32_t wvu_load_acquire(const uint32_t *p)
{
    wvu_simulated_load(p);
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint64_t wvu_load64_relaxed(const uint64_t *p)
{
    wvu_simulated_load(p);
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint64_t wvu_load64_acquire(const uint64_t *p)
{
    wvu_simulated_load(p);
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void wvu_store_relaxed(uint32_t *p, uint32_t value)
{
    if (!wvu_simulated_store(p, 4, value))
        __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline void wvu_store_release(uint32_t *p, uint32_t value)
{
    if (!wvu_simulated_store(p, 4, value))
        __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void wvu_store64_relaxed(uint64_t *p, uint64_t value)
{
    if (!wvu_simulated_store(p, 8, value))
        __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline void wvu_store64_release(uint64_t *p, uint64_t value)
{
    if (!wvu_simulated_store(p, 8, value))
        __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* Both return the old value and are full barriers. */
static inline uint32_t wvu_exchange_full(uint32_t *p, uint32_t value)
{
    wvu_simulated_barrier();
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);
}

static inline bool wvu_compare_exchange_full(uint32_t *p, uint32_t expected, uint32_t value)
{
    wvu_simulated_barrier();
    return __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* Counters: no order beyond the addition itself. Returns the new value. */
static inline uint64_t wvu_add64_relaxed(uint64_t *p, uint64_t value)
{
    wvu_simulated_load(p);
    return __atomic_add_fetch(p, value, __ATOMIC_RELAXED);
}

static inline void wvu_fence(void)
{
    wvu_simulated_barrier();
#ifdef __SANITIZE_THREAD__
    /* gcc refuses fences there; a locked exchange is as good on the machines that tests run on. */
    uint32_t nothing = 0;
    (void)__atomic_exchange_n(&nothing, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Asks for the cache lines of memory that will be written soon. A hint: nothing needs to be there. */
static inline void wvu_prefetch_write(const void *memory, uint32_t size)
{
    for (uint32_t i = 0; i < size; i += 64) {
#if defined(__x86_64__)
        /* The builtin gives this only when compiled for a processor that must have it; those that
         * have it not take it for a nop. */
        __asm__ volatile("prefetchw (%0)" : : "r"((uintptr_t)memory + i));
#else
        __builtin_prefetch((const void *)((uintptr_t)memory + i), 1);
#endif
    }
}

#elif defined(_MSC_VER)

/* Microsoft's compiler. The loads and stores are single and not moved by the compiler beyond their own
 * order; x64 keeps acquire and release by itself, ARM64 needs a barrier. What is documented as
 * interlocked without a suffix is a full barrier on both. */
#include <intrin.h>

#if defined(_M_ARM64)
#define wvu_order_barrier() __dmb(_ARM64_BARRIER_ISH)
#define wvu_full_barrier()  __dmb(_ARM64_BARRIER_ISH)
#define wvu_add64(p, value) ((uint64_t)_InterlockedExchangeAdd64_nf((p), (value)))
#elif defined(_M_X64)
#define wvu_order_barrier() _ReadWriteBarrier()
#define wvu_full_barrier()  __faststorefence()
#define wvu_add64(p, value) ((uint64_t)_InterlockedExchangeAdd64((p), (value)))
#else
#error "atomic.h: add the barriers for this processor"
#endif

static inline uint32_t wvu_load_relaxed(const uint32_t *p)
{
    wvu_simulated_load(p);
    return (uint32_t)__iso_volatile_load32((const volatile __int32 *)p);
}

static inline uint32_t wvu_load_acquire(const uint32_t *p)
{
    uint32_t value = wvu_load_relaxed(p);
    wvu_order_barrier();
    return value;
}

static inline uint64_t wvu_load64_relaxed(const uint64_t *p)
{
    wvu_simulated_load(p);
    return (uint64_t)__iso_volatile_load64((const volatile __int64 *)p);
}

static inline uint64_t wvu_load64_acquire(const uint64_t *p)
{
    uint64_t value = wvu_load64_relaxed(p);
    wvu_order_barrier();
    return value;
}

static inline void wvu_store_relaxed(uint32_t *p, uint32_t value)
{
    if (!wvu_simulated_store(p, 4, value))
        __iso_volatile_store32((volatile __int32 *)p, (__int32)value);
}

static inline void wvu_store_release(uint32_t *p, uint32_t value)
{
    wvu_order_barrier();
    wvu_store_relaxed(p, value);
}

static inline void wvu_store64_relaxed(uint64_t *p, uint64_t value)
{
    if (!wvu_simulated_store(p, 8, value))
        __iso_volatile_store64((volatile __int64 *)p, (__int64)value);
}

static inline void wvu_store64_release(uint64_t *p, uint64_t value)
{
    wvu_order_barrier();
    wvu_store64_relaxed(p, value);
}

static inline uint32_t wvu_exchange_full(uint32_t *p, uint32_t value)
{
    wvu_simulated_barrier();
    return (uint32_t)_InterlockedExchange((volatile long *)p, (long)value);
}

static inline bool wvu_compare_exchange_full(uint32_t *p, uint32_t expected, uint32_t value)
{
    wvu_simulated_barrier();
    return (uint32_t)_InterlockedCompareExchange((volatile long *)p, (long)value, (long)expected) ==
           expected;
}

static inline uint64_t wvu_add64_relaxed(uint64_t *p, uint64_t value)
{
    wvu_simulated_load(p);
    return wvu_add64((volatile __int64 *)p, (__int64)value) + value;
}

static inline void wvu_fence(void)
{
    wvu_simulated_barrier();
    wvu_full_barrier();
}

static inline void wvu_prefetch_write(const void *memory, uint32_t size)
{
    for (uint32_t i = 0; i < size; i += 64) {
#if defined(_M_ARM64)
        __prefetch2((const void *)((uintptr_t)memory + i), 0x10); /* PSTL1KEEP */
#else
        _m_prefetchw((const volatile void *)((uintptr_t)memory + i));
#endif
    }
}

#else
#error "atomic.h: add the accessors for this compiler"
#endif

#endif
