/*
 * command.c, answer.c, schema.c: what comes of a request, whatever it holds; and what the stream says of it.
 *
 * The sensor runs, with a dispatcher and no reader, so that the test takes the events itself. Requests lie at
 * the end of memory of just their size and responses in a buffer filled with a pattern, so that a byte read
 * or written beyond them is seen.
 */
#include "support/simulated.h"

#include <stdio.h>

#include "command.h"
#include "log.h"
#include "support/fake_port.h"
#include "support/take_events.h"
#include "uuid.h"
#include "winvirtue/version.h"

static const uint8_t host_id[16] = "this test's host";

#define PATTERN 0xEE

/* ---- the sensor's probes and host -------------------------------------------------------------- */

static struct {
    wvu_status start_status; /* of Xeno */
    struct wvu_mitigation kill;
    wvu_status kill_status;
    uint32_t shutdowns;
    uint32_t filter_changes;
    bool refuse_protection;
    const char *counters;
    struct wvu_requester stopper;
} asked;

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    if (probe->definition->name[0] != 'X' || asked.start_status == WVU_STATUS_OK)
        return WVU_STATUS_OK;
    snprintf(reason, 256, "no such tracepoint");
    return asked.start_status;
}

static void stop(struct wvu_probe *probe)
{
    (void)probe;
}

static wvu_status mitigate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                           char *reason)
{
    (void)probe;
    asked.kill = *mitigation;
    if (asked.kill_status != WVU_STATUS_OK)
        snprintf(reason, 256, "it must live");
    return asked.kill_status;
}

#define AT_START (WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC)
static const uint16_t process_events[] = {WVU_EVENT_ProcessCreate, WVU_EVENT_ProcessDestroy, 0};
static const struct wvu_setting process_settings[] = {{"depth", 2, 30, 7}, {NULL, 0, 0, 0}};
static const struct wvu_setting tick_settings[] = {{"depth", 5, 10, 5}, {NULL, 0, 0, 0}};
static const struct wvu_probe_definition process = {.name = "ProcessCreate",
                                                    .attributes = AT_START,
                                                    .events = process_events,
                                                    .settings = process_settings,
                                                    .start = start,
                                                    .stop = stop,
                                                    .mitigate = mitigate};
static const struct wvu_probe_definition xeno = {.name = "Xeno",
                                                 .attributes =
                                                     WVU_PROBE_REAL_TIME | WVU_PROBE_DYNAMIC,
                                                 .start = start,
                                                 .stop = stop};
static const struct wvu_probe_definition tick = {.name = "Tick",
                                                 .attributes =
                                                     WVU_PROBE_TEMPORAL | WVU_PROBE_DYNAMIC,
                                                 .interval_ns = 30 * WVU_SIM_S,
                                                 .settings = tick_settings,
                                                 .start = start,
                                                 .stop = stop};
static const struct wvu_probe_definition fixed = {.name = "Fixed",
                                                  .attributes = WVU_PROBE_REAL_TIME |
                                                                WVU_PROBE_ENABLED_AT_START,
                                                  .start = start,
                                                  .stop = stop};
static const struct wvu_probe_definition *const three[] = {&process, &xeno, &tick, NULL};
static const struct wvu_probe_definition *const with_fixed[] = {&fixed, &process, NULL};
static const struct wvu_probe_definition xylo = {.name = "Xylo",
                                                 .attributes =
                                                     WVU_PROBE_REAL_TIME | WVU_PROBE_DYNAMIC,
                                                 .start = start,
                                                 .stop = stop};
static const struct wvu_probe_definition *const failing[] = {&xeno, &xylo, &process, NULL};
static const struct wvu_probe_definition *const none[] = {NULL};

static wvu_status shut_down(void *context, const struct wvu_requester *requester, char *reason)
{
    (void)context;
    (void)reason;
    asked.shutdowns++;
    asked.stopper = *requester;
    return WVU_STATUS_OK;
}

static wvu_status protect(void *context, bool on, char *reason)
{
    (void)context;
    (void)on;
    if (!asked.refuse_protection)
        return WVU_STATUS_OK;
    snprintf(reason, 256, "the host cannot");
    return WVU_STATUS_NO_RESOURCES;
}

static void filter_changed(void *context)
{
    (void)context;
    asked.filter_changes++;
}

static size_t counters(void *context, char *text, size_t size)
{
    size_t length = strlen(asked.counters);

    (void)context;
    length = length < size ? length : size;
    memcpy(text, asked.counters, length);
    return length;
}

static const struct wvu_sensor_host host = {.shutdown = shut_down,
                                            .protect = protect,
                                            .filter_changed = filter_changed,
                                            .counters = counters,
                                            .process_id = 77};

/* ---- asking --------------------------------------------------------------------------------------- */

struct fixture {
    struct fake_port port;
    struct wvu_sensor *sensor;
    struct wvu_requester requester;
    uint32_t capacity;
    uint32_t size; /* of the newest response */
    uint64_t room[(WVU_RESPONSE_MAX + 64) / 8];
    struct taken_events taken;
};

static void create(struct fixture *f, const struct wvu_probe_definition *const *probes,
                   const struct wvu_sensor_host *operations)
{
    const struct wvu_sensor_settings settings = {.host_kind = WVU_HOST_SIMULATED,
                                                 .host_id = host_id,
                                                 .host_name = "tester",
                                                 .system_version = "9.9",
                                                 .configuration = "a=1\nb=2\n",
                                                 .queue_records = 64,
                                                 .queue_bytes = WVU_QUEUE_BYTES_MIN,
                                                 .send_timeout_ms = 1000,
                                                 .port = &f->port.port,
                                                 .operations = operations,
                                                 .probes = probes};

    memset(f, 0, sizeof *f);
    memset(&asked, 0, sizeof asked);
    asked.start_status = WVU_STATUS_NOT_SUPPORTED;
    asked.counters = "";
    fake_port_init(&f->port);
    f->capacity = WVU_RESPONSE_MAX;
    f->requester = (struct wvu_requester){.process_id = 4242,
                                          .process_key = 0x1234567890,
                                          .has_user = true,
                                          .user_id = 1000,
                                          .image = "/usr/bin/wvuctl"};
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_INFO);
    check_equal(wvu_sensor_create(&settings, &f->sensor), WVU_STATUS_OK);
}

/* Forgets the events so far and takes those since then. */
static void take(struct fixture *f)
{
    free_events(&f->taken);
    f->taken = take_events(wvu_sensor_queue(f->sensor));
}

static void begin(struct fixture *f, const struct wvu_probe_definition *const *probes)
{
    create(f, probes, &host);
    check_equal(wvu_sensor_start(f->sensor), WVU_STATUS_OK);
    take(f);
}

static void end(struct fixture *f)
{
    free_events(&f->taken);
    wvu_sensor_stop(f->sensor, "");
    wvu_sensor_destroy(f->sensor);
    fake_port_destroy(&f->port);
}

/* Asks with these bytes and looks at the shape of the response. */
static const struct wvu_response *ask_raw(struct fixture *f, const void *bytes, uint32_t size)
{
    const struct wvu_response *response = (const void *)f->room;
    const uint8_t *behind = (const uint8_t *)f->room;
    uint8_t *request = malloc(size + (size == 0));

    check(request != NULL);
    if (size != 0)
        memcpy(request, bytes, size);
    memset(f->room, PATTERN, sizeof f->room);
    f->size = wvu_command_answer(f->sensor, &f->requester, request, size, f->room, f->capacity);
    free(request);
    check(f->size >= sizeof *response && f->size <= f->capacity);
    check_equal(response->version, WVU_PROTOCOL_VERSION);
    check_equal(response->size, sizeof *response);
    check_equal(response->data_size, f->size - sizeof *response);
    for (size_t i = f->capacity; i < sizeof f->room; i++)
        check_equal(behind[i], PATTERN);
    return response;
}

static const struct wvu_response *ask_for(struct fixture *f, uint32_t command, const uint8_t *id,
                                          const void *data, uint32_t size)
{
    struct wvu_request header = {.version = WVU_PROTOCOL_VERSION,
                                 .size = sizeof header,
                                 .command = command,
                                 .data_size = size};
    uint8_t *request = malloc(sizeof header + size);
    const struct wvu_response *response;

    check(request != NULL);
    if (id != NULL)
        memcpy(header.probe_id, id, 16);
    memcpy(request, &header, sizeof header);
    if (size != 0)
        memcpy(request + sizeof header, data, size);
    response = ask_raw(f, request, (uint32_t)sizeof header + size);
    free(request);
    check_equal(response->command, command);
    return response;
}

