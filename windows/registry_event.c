/*
 * Registry operations as records. Called by the registry probe in the system's callbacks, at
 * PASSIVE_LEVEL, between wvu_probe_enter and _leave. No state, no locks, no allocation.
 *
 * Everything that an operation's structures point to is read in __try (cm.h says why): first each
 * UNICODE_STRING itself, into a copy, so that its length cannot change between measuring and copying; then,
 * once the record is reserved, the bytes, straight into it. A text whose bytes cannot be read is left out of
 * the record; the others stay.
 *
 * A key's path may come in parts (the root's path, a backslash, the name below it). They are put together in
 * the record, so that no buffer is needed for it.
 */
#include "registry_event.h"

#include <string.h>

#include "guarded.h"
#include "process_identity.h"

#define TEXTS 4u

static const WCHAR backslash = L'\\';

/* ---- gathering ---------------------------------------------------------------------------------- */

/* A string that may lie in user memory, as it is now. */
static bool capture(struct wvu_registry_part *part, const UNICODE_STRING *string)
{
    UNICODE_STRING copy;
    if (string == NULL || !NT_SUCCESS(wvu_copy_mapped(&copy, string, sizeof copy)))
        return false;
    part->size = copy.Length & ~1u;
    part->bytes = copy.Buffer;
    return copy.Buffer != NULL || part->size == 0;
}

void wvu_registry_operation_key(struct wvu_registry_operation *operation, PCUNICODE_STRING path)
{
    if (capture(&operation->key[0], path))
        operation->present |= WVU_REGISTRY_PRESENT(KeyName);
}

void wvu_registry_operation_key_below(struct wvu_registry_operation *operation,
                                      PCUNICODE_STRING root, const UNICODE_STRING *name)
{
    struct wvu_registry_part below;
    WCHAR first = 0;
    bool known = capture(&below, name);
    if (known && below.size != 0)
        known = NT_SUCCESS(wvu_copy_mapped(&first, below.bytes, sizeof first));
    if (known && first == backslash) {
        operation->key[0] = below;
        operation->present |= WVU_REGISTRY_PRESENT(KeyName);
        return;
    }
    if (!known || !capture(&operation->key[0], root))
        return; /* a part of a path would be a wrong one */
    if (below.size != 0) {
        operation->key[1] = (struct wvu_registry_part){&backslash, sizeof backslash};
        operation->key[2] = below;
    }
    operation->present |= WVU_REGISTRY_PRESENT(KeyName);
}

void wvu_registry_operation_value_name(struct wvu_registry_operation *operation,
                                       const UNICODE_STRING *name)
{
    if (capture(&operation->value_name, name))
        operation->present |= WVU_REGISTRY_PRESENT(ValueName);
}

void wvu_registry_operation_new_name(struct wvu_registry_operation *operation,
                                     const UNICODE_STRING *name)
{
    if (capture(&operation->new_name, name))
        operation->present |= WVU_REGISTRY_PRESENT(NewName);
}

void wvu_registry_operation_data(struct wvu_registry_operation *operation, const void *data,
                                 uint32_t size, uint32_t most)
{
    operation->data_size = size;
    operation->present |= WVU_REGISTRY_PRESENT(DataSize);
    if (most == 0 || (data == NULL && size != 0))
        return;
    operation->data.bytes = data;
    operation->data.size = size < most ? size : most;
    operation->present |= WVU_REGISTRY_PRESENT(Data);
}

/* "KEY_VALUE_FULL_INFORMATION" and its like: where they have what. DataOffset counts from the beginning of the
 * structure. */
struct answer_layout {
    bool has_data_size;
    bool has_data_offset; /* otherwise the data is at `data` */
    uint32_t type;
    uint32_t data_offset;
    uint32_t data_size;
    uint32_t data;
};

