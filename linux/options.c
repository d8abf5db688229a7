/*
 * The command line, and with it the configuration. Main thread: at start, and again at each SIGHUP, when
 * the file is read anew and the command line still comes after it.
 */
#define _GNU_SOURCE
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run_dir.h"
#include "winvirtue/version.h"

static const char help[] =
    "Usage: wvud [OPTION]...\n"
    "Watches this machine's kernel for processes, threads and images, and hands the events to the\n"
    "one reader (ntfltmgr) that is connected to the port in its run directory; there, too, it "
    "takes\n"
    "commands (wvuctl).\n"
    "\n"
    "  -c, --config FILE      read FILE, not " WVU_CONFIG_PATH_DEFAULT "\n"
    "  -r, --run-dir DIR      put ports and pid file into DIR, not " WVU_RUN_DIR_DEFAULT "\n"
    "                         (made if missing; several sensors need one each)\n"
    "  -s, --set KEY=VALUE    set what a line of the file would; may be repeated, comes after\n"
    "                         the file; KEY as in wvud.conf(5)\n"
    "  -l, --log-level LEVEL  error, warning, info (the default) or trace\n"
    "      --check            check configuration and rules, print what is in force, and exit\n"
    "      --foreground       stay in the foreground: always so, accepted for scripts\n"
    "  -h, --help             print this text, and exit\n"
    "  -V, --version          print the version, and exit\n"
    "\n"
    "The log goes to standard error. Signals:\n"
    "  TERM, INT  stop: what is queued is still sent, for DrainMs; an INT then stops at once;\n"
    "             refused while the sensor is protected (wvuctl protect)\n"
    "  HUP        read the configuration and the rules again\n"
    "  USR1       write the counters to the log\n"
    "\n"
    "Exit status: 0 stopped as asked; 1 failed; 2 wrong command line or configuration;\n"
    "77 no right to trace the kernel (the log says which one is missing).\n"
    "\n"
    "Manual: wvud(8), wvud.conf(5)\n";

enum { OPTION_CHECK = 256, OPTION_FOREGROUND };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"run-dir", required_argument, NULL, 'r'},
    {"set", required_argument, NULL, 's'},
    {"log-level", required_argument, NULL, 'l'},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"foreground", no_argument, NULL, OPTION_FOREGROUND},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* `key` "": the value is an assignment already. */
static bool add_setting(struct wvu_options *options, const char *option, const char *key,
                        const char *value)
{
    char *assignment;
    if (asprintf(&assignment, "%s%s", key, value) < 0)
        return false;
    options->settings[options->setting_count++] =
        (struct wvu_option_setting){.option = option, .assignment = assignment};
    return true;
}

/* Handles one option; false to stop with *exit_status. */
static bool take_option(struct wvu_options *options, int option, int *exit_status)
{
    bool added = true;
    switch (option) {
    case 'c':
        options->config_path = optarg;
        options->config_given = true;
        return true;
    case 'r':
        added = add_setting(options, "--run-dir", "RunDir=", optarg);
        break;
    case 's':
        added = add_setting(options, "--set", "", optarg);
        break;
    case 'l':
        added = add_setting(options, "--log-level", "LogLevel=", optarg);
        break;
    case OPTION_CHECK:
        options->check = true;
        return true;
    case OPTION_FOREGROUND:
        return true;
    case 'h':
        fputs(help, stdout);
        return false;
    case 'V':
        puts("wvud " WVU_VERSION);
        return false;
    default: /* getopt has said what is wrong */
        fputs("wvud: try 'wvud --help'\n", stderr);
        *exit_status = WVU_EXIT_USAGE;
        return false;
    }
    if (!added) {
        fputs("wvud: there is not enough memory\n", stderr);
        *exit_status = WVU_EXIT_FAILED;
    }
    return added;
}

bool wvu_options_parse(struct wvu_options *options, int argc, char **argv, int *exit_status)
{
    *options = (struct wvu_options){.config_path = WVU_CONFIG_PATH_DEFAULT};
    *exit_status = WVU_EXIT_CLEAN;
    options->settings = calloc((size_t)argc + 1, sizeof *options->settings);
    if (options->settings == NULL) {
        fputs("wvud: there is not enough memory\n", stderr);
        *exit_status = WVU_EXIT_FAILED;
        return false;
    }
    int option;
    while ((option = getopt_long(argc, argv, "c:r:s:l:hV", long_options, NULL)) != -1)
        if (!take_option(options, option, exit_status))
            return false;
    if (optind < argc) {
        fprintf(stderr, "wvud: unexpected argument '%s'; try 'wvud --help'\n", argv[optind]);
        *exit_status = WVU_EXIT_USAGE;
        return false;
    }
    return true;
}

void wvu_options_free(struct wvu_options *options)
{
    for (int i = 0; i < options->setting_count; i++)
        free(options->settings[i].assignment);
    free(options->settings);
}

wvu_status wvu_options_load(const struct wvu_options *options, const char *const *probe_names,
                            struct wvu_config *config, bool *file_found,
                            struct wvu_config_error *error)
{
    wvu_config_init(config, probe_names);
    wvu_status status = wvu_config_load(config, options->config_path, error);
    *file_found = status == WVU_STATUS_OK;
    if (status == WVU_STATUS_NAME_NOT_FOUND && !options->config_given)
        status = WVU_STATUS_OK;
    for (int i = 0; status == WVU_STATUS_OK && i < options->setting_count; i++)
        status = wvu_config_set(config, options->settings[i].option,
                                options->settings[i].assignment, error);
    return status;
}
