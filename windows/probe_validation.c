/*
 * The probe that compares what different lists say of the processes that run: what the ProcessCreate probe
 * saw start and end (Callbacks), what ZwQuerySystemInformation tells (System), and which ids
 * PsLookupProcessByProcessId finds a process for (Lookup). What hides a process from one of them is rarely
 * thorough enough for all.
 *
 * All of it runs under the probe's control mutex, at PASSIVE_LEVEL: start and stop in the threads that
 * command, run in the poller's. What was found is remembered from one run to the next: a mismatch is told
 * when it is found, and not again before it was gone once or its lists are others.
 *
 * That only Callbacks lacks a process is believed when the run before found the same: a process that starts or
 * ends is for a while in the system's lists and not announced, or not any more, and other drivers that are
 * asked can make the while a long one.
 *
 * Mostly one look finds nothing and is all there is to do. Otherwise a second one follows at once, and only
 * what both found counts (process_lists.c). Then each of the few that are left is looked at by itself: a
 * process that has ended and whose object somebody still holds is in some lists and not in others, and one
 * that is being created is in the system's lists before it is announced.
 *
 * Callbacks is left out while ProcessCreate does not run, and says nothing about what it does not have when
 * its table was full once, or when the processes that ran before could not be listed.
 */
#include <string.h>

#include "atomic.h"
#include "format.h"
#include "log.h"
#include "nt_host.h"
#include "process_identity.h"
#include "process_judge.h"
#include "process_lists.h"
#include "routines.h"
#include "sensor.h"
#include "system_processes.h"

#define VALIDATION_TAG WVU_TAG('W', 'v', 'V', 'a')
#define REASON_SIZE    256
#define INTERVAL_NS    UINT64_C(30000000000)

/* Ids are multiples of 4, and the system gives the lowest ones first. So far is always looked, and so far
 * beyond the highest one that is known; a process with a higher id than the last of these has to be in
 * another list to be found. */
#define IDS_LEAST  65536u
#define IDS_BEYOND 16384u
#define IDS_MOST   1048576u

/* In 100 ns. A process that is younger may be waiting to be announced: other drivers are asked first. */
#define AGE_LEAST INT64_C(100000000)

#define SYSTEM_PROCESS_ID                                                                          \
    4u /* runs before all others, and is announced when ProcessCreate starts */

struct validation {
    struct wvu_process_lists lists; /* of the present look; empty otherwise */
    struct wvu_mismatches found;    /* by the last run */
};

static uint32_t number_of(uint32_t list)
{
    return list == WVU_LIST_CALLBACKS ? 0 : list == WVU_LIST_SYSTEM ? 1 : 2;
}

/* ---- start and stop ----------------------------------------------------------------------------------- */

static bool process_probe_runs(struct wvu_probe *probe)
{
    const struct wvu_nt_host *host = probe->host;
    const struct wvu_probe *process_probe =
        wvu_sensor_find_probe(probe->sensor, wvu_process_probe.name);
    return process_probe != NULL &&
           wvu_load_relaxed(&process_probe->condition) == WVU_PROBE_RUNNING &&
           wvu_process_table_is_open(host->processes);
}

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    if (wvu_routines.query_system_information == NULL && !process_probe_runs(probe)) {
        (void)wvu_format(
            reason, REASON_SIZE,
            "there is only one list: this kernel has no ZwQuerySystemInformation, and the "
            "probe %s does not run; start that one first",
            wvu_process_probe.name);
        return WVU_STATUS_NOT_SUPPORTED;
    }
    probe->context = wvu_os_alloc(sizeof(struct validation), VALIDATION_TAG);
    if (probe->context == NULL) {
        (void)wvu_format(reason, REASON_SIZE, "there is no memory");
        return WVU_STATUS_NO_MEMORY;
    }
    return WVU_STATUS_OK;
}

static void stop(struct wvu_probe *probe)
{
    struct validation *validation = probe->context;
    wvu_mismatches_free(&validation->found);
    wvu_os_free(validation, VALIDATION_TAG);
    probe->context = NULL;
}

/* ---- the lists ------------------------------------------------------------------------------------------ */

static wvu_status finish_list(struct validation *validation, uint32_t list, bool complete)
{
    struct wvu_process_list *entries = &validation->lists.lists[number_of(list)];
    if (entries->failed)
        return WVU_STATUS_NO_MEMORY;
    wvu_process_list_sort(entries);
    validation->lists.have |= list;
    if (complete)
        validation->lists.complete |= list;
    return WVU_STATUS_OK;
}

