/*
 * The several names that one program's file has in the kernel, and the programs without which Windows does
 * not go on.
 */
#ifndef WVU_NAMES_H
#define WVU_NAMES_H

#include "filter.h"
#include "nt.h"

/* PASSIVE, once, from DriverEntry: where Windows is. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_names_init(void);

/* PASSIVE. As wvu_filter_host.spelling: C:\X is also \??\C:\X, \Device\HarddiskVolumeN\X and, below the
 * directory of Windows, \SystemRoot\X. */
_IRQL_requires_max_(PASSIVE_LEVEL) size_t
    wvu_names_spelling(void *context, const char *path, size_t length, uint32_t index, char *out,
                       size_t capacity);

/* PASSIVE. Is it the file of one of the programs that Windows cannot be without? `image` may be NULL. */
_IRQL_requires_max_(PASSIVE_LEVEL) bool wvu_names_is_critical(const UNICODE_STRING *image);

#endif
