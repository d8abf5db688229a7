/*
 * moderator.c: at once when quiet, at a bounded rate when busy, never longer than asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "moderator.h"

#define PERIOD  UINT64_C(5000000)
#define RESERVE 32u
#define START   UINT64_C(1000000000000)

static void constants_are_what_the_documents_say(void **state)
{
    (void)state;
    assert_int_equal(WVU_MODERATOR_PERIOD_NS, PERIOD);
    assert_int_equal(WVU_MODERATOR_RESERVE, RESERVE);
}

static void far_apart_is_always_at_once(void **state)
{
    struct wvu_moderator moderator;

    (void)state;
    wvu_moderator_init(&moderator);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(wvu_moderator_delay(&moderator, START + i * PERIOD), 0);
}

static void a_burst_uses_the_reserve_up(void **state)
{
    struct wvu_moderator moderator;

    (void)state;
    wvu_moderator_init(&moderator);
    for (uint32_t i = 0; i < RESERVE; i++)
        assert_int_equal(wvu_moderator_delay(&moderator, START), 0);
    assert_int_equal(wvu_moderator_delay(&moderator, START), PERIOD);
    /* Asking takes nothing. */
    assert_int_equal(wvu_moderator_delay(&moderator, START), PERIOD);
    assert_int_equal(wvu_moderator_delay(&moderator, START + PERIOD - 1), 1);
    assert_int_equal(wvu_moderator_delay(&moderator, START + PERIOD), 0);
    assert_int_equal(wvu_moderator_delay(&moderator, START + PERIOD), PERIOD);
}

static void whoever_waits_as_told_may_go(void **state)
{
    struct wvu_moderator moderator;
    uint64_t now = START;

    (void)state;
    wvu_moderator_init(&moderator);
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t delay = wvu_moderator_delay(&moderator, now);

        assert_true(delay <= PERIOD);
        if (delay != 0) {
            now += delay;
            assert_int_equal(wvu_moderator_delay(&moderator, now), 0);
        }
    }
}

static void the_rate_is_bounded_under_any_load(void **state)
{
    struct wvu_moderator moderator;
    uint32_t taken = 0;
    const uint64_t span = 1000 * PERIOD;

    (void)state;
    wvu_moderator_init(&moderator);
    for (uint64_t now = START; now <= START + span; now += 1000)
        taken += wvu_moderator_delay(&moderator, now) == 0;
    assert_int_equal(taken, RESERVE + 1000);
}

static void rest_fills_the_reserve_but_no_more(void **state)
{
    struct wvu_moderator moderator;
    uint32_t taken = 0;

    (void)state;
    wvu_moderator_init(&moderator);
    while (wvu_moderator_delay(&moderator, START) == 0)
        taken++;
    assert_int_equal(taken, RESERVE);
    for (taken = 0; wvu_moderator_delay(&moderator, START + 10 * PERIOD) == 0; taken++)
        ;
    assert_int_equal(taken, 10);
    for (taken = 0; wvu_moderator_delay(&moderator, START + UINT64_C(86400000000000)) == 0; taken++)
        ;
    assert_int_equal(taken, RESERVE);
}

static void the_first_moment_of_a_clock_is_fine(void **state)
{
    struct wvu_moderator moderator;

    (void)state;
    wvu_moderator_init(&moderator);
    for (uint32_t i = 0; i < RESERVE; i++)
        assert_int_equal(wvu_moderator_delay(&moderator, 0), 0);
    assert_int_equal(wvu_moderator_delay(&moderator, 0), PERIOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_are_what_the_documents_say),
        cmocka_unit_test(far_apart_is_always_at_once),
        cmocka_unit_test(a_burst_uses_the_reserve_up),
        cmocka_unit_test(whoever_waits_as_told_may_go),
        cmocka_unit_test(the_rate_is_bounded_under_any_load),
        cmocka_unit_test(rest_fills_the_reserve_but_no_more),
        cmocka_unit_test(the_first_moment_of_a_clock_is_fine),
    };
    return cmocka_run_group_tests_name("moderator", tests, NULL, NULL);
}
