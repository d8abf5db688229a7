/*
 * The thread probe of Linux: threads that start and end, besides the first and the last one of a process.
 *
 * start and stop run under the probe's control mutex; the function that makes records is called by the
 * source's thread, inside the probe's run-down. A thread is always made by its own process here, so creator
 * and owner are one, and Remote is always false. Its name at the start is that of its creator: it is left out.
 */
#include <stddef.h>

#include "host.h"
#include "probes.h"
#include "source.h"

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    struct wvu_linux_host *host = probe->host;
    return wvu_source_acquire(host->source, WVU_SOURCE_THREADS, probe, reason);
}

static void stop(struct wvu_probe *probe)
{
    struct wvu_linux_host *host = probe->host;
    wvu_source_release(host->source, WVU_SOURCE_THREADS);
}

#define PRESENT(field) WVU_PRESENT(wvu_thread_create, field)

static void report_create(struct wvu_probe *probe, const struct wvu_thread_event *event,
                          const struct wvu_stamp *stamp)
{
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ThreadCreate, sizeof(struct wvu_thread_create), NULL, 0);
    struct wvu_thread_create *to = wvu_probe_reserve(probe, &plan, stamp);
    if (to == NULL)
        return;
    to->record.process_id = event->pid;
    to->record.process_key = event->key;
    to->thread_id = event->tid;
    to->creator_process_id = event->pid;
    to->creator_process_key = event->key;
    to->creator_thread_id = event->creator_tid;
    to->record.present = PRESENT(ThreadId) | PRESENT(CreatorProcessId) |
                         PRESENT(CreatorProcessKey) | PRESENT(CreatorThreadId) | PRESENT(Remote);
    wvu_record_fill_texts(&to->record, &plan, NULL);
    wvu_probe_commit(probe, &to->record);
}

static void report_destroy(struct wvu_probe *probe, const struct wvu_thread_event *event,
                           const struct wvu_stamp *stamp)
{
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ThreadDestroy, sizeof(struct wvu_thread_destroy), NULL, 0);
    struct wvu_thread_destroy *to = wvu_probe_reserve(probe, &plan, stamp);
    if (to == NULL)
        return;
    to->record.process_id = event->pid;
    to->record.process_key = event->key;
    to->thread_id = event->tid;
    to->record.present = WVU_PRESENT(wvu_thread_destroy, ThreadId);
    wvu_record_fill_texts(&to->record, &plan, NULL);
    wvu_probe_commit(probe, &to->record);
}

void wvu_thread_probe_changed(struct wvu_probe *probe, const struct wvu_thread_event *event,
                              const struct wvu_stamp *stamp)
{
    uint16_t type = event->ended ? WVU_EVENT_ThreadDestroy : WVU_EVENT_ThreadCreate;
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, type, event->wanted))
        (event->ended ? report_destroy : report_create)(probe, event, stamp);
    wvu_probe_time_end(probe, begun);
}

static const uint16_t events[] = {WVU_EVENT_ThreadCreate, WVU_EVENT_ThreadDestroy, 0};

const struct wvu_probe_definition wvu_thread_probe = {
    .name = "ThreadCreate",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .start = start,
    .stop = stop,
};
