/*
 * The share of the queue for guaranteed kinds of events (queue.c, "The reserve"), in the simulated host: what
 * is kept, the gaps in front of it, and what becomes of both when the reserve itself is full.
 *
 * The smallest queue holds 16 records in its main ring and 4 in its reserve. P is a record of a guaranteed
 * kind, OTHER one of another.
 */
#include "support/queue_fixture.h"

#define P        WVU_EVENT_ProcessDestroy
#define KEPT     (MIN_RECORDS / 4)
#define GAP_SIZE ((uint32_t)(sizeof(struct wvu_events_lost) + sizeof(struct wvu_loss)))

static uint64_t full_losses(struct fixture *f, uint32_t record, uint16_t type)
{
    return loss_of(taken(f, record), WVU_LOSS_QUEUE_FULL, type);
}

static uint64_t lost_of(struct fixture *f, uint16_t type)
{
    return counters_of_type(f, type).lost[WVU_LOSS_QUEUE_FULL];
}

static void take_all(struct fixture *f)
{
    check_equal(take(f), WVU_STATUS_OK);
    deliver(f);
}

static void take_part(struct fixture *f, uint32_t capacity)
{
    check_equal(wvu_queue_take(f->queue, f->buffer, capacity, &f->info), WVU_STATUS_OK);
    check(f->info.bytes <= capacity);
}

static void check_empty(struct fixture *f)
{
    check_equal(take(f), WVU_STATUS_AGAIN);
    check_equal(counters_of(f).queued, 0);
    check_equal(counters_of(f).queued_bytes, 0);
    check_equal(counters_of(f).in_flight, 0);
    end(f);
}

/* ---- what is kept ---------------------------------------------------------------------------------------- */

SIMULATED(processes_and_the_sensors_own_are_guaranteed)
{
    static const uint16_t guaranteed[] = {
        WVU_EVENT_ProcessCreate, WVU_EVENT_ProcessDestroy,  WVU_EVENT_ProcessListValidationFailed,
        WVU_EVENT_SensorStart,   WVU_EVENT_SensorStop,      WVU_EVENT_ProbeStateChanged,
        WVU_EVENT_EventsLost,    WVU_EVENT_CommandExecuted, WVU_EVENT_Mitigation,
        WVU_EVENT_StopRefused,
    };

    for (uint32_t type = 0; type <= UINT16_MAX; type++) {
        bool expected = (type & 0xF000) == 0x2000; /* what is not named yet, too */

        for (size_t i = 0; i < sizeof guaranteed / sizeof guaranteed[0]; i++)
            expected = expected || type == guaranteed[i];
        wvu_sim_check(wvu_event_is_guaranteed((uint16_t)type) == expected, "type 0x%04x", type);
    }
}

SIMULATED(what_is_kept_comes_first_behind_what_was_lost_before_it)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 3);
    put_many_of(&f, P, 1);
    put_many(&f, MIN_RECORDS);
    check_equal(counters_of(&f).queued, MIN_RECORDS + 1);
    check_equal(counters_of(&f).high_water, MIN_RECORDS + 1);
    check_equal(counters_of(&f).lost, 3);
    check_equal(counters_of(&f).queued_bytes,
                (MIN_RECORDS + 1) * (8 + SMALL) + 8 + GAP_SIZE); /* a gap takes room, too */
    put_many(&f, 2);
    take_all(&f);
    check_stream(&f, GAP(1, 3), RUN(4, 4), GAP(5, 6), RUN(7, MIN_RECORDS + 6));
    check_equal(full_losses(&f, 0, OTHER), 3);
    check_equal(losses_in(taken(&f, 0)), 1);
    check_equal(full_losses(&f, 2, OTHER), 2);
    check_equal(counters_of(&f).delivered, MIN_RECORDS + 1);
    check_equal(counters_of(&f).lost, 5);
    check_equal(lost_of(&f, OTHER), 5);
    check_equal(lost_of(&f, P), 0);
    check_empty(&f);
}

