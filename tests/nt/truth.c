/*
 * Ground truth; see truth.h. The table of actors is guarded by `lock`; an actor's story is written when
 * it is cast and then only read. Events count when their callback has returned: a record may come
 * before that, so the sums are compared at the end.
 */
#include "truth.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define ACTORS_MAX  65536u
#define FIRST_ID    10000u
#define IMAGES_MAX  8u
#define LONGEST     65534u /* bytes of a UNICODE_STRING */
#define IMAGE_BYTES 8192u

struct nt_actor {
    struct nt_truth *truth;
    enum nt_story story;
    struct nt_process_plan plan;
    struct nt_process *process;
    const struct nt_actor *parent; /* NULL: System, or nobody */
    UNICODE_STRING image_name;
    UNICODE_STRING command_line;
    SID user;
    NTSTATUS exit_status;
    uint8_t *image; /* user memory with the headers of a program */
    atomic_bool started_seen, ended_seen;
    atomic_uint images_seen; /* a bit each */
    uint64_t key;            /* as first seen; all events of a process have the same */
    uint64_t object;         /* hash, likewise */
    pthread_mutex_t lock;
};

struct nt_truth {
    pthread_mutex_t lock;
    struct nt_actor *actors[ACTORS_MAX];
    uint32_t count;
    atomic_ullong happened[4]; /* by event number */
    atomic_ullong seen[4];
    atomic_ullong drivers_seen;
};

struct nt_truth *nt_truth_new(void)
{
    struct nt_truth *truth = calloc(1, sizeof *truth);
    if (truth == NULL)
        abort();
    pthread_mutex_init(&truth->lock, NULL);
    return truth;
}

void nt_truth_free(struct nt_truth *truth)
{
    for (uint32_t i = 0; i < truth->count; i++) {
        struct nt_actor *actor = truth->actors[i];
        nt_process_release(actor->process);
        nt_string_free(&actor->image_name);
        nt_string_free(&actor->command_line);
        nt_user_free(actor->image);
        free(actor);
    }
    free(truth);
}

/* ---- casting ------------------------------------------------------------------------------------- */

static UNICODE_STRING long_text(uint32_t seed)
{
    WCHAR *units = malloc(LONGEST);
    if (units == NULL)
        abort();
    for (uint32_t i = 0; i < LONGEST / sizeof *units; i++)
        units[i] = (WCHAR)(0x4E00 + (seed * 31 + i * 7) % 0x5000);
    UNICODE_STRING text = nt_string(units, LONGEST);
    free(units);
    return text;
}

static UNICODE_STRING text_of(const char *format, uint32_t id)
{
    char text[160];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, format, id);
#pragma GCC diagnostic pop
    return nt_string_of(text);
}

static const char usual_image[] = "\\??\\C:\\Program Files\\Actor %u\\actor.exe";
static const char usual_command[] = "\"C:\\Program Files\\Actor\\actor.exe\" --serial=%u --quiet";

static void write_texts(struct nt_actor *actor, uint32_t id)
{
    static const WCHAR halves[] = {'a', 0xD800, 'b',    0xDC00, 0xDFFF,
                                   0,   0xD83D, 0xDE00, 0xFFFF, 'c'};
    actor->image_name = text_of(usual_image, id);
    actor->command_line = text_of(usual_command, id);
    switch (actor->story) {
    case NT_EMPTY_TEXTS:
    case NT_NULL_BUFFERS:
        nt_string_free(&actor->image_name);
        nt_string_free(&actor->command_line);
        actor->image_name = actor->command_line = (UNICODE_STRING){0};
        if (actor->story == NT_EMPTY_TEXTS) {
            actor->image_name = nt_string(NULL, 0);
            actor->command_line = nt_string(NULL, 0);
        }
        break;
    case NT_TWO_LONGEST:
        nt_string_free(&actor->image_name);
        actor->image_name = long_text(id + 1);
        nt_string_free(&actor->command_line);
        actor->command_line = long_text(id);
        break;
    case NT_LONGEST:
        nt_string_free(&actor->command_line);
        actor->command_line = long_text(id);
        break;
    case NT_SURROGATES:
        nt_string_free(&actor->command_line);
        actor->command_line = nt_string(halves, sizeof halves);
        break;
    case NT_ODD_LENGTH:
        actor->command_line.Length--;
        break;
    default:
        break;
    }
}

