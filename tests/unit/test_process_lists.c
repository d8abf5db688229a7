/*
 * process_lists.c: made-up lists and what must be said of them, and /proc as this machine has it.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "process_lists.h"

#define NOW (UINT64_C(100) * 1000000000)

static struct {
    struct wvu_process_lists lists;
    struct wvu_mismatches found;
} world;

static int begin(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.lists.begun = NOW;
    world.lists.has_callbacks = true;
    return 0;
}

static void forget(void)
{
    wvu_process_list_free(&world.lists.before);
    wvu_process_list_free(&world.lists.callbacks);
    wvu_process_list_free(&world.lists.proc);
    wvu_process_list_free(&world.lists.after);
    wvu_mismatches_free(&world.found);
}

static int end(void **state)
{
    (void)state;
    forget();
    return 0;
}

static void kernel(struct wvu_process_list *list, uint32_t pid, uint64_t key)
{
    struct wvu_listed process = {.pid = pid, .key = key, .start = 1, .name = "name"};
    wvu_process_list_add(list, &process);
}

static void before(uint32_t pid, uint64_t key)
{
    kernel(&world.lists.before, pid, key);
}

static void after(uint32_t pid, uint64_t key)
{
    kernel(&world.lists.after, pid, key);
}

static void callbacks(uint32_t pid, uint64_t key)
{
    struct wvu_listed process = {.pid = pid, .key = key};
    wvu_process_list_add(&world.lists.callbacks, &process);
}

static void proc(uint32_t pid, uint64_t start)
{
    struct wvu_listed process = {.pid = pid, .start = start, .name = "shown"};
    wvu_process_list_add(&world.lists.proc, &process);
}

static void compare(void)
{
    wvu_process_list_sort(&world.lists.before);
    wvu_process_list_sort(&world.lists.callbacks);
    wvu_process_list_sort(&world.lists.proc);
    wvu_process_list_sort(&world.lists.after);
    wvu_process_lists_compare(&world.lists, &world.found);
}

static void expect(uint32_t pid, uint64_t key, uint32_t in, uint32_t not_in)
{
    assert_int_equal(world.found.count, 1);
    assert_int_equal(world.found.entries[0].pid, pid);
    assert_int_equal(world.found.entries[0].key, key);
    assert_int_equal(world.found.entries[0].in, in);
    assert_int_equal(world.found.entries[0].not_in, not_in);
}

static void who_is_in_all_is_not_told(void **state)
{
    (void)state;
    for (uint32_t pid = 1000; pid > 0; pid--) {
        before(pid, pid);
        callbacks(pid, pid);
        proc(pid, pid);
        after(pid, pid);
    }
    compare();
    assert_int_equal(world.found.count, 0);
    assert_int_equal(world.lists.proc.count, 1000);
}

static void hidden_from_proc(void **state)
{
    (void)state;
    before(7, 70);
    callbacks(7, 70);
    after(7, 70);
    compare();
    expect(7, 70, WVU_LIST_KERNEL | WVU_LIST_CALLBACKS, WVU_LIST_PROC);
    assert_string_equal(world.found.entries[0].name, "name");
}

static void never_seen_to_start(void **state)
{
    (void)state;
    before(7, 70);
    callbacks(7, 60); /* another process, which had the id before */
    proc(7, 1);
    after(7, 70);
    compare();
    expect(7, 70, WVU_LIST_KERNEL | WVU_LIST_PROC, WVU_LIST_CALLBACKS);
}

static void hidden_from_the_kernel_s_list(void **state)
{
    (void)state;
    callbacks(7, 70);
    proc(7, 1);
    compare();
    expect(7, 70, WVU_LIST_CALLBACKS | WVU_LIST_PROC, WVU_LIST_KERNEL);
    assert_string_equal(world.found.entries[0].name, "shown");
}

static void only_in_proc(void **state)
{
    (void)state;
    proc(7, 33);
    compare();
    expect(7, 0, WVU_LIST_PROC, WVU_LIST_KERNEL | WVU_LIST_CALLBACKS);
    assert_int_equal(world.found.entries[0].start, 33);
}

static void only_seen_to_start(void **state)
{
    (void)state;
    callbacks(7, 70);
    compare();
    expect(7, 70, WVU_LIST_CALLBACKS, WVU_LIST_KERNEL | WVU_LIST_PROC);
}

static void a_list_that_is_left_out_misses_nobody(void **state)
{
    (void)state;
    world.lists.has_callbacks = false;
    before(7, 70);
    proc(7, 1);
    after(7, 70);
    compare();
    assert_int_equal(world.found.count, 0);
    before(8, 80);
    after(8, 80);
    compare();
    expect(8, 80, WVU_LIST_KERNEL, WVU_LIST_PROC);
}

