/*
 * The sensor as a whole: what is created, started, stopped and destroyed in which order; and what is asked
 * of it while it runs: the filter, protection, room for commands.
 *
 *   create   wake event, queue, dispatcher, filter, probes (nothing runs)
 *   start    SensorStart (number 1), dispatcher, poller (if a probe is temporal), probes in list order;
 *            then commands are let in
 *   stop     commands out, poller, probes in reverse order, SensorStop, dispatcher (drains, then ends)
 *   destroy  probes, filter, dispatcher, queue, wake event
 *
 * One controlling thread calls these. The poller is a thread of its own; it sleeps until the next
 * temporal probe is due, or until wvu_sensor_reschedule says that this may have changed. Commands come
 * from threads of the host; `commands` is the run-down that keeps them between start and stop, so that
 * none of them starts a probe that was just stopped, and SensorStop is the last event.
 *
 * Locks, in this order: `changing` is held by a command that changes something, from its beginning until
 * its event is committed; `control` while the filter or protection is switched, the host's part of it
 * included; then the probes' own control and whatever the host has. Stop takes none of the two.
 */
#include "sensor.h"

#include <string.h>

#include "atomic.h"
#include "filter_slot.h"
#include "log.h"
#include "report.h"
#include "uuid.h"
#include "words.h"

#define SENSOR_TAG  WVU_TAG('W', 'v', 'S', 'e')
#define REASON_SIZE 256

enum life { LIFE_CREATED, LIFE_RUNNING, LIFE_STOPPING };

struct wvu_sensor {
    struct wvu_sensor_settings settings;
    uint8_t boot_id[16];
    bool used; /* start was called: a sensor lives once, as its boot id and numbers do */
    bool started;
    int64_t started_at;      /* system time of the start; written before commands are let in */
    uint64_t started_uptime; /* the same instant; 0 before */
    wvu_event wake;          /* the dispatcher sleeps on it */
    struct wvu_queue *queue;
    struct wvu_dispatcher *dispatcher;
    struct wvu_reporter reporter;
    wvu_event poll_wake;
    wvu_thread poller;
    uint32_t polling;      /* atomic: the poller's thread was started */
    uint32_t poller_stops; /* atomic */
    uint32_t life;         /* atomic; enum life: why commands are not let in */
    wvu_rundown commands;  /* open while they are let in */
    wvu_mutex changing;
    wvu_mutex control;
    uint32_t is_protected; /* atomic; written under control */
    struct wvu_filter_slots filters;
    uint32_t probe_count;
    struct wvu_probe *probes;
    struct wvu_sensor_counters counters; /* relaxed */
};

void wvu_sensor_count_filtered(struct wvu_sensor *sensor, uint16_t type)
{
    wvu_add64_relaxed(&sensor->counters.filtered[wvu_event_index(type)], 1);
}

void wvu_sensor_time_call(struct wvu_sensor *sensor, uint64_t ns)
{
    uint32_t bucket = 0;
    while (bucket < 31 && ns >> (bucket + 1) != 0)
        bucket++;
    wvu_add64_relaxed(&sensor->counters.calls[bucket], 1);
}

void wvu_sensor_count_command(struct wvu_sensor *sensor, bool failed)
{
    wvu_add64_relaxed(&sensor->counters.commands, 1);
    if (failed)
        wvu_add64_relaxed(&sensor->counters.commands_failed, 1);
}

void wvu_sensor_read_counters(struct wvu_sensor *sensor, struct wvu_sensor_counters *counters)
{
    struct wvu_sensor_counters *own = &sensor->counters;
    for (uint32_t i = 0; i < WVU_EVENT_KINDS; i++)
        counters->filtered[i] = wvu_load64_relaxed(&own->filtered[i]);
    for (uint32_t i = 0; i < 32; i++)
        counters->calls[i] = wvu_load64_relaxed(&own->calls[i]);
    counters->commands = wvu_load64_relaxed(&own->commands);
    counters->commands_failed = wvu_load64_relaxed(&own->commands_failed);
    counters->mitigations = wvu_load64_relaxed(&own->mitigations);
}

const struct wvu_sensor_settings *wvu_sensor_settings_of(const struct wvu_sensor *sensor)
{
    return &sensor->settings;
}

const uint8_t *wvu_sensor_id(const struct wvu_sensor *sensor)
{
    return sensor->reporter.id;
}

int64_t wvu_sensor_started(const struct wvu_sensor *sensor)
{
    return sensor->started_at;
}

