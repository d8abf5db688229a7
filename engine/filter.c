/*
 * The filter: rules compiled so that judging a process costs little more than reading its path.
 *
 * Making (PASSIVE, one thread): filter_text.c takes the rules apart; here each distinct condition becomes a bit,
 * and a rule the bits that it needs. A condition on an image is one or more patterns (a path and its other
 * spellings); filter_match.c keeps all patterns of a filter.
 *
 * Judging (any thread, nothing is locked or changed): the conditions that hold are found all at once, and each
 * tells the rules that need it. A rule that has all that it needs gets a bit, and only rules with a bit are
 * looked at, in order: what is paid for are the rules that hold, not those that there are.
 *
 * Memory: a filter and everything of it stands in blocks that are freed together. It never changes once it is
 * made, so any number of threads may judge by it.
 */
#include "filter.h"

#include <string.h>

#include "atomic.h"
#include "filter_match.h"
#include "filter_text.h"

#define TAG           WVU_TAG('W', 'v', 'F', 'l')
#define BLOCK_SIZE    16384u
#define SPELLINGS_MAX 8u /* of one path, besides the rule's own */
#define SPELLING_ROOM 1024u

/* At most 4 conditions of each rule are about the process itself; all others about its parent. */
#define RULE_CONDITIONS 4u
#define CONDITIONS_MAX  (RULE_CONDITIONS * WVU_FILTER_RULES_MAX + WVU_FILTER_PARENTS_MAX)
#define WORDS(bits)     (((bits) + 63u) / 64u)

struct block {
    struct block *next;
    size_t size; /* of what follows */
    size_t used;
};

struct user {
    uint64_t hash;
    size_t length;
    const char *sid; /* NULL: user_id counts */
    uint32_t user_id;
    uint32_t condition;
    struct user *next; /* while the filter is made; then they stand one after the other */
};

#define USER ((uint32_t)WVU_PATTERN_WAYS)

/* A condition while the filter is made: the same text of the same kind is the same condition. */
struct condition {
    struct wvu_word text;
    uint64_t hash;
    uint32_t kind; /* enum wvu_pattern_way, or USER */
};

