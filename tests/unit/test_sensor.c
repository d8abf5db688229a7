/*
 * sensor.c: what is created, started, stopped and destroyed in which order, and what the stream says of it.
 */
#include "support/simulated.h"

#include "sensor.h"
#include "support/fake_port.h"
#include "support/take_events.h"
#include "uuid.h"
#include "winvirtue/version.h"

static const uint8_t host_id[16] = "this test's host";

/* Names of what was called, in order: "+A" start, "-A" stop, "!A" run. */
static char calls[64];
static wvu_status broken_status;

static void note(const struct wvu_probe *probe, char what)
{
    size_t length = strlen(calls);

    check(length + 3 < sizeof calls);
    calls[length] = what;
    calls[length + 1] = probe->definition->name[0];
    calls[length + 2] = '\0';
}

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    (void)reason;
    note(probe, '+');
    return probe->definition->name[0] == 'X' ? broken_status : WVU_STATUS_OK;
}

static void stop(struct wvu_probe *probe)
{
    note(probe, '-');
}

static wvu_status run(struct wvu_probe *probe)
{
    note(probe, '!');
    return WVU_STATUS_OK;
}

#define AT_START (WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC)
static const struct wvu_probe_definition a = {
    .name = "Alpha", .attributes = AT_START, .start = start, .stop = stop};
static const struct wvu_probe_definition b = {
    .name = "Beta", .attributes = WVU_PROBE_REAL_TIME, .start = start, .stop = stop};
static const struct wvu_probe_definition x = {
    .name = "Xeno", .attributes = AT_START, .start = start, .stop = stop};
static const struct wvu_probe_definition c = {
    .name = "Gamma", .attributes = AT_START, .start = start, .stop = stop};
static const struct wvu_probe_definition t = {.name = "Tick",
                                              .attributes =
                                                  WVU_PROBE_TEMPORAL | WVU_PROBE_ENABLED_AT_START,
                                              .interval_ns = 3600 * WVU_SIM_S,
                                              .start = start,
                                              .stop = stop,
                                              .run = run};
static const struct wvu_probe_definition *const four[] = {&a, &b, &x, &c, NULL};
static const struct wvu_probe_definition *const temporal[] = {&t, NULL};
static const struct wvu_probe_definition *const none[] = {NULL};

struct fixture {
    struct fake_port port;
    struct wvu_sensor_settings settings;
    struct wvu_sensor *sensor;
};

static void prepare(struct fixture *f, const struct wvu_probe_definition *const *probes)
{
    fake_port_init(&f->port);
    calls[0] = '\0';
    broken_status = WVU_STATUS_NOT_SUPPORTED;
    f->sensor = NULL;
    f->settings = (struct wvu_sensor_settings){.host_kind = WVU_HOST_SIMULATED,
                                               .host_id = host_id,
                                               .host_name = "tester",
                                               .system_version = "9.9",
                                               .configuration = "a=1\nb=2\n",
                                               .queue_records = 64,
                                               .queue_bytes = WVU_QUEUE_BYTES_MIN,
                                               .send_timeout_ms = 1000,
                                               .port = &f->port.port,
                                               .probes = probes};
}

static void begin(struct fixture *f, const struct wvu_probe_definition *const *probes)
{
    prepare(f, probes);
    check_equal(wvu_sensor_create(&f->settings, &f->sensor), WVU_STATUS_OK);
}

static void end(struct fixture *f)
{
    wvu_sensor_destroy(f->sensor);
    fake_port_destroy(&f->port);
}

/* ---- create -------------------------------------------------------------------------------------------- */

SIMULATED(bad_settings_are_refused)
{
    struct fixture f;
    struct wvu_sensor_settings good;

    prepare(&f, none);
    good = f.settings;
    for (int i = 0; i < 4; i++) {
        f.settings = good;
        switch (i) {
        case 0:
            f.settings.queue_records = WVU_QUEUE_RECORDS_MIN - 1;
            break;
        case 1:
            f.settings.queue_bytes = WVU_QUEUE_BYTES_MAX + 1;
            break;
        case 2:
            f.settings.send_timeout_ms = WVU_SEND_TIMEOUT_MS_MIN - 1;
            break;
        default:
            f.settings.send_timeout_ms = WVU_SEND_TIMEOUT_MS_MAX + 1;
            break;
        }
        f.sensor = (struct wvu_sensor *)1;
        check_equal(wvu_sensor_create(&f.settings, &f.sensor), WVU_STATUS_INVALID_PARAMETER);
        check(f.sensor == NULL);
    }
    end(&f);
}

SIMULATED(create_survives_any_failed_service)
{
    struct fixture f;
    wvu_status status;
    uint64_t nth = 0;

    prepare(&f, four);
    do {
        wvu_sim_fail_service(++nth);
        status = wvu_sensor_create(&f.settings, &f.sensor);
        wvu_sim_fail_service(0);
        check((status == WVU_STATUS_OK) == (f.sensor != NULL));
        if (status != WVU_STATUS_OK)
            check_equal(wvu_sim_allocations(), 0);
    } while (status != WVU_STATUS_OK);
    check(nth > 15);
    end(&f);
}

