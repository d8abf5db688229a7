/*
 * The listeners of port_socket.c and port_command.c: what their main-thread calls and their threads have in
 * common. A port's thread is its body; it sleeps in wvu_listener_wait, and accepts here.
 *
 * A socket is bound under another name, given its mode, listened to, and then renamed: whoever finds the
 * port's name can connect to it, and the socket of a dead sensor is replaced in one step.
 *
 * Shared between threads: group, refusing and stopping, each one atomic word; and the troubles, under
 * `lock`. It is a leaf: nothing is called with it held but the clock.
 */
#define _GNU_SOURCE
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "log.h"

#define NS_PER_SECOND   UINT64_C(1000000000)
#define ACCEPT_PAUSE_NS NS_PER_SECOND /* after the system had no descriptor or memory for us */
#define NO_GROUP        UINT64_MAX

/* ---- the socket and its name: main thread --------------------------------------------------- */

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
    size_t longest = strlen(listener->kind->name);
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

static wvu_status open_socket(struct wvu_listener *listener, bool has_group, gid_t group,
                              char *reason, size_t reason_size)
{
    const struct wvu_run_dir *run_dir = listener->run_dir;
    const struct wvu_listener_kind *kind = listener->kind;
    listener->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        snprintf(reason, reason_size, "the socket of %s/%s cannot be made: %s", run_dir->path,
                 kind->name, strerror(errno));
        return WVU_STATUS_NO_RESOURCES;
    }
    wvu_status status = remove_stale(run_dir, kind->name, reason, reason_size);
    if (status == WVU_STATUS_OK)
        status = remove_stale(run_dir, kind->early, reason, reason_size);
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

static wvu_status publish(struct wvu_listener *listener, char *reason, size_t reason_size)
{
    const struct wvu_run_dir *run_dir = listener->run_dir;
    const char *name = listener->kind->name;
    if (listen(listener->fd, listener->kind->backlog) != 0 ||
        renameat(run_dir->directory, listener->file, run_dir->directory, name) != 0) {
        snprintf(reason, reason_size, "%s/%s cannot be opened: %s", run_dir->path, name,
                 strerror(errno));
        return WVU_STATUS_IO_ERROR;
    }
    listener->file = name;
    return WVU_STATUS_OK;
}

/* ---- troubles -------------------------------------------------------------------------------- */

static void kick(struct wvu_listener *listener)
{
    /* Fails only when the counter is full, and then it is readable already. */
    (void)!write(listener->kick, &(uint64_t){1}, sizeof(uint64_t));
}

bool wvu_listener_trouble(struct wvu_listener *listener, int kind)
{
    struct wvu_ration *ration = &listener->troubles[kind];
    wvu_lock_acquire(&listener->lock);
    bool tell = wvu_ration_count(ration, wvu_os_uptime());
    bool new_sum = ration->untold == 1;
    wvu_lock_release(&listener->lock);
    if (new_sum)
        kick(listener); /* the port's thread must learn when to tell it */
    return tell;
}

/* Tells the sums that are due at `now`; returns when the next one is. */
static uint64_t tell_sums(struct wvu_listener *listener, uint64_t now)
{
    uint64_t next = WVU_TIMEOUT_NONE;
    for (int kind = 0; kind < WVU_TROUBLES_MAX; kind++) {
        wvu_lock_acquire(&listener->lock);
        uint64_t sum = wvu_ration_sum(&listener->troubles[kind], now);
        uint64_t due = wvu_ration_due(&listener->troubles[kind]);
        wvu_lock_release(&listener->lock);
        next = due < next ? due : next;
        if (sum > 0)
            wvu_log_warning(WVU_LOG_COMMS, "%llu more %s", (unsigned long long)sum,
                            listener->kind->troubles[kind]);
    }
    return next;
}

void wvu_listener_read_troubles(struct wvu_listener *listener, uint64_t totals[WVU_TROUBLES_MAX])
{
    wvu_lock_acquire(&listener->lock);
    for (int kind = 0; kind < WVU_TROUBLES_MAX; kind++)
        totals[kind] = listener->troubles[kind].total;
    wvu_lock_release(&listener->lock);
}

/* ---- who may come in: port's thread ---------------------------------------------------------- */

static void refuse(struct wvu_listener *listener, int fd, const struct wvu_port_peer *peer,
                   int trouble, wvu_status status, const char *why)
{
    if (wvu_listener_trouble(listener, trouble)) {
        char name[WVU_PEER_NAME_MAX];
        wvu_peer_name(peer->pid, name);
        wvu_log_warning(WVU_LOG_COMMS, "%s process %d (%s, user %u) was refused: %s",
                        listener->kind->refused, (int)peer->pid, name, (unsigned)peer->uid, why);
    }
    (void)wvu_peer_welcome(fd, status, listener->kind->packet_max); /* it may have left already */
    close(fd);
}

void wvu_listener_turn_away(struct wvu_listener *listener, int fd, const struct wvu_port_peer *peer,
                            const char *why)
{
    refuse(listener, fd, peer, WVU_TROUBLE_FULL, WVU_STATUS_CONNECTION_LIMIT, why);
}

bool wvu_listener_welcome(struct wvu_listener *listener, int fd, const struct wvu_port_peer *peer)
{
    uint32_t packet_max = listener->kind->packet_max;
    if (wvu_peer_make_room(fd, packet_max) && wvu_peer_welcome(fd, WVU_STATUS_OK, packet_max))
        return true;
    if (wvu_listener_trouble(listener, WVU_TROUBLE_FAILED))
        wvu_log_warning(WVU_LOG_COMMS, "process %d connected%s and could not be welcomed",
                        (int)peer->pid, listener->kind->to);
    return false;
}

