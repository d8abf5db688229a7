/*
 * The configuration manager as drivers see it: registry callbacks, key objects and their paths.
 *
 * Scenarios make keys and let threads work on them (nt_key_operate); the callbacks run in the calling
 * thread, at PASSIVE_LEVEL, before and after the operation, from the highest altitude to the lowest
 * ("Supporting Layered Registry Filtering Drivers"). What a callback is given is checked afterwards: it must
 * return STATUS_SUCCESS and must not have changed anything but CallContext, because a sensor must never fail
 * or change what it watches.
 *
 * Where the pages leave room, the unpleasant is done: Object of a post-notification is no key unless Status
 * is STATUS_SUCCESS; a post-notification comes also to a callback that did not see the pre-notification,
 * because it was registered in between; post-notifications can be missing.
 *
 * A path that CmCallbackGetKeyObjectIDEx gave is a block that only CmCallbackReleaseKeyObjectIDEx frees;
 * those of CmCallbackGetKeyObjectID belong to the key and go with it.
 *
 * The table of callbacks is under nt_lock; a call under way is a count in its slot.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define CALLBACKS_MAX      8u
#define NAME_TAG           0x6D6E4D43u /* "CMnm" */
#define STATUS_KEY_DELETED NT_STATUS(0xC000017C)
#define COLLISION          NT_STATUS(0xC01C0011) /* STATUS_FLT_INSTANCE_ALTITUDE_COLLISION */

enum { /* REG_NOTIFY_CLASS */
       RegNtPreDeleteKey = 0,
       RegNtPreSetValueKey = 1,
       RegNtPreDeleteValueKey = 2,
       RegNtPreRenameKey = 4,
       RegNtPreQueryValueKey = 8,
       RegNtPostDeleteKey = 15,
       RegNtPostSetValueKey = 16,
       RegNtPostDeleteValueKey = 17,
       RegNtPostRenameKey = 19,
       RegNtPostQueryValueKey = 23,
       RegNtPreCreateKeyEx = 26,
       RegNtPostCreateKeyEx = 27,
       RegNtPreOpenKeyEx = 28,
       RegNtPostOpenKeyEx = 29
};

typedef NTSTATUS(NTAPI *callback_routine)(void *context, void *notify_class, void *information);

struct callback {
    callback_routine routine;
    void *context;
    uint64_t cookie; /* 0: free */
    char altitude[40];
    uint32_t calls; /* under way */
    bool removing;
};

static struct callback callbacks[CALLBACKS_MAX];
static uint64_t last_cookie = 0x01D500000000u;
static char taken_altitude[40]; /* by another driver */
static __thread unsigned inside;

struct nt_registry_key {
    struct nt_object *object;
    UNICODE_STRING path;
    bool deleted;
    UNICODE_STRING kept; /* what CmCallbackGetKeyObjectID gave away; no buffer: nothing */
};

/* ---- keys ------------------------------------------------------------------------------------------ */

struct nt_registry_key *nt_key_new(const char *path)
{
    struct nt_registry_key *key = calloc(1, sizeof *key);
    if (key == NULL)
        abort();
    key->path = nt_string_of(path);
    key->object = nt_object_create(NT_KEY, key);
    return key;
}

void nt_key_free(struct nt_registry_key *key)
{
    nt_object_drop(key->object);
    nt_string_free(&key->path);
    nt_string_free(&key->kept);
    free(key);
}

void *nt_key_object(const struct nt_registry_key *key)
{
    return key != NULL ? key->object->address : NULL;
}

void nt_key_set_deleted(struct nt_registry_key *key)
{
    key->deleted = true;
}

static void rename_key(struct nt_registry_key *key, const char *path)
{
    nt_string_free(&key->path);
    key->path = nt_string_of(path);
}

/* ---- who is called ------------------------------------------------------------------------------------ */

static double altitude_of(const char *text)
{
    return strtod(text, NULL);
}

static void read_altitude(const UNICODE_STRING *altitude, char *text, size_t size)
{
    size_t count = altitude->Length / sizeof(WCHAR);
    if (count == 0 || count >= size)
        nt_broken(NT_RULE_PARAMETER, "CmRegisterCallbackEx: an altitude of %zu characters", count);
    for (size_t i = 0; i < count; i++) {
        WCHAR unit = altitude->Buffer[i];
        if ((unit < '0' || unit > '9') && unit != '.')
            nt_broken(NT_RULE_PARAMETER, "CmRegisterCallbackEx: the altitude is not a number");
        text[i] = (char)unit;
    }
    text[count] = '\0';
}

