/*
 * The event port against scripted readers: good ones, silent, flooding, half-closed, killed, wrong ones.
 *
 * The test is the dispatcher: it defines what the port calls of it, and calls the port's operations in
 * its place. Readers are sockets of this process, or child processes where a process must die or
 * be another user. Waits have a bound far beyond what they take.
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

#include "atomic.h"
#include "dispatcher.h"
#include "log.h"
#include "os.h"
#include "port_socket.h"
#include "support/port_place.h"

#define PATIENCE (PATIENCE_MS * MS)

/* ---- the dispatcher's part ----------------------------------------------------------------- */

struct wvu_dispatcher {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned connects, disconnects;
    bool unpaired;
    uint32_t reader; /* named, and not connected yet */
    bool unnamed;
};

void wvu_dispatcher_name_reader(struct wvu_dispatcher *dispatcher, uint32_t process_id)
{
    pthread_mutex_lock(&dispatcher->mutex);
    dispatcher->reader = process_id;
    pthread_mutex_unlock(&dispatcher->mutex);
}

void wvu_dispatcher_connected(struct wvu_dispatcher *dispatcher)
{
    pthread_mutex_lock(&dispatcher->mutex);
    dispatcher->unnamed |= dispatcher->reader == 0;
    dispatcher->reader = 0; /* each connection names its own */
    dispatcher->unpaired |= dispatcher->connects != dispatcher->disconnects;
    dispatcher->connects++;
    pthread_cond_broadcast(&dispatcher->changed);
    pthread_mutex_unlock(&dispatcher->mutex);
}

void wvu_dispatcher_disconnected(struct wvu_dispatcher *dispatcher)
{
    pthread_mutex_lock(&dispatcher->mutex);
    dispatcher->disconnects++;
    dispatcher->unpaired |= dispatcher->connects != dispatcher->disconnects;
    pthread_cond_broadcast(&dispatcher->changed);
    pthread_mutex_unlock(&dispatcher->mutex);
}

/* ---- fixture ------------------------------------------------------------------------------- */

struct fixture {
    struct place place;
    struct wvu_port_socket *port;
    struct wvu_port *operations;
    struct wvu_dispatcher dispatcher;
    bool reader_shown; /* by settings.changed, the port's thread */
    bool shown_wrong;
    bool started;
};

static void show_reader(void *context, const struct wvu_port_peer *reader)
{
    struct fixture *fixture = context;
    fixture->shown_wrong |= fixture->reader_shown == (reader != NULL);
    fixture->shown_wrong |= reader != NULL && reader->pid <= 0;
    fixture->reader_shown = reader != NULL;
}

static wvu_status create(struct fixture *fixture)
{
    struct place *place = &fixture->place;
    const struct wvu_port_socket_settings settings = {
        .run_dir = &place->run_dir, .changed = show_reader, .context = fixture};
    return wvu_port_socket_create(&settings, &fixture->port, place->reason, sizeof place->reason);
}

static void start(struct fixture *fixture)
{
    assert_int_equal(wvu_port_socket_start(fixture->port, &fixture->dispatcher,
                                           fixture->place.reason, sizeof fixture->place.reason),
                     WVU_STATUS_OK);
    fixture->started = true;
    fixture->operations = wvu_port_socket_port(fixture->port);
}

/* Without a port. */
static int setup_place(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->place = (struct place){.file = WVU_PORT_FILE, .packet_max = WVU_MESSAGE_MAX};
    open_place(&fixture->place, SHORT_PATH);
    pthread_mutex_init(&fixture->dispatcher.mutex, NULL);
    pthread_cond_init(&fixture->dispatcher.changed, NULL);
    *state = fixture;
    return 0;
}

static int setup(void **state)
{
    setup_place(state);
    assert_int_equal(create(*state), WVU_STATUS_OK);
    start(*state);
    return 0;
}

static void stop(struct fixture *fixture)
{
    uint64_t before = wvu_os_uptime();
    wvu_port_socket_stop(fixture->port);
    assert_true(wvu_os_uptime() - before < SOON);
    assert_false(fixture->dispatcher.unpaired || fixture->dispatcher.unnamed);
    assert_int_equal(fixture->dispatcher.connects, fixture->dispatcher.disconnects);
    assert_false(fixture->reader_shown || fixture->shown_wrong);
    fixture->started = false;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->started)
        stop(fixture);
    wvu_port_socket_destroy(fixture->port);
    close_place(&fixture->place);
    free(fixture);
    return 0;
}

