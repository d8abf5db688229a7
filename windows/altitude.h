/*
 * The driver's altitude: its place among minifilters, and among registry filters.
 */
#ifndef WVU_ALTITUDE_H
#define WVU_ALTITUDE_H

#include "nt.h"

#define WVU_ALTITUDE_UNITS 32u /* with the NUL */

/* PASSIVE. As the Filter Manager finds it: below the service's key, Parameters\Instances or Instances, in the
 * key of the default instance. That of the INF when it is not there. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_altitude_read(PCUNICODE_STRING service_key,
                                                          WCHAR altitude[WVU_ALTITUDE_UNITS]);

#endif
