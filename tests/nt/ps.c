/*
 * Processes, threads of drivers, and the callbacks for processes and images.
 *
 * A scenario makes processes and announces them; the callbacks then run in the calling thread, at
 * PASSIVE_LEVEL inside a critical region, in the context of the process that Windows would use. What a
 * callback is given is checked afterwards: it must not have changed, above all CreationStatus, which
 * decides whether the process may run.
 *
 * Removing a callback waits until no call of it is under way, as Windows does. The tables are under
 * nt_lock; a call under way is a count in its slot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define CALLBACKS_MAX 64u /* as many as Windows has room for */

struct nt_process {
    struct nt_object *object;
    struct nt_object *token;
    struct nt_object *file;
    struct nt_process_plan plan;
    SID user;
    bool has_user;
    uint64_t start_key;
    uint32_t lookups_left; /* 0: any number */
    int64_t create_time;
    NTSTATUS exit_status;
    bool terminated;
    struct nt_process *next;
};

struct nt_user_thread {
    struct nt_thread_plan plan;
    struct nt_object *object;
    struct nt_user_thread *next;
};

enum kind { PROCESS_OLD, PROCESS_EX, PROCESS_EX2, IMAGE, THREAD, KINDS };

struct callback {
    nt_function routine;
    enum kind kind;
    uint32_t calls; /* under way */
    bool removing;
};

static struct callback callbacks[CALLBACKS_MAX];
static struct nt_process *processes; /* all that were not released */
static struct nt_process *system_process;
static struct nt_user_thread *user_threads; /* those that did not exit */
static _Atomic uint64_t next_start_key = 0x0008000000000001u;

/* ---- processes ----------------------------------------------------------------------------------- */

struct nt_process *nt_process_new(const struct nt_process_plan *plan)
{
    struct nt_process *process = calloc(1, sizeof *process);
    if (process == NULL)
        abort();
    process->plan = *plan;
    process->has_user = plan->user != NULL;
    if (process->has_user)
        process->user = *plan->user;
    process->start_key = next_start_key++;
    process->create_time = nt_system_time();
    process->exit_status = NT_STATUS(0x00000103); /* STATUS_PENDING: it runs */
    process->object = nt_object_create(NT_PROCESS, process);
    process->token = nt_object_create(NT_TOKEN, process);
    process->file = nt_object_create(NT_FILE, process);
    pthread_mutex_lock(&nt_lock);
    process->next = processes;
    processes = process;
    pthread_mutex_unlock(&nt_lock);
    return process;
}

void nt_process_release(struct nt_process *process)
{
    pthread_mutex_lock(&nt_lock);
    for (struct nt_process **at = &processes; *at != NULL; at = &(*at)->next) {
        if (*at == process) {
            *at = process->next;
            break;
        }
    }
    pthread_mutex_unlock(&nt_lock);
    nt_object_drop(process->object);
    nt_object_drop(process->token);
    nt_object_drop(process->file);
    /* The body stays: a driver that holds a reference may still ask for its id. */
}

void nt_process_hide(struct nt_process *process, uint32_t hidden)
{
    pthread_mutex_lock(&nt_lock);
    process->plan.hidden = hidden;
    pthread_mutex_unlock(&nt_lock);
}

void nt_process_found_only(struct nt_process *process, uint32_t lookups)
{
    pthread_mutex_lock(&nt_lock);
    process->plan.hidden = NT_HIDDEN_FROM_LIST;
    process->lookups_left = lookups;
    pthread_mutex_unlock(&nt_lock);
}

void *nt_process_object(const struct nt_process *process)
{
    return process->object->address;
}

void *nt_process_file_object(const struct nt_process *process)
{
    return process->file->address;
}

uint64_t nt_process_start_key(const struct nt_process *process)
{
    return process->start_key;
}

static struct nt_process *current(void)
{
    return nt_self->process != NULL ? nt_self->process : system_process;
}

struct nt_process *nt_attach_to(struct nt_process *process)
{
    struct nt_process *last = nt_self->process;
    nt_self->process = process;
    return last;
}

void nt_ps_init(void)
{
    static const SID local_system = {1, 1, {0, 0, 0, 0, 0, 5}, {18}};
    const struct nt_process_plan plan = {.id = 4, .user = &local_system, .critical = true};
    system_process = nt_process_new(&plan);
}

