/*
 * Takes events straight out of a sensor's queue, for tests without a dispatcher or reader.
 */
#ifndef WVU_UNIT_TAKE_EVENTS_H
#define WVU_UNIT_TAKE_EVENTS_H

#include <stdlib.h>

#include "queue.h"
#include "support/simulated.h"

struct taken_events {
    uint8_t *bytes;
    struct wvu_batch_info info;
};

/* All that is there, up to one batch. */
static inline struct taken_events take_events(struct wvu_queue *queue)
{
    struct taken_events taken = {.bytes = malloc(WVU_BATCH_MAX)};

    check(taken.bytes != NULL);
    (void)wvu_queue_take(queue, taken.bytes, WVU_BATCH_MAX, &taken.info);
    wvu_queue_delivered(queue, taken.bytes, taken.info.bytes);
    return taken;
}

static inline const void *taken_at(const struct taken_events *taken, uint32_t index)
{
    const uint8_t *at = taken->bytes;

    check(index < taken->info.records);
    for (uint32_t i = 0; i < index; i++)
        at += ((const struct wvu_record *)(const void *)at)->size;
    return at;
}

/* The text of a record equals this one. */
static inline void check_text(const void *record, struct wvu_text text, const char *expected)
{
    check_equal(text.size, strlen(expected));
    check_equal(text.full_size, text.size);
    check(memcmp((const uint8_t *)record + text.offset, expected, text.size) == 0);
}

static inline void free_events(struct taken_events *taken)
{
    free(taken->bytes);
}

#endif
