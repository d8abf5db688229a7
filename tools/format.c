/*
 * Events as they are printed: the library's JSON as it is, the same indented, or a line for people. The
 * last two are made from the JSON text, which is known to be valid; they know no event's structure and
 * print what newer sensors send. Called by main; one thread, no state.
 *
 * A line for people has no way to fool a terminal: control characters come escaped from the library, and
 * those beyond ASCII (C1 controls, DEL, changes of direction, line and paragraph separators) are escaped
 * here.
 */
#include "format.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- JSON ------------------------------------------------------------------------------------------------- */

static bool add_json(struct buffer *out, const wvu_message *message,
                     const struct wvu_record *record)
{
    /* Most events are far smaller; for the others the first attempt says what they need. */
    size_t need = 4096;
    for (;;) {
        if (!buffer_reserve(out, need))
            return false;
        size_t length =
            wvu_json(message, record, out->bytes + out->size, out->capacity - out->size);
        if (length < out->capacity - out->size) {
            out->size += length;
            return true;
        }
        need = length + 1;
    }
}

/* The place behind the string that begins at p. */
static const char *skip_string(const char *p)
{
    for (p++; *p != '"'; p++) {
        if (*p == '\\')
            p++;
    }
    return p + 1;
}

static bool add_line_end(struct buffer *out, unsigned depth)
{
    if (!buffer_reserve(out, 1 + (size_t)depth * 2))
        return false;
    out->bytes[out->size++] = '\n';
    memset(out->bytes + out->size, ' ', (size_t)depth * 2);
    out->size += (size_t)depth * 2;
    return true;
}

static bool add_pretty(struct buffer *out, const char *json)
{
    unsigned depth = 0;
    bool good = true;
    for (const char *p = json; *p != '\0' && good;) {
        const char *end = *p == '"' ? skip_string(p) : p + 1;
        bool opens = *p == '{' || *p == '[';
        bool closes = *p == '}' || *p == ']';
        bool empty =
            (opens && (p[1] == '}' || p[1] == ']')) || (closes && (p[-1] == '{' || p[-1] == '['));
        if (opens)
            depth++;
        if (closes) {
            depth--;
            good = empty || add_line_end(out, depth);
        }
        good = good && buffer_add(out, p, (size_t)(end - p));
        if (*p == ':')
            good = good && buffer_add(out, " ", 1);
        if (*p == ',' || (opens && !empty))
            good = good && add_line_end(out, depth);
        p = end;
    }
    return good;
}

/* ---- lines for people --------------------------------------------------------------------------------------- */

/* A key and its value in the event's JSON. */
struct member {
    const char *key;
    size_t key_size;
    const char *value;
    size_t value_size;
};

/* The member that begins at *p, which moves to the one behind it. False: there are no more. */
static bool next_member(const char **p, struct member *member)
{
    const char *at = *p;
    if (*at != ',' && *at != '{')
        return false;
    member->key = at + 2;
    at = skip_string(at + 1);
    member->key_size = (size_t)(at - 1 - member->key);
    member->value = ++at; /* behind the colon */
    unsigned depth = 0;
    while (depth != 0 || (*at != ',' && *at != '}')) {
        if (*at == '{' || *at == '[')
            depth++;
        else if (*at == '}' || *at == ']')
            depth--;
        at = *at == '"' ? skip_string(at) : at + 1;
    }
    member->value_size = (size_t)(at - member->value);
    *p = at;
    return true;
}

static bool is_key(const struct member *member, const char *key)
{
    return strlen(key) == member->key_size && memcmp(member->key, key, member->key_size) == 0;
}

static bool find_member(const char *json, const char *key, struct member *member)
{
    while (next_member(&json, member)) {
        if (is_key(member, key))
            return true;
    }
    return false;
}

/* Length of a UTF-8 sequence that a terminal should not get, or 0. */
static size_t is_risky(const unsigned char *p, unsigned *code)
{
    if (p[0] == 0x7f) {
        *code = p[0];
        return 1;
    }
    if (p[0] == 0xc2 && p[1] < 0xa0) {
        *code = p[1];
        return 2;
    }
    if (p[0] == 0xe2 && (p[1] == 0x80 || p[1] == 0x81)) {
        *code = 0x2000u + (p[1] & 1u) * 0x40 + (p[2] & 0x3fu);
        bool mark = *code == 0x200e || *code == 0x200f;
        bool separator_or_direction = *code >= 0x2028 && *code <= 0x202e;
        bool isolate = *code >= 0x2066 && *code <= 0x2069;
        return mark || separator_or_direction || isolate ? 3 : 0;
    }
    return 0;
}

