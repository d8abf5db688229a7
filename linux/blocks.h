/*
 * A fixed store of small pieces of memory: chains of 256-byte blocks that hold texts of any length. Used
 * by the tracker (tracker.c), in its thread. Nothing is allocated after create and nothing fragments.
 */
#ifndef WVU_BLOCKS_H
#define WVU_BLOCKS_H

#include <stdint.h>

#include "winvirtue/status.h"

#define WVU_BLOCK_DATA 248u
#define WVU_BLOCK_NONE UINT32_MAX

struct wvu_block {
    uint8_t data[WVU_BLOCK_DATA];
    uint32_t next; /* in its chain or in the free list */
    uint32_t reserved;
};

struct wvu_blocks {
    struct wvu_block *blocks;
    uint32_t count;
    uint32_t free;
    uint32_t free_count;
};

wvu_status wvu_blocks_create(struct wvu_blocks *blocks, uint32_t count); /* PASSIVE */
void wvu_blocks_destroy(struct wvu_blocks *blocks);                      /* also a zeroed one */

/* A chain for `size` bytes, at least one block; WVU_BLOCK_NONE when there are not enough. */
uint32_t wvu_blocks_take(struct wvu_blocks *blocks, uint32_t size);
void wvu_blocks_give(struct wvu_blocks *blocks, uint32_t chain);

/* The first WVU_BLOCK_DATA bytes of a chain, in place; aligned to 8. */
static inline void *wvu_blocks_front(const struct wvu_blocks *blocks, uint32_t chain)
{
    return blocks->blocks[chain].data;
}

void wvu_blocks_write(struct wvu_blocks *blocks, uint32_t chain, uint32_t offset, const void *bytes,
                      uint32_t size);
/* The bytes in place when they are in one block, otherwise copied to `scratch`. */
const void *wvu_blocks_read(const struct wvu_blocks *blocks, uint32_t chain, uint32_t offset,
                            uint32_t size, void *scratch);

#endif
