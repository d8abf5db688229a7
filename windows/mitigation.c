/*
 * Acting on processes. Called by the process probe: in the system's callback when a process starts (deny),
 * and for commands (terminate); PASSIVE_LEVEL. No state. Each act, also one that was refused or failed, becomes
 * a Mitigation event.
 *
 * Deny writes CreationStatus, which the system asks of its Ex callbacks: the process then ends before its first
 * instruction. It is the one thing that this driver ever does to a start, and only for a rule that says
 * mode=enforce.
 *
 * Terminate looks the process up by its id, compares its key, and opens a handle to the very object that it
 * compared: a pid that is given to another process meanwhile cannot be hit. The reference keeps the object, and
 * thus its id, from being used again until it is let go.
 *
 * Nobody is ended that the machine or the sensor cannot be without: the system's own processes (ids 0 and 4),
 * whoever reads the events, processes that the system marks as critical (their end is a bug check), the
 * programs that names.c lists, and whatever a `protect` rule names. When it cannot be found out whether a
 * process is critical, it stays.
 */
#include "mitigation.h"

#include "format.h"
#include "names.h"
#include "nt_host.h"
#include "process_judge.h"
#include "routines.h"

#define REASON_SIZE 256
#define SYSTEM_ID   4u
#define EXIT_STATUS 1 /* what the system's own task manager gives */

/* "NtQueryInformationProcess", ProcessBreakOnTermination. */
#define PROCESS_BREAK_ON_TERMINATION_CLASS 29

static void say(char *reason, const char *text)
{
    (void)wvu_format(reason, REASON_SIZE, "%s", text);
}

static void report(struct wvu_probe *probe, const struct wvu_mitigation_report *report,
                   const UNICODE_STRING *image)
{
    struct wvu_mitigation_report full = *report;
    if (image != NULL && image->Buffer != NULL) {
        full.image = image->Buffer;
        full.image_size = image->Length & ~1u;
        full.image_unit = sizeof(WCHAR);
    }
    wvu_sensor_report_mitigation(probe->sensor, probe, &full);
    wvu_probe_wake(probe);
}

/* ---- deny ------------------------------------------------------------------------------------------- */

static const UNICODE_STRING *image_of(const struct wvu_process_start *start)
{
    return start->image_file_name != NULL ? start->image_file_name : start->judged_name;
}

/* Rules must not be able to take the machine or the sensor down. */
static bool must_start(struct wvu_probe *probe, const struct wvu_process_start *start, char *reason)
{
    uint32_t id = (uint32_t)(uintptr_t)start->process_id;
    if (wvu_sensor_must_live(probe->sensor, id, reason))
        return true;
    if (start->verdict.is_protected)
        say(reason, "a protect rule names it");
    else if (wvu_names_is_critical(image_of(start)))
        say(reason, "Windows does not go on without this program");
    else
        return false;
    return true;
}

static void enforce(struct wvu_probe *probe, const struct wvu_process_start *start,
                    NTSTATUS *creation_status, struct wvu_denial *denial)
{
    denial->status = WVU_STATUS_OK;
    if (must_start(probe, start, denial->reason)) {
        denial->outcome = WVU_OUTCOME_REFUSED;
        denial->status = WVU_STATUS_ACCESS_DENIED;
    } else if (creation_status == NULL) {
        denial->outcome = WVU_OUTCOME_FAILED;
        denial->status = WVU_STATUS_NOT_SUPPORTED;
        say(denial->reason,
            "this kernel tells of processes, and does not ask whether they may run");
    } else {
        denial->outcome = WVU_OUTCOME_PREVENTED;
        if (NT_SUCCESS(*creation_status))
            *creation_status = STATUS_ACCESS_DENIED;
        else
            say(denial->reason, "another driver had refused it already");
    }
}

bool wvu_mitigation_deny(struct wvu_probe *probe, const struct wvu_process_start *start,
                         NTSTATUS *creation_status, struct wvu_denial *denial)
{
    denial->reason[0] = '\0';
    if (start->verdict.deny == WVU_DENY_NONE)
        return false;
    if (start->verdict.deny == WVU_DENY_ENFORCE) {
        enforce(probe, start, creation_status, denial);
    } else {
        denial->outcome = WVU_OUTCOME_REPORTED;
        denial->status = WVU_STATUS_OK;
    }
    return true;
}

void wvu_mitigation_report_denied(struct wvu_probe *probe, const struct wvu_process_start *start,
                                  const struct wvu_denial *denial)
{
    const struct wvu_mitigation_report what = {
        .action = WVU_MITIGATION_DENY,
        .outcome = denial->outcome,
        .status = denial->status,
        .process_id = (uint32_t)(uintptr_t)start->process_id,
        .process_key = start->process_key,
        .rule = start->verdict.rule,
        .reason = denial->reason,
    };
    report(probe, &what, image_of(start));
}

/* ---- terminate --------------------------------------------------------------------------------------- */

/* One that a command is about, referenced. */
struct target {
    PEPROCESS process;
    uint32_t id;
    uint64_t key;
    UNICODE_STRING *image;
};