SIMULATED(where_nothing_was_lost_there_is_no_gap)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many_of(&f, P, KEPT);
    put_many(&f, MIN_RECORDS);
    take_all(&f);
    check_stream(&f, RUN(1, KEPT + MIN_RECORDS));
    check_equal(counters_of(&f).lost, 0);
    check_empty(&f);
}

/* Every guaranteed record comes whole, whatever is put between. */
SIMULATED(gaps_alternate_with_what_is_kept)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (uint32_t i = 0; i < KEPT; i++) { /* 1 2 P 4 5 P 7 8 P 10 11 P */
        put_many(&f, 2);
        (void)put(&f, P, SMALL + 100 * (i + 1));
    }
    put_many(&f, MIN_RECORDS);
    take_all(&f);
    check_stream(&f, GAP(1, 2), RUN(3, 3), GAP(4, 5), RUN(6, 6), GAP(7, 8), RUN(9, 9), GAP(10, 11),
                 RUN(12, MIN_RECORDS + 12));
    check_equal(counters_of(&f).lost, 2 * KEPT);
    check_empty(&f);
}

/* Behind a record that is still being filled nothing can be pushed out. When others are refused already, there
 * still is room for a thousand small ones of guaranteed kinds. */
SIMULATED(guaranteed_kinds_are_refused_last)
{
    struct fixture f;
    struct wvu_record *first;
    struct wvu_record *record;
    uint32_t others = 0;
    uint32_t kept = 0;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    first = reserve(&f, OTHER, SMALL);
    for (; wvu_queue_reserve(f.queue, OTHER, 1000, &record) == WVU_STATUS_OK; others++)
        fill_and_commit(&f, record);
    for (; wvu_queue_reserve(f.queue, P, 248, &record) == WVU_STATUS_OK; kept++)
        fill_and_commit(&f, record);
    check(others >= (MIN_BYTES + (256u << 10)) / 1008 - 1);
    check(kept >= 1000);
    check_equal(counters_of_type(&f, OTHER).lost[WVU_LOSS_QUEUE_BUSY], 1);
    check_equal(counters_of_type(&f, P).lost[WVU_LOSS_QUEUE_BUSY], 1);
    check_equal(counters_of(&f).accepted, 1 + others + kept);
    fill_and_commit(&f, first);
    while (take(&f) == WVU_STATUS_OK) {
        check_equal(f.info.gaps, 0);
        deliver(&f);
    }
    check_equal(counters_of(&f).delivered, 1 + others + kept);
    check_empty(&f);
}

/* ---- the reserve is full --------------------------------------------------------------------------------- */

SIMULATED(a_full_reserve_loses_its_oldest_by_count)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many_of(&f, P, KEPT + MIN_RECORDS);
    check_equal(counters_of(&f).lost, 0);
    put_many_of(&f, P, 3);
    check_equal(counters_of(&f).queued, KEPT + MIN_RECORDS);
    take_all(&f);
    check_stream(&f, GAP(1, 3), RUN(4, KEPT + MIN_RECORDS + 3));
    check_equal(lost_of(&f, P), 3);
    check_empty(&f);
}

/* What is lost from the reserve becomes one gap with what was lost before it, and behind it. */
SIMULATED(gaps_grow_together)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (uint32_t i = 0; i < KEPT + 2; i++) { /* P at 3, 6, 9, 12, 15, 18 */
        put_many(&f, 2);
        put_many_of(&f, P, 1);
    }
    put_many(&f, MIN_RECORDS);
    check_equal(counters_of(&f).lost, 2 * (KEPT + 2) + 2);
    take_all(&f);
    check_stream(&f, GAP(1, 8), RUN(9, 9), GAP(10, 11), RUN(12, 12), GAP(13, 14), RUN(15, 15),
                 GAP(16, 17), RUN(18, MIN_RECORDS + 18));
    check_equal(losses_in(taken(&f, 0)), 2);
    check_equal(full_losses(&f, 0, OTHER), 6);
    check_equal(full_losses(&f, 0, P), 2);
    check_equal(lost_of(&f, OTHER), 2 * (KEPT + 2));
    check_equal(lost_of(&f, P), 2);
    check_empty(&f);
}

