/*
 * The grammar of rules: one line after the other, each checked as a whole. Called by filter.c when a filter is
 * made, at PASSIVE; no state besides the reader's.
 *
 *     line      = [ action { blank condition } ] [ "#" comment ]
 *     condition = key "=" value
 *     value     = characters without blanks and quotes | '"' { any | '\"' | '\\' } '"'
 *     default   = "default" ( "include" | "exclude" )
 *
 * Every message names the line, shows the word that is wrong, and says what would be right. Words come from
 * anybody: a message shows at most WORD_SHOWN bytes of them, and only what is UTF-8.
 */
#include "filter_text.h"

#include <string.h>

#include "record.h"

#define REASON_SIZE   256u
#define WORD_SHOWN    48u
#define SENSOR_EVENTS 0x2000u /* types from here on are the sensor's own */
#define LAST_USER     UINT32_C(0xFFFFFFFE)

#define BIT(n) (1u << (n))
#define VIEW   (BIT(WVU_RULE_INCLUDE) | BIT(WVU_RULE_EXCLUDE))
#define ACT    (BIT(WVU_RULE_DENY) | BIT(WVU_RULE_PROTECT))

static const char *const actions[] = {[WVU_RULE_INCLUDE] = "include",
                                      [WVU_RULE_EXCLUDE] = "exclude",
                                      [WVU_RULE_DENY] = "deny",
                                      [WVU_RULE_PROTECT] = "protect",
                                      [WVU_RULE_DEFAULT] = "default"};

static const struct {
    const char *name;
    uint32_t actions; /* that take it */
    const char *elsewhere;
} keys[WVU_RULE_KEYS] = {
    [WVU_RULE_IMAGE] = {"image", VIEW | ACT, ""},
    [WVU_RULE_IMAGE_PREFIX] = {"image-prefix", VIEW | ACT, ""},
    [WVU_RULE_IMAGE_SUFFIX] = {"image-suffix", VIEW | ACT, ""},
    [WVU_RULE_PARENT] = {"parent", VIEW | ACT, ""},
    [WVU_RULE_PARENT_PREFIX] = {"parent-prefix", VIEW | ACT, ""},
    [WVU_RULE_PARENT_SUFFIX] = {"parent-suffix", VIEW | ACT, ""},
    [WVU_RULE_USER] = {"user", VIEW | ACT, ""},
    [WVU_RULE_EVENT] = {"event", VIEW,
                        "goes with include and exclude: deny and protect are about "
                        "processes, whatever their events"},
    [WVU_RULE_MODE] = {"mode", BIT(WVU_RULE_DENY), "goes with deny only"},
    [WVU_RULE_NAME] = {"name", ACT, "goes with deny and protect only"},
};

#define CONDITIONS "image, image-prefix, image-suffix, parent, parent-prefix, parent-suffix, user"

static const struct {
    const char *name;
    uint16_t type;
} events[] = {
#define WVU_EVENT(number, name, structure, description) {#name, (number)},
#include "winvirtue/events.def"
};

/* ---- messages ------------------------------------------------------------------------------- */

static bool is_continuation(const char *at)
{
    return ((unsigned char)*at & 0xC0u) == 0x80u;
}

