/*
 * Writing out: all or an error. Called by main with the events of one message and with messages to
 * record; one thread.
 */
#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stop.h"

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->capacity - buffer->size >= more)
        return true;
    size_t capacity = buffer->capacity != 0 ? buffer->capacity : 64u << 10;
    while (capacity - buffer->size < more)
        capacity *= 2;
    char *bytes = realloc(buffer->bytes, capacity);
    if (bytes == NULL)
        return false;
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

bool buffer_add(struct buffer *buffer, const char *bytes, size_t size)
{
    if (!buffer_reserve(buffer, size))
        return false;
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
    return true;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){.bytes = NULL};
}

/* For a descriptor that somebody else made non-blocking. */
static void wait_writable(int fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT}, {.fd = stop_fd(), .events = POLLIN}};
    (void)poll(fds, 2, -1);
}

enum write_result write_all(int fd, const char *bytes, size_t size, size_t *written)
{
    *written = 0;
    while (*written < size) {
        ssize_t count = write(fd, bytes + *written, size - *written);
        if (count > 0) {
            *written += (size_t)count;
        } else if (count == 0) {
            errno = ENOSPC;
            return WRITE_FAILED;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (stop_requested())
                return WRITE_STOPPED;
            wait_writable(fd);
        } else if (errno != EINTR) {
            return WRITE_FAILED;
        } else if (stop_requested()) {
            return WRITE_STOPPED;
        }
    }
    return WRITE_DONE;
}

/* True when the file is not empty and its last line has no end. What cannot be read is left alone. */
static bool ends_in_mid_line(int fd, const char *path)
{
    struct stat stat;
    char last = '\n';
    if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_size == 0)
        return false;
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    if (reader < 0)
        return false;
    bool unfinished = pread(reader, &last, 1, stat.st_size - 1) == 1 && last != '\n';
    (void)close(reader);
    return unfinished;
}

int open_output(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd >= 0 && ends_in_mid_line(fd, path)) {
        size_t written;
        if (write_all(fd, "\n", 1, &written) != WRITE_DONE) {
            int error = errno;
            (void)close(fd);
            errno = error;
            return -1;
        }
    }
    return fd;
}
