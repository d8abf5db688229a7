/*
 * Reads, checks and prints the configuration. Main thread; wvu_config_parse is also run by a fuzzer.
 *
 * One table has all keys: how a value is read, how it is written, what is allowed. Reading works on
 * slices of the text; a value is checked before anything is stored, and a file is read into a copy,
 * so that an error changes nothing.
 */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "dispatcher.h"
#include "log.h"
#include "log_sink.h"
#include "queue.h"
#include "run_dir.h"
#include "source.h"

struct slice {
    const char *text;
    size_t size;
};

struct key;
typedef bool reader(struct wvu_config *config, const struct key *key, struct slice value);
typedef void writer(const struct wvu_config *config, const struct key *key, char *text,
                    size_t size);

struct key {
    const char *name;
    reader *read;
    writer *write;
    writer *allowed;  /* what may stand there, for error messages */
    size_t member;    /* offset in struct wvu_config */
    size_t size;      /* of the member */
    uint32_t minimum; /* of the number, or of the text's length */
    uint32_t maximum; /* of the number */
};

/* ---- slices -------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
    while (s.size > 0 && is_blank(s.text[0])) {
        s.text++;
        s.size--;
    }
    while (s.size > 0 && is_blank(s.text[s.size - 1]))
        s.size--;
    return s;
}

/* A comment begins with # at the start or after a blank. */
static struct slice without_comment(struct slice line)
{
    for (size_t i = 0; i < line.size; i++)
        if (line.text[i] == '#' && (i == 0 || is_blank(line.text[i - 1])))
            line.size = i;
    return trim(line);
}

static bool equals(struct slice s, const char *word)
{
    return s.size == strlen(word) && strncasecmp(s.text, word, s.size) == 0;
}

/* Takes what is before the first `separator` off `rest`, trimmed; false at the end. */
static bool next_word(struct slice *rest, char separator, struct slice *word)
{
    if (rest->text == NULL)
        return false;
    const char *end = memchr(rest->text, separator, rest->size);
    size_t size = end != NULL ? (size_t)(end - rest->text) : rest->size;
    *word = trim((struct slice){rest->text, size});
    if (end != NULL)
        *rest = (struct slice){end + 1, rest->size - size - 1};
    else
        *rest = (struct slice){NULL, 0};
    return true;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static uint32_t *number_of(struct wvu_config *config, const struct key *key)
{
    return (uint32_t *)(void *)((char *)config + key->member);
}

static uint32_t number_in(const struct wvu_config *config, const struct key *key)
{
    uint32_t value;
    memcpy(&value, (const char *)config + key->member, sizeof value);
    return value;
}

/* Digits of the base; no sign, nothing else. */
static bool parse_digits(struct slice s, unsigned base, uint64_t *value)
{
    *value = 0;
    if (s.size == 0)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        char c = s.text[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit >= base || *value > UINT32_MAX)
            return false;
        *value = *value * base + digit;
    }
    return true;
}

static bool in_range(const struct key *key, uint64_t value)
{
    return value >= key->minimum && value <= key->maximum;
}

static bool read_number(struct wvu_config *config, const struct key *key, struct slice value)
{
    uint64_t number;
    if (!parse_digits(value, 10, &number) || !in_range(key, number))
        return false;
    *number_of(config, key) = (uint32_t)number;
    return true;
}

static void write_number(const struct wvu_config *config, const struct key *key, char *text,
                         size_t size)
{
    snprintf(text, size, "%u", number_in(config, key));
}

static void allowed_number(const struct wvu_config *config, const struct key *key, char *text,
                           size_t size)
{
    (void)config;
    snprintf(text, size, "%u to %u", key->minimum, key->maximum);
}

/* A number that may end in K or M. */
static bool read_size(struct wvu_config *config, const struct key *key, struct slice value)
{
    uint64_t unit = 1, number;
    if (value.size > 0) {
        char last = value.text[value.size - 1];
        if (last == 'K' || last == 'k')
            unit = 1u << 10;
        else if (last == 'M' || last == 'm')
            unit = 1u << 20;
        value.size -= unit > 1;
    }
    /* At most 2^36 times 2^20: no overflow. */
    if (!parse_digits(value, 10, &number) || !in_range(key, number * unit))
        return false;
    *number_of(config, key) = (uint32_t)(number * unit);
    return true;
}