bool wvu_utf8_next(struct wvu_word *rest, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t first = (unsigned char)rest->text[0];
    uint32_t size = first < 0x80    ? 1
                    : first < 0xC2  ? 0
                    : first < 0xE0  ? 2
                    : first < 0xF0  ? 3
                    : first <= 0xF4 ? 4
                                    : 0;
    if (size == 0 || size > rest->length)
        return false;
    uint32_t value = size == 1 ? first : first & (0xFFu >> (size + 1));
    for (uint32_t i = 1; i < size; i++) {
        if (!is_continuation(rest->text + i))
            return false;
        value = value << 6 | ((unsigned char)rest->text[i] & 0x3Fu);
    }
    if (value < least[size] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return false;
    rest->text += size;
    rest->length -= size;
    *character = value;
    return true;
}

/* Characters that are not UTF-8 become '?'. */
static void build_shown(struct wvu_builder *builder, const struct wvu_word *word)
{
    struct wvu_word rest = *word;
    while (rest.length != 0) {
        struct wvu_word character = rest;
        uint32_t code;
        if (word->length - rest.length >= WORD_SHOWN) {
            wvu_build_text(builder, "...");
            return;
        }
        if (!wvu_utf8_next(&rest, &code)) {
            code = 0;
            rest.text++;
            rest.length--;
        }
        character.length = (size_t)(rest.text - character.text);
        if (code >= 0x20 && code != 0x7F)
            wvu_build_word(builder, &character);
        else
            wvu_build_text(builder, "?"); /* a tab in quotes, or no UTF-8 */
    }
}

static void build_line(struct wvu_builder *builder, char *reason, uint32_t line)
{
    wvu_build_begin(builder, reason, REASON_SIZE);
    wvu_build_text(builder, "line ");
    wvu_build_number(builder, line);
    wvu_build_text(builder, ": ");
}

wvu_status wvu_rule_refuse(const struct wvu_rule_reader *reader, uint32_t line, const char *why)
{
    struct wvu_builder builder;
    build_line(&builder, reader->reason, line);
    wvu_build_text(&builder, why);
    return WVU_STATUS_INVALID_PARAMETER;
}

static wvu_status refuse(const struct wvu_rule_reader *reader, const char *why)
{
    return wvu_rule_refuse(reader, reader->line, why);
}

static wvu_status refuse_word(const struct wvu_rule_reader *reader, const struct wvu_word *word,
                              const char *why)
{
    struct wvu_builder builder;
    build_line(&builder, reader->reason, reader->line);
    wvu_build_text(&builder, "'");
    build_shown(&builder, word);
    wvu_build_text(&builder, "' ");
    wvu_build_text(&builder, why);
    return WVU_STATUS_INVALID_PARAMETER;
}

static wvu_status refuse_key(const struct wvu_rule_reader *reader, enum wvu_rule_key key,
                             const char *why)
{
    struct wvu_builder builder;
    build_line(&builder, reader->reason, reader->line);
    wvu_build_text(&builder, keys[key].name);
    wvu_build_text(&builder, "= ");
    wvu_build_text(&builder, why);
    return WVU_STATUS_INVALID_PARAMETER;
}

/* ---- words of a line ------------------------------------------------------------------------ */

/* What is left of a line. Its text may be written, and one byte after it. */
struct line {
    char *at;
    char *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct wvu_word between(const char *from, const char *to)
{
    return (struct wvu_word){from, (size_t)(to - from)};
}

/* False: the line has no further word. */
static bool find_word(struct line *line)
{
    while (line->at != line->end && is_blank(*line->at))
        line->at++;
    return line->at != line->end && *line->at != '#';
}

/* The word at line->at, which is not to have a value. */
static struct wvu_word take_bare(struct line *line)
{
    char *from = line->at;
    while (line->at != line->end && !is_blank(*line->at))
        line->at++;
    return between(from, line->at);
}

static wvu_status take_quoted(const struct wvu_rule_reader *reader, struct line *line,
                              struct wvu_word *value)
{
    char *from = ++line->at;
    char *to = from;
    for (; line->at != line->end && *line->at != '"'; line->at++) {
        if (*line->at == '\\') {
            line->at++;
            if (line->at == line->end || (*line->at != '\\' && *line->at != '"'))
                return refuse(reader, "a backslash in quotes: write \\\\ for a backslash and \\\" "
                                      "for a quote, or leave the quotes off where there is no "
                                      "blank");
        }
        *to++ = *line->at;
    }
    if (line->at == line->end)
        return refuse(reader, "the quotes have no end; a quote in quotes is written \\\"");
    line->at++;
    if (line->at != line->end && !is_blank(*line->at))
        return refuse(reader, "after the second quote there must be a blank");
    *value = between(from, to);
    *to = '\0';
    return WVU_STATUS_OK;
}

static wvu_status take_plain(const struct wvu_rule_reader *reader, struct line *line,
                             struct wvu_word *value)
{
    *value = take_bare(line);
    if (value->length != 0 && memchr(value->text, '"', value->length) != NULL)
        return refuse_word(reader, value,
                           "has a quote inside: put the whole value into quotes, and "
                           "write \\\" for a quote in it");
    char *after = line->at;
    if (line->at != line->end)
        line->at++;
    *after = '\0';
    return WVU_STATUS_OK;
}

/* The word at line->at as key=value. */
static wvu_status take_pair(const struct wvu_rule_reader *reader, struct line *line,
                            struct wvu_word *key, struct wvu_word *value)
{
    char *from = line->at;
    while (line->at != line->end && *line->at != '=' && !is_blank(*line->at))
        line->at++;
    *key = between(from, line->at);
    if (line->at == line->end || *line->at != '=')
        return refuse_word(reader, key, "is not of the form condition=value");
    line->at++;
    if (line->at != line->end && *line->at == '"')
        return take_quoted(reader, line, value);
    return take_plain(reader, line, value);
}

/* ---- values --------------------------------------------------------------------------------- */

static bool is_utf8(const struct wvu_word *word)
{
    struct wvu_word rest = *word;
    uint32_t character;
    while (rest.length != 0) {
        if (!wvu_utf8_next(&rest, &character))
            return false;
    }
    return true;
}

uint32_t wvu_rule_events(void)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (events[i].type < SENSOR_EVENTS)
            mask |= BIT(wvu_event_index(events[i].type));
    }
    return mask;
}

