/*
 * The client (client/client.c, transport_socket.c) against a sensor that this test plays: a listening socket
 * in a temporary directory, served by a thread that follows a script. Nothing sleeps: what has to
 * have happened before is waited for.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/message_builder.h"

static char run_dir[64];
static int listener = -1;

/* ---- the sensor ------------------------------------------------------------------------------------------ */

struct sensor {
    pthread_t thread;
    int socket; /* of the connection */
    const void *welcome;
    size_t welcome_size; /* 0: none is sent */
};

static const struct wvu_welcome good_welcome = {
    .version = WVU_PROTOCOL_VERSION, .size = sizeof good_welcome, .message_max = WVU_MESSAGE_MAX};

static void *accept_and_welcome(void *context)
{
    struct sensor *sensor = context;
    sensor->socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (sensor->socket >= 0 && sensor->welcome_size != 0)
        (void)send(sensor->socket, sensor->welcome, sensor->welcome_size, MSG_NOSIGNAL);
    else if (sensor->socket >= 0)
        (void)shutdown(sensor->socket, SHUT_RDWR);
    return NULL;
}

static int connect_to(struct sensor *sensor, const void *welcome, size_t size, wvu_client **client)
{
    *sensor = (struct sensor){.socket = -1, .welcome = welcome, .welcome_size = size};
    assert_int_equal(pthread_create(&sensor->thread, NULL, accept_and_welcome, sensor), 0);
    int status = wvu_connect(run_dir, -1, client);
    assert_int_equal(pthread_join(sensor->thread, NULL), 0);
    assert_true(sensor->socket >= 0);
    return status;
}

static wvu_client *connected(struct sensor *sensor)
{
    wvu_client *client;
    assert_int_equal(connect_to(sensor, &good_welcome, sizeof good_welcome, &client), 0);
    assert_non_null(client);
    return client;
}

static void end(struct sensor *sensor, wvu_client *client)
{
    wvu_close(client);
    if (sensor->socket >= 0)
        (void)close(sensor->socket);
}

static struct builder builder;

static void send_sample(struct sensor *sensor, uint64_t message_id, uint64_t sequence)
{
    build_sample(&builder, sequence);
    built_header(&builder)->message_id = message_id;
    assert_int_equal(send(sensor->socket, builder.u.bytes, builder.size, MSG_NOSIGNAL),
                     builder.size);
}

static void send_bytes(struct sensor *sensor, const void *bytes, size_t size)
{
    assert_int_equal(send(sensor->socket, bytes, size, MSG_NOSIGNAL), size);
}

struct reply {
    struct wvu_reply_header header;
    struct wvu_reply body;
};

static void expect_reply(struct sensor *sensor, uint64_t message_id, uint64_t acknowledged)
{
    char bytes[256];
    const struct reply expected = {
        .header = {.status = 0, .message_id = message_id},
        .body = {.version = WVU_PROTOCOL_VERSION, .size = 16, .acknowledged = acknowledged},
    };
    assert_int_equal(recv(sensor->socket, bytes, sizeof bytes, 0), sizeof expected);
    assert_memory_equal(bytes, &expected, sizeof expected);
}

