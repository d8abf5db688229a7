/*
 * What deny rules do. Called by the source (source_events.c), in its thread; no locks.
 *
 * A program that the kernel's side stopped at its exec (denials.c) is only told of here. What the kernel's side
 * could not know, because the rule asks for more than a file, is ended now, after the program began
 * (mitigation.c). Rules deny programs that start: not what runs already, and not what goes on in a child.
 */
#include "enforcer.h"

#include "mitigation.h"

static void report(struct wvu_enforcer *enforcer, const struct wvu_created *event, const char *rule,
                   const struct wvu_ending *ending)
{
    const struct wvu_mitigation_report report = {
        .action = WVU_MITIGATION_DENY,
        .outcome = ending->outcome,
        .status = ending->status,
        .process_id = event->task->pid,
        .process_key = event->task->key,
        .image = event->image.bytes,
        .image_size = event->image.size,
        .image_unit = 1,
        .rule = rule,
        .reason = ending->reason,
    };
    wvu_sensor_report_mitigation(enforcer->sensor, enforcer->probe, &report);
}

static struct wvu_denied_file file_of(const struct wvu_sample_exec *exec)
{
    return (struct wvu_denied_file){exec->inode, exec->device_major, exec->device_minor};
}

/* The rule is that of the file: the path can be another name of it, which no rule has. */
static void report_prevented(struct wvu_enforcer *enforcer, const struct wvu_created *event)
{
    struct wvu_ending ending = {.outcome = WVU_OUTCOME_PREVENTED};
    struct wvu_denied_file file = file_of(enforcer->exec);
    const char *rule = wvu_denials_rule(enforcer->denials, &file);
    report(enforcer, event, rule != NULL ? rule : event->verdict->rule, &ending);
    enforcer->told = true;
    enforcer->prevented++;
}

static void end_process(struct wvu_enforcer *enforcer, const struct wvu_created *event)
{
    struct wvu_ending ending = {
        .pid = event->task->pid,
        .key = event->task->key,
        .is_protected = event->verdict->is_protected,
    };
    if (enforcer->exec != NULL) {
        struct wvu_denied_file file = file_of(enforcer->exec);
        wvu_denials_learn(enforcer->denials, enforcer->programs, &event->image, ending.pid, &file);
    }
    wvu_mitigation_end(enforcer->sensor, enforcer->programs, &ending);
    report(enforcer, event, event->verdict->rule, &ending);
    if (ending.outcome == WVU_OUTCOME_ENDED)
        enforcer->ended++;
}

static bool was_prevented(const struct wvu_enforcer *enforcer)
{
    return enforcer->exec != NULL && (enforcer->exec->flags & WVU_EXEC_PREVENTED) != 0;
}

void wvu_enforcer_created(struct wvu_enforcer *enforcer, const struct wvu_created *event)
{
    struct wvu_ending reported = {.outcome = WVU_OUTCOME_REPORTED};
    if (event->cause != WVU_CREATE_EXEC && event->cause != WVU_CREATE_FOUND)
        return;
    if (was_prevented(enforcer))
        report_prevented(enforcer, event);
    else if (event->verdict->deny == WVU_DENY_ENFORCE)
        end_process(enforcer, event);
    else if (event->verdict->deny == WVU_DENY_REPORT)
        report(enforcer, event, event->verdict->rule, &reported);
}

void wvu_enforcer_exec_begins(struct wvu_enforcer *enforcer, const struct wvu_sample_exec *exec)
{
    enforcer->exec = exec;
    enforcer->told = false;
}

bool wvu_enforcer_exec_ends(struct wvu_enforcer *enforcer, const void *data, bool wanted)
{
    const struct wvu_verdict none = {.wanted = WVU_WANTED_ALL};
    bool untold = was_prevented(enforcer) && !enforcer->told && wanted;
    if (untold) {
        uint32_t size = enforcer->exec->file_name_size;
        const struct wvu_created event = {
            .task = &enforcer->exec->task,
            .image = {data, size, size, size, size != 0},
            .verdict = &none,
        };
        report_prevented(enforcer, &event);
    }
    enforcer->exec = NULL;
    return untold;
}
