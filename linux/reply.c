/*
 * Takes reply packets apart. Called by the dispatcher's thread through port_socket.c, and by a
 * fuzzer.
 *
 * The packet has no alignment and no promise; the body's meaning is the dispatcher's to check.
 */
#include "reply.h"

#include <string.h>

wvu_status wvu_reply_parse(const void *packet, size_t length, size_t body_max,
                           struct wvu_reply_packet *reply)
{
    struct wvu_reply_header header;
    if (length < sizeof header || length - sizeof header > body_max ||
        length - sizeof header > UINT32_MAX)
        return WVU_STATUS_BAD_MESSAGE;
    memcpy(&header, packet, sizeof header);
    if (header.message_id == 0)
        return WVU_STATUS_BAD_MESSAGE;
    reply->status = header.status;
    reply->message_id = header.message_id;
    reply->body = (const unsigned char *)packet + sizeof header;
    reply->body_size = (uint32_t)(length - sizeof header);
    return WVU_STATUS_OK;
}
