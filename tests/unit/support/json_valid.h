/*
 * Is this JSON? A strict reader of RFC 8259 that shares nothing with the encoder: one complete value, no
 * duplicate look at anything but syntax, strings in well-formed UTF-8.
 */
#ifndef WVU_JSON_VALID_H
#define WVU_JSON_VALID_H

#include <stdbool.h>
#include <stddef.h>

bool json_valid(const char *text, size_t size);

#endif
