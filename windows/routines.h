/*
 * Kernel routines that not every supported or compatible kernel has. They are looked up once at
 * load; a NULL member means that this kernel lacks the routine, and its caller has a way without.
 *
 * The driver's import table holds only names that every NT kernel since 5.2 exports, so the same
 * binary loads everywhere; tests/windows/imports.py holds it to that.
 *
 * WVU_ROUTINE(name, member, first version that documents it, result, parameters)
 */
#ifndef WVU_ROUTINES_H
#define WVU_ROUTINES_H

#include "nt.h"

#define WVU_ROUTINES                                                                               \
    WVU_ROUTINE(CmCallbackGetKeyObjectID, get_key_object_id, "Windows Vista", NTSTATUS,            \
                (PLARGE_INTEGER cookie, PVOID object, PULONG_PTR id, PCUNICODE_STRING * name))     \
    WVU_ROUTINE(CmCallbackGetKeyObjectIDEx, get_key_object_id_ex, "Windows 8", NTSTATUS,           \
                (PLARGE_INTEGER cookie, PVOID object, PULONG_PTR id, PCUNICODE_STRING * name,      \
                 ULONG flags))                                                                     \
    WVU_ROUTINE(CmCallbackReleaseKeyObjectIDEx, release_key_object_id_ex, "Windows 8", VOID,       \
                (PCUNICODE_STRING name))                                                           \
    WVU_ROUTINE(CmRegisterCallbackEx, register_registry_callback_ex, "Windows Vista", NTSTATUS,    \
                (PEX_CALLBACK_FUNCTION function, PCUNICODE_STRING altitude, PVOID driver,          \
                 PVOID context, PLARGE_INTEGER cookie, PVOID reserved))                            \
    WVU_ROUTINE(ExAllocatePool2, allocate_pool2, "Windows 10 2004", PVOID,                         \
                (ULONGLONG flags, SIZE_T bytes, ULONG tag))                                        \
    WVU_ROUTINE(KdRefreshDebuggerNotPresent, refresh_debugger_not_present, "Windows Vista",        \
                BOOLEAN, (VOID))                                                                   \
    WVU_ROUTINE(KeQuerySystemTimePrecise, query_system_time_precise, "Windows 8", VOID,            \
                (PLARGE_INTEGER time))                                                             \
    WVU_ROUTINE(PsGetProcessCreateTimeQuadPart, process_create_time, "Windows XP", LONGLONG,       \
                (PEPROCESS process))                                                               \
    WVU_ROUTINE(PsGetProcessExitStatus, process_exit_status, "Windows 10 1703", NTSTATUS,          \
                (PEPROCESS process))                                                               \
    WVU_ROUTINE(PsGetProcessStartKey, process_start_key, "Windows 10 1703", ULONGLONG,             \
                (PEPROCESS process))                                                               \
    WVU_ROUTINE(PsSetCreateProcessNotifyRoutineEx, set_create_process_notify_ex,                   \
                "Windows Vista SP1", NTSTATUS,                                                     \
                (PCREATE_PROCESS_NOTIFY_ROUTINE_EX routine, BOOLEAN remove))                       \
    WVU_ROUTINE(PsSetCreateProcessNotifyRoutineEx2, set_create_process_notify_ex2,                 \
                "Windows 10 1703", NTSTATUS, (ULONG type, PVOID information, BOOLEAN remove))      \
    WVU_ROUTINE(PsSetCreateThreadNotifyRoutineEx, set_create_thread_notify_ex, "Windows 10",       \
                NTSTATUS, (ULONG type, PVOID information))                                         \
    WVU_ROUTINE(PsSetLoadImageNotifyRoutineEx, set_load_image_notify_ex, "Windows 10 1709",        \
                NTSTATUS, (PLOAD_IMAGE_NOTIFY_ROUTINE routine, ULONG_PTR flags))                   \
    WVU_ROUTINE(SeLocateProcessImageName, locate_process_image_name, "Windows XP", NTSTATUS,       \
                (PEPROCESS process, PUNICODE_STRING * name))                                       \
    WVU_ROUTINE(ZwQueryInformationProcess, query_information_process, "Windows XP", NTSTATUS,      \
                (HANDLE process, ULONG information, PVOID buffer, ULONG size, PULONG needed))      \
    WVU_ROUTINE(ZwQueryInformationThread, query_information_thread, "Windows XP", NTSTATUS,        \
                (HANDLE thread, ULONG information, PVOID buffer, ULONG size, PULONG needed))       \
    WVU_ROUTINE(ZwQuerySystemInformation, query_system_information, "Windows XP", NTSTATUS,        \
                (ULONG information, PVOID buffer, ULONG size, PULONG needed))

struct wvu_routines {
#define WVU_ROUTINE(name, member, since, result, parameters) result(NTAPI *member) parameters;
    WVU_ROUTINES
#undef WVU_ROUTINE
};

/* Written by wvu_routines_find, then only read. */
extern struct wvu_routines wvu_routines;

/* PASSIVE, once, first of all in DriverEntry. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_routines_find(void);

#endif
