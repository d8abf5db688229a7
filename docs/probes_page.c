/*
 * Writes docs/probes.md to standard output, from the tables that everything else is made from
 * (events.def, enums.def, status.def) and the layout that the compiler gives the structures.
 *
 * `make docs` runs it; a test compares its output with the page in the tree.
 */
#include <stdio.h>
#include <string.h>

#include "winvirtue/protocol.h"
#include "winvirtue/status.h"

struct field {
    const char *kind;
    const char *json;
    const char *description;
    unsigned offset;
    unsigned size;
};

struct event {
    unsigned number;
    const char *name;
    const char *description;
    unsigned fixed_size;
    const struct field *fields;
    unsigned count;
};

/* One array of fields for each event, then the table of events. */
#define WVU_EVENT(number, name, structure, description)                                            \
    static const struct field fields_of_##structure[] = {
#define WVU_FIELD(structure, kind, json, member, description)                                      \
    {#kind, #json, description, (unsigned)offsetof(struct structure, member),                      \
     (unsigned)sizeof(((struct structure *)0)->member)},
#define WVU_EVENT_END(name)                                                                        \
    }                                                                                              \
    ;
#include "winvirtue/events.def"

static const struct event events[] = {
#define WVU_EVENT(number, name, structure, description)                                            \
    {(number),                                                                                     \
     #name,                                                                                        \
     description,                                                                                  \
     (unsigned)sizeof(struct structure),                                                           \
     fields_of_##structure,                                                                        \
     (unsigned)(sizeof(fields_of_##structure) / sizeof(fields_of_##structure[0]))},
#include "winvirtue/events.def"
};

static const struct {
    const char *kind;
    unsigned value;
    const char *name;
} enumerations[] = {
#define WVU_ENUM(kind, value, name) {#kind, (unsigned)(value), #name},
#include "winvirtue/enums.def"
};

static const struct {
    const char *name;
    unsigned value;
    const char *text;
} statuses[] = {
#define WVU_STATUS(name, value, text) {#name, value##u, text},
#include "winvirtue/status.def"
};

static const char introduction[] =
    "# Probes and events\n"
    "\n"
    "<!-- Written by docs/probes_page.c (make docs). Do not edit: change include/winvirtue/*.def. "
    "-->\n"
    "\n"
    "A probe is one source of events. Each event is one record on the wire "
    "([protocol.md](protocol.md))\n"
    "and one JSON object in the output of `ntfltmgr`.\n"
    "\n"
    "| probe | what it watches | its events |\n"
    "|---|---|---|\n"
    "| ProcessCreate | processes that start, go on with another program, and end | ProcessCreate, "
    "ProcessDestroy |\n"
    "| ImageLoad | programs, libraries and kernel modules that are mapped for execution | "
    "ImageLoad |\n"
    "| the sensor itself | its own life, its probes, and what was lost | SensorStart, SensorStop, "
    "ProbeStateChanged, EventsLost |\n";

static const char reading[] =
    "\n"
    "## How to read the tables\n"
    "\n"
    "*Bit* is the field's bit in the record's `present` mask (bit 0 is the least significant): the "
    "field\n"
    "has a value only when its bit is set, and is in the JSON object only then. *Offset* counts "
    "bytes from\n"
    "the start of the record; an event's fields begin at 72, after the record header. A field "
    "whose offset\n"
    "is not below the record's `fixed_size` was unknown to the sender. *JSON* is the key.\n"
    "\n"
    "| kind | on the wire | in JSON |\n"
    "|---|---|---|\n"
    "| U32, U64 | unsigned number of 4 or 8 bytes | number, exact |\n"
    "| BOOL | 4 bytes, 0 or 1 | `false`, `true` |\n"
    "| ADDRESS | 8 bytes | `\"0x7f12a4c00000\"` |\n"
    "| KEY | 8 bytes | `\"0x\"` and 16 digits |\n"
    "| STATUS | 4 bytes | `\"0x\"` and 8 digits; see [statuses](#statuses) |\n"
    "| ENUM | 4 bytes | the value's name, or the number when it has none; see [values](#values) |\n"
    "| TEXT | text descriptor of 12 bytes | string |\n"
    "| LIST | text descriptor; each item is followed by a byte 0 | array of strings |\n"
    "| HEX | text descriptor | string of hexadecimal digits |\n"
    "| LOSSES | text descriptor; entries of 16 bytes: cause (2), event type (2), zero (4), count "
    "(8) | "
    "array of objects |\n"
    "\n"
    "Every JSON object also has the fields of the record header; [protocol.md](protocol.md#json) "
    "lists\n"
    "them.\n"
    "\n"
    "## Events\n";

static void print_events(void)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        const struct event *event = &events[i];

        printf("\n### %s (0x%04X)\n\n%s %u bytes before the texts.\n\n", event->name, event->number,
               event->description, event->fixed_size);
        printf("| bit | offset | bytes | kind | JSON | meaning |\n|---:|---:|---:|---|---|---|\n");
        for (unsigned bit = 0; bit < event->count; bit++) {
            const struct field *field = &event->fields[bit];
            const char *kind = strncmp(field->kind, "ENUM_", 5) == 0 ? "ENUM" : field->kind;

            printf("| %u | %u | %u | %s | %s | %s |\n", bit, field->offset, field->size, kind,
                   field->json, field->description);
        }
    }
}

/* The field that an enumeration is named after is easier to find than the enumeration's own name.
 */
static const char *field_of_kind(const char *kind)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        for (unsigned bit = 0; bit < events[i].count; bit++)
            if (strncmp(events[i].fields[bit].kind, "ENUM_", 5) == 0 &&
                strcmp(events[i].fields[bit].kind + 5, kind) == 0)
                return events[i].fields[bit].json;
    return "cause of a loss (`Lost`)";
}

static void print_values(void)
{
    printf("\n## Values\n\n| field | number | name |\n|---|---:|---|\n");
    for (size_t i = 0; i < sizeof(enumerations) / sizeof(enumerations[0]); i++)
        printf("| %s | %u | %s |\n", field_of_kind(enumerations[i].kind), enumerations[i].value,
               enumerations[i].name);
}

static void print_statuses(void)
{
    printf("\n## Statuses\n\nThe values are NTSTATUS values (MS-ERREF section 2.3.1).\n\n"
           "| value | name | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        printf("| 0x%08X | %s | %s |\n", statuses[i].value, statuses[i].name, statuses[i].text);
}

int main(void)
{
    fputs(introduction, stdout);
    fputs(reading, stdout);
    print_events();
    print_values();
    print_statuses();
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : 1;
}
