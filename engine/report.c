/*
 * The sensor's own events: SensorStart, SensorStop, ProbeStateChanged, CommandExecuted, StopRefused, and
 * Mitigation for the probes. Called by sensor.c, in any thread, on Windows up to DISPATCH_LEVEL; no state,
 * no lock but the queue's.
 *
 * Each has a plan of its texts, a record that is reserved for it, and its bits in `present`. Their texts are
 * bytes (UTF-8), also on Windows; only a Mitigation whose image is UTF-16 has all of its texts in UTF-16,
 * because a record has one encoding.
 */
#include "report.h"

#include <string.h>

#include "winvirtue/version.h"
#include "words.h"

/* Detail of a command: enough for any sensible setting, and a filter's beginning. */
#define DETAIL_MAX 1024u

static struct wvu_text_source text_source(size_t member, const char *text)
{
    return wvu_text_whole(member, 1, text, text != NULL ? (uint32_t)strlen(text) : 0);
}

static bool is_there(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Reserves and fills what every event has; NULL when there is no room (counted). */
static void *begin_event(const struct wvu_reporter *reporter, const struct wvu_record_plan *plan,
                         const struct wvu_text_source *texts, const uint8_t id[16])
{
    struct wvu_record *record;
    if (wvu_queue_reserve(reporter->queue, plan->type, plan->size, &record) != WVU_STATUS_OK)
        return NULL;
    record->time = wvu_os_system_time();
    record->uptime = wvu_os_uptime();
    memcpy(record->sensor_id, id, sizeof record->sensor_id);
    wvu_record_fill_texts(record, plan, texts);
    return record;
}

static void end_event(const struct wvu_reporter *reporter, struct wvu_record *record)
{
    wvu_queue_commit(reporter->queue, record);
    wvu_queue_wake(reporter->queue);
}

/* ---- life ----------------------------------------------------------------------------------- */

void wvu_report_start(const struct wvu_reporter *reporter,
                      const struct wvu_sensor_settings *settings)
{
    const struct wvu_text_source texts[] = {
        text_source(offsetof(struct wvu_sensor_start, host_name), settings->host_name),
        text_source(offsetof(struct wvu_sensor_start, sensor_version), WVU_VERSION),
        text_source(offsetof(struct wvu_sensor_start, system_version), settings->system_version),
        text_source(offsetof(struct wvu_sensor_start, configuration), settings->configuration),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_SensorStart, sizeof(struct wvu_sensor_start), texts, 4);
    struct wvu_sensor_start *event = begin_event(reporter, &plan, texts, reporter->id);
    if (event == NULL)
        return;
    event->host = settings->host_kind;
    event->protocol_version = WVU_PROTOCOL_VERSION;
    event->queue_records = settings->queue_records;
    event->queue_bytes = settings->queue_bytes;
    event->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_SensorStart) - 1;
    end_event(reporter, &event->record);
}

void wvu_report_stop(const struct wvu_reporter *reporter, const char *reason)
{
    const struct wvu_text_source text =
        text_source(offsetof(struct wvu_sensor_stop, reason), reason);
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_SensorStop, sizeof(struct wvu_sensor_stop), &text, 1);
    struct wvu_sensor_stop *event = begin_event(reporter, &plan, &text, reporter->id);
    if (event == NULL)
        return;
    struct wvu_queue_counters counters;
    wvu_queue_read_counters(reporter->queue, &counters);
    event->accepted = event->record.sequence - 1;
    event->delivered = counters.delivered;
    event->lost = counters.lost;
    event->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_SensorStop) - 1;
    end_event(reporter, &event->record);
}

void wvu_report_probe(const struct wvu_reporter *reporter, const struct wvu_probe *probe,
                      uint32_t condition, wvu_status status, const char *reason)
{
    const struct wvu_text_source texts[] = {
        text_source(offsetof(struct wvu_probe_state_changed, probe_name), probe->definition->name),
        text_source(offsetof(struct wvu_probe_state_changed, reason), reason),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ProbeStateChanged, sizeof(struct wvu_probe_state_changed),
                    texts, 2);
    struct wvu_probe_state_changed *event = begin_event(reporter, &plan, texts, probe->id);
    if (event == NULL)
        return;
    event->state = condition;
    event->status = status;
    event->record.present = WVU_PRESENT(wvu_probe_state_changed, ProbeName) |
                            WVU_PRESENT(wvu_probe_state_changed, State);
    if (condition == WVU_PROBE_FAILED)
        event->record.present |= WVU_PRESENT(wvu_probe_state_changed, Status);
    if (is_there(reason))
        event->record.present |= WVU_PRESENT(wvu_probe_state_changed, Reason);
    end_event(reporter, &event->record);
}

/* ---- what people ask for -------------------------------------------------------------------- */

static const struct wvu_requester unknown_requester;

static const struct wvu_requester *known(const struct wvu_requester *requester)
{
    return requester != NULL ? requester : &unknown_requester;
}

static void set_process(struct wvu_record *record, const struct wvu_requester *requester)
{
    record->process_id = requester->process_id;
    record->process_key = requester->process_key;
}

/* The beginning of a text that somebody gave; the record says how long it was. */
static struct wvu_text_source beginning(size_t member, const char *text, size_t length)
{
    uint32_t size = length < DETAIL_MAX ? (uint32_t)length : DETAIL_MAX;
    struct wvu_text_source source = wvu_text_whole(member, 1, text, size);
    source.full_size = (uint32_t)length;
    return source;
}

