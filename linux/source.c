/*
 * The event source: takes the kernel's events from the perf rings of all CPUs, in the order of time, and
 * hands what the tracker makes of them to the probes. This file is its life: acquire and release, opening and
 * closing. The rest:
 *
 *   source_parts.h      what these files share
 *   source_look.c       the thread: when to look at the rings, looking, walks over all processes
 *   source_events.c     from the kernel's records to the tracker, and from the tracker to the probes
 *   source_losses.c     what was lost is told; rings that broke are mended
 *   source_questions.c  what others ask: the list, one process, judge anew
 *
 * Threads. Probes acquire and release the source under `control` (lock order: a probe's control, then
 * this). One thread, wvu-source, does all the rest; between its start and its end everything below
 * "the thread's own" in source_parts.h belongs to it, and so do the files that are denied. Release asks it
 * to end and joins it.
 *
 * Without the programs (no right, no BTF) the image probe still runs on the kernel's own records; then
 * there are no keys.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "probes.h"
#include "sensor.h"
#include "source_parts.h"

#define SOURCE_TAG WVU_TAG('W', 'v', 'S', 'o')
#define FLUSH_NS   UINT64_C(500000000)

/* ---- opening and closing: PASSIVE, under control --------------------------------------------- */

static void close_all(struct wvu_source *source)
{
    wvu_denials_destroy(source->enforcer.denials);
    source->enforcer = (struct wvu_enforcer){0};
    wvu_programs_unload(source->programs);
    wvu_rings_destroy(&source->rings);
    wvu_snapshot_destroy(source->snapshot);
    wvu_tracker_destroy(source->tracker);
    wvu_os_free(source->states, SOURCE_TAG);
    source->programs = NULL;
    source->snapshot = NULL;
    source->tracker = NULL;
    source->states = NULL;
}

