/*
 * The command port against scripted clients: many, silent, oversized, leaving in the middle, dead, not
 * entitled; and its stop in each state.
 *
 * The test is the engine: it defines wvu_command_answer, which looks at what it gets and answers as the
 * request's data says. Waits have a bound far beyond what they take.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/syscall.h>

#include "atomic.h"
#include "command.h"
#include "log.h"
#include "os.h"
#include "port_command.h"
#include "support/port_place.h"

/* ---- the engine's part --------------------------------------------------------------------- */

struct wvu_sensor {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned begun, answered;
    bool hold; /* the answer to SLOW waits until this is false */
    bool nested;
    bool misaligned;
    struct wvu_requester requester; /* of the newest request */
    uint32_t size;                  /* of the newest request */
    unsigned char request[WVU_REQUEST_MAX];
};

/* Commands of the stand-in. */
enum { ECHO, SLOW, LARGEST };

static uint32_t respond(void *to, uint32_t command, wvu_status status, const void *data,
                        uint32_t size)
{
    const struct wvu_response response = {.version = WVU_PROTOCOL_VERSION,
                                          .size = sizeof response,
                                          .command = command,
                                          .status = status,
                                          .data_size = size};
    memcpy(to, &response, sizeof response);
    if (data != NULL)
        memcpy((char *)to + sizeof response, data, size);
    else
        memset((char *)to + sizeof response, 'L', size);
    return (uint32_t)sizeof response + size;
}

static void note(struct wvu_sensor *sensor, const struct wvu_requester *requester,
                 const void *request, uint32_t size)
{
    sensor->nested |= sensor->begun != sensor->answered;
    sensor->misaligned |= (uintptr_t)request % 8 != 0;
    sensor->begun++;
    sensor->requester = *requester;
    sensor->size = size;
    memcpy(sensor->request, request, size < sizeof sensor->request ? size : sizeof sensor->request);
    pthread_cond_broadcast(&sensor->changed);
}

uint32_t wvu_command_answer(struct wvu_sensor *sensor, const struct wvu_requester *requester,
                            const void *request, uint32_t size, void *response, uint32_t capacity)
{
    struct wvu_request header = {.command = ECHO};
    uint32_t length;
    if (size >= sizeof header)
        memcpy(&header, request, sizeof header);
    pthread_mutex_lock(&sensor->mutex);
    note(sensor, requester, request, size);
    while (header.command == SLOW && sensor->hold)
        pthread_cond_wait(&sensor->changed, &sensor->mutex);
    if (size < sizeof header || size > WVU_REQUEST_MAX)
        length = respond(response, header.command, WVU_STATUS_BAD_MESSAGE, NULL, 0);
    else if (header.command == LARGEST)
        length = respond(response, LARGEST, WVU_STATUS_OK, NULL,
                         capacity - (uint32_t)sizeof(struct wvu_response));
    else
        length = respond(response, header.command, WVU_STATUS_OK,
                         (const char *)request + sizeof header, size - (uint32_t)sizeof header);
    sensor->answered++;
    pthread_cond_broadcast(&sensor->changed);
    pthread_mutex_unlock(&sensor->mutex);
    return length;
}

/* Until so many requests have been begun and answered. */
static void await_requests(struct wvu_sensor *sensor, unsigned begun, unsigned answered)
{
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&sensor->mutex);
    while (error == 0 && (sensor->begun < begun || sensor->answered < answered))
        error = pthread_cond_timedwait(&sensor->changed, &sensor->mutex, &until);
    assert_int_equal(sensor->begun, begun);
    assert_int_equal(sensor->answered, answered);
    pthread_mutex_unlock(&sensor->mutex);
}

static void set_hold(struct wvu_sensor *sensor, bool hold)
{
    pthread_mutex_lock(&sensor->mutex);
    sensor->hold = hold;
    pthread_cond_broadcast(&sensor->changed);
    pthread_mutex_unlock(&sensor->mutex);
}

/* ---- fixture ------------------------------------------------------------------------------- */

struct fixture {
    struct place place;
    struct wvu_port_command *port;
    struct wvu_sensor sensor;
    bool started;
};

#define KEY(pid) (UINT64_C(0x100000000) + (pid))

static uint64_t key_of(void *context, uint32_t pid)
{
    return context != NULL ? KEY(pid) : 0;
}

