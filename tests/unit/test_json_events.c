/*
 * wvu_json for the events that test_json.c does not spell out: exact output with every field present, names of
 * values and numbers without one, lists and bytes that are cut or do not decode. Then each event of the table,
 * every bit of it set, must be valid JSON with its keys in the order of the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/json_valid.h"
#include "support/message_builder.h"

#define BEGIN                                                                                      \
    "{\"sensor_id\":\"a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\",\"sensor_type\":\"%s\","              \
    "\"CurrentGMT\":134398224001234567,\"BootId\":\"01020304-0506-0708-090a-0b0c0d0e0f10\","       \
    "\"Sequence\":1,\"Timestamp\":\"2026-11-22T12:00:00.1234567Z\",\"ProcessId\":4242,"            \
    "\"ProcessKey\":\"0x0123456789abcdef\"%s}"

static struct builder builder;
static char json[WVU_JSON_MAX];

static void *begin(uint16_t type, size_t fixed_size, unsigned fields)
{
    build_begin(&builder);
    struct wvu_record *record = build_record(&builder, type, fixed_size, 1);
    record->process_id = 4242;
    record->process_key = 0x0123456789abcdef;
    record->present = (UINT64_C(1) << fields) - 1;
    return record;
}

static void encode(void)
{
    wvu_message message;
    build_end(&builder);
    assert_int_equal(wvu_check_message(builder.u.bytes, builder.size, &message), 0);
    size_t length = wvu_json(&message, wvu_next(&message, NULL), json, sizeof json);
    assert_true(length < sizeof json);
    if (!json_valid(json, length))
        fail_msg("not JSON: %s", json);
}

static void expect(const char *type, const char *fields)
{
    char expected[4096];
    (void)snprintf(expected, sizeof expected, BEGIN, type, fields);
    encode();
    assert_string_equal(json, expected);
}

#define TEXT(member, literal) build_text(&builder, &(member), literal, sizeof(literal) - 1)

/* ---- threads ------------------------------------------------------------------------------------ */

static void threads(void **state)
{
    (void)state;
    struct wvu_thread_create *create =
        begin(WVU_EVENT_ThreadCreate, sizeof *create, WVU_FIELD_COUNT_ThreadCreate);
    create->thread_id = 4246;
    create->win32_start_address = 0x7ff6a1b20000;
    create->start_address = 0x7ffabc;
    create->is_start_address_valid = 1;
    create->creator_process_id = 4000;
    create->creator_process_key = 0x10;
    create->creator_thread_id = 4001;
    create->remote = 1;
    expect("ThreadCreate",
           ",\"ThreadId\":4246,\"Win32StartAddress\":\"0x7ff6a1b20000\","
           "\"StartAddress\":\"0x7ffabc\",\"IsStartAddressValid\":true,\"CreatorProcessId\":4000,"
           "\"CreatorProcessKey\":\"0x0000000000000010\",\"CreatorThreadId\":4001,"
           "\"Remote\":true");
    create = begin(WVU_EVENT_ThreadCreate, sizeof *create, 0);
    create->record.present = WVU_PRESENT(wvu_thread_create, ThreadId) |
                             WVU_PRESENT(wvu_thread_create, IsStartAddressValid) |
                             WVU_PRESENT(wvu_thread_create, Remote);
    create->thread_id = 1;
    create->start_address = 5; /* not present */
    expect("ThreadCreate", ",\"ThreadId\":1,\"IsStartAddressValid\":false,\"Remote\":false");
    struct wvu_thread_destroy *destroy =
        begin(WVU_EVENT_ThreadDestroy, sizeof *destroy, WVU_FIELD_COUNT_ThreadDestroy);
    destroy->thread_id = 4294967295u;
    expect("ThreadDestroy", ",\"ThreadId\":4294967295");
}

/* ---- lists of what runs ---------------------------------------------------------------------------- */

static struct wvu_process_list_validation_failed *begin_validation(void)
{
    struct wvu_process_list_validation_failed *failed =
        begin(WVU_EVENT_ProcessListValidationFailed, sizeof *failed,
              WVU_FIELD_COUNT_ProcessListValidationFailed);
    failed->status = WVU_STATUS_NOT_FOUND;
    failed->eprocess = 0xabc;
    return failed;
}

