/*
 * The filter: rules that say which events are reported, which programs may not run, and which processes
 * the sensor must never end. See filter.c; docs/rules.md describes the rules for people.
 *
 * A filter is made from text as a whole or not at all, and never changes: the sensor swaps one for another
 * (wvu_sensor_set_filter). A process is judged once, when it is first seen (and again when the filter was
 * swapped); what comes of it is a mask of wanted kinds of event, which its host keeps with the process, so
 * that an event costs the test of one bit.
 */
#ifndef WVU_FILTER_H
#define WVU_FILTER_H

#include "os.h"
#include "winvirtue/protocol.h"

#define WVU_FILTER_TEXT_MAX    (WVU_REQUEST_MAX - 64u) /* bytes of all rules together */
#define WVU_FILTER_RULES_MAX   1024u
#define WVU_FILTER_PARENTS_MAX 48u /* different conditions on the parent's image */
/* The bits of wvu_verdict.as_parent that stand for these; those above name the filter they are from. */
#define WVU_FILTER_PARENT_BITS ((UINT64_C(1) << WVU_FILTER_PARENTS_MAX) - 1)
#define WVU_FILTER_NAME_MAX    64u /* bytes of a rule's name, with the NUL */

/* Bit wvu_event_index(type): events of that type are wanted. */
#define WVU_WANTED_ALL 0xFFFFFFFFu

struct wvu_filter;

enum wvu_filter_deny { WVU_DENY_NONE = 0, WVU_DENY_REPORT = 1, WVU_DENY_ENFORCE = 2 };

/* A process as the filter sees it. What is not known is NULL or false, and no condition on it holds. */
struct wvu_subject {
    const void *image;   /* path; bytes, or UTF-16 units in the host's byte order */
    uint32_t image_size; /* bytes */
    uint16_t unit;       /* 1: bytes, 2: UTF-16 */
    bool has_user;
    uint32_t user_id;     /* Linux */
    const char *user_sid; /* Windows: text, ASCII; NULL: not known */
    /* verdict.as_parent of the parent; 0: not known, or none. From another filter it counts as none: while
     * one filter takes the place of another, a parent may not be judged anew yet. */
    uint64_t parent_matches;
};

struct wvu_verdict {
    uint32_t wanted;                /* mask of kinds of event */
    uint32_t deny;                  /* enum wvu_filter_deny */
    bool is_protected;              /* a `protect` rule: never to be ended */
    uint64_t as_parent;             /* to be kept for its children */
    char rule[WVU_FILTER_NAME_MAX]; /* of the deny rule that matched; "" when deny is NONE */
};

/* The paths of `deny` rules with an exact image, for hosts that can stop a program before its first
 * instruction when they know the file beforehand. */
struct wvu_filter_denied {
    const char *path; /* UTF-8, as in the rule */
    uint32_t deny;    /* enum wvu_filter_deny */
    bool only_path; /* the file alone decides: the rule has no other condition, no earlier deny rule
                         can decide first, and no protect rule can hold for it */
    const char *rule; /* its name */
};

struct wvu_filter_host {
    bool utf16;       /* images are UTF-16 (Windows) */
    bool ignore_case; /* Windows: compared after wvu_os_upcase */
    /* Other spellings of a path that a rule gives (Windows: C:\ as \??\C:\ and \Device\HarddiskVolume3\):
     * writes the index-th one (0, 1, ...) and returns its length; 0: there is no further one. NULL: none.
     * PASSIVE. */
    size_t (*spelling)(void *context, const char *path, size_t length, uint32_t index, char *out,
                       size_t capacity);
    void *context;
};

/* PASSIVE. OK and a filter, or INVALID_PARAMETER (BAD text; `reason`, 256 bytes, says which line and why)
 * or NO_MEMORY. An empty text gives a filter without rules, which wants everything. */
wvu_status wvu_filter_create(const char *text, size_t length, const struct wvu_filter_host *host,
                             struct wvu_filter **filter, char *reason);
void wvu_filter_destroy(struct wvu_filter *filter); /* PASSIVE; NULL is allowed */

/* Any, as far as the subject's memory allows. No locks, no allocation; time grows with the rules. */
void wvu_filter_judge(const struct wvu_filter *filter, const struct wvu_subject *subject,
                      struct wvu_verdict *verdict);

const char *wvu_filter_text(const struct wvu_filter *filter, size_t *length); /* as it was given */
uint32_t wvu_filter_rules(const struct wvu_filter *filter);
/* True, and *denied filled, for index 0, 1, ... as long as there is one. */
bool wvu_filter_denied_at(const struct wvu_filter *filter, uint32_t index,
                          struct wvu_filter_denied *denied);

#endif
