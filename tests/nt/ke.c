/*
 * Dispatcher objects (events, mutexes, semaphores; threads and processes as things to wait for) and
 * waits, and the clocks.
 *
 * The state of an event is its SignalState in the driver's memory, as on Windows; it is looked at and
 * changed under nt_lock only. A wait is a loop on nt_changed. The list of waits under way serves one
 * purpose: memory that somebody waits on must not be freed.
 *
 * A wait without time-out in driver code that is never satisfied is a hang; the scenario's alarm
 * (harness.c) tells where each thread is.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define WAIT_OBJECTS_MAX 64u

struct wait {
    struct wait *next;
    void *const *objects;
    uint32_t count;
};

static struct wait *waits; /* under nt_lock */

static bool is_timer(const DISPATCHER_HEADER *header)
{
    return header->Type == TimerNotificationObject || header->Type == TimerSynchronizationObject;
}

static bool initialised(const DISPATCHER_HEADER *header)
{
    return header->WaitListHead.Flink == &header->WaitListHead;
}

static void check_header(const void *object, bool timer_too)
{
    const DISPATCHER_HEADER *header = object;
    bool known = header->Type == EventNotificationObject ||
                 header->Type == EventSynchronizationObject || header->Type == MutantObject ||
                 header->Type == SemaphoreObject || (timer_too && is_timer(header));
    if (!known || !initialised(header))
        nt_broken(NT_RULE_OBJECT, "%s: the object %p was never initialised, or was overwritten",
                  nt_self->routine, object);
}

void nt_ke_forget(uintptr_t begin, uintptr_t end)
{
    for (const struct wait *wait = waits; wait != NULL; wait = wait->next) {
        for (uint32_t i = 0; i < wait->count; i++) {
            uintptr_t at = (uintptr_t)wait->objects[i];
            if (at >= begin && at < end)
                nt_broken(NT_RULE_OBJECT,
                          "memory is freed while a thread waits for the object %p in it",
                          wait->objects[i]);
        }
    }
}

static void initialise(DISPATCHER_HEADER *header, uint8_t type, size_t size, int32_t state)
{
    memset(header, 0, sizeof *header);
    header->Type = type;
    header->Size = (uint8_t)(size / 4);
    header->SignalState = state;
    header->WaitListHead.Flink = header->WaitListHead.Blink = &header->WaitListHead;
}

/* ---- events ---------------------------------------------------------------------------------- */

static NTAPI void KeInitializeEvent(KEVENT *event, uint32_t type, BOOLEAN state)
{
    if (type > EventSynchronizationObject)
        nt_broken(NT_RULE_PARAMETER, "KeInitializeEvent: type %u", type);
    initialise(&event->Header, (uint8_t)type, sizeof *event, state);
}

static void check_event(const KEVENT *event)
{
    check_header(event, false);
    if (event->Header.Type > EventSynchronizationObject)
        nt_broken(NT_RULE_OBJECT, "%s: the object %p is not an event", nt_self->routine,
                  (const void *)event);
}

static int32_t change_event(KEVENT *event, int32_t state)
{
    pthread_mutex_lock(&nt_lock);
    check_event(event);
    int32_t old = event->Header.SignalState;
    event->Header.SignalState = state;
    if (state != 0)
        pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
    return old;
}

static NTAPI int32_t KeSetEvent(KEVENT *event, int32_t increment, BOOLEAN wait)
{
    (void)increment;
    if (wait)
        nt_broken(NT_RULE_PARAMETER, "KeSetEvent with Wait TRUE: the stand-in does not do this");
    return change_event(event, 1);
}

static NTAPI int32_t KeResetEvent(KEVENT *event)
{
    return change_event(event, 0);
}

static NTAPI void KeClearEvent(KEVENT *event)
{
    (void)change_event(event, 0);
}

static NTAPI int32_t KeReadStateEvent(KEVENT *event)
{
    pthread_mutex_lock(&nt_lock);
    check_event(event);
    int32_t state = event->Header.SignalState;
    pthread_mutex_unlock(&nt_lock);
    return state;
}

/* ---- semaphores and mutexes -------------------------------------------------------------------- */

static NTAPI void KeInitializeSemaphore(KSEMAPHORE *semaphore, int32_t count, int32_t limit)
{
    if (count < 0 || limit <= 0 || count > limit)
        nt_broken(NT_RULE_PARAMETER, "KeInitializeSemaphore: count %d, limit %d", count, limit);
    initialise(&semaphore->Header, SemaphoreObject, sizeof *semaphore, count);
    semaphore->Limit = limit;
}

static NTAPI int32_t KeReleaseSemaphore(KSEMAPHORE *semaphore, int32_t increment, int32_t count,
                                        BOOLEAN wait)
{
    (void)increment;
    if (wait || count <= 0)
        nt_broken(NT_RULE_PARAMETER, "KeReleaseSemaphore: adjustment %d, wait %d", count, wait);
    pthread_mutex_lock(&nt_lock);
    check_header(semaphore, false);
    int32_t old = semaphore->Header.SignalState;
    if (old > semaphore->Limit - count)
        nt_broken(NT_RULE_EXCEPTION, "KeReleaseSemaphore raises STATUS_SEMAPHORE_LIMIT_EXCEEDED");
    semaphore->Header.SignalState = old + count;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
    return old;
}

