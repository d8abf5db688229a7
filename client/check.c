/*
 * Is this a message? wvu_check (wvu_check_message, with the header before the batch) looks at bytes from outside as a whole, once, before anybody uses them;
 * everything behind it (wvu_next, wvu_json, programs that read the structures) relies on what it found:
 *
 *   - the batch's sizes agree with what is there; the records fill it exactly, as many as it says;
 *   - every record is 8-byte aligned, a whole number of 8 bytes, and holds at least its header;
 *   - sequences ascend, begin with first_sequence and end with last_sequence; 0 is none;
 *   - for events in the table: a present field lies in the fixed part; a text lies behind it and
 *     inside the record; head <= size <= full_size; a cut text is flagged; the texts together are not
 *     larger than the room behind the fixed part (this bounds the length of the JSON); a list of
 *     losses is aligned and has no half entry.
 *
 * Events that are not in the table and fields beyond it come from newer sensors and are accepted. All
 * arithmetic is done in size_t on numbers of at most 32 bits that were compared with the size before.
 * Any thread; no state.
 */
#include "events.h"

#include <string.h>

#include "winvirtue/winvirtue.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error                                                                                             \
    "the wire is little-endian and read in place: this machine needs conversions that are not there"
#endif

_Static_assert(sizeof(size_t) >= sizeof(uint32_t), "sizes from the wire fit size_t");

static bool text_is_sound(const struct wvu_record *record, const struct wvu_text *text,
                          unsigned kind)
{
    bool cut = text->full_size > text->size;
    if (text->head > text->size || text->full_size < text->size)
        return false;
    if (cut ? (record->flags & WVU_RECORD_CUT) == 0 : text->head != text->size)
        return false;
    if (text->size == 0)
        return text->offset <= record->size;
    if (text->offset < record->fixed_size || (size_t)text->offset + text->size > record->size)
        return false;
    return kind != WVU_KIND_LOSSES ||
           (text->offset % 8 == 0 && text->size % sizeof(struct wvu_loss) == 0);
}

static bool fields_are_sound(const struct wvu_record *record, const struct wvu_event *event)
{
    size_t texts = 0;
    for (unsigned i = 0; i < event->field_count; i++) {
        const struct wvu_field *field = &event->fields[i];
        if (field->offset + wvu_kind_size(field->kind) > record->fixed_size) {
            /* The sender did not know this field, so it cannot say that it has a value. */
            if ((record->present >> i & 1) != 0)
                return false;
        } else if (wvu_kind_is_text(field->kind)) {
            struct wvu_text text;
            memcpy(&text, (const char *)record + field->offset, sizeof text);
            if (!text_is_sound(record, &text, field->kind))
                return false;
            texts += text.size;
        }
    }
    return texts <= (size_t)record->size - record->fixed_size;
}

/* `room`: what is left of the batch from here on. */
static bool record_is_sound(const struct wvu_record *record, size_t room)
{
    if (room < sizeof *record || record->size < sizeof *record || record->size > room ||
        record->size > WVU_RECORD_MAX || record->size % 8 != 0)
        return false;
    if (record->fixed_size < sizeof *record || record->fixed_size > record->size)
        return false;
    const struct wvu_event *event = wvu_event_find(record->type);
    return event == NULL || fields_are_sound(record, event);
}

static bool records_are_sound(const struct wvu_batch *batch)
{
    const char *at = (const char *)batch + batch->header_size;
    size_t room = (size_t)batch->size - batch->header_size;
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < batch->record_count; i++) {
        const struct wvu_record *record = (const void *)at;
        if (!record_is_sound(record, room) || record->sequence <= sequence)
            return false;
        if (i == 0 && record->sequence != batch->first_sequence)
            return false;
        sequence = record->sequence;
        at += record->size;
        room -= record->size;
    }
    return room == 0 && sequence == batch->last_sequence;
}

int wvu_check(const void *bytes, size_t size, wvu_message *message)
{
    const struct wvu_batch *batch = bytes;
    *message = (wvu_message){.batch = NULL};
    if (bytes == NULL || (uintptr_t)bytes % 8 != 0)
        return WVU_STATUS_INVALID_PARAMETER;
    if (size < sizeof batch->version)
        return WVU_STATUS_BAD_MESSAGE;
    if (batch->version != WVU_PROTOCOL_VERSION)
        return WVU_STATUS_VERSION_MISMATCH;
    if (size < sizeof *batch || size > WVU_BATCH_MAX || batch->size != size)
        return WVU_STATUS_BAD_MESSAGE;
    if (batch->header_size < sizeof *batch || batch->header_size > size ||
        batch->header_size % 8 != 0)
        return WVU_STATUS_BAD_MESSAGE;
    if (batch->record_count == 0 || !records_are_sound(batch))
        return WVU_STATUS_BAD_MESSAGE;
    message->batch = batch;
    return WVU_STATUS_OK;
}

int wvu_check_message(const void *bytes, size_t size, wvu_message *message)
{
    const struct wvu_message_header *header = bytes;
    *message = (wvu_message){.batch = NULL};
    if (bytes == NULL || (uintptr_t)bytes % 8 != 0)
        return WVU_STATUS_INVALID_PARAMETER;
    if (size < sizeof *header ||
        header->reply_length < sizeof(struct wvu_reply_header) + sizeof(struct wvu_reply))
        return WVU_STATUS_BAD_MESSAGE;
    int status = wvu_check(header + 1, size - sizeof *header, message);
    if (status != WVU_STATUS_OK)
        return status;
    message->header = header;
    message->message_id = header->message_id;
    return WVU_STATUS_OK;
}