static void write_plan(struct nt_actor *actor, uint32_t id, const struct nt_actor *parent)
{
    struct nt_process_plan *plan = &actor->plan;
    actor->parent = actor->story != NT_UNKNOWN_PARENT ? parent : NULL;
    actor->user = (SID){1, 5, {0, 0, 0, 0, 0, 5}, {21, 1111, 2222, 3333, 1000 + id % 7}};
    *plan = (struct nt_process_plan){
        .id = id,
        .parent_id = parent != NULL ? parent->plan.id : 4,
        .creator_process = parent != NULL ? parent->plan.id : 4,
        .creator_thread = id + 1,
        .session = id % 5,
        .user = actor->story == NT_NO_USER ? NULL : &actor->user,
        .administrator = true,
        .image_file_name = &actor->image_name,
        .command_line = &actor->command_line,
    };
    if (actor->story == NT_NO_COMMAND_LINE || actor->story == NT_NO_TEXTS)
        plan->command_line = NULL;
    if (actor->story == NT_NO_IMAGE_NAME || actor->story == NT_NO_TEXTS)
        plan->image_file_name = NULL;
    plan->subsystem = plan->no_file_object = actor->story == NT_NO_TEXTS;
    if (actor->story == NT_UNKNOWN_PARENT)
        plan->parent_id = 0x7FFFFFF0;
    if (actor->story == NT_OTHER_CREATOR)
        plan->creator_process = 4;
    if (actor->story == NT_REFUSED)
        plan->creation_status = STATUS_ACCESS_DENIED;
    actor->exit_status = (NTSTATUS)(id * 2654435761u);
    if (actor->exit_status == NT_STATUS(0x00000103))
        actor->exit_status = 0;
}

/* The headers of a program for x64, enough to find its machine type. */
static uint8_t *make_image(void)
{
    uint8_t *image = nt_user_alloc(IMAGE_BYTES);
    memset(image, 0, IMAGE_BYTES);
    memcpy(image, "MZ", 2);
    image[0x3C] = 0x80;
    memcpy(image + 0x80, "PE\0\0\x64\x86", 6);
    return image;
}

struct nt_actor *nt_truth_cast(struct nt_truth *truth, enum nt_story story)
{
    struct nt_actor *actor = calloc(1, sizeof *actor);
    if (actor == NULL)
        abort();
    pthread_mutex_init(&actor->lock, NULL);
    actor->truth = truth;
    actor->story = story;
    pthread_mutex_lock(&truth->lock);
    if (truth->count == ACTORS_MAX)
        abort();
    uint32_t number = truth->count;
    const struct nt_actor *parent = number % 3 != 0 ? truth->actors[number - 1] : NULL;
    uint32_t id = FIRST_ID + 4 * number;
    write_texts(actor, id);
    write_plan(actor, id, parent);
    actor->process = nt_process_new(&actor->plan);
    actor->image = make_image();
    truth->actors[number] = actor;
    truth->count++;
    pthread_mutex_unlock(&truth->lock);
    return actor;
}

struct nt_process *nt_actor_process(struct nt_actor *actor)
{
    return actor->process;
}

/* ---- acting -------------------------------------------------------------------------------------- */

static void happened(struct nt_truth *truth, uint16_t type)
{
    truth->happened[type]++;
}

void nt_actor_start(struct nt_actor *actor)
{
    nt_process_announce(actor->process, NULL);
    happened(actor->truth, WVU_EVENT_ProcessCreate);
}

void nt_actor_exit(struct nt_actor *actor)
{
    nt_process_exit(actor->process, actor->exit_status);
    happened(actor->truth, WVU_EVENT_ProcessDestroy);
}

static void image_name(const struct nt_actor *actor, uint32_t number, char *text, size_t size)
{
    snprintf(text, size, "\\Device\\HarddiskVolume2\\lib%u-%u.dll", number,
             (unsigned)actor->plan.id);
}

/* Number 0 has its headers where they can be read, 1 lies about them, 2 is not mapped at all, and 3 has
 * no name. */
void nt_actor_load_image(struct nt_actor *actor, uint32_t number)
{
    char text[96];
    image_name(actor, number, text, sizeof text);
    UNICODE_STRING name = nt_string_of(text);
    struct nt_image_plan plan = {
        .name = number == 3 ? NULL : &name,
        .base = (uintptr_t)actor->image,
        .size = IMAGE_BYTES,
        .signature_level = number,
        .signature_type = 1,
        .extended = number % 2 == 0,
    };
    if (number == 1)
        plan.base += 16;
    if (number == 2)
        plan.base = (uintptr_t)actor->image + IMAGE_BYTES; /* the page behind, never mapped */
    nt_image_announce(actor->process, &plan);
    happened(actor->truth, WVU_EVENT_ImageLoad);
    nt_string_free(&name);
}

void nt_truth_load_driver(struct nt_truth *truth)
{
    static uint8_t headers[4096] = "MZ"; /* a driver's image: kernel memory */
    UNICODE_STRING name = nt_string_of("\\SystemRoot\\System32\\drivers\\other.sys");
    headers[0x3C] = 0x80;
    memcpy(headers + 0x80, "PE\0\0\x64\x86", 6);
    const struct nt_image_plan plan = {
        .name = &name, .base = (uintptr_t)headers, .size = sizeof headers, .system_mode = true};
    nt_image_announce(NULL, &plan);
    happened(truth, WVU_EVENT_ImageLoad);
    nt_string_free(&name);
}

