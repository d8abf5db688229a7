/*
 * Timers, without DPCs: a driver sets them and waits for them. A timer becomes signaled when a wait
 * looks at it after its time (ke.c), so no thread is needed.
 *
 * DueTime holds the instant on the stand-in's own clock, in ns. The list of set timers serves one
 * purpose: none may be left when its memory or the driver goes. All under nt_lock.
 */
#include "kernel.h"

static KTIMER *set_timers; /* linked by TimerListEntry.Flink, which points to a KTIMER here */

static KTIMER **next_of(KTIMER *timer)
{
    return (KTIMER **)(void *)&timer->TimerListEntry.Flink;
}

static bool take_out(const KTIMER *timer)
{
    for (KTIMER **at = &set_timers; *at != NULL; at = next_of(*at)) {
        if (*at == timer) {
            *at = *next_of(*at);
            return true;
        }
    }
    return false;
}

static void check(const KTIMER *timer)
{
    const DISPATCHER_HEADER *header = &timer->Header;
    if ((header->Type != TimerNotificationObject && header->Type != TimerSynchronizationObject) ||
        header->WaitListHead.Flink != &header->WaitListHead)
        nt_broken(NT_RULE_OBJECT, "%s: the timer %p was never initialised, or was overwritten",
                  nt_self->routine, (const void *)timer);
}

static NTAPI void KeInitializeTimerEx(KTIMER *timer, uint32_t type)
{
    pthread_mutex_lock(&nt_lock);
    for (KTIMER *set = set_timers; set != NULL; set = *next_of(set)) {
        if (set == timer)
            nt_broken(NT_RULE_OBJECT, "KeInitializeTimerEx: the timer %p is set", (void *)timer);
    }
    pthread_mutex_unlock(&nt_lock);
    *timer = (KTIMER){
        .Header = {.Type = (uint8_t)(TimerNotificationObject + type), .Size = sizeof *timer / 4}};
    timer->Header.WaitListHead.Flink = timer->Header.WaitListHead.Blink =
        &timer->Header.WaitListHead;
}

static NTAPI void KeInitializeTimer(KTIMER *timer)
{
    KeInitializeTimerEx(timer, 0);
}

static NTAPI BOOLEAN KeSetTimerEx(KTIMER *timer, int64_t due, int32_t period, KDPC *dpc)
{
    if (dpc != NULL)
        nt_broken(NT_RULE_IMPORT, "KeSetTimer with a DPC: the stand-in does not have it");
    pthread_mutex_lock(&nt_lock);
    check(timer);
    bool was_set = take_out(timer);
    timer->Header.SignalState = 0;
    timer->Period = (uint32_t)period;
    timer->DueTime = nt_deadline(&due);
    *next_of(timer) = set_timers;
    set_timers = timer;
    pthread_cond_broadcast(&nt_changed); /* a wait may have to end earlier now */
    pthread_mutex_unlock(&nt_lock);
    return was_set;
}

static NTAPI BOOLEAN KeSetTimer(KTIMER *timer, int64_t due, KDPC *dpc)
{
    return KeSetTimerEx(timer, due, 0, dpc);
}

static NTAPI BOOLEAN KeCancelTimer(KTIMER *timer)
{
    pthread_mutex_lock(&nt_lock);
    check(timer);
    (void)nt_timer_poll(timer);
    bool was_set = take_out(timer);
    pthread_mutex_unlock(&nt_lock);
    return was_set;
}

uint64_t nt_timer_poll(KTIMER *timer)
{
    bool set = false;
    for (KTIMER *at = set_timers; at != NULL; at = *next_of(at))
        set = set || at == timer;
    if (!set)
        return UINT64_MAX;
    uint64_t now = nt_now();
    if (now < timer->DueTime)
        return timer->DueTime;
    timer->Header.SignalState = 1;
    if (timer->Period == 0) {
        (void)take_out(timer);
        return UINT64_MAX;
    }
    timer->DueTime = now + timer->Period * UINT64_C(1000000);
    return timer->DueTime;
}

void nt_timers_forget(uintptr_t begin, uintptr_t end)
{
    for (KTIMER *timer = set_timers; timer != NULL; timer = *next_of(timer)) {
        uintptr_t at = (uintptr_t)timer;
        if (at >= begin && at < end)
            nt_broken(NT_RULE_LEAK_TIMER, "memory is freed with the timer %p in it, which is set",
                      (void *)timer);
    }
}

void nt_timers_check_leaks(void)
{
    if (set_timers != NULL)
        nt_broken(NT_RULE_LEAK_TIMER, "the timer %p is still set", (void *)set_timers);
}

static const struct nt_export exports[] = {
    NT_ROUTINE(KeInitializeTimer, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-keinitializetimer"),
    NT_ROUTINE(KeInitializeTimerEx, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-keinitializetimerex"),
    NT_ROUTINE(KeSetTimer, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kesettimer"),
    NT_ROUTINE(KeSetTimerEx, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kesettimerex"),
    NT_ROUTINE(KeCancelTimer, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-kecanceltimer"),
};
const struct nt_export_table nt_timer_table = NT_TABLE(exports);
