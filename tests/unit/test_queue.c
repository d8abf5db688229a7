/*
 * queue.c in the simulated host, mostly by one thread: bounds, order, wrap-around, losses, doorbell.
 * The reserve is for test_queue_reserve.c, what many threads do to it is for tests/sim, tests/model and test_queue_threads.c.
 */
#include "support/queue_fixture.h"

/* ---- create ----------------------------------------------------------------------------------------- */

SIMULATED(bounds_are_checked)
{
    static const struct {
        uint32_t records;
        uint32_t bytes;
        wvu_status status;
    } cases[] = {
        {MIN_RECORDS, MIN_BYTES, WVU_STATUS_OK},
        {MIN_RECORDS - 1, MIN_BYTES, WVU_STATUS_INVALID_PARAMETER},
        {MIN_RECORDS, MIN_BYTES - 1, WVU_STATUS_INVALID_PARAMETER},
        {WVU_QUEUE_RECORDS_MAX, MIN_BYTES + 7, WVU_STATUS_OK},
        {WVU_QUEUE_RECORDS_MAX + 1, MIN_BYTES, WVU_STATUS_INVALID_PARAMETER},
        {WVU_QUEUE_RECORDS_DEFAULT, WVU_QUEUE_BYTES_DEFAULT, WVU_STATUS_OK},
        {MIN_RECORDS, WVU_QUEUE_BYTES_MAX + 1, WVU_STATUS_INVALID_PARAMETER},
        {0, 0, WVU_STATUS_INVALID_PARAMETER},
        {UINT32_MAX, UINT32_MAX, WVU_STATUS_INVALID_PARAMETER},
    };
    wvu_event doorbell;

    check_equal(wvu_event_init(&doorbell), WVU_STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wvu_queue *queue = (struct wvu_queue *)1;

        check_equal(wvu_queue_create(cases[i].records, cases[i].bytes, &doorbell, &queue),
                    cases[i].status);
        check((queue != NULL) == (cases[i].status == WVU_STATUS_OK));
        wvu_queue_destroy(queue);
    }
    wvu_event_destroy(&doorbell);
}

SIMULATED(create_survives_any_failed_allocation)
{
    wvu_event doorbell;
    struct wvu_queue *queue;
    wvu_status status;
    uint64_t nth = 0;

    check_equal(wvu_event_init(&doorbell), WVU_STATUS_OK);
    do {
        wvu_sim_fail_service(++nth);
        queue = (struct wvu_queue *)1;
        status = wvu_queue_create(MIN_RECORDS, MIN_BYTES, &doorbell, &queue);
        wvu_sim_fail_service(0);
        check(status == WVU_STATUS_OK || (status == WVU_STATUS_NO_MEMORY && queue == NULL));
    } while (status != WVU_STATUS_OK);
    check_equal(nth, 4); /* three allocations */
    wvu_queue_destroy(queue);
    wvu_event_destroy(&doorbell);
}

/* ---- reserve, commit, take ---------------------------------------------------------------------------- */

SIMULATED(sizes_are_checked_and_rounded_up)
{
    static const struct {
        uint32_t size;
        uint32_t got; /* 0: refused */
    } cases[] = {
        {0, 0},
        {SMALL - 1, 0},
        {SMALL, SMALL},
        {SMALL + 1, SMALL + 8},
        {SMALL + 7, SMALL + 8},
        {SMALL + 8, SMALL + 8},
        {WVU_RECORD_MAX - 1, WVU_RECORD_MAX},
        {WVU_RECORD_MAX, WVU_RECORD_MAX},
        {WVU_RECORD_MAX + 1, 0},
        {UINT32_MAX, 0},
    };
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        record = (struct wvu_record *)1;
        if (cases[i].got == 0) {
            check_equal(wvu_queue_reserve(f.queue, 2, cases[i].size, &record),
                        WVU_STATUS_INVALID_PARAMETER);
            check(record == NULL);
            continue;
        }
        record = reserve(&f, 2, cases[i].size);
        check_equal(record->size, cases[i].got);
        check_equal((uintptr_t)record % 8, 0);
        wvu_queue_commit(f.queue, record);
    }
    check_equal(counters_of(&f).accepted, 6); /* what is refused gets no number */
    check_equal(counters_of(&f).unnumbered, 0);
    end(&f);
}

