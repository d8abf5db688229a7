/*
 * One record as one JSON object: wvu_json. Called by readers for each record they print; any thread, no
 * state, no allocation.
 *
 * Keys, in this order: sensor_id, sensor_type, CurrentGMT, BootId, Sequence, Timestamp, ProcessId and
 * ProcessKey (when there is a process), then the fields of the event that are present, in the order of
 * events.def. An event that this library does not know is called Unknown and has Type (its number)
 * and Bytes (everything behind the header, in hexadecimal).
 *
 * Texts. What does not decode as UTF-8 (as UTF-16LE when the record says so) is shown as U+FFFD; then
 * the key <Field>Bytes follows with all of the text's bytes in hexadecimal, for a list with the NULs
 * that end its elements.
 *
 * Cut texts. The beginning and the end that are left are two texts, each decoded by itself. In a text
 * the seam is shown as U+2026; in a list it separates two elements: what is left of the element that
 * the cut begins in, and what is left of the one that it ends in. A character of which the cut took a
 * part went with it and is not shown as undecodable. After the fields, the key Cut says for each
 * cut text the bytes of the original (Size), how many are here (Kept) and how many of these are from
 * its beginning (Head).
 *
 * A ProcessCreate from Linux always has ImageFileName, CommandLine and Arguments; they are empty where there
 * are none, as for kernel threads. Its CommandLine is made here from the arguments, for people: joined with
 * spaces, and put into single quotes, as a POSIX shell needs it, when they are empty or have other
 * characters than letters, digits, @%+=:,./_- and non-ASCII ones. Arguments has them exactly.
 *
 * What is read here was checked (check.c): every present field and every text is inside the record.
 */
#include "events.h"
#include "json_writer.h"

#include "winvirtue/winvirtue.h"

/* Everything up to the first field: keys of at most 150 characters, two identifiers, five numbers. */
#define PRELUDE_ROOM 512u
/* A field's key (copied as 32 bytes) and a value that is not a text, or the quote before a text. */
#define FIELD_ROOM 96u

#define SEAM "\xe2\x80\xa6"

/* One side of the seam of a text, or all of one without a seam. */
struct part {
    const uint8_t *bytes;
    size_t size;
};

static struct wvu_text text_at(const struct wvu_record *record, const struct wvu_field *field)
{
    struct wvu_text text;
    memcpy(&text, (const char *)record + field->offset, sizeof text);
    return text;
}

static uint32_t u32_at(const struct wvu_record *record, const struct wvu_field *field)
{
    uint32_t value;
    memcpy(&value, (const char *)record + field->offset, sizeof value);
    return value;
}

static uint64_t u64_at(const struct wvu_record *record, const struct wvu_field *field)
{
    uint64_t value;
    memcpy(&value, (const char *)record + field->offset, sizeof value);
    return value;
}

/* ---- time ------------------------------------------------------------------------------------------------ */

#define TICKS_PER_SECOND 10000000
#define TICKS_PER_DAY    (INT64_C(86400) * TICKS_PER_SECOND)

/* The calendar repeats each 400 years, 146,097 days. Dates are counted from 1 March of the year -29600,
 * 74 cycles before year 0: earlier than any time that 64 bits hold, so that days are never negative. Years
 * that begin in March end with the leap day, which makes months regular: five have 153 days. */
#define CYCLE_DAYS 146097u
#define CYCLES     74u
#define DAY_1601   (584694u + CYCLES * CYCLE_DAYS)

static char *put_pair(char *at, unsigned value)
{
    *at++ = (char)('0' + value / 10);
    *at++ = (char)('0' + value % 10);
    return at;
}

static char *put_year(char *at, int year)
{
    if (year >= 0 && year <= 9999)
        return put_pair(put_pair(at, (unsigned)year / 100), (unsigned)year % 100);
    /* ISO 8601's expanded form: a sign and here 6 digits. */
    *at++ = year < 0 ? '-' : '+';
    unsigned size = (unsigned)(year < 0 ? -year : year);
    return put_pair(put_pair(put_pair(at, size / 10000), size / 100 % 100), size % 100);
}

