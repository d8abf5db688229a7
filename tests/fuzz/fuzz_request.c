/*
 * Any bytes as a request on the command port of a sensor that runs: whatever they are, the response has its
 * shape and fits, nothing is read or written beyond the buffers, and what can be asked afterwards holds
 * together. The sensor lives as long as the program, so that commands meet what earlier ones have left.
 *
 * Input: how much room the response has (times 300 bytes, 0: the least), what the rest is, the rest:
 *   0       the whole request as it is
 *   n       the data of a request whose header is right: the n-th of `commands`, for all probes
 *   128+n   the same for one probe
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "log.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

/* ---- a sensor ---------------------------------------------------------------------------------- */

void wvu_os_log(uint32_t module, uint32_t level, const char *format, va_list arguments)
{
    (void)module;
    (void)level;
    (void)format;
    (void)arguments;
}

/* Nobody ever connects. */
static wvu_status send_nothing(struct wvu_port *port, const void *batch, uint32_t size, void *reply,
                               uint32_t *reply_size, int32_t *reply_status, uint64_t timeout_ns)
{
    (void)port, (void)batch, (void)size, (void)reply, (void)reply_size, (void)reply_status;
    (void)timeout_ns;
    return WVU_STATUS_DISCONNECTED;
}

static void do_nothing(struct wvu_port *port)
{
    (void)port;
}

static const struct wvu_port_operations port_operations = {
    .send = send_nothing, .cancel = do_nothing, .disconnect = do_nothing};
static struct wvu_port port = {&port_operations};

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    (void)reason;
    return probe->definition->name[0] == 'B' ? WVU_STATUS_NOT_SUPPORTED : WVU_STATUS_OK;
}

static void stop(struct wvu_probe *probe)
{
    (void)probe;
}

static wvu_status run(struct wvu_probe *probe)
{
    (void)probe;
    return WVU_STATUS_OK;
}

static wvu_status mitigate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                           char *reason)
{
    (void)probe;
    (void)reason;
    require(mitigation->action == WVU_MITIGATION_TERMINATE && mitigation->process_id != 0);
    return mitigation->process_key != 0 ? WVU_STATUS_NOT_FOUND : WVU_STATUS_OK;
}

#define DYNAMIC (WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC)
static const uint16_t events[] = {WVU_EVENT_ProcessCreate, WVU_EVENT_ProcessDestroy, 0};
static const struct wvu_setting settings[] = {
    {"depth", 2, 30, 7}, {"deep", 0, 1, 0}, {NULL, 0, 0, 0}};
static const struct wvu_probe_definition process = {.name = "ProcessCreate",
                                                    .attributes = WVU_PROBE_REAL_TIME | DYNAMIC,
                                                    .events = events,
                                                    .settings = settings,
                                                    .start = start,
                                                    .stop = stop,
                                                    .mitigate = mitigate};
static const struct wvu_probe_definition temporal = {.name = "Temporal",
                                                     .attributes = WVU_PROBE_TEMPORAL | DYNAMIC,
                                                     .interval_ns = UINT64_C(30000000000),
                                                     .settings = settings,
                                                     .start = start,
                                                     .stop = stop,
                                                     .run = run};
static const struct wvu_probe_definition broken = {
    .name = "Broken", .attributes = WVU_PROBE_DYNAMIC, .start = start, .stop = stop};
static const struct wvu_probe_definition *const probes[] = {&process, &temporal, &broken, NULL};

static wvu_status shut_down(void *context, const struct wvu_requester *requester, char *reason)
{
    (void)context, (void)requester, (void)reason;
    return WVU_STATUS_OK;
}

static size_t counters(void *context, char *text, size_t size)
{
    (void)context;
    size = size < 5 ? size : 5;
    memcpy(text, "ring=", size);
    return size;
}

static const struct wvu_sensor_host host = {
    .shutdown = shut_down, .counters = counters, .process_id = 77};
static struct wvu_sensor *sensor;

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static const struct wvu_sensor_settings sensor_settings = {
        .host_kind = WVU_HOST_SIMULATED,
        .host_id = (const uint8_t *)"the fuzzer's host",
        .host_name = "fuzzer",
        .system_version = "1",
        .configuration = "a=1",
        .queue_records = 64,
        .queue_bytes = WVU_QUEUE_BYTES_MIN,
        .send_timeout_ms = 1000,
        .port = &port,
        .operations = &host,
        .probes = probes,
    };
    (void)count;
    (void)arguments;
    require(wvu_sensor_create(&sensor_settings, &sensor) == WVU_STATUS_OK);
    require(wvu_sensor_start(sensor) == WVU_STATUS_OK);
    return 0;
}

/* ---- asking --------------------------------------------------------------------------------------- */