static const struct wvu_response *ask(struct fixture *f, uint32_t command)
{
    return ask_for(f, command, NULL, NULL, 0);
}

static const struct wvu_response *ask_text(struct fixture *f, uint32_t command, const char *text)
{
    return ask_for(f, command, NULL, text, (uint32_t)strlen(text));
}

static const uint8_t *id_of(struct fixture *f, const char *name)
{
    struct wvu_probe *probe = wvu_sensor_find_probe(f->sensor, name);

    check(probe != NULL);
    return probe->id;
}

static const char *data_of(const struct wvu_response *response)
{
    return (const char *)(response + 1);
}

/* The response has this status, and (when it is not OK) says just this. */
static void check_answer(const struct wvu_response *response, wvu_status status, const char *text,
                         const char *file, int line)
{
    wvu_sim_check(response->status == status, "%s:%d: %s (%.*s), not %s", file, line,
                  wvu_status_name(response->status), (int)response->data_size, data_of(response),
                  wvu_status_name(status));
    wvu_sim_check(response->data_size == strlen(text) &&
                      memcmp(data_of(response), text, response->data_size) == 0,
                  "%s:%d: '%.*s', not '%s'", file, line, (int)response->data_size,
                  data_of(response), text);
}
#define expect(response, status, text)                                                             \
    check_answer((response), (status), (text), __FILE__, __LINE__)

/* The events since the last look are `count`, and this one is a CommandExecuted that says just this. */
static void check_told(struct fixture *f, uint32_t index, uint32_t command, wvu_status status,
                       const char *target, const char *detail)
{
    const struct wvu_command_executed *event = taken_at(&f->taken, index);
    uint64_t present = WVU_PRESENT(wvu_command_executed, Command) |
                       WVU_PRESENT(wvu_command_executed, Status) |
                       WVU_PRESENT(wvu_command_executed, UserId) |
                       WVU_PRESENT(wvu_command_executed, ImageFileName);

    if (target[0] != '\0')
        present |= WVU_PRESENT(wvu_command_executed, Target);
    if (detail[0] != '\0')
        present |= WVU_PRESENT(wvu_command_executed, Detail);
    check_equal(event->record.type, WVU_EVENT_CommandExecuted);
    check_equal(event->record.process_id, 4242);
    check_equal(event->record.process_key, 0x1234567890);
    check_equal(event->record.present, present);
    check_equal(event->command, command);
    check_equal((uint32_t)event->status, (uint32_t)status);
    check_equal(event->user_id, 1000);
    check_equal(event->user_sid.size, 0);
    check_text(event, event->image_file_name, "/usr/bin/wvuctl");
    check_text(event, event->target, target);
    check_text(event, event->detail, detail);
    check(memcmp(event->record.sensor_id, wvu_sensor_id(f->sensor), 16) == 0);
}

static void expect_told(struct fixture *f, uint32_t command, wvu_status status, const char *target,
                        const char *detail)
{
    take(f);
    check_equal(f->taken.info.records, 1);
    check_told(f, 0, command, status, target, detail);
}

static void expect_nothing_told(struct fixture *f)
{
    take(f);
    check_equal(f->taken.info.records, 0);
}

static uint32_t type_at(struct fixture *f, uint32_t index)
{
    return ((const struct wvu_record *)taken_at(&f->taken, index))->type;
}

/* ---- requests --------------------------------------------------------------------------------------- */

SIMULATED(an_echo_is_what_was_sent)
{
    static char data[WVU_REQUEST_MAX - sizeof(struct wvu_request)];
    struct fixture f;
    const uint32_t sizes[] = {0, 1, 7, 4096, sizeof data};

    begin(&f, none);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct wvu_response *response = ask_for(&f, WVU_COMMAND_ECHO, NULL, data, sizes[i]);

        check_equal(response->status, WVU_STATUS_OK);
        check_equal(response->data_size, sizes[i]);
        check(memcmp(data_of(response), data, sizes[i]) == 0);
    }
    expect_nothing_told(&f);
    end(&f);
}

SIMULATED(a_longer_header_is_passed_over)
{
    struct fixture f;
    struct {
        struct wvu_request header;
        char later[12];
        char data[4];
    } request = {.header = {.version = 1,
                            .size = sizeof request.header + sizeof request.later,
                            .data_size = 4},
                 .data = "abcd"};

    begin(&f, none);
    expect(ask_raw(&f, &request, sizeof request), WVU_STATUS_OK, "abcd");
    end(&f);
}

SIMULATED(what_is_no_request_is_answered_with_why)
{
    static uint8_t large[WVU_REQUEST_MAX + 1];
    const struct wvu_request good = {.version = 1, .size = sizeof good};
    struct wvu_request request;
    struct fixture f;

    begin(&f, none);
    memcpy(large, &good, sizeof good);
    expect(ask_raw(&f, NULL, 0), WVU_STATUS_BAD_MESSAGE,
           "the request has only 0 bytes; its header alone has 32");
    expect(ask_raw(&f, &good, 1), WVU_STATUS_BAD_MESSAGE,
           "the request has only 1 bytes; its header alone has 32");
    expect(ask_raw(&f, &good, sizeof good - 1), WVU_STATUS_BAD_MESSAGE,
           "the request has only 31 bytes; its header alone has 32");
    for (uint32_t i = 0; i < 2; i++) {
        request = good;
        request.version = i == 0 ? 0 : 2;
        expect(ask_raw(&f, &request, i == 0 ? 2 : sizeof good), WVU_STATUS_VERSION_MISMATCH,
               i == 0 ? "the request has version 0, this sensor understands 1 only"
                      : "the request has version 2, this sensor understands 1 only");
    }
    request = good;
    request.size = sizeof good - 1;
    expect(ask_raw(&f, &request, sizeof good), WVU_STATUS_BAD_MESSAGE,
           "the request says that its header has 31 bytes, which cannot be");
    request.size = sizeof good + 1;
    expect(ask_raw(&f, &request, sizeof good), WVU_STATUS_BAD_MESSAGE,
           "the request says that its header has 33 bytes, which cannot be");
    request.size = UINT16_MAX;
    request.data_size = 1 - (UINT16_MAX - (uint32_t)sizeof good); /* a sum that wraps */
    expect(ask_raw(&f, &request, sizeof good + 1), WVU_STATUS_BAD_MESSAGE,
           "the request says that its header has 65535 bytes, which cannot be");
    request = good;
    request.data_size = 1;
    expect(ask_raw(&f, &request, sizeof good), WVU_STATUS_BAD_MESSAGE,
           "the request has another number of bytes of data than the 1 that it names");
    request.data_size = UINT32_MAX;
    expect(ask_raw(&f, &request, sizeof good), WVU_STATUS_BAD_MESSAGE,
           "the request has another number of bytes of data than the 4294967295 that it names");
    expect(ask_raw(&f, large, sizeof good + 1), WVU_STATUS_BAD_MESSAGE,
           "the request has another number of bytes of data than the 0 that it names");
    request = good;
    request.reserved = 1;
    expect(ask_raw(&f, &request, sizeof good), WVU_STATUS_BAD_MESSAGE,
           "the request's reserved field is not 0");
    request = good;
    request.data_size = sizeof large - sizeof request;
    memcpy(large, &request, sizeof request);
    expect(ask_raw(&f, large, sizeof large), WVU_STATUS_BAD_MESSAGE,
           "the request has 65537 bytes; 65536 are the most");
    expect_nothing_told(&f);
    end(&f);
}

SIMULATED(a_lying_request_for_a_change_is_told)
{
    const struct wvu_request request = {.version = 1,
                                        .size = sizeof request,
                                        .command = WVU_COMMAND_DISABLE_UNLOAD,
                                        .data_size = 5};
    struct fixture f;

    begin(&f, none);
    check_equal(ask_raw(&f, &request, sizeof request)->command, WVU_COMMAND_DISABLE_UNLOAD);
    expect_told(&f, WVU_COMMAND_DISABLE_UNLOAD, WVU_STATUS_BAD_MESSAGE, "",
                "the request has another number of bytes of data than the 5 that it names");
    check(!wvu_sensor_is_protected(f.sensor));
    end(&f);
}

