/*
 * The Filter Manager: registration, unload, communication ports; from the driver's side (exports) and
 * from the user's side (nt.h).
 *
 * A connection (struct nt_client) ends from either side:
 *   the driver calls FltCloseClientPort: senders come back with STATUS_PORT_DISCONNECTED, the program's
 *     calls fail from then on; whether the disconnect callback still comes when the program closes its
 *     handle is not documented, so scenarios try both (quirks.notify_after_close);
 *   the program closes its handle or ends: senders come back, the disconnect callback is called once.
 * The driver has to close every client port it was given; each one counts against MaxConnections until
 * then.
 *
 * FltUnregisterFilter and closing a server port wait until no callback of theirs is under way.
 *
 * A send waits in two steps, as documented: until its message was fetched, then for the reply. A reply
 * after the time-out gets STATUS_FLT_NO_WAITER_FOR_REPLY. "FILTER_REPLY_HEADER: Status value to be
 * returned for the original message": FltSendMessage returns it.
 *
 * All state is under nt_lock, which is never held while a callback runs; `busy` counts callbacks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kernel.h"

#define STUCK_NS 30000000000u

struct filter {
    struct nt_object *object;
    FLT_REGISTRATION registration;
    bool started;
};

struct server {
    struct nt_object *object;
    char name[64];
    struct filter *filter;
    void *cookie;
    PFLT_CONNECT_NOTIFY connect;
    PFLT_DISCONNECT_NOTIFY disconnect;
    PFLT_MESSAGE_NOTIFY message;
    int32_t connections_max;
    int32_t connections;
    uint8_t dacl[512];
    bool open;
    uint32_t busy; /* connect callbacks under way */
    struct server *next;
};

enum message_state { QUEUED, FETCHED, REPLIED };

struct message {
    struct message *next;
    uint64_t id;
    enum message_state state;
    const void *data;
    uint32_t size;
    void *reply;
    uint32_t reply_room;
    uint32_t reply_size;
    NTSTATUS reply_status;
};

struct nt_client {
    struct nt_object *object;
    struct server *server;
    void *cookie;
    bool program_open;        /* the program has its handle */
    bool driver_open;         /* the driver did not close it yet */
    bool connected;           /* messages pass */
    bool notified;            /* the disconnect callback was called, or will never be */
    uint32_t busy;            /* message callbacks under way */
    struct message *messages; /* oldest first */
    struct nt_client *next;
};

static struct filter *filter;
static struct server *servers;
static struct nt_client *clients; /* open on any side */
static struct nt_flt_quirks quirks;
static uint64_t next_message_id = 0x1000;
static _Atomic uint64_t sends;

void nt_set_flt_quirks(const struct nt_flt_quirks *value)
{
    quirks = value != NULL ? *value : (struct nt_flt_quirks){0};
}

uint64_t nt_sends_under_way(void)
{
    return sends;
}

bool nt_flt_registered(void)
{
    return filter != NULL;
}

bool nt_filter_started(void)
{
    return filter != NULL && filter->started;
}

static void *body_of(const void *address, enum nt_type type)
{
    return nt_object_check(address, type)->body;
}

/* ---- filters --------------------------------------------------------------------------------------- */

static NTAPI NTSTATUS FltRegisterFilter(DRIVER_OBJECT *driver, const FLT_REGISTRATION *registration,
                                        void **out)
{
    const struct nt_driver *known = nt_driver_at((uintptr_t)driver->DriverStart);
    if (known == NULL || known->object != driver)
        nt_broken(NT_RULE_BAD_POINTER, "FltRegisterFilter: %p is not the driver's object",
                  (void *)driver);
    if (registration->Size != sizeof *registration ||
        registration->Version != FLT_REGISTRATION_VERSION)
        return STATUS_INVALID_PARAMETER;
    if (!nt_registry_has(NT_SERVICE_KEY "\\Instances", "DefaultInstance"))
        return STATUS_OBJECT_NAME_NOT_FOUND;
    if (filter != NULL)
        nt_broken(NT_RULE_PARAMETER, "FltRegisterFilter: a filter is registered already");
    struct filter *made = calloc(1, sizeof *made);
    if (made == NULL)
        abort();
    made->registration = *registration;
    made->object = nt_object_create(NT_FILTER, made);
    /* It hooks DriverUnload itself when the filter can be unloaded. */
    if (registration->FilterUnloadCallback != NULL)
        driver->DriverUnload = (DRIVER_UNLOAD)(uintptr_t)made->object->address;
    pthread_mutex_lock(&nt_lock);
    filter = made;
    pthread_mutex_unlock(&nt_lock);
    *out = made->object->address;
    return STATUS_SUCCESS;
}

