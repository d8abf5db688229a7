/*
 * The event port: lets readers in and out (the port's thread), and sends messages to the one that is in
 * (the dispatcher's thread).
 *
 *   port's thread    sleeps in wvu_listener_wait (listener.c), on the reader's socket too. Accepts,
 *                    admits or turns away; sees a reader leave. It alone makes and ends connections, so
 *                    wvu_dispatcher_connected and _disconnected come from it alone, in pairs.
 *   dispatcher's     wvu_port.send and disconnect. Waits in ppoll on the reader's socket and `cancel`.
 *   main thread      create, start, refuse, set_group, stop, destroy.
 *
 * Who closes a reader's socket: the last of its users. `current` counts as one user, a send that is
 * under way as another; a descriptor number is thus never used by one thread after the other has
 * closed it. A connection that ends is shut down first, which ends the waiting of the send; what the
 * reader had sent before it left can still be read, so its last reply counts. There are two places
 * for connections: the current one, and one that is gone but whose send has not returned.
 *
 * `lock` guards current and the users of connections. It is a leaf: nothing is called with it held but
 * close, and nothing waits.
 *
 * A reader is admitted when the present one is gone, also when that was not seen yet: admission looks
 * itself. So whoever connects after the last reader closed or died is let in.
 */
#define _GNU_SOURCE
#include "port_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "atomic.h"
#include "dispatcher.h"
#include "listener.h"
#include "log.h"
#include "os.h"
#include "reply.h"

#define PORT_TAG        WVU_TAG('W', 'v', 'P', 'o')
#define MEMORY_PAUSE_NS UINT64_C(10000000)
#define PACKET_MAX      256 /* of a packet from a reader, what is looked at */

struct connection {
    int fd;
    uint32_t users;  /* lock; 0: the place is free, fd is closed */
    uint64_t serial; /* which connection this is, from 1 */
    struct wvu_port_peer peer;
    uint64_t since;    /* uptime */
    uint64_t messages; /* replied to; relaxed */
};

/* What others can make happen often. */
enum { BUSY = WVU_TROUBLE_FULL, STRAY = WVU_TROUBLE_OWN, MALFORMED, FLOOD };

static const struct wvu_listener_kind kind = {
    .name = WVU_PORT_FILE,
    .early = WVU_PORT_FILE_EARLY,
    .backlog = 16,
    .packet_max = WVU_MESSAGE_MAX,
    .thread = "wvu-port",
    .port = "port",
    .events = "port's events",
    .client = "connection",
    .refused = "connection of",
    .to = "",
    .troubles =
        {
            [BUSY] = "connections were refused: another reader is connected",
            [WVU_TROUBLE_UNENTITLED] = "connections were refused: not entitled to read",
            [WVU_TROUBLE_STOPPING] = "connections were refused: the sensor is stopping",
            [WVU_TROUBLE_FAILED] = "connections failed",
            [STRAY] = "replies to messages that nobody waits for were dropped",
            [MALFORMED] = "malformed packets were dropped",
            [FLOOD] = "sends were given up: the reader flooded the port",
        },
};

struct wvu_port_socket {
    struct wvu_port port; /* first: the dispatcher has its address */
    struct wvu_port_socket_settings settings;
    struct wvu_dispatcher *dispatcher;
    struct wvu_listener listener;
    int cancel;         /* eventfd: readable from wvu_port.cancel on */
    uint32_t cancelled; /* atomic, like the next */
    uint64_t connected;

    uint64_t next_serial; /* port's thread */

    uint64_t next_message_id; /* dispatcher's thread */
    uint64_t sent_to;         /* dispatcher's thread: serial of the connection of the last send */

    wvu_mutex lock;
    struct connection *current;
    struct connection connections[2];
};

/* ---- connections: who uses them, who closes them ------------------------------------------- */

