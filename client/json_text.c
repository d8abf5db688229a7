/*
 * Texts of records as the inside of JSON strings: strict decoding of UTF-8 and UTF-16LE, escapes,
 * command lines, hexadecimal digits. Called by json.c. No state; any thread.
 *
 * What JSON demands of a string: '"', '\' and the control characters are escaped; everything else may
 * stay as it is. Most texts have none of these, so 8 bytes are looked at together and copied together
 * up to the first one that is special.
 *
 * What does not decode becomes U+FFFD: one for each longest part that a well-formed sequence could
 * begin with, as the Unicode standard recommends (chapter 3, "U+FFFD Substitution of Maximal
 * Subparts"), and one for each lone surrogate.
 *
 * Reading: a tail of fewer than 8 bytes is read with the bytes before it. That is safe because a text
 * stands in a record behind its header (json_writer.h).
 */
#include "json_writer.h"

#include "winvirtue/protocol.h"

_Static_assert(sizeof(struct wvu_record) >= 8, "8 bytes before the end of a text are readable");

/* The longest that one byte becomes is "\u0000"; a pair of UTF-16 bytes is never longer either. */
#define EXPANSION 6u
/* What a piece may store beyond what its bytes expand to: a word of 8, and a sequence that began before
 * the end of the piece. */
#define SLACK 24u
#define PIECE 512u /* bytes of text for which room is asked at once, if there is not room for all */
_Static_assert(PIECE *EXPANSION + SLACK <= WVU_STAGE_SIZE, "a piece fits the stage");

const struct wvu_text_style wvu_style_text[2] = {{"\\u0000", 6, false}, {"\\u0000", 6, true}};
const struct wvu_text_style wvu_style_list[2] = {{"\",\"", 3, false}, {"\",\"", 3, true}};

/* ---- characters --------------------------------------------------------------------------------------- */

struct escape {
    char text[7];
    uint8_t size;
};

/* Characters below 0x60 that need one. NUL is not among them: the style says what it becomes. */
static const struct escape escapes[0x60] = {
#define CONTROL(hex)                                                                               \
    {                                                                                              \
        "\\u00" hex, 6                                                                             \
    }
    [0x01] = CONTROL("01"), CONTROL("02"), CONTROL("03"), CONTROL("04"),
    [0x05] = CONTROL("05"), CONTROL("06"), CONTROL("07"), {"\\b", 2},
    [0x09] = {"\\t", 2},    {"\\n", 2},    CONTROL("0b"), {"\\f", 2},
    [0x0d] = {"\\r", 2},    CONTROL("0e"), CONTROL("0f"), CONTROL("10"),
    [0x11] = CONTROL("11"), CONTROL("12"), CONTROL("13"), CONTROL("14"),
    [0x15] = CONTROL("15"), CONTROL("16"), CONTROL("17"), CONTROL("18"),
    [0x19] = CONTROL("19"), CONTROL("1a"), CONTROL("1b"), CONTROL("1c"),
    [0x1d] = CONTROL("1d"), CONTROL("1e"), CONTROL("1f"), ['"'] = {"\\\"", 2},
    ['\\'] = {"\\\\", 2},
#undef CONTROL
};
_Static_assert(sizeof(struct escape) == 8, "an escape is copied as one word");

/* An ASCII character that cannot stand as it is. Stores 8 bytes. */
static inline char *put_escape(char *at, uint8_t c, const struct wvu_text_style *style)
{
    if (c == 0) {
        wvu_store8(at, wvu_load8(style->nul));
        return at + style->nul_size;
    }
    wvu_store8(at, wvu_load8(&escapes[c]));
    return at + escapes[c].size;
}

static inline char *put_replacement(char *at, bool *replaced)
{
    *replaced = true;
    return wvu_put_literal(at, "\xef\xbf\xbd");
}

