// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The sensor's programs in the kernel: processes that fork, exec and exit, their threads, modules that are
 * loaded, programs that may not run, and the walk over what runs already.
 *
 * Who calls them: the kernel's scheduler tracepoints, in the context of the task that forks, execs or
 * exits, not preemptible; the iterator in the context of the source's thread. Nothing here waits.
 *
 * Each event is one sample in the perf ring of the CPU it happens on, which it shares with the
 * kernel's own MMAP2 and COMM records: what happened on one CPU is in order there, and the time
 * stamps merge the CPUs (source.c). A sample that cannot be written is counted by kind.
 *
 * The bell: the source sleeps when nothing happens, and waking it for each event would cost more than
 * all the rest. So it says with `wvu_bell_armed` when it sleeps, and the first program that finds
 * this puts a record into the second, tiny ring of its CPU, which wakes it. (The kernel's own records
 * ring there by themselves; perf_ring.h.)
 *
 * Kernels from 5.10 on: only loops with a bound, no atomics with a result, no task storage, no
 * BPF ring buffer.
 */
#include "kernel_types.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "sample.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* 1: the source sleeps and wants the bell. Written by both sides; a race costs one wake-up. */
volatile __u32 wvu_bell_armed = 0;

/* 1: somebody wants to hear of threads. Written by the source. */
volatile __u32 wvu_threads_wanted = 0;

/* How many entries wvu_denied_files has; and the processes that no rule may end: the sensor and its reader. */
volatile __u32 wvu_denied_count = 0;
volatile __u32 wvu_spared[2] = {};

/* The sizes of these maps are set to the number of possible CPUs before they are made. */
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __type(key, __u32);
    __type(value, __u32);
} wvu_rings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __type(key, __u32);
    __type(value, __u32);
} wvu_bells SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct wvu_cpu_counters);
} wvu_counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, WVU_DENIED_MAX);
    __type(key, struct wvu_denied_file);
    __type(value, struct wvu_denied);
} wvu_denied_files SEC(".maps");

/* Where an exec sample is put together. An array indexed by CPU, because the values of a per-CPU map
 * end at 32 KiB. `busy` is for kernels whose tracepoints can be preempted (PREEMPT_RT). */
struct exec_scratch {
    __u32 busy;
    __u32 reserved;
    struct {
        const struct dentry *dentry;
        const struct vfsmount *mount;
        __u32 size;
        __u32 done;
    } walk;
    struct wvu_sample_exec sample;
    __u8 data[WVU_EXEC_FILE_NAME_MAX + WVU_EXEC_DIRECTORY_MAX + WVU_EXEC_ARGUMENTS_MAX];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct exec_scratch);
} wvu_scratch SEC(".maps");

/* Keeps the compiler from forgetting a bound that the verifier needs to see. */
#define keep(variable) asm volatile("" : "+r"(variable))

/* ---- writing -------------------------------------------------------------------------------------- */

static __always_inline void count(__u32 kind, bool full)
{
    __u32 cpu = bpf_get_smp_processor_id();
    struct wvu_cpu_counters *counters = bpf_map_lookup_elem(&wvu_counters, &cpu);
    if (counters == NULL)
        return;
    if (full)
        counters->full[kind & 7]++;
    else
        counters->failed[kind & 7]++;
}

/* 0: it is in the ring. */
static __always_inline long send(void *ctx, void *sample, __u64 size, __u32 kind)
{
    long error = bpf_perf_event_output(ctx, &wvu_rings, BPF_F_CURRENT_CPU, sample, size);
    if (error != 0)
        count(kind, error == -ENOSPC);
    if (wvu_bell_armed != 0) {
        __u32 ring = kind;
        wvu_bell_armed = 0;
        bpf_perf_event_output(ctx, &wvu_bells, BPF_F_CURRENT_CPU, &ring, sizeof(ring));
    }
    return error;
}

/* ---- who ------------------------------------------------------------------------------------------ */

/* The same formula for every key; user space never makes one. */
static __always_inline __u64 key_of(const struct task_struct *leader, __u32 pid)
{
    return ((leader->start_boottime >> 10) << 16) | (pid & 0xFFFF);
}

static __always_inline __u32 namespace_of(const struct task_struct *task)
{
    const struct pid *pid = task->thread_pid;
    struct upid innermost;
    __u32 level;

    if (pid == NULL)
        return 0;
    level = pid->level;
    if (level == 0)
        return pid->numbers[0].ns->ns.inum;
    /* The array's end is not in the type; read it as plain memory. */
    if (bpf_core_read(&innermost, sizeof(innermost),
                      (const char *)pid + bpf_core_field_offset(struct pid, numbers) +
                          (level & 63) * sizeof(struct upid)) != 0)
        return 0;
    return BPF_CORE_READ(innermost.ns, ns.inum);
}

