/*
 * What all probes share: identity, state, counters, run-down, and the way of an event into the
 * queue.
 *
 * Two sides. The event side (enter, wants, reserve, commit, wake, leave) runs in kernel callbacks: it
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
#include "words.h"

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

bool wvu_probe_kind_is_on(const struct wvu_probe *probe, uint16_t type)
{
    return (wvu_load_relaxed(&probe->kinds) & 1u << wvu_event_index(type)) != 0;
}

bool wvu_probe_wants(struct wvu_probe *probe, uint16_t type, uint32_t wanted)
{
    if ((wvu_load_relaxed(&probe->kinds) & wanted & 1u << wvu_event_index(type)) != 0)
        return true;
    wvu_add64_relaxed(&probe->filtered, 1);
    wvu_sensor_count_filtered(probe->sensor, type);
    return false;
}

uint32_t wvu_probe_setting(const struct wvu_probe *probe, uint32_t index)
{
    return wvu_load_relaxed(&probe->values[index]);
}

uint64_t wvu_probe_time_begin(struct wvu_probe *probe)
{
    /* Which call is timed need not be exact, so counters that are there anyway will do: those of what was
     * reported and of what was not wanted, or a probe whose events are all off would time each call. */
    if ((wvu_load64_relaxed(&probe->operations) + wvu_load64_relaxed(&probe->filtered)) %
            WVU_PROBE_TIME_SAMPLE !=
        0)
        return 0;
    return wvu_os_uptime();
}

void wvu_probe_time_end(struct wvu_probe *probe, uint64_t begun)
{
    if (begun != 0)
        wvu_sensor_time_call(probe->sensor, wvu_os_uptime() - begun);
}

void wvu_probe_count_loss(struct wvu_probe *probe, uint16_t cause, uint16_t type, uint64_t count)
{
    wvu_queue_count_loss(wvu_sensor_queue(probe->sensor), cause, type, count);
}

/* ---- names ------------------------------------------------------------------------------------- */

bool wvu_probe_is_named(const struct wvu_probe_definition *definition, const char *name)
{
    const struct wvu_word word = {name, strlen(name)};
    return wvu_word_is(&word, definition->name);
}

static void say(char *reason, const char *text)
{
    size_t length = strlen(text);
    if (length > REASON_SIZE - 1)
        length = REASON_SIZE - 1;
    memcpy(reason, text, length);
    reason[length] = '\0';
}

/* ---- state ---------------------------------------------------------------------------------- */

/* Control held. Tells the stream and the log. */
static void change_state(struct wvu_probe *probe, uint32_t condition, wvu_status status,
                         const char *reason)
{
    wvu_store_relaxed(&probe->condition, condition);
    probe->status = status;
    say(probe->reason, condition == WVU_PROBE_FAILED ? reason : "");
    wvu_sensor_report_probe(probe->sensor, probe, condition, status, reason);
    if (condition == WVU_PROBE_FAILED)
        wvu_log_error(WVU_LOG_PROBE, "probe %s cannot run: %s (0x%08x): %s",
                      probe->definition->name, wvu_strerror(status), (unsigned)status, reason);
    else
        wvu_log_info(WVU_LOG_PROBE, "probe %s %s%s%s", probe->definition->name,
                     condition == WVU_PROBE_RUNNING ? "started" : "stopped",
                     reason[0] != '\0' ? ": " : "", reason);
}

static uint32_t mask_of(const uint16_t *types)
{
    uint32_t mask = 0;
    for (; types != NULL && *types != 0; types++)
        mask |= 1u << wvu_event_index(*types);
    return mask;
}

static void set_usual(struct wvu_probe *probe)
{
    const struct wvu_probe_definition *definition = probe->definition;
    probe->kinds = mask_of(definition->events) & ~mask_of(definition->quiet);
    for (uint32_t i = 0; definition->settings != NULL && definition->settings[i].name != NULL; i++)
        probe->values[i] = definition->settings[i].usual;
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
    set_usual(probe);
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
        .filtered = wvu_load64_relaxed(&probe->filtered),
        .interval_ns = probe->interval_ns,
        .last_run = last_event > probe->last_run ? last_event : probe->last_run,
    };
    say(state->reason, probe->reason);
    if (probe->definition->state != NULL)
        probe->definition->state(probe, state);
    wvu_mutex_release(&probe->control);
}

/* ---- settings ------------------------------------------------------------------------------- */

