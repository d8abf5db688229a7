/*
 * What a record costs in the queue: reserve, fill 256 bytes, commit, wake once a batch, take, check
 * what came, delivered. Beside it, in the same rounds: Concurrency Kit's rings, and the classic
 * malloc + list + mutex.
 *
 *     bench_queue [ROUNDS [RECORDS]]
 *
 * one-thread   16 records are put, then taken, and so on: nothing waits.
 * two-threads  producer and consumer are pinned to two processors. The consumer takes all there is,
 *              then looks again after some microseconds; a producer that finds the queue full
 *              spins, then yields: the same way of waiting for all.
 * dispatcher   as two-threads, but the consumer is the sensor's dispatcher with all it does: it
 *              sleeps on the doorbell, lets the moderator ration its wake-ups, and hands its
 *              batches to a port that checks them and replies at once.
 *
 * Nothing is lost: our queue would overwrite, so its producer waits while the queue is nearly full,
 * as the Linux host does; the others' producers wait while theirs is full. All hold 8191 or 8192
 * records. All fill and check the same bytes; ours also zeroes each record and numbers it.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <string.h>

#include "atomic.h"
#include "dispatcher.h"
#include "queue.h"

#ifdef WVU_BENCH_CK
#include <ck_ring.h>
#endif

#define CAPACITY 8192u
#define BATCH    16u
#define PAUSES   100u /* between two looks of a consumer: 2 to 4 microseconds */
#define WORDS    23u
#define MARK     UINT64_C(0x5eed0f0ddba11ad5)

struct sample {
    struct wvu_record record;
    uint64_t words[WORDS];
};
_Static_assert(sizeof(struct sample) == 256, "the figure is for records of 256 bytes");

/* One contestant. put waits for room; take returns how many it took, 0 when there was nothing. */
struct kind {
    const char *name;
    void *(*create)(void);
    void (*destroy)(void *queue);
    void (*put)(void *queue, uint64_t first, uint32_t count);
    uint32_t (*take)(void *queue, uint64_t expected);
};

/* ---- the same bytes for all -------------------------------------------------------------------*/

static uint64_t pattern[WORDS];

/* The serial is in each cache line, so that a line that is not of this record shows. */
static inline void fill(struct sample *sample, uint64_t serial)
{
    memcpy(sample->words, pattern, sizeof pattern);
    sample->words[0] = sample->words[7] = sample->words[15] = sample->words[22] = serial ^ MARK;
}

static inline void check(const struct sample *sample, uint64_t serial)
{
    const uint64_t *words = sample->words;
    if (sample->record.sequence != serial || sample->record.size != sizeof *sample ||
        words[0] != (serial ^ MARK) || words[7] != words[0] || words[15] != words[0] ||
        words[22] != words[0] || words[11] != pattern[11])
        bench_fail("a record was lost, changed or out of order");
}

static inline void fill_whole(struct sample *sample, uint64_t serial)
{
    sample->record.size = sizeof *sample;
    sample->record.type = WVU_EVENT_ProcessCreate;
    sample->record.sequence = serial;
    fill(sample, serial);
}

/* ---- ours ------------------------------------------------------------------------------------ */

struct ours {
    struct wvu_queue *queue;
    wvu_event doorbell;
    struct wvu_batch_info info;
    uint64_t batch[WVU_BATCH_MAX / 8];
};

static void *ours_create(void)
{
    struct ours *ours = calloc(1, sizeof *ours);
    if (ours == NULL || wvu_event_init(&ours->doorbell) != WVU_STATUS_OK ||
        wvu_queue_create(CAPACITY, WVU_QUEUE_BYTES_DEFAULT, &ours->doorbell, &ours->queue) !=
            WVU_STATUS_OK)
        bench_fail("the queue cannot be made");
    memset(ours->batch, 0, sizeof ours->batch);
    return ours;
}

static void ours_destroy(void *queue)
{
    struct ours *ours = queue;
    wvu_queue_destroy(ours->queue);
    wvu_event_destroy(&ours->doorbell);
    free(ours);
}

