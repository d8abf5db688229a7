/*
 * Many threads at once: processes that start, load images and exit, some in the middle of their own
 * start; readers that come and go; and unloading in the middle of it.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "kernel.h"

#define PRODUCERS 6

struct storm {
    struct nt_truth *truth;
    atomic_bool stop;
    uint32_t rounds; /* of each producer */
};

static void exit_of(void *actor)
{
    nt_actor_exit(actor);
}

/* "Process exit during its own create": both callbacks at the same time. */
static void start_and_exit_at_once(struct nt_actor *actor)
{
    struct nt_runner *runner = nt_run_thread("exit", NULL, exit_of, actor);
    nt_actor_start(actor);
    nt_join_thread(runner);
}

static void produce(void *context)
{
    struct storm *storm = context;
    for (uint32_t i = 0; i < storm->rounds && !storm->stop; i++) {
        struct nt_actor *actor = nt_truth_cast(storm->truth, (enum nt_story)(i % NT_STORIES));
        if (i % 50 == 49) {
            start_and_exit_at_once(actor);
            continue;
        }
        nt_actor_start(actor);
        for (uint32_t image = 0; image < i % 4; image++)
            nt_actor_load_image(actor, image);
        nt_actor_exit(actor);
    }
}

/* Threads come and go, too, in a process that is always there. */
static void produce_threads(void *context)
{
    struct storm *storm = context;
    struct nt_actor *actor = nt_truth_cast(storm->truth, NT_PLAIN);
    const struct timespec pause = {.tv_nsec = 50000};
    for (uint64_t id = 80000; !storm->stop; id += 4) {
        const struct nt_thread_plan plan = {.id = id,
                                            .owner = nt_actor_process(actor),
                                            .creator_thread = 4444,
                                            .start_address = 0x10000,
                                            .irql = id % 8 == 0 ? APC_LEVEL : PASSIVE_LEVEL};
        nt_user_thread_exit(nt_user_thread_start(&plan));
        nanosleep(&pause, NULL);
    }
}

/* A client that changes things for as long as there is a port; some requests are cut off by the unload. */
static void command(void *context)
{
    static const uint32_t commands[] = {WVU_COMMAND_GET_STATISTICS,   WVU_COMMAND_DISABLE_PROBE,
                                        WVU_COMMAND_ENUMERATE_PROBES, WVU_COMMAND_ENABLE_PROBE,
                                        WVU_COMMAND_SET_FILTER,       WVU_COMMAND_GET_STATUS};
    struct storm *storm = context;
    struct nt_client *client;
    uint32_t returned;
    (void)nt_become_reader();
    uint8_t *input = nt_user_alloc(sizeof(struct wvu_request));
    uint8_t *output = nt_user_alloc(WVU_RESPONSE_MAX);
    for (uint32_t i = 0; !storm->stop; i++) {
        const struct wvu_request request = {.version = WVU_PROTOCOL_VERSION,
                                            .size = sizeof request,
                                            .command = commands[i % NT_ARRAY(commands)]};
        memcpy(input, &request, sizeof request);
        if (nt_connect("\\WVUCommand", NULL, 0, &client) != STATUS_SUCCESS)
            break;
        (void)nt_send_message(client, input, sizeof request, output, WVU_RESPONSE_MAX, &returned);
        nt_disconnect(client);
    }
    nt_user_free(input);
    nt_user_free(output);
}

static void start_producers(struct storm *storm, struct nt_runner **runners)
{
    for (int i = 0; i < PRODUCERS; i++)
        runners[i] = nt_run_thread("producer", NULL, produce, storm);
}

static void join_producers(struct nt_runner **runners)
{
    for (int i = 0; i < PRODUCERS; i++)
        nt_join_thread(runners[i]);
}

/* Everything that happens is told or counted as lost. */
static void storm_with_readers(const char *path, uint32_t scale)
{
    struct storm storm = {.truth = nt_truth_new(), .rounds = scale};
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = storm.truth};
    struct nt_reader reader;
    struct nt_runner *runners[PRODUCERS];
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "QueueRecords", 512);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_must_connect(&reader, &stream);
    nt_reader_past_start(&reader);
    nt_reader_disconnect(&reader);
    start_producers(&storm, runners);
    for (uint32_t i = 0; i < scale / 4; i++) { /* readers that stay for a few messages */
        nt_must_connect(&reader, &stream);
        for (uint32_t k = 0; k < i % 5; k++) {
            if (nt_reader_get(&reader, 10 * NT_MS) == STATUS_SUCCESS && (i + k) % 7 != 0)
                (void)nt_reader_reply_all(&reader);
        }
        nt_reader_disconnect(&reader);
    }
    join_producers(runners);
    nt_must_connect(&reader, &stream);
    nt_truth_read(storm.truth, &reader);
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    (void)nt_attach_to(before);
    nt_truth_free(storm.truth);
}

/* Callbacks come until the driver has removed them, from all threads; readers connect meanwhile. */
static void unload_in_storm(const char *path, uint32_t scale)
{
    nt_quick_parameters();
    for (uint32_t i = 0; i < scale; i++) {
        struct storm storm = {.truth = nt_truth_new(), .rounds = 4000};
        struct nt_stream stream = {0};
        struct nt_runner *runners[PRODUCERS];
        struct nt_driver *driver = nt_must_load(path);
        struct nt_reader_thread *thread = i % 2 == 0 ? nt_reader_thread_start(&stream) : NULL;
        struct nt_runner *threads = nt_run_thread("threads", NULL, produce_threads, &storm);
        struct nt_runner *commands = nt_run_thread("commands", NULL, command, &storm);
        start_producers(&storm, runners);
        const struct timespec while_it_storms = {.tv_nsec = 3000000 + (i * 7919 % 11) * 1000000};
        nanosleep(&while_it_storms, NULL);
        uint64_t begun = nt_now();
        nt_unload(driver);
        uint64_t took = (nt_now() - begun) / NT_MS;
        storm.stop = true;
        join_producers(runners);
        nt_join_thread(threads);
        nt_join_thread(commands);
        if (thread != NULL)
            nt_reader_thread_stop(thread);
        nt_require(took < 15000, "unload took %llu ms", (unsigned long long)took);
        nt_truth_free(storm.truth);
    }
}

static const struct scenario scenarios[] = {
    {"storm", storm_with_readers, 400, 120, "many threads, readers that come and go"},
    {"unload-in-storm", unload_in_storm, 25, 120, "unload while callbacks come on many threads"},
};
const struct scenario_table nt_storm_scenarios = NT_SCENARIOS(scenarios);
