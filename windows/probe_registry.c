/*
 * The registry probe: keys that are created, opened, renamed and deleted, values that are written, deleted
 * and read.
 *
 * The configuration manager calls on_registry before and after each registry operation of each thread, in
 * that thread, at PASSIVE_LEVEL (cm.h). The callback always returns STATUS_SUCCESS: whatever happens to the
 * sensor, the operation goes its way. It allocates nothing.
 *
 * One event tells one operation: it is written in the post-notification, which points to the structure of
 * the pre-notification, so that no state has to be kept. Only deleting and renaming a key need the
 * pre-notification themselves, because the path is another one afterwards (registry_names.c).
 *
 * These callbacks are the most frequent of all. What is switched off costs one load and one branch:
 * operations[] gives each class the bit of its event, and classes that are not in it, also those that later
 * systems invent, have a bit that is never set. Events that are switched off are therefore not counted as
 * filtered; those that the filter keeps away are.
 *
 * An operation that a filter above this one has ended is not seen at all; one that a filter below has ended
 * is seen with the status that it was given.
 *
 * State: the cookie, written by start and stop under the probe's control mutex. CmUnRegisterCallback waits
 * for calls that are inside ("A driver must not call CmUnRegisterCallback from its implementation of the
 * RegistryCallback routine. That call will result in a deadlock").
 */
#include "atomic.h"
#include "format.h"
#include "guarded.h"
#include "log.h"
#include "registry_event.h"
#include "registry_names.h"
#include "routines.h"

#define REASON_SIZE        256
#define ALTITUDE_COLLISION ((NTSTATUS)0xC01C0011) /* STATUS_FLT_INSTANCE_ALTITUDE_COLLISION */

static const struct wvu_setting settings[] = {
    {"data-bytes", 0, 4096, 256}, /* how many bytes of a value's data an event has */
    {NULL, 0, 0, 0},
};
#define SETTING_DATA_BYTES 0

/* ---- what each operation tells: with the structure of its pre-notification --------------------------- */

static void describe_set_value(struct wvu_registry_operation *operation, const void *information,
                               uint32_t data_bytes)
{
    const REG_SET_VALUE_KEY_INFORMATION *set = information;
    operation->object = set->Object;
    operation->value_type = set->Type;
    operation->present |= WVU_REGISTRY_PRESENT(Type);
    wvu_registry_operation_value_name(operation, set->ValueName);
    wvu_registry_operation_data(operation, set->Data, set->DataSize, data_bytes);
}

static void describe_delete_value(struct wvu_registry_operation *operation, const void *information,
                                  uint32_t data_bytes)
{
    const REG_DELETE_VALUE_KEY_INFORMATION *deleted = information;
    (void)data_bytes;
    operation->object = deleted->Object;
    wvu_registry_operation_value_name(operation, deleted->ValueName);
}

static void describe_query_value(struct wvu_registry_operation *operation, const void *information,
                                 uint32_t data_bytes)
{
    const REG_QUERY_VALUE_KEY_INFORMATION *query = information;
    operation->object = query->Object;
    operation->information_class = (uint32_t)query->KeyValueInformationClass;
    operation->present |= WVU_REGISTRY_PRESENT(InformationClass);
    wvu_registry_operation_value_name(operation, query->ValueName);
    if (operation->status == STATUS_SUCCESS || operation->status == STATUS_BUFFER_OVERFLOW)
        wvu_registry_operation_answer(operation, query->KeyValueInformationClass,
                                      query->KeyValueInformation, query->Length, data_bytes);
}

static void describe_delete_key(struct wvu_registry_operation *operation, const void *information,
                                uint32_t data_bytes)
{
    const REG_DELETE_KEY_INFORMATION *deleted = information;
    (void)data_bytes;
    operation->object = deleted->Object;
}

static void describe_rename_key(struct wvu_registry_operation *operation, const void *information,
                                uint32_t data_bytes)
{
    const REG_RENAME_KEY_INFORMATION *rename = information;
    (void)data_bytes;
    operation->object = rename->Object;
    wvu_registry_operation_new_name(operation, rename->NewName);
}

