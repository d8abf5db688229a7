/*
 * What all probes share: identity, state, counters, run-down, and the way of an event into the
 * queue.
 *
 * Two sides. The event side (enter, reserve, commit, wake, leave) runs in kernel callbacks: it
 * takes the run-down and the queue's lock, nothing else. The control side (start, stop, configure,
 * poll, mitigate) runs at PASSIVE under the probe's `control` mutex, so a probe's functions never
 * overlap.
 *
 * Order at stop: the probe's own stop unregisters its callbacks, then the run-down waits for those
 * that are still inside. At start the run-down opens first, because events may come before start
 * returns.
 */
#include "probe.h"

#include <string.h>

#include "atomic.h"
#include "log.h"
#include "sensor.h"
#include "uuid.h"

#define REASON_SIZE 256

/* ---- events: any thread ------------------------------------------------------------------------
 */

bool wvu_probe_enter(struct wvu_probe *probe)
{
    return wvu_rundown_acquire(&probe->rundown);
}

void wvu_probe_leave(struct wvu_probe *probe)
{
    wvu_rundown_release(&probe->rundown);
}

void *wvu_probe_reserve(struct wvu_probe *probe, const struct wvu_record_plan *plan,
                        const struct wvu_stamp *stamp)
{
    struct wvu_record *record;
    if (wvu_queue_reserve(wvu_sensor_queue(probe->sensor), plan->type, plan->size, &record) !=
        WVU_STATUS_OK)
        return NULL;
    record->time = stamp != NULL ? stamp->time : wvu_os_system_time();
    record->uptime = stamp != NULL ? stamp->uptime : wvu_os_uptime();
    record->fixed_size = plan->fixed_size;
    memcpy(record->sensor_id, probe->id, sizeof record->sensor_id);
    return record;
}

void wvu_probe_commit(struct wvu_probe *probe, struct wvu_record *record)
{
    wvu_store64_relaxed((uint64_t *)&probe->last_event, (uint64_t)record->time);
    wvu_queue_commit(wvu_sensor_queue(probe->sensor), record);
    wvu_add64_relaxed(&probe->operations, 1);
}

void wvu_probe_wake(struct wvu_probe *probe)
{
    wvu_queue_wake(wvu_sensor_queue(probe->sensor));
}

void wvu_probe_count_loss(struct wvu_probe *probe, uint16_t cause, uint16_t type, uint64_t count)
{
    wvu_queue_count_loss(wvu_sensor_queue(probe->sensor), cause, type, count);
}

/* ---- names ------------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool wvu_probe_is_named(const struct wvu_probe_definition *definition, const char *name)
{
    const char *own = definition->name;
    while (*own != '\0' && lower(*own) == lower(*name)) {
        own++;
        name++;
    }
    return lower(*own) == lower(*name);
}

/* ---- state ---------------------------------------------------------------------------------- */

/* Control held. Tells the stream and the log. */
static void change_state(struct wvu_probe *probe, uint32_t condition, wvu_status status,
                         const char *reason)
{
    wvu_store_relaxed(&probe->condition, condition);
    probe->status = status;
    wvu_sensor_report_probe(probe->sensor, probe, condition, status, reason);
    if (condition == WVU_PROBE_FAILED)
        wvu_log_error(WVU_LOG_PROBE, "probe %s cannot run: %s (0x%08x): %s",
                      probe->definition->name, wvu_strerror(status), (unsigned)status, reason);
    else
        wvu_log_info(WVU_LOG_PROBE, "probe %s %s%s%s", probe->definition->name,
                     condition == WVU_PROBE_RUNNING ? "started" : "stopped",
                     reason[0] != '\0' ? ": " : "", reason);
}

wvu_status wvu_probe_init(struct wvu_probe *probe, const struct wvu_probe_definition *definition,
                          struct wvu_sensor *sensor, void *host, const uint8_t host_id[16])
{
    memset(probe, 0, sizeof *probe);
    wvu_status status = wvu_mutex_init(&probe->control);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_rundown_init(&probe->rundown);
    if (status != WVU_STATUS_OK)
        goto destroy_mutex;
    wvu_rundown_wait(&probe->rundown); /* closed until started */
    probe->definition = definition;
    probe->sensor = sensor;
    probe->host = host;
    probe->interval_ns = definition->interval_ns;
    wvu_uuid_from_name(host_id, definition->name, probe->id);
    return WVU_STATUS_OK;

destroy_mutex:
    wvu_mutex_destroy(&probe->control);
    return status;
}

void wvu_probe_destroy(struct wvu_probe *probe)
{
    wvu_rundown_destroy(&probe->rundown);
    wvu_mutex_destroy(&probe->control);
}

