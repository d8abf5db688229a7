/*
 * Guard values for the stack; see stack_guard.c.
 */
#ifndef WVU_STACK_GUARD_H
#define WVU_STACK_GUARD_H

#include "nt.h"

void wvu_stack_guard_init(void);

#endif
