/*
 * Text into a fixed buffer, at any IRQL: the kernel documents its own formatter for PASSIVE_LEVEL
 * only. Knows %s %c %d %u %x %lld %llu %llx %%, a width, '0' and '-'.
 */
#ifndef WVU_FORMAT_H
#define WVU_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* Always terminates (size > 0). Returns the length that was written. What does not fit is left
 * out. An unknown conversion is copied as it stands and ends the conversions. */
size_t wvu_format_arguments(char *buffer, size_t size, const char *format, va_list arguments);

#if defined(__GNUC__) || defined(__clang__)
__attribute__((format(printf, 3, 4)))
#endif
size_t
wvu_format(char *buffer, size_t size, const char *format, ...);

#endif
