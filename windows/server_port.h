/*
 * Creating a communication port that only Administrators and SYSTEM may connect to.
 */
#ifndef WVU_SERVER_PORT_H
#define WVU_SERVER_PORT_H

#include "flt.h"

/* PASSIVE. `message` may be NULL. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS
    wvu_server_port_create(PFLT_FILTER filter, PCWSTR name, PVOID cookie,
                           PFLT_CONNECT_NOTIFY connect, PFLT_DISCONNECT_NOTIFY disconnect,
                           PFLT_MESSAGE_NOTIFY message, LONG connections, PFLT_PORT *server);

#endif
