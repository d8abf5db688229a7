/*
 * A port without a system: the dispatcher's thread on one side, one reader's thread on the other.
 *
 * Both are coroutines of the simulated host; between two scheduling points nothing else runs, so there
 * is no lock (wvu_sim_order tells ThreadSanitizer). Messages wait in a small inbox, as they do in a socket; send waits for room in it, for
 * the reply to its own message, for the end of the connection, or until its time is up. When a reply and
 * a disconnection come together, chance decides which one send sees.
 *
 * Connections: CLOSED -> OPEN (connect) -> CLOSED (close), or, when the dispatcher disconnects the
 * reader, OPEN -> CLOSED or OPEN -> CLOSING -> CLOSED with the reader's thread telling the dispatcher
 * later. The dispatcher is told of a connection and of its end strictly in turn.
 */
#include "sim_port.h"

#include <stdlib.h>
#include <string.h>

#include "os_sim.h"

static struct sim_port *self_of(struct wvu_port *port)
{
    return (struct sim_port *)port;
}

/* ---- the dispatcher's side -------------------------------------------------------------------------- */

static uint64_t left_until(uint64_t deadline)
{
    uint64_t now = wvu_os_uptime();

    return deadline > now ? deadline - now : 0;
}

static bool take_reply(struct sim_port *port, void *reply, uint32_t *reply_size, int32_t *status)
{
    uint32_t size = port->reply_size < *reply_size ? port->reply_size : *reply_size;

    if (!port->has_reply)
        return false;
    wvu_sim_order(port);
    memcpy(reply, port->reply, size);
    *reply_size = port->reply_size;
    *status = port->reply_status;
    truth_reply(port->truth, port->reply, port->reply_size);
    return true;
}

static void deliver(struct sim_port *port, const void *batch, uint32_t size)
{
    struct sim_message *message =
        &port->inbox[(port->inbox_first + port->inbox_count) % SIM_PORT_INBOX];

    wvu_sim_order(port);
    message->id = ++port->next_id;
    message->size = size;
    memcpy(message->batch, batch, size);
    wvu_sim_order(port);
    port->inbox_count++;
    port->awaited = message->id;
    port->has_reply = false;
}

static wvu_status transact(struct sim_port *port, const void *batch, uint32_t size, void *reply,
                           uint32_t *reply_size, int32_t *reply_status, uint64_t timeout_ns)
{
    uint64_t deadline = wvu_os_uptime() + timeout_ns;
    uint64_t connection = port->connection;

    for (;;) {
        bool gone = port->state != SIM_PORT_OPEN || port->connection != connection;

        wvu_sim_order(port);
        if (port->cancelled)
            return WVU_STATUS_CANCELLED;
        if (gone && (!port->has_reply || wvu_sim_odds(2)))
            return WVU_STATUS_DISCONNECTED;
        if (take_reply(port, reply, reply_size, reply_status))
            return WVU_STATUS_OK;
        if (port->awaited == 0 && port->inbox_count < SIM_PORT_INBOX) {
            deliver(port, batch, size);
            wvu_event_set(&port->arrived);
        } else if (wvu_event_wait(&port->replied, left_until(deadline)) != WVU_STATUS_OK) {
            return WVU_STATUS_TIMEOUT;
        }
    }
}

static wvu_status port_send(struct wvu_port *wvu_port, const void *batch, uint32_t size,
                            void *reply, uint32_t *reply_size, int32_t *reply_status,
                            uint64_t timeout_ns)
{
    struct sim_port *port = self_of(wvu_port);
    wvu_status status;

    port->sends++;
    truth_message(port->truth, batch, size);
    port->awaited = 0;
    port->has_reply = false;
    if (port->flood && port->state == SIM_PORT_OPEN && wvu_sim_odds(8))
        return WVU_STATUS_BAD_MESSAGE;
    status = transact(port, batch, size, reply, reply_size, reply_status, timeout_ns);
    port->awaited = 0;
    port->has_reply = false;
    if (status != WVU_STATUS_OK)
        wvu_sim_trace("send: %s", wvu_status_name(status));
    return status;
}

static void port_cancel(struct wvu_port *wvu_port)
{
    struct sim_port *port = self_of(wvu_port);

    wvu_sim_trace("cancel");
    port->cancelled = true;
    wvu_event_set(&port->replied);
}

