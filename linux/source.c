/*
 * The event source: takes the kernel's events from the perf rings of all CPUs, in the order of time, and
 * hands what the tracker makes of them to the probes.
 *
 * Threads. Probes acquire and release the source under `control` (lock order: a probe's control, then
 * this). One thread, wvu-source, does all the rest; between its start and its end everything below
 * "the thread's own" belongs to it. Release asks it to end and joins it.
 *
 * A look takes what is in the rings (merge.c says why the order is right), tells the tracker and wakes
 * the dispatcher once. When to look:
 *
 *     busy    while events come: after a short gap, or, when the moderator has no more tokens, once in
 *             two of its periods. The rings are large enough to wait in; a ring that is half full ends the wait.
 *     armed   after some empty looks: the bells are armed, the rings looked at once more, and then it
 *             sleeps until a bell rings, a forked child has waited long enough, or SAFETY_NS passed.
 *
 * No event is overlooked: an event that is written after the bells were armed rings one; an event that was
 * written before is seen by the look that follows the arming. Between "written" and "seen" there are
 * the processors' store buffers and the gap between a record and its ring of the bell; a first short
 * sleep with a time-out covers them, so that the long sleep begins milliseconds after the arming.
 *
 * Flow control. The kernel's rings stand before the queue. While a reader makes progress and the queue
 * is nearly full, nothing is taken (the kernel's rings fill instead); when a ring gets full, or nobody
 * reads, events are taken anyway and the queue overwrites its oldest, with exact numbers.
 *
 * Loss. The programs count the samples they could not write, by kind; the kernel says with a record of its
 * own how many records did not fit. The difference are the kernel's own records, whose kind it does not
 * say. After a loss the processes are walked again: new ones are Found, missing ones are gone.
 *
 * CPUs. When samples of a CPU fail for another reason than a full ring, and nothing comes from its ring,
 * then it went or came: its ring is opened again.
 *
 * Rules. Each process is judged by the filter when the tracker announces it; the verdict goes with its events.
 * Deny rules are carried out by the enforcer (enforcer.c), in this thread.
 *
 * Questions. Others ask the thread to do something with what it follows (judge anew, list, find) when it
 * has taken in everything up to the moment: `ask`, under control, so there is one at a time.
 *
 * Without the programs (no right, no BTF) the image probe still runs on the kernel's own records; then
 * there are no keys.
 */
#define _GNU_SOURCE
#include "source.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "atomic.h"
#include "dispatcher.h"
#include "enforcer.h"
#include "log.h"
#include "moderator.h"
#include "os.h"
#include "probes.h"
#include "programs.h"
#include "records.h"
#include "rings.h"
#include "sensor.h"
#include "snapshot.h"
#include "tracker.h"

#define SOURCE_TAG  WVU_TAG('W', 'v', 'S', 'o')
#define REASON_SIZE 256

#define GAP_NS              250000u /* between looks while events come and the moderator agrees */
#define EMPTY_LOOKS         2u      /* before the bells are armed */
#define SETTLE_NS           5000000u
#define SAFETY_NS           UINT64_C(10000000000)
#define WALK_PERIOD_NS      UINT64_C(1000000000) /* walks after losses are at least so far apart */
#define MEND_PERIOD_NS      UINT64_C(1000000000)
#define COMPLAINT_PERIOD_NS UINT64_C(10000000000)
#define FLUSH_NS            UINT64_C(500000000)
#define LIST_ROUNDS         3    /* walks at once, when a list is asked for after losses */
#define TOKENS              2u   /* for a look */
#define CHECK_RECORDS       128u /* flow control is asked each so many records or bytes */
#define CHECK_BYTES         (256u << 10)
#define WAKE_RECORDS        1024u /* the dispatcher is woken within a look: a multiple of CHECK_RECORDS */
#define FILL_LIMIT          192u /* of 256: from here on the rings are emptied, whatever the queue says */

/* What is remembered of a CPU between looks. */
struct cpu_state {
    struct wvu_cpu_counters told; /* the losses that were reported */
    uint64_t told_full;           /* their sum, as far as they did not fit */
    uint64_t said;                /* records that the kernel said did not fit */
    uint64_t said_told;
    uint64_t mend_failed; /* at the last look for broken rings */
    uint64_t mend_head;
};

struct wvu_source {
    struct wvu_source_settings settings;
    wvu_mutex control;
    bool used[WVU_SOURCE_USES]; /* under control */

    /* ---- from the first acquire to the last release */
    struct wvu_probe *probes[WVU_SOURCE_USES]; /* NULL: the sensor has no such probe */
    struct wvu_programs *programs;             /* NULL: only images, without keys */
    struct wvu_rings rings;
    struct cpu_state *states;
    struct wvu_tracker *tracker;
    struct wvu_snapshot *snapshot;
    wvu_thread thread;
    uint64_t attached_at;
    uint32_t stops; /* atomic */
    uint32_t again; /* atomic: tell all processes again */
    uint32_t flush; /* atomic: look now, whatever the queue says, and set `flushed` */
    wvu_event flushed;
    struct wvu_sensor *sensor;
    uint32_t reader_pid; /* under control */
    uint32_t asked;      /* atomic: look now, call `work`, and set `answered` */
    void (*work)(struct wvu_source *source, void *context);
    void *work_context;
    wvu_event answered;
    struct wvu_enforcer enforcer; /* its files belong to the thread, while there is one */

