/*
 * The event source: takes the kernel's events from the perf rings of all CPUs, in the order of time, and
 * hands what the tracker makes of them to the probes.
 *
 * Threads. Probes acquire and release the source under `control` (lock order: a probe's control, then
 * this). One thread, wvu-source, does all the rest; between its start and its end everything below
 * "the thread's own" belongs to it. Release asks it to end and joins it.
 *
 * A look takes what is in the rings (merge.c says why the order is right), tells the tracker and wakes
 * the dispatcher once. When to look:
 *
 *     busy    while events come: after a short gap, or, when the moderator has no more tokens, once in
 *             its period. The rings are large enough to wait in; a ring that is half full ends the wait.
 *     armed   after some empty looks: the bells are armed, the rings looked at once more, and then it
 *             sleeps until a bell rings, a forked child has waited long enough, or SAFETY_NS passed.
 *
 * No event is overlooked: an event that is written after the bells were armed rings one; an event that was
 * written before is seen by the look that follows the arming. Between "written" and "seen" there are
 * the processors' store buffers and the gap between a record and its ring of the bell; a first short
 * sleep with a time-out covers them, so that the long sleep begins milliseconds after the arming.
 *
 * Flow control. The kernel's rings stand before the queue. While a reader makes progress and the queue
 * is nearly full, nothing is taken (the kernel's rings fill instead); when a ring gets full, or nobody
 * reads, events are taken anyway and the queue overwrites its oldest, with exact numbers.
 *
 * Loss. The programs count the samples they could not write, by kind; the kernel says with a record of its
 * own how many records did not fit. The difference are the kernel's own records, whose kind it does not
 * say. After a loss the processes are walked again: new ones are Found, missing ones are gone.
 *
 * CPUs. Each has a ring. When samples of a CPU fail for another reason than a full ring, and nothing
 * comes from it, then it went or came: its ring is opened again.
 *
 * Without the programs (no right, no BTF) the image probe still runs on the kernel's own records; then
 * there are no keys.
 */
#define _GNU_SOURCE
#include "source.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "dispatcher.h"
#include "log.h"
#include "merge.h"
#include "moderator.h"
#include "os.h"
#include "perf_ring.h"
#include "probes.h"
#include "programs.h"
#include "sensor.h"
#include "snapshot.h"
#include "tracker.h"

#define SOURCE_TAG  WVU_TAG('W', 'v', 'S', 'o')
#define REASON_SIZE 256

#define GAP_NS         250000u /* between looks while events come and the moderator agrees */
#define EMPTY_LOOKS    2u      /* before the bells are armed */
#define SETTLE_NS      5000000u
#define SAFETY_NS      UINT64_C(10000000000)
#define WALK_PERIOD_NS UINT64_C(1000000000) /* walks after losses are at least so far apart */
#define MEND_PERIOD_NS UINT64_C(1000000000)
#define CHECK_RECORDS  128u /* flow control is asked each so many records or bytes */
#define CHECK_BYTES    (256u << 10)
#define FILL_LIMIT     192u /* of 256: from here on the rings are emptied, whatever the queue says */

/* What is remembered of a CPU between looks. */
struct cpu_state {
    struct wvu_cpu_counters told; /* the losses that were reported */
    uint64_t told_full;           /* their sum, as far as they did not fit */
    uint64_t said;                /* records that the kernel said did not fit */
    uint64_t said_told;
    uint64_t mend_failed; /* at the last look for broken rings */
    uint64_t mend_head;
};

struct wvu_source {
    struct wvu_source_settings settings;
    wvu_mutex control;
    bool used[WVU_SOURCE_USES]; /* under control */

    /* ---- from the first acquire to the last release */
    struct wvu_probe *probes[WVU_SOURCE_USES]; /* NULL: the sensor has no such probe */
    struct wvu_programs *programs;             /* NULL: only images, without keys */
    uint32_t cpus;
    struct wvu_perf_features features;
    struct wvu_perf_ring *rings;
    struct cpu_state *states;
    struct wvu_merge merge;
    struct wvu_tracker *tracker;
    struct wvu_snapshot *snapshot;
    int attention; /* eventfd: look at `stops` and `again` */
    int busy_set;  /* epoll: attention and the rings (half full) */
    int idle_set;  /* epoll: these and the bells */
    wvu_thread thread;
    uint64_t attached_at;
    uint32_t stops; /* atomic */
    uint32_t again; /* atomic: tell all processes again */

    /* ---- the thread's own */
    struct wvu_moderator moderator;
    int64_t wall; /* system time (100 ns since 1601) and uptime of the same instant */
    uint64_t wall_uptime;
    bool open[WVU_SOURCE_USES]; /* the probe is entered: it wants events */
    bool emitted;               /* something was committed since the last wake */
    bool armed;
    uint32_t empty_looks;
    bool wants_walk;
    uint64_t last_walk;
    uint64_t last_mend;
    uint32_t deferred_lane; /* a mapping whose second record was not there yet: where */
    uint64_t deferred_position;
    struct wvu_source_counters counters; /* each written by the thread, read anywhere (relaxed) */
};

static void add(uint64_t *counter, uint64_t count)
{
    wvu_store64_relaxed(counter, *counter + count);
}

