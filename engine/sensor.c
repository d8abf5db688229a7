/*
 * The sensor as a whole: what is created, started, stopped and destroyed in which order.
 *
 *   create   wake event, queue, dispatcher, probes (nothing runs)
 *   start    SensorStart (number 1), dispatcher, poller (if a probe is temporal), probes in list
 * order stop     poller, probes in reverse order, SensorStop, dispatcher (drains, then ends)
 *   destroy  probes, dispatcher, queue, wake event
 *
 * One controlling thread calls these. The poller is a thread of its own; it sleeps until the next
 * temporal probe is due, or until wvu_sensor_reschedule says that this may have changed.
 *
 * The sensor reports its own events (SensorStart, SensorStop, ProbeStateChanged) like a probe does:
 * through the queue, numbered, bounded.
 */
#include "sensor.h"

#include <string.h>

#include "atomic.h"
#include "log.h"
#include "uuid.h"
#include "winvirtue/version.h"

#define SENSOR_TAG WVU_TAG('W', 'v', 'S', 'e')

struct wvu_sensor {
    struct wvu_sensor_settings settings;
    uint8_t boot_id[16];
    uint8_t id[16];
    bool used; /* start was called: a sensor lives once, as its boot id and numbers do */
    bool started;
    wvu_event wake; /* the dispatcher sleeps on it */
    struct wvu_queue *queue;
    struct wvu_dispatcher *dispatcher;
    wvu_event poll_wake;
    wvu_thread poller;
    bool polling;          /* the poller's thread was started */
    uint32_t poller_stops; /* atomic */
    uint32_t probe_count;
    struct wvu_probe *probes;
    uint64_t filtered[WVU_EVENT_KINDS]; /* relaxed */
    uint64_t calls[32];                 /* timed calls by the logarithm of their time; relaxed */
};

void wvu_sensor_count_filtered(struct wvu_sensor *sensor, uint16_t type)
{
    wvu_add64_relaxed(&sensor->filtered[wvu_event_index(type)], 1);
}

void wvu_sensor_time_call(struct wvu_sensor *sensor, uint64_t ns)
{
    uint32_t bucket = 0;
    while (bucket < 31 && ns >> (bucket + 1) != 0)
        bucket++;
    wvu_add64_relaxed(&sensor->calls[bucket], 1);
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

static struct wvu_text_source text_source(size_t member, const char *text)
{
    return wvu_text_whole(member, 1, text, text != NULL ? (uint32_t)strlen(text) : 0);
}

/* Reserves and fills what every event has; NULL when there is no room (counted). */
static void *begin_event(struct wvu_sensor *sensor, const struct wvu_record_plan *plan,
                         const struct wvu_text_source *texts, const uint8_t id[16])
{
    struct wvu_record *record;
    if (wvu_queue_reserve(sensor->queue, plan->type, plan->size, &record) != WVU_STATUS_OK)
        return NULL;
    record->time = wvu_os_system_time();
    record->uptime = wvu_os_uptime();
    memcpy(record->sensor_id, id, sizeof record->sensor_id);
    wvu_record_fill_texts(record, plan, texts);
    return record;
}

static void end_event(struct wvu_sensor *sensor, struct wvu_record *record)
{
    wvu_queue_commit(sensor->queue, record);
    wvu_queue_wake(sensor->queue);
}

static void report_start(struct wvu_sensor *sensor)
{
    const struct wvu_sensor_settings *settings = &sensor->settings;
    const struct wvu_text_source texts[] = {
        text_source(offsetof(struct wvu_sensor_start, host_name), settings->host_name),
        text_source(offsetof(struct wvu_sensor_start, sensor_version), WVU_VERSION),
        text_source(offsetof(struct wvu_sensor_start, system_version), settings->system_version),
        text_source(offsetof(struct wvu_sensor_start, configuration), settings->configuration),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_SensorStart, sizeof(struct wvu_sensor_start), texts, 4);
    struct wvu_sensor_start *event = begin_event(sensor, &plan, texts, sensor->id);
    if (event == NULL)
        return;
    event->host = settings->host_kind;
    event->protocol_version = WVU_PROTOCOL_VERSION;
    event->queue_records = settings->queue_records;
    event->queue_bytes = settings->queue_bytes;
    event->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_SensorStart) - 1;
    end_event(sensor, &event->record);
}

static void report_stop(struct wvu_sensor *sensor, const char *reason)
{
    const struct wvu_text_source text =
        text_source(offsetof(struct wvu_sensor_stop, reason), reason);
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_SensorStop, sizeof(struct wvu_sensor_stop), &text, 1);
    struct wvu_sensor_stop *event = begin_event(sensor, &plan, &text, sensor->id);
    if (event == NULL)
        return;
    struct wvu_queue_counters counters;
    wvu_queue_read_counters(sensor->queue, &counters);
    event->accepted = event->record.sequence - 1;
    event->delivered = counters.delivered;
    event->lost = counters.lost;
    event->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_SensorStop) - 1;
    end_event(sensor, &event->record);
}

