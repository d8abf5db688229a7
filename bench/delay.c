/*
 * How late lines of JSON are: reads a reader's output from standard input, and compares the time at which a
 * line was there with the line's Timestamp, the kernel's time of the event. At the end of its input it
 * prints one line a class of event, in microseconds.
 *
 *     ntfltmgr ... | delay
 *
 * The classes: Exec and Fork (ProcessCreate by cause), ProcessDestroy, ImageLoad. What ran before the
 * sensor started, and the sensor's own events, do not count. A ProcessCreate with the cause Fork waits by
 * design until it is known that no exec follows.
 *
 * A time is taken after each read, for all lines that it completed. Single thread.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define BUFFER      (4u << 20)
#define SAMPLES_MAX (8u << 20) /* of each class; more are an error */

struct class
{
    const char *name;
    const char *mark; /* what a line of this class has in it */
    float *samples;   /* microseconds */
    uint32_t count;
};

static struct class classes[] = {
    {"Exec", "\"Cause\":\"Exec\"", NULL, 0},
    {"Fork", "\"Cause\":\"Fork\"", NULL, 0},
    {"ProcessDestroy", "\"sensor_type\":\"ProcessDestroy\"", NULL, 0},
    {"ImageLoad", "\"sensor_type\":\"ImageLoad\"", NULL, 0},
};
#define CLASSES (sizeof classes / sizeof *classes)

static unsigned decimal(const char *text, unsigned digits)
{
    unsigned value = 0;
    for (; digits > 0; digits--)
        value = value * 10 + (unsigned)(*text++ - '0');
    return value;
}

/* Nanoseconds since 1970 of 2001-02-03T04:05:06.7891234Z. The date changes once a day. */
static int64_t time_of(const char *text)
{
    static char date[11];
    static int64_t midnight;
    if (memcmp(text, date, 10) != 0) {
        struct tm day = {.tm_year = (int)decimal(text, 4) - 1900,
                         .tm_mon = (int)decimal(text + 5, 2) - 1,
                         .tm_mday = (int)decimal(text + 8, 2)};
        midnight = (int64_t)timegm(&day);
        memcpy(date, text, 10);
    }
    int64_t second = midnight + decimal(text + 11, 2) * 3600 + decimal(text + 14, 2) * 60 +
                     decimal(text + 17, 2);
    return second * 1000000000 + (int64_t)decimal(text + 20, 7) * 100;
}

static struct class *class_of(const char *line, size_t size)
{
    for (uint32_t i = 0; i < CLASSES; i++)
        if (memmem(line, size, classes[i].mark, strlen(classes[i].mark)) != NULL)
            return &classes[i];
    return NULL;
}

static void look_at(const char *line, size_t size, int64_t now)
{
    static const char key[] = "\"Timestamp\":\"";
    struct class *class = class_of(line, size);
    if (class == NULL)
        return;
    const char *at = memmem(line, size, key, sizeof key - 1);
    if (at == NULL || (size_t)(line + size - at) < sizeof key + 28)
        bench_fail("an event has no Timestamp");
    if (class->count == SAMPLES_MAX)
        bench_fail("more events than delay has room for");
    class->samples[class->count++] = (float)(now - time_of(at + sizeof key - 1)) / 1000.0f;
}

static int64_t wall_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Returns how many bytes of the last, incomplete line are at the buffer's beginning. */
static size_t take_lines(char *buffer, size_t size, int64_t now)
{
    char *line = buffer;
    char *end;
    while ((end = memchr(line, '\n', size - (size_t)(line - buffer))) != NULL) {
        look_at(line, (size_t)(end - line), now);
        line = end + 1;
    }
    size_t left = size - (size_t)(line - buffer);
    memmove(buffer, line, left);
    return left;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(const struct class *class, double part)
{
    return class->count == 0 ? 0 : class->samples[(uint32_t)(part * (class->count - 1))];
}

int main(void)
{
    char *buffer = malloc(BUFFER);
    size_t size = 0;
    if (buffer == NULL)
        bench_fail("out of memory");
    for (uint32_t i = 0; i < CLASSES; i++) {
        classes[i].samples = malloc(SAMPLES_MAX * sizeof *classes[i].samples);
        if (classes[i].samples == NULL)
            bench_fail("out of memory");
    }
    for (;;) {
        ssize_t got = read(STDIN_FILENO, buffer + size, BUFFER - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size = take_lines(buffer, size + (size_t)got, wall_clock());
        if (size == BUFFER)
            bench_fail("a line is longer than 4 MiB");
    }
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *class = &classes[i];
        qsort(class->samples, class->count, sizeof *class->samples, compare);
        printf("{\"bench\":\"delay\",\"name\":\"%s\",\"unit\":\"us\",\"count\":%u,\"min\":%.1f,"
               "\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}\n",
               class->name, class->count, quantile(class, 0), quantile(class, 0.5),
               quantile(class, 0.9), quantile(class, 0.99), quantile(class, 0.999),
               quantile(class, 1));
        free(class->samples);
    }
    free(buffer);
    return 0;
}