static void write_size(const struct wvu_config *config, const struct key *key, char *text,
                       size_t size)
{
    uint32_t value = number_in(config, key);
    if (value != 0 && value % (1u << 20) == 0)
        snprintf(text, size, "%uM", value >> 20);
    else if (value != 0 && value % (1u << 10) == 0)
        snprintf(text, size, "%uK", value >> 10);
    else
        snprintf(text, size, "%u", value);
}

static void allowed_size(const struct wvu_config *config, const struct key *key, char *text,
                         size_t size)
{
    (void)config;
    snprintf(text, size, "%u to %u, K (1024) or M (1048576) may follow", key->minimum,
             key->maximum);
}

static bool read_power(struct wvu_config *config, const struct key *key, struct slice value)
{
    struct wvu_config copy = *config;
    if (!read_size(&copy, key, value))
        return false;
    uint32_t number = number_in(&copy, key);
    if ((number & (number - 1)) != 0)
        return false;
    *number_of(config, key) = number;
    return true;
}

static void allowed_power(const struct wvu_config *config, const struct key *key, char *text,
                          size_t size)
{
    (void)config;
    snprintf(text, size, "a power of two, %u to %u, K (1024) or M (1048576) may follow",
             key->minimum, key->maximum);
}

/* ---- names --------------------------------------------------------------------------------- */

static const uint32_t levels[] = {WVU_LOG_ERROR, WVU_LOG_WARNING, WVU_LOG_INFO, WVU_LOG_TRACE};

static bool read_level(struct wvu_config *config, const struct key *key, struct slice value)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (equals(value, wvu_log_level_name(levels[i]))) {
            *number_of(config, key) = levels[i];
            return true;
        }
    }
    return false;
}

static void write_level(const struct wvu_config *config, const struct key *key, char *text,
                        size_t size)
{
    snprintf(text, size, "%s", wvu_log_level_name(number_in(config, key)));
}

static void allowed_level(const struct wvu_config *config, const struct key *key, char *text,
                          size_t size)
{
    (void)config;
    (void)key;
    snprintf(text, size, "error, warning, info, trace");
}

static bool read_switch(struct wvu_config *config, const struct key *key, struct slice value)
{
    if (!equals(value, "yes") && !equals(value, "no"))
        return false;
    *number_of(config, key) = equals(value, "yes");
    return true;
}

static void write_switch(const struct wvu_config *config, const struct key *key, char *text,
                         size_t size)
{
    snprintf(text, size, "%s", number_in(config, key) != 0 ? "yes" : "no");
}

static void allowed_switch(const struct wvu_config *config, const struct key *key, char *text,
                           size_t size)
{
    (void)config;
    (void)key;
    snprintf(text, size, "yes, no");
}

/* A set of names, or "all": the nth name is `bit_of(n)`. */
typedef const char *name_at(const struct wvu_config *config, unsigned index, uint32_t *bit);

static bool find_name(const struct wvu_config *config, name_at *names, struct slice word,
                      uint32_t *bit)
{
    const char *name;
    for (unsigned i = 0; (name = names(config, i, bit)) != NULL; i++)
        if (equals(word, name))
            return true;
    return false;
}

static bool read_names(const struct wvu_config *config, name_at *names, struct slice value,
                       uint32_t *set)
{
    struct slice word;
    *set = 0;
    while (next_word(&value, ',', &word)) {
        uint32_t bit;
        if (!find_name(config, names, word, &bit))
            return false;
        *set |= bit;
    }
    return true;
}

/* Returns the bits that have no name. */
static uint32_t write_names(const struct wvu_config *config, name_at *names, uint32_t set,
                            char *text, size_t size)
{
    const char *name;
    uint32_t bit;
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; (name = names(config, i, &bit)) != NULL; i++) {
        if ((set & bit) != 0 && length < size)
            length += (size_t)snprintf(text + length, size - length, "%s%s",
                                       length != 0 ? ", " : "", name);
        set &= ~bit;
    }
    return set;
}

static const char *module_at(const struct wvu_config *config, unsigned index, uint32_t *bit)
{
    (void)config;
    return wvu_log_module_at(index, bit);
}

