/*
 * Compares the lists of what runs. Called by the probe ProcessListValidation, in the poller's thread, and by
 * tests; no state, no locks.
 *
 * No process stands still to be compared, so what is found must not depend on luck:
 *
 *   - The kernel's list is taken before and after the others. What is in both with one key lived all the time
 *     in between, when the other lists were taken: they must have it. Is it in one of the two, or dead in one,
 *     then it started or ended, and nothing is said about it.
 *   - What another list has and neither of the kernel's does, may have lived just in between. So nothing
 *     counts before a second look has found the same process again: then it lived from the first look to the
 *     second, and the kernel's lists at the end of the one and the beginning of the other must have it.
 *   - The kernel has a process in its list shortly before it tells of it, while the parent, which can be
 *     interrupted there, is still in fork. So a process must have some age.
 *
 * A process that has ended and was not waited for is no process here, whatever a list says.
 */
#define _GNU_SOURCE
#include "process_lists.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "growing.h"
#include "os.h"

#define LISTS_TAG   WVU_TAG('W', 'v', 'L', 's')
#define REASON_SIZE 256
#define PIDS_MOST   4194304u /* PID_MAX_LIMIT: the kernel gives no more of them */

/* ---- lists ---------------------------------------------------------------------------------------------- */

void wvu_process_list_add(struct wvu_process_list *list, const struct wvu_listed *process)
{
    wvu_growing_add(list, process, PIDS_MOST, LISTS_TAG);
}

static int by_pid(const void *a, const void *b)
{
    uint32_t left = ((const struct wvu_listed *)a)->pid;
    uint32_t right = ((const struct wvu_listed *)b)->pid;
    return (left > right) - (left < right);
}

void wvu_process_list_sort(struct wvu_process_list *list)
{
    if (list->count > 1)
        qsort(list->entries, list->count, sizeof *list->entries, by_pid);
}

const struct wvu_listed *wvu_process_list_find(const struct wvu_process_list *list, uint32_t pid)
{
    const struct wvu_listed wanted = {.pid = pid};
    if (list->count == 0)
        return NULL;
    return bsearch(&wanted, list->entries, list->count, sizeof wanted, by_pid);
}

void wvu_process_list_free(struct wvu_process_list *list)
{
    wvu_os_free(list->entries, LISTS_TAG);
    *list = (struct wvu_process_list){0};
}

void wvu_mismatches_free(struct wvu_mismatches *mismatches)
{
    wvu_os_free(mismatches->entries, LISTS_TAG);
    *mismatches = (struct wvu_mismatches){0};
}

/* ---- comparing ------------------------------------------------------------------------------------------ */

static uint32_t all_lists(const struct wvu_process_lists *lists)
{
    return WVU_LIST_KERNEL | WVU_LIST_PROC | (lists->has_callbacks ? WVU_LIST_CALLBACKS : 0);
}

static void add_if_missing(const struct wvu_process_lists *lists, struct wvu_mismatches *mismatches,
                           struct wvu_mismatch *mismatch)
{
    mismatch->not_in = all_lists(lists) & ~mismatch->in;
    if (mismatch->not_in != 0)
        wvu_growing_add(mismatches, mismatch, PIDS_MOST, LISTS_TAG);
}

static bool has_key(const struct wvu_process_list *list, uint32_t pid, uint64_t key)
{
    const struct wvu_listed *found = wvu_process_list_find(list, pid);
    return found != NULL && found->key == key;
}

/* Every process that lived from the one list of the kernel to the other. */
static void compare_kernel(const struct wvu_process_lists *lists, struct wvu_mismatches *mismatches)
{
    for (uint32_t i = 0; i < lists->before.count; i++) {
        const struct wvu_listed *process = &lists->before.entries[i];
        const struct wvu_listed *later = wvu_process_list_find(&lists->after, process->pid);
        if (later == NULL || later->key != process->key || process->dead || later->dead ||
            process->start + WVU_LISTS_AGE_NS > lists->begun)
            continue;
        struct wvu_mismatch mismatch = {.pid = process->pid, .key = process->key};
        memcpy(mismatch.name, process->name, sizeof mismatch.name);
        mismatch.in = WVU_LIST_KERNEL;
        if (has_key(&lists->callbacks, process->pid, process->key))
            mismatch.in |= WVU_LIST_CALLBACKS;
        if (wvu_process_list_find(&lists->proc, process->pid) != NULL)
            mismatch.in |= WVU_LIST_PROC;
        add_if_missing(lists, mismatches, &mismatch);
    }
}

