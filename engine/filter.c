/*
 * The filter: rules compiled so that judging a process costs about as much as reading its path twice.
 *
 * Making (PASSIVE, one thread): filter_text.c takes the rules apart; here each distinct condition becomes a bit,
 * and a rule the bits that it needs. A condition on an image is one or more patterns (a path and its other
 * spellings); all patterns of a filter stand in three tables.
 *
 * Judging (any thread, nothing is locked or changed): a path is walked once from its beginning and once from
 * its end, at most as far as the longest pattern, with a running hash. Where the hash of a pattern of just
 * this length is met, the pattern is compared. So the time grows with the path and with the number of rules,
 * but not with their product, however much the paths in the rules have in common. What matched sets bits;
 * rules are then decided in order by testing theirs.
 *
 *     front    prefixes, by length       hash of the units from the beginning
 *     back     suffixes, by length       hash of the units from the end
 *     whole    exact paths, by hash      hash of the units from the beginning
 *
 * A unit is a byte, or a UTF-16 unit; where the host ignores case, units are upcased first, in patterns and
 * paths alike. Hashes only save comparisons: nothing depends on two texts having different ones.
 *
 * Memory: a filter and everything of it stands in blocks that are freed together. It never changes once it is
 * made, so any number of threads may judge by it.
 */
#include "filter.h"

#include <string.h>

#include "filter_text.h"
#include "record.h"

#define TAG           WVU_TAG('W', 'v', 'F', 'l')
#define BLOCK_SIZE    16384u
#define SPELLINGS_MAX 8u /* of one path, besides the rule's own */
#define SPELLING_ROOM 1024u

/* Bits of conditions: 0 always holds; at most 4 of each rule, and those of parents. */
#define ALWAYS         0u
#define RULE_BITS      4u
#define CONDITIONS_MAX (1u + RULE_BITS * WVU_FILTER_RULES_MAX + WVU_FILTER_PARENTS_MAX)
#define WORDS_MAX      ((CONDITIONS_MAX + 63u) / 64u)

struct block {
    struct block *next;
    size_t size; /* of what follows */
    size_t used;
};

enum way { FRONT, BACK, WHOLE, WAYS };

struct pattern {
    uint64_t hash;
    uint32_t units;
    uint32_t condition;
    const void *text;
    struct pattern *next; /* while the filter is made */
};

struct table {
    struct pattern *patterns;
    uint32_t count;
    uint32_t shortest;
    uint32_t longest;
    struct pattern *first; /* while the filter is made */
};

struct user {
    uint64_t hash;
    uint32_t user_id;
    uint32_t condition;
    const char *sid; /* NULL: user_id counts */
    struct user *next;
};

/* A condition while the filter is made: the same text of the same kind is the same condition. */
struct condition {
    struct wvu_word text;
    uint64_t hash;
    uint32_t kind; /* enum way, or WAYS: a user */
};

struct rule {
    uint32_t action; /* enum wvu_rule_action */
    uint32_t events;
    uint64_t parents; /* bits of as_parent that the parent must have */
    uint16_t bits[RULE_BITS];
    uint32_t deny;
    bool only_path;
    const char *path; /* of image=; NULL: none */
    const char *name;
};

struct wvu_filter {
    struct block *blocks;
    char *text;
    size_t length;
    bool utf16;
    bool ignore_case;
    bool includes;    /* what no rule decides */
    uint32_t events;  /* that rules can name */
    uint32_t written; /* rules of the text, `default` too */
    struct rule *rules;
    uint32_t count; /* without `default` */
    struct table tables[WAYS];
    struct user *users;
    uint32_t conditions;
    uint32_t parents;
    uint16_t parent[WVU_FILTER_PARENTS_MAX]; /* condition of each bit of as_parent */
};

/* ---- memory --------------------------------------------------------------------------------- */

static struct block *add_block(struct block *next, size_t size)
{
    struct block *block = wvu_os_alloc(sizeof *block + size, TAG);
    if (block != NULL)
        *block = (struct block){.next = next, .size = size};
    return block;
}

