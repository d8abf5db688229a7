/*
 * The rings of all CPUs as one thing to read from and to sleep on. Created and destroyed by the source
 * under its mutex, otherwise used by its thread; only wvu_rings_want_attention is for others.
 *
 * Sleeping is on one of two epoll sets. While events come the reader sleeps for a time and must only be
 * disturbed when a ring gets full; when nothing comes it sleeps until a bell rings (perf_ring.c).
 */
#define _GNU_SOURCE
#include "rings.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "os.h"

#define RINGS_TAG   WVU_TAG('W', 'v', 'R', 'g')
#define REASON_SIZE 256

/* ---- opening and closing ---------------------------------------------------------------------------- */

static bool watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void close_ring(struct wvu_rings *rings, uint32_t cpu)
{
    wvu_merge_open(&rings->merge.lanes[cpu], NULL, NULL, 0);
    if (wvu_perf_ring_is_open(&rings->rings[cpu]))
        wvu_perf_ring_close(&rings->rings[cpu]);
}

static wvu_status connect_ring(struct wvu_rings *rings, const struct wvu_perf_ring *ring,
                               char *reason)
{
    if (!watch(rings->busy_set, ring->samples) || !watch(rings->idle_set, ring->samples) ||
        !watch(rings->idle_set, ring->bell)) {
        snprintf(reason, REASON_SIZE, "watching the ring of CPU %u: %s", ring->cpu,
                 strerror(errno));
        return WVU_STATUS_NO_RESOURCES;
    }
    if (rings->programs != NULL && wvu_programs_set_ring(rings->programs, ring) != WVU_STATUS_OK) {
        snprintf(reason, REASON_SIZE, "the kernel's programs do not take the ring of CPU %u: %s",
                 ring->cpu, strerror(errno));
        return WVU_STATUS_IO_ERROR;
    }
    return WVU_STATUS_OK;
}

wvu_status wvu_rings_reopen(struct wvu_rings *rings, uint32_t cpu, char *reason)
{
    struct wvu_perf_ring *ring = &rings->rings[cpu];
    close_ring(rings, cpu);
    if (!wvu_cpu_is_online(cpu)) {
        snprintf(reason, REASON_SIZE, "CPU %u is not online", cpu);
        return WVU_STATUS_NAME_NOT_FOUND;
    }
    wvu_status status = wvu_perf_ring_open(ring, cpu, rings->bytes, &rings->features, reason);
    if (status != WVU_STATUS_OK)
        return status;
    status = connect_ring(rings, ring, reason);
    if (status != WVU_STATUS_OK) {
        close_ring(rings, cpu);
        return status;
    }
    wvu_merge_open(&rings->merge.lanes[cpu], ring->control, ring->data, ring->size);
    return WVU_STATUS_OK;
}

