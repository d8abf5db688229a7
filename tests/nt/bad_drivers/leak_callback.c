/* Leaves its process callback registered. */
#include "driver.h"

static VOID NTAPI on_process(HANDLE parent, HANDLE process, BOOLEAN created)
{
    (void)parent;
    (void)process;
    (void)created;
}

NTSTATUS begin(void)
{
    return PsSetCreateProcessNotifyRoutine(on_process, FALSE);
}

void end(void)
{
}
