/* Makes a process fail to start. */
#include "driver.h"

static VOID NTAPI on_process(PEPROCESS process, HANDLE id, PPS_CREATE_NOTIFY_INFO info)
{
    (void)process;
    (void)id;
    if (info != NULL)
        info->CreationStatus = STATUS_INSUFFICIENT_RESOURCES;
}

NTSTATUS begin(void)
{
    return PsSetCreateProcessNotifyRoutineEx(on_process, FALSE);
}

void end(void)
{
    (void)PsSetCreateProcessNotifyRoutineEx(on_process, TRUE);
}
