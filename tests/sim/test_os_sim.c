/*
 * The simulated host itself: that it schedules, keeps time, and above all that it notices what it is
 * there to notice. A checker that never fails proves nothing, so most tests here expect a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "atomic.h"
#include "log.h"
#include "os_sim.h"

#define TAG   WVU_TAG('T', 'e', 's', 't')
#define OTHER WVU_TAG('O', 't', 'h', 'r')

static const struct wvu_sim_settings plain = {.seed = 1, .switch_odds = 2, .point_limit = 200000};

static bool run_seed(uint64_t seed, bool store_buffers, void (*body)(void *), void *context)
{
    struct wvu_sim_settings settings = plain;

    settings.seed = seed;
    settings.store_buffers = store_buffers;
    return wvu_sim_run(&settings, body, context);
}

static void expect_fine(void (*body)(void *), void *context)
{
    if (!wvu_sim_run(&plain, body, context))
        fail_msg("%s", wvu_sim_failure());
}

static void do_nothing(void *context)
{
    (void)context;
}

static void expect_failure(void (*body)(void *), const char *what)
{
    assert_false(wvu_sim_run(&plain, body, NULL));
    if (strstr(wvu_sim_failure(), what) == NULL)
        fail_msg("'%s' instead of '%s'", wvu_sim_failure(), what);
    expect_fine(do_nothing, NULL); /* the next run is not disturbed */
}

/* ---- what it must notice ------------------------------------------------------------------------------ */

static void wait_for_ever(void *context)
{
    wvu_event event;

    (void)context;
    (void)wvu_event_init(&event);
    (void)wvu_event_wait(&event, WVU_TIMEOUT_NONE);
}

struct two_locks {
    wvu_mutex a;
    wvu_mutex b;
};

static void take_b_then_a(void *context)
{
    struct two_locks *locks = context;

    wvu_mutex_acquire(&locks->b);
    wvu_mutex_acquire(&locks->a);
    wvu_mutex_release(&locks->a);
    wvu_mutex_release(&locks->b);
}

static void take_a_then_b(void *context)
{
    static struct two_locks locks;
    wvu_thread thread;

    (void)context;
    (void)wvu_mutex_init(&locks.a);
    (void)wvu_mutex_init(&locks.b);
    (void)wvu_thread_start(&thread, "other", take_b_then_a, &locks);
    for (int i = 0; i < 100; i++) {
        wvu_mutex_acquire(&locks.a);
        wvu_mutex_acquire(&locks.b);
        wvu_mutex_release(&locks.b);
        wvu_mutex_release(&locks.a);
    }
    wvu_thread_join(&thread);
    wvu_mutex_destroy(&locks.a);
    wvu_mutex_destroy(&locks.b);
}

static void wait_under_spin_lock(void *context)
{
    wvu_lock lock;
    wvu_event event;

    (void)context;
    wvu_lock_init(&lock);
    (void)wvu_event_init(&event);
    wvu_lock_acquire(&lock);
    (void)wvu_event_wait(&event, 1);
}

static void allocate_in_callback(void *context)
{
    (void)context;
    wvu_sim_callback_begin();
    (void)wvu_os_alloc(8, TAG);
}

static void wait_in_callback(void *context)
{
    wvu_event event;

    (void)context;
    (void)wvu_event_init(&event);
    wvu_sim_callback_begin();
    (void)wvu_event_wait(&event, 0);
}

static void log_in_callback(void *context)
{
    (void)context;
    wvu_sim_callback_begin();
    wvu_log_error(WVU_LOG_MAIN, "never here");
}

static void free_with_other_tag(void *context)
{
    (void)context;
    wvu_os_free(wvu_os_alloc(8, TAG), OTHER);
}

static void leak(void *context)
{
    (void)context;
    (void)wvu_os_alloc(8, TAG);
}

static void leave_event(void *context)
{
    wvu_event event;

    (void)context;
    (void)wvu_event_init(&event);
}

static void sleep_long(void *context)
{
    (void)context;
    wvu_sim_sleep(WVU_SIM_S);
}

static void leave_thread(void *context)
{
    wvu_thread thread;

    (void)context;
    (void)wvu_thread_start(&thread, "left", sleep_long, NULL);
}

static void take_twice(void *context)
{
    wvu_lock lock;

    (void)context;
    wvu_lock_init(&lock);
    wvu_lock_acquire(&lock);
    wvu_lock_acquire(&lock);
}

static void release_unheld(void *context)
{
    wvu_lock lock;

    (void)context;
    wvu_lock_init(&lock);
    wvu_lock_release(&lock);
}

static void end_with_lock(void *context)
{
    static wvu_lock lock;

    (void)context;
    wvu_lock_init(&lock);
    wvu_lock_acquire(&lock);
}

static void use_destroyed(void *context)
{
    wvu_event event;

    (void)context;
    (void)wvu_event_init(&event);
    wvu_event_destroy(&event);
    wvu_event_set(&event);
}