SIMULATED(unknown_commands_are_not_supported)
{
    struct fixture f;
    char text[64];
    uint32_t known = 0;

    begin(&f, three);
    for (uint32_t i = 0; i < 40; i++) {
        const struct wvu_response *response;

        if (i == WVU_COMMAND_SHUTDOWN) /* not while the others are to be asked */
            continue;
        response = ask(&f, i);
        snprintf(text, sizeof text, "there is no command %u", i);
        if (response->status == WVU_STATUS_NOT_SUPPORTED && response->data_size == strlen(text))
            expect(response, WVU_STATUS_NOT_SUPPORTED, text);
        else
            known |= i < 32 ? 1u << i : 0;
    }
    check_equal(known, 0x6F00FF); /* 0 to 7, 16 to 22 without 20 */
    expect(ask(&f, UINT32_MAX), WVU_STATUS_NOT_SUPPORTED, "there is no command 4294967295");
    end(&f);
}

SIMULATED(a_probe_id_is_that_of_a_probe)
{
    const uint8_t strange[16] = {0xde, 0xad, 0xbe, 0xef};
    const char *reason =
        "this sensor has no probe with the id deadbeef-0000-0000-0000-000000000000";
    struct fixture f;

    begin(&f, three);
    expect(ask_for(&f, WVU_COMMAND_ENABLE_PROBE, strange, NULL, 0), WVU_STATUS_NOT_FOUND, reason);
    expect_told(&f, WVU_COMMAND_ENABLE_PROBE, WVU_STATUS_NOT_FOUND,
                "deadbeef-0000-0000-0000-000000000000", reason);
    for (uint32_t i = 0; i <= WVU_COMMAND_GET_FILTER; i++) {
        bool for_probe = i == WVU_COMMAND_ENABLE_PROBE || i == WVU_COMMAND_DISABLE_PROBE ||
                         i == WVU_COMMAND_CONFIGURE_PROBE;
        if (for_probe || (i > WVU_COMMAND_ONE_SHOT_KILL && i < WVU_COMMAND_GET_STATISTICS))
            continue;
        expect(ask_for(&f, i, id_of(&f, "Tick"), NULL, 0), WVU_STATUS_INVALID_PARAMETER,
               "this command is for no probe: the probe id must be zero");
    }
    check_equal(asked.shutdowns, 0);
    end(&f);
}

SIMULATED(data_is_for_commands_that_take_it)
{
    struct fixture f;
    const uint32_t texts[] = {WVU_COMMAND_CONFIGURE_PROBE, WVU_COMMAND_ONE_SHOT_KILL,
                              WVU_COMMAND_SET_LOG, WVU_COMMAND_SET_FILTER};
    const uint32_t without[] = {WVU_COMMAND_ENABLE_PROBE,     WVU_COMMAND_DISABLE_PROBE,
                                WVU_COMMAND_ENABLE_UNLOAD,    WVU_COMMAND_DISABLE_UNLOAD,
                                WVU_COMMAND_ENUMERATE_PROBES, WVU_COMMAND_GET_STATISTICS,
                                WVU_COMMAND_GET_SCHEMA,       WVU_COMMAND_SHUTDOWN,
                                WVU_COMMAND_GET_STATUS,       WVU_COMMAND_GET_FILTER};

    begin(&f, three);
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        expect(ask_text(&f, without[i], "x"), WVU_STATUS_INVALID_PARAMETER,
               "this command takes no data");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect(ask_for(&f, texts[i], NULL, "depth=5\0", 8), WVU_STATUS_INVALID_PARAMETER,
               "the text has a NUL in it (at byte 7); texts are not terminated");
    check_equal(asked.shutdowns, 0);
    end(&f);
}

/* ---- life --------------------------------------------------------------------------------------------- */

SIMULATED(commands_are_answered_between_start_and_stop)
{
    struct fixture f;
    struct wvu_sensor_counters counted;

    create(&f, three, &host);
    for (uint32_t i = 0; i <= WVU_COMMAND_GET_FILTER; i++) {
        if (i <= WVU_COMMAND_ONE_SHOT_KILL || i >= WVU_COMMAND_GET_STATISTICS)
            expect(ask(&f, i), WVU_STATUS_AGAIN, "the sensor is still starting; try again");
    }
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    take(&f);
    check_equal(type_at(&f, 0), WVU_EVENT_SensorStart);
    expect(ask(&f, WVU_COMMAND_ECHO), WVU_STATUS_OK, "");
    wvu_sensor_stop(f.sensor, "");
    take(&f);
    for (uint32_t i = 0; i <= WVU_COMMAND_GET_FILTER; i++) {
        if (i <= WVU_COMMAND_ONE_SHOT_KILL || i >= WVU_COMMAND_GET_STATISTICS)
            expect(ask(&f, i), WVU_STATUS_STOPPING, "the sensor is stopping");
    }
    expect_nothing_told(&f); /* SensorStop was the last event */
    check_equal(asked.shutdowns, 0);
    wvu_sensor_read_counters(f.sensor, &counted);
    check_equal(counted.commands, 15 + 1 + 15);
    check_equal(counted.commands_failed, 15 + 15);
    end(&f);
}

SIMULATED(a_sensor_that_could_not_start_says_that_it_stops)
{
    struct fixture f;

    create(&f, three, &host);
    wvu_sim_fail_service(1);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_NO_RESOURCES);
    wvu_sim_fail_service(0);
    expect(ask(&f, WVU_COMMAND_GET_STATUS), WVU_STATUS_STOPPING, "the sensor is stopping");
    end(&f);
}

/* ---- probes -------------------------------------------------------------------------------------------- */

SIMULATED(a_probe_is_disabled_and_enabled)
{
    struct fixture f;
    const struct wvu_probe_state_changed *change;

    begin(&f, three);
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t command = i == 0 ? WVU_COMMAND_DISABLE_PROBE : WVU_COMMAND_ENABLE_PROBE;

        expect(ask_for(&f, command, id_of(&f, "ProcessCreate"), NULL, 0), WVU_STATUS_OK, "");
        take(&f);
        check_equal(f.taken.info.records, 2);
        change = taken_at(&f.taken, 0);
        check_equal(change->record.type, WVU_EVENT_ProbeStateChanged);
        check_equal(change->state, i == 0 ? WVU_PROBE_STOPPED : WVU_PROBE_RUNNING);
        check_text(change, change->reason, i == 0 ? "a command disabled it" : "");
        check_told(&f, 1, command, WVU_STATUS_OK, "ProcessCreate", "");
        /* Once more changes nothing, and is told all the same. */
        expect(ask_for(&f, command, id_of(&f, "ProcessCreate"), NULL, 0), WVU_STATUS_OK, "");
        expect_told(&f, command, WVU_STATUS_OK, "ProcessCreate", "");
    }
    end(&f);
}

SIMULATED(all_probes_go_on_after_one_that_fails)
{
    const char *reason = "probe Xeno: no such tracepoint";
    struct fixture f;

    begin(&f, three);
    expect(ask(&f, WVU_COMMAND_DISABLE_PROBE), WVU_STATUS_OK, "");
    take(&f);
    check_equal(f.taken.info.records, 2); /* only ProcessCreate ran */
    check_told(&f, 1, WVU_COMMAND_DISABLE_PROBE, WVU_STATUS_OK, "all", "");
    expect(ask(&f, WVU_COMMAND_ENABLE_PROBE), WVU_STATUS_NOT_SUPPORTED, reason);
    take(&f);
    check_equal(f.taken.info.records, 4);
    check_equal(((const struct wvu_probe_state_changed *)taken_at(&f.taken, 1))->state,
                WVU_PROBE_FAILED);
    check_equal(((const struct wvu_probe_state_changed *)taken_at(&f.taken, 2))->state,
                WVU_PROBE_RUNNING);
    check_told(&f, 3, WVU_COMMAND_ENABLE_PROBE, WVU_STATUS_NOT_SUPPORTED, "all", reason);
    check_equal(wvu_sensor_find_probe(f.sensor, "Tick")->condition, WVU_PROBE_RUNNING);
    end(&f);
    begin(&f, failing);
    expect(ask(&f, WVU_COMMAND_ENABLE_PROBE), WVU_STATUS_NOT_SUPPORTED, reason); /* the first one */
    end(&f);
}

