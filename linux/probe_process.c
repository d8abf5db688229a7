/*
 * The process probe of Linux: processes that start, go on with a new program, and end.
 *
 * start, stop and mitigate run under the probe's control mutex; the two functions that make records are called by
 * the source's thread, inside the probe's run-down. What is told, and in which order, is decided in
 * tracker.c; here it only becomes records.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "mitigation.h"
#include "probes.h"
#include "source.h"

#define CORE_DUMPED 0x80u
#define REASON_SIZE 256

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

static void report_created(struct wvu_probe *probe, const struct wvu_created *event,
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

void wvu_process_probe_created(struct wvu_probe *probe, const struct wvu_created *event,
                               const struct wvu_stamp *stamp)
{
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, WVU_EVENT_ProcessCreate, event->verdict->wanted))
        report_created(probe, event, stamp);
    wvu_probe_time_end(probe, begun);
}

static void report_destroyed(struct wvu_probe *probe, const struct wvu_destroyed *event,
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

void wvu_process_probe_destroyed(struct wvu_probe *probe, const struct wvu_destroyed *event,
                                 const struct wvu_stamp *stamp)
{
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, WVU_EVENT_ProcessDestroy, event->wanted))
        report_destroyed(probe, event, stamp);
    wvu_probe_time_end(probe, begun);
}

/* ---- mitigation ------------------------------------------------------------------------------------------ */

struct deed {
    struct wvu_sensor *sensor;
    struct wvu_ending *ending;
    struct wvu_sample_running running; /* who has the pid */
    bool runs;
};

/* Key 0 means whoever has the pid now: from here on it is that process and no other. */
static void find_target(void *context, struct wvu_programs *programs)
{
    struct deed *deed = context;
    struct wvu_ending *ending = deed->ending;
    deed->runs = wvu_programs_find(programs, ending->pid, &deed->running) == WVU_STATUS_OK;
    if (deed->runs && ending->key == 0)
        ending->key = deed->running.task.key;
}

static void end_process(void *context, struct wvu_programs *programs)
{
    struct deed *deed = context;
    wvu_mitigation_end(deed->sensor, programs, deed->ending);
}

/* What it runs: as the source knows it, otherwise as /proc does, which is a guess for a process that ends. */
static void find_image(struct wvu_source_process *process)
{
    char path[32];
    if (process->image_size != 0)
        return;
    snprintf(path, sizeof path, "/proc/%u/exe", process->pid);
    ssize_t size = readlink(path, process->image, sizeof process->image);
    process->image_size = size > 0 ? (uint32_t)size : 0;
}

/* A process that the source does not follow can be protected all the same. */
static bool is_protected(const struct deed *deed, const struct wvu_source_process *process)
{
    const struct wvu_subject subject = {
        .image = process->image_size != 0 ? process->image : NULL,
        .image_size = process->image_size,
        .unit = 1,
        .has_user = deed->runs,
        .user_id = deed->running.task.user_id,
    };
    struct wvu_verdict verdict;
    if (process->is_protected)
        return true;
    wvu_sensor_judge(deed->sensor, &subject, &verdict);
    return verdict.is_protected;
}

static void report_ending(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                          const struct wvu_ending *ending, const struct wvu_source_process *process)
{
    const struct wvu_mitigation_report report = {
        .action = WVU_MITIGATION_TERMINATE,
        .outcome = ending->outcome,
        .status = ending->status,
        .process_id = ending->pid,
        .process_key = ending->key,
        .image = process->image,
        .image_size = process->image_size,
        .image_unit = 1,
        .reason = ending->reason,
        .requester = mitigation->requester,
    };
    wvu_sensor_report_mitigation(probe->sensor, probe, &report);
    wvu_probe_wake(probe);
}

static wvu_status terminate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                            char *reason)
{
    struct wvu_linux_host *host = probe->host;
    struct wvu_ending ending = {
        .pid = mitigation->process_id,
        .key = mitigation->process_key,
        .outcome = WVU_OUTCOME_FAILED,
    };
    struct wvu_source_process process = {.pid = ending.pid};
    struct deed deed = {.sensor = probe->sensor, .ending = &ending};
    wvu_status status = wvu_source_use_programs(host->source, find_target, &deed, ending.reason);
    process.key = ending.key;
    wvu_source_find(host->source, &process);
    find_image(&process);
    ending.is_protected = is_protected(&deed, &process);
    if (status == WVU_STATUS_OK)
        status = wvu_source_use_programs(host->source, end_process, &deed, ending.reason);
    if (status != WVU_STATUS_OK)
        ending.status = status; /* the kernel's programs cannot be loaded: nothing was tried */
    report_ending(probe, mitigation, &ending, &process);
    memcpy(reason, ending.reason, sizeof ending.reason);
    return ending.status;
}

static wvu_status mitigate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                           char *reason)
{
    if (mitigation->action == WVU_MITIGATION_TERMINATE)
        return terminate(probe, mitigation, reason);
    snprintf(reason, REASON_SIZE, "this probe can end processes; rules deny programs");
    return WVU_STATUS_NOT_SUPPORTED;
}

static const uint16_t events[] = {WVU_EVENT_ProcessCreate, WVU_EVENT_ProcessDestroy, 0};

const struct wvu_probe_definition wvu_process_probe = {
    .name = "ProcessCreate",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .start = start,
    .stop = stop,
    .mitigate = mitigate,
};
