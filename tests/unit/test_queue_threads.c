/*
 * queue.c under real threads and the real host: one to four producers, one consumer, a small ring that is
 * overwritten all the time, the doorbell. Every record's content is checked, every number accounted for.
 * Short; ThreadSanitizer makes the most of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "atomic.h"
#include "queue.h"
#include "record.h"

#define RECORDS_EACH 20000u
#define PRODUCERS    4u
#define SIZE_SPREAD  600u

struct producer {
    struct wvu_queue *queue;
    uint32_t number;
    uint64_t refused;
    wvu_thread thread;
};

struct consumer {
    struct wvu_queue *queue;
    wvu_event doorbell;
    uint32_t stopping; /* atomic */
    uint8_t *buffer;
    uint64_t expected; /* the next number */
    uint64_t delivered;
    uint64_t lost;
    uint64_t unnumbered; /* heard of */
    uint64_t own;        /* records that the consumer itself put in */
    uint64_t wrong;
    uint64_t per_producer[PRODUCERS]; /* the last serial seen */
    wvu_thread thread;
};

static uint8_t pattern(uint32_t producer, uint64_t serial, uint32_t index)
{
    return (uint8_t)(producer * 71 + serial * 13 + index);
}

static void produce(void *context)
{
    struct producer *self = context;

    for (uint64_t serial = 1; serial <= RECORDS_EACH; serial++) {
        uint32_t size = (uint32_t)(sizeof(struct wvu_record) + serial * 31 % SIZE_SPREAD);
        struct wvu_record *record;
        uint8_t *bytes;

        if (wvu_queue_reserve(self->queue, WVU_EVENT_ProcessCreate, size, &record) !=
            WVU_STATUS_OK) {
            self->refused++;
            continue;
        }
        record->process_id = self->number;
        record->process_key = serial;
        bytes = (uint8_t *)(record + 1);
        for (uint32_t i = 0; i < record->size - sizeof *record; i++)
            bytes[i] = pattern(self->number, serial, i);
        wvu_queue_commit(self->queue, record);
        if (serial % 3 == 0 || serial == RECORDS_EACH)
            wvu_queue_wake(self->queue);
    }
    wvu_queue_wake(self->queue); /* also when the last one was refused */
}

static void check_record(struct consumer *self, const struct wvu_record *record)
{
    const uint8_t *bytes = (const uint8_t *)(record + 1);

    self->wrong += record->sequence != self->expected++;
    if (record->type == WVU_EVENT_EventsLost)
        return; /* our own */
    self->wrong += record->process_id >= PRODUCERS;
    if (record->process_id < PRODUCERS) { /* each producer's own order is kept */
        self->wrong += record->process_key <= self->per_producer[record->process_id];
        self->per_producer[record->process_id] = record->process_key;
    }
    for (uint32_t i = 0; i < record->size - sizeof *record; i++)
        self->wrong += bytes[i] != pattern(record->process_id, record->process_key, i);
}

static void hear(struct consumer *self, const struct wvu_loss_report *report)
{
    uint64_t full = 0;

    for (uint32_t i = 0; i < report->entries; i++) {
        if (report->loss[i].cause == WVU_LOSS_QUEUE_FULL)
            full += report->loss[i].count;
        else
            self->unnumbered += report->loss[i].count;
    }
    if (report->first_sequence != 0) {
        self->wrong += report->first_sequence != self->expected;
        self->wrong += full != report->last_sequence - report->first_sequence + 1;
        self->expected = report->last_sequence + 1;
        self->lost += full;
    } else {
        self->wrong += full != 0;
    }
}

/* False when there was nothing. */
static bool take_once(struct consumer *self)
{
    struct wvu_batch_info info;
    uint32_t at = 0;
    wvu_status status = wvu_queue_take(self->queue, self->buffer, WVU_BATCH_MAX, &info);

    hear(self, &info.lost);
    for (uint32_t i = 0; i < info.records; i++) {
        const struct wvu_record *record =
            (const struct wvu_record *)(const void *)(self->buffer + at);

        check_record(self, record);
        at += record->size;
    }
    self->delivered += info.records;
    wvu_queue_delivered(self->queue, self->buffer, info.bytes);
    return status == WVU_STATUS_OK;
}

