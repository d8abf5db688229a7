/* Raises an exception that nobody handles. */
#include "driver.h"

NTSTATUS begin(void)
{
    ExRaiseStatus(STATUS_INVALID_PARAMETER);
    return STATUS_SUCCESS;
}

void end(void)
{
}
