/*
 * The configuration: what is taken, what is refused and what is said then.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "config.h"
#include "dispatcher.h"
#include "filter_file.h"
#include "log.h"
#include "options.h"
#include "queue.h"
#include "source.h"

static const char *const probes[] = {"ProcessCreate", "ImageLoad", "Third", NULL};

static wvu_status parse(struct wvu_config *config, const char *text, struct wvu_config_error *error)
{
    wvu_config_init(config, probes);
    return wvu_config_parse(config, "x.conf", text, strlen(text), error);
}

/* All values and where they come from. */
static void assert_same(const struct wvu_config *a, const struct wvu_config *b)
{
    char text_a[WVU_CONFIG_TEXT_MAX], text_b[WVU_CONFIG_TEXT_MAX];
    wvu_config_format(a, "x", text_a, sizeof text_a);
    wvu_config_format(b, "x", text_b, sizeof text_b);
    assert_string_equal(text_a, text_b);
}

static void check_value(const struct wvu_config *config, enum wvu_config_key key,
                        const char *expected)
{
    char value[256];
    wvu_config_format_value(config, key, value, sizeof value);
    assert_string_equal(value, expected);
}

static void test_defaults(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error;
    assert_int_equal(parse(&config, "", &error), WVU_STATUS_OK);
    assert_int_equal(config.queue_records, 8192);
    assert_int_equal(config.queue_bytes, WVU_QUEUE_BYTES_DEFAULT);
    assert_int_equal(config.send_timeout_ms, 20000);
    assert_int_equal(config.drain_ms, 500);
    assert_int_equal(config.log_level, WVU_LOG_INFO);
    assert_int_equal(config.log_modules, WVU_LOG_ALL);
    assert_int_equal(config.ring_bytes, WVU_RING_BYTES_DEFAULT);
    assert_int_equal(config.processes, WVU_PROCESSES_DEFAULT);
    assert_int_equal(config.probes, 7);
    assert_string_equal(config.group, "");
    assert_string_equal(config.run_dir, "/run/winvirtue");
}

