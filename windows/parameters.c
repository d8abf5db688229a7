/*
 * Reads and checks the driver's settings. PASSIVE_LEVEL, once, from DriverEntry.
 */
#include "parameters.h"

#include "dispatcher.h"
#include "filter.h"
#include "format.h"
#include "log.h"
#include "queue.h"
#include "registry.h"
#include "text.h"

#define PARAMETERS_TAG WVU_TAG('W', 'v', 'P', 'a')

struct number_rule {
    PCWSTR name;
    const char *ascii_name;
    size_t member;
    ULONG least;
    ULONG most;
    ULONG usual;
};

#define NUMBER(name, member, least, most, usual)                                                   \
    {                                                                                              \
        L## #name, #name, offsetof(struct wvu_parameters, member), least, most, usual              \
    }

static const struct number_rule numbers[] = {
    NUMBER(QueueRecords, queue_records, WVU_QUEUE_RECORDS_MIN, WVU_QUEUE_RECORDS_MAX,
           WVU_QUEUE_RECORDS_DEFAULT),
    NUMBER(QueueBytes, queue_bytes, WVU_QUEUE_BYTES_MIN, WVU_QUEUE_BYTES_MAX,
           WVU_QUEUE_BYTES_DEFAULT),
    NUMBER(SendTimeoutMs, send_timeout_ms, WVU_SEND_TIMEOUT_MS_MIN, WVU_SEND_TIMEOUT_MS_MAX,
           WVU_SEND_TIMEOUT_MS_DEFAULT),
    NUMBER(DrainMs, drain_ms, 0, WVU_DRAIN_MS_MAX, WVU_DRAIN_MS_DEFAULT),
    NUMBER(LogModules, log_modules, 0, WVU_LOG_ALL, WVU_LOG_ALL),
    NUMBER(LogLevel, log_level, WVU_LOG_ERROR, WVU_LOG_INFO, WVU_LOG_INFO),
    NUMBER(BreakOnLoad, break_on_load, 0, 1, 0),
    NUMBER(Protect, protect, 0, 1, 0),
};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

static ULONG *member_of(struct wvu_parameters *parameters, const struct number_rule *rule)
{
    return (ULONG *)(void *)((char *)parameters + rule->member);
}

static void read_number(HANDLE key, const struct number_rule *rule, ULONG *number)
{
    struct wvu_registry_value value;
    NTSTATUS status = wvu_registry_read(key, rule->name, &value);
    if (status == STATUS_OBJECT_NAME_NOT_FOUND)
        return;
    if (NT_SUCCESS(status) && (value.type != REG_DWORD || value.size != sizeof(ULONG)))
        status = STATUS_OBJECT_TYPE_MISMATCH;
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_MAIN, "parameter %s cannot be read as a REG_DWORD (0x%08x); using %u",
                      rule->ascii_name, (unsigned)status, (unsigned)rule->usual);
    else if (value.data.number < rule->least || value.data.number > rule->most)
        wvu_log_error(WVU_LOG_MAIN, "parameter %s is %u, allowed is %u to %u; using %u",
                      rule->ascii_name, (unsigned)value.data.number, (unsigned)rule->least,
                      (unsigned)rule->most, (unsigned)rule->usual);
    else
        *number = value.data.number;
}

/* ---- the list of probes ------------------------------------------------------------------------ */

static ULONG bit_of_probe(const struct wvu_probe_definition *const *probes, const char *name)
{
    for (ULONG i = 0; probes[i] != NULL; i++) {
        if (wvu_probe_is_named(probes[i], name))
            return 1u << i;
    }
    return 0;
}

/* Probes: REG_MULTI_SZ, the names of the probes that start with the sensor; an empty list starts
 * none. */
static void read_probes(HANDLE key, const struct wvu_probe_definition *const *probes, ULONG *mask)
{
    struct wvu_registry_value value;
    NTSTATUS status = wvu_registry_read(key, L"Probes", &value);
    if (status == STATUS_OBJECT_NAME_NOT_FOUND)
        return;
    if (NT_SUCCESS(status) && value.type != REG_MULTI_SZ)
        status = STATUS_OBJECT_TYPE_MISMATCH;
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_MAIN,
                      "parameter Probes cannot be read as a REG_MULTI_SZ (0x%08x); starting all",
                      (unsigned)status);
        return;
    }
    ULONG wanted = 0;
    ULONG units = value.size / sizeof(WCHAR); /* two zero units follow them */
    for (ULONG i = 0; i < units && value.data.text[i] != 0;) {
        char name[64];
        ULONG start = i;
        while (value.data.text[i] != 0)
            i++;
        (void)wvu_utf8_from_utf16(name, sizeof name, (const uint16_t *)&value.data.text[start],
                                  i - start);
        i++;
        ULONG bit = bit_of_probe(probes, name);
        if (bit == 0)
            wvu_log_error(WVU_LOG_MAIN, "parameter Probes: there is no probe %s; left out", name);
        wanted |= bit;
    }
    *mask = wanted;
}

