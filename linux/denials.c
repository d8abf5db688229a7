/*
 * Knows which files may not be executed, and tells the program in the kernel. The denials belong to the source
 * (source.c says who holds them when). No locks here.
 *
 * A denied program is stopped by the program in the kernel, which knows files by device and inode, as the kernel
 * has them. stat() tells others on some file systems (btrfs, some overlays), and there inode numbers are not
 * unique. So only pairs that stat() gave, and which name one file for certain, are told to the kernel; where
 * they never match, the source's thread ends the program after it began. An inode number can be used again;
 * its generation, where the file system tells it, keeps the next file apart.
 */
#define _GNU_SOURCE
#include "denials.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "log.h"
#include "os.h"

#define DENIALS_TAG WVU_TAG('W', 'v', 'D', 'n')
#define PATH_BYTES  4096u

/* ---- files ---------------------------------------------------------------------------------------------- */

/* What tells a file apart from those that had its inode number before. Only of regular files: opening another
 * one could do something. */
static void read_generation(int file, struct wvu_denied *denied)
{
    char path[32];
    long generation = 0; /* the number of the request says long, most file systems write an int */
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    *denied = (struct wvu_denied){0};
    int readable = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (readable < 0)
        return;
    if (ioctl(readable, FS_IOC_GETVERSION, &generation) == 0)
        *denied = (struct wvu_denied){(uint32_t)generation, 1};
    close(readable);
}

/* `file` is open with O_PATH. */
static bool identify(int file, struct wvu_denied_file *identity, struct wvu_denied *denied)
{
    struct stat status;
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return false;
    *identity = (struct wvu_denied_file){
        .inode = status.st_ino,
        .device_major = major(status.st_dev),
        .device_minor = minor(status.st_dev),
    };
    read_generation(file, denied);
    return true;
}

static bool same_file(const struct wvu_denied_file *a, const struct wvu_denied_file *b)
{
    return a->inode == b->inode && a->device_major == b->device_major &&
           a->device_minor == b->device_minor;
}

/* ---- denials -------------------------------------------------------------------------------------------- */

struct denial {
    char *path;
    char rule[WVU_FILTER_NAME_MAX];
};

/* A file that was found for a rule. A rule can have several: in other mount name spaces, and after its file was
 * replaced. */
struct place {
    uint32_t denial;
    bool placed; /* the kernel was told */
    struct wvu_denied_file file;
    struct wvu_denied denied;
};

struct wvu_denials {
    uint32_t count;
    uint32_t places;
    bool failed; /* there was not enough memory for all of the rules */
    struct denial denial[WVU_FILTER_RULES_MAX];
    struct place place[WVU_DENIED_MAX];
};

static char *copy_path(const char *path)
{
    size_t size = strlen(path) + 1;
    char *copy = wvu_os_alloc(size, DENIALS_TAG);
    if (copy != NULL)
        memcpy(copy, path, size);
    return copy;
}

static void add_rule(struct wvu_denials *denials, const struct wvu_filter_denied *rule)
{
    struct denial *denial = &denials->denial[denials->count];
    denial->path = copy_path(rule->path);
    if (denial->path == NULL) {
        denials->failed = true;
        return;
    }
    snprintf(denial->rule, sizeof denial->rule, "%s", rule->rule);
    denials->count++;
}

static void read_rules(void *context, const struct wvu_filter *filter)
{
    struct wvu_denials *denials = context;
    struct wvu_filter_denied rule;
    for (uint32_t i = 0; wvu_filter_denied_at(filter, i, &rule); i++) {
        if (rule.only_path && rule.deny == WVU_DENY_ENFORCE &&
            denials->count < WVU_FILTER_RULES_MAX)
            add_rule(denials, &rule);
    }
}

/* Programs are known by the paths that the kernel gives them; a rule that names a link matches nothing. */
static bool is_own_path(int file, const struct denial *denial)
{
    char link[32];
    char path[PATH_BYTES + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, PATH_BYTES);
    if (size < 0)
        return false;
    path[size] = '\0';
    if (strcmp(path, denial->path) == 0)
        return true;
    wvu_log_warning(WVU_LOG_PROCESS,
                    "rule '%s' denies %s, which is a link: the program's path is %s", denial->rule,
                    denial->path, path);
    return false;
}

static void find_file(struct wvu_denials *denials, uint32_t index)
{
    const struct denial *denial = &denials->denial[index];
    struct place *place = &denials->place[denials->places];
    int file = open(denial->path, O_PATH | O_CLOEXEC);
    if (file < 0)
        return; /* it is not there (yet) */
    if (denials->places < WVU_DENIED_MAX && is_own_path(file, denial) &&
        identify(file, &place->file, &place->denied)) {
        place->denial = index;
        denials->places++;
    }
    close(file);
}

