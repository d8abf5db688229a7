/*
 * The text of a filter, taken apart: one rule a line. See filter_text.c; docs/rules.md is for people.
 */
#ifndef WVU_FILTER_TEXT_H
#define WVU_FILTER_TEXT_H

#include "filter.h"
#include "words.h"

enum wvu_rule_action {
    WVU_RULE_NONE, /* the text has no further rule */
    WVU_RULE_INCLUDE,
    WVU_RULE_EXCLUDE,
    WVU_RULE_DENY,
    WVU_RULE_PROTECT,
    WVU_RULE_DEFAULT
};

enum wvu_rule_key {
    WVU_RULE_IMAGE,
    WVU_RULE_IMAGE_PREFIX,
    WVU_RULE_IMAGE_SUFFIX,
    WVU_RULE_PARENT,
    WVU_RULE_PARENT_PREFIX,
    WVU_RULE_PARENT_SUFFIX,
    WVU_RULE_USER,
    WVU_RULE_EVENT,
    WVU_RULE_MODE,
    WVU_RULE_NAME,
    WVU_RULE_KEYS
};

struct wvu_rule_text {
    enum wvu_rule_action action;
    uint32_t line;                        /* its number */
    uint32_t given;                       /* bit n: key n has a value */
    struct wvu_word value[WVU_RULE_KEYS]; /* without quotes; a NUL follows each */
    uint32_t events;                      /* mask; without event=: all that a rule can name */
    enum wvu_filter_deny deny;            /* of a deny rule */
    bool includes;                        /* default include */
    uint32_t user_id;                     /* of user=, where users are numbers */
};

struct wvu_rule_reader {
    char *text;            /* the rest of it */
    size_t length;         /* a byte that may be written follows */
    uint32_t line;         /* number of the newest one */
    uint32_t rules;        /* so far */
    uint32_t default_line; /* of the `default` rule; 0: none yet */
    bool windows;          /* users are security identifiers, texts must be UTF-8 */
    char *reason;          /* 256 bytes */
};

/* PASSIVE. Changes the text: values lose their quotes where they stand. INVALID_PARAMETER, and reason, when
 * the next rule is wrong. */
wvu_status wvu_rule_next(struct wvu_rule_reader *reader, struct wvu_rule_text *rule);

/* INVALID_PARAMETER, and a reason that begins with the rule's line. */
wvu_status wvu_rule_refuse(const struct wvu_rule_reader *reader, uint32_t line, const char *why);

/* The kinds of event that a rule can name; the sensor's own are always reported. */
uint32_t wvu_rule_events(void);

/* Takes the next character off `rest`. False: its bytes are not UTF-8. */
bool wvu_utf8_next(struct wvu_word *rest, uint32_t *character);

#endif