    /* ---- the thread's own */
    struct wvu_moderator moderator;
    int64_t wall; /* system time (100 ns since 1601) and uptime of the same instant */
    uint64_t wall_uptime;
    bool open[WVU_SOURCE_USES]; /* the probe is entered: it wants events */
    bool emitted;               /* something was committed since the last wake */
    bool busy;                  /* the last look found something */
    uint32_t empty_looks;
    bool loss_seen; /* since the last walk */
    uint64_t last_walk;
    uint64_t last_mend;
    uint64_t complained; /* the sum of what the log was told */
    uint64_t next_complaint;
    uint32_t deferred_lane; /* a mapping whose second record was not there yet: where */
    uint64_t deferred_position;
    struct wvu_source_counters counters; /* each written by the thread, read anywhere (relaxed) */
};

static void add(uint64_t *counter, uint64_t count)
{
    wvu_store64_relaxed(counter, *counter + count);
}

static bool stopping(const struct wvu_source *source)
{
    return wvu_load_acquire(&source->stops) != 0;
}

/* ---- to the probes ------------------------------------------------------------------------------------ */

static struct wvu_stamp stamp_of(const struct wvu_source *source, uint64_t uptime)
{
    int64_t ago = (int64_t)(source->wall_uptime - uptime);
    return (struct wvu_stamp){.time = source->wall - ago / 100, .uptime = uptime};
}

static void on_created(void *context, const struct wvu_created *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_PROCESSES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_process_probe_created(source->probes[WVU_SOURCE_PROCESSES], event, &stamp);
    source->emitted = true;
    wvu_enforcer_created(&source->enforcer, event);
}

static void on_destroyed(void *context, const struct wvu_destroyed *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_PROCESSES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_process_probe_destroyed(source->probes[WVU_SOURCE_PROCESSES], event, &stamp);
    source->emitted = true;
}

static void on_image(void *context, const struct wvu_image *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_IMAGES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_image_probe_loaded(source->probes[WVU_SOURCE_IMAGES], event, &stamp);
    source->emitted = true;
}

static void on_thread(void *context, const struct wvu_thread_event *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_THREADS])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_thread_probe_changed(source->probes[WVU_SOURCE_THREADS], event, &stamp);
    source->emitted = true;
}

static void on_judge(void *context, const struct wvu_subject *subject, struct wvu_verdict *verdict)
{
    struct wvu_source *source = context;
    wvu_sensor_judge(source->sensor, subject, verdict);
}

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

static void count_loss(struct wvu_source *source, uint16_t cause, uint16_t type, uint64_t count)
{
    enum wvu_source_use use = use_of(type);
    if (type == WVU_EVENT_NONE && !source->open[use])
        use = WVU_SOURCE_IMAGES;
    if (!source->open[use])
        return; /* nobody wanted them */
    wvu_probe_count_loss(source->probes[use], cause, type, count);
    source->emitted = true;
}

static void on_lost(void *context, uint16_t type, uint64_t count)
{
    count_loss(context, WVU_LOSS_SOURCE_TABLE, type, count);
}

static void enter_probes(struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES; use++)
        source->open[use] = source->probes[use] != NULL && wvu_probe_enter(source->probes[use]);
}

static void wake_dispatcher(struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES && source->emitted; use++) {
        if (source->open[use]) {
            wvu_probe_wake(source->probes[use]);
            source->emitted = false;
        }
    }
}

static void leave_probes(struct wvu_source *source)
{
    wake_dispatcher(source);
    source->emitted = false;
    for (int use = 0; use < WVU_SOURCE_USES; use++) {
        if (source->open[use])
            wvu_probe_leave(source->probes[use]);
        source->open[use] = false;
    }
}

static void refresh_clock(struct wvu_source *source)
{
    source->wall = wvu_os_system_time();
    source->wall_uptime = wvu_os_uptime();
}

/* ---- records ---------------------------------------------------------------------------------------- */

static void count_malformed(struct wvu_source *source)
{
    add(&source->counters.malformed, 1);
}

/* The record of the same mapping from the ring's other event, which was written right after this one.
 * False: it is not there yet, come again. */
static bool join_other_half(struct wvu_source *source, struct wvu_image *image)
{
    struct wvu_merge *merge = &source->rings.merge;
    const struct perf_event_header *follower = wvu_merge_follower(merge);
    if (follower != NULL) {
        if (wvu_records_join(image, follower)) {
            wvu_merge_skip(merge);
            add(&source->counters.records, 1);
        }
        return true;
    }
    uint64_t position = merge->lanes[merge->current].position;
    if (source->deferred_lane == merge->current && source->deferred_position == position)
        return true; /* it was waited for once: it did not fit the ring */
    source->deferred_lane = merge->current;
    source->deferred_position = position;
    return false;
}

static bool handle_mapping(struct wvu_source *source, const struct perf_event_header *header,
                           uint64_t time)
{
    struct wvu_image image;
    switch (wvu_records_mapping(header, &image)) {
    case WVU_MAPPING_MALFORMED:
        count_malformed(source);
        return true;
    case WVU_MAPPING_NO_FILE:
        return true;
    default:
        break;
    }
    if (source->rings.features.inodes && !join_other_half(source, &image))
        return false;
    image.time = time;
    if (source->programs != NULL)
        wvu_tracker_image(source->tracker, &image);
    else
        on_image(source, &image);
    return true;
}