static char *put_date(char *at, unsigned day)
{
    unsigned in_cycle = day % CYCLE_DAYS;
    unsigned year = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    unsigned in_year = in_cycle - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * in_year + 2) / 153; /* 0 is March */
    unsigned in_month = in_year - (153 * month + 2) / 5;
    year += day / CYCLE_DAYS * 400 + (month >= 10 ? 1 : 0);
    at = put_year(at, (int)year - (int)(CYCLES * 400));
    at = put_pair(wvu_put_char(at, '-'), month < 10 ? month + 3 : month - 9);
    return put_pair(wvu_put_char(at, '-'), in_month + 1);
}

/* ISO 8601, UTC, 7 decimals. `time` is in units of 100 ns since 1601. */
static char *put_timestamp(char *at, int64_t time)
{
    int64_t day = time / TICKS_PER_DAY;
    int64_t in_day = time % TICKS_PER_DAY;
    if (in_day < 0) {
        day--;
        in_day += TICKS_PER_DAY;
    }
    unsigned second = (unsigned)((uint64_t)in_day / TICKS_PER_SECOND);
    unsigned ticks = (unsigned)((uint64_t)in_day % TICKS_PER_SECOND);

    at = put_date(at, (unsigned)(day + (int64_t)DAY_1601));
    at = put_pair(wvu_put_char(at, 'T'), second / 3600);
    at = put_pair(wvu_put_char(at, ':'), second / 60 % 60);
    at = put_pair(wvu_put_char(at, ':'), second % 60);
    /* 8 digits, the first of which is 0 and becomes the point. */
    wvu_store8(at, wvu_digits8(ticks));
    *at = '.';
    return wvu_put_char(at + 8, 'Z');
}

/* ---- values ------------------------------------------------------------------------------------------------ */

static char *put_key(char *at, const struct wvu_field *field)
{
    memcpy(at, field, sizeof *field);
    return at + field->key_size;
}

/* The key of the bytes of a text that did not decode: ,"NameBytes":" */
static char *put_bytes_key(char *at, const struct wvu_field *field)
{
    at = wvu_put_bytes(at, field->key, field->key_size - 2u);
    return wvu_put_literal(at, "Bytes\":\"");
}

static char *put_enum(char *at, enum wvu_kind kind, uint32_t value)
{
    const struct wvu_name *name = wvu_enum_name(kind, value);
    if (name == NULL)
        return wvu_put_u64(at, value);
    memcpy(at, name, sizeof *name);
    return at + name->size;
}

static char *put_losses(struct wvu_writer *writer, char *at, const uint8_t *bytes, size_t size)
{
    char before = '[';
    at = wvu_put_char(at, '[');
    for (; size >= sizeof(struct wvu_loss); size -= sizeof(struct wvu_loss)) {
        struct wvu_loss loss;
        memcpy(&loss, bytes, sizeof loss);
        bytes += sizeof loss;
        const char *event = wvu_event_name(loss.type);
        at = wvu_room(writer, at, 2 * FIELD_ROOM);
        if (before == ',')
            at = wvu_put_char(at, before);
        before = ',';
        at = wvu_put_literal(at, "{\"Cause\":");
        at = put_enum(at, WVU_KIND_ENUM_LOSS_CAUSE, loss.cause);
        at = wvu_put_literal(at, ",\"Event\":");
        if (event != NULL) {
            at = wvu_put_char(at, '"');
            at = wvu_put_bytes(at, event, strlen(event));
            at = wvu_put_char(at, '"');
        } else if (loss.type == WVU_EVENT_NONE) {
            at = wvu_put_literal(at, "\"Unknown\"");
        } else {
            at = wvu_put_u64(at, loss.type);
        }
        at = wvu_put_u64(wvu_put_literal(at, ",\"Count\":"), loss.count);
        at = wvu_put_char(at, '}');
    }
    return wvu_put_char(wvu_room(writer, at, 8), ']');
}