/* The inside of a JSON string, quotes and backslashes as themselves, other escapes as they are. */
static bool add_plain(struct buffer *out, const char *p, const char *end)
{
    bool good = true;
    while (p < end && good) {
        char escape[8];
        unsigned code;
        size_t risky = is_risky((const unsigned char *)p, &code);
        if (risky != 0) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", code);
            good = buffer_add(out, escape, 6);
            p += risky;
        } else if (p[0] == '\\') {
            bool as_itself = p[1] == '"' || p[1] == '\\';
            good = as_itself ? buffer_add(out, p + 1, 1) : buffer_add(out, p, 2);
            p += 2;
        } else {
            good = buffer_add(out, p++, 1);
        }
    }
    return good;
}

static bool add_text(struct buffer *out, const char *text)
{
    return buffer_add(out, text, strlen(text));
}

static bool add_value(struct buffer *out, const struct member *member)
{
    if (member->value[0] == '"')
        return add_plain(out, member->value + 1, member->value + member->value_size - 1);
    return add_plain(out, member->value, member->value + member->value_size);
}

/* What a line shows of an event, in this order; a label ends in '='. Events that are not here, and unknown
 * ones, show all they have. */
struct line {
    uint16_t type;
    const char *color;
    struct {
        const char *label;
        const char *key;
    } parts[8];
};

#define GREEN  "\x1b[32m"
#define RED    "\x1b[31m"
#define BLUE   "\x1b[34m"
#define YELLOW "\x1b[33m"
#define ALARM  "\x1b[1;31m"
#define DIM    "\x1b[2m"
#define RESET  "\x1b[0m"

/* What lines show of registry events. */
/* clang-format off */
#define REGISTRY_VALUE                                                                             \
    {"", "KeyName"}, {"value=", "ValueName"}, {"type=", "Type"}, {"size=", "DataSize"},            \
    {"data=", "Data"}, {"status=", "Status"}
#define REGISTRY_KEY {"", "KeyName"}, {"to=", "NewName"}, {"", "Disposition"}, {"status=", "Status"}
/* clang-format on */

static const struct line lines[] = {
    {WVU_EVENT_ImageLoad,
     BLUE,
     {{"", "FullImageName"},
      {"base=", "ImageBase"},
      {"size=", "ImageSize"},
      {"build=", "BuildId"}}},
    {WVU_EVENT_ProcessCreate,
     GREEN,
     {{"", "CommandLine"},
      {"image=", "ImageFileName"},
      {"cause=", "Cause"},
      {"parent=", "ParentProcessId"},
      {"user=", "UserId"},
      {"user=", "UserSid"},
      {"in=", "WorkingDirectory"}}},
    {WVU_EVENT_ProcessDestroy,
     RED,
     {{"exit=", "ExitCode"}, {"signal=", "Signal"}, {"core=", "CoreDumped"}}},
    {WVU_EVENT_ThreadCreate,
     GREEN,
     {{"thread=", "ThreadId"},
      {"start=", "Win32StartAddress"},
      {"by=", "CreatorProcessId"},
      {"remote=", "Remote"}}},
    {WVU_EVENT_ThreadDestroy, RED, {{"thread=", "ThreadId"}}},
    {WVU_EVENT_ProcessListValidationFailed,
     ALARM,
     {{"", "ImageFileName"}, {"in=", "InLists"}, {"not in=", "NotInLists"}, {"status=", "Status"}}},
    {WVU_EVENT_RegQueryValueKeyInfo, BLUE, {REGISTRY_VALUE}},
    {WVU_EVENT_RegCreateKeyInfo, BLUE, {REGISTRY_KEY}},
    {WVU_EVENT_RegSetValueKeyInfo, GREEN, {REGISTRY_VALUE}},
    {WVU_EVENT_RegOpenKeyInfo, BLUE, {REGISTRY_KEY}},
    {WVU_EVENT_RegDeleteValueKeyInfo, RED, {REGISTRY_VALUE}},
    {WVU_EVENT_RegRenameKeyInfo, GREEN, {REGISTRY_KEY}},
    {WVU_EVENT_RegDeleteKeyInfo, RED, {REGISTRY_KEY}},
    {WVU_EVENT_SensorStart,
     YELLOW,
     {{"", "HostName"}, {"sensor=", "SensorVersion"}, {"system=", "SystemVersion"}}},
    {WVU_EVENT_SensorStop,
     YELLOW,
     {{"", "Reason"},
      {"accepted=", "Accepted"},
      {"delivered=", "Delivered"},
      {"lost=", "LostEvents"}}},
    {WVU_EVENT_ProbeStateChanged,
     YELLOW,
     {{"", "ProbeName"}, {"", "State"}, {"status=", "Status"}, {"", "Reason"}}},
    {WVU_EVENT_EventsLost,
     ALARM,
     {{"count=", "Count"}, {"from=", "FirstSequence"}, {"to=", "LastSequence"}, {"", "Lost"}}},
    {WVU_EVENT_CommandExecuted,
     YELLOW,
     {{"", "Command"},
      {"", "Target"},
      {"status=", "Status"},
      {"by=", "ImageFileName"},
      {"user=", "UserId"},
      {"user=", "UserSid"},
      {"", "Detail"}}},
    {WVU_EVENT_Mitigation,
     ALARM,
     {{"", "Action"},
      {"", "Outcome"},
      {"", "ImageFileName"},
      {"rule=", "Rule"},
      {"by=", "RequesterProcessId"},
      {"status=", "Status"},
      {"", "Reason"}}},
    {WVU_EVENT_StopRefused,
     ALARM,
     {{"", "Attempt"}, {"by=", "ImageFileName"}, {"user=", "UserId"}}},
};

