/*
 * Communication ports: connections, messages and replies. See fltmgr.h for the lock.
 *
 * A message is on the stack of the thread that sends it, in its port's list from FltSendMessage until it
 * returns. A program's IOCTL_GET takes the oldest one that was not fetched yet, or waits in `requests`.
 */
#include "fltmgr.h"

enum state { QUEUED, FETCHED, REPLIED };

struct message {
    LIST_ENTRY link;
    KEVENT changed;
    enum state state;
    ULONGLONG id;
    const VOID *data;
    ULONG size;
    PVOID reply;
    ULONG reply_room;
    ULONG reply_size;
    NTSTATUS reply_status;
};

struct message_header { /* FILTER_MESSAGE_HEADER */
    ULONG reply_length;
    ULONG reserved;
    ULONGLONG id;
};

struct reply_header { /* FILTER_REPLY_HEADER */
    NTSTATUS status;
    ULONG reserved;
    ULONGLONG id;
};

#define STATUS_FLT_NO_WAITER ((NTSTATUS)0xC01C0020)

struct port *ports[PORTS];
static struct server servers[4];
static ULONGLONG next_id = 1;

/* ---- requests for messages: lock held --------------------------------------------------------------------- */

static VOID finish(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
}

static struct message *find(struct port *port, enum state state, ULONGLONG id)
{
    for (PLIST_ENTRY at = port->messages.Flink; at != &port->messages; at = at->Flink) {
        struct message *message = CONTAINING_RECORD(at, struct message, link);
        if (message->state == state && (id == 0 || message->id == id))
            return message;
    }
    return NULL;
}

/* Takes a waiting request out of the list; NULL when there is none that was not cancelled. */
static PIRP next_request(struct port *port)
{
    while (!IsListEmpty(&port->requests)) {
        PIRP irp = CONTAINING_RECORD(RemoveHeadList(&port->requests), IRP, Tail.Overlay.ListEntry);
        if (IoSetCancelRoutine(irp, NULL) != NULL)
            return irp;
        InitializeListHead(
            &irp->Tail.Overlay.ListEntry); /* its cancel routine will find it alone */
    }
    return NULL;
}

