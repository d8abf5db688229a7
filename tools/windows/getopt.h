/*
 * getopt_long for Windows, where no compiler's library is sure to have it: long options only, as the programs
 * use them ("--name value", "--name=value", unambiguous beginnings of names, "--").
 */
#ifndef WVU_WINDOWS_GETOPT_H
#define WVU_WINDOWS_GETOPT_H

#define no_argument       0
#define required_argument 1
#define optional_argument 2 /* "--name" or "--name=value" */

struct option {
    const char *name;
    int has_arg;
    int *flag; /* NULL */
    int val;
};

extern char *optarg;
extern int optind;

/* The value of the next option; -1 at the end, with optind at the first argument that is none; '?' after a
 * message for what is wrong. `short_options` is "". */
int getopt_long(int argc, char *const *argv, const char *short_options,
                const struct option *long_options, int *index);

#endif
