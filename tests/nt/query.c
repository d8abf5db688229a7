/*
 * What a driver can ask about processes that run: the list of all, the parent, the image's path.
 *
 * SYSTEM_PROCESS_INFORMATION entries have their threads behind them and their image name behind
 * those; the list is not larger than needed, so that an overread faults. Any thread, PASSIVE_LEVEL.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define STATUS_INFO_LENGTH_MISMATCH NT_STATUS(0xC0000004)
#define PROCESSES_MAX               4096u
#define THREAD_ENTRY                80u /* SYSTEM_THREAD_INFORMATION */
#define THREAD_ID                   48u /* where its ClientId.UniqueThread is */

struct process_entry { /* SYSTEM_PROCESS_INFORMATION */
    uint32_t next;
    uint32_t threads;
    uint8_t reserved[48];
    UNICODE_STRING image_name;
    int32_t base_priority;
    uint32_t padding;
    HANDLE id;
    HANDLE parent;
    uint8_t more[160];
};
_Static_assert(sizeof(struct process_entry) == 256, "SYSTEM_PROCESS_INFORMATION");

static uint32_t entry_size(const struct nt_running *process)
{
    return (uint32_t)sizeof(struct process_entry) + THREAD_ENTRY +
           ((process->name_units * (uint32_t)sizeof(WCHAR) + 2 + 7) & ~7u);
}

static void write_entry(uint8_t *at, const struct nt_running *process)
{
    struct process_entry *entry = (struct process_entry *)(void *)at;
    const uint16_t bytes = (uint16_t)(process->name_units * sizeof(WCHAR));
    memset(entry, 0, sizeof *entry + THREAD_ENTRY);
    entry->next = entry_size(process);
    entry->threads = process->first_thread != 0 ? 1 : 0;
    entry->id = (HANDLE)process->id;
    entry->parent = (HANDLE)process->parent_id;
    memcpy(at + sizeof *entry + THREAD_ID, &process->first_thread, sizeof process->first_thread);
    if (bytes != 0) {
        WCHAR *text = (WCHAR *)(void *)(at + sizeof *entry + THREAD_ENTRY);
        memcpy(text, process->name, bytes);
        text[process->name_units] = 0;
        entry->image_name =
            (UNICODE_STRING){.Length = bytes, .MaximumLength = bytes, .Buffer = text};
    }
}

enum { SystemProcessInformation = 5 };

static NTSTATUS write_list(const struct nt_running *running, size_t count, uint8_t *at,
                           uint32_t size, uint32_t *needed)
{
    uint32_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += entry_size(&running[i]);
    if (needed != NULL)
        *needed = total;
    if (size < total)
        return STATUS_INFO_LENGTH_MISMATCH;
    for (size_t i = 0; i < count; i++) {
        write_entry(at, &running[i]);
        if (i + 1 == count)
            ((struct process_entry *)(void *)at)->next = 0;
        at += entry_size(&running[i]);
    }
    return STATUS_SUCCESS;
}

static NTAPI NTSTATUS ZwQuerySystemInformation(uint32_t class, void *out, uint32_t size,
                                               uint32_t *needed)
{
    if (class != SystemProcessInformation)
        return STATUS_INVALID_INFO_CLASS;
    struct nt_running *running = calloc(PROCESSES_MAX, sizeof *running);
    if (running == NULL)
        abort();
    running[0].first_thread = 1; /* the idle process, id 0 */
    size_t count = 1 + nt_running_processes(running + 1, PROCESSES_MAX - 1);
    NTSTATUS status = write_list(running, count, out, size, needed);
    free(running);
    return status;
}

struct basic_information { /* PROCESS_BASIC_INFORMATION */
    NTSTATUS exit_status;
    uint32_t padding;
    void *peb;
    uint64_t affinity;
    int32_t base_priority;
    uint32_t padding2;
    uint64_t id;
    uint64_t parent;
};

enum { ProcessBreakOnTermination = 29 };

static NTSTATUS answer_number(uint32_t number, void *out, uint32_t size, uint32_t *needed)
{
    if (size != sizeof number)
        return STATUS_INFO_LENGTH_MISMATCH;
    memcpy(out, &number, sizeof number);
    if (needed != NULL)
        *needed = sizeof number;
    return STATUS_SUCCESS;
}

static NTAPI NTSTATUS ZwQueryInformationProcess(HANDLE handle, uint32_t class, void *out,
                                                uint32_t size, uint32_t *needed)
{
    const struct nt_object *object = nt_handle_object(handle);
    if (object->type != NT_PROCESS)
        nt_broken(NT_RULE_HANDLE, "ZwQueryInformationProcess: the handle is not a process's");
    if ((nt_handle_access(handle) & PROCESS_QUERY_INFORMATION) == 0)
        nt_broken(NT_RULE_HANDLE, "ZwQueryInformationProcess: not opened for queries");
    const struct nt_process_plan *plan = nt_process_plan_of(object->body);
    if (class == ProcessBreakOnTermination)
        return answer_number(plan->critical, out, size, needed);
    if (class != 0)
        return STATUS_INVALID_INFO_CLASS;
    if (size != sizeof(struct basic_information))
        return STATUS_INFO_LENGTH_MISMATCH;
    *(struct basic_information *)out =
        (struct basic_information){.exit_status = NT_STATUS(0x00000103),
                                   .affinity = 3,
                                   .id = plan->id,
                                   .parent = plan->parent_id};
    if (needed != NULL)
        *needed = sizeof(struct basic_information);
    return STATUS_SUCCESS;
}

/* One block of pool: the string and its text. */
static NTAPI NTSTATUS SeLocateProcessImageName(void *process, UNICODE_STRING **out)
{
    const struct nt_process_plan *plan =
        nt_process_plan_of(nt_object_check(process, NT_PROCESS)->body);
    size_t bytes = plan->image_file_name != NULL ? plan->image_file_name->Length : 0;
    UNICODE_STRING *name = nt_pool_take(sizeof *name + bytes, 0x6E506553 /* "SePn" */, true, NULL);
    *name = (UNICODE_STRING){.Length = (uint16_t)bytes, .MaximumLength = (uint16_t)bytes};
    if (bytes != 0) {
        name->Buffer = (WCHAR *)(void *)(name + 1);
        memcpy(name->Buffer, plan->image_file_name->Buffer, bytes);
    }
    *out = name;
    return STATUS_SUCCESS;
}

static const struct nt_export exports[] = {
    NT_FALLIBLE(ZwQuerySystemInformation, PASSIVE_LEVEL, PASSIVE_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES, "winternl: NtQuerySystemInformation"),
    NT_FALLIBLE(ZwQueryInformationProcess, PASSIVE_LEVEL, PASSIVE_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES, "winternl: NtQueryInformationProcess"),
    NT_FALLIBLE(SeLocateProcessImageName, PASSIVE_LEVEL, PASSIVE_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES, "ntifs/nf-ntifs-selocateprocessimagename"),
};
const struct nt_export_table nt_query_table = NT_TABLE(exports);
