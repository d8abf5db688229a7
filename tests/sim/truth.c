/*
 * The truth of a simulated run. Called by producers and by the port; the scheduler orders the calls, there
 * is no lock.
 *
 * What must hold of the messages, taken one after another over all connections:
 *   - each begins right after what was acknowledged last (so nothing acknowledged comes again, and all
 *     that is not acknowledged does, in order), and its numbers have no gap, but for the ranges that
 *     an EventsLost covers;
 *   - a record that comes again is the same to the last byte;
 *   - a producer's record holds what that producer wrote, and zeros wherever nobody wrote;
 *   - an EventsLost counts, by type, exactly the events that were given its numbers; gaps do not touch;
 *   - an event of a guaranteed kind is lost only when younger ones fill its share of the queue.
 */
#include "truth.h"

#include <stdlib.h>
#include <string.h>

#include "os_sim.h"

#define check(condition, ...) wvu_sim_check(condition, __VA_ARGS__)
#define ULL(value)            ((unsigned long long)(value))

void truth_init(struct truth *truth)
{
    memset(truth, 0, sizeof(*truth));
    truth->events = calloc(TRUTH_EVENTS_MAX, sizeof(*truth->events));
    check(truth->events != NULL, "the machine itself has no memory");
}

void truth_destroy(struct truth *truth)
{
    free(truth->events);
    truth->events = NULL;
}

uint16_t truth_type(enum event_shape shape)
{
    static const uint16_t types[SHAPES] = {
        [SHAPE_BARE] = BARE_TYPE,
        [SHAPE_DESTROY] = WVU_EVENT_ProcessDestroy,
        [SHAPE_IMAGE] = WVU_EVENT_ImageLoad,
        [SHAPE_CREATE] = WVU_EVENT_ProcessCreate,
    };
    return types[shape];
}

uint8_t truth_text_byte(const struct truth_event *event, uint32_t text, uint32_t index)
{
    return (uint8_t)(index * 31u + (index >> 8) * 7u + text * 101u + event->producer * 57u +
                     (uint32_t)event->serial * 13u + 1u);
}

struct truth_event *truth_accepted(struct truth *truth, uint64_t sequence)
{
    struct truth_event *event;

    check(sequence != 0 && sequence < TRUTH_EVENTS_MAX, "number %llu was given", ULL(sequence));
    event = &truth->events[sequence];
    check(!event->known, "number %llu was given twice", ULL(sequence));
    event->known = true;
    if (sequence > truth->accepted)
        truth->accepted = sequence;
    return event;
}

void truth_not_numbered(struct truth *truth, uint16_t cause, uint16_t type, uint64_t count)
{
    truth->counted[cause][wvu_event_index(type)] += count;
}

/* ---- one record -------------------------------------------------------------------------------------- */

