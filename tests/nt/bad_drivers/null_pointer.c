/* Reads through NULL. */
#include "driver.h"

static volatile UCHAR *volatile nothing;

NTSTATUS begin(void)
{
    return nothing[8] == 3 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

void end(void)
{
}
