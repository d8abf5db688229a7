/* Frees with another tag. */
#include "driver.h"

NTSTATUS begin(void)
{
    ExFreePoolWithTag(allocate(100), 'xxxx');
    return STATUS_SUCCESS;
}

void end(void)
{
}
