/*
 * uuid.c: known answers. Those of version 5 were made with Python's uuid module; the lengths stand on both
 * sides of SHA-1's block borders (the name space takes 16 bytes).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "uuid.h"

/* RFC 4122, appendix C: the name space of domain names. */
static const uint8_t dns[16] = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                                0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};

static void assert_named(const char *name, const char *expected)
{
    uint8_t uuid[16];
    char text[37];

    wvu_uuid_from_name(dns, name, uuid);
    wvu_uuid_format(uuid, text);
    assert_string_equal(text, expected);
}

static void names_give_the_known_ids(void **state)
{
    (void)state;
    assert_named("python.org", "886313e1-3b8a-5372-9b90-0c9aee199e5d");
    assert_named("www.example.com", "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    assert_named("", "4ebd0208-8328-5d69-8c44-ec50939c0967");
}

static void lengths_around_block_borders(void **state)
{
    static const struct {
        size_t length;
        const char *uuid;
    } known[] = {
        {38, "fa465dc7-82d5-5c3b-a5bb-9b8f3132a2b7"},
        {39, "5824f981-4282-59d4-9716-acb6d741350e"},
        {40, "39f39c20-db47-5131-8879-62f8f67f9014"},
        {47, "660c273c-8a00-5941-b6f4-8d0afed88966"},
        {48, "7280cc42-274a-5c4a-91fc-ae23f853eeb7"},
        {49, "69349718-028b-5ff0-a00f-c024ded6e6ee"},
        {111, "5a333448-30c7-569b-ab96-842bddfbe8ca"},
        {112, "ab683ad5-4de4-5faf-bf37-0788e34176da"},
        {300, "39aaf90c-2a5a-5781-93dc-08baea928201"},
    };
    char name[301];

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        memset(name, 'a', known[i].length);
        name[known[i].length] = '\0';
        assert_named(name, known[i].uuid);
    }
}

static void random_ids_are_marked_as_such(void **state)
{
    uint8_t ones[16];
    uint8_t zeros[16] = {0};
    char text[37];

    (void)state;
    memset(ones, 0xFF, sizeof ones);
    wvu_uuid_from_random(ones);
    wvu_uuid_format(ones, text);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    wvu_uuid_from_random(zeros);
    wvu_uuid_format(zeros, text);
    assert_string_equal(text, "00000000-0000-4000-8000-000000000000");
}

static void format_is_lower_case_and_ends(void **state)
{
    static const uint8_t uuid[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                     0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
    char text[40];

    (void)state;
    memset(text, '#', sizeof text);
    wvu_uuid_format(uuid, text);
    assert_string_equal(text, "01234567-89ab-cdef-fedc-ba9876543210");
    assert_int_equal(text[37], '#');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_give_the_known_ids),
        cmocka_unit_test(lengths_around_block_borders),
        cmocka_unit_test(random_ids_are_marked_as_such),
        cmocka_unit_test(format_is_lower_case_and_ends),
    };
    return cmocka_run_group_tests_name("uuid", tests, NULL, NULL);
}
