/*
 * Rules: in force from the start and set at run time, in every spelling of a path, in the middle of a storm;
 * wrong ones; programs that are kept from running.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "harness.h"
#include "watch.h"

enum { FIRST_ID = 30000, MARKER_ID = 29000 };

static const SID alice = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 1001}};

/* One program; its strings belong to it. */
struct program {
    struct nt_process_plan plan;
    UNICODE_STRING image;
    struct nt_process *process;
    NTSTATUS status; /* what became of its start */
};

static void start(struct program *program, uint32_t id, uint32_t parent, const char *image)
{
    bool may_be_denied = program->plan.may_be_denied;
    NTSTATUS creation_status = program->plan.creation_status;
    program->image = nt_string_of(image);
    program->plan = (struct nt_process_plan){.id = id,
                                             .parent_id = parent,
                                             .creator_process = parent,
                                             .creator_thread = 8,
                                             .user = &alice,
                                             .image_file_name = &program->image,
                                             .creation_status = creation_status,
                                             .may_be_denied = may_be_denied};
    program->process = nt_process_new(&program->plan);
    program->status = nt_process_announce(program->process, NULL);
}

static void end(struct program *program)
{
    nt_process_exit(program->process, 0);
    nt_process_release(program->process);
    nt_string_free(&program->image);
    *program = (struct program){0};
}

static void load_image(const struct program *program)
{
    UNICODE_STRING name = nt_string_of("\\Device\\HarddiskVolume3\\lib.dll");
    void *mapped = nt_user_alloc(4096);
    const struct nt_image_plan plan = {.name = &name, .base = (uintptr_t)mapped, .size = 4096};
    nt_image_announce(program->process, &plan);
    nt_user_free(mapped);
    nt_string_free(&name);
}

/* Does the program's start come out at the other end? */
static bool is_told(struct nt_watch *watch, const char *image, uint32_t parent)
{
    static uint32_t id = FIRST_ID;
    struct program program = {0};
    id += 4;
    start(&program, id, parent, image);
    bool told = nt_watch_has(watch, WVU_EVENT_ProcessCreate, id);
    end(&program);
    nt_require(nt_watch_has(watch, WVU_EVENT_ProcessDestroy, id) == told,
               "%s: the start was %stold, and not so the end", image, told ? "" : "not ");
    nt_watch_forget(watch);
    return told;
}

static void expect_told(struct nt_watch *watch, const char *image, bool expected)
{
    nt_require(is_told(watch, image, 4) == expected, "%s was %s", image,
               expected ? "filtered" : "told");
}

/* ---- from the start -------------------------------------------------------------------------------- */

static void all_spellings(struct nt_watch *watch)
{
    expect_told(watch, "C:\\Tools\\noise.exe", false);
    expect_told(watch, "\\??\\C:\\Tools\\noise.exe", false);
    expect_told(watch, "\\??\\c:\\TOOLS\\Noise.EXE", false);
    expect_told(watch, "\\Device\\HarddiskVolume3\\Tools\\noise.exe", false);
    expect_told(watch, "\\??\\C:\\Tools\\noise.exe2", true);
    expect_told(watch, "\\??\\D:\\Tools\\noise.exe", true);
    expect_told(watch, "\\SystemRoot\\System32\\smss.exe", false);
    expect_told(watch, "\\??\\C:\\Windows\\System32\\smss.exe", false);
    expect_told(watch, "\\Device\\HarddiskVolume3\\Windows\\System32\\smss.exe", false);
    expect_told(watch, "\\SystemRoot\\System32\\other.exe", true);
}

/* Without a name, without a buffer, of odd length: no condition on it holds. */
static void strange_names(struct nt_watch *watch)
{
    struct nt_process_plan plan = {.id = MARKER_ID, .parent_id = 4};
    UNICODE_STRING empty = {0};
    for (int i = 0; i < 2; i++) {
        plan.image_file_name = i == 0 ? NULL : &empty;
        struct nt_process *process = nt_process_new(&plan);
        nt_process_announce(process, NULL);
        (void)nt_watch_next(watch, WVU_EVENT_ProcessCreate, MARKER_ID);
        nt_process_exit(process, 0);
        (void)nt_watch_next(watch, WVU_EVENT_ProcessDestroy, MARKER_ID);
        nt_process_release(process);
    }
}

