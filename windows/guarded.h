/*
 * Access to memory that may fault: user buffers, and image headers that were mapped by others.
 */
#ifndef WVU_GUARDED_H
#define WVU_GUARDED_H

#include "nt.h"

/* PASSIVE, in the process that the user address belongs to. Checks that all of the buffer lies in
 * user space and copies it once; what the process does to it afterwards does not matter. A status
 * other than OK when it lies elsewhere or faults; `to` may be half written then. */
_IRQL_requires_max_(APC_LEVEL) NTSTATUS wvu_copy_from_user(void *to, const void *from, size_t size);
_IRQL_requires_max_(APC_LEVEL) NTSTATUS wvu_copy_to_user(void *to, const void *from, size_t size);

/* PASSIVE. The same for an address that the kernel itself gave and that is mapped, where a page may
 * fail to be read. */
_IRQL_requires_max_(APC_LEVEL) NTSTATUS wvu_copy_mapped(void *to, const void *from, size_t size);

#endif
