/*
 * The run directory: made, held by one sensor at a time, refused when others could tamper with it.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"
#include "run_dir.h"

struct fixture {
    char parent[64];
    char path[80];
    char pid_file[96];
    char reason[512];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    snprintf(fixture->parent, sizeof fixture->parent, "/tmp/wvu-run-XXXXXX");
    assert_non_null(mkdtemp(fixture->parent));
    snprintf(fixture->path, sizeof fixture->path, "%s/run", fixture->parent);
    snprintf(fixture->pid_file, sizeof fixture->pid_file, "%s/%s", fixture->path, WVU_PID_FILE);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    unlink(fixture->pid_file);
    rmdir(fixture->path);
    assert_int_equal(rmdir(fixture->parent), 0);
    free(fixture);
    return 0;
}

static wvu_status take(struct fixture *fixture, struct wvu_run_dir *run_dir)
{
    fixture->reason[0] = '\0';
    wvu_status status =
        wvu_run_dir_open(run_dir, fixture->path, fixture->reason, sizeof fixture->reason);
    assert_int_equal(status == WVU_STATUS_OK, fixture->reason[0] == '\0');
    return status;
}

static void test_directory_is_made_and_pid_is_written(void **state)
{
    struct fixture *fixture = *state;
    struct wvu_run_dir run_dir;
    struct stat status;
    char text[32] = "";
    assert_int_equal(take(fixture, &run_dir), WVU_STATUS_OK);
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0750);
    FILE *file = fopen(fixture->pid_file, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_int_equal(strtol(text, NULL, 10), getpid());
    wvu_run_dir_close(&run_dir);
    assert_int_equal(access(fixture->pid_file, F_OK), -1);
    assert_int_equal(take(fixture, &run_dir), WVU_STATUS_OK); /* it is there already */
    wvu_run_dir_close(&run_dir);
}

static void test_directory_of_a_living_sensor_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct wvu_run_dir first, second;
    char pid[32];
    assert_int_equal(take(fixture, &first), WVU_STATUS_OK);
    assert_int_equal(take(fixture, &second), WVU_STATUS_BUSY);
    snprintf(pid, sizeof pid, "process %ld,", (long)getpid());
    assert_non_null(strstr(fixture->reason, pid));
    assert_non_null(strstr(fixture->reason, fixture->path));
    assert_int_equal(access(fixture->pid_file, F_OK), 0); /* the refused one has left it */
    wvu_run_dir_close(&first);
    assert_int_equal(take(fixture, &second), WVU_STATUS_OK);
    wvu_run_dir_close(&second);
}

static void test_directory_of_a_dead_sensor_is_taken(void **state)
{
    struct fixture *fixture = *state;
    struct wvu_run_dir run_dir;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (take(fixture, &run_dir) != WVU_STATUS_OK)
            _exit(1);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(take(fixture, &run_dir), WVU_STATUS_BUSY);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(access(fixture->pid_file, F_OK), 0); /* it had no time to remove it */
    assert_int_equal(take(fixture, &run_dir), WVU_STATUS_OK);
    wvu_run_dir_close(&run_dir);
    close(ready[0]);
    close(ready[1]);
}

struct racing {
    struct fixture *fixture;
    uint32_t inside; /* atomic: how many hold it */
    uint32_t wrong;  /* atomic */
    uint32_t taken;  /* atomic */
};

static void race(void *context)
{
    struct racing *racing = context;
    for (int i = 0; i < 3000; i++) {
        struct wvu_run_dir run_dir;
        char reason[512];
        if (wvu_run_dir_open(&run_dir, racing->fixture->path, reason, sizeof reason) !=
            WVU_STATUS_OK)
            continue;
        if (__atomic_add_fetch(&racing->inside, 1, __ATOMIC_SEQ_CST) != 1)
            __atomic_store_n(&racing->wrong, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&racing->taken, 1, __ATOMIC_SEQ_CST);
        sched_yield(); /* another one's turn to get in wrongly */
        __atomic_sub_fetch(&racing->inside, 1, __ATOMIC_SEQ_CST);
        wvu_run_dir_close(&run_dir);
    }
}

/* The file is removed and made again all the time; still nobody shares it. */
static void test_one_at_a_time_also_when_they_race(void **state)
{
    struct racing racing = {.fixture = *state};
    wvu_thread threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(wvu_thread_start(&threads[i], "race", race, &racing), WVU_STATUS_OK);
    for (int i = 0; i < 3; i++)
        wvu_thread_join(&threads[i]);
    assert_int_equal(racing.wrong, 0);
    assert_true(racing.taken > 0);
}

static void test_directory_that_others_can_write_to_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct wvu_run_dir run_dir;
    static const mode_t modes[] = {0770, 0707, 01777};
    assert_int_equal(mkdir(fixture->path, 0700), 0);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(fixture->path, modes[i]), 0);
        assert_int_equal(take(fixture, &run_dir), WVU_STATUS_ACCESS_DENIED);
        assert_non_null(strstr(fixture->reason, "chmod go-w"));
        assert_int_equal(access(fixture->pid_file, F_OK), -1);
    }
    if (geteuid() == 0) {
        assert_int_equal(chmod(fixture->path, 0755), 0);
        assert_int_equal(chown(fixture->path, 65534, 65534), 0);
        assert_int_equal(take(fixture, &run_dir), WVU_STATUS_ACCESS_DENIED);
        assert_non_null(strstr(fixture->reason, "user 65534"));
    }
}

static void test_what_is_no_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct wvu_run_dir run_dir;
    fclose(fopen(fixture->path, "w"));
    assert_int_equal(take(fixture, &run_dir), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(unlink(fixture->path), 0);
    snprintf(fixture->path, sizeof fixture->path, "%s/no/run", fixture->parent);
    assert_int_equal(take(fixture, &run_dir), WVU_STATUS_NAME_NOT_FOUND);
    assert_non_null(strstr(fixture->reason, fixture->path));
}

/* Nobody can make root write its pid into a file elsewhere. */
static void test_pid_file_that_is_a_link_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct wvu_run_dir run_dir;
    assert_int_equal(mkdir(fixture->path, 0700), 0);
    char elsewhere[96];
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", fixture->parent);
    assert_int_equal(symlink(elsewhere, fixture->pid_file), 0);
    wvu_status status = take(fixture, &run_dir);
    bool written = unlink(elsewhere) == 0;
    assert_int_not_equal(status, WVU_STATUS_OK);
    assert_false(written);
}

#define RUN_DIR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_DIR_TEST(test_directory_is_made_and_pid_is_written),
        RUN_DIR_TEST(test_directory_of_a_living_sensor_is_refused),
        RUN_DIR_TEST(test_directory_of_a_dead_sensor_is_taken),
        RUN_DIR_TEST(test_one_at_a_time_also_when_they_race),
        RUN_DIR_TEST(test_directory_that_others_can_write_to_is_refused),
        RUN_DIR_TEST(test_what_is_no_directory_is_refused),
        RUN_DIR_TEST(test_pid_file_that_is_a_link_is_refused),
    };
    umask(022);
    return cmocka_run_group_tests_name("run_dir", tests, NULL, NULL);
}
