/* Allocates executable pool. */
#include "driver.h"

NTSTATUS begin(void)
{
    ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPool, 100, TAG), TAG);
    return STATUS_SUCCESS;
}

void end(void)
{
}
