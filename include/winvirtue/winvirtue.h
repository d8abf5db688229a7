/*
 * libwinvirtue: read a sensor's events from C. winvirtue(3) is the manual page.
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
 * Every function returns 0 or a negative wvu_status unless it says otherwise. A client belongs to
 * one thread at a time; different clients are independent. What a message holds was checked as a
 * whole before you get it: sizes, offsets, order; reading it through this header is safe whoever
 * sent it.
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
#define WVU_API __declspec(dllexport)
#else
#define WVU_API __attribute__((visibility("default")))
#endif

typedef struct wvu_client wvu_client;

/* A message in the library's memory: valid until the next wvu_get, wvu_reply_all or wvu_close. */
typedef struct wvu_message {
    const struct wvu_batch *batch; /* checked */
    uint64_t message_id;
} wvu_message;

/* Connects to the sensor whose run directory is `run_dir` (NULL: /run/winvirtue; on Windows it must
 * be NULL and the port is \WVUPort). Waits at most timeout_ms (-1: as long as it takes) for the
 * sensor's welcome. NAME_NOT_FOUND: no sensor runs there. ACCESS_DENIED: not root and not in its
 * group. CONNECTION_LIMIT: another reader is connected. VERSION_MISMATCH. TIMEOUT. */
WVU_API int wvu_connect(const char *run_dir, int timeout_ms, wvu_client **client);

/* The next message. timeout_ms: -1 waits, 0 never waits. A message that was got and not replied to
 * must be replied to first (INVALID_STATE). AGAIN: none within the time. DISCONNECTED: the sensor
 * went away; close and connect again. BAD_MESSAGE: it is malformed; close and connect again. */
WVU_API int wvu_get(wvu_client *client, int timeout_ms, const wvu_message **message);

/* A descriptor that polls readable when wvu_get(client, 0, ...) would not return AGAIN (Linux). Do
 * nothing else with it. */
WVU_API int wvu_fd(const wvu_client *client);

/* Ends a blocking wvu_get of another thread or, from a signal handler, of this one (CANCELLED), now
 * or the next time. Async-signal-safe. */
WVU_API void wvu_interrupt(wvu_client *client);

/* The record after `record`; the first one for NULL; NULL at the end. */
WVU_API const struct wvu_record *wvu_next(const wvu_message *message,
                                          const struct wvu_record *record);

/* Replies to the present message: everything up to `sequence` was dealt with, the rest will come
 * again (with the next message). wvu_reply_all acknowledges all of it. */
WVU_API int wvu_reply(wvu_client *client, uint64_t sequence);
WVU_API int wvu_reply_all(wvu_client *client);

WVU_API void wvu_close(wvu_client *client); /* NULL is allowed */

/* ---- decoding: any thread, no client needed ----------------------------------------------------
 */

/* Checks `size` bytes that should be one message body (struct wvu_batch and records) from anywhere.
 * `batch` must be 8-byte aligned. BAD_MESSAGE or VERSION_MISMATCH when they are not. */
WVU_API int wvu_check(const void *batch, size_t size, wvu_message *message);

/* True when field `json name's index` of the record's event has a value; see WVU_FIELD_INDEX_... */
WVU_API bool wvu_has(const struct wvu_record *record, unsigned field);

/* The bytes of a text and how many; NULL and 0 when it is empty. Not terminated. */
WVU_API const void *wvu_text_bytes(const struct wvu_record *record, const struct wvu_text *text,
                                   size_t *size);

/* Name of an event type; NULL when this library does not know it. */
WVU_API const char *wvu_event_name(uint16_t type);
/* The type of an event name, any case; 0 when there is none. */
WVU_API uint16_t wvu_event_type(const char *name);

/* Writes one record as one JSON object, without a line end. Always valid UTF-8 and valid JSON.
 * Returns the length; if that is >= size nothing is complete and a buffer of the length + 1 is
 * needed (WVU_JSON_MAX is always enough). The output is terminated with a NUL when size allows. */
#define WVU_JSON_MAX (1u << 20)
WVU_API size_t wvu_json(const wvu_message *message, const struct wvu_record *record, char *buffer,
                        size_t size);

#ifdef __cplusplus
}
#endif

#endif
