/*
 * Simulated readers: one thread that lives one reader's life after the other. See reader.c.
 */
#ifndef WVU_SIM_READER_H
#define WVU_SIM_READER_H

#include "sim_port.h"

/* What a reader does with a message. */
enum habit {
    HABIT_GOOD,         /* acknowledges all of it at once */
    HABIT_SLOW,         /* the same after a while */
    HABIT_PARTIAL,      /* acknowledges up to somewhere, sometimes nothing */
    HABIT_SILENT,       /* does not reply */
    HABIT_LATE,         /* replies after the time-out */
    HABIT_GARBAGE,      /* replies with what is no reply, or a lie */
    HABIT_CRASH_BEFORE, /* is gone without a reply */
    HABIT_CRASH_AFTER,  /* replies, and is gone */
    HABITS
};

struct reader {
    struct sim_port *port;
    uint32_t send_timeout_ms;
    struct sim_message *message;
    bool must_behave; /* from the next life on: good, and never leaves */
    bool must_end;
    uint64_t lives;
    uint64_t good_replies;
    uint64_t habits[HABITS]; /* how often each was followed */
    wvu_thread thread;
};

wvu_status reader_start(struct reader *reader, struct sim_port *port, uint32_t send_timeout_ms);
/* From the next life on, which comes soon, there is one reader that behaves and stays. */
void reader_behave(struct reader *reader);
void reader_end(struct reader *reader); /* leaves, and joins the thread */

#endif
