/*
 * The dispatcher: one thread between the queue and the port.
 *
 *      +----------------------------- sleep on `wake` <----------------------------+
 *      v                                                                           |
 *   connected? --no--> (only connect and stop wake it)                             |
 *      | yes                                                                       |
 *   batch in hand? --no--> moderator lets us? --> take from the queue --nothing--> arm the doorbell
 *      | yes
 *   port.send --> reply: release what it acknowledges; nothing left: next batch
 *             --> time-out: the batch stays and is sent again; after the third in a row the reader
 * is disconnected, so that another can have the port
 *             --> disconnected: the batch stays for the next reader; this connection is not tried
 * again
 *
 * One message is in flight at a time. Its batch is a copy in `message`, taken out of the queue: the
 * queue may discard its oldest while a reader is slow, the batch in hand never changes. It leaves
 * only by a reply, so whatever happens to readers, records come at least once and in order.
 *
 * Layout of `message`: room for the header, then the records as the queue copied them. Where numbers are
 * missing the queue has put an EventsLost, to which the dispatcher adds time and identity. A partial
 * reply moves the start forward: the header then goes in front of the first record that is left.
 *
 * Threads: everything in struct wvu_dispatcher belongs to the dispatcher's thread, except `lock`
 * with what it guards (connected, generation, stopping: written by port and controller) and the
 * relaxed atomics (counters, timeout, last_progress, reader). `wake` is set by the queue's doorbell, by
 * connect, disconnect and stop; every one of these is state that is looked at again before
 * sleeping.
 *
 * Stop is bounded: the thread goes on sending for at most drain_ms, then the port is cancelled,
 * which ends a send that is under way.
 */
#include "dispatcher.h"

#include <string.h>

#include "atomic.h"
#include "log.h"
#include "moderator.h"
#include "record.h"

#define DISPATCHER_TAG WVU_TAG('W', 'v', 'D', 'i')
#define MS             UINT64_C(1000000)

/* A reader whose replies acknowledge nothing is asked again after a pause, not in a tight loop. */
#define NO_PROGRESS_PAUSE_NS (100 * MS)
/* "Lately" in wvu_dispatcher_should_hold: longer than any moderated round trip, shorter than a
 * stall that people would notice. */
#define PROGRESS_WINDOW_NS (500 * MS)

#define RECORDS_MAX (WVU_BATCH_MAX - (uint32_t)sizeof(struct wvu_batch))
_Static_assert(RECORDS_MAX >= WVU_RECORD_MAX + WVU_LOST_RECORD_MAX,
               "the largest record must fit a batch with an EventsLost");

struct wvu_dispatcher {
    struct wvu_dispatcher_settings settings;
    wvu_thread thread;
    bool started;
    wvu_event done; /* set by the thread when it ends */

    wvu_lock lock;
    bool connected;
    bool stopping;
    uint64_t generation; /* of the connection: raised by each connect */

    uint64_t refused;   /* the generation on which a send failed: not tried again */
    uint64_t drain_end; /* uptime; once stopping */
    uint32_t fruitless; /* sends in a row to this connection without an acknowledgement */
    uint64_t served;    /* the generation that `fruitless` counts for */
    struct wvu_moderator moderator;
    bool rung; /* woken from sleep, and no token was spent for it yet */
    bool more; /* the last take was cut short by the size of a batch: go on without asking */

    /* The batch in hand: `size` bytes at message + start; records == 0: none. */
    uint8_t *message;
    uint32_t start;
    uint32_t size;
    uint32_t records; /* in the batch */
    uint64_t last_sequence;
    uint32_t sends; /* of this batch */

    uint32_t send_timeout_ms; /* relaxed, like all below */
    uint32_t reader;          /* process id; 0: nobody, or not known */
    uint64_t last_progress;   /* uptime of the last acknowledgement or connect; 0: not connected */
    struct wvu_dispatcher_counters counters;
};

static struct wvu_batch *batch_of(struct wvu_dispatcher *d)
{
    return (struct wvu_batch *)(void *)(d->message + d->start);
}