/* ---- the filter --------------------------------------------------------------------------------- */

/* One string a line. False: it does not fit. */
static bool join_lines(const WCHAR *strings, ULONG units, char *text, size_t size)
{
    size_t length = 0;
    for (ULONG i = 0; i < units && strings[i] != 0;) {
        ULONG start = i;
        while (strings[i] != 0)
            i++;
        if (3 * (size_t)(i - start) + 2 > size - length)
            return false;
        length += wvu_utf8_from_utf16(text + length, size - length,
                                      (const uint16_t *)&strings[start], i - start);
        text[length++] = '\n';
        text[length] = '\0';
        i++;
    }
    return true;
}

/* Filter: REG_MULTI_SZ, one rule a string. */
static void read_filter(HANDLE key, char **filter)
{
    ULONG type = REG_NONE;
    ULONG size = 0;
    WCHAR *strings = NULL;
    bool fits = false;
    NTSTATUS status = wvu_registry_read_large(key, L"Filter", WVU_FILTER_TEXT_MAX * sizeof(WCHAR),
                                              PARAMETERS_TAG, &type, &strings, &size);
    if (status == STATUS_OBJECT_NAME_NOT_FOUND)
        return;
    if (NT_SUCCESS(status) && type != REG_MULTI_SZ)
        status = STATUS_OBJECT_TYPE_MISMATCH;
    if (NT_SUCCESS(status)) {
        *filter = wvu_os_alloc(WVU_FILTER_TEXT_MAX, PARAMETERS_TAG);
        if (*filter != NULL)
            fits = join_lines(strings, size / sizeof(WCHAR), *filter, WVU_FILTER_TEXT_MAX);
        if (!fits)
            status = *filter == NULL ? STATUS_INSUFFICIENT_RESOURCES : STATUS_BUFFER_OVERFLOW;
    }
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_MAIN,
                      "parameter Filter cannot be read as a REG_MULTI_SZ (0x%08x); there are no "
                      "rules",
                      (unsigned)status);
        wvu_os_free(*filter, PARAMETERS_TAG);
        *filter = NULL;
    }
    wvu_os_free(strings, PARAMETERS_TAG);
}

void wvu_parameters_forget(struct wvu_parameters *parameters)
{
    wvu_os_free(parameters->filter, PARAMETERS_TAG);
    parameters->filter = NULL;
}

/* ---- all ----------------------------------------------------------------------------------------- */

static void set_usual(struct wvu_parameters *parameters)
{
    for (size_t i = 0; i < NUMBERS; i++)
        *member_of(parameters, &numbers[i]) = numbers[i].usual;
    parameters->probes = ~0u;
    parameters->filter = NULL;
}

void wvu_parameters_read(PCUNICODE_STRING service_key,
                         const struct wvu_probe_definition *const *probes,
                         struct wvu_parameters *parameters)
{
    UNICODE_STRING name;
    HANDLE service;
    HANDLE key;
    set_usual(parameters);
    RtlInitUnicodeString(&name, L"Parameters");
    NTSTATUS status = wvu_registry_open(NULL, service_key, &service);
    if (NT_SUCCESS(status)) {
        status = wvu_registry_open(service, &name, &key);
        (void)ZwClose(service);
    }
    if (status == STATUS_OBJECT_NAME_NOT_FOUND)
        return; /* nobody set any */
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_MAIN, "the parameters cannot be read (0x%08x); using the defaults",
                      (unsigned)status);
        return;
    }
    for (size_t i = 0; i < NUMBERS; i++)
        read_number(key, &numbers[i], member_of(parameters, &numbers[i]));
    read_probes(key, probes, &parameters->probes);
    read_filter(key, &parameters->filter);
    (void)ZwClose(key);
}

size_t wvu_parameters_describe(const struct wvu_parameters *parameters,
                               const struct wvu_probe_definition *const *probes, char *text,
                               size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < NUMBERS; i++) {
        const ULONG *number =
            (const ULONG *)(const void *)((const char *)parameters + numbers[i].member);
        length += wvu_format(text + length, size - length, "%s=%u\n", numbers[i].ascii_name,
                             (unsigned)*number);
    }
    length += wvu_format(text + length, size - length, "Probes=");
    const char *separator = "";
    for (ULONG i = 0; probes[i] != NULL; i++) {
        if ((parameters->probes >> i & 1) == 0)
            continue;
        length += wvu_format(text + length, size - length, "%s%s", separator, probes[i]->name);
        separator = ",";
    }
    return length;
}