static bool read_modules(struct wvu_config *config, const struct key *key, struct slice value)
{
    uint64_t number;
    uint32_t set;
    bool hexadecimal = value.size > 2 && strncasecmp(value.text, "0x", 2) == 0;
    struct slice digits = {value.text + 2 * hexadecimal, value.size - 2 * hexadecimal};
    if (equals(value, "all"))
        set = WVU_LOG_ALL;
    else if (parse_digits(digits, hexadecimal ? 16 : 10, &number) && number <= UINT32_MAX)
        set = (uint32_t)number;
    else if (!read_names(config, module_at, value, &set))
        return false;
    *number_of(config, key) = set;
    return true;
}

static void write_modules(const struct wvu_config *config, const struct key *key, char *text,
                          size_t size)
{
    uint32_t set = number_in(config, key);
    if (set == WVU_LOG_ALL)
        snprintf(text, size, "all");
    else if (set == 0 || write_names(config, module_at, set, text, size) != 0)
        snprintf(text, size, "0x%08x", set);
}

static void allowed_modules(const struct wvu_config *config, const struct key *key, char *text,
                            size_t size)
{
    (void)key;
    char names[256];
    write_names(config, module_at, UINT32_MAX, names, sizeof names);
    snprintf(text, size, "all, a list of %s, or a number", names);
}

static const char *probe_at(const struct wvu_config *config, unsigned index, uint32_t *bit)
{
    const char *name = index < WVU_CONFIG_PROBES_MAX ? config->probe_names[index] : NULL;
    if (name != NULL)
        *bit = UINT32_C(1) << index;
    return name;
}

static uint32_t all_probes(const struct wvu_config *config)
{
    uint32_t set = 0, bit;
    for (unsigned i = 0; probe_at(config, i, &bit) != NULL; i++)
        set |= bit;
    return set;
}

static bool read_probes(struct wvu_config *config, const struct key *key, struct slice value)
{
    uint32_t set = all_probes(config);
    if (!equals(value, "all") && !read_names(config, probe_at, value, &set))
        return false;
    *number_of(config, key) = set;
    return true;
}

static void write_probes(const struct wvu_config *config, const struct key *key, char *text,
                         size_t size)
{
    uint32_t set = number_in(config, key);
    if (set == all_probes(config))
        snprintf(text, size, "all");
    else
        write_names(config, probe_at, set, text, size);
}

static void allowed_probes(const struct wvu_config *config, const struct key *key, char *text,
                           size_t size)
{
    (void)key;
    char names[256];
    write_names(config, probe_at, UINT32_MAX, names, sizeof names);
    snprintf(text, size, "all, or a list of %s", names);
}

/* ---- texts --------------------------------------------------------------------------------- */

static bool read_text(struct wvu_config *config, const struct key *key, struct slice value)
{
    char *to = (char *)config + key->member;
    if (value.size < key->minimum || value.size >= key->size)
        return false;
    if (without_comment(value).size != value.size)
        return false; /* only on the command line: no file could say it */
    memcpy(to, value.text, value.size);
    memset(to + value.size, 0, key->size - value.size);
    return true;
}

static void write_text(const struct wvu_config *config, const struct key *key, char *text,
                       size_t size)
{
    snprintf(text, size, "%s", (const char *)config + key->member);
}

static void allowed_group(const struct wvu_config *config, const struct key *key, char *text,
                          size_t size)
{
    (void)config;
    snprintf(text, size, "the name or number of a group, at most %zu bytes; nothing for no group",
             key->size - 1);
}

static void allowed_path(const struct wvu_config *config, const struct key *key, char *text,
                         size_t size)
{
    (void)config;
    snprintf(text, size, "the path of a directory, at most %zu bytes", key->size - 1);
}

static void allowed_file(const struct wvu_config *config, const struct key *key, char *text,
                         size_t size)
{
    (void)config;
    snprintf(text, size, "the path of a file, at most %zu bytes; nothing for no rules",
             key->size - 1);
}

/* ---- the table ----------------------------------------------------------------------------- */

#define KEY(name, member, read, write, allowed, minimum, maximum)                                  \
    {                                                                                              \
        name, read, write, allowed, offsetof(struct wvu_config, member),                           \
            sizeof((struct wvu_config *)NULL)->member, minimum, maximum                            \
    }

