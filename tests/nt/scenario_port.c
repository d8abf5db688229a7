/*
 * Connections: thousands of them, the wrong people, readers that die at any moment, and unloading
 * whatever they are doing.
 */
#include <string.h>

#include "harness.h"
#include "kernel.h"

#define PORT "\\WVUPort"

static void connects(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_stream stream = {0};
    struct nt_reader reader;
    struct nt_truth *truth = nt_truth_new();
    stream.on_record = nt_truth_on_record;
    stream.context = truth;
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    for (uint32_t i = 0; i < scale; i++) {
        nt_must_connect(&reader, &stream);
        if (i % 10 == 0) {
            struct nt_actor *actor = nt_truth_cast(truth, NT_PLAIN);
            nt_actor_start(actor);
            nt_actor_exit(actor);
        }
        if (i % 5 == 0 && nt_reader_get(&reader, NT_MS) == STATUS_SUCCESS && i % 10 == 0)
            (void)nt_reader_reply_all(&reader);
        nt_reader_disconnect(&reader);
    }
    nt_must_connect(&reader, &stream);
    nt_truth_read(truth, &reader);
    nt_reader_disconnect(&reader);
    nt_require(nt_connections(PORT) == 0, "%u connections are left", nt_connections(PORT));
    nt_unload(driver);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
}

static void second_reader(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_stream stream = {0}, none = {0};
    struct nt_reader first, second;
    struct nt_driver *driver = nt_must_load(path);
    (void)scale;
    nt_must_connect(&first, &stream);
    for (int i = 0; i < 20; i++) {
        NTSTATUS status = nt_reader_connect(&second, &none);
        nt_require(status == NT_STATUS(0xC0000246), "a second reader got 0x%08x", (unsigned)status);
    }
    nt_reader_past_start(&first);
    nt_reader_disconnect(&first);
    nt_must_connect(&second, &stream);
    nt_reader_disconnect(&second);
    nt_unload(driver);
    (void)nt_attach_to(before);
}

static void not_entitled(const char *path, uint32_t scale)
{
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 1001}};
    const struct nt_process_plan plan = {.id = 404, .user = &user};
    struct nt_process *anybody = nt_process_new(&plan);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_attach_to(anybody);
    struct nt_client *client;
    (void)scale;
    nt_require(nt_connect(PORT, NULL, 0, &client) == STATUS_ACCESS_DENIED,
               "anybody may connect to the event port");
    nt_require(nt_connect("\\WVUCommand", NULL, 0, &client) == STATUS_ACCESS_DENIED,
               "anybody may connect to the command port");
    nt_require(nt_port_access(PORT) == FLT_PORT_CONNECT &&
                   nt_port_access("\\WVUCommand") == FLT_PORT_CONNECT,
               "the ports' descriptors give more than to connect");
    (void)nt_attach_to(before);
    nt_require(nt_connect(PORT, "context", 7, &client) == STATUS_SUCCESS, "SYSTEM may not connect");
    nt_disconnect(client);
    nt_unload(driver);
    nt_process_release(anybody);
}

/* ---- readers that go at any moment --------------------------------------------------------------------- */

/* Gone before the message, with it, after the reply; events come meanwhile. All are delivered. */
static void killed_readers(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = truth};
    struct nt_reader reader;
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    for (uint32_t i = 0; i < scale; i++) {
        struct nt_actor *actor = nt_truth_cast(truth, (enum nt_story)(i % NT_STORIES));
        nt_must_connect(&reader, &stream);
        nt_actor_start(actor);
        if (i % 4 != 0 && nt_reader_get(&reader, 100 * NT_MS) == STATUS_SUCCESS) {
            if (i % 4 == 2)
                (void)nt_reader_reply_all(&reader);
            if (i % 4 == 3) /* half of it */
                (void)nt_reader_reply(&reader, reader.message.batch->first_sequence);
        }
        nt_reader_disconnect(&reader);
        nt_actor_exit(actor);
    }
    nt_must_connect(&reader, &stream);
    nt_truth_read(truth, &reader);
    nt_require(stream.repeated != 0, "no record came twice: the test does not do its work");
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
}