static void who_starts_or_ends_meanwhile_is_not_told(void **state)
{
    (void)state;
    before(1, 10); /* ended */
    after(2, 20);  /* started */
    proc(2, 1);
    before(3, 30); /* another one with the same id */
    after(3, 31);
    struct wvu_listed dead = {.pid = 4, .key = 40, .dead = true, .start = 1};
    before(4, 40); /* it died, and its end may be told or not */
    wvu_process_list_add(&world.lists.after, &dead);
    callbacks(4, 40);
    dead.pid = 5; /* it was dead all the time, and is in /proc until it is waited for */
    wvu_process_list_add(&world.lists.before, &dead);
    wvu_process_list_add(&world.lists.after, &dead);
    proc(5, 1);
    struct wvu_listed young = {.pid = 6, .key = 60, .start = NOW - WVU_LISTS_AGE_NS + 1};
    wvu_process_list_add(&world.lists.before, &young);
    wvu_process_list_add(&world.lists.after, &young);
    compare();
    assert_int_equal(world.found.count, 0);
}

/* ---- the second look --------------------------------------------------------------------------------- */

static void add(struct wvu_mismatches *list, struct wvu_mismatch mismatch)
{
    list->entries = realloc(list->entries, (list->count + 1) * sizeof *list->entries);
    assert_non_null(list->entries);
    list->entries[list->count++] = mismatch;
}

static void only_what_is_found_twice_counts(void **state)
{
    (void)state;
    struct wvu_mismatches first = {0};
    struct wvu_mismatches second = {0};
    add(&first, (struct wvu_mismatch){.pid = 1, .key = 10, .in = 1, .not_in = 4});
    add(&first, (struct wvu_mismatch){.pid = 2, .key = 20, .in = 1, .not_in = 4});
    add(&first, (struct wvu_mismatch){.pid = 3, .key = 30, .in = 1, .not_in = 6});
    add(&first, (struct wvu_mismatch){.pid = 4, .start = 1, .in = 4, .not_in = 3});
    add(&first, (struct wvu_mismatch){.pid = 5, .key = 50, .in = 3, .not_in = 4});
    add(&second, (struct wvu_mismatch){.pid = 2, .key = 21, .in = 1, .not_in = 4});
    add(&second, (struct wvu_mismatch){.pid = 3, .key = 30, .in = 3, .not_in = 4});
    add(&second, (struct wvu_mismatch){.pid = 4, .start = 2, .in = 4, .not_in = 3});
    add(&second, (struct wvu_mismatch){.pid = 5, .key = 50, .in = 5, .not_in = 2});
    wvu_mismatches_confirm(&first, &second);
    assert_int_equal(first.count, 1);
    assert_int_equal(first.entries[0].pid, 3);
    assert_int_equal(first.entries[0].in, 3);
    assert_int_equal(first.entries[0].not_in, 4);
    assert_true(wvu_mismatches_have(&first, &second.entries[1]));
    second.entries[1].not_in = 2;
    assert_false(wvu_mismatches_have(&first, &second.entries[1]));
    free(first.entries);
    free(second.entries);
}

/* ---- /proc ------------------------------------------------------------------------------------------- */

static void stat_lines(void **state)
{
    (void)state;
    struct wvu_listed process;
    const char *line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
    assert_true(wvu_process_lists_read_stat(line, 42, &process));
    assert_int_equal(process.pid, 42);
    assert_int_equal(process.start, 987654);
    assert_string_equal(process.name, "a) b (c)");
    assert_false(wvu_process_lists_read_stat(line, 43, &process));
    assert_false(wvu_process_lists_read_stat("", 0, &process));
    assert_false(wvu_process_lists_read_stat("42", 42, &process));
    assert_false(wvu_process_lists_read_stat("42 (a", 42, &process));
    assert_false(wvu_process_lists_read_stat("42 (a) S 1 2 3", 42, &process));
    assert_false(wvu_process_lists_read_stat("42 )a( S 1 2 3", 42, &process));
    assert_true(wvu_process_lists_read_stat(
        "7 (sixteen letters!) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 5\n", 7, &process));
    assert_memory_equal(process.name, "sixteen letters!", 16);
    assert_int_equal(process.start, 5);
}

static void proc_of_this_machine(void **state)
{
    (void)state;
    char reason[256];
    struct wvu_process_list list = {0};
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pause();
        _exit(0);
    }
    assert_int_equal(wvu_process_lists_check(reason), WVU_STATUS_OK);
    assert_int_equal(wvu_process_lists_read_proc(&list), WVU_STATUS_OK);
    const struct wvu_listed *own = wvu_process_list_find(&list, (uint32_t)getpid());
    assert_non_null(own);
    assert_memory_equal(own->name, "test_process_li", 15);
    const struct wvu_listed *second = wvu_process_list_find(&list, (uint32_t)child);
    assert_non_null(second);
    assert_true(second->start >= own->start);
    kill(child, 9);
    assert_int_equal(waitpid(child, NULL, 0), child);
    wvu_process_list_free(&list);
    assert_int_equal(wvu_process_lists_read_proc(&list), WVU_STATUS_OK);
    assert_null(wvu_process_list_find(&list, (uint32_t)child));
    wvu_process_list_free(&list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_is_in_all_is_not_told),
        TEST(hidden_from_proc),
        TEST(never_seen_to_start),
        TEST(hidden_from_the_kernel_s_list),
        TEST(only_in_proc),
        TEST(only_seen_to_start),
        TEST(a_list_that_is_left_out_misses_nobody),
        TEST(who_starts_or_ends_meanwhile_is_not_told),
        TEST(only_what_is_found_twice_counts),
        TEST(stat_lines),
        TEST(proc_of_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
