/*
 * Arrays that grow. Called at PASSIVE_LEVEL by whoever fills one; no state.
 *
 * The room doubles, so that each entry is copied about once on the average, however many there will be.
 */
#include "growing.h"

#include <string.h>

#include "os.h"

#define FIRST 256u

void *wvu_growing_room(void *entries, uint32_t count, uint32_t *capacity, size_t size,
                       uint32_t most, uint32_t tag)
{
    if (count < *capacity)
        return entries;
    uint64_t wanted = *capacity == 0 ? FIRST : UINT64_C(2) * *capacity;
    if (wanted > most)
        wanted = most;
    if (wanted <= count || wanted > SIZE_MAX / size)
        return NULL;
    void *more = wvu_os_alloc((size_t)wanted * size, tag);
    if (more == NULL)
        return NULL;
    if (count != 0)
        memcpy(more, entries, count * size);
    wvu_os_free(entries, tag);
    *capacity = (uint32_t)wanted;
    return more;
}
