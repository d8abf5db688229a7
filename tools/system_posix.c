/*
 * What ntfltmgr and wvuctl ask of Linux. Called by main and by what reads and writes; one thread.
 */
#define _GNU_SOURCE
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stop.h"

/* A descriptor 0, 1 or 2 that is closed would be given to the next file that is opened, and events or
 * messages would go there. */
bool system_begin(int *argc, char ***argv, bool *output_closed)
{
    (void)argc;
    (void)argv;
    *output_closed = fcntl(STDOUT_FILENO, F_GETFD) < 0;
    for (;;) {
        int fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            return false;
        if (fd > STDERR_FILENO)
            return close(fd) == 0;
    }
}

enum system_wait system_wait(wvu_client *client, int output, int timeout_ms)
{
    struct pollfd fds[3] = {
        {.fd = stop_fd(), .events = POLLIN},
        {.fd = output, .events = 0},
        {.fd = client != NULL ? wvu_fd(client) : -1, .events = POLLIN},
    };
    if (poll(fds, 3, timeout_ms) < 0 && errno != EINTR)
        return SYSTEM_FAILED;
    return (fds[1].revents & (POLLERR | POLLHUP)) != 0 ? SYSTEM_OUTPUT_GONE : SYSTEM_READY;
}

/* For a descriptor that somebody else made non-blocking. */
void system_wait_writable(int fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT}, {.fd = stop_fd(), .events = POLLIN}};
    (void)poll(fds, 2, -1);
}

int64_t system_write(int fd, const char *bytes, size_t size)
{
    return write(fd, bytes, size);
}

int system_open(const char *path, bool append)
{
    return open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (append ? O_APPEND : 0), 0600);
}

int system_close(int fd)
{
    return close(fd);
}

int64_t system_file_size(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        return -1;
    return S_ISREG(stat.st_mode) ? stat.st_size : 0;
}

FILE *system_open_stream(const char *path)
{
    return fopen(path, "rbe");
}

bool system_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

int64_t system_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *system_port_name(const char *run_dir, const char *port, char *buffer, size_t size)
{
    (void)snprintf(buffer, size, "%s/%s", run_dir != NULL ? run_dir : "/run/winvirtue", port);
    return buffer;
}

const char *system_connect_advice(int status)
{
    switch (status) {
    case WVU_STATUS_NAME_NOT_FOUND:
        return "no sensor runs there (is wvud started, and with this run directory?)";
    case WVU_STATUS_ACCESS_DENIED:
        return "access is denied (be root, or in the group that the sensor's configuration names)";
    case WVU_STATUS_INVALID_PARAMETER:
        return "the path is empty or too long for a socket (at most 107 characters with the "
               "socket's name)";
    default:
        return NULL;
    }
}