static NTAPI NTSTATUS FltStartFiltering(void *address)
{
    struct filter *started = body_of(address, NT_FILTER);
    if (started->started)
        return STATUS_INVALID_PARAMETER;
    started->started = true;
    return STATUS_SUCCESS;
}

void *nt_flt_unload_hook(void)
{
    return filter != NULL ? filter->object->address : NULL;
}

NTSTATUS nt_call_filter_unload(uint32_t flags)
{
    struct nt_entry entry = nt_enter_driver("FilterUnloadCallback");
    NTSTATUS status = filter->registration.FilterUnloadCallback(flags);
    nt_leave_driver(&entry);
    if ((status >= 0 || (flags & FLTFL_FILTER_UNLOAD_MANDATORY) != 0) && filter != NULL)
        nt_broken(NT_RULE_LEAK_FILTER,
                  "FilterUnloadCallback returned 0x%08x and the filter is still "
                  "registered",
                  (unsigned)status);
    return status;
}

/* ---- ending a connection ----------------------------------------------------------------------------- */

/* Under nt_lock. Senders and the program's calls come back. */
static void cut(struct nt_client *client)
{
    client->connected = false;
    pthread_cond_broadcast(&nt_changed);
}

/* Under nt_lock. Waits for the message callbacks, then calls the disconnect callback, once. */
static void notify(struct nt_client *client)
{
    if (client->notified)
        return;
    client->notified = true;
    uint64_t deadline = nt_now() + STUCK_NS;
    while (client->busy != 0) {
        if (!nt_wait_changed(deadline))
            nt_broken(NT_RULE_STUCK, "a message callback does not return");
    }
    struct server *server = client->server;
    server->busy++;
    pthread_mutex_unlock(&nt_lock);
    struct nt_entry entry = nt_enter_driver("the disconnect callback");
    server->disconnect(client->cookie);
    nt_leave_driver(&entry);
    pthread_mutex_lock(&nt_lock);
    server->busy--;
    pthread_cond_broadcast(&nt_changed);
}

/* Under nt_lock. Forgets a client that is closed on both sides. */
static void forget_if_closed(struct nt_client *client)
{
    if (client->program_open || client->driver_open)
        return;
    for (struct nt_client **at = &clients; *at != NULL; at = &(*at)->next) {
        if (*at == client) {
            *at = client->next;
            break;
        }
    }
    client->object->kernel_references = 0;
    /* The structure stays for stale pointers: small, and known as gone. */
}

static NTAPI void FltCloseClientPort(void *filter_address, void **port)
{
    (void)body_of(filter_address, NT_FILTER);
    if (*port == NULL)
        nt_broken(NT_RULE_PARAMETER, "FltCloseClientPort: \"cannot be NULL on input\"");
    struct nt_client *client = body_of(*port, NT_CLIENT);
    pthread_mutex_lock(&nt_lock);
    if (!client->driver_open)
        nt_broken(NT_RULE_REFERENCE, "FltCloseClientPort: the port is closed already");
    *port = NULL;
    client->driver_open = false;
    client->server->connections--;
    if (!quirks.notify_after_close)
        client->notified = true;
    cut(client);
    forget_if_closed(client);
    pthread_mutex_unlock(&nt_lock);
}

void nt_disconnect(struct nt_client *client)
{
    pthread_mutex_lock(&nt_lock);
    cut(client);
    notify(client);
    client->program_open = false;
    forget_if_closed(client);
    pthread_mutex_unlock(&nt_lock);
}

/* ---- server ports ------------------------------------------------------------------------------------ */

