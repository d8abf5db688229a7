/*
 * Ranges of addresses in which nothing is mapped: where pool, objects, user memory and images get their
 * places, each of which is used only once.
 *
 * Address space costs nothing, so a range is large; under valgrind there is less of it, and then it is as
 * large as can be had.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "kernel.h"

#define LEAST (UINT64_C(1) << 30)

struct nt_space nt_space_reserve(uint64_t wanted)
{
    for (uint64_t size = wanted; size >= LEAST; size /= 2) {
        void *memory =
            mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory != MAP_FAILED)
            return (struct nt_space){(uintptr_t)memory, (uintptr_t)memory + size};
    }
    abort();
}

bool nt_space_has(const struct nt_space *space, uintptr_t address)
{
    return address >= space->begin && address < space->end;
}

void nt_space_clear(void *address, size_t size)
{
    if (mmap(address, size, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
             0) == MAP_FAILED)
        abort();
}
