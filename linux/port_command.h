/*
 * The command port on Linux: a SOCK_SEQPACKET socket named WVUCommand in the run directory. One packet is
 * one request, and is answered by one packet, the response.
 *
 *     create -> start -> stop -> destroy
 *
 * Main thread, unless stated otherwise. The order with the sensor: port create, sensor create, sensor
 * start, port start, ... port refuse, sensor stop, port stop, sensor destroy, port destroy. See
 * port_command.c for the thread.
 */
#ifndef WVU_PORT_COMMAND_H
#define WVU_PORT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "run_dir.h"

struct wvu_port_command;
struct wvu_sensor;

/* Clients at a time; the next ones are told CONNECTION_LIMIT. */
#define WVU_COMMAND_CLIENTS_MAX 64u

struct wvu_port_command_settings {
    const struct wvu_run_dir *run_dir; /* must outlive the port */
    bool has_group;
    gid_t group; /* besides root and this process's user, its members may connect */
    /* Optional; the port's thread: the key of the process that has this pid now; 0: not known. */
    uint64_t (*key_of)(void *context, uint32_t pid);
    /* Optional; the port's thread, after each request: what it changed can be told to others. */
    void (*answered)(void *context);
    void *context;
};

struct wvu_port_command_counters {
    uint64_t connections;
    uint64_t requests;           /* answered, whatever the answer */
    uint64_t refused_full;       /* as many clients as there may be were connected */
    uint64_t refused_unentitled; /* neither root, nor our user, nor in the group */
    uint64_t refused_stopping;
    uint64_t refused_failed; /* the system had no resources, or the welcome could not be sent */
    uint64_t unread;         /* clients that were closed because they left their responses unread */
};

/* Makes the socket, in the place of one that a dead sensor left; nobody can connect yet. On failure
 * `reason` says what failed and what to do. */
wvu_status wvu_port_command_create(const struct wvu_port_command_settings *settings,
                                   struct wvu_port_command **port, char *reason,
                                   size_t reason_size);

/* Begins to listen. The sensor must not be destroyed before stop has returned. */
wvu_status wvu_port_command_start(struct wvu_port_command *port, struct wvu_sensor *sensor,
                                  char *reason, size_t reason_size);

/* Any thread. From now on whoever connects is told STOPPING; the others stay. */
void wvu_port_command_refuse(struct wvu_port_command *port);

/* The request that is being answered is finished, all clients are closed, the thread ends. Allowed after a
 * failed start. */
void wvu_port_command_stop(struct wvu_port_command *port);

void wvu_port_command_destroy(struct wvu_port_command *port); /* NULL is allowed */

/* Who may connect from now on. Present clients stay. */
wvu_status wvu_port_command_set_group(struct wvu_port_command *port, bool has_group, gid_t group,
                                      char *reason, size_t reason_size);

/* Any thread. */
void wvu_port_command_read_counters(struct wvu_port_command *port,
                                    struct wvu_port_command_counters *counters);

#endif