/* Zeroed, aligned for everything here; NULL when there is none. It goes with the filter. */
static void *take(struct wvu_filter *filter, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    struct block *block = filter->blocks;
    if (block->size - block->used < size) {
        block = add_block(block, size > BLOCK_SIZE ? size : BLOCK_SIZE);
        if (block == NULL)
            return NULL;
        filter->blocks = block;
    }
    void *taken = (char *)(block + 1) + block->used;
    block->used += size;
    return taken;
}

void wvu_filter_destroy(struct wvu_filter *filter)
{
    struct block *block = filter != NULL ? filter->blocks : NULL;
    while (block != NULL) { /* the last one holds the filter itself */
        struct block *next = block->next;
        wvu_os_free(block, TAG);
        block = next;
    }
}

/* ---- units and hashes ----------------------------------------------------------------------- */

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)

static inline uint64_t hash_unit(uint64_t hash, uint32_t unit)
{
    return (hash ^ unit) * UINT64_C(0x100000001b3);
}

static inline uint32_t fold(uint32_t unit, bool utf16)
{
    if (unit < 0x80)
        return unit - 'a' < 26u ? unit - ('a' - 'A') : unit;
    return utf16 ? wvu_os_upcase((uint16_t)unit) : unit;
}

/* A path as a filter walks it. */
struct path {
    const uint8_t *bytes;
    uint32_t units;
    bool utf16;
    bool ignore_case;
};

static inline uint32_t unit_at(const struct path *path, uint32_t index)
{
    uint16_t wide;
    uint32_t unit;
    if (path->utf16) {
        memcpy(&wide, path->bytes + (size_t)index * 2, sizeof wide);
        unit = wide;
    } else {
        unit = path->bytes[index];
    }
    return path->ignore_case ? fold(unit, path->utf16) : unit;
}

static uint64_t hash_sid(const char *sid, size_t length)
{
    uint64_t hash = HASH_BEGIN;
    for (size_t i = 0; i < length; i++)
        hash = hash_unit(hash, fold((unsigned char)sid[i], false));
    return hash;
}

/* ---- judging -------------------------------------------------------------------------------- */

static inline void set_bit(uint64_t *bits, uint32_t bit)
{
    bits[bit / 64] |= UINT64_C(1) << bit % 64;
}

static inline bool has_bit(const uint64_t *bits, uint32_t bit)
{
    return (bits[bit / 64] >> bit % 64 & 1) != 0;
}

/* Does the path have the pattern's units from `first` on? Patterns are folded already. */
static bool is_at(const struct pattern *pattern, const struct path *path, uint32_t first)
{
    const struct path text = {.bytes = pattern->text, .utf16 = path->utf16};
    for (uint32_t i = 0; i < pattern->units; i++) {
        if (unit_at(&text, i) != unit_at(path, first + i))
            return false;
    }
    return true;
}

