/*
 * The control connection (client/control.c, control_check.c, command_port_socket.c) against a sensor that this
 * test plays: a listening socket in a temporary directory. A response is put into the connection before its
 * request is made, so one thread is enough once the client is connected. What a response may lie about
 * is listed here, one lie at a time; then responses are spoiled at random, and whatever the check accepts is
 * read to its last byte (with a sanitizer this shows reads outside).
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../client/control_check.h"
#include "winvirtue/winvirtue.h"

static char run_dir[64];
static int listener = -1;

/* ---- the sensor ------------------------------------------------------------------------------------------ */

struct sensor {
    pthread_t thread;
    int socket;      /* of the connection that was let in */
    int refusals;    /* how many are refused before it; -1: all */
    int refuse_with; /* their status */
};

static void *serve(void *context)
{
    struct sensor *sensor = context;
    for (;;) {
        struct wvu_welcome welcome = {.version = WVU_PROTOCOL_VERSION,
                                      .size = sizeof welcome,
                                      .message_max = WVU_RESPONSE_MAX};
        int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (socket < 0)
            return NULL;
        welcome.status = sensor->refusals != 0 ? sensor->refuse_with : WVU_STATUS_OK;
        (void)send(socket, &welcome, sizeof welcome, MSG_NOSIGNAL);
        if (sensor->refusals == 0) {
            sensor->socket = socket;
            return NULL;
        }
        (void)close(socket);
        if (--sensor->refusals < 0)
            return NULL;
    }
}

static void start(struct sensor *sensor, int refusals, int refuse_with)
{
    *sensor = (struct sensor){.socket = -1, .refusals = refusals, .refuse_with = refuse_with};
    assert_int_equal(pthread_create(&sensor->thread, NULL, serve, sensor), 0);
}

static wvu_control *connected(struct sensor *sensor)
{
    wvu_control *control;
    start(sensor, 0, 0);
    assert_int_equal(wvu_control_open(run_dir, -1, &control), 0);
    assert_int_equal(pthread_join(sensor->thread, NULL), 0);
    assert_true(sensor->socket >= 0);
    return control;
}

static void end(struct sensor *sensor, wvu_control *control)
{
    wvu_control_close(control);
    if (sensor->socket >= 0)
        (void)close(sensor->socket);
}

/* ---- responses ------------------------------------------------------------------------------------------- */

struct built {
    union {
        struct wvu_response header;
        uint64_t align;
        char bytes[WVU_RESPONSE_MAX + 64];
    } u;
    size_t size;
};

static struct built built;

static void build(uint32_t command, int32_t status, const void *data, size_t size)
{
    memset(&built, 0, sizeof built);
    built.u.header = (struct wvu_response){.version = WVU_PROTOCOL_VERSION,
                                           .size = sizeof built.u.header,
                                           .command = command,
                                           .status = status,
                                           .data_size = (uint32_t)size};
    if (size != 0)
        memcpy(built.u.bytes + sizeof built.u.header, data, size);
    built.size = sizeof built.u.header + size;
}

/* Makes room for a structure behind what is there, for texts and more structures to follow. */
static void *add(size_t size)
{
    void *at = built.u.bytes + built.size;
    built.size += size;
    built.u.header.data_size += (uint32_t)size;
    return at;
}

static void add_text(void *structure, struct wvu_text *text, const char *bytes)
{
    size_t size = strlen(bytes);
    *text = (struct wvu_text){.offset = (uint16_t)(built.u.bytes + built.size - (char *)structure),
                              .size = (uint16_t)size,
                              .head = (uint16_t)size,
                              .full_size = (uint32_t)size};
    memcpy(add(size), bytes, size);
}

static struct wvu_probe_entry *add_probe(size_t fixed_size, const char *name)
{
    struct wvu_probe_entry *entry = add(fixed_size);
    entry->fixed_size = (uint32_t)fixed_size;
    entry->operations = 77;
    add_text(entry, &entry->name, name);
    add_text(entry, &entry->configuration, "a=on\nb=2");
    (void)add(-built.size % 8);
    entry->size = (uint32_t)(built.u.bytes + built.size - (char *)entry);
    return entry;
}