static int accept_one(struct wvu_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    int error = errno;
    if (fd >= 0 || error == EAGAIN || error == EINTR || error == ECONNABORTED)
        return fd;
    /* It stays in the backlog: look again later, not all the time. */
    listener->listen_after = wvu_os_uptime() + ACCEPT_PAUSE_NS;
    if (wvu_listener_trouble(listener, WVU_TROUBLE_FAILED))
        wvu_log_error(WVU_LOG_COMMS, "a %s cannot be accepted: %s; trying again each second",
                      listener->kind->client, strerror(error));
    return -1;
}

int wvu_listener_accept(struct wvu_listener *listener, struct wvu_port_peer *peer)
{
    uint64_t group = wvu_load64_relaxed(&listener->group);
    int fd = accept_one(listener);
    if (fd < 0)
        return -1;
    if (!wvu_peer_read(fd, peer)) {
        if (wvu_listener_trouble(listener, WVU_TROUBLE_FAILED))
            wvu_log_warning(WVU_LOG_COMMS, "a connection%s has no peer: %s", listener->kind->to,
                            strerror(errno));
        close(fd);
    } else if (!wvu_peer_is_entitled(fd, peer, group != NO_GROUP, (gid_t)group)) {
        refuse(listener, fd, peer, WVU_TROUBLE_UNENTITLED, WVU_STATUS_ACCESS_DENIED,
               "it is neither root's nor this user's nor one of the configured group");
    } else if (wvu_load_acquire(&listener->refusing) != 0) {
        refuse(listener, fd, peer, WVU_TROUBLE_STOPPING, WVU_STATUS_STOPPING,
               "the sensor is stopping");
    } else {
        return fd;
    }
    return -1;
}

/* ---- sleeping: port's thread ----------------------------------------------------------------- */

int wvu_poll_until(struct pollfd *fds, nfds_t count, uint64_t wake_at)
{
    uint64_t now = wvu_os_uptime();
    uint64_t left = wake_at > now ? wake_at - now : 0;
    const struct timespec time = {(time_t)(left / NS_PER_SECOND), (long)(left % NS_PER_SECOND)};
    return ppoll(fds, count, wake_at == WVU_TIMEOUT_NONE ? NULL : &time, NULL);
}

bool wvu_listener_wait(struct wvu_listener *listener, struct pollfd *fds, nfds_t count)
{
    uint64_t now = wvu_os_uptime();
    uint64_t wake_at = tell_sums(listener, now);
    bool listening = now >= listener->listen_after;
    if (!listening && listener->listen_after < wake_at)
        wake_at = listener->listen_after;
    fds[0] = (struct pollfd){.fd = listener->kick, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = listening ? listener->fd : -1, .events = POLLIN};
    if (wvu_poll_until(fds, count, wake_at) <= 0)
        for (nfds_t i = 0; i < count; i++)
            fds[i].revents = 0;
    uint64_t kicks;
    if (fds[0].revents != 0)
        (void)!read(listener->kick, &kicks, sizeof kicks);
    return fds[1].revents != 0;
}

bool wvu_listener_is_stopping(const struct wvu_listener *listener)
{
    return wvu_load_acquire(&listener->stopping) != 0;
}

/* ---- life: main thread ----------------------------------------------------------------------- */

wvu_status wvu_listener_open(struct wvu_listener *listener, const struct wvu_listener_kind *kind,
                             const struct wvu_run_dir *run_dir, bool has_group, gid_t group,
                             char *reason, size_t reason_size)
{
    *listener = (struct wvu_listener){.kind = kind,
                                      .run_dir = run_dir,
                                      .file = kind->early,
                                      .group = has_group ? group : NO_GROUP};
    wvu_lock_init(&listener->lock);
    listener->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener->kick < 0) {
        snprintf(reason, reason_size, "the %s cannot be made: %s", kind->events, strerror(errno));
        return WVU_STATUS_NO_RESOURCES;
    }
    wvu_status status = open_socket(listener, has_group, group, reason, reason_size);
    if (status != WVU_STATUS_OK)
        close(listener->kick);
    return status;
}

wvu_status wvu_listener_start(struct wvu_listener *listener, void (*body)(void *), void *context,
                              char *reason, size_t reason_size)
{
    wvu_status status = publish(listener, reason, reason_size);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_thread_start(&listener->thread, listener->kind->thread, body, context);
    if (status != WVU_STATUS_OK)
        snprintf(reason, reason_size, "the %s's thread cannot be started: %s", listener->kind->port,
                 wvu_strerror(status));
    listener->started = status == WVU_STATUS_OK;
    return status;
}

void wvu_listener_refuse(struct wvu_listener *listener)
{
    wvu_store_release(&listener->refusing, 1);
}

void wvu_listener_stop(struct wvu_listener *listener)
{
    if (!listener->started)
        return;
    wvu_store_release(&listener->stopping, 1);
    kick(listener);
    wvu_thread_join(&listener->thread);
    listener->started = false;
    tell_sums(listener, UINT64_MAX - 1); /* everything that was not told yet */
}

void wvu_listener_close(struct wvu_listener *listener)
{
    unlinkat(listener->run_dir->directory, listener->file, 0);
    close(listener->fd);
    close(listener->kick);
}
