/*
 * A user program that reads events: what ntfltmgr does on Windows, on the stand-in's side of the port,
 * and it checks everything it gets.
 *
 * A stream outlives its connections: it knows which sequence numbers were acknowledged, so that each
 * new connection must begin right behind them.
 */
#ifndef NT_READER_H
#define NT_READER_H

#include "nt.h"
#include "winvirtue/winvirtue.h"

#define NT_LOSS_TYPES 8u /* events 1 to 3, others at 0 */

struct nt_stream {
    void (*on_record)(void *context, const struct wvu_record *record); /* each new one, in order */
    void *context;
    bool known; /* boot_id is */
    uint8_t boot_id[16];
    uint64_t acknowledged; /* everything up to here was replied to */
    uint64_t seen;         /* the last one that was looked at */
    uint64_t records;      /* new ones */
    uint64_t repeated;     /* seen before */
    uint64_t lost;         /* by EventsLost, numbered or not */
    uint64_t lost_by_type[NT_LOSS_TYPES];
    uint64_t states; /* ProbeStateChanged */
    bool stopped;    /* SensorStop came */
};

struct nt_reader {
    struct nt_stream *stream;
    struct nt_client *client;
    uint64_t *buffer;
    wvu_message message;
    bool in_hand; /* a message that was not replied to */
};

/* STATUS_SUCCESS, or why not. */
NTSTATUS nt_reader_connect(struct nt_reader *reader, struct nt_stream *stream);
/* Gets and checks a message. STATUS_TIMEOUT, STATUS_PORT_DISCONNECTED. */
NTSTATUS nt_reader_get(struct nt_reader *reader, uint64_t timeout_ns);
/* Replies: everything up to `sequence` was dealt with. */
NTSTATUS nt_reader_reply(struct nt_reader *reader, uint64_t sequence);
NTSTATUS nt_reader_reply_all(struct nt_reader *reader);
void nt_reader_disconnect(struct nt_reader *reader);
/* Takes what is there: gets and replies until nothing comes for `quiet_ns`, or it is disconnected. For
 * tests that do not care how much that is. */
void nt_reader_drain(struct nt_reader *reader, uint64_t quiet_ns);
/* Gets and replies until it is enough. False when it is disconnected, or after NT_PATIENCE_NS. */
bool nt_reader_until(struct nt_reader *reader, bool (*enough)(void *context), void *context);
/* Until everything was read that happened before this call; ends the process if it does not come. */
void nt_reader_up_to_now(struct nt_reader *reader);
bool nt_reader_try_up_to_now(struct nt_reader *reader); /* false: it is disconnected */
/* Until everything was read that the driver tells when it starts; ends the process if it does not come. */
void nt_reader_past_start(struct nt_reader *reader);
#define NT_PATIENCE_NS UINT64_C(20000000000)

/* A reader in a thread of its own, in a process of its own: reads until nt_reader_thread_stop or until
 * the sensor has gone; connects again when it is disconnected. */
struct nt_reader_thread;
struct nt_reader_thread *nt_reader_thread_start(struct nt_stream *stream);
/* Waits until nothing came for a while, then ends it. */
void nt_reader_thread_stop(struct nt_reader_thread *thread);

#endif