/* Each line of text with the value that it gives. */
static void test_values_that_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum wvu_config_key key;
        const char *value;
    } rows[] = {
        {"QueueRecords = 16", WVU_CONFIG_QUEUE_RECORDS, "16"},
        {"QueueRecords=1M", WVU_CONFIG_QUEUE_RECORDS, "1048576"},
        {"queuerecords\t=\t2k", WVU_CONFIG_QUEUE_RECORDS, "2048"},
        {"  QueueRecords = 0000000100  ", WVU_CONFIG_QUEUE_RECORDS, "100"},
        {"QueueRecords = 100\r\n", WVU_CONFIG_QUEUE_RECORDS, "100"},
        {"QueueRecords = 100 # few", WVU_CONFIG_QUEUE_RECORDS, "100"},
        {"QueueRecords = 100\t# few", WVU_CONFIG_QUEUE_RECORDS, "100"},
        {"# nothing\n\n   \n\t# QueueRecords = 5\nQueueRecords = 100", WVU_CONFIG_QUEUE_RECORDS,
         "100"},
        {"QueueBytes = 256K", WVU_CONFIG_QUEUE_BYTES, "256K"},
        {"QueueBytes = 512M", WVU_CONFIG_QUEUE_BYTES, "512M"},
        {"QueueBytes = 1000000", WVU_CONFIG_QUEUE_BYTES, "1000000"},
        {"SendTimeoutMs = 10", WVU_CONFIG_SEND_TIMEOUT_MS, "10"},
        {"SendTimeoutMs = 600000", WVU_CONFIG_SEND_TIMEOUT_MS, "600000"},
        {"DrainMs = 0", WVU_CONFIG_DRAIN_MS, "0"},
        {"DrainMs = 60000", WVU_CONFIG_DRAIN_MS, "60000"},
        {"LogLevel = ERROR", WVU_CONFIG_LOG_LEVEL, "error"},
        {"LogLevel = warning", WVU_CONFIG_LOG_LEVEL, "warning"},
        {"LogLevel = info", WVU_CONFIG_LOG_LEVEL, "info"},
        {"LogLevel = Trace", WVU_CONFIG_LOG_LEVEL, "trace"},
        {"LogModules = all", WVU_CONFIG_LOG_MODULES, "all"},
        {"LogModules = main", WVU_CONFIG_LOG_MODULES, "main"},
        {"LogModules = queue ,Main, main", WVU_CONFIG_LOG_MODULES, "main, queue"},
        {"LogModules = 8", WVU_CONFIG_LOG_MODULES, "main"},
        {"LogModules = 0x400008", WVU_CONFIG_LOG_MODULES, "main, queue"},
        {"LogModules = 0x1", WVU_CONFIG_LOG_MODULES, "0x00000001"},
        {"LogModules = 0", WVU_CONFIG_LOG_MODULES, "0x00000000"},
        {"LogModules = 4294967295", WVU_CONFIG_LOG_MODULES, "all"},
        {"Group = adm", WVU_CONFIG_GROUP, "adm"},
        {"Group = a b", WVU_CONFIG_GROUP, "a b"},
        {"Group = a#b", WVU_CONFIG_GROUP, "a#b"},
        {"Group =", WVU_CONFIG_GROUP, ""},
        {"RunDir = /a=b/c d", WVU_CONFIG_RUN_DIR, "/a=b/c d"},
        {"RingBytes = 64K", WVU_CONFIG_RING_BYTES, "64K"},
        {"RingBytes = 64M", WVU_CONFIG_RING_BYTES, "64M"},
        {"Processes = 64", WVU_CONFIG_PROCESSES, "64"},
        {"FilterFile = /a/b c", WVU_CONFIG_FILTER_FILE, "/a/b c"},
        {"FilterFile =", WVU_CONFIG_FILTER_FILE, ""},
        {"Protect = YES", WVU_CONFIG_PROTECT, "yes"},
        {"Protect=no", WVU_CONFIG_PROTECT, "no"},
        {"Probes = all", WVU_CONFIG_PROBES, "all"},
        {"Probes = imageload", WVU_CONFIG_PROBES, "ImageLoad"},
        {"Probes = Third, ProcessCreate", WVU_CONFIG_PROBES, "ProcessCreate, Third"},
        {"Probes = Third,ImageLoad,ProcessCreate", WVU_CONFIG_PROBES, "all"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wvu_config config;
        struct wvu_config_error error = {""};
        if (parse(&config, rows[i].text, &error) != WVU_STATUS_OK)
            fail_msg("'%s' was refused: %s", rows[i].text, error.text);
        check_value(&config, rows[i].key, rows[i].value);
    }
}

