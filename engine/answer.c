/*
 * Data of responses. Called by command.c, at PASSIVE, several at a time; the only state is the answer itself
 * and what it reads of the sensor, each part of which guards itself.
 *
 * A structure is reserved (zeroed), filled in place, and its texts follow it; every byte up to `used` was
 * written here, padding included. Whatever does not fit makes the whole answer false: none is cut.
 */
#include "answer.h"

#include <string.h>

#include "log.h"
#include "winvirtue/version.h"
#include "words.h"

/* A text that is written where it will stand gets at most this, so that its offset and size have 16 bits. */
#define TEXT_MAX 0x7FFFu

_Static_assert((int)WVU_LOSS_CAUSES <= (int)WVU_STATISTICS_CAUSES, "raise the version of the wire");
_Static_assert(sizeof(struct wvu_statistics) % 8 == 0, "what follows is aligned");
_Static_assert(sizeof(struct wvu_event_statistics) % 8 == 0, "what follows is aligned");

static void *reserve(struct wvu_answer *answer, size_t size)
{
    if (size > answer->room - answer->used)
        return NULL;
    uint8_t *at = answer->out + answer->used;
    memset(at, 0, size);
    answer->used += (uint32_t)size;
    return at;
}

bool wvu_answer_bytes(struct wvu_answer *answer, const void *bytes, size_t size)
{
    void *at = reserve(answer, size);
    if (at != NULL && size != 0)
        memcpy(at, bytes, size);
    return at != NULL;
}

static bool pad(struct wvu_answer *answer)
{
    return reserve(answer, (8 - answer->used % 8) % 8) != NULL;
}

/* ---- texts of a structure that begins at `start` -------------------------------------------- */

static void place(struct wvu_text *text, uint32_t offset, uint32_t size)
{
    *text = (struct wvu_text){.offset = (uint16_t)(size != 0 ? offset : 0),
                              .size = (uint16_t)size,
                              .head = (uint16_t)size,
                              .full_size = size};
}

static bool add_text(struct wvu_answer *answer, uint32_t start, struct wvu_text *text,
                     const char *bytes)
{
    size_t size = bytes != NULL ? strlen(bytes) : 0;
    uint32_t offset = answer->used - start;
    if (size > TEXT_MAX || offset > TEXT_MAX || !wvu_answer_bytes(answer, bytes, size))
        return false;
    place(text, offset, (uint32_t)size);
    return true;
}

/* Where a text can be written that its author writes by itself, and how much there is room for. */
static char *text_room(struct wvu_answer *answer, size_t *size)
{
    *size = answer->room - answer->used;
    if (*size > TEXT_MAX)
        *size = TEXT_MAX;
    return (char *)answer->out + answer->used;
}

/* It wrote `length` of `size` bytes. One that fills all of it may have been cut. */
static bool take_text(struct wvu_answer *answer, uint32_t start, struct wvu_text *text,
                      size_t length, size_t size)
{
    uint32_t offset = answer->used - start;
    if (length >= size || offset > TEXT_MAX)
        return false;
    answer->used += (uint32_t)length;
    place(text, offset, (uint32_t)length);
    return true;
}

/* ---- probes --------------------------------------------------------------------------------- */

static bool add_configuration(struct wvu_answer *answer, uint32_t start, struct wvu_text *text,
                              struct wvu_probe *probe)
{
    size_t size;
    char *room = text_room(answer, &size);
    if (size == 0)
        return false;
    /* One byte less than there is room: length + 1 < size says that nothing was cut. */
    return take_text(answer, start, text, wvu_probe_describe(probe, room, size), size - 1);
}

bool wvu_answer_probe(struct wvu_answer *answer, struct wvu_probe *probe)
{
    const uint32_t start = answer->used;
    struct wvu_probe_entry *entry = reserve(answer, sizeof *entry);
    struct wvu_probe_state state;
    if (entry == NULL)
        return false;
    wvu_probe_read_state(probe, &state);
    entry->fixed_size = sizeof *entry;
    memcpy(entry->probe_id, probe->id, sizeof entry->probe_id);
    entry->attributes = state.attributes;
    entry->condition = state.condition;
    entry->status = state.status;
    entry->operations = state.operations;
    entry->filtered = state.filtered;
    entry->interval_ns = state.interval_ns;
    entry->last_run = state.last_run;
    if (!add_text(answer, start, &entry->name, probe->definition->name) ||
        !add_configuration(answer, start, &entry->configuration, probe) ||
        !add_text(answer, start, &entry->reason, state.reason) || !pad(answer))
        return false;
    entry->size = answer->used - start;
    return true;
}

/* ---- statistics ----------------------------------------------------------------------------- */

static void fill_statistics(struct wvu_statistics *statistics, struct wvu_sensor *sensor,
                            const struct wvu_sensor_counters *own)
{
    struct wvu_queue_counters queue;
    struct wvu_dispatcher_counters dispatcher;
    wvu_queue_read_counters(wvu_sensor_queue(sensor), &queue);
    wvu_dispatcher_read_counters(wvu_sensor_dispatcher(sensor), &dispatcher);
    statistics->uptime_ns = wvu_sensor_uptime(sensor);
    statistics->accepted = queue.accepted;
    statistics->delivered = queue.delivered;
    statistics->lost = queue.lost;
    statistics->queued = queue.queued;
    statistics->in_flight = queue.in_flight;
    statistics->queued_bytes = queue.queued_bytes;
    statistics->high_water = queue.high_water;
    statistics->unnumbered = queue.unnumbered;
    statistics->cut = queue.cut;
    statistics->batches = dispatcher.batches;
    statistics->sends = dispatcher.sends;
    statistics->timeouts = dispatcher.timeouts;
    statistics->bad_replies = dispatcher.bad_replies;
    statistics->connections = dispatcher.connections;
    statistics->redelivered = dispatcher.redelivered;
    statistics->commands = own->commands;
    statistics->commands_failed = own->commands_failed;
    statistics->mitigations = own->mitigations;
    for (uint32_t i = 0; i < WVU_EVENT_KINDS; i++)
        statistics->filtered += own->filtered[i];
    memcpy(statistics->callback_ns, own->calls, sizeof statistics->callback_ns);
}

