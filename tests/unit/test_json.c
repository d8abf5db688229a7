/*
 * wvu_json (client/json.c, json_text.c, json_writer.c): exact output for every kind of value and every kind
 * of bad text, buffers of every size, and random records, whose output a JSON reader of its own must
 * accept. tests/unit/test_ntfltmgr.py compares with Python's json and codecs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/json_valid.h"
#include "support/message_builder.h"

#define SENSOR "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"
#define BOOT   "01020304-0506-0708-090a-0b0c0d0e0f10"

static struct builder builder;
static char json[WVU_JSON_MAX];

/* Checks the message that was built, and encodes its first record into buffers of every size up to the one
 * it needs (a choice of sizes when that is long). */
static const char *encode(void)
{
    wvu_message message;
    build_end(&builder);
    assert_int_equal(wvu_check_message(builder.u.bytes, builder.size, &message), 0);
    const struct wvu_record *record = wvu_next(&message, NULL);
    memset(json, 'X', sizeof json);
    size_t length = wvu_json(&message, record, json, sizeof json);
    assert_true(length < sizeof json);
    assert_int_equal(json[length], '\0');
    assert_int_equal(strlen(json), length);
    if (!json_valid(json, length))
        fail_msg("not JSON: %s", json);

    assert_int_equal(wvu_json(&message, record, NULL, 0), length);
    size_t step = length < 2000 ? 1 : length / 40;
    for (size_t size = 0; size <= length + 1; size += step) {
        char *small = malloc(size + 1);
        assert_non_null(small);
        memset(small, 'Y', size + 1);
        assert_int_equal(wvu_json(&message, record, small, size), length);
        assert_memory_equal(small, json, size < length ? size : length);
        assert_int_equal(small[size], 'Y');
        if (size > length)
            assert_int_equal(small[length], '\0');
        free(small);
    }
    return json;
}

/* What a record of this type has before its fields. */
static const char *expected(const char *type, const char *process, const char *fields)
{
    static char text[16384];
    int length =
        snprintf(text, sizeof text,
                 "{\"sensor_id\":\"" SENSOR "\",\"sensor_type\":\"%s\","
                 "\"CurrentGMT\":134398224001234567,\"BootId\":\"" BOOT "\",\"Sequence\":1,"
                 "\"Timestamp\":\"2026-11-22T12:00:00.1234567Z\"%s%s}",
                 type, process, fields);
    assert_true(length > 0 && (size_t)length < sizeof text);
    return text;
}

static void expect(const char *type, const char *process, const char *fields)
{
    assert_string_equal(encode(), expected(type, process, fields));
}

static void *begin(uint16_t type, size_t fixed_size)
{
    build_begin(&builder);
    return build_record(&builder, type, fixed_size, 1);
}

/* A ProcessCreate with nothing but these arguments, or this image name. */
static void expect_arguments(const char *bytes, size_t size, const char *fields)
{
    struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    create->record.present =
        WVU_PRESENT(wvu_process_create, Arguments) | WVU_PRESENT(wvu_process_create, ImageFileName);
    build_text(&builder, &create->arguments, bytes, size);
    char all[1024] = ",\"ImageFileName\":\"\"";
    strcat(all, fields);
    expect("ProcessCreate", "", all);
}

static void expect_name(const void *bytes, size_t size, uint16_t flags, const char *fields)
{
    struct wvu_image_load *image = begin(WVU_EVENT_ImageLoad, sizeof *image);
    image->record.present = WVU_PRESENT(wvu_image_load, FullImageName);
    image->record.flags = flags;
    build_text(&builder, &image->full_image_name, bytes, size);
    expect("ImageLoad", "", fields);
}

#define NAME(literal, json_text)                                                                   \
    expect_name(literal, sizeof(literal) - 1, 0, ",\"FullImageName\":\"" json_text "\"")
#define BAD_NAME(literal, json_text, hex)                                                          \
    expect_name(literal, sizeof(literal) - 1, 0,                                                   \
                ",\"FullImageName\":\"" json_text "\",\"FullImageNameBytes\":\"" hex "\"")
#define R "\xef\xbf\xbd"

/* ---- events ------------------------------------------------------------------------------------------- */

static void a_process_create_from_linux_has_all_its_keys(void **state)
{
    (void)state;
    struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    create->record.process_id = 4294967295u;
    create->record.process_key = 0xfedcba9876543210;
    create->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_ProcessCreate) - 1;
    create->record.present &=
        ~(WVU_PRESENT(wvu_process_create, CommandLine) | WVU_PRESENT(wvu_process_create, UserSid));
    create->parent_process_id = 1;
    create->parent_process_key = 1;
    create->cause = WVU_CREATE_FORK;
    create->eprocess = 0;
    create->unique_process = 10;
    create->unique_thread = 4194304;
    create->file_object = UINT64_MAX;
    create->creation_status = -1;
    create->user_id = 99999999;
    create->group_id = 100000000;
    create->session_id = 9999;
    create->cgroup_id = 9007199254740993; /* 2^53 + 1 */
    create->pid_namespace = UINT64_MAX;
    create->inode = 10000000000000000;
    build_text(&builder, &create->image_file_name, "/bin/ls", 7);
    build_text(&builder, &create->exec_file_name, "", 0);
    build_text(&builder, &create->arguments, "ls\0-l", 6);
    build_text(&builder, &create->working_directory, "/", 1);
    expect("ProcessCreate", ",\"ProcessId\":4294967295,\"ProcessKey\":\"0xfedcba9876543210\"",
           ",\"ParentProcessId\":1,\"ParentProcessKey\":\"0x0000000000000001\",\"Cause\":\"Fork\","
           "\"EProcess\":\"0x0\",\"UniqueProcess\":10,\"UniqueThread\":4194304,"
           "\"FileObject\":\"0xffffffffffffffff\",\"CreationStatus\":\"0xffffffff\","
           "\"UserId\":99999999,\"GroupId\":100000000,\"SessionId\":9999,"
           "\"CgroupId\":9007199254740993,\"PidNamespace\":18446744073709551615,"
           "\"Inode\":10000000000000000,\"ImageFileName\":\"/bin/ls\",\"ExecFileName\":\"\","
           "\"CommandLine\":\"ls -l\",\"Arguments\":[\"ls\",\"-l\"],\"WorkingDirectory\":\"/\"");
}

