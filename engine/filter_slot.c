/*
 * The filter in force and its replacement. Called by the sensor (sensor.c): enter and leave wherever events
 * come from, replace under the sensor's control mutex.
 *
 * There are two slots, each with a run-down. The one in force is open, the other one is closed and empty.
 * A replacement fills and opens the closed slot, publishes it, closes the other one and waits until those
 * who were inside have left; then nobody can hold the old filter.
 *
 * Whoever enters loads the index and takes that slot's run-down. It fails only when the slot was closed
 * in between, which happens after another one was published: the next look finds that one. So nobody
 * waits here, and whoever enters twice for one process may see two filters, but always a whole one.
 */
#include "filter_slot.h"

#include "atomic.h"

wvu_status wvu_filter_slots_init(struct wvu_filter_slots *slots, struct wvu_filter *first)
{
    wvu_status status = wvu_rundown_init(&slots->slot[0].users);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_rundown_init(&slots->slot[1].users);
    if (status != WVU_STATUS_OK)
        goto destroy_first;
    wvu_rundown_wait(&slots->slot[1].users); /* closed until it holds a filter */
    slots->slot[0].filter = first;
    slots->slot[1].filter = NULL;
    slots->current = 0;
    return WVU_STATUS_OK;

destroy_first:
    wvu_rundown_destroy(&slots->slot[0].users);
    return status;
}

void wvu_filter_slots_destroy(struct wvu_filter_slots *slots)
{
    for (uint32_t i = 0; i < 2; i++) {
        wvu_rundown_destroy(&slots->slot[i].users);
        wvu_filter_destroy(slots->slot[i].filter);
    }
}

struct wvu_filter_slot *wvu_filter_slots_enter(struct wvu_filter_slots *slots)
{
    for (;;) {
        struct wvu_filter_slot *slot = &slots->slot[wvu_load_acquire(&slots->current)];
        if (wvu_rundown_acquire(&slot->users))
            return slot;
    }
}

void wvu_filter_slots_leave(struct wvu_filter_slot *slot)
{
    wvu_rundown_release(&slot->users);
}

void wvu_filter_slots_replace(struct wvu_filter_slots *slots, struct wvu_filter *filter)
{
    uint32_t before = wvu_load_acquire(&slots->current);
    struct wvu_filter_slot *old = &slots->slot[before];
    struct wvu_filter_slot *new = &slots->slot[1 - before];

    new->filter = filter;
    wvu_fence(); /* whoever enters through the open run-down must see the filter */
    wvu_rundown_reopen(&new->users);
    /* A full barrier: the index must be seen before the old slot is found closed. */
    (void)wvu_exchange_full(&slots->current, 1 - before);
    wvu_rundown_wait(&old->users);
    wvu_filter_destroy(old->filter);
    old->filter = NULL;
}
