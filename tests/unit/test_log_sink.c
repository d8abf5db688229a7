/*
 * Log lines: their form, and that writing one never waits.
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
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "log_sink.h"
#include "os.h"

#define TIME INT64_C(134082918021234567) /* 2025-11-22T13:30:02.1234567Z */

static size_t format(char line[WVU_LOG_LINE_MAX + 1], bool journal, uint32_t level,
                     const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length =
        wvu_log_sink_format(line, journal, TIME, WVU_LOG_COMMS, level, format, arguments);
    va_end(arguments);
    assert_in_range(length, 1, WVU_LOG_LINE_MAX);
    line[length] = '\0';
    return length;
}

static void test_form(void **state)
{
    (void)state;
    char line[WVU_LOG_LINE_MAX + 1];
    format(line, false, WVU_LOG_WARNING, "%d of %s", 7, "nine");
    assert_string_equal(line, "2025-11-22T13:30:02.123Z warning comms: 7 of nine\n");
    format(line, true, WVU_LOG_ERROR, "x");
    assert_string_equal(line, "<3>comms: x\n");
    format(line, true, WVU_LOG_WARNING, "x");
    assert_string_equal(line, "<4>comms: x\n");
    format(line, true, WVU_LOG_INFO, "x");
    assert_string_equal(line, "<6>comms: x\n");
    format(line, true, WVU_LOG_TRACE, "%s", "");
    assert_string_equal(line, "<7>comms: \n");
}

/* Text from elsewhere cannot end a line and begin another. */
static void test_control_characters_are_escaped(void **state)
{
    (void)state;
    char line[WVU_LOG_LINE_MAX + 1];
    format(line, true, WVU_LOG_INFO, "%s", "a\n<3>main: forged\t\x1b[31m\x7f\xc3\xa4");
    assert_string_equal(line, "<6>comms: a\\x0a<3>main: forged\\x09\\x1b[31m\\x7f\xc3\xa4\n");
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    char line[WVU_LOG_LINE_MAX + 1], text[2 * WVU_LOG_LINE_MAX];
    for (size_t size = WVU_LOG_LINE_MAX - 40; size < WVU_LOG_LINE_MAX + 10; size++) {
        memset(text, 'x', size);
        text[size] = '\0';
        size_t length = format(line, true, WVU_LOG_INFO, "%s", text);
        assert_int_equal(line[length - 1], '\n');
        bool whole = length == strlen("<6>comms: \n") + size;
        assert_true(whole || strcmp(line + length - 4, "...\n") == 0);
        memset(text, '\n', size); /* four characters each */
        length = format(line, true, WVU_LOG_INFO, "%s", text);
        assert_string_equal(line + length - 4, "...\n");
    }
}

static void test_names(void **state)
{
    (void)state;
    uint32_t bit, all = 0;
    for (unsigned i = 0; wvu_log_module_at(i, &bit) != NULL; i++) {
        assert_string_equal(wvu_log_module_name(bit), wvu_log_module_at(i, &bit));
        all |= bit;
    }
    assert_int_equal(all, WVU_LOG_UTIL | WVU_LOG_MAIN | WVU_LOG_COMMS | WVU_LOG_POLL |
                              WVU_LOG_MODULE | WVU_LOG_THREAD | WVU_LOG_REGISTRY | WVU_LOG_PROCESS |
                              WVU_LOG_SENSOR | WVU_LOG_PROBE | WVU_LOG_QUEUE);
    assert_null(wvu_log_module_name(1));
    assert_null(wvu_log_level_name(4));
}

/* ---- writing: standard error is a pipe that the test reads, or does not -------------------- */

struct redirected {
    int saved;
    int reader;
};

static void redirect(struct redirected *redirected)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    redirected->saved = dup(STDERR_FILENO);
    redirected->reader = ends[0];
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    /* Blocking, as a standard error is: a write without room would hang the test. */
    fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) & ~O_NONBLOCK);
}

static void restore(struct redirected *redirected)
{
    dup2(redirected->saved, STDERR_FILENO);
    close(redirected->saved);
    close(redirected->reader);
}

/* Everything that is in the pipe; returns how many lines. */
static int drain(struct redirected *redirected, char *text, size_t size)
{
    size_t length = 0;
    ssize_t got;
    int lines = 0;
    while ((got = read(redirected->reader, text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    return lines;
}

static void test_writing_never_waits(void **state)
{
    (void)state;
    static char text[1 << 20];
    struct redirected redirected;
    const int written = 5000; /* far more than a pipe holds */
    redirect(&redirected);
    for (int i = 0; i < written; i++)
        wvu_log_info(WVU_LOG_MAIN, "line %d %0100d", i, 0);
    int lines = drain(&redirected, text, sizeof text);
    wvu_log_info(WVU_LOG_MAIN, "afterwards");
    static char after[1 << 20];
    int after_lines = drain(&redirected, after, sizeof after);
    restore(&redirected);

    assert_in_range(lines, 1, written - 1);
    assert_int_equal(after_lines, 2);
    char told[64];
    snprintf(told, sizeof told, " %d log lines were dropped", written - lines);
    assert_non_null(strstr(after, told));
    assert_non_null(strstr(after, "afterwards\n"));
}

static void log_many(void *context)
{
    (void)context;
    for (int i = 0; i < 100; i++)
        wvu_log_info(WVU_LOG_MAIN, "a line of text");
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    static char text[1 << 20];
    struct redirected redirected;
    wvu_thread threads[4];
    redirect(&redirected);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wvu_thread_start(&threads[i], "log", log_many, NULL), WVU_STATUS_OK);
    for (int i = 0; i < 4; i++)
        wvu_thread_join(&threads[i]);
    int lines = drain(&redirected, text, sizeof text);
    restore(&redirected);
    assert_int_equal(lines, 400);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        assert_string_equal(line + 24, " info    main: a line of text");
}

/* The journal is known by the device and inode of its socket; here the pipe stands for it. */
static void test_journal_is_recognised(void **state)
{
    (void)state;
    char text[1000], stream[64];
    struct redirected redirected;
    struct stat status;
    redirect(&redirected);
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    wvu_log_sink_init();
    wvu_log_warning(WVU_LOG_MAIN, "to the journal");
    setenv("JOURNAL_STREAM", "1:1", 1);
    wvu_log_sink_init();
    wvu_log_warning(WVU_LOG_MAIN, "elsewhere");
    unsetenv("JOURNAL_STREAM");
    int lines = drain(&redirected, text, sizeof text);
    restore(&redirected);
    assert_int_equal(lines, 2);
    assert_int_equal(strncmp(text, "<4>main: to the journal\n2", 25), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_control_characters_are_escaped),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_writing_never_waits),
        cmocka_unit_test(test_lines_of_threads_do_not_mix),
        cmocka_unit_test(test_journal_is_recognised),
    };
    return cmocka_run_group_tests_name("log_sink", tests, NULL, NULL);
}