static struct wvu_probe_entry *build_probes(void)
{
    build(WVU_COMMAND_ENUMERATE_PROBES, 0, NULL, 0);
    struct wvu_probe_entry *first = add_probe(sizeof *first, "ImageLoad");
    (void)add_probe(sizeof *first + 24, "ProcessCreate"); /* a newer sensor's */
    return first;
}

static struct wvu_statistics *build_statistics(size_t size, size_t event_size)
{
    build(WVU_COMMAND_GET_STATISTICS, 0, NULL, 0);
    struct wvu_statistics *statistics = add(size);
    statistics->size = (uint32_t)size;
    statistics->event_size = (uint32_t)event_size;
    statistics->event_count = 2;
    statistics->accepted = 123;
    for (uint16_t i = 0; i < 2; i++)
        *(struct wvu_event_statistics *)add(event_size) =
            (struct wvu_event_statistics){.type = i, .accepted = 100u + i};
    add_text(statistics, &statistics->host_counters, "rings=4");
    return statistics;
}

static struct wvu_sensor_status *build_status(size_t size)
{
    build(WVU_COMMAND_GET_STATUS, 0, NULL, 0);
    struct wvu_sensor_status *status = add(size);
    status->size = (uint32_t)size;
    status->process_id = 4242;
    add_text(status, &status->host_name, "box");
    add_text(status, &status->sensor_version, "1.2");
    add_text(status, &status->system_version, "6.1");
    add_text(status, &status->configuration, "A=1");
    add_text(status, &status->log, "all=error");
    return status;
}

/* ---- asking ------------------------------------------------------------------------------------------------ */

static void put(struct sensor *sensor)
{
    assert_int_equal(send(sensor->socket, built.u.bytes, built.size, MSG_NOSIGNAL), built.size);
}

/* Makes the request that the response was built for. */
static int ask(struct sensor *sensor, wvu_control *control, uint32_t command,
               const struct wvu_response **response)
{
    put(sensor);
    return wvu_control_request(control, command, NULL, NULL, 0, -1, response);
}

/* What was built is refused, and the connection with it. */
static void expect_refused_as(uint32_t command, int status)
{
    struct sensor sensor;
    wvu_control *control = connected(&sensor);
    const struct wvu_response *response = &built.u.header;
    assert_int_equal(ask(&sensor, control, command, &response), status);
    assert_null(response);
    assert_int_equal(wvu_control_request(control, command, NULL, NULL, 0, -1, &response), status);
    end(&sensor, control);
}

static void expect_refused(void)
{
    expect_refused_as(built.u.header.command, WVU_STATUS_BAD_MESSAGE);
}

/* What was built is accepted; the response stays in the control. */
static const struct wvu_response *expect_accepted(struct sensor *sensor, wvu_control **control)
{
    const struct wvu_response *response;
    *control = connected(sensor);
    assert_int_equal(ask(sensor, *control, built.u.header.command, &response), 0);
    assert_memory_equal(response, built.u.bytes, built.size);
    return response;
}

static void expect_text(const void *structure, const struct wvu_text *text, const char *expected)
{
    size_t size;
    const char *bytes = wvu_structure_text(structure, text, &size);
    assert_int_equal(size, strlen(expected));
    if (size != 0)
        assert_memory_equal(bytes, expected, size);
    else
        assert_null(bytes);
}

/* ---- connecting --------------------------------------------------------------------------------------------- */

