/*
 * wvuctl stats: the sensor's counters, once or, with --watch, as rates each interval. One thread.
 *
 * Rates are counted with the sensor's clock (UptimeNs of two answers), so what a request takes on its way
 * does not matter. Intervals begin at fixed times: one that came late is not followed by others that are.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "ctl_names.h"
#include "ctl_table.h"
#include "stop.h"

static const struct counter {
    size_t offset;
    const char *name;
    const char *description;
} counters[] = {
#define WVU_STATISTIC(member, json, description)                                                   \
    {offsetof(struct wvu_statistics, member), #json, description},
#include "winvirtue/statistics.def"
};
#define COUNTERS (sizeof counters / sizeof counters[0])

static uint64_t value_of(const struct wvu_statistics *statistics, const struct counter *counter)
{
    uint64_t value;
    memcpy(&value, (const char *)statistics + counter->offset, sizeof value);
    return value;
}

static const char *event_name(uint16_t type, char number[CTL_NAME_MAX])
{
    const char *name = type == WVU_EVENT_NONE ? "Unknown" : wvu_event_name(type);
    if (name != NULL)
        return name;
    (void)snprintf(number, CTL_NAME_MAX, "%u", type);
    return number;
}

static uint64_t lost_of(const struct wvu_event_statistics *event)
{
    uint64_t lost = 0;
    for (unsigned cause = 0; cause < WVU_STATISTICS_CAUSES; cause++)
        lost += event->lost[cause];
    return lost;
}

/* ---- for programs -------------------------------------------------------------------------------------- */

static void put_event(struct ctl_out *out, const struct wvu_event_statistics *event)
{
    char number[CTL_NAME_MAX];
    ctl_json_open(out, '{');
    ctl_json_key(out, "Event");
    ctl_json_string(out, event_name(event->type, number));
    ctl_json_key(out, "Accepted");
    ctl_json_u64(out, event->accepted);
    ctl_json_key(out, "Delivered");
    ctl_json_u64(out, event->delivered);
    ctl_json_key(out, "Filtered");
    ctl_json_u64(out, event->filtered);
    ctl_json_key(out, "Cut");
    ctl_json_u64(out, event->cut);
    ctl_json_key(out, "Lost");
    ctl_json_open(out, '{');
    for (uint32_t cause = 0; cause < WVU_STATISTICS_CAUSES; cause++) {
        if (event->lost[cause] == 0)
            continue;
        ctl_json_key(out, ctl_name("LOSS_CAUSE", cause, number));
        ctl_json_u64(out, event->lost[cause]);
    }
    ctl_json_close(out, '}');
    ctl_json_close(out, '}');
}

static void put_times(struct ctl_out *out, const struct wvu_statistics *statistics)
{
    ctl_json_key(out, "CallbackSample");
    ctl_json_u64(out, statistics->callback_sample);
    ctl_json_key(out, "CallbackNs");
    ctl_json_open(out, '[');
    for (unsigned i = 0; i < 32; i++)
        ctl_json_u64(out, statistics->callback_ns[i]);
    ctl_json_close(out, ']');
}

/* The host's counters are numbers; what is none stays a text. */
static void put_host_counters(struct ctl_out *out, struct ctl_text lines)
{
    struct ctl_text key, value;
    ctl_json_key(out, "Host");
    ctl_json_open(out, '{');
    while (ctl_next_pair(&lines, &key, &value)) {
        size_t digits = 0;
        while (digits < value.size && value.bytes[digits] >= '0' && value.bytes[digits] <= '9')
            digits++;
        bool number = digits == value.size && digits != 0 && digits < 20 &&
                      (digits == 1 || value.bytes[0] != '0');
        ctl_json_key_text(out, key);
        if (number)
            ctl_put(out, value.bytes, value.size);
        else
            ctl_json_text(out, value);
    }
    ctl_json_close(out, '}');
}

static void put_rates(struct ctl_out *out, const struct wvu_statistics *now,
                      const struct wvu_statistics *before);

