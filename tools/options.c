/*
 * ntfltmgr's command line. Called once, at the start; an error prints one message that names the option
 * and what is allowed.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "winvirtue/winvirtue.h"

static const char usage[] =
    "Usage: ntfltmgr [OPTION]...\n"
    "Reads the events of the WinVirtUE sensor on this machine and prints each as one line of "
    "JSON.\n"
    "\n"
    "Where from\n"
    "  --run-dir DIR          the sensor's run directory (default /run/winvirtue)\n"
    "  --reconnect            wait for a sensor that is not there, and connect again when it went\n"
    "                         away (the default)\n"
    "  --no-reconnect         end instead\n"
    "  --replay FILE          print a recording; '-' is standard input\n"
    "\n"
    "What\n"
    "  --event NAME[,NAME]... print these events only; may be repeated\n"
    "  --pid PID[,PID]...     print events of these processes only; may be repeated\n"
    "  --count N              end after N printed events\n"
    "\n"
    "How\n"
    "  --format FORMAT        json, one object a line (default); pretty, indented; text, for "
    "people\n"
    "  --color WHEN           colour in text: auto (default), always, never\n"
    "  --output FILE          append to FILE instead of printing\n"
    "  --record FILE          keep the messages as they come in FILE, for --replay\n"
    "  --stats                show rates on standard error, once a second\n"
    "  --summary              say at the end on standard error what there was\n"
    "\n"
    "  --help                 print this text\n"
    "  --version              print the version\n"
    "\n"
    "A message is acknowledged only after its events were written; events that were not "
    "acknowledged\n"
    "come again. Exit status: 0 ended as asked, 1 output or recording failed, 2 wrong usage, 3 no\n"
    "connection. ntfltmgr(1) has the details.\n";

enum {
    OPTION_RUN_DIR = 256,
    OPTION_RECONNECT,
    OPTION_NO_RECONNECT,
    OPTION_REPLAY,
    OPTION_EVENT,
    OPTION_PID,
    OPTION_COUNT,
    OPTION_FORMAT,
    OPTION_COLOR,
    OPTION_OUTPUT,
    OPTION_RECORD,
    OPTION_STATS,
    OPTION_SUMMARY,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"run-dir", required_argument, NULL, OPTION_RUN_DIR},
    {"reconnect", no_argument, NULL, OPTION_RECONNECT},
    {"no-reconnect", no_argument, NULL, OPTION_NO_RECONNECT},
    {"replay", required_argument, NULL, OPTION_REPLAY},
    {"event", required_argument, NULL, OPTION_EVENT},
    {"pid", required_argument, NULL, OPTION_PID},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"color", required_argument, NULL, OPTION_COLOR},
    {"output", required_argument, NULL, OPTION_OUTPUT},
    {"record", required_argument, NULL, OPTION_RECORD},
    {"stats", no_argument, NULL, OPTION_STATS},
    {"summary", no_argument, NULL, OPTION_SUMMARY},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

/* A decimal number of at most `max`; nothing before or behind it. */
static bool parse_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *number <= max;
}

/* The index of `text` in a list that ends with NULL; -1: not there. */
static int parse_word(const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0)
            return i;
    }
    return -1;
}

static bool add_event(struct options *options, const char *name)
{
    uint16_t type = wvu_event_type(name);
    if (type == WVU_EVENT_NONE) {
        (void)fprintf(stderr, "ntfltmgr: --event: there is no event \"%s\"; the events are", name);
        for (unsigned i = 0; (type = wvu_event_at(i)) != WVU_EVENT_NONE; i++)
            (void)fprintf(stderr, "%s %s", i == 0 ? "" : ",", wvu_event_name(type));
        (void)fprintf(stderr, "\n");
        return false;
    }
    for (unsigned i = 0; i < options->event_count; i++) {
        if (options->events[i] == type)
            return true;
    }
    /* There is room: a type is added once, and there are not that many. */
    if (options->event_count < OPTIONS_EVENTS_MAX)
        options->events[options->event_count++] = type;
    return true;
}

