/*
 * ntfltmgr: reads the sensor's events and prints them. ntfltmgr(1) is the manual page.
 *
 * One thread. It waits in one place (wait_for_events) for the sensor, a signal, the end of the output's
 * other side and, with --stats, the next second. For each message:
 *
 *     format what is new and wanted -> record the message -> write the events -> reply
 *
 * and never in another order: the reply lets the sensor forget them. What ends the program between two
 * of these steps leaves the message with the sensor, which sends it again; sequences tell what was seen
 * before.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "options.h"
#include "output.h"
#include "recording.h"
#include "stop.h"
#include "stream.h"
#include "summary.h"
#include "system.h"
#include "winvirtue/winvirtue.h"

#define CONNECT_TIMEOUT_MS 2000
#define BACKOFF_FIRST_MS   100
#define BACKOFF_MOST_MS    5000
/* A batch has no more records than this. */
#define RECORDS_MAX (WVU_BATCH_MAX / sizeof(struct wvu_record))

enum exit_code { EXIT_AS_ASKED = 0, EXIT_DATA = 1, EXIT_USAGE = 2, EXIT_CONNECTION = 3 };

/* How a step ended: go on, or end the program (with `code` set). */
enum step { STEP_GO_ON, STEP_END };

/* A record of the present message: where in the output it ends, and how many events that makes. */
struct mark {
    size_t end;
    uint64_t events;
    uint64_t sequence;
};

struct reader {
    struct options options;
    struct stream stream;
    struct summary summary;
    enum exit_code code;
    bool color;
    int output;
    const char *output_name;
    const char *port_name;
    int recording; /* -1: none */
    struct buffer out;
    struct buffer scratch;
    struct mark marks[RECORDS_MAX]; /* of the records of the present message, in order */
    size_t mark_count;
};