/* ---- holding records against it -------------------------------------------------------------------- */

#define FAIL_UNLESS(condition, what)                                                               \
    nt_require(condition, "process %u, story %d, event %llu: %s", (unsigned)actor->plan.id,        \
               (int)actor->story, (unsigned long long)record->sequence, what)

/* The text, or its two ends. `string` NULL: it must be absent. */
static void check_text(const struct nt_actor *actor, const struct wvu_record *record,
                       unsigned field, const struct wvu_text *text, const UNICODE_STRING *string,
                       const char *name)
{
    size_t size, whole = string != NULL ? string->Length & ~1u : 0;
    const uint8_t *bytes = wvu_text_bytes(record, text, &size);
    FAIL_UNLESS(wvu_has(record, field) == (string != NULL), name);
    FAIL_UNLESS(text->full_size == whole && size <= whole, name);
    if (size == 0)
        return;
    const uint8_t *original = (const uint8_t *)string->Buffer;
    FAIL_UNLESS(memcmp(bytes, original, text->head) == 0, name);
    FAIL_UNLESS(
        memcmp(bytes + text->head, original + whole - (size - text->head), size - text->head) == 0,
        name);
    FAIL_UNLESS(size == whole || whole > 20000, "a short text was cut");
}

/* Key and hash: present, never an address, the same in every event of the process. */
static void check_identity(struct nt_actor *actor, const struct wvu_record *record,
                           uint64_t object_hash)
{
    FAIL_UNLESS(record->process_key == nt_process_start_key(actor->process), "process key");
    FAIL_UNLESS(object_hash != 0 && object_hash != (uintptr_t)nt_process_object(actor->process),
                "EProcess");
    pthread_mutex_lock(&actor->lock);
    if (actor->object == 0)
        actor->object = object_hash;
    FAIL_UNLESS(actor->object == object_hash, "EProcess differs between events");
    pthread_mutex_unlock(&actor->lock);
}

static void check_user(const struct nt_actor *actor, const struct wvu_process_create *event)
{
    const struct wvu_record *record = &event->record;
    char expected[128];
    size_t size;
    const WCHAR *text = wvu_text_bytes(record, &event->user_sid, &size);
    FAIL_UNLESS(wvu_has(record, WVU_FIELD_INDEX_wvu_process_create_UserSid) ==
                    (actor->story != NT_NO_USER),
                "UserSid");
    if (actor->story == NT_NO_USER)
        return;
    int length = snprintf(expected, sizeof expected, "S-1-5-21-1111-2222-3333-%u",
                          actor->user.SubAuthority[4]);
    FAIL_UNLESS(size == 2 * (size_t)length, "UserSid");
    for (int i = 0; i < length; i++)
        FAIL_UNLESS(text[i] == (WCHAR)expected[i], "UserSid");
}

static void check_parent(const struct nt_actor *actor, const struct wvu_process_create *event)
{
    const struct wvu_record *record = &event->record;
    const struct nt_process_plan *plan = &actor->plan;
    bool has_key = wvu_has(record, WVU_FIELD_INDEX_wvu_process_create_ParentProcessKey);
    FAIL_UNLESS(event->parent_process_id == plan->parent_id, "ParentProcessId");
    FAIL_UNLESS(has_key == (actor->story != NT_UNKNOWN_PARENT), "ParentProcessKey");
    if (actor->parent != NULL)
        FAIL_UNLESS(event->parent_process_key == nt_process_start_key(actor->parent->process),
                    "ParentProcessKey");
    FAIL_UNLESS(event->unique_process == plan->creator_process &&
                    event->unique_thread == plan->creator_thread,
                "creator");
}

static void check_create(struct nt_actor *actor, const struct wvu_record *record)
{
    const struct wvu_process_create *event = (const void *)record;
    const struct nt_process_plan *plan = &actor->plan;
    FAIL_UNLESS(!atomic_exchange(&actor->started_seen, true), "told twice");
    check_identity(actor, record, event->eprocess);
    check_parent(actor, event);
    check_user(actor, event);
    check_text(actor, record, WVU_FIELD_INDEX_wvu_process_create_ImageFileName,
               &event->image_file_name, plan->image_file_name, "ImageFileName");
    check_text(actor, record, WVU_FIELD_INDEX_wvu_process_create_CommandLine, &event->command_line,
               plan->command_line, "CommandLine");
    FAIL_UNLESS(event->creation_status == plan->creation_status, "CreationStatus");
    FAIL_UNLESS(event->session_id == plan->session, "SessionId");
    FAIL_UNLESS((event->file_object != 0) == !plan->no_file_object &&
                    event->file_object != (uintptr_t)nt_process_file_object(actor->process),
                "FileObject");
    FAIL_UNLESS(event->cause == (plan->subsystem ? WVU_CREATE_UNKNOWN : WVU_CREATE_EXEC), "Cause");
}