static bool add_event_statistics(struct wvu_answer *answer, struct wvu_sensor *sensor,
                                 uint32_t index, uint64_t filtered)
{
    struct wvu_event_statistics *entry = reserve(answer, sizeof *entry);
    struct wvu_event_counters counters;
    if (entry == NULL)
        return false;
    wvu_queue_read_event_counters(wvu_sensor_queue(sensor), index, &counters);
    entry->type = wvu_event_type_at(index);
    entry->accepted = counters.accepted;
    entry->delivered = counters.delivered;
    entry->filtered = filtered;
    entry->cut = counters.cut;
    for (uint32_t i = 0; i < WVU_LOSS_CAUSES; i++)
        entry->lost[i] = counters.lost[i];
    return true;
}

static bool add_host_counters(struct wvu_answer *answer, struct wvu_text *text,
                              const struct wvu_sensor_settings *settings)
{
    size_t size;
    char *room = text_room(answer, &size);
    if (settings->operations == NULL || settings->operations->counters == NULL)
        return true;
    return take_text(answer, 0, text, settings->operations->counters(settings->host, room, size),
                     size);
}

bool wvu_answer_statistics(struct wvu_answer *answer, struct wvu_sensor *sensor)
{
    struct wvu_statistics *statistics = reserve(answer, sizeof *statistics);
    struct wvu_sensor_counters own;
    if (statistics == NULL)
        return false;
    wvu_sensor_read_counters(sensor, &own);
    fill_statistics(statistics, sensor, &own);
    statistics->size = sizeof *statistics;
    statistics->event_size = sizeof(struct wvu_event_statistics);
    statistics->event_count = WVU_EVENT_INDICES;
    statistics->callback_sample = WVU_PROBE_TIME_SAMPLE;
    for (uint32_t i = 0; i < WVU_EVENT_INDICES; i++) {
        if (!add_event_statistics(answer, sensor, i, own.filtered[i]))
            return false;
    }
    return add_host_counters(answer, &statistics->host_counters, wvu_sensor_settings_of(sensor));
}

/* ---- the sensor ----------------------------------------------------------------------------- */

static void count_rules(void *context, const struct wvu_filter *filter)
{
    *(uint32_t *)context = wvu_filter_rules(filter);
}

static bool add_log(struct wvu_answer *answer, struct wvu_text *text)
{
    size_t size;
    char *room = text_room(answer, &size);
    return size != 0 && take_text(answer, 0, text, wvu_log_describe(room, size), size - 1);
}

bool wvu_answer_status(struct wvu_answer *answer, struct wvu_sensor *sensor)
{
    const struct wvu_sensor_settings *settings = wvu_sensor_settings_of(sensor);
    struct wvu_sensor_status *status = reserve(answer, sizeof *status);
    if (status == NULL)
        return false;
    status->size = sizeof *status;
    status->host = settings->host_kind;
    memcpy(status->boot_id, wvu_sensor_boot_id(sensor), sizeof status->boot_id);
    memcpy(status->sensor_id, wvu_sensor_id(sensor), sizeof status->sensor_id);
    status->started = wvu_sensor_started(sensor);
    status->uptime_ns = wvu_sensor_uptime(sensor);
    status->protocol_version = WVU_PROTOCOL_VERSION;
    status->process_id = settings->operations != NULL ? settings->operations->process_id : 0;
    status->is_protected = wvu_sensor_is_protected(sensor) ? 1 : 0;
    status->reader_process_id = wvu_dispatcher_reader(wvu_sensor_dispatcher(sensor));
    status->queue_records = settings->queue_records;
    status->queue_bytes = settings->queue_bytes;
    wvu_sensor_with_filter(sensor, count_rules, &status->filter_rules);
    return add_text(answer, 0, &status->host_name, settings->host_name) &&
           add_text(answer, 0, &status->sensor_version, WVU_VERSION) &&
           add_text(answer, 0, &status->system_version, settings->system_version) &&
           add_text(answer, 0, &status->configuration, settings->configuration) &&
           add_log(answer, &status->log);
}

/* ---- the filter ----------------------------------------------------------------------------- */

struct filter_answer {
    struct wvu_answer *answer;
    bool fits;
};

static void copy_filter(void *context, const struct wvu_filter *filter)
{
    struct filter_answer *copy = context;
    size_t length;
    const char *text = wvu_filter_text(filter, &length);
    copy->fits = wvu_answer_bytes(copy->answer, text, length);
}

bool wvu_answer_filter(struct wvu_answer *answer, struct wvu_sensor *sensor)
{
    struct filter_answer copy = {answer, false};
    wvu_sensor_with_filter(sensor, copy_filter, &copy);
    return copy.fits;
}
