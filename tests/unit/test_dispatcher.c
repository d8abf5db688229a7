/*
 * dispatcher.c with a fake port: what it does with each way a send can end, and what it puts into a
 * message. What readers get over many connections is checked in tests/sim.
 */
#include "support/simulated.h"

#include <stdlib.h>

#include "dispatcher.h"
#include "moderator.h"
#include "record.h"
#include "support/fake_port.h"

#define SMALL ((uint32_t)sizeof(struct wvu_record))

static const uint8_t boot_id[16] = "the boot id here";
static const uint8_t sensor_id[16] = "and the sensor's";

struct fixture {
    wvu_event wake;
    struct fake_port port;
    struct wvu_queue *queue;
    struct wvu_dispatcher *dispatcher;
    struct wvu_dispatcher_settings settings;
};

static void prepare(struct fixture *f)
{
    check_equal(wvu_event_init(&f->wake), WVU_STATUS_OK);
    fake_port_init(&f->port);
    check_equal(wvu_queue_create(64, WVU_QUEUE_BYTES_MIN, &f->wake, &f->queue), WVU_STATUS_OK);
    f->settings = (struct wvu_dispatcher_settings){.queue = f->queue,
                                                   .port = &f->port.port,
                                                   .wake = &f->wake,
                                                   .boot_id = boot_id,
                                                   .sensor_id = sensor_id,
                                                   .send_timeout_ms = 100};
}

static void begin(struct fixture *f)
{
    check_equal(wvu_dispatcher_create(&f->settings, &f->dispatcher), WVU_STATUS_OK);
    check_equal(wvu_dispatcher_start(f->dispatcher), WVU_STATUS_OK);
}

static void end(struct fixture *f)
{
    wvu_dispatcher_stop(f->dispatcher);
    wvu_dispatcher_destroy(f->dispatcher);
    wvu_queue_destroy(f->queue);
    fake_port_destroy(&f->port);
    wvu_event_destroy(&f->wake);
}

static void put_as(struct fixture *f, uint16_t type, uint32_t size)
{
    struct wvu_record *record;

    check_equal(wvu_queue_reserve(f->queue, type, size, &record), WVU_STATUS_OK);
    wvu_queue_commit(f->queue, record);
    wvu_queue_wake(f->queue);
}

/* Of a kind that the queue keeps no share for. */
static void put_sized(struct fixture *f, uint32_t size)
{
    put_as(f, WVU_EVENT_ImageLoad, size);
}

static void put(struct fixture *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        put_sized(f, SMALL);
}

static struct wvu_queue_counters counters_of(struct fixture *f)
{
    struct wvu_queue_counters c;

    wvu_queue_read_counters(f->queue, &c);
    check_equal(c.accepted, c.delivered + c.lost + c.queued + c.in_flight);
    return c;
}

static struct wvu_dispatcher_counters own_counters(struct fixture *f)
{
    struct wvu_dispatcher_counters c;

    wvu_dispatcher_read_counters(f->dispatcher, &c);
    return c;
}

static const struct fake_step take_all = {.acknowledge = FAKE_ALL};

/* The n-th send carried these numbers. */
static void check_send(struct fixture *f, uint32_t n, uint64_t first, uint64_t last, uint32_t flags)
{
    const struct wvu_batch *batch = &f->port.send[n].batch;

    check_equal(batch->first_sequence, first);
    check_equal(batch->last_sequence, last);
    check_equal(batch->flags, flags);
    check_equal(batch->size, f->port.send[n].size);
}

/* ---- create, start, stop ------------------------------------------------------------------------------ */

SIMULATED(time_outs_are_checked)
{
    static const uint32_t bad[] = {0, WVU_SEND_TIMEOUT_MS_MIN - 1, WVU_SEND_TIMEOUT_MS_MAX + 1,
                                   UINT32_MAX};
    struct fixture f;

    prepare(&f);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f.settings.send_timeout_ms = bad[i];
        f.dispatcher = (struct wvu_dispatcher *)1;
        check_equal(wvu_dispatcher_create(&f.settings, &f.dispatcher),
                    WVU_STATUS_INVALID_PARAMETER);
        check(f.dispatcher == NULL);
    }
    f.settings.send_timeout_ms = WVU_SEND_TIMEOUT_MS_MIN;
    begin(&f);
    end(&f);
}

