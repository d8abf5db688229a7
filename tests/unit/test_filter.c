/*
 * filter.c and filter_text.c: what texts are taken, what is said about the others, and how processes are
 * judged. The host is this file's own: it counts memory, can run out of it, and knows capital letters.
 *
 * Besides cases by hand, random rules and processes are judged by a second, slow and obvious matcher that works
 * on what the rules were written from and shares nothing with the filter. The examples of docs/rules.md are
 * taken, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filter.h"
#include "filter_match.h"
#include "record.h"

/* ---- the host ------------------------------------------------------------------------------------------ */

static uint64_t allocations;
static uint64_t live;
static uint64_t failing; /* this allocation fails; 0: none */

struct allocated {
    uint64_t tag;
    uint64_t pad;
};

void *wvu_os_alloc(size_t size, uint32_t tag)
{
    struct allocated *block;

    allocations++;
    if (allocations == failing)
        return NULL;
    block = calloc(1, sizeof *block + size);
    assert_non_null(block);
    block->tag = tag;
    live++;
    return block + 1;
}

void wvu_os_free(void *memory, uint32_t tag)
{
    struct allocated *block = (struct allocated *)memory - 1;

    if (memory == NULL)
        return;
    assert_int_equal(block->tag, tag);
    assert_true(live > 0);
    live--;
    free(block);
}

/* Latin, Latin-1 and Greek letters. */
uint16_t wvu_os_upcase(uint16_t unit)
{
    if ((unit >= 'a' && unit <= 'z') || (unit >= 0xE0 && unit <= 0xFE && unit != 0xF7) ||
        (unit >= 0x3B1 && unit <= 0x3C9 && unit != 0x3C2))
        return (uint16_t)(unit - 0x20);
    return unit;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static const struct wvu_filter_host bytes_host = {.utf16 = false};
static const struct wvu_filter_host windows_host = {.utf16 = true, .ignore_case = true};
static const struct wvu_filter_host exact_utf16_host = {.utf16 = true};
static const struct wvu_filter_host ascii_case_host = {.ignore_case = true};

static int no_memory_left(void **state)
{
    (void)state;
    assert_int_equal(live, 0);
    failing = 0;
    return 0;
}

static struct wvu_filter *made(const char *text, const struct wvu_filter_host *host)
{
    struct wvu_filter *filter;
    char reason[256];
    wvu_status status = wvu_filter_create(text, strlen(text), host, &filter, reason);

    if (status != WVU_STATUS_OK)
        fail_msg("not taken: %s\n%s", reason, text);
    assert_string_equal(reason, "");
    assert_non_null(filter);
    return filter;
}

static void check_refused(const char *text, size_t length, const struct wvu_filter_host *host,
                          const char *expected)
{
    struct wvu_filter *filter = (struct wvu_filter *)(uintptr_t)1;
    char reason[256];

    memset(reason, 'x', sizeof reason);
    assert_int_equal(wvu_filter_create(text, length, host, &filter, reason),
                     WVU_STATUS_INVALID_PARAMETER);
    assert_null(filter);
    assert_non_null(memchr(reason, '\0', sizeof reason));
    assert_string_equal(reason, expected);
}

static struct wvu_subject linux_subject(const char *image)
{
    return (struct wvu_subject){
        .image = image, .image_size = image != NULL ? (uint32_t)strlen(image) : 0, .unit = 1};
}

static struct wvu_verdict judged(const struct wvu_filter *filter, const struct wvu_subject *subject)
{
    struct wvu_verdict verdict;

    memset(&verdict, 0xA5, sizeof verdict);
    wvu_filter_judge(filter, subject, &verdict);
    return verdict;
}

static struct wvu_verdict judge_once(const char *text, const struct wvu_subject *subject)
{
    struct wvu_filter *filter = made(text, &bytes_host);
    struct wvu_verdict verdict = judged(filter, subject);

    wvu_filter_destroy(filter);
    return verdict;
}

static uint32_t kind(uint16_t type)
{
    return 1u << wvu_event_index(type);
}

/* Kinds that rules decide, from the numbers of events.def: the sensor's own begin at 0x2000. */
static uint32_t all_kinds(void)
{
    uint32_t mask = 0;

    for (uint32_t i = 1; i < WVU_EVENT_INDICES; i++) {
        if (wvu_event_type_at(i) < 0x2000)
            mask |= 1u << i;
    }
    return mask;
}

/* ---- what is refused ------------------------------------------------------------------------------------ */

#define THERE_ARE                                                                                  \
    "is not a condition; there are event, image, image-prefix, image-suffix, parent, "             \
    "parent-prefix, parent-suffix, user"
#define BACKSLASH                                                                                  \
    "a backslash in quotes: write \\\\ for a backslash and \\\" for a quote, or leave the quotes " \
    "off where there is no blank"
#define NO_EVENT                                                                                   \
    "is not an event; events have names like ProcessCreate or ImageLoad, separated by commas "     \
    "(`wvuctl schema` lists them)"
#define UID   "is not a user id: users are written as numbers here, like user=1000"
#define SID   "is not a security identifier: users are written like user=S-1-5-18 here"
#define NEEDS "deny and protect need at least one condition, like image=PATH"

static const struct {
    const char *text;
    const char *reason;
} refused[] = {
    {"allow image=/a",
     "line 1: 'allow' is not an action; there are include, exclude, deny, protect, default"},
    {"\n\n  # all right\n  image=/a",
     "line 4: 'image=/a' is not an action; there are include, exclude, deny, protect, default"},
    {"include\r\nexclude\r\nexlude",
     "line 3: 'exlude' is not an action; there are include, exclude, deny, protect, default"},
    {"exclude imagee=/a", "line 1: 'imagee' " THERE_ARE},
    {"include mode", "line 1: 'mode' is not of the form condition=value"},
    {"include =", "line 1: '' " THERE_ARE},
    {"deny event-name=x", "line 1: 'event-name' is not a condition; there are image, image-prefix, "
                          "image-suffix, parent, "
                          "parent-prefix, parent-suffix, user, and mode and name"},
    {"protect x=y",
     "line 1: 'x' is not a condition; there are image, image-prefix, image-suffix, parent, "
     "parent-prefix, parent-suffix, user, and name"},
    {"exclude /usr/bin/true", "line 1: '/usr/bin/true' is not of the form condition=value"},
    {"exclude image = /a", "line 1: 'image' is not of the form condition=value"},
    {"exclude image=", "line 1: image= has no value"},
    {"exclude image=\"\"", "line 1: image= has no value"},
    {"exclude user= image=/a", "line 1: user= has no value"},
    {"exclude image=/a image=/b",
     "line 1: image= is given twice; all conditions of a rule must hold: write a rule for each"},
    {"exclude event=ImageLoad image=/a event=ImageLoad",
     "line 1: event= is given twice; all conditions of a rule must hold: write a rule for each"},
    {"exclude image=\"/a b", "line 1: the quotes have no end; a quote in quotes is written \\\""},
    {"exclude image=\"/a b\\\"",
     "line 1: the quotes have no end; a quote in quotes is written \\\""},
    {"exclude image=\"/a\nexclude image=/b\"",
     "line 1: the quotes have no end; a quote in quotes is written \\\""},
    {"exclude image=\"C:\\a b\"", "line 1: " BACKSLASH},
    {"exclude image=\"a\\", "line 1: " BACKSLASH},
    {"exclude image=\"/a\"user=1", "line 1: after the second quote there must be a blank"},
    {"exclude image=\"/a\"#", "line 1: after the second quote there must be a blank"},
    {"exclude image=/a\"b\"", "line 1: '/a\"b\"' has a quote inside: put the whole value into "
                              "quotes, and write \\\" for a quote "
                              "in it"},
    {"exclude event=", "line 1: event= has no value"},
    {"exclude event=ProcesCreate", "line 1: 'ProcesCreate' " NO_EVENT},
    {"exclude event=ImageLoad,", "line 1: '' " NO_EVENT},
    {"exclude event=ImageLoad,,ThreadCreate", "line 1: '' " NO_EVENT},
    {"exclude event=ImageLoad ,ThreadCreate",
     "line 1: ',ThreadCreate' is not of the form condition=value"},
    {"exclude event=ImageLoad,EventsLost",
     "line 1: 'EventsLost' is always reported: rules are for the events of probes"},
    {"include event=sensorstart",
     "line 1: 'sensorstart' is always reported: rules are for the events of probes"},
    {"deny event=ProcessCreate",
     "line 1: event= goes with include and exclude: deny and protect are about processes, whatever "
     "their events"},
    {"include image=/a mode=report", "line 1: mode= goes with deny only"},
    {"protect image=/a mode=report", "line 1: mode= goes with deny only"},
    {"exclude image=/a name=x", "line 1: name= goes with deny and protect only"},
    {"deny", "line 1: " NEEDS},
    {"deny mode=enforce name=everything", "line 1: " NEEDS},
    {"include\nprotect name=x\ninclude", "line 2: " NEEDS},
    {"deny image=/a mode=kill",
     "line 1: 'kill' is not a mode; there are report (say what would be done) and enforce (do it)"},
    {"deny image=/a name=", "line 1: name= has no value"},
    {"deny image=/a name=0123456789012345678901234567890123456789012345678901234567890123",
     "line 1: '012345678901234567890123456789012345678901234567...' is too long for a name; 63 "
     "bytes "
     "are the most"},
    {"deny image=/a name=\xFFx", "line 1: '?x' is not UTF-8, as names must be"},
    {"deny image=/a name=\"\t\xFFx\"", "line 1: '??x' is not UTF-8, as names must be"},
    {"exclude user=root", "line 1: 'root' " UID},
    {"exclude user=-1", "line 1: '-1' " UID},
    {"exclude user=S-1-5-18", "line 1: 'S-1-5-18' " UID},
    {"exclude user=4294967295", "line 1: '4294967295' " UID},
    {"exclude user=18446744073709551616", "line 1: '18446744073709551616' " UID},
    {"default", "line 1: '' is no default; write default include or default exclude"},
    {"default deny", "line 1: 'deny' is no default; write default include or default exclude"},
    {"default exclude image=/a", "line 1: 'image=/a' is too much: default has no conditions"},
    {"default exclude\ninclude\ndefault exclude",
     "line 3: there is a default already, on a line before; one is enough"},
    {"exclude\rinclude", "line 1: there is a control character; is this a text?"},
    {"#\n# \x01", "line 2: there is a control character; is this a text?"},
    {"include\n\x7f"
     "ELF",
     "line 2: '?ELF' is not an action; there are include, exclude, deny, protect, default"},
    {"\xEF\xBB\xBFinclude\n\xEF\xBB\xBFinclude",
     "line 2: '\xEF\xBB\xBFinclude' is not an action; there are include, exclude, deny, protect, "
     "default"},
    {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\xC0\x80\xED\xA0\x80\xF4\x90\x80\x80\xF8\xE2\x82",
     "line 1: '\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"
     "?"
     "?"
     "?"
     "?"
     "?"
     "?"
     "?"
     "?"
     "?"
     "?"
     "?"
     "?"
     "' is not an action; there are "
     "include, "
     "exclude, deny, protect, default"},
};

static void what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        check_refused(refused[i].text, strlen(refused[i].text), &bytes_host, refused[i].reason);
    check_refused("include\0exclude", 15, &bytes_host,
                  "line 1: there is a control character; is this a text?");
}