/* Marks, with its highest bit, the first byte that cannot be copied as it is: a control character, '"',
 * '\' or not ASCII. 0: there is none. Each subtraction borrows where its byte is too small, and only from
 * the byte behind it: marks behind the first one can be wrong. */
static inline uint64_t special_bytes(uint64_t word)
{
    uint64_t control = word - wvu_each(0x20);
    uint64_t quote = (word ^ wvu_each('"')) - wvu_each(1);
    uint64_t backslash = (word ^ wvu_each('\\')) - wvu_each(1);
    return (word | control | quote | backslash) & wvu_each(0x80);
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------ */

enum form { WELL_FORMED, ILL_FORMED, CUT_SHORT };

/* Judges the sequence that begins at p with a byte of 0x80 or more (Unicode standard, table 3-7). *length
 * is its length, or that of the part that is replaced as one. CUT_SHORT: only its end is missing. */
static enum form judge(const uint8_t *p, const uint8_t *end, size_t *length)
{
    const uint8_t lead = p[0];
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;  /* shorter forms exist below */
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf; /* surrogates; above 10FFFF */
    size_t whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

    *length = 1;
    if (lead < 0xc2 || lead > 0xf4)
        return ILL_FORMED;
    for (; *length < whole; ++*length) {
        if (p + *length == end)
            return CUT_SHORT;
        if (p[*length] < low || p[*length] > high)
            return ILL_FORMED;
        low = 0x80;
        high = 0xbf;
    }
    return WELL_FORMED;
}

/* Writes from *from up to `stop`, or a little further when a sequence begins before it and ends behind
 * it. The caller has made room. */
static char *put_utf8(char *at, const uint8_t **from, const uint8_t *stop, const uint8_t *end,
                      const struct wvu_text_style *style, bool *replaced)
{
    const uint8_t *p = *from;
    while (p < stop) {
        size_t left = (size_t)(stop - p);
        /* A short tail is shifted down; the zeros above it count as special and end it. */
        uint64_t word = left >= 8 ? wvu_load8(p) : wvu_load8(stop - 8) >> (8 * (8 - left));
        uint64_t special = special_bytes(word);
        wvu_store8(at, word);
        if (special == 0) {
            p += 8;
            at += 8;
            continue;
        }
        size_t plain = wvu_first_byte(special);
        if (plain >= left) {
            p += left;
            at += left;
            break;
        }
        p += plain;
        at += plain;
        if (*p < 0x80) {
            at = put_escape(at, *p++, style);
            continue;
        }
        do {
            size_t length;
            if (judge(p, end, &length) == WELL_FORMED)
                at = wvu_put_bytes(at, p, length);
            else
                at = put_replacement(at, replaced);
            p += length;
        } while (p < stop && *p >= 0x80);
    }
    *from = p;
    return at;
}

/* ---- UTF-16LE ---------------------------------------------------------------------------------------------- */

static inline uint32_t unit_at(const uint8_t *p)
{
    return (uint32_t)(p[0] | p[1] << 8);
}

static char *put_code_point(char *at, uint32_t c)
{
    if (c < 0x800) {
        at = wvu_put_char(at, (char)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            at = wvu_put_char(at, (char)(0xe0 | c >> 12));
        } else {
            at = wvu_put_char(at, (char)(0xf0 | c >> 18));
            at = wvu_put_char(at, (char)(0x80 | (c >> 12 & 0x3f)));
        }
        at = wvu_put_char(at, (char)(0x80 | (c >> 6 & 0x3f)));
    }
    return wvu_put_char(at, (char)(0x80 | (c & 0x3f)));
}

/* As put_utf8. An odd byte at the end is half a unit and does not decode. */
static char *put_utf16(char *at, const uint8_t **from, const uint8_t *stop, const uint8_t *end,
                       const struct wvu_text_style *style, bool *replaced)
{
    const uint8_t *p = *from;
    while (p < stop) {
        if (stop - p >= 8) {
            uint64_t word = wvu_load8(p);
            if ((word & UINT64_C(0xff80ff80ff80ff80)) == 0) {
                word = (word | word >> 8) & UINT64_C(0x0000ffff0000ffff);
                word = (word | word >> 16) & UINT64_C(0x00000000ffffffff);
                if ((special_bytes(word) & UINT64_C(0x80808080)) == 0) {
                    wvu_store8(at, word);
                    at += 4;
                    p += 8;
                    continue;
                }
            }
        }
        if (end - p < 2) {
            at = put_replacement(at, replaced);
            p = end;
            break;
        }
        uint32_t unit = unit_at(p);
        p += 2;
        if (unit < 0x80) {
            if (unit < 0x20 || unit == '"' || unit == '\\')
                at = put_escape(at, (uint8_t)unit, style);
            else
                at = wvu_put_char(at, (char)unit);
        } else if (unit < 0xd800 || unit > 0xdfff) {
            at = put_code_point(at, unit);
        } else if (unit < 0xdc00 && end - p >= 2 && (unit_at(p) & 0xfc00) == 0xdc00) {
            at = put_code_point(at, 0x10000 + ((unit & 0x3ff) << 10 | (unit_at(p) & 0x3ff)));
            p += 2;
        } else {
            at = put_replacement(at, replaced);
        }
    }
    *from = p;
    return at;
}

/* ---- texts -------------------------------------------------------------------------------------------------- */

char *wvu_put_text(struct wvu_writer *writer, char *at, const uint8_t *bytes, size_t size,
                   const struct wvu_text_style *style, bool *replaced)
{
    const uint8_t *p = bytes;
    const uint8_t *end = bytes + size;
    while (p < end) {
        size_t piece = (size_t)(end - p);
        if (piece * EXPANSION + SLACK > (size_t)(writer->limit - at)) {
            piece = piece < PIECE ? piece : PIECE;
            at = wvu_room(writer, at, piece * EXPANSION + SLACK);
        }
        at = style->utf16 ? put_utf16(at, &p, p + piece, end, style, replaced)
                          : put_utf8(at, &p, p + piece, end, style, replaced);
    }
    return at;
}

size_t wvu_partial_end(const uint8_t *bytes, size_t size, bool utf16)
{
    size_t length;
    if (utf16) {
        size_t odd = size % 2;
        bool high = size >= 2 + odd && (unit_at(bytes + size - odd - 2) & 0xfc00) == 0xd800;
        return odd + (high ? 2 : 0);
    }
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        const uint8_t *p = bytes + size - back;
        if (*p >= 0xc0)
            return judge(p, bytes + size, &length) == CUT_SHORT ? back : 0;
        if (*p < 0x80)
            return 0;
    }
    return 0;
}