/* Create and open: one structure under two names. Version 1 of it, from Windows 7 on, begins the same. */
static void describe_create_key(struct wvu_registry_operation *operation, const void *information,
                                uint32_t data_bytes)
{
    const REG_CREATE_KEY_INFORMATION *create = information;
    ULONG disposition;
    (void)data_bytes;
    operation->options = create->CreateOptions;
    operation->desired_access = create->DesiredAccess;
    operation->present |= WVU_REGISTRY_PRESENT(Options) | WVU_REGISTRY_PRESENT(DesiredAccess);
    if (operation->status == STATUS_SUCCESS) {
        operation->granted_access = create->GrantedAccess;
        if (operation->granted_access != 0)
            operation->present |= WVU_REGISTRY_PRESENT(GrantedAccess);
        if (operation->type == WVU_EVENT_RegCreateKeyInfo && create->Disposition != NULL &&
            NT_SUCCESS(wvu_copy_mapped(&disposition, create->Disposition, sizeof disposition)) &&
            (disposition == REG_CREATED_NEW_KEY || disposition == REG_OPENED_EXISTING_KEY)) {
            operation->disposition = disposition;
            operation->present |= WVU_REGISTRY_PRESENT(Disposition);
        }
    }
    if (operation->object !=
        NULL) /* the key that was created or opened: its own path is the best */
        operation->names[0] = wvu_registry_name_get(operation->object);
    if (operation->names[0] != NULL) {
        wvu_registry_operation_key(operation, operation->names[0]);
        return;
    }
    operation->names[1] = wvu_registry_name_get(create->RootObject);
    wvu_registry_operation_key_below(operation, operation->names[1], create->CompleteName);
}

/* ---- which class is what ------------------------------------------------------------------------------ */

enum moment { BEFORE, AFTER };

struct operation_class {
    uint32_t
        index; /* of the event, for the mask of kinds; 0, whose bit is never set: not an operation */
    uint16_t type;
    enum moment moment;
    bool makes_key; /* Object of the post-notification is a new one, and valid only on success */
    void (*describe)(struct wvu_registry_operation *operation, const void *information,
                     uint32_t data_bytes);
};

#define CLASS(name, moment, makes_key, describe)                                                   \
    {                                                                                              \
        WVU_EVENT_INDEX_##name, WVU_EVENT_##name, moment, makes_key, describe                      \
    }

static const struct operation_class operations[] = {
    [RegNtPreDeleteKey] = CLASS(RegDeleteKeyInfo, BEFORE, false, NULL),
    [RegNtPreRenameKey] = CLASS(RegRenameKeyInfo, BEFORE, false, NULL),
    [RegNtPostDeleteKey] = CLASS(RegDeleteKeyInfo, AFTER, false, describe_delete_key),
    [RegNtPostSetValueKey] = CLASS(RegSetValueKeyInfo, AFTER, false, describe_set_value),
    [RegNtPostDeleteValueKey] = CLASS(RegDeleteValueKeyInfo, AFTER, false, describe_delete_value),
    [RegNtPostRenameKey] = CLASS(RegRenameKeyInfo, AFTER, false, describe_rename_key),
    [RegNtPostQueryValueKey] = CLASS(RegQueryValueKeyInfo, AFTER, false, describe_query_value),
    [RegNtPostCreateKeyEx] = CLASS(RegCreateKeyInfo, AFTER, true, describe_create_key),
    [RegNtPostOpenKeyEx] = CLASS(RegOpenKeyInfo, AFTER, true, describe_create_key),
};
#define CLASSES (sizeof operations / sizeof operations[0])

/* ---- the system's call: PASSIVE ------------------------------------------------------------------------ */

static void before(struct wvu_probe *probe, const struct operation_class *class, void *information,
                   uint32_t wanted)
{
    (void)probe;
    if ((wanted & 1u << class->index) == 0)
        return;
    if (class->index == WVU_EVENT_INDEX_RegDeleteKeyInfo) {
        REG_DELETE_KEY_INFORMATION *deleted = information;
        deleted->CallContext = wvu_registry_name_keep(deleted->Object);
    } else {
        REG_RENAME_KEY_INFORMATION *rename = information;
        rename->CallContext = wvu_registry_name_keep(rename->Object);
    }
}

