/*
 * Tables of events, fields and names of values, made from events.def and enums.def. Called by the
 * check, the JSON encoder and programs that look for events by name. Constant data; any thread.
 */
#include "events.h"

#include "winvirtue/winvirtue.h"

/* ---- fields: one array for each structure ---------------------------------------------------- */

#define KEY(json)                                                                                  \
    {                                                                                              \
        ",\"" #json "\":"                                                                          \
    }
#define KEY_SIZE(json) (sizeof ",\"" #json "\":" - 1)

#define WVU_EVENT(number, name, structure, description)                                            \
    static const struct wvu_field fields_of_##structure[] = {
#define WVU_FIELD(structure, kind, json, member, description)                                      \
    {KEY(json), KEY_SIZE(json), WVU_KIND_##kind, offsetof(struct structure, member)},
#define WVU_EVENT_END(name)                                                                        \
    }                                                                                              \
    ;
#include "winvirtue/events.def"

/* A key must leave room for the NUL that ends its literal, and the member must be as wide as its kind
 * says (an ENUM or BOOL is 32 bits). */
#define SIZE_OF_U32                     4
#define SIZE_OF_U64                     8
#define SIZE_OF_BOOL                    4
#define SIZE_OF_ADDRESS                 8
#define SIZE_OF_KEY                     8
#define SIZE_OF_STATUS                  4
#define SIZE_OF_TEXT                    sizeof(struct wvu_text)
#define SIZE_OF_LIST                    sizeof(struct wvu_text)
#define SIZE_OF_HEX                     sizeof(struct wvu_text)
#define SIZE_OF_LOSSES                  sizeof(struct wvu_text)
#define SIZE_OF_ENUM_CREATE_CAUSE       4
#define SIZE_OF_ENUM_HOST               4
#define SIZE_OF_ENUM_PROBE_STATE        4
#define SIZE_OF_ENUM_REG_TYPE           4
#define SIZE_OF_ENUM_REG_DISPOSITION    4
#define SIZE_OF_ENUM_COMMAND            4
#define SIZE_OF_ENUM_MITIGATION_ACTION  4
#define SIZE_OF_ENUM_MITIGATION_OUTCOME 4
#define WVU_FIELD(structure, kind, json, member, description)                                      \
    _Static_assert(KEY_SIZE(json) < WVU_KEY_ROOM, "the name of " #json " is too long");            \
    _Static_assert(sizeof(((struct structure *)0)->member) == SIZE_OF_##kind,                      \
                   #structure "." #member " is not as wide as its kind");
#include "winvirtue/events.def"

/* ---- events ------------------------------------------------------------------------------------ */

#define TYPE_PART(name) "\",\"sensor_type\":\"" #name "\",\"CurrentGMT\":"

#define WVU_EVENT(number, name, structure, description)                                            \
    static const struct wvu_event event_##name = {#name,                                           \
                                                  TYPE_PART(name),                                 \
                                                  fields_of_##structure,                           \
                                                  (number),                                        \
                                                  sizeof TYPE_PART(name) - 1,                      \
                                                  sizeof fields_of_##structure /                   \
                                                      sizeof fields_of_##structure[0]};
#include "winvirtue/events.def"

static const struct wvu_event *const events[] = {
#define WVU_EVENT(number, name, structure, description) &event_##name,
#include "winvirtue/events.def"
};

const struct wvu_event *wvu_event_find(uint16_t type)
{
    switch (type) {
#define WVU_EVENT(number, name, structure, description)                                            \
    case (number):                                                                                 \
        return &event_##name;
#include "winvirtue/events.def"
    default:
        return NULL;
    }
}

const char *wvu_event_name(uint16_t type)
{
    const struct wvu_event *event = wvu_event_find(type);
    return event != NULL ? event->name : NULL;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool same_name(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

uint16_t wvu_event_type(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof events / sizeof events[0]; i++) {
        if (same_name(name, events[i]->name))
            return events[i]->type;
    }
    return WVU_EVENT_NONE;
}

uint16_t wvu_event_at(unsigned index)
{
    return index < sizeof events / sizeof events[0] ? events[index]->type : WVU_EVENT_NONE;
}

/* ---- names of values ----------------------------------------------------------------------------- */

#define ENUM_KINDS  (WVU_KINDS - WVU_KIND_ENUM_CREATE_CAUSE)
#define ENUM_VALUES 24 /* a larger value in enums.def does not compile */

static const struct wvu_name enum_names[ENUM_KINDS][ENUM_VALUES] = {
#define WVU_ENUM(kind, value, name)                                                                \
    [WVU_KIND_ENUM_##kind -                                                                        \
        WVU_KIND_ENUM_CREATE_CAUSE][value] = {"\"" #name "\"", sizeof "\"" #name "\"" - 1},
#include "winvirtue/enums.def"
};

const struct wvu_name *wvu_enum_name(enum wvu_kind kind, uint32_t value)
{
    if (value >= ENUM_VALUES)
        return NULL;
    const struct wvu_name *name = &enum_names[kind - WVU_KIND_ENUM_CREATE_CAUSE][value];
    return name->size != 0 ? name : NULL;
}
