/*
 * Sockets with a name. Called by port_socket.c and port_command.c, in the main thread; is_entitled by
 * the ports' threads, which is why the group is one atomic word.
 *
 * A socket is bound under another name, given its mode, listened to, and then renamed: whoever finds the
 * port's name can connect to it, and the socket of a dead sensor is replaced in one step.
 */
#define _GNU_SOURCE
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "atomic.h"

#define NO_GROUP UINT64_MAX

/* Whoever holds the run directory may: the sensor that made it is dead. */
static wvu_status remove_stale(const struct wvu_run_dir *run_dir, const char *file, char *reason,
                               size_t reason_size)
{
    struct stat status;
    if (fstatat(run_dir->directory, file, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return WVU_STATUS_OK;
        snprintf(reason, reason_size, "%s/%s cannot be examined: %s", run_dir->path, file,
                 strerror(errno));
        return WVU_STATUS_IO_ERROR;
    }
    if (!S_ISSOCK(status.st_mode)) {
        snprintf(reason, reason_size,
                 "%s/%s is not a socket; remove it, or choose another --run-dir", run_dir->path,
                 file);
        return WVU_STATUS_INVALID_STATE;
    }
    if (unlinkat(run_dir->directory, file, 0) != 0) {
        snprintf(reason, reason_size, "the old socket %s/%s cannot be removed: %s", run_dir->path,
                 file, strerror(errno));
        return WVU_STATUS_ACCESS_DENIED;
    }
    return WVU_STATUS_OK;
}

/* Both names must fit an address: the sensor binds one, clients connect to the other. */
static wvu_status bind_socket(struct wvu_listener *listener, char *reason, size_t reason_size)
{
    const char *path = listener->run_dir->path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t longest = strlen(listener->name);
    if (strlen(listener->file) > longest)
        longest = strlen(listener->file);
    if (strlen(path) + 1 + longest >= sizeof address.sun_path) {
        snprintf(reason, reason_size,
                 "the path of the run directory is too long for a socket: %s; at most %zu bytes",
                 path, sizeof address.sun_path - 2 - longest);
        return WVU_STATUS_INVALID_PARAMETER;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", path, listener->file);
    if (bind(listener->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        snprintf(reason, reason_size, "the socket %s cannot be made: %s", address.sun_path,
                 strerror(errno));
        return WVU_STATUS_IO_ERROR;
    }
    return WVU_STATUS_OK;
}

static wvu_status set_mode(const struct wvu_listener *listener, bool has_group, gid_t group,
                           char *reason, size_t reason_size)
{
    const struct wvu_run_dir *run_dir = listener->run_dir;
    wvu_status status = wvu_run_dir_set_group(run_dir, has_group, group, reason, reason_size);
    if (status != WVU_STATUS_OK)
        return status;
    /* The group first: it must never be another one that the mode lets in. */
    if ((has_group && fchownat(run_dir->directory, listener->file, (uid_t)-1, group,
                               AT_SYMLINK_NOFOLLOW) != 0) ||
        fchmodat(run_dir->directory, listener->file, has_group ? 0660 : 0600, 0) != 0) {
        snprintf(reason, reason_size, "the mode of %s/%s cannot be set: %s", run_dir->path,
                 listener->file, strerror(errno));
        return WVU_STATUS_ACCESS_DENIED;
    }
    return WVU_STATUS_OK;
}

wvu_status wvu_listener_set_group(struct wvu_listener *listener, bool has_group, gid_t group,
                                  char *reason, size_t reason_size)
{
    wvu_status status = set_mode(listener, has_group, group, reason, reason_size);
    if (status == WVU_STATUS_OK)
        wvu_store64_relaxed(&listener->group, has_group ? group : NO_GROUP);
    return status;
}

bool wvu_listener_is_entitled(const struct wvu_listener *listener, int fd,
                              const struct wvu_port_peer *peer)
{
    uint64_t group = wvu_load64_relaxed(&listener->group);
    return wvu_peer_is_entitled(fd, peer, group != NO_GROUP, (gid_t)group);
}

wvu_status wvu_listener_open(struct wvu_listener *listener, const struct wvu_run_dir *run_dir,
                             const char *name, const char *early, bool has_group, gid_t group,
                             char *reason, size_t reason_size)
{
    *listener = (struct wvu_listener){
        .run_dir = run_dir, .name = name, .file = early, .group = has_group ? group : NO_GROUP};
    listener->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        snprintf(reason, reason_size, "the socket of %s/%s cannot be made: %s", run_dir->path, name,
                 strerror(errno));
        return WVU_STATUS_NO_RESOURCES;
    }
    wvu_status status = remove_stale(run_dir, name, reason, reason_size);
    if (status == WVU_STATUS_OK)
        status = remove_stale(run_dir, early, reason, reason_size);
    if (status == WVU_STATUS_OK)
        status = bind_socket(listener, reason, reason_size);
    if (status != WVU_STATUS_OK)
        goto close_socket;
    status = set_mode(listener, has_group, group, reason, reason_size);
    if (status != WVU_STATUS_OK)
        goto remove_name;
    return WVU_STATUS_OK;

remove_name:
    unlinkat(run_dir->directory, listener->file, 0);
close_socket:
    close(listener->fd);
    return status;
}

wvu_status wvu_listener_publish(struct wvu_listener *listener, int backlog, char *reason,
                                size_t reason_size)
{
    const struct wvu_run_dir *run_dir = listener->run_dir;
    if (listen(listener->fd, backlog) != 0 ||
        renameat(run_dir->directory, listener->file, run_dir->directory, listener->name) != 0) {
        snprintf(reason, reason_size, "%s/%s cannot be opened: %s", run_dir->path, listener->name,
                 strerror(errno));
        return WVU_STATUS_IO_ERROR;
    }
    listener->file = listener->name;
    return WVU_STATUS_OK;
}

void wvu_listener_close(struct wvu_listener *listener)
{
    unlinkat(listener->run_dir->directory, listener->file, 0);
    close(listener->fd);
}