static struct wvu_record *record_at(struct wvu_dispatcher *d, uint32_t offset)
{
    return (struct wvu_record *)(void *)(d->message + offset);
}

static void count(uint64_t *counter, uint64_t n)
{
    wvu_add64_relaxed(counter, n);
}

/* ---- EventsLost ----------------------------------------------------------------------------- */

/* What the queue does not write: it has no time to ask for the time. */
static void stamp(const struct wvu_dispatcher *d, struct wvu_record *record)
{
    record->time = wvu_os_system_time();
    record->uptime = wvu_os_uptime();
    memcpy(record->sensor_id, d->settings.sensor_id, sizeof record->sensor_id);
}

/* Losses without numbers that no gap will carry get a record of their own, at the queue's end. */
void wvu_dispatcher_tell_losses(struct wvu_dispatcher *d)
{
    struct wvu_record *record;
    if (wvu_queue_reserve_losses(d->settings.queue, &record) != WVU_STATUS_OK)
        return; /* nothing to tell, or no room now: the counts are kept */
    stamp(d, record);
    wvu_queue_commit(d->settings.queue, record);
}

/* The gaps in a batch that was just taken. */
static void complete_gaps(struct wvu_dispatcher *d, const struct wvu_batch_info *info)
{
    uint32_t offset = d->start + (uint32_t)sizeof(struct wvu_batch);
    uint64_t numbers = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    for (uint32_t gaps = 0; gaps < info->gaps; offset += record_at(d, offset)->size) {
        struct wvu_record *record = record_at(d, offset);
        if (wvu_record_is_numbered(record))
            continue;
        const struct wvu_events_lost *gap = (const struct wvu_events_lost *)(const void *)record;
        stamp(d, record);
        if (gaps++ == 0)
            first = gap->first_sequence;
        last = gap->last_sequence;
        numbers += gap->last_sequence - gap->first_sequence + 1;
    }
    if (numbers != 0)
        wvu_log_warning(
            WVU_LOG_QUEUE, "%llu of the events %llu to %llu were lost: the queue was full",
            (unsigned long long)numbers, (unsigned long long)first, (unsigned long long)last);
}

/* ---- the batch in hand ---------------------------------------------------------------------- */

/* The header in front of the first record; `start` is the header's place. */
static void write_header(struct wvu_dispatcher *d)
{
    struct wvu_batch *batch = batch_of(d);
    const struct wvu_record *first = record_at(d, d->start + (uint32_t)sizeof *batch);
    *batch = (struct wvu_batch){
        .version = WVU_PROTOCOL_VERSION,
        .header_size = sizeof *batch,
        .size = d->size,
        .record_count = d->records,
        .first_sequence = first->sequence,
        .last_sequence = d->last_sequence,
    };
    memcpy(batch->boot_id, d->settings.boot_id, sizeof batch->boot_id);
}

/* False when there is nothing to send. */
static bool take_batch(struct wvu_dispatcher *d)
{
    struct wvu_batch_info info;
    d->start = 0;
    wvu_dispatcher_tell_losses(d);
    if (wvu_queue_take(d->settings.queue, record_at(d, sizeof(struct wvu_batch)), RECORDS_MAX,
                       &info) != WVU_STATUS_OK) {
        d->more = false;
        return false;
    }
    d->records = info.records;
    d->last_sequence = info.last_sequence;
    d->size = (uint32_t)sizeof(struct wvu_batch) + info.bytes;
    d->sends = 0;
    d->more = info.bytes > RECORDS_MAX / 2;
    complete_gaps(d, &info);
    write_header(d);
    return true;
}

/* Where the records begin that are not acknowledged, in bytes and in records from the first. */
static uint32_t find_rest(struct wvu_dispatcher *d, uint32_t begin, uint64_t acknowledged,
                          uint32_t *records)
{
    const uint32_t end = d->start + d->size;
    uint32_t offset = begin;
    *records = d->records;
    if (acknowledged == d->last_sequence) /* as usual */
        return end;
    for (*records = 0; offset < end && record_at(d, offset)->sequence <= acknowledged; ++*records)
        offset += record_at(d, offset)->size;
    return offset;
}

