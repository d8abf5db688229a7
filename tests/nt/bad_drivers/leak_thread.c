/* Leaves a thread behind. */
#include "driver.h"

static KEVENT never;

static VOID NTAPI work(PVOID context)
{
    (void)context;
    (void)KeWaitForSingleObject(&never, Executive, KernelMode, FALSE, NULL);
}

NTSTATUS begin(void)
{
    HANDLE thread;
    OBJECT_ATTRIBUTES attributes;
    KeInitializeEvent(&never, NotificationEvent, FALSE);
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    NTSTATUS status =
        PsCreateSystemThread(&thread, SYNCHRONIZE, &attributes, NULL, NULL, work, NULL);
    if (NT_SUCCESS(status))
        (void)ZwClose(thread);
    return status;
}

void end(void)
{
}
