/*
 * libwinvirtue: read a sensor's events and command it from C. winvirtue(3) is the manual page.
 *
 *     wvu_client *client;
 *     int status = wvu_connect(NULL, -1, &client);
 *     const wvu_message *message;
 *     while ((status = wvu_get(client, -1, &message)) == 0) {
 *         const struct wvu_record *record = NULL;
 *         while ((record = wvu_next(message, record)) != NULL)
 *             ... use record, or wvu_json(message, record, buffer, size)
 *         wvu_reply_all(client);       // only now does the sensor let go of them
 *     }
 *     wvu_close(client);
 *
 * Every function returns 0 or a negative wvu_status unless it says otherwise. A client belongs to one
 * thread at a time; different clients are independent. What a message holds was checked as a whole
 * before you get it: sizes, offsets, order. A record may come from an older sensor that knew fewer
 * fields: read a member only when wvu_has says that it has a value.
 */
#ifndef WINVIRTUE_WINVIRTUE_H
#define WINVIRTUE_WINVIRTUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"
#include "status.h"
#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define WVU_API /* windows/winvirtue.def names what the DLL exports */
#else
#define WVU_API __attribute__((visibility("default")))
#endif

typedef struct wvu_client wvu_client;

/* A message in the library's memory: valid until the next wvu_get, wvu_reply, wvu_reply_all or wvu_close. */
typedef struct wvu_message {
    const struct wvu_message_header *header; /* the message as it came; NULL after wvu_check */
    const struct wvu_batch *batch;           /* checked */
    uint64_t message_id;
} wvu_message;

/* Connects to the sensor whose run directory is `run_dir` (NULL: /run/winvirtue; on Windows it must be
 * NULL and the port is \WVUPort). Waits at most timeout_ms (-1: as long as it takes) for the sensor's
 * welcome. *client is NULL unless it succeeds.
 *   NAME_NOT_FOUND     no sensor runs there
 *   ACCESS_DENIED      not root and not in the sensor's group
 *   CONNECTION_LIMIT   another reader is connected
 *   STOPPING           the sensor is about to end
 *   VERSION_MISMATCH   library and sensor do not understand each other
 *   TIMEOUT            nobody answered in time
 *   INVALID_PARAMETER  the path is too long for a socket
 *   DISCONNECTED, BAD_MESSAGE, NO_MEMORY, NO_RESOURCES, NOT_SUPPORTED, IO_ERROR */
WVU_API int wvu_connect(const char *run_dir, int timeout_ms, wvu_client **client);

/* The next message. timeout_ms: -1 waits, 0 never waits.
 *   AGAIN          none within the time
 *   CANCELLED      wvu_interrupt was called
 *   INVALID_STATE  the message before this one was not replied to
 *   DISCONNECTED   the sensor went away (it stopped, or it gave up on a reader that did not reply)
 *   BAD_MESSAGE, VERSION_MISMATCH   what came is no message
 *   IO_ERROR
 * After the last three lines the connection is of no more use: close it and connect again. Nothing that
 * was not replied to is lost by that. */
WVU_API int wvu_get(wvu_client *client, int timeout_ms, const wvu_message **message);

/* Waits until wvu_get(client, 0, ...) would not return AGAIN: 0. AGAIN: not within timeout_ms (-1: as long
 * as it takes). CANCELLED: wvu_interrupt was called. */
WVU_API int wvu_wait(wvu_client *client, int timeout_ms);

/* A descriptor that polls readable when wvu_get(client, 0, ...) would not return AGAIN (Linux). Do
 * nothing else with it. */
WVU_API int wvu_fd(const wvu_client *client);

/* Ends a blocking wvu_get of another thread or, from a signal handler, of this one (CANCELLED), now or
 * the next time. Async-signal-safe. */
WVU_API void wvu_interrupt(wvu_client *client);

/* The record after `record`; the first one for NULL; NULL at the end. */
WVU_API const struct wvu_record *wvu_next(const wvu_message *message,
                                          const struct wvu_record *record);

/* Replies to the present message: everything up to `sequence` was dealt with, the rest will come again
 * (with the next message). wvu_reply_all acknowledges all of it. INVALID_STATE: there is no message to
 * reply to. INVALID_PARAMETER: `sequence` is beyond the message. DISCONNECTED, IO_ERROR: as wvu_get; the
 * records will come again. */
WVU_API int wvu_reply(wvu_client *client, uint64_t sequence);
WVU_API int wvu_reply_all(wvu_client *client);

WVU_API void wvu_close(wvu_client *client); /* NULL is allowed */

/* ---- commands ---------------------------------------------------------------------------------
 * A connection to the command port of a sensor. One thread at a time for each. Several may be connected. */

typedef struct wvu_control wvu_control;

