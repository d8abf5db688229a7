/*
 * Acting on processes: ending one by its key, and keeping programs from running. See mitigation.c.
 */
#ifndef WVU_MITIGATION_H
#define WVU_MITIGATION_H

#include "programs.h"
#include "sensor.h"
#include "tracker.h"

/* ---- ending a process ----------------------------------------------------------------------------------- */

struct wvu_ending {
    uint32_t pid;
    uint64_t key;
    bool is_protected; /* by a rule */

    /* what came of it */
    uint32_t outcome; /* enum wvu_mitigation_outcome: ENDED, REFUSED or FAILED */
    wvu_status status;
    char reason[256]; /* "" when it was ended */
};

/* PASSIVE, any thread. Ends the process with this pid and this key, and no other one. */
void wvu_mitigation_end(struct wvu_sensor *sensor, struct wvu_programs *programs,
                        struct wvu_ending *ending);

/* ---- programs that may not run -------------------------------------------------------------------------- */

/* The files of the deny rules that the kernel's programs can enforce by themselves. */
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
