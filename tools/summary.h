/*
 * What ntfltmgr says about the stream on standard error: rates while it runs, a summary at the end.
 */
#ifndef NTFLTMGR_SUMMARY_H
#define NTFLTMGR_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "stream.h"

struct summary {
    int64_t begin_ms; /* monotonic */
    int64_t next_ms;  /* when rates are due */
    int64_t last_ms;  /* when they were shown last, with what then was */
    uint64_t last_events;
    uint64_t last_messages;
    uint64_t last_bytes;
    bool terminal;    /* standard error is one: rates are rewritten in place */
    bool on_line;     /* the cursor stands behind rates */
    uint64_t written; /* events */
    uint64_t bytes;   /* of output */
    uint64_t reconnects;
};

void summary_begin(struct summary *summary);

/* Shows rates if they are due. Returns how many milliseconds there are until they are due again. */
int summary_show_rates(struct summary *summary, const struct stream *stream);

/* Before anything else is written to standard error: leaves the line with the rates. */
void summary_end_line(struct summary *summary);

void summary_print(struct summary *summary, const struct stream *stream);

#endif
