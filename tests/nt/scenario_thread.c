/*
 * Threads of programs: which are told, who made them, where they start.
 */
#include <string.h>

#include "control.h"
#include "harness.h"
#include "watch.h"

#define START UINT64_C(0x00007FF612340000)

static UNICODE_STRING image;

static struct nt_process *start_process(uint32_t id)
{
    const struct nt_process_plan plan = {.id = id, .parent_id = 4, .image_file_name = &image};
    struct nt_process *process = nt_process_new(&plan);
    nt_process_announce(process, NULL);
    return process;
}

static void end_process(struct nt_process *process)
{
    nt_process_exit(process, 0);
    nt_process_release(process);
}

static struct nt_user_thread *start_thread(struct nt_process *owner, struct nt_process *creator,
                                           uint64_t id)
{
    const struct nt_thread_plan plan = {.id = id,
                                        .owner = owner,
                                        .creator = creator,
                                        .creator_thread = 4444,
                                        .start_address = START + id};
    return nt_user_thread_start(&plan);
}

static const struct wvu_thread_create *told_start(struct nt_watch *watch, uint32_t process,
                                                  uint32_t thread)
{
    const struct wvu_thread_create *event = nt_watch_next(watch, WVU_EVENT_ThreadCreate, process);
    nt_require(event->thread_id == thread, "thread %u instead of %u", event->thread_id, thread);
    return event;
}

static bool has(const struct wvu_thread_create *event, unsigned field)
{
    return wvu_has(&event->record, field);
}

#define HAS(event, field) has(event, WVU_FIELD_INDEX_wvu_thread_create_##field)

static void expect_nothing(struct nt_watch *watch, const char *what)
{
    nt_require(!nt_watch_has(watch, WVU_EVENT_ThreadCreate, 0) &&
                   !nt_watch_has(watch, WVU_EVENT_ThreadDestroy, 0),
               "%s was told", what);
}

/* The first and the last thread belong to the process's own start and end. */
static void whole_life(struct nt_watch *watch)
{
    struct nt_process *parent = start_process(40000), *child = start_process(40004);
    struct nt_user_thread *first = start_thread(child, parent, 50000);
    expect_nothing(watch, "the first thread");

    struct nt_user_thread *second = start_thread(child, NULL, 50004);
    const struct wvu_thread_create *event = told_start(watch, 40004, 50004);
    nt_require(event->record.process_key == nt_process_start_key(child) &&
                   event->creator_process_id == 40004 && event->creator_thread_id == 4444 &&
                   event->creator_process_key == nt_process_start_key(child) &&
                   HAS(event, Remote) && event->remote == 0,
               "a thread of its own");
    nt_require(event->is_start_address_valid == 1 && HAS(event, Win32StartAddress) &&
                   event->win32_start_address == START + 50004 && !HAS(event, StartAddress),
               "its start address");

    struct nt_user_thread *third = start_thread(child, parent, 50008);
    event = told_start(watch, 40004, 50008);
    nt_require(event->creator_process_id == 40000 &&
                   event->creator_process_key == nt_process_start_key(parent) &&
                   HAS(event, Remote) && event->remote == 1,
               "a thread that another process made");

    nt_user_thread_exit(first);
    nt_user_thread_exit(third);
    const struct wvu_thread_destroy *end = nt_watch_next(watch, WVU_EVENT_ThreadDestroy, 40004);
    nt_require(end->thread_id == 50000 && end->record.process_key == nt_process_start_key(child),
               "the end of a thread");
    (void)nt_watch_next(watch, WVU_EVENT_ThreadDestroy, 40004);
    nt_user_thread_exit(second);
    expect_nothing(watch, "the last thread");
    end_process(child);
    end_process(parent);
}

/* Of a process that ran before, every thread is one more. */
static void ran_before(struct nt_watch *watch, struct nt_process *old)
{
    struct nt_process *other = start_process(40100);
    struct nt_user_thread *thread = start_thread(old, other, 50100);
    const struct wvu_thread_create *event = told_start(watch, 39000, 50100);
    nt_require(HAS(event, Remote) && event->remote == 1, "a remote thread in an old process");
    nt_user_thread_exit(thread);
    (void)nt_watch_next(watch, WVU_EVENT_ThreadDestroy, 39000);
    end_process(other);
}