/* ---- texts -------------------------------------------------------------------------------------------------- */

static bool is_cut(const struct wvu_text *text)
{
    return text->full_size > text->size;
}

/* The two sides of the seam of a cut text, without the parts of a character that the cut left over. */
static void split(const struct wvu_record *record, const struct wvu_text *text, struct part *head,
                  struct part *tail)
{
    bool utf16 = (record->flags & WVU_RECORD_UTF16) != 0;
    const uint8_t *bytes = (const uint8_t *)record + text->offset;
    *head = (struct part){bytes, text->head};
    *tail = (struct part){bytes + text->head, (size_t)text->size - text->head};
    size_t skip = wvu_partial_begin(tail->bytes, tail->size, utf16);
    head->size -= wvu_partial_end(head->bytes, head->size, utf16);
    tail->bytes += skip;
    tail->size -= skip;
}

static char *put_text(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                      const struct wvu_text *text, bool *replaced)
{
    const struct wvu_text_style *style = &wvu_style_text[(record->flags & WVU_RECORD_UTF16) != 0];
    at = wvu_put_char(at, '"');
    if (!is_cut(text)) {
        const uint8_t *bytes = (const uint8_t *)record + text->offset;
        at = wvu_put_text(writer, at, bytes, text->size, style, replaced);
    } else {
        struct part head, tail;
        split(record, text, &head, &tail);
        at = wvu_put_text(writer, at, head.bytes, head.size, style, replaced);
        at = wvu_put_literal(wvu_room(writer, at, 8), SEAM);
        at = wvu_put_text(writer, at, tail.bytes, tail.size, style, replaced);
    }
    return wvu_put_char(wvu_room(writer, at, 8), '"');
}

/* The elements of one side: between quotes, each NUL a boundary, but not the one that ends the last. */
static char *put_elements(struct wvu_writer *writer, char *at, const struct part *part, bool utf16,
                          bool *replaced)
{
    const uint8_t *end = part->bytes + part->size;
    size_t unit = utf16 ? 2 : 1;
    bool ended = part->size >= unit && end[-1] == 0 && (!utf16 || end[-2] == 0);
    at = wvu_put_char(wvu_room(writer, at, 8), '"');
    at = wvu_put_text(writer, at, part->bytes, part->size - (ended ? unit : 0),
                      &wvu_style_list[utf16], replaced);
    return wvu_put_char(wvu_room(writer, at, 8), '"');
}

static char *put_list(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                      const struct wvu_text *text, bool *replaced)
{
    bool utf16 = (record->flags & WVU_RECORD_UTF16) != 0;
    struct part head = {(const uint8_t *)record + text->offset, text->size};
    struct part tail = {NULL, 0};
    if (is_cut(text))
        split(record, text, &head, &tail);
    at = wvu_put_char(at, '[');
    if (head.size != 0)
        at = put_elements(writer, at, &head, utf16, replaced);
    if (head.size != 0 && tail.size != 0)
        at = wvu_put_char(wvu_room(writer, at, 8), ',');
    if (tail.size != 0)
        at = put_elements(writer, at, &tail, utf16, replaced);
    return wvu_put_char(wvu_room(writer, at, 8), ']');
}

static char *put_command_line(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                              const struct wvu_text *arguments)
{
    at = wvu_put_char(at, '"');
    if (!is_cut(arguments)) {
        const uint8_t *bytes = (const uint8_t *)record + arguments->offset;
        at = wvu_put_command_line(writer, at, bytes, arguments->size);
    } else {
        struct part head, tail;
        split(record, arguments, &head, &tail);
        at = wvu_put_command_line(writer, at, head.bytes, head.size);
        at = wvu_room(writer, at, 8);
        if (head.size != 0)
            at = wvu_put_char(at, ' ');
        at = wvu_put_literal(at, SEAM);
        if (tail.size != 0)
            at = wvu_put_char(at, ' ');
        at = wvu_put_command_line(writer, at, tail.bytes, tail.size);
    }
    return wvu_put_char(wvu_room(writer, at, 8), '"');
}