static NTSTATUS add_callback(callback_routine routine, const char *altitude, void *context,
                             int64_t *cookie)
{
    NTSTATUS status = COLLISION;
    struct callback *empty = NULL;
    pthread_mutex_lock(&nt_lock);
    if (strcmp(taken_altitude, altitude) == 0)
        goto out;
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        if (callbacks[i].cookie != 0 && strcmp(callbacks[i].altitude, altitude) == 0)
            goto out;
        if (callbacks[i].cookie == 0 && empty == NULL)
            empty = &callbacks[i];
    }
    status = STATUS_INSUFFICIENT_RESOURCES;
    if (empty == NULL)
        goto out;
    *empty = (struct callback){.routine = routine, .context = context, .cookie = ++last_cookie};
    strcpy(empty->altitude, altitude);
    *cookie = (int64_t)last_cookie;
    status = STATUS_SUCCESS;
out:
    pthread_mutex_unlock(&nt_lock);
    return status;
}

static NTAPI NTSTATUS CmRegisterCallbackEx(callback_routine routine, const UNICODE_STRING *altitude,
                                           void *object, void *context, int64_t *cookie,
                                           void *reserved)
{
    char text[40];
    const struct nt_driver *driver = nt_driver_at((uintptr_t)routine);
    if (driver == NULL)
        nt_broken(NT_RULE_BAD_POINTER,
                  "CmRegisterCallbackEx: the routine is not the driver's code");
    if (object != driver->object || reserved != NULL)
        nt_broken(NT_RULE_PARAMETER, "CmRegisterCallbackEx: driver object %p, reserved %p", object,
                  reserved);
    read_altitude(altitude, text, sizeof text);
    if (nt_inject("CmRegisterCallbackEx"))
        return STATUS_INSUFFICIENT_RESOURCES;
    return add_callback(routine, text, context, cookie);
}

static struct callback *callback_of(int64_t cookie)
{
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        if (cookie != 0 && callbacks[i].cookie == (uint64_t)cookie)
            return &callbacks[i];
    }
    return NULL;
}

static NTAPI NTSTATUS CmUnRegisterCallback(int64_t cookie)
{
    if (inside != 0)
        nt_broken(NT_RULE_WAIT, "CmUnRegisterCallback in a registry callback waits for itself");
    nt_check_wait(false);
    pthread_mutex_lock(&nt_lock);
    struct callback *callback = callback_of(cookie);
    if (callback != NULL) {
        callback->removing = true;
        while (callback->calls != 0)
            nt_wait_changed(UINT64_MAX);
        *callback = (struct callback){0};
    }
    pthread_mutex_unlock(&nt_lock);
    return callback != NULL ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

bool nt_registry_callback_registered(void)
{
    bool any = false;
    pthread_mutex_lock(&nt_lock);
    for (size_t i = 0; i < CALLBACKS_MAX; i++)
        any = any || callbacks[i].cookie != 0;
    pthread_mutex_unlock(&nt_lock);
    return any;
}

void nt_registry_altitude(char *text, size_t size)
{
    text[0] = '\0';
    pthread_mutex_lock(&nt_lock);
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        if (callbacks[i].cookie != 0 && strlen(callbacks[i].altitude) < size)
            strcpy(text, callbacks[i].altitude);
    }
    pthread_mutex_unlock(&nt_lock);
}

void nt_take_registry_altitude(const char *altitude)
{
    pthread_mutex_lock(&nt_lock);
    strcpy(taken_altitude, altitude != NULL ? altitude : "");
    pthread_mutex_unlock(&nt_lock);
}

void nt_cm_check_leaks(void)
{
    if (nt_registry_callback_registered())
        nt_broken(NT_RULE_LEAK_CALLBACK, "a routine set by CmRegisterCallbackEx was not removed");
}

/* ---- paths --------------------------------------------------------------------------------------------- */

