/*
 * What the Windows probes share: wvu_probe.host points to this.
 */
#ifndef WVU_NT_HOST_H
#define WVU_NT_HOST_H

#include "altitude.h"
#include "nt.h"
#include "object_hash.h"
#include "probe.h"
#include "process_table.h"
#include "sensor.h"

struct wvu_nt_host {
    bool
        has_key; /* without secret random numbers there is no key, and events have no object names */
    struct wvu_object_key key;
    struct wvu_sensor *sensor;
    struct wvu_process_table *processes; /* never NULL while a probe exists */
    PDRIVER_OBJECT driver_object;
    WCHAR altitude[WVU_ALTITUDE_UNITS];
};

extern const struct wvu_probe_definition wvu_process_probe;
extern const struct wvu_probe_definition wvu_image_probe;
extern const struct wvu_probe_definition wvu_thread_probe;
extern const struct wvu_probe_definition wvu_registry_probe;
extern const struct wvu_probe_definition wvu_validation_probe;

/* Any IRQL. The value for fields such as EProcess; 0: leave the field out. */
static inline uint64_t wvu_nt_host_name_object(const struct wvu_nt_host *host, const void *object)
{
    return host->has_key && object != NULL ? wvu_object_hash(&host->key, object) : 0;
}

#endif