static struct wvu_port_socket_counters counters(struct fixture *fixture)
{
    struct wvu_port_socket_counters counters;
    wvu_port_socket_read_counters(fixture->port, &counters);
    return counters;
}

/* Until the port has told of so many connects and disconnects. */
static void await_dispatcher(struct fixture *fixture, unsigned connects, unsigned disconnects)
{
    struct wvu_dispatcher *dispatcher = &fixture->dispatcher;
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&dispatcher->mutex);
    while (error == 0 &&
           (dispatcher->connects != connects || dispatcher->disconnects != disconnects))
        error = pthread_cond_timedwait(&dispatcher->changed, &dispatcher->mutex, &until);
    assert_int_equal(dispatcher->connects, connects);
    assert_int_equal(dispatcher->disconnects, disconnects);
    assert_false(dispatcher->unpaired);
    pthread_mutex_unlock(&dispatcher->mutex);
}

/* ---- readers: only system calls, for they also run in children ----------------------------- */

/* Takes a message and gives its id, 0 when there is none. */
static uint64_t take_message(int fd)
{
    static _Thread_local unsigned char buffer[WVU_MESSAGE_MAX];
    struct wvu_message_header header = {.message_id = 0};
    if (take(fd, buffer, sizeof buffer) < (ssize_t)sizeof header)
        return 0;
    memcpy(&header, buffer, sizeof header);
    return header.message_id;
}

struct reply {
    struct wvu_reply_header header;
    struct wvu_reply body;
};

static bool put_reply(int fd, uint64_t message_id)
{
    const struct reply reply = {
        .header = {.message_id = message_id},
        .body = {.version = WVU_PROTOCOL_VERSION, .size = sizeof reply.body, .acknowledged = 7}};
    return put_packet(fd, &reply, sizeof reply);
}

/* A reader that was let in, which the dispatcher knows. */
static int enter(struct fixture *fixture, unsigned connects)
{
    int fd;
    assert_int_equal(come(&fixture->place, &fd), WVU_STATUS_OK);
    await_dispatcher(fixture, connects, connects - 1);
    return fd;
}

/* ---- sending, in a thread of its own ------------------------------------------------------- */

struct sending {
    struct fixture *fixture;
    wvu_thread thread;
    uint64_t timeout;
    uint32_t size;
    wvu_status status;
    struct wvu_reply reply;
    uint32_t reply_size;
    int32_t reader_status;
    uint64_t took;
};

static unsigned char batch[WVU_BATCH_MAX]; /* filled in main */

static void send_now(void *context)
{
    struct sending *sending = context;
    struct wvu_port *port = sending->fixture->operations;
    sending->reply_size = sizeof sending->reply;
    uint64_t before = wvu_os_uptime();
    sending->status =
        port->operations->send(port, batch, sending->size, &sending->reply, &sending->reply_size,
                               &sending->reader_status, sending->timeout);
    sending->took = wvu_os_uptime() - before;
}

static void start_send(struct fixture *fixture, struct sending *sending, uint64_t timeout)
{
    *sending = (struct sending){.fixture = fixture, .timeout = timeout, .size = 100};
    assert_int_equal(wvu_thread_start(&sending->thread, "send", send_now, sending), WVU_STATUS_OK);
}

static wvu_status finish_send(struct sending *sending)
{
    wvu_thread_join(&sending->thread);
    assert_true(sending->took < sending->timeout + SOON);
    return sending->status;
}

static wvu_status send_alone(struct fixture *fixture, uint64_t timeout)
{
    struct sending sending = {.fixture = fixture, .timeout = timeout, .size = 100};
    send_now(&sending);
    assert_true(sending.took < timeout + SOON);
    return sending.status;
}

/* A whole exchange with a reader that behaves. */
static void check_exchange(struct fixture *fixture, int fd)
{
    struct sending sending;
    start_send(fixture, &sending, PATIENCE);
    assert_true(put_reply(fd, take_message(fd)));
    assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
    assert_int_equal(sending.reply_size, sizeof sending.reply);
    assert_int_equal(sending.reply.acknowledged, 7);
}

/* ---- readers that behave ------------------------------------------------------------------- */

