/*
 * What a driver and the kernel share, as the stand-in kernel sees it: the few structures of the
 * Windows kernel (x64) whose layout a driver is compiled against. Names, members and values are those
 * of the public documentation (learn.microsoft.com, "Windows driver API reference"); only what is
 * used here is declared. The static asserts hold the layout that mingw-w64's headers give a driver.
 *
 * Everything a driver calls, and everything of a driver that is called, uses Microsoft's calling
 * convention: NTAPI.
 */
#ifndef NT_TYPES_H
#define NT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NTAPI __attribute__((ms_abi))

typedef int32_t NTSTATUS;
typedef uint16_t WCHAR;
typedef uint8_t BOOLEAN;
typedef uint8_t KIRQL;
typedef void *HANDLE;

enum { PASSIVE_LEVEL = 0, APC_LEVEL = 1, DISPATCH_LEVEL = 2, HIGH_LEVEL = 15 };

#define NT_STATUS(value)                ((NTSTATUS)(value##u))
#define STATUS_SUCCESS                  NT_STATUS(0x00000000)
#define STATUS_WAIT_0                   NT_STATUS(0x00000000)
#define STATUS_TIMEOUT                  NT_STATUS(0x00000102)
#define STATUS_BREAKPOINT               NT_STATUS(0x80000003)
#define STATUS_DATATYPE_MISALIGNMENT    NT_STATUS(0x80000002)
#define STATUS_BUFFER_OVERFLOW          NT_STATUS(0x80000005)
#define STATUS_NO_MORE_ENTRIES          NT_STATUS(0x8000001A)
#define STATUS_UNSUCCESSFUL             NT_STATUS(0xC0000001)
#define STATUS_NOT_IMPLEMENTED          NT_STATUS(0xC0000002)
#define STATUS_INVALID_INFO_CLASS       NT_STATUS(0xC0000003)
#define STATUS_ACCESS_VIOLATION         NT_STATUS(0xC0000005)
#define STATUS_INVALID_HANDLE           NT_STATUS(0xC0000008)
#define STATUS_INVALID_CID              NT_STATUS(0xC000000B)
#define STATUS_INVALID_PARAMETER        NT_STATUS(0xC000000D)
#define STATUS_ILLEGAL_INSTRUCTION      NT_STATUS(0xC000001D)
#define STATUS_NO_MEMORY                NT_STATUS(0xC0000017)
#define STATUS_ACCESS_DENIED            NT_STATUS(0xC0000022)
#define STATUS_BUFFER_TOO_SMALL         NT_STATUS(0xC0000023)
#define STATUS_OBJECT_TYPE_MISMATCH     NT_STATUS(0xC0000024)
#define STATUS_OBJECT_NAME_NOT_FOUND    NT_STATUS(0xC0000034)
#define STATUS_OBJECT_NAME_COLLISION    NT_STATUS(0xC0000035)
#define STATUS_PORT_DISCONNECTED        NT_STATUS(0xC0000037)
#define STATUS_MUTANT_NOT_OWNED         NT_STATUS(0xC0000046)
#define STATUS_SEMAPHORE_LIMIT_EXCEEDED NT_STATUS(0xC0000047)
#define STATUS_PROCEDURE_NOT_FOUND      NT_STATUS(0xC000007A)
#define STATUS_INSUFFICIENT_RESOURCES   NT_STATUS(0xC000009A)
#define STATUS_NOT_SUPPORTED            NT_STATUS(0xC00000BB)
#define STATUS_INVALID_IMAGE_FORMAT     NT_STATUS(0xC000007B)
#define STATUS_INTEGER_DIVIDE_BY_ZERO   NT_STATUS(0xC0000094)
#define STATUS_CANCELLED                NT_STATUS(0xC0000120)
#define STATUS_CONNECTION_COUNT_LIMIT   NT_STATUS(0xC0000246)
#define STATUS_NOT_FOUND                NT_STATUS(0xC0000225)
#define STATUS_INVALID_DEVICE_REQUEST   NT_STATUS(0xC0000010)
#define STATUS_PROCESS_IS_TERMINATING   NT_STATUS(0xC000010A)
#define STATUS_FLT_DELETING_OBJECT      NT_STATUS(0xC01C000B)
#define STATUS_FLT_DO_NOT_DETACH        NT_STATUS(0xC01C0010)
#define STATUS_FLT_NOT_INITIALIZED      NT_STATUS(0xC01C0007)
#define STATUS_FLT_NO_WAITER_FOR_REPLY  NT_STATUS(0xC01C0020)

typedef struct UNICODE_STRING {
    uint16_t Length;        /* bytes */
    uint16_t MaximumLength; /* bytes */
    uint32_t Padding;
    WCHAR *Buffer;
} UNICODE_STRING;

