/*
 * Tells the service manager how the daemon is: the protocol of sd_notify(3), without its library.
 */
#ifndef WVU_NOTIFY_H
#define WVU_NOTIFY_H

#include "winvirtue/status.h"

/* Any thread. Sends one datagram of KEY=VALUE lines. OK also when no service manager listens
 * (NOTIFY_SOCKET is not set). INVALID_PARAMETER: the variable has no usable address. IO_ERROR. */
wvu_status wvu_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