static const struct answer_layout *layout_of(KEY_VALUE_INFORMATION_CLASS information_class)
{
    static const struct answer_layout basic = {
        .type = offsetof(KEY_VALUE_BASIC_INFORMATION, Type),
    };
    static const struct answer_layout full = {
        .has_data_size = true,
        .has_data_offset = true,
        .type = offsetof(KEY_VALUE_FULL_INFORMATION, Type),
        .data_offset = offsetof(KEY_VALUE_FULL_INFORMATION, DataOffset),
        .data_size = offsetof(KEY_VALUE_FULL_INFORMATION, DataLength),
    };
    static const struct answer_layout partial = {
        .has_data_size = true,
        .type = offsetof(KEY_VALUE_PARTIAL_INFORMATION, Type),
        .data_size = offsetof(KEY_VALUE_PARTIAL_INFORMATION, DataLength),
        .data = offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data),
    };
    static const struct answer_layout partial_aligned = {
        .has_data_size = true,
        .type = offsetof(KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, Type),
        .data_size = offsetof(KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, DataLength),
        .data = offsetof(KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, Data),
    };
    switch (information_class) {
    case KeyValueBasicInformation:
        return &basic;
    case KeyValueFullInformation:
    case KeyValueFullInformationAlign64:
        return &full;
    case KeyValuePartialInformation:
        return &partial;
    case KeyValuePartialInformationAlign64:
        return &partial_aligned;
    default:
        return NULL; /* one that came later */
    }
}

static bool read_word(const void *information, uint32_t length, uint32_t offset, uint32_t *word)
{
    return length >= sizeof *word && offset <= length - sizeof *word &&
           NT_SUCCESS(wvu_copy_mapped(word, (const char *)information + offset, sizeof *word));
}

void wvu_registry_operation_answer(struct wvu_registry_operation *operation,
                                   KEY_VALUE_INFORMATION_CLASS information_class,
                                   const void *information, uint32_t length, uint32_t most)
{
    const struct answer_layout *layout = layout_of(information_class);
    uint32_t data_size, offset;
    if (layout == NULL || information == NULL ||
        !read_word(information, length, layout->type, &operation->value_type))
        return;
    operation->present |= WVU_REGISTRY_PRESENT(Type);
    if (!layout->has_data_size || !read_word(information, length, layout->data_size, &data_size))
        return;
    offset = layout->data;
    bool found =
        !layout->has_data_offset || read_word(information, length, layout->data_offset, &offset);
    /* The program may have written other numbers there by now: never more than its own buffer. */
    if (!found || offset > length)
        offset = length;
    uint32_t there = length - offset;
    wvu_registry_operation_data(operation, (const char *)information + offset, data_size,
                                most < there || data_size == 0 ? most : there);
}

/* ---- writing ------------------------------------------------------------------------------------ */

/* One of the record's texts: the parts that it is made of, and where it belongs. */
struct text {
    const struct wvu_registry_part *parts;
    uint32_t count;
    uint64_t present;
    uint16_t member;
    uint16_t unit;
};

static uint32_t size_of_parts(const struct text *text)
{
    uint32_t size = 0;
    for (uint32_t i = 0; i < text->count; i++)
        size += text->parts[i].size;
    return size;
}

/* Copies `size` bytes from `from` on of the parts' bytes, taken as one. */
static bool copy_parts(const struct text *text, uint32_t from, uint32_t size, uint8_t *to)
{
    for (uint32_t i = 0; i < text->count && size != 0; i++) {
        const struct wvu_registry_part *part = &text->parts[i];
        if (from >= part->size) {
            from -= part->size;
            continue;
        }
        uint32_t count = part->size - from < size ? part->size - from : size;
        if (!NT_SUCCESS(wvu_copy_mapped(to, (const uint8_t *)part->bytes + from, count)))
            return false;
        to += count;
        size -= count;
        from = 0;
    }
    return size == 0;
}

