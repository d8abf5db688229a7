/*
 * ProcessListValidation: processes that are hidden from one list or another are reported, once, with the lists;
 * processes that start, end, wait to be announced, have ended and are still held, or never get a thread are not.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "harness.h"
#include "kernel.h"

#define PROBE      "ProcessListValidation"
#define SECOND     UINT64_C(1000000000)
#define OLD_ENOUGH 200000000 /* 20 s in 100 ns: older than what may be waiting to be announced */

typedef struct wvu_process_list_validation_failed report;

struct last {
    uint64_t count;
    union {
        report event;
        uint8_t bytes[WVU_RECORD_MAX];
    } at;
};

struct world {
    struct nt_driver *driver;
    struct nt_process *before;
    struct nt_stream stream;
    struct nt_reader reader;
    struct last *last;
    uint64_t wanted;
    uint64_t runs;
};

static void on_record(void *context, const struct wvu_record *record)
{
    struct last *last = context;
    if (record->type != WVU_EVENT_ProcessListValidationFailed)
        return;
    memcpy(&last->at, record, record->size);
    last->count++;
}

static bool has_come(void *context)
{
    const struct world *world = context;
    return world->last->count >= world->wanted;
}

static void open_world(struct world *world, const char *path)
{
    *world = (struct world){.last = calloc(1, sizeof *world->last)};
    if (world->last == NULL)
        abort();
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "QueueBytes", 4 << 20);
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 600000); /* time is made to pass */
    world->before = nt_become_reader(); /* who is there before the driver is known to it */
    (void)nt_attach_to(world->before);
    world->driver = nt_must_load(path);
    (void)nt_become_reader();
    world->stream = (struct nt_stream){.on_record = on_record, .context = world->last};
    nt_must_connect(&world->reader, &world->stream);
    nt_reader_past_start(&world->reader);
    nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, PROBE, "repeat-interval=1");
}

static void close_world(struct world *world)
{
    nt_unload(world->driver);
    nt_reader_disconnect(&world->reader);
    (void)nt_attach_to(world->before);
    free(world->last);
}

/* ---- runs: the probe counts each as an operation -------------------------------------------------------- */

static uint64_t operations(void)
{
    static uint8_t entries[WVU_RESPONSE_MAX];
    uint32_t size = 0;
    wvu_status status =
        nt_control(WVU_COMMAND_ENUMERATE_PROBES, NULL, NULL, entries, sizeof entries, &size);
    nt_require(status == WVU_STATUS_OK, "EnumerateProbes: 0x%08x", (unsigned)status);
    for (uint32_t at = 0; at + sizeof(struct wvu_probe_entry) <= size;) {
        struct wvu_probe_entry entry;
        memcpy(&entry, entries + at, sizeof entry);
        if (entry.name.size == strlen(PROBE) &&
            memcmp(entries + at + entry.name.offset, PROBE, entry.name.size) == 0)
            return entry.operations;
        at += entry.size;
    }
    nt_broken(NT_RULE_GROUND_TRUTH, "there is no probe " PROBE);
}

static bool has_run(void *context)
{
    const struct world *world = context;
    return operations() >= world->runs;
}

/* Time passes, and the probe has run. Reports are operations, too, hence more than one. */
static void let_it_run(struct world *world)
{
    for (int i = 0; i < 3; i++) {
        world->runs = operations() + 1;
        nt_advance_uptime(2 * SECOND);
        nt_wait_until(has_run, world, "a run of " PROBE);
    }
}

static int64_t clock_offset;

static void age(void)
{
    clock_offset += OLD_ENOUGH;
    nt_set_system_time_offset(clock_offset);
}

/* ---- one process ------------------------------------------------------------------------------------------- */

static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 1007}};
static UNICODE_STRING image;
static const char image_path[] = "\\??\\C:\\Windows\\hidden.exe";

static struct nt_process *new_process(uint64_t id)
{
    if (image.Buffer == NULL)
        image = nt_string_of(image_path);
    const struct nt_process_plan plan = {
        .id = id, .parent_id = 4, .user = &user, .image_file_name = &image};
    return nt_process_new(&plan);
}

/* The names, each followed by a NUL, as the event has them. */
static void check_list(const report *event, const struct wvu_text *list, const char *names,
                       size_t bytes, const char *what)
{
    size_t size;
    const WCHAR *units = wvu_text_bytes(&event->record, list, &size);
    bool same = size == 2 * bytes;
    for (size_t i = 0; same && i < bytes; i++)
        same = units[i] == (WCHAR)(unsigned char)names[i];
    nt_require(same, "process %u: %s is wrong", event->record.process_id, what);
}

