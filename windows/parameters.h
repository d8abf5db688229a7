/*
 * The driver's settings: values below HKLM\System\CurrentControlSet\Services\WinVirtUE\Parameters.
 * docs/windows.md has the table for people.
 */
#ifndef WVU_PARAMETERS_H
#define WVU_PARAMETERS_H

#include "nt.h"
#include "probe.h"

#define WVU_PARAMETERS_PROBES_MAX 8
#define WVU_DRAIN_MS_DEFAULT      500u
#define WVU_DRAIN_MS_MAX          30000u

struct wvu_parameters {
    ULONG queue_records;
    ULONG queue_bytes;
    ULONG send_timeout_ms;
    ULONG drain_ms;
    ULONG log_modules;
    ULONG log_level;
    ULONG break_on_load;
    ULONG protect;
    ULONG probes; /* bit n: the n-th probe starts with the sensor */
    char *filter; /* rules, one a line; NULL: none. Not checked here */
};

/* PASSIVE. Every wrong value is logged and replaced by its default; so reading never fails.
 * `probes` ends with NULL. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_parameters_read(
    PCUNICODE_STRING service_key, const struct wvu_probe_definition *const *probes,
    struct wvu_parameters *parameters);

/* PASSIVE. Frees what was read. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_parameters_forget(struct wvu_parameters *parameters);

/* What is in force, as key=value lines. Returns the length. */
_IRQL_requires_max_(PASSIVE_LEVEL) size_t
    wvu_parameters_describe(const struct wvu_parameters *parameters,
                            const struct wvu_probe_definition *const *probes, char *text,
                            size_t size);

#endif
