/*
 * Follows the processes of the machine and decides what is announced, and in which order.
 *
 * In go the kernel's events, in the order of time; out come creates, destroys and image loads that keep
 * these rules whatever went in:
 *
 *   - A process is announced before its image loads and its end, once; it ends once, after its last image load.
 *   - A child that execs right away is announced with the program it runs (Exec). A child that goes on
 *     without exec is announced as its parent's copy (Fork) after WVU_TRACKER_FORK_NS, or sooner, when
 *     it or a child of its does anything else.
 *   - Its threads begin and end between its announcement and its end. At an exec all threads end but one,
 *     which goes on as the first; those that end together with the process have no end of their own.
 *   - What cannot be known because events were lost is left out, never guessed.
 *   - The filter judges a process each time it is announced, before that; what it said stands in each event.
 *
 * Pure C without system calls; all memory is allocated at create. One thread. See tracker.c.
 */
#ifndef WVU_TRACKER_H
#define WVU_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/sample.h"
#include "filter.h"
#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

#define WVU_TRACKER_FORK_NS UINT64_C(25000000)

struct wvu_tracker;

/* Bytes of the kernel's, maybe cut in the middle: `head` bytes of the beginning, then of the end. */
struct wvu_bytes {
    const void *bytes;
    uint32_t size;
    uint32_t head;      /* equal to size when not cut */
    uint32_t full_size; /* equal to size when not cut */
    bool known;         /* false: there is no value (size is 0); true with size 0: it is empty */
};

struct wvu_created {
    uint32_t cause; /* enum wvu_create_cause */
    uint64_t time;
    uint64_t inode;                     /* of the program; 0 not known */
    const struct wvu_sample_task *task; /* creator_pid 0: not known */
    bool task_known;                    /* false: of the task only pid and key are known */
    struct wvu_bytes image;
    struct wvu_bytes exec_name; /* only when it is not the image */
    struct wvu_bytes arguments;
    struct wvu_bytes directory;
    const struct wvu_verdict *verdict; /* set by the tracker */
};

struct wvu_destroyed {
    uint64_t time;
    uint64_t key;
    uint32_t pid;
    uint32_t status; /* as wait(2) gives it */
    bool status_known;
    uint32_t wanted; /* wvu_verdict.wanted of the process */
};

struct wvu_thread_event {
    uint64_t time;
    uint64_t key; /* of the process */
    uint32_t pid;
    uint32_t tid;
    uint32_t creator_tid;
    bool ended;
    uint32_t wanted;
};

struct wvu_image {
    uint64_t time;
    uint64_t key; /* set by the tracker */
    uint32_t pid;
    uint32_t tid;
    uint64_t base;
    uint64_t size;
    uint64_t file_offset;
    uint64_t inode; /* 0: not known */
    uint32_t device_major;
    uint32_t device_minor;
    uint8_t build_id[WVU_BUILD_ID_MAX];
    uint32_t build_id_size; /* 0: it has none */
    const char *path;
    uint32_t path_size;
    uint32_t wanted; /* set by the tracker */
};

/* Where announcements go. What they point to is valid during the call. */
struct wvu_tracker_sink {
    void (*created)(void *context, const struct wvu_created *event);
    void (*destroyed)(void *context, const struct wvu_destroyed *event);
    void (*image)(void *context, const struct wvu_image *event);
    void (*thread)(void *context, const struct wvu_thread_event *event);
    /* What the filter says. NULL: there is none, everything is wanted. */
    void (*judge)(void *context, const struct wvu_subject *subject, struct wvu_verdict *verdict);
    /* `count` events of a type could not be told because a table was full. */
    void (*lost)(void *context, uint16_t type, uint64_t count);
    void *context;
};

struct wvu_tracker_settings {
    uint32_t processes; /* followed at a time */
    uint32_t blocks;    /* of 256 bytes, for the programs that are remembered */
    struct wvu_tracker_sink sink;
};

struct wvu_tracker_counters {
    uint64_t followed;   /* processes now, ended ones not included */
    uint64_t unfollowed; /* that found the table full; they are announced, but not remembered */
    uint64_t forgotten;  /* programs that could not be remembered: no blocks */
    uint64_t found;      /* processes announced as Found */
    uint64_t vanished;   /* that were gone after a loss: destroyed without status */
    uint64_t blocks;     /* in use, for programs and for images that wait */
};