SIMULATED(a_full_reserve_loses_its_oldest_by_bytes)
{
    struct fixture f;
    const uint32_t size = 20000; /* three of them fit a quarter of 256 KiB */
    uint64_t last = 0;

    begin(&f, 4096, MIN_BYTES);
    while (counters_of(&f).lost == 0) {
        last = put(&f, P, size);
        check(last < 100);
    }
    check(counters_of(&f).queued_bytes > MIN_BYTES);
    check(counters_of(&f).queued_bytes <= MIN_BYTES + MIN_BYTES / 4);
    uint64_t queued = counters_of(&f).queued;
    check_equal(queued, MIN_BYTES / (size + 8) + 3);
    take_all(&f);
    check_stream(&f, GAP(1, 1), RUN(2, 4)); /* a batch holds three */
    take_all(&f);
    check_equal(f.info.first_sequence, 5);
    check_equal(f.info.gaps, 0);
    end(&f);
}

/* The largest record with the largest gap in front of it; and it pushes out all that was kept before. */
SIMULATED(the_largest_record_is_kept_in_the_smallest_reserve)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 1);
    (void)put(&f, P, 3000);
    put_many(&f, 1);
    (void)put(&f, P, WVU_RECORD_MAX);
    put_many(&f, MIN_RECORDS - 4 + 2);
    check_equal(counters_of(&f).queued, MIN_RECORDS + 1); /* 2 is kept */
    for (uint16_t cause = 0; cause < WVU_LOSS_CAUSES; cause++)
        for (uint32_t kind = 0; kind < WVU_EVENT_INDICES; kind++)
            if (cause != WVU_LOSS_QUEUE_FULL)
                wvu_queue_count_loss(f.queue, cause, wvu_event_type_at(kind), 1);
    put_many(&f, 2);
    check_equal(counters_of(&f).queued, MIN_RECORDS + 1);
    check_equal(counters_of(&f).lost, 3);
    take_all(&f);
    check_stream(&f, GAP(1, 3), RUN(4, f.info.last_sequence));
    check_equal(losses_in(taken(&f, 0)), (WVU_LOSS_CAUSES - 1) * WVU_EVENT_INDICES + 2);
    check_equal(full_losses(&f, 0, OTHER), 2);
    check_equal(full_losses(&f, 0, P), 1);
    end(&f);
}

/* What is lost before the reserve and what is lost behind it meet when the reserve becomes empty. */
SIMULATED(losses_merge_when_nothing_is_kept_any_more)
{
    struct fixture f;

    begin(&f, 4096, MIN_BYTES);
    uint64_t first = put(&f, P, WVU_RECORD_MAX);
    put_many(&f, 5);
    uint64_t second = put(&f, P, WVU_RECORD_MAX);
    for (uint32_t i = 0; i < 4; i++)
        (void)put(&f, OTHER, WVU_RECORD_MAX);
    check_equal(second, first + 6);
    check_equal(counters_of(&f).lost, 6);
    take_all(&f);
    check_stream(&f, GAP(1, 6), RUN(7, 7));
    check_equal(full_losses(&f, 0, OTHER), 5);
    check_equal(full_losses(&f, 0, P), 1);
    take_all(&f);
    check_stream(&f, RUN(8, 8));
    end(&f);
}

/* ---- losses without numbers, and EventsLost that are lost ------------------------------------------------- */

