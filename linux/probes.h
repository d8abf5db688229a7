/*
 * The probes of the Linux host: the list of them, and how the source (source_events.c) hands them events.
 */
#ifndef WVU_LINUX_PROBES_H
#define WVU_LINUX_PROBES_H

#include "probe.h"
#include "tracker.h"

/* In the order in which they start; ends with NULL. */
extern const struct wvu_probe_definition *const wvu_linux_probes[];

extern const struct wvu_probe_definition wvu_process_probe;
extern const struct wvu_probe_definition wvu_image_probe;
extern const struct wvu_probe_definition wvu_thread_probe;
extern const struct wvu_probe_definition wvu_validation_probe;

/* The source's thread, inside wvu_probe_enter. Each fills and commits one record, if it is wanted, and does
 * not wake. */
void wvu_process_probe_created(struct wvu_probe *probe, const struct wvu_created *event,
                               const struct wvu_stamp *stamp);
void wvu_process_probe_destroyed(struct wvu_probe *probe, const struct wvu_destroyed *event,
                                 const struct wvu_stamp *stamp);
void wvu_image_probe_loaded(struct wvu_probe *probe, const struct wvu_image *event,
                            const struct wvu_stamp *stamp);
/* `key` is that of the process that loads the module; 0 when it is not known. `wanted`: which of its events. */
void wvu_image_probe_module(struct wvu_probe *probe, const struct wvu_sample_module *event,
                            uint64_t key, uint32_t wanted, const struct wvu_stamp *stamp);
void wvu_thread_probe_changed(struct wvu_probe *probe, const struct wvu_thread_event *event,
                              const struct wvu_stamp *stamp);

#endif