wvu_status wvu_denials_create(struct wvu_sensor *sensor, struct wvu_denials **created)
{
    struct wvu_denials *denials = wvu_os_alloc(sizeof *denials, DENIALS_TAG);
    if (denials == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_sensor_with_filter(sensor, read_rules, denials);
    if (denials->count == 0 && !denials->failed) {
        wvu_denials_destroy(denials);
        return WVU_STATUS_NOT_FOUND;
    }
    if (denials->failed)
        wvu_log_error(WVU_LOG_PROCESS, "no memory for all paths that are denied");
    for (uint32_t i = 0; i < denials->count; i++)
        find_file(denials, i);
    *created = denials;
    return WVU_STATUS_OK;
}

void wvu_denials_destroy(struct wvu_denials *denials)
{
    if (denials == NULL)
        return;
    for (uint32_t i = 0; i < denials->count; i++)
        wvu_os_free(denials->denial[i].path, DENIALS_TAG);
    wvu_os_free(denials, DENIALS_TAG);
}

static void place_one(struct wvu_denials *denials, struct wvu_programs *programs,
                      struct place *place)
{
    wvu_status status = wvu_programs_deny(programs, &place->file, &place->denied);
    place->placed = status == WVU_STATUS_OK;
    if (!place->placed)
        wvu_log_warning(
            WVU_LOG_PROCESS, "%s cannot be denied before it begins, only ended after: %s (0x%08x)",
            denials->denial[place->denial].path, wvu_strerror(status), (unsigned)status);
}

void wvu_denials_place(struct wvu_denials *denials, struct wvu_programs *programs)
{
    for (uint32_t i = 0; i < denials->places; i++)
        place_one(denials, programs, &denials->place[i]);
}

void wvu_denials_remove(struct wvu_denials *denials, struct wvu_programs *programs)
{
    for (uint32_t i = 0; denials != NULL && i < denials->places; i++) {
        if (denials->place[i].placed)
            wvu_programs_allow(programs, &denials->place[i].file);
        denials->place[i].placed = false;
    }
}

const char *wvu_denials_rule(const struct wvu_denials *denials, const struct wvu_denied_file *file)
{
    for (uint32_t i = 0; denials != NULL && i < denials->places; i++) {
        if (same_file(&denials->place[i].file, file))
            return denials->denial[denials->place[i].denial].rule;
    }
    return NULL;
}

static bool is_path_of(const struct denial *denial, const struct wvu_bytes *path)
{
    return strlen(denial->path) == path->size && memcmp(denial->path, path->bytes, path->size) == 0;
}

/* The place for a file: that of the same file before (its generation may be another), or a new one. */
static struct place *place_for(struct wvu_denials *denials, const struct wvu_denied_file *file)
{
    for (uint32_t i = 0; i < denials->places; i++) {
        if (same_file(&denials->place[i].file, file))
            return &denials->place[i];
    }
    return denials->places < WVU_DENIED_MAX ? &denials->place[denials->places++] : NULL;
}

/* Adds the file behind a path, if stat() and the kernel agree that it is the one that was executed. */
static bool learn_from(struct wvu_denials *denials, struct wvu_programs *programs, uint32_t index,
                       const char *path, const struct wvu_denied_file *file)
{
    struct place found = {.denial = index};
    int program = open(path, O_PATH | O_CLOEXEC);
    if (program < 0)
        return false;
    bool same = identify(program, &found.file, &found.denied) && same_file(&found.file, file);
    close(program);
    struct place *place = same ? place_for(denials, file) : NULL;
    if (place != NULL) {
        *place = found;
        place_one(denials, programs, place);
    }
    return same;
}

/* The process shows its file also when it has other mounts; but it may have ended already. */
void wvu_denials_learn(struct wvu_denials *denials, struct wvu_programs *programs,
                       const struct wvu_bytes *path, uint32_t pid,
                       const struct wvu_denied_file *file)
{
    char link[32];
    uint32_t index = 0;
    while (denials != NULL && index < denials->count && !is_path_of(&denials->denial[index], path))
        index++;
    if (denials == NULL || index == denials->count)
        return;
    snprintf(link, sizeof link, "/proc/%u/exe", pid);
    if (!learn_from(denials, programs, index, link, file))
        (void)learn_from(denials, programs, index, denials->denial[index].path, file);
}
