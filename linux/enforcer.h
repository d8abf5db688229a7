/*
 * Carries out deny rules on the processes that the tracker announces. See enforcer.c.
 */
#ifndef WVU_ENFORCER_H
#define WVU_ENFORCER_H

#include "denials.h"
#include "programs.h"
#include "sensor.h"
#include "tracker.h"

struct wvu_enforcer {
    struct wvu_sensor *sensor;
    struct wvu_probe *probe; /* whose events it makes */
    struct wvu_programs *programs;
    struct wvu_denials *denials; /* NULL: no rule is for the kernel's side */
    const struct wvu_sample_exec
        *exec; /* that the tracker is being told of; NULL: something else */
    bool told; /* what became of it */
    uint64_t prevented;
    uint64_t ended;
};

/* The source's thread, inside the probe's run-down. A process was announced: acts as its verdict says. Does not
 * wake. */
void wvu_enforcer_created(struct wvu_enforcer *enforcer, const struct wvu_created *event);

/* Around telling the tracker of an exec. The end returns true when it reported something itself: the tracker can
 * have reason not to announce a program that was prevented. `data` are the sample's texts; `wanted`: the probe
 * takes events. */
void wvu_enforcer_exec_begins(struct wvu_enforcer *enforcer, const struct wvu_sample_exec *exec);
bool wvu_enforcer_exec_ends(struct wvu_enforcer *enforcer, const void *data, bool wanted);

#endif