/* `before` NULL: no rates. */
static void put_json(struct ctl_out *out, const struct wvu_statistics *statistics,
                     const struct wvu_statistics *before)
{
    const struct wvu_event_statistics *event;
    ctl_json_open(out, '{');
    for (size_t i = 0; i < COUNTERS; i++) {
        ctl_json_key(out, counters[i].name);
        ctl_json_u64(out, value_of(statistics, &counters[i]));
    }
    ctl_json_key(out, "Events");
    ctl_json_open(out, '[');
    for (uint32_t i = 0; (event = wvu_event_statistics_at(statistics, i)) != NULL; i++)
        put_event(out, event);
    ctl_json_close(out, ']');
    put_times(out, statistics);
    put_host_counters(out, ctl_text_of(statistics, &statistics->host_counters));
    if (before != NULL)
        put_rates(out, statistics, before);
    ctl_json_close(out, '}');
    ctl_put_string(out, "\n");
}

/* ---- for people ------------------------------------------------------------------------------------------ */

static void add_event(struct ctl_table *table, const char *name,
                      const struct wvu_event_statistics *event)
{
    uint64_t lost = lost_of(event);
    ctl_table_string(table, NULL, name);
    ctl_table_number(table, NULL, event->accepted);
    ctl_table_number(table, NULL, event->delivered);
    ctl_table_number(table, lost != 0 ? CTL_RED : NULL, lost);
    ctl_table_number(table, NULL, event->filtered);
    ctl_table_number(table, NULL, event->cut);
}

static void put_events(struct ctl *ctl, const struct wvu_statistics *statistics)
{
    static const struct ctl_column columns[] = {{"EVENT", false},    {"ACCEPTED", true},
                                                {"DELIVERED", true}, {"LOST", true},
                                                {"FILTERED", true},  {"CUT", true}};
    const struct wvu_event_statistics *event;
    struct ctl_table table;
    char number[CTL_NAME_MAX];
    ctl_table_begin(&table, columns, 6, ctl->color);
    for (uint32_t i = 0; (event = wvu_event_statistics_at(statistics, i)) != NULL; i++) {
        if ((event->accepted | event->filtered | lost_of(event)) != 0)
            add_event(&table, event_name(event->type, number), event);
    }
    ctl_table_end(&table, &ctl->out);
}

/* Sums over all events, by cause; nothing when nothing was lost. */
static void put_losses(struct ctl *ctl, const struct wvu_statistics *statistics)
{
    const struct wvu_event_statistics *event;
    uint64_t lost[WVU_STATISTICS_CAUSES] = {0};
    const char *before = ctl->color ? "\n" CTL_RED "lost: " : "\nlost: ";
    char number[CTL_NAME_MAX];
    for (uint32_t i = 0; (event = wvu_event_statistics_at(statistics, i)) != NULL; i++) {
        for (unsigned cause = 0; cause < WVU_STATISTICS_CAUSES; cause++)
            lost[cause] += event->lost[cause];
    }
    bool any = false;
    for (uint32_t cause = 0; cause < WVU_STATISTICS_CAUSES; cause++) {
        if (lost[cause] == 0)
            continue;
        ctl_put_format(&ctl->out, "%s%" PRIu64 " %s", before, lost[cause],
                       ctl_name("LOSS_CAUSE", cause, number));
        before = ", ";
        any = true;
    }
    if (any)
        ctl_put_string(&ctl->out, ctl->color ? CTL_RESET "\n" : "\n");
}

static void put_counters(struct ctl *ctl, const struct wvu_statistics *statistics)
{
    static const struct ctl_column columns[] = {
        {"COUNTER", false}, {"VALUE", true}, {"MEANING", false}};
    struct ctl_table table;
    ctl_put_string(&ctl->out, "\n");
    ctl_table_begin(&table, columns, 3, ctl->color);
    for (size_t i = 0; i < COUNTERS; i++) {
        ctl_table_string(&table, NULL, counters[i].name);
        ctl_table_number(&table, NULL, value_of(statistics, &counters[i]));
        ctl_table_string(&table, CTL_DIM, counters[i].description);
    }
    ctl_table_end(&table, &ctl->out);
}

static void add_time(struct ctl_table *table, unsigned index, uint64_t count, uint64_t all)
{
    char from[CTL_WORDS_MAX], text[CTL_WORDS_MAX + 8], share[16];
    (void)ctl_short_time(index == 0 ? 0 : UINT64_C(1) << index, from);
    (void)snprintf(text, sizeof text, "from %s", from);
    (void)snprintf(share, sizeof share, "%.1f %%", 100.0 * (double)count / (double)all);
    ctl_table_string(table, NULL, text);
    ctl_table_number(table, NULL, count);
    ctl_table_string(table, NULL, share);
}

