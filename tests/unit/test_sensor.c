/*
 * sensor.c, report.c, filter_slot.c: what is created, started, stopped and destroyed in which order, what the
 * stream says of it, and how the filter is changed while events come.
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
    f.settings.filter = "exclude image=/bin/a";
    do {
        wvu_sim_fail_service(++nth);
        status = wvu_sensor_create(&f.settings, &f.sensor);
        wvu_sim_fail_service(0);
        check((status == WVU_STATUS_OK) == (f.sensor != NULL));
        if (status != WVU_STATUS_OK)
            check_equal(wvu_sim_allocations(), 0);
    } while (status != WVU_STATUS_OK);
    check(nth > 20);
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

/* ---- the filter -------------------------------------------------------------------------------------------- */

static uint32_t filter_changes;
static wvu_status protect_status;
static uint32_t protect_calls;

static void filter_changed(void *context)
{
    (void)context;
    filter_changes++;
}

static wvu_status protect(void *context, bool on, char *reason)
{
    (void)context;
    (void)on;
    protect_calls++;
    if (protect_status != WVU_STATUS_OK)
        memcpy(reason, "no", 3);
    return protect_status;
}

static const struct wvu_sensor_host host = {
    .filter_changed = filter_changed, .protect = protect, .process_id = 77};

static void begin_filtered(struct fixture *f, const char *filter)
{
    filter_changes = protect_calls = 0;
    protect_status = WVU_STATUS_OK;
    prepare(f, four);
    f->settings.operations = &host;
    f->settings.filter = filter;
    check_equal(wvu_sensor_create(&f->settings, &f->sensor), WVU_STATUS_OK);
}

static uint32_t wanted_of(struct wvu_sensor *sensor, const char *image)
{
    const struct wvu_subject subject = {
        .image = image, .image_size = (uint32_t)strlen(image), .unit = 1};
    struct wvu_verdict verdict;

    wvu_sensor_judge(sensor, &subject, &verdict);
    return verdict.wanted;
}

static wvu_status set_filter(struct wvu_sensor *sensor, const char *text)
{
    char reason[256];

    return wvu_sensor_set_filter(sensor, text, strlen(text), reason);
}

static void copy_text(void *context, const struct wvu_filter *filter)
{
    size_t length;
    const char *text = wvu_filter_text(filter, &length);

    check(length < 64);
    memcpy(context, text, length);
    ((char *)context)[length] = '\0';
}

SIMULATED(a_filter_is_in_force_from_the_start)
{
    struct fixture f;

    begin_filtered(&f, "exclude image=/bin/a");
    check_equal(wanted_of(f.sensor, "/bin/a") & 1u << wvu_event_index(WVU_EVENT_ImageLoad), 0);
    check(wanted_of(f.sensor, "/bin/b") == WVU_WANTED_ALL);
    check_equal(filter_changes, 0);
    end(&f);
    begin_filtered(&f, NULL);
    check(wanted_of(f.sensor, "/bin/a") == WVU_WANTED_ALL);
    end(&f);
}

SIMULATED(a_wrong_filter_makes_no_sensor)
{
    struct fixture f;

    prepare(&f, four);
    f.settings.filter = "exclude everything";
    check_equal(wvu_sensor_create(&f.settings, &f.sensor), WVU_STATUS_INVALID_PARAMETER);
    check(f.sensor == NULL);
    check_equal(wvu_sim_allocations(), 0);
    end(&f);
}

SIMULATED(a_filter_replaces_the_one_before)
{
    char text[64];
    struct fixture f;

    begin_filtered(&f, "exclude image=/bin/a");
    for (uint32_t i = 0; i < 5; i++) { /* both slots, and again */
        check_equal(set_filter(f.sensor, "exclude image=/bin/b"), WVU_STATUS_OK);
        check_equal(filter_changes, 2 * i + 1);
        check(wanted_of(f.sensor, "/bin/a") == WVU_WANTED_ALL);
        check(wanted_of(f.sensor, "/bin/b") != WVU_WANTED_ALL);
        check_equal(set_filter(f.sensor, "nonsense"), WVU_STATUS_INVALID_PARAMETER);
        check(wanted_of(f.sensor, "/bin/b") != WVU_WANTED_ALL);
        wvu_sensor_with_filter(f.sensor, copy_text, text);
        check(strcmp(text, "exclude image=/bin/b") == 0);
        check_equal(set_filter(f.sensor, ""), WVU_STATUS_OK);
        check(wanted_of(f.sensor, "/bin/b") == WVU_WANTED_ALL);
    }
    end(&f);
}

