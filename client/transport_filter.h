/*
 * What the event port and the command port share on Windows: see transport_filter.c. Include <windows.h>
 * before it where more of that is needed.
 */
#ifndef WVU_TRANSPORT_FILTER_H
#define WVU_TRANSPORT_FILTER_H

#include <windows.h>

#include "transport.h"

/* Of what a function of the Filter Manager's library returned. */
int wvu_filter_status(HRESULT result);

#endif
