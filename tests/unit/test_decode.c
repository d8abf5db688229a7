/*
 * wvu_check and what relies on it (client/check.c, decode.c, events.c): promise 9, every length from
 * outside is checked before use. Copies stand in memory of exactly their size, so that the sanitizers see
 * any access beyond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/json_valid.h"
#include "support/message_builder.h"

static struct builder builder;
static char json[WVU_JSON_MAX];

static int check_copy(const void *bytes, size_t size)
{
    wvu_message message;
    void *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    int status = wvu_check(copy, size, &message);
    assert_true(status == WVU_STATUS_OK ? message.batch == copy : message.batch == NULL);
    free(copy);
    return status;
}

static int check_built(void)
{
    return check_copy(built_batch(&builder), builder.size - sizeof(struct wvu_message_header));
}

/* Reads everything that can be read of a batch that was accepted. */
static void read_all_of(const wvu_message *message)
{
    const struct wvu_record *record = NULL;
    uint32_t count = 0;
    uint64_t last = 0;
    while ((record = wvu_next(message, record)) != NULL) {
        size_t size = wvu_json(message, record, json, sizeof json);
        assert_true(size < sizeof json);
        assert_true(json_valid(json, size));
        assert_true(record->sequence > last);
        last = record->sequence;
        count++;
    }
    assert_int_equal(count, message->batch->record_count);
    assert_int_equal(last, message->batch->last_sequence);
}

/* ---- what is valid ------------------------------------------------------------------------------------- */

static void a_valid_message_is_walked_record_by_record(void **state)
{
    (void)state;
    static const uint16_t types[] = {WVU_EVENT_ProcessCreate,
                                     WVU_EVENT_ImageLoad,
                                     WVU_EVENT_ProcessCreate,
                                     WVU_EVENT_EventsLost,
                                     0x7777,
                                     WVU_EVENT_ProbeStateChanged,
                                     WVU_EVENT_ProcessDestroy};
    wvu_message message;
    build_sample(&builder, 100);
    assert_int_equal(wvu_check_message(builder.u.bytes, builder.size, &message), 0);
    assert_ptr_equal(message.header, built_header(&builder));
    assert_ptr_equal(message.batch, built_batch(&builder));
    assert_int_equal(message.message_id, 7);
    const struct wvu_record *record = NULL;
    for (unsigned i = 0; i < 7; i++) {
        record = wvu_next(&message, record);
        assert_non_null(record);
        assert_int_equal(record->type, types[i]);
        assert_int_equal(record->sequence, 100 + 10 * i);
    }
    assert_null(wvu_next(&message, record));
    read_all_of(&message);
}

static void texts_and_present_fields_are_found(void **state)
{
    (void)state;
    wvu_message message;
    size_t size = 99;
    build_sample(&builder, 1);
    assert_int_equal(wvu_check_message(builder.u.bytes, builder.size, &message), 0);
    const struct wvu_record *record = wvu_next(&message, NULL);
    const struct wvu_process_create *create = (const void *)record;
    assert_true(wvu_has(record, WVU_FIELD_INDEX_wvu_process_create_ImageFileName));
    assert_false(wvu_has(record, WVU_FIELD_INDEX_wvu_process_create_UserSid));
    assert_false(wvu_has(record, 63));
    assert_false(wvu_has(record, 64));
    assert_false(wvu_has(record, 1000));
    const void *bytes = wvu_text_bytes(record, &create->image_file_name, &size);
    assert_int_equal(size, 9);
    assert_memory_equal(bytes, "/bin/dash", 9);
    assert_null(wvu_text_bytes(record, &create->user_sid, &size));
    assert_int_equal(size, 0);
}

