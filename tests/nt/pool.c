/*
 * Pool. Every block has pages of its own between pages that nobody may touch: its end is the end of a
 * page, so that one byte too far is a fault; what lies before it is filled with a pattern that is
 * looked at when the block is freed. The pages of a freed block are never used again: touching them
 * is a fault, too, and the report tells who allocated and who freed.
 *
 * Nothing is zero unless the routine promises it: other blocks begin filled with FILL.
 *
 * The arena is address space only; blocks are at rising addresses, so the table of blocks is sorted.
 * All under nt_lock, except nt_pool_explain, which reads the table from a report.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel.h"

#define ARENA_SIZE (UINT64_C(1) << 40)
#define PAGE       4096u
#define ALIGNMENT  16u
#define FILL       0xC3
#define SLACK      0x5A

struct block {
    uintptr_t pages; /* where its pages begin; the guard page is after them */
    size_t page_bytes;
    uintptr_t begin;
    size_t size;
    uint32_t tag;
    bool live;
    bool paged;
    const char *kind; /* of the stand-in's own gifts; NULL: pool */
    uintptr_t allocated_by;
    uintptr_t freed_by;
};

enum { NonPagedPool = 0, PagedPool = 1, NonPagedPoolNx = 512 };

#define POOL_FLAG_UNINITIALIZED     0x2u
#define POOL_FLAG_NON_PAGED         0x40u
#define POOL_FLAG_NON_PAGED_EXECUTE 0x80u
#define POOL_FLAG_PAGED             0x100u

static struct nt_space arena;
static uintptr_t next_page;
static struct block *blocks;
static size_t block_count, block_capacity;
static size_t live_blocks;

void nt_pool_init(void)
{
    arena = nt_space_reserve(ARENA_SIZE);
    next_page = arena.begin + PAGE;
}

