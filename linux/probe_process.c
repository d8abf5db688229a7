/*
 * The process probe of Linux: processes that start, go on with a new program, and end.
 *
 * start and stop run under the probe's control mutex; the two functions that make records are called by
 * the source's thread, inside the probe's run-down. What is told, and in which order, is decided in
 * tracker.c; here it only becomes records.
 */
#include <stddef.h>

#include "host.h"
#include "probes.h"
#include "source.h"

#define CORE_DUMPED 0x80u

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    struct wvu_linux_host *host = probe->host;
    return wvu_source_acquire(host->source, WVU_SOURCE_PROCESSES, probe, reason);
}

static void stop(struct wvu_probe *probe)
{
    struct wvu_linux_host *host = probe->host;
    wvu_source_release(host->source, WVU_SOURCE_PROCESSES);
}

static struct wvu_text_source text(size_t member, const struct wvu_bytes *bytes)
{
    return (struct wvu_text_source){
        .member = (uint16_t)member,
        .unit = 1,
        .size = bytes->size,
        .head = bytes->head,
        .full_size = bytes->full_size,
        .bytes = bytes->bytes,
    };
}

#define PRESENT(field) WVU_PRESENT(wvu_process_create, field)

/* The fields that come from the kernel's description of the process. */
static void fill_task(struct wvu_process_create *to, const struct wvu_sample_task *task)
{
    to->parent_process_id = task->parent_pid;
    to->parent_process_key = task->parent_key;
    to->user_id = task->user_id;
    to->group_id = task->group_id;
    to->session_id = task->session_id;
    to->cgroup_id = task->cgroup_id;
    to->pid_namespace = task->pid_namespace;
    to->record.present |= PRESENT(ParentProcessId) | PRESENT(UserId) | PRESENT(GroupId) |
                          PRESENT(SessionId) | PRESENT(CgroupId) | PRESENT(PidNamespace);
    if (task->parent_key != 0)
        to->record.present |= PRESENT(ParentProcessKey);
    if (task->creator_pid != 0) {
        to->unique_process = task->creator_pid;
        to->unique_thread = task->creator_tid;
        to->record.present |= PRESENT(UniqueProcess) | PRESENT(UniqueThread);
    }
}

void wvu_process_probe_created(struct wvu_probe *probe, const struct wvu_created *event,
                               const struct wvu_stamp *stamp)
{
    const struct wvu_text_source texts[] = {
        text(offsetof(struct wvu_process_create, image_file_name), &event->image),
        text(offsetof(struct wvu_process_create, arguments), &event->arguments),
        text(offsetof(struct wvu_process_create, working_directory), &event->directory),
        text(offsetof(struct wvu_process_create, exec_file_name), &event->exec_name),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, sizeof(struct wvu_process_create), texts, 4);
    struct wvu_process_create *to = wvu_probe_reserve(probe, &plan, stamp);
    if (to == NULL)
        return;
    to->record.process_id = event->task->pid;
    to->record.process_key = event->task->key;
    to->cause = event->cause;
    to->inode = event->inode;
    to->record.present = PRESENT(Cause) | (event->inode != 0 ? PRESENT(Inode) : 0) |
                         (event->image.known ? PRESENT(ImageFileName) : 0) |
                         (event->exec_name.known ? PRESENT(ExecFileName) : 0) |
                         (event->arguments.known ? PRESENT(Arguments) : 0) |
                         (event->directory.known ? PRESENT(WorkingDirectory) : 0);
    if (event->task_known)
        fill_task(to, event->task);
    wvu_record_fill_texts(&to->record, &plan, texts);
    wvu_probe_commit(probe, &to->record);
}

void wvu_process_probe_destroyed(struct wvu_probe *probe, const struct wvu_destroyed *event,
                                 const struct wvu_stamp *stamp)
{
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, sizeof(struct wvu_process_destroy), NULL, 0);
    struct wvu_process_destroy *to = wvu_probe_reserve(probe, &plan, stamp);
    if (to == NULL)
        return;
    to->record.process_id = event->pid;
    to->record.process_key = event->key;
    uint32_t signal = event->status & 0x7F;
    if (event->status_known && signal == 0) {
        to->exit_code = event->status >> 8 & 0xFF;
        to->record.present = WVU_PRESENT(wvu_process_destroy, ExitCode);
    } else if (event->status_known) {
        to->signal = signal;
        to->core_dumped = (event->status & CORE_DUMPED) != 0;
        to->record.present =
            WVU_PRESENT(wvu_process_destroy, Signal) | WVU_PRESENT(wvu_process_destroy, CoreDumped);
    }
    wvu_record_fill_texts(&to->record, &plan, NULL);
    wvu_probe_commit(probe, &to->record);
}

static const uint16_t events[] = {WVU_EVENT_ProcessCreate, WVU_EVENT_ProcessDestroy, 0};

const struct wvu_probe_definition wvu_process_probe = {
    .name = "ProcessCreate",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .start = start,
    .stop = stop,
};
