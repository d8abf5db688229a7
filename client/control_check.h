/*
 * Is this a response? See control_check.c.
 */
#ifndef WVU_CONTROL_CHECK_H
#define WVU_CONTROL_CHECK_H

#include <stddef.h>
#include <stdint.h>

struct wvu_response;

/* `size` bytes that came for a request with this command; 8-byte aligned. OK, BAD_MESSAGE,
 * VERSION_MISMATCH. */
int wvu_control_check(const struct wvu_response *response, size_t size, uint32_t command);

#endif