static bool stopping(const struct wvu_source *source)
{
    return wvu_load_acquire(&source->stops) != 0;
}

/* ---- to the probes ------------------------------------------------------------------------------------ */

static struct wvu_stamp stamp_of(const struct wvu_source *source, uint64_t uptime)
{
    int64_t ago = (int64_t)(source->wall_uptime - uptime);
    return (struct wvu_stamp){.time = source->wall - ago / 100, .uptime = uptime};
}

static void on_created(void *context, const struct wvu_created *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_PROCESSES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_process_probe_created(source->probes[WVU_SOURCE_PROCESSES], event, &stamp);
    source->emitted = true;
}

static void on_destroyed(void *context, const struct wvu_destroyed *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_PROCESSES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_process_probe_destroyed(source->probes[WVU_SOURCE_PROCESSES], event, &stamp);
    source->emitted = true;
}

static void on_image(void *context, const struct wvu_image *event)
{
    struct wvu_source *source = context;
    if (!source->open[WVU_SOURCE_IMAGES])
        return;
    struct wvu_stamp stamp = stamp_of(source, event->time);
    wvu_image_probe_loaded(source->probes[WVU_SOURCE_IMAGES], event, &stamp);
    source->emitted = true;
}

static void count_loss(struct wvu_source *source, uint16_t cause, uint16_t type, uint64_t count)
{
    bool image = type == WVU_EVENT_ImageLoad;
    enum wvu_source_use use = image ? WVU_SOURCE_IMAGES : WVU_SOURCE_PROCESSES;
    if (!source->open[use] && (type != 0 || !source->open[WVU_SOURCE_IMAGES]))
        return; /* nobody wanted them */
    struct wvu_probe *probe = source->probes[use];
    if (probe == NULL)
        probe = source->probes[WVU_SOURCE_IMAGES];
    wvu_probe_count_loss(probe, cause, type, count);
    source->emitted = true;
}

static void on_lost(void *context, uint16_t type, uint64_t count)
{
    count_loss(context, WVU_LOSS_SOURCE_TABLE, type, count);
}

static void enter_probes(struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES; use++)
        source->open[use] = source->probes[use] != NULL && wvu_probe_enter(source->probes[use]);
}

static void wake_dispatcher(struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES && source->emitted; use++) {
        if (source->open[use]) {
            wvu_probe_wake(source->probes[use]);
            source->emitted = false;
        }
    }
}

static void leave_probes(struct wvu_source *source)
{
    wake_dispatcher(source);
    source->emitted = false;
    for (int use = 0; use < WVU_SOURCE_USES; use++) {
        if (source->open[use])
            wvu_probe_leave(source->probes[use]);
        source->open[use] = false;
    }
}

static void refresh_clock(struct wvu_source *source)
{
    source->wall = wvu_os_system_time();
    source->wall_uptime = wvu_os_uptime();
}

/* ---- records ---------------------------------------------------------------------------------------- */

/* PERF_RECORD_MMAP2, up to its path. */
struct mmap2_record {
    struct perf_event_header header;
    uint32_t pid;
    uint32_t tid;
    uint64_t address;
    uint64_t size;
    uint64_t offset;
    union {
        struct {
            uint32_t major;
            uint32_t minor;
            uint64_t inode;
            uint64_t generation;
        };
        struct {
            uint8_t build_id_size;
            uint8_t reserved[3];
            uint8_t build_id[WVU_BUILD_ID_MAX];
        };
    };
    uint32_t protection;
    uint32_t flags;
};
_Static_assert(sizeof(struct mmap2_record) == 72, "layout");

static bool is_mmap2(const struct perf_event_header *header)
{
    return header->type == PERF_RECORD_MMAP2 &&
           header->size > sizeof(struct mmap2_record) + sizeof(uint64_t);
}

/* The kernel names what is no file in brackets or with two slashes; everything else is a path. */
static bool is_file(const char *path)
{
    return path[0] == '/' && strncmp(path, "//anon", 6) != 0;
}

static bool same_mapping(const struct mmap2_record *a, const struct mmap2_record *b)
{
    return a->pid == b->pid && a->tid == b->tid && a->address == b->address && a->size == b->size &&
           a->offset == b->offset;
}

static void read_identity(const struct mmap2_record *record, struct wvu_image *image)
{
    if ((record->header.misc & PERF_RECORD_MISC_MMAP_BUILD_ID) == 0) {
        image->inode = record->inode;
        image->device_major = record->major;
        image->device_minor = record->minor;
    } else if (record->build_id_size <= WVU_BUILD_ID_MAX) {
        image->build_id_size = record->build_id_size;
        memcpy(image->build_id, record->build_id, record->build_id_size);
    }
}

/* The record of the same mapping from the ring's other event, which was written right after this one.
 * False: it is not there yet, come again. */
static bool add_other_half(struct wvu_source *source, const struct mmap2_record *record,
                           struct wvu_image *image)
{
    struct wvu_merge *merge = &source->merge;
    const struct perf_event_header *follower = wvu_merge_follower(merge);
    if (follower != NULL) {
        const struct mmap2_record *other = (const struct mmap2_record *)(const void *)follower;
        if (is_mmap2(follower) && same_mapping(record, other)) {
            read_identity(other, image);
            wvu_merge_skip(merge);
            add(&source->counters.records, 1);
        }
        return true;
    }
    uint64_t position = merge->lanes[merge->current].position;
    if (source->deferred_lane == merge->current && source->deferred_position == position)
        return true; /* it was waited for once: it did not fit the ring */
    source->deferred_lane = merge->current;
    source->deferred_position = position;
    return false;
}

