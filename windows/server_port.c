/*
 * Creating a communication port. PASSIVE_LEVEL, from DriverEntry.
 *
 * "When this security descriptor is applied to an object, only users with system or administrator
 * privileges have access to the object" ("FltBuildDefaultSecurityDescriptor"): that is just who may
 * connect. It is built with FLT_PORT_ALL_ACCESS, because the access that the Filter Manager asks
 * for on behalf of FilterConnectCommunicationPort is not documented, and a port that even its owners
 * cannot open would be no gain; the rights besides FLT_PORT_CONNECT give nothing to a client.
 */
#include "server_port.h"

#include "log.h"

NTSTATUS wvu_server_port_create(PFLT_FILTER filter, PCWSTR name, PVOID cookie,
                                PFLT_CONNECT_NOTIFY connect, PFLT_DISCONNECT_NOTIFY disconnect,
                                PFLT_MESSAGE_NOTIFY message, LONG connections, PFLT_PORT *server)
{
    PSECURITY_DESCRIPTOR descriptor;
    UNICODE_STRING string;
    OBJECT_ATTRIBUTES attributes;
    NTSTATUS status = FltBuildDefaultSecurityDescriptor(&descriptor, FLT_PORT_ALL_ACCESS);
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_COMMS, "no security descriptor for the ports (0x%08x)",
                      (unsigned)status);
        return status;
    }
    RtlInitUnicodeString(&string, name);
    InitializeObjectAttributes(&attributes, &string, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL,
                               descriptor);
    status = FltCreateCommunicationPort(filter, server, &attributes, cookie, connect, disconnect,
                                        message, connections);
    FltFreeSecurityDescriptor(descriptor);
    return status;
}