SIMULATED(losses_without_numbers_ride_along_with_a_kept_record)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 1);
    put_many_of(&f, P, 1);
    put_many(&f, MIN_RECORDS - 2);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, OTHER, 9);
    put_many(&f, 2); /* 1 is lost, 2 kept */
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN); /* told by the gap */
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, OTHER, 5);             /* these are later */
    take_all(&f);
    check_stream(&f, GAP(1, 1), RUN(2, MIN_RECORDS + 2));
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_KERNEL_RING, OTHER), 9);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_OK);
    check_equal(loss_of(record, WVU_LOSS_KERNEL_RING, OTHER), 5);
    wvu_queue_commit(f.queue, record);
    take_all(&f);
    check_equal(counters_of(&f).unnumbered, 14);
    check_equal(counters_of_type(&f, OTHER).lost[WVU_LOSS_KERNEL_RING], 14);
    check_empty(&f);
}

/* Making room for a record of their own loses one event and keeps the next: the gap between has told them. */
SIMULATED(losses_without_numbers_are_told_once)
{
    const uint32_t fit = MIN_BYTES / (8 + SMALL);
    struct fixture f;
    struct wvu_record *record;

    begin(&f, 4096, MIN_BYTES);
    put_many(&f, 1);
    put_many_of(&f, P, 1);
    put_many(&f, fit - 2);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, OTHER, 9);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, P, 8);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    check(record == NULL);
    check_equal(counters_of(&f).accepted, fit);
    check_equal(counters_of(&f).lost, 1);
    take_part(&f, 40000);
    check_stream(&f, GAP(1, 1), RUN(2, f.info.last_sequence));
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_KERNEL_RING, OTHER), 9);
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_KERNEL_RING, P), 8);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_AGAIN);
    end(&f);
}

/* The gap that told them goes with the record behind it: they are told with the larger one. */
SIMULATED(a_lost_gap_pays_its_counts_back)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many_of(&f, P, 1);
    put_many(&f, 1);
    put_many_of(&f, P, KEPT);
    put_many(&f, MIN_RECORDS - KEPT - 2);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, OTHER, 9);
    put_many(&f, 3);        /* 1 kept, 2 lost, 3 kept with the gap in front of it */
    put_many(&f, KEPT - 1); /* the rest is kept, and 1 is lost after all */
    check_equal(lost_of(&f, P), 1);
    take_all(&f);
    check_stream(&f, GAP(1, 2), RUN(3, f.info.last_sequence));
    check_equal(losses_in(taken(&f, 0)), 3);
    check_equal(full_losses(&f, 0, OTHER), 1);
    check_equal(full_losses(&f, 0, P), 1);
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_KERNEL_RING, OTHER), 9);
    check_equal(counters_of_type(&f, OTHER).lost[WVU_LOSS_KERNEL_RING], 9); /* not 18 */
    check_equal(lost_of(&f, OTHER), 1);
    check_empty(&f);
}

/* An EventsLost with a number of its own is a record like any other of a guaranteed kind. */
SIMULATED(a_report_of_losses_is_kept)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 1);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, OTHER, 9);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_OK);
    record->time = 77;
    wvu_queue_commit(f.queue, record);
    put_many(&f, MIN_RECORDS + 5);
    take_all(&f);
    check_stream(&f, GAP(1, 1), RUN(2, 2), GAP(3, 7), RUN(8, MIN_RECORDS + 7));
    check_equal(loss_of(taken(&f, 1), WVU_LOSS_KERNEL_RING, OTHER), 9);
    check_equal(taken(&f, 1)->time, 77);
    check_equal(counters_of(&f).delivered, MIN_RECORDS + 1);
    check_equal(counters_of_type(&f, WVU_EVENT_EventsLost).delivered, 1);
    check_empty(&f);
}

SIMULATED(a_report_of_losses_that_is_lost_is_told_again)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    wvu_queue_count_loss(f.queue, WVU_LOSS_KERNEL_RING, OTHER, 9);
    check_equal(wvu_queue_reserve_losses(f.queue, &record), WVU_STATUS_OK);
    wvu_queue_commit(f.queue, record);
    put_many_of(&f, P, KEPT + MIN_RECORDS);
    take_all(&f);
    check_stream(&f, GAP(1, 1), RUN(2, KEPT + MIN_RECORDS + 1));
    check_equal(loss_of(taken(&f, 0), WVU_LOSS_KERNEL_RING, OTHER), 9);
    check_equal(full_losses(&f, 0, WVU_EVENT_EventsLost), 1);
    check_equal(counters_of(&f).unnumbered, 9); /* not 18 */
    check_equal(counters_of_type(&f, OTHER).lost[WVU_LOSS_KERNEL_RING], 9);
    check_empty(&f);
}