static wvu_status create(struct fixture *fixture)
{
    struct place *place = &fixture->place;
    const struct wvu_port_command_settings settings = {
        .run_dir = &place->run_dir, .key_of = key_of, .context = fixture};
    return wvu_port_command_create(&settings, &fixture->port, place->reason, sizeof place->reason);
}

/* Without a port. */
static int setup_place(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->place = (struct place){.file = WVU_COMMAND_FILE, .packet_max = WVU_RESPONSE_MAX};
    open_place(&fixture->place, SHORT_PATH);
    pthread_mutex_init(&fixture->sensor.mutex, NULL);
    pthread_cond_init(&fixture->sensor.changed, NULL);
    *state = fixture;
    return 0;
}

static int setup(void **state)
{
    setup_place(state);
    struct fixture *fixture = *state;
    assert_int_equal(create(fixture), WVU_STATUS_OK);
    assert_int_equal(wvu_port_command_start(fixture->port, &fixture->sensor, fixture->place.reason,
                                            sizeof fixture->place.reason),
                     WVU_STATUS_OK);
    fixture->started = true;
    return 0;
}

static void stop(struct fixture *fixture)
{
    uint64_t before = wvu_os_uptime();
    wvu_port_command_stop(fixture->port);
    assert_true(wvu_os_uptime() - before < SOON);
    assert_int_equal(fixture->sensor.begun, fixture->sensor.answered);
    assert_false(fixture->sensor.nested || fixture->sensor.misaligned);
    fixture->started = false;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    set_hold(&fixture->sensor, false);
    if (fixture->started)
        stop(fixture);
    wvu_port_command_destroy(fixture->port);
    close_place(&fixture->place);
    free(fixture);
    return 0;
}

static struct wvu_port_command_counters counters(struct fixture *fixture)
{
    struct wvu_port_command_counters counters;
    wvu_port_command_read_counters(fixture->port, &counters);
    return counters;
}

/* What the newest request was like, for whoever has its response. */
static const struct wvu_sensor *newest(struct fixture *fixture)
{
    pthread_mutex_lock(&fixture->sensor.mutex);
    pthread_mutex_unlock(&fixture->sensor.mutex);
    return &fixture->sensor;
}

/* ---- clients ------------------------------------------------------------------------------- */

static int enter(struct fixture *fixture)
{
    int fd;
    assert_int_equal(come(&fixture->place, &fd), WVU_STATUS_OK);
    return fd;
}

struct request {
    struct wvu_request header;
    unsigned char data[WVU_REQUEST_MAX];
};

static bool put_request(int fd, uint32_t command, const void *data, uint32_t size)
{
    static _Thread_local struct request request;
    request.header = (struct wvu_request){.version = WVU_PROTOCOL_VERSION,
                                          .size = sizeof request.header,
                                          .command = command,
                                          .data_size = size};
    if (size > 0)
        memcpy(request.data, data, size);
    return put_packet(fd, &request, sizeof request.header + size);
}

struct response {
    struct wvu_response header;
    unsigned char data[WVU_RESPONSE_MAX];
};

/* Takes a response; NULL when there is none, or it is not what a response looks like. */
static const struct response *take_response(int fd)
{
    static _Thread_local struct response response;
    ssize_t got = take(fd, &response, sizeof response);
    if (got < (ssize_t)sizeof response.header || response.header.version != WVU_PROTOCOL_VERSION ||
        response.header.size != sizeof response.header ||
        (size_t)got != sizeof response.header + response.header.data_size)
        return NULL;
    return &response;
}

/* A whole round: asks to echo a number. */
static bool ask(int fd, uint64_t number)
{
    if (!put_request(fd, ECHO, &number, sizeof number))
        return false;
    const struct response *response = take_response(fd);
    return response != NULL && response->header.status == WVU_STATUS_OK &&
           response->header.data_size == sizeof number &&
           memcmp(response->data, &number, sizeof number) == 0;
}

/* ---- clients that behave ------------------------------------------------------------------- */

