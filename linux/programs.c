/*
 * Loads and attaches the BPF programs with libbpf. Called by the source when the first probe starts and
 * the last one stops, under its mutex; counters, bell and walk by the source's thread.
 *
 * The programs are compiled into wvud (sensor.skel.h) and fitted to the running kernel when they are
 * loaded. A kernel without modules lacks the tracepoint for them, and that program is left out.
 *
 * Order of attachment: exits first, forks last. A process that is forked while this goes on is either
 * seen from its fork on, or not seen before its exit, or found by the walk that follows; it
 * cannot be announced and never end.
 */
#define _GNU_SOURCE
#include "programs.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "atomic.h"
#include "log.h"
#include "os.h"
#include "sensor.skel.h"

#define PROGRAMS_TAG WVU_TAG('W', 'v', 'B', 'p')
#define REASON_SIZE  256
#define VMLINUX_BTF  "/sys/kernel/btf/vmlinux"
#define INITIAL_PID_NS                                                                             \
    "pid:[4026531836]" /* PROC_PID_INIT_INO, part of the kernel's user interface */
#define OLDEST_MAJOR 5
#define OLDEST_MINOR 10

struct wvu_programs {
    struct sensor_bpf *skeleton;
    struct bpf_link *links[5];
    unsigned link_count;
    struct bpf_link *iterator;
    struct wvu_cpu_counters *counters; /* mapped */
    size_t counters_size;
    uint32_t denied;    /* entries of the map of denied files */
    uint32_t walks_all; /* 1: this kernel has no walk over one process; relaxed */
};

/* ---- libbpf's messages ------------------------------------------------------------------------------- */

static void log_lines(uint32_t level, char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        wvu_log(WVU_LOG_PROBE, level, "%s", line);
}

static int log_message(enum libbpf_print_level from, const char *format, va_list arguments)
{
    uint32_t level = from == LIBBPF_WARN ? WVU_LOG_WARNING : WVU_LOG_TRACE;
    if (from == LIBBPF_DEBUG || (wvu_load_relaxed(&wvu_log_enabled[level]) & WVU_LOG_PROBE) == 0)
        return 0;
    char text[2048];
    vsnprintf(text, sizeof text, format, arguments);
    log_lines(level, text);
    return 0;
}

/* ---- what can be missing ------------------------------------------------------------------------------ */

static bool has_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return true; /* let the kernel say it itself */
    uint64_t effective = (uint64_t)data[1].effective << 32 | data[0].effective;
    bool all = (effective >> CAP_SYS_ADMIN & 1) != 0;
    return all || ((effective >> CAP_BPF & 1) != 0 && (effective >> CAP_PERFMON & 1) != 0);
}

static bool kernel_is_old(struct utsname *name)
{
    unsigned major = 0;
    unsigned minor = 0;
    if (uname(name) != 0 || sscanf(name->release, "%u.%u", &major, &minor) != 2)
        return false;
    return major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR);
}

static bool is_in_namespace(void)
{
    char name[64];
    ssize_t size = readlink("/proc/self/ns/pid", name, sizeof name - 1);
    if (size < 0)
        return false;
    name[size] = '\0';
    return strcmp(name, INITIAL_PID_NS) != 0;
}

wvu_status wvu_programs_check_pids(char *reason)
{
    if (!is_in_namespace())
        return WVU_STATUS_OK;
    snprintf(
        reason, REASON_SIZE,
        "this is not the initial pid namespace, so pids would be wrong: run on the host itself "
        "(containers: --pid=host)");
    return WVU_STATUS_NOT_SUPPORTED;
}

static bool is_locked_down(void)
{
    char text[128];
    FILE *file = fopen("/sys/kernel/security/lockdown", "re");
    if (file == NULL)
        return false;
    bool locked =
        fgets(text, sizeof text, file) != NULL && strstr(text, "[confidentiality]") != NULL;
    fclose(file);
    return locked;
}

