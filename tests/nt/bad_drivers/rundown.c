/* Releases run-down protection that it never acquired. */
#include "driver.h"

static EX_RUNDOWN_REF rundown;

NTSTATUS begin(void)
{
    ExInitializeRundownProtection(&rundown);
    ExReleaseRundownProtection(&rundown);
    return STATUS_SUCCESS;
}

void end(void)
{
}