static bool handle_mapping(struct wvu_source *source, const struct perf_event_header *header,
                           uint64_t time)
{
    const struct mmap2_record *record = (const struct mmap2_record *)(const void *)header;
    if (!is_mmap2(header)) {
        add(&source->counters.malformed, 1);
        return true;
    }
    const char *path = (const char *)(record + 1);
    if (!is_file(path))
        return true;
    struct wvu_image image = {
        .time = time,
        .pid = record->pid,
        .tid = record->tid,
        .base = record->address,
        .size = record->size,
        .file_offset = record->offset,
        .path = path,
        .path_size = (uint32_t)strnlen(path, header->size - sizeof *record - sizeof(uint64_t)),
    };
    read_identity(record, &image);
    if (source->features.inodes && !add_other_half(source, record, &image))
        return false;
    if (source->programs != NULL)
        wvu_tracker_image(source->tracker, &image);
    else
        on_image(source, &image);
    return true;
}

struct comm_record {
    struct perf_event_header header;
    uint32_t pid;
    uint32_t tid;
    char name[8]; /* or 16 */
};

static void handle_name(struct wvu_source *source, const struct perf_event_header *header,
                        uint64_t time)
{
    const struct comm_record *record = (const struct comm_record *)(const void *)header;
    if (header->size < sizeof *record + sizeof(uint64_t)) {
        add(&source->counters.malformed, 1);
        return;
    }
    uint32_t room = header->size - (uint32_t)offsetof(struct comm_record, name) - 8;
    if ((header->misc & PERF_RECORD_MISC_COMM_EXEC) != 0)
        wvu_tracker_exec_begins(source->tracker, record->pid, time);
    else if (record->pid == record->tid)
        wvu_tracker_renamed(source->tracker, record->pid, record->name,
                            (uint32_t)strnlen(record->name, room));
}

static void handle_exec(struct wvu_source *source, const uint8_t *data, uint32_t size,
                        uint64_t time)
{
    struct wvu_sample_exec exec;
    memcpy(&exec, data, sizeof exec);
    uint64_t texts = (uint64_t)exec.file_name_size + exec.directory_size + exec.arguments_size;
    if (texts > size - sizeof exec || exec.arguments_head > exec.arguments_size ||
        exec.directory_size > WVU_EXEC_DIRECTORY_MAX ||
        exec.file_name_size > WVU_EXEC_FILE_NAME_MAX) {
        add(&source->counters.malformed, 1);
        return;
    }
    wvu_tracker_exec(source->tracker, &exec, data + sizeof exec, time);
}

static void handle_module(struct wvu_source *source, const uint8_t *data, uint64_t time)
{
    struct wvu_sample_module module;
    memcpy(&module, data, sizeof module);
    if (!source->open[WVU_SOURCE_IMAGES] || module.build_id_size > WVU_BUILD_ID_MAX)
        return;
    struct wvu_stamp stamp = stamp_of(source, time);
    wvu_image_probe_module(source->probes[WVU_SOURCE_IMAGES], &module,
                           wvu_tracker_key(source->tracker, module.pid), &stamp);
    source->emitted = true;
}

/* A sample of our programs. Its data are at an address that is a multiple of 4 only, so the fixed parts
 * are copied out. */
static void handle_sample(struct wvu_source *source, const struct perf_event_header *header,
                          uint64_t time)
{
    static const uint32_t least[WVU_SAMPLE_KINDS] = {
        [WVU_SAMPLE_FORK] = sizeof(struct wvu_sample_task),
        [WVU_SAMPLE_EXEC] = sizeof(struct wvu_sample_exec),
        [WVU_SAMPLE_EXIT] = sizeof(struct wvu_sample_exit),
        [WVU_SAMPLE_MODULE] = sizeof(struct wvu_sample_module),
    };
    union {
        uint32_t kind;
        struct wvu_sample_task task;
        struct wvu_sample_exit exit;
    } sample;
    const uint8_t *bytes = (const uint8_t *)header;
    const uint32_t before = sizeof *header + sizeof(uint64_t) + sizeof(uint32_t);
    uint32_t size = 0;
    uint32_t kind = WVU_SAMPLE_NONE;
    if (header->size >= before + sizeof kind) {
        memcpy(&size, bytes + before - sizeof size, sizeof size);
        memcpy(&kind, bytes + before, sizeof kind);
    }
    if (kind >= WVU_SAMPLE_KINDS || least[kind] == 0 || size < least[kind] ||
        size > header->size - before) {
        add(&source->counters.malformed, 1);
        return;
    }
    switch (kind) {
    case WVU_SAMPLE_FORK:
        memcpy(&sample.task, bytes + before, sizeof sample.task);
        wvu_tracker_fork(source->tracker, &sample.task, time);
        break;
    case WVU_SAMPLE_EXEC:
        handle_exec(source, bytes + before, size, time);
        break;
    case WVU_SAMPLE_EXIT:
        memcpy(&sample.exit, bytes + before, sizeof sample.exit);
        wvu_tracker_exit(source->tracker, &sample.exit, time);
        break;
    default:
        handle_module(source, bytes + before, time);
        break;
    }
}