/* Nothing to take, and yet something is ready: losses, which the consumer puts into the queue. They are
 * heard here already; the record itself is left empty. */
static void tell_losses(struct consumer *self)
{
    struct wvu_loss_report report;
    struct wvu_record *record;

    if (wvu_queue_reserve_losses(self->queue, &report, &record) != WVU_STATUS_OK)
        return;
    hear(self, &report);
    self->own++;
    wvu_queue_commit(self->queue, record);
}

static void consume(void *context)
{
    struct consumer *self = context;

    for (;;) {
        if (take_once(self))
            continue;
        if (wvu_load_acquire(&self->stopping) != 0)
            break;
        if (wvu_queue_arm(self->queue)) {
            /* Bounded only so that a lost wake-up fails the test instead of hanging it. */
            self->wrong += wvu_event_wait(&self->doorbell, UINT64_C(20000000000)) != WVU_STATUS_OK;
            wvu_queue_disarm(self->queue);
        } else {
            tell_losses(self);
        }
    }
}

static void run_producers(uint32_t count)
{
    struct producer producers[PRODUCERS];
    struct consumer *consumer = calloc(1, sizeof *consumer);
    struct wvu_queue_counters counters;
    uint64_t refused = 0;

    assert_non_null(consumer);
    consumer->expected = 1;
    consumer->buffer = malloc(WVU_BATCH_MAX);
    assert_non_null(consumer->buffer);
    assert_int_equal(wvu_event_init(&consumer->doorbell), WVU_STATUS_OK);
    assert_int_equal(
        wvu_queue_create(64, WVU_QUEUE_BYTES_MIN, &consumer->doorbell, &consumer->queue),
        WVU_STATUS_OK);
    assert_int_equal(wvu_thread_start(&consumer->thread, "consumer", consume, consumer),
                     WVU_STATUS_OK);
    for (uint32_t i = 0; i < count; i++) {
        producers[i] = (struct producer){.queue = consumer->queue, .number = i};
        assert_int_equal(wvu_thread_start(&producers[i].thread, "producer", produce, &producers[i]),
                         WVU_STATUS_OK);
    }
    for (uint32_t i = 0; i < count; i++) {
        wvu_thread_join(&producers[i].thread);
        refused += producers[i].refused;
    }
    wvu_store_release(&consumer->stopping, 1);
    wvu_event_set(&consumer->doorbell);
    wvu_thread_join(&consumer->thread);
    tell_losses(consumer);
    while (take_once(consumer))
        ;

    wvu_queue_read_counters(consumer->queue, &counters);
    assert_int_equal(consumer->wrong, 0);
    assert_int_equal(counters.accepted + refused, (uint64_t)count * RECORDS_EACH + consumer->own);
    assert_int_equal(counters.queued, 0);
    assert_int_equal(counters.delivered, consumer->delivered);
    assert_int_equal(counters.lost, consumer->lost);
    assert_int_equal(counters.accepted, consumer->delivered + consumer->lost);
    assert_int_equal(counters.unnumbered, refused);
    assert_int_equal(consumer->unnumbered, refused);
    wvu_queue_destroy(consumer->queue);
    wvu_event_destroy(&consumer->doorbell);
    free(consumer->buffer);
    free(consumer);
}

static void one_producer(void **state)
{
    (void)state;
    run_producers(1);
}

static void two_producers(void **state)
{
    (void)state;
    run_producers(2);
}

static void four_producers(void **state)
{
    (void)state;
    run_producers(PRODUCERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_producer),
        cmocka_unit_test(two_producers),
        cmocka_unit_test(four_producers),
    };
    return cmocka_run_group_tests_name("queue with threads", tests, NULL, NULL);
}