const SID *nt_process_user(const struct nt_process *process)
{
    process = process != NULL ? process : system_process;
    return process->has_user ? &process->user : NULL;
}

uint32_t nt_process_session(const struct nt_process *process)
{
    return process->plan.session;
}

bool nt_process_is_administrator(const struct nt_process *process)
{
    return process != NULL && process->plan.administrator;
}

const struct nt_process_plan *nt_process_plan_of(const struct nt_process *process)
{
    return &process->plan;
}

static void describe(const struct nt_process *process, struct nt_running *running)
{
    const struct nt_process_plan *plan = &process->plan;
    *running = (struct nt_running){.id = plan->id, .parent_id = plan->parent_id};
    if (!plan->threadless) /* its id can be one that was used before; this cannot */
        running->first_thread = 0x40000000 + (process->start_key & 0xFFFFFFF) * 4;
    if (plan->image_file_name == NULL)
        return;
    const WCHAR *path = plan->image_file_name->Buffer;
    size_t end = plan->image_file_name->Length / sizeof(WCHAR), begin = end;
    while (begin != 0 && path[begin - 1] != '\\')
        begin--;
    size_t units = end - begin < NT_ARRAY(running->name) ? end - begin : NT_ARRAY(running->name);
    memcpy(running->name, path + begin, units * sizeof(WCHAR));
    running->name_units = (uint16_t)units;
}

size_t nt_running_processes(struct nt_running *running, size_t most)
{
    size_t count = 0;
    pthread_mutex_lock(&nt_lock);
    for (const struct nt_process *process = processes; process != NULL; process = process->next) {
        if (!process->object->signaled && (process->plan.hidden & NT_HIDDEN_FROM_LIST) == 0 &&
            count < most)
            describe(process, &running[count++]);
    }
    pthread_mutex_unlock(&nt_lock);
    return count;
}

static struct nt_process *process_of(const void *address)
{
    return nt_object_check(address, NT_PROCESS)->body;
}

/* ---- callbacks: who is called ---------------------------------------------------------------------- */

static NTSTATUS add_callback(nt_function routine, enum kind kind)
{
    NTSTATUS status = STATUS_INVALID_PARAMETER;
    pthread_mutex_lock(&nt_lock);
    struct callback *empty = NULL;
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        if (callbacks[i].routine == routine && callbacks[i].kind == kind && kind != IMAGE)
            goto out; /* "the routine is already registered" */
        if (callbacks[i].routine == NULL && empty == NULL)
            empty = &callbacks[i];
    }
    if (empty != NULL)
        *empty = (struct callback){.routine = routine, .kind = kind};
    status = empty != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
out:
    pthread_mutex_unlock(&nt_lock);
    return status;
}

static bool remove_callback(nt_function routine, enum kind kind)
{
    bool found = false;
    nt_check_wait(false);
    pthread_mutex_lock(&nt_lock);
    for (size_t i = 0; i < CALLBACKS_MAX && !found; i++) {
        struct callback *callback = &callbacks[i];
        if (callback->routine != routine || callback->kind != kind)
            continue;
        found = true;
        callback->removing = true;
        while (callback->calls != 0)
            nt_wait_changed(UINT64_MAX);
        *callback = (struct callback){0};
    }
    pthread_mutex_unlock(&nt_lock);
    return found;
}

/* Adding can fail; removing what is there cannot. */
static NTSTATUS change_callback(nt_function routine, enum kind kind, BOOLEAN remove,
                                NTSTATUS not_found)
{
    if (routine == NULL || nt_driver_at((uintptr_t)routine) == NULL)
        nt_broken(NT_RULE_BAD_POINTER, "%s was given %p, which is not the driver's code",
                  nt_self->routine, (void *)(uintptr_t)routine);
    if (!remove && nt_inject(nt_self->routine))
        return STATUS_INSUFFICIENT_RESOURCES;
    if (!remove)
        return add_callback(routine, kind);
    return remove_callback(routine, kind) ? STATUS_SUCCESS : not_found;
}

/* "STATUS_ACCESS_DENIED: the image that contains the callback routine does not have
 * IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY set in its image header." */
#define FORCE_INTEGRITY 0x0080u

static bool integrity_forced(nt_function routine)
{
    const struct nt_image *image = nt_image_at((uintptr_t)routine);
    return image == NULL || (image->dll_characteristics & FORCE_INTEGRITY) != 0;
}