#define LIST(names) names "", sizeof(names)

static void expect_report(struct world *world, const struct nt_process *process, uint32_t id,
                          const char *in, size_t in_bytes, const char *not_in, size_t not_in_bytes,
                          const char *name)
{
    const report *event = &world->last->at.event;
    size_t size;
    world->wanted = world->last->count + 1;
    let_it_run(world);
    nt_require(nt_reader_until(&world->reader, has_come, world), "process %u is not reported", id);
    nt_require(world->last->count == world->wanted, "process %u is reported more than once", id);
    nt_require(event->record.process_id == id && event->status == STATUS_NOT_FOUND,
               "process %u is reported, with status 0x%08x; it should have been %u",
               event->record.process_id, (unsigned)event->status, id);
    check_list(event, &event->in_lists, in, in_bytes, "InLists");
    check_list(event, &event->not_in_lists, not_in, not_in_bytes, "NotInLists");
    nt_require(process == NULL || event->record.process_key == nt_process_start_key(process),
               "process %u: key", id);
    nt_require(process == NULL || event->eprocess != (uintptr_t)nt_process_object(process),
               "process %u: EProcess is an address", id);
    const WCHAR *units = wvu_text_bytes(&event->record, &event->image_file_name, &size);
    nt_require(size == 2 * strlen(name), "process %u: ImageFileName of %zu bytes", id, size);
    for (size_t i = 0; i < strlen(name); i++)
        nt_require(units[i] == (WCHAR)(unsigned char)name[i], "process %u: ImageFileName", id);
}

/* Reads what there is; nothing may have been reported. */
static void expect_nothing(struct world *world, const char *why)
{
    uint64_t count = world->last->count;
    let_it_run(world);
    nt_reader_drain(&world->reader, 20 * NT_MS);
    nt_require(world->last->count == count, "%s: process %u was reported", why,
               world->last->at.event.record.process_id);
}

/* ---- scenarios ------------------------------------------------------------------------------------------------ */

static void hidden(const char *path, uint32_t scale)
{
    struct world world;
    (void)scale;
    open_world(&world, path);
    struct nt_process *process = new_process(30000);
    nt_process_announce(process, NULL);
    age();
    expect_nothing(&world, "nobody hides");

    nt_process_hide(process, NT_HIDDEN_FROM_LIST);
    expect_report(&world, process, 30000, LIST("Callbacks\0Lookup"), LIST("System"), image_path);
    expect_nothing(&world, "the same again");
    nt_process_hide(process, NT_HIDDEN_FROM_LOOKUP);
    expect_report(&world, process, 30000, LIST("Callbacks\0System"), LIST("Lookup"), "hidden.exe");
    nt_process_hide(process, NT_HIDDEN_FROM_LIST | NT_HIDDEN_FROM_LOOKUP);
    expect_report(&world, process, 30000, LIST("Callbacks"), LIST("System\0Lookup"), "");
    nt_process_hide(process, 0);
    expect_nothing(&world, "it hides no more");
    nt_process_hide(process, NT_HIDDEN_FROM_LIST);
    expect_report(&world, process, 30000, LIST("Callbacks\0Lookup"), LIST("System"), image_path);
    nt_process_hide(process, 0);
    nt_process_exit(process, 0);
    nt_process_release(process);

    struct nt_process *unseen = new_process(30004); /* its callback never came */
    age();
    expect_report(&world, unseen, 30004, LIST("System\0Lookup"), LIST("Callbacks"), image_path);
    nt_process_hide(unseen, NT_HIDDEN_FROM_LOOKUP);
    expect_report(&world, NULL, 30004, LIST("System"), LIST("Callbacks\0Lookup"), "hidden.exe");
    nt_process_hide(unseen, NT_HIDDEN_FROM_LIST);
    expect_report(&world, unseen, 30004, LIST("Lookup"), LIST("Callbacks\0System"), image_path);
    nt_process_release(unseen);

    struct nt_process *far = new_process(4000000); /* beyond the ids that are tried one by one */
    nt_process_announce(far, NULL);
    age();
    expect_nothing(&world, "a high id");
    nt_process_hide(far, NT_HIDDEN_FROM_LIST);
    expect_report(&world, far, 4000000, LIST("Callbacks\0Lookup"), LIST("System"), image_path);
    nt_process_exit(far, 0);
    nt_process_release(far);
    close_world(&world);
}