static void test_exchange(void **state)
{
    struct fixture *fixture = *state;
    int fd = enter(fixture, 1);
    uint64_t last_id = 0;
    for (int i = 0; i < 100; i++) {
        struct sending sending;
        struct {
            struct wvu_message_header header;
            unsigned char batch[1000];
        } message;
        start_send(fixture, &sending, PATIENCE);
        assert_int_equal(take(fd, &message, sizeof message), sizeof message.header + 100);
        assert_int_equal(message.header.reply_length, sizeof(struct reply));
        assert_int_equal(message.header.reserved, 0);
        assert_true(message.header.message_id > last_id);
        last_id = message.header.message_id;
        assert_memory_equal(message.batch, batch, 100);
        const struct reply reply = {.header = {.status = -5, .message_id = last_id},
                                    .body = {.version = 1, .size = 2, .acknowledged = 3}};
        assert_true(put_packet(fd, &reply, sizeof reply));
        assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
        assert_int_equal(sending.reader_status, -5);
        assert_memory_equal(&sending.reply, &reply.body, sizeof reply.body);
    }
    close(fd);
    await_dispatcher(fixture, 1, 1);
    assert_int_equal(send_alone(fixture, PATIENCE), WVU_STATUS_DISCONNECTED);
}

static void test_largest_message_arrives_whole(void **state)
{
    struct fixture *fixture = *state;
    static unsigned char buffer[WVU_MESSAGE_MAX + 1];
    int fd = enter(fixture, 1);
    for (int i = 0; i < 10; i++) {
        struct sending sending = {.fixture = fixture, .timeout = PATIENCE, .size = WVU_BATCH_MAX};
        assert_int_equal(wvu_thread_start(&sending.thread, "send", send_now, &sending),
                         WVU_STATUS_OK);
        assert_int_equal(take(fd, buffer, sizeof buffer), WVU_MESSAGE_MAX);
        struct wvu_message_header header;
        memcpy(&header, buffer, sizeof header);
        assert_memory_equal(buffer + sizeof header, batch, sizeof batch);
        assert_true(put_reply(fd, header.message_id));
        assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
    }
    close(fd);
}

/* Its body is the dispatcher's business. */
static void test_reply_with_a_short_body_is_handed_on(void **state)
{
    struct fixture *fixture = *state;
    int fd = enter(fixture, 1);
    for (uint32_t size = 0; size <= sizeof(struct wvu_reply); size += 4) {
        struct sending sending;
        struct reply reply = {.header = {.message_id = 0}};
        start_send(fixture, &sending, PATIENCE);
        reply.header.message_id = take_message(fd);
        assert_true(put_packet(fd, &reply, sizeof reply.header + size));
        assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
        assert_int_equal(sending.reply_size, size);
    }
    close(fd);
}

static void test_last_reply_counts_when_the_reader_closes_at_once(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 1; i <= 200; i++) {
        struct sending sending;
        int fd = enter(fixture, i);
        start_send(fixture, &sending, PATIENCE);
        assert_true(put_reply(fd, take_message(fd)));
        close(fd);
        assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
        await_dispatcher(fixture, i, i);
    }
}

/* A socket that is closed with something unread resets the connection; what it sent still counts. */
static void test_last_reply_counts_when_a_message_is_left_unread(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 1; i <= 200; i++) {
        struct sending sending;
        int fd = enter(fixture, i);
        assert_int_equal(send_alone(fixture, 100000), WVU_STATUS_TIMEOUT);
        uint64_t first = take_message(fd);
        start_send(fixture, &sending, PATIENCE);
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
        assert_true(put_reply(fd, first + 1)); /* it knows the next id without reading */
        close(fd);
        assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
        await_dispatcher(fixture, i, i);
    }
}

static void test_port_is_free_at_once(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 300; i++) {
        int fd;
        assert_int_equal(come(&fixture->place, &fd), WVU_STATUS_OK);
        close(fd);
    }
    await_dispatcher(fixture, 300, 300);
    assert_int_equal(counters(fixture).refused_busy, 0);
}

/* ---- readers that do not reply ------------------------------------------------------------- */

