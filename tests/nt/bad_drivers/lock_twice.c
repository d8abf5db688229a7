/* Takes a spin lock twice: a deadlock. */
#include "driver.h"

static KSPIN_LOCK lock;

NTSTATUS begin(void)
{
    KIRQL old, older;
    KeInitializeSpinLock(&lock);
    KeAcquireSpinLock(&lock, &older);
    KeAcquireSpinLock(&lock, &old);
    KeReleaseSpinLock(&lock, old);
    KeReleaseSpinLock(&lock, older);
    return STATUS_SUCCESS;
}

void end(void)
{
}