static NTAPI NTSTATUS PsSetCreateProcessNotifyRoutine(nt_function routine, BOOLEAN remove)
{
    return change_callback(routine, PROCESS_OLD, remove, STATUS_INVALID_PARAMETER);
}

static NTAPI NTSTATUS PsSetCreateProcessNotifyRoutineEx(nt_function routine, BOOLEAN remove)
{
    if (!integrity_forced(routine))
        return STATUS_ACCESS_DENIED;
    return change_callback(routine, PROCESS_EX, remove, STATUS_INVALID_PARAMETER);
}

static NTAPI NTSTATUS PsSetCreateProcessNotifyRoutineEx2(uint32_t type, nt_function routine,
                                                         BOOLEAN remove)
{
    if (type != 0)
        return STATUS_INVALID_PARAMETER;
    if (!integrity_forced(routine))
        return STATUS_ACCESS_DENIED;
    return change_callback(routine, PROCESS_EX2, remove, STATUS_INVALID_PARAMETER);
}

static NTAPI NTSTATUS PsSetLoadImageNotifyRoutine(nt_function routine)
{
    return change_callback(routine, IMAGE, 0, STATUS_PROCEDURE_NOT_FOUND);
}

static NTAPI NTSTATUS PsSetLoadImageNotifyRoutineEx(nt_function routine, uint64_t flags)
{
    if ((flags & ~UINT64_C(1)) != 0)
        return STATUS_INVALID_PARAMETER;
    return change_callback(routine, IMAGE, 0, STATUS_PROCEDURE_NOT_FOUND);
}

static NTAPI NTSTATUS PsRemoveLoadImageNotifyRoutine(nt_function routine)
{
    return change_callback(routine, IMAGE, 1, STATUS_PROCEDURE_NOT_FOUND);
}

static NTAPI NTSTATUS PsSetCreateThreadNotifyRoutine(nt_function routine)
{
    return change_callback(routine, THREAD, 0, STATUS_PROCEDURE_NOT_FOUND);
}

static NTAPI NTSTATUS PsSetCreateThreadNotifyRoutineEx(uint32_t type, nt_function routine)
{
    if (type > 1)
        return STATUS_INVALID_PARAMETER;
    return change_callback(routine, THREAD, 0, STATUS_PROCEDURE_NOT_FOUND);
}

static NTAPI NTSTATUS PsRemoveCreateThreadNotifyRoutine(nt_function routine)
{
    return change_callback(routine, THREAD, 1, STATUS_PROCEDURE_NOT_FOUND);
}

static bool any_callback(enum kind first, enum kind last)
{
    bool any = false;
    pthread_mutex_lock(&nt_lock);
    for (size_t i = 0; i < CALLBACKS_MAX; i++)
        any = any || (callbacks[i].routine != NULL && callbacks[i].kind >= first &&
                      callbacks[i].kind <= last);
    pthread_mutex_unlock(&nt_lock);
    return any;
}

bool nt_process_callback_registered(void)
{
    return any_callback(PROCESS_OLD, PROCESS_EX2);
}

bool nt_thread_callback_registered(void)
{
    return any_callback(THREAD, THREAD);
}

bool nt_image_callback_registered(void)
{
    return any_callback(IMAGE, IMAGE);
}

/* ---- callbacks: calling ---------------------------------------------------------------------------- */

/* Calls `call` for each registered callback of the kinds, with the slot counted as busy. */
static void for_each(enum kind first, enum kind last,
                     void (*call)(const struct callback *callback, void *context), void *context)
{
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        pthread_mutex_lock(&nt_lock);
        struct callback *slot = &callbacks[i];
        bool wanted =
            slot->routine != NULL && !slot->removing && slot->kind >= first && slot->kind <= last;
        struct callback copy = *slot;
        slot->calls += wanted;
        pthread_mutex_unlock(&nt_lock);
        if (!wanted)
            continue;
        nt_self->critical++; /* "inside a critical region with normal kernel APCs disabled" */
        call(&copy, context);
        nt_self->critical--;
        pthread_mutex_lock(&nt_lock);
        slot->calls--;
        pthread_cond_broadcast(&nt_changed);
        pthread_mutex_unlock(&nt_lock);
    }
}

struct process_call {
    struct nt_process *process;
    PS_CREATE_NOTIFY_INFO *info; /* NULL: it exits */
};

