/*
 * Signals that ask ntfltmgr to end: SIGINT, SIGTERM, SIGHUP.
 */
#ifndef NTFLTMGR_STOP_H
#define NTFLTMGR_STOP_H

#include <stdbool.h>

/* Installs the handlers; SIGPIPE is ignored from here on. False: errno says why. Once. */
bool stop_init(void);

/* True once a signal came. */
bool stop_requested(void);

/* Polls readable once a signal came. */
int stop_fd(void);

#endif
