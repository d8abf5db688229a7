/*
 * wvud itself: what main.c, which is its life, shares with reload.c.
 */
#ifndef WVU_DAEMON_H
#define WVU_DAEMON_H

#include "config.h"
#include "filter_file.h"
#include "host.h"
#include "identity.h"
#include "options.h"
#include "port_command.h"
#include "port_socket.h"
#include "run_dir.h"
#include "sensor.h"

#define WVU_REASON_MAX 512

/* What the service manager shows of the sensor. */
struct shown {
    uint32_t running; /* probes */
    bool is_protected;
};

struct daemon {
    const struct wvu_options *options;
    struct wvu_config config; /* in force */
    bool has_group;
    gid_t group;
    char configuration[WVU_CONFIG_TEXT_MAX]; /* the text in SensorStart */
    struct wvu_identity identity;
    uint64_t started_at;            /* uptime */
    int signals;                    /* signalfd */
    int asked;                      /* eventfd: a command asked for the stop */
    char filter[WVU_FILTER_BUFFER]; /* the rules of the file, as last read */

    /* The probes of this host as configured: those that are not wanted are there, but not enabled. */
    struct wvu_probe_definition definitions[WVU_CONFIG_PROBES_MAX];
    const struct wvu_probe_definition *probes[WVU_CONFIG_PROBES_MAX + 1];

    struct wvu_run_dir run_dir;
    struct wvu_port_socket *port;
    struct wvu_port_command *command_port;
    struct wvu_linux_host host; /* what probes and commands get */
    struct wvu_sensor_host operations;
    struct wvu_sensor *sensor;

    wvu_mutex status_lock;
    struct wvu_port_peer reader; /* pid 0: none */
    bool has_reader;
    struct shown shown;
    bool stopping;                 /* the manager has been told the last word */
    char asked_by[WVU_REASON_MAX]; /* the reason for the stop that a command asked for */
};

/* The main thread. Reads the configuration again and applies what can change while the sensor runs: all of it or,
 * after saying why, nothing. */
wvu_status wvu_daemon_reload(struct daemon *daemon);

#endif
