/*
 * A client of the command port, as scenarios need it: asks, and gets status and data.
 */
#ifndef NT_CONTROL_H
#define NT_CONTROL_H

#include "nt.h"
#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

/* In the context of an administrator's program (nt_become_reader). `probe`: name of the probe that it is
 * for; NULL: none or all. `data` of at most `capacity` bytes gets the response's data, and *size how much;
 * NULL: not wanted. */
wvu_status nt_control(uint32_t command, const char *probe, const char *text, void *data,
                      uint32_t capacity, uint32_t *size);
/* When the port itself may fail: its status, or the response's. */
wvu_status nt_try_control(uint32_t command, const char *text);
/* Ends the process unless the command succeeds. */
void nt_must_control(uint32_t command, const char *probe, const char *text);

#endif
