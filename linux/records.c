/*
 * Takes perf records apart. Called by the source's thread and by tests; pure functions.
 *
 * A record comes from the kernel, but its size is checked all the same before anything in it is used.
 * Records begin at multiples of 8 bytes, so the kernel's own ones can be read in place. A sample's data
 * follow a 32-bit length and are aligned to 4 only.
 */
#define _GNU_SOURCE
#include "records.h"

#include <stddef.h>
#include <string.h>

#include "perf_ring.h"

/* PERF_RECORD_MMAP2, up to its path. */
struct mmap2 {
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
_Static_assert(sizeof(struct mmap2) == 72, "layout");

/* The kernel names what is no file in brackets or with two slashes; everything else is a path. */
static bool is_file(const char *path)
{
    return path[0] == '/' && strncmp(path, "//anon", 6) != 0;
}

/* What follows the path, which is padded to 8 bytes with its NUL, says which event wrote the record. */
static bool has_inode(const struct mmap2 *record, uint32_t path_size)
{
    uint32_t padded = (path_size + 8) / 8 * 8;
    return (record->header.misc & PERF_RECORD_MISC_MMAP_BUILD_ID) == 0 ||
           record->header.size - sizeof *record - padded == WVU_INODE_TRAILER;
}

static void add_identity(const struct mmap2 *record, struct wvu_image *image)
{
    if (has_inode(record, image->path_size)) {
        image->inode = record->inode;
        image->device_major = record->major;
        image->device_minor = record->minor;
    } else if (record->build_id_size <= WVU_BUILD_ID_MAX) {
        image->build_id_size = record->build_id_size;
        memcpy(image->build_id, record->build_id, record->build_id_size);
    }
}

enum wvu_mapping wvu_records_mapping(const struct perf_event_header *header,
                                     struct wvu_image *image)
{
    const struct mmap2 *record = (const struct mmap2 *)(const void *)header;
    const char *path = (const char *)(record + 1);
    if (header->size < sizeof *record + 8 + WVU_TIME_TRAILER)
        return WVU_MAPPING_MALFORMED;
    uint32_t room = header->size - (uint32_t)sizeof *record - WVU_TIME_TRAILER;
    uint32_t path_size = (uint32_t)strnlen(path, room);
    if (path_size == room)
        return WVU_MAPPING_MALFORMED;
    if (!is_file(path))
        return WVU_MAPPING_NO_FILE;
    *image = (struct wvu_image){
        .pid = record->pid,
        .tid = record->tid,
        .base = record->address,
        .size = record->size,
        .file_offset = record->offset,
        .path = path,
        .path_size = path_size,
    };
    add_identity(record, image);
    return WVU_MAPPING_FILE;
}

bool wvu_records_join(struct wvu_image *image, const struct perf_event_header *other)
{
    const struct mmap2 *record = (const struct mmap2 *)(const void *)other;
    if (other->type != PERF_RECORD_MMAP2 || other->size < sizeof *record + 8 + WVU_TIME_TRAILER ||
        record->pid != image->pid || record->tid != image->tid || record->address != image->base ||
        record->size != image->size || record->offset != image->file_offset)
        return false;
    add_identity(record, image);
    return true;
}

struct comm {
    struct perf_event_header header;
    uint32_t pid;
    uint32_t tid;
};

bool wvu_records_renamed(const struct perf_event_header *header, struct wvu_renamed *renamed)
{
    const struct comm *record = (const struct comm *)(const void *)header;
    if (header->size < sizeof *record + WVU_TIME_TRAILER)
        return false;
    *renamed = (struct wvu_renamed){
        .pid = record->pid,
        .tid = record->tid,
        .by_exec = (header->misc & PERF_RECORD_MISC_COMM_EXEC) != 0,
        .name = (const char *)(record + 1),
    };
    renamed->size =
        (uint32_t)strnlen(renamed->name, header->size - sizeof *record - WVU_TIME_TRAILER);
    return true;
}

bool wvu_records_lost(const struct perf_event_header *header, uint64_t *count)
{
    struct {
        struct perf_event_header header;
        uint64_t id;
        uint64_t count;
    } record;
    if (header->size < sizeof record + WVU_TIME_TRAILER)
        return false;
    memcpy(&record, header, sizeof record);
    *count = record.count;
    return true;
}

/* ---- samples --------------------------------------------------------------------------------------- */

static bool check_exec(const struct wvu_sample_exec *exec, uint32_t size)
{
    uint64_t texts = (uint64_t)exec->file_name_size + exec->directory_size + exec->arguments_size;
    return texts <= size - sizeof *exec && exec->file_name_size <= WVU_EXEC_FILE_NAME_MAX &&
           exec->directory_size <= WVU_EXEC_DIRECTORY_MAX &&
           exec->arguments_head <= exec->arguments_size &&
           exec->arguments_size <= exec->arguments_full;
}

bool wvu_records_sample(const struct perf_event_header *header, struct wvu_sample *sample)
{
    static const uint32_t fixed[WVU_SAMPLE_KINDS] = {
        [WVU_SAMPLE_FORK] = sizeof(struct wvu_sample_task),
        [WVU_SAMPLE_EXEC] = sizeof(struct wvu_sample_exec),
        [WVU_SAMPLE_EXIT] = sizeof(struct wvu_sample_exit),
        [WVU_SAMPLE_MODULE] = sizeof(struct wvu_sample_module),
        [WVU_SAMPLE_THREAD] = sizeof(struct wvu_sample_thread),
        [WVU_SAMPLE_THREAD_EXIT] = sizeof(struct wvu_sample_thread),
    };
    const uint32_t before = sizeof *header + sizeof(uint64_t) + sizeof(uint32_t);
    const uint8_t *bytes = (const uint8_t *)header;
    uint32_t size;
    if (header->size < before + sizeof sample->kind)
        return false;
    memcpy(&size, bytes + before - sizeof size, sizeof size);
    memcpy(&sample->kind, bytes + before, sizeof sample->kind);
    if (sample->kind >= WVU_SAMPLE_KINDS || fixed[sample->kind] == 0 ||
        size < fixed[sample->kind] || size > header->size - before)
        return false;
    memcpy(&sample->exec, bytes + before, fixed[sample->kind]);
    sample->data = bytes + before + fixed[sample->kind];
    switch (sample->kind) {
    case WVU_SAMPLE_EXEC:
        return check_exec(&sample->exec, size);
    case WVU_SAMPLE_MODULE:
        return sample->module.build_id_size <= WVU_BUILD_ID_MAX;
    default:
        return true;
    }
}