SIMULATED(numbers_begin_at_1_and_have_no_gaps)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (uint64_t s = 1; s <= 100; s++) {
        check_equal(put(&f, WVU_EVENT_ImageLoad, SMALL), s);
        check_equal(counters_of(&f).accepted, s);
    }
    end(&f);
}

SIMULATED(an_empty_queue_has_nothing_to_take)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    check_equal(take(&f), WVU_STATUS_AGAIN);
    check_equal(f.info.records, 0);
    check_equal(f.info.gaps, 0);
    check_equal(f.info.bytes, 0);
    end(&f);
}

SIMULATED(a_record_is_zero_but_for_its_header)
{
    struct fixture f;
    uint64_t wraps = 0;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (uint32_t i = 0; i < 300; i++) { /* several times round the ring, over bytes of 0xAA */
        uint32_t size = SMALL + (i * 7919) % 20000 / 8 * 8;
        struct wvu_record *record = reserve(&f, WVU_EVENT_ImageLoad, size);
        struct wvu_record expected = {.size = size, .type = WVU_EVENT_ImageLoad, .sequence = i + 1};
        const uint8_t *rest = (const uint8_t *)(record + 1);

        check(memcmp(record, &expected, sizeof expected) == 0);
        for (uint32_t k = 0; k < size - sizeof *record; k++)
            wvu_sim_check(rest[k] == 0, "record %u: byte %u is 0x%02x", i + 1, k, rest[k]);
        memset((uint8_t *)record + sizeof(uint64_t) + sizeof(uint64_t), 0xAA, size - 16);
        record->flags = 0;
        wvu_queue_commit(f.queue, record);
        wraps += size;
    }
    check(wraps > 3 * (MIN_BYTES + (512u << 10)));
    end(&f);
}

SIMULATED(records_come_out_in_order_and_whole)
{
    struct fixture f;
    uint32_t twelve = 0; /* bytes of so many */

    begin(&f, 64, MIN_BYTES);
    for (uint32_t i = 0; i < 20; i++)
        (void)put(&f, WVU_EVENT_ProcessCreate, SMALL + i * 24);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, RUN(1, 20));
    check_equal(counters_of(&f).in_flight, 20);
    check_equal(counters_of(&f).queued, 0);
    for (uint32_t i = 0; i < 12; i++)
        twelve += SMALL + i * 24;
    wvu_queue_delivered(f.queue, f.buffer, twelve);
    check_equal(counters_of(&f).delivered, 12);
    check_equal(counters_of(&f).in_flight, 8);
    wvu_queue_delivered(f.queue, f.buffer + twelve, f.info.bytes - twelve);
    check_equal(counters_of(&f).delivered, 20);
    check_equal(take(&f), WVU_STATUS_AGAIN);
    end(&f);
}

SIMULATED(a_take_never_splits_a_record)
{
    struct fixture f;
    const uint32_t size = 1000;

    begin(&f, 64, MIN_BYTES);
    for (uint32_t i = 0; i < 6; i++)
        (void)put(&f, WVU_EVENT_ProcessCreate, size);
    check_equal(wvu_queue_take(f.queue, f.buffer, 2 * size + size - 1, &f.info), WVU_STATUS_OK);
    check_stream(&f, RUN(1, 2));
    check_equal(wvu_queue_take(f.queue, f.buffer, 3 * size, &f.info), WVU_STATUS_OK); /* exactly */
    check_stream(&f, RUN(3, 5));
    check_equal(wvu_queue_take(f.queue, f.buffer, size - 1, &f.info), WVU_STATUS_AGAIN);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, RUN(6, 6));
    end(&f);
}

