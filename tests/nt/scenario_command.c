/*
 * The command port: requests that are right, wrong, unreadable, or that change while they are read.
 */
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "harness.h"
#include "kernel.h"
#include "watch.h"

#define PORT "\\WVUCommand"

static struct nt_client *connect_to_commands(void)
{
    struct nt_client *client;
    NTSTATUS status = nt_connect(PORT, NULL, 0, &client);
    nt_require(status == STATUS_SUCCESS, "the command port: 0x%08x", (unsigned)status);
    return client;
}

static uint32_t write_echo(uint8_t *at, const char *text)
{
    struct wvu_request request = {.version = WVU_PROTOCOL_VERSION,
                                  .size = sizeof request,
                                  .command = WVU_COMMAND_ECHO,
                                  .data_size = (uint32_t)strlen(text)};
    memcpy(at, &request, sizeof request);
    memcpy(at + sizeof request, text, request.data_size);
    return (uint32_t)sizeof request + request.data_size;
}

static void must_echo(struct nt_client *client)
{
    static const char text[] = "hello";
    uint8_t *input = nt_user_alloc(sizeof(struct wvu_request) + 5);
    uint8_t *output = nt_user_alloc(sizeof(struct wvu_response) + 5);
    struct wvu_response response;
    uint32_t returned, size = write_echo(input, text);
    NTSTATUS status = nt_send_message(client, input, size, output, sizeof response + 5, &returned);
    nt_require(status == STATUS_SUCCESS && returned == sizeof response + 5,
               "echo: 0x%08x, %u bytes", (unsigned)status, returned);
    memcpy(&response, output, sizeof response);
    nt_require(response.version == WVU_PROTOCOL_VERSION && response.size == sizeof response &&
                   response.command == WVU_COMMAND_ECHO && response.status == 0 &&
                   response.data_size == 5 && memcmp(output + sizeof response, text, 5) == 0,
               "echo: a wrong response");
    nt_user_free(input);
    nt_user_free(output);
}

static void echo(const char *path, uint32_t scale)
{
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    for (uint32_t i = 0; i < scale; i++) {
        struct nt_client *client = connect_to_commands();
        must_echo(client);
        nt_disconnect(client);
    }
    (void)nt_attach_to(before);
    nt_unload(driver);
}

/* Sends `size` bytes that end at an unmapped page; the answer may be anything but harm. */
static NTSTATUS send_bytes(struct nt_client *client, const void *bytes, uint32_t size,
                           uint32_t output_size, struct wvu_response *response)
{
    uint8_t *input = nt_user_alloc(size), *output = nt_user_alloc(output_size);
    uint32_t returned;
    if (size != 0)
        memcpy(input, bytes, size);
    NTSTATUS status = nt_send_message(client, input, size, output_size != 0 ? output : NULL,
                                      output_size, &returned);
    nt_require(returned <= output_size, "%u of %u bytes returned", returned, output_size);
    memset(response, 0xFF, sizeof *response);
    if (status >= 0 && returned >= sizeof *response)
        memcpy(response, output, sizeof *response);
    nt_user_free(input);
    nt_user_free(output);
    return status;
}

static void wrong_sizes(struct nt_client *client)
{
    uint8_t bytes[WVU_REQUEST_MAX + 64];
    struct wvu_response response;
    memset(bytes, 0, sizeof bytes);
    (void)write_echo(bytes, "0123456789");
    for (uint32_t size = 0; size <= sizeof bytes; size += size < 80 ? 1 : 97) {
        NTSTATUS status = send_bytes(client, bytes, size, 64, &response);
        bool right = size == sizeof(struct wvu_request) + 10;
        nt_require((status >= 0 && response.status == 0) == right, "a request of %u bytes: 0x%08x",
                   size, (unsigned)status);
    }
    for (uint32_t room = 0; room <= 40; room++) {
        NTSTATUS status =
            send_bytes(client, bytes, sizeof(struct wvu_request) + 10, room, &response);
        bool right = room >= sizeof response + 10;
        nt_require((status >= 0 && response.status == 0) == right, "room for %u bytes: 0x%08x",
                   room, (unsigned)status);
    }
}

