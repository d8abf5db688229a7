/*
 * A process start as a record, whoever learned of it.
 */
#ifndef WVU_PROCESS_REPORT_H
#define WVU_PROCESS_REPORT_H

#include "nt.h"
#include "filter.h"
#include "probe.h"
#include "process_identity.h"

struct wvu_process_start {
    PEPROCESS process; /* NULL when it is gone already */
    HANDLE process_id;
    HANDLE parent_id;
    uint32_t cause;                        /* enum wvu_create_cause; UNKNOWN is left out */
    const UNICODE_STRING *image_file_name; /* these three: NULL when they are not known */
    const UNICODE_STRING *command_line;
    const PS_CREATE_NOTIFY_INFO *info;
    const UNICODE_STRING *judged_name; /* what the filter sees when image_file_name is NULL */
    uint64_t process_key;              /* these four: wvu_process_learn finds them out */
    uint64_t parent_key;
    struct wvu_process_user user;
    struct wvu_verdict verdict;
};

/* PASSIVE, between wvu_probe_enter and _leave. Who it is and what the filter says about it; from then on the
 * table of processes has it. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_process_learn(struct wvu_probe *probe,
                                                          struct wvu_process_start *start);

/* PASSIVE, after that. Reserves, fills, commits and wakes, when the event is wanted. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_process_report_start(
    struct wvu_probe *probe, const struct wvu_process_start *start);

#endif
