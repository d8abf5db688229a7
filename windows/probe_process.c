/*
 * The process probe: processes that start and end.
 *
 * The system calls the routine "at PASSIVE_LEVEL inside a critical region with normal kernel APCs
 * disabled" ("PsSetCreateProcessNotifyRoutineEx"): for a start in the thread that created the
 * process, for an end in the last thread that left it. It asks the filter, fills a record and returns;
 * nothing here waits. CreationStatus is written in one place, for a `deny` rule that is to be enforced
 * (mitigation.c), so that no failure of the sensor can fail the start of a process.
 *
 * The table of processes (process_table.c) is open while the probe runs, and is filled before the record is
 * reserved: whatever else happens in the process finds it there.
 *
 * Three ways to be called, the best that the kernel has: Ex2 (also the processes of other
 * subsystems), Ex, and the old routine, which gives the pids alone. Removing a routine waits for
 * calls that are inside, and the probe's run-down protection (probe.c) waits for them again.
 *
 * When it starts, it first registers and then announces the processes that run already
 * (running_processes.c), so that a reader knows the world it joins.
 *
 * State: `registered` and the probe, written by start and stop under the probe's control mutex. The
 * system's routines take no context, hence `the_probe`; it is set before the routine is registered
 * and there is one process probe.
 */
#include <string.h>

#include "atomic.h"
#include "format.h"
#include "log.h"
#include "mitigation.h"
#include "nt.h"
#include "nt_host.h"
#include "process_judge.h"
#include "process_report.h"
#include "routines.h"
#include "running_processes.h"

#define REASON_SIZE 256

enum registration { NOT_REGISTERED, REGISTERED_EX2, REGISTERED_EX, REGISTERED_OLD };

static struct wvu_probe *the_probe;
static enum registration registered;

/* What the filter said about one that ends; the table has it no more. */
static uint32_t forget(struct wvu_probe *probe, HANDLE process_id)
{
    const struct wvu_nt_host *host = probe->host;
    struct wvu_process_entry entry;
    if (!wvu_process_table_remove(host->processes, (uint32_t)(uintptr_t)process_id, 0, &entry))
        return WVU_WANTED_ALL;
    return entry.wanted;
}

/* `process` NULL: it is gone already. */
static void report_end(struct wvu_probe *probe, PEPROCESS process, HANDLE process_id)
{
    struct wvu_record_plan plan;
    if (!wvu_probe_wants(probe, WVU_EVENT_ProcessDestroy, forget(probe, process_id)))
        return;
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, sizeof(struct wvu_process_destroy), NULL, 0);
    struct wvu_process_destroy *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event == NULL)
        return;
    event->record.process_id = (uint32_t)(uintptr_t)process_id;
    event->record.flags |= WVU_RECORD_UTF16;
    if (process != NULL) {
        event->record.process_key = wvu_process_key(process, process_id);
        event->eprocess = wvu_nt_host_name_object(probe->host, process);
        if (event->eprocess != 0)
            event->record.present |= WVU_PRESENT(wvu_process_destroy, EProcess);
        NTSTATUS status = STATUS_PENDING;
        if (wvu_routines.process_exit_status != NULL)
            status = wvu_routines.process_exit_status(process);
        if (status != STATUS_PENDING) { /* what it is until it is known */
            event->exit_code = (uint32_t)status;
            event->record.present |= WVU_PRESENT(wvu_process_destroy, ExitCode);
        }
    }
    wvu_probe_commit(probe, &event->record);
    wvu_probe_wake(probe);
}

/* ---- the system's calls: PASSIVE ---------------------------------------------------------------- */

/* creation_status NULL: this kernel does not ask. */
static void begin_process(struct wvu_probe *probe, struct wvu_process_start *start,
                          NTSTATUS *creation_status)
{
    struct wvu_denial denial;
    wvu_process_learn(probe, start);
    bool denied = wvu_mitigation_deny(probe, start, creation_status, &denial);
    wvu_process_report_start(probe, start);
    if (denied)
        wvu_mitigation_report_denied(probe, start, &denial);
}

_IRQL_requires_max_(PASSIVE_LEVEL) static VOID NTAPI
    on_process_ex(PEPROCESS process, HANDLE process_id, PPS_CREATE_NOTIFY_INFO info)
{
    struct wvu_probe *probe = the_probe;
    if (!wvu_probe_enter(probe))
        return;
    uint64_t begun = wvu_probe_time_begin(probe);
    if (info != NULL) {
        /* A process of another subsystem (WSL 1) may be a fork; what it is, is not told. */
        bool other_subsystem = (info->Flags & WVU_CREATE_IS_SUBSYSTEM_PROCESS) != 0;
        struct wvu_process_start start = {
            .process = process,
            .process_id = process_id,
            .parent_id = info->ParentProcessId,
            .cause = other_subsystem ? WVU_CREATE_UNKNOWN : WVU_CREATE_EXEC,
            .image_file_name = info->ImageFileName,
            .command_line = info->CommandLine,
            .info = info,
        };
        begin_process(probe, &start, &info->CreationStatus);
    } else {
        report_end(probe, process, process_id);
    }
    wvu_probe_time_end(probe, begun);
    wvu_probe_leave(probe);
}

