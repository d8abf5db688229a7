/*
 * Reading values from the registry. PASSIVE_LEVEL ("ZwOpenKey", "ZwQueryValueKey"), from DriverEntry
 * only. No state.
 */
#include "registry.h"

#include "os.h"
#include "text.h"

NTSTATUS wvu_registry_open(HANDLE parent, PCUNICODE_STRING path, HANDLE *key)
{
    UNICODE_STRING name = *path;
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, parent,
                               NULL);
    return ZwOpenKey(key, KEY_READ, &attributes);
}

NTSTATUS wvu_registry_read(HANDLE key, PCWSTR name, struct wvu_registry_value *value)
{
    struct {
        KEY_VALUE_PARTIAL_INFORMATION information; /* its Data is inside its own size */
        UCHAR more[WVU_REGISTRY_DATA_MAX];
    } buffer;
    UNICODE_STRING string;
    ULONG length;
    RtlInitUnicodeString(&string, name);
    NTSTATUS status = ZwQueryValueKey(
        key, &string, KeyValuePartialInformation, &buffer,
        FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data) + WVU_REGISTRY_DATA_MAX, &length);
    RtlZeroMemory(value, sizeof *value);
    if (!NT_SUCCESS(status))
        return status;
    value->type = buffer.information.Type;
    value->size = buffer.information.DataLength;
    if (value->size > WVU_REGISTRY_DATA_MAX)
        return STATUS_BUFFER_OVERFLOW;
    RtlCopyMemory(&value->data, buffer.information.Data, value->size);
    return STATUS_SUCCESS;
}

NTSTATUS wvu_registry_read_large(HANDLE key, PCWSTR name, ULONG most, uint32_t tag, ULONG *type,
                                 WCHAR **data, ULONG *size)
{
    const ULONG header = FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data);
    UNICODE_STRING string;
    ULONG length;
    *data = NULL;
    RtlInitUnicodeString(&string, name);
    KEY_VALUE_PARTIAL_INFORMATION *information = wvu_os_alloc(header + most, tag);
    if (information == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS status = ZwQueryValueKey(key, &string, KeyValuePartialInformation, information,
                                      header + most, &length);
    if (NT_SUCCESS(status)) {
        *type = information->Type;
        *size = information->DataLength;
        *data = wvu_os_alloc(*size + 2 * sizeof(WCHAR), tag);
        if (*data != NULL)
            RtlCopyMemory(*data, information->Data, *size);
        else
            status = STATUS_INSUFFICIENT_RESOURCES;
    }
    wvu_os_free(information, tag);
    return status;
}

NTSTATUS wvu_registry_read_text(PCWSTR path, PCWSTR name, char *text, size_t size)
{
    struct wvu_registry_value value;
    UNICODE_STRING string;
    HANDLE key;
    text[0] = '\0';
    RtlInitUnicodeString(&string, path);
    NTSTATUS status = wvu_registry_open(NULL, &string, &key);
    if (!NT_SUCCESS(status))
        return status;
    status = wvu_registry_read(key, name, &value);
    (void)ZwClose(key);
    if (!NT_SUCCESS(status))
        return status;
    if (value.type != REG_SZ || value.size < sizeof(WCHAR))
        return STATUS_OBJECT_TYPE_MISMATCH;
    (void)wvu_utf8_from_utf16(text, size, (const uint16_t *)value.data.text,
                              value.size / sizeof(WCHAR));
    return STATUS_SUCCESS;
}
