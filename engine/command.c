/*
 * Commands: a request becomes a response. Called by the host's command port, in the thread that serves the
 * client, several at a time; PASSIVE.
 *
 * A request is checked as a whole before anything is done: version, sizes, the command, which probe it is
 * for, whether it may carry data. Then its function in the table runs. Whatever comes of it, a command that
 * changes something is told in the stream, with who gave it.
 *
 * What runs when is the sensor's affair (wvu_sensor_begin_command): nothing before its start and after its
 * stop began, and those that change something one after the other. This file has no state and no lock.
 *
 * Texts in responses are UTF-8 whatever the request held: what is quoted of it is cleaned.
 */
#include "command.h"

#include <string.h>

#include "answer.h"
#include "log.h"
#include "uuid.h"
#include "words.h"

#define REASON_SIZE 256

/* What a command is like. */
#define CHANGES   0x1u /* told in the stream */
#define FOR_PROBE 0x2u /* has a probe id, or zero for all */
#define WITH_DATA 0x4u /* any bytes */
#define WITH_TEXT 0x8u /* data without NUL */

struct call;

struct command {
    uint32_t number;
    uint32_t flags;
    const char *name;
    wvu_status (*run)(struct call *call);
};

/* A request that is being answered. */
struct call {
    struct wvu_sensor *sensor;
    const struct wvu_requester *requester;
    const struct command *command; /* NULL: not known (yet) */
    uint32_t number;               /* of the command, as the request has it */
    struct wvu_probe *probe;       /* that it is for; NULL: all of them, or none */
    const char *data;
    uint32_t size;
    char target[64]; /* for the event */
    bool tells_data; /* the event's detail is the data */
    char reason[REASON_SIZE];
    struct wvu_answer answer;
};

static wvu_status fail(struct call *call, wvu_status status, const char *why)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, call->reason, sizeof call->reason);
    wvu_build_text(&builder, why);
    return status;
}

static wvu_status fits(bool does)
{
    return does ? WVU_STATUS_OK : WVU_STATUS_BUFFER_TOO_SMALL;
}

/* ---- questions ------------------------------------------------------------------------------ */

static wvu_status echo(struct call *call)
{
    return fits(wvu_answer_bytes(&call->answer, call->data, call->size));
}

static wvu_status enumerate_probes(struct call *call)
{
    struct wvu_probe *probe;
    for (uint32_t i = 0; (probe = wvu_sensor_probe_at(call->sensor, i)) != NULL; i++) {
        if (!wvu_answer_probe(&call->answer, probe))
            return WVU_STATUS_BUFFER_TOO_SMALL;
    }
    return WVU_STATUS_OK;
}

static wvu_status get_statistics(struct call *call)
{
    return fits(wvu_answer_statistics(&call->answer, call->sensor));
}

static wvu_status get_schema(struct call *call)
{
    return fits(wvu_answer_schema(&call->answer));
}

static wvu_status get_status(struct call *call)
{
    return fits(wvu_answer_status(&call->answer, call->sensor));
}

static wvu_status get_filter(struct call *call)
{
    return fits(wvu_answer_filter(&call->answer, call->sensor));
}

/* ---- probes --------------------------------------------------------------------------------- */

typedef wvu_status (*probe_action)(struct call *call, struct wvu_probe *probe, char *reason);

/* The first failure is the one that is told: what follows is often a consequence. */
static void explain_probe(struct call *call, const struct wvu_probe *probe, wvu_status status,
                          const char *reason)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, call->reason, sizeof call->reason);
    wvu_build_text(&builder, "probe ");
    wvu_build_text(&builder, probe->definition->name);
    wvu_build_text(&builder, ": ");
    wvu_build_text(&builder, reason[0] != '\0' ? reason : wvu_strerror(status));
}

