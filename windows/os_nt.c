/*
 * engine/os.h on NT. Called by the engine and by the rest of the driver; threads and IRQL are as
 * os.h states for each service, and every routine used is documented for them.
 *
 * State: how to allocate, how to read the clocks; written by wvu_os_nt_init in DriverEntry, then
 * only read. The objects of os.h hold kernel objects in place; they live in non-paged pool or in the
 * driver's data, as waits at KernelMode and spin locks demand.
 */
#include "os_nt.h"

#include <string.h>

#include "format.h"
#include "log.h"
#include "nt.h"
#include "routines.h"
#include "uuid.h"

#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_TICK   100u /* of NT's clocks and time-outs */

static POOL_TYPE pool_type;
static uint64_t counter_frequency;
static uint64_t ns_per_count; /* 0 when it is not a whole number */

void wvu_os_nt_init(void)
{
    /* "POOL_TYPE": NonPagedPoolNx is there from Windows 8 on. */
    RTL_OSVERSIONINFOW version = {.dwOSVersionInfoSize = sizeof version};
    (void)RtlGetVersion(&version); /* "RtlGetVersion returns STATUS_SUCCESS" */
    bool has_nx =
        version.dwMajorVersion > 6 || (version.dwMajorVersion == 6 && version.dwMinorVersion >= 2);
    pool_type = (POOL_TYPE)(has_nx ? WVU_POOL_NON_PAGED_NX : WVU_POOL_NON_PAGED);

    /* "KeQueryPerformanceCounter": the frequency is fixed at boot, so it can be kept. */
    LARGE_INTEGER frequency;
    (void)KeQueryPerformanceCounter(&frequency);
    counter_frequency = (uint64_t)frequency.QuadPart;
    ns_per_count = NS_PER_SECOND % counter_frequency == 0 ? NS_PER_SECOND / counter_frequency : 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

void *wvu_os_alloc(size_t size, uint32_t tag)
{
    if (wvu_routines.allocate_pool2 != NULL) /* zeroes; 16-byte aligned like all pool on 64 bits */
        return wvu_routines.allocate_pool2(WVU_POOL_FLAG_NON_PAGED, size, tag);
    void *memory = ExAllocatePoolWithTag(pool_type, size, tag);
    if (memory != NULL)
        RtlZeroMemory(memory, size);
    return memory;
}

void wvu_os_free(void *memory, uint32_t tag)
{
    if (memory != NULL)
        ExFreePoolWithTag(memory, tag);
}

/* ---- spin lock -------------------------------------------------------------------------------- */

struct nt_lock {
    KSPIN_LOCK lock;
    KIRQL old_irql; /* the holder's */
};
_Static_assert(sizeof(struct nt_lock) <= sizeof(wvu_lock), "wvu_lock is too small");

void wvu_lock_init(wvu_lock *lock)
{
    KeInitializeSpinLock(&((struct nt_lock *)(void *)lock)->lock);
}

void wvu_lock_acquire(wvu_lock *lock)
{
    struct nt_lock *nt = (struct nt_lock *)(void *)lock;
    KIRQL old_irql = KeAcquireSpinLockRaiseToDpc(&nt->lock);
    nt->old_irql = old_irql;
}

void wvu_lock_release(wvu_lock *lock)
{
    struct nt_lock *nt = (struct nt_lock *)(void *)lock;
    KeReleaseSpinLock(&nt->lock, nt->old_irql);
}

/* ---- mutex: a kernel mutex, because it leaves its holder at PASSIVE_LEVEL (a fast mutex does not)
 *      and keeps it from being suspended while it holds the lock (an event does not) ------------- */

_Static_assert(sizeof(KMUTEX) <= sizeof(wvu_mutex), "wvu_mutex is too small");

wvu_status wvu_mutex_init(wvu_mutex *mutex)
{
    KeInitializeMutex((PKMUTEX)(void *)mutex, 0);
    return WVU_STATUS_OK;
}

void wvu_mutex_destroy(wvu_mutex *mutex)
{
    (void)mutex;
}

void wvu_mutex_acquire(wvu_mutex *mutex)
{
    (void)KeWaitForSingleObject(mutex, Executive, KernelMode, FALSE, NULL);
}

void wvu_mutex_release(wvu_mutex *mutex)
{
    (void)KeReleaseMutex((PKMUTEX)(void *)mutex, FALSE);
}

/* ---- event ----------------------------------------------------------------------------------- */

_Static_assert(sizeof(KEVENT) <= sizeof(wvu_event), "wvu_event is too small");

wvu_status wvu_event_init(wvu_event *event)
{
    KeInitializeEvent((PKEVENT)(void *)event, SynchronizationEvent, FALSE);
    return WVU_STATUS_OK;
}

void wvu_event_destroy(wvu_event *event)
{
    (void)event;
}

void wvu_event_set(wvu_event *event)
{
    (void)KeSetEvent((PKEVENT)(void *)event, IO_NO_INCREMENT, FALSE);
}

wvu_status wvu_event_wait(wvu_event *event, uint64_t timeout_ns)
{
    /* Negative: an interval, which setting the clock does not change. Rounded up, so that a wait is
     * never shorter than asked; zero only looks. */
    uint64_t ticks = timeout_ns / NS_PER_TICK + (timeout_ns % NS_PER_TICK != 0 ? 1 : 0);
    LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)ticks};
    NTSTATUS status = KeWaitForSingleObject(event, Executive, KernelMode, FALSE,
                                            timeout_ns == WVU_TIMEOUT_NONE ? NULL : &timeout);
    return status == STATUS_TIMEOUT ? WVU_STATUS_TIMEOUT : WVU_STATUS_OK;
}

