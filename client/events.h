/*
 * The tables that the decoder, the check and the JSON encoder work from. All of it is made from
 * winvirtue/events.def and enums.def by the preprocessor; constant, so any thread may use it.
 */
#ifndef WVU_EVENTS_H
#define WVU_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "winvirtue/protocol.h"

/* The kinds of events.def. A kind that is used there and missing here does not compile. */
enum wvu_kind {
    WVU_KIND_U32,
    WVU_KIND_U64,
    WVU_KIND_BOOL,
    WVU_KIND_ADDRESS,
    WVU_KIND_KEY,
    WVU_KIND_STATUS,
    WVU_KIND_TEXT, /* from here to LOSSES the member is a struct wvu_text */
    WVU_KIND_LIST,
    WVU_KIND_HEX,
    WVU_KIND_LOSSES,
    WVU_KIND_ENUM_CREATE_CAUSE, /* from here on the number has names in enums.def */
    WVU_KIND_ENUM_HOST,
    WVU_KIND_ENUM_PROBE_STATE,
    WVU_KIND_ENUM_LOSS_CAUSE,
    WVU_KIND_ENUM_REG_TYPE,
    WVU_KIND_ENUM_REG_DISPOSITION,
    WVU_KIND_ENUM_COMMAND,
    WVU_KIND_ENUM_MITIGATION_ACTION,
    WVU_KIND_ENUM_MITIGATION_OUTCOME,
    WVU_KINDS
};

#define WVU_KEY_ROOM 28u

/* One field. 32 bytes, so that the key, which comes first, can be copied with moves of fixed size. */
struct wvu_field {
    char key[WVU_KEY_ROOM]; /* ready for output: ,"Name": */
    uint8_t key_size;
    uint8_t kind;    /* enum wvu_kind */
    uint16_t offset; /* of the member in the record */
};
_Static_assert(sizeof(struct wvu_field) == 32, "one field is 32 bytes");

struct wvu_event {
    const char *name;
    const char *type_part;          /* ready for output: ","sensor_type":"Name","CurrentGMT": */
    const struct wvu_field *fields; /* in the order of the present bits */
    uint16_t type;
    uint16_t type_part_size;
    uint16_t field_count;
};

/* A name ready for output, quotes included; size 0: there is none. */
struct wvu_name {
    char quoted[31];
    uint8_t size;
};

/* NULL when this library does not know the type. */
const struct wvu_event *wvu_event_find(uint16_t type);

/* NULL when the value has no name. `kind` is one of the ENUM kinds. */
const struct wvu_name *wvu_enum_name(enum wvu_kind kind, uint32_t value);

static inline int wvu_kind_is_text(unsigned kind)
{
    return kind >= WVU_KIND_TEXT && kind <= WVU_KIND_LOSSES;
}

/* Bytes of a field of this kind in the fixed part of a record. */
static inline unsigned wvu_kind_size(unsigned kind)
{
    if (wvu_kind_is_text(kind))
        return (unsigned)sizeof(struct wvu_text);
    return kind == WVU_KIND_U64 || kind == WVU_KIND_ADDRESS || kind == WVU_KIND_KEY ? 8 : 4;
}

#endif
