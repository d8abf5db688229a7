/*
 * Ending processes, and being ended: the kill command and whom it spares; protection against unloading.
 */
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "harness.h"
#include "watch.h"

static const SID alice = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 1001}};

struct victim {
    UNICODE_STRING image;
    struct nt_process *process;
};

static void make_victim(struct victim *victim, uint32_t id, const char *image, bool critical)
{
    victim->image = nt_string_of(image);
    const struct nt_process_plan plan = {.id = id,
                                         .parent_id = 4,
                                         .user = &alice,
                                         .image_file_name = &victim->image,
                                         .critical = critical};
    victim->process = nt_process_new(&plan);
}

static void end(struct victim *victim)
{
    nt_process_exit(victim->process, 1);
    nt_process_release(victim->process);
    nt_string_free(&victim->image);
}

static wvu_status kill_process(uint32_t id, uint64_t key)
{
    char text[64];
    if (key != 0)
        snprintf(text, sizeof text, "%u key=0x%016llx", id, (unsigned long long)key);
    else
        snprintf(text, sizeof text, "%u", id);
    return nt_control(WVU_COMMAND_ONE_SHOT_KILL, NULL, text, NULL, 0, NULL);
}

/* The command's status, the Mitigation event, and what really happened: they must agree. */
static void expect(struct nt_watch *watch, const struct victim *victim, uint32_t id, uint64_t key,
                   uint32_t outcome, const char *reason)
{
    wvu_status status = kill_process(id, key);
    const struct wvu_mitigated *event = nt_watch_next(watch, WVU_EVENT_Mitigation, id);
    bool ended = outcome == WVU_OUTCOME_ENDED;
    nt_require(event->action == WVU_MITIGATION_TERMINATE && event->outcome == outcome,
               "process %u: outcome %u instead of %u (%s)", id, event->outcome, outcome,
               nt_event_text(event, &event->reason));
    nt_require(event->requester_process_id == 400, "process %u: the requester is %u", id,
               event->requester_process_id);
    nt_require((status == WVU_STATUS_OK) == ended, "process %u: 0x%08x", id, (unsigned)status);
    nt_require(strstr(nt_event_text(event, &event->reason), reason) != NULL,
               "process %u: reason '%s'", id, nt_event_text(event, &event->reason));
    if (victim != NULL)
        nt_require(nt_process_was_terminated(victim->process) == ended, "process %u: %s", id,
                   ended ? "it runs still" : "it was ended");
}

static void plain(struct nt_watch *watch)
{
    struct victim victim;
    make_victim(&victim, 60000, "\\??\\C:\\Bad\\x.exe", false);
    nt_process_announce(victim.process, NULL);
    expect(watch, &victim, 60000, 0, WVU_OUTCOME_ENDED, "");
    expect(watch, NULL, 60000, 0, WVU_OUTCOME_FAILED, "ended already");
    end(&victim);
    expect(watch, NULL, 60000, 0, WVU_OUTCOME_FAILED, "no process");

    make_victim(&victim, 60004, "\\??\\C:\\Bad\\x.exe", false); /* nobody announced it */
    expect(watch, &victim, 60004, nt_process_start_key(victim.process), WVU_OUTCOME_ENDED, "");
    end(&victim);
}

/* The key is that of one that has ended; the id is another's now. */
static void reused_id(struct nt_watch *watch)
{
    struct victim first;
    make_victim(&first, 60100, "\\??\\C:\\Bad\\x.exe", false);
    nt_process_announce(first.process, NULL);
    uint64_t key = nt_process_start_key(first.process);
    end(&first);
    struct victim second;
    make_victim(&second, 60100, "\\??\\C:\\Good\\y.exe", false);
    nt_process_announce(second.process, NULL);
    expect(watch, &second, 60100, key, WVU_OUTCOME_FAILED, "belongs to another");
    expect(watch, &second, 60100, nt_process_start_key(second.process), WVU_OUTCOME_ENDED, "");
    end(&second);
}

static void spared(struct nt_watch *watch)
{
    expect(watch, NULL, 4, 0, WVU_OUTCOME_REFUSED, "system itself");
    expect(watch, NULL, 400, 0, WVU_OUTCOME_REFUSED, "reads the sensor's events");

    struct victim critical;
    make_victim(&critical, 60200, "\\??\\C:\\X\\x.exe", true);
    expect(watch, &critical, 60200, 0, WVU_OUTCOME_REFUSED, "critical");
    end(&critical);

    struct victim lsass;
    make_victim(&lsass, 60204, "\\Device\\HarddiskVolume3\\Windows\\System32\\LSASS.exe", false);
    expect(watch, &lsass, 60204, 0, WVU_OUTCOME_REFUSED, "Windows");
    end(&lsass);

    struct victim fake;
    make_victim(&fake, 60208, "\\??\\C:\\Temp\\lsass.exe", false);
    expect(watch, &fake, 60208, 0, WVU_OUTCOME_ENDED, "");
    end(&fake);
}

static void protected_by_rule(struct nt_watch *watch)
{
    struct victim victim;
    make_victim(&victim, 60300, "\\??\\C:\\Guard\\x.exe", false);
    nt_must_control(WVU_COMMAND_SET_FILTER, NULL, "protect image-prefix=C:\\Guard\\");
    expect(watch, &victim, 60300, 0, WVU_OUTCOME_REFUSED, "protect"); /* not in the table */
    nt_process_announce(victim.process, NULL);
    expect(watch, &victim, 60300, 0, WVU_OUTCOME_REFUSED, "protect");
    nt_must_control(WVU_COMMAND_SET_FILTER, NULL, "");
    expect(watch, &victim, 60300, 0, WVU_OUTCOME_ENDED, "");
    end(&victim);
}

