/*
 * The registry, and the one device that drivers open: the source of random numbers.
 *
 * A registry value is an entry of a flat list: key path, name, type, data. Paths and names are ASCII
 * here and compared without case. Scenarios set values while no driver runs; drivers only read.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "kernel.h"

#define PATH_MAX_BYTES 512u
#define VALUES_MAX     128u

struct value {
    char key[PATH_MAX_BYTES];
    char name[64];
    uint32_t type;
    uint32_t size;
    uint8_t *data;
};

static struct value values[VALUES_MAX];
static size_t value_count;

/* ---- for scenarios --------------------------------------------------------------------------------- */

void nt_registry_set(const char *key, const char *name, uint32_t type, const void *data,
                     uint32_t size)
{
    struct value *value = NULL;
    for (size_t i = 0; i < value_count; i++) {
        if (strcasecmp(values[i].key, key) == 0 && strcasecmp(values[i].name, name) == 0)
            value = &values[i];
    }
    if (value == NULL) {
        if (value_count == VALUES_MAX)
            abort();
        value = &values[value_count++];
    }
    free(value->data);
    snprintf(value->key, sizeof value->key, "%s", key);
    snprintf(value->name, sizeof value->name, "%s", name);
    value->type = type;
    value->size = size;
    value->data = malloc(size + 1);
    if (value->data == NULL)
        abort();
    memcpy(value->data, data, size);
}

void nt_registry_set_number(const char *key, const char *name, uint32_t number)
{
    nt_registry_set(key, name, REG_DWORD, &number, sizeof number);
}

void nt_registry_set_text(const char *key, const char *name, const char *text)
{
    WCHAR units[512];
    nt_units_from(text, units, NT_ARRAY(units));
    nt_registry_set(key, name, REG_SZ, units, (uint32_t)((strlen(text) + 1) * sizeof units[0]));
}

void nt_registry_set_lines(const char *key, const char *name, const char *text)
{
    size_t length = strlen(text);
    WCHAR *units = calloc(length + 2, sizeof *units); /* ends with two zeros */
    if (units == NULL)
        abort();
    for (size_t i = 0; i < length; i++)
        units[i] = text[i] == '\n' ? 0 : (WCHAR)text[i];
    nt_registry_set(key, name, REG_MULTI_SZ, units, (uint32_t)((length + 2) * sizeof *units));
    free(units);
}

void nt_registry_forget(const char *key)
{
    for (size_t i = 0; i < value_count; i++) {
        if (strcasecmp(values[i].key, key) == 0)
            values[i].key[0] = '\0';
    }
}

void nt_registry_reset(void)
{
    static const char control[] = "\\Registry\\Machine\\System\\CurrentControlSet\\Control";
    char key[PATH_MAX_BYTES];
    for (size_t i = 0; i < value_count; i++) {
        free(values[i].data);
        values[i].data = NULL;
    }
    value_count = 0;
    nt_registry_set_number(NT_SERVICE_KEY, "Type", 2);
    nt_registry_set_text(NT_SERVICE_KEY "\\Instances", "DefaultInstance", "WinVirtUE Instance");
    snprintf(key, sizeof key, "%s\\ComputerName\\ActiveComputerName", control);
    nt_registry_set_text(key, "ComputerName", "STAND-IN");
    nt_registry_set_text("\\Registry\\Machine\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion",
                         "SystemRoot", "C:\\Windows");
    nt_registry_set_text("\\Registry\\Machine\\SOFTWARE\\Microsoft\\Cryptography", "MachineGuid",
                         "6f9619ff-8b86-d011-b42d-00cf4fc964ff");
}

/* ---- keys ------------------------------------------------------------------------------------------ */

struct key {
    char path[PATH_MAX_BYTES];
};

static bool key_exists(const char *path)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < value_count; i++) {
        if (strncasecmp(values[i].key, path, length) == 0 &&
            (values[i].key[length] == '\0' || values[i].key[length] == '\\'))
            return true;
    }
    return false;
}

bool nt_registry_has(const char *key, const char *name)
{
    for (size_t i = 0; i < value_count; i++) {
        if (strcasecmp(values[i].key, key) == 0 && strcasecmp(values[i].name, name) == 0)
            return true;
    }
    return false;
}

