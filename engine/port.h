/*
 * The sensor's side of a communication port, as the dispatcher sees it. Each host implements it
 * (linux/port_socket.c, windows/port_filter.c, the simulated one of the tests).
 *
 * The host tells the dispatcher about readers with wvu_dispatcher_connected and _disconnected; it
 * lets at most one reader in at a time.
 */
#ifndef WVU_PORT_H
#define WVU_PORT_H

#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

struct wvu_port;

struct wvu_port_operations {
    /* PASSIVE, the dispatcher's thread only. Sends one batch to the connected reader with a message
     * header of its own and waits for the reply to just that message. Replies to other messages are
     * counted, logged (rationed) and dropped. On OK the reply's body, up to *reply_size bytes, is
     * in `reply`, *reply_size is its length as received, and *reply_status is the reader's status.
     *   TIMEOUT       no reply within timeout_ns; the reader may still be there
     *   DISCONNECTED  there is no reader (any more)
     *   CANCELLED     wvu_port_cancel was called
     *   BAD_MESSAGE   the reader flooded the port with packets that are no replies
     * Must return within timeout_ns and a little, whatever the reader does. */
    wvu_status (*send)(struct wvu_port *port, const void *batch, uint32_t size, void *reply,
                       uint32_t *reply_size, int32_t *reply_status, uint64_t timeout_ns);

    /* Any thread, PASSIVE. A send that is under way, and every later one, returns CANCELLED at
     * once. */
    void (*cancel)(struct wvu_port *port);

    /* PASSIVE, the dispatcher's thread. Closes the connection of the present reader, so that
     * another can connect; the host then calls wvu_dispatcher_disconnected as for any
     * disconnection. */
    void (*disconnect)(struct wvu_port *port);
};

struct wvu_port {
    const struct wvu_port_operations *operations;
};

#endif
