/*
 * Filter of log lines. The sink is the host's. Any thread, any IRQL up to DISPATCH.
 */
#include "log.h"

#include "os.h"

/* Until configured: everything but traces, so that nothing said during set-up is missed. */
uint32_t wvu_log_enabled[4] = {
    [WVU_LOG_ERROR] = WVU_LOG_ALL,
    [WVU_LOG_WARNING] = WVU_LOG_ALL,
    [WVU_LOG_TRACE] = 0,
    [WVU_LOG_INFO] = WVU_LOG_ALL,
};

void wvu_log_configure(uint32_t modules, uint32_t least_level)
{
    /* By importance; the numbers are those of the DPFLTR levels, where TRACE comes before INFO. */
    static const uint32_t order[4] = {WVU_LOG_ERROR, WVU_LOG_WARNING, WVU_LOG_INFO, WVU_LOG_TRACE};
    uint32_t mask = modules;
    for (unsigned i = 0; i < 4; i++) {
        wvu_store_relaxed(&wvu_log_enabled[order[i]], mask);
        if (order[i] == least_level)
            mask = 0;
    }
    /* Errors are never filtered by module: nobody looks for a mask before the first failure. */
    wvu_store_relaxed(&wvu_log_enabled[WVU_LOG_ERROR], WVU_LOG_ALL);
}

void wvu_log_write(uint32_t module, uint32_t level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    wvu_os_log(module, level, format, arguments);
    va_end(arguments);
}
