/*
 * Bytes on their way out: a buffer that grows, and writing it completely.
 */
#ifndef NTFLTMGR_OUTPUT_H
#define NTFLTMGR_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *bytes;
    size_t size;
    size_t capacity;
};

/* Makes room for `more` bytes behind those that are there; false: no memory. */
bool buffer_reserve(struct buffer *buffer, size_t more);
bool buffer_add(struct buffer *buffer, const char *bytes, size_t size);
void buffer_free(struct buffer *buffer);

enum write_result {
    WRITE_DONE,
    WRITE_FAILED, /* errno says why */
    WRITE_STOPPED /* a signal asked to end while the other side took nothing */
};

/* Writes everything, in one write(2) if the system takes it. *written is how much went out. */
enum write_result write_all(int fd, const char *bytes, size_t size, size_t *written);

/* A file to append to; a line that an earlier run left unfinished is ended first. -1: errno says why. */
int open_output(const char *path);

#endif
