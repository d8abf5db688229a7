/*
 * The transport on Linux: a Unix SOCK_SEQPACKET socket named WVUPort in the sensor's run directory. One
 * packet is one message or one reply; the first packet is the sensor's welcome. Called by client.c.
 * The command port is a socket of the same kind, named WVUCommand, and goes the same ways
 * (command_port_socket.c): wvu_socket_open opens either.
 *
 * Interrupts. wvu_transport_interrupt makes an eventfd readable, then sets a flag (both are
 * async-signal-safe); the receive that finds the flag set takes both back. So an interrupt that comes
 * while nobody waits ends the next receive, and a receive that finds a message at once spends no system
 * call on looking. In this order the eventfd is readable whenever the flag is set; the other way round a
 * descriptor could stay readable that nobody takes back. The descriptor for event loops is an epoll
 * instance that holds socket and eventfd.
 *
 * Threads: one at a time, except for interrupt. No locks; `interrupted` is atomic.
 */
#define _GNU_SOURCE
#include "transport_socket.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

#define DEFAULT_RUN_DIR "/run/winvirtue"

_Static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "interrupt is called from signal handlers");

struct wvu_transport {
    int socket;
    int interrupt;
    int epoll;
    atomic_bool interrupted;
};

/* ---- time-outs ------------------------------------------------------------------------------------------ */

int64_t wvu_socket_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* When a wait that begins now ends; -1: never. */
static int64_t deadline_of(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : wvu_socket_now_ms() + timeout_ms;
}

/* What is left, as poll takes it. */
static int remaining_ms(int64_t deadline)
{
    if (deadline < 0)
        return -1;
    int64_t left = deadline - wvu_socket_now_ms();
    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* ---- connecting ------------------------------------------------------------------------------------------- */

static int status_of_connect(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED: /* a socket that a sensor left behind */
        return WVU_STATUS_NAME_NOT_FOUND;
    case EACCES:
    case EPERM:
        return WVU_STATUS_ACCESS_DENIED;
    case EAGAIN:
        return WVU_STATUS_TIMEOUT;
    case ELOOP:
    case ENAMETOOLONG:
        return WVU_STATUS_INVALID_PARAMETER;
    case ENOMEM:
    case ENOBUFS:
        return WVU_STATUS_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return WVU_STATUS_NO_RESOURCES;
    case EPROTOTYPE: /* a socket of another type */
        return WVU_STATUS_NOT_SUPPORTED;
    default:
        return WVU_STATUS_IO_ERROR;
    }
}

static int address_of(const char *run_dir, const char *port, struct sockaddr_un *address)
{
    size_t length = strlen(run_dir);
    size_t port_size = strlen(port) + 1;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (length == 0 || length + 1 + port_size > sizeof address->sun_path)
        return WVU_STATUS_INVALID_PARAMETER;
    memcpy(address->sun_path, run_dir, length);
    address->sun_path[length] = '/';
    memcpy(address->sun_path + length + 1, port, port_size);
    return WVU_STATUS_OK;
}

