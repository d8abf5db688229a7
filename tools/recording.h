/*
 * Recordings: the messages of a sensor as they came, in a file.
 *
 *     offset  size
 *     0       8     "WVUREC\r\n": a transfer that touches line ends or the top bit breaks it visibly
 *     8       4     version of this format, 1
 *     12      4     size of this header: the first message begins there; at least 16, a multiple of 8
 *     then for each message
 *     0       8     size of the message in bytes
 *     8       size  struct wvu_message_header, struct wvu_batch, records
 *
 * All numbers are little-endian. Messages are multiples of 8 bytes, so everything stays aligned. A
 * recording that ends in mid-message was cut off; what comes before is good.
 */
#ifndef NTFLTMGR_RECORDING_H
#define NTFLTMGR_RECORDING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "output.h"
#include "winvirtue/winvirtue.h"

#define RECORDING_MAGIC   "WVUREC\r\n"
#define RECORDING_VERSION 1u

struct recording_header {
    char magic[8];
    uint32_t version;
    uint32_t header_size;
};
_Static_assert(sizeof(struct recording_header) == 16, "layout of recording_header");

/* Begins a recording. -1: errno says why; EEXIST: there is a file that is not empty. */
int recording_create(const char *path);

/* Adds a message that came over the port. */
enum write_result recording_add(int fd, const wvu_message *message);

enum recording_result {
    RECORDING_MESSAGE,
    RECORDING_END,
    RECORDING_STOPPED, /* a signal asked to end */
    RECORDING_FAILED   /* player->reason says why */
};

struct player {
    FILE *file;
    uint64_t offset; /* of the next byte in the recording */
    char reason[128];
    union {
        uint64_t align;
        char bytes[WVU_MESSAGE_MAX];
    } message;
};

/* Looks at the header. RECORDING_MESSAGE: it is a recording. The player's file is the caller's. */
enum recording_result player_begin(struct player *player, FILE *file);

/* The next message, checked; it stays until the next call. */
enum recording_result player_next(struct player *player, wvu_message *message);

#endif
