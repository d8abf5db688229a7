/*
 * The way to the sensor, as client.c sees it. Each host has one implementation (transport_socket.c on
 * Linux). A transport moves messages and replies; it knows nothing of what is in them.
 *
 * One thread at a time, except wvu_transport_interrupt.
 */
#ifndef WVU_TRANSPORT_H
#define WVU_TRANSPORT_H

#include <stddef.h>

struct wvu_transport;

/* Connects, and waits at most timeout_ms (-1: as long as it takes) for the sensor to say that this is its
 * reader. *message_max is the size of its largest message. Errors are those of wvu_connect. */
int wvu_transport_open(const char *run_dir, int timeout_ms, struct wvu_transport **transport,
                       size_t *message_max);

/* The next message, header and batch. AGAIN: none within timeout_ms (-1 waits, 0 only looks). CANCELLED:
 * interrupted. BAD_MESSAGE: it does not fit the buffer. DISCONNECTED, IO_ERROR. */
int wvu_transport_receive(struct wvu_transport *transport, int timeout_ms, void *buffer,
                          size_t capacity, size_t *size);

/* Sends a reply, header and body. Does not wait: a sensor that leaves replies unread is DISCONNECTED. */
int wvu_transport_send(struct wvu_transport *transport, const void *reply, size_t size);

/* Waits until a receive would not return AGAIN: OK. AGAIN: not within timeout_ms. CANCELLED: interrupted. */
int wvu_transport_wait(struct wvu_transport *transport, int timeout_ms);

/* Polls readable when a receive would not return AGAIN; -1 where there is no such thing (Windows). */
int wvu_transport_fd(const struct wvu_transport *transport);

/* Any thread, also from a signal handler. */
void wvu_transport_interrupt(struct wvu_transport *transport);

void wvu_transport_close(struct wvu_transport *transport); /* NULL is allowed */

#endif
