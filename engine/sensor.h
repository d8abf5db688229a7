/*
 * The sensor: queue, dispatcher and probes as one whole with a life cycle.
 *
 *     create -> start -> stop -> destroy          (stop and destroy are valid after a failed start)
 *
 * All functions: PASSIVE, one controlling thread, unless stated otherwise.
 */
#ifndef WVU_SENSOR_H
#define WVU_SENSOR_H

#include "dispatcher.h"
#include "probe.h"

struct wvu_sensor_settings {
    uint32_t host_kind;     /* enum wvu_host_kind */
    const uint8_t *host_id; /* 16 bytes that name this machine for good */
    const char *host_name;  /* texts: UTF-8/ASCII, copied at start into SensorStart */
    const char *system_version;
    const char *configuration; /* key=value, one a line */
    uint32_t queue_records;
    uint32_t queue_bytes;
    uint32_t send_timeout_ms;
    uint32_t drain_ms;
    struct wvu_port *port;                            /* must outlive the sensor */
    void *host;                                       /* handed to probes */
    const struct wvu_probe_definition *const *probes; /* ends with NULL; started in this order */
};

struct wvu_sensor;

/* Allocates everything; nothing runs yet. The settings' pointers must stay valid until destroy. */
wvu_status wvu_sensor_create(const struct wvu_sensor_settings *settings,
                             struct wvu_sensor **sensor);

/* SensorStart is record number 1; then the dispatcher and the probes that are enabled at start. A
 * probe that fails to start is reported in the stream and the log, and does not fail the sensor.
 * Once in a sensor's life: INVALID_STATE after that. */
wvu_status wvu_sensor_start(struct wvu_sensor *sensor);

/* Probes off (last one first), callbacks run down, SensorStop queued, dispatcher drained for at
 * most drain_ms and joined. Bounded in every state. */
void wvu_sensor_stop(struct wvu_sensor *sensor, const char *reason);
void wvu_sensor_destroy(struct wvu_sensor *sensor); /* NULL is allowed */

/* For the host's port and for statistics; valid from create to destroy. */
struct wvu_dispatcher *wvu_sensor_dispatcher(struct wvu_sensor *sensor);
struct wvu_queue *wvu_sensor_queue(struct wvu_sensor *sensor);
const uint8_t *wvu_sensor_boot_id(const struct wvu_sensor *sensor);
/* By name, ignoring ASCII case; NULL when there is none. index: 0, 1, ... until NULL. */
struct wvu_probe *wvu_sensor_find_probe(struct wvu_sensor *sensor, const char *name);
struct wvu_probe *wvu_sensor_probe_at(struct wvu_sensor *sensor, uint32_t index);

/* For probe.c. PASSIVE. A change of state becomes a ProbeStateChanged event; a new due time or
 * interval makes the poller look again. */
void wvu_sensor_report_probe(struct wvu_sensor *sensor, const struct wvu_probe *probe,
                             uint32_t condition, wvu_status status, const char *reason);
void wvu_sensor_reschedule(struct wvu_sensor *sensor);

#endif