/* ---- taking in parts --------------------------------------------------------------------------------------- */

SIMULATED(a_take_ends_anywhere)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many(&f, 2);
    put_many_of(&f, P, 2);
    put_many(&f, 2);
    put_many_of(&f, P, 1);
    put_many(&f, MIN_RECORDS + 1);
    /* GAP(1, 2) RUN(3, 4) GAP(5, 6) RUN(7, 7) GAP(8, 8) RUN(9, 24) */
    check_equal(wvu_queue_take(f.queue, f.buffer, GAP_SIZE - 1, &f.info), WVU_STATUS_AGAIN);
    check_equal(f.info.records, 0);
    take_part(&f, GAP_SIZE); /* a gap alone */
    check_stream(&f, GAP(1, 2));
    deliver(&f);
    check_equal(counters_of(&f).in_flight, 0);
    take_part(&f, SMALL);
    check_stream(&f, RUN(3, 3));
    take_part(&f, SMALL + GAP_SIZE); /* ends with a gap */
    check_stream(&f, RUN(4, 4), GAP(5, 6));
    take_part(&f, SMALL + GAP_SIZE - 1); /* the last one kept; the gap behind it does not fit */
    check_stream(&f, RUN(7, 7));
    check_equal(wvu_queue_take(f.queue, f.buffer, GAP_SIZE - 1, &f.info), WVU_STATUS_AGAIN);
    check_equal(counters_of(&f).in_flight, 3);
    put_many(&f, 1); /* the gap that was not told grows */
    take_part(&f, GAP_SIZE);
    check_stream(&f, GAP(8, 9));
    put_many(&f, 1); /* a new one */
    take_part(&f, WVU_BATCH_MAX);
    check_stream(&f, GAP(10, 10), RUN(11, 26));
    end(&f);
}

/* What is left of the reserve goes on as before: it is lost from its head, and filled at its tail. */
SIMULATED(the_reserve_goes_on_behind_a_part_that_was_taken)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    for (uint32_t i = 0; i < KEPT; i++) { /* P at 2, 4, 6, 8 */
        put_many(&f, 1);
        put_many_of(&f, P, 1);
    }
    put_many_of(&f, P, 4); /* 9 to 12 */
    put_many(&f, MIN_RECORDS - 4);
    take_part(&f, 2 * GAP_SIZE + SMALL);
    check_stream(&f, GAP(1, 1), RUN(2, 2), GAP(3, 3));
    put_many(&f,
             4); /* the reserve now begins with the record of a gap that was taken; it goes first */
    take_part(&f, WVU_BATCH_MAX);
    check_equal(f.info.first_sequence, 8);
    check_stream(&f, GAP(4, 8), RUN(9, 28));
    check_equal(full_losses(&f, 0, P), 3);
    check_equal(full_losses(&f, 0, OTHER), 2);
    end(&f);
}

/* A part that ends before a gap: the gap is the first of what is left, and grows when the record behind it goes. */
SIMULATED(a_reserve_may_begin_with_a_gap)
{
    struct fixture f;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many_of(&f, P, 1);
    put_many(&f, 2);
    put_many_of(&f, P, KEPT); /* 4 to 7 */
    put_many(&f, MIN_RECORDS - KEPT);
    take_part(&f, SMALL);
    check_stream(&f, RUN(1, 1));
    put_many_of(&f, P, KEPT + MIN_RECORDS - 3); /* 4 to 7 are kept, and then lost, but the last */
    take_part(&f, WVU_BATCH_MAX);
    check_equal(counters_of(&f).queued, 0);
    check_equal(f.info.gaps, 2);
    check_equal(((const struct wvu_events_lost *)(const void *)taken(&f, 0))->first_sequence, 2);
    end(&f);
}