static void handle_name(struct wvu_source *source, const struct perf_event_header *header,
                        uint64_t time)
{
    struct wvu_renamed renamed;
    if (!wvu_records_renamed(header, &renamed))
        count_malformed(source);
    else if (renamed.by_exec)
        wvu_tracker_exec_begins(source->tracker, renamed.pid, time);
    else if (renamed.pid == renamed.tid)
        wvu_tracker_renamed(source->tracker, renamed.pid, renamed.name, renamed.size);
}

static void handle_module(struct wvu_source *source, const struct wvu_sample_module *module,
                          uint64_t time)
{
    if (!source->open[WVU_SOURCE_IMAGES])
        return;
    struct wvu_stamp stamp = stamp_of(source, time);
    struct wvu_followed loader = {.wanted = WVU_WANTED_ALL};
    (void)wvu_tracker_find(source->tracker, module->pid, 0, &loader);
    wvu_image_probe_module(source->probes[WVU_SOURCE_IMAGES], module,
                           wvu_tracker_key(source->tracker, module->pid), loader.wanted, &stamp);
    source->emitted = true;
}

static void handle_exec(struct wvu_source *source, const struct wvu_sample *sample, uint64_t time)
{
    wvu_enforcer_exec_begins(&source->enforcer, &sample->exec);
    wvu_tracker_exec(source->tracker, &sample->exec, sample->data, time);
    if (wvu_enforcer_exec_ends(&source->enforcer, sample->data, source->open[WVU_SOURCE_PROCESSES]))
        source->emitted = true;
}

static void handle_sample(struct wvu_source *source, const struct perf_event_header *header,
                          uint64_t time)
{
    struct wvu_sample sample;
    if (!wvu_records_sample(header, &sample)) {
        count_malformed(source);
        return;
    }
    switch (sample.kind) {
    case WVU_SAMPLE_FORK:
        wvu_tracker_fork(source->tracker, &sample.task, time);
        break;
    case WVU_SAMPLE_EXEC:
        handle_exec(source, &sample, time);
        break;
    case WVU_SAMPLE_EXIT:
        wvu_tracker_exit(source->tracker, &sample.exit, time);
        break;
    case WVU_SAMPLE_THREAD:
    case WVU_SAMPLE_THREAD_EXIT:
        wvu_tracker_thread(source->tracker, &sample.thread, time);
        break;
    default:
        handle_module(source, &sample.module, time);
        break;
    }
}

static void handle_lost(struct wvu_source *source, const struct perf_event_header *header)
{
    uint64_t lost;
    if (wvu_records_lost(header, &lost))
        source->states[source->rings.merge.current].said += lost;
    else
        count_malformed(source);
}

/* False: the record was given back; the round is over. The rings are open before the programs are
 * attached: what the kernel itself wrote in between is of processes that may have ended unseen, and is
 * from before the start. */
static bool handle(struct wvu_source *source, const struct perf_event_header *header, uint64_t time)
{
    bool early = time < source->attached_at;
    switch (header->type) {
    case PERF_RECORD_MMAP2:
        if (early || handle_mapping(source, header, time))
            break;
        wvu_merge_return(&source->rings.merge);
        return false;
    case PERF_RECORD_SAMPLE:
        handle_sample(source, header, time);
        break;
    case PERF_RECORD_COMM:
        if (!early && source->programs != NULL)
            handle_name(source, header, time);
        break;
    case PERF_RECORD_LOST:
        handle_lost(source, header);
        break;
    default: /* throttling and the like: nothing that happened */
        break;
    }
    add(&source->counters.records, 1);
    return true;
}

/* ---- losses -------------------------------------------------------------------------------------------- */

static const uint16_t type_of_kind[WVU_SAMPLE_KINDS] = {
    [WVU_SAMPLE_NONE] = WVU_EVENT_Mitigation,
    [WVU_SAMPLE_FORK] = WVU_EVENT_ProcessCreate,
    [WVU_SAMPLE_EXEC] = WVU_EVENT_ProcessCreate,
    [WVU_SAMPLE_EXIT] = WVU_EVENT_ProcessDestroy,
    [WVU_SAMPLE_MODULE] = WVU_EVENT_ImageLoad,
    [WVU_SAMPLE_THREAD] = WVU_EVENT_ThreadCreate,
    [WVU_SAMPLE_THREAD_EXIT] = WVU_EVENT_ThreadDestroy,
};