/* A field that is a struct wvu_text; its key is written. */
static char *put_text_field(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                            const struct wvu_field *field)
{
    struct wvu_text text = text_at(record, field);
    const uint8_t *bytes = (const uint8_t *)record + text.offset;
    bool replaced = false;
    switch (field->kind) {
    case WVU_KIND_TEXT:
        at = put_text(writer, at, record, &text, &replaced);
        break;
    case WVU_KIND_LIST:
        at = put_list(writer, at, record, &text, &replaced);
        break;
    case WVU_KIND_LOSSES:
        return put_losses(writer, at, bytes, text.size);
    default:
        at = wvu_put_char(at, '"');
        at = wvu_put_hex(writer, at, bytes, text.size);
        return wvu_put_char(wvu_room(writer, at, 8), '"');
    }
    if (replaced) {
        at = put_bytes_key(wvu_room(writer, at, FIELD_ROOM), field);
        at = wvu_put_hex(writer, at, bytes, text.size);
        at = wvu_put_char(wvu_room(writer, at, 8), '"');
    }
    return at;
}

/* ---- the object ------------------------------------------------------------------------------------------------ */

static char *put_prelude(char *at, const struct wvu_message *message,
                         const struct wvu_record *record, const char *type_part,
                         size_t type_part_size)
{
    at = wvu_put_literal(at, "{\"sensor_id\":\"");
    at = wvu_put_uuid(at, record->sensor_id);
    at = wvu_put_bytes(at, type_part, type_part_size);
    at = wvu_put_i64(at, record->time);
    at = wvu_put_literal(at, ",\"BootId\":\"");
    at = wvu_put_uuid(at, message->batch->boot_id);
    at = wvu_put_literal(at, "\",\"Sequence\":");
    at = wvu_put_u64(at, record->sequence);
    at = wvu_put_literal(at, ",\"Timestamp\":\"");
    at = put_timestamp(at, record->time);
    at = wvu_put_char(at, '"');
    if (record->process_id != 0)
        at = wvu_put_u64(wvu_put_literal(at, ",\"ProcessId\":"), record->process_id);
    if (record->process_key != 0)
        at = wvu_put_hex64(wvu_put_literal(at, ",\"ProcessKey\":"), record->process_key);
    return at;
}

static char *put_field(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                       const struct wvu_field *field)
{
    at = put_key(wvu_room(writer, at, FIELD_ROOM), field);
    switch ((enum wvu_kind)field->kind) {
    case WVU_KIND_U32:
        return wvu_put_u32(at, u32_at(record, field));
    case WVU_KIND_U64:
        return wvu_put_u64(at, u64_at(record, field));
    case WVU_KIND_BOOL:
        return u32_at(record, field) != 0 ? wvu_put_literal(at, "true")
                                          : wvu_put_literal(at, "false");
    case WVU_KIND_ADDRESS:
        return wvu_put_address(at, u64_at(record, field));
    case WVU_KIND_KEY:
        return wvu_put_hex64(at, u64_at(record, field));
    case WVU_KIND_STATUS:
        return wvu_put_hex32(at, u32_at(record, field));
    case WVU_KIND_TEXT:
    case WVU_KIND_LIST:
    case WVU_KIND_HEX:
    case WVU_KIND_LOSSES:
        return put_text_field(writer, at, record, field);
    default:
        return put_enum(at, (enum wvu_kind)field->kind, u32_at(record, field));
    }
}

/* The fields that every ProcessCreate from Linux shows, so that programs can rely on them. */
static uint64_t always_shown(const struct wvu_record *record)
{
    if (record->type != WVU_EVENT_ProcessCreate || (record->flags & WVU_RECORD_UTF16) != 0)
        return 0;
    return WVU_PRESENT(wvu_process_create, ImageFileName) |
           WVU_PRESENT(wvu_process_create, CommandLine) |
           WVU_PRESENT(wvu_process_create, Arguments);
}

