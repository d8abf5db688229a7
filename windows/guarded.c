/*
 * Copies from and to memory that may fault, inside __try. Called by the command port and the image
 * probe, at PASSIVE_LEVEL. No state.
 *
 * The copy is a function that is never inlined: clang guards calls within __try, not single loads
 * and stores, and an inlined copy would escape it. Alignment is not assumed: "the filter manager
 * ... does not ensure that the buffer is properly aligned" ("FltCreateCommunicationPort",
 * MessageNotifyCallback).
 */
#include "guarded.h"

/* Both processors that Windows runs on read and write words wherever they lie. */
#if defined(_MSC_VER) && !defined(__clang__)
typedef __unaligned uint64_t unaligned_word;
#else
typedef uint64_t unaligned_word __attribute__((aligned(1)));
#endif

static WVU_NT_NOINLINE void copy_bytes(volatile unsigned char *to,
                                       const volatile unsigned char *from, size_t size)
{
    size_t i = 0;
    for (; size - i >= sizeof(uint64_t); i += sizeof(uint64_t))
        *(volatile unaligned_word *)&to[i] = *(const volatile unaligned_word *)&from[i];
    for (; i < size; i++)
        to[i] = from[i];
}

NTSTATUS wvu_copy_mapped(void *to, const void *from, size_t size)
{
    __try {
        copy_bytes(to, from, size);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return STATUS_ACCESS_VIOLATION;
    }
    return STATUS_SUCCESS;
}

NTSTATUS wvu_copy_from_user(void *to, const void *from, size_t size)
{
    __try {
        /* "ProbeForRead": raises when the range is not all in user space. */
        ProbeForRead((PVOID)(uintptr_t)from, size, 1);
        copy_bytes(to, from, size);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return STATUS_ACCESS_VIOLATION;
    }
    return STATUS_SUCCESS;
}

NTSTATUS wvu_copy_to_user(void *to, const void *from, size_t size)
{
    __try {
        /* The page of ProbeForWrite advises ProbeForRead: protection may change at any moment
         * anyhow, and the copy is guarded. */
        ProbeForRead(to, size, 1);
        copy_bytes(to, from, size);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return STATUS_ACCESS_VIOLATION;
    }
    return STATUS_SUCCESS;
}