static const struct key keys[WVU_CONFIG_KEYS] = {
    [WVU_CONFIG_QUEUE_RECORDS] = KEY("QueueRecords", queue_records, read_size, write_number,
                                     allowed_size, WVU_QUEUE_RECORDS_MIN, WVU_QUEUE_RECORDS_MAX),
    [WVU_CONFIG_QUEUE_BYTES] = KEY("QueueBytes", queue_bytes, read_size, write_size, allowed_size,
                                   WVU_QUEUE_BYTES_MIN, WVU_QUEUE_BYTES_MAX),
    [WVU_CONFIG_SEND_TIMEOUT_MS] =
        KEY("SendTimeoutMs", send_timeout_ms, read_number, write_number, allowed_number,
            WVU_SEND_TIMEOUT_MS_MIN, WVU_SEND_TIMEOUT_MS_MAX),
    [WVU_CONFIG_DRAIN_MS] =
        KEY("DrainMs", drain_ms, read_number, write_number, allowed_number, 0, WVU_DRAIN_MS_MAX),
    [WVU_CONFIG_LOG_LEVEL] =
        KEY("LogLevel", log_level, read_level, write_level, allowed_level, 0, 0),
    [WVU_CONFIG_LOG_MODULES] =
        KEY("LogModules", log_modules, read_modules, write_modules, allowed_modules, 0, 0),
    [WVU_CONFIG_GROUP] = KEY("Group", group, read_text, write_text, allowed_group, 0, 0),
    [WVU_CONFIG_RUN_DIR] = KEY("RunDir", run_dir, read_text, write_text, allowed_path, 1, 0),
    [WVU_CONFIG_RING_BYTES] = KEY("RingBytes", ring_bytes, read_power, write_size, allowed_power,
                                  WVU_RING_BYTES_MIN, WVU_RING_BYTES_MAX),
    [WVU_CONFIG_PROCESSES] = KEY("Processes", processes, read_size, write_number, allowed_size,
                                 WVU_PROCESSES_MIN, WVU_PROCESSES_MAX),
    [WVU_CONFIG_FILTER_FILE] =
        KEY("FilterFile", filter_file, read_text, write_text, allowed_file, 0, 0),
    [WVU_CONFIG_PROTECT] =
        KEY("Protect", is_protected, read_switch, write_switch, allowed_switch, 0, 0),
    [WVU_CONFIG_PROBES] = KEY("Probes", probes, read_probes, write_probes, allowed_probes, 0, 0),
};

static const struct key *find_key(struct slice name)
{
    for (size_t i = 0; i < WVU_CONFIG_KEYS; i++)
        if (equals(name, keys[i].name))
            return &keys[i];
    return NULL;
}

const char *wvu_config_key_name(enum wvu_config_key key)
{
    return keys[key].name;
}

void wvu_config_format_value(const struct wvu_config *config, enum wvu_config_key key, char *text,
                             size_t size)
{
    keys[key].write(config, &keys[key], text, size);
}

void wvu_config_copy_key(struct wvu_config *to, const struct wvu_config *from,
                         enum wvu_config_key key)
{
    memcpy((char *)to + keys[key].member, (const char *)from + keys[key].member, keys[key].size);
    to->origin[key] = from->origin[key];
}

void wvu_config_init(struct wvu_config *config, const char *const *probe_names)
{
    *config = (struct wvu_config){
        .queue_records = WVU_QUEUE_RECORDS_DEFAULT,
        .queue_bytes = WVU_QUEUE_BYTES_DEFAULT,
        .send_timeout_ms = WVU_SEND_TIMEOUT_MS_DEFAULT,
        .drain_ms = WVU_DRAIN_MS_DEFAULT,
        .log_level = WVU_LOG_INFO,
        .log_modules = WVU_LOG_ALL,
        .ring_bytes = WVU_RING_BYTES_DEFAULT,
        .processes = WVU_PROCESSES_DEFAULT,
        .run_dir = WVU_RUN_DIR_DEFAULT,
        .filter_file = WVU_FILTER_PATH_DEFAULT,
        .probe_names = probe_names,
    };
    config->probes = all_probes(config);
}

/* ---- lines --------------------------------------------------------------------------------- */