static void test_silent_reader_times_out_and_its_late_reply_is_dropped(void **state)
{
    struct fixture *fixture = *state;
    int fd = enter(fixture, 1);
    uint64_t before = wvu_os_uptime();
    assert_int_equal(send_alone(fixture, 20 * MS), WVU_STATUS_TIMEOUT);
    assert_true(wvu_os_uptime() - before >= 20 * MS);

    struct sending sending;
    start_send(fixture, &sending, PATIENCE);
    uint64_t first = take_message(fd);
    uint64_t second = take_message(fd);
    assert_true(second > first);
    assert_true(put_reply(fd, first));
    assert_true(put_reply(fd, second));
    assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
    assert_int_equal(counters(fixture).stray_replies, 1);
    close(fd);
}

/* A reader whose socket is full leaves, or only says that it will send nothing more, while a send waits
 * for room. */
static void check_full_socket(struct fixture *fixture, unsigned connects, bool half_close)
{
    int fd = enter(fixture, connects);
    for (int i = 0; i < 12; i++) { /* more than the socket can hold */
        struct sending sending = {.fixture = fixture, .timeout = 5 * MS, .size = WVU_BATCH_MAX};
        send_now(&sending);
        assert_int_equal(sending.status, WVU_STATUS_TIMEOUT);
        assert_true(sending.took < SOON);
    }
    struct sending sending = {.fixture = fixture, .timeout = PATIENCE, .size = WVU_BATCH_MAX};
    assert_int_equal(wvu_thread_start(&sending.thread, "send", send_now, &sending), WVU_STATUS_OK);
    nanosleep(&(struct timespec){0, 20 * (long)MS}, NULL); /* it mostly waits by now */
    if (half_close)
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
    else
        close(fd);
    assert_int_equal(finish_send(&sending), WVU_STATUS_DISCONNECTED);
    assert_true(sending.took < PATIENCE / 2);
    await_dispatcher(fixture, connects, connects);
    if (half_close)
        close(fd);
}

static void test_reader_that_does_not_receive(void **state)
{
    check_full_socket(*state, 1, false);
    check_full_socket(*state, 2, true);
}

static void test_reader_that_leaves_with_a_message_unread(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 1; i <= 100; i++) {
        struct sending sending;
        int fd = enter(fixture, i);
        start_send(fixture, &sending, PATIENCE);
        if (i % 2 == 0)
            assert_true(take_message(fd) != 0);
        close(fd);
        assert_int_equal(finish_send(&sending), WVU_STATUS_DISCONNECTED);
        await_dispatcher(fixture, i, i);
    }
}

static void test_half_closed_reader_is_gone(void **state)
{
    struct fixture *fixture = *state;
    struct sending sending;
    unsigned char byte;
    int fd = enter(fixture, 1);
    start_send(fixture, &sending, PATIENCE);
    assert_true(take_message(fd) != 0);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(finish_send(&sending), WVU_STATUS_DISCONNECTED);
    await_dispatcher(fixture, 1, 1);
    assert_int_equal(take(fd, &byte, 1), -1); /* it is told, too */
    int next = enter(fixture, 2);
    check_exchange(fixture, next);
    close(next);
    close(fd);
}

/* ---- readers that send what is no reply ---------------------------------------------------- */

static void test_wrong_packets_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    struct sending sending;
    unsigned char junk[1000];
    int fd = enter(fixture, 1);
    memset(junk, 0x5a, sizeof junk);

    start_send(fixture, &sending, PATIENCE);
    uint64_t id = take_message(fd);
    for (size_t size = 0; size < sizeof(struct wvu_reply_header); size++)
        assert_true(put_packet(fd, junk, size)); /* the first one is empty */
    assert_true(put_packet(fd, junk, sizeof(struct reply) + 1));
    assert_true(put_packet(fd, junk, 257));
    assert_true(put_packet(fd, junk, sizeof junk));
    assert_true(put_reply(fd, 0));
    assert_true(put_reply(fd, id + 1));
    assert_true(put_reply(fd, UINT64_MAX));
    assert_true(put_reply(fd, id));
    assert_int_equal(finish_send(&sending), WVU_STATUS_OK);
    assert_int_equal(counters(fixture).malformed_packets, 16 + 3 + 1);
    assert_int_equal(counters(fixture).stray_replies, 2);
    assert_int_equal(counters(fixture).floods, 0);
    close(fd);
}

static void test_packets_before_any_message(void **state)
{
    struct fixture *fixture = *state;
    int fd = enter(fixture, 1);
    for (int i = 0; i < 50; i++)
        assert_true(put_reply(fd, 1000 + (uint64_t)i));
    check_exchange(fixture, fd);
    assert_int_equal(counters(fixture).stray_replies, 50);
    close(fd);
}