static wvu_status read_event(const struct wvu_rule_reader *reader, const struct wvu_word *name,
                             uint32_t *mask)
{
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (!wvu_word_is(name, events[i].name))
            continue;
        if (events[i].type >= SENSOR_EVENTS)
            return refuse_word(reader, name,
                               "is always reported: rules are for the events of "
                               "probes");
        *mask |= BIT(wvu_event_index(events[i].type));
        return WVU_STATUS_OK;
    }
    return refuse_word(reader, name,
                       "is not an event; events have names like ProcessCreate or "
                       "ImageLoad, separated by commas (`wvuctl schema` lists them)");
}

static wvu_status read_events(const struct wvu_rule_reader *reader, struct wvu_word list,
                              uint32_t *mask)
{
    struct wvu_word name;
    wvu_status status = WVU_STATUS_OK;
    *mask = 0;
    while (status == WVU_STATUS_OK && wvu_word_split(&list, ',', &name, &list))
        status = read_event(reader, &name, mask);
    return status == WVU_STATUS_OK ? read_event(reader, &list, mask) : status;
}

static wvu_status read_mode(const struct wvu_rule_reader *reader, const struct wvu_word *value,
                            enum wvu_filter_deny *deny)
{
    if (!wvu_word_is(value, "report") && !wvu_word_is(value, "enforce"))
        return refuse_word(reader, value,
                           "is not a mode; there are report (say what would be done) "
                           "and enforce (do it)");
    *deny = wvu_word_is(value, "enforce") ? WVU_DENY_ENFORCE : WVU_DENY_REPORT;
    return WVU_STATUS_OK;
}

/* S-1-5-21-...: the form is all that is checked. */
static bool is_sid(const struct wvu_word *value)
{
    if (value->length < 6 || (value->text[0] != 'S' && value->text[0] != 's') ||
        value->text[1] != '-' || value->text[value->length - 1] == '-')
        return false;
    for (size_t i = 2; i < value->length; i++) {
        char c = value->text[i];
        bool is_hex = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == 'x' || c == 'X';
        if (!(c >= '0' && c <= '9') && !is_hex && !(c == '-' && value->text[i - 1] != '-'))
            return false;
    }
    return true;
}

static wvu_status read_user(const struct wvu_rule_reader *reader, const struct wvu_word *value,
                            uint32_t *user_id)
{
    uint64_t number;
    if (reader->windows)
        return is_sid(value) ? WVU_STATUS_OK
                             : refuse_word(reader, value,
                                           "is not a security identifier: users are "
                                           "written like user=S-1-5-18 here");
    if (!wvu_word_number(value, &number) || number > LAST_USER)
        return refuse_word(reader, value,
                           "is not a user id: users are written as numbers here, like "
                           "user=1000");
    *user_id = (uint32_t)number;
    return WVU_STATUS_OK;
}

static wvu_status read_name(const struct wvu_rule_reader *reader, const struct wvu_word *value)
{
    if (value->length >= WVU_FILTER_NAME_MAX)
        return refuse_word(reader, value, "is too long for a name; 63 bytes are the most");
    if (!is_utf8(value))
        return refuse_word(reader, value, "is not UTF-8, as names must be");
    return WVU_STATUS_OK;
}

static wvu_status read_value(const struct wvu_rule_reader *reader, enum wvu_rule_key key,
                             struct wvu_rule_text *rule)
{
    const struct wvu_word *value = &rule->value[key];
    switch (key) {
    case WVU_RULE_EVENT:
        return read_events(reader, *value, &rule->events);
    case WVU_RULE_MODE:
        return read_mode(reader, value, &rule->deny);
    case WVU_RULE_NAME:
        return read_name(reader, value);
    case WVU_RULE_USER:
        return read_user(reader, value, &rule->user_id);
    default: /* a path: what the host takes */
        if (reader->windows && !is_utf8(value))
            return refuse_word(reader, value, "is not UTF-8; save the rules as UTF-8");
        return WVU_STATUS_OK;
    }
}

/* ---- rules ---------------------------------------------------------------------------------- */

static enum wvu_rule_key find_key(const struct wvu_word *name)
{
    uint32_t key = 0;
    while (key < WVU_RULE_KEYS && !wvu_word_is(name, keys[key].name))
        key++;
    return (enum wvu_rule_key)key;
}

