/*
 * The Windows kernel's headers, and what the older ones lack: the MinGW-w64 DDK headers, with which
 * the driver is cross-built, end at about Windows 7. With the WDK the static asserts below hold our
 * declarations against Microsoft's.
 *
 * Every declaration names the page of Microsoft's driver reference that it was made from.
 */
#ifndef WVU_NT_H
#define WVU_NT_H

#if defined(__MINGW32__)
/* ntifs.h of MinGW-w64 defines these two once more; without the first definition they are static, as
 * they are meant to be, and every file may include it. */
#define __INTRINSIC_DEFINED_InterlockedBitTestAndSet
#define __INTRINSIC_DEFINED_InterlockedBitTestAndReset
#endif
#include <ntifs.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For Microsoft's code analysis, which checks them in the Visual Studio build. */
#if !defined(_IRQL_requires_max_)
#define _IRQL_requires_max_(irql)
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define WVU_NT_NOINLINE       __declspec(noinline)
#define WVU_NT_NO_STACK_GUARD __declspec(safebuffers)
#else
#define WVU_NT_NOINLINE       __attribute__((noinline))
#define WVU_NT_NO_STACK_GUARD __attribute__((no_stack_protector))
#endif

/* "POOL_FLAGS": ExAllocatePool2 zeroes what it returns unless told otherwise. */
#define WVU_POOL_FLAG_NON_PAGED 0x0000000000000040ull

/* "POOL_TYPE": NX from Windows 8 (6.2) on; older kernels know only executable non-paged pool. */
#define WVU_POOL_NON_PAGED    0
#define WVU_POOL_NON_PAGED_NX 512

/* "PS_CREATE_NOTIFY_INFO": bits of Flags. */
#define WVU_CREATE_FILE_OPEN_NAME_AVAILABLE 0x1u
#define WVU_CREATE_IS_SUBSYSTEM_PROCESS     0x2u

/* "IMAGE_INFO": bits of Properties, from the least significant one on: ImageAddressingMode 8,
 * SystemModeImage 1, ImageMappedToAllPids 1, ExtendedInfoPresent 1, MachineTypeMismatch 1,
 * ImageSignatureLevel 4, ImageSignatureType 3, ImagePartialMap 1. */
#define WVU_IMAGE_SYSTEM_MODE            (1u << 8)
#define WVU_IMAGE_EXTENDED_INFO_PRESENT  (1u << 10)
#define WVU_IMAGE_SIGNATURE_LEVEL(flags) ((flags) >> 12 & 0xFu)
#define WVU_IMAGE_SIGNATURE_TYPE(flags)  ((flags) >> 16 & 0x7u)

/* "PsSetLoadImageNotifyRoutineEx": images of other architectures too. */
#define WVU_IMAGE_NOTIFY_CONFLICTING_ARCHITECTURE 0x1u

/* "Process Security and Access Rights". */
#define WVU_PROCESS_TERMINATE         0x0001
#define WVU_PROCESS_QUERY_INFORMATION 0x0400
#define WVU_THREAD_QUERY_INFORMATION  0x0040

/* "PSCREATETHREADNOTIFYTYPE": PsCreateThreadNotifySubsystems. */
#define WVU_CREATE_THREAD_NOTIFY_SUBSYSTEMS 1

/* "PSCREATEPROCESSNOTIFYTYPE": PsCreateProcessNotifySubsystems, the only one. */
#define WVU_CREATE_PROCESS_NOTIFY_SUBSYSTEMS 0

#if defined(_WIN64)
_Static_assert(sizeof(PS_CREATE_NOTIFY_INFO) == 72, "PS_CREATE_NOTIFY_INFO");
_Static_assert(offsetof(PS_CREATE_NOTIFY_INFO, ParentProcessId) == 16, "PS_CREATE_NOTIFY_INFO");
_Static_assert(offsetof(PS_CREATE_NOTIFY_INFO, CreatingThreadId) == 24, "PS_CREATE_NOTIFY_INFO");
_Static_assert(offsetof(PS_CREATE_NOTIFY_INFO, FileObject) == 40, "PS_CREATE_NOTIFY_INFO");
_Static_assert(offsetof(PS_CREATE_NOTIFY_INFO, ImageFileName) == 48, "PS_CREATE_NOTIFY_INFO");
_Static_assert(offsetof(PS_CREATE_NOTIFY_INFO, CommandLine) == 56, "PS_CREATE_NOTIFY_INFO");
_Static_assert(offsetof(PS_CREATE_NOTIFY_INFO, CreationStatus) == 64, "PS_CREATE_NOTIFY_INFO");
_Static_assert(sizeof(IMAGE_INFO) == 40, "IMAGE_INFO");
_Static_assert(offsetof(IMAGE_INFO, ImageBase) == 8, "IMAGE_INFO");
_Static_assert(offsetof(IMAGE_INFO, ImageSize) == 24, "IMAGE_INFO");
#endif

#endif
