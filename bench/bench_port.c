/*
 * How many acknowledged records cross the port in a second: the queue, the dispatcher and the socket port
 * of wvud in this process on one processor, and a reader with libwinvirtue in another process on
 * another processor. Every record has 256 bytes. Beside it, in the same rounds, the floor: a bare
 * socket pair with messages and replies of the same sizes, and nothing else.
 *
 *     bench_port [ROUNDS [RECORDS]]
 *
 * The records come from a thread on the sensor's processor, which sleeps while the queue is nearly full.
 * The reader checks every record, and replies to each message. A round ends when the reader's last
 * reply is on its way; after the last round the queue must have counted all of them as delivered.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dispatcher.h"
#include "log.h"
#include "port_socket.h"
#include "record.h"
#include "winvirtue/winvirtue.h"

#define BATCH       16u
#define RECORD_SIZE 256u
#define FULL_NS     50000 /* a nap of the producer; the queue lasts for some milliseconds */

/* As many records as the dispatcher puts into a message. */
#define FLOOR_RECORDS 240u
#define FLOOR_MESSAGE                                                                              \
    (sizeof(struct wvu_message_header) + sizeof(struct wvu_batch) + FLOOR_RECORDS * RECORD_SIZE)
#define FLOOR_REPLY (sizeof(struct wvu_reply_header) + sizeof(struct wvu_reply))

static uint64_t records;
static uint32_t rounds;
static int sensor_cpu;
static int reader_cpu;

static uint64_t get_number(int fd)
{
    uint64_t number;
    if (read(fd, &number, sizeof number) != sizeof number)
        bench_fail("the other process ended too early");
    return number;
}

static void put_number(int fd, uint64_t number)
{
    if (write(fd, &number, sizeof number) != sizeof number)
        bench_fail("the other process ended too early");
}

/* A process on the reader's processor that ends with this one. `talk` is a socket between the two. */
static pid_t start_reader(int talk[2], void (*body)(int talk))
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk) != 0)
        bench_fail("a socket pair cannot be made");
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("a process cannot be started");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(talk[0]);
        bench_pin(reader_cpu);
        body(talk[1]);
        _exit(0);
    }
    close(talk[1]);
    return pid;
}

static void end_reader(pid_t pid, int talk)
{
    int status;
    close(talk);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_fail("the reader failed");
}

/* ---- records --------------------------------------------------------------------------------- */

/* A process create with one text, as a probe would plan and fill it. */
static union {
    struct wvu_process_create create;
    uint8_t bytes[RECORD_SIZE];
} model;

static void make_model(void)
{
    static const char arguments[RECORD_SIZE - sizeof(struct wvu_process_create)] = "/bin/program";
    struct wvu_text_source text = {.member = offsetof(struct wvu_process_create, arguments),
                                   .unit = 1,
                                   .size = sizeof arguments,
                                   .head = sizeof arguments,
                                   .full_size = sizeof arguments,
                                   .bytes = arguments};
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, sizeof model.create, &text, 1);
    if (plan.size != RECORD_SIZE)
        bench_fail("the record has not the size that the figure is for");
    wvu_record_fill_texts(&model.create.record, &plan, &text);
    model.create.record.time = 1;
    model.create.record.process_id = 1;
    model.create.record.present =
        WVU_PRESENT(wvu_process_create, CgroupId) | WVU_PRESENT(wvu_process_create, Arguments);
}

static void fill(struct wvu_record *record)
{
    uint16_t flags = model.create.record.flags;
    size_t begin = offsetof(struct wvu_record, time);
    memcpy((uint8_t *)record + begin, model.bytes + begin, RECORD_SIZE - begin);
    record->flags = flags;
    ((struct wvu_process_create *)(void *)record)->cgroup_id = record->sequence;
}

/* ---- the sensor ------------------------------------------------------------------------------ */

struct sensor {
    struct wvu_run_dir run_dir;
    struct wvu_queue *queue;
    wvu_event doorbell;
    struct wvu_port_socket *port;
    struct wvu_dispatcher *dispatcher;
};