/* Reports what a counter went up by. Returns how much that is. */
static uint64_t tell_difference(struct wvu_source *source, const uint64_t *counter, uint64_t *told,
                                uint16_t cause, uint16_t type)
{
    uint64_t difference = wvu_load64_relaxed(counter) - *told;
    if (difference == 0)
        return 0;
    *told += difference;
    count_loss(source, cause, type, difference);
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
static void tell_losses(struct wvu_source *source)
{
    for (uint32_t cpu = 0; cpu < source->rings.cpus; cpu++) {
        struct cpu_state *state = &source->states[cpu];
        if (source->programs != NULL)
            tell_losses_of(source, cpu);
        uint64_t own = state->said > state->told_full ? state->said - state->told_full : 0;
        if (own > state->said_told) {
            count_loss(source, WVU_LOSS_KERNEL_RING, WVU_EVENT_NONE, own - state->said_told);
            add(&source->counters.lost_kernel, own - state->said_told);
            state->said_told = own;
            source->loss_seen = true;
        }
    }
}

/* A CPU whose samples fail while nothing comes from its ring lost the ring, or never had one. */
static void mend_rings(struct wvu_source *source, uint64_t now)
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

/* ---- when to look --------------------------------------------------------------------------------------- */

static bool should_hold(struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES; use++) {
        if (source->probes[use] != NULL)
            return wvu_dispatcher_should_hold(wvu_sensor_dispatcher(source->probes[use]->sensor)) &&
                   wvu_merge_fill(&source->rings.merge) < FILL_LIMIT;
    }
    return false;
}

static bool is_hurried(const struct wvu_source *source)
{
    return stopping(source) || wvu_load_relaxed(&source->flush) != 0 ||
           wvu_load_relaxed(&source->asked) != 0;
}

/* Until the queue has room and, after a look that found something, the moderator two tokens: so that looks,
 * when they are rationed, bring batches further apart than the dispatcher's own moderator asks for, and each is
 * taken at once. A look that found nothing woke nobody and costs nothing; it is followed by sleep. */
static void wait_for_turn(struct wvu_source *source)
{
    while (!is_hurried(source) && should_hold(source))
        wvu_rings_sleep(&source->rings, false, WVU_MODERATOR_PERIOD_NS);
    if (!source->busy)
        return;
    bool waited = false;
    for (uint32_t tokens = 0; tokens < TOKENS && !is_hurried(source);) {
        uint64_t delay = wvu_moderator_delay(&source->moderator, wvu_os_uptime());
        if (delay == 0) {
            tokens++;
            continue;
        }
        waited = true;
        delay += (TOKENS - 1 - tokens) * WVU_MODERATOR_PERIOD_NS; /* for all in one sleep */
        if (wvu_rings_sleep(&source->rings, false, delay))
            break; /* a ring is half full */
    }
    if (!waited)
        wvu_rings_sleep(&source->rings, false, GAP_NS);
}

static bool wants_walk(const struct wvu_source *source)
{
    return source->programs != NULL &&
           (source->loss_seen || wvu_tracker_wants_sync(source->tracker));
}

static uint64_t until(uint64_t deadline)
{
    uint64_t now = wvu_os_uptime();
    return deadline > now ? deadline - now : 0;
}

/* How long at most nothing needs to be done, when nothing happens. */
static uint64_t longest_sleep(const struct wvu_source *source)
{
    uint64_t longest = source->empty_looks < EMPTY_LOOKS + 2 ? SETTLE_NS : SAFETY_NS;
    uint64_t deadline = wvu_tracker_deadline(source->tracker);
    if (wants_walk(source) && source->last_walk + WALK_PERIOD_NS < deadline)
        deadline = source->last_walk + WALK_PERIOD_NS;
    uint64_t left = until(deadline);
    return left < longest ? left : longest;
}

/* After a look: sleeps for as long as the next one can wait. */
static void rest(struct wvu_source *source, bool found)
{
    struct wvu_rings *rings = &source->rings;
    source->busy = found;
    source->empty_looks = found ? 0 : source->empty_looks + 1;
    if (source->empty_looks < EMPTY_LOOKS) {
        if (rings->armed)
            wvu_rings_silence(rings);
        if (!found)
            wvu_rings_sleep(rings, false, GAP_NS); /* else wait_for_turn decides */
    } else if (!rings->armed) {
        wvu_rings_arm(rings); /* and look once more, at once */
    } else {
        add(&source->counters.sleeps, 1);
        if (wvu_rings_sleep(rings, true, longest_sleep(source))) {
            wvu_rings_silence(rings);
            source->empty_looks = 0;
        }
    }
}

/* ---- the thread ---------------------------------------------------------------------------------------------- */

/* Returns true when there was something, or something is left. `all`: whatever the queue says. */
static bool look(struct wvu_source *source, bool all)
{
    const struct perf_event_header *record;
    uint64_t time;
    uint32_t records = 0;
    uint32_t bytes = 0;

    enter_probes(source);
    refresh_clock(source);
    add(&source->counters.looks, 1);
    wvu_merge_begin(&source->rings.merge, source->wall_uptime);
    while ((record = wvu_merge_next(&source->rings.merge, &time)) != NULL) {
        bytes += record->size;
        if (!handle(source, record, time))
            break;
        bool large = bytes > CHECK_BYTES;
        if (++records % CHECK_RECORDS == 0 || large) {
            bytes = 0;
            if (large || records % WAKE_RECORDS == 0)
                wake_dispatcher(source);
            if (!all && should_hold(source))
                break;
        }
    }
    bool left = wvu_merge_end(&source->rings.merge);
    wvu_tracker_advance(source->tracker, source->rings.merge.limit);
    tell_losses(source);
    leave_probes(source);
    return left || records != 0;
}