/* FNV-1a; never 0. */
static uint64_t hash_of(const uint8_t *bytes, uint32_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (uint32_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash | 1;
}

static void check_zero(const struct wvu_record *record, uint32_t from, uint32_t to)
{
    const uint8_t *bytes = (const uint8_t *)record;

    for (uint32_t i = from; i < to; i++)
        check(bytes[i] == 0, "record %llu: byte %u, which nobody wrote, is 0x%02x",
              ULL(record->sequence), i, bytes[i]);
}

/* A text is what its producer had: all of it, or its beginning and its end. Returns where it ends. */
static uint32_t check_text(const struct wvu_record *record, const struct truth_event *event,
                           uint32_t number, struct wvu_text text, uint32_t unit, uint32_t free_from)
{
    const uint8_t *bytes = (const uint8_t *)record + text.offset;
    uint32_t full = event->text_size[number];
    uint64_t sequence = record->sequence;

    check(text.full_size == full && text.reserved == 0,
          "record %llu: text %u has full size %u of %u", ULL(sequence), number, text.full_size,
          full);
    check(text.size <= full && text.head <= text.size, "record %llu: text %u has %u bytes, head %u",
          ULL(sequence), number, text.size, text.head);
    check(text.size == full || (record->flags & WVU_RECORD_CUT) != 0,
          "record %llu: text %u is cut, and the record does not say so", ULL(sequence), number);
    check(text.size % unit == 0 && text.head % unit == 0, "record %llu: text %u is cut in a unit",
          ULL(sequence), number);
    if (text.size == 0) {
        check(text.offset == 0, "record %llu: an empty text has an offset", ULL(sequence));
        return free_from;
    }
    check(text.offset >= free_from && text.offset % unit == 0 &&
              (uint32_t)text.offset + text.size <= record->size,
          "record %llu: text %u is at %u", ULL(sequence), number, text.offset);
    check_zero(record, free_from, text.offset);
    for (uint32_t i = 0; i < text.size; i++) {
        uint32_t original = i < text.head ? i : full - text.size + i;

        check(bytes[i] == truth_text_byte(event, number, original),
              "record %llu: byte %u of text %u is wrong", ULL(sequence), i, number);
    }
    return (uint32_t)text.offset + text.size;
}

/* Every byte of the record, against what its producer wrote (kernel.c, fill). */
static void check_event(struct truth *truth, const struct wvu_record *record,
                        const struct truth_event *event)
{
    uint64_t sequence = record->sequence;
    uint32_t end;

    check(event->committed, "record %llu is sent before it was committed", ULL(sequence));
    check(record->type == truth_type((enum event_shape)event->shape), "record %llu has type 0x%04x",
          ULL(sequence), record->type);
    check(record->time == event->stamp.time && record->uptime == event->stamp.uptime,
          "record %llu has another time", ULL(sequence));
    check(record->process_key == event->serial && record->process_id == event->producer,
          "record %llu is not what producer %u wrote as its %llu", ULL(sequence), event->producer,
          ULL(event->serial));
    check(record->present == 1 && record->reserved == 0, "record %llu has another header",
          ULL(sequence));
    switch (event->shape) {
    case SHAPE_BARE:
        check(record->fixed_size == sizeof(*record), "record %llu: fixed size", ULL(sequence));
        end = sizeof(*record);
        break;
    case SHAPE_DESTROY: {
        struct wvu_process_destroy expected = {.record = *record,
                                               .eprocess = ~event->serial,
                                               .exit_code = event->producer,
                                               .signal = 9};
        check(memcmp(record, &expected, sizeof(expected)) == 0, "record %llu: fields",
              ULL(sequence));
        end = sizeof(expected);
        break;
    }
    case SHAPE_IMAGE: {
        const struct wvu_image_load *image = (const struct wvu_image_load *)(const void *)record;
        struct wvu_image_load expected = {.record = *record,
                                          .image_base = ~event->serial,
                                          .machine_type = event->producer,
                                          .full_image_name = image->full_image_name,
                                          .build_id = image->build_id};
        check(memcmp(record, &expected, sizeof(expected)) == 0, "record %llu: fields",
              ULL(sequence));
        end = check_text(record, event, 0, image->full_image_name, 1, sizeof(expected));
        end = check_text(record, event, 1, image->build_id, 1, end);
        break;
    }
    default: {
        const struct wvu_process_create *create =
            (const struct wvu_process_create *)(const void *)record;
        struct wvu_process_create expected = {.record = *record,
                                              .parent_process_key = ~event->serial,
                                              .unique_thread = event->producer,
                                              .image_file_name = create->image_file_name,
                                              .command_line = create->command_line};
        check(memcmp(record, &expected, sizeof(expected)) == 0, "record %llu: fields",
              ULL(sequence));
        end = check_text(record, event, 0, create->image_file_name, 1, sizeof(expected));
        end = check_text(record, event, 1, create->command_line, 2, end);
        break;
    }
    }
    check(record->size - end < 8 + 8, "record %llu: %u bytes for nothing", ULL(sequence),
          record->size - end);
    check_zero(record, end, record->size);
    if ((record->flags & WVU_RECORD_CUT) != 0)
        truth->cut++;
}

static bool is_guaranteed(const struct truth_event *event)
{
    return !event->known || wvu_event_is_guaranteed(truth_type((enum event_shape)event->shape));
}

/* An event of a guaranteed kind was lost: so it was pushed out of the reserve by younger ones. What they take
 * there at most, each with a gap in front of it, and a pad, must be more than there is. */
static void check_share(const struct truth *truth, uint64_t lost)
{
    const uint64_t largest_own = 4096; /* no event of the sensor itself is larger */
    const uint64_t largest_gap = sizeof(struct wvu_events_lost) + 40 * sizeof(struct wvu_loss);
    struct wvu_queue_counters counters;
    uint64_t records = 0;
    uint64_t bytes = 0;
    uint64_t pad = 0;

    wvu_queue_read_counters(truth->queue, &counters);
    for (uint64_t s = lost; s <= counters.accepted; s++) {
        const struct truth_event *event = &truth->events[s];
        uint64_t size = event->known ? event->size : largest_own;

        if (!is_guaranteed(event))
            continue;
        size += largest_gap + 16;
        bytes += size;
        pad = size > pad ? size : pad;
        records += s != lost;
    }
    check(records >= truth->queue_records / 4 || bytes + pad > truth->queue_bytes / 4,
          "number %llu is lost, although only %llu events of its kind came later, of %llu bytes",
          ULL(lost), ULL(records), ULL(bytes));
}

/* Adds an EventsLost to what was told. Returns the first number it covers (0: none). */
static uint64_t hear_losses(struct truth *truth, const struct wvu_record *record, bool again)
{
    const struct wvu_events_lost *lost = (const struct wvu_events_lost *)(const void *)record;
    uint64_t full[WVU_EVENT_KINDS] = {0}; /* QUEUE_FULL, by type */
    uint64_t expected[WVU_EVENT_KINDS] = {0};
    uint64_t sum = 0;
    uint64_t own = 0;
    uint64_t told_own = 0;
    const uint64_t range_bits =
        WVU_PRESENT(wvu_events_lost, FirstSequence) | WVU_PRESENT(wvu_events_lost, LastSequence);
    bool range = (record->present & range_bits) == range_bits;

    check(range || (record->present & range_bits) == 0, "half a range in record %llu",
          ULL(record->sequence));
    check(lost->lost.offset == sizeof(*lost) && lost->lost.size % sizeof(struct wvu_loss) == 0 &&
              lost->lost.size == lost->lost.full_size && lost->lost.size != 0 &&
              sizeof(*lost) + lost->lost.size == record->size && lost->reserved == 0,
          "EventsLost %llu: its list has %u bytes at %u", ULL(record->sequence), lost->lost.size,
          lost->lost.offset);
    for (uint32_t at = lost->lost.offset; at < record->size;
         at += (uint32_t)sizeof(struct wvu_loss)) {
        struct wvu_loss loss;

        memcpy(&loss, (const uint8_t *)record + at, sizeof(loss));
        check(loss.cause < WVU_LOSS_CAUSES && loss.reserved == 0 && loss.count != 0,
              "EventsLost %llu: cause %u, count %llu", ULL(record->sequence), loss.cause,
              ULL(loss.count));
        sum += loss.count;
        if (loss.cause == WVU_LOSS_QUEUE_FULL)
            full[wvu_event_index(loss.type)] += loss.count;
        if (!again)
            truth->told[loss.cause][wvu_event_index(loss.type)] += loss.count;
    }
    check(sum == lost->count, "EventsLost %llu: its list adds up to %llu, not %llu",
          ULL(record->sequence), ULL(sum), ULL(lost->count));
    if (!range) {
        for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++)
            check(full[kind] == 0, "EventsLost %llu: numbered losses without numbers",
                  ULL(record->sequence));
        return 0;
    }
    check(lost->last_sequence == record->sequence && lost->first_sequence != 0 &&
              lost->first_sequence <= lost->last_sequence && lost->last_sequence < TRUTH_EVENTS_MAX,
          "EventsLost %llu covers %llu to %llu", ULL(record->sequence), ULL(lost->first_sequence),
          ULL(lost->last_sequence));
    for (uint64_t s = lost->first_sequence; s <= lost->last_sequence; s++) {
        const struct truth_event *event = &truth->events[s];

        check(event->hash == 0 || again, "number %llu was sent, and now counts as lost", ULL(s));
        if (!again && is_guaranteed(event))
            check_share(truth, s);
        if (event->known)
            expected[wvu_event_index(truth_type((enum event_shape)event->shape))]++;
        else
            own++;
    }
    for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++) {
        if ((wvu_event_type_at(kind) & 0x2000) == 0)
            check(full[kind] == expected[kind],
                  "EventsLost %llu: %llu events of kind %u, but %llu were lost",
                  ULL(record->sequence), ULL(full[kind]), kind, ULL(expected[kind]));
        else
            told_own += full[kind];
    }
    check(told_own == own, "EventsLost %llu: %llu of the sensor's own events, but %llu were lost",
          ULL(record->sequence), ULL(told_own), ULL(own));
    if (!again)
        truth->told_lost += lost->last_sequence - lost->first_sequence + 1;
    return lost->first_sequence;
}

