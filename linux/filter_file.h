/*
 * The file of the filter's rules. Main thread.
 */
#ifndef WVU_FILTER_FILE_H
#define WVU_FILTER_FILE_H

#include "config.h"
#include "filter.h"

#define WVU_FILTER_BUFFER (WVU_FILTER_TEXT_MAX + 1u)

/* How images are compared on Linux: their bytes, as they are. */
extern const struct wvu_filter_host wvu_linux_filter_host;

/* Reads the rules that FilterFile names, and checks them; terminated. The default file need not be there,
 * nor any when FilterFile is empty: then there are none. On failure `error` says what is wrong, with file
 * and line, and the text is not to be used. */
wvu_status wvu_filter_file_read(const struct wvu_config *config, char text[WVU_FILTER_BUFFER],
                                struct wvu_config_error *error);

#endif
