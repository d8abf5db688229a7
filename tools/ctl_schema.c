/*
 * wvuctl schema: the events that the sensor knows. One thread.
 *
 * The sensor's text (docs/protocol.md) is one line an event, a field or a value:
 *
 *     event NUMBER NAME SIZE
 *     field INDEX KIND OFFSET NAME
 *     value KIND NUMBER NAME
 *
 * For people it is printed as it is. For programs it becomes JSON; lines of a newer sensor that begin with
 * another word are passed over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define WORDS_MAX 5u

/* Parts a line at its blanks; returns how many words there are, at most WORDS_MAX. */
static unsigned split(struct ctl_text line, struct ctl_text words[WORDS_MAX])
{
    unsigned count = 0;
    while (line.size != 0 && count < WORDS_MAX) {
        const char *blank = memchr(line.bytes, ' ', line.size);
        size_t size = blank != NULL ? (size_t)(blank - line.bytes) : line.size;
        words[count++] = (struct ctl_text){line.bytes, size};
        size += blank != NULL ? 1 : 0;
        line.bytes += size;
        line.size -= size;
    }
    return count;
}

static bool is(struct ctl_text word, const char *text)
{
    return word.size == strlen(text) && memcmp(word.bytes, text, word.size) == 0;
}

static uint64_t number_of(struct ctl_text word)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%.*s", (int)(word.size < 20 ? word.size : 20),
                   word.bytes);
    return strtoull(digits, NULL, 0);
}

static void put_number(struct ctl_out *out, const char *key, struct ctl_text word)
{
    ctl_json_key(out, key);
    ctl_json_u64(out, number_of(word));
}

static void put_text(struct ctl_out *out, const char *key, struct ctl_text word)
{
    ctl_json_key(out, key);
    ctl_json_text(out, word);
}

static void put_event(struct ctl_out *out, bool first, const struct ctl_text *words)
{
    if (!first)
        ctl_put_string(out, "]}");
    ctl_json_open(out, '{');
    put_text(out, "Name", words[2]);
    put_number(out, "Type", words[1]);
    put_number(out, "Size", words[3]);
    ctl_json_key(out, "Fields");
    ctl_json_open(out, '[');
}

static void put_field(struct ctl_out *out, const struct ctl_text *words)
{
    ctl_json_open(out, '{');
    put_text(out, "Name", words[4]);
    put_number(out, "Index", words[1]);
    put_text(out, "Kind", words[2]);
    put_number(out, "Offset", words[3]);
    ctl_json_close(out, '}');
}

static void put_value(struct ctl_out *out, const struct ctl_text *words)
{
    ctl_json_open(out, '{');
    put_text(out, "Kind", words[1]);
    put_number(out, "Value", words[2]);
    put_text(out, "Name", words[3]);
    ctl_json_close(out, '}');
}

static void put_events(struct ctl_out *out, struct ctl_text schema)
{
    struct ctl_text words[WORDS_MAX];
    bool first = true;
    ctl_json_key(out, "Events");
    ctl_json_open(out, '[');
    while (schema.size != 0) {
        unsigned count = split(ctl_take_line(&schema), words);
        if (count >= 4 && is(words[0], "event")) {
            put_event(out, first, words);
            first = false;
        } else if (count >= 5 && is(words[0], "field") && !first) {
            put_field(out, words);
        }
    }
    ctl_put_string(out, first ? "]" : "]}]");
}

static void put_values(struct ctl_out *out, struct ctl_text schema)
{
    struct ctl_text words[WORDS_MAX];
    ctl_json_key(out, "Values");
    ctl_json_open(out, '[');
    while (schema.size != 0) {
        unsigned count = split(ctl_take_line(&schema), words);
        if (count >= 4 && is(words[0], "value"))
            put_value(out, words);
    }
    ctl_json_close(out, ']');
}

enum ctl_exit ctl_schema(struct ctl *ctl)
{
    const struct wvu_response *response;
    struct ctl_text schema;
    enum ctl_exit code =
        ctl_ask(ctl, "ask for the schema", WVU_COMMAND_GET_SCHEMA, NULL, NULL, 0, &response);
    if (code != CTL_DONE)
        return code;
    schema.bytes = wvu_response_data(response, &schema.size);
    if (!ctl->json) {
        ctl_put_safe_lines(&ctl->out, schema);
        return CTL_DONE;
    }
    ctl_json_open(&ctl->out, '{');
    put_events(&ctl->out, schema);
    put_values(&ctl->out, schema);
    ctl_json_close(&ctl->out, '}');
    ctl_put_string(&ctl->out, "\n");
    return CTL_DONE;
}
