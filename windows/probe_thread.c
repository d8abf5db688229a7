/*
 * The thread probe: threads that start and end.
 *
 * The system calls the routine at PASSIVE_LEVEL or APC_LEVEL, for a start "in the context of the thread that
 * created the new thread", for an end "in the context of this thread when the thread exits"
 * ("PCREATE_THREAD_NOTIFY_ROUTINE"). So the creator is whoever runs it, unless that is the new thread itself, as
 * some ways to register have it; then the creator is not known. It fills a record and returns.
 *
 * The start address is what a documented query tells of the new thread (ThreadQuerySetWin32StartAddress),
 * which is for PASSIVE_LEVEL; at APC_LEVEL, on a kernel without the query, or when it fails, it is left out and
 * IsStartAddressValid says so. Addresses of the kernel are nobody's business. Where below the program's own
 * start address the thread begins (in the system's library) no documented routine tells.
 *
 * The first thread of a process starts with it and the last one ends with it; they are no events of their own.
 * Which these are, the table of processes counts, for processes that started while both probes ran. Of others
 * the first thread was there already, and their last one has an event.
 *
 * State: as in probe_process.c.
 */
#include "format.h"
#include "log.h"
#include "nt.h"
#include "nt_host.h"
#include "process_identity.h"
#include "routines.h"

#define REASON_SIZE 256

/* "NtQueryInformationThread", ThreadQuerySetWin32StartAddress. */
#define WIN32_START_ADDRESS_CLASS 9

/* The lower half of the address space: what user programs have, on x64 and ARM64. */
#define USER_SPACE_END UINT64_C(0x0000800000000000)

static struct wvu_probe *the_probe;

static uint32_t id_of(HANDLE id)
{
    return (uint32_t)(uintptr_t)id;
}

/* 0: it cannot be had. */
static uint64_t start_address_of(HANDLE thread_id)
{
    PETHREAD thread;
    HANDLE handle;
    PVOID address = NULL;
    if (wvu_routines.query_information_thread == NULL || KeGetCurrentIrql() > PASSIVE_LEVEL ||
        !NT_SUCCESS(PsLookupThreadByThreadId(thread_id, &thread)))
        return 0;
    NTSTATUS status = ObOpenObjectByPointer(
        thread, OBJ_KERNEL_HANDLE, NULL, WVU_THREAD_QUERY_INFORMATION, NULL, KernelMode, &handle);
    if (NT_SUCCESS(status)) {
        status = wvu_routines.query_information_thread(handle, WIN32_START_ADDRESS_CLASS, &address,
                                                       sizeof address, NULL);
        (void)ZwClose(handle);
    }
    ObDereferenceObject(thread);
    return NT_SUCCESS(status) && (uintptr_t)address < USER_SPACE_END ? (uintptr_t)address : 0;
}

static void fill_creator(struct wvu_thread_create *event, const struct wvu_nt_host *host,
                         enum wvu_thread_place place)
{
    struct wvu_process_entry creator;
    HANDLE process_id = PsGetCurrentProcessId();
    event->creator_process_id = id_of(process_id);
    event->creator_thread_id = id_of(PsGetCurrentThreadId());
    event->record.present |= WVU_PRESENT(wvu_thread_create, CreatorProcessId) |
                             WVU_PRESENT(wvu_thread_create, CreatorThreadId);
    if (event->creator_process_id == event->record.process_id)
        event->creator_process_key = event->record.process_key;
    else if (wvu_process_table_find(host->processes, event->creator_process_id, &creator))
        event->creator_process_key = creator.process_key;
    else
        event->creator_process_key = wvu_process_key_of_pid(process_id);
    if (event->creator_process_key != 0)
        event->record.present |= WVU_PRESENT(wvu_thread_create, CreatorProcessKey);
    /* The first thread is made by the parent: when it may be that one, it is not known. */
    event->remote = event->creator_process_id != event->record.process_id;
    if (!event->remote || place == WVU_THREAD_BETWEEN)
        event->record.present |= WVU_PRESENT(wvu_thread_create, Remote);
    else
        event->remote = 0;
}

static void fill_process(struct wvu_record *record, HANDLE process_id, uint64_t key)
{
    record->process_id = id_of(process_id);
    record->process_key = key != 0 ? key : wvu_process_key_of_pid(process_id);
    record->flags |= WVU_RECORD_UTF16;
}