/* Does it to the probe that the request names, or to all of them, also after one has failed. */
static wvu_status for_probes(struct call *call, probe_action act)
{
    wvu_status first = WVU_STATUS_OK;
    struct wvu_probe *probe;
    for (uint32_t i = 0; (probe = wvu_sensor_probe_at(call->sensor, i)) != NULL; i++) {
        char reason[REASON_SIZE] = "";
        if (call->probe != NULL && call->probe != probe)
            continue;
        wvu_status status = act(call, probe, reason);
        if (status != WVU_STATUS_OK && first == WVU_STATUS_OK) {
            first = status;
            explain_probe(call, probe, status, reason);
        }
    }
    return first;
}

static bool can_be_switched(const struct wvu_probe *probe, bool is_so_already, char *reason)
{
    struct wvu_builder builder;
    if (is_so_already || (probe->definition->attributes & WVU_PROBE_DYNAMIC) != 0)
        return true;
    wvu_build_begin(&builder, reason, REASON_SIZE);
    wvu_build_text(&builder, "it cannot be enabled or disabled while the sensor runs");
    return false;
}

static bool runs(const struct wvu_probe *probe)
{
    return wvu_load_relaxed(&probe->condition) == WVU_PROBE_RUNNING;
}

static wvu_status enable_one(struct call *call, struct wvu_probe *probe, char *reason)
{
    (void)call;
    if (!can_be_switched(probe, runs(probe), reason))
        return WVU_STATUS_NOT_SUPPORTED;
    return wvu_probe_start(probe, reason);
}

static wvu_status disable_one(struct call *call, struct wvu_probe *probe, char *reason)
{
    (void)call;
    if (!can_be_switched(probe, !runs(probe), reason))
        return WVU_STATUS_NOT_SUPPORTED;
    wvu_probe_stop(probe, "a command disabled it");
    return WVU_STATUS_OK;
}

static wvu_status check_one(struct call *call, struct wvu_probe *probe, char *reason)
{
    return wvu_probe_check(probe, call->data, call->size, reason);
}

static wvu_status configure_one(struct call *call, struct wvu_probe *probe, char *reason)
{
    return wvu_probe_configure(probe, call->data, call->size, reason);
}

static wvu_status enable_probe(struct call *call)
{
    return for_probes(call, enable_one);
}

static wvu_status disable_probe(struct call *call)
{
    return for_probes(call, disable_one);
}

/* All or nothing: no other command can come between the check and the change. */
static wvu_status configure_probe(struct call *call)
{
    wvu_status status = for_probes(call, check_one);
    if (status != WVU_STATUS_OK)
        return status;
    call->tells_data = true;
    return for_probes(call, configure_one);
}

/* ---- mitigation ----------------------------------------------------------------------------- */

#define KILL_FORM "give a process id, and key=0x... if it must be one process and no other"

static wvu_status read_victim(struct call *call, struct wvu_mitigation *mitigation)
{
    struct wvu_word rest = {call->data, call->size}, word, key, value;
    uint64_t number;
    if (!wvu_word_next(&rest, &word) || !wvu_word_number(&word, &number) || number == 0 ||
        number > UINT32_MAX)
        return fail(call, WVU_STATUS_INVALID_PARAMETER, "this is no process id: " KILL_FORM);
    mitigation->process_id = (uint32_t)number;
    struct wvu_builder builder;
    wvu_build_begin(&builder, call->target, sizeof call->target);
    wvu_build_number(&builder, number);
    if (!wvu_word_next(&rest, &word))
        return WVU_STATUS_OK;
    if (!wvu_word_split(&word, '=', &key, &value) || !wvu_word_is(&key, "key") ||
        !wvu_word_number(&value, &number) || number == 0 || wvu_word_next(&rest, &word))
        return fail(call, WVU_STATUS_INVALID_PARAMETER,
                    "what follows the process id is no key: " KILL_FORM);
    mitigation->process_key = number;
    wvu_build_text(&builder, " key=");
    wvu_build_hex(&builder, number, 16);
    return WVU_STATUS_OK;
}

