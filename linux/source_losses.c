/*
 * What the source lost: how much of what, and what is done about it. In the source's thread (source_look.c).
 *
 * The programs count the samples they could not write, by kind; the kernel says with a record of its own how
 * many records did not fit. The difference are the kernel's own records, whose kind it does not say. After a
 * loss the processes are walked again (source_look.c).
 *
 * CPUs. When samples of a CPU fail for another reason than a full ring, and nothing comes from its ring,
 * then it went or came: its ring is opened again.
 */
#include "log.h"
#include "probe.h"
#include "source_parts.h"

#define MEND_PERIOD_NS      UINT64_C(1000000000)
#define COMPLAINT_PERIOD_NS UINT64_C(10000000000)

static const uint16_t type_of_kind[WVU_SAMPLE_KINDS] = {
    [WVU_SAMPLE_NONE] = WVU_EVENT_Mitigation,
    [WVU_SAMPLE_FORK] = WVU_EVENT_ProcessCreate,
    [WVU_SAMPLE_EXEC] = WVU_EVENT_ProcessCreate,
    [WVU_SAMPLE_EXIT] = WVU_EVENT_ProcessDestroy,
    [WVU_SAMPLE_MODULE] = WVU_EVENT_ImageLoad,
    [WVU_SAMPLE_THREAD] = WVU_EVENT_ThreadCreate,
    [WVU_SAMPLE_THREAD_EXIT] = WVU_EVENT_ThreadDestroy,
};

static enum wvu_source_use use_of(uint16_t type)
{
    switch (type) {
    case WVU_EVENT_ImageLoad:
        return WVU_SOURCE_IMAGES;
    case WVU_EVENT_ThreadCreate:
    case WVU_EVENT_ThreadDestroy:
        return WVU_SOURCE_THREADS;
    default:
        return WVU_SOURCE_PROCESSES;
    }
}

void wvu_source_count_loss(struct wvu_source *source, uint16_t cause, uint16_t type, uint64_t count)
{
    enum wvu_source_use use = use_of(type);
    if (type == WVU_EVENT_NONE && !source->open[use])
        use = WVU_SOURCE_IMAGES;
    if (!source->open[use])
        return; /* nobody wanted them */
    wvu_probe_count_loss(source->probes[use], cause, type, count);
    source->emitted = true;
}

/* Reports what a counter went up by. Returns how much that is. */
static uint64_t tell_difference(struct wvu_source *source, const uint64_t *counter, uint64_t *told,
                                uint16_t cause, uint16_t type)
{
    uint64_t difference = wvu_load64_relaxed(counter) - *told;
    if (difference == 0)
        return 0;
    *told += difference;
    wvu_source_count_loss(source, cause, type, difference);
    /* A walk finds processes, not threads. */
    source->loss_seen = source->loss_seen || use_of(type) != WVU_SOURCE_THREADS;
    return difference;
}

static void tell_losses_of(struct wvu_source *source, uint32_t cpu)
{
    const struct wvu_cpu_counters *now = &wvu_programs_counters(source->programs)[cpu];
    struct cpu_state *state = &source->states[cpu];
    for (uint32_t kind = WVU_SAMPLE_NONE; kind < WVU_SAMPLE_KINDS; kind++) {
        uint64_t full = tell_difference(source, &now->full[kind], &state->told.full[kind],
                                        WVU_LOSS_KERNEL_RING, type_of_kind[kind]);
        uint64_t failed = tell_difference(source, &now->failed[kind], &state->told.failed[kind],
                                          WVU_LOSS_KERNEL_PROBE, type_of_kind[kind]);
        state->told_full += full;
        add(&source->counters.lost_full, full);
        add(&source->counters.lost_failed, failed);
    }
}

/* The kernel counts every record that did not fit; what the programs did not count were its own. It says so
 * later than the programs do, so the difference can be too small for a while, and is never too large. */
void wvu_source_tell_losses(struct wvu_source *source)
{
    for (uint32_t cpu = 0; cpu < source->rings.cpus; cpu++) {
        struct cpu_state *state = &source->states[cpu];
        if (source->programs != NULL)
            tell_losses_of(source, cpu);
        uint64_t own = state->said > state->told_full ? state->said - state->told_full : 0;
        if (own > state->said_told) {
            wvu_source_count_loss(source, WVU_LOSS_KERNEL_RING, WVU_EVENT_NONE,
                                  own - state->said_told);
            add(&source->counters.lost_kernel, own - state->said_told);
            state->said_told = own;
            source->loss_seen = true;
        }
    }
}

/* A CPU whose samples fail while nothing comes from its ring lost the ring, or never had one. */
void wvu_source_mend_rings(struct wvu_source *source, uint64_t now)
{
    if (source->programs == NULL || now - source->last_mend < MEND_PERIOD_NS)
        return;
    source->last_mend = now;
    for (uint32_t cpu = 0; cpu < source->rings.cpus; cpu++) {
        struct cpu_state *state = &source->states[cpu];
        const struct wvu_lane *lane = &source->rings.merge.lanes[cpu];
        uint64_t failed = 0;
        for (uint32_t kind = WVU_SAMPLE_FORK; kind <= WVU_SAMPLE_EXIT; kind++)
            failed += state->told.failed[kind];
        bool broken = failed != state->mend_failed && lane->head == state->mend_head &&
                      lane->position == lane->head;
        state->mend_failed = failed;
        state->mend_head = lane->head;
        if (!broken)
            continue;
        char reason[REASON_SIZE];
        wvu_status status = wvu_rings_reopen(&source->rings, cpu, reason);
        state->mend_head = 0;
        source->loss_seen = true;
        if (status == WVU_STATUS_OK)
            wvu_log_info(WVU_LOG_SENSOR, "CPU %u came online: its events are read now", cpu);
        else
            wvu_log_warning(WVU_LOG_SENSOR, "the events of CPU %u are lost: %s", cpu, reason);
    }
}

/* What the stream says in EventsLost, and what it cannot say, also goes to the log: rationed. */
void wvu_source_complain(struct wvu_source *source, uint64_t now)
{
    const struct wvu_source_counters *all = &source->counters;
    uint64_t sum = all->lost_full + all->lost_failed + all->lost_kernel + all->malformed +
                   all->unfollowed + all->forgotten;
    if (sum == source->complained || now < source->next_complaint)
        return;
    source->complained = sum;
    source->next_complaint = now + COMPLAINT_PERIOD_NS;
    wvu_log_warning(WVU_LOG_SENSOR,
                    "in all so far: %llu samples and %llu records of the kernel did not fit its "
                    "rings, %llu samples could not be read, %llu records were malformed, %llu "
                    "processes found no place in the table, %llu programs were forgotten",
                    (unsigned long long)all->lost_full, (unsigned long long)all->lost_kernel,
                    (unsigned long long)all->lost_failed, (unsigned long long)all->malformed,
                    (unsigned long long)all->unfollowed, (unsigned long long)all->forgotten);
}
