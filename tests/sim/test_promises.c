/*
 * The engine's promises, one by one, where simulation can show them. Each test is played with several
 * seeds, so under different switches of threads; sim.c mixes everything with everything.
 *
 * In most of them the controlling coroutine is the reader itself: it connects, gets and replies as the
 * promise requires. Whatever it gets is compared with the truth by the port (truth.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "moderator.h"
#include "world.h"

#define SEEDS  25u
#define ULL(x) ((unsigned long long)(x))
#define DELAY_NS                                                                                   \
    (WVU_MODERATOR_PERIOD_NS + WVU_SIM_MS) /* the longest at which an event is moderated */

struct scene {
    struct world world;
    struct producer producer; /* the control coroutine's own */
    struct sim_message *message;
    uint64_t nth; /* for scenes with a step */
    bool started;
};

static struct scene scene;

static void play_seed(uint64_t seed, uint32_t switch_odds, bool store_buffers, void (*body)(void *))
{
    const struct wvu_sim_settings settings = {
        .seed = seed, .switch_odds = switch_odds, .store_buffers = store_buffers};

    if (!wvu_sim_run(&settings, body, &scene))
        fail_msg("seed %llu %s", ULL(seed), wvu_sim_failure());
}

static void play_with(uint64_t nth, void (*body)(void *))
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        scene.nth = nth;
        play_seed(seed, (uint32_t)(1 + seed % 4), seed % 2 != 0, body);
    }
}

static void play(void (*body)(void *))
{
    play_with(0, body);
}

static void must_succeed(wvu_status status, const char *call)
{
    wvu_sim_check(status == WVU_STATUS_OK, "%s: %s", call, wvu_status_name(status));
}
#define must(call) must_succeed((call), #call)

static void prepare(struct scene *s)
{
    world_init(&s->world);
    s->started = false;
    s->message = malloc(sizeof(*s->message));
    s->producer = s->world.kernel.producer[KERNEL_PRODUCERS_MAX - 1];
    s->world.kernel.quiet = true;
}

static void begin(struct scene *s)
{
    must(world_start(&s->world));
    s->started = true;
}

static void end(struct scene *s)
{
    world_end(&s->world);
    free(s->message);
}

static void event(struct scene *s, enum event_shape shape, uint32_t text_size)
{
    kernel_event(&s->world.kernel, KERNEL_PROBE_A, &s->producer, shape, text_size, true);
}

/* Of a kind that has no share of its own in the queue. */
static void events(struct scene *s, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        event(s, SHAPE_BARE, 0);
}

static struct wvu_queue_counters counters_of(struct scene *s)
{
    struct wvu_queue_counters counters;

    wvu_queue_read_counters(wvu_sensor_queue(s->world.sensor), &counters);
    return counters;
}

static struct wvu_dispatcher_counters dispatcher_of(struct scene *s)
{
    struct wvu_dispatcher_counters counters;

    wvu_dispatcher_read_counters(wvu_sensor_dispatcher(s->world.sensor), &counters);
    return counters;
}

/* The next message, within `ns`. */
static const struct wvu_batch *get(struct scene *s, uint64_t ns)
{
    uint64_t end_at = wvu_os_uptime() + ns;
    wvu_status status;

    do {
        uint64_t now = wvu_os_uptime();

        wvu_sim_check(now < end_at, "no message within %llu ns", ULL(ns));
        status = sim_port_get(&s->world.port, s->message, end_at - now);
    } while (status == WVU_STATUS_AGAIN);
    wvu_sim_check(status == WVU_STATUS_OK, "get: %s", wvu_status_name(status));
    return (const struct wvu_batch *)(const void *)s->message->batch;
}

static void acknowledge(struct scene *s, uint64_t sequence)
{
    wvu_status status = sim_port_acknowledge(&s->world.port, s->message->id, sequence);

    wvu_sim_check(status == WVU_STATUS_OK, "reply: %s", wvu_status_name(status));
    while (s->world.port.has_reply) /* until the dispatcher has seen it */
        wvu_sim_sleep(100);
}

/* Reads and acknowledges until nothing is left. */
static void read_all(struct scene *s)
{
    while (s->world.truth.cursor < counters_of(s).accepted)
        acknowledge(s, get(s, WVU_SIM_S)->last_sequence);
}

static const struct wvu_record *first_record(const struct wvu_batch *batch)
{
    return (const struct wvu_record *)(const void *)((const uint8_t *)batch + batch->header_size);
}

/* ---- 1 ------------------------------------------------------------------------------------------------ */

/* In every state that could make it wait: nobody connected, a message in flight that nobody answers, a
 * full queue, texts that do not fit. The simulated host refuses waits, allocations and log lines. */
static void report_in_every_state(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    for (int reader = 0; reader < 2; reader++) {
        uint64_t services = wvu_sim_services();
        uint64_t events_before = s->world.kernel.events;

        if (reader == 1) {
            sim_port_connect(&s->world.port);
            (void)get(s, WVU_SIM_S);
            services = wvu_sim_services();
        }
        for (uint32_t i = 0; i < 200; i++)
            event(s, (enum event_shape)(i % SHAPES), i % 40 == 3 ? 70000 : i);
        wvu_sim_check(wvu_sim_services() == services, "reporting asks for services");
        wvu_sim_check(s->world.kernel.events - events_before == 200, "events are missing");
    }
    sim_port_close(&s->world.port);
    wvu_sim_check(counters_of(s).unnumbered == 0, "events got no number");
    wvu_sim_check(s->world.kernel.refused == 0, "events were refused");
    world_stop(&s->world);
    end(s);
}