SIMULATED(a_take_stops_at_what_is_being_filled)
{
    struct fixture f;
    struct wvu_record *second;
    struct wvu_record *fourth;

    begin(&f, 64, MIN_BYTES);
    (void)put(&f, 1, SMALL);
    second = reserve(&f, 1, SMALL);
    (void)put(&f, 1, SMALL);
    fourth = reserve(&f, 1, SMALL);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, RUN(1, 1));
    check_equal(take(&f), WVU_STATUS_AGAIN);
    wvu_queue_commit(f.queue, fourth); /* does not help */
    check_equal(take(&f), WVU_STATUS_AGAIN);
    wvu_queue_commit(f.queue, second);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, RUN(2, 4));
    end(&f);
}

/* Sizes that do not divide the ring, taken now and then: pads, exact ends, several rounds. */
SIMULATED(wrap_around_keeps_everything)
{
    struct fixture f;
    uint64_t put_last = 0;
    uint64_t taken = 0;
    uint32_t x = 1;

    begin(&f, 4096, MIN_BYTES);
    for (uint32_t i = 0; i < 3000; i++) {
        x = x * 1664525u + 1013904223u;
        put_last = put(&f, WVU_EVENT_ImageLoad, SMALL + (x >> 8) % (i % 10 == 0 ? 50000 : 700));
        if (counters_of(&f).queued_bytes > MIN_BYTES / 2) {
            while (take(&f) == WVU_STATUS_OK) {
                check_stream(&f, RUN(taken + 1, f.info.last_sequence));
                taken = f.info.last_sequence;
                deliver(&f);
                if (i % 3 != 0)
                    break; /* leave some, so that head is anywhere */
            }
        }
    }
    while (take(&f) == WVU_STATUS_OK) {
        check_stream(&f, RUN(taken + 1, f.info.last_sequence));
        taken = f.info.last_sequence;
        deliver(&f);
    }
    check_equal(taken, put_last);
    check_equal(counters_of(&f).lost, 0);
    check_equal(counters_of(&f).queued_bytes, 0);
    end(&f);
}

/* ---- losses ------------------------------------------------------------------------------------------------ */

SIMULATED(the_oldest_make_room_by_count)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 3);
    (void)put(&f, WVU_EVENT_ThreadCreate, SMALL);
    put_many(&f, MIN_RECORDS);
    check_equal(counters_of(&f).queued, MIN_RECORDS);
    check_equal(counters_of(&f).lost, 4);
    check_equal(counters_of(&f).high_water, MIN_RECORDS);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, GAP(1, 4), RUN(5, MIN_RECORDS + 4));
    check_equal(losses_in(taken(&f, 0)), 2);
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_QUEUE_FULL, OTHER), 3);
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_QUEUE_FULL, WVU_EVENT_ThreadCreate), 1);
    check_equal(take(&f), WVU_STATUS_AGAIN); /* told once */
    check_equal(f.info.gaps, 0);
    end(&f);
}

SIMULATED(the_oldest_make_room_by_bytes)
{
    struct fixture f;

    begin(&f, WVU_QUEUE_RECORDS_MAX, MIN_BYTES);
    for (uint32_t i = 0; i < 50; i++) {
        (void)put(&f, WVU_EVENT_ImageLoad, WVU_RECORD_MAX);
        check(counters_of(&f).queued_bytes <= MIN_BYTES);
    }
    check(counters_of(&f).queued >= 3); /* 4 fit, without the pad at the ring's end */
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, GAP(1, f.info.first_sequence),
                 RUN(f.info.last_sequence, f.info.last_sequence));
    check_equal(f.info.last_sequence, f.info.first_sequence + 1);
    end(&f);
}