static void handle_lost(struct wvu_source *source, const struct perf_event_header *header)
{
    uint64_t lost;
    if (header->size < sizeof *header + 3 * sizeof(uint64_t)) {
        add(&source->counters.malformed, 1);
        return;
    }
    memcpy(&lost, (const uint8_t *)(header + 1) + sizeof(uint64_t), sizeof lost);
    source->states[source->merge.current].said += lost;
}

/* False: the record was given back; the round is over. The rings are open before the programs are
 * attached: what the kernel itself wrote in between is of processes that may have ended unseen, and is
 * from before the start. */
static bool handle(struct wvu_source *source, const struct perf_event_header *header, uint64_t time)
{
    bool early = time < source->attached_at;
    switch (header->type) {
    case PERF_RECORD_MMAP2:
        if (early || handle_mapping(source, header, time))
            break;
        wvu_merge_return(&source->merge);
        return false;
    case PERF_RECORD_SAMPLE:
        handle_sample(source, header, time);
        break;
    case PERF_RECORD_COMM:
        if (!early && source->programs != NULL)
            handle_name(source, header, time);
        break;
    case PERF_RECORD_LOST:
        handle_lost(source, header);
        break;
    default: /* throttling and the like: nothing that happened */
        break;
    }
    add(&source->counters.records, 1);
    return true;
}

/* ---- losses -------------------------------------------------------------------------------------------- */

static const uint16_t type_of_kind[WVU_SAMPLE_KINDS] = {
    [WVU_SAMPLE_FORK] = WVU_EVENT_ProcessCreate,
    [WVU_SAMPLE_EXEC] = WVU_EVENT_ProcessCreate,
    [WVU_SAMPLE_EXIT] = WVU_EVENT_ProcessDestroy,
    [WVU_SAMPLE_MODULE] = WVU_EVENT_ImageLoad,
};

/* Reports what a counter went up by. Returns how much that is. */
static uint64_t tell_difference(struct wvu_source *source, const uint64_t *counter, uint64_t *told,
                                uint16_t cause, uint16_t type)
{
    uint64_t difference = wvu_load64_relaxed(counter) - *told;
    if (difference == 0)
        return 0;
    *told += difference;
    count_loss(source, cause, type, difference);
    source->wants_walk = true;
    return difference;
}

static void tell_losses_of(struct wvu_source *source, uint32_t cpu)
{
    const struct wvu_cpu_counters *now = &wvu_programs_counters(source->programs)[cpu];
    struct cpu_state *state = &source->states[cpu];
    for (uint32_t kind = WVU_SAMPLE_FORK; kind <= WVU_SAMPLE_MODULE; kind++) {
        uint64_t full = tell_difference(source, &now->full[kind], &state->told.full[kind],
                                        WVU_LOSS_KERNEL_RING, type_of_kind[kind]);
        uint64_t failed = tell_difference(source, &now->failed[kind], &state->told.failed[kind],
                                          WVU_LOSS_KERNEL_PROBE, type_of_kind[kind]);
        state->told_full += full;
        add(&source->counters.lost_full, full);
        add(&source->counters.lost_failed, failed);
    }
}

/* The kernel counts every record that did not fit; what the programs did not count were its own. It says so
 * later than the programs do, so the difference can be too small for a while, and is never too large. */
static void tell_losses(struct wvu_source *source)
{
    for (uint32_t cpu = 0; cpu < source->cpus; cpu++) {
        struct cpu_state *state = &source->states[cpu];
        if (source->programs != NULL)
            tell_losses_of(source, cpu);
        uint64_t own = state->said > state->told_full ? state->said - state->told_full : 0;
        if (own > state->said_told) {
            count_loss(source, WVU_LOSS_KERNEL_RING, WVU_EVENT_NONE, own - state->said_told);
            add(&source->counters.lost_kernel, own - state->said_told);
            state->said_told = own;
            source->wants_walk = true;
        }
    }
}

/* ---- rings ----------------------------------------------------------------------------------------------- */

static bool watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void close_ring(struct wvu_source *source, uint32_t cpu)
{
    wvu_merge_open(&source->merge.lanes[cpu], NULL, NULL, 0);
    wvu_perf_ring_close(&source->rings[cpu]);
}

/* NAME_NOT_FOUND: the CPU is not online. */
static wvu_status open_ring(struct wvu_source *source, uint32_t cpu, char *reason)
{
    struct wvu_perf_ring *ring = &source->rings[cpu];
    wvu_status status =
        wvu_perf_ring_open(ring, cpu, source->settings.ring_bytes, &source->features, reason);
    if (status != WVU_STATUS_OK)
        return status;
    if (!watch(source->busy_set, ring->samples) || !watch(source->idle_set, ring->samples) ||
        !watch(source->idle_set, ring->bell)) {
        snprintf(reason, REASON_SIZE, "watching the ring of CPU %u: %s", cpu, strerror(errno));
        status = WVU_STATUS_NO_RESOURCES;
    } else if (source->programs != NULL) {
        status = wvu_programs_set_ring(source->programs, ring);
        if (status != WVU_STATUS_OK)
            snprintf(reason, REASON_SIZE, "the kernel programs do not take the ring of CPU %u",
                     cpu);
    }
    if (status != WVU_STATUS_OK) {
        close_ring(source, cpu);
        return status;
    }
    wvu_merge_open(&source->merge.lanes[cpu], ring->control, ring->data, ring->size);
    return WVU_STATUS_OK;
}

