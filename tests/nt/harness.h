/*
 * Between the scenarios: each is a function that loads the driver, does things to it, and returns when
 * all was as it should be (nt_require and nt_broken end the process otherwise).
 */
#ifndef NT_HARNESS_H
#define NT_HARNESS_H

#include "nt.h"
#include "reader.h"
#include "truth.h"

#define NT_PARAMETERS NT_SERVICE_KEY "\\Parameters"

struct scenario {
    const char *name;
    void (*run)(const char *driver, uint32_t scale); /* scale: how often */
    uint32_t scale;                                  /* the usual one */
    unsigned seconds;                                /* it never takes longer */
    const char *what;
};

struct scenario_table {
    const struct scenario *scenarios;
    size_t count;
};

/* scenario_*.c */
extern const struct scenario_table nt_life_scenarios, nt_event_scenarios, nt_port_scenarios,
    nt_reply_scenarios, nt_failure_scenarios, nt_storm_scenarios, nt_command_scenarios,
    nt_cost_scenarios, nt_registry_scenarios, nt_filter_scenarios, nt_thread_scenarios,
    nt_mitigation_scenarios, nt_validation_scenarios;

#define NT_SCENARIOS(array)                                                                        \
    {                                                                                              \
        array, sizeof(array) / sizeof((array)[0])                                                  \
    }

#define NT_MS 1000000u /* ns */

/* harness.c. Loads, and ends the process when that fails. */
struct nt_driver *nt_must_load(const char *path);
/* Connects, and ends the process when that fails. */
void nt_must_connect(struct nt_reader *reader, struct nt_stream *stream);
/* Becomes a program that may connect (an administrator's); returns what this thread was before. */
struct nt_process *nt_become_reader(void);
/* Time-outs and drains short, so that scenarios are. */
void nt_quick_parameters(void);
/* Polls until it holds; ends the process after ten seconds. Nothing depends on how often it looks. */
void nt_wait_until(bool (*holds)(void *context), void *context, const char *what);

#endif