static NTAPI NTSTATUS FltBuildDefaultSecurityDescriptor(void **out, uint32_t access)
{
    static const SID allowed[] = {
        {1, 1, {0, 0, 0, 0, 0, 5}, {18}},      /* SYSTEM */
        {1, 2, {0, 0, 0, 0, 0, 5}, {32, 544}}, /* Administrators */
    };
    struct {
        SECURITY_DESCRIPTOR descriptor;
        SID owner;
        uint32_t padding;
        ACL dacl;
        uint8_t aces[96];
    } *made = nt_pool_take(sizeof *made, 0x64734C46 /* "FLsd" */, true, "security descriptor");
    memset(made, 0, sizeof *made);
    made->descriptor.Revision = 1;
    made->descriptor.Control = SE_DACL_PRESENT;
    made->owner = allowed[1];
    made->descriptor.Owner = made->descriptor.Group = &made->owner;
    made->descriptor.Dacl = &made->dacl;
    made->dacl = (ACL){.AclRevision = 2, .AceCount = 2, .AclSize = sizeof made->dacl};
    uint8_t *at = made->aces;
    for (size_t i = 0; i < NT_ARRAY(allowed); i++) {
        uint16_t size = (uint16_t)(8 + 8 + 4 * allowed[i].SubAuthorityCount);
        ACCESS_ALLOWED_ACE ace = {.AceSize = size, .Mask = access, .Sid = allowed[i]};
        memcpy(at, &ace, size);
        made->dacl.AclSize = (uint16_t)(made->dacl.AclSize + size);
        at += size;
    }
    *out = made;
    return STATUS_SUCCESS;
}

static NTAPI void FltFreeSecurityDescriptor(void *descriptor)
{
    nt_pool_give_back(descriptor, "security descriptor");
}

static void copy_dacl(const OBJECT_ATTRIBUTES *attributes, struct server *server)
{
    const SECURITY_DESCRIPTOR *descriptor = attributes->SecurityDescriptor;
    if (descriptor == NULL || (descriptor->Control & SE_DACL_PRESENT) == 0 ||
        descriptor->Dacl == NULL || descriptor->Dacl->AclSize > sizeof server->dacl)
        nt_broken(NT_RULE_PARAMETER, "FltCreateCommunicationPort: the port is open to everybody");
    memcpy(server->dacl, descriptor->Dacl, descriptor->Dacl->AclSize);
}

static bool sid_equal(const SID *a, const SID *b)
{
    return a->SubAuthorityCount == b->SubAuthorityCount &&
           memcmp(a, b, 8 + 4u * a->SubAuthorityCount) == 0;
}

/* Does the list let the program of this thread in? */
static bool allowed(const struct server *server)
{
    static const SID administrators = {1, 2, {0, 0, 0, 0, 0, 5}, {32, 544}};
    const SID *user = nt_process_user(nt_self->process);
    bool administrator = nt_process_is_administrator(nt_self->process);
    const ACL *acl = (const ACL *)(const void *)server->dacl;
    const uint8_t *at = server->dacl + sizeof *acl;
    for (uint32_t i = 0; i < acl->AceCount; i++) {
        ACCESS_ALLOWED_ACE ace = {0};
        uint16_t size;
        memcpy(&size, at + 2, sizeof size);
        memcpy(&ace, at, size < sizeof ace ? size : sizeof ace);
        if (ace.AceType == 0 && (ace.Mask & 1) != 0 &&
            ((user != NULL && sid_equal(&ace.Sid, user)) ||
             (administrator && sid_equal(&ace.Sid, &administrators))))
            return true;
        at += size;
    }
    return false;
}

static struct server *find_server(const char *name)
{
    for (struct server *server = servers; server != NULL; server = server->next) {
        if (server->open && strcasecmp(server->name, name) == 0)
            return server;
    }
    return NULL;
}

static NTAPI NTSTATUS FltCreateCommunicationPort(void *filter_address, void **out,
                                                 const OBJECT_ATTRIBUTES *attributes, void *cookie,
                                                 PFLT_CONNECT_NOTIFY connect,
                                                 PFLT_DISCONNECT_NOTIFY disconnect,
                                                 PFLT_MESSAGE_NOTIFY message, int32_t connections)
{
    struct filter *owner = body_of(filter_address, NT_FILTER);
    if ((attributes->Attributes & OBJ_KERNEL_HANDLE) == 0 || attributes->ObjectName == NULL ||
        connect == NULL || disconnect == NULL || connections <= 0)
        return STATUS_INVALID_PARAMETER;
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        abort();
    const UNICODE_STRING *name = attributes->ObjectName;
    for (size_t i = 0; i < name->Length / sizeof(WCHAR) && i + 1 < sizeof server->name; i++)
        server->name[i] = (char)name->Buffer[i];
    copy_dacl(attributes, server);
    server->filter = owner;
    server->cookie = cookie;
    server->connect = connect;
    server->disconnect = disconnect;
    server->message = message;
    server->connections_max = connections;
    pthread_mutex_lock(&nt_lock);
    bool taken = find_server(server->name) != NULL;
    pthread_mutex_unlock(&nt_lock);
    if (taken) {
        free(server);
        return STATUS_OBJECT_NAME_COLLISION;
    }
    server->object = nt_object_create(NT_PORT, server);
    *out = server->object->address; /* connections may come before this returns */
    pthread_mutex_lock(&nt_lock);
    server->open = true;
    server->next = servers;
    servers = server;
    pthread_mutex_unlock(&nt_lock);
    return STATUS_SUCCESS;
}

