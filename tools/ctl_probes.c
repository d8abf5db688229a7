/*
 * wvuctl probes: the sensor's probes with state, counters and configuration. One thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "ctl_names.h"
#include "ctl_table.h"

/* A line of settings is not longer than this, if it need not be. */
#define LINE_WIDTH 78u

/* Bits of wvu_probe_entry.attributes. */
static const struct {
    uint32_t bit;
    const char *name;
} attributes[] = {
    {0x02, "RealTime"}, {0x04, "Temporal"}, {0x08, "EnabledAtStart"}, {0x10, "Dynamic"}};

/* ---- for programs ----------------------------------------------------------------------------------- */

static void put_json(struct ctl_out *out, const struct wvu_probe_entry *entry)
{
    char status[16];
    (void)snprintf(status, sizeof status, "0x%08x", (unsigned)entry->status);
    ctl_json_open(out, '{');
    ctl_json_key(out, "Name");
    ctl_json_text(out, ctl_text_of(entry, &entry->name));
    ctl_json_key(out, "ProbeId");
    ctl_json_uuid(out, entry->probe_id);
    ctl_json_key(out, "State");
    ctl_json_name(out, "PROBE_STATE", entry->condition);
    ctl_json_key(out, "Status");
    ctl_json_string(out, status);
    ctl_json_key(out, "Reason");
    ctl_json_text(out, ctl_text_of(entry, &entry->reason));
    ctl_json_key(out, "Attributes");
    ctl_json_open(out, '[');
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        if ((entry->attributes & attributes[i].bit) != 0)
            ctl_json_string(out, attributes[i].name);
    }
    ctl_json_close(out, ']');
    ctl_json_key(out, "Operations");
    ctl_json_u64(out, entry->operations);
    ctl_json_key(out, "Filtered");
    ctl_json_u64(out, entry->filtered);
    ctl_json_key(out, "IntervalNs");
    if (entry->interval_ns != 0)
        ctl_json_u64(out, entry->interval_ns);
    else
        ctl_json_word(out, "null");
    ctl_json_key(out, "LastRun");
    ctl_json_time(out, entry->last_run);
    ctl_json_key(out, "Configuration");
    ctl_json_pairs(out, ctl_text_of(entry, &entry->configuration));
    ctl_json_close(out, '}');
}

/* ---- for people --------------------------------------------------------------------------------------- */

/* The settings below their probe, as many on a line as there is room for. */
static void add_settings(struct ctl_table *table, struct ctl_text settings)
{
    struct ctl_out line = {.failed = false};
    struct ctl_text key, value;
    while (ctl_next_pair(&settings, &key, &value)) {
        if (line.buffer.size != 0 && line.buffer.size + key.size + value.size + 2 > LINE_WIDTH) {
            ctl_table_note(table, CTL_DIM, (struct ctl_text){line.buffer.bytes, line.buffer.size});
            line.buffer.size = 0;
        }
        ctl_put_string(&line, line.buffer.size == 0 ? "    " : "  ");
        ctl_put(&line, key.bytes, key.size);
        ctl_put_string(&line, "=");
        ctl_put(&line, value.bytes, value.size);
    }
    if (line.buffer.size != 0)
        ctl_table_note(table, CTL_DIM, (struct ctl_text){line.buffer.bytes, line.buffer.size});
    table->texts.failed = table->texts.failed || line.failed;
    buffer_free(&line.buffer);
}

static void add_reason(struct ctl_table *table, const struct wvu_probe_entry *entry)
{
    struct ctl_out line = {.failed = false};
    struct ctl_text reason = ctl_text_of(entry, &entry->reason);
    if (reason.size == 0)
        reason = ctl_text_of_string(wvu_strerror(entry->status));
    ctl_put_string(&line, "    ");
    ctl_put(&line, reason.bytes, reason.size);
    ctl_put_format(&line, " [%s]", wvu_status_name(entry->status));
    ctl_table_note(table, CTL_RED, (struct ctl_text){line.buffer.bytes, line.buffer.size});
    table->texts.failed = table->texts.failed || line.failed;
    buffer_free(&line.buffer);
}