static void report_start(struct wvu_probe *probe, HANDLE process_id, uint64_t key, HANDLE thread_id,
                         enum wvu_thread_place place)
{
    struct wvu_record_plan plan;
    uint64_t address = start_address_of(thread_id); /* before the room is taken */
    wvu_record_plan(&plan, WVU_EVENT_ThreadCreate, sizeof(struct wvu_thread_create), NULL, 0);
    struct wvu_thread_create *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event == NULL)
        return;
    fill_process(&event->record, process_id, key);
    event->thread_id = id_of(thread_id);
    event->win32_start_address = address;
    event->is_start_address_valid = address != 0;
    event->record.present = WVU_PRESENT(wvu_thread_create, ThreadId) |
                            WVU_PRESENT(wvu_thread_create, IsStartAddressValid);
    if (address != 0)
        event->record.present |= WVU_PRESENT(wvu_thread_create, Win32StartAddress);
    if (PsGetCurrentThreadId() != thread_id)
        fill_creator(event, probe->host, place);
    wvu_probe_commit(probe, &event->record);
    wvu_probe_wake(probe);
}

static void report_end(struct wvu_probe *probe, HANDLE process_id, uint64_t key, HANDLE thread_id)
{
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ThreadDestroy, sizeof(struct wvu_thread_destroy), NULL, 0);
    struct wvu_thread_destroy *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event == NULL)
        return;
    fill_process(&event->record, process_id, key);
    event->thread_id = id_of(thread_id);
    event->record.present = WVU_PRESENT(wvu_thread_destroy, ThreadId);
    wvu_probe_commit(probe, &event->record);
    wvu_probe_wake(probe);
}

/* ---- the system's call: at most APC_LEVEL ------------------------------------------------------------- */

static void handle_thread(struct wvu_probe *probe, HANDLE process_id, HANDLE thread_id, bool starts)
{
    const struct wvu_nt_host *host = probe->host;
    struct wvu_process_entry owner = {.wanted = WVU_WANTED_ALL};
    enum wvu_thread_place place =
        starts ? wvu_process_table_thread_starts(host->processes, id_of(process_id))
               : wvu_process_table_thread_ends(host->processes, id_of(process_id));
    if (place == WVU_THREAD_FIRST_OR_LAST)
        return;
    (void)wvu_process_table_find(host->processes, id_of(process_id), &owner);
    uint16_t type = starts ? WVU_EVENT_ThreadCreate : WVU_EVENT_ThreadDestroy;
    if (!wvu_probe_wants(probe, type, owner.wanted))
        return;
    if (starts)
        report_start(probe, process_id, owner.process_key, thread_id, place);
    else
        report_end(probe, process_id, owner.process_key, thread_id);
}

_IRQL_requires_max_(APC_LEVEL) static VOID NTAPI
    on_thread(HANDLE process_id, HANDLE thread_id, BOOLEAN created)
{
    struct wvu_probe *probe = the_probe;
    if (!wvu_probe_enter(probe))
        return;
    uint64_t begun = wvu_probe_time_begin(probe);
    handle_thread(probe, process_id, thread_id, created != FALSE);
    wvu_probe_time_end(probe, begun);
    wvu_probe_leave(probe);
}

/* ---- start and stop: PASSIVE, under the probe's control mutex ----------------------------------------- */

/* Ex also tells of the threads of other subsystems (WSL 1). */
static NTSTATUS register_best(void)
{
    if (wvu_routines.set_create_thread_notify_ex != NULL) {
        NTSTATUS status = wvu_routines.set_create_thread_notify_ex(
            WVU_CREATE_THREAD_NOTIFY_SUBSYSTEMS, (PVOID)(uintptr_t)on_thread);
        if (NT_SUCCESS(status))
            return status;
        wvu_log_warning(WVU_LOG_THREAD,
                        "PsSetCreateThreadNotifyRoutineEx failed (0x%08x); trying the old one",
                        (unsigned)status);
    }
    return PsSetCreateThreadNotifyRoutine(on_thread);
}

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    const struct wvu_nt_host *host = probe->host;
    the_probe = probe;
    NTSTATUS status = register_best();
    if (NT_SUCCESS(status)) {
        /* After that every thread is counted, so from here on the counts of new processes are right. */
        wvu_process_table_forget_threads(host->processes);
        return WVU_STATUS_OK;
    }
    (void)wvu_format(reason, REASON_SIZE,
                     "no thread routine could be registered (0x%08x); the system has a limit of 64 "
                     "such routines",
                     (unsigned)status);
    return WVU_STATUS_NO_RESOURCES;
}

static void stop(struct wvu_probe *probe)
{
    (void)probe;
    NTSTATUS status = PsRemoveCreateThreadNotifyRoutine(on_thread);
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_THREAD, "the thread routine could not be removed (0x%08x)",
                      (unsigned)status);
}

static const uint16_t events[] = {WVU_EVENT_ThreadCreate, WVU_EVENT_ThreadDestroy, 0};

const struct wvu_probe_definition wvu_thread_probe = {
    .name = "ThreadCreate",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .start = start,
    .stop = stop,
};
