/* Has a breakpoint left in. */
#include "driver.h"

NTSTATUS begin(void)
{
    __debugbreak();
    return STATUS_SUCCESS;
}

void end(void)
{
}
