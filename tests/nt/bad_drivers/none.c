/* Breaks no rule: the counter-example that shows that the others are noticed for what they do. */
#include "driver.h"

static volatile UCHAR *block;

NTSTATUS begin(void)
{
    block = allocate(100);
    if (block == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    block[0] = block[99] = 1;
    return STATUS_SUCCESS;
}

void end(void)
{
    ExFreePoolWithTag((PVOID)block, TAG);
}
