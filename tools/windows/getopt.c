/*
 * getopt_long for Windows; see getopt.h. Called by options.c and the like at start; one thread.
 */
#include "getopt.h"

#include <stdio.h>
#include <string.h>

char *optarg;
int optind = 1;

/* The option that `name`, `length` characters long, names or begins; NULL with *several set when it could be
 * more than one. */
static const struct option *find(const struct option *options, const char *name, size_t length,
                                 int *several)
{
    const struct option *found = NULL;
    *several = 0;
    for (; options->name != NULL; options++) {
        if (strncmp(options->name, name, length) != 0)
            continue;
        if (options->name[length] == '\0')
            return options;
        if (found != NULL)
            *several = 1;
        found = options;
    }
    return *several ? NULL : found;
}

int getopt_long(int argc, char *const *argv, const char *short_options,
                const struct option *long_options, int *index)
{
    int several;
    (void)short_options;
    optarg = NULL;
    if (optind >= argc || argv[optind][0] != '-' || argv[optind][1] == '\0')
        return -1;
    const char *argument = argv[optind++];
    if (strcmp(argument, "--") == 0)
        return -1;
    if (argument[1] != '-') {
        (void)fprintf(stderr, "%s: invalid option '%s'\n", argv[0], argument);
        return '?';
    }
    size_t length = strcspn(argument + 2, "=");
    const char *value = argument[2 + length] == '=' ? argument + 2 + length + 1 : NULL;
    const struct option *option = find(long_options, argument + 2, length, &several);
    if (option == NULL) {
        (void)fprintf(stderr, "%s: %s option '%.*s'\n", argv[0],
                      several ? "ambiguous" : "unrecognized", (int)length + 2, argument);
        return '?';
    }
    if (option->has_arg == no_argument && value != NULL) {
        (void)fprintf(stderr, "%s: option '--%s' doesn't allow an argument\n", argv[0],
                      option->name);
        return '?';
    }
    if (option->has_arg == required_argument && value == NULL) {
        if (optind >= argc) {
            (void)fprintf(stderr, "%s: option '--%s' requires an argument\n", argv[0],
                          option->name);
            return '?';
        }
        value = argv[optind++];
    }
    optarg = (char *)value;
    if (index != NULL)
        *index = (int)(option - long_options);
    return option->val;
}
