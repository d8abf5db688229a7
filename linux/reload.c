/*
 * The configuration is read again while wvud runs. In the main thread (main.c).
 */
#include <stdio.h>
#include <string.h>

#include "daemon.h"
#include "log.h"

/* The keys that can change while the sensor runs; wvu_daemon_reload applies them. */
static bool is_reloadable(enum wvu_config_key key)
{
    return key == WVU_CONFIG_LOG_LEVEL || key == WVU_CONFIG_LOG_MODULES ||
           key == WVU_CONFIG_SEND_TIMEOUT_MS || key == WVU_CONFIG_GROUP ||
           key == WVU_CONFIG_FILTER_FILE;
}

static void take_changes(struct daemon *daemon, const struct wvu_config *new)
{
    for (int key = 0; key < WVU_CONFIG_KEYS; key++) {
        char before[256], after[256];
        wvu_config_format_value(&daemon->config, key, before, sizeof before);
        wvu_config_format_value(new, key, after, sizeof after);
        if (strcmp(before, after) == 0)
            continue;
        if (is_reloadable(key)) {
            wvu_config_copy_key(&daemon->config, new, key);
            wvu_log_info(WVU_LOG_MAIN, "%s is '%s' now, it was '%s'", wvu_config_key_name(key),
                         after, before);
        } else {
            wvu_log_warning(WVU_LOG_MAIN, "%s stays '%s': '%s' takes effect at the next start",
                            wvu_config_key_name(key), before, after);
        }
    }
}

/* Both ports or, with a reason, none. */
static wvu_status set_group(struct daemon *daemon, bool has_group, gid_t group, char *reason,
                            size_t reason_size)
{
    char unused[WVU_REASON_MAX];
    if (has_group == daemon->has_group && group == daemon->group)
        return WVU_STATUS_OK;
    wvu_status status =
        wvu_port_socket_set_group(daemon->port, has_group, group, reason, reason_size);
    if (status == WVU_STATUS_OK)
        status =
            wvu_port_command_set_group(daemon->command_port, has_group, group, reason, reason_size);
    if (status == WVU_STATUS_OK) {
        daemon->has_group = has_group;
        daemon->group = group;
        return WVU_STATUS_OK;
    }
    /* What it was could be set before, and the first failure is the one to tell. */
    (void)wvu_port_socket_set_group(daemon->port, daemon->has_group, daemon->group, unused,
                                    sizeof unused);
    (void)wvu_port_command_set_group(daemon->command_port, daemon->has_group, daemon->group, unused,
                                     sizeof unused);
    return status;
}

/* The file's rules are in force again, also when a command set others meanwhile. */
static wvu_status set_filter(struct daemon *daemon, const char *text,
                             struct wvu_config_error *error)
{
    char reason[WVU_REASON_MAX] = "";
    wvu_status status = wvu_sensor_set_filter(daemon->sensor, text, strlen(text), reason);
    if (status == WVU_STATUS_OK)
        memcpy(daemon->filter, text, sizeof daemon->filter);
    else
        snprintf(error->text, sizeof error->text, "the filter: %s",
                 reason[0] != '\0' ? reason : wvu_strerror(status));
    return status;
}

/* Everything is read and checked before anything is changed. */
wvu_status wvu_daemon_reload(struct daemon *daemon)
{
    static char filter[WVU_FILTER_BUFFER];
    struct wvu_config new;
    struct wvu_config_error error;
    bool file_found, has_group;
    gid_t group;
    wvu_status status =
        wvu_options_load(daemon->options, daemon->config.probe_names, &new, &file_found, &error);
    if (status == WVU_STATUS_OK)
        status =
            wvu_config_find_group(&new, daemon->options->config_path, &has_group, &group, &error);
    if (status == WVU_STATUS_OK)
        status = wvu_filter_file_read(&new, filter, &error);
    if (status == WVU_STATUS_OK)
        status = set_group(daemon, has_group, group, error.text, sizeof error.text);
    if (status == WVU_STATUS_OK)
        status = set_filter(daemon, filter, &error);
    if (status != WVU_STATUS_OK) {
        wvu_log_error(WVU_LOG_MAIN, "the configuration stays as it was: %s", error.text);
        return status;
    }
    take_changes(daemon, &new);
    wvu_dispatcher_set_timeout(wvu_sensor_dispatcher(daemon->sensor),
                               daemon->config.send_timeout_ms);
    wvu_log_configure(daemon->config.log_modules, daemon->config.log_level);
    return WVU_STATUS_OK;
}
