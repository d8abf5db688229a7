/* Relies on a __try block around memcpy: clang takes that for a copy that cannot fail, and leaves the
 * block out. */
#include "driver.h"

static UCHAR header[64];

__attribute__((noinline)) static void copy_header(PVOID base)
{
    __try {
        memcpy(header, base, sizeof header);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        header[0] = 0;
    }
}

static VOID NTAPI on_image(PUNICODE_STRING name, HANDLE id, PIMAGE_INFO info)
{
    (void)name;
    (void)id;
    copy_header(info->ImageBase);
    (void)DbgPrintEx(DPFLTR_DEFAULT_ID, 0, "%x\n", header[0]);
}

NTSTATUS begin(void)
{
    return PsSetLoadImageNotifyRoutine(on_image);
}

void end(void)
{
    (void)PsRemoveLoadImageNotifyRoutine(on_image);
}