static void windows_has_its_own_users_and_needs_utf8(void **state)
{
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"exclude user=1000", "line 1: '1000' " SID},
        {"exclude user=S-1", "line 1: 'S-1' " SID},
        {"exclude user=S-1-5-", "line 1: 'S-1-5-' " SID},
        {"exclude user=S-1--5-18", "line 1: 'S-1--5-18' " SID},
        {"exclude user=S-1-5-18g", "line 1: 'S-1-5-18g' " SID},
        {"exclude user=X-1-5-18", "line 1: 'X-1-5-18' " SID},
        {"exclude user=S_1-5-18", "line 1: 'S_1-5-18' " SID},
        {"exclude image=\\\xE4", "line 1: '\\?' is not UTF-8; save the rules as UTF-8"},
        {"exclude parent-suffix=\\\xED\xA0\x80",
         "line 1: '\\?\?\?' is not UTF-8; save the rules as UTF-8"},
        {"exclude image=\xF8\x90\x80\x80",
         "line 1: '?\?\?\?' is not UTF-8; save the rules as UTF-8"},
        {"exclude image-prefix=\\\xF0\x9F\x98",
         "line 1: '\\?\?\?' is not UTF-8; save the rules as UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused(cases[i].text, strlen(cases[i].text), &windows_host, cases[i].reason);
    wvu_filter_destroy(
        made("exclude user=S-1-5-21-1004336348-1177238915-682003330-512", &windows_host));
    wvu_filter_destroy(made("exclude user=s-1-0x10000000000-1", &windows_host));
}

/* ---- what is taken -------------------------------------------------------------------------------------- */

static void ways_of_writing_do_not_matter(void **state)
{
    static const char *const texts[] = {
        "deny image=/a-b user=7 mode=enforce name=x",
        "  DENY\tImage=/a-b  User=7 MODE=Enforce\tname=x  ",
        "\xEF\xBB\xBF"
        "deny image=/a-b user=7 mode=enforce name=x\n",
        "# first\r\n\r\n \t\r\ndeny image=\"/a-b\" user=\"0x7\" mode=\"enforce\" name=\"x\" #x\r\n",
        "deny name=x mode=enforce user=007 image=/a-b # why",
        "deny name=x mode=enforce user=7 image=/a-b\r",
        "include # all\ndeny name=y user=7 image=/a-b#c\n"
        "deny name=x mode=enforce user=7 image=/a-b\nexclude",
    };
    struct wvu_subject subject = linux_subject("/a-b");

    (void)state;
    subject.has_user = true;
    subject.user_id = 7;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct wvu_verdict verdict = judge_once(texts[i], &subject);

        assert_int_equal(verdict.deny, WVU_DENY_ENFORCE);
        assert_string_equal(verdict.rule, "x");
        assert_int_equal(verdict.wanted, WVU_WANTED_ALL);
    }
}