static void without_a_sensor_there_is_a_clear_status(void **state)
{
    (void)state;
    char path[200];
    wvu_control *control = (wvu_control *)path;
    assert_int_equal(wvu_control_open("/nonexistent", -1, &control), WVU_STATUS_NAME_NOT_FOUND);
    assert_null(control);
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[96] = '\0'; /* and "/WVUCommand" makes 107: the longest that fits */
    assert_int_equal(wvu_control_open(path, -1, &control), WVU_STATUS_NAME_NOT_FOUND);
    path[96] = 'a';
    path[97] = '\0';
    assert_int_equal(wvu_control_open(path, -1, &control), WVU_STATUS_INVALID_PARAMETER);
    wvu_control_close(NULL);
}

static void a_refusal_names_its_reason(void **state)
{
    (void)state;
    const int reasons[] = {WVU_STATUS_ACCESS_DENIED, WVU_STATUS_STOPPING};
    for (unsigned i = 0; i < 2; i++) {
        struct sensor sensor;
        wvu_control *control;
        start(&sensor, 1, reasons[i]);
        assert_int_equal(wvu_control_open(run_dir, -1, &control), reasons[i]);
        assert_null(control);
        /* The next one is let in. */
        assert_int_equal(wvu_control_open(run_dir, -1, &control), 0);
        assert_int_equal(pthread_join(sensor.thread, NULL), 0);
        end(&sensor, control);
    }
}

static void a_sensor_with_too_many_clients_is_tried_again(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_control *control;
    start(&sensor, 3, WVU_STATUS_CONNECTION_LIMIT);
    assert_int_equal(wvu_control_open(run_dir, -1, &control), 0);
    assert_int_equal(pthread_join(sensor.thread, NULL), 0);
    assert_int_equal(sensor.refusals, 0);
    end(&sensor, control);
    start(&sensor, 3, WVU_STATUS_CONNECTION_LIMIT);
    assert_int_equal(wvu_control_open(run_dir, 60000, &control), 0);
    assert_int_equal(pthread_join(sensor.thread, NULL), 0);
    end(&sensor, control);
}

