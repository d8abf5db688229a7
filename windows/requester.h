/*
 * Who asks the sensor for something.
 */
#ifndef WVU_REQUESTER_H
#define WVU_REQUESTER_H

#include "nt.h"
#include "sensor.h"

/* PASSIVE, in a thread of the process that asks. What cannot be found out stays 0 or "". */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_requester_describe(struct wvu_requester *requester);

#endif
