/*
 * nt-harness DRIVER.sys SCENARIO: runs one scenario on a driver's file as it was built.
 *
 * Each scenario has a process of its own. It succeeds when it returns; the first broken rule
 * (rules.def) ends the process with status 1. With --expect RULE it is the other way round: then
 * breaking just that rule is what is wanted.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "kernel.h"

#define SKIPPED 77

static const struct scenario_table *const tables[] = {
    &nt_life_scenarios,       &nt_event_scenarios,  &nt_port_scenarios,    &nt_reply_scenarios,
    &nt_failure_scenarios,    &nt_storm_scenarios,  &nt_command_scenarios, &nt_cost_scenarios,
    &nt_registry_scenarios,   &nt_filter_scenarios, &nt_thread_scenarios,  &nt_mitigation_scenarios,
    &nt_validation_scenarios,
};

static const struct scenario *current;

static void usage(FILE *out)
{
    fprintf(out, "usage: nt-harness [--expect RULE] [--scale N] [--log] DRIVER.sys SCENARIO\n"
                 "       nt-harness --exports    what the stand-in kernel has, with IRQL bounds\n"
                 "       nt-harness --list       names of the scenarios\n"
                 "\nscenarios:\n");
    for (size_t t = 0; t < NT_ARRAY(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++)
            fprintf(out, "  %-20s %s\n", tables[t]->scenarios[i].name,
                    tables[t]->scenarios[i].what);
    }
}

static int list(void)
{
    for (size_t t = 0; t < NT_ARRAY(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++)
            puts(tables[t]->scenarios[i].name);
    }
    return 0;
}

static const struct scenario *find(const char *name)
{
    for (size_t t = 0; t < NT_ARRAY(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            if (strcmp(tables[t]->scenarios[i].name, name) == 0)
                return &tables[t]->scenarios[i];
        }
    }
    return NULL;
}

/* Something hangs: where everybody is, then the end. */
static void on_alarm(int number)
{
    (void)number;
    nt_threads_dump();
    nt_broken(NT_RULE_STUCK, "%s takes longer than %u seconds", current->name, current->seconds);
}

/* ---- for scenarios --------------------------------------------------------------------------------- */

struct nt_driver *nt_must_load(const char *path)
{
    struct nt_driver *driver;
    NTSTATUS status = nt_load(path, &driver);
    nt_require(status >= 0, "DriverEntry failed with 0x%08x", (unsigned)status);
    return driver;
}

void nt_must_connect(struct nt_reader *reader, struct nt_stream *stream)
{
    NTSTATUS status = nt_reader_connect(reader, stream);
    nt_require(status == STATUS_SUCCESS, "a reader cannot connect: 0x%08x", (unsigned)status);
}

struct nt_process *nt_become_reader(void)
{
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 500}};
    static struct nt_process *reader;
    const struct nt_process_plan plan = {.id = 400, .user = &user, .administrator = true};
    if (reader == NULL)
        reader = nt_process_new(&plan);
    return nt_attach_to(reader);
}

void nt_quick_parameters(void)
{
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 200);
    nt_registry_set_number(NT_PARAMETERS, "DrainMs", 50);
    nt_registry_set_number(NT_PARAMETERS, "QueueBytes", 256 << 10);
}

void nt_wait_until(bool (*holds)(void *context), void *context, const char *what)
{
    const struct timespec pause = {.tv_nsec = 200000};
    uint64_t deadline = nt_real_time() + UINT64_C(60000000000);
    while (!holds(context)) {
        if (nt_real_time() > deadline)
            nt_broken(NT_RULE_STUCK, "after a minute still not: %s", what);
        nanosleep(&pause, NULL);
    }
}

/* ---- the program ----------------------------------------------------------------------------------- */

/* Rules that only protection keys can watch. */
static bool needs_keys(const char *rule)
{
    return strcmp(rule, "pageable") == 0 || strcmp(rule, "user-memory") == 0;
}

static int run(const char *driver, uint32_t scale, const char *expected, bool log)
{
    signal(SIGALRM, on_alarm);
    alarm(current->seconds);
    nt_init();
    nt_log_print(log);
    if (expected != NULL && needs_keys(expected) && !nt_keys_available()) {
        fprintf(stderr, "skipped: %s cannot be watched without protection keys\n", expected);
        return SKIPPED;
    }
    current->run(driver, scale != 0 ? scale : current->scale);
    nt_check_nothing_outstanding();
    if (expected != NULL) {
        fprintf(stderr, "%s: no rule was broken, and %s should have been\n", driver, expected);
        return 1;
    }
    if (!nt_keys_available())
        fprintf(stderr, "note: no protection keys here: touching pageable memory at DISPATCH_LEVEL "
                        "and user memory outside of __try was not watched\n");
    return 0;
}

int main(int argc, char **argv)
{
    const char *expected = NULL;
    uint32_t scale = 0;
    bool log = false;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--expect") == 0 && at + 1 < argc) {
            expected = argv[++at];
        } else if (strcmp(argv[at], "--scale") == 0 && at + 1 < argc) {
            scale = (uint32_t)strtoul(argv[++at], NULL, 10);
        } else if (strcmp(argv[at], "--log") == 0) {
            log = true;
        } else if (strcmp(argv[at], "--exports") == 0) {
            nt_list_exports();
            return 0;
        } else if (strcmp(argv[at], "--list") == 0) {
            return list();
        } else {
            break;
        }
    }
    current = argc - at == 2 ? find(argv[at + 1]) : NULL;
    if (current == NULL || (expected != NULL && !nt_expect(expected))) {
        usage(stderr);
        return 2;
    }
    if (access(argv[at], R_OK) != 0) {
        fprintf(stderr, "skipped: there is no %s; `make windows` builds it\n", argv[at]);
        return SKIPPED;
    }
    return run(argv[at], scale, expected, log);
}
