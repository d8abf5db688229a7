/*
 * Patterns on paths. filter.c arranges them once (PASSIVE) and then matches paths from any thread: nothing
 * is locked or changed.
 *
 * A path is not compared with one pattern after the other. It is hashed once from its beginning and once from
 * its end, up to the longest pattern, in pieces: a piece ends where a pattern of some length would end. There
 * the hash is that of a pattern of this length, or the path does not match it. A whole path is hashed in one
 * piece, when a pattern is as long. So the time grows with the path and the number of patterns, but not
 * with their product, however much the patterns have in common with the path.
 *
 *     lengths of prefixes  5, 9        \ u s r / | b i n / | p e r l
 *                                      hash here   and here
 *
 * Hashes only save comparisons: what has the same hash is compared. Eight bytes or four UTF-16 units are hashed,
 * compared and upcased at a time; only units beyond ASCII are upcased one by one, by the host.
 */
#include "filter_match.h"

#include <string.h>

#define HASH_BEGIN UINT64_C(0x9e3779b97f4a7c15)
#define HASH_BY    UINT64_C(0xd6e8feb86659fd93)

/* ---- units ---------------------------------------------------------------------------------- */

uint16_t wvu_path_fold(uint16_t unit, bool utf16)
{
    if (unit < 0x80)
        return unit >= 'a' && unit <= 'z' ? (uint16_t)(unit - ('a' - 'A')) : unit;
    return utf16 ? wvu_os_upcase(unit) : unit;
}

/* Bit 7 of each lane that holds a lower case letter; all lanes are below 0x80. `one`: 1 in each lane. */
static inline uint64_t lower_lanes(uint64_t word, uint64_t one)
{
    uint64_t from_a = word + one * (0x80 - 'a');
    uint64_t after_z = word + one * (0x80 - 'z' - 1);
    return (from_a ^ after_z) & one * 0x80;
}

static inline uint64_t fold_bytes(uint64_t word)
{
    const uint64_t one = UINT64_C(0x0101010101010101);
    uint64_t ascii = ~word & one * 0x80;
    return word - ((lower_lanes(word & one * 0x7F, one) & ascii) >> 2);
}

static uint64_t fold_slowly(uint64_t word)
{
    uint16_t units[4];
    memcpy(units, &word, sizeof units);
    for (uint32_t i = 0; i < 4; i++)
        units[i] = wvu_path_fold(units[i], true);
    memcpy(&word, units, sizeof units);
    return word;
}

static inline uint64_t fold_units(uint64_t word)
{
    const uint64_t one = UINT64_C(0x0001000100010001);
    if ((word & one * 0xFF80) != 0)
        return fold_slowly(word);
    return word - (lower_lanes(word, one) >> 2);
}

static inline uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t word_units(bool utf16)
{
    return utf16 ? 4 : 8;
}

/* `count` units from `first` on, at most a word of them, folded. What is missing is 0. */
static inline uint64_t word_at(const struct wvu_path *path, uint32_t first, uint32_t count)
{
    const size_t unit = path->utf16 ? 2 : 1;
    const uint8_t *bytes = path->bytes + first * unit;
    uint64_t word = 0;
    if (count * unit == sizeof word)
        memcpy(&word, bytes, sizeof word);
    else if (path->utf16)
        for (uint32_t i = 0; i < count; i++)
            memcpy((uint8_t *)&word + i * 2, bytes + (size_t)i * 2, 2);
    else
        for (uint32_t i = 0; i < count; i++)
            memcpy((uint8_t *)&word + i, bytes + i, 1);
    if (!path->ignore_case)
        return word;
    return path->utf16 ? fold_units(word) : fold_bytes(word);
}

static inline uint64_t hash_piece(uint64_t hash, const struct wvu_path *path, uint32_t first,
                                  uint32_t count)
{
    const uint32_t step = word_units(path->utf16);
    for (uint32_t i = 0; i < count; i += step) {
        hash = (hash ^ word_at(path, first + i, lesser(step, count - i))) * HASH_BY;
        hash ^= hash >> 32;
    }
    return hash;
}

/* ---- matching ------------------------------------------------------------------------------- */

/* Does the path have the pattern's units from `first` on? */
static bool is_at(const struct wvu_pattern *pattern, const struct wvu_path *path, uint32_t first)
{
    const struct wvu_path text = {.bytes = pattern->text, .utf16 = path->utf16};
    const uint32_t step = word_units(path->utf16);
    for (uint32_t i = 0; i < pattern->units; i += step) {
        uint32_t count = lesser(step, pattern->units - i);
        if (word_at(&text, i, count) != word_at(path, first + i, count))
            return false;
    }
    return true;
}

struct listener {
    wvu_pattern_matched matched;
    void *context;
};