wvu_status wvu_probe_start(struct wvu_probe *probe, char *reason)
{
    wvu_status status = WVU_STATUS_OK;
    reason[0] = '\0';
    wvu_mutex_acquire(&probe->control);
    if (probe->condition == WVU_PROBE_RUNNING)
        goto release;

    wvu_rundown_reopen(&probe->rundown);
    status = probe->definition->start(probe, reason);
    if (status != WVU_STATUS_OK) {
        wvu_rundown_wait(&probe->rundown);
        change_state(probe, WVU_PROBE_FAILED, status, reason);
        goto release;
    }
    probe->due = wvu_os_uptime() + probe->interval_ns;
    change_state(probe, WVU_PROBE_RUNNING, WVU_STATUS_OK, reason);
release:
    wvu_mutex_release(&probe->control);
    if (status == WVU_STATUS_OK)
        wvu_sensor_reschedule(probe->sensor);
    return status;
}

void wvu_probe_stop(struct wvu_probe *probe, const char *why)
{
    wvu_mutex_acquire(&probe->control);
    if (probe->condition == WVU_PROBE_RUNNING) {
        probe->definition->stop(probe);
        wvu_rundown_wait(&probe->rundown);
        change_state(probe, WVU_PROBE_STOPPED, WVU_STATUS_OK, why);
    }
    wvu_mutex_release(&probe->control);
}

void wvu_probe_read_state(struct wvu_probe *probe, struct wvu_probe_state *state)
{
    wvu_mutex_acquire(&probe->control);
    int64_t last_event = (int64_t)wvu_load64_relaxed((uint64_t *)&probe->last_event);
    *state = (struct wvu_probe_state){
        .condition = probe->condition,
        .status = probe->status,
        .attributes = probe->definition->attributes,
        .operations = wvu_load64_relaxed(&probe->operations),
        .interval_ns = probe->interval_ns,
        .last_run = last_event > probe->last_run ? last_event : probe->last_run,
    };
    if (probe->definition->state != NULL)
        probe->definition->state(probe, state);
    wvu_mutex_release(&probe->control);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void say(char *reason, const char *text)
{
    size_t length = strlen(text);
    if (length > REASON_SIZE - 1)
        length = REASON_SIZE - 1;
    memcpy(reason, text, length);
    reason[length] = '\0';
}

wvu_status wvu_probe_configure(struct wvu_probe *probe, const char *text, size_t length,
                               char *reason)
{
    reason[0] = '\0';
    if (probe->definition->configure == NULL) {
        say(reason, "this probe has nothing to configure");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    wvu_mutex_acquire(&probe->control);
    wvu_status status = probe->definition->configure(probe, text, length, reason);
    wvu_mutex_release(&probe->control);
    if (status == WVU_STATUS_OK)
        wvu_sensor_reschedule(probe->sensor); /* the interval may be another now */
    return status;
}

wvu_status wvu_probe_mitigate(struct wvu_probe *probe, uint32_t count, const char *const *words,
                              char *reason)
{
    reason[0] = '\0';
    if (probe->definition->mitigate == NULL) {
        say(reason, "this probe cannot act on what it sees");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    wvu_mutex_acquire(&probe->control);
    wvu_status status = probe->definition->mitigate(probe, count, words, reason);
    wvu_mutex_release(&probe->control);
    return status;
}

uint64_t wvu_probe_poll(struct wvu_probe *probe, uint64_t now)
{
    const struct wvu_probe_definition *definition = probe->definition;
    uint64_t next = WVU_TIMEOUT_NONE;
    if ((definition->attributes & WVU_PROBE_TEMPORAL) == 0)
        return next;

    wvu_mutex_acquire(&probe->control);
    if (probe->condition == WVU_PROBE_RUNNING) {
        if (definition->on_poll != NULL)
            definition->on_poll(probe, now);
        if (definition->run != NULL && now >= probe->due) {
            wvu_status status = definition->run(probe);
            if (status != WVU_STATUS_OK)
                wvu_log_warning(WVU_LOG_POLL, "a run of probe %s failed: %s (0x%08x)",
                                definition->name, wvu_strerror(status), (unsigned)status);
            probe->last_run = wvu_os_system_time();
            wvu_add64_relaxed(&probe->operations, 1);
            /* From now, not from when it was due: a run that takes longer than its interval must
             * not make the next one follow at once. */
            probe->due = wvu_os_uptime() + probe->interval_ns;
        }
        next = probe->due;
    }
    wvu_mutex_release(&probe->control);
    return next;
}
