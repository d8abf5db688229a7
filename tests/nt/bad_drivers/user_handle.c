/* Opens a key with a handle that the process it runs in could use. */
#include "driver.h"

NTSTATUS begin(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Registry\\Machine\\System");
    OBJECT_ATTRIBUTES attributes;
    HANDLE key;
    InitializeObjectAttributes(&attributes, &name, 0, NULL, NULL);
    NTSTATUS status = ZwOpenKey(&key, KEY_READ, &attributes);
    if (NT_SUCCESS(status))
        (void)ZwClose(key);
    return status;
}

void end(void)
{
}
