/* Uses more stack than there is in a callback. */
#include "driver.h"

__attribute__((noinline)) static ULONG deep(ULONG level)
{
    volatile UCHAR frame[1024];
    frame[level % sizeof frame] = (UCHAR)level;
    (void)PsGetCurrentThreadId();
    return level == 0 ? 0 : deep(level - 1) + frame[level % sizeof frame];
}

NTSTATUS begin(void)
{
    return deep(30) != 0 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

void end(void)
{
}
