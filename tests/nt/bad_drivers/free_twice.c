/* Frees twice. */
#include "driver.h"

NTSTATUS begin(void)
{
    PVOID block = allocate(100);
    ExFreePoolWithTag(block, TAG);
    ExFreePoolWithTag(block, TAG);
    return STATUS_SUCCESS;
}

void end(void)
{
}