/* The entries of the table, or NULL; freed with wvu_os_free. */
static struct wvu_process_entry *copy_table(struct wvu_process_table *table, uint32_t *count)
{
    uint32_t capacity = wvu_process_table_count(table) + 256;
    for (int tries = 0; tries < 4; tries++, capacity *= 2) {
        struct wvu_process_entry *entries =
            wvu_os_alloc(capacity * sizeof *entries, VALIDATION_TAG);
        if (entries == NULL)
            return NULL;
        size_t there = wvu_process_table_list(table, entries, capacity);
        if (there <= capacity) {
            *count = (uint32_t)there;
            return entries;
        }
        wvu_os_free(entries, VALIDATION_TAG);
    }
    return NULL;
}

static wvu_status list_callbacks(struct wvu_probe *probe)
{
    const struct wvu_nt_host *host = probe->host;
    struct validation *validation = probe->context;
    struct wvu_process_list *list = &validation->lists.lists[number_of(WVU_LIST_CALLBACKS)];
    bool complete = wvu_process_table_missed(host->processes) == 0, has_system = false;
    uint32_t count = 0;
    if (!process_probe_runs(probe))
        return WVU_STATUS_OK;
    struct wvu_process_entry *entries = copy_table(host->processes, &count);
    if (entries == NULL)
        return WVU_STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct wvu_listed process = {.pid = entries[i].process_id,
                                           .key = entries[i].process_key};
        wvu_process_list_add(list, &process);
        has_system = has_system || process.pid == SYSTEM_PROCESS_ID;
    }
    wvu_os_free(entries, VALIDATION_TAG);
    if (!process_probe_runs(probe)) { /* it was stopped meanwhile */
        wvu_process_list_free(list);
        return WVU_STATUS_OK;
    }
    return finish_list(validation, WVU_LIST_CALLBACKS, complete && has_system);
}

static void add_system(void *context, const struct wvu_system_process *process)
{
    const struct wvu_listed listed = {
        .pid = (uint32_t)(uintptr_t)process->id,
        .threads = process->threads,
        .first_thread = (uint32_t)(uintptr_t)process->first_thread,
    };
    wvu_process_list_add(context, &listed);
}

static wvu_status list_system(struct validation *validation)
{
    NTSTATUS status = wvu_system_processes_visit(
        add_system, &validation->lists.lists[number_of(WVU_LIST_SYSTEM)]);
    if (status == STATUS_NOT_SUPPORTED)
        return WVU_STATUS_OK;
    return NT_SUCCESS(status) ? finish_list(validation, WVU_LIST_SYSTEM, true) : status;
}

static void look_up(struct wvu_process_list *list, uint32_t pid)
{
    HANDLE id = (HANDLE)(uintptr_t)pid;
    PEPROCESS process;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(id, &process)))
        return;
    const struct wvu_listed listed = {.pid = pid, .key = wvu_process_key(process, id)};
    ObDereferenceObject(process);
    wvu_process_list_add(list, &listed);
}

static uint32_t highest_id(const struct wvu_process_lists *lists)
{
    uint32_t highest = IDS_LEAST;
    for (uint32_t i = 0; i < WVU_LISTS; i++) {
        const struct wvu_process_list *list = &lists->lists[i];
        if (list->count != 0 && list->entries[list->count - 1].pid > highest)
            highest = list->entries[list->count - 1].pid;
    }
    return highest < IDS_MOST - IDS_BEYOND ? highest + IDS_BEYOND : IDS_MOST;
}

static wvu_status list_lookup(struct validation *validation)
{
    struct wvu_process_list *found = &validation->lists.lists[number_of(WVU_LIST_LOOKUP)];
    uint32_t highest = highest_id(&validation->lists);
    for (uint32_t pid = 4; pid <= highest; pid += 4)
        look_up(found, pid);
    for (uint32_t i = 0; i < number_of(WVU_LIST_LOOKUP);
         i++) { /* one that is in both is found twice */
        const struct wvu_process_list *list = &validation->lists.lists[i];
        for (uint32_t k = list->count; k-- != 0 && list->entries[k].pid > highest;)
            look_up(found, list->entries[k].pid);
    }
    return finish_list(validation, WVU_LIST_LOOKUP, true);
}

static uint32_t count_bits(uint32_t mask)
{
    uint32_t count = 0;
    for (; mask != 0; mask &= mask - 1)
        count++;
    return count;
}

static wvu_status look(struct wvu_probe *probe, struct wvu_mismatches *mismatches)
{
    struct validation *validation = probe->context;
    struct wvu_process_lists *lists = &validation->lists;
    *lists = (struct wvu_process_lists){.have = 0};
    wvu_status status = list_callbacks(probe);
    if (status == WVU_STATUS_OK)
        status = list_system(validation);
    if (status == WVU_STATUS_OK)
        status = list_lookup(validation);
    if (status == WVU_STATUS_OK && count_bits(lists->have) < 2)
        status = WVU_STATUS_INVALID_STATE; /* ProcessCreate was stopped, and there is no System */
    if (status == WVU_STATUS_OK) {
        wvu_process_lists_compare(lists, mismatches);
        status = mismatches->failed ? WVU_STATUS_NO_MEMORY : WVU_STATUS_OK;
    }
    for (uint32_t i = 0; i < WVU_LISTS; i++)
        wvu_process_list_free(&lists->lists[i]);
    return status;
}