static void test_requests_of_all_sizes(void **state)
{
    struct fixture *fixture = *state;
    static unsigned char data[WVU_REQUEST_MAX];
    int fd = enter(fixture);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 31 + i / 256);
    unsigned asked = 0;
    for (uint32_t size = 0; size <= WVU_RESPONSE_MAX - 32; size = size * 3 + 1) {
        assert_true(put_request(fd, ECHO, data, size));
        const struct response *response = take_response(fd);
        assert_non_null(response);
        assert_int_equal(response->header.data_size, size);
        assert_memory_equal(response->data, data, size);
        assert_int_equal(newest(fixture)->size, sizeof(struct wvu_request) + size);
        asked++;
    }
    close(fd);
    assert_int_equal(counters(fixture).requests, asked);
    assert_int_equal(counters(fixture).connections, 1);
}

static void test_largest_request_and_response(void **state)
{
    struct fixture *fixture = *state;
    static unsigned char data[WVU_REQUEST_MAX - sizeof(struct wvu_request)];
    int fd = enter(fixture);
    memset(data, 'D', sizeof data);
    for (int i = 0; i < 20; i++) {
        assert_true(put_request(fd, LARGEST, data, sizeof data));
        const struct response *response = take_response(fd);
        assert_non_null(response);
        assert_int_equal(newest(fixture)->size, WVU_REQUEST_MAX);
        assert_memory_equal(newest(fixture)->request + sizeof(struct wvu_request), data,
                            sizeof data);
        assert_int_equal(response->header.data_size,
                         WVU_RESPONSE_MAX - sizeof(struct wvu_response));
        assert_int_equal(response->data[response->header.data_size - 1], 'L');
    }
    close(fd);
}

static void test_who_asks_is_known(void **state)
{
    struct fixture *fixture = *state;
    char image[256] = "";
    int fd = enter(fixture);
    assert_true(ask(fd, 1));
    assert_true(readlink("/proc/self/exe", image, sizeof image - 1) > 0);
    assert_int_equal(newest(fixture)->requester.process_id, getpid());
    assert_true(newest(fixture)->requester.has_user);
    assert_int_equal(newest(fixture)->requester.user_id, getuid());
    assert_true(newest(fixture)->requester.process_key == KEY((uint32_t)getpid()));
    assert_string_equal(newest(fixture)->requester.image, image);
    assert_string_equal(newest(fixture)->requester.user_sid, "");
    close(fd);
}

/* Its pid may be another process's by then: what is said of it is what was seen when it connected. */
static void test_who_asks_is_known_when_it_is_dead(void **state)
{
    struct fixture *fixture = *state;
    char image[256] = "";
    int said[2];
    assert_int_equal(pipe(said), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd;
        if (come(&fixture->place, &fd) != WVU_STATUS_OK || write(said[1], &fd, sizeof fd) < 0)
            _exit(FAILED);
        pause();
    }
    int theirs, status;
    assert_int_equal(read(said[0], &theirs, sizeof theirs), sizeof theirs);
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    int fd = pidfd >= 0 ? (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0) : -1;
    int error = errno;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    close(pidfd);
    close(said[0]);
    close(said[1]);
    if (fd < 0 && (error == ENOSYS || error == EPERM))
        skip(); /* a container that does not allow it */
    assert_true(fd >= 0);
    assert_true(ask(fd, 1));
    assert_true(readlink("/proc/self/exe", image, sizeof image - 1) > 0);
    assert_int_equal(newest(fixture)->requester.process_id, child);
    assert_true(newest(fixture)->requester.process_key == KEY((uint32_t)child));
    assert_string_equal(newest(fixture)->requester.image, image);
    close(fd);
}

/* ---- many ---------------------------------------------------------------------------------- */

struct crowd {
    struct fixture *fixture;
    wvu_thread thread;
    unsigned first, count;
    unsigned answered, turned_away;
};

/* One after the other, each tries again when there were too many. */
static void come_ask_and_leave(void *context)
{
    struct crowd *crowd = context;
    for (unsigned i = 0; i < crowd->count;) {
        int fd;
        wvu_status status = come(&crowd->fixture->place, &fd);
        if (fd < 0)
            return;
        if (status == WVU_STATUS_OK)
            crowd->answered += ask(fd, crowd->first + i);
        close(fd);
        if (status == WVU_STATUS_CONNECTION_LIMIT)
            crowd->turned_away++;
        else
            i++;
    }
}