static void put_times_table(struct ctl *ctl, const struct wvu_statistics *statistics)
{
    static const struct ctl_column columns[] = {
        {"CALLBACK TIME", false}, {"CALLS", true}, {"SHARE", true}};
    unsigned first = 32, last = 0;
    uint64_t all = 0;
    struct ctl_table table;
    for (unsigned i = 0; i < 32; i++) {
        if (statistics->callback_ns[i] == 0)
            continue;
        all += statistics->callback_ns[i];
        first = first < i ? first : i;
        last = i;
    }
    if (all == 0)
        return;
    ctl_put_format(&ctl->out, "\n");
    ctl_table_begin(&table, columns, 3, ctl->color);
    for (unsigned i = first; i <= last; i++)
        add_time(&table, i, statistics->callback_ns[i], all);
    ctl_table_end(&table, &ctl->out);
    if (statistics->callback_sample > 1)
        ctl_put_format(&ctl->out, "(one call in %" PRIu32 " is timed)\n",
                       statistics->callback_sample);
}

static void put_host_table(struct ctl *ctl, struct ctl_text lines)
{
    static const struct ctl_column columns[] = {{"HOST", false}, {"VALUE", true}};
    struct ctl_text key, value;
    struct ctl_table table;
    if (lines.size == 0)
        return;
    ctl_put_string(&ctl->out, "\n");
    ctl_table_begin(&table, columns, 2, ctl->color);
    while (ctl_next_pair(&lines, &key, &value)) {
        ctl_table_cell(&table, NULL, key);
        ctl_table_cell(&table, NULL, value);
    }
    ctl_table_end(&table, &ctl->out);
}

static enum ctl_exit ask(struct ctl *ctl, const struct wvu_statistics **statistics)
{
    const struct wvu_response *response;
    enum ctl_exit code =
        ctl_ask(ctl, "ask for the counters", WVU_COMMAND_GET_STATISTICS, NULL, NULL, 0, &response);
    if (code == CTL_DONE)
        *statistics = wvu_response_statistics(response);
    return code;
}

static enum ctl_exit show_once(struct ctl *ctl)
{
    const struct wvu_statistics *statistics = NULL;
    enum ctl_exit code = ask(ctl, &statistics);
    if (code != CTL_DONE)
        return code;
    if (ctl->json) {
        put_json(&ctl->out, statistics, NULL);
        return CTL_DONE;
    }
    put_events(ctl, statistics);
    put_losses(ctl, statistics);
    put_counters(ctl, statistics);
    put_times_table(ctl, statistics);
    put_host_table(ctl, ctl_text_of(statistics, &statistics->host_counters));
    return CTL_DONE;
}

/* ---- --watch --------------------------------------------------------------------------------------------- */

#define LINES_PER_HEADER 20u

/* Per second of the sensor's time. A counter that went back belongs to a sensor that began anew. */
static double rate(uint64_t now, uint64_t before, uint64_t ns)
{
    return now >= before && ns != 0 ? (double)(now - before) * 1e9 / (double)ns : 0;
}

/* What changes like a counter; the others are levels. */
static bool is_rate(const struct counter *counter)
{
    static const char *const levels[] = {"UptimeNs", "Queued", "InFlight", "QueuedBytes",
                                         "HighWater"};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(counter->name, levels[i]) == 0)
            return false;
    }
    return true;
}

static void put_rates(struct ctl_out *out, const struct wvu_statistics *now,
                      const struct wvu_statistics *before)
{
    uint64_t ns = now->uptime_ns - before->uptime_ns;
    char number[48];
    ctl_json_key(out, "IntervalNs");
    ctl_json_u64(out, ns);
    ctl_json_key(out, "PerSecond");
    ctl_json_open(out, '{');
    for (size_t i = 0; i < COUNTERS; i++) {
        if (!is_rate(&counters[i]))
            continue;
        (void)snprintf(number, sizeof number, "%.1f",
                       rate(value_of(now, &counters[i]), value_of(before, &counters[i]), ns));
        ctl_json_key(out, counters[i].name);
        ctl_json_word(out, number);
    }
    ctl_json_close(out, '}');
}