static void expect_no_reply(struct sensor *sensor)
{
    char byte;
    assert_int_equal(recv(sensor->socket, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

/* ---- connecting ------------------------------------------------------------------------------------------- */

static void without_a_sensor_there_is_a_clear_status(void **state)
{
    (void)state;
    wvu_client *client = (wvu_client *)&client;
    char path[sizeof run_dir + 16];
    assert_int_equal(wvu_connect("/nonexistent/directory", -1, &client), WVU_STATUS_NAME_NOT_FOUND);
    assert_null(client);
    assert_int_equal(wvu_connect("/dev/null", -1, &client), WVU_STATUS_NAME_NOT_FOUND);
    assert_int_equal(wvu_connect("", -1, &client), WVU_STATUS_INVALID_PARAMETER);
    (void)snprintf(path, sizeof path, "%s/loop", run_dir);
    assert_int_equal(symlink("loop", path), 0);
    assert_int_equal(wvu_connect(path, -1, &client), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(unlink(path), 0);
}

static void a_socket_that_was_left_behind_is_no_sensor(void **state)
{
    (void)state;
    wvu_client *client;
    char directory[sizeof run_dir + 8];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = address.sun_path;
    (void)snprintf(directory, sizeof directory, "%s/stale", run_dir);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/WVUPort", directory);
    assert_int_equal(mkdir(directory, 0700), 0);
    int stale = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(stale);
    assert_int_equal(wvu_connect(directory, -1, &client), WVU_STATUS_NAME_NOT_FOUND);
    assert_int_equal(unlink(path), 0);
    /* A socket of another kind is none either. */
    stale = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(stale, 1), 0);
    assert_int_equal(wvu_connect(directory, -1, &client), WVU_STATUS_NOT_SUPPORTED);
    (void)close(stale);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    wvu_client *client;
    char path[200];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[99] = '\0'; /* and "/WVUPort" makes 107: the longest that fits */
    assert_int_equal(wvu_connect(path, -1, &client), WVU_STATUS_NAME_NOT_FOUND);
    path[99] = 'a';
    path[100] = '\0';
    assert_int_equal(wvu_connect(path, -1, &client), WVU_STATUS_INVALID_PARAMETER);
    path[100] = 'a';
    path[199] = '\0';
    assert_int_equal(wvu_connect(path, -1, &client), WVU_STATUS_INVALID_PARAMETER);
}

static void a_refusal_names_its_reason(void **state)
{
    (void)state;
    static const int reasons[] = {WVU_STATUS_CONNECTION_LIMIT, WVU_STATUS_ACCESS_DENIED,
                                  WVU_STATUS_STOPPING};
    for (unsigned i = 0; i < 3; i++) {
        /* Also from a sensor of another version. */
        for (uint16_t version = 1; version <= 2; version++) {
            struct sensor sensor;
            wvu_client *client;
            struct wvu_welcome welcome = good_welcome;
            welcome.status = reasons[i];
            welcome.version = version;
            assert_int_equal(connect_to(&sensor, &welcome, sizeof welcome, &client), reasons[i]);
            assert_null(client);
            end(&sensor, NULL);
        }
    }
}

static void a_bad_welcome_is_refused(void **state)
{
    (void)state;
    struct wvu_welcome bad[8];
    for (unsigned i = 0; i < 8; i++)
        bad[i] = good_welcome;
    bad[0].version = 2;
    bad[1].version = 0;
    bad[2].size = 15;
    bad[3].status = 1;
    bad[4].message_max = 0;
    bad[5].message_max = 63;
    bad[6].message_max = WVU_MESSAGE_MAX + 1;
    bad[7].message_max = UINT32_MAX;
    for (unsigned i = 0; i < 8; i++) {
        struct sensor sensor;
        wvu_client *client;
        assert_int_equal(connect_to(&sensor, &bad[i], sizeof bad[i], &client),
                         i < 2 ? WVU_STATUS_VERSION_MISMATCH : WVU_STATUS_BAD_MESSAGE);
        assert_null(client);
        end(&sensor, NULL);
    }
    char bytes[300] = {0};
    memcpy(bytes, &good_welcome, sizeof good_welcome);
    const size_t sizes[] = {1, 15, 300};
    for (unsigned i = 0; i < 3; i++) {
        struct sensor sensor;
        wvu_client *client;
        assert_int_equal(connect_to(&sensor, bytes, sizes[i], &client), WVU_STATUS_BAD_MESSAGE);
        end(&sensor, NULL);
    }
}

static void a_longer_welcome_is_from_a_newer_sensor(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client;
    char bytes[64] = {0};
    struct wvu_welcome welcome = good_welcome;
    welcome.size = sizeof bytes;
    memcpy(bytes, &welcome, sizeof welcome);
    assert_int_equal(connect_to(&sensor, bytes, sizeof bytes, &client), 0);
    end(&sensor, client);
}

static void a_sensor_that_closes_at_once_is_disconnected(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client;
    assert_int_equal(connect_to(&sensor, NULL, 0, &client), WVU_STATUS_DISCONNECTED);
    assert_null(client);
    end(&sensor, NULL);
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void a_sensor_that_says_nothing_is_waited_for_as_long_as_asked(void **state)
{
    (void)state;
    wvu_client *client;
    int64_t begin = now_ms();
    assert_int_equal(wvu_connect(run_dir, 0, &client), WVU_STATUS_TIMEOUT);
    assert_int_equal(wvu_connect(run_dir, 60, &client), WVU_STATUS_TIMEOUT);
    assert_true(now_ms() - begin >= 59);
    assert_null(client);
    /* Both stand in the backlog: take them out for the tests after this one. */
    for (int i = 0; i < 2; i++)
        (void)close(accept(listener, NULL, NULL));
}

static void a_full_backlog_is_waited_for_as_long_as_asked(void **state)
{
    (void)state;
    wvu_client *client;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int waiting[64];
    int count = 0;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/WVUPort", run_dir);
    do {
        assert_true(count < 64);
        waiting[count] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    } while (connect(waiting[count++], (struct sockaddr *)&address, sizeof address) == 0);
    assert_int_equal(errno, EAGAIN);
    int64_t begin = now_ms();
    assert_int_equal(wvu_connect(run_dir, 0, &client), WVU_STATUS_TIMEOUT);
    assert_int_equal(wvu_connect(run_dir, 60, &client), WVU_STATUS_TIMEOUT);
    assert_true(now_ms() - begin >= 59);
    for (int i = 0; i < count; i++)
        (void)close(waiting[i]);
    for (int i = 0; i < count - 1; i++)
        (void)close(accept(listener, NULL, NULL));
}

/* ---- messages and replies ------------------------------------------------------------------------------------ */

static void a_message_is_got_read_and_replied_to(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    for (uint64_t i = 1; i <= 3; i++) {
        send_sample(&sensor, 1000 + i, 100 * i);
        assert_int_equal(wvu_get(client, -1, &message), 0);
        assert_int_equal(message->message_id, 1000 + i);
        assert_int_equal(wvu_next(message, NULL)->sequence, 100 * i);
        assert_memory_equal(message->header, builder.u.bytes, builder.size);
        expect_no_reply(&sensor);
        assert_int_equal(wvu_reply_all(client), 0);
        expect_reply(&sensor, 1000 + i, 100 * i + 60);
    }
    end(&sensor, client);
}

static void a_reply_says_how_far_the_reader_got(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    send_sample(&sensor, 5, 100);
    assert_int_equal(wvu_get(client, -1, &message), 0);
    assert_int_equal(wvu_reply(client, 161), WVU_STATUS_INVALID_PARAMETER);
    expect_no_reply(&sensor);
    assert_int_equal(wvu_reply(client, 120), 0);
    expect_reply(&sensor, 5, 120);
    send_sample(&sensor, 6, 100);
    assert_int_equal(wvu_get(client, -1, &message), 0);
    assert_int_equal(wvu_reply(client, 0), 0); /* nothing */
    expect_reply(&sensor, 6, 0);
    end(&sensor, client);
}

static void calls_out_of_turn_are_refused(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    assert_int_equal(wvu_reply(client, 1), WVU_STATUS_INVALID_STATE);
    assert_int_equal(wvu_reply_all(client), WVU_STATUS_INVALID_STATE);
    send_sample(&sensor, 5, 100);
    assert_int_equal(wvu_get(client, -1, &message), 0);
    assert_int_equal(wvu_get(client, -1, &message), WVU_STATUS_INVALID_STATE);
    assert_null(message);
    assert_int_equal(wvu_reply_all(client), 0);
    assert_int_equal(wvu_reply_all(client), WVU_STATUS_INVALID_STATE);
    expect_reply(&sensor, 5, 160);
    expect_no_reply(&sensor);
    end(&sensor, client);
}

static bool polls_readable(const wvu_client *client)
{
    struct pollfd fd = {.fd = wvu_fd(client), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static void the_descriptor_polls_readable_when_there_is_something(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    assert_false(polls_readable(client));
    assert_int_equal(wvu_get(client, 0, &message), WVU_STATUS_AGAIN);
    send_sample(&sensor, 1, 1);
    assert_true(polls_readable(client));
    assert_int_equal(wvu_get(client, 0, &message), 0);
    assert_false(polls_readable(client));
    assert_int_equal(wvu_reply_all(client), 0);
    wvu_interrupt(client);
    assert_true(polls_readable(client));
    assert_int_equal(wvu_get(client, 0, &message), WVU_STATUS_CANCELLED);
    assert_false(polls_readable(client));
    (void)close(sensor.socket);
    sensor.socket = -1;
    assert_true(polls_readable(client));
    assert_int_equal(wvu_get(client, 0, &message), WVU_STATUS_DISCONNECTED);
    end(&sensor, client);
}

static void a_wait_ends_when_a_get_would_not_return_again(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    assert_int_equal(wvu_wait(client, 0), WVU_STATUS_AGAIN);
    int64_t begin = now_ms();
    assert_int_equal(wvu_wait(client, 50), WVU_STATUS_AGAIN);
    assert_true(now_ms() - begin >= 49);
    wvu_interrupt(client);
    assert_int_equal(wvu_wait(client, -1), WVU_STATUS_CANCELLED);
    assert_int_equal(wvu_wait(client, 0), WVU_STATUS_AGAIN);
    send_sample(&sensor, 1, 1);
    assert_int_equal(wvu_wait(client, -1), 0);
    assert_int_equal(wvu_wait(client, 0), 0); /* it takes nothing away */
    assert_int_equal(wvu_get(client, 0, &message), 0);
    assert_int_equal(wvu_reply_all(client), 0);
    (void)close(sensor.socket);
    sensor.socket = -1;
    assert_int_equal(wvu_wait(client, -1), 0);
    assert_int_equal(wvu_get(client, 0, &message), WVU_STATUS_DISCONNECTED);
    assert_int_equal(wvu_wait(client, -1), WVU_STATUS_DISCONNECTED);
    end(&sensor, client);
}

static void a_time_out_is_kept(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    int64_t begin = now_ms();
    assert_int_equal(wvu_get(client, 50, &message), WVU_STATUS_AGAIN);
    assert_true(now_ms() - begin >= 49);
    assert_null(message);
    send_sample(&sensor, 1, 1);
    assert_int_equal(wvu_get(client, INT_MAX, &message), 0);
    end(&sensor, client);
}

/* ---- interrupts -------------------------------------------------------------------------------------------- */

/* Whether a thread of this process sleeps in the system. */
static void wait_until_it_sleeps(pid_t thread)
{
    char path[64];
    char state = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    while (state != 'S') {
        char text[512];
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        (void)fclose(file);
        state = strrchr(text, ')')[2];
    }
}

struct getter {
    wvu_client *client;
    pthread_t thread;
    int status;
    pid_t tid; /* atomic: 0 until it runs */
};

static void *get_one(void *context)
{
    struct getter *getter = context;
    const wvu_message *message;
    __atomic_store_n(&getter->tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    getter->status = wvu_get(getter->client, -1, &message);
    return NULL;
}

static void start_getter(struct getter *getter, wvu_client *client)
{
    *getter = (struct getter){.client = client};
    assert_int_equal(pthread_create(&getter->thread, NULL, get_one, getter), 0);
    pid_t tid;
    while ((tid = __atomic_load_n(&getter->tid, __ATOMIC_ACQUIRE)) == 0)
        (void)sched_yield();
    wait_until_it_sleeps(tid);
}

static void an_interrupt_ends_a_get_that_waits(void **state)
{
    (void)state;
    struct sensor sensor;
    struct getter getter;
    wvu_client *client = connected(&sensor);
    for (int i = 0; i < 3; i++) {
        start_getter(&getter, client);
        wvu_interrupt(client);
        assert_int_equal(pthread_join(getter.thread, NULL), 0);
        assert_int_equal(getter.status, WVU_STATUS_CANCELLED);
    }
    end(&sensor, client);
}

static void an_interrupt_before_a_get_ends_it_once(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    send_sample(&sensor, 1, 1);
    wvu_interrupt(client);
    wvu_interrupt(client);
    assert_int_equal(wvu_get(client, -1, &message), WVU_STATUS_CANCELLED);
    assert_int_equal(wvu_get(client, -1, &message), 0); /* nothing is lost by it */
    assert_int_equal(wvu_reply_all(client), 0);
    assert_int_equal(wvu_get(client, 0, &message), WVU_STATUS_AGAIN);
    end(&sensor, client);
}

static wvu_client *signalled;

static void interrupt_from_handler(int number)
{
    (void)number;
    if (signalled != NULL)
        wvu_interrupt(signalled);
}

static void handle_signal(void)
{
    struct sigaction action = {.sa_handler = interrupt_from_handler};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
}

static void an_interrupt_works_from_a_signal_handler(void **state)
{
    (void)state;
    struct sensor sensor;
    struct getter getter;
    wvu_client *client = connected(&sensor);
    handle_signal();
    signalled = client; /* before there is a thread that could see it change */
    start_getter(&getter, client);
    assert_int_equal(pthread_kill(getter.thread, SIGUSR1), 0);
    assert_int_equal(pthread_join(getter.thread, NULL), 0);
    assert_int_equal(getter.status, WVU_STATUS_CANCELLED);
    signalled = NULL;
    end(&sensor, client);
}

static void signals_alone_do_not_end_a_get(void **state)
{
    (void)state;
    struct sensor sensor;
    struct getter getter;
    wvu_client *client = connected(&sensor);
    handle_signal();
    signalled = NULL;
    start_getter(&getter, client);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pthread_kill(getter.thread, SIGUSR1), 0);
        wait_until_it_sleeps(getter.tid);
    }
    send_sample(&sensor, 1, 1);
    assert_int_equal(pthread_join(getter.thread, NULL), 0);
    assert_int_equal(getter.status, 0);
    end(&sensor, client);
}

/* ---- sensors that misbehave or go away -------------------------------------------------------------------------- */

static void expect_failed(wvu_client *client, int status)
{
    const wvu_message *message = (const wvu_message *)client;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wvu_get(client, -1, &message), status);
        assert_null(message);
        assert_int_equal(wvu_reply_all(client), status);
        assert_int_equal(wvu_reply(client, 1), status);
    }
}

static void what_is_no_message_ends_the_connection(void **state)
{
    (void)state;
    static const char zeros[WVU_MESSAGE_MAX + 8];
    const struct {
        size_t size;
        int status;
    } packets[] = {
        {1, WVU_STATUS_BAD_MESSAGE},
        {15, WVU_STATUS_BAD_MESSAGE},
        {16, WVU_STATUS_BAD_MESSAGE},
        {100, WVU_STATUS_BAD_MESSAGE},
        {sizeof zeros, WVU_STATUS_BAD_MESSAGE},
    };
    for (unsigned i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        struct sensor sensor;
        wvu_client *client = connected(&sensor);
        send_bytes(&sensor, zeros, packets[i].size);
        send_sample(&sensor, 1, 1); /* a good one after it changes nothing */
        expect_failed(client, packets[i].status);
        expect_no_reply(&sensor);
        end(&sensor, client);
    }
}

static void a_message_of_another_version_ends_the_connection(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    build_sample(&builder, 1);
    built_batch(&builder)->version = 2;
    send_bytes(&sensor, builder.u.bytes, builder.size);
    expect_failed(client, WVU_STATUS_VERSION_MISMATCH);
    end(&sensor, client);
}

/* The packet does not fit what the sensor itself said in its welcome. */
static void a_message_larger_than_announced_ends_the_connection(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client;
    struct wvu_welcome welcome = good_welcome;
    build_sample(&builder, 1);
    welcome.message_max = (uint32_t)builder.size;
    assert_int_equal(connect_to(&sensor, &welcome, sizeof welcome, &client), 0);
    const wvu_message *message;
    send_bytes(&sensor, builder.u.bytes, builder.size);
    assert_int_equal(wvu_get(client, -1, &message), 0);
    assert_int_equal(wvu_reply_all(client), 0);
    send_bytes(&sensor, builder.u.bytes, builder.size + 8);
    expect_failed(client, WVU_STATUS_BAD_MESSAGE);
    end(&sensor, client);
}

static void the_end_of_the_sensor_is_a_disconnection(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    send_sample(&sensor, 1, 1);
    (void)close(sensor.socket);
    sensor.socket = -1;
    /* What it sent before is still good; the reply finds nobody, and no SIGPIPE ends the program. */
    assert_int_equal(wvu_get(client, -1, &message), 0);
    assert_int_equal(wvu_reply_all(client), WVU_STATUS_DISCONNECTED);
    expect_failed(client, WVU_STATUS_DISCONNECTED);
    end(&sensor, client);
}

static void an_empty_packet_is_a_disconnection(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    send_bytes(&sensor, "", 0);
    expect_failed(client, WVU_STATUS_DISCONNECTED);
    end(&sensor, client);
}

static void a_sensor_that_reads_no_replies_is_disconnected(void **state)
{
    (void)state;
    struct sensor sensor;
    wvu_client *client = connected(&sensor);
    const wvu_message *message;
    int status = WVU_STATUS_OK;
    for (int i = 0; i < 100000 && status == WVU_STATUS_OK; i++) {
        send_sample(&sensor, 1, 1);
        assert_int_equal(wvu_get(client, -1, &message), 0);
        status = wvu_reply_all(client);
    }
    assert_int_equal(status, WVU_STATUS_DISCONNECTED);
    end(&sensor, client);
}

static void closing_gives_back_everything(void **state)
{
    (void)state;
    wvu_close(NULL);
    int before = dup(0);
    (void)close(before);
    for (int i = 0; i < 20; i++) {
        struct sensor sensor;
        wvu_client *client = connected(&sensor);
        end(&sensor, client);
        assert_int_equal(connect_to(&sensor, "x", 1, &client), WVU_STATUS_BAD_MESSAGE);
        end(&sensor, NULL);
    }
    int after = dup(0);
    (void)close(after);
    assert_int_equal(before, after);
}

/* ---- the table of statuses, which is compiled into the library ---------------------------------------------------- */

static void statuses_have_names_and_texts(void **state)
{
    (void)state;
    assert_string_equal(wvu_status_name(WVU_STATUS_TIMEOUT), "TIMEOUT");
    assert_string_equal(wvu_strerror(WVU_STATUS_CONNECTION_LIMIT),
                        "another reader is connected to the port");
    assert_string_equal(wvu_status_name(1), "UNKNOWN");
    assert_non_null(wvu_strerror(1));
}

/* ---- set-up --------------------------------------------------------------------------------------------------------- */

static int begin_all(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *temporary = getenv("TMPDIR");
    (void)snprintf(run_dir, sizeof run_dir, "%s/wvu-client.XXXXXX",
                   temporary != NULL && strlen(temporary) < 32 ? temporary : "/tmp");
    if (mkdtemp(run_dir) == NULL)
        return -1;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/WVUPort", run_dir);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        return -1;
    return listen(listener, 4);
}

static int end_all(void **state)
{
    (void)state;
    char path[sizeof run_dir + 16];
    (void)close(listener);
    (void)snprintf(path, sizeof path, "%s/WVUPort", run_dir);
    (void)unlink(path);
    return rmdir(run_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_sensor_there_is_a_clear_status),
        cmocka_unit_test(a_socket_that_was_left_behind_is_no_sensor),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
        cmocka_unit_test(a_refusal_names_its_reason),
        cmocka_unit_test(a_bad_welcome_is_refused),
        cmocka_unit_test(a_longer_welcome_is_from_a_newer_sensor),
        cmocka_unit_test(a_sensor_that_closes_at_once_is_disconnected),
        cmocka_unit_test(a_sensor_that_says_nothing_is_waited_for_as_long_as_asked),
        cmocka_unit_test(a_full_backlog_is_waited_for_as_long_as_asked),
        cmocka_unit_test(a_message_is_got_read_and_replied_to),
        cmocka_unit_test(a_reply_says_how_far_the_reader_got),
        cmocka_unit_test(calls_out_of_turn_are_refused),
        cmocka_unit_test(the_descriptor_polls_readable_when_there_is_something),
        cmocka_unit_test(a_wait_ends_when_a_get_would_not_return_again),
        cmocka_unit_test(a_time_out_is_kept),
        cmocka_unit_test(an_interrupt_ends_a_get_that_waits),
        cmocka_unit_test(an_interrupt_before_a_get_ends_it_once),
        cmocka_unit_test(an_interrupt_works_from_a_signal_handler),
        cmocka_unit_test(signals_alone_do_not_end_a_get),
        cmocka_unit_test(what_is_no_message_ends_the_connection),
        cmocka_unit_test(a_message_of_another_version_ends_the_connection),
        cmocka_unit_test(a_message_larger_than_announced_ends_the_connection),
        cmocka_unit_test(the_end_of_the_sensor_is_a_disconnection),
        cmocka_unit_test(an_empty_packet_is_a_disconnection),
        cmocka_unit_test(a_sensor_that_reads_no_replies_is_disconnected),
        cmocka_unit_test(closing_gives_back_everything),
        cmocka_unit_test(statuses_have_names_and_texts),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