SIMULATED(what_must_run_stays_on)
{
    const char *reason = "probe Fixed: it cannot be enabled or disabled while the sensor runs";
    struct fixture f;

    begin(&f, with_fixed);
    expect(ask_for(&f, WVU_COMMAND_DISABLE_PROBE, id_of(&f, "Fixed"), NULL, 0),
           WVU_STATUS_NOT_SUPPORTED, reason);
    expect(ask(&f, WVU_COMMAND_DISABLE_PROBE), WVU_STATUS_NOT_SUPPORTED, reason);
    check_equal(wvu_sensor_find_probe(f.sensor, "Fixed")->condition, WVU_PROBE_RUNNING);
    check_equal(wvu_sensor_find_probe(f.sensor, "ProcessCreate")->condition, WVU_PROBE_STOPPED);
    expect(ask(&f, WVU_COMMAND_ENABLE_PROBE), WVU_STATUS_OK, ""); /* it runs already */
    check_equal(wvu_sensor_find_probe(f.sensor, "ProcessCreate")->condition, WVU_PROBE_RUNNING);
    end(&f);
}

static const struct wvu_probe_entry *entry_at(const struct wvu_response *response, uint32_t offset)
{
    const struct wvu_probe_entry *entry = (const void *)(data_of(response) + offset);

    check_equal(response->status, WVU_STATUS_OK);
    check(response->data_size - offset >= sizeof *entry);
    check(entry->size >= sizeof *entry && entry->size <= response->data_size - offset);
    check_equal(entry->size % 8, 0);
    check_equal(entry->fixed_size, sizeof *entry);
    return entry;
}

SIMULATED(probes_are_enumerated)
{
    struct fixture f;
    const struct wvu_response *response;
    const struct wvu_probe_entry *entry;
    uint8_t id[16];

    begin(&f, three);
    (void)ask_for(&f, WVU_COMMAND_ENABLE_PROBE, id_of(&f, "Xeno"), NULL, 0);
    response = ask(&f, WVU_COMMAND_ENUMERATE_PROBES);
    entry = entry_at(response, 0);
    wvu_uuid_from_name(host_id, "ProcessCreate", id);
    check(memcmp(entry->probe_id, id, 16) == 0);
    check_equal(entry->attributes, AT_START);
    check_equal(entry->condition, WVU_PROBE_RUNNING);
    check_equal(entry->status, WVU_STATUS_OK);
    check_equal(entry->operations | entry->filtered | entry->interval_ns, 0);
    check_text(entry, entry->name, "ProcessCreate");
    check_text(entry, entry->configuration, "depth=7\nProcessCreate=on\nProcessDestroy=on");
    check_text(entry, entry->reason, "");
    entry = entry_at(response, entry->size);
    check_equal(entry->condition, WVU_PROBE_FAILED);
    check_equal((uint32_t)entry->status, (uint32_t)WVU_STATUS_NOT_SUPPORTED);
    check_text(entry, entry->name, "Xeno");
    check_text(entry, entry->configuration, "");
    check_text(entry, entry->reason, "no such tracepoint");
    entry = entry_at(response, (uint32_t)((const char *)entry - data_of(response)) + entry->size);
    check_equal(entry->condition, WVU_PROBE_STOPPED);
    check_equal(entry->interval_ns, 30 * WVU_SIM_S);
    check_text(entry, entry->configuration, "repeat-interval=30\ndepth=5");
    check_equal((const char *)entry - data_of(response) + entry->size, response->data_size);
    end(&f);
}

static void check_depth(struct fixture *f, uint32_t process_depth, uint32_t tick_depth)
{
    check_equal(wvu_probe_setting(wvu_sensor_find_probe(f->sensor, "ProcessCreate"), 0),
                process_depth);
    check_equal(wvu_probe_setting(wvu_sensor_find_probe(f->sensor, "Tick"), 0), tick_depth);
}

static const struct wvu_probe_definition *const two[] = {&process, &tick, NULL};

SIMULATED(a_probe_is_configured)
{
    struct fixture f;
    const char *reason = "probe ProcessCreate: 'width' is not a setting of this probe";

    begin(&f, three);
    expect(ask_for(&f, WVU_COMMAND_CONFIGURE_PROBE, id_of(&f, "ProcessCreate"), "depth=9", 7),
           WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_CONFIGURE_PROBE, WVU_STATUS_OK, "ProcessCreate", "depth=9");
    check_depth(&f, 9, 5);
    expect(
        ask_for(&f, WVU_COMMAND_CONFIGURE_PROBE, id_of(&f, "ProcessCreate"), "depth=8 width=1", 15),
        WVU_STATUS_INVALID_PARAMETER, reason);
    expect_told(&f, WVU_COMMAND_CONFIGURE_PROBE, WVU_STATUS_INVALID_PARAMETER, "ProcessCreate",
                reason);
    check_depth(&f, 9, 5);
    end(&f);
}

SIMULATED(a_configuration_for_all_is_taken_by_all_or_none)
{
    struct fixture f;

    begin(&f, two);
    expect(ask_text(&f, WVU_COMMAND_CONFIGURE_PROBE, "depth=6"), WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_CONFIGURE_PROBE, WVU_STATUS_OK, "all", "depth=6");
    check_depth(&f, 6, 6);
    expect(ask_text(&f, WVU_COMMAND_CONFIGURE_PROBE, "depth=20"), WVU_STATUS_INVALID_PARAMETER,
           "probe Tick: 'depth' must be 5 to 10");
    check_depth(&f, 6, 6);
    end(&f);
}

SIMULATED(a_long_detail_is_cut_and_says_how_long_it_was)
{
    static char text[WVU_REQUEST_MAX - sizeof(struct wvu_request)];
    const struct wvu_command_executed *event;
    struct fixture f;

    begin(&f, two);
    memset(text, ' ', sizeof text);
    memcpy(text, "depth=7", 7);
    expect(ask_for(&f, WVU_COMMAND_CONFIGURE_PROBE, NULL, text, sizeof text), WVU_STATUS_OK, "");
    take(&f);
    check_equal(f.taken.info.records, 1);
    event = taken_at(&f.taken, 0);
    check_equal(event->record.flags, WVU_RECORD_CUT);
    check_equal(event->detail.size, 1024);
    check_equal(event->detail.head, 1024);
    check_equal(event->detail.full_size, sizeof text);
    check(memcmp((const char *)event + event->detail.offset, text, 1024) == 0);
    end(&f);
}

SIMULATED(what_is_quoted_is_fit_for_people)
{
    struct fixture f;
    const char *reason = "probe ProcessCreate: '?[31m?x?' is not of the form key=value";

    begin(&f, three);
    expect(ask_for(&f, WVU_COMMAND_CONFIGURE_PROBE, id_of(&f, "ProcessCreate"), "\x1b[31m\xffx\x01",
                   8),
           WVU_STATUS_INVALID_PARAMETER, reason);
    expect_told(&f, WVU_COMMAND_CONFIGURE_PROBE, WVU_STATUS_INVALID_PARAMETER, "ProcessCreate",
                reason);
    end(&f);
}

/* ---- mitigation ------------------------------------------------------------------------------------------ */

SIMULATED(a_kill_reaches_the_probe)
{
    struct fixture f;

    begin(&f, three);
    expect(ask_text(&f, WVU_COMMAND_ONE_SHOT_KILL, " 1234 \n"), WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_ONE_SHOT_KILL, WVU_STATUS_OK, "1234", "");
    check_equal(asked.kill.action, WVU_MITIGATION_TERMINATE);
    check_equal(asked.kill.process_id, 1234);
    check_equal(asked.kill.process_key, 0);
    check_equal(asked.kill.requester->process_id, 4242);
    expect(ask_text(&f, WVU_COMMAND_ONE_SHOT_KILL, "4294967295 KEY=0xffffffffffffffff"),
           WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_ONE_SHOT_KILL, WVU_STATUS_OK, "4294967295 key=0xffffffffffffffff",
                "");
    check_equal(asked.kill.process_id, UINT32_MAX);
    check_equal(asked.kill.process_key, UINT64_MAX);
    asked.kill_status = WVU_STATUS_ACCESS_DENIED;
    expect(ask_text(&f, WVU_COMMAND_ONE_SHOT_KILL, "1"), WVU_STATUS_ACCESS_DENIED, "it must live");
    expect_told(&f, WVU_COMMAND_ONE_SHOT_KILL, WVU_STATUS_ACCESS_DENIED, "1", "it must live");
    end(&f);
}

