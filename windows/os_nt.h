/*
 * What os_nt.c offers beyond engine/os.h, for driver.c.
 */
#ifndef WVU_OS_NT_H
#define WVU_OS_NT_H

#include "os.h"

/* PASSIVE. After wvu_routines_find, before everything else of os.h. */
void wvu_os_nt_init(void);

/* PASSIVE. Random bytes that nobody can guess; a status when the system has no source of them (then
 * wvu_os_random still gives bytes that are unlike any others, which does for identifiers). */
wvu_status wvu_os_nt_secret(void *buffer, size_t size);

#endif