/* ---- against the whole history ------------------------------------------------------------------------------ */

#define HISTORY 20000u

/* What was put, and how far it has come out. */
struct history {
    struct fixture f;
    uint16_t type[HISTORY];
    bool kept_or_queued[HISTORY]; /* by the rule, for those tests that follow it */
    uint64_t cursor;
    uint32_t gaps;
    bool done;
};

static struct history history;

/* A gap covers just the numbers that come next, and counts just their types. */
static void follow_gap(struct history *h, const struct wvu_record *record)
{
    const struct wvu_events_lost *gap = (const struct wvu_events_lost *)(const void *)record;
    uint64_t count[WVU_EVENT_KINDS] = {0};

    check_equal(gap->first_sequence, h->cursor + 1);
    check_events_lost(record, gap->first_sequence, gap->last_sequence);
    for (uint64_t s = gap->first_sequence; s <= gap->last_sequence; s++)
        count[wvu_event_index(h->type[s])]++;
    for (uint32_t kind = 0; kind < WVU_EVENT_INDICES; kind++)
        check_equal(loss_of(record, WVU_LOSS_QUEUE_FULL, wvu_event_type_at(kind)), count[kind]);
    h->gaps++;
    h->cursor = gap->last_sequence;
}

static void follow(struct history *h)
{
    const uint8_t *at = h->f.buffer;
    bool gap_before = false;

    for (uint32_t i = 0; i < h->f.info.records; i++) {
        const struct wvu_record *record = (const struct wvu_record *)(const void *)at;

        if (wvu_record_is_numbered(record)) {
            check_equal(record->sequence, h->cursor + 1);
            check_equal(record->type, h->type[record->sequence]);
            check_content(record);
            h->cursor++;
            gap_before = false;
        } else {
            check(!gap_before); /* two would be one */
            follow_gap(h, record);
            gap_before = true;
        }
        at += record->size;
    }
    check_equal((uint64_t)(at - h->f.buffer), h->f.info.bytes);
}

static void put_into(struct history *h, uint16_t type, uint32_t size)
{
    struct wvu_record *record = reserve(&h->f, type, size);

    check(record->sequence < HISTORY);
    h->type[record->sequence] = type;
    fill_and_commit(&h->f, record);
}

static uint16_t random_type(uint32_t one_in)
{
    static const uint16_t kept[] = {WVU_EVENT_ProcessCreate, WVU_EVENT_ProcessDestroy,
                                    WVU_EVENT_SensorStart};
    static const uint16_t others[] = {WVU_EVENT_ImageLoad, WVU_EVENT_RegSetValueKeyInfo, 0x7777};

    return wvu_sim_odds(one_in) ? kept[wvu_sim_random(3)] : others[wvu_sim_random(3)];
}

/* The rule in its simplest words: the newest `records` are there, of the older ones the newest `records` / 4
 * that are guaranteed, and nothing else. */
static void apply_rule(struct history *h, uint64_t taken_up_to, uint32_t records)
{
    uint64_t newest = counters_of(&h->f).accepted;
    uint32_t kept = 0;

    for (uint64_t s = newest; s > taken_up_to; s--) {
        bool in_main = newest - s < records;
        bool in_reserve = !in_main && wvu_event_is_guaranteed(h->type[s]) && kept++ < records / 4;

        h->kept_or_queued[s] = in_main || in_reserve;
    }
}