static NTAPI void FltCloseCommunicationPort(void *port)
{
    struct server *server = body_of(port, NT_PORT);
    pthread_mutex_lock(&nt_lock);
    if (!server->open)
        nt_broken(NT_RULE_REFERENCE, "FltCloseCommunicationPort: the port is closed already");
    server->open = false;
    server->object->kernel_references = 0;
    pthread_mutex_unlock(&nt_lock);
}

/* Under nt_lock. */
static void wait_for_callbacks(void)
{
    uint64_t deadline = nt_now() + STUCK_NS;
    for (struct server *server = servers; server != NULL; server = server->next) {
        while (server->busy != 0) {
            if (!nt_wait_changed(deadline))
                nt_broken(NT_RULE_STUCK, "a callback of port %s does not return", server->name);
        }
    }
    for (struct nt_client *client = clients; client != NULL; client = client->next) {
        while (client->busy != 0) {
            if (!nt_wait_changed(deadline))
                nt_broken(NT_RULE_STUCK, "a message callback does not return");
        }
    }
}

static NTAPI void FltUnregisterFilter(void *address)
{
    struct filter *old = body_of(address, NT_FILTER);
    nt_check_wait(true);
    pthread_mutex_lock(&nt_lock);
    for (const struct server *server = servers; server != NULL; server = server->next) {
        if (server->open)
            nt_broken(NT_RULE_LEAK_FILTER, "the filter is unregistered while port %s is open",
                      server->name);
    }
    wait_for_callbacks();
    /* "or when the minifilter driver is about to be unloaded": who is still connected is told so. */
    for (struct nt_client *client = clients; client != NULL;) {
        if (!client->notified) {
            cut(client);
            notify(client);
            client = clients; /* the list may have changed */
        } else {
            client = client->next;
        }
    }
    wait_for_callbacks();
    old->object->kernel_references = 0;
    filter = NULL;
    pthread_mutex_unlock(&nt_lock);
}

/* Under nt_lock. Programs may be trying to connect all the time, so nothing of a server may be freed
 * that somebody could find. */
static void forget_servers(void)
{
    while (servers != NULL) {
        struct server *first = servers;
        for (const struct nt_client *client = clients; client != NULL; client = client->next) {
            if (client->server == first)
                return; /* a program still has its dead handle */
        }
        servers = first->next;
        free(first);
    }
}

static void check_leaks(void)
{
    if (filter != NULL)
        nt_broken(NT_RULE_LEAK_FILTER, "the filter is still registered");
    for (const struct server *server = servers; server != NULL; server = server->next) {
        if (server->open)
            nt_broken(NT_RULE_LEAK_FILTER, "port %s is still open", server->name);
        if (server->busy != 0)
            nt_broken(NT_RULE_LEAK_FILTER, "a callback of port %s runs", server->name);
    }
    for (const struct nt_client *client = clients; client != NULL; client = client->next) {
        if (client->driver_open)
            nt_broken(NT_RULE_LEAK_FILTER, "a client port of %s was not closed",
                      client->server->name);
    }
    if (sends != 0)
        nt_broken(NT_RULE_LEAK_FILTER, "%llu sends are under way", (unsigned long long)sends);
}

void nt_flt_check_leaks(void)
{
    pthread_mutex_lock(&nt_lock);
    check_leaks();
    forget_servers();
    pthread_mutex_unlock(&nt_lock);
}

/* ---- sending ----------------------------------------------------------------------------------------- */

/* Under nt_lock. */
static void take_out(struct nt_client *client, const struct message *message)
{
    for (struct message **at = &client->messages; *at != NULL; at = &(*at)->next) {
        if (*at == message) {
            *at = message->next;
            return;
        }
    }
}