SIMULATED(a_kill_of_no_process_reaches_nobody)
{
    static const char *const wrong[] = {
        "",      " ",      "0",       "-1",      "x",       "4294967296",    "1x",   "1 2",
        "1 key", "1 key=", "1 key=x", "1 key=0", "1 pid=2", "1 key=1 key=1", "key=1"};
    struct fixture f;

    begin(&f, three);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_equal((uint32_t)ask_text(&f, WVU_COMMAND_ONE_SHOT_KILL, wrong[i])->status,
                    (uint32_t)WVU_STATUS_INVALID_PARAMETER);
    expect(ask_text(&f, WVU_COMMAND_ONE_SHOT_KILL, "1 2"), WVU_STATUS_INVALID_PARAMETER,
           "what follows the process id is no key: give a process id, and key=0x... if it must be "
           "one process and no other");
    check_equal(asked.kill.process_id, 0);
    end(&f);
    begin(&f, none);
    expect(ask_text(&f, WVU_COMMAND_ONE_SHOT_KILL, "1"), WVU_STATUS_NOT_SUPPORTED,
           "this sensor has no probe ProcessCreate");
    expect_told(&f, WVU_COMMAND_ONE_SHOT_KILL, WVU_STATUS_NOT_SUPPORTED, "1",
                "this sensor has no probe ProcessCreate");
    end(&f);
}

/* ---- protection -------------------------------------------------------------------------------------------- */

SIMULATED(a_protected_sensor_is_not_shut_down)
{
    const char *reason = "the sensor is protected; EnableUnload must come first";
    const struct wvu_stop_refused *refused;
    struct fixture f;

    begin(&f, none);
    expect(ask(&f, WVU_COMMAND_DISABLE_UNLOAD), WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_DISABLE_UNLOAD, WVU_STATUS_OK, "", "");
    check(wvu_sensor_is_protected(f.sensor));
    expect(ask(&f, WVU_COMMAND_SHUTDOWN), WVU_STATUS_INVALID_STATE, reason);
    check_equal(asked.shutdowns, 0);
    take(&f);
    check_equal(f.taken.info.records, 2);
    refused = taken_at(&f.taken, 0);
    check_equal(refused->record.type, WVU_EVENT_StopRefused);
    check_equal(refused->record.process_id, 4242);
    check_equal(refused->record.process_key, 0x1234567890);
    check_equal(refused->user_id, 1000);
    check_text(refused, refused->attempt, "Shutdown");
    check_text(refused, refused->image_file_name, "/usr/bin/wvuctl");
    check_equal(refused->record.present, 7);
    check_told(&f, 1, WVU_COMMAND_SHUTDOWN, WVU_STATUS_INVALID_STATE, "", reason);
    expect(ask(&f, WVU_COMMAND_ENABLE_UNLOAD), WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_ENABLE_UNLOAD, WVU_STATUS_OK, "", "");
    expect(ask(&f, WVU_COMMAND_SHUTDOWN), WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_SHUTDOWN, WVU_STATUS_OK, "", "");
    check_equal(asked.shutdowns, 1);
    check_equal(asked.stopper.process_id, 4242);
    end(&f);
}

SIMULATED(a_host_may_refuse_protection)
{
    struct fixture f;

    begin(&f, none);
    asked.refuse_protection = true;
    expect(ask(&f, WVU_COMMAND_DISABLE_UNLOAD), WVU_STATUS_NO_RESOURCES, "the host cannot");
    expect_told(&f, WVU_COMMAND_DISABLE_UNLOAD, WVU_STATUS_NO_RESOURCES, "", "the host cannot");
    check(!wvu_sensor_is_protected(f.sensor));
    end(&f);
}

SIMULATED(a_host_without_operations_can_be_asked)
{
    struct fixture f;
    const struct wvu_response *response;

    create(&f, three, NULL);
    check_equal(wvu_sensor_start(f.sensor), WVU_STATUS_OK);
    expect(ask(&f, WVU_COMMAND_SHUTDOWN), WVU_STATUS_NOT_SUPPORTED,
           "this sensor is not stopped by a command");
    expect(ask(&f, WVU_COMMAND_DISABLE_UNLOAD), WVU_STATUS_OK, "");
    expect(ask_text(&f, WVU_COMMAND_SET_FILTER, "default exclude"), WVU_STATUS_OK, "");
    response = ask(&f, WVU_COMMAND_GET_STATUS);
    check_equal(((const struct wvu_sensor_status *)(const void *)data_of(response))->process_id, 0);
    response = ask(&f, WVU_COMMAND_GET_STATISTICS);
    check_equal(
        ((const struct wvu_statistics *)(const void *)data_of(response))->host_counters.size, 0);
    end(&f);
}

/* Nothing is known of who asks. */
SIMULATED(a_requester_may_be_unknown)
{
    const struct wvu_command_executed *event;
    struct fixture f;

    begin(&f, none);
    f.requester = (struct wvu_requester){.user_sid = "S-1-5-18"};
    expect(ask(&f, WVU_COMMAND_DISABLE_UNLOAD), WVU_STATUS_OK, "");
    take(&f);
    event = taken_at(&f.taken, 0);
    check_equal(event->record.process_id | event->record.process_key, 0);
    check_equal(event->record.present, WVU_PRESENT(wvu_command_executed, Command) |
                                           WVU_PRESENT(wvu_command_executed, Status) |
                                           WVU_PRESENT(wvu_command_executed, UserSid));
    check_text(event, event->user_sid, "S-1-5-18");
    end(&f);
}

/* ---- filter and log ---------------------------------------------------------------------------------------- */

SIMULATED(a_filter_is_set_and_read_back)
{
    const char *rules = "# mine\nexclude image=/bin/true\ndefault include\n";
    struct fixture f;
    const struct wvu_sensor_status *status;

    begin(&f, none);
    expect(ask(&f, WVU_COMMAND_GET_FILTER), WVU_STATUS_OK, "");
    expect(ask_text(&f, WVU_COMMAND_SET_FILTER, rules), WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_SET_FILTER, WVU_STATUS_OK, "", rules);
    check_equal(asked.filter_changes, 1);
    expect(ask(&f, WVU_COMMAND_GET_FILTER), WVU_STATUS_OK, rules);
    check_equal((uint32_t)ask_text(&f, WVU_COMMAND_SET_FILTER, "exclude everything\n")->status,
                (uint32_t)WVU_STATUS_INVALID_PARAMETER);
    check_equal(asked.filter_changes, 1);
    expect(ask(&f, WVU_COMMAND_GET_FILTER), WVU_STATUS_OK, rules);
    status = (const void *)data_of(ask(&f, WVU_COMMAND_GET_STATUS));
    check(status->filter_rules >= 1);
    expect(ask(&f, WVU_COMMAND_SET_FILTER), WVU_STATUS_OK, ""); /* none */
    expect(ask(&f, WVU_COMMAND_GET_FILTER), WVU_STATUS_OK, "");
    check_equal(asked.filter_changes, 2);
    end(&f);
}

SIMULATED(log_levels_are_set)
{
    struct fixture f;
    char text[256];

    begin(&f, none);
    expect(ask_text(&f, WVU_COMMAND_SET_LOG, "queue=trace"), WVU_STATUS_OK, "");
    expect_told(&f, WVU_COMMAND_SET_LOG, WVU_STATUS_OK, "", "queue=trace");
    check_equal(wvu_log_enabled[WVU_LOG_TRACE], WVU_LOG_QUEUE);
    expect(ask_text(&f, WVU_COMMAND_SET_LOG, "queue=info queue"), WVU_STATUS_INVALID_PARAMETER,
           "'queue' is not of the form MODULE=LEVEL");
    check_equal(wvu_log_enabled[WVU_LOG_TRACE], WVU_LOG_QUEUE);
    wvu_log_describe(text, sizeof text);
    check(strstr(text, "queue=trace") != NULL);
    end(&f);
}

