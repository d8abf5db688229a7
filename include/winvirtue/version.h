/* The version of all parts; meson.build reads it from here. */
#ifndef WINVIRTUE_VERSION_H
#define WINVIRTUE_VERSION_H
#define WVU_VERSION "0.2.0"
#endif
