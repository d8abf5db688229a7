/* Calls a routine that the stand-in kernel does not have. */
#include "driver.h"

NTSYSAPI BOOLEAN NTAPI HalMakeBeep(ULONG frequency);

NTSTATUS begin(void)
{
    return HalMakeBeep(440) ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

void end(void)
{
}
