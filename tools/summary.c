/*
 * Rates and the final summary, on standard error. Called by main; one thread.
 */
#include "summary.h"

#include <inttypes.h>
#include <stdio.h>

#include "system.h"

#define PERIOD_MS 1000

void summary_begin(struct summary *summary)
{
    int64_t now = system_now_ms();
    *summary = (struct summary){.begin_ms = now, .last_ms = now, .next_ms = now + PERIOD_MS};
    summary->terminal = system_is_terminal(SYSTEM_ERROR);
}

static double rate(uint64_t now, uint64_t before, int64_t ms)
{
    return (double)(now - before) * 1000.0 / (double)ms;
}

int summary_show_rates(struct summary *summary, const struct stream *stream)
{
    int64_t now = system_now_ms();
    if (now >= summary->next_ms) {
        int64_t passed = now - summary->last_ms;
        (void)fprintf(
            stderr,
            "%s%.0f events/s, %.0f messages/s, %.1f KiB/s; %" PRIu64 " events, %" PRIu64
            " lost, %" PRIu64 " missing, %" PRIu64 " duplicates%s",
            summary->terminal ? "\r\x1b[K" : "", rate(stream->events, summary->last_events, passed),
            rate(stream->messages, summary->last_messages, passed),
            rate(summary->bytes, summary->last_bytes, passed) / 1024.0, stream->events,
            stream->lost, stream->missing, stream->duplicates, summary->terminal ? "" : "\n");
        summary->on_line = summary->terminal;
        summary->last_ms = now;
        summary->last_events = stream->events;
        summary->last_messages = stream->messages;
        summary->last_bytes = summary->bytes;
        /* A second after the last time, or after now if that is gone already. */
        summary->next_ms += PERIOD_MS;
        if (summary->next_ms <= now)
            summary->next_ms = now + PERIOD_MS;
    }
    return (int)(summary->next_ms - now);
}

void summary_end_line(struct summary *summary)
{
    if (summary->on_line)
        (void)fputc('\n', stderr);
    summary->on_line = false;
}

void summary_print(struct summary *summary, const struct stream *stream)
{
    double seconds = (double)(system_now_ms() - summary->begin_ms) / 1000.0;
    summary_end_line(summary);
    (void)fprintf(stderr, "%" PRIu64 " events in %.1f s, %" PRIu64 " written\n", stream->events,
                  seconds, summary->written);
    for (unsigned i = 0; i < stream->types; i++) {
        const char *name = wvu_event_name(stream->by_type[i].type);
        (void)fprintf(stderr, "  %-17s %12" PRIu64 "\n", name != NULL ? name : "Unknown",
                      stream->by_type[i].count);
    }
    (void)fprintf(stderr,
                  "%" PRIu64 " lost, %" PRIu64 " missing, %" PRIu64 " duplicates, %" PRIu64
                  " reconnects\n",
                  stream->lost, stream->missing, stream->duplicates, summary->reconnects);
}
