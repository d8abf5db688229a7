/*
 * Commands: a request on the command port becomes a response. See command.c.
 *
 * Both hosts' command ports call wvu_command_answer with a request that they copied into memory of the
 * sensor, from whatever thread serves the client, several at a time.
 */
#ifndef WVU_COMMAND_H
#define WVU_COMMAND_H

#include "sensor.h"

/* PASSIVE, any thread, between the sensor's create and destroy. `request`, `size` bytes (8-byte aligned), may
 * hold anything; of one that is larger than WVU_REQUEST_MAX, which is answered like any other bad one, only
 * that many need be there. Writes the response, at most `capacity` bytes (8-byte aligned, at least
 * sizeof(struct wvu_response)), and returns its size, which is never 0. A response that does not fit has the
 * status BUFFER_TOO_SMALL and no data; a text that says why something failed is cut instead. */
uint32_t wvu_command_answer(struct wvu_sensor *sensor, const struct wvu_requester *requester,
                            const void *request, uint32_t size, void *response, uint32_t capacity);

#endif
