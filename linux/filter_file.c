/*
 * Reads the filter's rules: at start, at each SIGHUP and for --check. Main thread.
 *
 * What the rules mean is the engine's to know (engine/filter.c): a filter is made of them to see whether
 * they are right, and thrown away. The sensor makes its own from the same text.
 */
#define _GNU_SOURCE
#include "filter_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_SIZE 256

const struct wvu_filter_host wvu_linux_filter_host = {.utf16 = false, .ignore_case = false};

static bool may_be_missing(const struct wvu_config *config)
{
    return config->origin[WVU_CONFIG_FILTER_FILE] == WVU_CONFIG_FROM_DEFAULT;
}

/* The engine says "line 3: why"; here it is FILE:3: why, as for all files. */
static wvu_status refuse(const char *path, const char *reason, struct wvu_config_error *error)
{
    unsigned line;
    int length = 0;
    if (sscanf(reason, "line %u: %n", &line, &length) == 1 && length > 0)
        snprintf(error->text, sizeof error->text, "%s:%u: %s", path, line, reason + length);
    else
        snprintf(error->text, sizeof error->text, "%s: %s", path, reason);
    return WVU_STATUS_INVALID_PARAMETER;
}

static wvu_status check(const char *path, const char *text, struct wvu_config_error *error)
{
    struct wvu_filter *filter;
    char reason[REASON_SIZE] = "";
    wvu_status status =
        wvu_filter_create(text, strlen(text), &wvu_linux_filter_host, &filter, reason);
    if (status != WVU_STATUS_OK)
        return refuse(path, reason[0] != '\0' ? reason : wvu_strerror(status), error);
    wvu_filter_destroy(filter);
    return WVU_STATUS_OK;
}

wvu_status wvu_filter_file_read(const struct wvu_config *config, char text[WVU_FILTER_BUFFER],
                                struct wvu_config_error *error)
{
    const char *path = config->filter_file;
    text[0] = '\0';
    if (path[0] == '\0')
        return WVU_STATUS_OK;
    ssize_t length = wvu_config_read_file(path, text, WVU_FILTER_BUFFER);
    if (length < 0 && errno == ENOENT && may_be_missing(config)) {
        text[0] = '\0';
        return WVU_STATUS_OK;
    }
    char why[96];
    if (length < 0) {
        snprintf(why, sizeof why, "FilterFile cannot be read: %s", strerror(errno));
        return refuse(path, why, error);
    }
    if (length == WVU_FILTER_BUFFER) {
        snprintf(why, sizeof why, "the file is too large; allowed: %u bytes", WVU_FILTER_TEXT_MAX);
        return refuse(path, why, error);
    }
    text[length] = '\0';
    if (strlen(text) != (size_t)length)
        return refuse(path, "there is a NUL byte; allowed: text", error);
    return check(path, text, error);
}
