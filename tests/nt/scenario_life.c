/*
 * Loading and unloading: once, a thousand times, on old kernels, with wrong parameters.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"

static void load_and_unload(const char *path, uint32_t scale)
{
    (void)scale;
    nt_unload(nt_must_load(path));
}

/* For drivers that are not ours: load, a process and an image, unload. */
static void with_process(const char *path, uint32_t scale)
{
    (void)scale;
    struct nt_driver *driver = nt_must_load(path);
    struct nt_truth *truth = nt_truth_new();
    struct nt_actor *actor = nt_truth_cast(truth, NT_PLAIN);
    nt_actor_start(actor);
    nt_actor_load_image(actor, 2);
    nt_actor_exit(actor);
    nt_truth_free(truth);
    nt_unload(driver);
}

/* Every load has its own story: a reader from the start, a reader late, none at all, events or not. */
static void one_life(const char *path, uint32_t number)
{
    struct nt_driver *driver = nt_must_load(path);
    struct nt_stream stream = {0};
    struct nt_reader reader = {0};
    struct nt_truth *truth = nt_truth_new();
    stream.on_record = nt_truth_on_record;
    stream.context = truth;
    if ((number & 1) != 0)
        nt_must_connect(&reader, &stream);
    if ((number & 2) != 0) {
        struct nt_actor *actor = nt_truth_cast(truth, (enum nt_story)(number % NT_STORIES));
        nt_actor_start(actor);
        nt_actor_exit(actor);
    }
    if ((number & 4) != 0 && (number & 1) == 0)
        nt_must_connect(&reader, &stream);
    if ((number & 8) != 0 && reader.client != NULL)
        nt_reader_drain(&reader, 20 * NT_MS);
    if ((number & 24) == 24 && reader.client != NULL)
        nt_reader_disconnect(&reader);
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    nt_truth_free(truth);
}

static void many_lives(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "DrainMs", 0);
    for (uint32_t i = 0; i < scale; i++)
        one_life(path, i);
    (void)nt_attach_to(before);
}

static void filter_unload(const char *path, uint32_t scale)
{
    struct nt_driver *driver = nt_must_load(path);
    (void)scale;
    NTSTATUS status = nt_filter_unload(driver);
    nt_require(status == STATUS_SUCCESS, "fltmc unload: 0x%08x", (unsigned)status);
}

static void no_instances(const char *path, uint32_t scale)
{
    struct nt_driver *driver;
    (void)scale;
    nt_registry_reset();
    nt_registry_forget(NT_SERVICE_KEY "\\Instances");
    NTSTATUS status = nt_load(path, &driver);
    nt_require(status == STATUS_OBJECT_NAME_NOT_FOUND, "DriverEntry returned 0x%08x",
               (unsigned)status);
    nt_require(nt_log_contains("Instances"), "the log does not say why");
}

/* ---- parameters ------------------------------------------------------------------------------------ */

/* The whole configuration of the run, as SensorStart tells it. */
struct configuration {
    char text[1024];
};

static void keep_configuration(void *context, const struct wvu_record *record)
{
    struct configuration *configuration = context;
    const struct wvu_sensor_start *event = (const void *)record;
    size_t size;
    if (record->type != WVU_EVENT_SensorStart)
        return;
    const char *text = wvu_text_bytes(record, &event->configuration, &size);
    size = size < sizeof configuration->text - 1 ? size : sizeof configuration->text - 1;
    memcpy(configuration->text, text, size);
    configuration->text[size] = '\0';
}

static bool is_told(void *configuration)
{
    return ((const struct configuration *)configuration)->text[0] != '\0';
}

static void load_and_read_configuration(const char *path, struct configuration *configuration)
{
    struct nt_stream stream = {.on_record = keep_configuration, .context = configuration};
    struct nt_reader reader;
    nt_log_clear();
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    configuration->text[0] = '\0';
    nt_require(nt_reader_until(&reader, is_told, configuration), "no SensorStart");
    nt_unload(driver);
    nt_reader_disconnect(&reader);
}

static void expect_setting(const struct configuration *configuration, const char *line)
{
    nt_require(strstr(configuration->text, line) != NULL, "'%s' is not in force; in force is\n%s",
               line, configuration->text);
}

