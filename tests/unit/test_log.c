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

/* ---- levels by name ---------------------------------------------------------------------------- */

static char reason[256];

static wvu_status set(const char *text)
{
    memset(reason, '#', sizeof reason);
    return wvu_log_set(text, strlen(text), reason);
}

static void levels_are_set_by_module(void **state)
{
    (void)state;
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_INFO);
    assert_int_equal(set(" queue=trace\nCOMMS=Warning\tprobe=error "), WVU_STATUS_OK);
    assert_string_equal(reason, "");
    assert_int_equal(passing(WVU_LOG_QUEUE), 15);
    assert_int_equal(passing(WVU_LOG_COMMS), 3);
    assert_int_equal(passing(WVU_LOG_PROBE), 1);
    assert_int_equal(passing(WVU_LOG_MAIN), 7);                   /* not named: as before */
    assert_int_equal(set("all=error queue=info"), WVU_STATUS_OK); /* in order */
    assert_int_equal(passing(WVU_LOG_MAIN), 1);
    assert_int_equal(passing(WVU_LOG_QUEUE), 7);
    assert_int_equal(set("queue=trace all=warning"), WVU_STATUS_OK);
    assert_int_equal(passing(WVU_LOG_QUEUE), 3);
    assert_int_equal(passing(1u << 30), 3); /* all is also what has no name */
}

static void each_module_can_be_named(void **state)
{
    static const struct {
        const char *text;
        uint32_t module;
    } each[] = {{"util=trace", WVU_LOG_UTIL},         {"main=trace", WVU_LOG_MAIN},
                {"comms=trace", WVU_LOG_COMMS},       {"poll=trace", WVU_LOG_POLL},
                {"module=trace", WVU_LOG_MODULE},     {"thread=trace", WVU_LOG_THREAD},
                {"registry=trace", WVU_LOG_REGISTRY}, {"process=trace", WVU_LOG_PROCESS},
                {"sensor=trace", WVU_LOG_SENSOR},     {"probe=trace", WVU_LOG_PROBE},
                {"queue=trace", WVU_LOG_QUEUE}};

    (void)state;
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        wvu_log_configure(WVU_LOG_ALL, WVU_LOG_ERROR);
        assert_int_equal(set(each[i].text), WVU_STATUS_OK);
        for (size_t j = 0; j < sizeof each / sizeof each[0]; j++)
            assert_int_equal(passing(each[j].module), i == j ? 15 : 1);
    }
}

static void a_wrong_text_changes_nothing(void **state)
{
    static const struct {
        const char *text;
        const char *reason;
    } wrong[] = {
        {"", "nothing is set: give MODULE=LEVEL"},
        {" \n", "nothing is set: give MODULE=LEVEL"},
        {"queue", "'queue' is not of the form MODULE=LEVEL"},
        {"queue=trace queues=info",
         "'queues' is no module; there are: all util main comms poll module thread registry "
         "process sensor probe queue"},
        {"queue=trace comms=", "'' is no level; there are: error warning info trace"},
        {"queue=trace comms=loud", "'loud' is no level; there are: error warning info trace"},
    };
    char before[256], after[256];

    (void)state;
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_WARNING);
    wvu_log_describe(before, sizeof before);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(set(wrong[i].text), WVU_STATUS_INVALID_PARAMETER);
        assert_string_equal(reason, wrong[i].reason);
        wvu_log_describe(after, sizeof after);
        assert_string_equal(after, before);
    }
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(set(text), WVU_STATUS_INVALID_PARAMETER);
    assert_non_null(strstr(reason, "xx' is not of the form MODULE=LEVEL"));
}

static void what_is_in_force_can_be_read_and_given_back(void **state)
{
    char text[256], again[256];

    (void)state;
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_WARNING);
    assert_int_equal(set("queue=trace comms=info probe=error"), WVU_STATUS_OK);
    size_t length = wvu_log_describe(text, sizeof text);
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "util=warning\nmain=warning\ncomms=info\npoll=warning\n"
                              "module=warning\nthread=warning\nregistry=warning\n"
                              "process=warning\nsensor=warning\nprobe=error\nqueue=trace");
    assert_int_equal(set("all=error"), WVU_STATUS_OK);
    assert_int_equal(set(text), WVU_STATUS_OK);
    wvu_log_describe(again, sizeof again);
    assert_string_equal(again, text);
    assert_int_equal(wvu_log_describe(again, 10), 9);
    assert_string_equal(again, "util=warn");
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
        cmocka_unit_test(levels_are_set_by_module),
        cmocka_unit_test(each_module_can_be_named),
        cmocka_unit_test(a_wrong_text_changes_nothing),
        cmocka_unit_test(what_is_in_force_can_be_read_and_given_back),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
