/* Touches paged pool at DISPATCH_LEVEL. */
#include "driver.h"

static KSPIN_LOCK lock;

NTSTATUS begin(void)
{
    KIRQL old;
    volatile UCHAR *block = ExAllocatePoolWithTag(PagedPool, 100, TAG);
    block[0] = 1;
    KeInitializeSpinLock(&lock);
    KeAcquireSpinLock(&lock, &old);
    block[1] = 1;
    KeReleaseSpinLock(&lock, old);
    ExFreePoolWithTag((PVOID)block, TAG);
    return STATUS_SUCCESS;
}

void end(void)
{
}