static struct nt_registry_key *key_for(int64_t cookie, const void *object)
{
    pthread_mutex_lock(&nt_lock);
    bool known = callback_of(cookie) != NULL;
    pthread_mutex_unlock(&nt_lock);
    if (!known)
        nt_broken(NT_RULE_PARAMETER, "%s: there is no callback with cookie 0x%llx",
                  nt_self->routine, (unsigned long long)cookie);
    return nt_object_check(object, NT_KEY)->body;
}

static UNICODE_STRING *copy_path(const struct nt_registry_key *key)
{
    UNICODE_STRING *name = nt_pool_take(sizeof *name + key->path.Length, NAME_TAG, true,
                                        "CmCallbackReleaseKeyObjectIDEx");
    *name = key->path;
    name->Buffer = (WCHAR *)(void *)(name + 1);
    memcpy(name->Buffer, key->path.Buffer, key->path.Length);
    return name;
}

static NTAPI NTSTATUS CmCallbackGetKeyObjectIDEx(const int64_t *cookie, void *object, uint64_t *id,
                                                 UNICODE_STRING **name, uint32_t flags)
{
    const struct nt_registry_key *key = key_for(*cookie, object);
    if (flags != 0)
        nt_broken(NT_RULE_PARAMETER, "CmCallbackGetKeyObjectIDEx: flags 0x%x", flags);
    if (key->deleted)
        return STATUS_KEY_DELETED;
    if (id != NULL)
        *id = (uintptr_t)key;
    if (name != NULL)
        *name = copy_path(key);
    return STATUS_SUCCESS;
}

static NTAPI void CmCallbackReleaseKeyObjectIDEx(UNICODE_STRING *name)
{
    nt_pool_give_back(name, "CmCallbackReleaseKeyObjectIDEx");
}

static NTAPI NTSTATUS CmCallbackGetKeyObjectID(const int64_t *cookie, void *object, uint64_t *id,
                                               const UNICODE_STRING **name)
{
    struct nt_registry_key *key = key_for(*cookie, object);
    if (key->kept.Buffer == NULL && key->deleted)
        return STATUS_KEY_DELETED;
    if (key->kept.Buffer == NULL)
        key->kept = nt_string(key->path.Buffer, key->path.Length);
    if (id != NULL)
        *id = (uintptr_t)key;
    if (name != NULL)
        *name = &key->kept; /* "a stale copy", when the key was renamed */
    return STATUS_SUCCESS;
}

/* ---- calling --------------------------------------------------------------------------------------------- */

#define INFORMATION_MAX 160u

/* What each callback has put into CallContext. */
struct call_context {
    uint64_t cookie;
    void *context;
};

struct operation {
    const struct nt_key_plan *plan;
    uint32_t pre_class, post_class;
    union {
        REG_DELETE_KEY_INFORMATION deleted;
        REG_SET_VALUE_KEY_INFORMATION set;
        REG_DELETE_VALUE_KEY_INFORMATION value_deleted;
        REG_RENAME_KEY_INFORMATION renamed;
        REG_QUERY_VALUE_KEY_INFORMATION query;
        REG_CREATE_KEY_INFORMATION created;
        uint8_t bytes[INFORMATION_MAX];
    } pre;
    void **pre_context; /* CallContext in it */
    struct call_context contexts[CALLBACKS_MAX];
};

static void call(const struct callback *callback, uint32_t class, void *information)
{
    struct nt_entry entry = nt_enter_driver("the registry callback");
    inside++;
    NTSTATUS status = callback->routine(callback->context, (void *)(uintptr_t) class, information);
    inside--;
    nt_leave_driver(&entry);
    if (status != STATUS_SUCCESS)
        nt_broken(NT_RULE_CALLBACK, "the registry callback returned 0x%08x for class %u",
                  (unsigned)status, class);
}

/* The callback with the highest altitude below `below` (NULL: of all); its slot counts as busy. */
static struct callback *next_callback(const char *below, struct callback *copy)
{
    struct callback *found = NULL;
    pthread_mutex_lock(&nt_lock);
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        struct callback *slot = &callbacks[i];
        if (slot->cookie == 0 || slot->removing ||
            (below != NULL && altitude_of(slot->altitude) >= altitude_of(below)) ||
            (found != NULL && altitude_of(slot->altitude) < altitude_of(found->altitude)))
            continue;
        found = slot;
    }
    if (found != NULL) {
        found->calls++;
        *copy = *found;
    }
    pthread_mutex_unlock(&nt_lock);
    return found;
}

