/*
 * Identity, name and system version of this machine. PASSIVE_LEVEL, once, from DriverEntry. No
 * state.
 */
#include "machine.h"

#include "format.h"
#include "log.h"
#include "nt.h"
#include "registry.h"
#include "uuid.h"

#define CONTROL L"\\Registry\\Machine\\System\\CurrentControlSet\\Control\\"

#if defined(_M_ARM64) || defined(__aarch64__)
#define ARCHITECTURE "ARM64"
#else
#define ARCHITECTURE "x64"
#endif

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" to 16 bytes in the order of the text (RFC 4122). */
static bool parse_guid(const char *text, uint8_t id[16])
{
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (*text++ != '-')
                return false;
        }
        int high = digit(text[0]);
        int low = high < 0 ? -1 : digit(text[1]);
        if (low < 0)
            return false;
        id[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return *text == '\0';
}

static void find_name(struct wvu_machine *machine)
{
    NTSTATUS status = wvu_registry_read_text(CONTROL L"ComputerName\\ActiveComputerName",
                                             L"ComputerName", machine->name, sizeof machine->name);
    if (!NT_SUCCESS(status)) /* it is made late in the start of the system */
        status = wvu_registry_read_text(CONTROL L"ComputerName\\ComputerName", L"ComputerName",
                                        machine->name, sizeof machine->name);
    if (!NT_SUCCESS(status))
        wvu_log_warning(WVU_LOG_MAIN, "the name of this machine cannot be read (0x%08x)",
                        (unsigned)status);
}

/* Made by Windows setup; every tool that needs an id for an installation uses it. */
static void find_id(struct wvu_machine *machine)
{
    char text[64];
    NTSTATUS status =
        wvu_registry_read_text(L"\\Registry\\Machine\\SOFTWARE\\Microsoft\\Cryptography",
                               L"MachineGuid", text, sizeof text);
    if (NT_SUCCESS(status) && parse_guid(text, machine->id))
        return;
    static const uint8_t nothing[16];
    wvu_uuid_from_name(nothing, machine->name, machine->id);
    wvu_log_warning(WVU_LOG_MAIN,
                    "MachineGuid cannot be read (0x%08x); sensor ids are made from the name %s",
                    (unsigned)status, machine->name);
}

void wvu_machine_describe(struct wvu_machine *machine)
{
    find_name(machine);
    find_id(machine);
    RTL_OSVERSIONINFOW version = {.dwOSVersionInfoSize = sizeof version};
    (void)RtlGetVersion(&version);
    (void)wvu_format(machine->system, sizeof machine->system, "Windows NT %u.%u.%u " ARCHITECTURE,
                     (unsigned)version.dwMajorVersion, (unsigned)version.dwMinorVersion,
                     (unsigned)version.dwBuildNumber);
}