/* ---- status, statistics, schema -------------------------------------------------------------------------------- */

SIMULATED(the_sensor_tells_about_itself)
{
    struct fixture f;
    const struct wvu_response *response;
    const struct wvu_sensor_status *status;
    char log[256];
    uint8_t id[16];

    begin(&f, three);
    wvu_sim_sleep(5 * WVU_SIM_S);
    wvu_dispatcher_name_reader(wvu_sensor_dispatcher(f.sensor), 555);
    (void)ask(&f, WVU_COMMAND_DISABLE_UNLOAD);
    response = ask(&f, WVU_COMMAND_GET_STATUS);
    status = (const void *)data_of(response);
    check_equal(response->status, WVU_STATUS_OK);
    check_equal(status->size, sizeof *status);
    check_equal(status->host, WVU_HOST_SIMULATED);
    check(memcmp(status->boot_id, wvu_sensor_boot_id(f.sensor), 16) == 0);
    wvu_uuid_from_name(host_id, "Sensor", id);
    check(memcmp(status->sensor_id, id, 16) == 0);
    check(status->uptime_ns >= 5 * WVU_SIM_S && status->uptime_ns < 6 * WVU_SIM_S);
    int64_t age = (wvu_os_system_time() - status->started) * 100;
    check(age >= (int64_t)(5 * WVU_SIM_S) && age < (int64_t)(6 * WVU_SIM_S));
    check_equal(status->protocol_version, WVU_PROTOCOL_VERSION);
    check_equal(status->process_id, 77);
    check_equal(status->is_protected, 1);
    check_equal(status->reader_process_id, 555);
    check_equal(status->queue_records, 64);
    check_equal(status->queue_bytes, WVU_QUEUE_BYTES_MIN);
    check_equal(status->filter_rules, 0);
    check_text(status, status->host_name, "tester");
    check_text(status, status->sensor_version, WVU_VERSION);
    check_text(status, status->system_version, "9.9");
    check_text(status, status->configuration, "a=1\nb=2\n");
    wvu_log_describe(log, sizeof log);
    check_text(status, status->log, log);
    end(&f);
}

/* One event of each of two kinds, one that is not wanted, one that is cut, one that never came. */
static void make_events(struct fixture *f)
{
    static const char name[WVU_RECORD_MAX];
    struct wvu_probe *probe = wvu_sensor_find_probe(f->sensor, "ProcessCreate");
    const struct wvu_text_source text =
        wvu_text_whole(offsetof(struct wvu_process_create, image_file_name), 1, name, sizeof name);
    struct wvu_record_plan plan;
    struct wvu_record *record;

    check(wvu_probe_enter(probe));
    uint64_t begun = wvu_probe_time_begin(probe);
    check(begun != 0);
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, sizeof(struct wvu_process_create), &text, 1);
    record = wvu_probe_reserve(probe, &plan, NULL);
    wvu_record_fill_texts(record, &plan, &text);
    wvu_probe_commit(probe, record);
    wvu_sim_stall(1000000);
    wvu_probe_time_end(probe, begun);
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, sizeof(struct wvu_process_destroy), NULL, 0);
    wvu_probe_commit(probe, wvu_probe_reserve(probe, &plan, NULL));
    check(!wvu_probe_wants(probe, WVU_EVENT_ProcessCreate, 0));
    check_equal(wvu_probe_time_begin(probe), 0); /* one in sixteen */
    wvu_probe_count_loss(probe, WVU_LOSS_KERNEL_RING, WVU_EVENT_ProcessDestroy, 6);
    wvu_probe_leave(probe);
}

static const struct wvu_event_statistics *statistics_of(const struct wvu_statistics *statistics,
                                                        uint16_t type)
{
    for (uint32_t i = 0; i < statistics->event_count; i++) {
        const struct wvu_event_statistics *entry =
            (const void *)((const char *)statistics + statistics->size +
                           i * statistics->event_size);

        if (entry->type == type)
            return entry;
    }
    wvu_sim_fail("no statistics of type 0x%04x", type);
}

SIMULATED(statistics_are_what_happened)
{
    struct fixture f;
    const struct wvu_response *response;
    const struct wvu_statistics *s;
    uint64_t sums[4] = {0, 0, 0, 0};
    uint64_t calls = 0;

    begin(&f, three);
    asked.counters = "ring=1\nother=2";
    take(&f);
    make_events(&f);
    (void)ask_text(&f, WVU_COMMAND_ECHO, "hello");
    (void)ask(&f, 99);
    response = ask(&f, WVU_COMMAND_GET_STATISTICS);
    s = (const void *)data_of(response);
    check_equal(response->status, WVU_STATUS_OK);
    check_equal(s->size, sizeof *s);
    check_equal(s->event_size, sizeof(struct wvu_event_statistics));
    check_equal(s->event_count, WVU_EVENT_INDICES);
    check_equal(s->callback_sample, WVU_PROBE_TIME_SAMPLE);
    check(s->uptime_ns != 0);
    check_equal(s->accepted, 2 + 2); /* SensorStart, ProbeStateChanged, and two */
    check_equal(s->delivered, 2);
    check_equal(s->queued, 2);
    check_equal(s->in_flight + s->lost, 0);
    check_equal(s->high_water, 2);
    check(s->queued_bytes > WVU_RECORD_MAX - 1000 && s->queued_bytes < WVU_RECORD_MAX + 1000);
    check_equal(s->unnumbered, 6);
    check_equal(s->filtered, 1);
    check_equal(s->cut, 1);
    check_equal(s->batches + s->sends + s->timeouts + s->bad_replies + s->redelivered, 0);
    check_equal(s->connections, 0);
    check_equal(s->commands, 2);
    check_equal(s->commands_failed, 1);
    check_equal(s->mitigations, 0);
    for (uint32_t i = 0; i < 32; i++) {
        calls += s->callback_ns[i];
        check(s->callback_ns[i] == 0 || i == 19 || i == 20); /* a million nanoseconds */
    }
    check_equal(calls, 1);
    for (uint32_t i = 0; i < s->event_count; i++) {
        const struct wvu_event_statistics *entry =
            (const void *)((const char *)s + s->size + i * s->event_size);

        check_equal(entry->type, wvu_event_type_at(i));
        sums[0] += entry->accepted;
        sums[1] += entry->delivered;
        sums[2] += entry->filtered;
        sums[3] += entry->cut;
    }
    check(sums[0] == s->accepted && sums[1] == s->delivered);
    check(sums[2] == s->filtered && sums[3] == s->cut);
    check_equal(statistics_of(s, WVU_EVENT_ProcessCreate)->accepted, 1);
    check_equal(statistics_of(s, WVU_EVENT_ProcessCreate)->filtered, 1);
    check_equal(statistics_of(s, WVU_EVENT_ProcessCreate)->cut, 1);
    check_equal(statistics_of(s, WVU_EVENT_ProcessDestroy)->accepted, 1);
    check_equal(statistics_of(s, WVU_EVENT_ProcessDestroy)->lost[WVU_LOSS_KERNEL_RING], 6);
    check_equal(statistics_of(s, WVU_EVENT_SensorStart)->delivered, 1);
    check_text(s, s->host_counters, "ring=1\nother=2");
    check_equal(response->data_size,
                s->size + s->event_count * s->event_size + s->host_counters.size);
    end(&f);
}

/* Every mitigation that took effect is counted, however it came about. */
SIMULATED(mitigations_are_counted)
{
    struct wvu_mitigation_report report = {.action = WVU_MITIGATION_TERMINATE};
    struct wvu_sensor_counters counted;
    struct fixture f;

    begin(&f, three);
    for (report.outcome = WVU_OUTCOME_REPORTED; report.outcome <= WVU_OUTCOME_FAILED;
         report.outcome++)
        wvu_sensor_report_mitigation(f.sensor, wvu_sensor_probe_at(f.sensor, 0), &report);
    wvu_sensor_read_counters(f.sensor, &counted);
    check_equal(counted.mitigations, 2); /* prevented, ended */
    end(&f);
}

static uint32_t lines_beginning_with(const char *text, const char *word)
{
    uint32_t lines = 0;

    for (const char *at = text; at != NULL && *at != '\0'; at = strchr(at, '\n') + 1)
        lines += strncmp(at, word, strlen(word)) == 0;
    return lines;
}

