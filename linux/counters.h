/*
 * The counters of wvud's parts, as log lines and as text.
 */
#ifndef WVU_COUNTERS_H
#define WVU_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

struct wvu_port_command;
struct wvu_port_socket;
struct wvu_sensor;
struct wvu_source;

struct wvu_counted {
    uint64_t started_at; /* uptime */
    struct wvu_sensor *sensor;
    struct wvu_source *source;
    struct wvu_port_socket *port;
    struct wvu_port_command *command_port;
};

/* Any thread. `when` begins the first line: "after", "stopped after". */
void wvu_counters_log(const struct wvu_counted *counted, const char *when);

/* Any thread. Those of source and ports: key=value, one a line; returns the length, less than size. */
size_t wvu_counters_format(const struct wvu_counted *counted, char *text, size_t size);

#endif
