/*
 * Events as they are printed.
 */
#ifndef NTFLTMGR_FORMAT_H
#define NTFLTMGR_FORMAT_H

#include <stdbool.h>

#include "options.h"
#include "output.h"
#include "winvirtue/winvirtue.h"

/* Appends one event, line end included. `scratch` is used by the formats that are made from JSON. False:
 * no memory; nothing was appended. */
bool format_event(enum format format, bool color, const wvu_message *message,
                  const struct wvu_record *record, struct buffer *out, struct buffer *scratch);

#endif
