/*
 * What Wine 8 does not have, put in the place of the driver's imports; and process events, which Wine
 * accepts callbacks for and never makes. Test only: the driver's file is not touched, its copy in memory
 * is, as debuggers do it.
 *
 * The driver is found among the loaded modules as the one that imports from fltmgr.sys. Its imports are
 * bound already when the entry of this module is called, and its own entry was not called yet.
 *
 * Replaced are: run-down protection (a stub in Wine ends the process), mutexes and timers (sync.c), tokens,
 * the registration of process callbacks (kept here and called by inject), and MmGetSystemRoutineAddress,
 * so that what is looked up by name is replaced as well.
 */
#include "fltmgr.h"

#include <ntimage.h>
#include <string.h>

/* The loader's list of modules; only what is needed. */
struct module {
    LIST_ENTRY links;
    LIST_ENTRY more[2];
    PVOID base;
    PVOID entry;
    ULONG size;
    UNICODE_STRING path;
    UNICODE_STRING name;
};

NTSYSAPI NTSTATUS NTAPI NtProtectVirtualMemory(HANDLE process, PVOID *base, PSIZE_T size,
                                               ULONG protect, PULONG old);

/* ---- run-down protection: twice the number of those inside, and bit 0 once it is being run down -------------- */

static KEVENT rundown_changed;

static VOID NTAPI rundown_initialize(volatile LONG64 *rundown)
{
    *rundown = 0;
}

static BOOLEAN NTAPI rundown_acquire(volatile LONG64 *rundown)
{
    LONG64 value = *rundown;
    while ((value & 1) == 0) {
        LONG64 seen = InterlockedCompareExchange64(rundown, value + 2, value);
        if (seen == value)
            return TRUE;
        value = seen;
    }
    return FALSE;
}

static VOID NTAPI rundown_release(volatile LONG64 *rundown)
{
    if (InterlockedAdd64(rundown, -2) == 1)
        (void)KeSetEvent(&rundown_changed, IO_NO_INCREMENT, FALSE);
}

static VOID NTAPI rundown_wait(volatile LONG64 *rundown)
{
    LARGE_INTEGER look_again = {.QuadPart = -10 * 10000};
    InterlockedOr64(rundown, 1);
    while (*rundown != 1)
        (void)KeWaitForSingleObject(&rundown_changed, Executive, KernelMode, FALSE, &look_again);
}

/* ---- tokens: everybody is SYSTEM ------------------------------------------------------------------------------- */

static char token;

static PVOID NTAPI reference_token(PEPROCESS process)
{
    (void)process;
    return &token;
}

static VOID NTAPI dereference_token(PVOID object)
{
    (void)object;
}

