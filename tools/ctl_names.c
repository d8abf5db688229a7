/*
 * Names: see ctl_names.h. Called by wvuctl's commands; one thread.
 */
#include "ctl_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- values ---------------------------------------------------------------------------------------- */

static const struct {
    const char *kind;
    const char *name;
    uint32_t value;
} values[] = {
#define WVU_ENUM(kind, value, name) {#kind, #name, value},
#include "winvirtue/enums.def"
};

static const char *find_name(const char *kind, uint32_t value)
{
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (values[i].value == value && strcmp(values[i].kind, kind) == 0)
            return values[i].name;
    }
    return NULL;
}

const char *ctl_name(const char *kind, uint32_t value, char number[CTL_NAME_MAX])
{
    const char *name = find_name(kind, value);
    if (name != NULL)
        return name;
    (void)snprintf(number, CTL_NAME_MAX, "%" PRIu32, value);
    return number;
}

void ctl_json_name(struct ctl_out *out, const char *kind, uint32_t value)
{
    const char *name = find_name(kind, value);
    if (name != NULL)
        ctl_json_string(out, name);
    else
        ctl_json_u64(out, value);
}

/* ---- probes ---------------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* In any case. */
static bool begins_with(struct ctl_text text, const char *name)
{
    size_t i = 0;
    while (name[i] != '\0' && i < text.size && lower(name[i]) == lower(text.bytes[i]))
        i++;
    return name[i] == '\0';
}

static void list_probes(const struct wvu_response *response, struct ctl_out *out)
{
    const struct wvu_probe_entry *entry = NULL;
    const char *before = "";
    while ((entry = wvu_next_probe(response, entry)) != NULL) {
        ctl_put_string(out, before);
        ctl_put_safe(out, ctl_text_of(entry, &entry->name));
        before = ", ";
    }
}

const struct wvu_probe_entry *ctl_find_probe(const struct ctl *ctl,
                                             const struct wvu_response *response, const char *name)
{
    const struct wvu_probe_entry *entry = NULL;
    const struct wvu_probe_entry *found = NULL;
    unsigned count = 0;
    while (name[0] != '\0' && (entry = wvu_next_probe(response, entry)) != NULL) {
        struct ctl_text text = ctl_text_of(entry, &entry->name);
        if (!begins_with(text, name))
            continue;
        if (text.size == strlen(name))
            return entry;
        found = entry;
        count++;
    }
    if (count == 1)
        return found;
    struct ctl_out names = {.failed = false};
    list_probes(response, &names);
    (void)ctl_usage(ctl, "%s \"%s\"; the probes are %.*s",
                    count == 0 ? "there is no probe" : "more than one probe begins with", name,
                    (int)names.buffer.size, names.buffer.size != 0 ? names.buffer.bytes : "");
    buffer_free(&names.buffer);
    return NULL;
}