/* PASSIVE */
wvu_status wvu_tracker_create(const struct wvu_tracker_settings *settings,
                              struct wvu_tracker **tracker);
void wvu_tracker_destroy(struct wvu_tracker *tracker); /* NULL is allowed */

/* ---- the kernel's events, in the order of time -------------------------------------------------- */
void wvu_tracker_fork(struct wvu_tracker *tracker, const struct wvu_sample_task *child,
                      uint64_t time);
/* `data` are the sample's texts; its sizes were checked by the caller. */
void wvu_tracker_exec(struct wvu_tracker *tracker, const struct wvu_sample_exec *exec,
                      const void *data, uint64_t time);
void wvu_tracker_exit(struct wvu_tracker *tracker, const struct wvu_sample_exit *exit,
                      uint64_t time);
/* An exec passed the point of no return: images from here on belong to the new program. */
void wvu_tracker_exec_begins(struct wvu_tracker *tracker, uint32_t pid, uint64_t time);
/* The name of a thread changed; for kernel threads it is all the name they have. */
void wvu_tracker_renamed(struct wvu_tracker *tracker, uint32_t pid, const char *name,
                         uint32_t size);
void wvu_tracker_image(struct wvu_tracker *tracker, const struct wvu_image *image);
/* WVU_SAMPLE_THREAD and WVU_SAMPLE_THREAD_EXIT. */
void wvu_tracker_thread(struct wvu_tracker *tracker, const struct wvu_sample_thread *thread,
                        uint64_t time);
/* The key of a process that is followed; 0 otherwise. */
uint64_t wvu_tracker_key(const struct wvu_tracker *tracker, uint32_t pid);

/* Everything up to `time` was told: announces the children that waited long enough. */
void wvu_tracker_advance(struct wvu_tracker *tracker, uint64_t time);
/* When that will be the case for the next one; UINT64_MAX: there is none. */
uint64_t wvu_tracker_deadline(const struct wvu_tracker *tracker);

/* ---- what runs: at start and after a loss ----------------------------------------------------------
 * sync_begin, then running for each process that is alive, then sync_end with the time the walk ended.
 * When everything up to that time was told, processes that were not in the walk are taken to be gone. */

/* Something was seen of a process that nothing is known about: a walk would help. Cleared by sync_begin. */
bool wvu_tracker_wants_sync(const struct wvu_tracker *tracker);
/* `again`: announce those that are known, too (somebody new listens). */
void wvu_tracker_sync_begin(struct wvu_tracker *tracker, bool again);
/* True when the walk must tell image, arguments and directory of this process. */
bool wvu_tracker_sync_needs(const struct wvu_tracker *tracker, const struct wvu_sample_task *task);
/* `created` with its cause; its time is when it was looked at. */
void wvu_tracker_sync_running(struct wvu_tracker *tracker, const struct wvu_created *created);
void wvu_tracker_sync_end(struct wvu_tracker *tracker, uint64_t time);

/* ---- what is known now ---------------------------------------------------------------------------- */

/* The filter changed: judges all processes anew. */
void wvu_tracker_judge_all(struct wvu_tracker *tracker);

/* What is known of a process that is alive. */
struct wvu_followed {
    const struct wvu_sample_task
        *task; /* of which, when task_known is false, only pid and key are known */
    bool task_known;
    bool is_protected;
    uint32_t wanted;
    struct wvu_bytes image;
};

/* Calls `each` for every process that is followed and alive, without its image. */
void wvu_tracker_each(struct wvu_tracker *tracker,
                      void (*each)(void *context, const struct wvu_followed *followed),
                      void *context);
/* False when there is no such process. The image is valid until the next call. `key` 0: whoever has the pid. */
bool wvu_tracker_find(struct wvu_tracker *tracker, uint32_t pid, uint64_t key,
                      struct wvu_followed *followed);
/* True when every process is followed: none found the table full. */
bool wvu_tracker_is_complete(const struct wvu_tracker *tracker);

void wvu_tracker_read_counters(const struct wvu_tracker *tracker,
                               struct wvu_tracker_counters *counters);

#endif