static void finish_call(struct callback *slot)
{
    pthread_mutex_lock(&nt_lock);
    slot->calls--;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
}

static void for_each(void (*visit)(const struct callback *callback, struct operation *operation),
                     struct operation *operation)
{
    struct callback copy, *slot;
    char below[40];
    const char *last = NULL;
    while ((slot = next_callback(last, &copy)) != NULL) {
        visit(&copy, operation);
        finish_call(slot);
        strcpy(below, copy.altitude);
        last = below;
    }
}

static struct call_context *context_of(struct operation *operation, uint64_t cookie, bool make)
{
    for (size_t i = 0; i < CALLBACKS_MAX; i++) {
        if (operation->contexts[i].cookie == cookie)
            return &operation->contexts[i];
        if (operation->contexts[i].cookie == 0 && make) {
            operation->contexts[i].cookie = cookie;
            return &operation->contexts[i];
        }
    }
    return NULL;
}

static void check_unchanged(const struct operation *operation, const uint8_t *before)
{
    if (memcmp(before, operation->pre.bytes, sizeof operation->pre.bytes) != 0)
        nt_broken(NT_RULE_CALLBACK, "the registry callback changed the operation (class %u)",
                  operation->pre_class);
}

static void call_pre(const struct callback *callback, struct operation *operation)
{
    uint8_t before[INFORMATION_MAX];
    *operation->pre_context = NULL;
    memcpy(before, operation->pre.bytes, sizeof before);
    call(callback, operation->pre_class, &operation->pre);
    context_of(operation, callback->cookie, true)->context = *operation->pre_context;
    *operation->pre_context = NULL;
    check_unchanged(operation, before);
}

static void call_post(const struct callback *callback, struct operation *operation)
{
    uint8_t before[INFORMATION_MAX];
    const struct call_context *context = context_of(operation, callback->cookie, false);
    bool valid = operation->plan->status == STATUS_SUCCESS;
    struct nt_registry_key *key =
        operation->plan->result != NULL ? operation->plan->result : operation->plan->key;
    REG_POST_OPERATION_INFORMATION post = {
        .Object = valid ? nt_key_object(key) : (void *)UINT64_C(0xFFFFDEADBEEF1230),
        .Status = operation->plan->status,
        .PreInformation = &operation->pre,
        .CallContext = context != NULL ? context->context : NULL,
    };
    REG_POST_OPERATION_INFORMATION given = post;
    *operation->pre_context = post.CallContext;
    memcpy(before, operation->pre.bytes, sizeof before);
    call(callback, operation->post_class, &post);
    check_unchanged(operation, before);
    if (memcmp(&given, &post, sizeof post) != 0)
        nt_broken(NT_RULE_CALLBACK, "the registry callback changed the outcome (class %u)",
                  operation->post_class);
}

/* ---- operations -------------------------------------------------------------------------------------------- */

static void prepare_create(struct operation *operation)
{
    const struct nt_key_plan *plan = operation->plan;
    bool create = plan->operation == NT_KEY_CREATE;
    operation->pre_class = create ? RegNtPreCreateKeyEx : RegNtPreOpenKeyEx;
    operation->post_class = create ? RegNtPostCreateKeyEx : RegNtPostOpenKeyEx;
    operation->pre.created = (REG_CREATE_KEY_INFORMATION){
        .CompleteName = plan->name,
        .RootObject = nt_key_object(plan->key),
        .CreateOptions = plan->options,
        .DesiredAccess = plan->desired_access,
        .Disposition = plan->disposition,
        .Reserved = (void *)1, /* Version */
    };
    operation->pre_context = &operation->pre.created.CallContext;
}

