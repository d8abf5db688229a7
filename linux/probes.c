/*
 * The list of the Linux host's probes. A new probe is one file and one line here.
 */
#include "probes.h"

#include <stddef.h>

const struct wvu_probe_definition *const wvu_linux_probes[] = {
    &wvu_process_probe, &wvu_image_probe, &wvu_thread_probe, &wvu_validation_probe, NULL,
};