size_t wvu_partial_begin(const uint8_t *bytes, size_t size, bool utf16)
{
    if (utf16)
        return size >= 2 && (unit_at(bytes) & 0xfc00) == 0xdc00 ? 2 : 0;
    size_t count = 0;
    while (count < 3 && count < size && (bytes[count] & 0xc0) == 0x80)
        count++;
    return count;
}

/* ---- command lines -------------------------------------------------------------------------------------------- */

/* 0: stands for itself in a POSIX shell's word: letters, digits, @%+=:,./_- and what is not ASCII. */
static const uint8_t needs_quotes[256] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};

/* Inside single quotes a single quote is the only thing that cannot stand: end, escaped quote, begin. */
static char *put_quoted(struct wvu_writer *writer, char *at, const uint8_t *p, const uint8_t *end)
{
    bool replaced = false; /* the arguments themselves tell of that */
    at = wvu_put_char(wvu_room(writer, at, 8), '\'');
    while (p < end) {
        const uint8_t *quote = memchr(p, '\'', (size_t)(end - p));
        const uint8_t *stop = quote != NULL ? quote : end;
        at = wvu_put_text(writer, at, p, (size_t)(stop - p), &wvu_style_text[0], &replaced);
        p = stop;
        if (quote != NULL) {
            at = wvu_put_literal(wvu_room(writer, at, 8), "'\\\\''");
            p++;
        }
    }
    return wvu_put_char(wvu_room(writer, at, 8), '\'');
}