static void lists_that_do_not_agree(void **state)
{
    (void)state;
    struct wvu_process_list_validation_failed *failed = begin_validation();
    TEXT(failed->in_lists, "kernel\0probe\0");
    TEXT(failed->not_in_lists, "proc\0");
    TEXT(failed->image_file_name, "/tmp/hidden");
    expect("ProcessListValidationFailed",
           ",\"Status\":\"0xc0000225\",\"EProcess\":\"0xabc\",\"InLists\":[\"kernel\",\"probe\"],"
           "\"NotInLists\":[\"proc\"],\"ImageFileName\":\"/tmp/hidden\"");
    failed = begin_validation();
    TEXT(failed->in_lists, "");
    TEXT(failed->not_in_lists, "\0");
    TEXT(failed->image_file_name, "");
    expect("ProcessListValidationFailed",
           ",\"Status\":\"0xc0000225\",\"EProcess\":\"0xabc\",\"InLists\":[],\"NotInLists\":[\"\"],"
           "\"ImageFileName\":\"\"");
    failed = begin_validation();
    TEXT(failed->in_lists, "\xff\0");
    build_cut_text(&builder, &failed->not_in_lists, "abyz", 4, 2, 20);
    TEXT(failed->image_file_name, "x");
    expect("ProcessListValidationFailed",
           ",\"Status\":\"0xc0000225\",\"EProcess\":\"0xabc\",\"InLists\":[\"\xef\xbf\xbd\"],"
           "\"InListsBytes\":\"ff00\",\"NotInLists\":[\"ab\",\"yz\"],\"ImageFileName\":\"x\","
           "\"Cut\":{\"NotInLists\":{\"Size\":20,\"Kept\":4,\"Head\":2}}");
}

/* ---- the registry ------------------------------------------------------------------------------------- */

/* The events have the same members; the name and number are all that differs. */
static struct wvu_reg_set_value_key_info *begin_registry(uint16_t type)
{
    struct wvu_reg_set_value_key_info *event =
        begin(type, sizeof *event, WVU_FIELD_COUNT_RegSetValueKeyInfo);
    event->record.flags = WVU_RECORD_UTF16;
    event->eprocess = 0xffff;
    event->object = 0x123456789abcdef0;
    event->thread_id = 8;
    event->type = 4;
    event->data_size = 4;
    event->desired_access = 131097;
    event->granted_access = 0;
    event->options = 1;
    event->disposition = 1;
    event->information_class = 2;
    event->status = WVU_STATUS_ACCESS_DENIED;
    return event;
}

#define WIDE_KEY "\\\0R\0\xac\x20" /* \R and the euro sign, as UTF-16LE */

static void registry(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        const char *name;
    } events[] = {{7, "RegQueryValueKeyInfo"},    {8, "RegCreateKeyInfo"},
                  {9, "RegSetValueKeyInfo"},      {0xA, "RegOpenKeyInfo"},
                  {0xB, "RegDeleteValueKeyInfo"}, {0xC, "RegRenameKeyInfo"},
                  {0x11, "RegDeleteKeyInfo"}};
    for (unsigned i = 0; i < sizeof events / sizeof events[0]; i++) {
        struct wvu_reg_set_value_key_info *event = begin_registry(events[i].type);
        TEXT(event->key_name, WIDE_KEY);
        TEXT(event->value_name, "V\0");
        TEXT(event->new_name, "");
        TEXT(event->data, "\x01\x02\xfe\xff");
        expect(events[i].name,
               ",\"EProcess\":\"0xffff\",\"Object\":\"0x123456789abcdef0\",\"ThreadId\":8,"
               "\"KeyName\":\"\\\\R\xe2\x82\xac\",\"ValueName\":\"V\",\"NewName\":\"\","
               "\"Type\":\"RegDWord\",\"DataSize\":4,\"Data\":\"0102feff\","
               "\"DesiredAccess\":131097,\"GrantedAccess\":0,\"Options\":1,"
               "\"Disposition\":\"Created\",\"InformationClass\":2,\"Status\":\"0xc0000022\"");
    }
}