/* ---- thread ---------------------------------------------------------------------------------- */

struct nt_thread {
    HANDLE handle; /* a kernel handle: valid in every process */
    void (*body)(void *context);
    void *context;
};
_Static_assert(sizeof(struct nt_thread) <= sizeof(wvu_thread), "wvu_thread is too small");

static VOID NTAPI run_thread(PVOID context)
{
    struct nt_thread *thread = context;
    thread->body(thread->context);
    (void)PsTerminateSystemThread(STATUS_SUCCESS);
}

wvu_status wvu_thread_start(wvu_thread *out, const char *name, void (*body)(void *), void *context)
{
    struct nt_thread *thread = (struct nt_thread *)(void *)out;
    thread->body = body;
    thread->context = context;
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    NTSTATUS status = PsCreateSystemThread(&thread->handle, SYNCHRONIZE, &attributes, NULL, NULL,
                                           run_thread, thread);
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_MAIN, "cannot start thread %s (0x%08x)", name, (unsigned)status);
    return NT_SUCCESS(status) ? WVU_STATUS_OK : WVU_STATUS_NO_RESOURCES;
}

void wvu_thread_join(wvu_thread *out)
{
    struct nt_thread *thread = (struct nt_thread *)(void *)out;
    /* By handle: the thread is signalled only when it has left the driver's code for good. */
    (void)ZwWaitForSingleObject(thread->handle, FALSE, NULL);
    (void)ZwClose(thread->handle);
}

/* ---- run-down protection ----------------------------------------------------------------------- */

_Static_assert(sizeof(EX_RUNDOWN_REF) <= sizeof(wvu_rundown), "wvu_rundown is too small");

static PEX_RUNDOWN_REF rundown_of(wvu_rundown *rundown)
{
    return (PEX_RUNDOWN_REF)(void *)rundown;
}

wvu_status wvu_rundown_init(wvu_rundown *rundown)
{
    ExInitializeRundownProtection(rundown_of(rundown));
    return WVU_STATUS_OK;
}

void wvu_rundown_destroy(wvu_rundown *rundown)
{
    (void)rundown;
}

bool wvu_rundown_acquire(wvu_rundown *rundown)
{
    return ExAcquireRundownProtection(rundown_of(rundown)) != FALSE;
}

void wvu_rundown_release(wvu_rundown *rundown)
{
    ExReleaseRundownProtection(rundown_of(rundown));
}

void wvu_rundown_wait(wvu_rundown *rundown)
{
    ExWaitForRundownProtectionRelease(rundown_of(rundown));
}

void wvu_rundown_reopen(wvu_rundown *rundown)
{
    ExReInitializeRundownProtection(rundown_of(rundown));
}

/* ---- clocks ---------------------------------------------------------------------------------- */

int64_t wvu_os_system_time(void)
{
    LARGE_INTEGER time = {.QuadPart = 0};
    if (wvu_routines.query_system_time_precise != NULL)
        wvu_routines.query_system_time_precise(&time);
    else
        KeQuerySystemTime(&time);
    return time.QuadPart;
}

