/*
 * probe.c: the life of a probe, its events, and requests to it. The sensor around it is created and not
 * started, so that the test can look at the queue itself.
 */
#include "support/simulated.h"

#include <stdio.h>

#include "probe.h"
#include "sensor.h"
#include "support/fake_port.h"
#include "support/take_events.h"
#include "uuid.h"

static const uint8_t host_id[16] = "this test's host";

/* What the probe's functions were asked, and what they shall answer. */
static struct {
    uint32_t starts;
    uint32_t stops;
    uint32_t polls;
    uint32_t runs;
    wvu_status start_status;
    wvu_status run_status;
    bool event_in_start;
    uint32_t configured;
    uint32_t target;
    uint64_t run_takes_ns;
} asked;

static bool report(struct wvu_probe *probe)
{
    struct wvu_record_plan plan;
    struct wvu_record *record;

    if (!wvu_probe_enter(probe))
        return false;
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, sizeof(struct wvu_process_destroy), NULL, 0);
    record = wvu_probe_reserve(probe, &plan, NULL);
    if (record != NULL)
        wvu_probe_commit(probe, record);
    wvu_probe_wake(probe);
    wvu_probe_leave(probe);
    return record != NULL;
}

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    asked.starts++;
    if (asked.event_in_start)
        check(report(probe)); /* events may come before start returns */
    if (asked.start_status != WVU_STATUS_OK)
        snprintf(reason, 256, "no tracepoint");
    return asked.start_status;
}

static void stop(struct wvu_probe *probe)
{
    asked.stops++;
    check(report(probe)); /* events may come until stop returns */
}

static void add_state(struct wvu_probe *probe, struct wvu_probe_state *state)
{
    (void)probe;
    state->operations += 1000;
}

static void configured(struct wvu_probe *probe)
{
    (void)probe;
    asked.configured++;
}

static const struct wvu_setting full_settings[] = {
    {"depth", 2, 30, 7}, {"deep", 0, 1, 0}, {NULL, 0, 0, 0}};
static const uint16_t events[] = {WVU_EVENT_ImageLoad, WVU_EVENT_ThreadCreate, 0};
static const uint16_t quiet[] = {WVU_EVENT_ThreadCreate, 0};

static void on_poll(struct wvu_probe *probe, uint64_t now)
{
    (void)probe;
    (void)now;
    asked.polls++;
}

static wvu_status run(struct wvu_probe *probe)
{
    (void)probe;
    asked.runs++;
    if (asked.run_takes_ns != 0)
        wvu_sim_sleep(asked.run_takes_ns);
    return asked.run_status;
}

static wvu_status mitigate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                           char *reason)
{
    (void)probe;
    asked.target = mitigation->process_id;
    if (mitigation->action == WVU_MITIGATION_TERMINATE)
        return WVU_STATUS_OK;
    snprintf(reason, 256, "no action %u", mitigation->action);
    return WVU_STATUS_INVALID_PARAMETER;
}

static const struct wvu_probe_definition plain = {.name = "Plain",
                                                  .attributes =
                                                      WVU_PROBE_REAL_TIME | WVU_PROBE_DYNAMIC,
                                                  .start = start,
                                                  .stop = stop};
static const struct wvu_probe_definition full = {.name = "Full",
                                                 .attributes = WVU_PROBE_TEMPORAL,
                                                 .interval_ns = 10 * WVU_SIM_MS,
                                                 .start = start,
                                                 .stop = stop,
                                                 .state = add_state,
                                                 .events = events,
                                                 .quiet = quiet,
                                                 .settings = full_settings,
                                                 .configured = configured,
                                                 .on_poll = on_poll,
                                                 .run = run,
                                                 .mitigate = mitigate};
static const struct wvu_probe_definition *const definitions[] = {&plain, &full, NULL};

struct fixture {
    struct fake_port port;
    struct wvu_sensor *sensor;
    struct wvu_probe *plain;
    struct wvu_probe *full;
    char reason[256];
};