/* What looks like it and is not. */
static void innocent(const char *path, uint32_t scale)
{
    struct world world;
    (void)scale;
    open_world(&world, path);
    struct nt_process *waiting = new_process(31000); /* other drivers are asked first */
    expect_nothing(&world, "not yet announced");
    nt_process_announce(waiting, NULL);
    age();
    expect_nothing(&world, "announced late");

    const struct nt_process_plan plan = {
        .id = 31004, .parent_id = 4, .user = &user, .image_file_name = &image, .threadless = true};
    struct nt_process *clone = nt_process_new(&plan);
    age();
    expect_nothing(&world, "a process without threads");

    struct nt_process *ended = new_process(31008), *pending = new_process(31012);
    nt_process_announce(ended, NULL);
    nt_process_announce(pending, NULL);
    age();
    nt_process_exit(ended, 0);
    nt_process_exit(pending, NT_STATUS(0x00000103)); /* an exit code that also means "not yet" */
    expect_nothing(&world, "ended, and somebody holds the object");

    /* Both looks find it, and then it is gone: it was on its way out. */
    const struct nt_process_plan brief = {.id = 31020,
                                          .parent_id = 4,
                                          .user = &user,
                                          .image_file_name = &image,
                                          .hidden = NT_HIDDEN_FROM_LIST | NT_HIDDEN_FROM_LOOKUP};
    struct nt_process *ending = nt_process_new(&brief);
    age();
    nt_process_found_only(ending, 2);
    expect_nothing(&world, "gone after the second look");

    nt_must_control(WVU_COMMAND_DISABLE_PROBE, "ProcessCreate", NULL);
    struct nt_process *unseen = new_process(31016);
    age();
    expect_nothing(&world, "nobody saw it start, and nobody claims to");
    nt_process_hide(unseen, NT_HIDDEN_FROM_LIST);
    expect_report(&world, unseen, 31016, LIST("Lookup"), LIST("System"), image_path);
    nt_process_hide(unseen, 0);
    nt_must_control(WVU_COMMAND_ENABLE_PROBE, "ProcessCreate", NULL);
    expect_nothing(&world, "ProcessCreate runs again, and knows it");
    nt_process_exit(waiting, 0);
    nt_process_exit(unseen, 0);
    nt_process_release(waiting);
    nt_process_release(clone);
    nt_process_release(ended);
    nt_process_release(pending);
    nt_process_release(ending);
    nt_process_release(unseen);
    close_world(&world);
}

/* ---- kernels that do not tell ----------------------------------------------------------------------------------- */

static void one_list(const char *path, uint32_t scale)
{
    struct world world;
    char why[256];
    uint32_t size;
    (void)scale;
    nt_hide_routine("ZwQuerySystemInformation");
    open_world(&world, path);
    struct nt_process *process = new_process(32000);
    age();
    expect_nothing(&world, "who ran before cannot be known, so Callbacks has gaps");
    nt_process_announce(process, NULL);
    nt_process_hide(process, NT_HIDDEN_FROM_LOOKUP);
    expect_report(&world, process, 32000, LIST("Callbacks"), LIST("Lookup"), "");
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, PROBE, NULL);
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, "ProcessCreate", NULL);
    wvu_status status =
        nt_control(WVU_COMMAND_ENABLE_PROBE, PROBE, NULL, why, sizeof why - 1, &size);
    why[size] = '\0';
    nt_require(status == WVU_STATUS_NOT_SUPPORTED && strstr(why, "only one list") != NULL,
               "with one list it starts: 0x%08x %s", (unsigned)status, why);
    nt_process_exit(process, 0);
    nt_process_release(process);
    close_world(&world);
    nt_hide_routine(NULL);
}

/* ---- crowds --------------------------------------------------------------------------------------------------------- */

#define MAKERS 4
#define IDS    100u /* of each maker: used again and again */

/* Held, not exclusively, by makers while a process is in the system's lists and not announced, or not any more:
 * in the time between two runs, which takes it exclusively to pass, no such while is as long. */
static pthread_rwlock_t moment = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

struct crowd {
    atomic_bool stop;
    atomic_uint made;
    atomic_uint makers;
};

static void end(struct nt_process *process, NTSTATUS exit_status)
{
    pthread_rwlock_rdlock(&moment);
    nt_process_exit(process, exit_status);
    nt_process_release(process);
    pthread_rwlock_unlock(&moment);
}

static void make(void *context)
{
    struct crowd *crowd = context;
    uint64_t first = 40000 + 4 * IDS * (uint64_t)(crowd->makers++);
    struct nt_process *alive[8] = {NULL};
    for (uint32_t i = 0; !crowd->stop; i++) {
        struct nt_process **place = &alive[i % 8];
        if (*place != NULL)
            end(*place, i % 7 == 0 ? NT_STATUS(0x00000103) : 0);
        pthread_rwlock_rdlock(&moment);
        *place = new_process(first + 4 * (i % IDS));
        nt_process_announce(*place, NULL);
        pthread_rwlock_unlock(&moment);
        crowd->made++;
    }
    for (int i = 0; i < 8; i++) {
        if (alive[i] != NULL)
            end(alive[i], 0);
    }
}

