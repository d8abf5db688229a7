/*
 * words.c: texts taken apart and put together. Inputs lie at the end of memory of just their size, so that a
 * sanitizer sees a byte read beyond them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "words.h"

/* ---- taking apart ---------------------------------------------------------------------------- */

static char *held; /* freed by the next one and at the end */

static struct wvu_word word_of(const char *text)
{
    size_t length = strlen(text);

    free(held);
    held = malloc(length + (length == 0));
    assert_non_null(held);
    memcpy(held, text, length);
    return (struct wvu_word){held, length};
}

static int release(void **state)
{
    (void)state;
    free(held);
    held = NULL;
    return 0;
}

static void assert_word(const struct wvu_word *word, const char *expected)
{
    assert_int_equal(word->length, strlen(expected));
    assert_memory_equal(word->text, expected, word->length);
}

static void words_stand_between_blanks(void **state)
{
    struct wvu_word rest = word_of(" \t one\r\ntwo  three=3\n ");
    struct wvu_word word;

    (void)state;
    assert_true(wvu_word_next(&rest, &word));
    assert_word(&word, "one");
    assert_true(wvu_word_next(&rest, &word));
    assert_word(&word, "two");
    assert_true(wvu_word_next(&rest, &word));
    assert_word(&word, "three=3");
    assert_false(wvu_word_next(&rest, &word));
    assert_false(wvu_word_next(&rest, &word));
    rest = (struct wvu_word){NULL, 0};
    assert_false(wvu_word_next(&rest, &word));
}

static void lines_end_with_lf_or_crlf(void **state)
{
    struct wvu_word rest = word_of("a b\r\n\n\rc\r\r\nlast");
    struct wvu_word line;

    (void)state;
    assert_true(wvu_word_line(&rest, &line));
    assert_word(&line, "a b");
    assert_true(wvu_word_line(&rest, &line));
    assert_word(&line, "");
    assert_true(wvu_word_line(&rest, &line));
    assert_word(&line, "\rc\r");
    assert_true(wvu_word_line(&rest, &line));
    assert_word(&line, "last");
    assert_false(wvu_word_line(&rest, &line));
    rest = word_of("one\n");
    assert_true(wvu_word_line(&rest, &line));
    assert_word(&line, "one");
    assert_false(wvu_word_line(&rest, &line)); /* no empty line after the last end */
}

static void a_split_is_at_the_first_separator(void **state)
{
    struct wvu_word word = word_of("key=a=b");
    struct wvu_word before, after;

    (void)state;
    assert_true(wvu_word_split(&word, '=', &before, &after));
    assert_word(&before, "key");
    assert_word(&after, "a=b");
    assert_true(wvu_word_split(&word, '=', &word, &after)); /* into itself */
    assert_word(&word, "key");
    assert_false(wvu_word_split(&word, '=', &before, &after));
    word = word_of("=");
    assert_true(wvu_word_split(&word, '=', &before, &after));
    assert_word(&before, "");
    assert_word(&after, "");
    word = (struct wvu_word){NULL, 0};
    assert_false(wvu_word_split(&word, '=', &before, &after));
}

static void names_are_compared_without_case(void **state)
{
    struct wvu_word word = word_of("Repeat-Interval");

    (void)state;
    assert_true(wvu_word_is(&word, "rEPEAT-iNTERVAL"));
    assert_false(wvu_word_is(&word, "repeat-interva"));
    assert_false(wvu_word_is(&word, "repeat-intervals"));
    assert_false(wvu_word_is(&word, ""));
    word = word_of("a@[`{");
    assert_true(wvu_word_is(&word, "A@[`{"));
    assert_false(wvu_word_is(&word, "a`{@[")); /* beside the letters nothing is folded */
    word = (struct wvu_word){NULL, 0};
    assert_true(wvu_word_is(&word, ""));
    word = (struct wvu_word){"a\0b", 3};
    assert_false(wvu_word_is(&word, "a"));
}

static void numbers_are_decimal_or_hexadecimal(void **state)
{
    static const struct {
        const char *text;
        uint64_t number;
    } good[] = {
        {"0", 0},   {"007", 7},    {"18446744073709551615", UINT64_MAX},
        {"0x0", 0}, {"0XfF", 255}, {"0xFFFFFFFFFFFFFFFF", UINT64_MAX},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "0x",
                                      "-1",
                                      "+1",
                                      "1 ",
                                      " 1",
                                      "1a",
                                      "0xg",
                                      "0x1.",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "0x10000000000000000"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct wvu_word word = word_of(good[i].text);
        uint64_t number = 1;

        assert_true(wvu_word_number(&word, &number));
        assert_true(number == good[i].number);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct wvu_word word = word_of(bad[i]);
        uint64_t number = 4711;

        assert_false(wvu_word_number(&word, &number));
        assert_true(number == 4711);
    }
}

/* ---- putting together ------------------------------------------------------------------------ */

