/* Returns at another IRQL than it was called at. */
#include "driver.h"

NTSTATUS begin(void)
{
    KIRQL old;
    KeRaiseIrql(APC_LEVEL, &old);
    return STATUS_SUCCESS;
}

void end(void)
{
}
