/*
 * Paths of registry keys, asked of the configuration manager; and a place where a path is kept from the
 * pre-notification of an operation to its post-notification. See registry_names.c.
 */
#ifndef WVU_REGISTRY_NAMES_H
#define WVU_REGISTRY_NAMES_H

#include "cm.h"

/* More operations than this that delete or rename a key at once are told without the key's path. */
#define WVU_REGISTRY_NAMES_KEPT 256u

/* PASSIVE, while no callback is registered: before the first, and after the last one has ended. */
void wvu_registry_names_open(void);
void wvu_registry_names_close(void);
/* PASSIVE, once, when CmRegisterCallbackEx has returned: until then there are no names. */
void wvu_registry_names_set_cookie(LARGE_INTEGER cookie);

/* In a callback, at most APC_LEVEL. The path of a key whose object is valid; NULL when it cannot be had. To
 * be given back. */
_IRQL_requires_max_(APC_LEVEL) PCUNICODE_STRING wvu_registry_name_get(PVOID object);
_IRQL_requires_max_(APC_LEVEL) void wvu_registry_name_release(
    PCUNICODE_STRING name); /* NULL: nothing */

/* In a pre-notification: asks for the path and keeps it. The value for CallContext; NULL: nothing was
 * kept. */
_IRQL_requires_max_(APC_LEVEL) PVOID wvu_registry_name_keep(PVOID object);
/* In the post-notification: the path, to be given back; NULL: there is none. */
_IRQL_requires_max_(APC_LEVEL) PCUNICODE_STRING wvu_registry_name_take(PVOID call_context);

#endif
