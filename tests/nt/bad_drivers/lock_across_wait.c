/* Holds a spin lock while it waits. */
#include "driver.h"

static KSPIN_LOCK lock;

NTSTATUS begin(void)
{
    KEVENT event;
    KIRQL old;
    LARGE_INTEGER timeout = {.QuadPart = -10000};
    KeInitializeSpinLock(&lock);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KeAcquireSpinLock(&lock, &old);
    (void)KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &timeout);
    KeReleaseSpinLock(&lock, old);
    return STATUS_SUCCESS;
}

void end(void)
{
}
