/*
 * Readers as they come: most behave, some do not, all of them end. One thread; what it does next is
 * drawn from the seed.
 *
 * `must_behave` and `must_end` are written by the controlling coroutine; the reader looks at them after
 * each wait, and no wait of its is longer than a life.
 */
#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "os_sim.h"

/* A wait that ends early when the reader is called away. */
static void pause_for(struct reader *reader, uint64_t ns)
{
    uint64_t deadline = wvu_os_uptime() + ns;
    uint64_t now;

    while (!reader->must_end && !reader->must_behave && (now = wvu_os_uptime()) < deadline) {
        uint64_t left = deadline - now;

        wvu_sim_sleep(left < 20 * WVU_SIM_MS ? left : 20 * WVU_SIM_MS);
    }
}

static void reply_garbage(struct reader *reader, const struct sim_message *message)
{
    const struct wvu_batch *batch = (const struct wvu_batch *)(const void *)message->batch;
    uint8_t body[64] = {0};
    struct wvu_reply reply = {.version = WVU_PROTOCOL_VERSION,
                              .size = sizeof(reply),
                              .acknowledged = batch->last_sequence};
    uint32_t size = sizeof(reply);
    uint64_t id = message->id;

    switch (wvu_sim_random(8)) {
    case 0: /* too short, down to nothing */
        size = (uint32_t)wvu_sim_random(sizeof(reply));
        break;
    case 1:
        reply.version = (uint16_t)(wvu_sim_random(2) * 2);
        break;
    case 2:
        reply.size = (uint16_t)wvu_sim_random(sizeof(reply));
        break;
    case 3: /* says to be larger than it is */
        reply.size = (uint16_t)(sizeof(reply) + 1 + wvu_sim_random(1000));
        break;
    case 4: /* what was never sent */
        reply.acknowledged = batch->last_sequence + 1 + wvu_sim_random(100);
        break;
    case 5:
        reply.acknowledged = UINT64_MAX;
        break;
    case 6: /* to another message */
        id = wvu_sim_odds(2) ? id + 1 : wvu_sim_random(id);
        break;
    default: /* a newer client: valid, and longer */
        size = sizeof(body);
        reply.size = sizeof(body);
        break;
    }
    memcpy(body, &reply, sizeof(reply));
    (void)sim_port_reply(reader->port, id, WVU_STATUS_OK, body, size);
}

static void reply_partly(struct reader *reader, const struct sim_message *message)
{
    const struct wvu_batch *batch = (const struct wvu_batch *)(const void *)message->batch;
    uint64_t span = batch->last_sequence - batch->first_sequence + 2;
    struct wvu_reply reply = {.version = WVU_PROTOCOL_VERSION,
                              .size = sizeof(reply),
                              .acknowledged = batch->first_sequence - 1 + wvu_sim_random(span)};

    if (wvu_sim_odds(8))
        reply.acknowledged = 0;
    (void)sim_port_reply(reader->port, message->id,
                         wvu_sim_odds(3) ? WVU_STATUS_NO_RESOURCES : WVU_STATUS_OK, &reply,
                         sizeof(reply));
}

static void acknowledge(struct reader *reader, const struct sim_message *message)
{
    const struct wvu_batch *batch = (const struct wvu_batch *)(const void *)message->batch;

    if (sim_port_acknowledge(reader->port, message->id, batch->last_sequence) == WVU_STATUS_OK)
        reader->good_replies++;
}

/* False: this reader is gone. */
static bool follow(struct reader *reader, enum habit habit, const struct sim_message *message)
{
    reader->habits[habit]++;
    switch (habit) {
    case HABIT_GOOD:
        acknowledge(reader, message);
        return true;
    case HABIT_SLOW:
        pause_for(reader, wvu_sim_random(reader->send_timeout_ms * WVU_SIM_MS));
        acknowledge(reader, message);
        return true;
    case HABIT_PARTIAL:
        reply_partly(reader, message);
        return true;
    case HABIT_SILENT:
        return true;
    case HABIT_LATE:
        pause_for(reader, reader->send_timeout_ms * WVU_SIM_MS + wvu_sim_random(WVU_SIM_MS));
        acknowledge(reader, message);
        return true;
    case HABIT_GARBAGE:
        reply_garbage(reader, message);
        return true;
    case HABIT_CRASH_BEFORE:
        return false;
    default:
        acknowledge(reader, message);
        return false;
    }
}

/* One connection, from connect to close. Its main habit is followed four times in five. */
static void live(struct reader *reader)
{
    bool behaves = reader->must_behave;
    enum habit main_habit = behaves ? HABIT_GOOD : (enum habit)wvu_sim_random(HABITS);
    uint64_t end = wvu_os_uptime() + wvu_sim_random(400 * WVU_SIM_MS);
    uint64_t most = 1 + wvu_sim_random(40);

    sim_port_connect(reader->port);
    for (uint64_t messages = 0; !reader->must_end; messages++) {
        uint64_t now = wvu_os_uptime();
        enum habit habit = main_habit;
        wvu_status status;

        if (!behaves && (reader->must_behave || messages >= most || now >= end))
            break;
        status =
            sim_port_get(reader->port, reader->message, behaves ? WVU_TIMEOUT_NONE : end - now);
        if (status == WVU_STATUS_TIMEOUT || status == WVU_STATUS_AGAIN || reader->must_end)
            continue;
        if (status != WVU_STATUS_OK)
            break;
        if (!behaves && wvu_sim_odds(5))
            habit = (enum habit)wvu_sim_random(HABITS);
        if (!follow(reader, habit, reader->message))
            break;
    }
    sim_port_close(reader->port);
    reader->lives++;
}

static void readers(void *context)
{
    struct reader *reader = context;

    while (!reader->must_end) {
        if (!reader->must_behave && wvu_sim_odds(2))
            pause_for(reader, wvu_sim_random(100 * WVU_SIM_MS));
        if (!reader->must_end)
            live(reader);
    }
}

wvu_status reader_start(struct reader *reader, struct sim_port *port, uint32_t send_timeout_ms)
{
    wvu_status status;

    memset(reader, 0, sizeof(*reader));
    reader->port = port;
    reader->send_timeout_ms = send_timeout_ms;
    reader->message = malloc(sizeof(*reader->message));
    if (reader->message == NULL)
        return WVU_STATUS_NO_MEMORY;
    status = wvu_thread_start(&reader->thread, "reader", readers, reader);
    if (status != WVU_STATUS_OK)
        free(reader->message);
    return status;
}

void reader_behave(struct reader *reader)
{
    reader->must_behave = true;
    wvu_event_set(&reader->port->arrived);
}

void reader_end(struct reader *reader)
{
    reader->must_end = true;
    wvu_event_set(&reader->port->arrived);
    wvu_thread_join(&reader->thread);
    free(reader->message);
}