/* Everything but the creator. `task` is the thread group's leader. */
static __always_inline void describe(struct wvu_sample_task *to, const struct task_struct *task,
                                     __u32 kind)
{
    const struct task_struct *parent = task->real_parent->group_leader;
    const struct pid *session = task->signal->pids[PIDTYPE_SID];

    to->kind = kind;
    to->pid = task->tgid;
    to->key = key_of(task, task->tgid);
    to->parent_pid = parent->tgid;
    to->parent_key = key_of(parent, parent->tgid);
    to->user_id = task->cred->euid.val;
    to->group_id = task->cred->egid.val;
    to->session_id = session != NULL ? session->numbers[0].nr : 0;
    to->cgroup_id = task->cgroups->dfl_cgrp->kn->id;
    to->pid_namespace = namespace_of(task);
    to->flags = (task->flags & PF_KTHREAD) != 0 ? WVU_TASK_KERNEL_THREAD : 0;
}

static __always_inline void add_current(struct wvu_sample_task *to)
{
    __u64 ids = bpf_get_current_pid_tgid();
    to->creator_pid = ids >> 32;
    to->creator_tid = (__u32)ids;
}

/* ---- fork ------------------------------------------------------------------------------------------- */

/* `creator` 0: it ends. */
static __always_inline void send_thread(void *ctx, const struct task_struct *task, __u32 kind,
                                        __u32 creator)
{
    struct wvu_sample_thread sample = {
        .kind = kind,
        .pid = task->tgid,
        .key = key_of(task->group_leader, task->tgid),
        .tid = task->pid,
        .creator_tid = creator,
    };

    send(ctx, &sample, sizeof(sample), kind);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(wvu_on_fork, struct task_struct *creator, struct task_struct *child)
{
    struct wvu_sample_task sample;

    if (child->pid != child->tgid) {
        if (wvu_threads_wanted != 0)
            send_thread(ctx, child, WVU_SAMPLE_THREAD, creator->pid);
        return 0;
    }
    describe(&sample, child, WVU_SAMPLE_FORK);
    add_current(&sample);
    send(ctx, &sample, sizeof(sample), WVU_SAMPLE_FORK);
    return 0;
}

/* ---- exec ------------------------------------------------------------------------------------------- */

/* One step up from walk.dentry. The walk's state is in memory, not in registers, so that the verifier
 * finds each round the same as the last one. */
static __always_inline void climb(struct exec_scratch *scratch, __u8 *data,
                                  const struct dentry *root, const struct vfsmount *root_mount)
{
    const struct dentry *dentry = scratch->walk.dentry;
    const struct vfsmount *mount = scratch->walk.mount;
    const struct dentry *parent;
    struct qstr name;
    __u32 size = scratch->walk.size;
    __u32 length;

    if (dentry == root && mount == root_mount) {
        scratch->walk.done = 1;
        return;
    }
    if (dentry == BPF_CORE_READ(mount, mnt_root)) {
        const struct mount *here = (const void *)mount - bpf_core_field_offset(struct mount, mnt);
        const struct mount *above = BPF_CORE_READ(here, mnt_parent);
        if (above == here) {
            scratch->walk.done = 1;
            return;
        }
        scratch->walk.dentry = BPF_CORE_READ(here, mnt_mountpoint);
        scratch->walk.mount = (const void *)above + bpf_core_field_offset(struct mount, mnt);
        return;
    }
    parent = BPF_CORE_READ(dentry, d_parent);
    if (parent == dentry) {
        scratch->walk.done = 1; /* the top of a file system that is mounted nowhere (any more) */
        return;
    }
    length = BPF_CORE_READ(dentry, d_name.len);
    name.name = BPF_CORE_READ(dentry, d_name.name);
    if (size > WVU_EXEC_DIRECTORY_MAX - 257)
        return; /* full: goes round to the bound without becoming done */
    length &= 0xFF;
    keep(length);
    length &= 0xFF;
    if (bpf_probe_read_kernel(data + size, length, name.name) != 0)
        return;
    size += length;
    if (size > WVU_EXEC_DIRECTORY_MAX - 1)
        return;
    data[size] = '/';
    scratch->walk.size = size + 1;
    scratch->walk.dentry = parent;
}

/* The working directory of the task, leaf first. Returns how many bytes. */
static __always_inline __u32 read_directory(struct exec_scratch *scratch, __u8 *data,
                                            const struct task_struct *task)
{
    const struct fs_struct *fs = task->fs;
    const struct dentry *root, *start;
    const struct vfsmount *root_mount;

    if (fs == NULL)
        return 0;
    root = fs->root.dentry;
    root_mount = fs->root.mnt;
    start = fs->pwd.dentry;
    scratch->walk.dentry = start;
    scratch->walk.mount = fs->pwd.mnt;
    scratch->walk.size = 0;
    scratch->walk.done = 0;
    for (int i = 0; i < (int)WVU_EXEC_DEPTH_MAX && scratch->walk.done == 0; i++)
        climb(scratch, data, root, root_mount);

    scratch->sample.flags |= WVU_EXEC_DIRECTORY_KNOWN;
    if (scratch->walk.done == 0)
        scratch->sample.flags |= WVU_EXEC_DIRECTORY_CUT;
    if (start != root && start->d_hash.pprev == NULL && start->d_parent != start)
        scratch->sample.flags |= WVU_EXEC_DIRECTORY_DELETED;
    return scratch->walk.size;
}

/* The arguments as they are in the new program's memory. Returns how many bytes. */
static __always_inline __u32 read_arguments(struct exec_scratch *scratch, __u8 *data,
                                            const struct mm_struct *mm)
{
    const char *begin = (const char *)mm->arg_start;
    __u64 full = mm->arg_end - mm->arg_start;
    __u32 size;

    scratch->sample.arguments_full = full;
    if (full <= WVU_EXEC_ARGUMENTS_MAX) {
        size = full;
        keep(size);
        if (size > WVU_EXEC_ARGUMENTS_MAX)
            return 0;
        if (bpf_probe_read_user(data, size, begin) != 0)
            return 0;
        scratch->sample.arguments_head = size;
    } else {
        if (bpf_probe_read_user(data, WVU_EXEC_HEAD_MAX, begin) != 0 ||
            bpf_probe_read_user(data + WVU_EXEC_HEAD_MAX, WVU_EXEC_TAIL_MAX,
                                begin + full - WVU_EXEC_TAIL_MAX) != 0)
            return 0;
        size = WVU_EXEC_ARGUMENTS_MAX;
        scratch->sample.arguments_head = WVU_EXEC_HEAD_MAX;
    }
    scratch->sample.flags |= WVU_EXEC_ARGUMENTS_KNOWN;
    scratch->sample.arguments_size = size;
    return size;
}

static __always_inline void read_program(struct wvu_sample_exec *sample, const struct mm_struct *mm)
{
    const struct inode *inode = mm->exe_file != NULL ? mm->exe_file->f_inode : NULL;

    sample->inode = 0;
    if (inode == NULL)
        return;
    sample->inode = inode->i_ino;
    sample->device_major = inode->i_sb->s_dev >> 20;
    sample->device_minor = inode->i_sb->s_dev & 0xFFFFF;
}

/* A program that may not run gets its signal here, on the way to its first instruction: the kernel has set up
 * its memory and registers, and looks for signals once more before it returns to user mode. Kernels never let
 * process 1 be killed; they differ in when they say so. */
static __always_inline bool prevent(const struct task_struct *task, const struct mm_struct *mm)
{
    const struct inode *inode = mm->exe_file != NULL ? mm->exe_file->f_inode : NULL;
    struct wvu_denied_file file;
    const struct wvu_denied *denied;
    __u32 pid = task->tgid;

    if (inode == NULL || pid == 1 || pid == wvu_spared[0] || pid == wvu_spared[1])
        return false;
    file.inode = inode->i_ino;
    file.device_major = inode->i_sb->s_dev >> 20;
    file.device_minor = inode->i_sb->s_dev & 0xFFFFF;
    denied = bpf_map_lookup_elem(&wvu_denied_files, &file);
    if (denied == NULL ||
        (denied->has_generation != 0 && denied->generation != inode->i_generation))
        return false;
    return bpf_send_signal(SIGKILL) == 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(wvu_on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
    __u32 cpu = bpf_get_smp_processor_id();
    struct exec_scratch *scratch = bpf_map_lookup_elem(&wvu_scratch, &cpu);
    const struct mm_struct *mm = task->mm;
    struct wvu_sample_exec *sample;
    bool prevented = false;
    __u32 offset;
    long length;

    if (wvu_denied_count != 0 && mm != NULL)
        prevented = prevent(task, mm);
    if (scratch == NULL || mm == NULL || scratch->busy != 0) {
        count(WVU_SAMPLE_EXEC, 0);
        if (prevented)
            count(WVU_SAMPLE_NONE, 0);
        return 0;
    }
    scratch->busy = 1;
    sample = &scratch->sample;
    describe(&sample->task, task, WVU_SAMPLE_EXEC);
    add_current(&sample->task);
    sample->flags = prevented ? WVU_EXEC_PREVENTED : 0;
    sample->tid = old_pid;
    sample->arguments_size = 0;
    sample->arguments_head = 0;
    read_program(sample, mm);

    length = bpf_probe_read_kernel_str(scratch->data, WVU_EXEC_FILE_NAME_MAX, bprm->filename);
    offset = length > 0 ? (__u32)length - 1 : 0; /* without its NUL */
    keep(offset);
    if (offset > WVU_EXEC_FILE_NAME_MAX)
        offset = 0;
    sample->file_name_size = offset;

    length = read_directory(scratch, scratch->data + offset, task);
    keep(length);
    length &= 0x1FFF;
    if (length > WVU_EXEC_DIRECTORY_MAX)
        length = 0;
    sample->directory_size = length;
    offset += length;

    length = read_arguments(scratch, scratch->data + offset, mm);
    keep(length);
    length &= 0xFFFF;
    if (length > WVU_EXEC_ARGUMENTS_MAX)
        length = 0;
    offset += length;

    if (send(ctx, sample, sizeof(*sample) + offset, WVU_SAMPLE_EXEC) != 0 && prevented)
        count(WVU_SAMPLE_NONE, 0);
    scratch->busy = 0;
    return 0;
}

/* ---- exit ------------------------------------------------------------------------------------------- */

/* Nothing but the first argument is used: from 6.16 on there is a second one, and the place in do_exit
 * moved. Two threads that end at once can both find that nobody is left; the source drops the second
 * sample. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(wvu_on_exit, struct task_struct *task)
{
    struct wvu_sample_exit sample;
    const struct signal_struct *signal = task->signal;
    const struct task_struct *leader = task->group_leader;

    if (signal->live.counter != 0) { /* other threads go on */
        if (wvu_threads_wanted != 0)
            send_thread(ctx, task, WVU_SAMPLE_THREAD_EXIT, 0);
        return 0;
    }
    describe(&sample.task, leader, WVU_SAMPLE_EXIT);
    add_current(&sample.task);
    sample.status =
        (signal->flags & SIGNAL_GROUP_EXIT) != 0 ? signal->group_exit_code : leader->exit_code;
    sample.reserved = 0;
    send(ctx, &sample, sizeof(sample), WVU_SAMPLE_EXIT);
    return 0;
}

