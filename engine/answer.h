/*
 * Data of responses: what the sensor tells about its probes, its counters and itself, and the schema of its
 * events. See answer.c; command.c decides which of them answers what.
 *
 * All of it is PASSIVE, in any thread between the sensor's start and stop.
 */
#ifndef WVU_ANSWER_H
#define WVU_ANSWER_H

#include "sensor.h"

/* A response's data, growing. What is behind `used` was not written, or is of no concern. */
struct wvu_answer {
    uint8_t *out; /* 8-byte aligned */
    uint32_t room;
    uint32_t used; /* at most room */
};

/* Each returns false when it does not fit. */
bool wvu_answer_bytes(struct wvu_answer *answer, const void *bytes, size_t size);
bool wvu_answer_probe(struct wvu_answer *answer, struct wvu_probe *probe);
bool wvu_answer_statistics(struct wvu_answer *answer, struct wvu_sensor *sensor);
bool wvu_answer_status(struct wvu_answer *answer, struct wvu_sensor *sensor);
bool wvu_answer_filter(struct wvu_answer *answer, struct wvu_sensor *sensor);
bool wvu_answer_schema(struct wvu_answer *answer); /* schema.c */

#endif
