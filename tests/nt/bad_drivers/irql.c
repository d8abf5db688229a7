/* Calls a routine for PASSIVE_LEVEL at DISPATCH_LEVEL. */
#include "driver.h"

static KSPIN_LOCK lock;

NTSTATUS begin(void)
{
    KIRQL old;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"KeSetEvent");
    KeInitializeSpinLock(&lock);
    KeAcquireSpinLock(&lock, &old);
    (void)MmGetSystemRoutineAddress(&name);
    KeReleaseSpinLock(&lock, old);
    return STATUS_SUCCESS;
}

void end(void)
{
}
