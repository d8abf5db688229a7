/*
 * Any bytes as a packet from a reader. The first byte says how large a body may be.
 */
#include <stdlib.h>
#include <string.h>

#include "reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wvu_reply_packet reply = {0};
    if (size < 1)
        return 0;
    size_t body_max = data[0];
    const uint8_t *packet = data + 1;
    size_t length = size - 1;
    if (wvu_reply_parse(packet, length, body_max, &reply) != WVU_STATUS_OK) {
        require(reply.body == NULL);
        return 0;
    }
    require(reply.message_id != 0);
    require(reply.body_size <= body_max);
    require((const uint8_t *)reply.body == packet + sizeof(struct wvu_reply_header));
    require(sizeof(struct wvu_reply_header) + reply.body_size == length);
    unsigned sum = 0;
    for (uint32_t i = 0; i < reply.body_size; i++) /* every byte of the body can be read */
        sum += ((const volatile uint8_t *)reply.body)[i];
    require(sum <= reply.body_size * 255u);
    return 0;
}
