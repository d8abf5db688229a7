/*
 * What the sensor does to processes: keep a program from running, end a process.
 */
#ifndef WVU_MITIGATION_H
#define WVU_MITIGATION_H

#include "process_report.h"

/* PASSIVE, in the system's callback for a process that starts, after wvu_process_learn. Obeys a `deny` rule:
 * may write *creation_status (NULL: this kernel does not ask us). Returns whether there is something for
 * wvu_mitigation_report_denied to tell. */
struct wvu_denial {
    uint32_t outcome; /* enum wvu_mitigation_outcome */
    wvu_status status;
    char reason[256];
};
_IRQL_requires_max_(PASSIVE_LEVEL) bool wvu_mitigation_deny(struct wvu_probe *probe,
                                                            const struct wvu_process_start *start,
                                                            NTSTATUS *creation_status,
                                                            struct wvu_denial *denial);
/* PASSIVE. After the start itself was reported. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_mitigation_report_denied(
    struct wvu_probe *probe, const struct wvu_process_start *start,
    const struct wvu_denial *denial);

/* PASSIVE. The process probe's mitigate (probe.h): ends one process, by key. */
_IRQL_requires_max_(PASSIVE_LEVEL) wvu_status
    wvu_mitigation_terminate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                             char *reason);

#endif
