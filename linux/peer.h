/*
 * Who is at the other end of a connection to a port, whether it may be there, and its welcome. What the
 * event port and the command port do alike.
 */
#ifndef WVU_PEER_H
#define WVU_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "winvirtue/status.h"

/* A program that is connected, as the kernel knows it. */
struct wvu_port_peer {
    pid_t pid; /* 0: in a pid namespace that cannot be seen from here */
    uid_t uid;
    gid_t gid;
};

/* Any thread, all of them. */

bool wvu_peer_read(int fd, struct wvu_port_peer *peer);

/* Root, this process's user and, if there is one, members of the group. */
bool wvu_peer_is_entitled(int fd, const struct wvu_port_peer *peer, bool has_group, gid_t group);

/* Makes packets of so many bytes fit at once: a packet is sent whole or not at all. False, and said in the
 * log, when the system does not give that much. */
bool wvu_peer_make_room(int fd, uint32_t packet);

/* Does not wait. False: it has left, or there is no memory. */
bool wvu_peer_welcome(int fd, wvu_status status, uint32_t message_max);

/* The program's name, for people; it may end or change its name at any time. Without control characters. */
#define WVU_PEER_NAME_MAX 32
void wvu_peer_name(pid_t pid, char name[WVU_PEER_NAME_MAX]);

/* Path of the program that the process runs; "" when that cannot be told. A longer one keeps its end. */
void wvu_peer_image(pid_t pid, char *image, size_t size);

#endif