/* The reader's own end: its exit is reported while its port is open still, and nothing waits for it. */
static void own_exit(const char *path, uint32_t scale)
{
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = truth};
    struct nt_reader reader;
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 20000);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *system = nt_attach_to(NULL);
    (void)scale;
    for (int i = 0; i < 50; i++) {
        struct nt_actor *actor = nt_truth_cast(truth, NT_PLAIN);
        nt_actor_start(actor);
        (void)nt_attach_to(nt_actor_process(actor));
        nt_must_connect(&reader, &stream);
        if (i % 2 == 0)
            (void)nt_reader_get(&reader, 100 * NT_MS); /* dies with a message in hand */
        uint64_t begun = nt_now();
        nt_actor_exit(actor);
        nt_reader_disconnect(&reader);
        nt_require(nt_now() - begun < 5000 * (uint64_t)NT_MS, "the end of a reader took %llu ms",
                   (unsigned long long)((nt_now() - begun) / NT_MS));
    }
    nt_must_connect(&reader, &stream);
    nt_truth_read(truth, &reader);
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    (void)nt_attach_to(system);
    nt_truth_free(truth);
}

/* ---- unload -------------------------------------------------------------------------------------------- */

static void must_unload_within(struct nt_driver *driver, uint32_t ms)
{
    uint64_t begun = nt_now();
    nt_unload(driver);
    uint64_t took = (nt_now() - begun) / NT_MS;
    nt_require(took <= ms, "unload took %llu ms; %u are allowed", (unsigned long long)took, ms);
}

/* The time-out is 20 s; nobody may wait for it. DrainMs (100) and the watchdog's half second may be. */
static void unload_states(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_stream stream = {0};
    struct nt_reader reader;
    (void)scale;
    nt_registry_set_number(NT_PARAMETERS, "DrainMs", 100);

    for (int late = 0; late < 2; late++) {
        const struct nt_flt_quirks quirks = {.timeout_ignored_once_fetched = late == 1,
                                             .notify_after_close = late == 1};
        nt_set_flt_quirks(&quirks);

        /* Connected, and nobody asks for messages. */
        struct nt_driver *driver = nt_must_load(path);
        stream = (struct nt_stream){0};
        nt_must_connect(&reader, &stream);
        must_unload_within(driver, 5000);
        nt_require(nt_disconnected(reader.client), "the reader is still connected");
        nt_reader_disconnect(&reader);

        /* In the middle of a send: the message was fetched and is not replied to. */
        driver = nt_must_load(path);
        stream = (struct nt_stream){0};
        nt_must_connect(&reader, &stream);
        nt_require(nt_reader_get(&reader, NT_PATIENCE_NS) == STATUS_SUCCESS, "no message");
        nt_require(nt_sends_under_way() == 1, "no send is under way");
        must_unload_within(driver, 5000);
        nt_require(nt_reader_reply_all(&reader) == STATUS_PORT_DISCONNECTED, "a reply is taken");
        nt_reader_disconnect(&reader);

        /* A reader that reads to the end gets SensorStop. */
        driver = nt_must_load(path);
        stream = (struct nt_stream){0};
        struct nt_reader_thread *thread = nt_reader_thread_start(&stream);
        must_unload_within(driver, 5000);
        nt_reader_thread_stop(thread);
    }
    nt_set_flt_quirks(NULL);
    (void)nt_attach_to(before);
}

static void last_words(const char *path, uint32_t scale)
{
    struct nt_stream stream = {0};
    (void)scale;
    nt_registry_set_number(NT_PARAMETERS, "DrainMs", 30000);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_reader_thread *thread = nt_reader_thread_start(&stream);
    while (nt_connections(PORT) == 0)
        ;
    uint64_t begun = nt_now();
    nt_unload(driver);
    uint64_t took = (nt_now() - begun) / NT_MS;
    nt_reader_thread_stop(thread);
    nt_require(stream.stopped, "the reader did not get SensorStop");
    nt_require(took < 10000, "unload took %llu ms although the reader replied at once",
               (unsigned long long)took);
}

static const struct scenario scenarios[] = {
    {"connects", connects, 10000, 120, "10,000 connections"},
    {"second-reader", second_reader, 1, 20, "one reader at a time"},
    {"not-entitled", not_entitled, 1, 20, "only administrators and SYSTEM"},
    {"killed-readers", killed_readers, 400, 60, "readers that go at any moment lose nothing"},
    {"own-exit", own_exit, 1, 60, "the end of a reader's own process"},
    {"unload-states", unload_states, 1, 60, "unload while connected, and in the middle of a send"},
    {"last-words", last_words, 1, 30, "the reader gets everything up to SensorStop"},
};
const struct scenario_table nt_port_scenarios = NT_SCENARIOS(scenarios);
