/*
 * Reads the driver's altitude from the registry, for those who need it beside the Filter Manager: the
 * registry probe. PASSIVE_LEVEL, once, from DriverEntry. No state.
 *
 * It is read, not compiled in, because whoever ships the driver asks Microsoft for an altitude of their own
 * and writes it into the INF alone.
 */
#include "altitude.h"

#include "registry.h"

static const WCHAR usual[] = L"360000"; /* WinVirtUE.inx */

/* A REG_SZ as a terminated text; false when there is none, or none that fits. */
static bool read_text(HANDLE key, PCWSTR name, WCHAR *text, size_t units)
{
    struct wvu_registry_value value;
    if (!NT_SUCCESS(wvu_registry_read(key, name, &value)) || value.type != REG_SZ)
        return false;
    size_t length = 0;
    while (length < value.size / sizeof(WCHAR) && value.data.text[length] != 0)
        length++;
    if (length == 0 || length >= units)
        return false;
    RtlCopyMemory(text, value.data.text, length * sizeof(WCHAR));
    text[length] = 0;
    return true;
}

static bool read_below(HANDLE service, PCWSTR path, WCHAR altitude[WVU_ALTITUDE_UNITS])
{
    WCHAR instance[128];
    UNICODE_STRING string;
    HANDLE instances, key;
    bool found = false;
    RtlInitUnicodeString(&string, path);
    if (!NT_SUCCESS(wvu_registry_open(service, &string, &instances)))
        return false;
    if (!read_text(instances, L"DefaultInstance", instance, sizeof instance / sizeof instance[0]))
        goto close_instances;
    RtlInitUnicodeString(&string, instance);
    if (!NT_SUCCESS(wvu_registry_open(instances, &string, &key)))
        goto close_instances;
    found = read_text(key, L"Altitude", altitude, WVU_ALTITUDE_UNITS);
    (void)ZwClose(key);
close_instances:
    (void)ZwClose(instances);
    return found;
}

void wvu_altitude_read(PCUNICODE_STRING service_key, WCHAR altitude[WVU_ALTITUDE_UNITS])
{
    HANDLE service;
    bool found = false;
    if (NT_SUCCESS(wvu_registry_open(NULL, service_key, &service))) {
        found = read_below(service, L"Parameters\\Instances", altitude) ||
                read_below(service, L"Instances", altitude);
        (void)ZwClose(service);
    }
    if (!found)
        RtlCopyMemory(altitude, usual, sizeof usual);
}
