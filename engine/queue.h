/*
 * ProbeDataQueue: the bounded ring between the probes and the dispatcher. See queue.c for how it
 * works.
 *
 * Many producers reserve, fill and commit; one consumer (the dispatcher) takes. When the ring is
 * full the oldest records leave it: those of guaranteed kinds (wvu_event_is_guaranteed) into a
 * reserve of a quarter of the ring's bounds, the others are discarded, counted by type, and
 * reported where they are missing. At any time
 *
 *     accepted = delivered + lost + queued + in flight
 */
#ifndef WVU_QUEUE_H
#define WVU_QUEUE_H

#include "os.h"
#include "winvirtue/protocol.h"

#define WVU_QUEUE_RECORDS_DEFAULT 8192u
#define WVU_QUEUE_RECORDS_MIN     16u
#define WVU_QUEUE_RECORDS_MAX     1048576u
#define WVU_QUEUE_BYTES_DEFAULT   (4u << 20)
#define WVU_QUEUE_BYTES_MIN       (256u << 10)
#define WVU_QUEUE_BYTES_MAX       (512u << 20)

struct wvu_queue;

struct wvu_queue_counters {
    uint64_t accepted;  /* numbers given */
    uint64_t delivered; /* replied to */
    uint64_t lost;      /* numbered records that were discarded */
    uint64_t queued;    /* in the ring and in the reserve, being filled ones included */
    uint64_t in_flight; /* taken and not yet delivered */
    uint64_t queued_bytes;
    uint64_t high_water; /* the most that `queued` ever was */
    uint64_t unnumbered; /* losses before a number was given (wvu_queue_count_loss, busy ring) */
    uint64_t cut;        /* records with at least one text cut */
};

#define WVU_EVENT_KINDS  24u /* counted apart; see wvu_event_index in record.h */
#define WVU_LOSS_ENTRIES (WVU_LOSS_CAUSES * WVU_EVENT_KINDS)

/* Of one kind of event, since the queue was made. */
struct wvu_event_counters {
    uint64_t accepted;
    uint64_t delivered;
    uint64_t cut;
    uint64_t lost[WVU_LOSS_CAUSES]; /* numbered and unnumbered, told or not */
};

/* The largest EventsLost: every cause with every type. */
#define WVU_LOST_RECORD_MAX                                                                        \
    ((uint32_t)(sizeof(struct wvu_events_lost) + WVU_LOSS_ENTRIES * sizeof(struct wvu_loss)))

struct wvu_batch_info {
    uint64_t first_sequence; /* of the first record; 0: there is none */
    uint64_t last_sequence;
    uint32_t records; /* gaps included */
    uint32_t gaps;    /* EventsLost records that stand for a range of lost numbers */
    uint32_t bytes;
};

/* PASSIVE. Allocates everything the queue will ever use: the bounds, a quarter more, and some slack. `doorbell` is set when the consumer must
 * wake; it must outlive the queue. INVALID_PARAMETER when a bound is outside the limits above. */
wvu_status wvu_queue_create(uint32_t records, uint32_t bytes, wvu_event *doorbell,
                            struct wvu_queue **queue);
/* PASSIVE, when no producer and no consumer is inside. NULL is allowed. */
void wvu_queue_destroy(struct wvu_queue *queue);

/* Any. Room for one record of `size` bytes (header included, at most WVU_RECORD_MAX; rounded up to
 * 8). Zeroes it, writes size, type and sequence, and discards the oldest records if need be. Every
 * record got must be committed, soon: an uncommitted one holds up delivery. BUSY: the ring is full
 * behind a record that is still being filled or copied; counted as QUEUE_BUSY, there is no record.
 */
wvu_status wvu_queue_reserve(struct wvu_queue *queue, uint16_t type, uint32_t size,
                             struct wvu_record **record);

/* Any. The record is complete; it may be delivered or discarded from now on: touch it no more. */
void wvu_queue_commit(struct wvu_queue *queue, struct wvu_record *record);

/* Any. Rings the doorbell if the consumer sleeps. Once after one or many commits. */
void wvu_queue_wake(struct wvu_queue *queue);

/* Any. Losses that never became records. Reported with the next take; call wvu_queue_wake after. */
void wvu_queue_count_loss(struct wvu_queue *queue, uint16_t cause, uint16_t type, uint64_t count);

/* Any. When unnumbered losses wait to be told and no gap will carry them, reserves an EventsLost
 * record for them that lacks nothing but time, uptime and sensor_id; the caller adds these and
 * commits. AGAIN: there is nothing to tell this way. BUSY: no room; they are told another time. */
wvu_status wvu_queue_reserve_losses(struct wvu_queue *queue, struct wvu_record **record);

/* ---- the one consumer: PASSIVE ------------------------------------------------------------------
 */

/* Copies committed records, oldest first, into `buffer` (which must not be pageable) until the next
 * one does not fit, is not committed or there is none. Where numbers are missing stands an EventsLost
 * for exactly these, which lacks time, uptime and sensor_id (info->gaps of them). Returns OK when
 * there is at least one record; AGAIN when there is nothing. Numbered records are in flight until
 * delivered. */
wvu_status wvu_queue_take(struct wvu_queue *queue, void *buffer, uint32_t capacity,
                          struct wvu_batch_info *info);
/* `bytes` of records as a take copied them: they left the sensor. EventsLost in the place of gaps
 * are passed over. */
void wvu_queue_delivered(struct wvu_queue *queue, const void *records, uint32_t bytes);

/* Before sleeping on the doorbell: from here on wvu_queue_wake rings it. Returns false, and does
 * not arm, when something is ready: do not sleep. After the sleep, disarm. */
bool wvu_queue_arm(struct wvu_queue *queue);
/* The same, but rings (or returns false) only when the ring is more than half full (it is when it has
 * overflowed into the reserve): for a consumer that lets records gather for a while, and must not wait until they are overwritten. */
bool wvu_queue_arm_half_full(struct wvu_queue *queue);
void wvu_queue_disarm(struct wvu_queue *queue);

/* Any. A consistent view: the identity at the top of this file holds in it. */
void wvu_queue_read_counters(struct wvu_queue *queue, struct wvu_queue_counters *counters);

/* Any. Of the kind with this wvu_event_index; in their sum over all kinds accepted, delivered and cut are
 * those of wvu_queue_read_counters. */
void wvu_queue_read_event_counters(struct wvu_queue *queue, uint32_t index,
                                   struct wvu_event_counters *counters);

/* Any. True when less than a quarter of the ring is free, by count or by bytes, as it is as
 * long as the reserve is in use. */
bool wvu_queue_nearly_full(struct wvu_queue *queue);

#endif
