/*
 * The system's own list of the processes that run, as ZwQuerySystemInformation gives it.
 */
#ifndef WVU_SYSTEM_PROCESSES_H
#define WVU_SYSTEM_PROCESSES_H

#include "nt.h"

struct wvu_system_process {
    HANDLE id;
    ULONG threads;
    HANDLE first_thread;        /* id of one of them; NULL: it has none */
    const UNICODE_STRING *name; /* of the file, without its path; its buffer may be NULL */
};

/* PASSIVE. Calls `visit` for each but the idle process, with what is valid during the call. When it fails
 * (STATUS_NOT_SUPPORTED: this kernel does not tell) nothing was visited. */
_IRQL_requires_max_(PASSIVE_LEVEL) NTSTATUS wvu_system_processes_visit(
    void (*visit)(void *context, const struct wvu_system_process *process), void *context);

#endif
