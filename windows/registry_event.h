/*
 * One registry operation as an event: gathered from what the system shows, then written into a record.
 */
#ifndef WVU_REGISTRY_EVENT_H
#define WVU_REGISTRY_EVENT_H

#include "cm.h"
#include "nt_host.h"

/* All registry events have the members, and the fields, of this one. */
typedef struct wvu_reg_set_value_key_info wvu_registry_fields;
#define WVU_REGISTRY_PRESENT(json) WVU_PRESENT(wvu_reg_set_value_key_info, json)

/* Bytes that belong into a record; they may be user memory, and need not be there when they are copied. */
struct wvu_registry_part {
    const void *bytes;
    uint32_t size;
};

#define WVU_REGISTRY_KEY_PARTS 3u

/* What is known about an operation. `present` says which members have a value, by WVU_REGISTRY_PRESENT. */
struct wvu_registry_operation {
    uint16_t type;
    NTSTATUS status;
    uint64_t present;
    PVOID object; /* for its name only; NULL: none */
    uint32_t value_type;
    uint32_t data_size;
    uint32_t desired_access;
    uint32_t granted_access;
    uint32_t options;
    uint32_t disposition;
    uint32_t information_class;
    struct wvu_registry_part
        key[WVU_REGISTRY_KEY_PARTS]; /* the path is these one after the other */
    struct wvu_registry_part value_name;
    struct wvu_registry_part new_name;
    struct wvu_registry_part data; /* its first bytes */
    PCUNICODE_STRING names[2];     /* of the configuration manager's: to be given back in the end */
};

/* All PASSIVE, in the callback's thread. What cannot be read is left out. */
void wvu_registry_operation_key(struct wvu_registry_operation *operation, PCUNICODE_STRING path);
/* `root` is the path of RootObject (NULL: not known), `name` the operation's CompleteName. */
void wvu_registry_operation_key_below(struct wvu_registry_operation *operation,
                                      PCUNICODE_STRING root, const UNICODE_STRING *name);
void wvu_registry_operation_value_name(struct wvu_registry_operation *operation,
                                       const UNICODE_STRING *name);
void wvu_registry_operation_new_name(struct wvu_registry_operation *operation,
                                     const UNICODE_STRING *name);
/* `most`: of the data, no more than so many bytes. */
void wvu_registry_operation_data(struct wvu_registry_operation *operation, const void *data,
                                 uint32_t size, uint32_t most);
/* What a query has answered: `length` bytes of room at `information`. */
void wvu_registry_operation_answer(struct wvu_registry_operation *operation,
                                   KEY_VALUE_INFORMATION_CLASS information_class,
                                   const void *information, uint32_t length, uint32_t most);

/* Reserves, fills, commits and wakes, for the process whose thread this is. */
void wvu_registry_operation_report(struct wvu_probe *probe,
                                   const struct wvu_registry_operation *operation,
                                   HANDLE process_id);

#endif