static void quotes_hold_what_a_word_cannot(void **state)
{
    static const struct {
        const char *value;
        const char *image;
    } cases[] = {
        {"\"/a b\"", "/a b"},
        {"\"/a\\\"b\"", "/a\"b"},
        {"\"\\\\\\\\a\\\\b\"", "\\\\a\\b"},
        {"\"/a\tb # c\"", "/a\tb # c"},
        {"/a#b", "/a#b"},
        {"/a=b", "/a=b"},
        {"\\a\\b", "\\a\\b"},
        {"\"/plain\"", "/plain"},
        {"\xFF\xFE", "\xFF\xFE"},
        {"\" \"", " "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct wvu_subject subject = linux_subject(cases[i].image);
        char text[100];

        snprintf(text, sizeof text, "protect image=%s", cases[i].value);
        assert_true(judge_once(text, &subject).is_protected);
    }
}

static void the_text_is_kept_as_it_was_given(void **state)
{
    static const char text[] = "  # hi\r\nexclude image=\"/a \\\" b\" # x\n\ndefault include";
    struct wvu_filter *filter = made(text, &bytes_host);
    size_t length;

    (void)state;
    assert_string_equal(wvu_filter_text(filter, &length), text);
    assert_int_equal(length, strlen(text));
    assert_int_equal(wvu_filter_rules(filter), 2);
    wvu_filter_destroy(filter);

    filter = made("", &bytes_host);
    assert_string_equal(wvu_filter_text(filter, &length), "");
    assert_int_equal(length, 0);
    assert_int_equal(wvu_filter_rules(filter), 0);
    wvu_filter_destroy(filter);
    wvu_filter_destroy(NULL);
}

/* ---- decisions ------------------------------------------------------------------------------------------ */

#define CREATE  (1 << 0)
#define DESTROY (1 << 1)
#define IMAGE   (1 << 2)
#define ALL     (CREATE | DESTROY | IMAGE)

static const struct {
    const char *rules;
    const char *image; /* NULL: not known */
    int user;          /* -1: not known */
    uint32_t wanted;   /* of three kinds */
} decisions[] = {
    {"", "/a", 0, ALL},
    {"", NULL, -1, ALL},
    {"exclude", "/a", 0, 0},
    {"exclude", NULL, -1, 0},
    {"default exclude", "/a", 0, 0},
    {"default include", "/a", 0, ALL},
    {"exclude image=/a", "/a", 0, 0},
    {"exclude image=/a", "/b", 0, ALL},
    {"exclude image=/a", "/ab", 0, ALL},
    {"exclude image=/a", "/", 0, ALL},
    {"exclude image=/a", "/A", 0, ALL},
    {"exclude image=/a", NULL, 0, ALL},
    {"exclude image=/a", "", 0, ALL},
    {"exclude image-prefix=/usr/", "/usr/bin/a", 0, 0},
    {"exclude image-prefix=/usr/", "/usr/", 0, 0},
    {"exclude image-prefix=/usr/", "/usr", 0, ALL},
    {"exclude image-prefix=/usr/", "/x/usr/", 0, ALL},
    {"exclude image-suffix=/sh", "/bin/sh", 0, 0},
    {"exclude image-suffix=/sh", "/sh", 0, 0},
    {"exclude image-suffix=/sh", "sh", 0, ALL},
    {"exclude image-suffix=/sh", "/sh/", 0, ALL},
    {"exclude image-prefix=/ab image-suffix=bc", "/abc", 0, 0},
    {"exclude image-prefix=/ab image-suffix=bc", "/abx", 0, ALL},
    {"exclude image-prefix=/ab image-suffix=bc image=/abc", "/abc", 0, 0},
    {"exclude image-prefix=/ab image-suffix=bc image=/abc", "/abbc", 0, ALL},
    {"exclude user=7", "/a", 7, 0},
    {"exclude user=7", "/a", 8, ALL},
    {"exclude user=0", NULL, -1, ALL},
    {"exclude user=7 image=/a", "/a", 7, 0},
    {"exclude user=7 image=/a", "/b", 7, ALL},
    {"exclude user=7 image=/a", "/a", 8, ALL},
    {"exclude parent=/a", "/a", 7, ALL},
    {"exclude event=ImageLoad", "/a", 7, CREATE | DESTROY},
    {"exclude event=imageload,PROCESSDESTROY", "/a", 7, CREATE},
    {"default exclude\ninclude event=ImageLoad", "/a", 7, IMAGE},
    /* the first one that matches decides, each kind for itself */
    {"include image=/a\nexclude", "/a", 0, ALL},
    {"include image=/a\nexclude", "/b", 0, 0},
    {"exclude\ninclude image=/a", "/a", 0, 0},
    {"include event=ImageLoad image=/a\nexclude image-prefix=/", "/a", 0, IMAGE},
    {"exclude event=ImageLoad\ninclude\nexclude", "/a", 0, CREATE | DESTROY},
    {"include event=ImageLoad user=1\nexclude event=ImageLoad,ProcessCreate\n"
     "include image=/a\ndefault exclude",
     "/a", 1, IMAGE | DESTROY},
    {"include event=ImageLoad user=1\nexclude event=ImageLoad,ProcessCreate\n"
     "include image=/a\ndefault exclude",
     "/a", 2, DESTROY},
    /* where it stands does not matter */
    {"default exclude\ninclude image=/a", "/a", 0, ALL},
    {"include image=/a\ndefault exclude", "/b", 0, 0},
    /* rules of other kinds have no say here */
    {"deny image=/a mode=enforce\nprotect image=/a", "/a", 0, ALL},
};

static void the_first_rule_that_matches_decides(void **state)
{
    const uint32_t others = ~all_kinds();

    (void)state;
    for (size_t i = 0; i < sizeof decisions / sizeof *decisions; i++) {
        struct wvu_subject subject = linux_subject(decisions[i].image);
        uint32_t wanted = decisions[i].wanted;
        struct wvu_verdict verdict;
        uint32_t found;

        subject.has_user = decisions[i].user >= 0;
        subject.user_id = subject.has_user ? (uint32_t)decisions[i].user : 0;
        verdict = judge_once(decisions[i].rules, &subject);
        found = (verdict.wanted & kind(WVU_EVENT_ProcessCreate) ? CREATE : 0) |
                (verdict.wanted & kind(WVU_EVENT_ProcessDestroy) ? DESTROY : 0) |
                (verdict.wanted & kind(WVU_EVENT_ImageLoad) ? IMAGE : 0);
        if (found != wanted)
            fail_msg("case %zu: %x, not %x, of %s by\n%s", i, found, wanted, decisions[i].image,
                     decisions[i].rules);
        assert_int_equal(verdict.wanted & others, others); /* the sensor's own always are */
    }
}

static const struct {
    const char *rules;
    const char *image;
    uint32_t deny;
    const char *rule;
    bool is_protected;
} denials[] = {
    {"deny image=/a", "/a", WVU_DENY_REPORT, "line 1", false},
    {"deny image=/a", "/b", WVU_DENY_NONE, "", false},
    {"deny image=/a", NULL, WVU_DENY_NONE, "", false},
    {"\n#\ndeny image=/a mode=enforce", "/a", WVU_DENY_ENFORCE, "line 3", false},
    {"deny image=/a mode=report name=\"no a\"", "/a", WVU_DENY_REPORT, "no a", false},
    {"deny image=/a\ndeny image-prefix=/ mode=enforce name=b", "/a", WVU_DENY_REPORT, "line 1",
     false},
    {"deny image=/a\ndeny image-prefix=/ mode=enforce name=b", "/b", WVU_DENY_ENFORCE, "b", false},
    {"deny image=/a name=012345678901234567890123456789012345678901234567890123456789012", "/a",
     WVU_DENY_REPORT, "012345678901234567890123456789012345678901234567890123456789012", false},
    {"protect image=/a name=x", "/a", WVU_DENY_NONE, "", true},
    {"protect image=/a", "/b", WVU_DENY_NONE, "", false},
    {"protect image=/a\ndeny image=/a", "/a", WVU_DENY_REPORT, "line 2", true},
    {"exclude\ndefault exclude\ndeny image=/a\nprotect image-suffix=a", "/a", WVU_DENY_REPORT,
     "line 3", true},
};

static void deny_and_protect_are_decided_on_their_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof denials / sizeof *denials; i++) {
        const struct wvu_subject subject = linux_subject(denials[i].image);
        const struct wvu_verdict verdict = judge_once(denials[i].rules, &subject);

        assert_int_equal(verdict.deny, denials[i].deny);
        assert_string_equal(verdict.rule, denials[i].rule);
        assert_int_equal(verdict.is_protected, denials[i].is_protected);
    }
}

