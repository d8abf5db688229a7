/*
 * Taking texts apart and putting them together. Called wherever people's text comes in or goes out:
 * settings (probe.c), rules (filter.c), log levels (log.c), commands. No state.
 */
#include "words.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool wvu_word_next(struct wvu_word *rest, struct wvu_word *word)
{
    while (rest->length != 0 && is_blank(*rest->text)) {
        rest->text++;
        rest->length--;
    }
    *word = (struct wvu_word){rest->text, 0};
    if (rest->length == 0)
        return false;
    size_t length = 1;
    while (length < rest->length && !is_blank(rest->text[length]))
        length++;
    word->length = length;
    rest->text += length;
    rest->length -= length;
    return true;
}

bool wvu_word_line(struct wvu_word *rest, struct wvu_word *line)
{
    if (rest->length == 0)
        return false;
    const char *end = memchr(rest->text, '\n', rest->length);
    size_t length = end != NULL ? (size_t)(end - rest->text) : rest->length;
    size_t taken = end != NULL ? length + 1 : length;
    line->text = rest->text;
    line->length = length != 0 && rest->text[length - 1] == '\r' ? length - 1 : length;
    rest->text += taken;
    rest->length -= taken;
    return true;
}

bool wvu_word_split(const struct wvu_word *word, char separator, struct wvu_word *before,
                    struct wvu_word *after)
{
    const char *at = word->length != 0 ? memchr(word->text, separator, word->length) : NULL;
    if (at == NULL)
        return false;
    size_t length = (size_t)(at - word->text);
    const struct wvu_word whole = *word;
    *before = (struct wvu_word){whole.text, length};
    *after = (struct wvu_word){at + 1, whole.length - length - 1};
    return true;
}

bool wvu_word_is(const struct wvu_word *word, const char *name)
{
    for (size_t i = 0; i < word->length; i++) {
        if (name[i] == '\0' || lower(word->text[i]) != lower(name[i]))
            return false;
    }
    return name[word->length] == '\0';
}

static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = lower(c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

bool wvu_word_number(const struct wvu_word *word, uint64_t *number)
{
    bool hex = word->length > 2 && word->text[0] == '0' && lower(word->text[1]) == 'x';
    unsigned base = hex ? 16 : 10;
    uint64_t value = 0;
    size_t i = hex ? 2 : 0;
    if (i == word->length)
        return false;
    for (; i < word->length; i++) {
        unsigned digit = digit_value(word->text[i]);
        if (digit >= base || value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *number = value;
    return true;
}

void wvu_build_begin(struct wvu_builder *builder, char *buffer, size_t size)
{
    builder->text = buffer;
    builder->size = size;
    builder->length = 0;
    builder->cut = false;
    buffer[0] = '\0';
}

static void append(struct wvu_builder *builder, const char *text, size_t length)
{
    size_t room = builder->size - builder->length - 1;
    if (length > room) {
        length = room;
        builder->cut = true;
    }
    memcpy(builder->text + builder->length, text, length);
    builder->length += length;
    builder->text[builder->length] = '\0';
}

void wvu_build_text(struct wvu_builder *builder, const char *text)
{
    append(builder, text, strlen(text));
}

void wvu_build_word(struct wvu_builder *builder, const struct wvu_word *word)
{
    if (word->length != 0)
        append(builder, word->text, word->length);
}

void wvu_build_number(struct wvu_builder *builder, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    append(builder, digits + at, sizeof digits - at);
}

void wvu_build_hex(struct wvu_builder *builder, uint64_t number, unsigned digits)
{
    char text[18] = "0x";
    digits = digits > 16 ? 16 : digits;
    for (unsigned i = 0; i < digits; i++)
        text[2 + i] = "0123456789abcdef"[number >> 4 * (digits - 1 - i) & 0xF];
    append(builder, text, 2 + digits);
}

/* ---- UTF-8 ---------------------------------------------------------------------------------- */

#define NOT_UTF8 0xFFFFFFFFu

/* The character at the beginning, and its bytes. What is not well-formed (overlong forms, surrogates and
 * numbers above U+10FFFF too) is taken one byte at a time. */
static uint32_t decode(const char *text, size_t length, size_t *taken)
{
    const uint8_t first = (uint8_t)text[0];
    const size_t more = first < 0x80 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    *taken = 1;
    if (first < 0x80)
        return first;
    if (first < 0xC2 || first > 0xF4 || more >= length)
        return NOT_UTF8;
    uint32_t point = first & (0x3Fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if (((uint8_t)text[i] & 0xC0) != 0x80)
            return NOT_UTF8;
        point = point << 6 | ((uint8_t)text[i] & 0x3Fu);
    }
    if (point < least[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
        return NOT_UTF8;
    *taken = more + 1;
    return point;
}

size_t wvu_utf16_from_utf8(const char *text, size_t length, uint16_t *units, size_t capacity)
{
    size_t count = 0, taken;
    for (size_t at = 0; at < length; at += taken) {
        uint32_t point = decode(text + at, length - at, &taken);
        if (point == NOT_UTF8)
            point = 0xFFFD;
        size_t needed = point < 0x10000 ? 1 : 2;
        if (needed > capacity - count)
            break;
        if (needed == 2)
            units[count++] = (uint16_t)(0xD800 + ((point - 0x10000) >> 10));
        units[count++] = (uint16_t)(needed == 2 ? 0xDC00 + (point & 0x3FF) : point);
    }
    return count;
}

void wvu_utf8_clean(char *text, size_t length)
{
    size_t taken;
    for (size_t at = 0; at < length; at += taken) {
        uint32_t point = decode(text + at, length - at, &taken);
        if (point == NOT_UTF8 || point < 0x20 || point == 0x7F)
            text[at] = '?';
    }
}
