/* Leaves a timer set. */
#include "driver.h"

static KTIMER timer;

NTSTATUS begin(void)
{
    LARGE_INTEGER due = {.QuadPart = -1000000000};
    KeInitializeTimerEx(&timer, NotificationTimer);
    (void)KeSetTimer(&timer, due, NULL);
    return STATUS_SUCCESS;
}

void end(void)
{
}