static NTSTATUS NTAPI query_token(PVOID object, ULONG information, PVOID *out)
{
    (void)object;
    struct {
        TOKEN_USER user;
        SID sid;
    } * answer;
    if (information == TokenSessionId) {
        *out = (PVOID)(ULONG_PTR)7;
        return STATUS_SUCCESS;
    }
    answer = ExAllocatePoolWithTag(PagedPool, sizeof *answer, TAG);
    if (answer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    answer->sid = (SID){1, 1, {{0, 0, 0, 0, 0, 5}}, {18}};
    answer->user.User.Sid = &answer->sid;
    *out = answer;
    return STATUS_SUCCESS;
}

/* ---- processes ---------------------------------------------------------------------------------------------------- */

typedef VOID(NTAPI *process_callback)(PEPROCESS process, HANDLE id, PPS_CREATE_NOTIFY_INFO info);

static process_callback volatile callback;
static struct injection current; /* what is being announced; one thread runs all IRPs */

static NTSTATUS set_callback(process_callback routine, BOOLEAN remove)
{
    if (remove && callback != routine)
        return STATUS_INVALID_PARAMETER;
    callback = remove ? NULL : routine;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI set_process_ex(process_callback routine, BOOLEAN remove)
{
    return set_callback(routine, remove);
}

static NTSTATUS NTAPI set_process_ex2(ULONG type, process_callback routine, BOOLEAN remove)
{
    (void)type;
    return set_callback(routine, remove);
}

static ULONGLONG NTAPI start_key(PEPROCESS process)
{
    (void)process;
    return current.key;
}

static NTSTATUS NTAPI exit_status(PEPROCESS process)
{
    (void)process;
    return current.kind == INJECT_EXIT ? (NTSTATUS)current.status : STATUS_PENDING;
}

/* ProcessBreakOnTermination, which Wine does not know: no process is critical. */
#define BREAK_ON_TERMINATION 29

static NTSTATUS NTAPI query_process(HANDLE process, ULONG information, PVOID buffer, ULONG size,
                                    PULONG needed)
{
    if (information != BREAK_ON_TERMINATION)
        return ZwQueryInformationProcess(process, information, buffer, size, needed);
    if (size != sizeof(ULONG))
        return STATUS_INFO_LENGTH_MISMATCH;
    *(PULONG)buffer = 0;
    return STATUS_SUCCESS;
}

static PUNICODE_STRING string_at(const UCHAR *bytes, UINT16 length, PUNICODE_STRING string)
{
    if (length == 0xFFFF)
        return NULL;
    string->Buffer = (PWSTR)(ULONG_PTR)bytes;
    string->Length = string->MaximumLength = length;
    return string;
}

static ULONG length_of(UINT16 length)
{
    return length == 0xFFFF ? 0 : length;
}

NTSTATUS inject(const struct injection *injection, ULONG size)
{
    UNICODE_STRING image, command;
    process_callback routine = callback;
    if (size < sizeof *injection ||
        size - sizeof *injection <
            length_of(injection->image_length) + length_of(injection->command_length))
        return STATUS_INVALID_PARAMETER;
    if (routine == NULL)
        return STATUS_NOT_FOUND;
    const UCHAR *texts = (const UCHAR *)(injection + 1);
    PS_CREATE_NOTIFY_INFO info = {
        .Size = sizeof info,
        .ParentProcessId = (HANDLE)(ULONG_PTR)injection->parent,
        .CreatingThreadId = {(HANDLE)(ULONG_PTR)injection->parent, (HANDLE)(ULONG_PTR)8},
        .ImageFileName = string_at(texts, injection->image_length, &image),
        .CommandLine = string_at(texts + length_of(injection->image_length),
                                 injection->command_length, &command),
    };
    current = *injection;
    routine(IoGetCurrentProcess(), (HANDLE)(ULONG_PTR)injection->process,
            injection->kind == INJECT_CREATE ? &info : NULL);
    current = (struct injection){.kind = 0};
    return info.CreationStatus;
}

/* ---- replacing ---------------------------------------------------------------------------------------------------- */

static PVOID NTAPI find_routine(PUNICODE_STRING name);

struct replacement {
    const char *name;
    PVOID routine;
};

/* Those behind the empty line are found by name only; NULL: this kernel does not have them. */
static const struct replacement replacements[] = {
    {"ExInitializeRundownProtection", (PVOID)(ULONG_PTR)rundown_initialize},
    {"ExReInitializeRundownProtection", (PVOID)(ULONG_PTR)rundown_initialize},
    {"ExAcquireRundownProtection", (PVOID)(ULONG_PTR)rundown_acquire},
    {"ExReleaseRundownProtection", (PVOID)(ULONG_PTR)rundown_release},
    {"ExWaitForRundownProtectionRelease", (PVOID)(ULONG_PTR)rundown_wait},
    {"KeInitializeMutex", (PVOID)(ULONG_PTR)sync_initialize_mutex},
    {"KeReleaseMutex", (PVOID)(ULONG_PTR)sync_release_mutex},
    {"KeInitializeTimerEx", (PVOID)(ULONG_PTR)sync_initialize_timer},
    {"KeSetTimer", (PVOID)(ULONG_PTR)sync_set_timer},
    {"KeCancelTimer", (PVOID)(ULONG_PTR)sync_cancel_timer},
    {"KeWaitForSingleObject", (PVOID)(ULONG_PTR)sync_wait_single},
    {"KeWaitForMultipleObjects", (PVOID)(ULONG_PTR)sync_wait_multiple},
    {"PsReferencePrimaryToken", (PVOID)(ULONG_PTR)reference_token},
    {"PsDereferencePrimaryToken", (PVOID)(ULONG_PTR)dereference_token},
    {"SeQueryInformationToken", (PVOID)(ULONG_PTR)query_token},
    {"MmGetSystemRoutineAddress", (PVOID)(ULONG_PTR)find_routine},

    {"PsSetCreateProcessNotifyRoutineEx", (PVOID)(ULONG_PTR)set_process_ex},
    {"PsSetCreateProcessNotifyRoutineEx2", (PVOID)(ULONG_PTR)set_process_ex2},
    {"PsGetProcessStartKey", (PVOID)(ULONG_PTR)start_key},
    {"PsGetProcessExitStatus", (PVOID)(ULONG_PTR)exit_status},
    {"ZwQueryInformationProcess", (PVOID)(ULONG_PTR)query_process},
    {"PsGetProcessCreateTimeQuadPart", NULL},
    {"PsSetLoadImageNotifyRoutineEx", NULL},
    {"KdRefreshDebuggerNotPresent", NULL},
};

static const struct replacement *find_replacement(const char *name)
{
    for (ULONG i = 0; i < RTL_NUMBER_OF(replacements); i++) {
        if (strcmp(replacements[i].name, name) == 0)
            return &replacements[i];
    }
    return NULL;
}

static PVOID NTAPI find_routine(PUNICODE_STRING name)
{
    char ascii[64];
    ULONG length = name->Length / sizeof(WCHAR);
    if (length >= sizeof ascii)
        return NULL;
    for (ULONG i = 0; i < length; i++)
        ascii[i] = (char)name->Buffer[i];
    ascii[length] = '\0';
    const struct replacement *replacement = find_replacement(ascii);
    return replacement != NULL ? replacement->routine : MmGetSystemRoutineAddress(name);
}

/* ---- the driver's import table -------------------------------------------------------------------------------------- */

static const IMAGE_IMPORT_DESCRIPTOR *imports_of(PUCHAR base)
{
    const IMAGE_NT_HEADERS *headers = (const VOID *)(base + ((PIMAGE_DOS_HEADER)base)->e_lfanew);
    ULONG at = headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT].VirtualAddress;
    return at != 0 ? (const VOID *)(base + at) : NULL;
}

static BOOLEAN same_name(const char *a, const char *b)
{
    while (*a != '\0' && ((*a | 0x20) == (*b | 0x20))) {
        a++;
        b++;
    }
    return *a == *b;
}

static BOOLEAN imports_from(PUCHAR base, const char *library)
{
    const IMAGE_IMPORT_DESCRIPTOR *import = imports_of(base);
    for (; import != NULL && import->Name != 0; import++) {
        if (same_name((const char *)base + import->Name, library))
            return TRUE;
    }
    return FALSE;
}

static VOID replace(PVOID *slot, PVOID routine)
{
    PVOID page = slot;
    SIZE_T size = sizeof *slot;
    ULONG old;
    if (NT_SUCCESS(NtProtectVirtualMemory((HANDLE)-1, &page, &size, PAGE_READWRITE, &old))) {
        *slot = routine;
        (void)NtProtectVirtualMemory((HANDLE)-1, &page, &size, old, &old);
    }
}

static VOID patch_module(PUCHAR base)
{
    for (const IMAGE_IMPORT_DESCRIPTOR *import = imports_of(base); import->Name != 0; import++) {
        const ULONG_PTR *names = (const VOID *)(base + import->OriginalFirstThunk);
        PVOID *slots = (PVOID *)(base + import->FirstThunk);
        for (ULONG i = 0; names[i] != 0; i++) {
            const struct replacement *replacement =
                find_replacement((const char *)base + names[i] + sizeof(USHORT));
            if (replacement != NULL)
                replace(&slots[i], replacement->routine);
        }
    }
}

BOOLEAN patch_driver(VOID)
{
    PUCHAR peb = (PUCHAR)__readgsqword(0x60);
    PUCHAR loader = *(PUCHAR *)(peb + 0x18);
    PLIST_ENTRY head = (PLIST_ENTRY)(loader + 0x10); /* in the order of loading */
    BOOLEAN found = FALSE;
    KeInitializeEvent(&rundown_changed, SynchronizationEvent, FALSE);
    for (PLIST_ENTRY at = head->Flink; at != head; at = at->Flink) {
        struct module *module = CONTAINING_RECORD(at, struct module, links);
        if (imports_from(module->base, "fltmgr.sys")) {
            patch_module(module->base);
            found = TRUE;
        }
    }
    return found;
}