static void leave_rundown_twice(void *context)
{
    wvu_rundown rundown;

    (void)context;
    (void)wvu_rundown_init(&rundown);
    (void)wvu_rundown_acquire(&rundown);
    wvu_rundown_release(&rundown);
    wvu_rundown_release(&rundown);
}

static void spin(void *context)
{
    (void)context;
    for (;;)
        (void)wvu_os_uptime();
}

struct late_store {
    uint32_t *memory;
    bool stored;
};

static void store_and_go_on(void *context)
{
    struct late_store *late = context;

    wvu_store_relaxed(late->memory, 1);
    late->stored = true;
    (void)wvu_os_uptime();
}

static void free_under_store(void *context)
{
    struct late_store late = {.memory = wvu_os_alloc(sizeof(uint32_t), TAG)};
    wvu_thread thread;

    (void)context;
    (void)wvu_thread_start(&thread, "storing", store_and_go_on, &late);
    while (!late.stored)
        (void)wvu_os_uptime();
    wvu_os_free(late.memory, TAG);
    wvu_thread_join(&thread);
}

static void notices_deadlock(void **state)
{
    bool noticed = false;

    (void)state;
    expect_failure(wait_for_ever, "deadlock");
    for (uint64_t seed = 1; seed < 200 && !noticed; seed++)
        noticed = !run_seed(seed, false, take_a_then_b, NULL);
    assert_true(noticed);
    assert_non_null(strstr(wvu_sim_failure(), "deadlock"));
    assert_non_null(strstr(wvu_sim_failure(), "held by other"));
    assert_non_null(strstr(wvu_sim_failure(), "held by control"));
}

static void notices_endless_run(void **state)
{
    (void)state;
    expect_failure(spin, "no end in sight");
}

static void notices_wait_under_lock(void **state)
{
    (void)state;
    expect_failure(wait_under_spin_lock, "wvu_event_wait while a spin lock is held");
}

static void notices_what_callbacks_must_not_do(void **state)
{
    (void)state;
    expect_failure(allocate_in_callback, "wvu_os_alloc in a kernel callback");
    expect_failure(wait_in_callback, "wvu_event_wait in a kernel callback");
    expect_failure(log_in_callback, "a log line in a kernel callback");
}

static void notices_wrong_memory(void **state)
{
    (void)state;
    expect_failure(free_with_other_tag, "free with tag Othr of memory with tag Test");
    expect_failure(leak, "1 allocations are left");
}

static void notices_objects_left(void **state)
{
    (void)state;
    expect_failure(leave_event, "1 mutexes, events or run-downs are not destroyed");
}

static void notices_threads_left(void **state)
{
    (void)state;
    expect_failure(leave_thread, "thread left is not joined");
}

static void notices_wrong_use_of_objects(void **state)
{
    (void)state;
    expect_failure(take_twice, "taken twice");
    expect_failure(release_unheld, "does not hold it");
    expect_failure(end_with_lock, "ends with a lock held");
    expect_failure(use_destroyed, "after its destroy");
    expect_failure(leave_rundown_twice, "who is not inside");
}

static void notices_store_into_freed_memory(void **state)
{
    bool noticed = false;

    (void)state;
#ifdef WVU_SIM_TSAN
    skip(); /* no delayed stores there */
#endif
    for (uint64_t seed = 1; seed < 200 && !noticed; seed++)
        noticed = !run_seed(seed, true, free_under_store, NULL) &&
                  strstr(wvu_sim_failure(), "still has a store to it under way") != NULL;
    assert_true(noticed);
}

/* ---- time, switches, stores ------------------------------------------------------------------------------ */

static void check_time(void *context)
{
    uint64_t before = wvu_os_uptime();
    int64_t clock = wvu_os_system_time();
    wvu_event event;

    (void)context;
    wvu_sim_check(wvu_event_init(&event) == WVU_STATUS_OK, "init");
    wvu_sim_check(wvu_event_wait(&event, 3600 * WVU_SIM_S) == WVU_STATUS_TIMEOUT, "no time-out");
    wvu_sim_check(wvu_os_uptime() - before >= 3600 * WVU_SIM_S, "an hour is too short");
    wvu_sim_check(wvu_os_uptime() - before < 3601 * WVU_SIM_S, "an hour is too long");
    wvu_sim_check(wvu_os_system_time() - clock >= INT64_C(36000000000), "the clock stands");
    wvu_sim_shift_clock(-INT64_C(72000000000));
    wvu_sim_check(wvu_os_system_time() < clock, "the clock was not set back");
    wvu_event_set(&event);
    wvu_event_set(&event);
    wvu_sim_check(wvu_event_wait(&event, 0) == WVU_STATUS_OK, "a set was lost");
    wvu_sim_check(wvu_event_wait(&event, 0) == WVU_STATUS_TIMEOUT, "an event was not reset");
    wvu_event_destroy(&event);
}

static void time_is_virtual(void **state)
{
    (void)state;
    expect_fine(check_time, NULL);
}

