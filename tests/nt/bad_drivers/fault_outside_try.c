/* Reads the header of an image where it is mapped, without __try. */
#include "driver.h"

static volatile UCHAR seen;

static VOID NTAPI on_image(PUNICODE_STRING name, HANDLE id, PIMAGE_INFO info)
{
    (void)name;
    (void)id;
    seen = *(volatile UCHAR *)info->ImageBase;
}

NTSTATUS begin(void)
{
    return PsSetLoadImageNotifyRoutine(on_image);
}

void end(void)
{
    (void)PsRemoveLoadImageNotifyRoutine(on_image);
}
