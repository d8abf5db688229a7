/*
 * queue.c under real threads and the real host: one to four producers, one consumer, a small ring that is
 * overwritten all the time, so that its reserve is in use, the doorbell. Every record's content is checked,
 * every number accounted for. Short; ThreadSanitizer makes the most of it.
 *
 * Then the queue in its usual size, a storm of registry events, and processes in it.
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

static uint16_t type_of(uint64_t serial)
{
    return serial % 5 == 0 ? WVU_EVENT_ProcessCreate : WVU_EVENT_RegSetValueKeyInfo;
}

static void produce(void *context)
{
    struct producer *self = context;

    for (uint64_t serial = 1; serial <= RECORDS_EACH; serial++) {
        uint32_t size = (uint32_t)(sizeof(struct wvu_record) + serial * 31 % SIZE_SPREAD);
        struct wvu_record *record;
        uint8_t *bytes;

        if (wvu_queue_reserve(self->queue, type_of(serial), size, &record) != WVU_STATUS_OK) {
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

/* An EventsLost, with a range or not. */
static void hear(struct consumer *self, const struct wvu_record *record)
{
    const struct wvu_events_lost *event = (const struct wvu_events_lost *)(const void *)record;
    const struct wvu_loss *list = (const struct wvu_loss *)(const void *)(event + 1);
    uint64_t full = 0;

    for (uint32_t i = 0; i < event->lost.size / sizeof *list; i++) {
        if (list[i].cause == WVU_LOSS_QUEUE_FULL)
            full += list[i].count;
        else
            self->unnumbered += list[i].count;
    }
    self->lost += full;
    if (wvu_record_is_numbered(record)) {
        self->wrong += full != 0;
        return;
    }
    self->wrong += event->first_sequence != self->expected;
    self->wrong += full != event->last_sequence - event->first_sequence + 1;
    self->wrong += record->sequence != event->last_sequence;
    self->expected = event->last_sequence + 1;
}

static void check_record(struct consumer *self, const struct wvu_record *record)
{
    const uint8_t *bytes = (const uint8_t *)(record + 1);

    self->wrong += record->sequence != self->expected++;
    if (record->type == WVU_EVENT_EventsLost) {
        hear(self, record); /* our own */
        return;
    }
    self->wrong += record->type != type_of(record->process_key);
    self->wrong += record->process_id >= PRODUCERS;
    if (record->process_id < PRODUCERS) { /* each producer's own order is kept */
        self->wrong += record->process_key <= self->per_producer[record->process_id];
        self->per_producer[record->process_id] = record->process_key;
    }
    for (uint32_t i = 0; i < record->size - sizeof *record; i++)
        self->wrong += bytes[i] != pattern(record->process_id, record->process_key, i);
}

/* False when there was nothing. */
static bool take_once(struct consumer *self)
{
    struct wvu_batch_info info;
    uint32_t at = 0;
    wvu_status status = wvu_queue_take(self->queue, self->buffer, WVU_BATCH_MAX, &info);

    for (uint32_t i = 0; i < info.records; i++) {
        const struct wvu_record *record =
            (const struct wvu_record *)(const void *)(self->buffer + at);

        if (wvu_record_is_numbered(record)) {
            check_record(self, record);
            self->delivered++;
        } else {
            hear(self, record);
        }
        at += record->size;
    }
    self->wrong += at != info.bytes;
    wvu_queue_delivered(self->queue, self->buffer, info.bytes);
    return status == WVU_STATUS_OK;
}