SIMULATED(each_life_has_its_own_boot_id)
{
    struct fixture f;
    uint8_t first[16];

    begin(&f, none);
    memcpy(first, wvu_sensor_boot_id(f.sensor), 16);
    check_equal(first[6] >> 4, 4); /* a random UUID */
    check_equal(first[8] >> 6, 2);
    wvu_sensor_destroy(f.sensor);
    check_equal(wvu_sensor_create(&f.settings, &f.sensor), WVU_STATUS_OK);
    check(memcmp(first, wvu_sensor_boot_id(f.sensor), 16) != 0);
    end(&f);
}

SIMULATED(probes_are_found_by_name_and_number)
{
    struct fixture f;

    begin(&f, four);
    check(wvu_sensor_probe_at(f.sensor, 0)->definition == &a);
    check(wvu_sensor_probe_at(f.sensor, 3)->definition == &c);
    check(wvu_sensor_probe_at(f.sensor, 4) == NULL);
    check(wvu_sensor_probe_at(f.sensor, UINT32_MAX) == NULL);
    check(wvu_sensor_find_probe(f.sensor, "bEtA") == wvu_sensor_probe_at(f.sensor, 1));
    check(wvu_sensor_find_probe(f.sensor, "Bet") == NULL);
    check(wvu_sensor_find_probe(f.sensor, "Betas") == NULL);
    check(wvu_sensor_find_probe(f.sensor, "") == NULL);
    end(&f);
}

SIMULATED(destroy_of_nothing_is_nothing)
{
    wvu_sensor_destroy(NULL);
}

/* ---- start ----------------------------------------------------------------------------------------------- */

SIMULATED(sensor_start_is_the_first_record)
{
    struct fixture f;
    struct taken_events taken;
    const struct wvu_sensor_start *event;
    uint8_t id[16];

    begin(&f, none);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    taken = take_events(wvu_sensor_queue(f.sensor));
    check_equal(taken.info.records, 1);
    event = taken_at(&taken, 0);
    check_equal(event->record.type, WVU_EVENT_SensorStart);
    check_equal(event->record.sequence, 1);
    check_equal(event->record.fixed_size, sizeof *event);
    wvu_uuid_from_name(host_id, "Sensor", id);
    check(memcmp(event->record.sensor_id, id, 16) == 0);
    check_equal(event->record.present, (1u << WVU_FIELD_COUNT_SensorStart) - 1);
    check_equal(event->host, WVU_HOST_SIMULATED);
    check_equal(event->protocol_version, WVU_PROTOCOL_VERSION);
    check_equal(event->queue_records, 64);
    check_equal(event->queue_bytes, WVU_QUEUE_BYTES_MIN);
    check_text(event, event->host_name, "tester");
    check_text(event, event->sensor_version, WVU_VERSION);
    check_text(event, event->system_version, "9.9");
    check_text(event, event->configuration, "a=1\nb=2\n");
    free_events(&taken);
    wvu_sensor_stop(f.sensor, "");
    end(&f);
}

SIMULATED(probes_start_in_order_and_stop_in_reverse)
{
    struct fixture f;
    struct taken_events taken;
    const struct wvu_probe_state_changed *event;

    begin(&f, four);
    check_equal(wvu_sensor_start(f.sensor),
                WVU_STATUS_OK); /* a probe that fails does not fail it */
    check(strcmp(calls, "+A+X+G") == 0);
    taken = take_events(wvu_sensor_queue(f.sensor));
    check_equal(taken.info.records, 4);
    event = taken_at(&taken, 2);
    check_equal(event->state, WVU_PROBE_FAILED);
    check_text(event, event->probe_name, "Xeno");
    free_events(&taken);
    wvu_sensor_stop(f.sensor, "");
    check(strcmp(calls, "+A+X+G-G-A") == 0);
    end(&f);
}

SIMULATED(a_sensor_starts_once)
{
    struct fixture f;

    begin(&f, four);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_INVALID_STATE);
    wvu_sensor_stop(f.sensor, "");
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_INVALID_STATE);
    check(strcmp(calls, "+A+X+G-G-A") == 0);
    end(&f);
}

SIMULATED(a_failed_start_can_be_stopped_and_destroyed)
{
    struct fixture f;

    for (uint64_t nth = 1; nth <= 2; nth++) { /* the dispatcher's thread, the poller's */
        begin(&f, temporal);
        wvu_sim_fail_service(nth);
        check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_NO_RESOURCES);
        wvu_sim_fail_service(0);
        check_equal(calls[0], '\0'); /* no probe was started */
        wvu_sensor_stop(f.sensor, "");
        end(&f);
    }
}

/* ---- stop ------------------------------------------------------------------------------------------------ */