static void name_line_and_arguments_are_always_there_on_linux(void **state)
{
    (void)state;
    struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    expect("ProcessCreate", "", ",\"ImageFileName\":\"\",\"CommandLine\":\"\",\"Arguments\":[]");
    create->record.flags = WVU_RECORD_UTF16;
    expect("ProcessCreate", "", "");
    /* A sensor that did not know these fields yet. */
    size_t fixed_size = offsetof(struct wvu_process_create, image_file_name);
    create = begin(WVU_EVENT_ProcessCreate, fixed_size);
    expect("ProcessCreate", "", ",\"ImageFileName\":\"\",\"CommandLine\":\"\",\"Arguments\":[]");
    /* A command line of its own comes first. */
    create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    create->record.present =
        WVU_PRESENT(wvu_process_create, CommandLine) | WVU_PRESENT(wvu_process_create, Arguments);
    build_text(&builder, &create->command_line, "as given", 8);
    build_text(&builder, &create->arguments, "a\0b", 4);
    expect("ProcessCreate", "",
           ",\"ImageFileName\":\"\",\"CommandLine\":\"as given\",\"Arguments\":[\"a\",\"b\"]");
}

static void a_process_create_from_windows_has_its_own_command_line(void **state)
{
    (void)state;
    static const uint16_t line[] = {'"', 'C', ':', '\\', 'a', '"', ' ', 0x20ac, 0xd83d, 0xde00};
    struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    create->record.flags = WVU_RECORD_UTF16;
    create->record.present =
        WVU_PRESENT(wvu_process_create, CommandLine) | WVU_PRESENT(wvu_process_create, EProcess);
    create->eprocess = 0xabc;
    build_text(&builder, &create->command_line, line, sizeof line);
    expect(
        "ProcessCreate", "",
        ",\"EProcess\":\"0xabc\",\"CommandLine\":\"\\\"C:\\\\a\\\" \xe2\x82\xac\xf0\x9f\x98\x80\"");
}

static void a_process_destroy_has_exit_code_or_signal(void **state)
{
    (void)state;
    struct wvu_process_destroy *destroy = begin(WVU_EVENT_ProcessDestroy, sizeof *destroy);
    destroy->record.process_id = 7;
    destroy->record.process_key = 7;
    destroy->record.present = WVU_PRESENT(wvu_process_destroy, ExitCode);
    destroy->exit_code = 0;
    expect("ProcessDestroy", ",\"ProcessId\":7,\"ProcessKey\":\"0x0000000000000007\"",
           ",\"ExitCode\":0");
    destroy->record.present =
        WVU_PRESENT(wvu_process_destroy, Signal) | WVU_PRESENT(wvu_process_destroy, CoreDumped);
    destroy->signal = 11;
    destroy->core_dumped = 1;
    expect("ProcessDestroy", ",\"ProcessId\":7,\"ProcessKey\":\"0x0000000000000007\"",
           ",\"Signal\":11,\"CoreDumped\":true");
    destroy->core_dumped = 0;
    destroy->record.present = WVU_PRESENT(wvu_process_destroy, CoreDumped);
    expect("ProcessDestroy", ",\"ProcessId\":7,\"ProcessKey\":\"0x0000000000000007\"",
           ",\"CoreDumped\":false");
}

static void an_image_load_has_address_and_build_id(void **state)
{
    (void)state;
    struct wvu_image_load *image = begin(WVU_EVENT_ImageLoad, sizeof *image);
    image->record.present =
        WVU_PRESENT(wvu_image_load, ImageBase) | WVU_PRESENT(wvu_image_load, ImageSize) |
        WVU_PRESENT(wvu_image_load, FullImageName) | WVU_PRESENT(wvu_image_load, BuildId);
    image->image_base = 0x7ff6a1b20000;
    image->image_size = 1974272;
    build_text(&builder, &image->full_image_name, "/lib/x.so", 9);
    build_text(&builder, &image->build_id, "\x00\x01\x7f\x80\xff\xab\x0c\xd0\x99", 9);
    expect("ImageLoad", "",
           ",\"ImageBase\":\"0x7ff6a1b20000\",\"ImageSize\":1974272,"
           "\"FullImageName\":\"/lib/x.so\",\"BuildId\":\"00017f80ffab0cd099\"");
    image->build_id = (struct wvu_text){0, 0, 0, 0, 0};
    image->record.present = WVU_PRESENT(wvu_image_load, BuildId);
    expect("ImageLoad", "", ",\"BuildId\":\"\"");
}

