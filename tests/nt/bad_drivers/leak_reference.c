/* Does not dereference a process. */
#include "driver.h"

NTSTATUS begin(void)
{
    PEPROCESS process;
    return PsLookupProcessByProcessId((HANDLE)4, &process);
}

void end(void)
{
}