/* The usual case at once: no argument is empty, and all characters are letters, digits, '_', '=' and those
 * from '+' to ':', which need neither quotes nor escapes. Then the line is the list with spaces for NULs.
 * NULL, and nothing is written that counts, when it is not so (or there is not room for all of it). */
static char *put_plain_line(const struct wvu_writer *writer, char *at, const uint8_t *p,
                            size_t size)
{
    const uint64_t top = wvu_each(0x80);
    uint64_t before =
        top; /* marks of the NULs in the word before this one; an empty argument at first */
    if ((size_t)(writer->limit - at) < size + 8)
        return NULL;
    for (; size != 0; p += 8, at += 8) {
        bool last = size <= 8;
        uint64_t word = last ? wvu_load8(p + size - 8) >> (8 * (8 - size)) : wvu_load8(p);
        if (last && size < 8)
            word |= wvu_each('a') << (8 * size);
        /* Adding 80 - n carries into the top bit from n on. Bytes that are not ASCII spoil this for
         * themselves and the next; they are neither plain nor NUL below, whatever it gave. */
        uint64_t folded = word | wvu_each(0x20);
        uint64_t letter = (folded + wvu_each(0x80 - 'a')) ^ (folded + wvu_each(0x80 - 'z' - 1));
        uint64_t middle = (word + wvu_each(0x80 - '+')) ^ (word + wvu_each(0x80 - ':' - 1));
        uint64_t other =
            ((word ^ wvu_each('=')) + wvu_each(0x7f)) & ((word ^ wvu_each('_')) + wvu_each(0x7f));
        uint64_t nul = ~((word + wvu_each(0x7f)) | word) & top;
        uint64_t plain = (letter | middle | ~other) & ~word & top;
        if ((plain | nul) != top || (nul & (nul << 8 | before >> 56)) != 0)
            return NULL;
        before = nul;
        wvu_store8(at, word | nul >> 2);
        if (last)
            return at + size;
        size -= 8;
    }
    return at;
}

char *wvu_put_command_line(struct wvu_writer *writer, char *at, const uint8_t *bytes, size_t size)
{
    const uint8_t *p = bytes;
    const uint8_t *end = bytes + size;
    bool replaced = false;
    size_t line = size - (size != 0 && end[-1] == 0 ? 1 : 0);
    char *line_end = NULL;
    if (line != 0 && bytes[line - 1] != 0)
        line_end = put_plain_line(writer, at, bytes, line);
    if (line_end != NULL)
        return line_end;
    while (p < end) {
        const uint8_t *begin = p;
        unsigned quotes = 0;
        while (p < end && *p != 0)
            quotes |= needs_quotes[*p++];
        if (begin != bytes)
            at = wvu_put_char(wvu_room(writer, at, 8), ' ');
        if (quotes != 0 || p == begin)
            at = put_quoted(writer, at, begin, p);
        else
            at =
                wvu_put_text(writer, at, begin, (size_t)(p - begin), &wvu_style_text[0], &replaced);
        if (p < end)
            p++; /* the NUL */
    }
    return at;
}

/* ---- hexadecimal ---------------------------------------------------------------------------------------------- */

char *wvu_put_hex(struct wvu_writer *writer, char *at, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    while (size >= 4) {
        uint32_t four;
        memcpy(&four, bytes, sizeof four);
        at = wvu_room(writer, at, 8);
        wvu_store8(at, wvu_hex_of_bytes(four));
        at += 8;
        bytes += 4;
        size -= 4;
    }
    at = wvu_room(writer, at, 8);
    for (; size != 0; size--, bytes++) {
        *at++ = digits[*bytes >> 4];
        *at++ = digits[*bytes & 15];
    }
    return at;
}