static void promise_1_callbacks_never_wait(void **state)
{
    (void)state;
    play(report_in_every_state);
}

static void report_alone(void *context)
{
    struct scene *s = context;
    uint64_t most = 0;

    prepare(s);
    begin(s);
    for (uint32_t i = 0; i < 500; i++) {
        uint64_t before = wvu_sim_points();

        event(s, SHAPE_BARE, 0);
        most = wvu_sim_points() - before > most ? wvu_sim_points() - before : most;
    }
    /* Clocks, run-down, one lock, slot states of what it pushes out, fence: alone, that is all. */
    wvu_sim_check(most <= 40, "%llu accesses for one event", ULL(most));
    world_stop(&s->world);
    end(s);
}

static void promise_1_the_way_to_commit_is_short(void **state)
{
    (void)state;
    play_seed(1, UINT32_MAX, false, report_alone);
}

static void report_too_long(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    sim_port_connect(&s->world.port);
    for (uint32_t size = 59000; size <= 70000; size += 1000) {
        event(s, SHAPE_CREATE, size);
        event(s, SHAPE_IMAGE, size);
        read_all(s);
    }
    wvu_sim_check(s->world.truth.cut >= 16 && counters_of(s).cut == s->world.truth.cut,
                  "%llu records are cut", ULL(s->world.truth.cut));
    wvu_sim_check(counters_of(s).lost == 0, "records that were too long are lost");
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_1_too_long_is_cut_never_left_out(void **state)
{
    (void)state;
    play(report_too_long);
}

/* ---- 2 ------------------------------------------------------------------------------------------------ */

static void overflow_by_count(void *context)
{
    struct scene *s = context;
    const struct wvu_batch *batch;
    uint64_t allocations;
    uint64_t
        own; /* events of the sensor itself, which has a share, and fills it by less than half */

    prepare(s);
    begin(s);
    own = counters_of(s).accepted;
    wvu_sim_check(own < 64 / 4 / 2, "%llu events at the start", ULL(own));
    allocations = wvu_sim_allocations();
    for (uint32_t i = 0; i < 1000; i++) {
        events(s, 1);
        wvu_sim_check(counters_of(s).queued <= 64 + own, "more records than the bound");
    }
    wvu_sim_check(wvu_sim_allocations() == allocations, "memory grows with events");
    wvu_sim_check(counters_of(s).queued == 64 + own, "fewer records than the bound are kept");
    wvu_sim_check(counters_of(s).high_water == 64 + own, "high water %llu",
                  ULL(counters_of(s).high_water));
    sim_port_connect(&s->world.port);
    batch = get(s, WVU_SIM_MS);
    wvu_sim_check(first_record(batch)->type == WVU_EVENT_SensorStart, "the start is lost");
    wvu_sim_check(batch->record_count == own + 65 &&
                      batch->last_sequence == counters_of(s).accepted,
                  "the newest 64 are not what is kept");
    acknowledge(s, batch->last_sequence);
    world_wait_empty(&s->world, WVU_SIM_S);
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void overflow_by_bytes(void *context)
{
    struct scene *s = context;

    prepare(s);
    s->world.settings.queue_records = 8192;
    begin(s);
    for (uint32_t i = 0; i < 60; i++) {
        event(s, SHAPE_IMAGE, 50000);
        wvu_sim_check(counters_of(s).queued_bytes <= WVU_QUEUE_BYTES_MIN,
                      "%llu bytes are more than the bound", ULL(counters_of(s).queued_bytes));
    }
    wvu_sim_check(counters_of(s).queued >= 4, "too few are kept");
    sim_port_connect(&s->world.port);
    read_all(s);
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_2_bounded_and_the_newest_are_kept(void **state)
{
    (void)state;
    play(overflow_by_count);
    play(overflow_by_bytes);
}

static uint64_t lost_of(struct scene *s, uint16_t type)
{
    struct wvu_event_counters counters;

    wvu_queue_read_event_counters(wvu_sensor_queue(s->world.sensor), wvu_event_index(type),
                                  &counters);
    return counters.lost[WVU_LOSS_QUEUE_FULL];
}

/* Nobody reads while other events come in a storm; then somebody does. As many processes as their share
 * holds, less what the sensor itself says. */
static void storm(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    for (uint32_t round = 0; round < 6; round++) {
        for (uint32_t i = 0; i < 8; i++) {
            events(s, (uint32_t)wvu_sim_random(100));
            event(s, i % 2 == 0 ? SHAPE_CREATE : SHAPE_DESTROY, (uint32_t)wvu_sim_random(500));
        }
        events(s, 200);
        sim_port_connect(&s->world.port);
        read_all(s);
        sim_port_close(&s->world.port);
        wvu_sim_sleep(WVU_SIM_MS);
    }
    wvu_sim_check(
        lost_of(s, WVU_EVENT_ProcessCreate) == 0 && lost_of(s, WVU_EVENT_ProcessDestroy) == 0 &&
            lost_of(s, WVU_EVENT_SensorStart) == 0 && lost_of(s, WVU_EVENT_ProbeStateChanged) == 0,
        "a storm pushed out what has a share of its own");
    wvu_sim_check(lost_of(s, BARE_TYPE) > 1000, "that was no storm");
    wvu_sim_check(s->world.truth.told_lost == counters_of(s).lost, "losses were not told");
    wvu_sim_check(s->world.truth.kept > 20, "nothing stood between gaps");
    world_stop(&s->world);
    end(s);
}

static void promise_2_a_storm_does_not_push_processes_out(void **state)
{
    (void)state;
    play(storm);
}

/* ---- 3 ------------------------------------------------------------------------------------------------ */

static void stall_and_commit(void *context)
{
    struct scene *s = context;
    static struct producer stalled;

    stalled = s->world.kernel.producer[0];
    s->world.kernel.stall_odds = 1;
    kernel_event(&s->world.kernel, KERNEL_PROBE_A, &stalled, SHAPE_DESTROY, 0, true);
}

static void lose_early(struct scene *s, uint16_t cause, uint16_t type, uint64_t count)
{
    wvu_queue_count_loss(wvu_sensor_queue(s->world.sensor), cause, type, count);
    truth_not_numbered(&s->world.truth, cause, type, count);
}

/* Every way to lose: overwritten, no room behind a record that is still being filled, lost before the
 * sensor; also an EventsLost that is itself overwritten. */
static void lose_in_every_way(void *context)
{
    struct scene *s = context;
    wvu_thread thread;

    prepare(s);
    begin(s);
    events(s, 100);
    must(wvu_thread_start(&thread, "stalled", stall_and_commit, s));
    while (s->world.kernel.stalled == 0) /* between reserve and commit */
        wvu_sim_sleep(100);
    s->world.kernel.stall_odds = 0;
    for (uint32_t i = 0; i < 40; i++)
        event(s, SHAPE_IMAGE, 60000);
    wvu_thread_join(&thread);
    lose_early(s, WVU_LOSS_KERNEL_RING, WVU_EVENT_ProcessCreate, 17);
    sim_port_connect(&s->world.port);
    read_all(s);
    sim_port_close(&s->world.port);
    /* Losses without numbers alone are told by a record of their own, which can be lost itself. */
    lose_early(s, WVU_LOSS_KERNEL_PROBE, WVU_EVENT_NONE, 3);
    wvu_dispatcher_tell_losses(wvu_sensor_dispatcher(s->world.sensor));
    events(s, 100);
    sim_port_connect(&s->world.port);
    read_all(s);
    lose_early(s, WVU_LOSS_KERNEL_PROBE, WVU_EVENT_NONE, 4);
    wvu_queue_wake(wvu_sensor_queue(s->world.sensor));
    acknowledge(s, get(s, WVU_SIM_S)->last_sequence);
    read_all(s);
    world_wait_empty(&s->world, WVU_SIM_S);
    /* All of it was told, and by cause just as often as it happened. */
    wvu_sim_check(s->world.truth.told_lost == counters_of(s).lost && counters_of(s).lost > 100,
                  "%llu of %llu losses were told", ULL(s->world.truth.told_lost),
                  ULL(counters_of(s).lost));
    wvu_sim_check(memcmp(s->world.truth.told[WVU_LOSS_QUEUE_BUSY],
                         s->world.truth.counted[WVU_LOSS_QUEUE_BUSY],
                         sizeof s->world.truth.told[0]) == 0 &&
                      counters_of(s).unnumbered > 17 + 3 + 4,
                  "%llu losses without a number", ULL(counters_of(s).unnumbered));
    wvu_sim_check(
        s->world.truth.told[WVU_LOSS_KERNEL_PROBE][0] == 7 &&
            s->world.truth.told[WVU_LOSS_KERNEL_RING][wvu_event_index(WVU_EVENT_ProcessCreate)] ==
                17,
        "losses before the sensor are told otherwise");
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_3_nothing_is_lost_without_saying_so(void **state)
{
    (void)state;
    play(lose_in_every_way);
}

static void read_counters_all_the_time(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    must(reader_start(&s->world.reader, &s->world.port, 100));
    s->world.kernel.burst = 10;
    must(kernel_start(&s->world.kernel, 3, 20));
    for (uint32_t i = 0; i < 300; i++) {
        world_check_identity(&s->world);
        if (i % 8 == 0)
            wvu_sim_sleep(wvu_sim_random(WVU_SIM_MS));
    }
    kernel_join(&s->world.kernel);
    reader_behave(&s->world.reader);
    world_wait_empty(&s->world, 60 * WVU_SIM_S);
    reader_end(&s->world.reader);
    world_stop(&s->world);
    end(s);
}

static void promise_3_the_identity_holds_at_any_time(void **state)
{
    (void)state;
    play(read_counters_all_the_time);
}

static void send_stop_to_a_reader(void *context)
{
    struct scene *s = context;

    prepare(s);
    s->world.settings.drain_ms = 5000;
    begin(s);
    must(reader_start(&s->world.reader, &s->world.port, 100));
    reader_behave(&s->world.reader);
    wvu_sim_sleep(WVU_SIM_S);
    events(s, 500); /* some of them are still queued */
    lose_early(s, WVU_LOSS_KERNEL_RING, WVU_EVENT_NONE, 5);
    world_stop_drained(&s->world);
    reader_end(&s->world.reader);
    end(s);
}

static void promise_3_a_reader_gets_all_until_sensor_stop(void **state)
{
    (void)state;
    play(send_stop_to_a_reader);
}

/* ---- 4 ------------------------------------------------------------------------------------------------ */

/* What is not acknowledged comes again, first things first, whatever ended the first attempt. */
static void do_not_acknowledge(void *context)
{
    struct scene *s = context;
    const struct wvu_batch *batch;
    uint64_t last;

    prepare(s);
    begin(s);
    events(s, 20);

    sim_port_connect(&s->world.port); /* a reader that crashes */
    batch = get(s, WVU_SIM_MS);
    last = batch->last_sequence;
    wvu_sim_check(batch->first_sequence == 1 && batch->flags == 0 && last >= 20, "first attempt");
    events(s, 100); /* more than the queue holds: what is in flight must not be lost by it */
    sim_port_close(&s->world.port);

    sim_port_connect(&s->world.port); /* the next one replies too late */
    batch = get(s, WVU_SIM_MS);
    wvu_sim_check(batch->first_sequence == 1 && batch->last_sequence == last &&
                      batch->flags == WVU_BATCH_REDELIVERED,
                  "after a crash");
    wvu_sim_sleep(150 * WVU_SIM_MS);
    wvu_sim_check(sim_port_acknowledge(&s->world.port, s->message->id, last) ==
                      WVU_STATUS_NO_WAITER_FOR_REPLY,
                  "a reply that is too late");
    batch = get(s, WVU_SIM_MS); /* it was sent again meanwhile */
    wvu_sim_check(batch->first_sequence == 1 && batch->last_sequence == last, "after a time-out");
    acknowledge(s, 7); /* a part */

    batch = get(s, WVU_SIM_MS);
    wvu_sim_check(batch->first_sequence == 8 && batch->last_sequence == last &&
                      batch->flags == WVU_BATCH_REDELIVERED,
                  "after a part");
    acknowledge(s, 3); /* nothing new */
    batch = get(s, WVU_SIM_S);
    wvu_sim_check(batch->first_sequence == 8, "after nothing new");
    acknowledge(s, last);

    batch = get(s, WVU_SIM_S);
    wvu_sim_check(first_record(batch)->type == WVU_EVENT_EventsLost,
                  "the loss is told in its place");
    acknowledge(s, batch->last_sequence);
    read_all(s);
    world_wait_empty(&s->world, WVU_SIM_S);
    wvu_sim_check(counters_of(s).delivered == counters_of(s).accepted - counters_of(s).lost,
                  "delivered twice, or not");
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_4_at_least_once_in_order(void **state)
{
    (void)state;
    play(do_not_acknowledge);
}

/* ---- 5 ------------------------------------------------------------------------------------------------ */

static void report_steadily(void *context)
{
    struct scene *s = context;
    uint64_t before;
    uint64_t messages;
    uint64_t wakes;
    uint64_t took;

    prepare(s);
    s->world.settings.queue_records = 8192;
    begin(s);
    must(reader_start(&s->world.reader, &s->world.port, 100));
    reader_behave(&s->world.reader);
    wvu_sim_sleep(WVU_SIM_S);
    before = wvu_os_uptime();
    messages = s->world.truth.messages;
    wakes = world_dispatcher_wakes(&s->world);
    for (uint32_t i = 0; i < 4000; i++) {
        events(s, 1);
        wvu_sim_sleep(50000);
    }
    took = wvu_os_uptime() - before;
    messages = s->world.truth.messages - messages;
    wakes = world_dispatcher_wakes(&s->world) - wakes;
    wvu_sim_trace("%llu messages, %llu wakes for 4000 events in %llu ns", ULL(messages), ULL(wakes),
                  ULL(took));
    wvu_sim_check(messages <= WVU_MODERATOR_RESERVE + took / WVU_MODERATOR_PERIOD_NS + 1,
                  "%llu messages for 4000 events in %llu ns", ULL(messages), ULL(took));
    wvu_sim_check(wakes <= 2 * (WVU_MODERATOR_RESERVE + took / WVU_MODERATOR_PERIOD_NS + 1),
                  "%llu wakes for 4000 events in %llu ns", ULL(wakes), ULL(took));
    world_wait_empty(&s->world, 20 * WVU_SIM_MS);
    reader_end(&s->world.reader);
    world_stop(&s->world);
    end(s);
}

/* A producer that stops in mid-fill holds up delivery; those behind it must not wake anybody for each
 * event meanwhile. */
static void report_behind_a_stalled_one(void *context)
{
    struct scene *s = context;
    wvu_thread thread;
    uint64_t before;
    uint64_t wakes;
    uint64_t took;

    prepare(s);
    s->world.settings.queue_records = 8192;
    begin(s);
    sim_port_connect(&s->world.port);
    acknowledge(s, get(s, WVU_SIM_S)->last_sequence);
    wvu_sim_sleep(WVU_SIM_S);
    wakes = world_dispatcher_wakes(&s->world);
    before = wvu_os_uptime();
    must(wvu_thread_start(&thread, "stalled", stall_and_commit, s));
    while (s->world.kernel.stalled == 0) /* between reserve and commit */
        wvu_sim_sleep(100);
    s->world.kernel.stall_odds = 0;
    while (s->world.kernel.inside[KERNEL_PROBE_A] != 0) {
        events(s, 1);
        wvu_sim_sleep(5000);
    }
    wvu_thread_join(&thread);
    took = wvu_os_uptime() - before;
    wakes = world_dispatcher_wakes(&s->world) - wakes;
    wvu_sim_check(wakes <= 2 * (WVU_MODERATOR_RESERVE + took / WVU_MODERATOR_PERIOD_NS + 1),
                  "%llu wakes for nothing in %llu ns", ULL(wakes), ULL(took));
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_5_wake_ups_are_rationed(void **state)
{
    (void)state;
    play(report_steadily);
    play(report_behind_a_stalled_one);
}

static void stay_idle(void *context)
{
    struct scene *s = context;
    uint64_t wakes;
    uint64_t points;

    prepare(s);
    begin(s);
    events(s, 10); /* something is queued, and nobody connected */
    wvu_sim_sleep(WVU_SIM_S);
    for (int connected = 0; connected < 2; connected++) {
        if (connected == 1) {
            sim_port_connect(&s->world.port);
            read_all(s);
            wvu_sim_sleep(WVU_SIM_S);
        }
        wakes = wvu_sim_wakes("wvu-dispatcher") + wvu_sim_wakes("wvu-poller");
        points = wvu_sim_points();
        wvu_sim_sleep(3600 * WVU_SIM_S);
        wvu_sim_check(wvu_sim_wakes("wvu-dispatcher") + wvu_sim_wakes("wvu-poller") == wakes,
                      "somebody woke up in an hour in which nothing happened");
        wvu_sim_check(wvu_sim_points() - points <= 2, "somebody ran in an hour of nothing");
    }
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_5_nothing_wakes_when_nothing_happens(void **state)
{
    (void)state;
    play(stay_idle);
}

/* The last event before a silence: nobody comes after it who could wake the dispatcher instead. */
static void fall_silent(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    must(reader_start(&s->world.reader, &s->world.port, 100));
    reader_behave(&s->world.reader);
    s->world.kernel.largest_text = 0;
    s->world.kernel.gap_ns =
        2000; /* about what a batch takes: the last one comes when it is over */
    for (uint32_t i = 0; i < 40; i++) {
        wvu_sim_sleep(20 * WVU_SIM_MS); /* the dispatcher sleeps */
        must(kernel_start(&s->world.kernel, 2, 1 + i % 6));
        kernel_join(&s->world.kernel);
        world_wait_empty(&s->world, 30 * WVU_SIM_MS);
    }
    reader_end(&s->world.reader);
    world_stop(&s->world);
    end(s);
}

static void promise_5_no_wake_up_is_lost(void **state)
{
#ifdef WVU_SIM_TSAN
    const uint64_t seeds = SEEDS; /* stores are not delayed there */
#else
    const uint64_t seeds = 8 * SEEDS;
#endif

    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        play_seed(seed, (uint32_t)(1 + seed % 3), true, fall_silent);
}

static void measure_delays(void *context)
{
    struct scene *s = context;
    uint64_t at;

    prepare(s);
    begin(s);
    sim_port_connect(&s->world.port);
    read_all(s);
    for (uint32_t i = 0; i < 50; i++) { /* far apart: at once */
        wvu_sim_sleep(20 * WVU_SIM_MS);
        at = wvu_os_uptime();
        events(s, 1);
        acknowledge(s, get(s, WVU_SIM_MS)->last_sequence);
        wvu_sim_check(wvu_os_uptime() - at < WVU_SIM_MS / 10, "an event alone took %llu ns",
                      ULL(wvu_os_uptime() - at));
    }
    for (uint32_t i = 0; i < 200; i++) { /* without a pause: moderated, but bounded */
        at = wvu_os_uptime();
        events(s, 1);
        acknowledge(s, get(s, WVU_SIM_S)->last_sequence);
        wvu_sim_check(wvu_os_uptime() - at < DELAY_NS, "a moderated event took %llu ns",
                      ULL(wvu_os_uptime() - at));
    }
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_5_delay_is_bounded(void **state)
{
    (void)state;
    play(measure_delays);
}

/* ---- 6 ------------------------------------------------------------------------------------------------ */

/* A reader that goes away at any instant: between any two steps, for ever new ones. */
static void come_and_go(void *context)
{
    struct scene *s = context;

    prepare(s);
    s->world.port.late_close = wvu_sim_odds(2);
    begin(s);
    s->world.kernel.burst = 3;
    s->world.kernel.gap_ns = WVU_SIM_MS;
    must(kernel_start(&s->world.kernel, 2, 100));
    for (uint32_t i = 0; i < 100; i++) {
        sim_port_connect(&s->world.port);
        switch (wvu_sim_random(4)) {
        case 0:
            break;
        case 1:
            wvu_sim_sleep(wvu_sim_random(2000));
            break;
        case 2:
            events(s, 1);
            (void)get(s, 10 * WVU_SIM_MS);
            break;
        default:
            events(s, 1);
            acknowledge(s, get(s, 10 * WVU_SIM_MS)->last_sequence);
            break;
        }
        sim_port_close(&s->world.port);
    }
    kernel_join(&s->world.kernel);
    events(s, 1);
    sim_port_connect(&s->world.port); /* and the next one gets it all */
    (void)get(s, 10 * WVU_SIM_MS);
    sim_port_close(&s->world.port);
    sim_port_connect(&s->world.port);
    read_all(s);
    world_wait_empty(&s->world, WVU_SIM_S);
    wvu_sim_check(dispatcher_of(s).connections == s->world.port.connects, "connections");
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

/* A reader that holds the port and never replies loses it, so that another can have it. */
static void hold_the_port(void *context)
{
    struct scene *s = context;
    uint64_t before;

    prepare(s);
    s->world.port.late_close = wvu_sim_odds(2);
    begin(s);
    events(s, 1);
    sim_port_connect(&s->world.port);
    before = wvu_os_uptime();
    while (sim_port_is_open(&s->world.port)) {
        wvu_sim_check(wvu_os_uptime() - before < WVU_SIM_S, "it keeps the port");
        (void)sim_port_get(&s->world.port, s->message, 50 * WVU_SIM_MS);
    }
    wvu_sim_check(dispatcher_of(s).timeouts == WVU_TIMEOUTS_BEFORE_DISCONNECT, "time-outs");
    sim_port_close(&s->world.port);
    sim_port_connect(&s->world.port);
    read_all(s);
    wvu_sim_check(counters_of(s).lost == 0, "lost");
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_6_reconnect_always_works(void **state)
{
    (void)state;
    play(come_and_go);
    play(hold_the_port);
}

/* ---- 7 ------------------------------------------------------------------------------------------------ */

static void stop_and_check(struct scene *s)
{
    world_stop(&s->world);
    world_stop(&s->world); /* again: nothing happens */
}

static void stop_before_start(void *context)
{
    struct scene *s = context;

    prepare(s);
    must(wvu_sensor_create(&s->world.settings, &s->world.sensor));
    wvu_sensor_stop(s->world.sensor, "it has not started");
    end(s);
}

static void stop_without_reader(void *context)
{
    struct scene *s = context;

    prepare(s);
    s->world.settings.drain_ms = (uint32_t)wvu_sim_random(2) * 1000;
    begin(s);
    events(s, 200);
    stop_and_check(s);
    end(s);
}

static void stop_with_idle_reader(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    sim_port_connect(&s->world.port);
    read_all(s);
    stop_and_check(s);
    sim_port_close(&s->world.port);
    end(s);
}

/* In the middle of a send that nobody will answer, with a time-out of ten minutes. */
static void stop_in_mid_send(void *context)
{
    struct scene *s = context;

    prepare(s);
    s->world.settings.send_timeout_ms = WVU_SEND_TIMEOUT_MS_MAX;
    s->world.settings.drain_ms = (uint32_t)wvu_sim_random(2) * 50;
    begin(s);
    sim_port_connect(&s->world.port);
    events(s, 3);
    (void)get(s, WVU_SIM_S);
    wvu_sim_sleep(wvu_sim_random(WVU_SIM_S));
    stop_and_check(s);
    sim_port_close(&s->world.port);
    end(s);
}

/* The reader replies, but never acknowledges anything. */
static void acknowledge_nothing(void *context)
{
    struct scene *s = context;

    while (!s->world.reader.must_end) {
        if (sim_port_get(&s->world.port, s->message, 10 * WVU_SIM_MS) == WVU_STATUS_OK)
            (void)sim_port_acknowledge(&s->world.port, s->message->id, 0);
    }
}

static void stop_without_progress(void *context)
{
    struct scene *s = context;
    wvu_thread thread;

    prepare(s);
    s->world.settings.drain_ms = (uint32_t)wvu_sim_random(2) * 500;
    begin(s);
    sim_port_connect(&s->world.port);
    events(s, 3);
    must(wvu_thread_start(&thread, "no progress", acknowledge_nothing, s));
    wvu_sim_sleep(wvu_sim_random(WVU_SIM_S));
    stop_and_check(s);
    s->world.reader.must_end = true;
    wvu_thread_join(&thread);
    sim_port_close(&s->world.port);
    end(s);
}

static void stop_under_load(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    s->world.kernel.burst = 20;
    s->world.kernel.stall_odds = 10;
    must(reader_start(&s->world.reader, &s->world.port, 100));
    must(kernel_start(&s->world.kernel, KERNEL_PRODUCERS_MAX, 20));
    wvu_sim_sleep(wvu_sim_random(20 * WVU_SIM_MS));
    stop_and_check(s);
    s->world.kernel.must_end = true;
    kernel_join(&s->world.kernel);
    reader_end(&s->world.reader);
    end(s);
}

static void promise_7_stop_always_works(void **state)
{
    (void)state;
    play(stop_before_start);
    play(stop_without_reader);
    play(stop_with_idle_reader);
    play(stop_in_mid_send);
    play(stop_without_progress);
    play(stop_under_load);
}

/* ---- probes that are switched on and off under load ----- */

#define SWITCHES 10000u

/* Bursts of events by a source that waits, as sources can, while the queue is nearly full and a reader gets
 * on: so it is nearly full much of the time. */
static void report_in_bursts(void *context)
{
    struct producer *producer = context;
    struct kernel *kernel = producer->kernel;

    for (uint64_t i = 1; !kernel->must_end; i++) {
        while (wvu_dispatcher_should_hold(wvu_sensor_dispatcher(kernel->sensor)))
            wvu_sim_sleep(WVU_SIM_MS);
        kernel_event(kernel, i % 2 == 0 ? KERNEL_PROBE_A : KERNEL_PROBE_B, producer,
                     (enum event_shape)(i % SHAPES), (uint32_t)(i % 100), true);
        if (i % 40 == 0)
            wvu_sim_sleep(wvu_sim_random(10 * WVU_SIM_MS));
    }
}

/* What was accepted arrives, all of it: there is room, and a reader. The simulated host reports whatever is
 * left behind, in memory or otherwise. */
static void switch_probes(void *context)
{
    struct scene *s = context;
    struct kernel *kernel = &s->world.kernel;
    wvu_thread threads[2];
    char reason[256];

    prepare(s);
    begin(s);
    must(reader_start(&s->world.reader, &s->world.port, 100));
    reader_behave(&s->world.reader);
    for (uint32_t i = 0; i < 2; i++)
        must(wvu_thread_start(&threads[i], "load", report_in_bursts, &kernel->producer[i]));
    for (uint32_t i = 0; i < SWITCHES; i++) {
        struct wvu_probe *probe =
            wvu_sensor_probe_at(s->world.sensor, wvu_sim_odds(2) ? KERNEL_PROBE_A : KERNEL_PROBE_B);

        must(wvu_probe_start(probe, reason));
        wvu_probe_stop(probe, "switched");
        if (wvu_dispatcher_should_hold(wvu_sensor_dispatcher(s->world.sensor)))
            wvu_sim_sleep(WVU_SIM_MS);
    }
    must(wvu_probe_start(wvu_sensor_probe_at(s->world.sensor, KERNEL_PROBE_A), reason));
    wvu_sim_sleep(WVU_SIM_MS); /* it still works */
    kernel->must_end = true;
    for (uint32_t i = 0; i < 2; i++)
        wvu_thread_join(&threads[i]);
    world_wait_empty(&s->world, 60 * WVU_SIM_S);
    wvu_sim_check(counters_of(s).lost == 0 && counters_of(s).unnumbered == 0,
                  "%llu events were lost", ULL(counters_of(s).lost));
    wvu_sim_trace("%llu events, %llu refused, high water %llu", ULL(kernel->events),
                  ULL(kernel->refused), ULL(counters_of(s).high_water));
    wvu_sim_check(kernel->events > 2 * SWITCHES && kernel->refused > SWITCHES &&
                      counters_of(s).high_water > 48,
                  "%llu events, %llu refused: that was no load", ULL(kernel->events),
                  ULL(kernel->refused));
    reader_end(&s->world.reader);
    world_stop(&s->world);
    end(s);
}

static void promise_7_probes_are_switched_under_load(void **state)
{
    (void)state;
    play_seed(1, 2, true, switch_probes);
    play_seed(2, 30, false, switch_probes);
}

/* The n-th service of create and start fails. */
static void fail_start(void *context)
{
    struct scene *s = context;
    wvu_status status;

    prepare(s);
    wvu_sim_fail_service(s->nth);
    status = world_start(&s->world);
    wvu_sim_fail_service(0);
    s->started = status == WVU_STATUS_OK;
    if (s->world.sensor != NULL) {
        wvu_sensor_stop(s->world.sensor, "");
        wvu_sensor_stop(s->world.sensor, "");
    }
    wvu_sim_check(s->started || status == WVU_STATUS_NO_MEMORY ||
                      status == WVU_STATUS_NO_RESOURCES || status == WVU_STATUS_IO_ERROR,
                  "%s", wvu_status_name(status));
    end(s);
}

static void promise_7_a_failed_start_leaves_nothing(void **state)
{
    uint64_t nth = 0;

    (void)state;
    do {
        play_with(++nth, fail_start);
    } while (!scene.started);
    assert_in_range(nth, 15, 100); /* there is that much that can fail */
}

/* ---- 8 ------------------------------------------------------------------------------------------------ */

/* The ring is full of old texts; the port compares every byte of what comes with what was written. */
static void reuse_a_dirty_ring(void *context)
{
    struct scene *s = context;

    prepare(s);
    begin(s);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 20; i++)
            event(s, SHAPE_IMAGE, 60000);
        for (uint32_t i = 0; i < 60; i++)
            event(s, (enum event_shape)(i % SHAPES), i % 23);
        lose_early(s, WVU_LOSS_KERNEL_RING, WVU_EVENT_NONE, 1);
        sim_port_connect(&s->world.port);
        read_all(s);
        sim_port_close(&s->world.port);
    }
    world_stop(&s->world);
    end(s);
}

static void promise_8_no_uninitialised_byte_leaves(void **state)
{
    (void)state;
    play(reuse_a_dirty_ring);
}

/* ---- 9 ------------------------------------------------------------------------------------------------ */

static void reply_badly(void *context)
{
    struct scene *s = context;
    static const struct {
        uint32_t size;
        struct wvu_reply reply;
        bool past; /* acknowledges more than there is */
    } bad[] = {
        {0, {WVU_PROTOCOL_VERSION, sizeof(struct wvu_reply), 0, 0}, false},
        {15, {WVU_PROTOCOL_VERSION, sizeof(struct wvu_reply), 0, 0}, false},
        {16, {0, sizeof(struct wvu_reply), 0, 0}, false},
        {16, {WVU_PROTOCOL_VERSION + 1, sizeof(struct wvu_reply), 0, 0}, false},
        {16, {WVU_PROTOCOL_VERSION, 0, 0, 0}, false},
        {16, {WVU_PROTOCOL_VERSION, 15, 0, 0}, false},
        {16, {WVU_PROTOCOL_VERSION, 17, 0, 0}, false},
        {16, {WVU_PROTOCOL_VERSION, 65535, 0, 0}, false},
        {16, {WVU_PROTOCOL_VERSION, sizeof(struct wvu_reply), 0, 1}, true},
        {16, {WVU_PROTOCOL_VERSION, sizeof(struct wvu_reply), 0, UINT64_MAX}, false},
    };
    uint64_t count = 0;

    prepare(s);
    begin(s);
    events(s, 5);
    sim_port_connect(&s->world.port);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct wvu_batch *batch = get(s, WVU_SIM_S);
        struct wvu_reply reply = bad[i].reply;

        if (bad[i].past)
            reply.acknowledged += batch->last_sequence;
        wvu_sim_check(batch->first_sequence == 1 + i, "bad reply %zu took something away", i);
        wvu_sim_check(sim_port_reply(&s->world.port, s->message->id, WVU_STATUS_OK, &reply,
                                     bad[i].size) == WVU_STATUS_OK,
                      "reply");
        batch = get(s, WVU_SIM_S); /* it comes again, and the connection lives */
        wvu_sim_check(batch->first_sequence == 1 + i, "bad reply %zu took something away", i);
        wvu_sim_check(dispatcher_of(s).bad_replies == ++count, "bad reply %zu is not counted", i);
        events(s, 1);
        acknowledge(s, 1 + i); /* a good one, for one record, clears the reader's record */
    }
    for (uint32_t i = 0; i < WVU_TIMEOUTS_BEFORE_DISCONNECT;
         i++) { /* one who only lies is let go */
        (void)get(s, WVU_SIM_S);
        (void)sim_port_reply(&s->world.port, s->message->id, WVU_STATUS_OK, "", 0);
    }
    wvu_sim_sleep(WVU_SIM_S);
    wvu_sim_check(!sim_port_is_open(&s->world.port), "a reader that only lies keeps the port");
    sim_port_close(&s->world.port);
    sim_port_connect(&s->world.port);
    read_all(s);
    wvu_sim_check(counters_of(s).lost == 0, "lost");
    sim_port_close(&s->world.port);
    world_stop(&s->world);
    end(s);
}

static void promise_9_bad_replies_cost_nothing(void **state)
{
    (void)state;
    play(reply_badly);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promise_1_callbacks_never_wait),
        cmocka_unit_test(promise_1_the_way_to_commit_is_short),
        cmocka_unit_test(promise_1_too_long_is_cut_never_left_out),
        cmocka_unit_test(promise_2_bounded_and_the_newest_are_kept),
        cmocka_unit_test(promise_2_a_storm_does_not_push_processes_out),
        cmocka_unit_test(promise_3_nothing_is_lost_without_saying_so),
        cmocka_unit_test(promise_3_the_identity_holds_at_any_time),
        cmocka_unit_test(promise_3_a_reader_gets_all_until_sensor_stop),
        cmocka_unit_test(promise_4_at_least_once_in_order),
        cmocka_unit_test(promise_5_wake_ups_are_rationed),
        cmocka_unit_test(promise_5_nothing_wakes_when_nothing_happens),
        cmocka_unit_test(promise_5_no_wake_up_is_lost),
        cmocka_unit_test(promise_5_delay_is_bounded),
        cmocka_unit_test(promise_6_reconnect_always_works),
        cmocka_unit_test(promise_7_stop_always_works),
        cmocka_unit_test(promise_7_probes_are_switched_under_load),
        cmocka_unit_test(promise_7_a_failed_start_leaves_nothing),
        cmocka_unit_test(promise_8_no_uninitialised_byte_leaves),
        cmocka_unit_test(promise_9_bad_replies_cost_nothing),
    };

    return cmocka_run_group_tests_name("promises", tests, NULL, NULL);
}
