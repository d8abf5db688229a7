/*
 * \WVUCommand: moves the bytes of requests and responses, and finds out who asks. What a request means is
 * the engine's (command.c).
 *
 * The Filter Manager calls on_message in the client's thread at PASSIVE_LEVEL with the client's raw
 * buffers. A request is copied once, guarded, into memory of the driver, and only the copy is looked
 * at: what the client changes meanwhile does not matter, and neither does alignment. The response is
 * made in memory of the driver and copied out, guarded. Both are as large as this client's buffers and no
 * larger than the protocol allows, and are gone when the call returns: clients that ask and never look at
 * what they get cost nothing.
 *
 * The status of the request is in the response; on_message itself fails only when there is no way to
 * answer (a buffer that faults, one too small for a response, no memory), with a status
 * that the client gets. A command that changed something and whose response cannot be delivered has
 * happened all the same: the stream says so.
 *
 * A connection's cookie is its place in `clients`, from 1. Lock: `lock` guards `clients`; the Filter
 * Manager is never called with it held. Callbacks are inside `callbacks`, which close runs down
 * first, so that afterwards it is alone.
 */
#include "port_command.h"

#include "command.h"
#include "guarded.h"
#include "log.h"
#include "requester.h"
#include "server_port.h"

#define COMMAND_TAG WVU_TAG('W', 'v', 'C', 'o')

/* The Filter Manager gives the cookie of the connection only, and there is one command port. */
static struct wvu_port_command *the_port;

/* ---- connections: PASSIVE, the client's thread ---------------------------------------------------
 */

_IRQL_requires_max_(PASSIVE_LEVEL) static NTSTATUS FLTAPI
    on_connect(PFLT_PORT client, PVOID cookie, PVOID context, ULONG size, PVOID *connection_cookie)
{
    struct wvu_port_command *port = cookie;
    NTSTATUS status = WVU_STATUS_CONNECTION_LIMIT;
    (void)context;
    (void)size;
    *connection_cookie = NULL;
    if (!wvu_rundown_acquire(&port->callbacks))
        return WVU_NTSTATUS_STOPPING;
    wvu_mutex_acquire(&port->lock);
    for (uintptr_t i = 0; i < WVU_COMMAND_CONNECTIONS; i++) {
        if (port->clients[i] == NULL) {
            port->clients[i] = client;
            *connection_cookie = (PVOID)(i + 1);
            status = STATUS_SUCCESS;
            break;
        }
    }
    wvu_mutex_release(&port->lock);
    wvu_rundown_release(&port->callbacks);
    return status;
}

/* Takes the client's port away, so that it is closed once, and closes it. */
static void close_client(struct wvu_port_command *port, uintptr_t index)
{
    wvu_mutex_acquire(&port->lock);
    PFLT_PORT client = port->clients[index];
    port->clients[index] = NULL;
    wvu_mutex_release(&port->lock);
    if (client != NULL)
        FltCloseClientPort(port->filter, &client);
}

_IRQL_requires_max_(PASSIVE_LEVEL) static VOID FLTAPI on_disconnect(PVOID cookie)
{
    struct wvu_port_command *port = the_port;
    uintptr_t number = (uintptr_t)cookie;
    if (number == 0 || number > WVU_COMMAND_CONNECTIONS || !wvu_rundown_acquire(&port->callbacks))
        return;
    close_client(port, number - 1);
    wvu_rundown_release(&port->callbacks);
}

/* ---- requests: PASSIVE, the client's thread ------------------------------------------------------
 */

/* Copies the request in, asks the engine, copies the response out. Of a request that is too large the engine
 * needs to know no more than that. */