static void append(struct nt_client *client, struct message *message)
{
    struct message **at = &client->messages;
    while (*at != NULL)
        at = &(*at)->next;
    *at = message;
    pthread_cond_broadcast(&nt_changed);
}

/* Under nt_lock. What FltSendMessage returns. */
static NTSTATUS wait_for_reply(struct nt_client *client, const struct message *message,
                               uint64_t deadline)
{
    enum message_state wanted = message->reply != NULL ? REPLIED : FETCHED;
    while (message->state < wanted) {
        if (!client->connected)
            return STATUS_PORT_DISCONNECTED;
        bool for_ever = message->state == FETCHED && quirks.timeout_ignored_once_fetched;
        if (!nt_wait_changed(for_ever ? UINT64_MAX : deadline) && message->state < wanted)
            return client->connected ? STATUS_TIMEOUT : STATUS_PORT_DISCONNECTED;
    }
    if (message->reply == NULL)
        return STATUS_SUCCESS;
    return message->reply_size > message->reply_room ? STATUS_BUFFER_OVERFLOW
                                                     : message->reply_status;
}

static void pause_for(uint64_t ns)
{
    uint64_t deadline = nt_now() + ns;
    pthread_mutex_lock(&nt_lock);
    while (nt_wait_changed(deadline))
        ;
    pthread_mutex_unlock(&nt_lock);
}

static NTAPI NTSTATUS FltSendMessage(void *filter_address, void **port, const void *buffer,
                                     uint32_t size, void *reply, uint32_t *reply_size,
                                     const int64_t *timeout)
{
    (void)body_of(filter_address, NT_FILTER);
    if (buffer == NULL || (reply != NULL && reply_size == NULL))
        nt_broken(NT_RULE_PARAMETER, "FltSendMessage: buffer %p, reply %p, its length at %p",
                  buffer, reply, (void *)reply_size);
    nt_check_wait(true);
    if (quirks.send_delay_ns != 0)
        pause_for(quirks.send_delay_ns);
    /* "If Timeout is zero, the minifilter driver is put into a wait state indefinitely." */
    uint64_t deadline = timeout == NULL || *timeout == 0 ? UINT64_MAX : nt_deadline(timeout);
    pthread_mutex_lock(&nt_lock);
    struct nt_object *object = nt_object_find(*port);
    struct nt_client *client = object != NULL ? object->body : NULL;
    if (*port != NULL && (object == NULL || object->type != NT_CLIENT || !client->driver_open))
        nt_broken(NT_RULE_REFERENCE, "FltSendMessage: %p is not an open client port", *port);
    if (client == NULL || !client->connected) {
        pthread_mutex_unlock(&nt_lock);
        return STATUS_PORT_DISCONNECTED;
    }
    struct message message = {.id = next_message_id++,
                              .data = buffer,
                              .size = size,
                              .reply = reply,
                              .reply_room = reply != NULL ? *reply_size : 0};
    sends++;
    append(client, &message);
    NTSTATUS status = wait_for_reply(client, &message, deadline);
    take_out(client, &message);
    sends--;
    if (message.state == REPLIED && reply != NULL)
        *reply_size = message.reply_size;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
    return status;
}

/* ---- the program's side ------------------------------------------------------------------------------ */

/* Under nt_lock; the server is busy meanwhile. */
static NTSTATUS call_connect(struct server *server, struct nt_client *client, const void *context,
                             uint16_t size)
{
    void *copy = NULL; /* the Filter Manager passes a copy in kernel memory */
    if (size != 0) {
        copy = malloc(size);
        if (copy == NULL)
            abort();
        memcpy(copy, context, size);
    }
    pthread_mutex_unlock(&nt_lock);
    struct nt_entry entry = nt_enter_driver("the connect callback");
    NTSTATUS status =
        server->connect(client->object->address, server->cookie, copy, size, &client->cookie);
    nt_leave_driver(&entry);
    free(copy);
    pthread_mutex_lock(&nt_lock);
    return status;
}

