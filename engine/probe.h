/*
 * Probes: one source of events each. A new probe is one file and one line in its host's list.
 *
 * A probe is a table of functions and a name. The sensor owns the rest: identity, state, counters,
 * run-down, settings, which kinds of event are switched on. All functions but those named below are
 * optional (NULL: the request is NOT_SUPPORTED, or, for on_poll and configured, there is nothing to do).
 *
 * Threads: the sensor calls start, stop, configured, on_poll, run and mitigate at PASSIVE, one at a
 * time for each probe (under the probe's control mutex). Events come from wherever the kernel
 * calls.
 *
 * On the way from a callback to commit nothing allocates, waits or makes a system call:
 *
 *     if (wvu_probe_enter(probe)) {                       // not while it is being stopped
 *         uint64_t begun = wvu_probe_time_begin(probe);
 *         if (!wvu_probe_wants(probe, WVU_EVENT_..., wanted)) ... leave
 *         wvu_record_plan(&plan, WVU_EVENT_..., sizeof(struct ...), texts, n);
 *         struct wvu_... *event = wvu_probe_reserve(probe, &plan, stamp);
 *         if (event != NULL) {
 *             fill event's fixed fields and event->record.present, process_id, process_key
 *             wvu_record_fill_texts(&event->record, &plan, texts);
 *             wvu_probe_commit(probe, &event->record);
 *             wvu_probe_wake(probe);                      // once, after one or many commits
 *         }
 *         wvu_probe_time_end(probe, begun);
 *         wvu_probe_leave(probe);
 *     }
 *
 * docs/writing-a-probe.md has a complete example.
 */
#ifndef WVU_PROBE_H
#define WVU_PROBE_H

#include "os.h"
#include "record.h"

struct wvu_sensor;
struct wvu_probe;
struct wvu_requester;

/* Attributes: values of the first WinVirtUE. */
#define WVU_PROBE_REAL_TIME        0x02u /* events come from callbacks */
#define WVU_PROBE_TEMPORAL         0x04u /* run() is called each interval */
#define WVU_PROBE_ENABLED_AT_START 0x08u
#define WVU_PROBE_DYNAMIC          0x10u /* may be enabled and disabled while the sensor runs */

struct wvu_probe_state {
    uint32_t condition; /* enum wvu_probe_condition */
    wvu_status status;  /* why it failed; OK otherwise */
    uint32_t attributes;
    uint64_t operations;  /* events and runs since the sensor started */
    uint64_t filtered;    /* events that were not wanted */
    uint64_t interval_ns; /* 0 unless temporal */
    int64_t last_run;     /* system time of the last run or event; 0 never */
    char reason[256];     /* why it failed, in words; empty otherwise */
};

/* A number that people can set with ConfigureProbe. on and off stand for 1 and 0 where `most` is 1. The
 * base adds two kinds: the name of each of the probe's events (on, off), and repeat-interval (seconds) of
 * temporal probes. */
struct wvu_setting {
    const char *name; /* ASCII, lower case; NULL ends a list */
    uint32_t least;
    uint32_t most;
    uint32_t usual;
};

#define WVU_PROBE_SETTINGS_MAX   8u
#define WVU_PROBE_INTERVAL_LEAST 1u /* seconds */
#define WVU_PROBE_INTERVAL_MOST  86400u

/* Something that a probe is asked to do about what it sees. */
struct wvu_mitigation {
    uint32_t action; /* enum wvu_mitigation_action */
    uint32_t process_id;
    uint64_t process_key; /* 0: whichever process has the id now */
    const struct wvu_requester *requester;
};

struct wvu_probe_definition {
    const char *name; /* ASCII, at most 63 characters; part of the probe's stable id */
    uint32_t attributes;
    uint64_t interval_ns; /* temporal probes: how often run() is due */
    const uint16_t
        *events; /* the types that it reports, each a switch of its own; ends with 0; NULL: none */
    const uint16_t
        *quiet; /* those of them that are off until switched on; ends with 0; NULL: none */
    const struct wvu_setting *settings; /* its own; NULL: none */

    /* Required. Registers the callbacks. Events may come before it returns. On failure nothing is
     * left behind, and `reason` (256 bytes) says what failed and what to do. */
    wvu_status (*start)(struct wvu_probe *probe, char *reason);
    /* Required. Unregisters them. Events may come until it returns; the base waits them out after.
     */
    void (*stop)(struct wvu_probe *probe);
    /* Adds what only the probe knows to what the base has filled in. */
    void (*state)(struct wvu_probe *probe, struct wvu_probe_state *state);
    /* New values of settings or kinds are in force; the probe runs. */
    void (*configured)(struct wvu_probe *probe);
    /* Housekeeping of a temporal probe each time the poller wakes, before it looks who is due. */
    void (*on_poll)(struct wvu_probe *probe, uint64_t now);
    /* The work of a temporal probe. */
    wvu_status (*run)(struct wvu_probe *probe);
    /* Acts on what the probe sees. Whatever comes of it, the probe reports a Mitigation event
     * (wvu_sensor_report_mitigation). OK: it is done. Otherwise `reason` (256 bytes) says why not. */
    wvu_status (*mitigate)(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                           char *reason);
};