static void ours_put(void *queue, uint64_t first, uint32_t count)
{
    struct ours *ours = queue;
    for (uint32_t looks = 0; wvu_queue_nearly_full(ours->queue);)
        bench_relax(&looks);
    for (uint32_t i = 0; i < count; i++) {
        struct wvu_record *record;
        if (wvu_queue_reserve(ours->queue, WVU_EVENT_ProcessCreate, sizeof(struct sample),
                              &record) != WVU_STATUS_OK)
            bench_fail("no room in a queue that is not nearly full");
        fill((struct sample *)(void *)record, first + i);
        wvu_queue_commit(ours->queue, record);
    }
    wvu_queue_wake(ours->queue);
}

static uint32_t ours_take(void *queue, uint64_t expected)
{
    struct ours *ours = queue;
    struct wvu_batch_info *info = &ours->info;
    if (wvu_queue_take(ours->queue, ours->batch, sizeof ours->batch, info) != WVU_STATUS_OK)
        return 0;
    if (info->gaps != 0)
        bench_fail("the queue overwrote records although its producer waited");
    for (uint32_t i = 0; i < info->records; i++)
        check((const struct sample *)(void *)ours->batch + i, expected + i);
    wvu_queue_delivered(ours->queue, ours->batch, info->bytes);
    return info->records;
}

/* ---- Concurrency Kit ------------------------------------------------------------------------- */

#ifdef WVU_BENCH_CK
CK_RING_PROTOTYPE(sample, sample)

struct ck {
    struct ck_ring ring __attribute__((aligned(64)));
    struct sample slots[CAPACITY];
};

static void *ck_create(void)
{
    struct ck *ck = aligned_alloc(64, (sizeof *ck + 63) / 64 * 64);
    if (ck == NULL)
        bench_fail("a ring cannot be made");
    memset(ck, 0, sizeof *ck);
    ck_ring_init(&ck->ring, CAPACITY);
    return ck;
}

static void ck_spsc_put(void *queue, uint64_t first, uint32_t count)
{
    struct ck *ck = queue;
    struct sample sample = {.record = {.size = 0}};
    for (uint32_t i = 0; i < count; i++) {
        fill_whole(&sample, first + i);
        for (uint32_t looks = 0; !ck_ring_enqueue_spsc_sample(&ck->ring, ck->slots, &sample);)
            bench_relax(&looks);
    }
}

static uint32_t ck_spsc_take(void *queue, uint64_t expected)
{
    struct ck *ck = queue;
    struct sample sample;
    uint32_t taken = 0;
    while (ck_ring_dequeue_spsc_sample(&ck->ring, ck->slots, &sample))
        check(&sample, expected + taken++);
    return taken;
}

static void ck_mpsc_put(void *queue, uint64_t first, uint32_t count)
{
    struct ck *ck = queue;
    struct sample sample = {.record = {.size = 0}};
    for (uint32_t i = 0; i < count; i++) {
        fill_whole(&sample, first + i);
        for (uint32_t looks = 0; !ck_ring_enqueue_mpsc_sample(&ck->ring, ck->slots, &sample);)
            bench_relax(&looks);
    }
}

static uint32_t ck_mpsc_take(void *queue, uint64_t expected)
{
    struct ck *ck = queue;
    struct sample sample;
    uint32_t taken = 0;
    while (ck_ring_dequeue_mpsc_sample(&ck->ring, ck->slots, &sample))
        check(&sample, expected + taken++);
    return taken;
}
#endif

/* ---- malloc + list + mutex ------------------------------------------------------------------- */

struct node {
    struct node *next;
    struct sample sample;
};

struct classic {
    pthread_mutex_t mutex;
    struct node *first;
    struct node **last;
    uint32_t count;
};

static void *classic_create(void)
{
    struct classic *classic = calloc(1, sizeof *classic);
    if (classic == NULL || pthread_mutex_init(&classic->mutex, NULL) != 0)
        bench_fail("a list cannot be made");
    classic->last = &classic->first;
    return classic;
}

static void classic_destroy(void *queue)
{
    struct classic *classic = queue;
    pthread_mutex_destroy(&classic->mutex);
    free(classic);
}

static bool classic_link(struct classic *classic, struct node *node)
{
    pthread_mutex_lock(&classic->mutex);
    bool room = classic->count < CAPACITY;
    if (room) {
        *classic->last = node;
        classic->last = &node->next;
        classic->count++;
    }
    pthread_mutex_unlock(&classic->mutex);
    return room;
}

