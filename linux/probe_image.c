/*
 * The image probe of Linux: files that are mapped for execution, and modules that the kernel loads.
 *
 * start and stop run under the probe's control mutex; the two functions that make records are called by
 * the source's thread, inside the probe's run-down. Addresses in the kernel are never told.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>

#include "host.h"
#include "probes.h"
#include "source.h"

#define PRESENT(field) WVU_PRESENT(wvu_image_load, field)

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    struct wvu_linux_host *host = probe->host;
    return wvu_source_acquire(host->source, WVU_SOURCE_IMAGES, probe, reason);
}

static void stop(struct wvu_probe *probe)
{
    struct wvu_linux_host *host = probe->host;
    wvu_source_release(host->source, WVU_SOURCE_IMAGES);
}

/* Reserves a record for an image with this name and build id and fills in both. */
static struct wvu_image_load *begin(struct wvu_probe *probe, const struct wvu_stamp *stamp,
                                    const void *name, uint32_t name_size, const void *build_id,
                                    uint32_t build_id_size)
{
    const struct wvu_text_source texts[] = {
        wvu_text_whole(offsetof(struct wvu_image_load, full_image_name), 1, name, name_size),
        wvu_text_whole(offsetof(struct wvu_image_load, build_id), 1, build_id, build_id_size),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ImageLoad, sizeof(struct wvu_image_load), texts, 2);
    struct wvu_image_load *to = wvu_probe_reserve(probe, &plan, stamp);
    if (to == NULL)
        return NULL;
    wvu_record_fill_texts(&to->record, &plan, texts);
    to->record.present = PRESENT(FullImageName) | PRESENT(ThreadId) | PRESENT(KernelImage) |
                         PRESENT(ImageSize) | (build_id_size != 0 ? PRESENT(BuildId) : 0);
    return to;
}

static void report_loaded(struct wvu_probe *probe, const struct wvu_image *event,
                          const struct wvu_stamp *stamp)
{
    struct wvu_image_load *to =
        begin(probe, stamp, event->path, event->path_size, event->build_id, event->build_id_size);
    if (to == NULL)
        return;
    to->record.process_id = event->pid;
    to->record.process_key = event->key;
    to->thread_id = event->tid;
    to->image_base = event->base;
    to->image_size = event->size;
    to->file_offset = event->file_offset;
    to->record.present |= PRESENT(ImageBase) | PRESENT(FileOffset);
    if (event->inode != 0) {
        to->inode = event->inode;
        to->device_major = event->device_major;
        to->device_minor = event->device_minor;
        to->record.present |= PRESENT(Inode) | PRESENT(DeviceMajor) | PRESENT(DeviceMinor);
    }
    wvu_probe_commit(probe, &to->record);
}

void wvu_image_probe_loaded(struct wvu_probe *probe, const struct wvu_image *event,
                            const struct wvu_stamp *stamp)
{
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, WVU_EVENT_ImageLoad, event->wanted))
        report_loaded(probe, event, stamp);
    wvu_probe_time_end(probe, begun);
}

static void report_module(struct wvu_probe *probe, const struct wvu_sample_module *event,
                          uint64_t key, const struct wvu_stamp *stamp)
{
    uint32_t name_size = (uint32_t)strnlen(event->name, sizeof event->name);
    struct wvu_image_load *to =
        begin(probe, stamp, event->name, name_size, event->build_id, event->build_id_size);
    if (to == NULL)
        return;
    to->record.process_id = event->pid;
    to->record.process_key = key;
    to->thread_id = event->tid;
    to->image_size = event->size;
    to->kernel_image = 1;
    wvu_probe_commit(probe, &to->record);
}

void wvu_image_probe_module(struct wvu_probe *probe, const struct wvu_sample_module *event,
                            uint64_t key, uint32_t wanted, const struct wvu_stamp *stamp)
{
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, WVU_EVENT_ImageLoad, wanted))
        report_module(probe, event, key, stamp);
    wvu_probe_time_end(probe, begun);
}

static const uint16_t events[] = {WVU_EVENT_ImageLoad, 0};

const struct wvu_probe_definition wvu_image_probe = {
    .name = "ImageLoad",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .start = start,
    .stop = stop,
};
