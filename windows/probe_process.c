/*
 * The process probe: processes that start and end.
 *
 * The system calls the routine "at PASSIVE_LEVEL inside a critical region with normal kernel APCs
 * disabled" ("PsSetCreateProcessNotifyRoutineEx"): for a start in the thread that created the
 * process, for an end in the last thread that left it. It fills a record and returns; nothing here
 * waits, and CreationStatus is read and never written, so that no failure of the sensor can fail the
 * start of a process.
 *
 * Three ways to be called, the best that the kernel has: Ex2 (also the processes of other
 * subsystems), Ex, and the old routine, which gives the pids alone. Removing a routine waits for
 * calls that are inside, and the probe's run-down protection (probe.c) waits for them again.
 *
 * State: `registered` and the probe, written by start and stop under the probe's control mutex. The
 * system's routines take no context, hence `the_probe`; it is set before the routine is registered
 * and there is one process probe.
 */
#include <string.h>

#include "atomic.h"
#include "format.h"
#include "log.h"
#include "nt.h"
#include "nt_host.h"
#include "process_identity.h"
#include "routines.h"

#define REASON_SIZE 256

enum registration { NOT_REGISTERED, REGISTERED_EX2, REGISTERED_EX, REGISTERED_OLD };

static struct wvu_probe *the_probe;
static enum registration registered;

static uint32_t id_of(HANDLE id)
{
    return (uint32_t)(uintptr_t)id;
}

/* A text of the kernel's; `string` may be NULL, and so may its buffer. Half a unit is left out. */
static struct wvu_text_source source_of(size_t member, const UNICODE_STRING *string)
{
    struct wvu_text_source source = {.member = (uint16_t)member, .unit = sizeof(WCHAR)};
    if (string != NULL && string->Buffer != NULL) {
        source.size = source.head = source.full_size = string->Length & ~1u;
        source.bytes = source.size != 0 ? string->Buffer : NULL;
    }
    return source;
}

/* What the callbacks tell of a start; the old one knows the first four alone. */
struct creation {
    PEPROCESS process; /* NULL when it is gone already */
    HANDLE process_id;
    HANDLE parent_id;
    const PS_CREATE_NOTIFY_INFO *info;
};

static void fill_creation(struct wvu_process_create *event, const struct wvu_nt_host *host,
                          const struct creation *creation)
{
    uint64_t present = WVU_PRESENT(wvu_process_create, ParentProcessId);
    event->record.process_id = id_of(creation->process_id);
    event->record.flags |= WVU_RECORD_UTF16;
    event->parent_process_id = id_of(creation->parent_id);
    event->parent_process_key = wvu_process_key_of_pid(creation->parent_id);
    if (event->parent_process_key != 0)
        present |= WVU_PRESENT(wvu_process_create, ParentProcessKey);
    if (creation->process != NULL) {
        event->record.process_key = wvu_process_key(creation->process, creation->process_id);
        event->eprocess = wvu_nt_host_name_object(host, creation->process);
        if (event->eprocess != 0)
            present |= WVU_PRESENT(wvu_process_create, EProcess);
    }
    const PS_CREATE_NOTIFY_INFO *info = creation->info;
    if (info != NULL) {
        event->unique_process = id_of(info->CreatingThreadId.UniqueProcess);
        event->unique_thread = id_of(info->CreatingThreadId.UniqueThread);
        event->creation_status = info->CreationStatus;
        event->file_object = wvu_nt_host_name_object(host, info->FileObject);
        present |= WVU_PRESENT(wvu_process_create, UniqueProcess) |
                   WVU_PRESENT(wvu_process_create, UniqueThread) |
                   WVU_PRESENT(wvu_process_create, CreationStatus);
        if (event->file_object != 0)
            present |= WVU_PRESENT(wvu_process_create, FileObject);
    }
    /* A process of another subsystem (WSL 1) may be a fork; what it is, is not told. */
    if (info == NULL || (info->Flags & WVU_CREATE_IS_SUBSYSTEM_PROCESS) == 0) {
        event->cause = WVU_CREATE_EXEC;
        present |= WVU_PRESENT(wvu_process_create, Cause);
    }
    event->record.present = present;
}

