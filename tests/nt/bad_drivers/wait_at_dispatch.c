/* Waits at DISPATCH_LEVEL, which it raised to inline. */
#include "driver.h"

NTSTATUS begin(void)
{
    KEVENT event;
    KIRQL old;
    LARGE_INTEGER timeout = {.QuadPart = -10000};
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    (void)KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &timeout);
    KeLowerIrql(old);
    return STATUS_SUCCESS;
}

void end(void)
{
}