static void call_process(const struct callback *callback, void *context)
{
    const struct process_call *call = context;
    struct nt_process *process = call->process;
    /* Linux subsystem processes are shown to routines of the second kind only. */
    if (process->plan.subsystem && callback->kind != PROCESS_EX2)
        return;
    PS_CREATE_NOTIFY_INFO before = {0};
    if (call->info != NULL)
        before = *call->info;
    struct nt_entry entry = nt_enter_driver("the process callback");
    if (callback->kind == PROCESS_OLD)
        ((PCREATE_PROCESS_NOTIFY_ROUTINE)callback->routine)(
            (HANDLE)process->plan.parent_id, (HANDLE)process->plan.id, call->info != NULL);
    else
        ((PCREATE_PROCESS_NOTIFY_ROUTINE_EX)callback->routine)(
            process->object->address, (HANDLE)process->plan.id, call->info);
    nt_leave_driver(&entry);
    if (call->info != NULL && process->plan.may_be_denied &&
        call->info->CreationStatus == STATUS_ACCESS_DENIED)
        before.CreationStatus = STATUS_ACCESS_DENIED;
    if (call->info != NULL && memcmp(&before, call->info, sizeof before) != 0)
        nt_broken(NT_RULE_CALLBACK,
                  "the process callback changed its PS_CREATE_NOTIFY_INFO "
                  "(CreationStatus 0x%08x)",
                  (unsigned)call->info->CreationStatus);
}

NTSTATUS nt_process_announce(struct nt_process *process, struct nt_process *creator)
{
    const struct nt_process_plan *plan = &process->plan;
    PS_CREATE_NOTIFY_INFO info = {
        .Size = sizeof info,
        .Flags = (plan->image_file_name != NULL ? 1u : 0u) | (plan->subsystem ? 2u : 0u),
        .ParentProcessId = (HANDLE)plan->parent_id,
        .CreatingThreadId = {(HANDLE)plan->creator_process, (HANDLE)plan->creator_thread},
        .FileObject = plan->no_file_object ? NULL : process->file->address,
        .ImageFileName = plan->image_file_name,
        .CommandLine = plan->command_line,
        .CreationStatus = plan->creation_status,
    };
    struct process_call call = {process, &info};
    struct nt_process *last = creator != NULL ? nt_attach_to(creator) : nt_self->process;
    for_each(PROCESS_OLD, PROCESS_EX2, call_process, &call);
    (void)nt_attach_to(last);
    return info.CreationStatus;
}

void nt_process_exit(struct nt_process *process, NTSTATUS exit_status)
{
    struct process_call call = {process, NULL};
    process->exit_status = exit_status;
    struct nt_process *last = nt_attach_to(process);
    for_each(PROCESS_OLD, PROCESS_EX2, call_process, &call);
    (void)nt_attach_to(last);
    pthread_mutex_lock(&nt_lock);
    process->object->signaled = true;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
}

struct image_call {
    struct nt_process *process;
    const UNICODE_STRING *name;
    IMAGE_INFO *info;
};

static void call_image(const struct callback *callback, void *context)
{
    const struct image_call *call = context;
    HANDLE id = call->process != NULL ? (HANDLE)call->process->plan.id : NULL;
    IMAGE_INFO before = *call->info;
    struct nt_entry entry = nt_enter_driver("the image callback");
    ((PLOAD_IMAGE_NOTIFY_ROUTINE)callback->routine)(call->name, id, call->info);
    nt_leave_driver(&entry);
    if (memcmp(&before, call->info, sizeof before) != 0)
        nt_broken(NT_RULE_CALLBACK, "the image callback changed its IMAGE_INFO");
}

void nt_image_announce(struct nt_process *process, const struct nt_image_plan *plan)
{
    IMAGE_INFO_EX info = {.Size = sizeof info};
    info.ImageInfo.Properties =
        3u | (plan->system_mode ? 1u << 8 : 0) | (plan->extended ? 1u << 10 : 0) |
        (plan->signature_level & 15) << 12 | (plan->signature_type & 7) << 16;
    info.ImageInfo.ImageBase = (void *)plan->base;
    info.ImageInfo.ImageSize = plan->size;
    info.FileObject = process != NULL ? process->file->address : system_process->file->address;
    /* Without the extended information nothing lies around IMAGE_INFO. */
    IMAGE_INFO *shown = &info.ImageInfo;
    struct image_call call = {process, plan->name, shown};
    struct nt_process *last = process != NULL ? nt_attach_to(process) : nt_self->process;
    for_each(IMAGE, IMAGE, call_image, &call);
    (void)nt_attach_to(last);
}