static void a_sensor_that_says_nothing_is_waited_for_as_long_as_asked(void **state)
{
    (void)state;
    wvu_control *control;
    assert_int_equal(wvu_control_open(run_dir, 0, &control), WVU_STATUS_TIMEOUT);
    assert_int_equal(wvu_control_open(run_dir, 30, &control), WVU_STATUS_TIMEOUT);
    assert_null(control);
    for (int i = 0; i < 2; i++)
        (void)close(accept(listener, NULL, NULL));
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static void a_request_is_what_the_protocol_says(void **state)
{
    (void)state;
    static const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const uint8_t expected[] = {1, 0, 32, 0, 6, 0,  0,  0,  1,   2,   3,  4,
                                       5, 6, 7,  8, 9, 10, 11, 12, 13,  14,  15, 16,
                                       3, 0, 0,  0, 0, 0,  0,  0,  'a', '=', '1'};
    struct sensor sensor;
    char packet[256];
    wvu_control *control = connected(&sensor);
    const struct wvu_response *response;
    build(WVU_COMMAND_CONFIGURE_PROBE, 0, NULL, 0);
    put(&sensor);
    assert_int_equal(wvu_control_request(control, 6, id, "a=1", 3, -1, &response), 0);
    assert_int_equal(recv(sensor.socket, packet, sizeof packet, 0), sizeof expected);
    assert_memory_equal(packet, expected, sizeof expected);
    /* The next one has no identifier: nothing of this one is left. */
    build(WVU_COMMAND_ECHO, 0, NULL, 0);
    assert_int_equal(ask(&sensor, control, WVU_COMMAND_ECHO, &response), 0);
    assert_int_equal(recv(sensor.socket, packet, sizeof packet, 0), 32);
    for (unsigned i = 8; i < 32; i++)
        assert_int_equal(packet[i], 0);
    end(&sensor, control);
}

static void the_largest_request_goes_and_a_larger_one_does_not(void **state)
{
    (void)state;
    static char data[WVU_REQUEST_MAX];
    static char packet[WVU_REQUEST_MAX];
    const size_t most = WVU_REQUEST_MAX - sizeof(struct wvu_request);
    struct sensor sensor;
    wvu_control *control = connected(&sensor);
    const struct wvu_response *response;
    memset(data, 'd', sizeof data);
    assert_int_equal(wvu_control_request(control, 0, NULL, data, most + 1, -1, &response),
                     WVU_STATUS_INVALID_PARAMETER);
    assert_null(response);
    assert_int_equal(recv(sensor.socket, packet, sizeof packet, MSG_DONTWAIT), -1);
    build(WVU_COMMAND_ECHO, 0, data, WVU_RESPONSE_MAX - sizeof built.u.header);
    put(&sensor);
    assert_int_equal(wvu_control_request(control, 0, NULL, data, most, -1, &response), 0);
    size_t size;
    assert_memory_equal(wvu_response_data(response, &size), data, WVU_RESPONSE_MAX - 16);
    assert_int_equal(size, WVU_RESPONSE_MAX - 16);
    assert_int_equal(recv(sensor.socket, packet, sizeof packet, 0), WVU_REQUEST_MAX);
    assert_memory_equal(packet + sizeof(struct wvu_request), data, most);
    end(&sensor, control);
}

static void a_time_out_ends_the_connection(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_control *control = connected(&sensor);
    const struct wvu_response *response;
    assert_int_equal(wvu_control_request(control, 0, NULL, NULL, 0, 20, &response),
                     WVU_STATUS_TIMEOUT);
    assert_null(response);
    /* A response that comes late is nobody's. */
    build(WVU_COMMAND_ECHO, 0, NULL, 0);
    put(&sensor);
    assert_int_equal(wvu_control_request(control, 0, NULL, NULL, 0, -1, &response),
                     WVU_STATUS_TIMEOUT);
    end(&sensor, control);
}

static void the_end_of_the_sensor_is_a_disconnection(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_control *control = connected(&sensor);
    const struct wvu_response *response;
    (void)close(sensor.socket);
    sensor.socket = -1;
    assert_int_equal(wvu_control_request(control, 0, NULL, NULL, 0, -1, &response),
                     WVU_STATUS_DISCONNECTED);
    end(&sensor, control);
    control = connected(&sensor);
    assert_int_equal(shutdown(sensor.socket, SHUT_WR), 0); /* it reads, and never answers */
    assert_int_equal(wvu_control_request(control, 0, NULL, NULL, 0, -1, &response),
                     WVU_STATUS_DISCONNECTED);
    end(&sensor, control);
}

static void closing_gives_back_everything(void **state)
{
    (void)state;
    struct sensor sensor;
    end(&sensor, connected(&sensor));
    int before = dup(0);
    (void)close(before);
    for (int i = 0; i < 50; i++)
        end(&sensor, connected(&sensor));
    int after = dup(0);
    (void)close(after);
    assert_int_equal(after, before);
}

/* ---- the header ----------------------------------------------------------------------------------------------- */

static void any_status_is_passed_on_with_its_text(void **state)
{
    (void)state;
    const int32_t statuses[] = {WVU_STATUS_NOT_SUPPORTED, (int32_t)0xC0FFEE01u, INT32_MIN, -1};
    for (unsigned i = 0; i < 4; i++) {
        struct sensor sensor;
        wvu_control *control;
        size_t size;
        /* Also for the commands whose responses are made of structures: with a status they are texts. */
        build(i % 2 == 0 ? WVU_COMMAND_ENUMERATE_PROBES : WVU_COMMAND_GET_STATISTICS, statuses[i],
              "because", 7);
        const struct wvu_response *response = expect_accepted(&sensor, &control);
        assert_int_equal(response->status, statuses[i]);
        assert_memory_equal(wvu_response_data(response, &size), "because", 7);
        assert_int_equal(size, 7);
        assert_null(wvu_next_probe(response, NULL));
        assert_null(wvu_response_statistics(response));
        assert_null(wvu_response_sensor_status(response));
        end(&sensor, control);
    }
}

static void a_response_without_data_has_none(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_control *control;
    size_t size = 1;
    build(WVU_COMMAND_GET_FILTER, 0, NULL, 0);
    const struct wvu_response *response = expect_accepted(&sensor, &control);
    assert_null(wvu_response_data(response, &size));
    assert_int_equal(size, 0);
    end(&sensor, control);
}

static void a_longer_header_is_from_a_newer_sensor(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_control *control;
    size_t size;
    build(WVU_COMMAND_GET_FILTER, 0, "........data", 12);
    built.u.header.size = 24;
    built.u.header.data_size = 4;
    const struct wvu_response *response = expect_accepted(&sensor, &control);
    assert_memory_equal(wvu_response_data(response, &size), "data", 4);
    assert_int_equal(size, 4);
    end(&sensor, control);
}

static void a_header_that_lies_is_refused(void **state)
{
    (void)state;
    const size_t short_ones[] = {1, 2, 15};
    for (unsigned i = 0; i < 3; i++) {
        build(WVU_COMMAND_ECHO, 0, NULL, 0);
        built.size = short_ones[i];
        expect_refused();
    }
    const uint16_t sizes[] = {0, 8, 15, 17, 20, 28, 32, UINT16_MAX};
    for (unsigned i = 0; i < 8; i++) {
        build(WVU_COMMAND_ECHO, 0, "12345678", 8);
        built.u.header.size = sizes[i];
        expect_refused();
    }
    /* The data would not be aligned. */
    for (uint16_t size = 17; size < 24; size++) {
        build(WVU_COMMAND_ECHO, 0, "12345678", 8);
        built.u.header.size = size;
        built.u.header.data_size = 24u - size;
        expect_refused();
    }
    const uint32_t data_sizes[] = {0, 7, 9, 24, UINT32_MAX, UINT32_MAX - 15};
    for (unsigned i = 0; i < 6; i++) {
        build(WVU_COMMAND_ECHO, 0, "12345678", 8);
        built.u.header.data_size = data_sizes[i];
        expect_refused();
    }
    build(WVU_COMMAND_ECHO, 1, NULL, 0); /* a success of another kind */
    expect_refused();
    build(WVU_COMMAND_ECHO, 0, NULL, 0);
    expect_refused_as(WVU_COMMAND_GET_FILTER, WVU_STATUS_BAD_MESSAGE);
    build(WVU_COMMAND_ECHO, 0, NULL, 0);
    built.size = WVU_RESPONSE_MAX + 8;
    built.u.header.data_size = (uint32_t)(built.size - 16);
    expect_refused();
    for (uint16_t version = 0; version <= 2; version += 2) {
        build(WVU_COMMAND_ECHO, WVU_STATUS_VERSION_MISMATCH, NULL, 0);
        built.u.header.version = version;
        expect_refused_as(WVU_COMMAND_ECHO, WVU_STATUS_VERSION_MISMATCH);
    }
}

/* ---- probes ---------------------------------------------------------------------------------------------------- */

static void probes_come_one_after_the_other(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_control *control;
    (void)build_probes();
    const struct wvu_response *response = expect_accepted(&sensor, &control);
    const struct wvu_probe_entry *entry = wvu_next_probe(response, NULL);
    expect_text(entry, &entry->name, "ImageLoad");
    expect_text(entry, &entry->configuration, "a=on\nb=2");
    expect_text(entry, &entry->reason, "");
    assert_int_equal(entry->operations, 77);
    entry = wvu_next_probe(response, entry);
    expect_text(entry, &entry->name, "ProcessCreate");
    assert_null(wvu_next_probe(response, entry));
    assert_null(wvu_response_statistics(response));
    assert_null(wvu_response_sensor_status(response));
    end(&sensor, control);
    build(WVU_COMMAND_ENUMERATE_PROBES, 0, NULL, 0);
    response = expect_accepted(&sensor, &control);
    assert_null(wvu_next_probe(response, NULL));
    end(&sensor, control);
}

static void probes_that_lie_are_refused(void **state)
{
    (void)state;
    const uint32_t sizes[] = {0, 8, 104, 111, 113, 130, 10000, UINT32_MAX, UINT32_MAX - 7};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        build_probes()->size = sizes[i];
        expect_refused();
    }
    const uint32_t fixed_sizes[] = {0, 111, 121, 1000, UINT32_MAX};
    for (unsigned i = 0; i < sizeof fixed_sizes / sizeof fixed_sizes[0]; i++) {
        build_probes()->fixed_size = fixed_sizes[i];
        expect_refused();
    }
    /* Each text in turn: before the texts, behind the end, too long, cut and not. */
    for (unsigned i = 0; i < 3; i++) {
        static const struct wvu_text lies[] = {
            {.offset = 0, .size = 1, .head = 1, .full_size = 1},
            {.offset = 111, .size = 1, .head = 1, .full_size = 1},
            {.offset = 136, .size = 1, .head = 1, .full_size = 1},
            {.offset = UINT16_MAX, .size = 1, .head = 1, .full_size = 1},
            {.offset = 112, .size = 25, .head = 25, .full_size = 25},
            {.offset = 112, .size = UINT16_MAX, .head = 1, .full_size = UINT16_MAX},
            {.offset = 112, .size = 4, .head = 5, .full_size = 4},
            {.offset = 112, .size = 4, .head = 4, .full_size = 3},
            {.offset = 1000},
            {.offset = 112, .head = 1},
        };
        for (unsigned j = 0; j < sizeof lies / sizeof lies[0]; j++) {
            struct wvu_probe_entry *entry = build_probes();
            assert_int_equal(entry->size, 136);
            *(i == 0 ? &entry->name : i == 1 ? &entry->configuration : &entry->reason) = lies[j];
            expect_refused();
        }
    }
    /* Where no text shows it: a size that is not one of aligned entries, a fixed part beyond the end. */
    build(WVU_COMMAND_ENUMERATE_PROBES, 0, NULL, 0);
    add_probe(sizeof(struct wvu_probe_entry), "ImageLoad")->size += 4;
    (void)add(4);
    expect_refused();
    build(WVU_COMMAND_ENUMERATE_PROBES, 0, NULL, 0);
    struct wvu_probe_entry *bare = add(sizeof *bare);
    bare->size = sizeof *bare;
    bare->fixed_size = sizeof *bare + 8;
    expect_refused();
    /* Half a probe behind the last one. */
    (void)build_probes();
    (void)add(8);
    expect_refused();
}

