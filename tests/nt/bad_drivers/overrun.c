/* Writes one byte behind its block. */
#include "driver.h"

NTSTATUS begin(void)
{
    volatile UCHAR *block = allocate(112);
    block[112] = 1;
    ExFreePoolWithTag((PVOID)block, TAG);
    return STATUS_SUCCESS;
}

void end(void)
{
}