static wvu_status find_target(const struct wvu_mitigation *mitigation, struct target *target,
                              char *reason)
{
    HANDLE id = (HANDLE)(uintptr_t)mitigation->process_id;
    target->id = mitigation->process_id;
    target->key = mitigation->process_key;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(id, &target->process))) {
        target->process = NULL;
        say(reason, "no process has this id");
        return WVU_STATUS_NOT_FOUND;
    }
    uint64_t key = wvu_process_key(target->process, id);
    if (mitigation->process_key != 0 && key != mitigation->process_key) {
        say(reason, "the process with this key has ended; its id belongs to another one now");
        return WVU_STATUS_NOT_FOUND;
    }
    if (wvu_routines.process_exit_status != NULL &&
        wvu_routines.process_exit_status(target->process) != STATUS_PENDING) {
        say(reason, "it has ended already");
        return WVU_STATUS_NOT_FOUND;
    }
    target->key = key;
    target->image = wvu_process_image(target->process);
    return WVU_STATUS_OK;
}

static void release_target(struct target *target)
{
    wvu_process_image_free(target->image);
    if (target->process != NULL)
        ObDereferenceObject(target->process);
}

/* The table has the verdict of most; one that it does not have is judged here. */
static bool is_protected(struct wvu_probe *probe, const struct target *target)
{
    const struct wvu_nt_host *host = probe->host;
    struct wvu_process_entry entry;
    if (wvu_process_table_find(host->processes, target->id, &entry) &&
        entry.process_key == target->key)
        return entry.is_protected;
    struct wvu_process_user user;
    struct wvu_verdict verdict;
    wvu_process_user_of(target->process, &user);
    wvu_process_judge(host, target->image, &user, 0, 0, &verdict);
    return verdict.is_protected;
}

/* False, with a reason, also when it cannot be found out. */
static bool is_expendable(HANDLE process, char *reason)
{
    ULONG critical = 0;
    NTSTATUS status = STATUS_NOT_SUPPORTED;
    if (wvu_routines.query_information_process != NULL)
        status = wvu_routines.query_information_process(process, PROCESS_BREAK_ON_TERMINATION_CLASS,
                                                        &critical, sizeof critical, NULL);
    if (!NT_SUCCESS(status))
        (void)wvu_format(reason, REASON_SIZE,
                         "it cannot be found out whether it is critical (0x%08x)",
                         (unsigned)status);
    else if (critical != 0)
        say(reason, "it is critical: its end would be that of the system");
    return NT_SUCCESS(status) && critical == 0;
}

static bool may_end(struct wvu_probe *probe, const struct target *target, char *reason)
{
    if (is_protected(probe, target))
        say(reason, "a protect rule names it");
    else if (wvu_names_is_critical(target->image))
        say(reason, "Windows does not go on without this program");
    else
        return true;
    return false;
}

/* Returns what became of it; fills status and reason when it is not ENDED. */
static uint32_t end_target(struct wvu_probe *probe, const struct target *target, wvu_status *status,
                           char *reason)
{
    HANDLE handle;
    if (!may_end(probe, target, reason)) {
        *status = WVU_STATUS_ACCESS_DENIED;
        return WVU_OUTCOME_REFUSED;
    }
    NTSTATUS nt = ObOpenObjectByPointer(target->process, OBJ_KERNEL_HANDLE, NULL,
                                        WVU_PROCESS_TERMINATE | WVU_PROCESS_QUERY_INFORMATION, NULL,
                                        KernelMode, &handle);
    if (!NT_SUCCESS(nt)) {
        (void)wvu_format(reason, REASON_SIZE, "it cannot be opened (0x%08x)", (unsigned)nt);
        *status = WVU_STATUS_INTERNAL;
        return WVU_OUTCOME_FAILED;
    }
    uint32_t outcome = WVU_OUTCOME_ENDED;
    *status = WVU_STATUS_OK;
    if (!is_expendable(handle, reason)) {
        *status = WVU_STATUS_ACCESS_DENIED;
        outcome = WVU_OUTCOME_REFUSED;
    } else {
        nt = ZwTerminateProcess(handle, EXIT_STATUS);
        if (!NT_SUCCESS(nt)) {
            (void)wvu_format(reason, REASON_SIZE, "the system did not end it (0x%08x)",
                             (unsigned)nt);
            *status = WVU_STATUS_INTERNAL;
            outcome = WVU_OUTCOME_FAILED;
        }
    }
    (void)ZwClose(handle);
    return outcome;
}

static bool is_system(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                      char *reason)
{
    if (mitigation->process_id == 0 || mitigation->process_id == SYSTEM_ID) {
        say(reason, "it is the system itself");
        return true;
    }
    return wvu_sensor_must_live(probe->sensor, mitigation->process_id, reason);
}

wvu_status wvu_mitigation_terminate(struct wvu_probe *probe,
                                    const struct wvu_mitigation *mitigation, char *reason)
{
    struct target target = {.id = mitigation->process_id, .key = mitigation->process_key};
    wvu_status status = WVU_STATUS_ACCESS_DENIED;
    uint32_t outcome = WVU_OUTCOME_REFUSED;
    if (mitigation->action != WVU_MITIGATION_TERMINATE) {
        say(reason, "this probe can end a process, and nothing else");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    if (!is_system(probe, mitigation, reason)) {
        status = find_target(mitigation, &target, reason);
        outcome = status != WVU_STATUS_OK ? WVU_OUTCOME_FAILED
                                          : end_target(probe, &target, &status, reason);
    }
    const struct wvu_mitigation_report what = {
        .action = WVU_MITIGATION_TERMINATE,
        .outcome = outcome,
        .status = status,
        .process_id = target.id,
        .process_key = target.key,
        .reason = reason,
        .requester = mitigation->requester,
    };
    report(probe, &what, target.image);
    release_target(&target);
    return status;
}
