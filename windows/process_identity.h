/*
 * Who a process is, beyond its pid.
 */
#ifndef WVU_PROCESS_IDENTITY_H
#define WVU_PROCESS_IDENTITY_H

#include "nt.h"

/* "S-1-" and an authority of at most 14 characters, and 15 sub-authorities of at most 11. */
#define WVU_SID_UNITS 187

struct wvu_process_user {
    bool has_sid;
    bool has_session;
    USHORT sid_size; /* bytes in sid */
    ULONG session;
    WCHAR sid[WVU_SID_UNITS];
};

/* At most DISPATCH_LEVEL. Names one process of this boot even when its pid is used again; 0 when
 * this kernel tells nothing to make it from. */
_IRQL_requires_max_(DISPATCH_LEVEL) uint64_t wvu_process_key(PEPROCESS process, HANDLE pid);

/* At most APC_LEVEL. The key of the process that has this pid now; 0 when there is none. */
_IRQL_requires_max_(APC_LEVEL) uint64_t wvu_process_key_of_pid(HANDLE pid);

/* PASSIVE. User and session of the process's primary token. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_process_user_of(PEPROCESS process,
                                                            struct wvu_process_user *user);

#endif
