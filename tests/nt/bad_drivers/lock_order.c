/* Takes two locks in both orders, though never at the same time. */
#include "driver.h"

static KSPIN_LOCK first, second;

static void take(KSPIN_LOCK *outer, KSPIN_LOCK *inner)
{
    KIRQL old;
    KeAcquireSpinLock(outer, &old);
    KeAcquireSpinLockAtDpcLevel(inner);
    KeReleaseSpinLockFromDpcLevel(inner);
    KeReleaseSpinLock(outer, old);
}

NTSTATUS begin(void)
{
    KeInitializeSpinLock(&first);
    KeInitializeSpinLock(&second);
    take(&first, &second);
    take(&second, &first);
    return STATUS_SUCCESS;
}

void end(void)
{
}
