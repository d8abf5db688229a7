/*
 * Builds messages by hand for tests of what reads them: valid ones, which the tests then spoil.
 */
#ifndef WVU_MESSAGE_BUILDER_H
#define WVU_MESSAGE_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include "winvirtue/winvirtue.h"

struct builder {
    union {
        uint64_t align;
        uint8_t
            bytes[4 * WVU_MESSAGE_MAX]; /* larger than allowed: tests build too large ones, too */
    } u;
    size_t size;   /* of the message so far */
    size_t record; /* where the record that is being built begins; 0: none */
};

/* Message header and batch header: version, sizes, message id 7, boot id 01 02 .. 10. */
void build_begin(struct builder *builder);

/* A record whose texts may follow. Header filled: sensor id a0 a1 .. af, time 2026-11-22T12:00:00.1234567,
 * no process, nothing present. The record before it is complete. */
void *build_record(struct builder *builder, uint16_t type, size_t fixed_size, uint64_t sequence);

/* Appends a text to the record that was begun last. */
void build_text(struct builder *builder, struct wvu_text *text, const void *bytes, size_t size);
/* The same, cut: the first `head` bytes are from the beginning. */
void build_cut_text(struct builder *builder, struct wvu_text *text, const void *bytes, size_t size,
                    size_t head, uint32_t full_size);

/* Completes record and batch. */
void build_end(struct builder *builder);

struct wvu_message_header *built_header(struct builder *builder);
struct wvu_batch *built_batch(struct builder *builder);

/* A batch with one of everything: several events with all their fields, cut texts, losses, an unknown
 * event. Sequences begin at `sequence` and are 10 apart. */
void build_sample(struct builder *builder, uint64_t sequence);

#define BUILT_TIME INT64_C(134398224001234567)

#endif
