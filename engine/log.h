/*
 * Log lines of the engine and the hosts, filtered by module and level.
 *
 * Any thread, any IRQL up to DISPATCH. A line that is filtered out costs one load and one branch.
 * Never log from the path between a kernel callback and commit.
 */
#ifndef WVU_LOG_H
#define WVU_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "atomic.h"
#include "winvirtue/status.h"

/* Bits and levels are those of the first WinVirtUE, so that its masks keep their meaning. */
enum wvu_log_level { WVU_LOG_ERROR = 0, WVU_LOG_WARNING = 1, WVU_LOG_TRACE = 2, WVU_LOG_INFO = 3 };

/* WVU_LOG_MODULE_NAME(bit, constant, name for people) */
#define WVU_LOG_MODULES                                                                            \
    WVU_LOG_MODULE_NAME(1, UTIL, "util")                                                           \
    WVU_LOG_MODULE_NAME(3, MAIN, "main")                                                           \
    WVU_LOG_MODULE_NAME(7, COMMS, "comms")                                                         \
    WVU_LOG_MODULE_NAME(10, POLL, "poll")                                                          \
    WVU_LOG_MODULE_NAME(16, MODULE, "module")                                                      \
    WVU_LOG_MODULE_NAME(17, THREAD, "thread")                                                      \
    WVU_LOG_MODULE_NAME(18, REGISTRY, "registry")                                                  \
    WVU_LOG_MODULE_NAME(19, PROCESS, "process")                                                    \
    WVU_LOG_MODULE_NAME(20, SENSOR, "sensor")                                                      \
    WVU_LOG_MODULE_NAME(21, PROBE, "probe")                                                        \
    WVU_LOG_MODULE_NAME(22, QUEUE, "queue")

enum wvu_log_module {
#define WVU_LOG_MODULE_NAME(bit, constant, name) WVU_LOG_##constant = 1u << (bit),
    WVU_LOG_MODULES
#undef WVU_LOG_MODULE_NAME
};
#define WVU_LOG_ALL 0xFFFFFFFFu

/* Order of importance, most important first: ERROR, WARNING, INFO, TRACE. */
void wvu_log_configure(uint32_t modules, uint32_t least_level);
/* PASSIVE, any thread. "MODULE=LEVEL" pairs, separated by blanks: modules by name (or `all`), levels error,
 * warning, info, trace. All of it or, with a reason (256 bytes), nothing. Errors always print. */
wvu_status wvu_log_set(const char *text, size_t length, char *reason);
/* Any. What is in force, MODULE=LEVEL, one a line; returns the length, cut at size. */
size_t wvu_log_describe(char *text, size_t size);
extern uint32_t wvu_log_enabled[4]; /* for each level, the modules that print; relaxed accesses */

#if defined(__GNUC__) || defined(__clang__)
__attribute__((format(printf, 3, 4)))
#endif
void wvu_log_write(uint32_t module, uint32_t level, const char *format, ...);

#define wvu_log(module, level, ...)                                                                \
    do {                                                                                           \
        if ((wvu_load_relaxed(&wvu_log_enabled[level]) & (module)) != 0)                           \
            wvu_log_write((module), (level), __VA_ARGS__);                                         \
    } while (0)

#define wvu_log_error(module, ...)   wvu_log(module, WVU_LOG_ERROR, __VA_ARGS__)
#define wvu_log_warning(module, ...) wvu_log(module, WVU_LOG_WARNING, __VA_ARGS__)
#define wvu_log_info(module, ...)    wvu_log(module, WVU_LOG_INFO, __VA_ARGS__)
#define wvu_log_trace(module, ...)   wvu_log(module, WVU_LOG_TRACE, __VA_ARGS__)

#endif
