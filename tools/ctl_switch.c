/*
 * wvuctl enable, disable and configure: what changes probes. One thread.
 *
 * Names are looked up in the sensor's own list before anything is changed: a wrong one changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl_names.h"

/* A probe, copied out of a response; or all of them. */
struct target {
    uint8_t id[16]; /* zero: all */
    char name[64];
};

static void copy_name(struct target *target, struct ctl_text name)
{
    struct ctl_out safe = {.failed = false};
    ctl_put_safe(&safe, name);
    (void)snprintf(target->name, sizeof target->name, "%.*s", (int)safe.buffer.size,
                   safe.buffer.size != 0 ? safe.buffer.bytes : "");
    buffer_free(&safe.buffer);
}

/* The probes that `count` arguments name. */
static enum ctl_exit find_targets(struct ctl *ctl, struct target *targets, unsigned count)
{
    const struct wvu_response *response = NULL;
    for (unsigned i = 0; i < count; i++) {
        targets[i] = (struct target){.name = "all"};
        if (strcmp(ctl->arguments[i], "all") == 0)
            continue;
        if (response == NULL) {
            enum ctl_exit code = ctl_ask(ctl, "ask for the probes", WVU_COMMAND_ENUMERATE_PROBES,
                                         NULL, NULL, 0, &response);
            if (code != CTL_DONE)
                return code;
        }
        const struct wvu_probe_entry *entry = ctl_find_probe(ctl, response, ctl->arguments[i]);
        if (entry == NULL)
            return CTL_USAGE;
        memcpy(targets[i].id, entry->probe_id, sizeof targets[i].id);
        copy_name(&targets[i], ctl_text_of(entry, &entry->name));
    }
    return CTL_DONE;
}

/* ---- enable, disable ---------------------------------------------------------------------------------- */

static const char *subject(const struct target *target)
{
    return strcmp(target->name, "all") == 0 ? "all probes" : target->name;
}

static enum ctl_exit switch_one(struct ctl *ctl, const struct target *target, bool on)
{
    const struct wvu_response *response;
    char text[128];
    (void)snprintf(text, sizeof text, "%s %s", on ? "enable" : "disable", subject(target));
    enum ctl_exit code =
        ctl_ask(ctl, text, on ? WVU_COMMAND_ENABLE_PROBE : WVU_COMMAND_DISABLE_PROBE, target->id,
                NULL, 0, &response);
    if (code != CTL_DONE)
        return code;
    (void)snprintf(text, sizeof text, "%s: %s", subject(target), on ? "enabled" : "disabled");
    ctl_done(ctl, on ? "EnableProbe" : "DisableProbe", target->name, text);
    return CTL_DONE;
}

static enum ctl_exit switch_all(struct ctl *ctl, bool on)
{
    struct target *targets = calloc(ctl->argument_count, sizeof *targets);
    if (targets == NULL) {
        ctl_say("there is not enough memory");
        return CTL_FAILED;
    }
    enum ctl_exit code = find_targets(ctl, targets, ctl->argument_count);
    for (unsigned i = 0; i < ctl->argument_count && code == CTL_DONE; i++) {
        code = switch_one(ctl, &targets[i], on);
        /* One line for each as it is done: a later one may fail. */
        if (code == CTL_DONE && !ctl_flush(ctl))
            code = CTL_FAILED;
    }
    free(targets);
    return code;
}

enum ctl_exit ctl_enable(struct ctl *ctl)
{
    return switch_all(ctl, true);
}

enum ctl_exit ctl_disable(struct ctl *ctl)
{
    return switch_all(ctl, false);
}

/* ---- configure ---------------------------------------------------------------------------------------- */

static void put_settings(struct ctl *ctl, const struct wvu_probe_entry *entry, bool with_name)
{
    struct ctl_text key, value;
    struct ctl_text settings = ctl_text_of(entry, &entry->configuration);
    while (ctl_next_pair(&settings, &key, &value)) {
        if (with_name) {
            ctl_put_safe(&ctl->out, ctl_text_of(entry, &entry->name));
            ctl_put_string(&ctl->out, " ");
        }
        ctl_put_safe(&ctl->out, key);
        ctl_put_string(&ctl->out, "=");
        ctl_put_safe(&ctl->out, value);
        ctl_put_string(&ctl->out, "\n");
    }
}

/* What is set: of one probe, or of all, each line with the probe's name before it. */
static enum ctl_exit show_settings(struct ctl *ctl)
{
    const struct wvu_response *response;
    const struct wvu_probe_entry *entry = NULL;
    const struct wvu_probe_entry *only = NULL;
    enum ctl_exit code =
        ctl_ask(ctl, "ask for the probes", WVU_COMMAND_ENUMERATE_PROBES, NULL, NULL, 0, &response);
    if (code != CTL_DONE)
        return code;
    bool all = strcmp(ctl->arguments[0], "all") == 0;
    if (!all && (only = ctl_find_probe(ctl, response, ctl->arguments[0])) == NULL)
        return CTL_USAGE;
    if (ctl->json && !all) {
        ctl_json_pairs(&ctl->out, ctl_text_of(only, &only->configuration));
        ctl_put_string(&ctl->out, "\n");
        return CTL_DONE;
    }
    if (ctl->json)
        ctl_json_open(&ctl->out, '{');
    while ((entry = wvu_next_probe(response, entry)) != NULL) {
        if (ctl->json) {
            ctl_json_key_text(&ctl->out, ctl_text_of(entry, &entry->name));
            ctl_json_pairs(&ctl->out, ctl_text_of(entry, &entry->configuration));
        } else if (all || entry == only) {
            put_settings(ctl, entry, all);
        }
    }
    if (ctl->json)
        ctl_put_string(&ctl->out, "}\n");
    return CTL_DONE;
}

enum ctl_exit ctl_configure(struct ctl *ctl)
{
    const struct wvu_response *response;
    struct target target;
    char words[128];
    if (ctl->argument_count == 1)
        return show_settings(ctl);
    for (unsigned i = 1; i < ctl->argument_count; i++) {
        if (strchr(ctl->arguments[i], '=') == NULL)
            return ctl_usage(ctl, "\"%s\" is not KEY=VALUE", ctl->arguments[i]);
    }
    enum ctl_exit code = find_targets(ctl, &target, 1);
    if (code != CTL_DONE)
        return code;
    struct ctl_out text = {.failed = false};
    for (unsigned i = 1; i < ctl->argument_count; i++) {
        ctl_put_string(&text, i != 1 ? "\n" : "");
        ctl_put_string(&text, ctl->arguments[i]);
    }
    if (text.failed) {
        ctl_say("there is not enough memory");
        buffer_free(&text.buffer);
        return CTL_FAILED;
    }
    (void)snprintf(words, sizeof words, "configure %s", subject(&target));
    code = ctl_ask(ctl, words, WVU_COMMAND_CONFIGURE_PROBE, target.id, text.buffer.bytes,
                   text.buffer.size, &response);
    buffer_free(&text.buffer);
    if (code != CTL_DONE)
        return code;
    (void)snprintf(words, sizeof words, "%s: configured", subject(&target));
    ctl_done(ctl, "ConfigureProbe", target.name, words);
    return CTL_DONE;
}
