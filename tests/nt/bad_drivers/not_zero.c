/* Takes fresh pool for zero: reads a pointer from it and goes where it points. */
#include "driver.h"

NTSTATUS begin(void)
{
    ULONG *volatile *block = allocate(sizeof *block);
    NTSTATUS status = STATUS_SUCCESS;
    if (*block != NULL)
        **block = 0;
    ExFreePoolWithTag((PVOID)block, TAG);
    return status;
}

void end(void)
{
}