/* Each text, and what the complaint begins with and contains. */
static void test_values_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place, *says;
    } rows[] = {
        {"QueueRecords = 15", "x.conf:1: QueueRecords: '15'", "16 to 1048576"},
        {"QueueRecords = 1048577", "x.conf:1: QueueRecords:", "16 to 1048576"},
        {"QueueRecords = 2M", "x.conf:1: QueueRecords: '2M'", "K (1024) or M (1048576)"},
        {"QueueRecords =", "x.conf:1: QueueRecords: ''", "16"},
        {"QueueRecords = K", "x.conf:1: QueueRecords: 'K'", "16"},
        {"QueueRecords = 1G", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = -1", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = +100", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = 0x100", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = 1 00", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = 100# few", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = 18446744073709551716", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = 4294967312", "x.conf:1: QueueRecords:", "16"},
        {"QueueRecords = 18014398509481985K", "x.conf:1: QueueRecords:", "16"},
        {"QueueBytes = 255K", "x.conf:1: QueueBytes:", "262144 to 536870912"},
        {"SendTimeoutMs = 9", "x.conf:1: SendTimeoutMs:", "10 to 600000"},
        {"SendTimeoutMs = 1K", "x.conf:1: SendTimeoutMs:", "10 to 600000"},
        {"SendTimeoutMs = 600001", "x.conf:1: SendTimeoutMs:", "10 to 600000"},
        {"DrainMs = 60001", "x.conf:1: DrainMs:", "0 to 60000"},
        {"LogLevel = verbose", "x.conf:1: LogLevel: 'verbose'", "error, warning, info, trace"},
        {"LogLevel = 3", "x.conf:1: LogLevel:", "error"},
        {"LogModules =", "x.conf:1: LogModules:", "all"},
        {"LogModules = main,", "x.conf:1: LogModules:", "queue"},
        {"LogModules = mainqueue", "x.conf:1: LogModules:", "queue"},
        {"LogModules = 4294967296", "x.conf:1: LogModules:", "queue"},
        {"LogModules = 0x", "x.conf:1: LogModules:", "queue"},
        {"LogModules = 1f", "x.conf:1: LogModules:", "queue"},
        {"RunDir =", "x.conf:1: RunDir:", "path"},
        {"RingBytes = 100K", "x.conf:1: RingBytes:", "a power of two"},
        {"RingBytes = 32K", "x.conf:1: RingBytes:", "65536 to 67108864"},
        {"Processes = 63", "x.conf:1: Processes:", "64 to 4194304"},
        {"Protect =", "x.conf:1: Protect:", "yes, no"},
        {"Protect = 1", "x.conf:1: Protect: '1'", "yes, no"},
        {"Probes =", "x.conf:1: Probes:", "ProcessCreate, ImageLoad, Third"},
        {"Probes = Fourth", "x.conf:1: Probes: 'Fourth'", "ProcessCreate, ImageLoad, Third"},
        {"Probes = all, Third", "x.conf:1: Probes:", "Third"},
        {"\n\nQueueRecord = 100", "x.conf:3: QueueRecord: unknown key", "QueueRecords, QueueBytes"},
        {"= 100", "x.conf:1: : unknown key", "QueueRecords"},
        {"QueueRecords", "x.conf:1: 'QueueRecords'", "KEY = VALUE"},
        {"nonsense\n", "x.conf:1: 'nonsense'", "KEY = VALUE"},
        {"DrainMs = 1\n#\nDrainMs = 1", "x.conf:3: DrainMs:", "line 1"},
        {"DrainMs = 1\ndrainms = 2\n", "x.conf:2: DrainMs:", "line 1"},
        {"Group = a\x01z", "x.conf:1: ", "control character"},
        {"Group = a\x7f", "x.conf:1: ", "control character"},
        {"DrainMs = 1\rDrainMs = 2", "x.conf:1: ", "control character"},
        {"Group = 0123456789012345678901234567890123456789012345678901234567890123",
         "x.conf:1: Group:", "at most 63"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wvu_config config, untouched;
        struct wvu_config_error error = {""};
        wvu_config_init(&untouched, probes);
        if (parse(&config, rows[i].text, &error) != WVU_STATUS_INVALID_PARAMETER)
            fail_msg("'%s' was taken", rows[i].text);
        if (strncmp(error.text, rows[i].place, strlen(rows[i].place)) != 0 ||
            strstr(error.text, rows[i].says) == NULL || strstr(error.text, "allowed") == NULL)
            fail_msg("about '%s' it says: %s", rows[i].text, error.text);
        assert_same(&config, &untouched);
    }
}

static void test_a_file_is_taken_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error;
    assert_int_equal(parse(&config, "DrainMs = 7\nGroup = adm\nQueueRecords = 1", &error),
                     WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(config.drain_ms, WVU_DRAIN_MS_DEFAULT);
    assert_string_equal(config.group, "");
}

static void test_nul_bytes_are_refused(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error;
    wvu_config_init(&config, probes);
    static const char text[] = "DrainMs = 1\0";
    assert_int_equal(wvu_config_parse(&config, "x", text, sizeof text, &error),
                     WVU_STATUS_INVALID_PARAMETER);
}

static void test_long_paths(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error;
    char text[256] = "RunDir = /";
    memset(text + 10, 'x', 95); /* 96 bytes with the slash */
    assert_int_equal(parse(&config, text, &error), WVU_STATUS_OK);
    memset(text + 10, 'x', 96);
    assert_int_equal(parse(&config, text, &error), WVU_STATUS_INVALID_PARAMETER);
    assert_non_null(strstr(error.text, "at most 96 bytes"));
}

static void test_a_file_that_is_too_large(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error;
    char *text = malloc(WVU_CONFIG_FILE_MAX + 1);
    memset(text, '\n', WVU_CONFIG_FILE_MAX + 1);
    wvu_config_init(&config, probes);
    assert_int_equal(wvu_config_parse(&config, "x", text, WVU_CONFIG_FILE_MAX, &error),
                     WVU_STATUS_OK);
    assert_int_equal(wvu_config_parse(&config, "x", text, WVU_CONFIG_FILE_MAX + 1, &error),
                     WVU_STATUS_INVALID_PARAMETER);
    free(text);
}

/* What is printed means the same when it is read. */
static void test_format_and_parse(void **state)
{
    (void)state;
    struct wvu_config config, again;
    struct wvu_config_error error;
    char text[WVU_CONFIG_TEXT_MAX];
    assert_int_equal(parse(&config,
                           "QueueRecords=12345\nQueueBytes=300000\nGroup=x\nRunDir=/a b\n"
                           "LogModules=main,comms\nProbes=Third\nLogLevel=trace\nProcesses=1M",
                           &error),
                     WVU_STATUS_OK);
    for (int people = 0; people < 2; people++) {
        size_t length = wvu_config_format(&config, people ? "f.conf" : NULL, text, sizeof text);
        assert_int_equal(length, strlen(text));
        assert_int_equal(parse(&again, text, &error), WVU_STATUS_OK);
        memcpy(again.origin, config.origin, sizeof again.origin);
        assert_same(&config, &again);
    }
    assert_non_null(strstr(text, "# f.conf:3"));
    assert_non_null(strstr(text, "# default"));
}

/* ---- files and the command line ------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

#define WORDS_MAX 16

/* getopt wants words that could be changed, and does not change them. */
static bool parse_words(const char *const *words, struct wvu_options *options, int *exit_status)
{
    char *copy[WORDS_MAX] = {NULL};
    int count = 0;
    for (; words[count] != NULL; count++)
        copy[count] = (char *)(uintptr_t)words[count];
    optind = 0; /* getopt starts anew */
    return wvu_options_parse(options, count, copy, exit_status);
}

static wvu_status load(const char *const *words, struct wvu_config *config,
                       struct wvu_config_error *error)
{
    struct wvu_options options;
    int exit_status;
    bool found;
    assert_true(parse_words(words, &options, &exit_status));
    wvu_status status = wvu_options_load(&options, probes, config, &found, error);
    wvu_options_free(&options);
    return status;
}

static void test_command_line_comes_after_the_file(void **state)
{
    (void)state;
    char path[] = "/tmp/wvu-config-XXXXXX";
    struct wvu_config config;
    struct wvu_config_error error = {""};
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    write_file(path, "DrainMs = 1\nSendTimeoutMs = 11\nRunDir = /one\nLogLevel = error\n");
    const char *words[] = {"wvud",      "--set",        "DrainMs=2", "--config",    path,
                           "--run-dir", "/two",         "-s",        "DrainMs = 3", "--log-level",
                           "trace",     "--foreground", NULL};
    assert_int_equal(load(words, &config, &error), WVU_STATUS_OK);
    assert_int_equal(config.drain_ms, 3);
    assert_int_equal(config.send_timeout_ms, 11);
    assert_string_equal(config.run_dir, "/two");
    assert_int_equal(config.log_level, WVU_LOG_TRACE);
    assert_int_equal(config.origin[WVU_CONFIG_SEND_TIMEOUT_MS], 2);
    assert_int_equal(config.origin[WVU_CONFIG_DRAIN_MS], WVU_CONFIG_FROM_COMMAND_LINE);
    assert_int_equal(config.origin[WVU_CONFIG_GROUP], WVU_CONFIG_FROM_DEFAULT);

    const char *wrong[] = {"wvud", "--config", path, "--set", "DrainMs=x", NULL};
    assert_int_equal(load(wrong, &config, &error), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(strncmp(error.text, "--set: DrainMs: 'x'", 19), 0);
    const char *level[] = {"wvud", "--config", path, "--log-level", "loud", NULL};
    assert_int_equal(load(level, &config, &error), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(strncmp(error.text, "--log-level: LogLevel: 'loud'", 29), 0);
    const char *comment[] = {"wvud", "--config", path, "--run-dir", "/a #b", NULL};
    assert_int_equal(load(comment, &config, &error), WVU_STATUS_INVALID_PARAMETER);
    unlink(path);
}

static void test_files_that_cannot_be_read(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error = {""};
    const char *missing[] = {"wvud", "--config", "/nonexistent/wvud.conf", NULL};
    assert_int_equal(load(missing, &config, &error), WVU_STATUS_NAME_NOT_FOUND);
    assert_non_null(strstr(error.text, "/nonexistent/wvud.conf"));
    const char *directory[] = {"wvud", "--config", "/tmp", NULL};
    assert_int_equal(load(directory, &config, &error), WVU_STATUS_IO_ERROR);
    assert_non_null(strstr(error.text, "/tmp: cannot be read: "));
}

static void test_command_lines_that_end_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *words[4];
        int exit_status;
    } rows[] = {
        {{"wvud", "--help", NULL}, WVU_EXIT_CLEAN},
        {{"wvud", "--version", NULL}, WVU_EXIT_CLEAN},
        {{"wvud", "--no-such-option", NULL}, WVU_EXIT_USAGE},
        {{"wvud", "--config", NULL}, WVU_EXIT_USAGE},
        {{"wvud", "argument", NULL}, WVU_EXIT_USAGE},
    };
    fflush(NULL);
    int nothing = open("/dev/null", O_WRONLY), saved[2] = {dup(1), dup(2)};
    dup2(nothing, 1);
    dup2(nothing, 2);
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wvu_options options;
        int exit_status = -1;
        wrong += parse_words(rows[i].words, &options, &exit_status) ||
                 exit_status != rows[i].exit_status;
        wvu_options_free(&options);
    }
    fflush(NULL);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    close(nothing);
    close(saved[0]);
    close(saved[1]);
    assert_int_equal(wrong, 0);
}

