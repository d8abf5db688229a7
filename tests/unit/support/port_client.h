/*
 * The other side of the Linux ports, for their tests: connecting, packets, programs of another user.
 * Only system calls, for they also run in children of programs with threads.
 */
#ifndef WVU_UNIT_PORT_CLIENT_H
#define WVU_UNIT_PORT_CLIENT_H

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

#define PATIENCE_MS 30000 /* until something that should come counts as missing */

static inline int connect_to_file(const char *run_dir, const char *file)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", run_dir, file);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* One packet; -1 when none came in time or at the end of the connection. */
static inline ssize_t take(int fd, void *buffer, size_t size)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, PATIENCE_MS) <= 0)
        return -1;
    ssize_t got = recv(fd, buffer, size, 0);
    return got > 0 ? got : -1;
}

static inline bool put_packet(int fd, const void *packet, size_t size)
{
    return send(fd, packet, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static inline wvu_status take_welcome_of(int fd, uint32_t message_max)
{
    struct wvu_welcome welcome;
    if (take(fd, &welcome, sizeof welcome) != (ssize_t)sizeof welcome ||
        welcome.version != WVU_PROTOCOL_VERSION || welcome.size != sizeof welcome ||
        welcome.message_max != message_max || welcome.reserved != 0)
        return WVU_STATUS_BAD_MESSAGE;
    return welcome.status;
}

enum { LET_IN, DENIED_BY_SENSOR, DENIED_BY_MODE, FAILED };

/* What a program of user 65534 with these groups comes to; -1: it was killed. */
static inline int try_port_as_nobody(const char *run_dir, const char *file, uint32_t message_max,
                                     gid_t group, const gid_t *groups, size_t count)
{
    pid_t child = fork();
    if (child == 0) {
        if (setgroups(count, groups) != 0 || setgid(group) != 0 || setuid(65534) != 0)
            _exit(FAILED);
        int fd = connect_to_file(run_dir, file);
        if (fd < 0)
            _exit(errno == EACCES ? DENIED_BY_MODE : FAILED);
        wvu_status status = take_welcome_of(fd, message_max);
        _exit(status == WVU_STATUS_OK              ? LET_IN
              : status == WVU_STATUS_ACCESS_DENIED ? DENIED_BY_SENSOR
                                                   : FAILED);
    }
    int status;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
