/*
 * Events against ground truth: every story, no reader, the queue full, processes from before.
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static void act(struct nt_truth *truth, enum nt_story story)
{
    struct nt_actor *actor = nt_truth_cast(truth, story);
    nt_actor_start(actor);
    for (uint32_t image = 0; image < 4; image++)
        nt_actor_load_image(actor, image);
    nt_actor_exit(actor);
}

static void stories(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = truth};
    struct nt_reader reader;
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "QueueBytes", 16 << 20);
    nt_registry_set_number(NT_PARAMETERS, "DrainMs", 5000);
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    for (uint32_t i = 0; i < scale; i++) {
        act(truth, (enum nt_story)(i % NT_STORIES));
        nt_truth_load_driver(truth);
        if (i % 16 == 15)
            nt_reader_drain(&reader, 10 * NT_MS);
    }
    nt_truth_read(truth, &reader);
    nt_require(stream.lost == 0, "%llu events were lost", (unsigned long long)stream.lost);
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
}

/* Far more events than the queue holds while nobody reads: the newest are kept, the others accounted
 * for, and callbacks do not mind. */
static void no_reader(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = truth};
    struct nt_reader reader;
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "QueueRecords", 100);
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    nt_reader_past_start(&reader);
    nt_reader_disconnect(&reader);
    for (uint32_t i = 0; i < scale; i++)
        act(truth, (enum nt_story)(i % NT_STORIES));
    nt_must_connect(&reader, &stream);
    nt_truth_read(truth, &reader);
    /* 100, a quarter more of process events, and what came while it was read. */
    nt_require(stream.lost > nt_truth_events(truth) - 135, "only %llu of %llu events were lost",
               (unsigned long long)stream.lost, (unsigned long long)nt_truth_events(truth));
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
}

/* ---- processes that run already ---------------------------------------------------------------------- */

struct world {
    uint32_t expected;
    uint32_t running; /* records with cause Running */
    bool system;
};

static void on_running(void *context, const struct wvu_record *record)
{
    struct world *world = context;
    const struct wvu_process_create *event = (const void *)record;
    if (record->type != WVU_EVENT_ProcessCreate)
        return;
    nt_require(event->cause == WVU_CREATE_RUNNING, "cause %u", event->cause);
    world->running++;
    world->system = world->system || record->process_id == 4;
    if (record->process_id >= 10000) {
        size_t size;
        nt_require(wvu_text_bytes(record, &event->image_file_name, &size) != NULL && size > 40,
                   "process %u has no path", record->process_id);
        nt_require(record->process_key != 0, "process %u has no key", record->process_id);
    }
}

static void running(const char *path, uint32_t scale)
{
    struct world world = {.expected = scale};
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = on_running, .context = &world};
    struct nt_reader reader;
    for (uint32_t i = 0; i < scale; i++)
        (void)nt_truth_cast(truth, NT_PLAIN);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_must_connect(&reader, &stream);
    nt_reader_past_start(&reader);
    nt_require(world.running == scale + 1 && world.system,
               "%u of %u running processes were announced, System %s", world.running, scale + 1,
               world.system ? "too" : "not");
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    (void)nt_attach_to(before);
    nt_truth_free(truth);
}

/* ---- the clock is set back ----------------------------------------------------------------------------- */

struct times {
    int64_t time;
    uint64_t uptime;
    uint64_t records;
    bool back;
};

static void on_time(void *context, const struct wvu_record *record)
{
    struct times *times = context;
    nt_require(record->uptime >= times->uptime, "uptime goes back at event %llu",
               (unsigned long long)record->sequence);
    times->back = times->back || record->time < times->time;
    times->time = record->time;
    times->uptime = record->uptime;
    times->records++;
}

static bool is_back(void *times)
{
    return ((const struct times *)times)->back;
}

static void clock_set(const char *path, uint32_t scale)
{
    struct times times = {0};
    struct nt_process *before = nt_become_reader();
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = on_time, .context = &times};
    struct nt_reader reader;
    struct nt_driver *driver = nt_must_load(path);
    (void)scale;
    nt_must_connect(&reader, &stream);
    act(truth, NT_PLAIN);
    nt_reader_past_start(&reader);
    nt_set_system_time_offset(-INT64_C(36000000000)); /* an hour back */
    act(truth, NT_PLAIN);
    nt_require(nt_reader_until(&reader, is_back, &times), "events do not follow the clock");
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
}

static const struct scenario scenarios[] = {
    {"stories", stories, 140, 60, "every kind of process and image, each field checked"},
    {"no-reader", no_reader, 400, 60, "nobody reads: the newest are kept, the rest accounted for"},
    {"running", running, 700, 60, "processes that run when the driver is loaded"},
    {"clock-set", clock_set, 1, 20, "somebody sets the clock back"},
};
const struct scenario_table nt_event_scenarios = NT_SCENARIOS(scenarios);