static void check_destroy(struct nt_actor *actor, const struct wvu_record *record)
{
    const struct wvu_process_destroy *event = (const void *)record;
    FAIL_UNLESS(!atomic_exchange(&actor->ended_seen, true), "told twice");
    check_identity(actor, record, event->eprocess);
    FAIL_UNLESS(event->exit_code == (uint32_t)actor->exit_status, "ExitCode");
}

static void check_image(struct nt_actor *actor, const struct wvu_record *record)
{
    const struct wvu_image_load *event = (const void *)record;
    char text[96];
    uint32_t number = event->signing_level; /* where the script has put it */
    FAIL_UNLESS(number < IMAGES_MAX, "SigningLevel");
    FAIL_UNLESS((atomic_fetch_or(&actor->images_seen, 1u << number) >> number & 1) == 0,
                "told twice");
    check_identity(actor, record, event->eprocess);
    image_name(actor, number, text, sizeof text);
    UNICODE_STRING name = nt_string_of(text);
    check_text(actor, record, WVU_FIELD_INDEX_wvu_image_load_FullImageName, &event->full_image_name,
               number == 3 ? NULL : &name, "FullImageName");
    nt_string_free(&name);
    uintptr_t base = (uintptr_t)actor->image;
    base += number == 1 ? 16 : number == 2 ? IMAGE_BYTES : 0;
    FAIL_UNLESS(event->image_base == base && event->image_size == IMAGE_BYTES, "ImageBase");
    FAIL_UNLESS(event->machine_type == (number == 1 || number == 2 ? 0 : 0x8664), "MachineType");
    FAIL_UNLESS(event->kernel_image == 0 && event->signing_type == 1, "SigningType");
}

static void check_driver_image(struct nt_truth *truth, const struct wvu_record *record)
{
    const struct wvu_image_load *event = (const void *)record;
    truth->drivers_seen++;
    nt_require(event->kernel_image == 1 && event->image_base == 0 && record->process_id == 0 &&
                   event->machine_type == 0x8664,
               "event %llu: a driver's image", (unsigned long long)record->sequence);
}

void nt_truth_on_record(void *context, const struct wvu_record *record)
{
    struct nt_truth *truth = context;
    if (record->type > WVU_EVENT_ProcessDestroy)
        return; /* the sensor's own */
    if (record->type == WVU_EVENT_ImageLoad && record->process_id == 0) {
        truth->seen[record->type]++;
        check_driver_image(truth, record);
        return;
    }
    uint32_t number = (record->process_id - FIRST_ID) / 4;
    pthread_mutex_lock(&truth->lock);
    struct nt_actor *actor =
        record->process_id >= FIRST_ID && number < truth->count ? truth->actors[number] : NULL;
    pthread_mutex_unlock(&truth->lock);
    if (actor == NULL) /* one that ran before: System, a reader */
        return;
    truth->seen[record->type]++;
    FAIL_UNLESS((record->flags & WVU_RECORD_UTF16) != 0, "flags");
    if (record->type == WVU_EVENT_ProcessCreate)
        check_create(actor, record);
    else if (record->type == WVU_EVENT_ProcessDestroy)
        check_destroy(actor, record);
    else
        check_image(actor, record);
}

uint64_t nt_truth_events(const struct nt_truth *truth)
{
    uint64_t sum = 0;
    for (int i = 1; i < 4; i++)
        sum += truth->happened[i];
    return sum;
}

struct comparison {
    struct nt_truth *truth;
    struct nt_stream *stream;
};

static bool is_complete(void *context)
{
    const struct comparison *comparison = context;
    for (int i = 1; i < 4; i++) {
        if (comparison->truth->seen[i] + comparison->stream->lost_by_type[i] <
            comparison->truth->happened[i])
            return false;
    }
    return true;
}

void nt_truth_read(struct nt_truth *truth, struct nt_reader *reader)
{
    struct comparison comparison = {truth, reader->stream};
    (void)nt_reader_until(reader, is_complete, &comparison);
    nt_truth_check(truth, reader->stream);
}

void nt_truth_check(struct nt_truth *truth, const struct nt_stream *stream)
{
    static const char *const names[] = {"", "ImageLoad", "ProcessCreate", "ProcessDestroy"};
    for (int i = 1; i < 4; i++)
        nt_require(truth->seen[i] + stream->lost_by_type[i] == truth->happened[i],
                   "%s: %llu happened, %llu were told and %llu lost", names[i],
                   (unsigned long long)truth->happened[i], (unsigned long long)truth->seen[i],
                   (unsigned long long)stream->lost_by_type[i]);
}
