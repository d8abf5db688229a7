/*
 * The part of the Filter Manager's interface that the driver uses. The WDK has it in fltKernel.h;
 * MinGW-w64 has none of it, so for the cross build it is declared here, from Microsoft's driver
 * reference ("FLT_REGISTRATION", "FltRegisterFilter", "FltCreateCommunicationPort",
 * "FltSendMessage", "FltBuildDefaultSecurityDescriptor" and the pages they name). The asserts at
 * the end hold for both.
 */
#ifndef WVU_FLT_H
#define WVU_FLT_H

#include "nt.h"

#if defined(__MINGW32__)

#define FLTAPI NTAPI

typedef struct _FLT_FILTER *PFLT_FILTER;
typedef struct _FLT_PORT *PFLT_PORT;

#define FLT_PORT_CONNECT    0x0001
#define FLT_PORT_ALL_ACCESS (FLT_PORT_CONNECT | STANDARD_RIGHTS_ALL)

typedef ULONG FLT_REGISTRATION_FLAGS;
typedef ULONG FLT_FILTER_UNLOAD_FLAGS;
#define FLTFL_FILTER_UNLOAD_MANDATORY 0x00000001

typedef NTSTATUS(FLTAPI *PFLT_FILTER_UNLOAD_CALLBACK)(FLT_FILTER_UNLOAD_FLAGS Flags);

/* Members of which the driver only says that they are not there. */
typedef NTSTATUS(FLTAPI *PFLT_UNUSED_CALLBACK)(void);

/* Windows Vista and later; 0x0203 is the revision that has SectionNotificationCallback, the one of
 * Windows 8 and later. */
#define FLT_REGISTRATION_VERSION 0x0203

typedef struct _FLT_REGISTRATION {
    USHORT Size;
    USHORT Version;
    FLT_REGISTRATION_FLAGS Flags;
    const struct _FLT_CONTEXT_REGISTRATION *ContextRegistration;
    const struct _FLT_OPERATION_REGISTRATION *OperationRegistration;
    PFLT_FILTER_UNLOAD_CALLBACK FilterUnloadCallback;
    PFLT_UNUSED_CALLBACK InstanceSetupCallback;
    PFLT_UNUSED_CALLBACK InstanceQueryTeardownCallback;
    PFLT_UNUSED_CALLBACK InstanceTeardownStartCallback;
    PFLT_UNUSED_CALLBACK InstanceTeardownCompleteCallback;
    PFLT_UNUSED_CALLBACK GenerateFileNameCallback;
    PFLT_UNUSED_CALLBACK NormalizeNameComponentCallback;
    PFLT_UNUSED_CALLBACK NormalizeContextCleanupCallback;
    PFLT_UNUSED_CALLBACK TransactionNotificationCallback;
    PFLT_UNUSED_CALLBACK NormalizeNameComponentExCallback;
    PFLT_UNUSED_CALLBACK SectionNotificationCallback;
} FLT_REGISTRATION, *PFLT_REGISTRATION;

typedef NTSTATUS(FLTAPI *PFLT_CONNECT_NOTIFY)(PFLT_PORT ClientPort, PVOID ServerPortCookie,
                                              PVOID ConnectionContext, ULONG SizeOfContext,
                                              PVOID *ConnectionPortCookie);
typedef VOID(FLTAPI *PFLT_DISCONNECT_NOTIFY)(PVOID ConnectionCookie);
typedef NTSTATUS(FLTAPI *PFLT_MESSAGE_NOTIFY)(PVOID PortCookie, PVOID InputBuffer,
                                              ULONG InputBufferLength, PVOID OutputBuffer,
                                              ULONG OutputBufferLength,
                                              PULONG ReturnOutputBufferLength);

NTSTATUS FLTAPI FltRegisterFilter(PDRIVER_OBJECT Driver, const FLT_REGISTRATION *Registration,
                                  PFLT_FILTER *RetFilter);
VOID FLTAPI FltUnregisterFilter(PFLT_FILTER Filter);
NTSTATUS FLTAPI FltStartFiltering(PFLT_FILTER Filter);
NTSTATUS FLTAPI FltBuildDefaultSecurityDescriptor(PSECURITY_DESCRIPTOR *SecurityDescriptor,
                                                  ACCESS_MASK DesiredAccess);
VOID FLTAPI FltFreeSecurityDescriptor(PSECURITY_DESCRIPTOR SecurityDescriptor);
NTSTATUS FLTAPI FltCreateCommunicationPort(PFLT_FILTER Filter, PFLT_PORT *ServerPort,
                                           POBJECT_ATTRIBUTES ObjectAttributes,
                                           PVOID ServerPortCookie,
                                           PFLT_CONNECT_NOTIFY ConnectNotifyCallback,
                                           PFLT_DISCONNECT_NOTIFY DisconnectNotifyCallback,
                                           PFLT_MESSAGE_NOTIFY MessageNotifyCallback,
                                           LONG MaxConnections);
VOID FLTAPI FltCloseCommunicationPort(PFLT_PORT ServerPort);
VOID FLTAPI FltCloseClientPort(PFLT_FILTER Filter, PFLT_PORT *ClientPort);
NTSTATUS FLTAPI FltSendMessage(PFLT_FILTER Filter, PFLT_PORT *ClientPort, PVOID SenderBuffer,
                               ULONG SenderBufferLength, PVOID ReplyBuffer, PULONG ReplyLength,
                               PLARGE_INTEGER Timeout);

#else
#include <fltKernel.h>
#endif

/* STATUS_FLT_DELETING_OBJECT ("NTSTATUS Values"): FilterConnectCommunicationPort tells it as
 * ERROR_FLT_DELETING_OBJECT, while the usual status of something that is going away would come out as
 * "access denied". */
#define WVU_NTSTATUS_STOPPING ((NTSTATUS)0xC01C000BL)

#if defined(_WIN64)
_Static_assert(sizeof(FLT_REGISTRATION) == 112, "FLT_REGISTRATION");
_Static_assert(offsetof(FLT_REGISTRATION, ContextRegistration) == 8, "FLT_REGISTRATION");
_Static_assert(offsetof(FLT_REGISTRATION, OperationRegistration) == 16, "FLT_REGISTRATION");
_Static_assert(offsetof(FLT_REGISTRATION, FilterUnloadCallback) == 24, "FLT_REGISTRATION");
_Static_assert(offsetof(FLT_REGISTRATION, InstanceQueryTeardownCallback) == 40, "FLT_REGISTRATION");
_Static_assert(offsetof(FLT_REGISTRATION, NormalizeContextCleanupCallback) == 80,
               "FLT_REGISTRATION");
_Static_assert(offsetof(FLT_REGISTRATION, SectionNotificationCallback) == 104, "FLT_REGISTRATION");
#endif
_Static_assert(FLT_REGISTRATION_VERSION == 0x0203, "the revision that this driver was written for");
_Static_assert(STATUS_FLT_DO_NOT_DETACH == (NTSTATUS)0xC01C0010L, "refusing to unload");
_Static_assert(FLT_PORT_ALL_ACCESS == (FLT_PORT_CONNECT | STANDARD_RIGHTS_ALL), "port rights");

#endif
