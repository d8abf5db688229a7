/*
 * The engine's host services (os.h) on Linux; the log sink is in log_sink.c.
 *
 * Called by everything, from any thread. No function here allocates, except alloc and the making of
 * a thread. Waiting is by futex, on words that belong to this process alone.
 *
 * Invariants of the futex words, each on the type below:
 *   lock     0 free, 1 held. The release is a plain store, so nobody is ever woken: whoever finds
 * it held spins, then gives the processor away. Sections are some ten nanoseconds long; one that
 * takes longer has a holder that lost its processor, and needs ours. event    CLEAR, SET or
 * SLEEPING. Only the waiter writes SLEEPING, so a set that does not find it needs no system call.
 *   rundown  bit 0: closed; above it: how many are inside.
 *
 * A futex word may be freed by the thread that was let go before the other one has made its
 * FUTEX_WAKE: the call then names an address and touches nothing, at worst it wakes a thread of
 * this process too early. All waits here look again, as futex waits must.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"

#define NS_PER_SECOND    UINT64_C(1000000000)
#define SYSTEM_TIME_1970 INT64_C(116444736000000000) /* 1970-01-01 in 100 ns since 1601-01-01 */

/* The state is broken in a way that no status can express: a bug of the caller. */
static _Noreturn void die(const char *what)
{
    fprintf(stderr, "wvud: internal error: %s\n", what);
    abort();
}

/* ---- memory ------------------------------------------------------------------------------------
 */

/* Stands before each block. Its size keeps blocks on cache lines of their own, which the ring and
 * its counters like. */
struct block {
    uint32_t tag;
};

#define BLOCK_HEADER 64u

void *wvu_os_alloc(size_t size, uint32_t tag)
{
    if (size > SIZE_MAX - 2 * BLOCK_HEADER)
        return NULL;
    size_t whole = (BLOCK_HEADER + size + BLOCK_HEADER - 1) / BLOCK_HEADER * BLOCK_HEADER;
    unsigned char *memory = aligned_alloc(BLOCK_HEADER, whole);
    if (memory == NULL)
        return NULL;
    /* Writing it all also makes the kernel find the pages now: what the daemon uses is fixed from
     * its start on, and no event pays for a page fault. */
    memset(memory, 0, whole);
    ((struct block *)(void *)memory)->tag = tag;
    return memory + BLOCK_HEADER;
}

void wvu_os_free(void *memory, uint32_t tag)
{
    if (memory == NULL)
        return;
    void *start = (unsigned char *)memory - BLOCK_HEADER;
    struct block *block = start;
    if (block->tag != tag)
        die("memory is freed with another tag than it was allocated with, or twice");
    block->tag = 0;
    free(start);
}

/* ---- futex -------------------------------------------------------------------------------------
 */

/* Sleeps while *word is `expected`, until woken or until the absolute monotonic `deadline`. Returns
 * false when the deadline was what ended it. Wakes without cause are possible. */
static bool futex_wait(uint32_t *word, uint32_t expected, uint64_t deadline)
{
    struct timespec until = {(time_t)(deadline / NS_PER_SECOND), (long)(deadline % NS_PER_SECOND)};
    long result =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                deadline == WVU_TIMEOUT_NONE ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
    if (result == 0 || errno == EAGAIN || errno == EINTR)
        return true;
    if (errno == ETIMEDOUT)
        return false;
    die("futex wait failed");
}

static void futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}

/* ---- spin lock ---------------------------------------------------------------------------------
 */

struct lock {
    uint32_t held;
};
_Static_assert(sizeof(struct lock) <= sizeof(wvu_lock), "wvu_lock is too small");

#define LOCK_SPINS  64 /* 2 to 3 microseconds */
#define LOCK_YIELDS 8
#define LOCK_NAP_NS 20000

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

static bool lock_try(struct lock *lock)
{
    return wvu_load_relaxed(&lock->held) == 0 && wvu_compare_exchange_full(&lock->held, 0, 1);
}

/* Yielding is not enough against a holder of lower priority on this very processor: in the end we
 * must sleep. */
