/*
 * Names of the values in winvirtue/enums.def, and of probes.
 */
#ifndef WVUCTL_CTL_NAMES_H
#define WVUCTL_CTL_NAMES_H

#include "ctl.h"

#define CTL_NAME_MAX 32

/* Of a value of an enumeration ("HOST", "LOSS_CAUSE", ...); its number, written to `number`, when it has
 * none. */
const char *ctl_name(const char *kind, uint32_t value, char number[CTL_NAME_MAX]);
/* The same as JSON: a string, or the number. */
void ctl_json_name(struct ctl_out *out, const char *kind, uint32_t value);

/* The probe that `name` names, in any case, or that alone begins with it. NULL: told, with the names that
 * there are. */
const struct wvu_probe_entry *ctl_find_probe(const struct ctl *ctl,
                                             const struct wvu_response *response, const char *name);

#endif