static void check_services(void *context)
{
    wvu_event event;
    wvu_mutex mutex;

    (void)context;
    wvu_sim_fail_service(2);
    wvu_sim_check(wvu_event_init(&event) == WVU_STATUS_OK, "the first fails");
    wvu_sim_check(wvu_os_alloc(8, TAG) == NULL, "the second does not fail");
    wvu_sim_check(wvu_mutex_init(&mutex) == WVU_STATUS_OK, "the third fails");
    wvu_sim_check(wvu_sim_services() == 3, "they are not counted");
    wvu_mutex_destroy(&mutex);
    wvu_event_destroy(&event);
}

static void services_fail_on_demand(void **state)
{
    (void)state;
    expect_fine(check_services, NULL);
}

struct rundown_case {
    wvu_rundown rundown;
    bool left;
};

static void be_inside(void *context)
{
    struct rundown_case *c = context;

    if (wvu_rundown_acquire(&c->rundown)) {
        wvu_sim_stall(WVU_SIM_MS);
        c->left = true;
        wvu_rundown_release(&c->rundown);
    } else {
        c->left = true;
    }
}

static void check_rundown(void *context)
{
    struct rundown_case c = {.left = false};
    wvu_thread thread;

    (void)context;
    (void)wvu_rundown_init(&c.rundown);
    (void)wvu_thread_start(&thread, "user", be_inside, &c);
    if (wvu_sim_odds(2))
        wvu_sim_sleep(10);
    wvu_rundown_wait(&c.rundown);
    wvu_sim_check(!wvu_rundown_acquire(&c.rundown), "a closed run-down lets in");
    wvu_rundown_reopen(&c.rundown);
    wvu_thread_join(&thread);
    wvu_sim_check(c.left, "the user did not run");
    wvu_rundown_destroy(&c.rundown);
}

static void rundown_waits_for_users(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 100; seed++)
        if (!run_seed(seed, false, check_rundown, NULL))
            fail_msg("seed %llu: %s", (unsigned long long)seed, wvu_sim_failure());
}

static void draw_path(void *context)
{
    uint64_t *path = context;
    wvu_thread threads[2];

    (void)wvu_thread_start(&threads[0], "a", sleep_long, NULL);
    (void)wvu_thread_start(&threads[1], "b", sleep_long, NULL);
    for (int i = 0; i < 100; i++)
        *path = *path * 31 + wvu_os_uptime() + wvu_sim_random(1000);
    wvu_thread_join(&threads[0]);
    wvu_thread_join(&threads[1]);
    *path = *path * 31 + wvu_sim_points();
}

static void seed_fixes_the_run(void **state)
{
    uint64_t paths[3] = {0};

    (void)state;
    assert_true(run_seed(7, true, draw_path, &paths[0]));
    assert_true(run_seed(7, true, draw_path, &paths[1]));
    assert_true(run_seed(8, true, draw_path, &paths[2]));
    assert_int_equal(paths[0], paths[1]);
    assert_int_not_equal(paths[0], paths[2]);
}

/* Store buffering: each of two threads stores, then looks at the other's store. */
struct litmus {
    uint32_t stored[2];
    uint32_t seen[2];
    bool fence;
};

static void store_then_look(struct litmus *litmus, int self)
{
    wvu_store_relaxed(&litmus->stored[self], 1);
    if (litmus->fence)
        wvu_fence();
    litmus->seen[self] = wvu_load_relaxed(&litmus->stored[1 - self]);
}

static void look_as_second(void *context)
{
    store_then_look(context, 1);
}

static void run_litmus(void *context)
{
    wvu_thread thread;

    (void)wvu_thread_start(&thread, "second", look_as_second, context);
    store_then_look(context, 0);
    wvu_thread_join(&thread);
}

static unsigned both_miss(bool store_buffers, bool fence)
{
    unsigned count = 0;

    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct litmus litmus = {.fence = fence};

        assert_true(run_seed(seed, store_buffers, run_litmus, &litmus));
        count += litmus.seen[0] == 0 && litmus.seen[1] == 0;
    }
    return count;
}

static void stores_are_delayed_until_a_fence(void **state)
{
    (void)state;
#ifdef WVU_SIM_TSAN
    skip();
#endif
    assert_int_equal(both_miss(false, false), 0);
    assert_int_not_equal(both_miss(true, false), 0);
    assert_int_equal(both_miss(true, true), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notices_deadlock),
        cmocka_unit_test(notices_endless_run),
        cmocka_unit_test(notices_wait_under_lock),
        cmocka_unit_test(notices_what_callbacks_must_not_do),
        cmocka_unit_test(notices_wrong_memory),
        cmocka_unit_test(notices_objects_left),
        cmocka_unit_test(notices_threads_left),
        cmocka_unit_test(notices_wrong_use_of_objects),
        cmocka_unit_test(notices_store_into_freed_memory),
        cmocka_unit_test(time_is_virtual),
        cmocka_unit_test(services_fail_on_demand),
        cmocka_unit_test(rundown_waits_for_users),
        cmocka_unit_test(seed_fixes_the_run),
        cmocka_unit_test(stores_are_delayed_until_a_fence),
    };

    return cmocka_run_group_tests_name("simulated host", tests, NULL, NULL);
}
