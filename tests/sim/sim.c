/*
 * sim: the whole engine in simulated surroundings, one run for each seed.
 *
 *     sim [--seeds FROM-TO] [--seed N] [--verbose]
 *
 * A seed draws everything: bounds, producers and their bursts, readers and their lives, the moments
 * of control requests, a service that fails, when and how the sensor is stopped, and every switch
 * between threads. truth.c and os_sim.c say what must hold. A failing seed prints its failure and the
 * command that replays it, and ends the program.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define SEEDS_DEFAULT 2000u

struct totals {
    uint64_t points;
    uint64_t events;
    uint64_t lost;
    uint64_t unnumbered;
    uint64_t messages;
    uint64_t redelivered;
    uint64_t connects;
    uint64_t timeouts;
    uint64_t bad_replies;
    uint64_t cut;
    uint64_t failed_starts;
    uint64_t drained;
    uint64_t kept;
    uint64_t configured;
    uint64_t habits[HABITS];
};

static struct totals totals;

static uint64_t one_of(const uint64_t *values, size_t count)
{
    return values[wvu_sim_random(count)];
}
#define ONE_OF(...)                                                                                \
    one_of((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

static void draw_world(struct world *world)
{
    world_init(world);
    world->settings.queue_records = (uint32_t)ONE_OF(16, 17, 24, 64, 300, 8192);
    world->settings.queue_bytes = (uint32_t)(WVU_QUEUE_BYTES_MIN + wvu_sim_random(100));
    world->settings.send_timeout_ms = (uint32_t)ONE_OF(10, 20, 100, 1000);
    world->settings.drain_ms = (uint32_t)ONE_OF(0, 1, 50, 500);
    world->port.flood = wvu_sim_odds(8);
    world->port.late_close = wvu_sim_odds(2);
    world->kernel.stall_odds = (uint32_t)ONE_OF(0, 3, 30, 300);
    world->kernel.largest_text = (uint32_t)ONE_OF(0, 200, 5000, 70000);
    world->kernel.burst = (uint32_t)ONE_OF(1, 4, 30);
    world->kernel.gap_ns = ONE_OF(0, 10, 2000) * 10000;
    world->kernel.guaranteed_odds = (uint32_t)ONE_OF(1, 2, 10, 50);
}

/* ---- control requests while events flow ---------------------------------------------------------------- */

/* A text is taken as a whole, and is in force when configure returns; or it changes nothing. */
static void configure(struct wvu_probe *probe)
{
    static const struct {
        const char *text;
        uint32_t pace; /* 0: not taken */
    } texts[] = {
        {"pace=3", 3},
        {"pace=30 repeat-interval=1", 30},
        {"repeat-interval=2\npace=1\n", 1},
        {"!", 0},
        {"pace=31", 0},
        {"pace=7 repeat-interval=0", 0},
    };
    size_t i = wvu_sim_random(sizeof(texts) / sizeof(texts[0]));
    uint32_t before = wvu_probe_setting(probe, KERNEL_SETTING_PACE);
    char reason[256];
    wvu_status status = wvu_probe_configure(probe, texts[i].text, strlen(texts[i].text), reason);
    wvu_status expected = texts[i].pace != 0 ? WVU_STATUS_OK : WVU_STATUS_INVALID_PARAMETER;

    wvu_sim_check(status == expected, "\"%s\": %s", texts[i].text, wvu_status_name(status));
    wvu_sim_check(wvu_probe_setting(probe, KERNEL_SETTING_PACE) ==
                      (status == WVU_STATUS_OK ? texts[i].pace : before),
                  "\"%s\": the pace is %u", texts[i].text,
                  wvu_probe_setting(probe, KERNEL_SETTING_PACE));
}

