/*
 * The system's settings that a scenario may change: version, debugger, routines that this kernel does
 * not have; and the routines that ask for them. MmGetSystemRoutineAddress gives the same stubs as the
 * import table.
 *
 * Changed by scenarios between loads; read by any thread.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define NAMES_MAX 64u

static uint32_t version[3] = {10, 0, 22621};
static bool debugger;
static _Atomic uint64_t breakpoints;
static const char *hidden[NAMES_MAX];
static size_t hidden_count;
static char *asked[NAMES_MAX];
static size_t asked_count;

void nt_hide_routine(const char *name)
{
    if (name == NULL)
        hidden_count = 0;
    else if (hidden_count < NAMES_MAX)
        hidden[hidden_count++] = name;
}

const char *nt_asked_routine(size_t index)
{
    return index < asked_count ? asked[index] : NULL;
}

void nt_set_version(uint32_t major, uint32_t minor, uint32_t build)
{
    version[0] = major;
    version[1] = minor;
    version[2] = build;
}

bool nt_version_at_least(uint32_t major, uint32_t minor)
{
    return version[0] > major || (version[0] == major && version[1] >= minor);
}

void nt_set_debugger(bool present)
{
    debugger = present;
}

bool nt_debugger_present(void)
{
    return debugger;
}

void nt_count_breakpoint(void)
{
    breakpoints++;
}

uint64_t nt_breakpoints(void)
{
    return breakpoints;
}

/* ---- routines -------------------------------------------------------------------------------------- */

static void remember(const char *name)
{
    for (size_t i = 0; i < asked_count; i++) {
        if (strcmp(asked[i], name) == 0)
            return;
    }
    if (asked_count < NAMES_MAX)
        asked[asked_count++] = strdup(name);
}

static NTAPI void *MmGetSystemRoutineAddress(const UNICODE_STRING *name)
{
    char ascii[128];
    size_t length = name->Length / sizeof(WCHAR);
    if (length >= sizeof ascii)
        return NULL;
    for (size_t i = 0; i < length; i++)
        ascii[i] = (char)name->Buffer[i];
    ascii[length] = '\0';
    remember(ascii);
    for (size_t i = 0; i < hidden_count; i++) {
        if (strcmp(hidden[i], ascii) == 0)
            return NULL;
    }
    return nt_export_address(ascii, false);
}

struct version_information { /* RTL_OSVERSIONINFOW */
    uint32_t size;
    uint32_t major;
    uint32_t minor;
    uint32_t build;
    uint32_t platform;
    WCHAR service_pack[128];
};

static NTAPI NTSTATUS RtlGetVersion(struct version_information *information)
{
    if (information->size < sizeof *information)
        nt_broken(NT_RULE_PARAMETER, "RtlGetVersion: size %u", information->size);
    information->major = version[0];
    information->minor = version[1];
    information->build = version[2];
    information->platform = 2;
    information->service_pack[0] = 0;
    return STATUS_SUCCESS;
}

static NTAPI BOOLEAN KdRefreshDebuggerNotPresent(void)
{
    return !debugger;
}

static NTAPI _Noreturn void KeBugCheckEx(uint32_t code, uint64_t a, uint64_t b, uint64_t c,
                                         uint64_t d)
{
    nt_broken(NT_RULE_EXCEPTION, "KeBugCheckEx(0x%x, 0x%llx, 0x%llx, 0x%llx, 0x%llx)", code,
              (unsigned long long)a, (unsigned long long)b, (unsigned long long)c,
              (unsigned long long)d);
}

static const struct nt_export exports[] = {
    NT_ROUTINE(MmGetSystemRoutineAddress, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "wdm/nf-wdm-mmgetsystemroutineaddress"),
    NT_ROUTINE(RtlGetVersion, PASSIVE_LEVEL, PASSIVE_LEVEL, "wdm/nf-wdm-rtlgetversion"),
    NT_ROUTINE(KdRefreshDebuggerNotPresent, PASSIVE_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-kdrefreshdebuggernotpresent"),
    NT_ROUTINE(KeBugCheckEx, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-kebugcheckex"),
};
const struct nt_export_table nt_system_table = NT_TABLE(exports);
