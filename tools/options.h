/*
 * What the user asked ntfltmgr for.
 */
#ifndef NTFLTMGR_OPTIONS_H
#define NTFLTMGR_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_EVENTS_MAX 32
#define OPTIONS_PIDS_MAX   64

enum format { FORMAT_JSON, FORMAT_PRETTY, FORMAT_TEXT };
enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct options {
    const char *run_dir; /* NULL: where it is by default */
    enum format format;
    enum color color;
    uint16_t events[OPTIONS_EVENTS_MAX]; /* none: all */
    unsigned event_count;
    uint32_t pids[OPTIONS_PIDS_MAX]; /* none: all */
    unsigned pid_count;
    uint64_t count; /* 0: no end */
    bool reconnect;
    bool stats;
    bool summary;
    const char *record; /* NULL: not asked for; so are the next two */
    const char *replay;
    const char *output;
};

enum options_result {
    OPTIONS_RUN,
    OPTIONS_DONE, /* help or version was printed */
    OPTIONS_BAD   /* a message was printed */
};

enum options_result options_parse(struct options *options, int argc, char **argv);

#endif