static void lock_wait(struct lock *lock)
{
    for (uint32_t round = 0;; round++) {
        for (uint32_t spin = 0; spin < LOCK_SPINS; spin++) {
            if (lock_try(lock))
                return;
            cpu_relax();
        }
        if (round < LOCK_YIELDS)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, LOCK_NAP_NS}, NULL);
    }
}

void wvu_lock_init(wvu_lock *lock)
{
    memset(lock, 0, sizeof *lock);
}

void wvu_lock_acquire(wvu_lock *opaque)
{
    struct lock *lock = (struct lock *)opaque;
    if (!wvu_compare_exchange_full(&lock->held, 0, 1))
        lock_wait(lock);
}

void wvu_lock_release(wvu_lock *opaque)
{
    wvu_store_release(&((struct lock *)opaque)->held, 0);
}

/* ---- mutex -------------------------------------------------------------------------------------
 */

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(wvu_mutex), "wvu_mutex is too small");

wvu_status wvu_mutex_init(wvu_mutex *mutex)
{
    return pthread_mutex_init((pthread_mutex_t *)mutex, NULL) == 0 ? WVU_STATUS_OK
                                                                   : WVU_STATUS_NO_RESOURCES;
}

void wvu_mutex_destroy(wvu_mutex *mutex)
{
    if (pthread_mutex_destroy((pthread_mutex_t *)mutex) != 0)
        die("a mutex is destroyed while it is held");
}

void wvu_mutex_acquire(wvu_mutex *mutex)
{
    if (pthread_mutex_lock((pthread_mutex_t *)mutex) != 0)
        die("a mutex cannot be acquired");
}

void wvu_mutex_release(wvu_mutex *mutex)
{
    if (pthread_mutex_unlock((pthread_mutex_t *)mutex) != 0)
        die("a mutex cannot be released");
}

/* ---- event -------------------------------------------------------------------------------------
 */

enum { EVENT_CLEAR, EVENT_SET, EVENT_SLEEPING };

struct event {
    uint32_t state;
};
_Static_assert(sizeof(struct event) <= sizeof(wvu_event), "wvu_event is too small");

wvu_status wvu_event_init(wvu_event *event)
{
    memset(event, 0, sizeof *event);
    return WVU_STATUS_OK;
}

void wvu_event_destroy(wvu_event *event)
{
    (void)event;
}

void wvu_event_set(wvu_event *opaque)
{
    struct event *event = (struct event *)opaque;
    wvu_fence(); /* not every processor's exchange orders an earlier store before a later load */
    if (wvu_exchange_full(&event->state, EVENT_SET) == EVENT_SLEEPING)
        futex_wake(&event->state);
}

/* Takes a set; leaves the state CLEAR either way, also after a sleep. */
static bool event_take(struct event *event)
{
    return wvu_exchange_full(&event->state, EVENT_CLEAR) == EVENT_SET;
}

static uint64_t deadline_after(uint64_t timeout_ns)
{
    uint64_t now = wvu_os_uptime();
    return timeout_ns < WVU_TIMEOUT_NONE - now ? now + timeout_ns : WVU_TIMEOUT_NONE;
}

wvu_status wvu_event_wait(wvu_event *opaque, uint64_t timeout_ns)
{
    struct event *event = (struct event *)opaque;
    if (event_take(event))
        return WVU_STATUS_OK;
    if (timeout_ns == 0)
        return WVU_STATUS_TIMEOUT;
    uint64_t deadline = deadline_after(timeout_ns);
    bool in_time = true;
    while (in_time) {
        if (wvu_compare_exchange_full(&event->state, EVENT_CLEAR, EVENT_SLEEPING))
            in_time = futex_wait(&event->state, EVENT_SLEEPING, deadline);
        if (event_take(event))
            return WVU_STATUS_OK;
    }
    return WVU_STATUS_TIMEOUT;
}

/* ---- thread ------------------------------------------------------------------------------------
 */

struct thread {
    pthread_t id;
    void (*body)(void *);
    void *context;
};
_Static_assert(sizeof(struct thread) <= sizeof(wvu_thread), "wvu_thread is too small");

#define THREAD_STACK (512u << 10)

static void *thread_main(void *argument)
{
    struct thread *thread = argument;
    thread->body(thread->context);
    return NULL;
}

/* Signals are the main thread's business, but for those that a fault raises in the thread itself.
 */