static wvu_status refuse_unknown(const struct wvu_rule_reader *reader, const struct wvu_word *name,
                                 enum wvu_rule_action action)
{
    return refuse_word(reader, name,
                       (BIT(action) & VIEW) != 0
                           ? "is not a condition; there are event, " CONDITIONS
                       : action == WVU_RULE_DENY
                           ? "is not a condition; there are " CONDITIONS ", and mode and name"
                           : "is not a condition; there are " CONDITIONS ", and name");
}

static wvu_status read_pair(const struct wvu_rule_reader *reader, struct line *line,
                            struct wvu_rule_text *rule)
{
    struct wvu_word name, value;
    wvu_status status = take_pair(reader, line, &name, &value);
    if (status != WVU_STATUS_OK)
        return status;
    enum wvu_rule_key key = find_key(&name);
    if (key == WVU_RULE_KEYS)
        return refuse_unknown(reader, &name, rule->action);
    if ((keys[key].actions & BIT(rule->action)) == 0)
        return refuse_key(reader, key, keys[key].elsewhere);
    if ((rule->given & BIT(key)) != 0)
        return refuse_key(reader, key,
                          "is given twice; all conditions of a rule must hold: write a "
                          "rule for each");
    if (value.length == 0)
        return refuse_key(reader, key, "has no value");
    rule->given |= BIT(key);
    rule->value[key] = value;
    return read_value(reader, key, rule);
}

static wvu_status read_default(struct wvu_rule_reader *reader, struct line *line,
                               struct wvu_rule_text *rule)
{
    struct wvu_word what = {"", 0};
    if (find_word(line))
        what = take_bare(line);
    if (!wvu_word_is(&what, "include") && !wvu_word_is(&what, "exclude"))
        return refuse_word(reader, &what,
                           "is no default; write default include or default exclude");
    if (find_word(line)) {
        what = take_bare(line);
        return refuse_word(reader, &what, "is too much: default has no conditions");
    }
    if (reader->default_line != 0)
        return refuse(reader, "there is a default already, on a line before; one is enough");
    reader->default_line = reader->line;
    rule->includes = wvu_word_is(&what, "include");
    return WVU_STATUS_OK;
}

static wvu_status read_rule(struct wvu_rule_reader *reader, struct line *line,
                            struct wvu_rule_text *rule)
{
    const uint32_t conditions = BIT(WVU_RULE_EVENT) - 1; /* those before it */
    struct wvu_word word = take_bare(line);
    uint32_t action = WVU_RULE_INCLUDE;
    while (action <= WVU_RULE_DEFAULT && !wvu_word_is(&word, actions[action]))
        action++;
    if (action > WVU_RULE_DEFAULT)
        return refuse_word(reader, &word,
                           "is not an action; there are include, exclude, deny, "
                           "protect, default");
    *rule = (struct wvu_rule_text){.action = (enum wvu_rule_action)action,
                                   .line = reader->line,
                                   .events = wvu_rule_events(),
                                   .deny = WVU_DENY_REPORT};
    if (++reader->rules > WVU_FILTER_RULES_MAX)
        return refuse(reader, "there are too many rules; 1024 are the most");
    if (action == WVU_RULE_DEFAULT)
        return read_default(reader, line, rule);

    wvu_status status = WVU_STATUS_OK;
    while (status == WVU_STATUS_OK && find_word(line))
        status = read_pair(reader, line, rule);
    if (status == WVU_STATUS_OK && (BIT(action) & ACT) != 0 && (rule->given & conditions) == 0)
        return refuse(reader, "deny and protect need at least one condition, like image=PATH");
    return status;
}

/* Takes the next line off. */
static bool take_line(struct wvu_rule_reader *reader, struct line *line)
{
    struct wvu_word rest = {reader->text, reader->length}, word;
    if (!wvu_word_line(&rest, &word))
        return false;
    line->at = reader->text;
    line->end = reader->text + word.length;
    reader->text += reader->length - rest.length;
    reader->length = rest.length;
    reader->line++;
    return true;
}

/* A NUL would end a value early; others are what a file has that is not a text. */
static bool has_control(const struct line *line)
{
    for (const char *at = line->at; at != line->end; at++) {
        if ((unsigned char)*at < 0x20 && *at != '\t')
            return true;
    }
    return false;
}

wvu_status wvu_rule_next(struct wvu_rule_reader *reader, struct wvu_rule_text *rule)
{
    static const char mark[] = "\xEF\xBB\xBF"; /* that some editors put before UTF-8 */
    struct line line;
    while (take_line(reader, &line)) {
        if (reader->line == 1 && line.end - line.at >= 3 && memcmp(line.at, mark, 3) == 0)
            line.at += 3;
        if (has_control(&line))
            return refuse(reader, "there is a control character; is this a text?");
        if (find_word(&line))
            return read_rule(reader, &line, rule);
    }
    rule->action = WVU_RULE_NONE;
    return WVU_STATUS_OK;
}
