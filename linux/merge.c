/*
 * Merges perf rings by time. Called by the source's thread (source_look.c) and by tests; no locks.
 *
 * Why the order is right. On one CPU the kernel stamps a record and then writes it, without being
 * interrupted by another writer of that ring, so a ring is in order. Between CPUs, let record B be a
 * consequence of record A (a fork and what the child does, say). A was written completely before B was
 * stamped: the child did not run before. A round takes a reading t0 of the same clock first and looks at
 * the rings after that. If B is given out then B's stamp <= t0, so A was written before t0 was read, so
 * A is seen by this look; and A's stamp is smaller, so A comes first. No slack is added for slow
 * CPUs, because none is needed: records after t0 wait for the next round, whose predecessors are all
 * there by the same argument.
 *
 * The kernel's fast clock can go back by some nanoseconds when it is adjusted. Within a ring the order of
 * the ring wins: a record's time is never taken to be less than its predecessor's.
 *
 * Memory: the kernel publishes data_head after the records (release); we read it with acquire, and store
 * data_tail with release after the last read of what we give back. Records are multiples of 8 bytes in a
 * ring that is one too, so a header and a time stamp never wrap, only records do.
 */
#include "merge.h"

#include <string.h>

#include "atomic.h"

/* Rings are given back in steps of 1/8, not only at the end of a round that may be long. */
#define RELEASE_SHIFT 3

static uint64_t kernel_head(const struct wvu_lane *lane)
{
    return wvu_load64_acquire((const uint64_t *)&lane->control->data_head);
}

static uint64_t word_at(const struct wvu_lane *lane, uint64_t position)
{
    uint64_t word;
    memcpy(&word, lane->data + (position & (lane->size - 1)), sizeof word);
    return word;
}

static struct perf_event_header header_at(const struct wvu_lane *lane, uint64_t position)
{
    struct perf_event_header header;
    memcpy(&header, lane->data + (position & (lane->size - 1)), sizeof header);
    return header;
}

static void release(struct wvu_lane *lane, uint64_t position)
{
    wvu_store64_release((uint64_t *)&lane->control->data_tail, position);
    lane->released = position;
}

/* The records were written by another CPU, and reading what is in its cache is most of the work here: ask
 * for what comes soon while this record is dealt with. (A tenth of the source's time.) */
static inline void prefetch(const struct wvu_lane *lane)
{
    __builtin_prefetch(lane->data + ((lane->position + 256) & (lane->size - 1)));
    __builtin_prefetch(lane->data + ((lane->position + 320) & (lane->size - 1)));
}

/* Samples begin with their time, all other records end with it (sample_id_all). */
static bool read_front(struct wvu_lane *lane)
{
    if (lane->position == lane->head)
        return false;
    struct perf_event_header header = header_at(lane, lane->position);
    if (header.size < sizeof header + sizeof(uint64_t) || header.size % 8 != 0 ||
        header.size > lane->head - lane->position)
        return false;
    uint64_t at =
        header.type == PERF_RECORD_SAMPLE ? sizeof header : header.size - sizeof(uint64_t);
    uint64_t time = word_at(lane, lane->position + at);
    lane->time = time > lane->time ? time : lane->time;
    return true;
}

/* ---- the heap: lanes by the time of their front, then by number --------------------------------- */

static bool before(const struct wvu_merge *merge, uint32_t a, uint32_t b)
{
    uint64_t time_a = merge->lanes[a].time;
    uint64_t time_b = merge->lanes[b].time;
    return time_a != time_b ? time_a < time_b : a < b;
}

static void sift_down(struct wvu_merge *merge, uint32_t index)
{
    uint32_t *heap = merge->heap;
    uint32_t lane = heap[index];
    for (uint32_t child; (child = 2 * index + 1) < merge->waiting; index = child) {
        if (child + 1 < merge->waiting && before(merge, heap[child + 1], heap[child]))
            child++;
        if (!before(merge, heap[child], lane))
            break;
        heap[index] = heap[child];
    }
    heap[index] = lane;
}