/* One of these that has no value: the command line is made from the arguments, the others are empty. */
static char *put_without_value(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                               const struct wvu_field *field)
{
    const struct wvu_process_create *create = (const struct wvu_process_create *)record;
    at = put_key(wvu_room(writer, at, FIELD_ROOM), field);
    if (field->kind == WVU_KIND_LIST)
        return wvu_put_literal(at, "[]");
    if (field->offset == offsetof(struct wvu_process_create, command_line) &&
        wvu_has(record, WVU_FIELD_INDEX_wvu_process_create_Arguments))
        return put_command_line(writer, at, record, &create->arguments);
    return wvu_put_literal(at, "\"\"");
}

static char *put_fields(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                        const struct wvu_event *event)
{
    const struct wvu_field *end = event->fields + event->field_count;
    uint64_t present = record->present;
    uint64_t always = always_shown(record);
    for (const struct wvu_field *field = event->fields; field < end; field++) {
        if ((present & 1) != 0)
            at = put_field(writer, at, record, field);
        else if ((always & 1) != 0)
            at = put_without_value(writer, at, record, field);
        present >>= 1;
        always >>= 1;
    }
    return at;
}

static char *put_cuts(struct wvu_writer *writer, char *at, const struct wvu_record *record,
                      const struct wvu_event *event)
{
    bool any = false;
    for (unsigned i = 0; i < event->field_count; i++) {
        const struct wvu_field *field = &event->fields[i];
        if ((record->present >> i & 1) == 0 || !wvu_kind_is_text(field->kind))
            continue;
        struct wvu_text text = text_at(record, field);
        if (!is_cut(&text))
            continue;
        at = wvu_room(writer, at, 2 * FIELD_ROOM);
        if (!any)
            at = wvu_put_literal(at, ",\"Cut\":{");
        /* The key without its comma when it is the first. */
        at = wvu_put_bytes(at, field->key + (any ? 0 : 1), field->key_size - (any ? 0u : 1u));
        at = wvu_put_u64(wvu_put_literal(at, "{\"Size\":"), text.full_size);
        at = wvu_put_u64(wvu_put_literal(at, ",\"Kept\":"), text.size);
        at = wvu_put_u64(wvu_put_literal(at, ",\"Head\":"), text.head);
        at = wvu_put_char(at, '}');
        any = true;
    }
    return any ? wvu_put_char(wvu_room(writer, at, 8), '}') : at;
}

static char *put_unknown(struct wvu_writer *writer, char *at, const struct wvu_message *message,
                         const struct wvu_record *record)
{
    static const char type_part[] = "\",\"sensor_type\":\"Unknown\",\"CurrentGMT\":";
    at = put_prelude(at, message, record, type_part, sizeof type_part - 1);
    at = wvu_room(writer, at, FIELD_ROOM);
    at = wvu_put_u64(wvu_put_literal(at, ",\"Type\":"), record->type);
    at = wvu_put_literal(at, ",\"Bytes\":\"");
    at = wvu_put_hex(writer, at, (const uint8_t *)(record + 1), record->size - sizeof *record);
    return wvu_put_char(wvu_room(writer, at, 8), '"');
}

size_t wvu_json(const wvu_message *message, const struct wvu_record *record, char *buffer,
                size_t size)
{
    struct wvu_writer writer;
    const struct wvu_event *event = wvu_event_find(record->type);
    char *at = wvu_room(&writer, wvu_writer_init(&writer, buffer, size), PRELUDE_ROOM);
    if (event == NULL) {
        at = put_unknown(&writer, at, message, record);
    } else {
        at = put_prelude(at, message, record, event->type_part, event->type_part_size);
        at = put_fields(&writer, at, record, event);
        if ((record->flags & WVU_RECORD_CUT) != 0)
            at = put_cuts(&writer, at, record, event);
    }
    at = wvu_put_char(wvu_room(&writer, at, 8), '}');
    return wvu_writer_finish(&writer, at);
}
