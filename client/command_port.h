/*
 * The way to the sensor's command port, as control.c sees it. Each host has one implementation
 * (command_port_socket.c, command_port_filter.c). It moves requests and responses and knows nothing of what
 * is in them. One thread at a time.
 */
#ifndef WVU_COMMAND_PORT_H
#define WVU_COMMAND_PORT_H

#include <stddef.h>
#include <stdint.h>

struct wvu_command_port;

/* Connects; timeout_ms -1: waits as long as it takes. Errors are those of wvu_connect. */
int wvu_command_port_open(const char *run_dir, int timeout_ms, struct wvu_command_port **port);

/* Sends a request and waits for its response. TIMEOUT, DISCONNECTED, BAD_MESSAGE (the response does not fit),
 * IO_ERROR, NO_RESOURCES: the port is of no more use, because the response may come later. */
int wvu_command_port_call(struct wvu_command_port *port, const void *request, size_t size,
                          int timeout_ms, void *response, size_t capacity, size_t *response_size);

void wvu_command_port_close(struct wvu_command_port *port); /* NULL is allowed */

int64_t wvu_command_port_now_ms(void); /* monotonic */
void wvu_command_port_pause(int ms);

#endif
