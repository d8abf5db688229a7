/*
 * What protection means to Windows. Called when protection is switched (under the sensor's control mutex) and
 * at load and unload; PASSIVE_LEVEL.
 *
 * Two ways lead to an unload. `fltmc unload` asks on_unload in driver.c, which may refuse. `sc stop` is a mandatory
 * unload, which it may not ("When the FilterUnloadCallback Routine Is Called"). The registration flag
 * against it holds for the whole life of a filter, so it is of no use here. But a service stop comes through
 * the driver object: "If the driver ... has no DriverUnload callback routine set in its DRIVER_OBJECT structure,
 * ZwUnloadDriver returns STATUS_INVALID_DEVICE_REQUEST". The Filter Manager sets that routine in
 * FltRegisterFilter. So while the sensor is protected it is not there, and afterwards just the one that was
 * there is put back. An unload that had begun before is not stopped, and no other one is ever called.
 *
 * State: `unload`, the Filter Manager's routine, written by wvu_protection_init.
 */
#include "protection.h"

#include "log.h"

static PDRIVER_OBJECT driver_object;
static PDRIVER_UNLOAD unload;

void wvu_protection_init(PDRIVER_OBJECT object)
{
    driver_object = object;
    unload = object->DriverUnload;
}

wvu_status wvu_protection_switch(void *context, bool on, char *reason)
{
    (void)context;
    (void)reason;
    /* One store: whoever asks meanwhile sees one or the other. */
    *(PDRIVER_UNLOAD volatile *)&driver_object->DriverUnload = on ? NULL : unload;
    wvu_log_info(WVU_LOG_MAIN, on ? "protected: the driver cannot be stopped or unloaded"
                                  : "not protected: the driver can be stopped and unloaded");
    return WVU_STATUS_OK;
}