static void start_addresses(struct nt_watch *watch)
{
    struct nt_process *process = start_process(40200);
    struct nt_user_thread *first = start_thread(process, NULL, 50200);
    struct nt_thread_plan plan = {.id = 50204, .owner = process, .start_address = START};

    plan.irql = APC_LEVEL; /* where the system cannot be asked */
    struct nt_user_thread *thread = nt_user_thread_start(&plan);
    const struct wvu_thread_create *event = told_start(watch, 40200, 50204);
    nt_require(event->is_start_address_valid == 0 && !HAS(event, Win32StartAddress) &&
                   HAS(event, Remote),
               "a start address at APC_LEVEL");
    nt_user_thread_exit(thread);

    plan = (struct nt_thread_plan){
        .id = 50208, .owner = process, .start_address = UINT64_C(0xFFFFF80012345678)};
    thread = nt_user_thread_start(&plan);
    event = told_start(watch, 40200, 50208);
    nt_require(event->is_start_address_valid == 0 && event->win32_start_address == 0,
               "an address of the kernel was told");
    nt_user_thread_exit(thread);

    plan = (struct nt_thread_plan){
        .id = 50212, .owner = process, .start_address = START, .itself = true};
    thread = nt_user_thread_start(&plan);
    event = told_start(watch, 40200, 50212);
    nt_require(!HAS(event, CreatorProcessId) && !HAS(event, Remote) &&
                   event->is_start_address_valid == 1,
               "the new thread itself was taken for its creator");
    nt_user_thread_exit(thread);
    nt_user_thread_exit(first);
    end_process(process);
    nt_watch_forget(watch);
}

/* Each call on the way fails once: the event is told all the same. */
static void failing_calls(struct nt_watch *watch)
{
    struct nt_process *process = start_process(40300);
    struct nt_user_thread *first = start_thread(process, NULL, 50300);
    const char *routine;
    uint64_t n = 0;
    watch->reconnects = true; /* a send is one of the calls */
    do {
        nt_fail_call(++n);
        struct nt_user_thread *thread = start_thread(process, NULL, 50304);
        nt_user_thread_exit(thread);
        routine = nt_failed_routine();
        nt_fail_call(0);
        (void)told_start(watch, 40300, 50304);
        (void)nt_watch_next(watch, WVU_EVENT_ThreadDestroy, 40300);
    } while (routine != NULL && n < 100);
    nt_require(routine == NULL && n > 3, "%llu calls is not to be believed", (unsigned long long)n);
    nt_user_thread_exit(first);
    end_process(process);
}

/* Switched off and on again: what was not counted is not guessed. */
static void switched(struct nt_watch *watch)
{
    struct nt_process *process = start_process(40400), *other = start_process(40404);
    struct nt_user_thread *first = start_thread(process, NULL, 50400);
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, "ThreadCreate", NULL);
    nt_require(!nt_thread_callback_registered(), "the thread routine is still there");
    struct nt_user_thread *unseen = start_thread(process, NULL, 50404);
    nt_must_control(WVU_COMMAND_ENABLE_PROBE, "ThreadCreate", NULL);
    nt_watch_forget(watch);
    nt_user_thread_exit(first);
    (void)nt_watch_next(watch, WVU_EVENT_ThreadDestroy, 40400);
    struct nt_user_thread *remote = start_thread(process, other, 50408);
    nt_require(told_start(watch, 40400, 50408)->remote == 1, "a remote thread was missed");

    nt_must_control(WVU_COMMAND_DISABLE_PROBE, "ProcessCreate", NULL);
    struct nt_user_thread *unknown = start_thread(process, other, 50412);
    nt_require(!HAS(told_start(watch, 40400, 50412), Remote),
               "Remote without knowing whether it is the first thread");
    nt_must_control(WVU_COMMAND_ENABLE_PROBE, "ProcessCreate", NULL);
    nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, "ThreadCreate", "ThreadDestroy=off");
    nt_watch_forget(watch);
    nt_user_thread_exit(unseen);
    nt_require(!nt_watch_has(watch, WVU_EVENT_ThreadDestroy, 0), "a kind that is off was told");
    nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, "ThreadCreate", "ThreadDestroy=on");
    nt_must_control(WVU_COMMAND_SET_FILTER, NULL, "exclude event=ThreadCreate,ThreadDestroy");
    nt_user_thread_exit(remote);
    nt_user_thread_exit(unknown);
    expect_nothing(watch, "what the filter excludes");
    nt_must_control(WVU_COMMAND_SET_FILTER, NULL, "");
    end_process(other);
    end_process(process);
    nt_watch_forget(watch);
}

static void threads(const char *path, uint32_t scale)
{
    struct nt_watch watch;
    const struct nt_process_plan plan = {.id = 39000, .parent_id = 4, .image_file_name = &image};
    (void)scale;
    image = nt_string_of("\\??\\C:\\Tools\\threads.exe");
    struct nt_process *old = nt_process_new(&plan);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    nt_watch_begin(&watch);
    whole_life(&watch);
    ran_before(&watch, old);
    start_addresses(&watch);
    failing_calls(&watch);
    switched(&watch);
    nt_watch_end(&watch);
    (void)nt_attach_to(before);
    nt_unload(driver);
    nt_process_release(old);
    nt_string_free(&image);
}

static const struct scenario scenarios[] = {
    {"threads", threads, 1, 60, "threads of programs: first, last, remote, where they start"},
};
const struct scenario_table nt_thread_scenarios = NT_SCENARIOS(scenarios);