static void conditions_on_parents_are_what_the_parent_was(void **state)
{
    static const char text[] = "exclude parent=/bin/sh\n"
                               "exclude event=ImageLoad parent-prefix=/usr/ parent-suffix=/make\n"
                               "exclude event=ThreadCreate parent-prefix=/usr/ image=/a user=3\n"
                               "deny image=/bin/sh parent=/bin/sh name=twice\n"
                               "protect parent=/b\n";
    struct wvu_filter *filter = made(text, &bytes_host), *next;
    struct wvu_subject subject;
    uint64_t sh, make, usr, b, tag;

    (void)state;
    subject = linux_subject("/bin/sh");
    sh = judged(filter, &subject).as_parent;
    tag = sh & ~WVU_FILTER_PARENT_BITS;
    subject = linux_subject("/usr/bin/make");
    make = judged(filter, &subject).as_parent;
    subject = linux_subject("/usr/bin/cc");
    usr = judged(filter, &subject).as_parent;
    subject = linux_subject("/b");
    b = judged(filter, &subject).as_parent;
    subject = linux_subject(NULL);
    assert_int_equal(judged(filter, &subject).as_parent, 0);
    assert_int_equal(__builtin_popcountll(sh ^ tag), 1);
    assert_int_equal(__builtin_popcountll(make ^ tag), 2);
    assert_int_equal(__builtin_popcountll(usr ^ tag), 1);
    assert_int_equal(make & usr, usr);
    assert_int_equal(sh & make & b, tag);

    subject = linux_subject("/a");
    subject.parent_matches = sh;
    assert_int_equal(judged(filter, &subject).wanted & all_kinds(), 0);
    subject.parent_matches = make;
    assert_int_equal(judged(filter, &subject).wanted, ~kind(WVU_EVENT_ImageLoad));
    subject.parent_matches = usr;
    assert_int_equal(judged(filter, &subject).wanted, WVU_WANTED_ALL);
    subject.has_user = true;
    subject.user_id = 3;
    assert_int_equal(judged(filter, &subject).wanted, ~kind(WVU_EVENT_ThreadCreate));
    subject.parent_matches = 0;
    assert_int_equal(judged(filter, &subject).wanted, WVU_WANTED_ALL);
    subject.parent_matches = b;
    assert_true(judged(filter, &subject).is_protected);
    subject = linux_subject("/bin/sh");
    assert_int_equal(judged(filter, &subject).deny, WVU_DENY_NONE);
    subject.parent_matches = sh;
    assert_string_equal(judged(filter, &subject).rule, "twice");

    /* The next filter does not take the bits of this one for its own. */
    next = made("deny parent=/bin/sh\n", &bytes_host);
    assert_int_equal(judged(next, &subject).deny, WVU_DENY_NONE);
    subject.parent_matches = judged(next, &subject).as_parent;
    assert_int_equal(judged(next, &subject).deny, WVU_DENY_REPORT);
    assert_int_equal(judged(filter, &subject).deny, WVU_DENY_NONE);
    wvu_filter_destroy(next);
    wvu_filter_destroy(filter);
}

/* ---- Windows: UTF-16 and case ---------------------------------------------------------------------------- */

/* Unaligned on purpose: where a path stands is the host's affair. */
static struct wvu_verdict judge_utf16(const char *text, const struct wvu_filter_host *host,
                                      const uint16_t *image, const char *sid)
{
    static uint8_t buffer[1001];
    struct wvu_filter *filter = made(text, host);
    struct wvu_verdict verdict;
    uint32_t units = 0;

    while (image[units] != 0)
        units++;
    memcpy(buffer + 1, image, units * 2);
    const struct wvu_subject subject = {
        .image = buffer + 1, .image_size = units * 2, .unit = 2, .user_sid = sid};
    verdict = judged(filter, &subject);
    wvu_filter_destroy(filter);
    return verdict;
}

#define U(text) ((const uint16_t *)(const void *)u##text)

static void windows_ignores_case(void **state)
{
    static const struct {
        const char *rule;
        const uint16_t *image;
        bool ignoring, exact; /* does it match on a host that ignores case, on one that does not? */
    } cases[] = {
        {"image=\\A\\b.EXE", U("\\a\\B.exe"), true, false},
        {"image=\\A\\b.EXE", U("\\A\\b.EXE"), true, true},
        {"image=\\A\\b.EXE", U("\\a\\B.exe "), false, false},
        {"image-prefix=\\WINDOWS\\", U("\\Windows\\x"), true, false},
        {"image-suffix=\\CMD.exe", U("\\x\\cmd.EXE"), true, false},
        {"image=\"\\\\\xC3\xA9t\xC3\xA9\"", U("\\\u00c9T\u00c9"), true, false},
        {"image=\\\xC3\x89T\xC3\x89", U("\\\u00e9t\u00e9"), true, false},
        {"image-suffix=\xCE\xB1\xCF\x89", U("\u0391\u03a9"), true, false},
        {"image-suffix=\xC3\xB7", U("\u00d7"), false, false},
        {"image=\xC3\xB7\xC3\x97", U("\u00f7\u00d7"), true,
         true}, /* no letters, but as far apart */
        {"image=`abcdefghijklmnopqrstuvwxyz{", U("`ABCDEFGHIJKLMNOPQRSTUVWXYZ{"), true, false},
        {"image=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[", U("@abcdefghijklmnopqrstuvwxyz["), true, false},
        {"image-suffix=[", U("{"), false, false},
        {"image-suffix=@", U("`"), false, false},
        {"image=\\\xF0\x9F\x98\x80\xE2\x82\xAC", U("\\\U0001F600\u20AC"), true, true},
        {"image-suffix=\xF0\x9F\x98\x80", U("\\\U0001F600"), true, true},
        {"image-prefix=\xF4\x8F\xBF\xBF\xEF\xBF\xBF", U("\U0010FFFF\uFFFFx"), true, true},
        {"image-suffix=\xF0\x9F\x98\x80", U("\\\U0001F601"), false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];

        snprintf(text, sizeof text, "protect %s", cases[i].rule);
        assert_int_equal(judge_utf16(text, &windows_host, cases[i].image, NULL).is_protected,
                         cases[i].ignoring);
        assert_int_equal(judge_utf16(text, &exact_utf16_host, cases[i].image, NULL).is_protected,
                         cases[i].exact);
    }
}

/* Names on Windows are any units. Half of a pair is none of a pattern's characters. */
static void units_that_are_no_characters_do_no_harm(void **state)
{
    static const uint16_t halves[] = {'\\', 0xD83D, 0x41, 0xDE00, 0};
    static const uint16_t ends_in_half[] = {'\\', 0xD83D, 0};

    (void)state;
    assert_true(judge_utf16("protect image-prefix=\\", &windows_host, halves, NULL).is_protected);
    assert_false(judge_utf16("protect image-suffix=\xF0\x9F\x98\x80", &windows_host, halves, NULL)
                     .is_protected);
    assert_false(judge_utf16("protect image=\\\xF0\x9F\x98\x80", &windows_host, ends_in_half, NULL)
                     .is_protected);
}

