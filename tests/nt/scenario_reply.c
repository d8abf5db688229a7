/*
 * Replies that are late, wrong or never come.
 */
#include <string.h>

#include "harness.h"
#include "kernel.h"

static struct nt_actor *one_event(struct nt_truth *truth)
{
    struct nt_actor *actor = nt_truth_cast(truth, NT_PLAIN);
    nt_actor_start(actor);
    return actor;
}

static bool is_disconnected(void *reader)
{
    return nt_disconnected(((struct nt_reader *)reader)->client);
}

/* Messages are fetched and never replied to: after some time-outs the reader is thrown out, and the
 * next one gets everything. `quirks`: what FltSendMessage itself does about the time-out. */
static void never_replies(const char *path, const struct nt_flt_quirks *quirks)
{
    struct nt_process *before = nt_become_reader();
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = truth};
    struct nt_reader reader;
    nt_quick_parameters();
    nt_set_flt_quirks(quirks);
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    struct nt_actor *actor = one_event(truth);
    uint64_t begun = nt_now();
    while (nt_reader_get(&reader, NT_PATIENCE_NS) == STATUS_SUCCESS)
        ;
    nt_wait_until(is_disconnected, &reader, "the reader is thrown out");
    uint64_t took = (nt_now() - begun) / NT_MS;
    nt_require(took < 10000, "a silent reader held the port for %llu ms", (unsigned long long)took);
    nt_require(nt_reader_reply_all(&reader) == STATUS_PORT_DISCONNECTED, "a reply is taken");

    /* The dead handle is still open: that must not be in the next one's way. */
    struct nt_reader next;
    nt_must_connect(&next, &stream);
    nt_actor_exit(actor);
    nt_truth_read(truth, &next);
    nt_reader_disconnect(&reader); /* now; its notice, if there is one, is of no concern to next */
    actor = one_event(truth);
    nt_actor_exit(actor);
    nt_truth_read(truth, &next);
    nt_reader_disconnect(&next);
    nt_unload(driver);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
    nt_set_flt_quirks(NULL);
}

static void silent(const char *path, uint32_t scale)
{
    (void)scale;
    for (int i = 0; i < 2; i++) {
        const struct nt_flt_quirks quirks = {.notify_after_close = i == 1};
        never_replies(path, &quirks);
    }
}

static void silent_and_time_out_ignored(const char *path, uint32_t scale)
{
    (void)scale;
    for (int i = 0; i < 2; i++) {
        const struct nt_flt_quirks quirks = {.timeout_ignored_once_fetched = true,
                                             .notify_after_close = i == 1};
        never_replies(path, &quirks);
    }
}

/* FltSendMessage does not even begin in its time: the watchdog closes the port that it is about to use. */
static void slow_send(const char *path, uint32_t scale)
{
    const struct nt_flt_quirks quirks = {.send_delay_ns = UINT64_C(1500) * NT_MS};
    struct nt_process *before = nt_become_reader();
    struct nt_stream stream = {0};
    struct nt_reader reader;
    (void)scale;
    nt_quick_parameters();
    nt_set_flt_quirks(&quirks);
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    nt_wait_until(is_disconnected, &reader, "the reader is thrown out");
    nt_reader_disconnect(&reader);
    nt_set_flt_quirks(NULL);
    nt_must_connect(&reader, &stream);
    nt_reader_past_start(&reader);
    nt_reader_disconnect(&reader);
    nt_unload(driver);
    (void)nt_attach_to(before);
}

/* A reader that connects and never asks for a message. */
static void deaf(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_stream stream = {0};
    struct nt_reader reader;
    (void)scale;
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    nt_wait_until(is_disconnected, &reader, "the reader is thrown out");
    nt_reader_disconnect(&reader);
    nt_must_connect(&reader, &stream);
    nt_reader_past_start(&reader);
    nt_reader_disconnect(&reader);
    nt_unload(driver);
    (void)nt_attach_to(before);
}

/* Replies after the time-out: nobody waits any more, the message comes again. */
static void late(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_stream stream = {0};
    struct nt_reader reader;
    (void)scale;
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 1000);
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    nt_require(nt_reader_get(&reader, NT_PATIENCE_NS) == STATUS_SUCCESS, "no message");
    uint64_t first = reader.message.message_id;
    nt_require(nt_reader_get(&reader, NT_PATIENCE_NS) == STATUS_SUCCESS, "it does not come again");
    uint64_t again = reader.message.message_id;
    nt_require(again != first, "the same message id again");
    reader.message.message_id = first;
    nt_require(nt_reader_reply(&reader, 1) == STATUS_FLT_NO_WAITER_FOR_REPLY, "late reply");
    reader.message.message_id = again;
    nt_require(nt_reader_reply_all(&reader) == STATUS_SUCCESS, "timely reply");
    nt_reader_past_start(&reader);
    nt_reader_disconnect(&reader);
    nt_unload(driver);
    (void)nt_attach_to(before);
}

/* ---- wrong replies ------------------------------------------------------------------------------------- */

struct wrong {
    const char *what;
    int32_t status;
    uint32_t size; /* of the reply behind its header */
    struct wvu_reply reply;
};

#define RIGHT_SIZE sizeof(struct wvu_reply)
#define REPLY(v, s, a)                                                                             \
    {                                                                                              \
        .version = (v), .size = (s), .acknowledged = (a)                                           \
    }