static void prepare(struct operation *operation)
{
    const struct nt_key_plan *plan = operation->plan;
    void *object = nt_key_object(plan->key);
    switch (plan->operation) {
    case NT_KEY_CREATE:
    case NT_KEY_OPEN:
        prepare_create(operation);
        break;
    case NT_KEY_SET_VALUE:
        operation->pre_class = RegNtPreSetValueKey;
        operation->post_class = RegNtPostSetValueKey;
        operation->pre.set = (REG_SET_VALUE_KEY_INFORMATION){.Object = object,
                                                             .ValueName = plan->name,
                                                             .Type = plan->type,
                                                             .Data = plan->data,
                                                             .DataSize = plan->size};
        operation->pre_context = &operation->pre.set.CallContext;
        break;
    case NT_KEY_DELETE_VALUE:
        operation->pre_class = RegNtPreDeleteValueKey;
        operation->post_class = RegNtPostDeleteValueKey;
        operation->pre.value_deleted =
            (REG_DELETE_VALUE_KEY_INFORMATION){.Object = object, .ValueName = plan->name};
        operation->pre_context = &operation->pre.value_deleted.CallContext;
        break;
    case NT_KEY_QUERY_VALUE:
        operation->pre_class = RegNtPreQueryValueKey;
        operation->post_class = RegNtPostQueryValueKey;
        operation->pre.query =
            (REG_QUERY_VALUE_KEY_INFORMATION){.Object = object,
                                              .ValueName = plan->name,
                                              .KeyValueInformationClass = plan->type,
                                              .KeyValueInformation = plan->data,
                                              .Length = plan->size};
        operation->pre_context = &operation->pre.query.CallContext;
        break;
    case NT_KEY_DELETE:
        operation->pre_class = RegNtPreDeleteKey;
        operation->post_class = RegNtPostDeleteKey;
        operation->pre.deleted = (REG_DELETE_KEY_INFORMATION){.Object = object};
        operation->pre_context = &operation->pre.deleted.CallContext;
        break;
    case NT_KEY_RENAME:
        operation->pre_class = RegNtPreRenameKey;
        operation->post_class = RegNtPostRenameKey;
        operation->pre.renamed =
            (REG_RENAME_KEY_INFORMATION){.Object = object, .NewName = plan->name};
        operation->pre_context = &operation->pre.renamed.CallContext;
        break;
    }
}

static void carry_out(struct operation *operation)
{
    const struct nt_key_plan *plan = operation->plan;
    if (plan->status != STATUS_SUCCESS)
        return;
    if (plan->operation == NT_KEY_DELETE)
        plan->key->deleted = true;
    if (plan->operation == NT_KEY_RENAME)
        rename_key(plan->key, plan->new_path);
    if (plan->operation == NT_KEY_CREATE || plan->operation == NT_KEY_OPEN)
        operation->pre.created.GrantedAccess = plan->granted_access;
}

void nt_key_operate(const struct nt_key_plan *plan)
{
    struct operation operation = {.plan = plan};
    memset(&operation.pre, 0, sizeof operation.pre);
    prepare(&operation);
    for_each(call_pre, &operation);
    carry_out(&operation);
    if (plan->meanwhile != NULL)
        plan->meanwhile(plan->context);
    if (!plan->no_post)
        for_each(call_post, &operation);
}

void nt_key_notify(uint32_t class, void *information)
{
    struct callback copy, *slot = next_callback(NULL, &copy);
    if (slot == NULL)
        return;
    call(&copy, class, information);
    finish_call(slot);
}

static const struct nt_export exports[] = {
    NT_DECIDES(CmRegisterCallbackEx, PASSIVE_LEVEL, APC_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
               "wdm/nf-wdm-cmregistercallbackex"),
    NT_ROUTINE(CmUnRegisterCallback, PASSIVE_LEVEL, APC_LEVEL, "wdm/nf-wdm-cmunregistercallback"),
    NT_FALLIBLE(CmCallbackGetKeyObjectIDEx, PASSIVE_LEVEL, APC_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "wdm/nf-wdm-cmcallbackgetkeyobjectidex"),
    NT_ROUTINE(CmCallbackReleaseKeyObjectIDEx, PASSIVE_LEVEL, APC_LEVEL,
               "wdm/nf-wdm-cmcallbackreleasekeyobjectidex"),
    NT_FALLIBLE(CmCallbackGetKeyObjectID, PASSIVE_LEVEL, APC_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "wdm/nf-wdm-cmcallbackgetkeyobjectid"),
};
const struct nt_export_table nt_cm_table = NT_TABLE(exports);