uint64_t wvu_os_uptime(void)
{
    uint64_t count = (uint64_t)KeQueryPerformanceCounter(NULL).QuadPart;
    if (ns_per_count != 0)
        return count * ns_per_count;
    /* In two parts, because count * 10^9 would overflow after half a minute at 500 MHz. */
    return count / counter_frequency * NS_PER_SECOND +
           count % counter_frequency * NS_PER_SECOND / counter_frequency;
}

/* ---- randomness ------------------------------------------------------------------------------ */

/* The kernel's generator behind its device; name and code are those of ntddksec.h in the WDK. The
 * routine that does the same without a device, BCryptGenRandom, is no kernel export: importing it
 * would tie the driver to kernels that have cng.sys. */
#define RANDOM_DEVICE       L"\\Device\\KsecDD"
#define IOCTL_RANDOM_NUMBER CTL_CODE(FILE_DEVICE_KSEC, 1, METHOD_BUFFERED, FILE_ANY_ACCESS)
_Static_assert(IOCTL_RANDOM_NUMBER == 0x390004, "IOCTL_KSEC_RNG");

wvu_status wvu_os_nt_secret(void *buffer, size_t size)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK io;
    HANDLE device;
    RtlInitUnicodeString(&name, RANDOM_DEVICE);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL,
                               NULL);
    NTSTATUS status = ZwOpenFile(&device, FILE_READ_DATA | SYNCHRONIZE, &attributes, &io,
                                 FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_SYNCHRONOUS_IO_NONALERT);
    if (!NT_SUCCESS(status))
        return status;
    RtlZeroMemory(buffer, size);
    status = ZwDeviceIoControlFile(device, NULL, NULL, NULL, &io, IOCTL_RANDOM_NUMBER, buffer,
                                   (ULONG)size, buffer, (ULONG)size);
    if (NT_SUCCESS(status))
        status = io.Status;
    (void)ZwClose(device);
    return NT_SUCCESS(status) ? WVU_STATUS_OK : status;
}

/* Unlike any other bytes, though not secret: clocks, addresses and a count, stirred. */
static void stir_clocks(uint8_t *bytes, size_t size)
{
    static uint64_t count;
    static const uint8_t nothing[16];
    while (size != 0) {
        char seed[96];
        uint8_t block[16];
        (void)wvu_format(
            seed, sizeof seed, "%llx %llx %llx %llx %x", (unsigned long long)wvu_os_system_time(),
            (unsigned long long)KeQueryPerformanceCounter(NULL).QuadPart,
            (unsigned long long)wvu_add64_relaxed(&count, 1), (unsigned long long)(uintptr_t)seed,
            (unsigned)(uintptr_t)PsGetCurrentThreadId());
        wvu_uuid_from_name(nothing, seed, block);
        size_t part = size < sizeof block ? size : sizeof block;
        memcpy(bytes, block, part);
        bytes += part;
        size -= part;
    }
}

wvu_status wvu_os_random(void *buffer, size_t size)
{
    wvu_status status = wvu_os_nt_secret(buffer, size);
    if (status != WVU_STATUS_OK) {
        wvu_log_warning(WVU_LOG_MAIN,
                        "the system's random numbers cannot be had (0x%08x); identifiers are made "
                        "from clocks",
                        (unsigned)status);
        stir_clocks(buffer, size);
    }
    return WVU_STATUS_OK;
}

/* ---- case ---------------------------------------------------------------------------------------- */

uint16_t wvu_os_upcase(uint16_t unit)
{
    if (unit < 0x80) /* nearly all of every path, and no call for it */
        return unit >= 'a' && unit <= 'z' ? (uint16_t)(unit - 'a' + 'A') : unit;
    return RtlUpcaseUnicodeChar(unit);
}

/* ---- log ---------------------------------------------------------------------------------------- */

/* DbgPrintEx takes at most 512 bytes at a time ("DbgPrintEx", remarks). */
#define LINE_SIZE 440

void wvu_os_log(uint32_t module, uint32_t level, const char *format, va_list arguments)
{
    static const char *const level_names[] = {"error", "warning", "trace", "info"};
    char line[LINE_SIZE];
    uint64_t us = wvu_os_uptime() / 1000;
    (void)module;
    (void)wvu_format_arguments(line, sizeof line, format, arguments);
    /* The levels of log.h are the DPFLTR levels; this component obeys Kd_DEFAULT_Mask. */
    (void)DbgPrintEx(DPFLTR_DEFAULT_ID, level, "WinVirtUE %u.%06u %s: %s\n",
                     (unsigned)(us / 1000000), (unsigned)(us % 1000000),
                     level < 4 ? level_names[level] : "?", line);
}