static void begin(struct fixture *f)
{
    fake_port_init(&f->port);
    const struct wvu_sensor_settings settings = {.host_kind = WVU_HOST_SIMULATED,
                                                 .host_id = host_id,
                                                 .host_name = "h",
                                                 .system_version = "s",
                                                 .configuration = "c",
                                                 .queue_records = 64,
                                                 .queue_bytes = WVU_QUEUE_BYTES_MIN,
                                                 .send_timeout_ms = 1000,
                                                 .port = &f->port.port,
                                                 .host = f,
                                                 .probes = definitions};

    memset(&asked, 0, sizeof asked);
    check_equal(wvu_sensor_create(&settings, &f->sensor), WVU_STATUS_OK);
    f->plain = wvu_sensor_probe_at(f->sensor, 0);
    f->full = wvu_sensor_probe_at(f->sensor, 1);
}

static void end(struct fixture *f)
{
    wvu_probe_stop(f->full, "");
    wvu_probe_stop(f->plain, "");
    wvu_sensor_destroy(f->sensor);
    fake_port_destroy(&f->port);
}

static struct taken_events take(struct fixture *f)
{
    return take_events(wvu_sensor_queue(f->sensor));
}

static struct wvu_probe_state state_of(struct wvu_probe *probe)
{
    struct wvu_probe_state state;

    wvu_probe_read_state(probe, &state);
    return state;
}

/* The record is a ProbeStateChanged that says just this. */
static void check_change(const struct taken_events *taken, uint32_t index, struct wvu_probe *probe,
                         uint32_t condition, wvu_status status, const char *reason)
{
    const struct wvu_probe_state_changed *event = taken_at(taken, index);
    uint64_t present = WVU_PRESENT(wvu_probe_state_changed, ProbeName) |
                       WVU_PRESENT(wvu_probe_state_changed, State);

    if (condition == WVU_PROBE_FAILED)
        present |= WVU_PRESENT(wvu_probe_state_changed, Status);
    if (reason[0] != '\0')
        present |= WVU_PRESENT(wvu_probe_state_changed, Reason);
    check_equal(event->record.type, WVU_EVENT_ProbeStateChanged);
    check(memcmp(event->record.sensor_id, probe->id, 16) == 0);
    check_equal(event->record.present, present);
    check_equal(event->state, condition);
    check_equal(event->status, status);
    check_text(event, event->probe_name, probe->definition->name);
    check_text(event, event->reason, reason);
}

/* ---- identity ------------------------------------------------------------------------------------------ */

SIMULATED(its_id_is_stable)
{
    struct fixture f;
    uint8_t expected[16];

    begin(&f);
    wvu_uuid_from_name(host_id, "Plain", expected);
    check(memcmp(f.plain->id, expected, 16) == 0);
    check(memcmp(f.plain->id, f.full->id, 16) != 0);
    check(f.plain->host == &f);
    end(&f);
}

SIMULATED(init_survives_any_failed_service)
{
    struct fixture f;
    struct wvu_probe probe;
    wvu_status status;
    uint64_t nth = 0;

    begin(&f);
    do {
        wvu_sim_fail_service(++nth);
        status = wvu_probe_init(&probe, &plain, f.sensor, NULL, host_id);
        wvu_sim_fail_service(0);
    } while (status != WVU_STATUS_OK);
    check_equal(nth, 3);
    wvu_probe_destroy(&probe);
    end(&f);
}

/* ---- start and stop ------------------------------------------------------------------------------------- */

SIMULATED(events_count_only_between_start_and_stop)
{
    struct fixture f;
    struct taken_events taken;

    begin(&f);
    check(!report(f.plain));
    asked.event_in_start = true;
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK);
    check_equal(f.reason[0], '\0');
    check(report(f.plain));
    wvu_probe_stop(f.plain, "enough");
    check(!report(f.plain));
    taken = take(&f);
    check_equal(taken.info.records, 5);
    check_equal(((const struct wvu_record *)taken_at(&taken, 0))->type, WVU_EVENT_ProcessDestroy);
    check_change(&taken, 1, f.plain, WVU_PROBE_RUNNING, WVU_STATUS_OK, "");
    check_equal(((const struct wvu_record *)taken_at(&taken, 2))->type, WVU_EVENT_ProcessDestroy);
    check_equal(((const struct wvu_record *)taken_at(&taken, 3))->type, WVU_EVENT_ProcessDestroy);
    check_change(&taken, 4, f.plain, WVU_PROBE_STOPPED, WVU_STATUS_OK, "enough");
    free_events(&taken);
    end(&f);
}