/* ---- threads of programs ----------------------------------------------------------------------------- */

struct thread_call {
    const struct nt_thread_plan *plan;
    bool create;
};

static void call_thread(const struct callback *callback, void *context)
{
    const struct thread_call *call = context;
    KIRQL irql = nt_self->irql;
    nt_set_irql(call->plan->irql);
    struct nt_entry entry = nt_enter_driver("the thread callback");
    ((PCREATE_THREAD_NOTIFY_ROUTINE)callback->routine)((HANDLE)call->plan->owner->plan.id,
                                                       (HANDLE)call->plan->id, call->create);
    nt_leave_driver(&entry);
    nt_set_irql(irql);
}

/* In the context of a thread of a process. */
static void call_threads(const struct nt_thread_plan *plan, bool create, struct nt_process *process,
                         uint64_t id)
{
    struct thread_call call = {plan, create};
    struct nt_process *last = nt_attach_to(process);
    uint64_t last_id = nt_self->id;
    nt_self->id = id;
    for_each(THREAD, THREAD, call_thread, &call);
    nt_self->id = last_id;
    (void)nt_attach_to(last);
}

struct nt_user_thread *nt_user_thread_start(const struct nt_thread_plan *plan)
{
    struct nt_user_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL)
        abort();
    thread->plan = *plan;
    thread->object = nt_object_create(NT_THREAD, thread);
    pthread_mutex_lock(&nt_lock);
    thread->next = user_threads;
    user_threads = thread;
    pthread_mutex_unlock(&nt_lock);
    if (plan->itself)
        call_threads(plan, true, plan->owner, plan->id);
    else
        call_threads(plan, true, plan->creator != NULL ? plan->creator : plan->owner,
                     plan->creator_thread);
    return thread;
}

void nt_user_thread_exit(struct nt_user_thread *thread)
{
    call_threads(&thread->plan, false, thread->plan.owner, thread->plan.id);
    pthread_mutex_lock(&nt_lock);
    for (struct nt_user_thread **at = &user_threads; *at != NULL; at = &(*at)->next) {
        if (*at == thread) {
            *at = thread->next;
            break;
        }
    }
    pthread_mutex_unlock(&nt_lock);
    nt_object_drop(thread->object);
    /* The body stays: a driver that holds a reference may still ask about it. */
}

static NTAPI NTSTATUS PsLookupThreadByThreadId(HANDLE id, void **out)
{
    struct nt_user_thread *found = NULL;
    pthread_mutex_lock(&nt_lock);
    for (struct nt_user_thread *thread = user_threads; thread != NULL; thread = thread->next) {
        if (thread->plan.id == (uint64_t)(uintptr_t)id)
            found = thread;
    }
    pthread_mutex_unlock(&nt_lock);
    if (found == NULL)
        return STATUS_INVALID_PARAMETER;
    nt_object_take(found->object);
    *out = found->object->address;
    return STATUS_SUCCESS;
}

enum { ThreadQuerySetWin32StartAddress = 9 };

static NTAPI NTSTATUS ZwQueryInformationThread(HANDLE handle, uint32_t class, void *out,
                                               uint32_t size, uint32_t *needed)
{
    const struct nt_object *object = nt_handle_object(handle);
    if (object->type != NT_THREAD || (nt_handle_access(handle) & THREAD_QUERY_INFORMATION) == 0)
        nt_broken(NT_RULE_HANDLE, "ZwQueryInformationThread: not a thread opened for queries");
    if (class != ThreadQuerySetWin32StartAddress)
        return STATUS_INVALID_INFO_CLASS;
    if (size != sizeof(uint64_t))
        return NT_STATUS(0xC0000004); /* STATUS_INFO_LENGTH_MISMATCH */
    const struct nt_user_thread *thread = object->body;
    memcpy(out, &thread->plan.start_address, sizeof thread->plan.start_address);
    if (needed != NULL)
        *needed = sizeof(uint64_t);
    return STATUS_SUCCESS;
}

/* ---- ending processes --------------------------------------------------------------------------------- */