/* What a text asks for, before any of it counts. */
struct wish {
    uint32_t kinds;
    uint32_t values[WVU_PROBE_SETTINGS_MAX];
    uint64_t interval_ns;
    uint32_t given_kinds; /* what was set in this text, to notice what is set twice */
    uint32_t given_values;
    bool given_interval;
};

static const struct wvu_setting interval_setting = {"repeat-interval", WVU_PROBE_INTERVAL_LEAST,
                                                    WVU_PROBE_INTERVAL_MOST, 0};

/* The name of an event type, for switches. */
static const char *event_name(uint16_t type)
{
    switch (type) {
#define WVU_EVENT(number, name, structure, description)                                            \
    case (number):                                                                                 \
        return #name;
#include "winvirtue/events.def"
    default:
        return "";
    }
}

static wvu_status refuse(char *reason, const struct wvu_word *key, const char *why)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, reason, REASON_SIZE);
    wvu_build_text(&builder, "'");
    wvu_build_word(&builder, key);
    wvu_build_text(&builder, "' ");
    wvu_build_text(&builder, why);
    return WVU_STATUS_INVALID_PARAMETER;
}

static wvu_status refuse_value(char *reason, const struct wvu_word *key,
                               const struct wvu_setting *setting)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, reason, REASON_SIZE);
    wvu_build_text(&builder, "'");
    wvu_build_word(&builder, key);
    wvu_build_text(&builder, setting->most == 1 ? "' must be on or off" : "' must be ");
    if (setting->most != 1) {
        wvu_build_number(&builder, setting->least);
        wvu_build_text(&builder, " to ");
        wvu_build_number(&builder, setting->most);
    }
    return WVU_STATUS_INVALID_PARAMETER;
}

static bool read_value(const struct wvu_word *value, const struct wvu_setting *setting,
                       uint32_t *number)
{
    uint64_t wide;
    if (setting->most == 1 && (wvu_word_is(value, "on") || wvu_word_is(value, "off"))) {
        *number = wvu_word_is(value, "on") ? 1 : 0;
        return true;
    }
    if (!wvu_word_number(value, &wide) || wide < setting->least || wide > setting->most)
        return false;
    *number = (uint32_t)wide;
    return true;
}

static bool is_temporal(const struct wvu_probe *probe)
{
    return (probe->definition->attributes & WVU_PROBE_TEMPORAL) != 0;
}

/* Which kinds, setting or interval a key names; *twice: it was set before in this text. */
enum key_kind { KEY_UNKNOWN, KEY_EVENT, KEY_SETTING, KEY_INTERVAL };

static enum key_kind find_key(const struct wvu_probe *probe, const struct wvu_word *key,
                              uint32_t *index)
{
    const struct wvu_probe_definition *definition = probe->definition;
    for (uint32_t i = 0; definition->events != NULL && definition->events[i] != 0; i++) {
        *index = wvu_event_index(definition->events[i]);
        if (wvu_word_is(key, event_name(definition->events[i])))
            return KEY_EVENT;
    }
    for (*index = 0; definition->settings != NULL && definition->settings[*index].name != NULL;
         (*index)++) {
        if (wvu_word_is(key, definition->settings[*index].name))
            return KEY_SETTING;
    }
    if (is_temporal(probe) && wvu_word_is(key, interval_setting.name))
        return KEY_INTERVAL;
    return KEY_UNKNOWN;
}

static wvu_status read_setting(const struct wvu_probe *probe, const struct wvu_word *word,
                               struct wish *wish, char *reason)
{
    static const struct wvu_setting switch_setting = {"", 0, 1, 1};
    struct wvu_word key, value;
    uint32_t index, number;
    if (!wvu_word_split(word, '=', &key, &value))
        return refuse(reason, word, "is not of the form key=value");
    enum key_kind kind = find_key(probe, &key, &index);
    if (kind == KEY_UNKNOWN)
        return refuse(reason, &key, "is not a setting of this probe");
    const struct wvu_setting *setting = kind == KEY_EVENT     ? &switch_setting
                                        : kind == KEY_SETTING ? &probe->definition->settings[index]
                                                              : &interval_setting;
    if (!read_value(&value, setting, &number))
        return refuse_value(reason, &key, setting);

    uint32_t bit = 1u << index;
    bool twice = kind == KEY_EVENT     ? (wish->given_kinds & bit) != 0
                 : kind == KEY_SETTING ? (wish->given_values & bit) != 0
                                       : wish->given_interval;
    if (twice)
        return refuse(reason, &key, "is given twice");
    if (kind == KEY_EVENT) {
        wish->given_kinds |= bit;
        wish->kinds = number != 0 ? wish->kinds | bit : wish->kinds & ~bit;
    } else if (kind == KEY_SETTING) {
        wish->given_values |= bit;
        wish->values[index] = number;
    } else {
        wish->given_interval = true;
        wish->interval_ns = number * UINT64_C(1000000000);
    }
    return WVU_STATUS_OK;
}

