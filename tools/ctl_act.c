/*
 * wvuctl kill, protect, shutdown and echo: requests that are made and answered in a line. One thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

/* ---- kill ------------------------------------------------------------------------------------------- */

static bool parse_pid(const char *text, uint32_t *pid)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    *pid = (uint32_t)number;
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && number != 0 &&
           number <= UINT32_MAX;
}

enum ctl_exit ctl_kill(struct ctl *ctl)
{
    const struct wvu_response *response;
    uint32_t pid;
    char what[64], text[64], done[64];
    if (!parse_pid(ctl->arguments[0], &pid))
        return ctl_usage(ctl, "\"%s\" is not a process id", ctl->arguments[0]);
    if (ctl->has_key)
        (void)snprintf(text, sizeof text, "%" PRIu32 " key=0x%016" PRIx64, pid, ctl->key);
    else
        (void)snprintf(text, sizeof text, "%" PRIu32, pid);
    (void)snprintf(what, sizeof what, "end process %" PRIu32, pid);
    enum ctl_exit code =
        ctl_ask(ctl, what, WVU_COMMAND_ONE_SHOT_KILL, NULL, text, strlen(text), &response);
    if (code != CTL_DONE)
        return code;
    (void)snprintf(done, sizeof done, "process %" PRIu32 " was ended", pid);
    ctl_done(ctl, "OneShotKill", text, done);
    return CTL_DONE;
}

/* ---- protect ------------------------------------------------------------------------------------------ */

static enum ctl_exit switch_protection(struct ctl *ctl, bool on)
{
    const struct wvu_response *response;
    enum ctl_exit code = ctl_ask(ctl, on ? "protect the sensor" : "end the sensor's protection",
                                 on ? WVU_COMMAND_DISABLE_UNLOAD : WVU_COMMAND_ENABLE_UNLOAD, NULL,
                                 NULL, 0, &response);
    if (code == CTL_DONE)
        ctl_done(ctl, on ? "DisableUnload" : "EnableUnload", NULL,
                 on ? "protection is on: the sensor refuses to be stopped" : "protection is off");
    return code;
}

static enum ctl_exit show_protection(struct ctl *ctl)
{
    const struct wvu_response *response;
    enum ctl_exit code = ctl_ask(ctl, "ask for the sensor's protection", WVU_COMMAND_GET_STATUS,
                                 NULL, NULL, 0, &response);
    if (code != CTL_DONE)
        return code;
    bool on = wvu_response_sensor_status(response)->is_protected != 0;
    if (ctl->json)
        ctl_put_format(&ctl->out, "{\"Protected\":%s}\n", on ? "true" : "false");
    else
        ctl_put_string(&ctl->out, on ? "on\n" : "off\n");
    return CTL_DONE;
}

enum ctl_exit ctl_protect(struct ctl *ctl)
{
    const char *action = ctl->arguments[0];
    if (strcmp(action, "status") == 0)
        return show_protection(ctl);
    if (strcmp(action, "on") == 0 || strcmp(action, "off") == 0)
        return switch_protection(ctl, strcmp(action, "on") == 0);
    return ctl_usage(ctl, "\"%s\" is not one of on, off, status", action);
}

/* ---- shutdown, echo ------------------------------------------------------------------------------------- */

enum ctl_exit ctl_shutdown(struct ctl *ctl)
{
    const struct wvu_response *response;
    enum ctl_exit code =
        ctl_ask(ctl, "stop the sensor", WVU_COMMAND_SHUTDOWN, NULL, NULL, 0, &response);
    if (code == CTL_DONE)
        ctl_done(ctl, "Shutdown", NULL, "the sensor stops");
    else if (code == CTL_PROTECTED)
        ctl_say("'wvuctl protect off' ends the protection");
    return code;
}

static void put_answer(struct ctl *ctl, struct ctl_text answer)
{
    if (ctl->json) {
        ctl_json_open(&ctl->out, '{');
        ctl_json_key(&ctl->out, "Text");
        ctl_json_text(&ctl->out, answer);
        ctl_json_close(&ctl->out, '}');
    } else {
        ctl_put_safe(&ctl->out, answer);
    }
    ctl_put_string(&ctl->out, "\n");
}

enum ctl_exit ctl_echo(struct ctl *ctl)
{
    const struct wvu_response *response;
    struct ctl_out text = {.failed = false};
    struct ctl_text answer;
    for (unsigned i = 0; i < ctl->argument_count; i++) {
        ctl_put_string(&text, i != 0 ? " " : "");
        ctl_put_string(&text, ctl->arguments[i]);
    }
    ctl->out.failed = text.failed;
    enum ctl_exit code = ctl_ask(ctl, "hear from the sensor", WVU_COMMAND_ECHO, NULL,
                                 text.buffer.bytes, text.buffer.size, &response);
    if (code == CTL_DONE) {
        answer.bytes = wvu_response_data(response, &answer.size);
        if (answer.size == text.buffer.size &&
            (answer.size == 0 || memcmp(answer.bytes, text.buffer.bytes, answer.size) == 0))
            put_answer(ctl, answer);
        else
            code = ctl_fail(ctl, CTL_FAILED, WVU_STATUS_DATA_ERROR, "hear from the sensor",
                            "it said something else than it was told");
    }
    buffer_free(&text.buffer);
    return code;
}