/* Where an error is. */
struct place {
    const char *name;
    uint32_t line; /* 0: the name says it all */
};

__attribute__((format(printf, 3, 4))) static wvu_status
fail(struct wvu_config_error *error, struct place place, const char *format, ...)
{
    size_t length = 0;
    if (place.line != 0)
        length =
            (size_t)snprintf(error->text, sizeof error->text, "%s:%u: ", place.name, place.line);
    else
        length = (size_t)snprintf(error->text, sizeof error->text, "%s: ", place.name);
    if (length < sizeof error->text) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text + length, sizeof error->text - length, format, arguments);
        va_end(arguments);
    }
    return WVU_STATUS_INVALID_PARAMETER;
}

/* As much of a slice as an error message should quote. */
static int quoted(struct slice s)
{
    return s.size < 60 ? (int)s.size : 60;
}

static wvu_status fail_unknown(struct wvu_config_error *error, struct place place,
                               struct slice name)
{
    char known[256] = "";
    size_t length = 0;
    for (size_t i = 0; i < WVU_CONFIG_KEYS && length < sizeof known; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s",
                                   i != 0 ? ", " : "", keys[i].name);
    return fail(error, place, "%.*s: unknown key; allowed: %s", quoted(name), name.text, known);
}

/* Takes "KEY = VALUE"; *index tells which key it was. */
static wvu_status take_assignment(struct wvu_config *config, struct place place, struct slice line,
                                  size_t *index, struct wvu_config_error *error)
{
    const char *equal = memchr(line.text, '=', line.size);
    if (equal == NULL)
        return fail(error, place, "'%.*s' is not a setting; allowed: KEY = VALUE", quoted(line),
                    line.text);
    size_t before = (size_t)(equal - line.text);
    struct slice name = trim((struct slice){line.text, before});
    struct slice value = trim((struct slice){equal + 1, line.size - before - 1});
    const struct key *key = find_key(name);
    if (key == NULL)
        return fail_unknown(error, place, name);
    if (!key->read(config, key, value)) {
        char allowed[384];
        key->allowed(config, key, allowed, sizeof allowed);
        return fail(error, place, "%s: '%.*s' is not valid; allowed: %s", key->name, quoted(value),
                    value.text, allowed);
    }
    *index = (size_t)(key - keys);
    return WVU_STATUS_OK;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.size; i++)
        if (((unsigned char)s.text[i] < 0x20 && s.text[i] != '\t') || s.text[i] == 0x7f)
            return true;
    return false;
}

/* Takes the line up to the end of line off `rest`; false at the end. */
static bool next_line(struct slice *rest, struct slice *line)
{
    if (rest->size == 0)
        return false;
    const char *end = memchr(rest->text, '\n', rest->size);
    size_t size = end != NULL ? (size_t)(end - rest->text) : rest->size;
    size_t taken = size + (end != NULL);
    *line = (struct slice){rest->text, size};
    if (line->size > 0 && line->text[line->size - 1] == '\r')
        line->size--;
    *rest = (struct slice){rest->text + taken, rest->size - taken};
    return true;
}

wvu_status wvu_config_parse(struct wvu_config *config, const char *name, const char *text,
                            size_t size, struct wvu_config_error *error)
{
    struct wvu_config copy = *config;
    struct slice rest = {text, size}, line;
    uint32_t seen[WVU_CONFIG_KEYS] = {0};
    struct place place = {name, 0};
    if (size > WVU_CONFIG_FILE_MAX)
        return fail(error, place, "the file is too large; allowed: %u bytes", WVU_CONFIG_FILE_MAX);
    while (next_line(&rest, &line)) {
        place.line++;
        size_t key;
        line = without_comment(line);
        if (line.size == 0)
            continue;
        if (has_control(line))
            return fail(error, place, "there is a control character; allowed: text");
        wvu_status status = take_assignment(&copy, place, line, &key, error);
        if (status != WVU_STATUS_OK)
            return status;
        if (seen[key] != 0)
            return fail(error, place, "%s: was set in line %u already; allowed: once",
                        keys[key].name, seen[key]);
        seen[key] = copy.origin[key] = place.line;
    }
    *config = copy;
    return WVU_STATUS_OK;
}