static void filter_from_the_start(const char *path, uint32_t scale)
{
    struct nt_watch watch;
    (void)scale;
    nt_registry_set_lines(NT_PARAMETERS, "Filter",
                          "# what nobody wants to see\n"
                          "exclude image=C:\\Tools\\noise.exe\n"
                          "exclude image=C:\\Windows\\System32\\smss.exe\n"
                          "exclude event=ImageLoad");
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_watch_begin(&watch);
    all_spellings(&watch);
    strange_names(&watch);
    struct nt_truth *truth = nt_truth_new();
    nt_truth_load_driver(truth);
    nt_require(!nt_watch_has(&watch, WVU_EVENT_ImageLoad, 0), "a driver's image was told");
    nt_truth_free(truth);
    nt_watch_end(&watch);
    (void)nt_attach_to(before);
    nt_unload(driver);
}

static void wrong_from_the_start(const char *path, uint32_t scale)
{
    static WCHAR endless[70000];
    struct nt_watch watch;
    (void)scale;
    struct nt_process *before = nt_become_reader();
    nt_registry_set_lines(NT_PARAMETERS, "Filter",
                          "exclude image=C:\\Tools\\noise.exe\nexclude imagee=C:\\X");
    struct nt_driver *driver = nt_must_load(path);
    nt_require(nt_log_contains("line 2") && nt_log_contains("imagee"),
               "the log does not say which rule is wrong");
    nt_watch_begin(&watch);
    expect_told(&watch, "\\??\\C:\\Tools\\noise.exe", true);
    nt_watch_end(&watch);
    nt_unload(driver);

    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++)
        endless[i] = 'A';
    static const struct {
        uint32_t type;
        uint32_t size;
    } wrongs[] = {{REG_SZ, 64},       {REG_DWORD, 4},         {REG_MULTI_SZ, 3},
                  {REG_MULTI_SZ, 64}, {REG_MULTI_SZ, 130000}, {REG_MULTI_SZ, sizeof endless},
                  {REG_MULTI_SZ, 0}};
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        nt_registry_set(NT_PARAMETERS, "Filter", wrongs[i].type, endless, wrongs[i].size);
        nt_unload(nt_must_load(path));
    }
    (void)nt_attach_to(before);
}

/* ---- at run time ------------------------------------------------------------------------------------- */

static void set_filter(const char *rules)
{
    nt_must_control(WVU_COMMAND_SET_FILTER, NULL, rules);
}

static void expect_images(struct nt_watch *watch, const struct program *program, bool expected)
{
    load_image(program);
    bool told = nt_watch_has(watch, WVU_EVENT_ImageLoad, (uint32_t)program->plan.id);
    nt_require(told == expected, "an image of a process that ran before was %s",
               told ? "told" : "filtered");
    nt_watch_forget(watch);
}

/* Processes that run are judged anew, also as children of others. */
static void judged_anew(struct nt_watch *watch)
{
    struct program parent = {0}, child = {0};
    start(&parent, 31004, 4, "\\??\\C:\\Tools\\parent.exe");
    start(&child, 31000, 31004, "\\??\\C:\\Tools\\child.exe"); /* before it in every list */
    expect_images(watch, &child, true);
    set_filter("exclude event=ImageLoad parent=C:\\Tools\\parent.exe");
    expect_images(watch, &child, false);
    expect_images(watch, &parent, true);
    set_filter("exclude event=ImageLoad user=S-1-5-21-1-2-3-1001");
    expect_images(watch, &child, false);
    expect_images(watch, &parent, false);
    set_filter("default exclude\ninclude parent-suffix=\\parent.exe");
    expect_images(watch, &child, true);
    expect_images(watch, &parent, false);
    set_filter("");
    expect_images(watch, &parent, true);
    end(&child);
    end(&parent);
}