uint64_t wvu_sensor_uptime(const struct wvu_sensor *sensor)
{
    return sensor->started_uptime != 0 ? wvu_os_uptime() - sensor->started_uptime : 0;
}

struct wvu_dispatcher *wvu_sensor_dispatcher(struct wvu_sensor *sensor)
{
    return sensor->dispatcher;
}

struct wvu_queue *wvu_sensor_queue(struct wvu_sensor *sensor)
{
    return sensor->queue;
}

const uint8_t *wvu_sensor_boot_id(const struct wvu_sensor *sensor)
{
    return sensor->boot_id;
}

struct wvu_probe *wvu_sensor_probe_at(struct wvu_sensor *sensor, uint32_t index)
{
    return index < sensor->probe_count ? &sensor->probes[index] : NULL;
}

struct wvu_probe *wvu_sensor_find_probe(struct wvu_sensor *sensor, const char *name)
{
    for (uint32_t i = 0; i < sensor->probe_count; i++) {
        if (wvu_probe_is_named(sensor->probes[i].definition, name))
            return &sensor->probes[i];
    }
    return NULL;
}

/* ---- the sensor's own events ---------------------------------------------------------------- */

void wvu_sensor_report_probe(struct wvu_sensor *sensor, const struct wvu_probe *probe,
                             uint32_t condition, wvu_status status, const char *reason)
{
    wvu_report_probe(&sensor->reporter, probe, condition, status, reason);
}

void wvu_sensor_report_command(struct wvu_sensor *sensor, const struct wvu_requester *requester,
                               const struct wvu_command_report *report)
{
    wvu_report_command(&sensor->reporter, requester, report);
}

void wvu_sensor_report_mitigation(struct wvu_sensor *sensor, const struct wvu_probe *probe,
                                  const struct wvu_mitigation_report *report)
{
    if (report->outcome == WVU_OUTCOME_PREVENTED || report->outcome == WVU_OUTCOME_ENDED)
        wvu_add64_relaxed(&sensor->counters.mitigations, 1);
    wvu_report_mitigation(&sensor->reporter, probe, report);
}

/* ---- commands: their room between start and stop -------------------------------------------- */

static void say(char *reason, const char *text)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, reason, REASON_SIZE);
    wvu_build_text(&builder, text);
}

wvu_status wvu_sensor_begin_command(struct wvu_sensor *sensor, bool changes, char *reason)
{
    if (!wvu_rundown_acquire(&sensor->commands)) {
        bool starts = wvu_load_acquire(&sensor->life) == LIFE_CREATED;
        say(reason, starts ? "the sensor is still starting; try again" : "the sensor is stopping");
        return starts ? WVU_STATUS_AGAIN : WVU_STATUS_STOPPING;
    }
    if (changes)
        wvu_mutex_acquire(&sensor->changing);
    return WVU_STATUS_OK;
}

void wvu_sensor_end_command(struct wvu_sensor *sensor, bool changes)
{
    if (changes)
        wvu_mutex_release(&sensor->changing);
    wvu_rundown_release(&sensor->commands);
}

static void let_commands_in(struct wvu_sensor *sensor)
{
    wvu_store_release(&sensor->life, LIFE_RUNNING);
    wvu_rundown_reopen(&sensor->commands);
}

static void keep_commands_out(struct wvu_sensor *sensor)
{
    wvu_store_release(&sensor->life, LIFE_STOPPING);
    wvu_rundown_wait(&sensor->commands);
}

/* ---- the filter ----------------------------------------------------------------------------- */

/* What a host without operations has: nothing of each. */
static const struct wvu_sensor_host no_operations;

static const struct wvu_sensor_host *operations_of(const struct wvu_sensor *sensor)
{
    return sensor->settings.operations != NULL ? sensor->settings.operations : &no_operations;
}

static wvu_status make_filter(const struct wvu_sensor *sensor, const char *text, size_t length,
                              struct wvu_filter **filter, char *reason)
{
    return wvu_filter_create(text, length, &operations_of(sensor)->filter, filter, reason);
}

wvu_status wvu_sensor_set_filter(struct wvu_sensor *sensor, const char *text, size_t length,
                                 char *reason)
{
    struct wvu_filter *filter;
    const struct wvu_sensor_host *operations = operations_of(sensor);
    reason[0] = '\0';
    wvu_status status = make_filter(sensor, text, length, &filter, reason);
    if (status != WVU_STATUS_OK)
        return status;
    wvu_mutex_acquire(&sensor->control);
    wvu_filter_slots_replace(&sensor->filters, filter);
    if (operations->filter_changed != NULL)
        operations->filter_changed(sensor->settings.host);
    wvu_mutex_release(&sensor->control);
    return WVU_STATUS_OK;
}

