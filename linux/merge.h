/*
 * Reads the perf rings of several CPUs as one stream, ordered by time.
 *
 * No system calls and no allocation: what it works on is memory, which is why a test can play the kernel.
 * One thread. See merge.c for why the order is right.
 */
#ifndef WVU_MERGE_H
#define WVU_MERGE_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>

/* The kernel keeps the length of a record in 16 bits. */
#define WVU_MERGE_RECORD_MAX 65536u

/* One ring. The owner sets control, data and size; the rest belongs to the merge. */
struct wvu_lane {
    struct perf_event_mmap_page *control; /* NULL: not open */
    const uint8_t *data;
    uint64_t size;     /* of the data; a power of two */
    uint64_t position; /* of the next record to be taken */
    uint64_t released; /* the kernel may write up to here again */
    uint64_t head;     /* the records end here, as far as was seen */
    uint64_t time;     /* of the record at `position`; never less than that of the one before */
};

struct wvu_merge {
    struct wvu_lane *lanes;
    uint32_t count;
    uint64_t limit;   /* only records up to this time are given out */
    uint32_t *heap;   /* lanes with such a record at their front, earliest first */
    uint32_t waiting; /* entries of the heap */
    uint32_t current; /* the lane of the record that was given out last */
    uint64_t broken;  /* bytes that were skipped because they are no records */
    uint8_t *scratch; /* WVU_MERGE_RECORD_MAX bytes: records that wrap are put together here */
};

/* The arrays are the caller's and live as long as the merge: `lanes` and `heap` with `count` entries.
 * Lanes that are opened or closed later are told with wvu_merge_open. */
void wvu_merge_init(struct wvu_merge *merge, struct wvu_lane *lanes, uint32_t *heap, uint32_t count,
                    uint8_t *scratch);
void wvu_merge_open(struct wvu_lane *lane, struct perf_event_mmap_page *control, const void *data,
                    uint64_t size); /* control NULL: closed */

/* A round: what is in the rings now with a time of at most `limit`, which must be a reading of the rings'
 * clock from before this call. */
void wvu_merge_begin(struct wvu_merge *merge, uint64_t limit);

/* The next record, or NULL at the end of the round. It is valid until the next call. `time` is never less
 * than that of the one before. */
const struct perf_event_header *wvu_merge_next(struct wvu_merge *merge, uint64_t *time);

/* What follows the current record in its ring, whatever its time; NULL when nothing is there yet. With
 * wvu_merge_skip it is taken together with the current one. Pointers stay valid until wvu_merge_next. */
const struct perf_event_header *wvu_merge_follower(struct wvu_merge *merge);
void wvu_merge_skip(struct wvu_merge *merge);

/* Gives the current record back: it will come first in the next round, and so this round ends with
 * its time. */
void wvu_merge_return(struct wvu_merge *merge);

/* Ends the round, at any point (the current record was taken, unless it was returned), and lets the kernel
 * write where the taken records were. Returns true when records were left over. merge->limit is now the
 * time up to which everything was given out. */
bool wvu_merge_end(struct wvu_merge *merge);

/* Bytes in the fullest ring relative to its size, in 1/256; reads the kernel's positions anew. */
uint32_t wvu_merge_fill(const struct wvu_merge *merge);

#endif
