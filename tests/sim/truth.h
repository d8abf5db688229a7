/*
 * What really happened in a simulated run, and the comparison of what the sensor says with it.
 *
 * Producers note each number they were given; the port shows each message that the dispatcher sends and
 * each reply that it gets. Any difference ends the simulation with wvu_sim_fail. See truth.c.
 */
#ifndef WVU_SIM_TRUTH_H
#define WVU_SIM_TRUTH_H

#include "queue.h"
#include "record.h"

#define TRUTH_EVENTS_MAX (1u << 18)

/* What a producer puts into a record, so that every byte of it can be checked. */
struct truth_event {
    bool known; /* from a producer; otherwise from the sensor itself */
    bool committed;
    uint8_t shape; /* enum event_shape */
    uint32_t producer;
    uint64_t serial;
    struct wvu_stamp stamp;
    uint32_t text_size[2]; /* of the original texts */
    uint32_t size;         /* of the record */
    uint64_t hash;         /* of the record as first sent; 0: never sent */
    bool range;            /* it was sent as the EventsLost of the range that ends here */
};

/* The records that producers write. */
enum event_shape {
    SHAPE_BARE,    /* nothing but a header, of a type that the engine does not know */
    SHAPE_DESTROY, /* fixed fields, no texts */
    SHAPE_IMAGE,   /* two texts, bytes */
    SHAPE_CREATE,  /* two texts, one of them UTF-16 */
    SHAPES
};
#define BARE_TYPE 0x7001u

struct truth {
    struct truth_event *events; /* [sequence] */
    const uint8_t *boot_id;
    struct wvu_queue *queue;
    uint32_t queue_records; /* its bounds */
    uint32_t queue_bytes;
    uint64_t accepted;      /* the highest number that a producer was given */
    uint64_t cursor;        /* acknowledged, as the dispatcher must see it; EventsLost included */
    uint64_t sent_through;  /* the highest number that was in a message */
    uint64_t told_lost;     /* numbers covered by an EventsLost that was sent */
    uint64_t stop_sequence; /* of SensorStop; 0: not seen */
    uint64_t counted[WVU_LOSS_CAUSES][WVU_EVENT_KINDS]; /* losses without numbers, by producers */
    uint64_t told[WVU_LOSS_CAUSES][WVU_EVENT_KINDS];    /* by EventsLost */
    uint64_t redelivered_records;
    uint64_t messages;
    uint64_t fruitless; /* valid replies that acknowledge nothing new */
    uint64_t cut;
    uint64_t kept; /* gaps behind a record that was kept: not the first of a message */

    /* Of the newest message: what a reply to it means. */
    uint64_t message_first;
    uint64_t message_last;
};

uint16_t truth_type(enum event_shape shape);
uint8_t truth_text_byte(const struct truth_event *event, uint32_t text, uint32_t index);

void truth_init(struct truth *truth);
void truth_destroy(struct truth *truth);

/* By producers, between reserve and commit, and instead of a record that was not got. */
struct truth_event *truth_accepted(struct truth *truth, uint64_t sequence);
void truth_not_numbered(struct truth *truth, uint16_t cause, uint16_t type, uint64_t count);

/* By the port: a message that the dispatcher sends, and a reply that the port returns to it. */
void truth_message(struct truth *truth, const void *batch, uint32_t size);
void truth_reply(struct truth *truth, const void *reply, uint32_t size);

/* At any time: the identity. At the end: what was delivered and lost is what was seen; when everything was
 * drained, nothing may be missing. */
void truth_identity(const struct wvu_queue_counters *counters);
void truth_end(const struct truth *truth, const struct wvu_queue_counters *counters, bool drained);

#endif
