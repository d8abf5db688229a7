/*
 * The client: one connection to a sensor, one message at a time. Called by programs that read events; one
 * thread at a time, except wvu_interrupt. No locks.
 *
 * State. Between wvu_get and wvu_reply a message is held (`held`); a get in that state and a reply in
 * the other are refused. When the connection is of no more use `failed` says why, and every later call
 * says the same until the program closes it and connects again: half-working connections do not
 * exist. The buffer holds the largest message the sensor will send, so nothing is allocated after connect.
 */
#include <stdlib.h>
#include <string.h>

#include "transport.h"

#include "winvirtue/winvirtue.h"

struct wvu_client {
    struct wvu_transport *transport;
    wvu_message message; /* the one that is held */
    bool held;
    int failed;
    size_t capacity;
    char *buffer; /* message header and batch */
};

int wvu_connect(const char *run_dir, int timeout_ms, wvu_client **client)
{
    *client = NULL;
    wvu_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return WVU_STATUS_NO_MEMORY;
    int status = wvu_transport_open(run_dir, timeout_ms, &c->transport, &c->capacity);
    if (status != WVU_STATUS_OK)
        goto free_client;
    c->buffer = malloc(c->capacity);
    if (c->buffer == NULL) {
        status = WVU_STATUS_NO_MEMORY;
        goto close_transport;
    }
    *client = c;
    return WVU_STATUS_OK;

close_transport:
    wvu_transport_close(c->transport);
free_client:
    free(c);
    return status;
}

int wvu_get(wvu_client *c, int timeout_ms, const wvu_message **message)
{
    size_t size;
    *message = NULL;
    if (c->failed != WVU_STATUS_OK)
        return c->failed;
    if (c->held)
        return WVU_STATUS_INVALID_STATE;
    int status = wvu_transport_receive(c->transport, timeout_ms, c->buffer, c->capacity, &size);
    if (status == WVU_STATUS_AGAIN || status == WVU_STATUS_CANCELLED)
        return status;
    if (status == WVU_STATUS_OK)
        status = wvu_check_message(c->buffer, size, &c->message);
    if (status != WVU_STATUS_OK) {
        c->failed = status;
        return status;
    }
    c->held = true;
    *message = &c->message;
    return WVU_STATUS_OK;
}

int wvu_reply(wvu_client *c, uint64_t sequence)
{
    struct {
        struct wvu_reply_header header;
        struct wvu_reply body;
    } reply = {
        .header = {.status = WVU_STATUS_OK, .message_id = c->message.message_id},
        .body = {.version = WVU_PROTOCOL_VERSION,
                 .size = sizeof reply.body,
                 .acknowledged = sequence},
    };
    if (c->failed != WVU_STATUS_OK)
        return c->failed;
    if (!c->held)
        return WVU_STATUS_INVALID_STATE;
    if (sequence > c->message.batch->last_sequence)
        return WVU_STATUS_INVALID_PARAMETER;
    int status = wvu_transport_send(c->transport, &reply, sizeof reply);
    if (status != WVU_STATUS_OK)
        c->failed = status;
    c->held = false;
    return status;
}

int wvu_reply_all(wvu_client *c)
{
    if (c->failed == WVU_STATUS_OK && !c->held)
        return WVU_STATUS_INVALID_STATE;
    return wvu_reply(c, c->held ? c->message.batch->last_sequence : 0);
}

int wvu_wait(wvu_client *c, int timeout_ms)
{
    if (c->failed != WVU_STATUS_OK)
        return c->failed;
    return wvu_transport_wait(c->transport, timeout_ms);
}

int wvu_fd(const wvu_client *c)
{
    return wvu_transport_fd(c->transport);
}

void wvu_interrupt(wvu_client *c)
{
    wvu_transport_interrupt(c->transport);
}

void wvu_close(wvu_client *c)
{
    if (c == NULL)
        return;
    wvu_transport_close(c->transport);
    free(c->buffer);
    free(c);
}