/* Connects to the command port; `run_dir` and `timeout_ms` as wvu_connect, and the same errors.
 * CONNECTION_LIMIT: too many clients are connected (it is tried again until the time is over). */
WVU_API int wvu_control_open(const char *run_dir, int timeout_ms, wvu_control **control);

/* Sends one request and waits for its response. `probe_id`: 16 bytes, NULL: zero. `data`: `size` bytes.
 * 0: *response is the sensor's answer, whatever its status, even one that this library does not know; it was
 * checked as a whole, and stays until the next request or close. *response is NULL otherwise.
 *   TIMEOUT            none within timeout_ms (-1: as long as it takes); it may be carried out all the same
 *   INVALID_PARAMETER  more than WVU_REQUEST_MAX - sizeof(struct wvu_request) bytes; nothing was sent
 *   DISCONNECTED       the sensor went away
 *   BAD_MESSAGE, VERSION_MISMATCH   what came is no response to this
 *   IO_ERROR, NO_RESOURCES
 * After anything but 0 and INVALID_PARAMETER the connection is of no more use: close it and connect again.
 *
 * On Windows the sensor answers inside the system call that sends the request, which nobody can take back:
 * after TIMEOUT it goes on in a thread of its own, and the process cannot end before it has come back. */
WVU_API int wvu_control_request(wvu_control *control, uint32_t command, const uint8_t *probe_id,
                                const void *data, size_t size, int timeout_ms,
                                const struct wvu_response **response);

/* The data of a response and how many bytes; NULL and 0 when it has none. When response->status is not 0
 * it is a text that says why. */
WVU_API const void *wvu_response_data(const struct wvu_response *response, size_t *size);

/* The probe after `entry` in the response to ENUMERATE_PROBES; the first one for NULL; NULL at the end, and
 * for a response to something else or with a status. */
WVU_API const struct wvu_probe_entry *wvu_next_probe(const struct wvu_response *response,
                                                     const struct wvu_probe_entry *entry);

/* What the responses to GET_STATISTICS and GET_STATUS hold; NULL for a response to something else or with
 * a status. */
WVU_API const struct wvu_statistics *wvu_response_statistics(const struct wvu_response *response);
WVU_API const struct wvu_sensor_status *
wvu_response_sensor_status(const struct wvu_response *response);

/* The counters of one event type, for index 0, 1, ...; NULL at the end. */
WVU_API const struct wvu_event_statistics *
wvu_event_statistics_at(const struct wvu_statistics *statistics, uint32_t index);

/* A text of one of these structures and how many bytes; NULL and 0 when it is empty. Not terminated; it
 * should be UTF-8, but may hold anything. */
WVU_API const char *wvu_structure_text(const void *structure, const struct wvu_text *text,
                                       size_t *size);

WVU_API void wvu_control_close(wvu_control *control); /* NULL is allowed */

/* ---- decoding: any thread, no client needed ---------------------------------------------------- */

/* Checks `size` bytes that should be one message body (struct wvu_batch and records) from anywhere.
 * `batch` must be 8-byte aligned (INVALID_PARAMETER), and stay as long as `message` is used.
 * BAD_MESSAGE or VERSION_MISMATCH when they are not; message->batch is NULL then. */
WVU_API int wvu_check(const void *batch, size_t size, wvu_message *message);
/* The same for a whole message as it came: struct wvu_message_header, then the batch. */
WVU_API int wvu_check_message(const void *bytes, size_t size, wvu_message *message);

/* True when a field of the record's event has a value: wvu_has(record,
 * WVU_FIELD_INDEX_wvu_process_destroy_ExitCode). */
WVU_API bool wvu_has(const struct wvu_record *record, unsigned field);

/* The bytes of a text of this record and how many; NULL and 0 when it is empty. Not terminated; aligned as
 * its kind needs it (losses to 8 bytes, texts not at all). */
WVU_API const void *wvu_text_bytes(const struct wvu_record *record, const struct wvu_text *text,
                                   size_t *size);

/* Name of an event type; NULL when this library does not know it. */
WVU_API const char *wvu_event_name(uint16_t type);
/* The type of an event name, any case; 0 when there is none. */
WVU_API uint16_t wvu_event_type(const char *name);
/* All types this library knows: index 0, 1, ... until it is 0. */
WVU_API uint16_t wvu_event_at(unsigned index);

/* Writes one record as one JSON object, without a line end. Always valid UTF-8 and valid JSON. Returns
 * the length; if that is >= size nothing is complete and a buffer of the length + 1 is needed
 * (WVU_JSON_MAX is always enough). The output is terminated with a NUL when size allows. winvirtue(3)
 * describes the keys. */
#define WVU_JSON_MAX (1u << 20)
WVU_API size_t wvu_json(const wvu_message *message, const struct wvu_record *record, char *buffer,
                        size_t size);

#ifdef __cplusplus
}
#endif

#endif
