/*
 * See fake_port.h. Runs in the simulated host, where only one thread runs between two scheduling points.
 */
#include "support/fake_port.h"

#include <stdlib.h>
#include <string.h>

#include "os_sim.h"

static wvu_status wait_for_step(struct fake_port *port, uint64_t timeout_ns)
{
    uint64_t deadline = wvu_os_uptime() + timeout_ns;

    while (port->done >= port->steps && !port->cancelled) {
        uint64_t now = wvu_os_uptime();

        if (now >= deadline)
            return WVU_STATUS_TIMEOUT;
        (void)wvu_event_wait(&port->changed, deadline - now);
    }
    return port->cancelled ? WVU_STATUS_CANCELLED : WVU_STATUS_OK;
}

static wvu_status play(struct fake_port *port, const struct fake_step *step,
                       const struct wvu_batch *batch, void *reply, uint32_t *reply_size,
                       int32_t *reply_status)
{
    struct wvu_reply good = {.version = WVU_PROTOCOL_VERSION,
                             .size = sizeof good,
                             .acknowledged = step->acknowledge == FAKE_ALL ? batch->last_sequence
                                                                           : step->acknowledge};
    const struct wvu_reply *body = step->reply != NULL ? step->reply : &good;
    uint32_t size = step->reply != NULL ? step->size : (uint32_t)sizeof good;

    (void)port;
    if (step->takes_ns != 0)
        wvu_sim_sleep(step->takes_ns);
    if (step->status != WVU_STATUS_OK)
        return step->status;
    memcpy(reply, body, size < sizeof *body ? size : sizeof *body);
    *reply_size = size;
    *reply_status = step->reader_status;
    return WVU_STATUS_OK;
}

static wvu_status fake_send(struct wvu_port *wvu_port, const void *bytes, uint32_t size,
                            void *reply, uint32_t *reply_size, int32_t *reply_status,
                            uint64_t timeout_ns)
{
    struct fake_port *port = (struct fake_port *)wvu_port;
    struct wvu_batch batch;
    wvu_status status;

    wvu_sim_check(port->sends < FAKE_STEPS, "more sends than a test expects");
    wvu_sim_check(*reply_size >= sizeof(struct wvu_reply), "room for a reply of %u", *reply_size);
    wvu_sim_check(size <= WVU_BATCH_MAX, "a batch of %u bytes", size);
    memcpy(&batch, bytes, sizeof batch);
    memcpy(port->batch, bytes, size);
    port->send[port->sends++] = (struct fake_send){
        .batch = batch,
        .size = size,
        .first_type =
            ((const struct wvu_record *)(const void *)((const uint8_t *)bytes + sizeof batch))
                ->type,
        .timeout_ns = timeout_ns,
        .at = wvu_os_uptime(),
    };
    status = wait_for_step(port, timeout_ns);
    if (status == WVU_STATUS_OK)
        status = play(port, &port->step[port->done], &batch, reply, reply_size, reply_status);
    port->done++;
    if (port->steps < port->done)
        port->steps = port->done; /* it waited in vain: steps that come later are for later sends */
    return status;
}

static void fake_cancel(struct wvu_port *wvu_port)
{
    struct fake_port *port = (struct fake_port *)wvu_port;

    port->cancelled = true;
    wvu_event_set(&port->changed);
}

static void fake_disconnect(struct wvu_port *wvu_port)
{
    ((struct fake_port *)wvu_port)->disconnects++;
}

static const struct wvu_port_operations operations = {
    .send = fake_send,
    .cancel = fake_cancel,
    .disconnect = fake_disconnect,
};

void fake_port_init(struct fake_port *port)
{
    memset(port, 0, sizeof *port);
    port->port.operations = &operations;
    port->batch = malloc(WVU_BATCH_MAX);
    wvu_sim_check(port->batch != NULL && wvu_event_init(&port->changed) == WVU_STATUS_OK, "init");
}

void fake_port_destroy(struct fake_port *port)
{
    wvu_event_destroy(&port->changed);
    free(port->batch);
}

void fake_port_add(struct fake_port *port, struct fake_step step)
{
    wvu_sim_check(port->steps < FAKE_STEPS, "more steps than there is room for");
    port->step[port->steps++] = step;
    wvu_event_set(&port->changed);
}

static void wait_until(const uint32_t *value, uint32_t reached, const char *what)
{
    uint64_t deadline = wvu_os_uptime() + 60 * WVU_SIM_S;

    while (*value < reached) {
        wvu_sim_check(wvu_os_uptime() < deadline, "only %u of %u %s", *value, reached, what);
        wvu_sim_sleep(WVU_SIM_MS / 10);
    }
}

void fake_port_wait_sends(struct fake_port *port, uint32_t sends)
{
    wait_until(&port->sends, sends, "sends");
}

void fake_port_wait_done(struct fake_port *port, uint32_t done)
{
    wait_until(&port->done, done, "sends have returned");
}