static const char *state_color(uint32_t condition)
{
    return condition == WVU_PROBE_RUNNING  ? CTL_GREEN
           : condition == WVU_PROBE_FAILED ? CTL_RED
                                           : CTL_YELLOW;
}

static void add_probe(struct ctl_table *table, const struct wvu_probe_entry *entry)
{
    char words[CTL_WORDS_MAX];
    char number[CTL_NAME_MAX];
    const char *color = state_color(entry->condition);
    ctl_table_cell(table, CTL_BOLD, ctl_text_of(entry, &entry->name));
    ctl_table_string(table, color, ctl_name("PROBE_STATE", entry->condition, number));
    ctl_table_number(table, NULL, entry->operations);
    ctl_table_number(table, NULL, entry->filtered);
    ctl_table_string(table, NULL, ctl_time(entry->last_run, words));
    ctl_table_string(table, NULL,
                     entry->interval_ns != 0 ? ctl_duration(entry->interval_ns, words) : "-");
    if (entry->condition == WVU_PROBE_FAILED)
        add_reason(table, entry);
    add_settings(table, ctl_text_of(entry, &entry->configuration));
}

/* ---- all of it ---------------------------------------------------------------------------------------- */

/* True: no names were given, or this is one of those that were. */
static bool is_wanted(const struct ctl *ctl, const struct wvu_response *response,
                      const struct wvu_probe_entry *entry)
{
    for (unsigned i = 0; i < ctl->argument_count; i++) {
        if (ctl_find_probe(ctl, response, ctl->arguments[i]) == entry)
            return true;
    }
    return ctl->argument_count == 0;
}

static void put_all_json(struct ctl *ctl, const struct wvu_response *response)
{
    const struct wvu_probe_entry *entry = NULL;
    ctl_json_open(&ctl->out, '[');
    while ((entry = wvu_next_probe(response, entry)) != NULL) {
        if (!is_wanted(ctl, response, entry))
            continue;
        if (ctl->names)
            ctl_json_text(&ctl->out, ctl_text_of(entry, &entry->name));
        else
            put_json(&ctl->out, entry);
    }
    ctl_json_close(&ctl->out, ']');
    ctl_put_string(&ctl->out, "\n");
}

static void put_names(struct ctl *ctl, const struct wvu_response *response)
{
    const struct wvu_probe_entry *entry = NULL;
    while ((entry = wvu_next_probe(response, entry)) != NULL) {
        if (is_wanted(ctl, response, entry)) {
            ctl_put_safe(&ctl->out, ctl_text_of(entry, &entry->name));
            ctl_put_string(&ctl->out, "\n");
        }
    }
}

static void put_table(struct ctl *ctl, const struct wvu_response *response)
{
    static const struct ctl_column columns[] = {{"PROBE", false},      {"STATE", false},
                                                {"EVENTS", true},      {"FILTERED", true},
                                                {"LAST (UTC)", false}, {"EVERY", false}};
    const struct wvu_probe_entry *entry = NULL;
    struct ctl_table table;
    ctl_table_begin(&table, columns, sizeof columns / sizeof columns[0], ctl->color);
    while ((entry = wvu_next_probe(response, entry)) != NULL) {
        if (is_wanted(ctl, response, entry))
            add_probe(&table, entry);
    }
    ctl_table_end(&table, &ctl->out);
}

enum ctl_exit ctl_probes(struct ctl *ctl)
{
    const struct wvu_response *response;
    enum ctl_exit code =
        ctl_ask(ctl, "ask for the probes", WVU_COMMAND_ENUMERATE_PROBES, NULL, NULL, 0, &response);
    if (code != CTL_DONE)
        return code;
    for (unsigned i = 0; i < ctl->argument_count; i++) {
        if (ctl_find_probe(ctl, response, ctl->arguments[i]) == NULL)
            return CTL_USAGE;
    }
    if (ctl->json)
        put_all_json(ctl, response);
    else if (ctl->names)
        put_names(ctl, response);
    else
        put_table(ctl, response);
    return CTL_DONE;
}
