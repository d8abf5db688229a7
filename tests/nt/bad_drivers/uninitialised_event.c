/* Sets an event that was never initialised. */
#include "driver.h"

static KEVENT event;

NTSTATUS begin(void)
{
    (void)KeSetEvent(&event, IO_NO_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

void end(void)
{
}