/* A CPU whose samples fail while nothing comes from its ring lost the ring, or never had one. */
static void mend_rings(struct wvu_source *source, uint64_t now)
{
    if (source->programs == NULL || now - source->last_mend < MEND_PERIOD_NS)
        return;
    source->last_mend = now;
    for (uint32_t cpu = 0; cpu < source->cpus; cpu++) {
        struct cpu_state *state = &source->states[cpu];
        const struct wvu_lane *lane = &source->merge.lanes[cpu];
        uint64_t failed = 0;
        for (uint32_t kind = WVU_SAMPLE_FORK; kind <= WVU_SAMPLE_EXIT; kind++)
            failed += state->told.failed[kind];
        bool broken = failed != state->mend_failed && lane->head == state->mend_head;
        state->mend_failed = failed;
        state->mend_head = lane->head;
        if (!broken || lane->position != lane->head)
            continue;
        char reason[REASON_SIZE];
        close_ring(source, cpu);
        wvu_status status = open_ring(source, cpu, reason);
        state->mend_head = 0;
        source->wants_walk = true;
        if (status == WVU_STATUS_OK)
            wvu_log_info(WVU_LOG_SENSOR, "CPU %u came online: its events are read now", cpu);
        else
            wvu_log_warning(WVU_LOG_SENSOR, "CPU %u: %s", cpu, reason);
    }
}

/* ---- sleeping ---------------------------------------------------------------------------------------------- */

/* Sleeps until a descriptor of the set is readable, or for `ns`. Returns true when it was the former. The
 * detour over poll is for time-outs shorter than a millisecond (epoll_pwait2 is younger than 5.10). */
static bool doze(struct wvu_source *source, int set, uint64_t ns)
{
    struct pollfd waiting = {.fd = set, .events = POLLIN};
    struct timespec timeout = {.tv_sec = (time_t)(ns / 1000000000u),
                               .tv_nsec = (long)(ns % 1000000000u)};
    if (ppoll(&waiting, 1, &timeout, NULL) <= 0)
        return false;
    /* Looking at the events is what makes a ring unreadable again. */
    struct epoll_event events[64];
    int count = epoll_wait(set, events, 64, 0);
    for (int i = 0; i < count; i++) {
        /* An event that the kernel has given up stays readable for ever. */
        if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0)
            epoll_ctl(set, EPOLL_CTL_DEL, events[i].data.fd, NULL);
        eventfd_t value;
        if (events[i].data.fd == source->attention)
            eventfd_read(source->attention, &value);
    }
    return true;
}

static void arm(struct wvu_source *source)
{
    for (uint32_t cpu = 0; cpu < source->cpus; cpu++) {
        if (wvu_perf_ring_is_open(&source->rings[cpu]))
            wvu_perf_ring_arm(&source->rings[cpu]);
    }
    if (source->programs != NULL)
        wvu_programs_arm_bell(source->programs, true);
    source->armed = true;
    wvu_fence(); /* before the rings are looked at again */
}

static void silence(struct wvu_source *source)
{
    if (source->programs != NULL)
        wvu_programs_arm_bell(source->programs, false);
    for (uint32_t cpu = 0; cpu < source->cpus; cpu++) {
        if (wvu_perf_ring_is_open(&source->rings[cpu]))
            wvu_perf_ring_silence(&source->rings[cpu]);
    }
    source->armed = false;
    source->empty_looks = 0;
}

static bool should_hold(struct wvu_source *source)
{
    for (int use = 0; use < WVU_SOURCE_USES; use++) {
        if (source->probes[use] != NULL)
            return wvu_dispatcher_should_hold(wvu_sensor_dispatcher(source->probes[use]->sensor)) &&
                   wvu_merge_fill(&source->merge) < FILL_LIMIT;
    }
    return false;
}

/* Until the queue has room and the moderator a token. */
static void wait_for_turn(struct wvu_source *source)
{
    while (!stopping(source) && should_hold(source))
        doze(source, source->busy_set, WVU_MODERATOR_PERIOD_NS);
    uint64_t delay;
    while (!stopping(source) &&
           (delay = wvu_moderator_delay(&source->moderator, wvu_os_uptime())) != 0) {
        if (doze(source, source->busy_set, delay))
            break; /* a ring is half full */
    }
}

static bool wants_walk(const struct wvu_source *source)
{
    return source->programs != NULL &&
           (source->wants_walk || wvu_tracker_wants_sync(source->tracker));
}