/* The walk calls it now and then, with the probes entered. */
static bool pause_walk(void *context)
{
    struct wvu_source *source = context;
    wake_dispatcher(source);
    while (!is_hurried(source) && should_hold(source))
        wvu_rings_sleep(&source->rings, false, WVU_MODERATOR_PERIOD_NS);
    return !stopping(source);
}

static void walk(struct wvu_source *source, uint32_t cause, bool again, uint64_t told_until)
{
    struct wvu_snapshot_plan plan = {
        .programs = source->programs,
        .tracker = source->tracker,
        .cause = cause,
        .again = again,
        .told_until = told_until,
        .pause = pause_walk,
        .context = source,
    };
    source->loss_seen = false;
    enter_probes(source);
    refresh_clock(source);
    wvu_status status = wvu_snapshot_run(source->snapshot, &plan);
    leave_probes(source);
    source->last_walk = wvu_os_uptime();
    add(&source->counters.walks, 1);
    if (status != WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_PROCESS, "the walk over all processes failed: %s (0x%08x)",
                        wvu_strerror(status), (unsigned)status);
}

/* True when it walked: what was found missing is told by the next look. */
static bool walk_if_needed(struct wvu_source *source)
{
    if (wvu_exchange_full(&source->again, 0) != 0 && source->programs != NULL) {
        walk(source, WVU_CREATE_RUNNING, true, source->rings.merge.limit);
        return true;
    }
    if (!wants_walk(source) || wvu_os_uptime() - source->last_walk < WALK_PERIOD_NS)
        return false;
    walk(source, WVU_CREATE_FOUND, false, source->rings.merge.limit);
    return true;
}

/* Everything up to the look that was just made is known to the tracker. */
static void answer(struct wvu_source *source)
{
    source->work(source, source->work_context);
    wvu_store_release(&source->asked, 0);
    wvu_event_set(&source->answered);
}

/* What the stream says in EventsLost, and what it cannot say, also goes to the log: rationed. */
static void complain(struct wvu_source *source, uint64_t now)
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

static void publish_counters(struct wvu_source *source)
{
    struct wvu_tracker_counters tracker;
    wvu_tracker_read_counters(source->tracker, &tracker);
    wvu_store64_relaxed(&source->counters.followed, tracker.followed);
    wvu_store64_relaxed(&source->counters.unfollowed, tracker.unfollowed);
    wvu_store64_relaxed(&source->counters.forgotten, tracker.forgotten);
    wvu_store64_relaxed(&source->counters.prevented, source->enforcer.prevented);
    wvu_store64_relaxed(&source->counters.ended, source->enforcer.ended);
}

static void source_main(void *context)
{
    struct wvu_source *source = context;
    wvu_moderator_init(&source->moderator);
    if (source->programs != NULL)
        walk(source, WVU_CREATE_RUNNING, false, source->attached_at);
    while (!stopping(source)) {
        wait_for_turn(source);
        bool flush = wvu_exchange_full(&source->flush, 0) != 0;
        bool asked = wvu_load_acquire(&source->asked) != 0;
        bool found = look(source, flush || asked);
        if (flush)
            wvu_event_set(&source->flushed);
        if (asked)
            answer(source);
        found = walk_if_needed(source) || found;
        mend_rings(source, wvu_os_uptime());
        publish_counters(source);
        complain(source, wvu_os_uptime());
        rest(source, found);
    }
    look(source, true); /* what came before the stop is told */
}

/* ---- opening and closing: PASSIVE, under control --------------------------------------------------------- */

static const struct wvu_tracker_sink sink_of_source = {
    .created = on_created,
    .destroyed = on_destroyed,
    .image = on_image,
    .thread = on_thread,
    .judge = on_judge,
    .lost = on_lost,
};

static void close_all(struct wvu_source *source)
{
    wvu_denials_destroy(source->enforcer.denials);
    source->enforcer = (struct wvu_enforcer){0};
    wvu_programs_unload(source->programs);
    wvu_rings_destroy(&source->rings);
    wvu_snapshot_destroy(source->snapshot);
    wvu_tracker_destroy(source->tracker);
    wvu_os_free(source->states, SOURCE_TAG);
    source->programs = NULL;
    source->snapshot = NULL;
    source->tracker = NULL;
    source->states = NULL;
}

