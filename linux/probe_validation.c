/*
 * The probe that compares what different lists say of the processes that run: the kernel's own one (by a BPF
 * iterator), what the ProcessCreate probe saw start and end, and /proc. When ProcessCreate does not run, or lost
 * events, its list is left out.
 *
 * All of it runs under the probe's control mutex: start and stop, and run in the poller's thread. What was
 * told of is remembered from one run to the next: a mismatch is told when it is found, and not again before
 * it was gone once or its lists are others.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "log.h"
#include "os.h"
#include "probes.h"
#include "process_lists.h"
#include "programs.h"
#include "source.h"

#define VALIDATION_TAG WVU_TAG('W', 'v', 'V', 'a')
#define REASON_SIZE    256
#define INTERVAL_NS    UINT64_C(30000000000)

struct validation {
    struct wvu_source *source;
    struct wvu_process_lists lists; /* of the present look; empty otherwise */
    struct wvu_mismatches told;     /* that the last run found */
};

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    struct wvu_linux_host *host = probe->host;
    wvu_status status = wvu_process_lists_check(reason);
    if (status != WVU_STATUS_OK)
        return status;
    struct validation *validation = wvu_os_alloc(sizeof *validation, VALIDATION_TAG);
    if (validation == NULL)
        return WVU_STATUS_NO_MEMORY;
    status = wvu_source_acquire(host->source, WVU_SOURCE_LISTS, probe, reason);
    if (status != WVU_STATUS_OK) {
        wvu_os_free(validation, VALIDATION_TAG);
        return status;
    }
    validation->source = host->source;
    probe->context = validation;
    return WVU_STATUS_OK;
}

static void stop(struct wvu_probe *probe)
{
    struct validation *validation = probe->context;
    wvu_source_release(validation->source, WVU_SOURCE_LISTS);
    wvu_mismatches_free(&validation->told);
    wvu_os_free(validation, VALIDATION_TAG);
    probe->context = NULL;
}

/* ---- a look ---------------------------------------------------------------------------------------------- */

static void add_running(void *context, const struct wvu_sample_running *running)
{
    struct wvu_listed process = {
        .pid = running->task.pid,
        .key = running->task.key,
        .start = running->start_time,
        .dead = (running->task.flags & WVU_TASK_DEAD) != 0,
    };
    memcpy(process.name, running->comm, sizeof process.name);
    wvu_process_list_add(context, &process);
}

static wvu_status list_kernel(struct wvu_source *source, struct wvu_process_list *list)
{
    wvu_status status = wvu_source_walk(source, add_running, list);
    wvu_process_list_sort(list);
    return status == WVU_STATUS_OK && list->failed ? WVU_STATUS_NO_MEMORY : status;
}

static void add_followed(void *context, const struct wvu_followed *followed)
{
    const struct wvu_listed process = {.pid = followed->task->pid, .key = followed->task->key};
    wvu_process_list_add(context, &process);
}

static wvu_status list_callbacks(struct validation *validation)
{
    struct wvu_process_list *list = &validation->lists.callbacks;
    wvu_status status = wvu_source_list(validation->source, add_followed, list);
    wvu_process_list_sort(list);
    validation->lists.has_callbacks = status == WVU_STATUS_OK;
    if (status == WVU_STATUS_INVALID_STATE || status == WVU_STATUS_AGAIN)
        return WVU_STATUS_OK;
    return status == WVU_STATUS_OK && list->failed ? WVU_STATUS_NO_MEMORY : status;
}

static wvu_status take_lists(struct validation *validation)
{
    struct wvu_process_lists *lists = &validation->lists;
    lists->begun = wvu_os_uptime();
    wvu_status status = list_kernel(validation->source, &lists->before);
    if (status == WVU_STATUS_OK)
        status = list_callbacks(validation);
    if (status == WVU_STATUS_OK)
        status = wvu_process_lists_read_proc(&lists->proc);
    if (status == WVU_STATUS_OK)
        status = list_kernel(validation->source, &lists->after);
    return status;
}

static wvu_status look(struct validation *validation, struct wvu_mismatches *mismatches)
{
    struct wvu_process_lists *lists = &validation->lists;
    wvu_status status = take_lists(validation);
    if (status == WVU_STATUS_OK) {
        wvu_process_lists_compare(lists, mismatches);
        status = mismatches->failed ? WVU_STATUS_NO_MEMORY : WVU_STATUS_OK;
    }
    wvu_process_list_free(&lists->before);
    wvu_process_list_free(&lists->callbacks);
    wvu_process_list_free(&lists->proc);
    wvu_process_list_free(&lists->after);
    return status;
}

/* ---- an event -------------------------------------------------------------------------------------------- */

struct names {
    char text[32]; /* each followed by a NUL */
    uint32_t size;
};

static void add_name(struct names *names, const char *name)
{
    uint32_t size = (uint32_t)strlen(name) + 1;
    memcpy(names->text + names->size, name, size);
    names->size += size;
}

