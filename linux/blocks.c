/*
 * Chains of blocks from one array. The free list is last-in first-out, so that a machine where little
 * happens keeps touching the same few blocks. One thread, no locks; no system call after create.
 */
#include "blocks.h"

#include <stdbool.h>
#include <string.h>

#include "os.h"

#define BLOCKS_TAG WVU_TAG('W', 'v', 'B', 'l')

_Static_assert(sizeof(struct wvu_block) == 256, "layout");

wvu_status wvu_blocks_create(struct wvu_blocks *blocks, uint32_t count)
{
    blocks->blocks = wvu_os_alloc(count * sizeof(struct wvu_block), BLOCKS_TAG);
    if (blocks->blocks == NULL)
        return WVU_STATUS_NO_MEMORY;
    blocks->count = count;
    blocks->free_count = count;
    blocks->free = 0;
    for (uint32_t i = 0; i < count; i++)
        blocks->blocks[i].next = i + 1 < count ? i + 1 : WVU_BLOCK_NONE;
    return WVU_STATUS_OK;
}

void wvu_blocks_destroy(struct wvu_blocks *blocks)
{
    wvu_os_free(blocks->blocks, BLOCKS_TAG);
    memset(blocks, 0, sizeof *blocks);
}

uint32_t wvu_blocks_take(struct wvu_blocks *blocks, uint32_t size)
{
    uint32_t needed = size == 0 ? 1 : (size + WVU_BLOCK_DATA - 1) / WVU_BLOCK_DATA;
    if (needed > blocks->free_count)
        return WVU_BLOCK_NONE;
    blocks->free_count -= needed;
    uint32_t first = blocks->free;
    uint32_t last = first;
    while (--needed != 0)
        last = blocks->blocks[last].next;
    blocks->free = blocks->blocks[last].next;
    blocks->blocks[last].next = WVU_BLOCK_NONE;
    return first;
}

void wvu_blocks_give(struct wvu_blocks *blocks, uint32_t chain)
{
    uint32_t last = chain;
    uint32_t count = 1;
    while (blocks->blocks[last].next != WVU_BLOCK_NONE) {
        last = blocks->blocks[last].next;
        count++;
    }
    blocks->blocks[last].next = blocks->free;
    blocks->free = chain;
    blocks->free_count += count;
}

/* The block of a chain that holds `*offset`, which becomes the offset in that block. */
static uint32_t block_at(const struct wvu_blocks *blocks, uint32_t chain, uint32_t *offset)
{
    while (*offset >= WVU_BLOCK_DATA) {
        chain = blocks->blocks[chain].next;
        *offset -= WVU_BLOCK_DATA;
    }
    return chain;
}

void wvu_blocks_write(struct wvu_blocks *blocks, uint32_t chain, uint32_t offset, const void *bytes,
                      uint32_t size)
{
    const uint8_t *from = bytes;
    while (size != 0) {
        chain = block_at(blocks, chain, &offset);
        uint32_t here = WVU_BLOCK_DATA - offset < size ? WVU_BLOCK_DATA - offset : size;
        memcpy(blocks->blocks[chain].data + offset, from, here);
        from += here;
        offset += here;
        size -= here;
    }
}

const void *wvu_blocks_read(const struct wvu_blocks *blocks, uint32_t chain, uint32_t offset,
                            uint32_t size, void *scratch)
{
    if (size == 0)
        return scratch;
    chain = block_at(blocks, chain, &offset);
    if (offset + size <= WVU_BLOCK_DATA)
        return blocks->blocks[chain].data + offset;
    uint8_t *to = scratch;
    while (size != 0) {
        chain = block_at(blocks, chain, &offset);
        uint32_t here = WVU_BLOCK_DATA - offset < size ? WVU_BLOCK_DATA - offset : size;
        memcpy(to, blocks->blocks[chain].data + offset, here);
        to += here;
        offset += here;
        size -= here;
    }
    return scratch;
}