/* The two ends of the text that the plan has room for. A text that cannot be read leaves nothing behind. */
static void fill_text(struct wvu_record *record, const struct wvu_text *placed,
                      const struct text *text)
{
    uint8_t *base = (uint8_t *)record;
    uint32_t whole = size_of_parts(text), tail = (uint32_t)placed->size - placed->head;
    if (!copy_parts(text, 0, placed->head, base + placed->offset) ||
        !copy_parts(text, whole - tail, tail, base + placed->offset + placed->head)) {
        memset(base + placed->offset, 0, placed->size);
        return;
    }
    memcpy(base + text->member, placed, sizeof *placed);
    record->present |= text->present;
    if (placed->full_size > placed->size)
        record->flags |= WVU_RECORD_CUT;
}

static void fill_fields(wvu_registry_fields *event, const struct wvu_nt_host *host,
                        const struct wvu_registry_operation *operation, HANDLE process_id)
{
    const uint64_t texts = WVU_REGISTRY_PRESENT(KeyName) | WVU_REGISTRY_PRESENT(ValueName) |
                           WVU_REGISTRY_PRESENT(NewName) | WVU_REGISTRY_PRESENT(Data);
    PEPROCESS process = IoGetCurrentProcess();
    event->record.flags |= WVU_RECORD_UTF16;
    event->record.process_id = (uint32_t)(uintptr_t)process_id;
    if (PsGetProcessId(process) == process_id) {
        event->record.process_key = wvu_process_key(process, process_id);
        event->eprocess = wvu_nt_host_name_object(host, process);
    } else { /* the thread works in another's address space; what it does is its own process's doing */
        event->record.process_key = wvu_process_key_of_pid(process_id);
    }
    event->object = wvu_nt_host_name_object(host, operation->object);
    event->thread_id = (uint32_t)(uintptr_t)PsGetCurrentThreadId();
    event->status = operation->status;
    event->type = operation->value_type;
    event->data_size = operation->data_size;
    event->desired_access = operation->desired_access;
    event->granted_access = operation->granted_access;
    event->options = operation->options;
    event->disposition = operation->disposition;
    event->information_class = operation->information_class;
    event->record.present = (operation->present & ~texts) | WVU_REGISTRY_PRESENT(ThreadId) |
                            WVU_REGISTRY_PRESENT(Status);
    if (event->eprocess != 0)
        event->record.present |= WVU_REGISTRY_PRESENT(EProcess);
    if (event->object != 0)
        event->record.present |= WVU_REGISTRY_PRESENT(Object);
}

#define TEXT(member, json, parts, count, unit)                                                     \
    {                                                                                              \
        parts, count, WVU_REGISTRY_PRESENT(json), offsetof(wvu_registry_fields, member), unit      \
    }

void wvu_registry_operation_report(struct wvu_probe *probe,
                                   const struct wvu_registry_operation *operation,
                                   HANDLE process_id)
{
    struct text texts[TEXTS] = {
        TEXT(key_name, KeyName, operation->key, WVU_REGISTRY_KEY_PARTS, sizeof(WCHAR)),
        TEXT(value_name, ValueName, &operation->value_name, 1, sizeof(WCHAR)),
        TEXT(new_name, NewName, &operation->new_name, 1, sizeof(WCHAR)),
        TEXT(data, Data, &operation->data, 1, 1),
    };
    struct wvu_text_source sources[TEXTS];
    struct wvu_record_plan plan;
    for (uint32_t i = 0; i < TEXTS; i++) {
        bool present = (operation->present & texts[i].present) != 0;
        if (!present)
            texts[i].count = 0;
        sources[i] = wvu_text_whole(texts[i].member, texts[i].unit, NULL, size_of_parts(&texts[i]));
    }
    if (texts[3].count != 0) /* only its first bytes were ever meant to be here */
        sources[3].full_size = operation->data_size;
    wvu_record_plan(&plan, operation->type, sizeof(wvu_registry_fields), sources, TEXTS);
    wvu_registry_fields *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event == NULL)
        return; /* counted */
    fill_fields(event, probe->host, operation, process_id);
    for (uint32_t i = 0; i < TEXTS; i++) {
        if ((operation->present & texts[i].present) != 0)
            fill_text(&event->record, &plan.placed[i], &texts[i]);
    }
    wvu_probe_commit(probe, &event->record);
    wvu_probe_wake(probe);
}
