/*
 * A process start as a record, whoever learned of it.
 */
#ifndef WVU_PROCESS_REPORT_H
#define WVU_PROCESS_REPORT_H

#include "nt.h"
#include "probe.h"

struct wvu_process_start {
    PEPROCESS process; /* NULL when it is gone already */
    HANDLE process_id;
    HANDLE parent_id;
    uint32_t cause;                        /* enum wvu_create_cause; UNKNOWN is left out */
    const UNICODE_STRING *image_file_name; /* these three: NULL when they are not known */
    const UNICODE_STRING *command_line;
    const PS_CREATE_NOTIFY_INFO *info;
};

/* PASSIVE, between wvu_probe_enter and _leave. Reserves, fills, commits and wakes. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_process_report_start(
    struct wvu_probe *probe, const struct wvu_process_start *start);

#endif