static wvu_status one_shot_kill(struct call *call)
{
    struct wvu_mitigation mitigation = {.action = WVU_MITIGATION_TERMINATE,
                                        .requester = call->requester};
    wvu_status status = read_victim(call, &mitigation);
    if (status != WVU_STATUS_OK)
        return status;
    struct wvu_probe *probe = wvu_sensor_find_probe(call->sensor, "ProcessCreate");
    if (probe == NULL)
        return fail(call, WVU_STATUS_NOT_SUPPORTED, "this sensor has no probe ProcessCreate");
    return wvu_probe_mitigate(probe, &mitigation, call->reason);
}

/* ---- the sensor ----------------------------------------------------------------------------- */

static wvu_status enable_unload(struct call *call)
{
    return wvu_sensor_protect(call->sensor, false, call->reason);
}

static wvu_status disable_unload(struct call *call)
{
    return wvu_sensor_protect(call->sensor, true, call->reason);
}

static wvu_status set_log(struct call *call)
{
    call->tells_data = true;
    return wvu_log_set(call->data, call->size, call->reason);
}

static wvu_status set_filter(struct call *call)
{
    call->tells_data = true;
    return wvu_sensor_set_filter(call->sensor, call->data, call->size, call->reason);
}

static wvu_status shut_down(struct call *call)
{
    const struct wvu_sensor_settings *settings = wvu_sensor_settings_of(call->sensor);
    if (wvu_sensor_is_protected(call->sensor)) {
        wvu_sensor_report_refused_stop(call->sensor, call->requester, "Shutdown");
        return fail(call, WVU_STATUS_INVALID_STATE,
                    "the sensor is protected; EnableUnload must come first");
    }
    if (settings->operations == NULL || settings->operations->shutdown == NULL)
        return fail(call, WVU_STATUS_NOT_SUPPORTED, "this sensor is not stopped by a command");
    return settings->operations->shutdown(settings->host, call->requester, call->reason);
}

/* ---- the table ------------------------------------------------------------------------------ */

static const struct command commands[] = {
    {WVU_COMMAND_ECHO, WITH_DATA, "Echo", echo},
    {WVU_COMMAND_ENABLE_PROBE, CHANGES | FOR_PROBE, "EnableProbe", enable_probe},
    {WVU_COMMAND_DISABLE_PROBE, CHANGES | FOR_PROBE, "DisableProbe", disable_probe},
    {WVU_COMMAND_ENABLE_UNLOAD, CHANGES, "EnableUnload", enable_unload},
    {WVU_COMMAND_DISABLE_UNLOAD, CHANGES, "DisableUnload", disable_unload},
    {WVU_COMMAND_ENUMERATE_PROBES, 0, "EnumerateProbes", enumerate_probes},
    {WVU_COMMAND_CONFIGURE_PROBE, CHANGES | FOR_PROBE | WITH_TEXT, "ConfigureProbe",
     configure_probe},
    {WVU_COMMAND_ONE_SHOT_KILL, CHANGES | WITH_TEXT, "OneShotKill", one_shot_kill},
    {WVU_COMMAND_GET_STATISTICS, 0, "GetStatistics", get_statistics},
    {WVU_COMMAND_SET_LOG, CHANGES | WITH_TEXT, "SetLog", set_log},
    {WVU_COMMAND_GET_SCHEMA, 0, "GetSchema", get_schema},
    {WVU_COMMAND_SET_FILTER, CHANGES | WITH_TEXT, "SetFilter", set_filter},
    {WVU_COMMAND_SHUTDOWN, CHANGES, "Shutdown", shut_down},
    {WVU_COMMAND_GET_STATUS, 0, "GetStatus", get_status},
    {WVU_COMMAND_GET_FILTER, 0, "GetFilter", get_filter},
};

static const struct command *find_command(uint32_t number)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i].number == number)
            return &commands[i];
    }
    return NULL;
}

static bool has(const struct call *call, uint32_t flag)
{
    return call->command != NULL && (call->command->flags & flag) != 0;
}

/* ---- reading a request ---------------------------------------------------------------------- */

