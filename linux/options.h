/*
 * The command line of wvud. Main thread.
 */
#ifndef WVU_OPTIONS_H
#define WVU_OPTIONS_H

#include <stdbool.h>

#include "config.h"

/* Exit statuses of wvud. */
enum wvu_exit {
    WVU_EXIT_CLEAN = 0,
    WVU_EXIT_FAILED = 1, /* it could not start, or not go on */
    WVU_EXIT_USAGE = 2,  /* the command line or the configuration is wrong */
    WVU_EXIT_RIGHTS = 77 /* it may not trace the kernel */
};

struct wvu_option_setting {
    const char *option; /* as the user wrote it, for errors */
    char *assignment;   /* KEY=VALUE */
};

struct wvu_options {
    const char *config_path;
    bool config_given; /* then the file must exist */
    bool check;
    int setting_count;
    struct wvu_option_setting *settings; /* in the order of the command line */
};

/* True: go on. False: exit with *exit_status; what there was to say is said. */
bool wvu_options_parse(struct wvu_options *options, int argc, char **argv, int *exit_status);
void wvu_options_free(struct wvu_options *options);

/* Defaults, the file, the command line. On failure `error` says what is wrong. */
wvu_status wvu_options_load(const struct wvu_options *options, const char *const *probe_names,
                            struct wvu_config *config, bool *file_found,
                            struct wvu_config_error *error);

#endif
