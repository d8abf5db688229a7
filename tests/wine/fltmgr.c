/*
 * A stand-in for the Filter Manager under Wine, which has none: registration, unloading, and the device
 * through which fltlib.dll reaches the ports. Test only.
 *
 * It is linked as a DLL, so that its entry is called before the driver's DriverEntry: there the driver's
 * imports are patched (patch.c). The device is made when the filter is registered and deleted when it is
 * unregistered, because this module is unmapped together with the driver.
 *
 * Wine runs all IRPs of a process on one thread, and DriverEntry and DriverUnload on another.
 */
#include "fltmgr.h"

struct filter {
    struct registration registration;
    PDRIVER_OBJECT driver;
    BOOLEAN started;
};

FAST_MUTEX lock;

static struct filter the_filter;
static PDRIVER_OBJECT control_driver;
static PDEVICE_OBJECT control_device;

BOOL NTAPI DllMain(PVOID module, ULONG reason, PVOID reserved);
BOOL NTAPI DllMain(PVOID module, ULONG reason, PVOID reserved)
{
    (void)module;
    (void)reserved;
    if (reason == 1 /* DLL_PROCESS_ATTACH */) {
        ExInitializeFastMutex(&lock);
        return patch_driver();
    }
    return TRUE;
}

/* ---- the device ------------------------------------------------------------------------------------- */

static NTSTATUS complete(PIRP irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS NTAPI on_create(PDEVICE_OBJECT device, PIRP irp)
{
    (void)device;
    IoGetCurrentIrpStackLocation(irp)->FileObject->FsContext = NULL;
    return complete(irp, STATUS_SUCCESS);
}

static NTSTATUS NTAPI on_close(PDEVICE_OBJECT device, PIRP irp)
{
    (void)device;
    struct port *port = IoGetCurrentIrpStackLocation(irp)->FileObject->FsContext;
    if (port != NULL)
        port_close(port);
    return complete(irp, STATUS_SUCCESS);
}

static NTSTATUS NTAPI on_control(PDEVICE_OBJECT device, PIRP irp)
{
    return port_dispatch_control(device, irp);
}

static NTSTATUS NTAPI start_device(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(DEVICE_NAME), link = RTL_CONSTANT_STRING(LINK_NAME);
    (void)path;
    control_driver = driver;
    driver->MajorFunction[IRP_MJ_CREATE] = on_create;
    driver->MajorFunction[IRP_MJ_CLOSE] = on_close;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = on_control;
    NTSTATUS status =
        IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &control_device);
    if (NT_SUCCESS(status))
        status = IoCreateSymbolicLink(&link, &name);
    return status;
}

NTSYSAPI NTSTATUS NTAPI IoCreateDriver(PUNICODE_STRING name, PDRIVER_INITIALIZE initialize);
NTSYSAPI VOID NTAPI IoDeleteDriver(PDRIVER_OBJECT driver);

static VOID delete_device(VOID)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(LINK_NAME);
    (void)IoDeleteSymbolicLink(&link);
    IoDeleteDevice(control_device);
    IoDeleteDriver(control_driver);
}

/* ---- registration --------------------------------------------------------------------------------------- */

/* Of a driver that refuses. One that does not would be unloaded from within a request to it. */
NTSTATUS detach(VOID)
{
    return the_filter.registration.unload(0);
}

static VOID NTAPI on_driver_unload(PDRIVER_OBJECT driver)
{
    (void)driver;
    (void)the_filter.registration.unload(1 /* FLTFL_FILTER_UNLOAD_MANDATORY */);
}

NTSTATUS FLTAPI FltRegisterFilter(PDRIVER_OBJECT driver, const struct registration *registration,
                                  PFLT_FILTER *filter)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Driver\\WvuFltMgr");
    if (registration->size != 112 || registration->version != 0x0203)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS status = IoCreateDriver(&name, start_device);
    if (!NT_SUCCESS(status))
        return status;
    the_filter.registration = *registration;
    the_filter.driver = driver;
    the_filter.started = FALSE;
    driver->DriverUnload = on_driver_unload;
    *filter = &the_filter;
    return STATUS_SUCCESS;
}

NTSTATUS FLTAPI FltStartFiltering(PFLT_FILTER filter)
{
    filter->started = TRUE;
    return STATUS_SUCCESS;
}

VOID FLTAPI FltUnregisterFilter(PFLT_FILTER filter)
{
    (void)filter;
    ports_disconnect_all();
    delete_device();
}

/* ---- security: Wine has no access checks on devices ----------------------------------------------------- */

NTSTATUS FLTAPI FltBuildDefaultSecurityDescriptor(PSECURITY_DESCRIPTOR *descriptor,
                                                  ACCESS_MASK access)
{
    (void)access;
    *descriptor = ExAllocatePoolWithTag(NonPagedPool, sizeof(SECURITY_DESCRIPTOR), TAG);
    if (*descriptor == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    return RtlCreateSecurityDescriptor(*descriptor, SECURITY_DESCRIPTOR_REVISION);
}

VOID FLTAPI FltFreeSecurityDescriptor(PSECURITY_DESCRIPTOR descriptor)
{
    ExFreePoolWithTag(descriptor, TAG);
}