static void newer_sensors_are_understood(void **state)
{
    (void)state;
    build_begin(&builder);
    /* A larger header, more fixed fields, more present bits, unknown flags, reserved members in use. */
    struct wvu_batch *batch = built_batch(&builder);
    batch->header_size += 16;
    batch->flags = 0xffffffff;
    builder.size += 16;
    struct wvu_process_destroy *destroy =
        build_record(&builder, WVU_EVENT_ProcessDestroy, sizeof *destroy + 44, 5);
    destroy->record.present = UINT64_MAX;
    destroy->record.flags = 0xffff & ~WVU_RECORD_CUT;
    destroy->record.reserved = 1;
    struct wvu_record *unknown = build_record(&builder, 0xffff, sizeof *unknown + 1, 6);
    unknown->present = UINT64_MAX;
    (void)build_record(&builder, 0, sizeof *unknown, 7);
    build_end(&builder);
    assert_int_equal(check_built(), 0);
}

static void older_sensors_are_understood(void **state)
{
    (void)state;
    build_begin(&builder);
    /* It knew the fields up to image_file_name and none after. */
    size_t fixed_size = offsetof(struct wvu_process_create, command_line);
    struct wvu_process_create *create =
        build_record(&builder, WVU_EVENT_ProcessCreate, fixed_size, 5);
    create->record.present = WVU_PRESENT(wvu_process_create, ParentProcessId) |
                             WVU_PRESENT(wvu_process_create, ImageFileName);
    build_text(&builder, &create->image_file_name, "/init", 5);
    build_end(&builder);
    assert_int_equal(check_built(), 0);
    create->record.present |= WVU_PRESENT(wvu_process_create, Arguments);
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
}

static void the_largest_record_and_batch_are_accepted(void **state)
{
    (void)state;
    build_begin(&builder);
    (void)build_record(&builder, 0x7777, sizeof(struct wvu_record), 1);
    builder.size += WVU_RECORD_MAX - sizeof(struct wvu_record);
    (void)build_record(&builder, 0x7777, sizeof(struct wvu_record), 2);
    builder.size = WVU_MESSAGE_MAX;
    build_end(&builder);
    assert_int_equal(built_batch(&builder)->size, WVU_BATCH_MAX);
    assert_int_equal(check_built(), 0);

    build_begin(&builder);
    (void)build_record(&builder, 0x7777, sizeof(struct wvu_record), 1);
    builder.size += WVU_RECORD_MAX - sizeof(struct wvu_record) + 8;
    build_end(&builder);
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);

    build_begin(&builder);
    for (uint64_t i = 1; i <= 2; i++) {
        (void)build_record(&builder, 0x7777, sizeof(struct wvu_record), i);
        builder.size += 32000;
    }
    build_end(&builder);
    assert_true(built_batch(&builder)->size > WVU_BATCH_MAX);
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
}

/* ---- what is not -------------------------------------------------------------------------------------------- */

static void every_truncation_is_refused(void **state)
{
    (void)state;
    build_sample(&builder, 1);
    size_t size = builder.size - sizeof(struct wvu_message_header);
    assert_int_equal(check_copy(built_batch(&builder), size), 0);
    for (size_t i = 1; i < size; i++)
        assert_true(check_copy(built_batch(&builder), i) < 0);
    assert_int_equal(check_copy(built_batch(&builder), size + 8), WVU_STATUS_BAD_MESSAGE);
    wvu_message message;
    for (size_t i = 0; i < builder.size; i++)
        assert_true(wvu_check_message(builder.u.bytes, i, &message) < 0);
}

