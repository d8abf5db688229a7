/*
 * The simulated port, and what a simulated reader does with it. See sim_port.c.
 */
#ifndef WVU_SIM_PORT_H
#define WVU_SIM_PORT_H

#include "dispatcher.h"
#include "port.h"
#include "truth.h"

#define SIM_PORT_INBOX 4u

struct sim_message {
    uint64_t id;
    uint32_t size;
    uint32_t reserved;
    uint8_t batch[WVU_BATCH_MAX]; /* 8-byte aligned, as records are */
};

struct sim_port {
    struct wvu_port port; /* what the dispatcher sees; first */
    struct wvu_dispatcher *dispatcher;
    struct truth *truth;
    bool flood;      /* by odds, a send reports that the reader floods the port */
    bool late_close; /* disconnect leaves it to the reader's thread to tell the dispatcher */

    wvu_event replied; /* the dispatcher's thread waits on it: a reply, room, or the end */
    wvu_event arrived; /* the reader waits on it: a message, or the end of the connection */
    enum { SIM_PORT_CLOSED, SIM_PORT_OPEN, SIM_PORT_CLOSING } state;
    bool cancelled;
    uint64_t connection; /* its number */
    uint64_t next_id;
    uint64_t awaited; /* id of the message that send waits for; 0: none */

    struct sim_message *inbox; /* SIM_PORT_INBOX of them */
    uint32_t inbox_first;
    uint32_t inbox_count;

    bool has_reply;
    uint8_t reply[64];
    uint32_t reply_size;
    int32_t reply_status;

    uint64_t sends;
    uint64_t connects;
    uint64_t late_replies;
};

wvu_status sim_port_init(struct sim_port *port, struct truth *truth);
void sim_port_destroy(struct sim_port *port);

/* ---- for readers, one at a time; they may wait ---- */
void sim_port_connect(struct sim_port *port); /* waits until the port is free */
void sim_port_close(struct sim_port *port);   /* also when the other side has closed it already */
bool sim_port_is_open(const struct sim_port *port);
/* The next message, copied to `message`. TIMEOUT; AGAIN when woken for nothing; DISCONNECTED when the sensor
 * closed the connection. */
wvu_status sim_port_get(struct sim_port *port, struct sim_message *message, uint64_t timeout_ns);
/* `size` bytes of body, at most 64. NO_WAITER_FOR_REPLY when nobody waits for a reply to `id`. */
wvu_status sim_port_reply(struct sim_port *port, uint64_t id, int32_t status, const void *body,
                          uint32_t size);
/* A well-formed reply that acknowledges up to `sequence`. */
wvu_status sim_port_acknowledge(struct sim_port *port, uint64_t id, uint64_t sequence);

#endif
