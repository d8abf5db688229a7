/*
 * The packet a reader sends: taken apart, not yet judged. A pure function; any thread.
 */
#ifndef WVU_REPLY_H
#define WVU_REPLY_H

#include <stddef.h>

#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

struct wvu_reply_packet {
    int32_t status;      /* the reader's */
    uint32_t body_size;  /* at most the body_max that was asked for */
    uint64_t message_id; /* of the message it replies to; never 0 */
    const void *body;    /* within the packet; not aligned */
};

/* `length` bytes at `packet`, which may be any. BAD_MESSAGE: shorter than a header, a body of more
 * than body_max bytes, or a message id that was never given. `reply` is then as it was. */
wvu_status wvu_reply_parse(const void *packet, size_t length, size_t body_max,
                           struct wvu_reply_packet *reply);

#endif
