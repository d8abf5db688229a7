/*
 * Patterns on paths: which of many does a path match? See filter_match.c. Made and used by filter.c.
 */
#ifndef WVU_FILTER_MATCH_H
#define WVU_FILTER_MATCH_H

#include "os.h"

/* Where a pattern must be in the path: at its beginning, at its end, or all of it. */
enum wvu_pattern_way { WVU_PATTERN_FRONT, WVU_PATTERN_BACK, WVU_PATTERN_WHOLE, WVU_PATTERN_WAYS };

/* Units of a path: bytes, or UTF-16 in the host's byte order; any alignment. */
struct wvu_path {
    const uint8_t *bytes;
    uint32_t units;
    bool utf16;
    bool ignore_case; /* units are compared upcased */
};

struct wvu_pattern {
    uint64_t hash;
    const uint8_t *text; /* units as those of paths; upcased already where case is ignored */
    uint32_t units;
    uint32_t condition; /* that a match meets */
    struct wvu_pattern *next;
};

struct wvu_pattern_length {
    uint32_t units;
    uint32_t end; /* the patterns of this length stand before it */
};

/* All patterns of one way. First a list; then arranged. */
struct wvu_pattern_table {
    struct wvu_pattern *list;
    uint32_t count;
    struct wvu_pattern *patterns; /* by length */
    struct wvu_pattern_length *lengths;
    uint32_t lengths_count;
};

/* The unit as it is compared where case is ignored. PASSIVE when it is not ASCII. */
uint16_t wvu_path_fold(uint16_t unit, bool utf16);

/* Arranges the list in memory for `count` patterns and lengths. */
void wvu_patterns_arrange(struct wvu_pattern_table *table, enum wvu_pattern_way way, bool utf16,
                          struct wvu_pattern *patterns, struct wvu_pattern_length *lengths);

typedef void (*wvu_pattern_matched)(void *context, uint32_t condition);

/* Calls `matched` for each pattern in the tables of all ways that the path matches. Any; PASSIVE where case
 * is ignored. */
void wvu_patterns_match(const struct wvu_pattern_table tables[WVU_PATTERN_WAYS],
                        const struct wvu_path *path, wvu_pattern_matched matched, void *context);

#endif
