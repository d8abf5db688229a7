/*
 * wvuctl: asks and commands the sensor. wvuctl(1) is the manual page; ctl.h says how a run goes.
 *
 * One thread. Only `stats --watch` handles signals; any other command is over in a moment, and may be
 * ended by one at any time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl_options.h"

#define ANY CTL_ARGUMENTS_MAX

static const struct ctl_command commands[] = {
    {"status", "", "what the sensor is and how it is set", "", "", 0, 0, ctl_status},
    {"probes", "[NAME]...", "the probes: state, counters, configuration",
     "Names are those of probes, in any case; their beginnings are enough.\n\n"
     "  --names            print the names only, one a line\n",
     "n", 0, ANY, ctl_probes},
    {"enable", "NAME...|all", "let probes report events",
     "Names are those of probes (wvuctl probes), in any case; their beginnings are enough.\n", "",
     1, ANY, ctl_enable},
    {"disable", "NAME...|all", "stop probes",
     "Names are those of probes (wvuctl probes), in any case; their beginnings are enough.\n", "",
     1, ANY, ctl_disable},
    {"configure", "NAME|all [KEY=VALUE]...", "set what a probe does; show it",
     "Without KEY=VALUE it prints what is set, one KEY=VALUE a line. The kinds of event of a probe "
     "are\nkeys, to be set to on or off. Either all values are taken or none.\n",
     "", 1, ANY, ctl_configure},
    {"stats", "", "counters, by event, by cause, and times",
     "  --watch[=SECONDS]  print a line with the rates each second, or every SECONDS\n"
     "  --count N          end after N lines\n",
     "wc", 0, 0, ctl_stats},
    {"log", "[MODULE=LEVEL]...", "what the sensor logs",
     "Without arguments it prints what is set. MODULE may be all; LEVEL is error, warning, info or "
     "trace.\nIt lasts until the sensor is started anew.\n",
     "", 0, ANY, ctl_log},
    {"filter", "show|set FILE|clear", "the rules: what is reported, denied, protected",
     "  show               print the rules that are in force\n"
     "  set FILE           put those of FILE in their place; '-' is standard input. A wrong file "
     "changes\n"
     "                     nothing, and the first wrong line is told\n"
     "  clear              no rules: everything is reported\n",
     "", 1, 2, ctl_filter},
    {"kill", "PID", "end a process",
     "  --key 0x...        only if it is the process with this ProcessKey, and not a later one "
     "with "
     "the\n"
     "                     same id\n",
     "k", 1, 1, ctl_kill},
    {"protect", "on|off|status", "let the sensor refuse to be stopped", "", "", 1, 1, ctl_protect},
    {"schema", "", "the events that the sensor knows, and their fields", "", "", 0, 0, ctl_schema},
    {"echo", "TEXT...", "is the sensor there? it says the text back", "", "", 1, ANY, ctl_echo},
    {"shutdown", "", "stop the sensor (Linux)", "", "", 0, 0, ctl_shutdown},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

static bool use_color(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return system_is_terminal(SYSTEM_OUTPUT) && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

int main(int argc, char **argv)
{
    static struct ctl ctl; /* zero */
    bool output_closed;
    if (!system_begin(&argc, &argv, &output_closed))
        return CTL_FAILED;
    switch (ctl_options_parse(&ctl, commands, argc, argv)) {
    case CTL_OPTIONS_RUN:
        break;
    case CTL_OPTIONS_DONE:
        return fflush(stdout) == 0 ? CTL_DONE : CTL_FAILED;
    default:
        return CTL_USAGE;
    }
    if (output_closed) {
        ctl_say("standard output is closed");
        return CTL_FAILED;
    }
    ctl.color = use_color();
    enum ctl_exit code = ctl.command->run(&ctl);
    /* What was done before something failed is printed, too. */
    if (ctl.out.buffer.size != 0 && !ctl_flush(&ctl) && code == CTL_DONE)
        code = CTL_FAILED;
    wvu_control_close(ctl.control);
    buffer_free(&ctl.out.buffer);
    return (int)code;
}
