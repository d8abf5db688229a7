/* Fails to load, and stays registered with the Filter Manager. */
#include "driver.h"

struct registration { /* FLT_REGISTRATION */
    USHORT size;
    USHORT version;
    ULONG flags;
    PVOID callbacks[13];
};

NTSYSAPI NTSTATUS NTAPI FltRegisterFilter(PDRIVER_OBJECT driver,
                                          const struct registration *registration, PVOID *filter);

static const struct registration registration = {.size = sizeof registration, .version = 0x0203};

NTSTATUS begin(void)
{
    PVOID filter;
    (void)FltRegisterFilter(the_driver, &registration, &filter);
    return STATUS_UNSUCCESSFUL;
}

void end(void)
{
}