static wvu_status open_tables(struct wvu_source *source, uint32_t cpus, char *reason)
{
    struct wvu_tracker_settings settings = {
        .processes = source->settings.processes,
        .blocks = source->settings.processes / 2,
        .sink = sink_of_source,
    };
    settings.sink.context = source;
    snprintf(reason, REASON_SIZE, "no memory to follow %u processes", settings.processes);
    source->states = wvu_os_alloc(cpus * sizeof *source->states, SOURCE_TAG);
    if (source->states == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_status status = wvu_tracker_create(&settings, &source->tracker);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_snapshot_create(&source->snapshot);
    if (status == WVU_STATUS_IO_ERROR)
        snprintf(reason, REASON_SIZE, "/proc: %s: is it mounted?", strerror(errno));
    return status;
}

/* Everything that the thread needs. `with_programs`: processes, too; otherwise only images. */
static wvu_status open_all(struct wvu_source *source, bool with_programs, char *reason)
{
    uint32_t cpus = wvu_cpu_count();
    wvu_status status = open_tables(source, cpus, reason);
    if (status == WVU_STATUS_OK && with_programs)
        status = wvu_programs_load(cpus, &source->programs, reason);
    if (status == WVU_STATUS_OK)
        status = wvu_rings_create(&source->rings, cpus, source->settings.ring_bytes,
                                  source->programs, reason);
    if (status == WVU_STATUS_OK && with_programs) {
        wvu_programs_want_threads(source->programs, source->used[WVU_SOURCE_THREADS]);
        wvu_programs_spare(source->programs, source->reader_pid);
        status = wvu_programs_attach(source->programs, reason);
    }
    if (status != WVU_STATUS_OK) {
        close_all(source);
        return status;
    }
    source->attached_at = wvu_os_uptime();
    malloc_trim(0); /* loading needed much more than running does */
    return WVU_STATUS_OK;
}

static wvu_status start_thread(struct wvu_source *source, char *reason)
{
    source->stops = 0;
    source->again = 0;
    source->flush = 0;
    source->asked = 0;
    source->enforcer = (struct wvu_enforcer){
        .sensor = source->sensor,
        .probe = source->probes[WVU_SOURCE_PROCESSES],
        .programs = source->programs,
    };
    source->busy = false;
    source->empty_looks = 0;
    source->loss_seen = false;
    source->last_walk = 0;
    source->last_mend = source->attached_at;
    source->complained = 0;
    source->next_complaint = 0;
    source->deferred_position = UINT64_MAX;
    memset(&source->counters, 0, sizeof source->counters);
    wvu_status status = wvu_thread_start(&source->thread, "wvu-source", source_main, source);
    if (status != WVU_STATUS_OK)
        snprintf(reason, REASON_SIZE, "the thread wvu-source cannot be started");
    return status;
}

static void stop_thread(struct wvu_source *source)
{
    wvu_store_release(&source->stops, 1);
    wvu_rings_want_attention(&source->rings);
    wvu_thread_join(&source->thread);
}

static void log_start(const struct wvu_source *source)
{
    wvu_log_info(
        WVU_LOG_SENSOR,
        "the kernel's events: processes %s, images yes, build ids %s, inodes %s, modules %s",
        source->programs != NULL ? "yes" : "no", source->rings.features.build_ids ? "yes" : "no",
        source->rings.features.inodes || !source->rings.features.build_ids ? "yes" : "no",
        source->programs != NULL && wvu_programs_see_modules(source->programs) ? "yes" : "no");
}

static wvu_status start(struct wvu_source *source, bool with_programs, char *reason)
{
    wvu_status status = open_all(source, with_programs, reason);
    if (status != WVU_STATUS_OK)
        return status;
    status = start_thread(source, reason);
    if (status != WVU_STATUS_OK) {
        close_all(source);
        return status;
    }
    log_start(source);
    reason[0] = '\0';
    return WVU_STATUS_OK;
}

static void stop(struct wvu_source *source)
{
    stop_thread(source);
    close_all(source);
}

/* Images alone need less of the machine than processes do. */
static wvu_status start_images(struct wvu_source *source, char *reason)
{
    char missing[REASON_SIZE];
    if (start(source, true, missing) == WVU_STATUS_OK)
        return WVU_STATUS_OK;
    wvu_status status = wvu_programs_check_pids(reason);
    if (status != WVU_STATUS_OK)
        return status;
    status = start(source, false, reason);
    if (status == WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_SENSOR, "images are told without the keys of their processes: %s",
                        missing);
    return status;
}

/* Only images are told so far: the rest needs the programs. */
static wvu_status add_programs(struct wvu_source *source, char *reason)
{
    char ignored[REASON_SIZE];
    stop(source);
    wvu_status status = start(source, true, reason);
    if (status != WVU_STATUS_OK && start(source, false, ignored) != WVU_STATUS_OK) {
        wvu_log_error(WVU_LOG_SENSOR, "the image probe's source could not be started again: %s",
                      ignored);
        source->used[WVU_SOURCE_IMAGES] = false;
    }
    return status;
}

static bool is_running(const struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES; use++) {
        if (source->used[use])
            return true;
    }
    return false;
}

/* ---- questions: PASSIVE, any thread ------------------------------------------------------------------------ */

/* Under control, while the thread runs. */
static void ask(struct wvu_source *source, void (*work)(struct wvu_source *source, void *context),
                void *context)
{
    source->work = work;
    source->work_context = context;
    wvu_store_release(&source->asked, 1);
    wvu_rings_want_attention(&source->rings);
    (void)wvu_event_wait(&source->answered, WVU_TIMEOUT_NONE);
}

static void judge_again(struct wvu_source *source, void *context)
{
    (void)context;
    wvu_tracker_judge_all(source->tracker);
}

/* `context`: in, the new ones (NULL: none); out, the old ones. */
static void swap_denials(struct wvu_source *source, void *context)
{
    struct wvu_denials **denials = context;
    struct wvu_denials *old = source->enforcer.denials;
    wvu_denials_remove(old, source->programs);
    source->enforcer.denials = *denials;
    if (*denials != NULL)
        wvu_denials_place(*denials, source->programs);
    *denials = old;
}

/* The files that the filter in force denies are looked for and told to the kernel's side; `wanted` false: none
 * are denied any more. */