/* ---- one by one ------------------------------------------------------------------------------------------- */

/* Its last thread has ended: known by its exit status, but for the one that also means "not yet". */
static bool has_ended(PEPROCESS process)
{
    LARGE_INTEGER at_once = {.QuadPart = 0};
    HANDLE handle;
    if (wvu_routines.process_exit_status != NULL &&
        wvu_routines.process_exit_status(process) != STATUS_PENDING)
        return true;
    if (!NT_SUCCESS(ObOpenObjectByPointer(process, OBJ_KERNEL_HANDLE, NULL, SYNCHRONIZE, NULL,
                                          KernelMode, &handle)))
        return false;
    NTSTATUS status = ZwWaitForSingleObject(handle, FALSE, &at_once);
    (void)ZwClose(handle);
    return status == STATUS_SUCCESS;
}

static bool is_young(PEPROCESS process)
{
    return wvu_routines.process_create_time != NULL &&
           wvu_os_system_time() - wvu_routines.process_create_time(process) < AGE_LEAST;
}

/* `process` NULL: there is none with this id. Takes away what has an innocent reason; true when something is
 * left. */
static bool is_worth_telling(struct wvu_mismatch *mismatch, PEPROCESS process)
{
    bool threadless = (mismatch->in & WVU_LIST_SYSTEM) != 0 && mismatch->threads == 0;
    if (process == NULL) {
        /* On its way out, when it could be found until now, or has no thread and nothing else knows it. */
        bool was_found = (mismatch->in & WVU_LIST_LOOKUP) != 0;
        return !was_found && !(threadless && mismatch->in == WVU_LIST_SYSTEM);
    }
    if (has_ended(process))
        return false;
    mismatch->not_in &= ~WVU_LIST_LOOKUP; /* it can be found after all */
    /* Processes are announced with their first thread; clones for dumps never get one. */
    if (threadless || is_young(process))
        mismatch->not_in &= ~WVU_LIST_CALLBACKS;
    return mismatch->not_in != 0;
}

/* The process, referenced, if there is one and it is the same. */
static PEPROCESS find_process(const struct wvu_mismatch *mismatch)
{
    HANDLE id = (HANDLE)(uintptr_t)mismatch->pid;
    PEPROCESS process;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(id, &process)))
        return NULL;
    if (mismatch->key != 0 && wvu_process_key(process, id) != mismatch->key) {
        ObDereferenceObject(process);
        return NULL;
    }
    return process;
}

static void keep_serious(struct wvu_mismatches *mismatches)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < mismatches->count; i++) {
        struct wvu_mismatch mismatch = mismatches->entries[i];
        PEPROCESS process = find_process(&mismatch);
        if (is_worth_telling(&mismatch, process))
            mismatches->entries[kept++] = mismatch;
        if (process != NULL)
            ObDereferenceObject(process);
    }
    mismatches->count = kept;
}

/* ---- an event --------------------------------------------------------------------------------------------- */

struct names {
    WCHAR text[32]; /* each followed by a NUL */
    uint32_t units;
};

static void add_name(struct names *names, const WCHAR *name)
{
    do {
        names->text[names->units++] = *name;
    } while (*name++ != 0);
}

static struct names names_of(uint32_t lists)
{
    struct names names = {.units = 0};
    if ((lists & WVU_LIST_CALLBACKS) != 0)
        add_name(&names, L"Callbacks");
    if ((lists & WVU_LIST_SYSTEM) != 0)
        add_name(&names, L"System");
    if ((lists & WVU_LIST_LOOKUP) != 0)
        add_name(&names, L"Lookup");
    return names;
}

#define PRESENT(field) WVU_PRESENT(wvu_process_list_validation_failed, field)
#define MEMBER(name)   offsetof(struct wvu_process_list_validation_failed, name)

