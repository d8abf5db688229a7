/*
 * Breaks no rule and does inline what a Linux process cannot: exceptions, the IRQL register, the
 * shared data page, the current thread. Returns from DriverEntry the number of the first thing that did
 * not work, as an error.
 */
#include "driver.h"

#define CHECK(number, condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return (NTSTATUS)(0xE0000000u + (number));                                             \
    } while (0)

static volatile LONG cleaned;
extern UCHAR specimen_buffer[300];
UCHAR specimen_buffer[300];

__attribute__((noinline)) static UCHAR load(volatile UCHAR *from)
{
    return *from;
}

__attribute__((noinline)) static UCHAR load_deeper(volatile UCHAR *from, ULONG level)
{
    volatile UCHAR room[64];
    room[level % sizeof room] = level == 0 ? load(from) : load_deeper(from, level - 1);
    return room[level % sizeof room];
}

__attribute__((noinline)) static NTSTATUS read_guarded(PVOID from, ULONG level)
{
    __try {
        (void)load_deeper(from, level);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

__attribute__((noinline)) static NTSTATUS probe_guarded(PVOID from, SIZE_T size, ULONG alignment)
{
    __try {
        ProbeForRead(from, size, alignment);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

/* The kernel's, which faults in its middle. By pointer: clang knows that memcpy throws nothing, and
 * guards no call of it. */
static void(NTAPI *volatile copy)(PVOID to, const VOID *from, SIZE_T size);

__attribute__((noinline)) static void copy_and_clean(PVOID to, PVOID from)
{
    __try {
        copy(to, from, 300);
    } __finally {
        InterlockedIncrement(&cleaned);
    }
}

static LONG only(NTSTATUS wanted, NTSTATUS code)
{
    return wanted == code ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH;
}

__attribute__((noinline)) static LONG nested(PVOID from)
{
    __try {
        __try {
            copy_and_clean(specimen_buffer, from);
        } __except (only(STATUS_DATATYPE_MISALIGNMENT, GetExceptionCode())) {
            return 1;
        }
    } __except (only(STATUS_ACCESS_VIOLATION, GetExceptionCode())) {
        return 2;
    }
    return 3;
}

__attribute__((noinline)) static NTSTATUS raise_guarded(void)
{
    __try {
        ExRaiseStatus(STATUS_DISK_FULL);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

static NTSTATUS exceptions(void)
{
    PVOID unmapped = (PVOID)(ULONG_PTR)0x1000;
    for (ULONG level = 0; level < 5; level++)
        CHECK(1, read_guarded(unmapped, level) == STATUS_ACCESS_VIOLATION);
    CHECK(2, probe_guarded((PVOID)&cleaned, 4, 1) == STATUS_ACCESS_VIOLATION);
    CHECK(3, probe_guarded((PVOID)(ULONG_PTR)0x1001, 4, 4) == STATUS_DATATYPE_MISALIGNMENT);
    CHECK(4, probe_guarded((PVOID)&cleaned, 0, 1) == STATUS_SUCCESS);
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"RtlMoveMemory");
    *(PVOID *)(PVOID)&copy = MmGetSystemRoutineAddress(&name);
    CHECK(5, nested(unmapped) == 2 && cleaned == 1);
    CHECK(6, raise_guarded() == STATUS_DISK_FULL);
    return STATUS_SUCCESS;
}

static NTSTATUS irql(void)
{
    KIRQL old;
    KSPIN_LOCK lock;
    CHECK(10, KeGetCurrentIrql() == PASSIVE_LEVEL);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK(11, old == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeLowerIrql(old);
    KeInitializeSpinLock(&lock);
    KeAcquireSpinLock(&lock, &old);
    CHECK(12, KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeReleaseSpinLock(&lock, old);
    CHECK(13, KeGetCurrentIrql() == PASSIVE_LEVEL);
    return STATUS_SUCCESS;
}

static NTSTATUS shared_data(void)
{
    LARGE_INTEGER precise, inline_time;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"KeQuerySystemTimePrecise");
    VOID(NTAPI * query)(PLARGE_INTEGER time) = MmGetSystemRoutineAddress(&name);
    CHECK(20, query != NULL);
    query(&precise);
    KeQuerySystemTime(&inline_time);
    CHECK(21, inline_time.QuadPart - precise.QuadPart >= -10000 &&
                  inline_time.QuadPart - precise.QuadPart < 100000000);
    ULONGLONG begun = KeQueryInterruptTime();
    LARGE_INTEGER pause = {.QuadPart = -20000};
    (void)KeDelayExecutionThread(KernelMode, FALSE, &pause);
    CHECK(22, KeQueryInterruptTime() - begun >= 20000);
    return STATUS_SUCCESS;
}

static KEVENT told, stop;
static PVOID seen_thread;

static VOID NTAPI work(PVOID context)
{
    (void)context;
    seen_thread = KeGetCurrentThread();
    (void)KeSetEvent(&told, IO_NO_INCREMENT, FALSE);
    (void)KeWaitForSingleObject(&stop, Executive, KernelMode, FALSE, NULL);
    (void)PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS threads(void)
{
    HANDLE handle;
    PVOID thread;
    OBJECT_ATTRIBUTES attributes;
    LARGE_INTEGER brief = {.QuadPart = -10000};
    KeInitializeEvent(&told, SynchronizationEvent, FALSE);
    KeInitializeEvent(&stop, NotificationEvent, FALSE);
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(30, NT_SUCCESS(
                  PsCreateSystemThread(&handle, SYNCHRONIZE, &attributes, NULL, NULL, work, NULL)));
    NTSTATUS status =
        ObReferenceObjectByHandle(handle, SYNCHRONIZE, NULL, KernelMode, &thread, NULL);
    (void)ZwClose(handle);
    CHECK(31, NT_SUCCESS(status));
    (void)KeWaitForSingleObject(&told, Executive, KernelMode, FALSE, NULL);
    NTSTATUS early = KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, &brief);
    (void)KeSetEvent(&stop, IO_NO_INCREMENT, FALSE);
    (void)KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(thread);
    CHECK(32, early == STATUS_TIMEOUT);
    CHECK(33, seen_thread == thread && thread != KeGetCurrentThread());
    return STATUS_SUCCESS;
}

NTSTATUS begin(void)
{
    NTSTATUS status = exceptions();
    if (NT_SUCCESS(status))
        status = irql();
    if (NT_SUCCESS(status))
        status = shared_data();
    if (NT_SUCCESS(status))
        status = threads();
    return status;
}

void end(void)
{
}
