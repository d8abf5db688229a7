/*
 * Opens perf events and maps their rings. Called by the source, at start and when a CPU comes or goes;
 * arm and silence by the source's thread. No locks.
 *
 * Three events on each CPU:
 *
 *   samples   a BPF output event. The programs write their samples to it, the kernel its records of
 *             executable mappings (MMAP2, here with build ids) and of names (COMM, which marks the
 *             beginning of an exec). One ring, so all of it is in the order of that CPU. It makes its
 *             descriptor readable only when half of the ring is full.
 *   inodes    the same mappings once more, because a MMAP2 record has either a build id or device and
 *             inode. It writes into the ring of `samples`. Its records are told apart by their longer
 *             trailer: the kernel's flag for "has a build id" cannot be used for that, because it stays
 *             set from one event's record to the next one's (a second sensor on the machine, or perf
 *             record --buildid-mmap, is enough to see it).
 *   bell      wakes the source (below). It is opened first: the kernel tells the newest event of a CPU
 *             first, so the bell rings after the record that it rings for is in the other ring.
 *
 * The bell. Its ring has one page. A ring makes its descriptor readable with each record it takes, and
 * takes none while it is full; whether it is full is decided by data_tail, which is ours. So an armed
 * bell is an empty ring and a silent bell is a full one, and both are one store. (Pausing the event would
 * do the same with a system call for each CPU.) The BPF programs ring it too, when wvu_bell_armed says
 * that somebody sleeps; the kernel's own records cannot ask, and so they try each time.
 */
#define _GNU_SOURCE
#include "perf_ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"

#define REASON_SIZE 256