SIMULATED(create_and_start_survive_any_failed_service)
{
    struct fixture f;
    wvu_status status;
    uint64_t nth = 0;

    prepare(&f);
    do {
        wvu_sim_fail_service(++nth);
        status = wvu_dispatcher_create(&f.settings, &f.dispatcher);
        check((status == WVU_STATUS_OK) == (f.dispatcher != NULL));
        if (status == WVU_STATUS_OK)
            status = wvu_dispatcher_start(f.dispatcher);
        wvu_sim_fail_service(0);
        if (status != WVU_STATUS_OK && f.dispatcher != NULL) {
            wvu_dispatcher_stop(f.dispatcher); /* not started: nothing to do */
            wvu_dispatcher_destroy(f.dispatcher);
        }
    } while (status != WVU_STATUS_OK);
    check_equal(nth, 5); /* two allocations, an event, a thread */
    end(&f);
}

SIMULATED(destroy_of_nothing_is_nothing)
{
    wvu_dispatcher_destroy(NULL);
}

SIMULATED(stop_ends_a_send_that_waits)
{
    struct fixture f;
    uint64_t before;

    prepare(&f);
    f.settings.send_timeout_ms = WVU_SEND_TIMEOUT_MS_MAX;
    begin(&f);
    put(&f, 1);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_sends(&f.port, 1);
    before = wvu_os_uptime();
    wvu_dispatcher_stop(f.dispatcher);
    check(wvu_os_uptime() - before < WVU_SIM_MS);
    check(f.port.cancelled);
    check_equal(counters_of(&f).in_flight, 1); /* nobody acknowledged it */
    wvu_dispatcher_stop(f.dispatcher);         /* again: nothing to do */
    end(&f);
}

SIMULATED(stop_drains_for_its_time)
{
    struct fixture f;
    uint64_t before;

    prepare(&f);
    f.settings.drain_ms = 50;
    f.settings.send_timeout_ms = 20000;
    begin(&f);
    put(&f, 3);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_sends(&f.port, 1);
    put(&f, 2);
    fake_port_add(&f.port, (struct fake_step){.acknowledge = FAKE_ALL, .takes_ns = WVU_SIM_MS});
    before = wvu_os_uptime();
    wvu_dispatcher_stop(f.dispatcher); /* the first is replied to, the second not any more */
    check(wvu_os_uptime() - before >= 50 * WVU_SIM_MS);
    check(wvu_os_uptime() - before < 60 * WVU_SIM_MS);
    check_equal(f.port.sends, 2);
    check(f.port.send[1].timeout_ns <= 50 * WVU_SIM_MS);
    check_equal(counters_of(&f).delivered, 3);
    end(&f);
}

SIMULATED(stop_is_over_when_all_is_told)
{
    struct fixture f;
    uint64_t before;

    prepare(&f);
    f.settings.drain_ms = 60000;
    begin(&f);
    wvu_dispatcher_connected(f.dispatcher);
    for (uint32_t i = 0; i < 11; i++)
        fake_port_add(&f.port, take_all);
    put(&f, 10);
    before = wvu_os_uptime();
    wvu_dispatcher_stop(f.dispatcher);
    check(wvu_os_uptime() - before < WVU_SIM_MS);
    check_equal(counters_of(&f).delivered, 10);
    check(!f.port.cancelled);
    end(&f);
}

SIMULATED(stop_without_a_reader_does_not_wait)
{
    struct fixture f;
    uint64_t before;

    prepare(&f);
    f.settings.drain_ms = 60000;
    begin(&f);
    put(&f, 10);
    before = wvu_os_uptime();
    wvu_dispatcher_stop(f.dispatcher);
    check(wvu_os_uptime() - before < WVU_SIM_MS);
    check_equal(f.port.sends, 0);
    end(&f);
}

