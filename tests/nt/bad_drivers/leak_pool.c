/* Does not free its pool. */
#include "driver.h"

NTSTATUS begin(void)
{
    return allocate(100) != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

void end(void)
{
}