/* Nothing to take, and yet something is ready: losses, which the consumer puts into the queue. */
static void tell_losses(struct consumer *self)
{
    struct wvu_record *record;

    if (wvu_queue_reserve_losses(self->queue, &record) != WVU_STATUS_OK)
        return;
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
    for (uint32_t kind = 0; kind < WVU_EVENT_INDICES; kind++) {
        struct wvu_event_counters c;

        wvu_queue_read_event_counters(consumer->queue, kind, &c);
        assert_int_equal(c.accepted, c.delivered + c.lost[WVU_LOSS_QUEUE_FULL]);
    }
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

/* ---- a storm --------------------------------------------------------------------------------------------- */

#define STORM_EVENTS    1000000u
#define STORM_PROCESSES 1500u
#define STORM_THREADS   2u

struct storm {
    struct wvu_queue *queue;
    uint32_t number;
    uint32_t done; /* processes */
    uint32_t refused;
    uint32_t refused_processes;
    wvu_thread thread;
};

/* A million registry events, and process events anywhere among them. The keys of the latter count. A thread
 * that loses its processor while it fills a record holds up the ring: then events of the other are refused,
 * but no process. (All of one thread's fit what is set aside for them, for as long as that may take.) */
static void storm(void *context)
{
    struct storm *self = context;
    const uint32_t events = STORM_EVENTS / STORM_THREADS;
    const uint32_t processes = STORM_PROCESSES / STORM_THREADS;
    uint32_t x = self->number;

    for (uint32_t i = 0; i < events + processes; i++) {
        bool process;
        uint32_t size;
        struct wvu_record *record;

        x = x * 1664525u + 1013904223u; /* as many of each as are left, by chance */
        process = (uint64_t)(x >> 8) % (events + processes - i) < processes - self->done;
        size = (uint32_t)(process ? sizeof(struct wvu_process_create) + (x >> 8) % 100
                                  : sizeof(struct wvu_reg_set_value_key_info) + (x >> 8) % 200);
        self->done += process;
        if (wvu_queue_reserve(self->queue,
                              process ? WVU_EVENT_ProcessCreate : WVU_EVENT_RegSetValueKeyInfo,
                              size, &record) != WVU_STATUS_OK) {
            self->refused++;
            self->refused_processes += process;
            continue;
        }
        record->process_id = self->number;
        record->process_key = process ? self->done : 0;
        wvu_queue_commit(self->queue, record);
    }
}

struct storm_reader {
    uint8_t *buffer;
    uint64_t expected;
    uint64_t processes[STORM_THREADS];
    uint64_t lost;
    uint64_t refused;
    uint64_t gaps;
};

static void read_storm_record(struct storm_reader *reader, const struct wvu_record *record)
{
    const struct wvu_events_lost *gap = (const struct wvu_events_lost *)(const void *)record;
    const struct wvu_loss *list = (const struct wvu_loss *)(const void *)(gap + 1);

    if (wvu_record_is_numbered(record)) {
        assert_int_equal(record->sequence, reader->expected);
        reader->expected++;
        if (record->type == WVU_EVENT_ProcessCreate)
            assert_int_equal(record->process_key, ++reader->processes[record->process_id]);
        return;
    }
    assert_int_equal(gap->first_sequence, reader->expected);
    for (uint32_t i = 0; i < gap->lost.size / sizeof *list; i++) {
        assert_int_equal(list[i].type, WVU_EVENT_RegSetValueKeyInfo); /* nothing else */
        if (list[i].cause == WVU_LOSS_QUEUE_FULL)
            reader->lost += list[i].count;
        else
            reader->refused += list[i].count;
    }
    reader->expected = gap->last_sequence + 1;
    reader->gaps++;
}

static void a_registry_storm_does_not_lose_one_process_event(void **state)
{
    struct storm storms[STORM_THREADS];
    struct storm_reader reader = {.expected = 1};
    uint64_t refused = 0;
    struct wvu_queue_counters counters;
    struct wvu_batch_info info;
    struct wvu_queue *queue;
    wvu_event doorbell;

    (void)state;
    reader.buffer = malloc(WVU_BATCH_MAX);
    assert_non_null(reader.buffer);
    assert_int_equal(wvu_event_init(&doorbell), WVU_STATUS_OK);
    assert_int_equal(
        wvu_queue_create(WVU_QUEUE_RECORDS_DEFAULT, WVU_QUEUE_BYTES_DEFAULT, &doorbell, &queue),
        WVU_STATUS_OK);
    for (uint32_t i = 0; i < STORM_THREADS; i++) { /* nobody reads meanwhile */
        storms[i] = (struct storm){.queue = queue, .number = i};
        assert_int_equal(wvu_thread_start(&storms[i].thread, "storm", storm, &storms[i]),
                         WVU_STATUS_OK);
    }
    for (uint32_t i = 0; i < STORM_THREADS; i++) {
        wvu_thread_join(&storms[i].thread);
        assert_int_equal(storms[i].done, STORM_PROCESSES / STORM_THREADS);
        assert_int_equal(storms[i].refused_processes, 0);
        refused += storms[i].refused;
    }

    while (wvu_queue_take(queue, reader.buffer, WVU_BATCH_MAX, &info) == WVU_STATUS_OK) {
        for (uint32_t at = 0; at < info.bytes;) {
            const struct wvu_record *record =
                (const struct wvu_record *)(const void *)(reader.buffer + at);

            read_storm_record(&reader, record);
            at += record->size;
        }
        wvu_queue_delivered(queue, reader.buffer, info.bytes);
    }
    wvu_queue_read_counters(queue, &counters);
    for (uint32_t i = 0; i < STORM_THREADS; i++)
        assert_int_equal(reader.processes[i], STORM_PROCESSES / STORM_THREADS);
    assert_int_equal(counters.accepted + refused, STORM_EVENTS + STORM_PROCESSES);
    assert_int_equal(reader.expected, counters.accepted + 1);
    assert_int_equal(counters.lost, reader.lost);
    assert_int_equal(counters.unnumbered, refused);
    assert_true(reader.refused <=
                refused); /* those after the last gap would have a record of their own */
    assert_int_equal(counters.delivered, counters.accepted - counters.lost);
    assert_true(reader.lost + refused > STORM_EVENTS - WVU_QUEUE_RECORDS_DEFAULT - 1);
    assert_true(reader.gaps > STORM_PROCESSES / 2);
    wvu_queue_destroy(queue);
    wvu_event_destroy(&doorbell);
    free(reader.buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_producer),
        cmocka_unit_test(two_producers),
        cmocka_unit_test(four_producers),
        cmocka_unit_test(a_registry_storm_does_not_lose_one_process_event),
    };
    return cmocka_run_group_tests_name("queue with threads", tests, NULL, NULL);
}