/* ---- messages ---------------------------------------------------------------------------------------------- */

SIMULATED(nothing_is_sent_without_a_reader)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 10);
    wvu_sim_sleep(WVU_SIM_S);
    check_equal(f.port.sends, 0);
    check_equal(counters_of(&f).queued,
                10); /* it stays in the queue, where it can be overwritten */
    end(&f);
}

/* A reader that left while nothing happened: what comes later stays in the queue as well. */
SIMULATED(nothing_is_taken_after_the_reader_left)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    wvu_dispatcher_connected(f.dispatcher);
    wvu_sim_sleep(WVU_SIM_S);
    wvu_dispatcher_disconnected(f.dispatcher);
    wvu_sim_sleep(WVU_SIM_S);
    put(&f, 10);
    wvu_sim_sleep(WVU_SIM_S);
    check_equal(f.port.sends, 0);
    check_equal(counters_of(&f).queued, 10);
    end(&f);
}

SIMULATED(a_message_says_what_it_holds)
{
    struct fixture f;
    const struct wvu_batch *batch = &f.port.send[0].batch;

    prepare(&f);
    begin(&f);
    put(&f, 5);
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 1);
    check_send(&f, 0, 1, 5, 0);
    check_equal(batch->version, WVU_PROTOCOL_VERSION);
    check_equal(batch->header_size, sizeof *batch);
    check_equal(batch->record_count, 5);
    check_equal(batch->size, sizeof *batch + 5 * SMALL);
    check(memcmp(batch->boot_id, boot_id, 16) == 0);
    check_equal(f.port.send[0].timeout_ns, 100 * WVU_SIM_MS);
    wvu_sim_sleep(WVU_SIM_MS);
    check_equal(counters_of(&f).delivered, 5);
    check_equal(own_counters(&f).batches, 1);
    check_equal(own_counters(&f).sends, 1);
    check_equal(own_counters(&f).connections, 1);
    check_equal(own_counters(&f).redelivered, 0);
    end(&f);
}

/* The largest of everything in one message: a range told with every cause and type, and a record of the
 * largest size. */
SIMULATED(the_largest_message_is_in_bounds)
{
    struct fixture f;
    const struct wvu_events_lost *lost;

    prepare(&f);
    begin(&f);
    for (uint16_t cause = 0; cause < WVU_LOSS_CAUSES; cause++)
        for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++)
            wvu_queue_count_loss(f.queue, cause, wvu_event_type_at(kind), 1 + kind);
    for (uint32_t i = 0; i < 20; i++)
        put_sized(&f, WVU_RECORD_MAX);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_sends(&f.port, 1);
    check_equal(f.port.send[0].first_type, WVU_EVENT_EventsLost);
    check_equal(f.port.send[0].batch.record_count, 2);
    check(f.port.send[0].size > WVU_RECORD_MAX + sizeof(struct wvu_events_lost));
    check(f.port.send[0].size <= WVU_BATCH_MAX);
    lost = (const struct wvu_events_lost *)(const void *)(f.port.batch + sizeof(struct wvu_batch));
    check(memcmp(lost->record.sensor_id, sensor_id, 16) == 0);
    end(&f);
}

SIMULATED(full_batches_follow_without_a_pause)
{
    struct fixture f;
    uint64_t before;

    prepare(&f);
    f.settings.drain_ms = 0;
    begin(&f);
    for (uint32_t i = 0; i < 4; i++)
        put_sized(&f, WVU_RECORD_MAX);
    for (uint32_t i = 0; i < 4; i++)
        fake_port_add(&f.port, take_all);
    before = wvu_os_uptime();
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 4);
    check(wvu_os_uptime() - before < WVU_MODERATOR_PERIOD_NS);
    end(&f);
}

SIMULATED(a_new_time_out_is_used_at_once)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    wvu_dispatcher_set_timeout(f.dispatcher, 12345);
    put(&f, 1);
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 1);
    check_equal(f.port.send[0].timeout_ns, 12345 * WVU_SIM_MS);
    end(&f);
}

