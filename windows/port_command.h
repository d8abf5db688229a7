/*
 * \WVUCommand: requests to the sensor, one answer each.
 */
#ifndef WVU_PORT_COMMAND_H
#define WVU_PORT_COMMAND_H

#include "flt.h"
#include "sensor.h"

#define WVU_COMMAND_PORT_NAME   L"\\WVUCommand"
#define WVU_COMMAND_CONNECTIONS 64

struct wvu_port_command {
    PFLT_FILTER filter;
    struct wvu_sensor *sensor;
    PFLT_PORT server;
    wvu_rundown callbacks;
    wvu_mutex lock; /* guards clients */
    PFLT_PORT clients[WVU_COMMAND_CONNECTIONS];
};

/* PASSIVE, from DriverEntry and unload. The port is in memory that never pages and outlives
 * FltUnregisterFilter; the sensor lives until the port is closed. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS
    wvu_port_command_open(struct wvu_port_command *port, PFLT_FILTER filter,
                          struct wvu_sensor *sensor);
/* Ends every connection and waits for callbacks that are inside. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_port_command_close(struct wvu_port_command *port);

#endif