static void match_whole(const struct table *table, const struct path *path, uint64_t hash,
                        uint64_t *bits)
{
    uint32_t low = 0, high = table->count;
    while (low < high) { /* the first one with this hash */
        uint32_t middle = low + (high - low) / 2;
        if (table->patterns[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < table->count && table->patterns[low].hash == hash; low++) {
        const struct pattern *pattern = &table->patterns[low];
        if (pattern->units == path->units && is_at(pattern, path, 0))
            set_bit(bits, pattern->condition);
    }
}

static inline bool can_be_whole(const struct table *table, uint32_t units)
{
    return table->count != 0 && units >= table->shortest && units <= table->longest;
}

static inline uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void match_front(const struct wvu_filter *filter, const struct path *path, uint64_t *bits)
{
    const struct table *table = &filter->tables[FRONT];
    const struct pattern *pattern = table->patterns, *end = pattern + table->count;
    bool whole = can_be_whole(&filter->tables[WHOLE], path->units);
    uint32_t limit = whole ? path->units : lesser(path->units, table->longest);
    uint64_t hash = HASH_BEGIN;
    for (uint32_t i = 0; i < limit;) {
        hash = hash_unit(hash, unit_at(path, i++));
        for (; pattern != end && pattern->units == i; pattern++) {
            if (pattern->hash == hash && is_at(pattern, path, 0))
                set_bit(bits, pattern->condition);
        }
    }
    if (whole)
        match_whole(&filter->tables[WHOLE], path, hash, bits);
}

static void match_back(const struct wvu_filter *filter, const struct path *path, uint64_t *bits)
{
    const struct table *table = &filter->tables[BACK];
    const struct pattern *pattern = table->patterns, *end = pattern + table->count;
    uint32_t limit = lesser(path->units, table->longest);
    uint64_t hash = HASH_BEGIN;
    for (uint32_t i = 0; i < limit;) {
        hash = hash_unit(hash, unit_at(path, path->units - ++i));
        for (; pattern != end && pattern->units == i; pattern++) {
            if (pattern->hash == hash && is_at(pattern, path, path->units - i))
                set_bit(bits, pattern->condition);
        }
    }
}

static bool is_same_sid(const char *a, const char *b)
{
    while (*a != '\0' && fold((unsigned char)*a, false) == fold((unsigned char)*b, false)) {
        a++;
        b++;
    }
    return *a == *b;
}

static void match_user(const struct wvu_filter *filter, const struct wvu_subject *subject,
                       uint64_t *bits)
{
    const char *sid = subject->user_sid;
    uint64_t hash = filter->users != NULL && sid != NULL ? hash_sid(sid, strlen(sid)) : 0;
    for (const struct user *user = filter->users; user != NULL; user = user->next) {
        bool same = user->sid != NULL
                        ? sid != NULL && user->hash == hash && is_same_sid(user->sid, sid)
                        : subject->has_user && user->user_id == subject->user_id;
        if (same)
            set_bit(bits, user->condition);
    }
}

static void match_image(const struct wvu_filter *filter, const void *image, uint32_t size,
                        uint64_t *bits)
{
    const struct path path = {.bytes = image,
                              .units = filter->utf16 ? size / 2 : size,
                              .utf16 = filter->utf16,
                              .ignore_case = filter->ignore_case};
    match_front(filter, &path, bits);
    match_back(filter, &path, bits);
}

static inline bool holds(const struct rule *rule, const uint64_t *bits, uint64_t parent_matches)
{
    return has_bit(bits, rule->bits[0]) && has_bit(bits, rule->bits[1]) &&
           has_bit(bits, rule->bits[2]) && has_bit(bits, rule->bits[3]) &&
           (parent_matches & rule->parents) == rule->parents;
}

static void apply(const struct rule *rule, uint32_t *undecided, struct wvu_verdict *verdict)
{
    switch (rule->action) {
    case WVU_RULE_INCLUDE:
        *undecided &= ~rule->events;
        break;
    case WVU_RULE_EXCLUDE:
        verdict->wanted &= ~(*undecided & rule->events);
        *undecided &= ~rule->events;
        break;
    case WVU_RULE_PROTECT:
        verdict->is_protected = true;
        break;
    default: /* deny */
        if (verdict->deny == WVU_DENY_NONE) {
            verdict->deny = rule->deny;
            memcpy(verdict->rule, rule->name, strlen(rule->name) + 1);
        }
    }
}

void wvu_filter_judge(const struct wvu_filter *filter, const struct wvu_subject *subject,
                      struct wvu_verdict *verdict)
{
    uint64_t bits[WORDS_MAX];
    uint32_t undecided = filter->events;

    memset(bits, 0, (filter->conditions + 63) / 64 * sizeof bits[0]);
    set_bit(bits, ALWAYS);
    if (subject->image != NULL && subject->image_size != 0 && (subject->unit == 2) == filter->utf16)
        match_image(filter, subject->image, subject->image_size, bits);
    match_user(filter, subject, bits);

    memset(verdict, 0, sizeof *verdict);
    verdict->wanted = WVU_WANTED_ALL;
    for (uint32_t i = 0; i < filter->count; i++) {
        if (holds(&filter->rules[i], bits, subject->parent_matches))
            apply(&filter->rules[i], &undecided, verdict);
    }
    if (!filter->includes)
        verdict->wanted &= ~undecided;
    for (uint32_t i = 0; i < filter->parents; i++) {
        if (has_bit(bits, filter->parent[i]))
            verdict->as_parent |= UINT64_C(1) << i;
    }
}

/* ---- making: conditions --------------------------------------------------------------------- */

/* What is needed only while a filter is made. */
struct maker {
    struct wvu_filter *filter;
    const struct wvu_filter_host *host;
    struct wvu_rule_reader reader;
    struct condition *conditions; /* by their bit; bit 0 is ALWAYS */
    char *spelling;
    size_t spelling_size;
    uint32_t line; /* of the rule */
};

/* The text as units of the host, folded. INVALID_PARAMETER: it is not UTF-8. */
static wvu_status convert(const struct maker *maker, struct wvu_word text, uint16_t *units,
                          uint32_t *count)
{
    bool ignore_case = maker->host->ignore_case;
    *count = 0;
    while (text.length != 0) {
        uint32_t character;
        if (!wvu_utf8_next(&text, &character))
            return WVU_STATUS_INVALID_PARAMETER;
        if (character >= 0x10000) {
            units[(*count)++] = (uint16_t)(0xD800 + ((character - 0x10000) >> 10));
            units[(*count)++] = (uint16_t)(0xDC00 + (character & 0x3FF));
        } else {
            units[(*count)++] = (uint16_t)(ignore_case ? fold(character, true) : character);
        }
    }
    return WVU_STATUS_OK;
}

static void copy_bytes(const struct maker *maker, struct wvu_word text, uint8_t *bytes)
{
    for (size_t i = 0; i < text.length; i++) {
        uint32_t byte = (unsigned char)text.text[i];
        bytes[i] = (uint8_t)(maker->host->ignore_case ? fold(byte, false) : byte);
    }
}

static uint64_t hash_pattern(const struct pattern *pattern, bool utf16, enum way way)
{
    const struct path path = {.bytes = pattern->text, .utf16 = utf16};
    uint64_t hash = HASH_BEGIN;
    for (uint32_t i = 0; i < pattern->units; i++)
        hash = hash_unit(hash, unit_at(&path, way == BACK ? pattern->units - 1 - i : i));
    return hash;
}

static wvu_status add_pattern(struct maker *maker, enum way way, uint32_t condition,
                              struct wvu_word text)
{
    struct wvu_filter *filter = maker->filter;
    struct table *table = &filter->tables[way];
    struct pattern *pattern = take(filter, sizeof *pattern);
    void *units = take(filter, text.length * (filter->utf16 ? 2 : 1));
    if (pattern == NULL || units == NULL)
        return WVU_STATUS_NO_MEMORY;
    *pattern = (struct pattern){.units = (uint32_t)text.length,
                                .condition = condition,
                                .text = units,
                                .next = table->first};
    if (!filter->utf16)
        copy_bytes(maker, text, units);
    else if (convert(maker, text, units, &pattern->units) != WVU_STATUS_OK)
        return wvu_rule_refuse(&maker->reader, maker->line,
                               "a spelling of its path is not UTF-8: the host made it so");
    pattern->hash = hash_pattern(pattern, filter->utf16, way);
    table->first = pattern;
    table->count++;
    return WVU_STATUS_OK;
}

/* The host may know the path by other names. Ends of paths have no other spelling. */
static wvu_status add_spellings(struct maker *maker, enum way way, uint32_t condition,
                                struct wvu_word text)
{
    const struct wvu_filter_host *host = maker->host;
    wvu_status status = WVU_STATUS_OK;
    if (host->spelling == NULL || way == BACK)
        return status;
    for (uint32_t i = 0; i < SPELLINGS_MAX && status == WVU_STATUS_OK; i++) {
        size_t length = host->spelling(host->context, text.text, text.length, i, maker->spelling,
                                       maker->spelling_size);
        if (length == 0)
            break;
        if (length > maker->spelling_size)
            return wvu_rule_refuse(&maker->reader, maker->line, "a path is too long");
        status = add_pattern(maker, way, condition, (struct wvu_word){maker->spelling, length});
    }
    return status;
}

static wvu_status add_user(struct maker *maker, uint32_t condition,
                           const struct wvu_rule_text *rule)
{
    struct user *user = take(maker->filter, sizeof *user);
    const struct wvu_word *text = &rule->value[WVU_RULE_USER];
    if (user == NULL)
        return WVU_STATUS_NO_MEMORY;
    *user = (struct user){.hash = hash_sid(text->text, text->length),
                          .user_id = rule->user_id,
                          .condition = condition,
                          .sid = maker->reader.windows ? text->text : NULL,
                          .next = maker->filter->users};
    maker->filter->users = user;
    return WVU_STATUS_OK;
}

/* The bit of a condition. True: it is new. */
static bool find_condition(struct maker *maker, uint32_t kind, struct wvu_word text, uint32_t *bit)
{
    uint64_t hash = HASH_BEGIN;
    for (size_t i = 0; i < text.length; i++)
        hash = hash_unit(hash, (unsigned char)text.text[i]);
    for (*bit = ALWAYS + 1; *bit < maker->filter->conditions; (*bit)++) {
        const struct condition *known = &maker->conditions[*bit];
        if (known->hash == hash && known->kind == kind && known->text.length == text.length &&
            memcmp(known->text.text, text.text, text.length) == 0)
            return false;
    }
    maker->conditions[*bit] = (struct condition){.text = text, .hash = hash, .kind = kind};
    maker->filter->conditions++;
    return true;
}

static wvu_status add_condition(struct maker *maker, enum wvu_rule_key key,
                                const struct wvu_rule_text *rule, uint32_t *bit)
{
    static const uint8_t kinds[] = {
        [WVU_RULE_IMAGE] = WHOLE,         [WVU_RULE_IMAGE_PREFIX] = FRONT,
        [WVU_RULE_IMAGE_SUFFIX] = BACK,   [WVU_RULE_PARENT] = WHOLE,
        [WVU_RULE_PARENT_PREFIX] = FRONT, [WVU_RULE_PARENT_SUFFIX] = BACK,
        [WVU_RULE_USER] = WAYS,
    };
    uint32_t kind = kinds[key];
    struct wvu_word text = rule->value[key];
    if (!find_condition(maker, kind, text, bit))
        return WVU_STATUS_OK;
    if (kind == WAYS)
        return add_user(maker, *bit, rule);
    wvu_status status = add_pattern(maker, (enum way)kind, *bit, text);
    return status == WVU_STATUS_OK ? add_spellings(maker, (enum way)kind, *bit, text) : status;
}

/* ---- making: rules -------------------------------------------------------------------------- */

/* The bit of as_parent for a condition. */
static wvu_status add_parent(struct maker *maker, uint32_t condition, uint64_t *parents)
{
    struct wvu_filter *filter = maker->filter;
    uint32_t i = 0;
    while (i < filter->parents && filter->parent[i] != condition)
        i++;
    if (i == WVU_FILTER_PARENTS_MAX)
        return wvu_rule_refuse(
            &maker->reader, maker->line,
            "there are too many different conditions on parents; 64 are the most");
    if (i == filter->parents)
        filter->parent[filter->parents++] = (uint16_t)condition;
    *parents |= UINT64_C(1) << i;
    return WVU_STATUS_OK;
}

static wvu_status add_conditions(struct maker *maker, const struct wvu_rule_text *text,
                                 struct rule *rule)
{
    uint32_t bits = 0;
    for (uint32_t key = 0; key <= WVU_RULE_USER; key++) {
        bool is_parent = key >= WVU_RULE_PARENT && key <= WVU_RULE_PARENT_SUFFIX;
        uint32_t bit;
        if ((text->given >> key & 1) == 0)
            continue;
        wvu_status status = add_condition(maker, (enum wvu_rule_key)key, text, &bit);
        if (status == WVU_STATUS_OK && is_parent)
            status = add_parent(maker, bit, &rule->parents);
        else if (status == WVU_STATUS_OK)
            rule->bits[bits++] = (uint16_t)bit;
        if (status != WVU_STATUS_OK)
            return status;
    }
    return WVU_STATUS_OK;
}

/* What the rule is called; its line when it has no name. NULL: no memory. */
static const char *name_of(struct maker *maker, const struct wvu_rule_text *text)
{
    struct wvu_builder builder;
    if ((text->given >> WVU_RULE_NAME & 1) != 0)
        return text->value[WVU_RULE_NAME].text;
    char *name = take(maker->filter, 16);
    if (name != NULL) {
        wvu_build_begin(&builder, name, 16);
        wvu_build_text(&builder, "line ");
        wvu_build_number(&builder, text->line);
    }
    return name;
}

static wvu_status add_rule(struct maker *maker, const struct wvu_rule_text *text)
{
    struct wvu_filter *filter = maker->filter;
    const uint32_t only_image = 1u << WVU_RULE_IMAGE;
    const uint32_t conditions = (1u << (WVU_RULE_USER + 1)) - 1;
    struct rule *rule = &filter->rules[filter->count];
    maker->line = text->line;
    *rule = (struct rule){.action = text->action, .events = text->events, .deny = text->deny};
    rule->name = name_of(maker, text);
    if (rule->name == NULL)
        return WVU_STATUS_NO_MEMORY;
    if ((text->given & only_image) != 0)
        rule->path = text->value[WVU_RULE_IMAGE].text;
    rule->only_path = (text->given & conditions) == only_image;
    filter->count++;
    return add_conditions(maker, text, rule);
}

static wvu_status add_rules(struct maker *maker)
{
    struct wvu_rule_text text;
    wvu_status status;
    while ((status = wvu_rule_next(&maker->reader, &text)) == WVU_STATUS_OK &&
           text.action != WVU_RULE_NONE) {
        if (text.action == WVU_RULE_DEFAULT)
            maker->filter->includes = text.includes;
        else
            status = add_rule(maker, &text);
        if (status != WVU_STATUS_OK)
            break;
    }
    maker->filter->written = maker->reader.rules;
    return status;
}

/* ---- making: tables ------------------------------------------------------------------------- */

static bool is_before(const struct pattern *a, const struct pattern *b, enum way way)
{
    return way == WHOLE ? a->hash < b->hash : a->units < b->units;
}

/* Shell's: short, in place, and quick enough for the few thousands that there can be. */
static void sort(struct table *table, enum way way)
{
    uint32_t gap = 1;
    while (gap < table->count / 3)
        gap = gap * 3 + 1;
    for (; gap != 0; gap /= 3) {
        for (uint32_t i = gap; i < table->count; i++) {
            struct pattern moved = table->patterns[i];
            uint32_t at = i;
            for (; at >= gap && is_before(&moved, &table->patterns[at - gap], way); at -= gap)
                table->patterns[at] = table->patterns[at - gap];
            table->patterns[at] = moved;
        }
    }
}

static wvu_status make_table(struct wvu_filter *filter, enum way way)
{
    struct table *table = &filter->tables[way];
    uint32_t i = 0;
    if (table->count == 0)
        return WVU_STATUS_OK;
    table->patterns = take(filter, table->count * sizeof *table->patterns);
    if (table->patterns == NULL)
        return WVU_STATUS_NO_MEMORY;
    table->shortest = UINT32_MAX;
    for (const struct pattern *pattern = table->first; pattern != NULL; pattern = pattern->next) {
        table->patterns[i++] = *pattern;
        table->shortest = lesser(table->shortest, pattern->units);
        table->longest = pattern->units > table->longest ? pattern->units : table->longest;
    }
    sort(table, way);
    return WVU_STATUS_OK;
}

/* Could a rule say something else about a program with this path: an earlier deny rule, or a protect rule? */
static bool is_disputed(const struct wvu_filter *filter, const struct rule *rule,
                        const struct pattern *path)
{
    uint64_t bits[WORDS_MAX] = {0};
    set_bit(bits, ALWAYS);
    match_image(filter, path->text, path->units * (filter->utf16 ? 2 : 1), bits);
    for (const struct user *user = filter->users; user != NULL; user = user->next)
        set_bit(bits, user->condition);
    for (uint32_t i = 0; i < filter->count; i++) {
        const struct rule *other = &filter->rules[i];
        bool counts =
            other->action == WVU_RULE_PROTECT || (other->action == WVU_RULE_DENY && other < rule);
        if (counts && holds(other, bits, UINT64_MAX))
            return true;
    }
    return false;
}

static void settle_denied(struct wvu_filter *filter)
{
    const struct table *whole = &filter->tables[WHOLE];
    for (uint32_t i = 0; i < filter->count; i++) {
        struct rule *rule = &filter->rules[i];
        for (uint32_t p = 0; p < whole->count && rule->action == WVU_RULE_DENY && rule->only_path;
             p++) {
            if (whole->patterns[p].condition == rule->bits[0])
                rule->only_path = !is_disputed(filter, rule, &whole->patterns[p]);
        }
    }
}

/* ---- making --------------------------------------------------------------------------------- */

static uint32_t count_of(const char *text, size_t length, char c)
{
    uint32_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += text[i] == c ? 1u : 0u;
    return count;
}

/* The filter itself, in its first block, with room for what its text can hold. */
static struct wvu_filter *begin(const char *text, size_t length, const struct wvu_filter_host *host,
                                char **words)
{
    struct wvu_filter blank = {.length = length,
                               .utf16 = host->utf16,
                               .ignore_case = host->ignore_case,
                               .includes = true,
                               .events = wvu_rule_events(),
                               .conditions = ALWAYS + 1};
    uint32_t rules = lesser(count_of(text, length, '\n') + 1, WVU_FILTER_RULES_MAX);
    size_t size = sizeof blank + rules * sizeof(struct rule) + 2 * (length + 1) + 32;
    blank.blocks = add_block(NULL, size);
    if (blank.blocks == NULL)
        return NULL;
    struct wvu_filter *filter = take(&blank, sizeof *filter);
    blank.rules = take(&blank, rules * sizeof(struct rule));
    blank.text = take(&blank, length + 1);
    *words = take(&blank, length + 1);
    if (length != 0) {
        memcpy(blank.text, text, length);
        memcpy(*words, text, length);
    }
    *filter = blank;
    return filter;
}

static wvu_status make(struct maker *maker)
{
    struct wvu_filter *filter = maker->filter;
    wvu_status status = add_rules(maker);
    for (uint32_t way = 0; way < WAYS && status == WVU_STATUS_OK; way++)
        status = make_table(filter, (enum way)way);
    if (status == WVU_STATUS_OK)
        settle_denied(filter);
    return status;
}

static void say(char *reason, const char *text)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, reason, 256);
    wvu_build_text(&builder, text);
}