static void report_creation(struct wvu_probe *probe, const struct creation *creation)
{
    const PS_CREATE_NOTIFY_INFO *info = creation->info;
    struct wvu_process_user user = {.has_sid = false};
    if (creation->process != NULL)
        wvu_process_user_of(creation->process, &user);
    const UNICODE_STRING sid = {.Length = user.sid_size, .Buffer = user.sid};
    const struct wvu_text_source texts[] = {
        source_of(offsetof(struct wvu_process_create, image_file_name),
                  info != NULL ? info->ImageFileName : NULL),
        source_of(offsetof(struct wvu_process_create, command_line),
                  info != NULL ? info->CommandLine : NULL),
        source_of(offsetof(struct wvu_process_create, user_sid), &sid),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, sizeof(struct wvu_process_create), texts, 3);
    struct wvu_process_create *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event == NULL)
        return; /* counted */
    fill_creation(event, probe->host, creation);
    if (info != NULL && info->ImageFileName != NULL)
        event->record.present |= WVU_PRESENT(wvu_process_create, ImageFileName);
    if (info != NULL && info->CommandLine != NULL)
        event->record.present |= WVU_PRESENT(wvu_process_create, CommandLine);
    if (user.has_sid)
        event->record.present |= WVU_PRESENT(wvu_process_create, UserSid);
    if (user.has_session) {
        event->session_id = user.session;
        event->record.present |= WVU_PRESENT(wvu_process_create, SessionId);
    }
    wvu_record_fill_texts(&event->record, &plan, texts);
    wvu_probe_commit(probe, &event->record);
    wvu_probe_wake(probe);
}

/* `process` NULL: it is gone already. */
static void report_end(struct wvu_probe *probe, PEPROCESS process, HANDLE process_id)
{
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, sizeof(struct wvu_process_destroy), NULL, 0);
    struct wvu_process_destroy *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event == NULL)
        return;
    event->record.process_id = id_of(process_id);
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

static VOID NTAPI on_process_ex(PEPROCESS process, HANDLE process_id, PPS_CREATE_NOTIFY_INFO info)
{
    struct wvu_probe *probe = the_probe;
    if (!wvu_probe_enter(probe))
        return;
    if (info != NULL) {
        const struct creation creation = {
            .process = process,
            .process_id = process_id,
            .parent_id = info->ParentProcessId,
            .info = info,
        };
        report_creation(probe, &creation);
    } else {
        report_end(probe, process, process_id);
    }
    wvu_probe_leave(probe);
}

static VOID NTAPI on_process_old(HANDLE parent_id, HANDLE process_id, BOOLEAN created)
{
    struct wvu_probe *probe = the_probe;
    if (!wvu_probe_enter(probe))
        return;
    PEPROCESS process;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(process_id, &process)))
        process = NULL;
    if (created) {
        const struct creation creation = {
            .process = process,
            .process_id = process_id,
            .parent_id = parent_id,
        };
        report_creation(probe, &creation);
    } else {
        report_end(probe, process, process_id);
    }
    if (process != NULL)
        ObDereferenceObject(process);
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
    the_probe = probe;
    NTSTATUS status = register_best();
    if (NT_SUCCESS(status))
        return WVU_STATUS_OK;
    (void)wvu_format(
        reason, REASON_SIZE,
        "no process routine could be registered (0x%08x); the system has a limit of 64 "
        "such routines, and asks for an image that was linked with /integritycheck",
        (unsigned)status);
    return WVU_STATUS_NO_RESOURCES;
}

static void stop(struct wvu_probe *probe)
{
    NTSTATUS status = STATUS_SUCCESS;
    (void)probe;
    if (registered == REGISTERED_EX2)
        status = register_ex2(TRUE);
    else if (registered == REGISTERED_EX)
        status = wvu_routines.set_create_process_notify_ex(on_process_ex, TRUE);
    else if (registered == REGISTERED_OLD)
        status = PsSetCreateProcessNotifyRoutine(on_process_old, TRUE);
    registered = NOT_REGISTERED;
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_PROCESS, "the process routine could not be removed (0x%08x)",
                      (unsigned)status);
}

const struct wvu_probe_definition wvu_process_probe = {
    .name = "ProcessCreate",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .start = start,
    .stop = stop,
};