static void bytes_are_cut_at_their_end(void **state)
{
    (void)state;
    struct wvu_reg_set_value_key_info *event = begin_registry(WVU_EVENT_RegSetValueKeyInfo);
    event->record.present = WVU_PRESENT(wvu_reg_set_value_key_info, Data) |
                            WVU_PRESENT(wvu_reg_set_value_key_info, Type) |
                            WVU_PRESENT(wvu_reg_set_value_key_info, Disposition);
    event->type = 12; /* has no name */
    event->disposition = 0;
    build_cut_text(&builder, &event->data, "\xd8\x00\x41", 3, 3, 1000000);
    expect("RegSetValueKeyInfo", ",\"Type\":12,\"Data\":\"d80041\",\"Disposition\":0,"
                                 "\"Cut\":{\"Data\":{\"Size\":1000000,\"Kept\":3,\"Head\":3}}");
}

static void value_types_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"RegNone",
                                        "RegSz",
                                        "RegExpandSz",
                                        "RegBinary",
                                        "RegDWord",
                                        "RegDWordBigEndian",
                                        "RegLink",
                                        "RegMultiSz",
                                        "RegResourceList",
                                        "RegFullResourceDescriptor",
                                        "RegResourceRequirementsList",
                                        "RegQWord"};
    for (uint32_t type = 0; type < 12; type++) {
        char fields[64];
        struct wvu_reg_set_value_key_info *event = begin_registry(WVU_EVENT_RegSetValueKeyInfo);
        event->record.present = WVU_PRESENT(wvu_reg_set_value_key_info, Type);
        event->type = type;
        (void)snprintf(fields, sizeof fields, ",\"Type\":\"%s\"", names[type]);
        expect("RegSetValueKeyInfo", fields);
    }
}

/* ---- the sensor's own ------------------------------------------------------------------------------------ */

static void commands(void **state)
{
    (void)state;
    struct wvu_command_executed *event =
        begin(WVU_EVENT_CommandExecuted, sizeof *event, WVU_FIELD_COUNT_CommandExecuted);
    event->command = WVU_COMMAND_CONFIGURE_PROBE;
    event->status = WVU_STATUS_INVALID_PARAMETER;
    event->user_id = 1000;
    TEXT(event->target, "ImageLoad");
    TEXT(event->detail, "no key\n\"x\"");
    TEXT(event->user_sid, "S-1-5-18");
    TEXT(event->image_file_name, "/usr/bin/wvuctl");
    expect("CommandExecuted",
           ",\"Command\":\"ConfigureProbe\",\"Status\":\"0xc000000d\",\"Target\":\"ImageLoad\","
           "\"Detail\":\"no key\\n\\\"x\\\"\",\"UserId\":1000,\"UserSid\":\"S-1-5-18\","
           "\"ImageFileName\":\"/usr/bin/wvuctl\"");
    static const struct {
        uint32_t command;
        const char *value;
    } names[] = {{0, "\"Echo\""},
                 {1, "\"EnableProbe\""},
                 {2, "\"DisableProbe\""},
                 {3, "\"EnableUnload\""},
                 {4, "\"DisableUnload\""},
                 {5, "\"EnumerateProbes\""},
                 {6, "\"ConfigureProbe\""},
                 {7, "\"OneShotKill\""},
                 {8, "8"},
                 {16, "\"GetStatistics\""},
                 {17, "\"SetLog\""},
                 {18, "\"GetSchema\""},
                 {19, "\"SetFilter\""},
                 {20, "\"Shutdown\""},
                 {21, "\"GetStatus\""},
                 {22, "\"GetFilter\""},
                 {23, "23"},
                 {4294967295u, "4294967295"}};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        char fields[64];
        event = begin(WVU_EVENT_CommandExecuted, sizeof *event, 1);
        event->command = names[i].command;
        (void)snprintf(fields, sizeof fields, ",\"Command\":%s", names[i].value);
        expect("CommandExecuted", fields);
    }
}