/* ---- statistics -------------------------------------------------------------------------------------------------- */

static void statistics_have_events_and_host_counters(void **state)
{
    (void)state;
    for (unsigned newer = 0; newer <= 16; newer += 16) {
        struct sensor sensor;
        wvu_control *control;
        (void)build_statistics(sizeof(struct wvu_statistics) + newer,
                               sizeof(struct wvu_event_statistics) + newer);
        const struct wvu_response *response = expect_accepted(&sensor, &control);
        const struct wvu_statistics *statistics = wvu_response_statistics(response);
        assert_int_equal(statistics->accepted, 123);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(wvu_event_statistics_at(statistics, i)->type, i);
            assert_int_equal(wvu_event_statistics_at(statistics, i)->accepted, 100 + i);
        }
        assert_null(wvu_event_statistics_at(statistics, 2));
        expect_text(statistics, &statistics->host_counters, "rings=4");
        assert_null(wvu_next_probe(response, NULL));
        end(&sensor, control);
    }
}

#define STATISTICS sizeof(struct wvu_statistics), sizeof(struct wvu_event_statistics)

static void statistics_that_lie_are_refused(void **state)
{
    (void)state;
    const uint32_t size = sizeof(struct wvu_statistics);
    const uint32_t sizes[] = {0, size - 8, size + 4, size + 8, 10000, UINT32_MAX};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        build_statistics(STATISTICS)->size = sizes[i];
        expect_refused();
    }
    const uint32_t event_sizes[] = {0, 96, 103, 105, 112, UINT32_MAX - 7};
    for (unsigned i = 0; i < sizeof event_sizes / sizeof event_sizes[0]; i++) {
        build_statistics(STATISTICS)->event_size = event_sizes[i];
        expect_refused();
    }
    const uint32_t counts[] = {3, 10000, UINT32_MAX, UINT32_MAX / 104 + 1};
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        build_statistics(STATISTICS)->event_count = counts[i];
        expect_refused();
    }
    const uint32_t offsets[] = {0, size, size + 208 - 1, size + 208 + 1, UINT16_MAX};
    for (unsigned i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        build_statistics(STATISTICS)->host_counters.offset = (uint16_t)offsets[i];
        expect_refused();
    }
    /* The same without the text behind them. */
    for (unsigned i = 0; i < 2; i++) {
        struct wvu_statistics *statistics = build_statistics(STATISTICS);
        statistics->host_counters = (struct wvu_text){.size = 0};
        if (i == 0)
            statistics->event_count = 3;
        else
            statistics->event_size = 105;
        (void)add(16);
        expect_refused();
    }
    build_statistics(STATISTICS)->host_counters.size++;
    expect_refused();
    (void)build_statistics(STATISTICS);
    built.size = sizeof built.u.header + size - 1;
    built.u.header.data_size = size - 1;
    expect_refused();
    build(WVU_COMMAND_GET_STATISTICS, 0, NULL, 0);
    expect_refused();
}

