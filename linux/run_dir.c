/*
 * The run directory. Main thread only.
 *
 * Who holds the lock (flock) on wvud.pid has the directory, and may replace a socket that a dead
 * sensor left. The kernel lets go of the lock however the holder ends. The file is removed at the
 * end while it is still locked; whoever waited in open() for just that file finds it without a name
 * and starts again (`is_current`).
 */
#define _GNU_SOURCE
#include "run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static wvu_status status_of(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
        return WVU_STATUS_ACCESS_DENIED;
    case ENOENT:
        return WVU_STATUS_NAME_NOT_FOUND;
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return WVU_STATUS_INVALID_PARAMETER;
    default:
        return WVU_STATUS_IO_ERROR;
    }
}

/* ---- the directory ------------------------------------------------------------------------- */

static wvu_status open_directory(struct wvu_run_dir *run_dir, char *reason, size_t reason_size)
{
    if (mkdir(run_dir->path, 0750) != 0 && errno != EEXIST) {
        int error = errno;
        snprintf(
            reason, reason_size,
            "run directory %s cannot be made: %s; run as root, or choose another with --run-dir",
            run_dir->path, strerror(error));
        return status_of(error);
    }
    run_dir->directory = open(run_dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run_dir->directory < 0) {
        int error = errno;
        snprintf(reason, reason_size, "run directory %s cannot be opened: %s", run_dir->path,
                 strerror(error));
        return status_of(error);
    }
    return WVU_STATUS_OK;
}

/* In a directory that others can write to, they could put a socket of their own in the port's
 * place. */
static wvu_status check_directory(const struct wvu_run_dir *run_dir, char *reason,
                                  size_t reason_size)
{
    struct stat status;
    if (fstat(run_dir->directory, &status) != 0) {
        int error = errno;
        snprintf(reason, reason_size, "run directory %s cannot be examined: %s", run_dir->path,
                 strerror(error));
        return status_of(error);
    }
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        snprintf(reason, reason_size,
                 "run directory %s belongs to user %u, who could replace the port; choose another "
                 "with --run-dir",
                 run_dir->path, (unsigned)status.st_uid);
        return WVU_STATUS_ACCESS_DENIED;
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        snprintf(reason, reason_size,
                 "run directory %s can be written by others, who could replace the port; "
                 "chmod go-w it, or choose another with --run-dir",
                 run_dir->path);
        return WVU_STATUS_ACCESS_DENIED;
    }
    return WVU_STATUS_OK;
}

wvu_status wvu_run_dir_set_group(const struct wvu_run_dir *run_dir, bool has_group, gid_t group,
                                 char *reason, size_t reason_size)
{
    if (!has_group)
        return WVU_STATUS_OK;
    if (fchown(run_dir->directory, (uid_t)-1, group) != 0 ||
        fchmod(run_dir->directory, 0750) != 0) {
        int error = errno;
        snprintf(
            reason, reason_size,
            "run directory %s cannot be opened to group %u: %s; to give a directory to a group, "
            "be its member or have CAP_CHOWN",
            run_dir->path, (unsigned)group, strerror(error));
        return status_of(error);
    }
    return WVU_STATUS_OK;
}

/* ---- the lock ------------------------------------------------------------------------------ */

static void say_who_has_it(const struct wvu_run_dir *run_dir, int file, char *reason,
                           size_t reason_size)
{
    char text[32] = "";
    ssize_t length = pread(file, text, sizeof text - 1, 0);
    long pid = length > 0 ? strtol(text, NULL, 10) : 0;
    if (pid > 0)
        snprintf(
            reason, reason_size,
            "another sensor, process %ld, has the run directory %s; stop it (kill %ld), or choose "
            "another with --run-dir",
            pid, run_dir->path, pid);
    else
        snprintf(
            reason, reason_size,
            "another sensor has the run directory %s; stop it, or choose another with --run-dir",
            run_dir->path);
}

/* Whether the open file is still the one that has the name. */
static bool is_current(const struct wvu_run_dir *run_dir, int file)
{
    struct stat opened, named;
    return fstat(file, &opened) == 0 &&
           fstatat(run_dir->directory, WVU_PID_FILE, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

static wvu_status write_pid(const struct wvu_run_dir *run_dir, char *reason, size_t reason_size)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(run_dir->lock, 0) == 0 &&
        pwrite(run_dir->lock, text, (size_t)length, 0) == (ssize_t)length)
        return WVU_STATUS_OK;
    int error = errno;
    snprintf(reason, reason_size, "%s/%s cannot be written: %s", run_dir->path, WVU_PID_FILE,
             strerror(error));
    return status_of(error);
}

static wvu_status take_lock(struct wvu_run_dir *run_dir, char *reason, size_t reason_size)
{
    for (;;) {
        int file = openat(run_dir->directory, WVU_PID_FILE,
                          O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
        if (file < 0) {
            int error = errno;
            snprintf(reason, reason_size, "%s/%s cannot be opened: %s", run_dir->path, WVU_PID_FILE,
                     strerror(error));
            return status_of(error);
        }
        if (flock(file, LOCK_EX | LOCK_NB) != 0) {
            int error = errno;
            if (error == EWOULDBLOCK)
                say_who_has_it(run_dir, file, reason, reason_size);
            else
                snprintf(reason, reason_size, "%s/%s cannot be locked: %s", run_dir->path,
                         WVU_PID_FILE, strerror(error));
            close(file);
            return error == EWOULDBLOCK ? WVU_STATUS_BUSY : status_of(error);
        }
        if (is_current(run_dir, file)) {
            run_dir->lock = file;
            return WVU_STATUS_OK;
        }
        close(file);
    }
}

wvu_status wvu_run_dir_open(struct wvu_run_dir *run_dir, const char *path, char *reason,
                            size_t reason_size)
{
    *run_dir = (struct wvu_run_dir){.path = path, .directory = -1, .lock = -1};
    wvu_status status = open_directory(run_dir, reason, reason_size);
    if (status != WVU_STATUS_OK)
        return status;
    status = check_directory(run_dir, reason, reason_size);
    if (status != WVU_STATUS_OK)
        goto close_directory;
    status = take_lock(run_dir, reason, reason_size);
    if (status != WVU_STATUS_OK)
        goto close_directory;
    status = write_pid(run_dir, reason, reason_size);
    if (status != WVU_STATUS_OK)
        goto release_lock;
    return WVU_STATUS_OK;

release_lock:
    unlinkat(run_dir->directory, WVU_PID_FILE, 0);
    close(run_dir->lock);
close_directory:
    close(run_dir->directory);
    return status;
}

void wvu_run_dir_close(struct wvu_run_dir *run_dir)
{
    unlinkat(run_dir->directory, WVU_PID_FILE, 0);
    close(run_dir->lock);
    close(run_dir->directory);
}
