/*
 * Laying out and filling records: sizes first, then reserve, then fill in place.
 *
 * Any thread; no locks, no state. wvu_record_plan is pure arithmetic on lengths, so it can run
 * before a record exists; wvu_record_fill_texts then copies outside every lock, because a text may
 * be pageable.
 */
#include "record.h"

#include <string.h>

/* In the order of the counters' indices: 1, 2, 3 ... */
static const uint16_t event_types[] = {
    0,
#define WVU_EVENT(number, name, structure, description) (number),
#include "winvirtue/events.def"
};

const uint8_t wvu_event_indices[64] = {
#define WVU_EVENT(number, name, structure, description)                                            \
    [WVU_EVENT_PLACE(number)] = WVU_EVENT_INDEX_##name,
#include "winvirtue/events.def"
};
#define WVU_EVENT(number, name, structure, description)                                            \
    _Static_assert(((number) & ~0x201F) == 0, #name " has no place in the table");
#include "winvirtue/events.def"

uint16_t wvu_event_type_at(uint32_t index)
{
    return index < sizeof event_types / sizeof event_types[0] ? event_types[index] : 0;
}

/* The most bytes that each text may have so that all fit `room`: short ones keep all they have,
 * long ones share the rest evenly (as water finds its level). */
static uint32_t fair_share(const struct wvu_text_source *texts, uint32_t count, uint32_t room)
{
    bool settled[WVU_RECORD_TEXTS_MAX] = {false};
    uint32_t left = room;
    uint32_t sharing = count;
    bool changed = true;
    while (changed && sharing != 0) {
        changed = false;
        for (uint32_t i = 0; i < count; i++) {
            if (!settled[i] && texts[i].size <= left / sharing) {
                settled[i] = true;
                changed = true;
                left -= texts[i].size;
                if (--sharing == 0)
                    break;
            }
        }
    }
    return sharing != 0 ? left / sharing : room;
}

static uint32_t round_down(uint32_t value, uint32_t unit)
{
    return value - value % unit;
}

static uint32_t round_up(uint32_t value, uint32_t unit)
{
    return round_down(value + unit - 1, unit);
}

/* How much of the beginning and of the end of a text is kept in `room` bytes. Two thirds go to the
 * beginning; the end is kept because padding in the middle is how people hide what comes after. A
 * text that the host has cut before keeps that seam where it is, or loses bytes on both sides of
 * it. */
static void cut_text(const struct wvu_text_source *text, uint32_t room, struct wvu_text *placed)
{
    uint32_t size = text->size;
    uint32_t head = text->head;
    if (size > room) {
        uint32_t wanted = round_down(room / 3 * 2, text->unit);
        head = head < wanted ? head : wanted;
        uint32_t tail = round_down(room - head, text->unit);
        uint32_t tail_there = text->size - (text->head < text->size ? text->head : head);
        tail = tail < tail_there ? tail : tail_there;
        size = head + tail;
    }
    placed->size = (uint16_t)size;
    placed->head = (uint16_t)head;
    placed->full_size = text->full_size;
}

void wvu_record_plan(struct wvu_record_plan *plan, uint16_t type, uint16_t fixed_size,
                     const struct wvu_text_source *texts, uint32_t count)
{
    /* Alignment of the texts and rounding of the whole may take up to 7 bytes each. */
    uint32_t room = WVU_RECORD_MAX - fixed_size - 8 * (count + 1);
    uint32_t share = fair_share(texts, count, room);
    uint32_t offset = fixed_size;

    plan->type = type;
    plan->fixed_size = fixed_size;
    plan->cut = false;
    plan->texts = count;
    for (uint32_t i = 0; i < count; i++) {
        struct wvu_text *placed = &plan->placed[i];
        cut_text(&texts[i], share, placed);
        placed->reserved = 0;
        offset = round_up(offset, texts[i].unit < 8 ? texts[i].unit : 8);
        placed->offset = placed->size != 0 ? (uint16_t)offset : 0;
        offset += placed->size;
        if (placed->full_size > placed->size)
            plan->cut = true;
    }
    plan->size = round_up(offset, 8);
}

void wvu_record_fill_texts(struct wvu_record *record, const struct wvu_record_plan *plan,
                           const struct wvu_text_source *texts)
{
    uint8_t *base = (uint8_t *)record;
    record->fixed_size = plan->fixed_size;
    if (plan->cut)
        record->flags |= WVU_RECORD_CUT;
    for (uint32_t i = 0; i < plan->texts; i++) {
        const struct wvu_text *placed = &plan->placed[i];
        memcpy(base + texts[i].member, placed, sizeof *placed);
        if (placed->size == 0)
            continue;
        const uint8_t *bytes = texts[i].bytes;
        uint32_t tail = (uint32_t)placed->size - placed->head;
        memcpy(base + placed->offset, bytes, placed->head);
        memcpy(base + placed->offset + placed->head, bytes + texts[i].size - tail, tail);
    }
}
