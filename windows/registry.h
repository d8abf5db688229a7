/*
 * Reading values from the registry. PASSIVE.
 */
#ifndef WVU_REGISTRY_H
#define WVU_REGISTRY_H

#include "nt.h"

#define WVU_REGISTRY_DATA_MAX 1024

/* One value as it was read. */
struct wvu_registry_value {
    ULONG type; /* REG_... */
    ULONG size; /* bytes in data */
    /* Aligned for a DWORD and for UTF-16, and two zero units behind the data. */
    union {
        ULONG number;
        WCHAR text[WVU_REGISTRY_DATA_MAX / sizeof(WCHAR) + 2];
    } data;
};

/* `parent` NULL: `path` is absolute. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS
    wvu_registry_open(HANDLE parent, PCUNICODE_STRING path, HANDLE *key);
/* STATUS_OBJECT_NAME_NOT_FOUND when there is none, STATUS_BUFFER_OVERFLOW when it is too long. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS
    wvu_registry_read(HANDLE key, PCWSTR name, struct wvu_registry_value *value);
/* The same for data of any size up to `most` bytes: *data is followed by two zero units and is freed with
 * wvu_os_free and `tag`. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS
    wvu_registry_read_large(HANDLE key, PCWSTR name, ULONG most, uint32_t tag, ULONG *type,
                            WCHAR **data, ULONG *size);
/* A REG_SZ below an absolute path, as UTF-8. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS
    wvu_registry_read_text(PCWSTR path, PCWSTR name, char *text, size_t size);

#endif
