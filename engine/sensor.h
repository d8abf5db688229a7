/*
 * The sensor: queue, dispatcher and probes as one whole with a life cycle.
 *
 *     create -> start -> stop -> destroy          (stop and destroy are valid after a failed start)
 *
 * All functions: PASSIVE, one controlling thread, unless stated otherwise. Commands come from other
 * threads, between start and stop (command.h).
 */
#ifndef WVU_SENSOR_H
#define WVU_SENSOR_H

#include "dispatcher.h"
#include "filter.h"
#include "probe.h"

/* Who asks for something: the client of a command, the sender of a signal. What is not known is 0 or "". */
struct wvu_requester {
    uint32_t process_id;
    uint64_t process_key;
    bool has_user;
    uint32_t user_id;  /* Linux */
    char user_sid[72]; /* Windows: text */
    char image[256];   /* path of its program, UTF-8; cut at its beginning when it is too long */
};

/* What commands ask of the host besides its probes. Each is called at PASSIVE with `context`
 * (wvu_sensor_settings.host), by the thread that answers the command. NULL: NOT_SUPPORTED, or nothing to
 * do. `reason` holds 256 bytes. */
struct wvu_sensor_host {
    /* Asks the host to stop the sensor soon; must not wait for it: wvu_sensor_stop waits for the command. */
    wvu_status (*shutdown)(void *context, const struct wvu_requester *requester, char *reason);
    /* Before protection is switched: the host may have something to arrange, and may refuse. Must not wait
     * for the thread that stops the sensor either. */
    wvu_status (*protect)(void *context, bool on, char *reason);
    /* A new filter is in force: the processes that run are to be judged anew (wvu_sensor_judge). */
    void (*filter_changed)(void *context);
    /* The host's own counters: key=value, one a line, not terminated; returns the length (at most size). */
    size_t (*counters)(void *context, char *text, size_t size);
    struct wvu_filter_host filter; /* how this host compares images */
    uint32_t process_id;           /* of the sensor */
};

/* A Mitigation event. Texts are UTF-8 (or NULL) unless image is given as the host has it. */
struct wvu_mitigation_report {
    uint32_t action;  /* enum wvu_mitigation_action */
    uint32_t outcome; /* enum wvu_mitigation_outcome */
    wvu_status status;
    uint32_t process_id; /* the target */
    uint64_t process_key;
    const void *image; /* its program; bytes, or UTF-16 when image_unit is 2 */
    uint32_t image_size;
    uint16_t image_unit;
    const char *rule;                      /* NULL: it was a command */
    const char *reason;                    /* NULL or "": none */
    const struct wvu_requester *requester; /* NULL: a rule */
};

/* A CommandExecuted event. */
struct wvu_command_report {
    uint32_t command; /* enum wvu_command */
    wvu_status status;
    const char *target; /* "": none */
    const char *detail; /* UTF-8, not terminated; what is too long is cut */
    size_t detail_size;
};

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
    struct wvu_port *port;                    /* must outlive the sensor */
    void *host;                               /* handed to probes */
    const struct wvu_sensor_host *operations; /* NULL: the host has none */
    const char *filter; /* rules in force from the start; NULL: none. A wrong text fails create */
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

/* Waits for the commands that are being answered (from now on they are answered STOPPING). Probes off
 * (last one first), callbacks run down, SensorStop queued, dispatcher drained for at most drain_ms and
 * joined. Bounded in every state. */
void wvu_sensor_stop(struct wvu_sensor *sensor, const char *reason);
/* When no command, probe or port uses it any more. NULL is allowed. */
void wvu_sensor_destroy(struct wvu_sensor *sensor);

/* For the host's port and for statistics; valid from create to destroy. */
struct wvu_dispatcher *wvu_sensor_dispatcher(struct wvu_sensor *sensor);
struct wvu_queue *wvu_sensor_queue(struct wvu_sensor *sensor);
const uint8_t *wvu_sensor_boot_id(const struct wvu_sensor *sensor);
/* By name, ignoring ASCII case; NULL when there is none. index: 0, 1, ... until NULL. */
struct wvu_probe *wvu_sensor_find_probe(struct wvu_sensor *sensor, const char *name);
struct wvu_probe *wvu_sensor_probe_at(struct wvu_sensor *sensor, uint32_t index);

