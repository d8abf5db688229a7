/*
 * Walks over all processes and tells the tracker of them. Called by the source's thread alone; no locks.
 *
 * Who runs (keys, parents, ids) comes from the kernel's own list (the BPF task iterator), because /proc
 * cannot give the keys. What they run (path, arguments, directory) is then read from /proc, for
 * those the tracker does not know yet: at start there is no earlier moment to learn it from. A process
 * that ends in between is told with what could be read.
 *
 * A process that was started after everything that is told so far is left out: its fork is still to
 * come from the rings, and says more.
 */
#define _GNU_SOURCE
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"

#define SNAPSHOT_TAG WVU_TAG('W', 'v', 'S', 's')
#define PATH_BYTES   4200u /* PATH_MAX and " (deleted)" */
#define PAUSE_EVERY  64u

struct wvu_snapshot {
    int proc;
    char image[PATH_BYTES];
    char directory[PATH_BYTES];
    char arguments[WVU_EXEC_ARGUMENTS_MAX + 1];
    const struct wvu_snapshot_plan *plan;
    uint32_t seen;
    bool stopped;
};

static void path_of(char *path, size_t size, uint32_t pid, const char *file)
{
    snprintf(path, size, "%u/%s", pid, file);
}

static struct wvu_bytes read_link(struct wvu_snapshot *snapshot, uint32_t pid, const char *file,
                                  char *text)
{
    char path[32];
    path_of(path, sizeof path, pid, file);
    ssize_t size = readlinkat(snapshot->proc, path, text, PATH_BYTES);
    if (size <= 0)
        return (struct wvu_bytes){0};
    return (struct wvu_bytes){text, (uint32_t)size, (uint32_t)size, (uint32_t)size, true};
}

static uint64_t read_inode(struct wvu_snapshot *snapshot, uint32_t pid)
{
    char path[32];
    struct stat status;
    path_of(path, sizeof path, pid, "exe");
    return fstatat(snapshot->proc, path, &status, 0) == 0 ? status.st_ino : 0;
}

/* Reads until `size` bytes are there or the file ends. */
static uint32_t read_all(int fd, char *to, uint32_t size)
{
    uint32_t filled = 0;
    while (filled < size) {
        ssize_t got = read(fd, to + filled, size - filled);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        filled += (uint32_t)got;
    }
    return filled;
}

/* Beginning and end of a file of any length. */
static struct wvu_bytes read_arguments_from(int fd, char *text)
{
    struct wvu_bytes arguments = {.bytes = text, .known = true};
    arguments.size = read_all(fd, text, WVU_EXEC_ARGUMENTS_MAX);
    arguments.full_size = arguments.size;
    arguments.head = arguments.size;
    if (arguments.size == WVU_EXEC_ARGUMENTS_MAX) {
        char more[4096];
        uint32_t got;
        while ((got = read_all(fd, more, sizeof more)) != 0) {
            char *tail = text + WVU_EXEC_HEAD_MAX;
            memmove(tail, tail + got, WVU_EXEC_TAIL_MAX - got);
            memcpy(tail + WVU_EXEC_TAIL_MAX - got, more, got);
            arguments.full_size += got;
            arguments.head = WVU_EXEC_HEAD_MAX;
        }
    }
    /* A process that wrote over its arguments may have left the last NUL out. */
    if (arguments.size != 0 && text[arguments.size - 1] != '\0') {
        text[arguments.size++] = '\0';
        arguments.full_size++;
        if (arguments.size == arguments.full_size)
            arguments.head = arguments.size;
    }
    return arguments;
}

static struct wvu_bytes read_arguments(struct wvu_snapshot *snapshot, uint32_t pid)
{
    char path[32];
    path_of(path, sizeof path, pid, "cmdline");
    int fd = openat(snapshot->proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (struct wvu_bytes){0};
    struct wvu_bytes arguments = read_arguments_from(fd, snapshot->arguments);
    close(fd);
    arguments.known = arguments.size != 0; /* a dead leader of living threads has none to read */
    return arguments;
}

/* Kernel threads run no file; their name stands in brackets, as ps shows it. */
static struct wvu_bytes name_of_thread(struct wvu_snapshot *snapshot, const char comm[16])
{
    int size = snprintf(snapshot->image, sizeof snapshot->image, "[%.16s]", comm);
    return (struct wvu_bytes){snapshot->image, (uint32_t)size, (uint32_t)size, (uint32_t)size,
                              true};
}

static void describe(struct wvu_snapshot *snapshot, const struct wvu_sample_running *running,
                     struct wvu_created *created)
{
    uint32_t pid = running->task.pid;
    if ((running->task.flags & WVU_TASK_KERNEL_THREAD) != 0) {
        created->image = name_of_thread(snapshot, running->comm);
        return;
    }
    created->image = read_link(snapshot, pid, "exe", snapshot->image);
    created->inode = read_inode(snapshot, pid);
    created->arguments = read_arguments(snapshot, pid);
    created->directory = read_link(snapshot, pid, "cwd", snapshot->directory);
}

static void each_process(void *context, const struct wvu_sample_running *running)
{
    struct wvu_snapshot *snapshot = context;
    const struct wvu_snapshot_plan *plan = snapshot->plan;
    if (snapshot->stopped || (running->task.flags & WVU_TASK_DEAD) != 0)
        return; /* dead: its exit was told, or will be */
    bool known = wvu_tracker_key(plan->tracker, running->task.pid) == running->task.key;
    if (!known && running->start_time > plan->told_until)
        return;
    struct wvu_created created = {
        .cause = plan->cause,
        .time = wvu_os_uptime(),
        .task = &running->task,
        .task_known = true,
    };
    if (wvu_tracker_sync_needs(plan->tracker, &running->task))
        describe(snapshot, running, &created);
    wvu_tracker_sync_running(plan->tracker, &created);
    if (++snapshot->seen % PAUSE_EVERY == 0)
        snapshot->stopped = !plan->pause(plan->context);
}

wvu_status wvu_snapshot_run(struct wvu_snapshot *snapshot, const struct wvu_snapshot_plan *plan)
{
    snapshot->plan = plan;
    snapshot->seen = 0;
    snapshot->stopped = false;
    wvu_tracker_sync_begin(plan->tracker, plan->again);
    wvu_status status = wvu_programs_walk(plan->programs, each_process, snapshot);
    if (status == WVU_STATUS_OK && !snapshot->stopped)
        wvu_tracker_sync_end(plan->tracker, wvu_os_uptime());
    return status;
}

wvu_status wvu_snapshot_create(struct wvu_snapshot **created)
{
    struct wvu_snapshot *snapshot = wvu_os_alloc(sizeof *snapshot, SNAPSHOT_TAG);
    if (snapshot == NULL)
        return WVU_STATUS_NO_MEMORY;
    snapshot->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (snapshot->proc < 0) {
        wvu_os_free(snapshot, SNAPSHOT_TAG);
        return WVU_STATUS_IO_ERROR;
    }
    *created = snapshot;
    return WVU_STATUS_OK;
}

void wvu_snapshot_destroy(struct wvu_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    close(snapshot->proc);
    wvu_os_free(snapshot, SNAPSHOT_TAG);
}