/* ---- status ------------------------------------------------------------------------------------------------------- */

static void the_status_has_its_texts(void **state)
{
    (void)state;
    for (unsigned newer = 0; newer <= 8; newer += 8) {
        struct sensor sensor;
        wvu_control *control;
        (void)build_status(sizeof(struct wvu_sensor_status) + newer);
        const struct wvu_response *response = expect_accepted(&sensor, &control);
        const struct wvu_sensor_status *status = wvu_response_sensor_status(response);
        assert_int_equal(status->process_id, 4242);
        expect_text(status, &status->host_name, "box");
        expect_text(status, &status->sensor_version, "1.2");
        expect_text(status, &status->system_version, "6.1");
        expect_text(status, &status->configuration, "A=1");
        expect_text(status, &status->log, "all=error");
        end(&sensor, control);
    }
}

static void a_status_that_lies_is_refused(void **state)
{
    (void)state;
    const uint32_t sizes[] = {0, 143, 145, 10000, UINT32_MAX};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        build_status(sizeof(struct wvu_sensor_status))->size = sizes[i];
        expect_refused();
    }
    for (unsigned i = 0; i < 5; i++) {
        struct wvu_sensor_status *status = build_status(sizeof *status);
        struct wvu_text *const texts[] = {&status->host_name, &status->sensor_version,
                                          &status->system_version, &status->configuration,
                                          &status->log};
        texts[i]->offset = (uint16_t)(i % 2 == 0 ? 143 : 2000);
        expect_refused();
    }
    build(WVU_COMMAND_GET_STATUS, 0, "short", 5);
    expect_refused();
}