void wvu_sensor_judge(struct wvu_sensor *sensor, const struct wvu_subject *subject,
                      struct wvu_verdict *verdict)
{
    struct wvu_filter_slot *slot = wvu_filter_slots_enter(&sensor->filters);
    wvu_filter_judge(slot->filter, subject, verdict);
    wvu_filter_slots_leave(slot);
}

void wvu_sensor_with_filter(struct wvu_sensor *sensor,
                            void (*use)(void *context, const struct wvu_filter *filter),
                            void *context)
{
    struct wvu_filter_slot *slot = wvu_filter_slots_enter(&sensor->filters);
    use(context, slot->filter);
    wvu_filter_slots_leave(slot);
}

/* The filter that is in force from the start. */
static wvu_status create_filter(struct wvu_sensor *sensor)
{
    const char *text = sensor->settings.filter != NULL ? sensor->settings.filter : "";
    struct wvu_filter *filter;
    char reason[REASON_SIZE] = "";
    wvu_status status = make_filter(sensor, text, strlen(text), &filter, reason);
    if (status != WVU_STATUS_OK) {
        wvu_log_error(WVU_LOG_SENSOR, "the filter cannot be used: %s (0x%08x): %s",
                      wvu_strerror(status), (unsigned)status, reason);
        return status;
    }
    status = wvu_filter_slots_init(&sensor->filters, filter);
    if (status != WVU_STATUS_OK)
        wvu_filter_destroy(filter);
    return status;
}

/* ---- protection and mitigation -------------------------------------------------------------- */

bool wvu_sensor_is_protected(const struct wvu_sensor *sensor)
{
    return wvu_load_acquire(&sensor->is_protected) != 0;
}

wvu_status wvu_sensor_protect(struct wvu_sensor *sensor, bool on, char *reason)
{
    const struct wvu_sensor_host *operations = operations_of(sensor);
    wvu_status status = WVU_STATUS_OK;
    reason[0] = '\0';
    wvu_mutex_acquire(&sensor->control);
    if (wvu_sensor_is_protected(sensor) == on)
        goto release;
    if (operations->protect != NULL)
        status = operations->protect(sensor->settings.host, on, reason);
    if (status == WVU_STATUS_OK)
        wvu_store_release(&sensor->is_protected, on ? 1 : 0);
release:
    wvu_mutex_release(&sensor->control);
    return status;
}

void wvu_sensor_report_refused_stop(struct wvu_sensor *sensor,
                                    const struct wvu_requester *requester, const char *attempt)
{
    wvu_log_warning(WVU_LOG_SENSOR, "refused to stop: the sensor is protected (%s, process %u)",
                    attempt, (unsigned)(requester != NULL ? requester->process_id : 0));
    wvu_report_refused_stop(&sensor->reporter, requester, attempt);
}

bool wvu_sensor_must_live(struct wvu_sensor *sensor, uint32_t process_id, char *reason)
{
    reason[0] = '\0';
    if (process_id == 0)
        return false;
    if (process_id == operations_of(sensor)->process_id) {
        say(reason, "it is the sensor itself");
        return true;
    }
    if (process_id == wvu_dispatcher_reader(sensor->dispatcher)) {
        say(reason, "it reads the sensor's events");
        return true;
    }
    return false;
}

/* ---- the poller ----------------------------------------------------------------------------- */

static void poll_probes(void *context)
{
    struct wvu_sensor *sensor = context;
    while (wvu_load_acquire(&sensor->poller_stops) == 0) {
        uint64_t now = wvu_os_uptime();
        uint64_t next = WVU_TIMEOUT_NONE;
        for (uint32_t i = 0; i < sensor->probe_count; i++) {
            uint64_t due = wvu_probe_poll(&sensor->probes[i], now);
            next = due < next ? due : next;
        }
        now = wvu_os_uptime();
        if (next != WVU_TIMEOUT_NONE)
            next = next > now ? next - now : 0;
        (void)wvu_event_wait(&sensor->poll_wake, next);
    }
}

void wvu_sensor_reschedule(struct wvu_sensor *sensor)
{
    if (wvu_load_acquire(&sensor->polling) != 0)
        wvu_event_set(&sensor->poll_wake);
}