static void request(struct world *world)
{
    struct wvu_probe *b = wvu_sensor_find_probe(world->sensor, "b");
    struct wvu_probe *clock = wvu_sensor_find_probe(world->sensor, "CLOCK");
    static const struct wvu_mitigation nothing = {0};
    struct wvu_probe_state state;
    char reason[256];

    switch (wvu_sim_random(10)) {
    case 0:
        (void)wvu_probe_start(b, reason);
        break;
    case 1:
        wvu_probe_stop(b, "somebody asked");
        break;
    case 2:
        (void)wvu_probe_start(clock, reason);
        break;
    case 3:
        wvu_probe_stop(clock, "");
        break;
    case 4:
        wvu_probe_stop(wvu_sensor_probe_at(world->sensor, KERNEL_PROBE_A), "a short rest");
        (void)wvu_probe_start(wvu_sensor_probe_at(world->sensor, KERNEL_PROBE_A), reason);
        break;
    case 5:
        wvu_probe_read_state(b, &state);
        break;
    case 6:
        configure(clock);
        break;
    case 7:
        wvu_sim_check(wvu_probe_mitigate(b, &nothing, reason) == WVU_STATUS_NOT_SUPPORTED,
                      "a probe without mitigate does something");
        break;
    case 8:
        wvu_sim_shift_clock((int64_t)wvu_sim_random(100000000) - 50000000);
        break;
    default:
        wvu_dispatcher_set_timeout(wvu_sensor_dispatcher(world->sensor),
                                   (uint32_t)(10 + wvu_sim_random(100)));
        break;
    }
}

static void live_on(struct world *world)
{
    uint64_t requests = wvu_sim_random(8);

    for (uint64_t i = 0; i < requests; i++) {
        wvu_sim_sleep(wvu_sim_random(60 * WVU_SIM_MS));
        world_check_identity(world);
        request(world);
    }
    world_check_identity(world);
}

/* ---- ends -------------------------------------------------------------------------------------------------- */

/* Events end, a reader behaves: everything must arrive, or be told as lost. */
static void end_drained(struct world *world)
{
    kernel_join(&world->kernel);
    world->port.flood = false;
    reader_behave(&world->reader);
    world_wait_empty(world, 60 * WVU_SIM_S);
    world_check_wakes(world);
    world->settings.drain_ms = world->settings.drain_ms > 0 ? world->settings.drain_ms : 1;
    world_stop(world);
    totals.drained++;
}

/* Stopped in the middle of whatever happens; perhaps again. */
static void end_at_once(struct world *world)
{
    world_stop(world);
    if (wvu_sim_odds(4))
        world_stop(world);
    kernel_join(&world->kernel);
}

static void add_up(const struct world *world)
{
    struct wvu_queue_counters queue;
    struct wvu_dispatcher_counters dispatcher;

    wvu_queue_read_counters(wvu_sensor_queue(world->sensor), &queue);
    wvu_dispatcher_read_counters(wvu_sensor_dispatcher(world->sensor), &dispatcher);
    wvu_sim_check(dispatcher.sends == world->truth.messages &&
                      dispatcher.redelivered == world->truth.redelivered_records &&
                      dispatcher.connections == world->port.connects,
                  "the dispatcher's counters are not what happened");
    totals.events += queue.accepted;
    totals.lost += queue.lost;
    totals.unnumbered += queue.unnumbered;
    totals.messages += world->truth.messages;
    totals.redelivered += world->truth.redelivered_records;
    totals.connects += world->port.connects;
    totals.timeouts += dispatcher.timeouts;
    totals.bad_replies += dispatcher.bad_replies;
    totals.cut += queue.cut;
    totals.kept += world->truth.kept;
    totals.configured += world->kernel.configured;
    for (size_t i = 0; i < HABITS; i++)
        totals.habits[i] += world->reader.habits[i];
}

static void run(struct world *world)
{
    bool drains = wvu_sim_odds(2);
    uint32_t producers = (uint32_t)(1 + wvu_sim_random(KERNEL_PRODUCERS_MAX));
    uint32_t bursts = (uint32_t)wvu_sim_random(30);

    wvu_sim_check(reader_start(&world->reader, &world->port, world->settings.send_timeout_ms) ==
                      WVU_STATUS_OK,
                  "no reader");
    wvu_sim_check(kernel_start(&world->kernel, producers, bursts) == WVU_STATUS_OK, "no producers");
    live_on(world);
    world_check_wakes(world);
    if (drains)
        end_drained(world);
    else
        end_at_once(world);
    reader_end(&world->reader);
    world_check_identity(world);
    add_up(world);
}

