/*
 * The run directory of a sensor: made if missing, and held by one sensor at a time.
 */
#ifndef WVU_RUN_DIR_H
#define WVU_RUN_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "winvirtue/status.h"

#define WVU_RUN_DIR_DEFAULT    "/run/winvirtue"
#define WVU_PORT_FILE          "WVUPort"
#define WVU_PORT_FILE_EARLY    ".WVUPort" /* until it can be connected to */
#define WVU_COMMAND_FILE       "WVUCommand"
#define WVU_COMMAND_FILE_EARLY ".WVUComm"
#define WVU_PID_FILE           "wvud.pid"

struct wvu_run_dir {
    const char *path; /* the caller's */
    int directory;    /* descriptor */
    int lock;         /* descriptor of the locked pid file */
};

/* Makes the directory (0750; its parent must exist) and takes it. BUSY: a living sensor has it.
 * ACCESS_DENIED: not permitted, or other users could replace what is in it. On failure `reason`
 * says what failed and what to do. */
wvu_status wvu_run_dir_open(struct wvu_run_dir *run_dir, const char *path, char *reason,
                            size_t reason_size);

/* Lets members of the group in (0750, group), or only the owner's group as it is when has_group is
 * false. */
wvu_status wvu_run_dir_set_group(const struct wvu_run_dir *run_dir, bool has_group, gid_t group,
                                 char *reason, size_t reason_size);

/* Removes the pid file and lets go. */
void wvu_run_dir_close(struct wvu_run_dir *run_dir);

#endif
