/*
 * wvuctl status and log: what the sensor says of itself. One thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "ctl_names.h"
#include "ctl_table.h"

/* Of what stands behind the first column. */
#define LINE_WIDTH 64u

static enum ctl_exit ask(struct ctl *ctl, const char *what, const struct wvu_sensor_status **status)
{
    const struct wvu_response *response;
    enum ctl_exit code = ctl_ask(ctl, what, WVU_COMMAND_GET_STATUS, NULL, NULL, 0, &response);
    if (code == CTL_DONE)
        *status = wvu_response_sensor_status(response);
    return code;
}

/* ---- status ----------------------------------------------------------------------------------------- */

static void put_json(struct ctl_out *out, const struct wvu_sensor_status *status)
{
    ctl_json_open(out, '{');
    ctl_json_key(out, "Host");
    ctl_json_name(out, "HOST", status->host);
    ctl_json_key(out, "HostName");
    ctl_json_text(out, ctl_text_of(status, &status->host_name));
    ctl_json_key(out, "SensorVersion");
    ctl_json_text(out, ctl_text_of(status, &status->sensor_version));
    ctl_json_key(out, "SystemVersion");
    ctl_json_text(out, ctl_text_of(status, &status->system_version));
    ctl_json_key(out, "ProtocolVersion");
    ctl_json_u64(out, status->protocol_version);
    ctl_json_key(out, "SensorId");
    ctl_json_uuid(out, status->sensor_id);
    ctl_json_key(out, "BootId");
    ctl_json_uuid(out, status->boot_id);
    ctl_json_key(out, "Started");
    ctl_json_time(out, status->started);
    ctl_json_key(out, "UptimeNs");
    ctl_json_u64(out, status->uptime_ns);
    ctl_json_key(out, "ProcessId");
    ctl_json_u64(out, status->process_id);
    ctl_json_key(out, "Protected");
    ctl_json_word(out, status->is_protected != 0 ? "true" : "false");
    ctl_json_key(out, "ReaderProcessId");
    if (status->reader_process_id != 0)
        ctl_json_u64(out, status->reader_process_id);
    else
        ctl_json_word(out, "null");
    ctl_json_key(out, "QueueRecords");
    ctl_json_u64(out, status->queue_records);
    ctl_json_key(out, "QueueBytes");
    ctl_json_u64(out, status->queue_bytes);
    ctl_json_key(out, "FilterRules");
    ctl_json_u64(out, status->filter_rules);
    ctl_json_key(out, "Configuration");
    ctl_json_pairs(out, ctl_text_of(status, &status->configuration));
    ctl_json_key(out, "Log");
    ctl_json_pairs(out, ctl_text_of(status, &status->log));
    ctl_json_close(out, '}');
    ctl_put_string(out, "\n");
}

/* A row of two cells: what, and a text that was put together in `line`, which is emptied. */
static void add_line(struct ctl_table *table, const char *what, const char *color,
                     struct ctl_out *line)
{
    ctl_table_string(table, NULL, what);
    ctl_table_cell(table, color, (struct ctl_text){line->buffer.bytes, line->buffer.size});
    line->buffer.size = 0;
}

/* key=value lines, as many in a row as there is room for; `what` stands before the first. */
static void add_pairs(struct ctl_table *table, const char *what, struct ctl_text lines)
{
    struct ctl_out line = {.failed = false};
    struct ctl_text key, value;
    while (ctl_next_pair(&lines, &key, &value)) {
        if (line.buffer.size != 0 && line.buffer.size + key.size + value.size + 3 > LINE_WIDTH) {
            add_line(table, what, NULL, &line);
            what = "";
        }
        ctl_put_string(&line, line.buffer.size != 0 ? "  " : "");
        ctl_put(&line, key.bytes, key.size);
        ctl_put_string(&line, "=");
        ctl_put(&line, value.bytes, value.size);
    }
    add_line(table, what, NULL, &line);
    table->texts.failed = table->texts.failed || line.failed;
    buffer_free(&line.buffer);
}

/* One level for all modules is one word. */
static void add_log(struct ctl_table *table, struct ctl_text lines)
{
    struct ctl_text rest = lines, key, value, first = {NULL, 0};
    struct ctl_out line = {.failed = false};
    bool same = true;
    while (ctl_next_pair(&rest, &key, &value)) {
        first = first.bytes == NULL ? value : first;
        same =
            same && first.size == value.size && memcmp(first.bytes, value.bytes, value.size) == 0;
    }
    if (same && first.bytes != NULL) {
        ctl_put_string(&line, "all=");
        ctl_put(&line, first.bytes, first.size);
        add_line(table, "log", NULL, &line);
    } else {
        add_pairs(table, "log", lines);
    }
    table->texts.failed = table->texts.failed || line.failed;
    buffer_free(&line.buffer);
}