/* ---- ways a send can end ----------------------------------------------------------------------------------- */

SIMULATED(a_part_is_released_and_the_rest_sent_again)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 10);
    fake_port_add(&f.port, (struct fake_step){.acknowledge = 4});
    fake_port_add(&f.port, (struct fake_step){.acknowledge = 9});
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 3);
    wvu_sim_sleep(WVU_SIM_MS);
    check_send(&f, 0, 1, 10, 0);
    check_send(&f, 1, 5, 10, WVU_BATCH_REDELIVERED);
    check_send(&f, 2, 10, 10, WVU_BATCH_REDELIVERED);
    check_equal(f.port.send[1].batch.record_count, 6);
    check_equal(f.port.send[2].batch.record_count, 1);
    check_equal(counters_of(&f).delivered, 10);
    check_equal(own_counters(&f).redelivered, 7);
    check_equal(own_counters(&f).batches, 1);
    end(&f);
}

SIMULATED(a_part_can_be_the_loss_alone)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 70);                                                  /* 64 fit: 1 to 6 are lost */
    fake_port_add(&f.port, (struct fake_step){.acknowledge = 5}); /* within the range: nothing */
    fake_port_add(&f.port, (struct fake_step){.acknowledge = 6}); /* the loss */
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 3);
    wvu_sim_sleep(WVU_SIM_MS);
    check_send(&f, 0, 6, 70, 0);
    check_equal(f.port.send[0].first_type, WVU_EVENT_EventsLost);
    check_send(&f, 1, 6, 70, WVU_BATCH_REDELIVERED);
    check_send(&f, 2, 7, 70, WVU_BATCH_REDELIVERED);
    check_equal(f.port.send[2].first_type, WVU_EVENT_ImageLoad);
    check_equal(counters_of(&f).delivered, 64);
    check_equal(counters_of(&f).lost, 6);
    end(&f);
}

/* Processes in the midst of others that were lost: 2, 4 and 6 are kept. */
static void put_kept_ones(struct fixture *f)
{
    for (uint32_t i = 0; i < 3; i++) {
        put(f, 1);
        put_as(f, WVU_EVENT_ProcessDestroy, SMALL);
    }
    put(f, 64);
}

static uint64_t delivered_of(struct fixture *f, uint16_t type)
{
    struct wvu_event_counters c;

    wvu_queue_read_event_counters(f->queue, wvu_event_index(type), &c);
    return c.delivered;
}

/* Each gap is complete: when, by whom, and just its range. */
SIMULATED(a_message_can_have_several_gaps)
{
    struct fixture f;
    const uint8_t *at;
    int64_t time;

    prepare(&f);
    begin(&f);
    put_kept_ones(&f);
    time = wvu_os_system_time();
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_sends(&f.port, 1);
    check_send(&f, 0, 1, 70, 0);
    check_equal(f.port.send[0].batch.record_count, 3 + 3 + 64);
    at = f.port.batch + sizeof(struct wvu_batch);
    for (uint64_t i = 0; i < 6; i++) {
        const struct wvu_events_lost *gap = (const struct wvu_events_lost *)(const void *)at;

        check_equal(gap->record.sequence, 1 + i);
        check_equal(gap->record.type, i % 2 == 0 ? WVU_EVENT_EventsLost : WVU_EVENT_ProcessDestroy);
        if (i % 2 == 0) {
            check_equal(gap->first_sequence, 1 + i);
            check_equal(gap->last_sequence, 1 + i);
            check_equal(gap->count, 1);
            check_equal(gap->record.present, 15);
            check(gap->record.time >= time && gap->record.uptime != 0);
            check(memcmp(gap->record.sensor_id, sensor_id, 16) == 0);
        }
        at += gap->record.size;
    }
    end(&f);
}