static bool kernel_has(const struct wvu_process_lists *lists, uint32_t pid)
{
    return wvu_process_list_find(&lists->before, pid) != NULL ||
           wvu_process_list_find(&lists->after, pid) != NULL;
}

/* What other lists have and the kernel's do not. */
static void compare_callbacks(const struct wvu_process_lists *lists,
                              struct wvu_mismatches *mismatches)
{
    for (uint32_t i = 0; i < lists->callbacks.count; i++) {
        const struct wvu_listed *process = &lists->callbacks.entries[i];
        if (kernel_has(lists, process->pid))
            continue;
        struct wvu_mismatch mismatch = {.pid = process->pid, .key = process->key};
        const struct wvu_listed *shown = wvu_process_list_find(&lists->proc, process->pid);
        mismatch.in = WVU_LIST_CALLBACKS | (shown != NULL ? WVU_LIST_PROC : 0);
        if (shown != NULL)
            memcpy(mismatch.name, shown->name, sizeof mismatch.name);
        add_if_missing(lists, mismatches, &mismatch);
    }
}

static void compare_proc(const struct wvu_process_lists *lists, struct wvu_mismatches *mismatches)
{
    for (uint32_t i = 0; i < lists->proc.count; i++) {
        const struct wvu_listed *process = &lists->proc.entries[i];
        if (kernel_has(lists, process->pid) ||
            wvu_process_list_find(&lists->callbacks, process->pid) != NULL)
            continue;
        struct wvu_mismatch mismatch = {
            .pid = process->pid, .in = WVU_LIST_PROC, .start = process->start};
        memcpy(mismatch.name, process->name, sizeof mismatch.name);
        add_if_missing(lists, mismatches, &mismatch);
    }
}

void wvu_process_lists_compare(const struct wvu_process_lists *lists,
                               struct wvu_mismatches *mismatches)
{
    compare_kernel(lists, mismatches);
    if (lists->has_callbacks)
        compare_callbacks(lists, mismatches);
    compare_proc(lists, mismatches);
}

static const struct wvu_mismatch *find_same(const struct wvu_mismatches *mismatches,
                                            const struct wvu_mismatch *wanted)
{
    for (uint32_t i = 0; i < mismatches->count; i++) {
        const struct wvu_mismatch *entry = &mismatches->entries[i];
        if (entry->pid == wanted->pid && entry->key == wanted->key && entry->start == wanted->start)
            return entry;
    }
    return NULL;
}

void wvu_mismatches_confirm(struct wvu_mismatches *first, const struct wvu_mismatches *second)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < first->count; i++) {
        struct wvu_mismatch mismatch = first->entries[i];
        const struct wvu_mismatch *again = find_same(second, &mismatch);
        if (again == NULL || (mismatch.not_in & again->not_in) == 0)
            continue;
        mismatch.in |= again->in;
        mismatch.not_in &= again->not_in;
        first->entries[kept++] = mismatch;
    }
    first->count = kept;
}

bool wvu_mismatches_have(const struct wvu_mismatches *mismatches,
                         const struct wvu_mismatch *mismatch)
{
    const struct wvu_mismatch *found = find_same(mismatches, mismatch);
    return found != NULL && found->not_in == mismatch->not_in;
}

/* ---- /proc ---------------------------------------------------------------------------------------------- */

/* Fields: pid (name) state ... with the start as the 22nd; a name can hold anything, parentheses, too. */
bool wvu_process_lists_read_stat(const char *line, uint32_t pid, struct wvu_listed *process)
{
    char *end;
    const char *name = strchr(line, '(');
    const char *rest = strrchr(line, ')');
    unsigned long told = strtoul(line, &end, 10);
    if (told != pid || end == line || name == NULL || rest == NULL || rest < name ||
        end + 1 != name)
        return false;
    *process = (struct wvu_listed){.pid = pid};
    size_t size = (size_t)(rest - name - 1);
    memcpy(process->name, name + 1, size < sizeof process->name ? size : sizeof process->name);
    for (int field = 2; field < 22 && rest != NULL; field++)
        rest = strchr(rest + 1, ' ');
    if (rest == NULL)
        return false;
    process->start = strtoull(rest, NULL, 10);
    return true;
}

