/*
 * The listening socket of a port, and its name in the run directory. Both ports have one each.
 *
 *     open -> publish -> close
 *
 * Main thread, except for is_entitled.
 */
#ifndef WVU_LISTENER_H
#define WVU_LISTENER_H

#include "peer.h"
#include "run_dir.h"

struct wvu_listener {
    const struct wvu_run_dir *run_dir;
    const char *name; /* what clients connect to */
    const char *file; /* its present name */
    uint64_t group;   /* atomic: who may connect besides root and our user; UINT64_MAX: nobody */
    int fd;
};

/* Makes the socket, in the place of one that a dead sensor left; nobody can connect yet: until it is
 * published its name is `early`. run_dir must outlive it. On failure nothing is left behind, and `reason`
 * says what failed and what to do. */
wvu_status wvu_listener_open(struct wvu_listener *listener, const struct wvu_run_dir *run_dir,
                             const char *name, const char *early, bool has_group, gid_t group,
                             char *reason, size_t reason_size);

/* Begins to listen, and then gives it its name, so that who finds the name can connect. */
wvu_status wvu_listener_publish(struct wvu_listener *listener, int backlog, char *reason,
                                size_t reason_size);

/* Who may connect from now on. */
wvu_status wvu_listener_set_group(struct wvu_listener *listener, bool has_group, gid_t group,
                                  char *reason, size_t reason_size);

/* Any thread. Of a connection that was accepted. */
bool wvu_listener_is_entitled(const struct wvu_listener *listener, int fd,
                              const struct wvu_port_peer *peer);

/* Removes the name as well. */
void wvu_listener_close(struct wvu_listener *listener);

#endif