/* One large record pushes out many small ones. */
SIMULATED(a_large_record_pushes_out_many)
{
    struct fixture f;
    uint64_t queued;

    begin(&f, WVU_QUEUE_RECORDS_MAX, MIN_BYTES);
    while (counters_of(&f).lost == 0)
        put_many(&f, 1);
    queued = counters_of(&f).queued;
    (void)put(&f, WVU_EVENT_ImageLoad, WVU_RECORD_MAX);
    check(counters_of(&f).queued < queued - 700);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, GAP(1, f.info.first_sequence),
                 RUN(f.info.first_sequence + 1, f.info.last_sequence));
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_QUEUE_FULL, OTHER), counters_of(&f).lost);
    end(&f);
}

/* Nothing may be written over a record that is being filled. */
SIMULATED(a_record_being_filled_is_never_discarded)
{
    struct fixture f;
    struct wvu_record *first;
    struct wvu_record *refused;
    uint64_t got = 1;
    uint32_t refusals = 0;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    first = reserve(&f, WVU_EVENT_ProcessCreate, 1000);
    while (refusals < 3) {
        refused = (struct wvu_record *)1;
        if (wvu_queue_reserve(f.queue, WVU_EVENT_ImageLoad, 50000, &refused) != WVU_STATUS_OK) {
            check(refused == NULL);
            refusals++;
            continue;
        }
        fill_and_commit(&f, refused);
        check(++got < 1000);
    }
    check_equal(counters_of(&f).accepted, got);
    check_equal(counters_of(&f).unnumbered, 3);
    check_equal(take(&f), WVU_STATUS_AGAIN);
    fill_and_commit(&f, first);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, RUN(1, 2)); /* 1000 + 50000 bytes; no gap: what was refused has no number */
    end(&f);
}

/* ... nor over what is being copied: the consumer is stopped in the middle of a take. */
struct taker {
    struct fixture *f;
    bool done;
};

static void take_slowly(void *context)
{
    struct taker *taker = context;

    check_equal(take(taker->f), WVU_STATUS_OK);
    taker->done = true;
}

SIMULATED(what_is_copied_is_never_discarded)
{
    struct fixture f;
    struct taker taker = {.f = &f};
    wvu_thread thread;
    uint64_t last;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (uint32_t i = 0; i < MIN_RECORDS; i++)
        (void)put(&f, WVU_EVENT_ImageLoad, 1000);
    check_equal(wvu_thread_start(&thread, "taker", take_slowly, &taker), WVU_STATUS_OK);
    for (uint32_t i = 0; !taker.done; i++) {
        (void)put(&f, WVU_EVENT_ImageLoad, 1000);
        check(i < 10000);
    }
    wvu_thread_join(&thread);
    last = f.info.last_sequence;
    if (f.info.gaps != 0)
        check_stream(&f, GAP(1, f.info.first_sequence), RUN(f.info.first_sequence + 1, last));
    else
        check_stream(&f, RUN(1, last));
    put_many(&f, 2 * MIN_RECORDS); /* what is lost now comes after what was taken */
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, GAP(last + 1, f.info.first_sequence),
                 RUN(f.info.first_sequence + 1, f.info.last_sequence));
    (void)counters_of(&f);
    end(&f);
}

SIMULATED(losses_without_numbers_are_told_by_a_record)
{
    struct fixture f;
    struct wvu_record *record = (struct wvu_record *)1;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    check(record == NULL);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, WVU_EVENT_ProcessCreate, 0);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, WVU_EVENT_ProcessCreate, 5);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, WVU_EVENT_ProcessCreate, 2);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, 0x7777, 3); /* an unknown type */
    wvu_queue_count_loss(f.queue, 0x7777, WVU_EVENT_ImageLoad, 1);  /* an unknown cause */
    check_equal(counters_of(&f).unnumbered, 11);
    check_equal(counters_of(&f).accepted, 0);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_OK);
    check_equal(record->sequence, 1);
    check_events_lost(record, 0, 0);
    check_equal(losses_in(record), 3);
    check_equal(loss_of(record, WVU_LOSS_KERNEL_RING, WVU_EVENT_ProcessCreate), 7);
    check_equal(loss_of(record, WVU_LOSS_KERNEL_RING, WVU_EVENT_NONE), 3);
    check_equal(loss_of(record, WVU_LOSS_NONE, WVU_EVENT_ImageLoad), 1);
    wvu_queue_commit(f.queue, record);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, RUN(1, 1)); /* a record like any other, no gap */
    deliver(&f);
    check_equal(counters_of(&f).delivered, 1);
    end(&f);
}

