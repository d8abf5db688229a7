/*
 * UTF-16 to UTF-8, for the few texts that the engine takes as bytes, and back. Any IRQL as far as the
 * text's memory allows.
 */
#ifndef WVU_TEXT_H
#define WVU_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Converts `units` UTF-16 units; lone surrogates become U+FFFD; ends at a NUL. Always terminates
 * `to` (size > 0) and never splits a character. Returns the length written. */
size_t wvu_utf8_from_utf16(char *to, size_t size, const uint16_t *from, size_t units);
/* The same, but what does not fit is left out at the beginning: the end of a path says more. */
size_t wvu_utf8_end_from_utf16(char *to, size_t size, const uint16_t *from, size_t units);
/* ASCII only, not terminated; returns the units written. */
size_t wvu_utf16_from_ascii(uint16_t *to, size_t units, const char *from, size_t length);

#endif
