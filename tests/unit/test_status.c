/*
 * status.c: every status has its name, its text, and the NTSTATUS value that Windows gives it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "winvirtue/status.h"

static const struct {
    wvu_status status;
    const char *name;
    const char *text;
} table[] = {
#define WVU_STATUS(name, value, text) {WVU_STATUS_##name, #name, text},
#include "winvirtue/status.def"
};
#define STATUSES (sizeof table / sizeof table[0])

static void every_status_has_its_name_and_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATUSES; i++) {
        assert_string_equal(wvu_status_name(table[i].status), table[i].name);
        assert_string_equal(wvu_strerror(table[i].status), table[i].text);
        assert_true(strlen(table[i].text) > 3);
    }
}

static void values_are_different_and_negative_but_ok(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATUSES; i++) {
        if (table[i].status == WVU_STATUS_OK)
            assert_int_equal(table[i].status, 0);
        else
            assert_true(table[i].status < 0);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(table[i].status, table[k].status);
    }
}

/* A few by hand, from MS-ERREF: the table must not drift from what Windows says. */
static void values_are_those_of_windows(void **state)
{
    (void)state;
    assert_int_equal((uint32_t)WVU_STATUS_INVALID_PARAMETER, 0xC000000D);
    assert_int_equal((uint32_t)WVU_STATUS_ACCESS_DENIED, 0xC0000022);
    assert_int_equal((uint32_t)WVU_STATUS_DISCONNECTED, 0xC0000037);
    assert_int_equal((uint32_t)WVU_STATUS_TIMEOUT, 0xC00000B5);
    assert_int_equal((uint32_t)WVU_STATUS_CANCELLED, 0xC0000120);
    assert_int_equal((uint32_t)WVU_STATUS_NO_WAITER_FOR_REPLY, 0xC01C0020);
}

static void unknown_values_are_said_to_be_unknown(void **state)
{
    (void)state;
    assert_string_equal(wvu_status_name((wvu_status)0xC0DEC0DE), "UNKNOWN");
    assert_non_null(strstr(wvu_strerror((wvu_status)0xC0DEC0DE), "unknown"));
    assert_string_equal(wvu_status_name(1), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_name_and_text),
        cmocka_unit_test(values_are_different_and_negative_but_ok),
        cmocka_unit_test(values_are_those_of_windows),
        cmocka_unit_test(unknown_values_are_said_to_be_unknown),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