wvu_status wvu_filter_create(const char *text, size_t length, const struct wvu_filter_host *host,
                             struct wvu_filter **filter, char *reason)
{
    struct maker maker = {.host = host};
    wvu_status status = WVU_STATUS_NO_MEMORY;
    *filter = NULL;
    reason[0] = '\0';
    if (length > WVU_FILTER_TEXT_MAX) {
        say(reason, "the rules are too long; 65472 bytes are the most");
        return WVU_STATUS_INVALID_PARAMETER;
    }
    maker.reader =
        (struct wvu_rule_reader){.length = length, .windows = host->utf16, .reason = reason};
    maker.filter = begin(text, length, host, &maker.reader.text);
    if (maker.filter == NULL)
        goto done;
    maker.spelling_size = length + SPELLING_ROOM;
    maker.spelling = wvu_os_alloc(maker.spelling_size, TAG);
    if (maker.spelling == NULL)
        goto free_filter;
    maker.conditions =
        wvu_os_alloc((count_of(text, length, '=') + 1) * sizeof *maker.conditions, TAG);
    if (maker.conditions == NULL)
        goto free_spelling;
    status = make(&maker);
    wvu_os_free(maker.conditions, TAG);
free_spelling:
    wvu_os_free(maker.spelling, TAG);
free_filter:
    if (status == WVU_STATUS_OK)
        *filter = maker.filter;
    else
        wvu_filter_destroy(maker.filter);
done:
    if (status == WVU_STATUS_NO_MEMORY)
        say(reason, "there is no memory for the rules");
    return status;
}

/* ---- what it says --------------------------------------------------------------------------- */

const char *wvu_filter_text(const struct wvu_filter *filter, size_t *length)
{
    *length = filter->length;
    return filter->text;
}

uint32_t wvu_filter_rules(const struct wvu_filter *filter)
{
    return filter->written;
}

bool wvu_filter_denied_at(const struct wvu_filter *filter, uint32_t index,
                          struct wvu_filter_denied *denied)
{
    for (uint32_t i = 0; i < filter->count; i++) {
        const struct rule *rule = &filter->rules[i];
        if (rule->action != WVU_RULE_DENY || rule->path == NULL || index-- != 0)
            continue;
        *denied = (struct wvu_filter_denied){.path = rule->path,
                                             .deny = rule->deny,
                                             .only_path = rule->only_path,
                                             .rule = rule->name};
        return true;
    }
    return false;
}
