/*
 * Text formatting for log lines, reasons and the configuration text. No state, no allocation, no
 * system call: any IRQL, any thread. Called by os_nt.c (wvu_os_log), the probes and driver.c.
 */
#include "format.h"

#include <stdbool.h>
#include <stdint.h>

struct output {
    char *at;
    char *end; /* the place of the terminator */
};

struct conversion {
    size_t width;
    bool zeros;
    bool left;
    bool wide; /* ll */
};

static void put(struct output *out, char c)
{
    if (out->at != out->end)
        *out->at++ = c;
}

static void put_many(struct output *out, char c, size_t count)
{
    while (count-- != 0)
        put(out, c);
}

static void put_field(struct output *out, const struct conversion *how, const char *text,
                      size_t length, bool number)
{
    size_t padding = how->width > length ? how->width - length : 0;
    bool zeros = how->zeros && number && !how->left;
    if (zeros && length != 0 && text[0] == '-') {
        put(out, '-');
        text++;
        length--;
    }
    if (!how->left)
        put_many(out, zeros ? '0' : ' ', padding);
    for (size_t i = 0; i < length; i++)
        put(out, text[i]);
    if (how->left)
        put_many(out, ' ', padding);
}

static void put_number(struct output *out, const struct conversion *how, uint64_t value,
                       unsigned base, bool negative)
{
    char digits[21];
    char *first = digits + sizeof digits;
    do {
        *--first = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    if (negative)
        *--first = '-';
    put_field(out, how, first, (size_t)(digits + sizeof digits - first), true);
}

static size_t length_of(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0')
        length++;
    return length;
}

/* Reads flags, width and size after the '%'; returns where the conversion's letter is. */
static const char *read_conversion(const char *format, struct conversion *how)
{
    *how = (struct conversion){0};
    for (;; format++) {
        if (*format == '0')
            how->zeros = true;
        else if (*format == '-')
            how->left = true;
        else
            break;
    }
    while (*format >= '0' && *format <= '9' && how->width < 1000)
        how->width = how->width * 10 + (size_t)(*format++ - '0');
    if (format[0] == 'l' && format[1] == 'l') {
        how->wide = true;
        format += 2;
    }
    return format;
}

static void put_arguments(struct output *out, const char *format, va_list *arguments)
{
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put(out, *format);
            continue;
        }
        const char *start = format;
        struct conversion how;
        format = read_conversion(format + 1, &how);
        if (*format == 's') {
            const char *text = va_arg(*arguments, const char *);
            text = text != NULL ? text : "(null)";
            put_field(out, &how, text, length_of(text), false);
        } else if (*format == 'c') {
            char c = (char)va_arg(*arguments, int);
            put_field(out, &how, &c, 1, false);
        } else if (*format == 'd') {
            int64_t value = how.wide ? va_arg(*arguments, long long) : va_arg(*arguments, int);
            put_number(out, &how, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, value < 0);
        } else if (*format == 'u' || *format == 'x') {
            uint64_t value =
                how.wide ? va_arg(*arguments, unsigned long long) : va_arg(*arguments, unsigned);
            put_number(out, &how, value, *format == 'x' ? 16 : 10, false);
        } else if (*format == '%') {
            put(out, '%');
        } else {
            while (*start != '\0') /* the arguments' types are unknown from here on */
                put(out, *start++);
            return;
        }
    }
}

size_t wvu_format_arguments(char *buffer, size_t size, const char *format, va_list arguments)
{
    struct output out = {.at = buffer, .end = buffer + size - 1};
    va_list copy;
    va_copy(copy, arguments);
    put_arguments(&out, format, &copy);
    va_end(copy);
    *out.at = '\0';
    return (size_t)(out.at - buffer);
}

size_t wvu_format(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length = wvu_format_arguments(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}