static void renew_denials(struct wvu_source *source, bool wanted)
{
    struct wvu_denials *denials = NULL;
    if (wanted && wvu_denials_create(source->sensor, &denials) == WVU_STATUS_NO_MEMORY)
        wvu_log_error(WVU_LOG_SENSOR, "no memory for the files that are denied: programs are "
                                      "ended after they began");
    if (denials != NULL || source->enforcer.denials != NULL)
        ask(source, swap_denials, &denials);
    wvu_denials_destroy(denials);
}

void wvu_source_rejudge(struct wvu_source *source)
{
    wvu_mutex_acquire(&source->control);
    if (is_running(source) && source->programs != NULL) {
        ask(source, judge_again, NULL);
        if (source->used[WVU_SOURCE_PROCESSES])
            renew_denials(source, true);
    }
    wvu_mutex_release(&source->control);
}

void wvu_source_spare(struct wvu_source *source, uint32_t reader_pid)
{
    wvu_mutex_acquire(&source->control);
    source->reader_pid = reader_pid;
    if (source->programs != NULL)
        wvu_programs_spare(source->programs, reader_pid);
    wvu_mutex_release(&source->control);
}

struct listing {
    void (*each)(void *context, const struct wvu_followed *followed);
    void *context;
    wvu_status status;
};

/* After a loss the tracker may not know of all processes: they are walked at once, and what happened meanwhile
 * is taken in, until nothing was lost any more. */
static void list_all(struct wvu_source *source, void *context)
{
    struct listing *listing = context;
    for (int round = 0; round < LIST_ROUNDS && wants_walk(source); round++) {
        walk(source, WVU_CREATE_FOUND, false, source->rings.merge.limit);
        look(source, true);
    }
    listing->status = WVU_STATUS_AGAIN;
    if (wants_walk(source) || !wvu_tracker_is_complete(source->tracker))
        return;
    listing->status = WVU_STATUS_OK;
    wvu_tracker_each(source->tracker, listing->each, listing->context);
}

wvu_status wvu_source_list(struct wvu_source *source,
                           void (*each)(void *context, const struct wvu_followed *followed),
                           void *context)
{
    struct listing listing = {each, context, WVU_STATUS_INVALID_STATE};
    wvu_mutex_acquire(&source->control);
    if (source->used[WVU_SOURCE_PROCESSES] && source->programs != NULL)
        ask(source, list_all, &listing);
    wvu_mutex_release(&source->control);
    return listing.status;
}

wvu_status wvu_source_walk(struct wvu_source *source,
                           void (*each)(void *context, const struct wvu_sample_running *running),
                           void *context)
{
    wvu_status status = WVU_STATUS_INVALID_STATE;
    wvu_mutex_acquire(&source->control);
    if (source->programs != NULL)
        status = wvu_programs_walk(source->programs, each, context);
    wvu_mutex_release(&source->control);
    return status;
}

static void find_one(struct wvu_source *source, void *context)
{
    struct wvu_source_process *process = context;
    struct wvu_followed followed;
    if (!wvu_tracker_find(source->tracker, process->pid, process->key, &followed))
        return;
    uint32_t room = sizeof process->image;
    process->is_protected = followed.is_protected;
    process->wanted = followed.wanted;
    process->image_size = followed.image.size < room ? followed.image.size : room;
    if (process->image_size != 0)
        memcpy(process->image, followed.image.bytes, process->image_size);
}

void wvu_source_find(struct wvu_source *source, struct wvu_source_process *process)
{
    process->is_protected = false;
    process->wanted = WVU_WANTED_ALL;
    process->image_size = 0;
    wvu_mutex_acquire(&source->control);
    if (is_running(source) && source->programs != NULL)
        ask(source, find_one, process);
    wvu_mutex_release(&source->control);
}

uint64_t wvu_source_key(struct wvu_source *source, uint32_t pid)
{
    struct wvu_sample_running running;
    uint64_t key = 0;
    wvu_mutex_acquire(&source->control);
    if (source->programs != NULL &&
        wvu_programs_find(source->programs, pid, &running) == WVU_STATUS_OK)
        key = running.task.key;
    wvu_mutex_release(&source->control);
    return key;
}

wvu_status wvu_source_use_programs(struct wvu_source *source,
                                   void (*use)(void *context, struct wvu_programs *programs),
                                   void *context, char *reason)
{
    wvu_status status = WVU_STATUS_OK;
    wvu_mutex_acquire(&source->control);
    struct wvu_programs *programs = source->programs;
    if (programs == NULL)
        status = wvu_programs_load(wvu_cpu_count(), &programs, reason);
    if (status == WVU_STATUS_OK)
        use(context, programs);
    if (source->programs == NULL && status == WVU_STATUS_OK)
        wvu_programs_unload(programs);
    wvu_mutex_release(&source->control);
    return status;
}

/* ---- acquire and release ----------------------------------------------------------------------------------- */

/* LISTS has no events, so the source need not know its probe. */
static void find_probes(struct wvu_source *source, struct wvu_sensor *sensor)
{
    source->sensor = sensor;
    source->probes[WVU_SOURCE_PROCESSES] = wvu_sensor_find_probe(sensor, wvu_process_probe.name);
    source->probes[WVU_SOURCE_IMAGES] = wvu_sensor_find_probe(sensor, wvu_image_probe.name);
    source->probes[WVU_SOURCE_THREADS] = wvu_sensor_find_probe(sensor, wvu_thread_probe.name);
}