static void wrong_fields(struct nt_client *client)
{
    static const struct wvu_request wrongs[] = {
        {.version = 0, .size = 32},
        {.version = 2, .size = 32},
        {.version = 1, .size = 0},
        {.version = 1, .size = 31},
        {.version = 1, .size = 65535},
        {.version = 1, .size = 32, .data_size = 1},
        {.version = 1, .size = 32, .data_size = UINT32_MAX},
        {.version = 1, .size = 32, .data_size = UINT32_MAX - 31},
        {.version = 1, .size = 32, .command = 4711},
        {.version = 1, .size = 32, .command = UINT32_MAX},
    };
    struct wvu_response response;
    for (size_t i = 0; i < NT_ARRAY(wrongs); i++) {
        NTSTATUS status =
            send_bytes(client, &wrongs[i], sizeof wrongs[i], sizeof response, &response);
        nt_require(status >= 0 && response.status < 0, "wrong request %zu: 0x%08x, response 0x%08x",
                   i, (unsigned)status, (unsigned)response.status);
    }
}

/* Not mapped, half mapped, read-only, misaligned, in kernel space. */
static void wrong_memory(struct nt_client *client)
{
    uint32_t returned, size;
    uint8_t *input = nt_user_alloc(4096), *output = nt_user_alloc(64);
    memset(input, 0, 4096);
    size = write_echo(input + 1, "odd");
    nt_require(nt_send_message(client, input + 1, size, output + 1, 30, &returned) == 0,
               "misaligned buffers are not taken");
    size = write_echo(input, "abc");
    nt_require(nt_send_message(client, NULL, 64, output, 64, &returned) < 0, "no input");
    nt_require(nt_send_message(client, input, size, NULL, 64, &returned) < 0, "no output");
    nt_require(nt_send_message(client, input + 4064, 64, output, 64, &returned) < 0,
               "input beyond the mapping");
    nt_require(nt_send_message(client, input, size, output + 50, 64, &returned) < 0,
               "output beyond the mapping");
    uint8_t *constant = nt_user_alloc(64);
    nt_user_read_only(constant);
    nt_require(nt_send_message(client, input, size, constant, 64, &returned) < 0,
               "output read-only");
    nt_user_free(constant);
    nt_user_unmap(input);
    nt_require(nt_send_message(client, input, size, output, 64, &returned) < 0, "input unmapped");
    nt_user_free(input);
    nt_user_unmap(output);
    input = nt_user_alloc(64);
    size = write_echo(input, "abc");
    nt_require(nt_send_message(client, input, size, output, 64, &returned) < 0, "output unmapped");
    nt_user_free(input);
    nt_user_free(output);
}

static void bad_requests(const char *path, uint32_t scale)
{
    (void)scale;
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    struct nt_client *client = connect_to_commands();
    wrong_sizes(client);
    must_echo(client);
    wrong_fields(client);
    must_echo(client);
    wrong_memory(client);
    must_echo(client);
    (void)nt_attach_to(before);
    nt_unload(driver);
    nt_disconnect(client);
}

/* ---- memory that changes meanwhile ---------------------------------------------------------------------- */

struct meddler {
    struct wvu_request *volatile request;
    atomic_bool stop;
};

/* Sizes that were right when they were checked become wrong: a driver that reads them twice falls for
 * it. */
static void meddle(void *context)
{
    struct meddler *meddler = context;
    volatile struct wvu_request *request = meddler->request;
    while (!meddler->stop) {
        request->data_size = UINT32_MAX;
        request->size = 65535;
        request->data_size = 5;
        request->size = sizeof(struct wvu_request);
    }
}

static void changing_request(const char *path, uint32_t scale)
{
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    struct nt_client *client = connect_to_commands();
    uint8_t *input = nt_user_alloc(64), *output = nt_user_alloc(64);
    struct meddler meddler = {.request = (struct wvu_request *)(void *)input};
    uint32_t size = write_echo(input, "hello"), returned, right = 0;
    struct nt_runner *runner = nt_run_thread("meddler", NULL, meddle, &meddler);
    for (uint32_t i = 0; i < scale; i++) {
        struct wvu_response response;
        nt_require(nt_send_message(client, input, size, output, 64, &returned) >= 0, "no answer");
        memcpy(&response, output, sizeof response);
        nt_require(returned == sizeof response + response.data_size, "%u bytes, data of %u",
                   returned, response.data_size);
        right += response.status == 0;
    }
    meddler.stop = true;
    nt_join_thread(runner);
    nt_require(right != 0 && right != scale, "%u of %u were right: nothing changed", right, scale);
    (void)nt_attach_to(before);
    nt_disconnect(client);
    nt_unload(driver);
    nt_user_free(input);
    nt_user_free(output);
}