static void check_own_event(struct truth *truth, const struct wvu_record *record)
{
    uint64_t sequence = record->sequence;

    switch (record->type) {
    case WVU_EVENT_SensorStart:
        check(sequence == 1, "SensorStart has number %llu", ULL(sequence));
        break;
    case WVU_EVENT_SensorStop:
        check(truth->stop_sequence == 0 || truth->stop_sequence == sequence, "a second SensorStop");
        truth->stop_sequence = sequence;
        break;
    case WVU_EVENT_ProbeStateChanged:
    case WVU_EVENT_EventsLost:
        break;
    default:
        wvu_sim_fail("record %llu of type 0x%04x is from nobody", ULL(sequence), record->type);
    }
}

/* ---- messages and replies ------------------------------------------------------------------------------ */

/* Returns the next expected number. */
static uint64_t check_record(struct truth *truth, const struct wvu_record *record,
                             uint64_t expected)
{
    uint64_t sequence = record->sequence;
    uint64_t first = sequence;
    bool again = sequence <= truth->sent_through;
    uint64_t hash = hash_of((const uint8_t *)record, record->size);

    check(sequence < TRUTH_EVENTS_MAX, "number %llu is in a message", ULL(sequence));
    if (record->type == WVU_EVENT_EventsLost) {
        uint64_t range = hear_losses(truth, record, again);

        if (range != 0) {
            first = range;
            truth->events[sequence].range = true;
        }
    } else if (truth->events[sequence].known) {
        check_event(truth, record, &truth->events[sequence]);
    } else {
        check_own_event(truth, record);
    }
    check(first == expected, "number %llu comes where %llu must", ULL(first), ULL(expected));
    check(truth->events[sequence].hash == 0 || truth->events[sequence].hash == hash,
          "record %llu is not what it was when it was sent before", ULL(sequence));
    check((truth->events[sequence].hash != 0) == again, "record %llu: sent before or not?",
          ULL(sequence));
    check(truth->stop_sequence == 0 || sequence <= truth->stop_sequence,
          "number %llu comes after SensorStop", ULL(sequence));
    truth->events[sequence].hash = hash;
    truth->redelivered_records += again;
    return sequence + 1;
}