static bool any_temporal(const struct wvu_sensor *sensor)
{
    for (uint32_t i = 0; i < sensor->probe_count; i++) {
        if ((sensor->probes[i].definition->attributes & WVU_PROBE_TEMPORAL) != 0)
            return true;
    }
    return false;
}

static wvu_status start_poller(struct wvu_sensor *sensor)
{
    if (!any_temporal(sensor))
        return WVU_STATUS_OK;
    wvu_store_release(&sensor->poller_stops, 0);
    wvu_status status = wvu_thread_start(&sensor->poller, "wvu-poller", poll_probes, sensor);
    wvu_store_release(&sensor->polling, status == WVU_STATUS_OK ? 1 : 0);
    return status;
}

static void stop_poller(struct wvu_sensor *sensor)
{
    if (wvu_load_acquire(&sensor->polling) == 0)
        return;
    wvu_store_release(&sensor->poller_stops, 1);
    wvu_event_set(&sensor->poll_wake);
    wvu_thread_join(&sensor->poller);
    wvu_store_release(&sensor->polling, 0);
}

/* ---- probes --------------------------------------------------------------------------------- */

static void destroy_probes(struct wvu_sensor *sensor)
{
    while (sensor->probe_count != 0)
        wvu_probe_destroy(&sensor->probes[--sensor->probe_count]);
    wvu_os_free(sensor->probes, SENSOR_TAG);
}

static wvu_status create_probes(struct wvu_sensor *sensor)
{
    const struct wvu_probe_definition *const *list = sensor->settings.probes;
    uint32_t count = 0;
    while (list[count] != NULL)
        count++;
    if (count == 0)
        return WVU_STATUS_OK;
    sensor->probes = wvu_os_alloc(count * sizeof *sensor->probes, SENSOR_TAG);
    if (sensor->probes == NULL)
        return WVU_STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        wvu_status status = wvu_probe_init(&sensor->probes[i], list[i], sensor,
                                           sensor->settings.host, sensor->settings.host_id);
        if (status != WVU_STATUS_OK) {
            destroy_probes(sensor);
            return status;
        }
        sensor->probe_count++;
    }
    return WVU_STATUS_OK;
}

/* A probe that fails has told the stream and the log why; the others go on. */
static void start_probes(struct wvu_sensor *sensor)
{
    char reason[REASON_SIZE];
    for (uint32_t i = 0; i < sensor->probe_count; i++) {
        if ((sensor->probes[i].definition->attributes & WVU_PROBE_ENABLED_AT_START) != 0)
            (void)wvu_probe_start(&sensor->probes[i], reason);
    }
}

static void stop_probes(struct wvu_sensor *sensor, const char *why)
{
    for (uint32_t i = sensor->probe_count; i != 0; i--)
        wvu_probe_stop(&sensor->probes[i - 1], why);
}

/* ---- life ----------------------------------------------------------------------------------- */

static wvu_status make_identity(struct wvu_sensor *sensor)
{
    wvu_status status = wvu_os_random(sensor->boot_id, sizeof sensor->boot_id);
    if (status != WVU_STATUS_OK)
        return status;
    wvu_uuid_from_random(sensor->boot_id);
    wvu_uuid_from_name(sensor->settings.host_id, "Sensor", sensor->reporter.id);
    return WVU_STATUS_OK;
}

static wvu_status create_dispatcher(struct wvu_sensor *sensor)
{
    const struct wvu_dispatcher_settings settings = {
        .queue = sensor->queue,
        .port = sensor->settings.port,
        .wake = &sensor->wake,
        .boot_id = sensor->boot_id,
        .sensor_id = sensor->reporter.id,
        .send_timeout_ms = sensor->settings.send_timeout_ms,
        .drain_ms = sensor->settings.drain_ms,
    };
    return wvu_dispatcher_create(&settings, &sensor->dispatcher);
}

