/*
 * The kernel's records as they become the probes' events: each goes to the tracker, and what the tracker says of
 * it goes through the sink to the probe that is entered. In the source's thread (source_look.c), within a look;
 * no locks.
 *
 * Rules. Each process is judged by the filter when the tracker announces it; the verdict goes with its events.
 * Deny rules are carried out by the enforcer (enforcer.c), in this thread.
 */
#include "probes.h"
#include "records.h"
#include "sensor.h"
#include "source_parts.h"

/* ---- to the probes --------------------------------------------------------------------------- */

static struct wvu_stamp stamp_of(const struct wvu_source *source, uint64_t uptime)
{
    int64_t ago = (int64_t)(source->wall_uptime - uptime);
    return (struct wvu_stamp){.time = source->wall - ago / 100, .uptime = uptime};
}

static void on_created(void *context, const struct wvu_created *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_PROCESSES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_process_probe_created(source->probes[WVU_SOURCE_PROCESSES], event, &stamp);
    source->emitted = true;
    wvu_enforcer_created(&source->enforcer, event);
}

static void on_destroyed(void *context, const struct wvu_destroyed *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_PROCESSES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_process_probe_destroyed(source->probes[WVU_SOURCE_PROCESSES], event, &stamp);
    source->emitted = true;
}

static void on_image(void *context, const struct wvu_image *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_IMAGES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_image_probe_loaded(source->probes[WVU_SOURCE_IMAGES], event, &stamp);
    source->emitted = true;
}

static void on_thread(void *context, const struct wvu_thread_event *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_THREADS])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_thread_probe_changed(source->probes[WVU_SOURCE_THREADS], event, &stamp);
    source->emitted = true;
}

static void on_judge(void *context, const struct wvu_subject *subject, struct wvu_verdict *verdict)
{
    struct wvu_source *source = context;
    wvu_sensor_judge(source->sensor, subject, verdict);
}

static void on_lost(void *context, uint16_t type, uint64_t count)
{
    wvu_source_count_loss(context, WVU_LOSS_SOURCE_TABLE, type, count);
}

const struct wvu_tracker_sink wvu_source_sink = {
    .created = on_created,
    .destroyed = on_destroyed,
    .image = on_image,
    .thread = on_thread,
    .judge = on_judge,
    .lost = on_lost,
};

/* ---- records --------------------------------------------------------------------------------- */

static void count_malformed(struct wvu_source *source)
{
    add(&source->counters.malformed, 1);
}

/* The record of the same mapping from the ring's other event, which was written right after this one.
 * False: it is not there yet, come again. */
static bool join_other_half(struct wvu_source *source, struct wvu_image *image)
{
    struct wvu_merge *merge = &source->rings.merge;
    const struct perf_event_header *follower = wvu_merge_follower(merge);
    if (follower != NULL) {
        if (wvu_records_join(image, follower)) {
            wvu_merge_skip(merge);
            add(&source->counters.records, 1);
        }
        return true;
    }
    uint64_t position = merge->lanes[merge->current].position;
    if (source->deferred_lane == merge->current && source->deferred_position == position)
        return true; /* it was waited for once: it did not fit the ring */
    source->deferred_lane = merge->current;
    source->deferred_position = position;
    return false;
}

static bool handle_mapping(struct wvu_source *source, const struct perf_event_header *header,
                           uint64_t time)
{
    struct wvu_image image;
    switch (wvu_records_mapping(header, &image)) {
    case WVU_MAPPING_MALFORMED:
        count_malformed(source);
        return true;
    case WVU_MAPPING_NO_FILE:
        return true;
    default:
        break;
    }
    if (source->rings.features.inodes && !join_other_half(source, &image))
        return false;
    image.time = time;
    if (source->programs != NULL)
        wvu_tracker_image(source->tracker, &image);
    else
        on_image(source, &image);
    return true;
}

static void handle_name(struct wvu_source *source, const struct perf_event_header *header,
                        uint64_t time)
{
    struct wvu_renamed renamed;
    if (!wvu_records_renamed(header, &renamed))
        count_malformed(source);
    else if (renamed.by_exec)
        wvu_tracker_exec_begins(source->tracker, renamed.pid, time);
    else if (renamed.pid == renamed.tid)
        wvu_tracker_renamed(source->tracker, renamed.pid, renamed.name, renamed.size);
}

static void handle_module(struct wvu_source *source, const struct wvu_sample_module *module,
                          uint64_t time)
{
    if (!source->open[WVU_SOURCE_IMAGES])
        return;
    struct wvu_stamp stamp = stamp_of(source, time);
    struct wvu_followed loader = {.wanted = WVU_WANTED_ALL};
    (void)wvu_tracker_find(source->tracker, module->pid, 0, &loader);
    wvu_image_probe_module(source->probes[WVU_SOURCE_IMAGES], module,
                           wvu_tracker_key(source->tracker, module->pid), loader.wanted, &stamp);
    source->emitted = true;
}

static void handle_exec(struct wvu_source *source, const struct wvu_sample *sample, uint64_t time)
{
    wvu_enforcer_exec_begins(&source->enforcer, &sample->exec);
    wvu_tracker_exec(source->tracker, &sample->exec, sample->data, time);
    if (wvu_enforcer_exec_ends(&source->enforcer, sample->data, source->open[WVU_SOURCE_PROCESSES]))
        source->emitted = true;
}

static void handle_sample(struct wvu_source *source, const struct perf_event_header *header,
                          uint64_t time)
{
    struct wvu_sample sample;
    if (!wvu_records_sample(header, &sample)) {
        count_malformed(source);
        return;
    }
    switch (sample.kind) {
    case WVU_SAMPLE_FORK:
        wvu_tracker_fork(source->tracker, &sample.task, time);
        break;
    case WVU_SAMPLE_EXEC:
        handle_exec(source, &sample, time);
        break;
    case WVU_SAMPLE_EXIT:
        wvu_tracker_exit(source->tracker, &sample.exit, time);
        break;
    case WVU_SAMPLE_THREAD:
    case WVU_SAMPLE_THREAD_EXIT:
        wvu_tracker_thread(source->tracker, &sample.thread, time);
        break;
    default:
        handle_module(source, &sample.module, time);
        break;
    }
}

static void handle_lost(struct wvu_source *source, const struct perf_event_header *header)
{
    uint64_t lost;
    if (wvu_records_lost(header, &lost))
        source->states[source->rings.merge.current].said += lost;
    else
        count_malformed(source);
}

/* False: the record was given back; the round is over. The rings are open before the programs are
 * attached: what the kernel itself wrote in between is of processes that may have ended unseen, and is
 * from before the start. */
bool wvu_source_handle(struct wvu_source *source, const struct perf_event_header *header,
                       uint64_t time)
{
    bool early = time < source->attached_at;
    switch (header->type) {
    case PERF_RECORD_MMAP2:
        if (early || handle_mapping(source, header, time))
            break;
        wvu_merge_return(&source->rings.merge);
        return false;
    case PERF_RECORD_SAMPLE:
        handle_sample(source, header, time);
        break;
    case PERF_RECORD_COMM:
        if (!early && source->programs != NULL)
            handle_name(source, header, time);
        break;
    case PERF_RECORD_LOST:
        handle_lost(source, header);
        break;
    default: /* throttling and the like: nothing that happened */
        break;
    }
    add(&source->counters.records, 1);
    return true;
}