struct wvu_probe {
    const struct wvu_probe_definition *definition;
    struct wvu_sensor *sensor;
    void *host;          /* wvu_sensor_settings.host: what the host's probes share */
    void *context;       /* the probe's own, from start to stop */
    uint8_t id[16];      /* RFC 4122 version 5 of host id and name */
    wvu_mutex control;   /* serialises the functions above */
    wvu_rundown rundown; /* open while events are wanted */
    uint32_t condition;  /* written under control, read anywhere (relaxed) */
    wvu_status status;   /* under control */
    char reason[256];    /* why it failed, in words; under control */
    uint64_t operations; /* relaxed */
    uint64_t filtered;   /* relaxed */
    uint32_t kinds;      /* mask of the events that are switched on, by wvu_event_index; relaxed */
    uint32_t values[WVU_PROBE_SETTINGS_MAX]; /* of definition->settings; relaxed */
    uint64_t interval_ns;                    /* under control */
    uint64_t due;                            /* uptime of the next run; under control */
    int64_t last_run;                        /* under control */
    int64_t last_event;                      /* system time of the newest event; relaxed */
};

/* ---- for probes ----------------------------------------------------------------------------- */
bool wvu_probe_enter(struct wvu_probe *probe); /* Any */
void wvu_probe_leave(struct wvu_probe *probe); /* Any */
/* Any. `stamp` NULL: now. The record has its header filled except present, process_id and
 * process_key; its fixed fields are zero. NULL: no room (already counted); go on without. */
void *wvu_probe_reserve(struct wvu_probe *probe, const struct wvu_record_plan *plan,
                        const struct wvu_stamp *stamp);
void wvu_probe_commit(struct wvu_probe *probe, struct wvu_record *record); /* Any */
void wvu_probe_wake(struct wvu_probe *probe);                              /* Any */
/* Any. Events that never became records. */
void wvu_probe_count_loss(struct wvu_probe *probe, uint16_t cause, uint16_t type, uint64_t count);

/* Any. Is an event of this type to be reported? `wanted`: what the filter said about the process that it
 * is about (wvu_verdict.wanted; WVU_WANTED_ALL when nothing is known). A false is counted as filtered. */
bool wvu_probe_wants(struct wvu_probe *probe, uint16_t type, uint32_t wanted);
bool wvu_probe_kind_is_on(const struct wvu_probe *probe, uint16_t type); /* Any; counts nothing */
/* Any. The value of definition->settings[index]. */
uint32_t wvu_probe_setting(const struct wvu_probe *probe, uint32_t index);

/* Any. Around the work of one call, for the statistics: one call in WVU_PROBE_TIME_SAMPLE is timed. */
#define WVU_PROBE_TIME_SAMPLE 16u
uint64_t wvu_probe_time_begin(struct wvu_probe *probe);
void wvu_probe_time_end(struct wvu_probe *probe, uint64_t begun);

/* Any. Names are compared without regard to ASCII case. */
bool wvu_probe_is_named(const struct wvu_probe_definition *definition, const char *name);

/* ---- for the sensor: PASSIVE ------------------------------------------------------------------
 */
wvu_status wvu_probe_init(struct wvu_probe *probe, const struct wvu_probe_definition *definition,
                          struct wvu_sensor *sensor, void *host, const uint8_t host_id[16]);
void wvu_probe_destroy(struct wvu_probe *probe);
/* Each change of state is an event (ProbeStateChanged). Starting a running probe and stopping a
 * stopped one succeed and change nothing. `reason` holds 256 bytes. */
wvu_status wvu_probe_start(struct wvu_probe *probe, char *reason);
void wvu_probe_stop(struct wvu_probe *probe, const char *why);
void wvu_probe_read_state(struct wvu_probe *probe, struct wvu_probe_state *state);
/* key=value, separated by blanks or line ends: all of it or, with a reason that names the key, nothing. */
wvu_status wvu_probe_configure(struct wvu_probe *probe, const char *text, size_t length,
                               char *reason);
/* Whether wvu_probe_configure would take it; changes nothing. */
wvu_status wvu_probe_check(struct wvu_probe *probe, const char *text, size_t length, char *reason);
/* What is in force, as wvu_probe_configure takes it, one a line; returns the length, cut at size. */
size_t wvu_probe_describe(struct wvu_probe *probe, char *text, size_t size);
wvu_status wvu_probe_mitigate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                              char *reason);
/* Runs it if it is temporal, running and due; returns when it is due next (WVU_TIMEOUT_NONE:
 * never). */
uint64_t wvu_probe_poll(struct wvu_probe *probe, uint64_t now);

#endif
