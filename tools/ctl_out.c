/*
 * Text and JSON for wvuctl: see ctl_out.h. Called by its commands; one thread, no state.
 *
 * Texts come from the sensor, and in the end from whoever named a file or a process: they may hold
 * anything. One decoder (take_character) says for both forms what is a character, and which ones are not
 * to reach a terminal: controls, changes of direction, separators of lines and paragraphs.
 */
#include "ctl_out.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* ---- texts -------------------------------------------------------------------------------------- */

struct ctl_text ctl_text_of(const void *structure, const struct wvu_text *text)
{
    struct ctl_text result;
    result.bytes = wvu_structure_text(structure, text, &result.size);
    return result;
}

struct ctl_text ctl_text_of_string(const char *string)
{
    return (struct ctl_text){string, strlen(string)};
}

struct ctl_text ctl_take_line(struct ctl_text *text)
{
    const char *end = memchr(text->bytes, '\n', text->size);
    size_t size = end != NULL ? (size_t)(end - text->bytes) : text->size;
    struct ctl_text line = {text->bytes, size};
    size += end != NULL ? 1 : 0;
    text->bytes += size;
    text->size -= size;
    return line;
}

bool ctl_next_pair(struct ctl_text *text, struct ctl_text *key, struct ctl_text *value)
{
    while (text->size != 0) {
        struct ctl_text line = ctl_take_line(text);
        if (line.size == 0)
            continue;
        const char *equals = memchr(line.bytes, '=', line.size);
        size_t size = equals != NULL ? (size_t)(equals - line.bytes) : line.size;
        size_t skip = size + (equals != NULL ? 1 : 0);
        *key = (struct ctl_text){line.bytes, size};
        *value = (struct ctl_text){line.bytes + skip, line.size - skip};
        return true;
    }
    return false;
}

/* ---- plain -------------------------------------------------------------------------------------- */

void ctl_put(struct ctl_out *out, const char *bytes, size_t size)
{
    if (size != 0 && !buffer_add(&out->buffer, bytes, size))
        out->failed = true;
}

void ctl_put_string(struct ctl_out *out, const char *string)
{
    ctl_put(out, string, strlen(string));
}

