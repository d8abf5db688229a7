/*
 * What the records in the perf rings mean: the kernel's own ones and the samples of our programs, checked
 * and taken apart. No state, no system calls; any thread.
 */
#ifndef WVU_RECORDS_H
#define WVU_RECORDS_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/sample.h"
#include "tracker.h"

enum wvu_mapping {
    WVU_MAPPING_MALFORMED,
    WVU_MAPPING_NO_FILE, /* [vdso], //anon and the like */
    WVU_MAPPING_FILE
};

/* PERF_RECORD_MMAP2. `image->path` points into the record; time and key are the caller's. */
enum wvu_mapping wvu_records_mapping(const struct perf_event_header *header,
                                     struct wvu_image *image);
/* True when `other` tells of the same mapping, and adds to `image` what the first record did not have. */
bool wvu_records_join(struct wvu_image *image, const struct perf_event_header *other);

struct wvu_renamed {
    uint32_t pid;
    uint32_t tid;
    bool by_exec;
    const char *name; /* in the record; not terminated */
    uint32_t size;
};
/* PERF_RECORD_COMM. False: malformed, as below. */
bool wvu_records_renamed(const struct perf_event_header *header, struct wvu_renamed *renamed);

/* PERF_RECORD_LOST: how many records did not fit. */
bool wvu_records_lost(const struct perf_event_header *header, uint64_t *count);

/* A sample of our programs; its fixed part is copied out, because in the ring it is not aligned. */
struct wvu_sample {
    uint32_t kind; /* enum wvu_sample_kind: says which of these it is */
    union {
        struct wvu_sample_task task;
        struct wvu_sample_exec exec;
        struct wvu_sample_exit exit;
        struct wvu_sample_module module;
        struct wvu_sample_thread thread;
    };
    const uint8_t *data; /* exec: its texts, in the record */
};
/* PERF_RECORD_SAMPLE. All sizes in it are checked. */
bool wvu_records_sample(const struct perf_event_header *header, struct wvu_sample *sample);

#endif
