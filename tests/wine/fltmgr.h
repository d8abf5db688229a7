/*
 * The stand-in filter manager for Wine, between its files.
 *
 * One driver, which is the one that imports fltmgr.sys. `lock` (a fast mutex) guards the ports and their
 * messages; it is never held while the driver's callbacks run.
 */
#ifndef WINE_FLTMGR_H
#define WINE_FLTMGR_H

/* MinGW-w64's ntifs.h defines these two once more; without the first definition they are static, as they
 * are meant to be. */
#define __INTRINSIC_DEFINED_InterlockedBitTestAndSet
#define __INTRINSIC_DEFINED_InterlockedBitTestAndReset
#include <ntifs.h>

#include "control.h"

#define FLTAPI NTAPI
#define TAG    'tlFW'

typedef struct filter *PFLT_FILTER;
typedef struct port *PFLT_PORT;
typedef NTSTATUS(NTAPI *unload_callback)(ULONG flags);
typedef NTSTATUS(NTAPI *connect_callback)(PFLT_PORT client, PVOID cookie, PVOID context, ULONG size,
                                          PVOID *connection_cookie);
typedef VOID(NTAPI *disconnect_callback)(PVOID cookie);
typedef NTSTATUS(NTAPI *message_callback)(PVOID cookie, PVOID input, ULONG input_size, PVOID output,
                                          ULONG output_size, PULONG returned);

/* The beginning of FLT_REGISTRATION. */
struct registration {
    USHORT size;
    USHORT version;
    ULONG flags;
    const VOID *contexts;
    const VOID *operations;
    unload_callback unload;
};

struct server {
    WCHAR name[64];
    PVOID cookie;
    connect_callback connect;
    disconnect_callback disconnect;
    message_callback message;
    LONG connections;
    LONG connections_max;
    BOOLEAN open;
};

/* A connection: the context of its file object. */
struct port {
    struct server *server;
    PVOID cookie;
    LONG users;          /* the program's handle, the driver's, and sends that are under way */
    BOOLEAN connected;   /* messages pass */
    BOOLEAN driver_open; /* the driver has not closed it */
    BOOLEAN notified;
    LIST_ENTRY messages; /* struct message, oldest first */
    LIST_ENTRY requests; /* IRPs that wait for one */
};

#define PORTS 128

extern FAST_MUTEX lock;
extern struct port *ports[PORTS];

/* fltmgr.c */
NTSTATUS detach(VOID);

/* port.c */
NTSTATUS port_dispatch_control(PDEVICE_OBJECT device, PIRP irp);
VOID port_close(struct port *port); /* the program's handle went */
VOID ports_disconnect_all(VOID);

/* patch.c */
BOOLEAN patch_driver(VOID); /* replaces what Wine does not have in the driver's imports */
NTSTATUS inject(const struct injection *injection, ULONG size);

/* sync.c: in the place of the driver's imports of the same meaning */
VOID NTAPI sync_initialize_mutex(PVOID mutex, ULONG level);
LONG NTAPI sync_release_mutex(PVOID mutex, BOOLEAN wait);
VOID NTAPI sync_initialize_timer(PVOID timer, TIMER_TYPE type);
BOOLEAN NTAPI sync_set_timer(PVOID timer, LARGE_INTEGER due, PKDPC dpc);
BOOLEAN NTAPI sync_cancel_timer(PVOID timer);
NTSTATUS NTAPI sync_wait_single(PVOID object, KWAIT_REASON reason, KPROCESSOR_MODE mode,
                                BOOLEAN alertable, PLARGE_INTEGER timeout);
NTSTATUS NTAPI sync_wait_multiple(ULONG count, PVOID *objects, WAIT_TYPE type, KWAIT_REASON reason,
                                  KPROCESSOR_MODE mode, BOOLEAN alertable, PLARGE_INTEGER timeout,
                                  PKWAIT_BLOCK blocks);

#endif
