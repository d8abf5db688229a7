/*
 * Is this a response, and what is in it? wvu_control_check looks at what came from the sensor as a whole,
 * once, before anybody uses it; the views below it (wvu_next_probe, wvu_response_statistics, ...) rely on
 * what it found:
 *
 *   - version, command and sizes are those that the request asks for; the data is all that is there;
 *   - where a command's response is made of structures, they and the texts in them lie inside the data,
 *     aligned as their numbers need it. A text lies behind the fixed part of its structure.
 *
 * Statuses are passed on whatever they are, as long as they are none that says success in another way.
 * Structures may be longer than they are known here: later sensors append members. Texts may hold anything.
 * All arithmetic is done in size_t or 64 bits on numbers that were compared with the size before. Any
 * thread; no state.
 */
#include "control_check.h"

#include <stdbool.h>

#include "winvirtue/winvirtue.h"

static const char *data_of(const struct wvu_response *response)
{
    return (const char *)response + response->size;
}

/* `begin`, `end`: where texts may lie in the structure that the text is of. */
static bool text_is_sound(const struct wvu_text *text, size_t begin, size_t end)
{
    if (text->head > text->size || text->full_size < text->size)
        return false;
    if (text->size == 0)
        return text->offset <= end;
    return text->offset >= begin && (size_t)text->offset + text->size <= end;
}

static bool probe_is_sound(const struct wvu_probe_entry *entry, size_t room)
{
    if (room < sizeof *entry || entry->size < sizeof *entry || entry->size > room ||
        entry->size % 8 != 0)
        return false;
    if (entry->fixed_size < sizeof *entry || entry->fixed_size > entry->size)
        return false;
    return text_is_sound(&entry->name, entry->fixed_size, entry->size) &&
           text_is_sound(&entry->configuration, entry->fixed_size, entry->size) &&
           text_is_sound(&entry->reason, entry->fixed_size, entry->size);
}

static bool probes_are_sound(const char *data, size_t size)
{
    while (size != 0) {
        const struct wvu_probe_entry *entry = (const void *)data;
        if (!probe_is_sound(entry, size))
            return false;
        data += entry->size;
        size -= entry->size;
    }
    return true;
}

static bool statistics_are_sound(const struct wvu_statistics *statistics, size_t size)
{
    if (size < sizeof *statistics || statistics->size < sizeof *statistics ||
        statistics->size > size || statistics->size % 8 != 0)
        return false;
    if (statistics->event_size < sizeof(struct wvu_event_statistics) ||
        statistics->event_size % 8 != 0)
        return false;
    uint64_t events = (uint64_t)statistics->event_size * statistics->event_count;
    if (events > size - statistics->size)
        return false;
    return text_is_sound(&statistics->host_counters, statistics->size + (size_t)events, size);
}

static bool status_is_sound(const struct wvu_sensor_status *status, size_t size)
{
    if (size < sizeof *status || status->size < sizeof *status || status->size > size)
        return false;
    return text_is_sound(&status->host_name, status->size, size) &&
           text_is_sound(&status->sensor_version, status->size, size) &&
           text_is_sound(&status->system_version, status->size, size) &&
           text_is_sound(&status->configuration, status->size, size) &&
           text_is_sound(&status->log, status->size, size);
}

static bool data_is_sound(const struct wvu_response *response)
{
    const char *data = data_of(response);
    if (response->status != WVU_STATUS_OK)
        return true; /* a text */
    switch (response->command) {
    case WVU_COMMAND_ENUMERATE_PROBES:
        return probes_are_sound(data, response->data_size);
    case WVU_COMMAND_GET_STATISTICS:
        return statistics_are_sound((const void *)data, response->data_size);
    case WVU_COMMAND_GET_STATUS:
        return status_is_sound((const void *)data, response->data_size);
    default:
        return true;
    }
}

int wvu_control_check(const struct wvu_response *response, size_t size, uint32_t command)
{
    if (size < sizeof *response)
        return WVU_STATUS_BAD_MESSAGE;
    /* A refusal of our version stands where every version has it. */
    if (response->version != WVU_PROTOCOL_VERSION)
        return WVU_STATUS_VERSION_MISMATCH;
    if (response->size < sizeof *response || response->size % 8 != 0 || response->size > size ||
        response->data_size != size - response->size)
        return WVU_STATUS_BAD_MESSAGE;
    if (response->command != command || response->status > 0)
        return WVU_STATUS_BAD_MESSAGE;
    return data_is_sound(response) ? WVU_STATUS_OK : WVU_STATUS_BAD_MESSAGE;
}

/* ---- views ------------------------------------------------------------------------------------ */

static bool is_answer(const struct wvu_response *response, uint32_t command)
{
    return response->status == WVU_STATUS_OK && response->command == command;
}

const void *wvu_response_data(const struct wvu_response *response, size_t *size)
{
    *size = response->data_size;
    return response->data_size != 0 ? data_of(response) : NULL;
}

const struct wvu_probe_entry *wvu_next_probe(const struct wvu_response *response,
                                             const struct wvu_probe_entry *entry)
{
    if (!is_answer(response, WVU_COMMAND_ENUMERATE_PROBES))
        return NULL;
    const char *end = data_of(response) + response->data_size;
    const char *at = entry == NULL ? data_of(response) : (const char *)entry + entry->size;
    return at < end ? (const void *)at : NULL;
}

const struct wvu_statistics *wvu_response_statistics(const struct wvu_response *response)
{
    if (!is_answer(response, WVU_COMMAND_GET_STATISTICS))
        return NULL;
    return (const void *)data_of(response);
}

const struct wvu_event_statistics *wvu_event_statistics_at(const struct wvu_statistics *statistics,
                                                           uint32_t index)
{
    if (index >= statistics->event_count)
        return NULL;
    const char *events = (const char *)statistics + statistics->size;
    return (const void *)(events + (size_t)index * statistics->event_size);
}

const struct wvu_sensor_status *wvu_response_sensor_status(const struct wvu_response *response)
{
    return is_answer(response, WVU_COMMAND_GET_STATUS) ? (const void *)data_of(response) : NULL;
}

const char *wvu_structure_text(const void *structure, const struct wvu_text *text, size_t *size)
{
    *size = text->size;
    return text->size != 0 ? (const char *)structure + text->offset : NULL;
}