/* OK, NOT_FOUND when /proc has no such process for a reader, or why that cannot be said. */
static wvu_status look_at(int proc, dev_t device, const char *name, struct wvu_listed *process)
{
    char path[300];
    char line[1024];
    struct stat status;
    snprintf(path, sizeof path, "%s/stat", name);
    int file = openat(proc, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EINTR))
        return WVU_STATUS_NO_RESOURCES;
    if (file < 0)
        return WVU_STATUS_NOT_FOUND;
    /* Something that is mounted over the entry is on another device. */
    ssize_t size = -1;
    if (fstat(file, &status) == 0 && status.st_dev == device)
        size = read(file, line, sizeof line - 1);
    close(file);
    if (size <= 0)
        return WVU_STATUS_NOT_FOUND;
    line[size] = '\0';
    uint32_t pid = (uint32_t)strtoul(name, NULL, 10);
    return wvu_process_lists_read_stat(line, pid, process) ? WVU_STATUS_OK : WVU_STATUS_NOT_FOUND;
}

static wvu_status read_entries(DIR *directory, dev_t device, struct wvu_process_list *list)
{
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        struct wvu_listed process;
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        wvu_status status = look_at(dirfd(directory), device, entry->d_name, &process);
        if (status == WVU_STATUS_OK)
            wvu_process_list_add(list, &process);
        else if (status != WVU_STATUS_NOT_FOUND)
            return status;
    }
    if (errno != 0)
        return WVU_STATUS_IO_ERROR;
    return list->failed ? WVU_STATUS_NO_MEMORY : WVU_STATUS_OK;
}

wvu_status wvu_process_lists_read_proc(struct wvu_process_list *list)
{
    struct stat status;
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* as it is mounted now */
    if (proc < 0)
        return WVU_STATUS_IO_ERROR;
    DIR *directory = fstat(proc, &status) == 0 ? fdopendir(proc) : NULL;
    if (directory == NULL) {
        close(proc);
        return WVU_STATUS_NO_RESOURCES;
    }
    wvu_status result = read_entries(directory, status.st_dev, list);
    closedir(directory);
    wvu_process_list_sort(list);
    return result;
}

/* ---- is /proc to be trusted? ---------------------------------------------------------------------------- */

static bool sees_own_pid(void)
{
    char text[32];
    ssize_t size = readlink("/proc/self", text, sizeof text - 1);
    if (size <= 0)
        return false;
    text[size] = '\0';
    return strtol(text, NULL, 10) == (long)getpid();
}

/* The options of the topmost file system at /proc that hide processes from those without a right. */
static bool hides_processes(void)
{
    char line[4096], point[1024], type[64];
    bool hides = false;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *second = strstr(line, " - ");
        if (second == NULL || sscanf(line, "%*s %*s %*s %*s %1023s", point) != 1 ||
            sscanf(second, " - %63s", type) != 1 || strcmp(point, "/proc") != 0)
            continue;
        hides = strstr(second, "hidepid=") != NULL && strstr(second, "hidepid=0") == NULL &&
                strstr(second, "hidepid=off") == NULL;
    }
    fclose(file);
    return hides;
}

static bool may_see_all(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(CAP_SYS_PTRACE)].effective & CAP_TO_MASK(CAP_SYS_PTRACE)) != 0;
}

wvu_status wvu_process_lists_check(char *reason)
{
    struct statfs status;
    if (statfs("/proc", &status) != 0 || status.f_type != PROC_SUPER_MAGIC || !sees_own_pid()) {
        snprintf(reason, REASON_SIZE,
                 "/proc is not the process file system of this pid name space: something else is "
                 "mounted there");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    if (hides_processes() && !may_see_all()) {
        snprintf(reason, REASON_SIZE,
                 "/proc is mounted with hidepid, which hides processes from this one: mount it "
                 "without, or run with CAP_SYS_PTRACE");
        return WVU_STATUS_PRIVILEGE_NOT_HELD;
    }
    return WVU_STATUS_OK;
}