/* Any thread. NULL when nobody is connected. */
static struct connection *get_current(struct wvu_port_socket *port)
{
    wvu_mutex_acquire(&port->lock);
    struct connection *connection = port->current;
    if (connection != NULL)
        connection->users++;
    wvu_mutex_release(&port->lock);
    return connection;
}

static void put(struct wvu_port_socket *port, struct connection *connection)
{
    wvu_mutex_acquire(&port->lock);
    if (--connection->users == 0)
        close(connection->fd);
    wvu_mutex_release(&port->lock);
}

/* Port's thread. A free place there always is: besides the current connection, only a send can hold
 * one, and there is at most one send. */
static struct connection *make_current(struct wvu_port_socket *port, int fd,
                                       const struct wvu_port_peer *peer)
{
    wvu_mutex_acquire(&port->lock);
    struct connection *connection = &port->connections[port->connections[0].users != 0];
    *connection = (struct connection){
        .fd = fd,
        .users = 1, /* current */
        .serial = ++port->next_serial,
        .peer = *peer,
        .since = wvu_os_uptime(),
    };
    port->current = connection;
    wvu_mutex_release(&port->lock);
    wvu_add64_relaxed(&port->connected, 1);
    return connection;
}

/* ---- leaving ------------------------------------------------------------------------------- */

static void tell_changed(struct wvu_port_socket *port, const struct wvu_port_peer *reader)
{
    if (port->settings.changed != NULL)
        port->settings.changed(port->settings.context, reader);
}

/* Port's thread. */
static void end_connection(struct wvu_port_socket *port)
{
    wvu_mutex_acquire(&port->lock);
    struct connection *connection = port->current;
    port->current = NULL;
    wvu_mutex_release(&port->lock);

    shutdown(connection->fd, SHUT_RDWR);
    wvu_dispatcher_disconnected(port->dispatcher);
    uint64_t ms = (wvu_os_uptime() - connection->since) / 1000000;
    wvu_log_info(WVU_LOG_COMMS,
                 "reader disconnected: process %d, after %llu.%03u s and %llu messages",
                 (int)connection->peer.pid, (unsigned long long)(ms / 1000), (unsigned)(ms % 1000),
                 (unsigned long long)wvu_load64_relaxed(&connection->messages));
    put(port, connection);
    tell_changed(port, NULL);
}

/* A half-closed connection is one that ended: its reader can reply no more. */
#define GONE (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)

static bool is_gone(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) > 0 && (look.revents & GONE) != 0;
}

/* ---- entering: port's thread --------------------------------------------------------------- */

static void admit(struct wvu_port_socket *port, int fd, const struct wvu_port_peer *peer)
{
    if (!wvu_listener_welcome(&port->listener, fd, peer)) {
        close(fd);
        return;
    }
    make_current(port, fd, peer);
    char name[WVU_PEER_NAME_MAX];
    wvu_peer_name(peer->pid, name);
    wvu_log_info(WVU_LOG_COMMS, "reader connected: process %d (%s), user %u", (int)peer->pid, name,
                 (unsigned)peer->uid);
    tell_changed(port, peer);
    wvu_dispatcher_name_reader(port->dispatcher, (uint32_t)peer->pid);
    wvu_dispatcher_connected(port->dispatcher);
}

static void accept_one(struct wvu_port_socket *port)
{
    struct wvu_port_peer peer;
    int fd = wvu_listener_accept(&port->listener, &peer);
    if (fd < 0)
        return;
    if (port->current != NULL && is_gone(port->current->fd))
        end_connection(port);
    if (port->current != NULL)
        wvu_listener_turn_away(&port->listener, fd, &peer, "another reader is connected");
    else
        admit(port, fd, &peer);
}

/* The thread. */
static void run(void *context)
{
    enum { READER = WVU_LISTENER_FDS, POLLED };
    struct wvu_port_socket *port = context;
    while (!wvu_listener_is_stopping(&port->listener)) {
        struct pollfd fds[POLLED];
        fds[READER] = (struct pollfd){.fd = port->current != NULL ? port->current->fd : -1,
                                      .events = POLLRDHUP};
        bool entering = wvu_listener_wait(&port->listener, fds, POLLED);
        if ((fds[READER].revents & GONE) != 0)
            end_connection(port);
        if (entering)
            accept_one(port);
    }
    if (port->current != NULL)
        end_connection(port);
}

