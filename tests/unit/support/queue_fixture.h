/*
 * A queue, what a test puts into it, and what a take must bring. For the tests of queue.c in the simulated
 * host.
 *
 *     (void)put(&f, OTHER, SMALL);
 *     check_equal(take(&f), WVU_STATUS_OK);
 *     check_stream(&f, GAP(1, 3), RUN(4, 20));
 */
#ifndef WVU_UNIT_QUEUE_FIXTURE_H
#define WVU_UNIT_QUEUE_FIXTURE_H

#include "support/simulated.h"

#include <stdlib.h>

#include "queue.h"
#include "record.h"

#define MIN_RECORDS WVU_QUEUE_RECORDS_MIN
#define MIN_BYTES   WVU_QUEUE_BYTES_MIN
#define SMALL       ((uint32_t)sizeof(struct wvu_record))
#define OTHER       WVU_EVENT_ImageLoad /* of no guaranteed kind */

struct fixture {
    wvu_event doorbell;
    struct wvu_queue *queue;
    uint8_t *buffer; /* WVU_BATCH_MAX */
    struct wvu_batch_info info;
};

static inline void begin(struct fixture *f, uint32_t records, uint32_t bytes)
{
    check_equal(wvu_event_init(&f->doorbell), WVU_STATUS_OK);
    check_equal(wvu_queue_create(records, bytes, &f->doorbell, &f->queue), WVU_STATUS_OK);
    f->buffer = malloc(WVU_BATCH_MAX);
    check(f->buffer != NULL);
}

static inline void end(struct fixture *f)
{
    wvu_queue_destroy(f->queue);
    wvu_event_destroy(&f->doorbell);
    free(f->buffer);
}

static inline struct wvu_queue_counters counters_of(struct fixture *f)
{
    struct wvu_queue_counters c;

    wvu_queue_read_counters(f->queue, &c);
    check_equal(c.accepted, c.delivered + c.lost + c.queued + c.in_flight);
    return c;
}

static inline struct wvu_event_counters counters_of_type(struct fixture *f, uint16_t type)
{
    struct wvu_event_counters c;

    wvu_queue_read_event_counters(f->queue, wvu_event_index(type), &c);
    return c;
}

/* ---- in ---------------------------------------------------------------------------------------------- */

static inline struct wvu_record *reserve(struct fixture *f, uint16_t type, uint32_t size)
{
    struct wvu_record *record;

    check_equal(wvu_queue_reserve(f->queue, type, size, &record), WVU_STATUS_OK);
    return record;
}

static inline uint8_t content_of(uint64_t sequence)
{
    return (uint8_t)(sequence * 37 + 1);
}

/* Every byte after the header depends on the number. */
static inline void fill_and_commit(struct fixture *f, struct wvu_record *record)
{
    memset(record + 1, content_of(record->sequence), record->size - sizeof *record);
    wvu_queue_commit(f->queue, record);
}

static inline uint64_t put(struct fixture *f, uint16_t type, uint32_t size)
{
    struct wvu_record *record = reserve(f, type, size);
    uint64_t sequence = record->sequence;

    fill_and_commit(f, record);
    return sequence;
}

static inline void put_many_of(struct fixture *f, uint16_t type, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)put(f, type, SMALL);
}

static inline void put_many(struct fixture *f, uint32_t count)
{
    put_many_of(f, OTHER, count);
}

/* ---- out --------------------------------------------------------------------------------------------- */

static inline wvu_status take(struct fixture *f)
{
    return wvu_queue_take(f->queue, f->buffer, WVU_BATCH_MAX, &f->info);
}

static inline void deliver(struct fixture *f)
{
    wvu_queue_delivered(f->queue, f->buffer, f->info.bytes);
}

static inline const struct wvu_record *taken(struct fixture *f, uint32_t index)
{
    const uint8_t *at = f->buffer;

    check(index < f->info.records);
    for (uint32_t i = 0; i < index; i++)
        at += ((const struct wvu_record *)(const void *)at)->size;
    return (const struct wvu_record *)(const void *)at;
}

