/*
 * Keeping the driver loaded while the sensor is protected.
 */
#ifndef WVU_PROTECTION_H
#define WVU_PROTECTION_H

#include "nt.h"
#include "winvirtue/status.h"

/* PASSIVE, after FltRegisterFilter, which has put the Filter Manager's routine there. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_protection_init(PDRIVER_OBJECT object);

/* PASSIVE. As wvu_sensor_host.protect, one call at a time. */
_IRQL_requires_max_(PASSIVE_LEVEL) wvu_status
    wvu_protection_switch(void *context, bool on, char *reason);

#endif
