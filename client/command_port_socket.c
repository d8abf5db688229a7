/*
 * The command port on Linux: the socket WVUCommand in the run directory, opened and used as the event port's
 * (transport_socket.c). One packet is one request or one response. Called by control.c; one thread at a time.
 */
#define _GNU_SOURCE
#include "command_port.h"

#include <stdlib.h>
#include <time.h>

#include "transport_socket.h"
#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

struct wvu_command_port {
    struct wvu_transport *transport;
};

int wvu_command_port_open(const char *run_dir, int timeout_ms, struct wvu_command_port **port)
{
    size_t response_max; /* the buffer holds the largest one that the protocol allows */
    struct wvu_command_port *p = malloc(sizeof *p);
    if (p == NULL)
        return WVU_STATUS_NO_MEMORY;
    int status = wvu_socket_open(run_dir, "WVUCommand", timeout_ms, &p->transport, &response_max);
    if (status != WVU_STATUS_OK) {
        free(p);
        return status;
    }
    *port = p;
    return WVU_STATUS_OK;
}

int wvu_command_port_call(struct wvu_command_port *port, const void *request, size_t size,
                          int timeout_ms, void *response, size_t capacity, size_t *response_size)
{
    /* It does not wait, and need not: the sensor has read the request before this one, because its
     * response came. */
    int status = wvu_transport_send(port->transport, request, size);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_transport_receive(port->transport, timeout_ms, response, capacity, response_size);
    return status == WVU_STATUS_AGAIN ? WVU_STATUS_TIMEOUT : status;
}

void wvu_command_port_close(struct wvu_command_port *port)
{
    if (port == NULL)
        return;
    wvu_transport_close(port->transport);
    free(port);
}

int64_t wvu_command_port_now_ms(void)
{
    return wvu_socket_now_ms();
}

void wvu_command_port_pause(int ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&time, NULL); /* a signal may end it early: the caller looks at the clock */
}
