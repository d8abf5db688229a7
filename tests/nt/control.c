/*
 * A client of the command port; see control.h. Each request has a connection of its own, and its buffers are
 * user memory. Any thread.
 */
#include "control.h"

#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define PORT "\\WVUCommand"

static wvu_status exchange(const struct wvu_request *request, const char *text, void *data,
                           uint32_t capacity, uint32_t *size)
{
    struct nt_client *client;
    struct wvu_response response;
    uint32_t returned = 0;
    uint8_t *input = nt_user_alloc(sizeof *request + request->data_size);
    uint8_t *output = nt_user_alloc(WVU_RESPONSE_MAX);
    memcpy(input, request, sizeof *request);
    if (request->data_size != 0)
        memcpy(input + sizeof *request, text, request->data_size);
    NTSTATUS status = nt_connect(PORT, NULL, 0, &client);
    nt_require(status == STATUS_SUCCESS, "the command port: 0x%08x", (unsigned)status);
    status = nt_send_message(client, input, (uint32_t)sizeof *request + request->data_size, output,
                             WVU_RESPONSE_MAX, &returned);
    nt_disconnect(client);
    nt_require(status == STATUS_SUCCESS && returned >= sizeof response,
               "command %u: 0x%08x, %u bytes", request->command, (unsigned)status, returned);
    memcpy(&response, output, sizeof response);
    nt_require(response.data_size <= returned - sizeof response, "command %u: %u bytes of data",
               request->command, response.data_size);
    uint32_t count = response.data_size < capacity ? response.data_size : capacity;
    if (data != NULL)
        memcpy(data, output + response.size, count);
    if (size != NULL)
        *size = count;
    nt_user_free(input);
    nt_user_free(output);
    return response.status;
}

static void find_probe(const char *name, uint8_t id[16])
{
    static const struct wvu_request request = {.version = WVU_PROTOCOL_VERSION,
                                               .size = sizeof request,
                                               .command = WVU_COMMAND_ENUMERATE_PROBES};
    uint8_t *entries = malloc(WVU_RESPONSE_MAX);
    uint32_t size = 0;
    if (entries == NULL)
        abort();
    wvu_status status = exchange(&request, NULL, entries, WVU_RESPONSE_MAX, &size);
    nt_require(status == WVU_STATUS_OK, "EnumerateProbes: 0x%08x", (unsigned)status);
    for (uint32_t at = 0; at + sizeof(struct wvu_probe_entry) <= size;) {
        struct wvu_probe_entry entry;
        memcpy(&entry, entries + at, sizeof entry);
        if (entry.name.size == strlen(name) &&
            memcmp(entries + at + entry.name.offset, name, entry.name.size) == 0) {
            memcpy(id, entry.probe_id, 16);
            free(entries);
            return;
        }
        at += entry.size;
    }
    nt_broken(NT_RULE_GROUND_TRUTH, "there is no probe %s", name);
}

wvu_status nt_control(uint32_t command, const char *probe, const char *text, void *data,
                      uint32_t capacity, uint32_t *size)
{
    struct wvu_request request = {.version = WVU_PROTOCOL_VERSION,
                                  .size = sizeof request,
                                  .command = command,
                                  .data_size = text != NULL ? (uint32_t)strlen(text) : 0};
    if (probe != NULL)
        find_probe(probe, request.probe_id);
    return exchange(&request, text, data, capacity, size);
}

void nt_must_control(uint32_t command, const char *probe, const char *text)
{
    char why[256];
    uint32_t size;
    wvu_status status = nt_control(command, probe, text, why, sizeof why, &size);
    nt_require(status == WVU_STATUS_OK, "command %u for %s (%s): 0x%08x %.*s", command,
               probe != NULL ? probe : "all", text != NULL ? text : "", (unsigned)status, (int)size,
               why);
}

wvu_status nt_try_control(uint32_t command, const char *text)
{
    struct nt_client *client;
    const struct wvu_request request = {.version = WVU_PROTOCOL_VERSION,
                                        .size = sizeof request,
                                        .command = command,
                                        .data_size = (uint32_t)strlen(text)};
    struct wvu_response response = {.status = WVU_STATUS_INTERNAL};
    uint32_t returned = 0;
    uint8_t *input = nt_user_alloc(sizeof request + request.data_size);
    uint8_t *output = nt_user_alloc(1024);
    memcpy(input, &request, sizeof request);
    memcpy(input + sizeof request, text, request.data_size);
    NTSTATUS status = nt_connect(PORT, NULL, 0, &client);
    nt_require(status == STATUS_SUCCESS, "the command port: 0x%08x", (unsigned)status);
    status = nt_send_message(client, input, (uint32_t)sizeof request + request.data_size, output,
                             1024, &returned);
    nt_disconnect(client);
    if (returned >= sizeof response)
        memcpy(&response, output, sizeof response);
    nt_user_free(input);
    nt_user_free(output);
    return status < 0 ? status : response.status;
}