static void start_sensor(struct sensor *sensor, const char *directory)
{
    static const uint8_t id[16] = {0};
    char reason[256] = "";
    struct wvu_port_socket_settings port = {.run_dir = &sensor->run_dir};

    if (wvu_run_dir_open(&sensor->run_dir, directory, reason, sizeof reason) != WVU_STATUS_OK ||
        wvu_port_socket_create(&port, &sensor->port, reason, sizeof reason) != WVU_STATUS_OK)
        bench_fail(reason);
    if (wvu_event_init(&sensor->doorbell) != WVU_STATUS_OK ||
        wvu_queue_create(WVU_QUEUE_RECORDS_DEFAULT, WVU_QUEUE_BYTES_DEFAULT, &sensor->doorbell,
                         &sensor->queue) != WVU_STATUS_OK)
        bench_fail("the queue cannot be made");
    struct wvu_dispatcher_settings settings = {.queue = sensor->queue,
                                               .port = wvu_port_socket_port(sensor->port),
                                               .wake = &sensor->doorbell,
                                               .boot_id = id,
                                               .sensor_id = id,
                                               .send_timeout_ms = WVU_SEND_TIMEOUT_MS_DEFAULT,
                                               .drain_ms = 1000};
    if (wvu_dispatcher_create(&settings, &sensor->dispatcher) != WVU_STATUS_OK ||
        wvu_dispatcher_start(sensor->dispatcher) != WVU_STATUS_OK)
        bench_fail("the dispatcher cannot be started");
    if (wvu_port_socket_start(sensor->port, sensor->dispatcher, reason, sizeof reason) !=
        WVU_STATUS_OK)
        bench_fail(reason);
}

static void stop_sensor(struct sensor *sensor)
{
    wvu_dispatcher_stop(sensor->dispatcher);
    wvu_port_socket_stop(sensor->port);
    wvu_dispatcher_destroy(sensor->dispatcher);
    wvu_port_socket_destroy(sensor->port);
    wvu_queue_destroy(sensor->queue);
    wvu_event_destroy(&sensor->doorbell);
    wvu_run_dir_close(&sensor->run_dir);
}

static void produce(struct wvu_queue *queue)
{
    for (uint64_t done = 0; done < records; done += BATCH) {
        while (wvu_queue_nearly_full(queue))
            nanosleep(&(struct timespec){0, FULL_NS}, NULL);
        for (uint32_t i = 0; i < BATCH; i++) {
            struct wvu_record *record;
            if (wvu_queue_reserve(queue, WVU_EVENT_ProcessCreate, RECORD_SIZE, &record) !=
                WVU_STATUS_OK)
                bench_fail("no room in a queue that is not nearly full");
            fill(record);
            wvu_queue_commit(queue, record);
        }
        wvu_queue_wake(queue);
    }
}

static char run_directory[] = "/tmp/winvirtue-bench.XXXXXX";

static void read_round(wvu_client *client, uint64_t *next)
{
    uint64_t end = *next + records;
    while (*next < end) {
        const wvu_message *message;
        int status = wvu_get(client, -1, &message);
        if (status != 0)
            bench_fail(wvu_strerror(status));
        const struct wvu_record *record = NULL;
        while ((record = wvu_next(message, record)) != NULL) {
            const struct wvu_process_create *create = (const void *)record;
            if (record->sequence != *next || create->cgroup_id != *next ||
                record->size != RECORD_SIZE)
                bench_fail("a record was lost, changed or out of order");
            (*next)++;
        }
        status = wvu_reply_all(client);
        if (status != 0)
            bench_fail(wvu_strerror(status));
    }
}

/* Each round begins when a number comes, and ends with the time at which it was over. */
static void port_reader(int talk)
{
    wvu_client *client = NULL;
    uint64_t next = 1;
    (void)get_number(talk);
    int status = wvu_connect(run_directory, 5000, &client);
    if (status != 0)
        bench_fail(wvu_strerror(status));
    put_number(talk, 0);
    for (uint32_t round = 0; round < rounds; round++) {
        (void)get_number(talk);
        read_round(client, &next);
        put_number(talk, bench_now());
    }
    (void)get_number(talk); /* the sensor has looked at its counters */
    wvu_close(client);
}

/* ---- the floor ------------------------------------------------------------------------------- */