void truth_message(struct truth *truth, const void *message, uint32_t size)
{
    const struct wvu_batch *batch = message;
    uint64_t expected = truth->cursor + 1;
    uint64_t sent_before = truth->sent_through;
    uint64_t last = 0;
    uint32_t records = 0;
    uint32_t at = sizeof(*batch);
    bool gap_before = false;

    check(size > sizeof(*batch) && size <= WVU_BATCH_MAX, "a message of %u bytes", size);
    check(batch->version == WVU_PROTOCOL_VERSION && batch->header_size == sizeof(*batch) &&
              batch->size == size,
          "version %u, header %u, size %u of %u", batch->version, batch->header_size, batch->size,
          size);
    check(memcmp(batch->boot_id, truth->boot_id, sizeof(batch->boot_id)) == 0,
          "a message has another boot id");
    while (at < size) {
        const struct wvu_record *record =
            (const struct wvu_record *)(const void *)((const uint8_t *)message + at);

        check(size - at >= sizeof(*record) && record->size >= sizeof(*record) &&
                  record->size % 8 == 0 && record->size <= size - at,
              "a record of %u bytes where %u are left", record->size, size - at);
        expected = check_record(truth, record, expected);
        check(!gap_before || wvu_record_is_numbered(record), "two gaps meet at %llu",
              ULL(record->sequence));
        gap_before = !wvu_record_is_numbered(record);
        truth->kept += gap_before && records != 0;
        if (records++ == 0)
            truth->message_first = record->sequence;
        last = record->sequence;
        at += record->size;
    }
    if (last > truth->sent_through)
        truth->sent_through = last;
    truth->message_last = last;
    truth->messages++;
    check(records == batch->record_count && batch->last_sequence == last &&
              batch->first_sequence == truth->message_first,
          "the header says %u records, %llu to %llu; there are %u, %llu to %llu",
          batch->record_count, ULL(batch->first_sequence), ULL(batch->last_sequence), records,
          ULL(truth->message_first), ULL(last));
    check(((batch->flags & WVU_BATCH_REDELIVERED) != 0) == (truth->message_first <= sent_before),
          "the redelivery flag of %llu to %llu is wrong", ULL(truth->message_first), ULL(last));
    wvu_sim_trace("message %llu to %llu, %u bytes%s", ULL(truth->message_first), ULL(last), size,
                  batch->flags != 0 ? ", again" : "");
}