/* ---- memory that vanishes meanwhile ---------------------------------------------------------------- */

struct vanisher {
    void *_Atomic memory; /* NULL: nothing to do */
    atomic_bool stop;
};

static void vanish(void *context)
{
    struct vanisher *vanisher = context;
    while (!vanisher->stop) {
        void *memory = vanisher->memory;
        if (memory == NULL)
            continue;
        nt_user_unmap(memory);
        vanisher->memory = NULL;
    }
}

/* The program unmaps what it sent, or where it wants the answer, while the driver is at it. */
static void vanishing_request(const char *path, uint32_t scale)
{
    static char text[40001];
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    struct nt_client *client = connect_to_commands();
    struct vanisher vanisher = {NULL, false};
    uint32_t answered = 0;
    memset(text, 'x', sizeof text - 1);
    struct nt_runner *runner = nt_run_thread("vanisher", NULL, vanish, &vanisher);
    for (uint32_t i = 0; i < scale; i++) {
        uint8_t *input = nt_user_alloc(sizeof(struct wvu_request) + sizeof text);
        uint8_t *output = nt_user_alloc(sizeof(struct wvu_response) + sizeof text);
        uint32_t size = write_echo(input, text), returned = 0;
        vanisher.memory = i % 2 == 0 ? input : output;
        NTSTATUS status = nt_send_message(client, input, size, output,
                                          sizeof(struct wvu_response) + sizeof text, &returned);
        answered += status >= 0;
        while (vanisher.memory != NULL)
            ;
        nt_user_free(input);
        nt_user_free(output);
    }
    vanisher.stop = true;
    nt_join_thread(runner);
    nt_require(answered != scale, "all of %u were answered: nothing vanished", scale);
    must_echo(client);
    (void)nt_attach_to(before);
    nt_disconnect(client);
    nt_unload(driver);
}

/* ---- many clients ------------------------------------------------------------------------------------ */

#define CLIENTS 64u

struct crowd {
    uint32_t rounds;
    struct nt_process *process;
    atomic_uint arrived;
};

static bool all_arrived(void *context)
{
    return ((struct crowd *)context)->arrived == CLIENTS;
}

static void ask(void *context)
{
    struct crowd *crowd = context;
    (void)nt_attach_to(crowd->process);
    struct nt_client *client = connect_to_commands();
    crowd->arrived++;
    nt_wait_until(all_arrived, crowd, "64 clients are connected");
    for (uint32_t i = 0; i < crowd->rounds; i++)
        must_echo(client);
    nt_disconnect(client);
}

static void many_clients(const char *path, uint32_t scale)
{
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    struct crowd crowd = {.rounds = scale, .process = nt_attach_to(before)};
    struct nt_runner *runners[CLIENTS];
    struct nt_client *one_more, *clients[CLIENTS];
    (void)nt_attach_to(crowd.process);
    for (uint32_t i = 0; i < CLIENTS; i++)
        clients[i] = connect_to_commands();
    NTSTATUS status = nt_connect(PORT, NULL, 0, &one_more);
    nt_require(status == STATUS_CONNECTION_COUNT_LIMIT, "client %u: 0x%08x", CLIENTS + 1,
               (unsigned)status);
    for (uint32_t i = 0; i < CLIENTS; i++)
        nt_disconnect(clients[i]);
    for (uint32_t i = 0; i < CLIENTS; i++)
        runners[i] = nt_run_thread("client", crowd.process, ask, &crowd);
    for (uint32_t i = 0; i < CLIENTS; i++)
        nt_join_thread(runners[i]);
    nt_require(nt_connections(PORT) == 0, "%u clients are connected still", nt_connections(PORT));
    (void)nt_attach_to(before);
    nt_unload(driver);
}

/* ---- every command ------------------------------------------------------------------------------------ */

