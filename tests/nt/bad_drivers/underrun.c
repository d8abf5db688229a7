/* Writes one byte before its block. */
#include "driver.h"

NTSTATUS begin(void)
{
    volatile UCHAR *block = allocate(112);
    block[-1] = 1;
    ExFreePoolWithTag((PVOID)block, TAG);
    return STATUS_SUCCESS;
}

void end(void)
{
}
