/*
 * The processes that ran before the probe did.
 */
#ifndef WVU_RUNNING_PROCESSES_H
#define WVU_RUNNING_PROCESSES_H

#include "nt.h"
#include "probe.h"

/* PASSIVE, from the probe's start. One ProcessCreate (Cause: Running) for each process that was created
 * before `registered_at`, the system time right before the probe's routine was registered: later ones
 * are announced by the system. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_running_processes_report(struct wvu_probe *probe,
                                                                     int64_t registered_at);

#endif