static bool add_pid(struct options *options, const char *text)
{
    uint64_t pid;
    if (!parse_number(text, UINT32_MAX, &pid) || pid == 0) {
        (void)fprintf(stderr, "ntfltmgr: --pid: \"%s\" is not a process id\n", text);
        return false;
    }
    if (options->pid_count == OPTIONS_PIDS_MAX) {
        (void)fprintf(stderr, "ntfltmgr: --pid: at most %d process ids\n", OPTIONS_PIDS_MAX);
        return false;
    }
    options->pids[options->pid_count++] = (uint32_t)pid;
    return true;
}

/* Calls `add` for each word of a list with commas. */
static bool add_each(struct options *options, const char *list,
                     bool (*add)(struct options *, const char *))
{
    size_t size = strlen(list) + 1;
    char *copy = malloc(size);
    bool good = copy != NULL;
    if (good)
        memcpy(copy, list, size);
    for (char *word = copy; good && word != NULL;) {
        char *comma = strchr(word, ',');
        if (comma != NULL)
            *comma++ = '\0';
        good = add(options, word);
        word = comma;
    }
    free(copy);
    return good;
}

static bool set_format(struct options *options, const char *text)
{
    static const char *const words[] = {"json", "pretty", "text", NULL};
    int index = parse_word(text, words);
    if (index < 0) {
        (void)fprintf(stderr, "ntfltmgr: --format: \"%s\" is not one of json, pretty, text\n",
                      text);
        return false;
    }
    options->format = (enum format)index;
    return true;
}

static bool set_color(struct options *options, const char *text)
{
    static const char *const words[] = {"auto", "always", "never", NULL};
    int index = parse_word(text, words);
    if (index < 0) {
        (void)fprintf(stderr, "ntfltmgr: --color: \"%s\" is not one of auto, always, never\n",
                      text);
        return false;
    }
    options->color = (enum color)index;
    return true;
}

static bool set_count(struct options *options, const char *text)
{
    if (!parse_number(text, UINT64_MAX, &options->count) || options->count == 0) {
        (void)fprintf(stderr, "ntfltmgr: --count: \"%s\" is not a number from 1 on\n", text);
        return false;
    }
    return true;
}

static bool set_option(struct options *options, int option, const char *value)
{
    switch (option) {
    case OPTION_RUN_DIR:
        options->run_dir = value;
        return true;
    case OPTION_RECONNECT:
    case OPTION_NO_RECONNECT:
        options->reconnect = option == OPTION_RECONNECT;
        return true;
    case OPTION_REPLAY:
        options->replay = value;
        return true;
    case OPTION_EVENT:
        return add_each(options, value, add_event);
    case OPTION_PID:
        return add_each(options, value, add_pid);
    case OPTION_COUNT:
        return set_count(options, value);
    case OPTION_FORMAT:
        return set_format(options, value);
    case OPTION_COLOR:
        return set_color(options, value);
    case OPTION_OUTPUT:
        options->output = value;
        return true;
    case OPTION_RECORD:
        options->record = value;
        return true;
    case OPTION_STATS:
        options->stats = true;
        return true;
    case OPTION_SUMMARY:
        options->summary = true;
        return true;
    default: /* getopt_long said what is wrong */
        return false;
    }
}

enum options_result options_parse(struct options *options, int argc, char **argv)
{
    int option;
    *options = (struct options){.reconnect = true};
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            (void)fputs(usage, stdout);
            return OPTIONS_DONE;
        }
        if (option == OPTION_VERSION) {
            (void)puts("ntfltmgr " WVU_VERSION);
            return OPTIONS_DONE;
        }
        if (!set_option(options, option, optarg))
            goto bad;
    }
    if (optind < argc) {
        (void)fprintf(stderr, "ntfltmgr: unexpected argument \"%s\"\n", argv[optind]);
        goto bad;
    }
    if (options->replay != NULL && options->record != NULL) {
        (void)fprintf(stderr, "ntfltmgr: --record and --replay exclude each other: "
                              "what is replayed is recorded already\n");
        goto bad;
    }
    return OPTIONS_RUN;

bad:
    (void)fprintf(stderr, "Try 'ntfltmgr --help'.\n");
    return OPTIONS_BAD;
}
