/*
 * UTF-16 to UTF-8. No state. Called at load by machine.c and parameters.c.
 */
#include "text.h"

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

size_t wvu_utf8_from_utf16(char *to, size_t size, const uint16_t *from, size_t units)
{
    size_t length = 0;
    for (size_t i = 0; i < units && from[i] != 0; i++) {
        uint32_t c = from[i];
        if (c >= 0xD800 && c < 0xDC00 && i + 1 < units && from[i + 1] >= 0xDC00 &&
            from[i + 1] < 0xE000)
            c = 0x10000 + ((c - 0xD800) << 10) + (from[++i] - 0xDC00u);
        else if (c >= 0xD800 && c < 0xE000)
            c = REPLACEMENT;
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