/* Each call fails once: it is ended, or it is said why not; nothing else. */
static void failing_calls(struct nt_watch *watch)
{
    const char *routine;
    uint64_t n = 0;
    uint32_t not_ended = 0;
    watch->reconnects = true; /* a send is one of the calls */
    do {
        struct victim victim;
        make_victim(&victim, 60400, "\\??\\C:\\Bad\\x.exe", false);
        nt_process_announce(victim.process, NULL);
        nt_fail_call(++n);
        wvu_status status = nt_try_control(WVU_COMMAND_ONE_SHOT_KILL, "60400");
        routine = nt_failed_routine();
        nt_fail_call(0);
        nt_require(nt_process_was_terminated(victim.process) == (status == WVU_STATUS_OK),
                   "%s failed: status 0x%08x", routine != NULL ? routine : "nothing",
                   (unsigned)status);
        not_ended += status != WVU_STATUS_OK;
        end(&victim);
        (void)nt_watch_next(watch, WVU_EVENT_ProcessDestroy, 60400);
    } while (routine != NULL && n < 200);
    nt_require(routine == NULL && not_ended >= 3, "%u of %llu calls mattered", not_ended,
               (unsigned long long)n);
    nt_watch_forget(watch);
}

static void kills(const char *path, uint32_t scale)
{
    struct nt_watch watch;
    (void)scale;
    struct nt_process *before = nt_become_reader();
    struct nt_driver *driver = nt_must_load(path);
    nt_watch_begin(&watch);
    plain(&watch);
    reused_id(&watch);
    spared(&watch);
    protected_by_rule(&watch);
    nt_watch_end(&watch);
    nt_unload(driver);

    /* A kernel that cannot say whether a process is critical. */
    nt_hide_routine("ZwQueryInformationProcess");
    driver = nt_must_load(path);
    nt_watch_begin(&watch);
    struct victim victim;
    make_victim(&victim, 60500, "\\??\\C:\\Bad\\x.exe", false);
    expect(&watch, &victim, 60500, 0, WVU_OUTCOME_REFUSED, "cannot be found out");
    end(&victim);
    nt_watch_end(&watch);
    nt_unload(driver);
    nt_hide_routine(NULL);
    (void)nt_attach_to(before);
}

static void failing_kills(const char *path, uint32_t scale)
{
    struct nt_watch watch;
    (void)scale;
    struct nt_process *before = nt_become_reader();
    struct nt_driver *driver = nt_must_load(path);
    nt_watch_begin(&watch);
    failing_calls(&watch);
    nt_watch_end(&watch);
    (void)nt_attach_to(before);
    nt_unload(driver);
}

/* ---- protection ---------------------------------------------------------------------------------------- */

static void expect_refused(struct nt_watch *watch, struct nt_driver *driver)
{
    nt_require(nt_service_stop(driver) == STATUS_INVALID_DEVICE_REQUEST, "sc stop was not refused");
    NTSTATUS status = nt_filter_unload(driver);
    nt_require(status == STATUS_FLT_DO_NOT_DETACH, "fltmc unload: 0x%08x", (unsigned)status);
    const struct wvu_stop_refused *event = nt_watch_next(watch, WVU_EVENT_StopRefused, 400);
    nt_require(strcmp(nt_event_text(event, &event->attempt), "unload of the filter") == 0,
               "StopRefused: %s", nt_event_text(event, &event->attempt));
}

static void protection(const char *path, uint32_t scale)
{
    struct nt_watch watch;
    (void)scale;
    struct nt_process *before = nt_become_reader();
    struct nt_driver *driver = nt_must_load(path);
    nt_watch_begin(&watch);
    nt_must_control(WVU_COMMAND_DISABLE_UNLOAD, NULL, NULL);
    nt_must_control(WVU_COMMAND_DISABLE_UNLOAD, NULL, NULL); /* twice is no other thing */
    expect_refused(&watch, driver);
    nt_must_control(WVU_COMMAND_ENABLE_UNLOAD, NULL, NULL);
    nt_watch_end(&watch);
    nt_require(nt_filter_unload(driver) == STATUS_SUCCESS, "fltmc unload is refused still");

    nt_registry_set_number(NT_PARAMETERS, "Protect", 1);
    driver = nt_must_load(path);
    nt_watch_begin(&watch);
    expect_refused(&watch, driver);
    nt_must_control(WVU_COMMAND_ENABLE_UNLOAD, NULL, NULL);
    nt_watch_end(&watch);
    nt_require(nt_service_stop(driver) == STATUS_SUCCESS, "sc stop is refused still");

    driver = nt_must_load(path); /* an unload that may not be refused */
    nt_force_unload(driver);
    nt_registry_set_number(NT_PARAMETERS, "Protect", 2);
    driver = nt_must_load(path);
    nt_require(nt_log_contains("Protect is 2"), "a wrong Protect is not reported");
    nt_require(nt_service_stop(driver) == STATUS_SUCCESS, "a wrong Protect protects");
    (void)nt_attach_to(before);
}

static const struct scenario scenarios[] = {
    {"kill", kills, 1, 60, "processes that are ended, and those that are spared"},
    {"fail-kill", failing_kills, 1, 60, "each call of a kill that can fail does"},
    {"protection", protection, 1, 30, "unload and stop are refused while protected"},
};
const struct scenario_table nt_mitigation_scenarios = NT_SCENARIOS(scenarios);