static const struct line *find_line(uint16_t type)
{
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (lines[i].type == type)
            return &lines[i];
    }
    return NULL;
}

static bool add_parts(struct buffer *out, const struct line *line, const char *json)
{
    bool good = true;
    for (size_t i = 0; i < sizeof line->parts / sizeof line->parts[0]; i++) {
        struct member member;
        if (line->parts[i].key != NULL && find_member(json, line->parts[i].key, &member))
            good = good && add_text(out, "  ") && add_text(out, line->parts[i].label) &&
                   add_value(out, &member);
    }
    return good;
}

/* All members but those that every line shows, and those that only programs need. */
static bool add_all(struct buffer *out, const char *json)
{
    static const char *const left_out[] = {"sensor_id", "sensor_type", "CurrentGMT", "BootId",
                                           "Sequence",  "Timestamp",   "ProcessId",  "ProcessKey"};
    struct member member;
    bool good = true;
    while (good && next_member(&json, &member)) {
        bool show = true;
        for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
            show = show && !is_key(&member, left_out[i]);
        if (show)
            good = add_text(out, "  ") && buffer_add(out, member.key, member.key_size) &&
                   add_text(out, "=") && add_value(out, &member);
    }
    return good;
}

/* "2026-11-22T12:00:00.1234567Z" becomes 2026-11-22 12:00:00.123456: to the microsecond. */
static bool add_time(struct buffer *out, const struct member *time)
{
    const char *begin = time->value + 1;
    const char *end = time->value + time->value_size - 3;
    const char *middle = memchr(begin, 'T', (size_t)(end - begin));
    return middle != NULL && buffer_add(out, begin, (size_t)(middle - begin)) &&
           add_text(out, " ") && buffer_add(out, middle + 1, (size_t)(end - middle - 1));
}

/* Pads the text of `size` bytes that was added last to `width`, on its left if so wished. */
static bool pad(struct buffer *out, size_t size, size_t width, bool on_the_left)
{
    size_t more = size < width ? width - size : 0;
    if (!buffer_reserve(out, more))
        return false;
    char *begin = out->bytes + out->size - size;
    if (on_the_left)
        memmove(begin + more, begin, size);
    memset(on_the_left ? begin : begin + size, ' ', more);
    out->size += more;
    return true;
}

static bool add_line(struct buffer *out, const char *json, uint16_t type, bool color)
{
    const struct line *line = find_line(type);
    struct member time, name, pid;
    if (!find_member(json, "Timestamp", &time) || !find_member(json, "sensor_type", &name))
        return false;
    if (!find_member(json, "ProcessId", &pid))
        pid = (struct member){.value = "-", .value_size = 1};

    bool good = add_text(out, color ? DIM : "") && add_time(out, &time) &&
                add_text(out, color ? RESET "  " : "  ");
    good = good && add_text(out, color && line != NULL ? line->color : "");
    good = good && add_value(out, &name) && pad(out, name.value_size - 2, 17, false);
    good = good && add_text(out, color && line != NULL ? RESET "  " : "  ");
    good = good && add_value(out, &pid) && pad(out, pid.value_size, 7, true);
    return good && (line != NULL ? add_parts(out, line, json) : add_all(out, json));
}

/* ---- all formats ------------------------------------------------------------------------------------------------ */

bool format_event(enum format format, bool color, const wvu_message *message,
                  const struct wvu_record *record, struct buffer *out, struct buffer *scratch)
{
    size_t before = out->size;
    bool good;
    if (format == FORMAT_JSON) {
        good = add_json(out, message, record);
    } else {
        scratch->size = 0;
        good = add_json(scratch, message, record); /* ends with a NUL */
        if (good)
            good = format == FORMAT_PRETTY ? add_pretty(out, scratch->bytes)
                                           : add_line(out, scratch->bytes, record->type, color);
    }
    good = good && buffer_add(out, "\n", 1);
    if (!good)
        out->size = before;
    return good;
}