/* Control held. */
static wvu_status read_wish(struct wvu_probe *probe, const char *text, size_t length,
                            struct wish *wish, char *reason)
{
    struct wvu_word rest = {text, length}, word;
    reason[0] = '\0';
    memset(wish, 0, sizeof *wish);
    wish->kinds = probe->kinds;
    memcpy(wish->values, probe->values, sizeof wish->values);
    wish->interval_ns = probe->interval_ns;
    wvu_status status = WVU_STATUS_OK;
    while (status == WVU_STATUS_OK && wvu_word_next(&rest, &word))
        status = read_setting(probe, &word, wish, reason);
    if (status == WVU_STATUS_OK && wish->given_kinds == 0 && wish->given_values == 0 &&
        !wish->given_interval) {
        say(reason, "nothing is set: give key=value");
        status = WVU_STATUS_INVALID_PARAMETER;
    }
    return status;
}

wvu_status wvu_probe_check(struct wvu_probe *probe, const char *text, size_t length, char *reason)
{
    struct wish wish;
    wvu_mutex_acquire(&probe->control);
    wvu_status status = read_wish(probe, text, length, &wish, reason);
    wvu_mutex_release(&probe->control);
    return status;
}

wvu_status wvu_probe_configure(struct wvu_probe *probe, const char *text, size_t length,
                               char *reason)
{
    struct wish wish;
    wvu_mutex_acquire(&probe->control);
    wvu_status status = read_wish(probe, text, length, &wish, reason);
    if (status == WVU_STATUS_OK) {
        wvu_store_relaxed(&probe->kinds, wish.kinds);
        for (uint32_t i = 0; i < WVU_PROBE_SETTINGS_MAX; i++)
            wvu_store_relaxed(&probe->values[i], wish.values[i]);
        if (wish.interval_ns != probe->interval_ns) {
            probe->interval_ns = wish.interval_ns;
            probe->due = wvu_os_uptime() + probe->interval_ns;
        }
        if (probe->condition == WVU_PROBE_RUNNING && probe->definition->configured != NULL)
            probe->definition->configured(probe);
    }
    wvu_mutex_release(&probe->control);
    if (status == WVU_STATUS_OK)
        wvu_sensor_reschedule(probe->sensor); /* the interval may be another now */
    return status;
}

static void describe_value(struct wvu_builder *builder, const char *name, bool is_switch,
                           uint64_t value)
{
    wvu_build_text(builder, builder->length != 0 ? "\n" : "");
    wvu_build_text(builder, name);
    wvu_build_text(builder, "=");
    if (is_switch)
        wvu_build_text(builder, value != 0 ? "on" : "off");
    else
        wvu_build_number(builder, value);
}

size_t wvu_probe_describe(struct wvu_probe *probe, char *text, size_t size)
{
    const struct wvu_probe_definition *definition = probe->definition;
    struct wvu_builder builder;
    wvu_build_begin(&builder, text, size);
    wvu_mutex_acquire(&probe->control);
    if (is_temporal(probe))
        describe_value(&builder, interval_setting.name, false,
                       probe->interval_ns / UINT64_C(1000000000));
    for (uint32_t i = 0; definition->settings != NULL && definition->settings[i].name != NULL; i++)
        describe_value(&builder, definition->settings[i].name, definition->settings[i].most == 1,
                       probe->values[i]);
    for (uint32_t i = 0; definition->events != NULL && definition->events[i] != 0; i++)
        describe_value(&builder, event_name(definition->events[i]), true,
                       wvu_probe_kind_is_on(probe, definition->events[i]));
    wvu_mutex_release(&probe->control);
    return builder.length;
}

/* ---- requests ------------------------------------------------------------------------------- */

wvu_status wvu_probe_mitigate(struct wvu_probe *probe, const struct wvu_mitigation *mitigation,
                              char *reason)
{
    reason[0] = '\0';
    if (probe->definition->mitigate == NULL) {
        say(reason, "this probe cannot act on what it sees");
        return WVU_STATUS_NOT_SUPPORTED;
    }
    wvu_mutex_acquire(&probe->control);
    wvu_status status = probe->definition->mitigate(probe, mitigation, reason);
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
