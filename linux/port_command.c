/*
 * The command port: one thread serves all clients, one request after the other.
 *
 * It sleeps in one ppoll on `kick`, the listening socket and the sockets of all clients. Each time it
 * wakes, each client that has sent something has one request answered, so none can keep the others from
 * their turn by sending many. Nothing waits for a client: a response that its socket has no room for,
 * because it left earlier ones unread, ends its connection. What takes long is the command itself
 * (wvu_command_answer, engine/command.c), and the others wait for it; commands that change something
 * exclude each other anyway.
 *
 * Who asks is what the kernel said when the client connected. A pidfd that was opened then tells whether
 * the pid is still that process, so that what /proc says of a later process is not taken for it.
 *
 *   main thread      create, start, refuse, set_group, stop, destroy
 *   any thread       read_counters
 *   port's thread    everything else; clients, buffers, listen_after are its own
 *
 * `lock` guards counts and rations, of which the port's thread is the only writer. It is a leaf.
 */
#define _GNU_SOURCE
#include "port_command.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "command.h"
#include "listener.h"
#include "log.h"
#include "os.h"
#include "ration.h"

#define PORT_TAG        WVU_TAG('W', 'v', 'C', 'o')
#define NS_PER_SECOND   UINT64_C(1000000000)
#define BACKLOG         128
#define ACCEPT_PAUSE_NS NS_PER_SECOND /* after the system had no descriptor or memory for us */

struct client {
    int fd;    /* -1: the place is free */
    int pidfd; /* -1: the system has none to give */
    struct wvu_port_peer peer;
    struct wvu_requester requester; /* as of its last request */
};

/* What clients can make happen often. */
enum trouble { FULL, UNENTITLED, STOPPING, FAILED, UNREAD, TROUBLES };

struct wvu_port_command {
    struct wvu_port_command_settings settings;
    struct wvu_listener listener;
    struct wvu_sensor *sensor;
    wvu_thread thread;
    bool started;
    int kick;          /* eventfd: look at `stopping` */
    uint32_t refusing; /* atomic, like the next */
    uint32_t stopping;

    uint64_t listen_after; /* uptime before which the port does not accept */
    struct client clients[WVU_COMMAND_CLIENTS_MAX];

    wvu_mutex lock;
    uint64_t connections, requests;
    struct wvu_ration troubles[TROUBLES];

    /* Of the request in hand. In words, for the alignment. */
    uint64_t request[WVU_REQUEST_MAX / sizeof(uint64_t)];
    uint64_t response[WVU_RESPONSE_MAX / sizeof(uint64_t)];
};

/* ---- rationed log lines -------------------------------------------------------------------- */

/* True when it is to be told with its details. */
static bool count_trouble(struct wvu_port_command *port, enum trouble kind)
{
    wvu_mutex_acquire(&port->lock);
    bool tell = wvu_ration_count(&port->troubles[kind], wvu_os_uptime());
    wvu_mutex_release(&port->lock);
    return tell;
}

static void count(struct wvu_port_command *port, uint64_t *counter)
{
    wvu_mutex_acquire(&port->lock);
    ++*counter;
    wvu_mutex_release(&port->lock);
}

/* Tells the sums that are due at `now`; returns when the next one is. */
static uint64_t tell_sums(struct wvu_port_command *port, uint64_t now)
{
    static const char *const texts[TROUBLES] = {
        [FULL] = "command clients were refused: too many are connected",
        [UNENTITLED] = "command clients were refused: not entitled to give commands",
        [STOPPING] = "command clients were refused: the sensor is stopping",
        [FAILED] = "connections to the command port failed",
        [UNREAD] = "command clients were disconnected: they left responses unread",
    };
    uint64_t next = WVU_TIMEOUT_NONE;
    for (int kind = 0; kind < TROUBLES; kind++) {
        wvu_mutex_acquire(&port->lock);
        uint64_t sum = wvu_ration_sum(&port->troubles[kind], now);
        uint64_t due = wvu_ration_due(&port->troubles[kind]);
        wvu_mutex_release(&port->lock);
        next = due < next ? due : next;
        if (sum > 0)
            wvu_log_warning(WVU_LOG_COMMS, "%llu more %s", (unsigned long long)sum, texts[kind]);
    }
    return next;
}

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