static void other_hosts_images_are_not_known(void **state)
{
    static const char odd[] = "\\\0a"; /* one unit and a half */
    struct wvu_filter *filter = made("protect image-prefix=\\\ndeny image=\\", &windows_host);
    struct wvu_subject subject = {.image = odd, .image_size = 3, .unit = 2};

    (void)state;
    assert_true(judged(filter, &subject).is_protected);
    assert_int_equal(judged(filter, &subject).deny, WVU_DENY_REPORT);
    subject.unit = 1;
    assert_false(judged(filter, &subject).is_protected);
    wvu_filter_destroy(filter);

    filter = made("protect image-prefix=\\", &bytes_host);
    assert_true(judged(filter, &subject).is_protected);
    subject.unit = 2;
    assert_false(judged(filter, &subject).is_protected);
    wvu_filter_destroy(filter);

    filter = made("protect image=/A\xE4z", &ascii_case_host); /* bytes: only ASCII has case */
    subject = linux_subject("/a\xE4Z");
    assert_true(judged(filter, &subject).is_protected);
    subject = linux_subject("/a\xC4Z");
    assert_false(judged(filter, &subject).is_protected);
    wvu_filter_destroy(filter);
}

static void users_of_windows_are_compared_without_case(void **state)
{
    static const struct {
        const char *sid;
        bool matches;
    } cases[] = {{"S-1-5-21-1-500", true},
                 {"s-1-5-21-1-500", true},
                 {"S-1-5-21-1-501", false},
                 {"S-1-5-21-1-50", false},
                 {"S-1-5-21-1-5000", false},
                 {"", false},
                 {NULL, false}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(judge_utf16("protect user=S-1-5-18\nprotect user=S-1-5-21-1-500",
                                     &windows_host, U("\\"), cases[i].sid)
                             .is_protected,
                         cases[i].matches);
}

/* ---- paths with the same hash ----------------------------------------------------------------------------- */

static uint64_t hash_of(const char *path)
{
    struct wvu_pattern pattern = {.text = (const uint8_t *)path, .units = (uint32_t)strlen(path)};
    struct wvu_pattern arranged;
    struct wvu_pattern_length length;
    struct wvu_pattern_table table = {.list = &pattern, .count = 1};

    wvu_patterns_arrange(&table, WVU_PATTERN_WHOLE, false, &arranged, &length);
    return arranged.hash;
}

/* Whoever wants can find such paths; it must not help. These two were made by solving filter_match.c's
 * hash for the second half. */
static void paths_with_the_same_hash_are_told_apart(void **state)
{
    static const char path[] = "/usr/bin/program";
    static const char other[] = "/DzHYHTRfAQu.F!0";
    static const char text[] = "exclude image=/usr/bin/program\n"
                               "exclude image-prefix=/usr/bin/program\n"
                               "exclude image-suffix=/usr/bin/program\n";
    struct wvu_subject subject = linux_subject(path);

    (void)state;
    assert_string_not_equal(path, other);
    assert_true(hash_of(path) == hash_of(other));
    assert_int_equal(judge_once(text, &subject).wanted & all_kinds(), 0);
    subject = linux_subject(other);
    assert_int_equal(judge_once(text, &subject).wanted, WVU_WANTED_ALL);
}

/* ---- spellings ------------------------------------------------------------------------------------------- */

static uint32_t asked_for_spellings;
static size_t huge_spelling; /* what the second one claims; 0: nothing special */
static const char *second_spelling;

/* C:\x is \??\C:\x and \Device\V3\x, too. */
static size_t spell(void *context, const char *path, size_t length, uint32_t index, char *out,
                    size_t capacity)
{
    int size = 0;

    assert_ptr_equal(context, &asked_for_spellings);
    asked_for_spellings++;
    if (length < 3 || memcmp(path, "C:\\", 3) != 0)
        return 0;
    if (second_spelling == NULL) { /* says twice what the rule said already */
        memcpy(out, path, length);
        return index < 2 ? length : 0;
    }
    if (index == 1 && huge_spelling != 0)
        return huge_spelling == 1 ? capacity + 1 : huge_spelling;
    if (index == 0)
        size = snprintf(out, capacity, "\\??\\%.*s", (int)length, path);
    else if (index == 1)
        size =
            snprintf(out, capacity, "\\Device\\%s%.*s", second_spelling, (int)length - 2, path + 2);
    assert_true(size >= 0 && (size_t)size < capacity);
    return (size_t)size;
}

static const struct wvu_filter_host spelling_host = {
    .utf16 = true, .ignore_case = true, .spelling = spell, .context = &asked_for_spellings};

static void a_path_matches_in_each_of_its_spellings(void **state)
{
    static const struct {
        const char *rule;
        const uint16_t *image;
        bool matches;
    } cases[] = {
        {"image=C:\\a", U("C:\\A"), true},
        {"image=C:\\a", U("\\??\\c:\\a"), true},
        {"image=C:\\a", U("\\device\\v3\\A"), true},
        {"image=C:\\a", U("\\Device\\V3\\A\\b"), false},
        {"image=C:\\a", U("\\Device\\V4\\A"), false},
        {"image-prefix=C:\\a", U("\\Device\\V3\\Abc"), true},
        {"image-prefix=C:\\a", U("\\Device\\V3\\bbc"), false},
        {"image-suffix=C:\\a", U("\\??\\C:\\A"), true}, /* it ends so */
        {"image-suffix=C:\\a", U("\\Device\\V3\\A"), false},
        {"image=D:\\a", U("\\??\\D:\\a"), false},
    };

    (void)state;
    second_spelling = "V3";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];

        snprintf(text, sizeof text, "protect %s", cases[i].rule);
        assert_int_equal(judge_utf16(text, &spelling_host, cases[i].image, NULL).is_protected,
                         cases[i].matches);
    }
    second_spelling = NULL;
    assert_true(
        judge_utf16("protect image-prefix=C:\\a image-suffix=b", &spelling_host, U("C:\\AB"), NULL)
            .is_protected);
    assert_false(
        judge_utf16("protect image-prefix=C:\\a image-suffix=b", &spelling_host, U("C:\\AC"), NULL)
            .is_protected);
    second_spelling = "V3";
    assert_int_equal(
        judge_utf16("exclude parent-prefix=C:\\a", &spelling_host, U("\\Device\\V3\\a"), NULL)
                .as_parent &
            WVU_FILTER_PARENT_BITS,
        1);
}

static void spellings_that_cannot_be_are_refused(void **state)
{
    static const char text[] = "include\nexclude image=C:\\a";

    (void)state;
    second_spelling = "\xFF";
    check_refused(text, strlen(text), &spelling_host,
                  "line 2: a spelling of its path is not UTF-8: the host made it so");
    huge_spelling = 1;
    check_refused(text, strlen(text), &spelling_host, "line 2: a path is too long");
    huge_spelling = 0;
}

/* ---- limits ----------------------------------------------------------------------------------------------- */

static char big[WVU_FILTER_TEXT_MAX + 2];

