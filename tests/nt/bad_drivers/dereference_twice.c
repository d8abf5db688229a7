/* Dereferences a process once too often. */
#include "driver.h"

NTSTATUS begin(void)
{
    PEPROCESS process;
    NTSTATUS status = PsLookupProcessByProcessId((HANDLE)4, &process);
    ObDereferenceObject(process);
    ObDereferenceObject(process);
    return status;
}

void end(void)
{
}