static wvu_status check_machine(char *reason)
{
    struct utsname name;
    if (kernel_is_old(&name)) {
        snprintf(reason, REASON_SIZE, "kernel %.64s is too old: %d.%d or later is needed",
                 name.release, OLDEST_MAJOR, OLDEST_MINOR);
        return WVU_STATUS_NOT_SUPPORTED;
    }
    if (!has_capabilities()) {
        snprintf(reason, REASON_SIZE,
                 "the right to trace the kernel is missing: run as root, or with CAP_BPF and "
                 "CAP_PERFMON");
        return WVU_STATUS_PRIVILEGE_NOT_HELD;
    }
    if (access(VMLINUX_BTF, R_OK) != 0) {
        snprintf(
            reason, REASON_SIZE,
            "%s: %s: the kernel must be built with CONFIG_DEBUG_INFO_BTF, and sysfs be mounted",
            VMLINUX_BTF, strerror(errno));
        return WVU_STATUS_NOT_SUPPORTED;
    }
    if (is_locked_down()) {
        snprintf(reason, REASON_SIZE,
                 "the kernel is locked down (confidentiality), which forbids programs to read its "
                 "memory: boot with lockdown=integrity");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    return wvu_programs_check_pids(reason);
}

static wvu_status explain(const char *what, int error, char *reason)
{
    if (error == EPERM || error == EACCES) {
        snprintf(reason, REASON_SIZE,
                 "%s: %s: run as root, or with CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK, and let no "
                 "seccomp profile refuse bpf",
                 what, strerror(error));
        return WVU_STATUS_PRIVILEGE_NOT_HELD;
    }
    if (error == ENOMEM) {
        snprintf(reason, REASON_SIZE, "%s: no memory; raise RLIMIT_MEMLOCK (LimitMEMLOCK)", what);
        return WVU_STATUS_NO_MEMORY;
    }
    snprintf(reason, REASON_SIZE, "%s: %s; the log has the kernel's words (module probe, warning)",
             what, strerror(error));
    return WVU_STATUS_NOT_SUPPORTED;
}

/* Before 5.11 the memory of maps counted against this limit, whose default is far too small; perf rings
 * still do for those without CAP_IPC_LOCK. Failure shows where memory is then refused. */
static void raise_memory_limit(void)
{
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &none);
}

static bool kernel_has(const char *tracepoint_type)
{
    struct btf *btf = btf__load_vmlinux_btf();
    if (btf == NULL)
        return false;
    bool found = btf__find_by_name_kind(btf, tracepoint_type, BTF_KIND_TYPEDEF) > 0;
    btf__free(btf);
    return found;
}

/* ---- load and attach ----------------------------------------------------------------------------------- */

static wvu_status map_counters(struct wvu_programs *programs, uint32_t cpus, char *reason)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (cpus * sizeof(struct wvu_cpu_counters) + page - 1) / page * page;
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED,
                        bpf_map__fd(programs->skeleton->maps.wvu_counters), 0);
    if (memory == MAP_FAILED)
        return explain("mapping the counters", errno, reason);
    programs->counters = memory;
    programs->counters_size = size;
    return WVU_STATUS_OK;
}

wvu_status wvu_programs_load(uint32_t cpus, struct wvu_programs **loaded, char *reason)
{
    libbpf_set_print(log_message);
    wvu_status status = check_machine(reason);
    if (status != WVU_STATUS_OK)
        return status;
    raise_memory_limit();
    struct wvu_programs *programs = wvu_os_alloc(sizeof *programs, PROGRAMS_TAG);
    if (programs == NULL)
        return WVU_STATUS_NO_MEMORY;
    struct sensor_bpf *skeleton = sensor_bpf__open();
    programs->skeleton = skeleton;
    if (skeleton == NULL) {
        status = explain("opening the kernel programs", errno, reason);
        goto unload;
    }
    bpf_map__set_max_entries(skeleton->maps.wvu_rings, cpus);
    bpf_map__set_max_entries(skeleton->maps.wvu_bells, cpus);
    bpf_map__set_max_entries(skeleton->maps.wvu_counters, cpus);
    bpf_map__set_max_entries(skeleton->maps.wvu_scratch, cpus);
    bpf_program__set_autoload(skeleton->progs.wvu_on_module, kernel_has("btf_trace_module_load"));
    int error = sensor_bpf__load(skeleton);
    if (error != 0) {
        status = explain("loading the kernel programs", -error, reason);
        goto unload;
    }
    status = map_counters(programs, cpus, reason);
    if (status != WVU_STATUS_OK)
        goto unload;
    programs->iterator = bpf_program__attach_iter(skeleton->progs.wvu_each_task, NULL);
    if (programs->iterator == NULL) {
        status = explain("attaching the walk over processes", errno, reason);
        goto unload;
    }
    skeleton->bss->wvu_spared[0] = (uint32_t)getpid();
    *loaded = programs;
    return WVU_STATUS_OK;

unload:
    wvu_programs_unload(programs);
    return status;
}