static void a_builder_appends(void **state)
{
    char text[64];
    struct wvu_builder builder;
    struct wvu_word word = {"word and more", 4};

    (void)state;
    wvu_build_begin(&builder, text, sizeof text);
    assert_string_equal(text, "");
    wvu_build_text(&builder, "a ");
    wvu_build_word(&builder, &word);
    wvu_build_text(&builder, " ");
    wvu_build_number(&builder, 0);
    wvu_build_text(&builder, " ");
    wvu_build_number(&builder, UINT64_MAX);
    wvu_build_text(&builder, " ");
    wvu_build_hex(&builder, 0xBEEF, 8);
    wvu_build_word(&builder, &(struct wvu_word){NULL, 0});
    assert_string_equal(text, "a word 0 18446744073709551615 0x0000beef");
    assert_int_equal(builder.length, strlen(text));
    assert_false(builder.cut);
}

static void hexadecimal_numbers_have_the_digits_asked_for(void **state)
{
    char text[64];
    struct wvu_builder builder;

    (void)state;
    wvu_build_begin(&builder, text, sizeof text);
    wvu_build_hex(&builder, UINT64_C(0x123456789abcdef0), 16);
    wvu_build_hex(&builder, 0x1234, 2);
    wvu_build_hex(&builder, 1, 99);
    assert_string_equal(text, "0x123456789abcdef00x340x0000000000000001");
}

static void what_does_not_fit_is_cut(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 8; size++) {
        char text[16];
        struct wvu_builder builder;

        memset(text, '#', sizeof text);
        wvu_build_begin(&builder, text, size);
        wvu_build_text(&builder, "abc");
        wvu_build_text(&builder, "def");
        assert_int_equal(builder.length, size - 1 < 6 ? size - 1 : 6);
        assert_int_equal(builder.cut, size < 7);
        assert_memory_equal(text, "abcdef", builder.length);
        assert_int_equal(text[builder.length], '\0');
        assert_int_equal(text[size], '#');
    }
}

/* ---- UTF-8 ------------------------------------------------------------------------------------- */

static void utf8_becomes_utf16(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf";
    static const uint16_t expected[] = {'a', 0xE9, 0x20AC, 0xD83D, 0xDE00, 0xDBFF, 0xDFFF};
    uint16_t units[16];

    (void)state;
    struct wvu_word word = word_of(text);
    assert_int_equal(wvu_utf16_from_utf8(word.text, word.length, units, 16), 7);
    assert_memory_equal(units, expected, sizeof expected);
    assert_int_equal(wvu_utf16_from_utf8(word.text, word.length, units, 5), 5);
    assert_int_equal(wvu_utf16_from_utf8(word.text, word.length, units, 4), 3); /* no half pair */
    assert_int_equal(wvu_utf16_from_utf8(word.text, word.length, units, 0), 0);
    assert_int_equal(wvu_utf16_from_utf8(NULL, 0, units, 16), 0);
}

/* Each with how many bytes are no part of a character. */
static const struct {
    const char *text;
    unsigned bad;
    const char *clean;
} malformed[] = {
    {"\x80", 1, "?"},
    {"a\xff z", 1, "a? z"},
    {"\xc0\xaf", 2, "??"},                                       /* overlong */
    {"\xe0\x9f\xbf", 3, "???"},                                  /* overlong */
    {"\xed\xa0\x80", 3, "???"},                                  /* a surrogate */
    {"\xf0\x8f\xbf\xbf", 4, "????"},                             /* overlong */
    {"\xf4\x90\x80\x80", 4, "????"},                             /* above U+10FFFF */
    {"\xf5\x80\x80\x80", 4, "????"},                             /* above it, too */
    {"\xc3", 1, "?"},                                            /* its end is missing */
    {"\xe2\x82", 2, "??"},                                       /* likewise */
    {"\xf0\x9f\x98", 3, "???"},                                  /* likewise */
    {"\xc3\xc3\xa9", 1, "?\xc3\xa9"},                            /* a whole one after half a one */
    {"\xed\x9f\xbf\xee\x80\x80", 0, "\xed\x9f\xbf\xee\x80\x80"}, /* around the surrogates */
};

static void what_is_not_utf8_is_replaced(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        struct wvu_word word = word_of(malformed[i].text);
        uint16_t units[16];
        unsigned bad = 0;
        size_t count = wvu_utf16_from_utf8(word.text, word.length, units, 16);

        for (size_t j = 0; j < count; j++)
            bad += units[j] == 0xFFFD;
        assert_int_equal(bad, malformed[i].bad);
        wvu_utf8_clean(held, word.length);
        assert_memory_equal(held, malformed[i].clean, word.length);
    }
}

static void control_characters_are_not_for_people(void **state)
{
    char text[] = "a\x1b[31m\nb\x7f\tc \xc3\xa9~";

    (void)state;
    wvu_utf8_clean(text, strlen(text));
    assert_string_equal(text, "a?[31m?b??c \xc3\xa9~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_stand_between_blanks),
        cmocka_unit_test(lines_end_with_lf_or_crlf),
        cmocka_unit_test(a_split_is_at_the_first_separator),
        cmocka_unit_test(names_are_compared_without_case),
        cmocka_unit_test(numbers_are_decimal_or_hexadecimal),
        cmocka_unit_test(a_builder_appends),
        cmocka_unit_test(hexadecimal_numbers_have_the_digits_asked_for),
        cmocka_unit_test(what_does_not_fit_is_cut),
        cmocka_unit_test(utf8_becomes_utf16),
        cmocka_unit_test(what_is_not_utf8_is_replaced),
        cmocka_unit_test(control_characters_are_not_for_people),
    };
    return cmocka_run_group_tests_name("words", tests, NULL, release);
}
