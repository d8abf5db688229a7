/*
 * Any bytes as a configuration file: taken whole or not at all; and what was taken, printed and read again,
 * means the same.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const probes[] = {"ProcessCreate", "ImageLoad", NULL};

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_same(const struct wvu_config *a, const struct wvu_config *b)
{
    char text_a[WVU_CONFIG_TEXT_MAX], text_b[WVU_CONFIG_TEXT_MAX];
    wvu_config_format(a, "x", text_a, sizeof text_a);
    wvu_config_format(b, "x", text_b, sizeof text_b);
    require(strcmp(text_a, text_b) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wvu_config config, before, again;
    struct wvu_config_error error = {""};
    wvu_config_init(&before, probes);
    config = before;
    wvu_status status = wvu_config_parse(&config, "file", (const char *)data, size, &error);
    if (status != WVU_STATUS_OK) {
        require(status == WVU_STATUS_INVALID_PARAMETER);
        require(strncmp(error.text, "file:", 5) == 0);
        require(memchr(error.text, '\0', sizeof error.text) != NULL);
        check_same(&config, &before);
        return 0;
    }
    char text[WVU_CONFIG_TEXT_MAX];
    size_t length = wvu_config_format(&config, NULL, text, sizeof text);
    wvu_config_init(&again, probes);
    require(wvu_config_parse(&again, "file", text, length, &error) == WVU_STATUS_OK);
    memcpy(again.origin, config.origin, sizeof again.origin);
    check_same(&config, &again);
    return 0;
}