static NTAPI int32_t KeReadStateSemaphore(KSEMAPHORE *semaphore)
{
    return semaphore->Header.SignalState;
}

static NTAPI void KeInitializeMutex(KMUTANT *mutex, uint32_t level)
{
    (void)level;
    memset(mutex, 0, sizeof *mutex);
    initialise(&mutex->Header, MutantObject, sizeof *mutex, 1);
    mutex->ApcDisable = 1;
}

static NTAPI int32_t KeReleaseMutex(KMUTANT *mutex, BOOLEAN wait)
{
    if (wait)
        nt_broken(NT_RULE_PARAMETER,
                  "KeReleaseMutex with Wait TRUE: the stand-in does not do this");
    pthread_mutex_lock(&nt_lock);
    check_header(mutex, false);
    if (mutex->OwnerThread != nt_self->object->address)
        nt_broken(NT_RULE_LOCK, "KeReleaseMutex: the mutex %p is not held by this thread",
                  (void *)mutex);
    int32_t old = mutex->Header.SignalState++;
    if (mutex->Header.SignalState == 1) {
        mutex->OwnerThread = NULL;
        nt_lock_released(mutex, NT_MUTANT);
        pthread_cond_broadcast(&nt_changed);
    }
    pthread_mutex_unlock(&nt_lock);
    return old;
}

/* ---- waiting: under nt_lock ---------------------------------------------------------------------- */

/* For things that are objects of the kernel's own: threads and processes. */
static const struct nt_object *waitable(void *object)
{
    const struct nt_object *found = nt_object_find(object);
    if (found == NULL || (found->type != NT_THREAD && found->type != NT_PROCESS))
        nt_broken(NT_RULE_OBJECT, "%s: nothing to wait for at %p", nt_self->routine, object);
    return found;
}

/* Makes `wake` earlier when the object may become signaled by itself. */
static bool satisfied(void *object, uint64_t *wake)
{
    if (nt_is_object((uintptr_t)object))
        return waitable(object)->signaled;
    const DISPATCHER_HEADER *header = object;
    check_header(object, true);
    if (is_timer(header)) {
        uint64_t due = nt_timer_poll(object);
        *wake = due < *wake ? due : *wake;
    }
    return header->SignalState > 0 ||
           (header->Type == MutantObject &&
            ((const KMUTANT *)object)->OwnerThread == nt_self->object->address);
}

static void consume(void *object)
{
    if (nt_is_object((uintptr_t)object))
        return;
    DISPATCHER_HEADER *header = object;
    if (header->Type == EventSynchronizationObject || header->Type == TimerSynchronizationObject)
        header->SignalState = 0;
    else if (header->Type == SemaphoreObject)
        header->SignalState--;
    else if (header->Type == MutantObject && header->SignalState-- == 1) {
        ((KMUTANT *)object)->OwnerThread = nt_self->object->address;
        nt_lock_taken(object, NT_MUTANT);
    }
}

/* The index of what satisfied the wait, or -1. */
static int try_wait(uint32_t count, void *const *objects, bool all, uint64_t *wake)
{
    uint32_t ready = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!satisfied(objects[i], wake))
            continue;
        if (!all) {
            consume(objects[i]);
            return (int)i;
        }
        ready++;
    }
    if (!all || ready != count)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        consume(objects[i]);
    return 0;
}

static NTSTATUS wait_for(uint32_t count, void *const *objects, bool all, const int64_t *timeout)
{
    uint64_t deadline = nt_deadline(timeout);
    bool only_look = timeout != NULL && *timeout == 0;
    if (!only_look)
        nt_check_wait(false);
    pthread_mutex_lock(&nt_lock);
    struct wait wait = {.next = waits, .objects = objects, .count = count};
    waits = &wait;
    uint64_t wake = deadline;
    int index = try_wait(count, objects, all, &wake);
    while (index < 0 && !only_look) {
        bool over = !nt_wait_changed(wake) && wake == deadline;
        wake = deadline;
        index = try_wait(count, objects, all, &wake);
        if (over)
            break;
    }
    for (struct wait **at = &waits; *at != NULL; at = &(*at)->next) {
        if (*at == &wait) {
            *at = wait.next;
            break;
        }
    }
    pthread_mutex_unlock(&nt_lock);
    return index < 0 ? STATUS_TIMEOUT : STATUS_WAIT_0 + index;
}

/* "All long-term waits that can be aborted by a user should be UserMode waits"; what is on the stack
 * must not be waited for in user mode, because the stack can then be paged out. */
