/*
 * What the sensor says about the machine it runs on. PASSIVE.
 */
#ifndef WVU_MACHINE_H
#define WVU_MACHINE_H

#include <stdint.h>

struct wvu_machine {
    uint8_t id[16];   /* stays the same for this installation of Windows */
    char name[256];   /* UTF-8; empty when it is not known */
    char system[128]; /* version of the kernel */
};

void wvu_machine_describe(struct wvu_machine *machine);

#endif