static wvu_status open_rings(struct wvu_rings *rings, char *reason)
{
    uint32_t opened = 0;
    rings->features = (struct wvu_perf_features){.build_ids = true, .inodes = true};
    for (uint32_t cpu = 0; cpu < rings->cpus; cpu++) {
        wvu_status status = wvu_rings_reopen(rings, cpu, reason);
        if (status == WVU_STATUS_OK)
            opened++;
        else if (status != WVU_STATUS_NAME_NOT_FOUND)
            return status;
    }
    if (opened == 0) {
        snprintf(reason, REASON_SIZE,
                 "no CPU is online, as /sys/devices/system/cpu tells it: is sysfs mounted?");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    return WVU_STATUS_OK;
}

static wvu_status open_sets(struct wvu_rings *rings, char *reason)
{
    rings->attention = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rings->busy_set = epoll_create1(EPOLL_CLOEXEC);
    rings->idle_set = epoll_create1(EPOLL_CLOEXEC);
    if (rings->attention >= 0 && rings->busy_set >= 0 && rings->idle_set >= 0 &&
        watch(rings->busy_set, rings->attention) && watch(rings->idle_set, rings->attention))
        return WVU_STATUS_OK;
    snprintf(reason, REASON_SIZE, "descriptors for the rings: %s", strerror(errno));
    return WVU_STATUS_NO_RESOURCES;
}

static wvu_status allocate(struct wvu_rings *rings, char *reason)
{
    size_t cpus = rings->cpus;
    rings->rings = wvu_os_alloc(cpus * sizeof *rings->rings, RINGS_TAG);
    rings->merge.lanes = wvu_os_alloc(cpus * sizeof *rings->merge.lanes, RINGS_TAG);
    rings->merge.heap = wvu_os_alloc(cpus * sizeof *rings->merge.heap, RINGS_TAG);
    rings->merge.scratch = wvu_os_alloc(WVU_MERGE_RECORD_MAX, RINGS_TAG);
    if (rings->rings == NULL || rings->merge.lanes == NULL || rings->merge.heap == NULL ||
        rings->merge.scratch == NULL) {
        snprintf(reason, REASON_SIZE, "no memory for the rings of %u CPUs", rings->cpus);
        return WVU_STATUS_NO_MEMORY;
    }
    wvu_merge_init(&rings->merge, rings->merge.lanes, rings->merge.heap, rings->cpus,
                   rings->merge.scratch);
    return WVU_STATUS_OK;
}

wvu_status wvu_rings_create(struct wvu_rings *rings, uint32_t cpus, uint64_t bytes,
                            struct wvu_programs *programs, char *reason)
{
    *rings = (struct wvu_rings){
        .cpus = cpus,
        .bytes = bytes,
        .programs = programs,
        .attention = -1,
        .busy_set = -1,
        .idle_set = -1,
    };
    wvu_status status = allocate(rings, reason);
    if (status == WVU_STATUS_OK)
        status = open_sets(rings, reason);
    if (status == WVU_STATUS_OK)
        status = open_rings(rings, reason);
    if (status != WVU_STATUS_OK)
        wvu_rings_destroy(rings);
    return status;
}

static void close_descriptor(int fd)
{
    if (fd >= 0)
        close(fd);
}

void wvu_rings_destroy(struct wvu_rings *rings)
{
    if (rings->cpus == 0)
        return;
    if (rings->rings != NULL && rings->merge.lanes != NULL) {
        for (uint32_t cpu = 0; cpu < rings->cpus; cpu++)
            close_ring(rings, cpu);
    }
    close_descriptor(rings->idle_set);
    close_descriptor(rings->busy_set);
    close_descriptor(rings->attention);
    wvu_os_free(rings->merge.scratch, RINGS_TAG);
    wvu_os_free(rings->merge.heap, RINGS_TAG);
    wvu_os_free(rings->merge.lanes, RINGS_TAG);
    wvu_os_free(rings->rings, RINGS_TAG);
    memset(rings, 0, sizeof *rings);
}

/* ---- bells and sleep ---------------------------------------------------------------------------------- */

void wvu_rings_arm(struct wvu_rings *rings)
{
    for (uint32_t cpu = 0; cpu < rings->cpus; cpu++) {
        if (wvu_perf_ring_is_open(&rings->rings[cpu]))
            wvu_perf_ring_arm(&rings->rings[cpu]);
    }
    if (rings->programs != NULL)
        wvu_programs_arm_bell(rings->programs, true);
    rings->armed = true;
    wvu_fence();
}

void wvu_rings_silence(struct wvu_rings *rings)
{
    if (rings->programs != NULL)
        wvu_programs_arm_bell(rings->programs, false);
    for (uint32_t cpu = 0; cpu < rings->cpus; cpu++) {
        if (wvu_perf_ring_is_open(&rings->rings[cpu]))
            wvu_perf_ring_silence(&rings->rings[cpu]);
    }
    rings->armed = false;
}

/* Looking at what is readable is also what makes a ring unreadable again. */
static void take_events(struct wvu_rings *rings, int set)
{
    struct epoll_event events[64];
    int count = epoll_wait(set, events, 64, 0);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        eventfd_t value;
        if (fd == rings->attention)
            eventfd_read(fd, &value);
        /* An event that the kernel has given up stays readable for ever. */
        if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0)
            epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
    }
}

/* The detour over ppoll is for times below a millisecond; epoll_pwait2 is younger than kernel 5.10. */
bool wvu_rings_sleep(struct wvu_rings *rings, bool idle, uint64_t ns)
{
    int set = idle ? rings->idle_set : rings->busy_set;
    struct pollfd waiting = {.fd = set, .events = POLLIN};
    struct timespec timeout = {
        .tv_sec = (time_t)(ns / 1000000000u),
        .tv_nsec = (long)(ns % 1000000000u),
    };
    if (ppoll(&waiting, 1, &timeout, NULL) <= 0)
        return false;
    take_events(rings, set);
    return true;
}

void wvu_rings_want_attention(struct wvu_rings *rings)
{
    eventfd_write(rings->attention, 1);
}