static void so_many_rules_and_no_more(void **state)
{
    size_t length = 0;
    struct wvu_filter *filter;
    struct wvu_subject subject = linux_subject("/1023");

    (void)state;
    for (uint32_t i = 0; i < WVU_FILTER_RULES_MAX; i++)
        length += (size_t)snprintf(big + length, sizeof big - length,
                                   "deny image=/%u image-prefix=/%u image-suffix=%u user=%u\n", i,
                                   i, i, i);
    filter = made(big, &bytes_host);
    assert_int_equal(wvu_filter_rules(filter), WVU_FILTER_RULES_MAX);
    subject.has_user = true;
    subject.user_id = 1023;
    assert_string_equal(judged(filter, &subject).rule, "line 1024");
    subject.user_id = 1022;
    assert_string_equal(judged(filter, &subject).rule, "");
    wvu_filter_destroy(filter);
    length += (size_t)snprintf(big + length, sizeof big - length, "# enough\n\ninclude");
    check_refused(big, length, &bytes_host,
                  "line 1027: there are too many rules; 1024 are the most");
}

static void so_many_bytes_and_no_more(void **state)
{
    static const char start[] = "protect image=";
    struct wvu_filter *filter;
    struct wvu_subject subject;

    (void)state;
    memset(big, 'x', sizeof big);
    memcpy(big, start, strlen(start));
    big[WVU_FILTER_TEXT_MAX] = '\0';
    filter = made(big, &bytes_host);
    subject = linux_subject(big + strlen(start));
    assert_true(judged(filter, &subject).is_protected);
    subject.image_size--;
    assert_false(judged(filter, &subject).is_protected);
    wvu_filter_destroy(filter);
    big[WVU_FILTER_TEXT_MAX] = 'x';
    check_refused(big, WVU_FILTER_TEXT_MAX + 1, &bytes_host,
                  "the rules are too long; 65472 bytes are the most");
    check_refused(big, SIZE_MAX, &bytes_host, "the rules are too long; 65472 bytes are the most");
}

static void so_many_parents_and_no_more(void **state)
{
    size_t length = 0;
    struct wvu_filter *filter;
    uint64_t seen = 0;

    (void)state;
    for (uint32_t i = 0; i < WVU_FILTER_PARENTS_MAX; i++) /* each twice: the second is the same */
        length += (size_t)snprintf(big + length, sizeof big - length,
                                   "exclude parent=/%u\nprotect parent=/%u image=/x\n", i, i);
    filter = made(big, &bytes_host);
    for (uint32_t i = 0; i < WVU_FILTER_PARENTS_MAX; i++) {
        char image[16];
        struct wvu_subject subject;
        uint64_t bit;

        snprintf(image, sizeof image, "/%u", i);
        subject = linux_subject(image);
        bit = judged(filter, &subject).as_parent;
        assert_int_equal(__builtin_popcountll(bit & WVU_FILTER_PARENT_BITS), 1);
        seen |= bit & WVU_FILTER_PARENT_BITS;
        subject = linux_subject("/x");
        subject.parent_matches = bit;
        assert_true(judged(filter, &subject).is_protected);
    }
    assert_true(seen == WVU_FILTER_PARENT_BITS);
    wvu_filter_destroy(filter);
    length += (size_t)snprintf(big + length, sizeof big - length, "exclude parent-prefix=/1\n");
    check_refused(big, length, &bytes_host,
                  "line 97: there are too many different conditions on parents; 48 are the most");
}

static void without_memory_nothing_is_made(void **state)
{
    uint64_t needed = 0;
    size_t length = 0;

    (void)state;
    for (uint32_t i = 0; i < 300; i++)
        length += (size_t)snprintf(big + length, sizeof big - length,
                                   "deny image=C:\\%u image-prefix=C:\\%u image-suffix=%u "
                                   "user=S-1-5-%u parent=%u\n",
                                   i, i, i, i, i % WVU_FILTER_PARENTS_MAX);
    second_spelling = "V3";
    failing = 0;
    allocations = 0;
    wvu_filter_destroy(made(big, &spelling_host));
    needed = allocations;
    assert_true(needed > 4); /* more than one block of each sort */
    for (uint64_t i = 1; i <= needed; i++) {
        struct wvu_filter *filter = (struct wvu_filter *)(uintptr_t)1;
        char reason[256];

        failing = i;
        allocations = 0;
        assert_int_equal(wvu_filter_create(big, length, &spelling_host, &filter, reason),
                         WVU_STATUS_NO_MEMORY);
        assert_string_equal(reason, "there is no memory for the rules");
        assert_null(filter);
        assert_int_equal(live, 0);
    }
    failing = 0;
}

/* ---- files that must not run ------------------------------------------------------------------------------- */

static void check_denied(const struct wvu_filter *filter, uint32_t index, const char *path,
                         uint32_t deny, bool only_path, const char *rule)
{
    struct wvu_filter_denied denied;

    assert_true(wvu_filter_denied_at(filter, index, &denied));
    assert_string_equal(denied.path, path);
    assert_int_equal(denied.deny, deny);
    assert_int_equal(denied.only_path, only_path);
    assert_string_equal(denied.rule, rule);
}

static void files_of_deny_rules_can_be_listed(void **state)
{
    static const char text[] = "include image=/not-this\n"
                               "deny image-prefix=/nor/this\n"
                               "deny image=\"/a \\\"b\" name=quoted mode=enforce\n"
                               "deny user=7 image=/a\n"
                               "deny image=/a\n"
                               "deny image=/p parent=/x\n"
                               "deny image=/nor/this/one mode=enforce\n"
                               "deny image=/q image-prefix=/\n"
                               "deny image=/kept mode=enforce\n"
                               "deny image=/r mode=enforce\n"
                               "protect image=/kept user=0\n";
    struct wvu_filter *filter = made(text, &bytes_host);
    struct wvu_filter_denied denied;

    (void)state;
    check_denied(filter, 0, "/a \"b", WVU_DENY_ENFORCE, true, "quoted");
    check_denied(filter, 1, "/a", WVU_DENY_REPORT, false, "line 4");
    check_denied(filter, 2, "/a", WVU_DENY_REPORT, false, "line 5"); /* line 4 may come first */
    check_denied(filter, 3, "/p", WVU_DENY_REPORT, false, "line 6");
    check_denied(filter, 4, "/nor/this/one", WVU_DENY_ENFORCE, false, "line 7"); /* line 2 does */
    check_denied(filter, 5, "/q", WVU_DENY_REPORT, false, "line 8");
    check_denied(filter, 6, "/kept", WVU_DENY_ENFORCE, false, "line 9"); /* it may be protected */
    check_denied(filter, 7, "/r", WVU_DENY_ENFORCE, true, "line 10");
    assert_false(wvu_filter_denied_at(filter, 8, &denied));
    assert_false(wvu_filter_denied_at(filter, UINT32_MAX, &denied));
    wvu_filter_destroy(filter);

    second_spelling = "V3"; /* an earlier rule may mean another spelling of the path */
    filter = made("deny image-prefix=\\DEVICE\\v3\\A\ndeny image=C:\\a\\b\ndeny image=C:\\b",
                  &spelling_host);
    check_denied(filter, 0, "C:\\a\\b", WVU_DENY_REPORT, false, "line 2");
    check_denied(filter, 1, "C:\\b", WVU_DENY_REPORT, true, "line 3");
    wvu_filter_destroy(filter);
}

/* ---- against a second matcher ------------------------------------------------------------------------------ */

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state * UINT64_C(0x2545F4914F6CDD1D) >> 32) % bound);
}