static void lost_events_are_listed_by_cause_and_event(void **state)
{
    (void)state;
    static const struct wvu_loss losses[] = {
        {.cause = WVU_LOSS_QUEUE_FULL, .type = WVU_EVENT_ProcessCreate, .count = 3},
        {.cause = WVU_LOSS_KERNEL_RING, .type = WVU_EVENT_NONE, .count = UINT64_MAX},
        {.cause = 65535, .type = 0x7777, .count = 0},
    };
    struct wvu_events_lost *lost = begin(WVU_EVENT_EventsLost, sizeof *lost);
    lost->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_EventsLost) - 1;
    lost->first_sequence = 1;
    lost->last_sequence = 1;
    lost->count = 3;
    build_text(&builder, &lost->lost, losses, sizeof losses);
    expect("EventsLost", "",
           ",\"FirstSequence\":1,\"LastSequence\":1,\"Count\":3,\"Lost\":["
           "{\"Cause\":\"QueueFull\",\"Event\":\"ProcessCreate\",\"Count\":3},"
           "{\"Cause\":\"KernelRingFull\",\"Event\":\"Unknown\",\"Count\":18446744073709551615},"
           "{\"Cause\":65535,\"Event\":30583,\"Count\":0}]");
    lost->lost = (struct wvu_text){0, 0, 0, 0, 0};
    lost->record.present = WVU_PRESENT(wvu_events_lost, Lost);
    expect("EventsLost", "", ",\"Lost\":[]");
}

static void values_without_a_name_are_numbers(void **state)
{
    (void)state;
    static const struct {
        uint32_t value;
        const char *text;
    } causes[] = {
        {0, "\"Unknown\""}, {1, "\"Exec\""}, {4, "\"Found\""}, {5, "5"},
        {8, "8"},           {255, "255"},    {1000, "1000"},   {UINT32_MAX, "4294967295"}};
    for (unsigned i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        char fields[64];
        struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
        create->record.flags = WVU_RECORD_UTF16; /* from Windows: no key that is always there */
        create->record.present = WVU_PRESENT(wvu_process_create, Cause);
        create->cause = causes[i].value;
        (void)snprintf(fields, sizeof fields, ",\"Cause\":%s", causes[i].text);
        expect("ProcessCreate", "", fields);
    }
}