static void block_signals(sigset_t *old)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_BLOCK, &set, old);
}

static int create(struct thread *thread)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return error;
    error = pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (error == 0) {
        sigset_t old;
        block_signals(&old);
        error = pthread_create(&thread->id, &attributes, thread_main, thread);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    pthread_attr_destroy(&attributes);
    return error;
}

wvu_status wvu_thread_start(wvu_thread *opaque, const char *name, void (*body)(void *),
                            void *context)
{
    struct thread *thread = (struct thread *)opaque;
    thread->body = body;
    thread->context = context;
    if (create(thread) != 0)
        return WVU_STATUS_NO_RESOURCES;
    char comm[16]; /* all that the kernel keeps; the name only helps people, so failure is no error
                    */
    snprintf(comm, sizeof comm, "%s", name);
    pthread_setname_np(thread->id, comm);
    return WVU_STATUS_OK;
}

void wvu_thread_join(wvu_thread *thread)
{
    if (pthread_join(((struct thread *)thread)->id, NULL) != 0)
        die("a thread cannot be joined");
}

/* ---- run-down ----------------------------------------------------------------------------------
 */

#define RUNDOWN_CLOSED 1u
#define RUNDOWN_USER   2u

struct rundown {
    uint32_t state;
};
_Static_assert(sizeof(struct rundown) <= sizeof(wvu_rundown), "wvu_rundown is too small");

wvu_status wvu_rundown_init(wvu_rundown *rundown)
{
    memset(rundown, 0, sizeof *rundown);
    return WVU_STATUS_OK;
}

void wvu_rundown_destroy(wvu_rundown *rundown)
{
    (void)rundown;
}

bool wvu_rundown_acquire(wvu_rundown *opaque)
{
    struct rundown *rundown = (struct rundown *)opaque;
    for (;;) {
        uint32_t state = wvu_load_relaxed(&rundown->state);
        if ((state & RUNDOWN_CLOSED) != 0)
            return false;
        if (wvu_compare_exchange_full(&rundown->state, state, state + RUNDOWN_USER))
            return true;
    }
}

void wvu_rundown_release(wvu_rundown *opaque)
{
    struct rundown *rundown = (struct rundown *)opaque;
    uint32_t state;
    do {
        state = wvu_load_relaxed(&rundown->state);
    } while (!wvu_compare_exchange_full(&rundown->state, state, state - RUNDOWN_USER));
    if (state == (RUNDOWN_USER | RUNDOWN_CLOSED))
        futex_wake(&rundown->state);
}

void wvu_rundown_wait(wvu_rundown *opaque)
{
    struct rundown *rundown = (struct rundown *)opaque;
    uint32_t state;
    do {
        state = wvu_load_relaxed(&rundown->state);
    } while (!wvu_compare_exchange_full(&rundown->state, state, state | RUNDOWN_CLOSED));
    while ((state = wvu_load_acquire(&rundown->state)) != RUNDOWN_CLOSED)
        futex_wait(&rundown->state, state, WVU_TIMEOUT_NONE);
}

void wvu_rundown_reopen(wvu_rundown *rundown)
{
    if (!wvu_compare_exchange_full(&((struct rundown *)rundown)->state, RUNDOWN_CLOSED, 0))
        die("a run-down is opened again that was not run down");
}

/* ---- clocks and randomness ----------------------------------------------------------------- */

static struct timespec now(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        die("a clock cannot be read");
    return time;
}

int64_t wvu_os_system_time(void)
{
    struct timespec time = now(CLOCK_REALTIME);
    return SYSTEM_TIME_1970 + (int64_t)time.tv_sec * 10000000 + time.tv_nsec / 100;
}

uint64_t wvu_os_uptime(void)
{
    struct timespec time = now(CLOCK_MONOTONIC);
    return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

wvu_status wvu_os_random(void *buffer, size_t size)
{
    unsigned char *to = buffer;
    while (size > 0) {
        ssize_t got = getrandom(to, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return WVU_STATUS_IO_ERROR;
        to += got;
        size -= (size_t)got;
    }
    return WVU_STATUS_OK;
}

/* ---- case ----------------------------------------------------------------------------------- */

uint16_t wvu_os_upcase(uint16_t unit)
{
    return unit; /* file names here do not ignore case */
}