static void ascii_of(const UNICODE_STRING *string, char *text, size_t size)
{
    size_t count = string->Length / sizeof(WCHAR);
    if (count >= size || string->Length > string->MaximumLength)
        nt_broken(NT_RULE_PARAMETER, "%s: a name of %u of %u bytes", nt_self->routine,
                  string->Length, string->MaximumLength);
    for (size_t i = 0; i < count; i++)
        text[i] = string->Buffer[i] < 0x80 ? (char)string->Buffer[i] : '?';
    text[count] = '\0';
}

static void check_attributes(const OBJECT_ATTRIBUTES *attributes)
{
    if (attributes->Length != sizeof *attributes || attributes->ObjectName == NULL)
        nt_broken(NT_RULE_PARAMETER, "%s: OBJECT_ATTRIBUTES of %u bytes", nt_self->routine,
                  attributes->Length);
    if ((attributes->Attributes & OBJ_KERNEL_HANDLE) == 0)
        nt_broken(NT_RULE_HANDLE, "%s without OBJ_KERNEL_HANDLE: the process could use the handle",
                  nt_self->routine);
}

static NTAPI NTSTATUS ZwOpenKey(HANDLE *handle, uint32_t access,
                                const OBJECT_ATTRIBUTES *attributes)
{
    (void)access;
    check_attributes(attributes);
    char name[PATH_MAX_BYTES];
    ascii_of(attributes->ObjectName, name, sizeof name);
    struct key *key = calloc(1, sizeof *key);
    if (key == NULL)
        abort();
    size_t length = 0;
    if (attributes->RootDirectory != NULL) {
        const struct nt_object *root = nt_handle_object(attributes->RootDirectory);
        if (root->type != NT_KEY)
            nt_broken(NT_RULE_HANDLE, "ZwOpenKey: the root is not a key");
        const char *path = ((const struct key *)root->body)->path;
        length = strlen(path) + 1;
        memcpy(key->path, path, length);
        key->path[length - 1] = '\\';
    }
    if (length + strlen(name) >= sizeof key->path)
        nt_broken(NT_RULE_PARAMETER, "ZwOpenKey: the path is too long");
    memcpy(key->path + length, name, strlen(name) + 1);
    if (!key_exists(key->path)) {
        free(key);
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    struct nt_object *object = nt_object_create(NT_KEY, key);
    *handle = nt_handle_open(object);
    nt_object_drop(object);
    return STATUS_SUCCESS;
}

enum { KeyValuePartialInformation = 2 };

static NTAPI NTSTATUS ZwQueryValueKey(HANDLE handle, const UNICODE_STRING *name,
                                      uint32_t information_class, void *information,
                                      uint32_t length, uint32_t *needed)
{
    const struct nt_object *object = nt_handle_object(handle);
    if (object->type != NT_KEY)
        nt_broken(NT_RULE_HANDLE, "ZwQueryValueKey: the handle is not a key's");
    if (information_class != KeyValuePartialInformation)
        nt_broken(NT_RULE_IMPORT, "ZwQueryValueKey: class %u is not here", information_class);
    const struct key *key = object->body;
    char wanted[PATH_MAX_BYTES];
    ascii_of(name, wanted, sizeof wanted);
    const struct value *value = NULL;
    for (size_t i = 0; i < value_count && value == NULL; i++) {
        if (strcasecmp(values[i].key, key->path) == 0 && strcasecmp(values[i].name, wanted) == 0)
            value = &values[i];
    }
    if (value == NULL)
        return STATUS_OBJECT_NAME_NOT_FOUND;
    const uint32_t header = offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data);
    *needed = header + value->size;
    if (length < header)
        return STATUS_BUFFER_TOO_SMALL;
    KEY_VALUE_PARTIAL_INFORMATION *out = information;
    out->TitleIndex = 0;
    out->Type = value->type;
    out->DataLength = value->size;
    uint32_t room = length - header;
    memcpy(out->Data, value->data, value->size < room ? value->size : room);
    return value->size <= room ? STATUS_SUCCESS : STATUS_BUFFER_OVERFLOW;
}

/* ---- drive letters ---------------------------------------------------------------------------------- */

static NTAPI NTSTATUS ZwOpenSymbolicLinkObject(HANDLE *handle, uint32_t access,
                                               const OBJECT_ATTRIBUTES *attributes)
{
    static const char target[] = "\\Device\\HarddiskVolume3";
    (void)access;
    check_attributes(attributes);
    char name[PATH_MAX_BYTES];
    ascii_of(attributes->ObjectName, name, sizeof name);
    if (strcasecmp(name, "\\??\\C:") != 0)
        return STATUS_OBJECT_NAME_NOT_FOUND;
    struct nt_object *object = nt_object_create(NT_LINK, (void *)(uintptr_t)target);
    *handle = nt_handle_open(object);
    nt_object_drop(object);
    return STATUS_SUCCESS;
}

