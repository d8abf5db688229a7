/*
 * The configuration of wvud: defaults, then a file, then the command line. wvud.conf(5) is the manual.
 *
 * Main thread. Nothing here allocates; a configuration is a plain structure that can be copied.
 */
#ifndef WVU_CONFIG_H
#define WVU_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "winvirtue/status.h"

#define WVU_CONFIG_PATH_DEFAULT "/etc/winvirtue/wvud.conf"
#define WVU_FILTER_PATH_DEFAULT "/etc/winvirtue/filter.conf"
#define WVU_CONFIG_FILE_MAX     65536u /* bytes; a larger file is an error */
#define WVU_CONFIG_PROBES_MAX   32u    /* probes that can be named */

#define WVU_DRAIN_MS_DEFAULT 500u
#define WVU_DRAIN_MS_MAX     60000u

enum wvu_config_key {
    WVU_CONFIG_QUEUE_RECORDS,
    WVU_CONFIG_QUEUE_BYTES,
    WVU_CONFIG_SEND_TIMEOUT_MS,
    WVU_CONFIG_DRAIN_MS,
    WVU_CONFIG_LOG_LEVEL,
    WVU_CONFIG_LOG_MODULES,
    WVU_CONFIG_GROUP,
    WVU_CONFIG_RUN_DIR,
    WVU_CONFIG_RING_BYTES,
    WVU_CONFIG_PROCESSES,
    WVU_CONFIG_PROBES,
    WVU_CONFIG_FILTER_FILE,
    WVU_CONFIG_PROTECT,
    WVU_CONFIG_KEYS
};

/* Where a value comes from: line n of the file, or one of these. */
#define WVU_CONFIG_FROM_DEFAULT      0u
#define WVU_CONFIG_FROM_COMMAND_LINE UINT32_MAX

struct wvu_config {
    uint32_t queue_records;
    uint32_t queue_bytes;
    uint32_t send_timeout_ms;
    uint32_t drain_ms;
    uint32_t log_level;               /* enum wvu_log_level */
    uint32_t log_modules;             /* enum wvu_log_module */
    uint32_t ring_bytes;              /* of each processor's event ring */
    uint32_t processes;               /* followed at a time */
    uint32_t probes;                  /* bit n: the nth of probe_names is wanted */
    char group[64];                   /* name or number; "": none */
    char run_dir[97];                 /* what leaves room for a socket's name in its address */
    char filter_file[256];            /* "": no rules */
    uint32_t is_protected;            /* from the start; 0 or 1 */
    const char *const *probe_names;   /* the caller's; ends with NULL */
    uint32_t origin[WVU_CONFIG_KEYS]; /* line, or WVU_CONFIG_FROM_... */
};

/* What is wrong, where, and what would be right; one line without an end. */
struct wvu_config_error {
    char text[512];
};

/* The defaults. `probe_names`: those that can be chosen, at most WVU_CONFIG_PROBES_MAX, then NULL. */
void wvu_config_init(struct wvu_config *config, const char *const *probe_names);

/* Takes all of a file's text, or none of it (INVALID_PARAMETER). `name` stands for the file in errors. */
wvu_status wvu_config_parse(struct wvu_config *config, const char *name, const char *text,
                            size_t size, struct wvu_config_error *error);

/* The same with the file at `path`. NAME_NOT_FOUND: there is none. ACCESS_DENIED, IO_ERROR. */
wvu_status wvu_config_load(struct wvu_config *config, const char *path,
                           struct wvu_config_error *error);

/* Reads up to `size` bytes of a file; returns how many, or -1 with errno. */
ssize_t wvu_config_read_file(const char *path, char *buffer, size_t size);

/* One KEY=VALUE of the command line; `option` stands for it in errors. */
wvu_status wvu_config_set(struct wvu_config *config, const char *option, const char *assignment,
                          struct wvu_config_error *error);

/* All keys, one a line: "Key=value", for SensorStart; or, when `file` names the configuration file, for
 * people, with where each value comes from. Both are files that mean the same. The last line has no
 * end. Returns the length; terminated, cut at `size`. */
#define WVU_CONFIG_TEXT_MAX 4096u
size_t wvu_config_format(const struct wvu_config *config, const char *file, char *text,
                         size_t size);

const char *wvu_config_key_name(enum wvu_config_key key);
void wvu_config_format_value(const struct wvu_config *config, enum wvu_config_key key, char *text,
                             size_t size);
/* Takes one key's value from another configuration. */
void wvu_config_copy_key(struct wvu_config *to, const struct wvu_config *from,
                         enum wvu_config_key key);

/* The number of the configured group. NOT_FOUND: there is no group of that name. */
wvu_status wvu_config_find_group(const struct wvu_config *config, const char *file, bool *has_group,
                                 gid_t *group, struct wvu_config_error *error);

#endif
