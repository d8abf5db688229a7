/*
 * Announces the processes that run when the process probe starts. PASSIVE_LEVEL, in the thread that
 * starts the probe. No state. What cannot be found out about a process is left out; if the list
 * cannot be had at all, the log says so and the probe runs without.
 *
 * A process that is created or ends in the very moment in which the probe starts may be announced
 * twice, or after its end; its key is the same each time.
 *
 * The routines are looked up at load: their pages advise it ("may be altered or unavailable in future
 * versions of Windows").
 */
#include "running_processes.h"

#include "log.h"
#include "nt_host.h"
#include "process_judge.h"
#include "process_report.h"
#include "routines.h"

#define LIST_TAG   WVU_TAG('W', 'v', 'P', 'l')
#define LIST_FIRST (256u << 10)
#define LIST_MOST  (32u << 20)

/* "NtQuerySystemInformation", SystemProcessInformation and SYSTEM_PROCESS_INFORMATION. */
#define SYSTEM_PROCESS_INFORMATION_CLASS 5
struct process_information {
    ULONG next_entry_offset; /* 0: the last one */
    ULONG number_of_threads;
    UCHAR reserved1[48];
    UNICODE_STRING image_name;
    LONG base_priority;
    HANDLE unique_process_id;
};
#if defined(_WIN64)
_Static_assert(offsetof(struct process_information, image_name) == 56, "process_information");
_Static_assert(offsetof(struct process_information, unique_process_id) == 80,
               "process_information");
#endif

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

/* The list as the system gives it; NULL when it cannot be had. Freed with wvu_os_free. */
static void *read_list(ULONG *size)
{
    NTSTATUS status = STATUS_NOT_SUPPORTED;
    for (ULONG capacity = LIST_FIRST; capacity <= LIST_MOST; capacity *= 2) {
        void *list = wvu_os_alloc(capacity, LIST_TAG);
        status = STATUS_NO_MEMORY;
        if (list == NULL)
            break;
        status = wvu_routines.query_system_information(SYSTEM_PROCESS_INFORMATION_CLASS, list,
                                                       capacity, size);
        if (NT_SUCCESS(status)) {
            *size = capacity;
            return list;
        }
        wvu_os_free(list, LIST_TAG);
        if (status != STATUS_INFO_LENGTH_MISMATCH)
            break;
    }
    wvu_log_warning(WVU_LOG_PROCESS,
                    "the list of processes cannot be had (0x%08x); those that run already are not "
                    "announced",
                    (unsigned)status);
    return NULL;
}

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
                   const struct process_information *information)
{
    UNICODE_STRING *path = wvu_process_image(process);
    struct wvu_process_start start = {
        .process = process,
        .process_id = information->unique_process_id,
        .parent_id = parent_of(process),
        .cause = WVU_CREATE_RUNNING,
        .image_file_name = path,
    };
    /* Minimal processes (System, Registry) have no file; then the list's name must do. */
    if ((path == NULL || path->Length == 0) && information->image_name.Buffer != NULL)
        start.image_file_name = &information->image_name;
    wvu_process_learn(probe, &start);
    wvu_process_report_start(probe, &start);
    forget_if_ended(probe, &start);
    wvu_process_image_free(path);
}

static void report_if_older(struct wvu_probe *probe, int64_t registered_at,
                            const struct process_information *information)
{
    PEPROCESS process;
    if (information->unique_process_id == NULL ||
        !NT_SUCCESS(PsLookupProcessByProcessId(information->unique_process_id, &process)))
        return; /* the idle process, or gone */
    if (wvu_routines.process_create_time == NULL ||
        wvu_routines.process_create_time(process) < registered_at)
        report(probe, process, information);
    ObDereferenceObject(process);
}

void wvu_running_processes_report(struct wvu_probe *probe, int64_t registered_at)
{
    if (wvu_routines.query_system_information == NULL)
        return; /* said at load */
    ULONG size = 0;
    void *list = read_list(&size);
    if (list == NULL)
        return;
    const char *at = list;
    ULONG left = size;
    while (left >= sizeof(struct process_information)) {
        const struct process_information *information = (const void *)at;
        report_if_older(probe, registered_at, information);
        if (information->next_entry_offset == 0 || information->next_entry_offset > left)
            break;
        at += information->next_entry_offset;
        left -= information->next_entry_offset;
    }
    wvu_os_free(list, LIST_TAG);
}
