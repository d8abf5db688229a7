/* Reads a block that it has freed. */
#include "driver.h"

NTSTATUS begin(void)
{
    volatile UCHAR *block = allocate(100);
    ExFreePoolWithTag((PVOID)block, TAG);
    return block[0] == 0 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

void end(void)
{
}