static void test_a_thousand_clients(void **state)
{
    struct fixture *fixture = *state;
    enum { CROWDS = 8 };
    struct crowd crowds[CROWDS];
    unsigned answered = 0, turned_away = 0;
    for (unsigned i = 0; i < CROWDS; i++) {
        crowds[i] = (struct crowd){.fixture = fixture, .first = i * 125, .count = 125};
        assert_int_equal(
            wvu_thread_start(&crowds[i].thread, "crowd", come_ask_and_leave, &crowds[i]),
            WVU_STATUS_OK);
    }
    for (unsigned i = 0; i < CROWDS; i++) {
        wvu_thread_join(&crowds[i].thread);
        answered += crowds[i].answered;
        turned_away += crowds[i].turned_away;
    }
    assert_int_equal(answered, 1000);
    assert_int_equal(counters(fixture).requests, 1000);
    assert_int_equal(counters(fixture).connections, 1000);
    assert_int_equal(counters(fixture).refused_full, turned_away);
}

static void test_as_many_as_there_is_room_for(void **state)
{
    struct fixture *fixture = *state;
    int fds[WVU_COMMAND_CLIENTS_MAX];
    for (unsigned i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
        fds[i] = enter(fixture);
    for (int i = 0; i < 20; i++)
        check_refused(&fixture->place, WVU_STATUS_CONNECTION_LIMIT);
    assert_int_equal(counters(fixture).refused_full, 20);
    for (unsigned round = 0; round < 3; round++) /* all at once, and each its own answer */
        for (unsigned i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++)
            assert_true(put_request(fds[i], ECHO, &i, sizeof i));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++) {
            const struct response *response = take_response(fds[i]);
            assert_non_null(response);
            assert_memory_equal(response->data, &i, sizeof i);
        }
    }
    /* Who leaves makes room, and whoever connects after it gets in. */
    for (unsigned i = 0; i < 100; i++) {
        close(fds[i % WVU_COMMAND_CLIENTS_MAX]);
        fds[i % WVU_COMMAND_CLIENTS_MAX] = enter(fixture);
    }
    for (unsigned i = 0; i < WVU_COMMAND_CLIENTS_MAX; i++) {
        assert_true(ask(fds[i], i));
        close(fds[i]);
    }
}

/* ---- clients that do not behave ------------------------------------------------------------ */

static void test_client_that_never_reads_is_closed(void **state)
{
    struct fixture *fixture = *state;
    int silent = enter(fixture), other = enter(fixture);
    unsigned sent = 0;
    while (put_request(silent, LARGEST, NULL, 0)) {
        assert_true(++sent < 1000);
        assert_true(ask(other, sent)); /* not held up */
    }
    assert_true(sent >= 1); /* one response always has room */
    assert_int_equal(counters(fixture).unread, 1);
    /* What had room is there, and then the end. */
    const struct response *response = take_response(silent);
    assert_non_null(response);
    assert_int_equal(response->header.command, LARGEST);
    while (response != NULL)
        response = take_response(silent);
    assert_true(ask(other, 0));
    close(silent);
    close(other);
}

static void test_oversized_request_is_refused_and_the_next_answered(void **state)
{
    struct fixture *fixture = *state;
    static struct {
        struct wvu_request header;
        unsigned char data[WVU_REQUEST_MAX + 1000];
    } packet;
    int fd = enter(fixture);
    packet.header = (struct wvu_request){.version = WVU_PROTOCOL_VERSION,
                                         .size = sizeof packet.header,
                                         .command = LARGEST,
                                         .data_size = WVU_REQUEST_MAX - sizeof packet.header};
    for (size_t more = 1; more <= 1000; more += 333) {
        assert_true(put_packet(fd, &packet, WVU_REQUEST_MAX + more));
        const struct response *response = take_response(fd);
        assert_non_null(response);
        assert_int_equal(response->header.status, WVU_STATUS_BAD_MESSAGE);
        assert_int_equal(response->header.command, LARGEST);
        assert_int_equal(newest(fixture)->size, WVU_REQUEST_MAX + more);
        assert_true(ask(fd, more));
    }
    close(fd);
}

