/*
 * Building records: sizes first, then reserve, then fill in place. Used by every probe.
 *
 * The bytes of a text are known before the record is reserved (its length always is), so that the
 * record gets exactly the room it needs, and texts that are too long together are cut fairly: each
 * keeps its beginning and its end.
 */
#ifndef WVU_RECORD_H
#define WVU_RECORD_H

#include "queue.h"

#define WVU_RECORD_TEXTS_MAX 8

/* When the event happened. Hosts that learn of it later pass the kernel's own stamps. */
struct wvu_stamp {
    int64_t time;    /* 100 ns since 1601 UTC */
    uint64_t uptime; /* ns */
};

/* A text to be put into a record: where its descriptor is in the fixed part, and its bytes. */
struct wvu_text_source {
    uint16_t member; /* offsetof the struct wvu_text in the record */
    uint16_t unit;   /* 1: bytes, 2: UTF-16, 16: wvu_loss: a cut never splits a unit */
    uint32_t size;   /* bytes at `bytes` */
    uint32_t head; /* already cut by the host: bytes from the beginning; otherwise equal to size */
    uint32_t
        full_size;     /* already cut by the host: bytes of the original; otherwise equal to size */
    const void *bytes; /* may be pageable user memory of this process; NULL when size is 0 */
};

/* A text that the host has not cut. */
static inline struct wvu_text_source wvu_text_whole(size_t member, uint16_t unit, const void *bytes,
                                                    uint32_t size)
{
    struct wvu_text_source source = {
        .member = (uint16_t)member,
        .unit = unit,
        .size = size,
        .head = size,
        .full_size = size,
        .bytes = bytes,
    };
    return source;
}

struct wvu_record_plan {
    uint16_t type;
    uint16_t fixed_size;
    uint32_t size; /* of the whole record */
    bool cut;
    uint32_t texts;
    struct wvu_text placed[WVU_RECORD_TEXTS_MAX]; /* as they will stand in the record */
};

/* Any. Lays the record out. Never fails: what does not fit WVU_RECORD_MAX is cut. */
void wvu_record_plan(struct wvu_record_plan *plan, uint16_t type, uint16_t fixed_size,
                     const struct wvu_text_source *texts, uint32_t count);

/* Any (as far as the bytes' memory allows). Copies the texts and writes their descriptors,
 * fixed_size and flags into a reserved record of plan->size bytes. */
void wvu_record_fill_texts(struct wvu_record *record, const struct wvu_record_plan *plan,
                           const struct wvu_text_source *texts);

enum wvu_event_index {
    WVU_EVENT_INDEX_NONE = 0,
#define WVU_EVENT(number, name, structure, description) WVU_EVENT_INDEX_##name,
#include "winvirtue/events.def"
    WVU_EVENT_INDICES
};
_Static_assert(WVU_EVENT_INDICES <= WVU_EVENT_KINDS, "raise WVU_EVENT_KINDS");
_Static_assert(WVU_EVENT_KINDS <= 32, "masks of kinds have 32 bits");

/* Types are 0x0000 to 0x001F and 0x2000 to 0x201F. */
#define WVU_EVENT_PLACE(type) (((type)&0x1Fu) | (((type)&0x2000u) >> 8))
extern const uint8_t wvu_event_indices[64];

/* Index of an event type in the table of counters: 1 .. WVU_EVENT_KINDS-1; 0 for unknown types. */
static inline uint32_t wvu_event_index(uint16_t type)
{
    return (type & ~0x201Fu) == 0 ? wvu_event_indices[WVU_EVENT_PLACE(type)] : WVU_EVENT_INDEX_NONE;
}
uint16_t wvu_event_type_at(uint32_t index); /* the reverse; 0 for 0 */

/* True for what the queue keeps a share for, whatever else there is: which processes start and end or are
 * not in the lists, and what the sensor says about itself. */
static inline bool wvu_event_is_guaranteed(uint16_t type)
{
    return type == WVU_EVENT_ProcessCreate || type == WVU_EVENT_ProcessDestroy ||
           type == WVU_EVENT_ProcessListValidationFailed || (type & 0xF000u) == 0x2000u;
}

/* False for the EventsLost that stands in the place of a gap: its number is that of a lost event. */
static inline bool wvu_record_is_numbered(const struct wvu_record *record)
{
    const struct wvu_events_lost *event = (const struct wvu_events_lost *)(const void *)record;
    return record->type != WVU_EVENT_EventsLost || event->first_sequence == 0;
}

#endif
