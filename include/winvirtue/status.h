/*
 * Statuses: what every call of the engine, the hosts and the client library returns.
 *
 * WVU_STATUS_OK is 0, every other status is negative; test with `status < 0` or `!= WVU_STATUS_OK`.
 * The values are NTSTATUS values, so they mean the same on the wire from Windows and from Linux.
 */
#ifndef WINVIRTUE_STATUS_H
#define WINVIRTUE_STATUS_H

#include <stdint.h>

typedef int32_t wvu_status;

enum wvu_status_value {
#define WVU_STATUS(name, value, text) WVU_STATUS_##name = (int32_t)(value##u),
#include "status.def"
};

#ifdef __cplusplus
extern "C" {
#endif

/* The text of a status for people; never NULL. Static storage; any thread. */
const char *wvu_strerror(wvu_status status);

/* The symbolic name of a status ("TIMEOUT"); "UNKNOWN" for a value not in the table. */
const char *wvu_status_name(wvu_status status);

#ifdef __cplusplus
}
#endif

#endif
