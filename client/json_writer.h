/*
 * The pieces JSON is written with: room in the output, numbers, identifiers, texts.
 *
 * Room. A caller asks for room once for a whole piece (wvu_room) and then writes without further
 * checks; `at`, the place of the next byte, goes from call to call as a value so that it stays in a
 * register. When the caller's buffer has no room left, output goes on in a small stage inside the
 * writer, which is emptied into what remains of the buffer and counted: this is how the length of a
 * record is known even if the buffer is too small. Many pieces store a few bytes more than they use
 * (a fixed 8 instead of 1 to 8), which is why callers ask for more than they will use.
 *
 * Numbers are written with arithmetic on 64-bit words that hold 8 characters. Such a word is
 * little-endian: its lowest byte is the first character.
 *
 * A writer belongs to one call of wvu_json; no state outlives it. Any thread.
 */
#ifndef WVU_JSON_WRITER_H
#define WVU_JSON_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WVU_STAGE_SIZE 4096u /* the most that may be asked for at once */

struct wvu_writer {
    char *limit;   /* wvu_room promises room up to here */
    char *out;     /* the caller's buffer */
    size_t size;   /* of it */
    size_t length; /* characters that went through the stage, or stood in `out` when it began */
    bool staging;
    char stage[WVU_STAGE_SIZE];
};

/* ---- room (json_writer.c) ------------------------------------------------------------------------- */

/* Returns the place of the first byte. */
char *wvu_writer_init(struct wvu_writer *writer, char *buffer, size_t size);
char *wvu_writer_go_on(struct wvu_writer *writer, char *at); /* empties the stage, or begins it */
/* Ends the output with a NUL if there is room for one; returns the length without it. */
size_t wvu_writer_finish(struct wvu_writer *writer, char *at);

/* Room for `need` bytes at the place it returns. */
static inline char *wvu_room(struct wvu_writer *writer, char *at, size_t need)
{
    if ((size_t)(writer->limit - at) >= need)
        return at;
    return wvu_writer_go_on(writer, at);
}