static void report(struct wvu_probe *probe, const struct wvu_mismatch *mismatch, PEPROCESS process,
                   const UNICODE_STRING *image)
{
    const struct names in = names_of(mismatch->in), not_in = names_of(mismatch->not_in);
    uint32_t image_size = image != NULL && image->Buffer != NULL ? image->Length & ~1u : 0;
    const struct wvu_text_source texts[] = {
        wvu_text_whole(MEMBER(in_lists), sizeof(WCHAR), in.text, in.units * sizeof(WCHAR)),
        wvu_text_whole(MEMBER(not_in_lists), sizeof(WCHAR), not_in.text,
                       not_in.units * sizeof(WCHAR)),
        wvu_text_whole(MEMBER(image_file_name), sizeof(WCHAR),
                       image_size != 0 ? image->Buffer : NULL, image_size),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessListValidationFailed,
                    sizeof(struct wvu_process_list_validation_failed), texts, 3);
    struct wvu_process_list_validation_failed *to = wvu_probe_reserve(probe, &plan, NULL);
    if (to == NULL)
        return; /* counted */
    to->record.flags |= WVU_RECORD_UTF16;
    to->record.process_id = mismatch->pid;
    to->record.process_key = mismatch->key;
    to->status = WVU_STATUS_NOT_FOUND;
    to->eprocess = wvu_nt_host_name_object(probe->host, process);
    to->record.present = PRESENT(Status) | PRESENT(InLists) | PRESENT(NotInLists) |
                         (to->eprocess != 0 ? PRESENT(EProcess) : 0) |
                         (image_size != 0 ? PRESENT(ImageFileName) : 0);
    wvu_record_fill_texts(&to->record, &plan, texts);
    wvu_probe_commit(probe, &to->record);
}

/* The name that the system's list has, for a process of which nothing else is known. */
struct search {
    uint32_t pid;
    UNICODE_STRING name;
    WCHAR text[256];
};

static void find_name(void *context, const struct wvu_system_process *process)
{
    struct search *search = context;
    if ((uint32_t)(uintptr_t)process->id != search->pid || process->name->Buffer == NULL)
        return;
    USHORT size = process->name->Length < sizeof search->text ? process->name->Length
                                                              : (USHORT)sizeof search->text;
    memcpy(search->text, process->name->Buffer, size);
    search->name = (UNICODE_STRING){.Length = size, .MaximumLength = size, .Buffer = search->text};
}

static void tell(struct wvu_probe *probe, const struct wvu_mismatch *mismatch)
{
    const struct wvu_nt_host *host = probe->host;
    struct search search = {.pid = mismatch->pid};
    PEPROCESS process = find_process(mismatch);
    UNICODE_STRING *image = process != NULL ? wvu_process_image(process) : NULL;
    bool has_image = image != NULL && image->Length != 0;
    if (!has_image && (mismatch->in & WVU_LIST_SYSTEM) != 0)
        (void)wvu_system_processes_visit(find_name, &search);
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, WVU_EVENT_ProcessListValidationFailed,
                        wvu_process_table_wanted(host->processes, mismatch->pid)))
        report(probe, mismatch, process, has_image ? image : &search.name);
    wvu_probe_time_end(probe, begun);
    wvu_process_image_free(image);
    if (process != NULL)
        ObDereferenceObject(process);
}

/* ---- a run ------------------------------------------------------------------------------------------------- */

static wvu_status find_mismatches(struct wvu_probe *probe, struct wvu_mismatches *mismatches)
{
    struct wvu_mismatches second = {.entries = NULL};
    wvu_status status = look(probe, mismatches);
    if (status != WVU_STATUS_OK || mismatches->count == 0)
        return status;
    status = look(probe, &second);
    wvu_mismatches_confirm(mismatches, &second);
    wvu_mismatches_free(&second);
    keep_serious(mismatches);
    return status;
}

/* What of it is to be told: all, unless it may only be starting or ending. */
static uint32_t certain_of(const struct wvu_mismatch *mismatch, const struct wvu_mismatch *last)
{
    bool again = last != NULL && (last->not_in & WVU_LIST_CALLBACKS) != 0;
    return mismatch->not_in != WVU_LIST_CALLBACKS || again ? mismatch->not_in : 0;
}

static wvu_status run(struct wvu_probe *probe)
{
    struct validation *validation = probe->context;
    struct wvu_mismatches mismatches = {.entries = NULL};
    wvu_status status = find_mismatches(probe, &mismatches);
    if (status != WVU_STATUS_OK) { /* nothing is known: what was told stays told */
        wvu_mismatches_free(&mismatches);
        return status;
    }
    for (uint32_t i = 0; i < mismatches.count; i++) {
        struct wvu_mismatch *mismatch = &mismatches.entries[i];
        const struct wvu_mismatch *last = wvu_mismatches_find(&validation->found, mismatch);
        mismatch->told = certain_of(mismatch, last);
        if (mismatch->told != 0 && (last == NULL || last->told != mismatch->told))
            tell(probe, mismatch);
    }
    if (mismatches.count != 0)
        wvu_probe_wake(probe);
    wvu_mismatches_free(&validation->found);
    validation->found = mismatches;
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
