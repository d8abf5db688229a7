/*
 * Readers; see reader.h. A reader belongs to one thread; a stream to one reader at a time.
 *
 * Checked on every message: that wvu_check_message takes it; that it begins right behind what was
 * acknowledged, without a gap that EventsLost does not cover; that no record holds an address of the
 * kernel or of the driver; that its JSON is valid.
 */
#include "reader.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/support/json_valid.h"
#include "control.h"
#include "kernel.h"

#define PORT     "\\WVUPort"
#define SCAN_MAX 2048u
#define QUIET_NS 50000000u
#define POLL_NS  2000000u

NTSTATUS nt_reader_connect(struct nt_reader *reader, struct nt_stream *stream)
{
    *reader = (struct nt_reader){.stream = stream};
    NTSTATUS status = nt_connect(PORT, NULL, 0, &reader->client);
    if (status >= 0)
        reader->buffer = malloc(WVU_MESSAGE_MAX);
    return status;
}

/* ---- checks -------------------------------------------------------------------------------------- */

/* Kernel addresses must not leave the sensor: neither of objects, nor of pool, nor of the image. Only
 * aligned places: six bytes of a hash and two of zero beside it would now and then look like one. */
static void check_addresses(const struct wvu_record *record)
{
    const uint8_t *bytes = (const uint8_t *)record;
    size_t size = record->size < SCAN_MAX ? record->size : SCAN_MAX;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t value;
        memcpy(&value, bytes + i, sizeof value);
        nt_require(!nt_is_object(value) && !nt_pool_at(value) && !nt_image_was_here(value),
                   "event %llu of type 0x%x holds a kernel address at offset %zu",
                   (unsigned long long)record->sequence, record->type, i);
    }
}

static void check_json(const wvu_message *message, const struct wvu_record *record)
{
    static __thread char text[WVU_JSON_MAX];
    size_t length = wvu_json(message, record, text, sizeof text);
    nt_require(length < sizeof text && json_valid(text, length),
               "event %llu of type 0x%x gives no valid JSON", (unsigned long long)record->sequence,
               record->type);
}

static uint64_t first_of(const struct wvu_record *record)
{
    const struct wvu_events_lost *lost = (const void *)record;
    bool range = record->type == WVU_EVENT_EventsLost &&
                 (record->present & WVU_PRESENT(wvu_events_lost, FirstSequence)) != 0;
    return range ? lost->first_sequence : record->sequence;
}

static void count_losses(struct nt_stream *stream, const struct wvu_record *record)
{
    const struct wvu_events_lost *event = (const void *)record;
    size_t size;
    const struct wvu_loss *loss = wvu_text_bytes(record, &event->lost, &size);
    stream->lost += event->count;
    for (size_t i = 0; i < size / sizeof *loss; i++)
        stream->lost_by_type[loss[i].type < NT_LOSS_TYPES ? loss[i].type : 0] += loss[i].count;
}

static void take_record(struct nt_stream *stream, const wvu_message *message,
                        const struct wvu_record *record)
{
    if (record->sequence <= stream->seen) {
        stream->repeated++;
        return;
    }
    nt_require(first_of(record) == stream->seen + 1 || first_of(record) <= stream->acknowledged + 1,
               "event %llu comes after %llu: a gap", (unsigned long long)first_of(record),
               (unsigned long long)stream->seen);
    stream->seen = record->sequence;
    stream->records++;
    check_addresses(record);
    check_json(message, record);
    if (record->type == WVU_EVENT_EventsLost)
        count_losses(stream, record);
    stream->states += record->type == WVU_EVENT_ProbeStateChanged;
    if (record->type == WVU_EVENT_SensorStop)
        stream->stopped = true;
    if (stream->on_record != NULL)
        stream->on_record(stream->context, record);
}

static void check_boot(struct nt_stream *stream, const struct wvu_batch *batch)
{
    if (!stream->known) {
        memcpy(stream->boot_id, batch->boot_id, sizeof stream->boot_id);
        stream->known = true;
    }
    nt_require(memcmp(stream->boot_id, batch->boot_id, sizeof stream->boot_id) == 0,
               "the boot id changed");
}

static void take_message(struct nt_reader *reader)
{
    struct nt_stream *stream = reader->stream;
    const struct wvu_record *record = wvu_next(&reader->message, NULL);
    check_boot(stream, reader->message.batch);
    nt_require(first_of(record) == stream->acknowledged + 1,
               "a message begins with event %llu; acknowledged were those up to %llu",
               (unsigned long long)first_of(record), (unsigned long long)stream->acknowledged);
    for (; record != NULL; record = wvu_next(&reader->message, record))
        take_record(stream, &reader->message, record);
}

/* ---- messages ------------------------------------------------------------------------------------ */

