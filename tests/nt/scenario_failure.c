/*
 * Every call that can fail is made to fail, one at a time and all calls of one routine: while loading,
 * in callbacks, while sending, while unloading. Loading succeeds or fails whole; a callback never
 * fails what it watches; nothing is left behind.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "kernel.h"

struct tally {
    uint32_t creates, destroys, images, starts;
};

static void count_record(void *context, const struct wvu_record *record)
{
    struct tally *tally = context;
    tally->starts += record->type == WVU_EVENT_SensorStart;
    if (record->process_id < 10000)
        return;
    tally->creates += record->type == WVU_EVENT_ProcessCreate;
    tally->destroys += record->type == WVU_EVENT_ProcessDestroy;
    tally->images += record->type == WVU_EVENT_ImageLoad;
}

/* What is wanted of a tally. */
struct wanted {
    const struct tally *tally;
    uint32_t starts, processes, images;
};

static bool is_told(void *context)
{
    const struct wanted *wanted = context;
    const struct tally *tally = wanted->tally;
    return tally->starts >= wanted->starts && tally->creates >= wanted->processes &&
           tally->destroys >= wanted->processes && tally->images >= wanted->images;
}

static void act(struct nt_truth *truth)
{
    struct nt_actor *actor = nt_truth_cast(truth, NT_PLAIN);
    nt_actor_start(actor);
    nt_actor_load_image(actor, 0);
    nt_actor_exit(actor);
}

/* A loaded driver does its work: what was registered reports, the port delivers. */
static void use(const char *what)
{
    struct tally tally = {0};
    struct nt_stream stream = {.on_record = count_record, .context = &tally};
    struct nt_reader reader;
    struct nt_truth *truth = nt_truth_new();
    struct nt_process *before = nt_become_reader();
    bool processes = nt_process_callback_registered(), images = nt_image_callback_registered();
    nt_require(nt_filter_started(), "%s: loaded, and the filter was not started", what);
    nt_must_connect(&reader, &stream);
    act(truth);
    struct wanted wanted = {&tally, 1, processes, images};
    (void)nt_reader_until(&reader, is_told, &wanted);
    nt_require(tally.starts == 1, "%s: no SensorStart", what);
    nt_require(tally.creates == processes && tally.destroys == processes && tally.images == images,
               "%s: %u creates, %u destroys, %u images", what, tally.creates, tally.destroys,
               tally.images);
    nt_reader_disconnect(&reader);
    (void)nt_attach_to(before);
    nt_truth_free(truth);
}

static void each_call_of_load(const char *path, uint32_t scale)
{
    uint32_t failed = 0, went_on = 0;
    nt_quick_parameters();
    for (uint64_t n = 1; n < scale; n++) {
        struct nt_driver *driver;
        nt_fail_call(n);
        NTSTATUS status = nt_load(path, &driver);
        const char *routine = nt_failed_routine();
        nt_fail_call(0);
        if (routine == NULL) { /* there were fewer calls */
            nt_require(status == STATUS_SUCCESS, "DriverEntry: 0x%08x", (unsigned)status);
            nt_unload(driver);
            printf("%llu calls failed: %u ended the load, %u did not matter\n",
                   (unsigned long long)n - 1, failed, went_on);
            nt_require(failed >= 8 && went_on >= 4, "too few to be true");
            return;
        }
        nt_require(status <= STATUS_SUCCESS, "%s failed and DriverEntry returned 0x%08x", routine,
                   (unsigned)status); /* above 0 are success codes, STATUS_TIMEOUT among them */
        if (status == STATUS_SUCCESS) {
            use(routine);
            nt_unload(driver);
            went_on++;
        } else {
            failed++;
        }
    }
    nt_broken(NT_RULE_STUCK, "more than %u calls at load", scale);
}

static void each_routine(const char *path, uint32_t scale)
{
    (void)scale;
    nt_quick_parameters();
    const char *name;
    for (size_t i = 0; (name = nt_fallible_routine(i)) != NULL; i++) {
        struct nt_driver *driver;
        nt_fail_routine(name, true);
        NTSTATUS status = nt_load(path, &driver);
        nt_require(status <= STATUS_SUCCESS, "%s failed and DriverEntry returned 0x%08x", name,
                   (unsigned)status);
        bool sends = strcmp(name, "FltSendMessage") == 0;
        if (status == STATUS_SUCCESS && !sends)
            use(name);
        if (status == STATUS_SUCCESS)
            nt_unload(driver);
        nt_fail_routine(NULL, false);
    }
}

/* The events of each round are told although a call on their way failed. */
static void each_call_of_callbacks(const char *path, uint32_t scale)
{
    struct tally tally = {0};
    struct nt_stream stream = {.on_record = count_record, .context = &tally};
    struct nt_reader reader;
    struct nt_truth *truth = nt_truth_new();
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_must_connect(&reader, &stream);
    nt_reader_past_start(&reader);
    struct wanted wanted = {&tally, 0, 1, 1};
    const char *routine;
    uint64_t n = 0;
    do {
        tally = (struct tally){0};
        nt_fail_call(++n);
        act(truth);
        (void)nt_reader_until(&reader, is_told, &wanted);
        routine = nt_failed_routine();
        nt_fail_call(0);
        if (nt_disconnected(reader.client)) { /* a send failed: readers connect again */
            nt_require(routine != NULL && strcmp(routine, "FltSendMessage") == 0,
                       "the reader was thrown out, and not because of a send");
            nt_reader_disconnect(&reader);
            nt_must_connect(&reader, &stream);
            (void)nt_reader_until(&reader, is_told, &wanted);
        }
        nt_require(tally.creates == 1 && tally.destroys == 1 && tally.images == 1,
                   "%s failed: %u creates, %u destroys, %u images",
                   routine != NULL ? routine : "nothing", tally.creates, tally.destroys,
                   tally.images);
    } while (routine != NULL && n < scale);
    printf("%llu calls failed on the way of events\n", (unsigned long long)n - 1);
    nt_require(routine == NULL && n > 4, "%llu calls is not to be believed", (unsigned long long)n);
    (void)nt_attach_to(before);
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    nt_truth_free(truth);
}

static void each_call_of_unload(const char *path, uint32_t scale)
{
    nt_quick_parameters();
    const char *routine;
    uint64_t n = 0;
    do {
        struct nt_stream stream = {0};
        struct nt_driver *driver = nt_must_load(path);
        struct nt_reader_thread *thread = nt_reader_thread_start(&stream);
        nt_fail_call(++n);
        nt_unload(driver);
        routine = nt_failed_routine();
        nt_fail_call(0);
        nt_reader_thread_stop(thread);
    } while (routine != NULL && n < scale);
    nt_require(routine == NULL, "more than %u calls at unload", scale);
}

static const struct scenario scenarios[] = {
    {"fail-load", each_call_of_load, 1000, 120, "each call of DriverEntry that can fail does"},
    {"fail-routines", each_routine, 1, 120, "each routine that can fail always does"},
    {"fail-callbacks", each_call_of_callbacks, 1000, 120, "each call on the way of events fails"},
    {"fail-unload", each_call_of_unload, 1000, 120, "each call during unload fails"},
};
const struct scenario_table nt_failure_scenarios = NT_SCENARIOS(scenarios);