static const struct wrong wrongs[] = {
    {"no body", 0, 0, REPLY(1, RIGHT_SIZE, 1)},
    {"one byte", 0, 1, REPLY(1, RIGHT_SIZE, 1)},
    {"one byte short", 0, RIGHT_SIZE - 1, REPLY(1, RIGHT_SIZE, 1)},
    {"too long by far", 0, 4000, REPLY(1, RIGHT_SIZE, 1)},
    {"version 0", 0, RIGHT_SIZE, REPLY(0, RIGHT_SIZE, 1)},
    {"version 77", 0, RIGHT_SIZE, REPLY(77, RIGHT_SIZE, 1)},
    {"size 3", 0, RIGHT_SIZE, REPLY(1, 3, 1)},
    {"size 60000", 0, RIGHT_SIZE, REPLY(1, 60000, 1)},
    {"acknowledges too much", 0, RIGHT_SIZE, REPLY(1, RIGHT_SIZE, 1000000)},
    {"acknowledges all", 0, RIGHT_SIZE, REPLY(1, RIGHT_SIZE, UINT64_MAX)},
    {"an error", NT_STATUS(0xC000009A), RIGHT_SIZE, REPLY(1, RIGHT_SIZE, 1)},
    {"status STATUS_TIMEOUT", NT_STATUS(0x00000102), RIGHT_SIZE, REPLY(1, RIGHT_SIZE, 1)},
    {"status STATUS_BUFFER_OVERFLOW", NT_STATUS(0x80000005), RIGHT_SIZE, REPLY(1, RIGHT_SIZE, 1)},
    {"status STATUS_PORT_DISCONNECTED", NT_STATUS(0xC0000037), RIGHT_SIZE, REPLY(1, RIGHT_SIZE, 1)},
    {"status STATUS_THREAD_IS_TERMINATING", NT_STATUS(0xC000004B), RIGHT_SIZE,
     REPLY(1, RIGHT_SIZE, 1)},
    {"status 1", 1, RIGHT_SIZE, REPLY(1, RIGHT_SIZE, 1)},
};

static void reply_wrongly(struct nt_reader *reader, const struct wrong *wrong)
{
    static struct {
        struct wvu_reply_header header;
        union {
            struct wvu_reply reply;
            uint8_t bytes[4096];
        } body;
    } message;
    memset(&message, 0xEE, sizeof message);
    message.header = (struct wvu_reply_header){.status = wrong->status,
                                               .message_id = reader->message.message_id};
    message.body.reply = wrong->reply;
    (void)nt_reply_message(reader->client, &message, (uint32_t)sizeof message.header + wrong->size);
}

/* Whatever the reply, nothing is lost and the next right one goes on. */
static void wrong_replies(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = truth};
    struct nt_reader reader;
    (void)scale;
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    for (size_t i = 0; i < NT_ARRAY(wrongs); i++) {
        nt_must_connect(&reader, &stream);
        struct nt_actor *actor = one_event(truth);
        nt_require(nt_reader_get(&reader, NT_PATIENCE_NS) == STATUS_SUCCESS, "no message");
        uint64_t acknowledged = stream.acknowledged;
        reply_wrongly(&reader, &wrongs[i]);
        /* It may come again to this reader, or this reader was thrown out. */
        if (nt_reader_get(&reader, 1500 * NT_MS) == STATUS_SUCCESS)
            (void)nt_reader_reply_all(&reader);
        nt_reader_disconnect(&reader);
        nt_actor_exit(actor);
        nt_must_connect(&reader, &stream);
        nt_truth_read(truth, &reader);
        nt_require(stream.acknowledged > acknowledged, "%s: the stream does not go on",
                   wrongs[i].what);
        nt_reader_disconnect(&reader);
    }
    nt_unload(driver);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
}

/* Replies to messages that are not there, in great number. */
static void flood(const char *path, uint32_t scale)
{
    struct nt_process *before = nt_become_reader();
    struct nt_truth *truth = nt_truth_new();
    struct nt_stream stream = {.on_record = nt_truth_on_record, .context = truth};
    struct nt_reader reader;
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    nt_must_connect(&reader, &stream);
    nt_reader_past_start(&reader);
    for (uint32_t i = 0; i < scale; i++) {
        reader.message.message_id = i * UINT64_C(0x9E3779B97F4A7C15);
        nt_require(nt_reader_reply(&reader, i) == STATUS_FLT_NO_WAITER_FOR_REPLY,
                   "a reply is taken");
    }
    nt_actor_exit(one_event(truth));
    nt_truth_read(truth, &reader);
    nt_reader_disconnect(&reader);
    nt_unload(driver);
    nt_truth_free(truth);
    (void)nt_attach_to(before);
}

static const struct scenario scenarios[] = {
    {"silent", silent, 1, 60, "messages are fetched and never replied to"},
    {"time-out-ignored", silent_and_time_out_ignored, 1, 60,
     "the same, and FltSendMessage does not keep its time-out"},
    {"slow-send", slow_send, 1, 30, "FltSendMessage is slow to begin"},
    {"deaf", deaf, 1, 30, "a reader that never asks for a message"},
    {"late", late, 1, 30, "a reply after the time-out"},
    {"wrong-replies", wrong_replies, 1, 90, "every kind of wrong reply"},
    {"flood", flood, 10000, 30, "thousands of replies to nothing"},
};
const struct scenario_table nt_reply_scenarios = NT_SCENARIOS(scenarios);