static void test_groups(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error = {""};
    bool has_group = true;
    gid_t group = 1;
    assert_int_equal(parse(&config, "", &error), WVU_STATUS_OK);
    assert_int_equal(wvu_config_find_group(&config, "x.conf", &has_group, &group, &error),
                     WVU_STATUS_OK);
    assert_false(has_group);
    assert_int_equal(parse(&config, "Group = root", &error), WVU_STATUS_OK);
    assert_int_equal(wvu_config_find_group(&config, "x.conf", &has_group, &group, &error),
                     WVU_STATUS_OK);
    assert_true(has_group);
    assert_int_equal(group, 0);
    assert_int_equal(parse(&config, "Group = 54321", &error), WVU_STATUS_OK);
    assert_int_equal(wvu_config_find_group(&config, "x.conf", &has_group, &group, &error),
                     WVU_STATUS_OK);
    assert_int_equal(group, 54321);
    static const char *const wrong[] = {"\nGroup = no-such-group", "\nGroup = 4294967295",
                                        "\nGroup = 99999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(parse(&config, wrong[i], &error), WVU_STATUS_OK);
        assert_int_equal(wvu_config_find_group(&config, "x.conf", &has_group, &group, &error),
                         WVU_STATUS_NOT_FOUND);
        assert_int_equal(strncmp(error.text, "x.conf:2: Group: ", 17), 0);
    }
}

