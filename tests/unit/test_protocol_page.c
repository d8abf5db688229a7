/*
 * docs/protocol.md and protocol.h say the same of the command port: every row of the tables of its structures is
 * a member at that offset with that size, every member has its row, and the commands have their numbers.
 */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "winvirtue/protocol.h"

struct member {
    const char *name;
    size_t offset;
    size_t size;
};

#define MEMBER(structure, name)                                                                    \
    {                                                                                              \
#name, offsetof(struct structure, name), sizeof(((struct structure *)NULL)->name)          \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

static const struct member request[] = {MEMBER(wvu_request, version),
                                        MEMBER(wvu_request, size),
                                        MEMBER(wvu_request, command),
                                        MEMBER(wvu_request, probe_id),
                                        MEMBER(wvu_request, data_size),
                                        MEMBER(wvu_request, reserved),
                                        END};
static const struct member response[] = {
    MEMBER(wvu_response, version), MEMBER(wvu_response, size),      MEMBER(wvu_response, command),
    MEMBER(wvu_response, status),  MEMBER(wvu_response, data_size), END};
static const struct member probe_entry[] = {
    MEMBER(wvu_probe_entry, size),          MEMBER(wvu_probe_entry, fixed_size),
    MEMBER(wvu_probe_entry, probe_id),      MEMBER(wvu_probe_entry, attributes),
    MEMBER(wvu_probe_entry, condition),     MEMBER(wvu_probe_entry, status),
    MEMBER(wvu_probe_entry, reserved),      MEMBER(wvu_probe_entry, operations),
    MEMBER(wvu_probe_entry, filtered),      MEMBER(wvu_probe_entry, interval_ns),
    MEMBER(wvu_probe_entry, last_run),      MEMBER(wvu_probe_entry, name),
    MEMBER(wvu_probe_entry, configuration), MEMBER(wvu_probe_entry, reason),
    MEMBER(wvu_probe_entry, tail),          END};
/* Both tables of GetStatistics, one after the other. */
static const struct member statistics[] = {MEMBER(wvu_statistics, size),
                                           MEMBER(wvu_statistics, event_size),
                                           MEMBER(wvu_statistics, event_count),
                                           MEMBER(wvu_statistics, callback_sample),
#define WVU_STATISTIC(member, json, description) MEMBER(wvu_statistics, member),
#include "winvirtue/statistics.def"
                                           MEMBER(wvu_statistics, callback_ns),
                                           MEMBER(wvu_statistics, host_counters),
                                           MEMBER(wvu_statistics, reserved),
                                           MEMBER(wvu_event_statistics, type),
                                           MEMBER(wvu_event_statistics, reserved),
                                           MEMBER(wvu_event_statistics, accepted),
                                           MEMBER(wvu_event_statistics, delivered),
                                           MEMBER(wvu_event_statistics, filtered),
                                           MEMBER(wvu_event_statistics, cut),
                                           MEMBER(wvu_event_statistics, lost),
                                           END};
static const struct member status[] = {MEMBER(wvu_sensor_status, size),
                                       MEMBER(wvu_sensor_status, host),
                                       MEMBER(wvu_sensor_status, boot_id),
                                       MEMBER(wvu_sensor_status, sensor_id),
                                       MEMBER(wvu_sensor_status, started),
                                       MEMBER(wvu_sensor_status, uptime_ns),
                                       MEMBER(wvu_sensor_status, protocol_version),
                                       MEMBER(wvu_sensor_status, process_id),
                                       MEMBER(wvu_sensor_status, is_protected),
                                       MEMBER(wvu_sensor_status, reader_process_id),
                                       MEMBER(wvu_sensor_status, queue_records),
                                       MEMBER(wvu_sensor_status, queue_bytes),
                                       MEMBER(wvu_sensor_status, filter_rules),
                                       MEMBER(wvu_sensor_status, host_name),
                                       MEMBER(wvu_sensor_status, sensor_version),
                                       MEMBER(wvu_sensor_status, system_version),
                                       MEMBER(wvu_sensor_status, configuration),
                                       MEMBER(wvu_sensor_status, log),
                                       END};

static char *page;

static int read_page(void **state)
{
    FILE *file = fopen(WVU_PROTOCOL_PAGE, "rb");
    const size_t room = 1 << 20;

    (void)state;
    page = malloc(room);
    if (file == NULL || page == NULL)
        return -1;
    size_t size = fread(page, 1, room - 1, file);
    page[size] = '\0';
    return fclose(file) == 0 && size < room - 1 ? 0 : -1;
}

static int free_page(void **state)
{
    (void)state;
    free(page);
    return 0;
}

/* The text below a heading, up to the next one; to be freed. */
static char *section(const char *heading)
{
    char line[64];

    (void)snprintf(line, sizeof line, "\n### %s\n", heading);
    const char *begin = strstr(page, line);
    if (begin == NULL)
        fail_msg("the page has no heading '%s'", heading);
    begin += strlen(line);
    const char *end = strstr(begin, "\n##");
    assert_non_null(end);
    char *text = strndup(begin, (size_t)(end - begin) + 1);
    assert_non_null(text);
    return text;
}

/* Bytes of a type as the page names them: u32, i64, text, "16 bytes", "32 × u64". */
static size_t size_of(const char *type)
{
    unsigned count = 1;
    char unit[16];

    if (sscanf(type, "%u bytes", &count) == 1 && strstr(type, "bytes") != NULL)
        return count;
    if (sscanf(type, "%u \xc3\x97 %15s", &count, unit) != 2) {
        count = 1;
        (void)snprintf(unit, sizeof unit, "%s", type);
    }
    if (strcmp(unit, "text") == 0)
        return count * sizeof(struct wvu_text);
    return count * (size_t)atoi(unit + 1) / 8;
}

/* Every row with a number is the next member. */
static void check_table(const char *heading, const struct member *member)
{
    char *text = section(heading);

    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        unsigned offset;
        char type[32], name[64];

        if (sscanf(line, "| %u | %31[^|] | %63[a-z_] |", &offset, type, name) != 3)
            continue;
        while (strlen(type) != 0 && type[strlen(type) - 1] == ' ')
            type[strlen(type) - 1] = '\0';
        if (member->name == NULL)
            fail_msg("%s: a row too many, %s", heading, name);
        assert_string_equal(name, member->name);
        if (offset != member->offset || size_of(type) != member->size)
            fail_msg("%s: %s is said to be %s at %u", heading, name, type, offset);
        member++;
    }
    if (member->name != NULL)
        fail_msg("%s: there is no row of %s", heading, member->name);
    free(text);
}

