/*
 * Where the filter in force is kept, so that it can be swapped while kernel callbacks use it. See
 * filter_slot.c.
 */
#ifndef WVU_FILTER_SLOT_H
#define WVU_FILTER_SLOT_H

#include "filter.h"

struct wvu_filter_slot {
    wvu_rundown users; /* open while it may be used */
    struct wvu_filter *filter;
};

struct wvu_filter_slots {
    struct wvu_filter_slot slot[2];
    uint32_t current; /* atomic: which of them is in force */
};

/* PASSIVE. OK: `first` is in force, and belongs to the slots. */
wvu_status wvu_filter_slots_init(struct wvu_filter_slots *slots, struct wvu_filter *first);
void wvu_filter_slots_destroy(struct wvu_filter_slots *slots); /* PASSIVE, when nobody is inside */

/* Any. The slot in force; its filter stays until it is left. Never waits. */
struct wvu_filter_slot *wvu_filter_slots_enter(struct wvu_filter_slots *slots);
void wvu_filter_slots_leave(struct wvu_filter_slot *slot);

/* PASSIVE, one caller at a time. `filter` is in force from now on and belongs to the slots; when it returns
 * nobody uses the one before any more, and it is destroyed. */
void wvu_filter_slots_replace(struct wvu_filter_slots *slots, struct wvu_filter *filter);

#endif