static wvu_status attach_one(struct wvu_programs *programs, const struct bpf_program *program,
                             char *reason)
{
    struct bpf_link *link = bpf_program__attach(program);
    if (link == NULL) {
        char what[96];
        snprintf(what, sizeof what, "attaching the kernel program %s", bpf_program__name(program));
        return explain(what, errno, reason);
    }
    programs->links[programs->link_count++] = link;
    return WVU_STATUS_OK;
}

wvu_status wvu_programs_attach(struct wvu_programs *programs, char *reason)
{
    struct sensor_bpf *skeleton = programs->skeleton;
    const struct bpf_program *in_order[] = {
        skeleton->progs.wvu_on_exit,
        skeleton->progs.wvu_on_exec,
        skeleton->progs.wvu_on_fork,
        skeleton->progs.wvu_on_module,
    };
    for (size_t i = 0; i < sizeof in_order / sizeof *in_order; i++) {
        if (!bpf_program__autoload(in_order[i]))
            continue;
        wvu_status status = attach_one(programs, in_order[i], reason);
        if (status != WVU_STATUS_OK)
            return status;
    }
    return WVU_STATUS_OK;
}

void wvu_programs_unload(struct wvu_programs *programs)
{
    if (programs == NULL)
        return;
    while (programs->link_count > 0)
        bpf_link__destroy(programs->links[--programs->link_count]);
    bpf_link__destroy(programs->iterator);
    if (programs->counters != NULL)
        munmap(programs->counters, programs->counters_size);
    sensor_bpf__destroy(programs->skeleton);
    wvu_os_free(programs, PROGRAMS_TAG);
}

wvu_status wvu_programs_set_ring(struct wvu_programs *programs, const struct wvu_perf_ring *ring)
{
    int rings = bpf_map__fd(programs->skeleton->maps.wvu_rings);
    int bells = bpf_map__fd(programs->skeleton->maps.wvu_bells);
    if (bpf_map_update_elem(rings, &ring->cpu, &ring->samples, BPF_ANY) != 0 ||
        bpf_map_update_elem(bells, &ring->cpu, &ring->bell, BPF_ANY) != 0)
        return WVU_STATUS_IO_ERROR;
    return WVU_STATUS_OK;
}

bool wvu_programs_see_modules(const struct wvu_programs *programs)
{
    return bpf_program__autoload(programs->skeleton->progs.wvu_on_module);
}

const struct wvu_cpu_counters *wvu_programs_counters(const struct wvu_programs *programs)
{
    return programs->counters;
}

void wvu_programs_arm_bell(struct wvu_programs *programs, bool armed)
{
    uint32_t *flag = (uint32_t *)&programs->skeleton->bss->wvu_bell_armed;
    wvu_store_release(flag, armed ? 1 : 0);
}

void wvu_programs_want_threads(struct wvu_programs *programs, bool wanted)
{
    uint32_t *flag = (uint32_t *)&programs->skeleton->bss->wvu_threads_wanted;
    wvu_store_release(flag, wanted ? 1 : 0);
}

void wvu_programs_spare(struct wvu_programs *programs, uint32_t reader_pid)
{
    uint32_t *spared = (uint32_t *)&programs->skeleton->bss->wvu_spared[1];
    wvu_store_release(spared, reader_pid);
}

/* ---- denied files -------------------------------------------------------------------------------------- */

static void publish_denied(struct wvu_programs *programs)
{
    uint32_t *count = (uint32_t *)&programs->skeleton->bss->wvu_denied_count;
    wvu_store_release(count, programs->denied);
}

