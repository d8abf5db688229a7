/*
 * Following the stream of events: duplicates, gaps, counts. Called by main for every record; plain data,
 * one thread.
 *
 * A boot id names one run of the sensor; its sequences begin at 1. A reader that joins in the middle
 * does not see the beginning, because somebody else did: the first record after a new boot id sets the
 * place. From there on each number must come, or an EventsLost whose range holds it. An EventsLost
 * with a range has the range's last number as its own.
 */
#include "stream.h"

#include <string.h>

static void count_type(struct stream *stream, uint16_t type)
{
    unsigned i = 0;
    while (i < stream->types && stream->by_type[i].type != type)
        i++;
    if (i == stream->types) {
        if (i == STREAM_TYPES_MAX) {
            i--; /* more types than places: the last place takes what is left */
        } else {
            stream->by_type[i].type = i < STREAM_TYPES_MAX - 1 ? type : WVU_EVENT_NONE;
            stream->types++;
        }
    }
    stream->by_type[i].count++;
}

/* The first number that this record stands for. */
static uint64_t first_of(const struct wvu_record *record)
{
    if (record->type != WVU_EVENT_EventsLost ||
        !wvu_has(record, WVU_FIELD_INDEX_wvu_events_lost_FirstSequence))
        return record->sequence;
    const struct wvu_events_lost *lost = (const struct wvu_events_lost *)record;
    return lost->first_sequence < record->sequence ? lost->first_sequence : record->sequence;
}

bool stream_see(struct stream *stream, const wvu_message *message, const struct wvu_record *record,
                struct gap *gap)
{
    const uint8_t *boot_id = message->batch->boot_id;
    *gap = (struct gap){.first = 0};
    if (!stream->known || memcmp(stream->boot_id, boot_id, sizeof stream->boot_id) != 0) {
        memcpy(stream->boot_id, boot_id, sizeof stream->boot_id);
        stream->known = true;
    } else if (record->sequence <= stream->last) {
        stream->duplicates++;
        return false;
    } else if (first_of(record) > stream->last + 1) {
        *gap = (struct gap){.first = stream->last + 1, .last = first_of(record) - 1};
        stream->missing += gap->last - gap->first + 1;
    }
    stream->last = record->sequence;
    stream->stopped = record->type == WVU_EVENT_SensorStop;
    stream->events++;
    count_type(stream, record->type);
    if (record->type == WVU_EVENT_EventsLost &&
        wvu_has(record, WVU_FIELD_INDEX_wvu_events_lost_Count))
        stream->lost += ((const struct wvu_events_lost *)record)->count;
    return true;
}
