/*
 * The processes that run now, told to the tracker: at start, after a loss, and when a probe starts later.
 */
#ifndef WVU_SNAPSHOT_H
#define WVU_SNAPSHOT_H

#include "programs.h"
#include "tracker.h"

struct wvu_snapshot; /* buffers */

struct wvu_snapshot_plan {
    const struct wvu_programs *programs;
    struct wvu_tracker *tracker;
    uint32_t cause;      /* of processes that were not known */
    bool again;          /* tell of those that were, too */
    uint64_t told_until; /* the tracker was told everything that happened up to this time */
    /* Called now and then; false: stop walking, the source must end. */
    bool (*pause)(void *context);
    void *context;
};

wvu_status wvu_snapshot_create(struct wvu_snapshot **snapshot); /* PASSIVE */
void wvu_snapshot_destroy(struct wvu_snapshot *snapshot);       /* NULL is allowed */

/* The source's thread. IO_ERROR: the walk failed, the tracker has what came before. */
wvu_status wvu_snapshot_run(struct wvu_snapshot *snapshot, const struct wvu_snapshot_plan *plan);

#endif