/* Lets go of every record up to `acknowledged`. */
static void release(struct wvu_dispatcher *d, uint64_t acknowledged)
{
    const uint32_t begin = d->start + (uint32_t)sizeof(struct wvu_batch);
    uint32_t released;
    uint32_t rest = find_rest(d, begin, acknowledged, &released);
    wvu_queue_delivered(d->settings.queue, record_at(d, begin), rest - begin);
    d->records -= released;
    if (d->records != 0) {
        d->start += rest - begin;
        d->size -= rest - begin;
        write_header(d);
    } else {
        count(&d->counters.batches, 1);
    }
}

/* ---- connection ----------------------------------------------------------------------------- */

struct situation {
    bool usable; /* connected, and no send has failed on this connection */
    bool stopping;
    uint64_t generation;
};

static struct situation look(struct wvu_dispatcher *d)
{
    wvu_lock_acquire(&d->lock);
    struct situation now = {
        .usable = d->connected && d->generation != d->refused,
        .stopping = d->stopping,
        .generation = d->generation,
    };
    wvu_lock_release(&d->lock);
    if (now.usable && d->served != now.generation) {
        d->served = now.generation;
        d->fruitless = 0;
    }
    return now;
}

void wvu_dispatcher_connected(struct wvu_dispatcher *d)
{
    wvu_lock_acquire(&d->lock);
    d->connected = true;
    d->generation++;
    wvu_lock_release(&d->lock);
    count(&d->counters.connections, 1);
    wvu_store64_relaxed(&d->last_progress, wvu_os_uptime());
    wvu_event_set(d->settings.wake);
}

void wvu_dispatcher_disconnected(struct wvu_dispatcher *d)
{
    wvu_lock_acquire(&d->lock);
    d->connected = false;
    wvu_lock_release(&d->lock);
    wvu_store64_relaxed(&d->last_progress, 0);
    wvu_store_relaxed(&d->reader, 0);
    wvu_event_set(d->settings.wake);
}

void wvu_dispatcher_name_reader(struct wvu_dispatcher *d, uint32_t process_id)
{
    wvu_store_relaxed(&d->reader, process_id);
}

uint32_t wvu_dispatcher_reader(const struct wvu_dispatcher *d)
{
    return wvu_load_relaxed(&d->reader);
}

bool wvu_dispatcher_should_hold(struct wvu_dispatcher *d)
{
    uint64_t progress = wvu_load64_relaxed(&d->last_progress);
    return progress != 0 && wvu_os_uptime() - progress < PROGRESS_WINDOW_NS &&
           wvu_queue_nearly_full(d->settings.queue);
}

/* ---- one message ---------------------------------------------------------------------------- */

/* What the reply acknowledges; false when it is malformed. */
static bool parse_reply(const struct wvu_dispatcher *d, const struct wvu_reply *reply,
                        uint32_t size, uint64_t *acknowledged)
{
    if (size < sizeof *reply || reply->version != WVU_PROTOCOL_VERSION ||
        reply->size < sizeof *reply || reply->size > size || reply->acknowledged > d->last_sequence)
        return false;
    *acknowledged = reply->acknowledged;
    return true;
}

static void drop_reader(struct wvu_dispatcher *d, uint64_t generation, const char *why)
{
    wvu_log_warning(WVU_LOG_COMMS, "reader disconnected: %s", why);
    d->refused = generation;
    d->settings.port->operations->disconnect(d->settings.port);
}

/* A send that brought nothing forward. The third one in a row costs the reader its connection. */
static void count_fruitless(struct wvu_dispatcher *d, uint64_t generation, const char *why)
{
    if (++d->fruitless >= WVU_TIMEOUTS_BEFORE_DISCONNECT)
        drop_reader(d, generation, why);
}

