/*
 * source.c on the running kernel, with a sensor in this process: probes that are switched on and off under
 * load, and questions about what runs. What happens is made by children of this test; a port takes every
 * batch and checks that no number is missing.
 *
 * Where the kernel may not be traced the tests are skipped.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "atomic.h"
#include "host.h"
#include "log.h"
#include "probes.h"
#include "programs.h"
#include "sensor.h"
#include "source.h"

/* Sanitizers keep memory that was freed, to know who uses it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#define SWITCHES 10000u
#define WALKS_EVERY                                                                                \
    40u /* one switch in so many is of the probe whose start walks over all processes */

/* ---- a port that takes everything -------------------------------------------------------------------- */

struct sink {
    struct wvu_port port; /* first */
    uint64_t next;        /* the number that comes next */
    uint64_t missing;
    uint64_t threads; /* ThreadCreate records; relaxed */
};

static void check_record(struct sink *sink, const struct wvu_record *record)
{
    if (record->sequence != sink->next)
        sink->missing++;
    sink->next = record->sequence + 1;
    if (record->type == WVU_EVENT_ThreadCreate)
        wvu_add64_relaxed(&sink->threads, 1);
}

static wvu_status take(struct wvu_port *port, const void *batch, uint32_t size, void *reply,
                       uint32_t *reply_size, int32_t *reply_status, uint64_t timeout_ns)
{
    struct sink *sink = (struct sink *)(void *)port;
    const struct wvu_batch *header = batch;
    const uint8_t *bytes = batch;
    (void)timeout_ns;
    for (uint32_t at = header->header_size; at < size;) {
        const struct wvu_record *record = (const struct wvu_record *)(const void *)(bytes + at);
        check_record(sink, record);
        at += record->size;
    }
    const struct wvu_reply answer = {
        .version = WVU_PROTOCOL_VERSION,
        .size = sizeof answer,
        .acknowledged = header->last_sequence,
    };
    memcpy(reply, &answer, sizeof answer);
    *reply_size = sizeof answer;
    *reply_status = 0;
    return WVU_STATUS_OK;
}

static void nothing(struct wvu_port *port)
{
    (void)port;
}

static const struct wvu_port_operations operations = {take, nothing, nothing};

/* ---- a sensor ---------------------------------------------------------------------------------------- */

static struct {
    struct sink sink;
    struct wvu_linux_host host;
    struct wvu_sensor *sensor;
} world;

static struct wvu_probe *probe(const char *name)
{
    struct wvu_probe *found = wvu_sensor_find_probe(world.sensor, name);
    assert_non_null(found);
    return found;
}

static void switch_probe(const char *name, bool on)
{
    char reason[256] = "";
    if (!on)
        wvu_probe_stop(probe(name), "");
    else if (wvu_probe_start(probe(name), reason) != WVU_STATUS_OK)
        fail_msg("%s: %s", name, reason);
}

static bool may_trace(void)
{
    char reason[256];
    struct wvu_programs *programs;
    if (wvu_programs_load(wvu_cpu_count(), &programs, reason) != WVU_STATUS_OK) {
        print_message("skipped: %s\n", reason);
        return false;
    }
    wvu_programs_unload(programs);
    return true;
}