static NTSTATUS answer(struct wvu_port_command *port, void *request, ULONG copied, ULONG size,
                       const void *input, void *response, uint32_t capacity, void *output,
                       ULONG *returned)
{
    struct wvu_requester requester;
    NTSTATUS status = wvu_copy_from_user(request, input, copied);
    if (!NT_SUCCESS(status))
        return status;
    wvu_requester_describe(&requester);
    uint32_t answered =
        wvu_command_answer(port->sensor, &requester, request, size, response, capacity);
    status = wvu_copy_to_user(output, response, answered);
    if (NT_SUCCESS(status))
        *returned = answered;
    return status;
}

static NTSTATUS exchange_message(struct wvu_port_command *port, const void *input, ULONG input_size,
                                 void *output, ULONG output_size, ULONG *returned)
{
    if (input == NULL || input_size == 0)
        return WVU_STATUS_BAD_MESSAGE;
    if (output == NULL || output_size < sizeof(struct wvu_response))
        return WVU_STATUS_BUFFER_TOO_SMALL;
    ULONG copied = input_size < WVU_REQUEST_MAX ? input_size : WVU_REQUEST_MAX;
    uint32_t capacity = output_size < WVU_RESPONSE_MAX ? output_size : WVU_RESPONSE_MAX;
    void *request = wvu_os_alloc(copied, COMMAND_TAG);
    if (request == NULL)
        return WVU_STATUS_NO_MEMORY;
    NTSTATUS status = WVU_STATUS_NO_MEMORY;
    void *response = wvu_os_alloc(capacity, COMMAND_TAG);
    if (response != NULL)
        status =
            answer(port, request, copied, input_size, input, response, capacity, output, returned);
    wvu_os_free(response, COMMAND_TAG);
    wvu_os_free(request, COMMAND_TAG);
    return status;
}

_IRQL_requires_max_(PASSIVE_LEVEL) static NTSTATUS FLTAPI
    on_message(PVOID cookie, PVOID input, ULONG input_size, PVOID output, ULONG output_size,
               PULONG returned)
{
    struct wvu_port_command *port = the_port;
    (void)cookie;
    *returned = 0;
    if (!wvu_rundown_acquire(&port->callbacks))
        return WVU_NTSTATUS_STOPPING;
    NTSTATUS status = exchange_message(port, input, input_size, output, output_size, returned);
    if (!NT_SUCCESS(status))
        wvu_log_warning(WVU_LOG_COMMS, "a request of process %u was not answered: %s (0x%08x)",
                        (unsigned)(uintptr_t)PsGetCurrentProcessId(), wvu_strerror(status),
                        (unsigned)status);
    wvu_rundown_release(&port->callbacks);
    return status;
}

/* ---- life --------------------------------------------------------------------------------------
 */

NTSTATUS wvu_port_command_open(struct wvu_port_command *port, PFLT_FILTER filter,
                               struct wvu_sensor *sensor)
{
    RtlZeroMemory(port, sizeof *port);
    port->filter = filter;
    port->sensor = sensor;
    the_port = port;
    wvu_status status = wvu_mutex_init(&port->lock);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_rundown_init(&port->callbacks);
    if (status != WVU_STATUS_OK)
        goto destroy_lock;
    status = wvu_server_port_create(filter, WVU_COMMAND_PORT_NAME, port, on_connect, on_disconnect,
                                    on_message, WVU_COMMAND_CONNECTIONS, &port->server);
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_COMMS, "cannot create port \\WVUCommand (0x%08x)", (unsigned)status);
        goto destroy_rundown;
    }
    return STATUS_SUCCESS;

destroy_rundown:
    wvu_rundown_destroy(&port->callbacks);
destroy_lock:
    wvu_mutex_destroy(&port->lock);
    return status;
}

void wvu_port_command_close(struct wvu_port_command *port)
{
    FltCloseCommunicationPort(port->server);
    wvu_rundown_wait(&port->callbacks);
    for (uintptr_t i = 0; i < WVU_COMMAND_CONNECTIONS; i++)
        close_client(port, i);
    wvu_rundown_destroy(&port->callbacks);
    wvu_mutex_destroy(&port->lock);
}