static void handle_reply(struct wvu_dispatcher *d, uint64_t generation,
                         const struct wvu_reply *reply, uint32_t size, int32_t reader_status)
{
    uint64_t acknowledged;
    if (!parse_reply(d, reply, size, &acknowledged)) {
        count(&d->counters.bad_replies, 1);
        wvu_log_warning(WVU_LOG_COMMS, "malformed reply of %u bytes; the message is sent again",
                        size);
        count_fruitless(d, generation, "its replies are malformed");
        return;
    }
    if (reader_status != WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_COMMS, "the reader could not take a message: %s (0x%08x)",
                        wvu_strerror(reader_status), (unsigned)reader_status);

    uint32_t before = d->records;
    release(d, acknowledged);
    if (d->records < before) {
        d->fruitless = 0;
        wvu_store64_relaxed(&d->last_progress, wvu_os_uptime());
    } else {
        (void)wvu_event_wait(d->settings.wake, NO_PROGRESS_PAUSE_NS);
    }
}

static uint64_t send_timeout(struct wvu_dispatcher *d, bool stopping)
{
    uint64_t timeout = wvu_load_relaxed(&d->send_timeout_ms) * MS;
    if (stopping) {
        uint64_t now = wvu_os_uptime();
        uint64_t left = d->drain_end > now ? d->drain_end - now : 0;
        timeout = left < timeout ? left : timeout;
    }
    return timeout;
}

static void send_batch(struct wvu_dispatcher *d, struct situation now)
{
    struct wvu_reply reply;
    uint32_t reply_size = sizeof reply;
    int32_t reader_status = WVU_STATUS_OK;

    if (d->sends++ != 0) {
        batch_of(d)->flags |= WVU_BATCH_REDELIVERED;
        count(&d->counters.redelivered, d->records);
    }
    count(&d->counters.sends, 1);
    memset(&reply, 0, sizeof reply);
    wvu_status status = d->settings.port->operations->send(
        d->settings.port, d->message + d->start, d->size, &reply, &reply_size, &reader_status,
        send_timeout(d, now.stopping));

    switch (status) {
    case WVU_STATUS_OK:
        handle_reply(d, now.generation, &reply, reply_size, reader_status);
        break;
    case WVU_STATUS_TIMEOUT:
        count(&d->counters.timeouts, 1);
        wvu_log_warning(WVU_LOG_COMMS, "no reply in time; %u records are kept and sent again",
                        d->records);
        count_fruitless(d, now.generation, "it does not reply");
        break;
    case WVU_STATUS_DISCONNECTED:
    case WVU_STATUS_CANCELLED:
        d->refused = now.generation; /* until the port tells of the next connection */
        break;
    case WVU_STATUS_BAD_MESSAGE:
        count(&d->counters.bad_replies, 1);
        drop_reader(d, now.generation, "it floods the port with packets that are no replies");
        break;
    default:
        wvu_log_error(WVU_LOG_COMMS, "sending failed: %s (0x%08x)", wvu_strerror(status),
                      (unsigned)status);
        drop_reader(d, now.generation, "sending to it failed");
        break;
    }
}

/* ---- the thread ----------------------------------------------------------------------------- */

/* True when draining is over: time is up, nobody reads, or everything was told. */
static bool drained(struct wvu_dispatcher *d, struct situation now)
{
    if (!now.usable || wvu_os_uptime() >= d->drain_end)
        return true;
    return d->records == 0 && !take_batch(d);
}

/* Connected, nothing in hand: sleeps, waits for the moderator, or takes. A token is spent for each take,
 * and for each ring that brings nothing: while the oldest record is still being filled, every commit
 * behind it rings, and without that each would cost a wake. */
static void next_batch(struct wvu_dispatcher *d)
{
    if (d->more) {
        (void)take_batch(d);
        return;
    }
    bool nothing = wvu_queue_arm(d->settings.queue);
    if (nothing && !d->rung) {
        (void)wvu_event_wait(d->settings.wake, WVU_TIMEOUT_NONE);
        wvu_queue_disarm(d->settings.queue);
        d->rung = true;
        return;
    }
    wvu_queue_disarm(d->settings.queue);
    uint64_t delay = wvu_moderator_delay(&d->moderator, wvu_os_uptime());
    /* Letting records gather ends when they fill half of the queue: no burst is lost to waiting. */
    if (delay != 0 && (nothing || wvu_queue_arm_half_full(d->settings.queue))) {
        (void)wvu_event_wait(d->settings.wake, delay);
        wvu_queue_disarm(d->settings.queue);
        return;
    }
    d->rung = false;
    if (!nothing)
        (void)take_batch(d);
}