/* Who gave a command stands in the stream. */
static void told_who(struct nt_watch *watch)
{
    static const char path[] = "\\Device\\HarddiskVolume3\\Tools\\wvuctl.exe";
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 7, 8, 9, 500}};
    UNICODE_STRING image = nt_string_of(path);
    const struct nt_process_plan plan = {
        .id = 500, .user = &user, .administrator = true, .image_file_name = &image};
    struct nt_process *tool = nt_process_new(&plan);
    struct nt_process *before = nt_attach_to(tool);
    nt_must_control(WVU_COMMAND_SET_LOG, NULL, "comms=info");
    (void)nt_attach_to(before);
    const struct wvu_command_executed *event = nt_watch_next(watch, WVU_EVENT_CommandExecuted, 500);
    nt_require(event->command == WVU_COMMAND_SET_LOG && event->status == 0 &&
                   event->record.process_key == nt_process_start_key(tool),
               "CommandExecuted: command %u", event->command);
    nt_require(strcmp(nt_event_text(event, &event->user_sid), "S-1-5-21-7-8-9-500") == 0,
               "CommandExecuted: user %s", nt_event_text(event, &event->user_sid));
    nt_require(strcmp(nt_event_text(event, &event->image_file_name), path) == 0,
               "CommandExecuted: program %s", nt_event_text(event, &event->image_file_name));
    nt_process_release(tool);
    nt_string_free(&image);
}

static void expect_status(uint32_t command, const char *probe, const char *text,
                          wvu_status expected)
{
    char why[256];
    uint32_t size;
    wvu_status status = nt_control(command, probe, text, why, sizeof why, &size);
    nt_require(status == expected && size != 0, "command %u: 0x%08x %.*s", command,
               (unsigned)status, (int)size, why);
}

static void questions(void)
{
    static char text[WVU_RESPONSE_MAX];
    struct wvu_sensor_status status;
    struct wvu_statistics statistics;
    uint32_t size;
    wvu_status code = nt_control(WVU_COMMAND_GET_STATUS, NULL, NULL, &status, sizeof status, &size);
    nt_require(code == WVU_STATUS_OK && status.host == WVU_HOST_WINDOWS && status.process_id == 4 &&
                   status.reader_process_id == 400 && status.is_protected == 0,
               "status: 0x%08x, reader %u", (unsigned)code, status.reader_process_id);
    code = nt_control(WVU_COMMAND_GET_STATISTICS, NULL, NULL, text, sizeof text, &size);
    memcpy(&statistics, text, sizeof statistics);
    nt_require(code == WVU_STATUS_OK &&
                   memcmp(text + statistics.host_counters.offset, "processes=", 10) == 0,
               "the host's counters are missing");
    code = nt_control(WVU_COMMAND_GET_SCHEMA, NULL, NULL, text, sizeof text, &size);
    nt_require(code == WVU_STATUS_OK && size > 1000, "the schema: 0x%08x", (unsigned)code);
}

static void commands(const char *path, uint32_t scale)
{
    struct nt_watch watch;
    (void)scale;
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_watch_begin(&watch);
    told_who(&watch);
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, NULL, NULL);
    nt_require(!nt_process_callback_registered() && !nt_image_callback_registered() &&
                   !nt_thread_callback_registered(),
               "all probes are disabled, and callbacks are registered");
    nt_must_control(WVU_COMMAND_ENABLE_PROBE, NULL, NULL);
    nt_require(nt_process_callback_registered() && nt_image_callback_registered() &&
                   nt_thread_callback_registered(),
               "all probes are enabled, and callbacks are missing");
    nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, "ImageLoad", "ImageLoad=off");
    expect_status(WVU_COMMAND_CONFIGURE_PROBE, "ImageLoad", "ImageLoad=perhaps",
                  WVU_STATUS_INVALID_PARAMETER);
    expect_status(WVU_COMMAND_SHUTDOWN, NULL, NULL, WVU_STATUS_NOT_SUPPORTED);
    expect_status(WVU_COMMAND_ONE_SHOT_KILL, NULL, "everybody", WVU_STATUS_INVALID_PARAMETER);
    questions();
    nt_watch_end(&watch);
    (void)nt_attach_to(before);
    nt_unload(driver);
}

/* ---- switching under load ---------------------------------------------------------------------------- */