static int open_event(struct perf_event_attr *attr, uint32_t cpu)
{
    return (int)syscall(SYS_perf_event_open, attr, -1, (int)cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static struct perf_event_attr mapping_attr(uint64_t config)
{
    return (struct perf_event_attr){
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(struct perf_event_attr),
        .config = config,
        .sample_type = PERF_SAMPLE_TIME,
        .mmap = 1,
        .mmap2 = 1,
        .sample_id_all = 1,
        .use_clockid = 1,
        .clockid = CLOCK_MONOTONIC,
        .watermark = 1,
    };
}

static int open_samples(uint32_t cpu, uint64_t bytes, struct wvu_perf_features *features)
{
    struct perf_event_attr attr = mapping_attr(PERF_COUNT_SW_BPF_OUTPUT);
    attr.sample_type |= PERF_SAMPLE_RAW;
    attr.sample_period = 1;
    attr.comm = 1;
    attr.comm_exec = 1;
    attr.wakeup_watermark = (uint32_t)(bytes / 2);
    attr.build_id = features->build_ids;
    int fd = open_event(&attr, cpu);
    if (fd < 0 && errno == EINVAL && features->build_ids) {
        attr.build_id = 0;
        fd = open_event(&attr, cpu);
        if (fd >= 0)
            *features = (struct wvu_perf_features){0}; /* without build ids it has the inodes */
    }
    return fd;
}

static int open_inodes(uint32_t cpu, int samples)
{
    struct perf_event_attr attr = mapping_attr(PERF_COUNT_SW_DUMMY);
    attr.sample_type |= PERF_SAMPLE_TID; /* the mark: WVU_INODE_TRAILER */
    int fd = open_event(&attr, cpu);
    if (fd < 0)
        return -1;
    if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, samples) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_bell(uint32_t cpu)
{
    struct perf_event_attr attr = mapping_attr(PERF_COUNT_SW_BPF_OUTPUT);
    attr.sample_type |= PERF_SAMPLE_RAW;
    attr.sample_period = 1;
    attr.wakeup_watermark = 1;
    return open_event(&attr, cpu);
}

static struct perf_event_mmap_page *map(int fd, uint64_t bytes)
{
    void *memory = mmap(NULL, (size_t)(bytes + (uint64_t)sysconf(_SC_PAGESIZE)),
                        PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(struct perf_event_mmap_page *control, uint64_t bytes)
{
    munmap(control, (size_t)(bytes + (uint64_t)sysconf(_SC_PAGESIZE)));
}

static uint64_t bell_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static wvu_status explain(int error, uint32_t cpu, uint64_t bytes, char *reason)
{
    switch (error) {
    case ENODEV:
        snprintf(reason, REASON_SIZE, "CPU %u is not online", cpu);
        return WVU_STATUS_NAME_NOT_FOUND;
    case EACCES:
    case EPERM:
        snprintf(
            reason, REASON_SIZE,
            "perf events on CPU %u: %s; run as root, or with CAP_PERFMON and CAP_IPC_LOCK, and "
            "let no seccomp profile refuse perf_event_open",
            cpu, strerror(error));
        return WVU_STATUS_PRIVILEGE_NOT_HELD;
    case ENOMEM:
        snprintf(reason, REASON_SIZE,
                 "no memory for the ring of CPU %u (%llu KiB): lower ring_bytes", cpu,
                 (unsigned long long)(bytes >> 10));
        return WVU_STATUS_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        snprintf(reason, REASON_SIZE,
                 "no descriptors left at CPU %u: raise LimitNOFILE (three a CPU)", cpu);
        return WVU_STATUS_NO_RESOURCES;
    case ENOSYS:
        snprintf(reason, REASON_SIZE, "this kernel has no perf events (CONFIG_PERF_EVENTS)");
        return WVU_STATUS_NOT_SUPPORTED;
    default:
        snprintf(reason, REASON_SIZE, "perf events on CPU %u: %s", cpu, strerror(error));
        return WVU_STATUS_NOT_SUPPORTED;
    }
}

wvu_status wvu_perf_ring_open(struct wvu_perf_ring *ring, uint32_t cpu, uint64_t bytes,
                              struct wvu_perf_features *features, char *reason)
{
    *ring = (struct wvu_perf_ring){.cpu = cpu, .samples = -1, .inodes = -1, .bell = -1};
    ring->size = bytes;
    ring->bell = open_bell(cpu);
    if (ring->bell < 0)
        goto fail;
    ring->bell_control = map(ring->bell, bell_bytes());
    if (ring->bell_control == NULL)
        goto fail;
    wvu_perf_ring_silence(ring);
    ring->samples = open_samples(cpu, bytes, features);
    if (ring->samples < 0)
        goto fail;
    ring->control = map(ring->samples, bytes);
    if (ring->control == NULL)
        goto fail;
    ring->data = (const uint8_t *)ring->control + sysconf(_SC_PAGESIZE);
    if (features->inodes) {
        ring->inodes = open_inodes(cpu, ring->samples);
        if (ring->inodes < 0)
            goto fail;
    }
    return WVU_STATUS_OK;

fail:;
    int error = errno;
    wvu_perf_ring_close(ring);
    return explain(error, cpu, bytes, reason);
}

static void close_event(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void wvu_perf_ring_close(struct wvu_perf_ring *ring)
{
    if (ring->control != NULL)
        unmap(ring->control, ring->size);
    if (ring->bell_control != NULL)
        unmap(ring->bell_control, bell_bytes());
    ring->control = NULL;
    ring->bell_control = NULL;
    close_event(&ring->inodes);
    close_event(&ring->samples);
    close_event(&ring->bell);
}

/* ---- the bell -------------------------------------------------------------------------------------- */

static uint64_t bell_head(const struct wvu_perf_ring *ring)
{
    return wvu_load64_acquire((const uint64_t *)&ring->bell_control->data_head);
}

static void set_bell_tail(struct wvu_perf_ring *ring, uint64_t tail)
{
    wvu_store64_release((uint64_t *)&ring->bell_control->data_tail, tail);
}

void wvu_perf_ring_arm(struct wvu_perf_ring *ring)
{
    set_bell_tail(ring, bell_head(ring));
}

void wvu_perf_ring_silence(struct wvu_perf_ring *ring)
{
    /* All but 8 bytes are taken, says this; no record is so small. A record that is being written now
     * can move the head once more and so make room again: look until it stands still. One that still
     * comes after that costs a wake-up, no more. */
    uint64_t head;
    do {
        head = bell_head(ring);
        set_bell_tail(ring, head + 8 - bell_bytes());
        wvu_fence();
    } while (bell_head(ring) != head);
}

/* ---- CPUs ------------------------------------------------------------------------------------------ */

/* The last number of a list like "0-3,8-11"; the lists of the kernel are sorted. */
static bool in_list(const char *path, uint32_t wanted, uint32_t *last)
{
    bool found = false;
    unsigned from;
    unsigned to;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (fscanf(file, "%u", &from) == 1) {
        int next = fgetc(file);
        to = from;
        if (next == '-') {
            if (fscanf(file, "%u", &to) != 1)
                break;
            next = fgetc(file);
        }
        found = found || (wanted >= from && wanted <= to);
        *last = to;
        if (next != ',')
            break;
    }
    fclose(file);
    return found;
}

uint32_t wvu_cpu_count(void)
{
    uint32_t last = (uint32_t)sysconf(_SC_NPROCESSORS_CONF) - 1;
    in_list("/sys/devices/system/cpu/possible", 0, &last);
    return last + 1;
}

bool wvu_cpu_is_online(uint32_t cpu)
{
    uint32_t last;
    return in_list("/sys/devices/system/cpu/online", cpu, &last);
}
