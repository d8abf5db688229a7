/*
 * The simulated host: os.h under one deterministic scheduler with virtual time.
 *
 * Each thread of the engine and of the test is a coroutine; all of them run on one real thread.
 * Every call of os.h and, in an engine built with WVU_SIMULATED, every access of atomic.h is a
 * scheduling point: there the seed's random numbers may give the processor to another coroutine. A
 * seed thus fixes the whole run, and can be replayed.
 *
 * Virtual time moves by some nanoseconds at each point, and jumps to the next timer only when no
 * coroutine can run. So nothing takes real time, and "nothing happened for an hour" is one jump.
 *
 * Atomic stores can be delayed as processors delay them: each coroutine has a small FIFO of stores
 * that others do not see yet. Full barriers, the release of a lock and every wait empty it; an
 * acquire does not. A coroutine that loads what it has stored itself drains first (always allowed).
 *
 * What the simulated host refuses, and reports as a failure with a dump of who waits where:
 * deadlock, no end in sight, a wait or allocation under a spin lock or in a kernel callback, an
 * object used before init or after destroy, a lock taken twice or released by another thread, two
 * waiters on one event, a free with another tag, a store delayed into freed memory; memory, objects,
 * locks or threads left at the end.
 *
 * Sanitizers are told of every switch. For ThreadSanitizer coroutines are threads, and only what
 * os.h promises orders them: it sees races between coroutines although they share one real thread.
 * (This file and the tests beside it are compiled without it; they are ordered by the scheduler.)
 *
 * One real thread, no locks; all state is in `sim`.
 */
#define _GNU_SOURCE
#include "os_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WVU_SIM_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WVU_SIM_ASAN 1
#endif

#ifdef WVU_SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WVU_SIM_TSAN /* defined by the build: this file itself is not instrumented */
#include <sanitizer/tsan_interface.h>
#define order_before(object) __tsan_release((void *)(object))
#define order_after(object)  __tsan_acquire((void *)(object))
#else
#define order_before(object) ((void)(object))
#define order_after(object)  ((void)(object))
#endif

#define COROUTINES_MAX 48
#define STACK_SIZE     (256u << 10)
#define GUARD_SIZE     4096u
#define DELAYED_MAX    4
#define POINTS_DEFAULT UINT64_C(20000000)
#define MEMORY_MAGIC   UINT64_C(0x5eedab1e0ddba115)
#define POINT_STEP_NS  40 /* virtual time at a scheduling point: 0 .. this */
#define FAILURE_MAX    4096

enum state {
    UNUSED,
    RUNNABLE,
    WAITS_LOCK,
    WAITS_MUTEX,
    WAITS_EVENT,
    WAITS_RUNDOWN,
    WAITS_JOIN,
    SLEEPS,
    ENDED
};
static const char *const state_names[] = {
    "unused",          "runnable",        "waits for lock",
    "waits for mutex", "waits for event", "waits for run-down",
    "joins",           "sleeps",          "ended"};

struct delayed {
    void *where;
    uint32_t size;
    uint64_t value;
};

struct coroutine {
    ucontext_t context;
    enum state state;
    char name[24];
    void (*body)(void *);
    void *argument;
    const void *waits_for;
    uint64_t wakes_at; /* virtual time; WVU_TIMEOUT_NONE: no timer */
    bool timer_fired;
    uint32_t spin_locks; /* held */
    uint32_t mutexes;    /* held */
    bool in_callback;
    uint32_t weight; /* share of the processor */
    uint64_t wakes;
    struct delayed delayed[DELAYED_MAX];
    uint32_t delayed_count;
    void *fake_stack;
    void *fiber;
};

/* Objects of os.h. Zero serials are objects that were not initialised. */
struct sim_lock {
    uint64_t serial;
    struct coroutine *holder;
};
struct sim_event {
    uint64_t serial;
    struct coroutine *waiter;
    uint64_t wakes;
    bool set;
};
struct sim_thread {
    uint64_t serial;
    struct coroutine *coroutine;
};
struct sim_rundown {
    uint64_t serial;
    struct coroutine *waiter;
    uint64_t users;
    bool closed;
};
_Static_assert(sizeof(struct sim_lock) <= sizeof(wvu_lock), "lock");
_Static_assert(sizeof(struct sim_lock) <= sizeof(wvu_mutex), "mutex");
_Static_assert(sizeof(struct sim_event) <= sizeof(wvu_event), "event");
_Static_assert(sizeof(struct sim_thread) <= sizeof(wvu_thread), "thread");
_Static_assert(sizeof(struct sim_rundown) <= sizeof(wvu_rundown), "run-down");