struct flood {
    int fd;
    wvu_thread thread;
    uint32_t ended; /* atomic */
};

static void flood_until_closed(void *context)
{
    struct flood *flood = context;
    unsigned char junk[100] = {1};
    while (put_packet(flood->fd, junk, sizeof junk))
        ;
    wvu_store_release(&flood->ended, 1);
}

static void test_flood_is_told_and_can_be_ended(void **state)
{
    struct fixture *fixture = *state;
    struct flood flood = {.fd = enter(fixture, 1)};
    assert_int_equal(wvu_thread_start(&flood.thread, "flood", flood_until_closed, &flood),
                     WVU_STATUS_OK);
    assert_int_equal(send_alone(fixture, PATIENCE), WVU_STATUS_BAD_MESSAGE);
    assert_int_equal(counters(fixture).malformed_packets, WVU_PORT_BAD_PACKETS_MAX);
    assert_int_equal(counters(fixture).floods, 1);
    fixture->operations->operations->disconnect(fixture->operations);
    await_dispatcher(fixture, 1, 1);
    wvu_thread_join(&flood.thread);
    close(flood.fd);
    int fd = enter(fixture, 2);
    check_exchange(fixture, fd);
    close(fd);
}

/* ---- readers that are not let in ----------------------------------------------------------- */

static void test_second_reader_is_refused(void **state)
{
    struct fixture *fixture = *state;
    int first = enter(fixture, 1);
    for (int i = 0; i < 20; i++)
        check_refused(&fixture->place, WVU_STATUS_CONNECTION_LIMIT);
    assert_int_equal(counters(fixture).refused_busy, 20);
    check_exchange(fixture, first);
    close(first);
}

static void test_stopping_sensor_lets_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    int first = enter(fixture, 1);
    wvu_port_socket_refuse(fixture->port);
    check_refused(&fixture->place, WVU_STATUS_STOPPING);
    check_exchange(fixture, first);
    assert_int_equal(counters(fixture).refused_stopping, 1);
    close(first);
}

static void set_group(struct fixture *fixture, bool has_group)
{
    struct place *place = &fixture->place;
    assert_int_equal(wvu_port_socket_set_group(fixture->port, has_group, GROUP, place->reason,
                                               sizeof place->reason),
                     WVU_STATUS_OK);
}

static void test_others_are_not_let_in(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip(); /* only root can become somebody else */
    check_credentials_count(&fixture->place, NOBODY);
    assert_int_equal(counters(fixture).refused_unentitled, 1);
}

static void test_members_of_the_group_are_let_in(void **state)
{
    struct fixture *fixture = *state;
    const struct place *place = &fixture->place;
    gid_t groups[200];
    if (geteuid() != 0)
        skip(); /* only root can become somebody else */
    for (size_t i = 0; i < 200; i++)
        groups[i] = 60000 + (gid_t)i;
    groups[150] = GROUP;
    set_group(fixture, true);
    assert_int_equal(mode_of(place, WVU_PORT_FILE), 0660);
    assert_int_equal(mode_of(place, "."), 0750);
    assert_int_equal(try_as_nobody(place, GROUP, NULL, 0), LET_IN);
    assert_int_equal(try_as_nobody(place, NOBODY, groups + 150, 1), LET_IN);
    assert_int_equal(try_as_nobody(place, NOBODY, groups, 200), LET_IN);
    assert_int_equal(try_as_nobody(place, NOBODY, groups, 100), DENIED_BY_MODE);

    set_group(fixture, false);
    assert_int_equal(mode_of(place, WVU_PORT_FILE), 0600);
    assert_int_equal(try_as_nobody(place, NOBODY, groups, 200), DENIED_BY_MODE);
    await_dispatcher(fixture, 3, 3);
}

/* ---- readers that are killed --------------------------------------------------------------- */

struct serving {
    struct fixture *fixture;
    uint32_t stop; /* atomic */
    uint64_t replied;
    uint64_t wrong; /* sends that ended otherwise than by a reply or the reader's end */
};

/* What the dispatcher does: sends whenever somebody is connected. */
static void serve(void *context)
{
    struct serving *serving = context;
    while (wvu_load_acquire(&serving->stop) == 0) {
        struct sending sending = {.fixture = serving->fixture, .timeout = PATIENCE, .size = 5000};
        send_now(&sending);
        if (sending.status == WVU_STATUS_OK) {
            serving->replied++;
        } else {
            serving->wrong +=
                sending.status != WVU_STATUS_DISCONNECTED && sending.status != WVU_STATUS_CANCELLED;
            sched_yield();
        }
    }
}