static NTAPI NTSTATUS ZwTerminateProcess(HANDLE handle, NTSTATUS exit_status)
{
    struct nt_object *object = nt_handle_object(handle);
    if (object->type != NT_PROCESS || (nt_handle_access(handle) & PROCESS_TERMINATE) == 0)
        nt_broken(NT_RULE_HANDLE, "ZwTerminateProcess: not a process opened to be ended");
    struct nt_process *process = object->body;
    if (process->plan.critical)
        nt_broken(NT_RULE_CRITICAL, "process %u is critical: bug check CRITICAL_PROCESS_DIED",
                  (unsigned)process->plan.id);
    if (process->terminated || object->signaled)
        return STATUS_PROCESS_IS_TERMINATING;
    process->exit_status = exit_status;
    process->terminated = true;
    return STATUS_SUCCESS;
}

bool nt_process_was_terminated(const struct nt_process *process)
{
    return process->terminated;
}

void nt_ps_check_leaks(void)
{
    static const char *const names[KINDS] = {
        "PsSetCreateProcessNotifyRoutine", "PsSetCreateProcessNotifyRoutineEx",
        "PsSetCreateProcessNotifyRoutineEx2", "PsSetLoadImageNotifyRoutine",
        "PsSetCreateThreadNotifyRoutine"};
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        if (callbacks[i].routine != NULL)
            nt_broken(NT_RULE_LEAK_CALLBACK, "a routine set by %s was not removed",
                      names[callbacks[i].kind]);
    }
}

/* ---- questions ------------------------------------------------------------------------------------- */

static NTAPI HANDLE PsGetCurrentProcessId(void)
{
    return (HANDLE)current()->plan.id;
}

static NTAPI HANDLE PsGetCurrentThreadId(void)
{
    return (HANDLE)nt_self->id;
}

static NTAPI void *IoGetCurrentProcess(void)
{
    return current()->object->address;
}

static NTAPI void *PsGetCurrentProcess(void)
{
    return current()->object->address;
}

static NTAPI void *KeGetCurrentThread(void)
{
    return nt_self->object->address;
}

static NTAPI void *PsGetCurrentThread(void)
{
    return nt_self->object->address;
}

static NTAPI HANDLE PsGetProcessId(void *process)
{
    return (HANDLE)process_of(process)->plan.id;
}

static NTAPI uint64_t PsGetProcessStartKey(void *process)
{
    return process_of(process)->start_key;
}

static NTAPI int64_t PsGetProcessCreateTimeQuadPart(void *process)
{
    return process_of(process)->create_time;
}

static NTAPI NTSTATUS PsGetProcessExitStatus(void *process)
{
    return process_of(process)->exit_status;
}

static NTAPI NTSTATUS PsLookupProcessByProcessId(HANDLE id, void **out)
{
    struct nt_process *found = NULL;
    pthread_mutex_lock(&nt_lock);
    for (struct nt_process *process = processes; process != NULL; process = process->next) {
        if (process->plan.id == (uint64_t)(uintptr_t)id &&
            (process->plan.hidden & NT_HIDDEN_FROM_LOOKUP) == 0)
            found = process;
    }
    if (found != NULL) {
        nt_object_take_locked(found->object); /* before somebody releases it */
        if (found->lookups_left != 0 && --found->lookups_left == 0)
            found->plan.hidden |= NT_HIDDEN_FROM_LOOKUP;
    }
    pthread_mutex_unlock(&nt_lock);
    if (found == NULL)
        return STATUS_INVALID_CID;
    *out = found->object->address;
    return STATUS_SUCCESS;
}

static NTAPI void *PsReferencePrimaryToken(void *process)
{
    struct nt_object *token = process_of(process)->token;
    nt_object_take(token);
    return token->address;
}

static NTAPI void PsDereferencePrimaryToken(void *token)
{
    (void)nt_object_check(token, NT_TOKEN);
    nt_object_give_back(token);
}

/* ---- threads of drivers ------------------------------------------------------------------------------ */

struct start {
    void(NTAPI *routine)(void *context);
    void *context;
    struct nt_object *object; /* out */
    bool ready;
};

static uint32_t driver_threads; /* under nt_lock */

static void run_system_thread(struct nt_thread *thread, const struct start *start)
{
    sigjmp_buf exit;
    thread->exit = &exit;
    thread->critical = 1; /* "inside a critical region with normal kernel APCs disabled" */
    struct nt_entry entry = nt_enter_driver("the thread");
    if (sigsetjmp(exit, 0) == 0)
        start->routine(start->context);
    nt_leave_driver(&entry);
}