NTSTATUS nt_connect(const char *port, const void *context, uint16_t context_size,
                    struct nt_client **out)
{
    *out = NULL;
    struct nt_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        abort();
    client->object = nt_object_create(NT_CLIENT, client);
    NTSTATUS status = STATUS_SUCCESS;
    pthread_mutex_lock(&nt_lock);
    struct server *server = find_server(port);
    if (server == NULL)
        status = STATUS_OBJECT_NAME_NOT_FOUND;
    else if (!allowed(server))
        status = STATUS_ACCESS_DENIED;
    else if (server->connections >= server->connections_max)
        status = STATUS_CONNECTION_COUNT_LIMIT;
    if (status != STATUS_SUCCESS)
        goto refuse;
    server->connections++;
    server->busy++;
    client->server = server;
    client->program_open = client->driver_open = client->connected = true;
    client->notified = true; /* no disconnect callback before the connect callback has accepted */
    client->next = clients;
    clients = client;
    status = call_connect(server, client, context, context_size);
    server->busy--;
    pthread_cond_broadcast(&nt_changed);
    if (status < 0) {
        server->connections -= client->driver_open;
        client->program_open = client->driver_open = client->connected = false;
        forget_if_closed(client);
        goto refuse;
    }
    client->notified = !client->driver_open && !quirks.notify_after_close;
    pthread_mutex_unlock(&nt_lock);
    *out = client;
    return status;

refuse:
    client->object->kernel_references = 0;
    pthread_mutex_unlock(&nt_lock);
    return status;
}

struct message_header { /* FILTER_MESSAGE_HEADER */
    uint32_t reply_length;
    uint32_t reserved;
    uint64_t message_id;
};

struct reply_header { /* FILTER_REPLY_HEADER */
    int32_t status;
    uint32_t reserved;
    uint64_t message_id;
};

static struct message *find_message(const struct nt_client *client, enum message_state state,
                                    const uint64_t *id)
{
    struct message *message = client->messages;
    while (message != NULL && (message->state != state || (id != NULL && message->id != *id)))
        message = message->next;
    return message;
}

/* Under nt_lock. */
static NTSTATUS fetch(struct message *message, void *buffer, uint32_t size, uint32_t *received)
{
    struct message_header header = {
        .reply_length = message->reply != NULL ? message->reply_room + 16 : 0,
        .message_id = message->id,
    };
    if (size < sizeof header || size - sizeof header < message->size)
        return STATUS_BUFFER_TOO_SMALL; /* the message waits for a larger buffer */
    memcpy(buffer, &header, sizeof header);
    memcpy((uint8_t *)buffer + sizeof header, message->data, message->size);
    *received = (uint32_t)sizeof header + message->size;
    message->state = FETCHED;
    pthread_cond_broadcast(&nt_changed);
    return STATUS_SUCCESS;
}

NTSTATUS nt_get_message(struct nt_client *client, void *buffer, uint32_t size, uint32_t *received,
                        uint64_t timeout_ns)
{
    uint64_t deadline = timeout_ns == UINT64_MAX ? UINT64_MAX : nt_now() + timeout_ns;
    NTSTATUS status = STATUS_TIMEOUT;
    pthread_mutex_lock(&nt_lock);
    for (;;) {
        struct message *message = client->connected ? find_message(client, QUEUED, NULL) : NULL;
        if (!client->connected)
            status = STATUS_PORT_DISCONNECTED;
        else if (message != NULL)
            status = fetch(message, buffer, size, received);
        if (status != STATUS_TIMEOUT || !nt_wait_changed(deadline))
            break;
    }
    pthread_mutex_unlock(&nt_lock);
    return status;
}

NTSTATUS nt_reply_message(struct nt_client *client, const void *buffer, uint32_t size)
{
    struct reply_header header;
    NTSTATUS status = STATUS_FLT_NO_WAITER_FOR_REPLY;
    if (size < sizeof header)
        return STATUS_INVALID_PARAMETER;
    memcpy(&header, buffer, sizeof header);
    pthread_mutex_lock(&nt_lock);
    struct message *message = find_message(client, FETCHED, &header.message_id);
    if (!client->connected) {
        status = STATUS_PORT_DISCONNECTED;
    } else if (message != NULL && message->reply != NULL) {
        message->reply_size = size - (uint32_t)sizeof header;
        message->reply_status = header.status;
        memcpy(message->reply, (const uint8_t *)buffer + sizeof header,
               message->reply_size < message->reply_room ? message->reply_size
                                                         : message->reply_room);
        message->state = REPLIED;
        pthread_cond_broadcast(&nt_changed);
        status = STATUS_SUCCESS;
    }
    pthread_mutex_unlock(&nt_lock);
    return status;
}