/* What one more use needs of a source that runs with its programs. */
static void add_use(struct wvu_source *source, enum wvu_source_use use)
{
    if (use == WVU_SOURCE_PROCESSES) {
        renew_denials(source, true);
        wvu_store_release(&source->again, 1); /* the new listener is told of all that run */
        wvu_rings_want_attention(&source->rings);
    }
    if (use == WVU_SOURCE_THREADS)
        wvu_programs_want_threads(source->programs, true);
}

/* A source that was just started tells all processes by itself. */
static void begin_use(struct wvu_source *source, enum wvu_source_use use)
{
    if (use == WVU_SOURCE_PROCESSES)
        renew_denials(source, true);
    if (use == WVU_SOURCE_THREADS)
        wvu_programs_want_threads(source->programs, true);
}

wvu_status wvu_source_acquire(struct wvu_source *source, enum wvu_source_use use,
                              struct wvu_probe *probe, char *reason)
{
    wvu_status status = WVU_STATUS_OK;
    wvu_mutex_acquire(&source->control);
    if (is_running(source)) {
        bool restarted = source->programs == NULL && use != WVU_SOURCE_IMAGES;
        if (restarted)
            status = add_programs(source, reason);
        if (status == WVU_STATUS_OK && source->programs != NULL)
            (restarted ? begin_use : add_use)(source, use);
    } else {
        find_probes(source, probe->sensor);
        status =
            use == WVU_SOURCE_IMAGES ? start_images(source, reason) : start(source, true, reason);
        if (status == WVU_STATUS_OK && source->programs != NULL)
            begin_use(source, use);
    }
    if (status == WVU_STATUS_OK)
        source->used[use] = true;
    wvu_mutex_release(&source->control);
    return status;
}

/* What happened until now is told: the probe that lets go still takes events, and soon will not. */
static void flush(struct wvu_source *source)
{
    (void)wvu_event_wait(&source->flushed, 0); /* of an earlier one that took too long */
    wvu_store_release(&source->flush, 1);
    wvu_rings_want_attention(&source->rings);
    if (wvu_event_wait(&source->flushed, FLUSH_NS) != WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_SENSOR,
                        "the last events of a probe may be missing: the reader of the "
                        "kernel's rings did not get to them in time");
}

void wvu_source_release(struct wvu_source *source, enum wvu_source_use use)
{
    wvu_mutex_acquire(&source->control);
    bool was_used = source->used[use];
    source->used[use] = false;
    if (was_used && !is_running(source)) {
        stop(source);
    } else if (was_used) {
        if (use == WVU_SOURCE_THREADS)
            wvu_programs_want_threads(source->programs, false);
        if (use == WVU_SOURCE_PROCESSES && source->enforcer.denials != NULL)
            renew_denials(source, false);
        if (use != WVU_SOURCE_LISTS)
            flush(source);
    }
    wvu_mutex_release(&source->control);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static bool is_power_of_two(uint32_t value)
{
    return (value & (value - 1)) == 0;
}

wvu_status wvu_source_create(const struct wvu_source_settings *settings,
                             struct wvu_source **created)
{
    struct wvu_source_settings wanted = *settings;
    if (wanted.ring_bytes == 0)
        wanted.ring_bytes = WVU_RING_BYTES_DEFAULT;
    if (wanted.processes == 0)
        wanted.processes = WVU_PROCESSES_DEFAULT;
    if (wanted.ring_bytes < WVU_RING_BYTES_MIN || wanted.ring_bytes > WVU_RING_BYTES_MAX ||
        !is_power_of_two(wanted.ring_bytes) || wanted.processes < WVU_PROCESSES_MIN ||
        wanted.processes > WVU_PROCESSES_MAX)
        return WVU_STATUS_INVALID_PARAMETER;
    struct wvu_source *source = wvu_os_alloc(sizeof *source, SOURCE_TAG);
    if (source == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_status status = wvu_mutex_init(&source->control);
    if (status != WVU_STATUS_OK)
        goto free_source;
    status = wvu_event_init(&source->flushed);
    if (status != WVU_STATUS_OK)
        goto destroy_mutex;
    status = wvu_event_init(&source->answered);
    if (status != WVU_STATUS_OK)
        goto destroy_flushed;
    source->settings = wanted;
    *created = source;
    return WVU_STATUS_OK;

destroy_flushed:
    wvu_event_destroy(&source->flushed);
destroy_mutex:
    wvu_mutex_destroy(&source->control);
free_source:
    wvu_os_free(source, SOURCE_TAG);
    return status;
}

void wvu_source_destroy(struct wvu_source *source)
{
    if (source == NULL)
        return;
    wvu_event_destroy(&source->answered);
    wvu_event_destroy(&source->flushed);
    wvu_mutex_destroy(&source->control);
    wvu_os_free(source, SOURCE_TAG);
}

void wvu_source_read_counters(struct wvu_source *source, struct wvu_source_counters *counters)
{
    const uint64_t *from = (const uint64_t *)&source->counters;
    uint64_t *to = (uint64_t *)counters;
    for (size_t i = 0; i < sizeof *counters / sizeof *to; i++)
        to[i] = wvu_load64_relaxed(&from[i]);
}