void ctl_put_format(struct ctl_out *out, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0 || !buffer_reserve(&out->buffer, (size_t)length + 1)) {
        out->failed = true;
    } else {
        (void)vsnprintf(out->buffer.bytes + out->buffer.size, (size_t)length + 1, format, again);
        out->buffer.size += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

/* ---- characters --------------------------------------------------------------------------------- */

/* Takes a character off the text, which is not empty; -1 for a byte that begins none. */
static int32_t take_character(struct ctl_text *text)
{
    const unsigned char *p = (const unsigned char *)text->bytes;
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    int32_t code = length <= 1 ? p[0] : p[0] & (0xff >> (length + 1));
    bool good = length != 0 && length <= text->size && p[0] < 0xf5;
    for (size_t i = 1; good && i < length; i++) {
        good = (p[i] & 0xc0) == 0x80;
        code = code << 6 | (p[i] & 0x3f);
    }
    /* Longer than it need be, half a surrogate pair, or beyond the last one. */
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    good = good && code >= least[length] && (code < 0xd800 || code > 0xdfff) && code <= 0x10ffff;
    size_t taken = good ? length : 1;
    text->bytes += taken;
    text->size -= taken;
    return good ? code : -1;
}

static bool is_risky(int32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           code == 0x61c;
}

/* Puts the text with `escape` for each risky character. */
static void put_characters(struct ctl_out *out, struct ctl_text text, bool lines, bool json)
{
    while (text.size != 0) {
        const char *begin = text.bytes;
        int32_t code = take_character(&text);
        if (code < 0)
            ctl_put_string(out, REPLACEMENT);
        else if (lines && (code == '\n' || code == '\t'))
            ctl_put(out, begin, 1);
        else if (is_risky(code))
            ctl_put_format(out, "\\u%04x", (unsigned)code);
        else if (json && (code == '"' || code == '\\'))
            ctl_put_format(out, "\\%c", (int)code);
        else
            ctl_put(out, begin, (size_t)(text.bytes - begin));
    }
}

void ctl_put_safe(struct ctl_out *out, struct ctl_text text)
{
    put_characters(out, text, false, false);
}

void ctl_put_safe_lines(struct ctl_out *out, struct ctl_text text)
{
    put_characters(out, text, true, false);
}

size_t ctl_columns(const char *bytes, size_t size)
{
    size_t columns = 0;
    for (size_t i = 0; i < size; i++)
        columns += ((unsigned char)bytes[i] & 0xc0) != 0x80 ? 1 : 0;
    return columns;
}

/* ---- JSON --------------------------------------------------------------------------------------- */

/* A comma, if what stands before is a value. */
static void begin_value(struct ctl_out *out)
{
    const struct buffer *buffer = &out->buffer;
    char last = buffer->size != 0 ? buffer->bytes[buffer->size - 1] : '\n';
    if (strchr("{[:\n", last) == NULL)
        ctl_put(out, ",", 1);
}

void ctl_json_open(struct ctl_out *out, char bracket)
{
    begin_value(out);
    ctl_put(out, &bracket, 1);
}

void ctl_json_close(struct ctl_out *out, char bracket)
{
    ctl_put(out, &bracket, 1);
}

void ctl_json_text(struct ctl_out *out, struct ctl_text text)
{
    begin_value(out);
    ctl_put(out, "\"", 1);
    put_characters(out, text, false, true);
    ctl_put(out, "\"", 1);
}

void ctl_json_string(struct ctl_out *out, const char *string)
{
    ctl_json_text(out, ctl_text_of_string(string));
}

void ctl_json_key_text(struct ctl_out *out, struct ctl_text key)
{
    ctl_json_text(out, key);
    ctl_put(out, ":", 1);
}

void ctl_json_key(struct ctl_out *out, const char *key)
{
    ctl_json_key_text(out, ctl_text_of_string(key));
}

void ctl_json_u64(struct ctl_out *out, uint64_t number)
{
    begin_value(out);
    ctl_put_format(out, "%" PRIu64, number);
}

void ctl_json_word(struct ctl_out *out, const char *word)
{
    begin_value(out);
    ctl_put_string(out, word);
}

void ctl_json_uuid(struct ctl_out *out, const uint8_t uuid[16])
{
    begin_value(out);
    ctl_put(out, "\"", 1);
    for (unsigned i = 0; i < 16; i++)
        ctl_put_format(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    ctl_put(out, "\"", 1);
}

void ctl_json_pairs(struct ctl_out *out, struct ctl_text lines)
{
    struct ctl_text key, value;
    ctl_json_open(out, '{');
    while (ctl_next_pair(&lines, &key, &value)) {
        ctl_json_key_text(out, key);
        ctl_json_text(out, value);
    }
    ctl_json_close(out, '}');
}

/* ---- time ---------------------------------------------------------------------------------------- */

#define TICKS_PER_SECOND 10000000
#define SECONDS_TO_1970  INT64_C(11644473600)

/* False when the library cannot tell the date. */
static bool date_of(int64_t ticks, const char *format, char buffer[CTL_WORDS_MAX])
{
    time_t seconds = (time_t)(ticks / TICKS_PER_SECOND - SECONDS_TO_1970);
    const struct tm *date = ticks > 0 ? gmtime(&seconds) : NULL;
    return date != NULL && strftime(buffer, CTL_WORDS_MAX, format, date) != 0;
}

const char *ctl_time(int64_t ticks, char buffer[CTL_WORDS_MAX])
{
    if (ticks == 0)
        return "never";
    if (!date_of(ticks, "%Y-%m-%d %H:%M:%S", buffer))
        (void)snprintf(buffer, CTL_WORDS_MAX, "%" PRId64, ticks);
    return buffer;
}

void ctl_json_time(struct ctl_out *out, int64_t ticks)
{
    char buffer[CTL_WORDS_MAX];
    if (ticks != 0 && date_of(ticks, "%Y-%m-%dT%H:%M:%S", buffer)) {
        begin_value(out);
        ctl_put_format(out, "\"%s.%07dZ\"", buffer, (int)(ticks % TICKS_PER_SECOND));
    } else {
        ctl_json_word(out, "null");
    }
}

/* ---- numbers for people ---------------------------------------------------------------------------- */

/* "2 h 5 min", and "2 h" alone when it is just that. */
static void put_two(char buffer[CTL_WORDS_MAX], uint64_t number, const char *unit, uint64_t rest,
                    const char *smaller)
{
    if (rest != 0)
        (void)snprintf(buffer, CTL_WORDS_MAX, "%" PRIu64 " %s %" PRIu64 " %s", number, unit, rest,
                       smaller);
    else
        (void)snprintf(buffer, CTL_WORDS_MAX, "%" PRIu64 " %s", number, unit);
}

const char *ctl_duration(uint64_t ns, char buffer[CTL_WORDS_MAX])
{
    uint64_t seconds = ns / 1000000000u;
    uint64_t minutes = seconds / 60;
    uint64_t hours = minutes / 60;
    if (minutes == 0)
        put_two(buffer, seconds, "s", 0, "");
    else if (hours == 0)
        put_two(buffer, minutes, "min", seconds % 60, "s");
    else if (hours < 48)
        put_two(buffer, hours, "h", minutes % 60, "min");
    else
        put_two(buffer, hours / 24, "days", hours % 24, "h");
    return buffer;
}

/* With one decimal where that says something. */
static const char *scaled(uint64_t number, uint64_t step, const char *const *units, unsigned count,
                          char buffer[CTL_WORDS_MAX])
{
    unsigned unit = 0;
    double value = (double)number;
    while (unit + 1 < count && value >= (double)step) {
        value /= (double)step;
        unit++;
    }
    (void)snprintf(buffer, CTL_WORDS_MAX, "%.*f %s", unit == 0 || value >= 100 ? 0 : 1, value,
                   units[unit]);
    return buffer;
}

const char *ctl_bytes(uint64_t bytes, char buffer[CTL_WORDS_MAX])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    return scaled(bytes, 1024, units, 5, buffer);
}

const char *ctl_short_time(uint64_t ns, char buffer[CTL_WORDS_MAX])
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    return scaled(ns, 1000, units, 4, buffer);
}