/* One service of the start fails, so the start may: then stop and destroy must cope. */
static void run_with_failure(struct world *world)
{
    wvu_status status;

    wvu_sim_fail_service(1 + wvu_sim_random(24));
    status = world_start(world);
    wvu_sim_fail_service(0);
    if (status == WVU_STATUS_OK) {
        run(world);
        return;
    }
    totals.failed_starts++;
    wvu_sim_trace("start fails: %s", wvu_status_name(status));
    if (world->sensor != NULL && wvu_sim_odds(2))
        wvu_sensor_stop(world->sensor, "it has never started");
}

static void live_one_seed(void *context)
{
    struct world *world = context;

    draw_world(world);
    if (wvu_sim_odds(8)) {
        run_with_failure(world);
    } else {
        wvu_sim_check(world_start(world) == WVU_STATUS_OK, "the sensor does not start");
        run(world);
    }
    totals.points += wvu_sim_points();
    world_end(world);
}

/* ---- the program --------------------------------------------------------------------------------------------- */

static bool run_seed(const char *program, uint64_t seed, bool verbose)
{
    static struct world world;
    /* How threads are switched depends on the seed too, but not through the simulation's own random
     * numbers, which begin with it. */
    const struct wvu_sim_settings settings = {
        .seed = seed,
        .switch_odds = (const uint32_t[]){1, 2, 6, 30}[seed % 4],
        .store_buffers = seed / 4 % 2 != 0,
        .uneven = seed / 8 % 4 == 0,
        .verbose = verbose,
    };

    if (wvu_sim_run(&settings, live_one_seed, &world))
        return true;
    fprintf(stderr, "seed %" PRIu64 " fails %s\n  replay: %s --seed %" PRIu64 " --verbose\n", seed,
            wvu_sim_failure(), program, seed);
    return false;
}

static void print_totals(uint64_t seeds)
{
    printf("%" PRIu64 " seeds: %" PRIu64 " scheduling points, %" PRIu64 " events, %" PRIu64
           " lost, %" PRIu64 " lost before a number, %" PRIu64 " cut, %" PRIu64
           " messages, %" PRIu64 " records again, %" PRIu64 " connections, %" PRIu64
           " time-outs, %" PRIu64 " bad replies, %" PRIu64 " failed starts, %" PRIu64
           " drained, %" PRIu64 " gaps behind what was kept, %" PRIu64 " settings\n",
           seeds, totals.points, totals.events, totals.lost, totals.unnumbered, totals.cut,
           totals.messages, totals.redelivered, totals.connects, totals.timeouts,
           totals.bad_replies, totals.failed_starts, totals.drained, totals.kept,
           totals.configured);
}

/* Seeds that no longer produce what they are for would go unnoticed. */
static bool everything_happened(void)
{
    bool all = totals.lost != 0 && totals.unnumbered != 0 && totals.cut != 0 &&
               totals.redelivered != 0 && totals.timeouts != 0 && totals.bad_replies != 0 &&
               totals.failed_starts != 0 && totals.drained != 0 && totals.kept != 0 &&
               totals.configured != 0;

    for (size_t i = 0; i < HABITS; i++)
        all = all && totals.habits[i] != 0;
    if (!all)
        fprintf(stderr, "these seeds do not produce everything that they are for\n");
    return all;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seeds FROM-TO] [--seed N] [--verbose]\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t from = 1;
    uint64_t to = SEEDS_DEFAULT;
    bool verbose = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            if (sscanf(argv[++i], "%" SCNu64, &from) != 1)
                return usage();
            to = from;
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            if (sscanf(argv[++i], "%" SCNu64 "-%" SCNu64, &from, &to) != 2 || to < from)
                return usage();
        } else {
            return usage();
        }
    }
    for (uint64_t seed = from; seed <= to; seed++)
        if (!run_seed(argv[0], seed, verbose))
            return 1;
    print_totals(to - from + 1);
    return to - from + 1 < 500 || everything_happened() ? 0 : 1;
}
