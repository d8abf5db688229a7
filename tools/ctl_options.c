/*
 * wvuctl's command line: options may stand anywhere, before the command, behind it and between its arguments.
 * Called once, at the start; an error prints one message that says what is allowed.
 */
#include "ctl_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 10
#define TIMEOUT_MOST_S    3600u
#define INTERVAL_MOST_S   86400u

/* The letter of an option is also how a command's table names it (struct ctl_command.options). */
enum {
    OPTION_RUN_DIR = 'r',
    OPTION_TIMEOUT = 't',
    OPTION_JSON = 'j',
    OPTION_HELP = 'h',
    OPTION_VERSION = 'v',
    OPTION_NAMES = 'n',
    OPTION_WATCH = 'w',
    OPTION_COUNT = 'c',
    OPTION_KEY = 'k'
};
#define COMMON_OPTIONS "rtjhv"

static const struct option long_options[] = {
    {"run-dir", required_argument, NULL, OPTION_RUN_DIR},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"names", no_argument, NULL, OPTION_NAMES},
    {"watch", optional_argument, NULL, OPTION_WATCH},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"key", required_argument, NULL, OPTION_KEY},
    {NULL, 0, NULL, 0},
};

static const char *option_name(int letter)
{
    const struct option *option = long_options;
    while (option->val != letter)
        option++;
    return option->name;
}

/* ---- help ----------------------------------------------------------------------------------------- */

static const char common_help[] =
    "Options\n"
    "  --run-dir DIR      the sensor's run directory (default /run/winvirtue)\n"
    "  --timeout SECONDS  how long to wait for the sensor (default 10)\n"
    "  --json             print JSON, for programs\n"
    "  --help             print this text; with a command, what that does\n"
    "  --version          print the version\n";

static void print_help(const struct ctl *ctl, const struct ctl_command *commands)
{
    if (ctl->command != NULL) {
        (void)printf("Usage: wvuctl %s%s%s [OPTION]...\n%s.\n\n%s%s%s", ctl->command->name,
                     ctl->command->arguments[0] != '\0' ? " " : "", ctl->command->arguments,
                     ctl->command->summary, ctl->command->help,
                     ctl->command->help[0] != '\0' ? "\n" : "", common_help);
        return;
    }
    (void)printf("Usage: wvuctl COMMAND [ARGUMENT]... [OPTION]...\n"
                 "Asks and commands the WinVirtUE sensor on this machine.\n\nCommands\n");
    for (; commands->name != NULL; commands++) {
        char both[48];
        (void)snprintf(both, sizeof both, "%s %s", commands->name, commands->arguments);
        (void)printf("  %-33s %s\n", both, commands->summary);
    }
    (void)printf("\n%s\n"
                 "Exit status: 0 done, 1 the sensor refused or failed, 2 wrong usage, 3 no "
                 "connection to a\n"
                 "sensor, 4 access denied, 5 protected. wvuctl(1) has the details.\n",
                 common_help);
}

/* ---- values ----------------------------------------------------------------------------------------- */

/* A decimal number from 1 to `most`; nothing before or behind it. */
static bool parse_number(const char *text, uint64_t most, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *number != 0 && *number <= most;
}

static bool set_timeout(struct ctl *ctl, const char *value)
{
    uint64_t seconds;
    if (!parse_number(value, TIMEOUT_MOST_S, &seconds)) {
        (void)ctl_usage(ctl, "--timeout: \"%s\" is not a number of seconds from 1 to %u", value,
                        TIMEOUT_MOST_S);
        return false;
    }
    ctl->timeout_ms = (int)seconds * 1000;
    return true;
}

static bool set_interval(struct ctl *ctl, const char *value)
{
    uint64_t seconds = 1;
    if (value != NULL && !parse_number(value, INTERVAL_MOST_S, &seconds)) {
        (void)ctl_usage(ctl, "--watch: \"%s\" is not a number of seconds from 1 to %u", value,
                        INTERVAL_MOST_S);
        return false;
    }
    ctl->interval_s = (unsigned)seconds;
    return true;
}

static bool set_count(struct ctl *ctl, const char *value)
{
    if (!parse_number(value, UINT64_MAX, &ctl->count)) {
        (void)ctl_usage(ctl, "--count: \"%s\" is not a number from 1 on", value);
        return false;
    }
    return true;
}