/* The dispatcher is about to see this reply: what must it let go of? */
void truth_reply(struct truth *truth, const void *bytes, uint32_t size)
{
    struct wvu_reply reply = {0};
    uint64_t before = truth->cursor;

    memcpy(&reply, bytes, size < sizeof(reply) ? size : sizeof(reply));
    if (size < sizeof(reply) || reply.version != WVU_PROTOCOL_VERSION ||
        reply.size < sizeof(reply) || reply.size > size || reply.acknowledged > truth->message_last)
        return;
    for (uint64_t s = truth->cursor + 1; s <= reply.acknowledged; s++) {
        const struct truth_event *event = &truth->events[s];

        if (event->hash == 0)
            continue; /* within a range; the EventsLost itself stands at its end */
        truth->cursor = s;
    }
    truth->fruitless += truth->cursor == before;
    wvu_sim_trace("reply: up to %llu", ULL(reply.acknowledged));
}

/* ---- counters --------------------------------------------------------------------------------------------- */

void truth_identity(const struct wvu_queue_counters *c)
{
    check(c->accepted == c->delivered + c->lost + c->queued + c->in_flight,
          "accepted %llu = delivered %llu + lost %llu + queued %llu + in flight %llu does not hold",
          ULL(c->accepted), ULL(c->delivered), ULL(c->lost), ULL(c->queued), ULL(c->in_flight));
}

/* Records that were acknowledged. Those that stand for a range were never the queue's. */
static uint64_t delivered_records(const struct truth *truth)
{
    uint64_t delivered = 0;

    for (uint64_t s = 1; s <= truth->cursor; s++)
        delivered += truth->events[s].hash != 0 && !truth->events[s].range;
    return delivered;
}

void truth_end(const struct truth *truth, const struct wvu_queue_counters *c, bool drained)
{
    uint64_t delivered = delivered_records(truth);
    uint64_t told_without_number = 0;

    truth_identity(c);
    check(c->delivered == delivered, "the queue counts %llu as delivered, the reader %llu",
          ULL(c->delivered), ULL(delivered));
    check(truth->accepted <= c->accepted, "a producer has number %llu of %llu",
          ULL(truth->accepted), ULL(c->accepted));
    check(truth->told_lost <= c->lost, "%llu numbers were told as lost, %llu are",
          ULL(truth->told_lost), ULL(c->lost));
    for (uint32_t cause = 0; cause < WVU_LOSS_CAUSES; cause++) {
        for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++) {
            uint64_t told = truth->told[cause][kind];
            uint64_t counted = truth->counted[cause][kind];
            bool own = (wvu_event_type_at(kind) & 0x2000) != 0;

            if (cause == WVU_LOSS_QUEUE_FULL)
                continue;
            told_without_number += told;
            check(own || told <= counted, "%llu losses of cause %u and kind %u were told of %llu",
                  ULL(told), cause, kind, ULL(counted));
            check(!drained || own || told == counted,
                  "only %llu losses of cause %u and kind %u were told of %llu", ULL(told), cause,
                  kind, ULL(counted));
        }
    }
    if (!drained)
        return;
    check(truth->cursor == c->accepted, "drained, but only %llu of %llu were acknowledged",
          ULL(truth->cursor), ULL(c->accepted));
    check(c->queued == 0 && c->in_flight == 0 && truth->told_lost == c->lost,
          "drained, but %llu are queued, %llu in flight, and %llu of %llu losses were told",
          ULL(c->queued), ULL(c->in_flight), ULL(truth->told_lost), ULL(c->lost));
    check(told_without_number == c->unnumbered, "%llu of %llu losses without a number were told",
          ULL(told_without_number), ULL(c->unnumbered));
}