NTSTATUS nt_reader_get(struct nt_reader *reader, uint64_t timeout_ns)
{
    uint32_t size;
    NTSTATUS status =
        nt_get_message(reader->client, reader->buffer, WVU_MESSAGE_MAX, &size, timeout_ns);
    if (status != STATUS_SUCCESS)
        return status;
    int checked = wvu_check_message(reader->buffer, size, &reader->message);
    nt_require(checked == 0, "a message of %u bytes is not one: %s", size, wvu_strerror(checked));
    reader->in_hand = true;
    take_message(reader);
    return STATUS_SUCCESS;
}

NTSTATUS nt_reader_reply(struct nt_reader *reader, uint64_t sequence)
{
    struct {
        struct wvu_reply_header header;
        struct wvu_reply reply;
    } message = {
        .header = {.message_id = reader->message.message_id},
        .reply = {.version = WVU_PROTOCOL_VERSION,
                  .size = sizeof(struct wvu_reply),
                  .acknowledged = sequence},
    };
    NTSTATUS status = nt_reply_message(reader->client, &message, sizeof message);
    reader->in_hand = false;
    if (status == STATUS_SUCCESS && sequence > reader->stream->acknowledged)
        reader->stream->acknowledged = sequence;
    return status;
}

NTSTATUS nt_reader_reply_all(struct nt_reader *reader)
{
    return nt_reader_reply(reader, reader->message.batch->last_sequence);
}

void nt_reader_disconnect(struct nt_reader *reader)
{
    if (reader->client != NULL)
        nt_disconnect(reader->client);
    free(reader->buffer);
    *reader = (struct nt_reader){.stream = reader->stream};
}

void nt_reader_drain(struct nt_reader *reader, uint64_t quiet_ns)
{
    while (nt_reader_get(reader, quiet_ns) == STATUS_SUCCESS)
        (void)nt_reader_reply_all(reader);
}

bool nt_reader_until(struct nt_reader *reader, bool (*enough)(void *context), void *context)
{
    uint64_t deadline = nt_now() + NT_PATIENCE_NS;
    while (!enough(context) && nt_now() < deadline) {
        NTSTATUS status = nt_reader_get(reader, POLL_NS);
        if (status == STATUS_SUCCESS)
            (void)nt_reader_reply_all(reader);
        else if (status != STATUS_TIMEOUT)
            break;
    }
    return enough(context);
}

struct mark {
    const struct nt_stream *stream;
    uint64_t sequence;
};

static bool is_past(void *context)
{
    const struct mark *mark = context;
    return mark->stream->seen >= mark->sequence;
}

bool nt_reader_try_up_to_now(struct nt_reader *reader)
{
    struct wvu_statistics statistics;
    uint32_t size;
    wvu_status status =
        nt_control(WVU_COMMAND_GET_STATISTICS, NULL, NULL, &statistics, sizeof statistics, &size);
    nt_require(status == WVU_STATUS_OK && size == sizeof statistics, "statistics: 0x%08x",
               (unsigned)status);
    struct mark mark = {reader->stream, statistics.accepted};
    return nt_reader_until(reader, is_past, &mark);
}

void nt_reader_up_to_now(struct nt_reader *reader)
{
    nt_require(nt_reader_try_up_to_now(reader), "not all events come");
}

void nt_reader_past_start(struct nt_reader *reader)
{
    nt_reader_up_to_now(reader); /* DriverEntry has returned: all is told */
    nt_require(reader->stream->states != 0, "the driver does not tell that its probes started");
}

/* ---- a reader in a thread ------------------------------------------------------------------------ */

struct nt_reader_thread {
    struct nt_stream *stream;
    struct nt_runner *runner;
    struct nt_process *process;
    atomic_bool stop;
};

/* After the wish to stop, until nothing came for a while. */
static void read_all(struct nt_reader_thread *thread, struct nt_reader *reader)
{
    for (;;) {
        bool stop = thread->stop;
        NTSTATUS status = nt_reader_get(reader, stop ? QUIET_NS : POLL_NS);
        if (status == STATUS_SUCCESS)
            (void)nt_reader_reply_all(reader);
        else if (stop || status != STATUS_TIMEOUT)
            return;
    }
}

static void run_reader(void *context)
{
    struct nt_reader_thread *thread = context;
    struct nt_reader reader;
    do {
        if (nt_reader_connect(&reader, thread->stream) >= 0) {
            read_all(thread, &reader);
            nt_reader_disconnect(&reader);
        }
    } while (!thread->stop);
}

struct nt_reader_thread *nt_reader_thread_start(struct nt_stream *stream)
{
    static _Atomic uint64_t next_id = 500;
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 1001}};
    struct nt_reader_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL)
        abort();
    const struct nt_process_plan plan = {
        .id = atomic_fetch_add(&next_id, 4), .user = &user, .administrator = true};
    thread->stream = stream;
    thread->process = nt_process_new(&plan);
    thread->runner = nt_run_thread("reader", thread->process, run_reader, thread);
    return thread;
}

void nt_reader_thread_stop(struct nt_reader_thread *thread)
{
    thread->stop = true;
    nt_join_thread(thread->runner);
    nt_process_release(thread->process);
    free(thread);
}