static _Noreturn void read_for_ever(const struct place *place)
{
    int fd;
    if (come(place, &fd) != WVU_STATUS_OK)
        _exit(FAILED);
    for (;;) {
        uint64_t id = take_message(fd);
        if (id == 0 || !put_reply(fd, id))
            _exit(FAILED);
    }
}

/* A dead process has closed its sockets before its parent is told, so the next one must get in. */
static void test_killed_readers_free_the_port(void **state)
{
    struct fixture *fixture = *state;
    struct serving serving = {.fixture = fixture};
    wvu_thread thread;
    uint64_t random = RANDOM_FIRST;
    assert_int_equal(wvu_thread_start(&thread, "serve", serve, &serving), WVU_STATUS_OK);
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            read_for_ever(&fixture->place);
        kill_soon(child, &random);
    }
    wvu_store_release(&serving.stop, 1);
    fixture->operations->operations->cancel(fixture->operations);
    wvu_thread_join(&thread);
    assert_true(serving.replied > 0);
    assert_int_equal(serving.wrong, 0);
    stop(fixture);
    assert_true(fixture->dispatcher.connects > 0);
}

/* ---- cancel, disconnect, stop -------------------------------------------------------------- */

static void test_cancel_ends_the_send_under_way_and_all_later_ones(void **state)
{
    struct fixture *fixture = *state;
    struct sending sending;
    int fd = enter(fixture, 1);
    start_send(fixture, &sending, PATIENCE);
    assert_true(take_message(fd) != 0);
    fixture->operations->operations->cancel(fixture->operations);
    assert_int_equal(finish_send(&sending), WVU_STATUS_CANCELLED);
    assert_true(sending.took < SOON);
    assert_int_equal(send_alone(fixture, PATIENCE), WVU_STATUS_CANCELLED);
    close(fd);
    await_dispatcher(fixture, 1, 1);
    assert_int_equal(send_alone(fixture, PATIENCE), WVU_STATUS_CANCELLED);
}

static void test_disconnect_spares_the_next_reader(void **state)
{
    struct fixture *fixture = *state;
    int first = enter(fixture, 1);
    assert_int_equal(send_alone(fixture, 5 * MS), WVU_STATUS_TIMEOUT);
    close(first);
    await_dispatcher(fixture, 1, 1);
    int second = enter(fixture, 2);
    fixture->operations->operations->disconnect(fixture->operations); /* meant for the first */
    check_exchange(fixture, second);
    /* This one is meant for it. */
    unsigned char byte;
    fixture->operations->operations->disconnect(fixture->operations);
    assert_int_equal(take(second, &byte, 1), -1);
    await_dispatcher(fixture, 2, 2);
    fixture->operations->operations->disconnect(fixture->operations); /* nobody is there */
    close(second);
}

static void test_stop_with_nobody(void **state)
{
    stop(*state);
}

static void test_stop_with_an_idle_reader(void **state)
{
    struct fixture *fixture = *state;
    unsigned char byte;
    int fd = enter(fixture, 1);
    stop(fixture);
    assert_int_equal(take(fd, &byte, 1), -1);
    close(fd);
}

static void test_stop_with_a_full_socket(void **state)
{
    struct fixture *fixture = *state;
    int fd = enter(fixture, 1);
    for (int i = 0; i < 12; i++)
        assert_int_equal(send_alone(fixture, 1 * MS), WVU_STATUS_TIMEOUT);
    stop(fixture);
    close(fd);
}

static void test_stop_during_a_flood(void **state)
{
    struct fixture *fixture = *state;
    struct flood flood = {.fd = enter(fixture, 1)};
    assert_int_equal(wvu_thread_start(&flood.thread, "flood", flood_until_closed, &flood),
                     WVU_STATUS_OK);
    stop(fixture);
    wvu_thread_join(&flood.thread);
    close(flood.fd);
}

static void connect_until_stopped(void *context)
{
    struct serving *serving = context;
    while (wvu_load_acquire(&serving->stop) == 0) {
        int fd = connect_to_file(serving->fixture->place.path, WVU_PORT_FILE);
        if (fd >= 0)
            close(fd);
    }
}