/* ---- spoiled at random ------------------------------------------------------------------------------------------------ */

static unsigned sum; /* what is read must be used */

static void read_text(const void *structure, const struct wvu_text *text)
{
    size_t size;
    const char *bytes = wvu_structure_text(structure, text, &size);
    for (size_t i = 0; i < size; i++)
        sum += (unsigned char)bytes[i];
}

static void read_all(const struct wvu_response *response)
{
    const struct wvu_probe_entry *entry = NULL;
    while ((entry = wvu_next_probe(response, entry)) != NULL) {
        read_text(entry, &entry->name);
        read_text(entry, &entry->configuration);
        read_text(entry, &entry->reason);
    }
    const struct wvu_statistics *statistics = wvu_response_statistics(response);
    if (statistics != NULL) {
        const struct wvu_event_statistics *event;
        for (uint32_t i = 0; (event = wvu_event_statistics_at(statistics, i)) != NULL; i++)
            sum += (unsigned)event->lost[WVU_STATISTICS_CAUSES - 1];
        read_text(statistics, &statistics->host_counters);
    }
    const struct wvu_sensor_status *status = wvu_response_sensor_status(response);
    if (status != NULL) {
        read_text(status, &status->host_name);
        read_text(status, &status->log);
    }
}

static void what_is_accepted_can_be_read(void **state)
{
    (void)state;
    unsigned accepted = 0, refused = 0;
    uint32_t seed = 20261122;
    for (unsigned round = 0; round < 60000; round++) {
        switch (round % 3) {
        case 0:
            (void)build_probes();
            break;
        case 1:
            (void)build_statistics(STATISTICS);
            break;
        default:
            (void)build_status(sizeof(struct wvu_sensor_status));
            break;
        }
        size_t size = built.size;
        seed = seed * 1664525 + 1013904223;
        for (unsigned i = 0; i < 1 + seed % 3; i++) {
            seed = seed * 1664525 + 1013904223;
            built.u.bytes[16 + (seed >> 8) % (size - 16)] ^= (char)(1u << (seed >> 28) % 8);
        }
        if (seed % 5 == 0) {
            size -= (seed >> 4) % 64;
            built.u.header.data_size = (uint32_t)(size - 16);
        }
        /* Nothing behind it belongs to us. */
        char *exact = malloc(size);
        assert_non_null(exact);
        memcpy(exact, built.u.bytes, size);
        const struct wvu_response *response = (const void *)exact;
        if (wvu_control_check(response, size, built.u.header.command) == WVU_STATUS_OK) {
            accepted++;
            read_all(response);
        } else {
            refused++;
        }
        free(exact);
    }
    assert_true(accepted > 1000 && refused > 1000);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(run_dir, sizeof run_dir, "/tmp/wvu-control.XXXXXX");
    if (mkdtemp(run_dir) == NULL)
        return -1;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/WVUCommand", run_dir);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    return bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
           listen(listener, 16) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    char path[sizeof run_dir + 16];
    (void)close(listener);
    (void)snprintf(path, sizeof path, "%s/WVUCommand", run_dir);
    (void)unlink(path);
    return rmdir(run_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_sensor_there_is_a_clear_status),
        cmocka_unit_test(a_refusal_names_its_reason),
        cmocka_unit_test(a_sensor_with_too_many_clients_is_tried_again),
        cmocka_unit_test(a_sensor_that_says_nothing_is_waited_for_as_long_as_asked),
        cmocka_unit_test(a_request_is_what_the_protocol_says),
        cmocka_unit_test(the_largest_request_goes_and_a_larger_one_does_not),
        cmocka_unit_test(a_time_out_ends_the_connection),
        cmocka_unit_test(the_end_of_the_sensor_is_a_disconnection),
        cmocka_unit_test(closing_gives_back_everything),
        cmocka_unit_test(any_status_is_passed_on_with_its_text),
        cmocka_unit_test(a_response_without_data_has_none),
        cmocka_unit_test(a_longer_header_is_from_a_newer_sensor),
        cmocka_unit_test(a_header_that_lies_is_refused),
        cmocka_unit_test(probes_come_one_after_the_other),
        cmocka_unit_test(probes_that_lie_are_refused),
        cmocka_unit_test(statistics_have_events_and_host_counters),
        cmocka_unit_test(statistics_that_lie_are_refused),
        cmocka_unit_test(the_status_has_its_texts),
        cmocka_unit_test(a_status_that_lies_is_refused),
        cmocka_unit_test(what_is_accepted_can_be_read),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
