/* Looks into a process object. */
#include "driver.h"

NTSTATUS begin(void)
{
    return *(volatile UCHAR *)IoGetCurrentProcess() == 3 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

void end(void)
{
}