static bool one_in(uint32_t odds)
{
    return random_below(odds) == 0;
}

/* Paths of these tests are made of letters. Few, so that they match often. */
static const struct {
    const char *utf8;
    uint16_t utf16[2];
    int same; /* the letter that it is when case is ignored */
} letters[] = {
    {"/", {'/', 0}, 0},         {"a", {'a', 0}, 1},
    {"A", {'A', 0}, 1},         {"\xC3\xA9", {0xE9, 0}, 3},
    {"\xC3\x89", {0xC9, 0}, 3}, {"\xF0\x9F\x98\x80", {0xD83D, 0xDE00}, 5},
    {" ", {' ', 0}, 6},         {"\"", {'"', 0}, 7},
    {"\\", {'\\', 0}, 8},       {"#", {'#', 0}, 9},
    {"=", {'=', 0}, 10},
};
#define LETTERS (uint32_t)(sizeof letters / sizeof *letters)

struct letters {
    int length;
    int at[6];
};

enum { EXACTLY, AT_FRONT, AT_BACK, WAYS };

struct model_rule {
    int action; /* include, exclude, deny, protect */
    uint32_t kinds;
    bool has_image[WAYS], has_parent[WAYS], has_user;
    struct letters image[WAYS], parent[WAYS];
    uint32_t user;
    int mode;
    char name[16];
};

struct model {
    struct wvu_filter_host host;
    struct model_rule rules[24];
    int count;
    bool excludes;
};

static struct letters random_letters(void)
{
    const bool rare = one_in(6);
    struct letters path = {.length = 1 + (int)random_below(rare ? 6 : 4)};

    for (int i = 0; i < path.length; i++)
        path.at[i] = (int)random_below(rare ? LETTERS : 3);
    return path;
}

static bool same_letter(const struct model *model, int a, int b)
{
    bool case_of_it = a <= 2 || model->host.utf16; /* bytes: only ASCII has case */

    return model->host.ignore_case && case_of_it ? letters[a].same == letters[b].same : a == b;
}

static bool matches(const struct model *model, const struct letters *pattern, int way,
                    const struct letters *path)
{
    const int first = way == AT_BACK ? path->length - pattern->length : 0;

    if (path->length < pattern->length || (way == EXACTLY && path->length != pattern->length))
        return false;
    for (int i = 0; i < pattern->length; i++) {
        if (!same_letter(model, pattern->at[i], path->at[first + i]))
            return false;
    }
    return true;
}

struct model_process {
    bool has_image, has_parent, has_user;
    struct letters image, parent;
    uint32_t user;
};

static bool model_holds(const struct model *model, const struct model_rule *rule,
                        const struct model_process *process)
{
    for (int way = 0; way < WAYS; way++) {
        if (rule->has_image[way] &&
            (!process->has_image || !matches(model, &rule->image[way], way, &process->image)))
            return false;
        if (rule->has_parent[way] &&
            (!process->has_parent || !matches(model, &rule->parent[way], way, &process->parent)))
            return false;
    }
    return !rule->has_user || (process->has_user && rule->user == process->user);
}

static struct wvu_verdict model_judge(const struct model *model,
                                      const struct model_process *process)
{
    struct wvu_verdict verdict = {.wanted = WVU_WANTED_ALL};

    for (uint32_t bit = 0; bit < 32; bit++) {
        bool wanted = !model->excludes;

        if ((all_kinds() >> bit & 1) == 0)
            continue;
        for (int i = model->count - 1; i >= 0;
             i--) { /* backwards: the first one has the last word */
            const struct model_rule *rule = &model->rules[i];

            if (rule->action <= 1 && (rule->kinds >> bit & 1) != 0 &&
                model_holds(model, rule, process))
                wanted = rule->action == 0;
        }
        if (!wanted)
            verdict.wanted &= ~(1u << bit);
    }
    for (int i = model->count - 1; i >= 0; i--) {
        const struct model_rule *rule = &model->rules[i];

        if (rule->action < 2 || !model_holds(model, rule, process))
            continue;
        if (rule->action == 3) {
            verdict.is_protected = true;
        } else {
            verdict.deny = rule->mode == 2 ? WVU_DENY_ENFORCE : WVU_DENY_REPORT;
            snprintf(verdict.rule, sizeof verdict.rule, "%s", rule->name);
        }
    }
    return verdict;
}

