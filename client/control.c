/*
 * The control connection: one request, one response, at a time. Called by programs that command a sensor;
 * one thread at a time for each connection. No locks.
 *
 * A connection on which a call failed is of no more use: a response that comes late would be taken for the
 * next one's. `failed` says why, and every later call says the same. A response is checked as a whole
 * before the caller gets it (control_check.c), as messages are. Nothing is allocated after open.
 */
#include <stdlib.h>
#include <string.h>

#include "command_port.h"
#include "control_check.h"

#include "winvirtue/winvirtue.h"

/* Between attempts to connect to a port that has as many clients as it can serve. */
#define PAUSE_FIRST_MS 5
#define PAUSE_MOST_MS  100

struct wvu_control {
    struct wvu_command_port *port;
    int failed;
    union {
        struct wvu_request header;
        char bytes[WVU_REQUEST_MAX];
    } request;
    union {
        struct wvu_response header;
        uint64_t align; /* the data's numbers are of up to 64 bits */
        char bytes[WVU_RESPONSE_MAX];
    } response;
};

/* Until it is connected or the time is over. Who waits for a place is told nothing when one becomes free. */
static int open_port(const char *run_dir, int timeout_ms, struct wvu_command_port **port)
{
    int64_t end = wvu_command_port_now_ms() + timeout_ms;
    int left = timeout_ms;
    for (int pause = PAUSE_FIRST_MS;; pause = pause < PAUSE_MOST_MS ? pause * 2 : pause) {
        int status = wvu_command_port_open(run_dir, left, port);
        if (timeout_ms >= 0) {
            int64_t now = wvu_command_port_now_ms();
            left = now < end ? (int)(end - now) : 0;
        }
        if (status != WVU_STATUS_CONNECTION_LIMIT || left == 0)
            return status;
        wvu_command_port_pause(left < 0 || left > pause ? pause : left);
    }
}

int wvu_control_open(const char *run_dir, int timeout_ms, wvu_control **control)
{
    *control = NULL;
    wvu_control *c = malloc(sizeof *c);
    if (c == NULL)
        return WVU_STATUS_NO_MEMORY;
    c->failed = WVU_STATUS_OK;
    int status = open_port(run_dir, timeout_ms, &c->port);
    if (status != WVU_STATUS_OK) {
        free(c);
        return status;
    }
    *control = c;
    return WVU_STATUS_OK;
}

int wvu_control_request(wvu_control *c, uint32_t command, const uint8_t *probe_id, const void *data,
                        size_t size, int timeout_ms, const struct wvu_response **response)
{
    size_t received = 0;
    *response = NULL;
    if (c->failed != WVU_STATUS_OK)
        return c->failed;
    if (size > sizeof c->request.bytes - sizeof c->request.header)
        return WVU_STATUS_INVALID_PARAMETER;
    c->request.header = (struct wvu_request){.version = WVU_PROTOCOL_VERSION,
                                             .size = sizeof c->request.header,
                                             .command = command,
                                             .data_size = (uint32_t)size};
    if (probe_id != NULL)
        memcpy(c->request.header.probe_id, probe_id, sizeof c->request.header.probe_id);
    if (size != 0)
        memcpy(c->request.bytes + sizeof c->request.header, data, size);
    int status = wvu_command_port_call(c->port, &c->request, sizeof c->request.header + size,
                                       timeout_ms, &c->response, sizeof c->response, &received);
    if (status == WVU_STATUS_OK)
        status = wvu_control_check(&c->response.header, received, command);
    c->failed = status;
    if (status == WVU_STATUS_OK)
        *response = &c->response.header;
    return status;
}

void wvu_control_close(wvu_control *c)
{
    if (c == NULL)
        return;
    wvu_command_port_close(c->port);
    free(c);
}
