/*
 * A sensor with the one probe of docs/writing-a-probe.md, for test_writing_a_probe.py, which builds it: engine,
 * the real host, and a port whose reader is in this process. Each record comes out as a line of JSON.
 *
 *     probe_host FILE    FILE stands for /etc/ld.so.preload
 *
 * Lines of standard input are requests, answered by a line that begins with '#':
 *     configure TEXT, describe, start, stop, state (operations, filtered)
 * At the end of the input the sensor stops.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "probes.h"
#include "sensor.h"
#include "winvirtue/winvirtue.h"

static const char *stand_in;

/* The linker puts it before the system's (--wrap=stat). */
int __real_stat(const char *path, struct stat *file);
int __wrap_stat(const char *path, struct stat *file);
int __wrap_stat(const char *path, struct stat *file)
{
    return __real_stat(strcmp(path, "/etc/ld.so.preload") == 0 ? stand_in : path, file);
}

static void fail(const char *what)
{
    fprintf(stderr, "probe_host: %s\n", what);
    exit(1);
}

/* ---- the reader: prints what it gets, and has dealt with it ------------------------------------------------ */

static void print_records(const void *batch, uint32_t size)
{
    static char line[WVU_JSON_MAX];
    wvu_message message;
    const struct wvu_record *record = NULL;
    if (wvu_check(batch, size, &message) != 0)
        fail("the dispatcher sends what is no message");
    while ((record = wvu_next(&message, record)) != NULL) {
        if (wvu_json(&message, record, line, sizeof line) >= sizeof line)
            fail("a record is too long for JSON");
        puts(line);
    }
    fflush(stdout);
}

static wvu_status send_batch(struct wvu_port *port, const void *batch, uint32_t size, void *reply,
                             uint32_t *reply_size, int32_t *reply_status, uint64_t timeout_ns)
{
    const struct wvu_reply all = {.version = WVU_PROTOCOL_VERSION,
                                  .size = sizeof all,
                                  .acknowledged = ((const struct wvu_batch *)batch)->last_sequence};
    (void)port;
    (void)timeout_ns;
    print_records(batch, size);
    memcpy(reply, &all, sizeof all);
    *reply_size = sizeof all;
    *reply_status = WVU_STATUS_OK;
    return WVU_STATUS_OK;
}

static void nothing(struct wvu_port *port)
{
    (void)port;
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static void answer(struct wvu_probe *probe, const char *request)
{
    char text[256] = "";
    struct wvu_probe_state state;
    if (strncmp(request, "configure ", 10) == 0) {
        (void)wvu_probe_configure(probe, request + 10, strlen(request + 10), text);
    } else if (strcmp(request, "describe") == 0) {
        (void)wvu_probe_describe(probe, text, sizeof text);
        for (char *end = text; (end = strchr(end, '\n')) != NULL;)
            *end = ' ';
    } else if (strcmp(request, "start") == 0) {
        (void)wvu_probe_start(probe, text);
    } else if (strcmp(request, "stop") == 0) {
        wvu_probe_stop(probe, "it was asked to");
    } else {
        wvu_probe_read_state(probe, &state);
        snprintf(text, sizeof text, "%u %u", (unsigned)state.operations, (unsigned)state.filtered);
    }
    printf("#%s\n", text);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const uint8_t id[16] = "a host of tests";
    static const struct wvu_probe_definition *const probes[] = {&wvu_preload_probe, NULL};
    static const struct wvu_port_operations operations = {
        .send = send_batch, .cancel = nothing, .disconnect = nothing};
    struct wvu_port port = {&operations};
    const struct wvu_sensor_settings settings = {.host_kind = WVU_HOST_LINUX,
                                                 .host_id = id,
                                                 .host_name = "",
                                                 .system_version = "",
                                                 .configuration = "",
                                                 .queue_records = WVU_QUEUE_RECORDS_MIN,
                                                 .queue_bytes = WVU_QUEUE_BYTES_MIN,
                                                 .send_timeout_ms = 10000,
                                                 .drain_ms = 10000,
                                                 .port = &port,
                                                 .probes = probes};
    struct wvu_sensor *sensor;
    char request[256];
    if (argc != 2)
        fail("usage: probe_host FILE");
    stand_in = argv[1];
    if (wvu_sensor_create(&settings, &sensor) != WVU_STATUS_OK ||
        wvu_sensor_start(sensor) != WVU_STATUS_OK)
        fail("the sensor does not start");
    wvu_dispatcher_connected(wvu_sensor_dispatcher(sensor));
    while (fgets(request, sizeof request, stdin) != NULL) {
        request[strcspn(request, "\n")] = '\0';
        answer(wvu_sensor_probe_at(sensor, 0), request);
    }
    wvu_sensor_stop(sensor, "the input ended");
    wvu_dispatcher_disconnected(wvu_sensor_dispatcher(sensor));
    wvu_sensor_destroy(sensor);
    return 0;
}