static void after(struct wvu_probe *probe, const struct operation_class *class,
                  const REG_POST_OPERATION_INFORMATION *post, uint32_t wanted, HANDLE process_id)
{
    PCUNICODE_STRING kept = wvu_registry_name_take(post->CallContext);
    if (wvu_probe_wants(probe, class->type, wanted)) {
        struct wvu_registry_operation operation = {.type = class->type, .status = post->Status};
        if (class->makes_key && post->Status == STATUS_SUCCESS)
            operation.object = post->Object;
        if (post->PreInformation != NULL)
            class->describe(&operation, post->PreInformation,
                            wvu_probe_setting(probe, SETTING_DATA_BYTES));
        if (!class->makes_key) {
            if (kept == NULL)
                operation.names[0] = wvu_registry_name_get(operation.object);
            wvu_registry_operation_key(&operation, kept != NULL ? kept : operation.names[0]);
        }
        wvu_registry_operation_report(probe, &operation, process_id);
        wvu_registry_name_release(operation.names[0]);
        wvu_registry_name_release(operation.names[1]);
    }
    wvu_registry_name_release(kept);
}

static WVU_NT_NOINLINE void notify(struct wvu_probe *probe, const struct operation_class *class,
                                   void *information)
{
    if (!wvu_probe_enter(probe))
        return;
    uint64_t begun = wvu_probe_time_begin(probe);
    const struct wvu_nt_host *host = probe->host;
    HANDLE process_id = PsGetCurrentProcessId();
    uint32_t wanted = wvu_process_table_wanted(host->processes, (uint32_t)(uintptr_t)process_id);
    if (class->moment == BEFORE)
        before(probe, class, information, wanted);
    else
        after(probe, class, information, wanted, process_id);
    wvu_probe_time_end(probe, begun);
    wvu_probe_leave(probe);
}

_IRQL_requires_max_(PASSIVE_LEVEL) static NTSTATUS NTAPI
    on_registry(PVOID context, PVOID notify_class, PVOID information)
{
    struct wvu_probe *probe = context;
    uintptr_t number = (uintptr_t)notify_class;
    if (number < CLASSES &&
        (wvu_load_relaxed(&probe->kinds) >> operations[number].index & 1) != 0 &&
        information != NULL)
        notify(probe, &operations[number], information);
    return STATUS_SUCCESS;
}

/* ---- start and stop: PASSIVE, under the probe's control mutex --------------------------------------- */

static LARGE_INTEGER cookie;

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    const struct wvu_nt_host *host = probe->host;
    UNICODE_STRING altitude;
    if (wvu_routines.register_registry_callback_ex == NULL) {
        (void)wvu_format(reason, REASON_SIZE,
                         "this kernel has no CmRegisterCallbackEx (it came with Windows Vista)");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    RtlInitUnicodeString(&altitude, host->altitude);
    wvu_registry_names_open();
    NTSTATUS status = wvu_routines.register_registry_callback_ex(
        on_registry, &altitude, host->driver_object, probe, &cookie, NULL);
    if (NT_SUCCESS(status)) {
        wvu_registry_names_set_cookie(cookie);
        return WVU_STATUS_OK;
    }
    if (status == ALTITUDE_COLLISION)
        (void)wvu_format(
            reason, REASON_SIZE,
            "another registry filter has this driver's altitude; give the driver another "
            "one (Altitude in its Instances key)");
    else
        (void)wvu_format(reason, REASON_SIZE, "CmRegisterCallbackEx failed (0x%08x)",
                         (unsigned)status);
    return WVU_STATUS_NO_RESOURCES;
}

static void stop(struct wvu_probe *probe)
{
    NTSTATUS status = CmUnRegisterCallback(cookie);
    (void)probe;
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_REGISTRY, "the registry callback could not be removed (0x%08x)",
                      (unsigned)status);
    wvu_registry_names_close();
}

static const uint16_t events[] = {
    WVU_EVENT_RegQueryValueKeyInfo,  WVU_EVENT_RegCreateKeyInfo,
    WVU_EVENT_RegSetValueKeyInfo,    WVU_EVENT_RegOpenKeyInfo,
    WVU_EVENT_RegDeleteValueKeyInfo, WVU_EVENT_RegRenameKeyInfo,
    WVU_EVENT_RegDeleteKeyInfo,      0,
};
/* Reads: very many of them, and seldom of interest. */
static const uint16_t quiet[] = {WVU_EVENT_RegQueryValueKeyInfo, WVU_EVENT_RegOpenKeyInfo, 0};

const struct wvu_probe_definition wvu_registry_probe = {
    .name = "RegistryModification",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .quiet = quiet,
    .settings = settings,
    .start = start,
    .stop = stop,
};