/* A connect waits for a place in the sensor's backlog as long as the send time-out says. */
static void limit_connect(int socket, int64_t deadline)
{
    int left = remaining_ms(deadline);
    if (left < 0)
        return;
    struct timeval limit = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
    if (left == 0)
        limit.tv_usec = 1; /* 0 would mean without limit */
    (void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int connect_socket(int socket, const struct sockaddr_un *address, int64_t deadline)
{
    do {
        limit_connect(socket, deadline);
        if (connect(socket, (const struct sockaddr *)address, sizeof *address) == 0)
            return WVU_STATUS_OK;
    } while (errno == EINTR);
    return status_of_connect(errno);
}

static int watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int open_descriptors(struct wvu_transport *t)
{
    t->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (t->socket < 0)
        return status_of_connect(errno);
    t->interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->interrupt < 0)
        return status_of_connect(errno);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (t->epoll < 0 || watch(t->epoll, t->socket) < 0 || watch(t->epoll, t->interrupt) < 0)
        return status_of_connect(errno);
    return WVU_STATUS_OK;
}

/* The status of a refusal stands where every version has it; the rest only counts when there is none. */
static int check_welcome(const struct wvu_welcome *welcome, size_t received)
{
    if (received < sizeof *welcome || welcome->size < sizeof *welcome || welcome->status > 0)
        return WVU_STATUS_BAD_MESSAGE;
    if (welcome->status != WVU_STATUS_OK)
        return welcome->status;
    if (welcome->version != WVU_PROTOCOL_VERSION)
        return WVU_STATUS_VERSION_MISMATCH;
    return WVU_STATUS_OK;
}

static int receive_welcome(struct wvu_transport *t, int64_t deadline, size_t *message_max)
{
    /* A later version may send more; what comes after the part known here does not matter. */
    union {
        struct wvu_welcome welcome;
        char bytes[256];
    } packet;
    size_t received;
    int status =
        wvu_transport_receive(t, remaining_ms(deadline), &packet, sizeof packet, &received);
    if (status == WVU_STATUS_AGAIN)
        return WVU_STATUS_TIMEOUT;
    if (status != WVU_STATUS_OK)
        return status;
    *message_max = packet.welcome.message_max;
    return check_welcome(&packet.welcome, received);
}

int wvu_socket_open(const char *run_dir, const char *port, int timeout_ms,
                    struct wvu_transport **transport, size_t *message_max)
{
    struct sockaddr_un address;
    int64_t deadline = deadline_of(timeout_ms);
    int status = address_of(run_dir != NULL ? run_dir : DEFAULT_RUN_DIR, port, &address);
    if (status != WVU_STATUS_OK)
        return status;
    struct wvu_transport *t = malloc(sizeof *t);
    if (t == NULL)
        return WVU_STATUS_NO_MEMORY;
    t->socket = t->interrupt = t->epoll = -1;
    atomic_init(&t->interrupted, false);
    status = open_descriptors(t);
    if (status == WVU_STATUS_OK)
        status = connect_socket(t->socket, &address, deadline);
    if (status == WVU_STATUS_OK)
        status = receive_welcome(t, deadline, message_max);
    if (status != WVU_STATUS_OK) {
        wvu_transport_close(t);
        return status;
    }
    *transport = t;
    return WVU_STATUS_OK;
}

int wvu_transport_open(const char *run_dir, int timeout_ms, struct wvu_transport **transport,
                       size_t *message_max)
{
    int status = wvu_socket_open(run_dir, "WVUPort", timeout_ms, transport, message_max);
    if (status != WVU_STATUS_OK)
        return status;
    if (*message_max < sizeof(struct wvu_message_header) + sizeof(struct wvu_batch) ||
        *message_max > WVU_MESSAGE_MAX) {
        wvu_transport_close(*transport);
        return WVU_STATUS_BAD_MESSAGE;
    }
    return WVU_STATUS_OK;
}

void wvu_transport_close(struct wvu_transport *t)
{
    if (t == NULL)
        return;
    if (t->epoll >= 0)
        (void)close(t->epoll);
    if (t->interrupt >= 0)
        (void)close(t->interrupt);
    if (t->socket >= 0)
        (void)close(t->socket);
    free(t);
}

/* ---- messages ------------------------------------------------------------------------------------------------ */

/* True, once for any number of interrupts before it, when somebody interrupted. */
static bool take_interrupt(struct wvu_transport *t)
{
    uint64_t count;
    if (!atomic_load_explicit(&t->interrupted, memory_order_relaxed) ||
        !atomic_exchange(&t->interrupted, false))
        return false;
    return read(t->interrupt, &count, sizeof count) == (ssize_t)sizeof count;
}

/* Waits until there is something to receive or an interrupt. */
static int wait_readable(struct wvu_transport *t, int64_t deadline)
{
    struct pollfd fds[2] = {{.fd = t->socket, .events = POLLIN},
                            {.fd = t->interrupt, .events = POLLIN}};
    int ready = poll(fds, 2, remaining_ms(deadline));
    if (ready < 0)
        return errno == EINTR ? WVU_STATUS_OK : WVU_STATUS_IO_ERROR;
    if (ready == 0)
        return remaining_ms(deadline) == 0 ? WVU_STATUS_AGAIN : WVU_STATUS_OK;
    if (fds[1].revents != 0 && take_interrupt(t))
        return WVU_STATUS_CANCELLED;
    return WVU_STATUS_OK;
}

/* Looks at the socket before it waits: with a busy sensor the next message is often there already. */
int wvu_transport_receive(struct wvu_transport *t, int timeout_ms, void *buffer, size_t capacity,
                          size_t *size)
{
    int64_t deadline = timeout_ms == 0 ? 0 : deadline_of(timeout_ms);
    if (take_interrupt(t))
        return WVU_STATUS_CANCELLED;
    for (;;) {
        /* With MSG_TRUNC the result is the packet's true length. A packet of no bytes looks like the
         * end and no message is one, so both end the connection. */
        ssize_t received = recv(t->socket, buffer, capacity, MSG_DONTWAIT | MSG_TRUNC);
        if (received > 0) {
            *size = (size_t)received;
            return *size <= capacity ? WVU_STATUS_OK : WVU_STATUS_BAD_MESSAGE;
        }
        if (received == 0 || errno == ECONNRESET)
            return WVU_STATUS_DISCONNECTED;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return WVU_STATUS_IO_ERROR;
        if (timeout_ms == 0)
            return WVU_STATUS_AGAIN;
        int status = wait_readable(t, deadline);
        if (status != WVU_STATUS_OK)
            return status;
    }
}

int wvu_transport_wait(struct wvu_transport *t, int timeout_ms)
{
    int64_t deadline = timeout_ms == 0 ? 0 : deadline_of(timeout_ms);
    for (;;) {
        char byte;
        if (take_interrupt(t))
            return WVU_STATUS_CANCELLED;
        if (recv(t->socket, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
            (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            return WVU_STATUS_OK; /* a message, or what a receive will say */
        int status = timeout_ms == 0 ? WVU_STATUS_AGAIN : wait_readable(t, deadline);
        if (status != WVU_STATUS_OK)
            return status;
    }
}

int wvu_transport_send(struct wvu_transport *t, const void *reply, size_t size)
{
    for (;;) {
        ssize_t sent = send(t->socket, reply, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            return (size_t)sent == size ? WVU_STATUS_OK : WVU_STATUS_IO_ERROR;
        if (errno == EINTR)
            continue;
        /* One reply a message: only a sensor that reads none of them lets them fill the socket. */
        if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN || errno == EAGAIN)
            return WVU_STATUS_DISCONNECTED;
        return WVU_STATUS_IO_ERROR;
    }
}

int wvu_transport_fd(const struct wvu_transport *t)
{
    return t->epoll;
}

void wvu_transport_interrupt(struct wvu_transport *t)
{
    const uint64_t one = 1;
    int error = errno;
    /* It can only fail when the counter is full, and then it is readable already. */
    ssize_t written = write(t->interrupt, &one, sizeof one);
    (void)written;
    atomic_store(&t->interrupted, true);
    errno = error;
}
