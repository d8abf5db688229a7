/*
 * A sensor in simulated surroundings: kernel, port, readers, and the truth. See world.c.
 */
#ifndef WVU_SIM_WORLD_H
#define WVU_SIM_WORLD_H

#include "kernel.h"
#include "os_sim.h"
#include "reader.h"
#include "sensor.h"
#include "sim_port.h"
#include "truth.h"

struct world {
    struct wvu_sensor_settings settings;
    struct wvu_sensor *sensor;
    struct kernel kernel;
    struct sim_port port;
    struct reader reader;
    struct truth truth;
    uint64_t started_at;
};

/* A world with default settings, to be changed before world_start: a queue of 64 records, 100 ms send
 * time-out, no drain. Fails the simulation when it cannot. */
void world_init(struct world *world);
wvu_status world_start(struct world *world); /* creates and starts the sensor */
void world_stop(struct world *world); /* checks that it is bounded, and all counters after it */
void world_stop_drained(struct world *world); /* ... and that a reader has got everything */
void world_end(struct world *world);          /* destroys what there is */

void world_check_identity(struct world *world);
/* Waits until the queue is empty and nothing is in flight, at most `ns`; fails when it takes longer. */
void world_wait_empty(struct world *world, uint64_t ns);
uint64_t world_dispatcher_wakes(const struct world *world); /* but for those by replies */
/* No more wakes than promise 5 allows for the time and the connections. */
void world_check_wakes(const struct world *world);

#endif