/* A text with the rules in it, in one of many ways to write them. */
struct writer {
    char text[16384];
    size_t length;
    int line;
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
put(struct writer *writer, const char *format, ...)
{
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(writer->text + writer->length, sizeof writer->text - writer->length, format,
                     arguments);
    va_end(arguments);
    assert_true(size >= 0 && (size_t)size < sizeof writer->text - writer->length);
    writer->length += (size_t)size;
}

static void put_blanks(struct writer *writer)
{
    do
        put(writer, "%s", one_in(4) ? "\t" : " ");
    while (one_in(3));
}

static void put_line_end(struct writer *writer)
{
    if (one_in(5))
        put(writer, " # %s", one_in(2) ? "include image=\"" : "\xFF");
    put(writer, "%s", one_in(4) ? "\r\n" : "\n");
    writer->line++;
}

static void put_letters(struct writer *writer, const char *key, const struct letters *path)
{
    bool quoted = one_in(3);

    for (int i = 0; i < path->length; i++)
        quoted = quoted || path->at[i] == 6 || path->at[i] == 7;
    put_blanks(writer);
    put(writer, "%s=%s", key, quoted ? "\"" : "");
    for (int i = 0; i < path->length; i++)
        put(writer, "%s%s", quoted && (path->at[i] == 7 || path->at[i] == 8) ? "\\" : "",
            letters[path->at[i]].utf8);
    put(writer, "%s", quoted ? "\"" : "");
}

static void put_kinds(struct writer *writer, uint32_t kinds)
{
    static const char *const names[] = {
        "",
#define WVU_EVENT(number, name, structure, description) #name,
#include "winvirtue/events.def"
    };
    const char *before = " event=";

    for (uint32_t bit = 1; bit < WVU_EVENT_INDICES; bit++) {
        if ((kinds >> bit & 1) != 0) {
            put(writer, "%s%s", before, names[bit]);
            before = ",";
        }
    }
}

static void put_rule(struct writer *writer, const struct model *model, struct model_rule *rule)
{
    static const char *const actions[] = {"include", "exclude", "deny", "protect"};
    static const char *const keys[] = {"image", "image-prefix", "image-suffix"};
    static const char *const parent_keys[] = {"parent", "parent-prefix", "parent-suffix"};

    put(writer, "%s", actions[rule->action]);
    if (rule->kinds != all_kinds())
        put_kinds(writer, rule->kinds);
    for (int way = 0; way < WAYS; way++) {
        if (rule->has_parent[way])
            put_letters(writer, parent_keys[way], &rule->parent[way]);
        if (rule->has_image[way])
            put_letters(writer, keys[way], &rule->image[way]);
    }
    if (rule->has_user)
        put(writer, model->host.utf16 ? " user=S-1-5-%u" : " user=%u", rule->user);
    if (rule->action == 2 && rule->mode != 0)
        put(writer, " mode=%s", rule->mode == 1 ? "report" : "enforce");
    if (rule->name[0] != '\0')
        put(writer, " name=%s", rule->name);
    else
        snprintf(rule->name, sizeof rule->name, "line %d", writer->line);
    put_line_end(writer);
}

static void random_rule(struct model_rule *rule, bool needs_condition)
{
    uint32_t conditions = 0;

    *rule = (struct model_rule){.action = (int)random_below(4),
                                .kinds = all_kinds(),
                                .mode = (int)random_below(3),
                                .user = random_below(3)};
    do {
        for (int way = 0; way < WAYS; way++) {
            rule->has_image[way] = one_in(3);
            rule->has_parent[way] = one_in(6);
            rule->image[way] = random_letters();
            rule->parent[way] = random_letters();
            conditions += rule->has_image[way] + rule->has_parent[way];
        }
        rule->has_user = one_in(6);
        conditions += rule->has_user;
    } while (conditions == 0 && (needs_condition || rule->action >= 2));
    if (rule->action < 2 && one_in(2)) {
        rule->kinds = (1u << (1 + random_below(5))) | (1u << (1 + random_below(5)));
        rule->kinds &= all_kinds();
    }
    if (rule->action >= 2 && one_in(2))
        snprintf(rule->name, sizeof rule->name, "n%u", random_below(100));
}

static void random_model(struct model *model, struct writer *writer)
{
    const int default_at = one_in(2) ? (int)random_below(24) : -1;

    memset(model, 0, sizeof *model);
    model->host = (struct wvu_filter_host){.utf16 = one_in(2), .ignore_case = one_in(2)};
    model->count = (int)random_below(24);
    writer->length = 0;
    writer->line = 1;
    for (int i = 0; i < model->count; i++) {
        if (i == default_at) {
            model->excludes = one_in(2);
            put(writer, "default %s", model->excludes ? "exclude" : "include");
            put_line_end(writer);
        }
        if (one_in(6))
            put_line_end(writer);
        if (one_in(6))
            put_blanks(writer);
        random_rule(&model->rules[i], !one_in(10));
        put_rule(writer, model, &model->rules[i]);
    }
}

/* The path as the host has it. */
static uint32_t spell_letters(const struct model *model, const struct letters *path, uint8_t *bytes)
{
    uint32_t size = 0;

    for (int i = 0; i < path->length; i++) {
        const uint16_t *units = letters[path->at[i]].utf16;
        const char *utf8 = letters[path->at[i]].utf8;
        const size_t length = model->host.utf16 ? (units[1] != 0 ? 4 : 2) : strlen(utf8);

        memcpy(bytes + size, model->host.utf16 ? (const void *)units : utf8, length);
        size += (uint32_t)length;
    }
    return size;
}

static struct wvu_verdict judge_process(const struct wvu_filter *filter, const struct model *model,
                                        const struct model_process *process)
{
    uint8_t parent[64], image[64];
    char sid[32];
    struct wvu_subject subject = {.image = parent, .unit = model->host.utf16 ? 2 : 1};
    uint64_t parent_matches = 0;

    if (process->has_parent) {
        subject.image_size = spell_letters(model, &process->parent, parent);
        parent_matches = judged(filter, &subject).as_parent;
    }
    subject.image = process->has_image ? image : NULL;
    subject.image_size = process->has_image ? spell_letters(model, &process->image, image) : 0;
    subject.parent_matches = parent_matches;
    snprintf(sid, sizeof sid, "S-1-5-%u", process->user);
    subject.has_user = process->has_user && !model->host.utf16;
    subject.user_id = process->user;
    subject.user_sid = process->has_user && model->host.utf16 ? sid : NULL;
    return judged(filter, &subject);
}

static void check_process(const struct wvu_filter *filter, const struct model *model,
                          const struct writer *writer)
{
    const struct model_process process = {.has_image = !one_in(10),
                                          .has_parent = !one_in(4),
                                          .has_user = !one_in(4),
                                          .image = random_letters(),
                                          .parent = random_letters(),
                                          .user = random_below(3)};
    const struct wvu_verdict found = judge_process(filter, model, &process);
    const struct wvu_verdict expected = model_judge(model, &process);

    if (found.wanted != expected.wanted || found.deny != expected.deny ||
        found.is_protected != expected.is_protected || strcmp(found.rule, expected.rule) != 0)
        fail_msg("wanted %x not %x, deny %u not %u, protected %d not %d, rule %s not %s by\n%s",
                 found.wanted, expected.wanted, found.deny, expected.deny, found.is_protected,
                 expected.is_protected, found.rule, expected.rule, writer->text);
}

static void random_rules_judge_as_an_obvious_matcher(void **state)
{
    static struct model model;
    static struct writer writer;

    (void)state;
    random_state = UINT64_C(0x5eed0f117e0);
    for (int round = 0; round < 4000; round++) {
        struct wvu_filter *filter;

        random_model(&model, &writer);
        writer.text[writer.length] = '\0';
        filter = made(writer.text, &model.host);
        for (int i = 0; i < 40; i++)
            check_process(filter, &model, &writer);
        wvu_filter_destroy(filter);
    }
}

/* ---- the page ------------------------------------------------------------------------------------------------ */

/* Every block of docs/rules.md that begins with ```rules (Linux) or ```rules-windows is taken. */
static void the_examples_of_the_page_are_taken(void **state)
{
    FILE *page = fopen(WVU_RULES_PAGE, "r");
    const struct wvu_filter_host *host = NULL;
    size_t length = 0;
    int blocks[2] = {0, 0};
    char line[1000];

    (void)state;
    assert_non_null(page);
    while (fgets(line, sizeof line, page) != NULL) {
        if (host != NULL && strcmp(line, "```\n") == 0) {
            struct wvu_filter *filter = made(big, host);

            assert_true(wvu_filter_rules(filter) > 0);
            blocks[host == &windows_host]++;
            wvu_filter_destroy(filter);
            host = NULL;
        } else if (host != NULL) {
            length += (size_t)snprintf(big + length, sizeof big - length, "%s", line);
            assert_true(length < sizeof big);
        } else if (strcmp(line, "```rules\n") == 0 || strcmp(line, "```rules-windows\n") == 0) {
            host = line[8] == '\n' ? &bytes_host : &windows_host;
            length = 0;
            big[0] = '\0';
        }
    }
    fclose(page);
    assert_null(host);
    assert_true(blocks[0] >= 3);
    assert_true(blocks[1] >= 1);
}

#define TEST(name) cmocka_unit_test_teardown(name, no_memory_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_wrong_is_named_with_its_line),
        TEST(windows_has_its_own_users_and_needs_utf8),
        TEST(ways_of_writing_do_not_matter),
        TEST(quotes_hold_what_a_word_cannot),
        TEST(the_text_is_kept_as_it_was_given),
        TEST(the_first_rule_that_matches_decides),
        TEST(deny_and_protect_are_decided_on_their_own),
        TEST(conditions_on_parents_are_what_the_parent_was),
        TEST(windows_ignores_case),
        TEST(units_that_are_no_characters_do_no_harm),
        TEST(other_hosts_images_are_not_known),
        TEST(users_of_windows_are_compared_without_case),
        TEST(paths_with_the_same_hash_are_told_apart),
        TEST(a_path_matches_in_each_of_its_spellings),
        TEST(spellings_that_cannot_be_are_refused),
        TEST(so_many_rules_and_no_more),
        TEST(so_many_bytes_and_no_more),
        TEST(so_many_parents_and_no_more),
        TEST(without_memory_nothing_is_made),
        TEST(files_of_deny_rules_can_be_listed),
        TEST(random_rules_judge_as_an_obvious_matcher),
        TEST(the_examples_of_the_page_are_taken),
    };
    return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
