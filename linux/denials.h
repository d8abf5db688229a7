/*
 * The files of deny rules that the program in the kernel enforces by itself. See denials.c.
 */
#ifndef WVU_DENIALS_H
#define WVU_DENIALS_H

#include "programs.h"
#include "sensor.h"
#include "tracker.h"

struct wvu_denials;

/* PASSIVE, any thread. Reads the rules of the filter in force and looks for their files. NOT_FOUND: it has no such
 * rule. */
wvu_status wvu_denials_create(struct wvu_sensor *sensor, struct wvu_denials **denials);
void wvu_denials_destroy(struct wvu_denials *denials); /* NULL is allowed */

/* One thread at a time, for the rest. Tells the kernel's programs; takes back what was told. */
void wvu_denials_place(struct wvu_denials *denials, struct wvu_programs *programs);
void wvu_denials_remove(struct wvu_denials *denials, struct wvu_programs *programs); /* NULL */

/* The name of the rule that denies this file; NULL: none. */
const char *wvu_denials_rule(const struct wvu_denials *denials, const struct wvu_denied_file *file);

/* A process runs what a rule names with its path, and was not prevented: the path is that of another file
 * now, or in another mount name space. The next time this file, too, is prevented, if it can be told apart. */
void wvu_denials_learn(struct wvu_denials *denials, struct wvu_programs *programs,
                       const struct wvu_bytes *path, uint32_t pid,
                       const struct wvu_denied_file *file);

#endif
