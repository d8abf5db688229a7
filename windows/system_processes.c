/*
 * The system's list of processes. Called at PASSIVE_LEVEL, by the process probe when it starts and by the
 * validation of the lists of processes. No state.
 *
 * ZwQuerySystemInformation is looked up at load: its page advises it ("may be altered or unavailable in
 * future versions of Windows"). How large the list is changes from one call to the next, so the buffer grows
 * until it fits, up to LIST_MOST.
 */
#include "system_processes.h"

#include "os.h"
#include "routines.h"

#define LIST_TAG   WVU_TAG('W', 'v', 'P', 'l')
#define LIST_FIRST (256u << 10)
#define LIST_MOST  (32u << 20)

/* "NtQuerySystemInformation", SystemProcessInformation: SYSTEM_PROCESS_INFORMATION, and behind each of them
 * its threads, SYSTEM_THREAD_INFORMATION. */
#define SYSTEM_PROCESS_INFORMATION_CLASS 5
struct process_information {
    ULONG next_entry_offset; /* 0: the last one */
    ULONG number_of_threads;
    UCHAR reserved1[48];
    UNICODE_STRING image_name;
    LONG base_priority;
    HANDLE unique_process_id;
    UCHAR more[168];
};
struct thread_information {
    LARGE_INTEGER reserved1[3];
    ULONG reserved2;
    PVOID start_address;
    CLIENT_ID client_id;
};
#if defined(_WIN64)
_Static_assert(offsetof(struct process_information, image_name) == 56, "process_information");
_Static_assert(offsetof(struct process_information, unique_process_id) == 80,
               "process_information");
_Static_assert(sizeof(struct process_information) == 256, "process_information");
_Static_assert(offsetof(struct thread_information, client_id) == 40, "thread_information");
#endif

/* The list as the system gives it, or NULL and why; freed with wvu_os_free. */
static void *read_list(ULONG *size, NTSTATUS *status)
{
    *status = STATUS_NOT_SUPPORTED;
    if (wvu_routines.query_system_information == NULL)
        return NULL;
    for (ULONG capacity = LIST_FIRST; capacity <= LIST_MOST; capacity *= 2) {
        void *list = wvu_os_alloc(capacity, LIST_TAG);
        *status = STATUS_NO_MEMORY;
        if (list == NULL)
            break;
        *status = wvu_routines.query_system_information(SYSTEM_PROCESS_INFORMATION_CLASS, list,
                                                        capacity, size);
        if (NT_SUCCESS(*status)) {
            *size = capacity;
            return list;
        }
        wvu_os_free(list, LIST_TAG);
        if (*status != STATUS_INFO_LENGTH_MISMATCH)
            break;
    }
    return NULL;
}

static HANDLE first_thread_of(const struct process_information *information, ULONG left)
{
    const struct thread_information *thread = (const void *)(information + 1);
    if (information->number_of_threads == 0 || left < sizeof *information + sizeof *thread)
        return NULL;
    return thread->client_id.UniqueThread;
}

NTSTATUS wvu_system_processes_visit(void (*visit)(void *context,
                                                  const struct wvu_system_process *process),
                                    void *context)
{
    NTSTATUS status;
    ULONG left = 0;
    void *list = read_list(&left, &status);
    const char *at = list;
    while (list != NULL && left >= sizeof(struct process_information)) {
        const struct process_information *information = (const void *)at;
        const struct wvu_system_process process = {
            .id = information->unique_process_id,
            .threads = information->number_of_threads,
            .first_thread = first_thread_of(information, left),
            .name = &information->image_name,
        };
        if (process.id != NULL)
            visit(context, &process);
        if (information->next_entry_offset == 0 || information->next_entry_offset > left)
            break;
        at += information->next_entry_offset;
        left -= information->next_entry_offset;
    }
    wvu_os_free(list, LIST_TAG);
    return status;
}
