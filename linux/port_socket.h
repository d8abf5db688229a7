/*
 * The event port on Linux: a SOCK_SEQPACKET socket named WVUPort in the run directory.
 *
 *     create -> start -> stop -> destroy
 *
 * Main thread, unless stated otherwise. The order with the sensor:
 * port create, sensor create, sensor start, port start, ... port refuse, sensor stop, port stop, sensor
 * destroy, port destroy. See port_socket.c for the threads.
 */
#ifndef WVU_PORT_SOCKET_H
#define WVU_PORT_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "peer.h"
#include "port.h"
#include "run_dir.h"

struct wvu_dispatcher;
struct wvu_port_socket;

struct wvu_port_socket_settings {
    const struct wvu_run_dir *run_dir; /* must outlive the port */
    bool has_group;
    gid_t group; /* besides root and this process's user, its members may connect */
    /* Optional; the port's thread, after each change: who is connected now, or NULL. */
    void (*changed)(void *context, const struct wvu_port_peer *reader);
    void *context;
};

struct wvu_port_socket_counters {
    uint64_t connections;
    uint64_t refused_busy;       /* another reader was connected */
    uint64_t refused_unentitled; /* neither root, nor our user, nor in the group */
    uint64_t refused_stopping;
    uint64_t refused_failed; /* the system had no resources, or the welcome could not be sent */
    uint64_t stray_replies;  /* to a message that nobody waits for: late, or never sent */
    uint64_t malformed_packets;
    uint64_t floods; /* sends given up because of too many of these two */
};

/* As many packets that are no reply to the message end a send with BAD_MESSAGE. */
#define WVU_PORT_BAD_PACKETS_MAX 1000u

/* Makes the socket, in the place of one that a dead sensor left; nobody can connect yet. On failure
 * `reason` says what failed and what to do. */
wvu_status wvu_port_socket_create(const struct wvu_port_socket_settings *settings,
                                  struct wvu_port_socket **port, char *reason, size_t reason_size);

/* Begins to listen. The dispatcher must live until stop has returned. */
wvu_status wvu_port_socket_start(struct wvu_port_socket *port, struct wvu_dispatcher *dispatcher,
                                 char *reason, size_t reason_size);

/* Any thread. From now on whoever connects is told STOPPING; the reader stays. */
void wvu_port_socket_refuse(struct wvu_port_socket *port);

/* Ends the reader's connection (with wvu_dispatcher_disconnected) and the thread. Not while a send is
 * under way: the sensor stops first. Allowed after a failed start. */
void wvu_port_socket_stop(struct wvu_port_socket *port);

void wvu_port_socket_destroy(struct wvu_port_socket *port); /* NULL is allowed */

/* Who may connect from now on. The present reader stays. */
wvu_status wvu_port_socket_set_group(struct wvu_port_socket *port, bool has_group, gid_t group,
                                     char *reason, size_t reason_size);

/* For the sensor's settings. */
struct wvu_port *wvu_port_socket_port(struct wvu_port_socket *port);

/* Any thread. */
void wvu_port_socket_read_counters(struct wvu_port_socket *port,
                                   struct wvu_port_socket_counters *counters);

#endif