void wvu_report_command(const struct wvu_reporter *reporter, const struct wvu_requester *requester,
                        const struct wvu_command_report *report)
{
    requester = known(requester);
    const struct wvu_text_source texts[] = {
        text_source(offsetof(struct wvu_command_executed, user_sid), requester->user_sid),
        text_source(offsetof(struct wvu_command_executed, image_file_name), requester->image),
        text_source(offsetof(struct wvu_command_executed, target), report->target),
        beginning(offsetof(struct wvu_command_executed, detail), report->detail,
                  report->detail_size),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_CommandExecuted, sizeof(struct wvu_command_executed), texts,
                    4);
    struct wvu_command_executed *event = begin_event(reporter, &plan, texts, reporter->id);
    if (event == NULL)
        return;
    set_process(&event->record, requester);
    event->command = report->command;
    event->status = report->status;
    event->record.present =
        WVU_PRESENT(wvu_command_executed, Command) | WVU_PRESENT(wvu_command_executed, Status);
    if (requester->has_user) {
        event->user_id = requester->user_id;
        event->record.present |= WVU_PRESENT(wvu_command_executed, UserId);
    }
    if (is_there(requester->user_sid))
        event->record.present |= WVU_PRESENT(wvu_command_executed, UserSid);
    if (is_there(requester->image))
        event->record.present |= WVU_PRESENT(wvu_command_executed, ImageFileName);
    if (is_there(report->target))
        event->record.present |= WVU_PRESENT(wvu_command_executed, Target);
    if (report->detail_size != 0)
        event->record.present |= WVU_PRESENT(wvu_command_executed, Detail);
    end_event(reporter, &event->record);
}

void wvu_report_refused_stop(const struct wvu_reporter *reporter,
                             const struct wvu_requester *requester, const char *attempt)
{
    requester = known(requester);
    const struct wvu_text_source texts[] = {
        text_source(offsetof(struct wvu_stop_refused, attempt), attempt),
        text_source(offsetof(struct wvu_stop_refused, image_file_name), requester->image),
    };
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_StopRefused, sizeof(struct wvu_stop_refused), texts, 2);
    struct wvu_stop_refused *event = begin_event(reporter, &plan, texts, reporter->id);
    if (event == NULL)
        return;
    set_process(&event->record, requester);
    if (is_there(attempt))
        event->record.present |= WVU_PRESENT(wvu_stop_refused, Attempt);
    if (requester->has_user) {
        event->user_id = requester->user_id;
        event->record.present |= WVU_PRESENT(wvu_stop_refused, UserId);
    }
    if (is_there(requester->image))
        event->record.present |= WVU_PRESENT(wvu_stop_refused, ImageFileName);
    end_event(reporter, &event->record);
}

/* ---- mitigation ----------------------------------------------------------------------------- */

#define REASON_MAX 256u

static struct wvu_text_source wide_source(size_t member, const char *text, uint16_t *units,
                                          uint32_t capacity)
{
    size_t count = text != NULL ? wvu_utf16_from_utf8(text, strlen(text), units, capacity) : 0;
    return wvu_text_whole(member, 2, units, (uint32_t)(count * sizeof *units));
}

static void report_texts(const struct wvu_reporter *reporter, const struct wvu_probe *probe,
                         const struct wvu_mitigation_report *report,
                         const struct wvu_text_source texts[3])
{
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_Mitigation, sizeof(struct wvu_mitigated), texts, 3);
    struct wvu_mitigated *event =
        begin_event(reporter, &plan, texts, probe != NULL ? probe->id : reporter->id);
    if (event == NULL)
        return;
    event->record.process_id = report->process_id;
    event->record.process_key = report->process_key;
    event->action = report->action;
    event->outcome = report->outcome;
    event->status = report->status;
    event->record.present =
        WVU_PRESENT(wvu_mitigated, Action) | WVU_PRESENT(wvu_mitigated, Outcome);
    if (report->image_unit == 2)
        event->record.flags |= WVU_RECORD_UTF16;
    if (report->status != WVU_STATUS_OK)
        event->record.present |= WVU_PRESENT(wvu_mitigated, Status);
    if (report->rule != NULL)
        event->record.present |= WVU_PRESENT(wvu_mitigated, Rule);
    if (report->requester != NULL) {
        event->requester_process_id = report->requester->process_id;
        event->record.present |= WVU_PRESENT(wvu_mitigated, RequesterProcessId);
    }
    if (report->image_size != 0)
        event->record.present |= WVU_PRESENT(wvu_mitigated, ImageFileName);
    if (is_there(report->reason))
        event->record.present |= WVU_PRESENT(wvu_mitigated, Reason);
    wvu_queue_commit(reporter->queue, &event->record);
}

void wvu_report_mitigation(const struct wvu_reporter *reporter, const struct wvu_probe *probe,
                           const struct wvu_mitigation_report *report)
{
    const uint16_t unit = report->image_unit == 2 ? 2 : 1;
    const size_t rule = offsetof(struct wvu_mitigated, rule);
    const size_t reason = offsetof(struct wvu_mitigated, reason);
    uint16_t wide_rule[WVU_FILTER_NAME_MAX], wide_reason[REASON_MAX];
    struct wvu_text_source texts[3];
    texts[0] = wvu_text_whole(offsetof(struct wvu_mitigated, image_file_name), unit, report->image,
                              report->image_size);
    if (unit == 2) {
        texts[1] = wide_source(rule, report->rule, wide_rule, WVU_FILTER_NAME_MAX);
        texts[2] = wide_source(reason, report->reason, wide_reason, REASON_MAX);
    } else {
        texts[1] = text_source(rule, report->rule);
        texts[2] = text_source(reason, report->reason);
    }
    report_texts(reporter, probe, report, texts);
}