SIMULATED(starting_and_stopping_twice_changes_nothing)
{
    struct fixture f;
    struct taken_events taken;

    begin(&f);
    wvu_probe_stop(f.plain, "it does not run");
    check_equal(asked.stops, 0);
    for (int i = 0; i < 2; i++)
        check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK);
    check_equal(asked.starts, 1);
    for (int i = 0; i < 2; i++)
        wvu_probe_stop(f.plain, "");
    check_equal(asked.stops, 1);
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK); /* and it can start again */
    check(report(f.plain));
    taken = take(&f);
    check_equal(taken.info.records, 5); /* three changes, two events */
    free_events(&taken);
    end(&f);
}

SIMULATED(a_failed_start_is_told_and_can_be_repeated)
{
    struct fixture f;
    struct taken_events taken;

    begin(&f);
    asked.start_status = WVU_STATUS_PRIVILEGE_NOT_HELD;
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_PRIVILEGE_NOT_HELD);
    check(strcmp(f.reason, "no tracepoint") == 0);
    check_equal(state_of(f.plain).condition, WVU_PROBE_FAILED);
    check_equal(state_of(f.plain).status, WVU_STATUS_PRIVILEGE_NOT_HELD);
    check(strcmp(state_of(f.plain).reason, "no tracepoint") == 0);
    check(!report(f.plain));
    wvu_probe_stop(f.plain, "it does not run");
    check_equal(asked.stops, 0);
    asked.start_status = WVU_STATUS_OK;
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK);
    check_equal(state_of(f.plain).condition, WVU_PROBE_RUNNING);
    check_equal(state_of(f.plain).status, WVU_STATUS_OK);
    check_equal(state_of(f.plain).reason[0], '\0');
    check(report(f.plain));
    taken = take(&f);
    check_equal(taken.info.records, 3);
    check_change(&taken, 0, f.plain, WVU_PROBE_FAILED, WVU_STATUS_PRIVILEGE_NOT_HELD,
                 "no tracepoint");
    check_change(&taken, 1, f.plain, WVU_PROBE_RUNNING, WVU_STATUS_OK, "");
    free_events(&taken);
    end(&f);
}

struct callback {
    struct wvu_probe *probe;
    bool inside;
    bool left;
};

static void stay_inside(void *context)
{
    struct callback *callback = context;

    check(wvu_probe_enter(callback->probe));
    callback->inside = true;
    wvu_sim_stall(5 * WVU_SIM_MS);
    callback->left = true;
    wvu_probe_leave(callback->probe);
}

SIMULATED(stop_waits_for_callbacks_that_are_inside)
{
    struct fixture f;
    struct callback callback;
    wvu_thread thread;

    begin(&f);
    callback = (struct callback){.probe = f.plain};
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK);
    check_equal(wvu_thread_start(&thread, "callback", stay_inside, &callback), WVU_STATUS_OK);
    while (!callback.inside)
        wvu_sim_sleep(1000);
    wvu_probe_stop(f.plain, "");
    check(callback.left);
    wvu_thread_join(&thread);
    end(&f);
}

/* ---- events ------------------------------------------------------------------------------------------------- */

SIMULATED(a_reserved_record_has_its_header)
{
    struct fixture f;
    struct wvu_record_plan plan;
    const struct wvu_stamp stamp = {.time = 133, .uptime = 77};
    struct wvu_process_destroy *event;
    int64_t now;

    begin(&f);
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK);
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, sizeof *event, NULL, 0);
    event = wvu_probe_reserve(f.plain, &plan, &stamp);
    check_equal(event->record.time, 133);
    check_equal(event->record.uptime, 77);
    check_equal(event->record.fixed_size, sizeof *event);
    check_equal(event->record.type, WVU_EVENT_ProcessDestroy);
    check_equal(event->record.sequence, 2);
    check_equal(event->record.present | event->record.process_id | event->record.process_key, 0);
    check(memcmp(event->record.sensor_id, f.plain->id, 16) == 0);
    check_equal(event->eprocess | event->exit_code | event->signal | event->core_dumped, 0);
    wvu_probe_commit(f.plain, &event->record);
    now = wvu_os_system_time();
    event = wvu_probe_reserve(f.plain, &plan, NULL);
    check(event->record.time >= now && event->record.time <= wvu_os_system_time());
    check(event->record.uptime != 0);
    wvu_probe_commit(f.plain, &event->record);
    end(&f);
}

