/*
 * Rations wake-ups: at once when things are quiet, with a bounded delay when they are busy.
 *
 * Waking a sleeping thread on another CPU costs more than everything else that is done for an
 * event, so it should be spent once for many records. A token bucket decides: every wake takes a
 * token, tokens come back at a fixed rate up to a small reserve. Far-apart events always find one
 * and are handled at once; a steady stream uses the reserve up and is handled at the refill rate,
 * in larger batches. Nothing happens when nothing happened: the moderator only ever delays, it
 * never wakes.
 *
 * One thread uses a moderator; no locks.
 */
#ifndef WVU_MODERATOR_H
#define WVU_MODERATOR_H

#include <stdint.h>

#define WVU_MODERATOR_PERIOD_NS 5000000u /* one token each 5 ms: the longest delay it asks for */
#define WVU_MODERATOR_RESERVE   32u      /* tokens that can be saved up */

struct wvu_moderator {
    uint64_t full_at; /* uptime (ns) at which the bucket is full again */
};

void wvu_moderator_init(struct wvu_moderator *moderator);

/* How long (ns) the caller must wait before it may handle events; 0: now, and a token is taken. The
 * caller that waited asks again. `now` is wvu_os_uptime() and never goes back. */
uint64_t wvu_moderator_delay(struct wvu_moderator *moderator, uint64_t now);

#endif