static struct names names_of(uint32_t lists)
{
    struct names names = {.size = 0};
    if ((lists & WVU_LIST_KERNEL) != 0)
        add_name(&names, "Kernel");
    if ((lists & WVU_LIST_CALLBACKS) != 0)
        add_name(&names, "Callbacks");
    if ((lists & WVU_LIST_PROC) != 0)
        add_name(&names, "Proc");
    return names;
}

/* The path of what it runs, or at least the name of its first thread. */
static void name_program(struct wvu_source_process *process, const struct wvu_mismatch *mismatch)
{
    char path[32];
    if (process->image_size != 0)
        return;
    snprintf(path, sizeof path, "/proc/%u/exe", process->pid);
    ssize_t size = readlink(path, process->image, sizeof process->image);
    if (size <= 0) {
        size = (ssize_t)strnlen(mismatch->name, sizeof mismatch->name);
        memcpy(process->image, mismatch->name, (size_t)size);
    }
    process->image_size = (uint32_t)size;
}

#define PRESENT(field) WVU_PRESENT(wvu_process_list_validation_failed, field)
#define MEMBER(name)   offsetof(struct wvu_process_list_validation_failed, name)

static void report(struct wvu_probe *probe, const struct wvu_mismatch *mismatch,
                   const struct wvu_source_process *process)
{
    const struct names in = names_of(mismatch->in);
    const struct names not_in = names_of(mismatch->not_in);
    const struct wvu_text_source texts[] = {
        wvu_text_whole(MEMBER(in_lists), 1, in.text, in.size),
        wvu_text_whole(MEMBER(not_in_lists), 1, not_in.text, not_in.size),
        wvu_text_whole(MEMBER(image_file_name), 1, process->image, process->image_size),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessListValidationFailed,
                    sizeof(struct wvu_process_list_validation_failed), texts, 3);
    struct wvu_process_list_validation_failed *to = wvu_probe_reserve(probe, &plan, NULL);
    if (to == NULL)
        return;
    to->record.process_id = mismatch->pid;
    to->record.process_key = mismatch->key;
    to->status = WVU_STATUS_NOT_FOUND;
    to->record.present = PRESENT(Status) | PRESENT(InLists) | PRESENT(NotInLists) |
                         (process->image_size != 0 ? PRESENT(ImageFileName) : 0);
    wvu_record_fill_texts(&to->record, &plan, texts);
    wvu_probe_commit(probe, &to->record);
}

static void tell(struct wvu_probe *probe, const struct wvu_mismatch *mismatch)
{
    const struct validation *validation = probe->context;
    struct wvu_source_process process = {.pid = mismatch->pid, .key = mismatch->key};
    wvu_source_find(validation->source, &process);
    name_program(&process, mismatch);
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, WVU_EVENT_ProcessListValidationFailed, process.wanted))
        report(probe, mismatch, &process);
    wvu_probe_time_end(probe, begun);
}

static void tell_new(struct wvu_probe *probe, const struct wvu_mismatches *mismatches)
{
    const struct validation *validation = probe->context;
    for (uint32_t i = 0; i < mismatches->count; i++) {
        if (!wvu_mismatches_have(&validation->told, &mismatches->entries[i]))
            tell(probe, &mismatches->entries[i]);
    }
    if (mismatches->count != 0)
        wvu_probe_wake(probe);
}

/* ---- a run ----------------------------------------------------------------------------------------------- */

/* Mostly one look finds nothing and is all there is to do. */
static wvu_status find_mismatches(struct validation *validation, struct wvu_mismatches *mismatches)
{
    struct wvu_mismatches second = {0};
    wvu_status status = look(validation, mismatches);
    if (status != WVU_STATUS_OK || mismatches->count == 0)
        return status;
    status = look(validation, &second);
    wvu_mismatches_confirm(mismatches, &second);
    wvu_mismatches_free(&second);
    return status;
}

static wvu_status run(struct wvu_probe *probe)
{
    char reason[REASON_SIZE];
    struct validation *validation = probe->context;
    struct wvu_mismatches mismatches = {0};
    wvu_status status = wvu_process_lists_check(reason);
    if (status != WVU_STATUS_OK) {
        wvu_log_warning(WVU_LOG_POLL, "the lists of processes are not compared: %s", reason);
        return status;
    }
    status = find_mismatches(validation, &mismatches);
    if (status != WVU_STATUS_OK) {
        wvu_mismatches_free(&mismatches);
        return status;
    }
    tell_new(probe, &mismatches);
    wvu_mismatches_free(&validation->told);
    validation->told = mismatches;
    return WVU_STATUS_OK;
}

static const uint16_t events[] = {WVU_EVENT_ProcessListValidationFailed, 0};

const struct wvu_probe_definition wvu_validation_probe = {
    .name = "ProcessListValidation",
    .attributes = WVU_PROBE_TEMPORAL | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .interval_ns = INTERVAL_NS,
    .events = events,
    .start = start,
    .stop = stop,
    .run = run,
};
