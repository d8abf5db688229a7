/*
 * Recursive descent over RFC 8259's grammar. For tests and fuzzers; no state.
 */
#include "json_valid.h"

#include <stdint.h>
#include <string.h>

struct reader {
    const uint8_t *p;
    const uint8_t *end;
};

static bool take(struct reader *r, uint8_t c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(r->end - r->p) < size || memcmp(r->p, word, size) != 0)
        return false;
    r->p += size;
    return true;
}

static bool take_hex4(struct reader *r, unsigned *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        if (r->p == r->end)
            return false;
        uint8_t c = *r->p++;
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10u;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10u;
        else
            return false;
        *value = *value * 16 + digit;
    }
    return true;
}

/* One code point from bytes, by arithmetic: decode, then see that it needed that many bytes. */
static bool take_utf8(struct reader *r)
{
    uint8_t lead = *r->p++;
    unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    uint32_t code = lead & (0x3fu >> more);
    if (lead < 0xc0 || lead >= 0xf8)
        return false;
    for (unsigned i = 0; i < more; i++) {
        if (r->p == r->end || (*r->p & 0xc0) != 0x80)
            return false;
        code = code << 6 | (*r->p++ & 0x3fu);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    return code >= least[more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static bool take_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (r->p < r->end && *r->p != '"') {
        if (*r->p < 0x20)
            return false;
        if (*r->p >= 0x80) {
            if (!take_utf8(r))
                return false;
        } else if (*r->p++ == '\\') {
            unsigned value;
            if (r->p == r->end || strchr("\"\\/bfnrtu", *r->p) == NULL || *r->p == '\0')
                return false;
            if (*r->p++ == 'u' && (!take_hex4(r, &value) || (value >= 0xd800 && value <= 0xdfff)))
                return false;
        }
    }
    return take(r, '"');
}

static bool take_digits(struct reader *r)
{
    const uint8_t *begin = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > begin;
}

static bool take_number(struct reader *r)
{
    (void)take(r, '-');
    if (!take(r, '0') && !take_digits(r))
        return false;
    if (take(r, '.') && !take_digits(r))
        return false;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+'))
            (void)take(r, '-');
        return take_digits(r);
    }
    return true;
}

static bool take_value(struct reader *r, unsigned depth);

static bool take_members(struct reader *r, unsigned depth, bool keys, uint8_t end)
{
    skip_space(r);
    if (take(r, end))
        return true;
    do {
        skip_space(r);
        if (keys) {
            if (!take_string(r))
                return false;
            skip_space(r);
            if (!take(r, ':'))
                return false;
        }
        if (!take_value(r, depth))
            return false;
    } while (take(r, ','));
    return take(r, end);
}

static bool take_value(struct reader *r, unsigned depth)
{
    bool good;
    skip_space(r);
    if (r->p == r->end || depth > 16)
        return false;
    switch (*r->p) {
    case '{':
        r->p++;
        good = take_members(r, depth + 1, true, '}');
        break;
    case '[':
        r->p++;
        good = take_members(r, depth + 1, false, ']');
        break;
    case '"':
        good = take_string(r);
        break;
    case 't':
        good = take_word(r, "true");
        break;
    case 'f':
        good = take_word(r, "false");
        break;
    case 'n':
        good = take_word(r, "null");
        break;
    default:
        good = take_number(r);
        break;
    }
    skip_space(r);
    return good;
}

bool json_valid(const char *text, size_t size)
{
    struct reader r = {(const uint8_t *)text, (const uint8_t *)text + size};
    return take_value(&r, 0) && r.p == r.end;
}
