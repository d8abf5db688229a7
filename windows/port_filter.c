/*
 * \WVUPort: one reader at a time, sends with a bound, disconnects at any moment.
 *
 * Who calls what
 *   Filter Manager, in the reader's thread, PASSIVE_LEVEL: on_connect, on_disconnect.
 *   The dispatcher's thread: send, disconnect. Any thread: cancel. The driver: the life cycle.
 *   A thread of its own: the watchdog.
 *
 * A connection has a number (generation), which is also its cookie. A cookie that is a number can
 * be stale without harm: after a reader was thrown out, the Filter Manager may or may not call
 * on_disconnect for it, now or when the process at last closes its handle, and by then another
 * reader may be connected. Only the callback that names the present generation counts.
 *
 *     free --on_connect--> reader --close_reader--> closing --last user--> free
 *
 * close_reader is where every connection ends, whoever wants it: the reader went (on_disconnect),
 * the dispatcher gave it up (disconnect), the sensor stops (cancel), a send overran (watchdog). The
 * first one takes the connection away under the lock, so FltCloseClientPort is called exactly once
 * for each ("On return, the variable receives NULL ... cannot be NULL on input").
 *
 * FltSendMessage and FltCloseClientPort share the variable `client`: "to ensure that any messages
 * sent by FltSendMessage are synchronized properly when the communication client port is being
 * closed, FltCloseClientPort sets this variable to NULL". So a connection's variable is used anew
 * only when nobody is inside a send with it (`users`).
 *
 * The bound: FltSendMessage gets a time-out, never 0, which would mean for ever. It waits in two
 * steps (until the message is taken, until it is answered), and its word is not trusted: a timer
 * set for each send wakes the watchdog thread if a send is still inside half a second after its
 * time, and the watchdog closes the connection, which ends the send.
 *
 * Lock: `lock` (a mutex) guards what port_filter.h says. The dispatcher's lock is taken inside it;
 * the Filter Manager is never called with it held.
 */
#include "port_filter.h"

#include "atomic.h"
#include "log.h"
#include "nt.h"
#include "server_port.h"

#define GRACE_NS      UINT64_C(500000000)
#define NS_PER_TICK   100u
#define COOKIE_OF(g)  ((PVOID)(uintptr_t)(g))
#define GENERATION(c) ((uint64_t)(uintptr_t)(c))

/* The reply as the reader sent it, without its header; room for more than a reply, so that a reader
 * of a later version is understood and a wrong one is seen to be wrong. */
#define REPLY_MAX 128u

static struct wvu_port_filter *port_of(struct wvu_port *port)
{
    return (struct wvu_port_filter *)(void *)port;
}

/* ---- connections --------------------------------------------------------------------------------
 */

/* Lock held. */
static struct wvu_port_connection *free_connection(struct wvu_port_filter *port)
{
    for (uint32_t i = 0; i < WVU_PORT_CONNECTIONS; i++) {
        if (port->connections[i].users == 0)
            return &port->connections[i];
    }
    return NULL;
}

static void put_connection(struct wvu_port_filter *port, struct wvu_port_connection *connection)
{
    wvu_mutex_acquire(&port->lock);
    connection->users--;
    wvu_mutex_release(&port->lock);
}

/* Ends the present connection if it is `generation` (0: whichever it is); false when it is not. */
static bool close_reader(struct wvu_port_filter *port, uint64_t generation)
{
    wvu_mutex_acquire(&port->lock);
    struct wvu_port_connection *connection = port->reader;
    if (connection != NULL && generation != 0 && connection->generation != generation)
        connection = NULL;
    if (connection != NULL) {
        port->reader = NULL;
        wvu_dispatcher_disconnected(port->dispatcher);
    }
    wvu_mutex_release(&port->lock);
    if (connection == NULL)
        return false;
    FltCloseClientPort(port->filter, &connection->client);
    put_connection(port, connection);
    return true;
}

