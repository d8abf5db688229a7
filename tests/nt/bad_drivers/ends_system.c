/* Ends a process with which the system ends. */
#include "driver.h"

#define PROCESS_TERMINATE 0x0001

NTSTATUS begin(void)
{
    PEPROCESS process;
    HANDLE handle;
    NTSTATUS status = PsLookupProcessByProcessId((HANDLE)4, &process);
    if (!NT_SUCCESS(status))
        return status;
    status = ObOpenObjectByPointer(process, OBJ_KERNEL_HANDLE, NULL, PROCESS_TERMINATE, NULL,
                                   KernelMode, &handle);
    ObDereferenceObject(process);
    if (!NT_SUCCESS(status))
        return status;
    status = ZwTerminateProcess(handle, 0);
    (void)ZwClose(handle);
    return status;
}

void end(void)
{
}