wvu_status wvu_config_set(struct wvu_config *config, const char *option, const char *assignment,
                          struct wvu_config_error *error)
{
    size_t key;
    struct place place = {option, 0};
    struct slice line = {assignment, strlen(assignment)};
    if (has_control(line))
        return fail(error, place, "there is a control character; allowed: text");
    wvu_status status = take_assignment(config, place, line, &key, error);
    if (status == WVU_STATUS_OK)
        config->origin[key] = WVU_CONFIG_FROM_COMMAND_LINE;
    return status;
}

/* ---- files --------------------------------------------------------------------------------- */

static wvu_status fail_file(struct wvu_config_error *error, const char *path, int problem)
{
    fail(error, (struct place){path, 0}, "cannot be read: %s", strerror(problem));
    return problem == ENOENT                       ? WVU_STATUS_NAME_NOT_FOUND
           : problem == EACCES || problem == EPERM ? WVU_STATUS_ACCESS_DENIED
                                                   : WVU_STATUS_IO_ERROR;
}

ssize_t wvu_config_read_file(const char *path, char *buffer, size_t size)
{
    size_t length = 0;
    ssize_t got = -1;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    while (length < size) {
        got = read(file, buffer + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    int error = errno;
    close(file);
    errno = error;
    return got < 0 ? -1 : (ssize_t)length;
}

wvu_status wvu_config_load(struct wvu_config *config, const char *path,
                           struct wvu_config_error *error)
{
    static char buffer[WVU_CONFIG_FILE_MAX + 1]; /* one more: a file that is too large is noticed */
    ssize_t length = wvu_config_read_file(path, buffer, sizeof buffer);
    if (length < 0)
        return fail_file(error, path, errno);
    return wvu_config_parse(config, path, buffer, (size_t)length, error);
}

static void format_origin(const struct wvu_config *config, int key, const char *file, char *text,
                          size_t size)
{
    if (config->origin[key] == WVU_CONFIG_FROM_DEFAULT)
        snprintf(text, size, "default");
    else if (config->origin[key] == WVU_CONFIG_FROM_COMMAND_LINE)
        snprintf(text, size, "command line");
    else
        snprintf(text, size, "%s:%u", file, config->origin[key]);
}

size_t wvu_config_format(const struct wvu_config *config, const char *file, char *text, size_t size)
{
    size_t length = 0;
    for (int key = 0; key < WVU_CONFIG_KEYS && length < size; key++) {
        char value[256], origin[256];
        const char *end = key < WVU_CONFIG_KEYS - 1 ? "\n" : "";
        wvu_config_format_value(config, key, value, sizeof value);
        format_origin(config, key, file != NULL ? file : "", origin, sizeof origin);
        length +=
            (size_t)(file != NULL ? snprintf(text + length, size - length, "%-13s = %-20s # %s%s",
                                             keys[key].name, value, origin, end)
                                  : snprintf(text + length, size - length, "%s=%s%s",
                                             keys[key].name, value, end));
    }
    return length < size ? length : size - 1;
}

/* ---- group --------------------------------------------------------------------------------- */

wvu_status wvu_config_find_group(const struct wvu_config *config, const char *file, bool *has_group,
                                 gid_t *group, struct wvu_config_error *error)
{
    *has_group = config->group[0] != '\0';
    *group = 0;
    if (!*has_group)
        return WVU_STATUS_OK;
    uint64_t number;
    const struct group *entry = getgrnam(config->group);
    if (entry != NULL) {
        *group = entry->gr_gid;
        return WVU_STATUS_OK;
    }
    if (parse_digits((struct slice){config->group, strlen(config->group)}, 10, &number) &&
        number < UINT32_MAX) { /* (gid_t)-1 means "unchanged" */
        *group = (gid_t)number;
        return WVU_STATUS_OK;
    }
    uint32_t line = config->origin[WVU_CONFIG_GROUP];
    struct place place = {file, line};
    if (line == WVU_CONFIG_FROM_COMMAND_LINE)
        place = (struct place){"command line", 0};
    fail(error, place,
         "Group: there is no group '%s'; make it (groupadd --system %s), or allowed: the "
         "name or number of a group",
         config->group, config->group);
    return WVU_STATUS_NOT_FOUND;
}