typedef struct ANSI_STRING {
    uint16_t Length;
    uint16_t MaximumLength;
    uint32_t Padding;
    char *Buffer;
} ANSI_STRING;

typedef struct LIST_ENTRY {
    struct LIST_ENTRY *Flink;
    struct LIST_ENTRY *Blink;
} LIST_ENTRY;

typedef struct CLIENT_ID {
    HANDLE UniqueProcess;
    HANDLE UniqueThread;
} CLIENT_ID;

typedef struct OBJECT_ATTRIBUTES {
    uint32_t Length;
    uint32_t Padding;
    HANDLE RootDirectory;
    UNICODE_STRING *ObjectName;
    uint32_t Attributes;
    uint32_t Padding2;
    void *SecurityDescriptor;
    void *SecurityQualityOfService;
} OBJECT_ATTRIBUTES;

#define OBJ_CASE_INSENSITIVE 0x40u
#define OBJ_KERNEL_HANDLE    0x200u

struct DRIVER_OBJECT;
typedef NTSTATUS(NTAPI *DRIVER_INITIALIZE)(struct DRIVER_OBJECT *driver, UNICODE_STRING *registry);
typedef void(NTAPI *DRIVER_UNLOAD)(struct DRIVER_OBJECT *driver);

typedef struct DRIVER_OBJECT {
    int16_t Type;
    int16_t Size;
    uint32_t Padding;
    void *DeviceObject;
    uint32_t Flags;
    uint32_t Padding2;
    void *DriverStart;
    uint32_t DriverSize;
    uint32_t Padding3;
    void *DriverSection;
    void *DriverExtension;
    UNICODE_STRING DriverName;
    UNICODE_STRING *HardwareDatabase;
    void *FastIoDispatch;
    DRIVER_INITIALIZE DriverInit;
    void *DriverStartIo;
    DRIVER_UNLOAD DriverUnload;
    void *MajorFunction[28];
} DRIVER_OBJECT;

/* ---- dispatcher objects ----------------------------------------------------------------------- */

enum {
    EventNotificationObject = 0,
    EventSynchronizationObject = 1,
    MutantObject = 2,
    SemaphoreObject = 5,
    TimerNotificationObject = 8,
    TimerSynchronizationObject = 9
};

typedef struct DISPATCHER_HEADER {
    uint8_t Type;
    uint8_t Reserved;
    uint8_t Size;
    uint8_t Inserted;
    int32_t SignalState;
    LIST_ENTRY WaitListHead; /* points at itself: that it does says that it was initialised */
} DISPATCHER_HEADER;

typedef struct KEVENT {
    DISPATCHER_HEADER Header;
} KEVENT;

typedef struct KSEMAPHORE {
    DISPATCHER_HEADER Header;
    int32_t Limit;
    int32_t Padding;
} KSEMAPHORE;

typedef struct KMUTANT {
    DISPATCHER_HEADER Header; /* SignalState: 1 free, 0 owned, below: owned again */
    LIST_ENTRY MutantListEntry;
    void *OwnerThread;
    uint8_t Abandoned;
    uint8_t ApcDisable;
    uint8_t Padding[6];
} KMUTANT;

typedef struct KDPC {
    uint64_t Opaque[8]; /* 0: routine, 1: context (as KeInitializeDpc leaves them here) */
} KDPC;

typedef struct KTIMER {
    DISPATCHER_HEADER Header;
    uint64_t DueTime;
    LIST_ENTRY TimerListEntry;
    KDPC *Dpc;
    uint32_t Processor;
    uint32_t Period;
} KTIMER;

typedef struct FAST_MUTEX {
    int32_t Count; /* 1: free */
    int32_t Padding;
    void *Owner;
    uint32_t Contention;
    uint32_t Padding2;
    KEVENT Event;
    uint32_t OldIrql;
    uint32_t Padding3;
} FAST_MUTEX;

typedef struct KLOCK_QUEUE_HANDLE {
    void *Next;
    uint64_t *Lock;
    KIRQL OldIrql;
    uint8_t Padding[7];
} KLOCK_QUEUE_HANDLE;

/* ---- processes and images ----------------------------------------------------------------------- */

typedef struct PS_CREATE_NOTIFY_INFO {
    size_t Size;
    uint32_t Flags; /* bit 0: FileOpenNameAvailable, bit 1: IsSubsystemProcess */
    uint32_t Padding;
    HANDLE ParentProcessId;
    CLIENT_ID CreatingThreadId;
    void *FileObject;
    const UNICODE_STRING *ImageFileName;
    const UNICODE_STRING *CommandLine;
    NTSTATUS CreationStatus;
    uint32_t Padding2;
} PS_CREATE_NOTIFY_INFO;