static int begin(void **state)
{
    static const uint8_t host_id[16] = {1};
    (void)state;
    memset(&world, 0, sizeof world);
    world.sink.port.operations = &operations;
    world.sink.next = 1;
    const struct wvu_source_settings source = {.ring_bytes = 1u << 20};
    const struct wvu_sensor_settings settings = {
        .host_kind = WVU_HOST_LINUX,
        .host_id = host_id,
        .host_name = "test",
        .system_version = "",
        .configuration = "",
        .queue_records = 65536,
        .queue_bytes = 32u << 20,
        .send_timeout_ms = 1000,
        .drain_ms = 60000,
        .port = &world.sink.port,
        .host = &world.host,
        .probes = wvu_linux_probes,
    };
    assert_int_equal(wvu_source_create(&source, &world.host.source), WVU_STATUS_OK);
    assert_int_equal(wvu_sensor_create(&settings, &world.sensor), WVU_STATUS_OK);
    wvu_dispatcher_connected(wvu_sensor_dispatcher(world.sensor));
    assert_int_equal(wvu_sensor_start(world.sensor), WVU_STATUS_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    wvu_sensor_stop(world.sensor, "");
    wvu_sensor_destroy(world.sensor);
    wvu_source_destroy(world.host.source);
    return 0;
}

/* ---- load: a process that starts others, and threads, until it is killed ------------------------------
 * It is forked before this process has threads: what it does is not safe in the child of one that has. */

static pid_t load;
static int load_begins[2]; /* pipe */

static void *thread_body(void *context)
{
    return context;
}

static _Noreturn void make_events(void)
{
    for (;;) {
        pthread_t thread;
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child > 0)
            waitpid(child, NULL, 0);
        if (pthread_create(&thread, NULL, thread_body, NULL) == 0)
            pthread_join(thread, NULL);
    }
}

static void prepare_load(void)
{
    char byte;
    if (pipe(load_begins) != 0)
        abort();
    load = fork();
    if (load == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a test fails */
    if (load == 0 && read(load_begins[0], &byte, 1) == 1)
        make_events();
    if (load <= 0)
        _exit(1);
}

static void start_load(void)
{
    assert_int_equal(write(load_begins[1], "", 1), 1);
}

static void stop_child(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* ---- what this process holds -------------------------------------------------------------------------- */

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static size_t resident_bytes(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* The sum of the ids that the kernel gave to our programs: another one when they were loaded anew. */
static unsigned long sum_of_programs(void)
{
    unsigned long sum = 0;
    DIR *directory = opendir("/proc/self/fdinfo");
    const struct dirent *entry;
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        char path[300], line[128];
        unsigned long id;
        snprintf(path, sizeof path, "/proc/self/fdinfo/%s", entry->d_name);
        FILE *file = fopen(path, "re");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            if (sscanf(line, "prog_id: %lu", &id) == 1)
                sum += id;
        }
        if (file != NULL)
            fclose(file);
    }
    closedir(directory);
    return sum;
}

/* ---- tests -------------------------------------------------------------------------------------------- */

static bool everything_is_delivered(struct wvu_queue_counters *counters)
{
    wvu_queue_read_counters(wvu_sensor_queue(world.sensor), counters);
    return counters->queued == 0 && counters->in_flight == 0;
}

static void switch_each(uint32_t times)
{
    static const char *const names[] = {"ThreadCreate", "ImageLoad", "ProcessListValidation"};
    for (uint32_t i = 0; i < times; i++) {
        const char *name = i % WALKS_EVERY == 0 ? "ProcessCreate" : names[i % 3];
        switch_probe(name, false);
        switch_probe(name, true);
    }
}

static void switching_probes_loads_nothing_and_loses_nothing(void **state)
{
    struct wvu_queue_counters counters;
    (void)state;
    start_load();
    switch_each(WALKS_EVERY); /* whatever is allocated at first */
    unsigned descriptors = count_descriptors();
    unsigned long programs = sum_of_programs();
    size_t resident = resident_bytes();
    assert_true(programs != 0);
    switch_each(SWITCHES);
    assert_int_equal(sum_of_programs(), programs);
    assert_int_equal(count_descriptors(), descriptors);
    size_t now = resident_bytes();
    /* Switching slows the load down to next to nothing; after it everything comes again. */
    uint64_t before = wvu_load64_relaxed(&world.sink.threads);
    assert_true(before != 0);
    while (wvu_load64_relaxed(&world.sink.threads) < before + 100)
        usleep(1000);
    stop_child(load);
    switch_probe("ThreadCreate", false);
    switch_probe("ProcessCreate", false);
    switch_probe("ImageLoad", false);
    while (!everything_is_delivered(&counters))
        usleep(1000);
    assert_int_equal(counters.lost, 0);
    assert_int_equal(counters.delivered, counters.accepted);
    assert_int_equal(world.sink.missing, 0);
    assert_int_equal(world.sink.next, counters.accepted + 1);
    assert_true(IS_SANITIZED || now < resident + (1u << 20));
}

static void the_last_probe_gives_everything_back(void **state)
{
    static const char *const names[] = {"ProcessListValidation", "ThreadCreate", "ImageLoad",
                                        "ProcessCreate"};
    (void)state;
    unsigned descriptors = 0;
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < 4; i++)
            switch_probe(names[(round + i) % 4], false);
        if (round == 0)
            descriptors = count_descriptors();
        assert_int_equal(count_descriptors(), descriptors);
        assert_int_equal(sum_of_programs(), 0);
        for (uint32_t i = 0; i < 4; i++)
            switch_probe(names[(round + 3 * i) % 4], true);
        assert_true(sum_of_programs() != 0);
    }
}