/* The patterns from `from` up to `to` that have this hash. */
static inline void match_some(const struct wvu_pattern *from, const struct wvu_pattern *to,
                              uint64_t hash, const struct wvu_path *path, uint32_t first,
                              const struct listener *listener)
{
    for (; from != to; from++) {
        if (from->hash == hash && is_at(from, path, first))
            listener->matched(listener->context, from->condition);
    }
}

static void match_front(const struct wvu_pattern_table *table, const struct wvu_path *path,
                        const struct listener *listener)
{
    uint64_t hash = HASH_BEGIN;
    uint32_t done = 0, begin = 0;
    for (uint32_t i = 0; i < table->lengths_count; i++) {
        const struct wvu_pattern_length *length = &table->lengths[i];
        if (length->units > path->units)
            break;
        hash = hash_piece(hash, path, done, length->units - done);
        match_some(table->patterns + begin, table->patterns + length->end, hash, path, 0, listener);
        done = length->units;
        begin = length->end;
    }
}

static void match_back(const struct wvu_pattern_table *table, const struct wvu_path *path,
                       const struct listener *listener)
{
    uint64_t hash = HASH_BEGIN;
    uint32_t done = 0, begin = 0;
    for (uint32_t i = 0; i < table->lengths_count; i++) {
        const struct wvu_pattern_length *length = &table->lengths[i];
        if (length->units > path->units)
            break;
        uint32_t first = path->units - length->units;
        hash = hash_piece(hash, path, first, length->units - done);
        match_some(table->patterns + begin, table->patterns + length->end, hash, path, first,
                   listener);
        done = length->units;
        begin = length->end;
    }
}

static void match_whole(const struct wvu_pattern_table *table, const struct wvu_path *path,
                        const struct listener *listener)
{
    uint32_t low = 0, high = table->lengths_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->lengths[middle].units < path->units)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == table->lengths_count || table->lengths[low].units != path->units)
        return;
    uint32_t begin = low != 0 ? table->lengths[low - 1].end : 0;
    match_some(table->patterns + begin, table->patterns + table->lengths[low].end,
               hash_piece(HASH_BEGIN, path, 0, path->units), path, 0, listener);
}

void wvu_patterns_match(const struct wvu_pattern_table tables[WVU_PATTERN_WAYS],
                        const struct wvu_path *path, wvu_pattern_matched matched, void *context)
{
    const struct listener listener = {matched, context};
    match_front(&tables[WVU_PATTERN_FRONT], path, &listener);
    match_back(&tables[WVU_PATTERN_BACK], path, &listener);
    match_whole(&tables[WVU_PATTERN_WHOLE], path, &listener);
}

/* ---- arranging ------------------------------------------------------------------------------ */

/* By length. Shell's sort: short, in place, and quick enough for the few thousands that there can be. */
static void sort(struct wvu_pattern *patterns, uint32_t count)
{
    uint32_t gap = 1;
    while (gap < count / 3)
        gap = gap * 3 + 1;
    for (; gap != 0; gap /= 3) {
        for (uint32_t i = gap; i < count; i++) {
            struct wvu_pattern moved = patterns[i];
            uint32_t at = i;
            for (; at >= gap && moved.units < patterns[at - gap].units; at -= gap)
                patterns[at] = patterns[at - gap];
            patterns[at] = moved;
        }
    }
}

static void find_lengths(struct wvu_pattern_table *table)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        if (found == 0 || table->lengths[found - 1].units != table->patterns[i].units)
            found++;
        table->lengths[found - 1] = (struct wvu_pattern_length){table->patterns[i].units, i + 1};
    }
    table->lengths_count = found;
}

/* The hash that a path has where it matches. */
static uint64_t hash_pattern(const struct wvu_pattern_table *table, enum wvu_pattern_way way,
                             const struct wvu_pattern *pattern, bool utf16)
{
    const struct wvu_path text = {.bytes = pattern->text, .utf16 = utf16};
    uint64_t hash = HASH_BEGIN;
    uint32_t done = 0;
    if (way == WVU_PATTERN_WHOLE)
        return hash_piece(hash, &text, 0, pattern->units);
    for (uint32_t i = 0; done != pattern->units; i++) {
        uint32_t units = table->lengths[i].units;
        uint32_t first = way == WVU_PATTERN_BACK ? pattern->units - units : done;
        hash = hash_piece(hash, &text, first, units - done);
        done = units;
    }
    return hash;
}

void wvu_patterns_arrange(struct wvu_pattern_table *table, enum wvu_pattern_way way, bool utf16,
                          struct wvu_pattern *patterns, struct wvu_pattern_length *lengths)
{
    uint32_t count = 0;
    table->patterns = patterns;
    table->lengths = lengths;
    for (const struct wvu_pattern *pattern = table->list; pattern != NULL; pattern = pattern->next)
        patterns[count++] = *pattern;
    sort(patterns, count);
    find_lengths(table);
    for (uint32_t i = 0; i < count; i++)
        patterns[i].hash = hash_pattern(table, way, &patterns[i], utf16);
}
