/*
 * wvuctl's command line.
 */
#ifndef WVUCTL_CTL_OPTIONS_H
#define WVUCTL_CTL_OPTIONS_H

#include "ctl.h"

enum ctl_options_result {
    CTL_OPTIONS_RUN,
    CTL_OPTIONS_DONE, /* help or version was printed */
    CTL_OPTIONS_BAD   /* a message was printed */
};

/* Fills `ctl` with the command, its arguments and options. `commands` ends with one without a name. */
enum ctl_options_result ctl_options_parse(struct ctl *ctl, const struct ctl_command *commands,
                                          int argc, char **argv);

#endif
