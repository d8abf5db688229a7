/*
 * Processes that start: the filter's verdict, the entry in the table of processes, the ProcessCreate
 * record. Called by the process probe, from the system's callback and when the probe starts;
 * PASSIVE_LEVEL. No state. Every text may be missing, and every member that is not known is left
 * out of `present`.
 */
#include "process_report.h"

#include "nt_host.h"
#include "process_judge.h"

static uint32_t id_of(HANDLE id)
{
    return (uint32_t)(uintptr_t)id;
}

/* `string` may be NULL, and so may its buffer. Half a unit is left out. */
static struct wvu_text_source source_of(size_t member, const UNICODE_STRING *string)
{
    struct wvu_text_source source = {.member = (uint16_t)member, .unit = sizeof(WCHAR)};
    if (string != NULL && string->Buffer != NULL) {
        source.size = source.head = source.full_size = string->Length & ~1u;
        source.bytes = source.size != 0 ? string->Buffer : NULL;
    }
    return source;
}

static void fill_identity(struct wvu_process_create *event, const struct wvu_nt_host *host,
                          const struct wvu_process_start *start)
{
    event->record.process_id = id_of(start->process_id);
    event->record.flags |= WVU_RECORD_UTF16;
    event->record.present = WVU_PRESENT(wvu_process_create, ParentProcessId);
    event->parent_process_id = id_of(start->parent_id);
    event->parent_process_key = start->parent_key;
    if (event->parent_process_key != 0)
        event->record.present |= WVU_PRESENT(wvu_process_create, ParentProcessKey);
    if (start->process != NULL) {
        event->record.process_key = start->process_key;
        event->eprocess = wvu_nt_host_name_object(host, start->process);
    }
    if (event->eprocess != 0)
        event->record.present |= WVU_PRESENT(wvu_process_create, EProcess);
    event->cause = start->cause;
    if (event->cause != WVU_CREATE_UNKNOWN)
        event->record.present |= WVU_PRESENT(wvu_process_create, Cause);
}

static void fill_creator(struct wvu_process_create *event, const struct wvu_nt_host *host,
                         const PS_CREATE_NOTIFY_INFO *info)
{
    event->unique_process = id_of(info->CreatingThreadId.UniqueProcess);
    event->unique_thread = id_of(info->CreatingThreadId.UniqueThread);
    event->creation_status = info->CreationStatus;
    event->file_object = wvu_nt_host_name_object(host, info->FileObject);
    event->record.present |= WVU_PRESENT(wvu_process_create, UniqueProcess) |
                             WVU_PRESENT(wvu_process_create, UniqueThread) |
                             WVU_PRESENT(wvu_process_create, CreationStatus);
    if (event->file_object != 0)
        event->record.present |= WVU_PRESENT(wvu_process_create, FileObject);
}

static void fill_user(struct wvu_process_create *event, const struct wvu_process_user *user)
{
    if (user->has_sid)
        event->record.present |= WVU_PRESENT(wvu_process_create, UserSid);
    if (user->has_session) {
        event->session_id = user->session;
        event->record.present |= WVU_PRESENT(wvu_process_create, SessionId);
    }
}

void wvu_process_learn(struct wvu_probe *probe, struct wvu_process_start *start)
{
    const struct wvu_nt_host *host = probe->host;
    start->parent_key = wvu_process_key_of_pid(start->parent_id);
    if (start->process != NULL) {
        start->process_key = wvu_process_key(start->process, start->process_id);
        wvu_process_user_of(start->process, &start->user);
    }
    wvu_process_judge(host,
                      start->image_file_name != NULL ? start->image_file_name : start->judged_name,
                      &start->user, id_of(start->parent_id), start->parent_key, &start->verdict);
    const struct wvu_process_entry entry = {
        .process_key = start->process_key,
        .parent_key = start->parent_key,
        .as_parent = start->verdict.as_parent,
        .process_id = id_of(start->process_id),
        .parent_id = id_of(start->parent_id),
        .wanted = start->verdict.wanted,
        .threads = start->cause == WVU_CREATE_RUNNING ? WVU_THREADS_UNKNOWN : 0,
        .is_protected = start->verdict.is_protected,
        .was_running = start->cause == WVU_CREATE_RUNNING,
    };
    (void)wvu_process_table_add(host->processes, &entry); /* no room: counted there */
}

void wvu_process_report_start(struct wvu_probe *probe, const struct wvu_process_start *start)
{
    if (!wvu_probe_wants(probe, WVU_EVENT_ProcessCreate, start->verdict.wanted))
        return;
    const UNICODE_STRING sid = {
        .Length = start->user.sid_size,
        .Buffer = (PWCH)(uintptr_t)start->user.sid,
    };
    const struct wvu_text_source texts[] = {
        source_of(offsetof(struct wvu_process_create, image_file_name), start->image_file_name),
        source_of(offsetof(struct wvu_process_create, command_line), start->command_line),
        source_of(offsetof(struct wvu_process_create, user_sid), &sid),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, sizeof(struct wvu_process_create), texts, 3);
    struct wvu_process_create *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event == NULL)
        return; /* counted */
    fill_identity(event, probe->host, start);
    if (start->info != NULL)
        fill_creator(event, probe->host, start->info);
    fill_user(event, &start->user);
    if (start->image_file_name != NULL)
        event->record.present |= WVU_PRESENT(wvu_process_create, ImageFileName);
    if (start->command_line != NULL)
        event->record.present |= WVU_PRESENT(wvu_process_create, CommandLine);
    wvu_record_fill_texts(&event->record, &plan, texts);
    wvu_probe_commit(probe, &event->record);
    wvu_probe_wake(probe);
}