SIMULATED(no_room_gives_no_record_and_is_counted)
{
    struct fixture f;
    struct wvu_record_plan plan;
    struct wvu_record *stuck;
    struct wvu_record *record;
    struct wvu_queue_counters counters;

    begin(&f);
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK);
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, sizeof(struct wvu_process_destroy), NULL, 0);
    stuck = wvu_probe_reserve(f.plain, &plan, NULL);
    do {
        static const uint8_t text[60000];
        const struct wvu_text_source source = {.member =
                                                   offsetof(struct wvu_image_load, full_image_name),
                                               .unit = 1,
                                               .size = sizeof text,
                                               .head = sizeof text,
                                               .full_size = sizeof text,
                                               .bytes = text};

        wvu_record_plan(&plan, WVU_EVENT_ImageLoad, sizeof(struct wvu_image_load), &source, 1);
        record = wvu_probe_reserve(f.plain, &plan, NULL);
        if (record != NULL)
            wvu_probe_commit(f.plain, record);
    } while (record != NULL);
    wvu_probe_count_loss(f.plain, WVU_LOSS_KERNEL_RING, WVU_EVENT_ImageLoad, 6);
    wvu_queue_read_counters(wvu_sensor_queue(f.sensor), &counters);
    check_equal(counters.unnumbered, 7);
    wvu_probe_commit(f.plain, stuck);
    end(&f);
}

SIMULATED(its_state_counts_events)
{
    struct fixture f;

    begin(&f);
    check_equal(state_of(f.plain).condition, WVU_PROBE_STOPPED);
    check_equal(state_of(f.plain).last_run, 0);
    check_equal(state_of(f.plain).attributes, plain.attributes);
    check_equal(state_of(f.plain).interval_ns, 0);
    check_equal(wvu_probe_start(f.plain, f.reason), WVU_STATUS_OK);
    for (int i = 0; i < 7; i++)
        check(report(f.plain));
    check_equal(state_of(f.plain).operations, 7);
    check(state_of(f.plain).last_run != 0 && state_of(f.plain).last_run <= wvu_os_system_time());
    check_equal(state_of(f.full).operations, 1000); /* what the probe itself adds */
    check_equal(state_of(f.full).interval_ns, 10 * WVU_SIM_MS);
    end(&f);
}

SIMULATED(one_call_in_sixteen_is_timed)
{
    struct wvu_sensor_counters counters;
    struct fixture f;
    uint32_t timed = 0, calls = 0;

    begin(&f);
    check_equal(wvu_probe_start(f.full, f.reason), WVU_STATUS_OK);
    for (uint32_t i = 0; i < 160; i++) { /* also when what it sees is not wanted */
        uint64_t begun = wvu_probe_time_begin(f.full);

        timed += begun != 0;
        check(!wvu_probe_wants(f.full, WVU_EVENT_ThreadCreate, WVU_WANTED_ALL));
        wvu_probe_time_end(f.full, begun);
    }
    check_equal(timed, 160 / WVU_PROBE_TIME_SAMPLE);
    wvu_sensor_read_counters(f.sensor, &counters);
    for (uint32_t i = 0; i < 32; i++)
        calls += (uint32_t)counters.calls[i];
    check_equal(calls, timed);
    check_equal(counters.filtered[wvu_event_index(WVU_EVENT_ThreadCreate)], 160);
    wvu_sensor_time_call(f.sensor, 0);
    wvu_sensor_time_call(f.sensor, 1);
    wvu_sensor_time_call(f.sensor, UINT64_C(1) << 31);
    wvu_sensor_time_call(f.sensor, UINT64_MAX);
    uint64_t first = counters.calls[0];
    wvu_sensor_read_counters(f.sensor, &counters);
    check_equal(counters.calls[0] - first, 2);
    check_equal(counters.calls[31], 2);
    end(&f);
}

