/* A driver that does nothing: its being loaded is the event. Test only. */
#include <ntddk.h>

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
    (void)driver;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry);
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry)
{
    (void)registry;
    driver->DriverUnload = unload;
    return STATUS_SUCCESS;
}
