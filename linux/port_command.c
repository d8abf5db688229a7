/*
 * The command port: one thread serves all clients, one request after the other.
 *
 * It sleeps in wvu_listener_wait (listener.c), on the sockets of all clients too. Each time it wakes, each
 * client that has sent something has one request answered, so none can keep the others from their turn by
 * sending many. Nothing waits for a client: a response that its socket has no room for, because it left
 * earlier ones unread, ends its connection. What takes long is the command itself (wvu_command_answer,
 * engine/command.c), and the others wait for it; commands that change something exclude each other anyway.
 *
 * Who asks is what the kernel said when the client connected. A pidfd that was opened then tells whether
 * the pid is still that process, so that what /proc says of a later process is not taken for it.
 *
 *   main thread      create, start, refuse, set_group, stop, destroy
 *   any thread       read_counters
 *   port's thread    everything else; clients and buffers are its own
 */
#define _GNU_SOURCE
#include "port_command.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "atomic.h"
#include "command.h"
#include "listener.h"
#include "log.h"
#include "os.h"

#define PORT_TAG WVU_TAG('W', 'v', 'C', 'o')

struct client {
    int fd;    /* -1: the place is free */
    int pidfd; /* -1: the system has none to give */
    struct wvu_port_peer peer;
    struct wvu_requester requester; /* as of its last request */
};

/* What clients can make happen often. */
enum { UNREAD = WVU_TROUBLE_OWN };

static const struct wvu_listener_kind kind = {
    .name = WVU_COMMAND_FILE,
    .early = WVU_COMMAND_FILE_EARLY,
    .backlog = 128,
    .packet_max = WVU_RESPONSE_MAX,
    .thread = "wvu-command",
    .port = "command port",
    .events = "command port's event",
    .client = "command client",
    .refused = "command client",
    .to = " to the command port",
    .troubles =
        {
            [WVU_TROUBLE_FULL] = "command clients were refused: too many are connected",
            [WVU_TROUBLE_UNENTITLED] =
                "command clients were refused: not entitled to give commands",
            [WVU_TROUBLE_STOPPING] = "command clients were refused: the sensor is stopping",
            [WVU_TROUBLE_FAILED] = "connections to the command port failed",
            [UNREAD] = "command clients were disconnected: they left responses unread",
        },
};

struct wvu_port_command {
    struct wvu_port_command_settings settings;
    struct wvu_listener listener;
    struct wvu_sensor *sensor;
    struct client clients[WVU_COMMAND_CLIENTS_MAX];

    uint64_t connections, requests; /* atomic */

    /* Of the request in hand. In words, for the alignment. */
    uint64_t request[WVU_REQUEST_MAX / sizeof(uint64_t)];
    uint64_t response[WVU_RESPONSE_MAX / sizeof(uint64_t)];
};

/* ---- who asks ------------------------------------------------------------------------------ */

static bool is_alive(int pidfd)
{
    struct pollfd look = {.fd = pidfd, .events = POLLIN};
    return poll(&look, 1, 0) == 0;
}

/* A program can have been replaced by exec since the last look. When the process is gone, or nobody can
 * tell, what was seen before stays. */
static void update_requester(struct client *client)
{
    char image[sizeof client->requester.image];
    if (client->pidfd < 0)
        return;
    wvu_peer_image(client->peer.pid, image, sizeof image);
    if (is_alive(client->pidfd) && image[0] != '\0')
        memcpy(client->requester.image, image, sizeof image);
}

static void identify(const struct wvu_port_command *port, struct client *client)
{
    const struct wvu_port_peer *peer = &client->peer;
    const struct wvu_port_command_settings *settings = &port->settings;
    client->requester = (struct wvu_requester){
        .process_id = (uint32_t)peer->pid, .has_user = true, .user_id = peer->uid};
    client->pidfd = peer->pid > 0 ? (int)syscall(SYS_pidfd_open, peer->pid, 0) : -1;
    wvu_peer_image(peer->pid, client->requester.image, sizeof client->requester.image);
    uint64_t key = settings->key_of != NULL && client->pidfd >= 0
                       ? settings->key_of(settings->context, (uint32_t)peer->pid)
                       : 0;
    if (key != 0 && is_alive(client->pidfd))
        client->requester.process_key = key;
}

/* ---- clients come and go --------------------------------------------------------------------- */

static void end_client(struct client *client)
{
    wvu_log_trace(WVU_LOG_COMMS, "command client disconnected: process %d", (int)client->peer.pid);
    if (client->pidfd >= 0)
        close(client->pidfd);
    close(client->fd);
    client->fd = -1;
}

static struct client *find_place(struct wvu_port_command *port)
{
    for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
        if (port->clients[i].fd < 0)
            return &port->clients[i];
    return NULL;
}

/* Who it is comes before the welcome: after it the client may be gone at any time. */
static void admit(struct wvu_port_command *port, struct client *place, int fd,
                  const struct wvu_port_peer *peer)
{
    *place = (struct client){.fd = fd, .peer = *peer};
    identify(port, place);
    if (!wvu_listener_welcome(&port->listener, fd, peer)) {
        end_client(place);
        return;
    }
    wvu_add64_relaxed(&port->connections, 1);
    wvu_log_trace(WVU_LOG_COMMS, "command client connected: process %d (%s), user %u",
                  (int)peer->pid, place->requester.image, (unsigned)peer->uid);
}

static void accept_one(struct wvu_port_command *port)
{
    struct wvu_port_peer peer;
    struct client *place = find_place(port);
    int fd = wvu_listener_accept(&port->listener, &peer);
    if (fd < 0)
        return;
    if (place != NULL)
        admit(port, place, fd, &peer);
    else
        wvu_listener_turn_away(&port->listener, fd, &peer, "too many are connected");
}