SIMULATED(the_schema_is_that_of_the_tables)
{
    /* Written down by hand, from the page about the wire and the numbers of the first WinVirtUE. */
    static const char *const lines[] = {
        "event 0x0001 ImageLoad 168\n",
        "event 0x0002 ProcessCreate 224\n",
        "field 0 U32 120 ParentProcessId\n",
        "field 1 KEY 72 ParentProcessKey\n",
        "field 2 ENUM_CREATE_CAUSE 136 Cause\n",
        "field 15 TEXT 152 ImageFileName\n",
        "field 18 LIST 176 Arguments\n",
        "event 0x0003 ProcessDestroy 96\n",
        "field 1 U32 80 ExitCode\n",
        "event 0x2004 EventsLost 112\n",
        "field 3 LOSSES 96 Lost\n",
        "event 0x2005 CommandExecuted 136\n",
        "value ENUM_CREATE_CAUSE 1 Exec\n",
        "value ENUM_COMMAND 7 OneShotKill\n",
        "value ENUM_MITIGATION_OUTCOME 2 Prevented\n",
    };
    static char text[WVU_RESPONSE_MAX];
    struct fixture f;
    const struct wvu_response *response;
    uint32_t fields = 0;

    begin(&f, none);
    response = ask(&f, WVU_COMMAND_GET_SCHEMA);
    check_equal(response->status, WVU_STATUS_OK);
    memcpy(text, data_of(response), response->data_size);
    text[response->data_size] = '\0';
    check_equal(strlen(text), response->data_size);
    check_equal(text[response->data_size - 1], '\n');
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr(text, lines[i]) == NULL)
            wvu_sim_fail("the schema has no line %s", lines[i]);
    }
#define WVU_EVENT_END(name) fields += WVU_FIELD_COUNT_##name;
#include "winvirtue/events.def"
    check_equal(lines_beginning_with(text, "field "), fields);
    check_equal(lines_beginning_with(text, "event "), WVU_EVENT_INDICES - 1);
    check_equal(lines_beginning_with(text, "event ") + lines_beginning_with(text, "field ") +
                    lines_beginning_with(text, "value "),
                lines_beginning_with(text, ""));
    end(&f);
}

/* ---- what does not fit ---------------------------------------------------------------------------------------- */

static const uint32_t questions[] = {WVU_COMMAND_ENUMERATE_PROBES, WVU_COMMAND_GET_STATISTICS,
                                     WVU_COMMAND_GET_SCHEMA, WVU_COMMAND_GET_STATUS,
                                     WVU_COMMAND_GET_FILTER};

static void test_capacities(struct fixture *f, uint32_t command)
{
    uint32_t needed;

    f->capacity = WVU_RESPONSE_MAX;
    check_equal(ask(f, command)->status, WVU_STATUS_OK);
    needed = f->size;
    for (f->capacity = sizeof(struct wvu_response);
         f->capacity<needed; f->capacity += needed> 2000 ? 61 : 1) {
        expect(ask(f, command), WVU_STATUS_BUFFER_TOO_SMALL, "");
    }
    f->capacity = needed - 1;
    expect(ask(f, command), WVU_STATUS_BUFFER_TOO_SMALL, "");
    f->capacity = needed + 8; /* a terminator, or a byte that says that nothing was cut */
    check_equal(ask(f, command)->status, WVU_STATUS_OK);
    check_equal(f->size, needed);
}

SIMULATED(a_response_that_does_not_fit_has_no_data)
{
    struct fixture f;

    begin(&f, three);
    asked.counters = "ring=1\nother=2";
    (void)ask_text(&f, WVU_COMMAND_SET_FILTER, "default include\n");
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++)
        test_capacities(&f, questions[i]);
    f.capacity = sizeof(struct wvu_response) + 4;
    expect(ask_text(&f, WVU_COMMAND_ECHO, "abcd"), WVU_STATUS_OK, "abcd");
    expect(ask_text(&f, WVU_COMMAND_ECHO, "abcde"), WVU_STATUS_BUFFER_TOO_SMALL, "");
    end(&f);
}

/* What failed must be known even where the reason has no room. */
SIMULATED(a_reason_is_cut_to_its_room)
{
    struct fixture f;

    begin(&f, three);
    f.capacity = sizeof(struct wvu_response);
    expect(ask(&f, 99), WVU_STATUS_NOT_SUPPORTED, "");
    f.capacity += 8;
    expect(ask(&f, 99), WVU_STATUS_NOT_SUPPORTED, "there is");
    f.capacity = sizeof(struct wvu_response) + strlen("probe Tick: '\xc3\xa9") - 1;
    expect(ask_for(&f, WVU_COMMAND_CONFIGURE_PROBE, id_of(&f, "Tick"), "\xc3\xa9", 2),
           WVU_STATUS_INVALID_PARAMETER, "probe Tick: '");
    f.capacity++;
    expect(ask_for(&f, WVU_COMMAND_CONFIGURE_PROBE, id_of(&f, "Tick"), "\xc3\xa9", 2),
           WVU_STATUS_INVALID_PARAMETER, "probe Tick: '\xc3\xa9");
    /* A change that succeeds has no data, so it always fits. */
    f.capacity = sizeof(struct wvu_response);
    expect(ask(&f, WVU_COMMAND_DISABLE_UNLOAD), WVU_STATUS_OK, "");
    end(&f);
}

SIMULATED(no_byte_of_a_response_is_left_over)
{
    static uint64_t again[(WVU_RESPONSE_MAX) / 8];
    struct fixture f;

    begin(&f, three);
    asked.counters = "ring=1\nother=2";
    (void)ask_text(&f, WVU_COMMAND_SET_FILTER, "default include\n");
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        const struct wvu_request request = {
            .version = 1, .size = sizeof request, .command = questions[i]};
        const struct wvu_response *response = ask(&f, questions[i]);
        uint32_t differ = 0;

        /* The same once more in memory with another pattern: only clocks and counts may differ, and no
         * byte may be the pattern in both. */
        memset(again, 0x11, sizeof again);
        check_equal(wvu_command_answer(f.sensor, &f.requester, &request, sizeof request, again,
                                       sizeof again),
                    f.size);
        for (uint32_t at = 0; at < f.size; at++) {
            uint8_t one = ((const uint8_t *)response)[at], two_ = ((const uint8_t *)again)[at];

            check(!(one == PATTERN && two_ == 0x11));
            differ += one != two_;
        }
        check(differ <= 12);
    }
    end(&f);
}

/* ---- failures --------------------------------------------------------------------------------------------------- */

SIMULATED(a_filter_survives_any_failed_service)
{
    struct fixture f;
    const struct wvu_response *response;
    char reason[256];
    uint64_t nth = 0;

    begin(&f, none);
    (void)ask_text(&f, WVU_COMMAND_SET_FILTER, "default exclude\n");
    take(&f);
    for (;;) {
        const uint64_t live = wvu_sim_allocations();

        wvu_sim_fail_service(++nth);
        response = ask_text(&f, WVU_COMMAND_SET_FILTER, "exclude image=/bin/true\n");
        wvu_sim_fail_service(0);
        if (response->status == WVU_STATUS_OK)
            break;
        check_equal((uint32_t)response->status, (uint32_t)WVU_STATUS_NO_MEMORY);
        check(response->data_size != 0 && response->data_size < sizeof reason);
        memcpy(reason, data_of(response), response->data_size);
        reason[response->data_size] = '\0';
        expect_told(&f, WVU_COMMAND_SET_FILTER, WVU_STATUS_NO_MEMORY, "", reason);
        check_equal(wvu_sim_allocations(), live);
        expect(ask(&f, WVU_COMMAND_GET_FILTER), WVU_STATUS_OK, "default exclude\n");
    }
    check(nth > 1);
    end(&f);
}

SIMULATED(questions_need_nothing_of_the_host)
{
    struct fixture f;

    begin(&f, three);
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        uint64_t services = wvu_sim_services();

        check_equal(ask(&f, questions[i])->status, WVU_STATUS_OK);
        check_equal(wvu_sim_services(), services);
    }
    end(&f);
}

/* ---- at the same time ---------------------------------------------------------------------------------------------- */

