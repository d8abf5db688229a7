/*
 * Says which right to trace the kernel is missing, and how to get it.
 */
#ifndef WVU_RIGHTS_H
#define WVU_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is there a reason why this process cannot trace the kernel, as far as its rights tell? */
bool wvu_rights_are_missing(void);

/* For a person, on one line; terminated, cut at `size`. */
void wvu_rights_explain(char *text, size_t size);

/* The same for given facts: the capabilities in force (bit n: capability n), whether this is the initial
 * user namespace, and whether the kernel is locked down to confidentiality. Pure. */
void wvu_rights_explain_facts(uint64_t capabilities, int initial_namespace, int confidential,
                              char *text, size_t size);

#endif