static void check_mode(const void *object, int8_t mode)
{
    uintptr_t at = (uintptr_t)object;
    const struct nt_thread *thread = nt_self;
    if (mode != 0 && at < thread->stack_top && at > (uintptr_t)__builtin_frame_address(0))
        nt_broken(NT_RULE_WAIT, "%s: a user-mode wait for an object on the stack", thread->routine);
}

static NTAPI NTSTATUS KeWaitForSingleObject(void *object, uint32_t reason, int8_t mode,
                                            BOOLEAN alertable, const int64_t *timeout)
{
    (void)reason;
    (void)alertable;
    check_mode(object, mode);
    return wait_for(1, &object, false, timeout);
}

static NTAPI NTSTATUS KeWaitForMultipleObjects(uint32_t count, void **objects, uint32_t type,
                                               uint32_t reason, int8_t mode, BOOLEAN alertable,
                                               const int64_t *timeout, void *blocks)
{
    (void)reason;
    (void)alertable;
    if (count == 0 || count > WAIT_OBJECTS_MAX || (count > 3 && blocks == NULL))
        nt_broken(NT_RULE_PARAMETER, "KeWaitForMultipleObjects: %u objects, wait blocks at %p",
                  count, blocks);
    for (uint32_t i = 0; i < count; i++)
        check_mode(objects[i], mode);
    return wait_for(count, objects, type == 0, timeout);
}

static NTAPI NTSTATUS ZwWaitForSingleObject(HANDLE handle, BOOLEAN alertable,
                                            const int64_t *timeout)
{
    (void)alertable;
    void *object = nt_handle_object(handle)->address;
    return wait_for(1, &object, false, timeout);
}

static NTAPI NTSTATUS KeDelayExecutionThread(int8_t mode, BOOLEAN alertable,
                                             const int64_t *interval)
{
    (void)mode;
    (void)alertable;
    nt_check_wait(false);
    uint64_t deadline = nt_deadline(interval);
    pthread_mutex_lock(&nt_lock);
    while (nt_wait_changed(deadline))
        ;
    pthread_mutex_unlock(&nt_lock);
    return STATUS_SUCCESS;
}

/* ---- clocks ------------------------------------------------------------------------------------ */

#define COUNTER_FREQUENCY 10000000 /* as on current systems */

static NTAPI int64_t KeQueryPerformanceCounter(int64_t *frequency)
{
    if (frequency != NULL)
        *frequency = COUNTER_FREQUENCY;
    return (int64_t)(nt_now() / 100);
}

static NTAPI void KeQuerySystemTimePrecise(int64_t *time)
{
    *time = nt_system_time();
}

static NTAPI void KeQuerySystemTime(int64_t *time)
{
    *time = nt_system_time();
}

static NTAPI uint64_t KeQueryInterruptTimePrecise(uint64_t *counter)
{
    uint64_t now = nt_now() / 100;
    if (counter != NULL)
        *counter = now;
    return now;
}

static NTAPI uint64_t KeQueryUnbiasedInterruptTime(void)
{
    return nt_now() / 100;
}

static const struct nt_export exports[] = {
    NT_ROUTINE(KeInitializeEvent, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-keinitializeevent"),
    NT_ROUTINE(KeSetEvent, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kesetevent"),
    NT_ROUTINE(KeResetEvent, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-keresetevent"),
    NT_ROUTINE(KeClearEvent, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-keclearevent"),
    NT_ROUTINE(KeReadStateEvent, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kereadstateevent"),
    NT_ROUTINE(KeInitializeSemaphore, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "wdm/nf-wdm-keinitializesemaphore"),
    NT_ROUTINE(KeReleaseSemaphore, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kereleasesemaphore"),
    NT_ROUTINE(KeReadStateSemaphore, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-kereadstatesemaphore"),
    NT_ROUTINE(KeInitializeMutex, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-keinitializemutex"),
    NT_ROUTINE(KeReleaseMutex, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kereleasemutex"),
    NT_ROUTINE(KeWaitForSingleObject, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-kewaitforsingleobject"),
    NT_ROUTINE(KeWaitForMultipleObjects, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-kewaitformultipleobjects"),
    NT_ROUTINE(ZwWaitForSingleObject, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "ntifs/nf-ntifs-zwwaitforsingleobject"),
    NT_ROUTINE(KeDelayExecutionThread, PASSIVE_LEVEL, APC_LEVEL,
               "wdm/nf-wdm-kedelayexecutionthread"),
    NT_ROUTINE(KeQueryPerformanceCounter, PASSIVE_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-kequeryperformancecounter"),
    NT_ROUTINE(KeQuerySystemTimePrecise, PASSIVE_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-kequerysystemtimeprecise"),
    NT_ROUTINE(KeQuerySystemTime, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-kequerysystemtime~r1"),
    NT_ROUTINE(KeQueryInterruptTimePrecise, PASSIVE_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-kequeryinterrupttimeprecise"),
    NT_ROUTINE(KeQueryUnbiasedInterruptTime, PASSIVE_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-kequeryunbiasedinterrupttime"),
};
const struct nt_export_table nt_ke_table = NT_TABLE(exports);
