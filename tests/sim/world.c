/*
 * Puts a sensor into simulated surroundings and takes it out again. Used by the seeds (sim.c) and by the
 * named tests (test_promises.c); runs in the controlling coroutine.
 */
#include "world.h"

#include <string.h>

#include "moderator.h"

#define ULL(value) ((unsigned long long)(value))

static const uint8_t host_id[16] = "simulated host.";

void world_init(struct world *world)
{
    memset(world, 0, sizeof(*world));
    truth_init(&world->truth);
    wvu_sim_check(sim_port_init(&world->port, &world->truth) == WVU_STATUS_OK, "no port");
    wvu_sim_check(kernel_prepare(&world->kernel, &world->truth) == WVU_STATUS_OK, "no kernel");
    world->settings = (struct wvu_sensor_settings){
        .host_kind = WVU_HOST_SIMULATED,
        .host_id = host_id,
        .host_name = "simulated",
        .system_version = "0",
        .configuration = "seed=0\n",
        .queue_records = 64,
        .queue_bytes = WVU_QUEUE_BYTES_MIN,
        .send_timeout_ms = 100,
        .port = &world->port.port,
        .host = &world->kernel,
        .probes = kernel_probes,
    };
}

wvu_status world_start(struct world *world)
{
    wvu_status status = wvu_sensor_create(&world->settings, &world->sensor);

    if (status != WVU_STATUS_OK) {
        wvu_sim_check(world->sensor == NULL, "a sensor that could not be created");
        return status;
    }
    world->port.dispatcher = wvu_sensor_dispatcher(world->sensor);
    world->kernel.sensor = world->sensor;
    world->truth.boot_id = wvu_sensor_boot_id(world->sensor);
    world->truth.queue = wvu_sensor_queue(world->sensor);
    world->truth.queue_records = world->settings.queue_records;
    world->truth.queue_bytes = world->settings.queue_bytes;
    world->started_at = wvu_os_uptime();
    return wvu_sensor_start(world->sensor);
}

void world_check_identity(struct world *world)
{
    struct wvu_queue_counters counters;

    wvu_queue_read_counters(wvu_sensor_queue(world->sensor), &counters);
    truth_identity(&counters);
}

/* Promise 7: the drain, the pause of a reader that does not get on, a time-out of nothing, and each
 * producer that had stopped in mid-fill may be waited for; nothing else. */
static void stop_in_time(struct world *world)
{
    uint64_t before = wvu_os_uptime();
    uint64_t bound = world->settings.drain_ms * WVU_SIM_MS + 300 * WVU_SIM_MS +
                     2 * KERNEL_PRODUCERS_MAX * KERNEL_STALL_MAX_NS;
    uint64_t took;

    wvu_sim_trace("stop");
    wvu_sensor_stop(world->sensor, "the test ends");
    took = wvu_os_uptime() - before;
    wvu_sim_trace("stopped after %llu ns", ULL(took));
    wvu_sim_check(took <= bound, "stop took %llu ns, more than %llu", ULL(took), ULL(bound));
}

static void check_end(struct world *world, bool drained)
{
    struct wvu_queue_counters counters;

    wvu_queue_read_counters(wvu_sensor_queue(world->sensor), &counters);
    truth_end(&world->truth, &counters, drained);
}

void world_stop(struct world *world)
{
    stop_in_time(world);
    check_end(world, false);
}

void world_stop_drained(struct world *world)
{
    stop_in_time(world);
    check_end(world, true);
    wvu_sim_check(world->truth.stop_sequence == world->truth.cursor,
                  "SensorStop is not the last record that the reader got");
}

void world_end(struct world *world)
{
    if (world->sensor != NULL)
        kernel_wait_callbacks(&world->kernel);
    wvu_sensor_destroy(world->sensor);
    kernel_destroy(&world->kernel);
    sim_port_destroy(&world->port);
    truth_destroy(&world->truth);
}

void world_wait_empty(struct world *world, uint64_t ns)
{
    uint64_t end = wvu_os_uptime() + ns;
    struct wvu_queue_counters counters;

    for (;;) {
        wvu_queue_read_counters(wvu_sensor_queue(world->sensor), &counters);
        truth_identity(&counters);
        if (counters.queued == 0 && counters.in_flight == 0 &&
            world->truth.cursor == counters.accepted)
            return;
        wvu_sim_check(wvu_os_uptime() < end,
                      "a reader that behaves does not get the rest: %llu queued, %llu in flight, "
                      "%llu of %llu acknowledged",
                      ULL(counters.queued), ULL(counters.in_flight), ULL(world->truth.cursor),
                      ULL(counters.accepted));
        wvu_sim_sleep(10 * WVU_SIM_MS);
    }
}

uint64_t world_dispatcher_wakes(const struct world *world)
{
    return wvu_sim_wakes("wvu-dispatcher") - wvu_sim_event_wakes(&world->port.replied);
}

void world_check_wakes(const struct world *world)
{
    uint64_t tokens =
        WVU_MODERATOR_RESERVE + (wvu_os_uptime() - world->started_at) / WVU_MODERATOR_PERIOD_NS + 1;
    uint64_t half_full = 2 * world->truth.accepted / world->settings.queue_records +
                         2 * world->kernel.bytes / world->settings.queue_bytes + 1;
    /* A token is worth two wakes: the doorbell and the end of a moderated wait; so is half a queue of
     * events, which ends that wait early. Connections begin and end with one, and a reader that does
     * not get on is asked again after a pause. */
    uint64_t bound =
        2 * (tokens + half_full) + 4 * (world->port.connects + 1) + world->truth.fruitless;
    uint64_t wakes = world_dispatcher_wakes(world);

    wvu_sim_check(wakes <= bound, "the dispatcher was woken %llu times, more than %llu", ULL(wakes),
                  ULL(bound));
}