static void classic_put(void *queue, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = malloc(sizeof *node);
        if (node == NULL)
            bench_fail("out of memory");
        node->next = NULL;
        fill_whole(&node->sample, first + i);
        for (uint32_t looks = 0; !classic_link(queue, node);)
            bench_relax(&looks);
    }
}

static struct node *classic_unlink(struct classic *classic)
{
    pthread_mutex_lock(&classic->mutex);
    struct node *node = classic->first;
    if (node != NULL) {
        classic->first = node->next;
        if (node->next == NULL)
            classic->last = &classic->first;
        classic->count--;
    }
    pthread_mutex_unlock(&classic->mutex);
    return node;
}

static uint32_t classic_take(void *queue, uint64_t expected)
{
    struct node *node;
    uint32_t taken = 0;
    while ((node = classic_unlink(queue)) != NULL) {
        check(&node->sample, expected + taken++);
        free(node);
    }
    return taken;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static const struct kind kinds[] = {
    {"winvirtue queue", ours_create, ours_destroy, ours_put, ours_take},
#ifdef WVU_BENCH_CK
    {"ck_ring spsc, 256-byte copy", ck_create, free, ck_spsc_put, ck_spsc_take},
    {"ck_ring mpsc, 256-byte copy", ck_create, free, ck_mpsc_put, ck_mpsc_take},
#endif
    {"malloc + list + mutex", classic_create, classic_destroy, classic_put, classic_take},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static uint64_t records;
static int producer_cpu;
static int consumer_cpu;

/* Nanoseconds a record. */
static double one_thread(const struct kind *kind)
{
    void *queue = kind->create();
    uint64_t begin = 0;
    /* The first tenth warms up: pages, caches, branches. */
    uint64_t warm = records / 10 / BATCH * BATCH;
    for (uint64_t serial = 1; serial <= warm + records; serial += BATCH) {
        if (serial == warm + 1)
            begin = bench_now();
        kind->put(queue, serial, BATCH);
        if (kind->take(queue, serial) != BATCH)
            bench_fail("what was put did not come out");
    }
    double result = (double)(bench_now() - begin) / (double)records;
    kind->destroy(queue);
    return result;
}

struct pair {
    const struct kind *kind;
    void *queue;
    uint32_t ready;
    uint64_t begin;
};

static void *produce(void *context)
{
    struct pair *pair = context;
    bench_pin(producer_cpu);
    if (wvu_exchange_full(&pair->ready, 1) != 2)
        while (wvu_load_acquire(&pair->ready) != 2)
            bench_pause();
    pair->begin = bench_now();
    for (uint64_t serial = 1; serial <= records; serial += BATCH)
        pair->kind->put(pair->queue, serial, BATCH);
    return NULL;
}

static double two_threads(const struct kind *kind)
{
    struct pair pair = {.kind = kind, .queue = kind->create()};
    pthread_t producer;
    if (pthread_create(&producer, NULL, produce, &pair) != 0)
        bench_fail("a thread cannot be started");
    while (wvu_load_acquire(&pair.ready) != 1)
        sched_yield();
    wvu_store_release(&pair.ready, 2);

    for (uint64_t serial = 1;;) {
        serial += kind->take(pair.queue, serial);
        if (serial > records)
            break;
        for (uint32_t i = 0; i < PAUSES; i++)
            bench_pause();
    }
    uint64_t end = bench_now();
    pthread_join(producer, NULL);
    kind->destroy(pair.queue);
    return (double)(end - pair.begin) / (double)records;
}

/* ---- through the dispatcher ------------------------------------------------------------------ */

/* The reader of a port without a socket: it is there from the start, and has read each batch when
 * it is sent. */
struct direct_port {
    struct wvu_port port;
    uint64_t expected;
    uint64_t end;
    wvu_event done;
};

static wvu_status direct_send(struct wvu_port *opaque, const void *message, uint32_t size,
                              void *reply_buffer, uint32_t *reply_size, int32_t *reply_status,
                              uint64_t timeout_ns)
{
    struct direct_port *port = (struct direct_port *)opaque;
    const struct wvu_batch *batch = message;
    const struct sample *samples =
        (const struct sample *)(const void *)((const char *)message + batch->header_size);
    struct wvu_reply reply = {.version = WVU_PROTOCOL_VERSION,
                              .size = sizeof reply,
                              .acknowledged = batch->last_sequence};
    (void)timeout_ns;
    if (size != batch->header_size + batch->record_count * sizeof *samples)
        bench_fail("the batch holds something else than the records that were put");
    for (uint32_t i = 0; i < batch->record_count; i++)
        check(&samples[i], port->expected++);
    memcpy(reply_buffer, &reply, sizeof reply);
    *reply_size = sizeof reply;
    *reply_status = WVU_STATUS_OK;
    if (port->expected > records) {
        port->end = bench_now();
        wvu_event_set(&port->done);
    }
    return WVU_STATUS_OK;
}

static void direct_nothing(struct wvu_port *port)
{
    (void)port;
}

static double through_dispatcher(void)
{
    static const struct wvu_port_operations operations = {
        .send = direct_send, .cancel = direct_nothing, .disconnect = direct_nothing};
    static const uint8_t id[16] = {0};
    struct direct_port port = {.port = {&operations}, .expected = 1};
    struct ours *ours = ours_create();
    struct wvu_dispatcher_settings settings = {.queue = ours->queue,
                                               .port = &port.port,
                                               .wake = &ours->doorbell,
                                               .boot_id = id,
                                               .sensor_id = id,
                                               .send_timeout_ms = WVU_SEND_TIMEOUT_MS_DEFAULT,
                                               .drain_ms = 1000};
    struct wvu_dispatcher *dispatcher;
    pthread_t producer;
    struct pair pair = {.kind = &kinds[0], .queue = ours, .ready = 2};

    /* The dispatcher's thread inherits the consumer's processor from this one. */
    if (wvu_event_init(&port.done) != WVU_STATUS_OK ||
        wvu_dispatcher_create(&settings, &dispatcher) != WVU_STATUS_OK ||
        wvu_dispatcher_start(dispatcher) != WVU_STATUS_OK)
        bench_fail("the dispatcher cannot be started");
    wvu_dispatcher_connected(dispatcher);
    if (pthread_create(&producer, NULL, produce, &pair) != 0)
        bench_fail("a thread cannot be started");
    (void)wvu_event_wait(&port.done, WVU_TIMEOUT_NONE);
    pthread_join(producer, NULL);
    wvu_dispatcher_stop(dispatcher);
    wvu_dispatcher_destroy(dispatcher);
    wvu_event_destroy(&port.done);
    ours_destroy(ours);
    return (double)(port.end - pair.begin) / (double)records;
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most)
        bench_fail("usage: bench_queue [ROUNDS (1..1000) [RECORDS (1000..)]]");
    return value;
}

int main(int argc, char **argv)
{
    static double one[KINDS][BENCH_ROUNDS_MAX];
    static double two[KINDS][BENCH_ROUNDS_MAX];
    static double dispatched[BENCH_ROUNDS_MAX];
    uint32_t rounds = argc > 1 ? (uint32_t)number(argv[1], 1, BENCH_ROUNDS_MAX) : 21;
    records = argc > 2 ? number(argv[2], 1000, UINT64_MAX / 4) : 400000;
    records = records / BATCH * BATCH;
    for (uint32_t i = 0; i < WORDS; i++)
        pattern[i] = MARK * (i + 1);

    bench_two_cpus(&consumer_cpu, &producer_cpu);
    bench_pin(consumer_cpu);
    bool two_cpus = producer_cpu != consumer_cpu;
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t k = 0; k < KINDS; k++) {
            one[k][round] = one_thread(&kinds[k]);
            if (two_cpus)
                two[k][round] = two_threads(&kinds[k]);
        }
        if (two_cpus)
            dispatched[round] = through_dispatcher();
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        bench_print("queue", kinds[k].name, "one-thread", "ns", one[k], rounds);
        if (two_cpus)
            bench_print("queue", kinds[k].name, "two-threads", "ns", two[k], rounds);
    }
    if (two_cpus)
        bench_print("queue", kinds[0].name, "dispatcher", "ns", dispatched, rounds);
    else
        fprintf(stderr, "bench_queue: only one processor; nothing was measured across two\n");
    return 0;
}