static void wrong_at_run_time(struct nt_watch *watch)
{
    char why[256];
    uint32_t size;
    set_filter("exclude image=C:\\Tools\\noise.exe");
    wvu_status status = nt_control(WVU_COMMAND_SET_FILTER, NULL, "include\nforbid image=C:\\X", why,
                                   sizeof why - 1, &size);
    why[size] = '\0';
    nt_require(status == WVU_STATUS_INVALID_PARAMETER && strstr(why, "line 2") != NULL,
               "a wrong filter: 0x%08x, %s", (unsigned)status, why);
    expect_told(watch, "\\??\\C:\\Tools\\noise.exe", false);
    set_filter("");
    expect_told(watch, "\\??\\C:\\Tools\\noise.exe", true);
}

/* Memory for the list of processes may be missing: then more is told, not less. */
static void without_memory(struct nt_watch *watch)
{
    struct program program = {0};
    watch->reconnects = true; /* a send is one of the calls */
    start(&program, 31100, 4, "\\??\\C:\\Tools\\noise.exe");
    for (uint64_t n = 1;; n++) {
        nt_fail_call(n);
        (void)nt_try_control(WVU_COMMAND_SET_FILTER, "exclude image=C:\\Tools\\noise.exe");
        bool failed = nt_failed_routine() != NULL;
        nt_fail_call(0);
        set_filter("");
        if (!failed)
            break;
    }
    expect_images(watch, &program, true);
    end(&program);
}

static void filter_at_run_time(const char *path, uint32_t scale)
{
    struct nt_watch watch;
    (void)scale;
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_watch_begin(&watch);
    judged_anew(&watch);
    wrong_at_run_time(&watch);
    without_memory(&watch);
    nt_watch_end(&watch);
    (void)nt_attach_to(before);
    nt_unload(driver);
}

/* ---- more processes than there is room for ----------------------------------------------------------- */

#define ROOM 8192u /* WVU_PROCESS_TABLE_CAPACITY */
#define MORE 20u

static uint64_t without_room(void)
{
    static char text[WVU_RESPONSE_MAX];
    struct wvu_statistics statistics;
    unsigned long long count = 0;
    uint32_t size;
    wvu_status status =
        nt_control(WVU_COMMAND_GET_STATISTICS, NULL, NULL, text, sizeof text - 1, &size);
    nt_require(status == WVU_STATUS_OK, "statistics: 0x%08x", (unsigned)status);
    text[size] = '\0';
    memcpy(&statistics, text, sizeof statistics);
    const char *found = strstr(text + statistics.host_counters.offset, "processes-without-room=");
    nt_require(found != NULL && sscanf(found, "processes-without-room=%llu", &count) == 1,
               "no counter of processes without room");
    return count;
}

/* What there is no room for is reported whatever the rules say, and counted. */
static void table_full(const char *path, uint32_t scale)
{
    static struct program programs[ROOM + MORE];
    struct nt_watch watch;
    (void)scale;
    nt_registry_set_lines(NT_PARAMETERS, "Filter", "exclude event=ImageLoad,ProcessCreate");
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_watch_begin(&watch);
    for (uint32_t i = 0; i < ROOM + MORE; i++)
        start(&programs[i], FIRST_ID + 4 * i, 4, "\\??\\C:\\Tools\\many.exe");
    uint64_t missed = without_room(); /* System and the reader are in the table, too */
    nt_require(missed >= MORE && missed <= MORE + 8, "%llu processes without room",
               (unsigned long long)missed);
    expect_images(&watch, &programs[0], false);
    expect_images(&watch, &programs[ROOM + MORE - 1], true);
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, "ProcessCreate", NULL);
    expect_images(&watch, &programs[0], true); /* nothing is known now */
    nt_must_control(WVU_COMMAND_ENABLE_PROBE, "ProcessCreate", NULL);
    missed = without_room();
    for (uint32_t i = 0; i < ROOM + MORE; i++) {
        end(&programs[i]);
        if (i % 1000 == 0)
            nt_watch_forget(&watch);
    }
    nt_watch_forget(&watch);
    start(&programs[0], FIRST_ID, 4, "\\??\\C:\\Tools\\many.exe"); /* there is room again */
    expect_images(&watch, &programs[0], false);
    end(&programs[0]);
    nt_require(without_room() == missed, "the table did not get empty");
    nt_watch_end(&watch);
    (void)nt_attach_to(before);
    nt_unload(driver);
}

