/*
 * The few kernel types and BPF constants that sensor.bpf.c uses, declared by hand, so that the build needs
 * no kernel headers and no BTF file. Only the members that are used are here: their true offsets are
 * filled in when the programs are loaded, from the running kernel's own BTF (CO-RE). Names must be the
 * kernel's.
 */
#ifndef WVU_BPF_KERNEL_TYPES_H
#define WVU_BPF_KERNEL_TYPES_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
typedef _Bool bool;
#define false 0
#define true 1
#define NULL ((void *)0)

/* Values of the BPF and kernel user interface: they never change. */
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4 };
#define BPF_F_MMAPABLE    (1u << 10)
#define BPF_F_CURRENT_CPU 0xffffffffull

#define PF_KTHREAD        0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004
#define PIDTYPE_SID       3
#define ENOSPC            28
#define SIGKILL           9

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
    int counter;
} atomic_t;

typedef struct {
    unsigned int val;
} kuid_t;

typedef struct {
    unsigned int val;
} kgid_t;

struct ns_common {
    unsigned int inum;
};

struct pid_namespace {
    struct ns_common ns;
};

struct upid {
    int nr;
    struct pid_namespace *ns;
};

struct pid {
    unsigned int level;
    struct upid numbers[1];
};

struct cred {
    kuid_t euid;
    kgid_t egid;
};

struct kernfs_node {
    __u64 id;
};

struct cgroup {
    struct kernfs_node *kn;
};

struct css_set {
    struct cgroup *dfl_cgrp;
};

struct signal_struct {
    atomic_t live;
    int group_exit_code;
    unsigned int flags;
    struct pid *pids[4];
};

struct super_block {
    __u32 s_dev;
};

struct inode {
    unsigned long i_ino;
    __u32 i_generation;
    struct super_block *i_sb;
};

struct file {
    struct inode *f_inode;
};

struct mm_struct {
    unsigned long arg_start;
    unsigned long arg_end;
    struct file *exe_file;
};

struct qstr {
    __u32 len;
    const unsigned char *name;
};

struct hlist_bl_node {
    struct hlist_bl_node **pprev;
};

struct dentry {
    struct hlist_bl_node d_hash;
    struct dentry *d_parent;
    struct qstr d_name;
};

struct vfsmount {
    struct dentry *mnt_root;
};

struct mount {
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
};

struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
};

struct fs_struct {
    struct path root;
    struct path pwd;
};

struct task_struct {
    unsigned int flags;
    struct mm_struct *mm;
    int exit_code;
    int pid;
    int tgid;
    struct task_struct *real_parent;
    struct task_struct *group_leader;
    struct pid *thread_pid;
    __u64 start_time;
    __u64 start_boottime;
    const struct cred *cred;
    char comm[16];
    struct fs_struct *fs;
    struct signal_struct *signal;
    struct css_set *cgroups;
};

struct linux_binprm {
    const char *filename;
};

/* Up to 6.3 the size of a module is in core_layout, from 6.4 on in mem[]. */
struct module_layout {
    unsigned int size;
};

struct module_memory {
    unsigned int size;
};

struct module {
    char name[56];
    struct module_memory mem[7];
    unsigned char build_id[20];
};

struct module___before_6_4 {
    struct module_layout core_layout;
};

struct seq_file;

struct bpf_iter_meta {
    struct seq_file *seq;
};

struct bpf_iter__task {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
};

#pragma clang attribute pop

#endif