static int floor_sockets[2];

static void floor_reader(int talk)
{
    static uint8_t message[FLOOR_MESSAGE];
    static const uint8_t reply[FLOOR_REPLY] = {0};
    close(floor_sockets[0]);
    for (uint32_t round = 0; round < rounds; round++) {
        (void)get_number(talk);
        for (uint64_t done = 0; done < records; done += FLOOR_RECORDS)
            if (recv(floor_sockets[1], message, sizeof message, 0) != sizeof message ||
                send(floor_sockets[1], reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply)
                bench_fail("the bare socket failed");
        put_number(talk, bench_now());
    }
}

static double floor_round(int talk)
{
    static uint8_t message[FLOOR_MESSAGE];
    uint8_t reply[FLOOR_REPLY];
    uint64_t done = 0;
    put_number(talk, 0);
    uint64_t begin = bench_now();
    for (; done < records; done += FLOOR_RECORDS)
        if (send(floor_sockets[0], message, sizeof message, MSG_NOSIGNAL) != sizeof message ||
            recv(floor_sockets[0], reply, sizeof reply, 0) != sizeof reply)
            bench_fail("the bare socket failed");
    return (double)done * 1e9 / (double)(get_number(talk) - begin);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static double port_round(struct sensor *sensor, int talk)
{
    put_number(talk, 0);
    uint64_t begin = bench_now();
    produce(sensor->queue);
    return (double)records * 1e9 / (double)(get_number(talk) - begin);
}

/* The last reply is on its way when the last round ends. */
static void wait_delivered(struct wvu_queue *queue, uint64_t count)
{
    struct wvu_queue_counters counters;
    uint64_t deadline = bench_now() + 5000000000u;
    do {
        wvu_queue_read_counters(queue, &counters);
        if (counters.delivered == count && counters.lost == 0)
            return;
        nanosleep(&(struct timespec){0, FULL_NS}, NULL);
    } while (bench_now() < deadline);
    bench_fail("not every record was counted as delivered");
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most)
        bench_fail("usage: bench_port [ROUNDS (1..1000) [RECORDS (1000..)]]");
    return value;
}

int main(int argc, char **argv)
{
    static double port[BENCH_ROUNDS_MAX];
    static double bare[BENCH_ROUNDS_MAX];
    rounds = argc > 1 ? (uint32_t)number(argv[1], 1, BENCH_ROUNDS_MAX) : 21;
    records = argc > 2 ? number(argv[2], 1000, UINT64_MAX / 4) : 500000;
    records = records / BATCH * BATCH;
    bench_two_cpus(&sensor_cpu, &reader_cpu);
    if (sensor_cpu == reader_cpu)
        fprintf(stderr, "bench_port: only one processor; sensor and reader share it\n");
    if (mkdtemp(run_directory) == NULL)
        bench_fail("no temporary directory can be made");
    make_model();

    wvu_log_configure(WVU_LOG_ALL, WVU_LOG_WARNING);

    /* The readers first: processes are forked before there are threads. */
    int port_talk[2];
    int floor_talk[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, floor_sockets) != 0)
        bench_fail("a socket pair cannot be made");
    pid_t port_pid = start_reader(port_talk, port_reader);
    pid_t floor_pid = start_reader(floor_talk, floor_reader);
    close(floor_sockets[1]);
    bench_pin(sensor_cpu);

    struct sensor sensor;
    start_sensor(&sensor, run_directory);
    put_number(port_talk[0], 0);
    (void)get_number(port_talk[0]);
    for (uint32_t round = 0; round < rounds; round++) {
        port[round] = port_round(&sensor, port_talk[0]);
        bare[round] = floor_round(floor_talk[0]);
    }
    wait_delivered(sensor.queue, records * rounds);
    put_number(port_talk[0], 0);
    end_reader(port_pid, port_talk[0]);
    end_reader(floor_pid, floor_talk[0]);
    stop_sensor(&sensor);
    rmdir(run_directory);

    bench_print("port", "winvirtue port", "two-processes", "records/s", port, rounds);
    bench_print("port", "bare socket pair, same sizes", "two-processes", "records/s", bare, rounds);
    return 0;
}