static wvu_status fail_with_number(struct call *call, wvu_status status, const char *before,
                                   uint64_t number, const char *after)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, call->reason, sizeof call->reason);
    wvu_build_text(&builder, before);
    wvu_build_number(&builder, number);
    wvu_build_text(&builder, after);
    return status;
}

/* The sizes that it names are those that it has. */
static wvu_status check_sizes(struct call *call, const struct wvu_request *request, uint32_t size)
{
    if (request->size < sizeof *request || request->size > size)
        return fail_with_number(call, WVU_STATUS_BAD_MESSAGE,
                                "the request says that its header has ", request->size,
                                " bytes, which cannot be");
    if (request->data_size != size - request->size)
        return fail_with_number(call, WVU_STATUS_BAD_MESSAGE,
                                "the request has another number of bytes of data than the ",
                                request->data_size, " that it names");
    if (request->reserved != 0)
        return fail(call, WVU_STATUS_BAD_MESSAGE, "the request's reserved field is not 0");
    return WVU_STATUS_OK;
}

/* Who the request is for; the event names it also when there is no such probe. */
static wvu_status find_target(struct call *call, const uint8_t id[16])
{
    static const uint8_t zero[16];
    char name[37];
    struct wvu_builder builder;
    const bool none = memcmp(id, zero, 16) == 0;
    wvu_build_begin(&builder, call->target, sizeof call->target);
    if (!has(call, FOR_PROBE))
        return none ? WVU_STATUS_OK
                    : fail(call, WVU_STATUS_INVALID_PARAMETER,
                           "this command is for no probe: the probe id must be zero");
    if (none) {
        wvu_build_text(&builder, "all");
        return WVU_STATUS_OK;
    }
    for (uint32_t i = 0; (call->probe = wvu_sensor_probe_at(call->sensor, i)) != NULL; i++) {
        if (memcmp(call->probe->id, id, 16) == 0) {
            wvu_build_text(&builder, call->probe->definition->name);
            return WVU_STATUS_OK;
        }
    }
    wvu_uuid_format(id, name);
    wvu_build_text(&builder, name);
    wvu_build_begin(&builder, call->reason, sizeof call->reason);
    wvu_build_text(&builder, "this sensor has no probe with the id ");
    wvu_build_text(&builder, name);
    return WVU_STATUS_NOT_FOUND;
}

static wvu_status check_data(struct call *call)
{
    if (!has(call, WITH_DATA | WITH_TEXT) && call->size != 0)
        return fail(call, WVU_STATUS_INVALID_PARAMETER, "this command takes no data");
    const char *end =
        has(call, WITH_TEXT) && call->size != 0 ? memchr(call->data, '\0', call->size) : NULL;
    if (end != NULL)
        return fail_with_number(call, WVU_STATUS_INVALID_PARAMETER,
                                "the text has a NUL in it (at byte ", (uint64_t)(end - call->data),
                                "); texts are not terminated");
    return WVU_STATUS_OK;
}

/* Checks the whole request and fills the call from it, as far as it can be understood. */
static wvu_status read_request(struct call *call, const void *bytes, uint32_t size)
{
    struct wvu_request request;
    memset(&request, 0, sizeof request);
    if (size != 0)
        memcpy(&request, bytes, size < sizeof request ? size : sizeof request);
    call->number = request.command;
    if (size >= sizeof request.version && request.version != WVU_PROTOCOL_VERSION)
        return fail_with_number(call, WVU_STATUS_VERSION_MISMATCH, "the request has version ",
                                request.version, ", this sensor understands 1 only");
    if (size < sizeof request)
        return fail_with_number(call, WVU_STATUS_BAD_MESSAGE, "the request has only ", size,
                                " bytes; its header alone has 32");
    call->command = find_command(request.command);
    if (size > WVU_REQUEST_MAX)
        return fail_with_number(call, WVU_STATUS_BAD_MESSAGE, "the request has ", size,
                                " bytes; 65536 are the most");
    wvu_status status = check_sizes(call, &request, size);
    if (status != WVU_STATUS_OK)
        return status;
    if (call->command == NULL)
        return fail_with_number(call, WVU_STATUS_NOT_SUPPORTED, "there is no command ",
                                request.command, "");
    call->data = (const char *)bytes + request.size;
    call->size = request.data_size;
    status = find_target(call, request.probe_id);
    return status == WVU_STATUS_OK ? check_data(call) : status;
}