/* The last block that begins at or before the address. */
static struct block *block_before(uintptr_t address)
{
    size_t low = 0, high = block_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (blocks[middle].pages <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low != 0 ? &blocks[low - 1] : NULL;
}

static struct block *block_at(const void *address)
{
    struct block *block = block_before((uintptr_t)address);
    return block != NULL && block->begin == (uintptr_t)address ? block : NULL;
}

static struct block *new_block(void)
{
    if (block_count == block_capacity) {
        block_capacity = block_capacity != 0 ? 2 * block_capacity : 1024;
        blocks = realloc(blocks, block_capacity * sizeof *blocks);
        if (blocks == NULL)
            abort();
    }
    return &blocks[block_count++];
}

static void *take(size_t size, uint32_t tag, bool paged, uint8_t fill, const char *kind)
{
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    size_t page_bytes = (rounded + PAGE - 1) & ~(size_t)(PAGE - 1);
    pthread_mutex_lock(&nt_lock);
    if (next_page + page_bytes + PAGE > arena.end)
        abort();
    uint8_t *pages = (uint8_t *)next_page;
    next_page += page_bytes + PAGE;
    if (paged)
        nt_key_protect(pages, page_bytes, PROT_READ | PROT_WRITE, NT_KEY_PAGEABLE);
    else if (mprotect(pages, page_bytes, PROT_READ | PROT_WRITE) != 0)
        abort();
    struct block *block = new_block();
    /* "NumberOfBytes is PAGE_SIZE or greater: a page-aligned buffer is allocated" */
    size_t before = size >= PAGE ? 0 : page_bytes - rounded;
    *block = (struct block){.pages = (uintptr_t)pages,
                            .page_bytes = page_bytes,
                            .begin = (uintptr_t)pages + before,
                            .size = size,
                            .tag = tag,
                            .live = true,
                            .paged = paged,
                            .kind = kind,
                            .allocated_by = nt_self->caller};
    live_blocks++;
    void *address = (void *)block->begin;
    pthread_mutex_unlock(&nt_lock);
    memset(pages, SLACK, page_bytes);
    memset(address, fill, size);
    return address;
}

static void check_slack(const struct block *block)
{
    const uint8_t *bytes = (const uint8_t *)block->pages;
    size_t begin = block->begin - block->pages, end = begin + block->size;
    for (size_t i = 0; i < block->page_bytes; i++) {
        if ((i < begin || i >= end) && bytes[i] != SLACK)
            nt_broken(NT_RULE_POOL_OVERRUN,
                      "a byte %ld from the block at %p of %zu bytes was written", (long)(i - begin),
                      (void *)block->begin, block->size);
    }
}

static void give_back(void *address, const uint32_t *tag, const char *kind)
{
    pthread_mutex_lock(&nt_lock);
    struct block *block = block_at(address);
    if (block == NULL || block->kind != kind)
        nt_broken(NT_RULE_POOL_FREE, "%p is not a block that %s may free", address,
                  nt_self->routine);
    if (!block->live)
        nt_broken(NT_RULE_POOL_FREE, "the block %p is freed twice", address);
    if (tag != NULL && block->tag != *tag)
        nt_broken(NT_RULE_POOL_TAG, "the block %p has tag %.4s and is freed with %.4s", address,
                  (const char *)&block->tag, (const char *)tag);
    if (block->paged && nt_self->irql >= DISPATCH_LEVEL)
        nt_broken(NT_RULE_IRQL, "paged pool is freed at IRQL %u", nt_self->irql);
    check_slack(block);
    nt_ke_forget(block->begin, block->begin + block->size);
    nt_timers_forget(block->begin, block->begin + block->size);
    nt_locks_forget(block->begin, block->begin + block->size);
    block->live = false;
    block->freed_by = nt_self->caller;
    live_blocks--;
    nt_space_clear((void *)block->pages, block->page_bytes);
    pthread_mutex_unlock(&nt_lock);
}

void *nt_pool_take(size_t size, uint32_t tag, bool paged, const char *kind)
{
    return take(size, tag, paged, FILL, kind);
}

void nt_pool_give_back(void *block, const char *kind)
{
    give_back(block, NULL, kind);
}

/* ---- what drivers call --------------------------------------------------------------------------- */

static void check_request(size_t size, uint32_t tag, bool paged, bool executable)
{
    if (size == 0 || size > (UINT64_C(1) << 32))
        nt_broken(NT_RULE_POOL, "%s: %zu bytes", nt_self->routine, size);
    for (int i = 0; i < 4; i++) {
        if (!isprint((int)(tag >> (8 * i) & 0xFF)))
            nt_broken(NT_RULE_POOL, "%s: tag 0x%08x is not four printable characters",
                      nt_self->routine, tag);
    }
    if (executable)
        nt_broken(NT_RULE_POOL, "%s: executable pool", nt_self->routine);
    if (paged && nt_self->irql >= DISPATCH_LEVEL)
        nt_broken(NT_RULE_IRQL, "paged pool is allocated at IRQL %u", nt_self->irql);
}

static NTAPI void *ExAllocatePoolWithTag(uint32_t type, size_t size, uint32_t tag)
{
    bool paged = (type & 1) != 0;
    /* Before Windows 8 there was no other non-paged pool. */
    bool executable = !paged && (type & NonPagedPoolNx) == 0 && nt_version_at_least(6, 2);
    check_request(size, tag, paged, executable);
    if (type != PagedPool && type != NonPagedPoolNx && type != NonPagedPool)
        nt_broken(NT_RULE_POOL, "ExAllocatePoolWithTag: type %u", type);
    if (type == NonPagedPoolNx && !nt_version_at_least(6, 2))
        nt_broken(NT_RULE_POOL, "NonPagedPoolNx before Windows 8");
    return take(size, tag, paged, FILL, NULL);
}

static NTAPI void *ExAllocatePool2(uint64_t flags, size_t size, uint32_t tag)
{
    uint64_t kind = flags & (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED);
    if (kind == 0 || (kind & (kind - 1)) != 0)
        nt_broken(NT_RULE_POOL, "ExAllocatePool2: flags 0x%llx", (unsigned long long)flags);
    check_request(size, tag, kind == POOL_FLAG_PAGED, kind == POOL_FLAG_NON_PAGED_EXECUTE);
    return take(size, tag, kind == POOL_FLAG_PAGED,
                (flags & POOL_FLAG_UNINITIALIZED) != 0 ? FILL : 0, NULL);
}

/* Tag 0 is what ExFreePool passes on: any tag. */
static NTAPI void ExFreePoolWithTag(void *address, uint32_t tag)
{
    give_back(address, tag != 0 ? &tag : NULL, NULL);
}

static NTAPI void ExFreePool(void *address)
{
    give_back(address, NULL, NULL);
}

/* ---- for reports ----------------------------------------------------------------------------------- */

bool nt_pool_is_freed(uintptr_t address)
{
    const struct block *block = block_before(address);
    return block != NULL && !block->live && address < block->pages + block->page_bytes;
}

bool nt_pool_at(uintptr_t address)
{
    pthread_mutex_lock(&nt_lock);
    const struct block *block = block_before(address);
    bool live = block != NULL && block->live && address >= block->begin &&
                address < block->begin + block->size;
    pthread_mutex_unlock(&nt_lock);
    return live;
}

bool nt_pool_explain(uintptr_t address, char *text, size_t size)
{
    if (!nt_space_has(&arena, address))
        return false;
    const struct block *block = block_before(address);
    if (block == NULL) {
        snprintf(text, size, "before all pool");
        return true;
    }
    char allocated[64], freed[64];
    nt_place(block->allocated_by, allocated, sizeof allocated);
    nt_place(block->freed_by, freed, sizeof freed);
    snprintf(text, size,
             "%ld bytes from the begin of a block of %zu bytes, tag %.4s, allocated at %s%s%s",
             (long)(address - block->begin), block->size, (const char *)&block->tag, allocated,
             block->live ? "" : ", freed at ", block->live ? "" : freed);
    return true;
}

size_t nt_pool_blocks(void)
{
    pthread_mutex_lock(&nt_lock);
    size_t count = live_blocks;
    pthread_mutex_unlock(&nt_lock);
    return count;
}

void nt_pool_check_leaks(void)
{
    if (live_blocks == 0)
        return;
    for (size_t i = 0; i < block_count; i++) {
        if (blocks[i].live) {
            char text[200];
            (void)nt_pool_explain(blocks[i].begin, text, sizeof text);
            nt_broken(NT_RULE_LEAK_POOL, "%zu blocks; one is at %s", live_blocks, text);
        }
    }
}

static const struct nt_export exports[] = {
    NT_FALLIBLE(ExAllocatePoolWithTag, PASSIVE_LEVEL, DISPATCH_LEVEL, 0,
                "wdm/nf-wdm-exallocatepoolwithtag"),
    NT_FALLIBLE(ExAllocatePool2, PASSIVE_LEVEL, DISPATCH_LEVEL, 0, "wdm/nf-wdm-exallocatepool2"),
    NT_ROUTINE(ExFreePoolWithTag, PASSIVE_LEVEL, DISPATCH_LEVEL, "wdm/nf-wdm-exfreepoolwithtag"),
    NT_ROUTINE(ExFreePool, PASSIVE_LEVEL, DISPATCH_LEVEL, "ntddk/nf-ntddk-exfreepool"),
};
const struct nt_export_table nt_pool_table = NT_TABLE(exports);