static void refuse(struct wvu_port_command *port, int fd, const struct wvu_port_peer *peer,
                   enum trouble kind, wvu_status status, const char *why)
{
    if (count_trouble(port, kind)) {
        char name[WVU_PEER_NAME_MAX];
        wvu_peer_name(peer->pid, name);
        wvu_log_warning(WVU_LOG_COMMS, "command client process %d (%s, user %u) was refused: %s",
                        (int)peer->pid, name, (unsigned)peer->uid, why);
    }
    (void)wvu_peer_welcome(fd, status, WVU_RESPONSE_MAX); /* it may have left already */
    close(fd);
}

/* Who it is comes before the welcome: after it the client may be gone at any time. */
static void admit(struct wvu_port_command *port, struct client *place, int fd,
                  const struct wvu_port_peer *peer)
{
    *place = (struct client){.fd = fd, .peer = *peer};
    identify(port, place);
    if (!wvu_peer_make_room(fd, WVU_RESPONSE_MAX) ||
        !wvu_peer_welcome(fd, WVU_STATUS_OK, WVU_RESPONSE_MAX)) {
        if (count_trouble(port, FAILED))
            wvu_log_warning(WVU_LOG_COMMS,
                            "process %d connected to the command port and could not be welcomed",
                            (int)peer->pid);
        end_client(place);
        return;
    }
    count(port, &port->connections);
    wvu_log_trace(WVU_LOG_COMMS, "command client connected: process %d (%s), user %u",
                  (int)peer->pid, place->requester.image, (unsigned)peer->uid);
}

static void decide(struct wvu_port_command *port, int fd)
{
    struct wvu_port_peer peer;
    struct client *place = find_place(port);
    if (!wvu_peer_read(fd, &peer)) {
        if (count_trouble(port, FAILED))
            wvu_log_warning(WVU_LOG_COMMS, "a connection to the command port has no peer: %s",
                            strerror(errno));
        close(fd);
    } else if (!wvu_listener_is_entitled(&port->listener, fd, &peer)) {
        refuse(port, fd, &peer, UNENTITLED, WVU_STATUS_ACCESS_DENIED,
               "it is neither root's nor this user's nor one of the configured group");
    } else if (wvu_load_acquire(&port->refusing) != 0) {
        refuse(port, fd, &peer, STOPPING, WVU_STATUS_STOPPING, "the sensor is stopping");
    } else if (place == NULL) {
        refuse(port, fd, &peer, FULL, WVU_STATUS_CONNECTION_LIMIT, "too many are connected");
    } else {
        admit(port, place, fd, &peer);
    }
}

static void accept_one(struct wvu_port_command *port)
{
    int fd = accept4(port->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        decide(port, fd);
        return;
    }
    int error = errno;
    if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
        return;
    /* It stays in the backlog: look again later, not all the time. */
    port->listen_after = wvu_os_uptime() + ACCEPT_PAUSE_NS;
    if (count_trouble(port, FAILED))
        wvu_log_error(WVU_LOG_COMMS,
                      "a command client cannot be accepted: %s; trying again each second",
                      strerror(error));
}

/* ---- requests ------------------------------------------------------------------------------ */