static void add_sensor(struct ctl_table *table, struct ctl_out *line,
                       const struct wvu_sensor_status *status)
{
    char words[CTL_WORDS_MAX];
    struct ctl_text text = ctl_text_of(status, &status->sensor_version);
    ctl_put_string(line, "WinVirtUE ");
    ctl_put(line, text.bytes, text.size);
    ctl_put_format(line, ", process %" PRIu32, status->process_id);
    add_line(table, "sensor", CTL_BOLD, line);
    text = ctl_text_of(status, &status->host_name);
    ctl_put(line, text.bytes, text.size);
    text = ctl_text_of(status, &status->system_version);
    ctl_put_string(line, ", ");
    ctl_put(line, text.bytes, text.size);
    add_line(table, "host", NULL, line);
    ctl_put_format(line, "%s UTC, ", ctl_time(status->started, words));
    ctl_put_format(line, "%s ago", ctl_duration(status->uptime_ns, words));
    add_line(table, "started", NULL, line);
}

static void add_state(struct ctl_table *table, struct ctl_out *line,
                      const struct wvu_sensor_status *status)
{
    char words[CTL_WORDS_MAX];
    if (status->reader_process_id != 0)
        ctl_put_format(line, "process %" PRIu32 " reads the events", status->reader_process_id);
    else
        ctl_put_string(line, "none: events wait in the queue");
    add_line(table, "reader", status->reader_process_id != 0 ? CTL_GREEN : CTL_YELLOW, line);
    ctl_put_format(line, "at most %" PRIu32 " events and %s", status->queue_records,
                   ctl_bytes(status->queue_bytes, words));
    add_line(table, "queue", NULL, line);
    if (status->filter_rules != 0)
        ctl_put_format(line, "%" PRIu32 " rule%s", status->filter_rules,
                       status->filter_rules == 1 ? "" : "s");
    else
        ctl_put_string(line, "no rules: everything is reported");
    add_line(table, "filter", NULL, line);
    ctl_put_string(line, status->is_protected != 0 ? "on: it refuses to be stopped" : "off");
    add_line(table, "protection", status->is_protected != 0 ? CTL_GREEN : NULL, line);
}

enum ctl_exit ctl_status(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {{"", false}, {"", false}};
    const struct wvu_sensor_status *status = NULL;
    enum ctl_exit code = ask(ctl, "ask for the sensor's status", &status);
    if (code != CTL_DONE)
        return code;
    if (ctl->json) {
        put_json(&ctl->out, status);
        return CTL_DONE;
    }
    struct ctl_table table;
    struct ctl_out line = {.failed = false};
    ctl_table_begin(&table, columns, 2, ctl->color);
    add_sensor(&table, &line, status);
    add_state(&table, &line, status);
    add_pairs(&table, "configuration", ctl_text_of(status, &status->configuration));
    add_log(&table, ctl_text_of(status, &status->log));
    ctl_table_end(&table, &ctl->out);
    ctl->out.failed = ctl->out.failed || line.failed;
    buffer_free(&line.buffer);
    return CTL_DONE;
}

/* ---- log ---------------------------------------------------------------------------------------------- */

static enum ctl_exit show_log(struct ctl *ctl)
{
    const struct wvu_sensor_status *status = NULL;
    enum ctl_exit code = ask(ctl, "ask for the log levels", &status);
    if (code != CTL_DONE)
        return code;
    struct ctl_text log = ctl_text_of(status, &status->log);
    if (ctl->json)
        ctl_json_pairs(&ctl->out, log);
    else
        ctl_put_safe_lines(&ctl->out, log);
    if (log.size == 0 || log.bytes[log.size - 1] != '\n' || ctl->json)
        ctl_put_string(&ctl->out, "\n");
    return CTL_DONE;
}

enum ctl_exit ctl_log(struct ctl *ctl)
{
    const struct wvu_response *response;
    struct ctl_out text = {.failed = false};
    if (ctl->argument_count == 0)
        return show_log(ctl);
    for (unsigned i = 0; i < ctl->argument_count; i++) {
        if (strchr(ctl->arguments[i], '=') == NULL) {
            buffer_free(&text.buffer);
            return ctl_usage(ctl, "\"%s\" is not MODULE=LEVEL", ctl->arguments[i]);
        }
        ctl_put_string(&text, i != 0 ? " " : "");
        ctl_put_string(&text, ctl->arguments[i]);
    }
    ctl->out.failed = ctl->out.failed || text.failed;
    enum ctl_exit code = ctl_ask(ctl, "set the log levels", WVU_COMMAND_SET_LOG, NULL,
                                 text.buffer.bytes, text.buffer.size, &response);
    buffer_free(&text.buffer);
    if (code == CTL_DONE)
        ctl_done(ctl, "SetLog", NULL, "the log levels are set");
    return code;
}
