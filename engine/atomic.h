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

#if defined(__GNUC__) || defined(__clang__)

static inline uint32_t wvu_load_relaxed(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint32_t wvu_load_acquire(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint64_t wvu_load64_relaxed(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint64_t wvu_load64_acquire(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void wvu_store_relaxed(uint32_t *p, uint32_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline void wvu_store_release(uint32_t *p, uint32_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void wvu_store64_relaxed(uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline void wvu_store64_release(uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/* Both return the old value and are full barriers. */
static inline uint32_t wvu_exchange_full(uint32_t *p, uint32_t value)
{
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);
}

static inline bool wvu_compare_exchange_full(uint32_t *p, uint32_t expected, uint32_t value)
{
    return __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* Counters: no order beyond the addition itself. Returns the new value. */
static inline uint64_t wvu_add64_relaxed(uint64_t *p, uint64_t value)
{
    return __atomic_add_fetch(p, value, __ATOMIC_RELAXED);
}

static inline void wvu_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#else
#error "atomic.h: add the accessors for this compiler"
#endif

#endif
