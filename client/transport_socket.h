/*
 * What the event port and the command port share on Linux: see transport_socket.c.
 */
#ifndef WVU_TRANSPORT_SOCKET_H
#define WVU_TRANSPORT_SOCKET_H

#include <stdint.h>

#include "transport.h"

/* Connects to the socket named `port` in the run directory (NULL: where it is by default) and takes the
 * sensor's welcome; *message_max is what that says, unchecked. As wvu_transport_open otherwise. */
int wvu_socket_open(const char *run_dir, const char *port, int timeout_ms,
                    struct wvu_transport **transport, size_t *message_max);

int64_t wvu_socket_now_ms(void); /* monotonic */

#endif