/* It is the engine's to judge: the port moves bytes. */
static void test_garbage_is_handed_on_as_it_came(void **state)
{
    struct fixture *fixture = *state;
    unsigned char garbage[300];
    uint64_t random = RANDOM_FIRST;
    int fd = enter(fixture);
    for (uint32_t size = 1; size < sizeof garbage; size += 7) {
        for (uint32_t i = 0; i < size; i++)
            garbage[i] = (unsigned char)next_random(&random);
        if (size >= 12)
            memset(garbage + 4, 0xFF, 4); /* no command of the stand-in */
        assert_true(put_packet(fd, garbage, size));
        assert_non_null(take_response(fd));
        assert_int_equal(newest(fixture)->size, size);
        assert_memory_equal(newest(fixture)->request, garbage, size);
    }
    assert_true(ask(fd, 5));
    close(fd);
}

static void test_empty_packet_ends_the_connection(void **state)
{
    struct fixture *fixture = *state;
    unsigned char byte;
    int fd = enter(fixture);
    assert_true(put_packet(fd, "", 0));
    assert_int_equal(take(fd, &byte, 1), -1);
    close(fd);
    fd = enter(fixture);
    assert_true(ask(fd, 1));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(take(fd, &byte, 1), -1);
    close(fd);
    assert_int_equal(newest(fixture)->begun, 1);
}

/* What was sent is carried out, whoever waits for the response. */
static void test_client_that_closes_without_waiting(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t i = 0; i < 300; i++) {
        int fd = enter(fixture);
        assert_true(put_request(fd, ECHO, &i, sizeof i));
        close(fd);
    }
    await_requests(&fixture->sensor, 300, 300);
    assert_int_equal(counters(fixture).refused_failed, 0);
}

static void test_client_that_closes_with_a_response_unread(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 200; i++) {
        int fd = enter(fixture);
        assert_true(put_request(fd, ECHO, &i, sizeof i));
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
        assert_true(put_request(fd, ECHO, &i, sizeof i));
        close(fd); /* which resets the connection */
    }
    await_requests(&fixture->sensor, 400, 400);
}

static void test_killed_clients_leave_nothing_behind(void **state)
{
    struct fixture *fixture = *state;
    uint64_t random = RANDOM_FIRST;
    for (unsigned i = 0; i < 3 * WVU_COMMAND_CLIENTS_MAX; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            int fd;
            if (come(&fixture->place, &fd) != WVU_STATUS_OK)
                _exit(FAILED);
            for (uint64_t n = 0;; n++)
                if (!ask(fd, n))
                    _exit(FAILED);
        }
        kill_soon(child, &random);
    }
    int fd = enter(fixture);
    assert_true(ask(fd, 1));
    close(fd);
    assert_int_equal(counters(fixture).refused_full, 0);
}

/* ---- clients that are not let in ----------------------------------------------------------- */

static void test_stopping_sensor_lets_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    int first = enter(fixture);
    wvu_port_command_refuse(fixture->port);
    check_refused(&fixture->place, WVU_STATUS_STOPPING);
    assert_true(ask(first, 1)); /* the engine says that it is stopping */
    assert_int_equal(counters(fixture).refused_stopping, 1);
    close(first);
}

static void set_group(struct fixture *fixture, bool has_group)
{
    struct place *place = &fixture->place;
    assert_int_equal(wvu_port_command_set_group(fixture->port, has_group, GROUP, place->reason,
                                                sizeof place->reason),
                     WVU_STATUS_OK);
}

static void test_others_are_not_let_in(void **state)
{
    struct fixture *fixture = *state;
    const struct place *place = &fixture->place;
    if (geteuid() != 0)
        skip(); /* only root can become somebody else */
    check_credentials_count(place, NOBODY);
    assert_int_equal(counters(fixture).refused_unentitled, 1);

    set_group(fixture, true);
    assert_int_equal(mode_of(place, WVU_COMMAND_FILE), 0660);
    assert_int_equal(try_as_nobody(place, GROUP, NULL, 0), LET_IN);
    set_group(fixture, false);
    check_credentials_count(place, GROUP);
}

/* ---- stop ---------------------------------------------------------------------------------- */

static void test_stop_with_nobody(void **state)
{
    stop(*state);
}

static void test_stop_with_clients(void **state)
{
    struct fixture *fixture = *state;
    int fds[10];
    unsigned char byte;
    for (int i = 0; i < 10; i++)
        fds[i] = enter(fixture);
    stop(fixture);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(take(fds[i], &byte, 1), -1);
        close(fds[i]);
    }
}