/* Callbacks judge while the filter is changed again and again. The filters of even rounds exclude a, those of
 * odd ones b: whoever judges once meets that of the round in which he began, or of one that came since. */
struct swapping {
    struct wvu_sensor *sensor;
    uint32_t round;     /* set_filter of this round has returned */
    uint32_t under_way; /* set_filter of this round was called */
    bool done;
    uint32_t judged;
};

static void judge_in_callbacks(void *context)
{
    struct swapping *swapping = context;

    while (!swapping->done) {
        uint32_t least = swapping->round;
        bool excludes_a;

        wvu_sim_callback_begin();
        excludes_a = wanted_of(swapping->sensor, "/bin/a") != WVU_WANTED_ALL;
        wvu_sim_callback_end();
        if (least == swapping->under_way) /* nobody has begun to change it */
            check_equal(excludes_a, least % 2 == 0);
        swapping->judged++;
    }
}

static void swap_filters(void *unused)
{
    struct fixture f;
    struct swapping swapping = {0};
    wvu_thread threads[2];

    (void)unused;
    begin_filtered(&f, "exclude image=/bin/a");
    swapping.sensor = f.sensor;
    for (uint32_t i = 0; i < 2; i++)
        check_equal(wvu_thread_start(&threads[i], "callback", judge_in_callbacks, &swapping),
                    WVU_STATUS_OK);
    for (uint32_t i = 1; i <= 6; i++) {
        swapping.under_way = i;
        check_equal(
            set_filter(f.sensor, i % 2 == 1 ? "exclude image=/bin/b" : "exclude image=/bin/a"),
            WVU_STATUS_OK);
        swapping.round = i;
        wvu_sim_sleep(wvu_sim_random(3000));
    }
    swapping.done = true;
    for (uint32_t i = 0; i < 2; i++)
        wvu_thread_join(&threads[i]);
    check(swapping.judged != 0);
    end(&f);
}

static void filters_are_swapped_under_callbacks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        const struct wvu_sim_settings settings = {.seed = seed,
                                                  .switch_odds = 1 + (uint32_t)(seed % 3),
                                                  .store_buffers = seed % 2 == 0,
                                                  .uneven = seed % 5 == 0};

        if (!wvu_sim_run(&settings, swap_filters, NULL))
            fail_msg("seed %u %s", (unsigned)seed, wvu_sim_failure());
    }
}

/* Whoever has the old filter keeps it until he leaves; the change waits for him. */
struct holder {
    struct wvu_sensor *sensor;
    bool inside;
    bool left;
};

static void hold(void *context, const struct wvu_filter *filter)
{
    struct holder *holder = context;
    char text[64];

    holder->inside = true;
    wvu_sim_sleep(5 * WVU_SIM_MS);
    /* The change waits for this thread by now; others, and callbacks here, have the new filter already. */
    check(wanted_of(holder->sensor, "/bin/a") == WVU_WANTED_ALL);
    copy_text(text, filter);
    check(strcmp(text, "exclude image=/bin/a") == 0);
    holder->left = true;
}

static void be_holder(void *context)
{
    struct holder *holder = context;

    wvu_sensor_with_filter(holder->sensor, hold, holder);
}

SIMULATED(a_change_waits_for_those_who_use_the_old_filter)
{
    struct fixture f;
    struct holder holder = {0};
    wvu_thread thread;

    begin_filtered(&f, "exclude image=/bin/a");
    holder.sensor = f.sensor;
    check_equal(wvu_thread_start(&thread, "holder", be_holder, &holder), WVU_STATUS_OK);
    while (!holder.inside)
        wvu_sim_sleep(1000);
    check_equal(set_filter(f.sensor, ""), WVU_STATUS_OK);
    check(holder.left);
    wvu_thread_join(&thread);
    end(&f);
}

/* ---- protection and mitigation ------------------------------------------------------------------------------ */

SIMULATED(protection_is_switched_when_the_host_agrees)
{
    char reason[256];
    struct fixture f;

    begin_filtered(&f, NULL);
    check(!wvu_sensor_is_protected(f.sensor));
    check_equal(wvu_sensor_protect(f.sensor, false, reason), WVU_STATUS_OK);
    check_equal(protect_calls, 0); /* nothing to change */
    protect_status = WVU_STATUS_NO_RESOURCES;
    check_equal(wvu_sensor_protect(f.sensor, true, reason), WVU_STATUS_NO_RESOURCES);
    check(strcmp(reason, "no") == 0);
    check(!wvu_sensor_is_protected(f.sensor));
    protect_status = WVU_STATUS_OK;
    check_equal(wvu_sensor_protect(f.sensor, true, reason), WVU_STATUS_OK);
    check_equal(reason[0], '\0');
    check(wvu_sensor_is_protected(f.sensor));
    check_equal(wvu_sensor_protect(f.sensor, false, reason), WVU_STATUS_OK);
    check(!wvu_sensor_is_protected(f.sensor));
    check_equal(protect_calls, 3);
    end(&f);
}

