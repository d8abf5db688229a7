/* Returns with a mutex held. */
#include "driver.h"

static KMUTEX mutex;

NTSTATUS begin(void)
{
    KeInitializeMutex(&mutex, 0);
    (void)KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL);
    return STATUS_SUCCESS;
}

void end(void)
{
}
