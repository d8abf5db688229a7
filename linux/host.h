/*
 * What the probes of the Linux host share: wvu_sensor_settings.host points to one of these.
 */
#ifndef WVU_LINUX_HOST_H
#define WVU_LINUX_HOST_H

struct wvu_source;

struct wvu_linux_host {
    struct wvu_source *source; /* made before the sensor, destroyed after it */
};

#endif
