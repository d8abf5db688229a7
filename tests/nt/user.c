/*
 * Memory of user programs, and pageable strings that the kernel hands to callbacks.
 *
 * User memory has a range of its own, so that an address alone tells that it is the user's. Each
 * block ends at a page that is never mapped. Driver code may touch it only where a __try block
 * covers the place (pkey.c, trap.c). All user programs share the range: a scenario that wants another
 * process's view unmaps the block.
 *
 * Under nt_lock: the place for the next block. Each block knows its size at its first page's front.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel.h"

#define ARENA_SIZE (UINT64_C(1) << 36)
#define PAGE       4096u

struct range {
    struct nt_space space;
    uintptr_t next;
};

static struct range user, pageable;

/* Sizes of the blocks, by their end: kept outside of the memory itself. */
struct known {
    struct known *next;
    uintptr_t address;
    uintptr_t pages;
    size_t bytes;
};
static struct known *known;

static struct range reserve(void)
{
    struct nt_space space = nt_space_reserve(ARENA_SIZE);
    return (struct range){space, space.begin + 16 * PAGE};
}

void nt_user_init(void)
{
    user = reserve();
    pageable = reserve();
}

/* The lowest 64 KiB are the user's, too: that is where NULL is. */
bool nt_is_user(uintptr_t address)
{
    return address < 0x10000 || nt_space_has(&user.space, address);
}

static void *take(struct range *range, size_t size, size_t alignment, enum nt_key key)
{
    size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    size_t bytes = (rounded + PAGE - 1) & ~(size_t)(PAGE - 1);
    bytes = bytes != 0 ? bytes : PAGE;
    struct known *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        abort();
    pthread_mutex_lock(&nt_lock);
    if (range->next + bytes + PAGE > range->space.end)
        abort();
    entry->pages = range->next;
    entry->bytes = bytes;
    entry->address = range->next + bytes - rounded;
    range->next += bytes + PAGE;
    entry->next = known;
    known = entry;
    pthread_mutex_unlock(&nt_lock);
    nt_key_protect((void *)entry->pages, bytes, PROT_READ | PROT_WRITE, key);
    return (void *)entry->address;
}

/* Takes the entry out of the list when `forget`. */
static struct known find(const void *address, bool forget)
{
    struct known copy = {0};
    pthread_mutex_lock(&nt_lock);
    for (struct known **at = &known; *at != NULL; at = &(*at)->next) {
        struct known *entry = *at;
        if (entry->address != (uintptr_t)address)
            continue;
        copy = *entry;
        if (forget) {
            *at = entry->next;
            free(entry);
        }
        break;
    }
    pthread_mutex_unlock(&nt_lock);
    if (copy.address == 0)
        abort();
    return copy;
}

static void unmap(const struct known *block)
{
    nt_space_clear((void *)block->pages, block->bytes);
}

void *nt_user_alloc(size_t size)
{
    return take(&user, size, 1, NT_KEY_USER);
}

void nt_user_free(void *memory)
{
    if (memory == NULL)
        return;
    struct known block = find(memory, true);
    unmap(&block);
}

void nt_user_unmap(void *memory)
{
    struct known block = find(memory, false);
    unmap(&block);
}

void nt_user_read_only(void *memory)
{
    struct known block = find(memory, false);
    nt_key_protect((void *)block.pages, block.bytes, PROT_READ, NT_KEY_USER);
}

/* ---- strings ------------------------------------------------------------------------------------- */

UNICODE_STRING nt_string(const WCHAR *text, size_t bytes)
{
    UNICODE_STRING string = {.Length = (uint16_t)bytes, .MaximumLength = (uint16_t)bytes};
    string.Buffer = take(&pageable, bytes, 2, NT_KEY_PAGEABLE);
    if (text != NULL)
        memcpy(string.Buffer, text, bytes);
    return string;
}

void nt_units_from(const char *text, WCHAR *units, size_t count)
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < count; i++)
        units[i] = (WCHAR)(unsigned char)text[i];
    units[i] = 0;
}

UNICODE_STRING nt_string_of(const char *text)
{
    size_t length = strlen(text);
    WCHAR *units = calloc(length + 1, sizeof *units);
    if (units == NULL)
        abort();
    nt_units_from(text, units, length + 1);
    UNICODE_STRING string = nt_string(units, length * sizeof *units);
    free(units);
    return string;
}

void nt_string_free(UNICODE_STRING *string)
{
    if (string->Buffer == NULL)
        return;
    struct known block = find(string->Buffer, true);
    unmap(&block);
    string->Buffer = NULL;
}
