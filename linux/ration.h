/*
 * Rations log lines about things that others can make happen as often as they like: the first of a
 * kind is told at once, the following as a sum, at most once in WVU_RATION_PERIOD_NS. Everything is
 * counted.
 *
 * Pure; whoever owns a ration serialises its use.
 */
#ifndef WVU_RATION_H
#define WVU_RATION_H

#include <stdbool.h>
#include <stdint.h>

#define WVU_RATION_PERIOD_NS UINT64_C(10000000000)

struct wvu_ration {
    uint64_t total;
    uint64_t untold; /* happened since the last line */
    uint64_t next;   /* uptime at which the next line may come */
};

/* It happened. True: tell it now, with its details. False: wvu_ration_sum will. */
static inline bool wvu_ration_count(struct wvu_ration *ration, uint64_t now)
{
    ration->total++;
    if (ration->untold == 0 && now >= ration->next) {
        ration->next = now + WVU_RATION_PERIOD_NS;
        return true;
    }
    ration->untold++;
    return false;
}

/* When a sum is due; UINT64_MAX when there is nothing to tell. */
static inline uint64_t wvu_ration_due(const struct wvu_ration *ration)
{
    return ration->untold == 0 ? UINT64_MAX : ration->next;
}

/* How often it happened without being told, when that is due; otherwise 0. */
static inline uint64_t wvu_ration_sum(struct wvu_ration *ration, uint64_t now)
{
    if (now < wvu_ration_due(ration))
        return 0;
    uint64_t sum = ration->untold;
    ration->untold = 0;
    ration->next = now + WVU_RATION_PERIOD_NS;
    return sum;
}

#endif
