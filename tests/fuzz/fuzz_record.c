/*
 * Fuzzes what decodes records: wvu_check, wvu_next, wvu_json. Whatever the bytes are, they are refused, or
 * all of them can be read and become valid JSON of a length that does not depend on the buffer.
 *
 * The first byte of the input chooses how much is repaired before the check, since bytes that are merely
 * changed rarely have sizes that agree: 0 nothing; odd numbers the batch; others batch and records too, down
 * to the text descriptors. The batch stands in memory of exactly its size.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "support/json_valid.h"
#include "support/message_builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char json[WVU_JSON_MAX];

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- repairs --------------------------------------------------------------------------------------------- */

static void repair_texts(struct wvu_record *record, const struct wvu_event *event)
{
    size_t left = (size_t)record->size - record->fixed_size;
    for (unsigned i = 0; i < event->field_count; i++) {
        const struct wvu_field *field = &event->fields[i];
        if (field->offset + wvu_kind_size(field->kind) > record->fixed_size) {
            record->present &= ~(UINT64_C(1) << i);
            continue;
        }
        if (!wvu_kind_is_text(field->kind))
            continue;
        struct wvu_text text;
        memcpy(&text, (char *)record + field->offset, sizeof text);
        text.size = (uint16_t)(left != 0 ? text.size % (left + 1) : 0);
        size_t places = (size_t)record->size - record->fixed_size - text.size + 1;
        text.offset = (uint16_t)(record->fixed_size + text.offset % places);
        if (field->kind == WVU_KIND_LOSSES) {
            text.offset = (uint16_t)((record->fixed_size + 7) / 8 * 8);
            text.size = (uint16_t)(text.size / 16 * 16);
            if ((size_t)text.offset + text.size > record->size)
                text.size = 0;
        }
        if (text.full_size > text.size && (record->flags & WVU_RECORD_CUT) != 0) {
            text.head = (uint16_t)(text.head % (text.size + 1u));
        } else {
            text.head = text.size;
            text.full_size = text.size;
        }
        left -= text.size;
        memcpy((char *)record + field->offset, &text, sizeof text);
    }
}

static void repair_records(struct wvu_batch *batch)
{
    uint32_t at = batch->header_size;
    uint64_t sequence = 0;
    batch->record_count = 0;
    while (batch->size - at >= sizeof(struct wvu_record)) {
        struct wvu_record *record = (void *)((char *)batch + at);
        uint32_t room = (batch->size - at) / 8 * 8;
        uint32_t most = room < WVU_RECORD_MAX ? room : WVU_RECORD_MAX;
        if (record->size < sizeof *record || record->size > most || record->size % 8 != 0)
            record->size = most;
        if (room - record->size < sizeof *record && room <= WVU_RECORD_MAX)
            record->size = room;
        if (record->fixed_size < sizeof *record || record->fixed_size > record->size)
            record->fixed_size = (uint16_t)(record->size < 232 ? record->size / 8 * 8 : 232);
        if (record->sequence <= sequence)
            record->sequence = sequence + 1;
        sequence = record->sequence;
        if (batch->record_count++ == 0)
            batch->first_sequence = sequence;
        batch->last_sequence = sequence;
        const struct wvu_event *event = wvu_event_find(record->type);
        if (event != NULL)
            repair_texts(record, event);
        at += record->size;
        if (sequence == UINT64_MAX)
            break;
    }
}

static void repair(struct wvu_batch *batch, size_t size, uint8_t how)
{
    if (how == 0 || size < sizeof *batch)
        return;
    batch->version = WVU_PROTOCOL_VERSION;
    batch->size = (uint32_t)size;
    batch->header_size = sizeof *batch;
    if (how % 2 == 0)
        repair_records(batch);
}

/* ---- what is checked ---------------------------------------------------------------------------------------- */

static void read_record(const wvu_message *message, const struct wvu_record *record)
{
    size_t length = wvu_json(message, record, json, sizeof json);
    require(length < sizeof json);
    require(json_valid(json, length));

    size_t small = record->sequence % (length + 2);
    char *buffer = malloc(small != 0 ? small : 1);
    require(buffer != NULL);
    require(wvu_json(message, record, buffer, small) == length);
    require(memcmp(buffer, json, small < length ? small : length) == 0);
    require(small <= length || buffer[length] == '\0');
    free(buffer);

    for (unsigned field = 0; field < 70; field++)
        (void)wvu_has(record, field);
}

static void read_message(const wvu_message *message)
{
    const struct wvu_record *record = NULL;
    uint32_t count = 0;
    uint64_t sequence = 0;
    while ((record = wvu_next(message, record)) != NULL) {
        require(record->sequence > sequence);
        sequence = record->sequence;
        count++;
        /* A few of many: large inputs would take long. */
        if (count <= 16)
            read_record(message, record);
    }
    require(count == message->batch->record_count);
    require(sequence == message->batch->last_sequence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wvu_message message;
    if (size < 1)
        return 0;
    void *batch = malloc(size != 1 ? size - 1 : 1);
    require(batch != NULL);
    memcpy(batch, data + 1, size - 1);
    repair(batch, size - 1, data[0]);
    if (wvu_check(batch, size - 1, &message) == WVU_STATUS_OK)
        read_message(&message);
    free(batch);
    return 0;
}