static void structures_are_as_in_the_header(void **state)
{
    (void)state;
    check_table("Request", request);
    check_table("Response", response);
    check_table("EnumerateProbes", probe_entry);
    check_table("GetStatistics", statistics);
    check_table("GetStatus", status);
}

static void sizes_are_as_in_the_header(void **state)
{
    (void)state;
    assert_non_null(strstr(page, "the entries of the events begin there; 448 |"));
    assert_int_equal(sizeof(struct wvu_statistics), 448);
    assert_non_null(strstr(page, "of one of them; 104 |"));
    assert_int_equal(sizeof(struct wvu_event_statistics), 104);
    assert_non_null(strstr(page, "of this entry without them; 112 |"));
    assert_int_equal(sizeof(struct wvu_probe_entry), 112);
    assert_non_null(strstr(page, "of this structure, before its texts; 144 |"));
    assert_int_equal(sizeof(struct wvu_sensor_status), 144);
    assert_int_equal(WVU_REQUEST_MAX, 65536);
    assert_int_equal(WVU_RESPONSE_MAX, 65536);
}

static void commands_have_their_numbers(void **state)
{
    static const struct {
        const char *kind;
        unsigned number;
        const char *name;
    } values[] = {
#define WVU_ENUM(kind, value, name) {#kind, (unsigned)(value), #name},
#include "winvirtue/enums.def"
    };
    char *text = section("All commands");
    unsigned rows = 0, known = 0;

    (void)state;
    for (const char *row = strstr(text, "\n| "); row != NULL; row = strstr(row + 1, "\n| "))
        rows += row[3] >= '0' && row[3] <= '9';
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char row[64];

        if (strcmp(values[i].kind, "COMMAND") != 0)
            continue;
        known++;
        (void)snprintf(row, sizeof row, "| %u | %s |", values[i].number, values[i].name);
        if (strstr(text, row) == NULL)
            fail_msg("the page has no row '%s'", row);
    }
    assert_int_equal(rows, known);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structures_are_as_in_the_header),
        cmocka_unit_test(sizes_are_as_in_the_header),
        cmocka_unit_test(commands_have_their_numbers),
    };
    return cmocka_run_group_tests_name("protocol_page", tests, read_page, free_page);
}
