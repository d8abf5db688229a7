/*
 * A port whose every send does what the test wrote down before. When nothing more is written down, sends
 * wait, as for a reader that does not reply, until there is a next step or the port is cancelled.
 *
 * For tests in the simulated host: the dispatcher's thread sends, the test's thread writes steps.
 */
#ifndef WVU_UNIT_FAKE_PORT_H
#define WVU_UNIT_FAKE_PORT_H

#include "os.h"
#include "port.h"

#define FAKE_STEPS 64u

struct fake_step {
    wvu_status status;             /* of send */
    uint64_t acknowledge;          /* on OK: in a well-formed reply; FAKE_ALL: everything */
    const struct wvu_reply *reply; /* on OK: exactly this reply instead, of `size` bytes */
    uint32_t size;
    int32_t reader_status;
    uint64_t takes_ns; /* virtual time that the send takes */
};
#define FAKE_ALL UINT64_MAX

struct fake_send {
    struct wvu_batch batch; /* the header */
    uint32_t size;
    uint16_t first_type;
    uint64_t timeout_ns;
    uint64_t at; /* uptime */
};

struct fake_port {
    struct wvu_port port; /* first */
    wvu_event changed;    /* the dispatcher waits on it in a send */
    struct fake_step step[FAKE_STEPS];
    uint32_t steps;
    struct fake_send send[FAKE_STEPS];
    uint32_t sends;
    uint32_t done; /* sends that have returned */
    uint32_t disconnects;
    bool cancelled;
    uint8_t *batch; /* of the newest send, whole */
};

void fake_port_init(struct fake_port *port);
void fake_port_destroy(struct fake_port *port);
void fake_port_add(struct fake_port *port, struct fake_step step);
/* Waits until so many sends have begun, or returned; fails the simulation when that takes a minute. */
void fake_port_wait_sends(struct fake_port *port, uint32_t sends);
void fake_port_wait_done(struct fake_port *port, uint32_t done);

#endif
