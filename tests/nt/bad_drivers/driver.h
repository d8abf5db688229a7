/*
 * What the small drivers of this directory share. Each breaks one rule of the stand-in kernel on
 * purpose; tests/nt/meson.build names the rule that must be noticed.
 */
#ifndef NT_BAD_DRIVER_H
#define NT_BAD_DRIVER_H

#include <ntifs.h>

#define TAG          '1dab'
#define NON_PAGED_NX ((POOL_TYPE)512)

/* In every driver: does the bad thing, in DriverEntry; and at unload. */
NTSTATUS begin(void);
void end(void);

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry);
/* For those that need it. */
static PDRIVER_OBJECT the_driver __attribute__((unused));

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
    (void)driver;
    end();
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry)
{
    (void)registry;
    the_driver = driver;
    driver->DriverUnload = unload;
    return begin();
}

static inline void *allocate(SIZE_T size)
{
    return ExAllocatePoolWithTag(NON_PAGED_NX, size, TAG);
}

#endif
