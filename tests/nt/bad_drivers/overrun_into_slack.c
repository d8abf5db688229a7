/* Writes one byte behind a block whose size is not a multiple of 16. */
#include "driver.h"

NTSTATUS begin(void)
{
    volatile UCHAR *block = allocate(100);
    block[100] = 1;
    ExFreePoolWithTag((PVOID)block, TAG);
    return STATUS_SUCCESS;
}

void end(void)
{
}