/* ---- the filter ------------------------------------------------------------------------------- */

/* PASSIVE, any thread. Takes all of the text or, with a reason (256 bytes), none of it. When it returns
 * nobody uses the old filter any more, and the host's filter_changed was called. */
wvu_status wvu_sensor_set_filter(struct wvu_sensor *sensor, const char *text, size_t length,
                                 char *reason);
/* Any, as wvu_filter_judge. */
void wvu_sensor_judge(struct wvu_sensor *sensor, const struct wvu_subject *subject,
                      struct wvu_verdict *verdict);
/* PASSIVE, any thread: calls `use` with the filter in force, which stays until it returns. */
void wvu_sensor_with_filter(struct wvu_sensor *sensor,
                            void (*use)(void *context, const struct wvu_filter *filter),
                            void *context);

/* ---- protection: any thread --------------------------------------------------------------------- */

bool wvu_sensor_is_protected(const struct wvu_sensor *sensor); /* Any */
/* PASSIVE. What EnableUnload and DisableUnload do, without the event. */
wvu_status wvu_sensor_protect(struct wvu_sensor *sensor, bool on, char *reason);
/* Any. Somebody tried to stop a protected sensor: StopRefused, and a line in the log. `attempt`: how. */
void wvu_sensor_report_refused_stop(struct wvu_sensor *sensor,
                                    const struct wvu_requester *requester, const char *attempt);

/* ---- mitigation ---------------------------------------------------------------------------------- */

/* Any. A Mitigation event from `probe`; does not wake. */
void wvu_sensor_report_mitigation(struct wvu_sensor *sensor, const struct wvu_probe *probe,
                                  const struct wvu_mitigation_report *report);
/* Any. True, with a reason (256 bytes), for processes that nobody may end through the sensor: itself, its
 * reader. Hosts add their own (critical processes, `protect` rules). */
bool wvu_sensor_must_live(struct wvu_sensor *sensor, uint32_t process_id, char *reason);

/* ---- for probe.c ------------------------------------------------------------------------------- */

/* Any. */
void wvu_sensor_count_filtered(struct wvu_sensor *sensor, uint16_t type);
void wvu_sensor_time_call(struct wvu_sensor *sensor, uint64_t ns);

/* PASSIVE. A change of state becomes a ProbeStateChanged event; a new due time or
 * interval makes the poller look again. */
void wvu_sensor_report_probe(struct wvu_sensor *sensor, const struct wvu_probe *probe,
                             uint32_t condition, wvu_status status, const char *reason);
void wvu_sensor_reschedule(struct wvu_sensor *sensor);

/* ---- for command.c: PASSIVE, any thread -------------------------------------------------------- */

/* Around each command. Not OK: the sensor has not started (AGAIN) or stop began (STOPPING); `reason` (256
 * bytes) says so, and there is no end. Commands that change something wait for each other here, so that
 * their events stand in the stream in the order in which they took effect. */
wvu_status wvu_sensor_begin_command(struct wvu_sensor *sensor, bool changes, char *reason);
void wvu_sensor_end_command(struct wvu_sensor *sensor, bool changes);
/* Between the two. */
void wvu_sensor_report_command(struct wvu_sensor *sensor, const struct wvu_requester *requester,
                               const struct wvu_command_report *report);
void wvu_sensor_count_command(struct wvu_sensor *sensor, bool failed); /* Any; answered */

struct wvu_sensor_counters {
    uint64_t filtered[WVU_EVENT_KINDS]; /* by wvu_event_index */
    uint64_t calls[32];                 /* timed calls by the logarithm of their nanoseconds */
    uint64_t commands;
    uint64_t commands_failed;
    uint64_t mitigations;
};
void wvu_sensor_read_counters(struct wvu_sensor *sensor, struct wvu_sensor_counters *counters);

/* What it was created with, and since when it runs (`uptime`: ns since its start; 0 before). */
const struct wvu_sensor_settings *wvu_sensor_settings_of(const struct wvu_sensor *sensor);
const uint8_t *wvu_sensor_id(const struct wvu_sensor *sensor);
int64_t wvu_sensor_started(const struct wvu_sensor *sensor);
uint64_t wvu_sensor_uptime(const struct wvu_sensor *sensor);

#endif
