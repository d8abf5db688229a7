/*
 * The files of the driver that need no Windows, on this machine: format.c, text.c, object_hash.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "object_hash.h"
#include "text.h"

/* ---- format.c ----------------------------------------------------------------------------------- */

/* The C library is the measure. */
#define SAME(...)                                                                                  \
    do {                                                                                           \
        char ours[128], theirs[128];                                                               \
        size_t length = wvu_format(ours, sizeof ours, __VA_ARGS__);                                \
        assert_int_equal(snprintf(theirs, sizeof theirs, __VA_ARGS__), length);                    \
        assert_string_equal(ours, theirs);                                                         \
    } while (0)

static void test_format_agrees_with_the_library(void **state)
{
    (void)state;
    SAME("%s", "");
    SAME("plain");
    SAME("%s and %s", "one", "two");
    SAME("[%5s][%-5s][%2s]", "abc", "abc", "abc");
    SAME("%c%c", 'x', 'y');
    SAME("[%3c][%-3c]", 'x', 'y');
    SAME("%d %d %d", 0, 1, -1);
    SAME("%d %d", 2147483647, (int)(-2147483647 - 1));
    SAME("%u %x", 4294967295u, 4294967295u);
    SAME("%llu %llx", 18446744073709551615ull, 18446744073709551615ull);
    SAME("%lld %lld", 9223372036854775807ll, -9223372036854775807ll - 1);
    SAME("0x%08x|%8x|%-8x|", 0xABCu, 0xABCu, 0xABCu);
    SAME("%06u.%06u", 12u, 345678u);
    SAME("%05d|%05d|%-5d|%5d", -42, 42, -42, -42);
    SAME("100%%");
    SAME("%016llx", 0x123456789ull);
}

static void test_format_cuts_and_always_terminates(void **state)
{
    (void)state;
    for (size_t size = 1; size < 20; size++) {
        char *buffer = malloc(size); /* exactly this large: a sanitizer sees one byte more */
        assert_non_null(buffer);
        assert_int_equal(wvu_format(buffer, size, "%s-%d", "abcdef", 12345),
                         size < 13 ? size - 1 : 12);
        assert_int_equal(strncmp(buffer, "abcdef-12345", size - 1), 0);
        assert_int_equal(buffer[size < 13 ? size - 1 : 12], '\0');
        free(buffer);
    }
}

static void test_format_survives_what_it_does_not_know(void **state)
{
    char buffer[64];
    const char *unknown = "a %d %q %d"; /* not a literal: the compiler would refuse it */
    const char *unfinished = "50%";
    const char *volatile null = NULL; /* so that the compiler does not see it */
    (void)state;
    (void)wvu_format(buffer, sizeof buffer, unknown, 1, 2, 3);
    assert_string_equal(buffer, "a 1 %q %d");
    (void)wvu_format(buffer, sizeof buffer, unfinished, 0); /* clang wants an argument */
    assert_string_equal(buffer, "50%");
    (void)wvu_format(buffer, sizeof buffer, "%s", null);
    assert_string_equal(buffer, "(null)");
}

/* ---- text.c --------------------------------------------------------------------------------------- */

static void expect_utf8(const uint16_t *from, size_t units, const char *expected)
{
    char text[64];
    assert_int_equal(wvu_utf8_from_utf16(text, sizeof text, from, units), strlen(expected));
    assert_string_equal(text, expected);
}

static void test_utf8(void **state)
{
    static const uint16_t plain[] = {'h', 'o', 's', 't'};
    static const uint16_t longer[] = {0x7F, 0x80, 0x7FF, 0x800, 0xFFFF};
    static const uint16_t pair[] = {0xD83D, 0xDE00, 0xDBFF, 0xDFFF};
    static const uint16_t lone[] = {0xD800, 'a', 0xDC00, 'b', 0xDBFF};
    static const uint16_t ended[] = {'a', 0, 'b'};
    (void)state;
    expect_utf8(plain, 4, "host");
    expect_utf8(plain, 0, "");
    expect_utf8(longer, 5, "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF");
    expect_utf8(pair, 4, "\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF");
    expect_utf8(lone, 5,
                "\xEF\xBF\xBD"
                "a"
                "\xEF\xBF\xBD"
                "b"
                "\xEF\xBF\xBD");
    expect_utf8(ended, 3, "a");
}

static void test_utf8_never_splits_a_character(void **state)
{
    static const uint16_t from[] = {'a', 0x20AC, 0xD83D, 0xDE00};
    static const size_t fits[] = {0, 0, 1, 1, 1, 4, 4, 4, 4, 8, 8};
    (void)state;
    for (size_t size = 1; size <= 10; size++) {
        char *text = malloc(size);
        assert_non_null(text);
        assert_int_equal(wvu_utf8_from_utf16(text, size, from, 4), fits[size]);
        assert_int_equal(text[fits[size]], '\0');
        free(text);
    }
}

/* ---- object_hash.c ---------------------------------------------------------------------------------- */

static void test_object_hash_is_siphash(void **state)
{
    /* The reference's vector for the 8 bytes 00 .. 07 under the key 00 .. 0f. */
    static const struct wvu_object_key key = {UINT64_C(0x0706050403020100),
                                              UINT64_C(0x0f0e0d0c0b0a0908)};
    (void)state;
    assert_true(wvu_object_hash(&key, (const void *)(uintptr_t)UINT64_C(0x0706050403020100)) ==
                UINT64_C(0x93f5f5799a932462));
}

static void test_object_hash_tells_objects_and_keys_apart(void **state)
{
    static const struct wvu_object_key one = {1, 2};
    static const struct wvu_object_key other = {1, 3};
    (void)state;
    assert_true(wvu_object_hash(&one, &one) == wvu_object_hash(&one, &one));
    assert_true(wvu_object_hash(&one, &one) != wvu_object_hash(&one, &other));
    assert_true(wvu_object_hash(&one, &one) != wvu_object_hash(&other, &one));
    assert_true(wvu_object_hash(&one, &one) != (uintptr_t)&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_agrees_with_the_library),
        cmocka_unit_test(test_format_cuts_and_always_terminates),
        cmocka_unit_test(test_format_survives_what_it_does_not_know),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_never_splits_a_character),
        cmocka_unit_test(test_object_hash_is_siphash),
        cmocka_unit_test(test_object_hash_tells_objects_and_keys_apart),
    };
    return cmocka_run_group_tests_name("windows_portable", tests, NULL, NULL);
}
