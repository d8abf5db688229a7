/*
 * Objects that a driver holds by pointer or handle and must not look into: processes, threads,
 * tokens, files, filters, ports, keys.
 *
 * Their addresses are never mapped and never used twice, so a look inside is a fault, and a stale
 * pointer is known as such. The stand-in keeps what it knows in struct nt_object.
 *
 * The driver's references are counted apart from the kernel's: they must be back at zero at the
 * driver's end. Handles are kernel handles; each is a reference of the kernel.
 *
 * Under nt_lock, except reading an object that the caller holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel.h"

#define ARENA_SIZE  (UINT64_C(1) << 36)
#define SPACING     1024u
#define OBJECTS_MAX (ARENA_SIZE / SPACING)
#define HANDLES_MAX 65536u
#define HANDLE_BASE UINT64_C(0xFFFFFFFF80000000) /* kernel handles are negative numbers */

static const char *const type_names[] = {
    "process", "thread", "token", "file", "filter", "server port", "client port", "key", "link",
};

struct handle {
    struct nt_object *object;
    uint32_t access;
    uintptr_t opened_by;
};

static struct nt_space arena;
static struct nt_object **objects; /* by (address - arena.begin) / SPACING */
static size_t object_count;
static struct handle handles[HANDLES_MAX];
static size_t handle_hint = 1;
static size_t open_handles;
static int64_t driver_references;

/* Variables that point to type objects, as drivers import them. */
static char type_objects[8];
static void *process_type = &type_objects[0], *thread_type = &type_objects[1],
            *file_type = &type_objects[2];

