/*
 * Announces the processes that run when the process probe starts. PASSIVE_LEVEL, in the thread that
 * starts the probe. No state. What cannot be found out about a process is left out; if the list
 * cannot be had at all, the log says so and the probe runs without.
 *
 * A process that is created or ends in the very moment in which the probe starts may be announced
 * twice, or after its end; its key is the same each time.
 */
#include "running_processes.h"

#include "log.h"
#include "nt_host.h"
#include "process_judge.h"
#include "process_report.h"
#include "routines.h"
#include "system_processes.h"

/* "NtQueryInformationProcess", ProcessBasicInformation and PROCESS_BASIC_INFORMATION. */
#define PROCESS_BASIC_INFORMATION_CLASS 0
struct basic_information {
    NTSTATUS exit_status;
    PVOID peb;
    ULONG_PTR affinity;
    LONG base_priority;
    ULONG_PTR unique_process_id;
    ULONG_PTR inherited_from_unique_process_id;
};

static HANDLE parent_of(PEPROCESS process)
{
    struct basic_information information = {.inherited_from_unique_process_id = 0};
    HANDLE handle;
    if (wvu_routines.query_information_process == NULL ||
        !NT_SUCCESS(ObOpenObjectByPointer(process, OBJ_KERNEL_HANDLE, NULL,
                                          WVU_PROCESS_QUERY_INFORMATION, NULL, KernelMode,
                                          &handle)))
        return NULL;
    NTSTATUS status = wvu_routines.query_information_process(
        handle, PROCESS_BASIC_INFORMATION_CLASS, &information, sizeof information, NULL);
    (void)ZwClose(handle);
    return NT_SUCCESS(status) ? (HANDLE)information.inherited_from_unique_process_id : NULL;
}

/* It may have ended before the table had it; then nobody would ever take it out again. */
static void forget_if_ended(struct wvu_probe *probe, const struct wvu_process_start *start)
{
    const struct wvu_nt_host *host = probe->host;
    if (wvu_routines.process_exit_status != NULL &&
        wvu_routines.process_exit_status(start->process) != STATUS_PENDING)
        (void)wvu_process_table_remove(host->processes, (uint32_t)(uintptr_t)start->process_id,
                                       start->process_key, NULL);
}

static void report(struct wvu_probe *probe, PEPROCESS process,
                   const struct wvu_system_process *listed)
{
    UNICODE_STRING *path = wvu_process_image(process);
    struct wvu_process_start start = {
        .process = process,
        .process_id = listed->id,
        .parent_id = parent_of(process),
        .cause = WVU_CREATE_RUNNING,
        .image_file_name = path,
    };
    /* Minimal processes (System, Registry) have no file; then the list's name must do. */
    if ((path == NULL || path->Length == 0) && listed->name->Buffer != NULL)
        start.image_file_name = listed->name;
    wvu_process_learn(probe, &start);
    wvu_process_report_start(probe, &start);
    forget_if_ended(probe, &start);
    wvu_process_image_free(path);
}

struct visit {
    struct wvu_probe *probe;
    int64_t registered_at;
};

static void report_if_older(void *context, const struct wvu_system_process *listed)
{
    const struct visit *visit = context;
    PEPROCESS process;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(listed->id, &process)))
        return; /* gone */
    if (wvu_routines.process_create_time == NULL ||
        wvu_routines.process_create_time(process) < visit->registered_at)
        report(visit->probe, process, listed);
    ObDereferenceObject(process);
}

void wvu_running_processes_report(struct wvu_probe *probe, int64_t registered_at)
{
    struct visit visit = {probe, registered_at};
    NTSTATUS status = wvu_system_processes_visit(report_if_older, &visit);
    if (!NT_SUCCESS(status) &&
        wvu_routines.query_system_information != NULL) /* else: said at load */
        wvu_log_warning(
            WVU_LOG_PROCESS,
            "the list of processes cannot be had (0x%08x); those that run already are not "
            "announced",
            (unsigned)status);
}