static void mitigations(void **state)
{
    (void)state;
    static const char *const actions[] = {"0", "\"Terminate\"", "\"Deny\"", "3"};
    static const char *const outcomes[] = {
        "0", "\"Reported\"", "\"Prevented\"", "\"Ended\"", "\"Refused\"", "\"Failed\"", "6"};
    for (uint32_t i = 0; i < 7; i++) {
        char fields[512];
        struct wvu_mitigated *event =
            begin(WVU_EVENT_Mitigation, sizeof *event, WVU_FIELD_COUNT_Mitigation);
        event->action = i % 4;
        event->outcome = i;
        event->status = 0;
        event->requester_process_id = 99;
        TEXT(event->rule, "line 3");
        TEXT(event->image_file_name, "/tmp/bad");
        TEXT(event->reason, "because");
        (void)snprintf(
            fields, sizeof fields,
            ",\"Action\":%s,\"Outcome\":%s,\"Status\":\"0x00000000\",\"Rule\":\"line 3\","
            "\"RequesterProcessId\":99,\"ImageFileName\":\"/tmp/bad\","
            "\"Reason\":\"because\"",
            actions[i % 4], outcomes[i]);
        expect("Mitigation", fields);
    }
}

static void attempts_to_stop(void **state)
{
    (void)state;
    struct wvu_stop_refused *event =
        begin(WVU_EVENT_StopRefused, sizeof *event, WVU_FIELD_COUNT_StopRefused);
    event->user_id = 0;
    TEXT(event->attempt, "SIGTERM");
    TEXT(event->image_file_name, "/bin/kill");
    expect("StopRefused", ",\"Attempt\":\"SIGTERM\",\"UserId\":0,\"ImageFileName\":\"/bin/kill\"");
}

/* ---- all of them ------------------------------------------------------------------------------------------- */

struct field {
    uint16_t event;
    const char *key;
};

static const struct field fields[] = {
#define WVU_EVENT(number, name, structure, description)       {(number), NULL},
#define WVU_FIELD(structure, kind, json, member, description) {0, ",\"" #json "\":"},
#include "winvirtue/events.def"
};

/* Numbers with every bit set, and empty texts. */
static void *begin_full(uint16_t type)
{
    switch (type) {
#define WVU_EVENT(number, name, structure, description)                                            \
    case (number): {                                                                               \
        struct structure *event = begin(type, sizeof *event, WVU_FIELD_COUNT_##name);              \
        uint8_t *bytes = (uint8_t *)event;                                                         \
        memset(bytes + sizeof event->record, 0xff, sizeof *event - sizeof event->record);
#define WVU_FIELD(structure, kind, json, member, description)                                      \
    if (sizeof event->member == sizeof(struct wvu_text))                                           \
        memset(&event->member, 0, sizeof event->member);
#define WVU_EVENT_END(name)                                                                        \
    return event;                                                                                  \
    }
#include "winvirtue/events.def"
    default:
        return NULL;
    }
}

static void every_event_has_its_keys_in_order(void **state)
{
    (void)state;
    const char *at = json;
    unsigned events = 0;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (fields[i].key == NULL) {
            assert_non_null(begin_full(fields[i].event));
            encode();
            at = json;
            events++;
            continue;
        }
        at = strstr(at, fields[i].key);
        if (at == NULL)
            fail_msg("%s is not in its place in %s", fields[i].key, json);
        at += strlen(fields[i].key) - 1;
    }
    assert_true(events >= 20);
    for (unsigned i = 0; i < events; i++)
        assert_non_null(wvu_event_name(wvu_event_at(i)));
    assert_int_equal(wvu_event_at(events), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(lists_that_do_not_agree),
        cmocka_unit_test(registry),
        cmocka_unit_test(bytes_are_cut_at_their_end),
        cmocka_unit_test(value_types_have_names),
        cmocka_unit_test(commands),
        cmocka_unit_test(mitigations),
        cmocka_unit_test(attempts_to_stop),
        cmocka_unit_test(every_event_has_its_keys_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