/* The pids are all that the system tells; the filter also gets the path that can be asked for. */
static void begin_process_old(struct wvu_probe *probe, PEPROCESS process, HANDLE process_id,
                              HANDLE parent_id)
{
    UNICODE_STRING *image = process != NULL ? wvu_process_image(process) : NULL;
    struct wvu_process_start start = {
        .process = process,
        .process_id = process_id,
        .parent_id = parent_id,
        .cause = WVU_CREATE_EXEC,
        .judged_name = image,
    };
    begin_process(probe, &start, NULL);
    wvu_process_image_free(image);
}

_IRQL_requires_max_(PASSIVE_LEVEL) static VOID NTAPI
    on_process_old(HANDLE parent_id, HANDLE process_id, BOOLEAN created)
{
    struct wvu_probe *probe = the_probe;
    if (!wvu_probe_enter(probe))
        return;
    uint64_t begun = wvu_probe_time_begin(probe);
    PEPROCESS process;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(process_id, &process)))
        process = NULL;
    if (created)
        begin_process_old(probe, process, process_id, parent_id);
    else
        report_end(probe, process, process_id);
    if (process != NULL)
        ObDereferenceObject(process);
    wvu_probe_time_end(probe, begun);
    wvu_probe_leave(probe);
}

/* ---- start and stop: PASSIVE, under the probe's control mutex ----------------------------------- */

static NTSTATUS register_ex2(BOOLEAN remove)
{
    return wvu_routines.set_create_process_notify_ex2(WVU_CREATE_PROCESS_NOTIFY_SUBSYSTEMS,
                                                      (PVOID)(uintptr_t)on_process_ex, remove);
}

/* Tries the best way first. A way that this kernel has and that fails is worth a line in the log:
 * the next one tells less. */
static NTSTATUS register_best(void)
{
    NTSTATUS status;
    if (wvu_routines.set_create_process_notify_ex2 != NULL) {
        status = register_ex2(FALSE);
        if (NT_SUCCESS(status)) {
            registered = REGISTERED_EX2;
            return status;
        }
        wvu_log_warning(WVU_LOG_PROCESS,
                        "PsSetCreateProcessNotifyRoutineEx2 failed (0x%08x); trying Ex",
                        (unsigned)status);
    }
    if (wvu_routines.set_create_process_notify_ex != NULL) {
        status = wvu_routines.set_create_process_notify_ex(on_process_ex, FALSE);
        if (NT_SUCCESS(status)) {
            registered = REGISTERED_EX;
            return status;
        }
        wvu_log_warning(WVU_LOG_PROCESS,
                        "PsSetCreateProcessNotifyRoutineEx failed (0x%08x); trying the old one",
                        (unsigned)status);
    }
    status = PsSetCreateProcessNotifyRoutine(on_process_old, FALSE);
    if (NT_SUCCESS(status)) {
        registered = REGISTERED_OLD;
        wvu_log_warning(WVU_LOG_PROCESS,
                        "process events have pids only: no command line, no image name");
    }
    return status;
}

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    const struct wvu_nt_host *host = probe->host;
    the_probe = probe;
    wvu_process_table_open(host->processes);
    int64_t registered_at = wvu_os_system_time();
    NTSTATUS status = register_best();
    if (NT_SUCCESS(status)) {
        wvu_running_processes_report(probe, registered_at);
        return WVU_STATUS_OK;
    }
    wvu_process_table_close(host->processes);
    (void)wvu_format(
        reason, REASON_SIZE,
        "no process routine could be registered (0x%08x); the system has a limit of 64 "
        "such routines, and asks for an image that was linked with /integritycheck",
        (unsigned)status);
    return WVU_STATUS_NO_RESOURCES;
}

static void stop(struct wvu_probe *probe)
{
    const struct wvu_nt_host *host = probe->host;
    NTSTATUS status = STATUS_SUCCESS;
    if (registered == REGISTERED_EX2)
        status = register_ex2(TRUE);
    else if (registered == REGISTERED_EX)
        status = wvu_routines.set_create_process_notify_ex(on_process_ex, TRUE);
    else if (registered == REGISTERED_OLD)
        status = PsSetCreateProcessNotifyRoutine(on_process_old, TRUE);
    registered = NOT_REGISTERED;
    wvu_process_table_close(host->processes);
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_PROCESS, "the process routine could not be removed (0x%08x)",
                      (unsigned)status);
}

static const uint16_t events[] = {WVU_EVENT_ProcessCreate, WVU_EVENT_ProcessDestroy, 0};

const struct wvu_probe_definition wvu_process_probe = {
    .name = "ProcessCreate",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .start = start,
    .stop = stop,
    .mitigate = wvu_mitigation_terminate,
};
