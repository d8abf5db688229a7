/*
 * log.c: which lines reach the host, by module and level. The sink is this file's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "log.h"
#include "os.h"

static unsigned lines;
static uint32_t last_module;
static uint32_t last_level;
static char last_text[128];

void wvu_os_log(uint32_t module, uint32_t level, const char *format, va_list arguments)
{
    lines++;
    last_module = module;
    last_level = level;
    vsnprintf(last_text, sizeof last_text, format, arguments);
}

/* Which of the four levels pass, as bits in the order of importance. */
static unsigned passing(uint32_t module)
{
    unsigned bits = 0;

    lines = 0;
    wvu_log_error(module, "e");
    bits |= lines << 0;
    lines = 0;
    wvu_log_warning(module, "w");
    bits |= lines << 1;
    lines = 0;
    wvu_log_info(module, "i");
    bits |= lines << 2;
    lines = 0;
    wvu_log_trace(module, "t");
    bits |= lines << 3;
    return bits;
}

/* First, before anything is configured. */
static void everything_but_traces_passes_at_first(void **state)
{
    (void)state;
    assert_int_equal(passing(WVU_LOG_QUEUE), 7);
    assert_int_equal(passing(WVU_LOG_MAIN), 7);
}

static void levels_pass_in_order_of_importance(void **state)
{
    (void)state;
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_ERROR);
    assert_int_equal(passing(WVU_LOG_QUEUE), 1);
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_WARNING);
    assert_int_equal(passing(WVU_LOG_QUEUE), 3);
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_INFO); /* less important than TRACE only by its number */
    assert_int_equal(passing(WVU_LOG_QUEUE), 7);
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_TRACE);
    assert_int_equal(passing(WVU_LOG_QUEUE), 15);
}

static void modules_are_chosen_by_mask(void **state)
{
    (void)state;
    wvu_log_configure(WVU_LOG_QUEUE | WVU_LOG_PROBE, WVU_LOG_TRACE);
    assert_int_equal(passing(WVU_LOG_QUEUE), 15);
    assert_int_equal(passing(WVU_LOG_PROBE), 15);
    assert_int_equal(passing(WVU_LOG_COMMS), 1);
}

static void errors_always_pass(void **state)
{
    (void)state;
    wvu_log_configure(0, WVU_LOG_ERROR);
    assert_int_equal(passing(WVU_LOG_COMMS), 1);
}

static void lines_arrive_as_written(void **state)
{
    (void)state;
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_TRACE);
    wvu_log_warning(WVU_LOG_COMMS, "%s %u 0x%08x %llu", "text", 7u, 0xC0u, 1ull << 40);
    assert_string_equal(last_text, "text 7 0x000000c0 1099511627776");
    assert_int_equal(last_module, WVU_LOG_COMMS);
    assert_int_equal(last_level, WVU_LOG_WARNING);
}

static int evaluations;

static const char *evaluated(void)
{
    evaluations++;
    return "";
}

static void what_is_filtered_is_not_even_evaluated(void **state)
{
    (void)state;
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_ERROR);
    wvu_log_trace(WVU_LOG_COMMS, "%s", evaluated());
    assert_int_equal(evaluations, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_but_traces_passes_at_first),
        cmocka_unit_test(levels_pass_in_order_of_importance),
        cmocka_unit_test(modules_are_chosen_by_mask),
        cmocka_unit_test(errors_always_pass),
        cmocka_unit_test(lines_arrive_as_written),
        cmocka_unit_test(what_is_filtered_is_not_even_evaluated),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