static NTAPI NTSTATUS ZwQuerySymbolicLinkObject(HANDLE handle, UNICODE_STRING *target,
                                                uint32_t *needed)
{
    const struct nt_object *object = nt_handle_object(handle);
    if (object->type != NT_LINK)
        nt_broken(NT_RULE_HANDLE, "ZwQuerySymbolicLinkObject: the handle is not a link's");
    size_t length = strlen(object->body);
    if (needed != NULL)
        *needed = (uint32_t)(length * sizeof(WCHAR));
    if (length * sizeof(WCHAR) > target->MaximumLength)
        return STATUS_BUFFER_TOO_SMALL;
    for (size_t i = 0; i < length; i++)
        target->Buffer[i] = (WCHAR)((const char *)object->body)[i];
    target->Length = (uint16_t)(length * sizeof(WCHAR));
    return STATUS_SUCCESS;
}

/* ---- the source of random numbers -------------------------------------------------------------------- */

struct io_status {
    NTSTATUS status;
    uint32_t padding;
    uint64_t information;
};

static NTAPI NTSTATUS ZwOpenFile(HANDLE *handle, uint32_t access,
                                 const OBJECT_ATTRIBUTES *attributes, struct io_status *io,
                                 uint32_t share, uint32_t options)
{
    (void)access;
    (void)share;
    check_attributes(attributes);
    char name[PATH_MAX_BYTES];
    ascii_of(attributes->ObjectName, name, sizeof name);
    if (strcasecmp(name, "\\Device\\KsecDD") != 0)
        return STATUS_OBJECT_NAME_NOT_FOUND;
    if ((options & 0x30u) == 0) /* FILE_SYNCHRONOUS_IO_... */
        nt_broken(NT_RULE_PARAMETER, "ZwOpenFile for asynchronous use: not here");
    struct nt_object *object = nt_object_create(NT_FILE, NULL);
    *handle = nt_handle_open(object);
    nt_object_drop(object);
    io->status = STATUS_SUCCESS;
    return STATUS_SUCCESS;
}

#define IOCTL_KSEC_RNG 0x390004u

static NTAPI NTSTATUS ZwDeviceIoControlFile(HANDLE handle, HANDLE event, void *apc, void *context,
                                            struct io_status *io, uint32_t code, void *input,
                                            uint32_t input_size, void *output, uint32_t output_size)
{
    (void)input;
    (void)input_size;
    const struct nt_object *object = nt_handle_object(handle);
    if (object->type != NT_FILE || event != NULL || apc != NULL || context != NULL)
        nt_broken(NT_RULE_PARAMETER, "ZwDeviceIoControlFile: only a synchronous request to a file");
    if (code != IOCTL_KSEC_RNG)
        return NT_STATUS(0xC0000010); /* STATUS_INVALID_DEVICE_REQUEST */
    if (getrandom(output, output_size, 0) != (ssize_t)output_size)
        abort();
    *io = (struct io_status){.status = STATUS_SUCCESS, .information = output_size};
    return STATUS_SUCCESS;
}

static const struct nt_export exports[] = {
    NT_FALLIBLE(ZwOpenKey, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_ACCESS_DENIED,
                "wdm/nf-wdm-zwopenkey"),
    NT_FALLIBLE(ZwQueryValueKey, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "wdm/nf-wdm-zwqueryvaluekey"),
    NT_FALLIBLE(ZwOpenSymbolicLinkObject, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_ACCESS_DENIED,
                "wdm/nf-wdm-zwopensymboliclinkobject"),
    NT_FALLIBLE(ZwQuerySymbolicLinkObject, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_BUFFER_TOO_SMALL,
                "wdm/nf-wdm-zwquerysymboliclinkobject"),
    NT_FALLIBLE(ZwOpenFile, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_OBJECT_NAME_NOT_FOUND,
                "wdm/nf-wdm-zwopenfile"),
    NT_FALLIBLE(ZwDeviceIoControlFile, PASSIVE_LEVEL, PASSIVE_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "ntifs/nf-ntifs-zwdeviceiocontrolfile"),
};
const struct nt_export_table nt_zw_table = NT_TABLE(exports);
