/*
 * Any bytes as rules: taken whole or refused with a reason that people can read; and what was taken judges any
 * path the same each time, and with comments around it.
 *
 * Input: flags (1: UTF-16, 2: ignoring case, 4: paths have other spellings), length of a path, the path, rules.
 */
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "filter_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

/* ---- the host: os.h, as far as the filter asks for it ------------------------------------------------------- */

static uint64_t live;

void *wvu_os_alloc(size_t size, uint32_t tag)
{
    (void)tag;
    live++;
    return calloc(1, size != 0 ? size : 1);
}

void wvu_os_free(void *memory, uint32_t tag)
{
    (void)tag;
    live -= memory != NULL;
    free(memory);
}

uint16_t wvu_os_upcase(uint16_t unit)
{
    return unit >= 0xE0 && unit < 0xFF ? (uint16_t)(unit - 0x20) : unit;
}

static size_t spell(void *context, const char *path, size_t length, uint32_t index, char *out,
                    size_t capacity)
{
    (void)context;
    if (index > 2 || length + 1 > capacity)
        return 0;
    memcpy(out, path, length);
    out[length] = (char)('0' + index);
    return length + 1;
}

/* ---- what must be true ---------------------------------------------------------------------------------------- */

static void check_reason(const char *reason)
{
    const char *end = memchr(reason, '\0', 256);
    struct wvu_word rest;
    uint32_t character;

    require(end != NULL);
    rest = (struct wvu_word){reason, (size_t)(end - reason)};
    require(strncmp(reason, "line ", 5) == 0 || strncmp(reason, "the rules are too long", 22) == 0);
    while (rest.length != 0)
        require(wvu_utf8_next(&rest, &character) && character >= 0x20);
}

/* The bits of as_parent that stand for conditions; others may differ from filter to filter. */
#define PARENT_BITS (((UINT64_C(1) << (WVU_FILTER_PARENTS_MAX - 1)) << 1) - 1)

/* A process whose parent ran the same program. */
static struct wvu_verdict judge(const struct wvu_filter *filter, const struct wvu_subject *subject)
{
    struct wvu_subject child = *subject;
    struct wvu_verdict verdict;
    wvu_filter_judge(filter, subject, &verdict);
    child.parent_matches = verdict.as_parent;
    wvu_filter_judge(filter, &child, &verdict);
    require(verdict.as_parent == child.parent_matches);
    require(verdict.deny <= WVU_DENY_ENFORCE);
    require(memchr(verdict.rule, '\0', sizeof verdict.rule) != NULL);
    require((verdict.deny != WVU_DENY_NONE) == (verdict.rule[0] != '\0'));
    verdict.as_parent &= PARENT_BITS;
    return verdict;
}

static void check_denied(const struct wvu_filter *filter)
{
    struct wvu_filter_denied denied;
    uint32_t count = 0;
    while (wvu_filter_denied_at(filter, count, &denied)) {
        require(denied.path[0] != '\0' && denied.rule[0] != '\0' && denied.deny != WVU_DENY_NONE);
        count++;
    }
    require(count <= wvu_filter_rules(filter));
}

/* The same rules with comments after them. */
static void check_with_comments(const struct wvu_filter *filter, const struct wvu_filter_host *host,
                                const struct wvu_subject *subject)
{
    static const char comments[] = "\n\n \t# include image=\"\n#";
    static char text[WVU_FILTER_TEXT_MAX];
    const struct wvu_verdict expected = judge(filter, subject);
    struct wvu_filter *again;
    char reason[256];
    size_t length;
    const char *rules = wvu_filter_text(filter, &length);

    if (length + sizeof comments > sizeof text)
        return;
    memcpy(text, rules, length);
    memcpy(text + length, comments, sizeof comments - 1);
    require(wvu_filter_create(text, length + sizeof comments - 1, host, &again, reason) ==
            WVU_STATUS_OK);
    const struct wvu_verdict verdict = judge(again, subject);
    require(memcmp(&verdict, &expected, sizeof verdict) == 0);
    require(wvu_filter_rules(again) == wvu_filter_rules(filter));
    wvu_filter_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size < 2u + data[1])
        return 0;
    const struct wvu_filter_host host = {.utf16 = (data[0] & 1) != 0,
                                         .ignore_case = (data[0] & 2) != 0,
                                         .spelling = (data[0] & 4) != 0 ? spell : NULL};
    const struct wvu_subject subject = {.image = data + 2,
                                        .image_size = data[1],
                                        .unit = host.utf16 ? 2 : 1,
                                        .has_user = (data[0] & 8) != 0,
                                        .user_id = data[0],
                                        .user_sid = (data[0] & 16) != 0 ? "S-1-5-18" : NULL};
    const char *text = (const char *)data + 2 + data[1];
    const size_t length = size - 2 - data[1];
    struct wvu_filter *filter;
    char reason[256];

    wvu_status status = wvu_filter_create(text, length, &host, &filter, reason);
    if (status == WVU_STATUS_OK) {
        size_t kept;
        require(memcmp(wvu_filter_text(filter, &kept), text, length) == 0 && kept == length);
        check_denied(filter);
        check_with_comments(filter, &host, &subject);
    } else {
        require(status == WVU_STATUS_INVALID_PARAMETER && filter == NULL);
        check_reason(reason);
    }
    wvu_filter_destroy(filter);
    require(live == 0);
    return 0;
}
