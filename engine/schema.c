/*
 * The schema of the events as text: events.def and enums.def in the sensor's own words, for GetSchema.
 * Called by command.c in any thread; no state.
 *
 *     event NUMBER NAME SIZE              then its fields:
 *     field INDEX KIND OFFSET NAME
 *     ...
 *     value KIND NUMBER NAME              names of values of the kinds ENUM_...
 */
#include "answer.h"
#include "words.h"

struct row {
    const char *kind; /* of a field; NULL: an event */
    const char *name;
    uint16_t number; /* of an event; index of a field */
    uint16_t bytes;  /* size of an event; offset of a field */
};

static const struct row rows[] = {
#define WVU_EVENT(number, name, structure, description)                                            \
    {NULL, #name, (number), sizeof(struct structure)},
#define WVU_FIELD(structure, kind, json, member, description)                                      \
    {#kind, #json, WVU_FIELD_INDEX_##structure##_##json, offsetof(struct structure, member)},
#include "winvirtue/events.def"
};

static const struct value {
    const char *kind;
    const char *name;
    uint32_t number;
} values[] = {
#define WVU_ENUM(kind, value, name) {"ENUM_" #kind, #name, (value)},
#include "winvirtue/enums.def"
};

static void add_row(struct wvu_builder *builder, const struct row *row)
{
    if (row->kind == NULL) {
        wvu_build_text(builder, "event ");
        wvu_build_hex(builder, row->number, 4);
        wvu_build_text(builder, " ");
        wvu_build_text(builder, row->name);
        wvu_build_text(builder, " ");
        wvu_build_number(builder, row->bytes);
    } else {
        wvu_build_text(builder, "field ");
        wvu_build_number(builder, row->number);
        wvu_build_text(builder, " ");
        wvu_build_text(builder, row->kind);
        wvu_build_text(builder, " ");
        wvu_build_number(builder, row->bytes);
        wvu_build_text(builder, " ");
        wvu_build_text(builder, row->name);
    }
    wvu_build_text(builder, "\n");
}

static void add_value(struct wvu_builder *builder, const struct value *value)
{
    wvu_build_text(builder, "value ");
    wvu_build_text(builder, value->kind);
    wvu_build_text(builder, " ");
    wvu_build_number(builder, value->number);
    wvu_build_text(builder, " ");
    wvu_build_text(builder, value->name);
    wvu_build_text(builder, "\n");
}

bool wvu_answer_schema(struct wvu_answer *answer)
{
    struct wvu_builder builder;
    if (answer->room == answer->used)
        return false;
    wvu_build_begin(&builder, (char *)answer->out + answer->used, answer->room - answer->used);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        add_row(&builder, &rows[i]);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        add_value(&builder, &values[i]);
    answer->used += (uint32_t)builder.length;
    return !builder.cut;
}
