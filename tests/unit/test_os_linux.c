/*
 * The host services of os_linux.c: each object alone, and under races.
 *
 * Waits have a bound far beyond what they take, so that a lost wake-up fails instead of hanging.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "os.h"

#define TAG      WVU_TAG('T', 'e', 's', 't')
#define SECOND   UINT64_C(1000000000)
#define MS       UINT64_C(1000000)
#define PATIENCE (30 * SECOND)

/* ---- memory -------------------------------------------------------------------------------- */

static void test_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 63, 64, 65, 4096, 100000, 4u << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int round = 0; round < 3; round++) {
            unsigned char *memory = wvu_os_alloc(sizes[i], TAG);
            assert_non_null(memory);
            assert_int_equal((uintptr_t)memory % 16, 0);
            for (size_t at = 0; at < sizes[i]; at++)
                assert_int_equal(memory[at], 0);
            memset(memory, 0xa5, sizes[i]); /* the next round must not see it */
            wvu_os_free(memory, TAG);
        }
    }
    wvu_os_free(NULL, TAG);
}

static void test_memory_that_there_is_not(void **state)
{
    (void)state;
    assert_null(wvu_os_alloc(SIZE_MAX, TAG));
    assert_null(wvu_os_alloc(SIZE_MAX - 64, TAG));
}

/* "Fixed after the start": the pages are there before anybody touches them. */
static void test_memory_is_resident(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 4u << 20;
    unsigned char *memory = wvu_os_alloc(size, TAG);
    unsigned char resident[1024];
    assert_non_null(memory);
    unsigned char *first = (unsigned char *)(((uintptr_t)memory + page - 1) / page * page);
    size_t pages = (size - (size_t)(first - memory)) / page;
    assert_true(pages <= sizeof resident);
    assert_int_equal(mincore(first, pages * page, resident), 0);
    for (size_t i = 0; i < pages; i++)
        assert_int_equal(resident[i] & 1, 1);
    wvu_os_free(memory, TAG);
}

