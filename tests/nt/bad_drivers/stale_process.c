/* Keeps a pointer to a process without a reference and uses it later. */
#include "driver.h"

static PEPROCESS last;

static VOID NTAPI on_process(PEPROCESS process, HANDLE id, PPS_CREATE_NOTIFY_INFO info)
{
    (void)id;
    (void)info;
    last = process;
}

NTSTATUS begin(void)
{
    return PsSetCreateProcessNotifyRoutineEx(on_process, FALSE);
}

void end(void)
{
    (void)PsSetCreateProcessNotifyRoutineEx(on_process, TRUE);
    (void)PsGetProcessId(last);
}