struct rule {
    uint32_t action; /* enum wvu_rule_action */
    uint32_t events;
    uint32_t deny;
    bool only_path;
    const char *path; /* of image=; NULL: none */
    const char *name;
    uint32_t needs; /* conditions */
    uint16_t condition[RULE_CONDITIONS];
    uint64_t parents; /* bits of as_parent that the parent must have */
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
    uint32_t count;          /* of rules, without `default` */
    uint8_t *needs;          /* how many conditions each rule needs */
    uint64_t *unconditional; /* rules that need none: a bit each */
    struct wvu_pattern_table tables[WVU_PATTERN_WAYS];
    struct user *users;
    uint32_t user_count;
    uint32_t conditions;
    uint32_t *uses;      /* where the rules begin that need a condition; one more for the end */
    uint16_t *use_rules; /* rules, by condition */
    uint64_t *as_parent; /* by condition: its bit of wvu_verdict.as_parent, or 0 */
    uint64_t tag;        /* above the bits of as_parent; never 0 */
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

/* ---- judging -------------------------------------------------------------------------------- */

/* What is found out about one process. */
struct judgement {
    const struct wvu_filter *filter;
    uint64_t met[WORDS(CONDITIONS_MAX)];         /* conditions that hold: a bit each */
    uint64_t ready[WORDS(WVU_FILTER_RULES_MAX)]; /* rules with all conditions: a bit each */
    uint8_t missing[WVU_FILTER_RULES_MAX];       /* conditions that each rule still needs */
    uint64_t as_parent;
};

static void begin_judgement(struct judgement *judgement, const struct wvu_filter *filter)
{
    judgement->filter = filter;
    judgement->as_parent = 0;
    memset(judgement->met, 0, WORDS(filter->conditions) * sizeof judgement->met[0]);
    memcpy(judgement->ready, filter->unconditional,
           WORDS(filter->count) * sizeof judgement->ready[0]);
    memcpy(judgement->missing, filter->needs, filter->count);
}

static inline bool has_bit(const uint64_t *words, uint32_t number)
{
    return (words[number / 64] >> number % 64 & 1) != 0;
}

static inline void set_bit(uint64_t *words, uint32_t number)
{
    words[number / 64] |= UINT64_C(1) << number % 64;
}

static void meet(void *context, uint32_t condition)
{
    struct judgement *judgement = context;
    const struct wvu_filter *filter = judgement->filter;
    if (has_bit(judgement->met, condition)) /* in another spelling */
        return;
    set_bit(judgement->met, condition);
    judgement->as_parent |= filter->as_parent[condition];
    for (uint32_t i = filter->uses[condition]; i < filter->uses[condition + 1]; i++) {
        uint32_t rule = filter->use_rules[i];
        if (--judgement->missing[rule] == 0)
            set_bit(judgement->ready, rule);
    }
}

static inline char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

#define SID_END 16u

/* Of the end, where those of one system differ. */
static uint64_t hash_sid(const char *sid, size_t length)
{
    uint64_t hash = length;
    for (size_t i = length < SID_END ? 0 : length - SID_END; i < length; i++)
        hash = (hash ^ (unsigned char)upper(sid[i])) * UINT64_C(0x100000001b3);
    return hash;
}

static bool is_same_sid(const char *a, const char *b, size_t length)
{
    if (memcmp(a, b, length + 1) == 0) /* nearly always, when their hashes are the same */
        return true;
    while (*a != '\0' && upper(*a) == upper(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static void match_user(struct judgement *judgement, const struct wvu_subject *subject)
{
    const struct wvu_filter *filter = judgement->filter;
    const char *sid = subject->user_sid;
    size_t length = filter->user_count != 0 && sid != NULL ? strlen(sid) : 0;
    uint64_t hash = length != 0 ? hash_sid(sid, length) : 0;
    for (uint32_t i = 0; i < filter->user_count; i++) {
        const struct user *user = &filter->users[i];
        bool same = user->sid == NULL
                        ? subject->has_user && user->user_id == subject->user_id
                        : sid != NULL && user->length == length && user->hash == hash &&
                              is_same_sid(user->sid, sid, length);
        if (same)
            meet(judgement, user->condition);
    }
}

static void match_image(struct judgement *judgement, const void *image, uint32_t size)
{
    const struct wvu_filter *filter = judgement->filter;
    const struct wvu_path path = {.bytes = image,
                                  .units = filter->utf16 ? size / 2 : size,
                                  .utf16 = filter->utf16,
                                  .ignore_case = filter->ignore_case};
    wvu_patterns_match(filter->tables, &path, meet, judgement);
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

static void apply_ready(const struct judgement *judgement, uint64_t parent_matches,
                        struct wvu_verdict *verdict)
{
    const struct wvu_filter *filter = judgement->filter;
    uint32_t undecided = filter->events;
    for (uint32_t word = 0; word < WORDS(filter->count); word++) {
        uint64_t ready = judgement->ready[word];
        for (uint32_t i = word * 64; ready != 0; i++, ready >>= 1) {
            const struct rule *rule = &filter->rules[i];
            if ((ready & 1) != 0 && (parent_matches & rule->parents) == rule->parents)
                apply(rule, &undecided, verdict);
        }
    }
    if (!filter->includes)
        verdict->wanted &= ~undecided;
}

void wvu_filter_judge(const struct wvu_filter *filter, const struct wvu_subject *subject,
                      struct wvu_verdict *verdict)
{
    struct judgement judgement;
    bool is_ours = (subject->parent_matches & ~WVU_FILTER_PARENT_BITS) == filter->tag;
    uint64_t parent_matches = is_ours ? subject->parent_matches & WVU_FILTER_PARENT_BITS : 0;

    begin_judgement(&judgement, filter);
    if (subject->image != NULL && subject->image_size != 0 && (subject->unit == 2) == filter->utf16)
        match_image(&judgement, subject->image, subject->image_size);
    match_user(&judgement, subject);

    memset(verdict, 0, sizeof *verdict);
    verdict->wanted = WVU_WANTED_ALL;
    apply_ready(&judgement, parent_matches, verdict);
    if (judgement.as_parent != 0)
        verdict->as_parent = filter->tag | judgement.as_parent;
}

/* ---- making: conditions --------------------------------------------------------------------- */

/* What is needed only while a filter is made. */
struct maker {
    struct wvu_filter *filter;
    const struct wvu_filter_host *host;
    struct wvu_rule_reader reader;
    struct condition *conditions; /* as numbered in the filter */
    struct user *users;
    uint32_t parents;
    uint16_t parent[WVU_FILTER_PARENTS_MAX]; /* condition of each bit of as_parent */
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
            units[(*count)++] =
                ignore_case ? wvu_path_fold((uint16_t)character, true) : (uint16_t)character;
        }
    }
    return WVU_STATUS_OK;
}

static void copy_bytes(const struct maker *maker, struct wvu_word text, uint8_t *bytes)
{
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = (uint8_t)text.text[i];
        bytes[i] = maker->host->ignore_case ? (uint8_t)wvu_path_fold(byte, false) : byte;
    }
}

static wvu_status add_pattern(struct maker *maker, enum wvu_pattern_way way, uint32_t condition,
                              struct wvu_word text)
{
    struct wvu_filter *filter = maker->filter;
    struct wvu_pattern_table *table = &filter->tables[way];
    struct wvu_pattern *pattern = take(filter, sizeof *pattern);
    void *units = take(filter, text.length * (filter->utf16 ? 2 : 1));
    if (pattern == NULL || units == NULL)
        return WVU_STATUS_NO_MEMORY;
    *pattern = (struct wvu_pattern){
        .text = units, .units = (uint32_t)text.length, .condition = condition, .next = table->list};
    if (!filter->utf16)
        copy_bytes(maker, text, units);
    else if (convert(maker, text, units, &pattern->units) != WVU_STATUS_OK)
        return wvu_rule_refuse(&maker->reader, maker->line,
                               "a spelling of its path is not UTF-8: the host made it so");
    table->list = pattern;
    table->count++;
    return WVU_STATUS_OK;
}

/* The host may know the path by other names. Ends of paths have no other spelling. */
static wvu_status add_spellings(struct maker *maker, enum wvu_pattern_way way, uint32_t condition,
                                struct wvu_word text)
{
    const struct wvu_filter_host *host = maker->host;
    wvu_status status = WVU_STATUS_OK;
    if (host->spelling == NULL || way == WVU_PATTERN_BACK)
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
                          .length = text->length,
                          .user_id = rule->user_id,
                          .condition = condition,
                          .sid = maker->reader.windows ? text->text : NULL,
                          .next = maker->users};
    maker->users = user;
    maker->filter->user_count++;
    return WVU_STATUS_OK;
}

/* The number of a condition. True: it is new. */
static bool find_condition(struct maker *maker, uint32_t kind, struct wvu_word text,
                           uint32_t *number)
{
    uint64_t hash = text.length;
    for (size_t i = 0; i < text.length; i++)
        hash = (hash ^ (unsigned char)text.text[i]) * UINT64_C(0x100000001b3);
    for (*number = 0; *number < maker->filter->conditions; (*number)++) {
        const struct condition *known = &maker->conditions[*number];
        if (known->hash == hash && known->kind == kind && known->text.length == text.length &&
            memcmp(known->text.text, text.text, text.length) == 0)
            return false;
    }
    maker->conditions[*number] = (struct condition){.text = text, .hash = hash, .kind = kind};
    maker->filter->conditions++;
    return true;
}

static wvu_status add_condition(struct maker *maker, enum wvu_rule_key key,
                                const struct wvu_rule_text *rule, uint32_t *number)
{
    static const uint8_t kinds[] = {
        [WVU_RULE_IMAGE] = WVU_PATTERN_WHOLE,
        [WVU_RULE_IMAGE_PREFIX] = WVU_PATTERN_FRONT,
        [WVU_RULE_IMAGE_SUFFIX] = WVU_PATTERN_BACK,
        [WVU_RULE_PARENT] = WVU_PATTERN_WHOLE,
        [WVU_RULE_PARENT_PREFIX] = WVU_PATTERN_FRONT,
        [WVU_RULE_PARENT_SUFFIX] = WVU_PATTERN_BACK,
        [WVU_RULE_USER] = USER,
    };
    uint32_t kind = kinds[key];
    struct wvu_word text = rule->value[key];
    if (!find_condition(maker, kind, text, number))
        return WVU_STATUS_OK;
    if (kind == USER)
        return add_user(maker, *number, rule);
    wvu_status status = add_pattern(maker, (enum wvu_pattern_way)kind, *number, text);
    return status == WVU_STATUS_OK ? add_spellings(maker, (enum wvu_pattern_way)kind, *number, text)
                                   : status;
}

/* ---- making: rules -------------------------------------------------------------------------- */

/* The bit of as_parent for a condition. */
static wvu_status add_parent(struct maker *maker, uint32_t condition, uint64_t *parents)
{
    uint32_t i = 0;
    while (i < maker->parents && maker->parent[i] != condition)
        i++;
    if (i == WVU_FILTER_PARENTS_MAX)
        return wvu_rule_refuse(
            &maker->reader, maker->line,
            "there are too many different conditions on parents; 48 are the most");
    if (i == maker->parents)
        maker->parent[maker->parents++] = (uint16_t)condition;
    *parents |= UINT64_C(1) << i;
    return WVU_STATUS_OK;
}

static wvu_status add_conditions(struct maker *maker, const struct wvu_rule_text *text,
                                 struct rule *rule)
{
    for (uint32_t key = 0; key <= WVU_RULE_USER; key++) {
        bool is_parent = key >= WVU_RULE_PARENT && key <= WVU_RULE_PARENT_SUFFIX;
        uint32_t number;
        if ((text->given >> key & 1) == 0)
            continue;
        wvu_status status = add_condition(maker, (enum wvu_rule_key)key, text, &number);
        if (status == WVU_STATUS_OK && is_parent)
            status = add_parent(maker, number, &rule->parents);
        else if (status == WVU_STATUS_OK)
            rule->condition[rule->needs++] = (uint16_t)number;
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

static wvu_status arrange_users(struct maker *maker)
{
    struct wvu_filter *filter = maker->filter;
    uint32_t count = 0;
    filter->users = take(filter, filter->user_count * sizeof *filter->users);
    if (filter->users == NULL)
        return WVU_STATUS_NO_MEMORY;
    for (const struct user *user = maker->users; user != NULL; user = user->next)
        filter->users[count++] = *user;
    return WVU_STATUS_OK;
}

static wvu_status arrange(struct wvu_filter *filter, enum wvu_pattern_way way)
{
    struct wvu_pattern_table *table = &filter->tables[way];
    struct wvu_pattern *patterns = take(filter, table->count * sizeof *patterns);
    struct wvu_pattern_length *lengths = take(filter, table->count * sizeof *lengths);
    if (patterns == NULL || lengths == NULL)
        return WVU_STATUS_NO_MEMORY;
    wvu_patterns_arrange(table, way, filter->utf16, patterns, lengths);
    return WVU_STATUS_OK;
}

/* Which rules need a condition: from now on processes can be judged. */
static wvu_status link_rules(const struct maker *maker)
{
    struct wvu_filter *filter = maker->filter;
    uint32_t total = 0;
    for (uint32_t i = 0; i < filter->count; i++)
        total += filter->rules[i].needs;
    filter->needs = take(filter, filter->count);
    filter->uses = take(filter, (filter->conditions + 1) * sizeof *filter->uses);
    filter->use_rules = take(filter, total * sizeof *filter->use_rules);
    filter->as_parent = take(filter, filter->conditions * sizeof *filter->as_parent);
    filter->unconditional = take(filter, WORDS(filter->count) * sizeof *filter->unconditional);
    if (filter->needs == NULL || filter->uses == NULL || filter->use_rules == NULL ||
        filter->as_parent == NULL || filter->unconditional == NULL)
        return WVU_STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < maker->parents; i++)
        filter->as_parent[maker->parent[i]] = UINT64_C(1) << i;

    for (uint32_t i = 0; i < filter->count; i++) {
        const struct rule *rule = &filter->rules[i];
        filter->needs[i] = (uint8_t)rule->needs;
        if (rule->needs == 0)
            set_bit(filter->unconditional, i);
        for (uint32_t n = 0; n < rule->needs; n++)
            filter->uses[rule->condition[n]]++;
    }
    for (uint32_t c = 0, end = 0; c <= filter->conditions; c++) {
        end += filter->uses[c];
        filter->uses[c] = end; /* of its rules; filling them in moves it to their begin */
    }
    for (uint32_t i = 0; i < filter->count; i++) {
        const struct rule *rule = &filter->rules[i];
        for (uint32_t n = 0; n < rule->needs; n++)
            filter->use_rules[--filter->uses[rule->condition[n]]] = (uint16_t)i;
    }
    return WVU_STATUS_OK;
}

/* Could a rule say something else about a program with this path: an earlier deny rule, or a protect rule? */
static bool is_disputed(const struct wvu_filter *filter, uint32_t rule,
                        const struct wvu_pattern *path)
{
    struct judgement judgement;
    begin_judgement(&judgement, filter);
    match_image(&judgement, path->text, path->units * (filter->utf16 ? 2 : 1));
    for (uint32_t i = 0; i < filter->user_count; i++)
        meet(&judgement, filter->users[i].condition);
    for (uint32_t i = 0; i < filter->count; i++) {
        uint32_t action = filter->rules[i].action;
        bool counts = action == WVU_RULE_PROTECT || (action == WVU_RULE_DENY && i < rule);
        if (counts && has_bit(judgement.ready, i)) /* whoever its parent is */
            return true;
    }
    return false;
}

static void settle_denied(struct wvu_filter *filter)
{
    const struct wvu_pattern_table *whole = &filter->tables[WVU_PATTERN_WHOLE];
    for (uint32_t i = 0; i < filter->count; i++) {
        struct rule *rule = &filter->rules[i];
        if (rule->action != WVU_RULE_DENY)
            continue;
        for (uint32_t p = 0; p < whole->count && rule->only_path; p++) {
            if (whole->patterns[p].condition == rule->condition[0])
                rule->only_path = !is_disputed(filter, i, &whole->patterns[p]);
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
                               .events = wvu_rule_events()};
    uint32_t rules = count_of(text, length, '\n') + 1;
    rules = rules < WVU_FILTER_RULES_MAX ? rules : WVU_FILTER_RULES_MAX;
    size_t size = sizeof blank + rules * sizeof(struct rule) + 2 * (length + 1) +
                  64; /* and what alignment takes */
    blank.blocks = add_block(NULL, size);
    if (blank.blocks == NULL)
        return NULL;
    struct wvu_filter *filter = take(&blank, sizeof *filter);
    blank.rules = take(&blank, rules * sizeof(struct rule));
    blank.text = take(&blank, length + 1);
    *words = take(&blank, length + 1);
    if (filter == NULL || blank.rules == NULL || blank.text == NULL || *words == NULL) {
        wvu_filter_destroy(&blank);
        return NULL;
    }
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
    for (uint32_t way = 0; way < WVU_PATTERN_WAYS && status == WVU_STATUS_OK; way++)
        status = arrange(filter, (enum wvu_pattern_way)way);
    if (status == WVU_STATUS_OK)
        status = arrange_users(maker);
    if (status == WVU_STATUS_OK)
        status = link_rules(maker);
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

/* Another one than that of the filters before; 65,535 filters must be made before one comes again. */
static uint64_t next_tag(void)
{
    static uint64_t made;
    return (wvu_add64_relaxed(&made, 1) % 0xFFFF + 1) << WVU_FILTER_PARENTS_MAX;
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
    maker.filter->tag = next_tag();
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