/* ---- sending: dispatcher's thread ---------------------------------------------------------- */

/* Waits until one of `events` is there or the connection has ended. `deadline` is uptime. */
static wvu_status wait_for(struct wvu_port_socket *port, int fd, short events, uint64_t deadline)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = port->cancel, .events = POLLIN}};
    if (wvu_os_uptime() >= deadline)
        return WVU_STATUS_TIMEOUT;
    if (wvu_poll_until(fds, 2, deadline) < 0)
        return errno == EINTR ? WVU_STATUS_OK : WVU_STATUS_IO_ERROR;
    return fds[1].revents != 0 ? WVU_STATUS_CANCELLED : WVU_STATUS_OK;
}

static wvu_status transmit(struct wvu_port_socket *port, int fd, const struct msghdr *message,
                           uint64_t deadline)
{
    wvu_status status = WVU_STATUS_OK;
    while (status == WVU_STATUS_OK) {
        if (sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return WVU_STATUS_OK;
        switch (errno) {
        case EINTR:
            break;
        case EAGAIN:
            status = wait_for(port, fd, POLLOUT, deadline);
            break;
        case ENOBUFS:
        case ENOMEM: { /* the whole machine is short of memory: nothing will tell when that ends */
            uint64_t soon = wvu_os_uptime() + MEMORY_PAUSE_NS;
            status = wait_for(port, -1, 0, soon < deadline ? soon : deadline);
            if (status == WVU_STATUS_TIMEOUT && soon < deadline)
                status = WVU_STATUS_OK;
            break;
        }
        case EPIPE:
        case ECONNRESET:
        case ENOTCONN:
            return WVU_STATUS_DISCONNECTED;
        default:
            wvu_log_error(WVU_LOG_COMMS, "a message cannot be sent: %s", strerror(errno));
            return WVU_STATUS_IO_ERROR;
        }
    }
    return status;
}

/* One packet, if there is one: its length as sent (at most PACKET_MAX bytes of it are in `packet`).
 * AGAIN: none is there. DISCONNECTED: none will come. */
static wvu_status receive(int fd, void *packet, size_t *length)
{
    for (;;) {
        ssize_t got = recv(fd, packet, PACKET_MAX, MSG_DONTWAIT | MSG_TRUNC);
        if (got > 0 || (got == 0 && !is_gone(fd))) { /* a packet can be empty */
            *length = (size_t)got;
            return WVU_STATUS_OK;
        }
        if (got == 0)
            return WVU_STATUS_DISCONNECTED;
        if (errno == EAGAIN)
            return WVU_STATUS_AGAIN;
        /* A reset is told once, and what was received before it comes after it. */
        if (errno != EINTR && errno != ECONNRESET) {
            wvu_log_error(WVU_LOG_COMMS, "a reply cannot be received: %s", strerror(errno));
            return WVU_STATUS_DISCONNECTED;
        }
    }
}

/* True when the packet is the reply to message_id; anything else is counted. */
static bool is_reply(struct wvu_port_socket *port, const void *packet, size_t length,
                     uint32_t body_max, uint64_t message_id, struct wvu_reply_packet *reply)
{
    if (wvu_reply_parse(packet, length, body_max, reply) != WVU_STATUS_OK) {
        if (wvu_listener_trouble(&port->listener, MALFORMED))
            wvu_log_warning(WVU_LOG_COMMS,
                            "a packet of %llu bytes from the reader is no reply; dropped",
                            (unsigned long long)length);
        return false;
    }
    if (reply->message_id != message_id) {
        if (wvu_listener_trouble(&port->listener, STRAY))
            wvu_log_warning(WVU_LOG_COMMS,
                            "a reply to message %llu, which nobody waits for, was dropped",
                            (unsigned long long)reply->message_id);
        return false;
    }
    return true;
}

static wvu_status await_reply(struct wvu_port_socket *port, int fd, uint64_t message_id, void *body,
                              uint32_t *body_size, int32_t *reader_status, uint64_t deadline)
{
    unsigned char packet[PACKET_MAX];
    uint32_t body_max = *body_size;
    if (body_max > PACKET_MAX - sizeof(struct wvu_reply_header))
        body_max = PACKET_MAX - sizeof(struct wvu_reply_header);
    for (uint32_t bad = 0; bad < WVU_PORT_BAD_PACKETS_MAX;) {
        size_t length;
        wvu_status status = receive(fd, packet, &length);
        if (status == WVU_STATUS_AGAIN)
            status = wait_for(port, fd, POLLIN, deadline);
        else if (status == WVU_STATUS_OK) {
            struct wvu_reply_packet reply;
            if (is_reply(port, packet, length, body_max, message_id, &reply)) {
                memcpy(body, reply.body, reply.body_size);
                *body_size = reply.body_size;
                *reader_status = reply.status;
                return WVU_STATUS_OK;
            }
            bad++;
        }
        if (status != WVU_STATUS_OK)
            return status;
    }
    if (wvu_listener_trouble(&port->listener, FLOOD))
        wvu_log_warning(WVU_LOG_COMMS,
                        "the reader sent %u packets that are no reply to its message",
                        WVU_PORT_BAD_PACKETS_MAX);
    return WVU_STATUS_BAD_MESSAGE;
}

static wvu_status exchange(struct wvu_port_socket *port, int fd, const void *batch, uint32_t size,
                           void *reply, uint32_t *reply_size, int32_t *reader_status,
                           uint64_t timeout_ns)
{
    uint64_t now = wvu_os_uptime();
    uint64_t deadline = timeout_ns < WVU_TIMEOUT_NONE - now ? now + timeout_ns : WVU_TIMEOUT_NONE;
    struct wvu_message_header header = {
        .reply_length = (uint32_t)sizeof(struct wvu_reply_header) + *reply_size,
        .message_id = port->next_message_id++,
    };
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)(uintptr_t)batch, size}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    wvu_status status = transmit(port, fd, &message, deadline);
    if (status == WVU_STATUS_OK)
        status =
            await_reply(port, fd, header.message_id, reply, reply_size, reader_status, deadline);
    return status;
}