static inline uint64_t loss_of(const struct wvu_record *record, uint16_t cause, uint16_t type)
{
    const struct wvu_events_lost *event = (const struct wvu_events_lost *)(const void *)record;
    const struct wvu_loss *list = (const struct wvu_loss *)(const void *)(event + 1);
    uint64_t count = 0;

    check_equal(record->type, WVU_EVENT_EventsLost);
    for (uint32_t i = 0; i < event->lost.size / sizeof *list; i++)
        if (list[i].cause == cause && list[i].type == type)
            count += list[i].count;
    return count;
}

static inline uint32_t losses_in(const struct wvu_record *record)
{
    return ((const struct wvu_events_lost *)(const void *)record)->lost.size /
           (uint32_t)sizeof(struct wvu_loss);
}

/* A whole EventsLost, but for what its reporter adds. The range is 0 to 0 when there is none. */
static inline void check_events_lost(const struct wvu_record *record, uint64_t first, uint64_t last)
{
    const struct wvu_events_lost *event = (const struct wvu_events_lost *)(const void *)record;
    const struct wvu_loss *list = (const struct wvu_loss *)(const void *)(event + 1);
    uint32_t entries = losses_in(record);
    struct wvu_events_lost expected = {
        .record = {.size = (uint32_t)(sizeof *event + entries * sizeof *list),
                   .type = WVU_EVENT_EventsLost,
                   .sequence = first != 0 ? last : record->sequence,
                   .present = first != 0 ? 15 : 12,
                   .fixed_size = sizeof *event},
        .first_sequence = first,
        .last_sequence = last,
        .lost = {.offset = sizeof *event,
                 .size = (uint16_t)(entries * sizeof *list),
                 .head = (uint16_t)(entries * sizeof *list),
                 .full_size = (uint32_t)(entries * sizeof *list)},
    };
    uint64_t numbered = 0;

    for (uint32_t i = 0; i < entries; i++) {
        check(list[i].count != 0 && list[i].reserved == 0);
        expected.count += list[i].count;
        numbered += list[i].cause == WVU_LOSS_QUEUE_FULL ? list[i].count : 0;
    }
    check_equal(event->first_sequence, first);
    check_equal(event->last_sequence, last);
    check_equal(numbered, first != 0 ? last - first + 1 : 0);
    check(memcmp(event, &expected, sizeof expected) == 0);
}

struct part {
    uint64_t first;
    uint64_t last;
    bool gap;
};
#define RUN(first, last)                                                                           \
    {                                                                                              \
        first, last, false                                                                         \
    }
#define GAP(first, last)                                                                           \
    {                                                                                              \
        first, last, true                                                                          \
    }

static inline void check_content(const struct wvu_record *record)
{
    const uint8_t *bytes = (const uint8_t *)record;

    for (uint32_t i = sizeof *record; i < record->size; i++)
        check_equal(bytes[i], content_of(record->sequence));
}

/* What was taken is these runs of records, each with its contents, and gaps; and no more. */
static inline void check_parts(struct fixture *f, const struct part *parts, size_t count)
{
    uint32_t records = 0;
    uint32_t bytes = 0;
    uint32_t gaps = 0;

    for (size_t i = 0; i < count; i++) {
        for (uint64_t s = parts[i].gap ? parts[i].last : parts[i].first; s <= parts[i].last; s++) {
            wvu_sim_check(records < f->info.records, "only %u records; %llu is not there", records,
                          (unsigned long long)s);
            const struct wvu_record *record =
                (const struct wvu_record *)(const void *)(f->buffer + bytes);

            check_equal(record->sequence, s);
            check_equal(wvu_record_is_numbered(record), !parts[i].gap);
            if (parts[i].gap)
                check_events_lost(record, parts[i].first, parts[i].last);
            else if (record->type != WVU_EVENT_EventsLost)
                check_content(record);
            bytes += record->size;
            records++;
            gaps += parts[i].gap;
        }
    }
    check_equal(f->info.records, records);
    check_equal(f->info.gaps, gaps);
    check_equal(f->info.bytes, bytes);
    check_equal(f->info.first_sequence, count == 0     ? 0
                                        : parts[0].gap ? parts[0].last
                                                       : parts[0].first);
    check_equal(f->info.last_sequence, count == 0 ? 0 : parts[count - 1].last);
}
#define check_stream(f, ...)                                                                       \
    check_parts((f), (const struct part[]){__VA_ARGS__},                                           \
                sizeof((const struct part[]){__VA_ARGS__}) / sizeof(struct part))

#endif
