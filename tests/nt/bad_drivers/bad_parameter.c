/* Initialises an event of a type that does not exist. */
#include "driver.h"

static KEVENT event;

NTSTATUS begin(void)
{
    KeInitializeEvent(&event, (EVENT_TYPE)7, FALSE);
    return STATUS_SUCCESS;
}

void end(void)
{
}
