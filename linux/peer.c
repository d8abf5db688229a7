/*
 * Peers of connections: what the kernel says about them. Called by the threads of both ports, and by the
 * main thread about senders of signals. No state.
 *
 * What is read from /proc belongs to whoever has the pid at that moment; callers that must be sure hold
 * a pidfd and look afterwards whether the process still lived.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "winvirtue/protocol.h"

#define SUPPLEMENTARY_FIRST 64 /* groups that fit without an allocation */

bool wvu_peer_read(int fd, struct wvu_port_peer *peer)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return false;
    *peer = (struct wvu_port_peer){credentials.pid, credentials.uid, credentials.gid};
    return true;
}

/* ---- groups -------------------------------------------------------------------------------- */

static bool contains(const gid_t *groups, size_t count, gid_t group)
{
    for (size_t i = 0; i < count; i++)
        if (groups[i] == group)
            return true;
    return false;
}

static bool has_supplementary(int fd, gid_t group)
{
    gid_t few[SUPPLEMENTARY_FIRST];
    socklen_t size = sizeof few;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &size) == 0)
        return contains(few, size / sizeof *few, group);
    if (errno != ERANGE)
        return false;
    gid_t *many = malloc(size); /* the kernel has told how many there are */
    bool member = many != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, many, &size) == 0 &&
                  contains(many, size / sizeof *many, group);
    free(many);
    return member;
}

bool wvu_peer_is_entitled(int fd, const struct wvu_port_peer *peer, bool has_group, gid_t group)
{
    return peer->uid == 0 || peer->uid == geteuid() ||
           (has_group && (peer->gid == group || has_supplementary(fd, group)));
}

/* ---- packets ------------------------------------------------------------------------------- */

/* The kernel counts what was sent and is not yet received against the sender's buffer; a receive buffer
 * has no meaning here (unix(7)). */
bool wvu_peer_make_room(int fd, uint32_t packet)
{
    int wanted = 2 * (int)packet;
    int have = 0;
    socklen_t size = sizeof have;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &have, &size) == 0 && have >= wanted)
        return true;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted);
    const int least = (int)packet + 4096;
    size = sizeof have;
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &have, &size) == 0 && have >= least)
        return true;
    wvu_log_error(
        WVU_LOG_COMMS,
        "a socket buffer of %d bytes cannot hold a message of %u; raise net.core.wmem_max", have,
        packet);
    return false;
}

bool wvu_peer_welcome(int fd, wvu_status status, uint32_t message_max)
{
    const struct wvu_welcome welcome = {
        .version = WVU_PROTOCOL_VERSION,
        .size = sizeof welcome,
        .status = status,
        .message_max = message_max,
    };
    ssize_t sent;
    do {
        sent = send(fd, &welcome, sizeof welcome, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof welcome;
}

/* ---- names --------------------------------------------------------------------------------- */

void wvu_peer_name(pid_t pid, char name[WVU_PEER_NAME_MAX])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file >= 0 ? read(file, name, WVU_PEER_NAME_MAX - 1) : -1;
    if (file >= 0)
        close(file);
    if (length <= 0)
        length = snprintf(name, WVU_PEER_NAME_MAX, "unknown");
    else if (name[length - 1] == '\n')
        length--;
    name[length] = '\0';
    /* A process chooses its name: it must not write lines of its own into the log. */
    for (char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            *c = '?';
}

static bool continues_utf8(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

void wvu_peer_image(pid_t pid, char *image, size_t size)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    ssize_t got = pid > 0 ? readlink(link, path, sizeof path) : -1;
    size_t length = got > 0 ? (size_t)got : 0;
    const char *from = path;
    if (length >= size) { /* the end of a path says more than its beginning */
        from = path + length - (size - 1);
        while (from < path + length && continues_utf8(*from))
            from++;
        length -= (size_t)(from - path);
    }
    memcpy(image, from, length);
    image[length] = '\0';
}
