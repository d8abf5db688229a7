/*
 * The simulated kernel: probes for the sensor, and producers whose events they report. See kernel.c.
 */
#ifndef WVU_SIM_KERNEL_H
#define WVU_SIM_KERNEL_H

#include "probe.h"
#include "truth.h"

#define KERNEL_PRODUCERS_MAX 4u
#define KERNEL_STALL_MAX_NS                                                                        \
    (UINT64_C(50000000)) /* a producer that stops in mid-fill goes on by then */

enum kernel_probe {
    KERNEL_PROBE_A,
    KERNEL_PROBE_B,
    KERNEL_PROBE_CLOCK,
    KERNEL_PROBE_BROKEN,
    KERNEL_PROBES
};

struct kernel;

struct producer {
    struct kernel *kernel;
    uint32_t number;
    uint32_t bursts;
    uint64_t serial;
    uint8_t *texts[2]; /* TEXT_MAX bytes each */
    wvu_thread thread;
};

struct kernel {
    struct truth *truth;
    struct wvu_sensor *sensor;                   /* for should_hold */
    struct wvu_probe *registered[KERNEL_PROBES]; /* NULL: its callbacks are not registered */
    uint32_t inside[KERNEL_PROBES];              /* callbacks that are running */
    uint32_t stalled;                            /* of these, how many do not get on just now */
    uint32_t producers;
    struct producer producer[KERNEL_PRODUCERS_MAX];
    bool must_end;
    bool quiet;          /* no losses before the queue, no holding */
    uint32_t stall_odds; /* one in so many events stops in mid-fill; 0: none */
    uint32_t largest_text;
    uint64_t gap_ns;          /* between bursts, at most */
    uint32_t burst;           /* events, at most */
    uint32_t guaranteed_odds; /* one in so many events is of a guaranteed kind */
    uint64_t refused;         /* events while no probe wanted them */
    uint64_t events;
    uint64_t bytes;      /* of the records reserved */
    uint64_t runs;       /* of the clock probe */
    uint64_t configured; /* times that a running probe was told of new settings */
};

/* The setting that probe B and the clock have; the values are within 1 to 30. */
#define KERNEL_SETTING_PACE 0u

extern const struct wvu_probe_definition
    *const kernel_probes[]; /* for wvu_sensor_settings.probes */

/* One event from a kernel callback of that probe, reported as a probe would. */
void kernel_event(struct kernel *kernel, enum kernel_probe probe, struct producer *producer,
                  enum event_shape shape, uint32_t text_size, bool wake);

wvu_status kernel_prepare(struct kernel *kernel, struct truth *truth); /* allocates */
void kernel_destroy(struct kernel *kernel);
wvu_status kernel_start(struct kernel *kernel, uint32_t producers, uint32_t bursts);
void kernel_join(struct kernel *kernel); /* until the producers have done all they had to */
void kernel_wait_callbacks(
    struct kernel *kernel); /* what the system does before it unloads a driver */

#endif
