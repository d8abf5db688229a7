/*
 * What the files of the event source share: source.c says what each of them is for. Only they include this.
 */
#ifndef WVU_SOURCE_PARTS_H
#define WVU_SOURCE_PARTS_H

#include "atomic.h"
#include "enforcer.h"
#include "moderator.h"
#include "os.h"
#include "programs.h"
#include "rings.h"
#include "snapshot.h"
#include "source.h"
#include "tracker.h"

#define REASON_SIZE 256

/* What is remembered of a CPU between looks. */
struct cpu_state {
    struct wvu_cpu_counters told; /* the losses that were reported */
    uint64_t told_full;           /* their sum, as far as they did not fit */
    uint64_t said;                /* records that the kernel said did not fit */
    uint64_t said_told;
    uint64_t mend_failed; /* at the last look for broken rings */
    uint64_t mend_head;
};

struct wvu_source {
    struct wvu_source_settings settings;
    wvu_mutex control;
    bool used[WVU_SOURCE_USES]; /* under control */

    /* ---- from the first acquire to the last release */
    struct wvu_probe *probes[WVU_SOURCE_USES]; /* NULL: the sensor has no such probe */
    struct wvu_programs *programs;             /* NULL: only images, without keys */
    struct wvu_rings rings;
    struct cpu_state *states;
    struct wvu_tracker *tracker;
    struct wvu_snapshot *snapshot;
    wvu_thread thread;
    uint64_t attached_at;
    uint32_t stops; /* atomic */
    uint32_t again; /* atomic: tell all processes again */
    uint32_t flush; /* atomic: look now, whatever the queue says, and set `flushed` */
    wvu_event flushed;
    struct wvu_sensor *sensor;
    uint32_t reader_pid; /* under control */
    uint32_t asked;      /* atomic: look now, call `work`, and set `answered` */
    void (*work)(struct wvu_source *source, void *context);
    void *work_context;
    wvu_event answered;
    struct wvu_enforcer enforcer; /* its files belong to the thread, while there is one */

    /* ---- the thread's own */
    struct wvu_moderator moderator;
    int64_t wall; /* system time (100 ns since 1601) and uptime of the same instant */
    uint64_t wall_uptime;
    bool open[WVU_SOURCE_USES]; /* the probe is entered: it wants events */
    bool emitted;               /* something was committed since the last wake */
    bool busy;                  /* the last look found something */
    uint32_t empty_looks;
    bool loss_seen; /* since the last walk */
    uint64_t last_walk;
    uint64_t last_mend;
    uint64_t complained; /* the sum of what the log was told */
    uint64_t next_complaint;
    uint32_t deferred_lane; /* a mapping whose second record was not there yet: where */
    uint64_t deferred_position;
    struct wvu_source_counters counters; /* each written by the thread, read anywhere (relaxed) */
};

static inline void add(uint64_t *counter, uint64_t count)
{
    wvu_store64_relaxed(counter, *counter + count);
}

/* Under control: somebody uses it, so the thread runs. */
static inline bool is_running(const struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES; use++) {
        if (source->used[use])
            return true;
    }
    return false;
}

/* ---- source_look.c ------------------------------------------------------------------------------------ */

/* The body of the thread wvu-source; `context` is the source. */
void wvu_source_main(void *context);

/* The thread, by work that was asked for. True: nothing is lost that a walk would find. */
bool wvu_source_catch_up(struct wvu_source *source);

/* ---- source_events.c: the thread, while the probes are entered ---------------------------------------- */

/* What the tracker announces goes to the probes. Its context is the source. */
extern const struct wvu_tracker_sink wvu_source_sink;

/* False: the record was given back; the round is over. */
bool wvu_source_handle(struct wvu_source *source, const struct perf_event_header *header,
                       uint64_t time);

/* ---- source_losses.c: the thread ---------------------------------------------------------------------- */

/* While the probes are entered: the probe that would have told the lost events counts them. */
void wvu_source_count_loss(struct wvu_source *source, uint16_t cause, uint16_t type,
                           uint64_t count);

/* While the probes are entered: all that was lost and not told yet. */
void wvu_source_tell_losses(struct wvu_source *source);

/* After a look. */
void wvu_source_mend_rings(struct wvu_source *source, uint64_t now);
void wvu_source_complain(struct wvu_source *source, uint64_t now);

/* ---- source_questions.c: any thread but the source's, under control ----------------------------------- */

/* While the thread runs with its programs. The files that the filter in force denies are looked for and told to
 * the kernel's side; `wanted` false: none are denied any more. */
void wvu_source_renew_denials(struct wvu_source *source, bool wanted);

#endif