static void bytes_that_are_not_aligned_or_not_there_are_refused(void **state)
{
    (void)state;
    wvu_message message;
    build_sample(&builder, 1);
    assert_int_equal(wvu_check(NULL, 100, &message), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(wvu_check_message(NULL, 100, &message), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(wvu_check(builder.u.bytes + 4, 100, &message), WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(wvu_check_message(builder.u.bytes + 1, 100, &message),
                     WVU_STATUS_INVALID_PARAMETER);
    assert_int_equal(wvu_check(built_batch(&builder), 0, &message), WVU_STATUS_BAD_MESSAGE);
    built_header(&builder)->reply_length = 31;
    assert_int_equal(wvu_check_message(builder.u.bytes, builder.size, &message),
                     WVU_STATUS_BAD_MESSAGE);
}

static void other_versions_are_told_apart_from_garbage(void **state)
{
    (void)state;
    build_sample(&builder, 1);
    built_batch(&builder)->version = WVU_PROTOCOL_VERSION + 1;
    assert_int_equal(check_built(), WVU_STATUS_VERSION_MISMATCH);
    built_batch(&builder)->version = 0;
    assert_int_equal(check_built(), WVU_STATUS_VERSION_MISMATCH);
}

/* Sets `width` bytes at `offset` of a good batch to a value and expects a refusal. */
static void refused_with(size_t offset, size_t width, uint64_t value)
{
    uint8_t *bytes = (uint8_t *)built_batch(&builder) + offset;
    uint64_t before = 0;
    memcpy(&before, bytes, width);
    memcpy(bytes, &value, width);
    if (check_built() != WVU_STATUS_BAD_MESSAGE)
        fail_msg("accepted: %zu bytes at %zu set to %llu", width, offset,
                 (unsigned long long)value);
    memcpy(bytes, &before, width);
    assert_int_equal(check_built(), 0);
}

#define REFUSED(structure, member, base, value)                                                    \
    refused_with((base) + offsetof(structure, member), sizeof(((structure *)0)->member), (value))

static void sizes_that_contradict_are_refused(void **state)
{
    (void)state;
    const size_t first = sizeof(struct wvu_batch);
    build_sample(&builder, 1);
    const struct wvu_record *record = (const void *)(built_batch(&builder) + 1);
    const uint32_t size = built_batch(&builder)->size;
    assert_int_equal(check_built(), 0);

    REFUSED(struct wvu_batch, size, 0, size - 8);
    REFUSED(struct wvu_batch, size, 0, size + 8);
    REFUSED(struct wvu_batch, header_size, 0, first - 8);
    REFUSED(struct wvu_batch, header_size, 0, first + 4);
    REFUSED(struct wvu_batch, header_size, 0, 0);
    REFUSED(struct wvu_batch, header_size, 0, 0xfff8);
    REFUSED(struct wvu_batch, record_count, 0, 0);
    REFUSED(struct wvu_batch, record_count, 0, 6);
    REFUSED(struct wvu_batch, record_count, 0, 8);
    REFUSED(struct wvu_batch, record_count, 0, UINT32_MAX);
    REFUSED(struct wvu_record, size, first, 0);
    REFUSED(struct wvu_record, size, first, 8);
    REFUSED(struct wvu_record, size, first, sizeof(struct wvu_record) - 8);
    REFUSED(struct wvu_record, size, first, record->size + 1);
    REFUSED(struct wvu_record, size, first, record->size - 8);
    REFUSED(struct wvu_record, size, first, record->size + 8);
    REFUSED(struct wvu_record, size, first, UINT32_MAX - 7);
    REFUSED(struct wvu_record, fixed_size, first, 0);
    REFUSED(struct wvu_record, fixed_size, first, sizeof(struct wvu_record) - 1);
    REFUSED(struct wvu_record, fixed_size, first, record->size + 1);
    REFUSED(struct wvu_record, fixed_size, first, 0xffff);
}

/* Nothing is known of its fields, so the sizes themselves must tell. */
static void sizes_of_an_unknown_event_are_checked_too(void **state)
{
    (void)state;
    const size_t first = sizeof(struct wvu_batch);
    build_begin(&builder);
    (void)build_record(&builder, 0x7777, sizeof(struct wvu_record), 1);
    build_end(&builder);
    assert_int_equal(check_built(), 0);
    REFUSED(struct wvu_record, size, first, 0);
    REFUSED(struct wvu_record, size, first, sizeof(struct wvu_record) - 8);
    REFUSED(struct wvu_record, fixed_size, first, 0);
    REFUSED(struct wvu_record, fixed_size, first, sizeof(struct wvu_record) - 1);
    REFUSED(struct wvu_record, fixed_size, first, sizeof(struct wvu_record) + 1);
    REFUSED(struct wvu_record, fixed_size, first, 0xffff);
}

static void an_empty_batch_and_one_with_more_behind_it_are_refused(void **state)
{
    (void)state;
    build_begin(&builder);
    build_end(&builder);
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
    build_begin(&builder);
    (void)build_record(&builder, 0x7777, sizeof(struct wvu_record), 1);
    build_end(&builder);
    memset(builder.u.bytes + builder.size, 0, 8);
    builder.size += 8;
    built_batch(&builder)->size += 8;
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
}

static void sequences_that_do_not_ascend_are_refused(void **state)
{
    (void)state;
    const size_t first = sizeof(struct wvu_batch);
    build_sample(&builder, 10);
    const struct wvu_record *record = (const void *)(built_batch(&builder) + 1);
    const size_t second = first + record->size;

    REFUSED(struct wvu_batch, first_sequence, 0, 9);
    REFUSED(struct wvu_batch, last_sequence, 0, 71);
    REFUSED(struct wvu_record, sequence, first, 0);
    REFUSED(struct wvu_record, sequence, first, 11);
    REFUSED(struct wvu_record, sequence, second, 10);
    REFUSED(struct wvu_record, sequence, second, 9);
    REFUSED(struct wvu_record, sequence, second, 30);
    REFUSED(struct wvu_record, sequence, second, UINT64_MAX);
}

static void texts_outside_their_place_are_refused(void **state)
{
    (void)state;
    const size_t first = sizeof(struct wvu_batch);
    const size_t text = first + offsetof(struct wvu_process_create, arguments);
    const size_t absent = first + offsetof(struct wvu_process_create, command_line);
    build_sample(&builder, 1);
    const struct wvu_process_create *create = (const void *)(built_batch(&builder) + 1);
    const struct wvu_text good = create->arguments;
    const uint32_t size = create->record.size;

    REFUSED(struct wvu_text, offset, text, 0);
    REFUSED(struct wvu_text, offset, text, sizeof(struct wvu_process_create) - 1);
    REFUSED(struct wvu_text, offset, text, size - good.size + 1u);
    REFUSED(struct wvu_text, offset, text, 0xffff);
    REFUSED(struct wvu_text, head, text, good.size - 1u);
    REFUSED(struct wvu_text, head, text, good.size + 1u);
    REFUSED(struct wvu_text, full_size, text, good.size - 1u);
    REFUSED(struct wvu_text, full_size, text, 0);
    REFUSED(struct wvu_text, size, text, 0xffff);
    /* A text without a present bit could be read all the same. */
    REFUSED(struct wvu_text, head, absent, 1);
    refused_with(absent, 8, UINT64_C(0x0000fff0fff0ffff));
    REFUSED(struct wvu_text, offset, absent, 0xffff);

    /* All texts in one place: each is inside, but together they are larger than what is there. */
    struct wvu_process_create *spoiled = (void *)(built_batch(&builder) + 1);
    uint16_t room = (uint16_t)(size - sizeof *create);
    spoiled->arguments = (struct wvu_text){sizeof *create, room, room, 0, room};
    spoiled->image_file_name = (struct wvu_text){sizeof *create, 1, 1, 0, 1};
    spoiled->exec_file_name = (struct wvu_text){0, 0, 0, 0, 0};
    spoiled->working_directory = (struct wvu_text){0, 0, 0, 0, 0};
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
    spoiled->image_file_name = (struct wvu_text){0, 0, 0, 0, 0};
    assert_int_equal(check_built(), 0);
}

static void a_cut_text_without_the_flag_is_refused(void **state)
{
    (void)state;
    build_sample(&builder, 1);
    struct wvu_record *record = (void *)(built_batch(&builder) + 1);
    assert_true((record->flags & WVU_RECORD_CUT) != 0);
    record->flags &= (uint16_t)~WVU_RECORD_CUT;
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
}

static void half_a_loss_is_refused(void **state)
{
    (void)state;
    build_begin(&builder);
    struct wvu_events_lost *lost = build_record(&builder, WVU_EVENT_EventsLost, sizeof *lost, 1);
    static const char bytes[40];
    build_text(&builder, &lost->lost, bytes, 32);
    build_end(&builder);
    assert_int_equal(check_built(), 0);
    lost->lost = (struct wvu_text){sizeof *lost, 24, 24, 0, 24};
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
    lost->lost = (struct wvu_text){sizeof *lost + 4, 16, 16, 0, 16};
    assert_int_equal(check_built(), WVU_STATUS_BAD_MESSAGE);
}

/* Each byte of each kind of record changed to what most likely hurts: either it is refused, or everything
 * in it can be read and becomes valid JSON. */
static void every_changed_byte_is_refused_or_harmless(void **state)
{
    (void)state;
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
    build_sample(&builder, 1);
    const size_t size = builder.size - sizeof(struct wvu_message_header);
    uint8_t *copy = malloc(size);
    unsigned accepted = 0;
    unsigned refused = 0;
    assert_non_null(copy);
    for (size_t at = 0; at < size; at++) {
        for (unsigned i = 0; i < sizeof values; i++) {
            wvu_message message;
            memcpy(copy, built_batch(&builder), size);
            copy[at] = values[i];
            if (wvu_check(copy, size, &message) == WVU_STATUS_OK) {
                read_all_of(&message);
                accepted++;
            } else {
                refused++;
            }
        }
    }
    free(copy);
    assert_true(accepted > 1000);
    assert_true(refused > 500);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static void events_are_known_by_number_and_name(void **state)
{
    (void)state;
    assert_string_equal(wvu_event_name(WVU_EVENT_ImageLoad), "ImageLoad");
    assert_string_equal(wvu_event_name(0x2004), "EventsLost");
    assert_null(wvu_event_name(0));
    assert_null(wvu_event_name(0x7777));
    assert_int_equal(wvu_event_type("ProcessCreate"), 2);
    assert_int_equal(wvu_event_type("processCREATE"), 2);
    assert_int_equal(wvu_event_type("ProcessCreat"), 0);
    assert_int_equal(wvu_event_type("ProcessCreate "), 0);
    assert_int_equal(wvu_event_type(""), 0);
    assert_int_equal(wvu_event_type(NULL), 0);
    unsigned count = 0;
    for (; wvu_event_at(count) != 0; count++)
        assert_int_equal(wvu_event_type(wvu_event_name(wvu_event_at(count))), wvu_event_at(count));
    assert_true(count >= 7);
    assert_int_equal(wvu_event_at(count + 1), 0);
    assert_int_equal(wvu_event_at(~0u), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_message_is_walked_record_by_record),
        cmocka_unit_test(texts_and_present_fields_are_found),
        cmocka_unit_test(newer_sensors_are_understood),
        cmocka_unit_test(older_sensors_are_understood),
        cmocka_unit_test(the_largest_record_and_batch_are_accepted),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(bytes_that_are_not_aligned_or_not_there_are_refused),
        cmocka_unit_test(other_versions_are_told_apart_from_garbage),
        cmocka_unit_test(sizes_that_contradict_are_refused),
        cmocka_unit_test(sizes_of_an_unknown_event_are_checked_too),
        cmocka_unit_test(an_empty_batch_and_one_with_more_behind_it_are_refused),
        cmocka_unit_test(sequences_that_do_not_ascend_are_refused),
        cmocka_unit_test(texts_outside_their_place_are_refused),
        cmocka_unit_test(a_cut_text_without_the_flag_is_refused),
        cmocka_unit_test(half_a_loss_is_refused),
        cmocka_unit_test(every_changed_byte_is_refused_or_harmless),
        cmocka_unit_test(events_are_known_by_number_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