/* "The filter manager calls ProbeForRead to validate this pointer": user space, nothing else. */
static bool probe(const void *buffer, uint32_t size)
{
    uintptr_t begin = (uintptr_t)buffer;
    return buffer == NULL || size == 0 || (nt_is_user(begin) && nt_is_user(begin + size - 1));
}

NTSTATUS nt_send_message(struct nt_client *client, void *input, uint32_t input_size, void *output,
                         uint32_t output_size, uint32_t *returned)
{
    NTSTATUS status = STATUS_PORT_DISCONNECTED;
    *returned = 0;
    if (!probe(input, input_size) || !probe(output, output_size))
        return STATUS_ACCESS_VIOLATION;
    pthread_mutex_lock(&nt_lock);
    struct server *server = client->server;
    if (server->message == NULL) {
        status = STATUS_NOT_SUPPORTED;
    } else if (client->connected) {
        client->busy++;
        pthread_mutex_unlock(&nt_lock);
        struct nt_entry entry = nt_enter_driver("the message callback");
        status = server->message(client->cookie, input, input_size, output, output_size, returned);
        nt_leave_driver(&entry);
        if (*returned > output_size)
            nt_broken(NT_RULE_CALLBACK, "the message callback returned %u of %u bytes", *returned,
                      output_size);
        pthread_mutex_lock(&nt_lock);
        client->busy--;
        pthread_cond_broadcast(&nt_changed);
    }
    pthread_mutex_unlock(&nt_lock);
    return status;
}

bool nt_disconnected(struct nt_client *client)
{
    pthread_mutex_lock(&nt_lock);
    bool gone = !client->connected;
    pthread_mutex_unlock(&nt_lock);
    return gone;
}

uint32_t nt_port_access(const char *port)
{
    uint32_t access = 0;
    pthread_mutex_lock(&nt_lock);
    const struct server *server = find_server(port);
    const ACL *acl = server != NULL ? (const ACL *)(const void *)server->dacl : NULL;
    const uint8_t *at = server != NULL ? server->dacl + sizeof *acl : NULL;
    for (uint32_t i = 0; acl != NULL && i < acl->AceCount; i++) {
        uint16_t size;
        uint32_t mask;
        memcpy(&size, at + 2, sizeof size);
        memcpy(&mask, at + 4, sizeof mask);
        access |= mask;
        at += size;
    }
    pthread_mutex_unlock(&nt_lock);
    return access;
}

uint32_t nt_connections(const char *port)
{
    pthread_mutex_lock(&nt_lock);
    const struct server *server = find_server(port);
    uint32_t count = server != NULL ? (uint32_t)server->connections : 0;
    pthread_mutex_unlock(&nt_lock);
    return count;
}

static const struct nt_export exports[] = {
    NT_FALLIBLE(FltRegisterFilter, PASSIVE_LEVEL, APC_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "fltkernel/nf-fltkernel-fltregisterfilter"),
    NT_FALLIBLE(FltStartFiltering, PASSIVE_LEVEL, APC_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "fltkernel/nf-fltkernel-fltstartfiltering"),
    NT_ROUTINE(FltUnregisterFilter, PASSIVE_LEVEL, APC_LEVEL,
               "fltkernel/nf-fltkernel-fltunregisterfilter"),
    NT_FALLIBLE(FltBuildDefaultSecurityDescriptor, PASSIVE_LEVEL, APC_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES,
                "fltkernel/nf-fltkernel-fltbuilddefaultsecuritydescriptor"),
    NT_ROUTINE(FltFreeSecurityDescriptor, PASSIVE_LEVEL, APC_LEVEL,
               "fltkernel/nf-fltkernel-fltfreesecuritydescriptor"),
    NT_FALLIBLE(FltCreateCommunicationPort, PASSIVE_LEVEL, PASSIVE_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES, "fltkernel/nf-fltkernel-fltcreatecommunicationport"),
    NT_ROUTINE(FltCloseCommunicationPort, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "fltkernel/nf-fltkernel-fltclosecommunicationport"),
    NT_ROUTINE(FltCloseClientPort, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "fltkernel/nf-fltkernel-fltcloseclientport"),
    NT_FALLIBLE(FltSendMessage, PASSIVE_LEVEL, APC_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
                "fltkernel/nf-fltkernel-fltsendmessage"),
};
const struct nt_export_table nt_flt_table = NT_TABLE(exports);
