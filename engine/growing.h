/*
 * Arrays that grow while they are filled: lists whose length is only known when they are complete.
 *
 * PASSIVE, as whatever allocates. No state but the caller's: one thread at a time may fill an array.
 */
#ifndef WVU_GROWING_H
#define WVU_GROWING_H

#include <stddef.h>
#include <stdint.h>

/* Adds a copy of *element to *array, a structure of
 *     TYPE *entries; uint32_t count; uint32_t capacity; bool failed;
 * which is empty when it is zero. When `most` are there or there is no memory, `failed` is set and the array
 * is as it was. The entries move; they are freed with wvu_os_free and the tag. */
#define wvu_growing_add(array, element, most, tag)                                                 \
    do {                                                                                           \
        void *entries_ = wvu_growing_room((array)->entries, (array)->count, &(array)->capacity,    \
                                          sizeof *(array)->entries, (most), (tag));                \
        if (entries_ != NULL) {                                                                    \
            (array)->entries = entries_;                                                           \
            (array)->entries[(array)->count++] = *(element);                                       \
        } else {                                                                                   \
            (array)->failed = true;                                                                \
        }                                                                                          \
    } while (0)

/* The entries with room for one more of `size` bytes, and how many they have room for now; NULL: there is none
 * to be had, and nothing has changed. */
void *wvu_growing_room(void *entries, uint32_t count, uint32_t *capacity, size_t size,
                       uint32_t most, uint32_t tag);

#endif