/* After a look: how long, and until what, to sleep. */
static void rest(struct wvu_source *source, bool found)
{
    if (found) {
        if (source->armed)
            silence(source);
        source->empty_looks = 0;
        doze(source, source->busy_set, GAP_NS);
        return;
    }
    source->empty_looks++;
    if (source->empty_looks < EMPTY_LOOKS) {
        doze(source, source->busy_set, GAP_NS);
        return;
    }
    if (!source->armed) {
        arm(source);
        return; /* to look once more */
    }
    uint64_t longest = source->empty_looks < EMPTY_LOOKS + 2 ? SETTLE_NS : SAFETY_NS;
    uint64_t deadline = wvu_tracker_deadline(source->tracker);
    uint64_t now = wvu_os_uptime();
    if (wants_walk(source) && source->last_walk + WALK_PERIOD_NS < deadline)
        deadline = source->last_walk + WALK_PERIOD_NS;
    uint64_t left = deadline > now ? deadline - now : 0;
    add(&source->counters.sleeps, 1);
    if (doze(source, source->idle_set, left < longest ? left : longest))
        silence(source);
}

/* ---- the thread ---------------------------------------------------------------------------------------------- */

/* Returns true when there was something, or something is left. */
static bool look(struct wvu_source *source)
{
    const struct perf_event_header *record;
    uint64_t time;
    uint32_t records = 0;
    uint32_t bytes = 0;

    enter_probes(source);
    refresh_clock(source);
    add(&source->counters.looks, 1);
    wvu_merge_begin(&source->merge, source->wall_uptime);
    while ((record = wvu_merge_next(&source->merge, &time)) != NULL) {
        bytes += record->size;
        if (!handle(source, record, time))
            break;
        if (++records % CHECK_RECORDS == 0 || bytes > CHECK_BYTES) {
            bytes = 0;
            wake_dispatcher(source);
            if (should_hold(source))
                break;
        }
    }
    bool left = wvu_merge_end(&source->merge);
    wvu_tracker_advance(source->tracker, source->merge.limit);
    tell_losses(source);
    leave_probes(source);
    return left || records != 0;
}

/* The walk calls it now and then, with the probes entered. */
static bool pause_walk(void *context)
{
    struct wvu_source *source = context;
    wake_dispatcher(source);
    while (!stopping(source) && should_hold(source))
        doze(source, source->busy_set, WVU_MODERATOR_PERIOD_NS);
    return !stopping(source);
}

static void walk(struct wvu_source *source, uint32_t cause, bool again, uint64_t told_until)
{
    struct wvu_snapshot_plan plan = {
        .programs = source->programs,
        .tracker = source->tracker,
        .cause = cause,
        .again = again,
        .told_until = told_until,
        .pause = pause_walk,
        .context = source,
    };
    source->wants_walk = false;
    enter_probes(source);
    refresh_clock(source);
    wvu_status status = wvu_snapshot_run(source->snapshot, &plan);
    leave_probes(source);
    source->last_walk = wvu_os_uptime();
    add(&source->counters.walks, 1);
    if (status != WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_PROCESS, "the walk over all processes failed: %s (0x%08x)",
                        wvu_strerror(status), (unsigned)status);
}

/* True when it walked: what was found missing is told by the next look. */
static bool walk_if_needed(struct wvu_source *source)
{
    if (wvu_exchange_full(&source->again, 0) != 0 && source->programs != NULL) {
        walk(source, WVU_CREATE_RUNNING, true, source->merge.limit);
        return true;
    }
    if (!wants_walk(source) || wvu_os_uptime() - source->last_walk < WALK_PERIOD_NS)
        return false;
    walk(source, WVU_CREATE_FOUND, false, source->merge.limit);
    return true;
}

static void publish_counters(struct wvu_source *source)
{
    struct wvu_tracker_counters tracker;
    wvu_tracker_read_counters(source->tracker, &tracker);
    wvu_store64_relaxed(&source->counters.followed, tracker.followed);
    wvu_store64_relaxed(&source->counters.unfollowed, tracker.unfollowed);
    wvu_store64_relaxed(&source->counters.forgotten, tracker.forgotten);
}

static void source_main(void *context)
{
    struct wvu_source *source = context;
    wvu_moderator_init(&source->moderator);
    if (source->programs != NULL)
        walk(source, WVU_CREATE_RUNNING, false, source->attached_at);
    while (!stopping(source)) {
        wait_for_turn(source);
        bool found = look(source);
        found = walk_if_needed(source) || found;
        mend_rings(source, wvu_os_uptime());
        publish_counters(source);
        rest(source, found);
    }
    look(source); /* what came before the stop is told */
}

/* ---- opening and closing: PASSIVE, under control --------------------------------------------------------- */

static const struct wvu_tracker_sink sink_of_source = {
    .created = on_created,
    .destroyed = on_destroyed,
    .image = on_image,
    .lost = on_lost,
};