/* ---- requests ------------------------------------------------------------------------------------------- */

SIMULATED(what_a_probe_does_not_do_is_not_supported)
{
    static const struct wvu_mitigation block = {.action = WVU_MITIGATION_TERMINATE};
    struct fixture f;

    begin(&f);
    check_equal(wvu_probe_configure(f.plain, "a=1", 3, f.reason), WVU_STATUS_INVALID_PARAMETER);
    check(f.reason[0] != '\0');
    f.reason[0] = '\0';
    check_equal(wvu_probe_mitigate(f.plain, &block, f.reason), WVU_STATUS_NOT_SUPPORTED);
    check(f.reason[0] != '\0');
    check_equal(wvu_probe_poll(f.plain, wvu_os_uptime()), WVU_TIMEOUT_NONE);
    end(&f);
}

SIMULATED(what_a_probe_is_asked_to_do_reaches_it)
{
    static const struct wvu_mitigation end_it = {.action = WVU_MITIGATION_TERMINATE,
                                                 .process_id = 42};
    static const struct wvu_mitigation fly = {.action = 77};
    struct fixture f;

    begin(&f);
    memset(f.reason, '#', sizeof f.reason);
    check_equal(wvu_probe_mitigate(f.full, &end_it, f.reason), WVU_STATUS_OK);
    check_equal(asked.target, 42);
    check_equal(f.reason[0], '\0');
    check_equal(wvu_probe_mitigate(f.full, &fly, f.reason), WVU_STATUS_INVALID_PARAMETER);
    check(strcmp(f.reason, "no action 77") == 0);
    end(&f);
}

static void expect_refusal(struct fixture *f, const char *text, const char *reason)
{
    char before[256], after[256];
    wvu_probe_describe(f->full, before, sizeof before);
    check_equal(wvu_probe_configure(f->full, text, strlen(text), f->reason),
                WVU_STATUS_INVALID_PARAMETER);
    if (strcmp(f->reason, reason) != 0)
        wvu_sim_fail("'%s' is refused with: %s", text, f->reason);
    wvu_probe_describe(f->full, after, sizeof after);
    check(strcmp(before, after) == 0);
}

SIMULATED(a_configuration_is_taken_as_a_whole_or_not_at_all)
{
    struct fixture f;
    char text[256];

    begin(&f);
    wvu_probe_describe(f.full, text, sizeof text);
    check(strcmp(text, "repeat-interval=0\ndepth=7\ndeep=off\nImageLoad=on\nThreadCreate=off") ==
          0);
    expect_refusal(&f, "", "nothing is set: give key=value");
    expect_refusal(&f, "depth", "'depth' is not of the form key=value");
    expect_refusal(&f, "depth=3 height=3", "'height' is not a setting of this probe");
    expect_refusal(&f, "depth=1", "'depth' must be 2 to 30");
    expect_refusal(&f, "depth=99999999999999999999", "'depth' must be 2 to 30");
    expect_refusal(&f, "deep=maybe", "'deep' must be on or off");
    expect_refusal(&f, "depth=3 depth=4", "'depth' is given twice");
    expect_refusal(&f, "ImageLoad=off imageload=on", "'imageload' is given twice");
    expect_refusal(&f, "repeat-interval=0", "'repeat-interval' must be 1 to 86400");
    check_equal(asked.configured, 0);

    check(wvu_probe_kind_is_on(f.full, WVU_EVENT_ImageLoad));
    check(!wvu_probe_wants(f.full, WVU_EVENT_ThreadCreate, WVU_WANTED_ALL));
    check_equal(wvu_probe_start(f.full, f.reason), WVU_STATUS_OK);
    const char *all = "DEPTH=0x1E\r\ndeep=on threadcreate=on ImageLoad=0\trepeat-interval=86400\n";
    check_equal(wvu_probe_check(f.full, all, strlen(all), f.reason), WVU_STATUS_OK);
    check_equal(asked.configured, 0);
    check_equal(wvu_probe_configure(f.full, all, strlen(all), f.reason), WVU_STATUS_OK);
    check_equal(asked.configured, 1);
    wvu_probe_describe(f.full, text, sizeof text);
    check(strcmp(text,
                 "repeat-interval=86400\ndepth=30\ndeep=on\nImageLoad=off\nThreadCreate=on") == 0);
    check_equal(wvu_probe_setting(f.full, 0), 30);
    check(wvu_probe_wants(f.full, WVU_EVENT_ThreadCreate, WVU_WANTED_ALL));
    check(!wvu_probe_wants(f.full, WVU_EVENT_ThreadCreate, 0));
    check(!wvu_probe_wants(f.full, WVU_EVENT_ImageLoad, WVU_WANTED_ALL));
    struct wvu_probe_state state;
    wvu_probe_read_state(f.full, &state);
    check_equal(state.filtered, 3);
    end(&f);
}