static void *system_thread(void *argument)
{
    struct start *shared = argument;
    struct start start = *shared;
    struct nt_thread *thread = nt_thread_attach("driver", NULL);
    pthread_mutex_lock(&nt_lock);
    driver_threads++;
    shared->object = thread->object;
    thread->object->kernel_references++; /* the creator's, until it has a handle */
    shared->ready = true;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
    run_system_thread(thread, &start);
    pthread_mutex_lock(&nt_lock);
    driver_threads--;
    pthread_mutex_unlock(&nt_lock);
    nt_thread_detach();
    return NULL;
}

static NTAPI NTSTATUS PsCreateSystemThread(HANDLE *handle, uint32_t access,
                                           const OBJECT_ATTRIBUTES *attributes, HANDLE process,
                                           CLIENT_ID *client_id,
                                           void(NTAPI *routine)(void *context), void *context)
{
    (void)access;
    if (process != NULL)
        nt_broken(NT_RULE_PARAMETER, "PsCreateSystemThread in a process: not what a driver wants");
    if (nt_self->process != NULL &&
        (attributes == NULL || (attributes->Attributes & OBJ_KERNEL_HANDLE) == 0))
        nt_broken(NT_RULE_HANDLE,
                  "PsCreateSystemThread without OBJ_KERNEL_HANDLE outside of System");
    struct start start = {.routine = routine, .context = context};
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &detached, system_thread, &start);
    pthread_attr_destroy(&detached);
    if (error != 0)
        return STATUS_INSUFFICIENT_RESOURCES;
    pthread_mutex_lock(&nt_lock);
    while (!start.ready)
        nt_wait_changed(UINT64_MAX);
    pthread_mutex_unlock(&nt_lock);
    *handle = nt_handle_open(start.object);
    if (client_id != NULL)
        *client_id = (CLIENT_ID){(HANDLE)4, (HANDLE)8};
    nt_object_drop(start.object);
    return STATUS_SUCCESS;
}

static NTAPI NTSTATUS PsTerminateSystemThread(NTSTATUS status)
{
    (void)status;
    if (nt_self->exit == NULL)
        return STATUS_INVALID_PARAMETER; /* "not a system thread" */
    siglongjmp(*nt_self->exit, 1);
}

size_t nt_driver_threads(void)
{
    return driver_threads;
}

/* ---- threads of scenarios ---------------------------------------------------------------------------- */

struct nt_runner {
    pthread_t thread;
    char name[24];
    struct nt_process *process;
    void (*body)(void *context);
    void *context;
};

static void *runner_thread(void *argument)
{
    struct nt_runner *runner = argument;
    (void)nt_thread_attach(runner->name, runner->process);
    runner->body(runner->context);
    nt_thread_detach();
    return NULL;
}

struct nt_runner *nt_run_thread(const char *name, struct nt_process *process,
                                void (*body)(void *context), void *context)
{
    struct nt_runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        abort();
    snprintf(runner->name, sizeof runner->name, "%s", name);
    runner->process = process;
    runner->body = body;
    runner->context = context;
    if (pthread_create(&runner->thread, NULL, runner_thread, runner) != 0)
        abort();
    return runner;
}

void nt_join_thread(struct nt_runner *runner)
{
    pthread_join(runner->thread, NULL);
    free(runner);
}