SIMULATED(losses_ride_along_with_a_gap)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_PROBE, WVU_EVENT_NONE, 4);
    put_many(&f, MIN_RECORDS + 1);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, GAP(1, 1), RUN(2, MIN_RECORDS + 1));
    check_equal(losses_in(taken(&f, 0)), 2);
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_KERNEL_PROBE, WVU_EVENT_NONE), 4);
    end(&f);
}

/* Making room for the record that would tell them loses an event: then there is a gap that carries them. */
SIMULATED(losses_ride_along_with_a_gap_that_they_make)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, MIN_RECORDS);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_PROBE, WVU_EVENT_NONE, 4);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    check(record == NULL);
    check_equal(take(&f), WVU_STATUS_OK);
    check_stream(&f, GAP(1, 1), RUN(2, MIN_RECORDS));
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_KERNEL_PROBE, WVU_EVENT_NONE), 4);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    end(&f);
}

/* When there is no room for the record that tells them, they are told later, and nothing is counted twice. */
SIMULATED(losses_wait_when_there_is_no_room)
{
    struct fixture f;
    struct wvu_record *first;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    first = reserve(&f, WVU_EVENT_ProcessCreate, SMALL);
    for (uint32_t size = 60000; size >= SMALL; size /= 2)
        while (wvu_queue_reserve(f.queue, WVU_EVENT_ImageLoad, size, &record) == WVU_STATUS_OK)
            wvu_queue_commit(f.queue, record);
    uint64_t lost = counters_of(&f).unnumbered;
    check(lost > 0);
    for (uint32_t i = 0; i < 3; i++)
        check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_BUSY);
    check(record == NULL);
    check_equal(counters_of(&f).unnumbered, lost);
    wvu_queue_commit(f.queue, first);
    while (take(&f) == WVU_STATUS_OK)
        deliver(&f);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_OK);
    check_equal(loss_of(record, WVU_LOSS_QUEUE_BUSY, WVU_EVENT_ImageLoad), lost);
    check_equal(losses_in(record), 1);
    wvu_queue_commit(f.queue, record);
    end(&f);
}

/* ---- counters ------------------------------------------------------------------------------------------ */