static struct wvu_port_socket *of(struct wvu_port *port)
{
    return (struct wvu_port_socket *)port;
}

static wvu_status port_send(struct wvu_port *opaque, const void *batch, uint32_t size, void *reply,
                            uint32_t *reply_size, int32_t *reader_status, uint64_t timeout_ns)
{
    struct wvu_port_socket *port = of(opaque);
    if (wvu_load_acquire(&port->cancelled) != 0)
        return WVU_STATUS_CANCELLED;
    struct connection *connection = get_current(port);
    if (connection == NULL)
        return WVU_STATUS_DISCONNECTED;
    port->sent_to = connection->serial;
    wvu_status status =
        exchange(port, connection->fd, batch, size, reply, reply_size, reader_status, timeout_ns);
    if (status == WVU_STATUS_OK)
        wvu_add64_relaxed(&connection->messages, 1);
    put(port, connection);
    return status;
}

static void port_cancel(struct wvu_port *opaque)
{
    struct wvu_port_socket *port = of(opaque);
    wvu_store_release(&port->cancelled, 1);
    (void)!write(port->cancel, &(uint64_t){1}, sizeof(uint64_t)); /* full: readable already */
}

/* The port's thread sees the end that this makes, and does the rest. The reader of the last send may
 * have left by itself; the one that came after it has done nothing wrong. */
