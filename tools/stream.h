/*
 * What ntfltmgr knows of the stream: where it is, and what came by. This is the reader's check of the
 * sensor's promise that each number is delivered or covered by an EventsLost.
 */
#ifndef NTFLTMGR_STREAM_H
#define NTFLTMGR_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "winvirtue/winvirtue.h"

#define STREAM_TYPES_MAX 64

struct stream {
    bool known;          /* boot_id and last have values */
    uint8_t boot_id[16]; /* of the sensor's run that is being read */
    uint64_t last;       /* the highest sequence seen in it */
    bool stopped;        /* the record that was last seen is SensorStop */

    uint64_t messages;
    uint64_t events; /* seen for the first time */
    uint64_t duplicates;
    uint64_t lost;    /* sum of what EventsLost said */
    uint64_t missing; /* neither delivered nor covered */
    struct {
        uint16_t type;
        uint64_t count;
    } by_type[STREAM_TYPES_MAX]; /* the last one counts all types that have no place */
    unsigned types;
};

/* Numbers that are missing before a record; first is 0 when there are none. */
struct gap {
    uint64_t first;
    uint64_t last;
};

/* Takes note of a record. False: it was seen before, drop it. */
bool stream_see(struct stream *stream, const wvu_message *message, const struct wvu_record *record,
                struct gap *gap);

#endif
