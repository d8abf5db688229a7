/*
 * The command port: requests that are right, wrong, unreadable, or that change while they are read.
 */
#include <stdatomic.h>
#include <string.h>

#include "harness.h"
#include "kernel.h"

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
        bool right = size >= sizeof(struct wvu_request) + 10 && size <= WVU_REQUEST_MAX;
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

static const struct scenario scenarios[] = {
    {"echo", echo, 1000, 30, "the command port answers"},
    {"bad-requests", bad_requests, 1, 30, "wrong sizes, fields and memory"},
    {"changing-request", changing_request, 20000, 60, "a request that changes while it is read"},
};
const struct scenario_table nt_command_scenarios = NT_SCENARIOS(scenarios);