#define CLIENTS 3

struct client {
    struct fixture *f;
    wvu_thread thread;
    uint32_t number;
    uint32_t changes;  /* that must be in the stream */
    uint32_t stopping; /* answers after stop began */
};

static const uint32_t crowd_commands[] = {WVU_COMMAND_ENABLE_PROBE,   WVU_COMMAND_DISABLE_PROBE,
                                          WVU_COMMAND_ENABLE_UNLOAD,  WVU_COMMAND_DISABLE_UNLOAD,
                                          WVU_COMMAND_SET_FILTER,     WVU_COMMAND_ENUMERATE_PROBES,
                                          WVU_COMMAND_GET_STATISTICS, WVU_COMMAND_GET_STATUS,
                                          WVU_COMMAND_GET_FILTER,     WVU_COMMAND_CONFIGURE_PROBE};

static void one_command(struct client *client)
{
    static const char *const filters[CLIENTS] = {"# 0", "# 1\n", "# 2\ndefault exclude\n"};
    static const char *const settings[CLIENTS] = {"depth=5", "depth=6", "depth=7"};
    const uint32_t command =
        crowd_commands[wvu_sim_random(sizeof crowd_commands / sizeof crowd_commands[0])];
    const char *text = command == WVU_COMMAND_SET_FILTER        ? filters[client->number]
                       : command == WVU_COMMAND_CONFIGURE_PROBE ? settings[client->number]
                                                                : "";
    union {
        struct wvu_request header;
        uint64_t align;
        char bytes[64];
    } request = {.header = {.version = 1,
                            .size = sizeof request.header,
                            .command = command,
                            .data_size = (uint32_t)strlen(text)}};
    static uint64_t rooms[CLIENTS][1024];
    struct wvu_response *response = (void *)rooms[client->number];

    memcpy(request.bytes + sizeof request.header, text, strlen(text));
    (void)wvu_command_answer(client->f->sensor, &client->f->requester, &request,
                             (uint32_t)(sizeof request.header + strlen(text)), response,
                             sizeof rooms[0]);
    client->stopping += response->status == WVU_STATUS_STOPPING;
    if (response->status == WVU_STATUS_STOPPING)
        return;
    check_equal(client->stopping, 0); /* never again, once it began */
    check_equal((uint32_t)response->status, WVU_STATUS_OK);
    client->changes += command != WVU_COMMAND_ENUMERATE_PROBES &&
                       (command < WVU_COMMAND_GET_STATISTICS || command == WVU_COMMAND_SET_FILTER);
}

static void be_client(void *context)
{
    struct client *client = context;

    for (uint32_t i = 0; i < 8; i++)
        one_command(client);
}

static void check_in_force(void *context, const struct wvu_filter *filter)
{
    const struct wvu_command_executed *event = context;
    size_t length;
    const char *text = wvu_filter_text(filter, &length);

    check_equal(length, event->detail.size);
    check(memcmp(text, (const char *)event + event->detail.offset, length) == 0);
}

/* The stream is what happened, in its order: each change is told once; nothing follows SensorStop; the last
 * words about filter, protection and settings are what is in force. */
static void check_stream(struct fixture *f, uint32_t changes)
{
    const struct wvu_command_executed *filter = NULL, *unload = NULL, *configured = NULL;
    uint32_t told = 0;

    for (uint32_t i = 0; i < f->taken.info.records; i++) {
        const struct wvu_command_executed *event = taken_at(&f->taken, i);

        if (event->record.type == WVU_EVENT_SensorStop)
            check_equal(i, f->taken.info.records - 1);
        if (event->record.type != WVU_EVENT_CommandExecuted)
            continue;
        told++;
        if (event->command == WVU_COMMAND_SET_FILTER)
            filter = event;
        else if (event->command == WVU_COMMAND_CONFIGURE_PROBE)
            configured = event;
        else if (event->command >= WVU_COMMAND_ENABLE_UNLOAD)
            unload = event;
    }
    check_equal(told, changes);
    if (unload != NULL)
        check_equal(wvu_sensor_is_protected(f->sensor),
                    unload->command == WVU_COMMAND_DISABLE_UNLOAD);
    if (configured != NULL)
        check_equal(wvu_probe_setting(wvu_sensor_probe_at(f->sensor, 0), 0),
                    ((const char *)configured)[configured->detail.offset + 6] - '0');
    if (filter != NULL)
        wvu_sensor_with_filter(f->sensor, check_in_force, (void *)(uintptr_t)filter);
}

static void crowd(void *unused)
{
    struct fixture f;
    struct client clients[CLIENTS];
    uint32_t changes = 0;

    (void)unused;
    begin(&f, two);
    take(&f);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.f = &f, .number = i};
        check_equal(wvu_thread_start(&clients[i].thread, "client", be_client, &clients[i]),
                    WVU_STATUS_OK);
    }
    wvu_sim_sleep(wvu_sim_random(100000));
    wvu_sensor_stop(f.sensor, "");
    for (uint32_t i = 0; i < CLIENTS; i++) {
        wvu_thread_join(&clients[i].thread);
        changes += clients[i].changes;
    }
    take(&f);
    check_equal(type_at(&f, f.taken.info.records - 1), WVU_EVENT_SensorStop);
    for (uint32_t i = 0; wvu_sensor_probe_at(f.sensor, i) != NULL; i++)
        check_equal(wvu_sensor_probe_at(f.sensor, i)->condition, WVU_PROBE_STOPPED);
    check_stream(&f, changes);
    end(&f);
}

static void commands_stop_and_each_other(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        const struct wvu_sim_settings settings = {.seed = seed,
                                                  .switch_odds = 1 + (uint32_t)(seed % 4),
                                                  .store_buffers = seed % 2 == 0,
                                                  .uneven = seed % 3 == 0};

        if (!wvu_sim_run(&settings, crowd, NULL))
            fail_msg("seed %u %s", (unsigned)seed, wvu_sim_failure());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_echo_is_what_was_sent),
        cmocka_unit_test(a_longer_header_is_passed_over),
        cmocka_unit_test(what_is_no_request_is_answered_with_why),
        cmocka_unit_test(a_lying_request_for_a_change_is_told),
        cmocka_unit_test(unknown_commands_are_not_supported),
        cmocka_unit_test(a_probe_id_is_that_of_a_probe),
        cmocka_unit_test(data_is_for_commands_that_take_it),
        cmocka_unit_test(commands_are_answered_between_start_and_stop),
        cmocka_unit_test(a_sensor_that_could_not_start_says_that_it_stops),
        cmocka_unit_test(a_probe_is_disabled_and_enabled),
        cmocka_unit_test(all_probes_go_on_after_one_that_fails),
        cmocka_unit_test(what_must_run_stays_on),
        cmocka_unit_test(probes_are_enumerated),
        cmocka_unit_test(a_probe_is_configured),
        cmocka_unit_test(a_configuration_for_all_is_taken_by_all_or_none),
        cmocka_unit_test(a_long_detail_is_cut_and_says_how_long_it_was),
        cmocka_unit_test(what_is_quoted_is_fit_for_people),
        cmocka_unit_test(a_kill_reaches_the_probe),
        cmocka_unit_test(a_kill_of_no_process_reaches_nobody),
        cmocka_unit_test(a_protected_sensor_is_not_shut_down),
        cmocka_unit_test(a_host_may_refuse_protection),
        cmocka_unit_test(a_host_without_operations_can_be_asked),
        cmocka_unit_test(a_requester_may_be_unknown),
        cmocka_unit_test(a_filter_is_set_and_read_back),
        cmocka_unit_test(log_levels_are_set),
        cmocka_unit_test(the_sensor_tells_about_itself),
        cmocka_unit_test(statistics_are_what_happened),
        cmocka_unit_test(mitigations_are_counted),
        cmocka_unit_test(the_schema_is_that_of_the_tables),
        cmocka_unit_test(a_response_that_does_not_fit_has_no_data),
        cmocka_unit_test(a_reason_is_cut_to_its_room),
        cmocka_unit_test(no_byte_of_a_response_is_left_over),
        cmocka_unit_test(a_filter_survives_any_failed_service),
        cmocka_unit_test(questions_need_nothing_of_the_host),
        cmocka_unit_test(commands_stop_and_each_other),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
