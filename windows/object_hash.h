/*
 * Names for kernel objects that tell nothing about where they are: SipHash-2-4 of the address under
 * a key that is made at load and never leaves the driver. Equal objects give equal values until the
 * driver is unloaded.
 */
#ifndef WVU_OBJECT_HASH_H
#define WVU_OBJECT_HASH_H

#include <stdint.h>

struct wvu_object_key {
    uint64_t k0;
    uint64_t k1;
};

/* Any IRQL. Never 0. */
uint64_t wvu_object_hash(const struct wvu_object_key *key, const void *object);

#endif