/* ---- requests ------------------------------------------------------------------------------ */

/* The size is that of the packet, also when the kernel cut it to the buffer: the answer says so. */
static uint32_t answer(struct wvu_port_command *port, struct client *client, size_t size)
{
    wvu_add64_relaxed(&port->requests, 1);
    update_requester(client);
    uint32_t response = wvu_command_answer(port->sensor, &client->requester, port->request,
                                           size < UINT32_MAX ? (uint32_t)size : UINT32_MAX,
                                           port->response, sizeof port->response);
    if (port->settings.answered != NULL)
        port->settings.answered(port->settings.context);
    return response;
}

/* False: the client is to be closed. */
static bool respond(struct wvu_port_command *port, const struct client *client, uint32_t size)
{
    ssize_t sent;
    do {
        sent = send(client->fd, port->response, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return true;
    int error = errno;
    if (error == EAGAIN) {
        if (wvu_listener_trouble(&port->listener, UNREAD))
            wvu_log_warning(WVU_LOG_COMMS,
                            "command client process %d is disconnected: it does not read its "
                            "responses",
                            (int)client->peer.pid);
    } else if (error != EPIPE &&
               error != ECONNRESET) { /* those: it did not wait for the response */
        if (wvu_listener_trouble(&port->listener, WVU_TROUBLE_FAILED))
            wvu_log_warning(WVU_LOG_COMMS, "process %d cannot be sent its response: %s",
                            (int)client->peer.pid, strerror(error));
    }
    return false;
}

/* An empty packet cannot be told from the end of the connection, and is one. A client that closed with
 * responses unread resets the connection: the kernel says so once, then gives what it had sent before. */
static void serve_client(struct wvu_port_command *port, struct client *client)
{
    ssize_t got = recv(client->fd, port->request, sizeof port->request, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET))
        return;
    if (got <= 0 || !respond(port, client, answer(port, client, (size_t)got)))
        end_client(client);
}

/* ---- the port's thread --------------------------------------------------------------------- */

static void run(void *context)
{
    enum { CLIENTS = WVU_LISTENER_FDS, POLLED = CLIENTS + WVU_COMMAND_CLIENTS_MAX };
    struct wvu_port_command *port = context;
    struct wvu_listener *listener = &port->listener;
    struct pollfd fds[POLLED];
    while (!wvu_listener_is_stopping(listener)) {
        for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
            fds[CLIENTS + i] = (struct pollfd){.fd = port->clients[i].fd, .events = POLLIN};
        bool entering = wvu_listener_wait(listener, fds, POLLED);
        for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX && !wvu_listener_is_stopping(listener); i++)
            if (fds[CLIENTS + i].revents != 0)
                serve_client(port, &port->clients[i]);
        if (entering) /* last: places may have become free */
            accept_one(port);
    }
    for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
        if (port->clients[i].fd >= 0)
            end_client(&port->clients[i]);
}

/* ---- life: main thread --------------------------------------------------------------------- */

wvu_status wvu_port_command_create(const struct wvu_port_command_settings *settings,
                                   struct wvu_port_command **out, char *reason, size_t reason_size)
{
    struct wvu_port_command *port = wvu_os_alloc(sizeof *port, PORT_TAG);
    *out = NULL;
    if (port == NULL) {
        snprintf(reason, reason_size, "there is not enough memory for the command port");
        return WVU_STATUS_NO_MEMORY;
    }
    port->settings = *settings;
    for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
        port->clients[i].fd = -1;
    wvu_status status =
        wvu_listener_open(&port->listener, &kind, settings->run_dir, settings->has_group,
                          settings->group, reason, reason_size);
    if (status == WVU_STATUS_OK)
        *out = port;
    else
        wvu_os_free(port, PORT_TAG);
    return status;
}

wvu_status wvu_port_command_start(struct wvu_port_command *port, struct wvu_sensor *sensor,
                                  char *reason, size_t reason_size)
{
    port->sensor = sensor;
    return wvu_listener_start(&port->listener, run, port, reason, reason_size);
}

void wvu_port_command_refuse(struct wvu_port_command *port)
{
    wvu_listener_refuse(&port->listener);
}

void wvu_port_command_stop(struct wvu_port_command *port)
{
    wvu_listener_stop(&port->listener);
}

void wvu_port_command_destroy(struct wvu_port_command *port)
{
    if (port == NULL)
        return;
    wvu_listener_close(&port->listener);
    wvu_os_free(port, PORT_TAG);
}

wvu_status wvu_port_command_set_group(struct wvu_port_command *port, bool has_group, gid_t group,
                                      char *reason, size_t reason_size)
{
    return wvu_listener_set_group(&port->listener, has_group, group, reason, reason_size);
}

void wvu_port_command_read_counters(struct wvu_port_command *port,
                                    struct wvu_port_command_counters *counters)
{
    uint64_t troubles[WVU_TROUBLES_MAX];
    wvu_listener_read_troubles(&port->listener, troubles);
    *counters = (struct wvu_port_command_counters){
        .connections = wvu_load64_relaxed(&port->connections),
        .requests = wvu_load64_relaxed(&port->requests),
        .refused_full = troubles[WVU_TROUBLE_FULL],
        .refused_unentitled = troubles[WVU_TROUBLE_UNENTITLED],
        .refused_stopping = troubles[WVU_TROUBLE_STOPPING],
        .refused_failed = troubles[WVU_TROUBLE_FAILED],
        .unread = troubles[UNREAD],
    };
}