static void run(void *context)
{
    struct wvu_dispatcher *d = context;
    for (;;) {
        struct situation now = look(d);
        if (now.stopping) {
            if (drained(d, now))
                break;
            send_batch(d, now);
        } else if (!now.usable) {
            (void)wvu_event_wait(d->settings.wake, WVU_TIMEOUT_NONE);
        } else if (d->records != 0) {
            send_batch(d, now);
        } else {
            next_batch(d);
        }
    }
    wvu_event_set(&d->done);
}

/* ---- life ----------------------------------------------------------------------------------- */

wvu_status wvu_dispatcher_create(const struct wvu_dispatcher_settings *settings,
                                 struct wvu_dispatcher **out)
{
    *out = NULL;
    if (settings->send_timeout_ms < WVU_SEND_TIMEOUT_MS_MIN ||
        settings->send_timeout_ms > WVU_SEND_TIMEOUT_MS_MAX)
        return WVU_STATUS_INVALID_PARAMETER;

    struct wvu_dispatcher *d = wvu_os_alloc(sizeof *d, DISPATCHER_TAG);
    if (d == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_status status = WVU_STATUS_NO_MEMORY;
    d->message = wvu_os_alloc(WVU_BATCH_MAX, DISPATCHER_TAG);
    if (d->message == NULL)
        goto free_dispatcher;
    status = wvu_event_init(&d->done);
    if (status != WVU_STATUS_OK)
        goto free_message;
    wvu_lock_init(&d->lock);
    wvu_moderator_init(&d->moderator);
    d->settings = *settings;
    d->send_timeout_ms = settings->send_timeout_ms;
    *out = d;
    return WVU_STATUS_OK;

free_message:
    wvu_os_free(d->message, DISPATCHER_TAG);
free_dispatcher:
    wvu_os_free(d, DISPATCHER_TAG);
    return status;
}

wvu_status wvu_dispatcher_start(struct wvu_dispatcher *d)
{
    wvu_status status = wvu_thread_start(&d->thread, "wvu-dispatcher", run, d);
    d->started = status == WVU_STATUS_OK;
    return status;
}

void wvu_dispatcher_stop(struct wvu_dispatcher *d)
{
    if (!d->started)
        return;
    uint64_t drain = d->settings.drain_ms * MS;
    wvu_lock_acquire(&d->lock);
    d->drain_end = wvu_os_uptime() + drain;
    d->stopping = true;
    wvu_lock_release(&d->lock);
    wvu_event_set(d->settings.wake);

    if (wvu_event_wait(&d->done, drain) != WVU_STATUS_OK)
        d->settings.port->operations->cancel(d->settings.port);
    wvu_thread_join(&d->thread);
    d->started = false;
}

void wvu_dispatcher_destroy(struct wvu_dispatcher *d)
{
    if (d == NULL)
        return;
    wvu_event_destroy(&d->done);
    wvu_os_free(d->message, DISPATCHER_TAG);
    wvu_os_free(d, DISPATCHER_TAG);
}

void wvu_dispatcher_set_timeout(struct wvu_dispatcher *d, uint32_t send_timeout_ms)
{
    wvu_store_relaxed(&d->send_timeout_ms, send_timeout_ms);
}

void wvu_dispatcher_read_counters(struct wvu_dispatcher *d,
                                  struct wvu_dispatcher_counters *counters)
{
    *counters = (struct wvu_dispatcher_counters){
        .batches = wvu_load64_relaxed(&d->counters.batches),
        .sends = wvu_load64_relaxed(&d->counters.sends),
        .timeouts = wvu_load64_relaxed(&d->counters.timeouts),
        .bad_replies = wvu_load64_relaxed(&d->counters.bad_replies),
        .connections = wvu_load64_relaxed(&d->counters.connections),
        .redelivered = wvu_load64_relaxed(&d->counters.redelivered),
    };
}