typedef void(NTAPI *PCREATE_PROCESS_NOTIFY_ROUTINE)(HANDLE parent, HANDLE process, BOOLEAN create);
typedef void(NTAPI *PCREATE_PROCESS_NOTIFY_ROUTINE_EX)(void *process, HANDLE id,
                                                       PS_CREATE_NOTIFY_INFO *info);

typedef struct IMAGE_INFO {
    uint32_t Properties; /* 0-7 addressing mode (3), 8 system mode image, 9 mapped to all pids,
                            10 extended info present, 11 machine type mismatch, 12-15 signature
                            level, 16-18 signature type, 19 partial map */
    uint32_t Padding;
    void *ImageBase;
    uint32_t ImageSelector;
    uint32_t Padding2;
    size_t ImageSize;
    uint32_t ImageSectionNumber;
    uint32_t Padding3;
} IMAGE_INFO;

typedef struct IMAGE_INFO_EX {
    size_t Size;
    IMAGE_INFO ImageInfo;
    void *FileObject;
} IMAGE_INFO_EX;

typedef void(NTAPI *PCREATE_THREAD_NOTIFY_ROUTINE)(HANDLE process, HANDLE thread, BOOLEAN create);

#define PROCESS_TERMINATE         0x0001u
#define PROCESS_QUERY_INFORMATION 0x0400u
#define THREAD_QUERY_INFORMATION  0x0040u

typedef void(NTAPI *PLOAD_IMAGE_NOTIFY_ROUTINE)(const UNICODE_STRING *name, HANDLE process,
                                                IMAGE_INFO *info);

/* ---- Filter Manager -------------------------------------------------------------------------------
 */

#define FLT_REGISTRATION_VERSION      0x0203u
#define FLTFL_FILTER_UNLOAD_MANDATORY 0x1u
#define FLT_PORT_CONNECT              0x00000001u
#define FLT_PORT_ALL_ACCESS           0x001F0001u

typedef NTSTATUS(NTAPI *PFLT_FILTER_UNLOAD_CALLBACK)(uint32_t flags);
typedef NTSTATUS(NTAPI *PFLT_CONNECT_NOTIFY)(void *client_port, void *server_cookie, void *context,
                                             uint32_t context_size, void **cookie);
typedef void(NTAPI *PFLT_DISCONNECT_NOTIFY)(void *cookie);
typedef NTSTATUS(NTAPI *PFLT_MESSAGE_NOTIFY)(void *cookie, void *input, uint32_t input_length,
                                             void *output, uint32_t output_length,
                                             uint32_t *returned);

typedef struct FLT_REGISTRATION {
    uint16_t Size;
    uint16_t Version;
    uint32_t Flags;
    const void *ContextRegistration;
    const void *OperationRegistration;
    PFLT_FILTER_UNLOAD_CALLBACK FilterUnloadCallback;
    void *Callbacks[10]; /* instance, name and transaction callbacks */
} FLT_REGISTRATION;

/* ---- security ------------------------------------------------------------------------------------ */

typedef struct SID {
    uint8_t Revision;
    uint8_t SubAuthorityCount;
    uint8_t IdentifierAuthority[6];
    uint32_t SubAuthority[15];
} SID;

typedef struct ACL {
    uint8_t AclRevision;
    uint8_t Sbz1;
    uint16_t AclSize;
    uint16_t AceCount;
    uint16_t Sbz2;
} ACL;

typedef struct ACCESS_ALLOWED_ACE {
    uint8_t AceType;
    uint8_t AceFlags;
    uint16_t AceSize;
    uint32_t Mask;
    SID Sid; /* as long as AceSize says */
} ACCESS_ALLOWED_ACE;

typedef struct SECURITY_DESCRIPTOR {
    uint8_t Revision;
    uint8_t Sbz1;
    uint16_t Control;
    uint32_t Padding;
    SID *Owner;
    SID *Group;
    ACL *Sacl;
    ACL *Dacl;
} SECURITY_DESCRIPTOR;

#define SE_DACL_PRESENT  0x0004u
#define SE_SELF_RELATIVE 0x8000u

/* ---- registry ------------------------------------------------------------------------------------ */

enum {
    REG_SZ = 1,
    REG_EXPAND_SZ = 2,
    REG_BINARY = 3,
    REG_DWORD = 4,
    REG_MULTI_SZ = 7,
    REG_QWORD = 11
};