_Static_assert(WVU_PROTOCOL_VERSION == 1, "the text above says 1");
_Static_assert(WVU_REQUEST_MAX == 65536 && sizeof(struct wvu_request) == 32, "the texts say so");

/* ---- answering ------------------------------------------------------------------------------ */

/* A status that is not OK always comes with words. */
static void complete_reason(struct call *call, wvu_status status)
{
    if (status == WVU_STATUS_OK)
        call->reason[0] = '\0';
    else if (call->reason[0] == '\0')
        (void)fail(call, status, wvu_strerror(status));
    wvu_utf8_clean(call->reason, strlen(call->reason));
}

static void tell(struct call *call, wvu_status status)
{
    const bool data = status == WVU_STATUS_OK && call->tells_data;
    const struct wvu_command_report report = {
        .command = call->number,
        .status = status,
        .target = call->target,
        .detail = data ? call->data : call->reason,
        .detail_size = data ? call->size : strlen(call->reason),
    };
    wvu_sensor_report_command(call->sensor, call->requester, &report);
    wvu_log_info(WVU_LOG_COMMS, "command %s %s of process %u: %s%s%s", call->command->name,
                 call->target,
                 (unsigned)(call->requester != NULL ? call->requester->process_id : 0),
                 wvu_strerror(status), call->reason[0] != '\0' ? ": " : "", call->reason);
}

static wvu_status execute(struct call *call, const void *request, uint32_t size)
{
    wvu_status understood = read_request(call, request, size);
    const bool changes = has(call, CHANGES);
    char reason[REASON_SIZE];
    wvu_status status = wvu_sensor_begin_command(call->sensor, changes, reason);
    if (status != WVU_STATUS_OK)
        return fail(call, status, reason);
    status = understood == WVU_STATUS_OK ? call->command->run(call) : understood;
    complete_reason(call, status);
    if (changes)
        tell(call, status);
    wvu_sensor_end_command(call->sensor, changes);
    return status;
}

/* Why it failed: as much of it as there is room for, and no half characters. */
static void answer_reason(struct call *call)
{
    size_t length = strlen(call->reason);
    call->answer.used = 0;
    if (length > call->answer.room) {
        length = call->answer.room;
        while (length != 0 && ((uint8_t)call->reason[length] & 0xC0) == 0x80)
            length--;
    }
    (void)wvu_answer_bytes(&call->answer, call->reason, length);
}

uint32_t wvu_command_answer(struct wvu_sensor *sensor, const struct wvu_requester *requester,
                            const void *request, uint32_t size, void *buffer, uint32_t capacity)
{
    struct wvu_response *response = buffer;
    const uint32_t most = capacity < WVU_RESPONSE_MAX ? capacity : WVU_RESPONSE_MAX;
    struct call call = {
        .sensor = sensor,
        .requester = requester,
        .answer = {.out = (uint8_t *)(response + 1), .room = most - (uint32_t)sizeof *response}};
    wvu_status status = execute(&call, request, size);
    wvu_sensor_count_command(sensor, status != WVU_STATUS_OK);
    if (status == WVU_STATUS_BUFFER_TOO_SMALL && !has(&call, CHANGES))
        call.answer.used = 0; /* the answer is what did not fit */
    else if (status != WVU_STATUS_OK)
        answer_reason(&call);
    *response = (struct wvu_response){.version = WVU_PROTOCOL_VERSION,
                                      .size = sizeof *response,
                                      .command = call.number,
                                      .status = status,
                                      .data_size = call.answer.used};
    return (uint32_t)sizeof *response + call.answer.used;
}