static wvu_status open_tables(struct wvu_source *source, uint32_t cpus, char *reason)
{
    struct wvu_tracker_settings settings = {
        .processes = source->settings.processes,
        .blocks = source->settings.processes / 2,
        .sink = wvu_source_sink,
    };
    settings.sink.context = source;
    snprintf(reason, REASON_SIZE, "no memory to follow %u processes", settings.processes);
    source->states = wvu_os_alloc(cpus * sizeof *source->states, SOURCE_TAG);
    if (source->states == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_status status = wvu_tracker_create(&settings, &source->tracker);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_snapshot_create(&source->snapshot);
    if (status == WVU_STATUS_IO_ERROR)
        snprintf(reason, REASON_SIZE, "/proc: %s: is it mounted?", strerror(errno));
    return status;
}

/* Everything that the thread needs. `with_programs`: processes, too; otherwise only images. */
static wvu_status open_all(struct wvu_source *source, bool with_programs, char *reason)
{
    uint32_t cpus = wvu_cpu_count();
    wvu_status status = open_tables(source, cpus, reason);
    if (status == WVU_STATUS_OK && with_programs)
        status = wvu_programs_load(cpus, &source->programs, reason);
    if (status == WVU_STATUS_OK)
        status = wvu_rings_create(&source->rings, cpus, source->settings.ring_bytes,
                                  source->programs, reason);
    if (status == WVU_STATUS_OK && with_programs) {
        wvu_programs_want_threads(source->programs, source->used[WVU_SOURCE_THREADS]);
        wvu_programs_spare(source->programs, source->reader_pid);
        status = wvu_programs_attach(source->programs, reason);
    }
    if (status != WVU_STATUS_OK) {
        close_all(source);
        return status;
    }
    source->attached_at = wvu_os_uptime();
    malloc_trim(0); /* loading needed much more than running does */
    return WVU_STATUS_OK;
}

static wvu_status start_thread(struct wvu_source *source, char *reason)
{
    source->stops = 0;
    source->again = 0;
    source->flush = 0;
    source->asked = 0;
    source->enforcer = (struct wvu_enforcer){
        .sensor = source->sensor,
        .probe = source->probes[WVU_SOURCE_PROCESSES],
        .programs = source->programs,
    };
    source->busy = false;
    source->empty_looks = 0;
    source->loss_seen = false;
    source->last_walk = 0;
    source->last_mend = source->attached_at;
    source->complained = 0;
    source->next_complaint = 0;
    source->deferred_position = UINT64_MAX;
    memset(&source->counters, 0, sizeof source->counters);
    wvu_status status = wvu_thread_start(&source->thread, "wvu-source", wvu_source_main, source);
    if (status != WVU_STATUS_OK)
        snprintf(reason, REASON_SIZE, "the thread wvu-source cannot be started");
    return status;
}

static void stop_thread(struct wvu_source *source)
{
    wvu_store_release(&source->stops, 1);
    wvu_rings_want_attention(&source->rings);
    wvu_thread_join(&source->thread);
}

static void log_start(const struct wvu_source *source)
{
    wvu_log_info(
        WVU_LOG_SENSOR,
        "the kernel's events: processes %s, images yes, build ids %s, inodes %s, modules %s",
        source->programs != NULL ? "yes" : "no", source->rings.features.build_ids ? "yes" : "no",
        source->rings.features.inodes || !source->rings.features.build_ids ? "yes" : "no",
        source->programs != NULL && wvu_programs_see_modules(source->programs) ? "yes" : "no");
}

static wvu_status start(struct wvu_source *source, bool with_programs, char *reason)
{
    wvu_status status = open_all(source, with_programs, reason);
    if (status != WVU_STATUS_OK)
        return status;
    status = start_thread(source, reason);
    if (status != WVU_STATUS_OK) {
        close_all(source);
        return status;
    }
    log_start(source);
    reason[0] = '\0';
    return WVU_STATUS_OK;
}

static void stop(struct wvu_source *source)
{
    stop_thread(source);
    close_all(source);
}

/* Images alone need less of the machine than processes do. */
static wvu_status start_images(struct wvu_source *source, char *reason)
{
    char missing[REASON_SIZE];
    if (start(source, true, missing) == WVU_STATUS_OK)
        return WVU_STATUS_OK;
    wvu_status status = wvu_programs_check_pids(reason);
    if (status != WVU_STATUS_OK)
        return status;
    status = start(source, false, reason);
    if (status == WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_SENSOR, "images are told without the keys of their processes: %s",
                        missing);
    return status;
}

/* Only images are told so far: the rest needs the programs. */
static wvu_status add_programs(struct wvu_source *source, char *reason)
{
    char ignored[REASON_SIZE];
    stop(source);
    wvu_status status = start(source, true, reason);
    if (status != WVU_STATUS_OK && start(source, false, ignored) != WVU_STATUS_OK) {
        wvu_log_error(WVU_LOG_SENSOR, "the image probe's source could not be started again: %s",
                      ignored);
        source->used[WVU_SOURCE_IMAGES] = false;
    }
    return status;
}

/* ---- acquire and release --------------------------------------------------------------------- */

/* LISTS has no events, so the source need not know its probe. */
static void find_probes(struct wvu_source *source, struct wvu_sensor *sensor)
{
    source->sensor = sensor;
    source->probes[WVU_SOURCE_PROCESSES] = wvu_sensor_find_probe(sensor, wvu_process_probe.name);
    source->probes[WVU_SOURCE_IMAGES] = wvu_sensor_find_probe(sensor, wvu_image_probe.name);
    source->probes[WVU_SOURCE_THREADS] = wvu_sensor_find_probe(sensor, wvu_thread_probe.name);
}

/* What one more use needs of a source that runs with its programs. */
static void add_use(struct wvu_source *source, enum wvu_source_use use)
{
    if (use == WVU_SOURCE_PROCESSES) {
        wvu_source_renew_denials(source, true);
        wvu_store_release(&source->again, 1); /* the new listener is told of all that run */
        wvu_rings_want_attention(&source->rings);
    }
    if (use == WVU_SOURCE_THREADS)
        wvu_programs_want_threads(source->programs, true);
}

/* A source that was just started tells all processes by itself. */
static void begin_use(struct wvu_source *source, enum wvu_source_use use)
{
    if (use == WVU_SOURCE_PROCESSES)
        wvu_source_renew_denials(source, true);
    if (use == WVU_SOURCE_THREADS)
        wvu_programs_want_threads(source->programs, true);
}

wvu_status wvu_source_acquire(struct wvu_source *source, enum wvu_source_use use,
                              struct wvu_probe *probe, char *reason)
{
    wvu_status status = WVU_STATUS_OK;
    wvu_mutex_acquire(&source->control);
    if (is_running(source)) {
        bool restarted = source->programs == NULL && use != WVU_SOURCE_IMAGES;
        if (restarted)
            status = add_programs(source, reason);
        if (status == WVU_STATUS_OK && source->programs != NULL)
            (restarted ? begin_use : add_use)(source, use);
    } else {
        find_probes(source, probe->sensor);
        status =
            use == WVU_SOURCE_IMAGES ? start_images(source, reason) : start(source, true, reason);
        if (status == WVU_STATUS_OK && source->programs != NULL)
            begin_use(source, use);
    }
    if (status == WVU_STATUS_OK)
        source->used[use] = true;
    wvu_mutex_release(&source->control);
    return status;
}

/* What happened until now is told: the probe that lets go still takes events, and soon will not. */
static void flush(struct wvu_source *source)
{
    (void)wvu_event_wait(&source->flushed, 0); /* of an earlier one that took too long */
    wvu_store_release(&source->flush, 1);
    wvu_rings_want_attention(&source->rings);
    if (wvu_event_wait(&source->flushed, FLUSH_NS) != WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_SENSOR,
                        "the last events of a probe may be missing: the reader of the "
                        "kernel's rings did not get to them in time");
}

void wvu_source_release(struct wvu_source *source, enum wvu_source_use use)
{
    wvu_mutex_acquire(&source->control);
    bool was_used = source->used[use];
    source->used[use] = false;
    if (was_used && !is_running(source)) {
        stop(source);
    } else if (was_used) {
        if (use == WVU_SOURCE_THREADS)
            wvu_programs_want_threads(source->programs, false);
        if (use == WVU_SOURCE_PROCESSES && source->enforcer.denials != NULL)
            wvu_source_renew_denials(source, false);
        if (use != WVU_SOURCE_LISTS)
            flush(source);
    }
    wvu_mutex_release(&source->control);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool is_power_of_two(uint32_t value)
{
    return (value & (value - 1)) == 0;
}

wvu_status wvu_source_create(const struct wvu_source_settings *settings,
                             struct wvu_source **created)
{
    struct wvu_source_settings wanted = *settings;
    if (wanted.ring_bytes == 0)
        wanted.ring_bytes = WVU_RING_BYTES_DEFAULT;
    if (wanted.processes == 0)
        wanted.processes = WVU_PROCESSES_DEFAULT;
    if (wanted.ring_bytes < WVU_RING_BYTES_MIN || wanted.ring_bytes > WVU_RING_BYTES_MAX ||
        !is_power_of_two(wanted.ring_bytes) || wanted.processes < WVU_PROCESSES_MIN ||
        wanted.processes > WVU_PROCESSES_MAX)
        return WVU_STATUS_INVALID_PARAMETER;
    struct wvu_source *source = wvu_os_alloc(sizeof *source, SOURCE_TAG);
    if (source == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_status status = wvu_mutex_init(&source->control);
    if (status != WVU_STATUS_OK)
        goto free_source;
    status = wvu_event_init(&source->flushed);
    if (status != WVU_STATUS_OK)
        goto destroy_mutex;
    status = wvu_event_init(&source->answered);
    if (status != WVU_STATUS_OK)
        goto destroy_flushed;
    source->settings = wanted;
    *created = source;
    return WVU_STATUS_OK;

destroy_flushed:
    wvu_event_destroy(&source->flushed);
destroy_mutex:
    wvu_mutex_destroy(&source->control);
free_source:
    wvu_os_free(source, SOURCE_TAG);
    return status;
}

void wvu_source_destroy(struct wvu_source *source)
{
    if (source == NULL)
        return;
    wvu_event_destroy(&source->answered);
    wvu_event_destroy(&source->flushed);
    wvu_mutex_destroy(&source->control);
    wvu_os_free(source, SOURCE_TAG);
}

void wvu_source_read_counters(struct wvu_source *source, struct wvu_source_counters *counters)
{
    const uint64_t *from = (const uint64_t *)&source->counters;
    uint64_t *to = (uint64_t *)counters;
    for (size_t i = 0; i < sizeof *counters / sizeof *to; i++)
        to[i] = wvu_load64_relaxed(&from[i]);
}