static void test_free_with_another_tag_aborts(void **state)
{
    (void)state;
    void *memory = wvu_os_alloc(10, TAG);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        signal(SIGABRT, SIG_DFL); /* cmocka and sanitizers have handlers */
        wvu_os_free(memory, TAG + 1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    wvu_os_free(memory, TAG);
}

/* ---- lock and mutex ------------------------------------------------------------------------ */

struct counting {
    wvu_lock lock;
    wvu_mutex mutex;
    bool use_mutex;
    uint64_t count; /* plain: what ThreadSanitizer watches */
    uint32_t rounds;
};

static void count_up(void *context)
{
    struct counting *counting = context;
    for (uint32_t i = 0; i < counting->rounds; i++) {
        if (counting->use_mutex)
            wvu_mutex_acquire(&counting->mutex);
        else
            wvu_lock_acquire(&counting->lock);
        counting->count++;
        if (counting->use_mutex)
            wvu_mutex_release(&counting->mutex);
        else
            wvu_lock_release(&counting->lock);
    }
}

static void check_exclusion(bool use_mutex)
{
    struct counting counting = {.use_mutex = use_mutex, .rounds = 50000};
    wvu_thread threads[4];
    wvu_lock_init(&counting.lock);
    assert_int_equal(wvu_mutex_init(&counting.mutex), WVU_STATUS_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wvu_thread_start(&threads[i], "count", count_up, &counting),
                         WVU_STATUS_OK);
    for (int i = 0; i < 4; i++)
        wvu_thread_join(&threads[i]);
    assert_int_equal(counting.count, 4 * counting.rounds);
    wvu_mutex_destroy(&counting.mutex);
}

static void test_lock_excludes(void **state)
{
    (void)state;
    check_exclusion(false);
}

static void test_mutex_excludes(void **state)
{
    (void)state;
    check_exclusion(true);
}

struct waiting {
    wvu_lock lock;
    wvu_event ready;
    uint64_t cpu_ns;
};

static uint64_t thread_cpu(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void wait_for_lock(void *context)
{
    struct waiting *waiting = context;
    wvu_event_set(&waiting->ready);
    uint64_t before = thread_cpu();
    wvu_lock_acquire(&waiting->lock);
    waiting->cpu_ns = thread_cpu() - before;
    wvu_lock_release(&waiting->lock);
}

/* A holder that lost its processor for 100 ms must not cost the waiter 100 ms of its own. */
static void test_lock_does_not_burn_the_processor(void **state)
{
    (void)state;
    struct waiting waiting;
    wvu_thread thread;
    memset(&waiting, 0, sizeof waiting);
    wvu_lock_init(&waiting.lock);
    wvu_event_init(&waiting.ready);
    wvu_lock_acquire(&waiting.lock);
    assert_int_equal(wvu_thread_start(&thread, "wait", wait_for_lock, &waiting), WVU_STATUS_OK);
    assert_int_equal(wvu_event_wait(&waiting.ready, PATIENCE), WVU_STATUS_OK);
    nanosleep(&(struct timespec){0, 100 * (long)MS}, NULL);
    wvu_lock_release(&waiting.lock);
    wvu_thread_join(&thread);
    assert_in_range(waiting.cpu_ns, 0, 50 * MS);
    wvu_event_destroy(&waiting.ready);
}

/* ---- events -------------------------------------------------------------------------------- */

static void test_event_is_auto_reset(void **state)
{
    (void)state;
    wvu_event event;
    assert_int_equal(wvu_event_init(&event), WVU_STATUS_OK);
    assert_int_equal(wvu_event_wait(&event, 0), WVU_STATUS_TIMEOUT);
    wvu_event_set(&event);
    wvu_event_set(&event);
    assert_int_equal(wvu_event_wait(&event, WVU_TIMEOUT_NONE), WVU_STATUS_OK);
    assert_int_equal(wvu_event_wait(&event, 0), WVU_STATUS_TIMEOUT);
    wvu_event_destroy(&event);
}

static void test_event_times_out(void **state)
{
    (void)state;
    wvu_event event;
    wvu_event_init(&event);
    uint64_t before = wvu_os_uptime();
    assert_int_equal(wvu_event_wait(&event, 20 * MS), WVU_STATUS_TIMEOUT);
    assert_true(wvu_os_uptime() - before >= 20 * MS);
    assert_true(wvu_os_uptime() - before < PATIENCE);
    /* It was left clear: a set still counts, and so does a time that ends beyond the clock's. */
    wvu_event_set(&event);
    assert_int_equal(wvu_event_wait(&event, WVU_TIMEOUT_NONE - 1), WVU_STATUS_OK);
    wvu_event_destroy(&event);
}

struct ping {
    wvu_event to, from;
    uint32_t rounds;
    uint32_t failed;
};

static void answer(void *context)
{
    struct ping *ping = context;
    for (uint32_t i = 0; i < ping->rounds && ping->failed == 0; i++) {
        ping->failed = wvu_event_wait(&ping->to, PATIENCE) != WVU_STATUS_OK;
        wvu_event_set(&ping->from);
    }
}

static void test_event_wakes_each_time(void **state)
{
    (void)state;
    struct ping ping = {.rounds = 20000};
    wvu_thread thread;
    wvu_event_init(&ping.to);
    wvu_event_init(&ping.from);
    assert_int_equal(wvu_thread_start(&thread, "answer", answer, &ping), WVU_STATUS_OK);
    for (uint32_t i = 0; i < ping.rounds; i++) {
        wvu_event_set(&ping.to);
        assert_int_equal(wvu_event_wait(&ping.from, PATIENCE), WVU_STATUS_OK);
    }
    wvu_thread_join(&thread);
    assert_int_equal(ping.failed, 0);
}

struct post {
    wvu_event event;
    uint64_t posted; /* atomic */
    uint32_t rounds;
};

static void post(void *context)
{
    struct post *post = context;
    for (uint32_t i = 0; i < post->rounds; i++) {
        wvu_add64_relaxed(&post->posted, 1);
        wvu_event_set(&post->event);
        if (i % 64 == 0)
            sched_yield(); /* so that the waiter also gets to sleep */
    }
}

/* No set is lost, whether it comes before, during or after the going to sleep; time-outs of the wait
 * fall into the race as well. */
static void check_no_lost_set(uint64_t timeout)
{
    struct post shared = {.rounds = 20000};
    wvu_thread threads[3];
    wvu_event_init(&shared.event);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wvu_thread_start(&threads[i], "post", post, &shared), WVU_STATUS_OK);
    uint64_t give_up = wvu_os_uptime() + PATIENCE;
    while (wvu_load64_relaxed(&shared.posted) < 3 * shared.rounds) {
        wvu_status status = wvu_event_wait(&shared.event, timeout);
        if (timeout == PATIENCE)
            assert_int_equal(status, WVU_STATUS_OK);
        assert_true(wvu_os_uptime() < give_up);
    }
    for (int i = 0; i < 3; i++)
        wvu_thread_join(&threads[i]);
    wvu_event_destroy(&shared.event);
}

static void test_event_loses_no_set(void **state)
{
    (void)state;
    check_no_lost_set(PATIENCE);
}

static void test_event_loses_no_set_when_waits_time_out(void **state)
{
    (void)state;
    check_no_lost_set(1000);
}

struct dekker {
    uint32_t flag[2]; /* atomic */
    uint32_t saw[2];
    wvu_event events[2];
    uint32_t turn; /* atomic: rounds done by both */
    uint32_t rounds;
};

static void meet(struct dekker *dekker, uint32_t round)
{
    uint32_t target = 2 * (round + 1), turn;
    do {
        turn = wvu_load_acquire(&dekker->turn);
    } while (!wvu_compare_exchange_full(&dekker->turn, turn, turn + 1));
    for (uint32_t spin = 0; wvu_load_acquire(&dekker->turn) < target; spin++)
        if (spin % 1024 == 1023)
            sched_yield();
}

/* One comes out of the meeting before the other; the delay makes up for that in some rounds. */
static void side(struct dekker *dekker, int me, uint32_t round)
{
    uint32_t delay = me == 0 ? round % 128 : round / 128 % 128;
    for (volatile uint32_t i = 0; i < delay; i++)
        ;
    wvu_store_relaxed(&dekker->flag[me], round + 1);
    wvu_event_set(&dekker->events[me]);
    dekker->saw[me] = wvu_load_relaxed(&dekker->flag[1 - me]);
}

static void other_side(void *context)
{
    struct dekker *dekker = context;
    for (uint32_t round = 0; round < dekker->rounds; round++) {
        meet(dekker, 2 * round);
        side(dekker, 1, round);
        meet(dekker, 2 * round + 1);
    }
}

/* "A full barrier": of two threads that each store, set an event and look at the other's store, at least
 * one sees it. */
static void test_event_set_is_a_full_barrier(void **state)
{
    (void)state;
    struct dekker dekker = {.rounds = 40000};
    wvu_thread thread;
    wvu_event_init(&dekker.events[0]);
    wvu_event_init(&dekker.events[1]);
    assert_int_equal(wvu_thread_start(&thread, "other", other_side, &dekker), WVU_STATUS_OK);
    uint32_t missed = 0;
    for (uint32_t round = 0; round < dekker.rounds; round++) {
        meet(&dekker, 2 * round);
        side(&dekker, 0, round);
        meet(&dekker, 2 * round + 1);
        missed += dekker.saw[0] < round + 1 && dekker.saw[1] < round + 1;
    }
    wvu_thread_join(&thread);
    assert_int_equal(missed, 0);
}

/* From now on any system call but the exit kills this process. */
static bool forbid_system_calls(void)
{
    static struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void test_uncontended_paths_make_no_system_call(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        static wvu_event event;
        static wvu_lock lock;
        static wvu_rundown rundown;
        wvu_event_init(&event);
        wvu_lock_init(&lock);
        wvu_rundown_init(&rundown);
        if (!forbid_system_calls())
            _exit(1);
        for (int i = 0; i < 1000; i++) {
            wvu_event_set(&event);
            wvu_event_wait(&event, 0);
            wvu_lock_acquire(&lock);
            wvu_lock_release(&lock);
            wvu_rundown_acquire(&rundown);
            wvu_rundown_release(&rundown);
        }
        syscall(SYS_exit_group, 42);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* ---- threads ------------------------------------------------------------------------------- */

struct inside {
    sigset_t blocked;
    char name[32];
    wvu_event go;
};

static void look_inside(void *context)
{
    struct inside *inside = context;
    wvu_event_wait(&inside->go, PATIENCE);
    sigprocmask(SIG_BLOCK, NULL, &inside->blocked);
    prctl(PR_GET_NAME, inside->name);
}

static void test_thread_has_name_and_blocks_signals(void **state)
{
    (void)state;
    struct inside inside = {.name = ""};
    wvu_thread thread;
    sigset_t before, after;
    sigprocmask(SIG_BLOCK, NULL, &before);
    wvu_event_init(&inside.go);
    assert_int_equal(wvu_thread_start(&thread, "a-name-that-is-too-long", look_inside, &inside),
                     WVU_STATUS_OK);
    wvu_event_set(&inside.go); /* the name is there when start has returned */
    wvu_thread_join(&thread);
    assert_string_equal(inside.name, "a-name-that-is-");
    assert_int_equal(sigismember(&inside.blocked, SIGTERM), 1);
    assert_int_equal(sigismember(&inside.blocked, SIGHUP), 1);
    assert_int_equal(sigismember(&inside.blocked, SIGUSR1), 1);
    assert_int_equal(sigismember(&inside.blocked, SIGSEGV), 0);
    sigprocmask(SIG_BLOCK, NULL, &after);
    for (int number = 1; number < 32; number++)
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
}

/* ---- run-down ------------------------------------------------------------------------------ */

struct users {
    wvu_rundown rundown;
    uint32_t open;  /* plain: what the run-down protects; written only when nobody can be inside */
    uint32_t wrong; /* atomic */
    uint32_t stop;  /* atomic */
    uint64_t entered;
};

static void use(void *context)
{
    struct users *users = context;
    while (wvu_load_acquire(&users->stop) == 0) {
        if (!wvu_rundown_acquire(&users->rundown)) {
            sched_yield();
            continue;
        }
        if (users->open == 0)
            wvu_store_relaxed(&users->wrong, 1);
        wvu_add64_relaxed(&users->entered, 1);
        wvu_rundown_release(&users->rundown);
    }
}

static void test_rundown_waits_for_everybody(void **state)
{
    (void)state;
    struct users users = {.open = 1};
    wvu_thread threads[3];
    assert_int_equal(wvu_rundown_init(&users.rundown), WVU_STATUS_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wvu_thread_start(&threads[i], "use", use, &users), WVU_STATUS_OK);
    for (int round = 0; round < 500; round++) {
        uint64_t entered = wvu_load64_relaxed(&users.entered);
        while (wvu_load64_relaxed(&users.entered) == entered)
            sched_yield();
        wvu_rundown_wait(&users.rundown);
        users.open = 0;
        assert_false(wvu_rundown_acquire(&users.rundown));
        users.open = 1;
        wvu_rundown_reopen(&users.rundown);
    }
    wvu_store_release(&users.stop, 1);
    for (int i = 0; i < 3; i++)
        wvu_thread_join(&threads[i]);
    assert_int_equal(wvu_load_relaxed(&users.wrong), 0);
    wvu_rundown_destroy(&users.rundown);
}

static void leave_later(void *context)
{
    struct users *users = context;
    while (wvu_rundown_acquire(&users->rundown)) { /* until the wait below has begun */
        wvu_rundown_release(&users->rundown);
        sched_yield();
    }
    nanosleep(&(struct timespec){0, 20 * (long)MS}, NULL); /* let it sleep */
    users->open = 0;
    wvu_rundown_release(&users->rundown);
}

static void test_rundown_sleeps_until_the_last_one_left(void **state)
{
    (void)state;
    struct users users = {.open = 1};
    wvu_thread thread;
    wvu_rundown_init(&users.rundown);
    assert_true(wvu_rundown_acquire(&users.rundown));
    assert_int_equal(wvu_thread_start(&thread, "leave", leave_later, &users), WVU_STATUS_OK);
    uint64_t before = thread_cpu();
    wvu_rundown_wait(&users.rundown);
    assert_int_equal(users.open, 0);
    assert_in_range(thread_cpu() - before, 0, 15 * MS);
    wvu_rundown_wait(&users.rundown); /* again: nothing to wait for */
    wvu_thread_join(&thread);
}

/* ---- clocks and randomness ----------------------------------------------------------------- */

static void test_clocks(void **state)
{
    (void)state;
    int64_t unix_time = wvu_os_system_time() / 10000000 - INT64_C(11644473600);
    assert_true(llabs((long long)(unix_time - (int64_t)time(NULL))) <= 2);
    uint64_t last = wvu_os_uptime();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = wvu_os_uptime();
        assert_true(now >= last);
        last = now;
    }
}

static void test_random(void **state)
{
    (void)state;
    unsigned char a[1000] = {0}, b[1000] = {0};
    assert_int_equal(wvu_os_random(a, sizeof a), WVU_STATUS_OK);
    assert_int_equal(wvu_os_random(b, sizeof b), WVU_STATUS_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 900, (unsigned char[100]){0}, 100);
    assert_int_equal(wvu_os_random(a, 0), WVU_STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_and_aligned),
        cmocka_unit_test(test_memory_that_there_is_not),
        cmocka_unit_test(test_memory_is_resident),
        cmocka_unit_test(test_free_with_another_tag_aborts),
        cmocka_unit_test(test_lock_excludes),
        cmocka_unit_test(test_mutex_excludes),
        cmocka_unit_test(test_lock_does_not_burn_the_processor),
        cmocka_unit_test(test_event_is_auto_reset),
        cmocka_unit_test(test_event_times_out),
        cmocka_unit_test(test_event_wakes_each_time),
        cmocka_unit_test(test_event_loses_no_set),
        cmocka_unit_test(test_event_loses_no_set_when_waits_time_out),
        cmocka_unit_test(test_event_set_is_a_full_barrier),
        cmocka_unit_test(test_uncontended_paths_make_no_system_call),
        cmocka_unit_test(test_thread_has_name_and_blocks_signals),
        cmocka_unit_test(test_rundown_waits_for_everybody),
        cmocka_unit_test(test_rundown_sleeps_until_the_last_one_left),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("os_linux", tests, NULL, NULL);
}
