/*
 * Messages built by hand. For tests and fuzzers; all state is the caller's.
 */
#include "message_builder.h"

#include <string.h>

struct wvu_message_header *built_header(struct builder *builder)
{
    return (struct wvu_message_header *)(void *)builder->u.bytes;
}

struct wvu_batch *built_batch(struct builder *builder)
{
    return (struct wvu_batch *)(void *)(builder->u.bytes + sizeof(struct wvu_message_header));
}

static struct wvu_record *present_record(struct builder *builder)
{
    return (struct wvu_record *)(void *)(builder->u.bytes + builder->record);
}

void build_begin(struct builder *builder)
{
    builder->record = 0;
    *built_header(builder) = (struct wvu_message_header){.reply_length = 32, .message_id = 7};
    struct wvu_batch *batch = built_batch(builder);
    *batch = (struct wvu_batch){.version = WVU_PROTOCOL_VERSION, .header_size = sizeof *batch};
    for (unsigned i = 0; i < 16; i++)
        batch->boot_id[i] = (uint8_t)(i + 1);
    builder->size = sizeof(struct wvu_message_header) + sizeof *batch;
}

static void complete_record(struct builder *builder)
{
    if (builder->record == 0)
        return;
    while (builder->size % 8 != 0)
        builder->u.bytes[builder->size++] = 0;
    present_record(builder)->size = (uint32_t)(builder->size - builder->record);
    builder->record = 0;
}

void *build_record(struct builder *builder, uint16_t type, size_t fixed_size, uint64_t sequence)
{
    struct wvu_batch *batch = built_batch(builder);
    complete_record(builder);
    builder->record = builder->size;
    builder->size += fixed_size;
    struct wvu_record *record = present_record(builder);
    memset(record, 0, fixed_size);
    *record = (struct wvu_record){
        .type = type,
        .sequence = sequence,
        .time = BUILT_TIME,
        .uptime = 123456789,
        .fixed_size = (uint16_t)fixed_size,
    };
    for (unsigned i = 0; i < 16; i++)
        record->sensor_id[i] = (uint8_t)(0xa0 + i);
    if (batch->record_count++ == 0)
        batch->first_sequence = sequence;
    batch->last_sequence = sequence;
    return record;
}

void build_cut_text(struct builder *builder, struct wvu_text *text, const void *bytes, size_t size,
                    size_t head, uint32_t full_size)
{
    *text = (struct wvu_text){.offset = (uint16_t)(size != 0 ? builder->size - builder->record : 0),
                              .size = (uint16_t)size,
                              .head = (uint16_t)head,
                              .full_size = full_size};
    if (full_size > size)
        present_record(builder)->flags |= WVU_RECORD_CUT;
    if (size != 0)
        memcpy(builder->u.bytes + builder->size, bytes, size);
    builder->size += size;
}

void build_text(struct builder *builder, struct wvu_text *text, const void *bytes, size_t size)
{
    build_cut_text(builder, text, bytes, size, size, (uint32_t)size);
}

void build_end(struct builder *builder)
{
    complete_record(builder);
    built_batch(builder)->size = (uint32_t)(builder->size - sizeof(struct wvu_message_header));
}

/* ---- the sample ---------------------------------------------------------------------------------------- */

static void add_create(struct builder *builder, uint64_t sequence)
{
    static const char arguments[] = "sh\0-c\0echo \"it's\"\0\0caf\xc3\xa9\0bad\xff";
    struct wvu_process_create *create =
        build_record(builder, WVU_EVENT_ProcessCreate, sizeof *create, sequence);
    create->record.process_id = 4242;
    create->record.process_key = UINT64_C(0x0123456789abcdef);
    create->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_ProcessCreate) - 1;
    create->record.present &=
        ~(WVU_PRESENT(wvu_process_create, CommandLine) | WVU_PRESENT(wvu_process_create, UserSid));
    create->parent_process_id = 1;
    create->parent_process_key = 1;
    create->cause = WVU_CREATE_EXEC;
    create->creation_status = -1;
    create->cgroup_id = UINT64_MAX;
    build_text(builder, &create->image_file_name, "/bin/dash", 9);
    build_text(builder, &create->exec_file_name, "sh", 2);
    build_text(builder, &create->arguments, arguments, sizeof arguments);
    build_cut_text(builder, &create->working_directory, "/home/\xc3\xa4/end", 12, 7, 5000);
}

static void add_create_of_windows(struct builder *builder, uint64_t sequence)
{
    static const uint16_t line[] = {'n', 'o', 't', 'e', 'p', 'a', 'd', 0xd83d, 0xde00, 0xd800, '"'};
    struct wvu_process_create *create =
        build_record(builder, WVU_EVENT_ProcessCreate, sizeof *create, sequence);
    create->record.flags |= WVU_RECORD_UTF16;
    create->record.present = WVU_PRESENT(wvu_process_create, CommandLine) |
                             WVU_PRESENT(wvu_process_create, UserSid) |
                             WVU_PRESENT(wvu_process_create, EProcess);
    create->eprocess = 0xabc;
    build_text(builder, &create->command_line, line, sizeof line);
    build_text(builder, &create->user_sid, L"", 0);
}

static void add_lost(struct builder *builder, uint64_t sequence)
{
    static const struct wvu_loss losses[] = {
        {.cause = WVU_LOSS_QUEUE_FULL, .type = WVU_EVENT_ImageLoad, .count = 9},
        {.cause = 999, .type = 0, .count = UINT64_MAX},
    };
    struct wvu_events_lost *lost =
        build_record(builder, WVU_EVENT_EventsLost, sizeof *lost, sequence);
    lost->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_EventsLost) - 1;
    lost->first_sequence = sequence - 8;
    lost->last_sequence = sequence;
    lost->count = 9;
    build_text(builder, &lost->lost, losses, sizeof losses);
}

void build_sample(struct builder *builder, uint64_t sequence)
{
    build_begin(builder);
    add_create(builder, sequence);

    struct wvu_image_load *image =
        build_record(builder, WVU_EVENT_ImageLoad, sizeof *image, sequence + 10);
    image->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_ImageLoad) - 1;
    image->image_base = UINT64_C(0x7f0000001000);
    image->kernel_image = 1;
    build_text(builder, &image->full_image_name, "/lib/libc.so.6", 14);
    build_text(builder, &image->build_id, "\x01\x23\x45\x67\x89\xab\xcd", 7);

    add_create_of_windows(builder, sequence + 20);
    add_lost(builder, sequence + 30);

    uint8_t *unknown = build_record(builder, 0x7777, sizeof(struct wvu_record) + 24, sequence + 40);
    memset(unknown + sizeof(struct wvu_record), 0x5a, 24);

    struct wvu_probe_state_changed *changed =
        build_record(builder, WVU_EVENT_ProbeStateChanged, sizeof *changed, sequence + 50);
    changed->record.present = (UINT64_C(1) << WVU_FIELD_COUNT_ProbeStateChanged) - 1;
    changed->state = 77;
    changed->status = WVU_STATUS_ACCESS_DENIED;
    build_text(builder, &changed->probe_name, "ImageLoad", 9);
    build_text(builder, &changed->reason, "tab\there", 8);

    struct wvu_process_destroy *destroy =
        build_record(builder, WVU_EVENT_ProcessDestroy, sizeof *destroy, sequence + 60);
    destroy->record.process_id = 4242;
    destroy->record.present = WVU_PRESENT(wvu_process_destroy, ExitCode);
    build_end(builder);
}