SIMULATED(sensor_stop_is_the_last_record)
{
    struct fixture f;
    struct taken_events taken;
    const struct wvu_sensor_stop *event;
    struct wvu_record *record;
    uint32_t kept = 0;

    begin(&f, four);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    for (int i = 0; i < 100; i++) {
        check_equal(wvu_queue_reserve(wvu_sensor_queue(f.sensor), 1, 72, &record), WVU_STATUS_OK);
        wvu_queue_commit(wvu_sensor_queue(f.sensor), record);
    }
    taken = take_events(wvu_sensor_queue(f.sensor));
    for (uint32_t i = 0; i < taken.info.records; i++) {
        record = (struct wvu_record *)(uintptr_t)taken_at(&taken, i);
        kept += record->type != WVU_EVENT_EventsLost; /* told by the queue, not numbered */
    }
    check(kept >= 64 && kept < 104);
    free_events(&taken);
    wvu_queue_count_loss(wvu_sensor_queue(f.sensor), WVU_LOSS_KERNEL_RING, 0, 1);
    wvu_sensor_stop(f.sensor, "told to");
    taken = take_events(wvu_sensor_queue(f.sensor));
    event = taken_at(&taken, taken.info.records - 1);
    check_equal(event->record.type, WVU_EVENT_SensorStop);
    check_equal(event->accepted, event->record.sequence - 1);
    check_equal(event->delivered, kept);
    check_equal(event->lost, 104 - kept);
    check_equal(event->record.present, (1u << WVU_FIELD_COUNT_SensorStop) - 1);
    check_text(event, event->reason, "told to");
    /* What was lost without a number is told before it. */
    check_equal(((const struct wvu_record *)taken_at(&taken, taken.info.records - 2))->type,
                WVU_EVENT_EventsLost);
    free_events(&taken);
    end(&f);
}

SIMULATED(stop_twice_stops_once)
{
    struct fixture f;
    struct wvu_queue_counters before;
    struct wvu_queue_counters after;

    begin(&f, four);
    wvu_sensor_stop(f.sensor, "before its start");
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    wvu_sensor_stop(f.sensor, "");
    wvu_queue_read_counters(wvu_sensor_queue(f.sensor), &before);
    wvu_sensor_stop(f.sensor, "");
    wvu_queue_read_counters(wvu_sensor_queue(f.sensor), &after);
    check_equal(before.accepted, after.accepted);
    end(&f);
}

/* ---- temporal probes --------------------------------------------------------------------------------------- */

SIMULATED(there_is_a_poller_only_for_temporal_probes)
{
    struct fixture f;
    uint64_t services;

    begin(&f, four);
    services = wvu_sim_services();
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    check_equal(wvu_sim_services() - services, 1); /* one thread */
    wvu_sensor_stop(f.sensor, "");
    end(&f);
    begin(&f, temporal);
    services = wvu_sim_services();
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    check_equal(wvu_sim_services() - services, 2);
    wvu_sensor_stop(f.sensor, "");
    end(&f);
}

static uint32_t runs(void)
{
    uint32_t count = 0;

    for (const char *p = calls; *p != '\0'; p++)
        count += *p == '!';
    return count;
}

SIMULATED(the_poller_runs_what_is_due_and_sleeps_otherwise)
{
    struct fixture f;
    char reason[256];
    uint64_t wakes;

    begin(&f, temporal);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    wvu_sim_sleep(WVU_SIM_S);
    wakes = wvu_sim_wakes("wvu-poller");
    wvu_sim_sleep(3590 * WVU_SIM_S);
    check_equal(wvu_sim_wakes("wvu-poller"), wakes);
    check_equal(runs(), 0);
    wvu_sim_sleep(10 * WVU_SIM_S);
    check_equal(runs(), 1);
    /* Another interval takes effect from the next start or run on, not after an hour. */
    wvu_probe_stop(wvu_sensor_probe_at(f.sensor, 0), "");
    check_equal(
        wvu_probe_configure(wvu_sensor_probe_at(f.sensor, 0), "repeat-interval=1", 17, reason),
        WVU_STATUS_OK);
    check_equal(wvu_probe_start(wvu_sensor_probe_at(f.sensor, 0), reason), WVU_STATUS_OK);
    wvu_sim_sleep(5 * WVU_SIM_S + WVU_SIM_S / 2);
    check(runs() >= 5 && runs() <= 6);
    wvu_sensor_stop(f.sensor, "");
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_settings_are_refused),
        cmocka_unit_test(create_survives_any_failed_service),
        cmocka_unit_test(each_life_has_its_own_boot_id),
        cmocka_unit_test(probes_are_found_by_name_and_number),
        cmocka_unit_test(destroy_of_nothing_is_nothing),
        cmocka_unit_test(sensor_start_is_the_first_record),
        cmocka_unit_test(probes_start_in_order_and_stop_in_reverse),
        cmocka_unit_test(a_sensor_starts_once),
        cmocka_unit_test(a_failed_start_can_be_stopped_and_destroyed),
        cmocka_unit_test(sensor_stop_is_the_last_record),
        cmocka_unit_test(stop_twice_stops_once),
        cmocka_unit_test(there_is_a_poller_only_for_temporal_probes),
        cmocka_unit_test(the_poller_runs_what_is_due_and_sleeps_otherwise),
    };
    return cmocka_run_group_tests_name("sensor", tests, NULL, NULL);
}