static void an_unknown_event_shows_its_bytes(void **state)
{
    (void)state;
    uint8_t *record = begin(0x7777, sizeof(struct wvu_record) + 8);
    memcpy(record + sizeof(struct wvu_record), "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    ((struct wvu_record *)(void *)record)->process_id = 5;
    expect("Unknown", ",\"ProcessId\":5", ",\"Type\":30583,\"Bytes\":\"0123456789abcdef\"");
    (void)begin(0, sizeof(struct wvu_record));
    expect("Unknown", "", ",\"Type\":0,\"Bytes\":\"\"");
}

static void unknown_fields_are_left_out(void **state)
{
    (void)state;
    struct wvu_process_destroy *destroy = begin(WVU_EVENT_ProcessDestroy, sizeof *destroy + 64);
    destroy->record.present =
        ~(WVU_PRESENT(wvu_process_destroy, EProcess) | WVU_PRESENT(wvu_process_destroy, Signal) |
          WVU_PRESENT(wvu_process_destroy, CoreDumped));
    destroy->exit_code = 3;
    expect("ProcessDestroy", "", ",\"ExitCode\":3");
}

/* ---- numbers and time ------------------------------------------------------------------------------------- */

static void every_length_of_number_is_exact(void **state)
{
    (void)state;
    uint64_t power = 1;
    for (unsigned digits = 0; digits <= 19; digits++) {
        const uint64_t values[] = {power - 1, power, power + 1, power * 9 + power / 2};
        for (unsigned i = 0; i < 4; i++) {
            char fields[128];
            struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
            create->record.present =
                WVU_PRESENT(wvu_process_create, UserId) | WVU_PRESENT(wvu_process_create, CgroupId);
            create->record.flags = WVU_RECORD_UTF16;
            create->cgroup_id = values[i];
            create->user_id = (uint32_t)values[i];
            (void)snprintf(fields, sizeof fields, ",\"UserId\":%lu,\"CgroupId\":%llu",
                           (unsigned long)create->user_id, (unsigned long long)values[i]);
            expect("ProcessCreate", "", fields);
        }
        power *= 10;
    }
}

static void expect_time(int64_t time, const char *timestamp)
{
    char text[512];
    struct wvu_record *record = begin(0x7777, sizeof *record);
    record->time = time;
    (void)snprintf(text, sizeof text,
                   "{\"sensor_id\":\"" SENSOR "\",\"sensor_type\":\"Unknown\",\"CurrentGMT\":%lld,"
                   "\"BootId\":\"" BOOT "\",\"Sequence\":1,\"Timestamp\":\"%s\",\"Type\":30583,"
                   "\"Bytes\":\"\"}",
                   (long long)time, timestamp);
    assert_string_equal(encode(), text);
}

static void any_time_is_a_date(void **state)
{
    (void)state;
    const int64_t day = INT64_C(864000000000);
    expect_time(0, "1601-01-01T00:00:00.0000000Z");
    expect_time(1, "1601-01-01T00:00:00.0000001Z");
    expect_time(-1, "1600-12-31T23:59:59.9999999Z");
    expect_time(9999999, "1601-01-01T00:00:00.9999999Z");
    expect_time(day - 1, "1601-01-01T23:59:59.9999999Z");
    expect_time(134774 * day, "1970-01-01T00:00:00.0000000Z");
    expect_time(145789 * day, "2000-02-28T00:00:00.0000000Z");
    expect_time(145790 * day, "2000-02-29T00:00:00.0000000Z");
    expect_time(145791 * day, "2000-03-01T00:00:00.0000000Z");
    expect_time(109265 * day, "1900-02-28T00:00:00.0000000Z");
    expect_time(109266 * day, "1900-03-01T00:00:00.0000000Z");
    expect_time(INT64_C(2650467743999999999), "9999-12-31T23:59:59.9999999Z");
    expect_time(INT64_C(2650467744000000000), "+010000-01-01T00:00:00.0000000Z");
    expect_time(-584388 * day, "0001-01-01T00:00:00.0000000Z");
    expect_time(-584754 * day, "0000-01-01T00:00:00.0000000Z");
    expect_time(-584755 * day, "-000001-12-31T00:00:00.0000000Z");
    expect_time(INT64_MAX, "+030828-09-14T02:48:05.4775807Z");
    expect_time(INT64_MIN, "-027627-04-19T21:11:54.5224192Z");
}

/* ---- texts -------------------------------------------------------------------------------------------------- */

static void ascii_is_escaped_where_json_demands_it(void **state)
{
    (void)state;
    NAME("", "");
    NAME("a", "a");
    NAME("1234567", "1234567");
    NAME("12345678", "12345678");
    NAME("123456789abcdefghij", "123456789abcdefghij");
    NAME("\"", "\\\"");
    NAME("\\", "\\\\");
    NAME("/", "/");
    NAME("\x01\x1f\x20\x7f", "\\u0001\\u001f \x7f");
    NAME("\b\t\n\f\r", "\\b\\t\\n\\f\\r");
    NAME("a\0b", "a\\u0000b");
    NAME("12345678\"", "12345678\\\"");
    NAME("1234567\"", "1234567\\\"");
    NAME("123\\5678901\n345", "123\\\\5678901\\n345");
}

/* Each character at each place of the words of 8 that are looked at together. */
static void every_byte_at_every_place(void **state)
{
    (void)state;
    for (unsigned c = 1; c < 0x80; c++) {
        for (unsigned place = 0; place < 18; place++) {
            char text[18];
            char fields[128] = ",\"FullImageName\":\"";
            memset(text, 'x', sizeof text);
            text[place] = (char)c;
            for (unsigned i = 0; i < sizeof text; i++) {
                char one[8] = {text[i]};
                if (text[i] == '"' || text[i] == '\\')
                    (void)snprintf(one, sizeof one, "\\%c", text[i]);
                else if (strchr("\b\t\n\f\r", text[i]) != NULL)
                    (void)snprintf(
                        one, sizeof one, "\\%c",
                        "btnfr"[strchr("\b\t\n\f\r", text[i]) - strchr("\b\t\n\f\r", '\b')]);
                else if (c < 0x20 && i == place)
                    (void)snprintf(one, sizeof one, "\\u%04x", c);
                strcat(fields, one);
            }
            strcat(fields, "\"");
            struct wvu_image_load *image = begin(WVU_EVENT_ImageLoad, sizeof *image);
            image->record.present = WVU_PRESENT(wvu_image_load, FullImageName);
            build_text(&builder, &image->full_image_name, text, sizeof text);
            wvu_message message;
            build_end(&builder);
            assert_int_equal(wvu_check_message(builder.u.bytes, builder.size, &message), 0);
            size_t length = wvu_json(&message, wvu_next(&message, NULL), json, sizeof json);
            assert_true(json_valid(json, length));
            assert_string_equal(json, expected("ImageLoad", "", fields));
        }
    }
}

static void well_formed_utf8_stays_as_it_is(void **state)
{
    (void)state;
    NAME("\xc2\x80", "\xc2\x80");
    NAME("\xdf\xbf", "\xdf\xbf");
    NAME("\xe0\xa0\x80", "\xe0\xa0\x80");
    NAME("\xed\x9f\xbf", "\xed\x9f\xbf");
    NAME("\xee\x80\x80", "\xee\x80\x80");
    NAME("\xef\xbf\xbf", "\xef\xbf\xbf");
    NAME("\xef\xbf\xbd", "\xef\xbf\xbd"); /* a real U+FFFD needs no bytes beside it */
    NAME("\xf0\x90\x80\x80", "\xf0\x90\x80\x80");
    NAME("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
    NAME("caf\xc3\xa9 \xe2\x82\xac\"", "caf\xc3\xa9 \xe2\x82\xac\\\"");
    NAME("\xe2\x80\xa8\xe2\x80\xa9", "\xe2\x80\xa8\xe2\x80\xa9");
    NAME("1234567\xc3\xa9 9", "1234567\xc3\xa9 9");
    NAME("123456\xf0\x9f\x98\x80", "123456\xf0\x9f\x98\x80");
}

static void ill_formed_utf8_is_replaced_and_kept_as_bytes(void **state)
{
    (void)state;
    BAD_NAME("\x80", R, "80");
    BAD_NAME("\xbf", R, "bf");
    BAD_NAME("\xff\xfe", R R, "fffe");
    BAD_NAME("\xc0\x80", R R, "c080");         /* overlong NUL */
    BAD_NAME("\xc1\xbf", R R, "c1bf");         /* overlong DEL */
    BAD_NAME("\xe0\x9f\xbf", R R R, "e09fbf"); /* overlong */
    BAD_NAME("\xf0\x8f\xbf\xbf", R R R R, "f08fbfbf");
    BAD_NAME("\xed\xa0\x80", R R R, "eda080"); /* a surrogate */
    BAD_NAME("\xed\xbf\xbf", R R R, "edbfbf");
    BAD_NAME("\xf4\x90\x80\x80", R R R R, "f4908080"); /* above 10FFFF */
    BAD_NAME("\xf5\x80\x80\x80", R R R R, "f5808080");
    BAD_NAME("\xc3", R, "c3"); /* cut sequences: one for what there is */
    BAD_NAME("\xe2\x82", R, "e282");
    BAD_NAME("\xf0\x9f\x98", R, "f09f98");
    BAD_NAME("\xe2\x82z", R "z", "e2827a");
    BAD_NAME("\xf0\x9f\x98\xe2\x82\xac", R "\xe2\x82\xac", "f09f98e282ac");
    BAD_NAME("a\xff\"b", "a" R "\\\"b", "61ff2262");
    BAD_NAME("12345678\xff", "12345678" R, "3132333435363738ff");
    BAD_NAME("\xfa\xce\0\n", R R "\\u0000\\n", "face000a");
}

static void utf16_is_decoded_and_lone_surrogates_are_replaced(void **state)
{
    (void)state;
#define UTF16(literal, fields) expect_name(literal, sizeof(literal) - 1, WVU_RECORD_UTF16, fields)
    UTF16("", ",\"FullImageName\":\"\"");
    UTF16("a\0b\0", ",\"FullImageName\":\"ab\"");
    UTF16("1\0002\0003\0004\0005\0", ",\"FullImageName\":\"12345\"");
    UTF16("1\0002\0\"\0004\0", ",\"FullImageName\":\"12\\\"4\"");
    UTF16("\n\0\\\0\0\0\x1f\0", ",\"FullImageName\":\"\\n\\\\\\u0000\\u001f\"");
    UTF16("\x7f\0\x80\0\xff\x07\x00\x08",
          ",\"FullImageName\":\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\"");
    UTF16("\xff\xff\xff\xd7\x00\xe0",
          ",\"FullImageName\":\"\xef\xbf\xbf\xed\x9f\xbf\xee\x80\x80\"");
    UTF16("\x00\xd8\x00\xdc\xff\xdb\xff\xdf",
          ",\"FullImageName\":\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"");
    UTF16("\x00\xd8", ",\"FullImageName\":\"" R "\",\"FullImageNameBytes\":\"00d8\"");
    UTF16("\x00\xdc", ",\"FullImageName\":\"" R "\",\"FullImageNameBytes\":\"00dc\"");
    UTF16("\x00\xd8z\0", ",\"FullImageName\":\"" R "z\",\"FullImageNameBytes\":\"00d87a00\"");
    UTF16("\x00\xdc\x00\xd8", ",\"FullImageName\":\"" R R "\",\"FullImageNameBytes\":\"00dc00d8\"");
    UTF16("\x00\xd8\x00\xd8\x00\xdc",
          ",\"FullImageName\":\"" R "\xf0\x90\x80\x80\",\"FullImageNameBytes\":\"00d800d800dc\"");
    UTF16("a\0b", ",\"FullImageName\":\"a" R "\",\"FullImageNameBytes\":\"610062\"");
#undef UTF16
}

static void lists_keep_their_boundaries_and_empty_elements(void **state)
{
    (void)state;
#define LIST(literal, line, list)                                                                  \
    expect_arguments(literal, sizeof(literal) - 1,                                                 \
                     ",\"CommandLine\":\"" line "\",\"Arguments\":[" list "]")
    LIST("", "", "");
    LIST("a\0", "a", "\"a\"");
    LIST("\0", "''", "\"\"");
    LIST("\0\0", "'' ''", "\"\",\"\"");
    LIST("a\0\0", "a ''", "\"a\",\"\"");
    LIST("\0a\0", "'' a", "\"\",\"a\"");
    LIST("a\0\0b\0", "a '' b", "\"a\",\"\",\"b\"");
    LIST("ls\0-l\0/tmp\0", "ls -l /tmp", "\"ls\",\"-l\",\"/tmp\"");
    LIST("no end\0here", "'no end' here", "\"no end\",\"here\"");
    LIST("a\"b\0c\\\0", "'a\\\"b' 'c\\\\'", "\"a\\\"b\",\"c\\\\\"");
    LIST("it's\0'\0", "'it'\\\\''s' ''\\\\'''", "\"it's\",\"'\"");
    LIST("a;b\0$x\0a b\0\t\0", "'a;b' '$x' 'a b' '\\t'", "\"a;b\",\"$x\",\"a b\",\"\\t\"");
    LIST("@%+=:,./_-\0AZaz09\0", "@%+=:,./_- AZaz09", "\"@%+=:,./_-\",\"AZaz09\"");
    LIST("abc\0\xc3\xa9\0def\0", "abc \xc3\xa9 def", "\"abc\",\"\xc3\xa9\",\"def\"");
    LIST("caf\xc3\xa9\0", "caf\xc3\xa9", "\"caf\xc3\xa9\"");
    LIST("0123456\00089abcdefghijklmn\0=_+,-./:\0",
         "0123456 89abcdefghijklmn =_+,-./:", "\"0123456\",\"89abcdefghijklmn\",\"=_+,-./:\"");
    LIST("0123456\0\00089abcde\0", "0123456 '' 89abcde", "\"0123456\",\"\",\"89abcde\"");
    LIST("01234567\0\00089abcde\0", "01234567 '' 89abcde", "\"01234567\",\"\",\"89abcde\"");
#undef LIST
    expect_arguments("ab\0text\xd2\0", 9,
                     ",\"CommandLine\":\"ab text" R "\",\"Arguments\":[\"ab\",\"text" R "\"],"
                     "\"ArgumentsBytes\":\"61620074657874d200\"");
    expect_arguments("a\xff\0\0b\0", 6,
                     ",\"CommandLine\":\"a" R " '' b\",\"Arguments\":[\"a" R "\",\"\",\"b\"],"
                     "\"ArgumentsBytes\":\"61ff00006200\"");
}

/* A shell must read the command line as the arguments again, whatever they are. */
static void each_character_of_an_argument_is_quoted_or_plain(void **state)
{
    (void)state;
    static const char plain[] = "@%+=:,./_-";
    for (unsigned c = 1; c < 0x80; c++) {
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || strchr(plain, (int)c) != NULL;
        char arguments[12] = "abcdefgh";
        arguments[8] = (char)c;
        struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
        create->record.present = WVU_PRESENT(wvu_process_create, Arguments);
        build_text(&builder, &create->arguments, arguments, 10);
        const char *line = strstr(encode(), "\"CommandLine\":\"") + 15;
        assert_int_equal(line[0], is_plain ? 'a' : '\'');
    }
}

static void lists_of_utf16_have_no_command_line(void **state)
{
    (void)state;
    struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    create->record.flags = WVU_RECORD_UTF16;
    create->record.present = WVU_PRESENT(wvu_process_create, Arguments);
    build_text(&builder, &create->arguments, "a\0\0\0\0\0b\0\x00\x01\0\0", 12);
    expect("ProcessCreate", "", ",\"Arguments\":[\"a\",\"\",\"b\xc4\x80\"]");
}

/* ---- cut texts ------------------------------------------------------------------------------------------------ */

static void expect_cut_name(uint16_t flags, const char *bytes, size_t size, size_t head,
                            const char *fields)
{
    struct wvu_image_load *image = begin(WVU_EVENT_ImageLoad, sizeof *image);
    image->record.present = WVU_PRESENT(wvu_image_load, FullImageName);
    image->record.flags = flags;
    build_cut_text(&builder, &image->full_image_name, bytes, size, head, 100000);
    expect("ImageLoad", "", fields);
}

#define CUT(size, head)                                                                            \
    ",\"Cut\":{\"FullImageName\":{\"Size\":100000,\"Kept\":" size ",\"Head\":" head "}}"
#define SEAM "\xe2\x80\xa6"

static void a_cut_text_shows_its_seam_and_tells_its_size(void **state)
{
    (void)state;
    expect_cut_name(0, "abcdef", 6, 4, ",\"FullImageName\":\"abcd" SEAM "ef\"" CUT("6", "4"));
    expect_cut_name(0, "abcdef", 6, 6, ",\"FullImageName\":\"abcdef" SEAM "\"" CUT("6", "6"));
    expect_cut_name(0, "abcdef", 6, 0, ",\"FullImageName\":\"" SEAM "abcdef\"" CUT("6", "0"));
    expect_cut_name(0, "", 0, 0, ",\"FullImageName\":\"" SEAM "\"" CUT("0", "0"));
}

static void a_character_in_the_seam_is_not_an_error(void **state)
{
    (void)state;
    /* The cut went through one character on each side. */
    expect_cut_name(0, "ab\xe2\x82\xa9z", 6, 4, ",\"FullImageName\":\"ab" SEAM "z\"" CUT("6", "4"));
    expect_cut_name(0, "a\xf0\x9f\x98\x9f\x98\x80z", 8, 4,
                    ",\"FullImageName\":\"a" SEAM "z\"" CUT("8", "4"));
    expect_cut_name(0, "\xc3\xa9", 2, 1, ",\"FullImageName\":\"" SEAM "\"" CUT("2", "1"));
    /* Both sides end in whole characters. */
    expect_cut_name(0, "\xc3\xa9\xc3\xa9", 4, 2,
                    ",\"FullImageName\":\"\xc3\xa9" SEAM "\xc3\xa9\"" CUT("4", "2"));
    /* What could never be part of a character still is one. */
    expect_cut_name(0,
                    "a\xff"
                    "b",
                    3, 2,
                    ",\"FullImageName\":\"a" R SEAM
                    "b\",\"FullImageNameBytes\":\"61ff62\"" CUT("3", "2"));
    expect_cut_name(0, "a\x80\x80\x80\x80", 5, 1,
                    ",\"FullImageName\":\"a" SEAM R
                    "\",\"FullImageNameBytes\":\"6180808080\"" CUT("5", "1"));
    expect_cut_name(0,
                    "a\xc3\xc3"
                    "b",
                    4, 3,
                    ",\"FullImageName\":\"a" R SEAM
                    "b\",\"FullImageNameBytes\":\"61c3c362\"" CUT("4", "3"));
    /* UTF-16: half a pair. */
    expect_cut_name(WVU_RECORD_UTF16,
                    "a\0\x3d\xd8\x00\xde"
                    "b\0",
                    8, 4, ",\"FullImageName\":\"a" SEAM "b\"" CUT("8", "4"));
    expect_cut_name(WVU_RECORD_UTF16, "a\0b\0", 4, 2,
                    ",\"FullImageName\":\"a" SEAM "b\"" CUT("4", "2"));
}

static void expect_cut_arguments(const char *bytes, size_t size, size_t head, const char *fields)
{
    struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    create->record.present = WVU_PRESENT(wvu_process_create, Arguments);
    build_cut_text(&builder, &create->arguments, bytes, size, head, 100000);
    char all[1024] = ",\"ImageFileName\":\"\"";
    strcat(all, fields);
    expect("ProcessCreate", "", all);
}

#define CUT_LIST(size, head)                                                                       \
    ",\"Cut\":{\"Arguments\":{\"Size\":100000,\"Kept\":" size ",\"Head\":" head "}}"

static void the_seam_of_a_list_is_a_boundary(void **state)
{
    (void)state;
    expect_cut_arguments("ls\0abcdef\0z\0", 12, 6,
                         ",\"CommandLine\":\"ls abc " SEAM " def z\","
                         "\"Arguments\":[\"ls\",\"abc\",\"def\",\"z\"]" CUT_LIST("12", "6"));
    expect_cut_arguments("ls\0z\0", 5, 3,
                         ",\"CommandLine\":\"ls " SEAM
                         " z\",\"Arguments\":[\"ls\",\"z\"]" CUT_LIST("5", "3"));
    expect_cut_arguments("ls\0z\0", 5, 5,
                         ",\"CommandLine\":\"ls z " SEAM
                         "\",\"Arguments\":[\"ls\",\"z\"]" CUT_LIST("5", "5"));
    expect_cut_arguments("ls\0z\0", 5, 0,
                         ",\"CommandLine\":\"" SEAM
                         " ls z\",\"Arguments\":[\"ls\",\"z\"]" CUT_LIST("5", "0"));
    expect_cut_arguments("", 0, 0,
                         ",\"CommandLine\":\"" SEAM "\",\"Arguments\":[]" CUT_LIST("0", "0"));
    expect_cut_arguments("a\xe2\x82\xa9 b\0", 7, 3,
                         ",\"CommandLine\":\"a " SEAM
                         " ' b'\",\"Arguments\":[\"a\",\" b\"]" CUT_LIST("7", "3"));
}

static void several_cut_texts_are_listed_in_order(void **state)
{
    (void)state;
    struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
    create->record.present = WVU_PRESENT(wvu_process_create, ImageFileName) |
                             WVU_PRESENT(wvu_process_create, WorkingDirectory) |
                             WVU_PRESENT(wvu_process_create, Arguments);
    build_cut_text(&builder, &create->arguments, "ab", 2, 1, UINT32_MAX);
    build_cut_text(&builder, &create->working_directory, "cd", 2, 1, 3);
    build_text(&builder, &create->image_file_name, "ef", 2);
    expect("ProcessCreate", "",
           ",\"ImageFileName\":\"ef\",\"CommandLine\":\"a " SEAM " b\",\"Arguments\":[\"a\",\"b\"],"
           "\"WorkingDirectory\":\"c" SEAM "d\",\"Cut\":{"
           "\"Arguments\":{\"Size\":4294967295,\"Kept\":2,\"Head\":1},"
           "\"WorkingDirectory\":{\"Size\":3,\"Kept\":2,\"Head\":1}}");
}

/* ---- sizes --------------------------------------------------------------------------------------------------- */

/* The longest texts, of what becomes longest: promise of WVU_JSON_MAX. */
static void the_longest_output_fits(void **state)
{
    (void)state;
    static char bytes[WVU_RECORD_MAX];
    const size_t room = WVU_RECORD_MAX - sizeof(struct wvu_process_create);
    static const struct {
        const char *pattern;
        size_t size;
    } patterns[] = {{"\x01", 1},     {"'", 1},   {"\xff", 1}, {"\x01\0", 2}, {"\0", 1},
                    {"\xff\x01", 2}, {"'\0", 2}, {"\"", 1},   {"a", 1}};
    for (unsigned i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        for (size_t at = 0; at < room; at++)
            bytes[at] = patterns[i].pattern[at % patterns[i].size];
        bytes[0] = (char)0xff;
        struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
        create->record.present = WVU_PRESENT(wvu_process_create, Arguments);
        build_text(&builder, &create->arguments, bytes, room);
        assert_true(strlen(encode()) < WVU_JSON_MAX);
    }
}

/* Texts longer than the pieces that room is asked for, with something special at every place. */
static void long_texts_are_whole(void **state)
{
    (void)state;
    static char bytes[3000];
    static char fields[20000];
    for (size_t place = 400; place < 1200; place += 7) {
        memset(bytes, 'x', sizeof bytes);
        memcpy(bytes + place, "\xf0\x9f\x98\x80\"", 5);
        struct wvu_image_load *image = begin(WVU_EVENT_ImageLoad, sizeof *image);
        image->record.present = WVU_PRESENT(wvu_image_load, FullImageName);
        build_text(&builder, &image->full_image_name, bytes, sizeof bytes);
        (void)snprintf(fields, sizeof fields, ",\"FullImageName\":\"%.*s\\\"%.*s\"", (int)place + 4,
                       bytes, (int)(sizeof bytes - place - 5), bytes + place + 5);
        expect("ImageLoad", "", fields);
    }
}

/* ---- random records ----------------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static size_t random_text(uint64_t *seed, char *bytes)
{
    static const char *const pieces[] = {
        "a", "plain/text", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", "\xed\xa0\x80", "\"", "\\",
        "'", " ",          "\n",       "\x1b[31m"};
    size_t size = 0;
    size_t count = next_random(seed) % 30;
    for (size_t i = 0; i < count; i++) {
        uint64_t choice = next_random(seed) % 16;
        if (choice < 12) {
            memcpy(bytes + size, pieces[choice], strlen(pieces[choice]));
            size += strlen(pieces[choice]);
        } else {
            bytes[size++] = choice < 14 ? '\0' : (char)next_random(seed);
        }
    }
    return size;
}

static void random_records_become_valid_json(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (unsigned i = 0; i < 20000; i++) {
        char bytes[512];
        struct wvu_process_create *create = begin(WVU_EVENT_ProcessCreate, sizeof *create);
        struct wvu_text *texts[] = {&create->image_file_name, &create->arguments,
                                    &create->working_directory, &create->command_line};
        for (uint8_t *p = (uint8_t *)(create + 1) - 152; p < (uint8_t *)texts[0]; p++)
            *p = (uint8_t)next_random(&seed);
        create->record.time = (int64_t)next_random(&seed);
        create->record.flags = next_random(&seed) % 4 == 0 ? WVU_RECORD_UTF16 : 0;
        create->record.present = next_random(&seed);
        for (unsigned t = 0; t < 4; t++) {
            size_t size = random_text(&seed, bytes);
            bool cut = next_random(&seed) % 3 == 0;
            size_t head = cut ? next_random(&seed) % (size + 1) : size;
            build_cut_text(&builder, texts[t], bytes, size, head, (uint32_t)(size + (cut ? 7 : 0)));
        }
        wvu_message message;
        build_end(&builder);
        assert_int_equal(wvu_check_message(builder.u.bytes, builder.size, &message), 0);
        const struct wvu_record *record = wvu_next(&message, NULL);
        size_t length = wvu_json(&message, record, json, sizeof json);
        if (!json_valid(json, length))
            fail_msg("record %u is not JSON: %s", i, json);
        char *exact = malloc(length + 1);
        assert_int_equal(wvu_json(&message, record, exact, length + 1), length);
        assert_string_equal(exact, json);
        free(exact);
    }
}

/* The judge of all this has to be strict itself. */
static void the_validator_refuses_what_is_not_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "{}x",
        "{\"a\":1,}",
        "[1,]",
        "{\"a\" 1}",
        "\"\x01\"",
        "\"\\x\"",
        "01",
        "1.",
        "-",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\\ud800\"",
        "\"a",
        "tru",
        "{\"a\":}",
        "{1:2}",
        "\"\xe2\x82\"",
    };
    static const char *const good[] = {
        "{}",   "[]", "[1,-2.5e+3,0]", "{\"a\":[true,false,null]}", "\"\\u00e9\\n\xc3\xa9\"",
        " [ ] "};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (json_valid(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    }
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(json_valid(good[i], strlen(good[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_validator_refuses_what_is_not_json),
        cmocka_unit_test(a_process_create_from_linux_has_all_its_keys),
        cmocka_unit_test(name_line_and_arguments_are_always_there_on_linux),
        cmocka_unit_test(a_process_create_from_windows_has_its_own_command_line),
        cmocka_unit_test(a_process_destroy_has_exit_code_or_signal),
        cmocka_unit_test(an_image_load_has_address_and_build_id),
        cmocka_unit_test(lost_events_are_listed_by_cause_and_event),
        cmocka_unit_test(values_without_a_name_are_numbers),
        cmocka_unit_test(an_unknown_event_shows_its_bytes),
        cmocka_unit_test(unknown_fields_are_left_out),
        cmocka_unit_test(every_length_of_number_is_exact),
        cmocka_unit_test(any_time_is_a_date),
        cmocka_unit_test(ascii_is_escaped_where_json_demands_it),
        cmocka_unit_test(every_byte_at_every_place),
        cmocka_unit_test(well_formed_utf8_stays_as_it_is),
        cmocka_unit_test(ill_formed_utf8_is_replaced_and_kept_as_bytes),
        cmocka_unit_test(utf16_is_decoded_and_lone_surrogates_are_replaced),
        cmocka_unit_test(lists_keep_their_boundaries_and_empty_elements),
        cmocka_unit_test(each_character_of_an_argument_is_quoted_or_plain),
        cmocka_unit_test(lists_of_utf16_have_no_command_line),
        cmocka_unit_test(a_cut_text_shows_its_seam_and_tells_its_size),
        cmocka_unit_test(a_character_in_the_seam_is_not_an_error),
        cmocka_unit_test(the_seam_of_a_list_is_a_boundary),
        cmocka_unit_test(several_cut_texts_are_listed_in_order),
        cmocka_unit_test(the_longest_output_fits),
        cmocka_unit_test(long_texts_are_whole),
        cmocka_unit_test(random_records_become_valid_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
