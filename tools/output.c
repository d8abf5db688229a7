/*
 * Writing out: all or an error. Called by main with the events of one message and with messages to
 * record; one thread.
 */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"
#include "system.h"

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->bytes != NULL && buffer->capacity - buffer->size >= more)
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

enum write_result write_all(int fd, const char *bytes, size_t size, size_t *written)
{
    *written = 0;
    while (*written < size) {
        int64_t count = system_write(fd, bytes + *written, size - *written);
        if (count > 0) {
            *written += (size_t)count;
        } else if (count == 0) {
            errno = ENOSPC;
            return WRITE_FAILED;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (stop_requested())
                return WRITE_STOPPED;
            system_wait_writable(fd);
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
    if (system_file_size(fd) <= 0)
        return false;
    FILE *file = system_open_stream(path);
    if (file == NULL)
        return false;
    bool unfinished = fseek(file, -1, SEEK_END) == 0 && fgetc(file) != '\n' && !ferror(file);
    (void)fclose(file);
    return unfinished;
}

int open_output(const char *path)
{
    int fd = system_open(path, true);
    if (fd >= 0 && ends_in_mid_line(fd, path)) {
        size_t written;
        if (write_all(fd, "\n", 1, &written) != WRITE_DONE) {
            int error = errno;
            (void)system_close(fd);
            errno = error;
            return -1;
        }
    }
    return fd;
}