SIMULATED(every_kind_is_counted_apart)
{
    struct fixture f;
    struct wvu_record *record;
    struct wvu_event_counters c;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many_of(&f, WVU_EVENT_ThreadCreate, 3);
    put_many_of(&f, WVU_EVENT_ImageLoad, 4);
    put_many_of(&f, 0x7777, 2); /* unknown */
    record = reserve(&f, WVU_EVENT_ImageLoad, SMALL);
    record->flags = WVU_RECORD_CUT;
    wvu_queue_commit(f.queue, record);
    put_many_of(&f, WVU_EVENT_ThreadDestroy, MIN_RECORDS - 5); /* 1 to 5 are lost */
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, WVU_EVENT_ImageLoad, 7);

    check_equal(take(&f), WVU_STATUS_OK);
    c = counters_of_type(&f, WVU_EVENT_ImageLoad);
    check_equal(c.accepted, 5);
    check_equal(c.delivered, 0);
    check_equal(c.cut, 1);
    check_equal(c.lost[WVU_LOSS_QUEUE_FULL], 2);
    check_equal(c.lost[WVU_LOSS_KERNEL_RING], 7);
    check_equal(c.lost[WVU_LOSS_QUEUE_BUSY], 0);
    /* The gap and the two images that are left. */
    wvu_queue_delivered(f.queue, f.buffer, taken(&f, 0)->size + 2 * SMALL);
    check_equal(counters_of_type(&f, WVU_EVENT_ImageLoad).delivered, 2);
    check_equal(counters_of_type(&f, WVU_EVENT_EventsLost).delivered, 0);
    check_equal(counters_of_type(&f, 0x7777).delivered, 0);
    wvu_queue_delivered(f.queue, taken(&f, 3), f.info.bytes - taken(&f, 0)->size - 2 * SMALL);
    check_equal(counters_of_type(&f, WVU_EVENT_ImageLoad).delivered, 3);
    check_equal(counters_of_type(&f, 0x7777).accepted, 2);
    check_equal(counters_of_type(&f, 0x7777).delivered, 2);
    check_equal(counters_of_type(&f, WVU_EVENT_ThreadCreate).lost[WVU_LOSS_QUEUE_FULL], 3);
    check_equal(counters_of_type(&f, WVU_EVENT_ThreadDestroy).delivered, MIN_RECORDS - 5);
    check_equal(counters_of(&f).delivered, MIN_RECORDS);
    check_equal(counters_of(&f).in_flight, 0);
    end(&f);
}

SIMULATED(cut_records_are_counted)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 2);
    record = reserve(&f, 1, SMALL);
    record->flags = WVU_RECORD_CUT | WVU_RECORD_UTF16;
    wvu_queue_commit(f.queue, record);
    record = reserve(&f, 1, SMALL);
    record->flags = WVU_RECORD_UTF16;
    wvu_queue_commit(f.queue, record);
    check_equal(counters_of(&f).cut, 1);
    end(&f);
}

/* ---- the doorbell -------------------------------------------------------------------------------------- */

static bool rings(struct fixture *f)
{
    wvu_queue_wake(f->queue);
    return wvu_event_wait(&f->doorbell, 0) == WVU_STATUS_OK;
}

SIMULATED(the_doorbell_rings_only_when_armed_and_once)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 1);
    check(!rings(&f));
    check(!wvu_queue_arm(f.queue)); /* something is there: not armed */
    check(!rings(&f));
    check_equal(take(&f), WVU_STATUS_OK);
    check(wvu_queue_arm(f.queue));
    put_many(&f, 3);
    check(rings(&f));
    check(!rings(&f));
    check_equal(take(&f), WVU_STATUS_OK);
    check(wvu_queue_arm(f.queue));
    wvu_queue_disarm(f.queue);
    put_many(&f, 1);
    check(!rings(&f));
    end(&f);
}

SIMULATED(what_is_being_filled_is_not_ready)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    record = reserve(&f, 1, SMALL);
    check(wvu_queue_arm(f.queue));
    put_many(&f, 1); /* behind it */
    check(wvu_queue_arm(f.queue));
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, 0, 1); /* would be told behind it, too */
    check(wvu_queue_arm(f.queue));
    wvu_queue_commit(f.queue, record);
    check(!wvu_queue_arm(f.queue));
    end(&f);
}

SIMULATED(a_loss_alone_is_ready)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    check(wvu_queue_arm(f.queue));
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, 0, 1);
    check(rings(&f));
    check(!wvu_queue_arm(f.queue));
    end(&f);
}

