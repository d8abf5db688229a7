/* Fails to load and keeps what it had allocated so far. */
#include "driver.h"

NTSTATUS begin(void)
{
    (void)allocate(100);
    return STATUS_INSUFFICIENT_RESOURCES;
}

void end(void)
{
}