static NTSTATUS fetch(PIRP irp, struct message *message)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
    ULONG room = location->Parameters.DeviceIoControl.OutputBufferLength;
    struct message_header header = {
        .reply_length =
            message->reply != NULL ? message->reply_room + sizeof(struct reply_header) : 0,
        .id = message->id,
    };
    if (room < sizeof header + message->size)
        return STATUS_BUFFER_TOO_SMALL;
    PUCHAR out = irp->AssociatedIrp.SystemBuffer;
    RtlCopyMemory(out, &header, sizeof header);
    RtlCopyMemory(out + sizeof header, message->data, message->size);
    message->state = FETCHED;
    (void)KeSetEvent(&message->changed, IO_NO_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

/* Messages that wait and requests that wait come together. */
static VOID match(struct port *port)
{
    struct message *message;
    PIRP irp;
    while ((message = find(port, QUEUED, 0)) != NULL && (irp = next_request(port)) != NULL) {
        NTSTATUS status = fetch(irp, message);
        finish(irp, status, NT_SUCCESS(status) ? sizeof(struct message_header) + message->size : 0);
    }
}

static VOID cut(struct port *port)
{
    PIRP irp;
    port->connected = FALSE;
    while ((irp = next_request(port)) != NULL)
        finish(irp, STATUS_PORT_DISCONNECTED, 0);
    for (PLIST_ENTRY at = port->messages.Flink; at != &port->messages; at = at->Flink)
        (void)KeSetEvent(&CONTAINING_RECORD(at, struct message, link)->changed, IO_NO_INCREMENT,
                         FALSE);
}

static VOID NTAPI on_cancel(PDEVICE_OBJECT device, PIRP irp)
{
    (void)device;
    IoReleaseCancelSpinLock(irp->CancelIrql);
    ExAcquireFastMutex(&lock);
    RemoveEntryList(&irp->Tail.Overlay.ListEntry);
    ExReleaseFastMutex(&lock);
    finish(irp, STATUS_CANCELLED, 0);
}

static NTSTATUS get(struct port *port, PIRP irp)
{
    IoMarkIrpPending(irp);
    InsertTailList(&port->requests, &irp->Tail.Overlay.ListEntry);
    (void)IoSetCancelRoutine(irp, on_cancel);
    if (irp->Cancel && IoSetCancelRoutine(irp, NULL) != NULL) {
        RemoveEntryList(&irp->Tail.Overlay.ListEntry);
        finish(irp, STATUS_CANCELLED, 0);
    } else {
        match(port);
    }
    return STATUS_PENDING;
}

static NTSTATUS reply(struct port *port, const UCHAR *bytes, ULONG size)
{
    struct reply_header header;
    if (size < sizeof header)
        return STATUS_INVALID_PARAMETER;
    RtlCopyMemory(&header, bytes, sizeof header);
    struct message *message = header.id != 0 ? find(port, FETCHED, header.id) : NULL;
    if (message == NULL || message->reply == NULL)
        return STATUS_FLT_NO_WAITER;
    message->reply_size = size - sizeof header;
    message->reply_status = header.status;
    RtlCopyMemory(message->reply, bytes + sizeof header,
                  min(message->reply_size, message->reply_room));
    message->state = REPLIED;
    (void)KeSetEvent(&message->changed, IO_NO_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

/* ---- connections ---------------------------------------------------------------------------------------------- */

static struct server *find_server(const WCHAR *name, ULONG bytes)
{
    UNICODE_STRING wanted = {(USHORT)bytes, (USHORT)bytes, (PWSTR)(ULONG_PTR)name};
    for (ULONG i = 0; i < RTL_NUMBER_OF(servers); i++) {
        UNICODE_STRING here;
        RtlInitUnicodeString(&here, servers[i].name);
        if (servers[i].open && RtlEqualUnicodeString(&here, &wanted, TRUE))
            return &servers[i];
    }
    return NULL;
}

static NTSTATUS add_port(const WCHAR *name, ULONG bytes, struct port *port)
{
    struct server *server = find_server(name, bytes);
    if (server == NULL)
        return STATUS_OBJECT_NAME_NOT_FOUND;
    if (server->connections >= server->connections_max)
        return STATUS_CONNECTION_COUNT_LIMIT;
    for (ULONG i = 0; i < PORTS; i++) {
        if (ports[i] != NULL)
            continue;
        ports[i] = port;
        server->connections++;
        port->server = server;
        port->users = 2; /* the program's handle, and the driver's until FltCloseClientPort */
        port->connected = port->driver_open = port->notified = TRUE;
        return STATUS_SUCCESS;
    }
    return STATUS_INSUFFICIENT_RESOURCES;
}

static VOID remove_port(struct port *port)
{
    for (ULONG i = 0; i < PORTS; i++) {
        if (ports[i] == port)
            ports[i] = NULL;
    }
}

/* Lock held. A sender may find its port gone only when it has left it. */
static VOID leave_port(struct port *port)
{
    if (--port->users == 0) {
        remove_port(port);
        ExFreePoolWithTag(port, TAG);
    }
}

static NTSTATUS connect(PFILE_OBJECT file, const WCHAR *name, ULONG bytes)
{
    struct port *port = ExAllocatePoolWithTag(NonPagedPool, sizeof *port, TAG);
    if (port == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(port, sizeof *port);
    InitializeListHead(&port->messages);
    InitializeListHead(&port->requests);
    ExAcquireFastMutex(&lock);
    NTSTATUS status = add_port(name, bytes, port);
    ExReleaseFastMutex(&lock);
    if (!NT_SUCCESS(status)) {
        ExFreePoolWithTag(port, TAG);
        return status;
    }
    status = port->server->connect(port, port->server->cookie, NULL, 0, &port->cookie);
    ExAcquireFastMutex(&lock);
    if (NT_SUCCESS(status)) {
        port->notified = FALSE;
        file->FsContext = port;
    } else {
        port->server->connections--;
        leave_port(port);
        leave_port(port);
    }
    ExReleaseFastMutex(&lock);
    return status;
}

static VOID notify(struct port *port)
{
    ExAcquireFastMutex(&lock);
    BOOLEAN first = !port->notified;
    port->notified = TRUE;
    cut(port);
    ExReleaseFastMutex(&lock);
    if (first)
        port->server->disconnect(port->cookie);
}

VOID port_close(struct port *port)
{
    notify(port);
    ExAcquireFastMutex(&lock);
    leave_port(port);
    ExReleaseFastMutex(&lock);
}

VOID ports_disconnect_all(VOID)
{
    for (ULONG i = 0; i < PORTS; i++) {
        if (ports[i] != NULL)
            notify(ports[i]);
    }
}

VOID FLTAPI FltCloseClientPort(PFLT_FILTER filter, PFLT_PORT *client)
{
    (void)filter;
    ExAcquireFastMutex(&lock);
    struct port *port = *client;
    *client = NULL;
    port->driver_open = FALSE;
    port->server->connections--;
    cut(port);
    leave_port(port);
    ExReleaseFastMutex(&lock);
}

/* ---- server ports ----------------------------------------------------------------------------------------------- */

NTSTATUS FLTAPI FltCreateCommunicationPort(PFLT_FILTER filter, struct server **out,
                                           POBJECT_ATTRIBUTES attributes, PVOID cookie,
                                           connect_callback on_connect,
                                           disconnect_callback on_disconnect,
                                           message_callback on_message, LONG connections)
{
    (void)filter;
    for (ULONG i = 0; i < RTL_NUMBER_OF(servers); i++) {
        struct server *server = &servers[i];
        if (server->open)
            continue;
        RtlZeroMemory(server, sizeof *server);
        RtlCopyMemory(server->name, attributes->ObjectName->Buffer, attributes->ObjectName->Length);
        server->cookie = cookie;
        server->connect = on_connect;
        server->disconnect = on_disconnect;
        server->message = on_message;
        server->connections_max = connections;
        *out = server;
        server->open = TRUE;
        return STATUS_SUCCESS;
    }
    return STATUS_INSUFFICIENT_RESOURCES;
}

VOID FLTAPI FltCloseCommunicationPort(struct server *server)
{
    ExAcquireFastMutex(&lock);
    server->open = FALSE;
    ExReleaseFastMutex(&lock);
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static NTSTATUS wait(struct port *port, struct message *message, PLARGE_INTEGER timeout)
{
    enum state wanted = message->reply != NULL ? REPLIED : FETCHED;
    for (;;) {
        NTSTATUS status =
            KeWaitForSingleObject(&message->changed, Executive, KernelMode, FALSE, timeout);
        ExAcquireFastMutex(&lock);
        if (message->state >= wanted)
            return message->reply == NULL                      ? STATUS_SUCCESS
                   : message->reply_size > message->reply_room ? STATUS_BUFFER_OVERFLOW
                                                               : message->reply_status;
        if (!port->connected)
            return STATUS_PORT_DISCONNECTED;
        if (status == STATUS_TIMEOUT)
            return STATUS_TIMEOUT;
        ExReleaseFastMutex(&lock); /* it was fetched; now the reply, with the whole time again */
    }
}

NTSTATUS FLTAPI FltSendMessage(PFLT_FILTER filter, PFLT_PORT *client, PVOID buffer, ULONG size,
                               PVOID reply_buffer, PULONG reply_size, PLARGE_INTEGER timeout)
{
    (void)filter;
    struct message message = {.data = buffer,
                              .size = size,
                              .reply = reply_buffer,
                              .reply_room = reply_buffer != NULL ? *reply_size : 0};
    KeInitializeEvent(&message.changed, SynchronizationEvent, FALSE);
    ExAcquireFastMutex(&lock);
    struct port *port = *client;
    if (port == NULL || !port->connected) {
        ExReleaseFastMutex(&lock);
        return STATUS_PORT_DISCONNECTED;
    }
    port->users++;
    message.id = next_id++;
    InsertTailList(&port->messages, &message.link);
    match(port);
    ExReleaseFastMutex(&lock);
    NTSTATUS status = wait(port, &message, timeout); /* returns with the lock held */
    RemoveEntryList(&message.link);
    if (message.state == REPLIED && reply_buffer != NULL)
        *reply_size = message.reply_size;
    leave_port(port);
    ExReleaseFastMutex(&lock);
    return status;
}

/* ---- requests of programs -------------------------------------------------------------------------------------------- */

/* The driver gets two buffers of its own, as it would from the Filter Manager. */
static NTSTATUS send(struct port *port, PIRP irp, ULONG input_size, ULONG output_size,
                     PULONG returned)
{
    if (port->server->message == NULL)
        return STATUS_NOT_SUPPORTED;
    PUCHAR input = ExAllocatePoolWithTag(NonPagedPool, input_size + output_size + 16, TAG);
    if (input == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    PUCHAR output = input + input_size;
    RtlCopyMemory(input, irp->AssociatedIrp.SystemBuffer, input_size);
    NTSTATUS status =
        port->server->message(port->cookie, input, input_size, output, output_size, returned);
    RtlCopyMemory(irp->AssociatedIrp.SystemBuffer, output, *returned);
    ExFreePoolWithTag(input, TAG);
    return status;
}

static NTSTATUS dispatch(PIRP irp, PIO_STACK_LOCATION location, PULONG returned)
{
    struct port *port = location->FileObject->FsContext;
    PVOID buffer = irp->AssociatedIrp.SystemBuffer;
    ULONG code = location->Parameters.DeviceIoControl.IoControlCode;
    ULONG input_size = location->Parameters.DeviceIoControl.InputBufferLength;
    ULONG output_size = location->Parameters.DeviceIoControl.OutputBufferLength;
    NTSTATUS status = STATUS_PORT_DISCONNECTED;
    if (code == IOCTL_INJECT)
        return inject(buffer, input_size);
    if (code == IOCTL_DETACH)
        return detach();
    if (code == IOCTL_CONNECT)
        return port != NULL ? STATUS_INVALID_PARAMETER
                            : connect(location->FileObject, buffer, input_size);
    if (port == NULL)
        return STATUS_INVALID_PARAMETER;
    if (code == IOCTL_SEND)
        return port->connected ? send(port, irp, input_size, output_size, returned) : status;
    ExAcquireFastMutex(&lock);
    if (port->connected)
        status = code == IOCTL_GET     ? get(port, irp)
                 : code == IOCTL_REPLY ? reply(port, buffer, input_size)
                                       : STATUS_INVALID_DEVICE_REQUEST;
    ExReleaseFastMutex(&lock);
    return status;
}

NTSTATUS port_dispatch_control(PDEVICE_OBJECT device, PIRP irp)
{
    ULONG returned = 0;
    (void)device;
    NTSTATUS status = dispatch(irp, IoGetCurrentIrpStackLocation(irp), &returned);
    if (status != STATUS_PENDING)
        finish(irp, status, returned);
    return status;
}