/* ---- in a storm --------------------------------------------------------------------------------------- */

struct storm {
    struct nt_truth *truth;
    atomic_bool stop;
};

static void produce(void *context)
{
    struct storm *storm = context;
    for (uint32_t i = 0; !storm->stop && i < 600; i++) {
        struct nt_actor *actor = nt_truth_cast(storm->truth, (enum nt_story)(i % NT_STORIES));
        nt_actor_start(actor);
        nt_actor_load_image(actor, 0);
        nt_actor_exit(actor);
    }
}

/* Nothing is held against the truth but that the stream has no gap: what is told depends on the moment. */
static void filter_in_storm(const char *path, uint32_t scale)
{
    static const char *const filters[] = {
        "", "exclude image-prefix=C:\\Program", "default exclude\ninclude event=ProcessCreate",
        "deny image-suffix=\\actor.exe\nprotect parent-suffix=actor.exe"};
    struct storm storm = {.truth = nt_truth_new()};
    struct nt_stream stream = {0};
    struct nt_runner *runners[3];
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    struct nt_reader_thread *reader = nt_reader_thread_start(&stream);
    for (int i = 0; i < 3; i++)
        runners[i] = nt_run_thread("producer", NULL, produce, &storm);
    for (uint32_t i = 0; i < scale; i++)
        set_filter(filters[i % 4]);
    storm.stop = true;
    for (int i = 0; i < 3; i++)
        nt_join_thread(runners[i]);
    nt_reader_thread_stop(reader);
    (void)nt_attach_to(before);
    nt_unload(driver);
    nt_truth_free(storm.truth);
}

/* ---- deny --------------------------------------------------------------------------------------------- */

static void expect_mitigation(struct nt_watch *watch, uint32_t id, uint32_t outcome,
                              const char *rule, const char *reason)
{
    const struct wvu_mitigated *event = nt_watch_next(watch, WVU_EVENT_Mitigation, id);
    nt_require(event->action == WVU_MITIGATION_DENY && event->outcome == outcome,
               "process %u: outcome %u instead of %u (%s)", id, event->outcome, outcome,
               nt_event_text(event, &event->reason));
    nt_require(strcmp(nt_event_text(event, &event->rule), rule) == 0, "process %u: rule %s", id,
               nt_event_text(event, &event->rule));
    nt_require(strstr(nt_event_text(event, &event->reason), reason) != NULL,
               "process %u: reason '%s'", id, nt_event_text(event, &event->reason));
}

struct attempt {
    const char *image;
    const char *rule;
    const char *reason;
    uint32_t outcome; /* 0: no mitigation */
    bool denied;
    NTSTATUS status_before;
};

static void try_one(struct nt_watch *watch, const struct attempt *attempt, uint32_t id)
{
    struct program program = {
        .plan = {.may_be_denied = attempt->denied, .creation_status = attempt->status_before}};
    start(&program, id, 4, attempt->image);
    NTSTATUS expected = attempt->denied && attempt->status_before >= 0 ? STATUS_ACCESS_DENIED
                                                                       : attempt->status_before;
    nt_require(program.status == expected, "%s: CreationStatus 0x%08x", attempt->image,
               (unsigned)program.status);
    const struct wvu_process_create *created = nt_watch_next(watch, WVU_EVENT_ProcessCreate, id);
    nt_require(created->creation_status == expected, "%s: told as 0x%08x", attempt->image,
               (unsigned)created->creation_status);
    if (attempt->outcome != 0)
        expect_mitigation(watch, id, attempt->outcome, attempt->rule, attempt->reason);
    end(&program);
    nt_require(!nt_watch_has(watch, WVU_EVENT_Mitigation, 0), "%s: a mitigation too many",
               attempt->image);
    nt_watch_forget(watch);
}

