/* Closes a handle twice. */
#include "driver.h"

NTSTATUS begin(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Registry\\Machine\\System");
    OBJECT_ATTRIBUTES attributes;
    HANDLE key;
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    NTSTATUS status = ZwOpenKey(&key, KEY_READ, &attributes);
    (void)ZwClose(key);
    (void)ZwClose(key);
    return status;
}

void end(void)
{
}
