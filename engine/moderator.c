/*
 * The token bucket, kept as one number: the time at which it would be full. Taking a token moves
 * that time one period into the future; the bucket is empty when it lies more than a whole reserve
 * ahead.
 */
#include "moderator.h"

void wvu_moderator_init(struct wvu_moderator *moderator)
{
    moderator->full_at = 0;
}

uint64_t wvu_moderator_delay(struct wvu_moderator *moderator, uint64_t now)
{
    const uint64_t span = (uint64_t)WVU_MODERATOR_RESERVE * WVU_MODERATOR_PERIOD_NS;
    uint64_t full_at = moderator->full_at > now ? moderator->full_at : now;
    uint64_t after = full_at + WVU_MODERATOR_PERIOD_NS;
    if (after - now > span)
        return after - now - span;
    moderator->full_at = after;
    return 0;
}