/* The size is that of the packet, also when the kernel cut it to the buffer: the answer says so. */
static uint32_t answer(struct wvu_port_command *port, struct client *client, size_t size)
{
    count(port, &port->requests);
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
        if (count_trouble(port, UNREAD))
            wvu_log_warning(WVU_LOG_COMMS,
                            "command client process %d is disconnected: it does not read its "
                            "responses",
                            (int)client->peer.pid);
    } else if (error != EPIPE &&
               error != ECONNRESET) { /* those: it did not wait for the response */
        if (count_trouble(port, FAILED))
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

enum { KICK, LISTENER, CLIENTS, POLLED = CLIENTS + WVU_COMMAND_CLIENTS_MAX };

/* Sleeps until there is something to do, or until `wake_at`. */
static void sleep_until(const struct wvu_port_command *port, struct pollfd fds[POLLED],
                        uint64_t wake_at)
{
    uint64_t now = wvu_os_uptime();
    bool listening = now >= port->listen_after;
    if (!listening && port->listen_after < wake_at)
        wake_at = port->listen_after;
    fds[KICK] = (struct pollfd){.fd = port->kick, .events = POLLIN};
    fds[LISTENER] = (struct pollfd){.fd = listening ? port->listener.fd : -1, .events = POLLIN};
    for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
        fds[CLIENTS + i] = (struct pollfd){.fd = port->clients[i].fd, .events = POLLIN};
    uint64_t left = wake_at > now ? wake_at - now : 0;
    const struct timespec time = {(time_t)(left / NS_PER_SECOND), (long)(left % NS_PER_SECOND)};
    if (ppoll(fds, POLLED, wake_at == WVU_TIMEOUT_NONE ? NULL : &time, NULL) <= 0)
        for (size_t i = 0; i < POLLED; i++)
            fds[i].revents = 0;
}

static bool is_stopping(const struct wvu_port_command *port)
{
    return wvu_load_acquire(&port->stopping) != 0;
}

static void run(void *context)
{
    struct wvu_port_command *port = context;
    struct pollfd fds[POLLED];
    while (!is_stopping(port)) {
        sleep_until(port, fds, tell_sums(port, wvu_os_uptime()));
        for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX && !is_stopping(port); i++)
            if (fds[CLIENTS + i].revents != 0)
                serve_client(port, &port->clients[i]);
        if (fds[LISTENER].revents != 0) /* last: places may have become free */
            accept_one(port);
    }
    for (size_t i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
        if (port->clients[i].fd >= 0)
            end_client(&port->clients[i]);
    tell_sums(port, UINT64_MAX - 1); /* everything that was not told yet */
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
    wvu_status status = wvu_mutex_init(&port->lock);
    if (status != WVU_STATUS_OK) {
        snprintf(reason, reason_size, "the command port's lock cannot be made: %s",
                 wvu_strerror(status));
        goto free_port;
    }
    port->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (port->kick < 0) {
        snprintf(reason, reason_size, "the command port's event cannot be made: %s",
                 strerror(errno));
        status = WVU_STATUS_NO_RESOURCES;
        goto destroy_lock;
    }
    status = wvu_listener_open(&port->listener, settings->run_dir, WVU_COMMAND_FILE,
                               WVU_COMMAND_FILE_EARLY, settings->has_group, settings->group, reason,
                               reason_size);
    if (status != WVU_STATUS_OK)
        goto close_kick;
    *out = port;
    return WVU_STATUS_OK;

close_kick:
    close(port->kick);
destroy_lock:
    wvu_mutex_destroy(&port->lock);
free_port:
    wvu_os_free(port, PORT_TAG);
    return status;
}

wvu_status wvu_port_command_start(struct wvu_port_command *port, struct wvu_sensor *sensor,
                                  char *reason, size_t reason_size)
{
    port->sensor = sensor;
    wvu_status status = wvu_listener_publish(&port->listener, BACKLOG, reason, reason_size);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_thread_start(&port->thread, "wvu-command", run, port);
    if (status != WVU_STATUS_OK)
        snprintf(reason, reason_size, "the command port's thread cannot be started: %s",
                 wvu_strerror(status));
    port->started = status == WVU_STATUS_OK;
    return status;
}

void wvu_port_command_refuse(struct wvu_port_command *port)
{
    wvu_store_release(&port->refusing, 1);
}

void wvu_port_command_stop(struct wvu_port_command *port)
{
    if (!port->started)
        return;
    wvu_store_release(&port->stopping, 1);
    /* Fails only when the counter is full, and then it is readable already. */
    (void)!write(port->kick, &(uint64_t){1}, sizeof(uint64_t));
    wvu_thread_join(&port->thread);
    port->started = false;
}

void wvu_port_command_destroy(struct wvu_port_command *port)
{
    if (port == NULL)
        return;
    wvu_listener_close(&port->listener);
    close(port->kick);
    wvu_mutex_destroy(&port->lock);
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
    wvu_mutex_acquire(&port->lock);
    *counters = (struct wvu_port_command_counters){
        .connections = port->connections,
        .requests = port->requests,
        .refused_full = port->troubles[FULL].total,
        .refused_unentitled = port->troubles[UNENTITLED].total,
        .refused_stopping = port->troubles[STOPPING].total,
        .refused_failed = port->troubles[FAILED].total,
        .unread = port->troubles[UNREAD].total,
    };
    wvu_mutex_release(&port->lock);
}
