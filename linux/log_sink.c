/*
 * The log sink. Any thread.
 *
 * A line never waits for whoever reads standard error: a terminal that is stopped or a full pipe
 * must not stop the sensor. When there is no room the line is dropped and counted, and the next one
 * that goes out is preceded by the count. `mutex` is held from the look for room to the write, so
 * that no other thread of this process takes the room; nothing waits under it.
 */
#define _GNU_SOURCE
#include "log_sink.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "os.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t dropped;    /* under mutex */
static bool stderr_journal; /* written before there are threads */

/* ---- names -------------------------------------------------------------------------------------
 */

static const struct module {
    uint32_t bit;
    const char *name;
} modules[] = {
#define WVU_LOG_MODULE_NAME(bit, constant, name) {WVU_LOG_##constant, name},
    WVU_LOG_MODULES
#undef WVU_LOG_MODULE_NAME
};

const char *wvu_log_module_at(unsigned index, uint32_t *module)
{
    if (index >= sizeof modules / sizeof *modules)
        return NULL;
    *module = modules[index].bit;
    return modules[index].name;
}

const char *wvu_log_module_name(uint32_t module)
{
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (modules[i].bit == module)
            return modules[i].name;
    return NULL;
}

const char *wvu_log_level_name(uint32_t level)
{
    static const char *const names[] = {
        [WVU_LOG_ERROR] = "error",
        [WVU_LOG_WARNING] = "warning",
        [WVU_LOG_TRACE] = "trace",
        [WVU_LOG_INFO] = "info",
    };
    return level < sizeof names / sizeof *names ? names[level] : NULL;
}

/* syslog(3) priorities, as the journal reads them. */
static unsigned priority(uint32_t level)
{
    switch (level) {
    case WVU_LOG_ERROR:
        return 3;
    case WVU_LOG_WARNING:
        return 4;
    case WVU_LOG_INFO:
        return 6;
    default:
        return 7;
    }
}

/* ---- formatting --------------------------------------------------------------------------------
 */

static size_t format_prefix(char *line, size_t size, bool journal, int64_t system_time,
                            uint32_t module, uint32_t level)
{
    const char *level_name = wvu_log_level_name(level);
    const char *module_name = wvu_log_module_name(module);
    if (level_name == NULL)
        level_name = "?";
    if (module_name == NULL)
        module_name = "other";
    if (journal)
        return (size_t)snprintf(line, size, "<%u>%s: ", priority(level), module_name);

    const int64_t at_1970 = INT64_C(116444736000000000);
    time_t seconds = (time_t)((system_time - at_1970) / 10000000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL)
        memset(&tm, 0, sizeof tm);
    return (size_t)snprintf(line, size,
                            "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %-7s %s: ", tm.tm_year + 1900,
                            tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                            (int)((system_time - at_1970) / 10000 % 1000), level_name, module_name);
}

/* Copies `text`; returns the new length, and says when it did not all fit into `size`. */
static size_t append_escaped(char *line, size_t length, size_t size, const char *text, bool *cut)
{
    for (const unsigned char *from = (const unsigned char *)text; *from != '\0'; from++) {
        bool control = *from < 0x20 || *from == 0x7f;
        size_t need = control ? 4 : 1;
        if (size - length < need) {
            *cut = true;
            break;
        }
        if (control) {
            static const char digits[] = "0123456789abcdef";
            memcpy(line + length, "\\x", 2);
            line[length + 2] = digits[*from >> 4];
            line[length + 3] = digits[*from & 15];
        } else {
            line[length] = (char)*from;
        }
        length += need;
    }
    return length;
}

size_t wvu_log_sink_format(char line[WVU_LOG_LINE_MAX], bool journal, int64_t system_time,
                           uint32_t module, uint32_t level, const char *format, va_list arguments)
{
    static const char ending[] = "...\n";
    const size_t room = WVU_LOG_LINE_MAX - (sizeof ending - 1);
    char text[WVU_LOG_LINE_MAX];
    int full = vsnprintf(text, sizeof text, format, arguments);
    if (full < 0)
        snprintf(text, sizeof text, "(a log line could not be formatted: %s)", format);
    bool cut = full >= (int)sizeof text;
    size_t length = format_prefix(line, room, journal, system_time, module, level);
    length = append_escaped(line, length, room, text, &cut);
    const char *end = cut ? ending : ending + 3;
    memcpy(line + length, end, strlen(end));
    return length + strlen(end);
}

/* ---- writing -----------------------------------------------------------------------------------
 */

void wvu_log_sink_init(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    unsigned long long device, inode;
    stderr_journal = stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
                     fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
                     status.st_ino == inode;
}

static bool has_room(void)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&fd, 1, 0) == 1 && (fd.revents & POLLOUT) != 0;
}

static size_t format_line(char line[WVU_LOG_LINE_MAX], uint32_t module, uint32_t level,
                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length = wvu_log_sink_format(line, stderr_journal, wvu_os_system_time(), module, level,
                                        format, arguments);
    va_end(arguments);
    return length;
}

/* Under mutex. */
static bool write_line(const char *line, size_t length)
{
    return has_room() && write(STDERR_FILENO, line, length) == (ssize_t)length;
}

/* Under mutex. */
static void tell_dropped(void)
{
    char line[WVU_LOG_LINE_MAX];
    size_t length = format_line(line, WVU_LOG_MAIN, WVU_LOG_WARNING,
                                "%llu log lines were dropped: nobody read standard error",
                                (unsigned long long)dropped);
    if (write_line(line, length))
        dropped = 0;
}

void wvu_os_log(uint32_t module, uint32_t level, const char *format, va_list arguments)
{
    char line[WVU_LOG_LINE_MAX];
    size_t length = wvu_log_sink_format(line, stderr_journal, wvu_os_system_time(), module, level,
                                        format, arguments);
    pthread_mutex_lock(&mutex);
    if (dropped > 0)
        tell_dropped();
    if (dropped > 0 || !write_line(line, length))
        dropped++;
    pthread_mutex_unlock(&mutex);
}