struct load {
    struct nt_truth *truth;
    atomic_bool stop;
};

static void produce(void *context)
{
    const struct timespec pause = {.tv_nsec = 1000000}; /* the machine is for the commands, too */
    struct load *load = context;
    struct nt_actor *actor = nt_truth_cast(load->truth, NT_PLAIN);
    while (!load->stop) {
        nt_actor_start(actor);
        nt_actor_load_image(actor, 2);
        nt_actor_exit(actor);
        nanosleep(&pause, NULL);
    }
}

/* Every event that was accepted is delivered, told as lost, or still there. */
static void check_identity(void)
{
    struct wvu_statistics now;
    uint32_t size;
    wvu_status status = nt_control(WVU_COMMAND_GET_STATISTICS, NULL, NULL, &now, sizeof now, &size);
    nt_require(status == WVU_STATUS_OK &&
                   now.accepted == now.delivered + now.lost + now.queued + now.in_flight,
               "%llu accepted, %llu delivered, %llu lost, %llu queued, %llu in flight",
               (unsigned long long)now.accepted, (unsigned long long)now.delivered,
               (unsigned long long)now.lost, (unsigned long long)now.queued,
               (unsigned long long)now.in_flight);
}

/* A request that is just being answered has one for a moment. */
static bool has_blocks(void *count)
{
    return nt_pool_blocks() == *(const size_t *)count;
}

/* The table of processes is emptied each time: nobody is without room. */
static void check_room(void)
{
    static char text[WVU_RESPONSE_MAX];
    struct wvu_statistics statistics;
    uint32_t size;
    wvu_status status =
        nt_control(WVU_COMMAND_GET_STATISTICS, NULL, NULL, text, sizeof text - 1, &size);
    text[size] = '\0';
    memcpy(&statistics, text, sizeof statistics);
    nt_require(status == WVU_STATUS_OK && strstr(text + statistics.host_counters.offset,
                                                 "processes-without-room=0") != NULL,
               "processes are without room");
}

static void switching(const char *path, uint32_t scale)
{
    static const char *const probes[] = {"ImageLoad", "ThreadCreate", "ProcessCreate"};
    struct load load = {.truth = nt_truth_new()};
    struct nt_stream stream = {0};
    struct nt_runner *runners[2];
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "LogLevel", 0);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    struct nt_reader_thread *reader = nt_reader_thread_start(&stream);
    /* It keeps what it told from its first run on, half a minute after the start. */
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, "ProcessListValidation", NULL);
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, "ImageLoad", NULL);
    nt_must_control(WVU_COMMAND_ENABLE_PROBE, "ImageLoad", NULL);
    size_t blocks = nt_pool_blocks();
    for (int i = 0; i < 2; i++)
        runners[i] = nt_run_thread("producer", NULL, produce, &load);
    for (uint32_t i = 0; i < scale; i++) {
        nt_must_control(WVU_COMMAND_DISABLE_PROBE, probes[i % 3], NULL);
        nt_must_control(WVU_COMMAND_ENABLE_PROBE, probes[i % 3], NULL);
        if (i % 500 == 0)
            check_identity();
    }
    load.stop = true;
    for (int i = 0; i < 2; i++)
        nt_join_thread(runners[i]);
    check_identity();
    check_room();
    nt_wait_until(has_blocks, &blocks, "as many blocks of pool as before");
    nt_reader_thread_stop(reader);
    (void)nt_attach_to(before);
    nt_unload(driver);
    nt_truth_free(load.truth);
}

static const struct scenario scenarios[] = {
    {"echo", echo, 1000, 30, "the command port answers"},
    {"bad-requests", bad_requests, 1, 30, "wrong sizes, fields and memory"},
    {"changing-request", changing_request, 20000, 60, "a request that changes while it is read"},
    {"vanishing-request", vanishing_request, 1000, 60, "buffers that are unmapped meanwhile"},
    {"many-clients", many_clients, 50, 60, "64 clients at once, and one more"},
    {"commands", commands, 1, 30, "each command, and who gave it"},
    {"switching", switching, 10000, 240, "probes switched off and on 10,000 times under load"},
};
const struct scenario_table nt_command_scenarios = NT_SCENARIOS(scenarios);
