/*
 * Ending a process by its key. See mitigation.c.
 */
#ifndef WVU_MITIGATION_H
#define WVU_MITIGATION_H

#include "programs.h"
#include "sensor.h"

struct wvu_ending {
    uint32_t pid;
    uint64_t key;
    bool is_protected; /* by a rule */

    /* what came of it */
    uint32_t outcome; /* enum wvu_mitigation_outcome: ENDED, REFUSED or FAILED */
    wvu_status status;
    char reason[256]; /* "" when it was ended */
};

/* PASSIVE, any thread. Ends the process with this pid and this key, and no other one. */
void wvu_mitigation_end(struct wvu_sensor *sensor, struct wvu_programs *programs,
                        struct wvu_ending *ending);

#endif