static const uint32_t commands[] = {WVU_COMMAND_ECHO,
                                    WVU_COMMAND_ENABLE_PROBE,
                                    WVU_COMMAND_DISABLE_PROBE,
                                    WVU_COMMAND_ENABLE_UNLOAD,
                                    WVU_COMMAND_DISABLE_UNLOAD,
                                    WVU_COMMAND_ENUMERATE_PROBES,
                                    WVU_COMMAND_CONFIGURE_PROBE,
                                    WVU_COMMAND_ONE_SHOT_KILL,
                                    WVU_COMMAND_GET_STATISTICS,
                                    WVU_COMMAND_SET_LOG,
                                    WVU_COMMAND_GET_SCHEMA,
                                    WVU_COMMAND_SET_FILTER,
                                    WVU_COMMAND_SHUTDOWN,
                                    WVU_COMMAND_GET_STATUS,
                                    WVU_COMMAND_GET_FILTER};
#define COMMANDS (sizeof commands / sizeof commands[0])

/* Text for people: no control characters, well-formed UTF-8 as far as its first bytes tell. */
static void check_text(const uint8_t *text, uint32_t size)
{
    uint32_t more = 0;
    require(size != 0);
    for (uint32_t i = 0; i < size; i++) {
        require(text[i] >= 0x20 && text[i] != 0x7F && text[i] < 0xF5);
        require((more != 0) == ((text[i] & 0xC0) == 0x80));
        more = more != 0 ? more - 1 : text[i] >= 0xF0 ? 3 : text[i] >= 0xE0 ? 2 : text[i] >= 0xC0;
    }
    require(more == 0);
}

static wvu_status ask(const void *request, uint32_t size, uint32_t capacity)
{
    const struct wvu_requester requester = {.process_id = 1, .has_user = true, .image = "/fuzzer"};
    uint8_t *response = malloc(capacity); /* just this, so that a byte beyond it is seen */
    require(response != NULL);
    uint32_t length = wvu_command_answer(sensor, &requester, request, size, response, capacity);
    struct wvu_response header;
    memcpy(&header, response, sizeof header);
    require(length >= sizeof header && length <= capacity);
    require(header.version == WVU_PROTOCOL_VERSION && header.size == sizeof header);
    require(header.data_size == length - sizeof header);
    require(header.status == WVU_STATUS_OK || wvu_status_name(header.status)[0] != 'U');
    if (header.status == WVU_STATUS_BUFFER_TOO_SMALL)
        require(header.data_size == 0);
    else if (header.status != WVU_STATUS_OK && capacity > sizeof header + 4)
        check_text(response + sizeof header, header.data_size);
    free(response);
    return header.status;
}

static void *make_request(uint32_t command, const uint8_t *id, const uint8_t *data, size_t size)
{
    struct wvu_request header = {.version = WVU_PROTOCOL_VERSION,
                                 .size = sizeof header,
                                 .command = command,
                                 .data_size = (uint32_t)size};
    uint8_t *request = malloc(sizeof header + size);
    require(request != NULL);
    if (id != NULL)
        memcpy(header.probe_id, id, sizeof header.probe_id);
    memcpy(request, &header, sizeof header);
    if (size != 0)
        memcpy(request + sizeof header, data, size);
    return request;
}

/* Every question has an answer, whatever was done before. */
static void check_questions(void)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (commands[i] != WVU_COMMAND_ENUMERATE_PROBES && commands[i] < WVU_COMMAND_GET_STATISTICS)
            continue;
        if (commands[i] == WVU_COMMAND_SET_LOG || commands[i] == WVU_COMMAND_SET_FILTER ||
            commands[i] == WVU_COMMAND_SHUTDOWN || commands[i] == WVU_COMMAND_GET_SCHEMA)
            continue;
        void *request = make_request(commands[i], NULL, NULL, 0);
        require(ask(request, sizeof(struct wvu_request), WVU_RESPONSE_MAX) == WVU_STATUS_OK);
        free(request);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint32_t room = (uint32_t)sizeof(struct wvu_response) + data[0] * 300u;
    const uint32_t capacity = room < WVU_RESPONSE_MAX ? room : WVU_RESPONSE_MAX;
    const uint32_t shape = data[1];
    const uint8_t *rest = data + 2;
    size -= 2;
    if (shape == 0) {
        uint8_t *request = malloc(size + (size == 0));
        require(request != NULL);
        memcpy(request, rest, size);
        (void)ask(request, (uint32_t)size, capacity);
        free(request);
    } else {
        const uint32_t command = commands[(shape & 0x7F) % COMMANDS];
        const uint8_t *id = shape < 128 ? NULL : wvu_sensor_probe_at(sensor, size % 3)->id;
        void *request = make_request(command, id, rest, size);
        (void)ask(request, (uint32_t)(sizeof(struct wvu_request) + size), capacity);
        free(request);
    }
    check_questions();
    return 0;
}
