/*
 * The sensor's own events: it reports them as a probe does, through the queue, numbered and bounded. See
 * report.c.
 */
#ifndef WVU_REPORT_H
#define WVU_REPORT_H

#include "sensor.h"

struct wvu_reporter {
    struct wvu_queue *queue;
    uint8_t id[16]; /* of the sensor */
};

/* Any, all of them. An event for which there is no room is counted by the queue. A text of NULL is an empty
 * one; a requester of NULL is one of whom nothing is known. */
void wvu_report_start(const struct wvu_reporter *reporter,
                      const struct wvu_sensor_settings *settings);
void wvu_report_stop(const struct wvu_reporter *reporter, const char *reason);
void wvu_report_probe(const struct wvu_reporter *reporter, const struct wvu_probe *probe,
                      uint32_t condition, wvu_status status, const char *reason);
void wvu_report_command(const struct wvu_reporter *reporter, const struct wvu_requester *requester,
                        const struct wvu_command_report *report);
void wvu_report_refused_stop(const struct wvu_reporter *reporter,
                             const struct wvu_requester *requester, const char *attempt);
/* From `probe` (NULL: the sensor). Does not wake. */
void wvu_report_mitigation(const struct wvu_reporter *reporter, const struct wvu_probe *probe,
                           const struct wvu_mitigation_report *report);

#endif
