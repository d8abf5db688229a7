/*
 * \WVUPort as the dispatcher sees it (engine/port.h), over a Filter Manager communication port.
 */
#ifndef WVU_PORT_FILTER_H
#define WVU_PORT_FILTER_H

#include "dispatcher.h"
#include "flt.h"
#include "port.h"

#define WVU_EVENT_PORT_NAME L"\\WVUPort"

/* A few, because a reader that was thrown out may keep its dead handle for a while. */
#define WVU_PORT_CONNECTIONS 8

struct wvu_port_connection {
    PFLT_PORT client;    /* what FltSendMessage and FltCloseClientPort are given the address of */
    uint32_t users;      /* the reader, and a send that is under way; 0: free */
    uint64_t generation; /* its number, and its cookie */
};

struct wvu_port_filter {
    struct wvu_port port; /* first: the engine's handle */
    PFLT_FILTER filter;
    PFLT_PORT server;
    struct wvu_dispatcher *dispatcher;
    wvu_rundown callbacks; /* connect and disconnect callbacks that are inside */

    wvu_mutex lock; /* guards what follows */
    struct wvu_port_connection connections[WVU_PORT_CONNECTIONS];
    struct wvu_port_connection *reader; /* the one that events go to; NULL: none */
    uint64_t generations;
    bool cancelled;
    uint64_t sending;       /* generation of the connection that a send is under way on; 0: none */
    uint64_t send_deadline; /* uptime */

    KTIMER timer; /* the watchdog's: set for each send */
    wvu_thread watchdog;
    KEVENT stop;
};

/* All PASSIVE, from DriverEntry and unload. `port` is in memory that never pages and outlives
 * wvu_port_filter_destroy and FltUnregisterFilter. */
_IRQL_requires_max_(PASSIVE_LEVEL) wvu_status
    wvu_port_filter_init(struct wvu_port_filter *port, PFLT_FILTER filter);
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_port_filter_destroy(struct wvu_port_filter *port);

/* Lets readers in. The sensor must exist. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS
    wvu_port_filter_open(struct wvu_port_filter *port, struct wvu_dispatcher *dispatcher);
/* No further reader gets in; the present one stays. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_port_filter_close(struct wvu_port_filter *port);
/* After close and after the dispatcher has stopped: the present reader goes, and no callback touches
 * the dispatcher any more. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_port_filter_end(struct wvu_port_filter *port);

#endif
