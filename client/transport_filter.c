/*
 * The transport on Windows: the Filter Manager's communication port \WVUPort. Called by client.c.
 *
 * A few receives are always pending, each with a buffer of its own, and complete through a completion
 * port. So the next message is taken off the sensor's hands while the one before is still being worked on,
 * and nothing polls. A message is copied out of its buffer, and the receive is started again at once.
 *
 * A timed-out message is sent again under another id, and the sensor does not wait for the first one any
 * more: a reply to it fails with ERROR_FLT_NO_WAITER_FOR_REPLY, and that is no error here, as a late reply
 * over the socket is none.
 *
 * Threads: one at a time, except wvu_transport_interrupt, which posts to the completion port; `interrupted`
 * keeps any number of interrupts one.
 */
#include "transport_filter.h"

#include <windows.h>

#include <fltuser.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

#define PORT_NAME L"\\WVUPort"
#define RECEIVES  2 /* one message is in flight at a time: one is worked on, one is pending */

/* How long close waits for the receives that it has cancelled. */
#define CLOSE_TIMEOUT_MS 5000

#ifndef ERROR_FLT_NO_WAITER_FOR_REPLY
#define ERROR_FLT_NO_WAITER_FOR_REPLY ((HRESULT)0x801F0020L)
#endif
#ifndef ERROR_FLT_DELETING_OBJECT
#define ERROR_FLT_DELETING_OBJECT ((HRESULT)0x801F000BL)
#endif

enum packet { PACKET_MESSAGE = 1, PACKET_INTERRUPT = 2 };

struct receive {
    OVERLAPPED overlapped; /* first: a completed one is the receive */
    bool pending;
    union {
        FILTER_MESSAGE_HEADER header;
        uint64_t align;
        char bytes[WVU_MESSAGE_MAX];
    } message;
};

struct wvu_transport {
    HANDLE port;
    HANDLE completion;
    volatile LONG interrupted;
    struct receive *ready; /* completed, not yet given out */
    int failed;            /* why there will be no more */
    struct receive receives[RECEIVES];
};

_Static_assert(sizeof(FILTER_MESSAGE_HEADER) == sizeof(struct wvu_message_header),
               "message header");
_Static_assert(sizeof(FILTER_REPLY_HEADER) == sizeof(struct wvu_reply_header), "reply header");

/* ---- statuses ------------------------------------------------------------------------------------------ */

static int status_of_error(DWORD error)
{
    switch (error) {
    case ERROR_SUCCESS:
        return WVU_STATUS_OK;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_BAD_PATHNAME:
        return WVU_STATUS_NAME_NOT_FOUND;
    case ERROR_ACCESS_DENIED:
    case ERROR_PRIVILEGE_NOT_HELD:
        return WVU_STATUS_ACCESS_DENIED;
    case ERROR_CONNECTION_COUNT_LIMIT:
        return WVU_STATUS_CONNECTION_LIMIT;
    case ERROR_INSUFFICIENT_BUFFER:
    case ERROR_MORE_DATA:
        return WVU_STATUS_BAD_MESSAGE;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
        return WVU_STATUS_NO_MEMORY;
    case ERROR_NO_SYSTEM_RESOURCES:
        return WVU_STATUS_NO_RESOURCES;
    case ERROR_INVALID_HANDLE: /* what STATUS_PORT_DISCONNECTED becomes */
    case ERROR_OPERATION_ABORTED:
    case ERROR_BROKEN_PIPE:
    case ERROR_DEVICE_NOT_CONNECTED:
        return WVU_STATUS_DISCONNECTED;
    default:
        return WVU_STATUS_IO_ERROR;
    }
}

int wvu_filter_status(HRESULT result)
{
    if (SUCCEEDED(result))
        return WVU_STATUS_OK;
    if (result == ERROR_FLT_DELETING_OBJECT)
        return WVU_STATUS_STOPPING;
    if (HRESULT_FACILITY(result) == FACILITY_WIN32)
        return status_of_error((DWORD)HRESULT_CODE(result));
    return WVU_STATUS_IO_ERROR;
}

/* ---- receives ----------------------------------------------------------------------------------------------
 */

static int start_receive(struct wvu_transport *t, struct receive *receive)
{
    memset(&receive->overlapped, 0, sizeof receive->overlapped);
    memset(receive->message.bytes, 0, sizeof(struct wvu_message_header) + sizeof(struct wvu_batch));
    HRESULT result = FilterGetMessage(t->port, &receive->message.header,
                                      sizeof receive->message.bytes, &receive->overlapped);
    if (FAILED(result) && result != HRESULT_FROM_WIN32(ERROR_IO_PENDING))
        return wvu_filter_status(result);
    receive->pending = true; /* also when it is complete already: the packet comes all the same */
    return WVU_STATUS_OK;
}

/* Waits for a packet. OK: there is a message in t->ready. AGAIN, CANCELLED, or why it failed. */
static int wait_packet(struct wvu_transport *t, DWORD timeout_ms)
{
    DWORD size;
    ULONG_PTR packet;
    OVERLAPPED *overlapped = NULL;
    BOOL good = GetQueuedCompletionStatus(t->completion, &size, &packet, &overlapped, timeout_ms);
    DWORD error = good ? ERROR_SUCCESS : GetLastError();
    if (overlapped == NULL) {
        if (!good)
            return error == WAIT_TIMEOUT ? WVU_STATUS_AGAIN : WVU_STATUS_IO_ERROR;
        (void)InterlockedExchange(&t->interrupted, 0);
        return WVU_STATUS_CANCELLED;
    }
    struct receive *receive = (struct receive *)(void *)overlapped;
    receive->pending = false;
    if (!good) {
        t->failed = status_of_error(error);
        return t->failed;
    }
    t->ready = receive;
    return WVU_STATUS_OK;
}

