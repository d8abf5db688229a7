/*
 * The source's thread, wvu-source: when to look at the rings, looking, and the walks over all processes.
 *
 * A look takes what is in the rings (merge.c says why the order is right), hands it to
 * source_events.c, which tells the tracker, and wakes the dispatcher once. When to look:
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
 * After a loss (source_losses.c) the processes are walked again: new ones are Found, missing ones are gone.
 */
#include "dispatcher.h"
#include "log.h"
#include "sensor.h"
#include "source_parts.h"

#define GAP_NS         250000u /* between looks while events come and the moderator agrees */
#define EMPTY_LOOKS    2u      /* before the bells are armed */
#define SETTLE_NS      5000000u
#define SAFETY_NS      UINT64_C(10000000000)
#define WALK_PERIOD_NS UINT64_C(1000000000) /* walks after losses are at least so far apart */
#define LIST_ROUNDS    3    /* walks at once, when a list is asked for after losses */
#define TOKENS         2u   /* for a look */
#define CHECK_RECORDS  128u /* flow control is asked each so many records or bytes */
#define CHECK_BYTES    (256u << 10)
#define WAKE_RECORDS   1024u /* the dispatcher is woken within a look: a multiple of CHECK_RECORDS */
#define FILL_LIMIT     192u /* of 256: from here on the rings are emptied, whatever the queue says */

static bool stopping(const struct wvu_source *source)
{
    return wvu_load_acquire(&source->stops) != 0;
}

/* ---- when to look ---------------------------------------------------------------------------- */

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

/* ---- looking --------------------------------------------------------------------------------- */

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
        if (!wvu_source_handle(source, record, time))
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
    wvu_source_tell_losses(source);
    leave_probes(source);
    return left || records != 0;
}

/* ---- walks ----------------------------------------------------------------------------------- */

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

/* After a loss the tracker may not know of all processes: they are walked at once, and what happened meanwhile
 * is taken in, until nothing was lost any more. */
bool wvu_source_catch_up(struct wvu_source *source)
{
    for (int round = 0; round < LIST_ROUNDS && wants_walk(source); round++) {
        walk(source, WVU_CREATE_FOUND, false, source->rings.merge.limit);
        look(source, true);
    }
    return !wants_walk(source);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Everything up to the look that was just made is known to the tracker. */
static void answer(struct wvu_source *source)
{
    source->work(source, source->work_context);
    wvu_store_release(&source->asked, 0);
    wvu_event_set(&source->answered);
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

void wvu_source_main(void *context)
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
        wvu_source_mend_rings(source, wvu_os_uptime());
        publish_counters(source);
        wvu_source_complain(source, wvu_os_uptime());
        rest(source, found);
    }
    look(source, true); /* what came before the stop is told */
}