static void stop_now(void *context)
{
    wvu_port_command_stop(((struct fixture *)context)->port);
}

/* Others wait for a slow command, and are answered after it. A stop waits for it and no more; whoever gave
 * it is answered. */
static void test_slow_command(void **state)
{
    struct fixture *fixture = *state;
    int slow = enter(fixture), other = enter(fixture);
    wvu_thread thread;
    set_hold(&fixture->sensor, true);
    assert_true(put_request(slow, SLOW, NULL, 0));
    await_requests(&fixture->sensor, 1, 0);
    assert_true(put_request(other, ECHO, "x", 1));
    set_hold(&fixture->sensor, false);
    assert_non_null(take_response(slow));
    assert_non_null(take_response(other));

    set_hold(&fixture->sensor, true);
    assert_true(put_request(slow, SLOW, NULL, 0));
    await_requests(&fixture->sensor, 3, 2);
    for (int i = 0; i < 5; i++)
        assert_true(put_request(other, ECHO, "x", 1)); /* too late */
    assert_int_equal(wvu_thread_start(&thread, "stop", stop_now, fixture), WVU_STATUS_OK);
    set_hold(&fixture->sensor, false);
    const struct response *response = take_response(slow);
    wvu_thread_join(&thread);
    assert_non_null(response);
    assert_null(take_response(slow));
    close(slow);
    close(other);
    stop(fixture);
}

static void ask_until_stopped(void *context)
{
    struct crowd *crowd = context;
    int fd;
    if (come(&crowd->fixture->place, &fd) != WVU_STATUS_OK)
        return;
    while (ask(fd, crowd->answered))
        wvu_store_relaxed(&crowd->answered, crowd->answered + 1);
    close(fd);
}

static void test_stop_while_clients_ask(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowds[3];
    for (int i = 0; i < 3; i++) {
        crowds[i] = (struct crowd){.fixture = fixture};
        assert_int_equal(wvu_thread_start(&crowds[i].thread, "ask", ask_until_stopped, &crowds[i]),
                         WVU_STATUS_OK);
    }
    for (int i = 0; i < 3; i++)
        while (wvu_load_relaxed(&crowds[i].answered) < 100)
            sched_yield();
    stop(fixture);
    for (int i = 0; i < 3; i++)
        wvu_thread_join(&crowds[i].thread);
}

/* ---- making the socket --------------------------------------------------------------------- */

/* The longest run directory that the configuration allows has room for this name. */
static void test_path_that_is_too_long(void **state)
{
    struct fixture *fixture = *state;
    close_place(&fixture->place);
    open_place(&fixture->place, 97); /* one too many */
    assert_int_equal(create(fixture), WVU_STATUS_INVALID_PARAMETER);
    assert_non_null(strstr(fixture->place.reason, "at most 96 bytes"));
}

#define PORT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PORT_TEST(test_requests_of_all_sizes),
        PORT_TEST(test_largest_request_and_response),
        PORT_TEST(test_who_asks_is_known),
        PORT_TEST(test_who_asks_is_known_when_it_is_dead),
        PORT_TEST(test_a_thousand_clients),
        PORT_TEST(test_as_many_as_there_is_room_for),
        PORT_TEST(test_client_that_never_reads_is_closed),
        PORT_TEST(test_oversized_request_is_refused_and_the_next_answered),
        PORT_TEST(test_garbage_is_handed_on_as_it_came),
        PORT_TEST(test_empty_packet_ends_the_connection),
        PORT_TEST(test_client_that_closes_without_waiting),
        PORT_TEST(test_client_that_closes_with_a_response_unread),
        PORT_TEST(test_killed_clients_leave_nothing_behind),
        PORT_TEST(test_stopping_sensor_lets_nobody_in),
        PORT_TEST(test_others_are_not_let_in),
        PORT_TEST(test_stop_with_nobody),
        PORT_TEST(test_stop_with_clients),
        PORT_TEST(test_slow_command),
        PORT_TEST(test_stop_while_clients_ask),
        cmocka_unit_test_setup_teardown(test_path_that_is_too_long, setup_place, teardown),
    };
    wvu_log_configure(0, WVU_LOG_ERROR); /* the log has tests of its own */
    return cmocka_run_group_tests_name("port_command", tests, NULL, NULL);
}