/* Nobody takes while this goes on; what comes then is what the rule says. */
SIMULATED(the_newest_are_there_and_of_the_older_ones_the_newest_guaranteed)
{
    struct history *h = &history;

    for (uint32_t one_in = 1; one_in <= 40; one_in = one_in * 2 + 1) {
        uint32_t records = (uint32_t)(MIN_RECORDS + wvu_sim_random(60));

        memset(h, 0, sizeof *h);
        begin(&h->f, records, MIN_BYTES);
        for (uint32_t round = 0; round < 20; round++) {
            uint64_t before = h->cursor;
            uint32_t events = (uint32_t)wvu_sim_random(5 * records);

            for (uint32_t i = 0; i < events; i++)
                put_into(h, random_type(one_in), SMALL + (uint32_t)wvu_sim_random(20) * 8);
            apply_rule(h, before, records);
            while (take(&h->f) == WVU_STATUS_OK) {
                const uint8_t *at = h->f.buffer;

                follow(h);
                deliver(&h->f);
                for (uint32_t i = 0; i < h->f.info.records; i++) {
                    const struct wvu_record *record = (const struct wvu_record *)(const void *)at;

                    if (wvu_record_is_numbered(record))
                        wvu_sim_check(h->kept_or_queued[record->sequence],
                                      "%llu is there although it is too old",
                                      (unsigned long long)record->sequence);
                    h->kept_or_queued[record->sequence] = false;
                    at += record->size;
                }
            }
            check_equal(h->cursor, counters_of(&h->f).accepted);
            for (uint64_t s = before + 1; s <= h->cursor; s++)
                wvu_sim_check(!h->kept_or_queued[s], "%llu should be there", (unsigned long long)s);
        }
        end(&h->f);
    }
}

/* Any sizes, takes of any size at any time: the rings wrap, both bounds work, nothing is out of its place. */
SIMULATED(anything_goes_and_every_number_is_accounted_for)
{
    struct history *h = &history;

    for (uint32_t spread = 8; spread <= 60000; spread = spread * 5) {
        memset(h, 0, sizeof *h);
        begin(&h->f, (uint32_t)(MIN_RECORDS + wvu_sim_random(100)), MIN_BYTES);
        for (uint32_t i = 0; i < 1500; i++) {
            put_into(h, random_type((uint32_t)(1 + i / 200)),
                     SMALL + (uint32_t)wvu_sim_random(wvu_sim_odds(4) ? spread : 300));
            check(counters_of(&h->f).queued_bytes <= MIN_BYTES + MIN_BYTES / 4);
            if (wvu_sim_odds(60)) {
                uint32_t capacity = (uint32_t)wvu_sim_random(WVU_BATCH_MAX);

                (void)wvu_queue_take(h->f.queue, h->f.buffer, capacity, &h->f.info);
                check(h->f.info.bytes <= capacity);
                follow(h);
                deliver(&h->f);
            }
        }
        while (take(&h->f) == WVU_STATUS_OK) {
            follow(h);
            deliver(&h->f);
        }
        check(h->gaps > 0);
        check_equal(h->cursor, 1500);
        check_empty(&h->f);
    }
}

/* ---- while the consumer copies ------------------------------------------------------------------------------ */

static void consume(void *context)
{
    struct history *h = context;

    while (!h->done) {
        (void)wvu_queue_take(h->f.queue, h->f.buffer, (uint32_t)wvu_sim_random(6000), &h->f.info);
        follow(h);
        deliver(&h->f);
        if (wvu_sim_odds(3))
            wvu_sim_sleep(wvu_sim_random(20000));
    }
}

/* The consumer can stop at any place of a take, from the reserve, from the main ring, or between them: what
 * it copies must not change, and no order is lost. */
SIMULATED(what_is_copied_from_the_reserve_does_not_change)
{
    struct history *h = &history;
    wvu_thread thread;

    memset(h, 0, sizeof *h);
    begin(&h->f, MIN_RECORDS, MIN_BYTES);
    check_equal(wvu_thread_start(&thread, "consumer", consume, h), WVU_STATUS_OK);
    for (uint32_t i = 0; i < 6000; i++) {
        put_into(h, random_type(3), SMALL + (uint32_t)wvu_sim_random(300));
        (void)counters_of(&h->f);
    }
    h->done = true;
    wvu_thread_join(&thread);
    while (take(&h->f) == WVU_STATUS_OK) {
        follow(h);
        deliver(&h->f);
    }
    check(h->gaps > 20);
    check_equal(h->cursor, 6000);
    check_empty(&h->f);
}