static const struct nt_export exports[] = {
    NT_DECIDES(PsSetCreateProcessNotifyRoutine, PASSIVE_LEVEL, PASSIVE_LEVEL,
               STATUS_INSUFFICIENT_RESOURCES, "ntddk/nf-ntddk-pssetcreateprocessnotifyroutine"),
    NT_DECIDES(PsSetCreateProcessNotifyRoutineEx, PASSIVE_LEVEL, PASSIVE_LEVEL,
               STATUS_INSUFFICIENT_RESOURCES, "ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex"),
    NT_DECIDES(PsSetCreateProcessNotifyRoutineEx2, PASSIVE_LEVEL, PASSIVE_LEVEL,
               STATUS_INSUFFICIENT_RESOURCES, "ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex2"),
    NT_DECIDES(PsSetLoadImageNotifyRoutine, PASSIVE_LEVEL, PASSIVE_LEVEL,
               STATUS_INSUFFICIENT_RESOURCES, "ntddk/nf-ntddk-pssetloadimagenotifyroutine"),
    NT_DECIDES(PsSetLoadImageNotifyRoutineEx, PASSIVE_LEVEL, PASSIVE_LEVEL,
               STATUS_INSUFFICIENT_RESOURCES, "ntddk/nf-ntddk-pssetloadimagenotifyroutineex"),
    NT_ROUTINE(PsRemoveLoadImageNotifyRoutine, PASSIVE_LEVEL, APC_LEVEL,
               "ntddk/nf-ntddk-psremoveloadimagenotifyroutine"),
    NT_DECIDES(PsSetCreateThreadNotifyRoutine, PASSIVE_LEVEL, PASSIVE_LEVEL,
               STATUS_INSUFFICIENT_RESOURCES, "ntddk/nf-ntddk-pssetcreatethreadnotifyroutine"),
    NT_DECIDES(PsSetCreateThreadNotifyRoutineEx, PASSIVE_LEVEL, PASSIVE_LEVEL,
               STATUS_INSUFFICIENT_RESOURCES, "ntddk/nf-ntddk-pssetcreatethreadnotifyroutineex"),
    NT_ROUTINE(PsRemoveCreateThreadNotifyRoutine, PASSIVE_LEVEL, APC_LEVEL,
               "ntddk/nf-ntddk-psremovecreatethreadnotifyroutine"),
    NT_FALLIBLE(PsLookupThreadByThreadId, PASSIVE_LEVEL, APC_LEVEL, STATUS_INVALID_PARAMETER,
                "ntifs/nf-ntifs-pslookupthreadbythreadid"),
    NT_FALLIBLE(ZwQueryInformationThread, PASSIVE_LEVEL, PASSIVE_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES, "winternl: NtQueryInformationThread"),
    NT_FALLIBLE(ZwTerminateProcess, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_ACCESS_DENIED,
                "ntddk/nf-ntddk-zwterminateprocess"),
    NT_ROUTINE(PsGetCurrentProcessId, PASSIVE_LEVEL, HIGH_LEVEL,
               "ntddk/nf-ntddk-psgetcurrentprocessid"),
    NT_ROUTINE(PsGetCurrentThreadId, PASSIVE_LEVEL, HIGH_LEVEL,
               "ntddk/nf-ntddk-psgetcurrentthreadid"),
    NT_ROUTINE(IoGetCurrentProcess, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-iogetcurrentprocess"),
    NT_ROUTINE(PsGetCurrentProcess, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-iogetcurrentprocess"),
    NT_ROUTINE(KeGetCurrentThread, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-kegetcurrentthread"),
    NT_ROUTINE(PsGetCurrentThread, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-kegetcurrentthread"),
    NT_ROUTINE(PsGetProcessId, PASSIVE_LEVEL, HIGH_LEVEL, "ntddk/nf-ntddk-psgetprocessid"),
    NT_ROUTINE(PsGetProcessStartKey, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "ntddk/nf-ntddk-psgetprocessstartkey"),
    NT_ROUTINE(PsGetProcessCreateTimeQuadPart, PASSIVE_LEVEL, HIGH_LEVEL,
               "ntddk/nf-ntddk-psgetprocesscreatetimequadpart"),
    NT_ROUTINE(PsGetProcessExitStatus, PASSIVE_LEVEL, APC_LEVEL,
               "ntddk/nf-ntddk-psgetprocessexitstatus"),
    NT_FALLIBLE(PsLookupProcessByProcessId, PASSIVE_LEVEL, APC_LEVEL, STATUS_INVALID_CID,
                "ntifs/nf-ntifs-pslookupprocessbyprocessid"),
    NT_ROUTINE(PsReferencePrimaryToken, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "ntifs/nf-ntifs-psreferenceprimarytoken"),
    NT_ROUTINE(PsDereferencePrimaryToken, PASSIVE_LEVEL, APC_LEVEL,
               "ntifs/nf-ntifs-psdereferenceprimarytoken"),
    NT_FALLIBLE(PsCreateSystemThread, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "wdm/nf-wdm-pscreatesystemthread"),
    NT_ROUTINE(PsTerminateSystemThread, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "wdm/nf-wdm-psterminatesystemthread"),
};
const struct nt_export_table nt_ps_table = NT_TABLE(exports);