SIMULATED(a_reply_can_end_at_any_gap)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put_kept_ones(&f);
    for (uint64_t sequence = 1; sequence <= 6; sequence++)
        fake_port_add(&f.port, (struct fake_step){.acknowledge = sequence});
    wvu_dispatcher_connected(f.dispatcher);
    for (uint32_t n = 1; n <= 6; n++) {
        fake_port_wait_sends(&f.port, n + 1);
        check_send(&f, n, 1 + n, 70, WVU_BATCH_REDELIVERED);
        check_equal(f.port.send[n].batch.record_count, 70 - n);
    }
    /* Gaps are none of the queue's records. */
    check_equal(delivered_of(&f, WVU_EVENT_ProcessDestroy), 3);
    check_equal(delivered_of(&f, WVU_EVENT_EventsLost), 0);
    check_equal(counters_of(&f).delivered, 3);
    check_equal(counters_of(&f).in_flight, 64);
    fake_port_add(&f.port, take_all);
    fake_port_wait_done(&f.port, 7);
    wvu_sim_sleep(WVU_SIM_MS);
    check_equal(delivered_of(&f, WVU_EVENT_ImageLoad), 64);
    check_equal(counters_of(&f).delivered, 67);
    check_equal(counters_of(&f).in_flight, 0);
    end(&f);
}

SIMULATED(a_reply_without_progress_is_followed_by_a_pause)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 2);
    for (uint32_t i = 0; i < 10; i++)
        fake_port_add(&f.port, (struct fake_step){.acknowledge = 0});
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 11);
    check(f.port.send[10].at - f.port.send[0].at >= 9 * 100 * WVU_SIM_MS);
    check_equal(f.port.disconnects, 0); /* it replies, so it lives */
    end(&f);
}

/* A reader that could not take a message says so, and how far it got all the same. */
SIMULATED(the_readers_status_does_not_hide_its_progress)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 3);
    fake_port_add(&f.port,
                  (struct fake_step){.acknowledge = 2, .reader_status = WVU_STATUS_NO_RESOURCES});
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 2);
    check_send(&f, 1, 3, 3, WVU_BATCH_REDELIVERED);
    end(&f);
}

SIMULATED(malformed_replies_release_nothing)
{
    static const struct {
        struct wvu_reply reply;
        uint32_t size;
    } bad[] = {
        {{WVU_PROTOCOL_VERSION, 16, 0, 2}, 15},     {{WVU_PROTOCOL_VERSION, 16, 0, 2}, 0},
        {{WVU_PROTOCOL_VERSION + 1, 16, 0, 2}, 16}, {{0, 16, 0, 2}, 16},
        {{WVU_PROTOCOL_VERSION, 15, 0, 2}, 16},     {{WVU_PROTOCOL_VERSION, 17, 0, 2}, 16},
        {{WVU_PROTOCOL_VERSION, 16, 0, 4}, 16},     {{WVU_PROTOCOL_VERSION, 16, 0, UINT64_MAX}, 16},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fixture f;

        prepare(&f);
        begin(&f);
        put(&f, 3);
        fake_port_add(&f.port, (struct fake_step){.reply = &bad[i].reply, .size = bad[i].size});
        fake_port_add(&f.port, take_all);
        wvu_dispatcher_connected(f.dispatcher);
        fake_port_wait_done(&f.port, 2);
        check_send(&f, 1, 1, 3, WVU_BATCH_REDELIVERED);
        check_equal(own_counters(&f).bad_replies, 1);
        end(&f);
    }
}

/* A newer reader may say more than we know. */
SIMULATED(a_longer_reply_is_fine)
{
    static const struct wvu_reply reply = {WVU_PROTOCOL_VERSION, 24, 0, 3};
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 3);
    fake_port_add(&f.port, (struct fake_step){.reply = &reply, .size = 24});
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 1);
    wvu_sim_sleep(WVU_SIM_MS);
    check_equal(counters_of(&f).delivered, 3);
    check_equal(own_counters(&f).bad_replies, 0);
    end(&f);
}

