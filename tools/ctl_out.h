/*
 * What wvuctl prints, while it is being made: plain text, text from the sensor made safe for a terminal,
 * and JSON. Memory that runs out is noted, and told when all of it is to be written.
 */
#ifndef WVUCTL_CTL_OUT_H
#define WVUCTL_CTL_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output.h"
#include "system.h"
#include "winvirtue/protocol.h"

struct ctl_out {
    struct buffer buffer;
    bool failed; /* there was not enough memory */
};

/* A text in memory of somebody else's. */
struct ctl_text {
    const char *bytes;
    size_t size;
};

struct ctl_text ctl_text_of(const void *structure, const struct wvu_text *text);
struct ctl_text ctl_text_of_string(const char *string);

/* Takes the next line off `text`, which is not empty; without its end. */
struct ctl_text ctl_take_line(struct ctl_text *text);
/* Takes the next line off `text`, and parts it at its first '=' (value is empty without one). False: there
 * is none. Empty lines are passed over. */
bool ctl_next_pair(struct ctl_text *text, struct ctl_text *key, struct ctl_text *value);

/* ---- plain ------------------------------------------------------------------------------------ */

void ctl_put(struct ctl_out *out, const char *bytes, size_t size);
void ctl_put_string(struct ctl_out *out, const char *string);
SYSTEM_PRINTF(2, 3) void ctl_put_format(struct ctl_out *out, const char *format, ...);
/* What could disturb a terminal is escaped, and what is no UTF-8 becomes U+FFFD. */
void ctl_put_safe(struct ctl_out *out, struct ctl_text text);
/* The same, but lines may end and there may be tabs. */
void ctl_put_safe_lines(struct ctl_out *out, struct ctl_text text);
/* How many columns it takes on a terminal, if every character takes one. */
size_t ctl_columns(const char *bytes, size_t size);

/* ---- JSON: commas are put where they belong ----------------------------------------------------- */

void ctl_json_open(struct ctl_out *out, char bracket);
void ctl_json_close(struct ctl_out *out, char bracket);
void ctl_json_key(struct ctl_out *out, const char *key);
void ctl_json_key_text(struct ctl_out *out, struct ctl_text key);
void ctl_json_text(struct ctl_out *out, struct ctl_text text);
void ctl_json_string(struct ctl_out *out, const char *string);
void ctl_json_u64(struct ctl_out *out, uint64_t number);
void ctl_json_word(struct ctl_out *out, const char *word); /* true, 1.5, null */
void ctl_json_uuid(struct ctl_out *out, const uint8_t uuid[16]);
/* key=value lines as an object of texts. */
void ctl_json_pairs(struct ctl_out *out, struct ctl_text lines);
/* ISO 8601 as in events; null for 0. */
void ctl_json_time(struct ctl_out *out, int64_t time);

/* ---- numbers for people -------------------------------------------------------------------------- */

#define CTL_WORDS_MAX 64
/* "2026-11-22 12:00:00" in UTC; "never" for 0. Returns buffer. */
const char *ctl_time(int64_t time, char buffer[CTL_WORDS_MAX]);
const char *ctl_duration(uint64_t ns, char buffer[CTL_WORDS_MAX]);   /* "2 h 5 min" */
const char *ctl_bytes(uint64_t bytes, char buffer[CTL_WORDS_MAX]);   /* "3.4 KiB" */
const char *ctl_short_time(uint64_t ns, char buffer[CTL_WORDS_MAX]); /* "512 ns", "4.1 us" */

#endif