static inline char *wvu_put_bytes(char *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

/* A string literal. */
#define wvu_put_literal(at, literal) wvu_put_bytes((at), "" literal "", sizeof(literal) - 1)

static inline char *wvu_put_char(char *at, char c)
{
    *at = c;
    return at + 1;
}

/* ---- words of 8 characters -------------------------------------------------------------------------- */

static inline uint64_t wvu_load8(const void *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline void wvu_store8(char *at, uint64_t word)
{
    memcpy(at, &word, sizeof word);
}

/* The same byte in all 8 places. */
static inline uint64_t wvu_each(uint8_t byte)
{
    return UINT64_C(0x0101010101010101) * byte;
}

/* Which is the first byte with its highest bit set; mask has no other bits, and is not 0. The bits
 * below the lowest 1 are 8 * n + 7 ones: multiplying sums up one of each byte. */
static inline unsigned wvu_first_byte(uint64_t mask)
{
    uint64_t below = (mask & (~mask + 1)) - 1;
    return (unsigned)(((below & wvu_each(1)) * wvu_each(1)) >> 56) - 1;
}

/* The 8 decimal digits of a number below 10^8: halves, quarters, digits, each step in all lanes. The
 * multiplications divide: 10486 / 2^20 is 1/100 closely enough below 10^4, 103 / 2^10 is 1/10 below 100. */
static inline uint64_t wvu_digits8(uint32_t value)
{
    uint64_t word = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t high = ((word * 10486) >> 20) & UINT64_C(0x0000007f0000007f);
    word = high | (word - 100 * high) << 16;
    high = ((word * 103) >> 10) & UINT64_C(0x000f000f000f000f);
    word = high | (word - 10 * high) << 8;
    return word | wvu_each('0');
}

/* 8 nibbles, one in each byte, as hexadecimal digits. Adding 6 carries into bit 4 for ten and above. */
static inline uint64_t wvu_hex_of_nibbles(uint64_t nibbles)
{
    uint64_t letters = ((nibbles + wvu_each(6)) >> 4) & wvu_each(1);
    return nibbles + wvu_each('0') + letters * ('a' - '0' - 10);
}

/* 4 bytes, in the order of memory, as 8 hexadecimal digits. */
static inline uint64_t wvu_hex_of_bytes(uint32_t four)
{
    uint64_t word = four;
    word = (word | word << 16) & UINT64_C(0x0000ffff0000ffff);
    word = (word | word << 8) & UINT64_C(0x00ff00ff00ff00ff);
    return wvu_hex_of_nibbles(((word >> 4) & wvu_each(0x0f)) | (word & UINT64_C(0x000f000f000f000f))
                                                                   << 8);
}

/* A number as 8 hexadecimal digits, most significant first. */
static inline uint64_t wvu_hex_of_number(uint32_t number)
{
    return wvu_hex_of_bytes(number >> 24 | (number >> 8 & 0xff00) | (number & 0xff00) << 8 |
                            number << 24);
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

/* Numbers below 10^4, without leading zeros; as wvu_digits8, in half a word. Stores 4 bytes. Counting
 * the digits costs less than a wrong guess about them. */
static inline char *wvu_put_below_e4(char *at, uint32_t value)
{
    uint32_t high = (value * 5243) >> 19;
    uint32_t word = high | (value - 100 * high) << 16;
    high = ((word * 103) >> 10) & 0x000f000f;
    word = (high | (word - 10 * high) << 8) | 0x30303030;
    unsigned more = (value > 9u) + (value > 99u) + (value > 999u);
    word >>= 8 * (3 - more);
    memcpy(at, &word, sizeof word);
    return at + more + 1;
}

/* The same below 10^8. Stores 8 bytes. */
static inline char *wvu_put_below_e8(char *at, uint32_t value)
{
    if (value < 10000)
        return wvu_put_below_e4(at, value);
    unsigned more = (value > 99999u) + (value > 999999u) + (value > 9999999u);
    wvu_store8(at, wvu_digits8(value) >> (8 * (3 - more)));
    return at + more + 5;
}

static inline char *wvu_put_u32(char *at, uint32_t value)
{
    if (value < 100000000)
        return wvu_put_below_e8(at, value);
    at = wvu_put_below_e4(at, value / 100000000);
    wvu_store8(at, wvu_digits8(value % 100000000));
    return at + 8;
}

/* Stores up to 24 bytes. */
static inline char *wvu_put_u64(char *at, uint64_t value)
{
    const uint64_t e8 = 100000000;
    if (value <= UINT32_MAX)
        return wvu_put_u32(at, (uint32_t)value);
    uint64_t high = value / e8;
    if (high < e8) {
        at = wvu_put_below_e8(at, (uint32_t)high);
    } else {
        at = wvu_put_below_e4(at, (uint32_t)(high / e8));
        wvu_store8(at, wvu_digits8((uint32_t)(high % e8)));
        at += 8;
    }
    wvu_store8(at, wvu_digits8((uint32_t)(value % e8)));
    return at + 8;
}

static inline char *wvu_put_i64(char *at, int64_t value)
{
    if (value >= 0)
        return wvu_put_u64(at, (uint64_t)value);
    return wvu_put_u64(wvu_put_char(at, '-'), 0 - (uint64_t)value);
}

/* "0x" and 8 digits, quotes included. */
static inline char *wvu_put_hex32(char *at, uint32_t value)
{
    at = wvu_put_literal(at, "\"0x");
    wvu_store8(at, wvu_hex_of_number(value));
    return wvu_put_char(at + 8, '"');
}

/* "0x" and 16 digits, quotes included. */
static inline char *wvu_put_hex64(char *at, uint64_t value)
{
    at = wvu_put_literal(at, "\"0x");
    wvu_store8(at, wvu_hex_of_number((uint32_t)(value >> 32)));
    wvu_store8(at + 8, wvu_hex_of_number((uint32_t)value));
    return wvu_put_char(at + 16, '"');
}

/* "0x" and as many digits as it takes, quotes included. */
static inline char *wvu_put_address(char *at, uint64_t value)
{
    char digits[16];
    size_t zeros = 0;
    wvu_store8(digits, wvu_hex_of_number((uint32_t)(value >> 32)));
    wvu_store8(digits + 8, wvu_hex_of_number((uint32_t)value));
    while (zeros < 15 && digits[zeros] == '0')
        zeros++;
    at = wvu_put_literal(at, "\"0x");
    at = wvu_put_bytes(at, digits + zeros, 16 - zeros);
    return wvu_put_char(at, '"');
}

/* Text form of an identifier, without quotes: 36 characters. Digits 9 to 12 and 13 to 16 come from one
 * word each; hyphens stand at 8, 13, 18 and 23. */
static inline char *wvu_put_uuid(char *at, const uint8_t uuid[16])
{
    uint32_t part[4];
    memcpy(part, uuid, sizeof part);
    uint64_t second = wvu_hex_of_bytes(part[1]);
    uint64_t third = wvu_hex_of_bytes(part[2]);
    wvu_store8(at, wvu_hex_of_bytes(part[0]));
    at[8] = '-';
    memcpy(at + 9, &second, 8);
    memcpy(at + 14, (const char *)&second + 4, 4);
    at[13] = '-';
    memcpy(at + 19, &third, 8);
    memcpy(at + 24, (const char *)&third + 4, 4);
    at[18] = '-';
    at[23] = '-';
    wvu_store8(at + 28, wvu_hex_of_bytes(part[3]));
    return at + 36;
}

/* ---- texts (json_text.c) ------------------------------------------------------------------------------- */

/* How the texts of a record are encoded, and what a NUL in them becomes: \u0000 in a text, the boundary
 * between two strings in a list. */
struct wvu_text_style {
    char nul[8];
    uint8_t nul_size;
    bool utf16;
};

extern const struct wvu_text_style wvu_style_text[2]; /* [utf16] */
extern const struct wvu_text_style wvu_style_list[2];

/* The inside of a JSON string for `size` bytes. They must stand in a record, behind its header: the
 * 8 bytes before their end may be read even if they begin later. What does not decode becomes U+FFFD
 * and sets *replaced. */
char *wvu_put_text(struct wvu_writer *writer, char *at, const uint8_t *bytes, size_t size,
                   const struct wvu_text_style *style, bool *replaced);

/* The inside of a JSON string: arguments joined to a command line for people. */
char *wvu_put_command_line(struct wvu_writer *writer, char *at, const uint8_t *bytes, size_t size);

/* Hexadecimal digits, two for each byte. */
char *wvu_put_hex(struct wvu_writer *writer, char *at, const uint8_t *bytes, size_t size);

/* How many bytes at the end of a text whose rest is missing, or at the beginning of one, are only part of
 * a character. */
size_t wvu_partial_end(const uint8_t *bytes, size_t size, bool utf16);
size_t wvu_partial_begin(const uint8_t *bytes, size_t size, bool utf16);

#endif
