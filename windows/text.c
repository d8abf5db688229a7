/*
 * UTF-16 to UTF-8 and back. No state. Called at load by machine.c and parameters.c, and by whoever has
 * a path to compare or to tell.
 */
#include "text.h"

#include <stdbool.h>

#define REPLACEMENT 0xFFFDu

static size_t encode(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

static bool is_high(uint16_t unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_low(uint16_t unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/* The character at *i, which then is that of its last unit. */
static uint32_t character_at(const uint16_t *from, size_t units, size_t *i)
{
    uint32_t c = from[*i];
    if (is_high(from[*i]) && *i + 1 < units && is_low(from[*i + 1]))
        return 0x10000 + ((c - 0xD800) << 10) + (from[++*i] - 0xDC00u);
    return c >= 0xD800 && c < 0xE000 ? REPLACEMENT : c;
}

size_t wvu_utf8_from_utf16(char *to, size_t size, const uint16_t *from, size_t units)
{
    size_t length = 0;
    for (size_t i = 0; i < units && from[i] != 0; i++) {
        uint32_t c = character_at(from, units, &i);
        char bytes[4];
        size_t count = encode(bytes, c);
        if (count >= size - length)
            break;
        for (size_t j = 0; j < count; j++)
            to[length++] = bytes[j];
    }
    to[length] = '\0';
    return length;
}

size_t wvu_utf8_end_from_utf16(char *to, size_t size, const uint16_t *from, size_t units)
{
    size_t begin = units;
    size_t length = 0;
    while (begin != 0) {
        size_t before = begin - 1;
        if (before != 0 && is_low(from[before]) && is_high(from[before - 1]))
            before--;
        size_t i = before;
        char bytes[4];
        size_t count = encode(bytes, character_at(from, units, &i));
        if (from[before] == 0 || count >= size - length)
            break;
        length += count;
        begin = before;
    }
    return wvu_utf8_from_utf16(to, size, from + begin, units - begin);
}

size_t wvu_utf16_from_ascii(uint16_t *to, size_t units, const char *from, size_t length)
{
    size_t count = length < units ? length : units;
    for (size_t i = 0; i < count; i++)
        to[i] = (uint8_t)from[i];
    return count;
}
