/*
 * Memory that a thread may touch only at times, by the processor's protection keys: pageable memory
 * not at DISPATCH_LEVEL and above, user memory not outside of __try.
 *
 * Rights belong to a thread (its PKRU register), so one thread at DISPATCH_LEVEL does not disturb the
 * others. A touch without the right is a SIGSEGV that names the key (trap.c). Processors without keys
 * and valgrind: these two rules are then not looked after, and nt_keys_available says so.
 *
 * The kernel gives signal handlers a PKRU of their own and puts the interrupted one back from the
 * signal frame; nt_keys_apply_in changes it there.
 */
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel.h"

#define XSAVE_HEADER 512u
#define XSAVE_MAGIC1 0x46505853u
#define MAGIC_OFFSET 464u
#define PKRU_FEATURE 9u

static int keys[NT_KEYS] = {-1, -1};
static uint32_t frame_offset; /* of PKRU in a signal frame's extended state */

bool nt_keys_available(void)
{
    return keys[NT_KEY_PAGEABLE] >= 0 && keys[NT_KEY_USER] >= 0;
}

int nt_key_of(int pkey)
{
    for (int i = 0; i < NT_KEYS; i++) {
        if (keys[i] >= 0 && keys[i] == pkey)
            return i;
    }
    return -1;
}

void nt_keys_init(void)
{
    unsigned size, offset, c, d;
    if (getenv("NT_NO_KEYS") != NULL ||
        !__get_cpuid_count(0xD, PKRU_FEATURE, &size, &offset, &c, &d))
        return;
    frame_offset = offset;
    for (int i = 0; i < NT_KEYS; i++)
        keys[i] = pkey_alloc(0, 0);
}

void nt_key_protect(void *address, size_t size, int protection, enum nt_key key)
{
    int result = nt_keys_available() ? pkey_mprotect(address, size, protection, keys[key])
                                     : mprotect(address, size, protection);
    if (result != 0)
        abort();
}

static uint32_t denied(enum nt_key key)
{
    return 1u << (2 * keys[key]);
}

static uint32_t wanted(uint32_t rights)
{
    const struct nt_thread *thread = nt_self;
    rights &= ~(3u << (2 * keys[NT_KEY_PAGEABLE])) & ~(3u << (2 * keys[NT_KEY_USER]));
    if (thread->depth != 0 && thread->irql >= DISPATCH_LEVEL)
        rights |= denied(NT_KEY_PAGEABLE);
    if (thread->depth != 0 && !thread->user_open)
        rights |= denied(NT_KEY_USER);
    return rights;
}

void nt_keys_apply(void)
{
    if (!nt_keys_available())
        return;
    uint32_t rights, high;
    __asm__ volatile("rdpkru" : "=a"(rights), "=d"(high) : "c"(0));
    __asm__ volatile("wrpkru" : : "a"(wanted(rights)), "c"(0), "d"(0) : "memory");
}

void nt_keys_apply_in(ucontext_t *context)
{
    uint8_t *frame = (uint8_t *)context->uc_mcontext.fpregs;
    uint32_t magic, rights;
    uint64_t features;
    if (!nt_keys_available() || frame == NULL)
        return;
    memcpy(&magic, frame + MAGIC_OFFSET, sizeof magic);
    if (magic != XSAVE_MAGIC1)
        return;
    memcpy(&features, frame + XSAVE_HEADER, sizeof features);
    rights = 0;
    if ((features & (1u << PKRU_FEATURE)) != 0)
        memcpy(&rights, frame + frame_offset, sizeof rights);
    rights = wanted(rights);
    features |= 1u << PKRU_FEATURE;
    memcpy(frame + XSAVE_HEADER, &features, sizeof features);
    memcpy(frame + frame_offset, &rights, sizeof rights);
}