static void test_stop_while_readers_come_and_go(void **state)
{
    struct fixture *fixture = *state;
    struct serving serving = {.fixture = fixture};
    wvu_thread threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(wvu_thread_start(&threads[i], "connect", connect_until_stopped, &serving),
                         WVU_STATUS_OK);
    struct wvu_port_socket_counters seen;
    do { /* most leave before they are welcomed, and so are no connections */
        sched_yield();
        seen = counters(fixture);
    } while (seen.connections + seen.refused_failed + seen.refused_busy < 100);
    stop(fixture);
    wvu_store_release(&serving.stop, 1);
    /* What is in the backlog waits until the socket is closed. */
    wvu_port_socket_destroy(fixture->port);
    for (int i = 0; i < 2; i++)
        wvu_thread_join(&threads[i]);
    fixture->port = NULL;
}

/* ---- making the socket --------------------------------------------------------------------- */

static void test_socket_of_a_dead_sensor_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    const char *file = path_of(&fixture->place, WVU_PORT_FILE);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, file, strlen(file) + 1);
    int dead = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(dead, (const struct sockaddr *)&address, sizeof address), 0);
    close(dead);

    assert_int_equal(create(fixture), WVU_STATUS_OK);
    assert_int_equal(access(file, F_OK), -1); /* not before one can connect */
    start(fixture);
    close(enter(fixture, 1));
}

static void test_what_is_no_socket_is_not_replaced(void **state)
{
    struct fixture *fixture = *state;
    const char *file = path_of(&fixture->place, WVU_PORT_FILE);
    fclose(fopen(file, "w"));
    assert_int_not_equal(create(fixture), WVU_STATUS_OK);
    assert_null(fixture->port);
    assert_non_null(strstr(fixture->place.reason, file));
    assert_int_equal(unlink(file), 0);
}

static void test_path_that_is_too_long(void **state)
{
    struct fixture *fixture = *state;
    close_place(&fixture->place);
    open_place(&fixture->place, 99); /* one too many */
    assert_int_equal(create(fixture), WVU_STATUS_INVALID_PARAMETER);
    assert_non_null(strstr(fixture->place.reason, "at most 98 bytes"));
}

#define PORT_TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, setup_place, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PORT_TEST(test_exchange),
        PORT_TEST(test_largest_message_arrives_whole),
        PORT_TEST(test_reply_with_a_short_body_is_handed_on),
        PORT_TEST(test_last_reply_counts_when_the_reader_closes_at_once),
        PORT_TEST(test_last_reply_counts_when_a_message_is_left_unread),
        PORT_TEST(test_port_is_free_at_once),
        PORT_TEST(test_silent_reader_times_out_and_its_late_reply_is_dropped),
        PORT_TEST(test_reader_that_does_not_receive),
        PORT_TEST(test_reader_that_leaves_with_a_message_unread),
        PORT_TEST(test_half_closed_reader_is_gone),
        PORT_TEST(test_wrong_packets_are_dropped),
        PORT_TEST(test_packets_before_any_message),
        PORT_TEST(test_flood_is_told_and_can_be_ended),
        PORT_TEST(test_second_reader_is_refused),
        PORT_TEST(test_stopping_sensor_lets_nobody_in),
        PORT_TEST(test_others_are_not_let_in),
        PORT_TEST(test_members_of_the_group_are_let_in),
        PORT_TEST(test_killed_readers_free_the_port),
        PORT_TEST(test_cancel_ends_the_send_under_way_and_all_later_ones),
        PORT_TEST(test_disconnect_spares_the_next_reader),
        PORT_TEST(test_stop_with_nobody),
        PORT_TEST(test_stop_with_an_idle_reader),
        PORT_TEST(test_stop_with_a_full_socket),
        PORT_TEST(test_stop_during_a_flood),
        PORT_TEST(test_stop_while_readers_come_and_go),
        PLACE_TEST(test_socket_of_a_dead_sensor_is_replaced),
        PLACE_TEST(test_what_is_no_socket_is_not_replaced),
        PLACE_TEST(test_path_that_is_too_long),
    };
    for (size_t i = 0; i < sizeof batch; i++)
        batch[i] = (unsigned char)(i * 31 + i / 256);
    wvu_log_configure(0, WVU_LOG_ERROR); /* the log has tests of its own */
    return cmocka_run_group_tests_name("port_socket", tests, NULL, NULL);
}
