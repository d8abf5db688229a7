/*
 * Ground truth: starts many processes that each carry a serial number, and writes down what it did.
 *
 *     spawner --program PATH --count N [--first SERIAL] [--workers P] [--rate R] [--out FILE]
 *             [-- ARGUMENT...]
 *
 * Each worker is a process of its own that starts its share one after the other: posix_spawn of
 * PATH SERIAL ARGUMENT..., then wait. The serials FIRST .. FIRST+N-1 are dealt out in turn. --rate
 * spreads each worker's starts evenly over time (a second); without it they go as fast as they can.
 *
 * FILE becomes an array of struct entry (little-endian, 24 bytes each), in the order of the
 * serials. Standard output gets one line: elapsed nanoseconds, processes, those whose exit code was
 * wrong. The exit code is 0 when every process was started and ended as it should.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "code.h"

struct entry {
    uint64_t serial;
    uint32_t pid;
    uint32_t parent;
    int32_t status; /* as wait() gave it; -1: it was not started */
    uint32_t reserved;
};

struct plan {
    char *program;
    unsigned long first;
    unsigned long count;
    unsigned long workers;
    unsigned long rate; /* starts a second of each worker; 0: no limit */
    char **arguments;   /* what follows the serial; ends with NULL */
    struct entry *entries;
};

extern char **environ;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "spawner: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t when)
{
    struct timespec time = {.tv_sec = (time_t)(when / 1000000000u),
                            .tv_nsec = (long)(when % 1000000000u)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
        continue;
}

static void start_one(const struct plan *plan, char **argv, unsigned long index)
{
    struct entry *entry = &plan->entries[index];
    char digits[24];
    pid_t pid;
    int status;

    entry->serial = plan->first + index;
    entry->parent = (uint32_t)getpid();
    entry->status = -1;
    snprintf(digits, sizeof(digits), "%lu", plan->first + index);
    argv[1] = digits;
    if (posix_spawn(&pid, plan->program, NULL, NULL, argv, environ) != 0)
        return;
    entry->pid = (uint32_t)pid;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid");
    entry->status = status;
}

static void work(const struct plan *plan, unsigned long worker)
{
    uint64_t begin = now();
    unsigned long done = 0;
    size_t extra = 0;
    char **argv;

    while (plan->arguments[extra] != NULL)
        extra++;
    argv = calloc(extra + 3, sizeof(*argv));
    if (argv == NULL)
        fail("arguments");
    argv[0] = plan->program;
    memcpy(argv + 2, plan->arguments, extra * sizeof(*argv));
    for (unsigned long i = worker; i < plan->count; i += plan->workers) {
        if (plan->rate != 0)
            sleep_until(begin + done++ * 1000000000u / plan->rate);
        start_one(plan, argv, i);
    }
    free(argv);
}

static struct entry *map_entries(const char *path, unsigned long count)
{
    size_t size = count * sizeof(struct entry);
    int file = -1;
    void *memory;

    if (path != NULL) {
        file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (file < 0 || ftruncate(file, (off_t)size) != 0)
            fail(path);
    }
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_POPULATE | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    if (file >= 0)
        close(file);
    return memory;
}

static unsigned long number(const char *text)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text == NULL ? "" : text, &end, 10);
    if (errno != 0 || text == NULL || end == text || *end != '\0') {
        errno = EINVAL;
        fail(text == NULL ? "a number is missing" : text);
    }
    return value;
}

static void parse(struct plan *plan, const char **out, int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--program") == 0)
            plan->program = argv[i + 1];
        else if (strcmp(argv[i], "--count") == 0)
            plan->count = number(argv[i + 1]);
        else if (strcmp(argv[i], "--first") == 0)
            plan->first = number(argv[i + 1]);
        else if (strcmp(argv[i], "--workers") == 0)
            plan->workers = number(argv[i + 1]);
        else if (strcmp(argv[i], "--rate") == 0)
            plan->rate = number(argv[i + 1]);
        else if (strcmp(argv[i], "--out") == 0)
            *out = argv[i + 1];
        else {
            errno = EINVAL;
            fail(argv[i]);
        }
    }
    plan->arguments = argv + (i < argc ? i : argc);
    if (plan->program == NULL || plan->count == 0 || plan->workers == 0) {
        errno = EINVAL;
        fail("--program, --count and --workers");
    }
}

int main(int argc, char **argv)
{
    struct plan plan = {.first = 1, .workers = 1};
    unsigned long wrong = 0;
    const char *out = NULL;
    uint64_t begin;
    int status;

    parse(&plan, &out, argc, argv);
    plan.entries = map_entries(out, plan.count);
    begin = now();
    for (unsigned long worker = 0; worker < plan.workers; worker++) {
        pid_t pid = fork();

        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            work(&plan, worker);
            _exit(0);
        }
    }
    while (wait(&status) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            wrong++;
    printf("%llu %lu ", (unsigned long long)(now() - begin), plan.count);
    for (unsigned long i = 0; i < plan.count; i++) {
        int ended = plan.entries[i].status;

        if (!WIFEXITED(ended) || WEXITSTATUS(ended) != code_of(plan.entries[i].serial))
            wrong++;
    }
    printf("%lu\n", wrong);
    return wrong == 0 ? 0 : 1;
}