struct memory {
    struct memory *next;
    struct memory *previous;
    uint64_t magic;
    size_t size;
    uint32_t tag;
    uint32_t reserved[3];
    uint8_t bytes[];
};
_Static_assert(sizeof(struct memory) % 16 == 0, "alignment of what wvu_os_alloc returns");

static struct {
    struct wvu_sim_settings settings;
    ucontext_t outside;
    struct coroutine coroutines[COROUTINES_MAX];
    struct coroutine *current;
    uint8_t *stacks; /* kept from run to run */
    uint64_t random;
    uint64_t now;
    int64_t clock_shift;
    uint64_t points;
    uint64_t serials;
    uint64_t objects; /* mutexes, events and run-downs that were not destroyed yet */
    uint64_t services;
    uint64_t failing_service;
    struct memory *memory;
    uint64_t allocations;
    bool failed;
    bool running;
    char failure[FAILURE_MAX];
#ifdef WVU_SIM_ASAN
    const void *outside_stack;
    size_t outside_size;
    void *outside_fake_stack;
#endif
#ifdef WVU_SIM_TSAN
    void *outside_fiber;
#endif
} sim;

/* ---- random numbers -----------------------------------------------------------------------------
 */

static uint64_t random_next(void) /* splitmix64 */
{
    uint64_t z = sim.random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t wvu_sim_random(uint64_t bound)
{
    return random_next() % bound;
}

bool wvu_sim_odds(uint32_t one_in)
{
    return random_next() % one_in == 0;
}

/* ---- failure -------------------------------------------------------------------------------- */

static void dump_coroutines(void)
{
    size_t length = strlen(sim.failure);

    for (size_t i = 0; i < COROUTINES_MAX && length < FAILURE_MAX - 128; i++) {
        const struct coroutine *c = &sim.coroutines[i];
        uint64_t serial = 0;

        if (c->state == UNUSED || c->state == ENDED)
            continue;
        if (c->waits_for != NULL)
            memcpy(&serial, c->waits_for, sizeof(serial)); /* each object begins with its serial */
        length += (size_t)snprintf(sim.failure + length, FAILURE_MAX - length, "\n    %c %-16s %s",
                                   c == sim.current ? '*' : ' ', c->name, state_names[c->state]);
        if (c->state == WAITS_JOIN)
            length += (size_t)snprintf(sim.failure + length, FAILURE_MAX - length, " %s",
                                       ((const struct coroutine *)c->waits_for)->name);
        else if (c->waits_for != NULL)
            length += (size_t)snprintf(sim.failure + length, FAILURE_MAX - length, " #%llu",
                                       (unsigned long long)serial);
        if ((c->state == WAITS_LOCK || c->state == WAITS_MUTEX) &&
            ((const struct sim_lock *)c->waits_for)->holder != NULL)
            length += (size_t)snprintf(sim.failure + length, FAILURE_MAX - length, " held by %s",
                                       ((const struct sim_lock *)c->waits_for)->holder->name);
        if (c->wakes_at != WVU_TIMEOUT_NONE && c->state != RUNNABLE)
            length += (size_t)snprintf(sim.failure + length, FAILURE_MAX - length, " until %llu ns",
                                       (unsigned long long)c->wakes_at);
        if (c->spin_locks != 0 || c->mutexes != 0)
            length +=
                (size_t)snprintf(sim.failure + length, FAILURE_MAX - length,
                                 ", holds %u locks and %u mutexes", c->spin_locks, c->mutexes);
    }
}

static void note_failure(const char *format, va_list arguments)
{
    int length = snprintf(sim.failure, FAILURE_MAX, "at %llu ns: ", (unsigned long long)sim.now);

    vsnprintf(sim.failure + length, FAILURE_MAX - (size_t)length, format, arguments);
    sim.failed = true;
    dump_coroutines();
}

static void leave_simulation(void);

void wvu_sim_fail(const char *format, ...)
{
    va_list arguments;

    if (!sim.failed) {
        va_start(arguments, format);
        note_failure(format, arguments);
        va_end(arguments);
    }
    leave_simulation();
    abort(); /* nothing comes back here */
}

const char *wvu_sim_failure(void)
{
    return sim.failure;
}

static void print_line(const char *format, va_list arguments)
{
    fprintf(stderr, "%14llu %-14s ", (unsigned long long)sim.now,
            sim.current != NULL ? sim.current->name : "-");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void wvu_sim_trace(const char *format, ...)
{
    va_list arguments;

    if (!sim.settings.verbose)
        return;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
}

/* ---- delayed stores ------------------------------------------------------------------------- */

static void perform(const struct delayed *store)
{
    if (store->size == 4)
        __atomic_store_n((uint32_t *)store->where, (uint32_t)store->value, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n((uint64_t *)store->where, store->value, __ATOMIC_SEQ_CST);
}

static void drain_one(struct coroutine *c)
{
    perform(&c->delayed[0]);
    c->delayed_count--;
    memmove(&c->delayed[0], &c->delayed[1], c->delayed_count * sizeof(c->delayed[0]));
}

static void drain(struct coroutine *c)
{
    while (c->delayed_count > 0)
        drain_one(c);
}

/* ---- the scheduler -------------------------------------------------------------------------- */

static uint8_t *stack_of(const struct coroutine *c)
{
    return sim.stacks + (size_t)(c - sim.coroutines) * (STACK_SIZE + GUARD_SIZE) + GUARD_SIZE;
}

static void switch_to(struct coroutine *next)
{
    struct coroutine *self = sim.current;

    if (next == self)
        return;
    sim.current = next;
#ifdef WVU_SIM_TSAN
    __tsan_switch_to_fiber(next->fiber, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef WVU_SIM_ASAN
    __sanitizer_start_switch_fiber(self->state == ENDED ? NULL : &self->fake_stack, stack_of(next),
                                   STACK_SIZE);
#endif
    swapcontext(&self->context, &next->context);
#ifdef WVU_SIM_ASAN
    __sanitizer_finish_switch_fiber(self->fake_stack, NULL, NULL);
#endif
}

/* Back to wvu_sim_run, for good. */
static void leave_simulation(void)
{
    struct coroutine *self = sim.current;

    sim.current = NULL;
#ifdef WVU_SIM_TSAN
    __tsan_switch_to_fiber(sim.outside_fiber, 0);
#endif
#ifdef WVU_SIM_ASAN
    __sanitizer_start_switch_fiber(NULL, sim.outside_stack, sim.outside_size);
#endif
    setcontext(&sim.outside);
    (void)self;
}

static bool can_run(struct coroutine *c)
{
    if (c->state == RUNNABLE)
        return true;
    if (c->state != UNUSED && c->state != ENDED && c->wakes_at <= sim.now) {
        c->state = RUNNABLE;
        c->timer_fired = true;
        return true;
    }
    return false;
}

/* Somebody who can run, by weight; NULL when nobody can. */
static struct coroutine *pick(void)
{
    struct coroutine *able[COROUTINES_MAX];
    size_t count = 0;
    uint64_t total = 0;
    uint64_t ticket;

    for (size_t i = 0; i < COROUTINES_MAX; i++) {
        if (can_run(&sim.coroutines[i])) {
            able[count++] = &sim.coroutines[i];
            total += sim.coroutines[i].weight;
        }
    }
    if (count == 0)
        return NULL;
    ticket = wvu_sim_random(total);
    for (size_t i = 0;; i++) {
        if (ticket < able[i]->weight)
            return able[i];
        ticket -= able[i]->weight;
    }
}

/* Nobody can run: what was delayed becomes visible, and time jumps to the next timer. */
static void jump_to_timer(void)
{
    uint64_t next = WVU_TIMEOUT_NONE;

    for (size_t i = 0; i < COROUTINES_MAX; i++) {
        struct coroutine *c = &sim.coroutines[i];

        drain(c);
        if (c->state != UNUSED && c->state != ENDED && c->wakes_at < next)
            next = c->wakes_at;
    }
    wvu_sim_check(next != WVU_TIMEOUT_NONE, "deadlock: every thread waits and no timer runs");
    sim.now = next;
}

static void reschedule(void)
{
    struct coroutine *next;

    while ((next = pick()) == NULL)
        jump_to_timer();
    switch_to(next);
}

static void point(void)
{
    if (!sim.running)
        return;
    if (++sim.points > sim.settings.point_limit)
        wvu_sim_fail("no end in sight after %llu scheduling points",
                     (unsigned long long)sim.points);
    sim.now += wvu_sim_random(POINT_STEP_NS + 1);
    if (sim.settings.store_buffers && wvu_sim_odds(4)) {
        struct coroutine *c = &sim.coroutines[wvu_sim_random(COROUTINES_MAX)];

        if (c->delayed_count > 0)
            drain_one(c);
        else if (sim.current->delayed_count > 0)
            drain_one(sim.current);
    }
    if (wvu_sim_odds(sim.settings.switch_odds))
        reschedule();
}

/* Gives up the processor until somebody makes the coroutine runnable or the timer fires (true). */
static bool block(enum state state, const void *object, uint64_t wakes_at)
{
    struct coroutine *self = sim.current;

    drain(self);
    self->state = state;
    self->waits_for = object;
    self->wakes_at = wakes_at;
    self->timer_fired = false;
    reschedule();
    self->waits_for = NULL;
    self->wakes_at = WVU_TIMEOUT_NONE;
    return self->timer_fired;
}

static void unblock(struct coroutine *c)
{
    c->state = RUNNABLE;
    c->wakes_at = WVU_TIMEOUT_NONE;
    c->timer_fired = false;
}

static uint64_t deadline(uint64_t timeout_ns)
{
    return timeout_ns >= WVU_TIMEOUT_NONE - sim.now ? WVU_TIMEOUT_NONE : sim.now + timeout_ns;
}

/* Start of every service that belongs to PASSIVE_LEVEL. */
static void passive(const char *service)
{
    wvu_sim_check(!sim.current->in_callback, "%s in a kernel callback", service);
    wvu_sim_check(sim.current->spin_locks == 0, "%s while a spin lock is held", service);
    point();
}

static bool service_fails(void)
{
    sim.services++;
    if (sim.failing_service == 0 || --sim.failing_service != 0)
        return false;
    wvu_sim_trace("service %llu fails", (unsigned long long)sim.services);
    return true;
}

static void check_object(uint64_t serial, const char *what)
{
    wvu_sim_check(serial != 0, "%s is used before its init or after its destroy", what);
}

/* ---- coroutines ----------------------------------------------------------------------------- */

static void coroutine_main(void)
{
    struct coroutine *self = sim.current;

#ifdef WVU_SIM_ASAN
    if (sim.outside_stack == NULL)
        __sanitizer_finish_switch_fiber(NULL, &sim.outside_stack, &sim.outside_size);
    else
        __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    order_after(&self->state);
    self->body(self->argument);
    point();
    wvu_sim_check(self->spin_locks == 0 && self->mutexes == 0, "%s ends with a lock held",
                  self->name);
    drain(self);
    order_before(&self->state);
    self->state = ENDED;
    for (size_t i = 0; i < COROUTINES_MAX; i++) {
        struct coroutine *c = &sim.coroutines[i];

        if (c->state == WAITS_JOIN && c->waits_for == self)
            unblock(c);
    }
    if (self == &sim.coroutines[0])
        leave_simulation();
    reschedule();
}

static struct coroutine *coroutine_create(const char *name, void (*body)(void *), void *argument)
{
    struct coroutine *c = sim.coroutines;

    while (c < sim.coroutines + COROUTINES_MAX && c->state != UNUSED)
        c++;
    wvu_sim_check(c < sim.coroutines + COROUTINES_MAX, "more than %d threads", COROUTINES_MAX);
    memset(c, 0, sizeof(*c));
    snprintf(c->name, sizeof(c->name), "%s", name);
    c->body = body;
    c->argument = argument;
    c->wakes_at = WVU_TIMEOUT_NONE;
    c->weight = sim.settings.uneven && wvu_sim_odds(3) ? 1 : 16;
    c->state = RUNNABLE;
    getcontext(&c->context);
    c->context.uc_stack.ss_sp = stack_of(c);
    c->context.uc_stack.ss_size = STACK_SIZE;
    makecontext(&c->context, coroutine_main, 0);
#ifdef WVU_SIM_ASAN
    __asan_unpoison_memory_region(stack_of(c), STACK_SIZE);
#endif
#ifdef WVU_SIM_TSAN
    c->fiber = __tsan_create_fiber(0);
    __tsan_set_fiber_name(c->fiber, c->name);
#endif
    return c;
}

static void coroutine_destroy(struct coroutine *c)
{
#ifdef WVU_SIM_TSAN
    __tsan_destroy_fiber(c->fiber);
#endif
    c->state = UNUSED;
    c->delayed_count = 0;
}

/* ---- running -------------------------------------------------------------------------------- */

static void map_stacks(void)
{
    size_t each = STACK_SIZE + GUARD_SIZE;

    sim.stacks = mmap(NULL, COROUTINES_MAX * each, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sim.stacks == MAP_FAILED) {
        perror("no memory for the stacks of the simulation");
        exit(2);
    }
    for (size_t i = 0; i < COROUTINES_MAX; i++)
        mprotect(sim.stacks + i * each, GUARD_SIZE, PROT_NONE);
}

static void reset(const struct wvu_sim_settings *settings)
{
    if (sim.stacks == NULL)
        map_stacks();
    sim.settings = *settings;
    if (sim.settings.switch_odds == 0)
        sim.settings.switch_odds = 1;
    if (sim.settings.point_limit == 0)
        sim.settings.point_limit = POINTS_DEFAULT;
#ifdef WVU_SIM_TSAN
    sim.settings.store_buffers = false; /* a store must be made by its own thread to be judged */
#endif
    sim.random = settings->seed * UINT64_C(0xd1342543de82ef95) + 1;
    sim.now = wvu_sim_random(100 * WVU_SIM_S);
    sim.clock_shift = 0;
    sim.points = 0;
    sim.serials = 0;
    sim.objects = 0;
    sim.services = 0;
    sim.failing_service = 0;
    sim.failed = false;
    sim.failure[0] = '\0';
}

static void note_plainly(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note_failure(format, arguments);
    va_end(arguments);
}

static void check_end(void)
{
    for (size_t i = 0; i < COROUTINES_MAX && !sim.failed; i++)
        if (i != 0 && sim.coroutines[i].state != UNUSED)
            note_plainly("thread %s is not joined at the end", sim.coroutines[i].name);
    if (!sim.failed && sim.memory != NULL)
        note_plainly("%llu allocations are left; the newest has %zu bytes, tag %.4s",
                     (unsigned long long)sim.allocations, sim.memory->size,
                     (const char *)&sim.memory->tag);
    if (!sim.failed && sim.objects != 0)
        note_plainly("%llu mutexes, events or run-downs are not destroyed at the end",
                     (unsigned long long)sim.objects);
}

/* After a failure threads and memory are left as they are; make the next run possible. */
static void sweep(void)
{
    for (size_t i = 0; i < COROUTINES_MAX; i++)
        if (sim.coroutines[i].state != UNUSED)
            coroutine_destroy(&sim.coroutines[i]);
    while (sim.memory != NULL) {
        struct memory *memory = sim.memory;

        sim.memory = memory->next;
#ifndef WVU_SIM_TSAN /* it would take this for a race with the threads that were left */
        free(memory);
#endif
    }
    sim.allocations = 0;
}

bool wvu_sim_run(const struct wvu_sim_settings *settings, void (*body)(void *), void *context)
{
    struct coroutine *first;
    volatile bool entered = false;

    reset(settings);
    sim.running = true;
    first = coroutine_create("control", body, context);
#ifdef WVU_SIM_ASAN
    sim.outside_stack = NULL;
#endif
    getcontext(&sim.outside);
    if (!entered) {
        entered = true;
        sim.current = first;
#ifdef WVU_SIM_TSAN
        sim.outside_fiber = __tsan_get_current_fiber();
        order_before(&first->state);
        __tsan_switch_to_fiber(first->fiber, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef WVU_SIM_ASAN
        __sanitizer_start_switch_fiber(&sim.outside_fake_stack, stack_of(first), STACK_SIZE);
#endif
        setcontext(&first->context);
    }
#ifdef WVU_SIM_ASAN
    __sanitizer_finish_switch_fiber(sim.outside_fake_stack, NULL, NULL);
#endif
    sim.running = false;
    if (!sim.failed)
        check_end();
    sweep();
    return !sim.failed;
}

/* ---- what tests ask for --------------------------------------------------------------------- */

void wvu_sim_sleep(uint64_t ns)
{
    passive("sleep");
    block(SLEEPS, NULL, deadline(ns));
}

void wvu_sim_stall(uint64_t ns)
{
    block(SLEEPS, NULL, deadline(ns));
}

void wvu_sim_callback_begin(void)
{
    wvu_sim_check(!sim.current->in_callback, "a callback within a callback");
    sim.current->in_callback = true;
}

void wvu_sim_callback_end(void)
{
    wvu_sim_check(sim.current->in_callback, "no callback to end");
    sim.current->in_callback = false;
}

void wvu_sim_fail_service(uint64_t nth)
{
    sim.failing_service = nth;
}

uint64_t wvu_sim_services(void)
{
    return sim.services;
}

void wvu_sim_order(const void *object)
{
    order_before(object);
    order_after(object);
}

void wvu_sim_shift_clock(int64_t units)
{
    sim.clock_shift += units;
}

uint64_t wvu_sim_wakes(const char *thread)
{
    uint64_t wakes = 0;

    for (size_t i = 0; i < COROUTINES_MAX; i++)
        if (sim.coroutines[i].state != UNUSED && strcmp(sim.coroutines[i].name, thread) == 0)
            wakes += sim.coroutines[i].wakes;
    return wakes;
}

uint64_t wvu_sim_event_wakes(const wvu_event *event)
{
    return ((const struct sim_event *)event)->wakes;
}

uint64_t wvu_sim_points(void)
{
    return sim.points;
}

uint64_t wvu_sim_allocations(void)
{
    return sim.allocations;
}

/* ---- atomic.h: the engine built with WVU_SIMULATED calls these ------------------------------ */

void wvu_simulated_load(const void *where);
bool wvu_simulated_store(void *where, uint32_t size, uint64_t value);
void wvu_simulated_barrier(void);

void wvu_simulated_load(const void *where)
{
    struct coroutine *self;

    if (!sim.running)
        return;
    point();
    self = sim.current;
    for (uint32_t i = 0; i < self->delayed_count; i++) {
        if (self->delayed[i].where == where) {
            drain(self);
            return;
        }
    }
}

/* True: the store was taken and will be made later. False: the caller makes it. */
bool wvu_simulated_store(void *where, uint32_t size, uint64_t value)
{
    struct coroutine *self;

    if (!sim.running)
        return false;
    point();
    self = sim.current;
    if (!sim.settings.store_buffers || wvu_sim_odds(2)) {
        drain(self);
        return false;
    }
    if (self->delayed_count == DELAYED_MAX)
        drain_one(self);
    self->delayed[self->delayed_count++] = (struct delayed){where, size, value};
    return true;
}

void wvu_simulated_barrier(void)
{
    if (!sim.running)
        return;
    point();
    drain(sim.current);
}

/* ---- os.h: memory --------------------------------------------------------------------------- */

void *wvu_os_alloc(size_t size, uint32_t tag)
{
    struct memory *memory;

    passive("wvu_os_alloc");
    wvu_sim_check(size > 0, "an allocation of 0 bytes");
    if (service_fails())
        return NULL;
    memory = calloc(1, sizeof(*memory) + size);
    wvu_sim_check(memory != NULL, "the machine itself has no memory");
    memory->magic = MEMORY_MAGIC;
    memory->size = size;
    memory->tag = tag;
    memory->next = sim.memory;
    if (sim.memory != NULL)
        sim.memory->previous = memory;
    sim.memory = memory;
    sim.allocations++;
    return memory->bytes;
}

/* No thread may have a store on its way into memory that is being freed. */
static void check_delayed(const struct memory *memory)
{
    for (size_t i = 0; i < COROUTINES_MAX; i++) {
        const struct coroutine *c = &sim.coroutines[i];

        for (uint32_t d = 0; c->state != UNUSED && d < c->delayed_count; d++) {
            const uint8_t *where = c->delayed[d].where;

            wvu_sim_check(where < memory->bytes || where >= memory->bytes + memory->size,
                          "memory is freed while %s still has a store to it under way", c->name);
        }
    }
}

void wvu_os_free(void *bytes, uint32_t tag)
{
    struct memory *memory;

    passive("wvu_os_free");
    if (bytes == NULL)
        return;
    drain(sim.current);
    memory = (struct memory *)(void *)((uint8_t *)bytes - offsetof(struct memory, bytes));
    wvu_sim_check(memory->magic == MEMORY_MAGIC, "free of what was not allocated");
    wvu_sim_check(memory->tag == tag, "free with tag %.4s of memory with tag %.4s",
                  (const char *)&tag, (const char *)&memory->tag);
    check_delayed(memory);
    if (memory->next != NULL)
        memory->next->previous = memory->previous;
    if (memory->previous != NULL)
        memory->previous->next = memory->next;
    else
        sim.memory = memory->next;
    memory->magic = 0;
    sim.allocations--;
    free(memory);
}

/* ---- os.h: locks and mutexes ---------------------------------------------------------------- */

/* A struct of opaque numbers is used as another type: through memory of the same object, as the
 * host's right (os.h), and always as the same type. */
static void take(struct sim_lock *lock, enum state state, const char *what)
{
    check_object(lock->serial, what);
    wvu_sim_check(lock->holder != sim.current, "%s taken twice by %s", what, sim.current->name);
    while (lock->holder != NULL)
        block(state, lock, WVU_TIMEOUT_NONE);
    lock->holder = sim.current;
    order_after(lock);
}

static void give(struct sim_lock *lock, enum state state, const char *what)
{
    check_object(lock->serial, what);
    wvu_sim_check(lock->holder == sim.current, "%s released by %s, which does not hold it", what,
                  sim.current->name);
    drain(sim.current);
    order_before(lock);
    lock->holder = NULL;
    for (size_t i = 0; i < COROUTINES_MAX; i++) {
        struct coroutine *c = &sim.coroutines[i];

        if (c->state == state && c->waits_for == lock)
            unblock(c);
    }
}

void wvu_lock_init(wvu_lock *lock)
{
    *(struct sim_lock *)lock = (struct sim_lock){.serial = ++sim.serials};
}

void wvu_lock_acquire(wvu_lock *lock)
{
    point();
    take((struct sim_lock *)lock, WAITS_LOCK, "spin lock");
    sim.current->spin_locks++;
}

void wvu_lock_release(wvu_lock *lock)
{
    point(); /* what was stored before the acquire may still be on its way, and others run */
    give((struct sim_lock *)lock, WAITS_LOCK, "spin lock");
    sim.current->spin_locks--;
    point();
}

wvu_status wvu_mutex_init(wvu_mutex *mutex)
{
    passive("wvu_mutex_init");
    if (service_fails())
        return WVU_STATUS_NO_RESOURCES;
    *(struct sim_lock *)mutex = (struct sim_lock){.serial = ++sim.serials};
    sim.objects++;
    return WVU_STATUS_OK;
}

void wvu_mutex_destroy(wvu_mutex *mutex)
{
    struct sim_lock *lock = (struct sim_lock *)mutex;

    passive("wvu_mutex_destroy");
    check_object(lock->serial, "mutex");
    wvu_sim_check(lock->holder == NULL, "destroy of a mutex that is held");
    lock->serial = 0;
    sim.objects--;
}

void wvu_mutex_acquire(wvu_mutex *mutex)
{
    passive("wvu_mutex_acquire");
    take((struct sim_lock *)mutex, WAITS_MUTEX, "mutex");
    sim.current->mutexes++;
}

void wvu_mutex_release(wvu_mutex *mutex)
{
    give((struct sim_lock *)mutex, WAITS_MUTEX, "mutex");
    sim.current->mutexes--;
    passive("wvu_mutex_release");
}

/* ---- os.h: events --------------------------------------------------------------------------- */

wvu_status wvu_event_init(wvu_event *event)
{
    passive("wvu_event_init");
    if (service_fails())
        return WVU_STATUS_NO_RESOURCES;
    *(struct sim_event *)event = (struct sim_event){.serial = ++sim.serials};
    sim.objects++;
    return WVU_STATUS_OK;
}

void wvu_event_destroy(wvu_event *event)
{
    struct sim_event *e = (struct sim_event *)event;

    passive("wvu_event_destroy");
    check_object(e->serial, "event");
    wvu_sim_check(e->waiter == NULL, "destroy of an event on which %s waits",
                  e->waiter == NULL ? "" : e->waiter->name);
    e->serial = 0;
    sim.objects--;
}

void wvu_event_set(wvu_event *event)
{
    struct sim_event *e = (struct sim_event *)event;

    point();
    check_object(e->serial, "event");
    drain(sim.current);
    order_before(e);
    e->set = true;
    if (e->waiter != NULL)
        unblock(e->waiter);
    point();
}

wvu_status wvu_event_wait(wvu_event *event, uint64_t timeout_ns)
{
    struct sim_event *e = (struct sim_event *)event;
    uint64_t until = deadline(timeout_ns);
    bool slept = false;

    passive("wvu_event_wait");
    check_object(e->serial, "event");
    wvu_sim_check(e->waiter == NULL, "a second waiter on one event");
    drain(sim.current);
    while (!e->set && timeout_ns != 0) {
        bool late;

        e->waiter = sim.current;
        late = block(WAITS_EVENT, e, until);
        e->waiter = NULL;
        slept = true;
        check_object(e->serial, "event");
        if (late)
            break;
    }
    if (slept) {
        sim.current->wakes++;
        e->wakes++;
    }
    if (!e->set)
        return WVU_STATUS_TIMEOUT;
    e->set = false;
    order_after(e);
    return WVU_STATUS_OK;
}

/* ---- os.h: threads -------------------------------------------------------------------------- */

wvu_status wvu_thread_start(wvu_thread *thread, const char *name, void (*body)(void *),
                            void *context)
{
    struct sim_thread *t = (struct sim_thread *)thread;

    passive("wvu_thread_start");
    if (service_fails())
        return WVU_STATUS_NO_RESOURCES;
    drain(sim.current);
    t->serial = ++sim.serials;
    t->coroutine = coroutine_create(name, body, context);
    order_before(&t->coroutine->state);
    wvu_sim_trace("starts %s", name);
    point();
    return WVU_STATUS_OK;
}

void wvu_thread_join(wvu_thread *thread)
{
    struct sim_thread *t = (struct sim_thread *)thread;

    passive("wvu_thread_join");
    check_object(t->serial, "thread");
    wvu_sim_check(t->coroutine != sim.current, "%s joins itself", sim.current->name);
    while (t->coroutine->state != ENDED)
        block(WAITS_JOIN, t->coroutine, WVU_TIMEOUT_NONE);
    order_after(&t->coroutine->state);
    coroutine_destroy(t->coroutine);
    t->serial = 0;
}

/* ---- os.h: run-down ------------------------------------------------------------------------- */

wvu_status wvu_rundown_init(wvu_rundown *rundown)
{
    passive("wvu_rundown_init");
    if (service_fails())
        return WVU_STATUS_NO_RESOURCES;
    *(struct sim_rundown *)rundown = (struct sim_rundown){.serial = ++sim.serials};
    sim.objects++;
    return WVU_STATUS_OK;
}

void wvu_rundown_destroy(wvu_rundown *rundown)
{
    struct sim_rundown *r = (struct sim_rundown *)rundown;

    passive("wvu_rundown_destroy");
    check_object(r->serial, "run-down");
    wvu_sim_check(r->users == 0 && r->waiter == NULL, "destroy of a run-down that is in use");
    r->serial = 0;
    sim.objects--;
}

bool wvu_rundown_acquire(wvu_rundown *rundown)
{
    struct sim_rundown *r = (struct sim_rundown *)rundown;

    point();
    check_object(r->serial, "run-down");
    if (r->closed)
        return false;
    r->users++;
    order_after(r);
    return true;
}

void wvu_rundown_release(wvu_rundown *rundown)
{
    struct sim_rundown *r = (struct sim_rundown *)rundown;

    point();
    check_object(r->serial, "run-down");
    wvu_sim_check(r->users > 0, "a run-down is left by one who is not inside");
    drain(sim.current);
    order_before(r);
    r->users--;
    if (r->users == 0 && r->waiter != NULL)
        unblock(r->waiter);
}

void wvu_rundown_wait(wvu_rundown *rundown)
{
    struct sim_rundown *r = (struct sim_rundown *)rundown;

    passive("wvu_rundown_wait");
    check_object(r->serial, "run-down");
    wvu_sim_check(r->waiter == NULL, "a second waiter on one run-down");
    r->closed = true;
    while (r->users > 0) {
        r->waiter = sim.current;
        block(WAITS_RUNDOWN, r, WVU_TIMEOUT_NONE);
        r->waiter = NULL;
    }
    order_after(r);
}

void wvu_rundown_reopen(wvu_rundown *rundown)
{
    struct sim_rundown *r = (struct sim_rundown *)rundown;

    passive("wvu_rundown_reopen");
    check_object(r->serial, "run-down");
    wvu_sim_check(r->closed, "a run-down that is open is opened again");
    drain(sim.current);
    order_before(r);
    r->closed = false;
}

/* ---- os.h: clocks, random numbers, log ------------------------------------------------------ */

int64_t wvu_os_system_time(void)
{
    point();
    return INT64_C(133700000000000000) + sim.clock_shift + (int64_t)(sim.now / 100);
}

uint64_t wvu_os_uptime(void)
{
    point();
    return sim.now;
}

wvu_status wvu_os_random(void *buffer, size_t size)
{
    uint8_t *bytes = buffer;

    passive("wvu_os_random");
    if (service_fails())
        return WVU_STATUS_IO_ERROR;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)random_next();
    return WVU_STATUS_OK;
}

uint16_t wvu_os_upcase(uint16_t unit)
{
    return unit >= 'a' && unit <= 'z' ? (uint16_t)(unit - 'a' + 'A') : unit;
}

void wvu_os_log(uint32_t module, uint32_t level, const char *format, va_list arguments)
{
    static const char *const levels[] = {"error", "warning", "trace", "info"};

    (void)module;
    point();
    wvu_sim_check(!sim.current->in_callback, "a log line in a kernel callback");
    if (sim.settings.verbose) {
        fprintf(stderr, "%-7s", level < 4 ? levels[level] : "?");
        print_line(format, arguments);
    }
}