/* As events show it: 0x and hexadecimal digits. */
static bool set_key(struct ctl *ctl, const char *value)
{
    char *end = NULL;
    bool good = value[0] == '0' && (value[1] == 'x' || value[1] == 'X') && value[2] != '\0' &&
                strspn(value + 2, "0123456789abcdefABCDEF") == strlen(value + 2);
    errno = 0;
    if (good)
        ctl->key = strtoull(value + 2, &end, 16);
    if (!good || errno != 0 || ctl->key == 0) {
        (void)ctl_usage(ctl,
                        "--key: \"%s\" is not a ProcessKey as events show it: 0x and up to 16 "
                        "hexadecimal digits",
                        value);
        return false;
    }
    ctl->has_key = true;
    return true;
}

static bool set_option(struct ctl *ctl, int option, const char *value)
{
    switch (option) {
    case OPTION_RUN_DIR:
        ctl->run_dir = value;
        return true;
    case OPTION_TIMEOUT:
        return set_timeout(ctl, value);
    case OPTION_JSON:
        ctl->json = true;
        return true;
    case OPTION_NAMES:
        ctl->names = true;
        return true;
    case OPTION_WATCH:
        return set_interval(ctl, value);
    case OPTION_COUNT:
        return set_count(ctl, value);
    case OPTION_KEY:
        return set_key(ctl, value);
    default: /* getopt_long said what is wrong */
        return ctl_usage(ctl, "this cannot be understood") == CTL_DONE;
    }
}

/* ---- arguments ---------------------------------------------------------------------------------------- */

static const struct ctl_command *find_command(const struct ctl_command *commands, const char *name)
{
    for (; commands->name != NULL; commands++) {
        if (strcmp(commands->name, name) == 0)
            return commands;
    }
    return NULL;
}

static bool add_word(struct ctl *ctl, const struct ctl_command *commands, const char *word)
{
    if (ctl->command == NULL) {
        ctl->command = find_command(commands, word);
        if (ctl->command == NULL)
            (void)ctl_usage(ctl, "there is no command \"%s\"", word);
        return ctl->command != NULL;
    }
    if (ctl->argument_count == CTL_ARGUMENTS_MAX) {
        (void)ctl_usage(ctl, "more than %u arguments", CTL_ARGUMENTS_MAX);
        return false;
    }
    ctl->arguments[ctl->argument_count++] = word;
    return true;
}

/* The options and the number of arguments are those of the command. `given`: letters, ends with NUL. */
static bool check_all(const struct ctl *ctl, const char *given)
{
    if (ctl->command == NULL)
        return ctl_usage(ctl, "which command?") == CTL_DONE;
    for (; *given != '\0'; given++) {
        if (strchr(COMMON_OPTIONS, *given) == NULL && strchr(ctl->command->options, *given) == NULL)
            return ctl_usage(ctl, "%s has no option --%s", ctl->command->name,
                             option_name(*given)) == CTL_DONE;
    }
    if (ctl->count != 0 && ctl->interval_s == 0)
        return ctl_usage(ctl, "--count is for --watch") == CTL_DONE;
    if (ctl->argument_count < ctl->command->least)
        return ctl_usage(ctl, "%s needs %s", ctl->command->name, ctl->command->arguments) ==
               CTL_DONE;
    if (ctl->argument_count > ctl->command->most)
        return ctl_usage(ctl, "%s: unexpected argument \"%s\"", ctl->command->name,
                         ctl->arguments[ctl->command->most]) == CTL_DONE;
    return true;
}

enum ctl_options_result ctl_options_parse(struct ctl *ctl, const struct ctl_command *commands,
                                          int argc, char **argv)
{
    char given[32] = "";
    bool help = false;
    bool only_words = false;
    ctl->timeout_ms = DEFAULT_TIMEOUT_S * 1000;
    while (optind < argc || !only_words) {
        int before = optind;
        /* '+': a word that is no option ends the options, and is taken below; then they go on. */
        int option = only_words ? -1 : getopt_long(argc, argv, "+", long_options, NULL);
        if (option == OPTION_VERSION) {
            (void)puts("wvuctl " WVU_VERSION);
            return CTL_OPTIONS_DONE;
        }
        if (option == OPTION_HELP) {
            help = true;
        } else if (option != -1) {
            if (!set_option(ctl, option, optarg))
                return CTL_OPTIONS_BAD;
            size_t count = strlen(given);
            if (strchr(given, option) == NULL && count + 1 < sizeof given)
                given[count] = (char)option;
        } else {
            only_words = only_words || (optind > before && strcmp(argv[optind - 1], "--") == 0);
            if (optind >= argc)
                break;
            if (!only_words || optind == before) {
                if (!add_word(ctl, commands, argv[optind++]))
                    return CTL_OPTIONS_BAD;
            }
        }
    }
    if (help) {
        print_help(ctl, commands);
        return CTL_OPTIONS_DONE;
    }
    return check_all(ctl, given) ? CTL_OPTIONS_RUN : CTL_OPTIONS_BAD;
}
