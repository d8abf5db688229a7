/*
 * The command port on Windows: the Filter Manager's communication port \WVUCommand. Called by control.c; one
 * thread at a time.
 *
 * FilterSendMessage takes no time-out, and the driver answers inside it, in the thread that calls. So each
 * call is made by a thread of its own, and the caller waits for that as long as it likes. When the time is
 * over the thread is left behind: what it uses (handle, buffers) belongs to both, and the last of the two
 * that lets go frees it. Nobody can end the thread while it is in the driver; the process stays until it
 * has come back, even if it is told to exit.
 */
#include "command_port.h"

#include <windows.h>

#include <fltuser.h>
#include <process.h>
#include <stdlib.h>
#include <string.h>

#include "transport_filter.h"
#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

#define PORT_NAME L"\\WVUCommand"

struct wvu_command_port {
    HANDLE handle;
    volatile LONG owners; /* the client and, while there is one, the thread of the call */
    /* Of the call; the thread's until it has ended. */
    HRESULT result;
    DWORD request_size;
    DWORD response_size;
    union {
        uint64_t align;
        char bytes[WVU_REQUEST_MAX];
    } request;
    union {
        uint64_t align;
        char bytes[WVU_RESPONSE_MAX];
    } response;
};

static void let_go(struct wvu_command_port *port)
{
    if (InterlockedDecrement(&port->owners) != 0)
        return;
    (void)CloseHandle(port->handle);
    free(port);
}

static unsigned __stdcall call(void *context)
{
    struct wvu_command_port *port = context;
    port->result =
        FilterSendMessage(port->handle, port->request.bytes, port->request_size,
                          port->response.bytes, sizeof port->response.bytes, &port->response_size);
    let_go(port);
    return 0;
}

int wvu_command_port_open(const char *run_dir, int timeout_ms, struct wvu_command_port **port)
{
    (void)timeout_ms; /* the Filter Manager answers at once */
    if (run_dir != NULL)
        return WVU_STATUS_INVALID_PARAMETER;
    struct wvu_command_port *p = calloc(1, sizeof *p);
    if (p == NULL)
        return WVU_STATUS_NO_MEMORY;
    p->owners = 1;
    int status =
        wvu_filter_status(FilterConnectCommunicationPort(PORT_NAME, 0, NULL, 0, NULL, &p->handle));
    if (status != WVU_STATUS_OK) {
        free(p);
        return status;
    }
    *port = p;
    return WVU_STATUS_OK;
}

int wvu_command_port_call(struct wvu_command_port *port, const void *request, size_t size,
                          int timeout_ms, void *response, size_t capacity, size_t *response_size)
{
    if (size > sizeof port->request.bytes)
        return WVU_STATUS_INVALID_PARAMETER;
    memcpy(port->request.bytes, request, size);
    port->request_size = (DWORD)size;
    port->response_size = 0;
    (void)InterlockedIncrement(&port->owners);
    HANDLE thread = (HANDLE)_beginthreadex(NULL, 0, call, port, 0, NULL);
    if (thread == NULL) {
        let_go(port);
        return WVU_STATUS_NO_RESOURCES;
    }
    DWORD ended = WaitForSingleObject(thread, timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms);
    if (ended != WAIT_OBJECT_0)
        (void)CancelSynchronousIo(thread); /* helps when it has not come to the driver yet */
    (void)CloseHandle(thread);
    if (ended != WAIT_OBJECT_0)
        return ended == WAIT_TIMEOUT ? WVU_STATUS_TIMEOUT : WVU_STATUS_IO_ERROR;
    if (FAILED(port->result))
        return wvu_filter_status(port->result);
    if (port->response_size > capacity)
        return WVU_STATUS_BAD_MESSAGE;
    memcpy(response, port->response.bytes, port->response_size);
    *response_size = port->response_size;
    return WVU_STATUS_OK;
}

void wvu_command_port_close(struct wvu_command_port *port)
{
    if (port != NULL)
        let_go(port);
}

int64_t wvu_command_port_now_ms(void)
{
    return (int64_t)GetTickCount64();
}

void wvu_command_port_pause(int ms)
{
    Sleep((DWORD)ms);
}
