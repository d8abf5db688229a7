/*
 * Where log lines go: standard error, one write a line. Implements wvu_os_log (engine/os.h).
 */
#ifndef WVU_LOG_SINK_H
#define WVU_LOG_SINK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WVU_LOG_LINE_MAX 2048 /* longer lines are cut and end in "..."; less than PIPE_BUF */

/* Finds out whether standard error is the journal, which wants a priority instead of time and
 * level. Before this call lines have time and level. Once, before there are other threads. */
void wvu_log_sink_init(void);

/* Makes one line, its line end included, and returns its length (at most WVU_LOG_LINE_MAX). Control
 * characters in the text become \xNN: no text of somebody else can forge a line. Not terminated. */
size_t wvu_log_sink_format(char line[WVU_LOG_LINE_MAX], bool journal, int64_t system_time,
                           uint32_t module, uint32_t level, const char *format, va_list arguments);

/* The names people use. NULL when there is none; index counts from 0 up to NULL. */
const char *wvu_log_level_name(uint32_t level);
const char *wvu_log_module_name(uint32_t module);
const char *wvu_log_module_at(unsigned index, uint32_t *module);

#endif