int wvu_transport_wait(struct wvu_transport *t, int timeout_ms)
{
    if (t->ready != NULL)
        return WVU_STATUS_OK;
    if (t->failed != WVU_STATUS_OK)
        return t->failed;
    return wait_packet(t, timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms);
}

int wvu_transport_receive(struct wvu_transport *t, int timeout_ms, void *buffer, size_t capacity,
                          size_t *size)
{
    int status = wvu_transport_wait(t, timeout_ms);
    if (status != WVU_STATUS_OK)
        return status;
    struct receive *receive = t->ready;
    t->ready = NULL;
    /* The batch says how long it is. How the Filter Manager counts what it transferred is not
     * documented. */
    struct wvu_batch batch;
    memcpy(&batch, receive->message.bytes + sizeof(struct wvu_message_header), sizeof batch);
    *size = sizeof(struct wvu_message_header) + (size_t)batch.size;
    if (*size > capacity || *size > sizeof receive->message.bytes) {
        t->failed = WVU_STATUS_BAD_MESSAGE;
        return t->failed;
    }
    memcpy(buffer, receive->message.bytes, *size);
    status = start_receive(t, receive);
    if (status != WVU_STATUS_OK)
        t->failed = status; /* for the next one: this message is good */
    return WVU_STATUS_OK;
}

int wvu_transport_send(struct wvu_transport *t, const void *reply, size_t size)
{
    /* The Filter Manager's header is copied, because the call takes it as not constant. */
    uint64_t copy[8];
    if (size > sizeof copy)
        return WVU_STATUS_INVALID_PARAMETER;
    memcpy(copy, reply, size);
    HRESULT result = FilterReplyMessage(t->port, (PFILTER_REPLY_HEADER)(void *)copy, (DWORD)size);
    if (result == ERROR_FLT_NO_WAITER_FOR_REPLY)
        return WVU_STATUS_OK;
    return wvu_filter_status(result);
}

int wvu_transport_fd(const struct wvu_transport *t)
{
    (void)t;
    return -1; /* there are none on Windows; wvu_wait waits */
}

void wvu_transport_interrupt(struct wvu_transport *t)
{
    if (InterlockedExchange(&t->interrupted, 1) == 0)
        (void)PostQueuedCompletionStatus(t->completion, 0, PACKET_INTERRUPT, NULL);
}

/* ---- life ------------------------------------------------------------------------------------------------------
 */

static int connect_port(struct wvu_transport *t)
{
    int status =
        wvu_filter_status(FilterConnectCommunicationPort(PORT_NAME, 0, NULL, 0, NULL, &t->port));
    if (status != WVU_STATUS_OK) {
        t->port = INVALID_HANDLE_VALUE;
        return status;
    }
    t->completion = CreateIoCompletionPort(t->port, NULL, PACKET_MESSAGE, 1);
    if (t->completion == NULL)
        return status_of_error(GetLastError());
    for (unsigned i = 0; i < RECEIVES && status == WVU_STATUS_OK; i++)
        status = start_receive(t, &t->receives[i]);
    return status;
}

int wvu_transport_open(const char *run_dir, int timeout_ms, struct wvu_transport **transport,
                       size_t *message_max)
{
    (void)timeout_ms; /* the Filter Manager answers at once */
    if (run_dir != NULL)
        return WVU_STATUS_INVALID_PARAMETER;
    struct wvu_transport *t = calloc(1, sizeof *t);
    if (t == NULL)
        return WVU_STATUS_NO_MEMORY;
    t->port = INVALID_HANDLE_VALUE;
    int status = connect_port(t);
    if (status != WVU_STATUS_OK) {
        wvu_transport_close(t);
        return status;
    }
    *transport = t;
    *message_max = WVU_MESSAGE_MAX;
    return WVU_STATUS_OK;
}

static bool any_pending(const struct wvu_transport *t)
{
    for (unsigned i = 0; i < RECEIVES; i++) {
        if (t->receives[i].pending)
            return true;
    }
    return false;
}

/* Takes packets until every receive has come back; gives up when nothing comes any more. */
static void await_receives(struct wvu_transport *t)
{
    while (any_pending(t)) {
        DWORD size;
        ULONG_PTR packet;
        OVERLAPPED *overlapped = NULL;
        BOOL good =
            GetQueuedCompletionStatus(t->completion, &size, &packet, &overlapped, CLOSE_TIMEOUT_MS);
        if (overlapped != NULL)
            ((struct receive *)(void *)overlapped)->pending = false;
        else if (!good)
            return;
    }
}

void wvu_transport_close(struct wvu_transport *t)
{
    if (t == NULL)
        return;
    /* The buffers are the system's until each receive has come back. */
    if (t->port != INVALID_HANDLE_VALUE) {
        (void)CancelIoEx(t->port, NULL);
        await_receives(t);
        (void)CloseHandle(t->port);
    }
    if (t->completion != NULL)
        (void)CloseHandle(t->completion);
    if (!any_pending(t)) /* otherwise a leak is the lesser evil */
        free(t);
}