struct search {
    uint32_t pid;
    uint64_t key;
    uint32_t count;
};

static void search_followed(void *context, const struct wvu_followed *followed)
{
    struct search *search = context;
    if (followed->task->pid != search->pid)
        return;
    search->key = followed->task->key;
    search->count++;
}

static void search_running(void *context, const struct wvu_sample_running *running)
{
    struct search *search = context;
    if (running->task.pid != search->pid || (running->task.flags & WVU_TASK_DEAD) != 0)
        return;
    search->key = running->task.key;
    search->count++;
}

/* Until it is told what to do: nothing. */
static pid_t start_idle(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    return child;
}

static void the_list_is_that_of_now(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        pid_t child = start_idle();
        struct search followed = {.pid = (uint32_t)child};
        struct search running = {.pid = (uint32_t)child};
        assert_int_equal(wvu_source_list(world.host.source, search_followed, &followed),
                         WVU_STATUS_OK);
        assert_int_equal(wvu_source_walk(world.host.source, search_running, &running),
                         WVU_STATUS_OK);
        assert_int_equal(followed.count, 1);
        assert_int_equal(running.count, 1);
        assert_true(followed.key != 0 && followed.key == running.key);
        stop_child(child);
        followed.count = 0;
        assert_int_equal(wvu_source_list(world.host.source, search_followed, &followed),
                         WVU_STATUS_OK);
        assert_int_equal(followed.count, 0);
    }
}

static void without_the_process_probe_there_is_no_list(void **state)
{
    (void)state;
    struct search search = {.pid = 1};
    switch_probe("ProcessCreate", false);
    assert_int_equal(wvu_source_list(world.host.source, search_followed, &search),
                     WVU_STATUS_INVALID_STATE);
    switch_probe("ProcessCreate", true);
    assert_int_equal(wvu_source_list(world.host.source, search_followed, &search), WVU_STATUS_OK);
}

static void a_process_is_found_with_what_it_runs(void **state)
{
    (void)state;
    char own[4096];
    ssize_t size = readlink("/proc/self/exe", own, sizeof own);
    assert_true(size > 0);
    pid_t child = start_idle();
    struct wvu_source_process process = {.pid = (uint32_t)child};
    wvu_source_find(world.host.source, &process);
    assert_int_equal(process.image_size, (uint32_t)size);
    assert_memory_equal(process.image, own, (size_t)size);
    process.key = 1;
    wvu_source_find(world.host.source, &process);
    assert_int_equal(process.image_size, 0);
    stop_child(child);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_list_is_that_of_now),
        TEST(without_the_process_probe_there_is_no_list),
        TEST(a_process_is_found_with_what_it_runs),
        TEST(the_last_probe_gives_everything_back),
        TEST(switching_probes_loads_nothing_and_loses_nothing),
    };
    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_WARNING);
    if (!may_trace())
        return 77;
    prepare_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