SIMULATED(the_third_time_out_costs_the_connection)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 3);
    fake_port_add(&f.port, (struct fake_step){.status = WVU_STATUS_TIMEOUT});
    fake_port_add(&f.port, (struct fake_step){.status = WVU_STATUS_TIMEOUT});
    fake_port_add(&f.port, (struct fake_step){.acknowledge = 1}); /* it lives after all */
    for (uint32_t i = 0; i < WVU_TIMEOUTS_BEFORE_DISCONNECT; i++)
        fake_port_add(&f.port, (struct fake_step){.status = WVU_STATUS_TIMEOUT});
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 6);
    wvu_sim_sleep(WVU_SIM_S);
    check_equal(f.port.disconnects, 1);
    check_equal(f.port.sends, 6); /* no send to a connection that was given up */
    check_equal(own_counters(&f).timeouts, 5);
    wvu_dispatcher_disconnected(f.dispatcher);
    fake_port_add(&f.port, (struct fake_step){.status = WVU_STATUS_TIMEOUT}); /* counts anew */
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 8);
    check_send(&f, 7, 2, 3, WVU_BATCH_REDELIVERED);
    check_equal(f.port.disconnects, 1);
    end(&f);
}

SIMULATED(after_a_disconnect_it_waits_for_the_next_reader)
{
    static const wvu_status gone[] = {WVU_STATUS_DISCONNECTED, WVU_STATUS_CANCELLED};

    for (size_t i = 0; i < 2; i++) {
        struct fixture f;

        prepare(&f);
        begin(&f);
        put(&f, 3);
        fake_port_add(&f.port, (struct fake_step){.status = gone[i]});
        fake_port_add(&f.port, take_all);
        wvu_dispatcher_connected(f.dispatcher);
        fake_port_wait_done(&f.port, 1);
        wvu_sim_sleep(WVU_SIM_S);
        put(&f, 1);
        wvu_sim_sleep(WVU_SIM_S);
        check_equal(f.port.sends, 1);
        check_equal(f.port.disconnects, 0); /* it is gone by itself */
        wvu_dispatcher_disconnected(f.dispatcher);
        wvu_sim_sleep(WVU_SIM_S);
        check_equal(f.port.sends, 1);
        wvu_dispatcher_connected(f.dispatcher);
        fake_port_wait_done(&f.port, 2);
        check_send(&f, 1, 1, 3, WVU_BATCH_REDELIVERED); /* the same as before */
        end(&f);
    }
}

SIMULATED(a_reader_that_floods_or_fails_is_dropped)
{
    static const wvu_status bad[] = {WVU_STATUS_BAD_MESSAGE, WVU_STATUS_IO_ERROR,
                                     WVU_STATUS_INTERNAL};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fixture f;

        prepare(&f);
        begin(&f);
        put(&f, 3);
        fake_port_add(&f.port, (struct fake_step){.status = bad[i]});
        fake_port_add(&f.port, take_all);
        wvu_dispatcher_connected(f.dispatcher);
        fake_port_wait_done(&f.port, 1);
        wvu_sim_sleep(WVU_SIM_S);
        check_equal(f.port.sends, 1);
        check_equal(f.port.disconnects, 1);
        check_equal(own_counters(&f).bad_replies, bad[i] == WVU_STATUS_BAD_MESSAGE);
        wvu_dispatcher_disconnected(f.dispatcher);
        wvu_dispatcher_connected(f.dispatcher);
        fake_port_wait_done(&f.port, 2);
        check_send(&f, 1, 1, 3, WVU_BATCH_REDELIVERED);
        end(&f);
    }
}

/* The batch in hand belongs to the next reader first; the queue may overwrite what is behind it. */
SIMULATED(the_batch_in_hand_is_never_overwritten)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 3);
    fake_port_add(&f.port, (struct fake_step){.status = WVU_STATUS_DISCONNECTED});
    fake_port_add(&f.port, take_all);
    fake_port_add(&f.port, take_all);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 1);
    wvu_dispatcher_disconnected(f.dispatcher);
    put(&f, 200);
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_done(&f.port, 3);
    check_send(&f, 1, 1, 3, WVU_BATCH_REDELIVERED);
    check_equal(f.port.send[2].first_type, WVU_EVENT_EventsLost);
    check_equal(f.port.send[2].batch.first_sequence, 203 - 64); /* the last one lost */
    check_equal(f.port.send[2].batch.last_sequence, 203);
    end(&f);
}