/* ---- temporal probes ------------------------------------------------------------------------------------- */

SIMULATED(it_runs_when_it_is_due)
{
    struct fixture f;
    uint64_t due;

    begin(&f);
    check_equal(wvu_probe_poll(f.full, wvu_os_uptime()), WVU_TIMEOUT_NONE); /* it does not run */
    check_equal(asked.polls, 0);
    check_equal(wvu_probe_start(f.full, f.reason), WVU_STATUS_OK);
    due = wvu_probe_poll(f.full, wvu_os_uptime());
    check(due > wvu_os_uptime() && due <= wvu_os_uptime() + 10 * WVU_SIM_MS);
    check_equal(asked.polls, 1);
    check_equal(asked.runs, 0);
    check_equal(wvu_probe_poll(f.full, due - 1), due);
    check_equal(asked.runs, 0);
    wvu_sim_sleep(due - wvu_os_uptime());
    check(wvu_probe_poll(f.full, wvu_os_uptime()) >= due + 10 * WVU_SIM_MS);
    check_equal(asked.runs, 1);
    check_equal(asked.polls, 3);
    check_equal(state_of(f.full).operations, 1001);
    check(state_of(f.full).last_run != 0);
    wvu_probe_stop(f.full, "");
    check_equal(wvu_probe_poll(f.full, wvu_os_uptime() + WVU_SIM_S), WVU_TIMEOUT_NONE);
    check_equal(asked.runs, 1);
    end(&f);
}

SIMULATED(a_long_or_failed_run_does_not_disturb_the_next)
{
    struct fixture f;
    uint64_t due;

    begin(&f);
    check_equal(wvu_probe_start(f.full, f.reason), WVU_STATUS_OK);
    asked.run_takes_ns = 25 * WVU_SIM_MS;
    asked.run_status = WVU_STATUS_IO_ERROR;
    wvu_sim_sleep(11 * WVU_SIM_MS);
    due = wvu_probe_poll(f.full, wvu_os_uptime());
    check_equal(asked.runs, 1);
    check(due > wvu_os_uptime() + 9 * WVU_SIM_MS); /* a whole interval from its end */
    check_equal(state_of(f.full).condition, WVU_PROBE_RUNNING);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_id_is_stable),
        cmocka_unit_test(init_survives_any_failed_service),
        cmocka_unit_test(events_count_only_between_start_and_stop),
        cmocka_unit_test(starting_and_stopping_twice_changes_nothing),
        cmocka_unit_test(a_failed_start_is_told_and_can_be_repeated),
        cmocka_unit_test(stop_waits_for_callbacks_that_are_inside),
        cmocka_unit_test(a_reserved_record_has_its_header),
        cmocka_unit_test(no_room_gives_no_record_and_is_counted),
        cmocka_unit_test(its_state_counts_events),
        cmocka_unit_test(one_call_in_sixteen_is_timed),
        cmocka_unit_test(what_a_probe_does_not_do_is_not_supported),
        cmocka_unit_test(a_configuration_is_taken_as_a_whole_or_not_at_all),
        cmocka_unit_test(what_a_probe_is_asked_to_do_reaches_it),
        cmocka_unit_test(a_configuration_is_taken_as_a_whole_or_not_at_all),
        cmocka_unit_test(it_runs_when_it_is_due),
        cmocka_unit_test(a_long_or_failed_run_does_not_disturb_the_next),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