static void sift_up(struct wvu_merge *merge, uint32_t index)
{
    uint32_t *heap = merge->heap;
    uint32_t lane = heap[index];
    while (index > 0 && before(merge, lane, heap[(index - 1) / 2])) {
        heap[index] = heap[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    heap[index] = lane;
}

/* The front of the lane on top of the heap is another one now, or there is none. */
static void renew_top(struct wvu_merge *merge)
{
    struct wvu_lane *lane = &merge->lanes[merge->heap[0]];
    if (!read_front(lane) || lane->time > merge->limit)
        merge->heap[0] = merge->heap[--merge->waiting];
    if (merge->waiting > 1)
        sift_down(merge, 0);
}

/* ---- rounds ---------------------------------------------------------------------------------------- */

void wvu_merge_init(struct wvu_merge *merge, struct wvu_lane *lanes, uint32_t *heap, uint32_t count,
                    uint8_t *scratch)
{
    memset(merge, 0, sizeof *merge);
    memset(lanes, 0, count * sizeof *lanes);
    merge->lanes = lanes;
    merge->heap = heap;
    merge->count = count;
    merge->scratch = scratch;
}

void wvu_merge_open(struct wvu_lane *lane, struct perf_event_mmap_page *control, const void *data,
                    uint64_t size)
{
    memset(lane, 0, sizeof *lane);
    lane->control = control;
    lane->data = data;
    lane->size = size;
}

void wvu_merge_begin(struct wvu_merge *merge, uint64_t limit)
{
    merge->limit = limit;
    merge->waiting = 0;
    merge->current = merge->count;
    for (uint32_t i = 0; i < merge->count; i++) {
        struct wvu_lane *lane = &merge->lanes[i];
        if (lane->control == NULL)
            continue;
        lane->head = kernel_head(lane);
        if (!read_front(lane)) {
            /* Bytes that are no record never happened; a ring that stands still for ever must not. */
            merge->broken += lane->head - lane->position;
            lane->position = lane->head;
        } else if (lane->time <= limit) {
            merge->heap[merge->waiting++] = i;
            sift_up(merge, merge->waiting - 1);
        }
    }
}

/* The whole record at a position: in place, or put together when it wraps. */
static const struct perf_event_header *record_at(struct wvu_merge *merge,
                                                 const struct wvu_lane *lane, uint64_t position)
{
    uint64_t offset = position & (lane->size - 1);
    uint64_t size = header_at(lane, position).size;
    const uint8_t *start = lane->data + offset;
    if (offset + size > lane->size) {
        uint64_t first = lane->size - offset;
        memcpy(merge->scratch, start, first);
        memcpy(merge->scratch + first, lane->data, size - first);
        start = merge->scratch;
    }
    return (const struct perf_event_header *)(const void *)start;
}

const struct perf_event_header *wvu_merge_next(struct wvu_merge *merge, uint64_t *time)
{
    if (merge->current != merge->count) {
        /* The current record is always the front of the lane on top of the heap. */
        struct wvu_lane *lane = &merge->lanes[merge->current];
        lane->position += header_at(lane, lane->position).size;
        if (lane->position - lane->released > lane->size >> RELEASE_SHIFT)
            release(lane, lane->position);
        renew_top(merge);
    }
    if (merge->waiting == 0) {
        merge->current = merge->count;
        return NULL;
    }
    merge->current = merge->heap[0];
    const struct wvu_lane *lane = &merge->lanes[merge->current];
    prefetch(lane);
    *time = lane->time;
    return record_at(merge, lane, lane->position);
}

const struct perf_event_header *wvu_merge_follower(struct wvu_merge *merge)
{
    const struct wvu_lane *lane = &merge->lanes[merge->current];
    uint64_t next = lane->position + header_at(lane, lane->position).size;
    if (next == lane->head || header_at(lane, next).size > lane->head - next)
        return NULL;
    return record_at(merge, lane, next);
}

void wvu_merge_skip(struct wvu_merge *merge)
{
    struct wvu_lane *lane = &merge->lanes[merge->current];
    lane->position += header_at(lane, lane->position).size;
}

void wvu_merge_return(struct wvu_merge *merge)
{
    merge->limit = merge->lanes[merge->current].time - 1;
    merge->current = merge->count;
    merge->waiting = 0;
}

bool wvu_merge_end(struct wvu_merge *merge)
{
    bool left = false;
    if (merge->current != merge->count) { /* the caller stopped before the end of the round */
        struct wvu_lane *lane = &merge->lanes[merge->current];
        lane->position += header_at(lane, lane->position).size;
        merge->limit = lane->time - 1;
        merge->current = merge->count;
    }
    for (uint32_t i = 0; i < merge->count; i++) {
        struct wvu_lane *lane = &merge->lanes[i];
        if (lane->control == NULL)
            continue;
        if (lane->position != lane->released)
            release(lane, lane->position);
        if (lane->position != lane->head)
            left = true;
    }
    return left;
}

uint32_t wvu_merge_fill(const struct wvu_merge *merge)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < merge->count; i++) {
        const struct wvu_lane *lane = &merge->lanes[i];
        if (lane->control == NULL)
            continue;
        uint32_t fill = (uint32_t)((kernel_head(lane) - lane->position) * 256 / lane->size);
        most = fill > most ? fill : most;
    }
    return most;
}