static void port_disconnect(struct wvu_port *wvu_port)
{
    struct sim_port *port = self_of(wvu_port);

    if (port->state != SIM_PORT_OPEN)
        return;
    wvu_sim_trace("the sensor disconnects the reader");
    if (port->late_close) {
        port->state = SIM_PORT_CLOSING;
    } else {
        port->state = SIM_PORT_CLOSING;
        wvu_dispatcher_disconnected(port->dispatcher);
        port->state = SIM_PORT_CLOSED;
    }
    wvu_event_set(&port->arrived);
}

static const struct wvu_port_operations operations = {
    .send = port_send,
    .cancel = port_cancel,
    .disconnect = port_disconnect,
};

wvu_status sim_port_init(struct sim_port *port, struct truth *truth)
{
    wvu_status status;

    memset(port, 0, sizeof(*port));
    port->port.operations = &operations;
    port->truth = truth;
    status = wvu_event_init(&port->replied);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_event_init(&port->arrived);
    if (status != WVU_STATUS_OK)
        return status;
    port->inbox = calloc(SIM_PORT_INBOX, sizeof(*port->inbox));
    return port->inbox != NULL ? WVU_STATUS_OK : WVU_STATUS_NO_MEMORY;
}

void sim_port_destroy(struct sim_port *port)
{
    wvu_event_destroy(&port->arrived);
    wvu_event_destroy(&port->replied);
    free(port->inbox);
    port->inbox = NULL;
}

/* ---- the reader's side ------------------------------------------------------------------------------ */

bool sim_port_is_open(const struct sim_port *port)
{
    return port->state == SIM_PORT_OPEN;
}

void sim_port_connect(struct sim_port *port)
{
    while (port->state != SIM_PORT_CLOSED)
        wvu_sim_sleep(WVU_SIM_MS);
    wvu_sim_trace("connects");
    port->state = SIM_PORT_OPEN;
    port->connection++;
    port->connects++;
    port->inbox_count = 0;
    (void)wvu_event_wait(&port->arrived, 0);
    wvu_dispatcher_connected(port->dispatcher);
}

void sim_port_close(struct sim_port *port)
{
    wvu_sim_trace("closes");
    if (port->state == SIM_PORT_OPEN || (port->state == SIM_PORT_CLOSING && port->late_close)) {
        port->state = SIM_PORT_CLOSING;
        port->inbox_count = 0;
        wvu_event_set(&port->replied);
        wvu_dispatcher_disconnected(port->dispatcher);
        port->state = SIM_PORT_CLOSED;
    }
}

wvu_status sim_port_get(struct sim_port *port, struct sim_message *message, uint64_t timeout_ns)
{
    if (port->state == SIM_PORT_OPEN && port->inbox_count == 0) {
        wvu_status status = wvu_event_wait(&port->arrived, timeout_ns);

        if (status != WVU_STATUS_OK)
            return status;
    }
    if (port->state == SIM_PORT_OPEN && port->inbox_count == 0)
        return WVU_STATUS_AGAIN;
    if (port->state != SIM_PORT_OPEN)
        return WVU_STATUS_DISCONNECTED;
    wvu_sim_order(port);
    memcpy(message, &port->inbox[port->inbox_first],
           offsetof(struct sim_message, batch) + port->inbox[port->inbox_first].size);
    wvu_sim_order(port);
    port->inbox_first = (port->inbox_first + 1) % SIM_PORT_INBOX;
    port->inbox_count--;
    wvu_event_set(&port->replied); /* there is room */
    return WVU_STATUS_OK;
}

wvu_status sim_port_reply(struct sim_port *port, uint64_t id, int32_t status, const void *body,
                          uint32_t size)
{
    wvu_sim_check(size <= sizeof(port->reply), "a reply of %u bytes", size);
    if (port->state != SIM_PORT_OPEN)
        return WVU_STATUS_DISCONNECTED;
    if (port->awaited != id || port->has_reply) {
        port->late_replies++;
        return WVU_STATUS_NO_WAITER_FOR_REPLY;
    }
    wvu_sim_order(port);
    memcpy(port->reply, body, size);
    wvu_sim_order(port);
    port->reply_size = size;
    port->reply_status = status;
    port->has_reply = true;
    wvu_event_set(&port->replied);
    return WVU_STATUS_OK;
}

wvu_status sim_port_acknowledge(struct sim_port *port, uint64_t id, uint64_t sequence)
{
    const struct wvu_reply reply = {
        .version = WVU_PROTOCOL_VERSION, .size = sizeof(reply), .acknowledged = sequence};

    return sim_port_reply(port, id, WVU_STATUS_OK, &reply, sizeof(reply));
}