SIMULATED(the_sensor_and_its_reader_must_live)
{
    char reason[256];
    struct fixture f;

    begin_filtered(&f, NULL);
    check(wvu_sensor_must_live(f.sensor, 77, reason));
    check(strcmp(reason, "it is the sensor itself") == 0);
    check(!wvu_sensor_must_live(f.sensor, 78, reason));
    check_equal(reason[0], '\0');
    check(!wvu_sensor_must_live(f.sensor, 0, reason));
    wvu_dispatcher_name_reader(wvu_sensor_dispatcher(f.sensor), 78);
    check(wvu_sensor_must_live(f.sensor, 78, reason));
    check(strcmp(reason, "it reads the sensor's events") == 0);
    end(&f);
    begin(&f, none); /* no operations, no reader: nobody has the id 0 */
    check(!wvu_sensor_must_live(f.sensor, 0, reason));
    end(&f);
}

SIMULATED(a_refused_stop_is_told)
{
    const struct wvu_requester requester = {.process_id = 5, .process_key = 6};
    const struct wvu_stop_refused *event;
    struct taken_events taken;
    struct fixture f;

    begin(&f, none);
    wvu_sensor_report_refused_stop(f.sensor, &requester, "SIGTERM");
    wvu_sensor_report_refused_stop(f.sensor, NULL, "unload");
    taken = take_events(wvu_sensor_queue(f.sensor));
    check_equal(taken.info.records, 2);
    event = taken_at(&taken, 0);
    check_equal(event->record.type, WVU_EVENT_StopRefused);
    check_equal(event->record.process_id, 5);
    check_equal(event->record.process_key, 6);
    check_equal(event->record.present, WVU_PRESENT(wvu_stop_refused, Attempt));
    check_text(event, event->attempt, "SIGTERM");
    event = taken_at(&taken, 1);
    check_equal(event->record.process_id, 0);
    check_text(event, event->attempt, "unload");
    free_events(&taken);
    end(&f);
}

SIMULATED(a_mitigation_is_told)
{
    const struct wvu_requester requester = {.process_id = 5};
    const struct wvu_mitigation_report by_rule = {.action = WVU_MITIGATION_DENY,
                                                  .outcome = WVU_OUTCOME_PREVENTED,
                                                  .process_id = 9,
                                                  .process_key = 10,
                                                  .image = "/bin/a",
                                                  .image_size = 6,
                                                  .image_unit = 1,
                                                  .rule = "line 3"};
    const struct wvu_mitigation_report by_command = {.action = WVU_MITIGATION_TERMINATE,
                                                     .outcome = WVU_OUTCOME_FAILED,
                                                     .status = WVU_STATUS_ACCESS_DENIED,
                                                     .process_id = 9,
                                                     .reason = "it is gone",
                                                     .requester = &requester};
    const struct wvu_mitigated *event;
    struct taken_events taken;
    struct fixture f;

    begin(&f, four);
    wvu_sensor_report_mitigation(f.sensor, wvu_sensor_probe_at(f.sensor, 1), &by_rule);
    wvu_sensor_report_mitigation(f.sensor, NULL, &by_command);
    taken = take_events(wvu_sensor_queue(f.sensor));
    check_equal(taken.info.records, 2);
    event = taken_at(&taken, 0);
    check_equal(event->record.type, WVU_EVENT_Mitigation);
    check(memcmp(event->record.sensor_id, wvu_sensor_probe_at(f.sensor, 1)->id, 16) == 0);
    check_equal(event->record.flags, 0);
    check_equal(event->record.process_id, 9);
    check_equal(event->record.process_key, 10);
    check_equal(event->record.present,
                WVU_PRESENT(wvu_mitigated, Action) | WVU_PRESENT(wvu_mitigated, Outcome) |
                    WVU_PRESENT(wvu_mitigated, Rule) | WVU_PRESENT(wvu_mitigated, ImageFileName));
    check_equal(event->action, WVU_MITIGATION_DENY);
    check_equal(event->outcome, WVU_OUTCOME_PREVENTED);
    check_text(event, event->rule, "line 3");
    check_text(event, event->image_file_name, "/bin/a");
    event = taken_at(&taken, 1);
    check(memcmp(event->record.sensor_id, wvu_sensor_id(f.sensor), 16) == 0);
    check_equal(event->record.present,
                WVU_PRESENT(wvu_mitigated, Action) | WVU_PRESENT(wvu_mitigated, Outcome) |
                    WVU_PRESENT(wvu_mitigated, Status) | WVU_PRESENT(wvu_mitigated, Reason) |
                    WVU_PRESENT(wvu_mitigated, RequesterProcessId));
    check_equal((uint32_t)event->status, (uint32_t)WVU_STATUS_ACCESS_DENIED);
    check_equal(event->requester_process_id, 5);
    check_text(event, event->reason, "it is gone");
    free_events(&taken);
    end(&f);
}

