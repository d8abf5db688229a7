/* Holds a spin lock in pageable code. */
#include "driver.h"

static KSPIN_LOCK lock;

__attribute__((section("PAGE"), noinline)) static void work(void)
{
    KIRQL old;
    KeAcquireSpinLock(&lock, &old);
    KeReleaseSpinLock(&lock, old);
}

NTSTATUS begin(void)
{
    KeInitializeSpinLock(&lock);
    work();
    return STATUS_SUCCESS;
}

void end(void)
{
}