/* The events, locks and the run-down. Undone by destroy_objects. */
static wvu_status create_objects(struct wvu_sensor *sensor)
{
    wvu_status status = wvu_event_init(&sensor->wake);
    if (status != WVU_STATUS_OK)
        return status;
    status = wvu_event_init(&sensor->poll_wake);
    if (status != WVU_STATUS_OK)
        goto destroy_wake;
    status = wvu_mutex_init(&sensor->changing);
    if (status != WVU_STATUS_OK)
        goto destroy_poll_wake;
    status = wvu_mutex_init(&sensor->control);
    if (status != WVU_STATUS_OK)
        goto destroy_changing;
    status = wvu_rundown_init(&sensor->commands);
    if (status != WVU_STATUS_OK)
        goto destroy_control;
    wvu_rundown_wait(&sensor->commands); /* closed until the sensor has started */
    return WVU_STATUS_OK;

destroy_control:
    wvu_mutex_destroy(&sensor->control);
destroy_changing:
    wvu_mutex_destroy(&sensor->changing);
destroy_poll_wake:
    wvu_event_destroy(&sensor->poll_wake);
destroy_wake:
    wvu_event_destroy(&sensor->wake);
    return status;
}

static void destroy_objects(struct wvu_sensor *sensor)
{
    wvu_rundown_destroy(&sensor->commands);
    wvu_mutex_destroy(&sensor->control);
    wvu_mutex_destroy(&sensor->changing);
    wvu_event_destroy(&sensor->poll_wake);
    wvu_event_destroy(&sensor->wake);
}

wvu_status wvu_sensor_create(const struct wvu_sensor_settings *settings, struct wvu_sensor **out)
{
    *out = NULL;
    struct wvu_sensor *sensor = wvu_os_alloc(sizeof *sensor, SENSOR_TAG);
    if (sensor == NULL)
        return WVU_STATUS_NO_MEMORY;
    sensor->settings = *settings;

    wvu_status status = make_identity(sensor);
    if (status != WVU_STATUS_OK)
        goto free_sensor;
    status = create_objects(sensor);
    if (status != WVU_STATUS_OK)
        goto free_sensor;
    status = wvu_queue_create(settings->queue_records, settings->queue_bytes, &sensor->wake,
                              &sensor->queue);
    if (status != WVU_STATUS_OK)
        goto destroy_objects;
    sensor->reporter.queue = sensor->queue;
    status = create_dispatcher(sensor);
    if (status != WVU_STATUS_OK)
        goto destroy_queue;
    status = create_filter(sensor);
    if (status != WVU_STATUS_OK)
        goto destroy_dispatcher;
    status = create_probes(sensor);
    if (status != WVU_STATUS_OK)
        goto destroy_filter;
    *out = sensor;
    return WVU_STATUS_OK;

destroy_filter:
    wvu_filter_slots_destroy(&sensor->filters);
destroy_dispatcher:
    wvu_dispatcher_destroy(sensor->dispatcher);
destroy_queue:
    wvu_queue_destroy(sensor->queue);
destroy_objects:
    destroy_objects(sensor);
free_sensor:
    wvu_os_free(sensor, SENSOR_TAG);
    return status;
}

wvu_status wvu_sensor_start(struct wvu_sensor *sensor)
{
    if (sensor->used)
        return WVU_STATUS_INVALID_STATE;
    sensor->used = true;
    sensor->started_at = wvu_os_system_time();
    sensor->started_uptime = wvu_os_uptime();
    wvu_report_start(&sensor->reporter, &sensor->settings);
    wvu_status status = wvu_dispatcher_start(sensor->dispatcher);
    if (status != WVU_STATUS_OK)
        goto give_up;
    status = start_poller(sensor);
    if (status != WVU_STATUS_OK)
        goto stop_dispatcher;
    sensor->started = true;
    start_probes(sensor);
    let_commands_in(sensor);
    return WVU_STATUS_OK;

stop_dispatcher:
    wvu_dispatcher_stop(sensor->dispatcher);
give_up:
    wvu_store_release(&sensor->life, LIFE_STOPPING);
    return status;
}

void wvu_sensor_stop(struct wvu_sensor *sensor, const char *reason)
{
    if (!sensor->started)
        return;
    keep_commands_out(sensor);
    stop_poller(sensor);
    stop_probes(sensor, "the sensor stops");
    wvu_dispatcher_tell_losses(sensor->dispatcher);
    wvu_report_stop(&sensor->reporter, reason);
    wvu_dispatcher_stop(sensor->dispatcher);
    sensor->started = false;
}

void wvu_sensor_destroy(struct wvu_sensor *sensor)
{
    if (sensor == NULL)
        return;
    destroy_probes(sensor);
    wvu_filter_slots_destroy(&sensor->filters);
    wvu_dispatcher_destroy(sensor->dispatcher);
    wvu_queue_destroy(sensor->queue);
    destroy_objects(sensor);
    wvu_os_free(sensor, SENSOR_TAG);
}