static wvu_status allocate(struct wvu_source *source)
{
    size_t cpus = source->cpus;
    source->rings = wvu_os_alloc(cpus * sizeof *source->rings, SOURCE_TAG);
    source->states = wvu_os_alloc(cpus * sizeof *source->states, SOURCE_TAG);
    struct wvu_lane *lanes = wvu_os_alloc(cpus * sizeof *lanes, SOURCE_TAG);
    uint32_t *heap = wvu_os_alloc(cpus * sizeof *heap, SOURCE_TAG);
    uint8_t *scratch = wvu_os_alloc(WVU_MERGE_RECORD_MAX, SOURCE_TAG);
    source->merge.lanes = lanes; /* for free_all, should one of them be missing */
    source->merge.heap = heap;
    source->merge.scratch = scratch;
    if (source->rings == NULL || source->states == NULL || lanes == NULL || heap == NULL ||
        scratch == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_merge_init(&source->merge, lanes, heap, source->cpus, scratch);

    struct wvu_tracker_settings settings = {
        .processes = source->settings.processes,
        .blocks = source->settings.processes / 2,
        .sink = sink_of_source,
    };
    settings.sink.context = source;
    wvu_status status = wvu_tracker_create(&settings, &source->tracker);
    if (status == WVU_STATUS_OK)
        status = wvu_snapshot_create(&source->snapshot);
    return status;
}

static void free_all(struct wvu_source *source)
{
    wvu_snapshot_destroy(source->snapshot);
    wvu_tracker_destroy(source->tracker);
    wvu_os_free(source->merge.scratch, SOURCE_TAG);
    wvu_os_free(source->merge.heap, SOURCE_TAG);
    wvu_os_free(source->merge.lanes, SOURCE_TAG);
    wvu_os_free(source->states, SOURCE_TAG);
    wvu_os_free(source->rings, SOURCE_TAG);
    source->snapshot = NULL;
    source->tracker = NULL;
    source->states = NULL;
    source->rings = NULL;
    memset(&source->merge, 0, sizeof source->merge);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static wvu_status open_sets(struct wvu_source *source, char *reason)
{
    source->attention = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    source->busy_set = epoll_create1(EPOLL_CLOEXEC);
    source->idle_set = epoll_create1(EPOLL_CLOEXEC);
    if (source->attention >= 0 && source->busy_set >= 0 && source->idle_set >= 0 &&
        watch(source->busy_set, source->attention) && watch(source->idle_set, source->attention))
        return WVU_STATUS_OK;
    snprintf(reason, REASON_SIZE, "the source's descriptors: %s", strerror(errno));
    return WVU_STATUS_NO_RESOURCES;
}

static wvu_status open_rings(struct wvu_source *source, char *reason)
{
    uint32_t opened = 0;
    source->features = (struct wvu_perf_features){.build_ids = true, .inodes = true};
    for (uint32_t cpu = 0; cpu < source->cpus; cpu++) {
        wvu_status status = WVU_STATUS_NAME_NOT_FOUND;
        if (wvu_cpu_is_online(cpu))
            status = open_ring(source, cpu, reason);
        if (status == WVU_STATUS_OK)
            opened++;
        else if (status != WVU_STATUS_NAME_NOT_FOUND)
            return status;
    }
    if (opened == 0) {
        snprintf(reason, REASON_SIZE,
                 "no CPU is online, says /sys/devices/system/cpu: is sysfs mounted?");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    return WVU_STATUS_OK;
}

static void close_all(struct wvu_source *source)
{
    wvu_programs_unload(source->programs);
    source->programs = NULL;
    for (uint32_t cpu = 0; cpu < source->cpus && source->rings != NULL; cpu++) {
        if (wvu_perf_ring_is_open(&source->rings[cpu]))
            close_ring(source, cpu);
    }
    close_fd(&source->idle_set);
    close_fd(&source->busy_set);
    close_fd(&source->attention);
    free_all(source);
}

/* Everything that the thread needs. `with_programs`: processes, too; otherwise only images. */
static wvu_status open_all(struct wvu_source *source, bool with_programs, char *reason)
{
    source->cpus = wvu_cpu_count();
    memset(&source->counters, 0, sizeof source->counters);
    snprintf(reason, REASON_SIZE, "memory for the source");
    wvu_status status = allocate(source);
    if (status == WVU_STATUS_OK)
        status = open_sets(source, reason);
    if (status == WVU_STATUS_OK && with_programs)
        status = wvu_programs_load(source->cpus, &source->programs, reason);
    if (status == WVU_STATUS_OK)
        status = open_rings(source, reason);
    if (status == WVU_STATUS_OK && with_programs)
        status = wvu_programs_attach(source->programs, reason);
    if (status != WVU_STATUS_OK) {
        close_all(source);
        return status;
    }
    source->attached_at = wvu_os_uptime();
    malloc_trim(0); /* loading needed much more than running does */
    return WVU_STATUS_OK;
}

static wvu_status start_thread(struct wvu_source *source, char *reason)
{
    source->stops = 0;
    source->again = 0;
    source->armed = false;
    source->empty_looks = 0;
    source->wants_walk = false;
    source->last_walk = 0;
    source->last_mend = source->attached_at;
    source->deferred_position = UINT64_MAX;
    wvu_status status = wvu_thread_start(&source->thread, "wvu-source", source_main, source);
    if (status != WVU_STATUS_OK)
        snprintf(reason, REASON_SIZE, "the thread wvu-source cannot be started");
    return status;
}

static void stop_thread(struct wvu_source *source)
{
    wvu_store_release(&source->stops, 1);
    eventfd_write(source->attention, 1);
    wvu_thread_join(&source->thread);
}

static void log_start(const struct wvu_source *source)
{
    wvu_log_info(
        WVU_LOG_SENSOR,
        "the kernel's events: processes %s, images yes, build ids %s, inodes %s, modules %s",
        source->programs != NULL ? "yes" : "no", source->features.build_ids ? "yes" : "no",
        source->features.inodes || !source->features.build_ids ? "yes" : "no",
        source->programs != NULL && wvu_programs_see_modules(source->programs) ? "yes" : "no");
}

static wvu_status start(struct wvu_source *source, bool with_programs, char *reason)
{
    wvu_status status = open_all(source, with_programs, reason);
    if (status != WVU_STATUS_OK)
        return status;
    status = start_thread(source, reason);
    if (status != WVU_STATUS_OK) {
        close_all(source);
        return status;
    }
    log_start(source);
    reason[0] = '\0';
    return WVU_STATUS_OK;
}

static void stop(struct wvu_source *source)
{
    stop_thread(source);
    close_all(source);
}

/* Images alone need less of the machine than processes do. */
static wvu_status start_images(struct wvu_source *source, char *reason)
{
    char missing[REASON_SIZE];
    if (start(source, true, missing) == WVU_STATUS_OK)
        return WVU_STATUS_OK;
    wvu_status status = start(source, false, reason);
    if (status == WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_SENSOR, "images are told without the keys of their processes: %s",
                        missing);
    return status;
}

/* The images run already. */
static wvu_status add_processes(struct wvu_source *source, char *reason)
{
    if (source->programs != NULL) {
        wvu_store_release(&source->again, 1);
        eventfd_write(source->attention, 1);
        return WVU_STATUS_OK;
    }
    char ignored[REASON_SIZE];
    stop(source);
    wvu_status status = start(source, true, reason);
    if (status != WVU_STATUS_OK && start(source, false, ignored) != WVU_STATUS_OK) {
        wvu_log_error(WVU_LOG_SENSOR, "the image probe's source could not be started again: %s",
                      ignored);
        source->used[WVU_SOURCE_IMAGES] = false;
    }
    return status;
}

static void find_probes(struct wvu_source *source, const struct wvu_probe *probe)
{
    source->probes[WVU_SOURCE_PROCESSES] =
        wvu_sensor_find_probe(probe->sensor, wvu_process_probe.name);
    source->probes[WVU_SOURCE_IMAGES] = wvu_sensor_find_probe(probe->sensor, wvu_image_probe.name);
}

wvu_status wvu_source_acquire(struct wvu_source *source, enum wvu_source_use use,
                              struct wvu_probe *probe, char *reason)
{
    wvu_status status = WVU_STATUS_OK;
    wvu_mutex_acquire(&source->control);
    bool running = source->used[WVU_SOURCE_PROCESSES] || source->used[WVU_SOURCE_IMAGES];
    if (!running) {
        find_probes(source, probe);
        status = use == WVU_SOURCE_PROCESSES ? start(source, true, reason)
                                             : start_images(source, reason);
    } else if (use == WVU_SOURCE_PROCESSES) {
        status = add_processes(source, reason);
    }
    if (status == WVU_STATUS_OK)
        source->used[use] = true;
    wvu_mutex_release(&source->control);
    return status;
}

void wvu_source_release(struct wvu_source *source, enum wvu_source_use use)
{
    wvu_mutex_acquire(&source->control);
    bool was_used = source->used[use];
    source->used[use] = false;
    if (was_used && !source->used[WVU_SOURCE_PROCESSES] && !source->used[WVU_SOURCE_IMAGES])
        stop(source);
    wvu_mutex_release(&source->control);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static bool is_power_of_two(uint32_t value)
{
    return (value & (value - 1)) == 0;
}

wvu_status wvu_source_create(const struct wvu_source_settings *settings,
                             struct wvu_source **created)
{
    struct wvu_source_settings wanted = *settings;
    if (wanted.ring_bytes == 0)
        wanted.ring_bytes = WVU_RING_BYTES_DEFAULT;
    if (wanted.processes == 0)
        wanted.processes = WVU_PROCESSES_DEFAULT;
    if (wanted.ring_bytes < WVU_RING_BYTES_MIN || wanted.ring_bytes > WVU_RING_BYTES_MAX ||
        !is_power_of_two(wanted.ring_bytes) || wanted.processes < WVU_PROCESSES_MIN ||
        wanted.processes > WVU_PROCESSES_MAX)
        return WVU_STATUS_INVALID_PARAMETER;
    struct wvu_source *source = wvu_os_alloc(sizeof *source, SOURCE_TAG);
    if (source == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_status status = wvu_mutex_init(&source->control);
    if (status != WVU_STATUS_OK) {
        wvu_os_free(source, SOURCE_TAG);
        return status;
    }
    source->settings = wanted;
    source->attention = -1;
    source->busy_set = -1;
    source->idle_set = -1;
    *created = source;
    return WVU_STATUS_OK;
}

void wvu_source_destroy(struct wvu_source *source)
{
    if (source == NULL)
        return;
    wvu_mutex_destroy(&source->control);
    wvu_os_free(source, SOURCE_TAG);
}

void wvu_source_read_counters(struct wvu_source *source, struct wvu_source_counters *counters)
{
    const uint64_t *from = (const uint64_t *)&source->counters;
    uint64_t *to = (uint64_t *)counters;
    for (size_t i = 0; i < sizeof *counters / sizeof *to; i++)
        to[i] = wvu_load64_relaxed(&from[i]);
}