void wvu_sensor_report_probe(struct wvu_sensor *sensor, const struct wvu_probe *probe,
                             uint32_t condition, wvu_status status, const char *reason)
{
    const struct wvu_text_source texts[] = {
        text_source(offsetof(struct wvu_probe_state_changed, probe_name), probe->definition->name),
        text_source(offsetof(struct wvu_probe_state_changed, reason), reason),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProbeStateChanged, sizeof(struct wvu_probe_state_changed),
                    texts, 2);
    struct wvu_probe_state_changed *event = begin_event(sensor, &plan, texts, probe->id);
    if (event == NULL)
        return;
    event->state = condition;
    event->status = status;
    event->record.present = WVU_PRESENT(wvu_probe_state_changed, ProbeName) |
                            WVU_PRESENT(wvu_probe_state_changed, State);
    if (condition == WVU_PROBE_FAILED)
        event->record.present |= WVU_PRESENT(wvu_probe_state_changed, Status);
    if (reason != NULL && reason[0] != '\0')
        event->record.present |= WVU_PRESENT(wvu_probe_state_changed, Reason);
    end_event(sensor, &event->record);
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
    if (sensor->polling)
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
    sensor->polling = status == WVU_STATUS_OK;
    return status;
}

static void stop_poller(struct wvu_sensor *sensor)
{
    if (!sensor->polling)
        return;
    wvu_store_release(&sensor->poller_stops, 1);
    wvu_event_set(&sensor->poll_wake);
    wvu_thread_join(&sensor->poller);
    sensor->polling = false;
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
    char reason[256];
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
    wvu_uuid_from_name(sensor->settings.host_id, "Sensor", sensor->id);
    return WVU_STATUS_OK;
}

static wvu_status create_dispatcher(struct wvu_sensor *sensor)
{
    const struct wvu_dispatcher_settings settings = {
        .queue = sensor->queue,
        .port = sensor->settings.port,
        .wake = &sensor->wake,
        .boot_id = sensor->boot_id,
        .sensor_id = sensor->id,
        .send_timeout_ms = sensor->settings.send_timeout_ms,
        .drain_ms = sensor->settings.drain_ms,
    };
    return wvu_dispatcher_create(&settings, &sensor->dispatcher);
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
    status = wvu_event_init(&sensor->wake);
    if (status != WVU_STATUS_OK)
        goto free_sensor;
    status = wvu_event_init(&sensor->poll_wake);
    if (status != WVU_STATUS_OK)
        goto destroy_wake;
    status = wvu_queue_create(settings->queue_records, settings->queue_bytes, &sensor->wake,
                              &sensor->queue);
    if (status != WVU_STATUS_OK)
        goto destroy_poll_wake;
    status = create_dispatcher(sensor);
    if (status != WVU_STATUS_OK)
        goto destroy_queue;
    status = create_probes(sensor);
    if (status != WVU_STATUS_OK)
        goto destroy_dispatcher;
    *out = sensor;
    return WVU_STATUS_OK;

destroy_dispatcher:
    wvu_dispatcher_destroy(sensor->dispatcher);
destroy_queue:
    wvu_queue_destroy(sensor->queue);
destroy_poll_wake:
    wvu_event_destroy(&sensor->poll_wake);
destroy_wake:
    wvu_event_destroy(&sensor->wake);
free_sensor:
    wvu_os_free(sensor, SENSOR_TAG);
    return status;
}

wvu_status wvu_sensor_start(struct wvu_sensor *sensor)
{
    if (sensor->used)
        return WVU_STATUS_INVALID_STATE;
    sensor->used = true;
    report_start(sensor);
    wvu_status status = wvu_dispatcher_start(sensor->dispatcher);
    if (status != WVU_STATUS_OK)
        return status;
    status = start_poller(sensor);
    if (status != WVU_STATUS_OK)
        goto stop_dispatcher;
    sensor->started = true;
    start_probes(sensor);
    return WVU_STATUS_OK;

stop_dispatcher:
    wvu_dispatcher_stop(sensor->dispatcher);
    return status;
}

void wvu_sensor_stop(struct wvu_sensor *sensor, const char *reason)
{
    if (!sensor->started)
        return;
    stop_poller(sensor);
    stop_probes(sensor, "the sensor stops");
    wvu_dispatcher_tell_losses(sensor->dispatcher);
    report_stop(sensor, reason);
    wvu_dispatcher_stop(sensor->dispatcher);
    sensor->started = false;
}

void wvu_sensor_destroy(struct wvu_sensor *sensor)
{
    if (sensor == NULL)
        return;
    destroy_probes(sensor);
    wvu_dispatcher_destroy(sensor->dispatcher);
    wvu_queue_destroy(sensor->queue);
    wvu_event_destroy(&sensor->poll_wake);
    wvu_event_destroy(&sensor->wake);
    wvu_os_free(sensor, SENSOR_TAG);
}