/* The file that is installed says what the defaults are. */
static void test_installed_file_has_the_defaults(void **state)
{
    (void)state;
    static char text[WVU_CONFIG_FILE_MAX], settings[WVU_CONFIG_FILE_MAX];
    FILE *file = fopen(WVU_PACKAGING "/wvud.conf", "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    struct wvu_config config, defaults;
    struct wvu_config_error error = {""};
    wvu_config_init(&defaults, probes);
    wvu_config_init(&config, probes);
    assert_int_equal(wvu_config_parse(&config, "x", text, length, &error), WVU_STATUS_OK);
    assert_same(&config, &defaults); /* everything is a comment */

    size_t used = 0, keys = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line[0] != '#' || line[1] == ' ' || line[1] == '\0')
            continue;
        used += (size_t)snprintf(settings + used, sizeof settings - used, "%s\n", line + 1);
        keys++;
    }
    assert_int_equal(keys, WVU_CONFIG_KEYS);
    if (wvu_config_parse(&config, "x", settings, used, &error) != WVU_STATUS_OK)
        fail_msg("%s", error.text);
    memcpy(config.origin, defaults.origin, sizeof config.origin);
    assert_same(&config, &defaults);
}

/* ---- filter_file.c ------------------------------------------------------------------------- */

static char rules[WVU_FILTER_BUFFER];

static void write_rules(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
}

