/*
 * What the event port and the command port do alike: a listening socket with a name in the run directory, a
 * thread that serves it, who may come in, and troubles that are counted and told in few lines.
 *
 *     open -> start -> stop -> close
 *
 * Main thread, unless stated otherwise.
 */
#ifndef WVU_LISTENER_H
#define WVU_LISTENER_H

#include <poll.h>

#include "os.h"
#include "peer.h"
#include "ration.h"
#include "run_dir.h"

/* What others can make happen often. A port's own troubles come after these. */
enum {
    WVU_TROUBLE_FULL, /* as many as there may be were connected */
    WVU_TROUBLE_UNENTITLED,
    WVU_TROUBLE_STOPPING,
    WVU_TROUBLE_FAILED, /* the system had no resources, or the welcome could not be sent */
    WVU_TROUBLE_OWN,
    WVU_TROUBLES_MAX = 8
};

/* What the two ports differ in. */
struct wvu_listener_kind {
    const char *name;  /* what clients connect to */
    const char *early; /* the socket's name before it is started */
    int backlog;
    uint32_t packet_max; /* of what is sent: the welcome says so */
    const char *thread;

    /* Words of its texts. */
    const char *port;
    const char *events;
    const char *client;                     /* a %s cannot be accepted */
    const char *refused;                    /* %s process 7 was refused */
    const char *to;                         /* process 7 connected%s */
    const char *troubles[WVU_TROUBLES_MAX]; /* 7 more %s */
};

struct wvu_listener {
    const struct wvu_listener_kind *kind;
    const struct wvu_run_dir *run_dir;
    const char *file;  /* the socket's present name */
    uint64_t group;    /* atomic: who may connect besides root and our user; UINT64_MAX: nobody */
    uint32_t refusing; /* atomic, like the next */
    uint32_t stopping;
    int fd;
    int kick;              /* eventfd: the port's thread is to look at stopping and troubles */
    uint64_t listen_after; /* port's thread: uptime before which it does not accept */
    wvu_thread thread;
    bool started;
    wvu_lock lock; /* a leaf, for the troubles */
    struct wvu_ration troubles[WVU_TROUBLES_MAX];
};

/* Makes the socket, in the place of one that a dead sensor left; nobody can connect yet. run_dir must
 * outlive it. On failure nothing is left behind, and `reason` says what failed and what to do. */
wvu_status wvu_listener_open(struct wvu_listener *listener, const struct wvu_listener_kind *kind,
                             const struct wvu_run_dir *run_dir, bool has_group, gid_t group,
                             char *reason, size_t reason_size);

/* Begins to listen, then gives the socket its name, so that who finds the name can connect, then starts the
 * port's thread. */
wvu_status wvu_listener_start(struct wvu_listener *listener, void (*body)(void *), void *context,
                              char *reason, size_t reason_size);

/* Who may connect from now on. */
wvu_status wvu_listener_set_group(struct wvu_listener *listener, bool has_group, gid_t group,
                                  char *reason, size_t reason_size);

/* Any thread. From now on whoever connects is told STOPPING. */
void wvu_listener_refuse(struct wvu_listener *listener);

/* Waits for the thread, whose body ends when is_stopping. Allowed after a failed start. */
void wvu_listener_stop(struct wvu_listener *listener);

/* Removes the name as well. */
void wvu_listener_close(struct wvu_listener *listener);

/* ---- port's thread ---- */

bool wvu_listener_is_stopping(const struct wvu_listener *listener);

/* Sleeps until one of `fds` has something, of which the first WVU_LISTENER_FDS are filled in here, or there
 * is something else to look at. Tells what is due of troubles. True: somebody wants to come in. */
#define WVU_LISTENER_FDS 2
bool wvu_listener_wait(struct wvu_listener *listener, struct pollfd *fds, nfds_t count);

/* A connection whose peer may come in; -1: there is none, or it was refused. It is welcomed, which can
 * fail (then the caller closes it), or turned away because there is no place. */
int wvu_listener_accept(struct wvu_listener *listener, struct wvu_port_peer *peer);
bool wvu_listener_welcome(struct wvu_listener *listener, int fd, const struct wvu_port_peer *peer);
void wvu_listener_turn_away(struct wvu_listener *listener, int fd, const struct wvu_port_peer *peer,
                            const char *why);

/* ---- any thread ---- */

/* It happened. True when it is to be told with its details; otherwise a sum will tell. */
bool wvu_listener_trouble(struct wvu_listener *listener, int kind);

/* How often each happened. */
void wvu_listener_read_troubles(struct wvu_listener *listener, uint64_t totals[WVU_TROUBLES_MAX]);

/* ppoll until an uptime; WVU_TIMEOUT_NONE: without end. */
int wvu_poll_until(struct pollfd *fds, nfds_t count, uint64_t wake_at);

#endif
