/*
 * wvuctl: what its parts share. One command is one run of the program:
 *
 *     options -> connect (when the command first asks the sensor) -> requests -> output -> exit code
 *
 * Nothing is printed on standard output before the command succeeded, except by `stats --watch`, which
 * prints as it goes. One thread.
 */
#ifndef WVUCTL_CTL_H
#define WVUCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl_out.h"
#include "system.h"
#include "winvirtue/winvirtue.h"

/* wvuctl(1) documents them. */
enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1, /* the sensor refused or could not do it, or the output could not be written */
    CTL_USAGE = 2,  /* wrong options, an unknown command or probe */
    CTL_NO_SENSOR = 3, /* no connection, or it ended */
    CTL_DENIED = 4,    /* access is denied */
    CTL_PROTECTED = 5  /* the sensor, or the process that was to be ended, is protected */
};

#define CTL_ARGUMENTS_MAX 256u

struct ctl;

struct ctl_command {
    const char *name;
    const char *arguments; /* for people */
    const char *summary;   /* one line */
    const char *help;      /* more; lines that end */
    const char *options;   /* its own, besides the common ones: letters of ctl_options.c */
    unsigned least;        /* how many arguments */
    unsigned most;
    enum ctl_exit (*run)(struct ctl *ctl);
};

struct ctl {
    const struct ctl_command *command;
    const char *arguments[CTL_ARGUMENTS_MAX];
    unsigned argument_count;

    const char *run_dir; /* NULL: where it is by default */
    int timeout_ms;
    bool json;
    bool names;          /* probes: their names only */
    unsigned interval_s; /* stats --watch; 0: once */
    uint64_t count;      /* of lines with --watch; 0: no end */
    bool has_key;        /* kill --key */
    uint64_t key;

    wvu_control *control; /* NULL: not connected yet */
    bool color;
    struct ctl_out out;
};

/* Ends with a line of its own. */
SYSTEM_PRINTF(1, 2) void ctl_say(const char *format, ...);
/* What is wrong with the command line, and where help is. */
SYSTEM_PRINTF(2, 3) enum ctl_exit ctl_usage(const struct ctl *ctl, const char *format, ...);

/* Asks the sensor. CTL_DONE: *response has the status OK. Otherwise what failed ("cannot WHAT: why") was
 * told: on standard error, and as an object on standard output when programs read it. */
enum ctl_exit ctl_ask(struct ctl *ctl, const char *what, uint32_t command, const uint8_t *probe_id,
                      const void *data, size_t size, const struct wvu_response **response);
/* The same when the response is good but not what it should be. */
enum ctl_exit ctl_fail(struct ctl *ctl, enum ctl_exit code, int status, const char *what,
                       const char *why);

/* Says that a command that changes something was carried out: `text`, or an object with the name of
 * the command and its target. */
void ctl_done(struct ctl *ctl, const char *command, const char *target, const char *text);

/* Writes what is in ctl->out and empties it. False: told. */
bool ctl_flush(struct ctl *ctl);

/* ---- the commands ---------------------------------------------------------------------------- */

enum ctl_exit ctl_status(struct ctl *ctl);    /* ctl_status.c */
enum ctl_exit ctl_probes(struct ctl *ctl);    /* ctl_probes.c */
enum ctl_exit ctl_enable(struct ctl *ctl);    /* ctl_switch.c */
enum ctl_exit ctl_disable(struct ctl *ctl);   /* ctl_switch.c */
enum ctl_exit ctl_configure(struct ctl *ctl); /* ctl_switch.c */
enum ctl_exit ctl_stats(struct ctl *ctl);     /* ctl_stats.c */
enum ctl_exit ctl_log(struct ctl *ctl);       /* ctl_status.c */
enum ctl_exit ctl_filter(struct ctl *ctl);    /* ctl_filter.c */
enum ctl_exit ctl_kill(struct ctl *ctl);      /* ctl_act.c, and what follows */
enum ctl_exit ctl_protect(struct ctl *ctl);
enum ctl_exit ctl_schema(struct ctl *ctl);
enum ctl_exit ctl_echo(struct ctl *ctl);
enum ctl_exit ctl_shutdown(struct ctl *ctl);

#endif