wvu_status wvu_programs_deny(struct wvu_programs *programs, const struct wvu_denied_file *file,
                             const struct wvu_denied *denied)
{
    int map = bpf_map__fd(programs->skeleton->maps.wvu_denied_files);
    if (bpf_map_update_elem(map, file, denied, BPF_NOEXIST) != 0) {
        if (errno != EEXIST)
            return errno == E2BIG ? WVU_STATUS_NO_RESOURCES : WVU_STATUS_IO_ERROR;
        bool done = bpf_map_update_elem(map, file, denied, BPF_EXIST) == 0;
        return done ? WVU_STATUS_OK : WVU_STATUS_IO_ERROR;
    }
    programs->denied++;
    publish_denied(programs);
    return WVU_STATUS_OK;
}

void wvu_programs_allow(struct wvu_programs *programs, const struct wvu_denied_file *file)
{
    if (bpf_map_delete_elem(bpf_map__fd(programs->skeleton->maps.wvu_denied_files), file) != 0)
        return;
    programs->denied--;
    publish_denied(programs);
}

/* ---- the walk -------------------------------------------------------------------------------------------- */

static wvu_status walk(const struct bpf_link *iterator,
                       void (*each)(void *context, const struct wvu_sample_running *running),
                       void *context)
{
    struct wvu_sample_running lines[64];
    size_t filled = 0; /* bytes */
    int fd = bpf_iter_create(bpf_link__fd(iterator));
    if (fd < 0)
        return WVU_STATUS_IO_ERROR;
    for (;;) {
        ssize_t got = read(fd, (char *)lines + filled, sizeof lines - filled);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0) {
            close(fd);
            return got == 0 ? WVU_STATUS_OK : WVU_STATUS_IO_ERROR;
        }
        filled += (size_t)got;
        size_t whole = filled / sizeof *lines;
        for (size_t i = 0; i < whole; i++)
            each(context, &lines[i]);
        filled -= whole * sizeof *lines;
        memmove(lines, lines + whole, filled);
    }
}

wvu_status wvu_programs_walk(const struct wvu_programs *programs,
                             void (*each)(void *context, const struct wvu_sample_running *running),
                             void *context)
{
    return walk(programs->iterator, each, context);
}

struct wanted {
    uint32_t pid;
    bool found;
    struct wvu_sample_running *running;
};

static void take_wanted(void *context, const struct wvu_sample_running *running)
{
    struct wanted *wanted = context;
    if (running->task.pid != wanted->pid || (running->task.flags & WVU_TASK_DEAD) != 0)
        return;
    wanted->found = true;
    *wanted->running = *running;
}

/* A walk over one process: kernels from 6.1 on can do that, the others refuse. */
static struct bpf_link *attach_walk_over(const struct wvu_programs *programs, uint32_t pid)
{
    /* The member `task` of union bpf_iter_link_info, which headers before 6.1 lack. */
    struct {
        uint32_t tid;
        uint32_t pid;
        uint32_t pid_fd;
        uint32_t reserved;
    } task = {.pid = pid};
    struct bpf_iter_attach_opts options;
    memset(&options, 0, sizeof options); /* the padding, too: libbpf looks at it */
    options.sz = sizeof options;
    options.link_info = (union bpf_iter_link_info *)(void *)&task;
    options.link_info_len = sizeof task;
    return bpf_program__attach_iter(programs->skeleton->progs.wvu_each_task, &options);
}

wvu_status wvu_programs_find(struct wvu_programs *programs, uint32_t pid,
                             struct wvu_sample_running *running)
{
    struct wanted wanted = {.pid = pid, .running = running};
    struct bpf_link *one = NULL;
    if (wvu_load_relaxed(&programs->walks_all) == 0)
        one = attach_walk_over(programs, pid);
    if (one == NULL)
        wvu_store_relaxed(&programs->walks_all, 1);
    wvu_status status = walk(one != NULL ? one : programs->iterator, take_wanted, &wanted);
    bpf_link__destroy(one);
    if (status != WVU_STATUS_OK)
        return status;
    return wanted.found ? WVU_STATUS_OK : WVU_STATUS_NOT_FOUND;
}
