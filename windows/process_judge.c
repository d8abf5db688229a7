/*
 * Asks the filter about processes. Called by the process probe when a process starts (in the system's
 * callback) or is announced, by mitigation, and when the filter was changed; PASSIVE_LEVEL. No state.
 *
 * When the filter was changed, all processes of the table are judged anew in two rounds: what a process is
 * to its children (as_parent) depends on nothing but itself, so the first round settles it for all of them,
 * and the second one can use it. The second one lists them again: a child that was started in between was
 * judged with what the old filter said about its parent. A process whose parent has ended has a parent of
 * which nothing is known.
 */
#include "process_judge.h"

#include "log.h"
#include "routines.h"

#define LIST_TAG WVU_TAG('W', 'v', 'P', 'j')

static uint64_t matches_of_parent(struct wvu_process_table *table, uint32_t id, uint64_t key)
{
    struct wvu_process_entry parent;
    if (!wvu_process_table_find(table, id, &parent) || parent.process_key != key)
        return 0;
    return parent.as_parent;
}

/* It is ASCII: "S-1-5-..." */
static void copy_sid(const struct wvu_process_user *user, char sid[WVU_SID_UNITS + 1])
{
    size_t length = user->sid_size / sizeof(WCHAR);
    for (size_t i = 0; i < length; i++)
        sid[i] = (char)user->sid[i];
    sid[length] = '\0';
}

void wvu_process_judge(const struct wvu_nt_host *host, const UNICODE_STRING *image,
                       const struct wvu_process_user *user, uint32_t parent_id, uint64_t parent_key,
                       struct wvu_verdict *verdict)
{
    char sid[WVU_SID_UNITS + 1];
    struct wvu_subject subject = {
        .unit = sizeof(WCHAR),
        .parent_matches = matches_of_parent(host->processes, parent_id, parent_key),
    };
    if (image != NULL && image->Buffer != NULL && image->Length >= sizeof(WCHAR)) {
        subject.image = image->Buffer;
        subject.image_size = image->Length & ~1u;
    }
    if (user != NULL && user->has_sid) {
        copy_sid(user, sid);
        subject.user_sid = sid;
        subject.has_user = true;
    }
    wvu_sensor_judge(host->sensor, &subject, verdict);
}

UNICODE_STRING *wvu_process_image(PEPROCESS process)
{
    UNICODE_STRING *image = NULL;
    if (wvu_routines.locate_process_image_name == NULL ||
        !NT_SUCCESS(wvu_routines.locate_process_image_name(process, &image)))
        return NULL;
    return image;
}

void wvu_process_image_free(UNICODE_STRING *image)
{
    if (image != NULL)
        ExFreePoolWithTag(image, 0); /* it is ExFreePool; tag 0 frees whatever the tag is */
}

/* ---- all processes anew ----------------------------------------------------------------------------- */

static void judge_again(const struct wvu_nt_host *host, const struct wvu_process_entry *entry)
{
    HANDLE id = (HANDLE)(uintptr_t)entry->process_id;
    PEPROCESS process;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(id, &process)))
        return;
    if (wvu_process_key(process, id) == entry->process_key) {
        struct wvu_process_user user;
        struct wvu_verdict verdict;
        UNICODE_STRING *image = wvu_process_image(process);
        wvu_process_user_of(process, &user);
        wvu_process_judge(host, image, &user, entry->parent_id, entry->parent_key, &verdict);
        wvu_process_table_judged(host->processes, entry->process_id, entry->process_key, &verdict);
        wvu_process_image_free(image);
    }
    ObDereferenceObject(process);
}

void wvu_process_judge_all(const struct wvu_nt_host *host)
{
    if (wvu_process_table_count(host->processes) == 0)
        return;
    struct wvu_process_entry *entries =
        wvu_os_alloc(WVU_PROCESS_TABLE_CAPACITY * sizeof *entries, LIST_TAG);
    if (entries == NULL) {
        wvu_process_table_want_all(host->processes);
        wvu_log_error(WVU_LOG_PROCESS,
                      "no memory to apply the new filter to the processes that run already: all of "
                      "their events are reported");
        return;
    }
    for (int round = 0; round < 2; round++) {
        size_t count = wvu_process_table_list(host->processes, entries, WVU_PROCESS_TABLE_CAPACITY);
        for (size_t i = 0; i < count && i < WVU_PROCESS_TABLE_CAPACITY; i++)
            judge_again(host, &entries[i]);
    }
    wvu_os_free(entries, LIST_TAG);
}