SYSTEM_PRINTF(2, 3) static void say(struct reader *r, const char *format, ...)
{
    va_list arguments;
    summary_end_line(&r->summary);
    (void)fputs("ntfltmgr: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

static enum step end_with(struct reader *r, enum exit_code code)
{
    r->code = code;
    return STEP_END;
}

/* ---- one message -------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct options *options, const struct wvu_record *record)
{
    bool event = options->event_count == 0;
    bool pid = options->pid_count == 0;
    for (unsigned i = 0; i < options->event_count && !event; i++)
        event = options->events[i] == record->type;
    for (unsigned i = 0; i < options->pid_count && !pid; i++)
        pid = options->pids[i] == record->process_id;
    return event && pid;
}

static bool count_reached(const struct reader *r, uint64_t formatted)
{
    return r->options.count != 0 && r->summary.written + formatted >= r->options.count;
}

/* Formats the message's new and wanted records, no more than --count allows. False: no memory. */
static bool format_message(struct reader *r, const wvu_message *message)
{
    const struct wvu_record *record = NULL;
    uint64_t events = 0;
    r->out.size = 0;
    r->mark_count = 0;
    while (!count_reached(r, events) && (record = wvu_next(message, record)) != NULL) {
        struct gap gap;
        bool is_new = stream_see(&r->stream, message, record, &gap);
        if (gap.first != 0)
            say(r,
                "events %" PRIu64 " to %" PRIu64 " are missing: they did not come, and the sensor "
                "did not report them as lost (did another reader take them?)",
                gap.first, gap.last);
        if (is_new && is_wanted(&r->options, record)) {
            if (!format_event(r->options.format, r->color, message, record, &r->out, &r->scratch)) {
                say(r, "there is not enough memory to print an event");
                return false;
            }
            events++;
        }
        r->marks[r->mark_count++] = (struct mark){r->out.size, events, record->sequence};
    }
    return true;
}

static enum write_result record_message(struct reader *r, const wvu_message *message)
{
    if (r->recording < 0)
        return WRITE_DONE;
    enum write_result result = recording_add(r->recording, message);
    if (result == WRITE_FAILED)
        say(r, "cannot write to %s: %s", r->options.record, strerror(errno));
    return result;
}

/* Writes what was formatted. Marks of records that did not go out as a whole are taken away. */
static enum write_result write_events(struct reader *r)
{
    size_t written = 0;
    enum write_result result = WRITE_DONE;
    if (r->out.size != 0)
        result = write_all(r->output, r->out.bytes, r->out.size, &written);
    if (result == WRITE_FAILED)
        say(r, "cannot write to %s: %s", r->output_name, strerror(errno));
    while (r->mark_count != 0 && r->marks[r->mark_count - 1].end > written)
        r->mark_count--;
    if (result == WRITE_STOPPED &&
        written > (r->mark_count != 0 ? r->marks[r->mark_count - 1].end : 0))
        say(r, "%s takes no more: its last line is not complete; that event will come again",
            r->output_name);
    r->summary.bytes += written;
    return result;
}

/* Counts what the marks stand for, from the state before the message. */
static void settle(struct reader *r, const wvu_message *message, const struct stream *before)
{
    const struct wvu_record *record = NULL;
    struct gap gap;
    r->stream = *before;
    for (size_t i = 0; i < r->mark_count && (record = wvu_next(message, record)) != NULL; i++)
        (void)stream_see(&r->stream, message, record, &gap);
}

/* Returns with *acknowledge set to what may be acknowledged, 0 for nothing, also at the end. */
static enum step take_message(struct reader *r, const wvu_message *message, uint64_t *acknowledge)
{
    const struct stream before = r->stream;
    enum write_result result = WRITE_FAILED;
    *acknowledge = 0;
    if (format_message(r, message))
        result = record_message(r, message);
    if (result == WRITE_DONE)
        result = write_events(r);
    else
        r->mark_count = 0;
    if (result == WRITE_FAILED)
        r->mark_count =
            0; /* nothing is acknowledged: the sensor keeps all of it for the next reader */
    if (result != WRITE_DONE)
        settle(r, message, &before);
    r->stream.messages++;
    if (r->mark_count != 0) {
        *acknowledge = r->marks[r->mark_count - 1].sequence;
        r->summary.written += r->marks[r->mark_count - 1].events;
    }
    if (result == WRITE_FAILED)
        return end_with(r, EXIT_DATA);
    if (result == WRITE_STOPPED || count_reached(r, 0))
        return end_with(r, EXIT_AS_ASKED);
    return STEP_GO_ON;
}

/* ---- the sensor ---------------------------------------------------------------------------------------------- */

/* Waits for any of: something from the sensor (or nothing, for NULL), a signal, the other side of the
 * output gone, rates due, `timeout_ms` over (-1: never). */
static enum step wait_for_events(struct reader *r, wvu_client *client, int timeout_ms)
{
    if (r->options.stats) {
        int due = summary_show_rates(&r->summary, &r->stream);
        timeout_ms = timeout_ms < 0 || timeout_ms > due ? due : timeout_ms;
    }
    enum system_wait result = system_wait(client, r->output, timeout_ms);
    if (result == SYSTEM_FAILED) {
        say(r, "cannot wait for events: %s", strerror(errno));
        return end_with(r, EXIT_DATA);
    }
    if (stop_requested())
        return end_with(r, EXIT_AS_ASKED);
    if (result == SYSTEM_OUTPUT_GONE) {
        say(r, "cannot write to %s: its other side is gone", r->output_name);
        return end_with(r, EXIT_DATA);
    }
    return STEP_GO_ON;
}

/* Takes messages until the connection or the program ends. *status: why the connection ended. */
static enum step serve(struct reader *r, wvu_client *client, int *status, int *backoff_ms)
{
    for (;;) {
        const wvu_message *message;
        if (stop_requested())
            return end_with(r, EXIT_AS_ASKED);
        *status = wvu_get(client, 0, &message);
        if (*status == WVU_STATUS_AGAIN) {
            if (wait_for_events(r, client, -1) == STEP_END)
                return STEP_END;
            continue;
        }
        if (*status != WVU_STATUS_OK)
            return STEP_GO_ON;
        *backoff_ms = BACKOFF_FIRST_MS;
        if (r->options.stats)
            (void)summary_show_rates(&r->summary, &r->stream);
        uint64_t acknowledge;
        enum step step = take_message(r, message, &acknowledge);
        if (acknowledge != 0)
            *status = wvu_reply(client, acknowledge);
        if (step == STEP_END || *status != WVU_STATUS_OK)
            return step;
    }
}

/* No later attempt can end differently. */
static bool is_final(int status)
{
    return status == WVU_STATUS_ACCESS_DENIED || status == WVU_STATUS_INVALID_PARAMETER ||
           status == WVU_STATUS_VERSION_MISMATCH || status == WVU_STATUS_BAD_MESSAGE ||
           status == WVU_STATUS_NOT_SUPPORTED;
}

/* Says why there is no connection, once for each reason in a row. */
static void say_not_connected(struct reader *r, int status, int *said)
{
    if (status == *said)
        return;
    *said = status;
    const char *why = system_connect_advice(status);
    say(r, "cannot connect to %s: %s%s", r->port_name, why != NULL ? why : wvu_strerror(status),
        r->options.reconnect && !is_final(status) ? "; waiting for it" : "");
}

/* Waits before the next attempt, longer each time. */
static enum step back_off(struct reader *r, int *backoff_ms)
{
    int64_t end = system_now_ms() + *backoff_ms;
    *backoff_ms = *backoff_ms * 2 < BACKOFF_MOST_MS ? *backoff_ms * 2 : BACKOFF_MOST_MS;
    for (;;) {
        int64_t left = end - system_now_ms();
        if (left <= 0)
            return STEP_GO_ON;
        if (wait_for_events(r, NULL, (int)left) == STEP_END)
            return STEP_END;
    }
}

static void run_live(struct reader *r)
{
    char name[256];
    r->port_name = system_port_name(r->options.run_dir, "WVUPort", name, sizeof name);
    int backoff_ms = BACKOFF_FIRST_MS;
    int said = WVU_STATUS_OK;
    bool connected_before = false;
    for (;;) {
        wvu_client *client;
        enum step step = STEP_GO_ON;
        if (stop_requested())
            return;
        int status = wvu_connect(r->options.run_dir, CONNECT_TIMEOUT_MS, &client);
        if (status == WVU_STATUS_OK) {
            said = WVU_STATUS_OK;
            say(r, "connected to %s", r->port_name);
            r->summary.reconnects += connected_before ? 1 : 0;
            connected_before = true;
            step = serve(r, client, &status, &backoff_ms);
            wvu_close(client);
            if (step == STEP_END)
                return;
            say(r, "the connection ended: %s",
                status == WVU_STATUS_DISCONNECTED ? r->stream.stopped
                                                        ? "the sensor has stopped"
                                                        : "the sensor closed it or went away"
                                                  : wvu_strerror(status));
            if (!r->options.reconnect && status == WVU_STATUS_DISCONNECTED && r->stream.stopped)
                return; /* the stream came to its proper end */
        } else {
            say_not_connected(r, status, &said);
        }
        if (!r->options.reconnect || is_final(status)) {
            r->code = status == WVU_STATUS_BAD_MESSAGE ? EXIT_DATA : EXIT_CONNECTION;
            return;
        }
        if (back_off(r, &backoff_ms) == STEP_END)
            return;
    }
}

/* ---- a recording ------------------------------------------------------------------------------------------------ */

static void replay(struct reader *r, struct player *player, FILE *file)
{
    wvu_message message;
    uint64_t acknowledge; /* nobody waits for it */
    enum recording_result result = player_begin(player, file);
    while (result == RECORDING_MESSAGE) {
        result = player_next(player, &message);
        if (result != RECORDING_MESSAGE)
            break;
        if (take_message(r, &message, &acknowledge) == STEP_END || stop_requested())
            return;
        if (r->options.stats)
            (void)summary_show_rates(&r->summary, &r->stream);
    }
    if (result == RECORDING_FAILED) {
        say(r, "cannot replay %s: %s", r->options.replay, player->reason);
        r->code = EXIT_DATA;
    }
}

static void run_replay(struct reader *r)
{
    bool standard_input = strcmp(r->options.replay, "-") == 0;
    FILE *file = standard_input ? stdin : system_open_stream(r->options.replay);
    struct player *player = malloc(sizeof *player);
    if (file == NULL || player == NULL) {
        say(r, "cannot replay %s: %s", r->options.replay, strerror(errno));
        r->code = EXIT_DATA;
    } else {
        replay(r, player, file);
    }
    free(player);
    if (file != NULL && !standard_input)
        (void)fclose(file);
}

/* ---- start and end --------------------------------------------------------------------------------------------- */

static bool use_color(const struct options *options, int output)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (options->color != COLOR_AUTO)
        return options->color == COLOR_ALWAYS;
    return system_is_terminal(output) && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

static bool open_files(struct reader *r, bool output_closed)
{
    r->output = SYSTEM_OUTPUT;
    r->output_name = "standard output";
    r->recording = -1;
    if (r->options.output != NULL) {
        r->output_name = r->options.output;
        r->output = open_output(r->options.output);
        if (r->output < 0) {
            say(r, "cannot open %s: %s", r->options.output, strerror(errno));
            return false;
        }
    } else if (output_closed) {
        say(r, "standard output is closed");
        return false;
    }
    if (r->options.record != NULL) {
        r->recording = recording_create(r->options.record);
        if (r->recording < 0) {
            say(r, "cannot record to %s: %s", r->options.record,
                errno == EEXIST ? "it exists and is not empty; remove it or choose another name"
                                : strerror(errno));
            return false;
        }
    }
    r->color = use_color(&r->options, r->output);
    return true;
}

/* A file system may report only now that it could not keep what it took. By then it is acknowledged, so all
 * that can be done is to say so. */
static void close_file(struct reader *r, int fd, const char *name)
{
    if (fd > SYSTEM_ERROR && system_close(fd) < 0) {
        say(r, "cannot close %s: %s", name, strerror(errno));
        r->code = EXIT_DATA;
    }
}

int main(int argc, char **argv)
{
    static struct reader reader; /* large, and zero */
    struct reader *r = &reader;
    bool output_closed;
    if (!system_begin(&argc, &argv, &output_closed))
        return EXIT_DATA;
    switch (options_parse(&r->options, argc, argv)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_DONE:
        return fflush(stdout) == 0 ? EXIT_AS_ASKED : EXIT_DATA;
    default:
        return EXIT_USAGE;
    }
    summary_begin(&r->summary);
    if (!stop_init()) {
        say(r, "cannot prepare for signals: %s", strerror(errno));
        return EXIT_DATA;
    }
    if (!open_files(r, output_closed))
        return EXIT_DATA;
    if (r->options.replay != NULL)
        run_replay(r);
    else
        run_live(r);
    close_file(r, r->output, r->output_name);
    close_file(r, r->recording, r->options.record);
    if (r->options.summary)
        summary_print(&r->summary, &r->stream);
    summary_end_line(&r->summary);
    buffer_free(&r->out);
    buffer_free(&r->scratch);
    return (int)r->code;
}