void nt_objects_init(void)
{
    arena = nt_space_reserve(ARENA_SIZE);
    objects = mmap(NULL, OBJECTS_MAX * sizeof *objects, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (objects == MAP_FAILED)
        abort();
}

bool nt_is_object(uintptr_t address)
{
    return nt_space_has(&arena, address);
}

struct nt_object *nt_object_create(enum nt_type type, void *body)
{
    struct nt_object *object = calloc(1, sizeof *object);
    if (object == NULL)
        abort();
    pthread_mutex_lock(&nt_lock);
    if (object_count == (arena.end - arena.begin) / SPACING)
        abort();
    object->address = (void *)(arena.begin + object_count * SPACING + 0x40);
    object->type = type;
    object->body = body;
    object->kernel_references = 1;
    objects[object_count++] = object;
    pthread_mutex_unlock(&nt_lock);
    return object;
}

/* Objects stay in the table after their end: small, and the report of a stale pointer wants them. */
struct nt_object *nt_object_find(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    if (!nt_is_object(at))
        return NULL;
    size_t index = (at - arena.begin) / SPACING;
    struct nt_object *object = index < object_count ? objects[index] : NULL;
    return object != NULL && object->address == address ? object : NULL;
}

void nt_object_explain(uintptr_t address, char *text, size_t size)
{
    size_t index = (address - arena.begin) / SPACING;
    const struct nt_object *object = index < object_count ? objects[index] : NULL;
    if (object == NULL)
        snprintf(text, size, "no object");
    else
        snprintf(text, size,
                 "offset %ld of a %s object, %lld references of the driver, %lld others",
                 (long)(address - (uintptr_t)object->address), type_names[object->type],
                 (long long)object->references, (long long)object->kernel_references);
}

static bool alive(const struct nt_object *object)
{
    return object->references > 0 || object->kernel_references > 0;
}

struct nt_object *nt_object_check(const void *address, enum nt_type type)
{
    struct nt_object *object = nt_object_find(address);
    if (object == NULL || object->type != type)
        nt_broken(NT_RULE_BAD_POINTER, "%s was given %p, which is no %s", nt_self->routine, address,
                  type_names[type]);
    if (!alive(object))
        nt_broken(NT_RULE_REFERENCE, "%s was given a %s that is no more", nt_self->routine,
                  type_names[type]);
    return object;
}

static void dropped(struct nt_object *object)
{
    if (object->kernel_references < 0)
        abort();
    object->gone = !alive(object);
}

void nt_object_drop(struct nt_object *object)
{
    pthread_mutex_lock(&nt_lock);
    object->kernel_references--;
    dropped(object);
    pthread_mutex_unlock(&nt_lock);
}

void nt_object_take_locked(struct nt_object *object)
{
    object->references++;
    object->last_taken = nt_self->caller;
    driver_references++;
}

void nt_object_take(struct nt_object *object)
{
    pthread_mutex_lock(&nt_lock);
    nt_object_take_locked(object);
    pthread_mutex_unlock(&nt_lock);
}

/* ---- handles ------------------------------------------------------------------------------------- */

HANDLE nt_handle_open(struct nt_object *object)
{
    return nt_handle_open_with(object, UINT32_MAX);
}

HANDLE nt_handle_open_with(struct nt_object *object, uint32_t access)
{
    pthread_mutex_lock(&nt_lock);
    size_t slot = handle_hint;
    while (handles[slot].object != NULL)
        slot = slot + 1 < HANDLES_MAX ? slot + 1 : 1;
    handle_hint = slot + 1 < HANDLES_MAX ? slot + 1 : 1; /* a closed one is not soon used again */
    handles[slot] = (struct handle){object, access, nt_self->caller};
    object->kernel_references++;
    open_handles++;
    pthread_mutex_unlock(&nt_lock);
    return (HANDLE)(HANDLE_BASE + slot * 4);
}

static struct handle *find_handle(HANDLE handle)
{
    uint64_t value = (uintptr_t)handle;
    size_t slot = (value - HANDLE_BASE) / 4;
    if (value < HANDLE_BASE || slot >= HANDLES_MAX || (value & 3) != 0 ||
        handles[slot].object == NULL)
        nt_broken(NT_RULE_HANDLE, "%s: 0x%llx is not an open kernel handle", nt_self->routine,
                  (unsigned long long)value);
    return &handles[slot];
}

struct nt_object *nt_handle_object(HANDLE handle)
{
    pthread_mutex_lock(&nt_lock);
    struct nt_object *object = find_handle(handle)->object;
    pthread_mutex_unlock(&nt_lock);
    return object;
}

uint32_t nt_handle_access(HANDLE handle)
{
    pthread_mutex_lock(&nt_lock);
    uint32_t access = find_handle(handle)->access;
    pthread_mutex_unlock(&nt_lock);
    return access;
}

static NTAPI NTSTATUS ZwClose(HANDLE handle)
{
    pthread_mutex_lock(&nt_lock);
    struct handle *entry = find_handle(handle);
    entry->object->kernel_references--;
    dropped(entry->object);
    entry->object = NULL;
    open_handles--;
    pthread_mutex_unlock(&nt_lock);
    return STATUS_SUCCESS;
}

/* ---- references ------------------------------------------------------------------------------------ */

static NTAPI NTSTATUS ObReferenceObjectByHandle(HANDLE handle, uint32_t access, void *type,
                                                int8_t mode, void **out, void *information)
{
    (void)access;
    (void)mode;
    (void)information;
    struct nt_object *object = nt_handle_object(handle);
    if (type != NULL && type != process_type && type != thread_type && type != file_type)
        nt_broken(NT_RULE_BAD_POINTER, "ObReferenceObjectByHandle: %p is not an object type", type);
    bool wrong = (type == process_type && object->type != NT_PROCESS) ||
                 (type == thread_type && object->type != NT_THREAD) ||
                 (type == file_type && object->type != NT_FILE);
    if (wrong)
        return STATUS_OBJECT_TYPE_MISMATCH;
    nt_object_take(object);
    *out = object->address;
    return STATUS_SUCCESS;
}

static NTAPI NTSTATUS ObOpenObjectByPointer(void *address, uint32_t attributes, void *state,
                                            uint32_t access, void *type, int8_t mode,
                                            HANDLE *handle)
{
    (void)state;
    (void)type;
    (void)mode;
    if ((attributes & OBJ_KERNEL_HANDLE) == 0)
        nt_broken(NT_RULE_HANDLE, "ObOpenObjectByPointer without OBJ_KERNEL_HANDLE");
    struct nt_object *object = nt_object_find(address);
    if (object == NULL || !alive(object))
        nt_broken(NT_RULE_REFERENCE, "ObOpenObjectByPointer: no live object at %p", address);
    *handle = nt_handle_open_with(object, access);
    return STATUS_SUCCESS;
}

static NTAPI int64_t ObfReferenceObject(void *address)
{
    struct nt_object *object = nt_object_find(address);
    if (object == NULL || !alive(object))
        nt_broken(NT_RULE_REFERENCE, "ObfReferenceObject: no live object at %p", address);
    nt_object_take(object);
    return object->references + object->kernel_references;
}

int64_t nt_object_give_back(const void *address)
{
    pthread_mutex_lock(&nt_lock);
    struct nt_object *object = nt_object_find(address);
    if (object == NULL || object->references <= 0)
        nt_broken(NT_RULE_REFERENCE, "%s: the driver has no reference to %p", nt_self->routine,
                  address);
    object->references--;
    driver_references--;
    dropped(object);
    int64_t left = object->references + object->kernel_references;
    pthread_mutex_unlock(&nt_lock);
    return left;
}

static NTAPI int64_t ObfDereferenceObject(void *address)
{
    return nt_object_give_back(address);
}

void nt_objects_check_leaks(void)
{
    for (size_t i = 0; open_handles != 0 && i < HANDLES_MAX; i++) {
        if (handles[i].object == NULL)
            continue;
        char where[128];
        nt_place(handles[i].opened_by, where, sizeof where);
        nt_broken(NT_RULE_LEAK_HANDLE, "%zu handles; one of a %s, opened at %s", open_handles,
                  type_names[handles[i].object->type], where);
    }
    for (size_t i = 0; driver_references != 0 && i < object_count; i++) {
        if (objects[i]->references == 0)
            continue;
        char where[128];
        nt_place(objects[i]->last_taken, where, sizeof where);
        nt_broken(NT_RULE_LEAK_REFERENCE, "%lld references; one to a %s, taken at %s",
                  (long long)driver_references, type_names[objects[i]->type], where);
    }
}

static const struct nt_export exports[] = {
    NT_ROUTINE(ZwClose, PASSIVE_LEVEL, PASSIVE_LEVEL, "wdm/nf-wdm-zwclose"),
    NT_FALLIBLE(ObReferenceObjectByHandle, PASSIVE_LEVEL, PASSIVE_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES, "wdm/nf-wdm-obreferenceobjectbyhandle"),
    NT_FALLIBLE(ObOpenObjectByPointer, PASSIVE_LEVEL, APC_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "ntifs/nf-ntifs-obopenobjectbypointer"),
    NT_ROUTINE(ObfReferenceObject, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-obfreferenceobject"),
    NT_ROUTINE(ObfDereferenceObject, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-obdereferenceobject"),
    NT_VARIABLE("PsProcessType", &process_type, "wdm/nf-wdm-obreferenceobjectbyhandle"),
    NT_VARIABLE("PsThreadType", &thread_type, "wdm/nf-wdm-obreferenceobjectbyhandle"),
    NT_VARIABLE("IoFileObjectType", &file_type, "wdm/nf-wdm-obreferenceobjectbyhandle"),
};
const struct nt_export_table nt_ob_table = NT_TABLE(exports);