typedef struct KEY_VALUE_PARTIAL_INFORMATION {
    uint32_t TitleIndex;
    uint32_t Type;
    uint32_t DataLength;
    uint8_t Data[4]; /* DataLength bytes */
} KEY_VALUE_PARTIAL_INFORMATION;

/* What registry callbacks are given. */
typedef struct REG_DELETE_KEY_INFORMATION {
    void *Object;
    void *CallContext;
    void *ObjectContext;
    void *Reserved;
} REG_DELETE_KEY_INFORMATION;

typedef struct REG_SET_VALUE_KEY_INFORMATION {
    void *Object;
    const UNICODE_STRING *ValueName;
    uint32_t TitleIndex;
    uint32_t Type;
    void *Data;
    uint32_t DataSize;
    uint32_t Padding;
    void *CallContext;
    void *ObjectContext;
    void *Reserved;
} REG_SET_VALUE_KEY_INFORMATION;

typedef struct REG_DELETE_VALUE_KEY_INFORMATION {
    void *Object;
    const UNICODE_STRING *ValueName;
    void *CallContext;
    void *ObjectContext;
    void *Reserved;
} REG_DELETE_VALUE_KEY_INFORMATION;

typedef struct REG_RENAME_KEY_INFORMATION {
    void *Object;
    const UNICODE_STRING *NewName;
    void *CallContext;
    void *ObjectContext;
    void *Reserved;
} REG_RENAME_KEY_INFORMATION;

typedef struct REG_QUERY_VALUE_KEY_INFORMATION {
    void *Object;
    const UNICODE_STRING *ValueName;
    uint32_t KeyValueInformationClass;
    uint32_t Padding;
    void *KeyValueInformation;
    uint32_t Length;
    uint32_t Padding2;
    uint32_t *ResultLength;
    void *CallContext;
    void *ObjectContext;
    void *Reserved;
} REG_QUERY_VALUE_KEY_INFORMATION;

typedef struct
    REG_CREATE_KEY_INFORMATION { /* create and open; V1 appends members behind Reserved */
    const UNICODE_STRING *CompleteName;
    void *RootObject;
    void *ObjectType;
    uint32_t CreateOptions;
    uint32_t Padding;
    const UNICODE_STRING *Class;
    void *SecurityDescriptor;
    void *SecurityQualityOfService;
    uint32_t DesiredAccess;
    uint32_t GrantedAccess;
    uint32_t *Disposition;
    void **ResultObject;
    void *CallContext;
    void *RootObjectContext;
    void *Transaction;
    void *Reserved;
} REG_CREATE_KEY_INFORMATION;

typedef struct REG_POST_OPERATION_INFORMATION {
    void *Object;
    NTSTATUS Status;
    uint32_t Padding;
    void *PreInformation;
    NTSTATUS ReturnStatus;
    uint32_t Padding2;
    void *CallContext;
    void *ObjectContext;
    void *Reserved;
} REG_POST_OPERATION_INFORMATION;

#define NT_LAYOUT(type, bytes) _Static_assert(sizeof(type) == (bytes), "layout of " #type)
NT_LAYOUT(UNICODE_STRING, 16);
NT_LAYOUT(OBJECT_ATTRIBUTES, 48);
NT_LAYOUT(DRIVER_OBJECT, 336);
NT_LAYOUT(KEVENT, 24);
NT_LAYOUT(KSEMAPHORE, 32);
NT_LAYOUT(KMUTANT, 56);
NT_LAYOUT(KTIMER, 64);
NT_LAYOUT(KDPC, 64);
NT_LAYOUT(FAST_MUTEX, 56);
NT_LAYOUT(KLOCK_QUEUE_HANDLE, 24);
NT_LAYOUT(PS_CREATE_NOTIFY_INFO, 72);
NT_LAYOUT(IMAGE_INFO, 40);
NT_LAYOUT(IMAGE_INFO_EX, 56);
NT_LAYOUT(FLT_REGISTRATION, 112);
NT_LAYOUT(SECURITY_DESCRIPTOR, 40);
NT_LAYOUT(KEY_VALUE_PARTIAL_INFORMATION, 16);
NT_LAYOUT(REG_DELETE_KEY_INFORMATION, 32);
NT_LAYOUT(REG_SET_VALUE_KEY_INFORMATION, 64);
NT_LAYOUT(REG_DELETE_VALUE_KEY_INFORMATION, 40);
NT_LAYOUT(REG_RENAME_KEY_INFORMATION, 40);
NT_LAYOUT(REG_QUERY_VALUE_KEY_INFORMATION, 72);
NT_LAYOUT(REG_CREATE_KEY_INFORMATION, 112);
NT_LAYOUT(REG_POST_OPERATION_INFORMATION, 56);
#undef NT_LAYOUT

#endif