/* The oldest record stands at the ring's beginning, behind a pad. */
SIMULATED(a_record_behind_a_pad_is_ready)
{
    struct fixture f;
    uint32_t ready_behind_pad = 0;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (uint32_t i = 0; i < 200; i++) { /* at each place of the ring, one at a time is taken */
        (void)put(&f, 1, 40000 + i * 8);
        (void)put(&f, 1, 40000);
        check_equal(wvu_queue_take(f.queue, f.buffer, 60000, &f.info), WVU_STATUS_OK);
        check(!wvu_queue_arm(f.queue));
        ready_behind_pad++;
        check_equal(wvu_queue_take(f.queue, f.buffer, 60000, &f.info), WVU_STATUS_OK);
        check(wvu_queue_arm(f.queue));
        (void)put(&f, 1, 40000 - i * 8);
        check(rings(&f));
        check_equal(wvu_queue_take(f.queue, f.buffer, 60000, &f.info), WVU_STATUS_OK);
    }
    check_equal(ready_behind_pad, 200);
    end(&f);
}

SIMULATED(half_full_rings_when_it_is)
{
    struct fixture f;

    begin(&f, 64, MIN_BYTES);
    check(wvu_queue_arm_half_full(f.queue));
    for (uint32_t i = 0; i < 32; i++) {
        put_many(&f, 1);
        check(!rings(&f));
    }
    put_many(&f, 1);
    check(rings(&f));
    check(!rings(&f));
    check(!wvu_queue_arm_half_full(f.queue));
    check_equal(take(&f), WVU_STATUS_OK);
    check(wvu_queue_arm_half_full(f.queue));
    for (uint32_t bytes = 0; bytes <= MIN_BYTES / 2; bytes += 20008) { /* by bytes */
        check(!rings(&f));
        (void)put(&f, 1, 20000);
    }
    check(rings(&f));
    end(&f);
}

SIMULATED(nearly_full_is_three_quarters)
{
    struct fixture f;

    begin(&f, 64, MIN_BYTES);
    check(!wvu_queue_nearly_full(f.queue));
    put_many(&f, 48);
    check(!wvu_queue_nearly_full(f.queue));
    put_many(&f, 1);
    check(wvu_queue_nearly_full(f.queue));
    check_equal(take(&f), WVU_STATUS_OK);
    check(!wvu_queue_nearly_full(f.queue));
    for (uint32_t i = 0; i < 4; i++)
        (void)put(&f, 1, 60000);
    check(wvu_queue_nearly_full(f.queue));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_checked),
        cmocka_unit_test(create_survives_any_failed_allocation),
        cmocka_unit_test(sizes_are_checked_and_rounded_up),
        cmocka_unit_test(numbers_begin_at_1_and_have_no_gaps),
        cmocka_unit_test(an_empty_queue_has_nothing_to_take),
        cmocka_unit_test(a_record_is_zero_but_for_its_header),
        cmocka_unit_test(records_come_out_in_order_and_whole),
        cmocka_unit_test(a_take_never_splits_a_record),
        cmocka_unit_test(a_take_stops_at_what_is_being_filled),
        cmocka_unit_test(wrap_around_keeps_everything),
        cmocka_unit_test(the_oldest_make_room_by_count),
        cmocka_unit_test(the_oldest_make_room_by_bytes),
        cmocka_unit_test(a_large_record_pushes_out_many),
        cmocka_unit_test(a_record_being_filled_is_never_discarded),
        cmocka_unit_test(what_is_copied_is_never_discarded),
        cmocka_unit_test(losses_without_numbers_are_told_by_a_record),
        cmocka_unit_test(losses_ride_along_with_a_gap),
        cmocka_unit_test(losses_ride_along_with_a_gap_that_they_make),
        cmocka_unit_test(losses_wait_when_there_is_no_room),
        cmocka_unit_test(every_kind_is_counted_apart),
        cmocka_unit_test(the_doorbell_rings_only_when_armed_and_once),
        cmocka_unit_test(what_is_being_filled_is_not_ready),
        cmocka_unit_test(a_loss_alone_is_ready),
        cmocka_unit_test(a_record_behind_a_pad_is_ready),
        cmocka_unit_test(half_full_rings_when_it_is),
        cmocka_unit_test(nearly_full_is_three_quarters),
        cmocka_unit_test(cut_records_are_counted),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