static void port_disconnect(struct wvu_port *opaque)
{
    struct wvu_port_socket *port = of(opaque);
    struct connection *connection = get_current(port);
    if (connection == NULL)
        return;
    if (connection->serial == port->sent_to)
        shutdown(connection->fd, SHUT_RDWR);
    put(port, connection);
}

static const struct wvu_port_operations operations = {
    .send = port_send,
    .cancel = port_cancel,
    .disconnect = port_disconnect,
};

/* ---- life: main thread --------------------------------------------------------------------- */

wvu_status wvu_port_socket_set_group(struct wvu_port_socket *port, bool has_group, gid_t group,
                                     char *reason, size_t reason_size)
{
    return wvu_listener_set_group(&port->listener, has_group, group, reason, reason_size);
}

wvu_status wvu_port_socket_create(const struct wvu_port_socket_settings *settings,
                                  struct wvu_port_socket **out, char *reason, size_t reason_size)
{
    struct wvu_port_socket *port = wvu_os_alloc(sizeof *port, PORT_TAG);
    *out = NULL;
    if (port == NULL) {
        snprintf(reason, reason_size, "there is not enough memory for the port");
        return WVU_STATUS_NO_MEMORY;
    }
    port->port.operations = &operations;
    port->settings = *settings;
    port->next_message_id = 1;

    wvu_status status = wvu_mutex_init(&port->lock);
    if (status != WVU_STATUS_OK) {
        snprintf(reason, reason_size, "the port's lock cannot be made: %s", wvu_strerror(status));
        goto free_port;
    }
    port->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (port->cancel < 0) {
        snprintf(reason, reason_size, "the %s cannot be made: %s", kind.events, strerror(errno));
        status = WVU_STATUS_NO_RESOURCES;
        goto destroy_lock;
    }
    status = wvu_listener_open(&port->listener, &kind, settings->run_dir, settings->has_group,
                               settings->group, reason, reason_size);
    if (status != WVU_STATUS_OK)
        goto close_cancel;
    *out = port;
    return WVU_STATUS_OK;

close_cancel:
    close(port->cancel);
destroy_lock:
    wvu_mutex_destroy(&port->lock);
free_port:
    wvu_os_free(port, PORT_TAG);
    return status;
}

wvu_status wvu_port_socket_start(struct wvu_port_socket *port, struct wvu_dispatcher *dispatcher,
                                 char *reason, size_t reason_size)
{
    port->dispatcher = dispatcher;
    return wvu_listener_start(&port->listener, run, port, reason, reason_size);
}

void wvu_port_socket_refuse(struct wvu_port_socket *port)
{
    wvu_listener_refuse(&port->listener);
}

void wvu_port_socket_stop(struct wvu_port_socket *port)
{
    wvu_listener_stop(&port->listener);
}

void wvu_port_socket_destroy(struct wvu_port_socket *port)
{
    if (port == NULL)
        return;
    wvu_listener_close(&port->listener);
    close(port->cancel);
    wvu_mutex_destroy(&port->lock);
    wvu_os_free(port, PORT_TAG);
}

struct wvu_port *wvu_port_socket_port(struct wvu_port_socket *port)
{
    return &port->port;
}

void wvu_port_socket_read_counters(struct wvu_port_socket *port,
                                   struct wvu_port_socket_counters *counters)
{
    uint64_t troubles[WVU_TROUBLES_MAX];
    wvu_listener_read_troubles(&port->listener, troubles);
    *counters = (struct wvu_port_socket_counters){
        .connections = wvu_load64_relaxed(&port->connected),
        .refused_busy = troubles[BUSY],
        .refused_unentitled = troubles[WVU_TROUBLE_UNENTITLED],
        .refused_stopping = troubles[WVU_TROUBLE_STOPPING],
        .refused_failed = troubles[WVU_TROUBLE_FAILED],
        .stray_replies = troubles[STRAY],
        .malformed_packets = troubles[MALFORMED],
        .floods = troubles[FLOOD],
    };
}