static void read_on(struct world *world)
{
    while (nt_reader_get(&world->reader, NT_MS) == STATUS_SUCCESS)
        (void)nt_reader_reply_all(&world->reader);
}

/* They start and end all the time while one run follows the other, and the clock runs ahead, so that none is
 * ever too young: no report. Then one that does hide is found among them. */
static void crowd(const char *path, uint32_t scale)
{
    struct world world;
    struct crowd crowd = {.made = 0};
    struct nt_runner *runners[MAKERS];
    open_world(&world, path);
    struct nt_process *hiding = new_process(39000);
    nt_process_announce(hiding, NULL);
    /* No run but those that are let happen here, however slow this machine is: another one could follow so
     * soon that the while of a maker that does not get on lasts from the one to the other. */
    nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, PROBE, "repeat-interval=15");
    uint64_t before = operations();
    for (int i = 0; i < MAKERS; i++)
        runners[i] = nt_run_thread("maker", NULL, make, &crowd);
    for (uint32_t runs = 0; crowd.made < scale || runs < 25; runs++) {
        world.runs = operations() + 1;
        pthread_rwlock_wrlock(&moment);
        nt_advance_uptime(16 * SECOND);
        age();
        pthread_rwlock_unlock(&moment);
        nt_wait_until(has_run, &world, "a run of " PROBE);
        read_on(&world);
    }
    crowd.stop = true;
    for (int i = 0; i < MAKERS; i++)
        nt_join_thread(runners[i]);
    uint64_t runs = operations() - before;
    read_on(&world);
    nt_require(world.last->count == 0, "process %u was reported, and was only starting or ending",
               world.last->at.event.record.process_id);
    nt_require(runs > 20, "only %llu runs among %u processes", (unsigned long long)runs,
               (unsigned)crowd.made);
    nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, PROBE, "repeat-interval=1");
    nt_process_hide(hiding, NT_HIDDEN_FROM_LIST);
    expect_report(&world, hiding, 39000, LIST("Callbacks\0Lookup"), LIST("System"), image_path);
    nt_process_exit(hiding, 0);
    nt_process_release(hiding);
    close_world(&world);
}

/* A routine that a run calls fails: the run fails and says so, or goes on without; nothing is left, nothing is
 * invented, and the next run finds what hides. */
static bool has_failed(void *context)
{
    (void)context;
    return nt_log_contains("a run of probe " PROBE " failed");
}

static void failures(const char *path, uint32_t scale)
{
    static const struct {
        const char *routine;
        bool ends_run;
    } cases[] = {{"ExAllocatePool2", true},
                 {"ZwQuerySystemInformation", true},
                 {"ObOpenObjectByPointer", false},
                 {"SeLocateProcessImageName", false}};
    struct world world;
    (void)scale;
    open_world(&world, path);
    for (uint32_t i = 0; i < NT_ARRAY(cases); i++) {
        struct nt_process *process = new_process(33000 + 4 * i);
        nt_process_announce(process, NULL);
        age();
        nt_log_clear();
        nt_fail_routine(cases[i].routine, true);
        nt_advance_uptime(2 * SECOND);
        if (cases[i].ends_run)
            nt_wait_until(has_failed, NULL, "a run of " PROBE " that fails");
        else
            let_it_run(&world);
        nt_fail_routine(NULL, false);
        expect_nothing(&world, cases[i].routine);
        nt_process_hide(process, NT_HIDDEN_FROM_LIST);
        expect_report(&world, process, 33000 + 4 * i, LIST("Callbacks\0Lookup"), LIST("System"),
                      image_path);
        nt_process_exit(process, 0);
        nt_process_release(process);
    }
    close_world(&world);
}

static const struct scenario scenarios[] = {
    {"validation", hidden, 1, 120, "processes that are hidden from one list or another"},
    {"validation-innocent", innocent, 1, 120, "processes that only look as if they were hidden"},
    {"validation-one-list", one_list, 1, 60, "a kernel that does not list its processes"},
    {"validation-crowd", crowd, 10000, 280, "10,000 processes start and end during validation"},
    {"validation-failures", failures, 1, 120, "calls of the validation fail"},
};
const struct scenario_table nt_validation_scenarios = NT_SCENARIOS(scenarios);
