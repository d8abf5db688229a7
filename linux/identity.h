/*
 * Which machine this is: an id that stays, and names for people. Main thread, once at start.
 */
#ifndef WVU_IDENTITY_H
#define WVU_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wvu_identity {
    uint8_t host_id[16];
    char host_name[256];
    char system_version[512]; /* kernel: name, release, version, machine */
};

/* Never fails: where a machine has no id, one is made from its host name, with a warning in the log. */
void wvu_identity_read(struct wvu_identity *identity);

/* 32 hexadecimal digits, dashes between them allowed, then nothing but blanks; not all zero. */
bool wvu_identity_parse(const char *text, uint8_t id[16]);

#endif