/* ---- the doorbell ---------------------------------------------------------------------------------------- */

/* What is kept needs not wait for a record that is still being filled in the main ring. */
SIMULATED(what_is_kept_is_ready)
{
    struct fixture f;
    struct wvu_record *record;

    begin(&f, MIN_RECORDS, MIN_BYTES);
    put_many_of(&f, P, 2);
    record = reserve(&f, OTHER, SMALL);
    put_many(&f, MIN_RECORDS - 1);
    check_equal(counters_of(&f).queued, MIN_RECORDS + 2);
    check(!wvu_queue_arm(f.queue));
    check(!wvu_queue_arm_half_full(f.queue));
    check(wvu_queue_nearly_full(f.queue));
    take_all(&f);
    check_stream(&f, RUN(1, 2));
    check(wvu_queue_arm(f.queue));
    wvu_queue_disarm(f.queue);
    fill_and_commit(&f, record);
    take_all(&f);
    check_stream(&f, RUN(3, MIN_RECORDS + 2));
    check_empty(&f);
}

/* As long as something is in the reserve, the main ring is nearly full: nobody needs to ask for the reserve. */
SIMULATED(a_reserve_in_use_means_nearly_full)
{
    struct fixture f;

    for (uint32_t size = SMALL; size <= WVU_RECORD_MAX; size = size * 2 + 8) {
        begin(&f, 64, MIN_BYTES);
        for (uint32_t i = 0; i < 300; i++) {
            uint64_t lost = counters_of(&f).lost;
            uint64_t queued = counters_of(&f).queued;

            (void)put(&f, P, i % 7 == 0 ? WVU_RECORD_MAX : size);
            if (counters_of(&f).lost != lost || counters_of(&f).queued > 64 || queued > 64)
                check(wvu_queue_nearly_full(f.queue));
        }
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_and_the_sensors_own_are_guaranteed),
        cmocka_unit_test(what_is_kept_comes_first_behind_what_was_lost_before_it),
        cmocka_unit_test(where_nothing_was_lost_there_is_no_gap),
        cmocka_unit_test(gaps_alternate_with_what_is_kept),
        cmocka_unit_test(guaranteed_kinds_are_refused_last),
        cmocka_unit_test(a_full_reserve_loses_its_oldest_by_count),
        cmocka_unit_test(gaps_grow_together),
        cmocka_unit_test(a_full_reserve_loses_its_oldest_by_bytes),
        cmocka_unit_test(the_largest_record_is_kept_in_the_smallest_reserve),
        cmocka_unit_test(losses_merge_when_nothing_is_kept_any_more),
        cmocka_unit_test(losses_without_numbers_ride_along_with_a_kept_record),
        cmocka_unit_test(losses_without_numbers_are_told_once),
        cmocka_unit_test(a_lost_gap_pays_its_counts_back),
        cmocka_unit_test(a_report_of_losses_is_kept),
        cmocka_unit_test(a_report_of_losses_that_is_lost_is_told_again),
        cmocka_unit_test(a_take_ends_anywhere),
        cmocka_unit_test(the_reserve_goes_on_behind_a_part_that_was_taken),
        cmocka_unit_test(a_reserve_may_begin_with_a_gap),
        cmocka_unit_test(the_newest_are_there_and_of_the_older_ones_the_newest_guaranteed),
        cmocka_unit_test(anything_goes_and_every_number_is_accounted_for),
        cmocka_unit_test(what_is_copied_from_the_reserve_does_not_change),
        cmocka_unit_test(what_is_kept_is_ready),
        cmocka_unit_test(a_reserve_in_use_means_nearly_full),
    };
    return cmocka_run_group_tests_name("queue: the reserve", tests, NULL, NULL);
}
