/*
 * wvuctl filter: shows, replaces and clears the rules that are in force. One thread.
 *
 * The sensor checks rules, and takes all of them or none; nothing of that is done again here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

#define TEXT_MAX (WVU_REQUEST_MAX - sizeof(struct wvu_request))

static enum ctl_exit show(struct ctl *ctl)
{
    const struct wvu_response *response;
    struct ctl_text rules;
    enum ctl_exit code =
        ctl_ask(ctl, "ask for the rules", WVU_COMMAND_GET_FILTER, NULL, NULL, 0, &response);
    if (code != CTL_DONE)
        return code;
    rules.bytes = wvu_response_data(response, &rules.size);
    if (ctl->json) {
        ctl_json_open(&ctl->out, '{');
        ctl_json_key(&ctl->out, "Rules");
        ctl_json_text(&ctl->out, rules);
        ctl_json_close(&ctl->out, '}');
        ctl_put_string(&ctl->out, "\n");
        return CTL_DONE;
    }
    /* Into a file exactly, so that it can be set again. */
    if (system_is_terminal(SYSTEM_OUTPUT))
        ctl_put_safe_lines(&ctl->out, rules);
    else
        ctl_put(&ctl->out, rules.bytes, rules.size);
    if (rules.size != 0 && rules.bytes[rules.size - 1] != '\n')
        ctl_put_string(&ctl->out, "\n");
    return CTL_DONE;
}

/* All of the file; more than a request can hold is too much. */
static enum ctl_exit read_rules(FILE *file, const char *name, struct ctl_out *text)
{
    char bytes[4096];
    size_t size;
    errno = 0;
    while ((size = fread(bytes, 1, sizeof bytes, file)) != 0) {
        if (text->buffer.size + size > TEXT_MAX) {
            ctl_say("cannot set the rules of %s: there are more than %u bytes", name,
                    (unsigned)TEXT_MAX);
            return CTL_FAILED;
        }
        ctl_put(text, bytes, size);
    }
    if (ferror(file) || text->failed) {
        ctl_say("cannot read %s: %s", name, strerror(text->failed ? ENOMEM : errno));
        return CTL_FAILED;
    }
    return CTL_DONE;
}

static enum ctl_exit open_and_read(const char *path, struct ctl_out *text)
{
    bool standard_input = strcmp(path, "-") == 0;
    FILE *file = standard_input ? stdin : system_open_stream(path);
    if (file == NULL) {
        ctl_say("cannot open %s: %s", path, strerror(errno));
        return CTL_FAILED;
    }
    enum ctl_exit code = read_rules(file, standard_input ? "standard input" : path, text);
    if (!standard_input)
        (void)fclose(file);
    return code;
}

/* Says how many rules are in force now, which only the sensor knows. */
static enum ctl_exit tell(struct ctl *ctl)
{
    const struct wvu_response *response;
    char text[64];
    enum ctl_exit code = ctl_ask(ctl, "ask how many rules are in force", WVU_COMMAND_GET_STATUS,
                                 NULL, NULL, 0, &response);
    if (code != CTL_DONE)
        return code;
    uint32_t rules = wvu_response_sensor_status(response)->filter_rules;
    (void)snprintf(text, sizeof text, "%" PRIu32 " rule%s in force", rules,
                   rules == 1 ? " is" : "s are");
    ctl_done(ctl, "SetFilter", NULL, text);
    return CTL_DONE;
}

static enum ctl_exit set(struct ctl *ctl, const char *path)
{
    const struct wvu_response *response;
    struct ctl_out text = {.failed = false};
    char what[300];
    enum ctl_exit code = path != NULL ? open_and_read(path, &text) : CTL_DONE;
    (void)snprintf(what, sizeof what, path != NULL ? "set the rules of %s" : "clear the rules%s",
                   path != NULL ? path : "");
    if (code == CTL_DONE)
        code = ctl_ask(ctl, what, WVU_COMMAND_SET_FILTER, NULL, text.buffer.bytes, text.buffer.size,
                       &response);
    buffer_free(&text.buffer);
    return code == CTL_DONE ? tell(ctl) : code;
}

enum ctl_exit ctl_filter(struct ctl *ctl)
{
    const char *action = ctl->arguments[0];
    bool has_file = ctl->argument_count == 2;
    if (strcmp(action, "set") == 0)
        return has_file ? set(ctl, ctl->arguments[1]) : ctl_usage(ctl, "which file?");
    if (has_file)
        return ctl_usage(ctl, "filter %s takes no file", action);
    if (strcmp(action, "show") == 0)
        return show(ctl);
    if (strcmp(action, "clear") == 0)
        return set(ctl, NULL);
    return ctl_usage(ctl, "\"%s\" is not one of show, set, clear", action);
}
