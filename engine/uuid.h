/*
 * Identifiers as 16 bytes in RFC 4122 order. Any thread; no allocation.
 */
#ifndef WVU_UUID_H
#define WVU_UUID_H

#include <stdint.h>

/* RFC 4122 version 5 (SHA-1 of name space and name): the same inputs always give the same id. */
void wvu_uuid_from_name(const uint8_t name_space[16], const char *name, uint8_t uuid[16]);

/* Sets the version-4 and variant bits of 16 random bytes. */
void wvu_uuid_from_random(uint8_t uuid[16]);

/* 36 characters and a NUL, lower case. */
void wvu_uuid_format(const uint8_t uuid[16], char text[37]);

#endif
