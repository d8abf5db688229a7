/*
 * Looks up the kernel routines of routines.h. Called once from DriverEntry, at PASSIVE_LEVEL
 * ("MmGetSystemRoutineAddress": PASSIVE_LEVEL; kernel and HAL exports only).
 */
#include "routines.h"

#include "log.h"

struct wvu_routines wvu_routines;

static PVOID find(PCWSTR name, const char *ascii_name, const char *since)
{
    UNICODE_STRING string;
    RtlInitUnicodeString(&string, name);
    PVOID address = MmGetSystemRoutineAddress(&string);
    if (address == NULL)
        wvu_log_info(WVU_LOG_MAIN, "this kernel has no %s (it came with %s); going on without",
                     ascii_name, since);
    return address;
}

void wvu_routines_find(void)
{
#define WVU_ROUTINE(name, member, since, result, parameters)                                       \
    *(PVOID *)(void *)&wvu_routines.member = find(L## #name, #name, since);
    WVU_ROUTINES
#undef WVU_ROUTINE
}