static void deny(const char *path, uint32_t scale)
{
    static const char rules[] = "deny image=C:\\Bad\\report.exe name=\"only said\"\n"
                                "protect image=C:\\Bad\\saved.exe\n"
                                "deny image-prefix=C:\\Bad\\ mode=enforce\n"
                                "deny image-suffix=\\csrss.exe mode=enforce name=reckless";
    static const struct attempt attempts[] = {
        {"\\??\\C:\\Good\\x.exe", "", "", 0, false, 0},
        {"\\??\\C:\\Bad\\report.exe", "only said", "", WVU_OUTCOME_REPORTED, false, 0},
        {"\\??\\C:\\Bad\\x.exe", "line 3", "", WVU_OUTCOME_PREVENTED, true, 0},
        {"\\Device\\HarddiskVolume3\\bad\\X.EXE", "line 3", "", WVU_OUTCOME_PREVENTED, true, 0},
        {"\\??\\C:\\Bad\\saved.exe", "line 3", "protect", WVU_OUTCOME_REFUSED, false, 0},
        {"\\SystemRoot\\System32\\csrss.exe", "reckless", "Windows", WVU_OUTCOME_REFUSED, false, 0},
        {"\\??\\C:\\Windows\\system32\\csrss.exe", "reckless", "Windows", WVU_OUTCOME_REFUSED,
         false, 0},
        {"\\??\\C:\\Windows\\Temp\\csrss.exe", "reckless", "", WVU_OUTCOME_PREVENTED, true, 0},
        {"\\??\\C:\\Bad\\y.exe", "line 3", "another driver", WVU_OUTCOME_PREVENTED, false,
         STATUS_INSUFFICIENT_RESOURCES},
    };
    struct nt_watch watch;
    (void)scale;
    nt_registry_set_lines(NT_PARAMETERS, "Filter", rules);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_watch_begin(&watch);
    for (uint32_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        try_one(&watch, &attempts[i], 32000 + 4 * i);
    nt_watch_end(&watch);
    nt_unload(driver);

    /* Kernels that only tell. */
    nt_hide_routine("PsSetCreateProcessNotifyRoutineEx2");
    nt_hide_routine("PsSetCreateProcessNotifyRoutineEx");
    driver = nt_must_load(path);
    nt_watch_begin(&watch);
    struct program program = {0};
    start(&program, 33000, 4, "\\??\\C:\\Bad\\x.exe");
    (void)nt_watch_next(&watch, WVU_EVENT_ProcessCreate, 33000);
    expect_mitigation(&watch, 33000, WVU_OUTCOME_FAILED, "line 3", "does not ask");
    end(&program);
    nt_watch_end(&watch);
    (void)nt_attach_to(before);
    nt_unload(driver);
    nt_hide_routine(NULL);
}

static const struct scenario scenarios[] = {
    {"filter", filter_from_the_start, 1, 30, "rules of the Filter parameter, every spelling"},
    {"filter-wrong", wrong_from_the_start, 1, 30, "a Filter parameter that cannot be used"},
    {"filter-run-time", filter_at_run_time, 1, 60, "rules set while processes run"},
    {"filter-full", table_full, 1, 60, "more processes than the driver has room for"},
    {"filter-storm", filter_in_storm, 400, 120, "rules set while callbacks come on many threads"},
    {"deny", deny, 1, 30, "programs that are kept from running, and those that are not"},
};
const struct scenario_table nt_filter_scenarios = NT_SCENARIOS(scenarios);
