/*
 * Requests of wvuctl and what becomes of them: connecting, asking, telling why something failed, and which
 * exit code that is. Called by the commands; one thread.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

/* ---- telling ------------------------------------------------------------------------------------- */

void ctl_say(const char *format, ...)
{
    va_list arguments;
    (void)fputs("wvuctl: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

enum ctl_exit ctl_usage(const struct ctl *ctl, const char *format, ...)
{
    va_list arguments;
    (void)fputs("wvuctl: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\nTry 'wvuctl%s%s --help'.\n", ctl->command != NULL ? " " : "",
                  ctl->command != NULL ? ctl->command->name : "");
    return CTL_USAGE;
}

/* For programs, on standard output: whatever was there is gone, so that it is one value. */
static void put_error(struct ctl *ctl, enum ctl_exit code, int status, const char *what,
                      const char *why)
{
    char hexadecimal[16];
    (void)snprintf(hexadecimal, sizeof hexadecimal, "0x%08x", (unsigned)status);
    ctl->out.buffer.size = 0;
    ctl_json_open(&ctl->out, '{');
    ctl_json_key(&ctl->out, "Error");
    ctl_json_open(&ctl->out, '{');
    ctl_json_key(&ctl->out, "Exit");
    ctl_json_u64(&ctl->out, (uint64_t)code);
    ctl_json_key(&ctl->out, "Status");
    ctl_json_string(&ctl->out, hexadecimal);
    ctl_json_key(&ctl->out, "Name");
    ctl_json_string(&ctl->out, wvu_status_name(status));
    ctl_json_key(&ctl->out, "Failed");
    ctl_json_string(&ctl->out, what);
    ctl_json_key(&ctl->out, "Reason");
    ctl_json_string(&ctl->out, why);
    ctl_json_close(&ctl->out, '}');
    ctl_json_close(&ctl->out, '}');
    ctl_put_string(&ctl->out, "\n");
    (void)ctl_flush(ctl);
}

enum ctl_exit ctl_fail(struct ctl *ctl, enum ctl_exit code, int status, const char *what,
                       const char *why)
{
    struct ctl_out safe = {.failed = false};
    ctl_put_safe(&safe, ctl_text_of_string(why));
    ctl_say("cannot %s: %.*s [%s]", what, (int)safe.buffer.size,
            safe.buffer.size != 0 ? safe.buffer.bytes : "", wvu_status_name(status));
    buffer_free(&safe.buffer);
    if (ctl->json)
        put_error(ctl, code, status, what, why);
    return code;
}

bool ctl_flush(struct ctl *ctl)
{
    size_t written;
    struct buffer *buffer = &ctl->out.buffer;
    if (ctl->out.failed) {
        ctl_say("there is not enough memory for the output");
        return false;
    }
    enum write_result result = write_all(SYSTEM_OUTPUT, buffer->bytes, buffer->size, &written);
    buffer->size = 0;
    if (result == WRITE_FAILED)
        ctl_say("cannot write to standard output: %s", strerror(errno));
    return result != WRITE_FAILED;
}

void ctl_done(struct ctl *ctl, const char *command, const char *target, const char *text)
{
    if (!ctl->json) {
        ctl_put_format(&ctl->out, "%s\n", text);
        return;
    }
    ctl_json_open(&ctl->out, '{');
    ctl_json_key(&ctl->out, "Command");
    ctl_json_string(&ctl->out, command);
    if (target != NULL) {
        ctl_json_key(&ctl->out, "Target");
        ctl_json_string(&ctl->out, target);
    }
    ctl_json_key(&ctl->out, "Status");
    ctl_json_string(&ctl->out, "0x00000000");
    ctl_json_close(&ctl->out, '}');
    ctl_put_string(&ctl->out, "\n");
}

/* ---- connection ------------------------------------------------------------------------------------ */

/* No sensor gave this status: the library did. */
static enum ctl_exit exit_of_connection(int status)
{
    return status == WVU_STATUS_ACCESS_DENIED       ? CTL_DENIED
           : status == WVU_STATUS_INVALID_PARAMETER ? CTL_USAGE
                                                    : CTL_NO_SENSOR;
}

static const char *why_no_connection(int status)
{
    const char *advice = system_connect_advice(status);
    if (advice != NULL)
        return advice;
    switch (status) {
    case WVU_STATUS_TIMEOUT:
        return "the sensor did not answer in time (--timeout waits longer)";
    case WVU_STATUS_CONNECTION_LIMIT:
        return "too many programs are connected to the command port; try again";
    case WVU_STATUS_STOPPING:
        return "the sensor is stopping";
    case WVU_STATUS_VERSION_MISMATCH:
        return "wvuctl " WVU_VERSION " and this sensor are of versions that do not understand "
               "each other";
    case WVU_STATUS_NOT_SUPPORTED:
        return "what is there is no command port of a sensor";
    default:
        return wvu_strerror(status);
    }
}

static enum ctl_exit connect_to_sensor(struct ctl *ctl)
{
    char name[256];
    char what[300];
    int status = wvu_control_open(ctl->run_dir, ctl->timeout_ms, &ctl->control);
    if (status == WVU_STATUS_OK)
        return CTL_DONE;
    (void)snprintf(what, sizeof what, "connect to %s",
                   system_port_name(ctl->run_dir, "WVUCommand", name, sizeof name));
    return ctl_fail(ctl, exit_of_connection(status), status, what, why_no_connection(status));
}

static enum ctl_exit lose_connection(struct ctl *ctl, int status, const char *what)
{
    switch (status) {
    case WVU_STATUS_TIMEOUT:
        return ctl_fail(ctl, CTL_NO_SENSOR, status, what,
                        "the sensor did not answer in time; it may have been done all the same "
                        "(wvuctl status tells; --timeout waits longer)");
    case WVU_STATUS_DISCONNECTED:
        return ctl_fail(ctl, CTL_NO_SENSOR, status, what,
                        "the sensor went away before it answered");
    case WVU_STATUS_BAD_MESSAGE:
        return ctl_fail(ctl, CTL_NO_SENSOR, status, what,
                        "what the sensor answered makes no sense (is it of another version?)");
    case WVU_STATUS_INVALID_PARAMETER:
        return ctl_fail(ctl, CTL_USAGE, status, what, "there is too much text for one request");
    default:
        return ctl_fail(ctl, CTL_NO_SENSOR, status, what, why_no_connection(status));
    }
}

/* ---- asking ------------------------------------------------------------------------------------------ */

static enum ctl_exit exit_of_refusal(const struct wvu_response *response)
{
    switch (response->status) {
    case WVU_STATUS_ACCESS_DENIED:
        return response->command == WVU_COMMAND_ONE_SHOT_KILL ? CTL_PROTECTED : CTL_DENIED;
    case WVU_STATUS_PRIVILEGE_NOT_HELD:
        return CTL_DENIED;
    case WVU_STATUS_INVALID_STATE:
        return response->command == WVU_COMMAND_SHUTDOWN ? CTL_PROTECTED : CTL_FAILED;
    case WVU_STATUS_STOPPING:
    case WVU_STATUS_AGAIN:
        return CTL_NO_SENSOR;
    default:
        return CTL_FAILED;
    }
}

/* What the sensor said; when it said nothing, what its status means. */
static const char *why_refused(const struct wvu_response *response, char *reason, size_t size)
{
    size_t length;
    const char *text = wvu_response_data(response, &length);
    if (length != 0)
        (void)snprintf(reason, size, "%.*s", (int)length, text);
    else if (strcmp(wvu_status_name(response->status), "UNKNOWN") == 0)
        (void)snprintf(reason, size, "the sensor answered with the unknown status 0x%08x",
                       (unsigned)response->status);
    else
        (void)snprintf(reason, size, "%s", wvu_strerror(response->status));
    return reason;
}

enum ctl_exit ctl_ask(struct ctl *ctl, const char *what, uint32_t command, const uint8_t *probe_id,
                      const void *data, size_t size, const struct wvu_response **response)
{
    char reason[1024];
    if (ctl->control == NULL) {
        enum ctl_exit code = connect_to_sensor(ctl);
        if (code != CTL_DONE)
            return code;
    }
    int status =
        wvu_control_request(ctl->control, command, probe_id, data, size, ctl->timeout_ms, response);
    if (status != WVU_STATUS_OK)
        return lose_connection(ctl, status, what);
    if ((*response)->status == WVU_STATUS_OK)
        return CTL_DONE;
    return ctl_fail(ctl, exit_of_refusal(*response), (*response)->status, what,
                    why_refused(*response, reason, sizeof reason));
}