_IRQL_requires_max_(PASSIVE_LEVEL) static NTSTATUS FLTAPI
    on_connect(PFLT_PORT client, PVOID cookie, PVOID context, ULONG size, PVOID *connection_cookie)
{
    struct wvu_port_filter *port = cookie;
    NTSTATUS status = STATUS_SUCCESS;
    (void)context; /* nothing is asked of a reader when it connects */
    (void)size;
    *connection_cookie = NULL;
    if (!wvu_rundown_acquire(&port->callbacks))
        return WVU_NTSTATUS_STOPPING;
    wvu_mutex_acquire(&port->lock);
    struct wvu_port_connection *connection = free_connection(port);
    if (port->cancelled) {
        status = WVU_NTSTATUS_STOPPING;
    } else if (port->reader != NULL || connection == NULL) {
        status = WVU_STATUS_CONNECTION_LIMIT;
    } else {
        connection->client = client;
        connection->users = 1;
        connection->generation = ++port->generations;
        port->reader = connection;
        *connection_cookie = COOKIE_OF(connection->generation);
        wvu_dispatcher_name_reader(port->dispatcher, (uint32_t)(uintptr_t)PsGetCurrentProcessId());
        wvu_dispatcher_connected(port->dispatcher);
    }
    wvu_mutex_release(&port->lock);
    if (NT_SUCCESS(status))
        wvu_log_info(WVU_LOG_COMMS, "a reader connected (process %u)",
                     (unsigned)(uintptr_t)PsGetCurrentProcessId());
    else
        wvu_log_warning(WVU_LOG_COMMS, "a reader was refused (process %u): %s (0x%08x)",
                        (unsigned)(uintptr_t)PsGetCurrentProcessId(),
                        status == WVU_NTSTATUS_STOPPING ? "the sensor stops" : wvu_strerror(status),
                        (unsigned)status);
    wvu_rundown_release(&port->callbacks);
    return status;
}

/* The port is static data of the driver: the Filter Manager gives the cookie of the connection
 * only, and the driver has one event port. */
static struct wvu_port_filter *the_port;

_IRQL_requires_max_(PASSIVE_LEVEL) static VOID FLTAPI on_disconnect(PVOID cookie)
{
    struct wvu_port_filter *port = the_port;
    if (!wvu_rundown_acquire(&port->callbacks))
        return; /* wvu_port_filter_end closes it, or has */
    if (close_reader(port, GENERATION(cookie)))
        wvu_log_info(WVU_LOG_COMMS, "the reader disconnected");
    wvu_rundown_release(&port->callbacks);
}

/* ---- sending: the dispatcher's thread ------------------------------------------------------------
 */

static wvu_status begin_send(struct wvu_port_filter *port, uint64_t timeout_ns,
                             struct wvu_port_connection **connection)
{
    wvu_status status = WVU_STATUS_OK;
    wvu_mutex_acquire(&port->lock);
    *connection = port->reader;
    if (port->cancelled) {
        status = WVU_STATUS_CANCELLED;
    } else if (*connection == NULL) {
        status = WVU_STATUS_DISCONNECTED;
    } else {
        LARGE_INTEGER due = {.QuadPart = -(LONGLONG)((timeout_ns + GRACE_NS) / NS_PER_TICK)};
        (*connection)->users++;
        port->sending = (*connection)->generation;
        port->send_deadline = wvu_os_uptime() + timeout_ns + GRACE_NS;
        (void)KeSetTimer(&port->timer, due, NULL);
    }
    wvu_mutex_release(&port->lock);
    return status;
}

/* Returns whether the send was cancelled. */
static bool end_send(struct wvu_port_filter *port, struct wvu_port_connection *connection)
{
    (void)KeCancelTimer(&port->timer);
    wvu_mutex_acquire(&port->lock);
    port->sending = 0;
    connection->users--;
    bool cancelled = port->cancelled;
    wvu_mutex_release(&port->lock);
    return cancelled;
}

static wvu_status port_send(struct wvu_port *base, const void *batch, uint32_t size, void *reply,
                            uint32_t *reply_size, int32_t *reply_status, uint64_t timeout_ns)
{
    struct wvu_port_filter *port = port_of(base);
    struct wvu_port_connection *connection;
    uint64_t buffer[REPLY_MAX / sizeof(uint64_t)];
    ULONG length = REPLY_MAX;

    if (timeout_ns < NS_PER_TICK)
        timeout_ns = NS_PER_TICK; /* 0 would wait for ever ("FltSendMessage") */
    wvu_status begun = begin_send(port, timeout_ns, &connection);
    if (begun != WVU_STATUS_OK)
        return begun;
    uint64_t generation = connection->generation;
    LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)(timeout_ns / NS_PER_TICK)};
    RtlZeroMemory(buffer, sizeof buffer);
    NTSTATUS status = FltSendMessage(port->filter, &connection->client, (PVOID)(uintptr_t)batch,
                                     size, buffer, &length, &timeout);
    bool cancelled = end_send(port, connection);

    if (status == STATUS_TIMEOUT) /* a success code: first of all */
        return WVU_STATUS_TIMEOUT;
    if (status == STATUS_PORT_DISCONNECTED || status == STATUS_THREAD_IS_TERMINATING) {
        /* If it was the reader that put this status into its reply, it is connected still: then it
         * is not any more. */
        (void)close_reader(port, generation);
        return cancelled ? WVU_STATUS_CANCELLED : WVU_STATUS_DISCONNECTED;
    }
    if (status == STATUS_INSUFFICIENT_RESOURCES)
        return WVU_STATUS_NO_RESOURCES;
    /* Everything else is a reply: its status is what the reader wrote into its header
     * ("FILTER_REPLY_HEADER", Status), except that a reply longer than the buffer gives
     * STATUS_BUFFER_OVERFLOW. The dispatcher judges what is in it. */
    *reply_status = status;
    if (status == STATUS_BUFFER_OVERFLOW || length > REPLY_MAX)
        length = 0;
    RtlCopyMemory(reply, buffer, length < *reply_size ? length : *reply_size);
    *reply_size = length;
    return WVU_STATUS_OK;
}