static void put_rate_header(struct ctl *ctl)
{
    ctl_put_format(&ctl->out, "%s%-8s %10s %11s %8s %10s %8s %8s %8s%s\n",
                   ctl->color ? CTL_BOLD : "", "TIME", "ACCEPTED/s", "DELIVERED/s", "LOST/s",
                   "FILTERED/s", "QUEUED", "BYTES", "SENDS/s", ctl->color ? CTL_RESET : "");
}

static void put_rate_line(struct ctl *ctl, const struct wvu_statistics *now,
                          const struct wvu_statistics *before)
{
    char clock[16] = "";
    char bytes[CTL_WORDS_MAX];
    time_t seconds = time(NULL);
    const struct tm *date = gmtime(&seconds);
    uint64_t ns = now->uptime_ns - before->uptime_ns;
    double lost = rate(now->lost + now->unnumbered, before->lost + before->unnumbered, ns);
    if (date != NULL)
        (void)strftime(clock, sizeof clock, "%H:%M:%S", date);
    bool alarm = ctl->color && lost > 0;
    ctl_put_format(&ctl->out, "%-8s %10.0f %11.0f %s%8.0f%s %10.0f %8" PRIu64 " %8s %8.0f\n", clock,
                   rate(now->accepted, before->accepted, ns),
                   rate(now->delivered, before->delivered, ns), alarm ? CTL_RED : "", lost,
                   alarm ? CTL_RESET : "", rate(now->filtered, before->filtered, ns), now->queued,
                   ctl_bytes(now->queued_bytes, bytes), rate(now->sends, before->sends, ns));
}

/* Until the time has come: true. False: asked to stop, or nobody takes the output any more. */
static bool wait_until(int64_t end, enum ctl_exit *code)
{
    for (;;) {
        int64_t left = end - system_now_ms();
        if (stop_requested())
            return false;
        if (left <= 0)
            return true;
        enum system_wait result =
            system_wait(NULL, SYSTEM_OUTPUT, left < 3600000 ? (int)left : 3600000);
        if (result != SYSTEM_READY) {
            ctl_say(result == SYSTEM_FAILED ? "cannot wait: %s" : "standard output is gone%s",
                    result == SYSTEM_FAILED ? strerror(errno) : "");
            *code = CTL_FAILED;
            return false;
        }
    }
}

static enum ctl_exit watch(struct ctl *ctl, struct wvu_statistics *before)
{
    const struct wvu_statistics *now = NULL;
    const int64_t interval_ms = (int64_t)ctl->interval_s * 1000;
    int64_t next = system_now_ms() + interval_ms;
    enum ctl_exit code = ask(ctl, &now);
    for (uint64_t line = 0; code == CTL_DONE; line++) {
        *before = *now; /* the counters; what follows the structure is not looked at */
        if ((ctl->count != 0 && line == ctl->count) || !wait_until(next, &code))
            break;
        int64_t late = system_now_ms() - next;
        next += (late / interval_ms + 1) * interval_ms;
        code = ask(ctl, &now);
        if (code != CTL_DONE)
            break;
        if (ctl->json) {
            put_json(&ctl->out, now, before);
        } else {
            if (line % LINES_PER_HEADER == 0)
                put_rate_header(ctl);
            put_rate_line(ctl, now, before);
        }
        if (!ctl_flush(ctl))
            code = CTL_FAILED;
    }
    /* Behind the ^C that the terminal shows. */
    if (stop_requested() && system_is_terminal(SYSTEM_OUTPUT))
        ctl_put_string(&ctl->out, "\n");
    return code;
}

enum ctl_exit ctl_stats(struct ctl *ctl)
{
    if (ctl->interval_s == 0)
        return show_once(ctl);
    if (!stop_init()) {
        ctl_say("cannot prepare for signals: %s", strerror(errno));
        return CTL_FAILED;
    }
    struct wvu_statistics *before = malloc(sizeof *before);
    if (before == NULL) {
        ctl_say("there is not enough memory");
        return CTL_FAILED;
    }
    enum ctl_exit code = watch(ctl, before);
    free(before);
    return code;
}