/* ---- modules ---------------------------------------------------------------------------------------- */

/* Loaded only where the kernel has the tracepoint: kernels without modules have not. */
SEC("?tp_btf/module_load")
int BPF_PROG(wvu_on_module, struct module *module)
{
    struct wvu_sample_module sample = {};
    __u64 ids = bpf_get_current_pid_tgid();

    sample.kind = WVU_SAMPLE_MODULE;
    sample.pid = ids >> 32;
    sample.tid = (__u32)ids;
    if (bpf_core_field_exists(module->mem)) {
        struct module_memory memory[7] = {};
        BPF_CORE_READ_INTO(&memory, module, mem);
        sample.size = memory[0].size;
    } else {
        const struct module___before_6_4 *old = (const void *)module;
        sample.size = BPF_CORE_READ(old, core_layout.size);
    }
    if (bpf_core_field_exists(module->build_id)) {
        BPF_CORE_READ_INTO(&sample.build_id, module, build_id);
        sample.build_id_size = WVU_BUILD_ID_MAX;
    }
    BPF_CORE_READ_STR_INTO(&sample.name, module, name);
    send(ctx, &sample, sizeof(sample), WVU_SAMPLE_MODULE);
    return 0;
}

/* ---- what runs already ------------------------------------------------------------------------------ */

SEC("iter/task")
int wvu_each_task(struct bpf_iter__task *ctx)
{
    const struct task_struct *task = ctx->task;
    struct wvu_sample_running line = {};

    if (task == NULL || task->pid != task->tgid)
        return 0;
    describe(&line.task, task, WVU_SAMPLE_TASK);
    if (task->signal->live.counter == 0)
        line.task.flags |= WVU_TASK_DEAD; /* not waited for yet: its exit was told, or will be */
    line.task.creator_pid = 0;
    line.task.creator_tid = 0;
    line.start_time = task->start_time;
    bpf_core_read_str(line.comm, sizeof(line.comm), &task->comm);
    bpf_seq_write(ctx->meta->seq, &line, sizeof(line));
    return 0;
}
