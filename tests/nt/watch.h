/*
 * A reader that keeps what it reads, for scenarios that ask for one event after the other.
 */
#ifndef NT_WATCH_H
#define NT_WATCH_H

#include "nt.h"
#include "reader.h"

enum { NT_WATCH_MAX = 4096 };

struct nt_watch {
    struct nt_stream stream;
    struct nt_reader reader;
    struct wvu_record *records[NT_WATCH_MAX]; /* that were not asked for yet, oldest first */
    size_t count;
    bool reconnects; /* being thrown out is part of the scenario */
};

/* Connects, in the context of an administrator's program, and reads past the driver's start. */
void nt_watch_begin(struct nt_watch *watch);
void nt_watch_end(struct nt_watch *watch);

/* The next event of the type about the process (0: any); reads until it comes, and ends the process if it
 * does not. It is valid until the next call. */
const void *nt_watch_next(struct nt_watch *watch, uint16_t type, uint32_t process_id);
/* True when one has come. Reads until all events of before this call were read. */
bool nt_watch_has(struct nt_watch *watch, uint16_t type, uint32_t process_id);
/* Forgets what was read so far, and all events of before this call. */
void nt_watch_forget(struct nt_watch *watch);

/* The text of an event as ASCII; "" when it is absent. Valid until the next call. */
const char *nt_event_text(const void *record, const struct wvu_text *text);

#endif
