/*
 * The dispatcher: one thread that takes batches from the queue, sends each over the port, and lets
 * go of its records when the reader has replied. See dispatcher.c.
 */
#ifndef WVU_DISPATCHER_H
#define WVU_DISPATCHER_H

#include "port.h"
#include "queue.h"

#define WVU_SEND_TIMEOUT_MS_DEFAULT    20000u
#define WVU_SEND_TIMEOUT_MS_MIN        10u
#define WVU_SEND_TIMEOUT_MS_MAX        600000u
#define WVU_TIMEOUTS_BEFORE_DISCONNECT 3u

struct wvu_dispatcher;

struct wvu_dispatcher_counters {
    uint64_t batches; /* sent and fully replied to */
    uint64_t sends;   /* attempts */
    uint64_t timeouts;
    uint64_t bad_replies; /* wrong length, version or sequence */
    uint64_t connections;
    uint64_t redelivered; /* records sent again */
};

struct wvu_dispatcher_settings {
    struct wvu_queue *queue;
    struct wvu_port *port;
    wvu_event *wake;          /* the queue's doorbell: the dispatcher sleeps on it alone */
    const uint8_t *boot_id;   /* 16 bytes */
    const uint8_t *sensor_id; /* 16 bytes: reports EventsLost */
    uint32_t send_timeout_ms;
    uint32_t drain_ms; /* at stop, how long to go on sending what is queued to a connected reader */
};

/* PASSIVE. Create allocates, start begins the thread, stop ends it in bounded time in any state. */
wvu_status wvu_dispatcher_create(const struct wvu_dispatcher_settings *settings,
                                 struct wvu_dispatcher **dispatcher);
wvu_status wvu_dispatcher_start(struct wvu_dispatcher *dispatcher);
void wvu_dispatcher_stop(struct wvu_dispatcher *dispatcher);
void wvu_dispatcher_destroy(struct wvu_dispatcher *dispatcher);

/* PASSIVE, by the port. In pairs, and at most one connection at a time. */
void wvu_dispatcher_connected(struct wvu_dispatcher *dispatcher);
void wvu_dispatcher_disconnected(struct wvu_dispatcher *dispatcher);

/* PASSIVE, by the port, before connected: the reader's process id. 0 from the start and after each
 * disconnected. The second is Any. */
void wvu_dispatcher_name_reader(struct wvu_dispatcher *dispatcher, uint32_t process_id);
uint32_t wvu_dispatcher_reader(const struct wvu_dispatcher *dispatcher);

/* Any. True when producers that can wait should: the queue is nearly full and a connected reader
 * has made progress lately, so that room will come. Only hosts whose source has a buffer of its own
 * ask. */
bool wvu_dispatcher_should_hold(struct wvu_dispatcher *dispatcher);

/* Any. Puts an EventsLost record for losses without numbers into the queue, if there are any. The
 * dispatcher does so before each take; the sensor before its last record, which must come after. */
void wvu_dispatcher_tell_losses(struct wvu_dispatcher *dispatcher);

void wvu_dispatcher_set_timeout(struct wvu_dispatcher *dispatcher, uint32_t send_timeout_ms);
void wvu_dispatcher_read_counters(struct wvu_dispatcher *dispatcher,
                                  struct wvu_dispatcher_counters *counters);

#endif