/* FilterFile set in a configuration file, unlike the default. */
static wvu_status read_rules(const char *path, struct wvu_config_error *error)
{
    struct wvu_config config;
    char line[300];
    snprintf(line, sizeof line, "FilterFile = %s", path);
    assert_int_equal(parse(&config, line, error), WVU_STATUS_OK);
    error->text[0] = '\0';
    return wvu_filter_file_read(&config, rules, error);
}

static void check_refused(const char *path, const char *where, const char *why)
{
    struct wvu_config_error error;
    assert_int_equal(read_rules(path, &error), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(strncmp(error.text, where, strlen(where)), 0);
    assert_non_null(strstr(error.text, why));
}

static void test_rules_are_read_and_checked(void **state)
{
    (void)state;
    char path[] = "/tmp/wvu-rules-XXXXXX", where[64];
    static char large[WVU_FILTER_TEXT_MAX + 1];
    struct wvu_config_error error;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(read_rules(path, &error), WVU_STATUS_OK);
    assert_string_equal(rules, "");
    const char *right = "# a comment\nexclude image=/bin/true\n";
    write_rules(path, right, strlen(right));
    assert_int_equal(read_rules(path, &error), WVU_STATUS_OK);
    assert_string_equal(rules, right);

    const char *wrong = "exclude image=/bin/true\n\nexclude imagee=/bin/true\n";
    write_rules(path, wrong, strlen(wrong));
    snprintf(where, sizeof where, "%s:3: ", path);
    check_refused(path, where, "imagee");
    write_rules(path, "exclude\0", 8);
    snprintf(where, sizeof where, "%s: ", path);
    check_refused(path, where, "NUL");
    memset(large, '#', sizeof large);
    write_rules(path, large, sizeof large);
    check_refused(path, where, "too large");
    write_rules(path, large, sizeof large - 1);
    assert_int_equal(read_rules(path, &error), WVU_STATUS_OK);
    assert_int_equal(strlen(rules), WVU_FILTER_TEXT_MAX);
    assert_int_equal(unlink(path), 0);
    check_refused(path, where, "cannot be read");
    check_refused("/tmp", "/tmp: ", "cannot be read");
    assert_int_equal(read_rules("", &error), WVU_STATUS_OK);
    assert_string_equal(rules, "");
}

static void test_the_default_file_need_not_be_there(void **state)
{
    (void)state;
    struct wvu_config config;
    struct wvu_config_error error = {""};
    wvu_config_init(&config, probes);
    assert_string_equal(config.filter_file, "/etc/winvirtue/filter.conf");
    snprintf(config.filter_file, sizeof config.filter_file, "/tmp/wvu-no-such-directory/rules");
    assert_int_equal(wvu_filter_file_read(&config, rules, &error), WVU_STATUS_OK);
    assert_string_equal(rules, "");
}

/* The rules that are installed are comments, and the examples in them are right. */
static void test_installed_rules(void **state)
{
    (void)state;
    char path[] = "/tmp/wvu-rules-XXXXXX";
    static char examples[WVU_FILTER_BUFFER];
    struct wvu_config_error error;
    size_t used = 0, count = 0;
    assert_int_equal(read_rules(WVU_PACKAGING "/filter.conf", &error), WVU_STATUS_OK);
    for (char *line = strtok(rules, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_int_equal(line[0], '#');
        if (line[1] == ' ' || line[1] == '\0')
            continue;
        used += (size_t)snprintf(examples + used, sizeof examples - used, "%s\n", line + 1);
        count++;
    }
    assert_true(count >= 3);
    close(mkstemp(path));
    write_rules(path, examples, used);
    wvu_status status = read_rules(path, &error);
    unlink(path);
    if (status != WVU_STATUS_OK)
        fail_msg("%s", error.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values_that_are_taken),
        cmocka_unit_test(test_values_that_are_refused),
        cmocka_unit_test(test_a_file_is_taken_as_a_whole_or_not_at_all),
        cmocka_unit_test(test_nul_bytes_are_refused),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_a_file_that_is_too_large),
        cmocka_unit_test(test_format_and_parse),
        cmocka_unit_test(test_command_line_comes_after_the_file),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_command_lines_that_end_at_once),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_installed_file_has_the_defaults),
        cmocka_unit_test(test_rules_are_read_and_checked),
        cmocka_unit_test(test_the_default_file_need_not_be_there),
        cmocka_unit_test(test_installed_rules),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
