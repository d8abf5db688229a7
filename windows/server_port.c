/*
 * Creating a communication port. PASSIVE_LEVEL, from DriverEntry.
 *
 * "When this security descriptor is applied to an object, only users with system or administrator
 * privileges have access to the object" ("FltBuildDefaultSecurityDescriptor"), and the access that they
 * get is the one it is built with: FLT_PORT_CONNECT, "the caller can connect to the port". Nobody may
 * change or delete the port or who owns it.
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
    NTSTATUS status = FltBuildDefaultSecurityDescriptor(&descriptor, FLT_PORT_CONNECT);
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