static void port_cancel(struct wvu_port *base)
{
    struct wvu_port_filter *port = port_of(base);
    wvu_mutex_acquire(&port->lock);
    port->cancelled = true;
    wvu_mutex_release(&port->lock);
    (void)close_reader(port, 0);
}

static void port_disconnect(struct wvu_port *base)
{
    (void)close_reader(port_of(base), 0);
}

static const struct wvu_port_operations operations = {
    .send = port_send,
    .cancel = port_cancel,
    .disconnect = port_disconnect,
};

/* ---- the watchdog -------------------------------------------------------------------------------
 */

/* The generation of the connection on which a send overran; 0 when none did. */
static uint64_t overdue(struct wvu_port_filter *port)
{
    uint64_t generation = 0;
    wvu_mutex_acquire(&port->lock);
    if (port->sending != 0 && wvu_os_uptime() >= port->send_deadline)
        generation = port->sending;
    wvu_mutex_release(&port->lock);
    return generation;
}

static void watch(void *context)
{
    struct wvu_port_filter *port = context;
    PVOID objects[] = {&port->stop, &port->timer};
    while (KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, NULL,
                                    NULL) != STATUS_WAIT_0) {
        uint64_t generation = overdue(port);
        if (generation == 0)
            continue; /* the send came back while the timer went off */
        wvu_log_error(WVU_LOG_COMMS,
                      "a send did not come back in its time; the reader is disconnected");
        (void)close_reader(port, generation);
    }
}

/* ---- life --------------------------------------------------------------------------------------
 */

wvu_status wvu_port_filter_init(struct wvu_port_filter *port, PFLT_FILTER filter)
{
    RtlZeroMemory(port, sizeof *port);
    port->port.operations = &operations;
    port->filter = filter;
    the_port = port;
    KeInitializeTimerEx(&port->timer, SynchronizationTimer);
    KeInitializeEvent(&port->stop, NotificationEvent, FALSE);
    wvu_status status = wvu_mutex_init(&port->lock);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_rundown_init(&port->callbacks);
    if (status != WVU_STATUS_OK)
        goto destroy_lock;
    status = wvu_thread_start(&port->watchdog, "wvu-watchdog", watch, port);
    if (status != WVU_STATUS_OK)
        goto destroy_rundown;
    return WVU_STATUS_OK;

destroy_rundown:
    wvu_rundown_destroy(&port->callbacks);
destroy_lock:
    wvu_mutex_destroy(&port->lock);
    return status;
}

void wvu_port_filter_destroy(struct wvu_port_filter *port)
{
    (void)KeSetEvent(&port->stop, IO_NO_INCREMENT, FALSE);
    wvu_thread_join(&port->watchdog);
    (void)KeCancelTimer(&port->timer);
    wvu_rundown_destroy(&port->callbacks);
    wvu_mutex_destroy(&port->lock);
}

NTSTATUS wvu_port_filter_open(struct wvu_port_filter *port, struct wvu_dispatcher *dispatcher)
{
    port->dispatcher = dispatcher;
    NTSTATUS status =
        wvu_server_port_create(port->filter, WVU_EVENT_PORT_NAME, port, on_connect, on_disconnect,
                               NULL, WVU_PORT_CONNECTIONS, &port->server);
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_COMMS, "cannot create port \\WVUPort (0x%08x)", (unsigned)status);
    return status;
}

void wvu_port_filter_close(struct wvu_port_filter *port)
{
    if (port->server != NULL)
        FltCloseCommunicationPort(port->server);
    port->server = NULL;
}

void wvu_port_filter_end(struct wvu_port_filter *port)
{
    wvu_rundown_wait(&port->callbacks);
    (void)close_reader(port, 0);
}
