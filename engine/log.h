/*
 * Log lines of the engine and the hosts, filtered by module and level.
 *
 * Any thread, any IRQL up to DISPATCH. A line that is filtered out costs one load and one branch.
 * Never log from the path between a kernel callback and commit.
 */
#ifndef WVU_LOG_H
#define WVU_LOG_H

#include <stdint.h>

#include "atomic.h"

/* Bits and levels are those of the first WinVirtUE, so that its masks keep their meaning. */
enum wvu_log_level { WVU_LOG_ERROR = 0, WVU_LOG_WARNING = 1, WVU_LOG_TRACE = 2, WVU_LOG_INFO = 3 };

enum wvu_log_module {
    WVU_LOG_UTIL = 1u << 1,
    WVU_LOG_MAIN = 1u << 3,
    WVU_LOG_COMMS = 1u << 7,
    WVU_LOG_POLL = 1u << 10,
    WVU_LOG_MODULE = 1u << 16,
    WVU_LOG_THREAD = 1u << 17,
    WVU_LOG_REGISTRY = 1u << 18,
    WVU_LOG_PROCESS = 1u << 19,
    WVU_LOG_SENSOR = 1u << 20,
    WVU_LOG_PROBE = 1u << 21,
    WVU_LOG_QUEUE = 1u << 22
};
#define WVU_LOG_ALL 0xFFFFFFFFu

/* Order of importance, most important first: ERROR, WARNING, INFO, TRACE. */
void wvu_log_configure(uint32_t modules, uint32_t least_level);
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
