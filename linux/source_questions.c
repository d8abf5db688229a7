/*
 * What others ask of the source, from any thread but its own.
 *
 * Questions about what it follows (judge anew, list, find) are answered by its thread when it has taken in
 * everything up to the moment: `ask`, under control, so there is one at a time. The others need only the
 * programs in the kernel, and control, so that those stay loaded.
 */
#include <string.h>

#include "log.h"
#include "sensor.h"
#include "source_parts.h"

/* Under control, while the thread runs. */
static void ask(struct wvu_source *source, void (*work)(struct wvu_source *source, void *context),
                void *context)
{
    source->work = work;
    source->work_context = context;
    wvu_store_release(&source->asked, 1);
    wvu_rings_want_attention(&source->rings);
    (void)wvu_event_wait(&source->answered, WVU_TIMEOUT_NONE);
}

static void judge_again(struct wvu_source *source, void *context)
{
    (void)context;
    wvu_tracker_judge_all(source->tracker);
}

/* `context`: in, the new ones (NULL: none); out, the old ones. */
static void swap_denials(struct wvu_source *source, void *context)
{
    struct wvu_denials **denials = context;
    struct wvu_denials *old = source->enforcer.denials;
    wvu_denials_remove(old, source->programs);
    source->enforcer.denials = *denials;
    if (*denials != NULL)
        wvu_denials_place(*denials, source->programs);
    *denials = old;
}

void wvu_source_renew_denials(struct wvu_source *source, bool wanted)
{
    struct wvu_denials *denials = NULL;
    if (wanted && wvu_denials_create(source->sensor, &denials) == WVU_STATUS_NO_MEMORY)
        wvu_log_error(WVU_LOG_SENSOR, "no memory for the files that are denied: programs are "
                                      "ended after they began");
    if (denials != NULL || source->enforcer.denials != NULL)
        ask(source, swap_denials, &denials);
    wvu_denials_destroy(denials);
}

void wvu_source_rejudge(struct wvu_source *source)
{
    wvu_mutex_acquire(&source->control);
    if (is_running(source) && source->programs != NULL) {
        ask(source, judge_again, NULL);
        if (source->used[WVU_SOURCE_PROCESSES])
            wvu_source_renew_denials(source, true);
    }
    wvu_mutex_release(&source->control);
}

void wvu_source_spare(struct wvu_source *source, uint32_t reader_pid)
{
    wvu_mutex_acquire(&source->control);
    source->reader_pid = reader_pid;
    if (source->programs != NULL)
        wvu_programs_spare(source->programs, reader_pid);
    wvu_mutex_release(&source->control);
}

struct listing {
    void (*each)(void *context, const struct wvu_followed *followed);
    void *context;
    wvu_status status;
};

static void list_all(struct wvu_source *source, void *context)
{
    struct listing *listing = context;
    listing->status = WVU_STATUS_AGAIN;
    if (!wvu_source_catch_up(source) || !wvu_tracker_is_complete(source->tracker))
        return;
    listing->status = WVU_STATUS_OK;
    wvu_tracker_each(source->tracker, listing->each, listing->context);
}

wvu_status wvu_source_list(struct wvu_source *source,
                           void (*each)(void *context, const struct wvu_followed *followed),
                           void *context)
{
    struct listing listing = {each, context, WVU_STATUS_INVALID_STATE};
    wvu_mutex_acquire(&source->control);
    if (source->used[WVU_SOURCE_PROCESSES] && source->programs != NULL)
        ask(source, list_all, &listing);
    wvu_mutex_release(&source->control);
    return listing.status;
}

wvu_status wvu_source_walk(struct wvu_source *source,
                           void (*each)(void *context, const struct wvu_sample_running *running),
                           void *context)
{
    wvu_status status = WVU_STATUS_INVALID_STATE;
    wvu_mutex_acquire(&source->control);
    if (source->programs != NULL)
        status = wvu_programs_walk(source->programs, each, context);
    wvu_mutex_release(&source->control);
    return status;
}

static void find_one(struct wvu_source *source, void *context)
{
    struct wvu_source_process *process = context;
    struct wvu_followed followed;
    if (!wvu_tracker_find(source->tracker, process->pid, process->key, &followed))
        return;
    uint32_t room = sizeof process->image;
    process->is_protected = followed.is_protected;
    process->wanted = followed.wanted;
    process->image_size = followed.image.size < room ? followed.image.size : room;
    if (process->image_size != 0)
        memcpy(process->image, followed.image.bytes, process->image_size);
}

void wvu_source_find(struct wvu_source *source, struct wvu_source_process *process)
{
    process->is_protected = false;
    process->wanted = WVU_WANTED_ALL;
    process->image_size = 0;
    wvu_mutex_acquire(&source->control);
    if (is_running(source) && source->programs != NULL)
        ask(source, find_one, process);
    wvu_mutex_release(&source->control);
}

uint64_t wvu_source_key(struct wvu_source *source, uint32_t pid)
{
    struct wvu_sample_running running;
    uint64_t key = 0;
    wvu_mutex_acquire(&source->control);
    if (source->programs != NULL &&
        wvu_programs_find(source->programs, pid, &running) == WVU_STATUS_OK)
        key = running.task.key;
    wvu_mutex_release(&source->control);
    return key;
}

wvu_status wvu_source_use_programs(struct wvu_source *source,
                                   void (*use)(void *context, struct wvu_programs *programs),
                                   void *context, char *reason)
{
    wvu_status status = WVU_STATUS_OK;
    wvu_mutex_acquire(&source->control);
    struct wvu_programs *programs = source->programs;
    if (programs == NULL)
        status = wvu_programs_load(wvu_cpu_count(), &programs, reason);
    if (status == WVU_STATUS_OK)
        use(context, programs);
    if (source->programs == NULL && status == WVU_STATUS_OK)
        wvu_programs_unload(programs);
    wvu_mutex_release(&source->control);
    return status;
}
