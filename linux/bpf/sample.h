/*
 * What the programs in the kernel (sensor.bpf.c) write and the source (source.c) reads: samples in the
 * per-CPU perf rings, lines of the task iterator, and the counters that both share.
 *
 * Included by both sides; fixed widths, no implicit padding. Both are built together, so there is no
 * version. Process keys are explained in docs/decisions.md ("Process keys").
 */
#ifndef WVU_BPF_SAMPLE_H
#define WVU_BPF_SAMPLE_H

#ifndef __bpf__
#include <stdint.h>
#endif

enum wvu_sample_kind {
    WVU_SAMPLE_NONE = 0,
    WVU_SAMPLE_FORK = 1,        /* struct wvu_sample_task: a new process (not a thread) */
    WVU_SAMPLE_EXEC = 2,        /* struct wvu_sample_exec and its data */
    WVU_SAMPLE_EXIT = 3,        /* struct wvu_sample_exit: the whole thread group is dead */
    WVU_SAMPLE_MODULE = 4,      /* struct wvu_sample_module: the kernel loaded a module */
    WVU_SAMPLE_TASK = 5,        /* struct wvu_sample_running: from the iterator, never in a ring */
    WVU_SAMPLE_THREAD = 6,      /* struct wvu_sample_thread: a process has one thread more */
    WVU_SAMPLE_THREAD_EXIT = 7, /* struct wvu_sample_thread: it has one less, and goes on */
    WVU_SAMPLE_KINDS            /* the counters have room for so many */
};

/* Starts every sample: who it is about. Ids are those of the initial namespaces. */
struct wvu_sample_task {
    uint32_t kind;       /* enum wvu_sample_kind */
    uint32_t pid;        /* of the process (thread group) */
    uint64_t key;        /* of the process */
    uint64_t parent_key; /* 0: it has no parent (init, kthreadd) */
    uint32_t parent_pid;
    uint32_t creator_pid; /* fork: the process and the thread that called it; otherwise the */
    uint32_t creator_tid; /* process itself and the thread that the event happened in */
    uint32_t user_id;     /* effective */
    uint32_t group_id;
    uint32_t session_id;
    uint64_t cgroup_id;
    uint32_t pid_namespace;
    uint32_t flags; /* WVU_TASK_... */
};

#define WVU_TASK_KERNEL_THREAD 0x1u
#define WVU_TASK_DEAD          0x2u /* from the iterator: all its threads have ended */

/* Threads of a process are made by that process itself. */
struct wvu_sample_thread {
    uint32_t kind;
    uint32_t pid; /* the process */
    uint64_t key; /* of the process */
    uint32_t tid;
    uint32_t creator_tid; /* the thread that made it; at its end 0 */
};

struct wvu_sample_exit {
    struct wvu_sample_task task;
    uint32_t status; /* as wait(2) gives it */
    uint32_t reserved;
};

/* Followed by data: file_name_size bytes of the name given to exec (no NUL), directory_size bytes of the
 * working directory as "leaf/.../top/" (components from the leaf up, each followed by a slash), then
 * arguments_size bytes of arguments, each followed by a NUL. */
struct wvu_sample_exec {
    struct wvu_sample_task task;
    uint64_t inode; /* of the program; 0 unknown */
    uint32_t device_major;
    uint32_t device_minor;
    uint32_t arguments_full; /* bytes that the process got */
    uint32_t arguments_size; /* bytes here */
    uint32_t arguments_head; /* how many of them are from the beginning */
    uint16_t file_name_size;
    uint16_t directory_size;
    uint32_t flags; /* WVU_EXEC_... */
    uint32_t tid;   /* of the thread that called; it goes on as the process's first one */
};

#define WVU_EXEC_ARGUMENTS_KNOWN   0x1u /* they could be read */
#define WVU_EXEC_DIRECTORY_KNOWN   0x2u
#define WVU_EXEC_DIRECTORY_CUT     0x4u /* it is deeper than the program walks: the top is missing */
#define WVU_EXEC_DIRECTORY_DELETED 0x8u
#define WVU_EXEC_PREVENTED         0x10u /* denied: killed before its first instruction */

#define WVU_EXEC_FILE_NAME_MAX 4096u
#define WVU_EXEC_DIRECTORY_MAX 4352u /* one path and one component more, which is cut off */
#define WVU_EXEC_DEPTH_MAX     96u   /* components and mount points on the way up */
#define WVU_EXEC_HEAD_MAX      32768u
#define WVU_EXEC_TAIL_MAX      16384u
#define WVU_EXEC_ARGUMENTS_MAX (WVU_EXEC_HEAD_MAX + WVU_EXEC_TAIL_MAX)
/* A perf record is at most 65,535 bytes; this stays well below. */
#define WVU_EXEC_SAMPLE_MAX                                                                        \
    (sizeof(struct wvu_sample_exec) + WVU_EXEC_FILE_NAME_MAX + WVU_EXEC_DIRECTORY_MAX +            \
     WVU_EXEC_ARGUMENTS_MAX)

#define WVU_MODULE_NAME_MAX 64u
#define WVU_BUILD_ID_MAX    20u

struct wvu_sample_module {
    uint32_t kind;
    uint32_t pid; /* the process and the thread that load it */
    uint32_t tid;
    uint32_t build_id_size; /* 0: this kernel does not keep it */
    uint64_t size;          /* of its code and read-only data, in memory */
    uint8_t build_id[WVU_BUILD_ID_MAX];
    uint32_t reserved;
    char name[WVU_MODULE_NAME_MAX];
};

/* From the task iterator: one for each process (thread group leader), also the dead that nobody waited for. */
struct wvu_sample_running {
    struct wvu_sample_task task;
    uint64_t start_time; /* CLOCK_MONOTONIC, ns */
    char comm[16];
};

/* The programs that may not run, in a map: a file, as the kernel knows it. */
struct wvu_denied_file {
    uint64_t inode;
    uint32_t device_major;
    uint32_t device_minor;
};

struct wvu_denied {
    uint32_t generation;     /* of the inode: the number of one that is gone is given out again */
    uint32_t has_generation; /* 0: the file system does not tell it */
};

#define WVU_DENIED_MAX 1024u

/* One for each possible CPU, in a map that the source has mapped. Written by that CPU alone. */
struct wvu_cpu_counters {
    /* By kind. NONE: execs that were prevented and could not be told as such, besides being counted as
     * execs. */
    uint64_t full[WVU_SAMPLE_KINDS];   /* samples that did not fit the ring */
    uint64_t failed[WVU_SAMPLE_KINDS]; /* could not be written or read for another reason */
};

_Static_assert(sizeof(struct wvu_sample_task) == 64, "layout");
_Static_assert(sizeof(struct wvu_sample_exit) == 72, "layout");
_Static_assert(sizeof(struct wvu_sample_exec) == 104, "layout");
_Static_assert(sizeof(struct wvu_sample_thread) == 24, "layout");
_Static_assert(sizeof(struct wvu_denied_file) == 16, "layout");
_Static_assert(sizeof(struct wvu_sample_module) == 112, "layout");
_Static_assert(sizeof(struct wvu_sample_running) == 88, "layout");
_Static_assert(sizeof(struct wvu_cpu_counters) == 128, "layout");
_Static_assert(WVU_SAMPLE_KINDS == 8, "the programs mask a kind with 7");
_Static_assert(WVU_EXEC_SAMPLE_MAX < 64000, "a perf record cannot be larger");

#endif
