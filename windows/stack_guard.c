/*
 * What -fstack-protector-strong asks of its environment (clang only; Microsoft's compiler has /GS
 * and brings its own). A function whose stack was overrun ends the system with the bug check that
 * Windows uses for just that, instead of returning to an address that somebody wrote there.
 *
 * The guard is written once, first of all in DriverEntry, which is itself unprotected.
 */
#include "stack_guard.h"

#if defined(__clang__)

#define DRIVER_OVERRAN_STACK_BUFFER_CODE 0xF7 /* "Bug Check 0xF7" */

uintptr_t __stack_chk_guard = (uintptr_t)0x00002B992DDFA232ull;
__declspec(noreturn) void __stack_chk_fail(void);

WVU_NT_NO_STACK_GUARD void wvu_stack_guard_init(void)
{
    /* Unlike between loads and machines, which is what the guard needs. A zero byte ends strings
     * that would otherwise copy over it. */
    uint64_t count = (uint64_t)KeQueryPerformanceCounter(NULL).QuadPart;
    __stack_chk_guard = (uintptr_t)((count * 0x9E3779B97F4A7C15ull ^ (uintptr_t)&count) & ~0xFFull);
}

WVU_NT_NO_STACK_GUARD void __stack_chk_fail(void)
{
    KeBugCheckEx(DRIVER_OVERRAN_STACK_BUFFER_CODE, 0, __stack_chk_guard, ~__stack_chk_guard, 0);
    __builtin_unreachable();
}

#else

void wvu_stack_guard_init(void)
{
}

#endif