/* A record has one encoding: where the image is UTF-16, so are the others. */
SIMULATED(a_mitigation_on_windows_is_told_in_utf16)
{
    static const uint16_t image[] = {'C', ':', 0xD83D, 0xDE00};
    static const uint16_t rule[] = {'r', 0xE9};
    static const uint16_t reason[] = {'n', 'o'};
    const struct wvu_mitigation_report report = {.action = WVU_MITIGATION_DENY,
                                                 .outcome = WVU_OUTCOME_REPORTED,
                                                 .image = image,
                                                 .image_size = sizeof image,
                                                 .image_unit = 2,
                                                 .rule = "r\xc3\xa9",
                                                 .reason = "no"};
    const struct wvu_mitigated *event;
    struct taken_events taken;
    struct fixture f;

    begin(&f, none);
    wvu_sensor_report_mitigation(f.sensor, NULL, &report);
    taken = take_events(wvu_sensor_queue(f.sensor));
    event = taken_at(&taken, 0);
    check_equal(event->record.flags, WVU_RECORD_UTF16);
    check_equal(event->image_file_name.size, sizeof image);
    check(memcmp((const char *)event + event->image_file_name.offset, image, sizeof image) == 0);
    check_equal(event->rule.size, sizeof rule);
    check(memcmp((const char *)event + event->rule.offset, rule, sizeof rule) == 0);
    check_equal(event->reason.size, sizeof reason);
    check(memcmp((const char *)event + event->reason.offset, reason, sizeof reason) == 0);
    free_events(&taken);
    end(&f);
}

/* Somebody stops while somebody else configures a temporal probe: the poller is woken or gone, not half. */
static void configure_often(void *context)
{
    char reason[256];

    for (uint32_t i = 0; i < 20; i++) {
        const char *text = i % 2 == 0 ? "repeat-interval=1" : "repeat-interval=2";

        check_equal(wvu_probe_configure(context, text, strlen(text), reason), WVU_STATUS_OK);
    }
}

static void stop_while_configured(void *unused)
{
    struct fixture f;
    wvu_thread thread;

    (void)unused;
    begin(&f, temporal);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    check_equal(
        wvu_thread_start(&thread, "configures", configure_often, wvu_sensor_probe_at(f.sensor, 0)),
        WVU_STATUS_OK);
    wvu_sim_sleep(wvu_sim_random(20000));
    wvu_sensor_stop(f.sensor, "");
    wvu_thread_join(&thread);
    end(&f);
}

static void the_poller_is_told_of_changes_until_it_is_gone(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        const struct wvu_sim_settings settings = {
            .seed = seed, .switch_odds = 1, .store_buffers = seed % 2 == 0};

        if (!wvu_sim_run(&settings, stop_while_configured, NULL))
            fail_msg("seed %u %s", (unsigned)seed, wvu_sim_failure());
    }
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
        cmocka_unit_test(a_filter_is_in_force_from_the_start),
        cmocka_unit_test(a_wrong_filter_makes_no_sensor),
        cmocka_unit_test(a_filter_replaces_the_one_before),
        cmocka_unit_test(filters_are_swapped_under_callbacks),
        cmocka_unit_test(a_change_waits_for_those_who_use_the_old_filter),
        cmocka_unit_test(protection_is_switched_when_the_host_agrees),
        cmocka_unit_test(the_sensor_and_its_reader_must_live),
        cmocka_unit_test(a_refused_stop_is_told),
        cmocka_unit_test(a_mitigation_is_told),
        cmocka_unit_test(a_mitigation_on_windows_is_told_in_utf16),
        cmocka_unit_test(the_poller_is_told_of_changes_until_it_is_gone),
    };
    return cmocka_run_group_tests_name("sensor", tests, NULL, NULL);
}
