/*
 * Mutexes and timers for the driver under Wine 8, whose own do not do what is documented:
 *
 *   - KeReleaseMutex does not wake a thread that waits for the mutex, so a contended one hangs;
 *   - a wait for a timer that is not set yet returns at once with an error, and one that is begun
 *     before KeSetTimer or KeCancelTimer goes on with the handle of before.
 *
 * Both are made here of events, which work, in the memory that the driver has for them; patch.c puts these
 * routines in the place of the driver's imports. Waits for anything else go through to Wine. The time of
 * a timer is looked at by whoever waits for it.
 *
 * `changed` of either is a synchronization event: set when the mutex is free again, or the timer's time is
 * another. Everything else in them is guarded by `state_lock`, which is held for a few instructions only.
 */
#include "fltmgr.h"

#define OUR_MUTEX   ((PVOID)(ULONG_PTR)0x4D757465)
#define OUR_TIMER   ((PVOID)(ULONG_PTR)0x54696D65)
#define OBJECTS_MAX 8

struct object { /* no larger than KMUTEX and KTIMER */
    KEVENT changed;
    PVOID kind;
    PVOID owner; /* of a mutex */
    LONG depth;
    BOOLEAN fired; /* a timer's */
    LONGLONG due;  /* system time; 0: not set */
};
_Static_assert(sizeof(struct object) <= sizeof(KMUTEX) && sizeof(struct object) <= sizeof(KTIMER),
               "an object of ours fits the driver's memory");

static volatile LONG state_lock;

static VOID lock_state(VOID)
{
    while (InterlockedExchange(&state_lock, 1) != 0)
        YieldProcessor();
}

static VOID unlock_state(VOID)
{
    (void)InterlockedExchange(&state_lock, 0);
}

NTSYSAPI NTSTATUS NTAPI NtQuerySystemTime(PLARGE_INTEGER time);

/* By call: Wine emulates reads of the shared data page for plain moves only. */
static LONGLONG now(VOID)
{
    LARGE_INTEGER time;
    (void)NtQuerySystemTime(&time);
    return time.QuadPart;
}

static VOID initialize(struct object *object, PVOID kind)
{
    RtlZeroMemory(object, sizeof *object);
    KeInitializeEvent(&object->changed, SynchronizationEvent, FALSE);
    object->kind = kind;
}

/* Only mutexes and timers have something of the driver's own behind the event's size. */
static struct object *ours(PVOID object)
{
    struct object *candidate = object;
    UCHAR type = candidate->changed.Header.Type;
    if (type != SynchronizationEvent)
        return NULL;
    return candidate->kind == OUR_MUTEX || candidate->kind == OUR_TIMER ? candidate : NULL;
}

/* ---- mutexes -------------------------------------------------------------------------------------------- */

VOID NTAPI sync_initialize_mutex(PVOID mutex, ULONG level)
{
    (void)level;
    initialize(mutex, OUR_MUTEX);
}

LONG NTAPI sync_release_mutex(PVOID mutex, BOOLEAN wait)
{
    struct object *object = mutex;
    (void)wait;
    lock_state();
    LONG depth = --object->depth;
    if (depth == 0)
        object->owner = NULL;
    unlock_state();
    if (depth == 0)
        (void)KeSetEvent(&object->changed, IO_NO_INCREMENT, FALSE);
    return 0;
}

/* ---- timers --------------------------------------------------------------------------------------------- */

VOID NTAPI sync_initialize_timer(PVOID timer, TIMER_TYPE type)
{
    (void)type; /* the driver's are synchronization timers */
    initialize(timer, OUR_TIMER);
}

static BOOLEAN set_timer(struct object *timer, LONGLONG due)
{
    lock_state();
    BOOLEAN was_set = timer->due != 0;
    timer->due = due;
    timer->fired = FALSE;
    unlock_state();
    (void)KeSetEvent(&timer->changed, IO_NO_INCREMENT, FALSE);
    return was_set;
}

BOOLEAN NTAPI sync_set_timer(PVOID timer, LARGE_INTEGER due, PKDPC dpc)
{
    (void)dpc;
    return set_timer(timer, due.QuadPart < 0 ? now() - due.QuadPart : due.QuadPart);
}

BOOLEAN NTAPI sync_cancel_timer(PVOID timer)
{
    return set_timer(timer, 0);
}

/* ---- waiting -------------------------------------------------------------------------------------------- */

/* Takes a mutex that is free, or a timer that has gone off. Makes `wake` earlier for one that will. */
static BOOLEAN take(struct object *object, LONGLONG *wake)
{
    BOOLEAN taken = FALSE;
    lock_state();
    if (object->kind == OUR_MUTEX) {
        PVOID self = PsGetCurrentThreadId();
        taken = object->owner == NULL || object->owner == self;
        if (taken) {
            object->owner = self;
            object->depth++;
        }
    } else if (object->due != 0) {
        taken = now() >= object->due;
        if (taken)
            object->due = 0;
        else if (object->due < *wake)
            *wake = object->due;
    }
    unlock_state();
    return taken;
}

static LONGLONG deadline_of(const LARGE_INTEGER *timeout)
{
    if (timeout == NULL)
        return MAXLONGLONG;
    return timeout->QuadPart < 0 ? now() - timeout->QuadPart : timeout->QuadPart;
}

/* Waits for one of the objects; those of ours by way of their events. */
static NTSTATUS wait_any(ULONG count, PVOID *objects, BOOLEAN alertable,
                         const LARGE_INTEGER *timeout)
{
    LONGLONG deadline = deadline_of(timeout);
    for (;;) {
        LONGLONG wake = deadline;
        for (ULONG i = 0; i < count; i++) {
            struct object *object = ours(objects[i]);
            if (object != NULL && take(object, &wake))
                return STATUS_WAIT_0 + (NTSTATUS)i;
        }
        LARGE_INTEGER until = {.QuadPart = wake - now()};
        until.QuadPart = until.QuadPart > 0 ? -until.QuadPart : 0;
        NTSTATUS status =
            KeWaitForMultipleObjects(count, objects, WaitAny, Executive, KernelMode, alertable,
                                     wake == MAXLONGLONG ? NULL : &until, NULL);
        if (status == STATUS_TIMEOUT && now() >= deadline)
            return status;
        if (status == STATUS_TIMEOUT)
            continue;
        if (status < 0 || (ULONG)status >= count || ours(objects[status]) == NULL)
            return status;
    }
}

NTSTATUS NTAPI sync_wait_single(PVOID object, KWAIT_REASON reason, KPROCESSOR_MODE mode,
                                BOOLEAN alertable, PLARGE_INTEGER timeout)
{
    if (ours(object) == NULL)
        return KeWaitForSingleObject(object, reason, mode, alertable, timeout);
    return wait_any(1, &object, alertable, timeout);
}

NTSTATUS NTAPI sync_wait_multiple(ULONG count, PVOID *objects, WAIT_TYPE type, KWAIT_REASON reason,
                                  KPROCESSOR_MODE mode, BOOLEAN alertable, PLARGE_INTEGER timeout,
                                  PKWAIT_BLOCK blocks)
{
    if (type != WaitAny || count > OBJECTS_MAX)
        return KeWaitForMultipleObjects(count, objects, type, reason, mode, alertable, timeout,
                                        blocks);
    return wait_any(count, objects, alertable, timeout);
}