SIMULATED(the_reader_is_known_while_it_is_connected)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    check_equal(wvu_dispatcher_reader(f.dispatcher), 0);
    wvu_dispatcher_name_reader(f.dispatcher, 4711);
    wvu_dispatcher_connected(f.dispatcher);
    check_equal(wvu_dispatcher_reader(f.dispatcher), 4711);
    wvu_dispatcher_disconnected(f.dispatcher);
    check_equal(wvu_dispatcher_reader(f.dispatcher), 0);
    wvu_dispatcher_connected(f.dispatcher); /* one that the port cannot name */
    check_equal(wvu_dispatcher_reader(f.dispatcher), 0);
    end(&f);
}

/* ---- holding producers that can wait --------------------------------------------------------------------- */

SIMULATED(producers_hold_only_while_a_reader_makes_progress)
{
    struct fixture f;

    prepare(&f);
    begin(&f);
    put(&f, 60);
    check(!wvu_dispatcher_should_hold(f.dispatcher)); /* nobody is connected */
    wvu_dispatcher_connected(f.dispatcher);
    fake_port_wait_sends(&f.port, 1);
    check(!wvu_dispatcher_should_hold(f.dispatcher)); /* there is room */
    put(&f, 60);
    check(wvu_dispatcher_should_hold(f.dispatcher));
    wvu_sim_sleep(501 * WVU_SIM_MS);
    check(!wvu_dispatcher_should_hold(f.dispatcher)); /* the reader does not get on */
    wvu_dispatcher_disconnected(f.dispatcher);
    check(!wvu_dispatcher_should_hold(f.dispatcher));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_outs_are_checked),
        cmocka_unit_test(create_and_start_survive_any_failed_service),
        cmocka_unit_test(destroy_of_nothing_is_nothing),
        cmocka_unit_test(stop_ends_a_send_that_waits),
        cmocka_unit_test(stop_drains_for_its_time),
        cmocka_unit_test(stop_is_over_when_all_is_told),
        cmocka_unit_test(stop_without_a_reader_does_not_wait),
        cmocka_unit_test(nothing_is_sent_without_a_reader),
        cmocka_unit_test(nothing_is_taken_after_the_reader_left),
        cmocka_unit_test(a_message_says_what_it_holds),
        cmocka_unit_test(the_largest_message_is_in_bounds),
        cmocka_unit_test(full_batches_follow_without_a_pause),
        cmocka_unit_test(a_new_time_out_is_used_at_once),
        cmocka_unit_test(a_part_is_released_and_the_rest_sent_again),
        cmocka_unit_test(a_part_can_be_the_loss_alone),
        cmocka_unit_test(a_message_can_have_several_gaps),
        cmocka_unit_test(a_reply_can_end_at_any_gap),
        cmocka_unit_test(a_reply_without_progress_is_followed_by_a_pause),
        cmocka_unit_test(the_readers_status_does_not_hide_its_progress),
        cmocka_unit_test(malformed_replies_release_nothing),
        cmocka_unit_test(a_longer_reply_is_fine),
        cmocka_unit_test(the_third_time_out_costs_the_connection),
        cmocka_unit_test(after_a_disconnect_it_waits_for_the_next_reader),
        cmocka_unit_test(a_reader_that_floods_or_fails_is_dropped),
        cmocka_unit_test(the_batch_in_hand_is_never_overwritten),
        cmocka_unit_test(the_reader_is_known_while_it_is_connected),
        cmocka_unit_test(producers_hold_only_while_a_reader_makes_progress),
    };
    return cmocka_run_group_tests_name("dispatcher", tests, NULL, NULL);
}