static void parameters(const char *path, uint32_t scale)
{
    static const WCHAR probes[] = {'i', 'm', 'a', 'g', 'e', 'L', 'o', 'a', 'd', 0, 'X', 0, 0};
    struct configuration configuration;
    struct nt_process *before = nt_become_reader();
    (void)scale;

    load_and_read_configuration(path, &configuration);
    expect_setting(&configuration, "QueueRecords=8192\n");
    expect_setting(&configuration, "SendTimeoutMs=20000\n");
    nt_require(!nt_log_contains("error"), "errors in the log without any parameter");

    nt_registry_set_number(NT_PARAMETERS, "QueueRecords", 100);
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 600001);
    nt_registry_set_text(NT_PARAMETERS, "QueueBytes", "many");
    nt_registry_set(NT_PARAMETERS, "LogLevel", REG_DWORD, "xy", 2);
    nt_registry_set(NT_PARAMETERS, "DrainMs", REG_BINARY, "", 0);
    load_and_read_configuration(path, &configuration);
    expect_setting(&configuration, "QueueRecords=100\n");
    expect_setting(&configuration, "SendTimeoutMs=20000\n");
    expect_setting(&configuration, "QueueBytes=4194304\n");
    expect_setting(&configuration, "LogLevel=3\n");
    nt_require(nt_log_contains("SendTimeoutMs is 600001, allowed is 10 to 600000; using 20000"),
               "the log does not tell what is wrong with SendTimeoutMs");
    nt_require(nt_log_contains("QueueBytes cannot be read as a REG_DWORD") &&
                   nt_log_contains("LogLevel cannot be read as a REG_DWORD") &&
                   nt_log_contains("DrainMs cannot be read as a REG_DWORD"),
               "the log does not tell what is wrong with the types");

    nt_registry_reset();
    nt_registry_set(NT_PARAMETERS, "Probes", REG_MULTI_SZ, probes, sizeof probes);
    load_and_read_configuration(path, &configuration);
    expect_setting(&configuration, "Probes=ImageLoad");
    nt_require(nt_log_contains("there is no probe X"), "the log does not name the unknown probe");

    /* A text too long for any use, and one that does not end. */
    static WCHAR endless[4000];
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++)
        endless[i] = 'A';
    nt_registry_set(NT_PARAMETERS, "Probes", REG_MULTI_SZ, endless, sizeof endless);
    load_and_read_configuration(path, &configuration);
    nt_registry_set(NT_PARAMETERS, "Probes", REG_MULTI_SZ, endless, 200);
    load_and_read_configuration(path, &configuration);
    nt_registry_set(NT_PARAMETERS, "Probes", REG_MULTI_SZ, endless, 3);
    load_and_read_configuration(path, &configuration);
    (void)nt_attach_to(before);
}

static void break_on_load(const char *path, uint32_t scale)
{
    (void)scale;
    nt_registry_set_number(NT_PARAMETERS, "BreakOnLoad", 1);
    nt_unload(nt_must_load(path)); /* no debugger: must not break */
    nt_set_debugger(true);
    nt_unload(nt_must_load(path));
    bool debug = strstr(path, "Debug") != NULL;
    nt_require(nt_breakpoints() == (debug ? 1 : 0), "%llu breakpoints",
               (unsigned long long)nt_breakpoints());
}

/* ---- old kernels ------------------------------------------------------------------------------------ */

struct tally {
    uint32_t creates, destroys, images;
    bool texts;
};

static void count_record(void *context, const struct wvu_record *record)
{
    struct tally *tally = context;
    if (record->process_id < 10000)
        return;
    tally->creates += record->type == WVU_EVENT_ProcessCreate;
    tally->destroys += record->type == WVU_EVENT_ProcessDestroy;
    tally->images += record->type == WVU_EVENT_ImageLoad;
    if (record->type == WVU_EVENT_ProcessCreate)
        tally->texts = wvu_has(record, WVU_FIELD_INDEX_wvu_process_create_CommandLine);
}

static bool is_one_of_each(void *context)
{
    const struct tally *tally = context;
    return tally->creates >= 1 && tally->destroys >= 1 && tally->images >= 1;
}

/* Whatever is missing, starts and ends and images are reported. */
static void run_without(const char *path, const char *missing)
{
    struct tally tally = {0};
    struct nt_stream stream = {.on_record = count_record, .context = &tally};
    struct nt_reader reader;
    struct nt_driver *driver = nt_must_load(path);
    struct nt_truth *truth = nt_truth_new();
    nt_must_connect(&reader, &stream);
    struct nt_actor *actor = nt_truth_cast(truth, NT_PLAIN);
    nt_actor_start(actor);
    nt_actor_load_image(actor, 0);
    nt_actor_exit(actor);
    (void)nt_reader_until(&reader, is_one_of_each, &tally);
    nt_require(tally.creates == 1 && tally.destroys == 1 && tally.images == 1,
               "without %s: %u creates, %u destroys, %u images", missing, tally.creates,
               tally.destroys, tally.images);
    nt_require(tally.texts || strcmp(missing, "all") == 0, "without %s: no command line", missing);
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    nt_truth_free(truth);
}

static void old_kernels(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    (void)scale;
    nt_quick_parameters();
    nt_unload(nt_must_load(path));
    size_t count = 0;
    while (nt_asked_routine(count) != NULL)
        count++;
    nt_require(count != 0, "the driver asks for no routine");
    for (size_t i = 0; i < count; i++) {
        nt_hide_routine(nt_asked_routine(i));
        run_without(path, nt_asked_routine(i));
        nt_require(nt_log_contains(nt_asked_routine(i)), "the log does not name %s",
                   nt_asked_routine(i));
        nt_hide_routine(NULL);
    }
    for (size_t i = 0; i < count; i++)
        nt_hide_routine(nt_asked_routine(i));
    nt_set_version(6, 1, 7601);
    run_without(path, "all");
    (void)nt_attach_to(before);
}

static const struct scenario scenarios[] = {
    {"load", load_and_unload, 1, 20, "load and unload once"},
    {"process", with_process, 1, 20, "load, a process and an image, unload"},
    {"lives", many_lives, 1000, 120, "load and unload 1,000 times, with and without readers"},
    {"filter-unload", filter_unload, 1, 20, "unload by the Filter Manager, not mandatory"},
    {"no-instances", no_instances, 1, 20, "the service has no Instances key"},
    {"parameters", parameters, 1, 30, "right and wrong parameters"},
    {"break-on-load", break_on_load, 1, 20, "BreakOnLoad with and without a debugger"},
    {"old-kernels", old_kernels, 1, 60, "each optional routine missing, and all of them"},
};
const struct scenario_table nt_life_scenarios = NT_SCENARIOS(scenarios);
