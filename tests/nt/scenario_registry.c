/*
 * Registry operations against ground truth: every operation with every field, NULL and faulting names, data
 * of all sizes, failed operations, keys that go while they are worked on, unknown classes; old kernels;
 * altitudes; and storms of operations while the probe is switched and the driver unloads.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "harness.h"
#include "kernel.h"

#define PROBE       "RegistryModification"
#define FAILED      NT_STATUS(0xC0000022)
#define PREDEFINED  NT_STATUS(0x40000016) /* a success, and not STATUS_SUCCESS */
#define REGISTRY    "\\REGISTRY\\MACHINE\\SOFTWARE\\Example"
#define DATA_BYTES  256u
#define FIELD(json) WVU_FIELD_INDEX_wvu_reg_set_value_key_info_##json
#define KEPT_MAX    256u
#define ALL_KINDS   "RegQueryValueKeyInfo=on RegOpenKeyInfo=on"

typedef struct wvu_reg_set_value_key_info registry_event;

/* What an event must tell; a text that is NULL must be absent, a number that is ABSENT too. */
#define ABSENT UINT32_MAX
struct expectation {
    uint16_t type;
    NTSTATUS status;
    const char *key;
    const char *value;
    const char *new_name;
    const void *data;
    uint32_t data_there; /* bytes of data in the event */
    uint32_t data_size;
    uint32_t value_type;
    uint32_t desired, granted, options, disposition, information_class;
    const struct nt_registry_key *object; /* NULL: no Object */
};

static bool is_registry(uint16_t type)
{
    return (type >= WVU_EVENT_RegQueryValueKeyInfo && type <= WVU_EVENT_RegRenameKeyInfo) ||
           type == WVU_EVENT_RegDeleteKeyInfo;
}

/* ---- the event that came last ----------------------------------------------------------------------- */

struct last {
    uint64_t count;
    union {
        registry_event event;
        uint8_t bytes[WVU_RECORD_MAX];
    } at;
};

static void on_record(void *context, const struct wvu_record *record)
{
    struct last *last = context;
    if (!is_registry(record->type))
        return;
    memcpy(&last->at, record, record->size);
    last->count++;
}

struct world {
    struct nt_driver *driver;
    struct nt_process *process; /* who works on the registry */
    struct nt_process *before;
    struct nt_stream stream;
    struct nt_reader reader;
    struct last *last;
    uint64_t wanted;
    struct nt_registry_key *key; /* REGISTRY */
};

static bool has_come(void *context)
{
    const struct world *world = context;
    return world->last->count >= world->wanted;
}

/* The probe's own announcement is behind those of the others: wait for what it does, not for its state. */
static struct world *open_world(const char *path)
{
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 1005}};
    const struct nt_process_plan plan = {.id = 7000, .parent_id = 4, .user = &user};
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL || (world->last = calloc(1, sizeof *world->last)) == NULL)
        abort();
    world->driver = nt_must_load(path);
    world->process = nt_process_new(&plan);
    world->before = nt_become_reader();
    world->stream = (struct nt_stream){.on_record = on_record, .context = world->last};
    nt_must_connect(&world->reader, &world->stream);
    nt_reader_past_start(&world->reader);
    world->key = nt_key_new(REGISTRY);
    return world;
}

static void close_world(struct world *world)
{
    nt_unload(world->driver);
    nt_reader_disconnect(&world->reader);
    (void)nt_attach_to(world->before);
    nt_process_release(world->process);
    nt_key_free(world->key);
    free(world->last);
    free(world);
}

static void operate(struct world *world, const struct nt_key_plan *plan)
{
    struct nt_process *reader = nt_attach_to(world->process);
    nt_key_operate(plan);
    (void)nt_attach_to(reader);
}

/* ---- holding it against what was done ------------------------------------------------------------------ */

#define CHECK(condition, what)                                                                     \
    nt_require(condition, "%s, event type 0x%x: %s", name, expected->type, what)

static void check_text(const struct last *last, const char *name,
                       const struct expectation *expected, unsigned field,
                       const struct wvu_text *text, const char *want, const char *what)
{
    size_t size;
    const WCHAR *units = wvu_text_bytes(&last->at.event.record, text, &size);
    CHECK(wvu_has(&last->at.event.record, field) == (want != NULL), what);
    if (want == NULL)
        return;
    CHECK(size == 2 * strlen(want) && text->full_size == size, what);
    for (size_t i = 0; i < strlen(want); i++)
        CHECK(units[i] == (WCHAR)(unsigned char)want[i], what);
}

static void check_number(const struct last *last, const char *name,
                         const struct expectation *expected, unsigned field, uint32_t value,
                         uint32_t want, const char *what)
{
    CHECK(wvu_has(&last->at.event.record, field) == (want != ABSENT), what);
    CHECK(want == ABSENT || value == want, what);
}

static void check_data(const struct last *last, const char *name,
                       const struct expectation *expected)
{
    const registry_event *event = &last->at.event;
    size_t size;
    const void *bytes = wvu_text_bytes(&event->record, &event->data, &size);
    CHECK(wvu_has(&event->record, FIELD(Data)) == (expected->data != NULL), "Data");
    if (expected->data == NULL)
        return;
    CHECK(size == expected->data_there && event->data.full_size == expected->data_size &&
              event->data.head == size,
          "Data: size");
    CHECK(size == 0 || memcmp(bytes, expected->data, size) == 0, "Data");
    CHECK(((event->record.flags & WVU_RECORD_CUT) != 0) == (size < expected->data_size), "cut");
}

static void check_process(const struct world *world, const char *name,
                          const struct expectation *expected)
{
    const registry_event *event = &world->last->at.event;
    CHECK(event->record.process_id == 7000 &&
              event->record.process_key == nt_process_start_key(world->process),
          "process");
    CHECK(event->eprocess != 0 && event->eprocess != (uintptr_t)nt_process_object(world->process),
          "EProcess");
    CHECK(event->thread_id == nt_self->id, "ThreadId");
    CHECK((event->record.flags & WVU_RECORD_UTF16) != 0, "flags");
    CHECK(wvu_has(&event->record, FIELD(Object)) == (expected->object != NULL), "Object");
    CHECK(expected->object == NULL || event->object != (uintptr_t)nt_key_object(expected->object),
          "Object is an address");
}

static void check_event(const struct world *world, const char *name,
                        const struct expectation *expected)
{
    const struct last *last = world->last;
    const registry_event *event = &last->at.event;
    CHECK(event->record.type == expected->type, "type");
    CHECK(wvu_has(&event->record, FIELD(Status)) && event->status == expected->status, "Status");
    check_process(world, name, expected);
#define TEXT(json, member, want)                                                                   \
    check_text(last, name, expected, FIELD(json), &event->member, expected->want, #json)
    TEXT(KeyName, key_name, key);
    TEXT(ValueName, value_name, value);
    TEXT(NewName, new_name, new_name);
#undef TEXT
#define NUMBER(json, member, want)                                                                 \
    check_number(last, name, expected, FIELD(json), event->member, expected->want, #json)
    NUMBER(Type, type, value_type);
    NUMBER(DataSize, data_size, data_size);
    NUMBER(DesiredAccess, desired_access, desired);
    NUMBER(GrantedAccess, granted_access, granted);
    NUMBER(Options, options, options);
    NUMBER(Disposition, disposition, disposition);
    NUMBER(InformationClass, information_class, information_class);
#undef NUMBER
    check_data(last, name, expected);
}

/* Does it, and waits for the one event about it. */
static void expect(struct world *world, const char *name, const struct nt_key_plan *plan,
                   const struct expectation *expected)
{
    world->wanted = world->last->count + 1;
    operate(world, plan);
    nt_require(nt_reader_until(&world->reader, has_come, world), "%s: no event", name);
    nt_require(world->last->count == world->wanted, "%s: %llu events for one operation", name,
               (unsigned long long)(world->last->count - world->wanted + 1));
    check_event(world, name, expected);
}

/* Most expectations are this and something. */
static struct expectation nothing_but(uint16_t type, NTSTATUS status)
{
    return (struct expectation){.type = type,
                                .status = status,
                                .data_size = ABSENT,
                                .value_type = ABSENT,
                                .desired = ABSENT,
                                .granted = ABSENT,
                                .options = ABSENT,
                                .disposition = ABSENT,
                                .information_class = ABSENT};
}

/* ---- values ------------------------------------------------------------------------------------------------ */

static struct expectation set_expectation(const struct world *world, NTSTATUS status, uint32_t type,
                                          uint32_t size)
{
    struct expectation expected = nothing_but(WVU_EVENT_RegSetValueKeyInfo, status);
    expected.key = REGISTRY;
    expected.value = "Start";
    expected.value_type = type;
    expected.data_size = size;
    expected.object = world->key;
    return expected;
}

static void set_data_of(struct world *world, uint32_t size, bool user)
{
    UNICODE_STRING name = nt_string_of("Start");
    uint8_t *data = user ? nt_user_alloc(size) : malloc(size + 1), *copy = malloc(size + 1);
    if (data == NULL || copy == NULL)
        abort();
    for (uint32_t i = 0; i < size; i++)
        data[i] = copy[i] = (uint8_t)(i * 7 + size);
    struct nt_key_plan plan = {.operation = NT_KEY_SET_VALUE,
                               .key = world->key,
                               .name = &name,
                               .type = REG_BINARY,
                               .data = data,
                               .size = size};
    struct expectation expected = set_expectation(world, STATUS_SUCCESS, REG_BINARY, size);
    expected.data = copy;
    expected.data_there = size < DATA_BYTES ? size : DATA_BYTES;
    expect(world, "set", &plan, &expected);
    plan.status = expected.status = FAILED;
    expect(world, "set, failed", &plan, &expected);
    if (user) { /* the program takes it away while it is being read */
        nt_user_unmap(data);
        expected.data = NULL;
        expect(world, "set, data unmapped", &plan, &expected);
        nt_user_free(data);
    } else {
        free(data);
    }
    free(copy);
    nt_string_free(&name);
}

/* Names that are not what one thinks. */
static void set_odd_names(struct world *world)
{
    uint32_t number = 7;
    UNICODE_STRING empty = {0}, name = nt_string_of("Start");
    struct nt_key_plan plan = {.operation = NT_KEY_SET_VALUE,
                               .key = world->key,
                               .type = REG_DWORD,
                               .data = &number,
                               .size = sizeof number};
    struct expectation expected = set_expectation(world, STATUS_SUCCESS, REG_DWORD, sizeof number);
    expected.data = &number;
    expected.data_there = sizeof number;

    expected.value = NULL;
    expect(world, "set without a name", &plan, &expected);
    plan.name = &empty;
    expected.value = "";
    expect(world, "set the default value", &plan, &expected);
    UNICODE_STRING lie = {.Length = 10, .MaximumLength = 10};
    plan.name = &lie;
    expected.value = NULL;
    expect(world, "set, name without a buffer", &plan, &expected);
    UNICODE_STRING odd = name;
    odd.Length = 9;
    plan.name = &odd;
    expected.value = "Star";
    expect(world, "set, odd length", &plan, &expected);

    /* Before Windows 8 a name may be the program's own memory. */
    UNICODE_STRING *user = nt_user_alloc(sizeof *user);
    WCHAR *text = nt_user_alloc(10);
    memcpy(text, name.Buffer, 10);
    *user = (UNICODE_STRING){.Length = 10, .MaximumLength = 10, .Buffer = text};
    plan.name = user;
    expected.value = "Start";
    expect(world, "set, name in user memory", &plan, &expected);
    nt_user_unmap(text);
    expected.value = NULL;
    expect(world, "set, name unmapped", &plan, &expected);
    nt_user_unmap(user);
    expect(world, "set, string unmapped", &plan, &expected);
    nt_user_free(text);
    nt_user_free(user);

    plan.name = &name;
    expected.value = "Start";
    plan.data = NULL; /* "a pointer to a buffer", and none there */
    expected.data = NULL;
    expect(world, "set, no data", &plan, &expected);
    plan.size = 0;
    expected.data = "";
    expected.data_there = expected.data_size = 0;
    expect(world, "set, nothing", &plan, &expected);
    nt_string_free(&name);
}

/* A path and a name as long as they can be, and data: each keeps its beginning and its end. */
static void set_longest(struct world *world)
{
    WCHAR *units = malloc(65534);
    char *path = malloc(32767 + 1);
    if (units == NULL || path == NULL)
        abort();
    for (uint32_t i = 0; i < 32767; i++) {
        units[i] = (WCHAR)(0x4E00 + i % 0x5000);
        path[i] = (char)('a' + i % 26);
    }
    path[32767] = '\0';
    UNICODE_STRING name = nt_string(units, 65534);
    struct nt_registry_key *key = nt_key_new(path);
    const struct nt_key_plan plan = {.operation = NT_KEY_SET_VALUE,
                                     .key = key,
                                     .name = &name,
                                     .type = REG_BINARY,
                                     .data = units,
                                     .size = 65534};
    const registry_event *event = &world->last->at.event;
    size_t size;
    world->wanted = world->last->count + 1;
    operate(world, &plan);
    nt_require(nt_reader_until(&world->reader, has_come, world), "longest: no event");
    const uint8_t *bytes = wvu_text_bytes(&event->record, &event->value_name, &size);
    nt_require(size > 20000 && event->value_name.full_size == 65534 &&
                   memcmp(bytes, units, event->value_name.head) == 0 &&
                   memcmp(bytes + event->value_name.head,
                          (const uint8_t *)units + 65534 - (size - event->value_name.head),
                          size - event->value_name.head) == 0,
               "longest: ValueName");
    (void)wvu_text_bytes(&event->record, &event->key_name, &size);
    nt_require(size > 20000 && event->key_name.full_size == 65534, "longest: KeyName");
    (void)wvu_text_bytes(&event->record, &event->data, &size);
    nt_require(size == DATA_BYTES && event->data_size == 65534, "longest: Data");
    nt_key_free(key);
    nt_string_free(&name);
    free(units);
    free(path);
}

static void values(struct world *world)
{
    static const uint32_t sizes[] = {1, 4, 255, 256, 257, 65536, 4u << 20};
    for (size_t i = 0; i < NT_ARRAY(sizes); i++) {
        set_data_of(world, sizes[i], false);
        set_data_of(world, sizes[i], true);
    }
    set_odd_names(world);
    set_longest(world);

    UNICODE_STRING name = nt_string_of("Start");
    struct nt_key_plan plan = {.operation = NT_KEY_DELETE_VALUE, .key = world->key, .name = &name};
    struct expectation expected = nothing_but(WVU_EVENT_RegDeleteValueKeyInfo, STATUS_SUCCESS);
    expected.key = REGISTRY;
    expected.value = "Start";
    expected.object = world->key;
    expect(world, "delete value", &plan, &expected);
    plan.status = expected.status = STATUS_OBJECT_NAME_NOT_FOUND;
    expect(world, "delete value, failed", &plan, &expected);
    nt_key_set_deleted(world->key); /* by another thread: the path cannot be had any more */
    expected.key = NULL;
    expect(world, "delete value of a deleted key", &plan, &expected);
    nt_key_free(world->key);
    world->key = nt_key_new(REGISTRY);
    nt_string_free(&name);
}

/* ---- keys ----------------------------------------------------------------------------------------------------- */

static void deletes(struct world *world)
{
    struct nt_registry_key *key = nt_key_new(REGISTRY "\\Gone");
    struct nt_key_plan plan = {.operation = NT_KEY_DELETE, .key = key, .status = FAILED};
    struct expectation expected = nothing_but(WVU_EVENT_RegDeleteKeyInfo, FAILED);
    expected.key = REGISTRY "\\Gone";
    expected.object = key;
    expect(world, "delete key, failed", &plan, &expected);
    plan.status = expected.status = STATUS_SUCCESS;
    expect(world, "delete key", &plan, &expected);
    plan.status = expected.status = FAILED; /* it is gone before the pre-notification */
    expected.key = NULL;
    expect(world, "delete a deleted key", &plan, &expected);
    nt_key_free(key);
}

static void renames(struct world *world)
{
    struct nt_registry_key *key = nt_key_new(REGISTRY "\\Old");
    UNICODE_STRING name = nt_string_of("New");
    struct nt_key_plan plan = {.operation = NT_KEY_RENAME,
                               .key = key,
                               .name = &name,
                               .new_path = REGISTRY "\\New",
                               .status = FAILED};
    struct expectation expected = nothing_but(WVU_EVENT_RegRenameKeyInfo, FAILED);
    expected.key = REGISTRY "\\Old";
    expected.new_name = "New";
    expected.object = key;
    expect(world, "rename, failed", &plan, &expected);
    plan.status = expected.status = STATUS_SUCCESS;
    expect(world, "rename", &plan, &expected);
    expected.key = REGISTRY "\\New";
    expect(world, "rename again", &plan, &expected);
    plan.name = NULL;
    expected.new_name = NULL;
    expect(world, "rename without a name", &plan, &expected);
    nt_key_free(key);
    nt_string_free(&name);
}

static void create_or_open(struct world *world, bool create)
{
    struct nt_registry_key *result = nt_key_new(REGISTRY "\\Sub");
    UNICODE_STRING relative = nt_string_of("Sub"), empty = nt_string(NULL, 0);
    UNICODE_STRING absolute = nt_string_of("\\Registry\\Machine\\Software\\Example\\Sub");
    uint32_t *disposition = nt_user_alloc(sizeof *disposition);
    struct nt_key_plan plan = {.operation = create ? NT_KEY_CREATE : NT_KEY_OPEN,
                               .key = world->key,
                               .result = result,
                               .name = &relative,
                               .desired_access = 0x2001F,
                               .granted_access = 0x20019,
                               .options = 4};
    struct expectation expected =
        nothing_but(create ? WVU_EVENT_RegCreateKeyInfo : WVU_EVENT_RegOpenKeyInfo, STATUS_SUCCESS);
    expected.key = REGISTRY "\\Sub";
    expected.desired = 0x2001F;
    expected.granted = 0x20019;
    expected.options = 4;
    expected.object = result;
    expect(world, "no disposition", &plan, &expected);
    if (create) {
        plan.disposition = disposition;
        for (uint32_t i = 0; i < 4; i++) {
            *disposition = i;
            expected.disposition = i == 1 || i == 2 ? i : ABSENT;
            expect(world, "disposition", &plan, &expected);
        }
        nt_user_unmap(disposition);
        expect(world, "disposition unmapped", &plan, &expected);
    }
    plan.name = &absolute;
    expect(world, "absolute", &plan, &expected);

    expected.object = NULL;
    expected.granted = ABSENT;
    plan.status = expected.status = PREDEFINED;
    expected.key = "\\Registry\\Machine\\Software\\Example\\Sub";
    expect(world, "success but not STATUS_SUCCESS", &plan, &expected);
    plan.status = expected.status = FAILED;
    expect(world, "absolute, failed", &plan, &expected);
    plan.name = &relative;
    expected.key = REGISTRY "\\Sub";
    expect(world, "relative, failed", &plan, &expected);
    plan.name = &empty;
    expected.key = REGISTRY;
    expect(world, "the root itself, failed", &plan, &expected);
    plan.name = NULL;
    expected.key = NULL;
    expect(world, "no name, failed", &plan, &expected);
    plan.name = &relative;
    plan.key = NULL;
    expect(world, "no root, failed", &plan, &expected);
    nt_key_free(result);
    nt_string_free(&relative);
    nt_string_free(&absolute);
    nt_string_free(&empty);
    nt_user_free(disposition);
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

enum { BASIC, FULL, PARTIAL, FULL_ALIGNED, PARTIAL_ALIGNED, LATER };

static struct expectation query_expectation(const struct world *world, uint32_t class)
{
    struct expectation expected = nothing_but(WVU_EVENT_RegQueryValueKeyInfo, STATUS_SUCCESS);
    expected.key = REGISTRY;
    expected.value = "Start";
    expected.object = world->key;
    expected.information_class = class;
    return expected;
}

/* The answer in the form of `class`, in user memory: type 3, 8 bytes of data. */
static void write_answer(uint32_t *answer, uint32_t class)
{
    static const uint32_t basic[] = {0, 3, 0}, full[] = {0, 3, 20, 8, 0, 0x44332211, 0x88776655},
                          partial[] = {0, 3, 8, 0x44332211, 0x88776655},
                          aligned[] = {3, 8, 0x44332211, 0x88776655};
    if (class == BASIC || class == LATER)
        memcpy(answer, basic, sizeof basic);
    else if (class == PARTIAL)
        memcpy(answer, partial, sizeof partial);
    else if (class == PARTIAL_ALIGNED)
        memcpy(answer, aligned, sizeof aligned);
    else
        memcpy(answer, full, sizeof full);
}

static void query(struct world *world, uint32_t class)
{
    static const uint8_t data[] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
    UNICODE_STRING name = nt_string_of("Start");
    uint32_t size = class == PARTIAL ? 20 : class == PARTIAL_ALIGNED ? 16 : 28;
    uint32_t *answer = nt_user_alloc(28);
    uint8_t *at = (uint8_t *)answer + 28 - size; /* ends at an unmapped page */
    struct nt_key_plan plan = {.operation = NT_KEY_QUERY_VALUE,
                               .key = world->key,
                               .name = &name,
                               .type = class,
                               .data = at,
                               .size = size};
    struct expectation expected = query_expectation(world, class);
    write_answer((uint32_t *)(void *)at, class);
    expected.value_type = class != LATER ? 3 : ABSENT;
    if (class != BASIC && class != LATER) {
        expected.data = data;
        expected.data_there = expected.data_size = 8;
    }
    expect(world, "query", &plan, &expected);
    if (expected.data != NULL) { /* there was room for a part of it */
        plan.status = expected.status = STATUS_BUFFER_OVERFLOW;
        ((uint32_t *)(void *)at)[class == PARTIAL_ALIGNED ? 1 : class == PARTIAL ? 2 : 3] = 1000;
        expected.data_size = 1000;
        expect(world, "query, overflow", &plan, &expected);
        if (class == FULL) { /* numbers that lead out of the buffer */
            ((uint32_t *)(void *)at)[2] = 0xFFFFFFF0;
            expected.data = NULL;
            expect(world, "query, wild offset", &plan, &expected);
        }
    }
    struct expectation failed = query_expectation(world, class);
    plan.status = failed.status = STATUS_BUFFER_TOO_SMALL;
    expect(world, "query, failed", &plan, &failed);
    plan.status = failed.status = STATUS_SUCCESS;
    plan.size = 3; /* no room for anything */
    expect(world, "query, tiny", &plan, &failed);
    plan.size = size;
    nt_user_unmap(answer);
    expect(world, "query, unmapped", &plan, &failed);
    nt_user_free(answer);
    nt_string_free(&name);
}

/* ---- scenarios ---------------------------------------------------------------------------------------------------- */

/* Every class that is not an operation, those that do not exist, and NULL: nothing is looked at. */
static void other_classes(struct world *world)
{
    static const uint32_t known[] = {0, 4, 15, 16, 17, 19, 23, 27, 29};
    void *nowhere = (void *)UINT64_C(0xFFFFDEADBEEF0000);
    uint64_t count = world->last->count;
    for (uint32_t class = 0; class < 300; class ++) {
        bool is_known = false;
        for (size_t i = 0; i < NT_ARRAY(known); i++)
            is_known = is_known || known[i] == class;
        nt_key_notify(class, is_known ? NULL : nowhere);
    }
    nt_key_notify(0x7FFFFFFF, nowhere);
    nt_key_notify(UINT32_MAX, nowhere);
    deletes(world); /* its events are the next ones */
    nt_require(world->last->count == count + 3, "classes that are no operation made events");
}

static void reads_are_quiet(struct world *world)
{
    UNICODE_STRING name = nt_string_of("Sub");
    uint64_t count = world->last->count;
    struct nt_key_plan plan = {.operation = NT_KEY_OPEN,
                               .key = world->key,
                               .name = &name,
                               .status = STATUS_OBJECT_NAME_NOT_FOUND};
    operate(world, &plan);
    plan.operation = NT_KEY_QUERY_VALUE;
    operate(world, &plan);
    deletes(world);
    nt_require(world->last->count == count + 3, "reads were reported although they are off");
    nt_string_free(&name);
}

static void operations(const char *path, uint32_t scale)
{
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "QueueBytes", 16 << 20);
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 10000);
    struct world *world = open_world(path);
    (void)scale;
    reads_are_quiet(world);
    values(world);
    deletes(world);
    renames(world);
    create_or_open(world, true);
    other_classes(world);
    close_world(world);
}

static void reads(const char *path, uint32_t scale)
{
    nt_quick_parameters();
    struct world *world = open_world(path);
    (void)scale;
    nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, PROBE, ALL_KINDS);
    create_or_open(world, false);
    for (uint32_t class = BASIC; class <= LATER; class ++)
        query(world, class);
    close_world(world);
}

static void data_bytes(const char *path, uint32_t scale)
{
    static const struct {
        const char *text;
        uint32_t there;
    } settings[] = {{"data-bytes=0", 0}, {"data-bytes=1", 1}, {"data-bytes=4096", 4096}};
    uint8_t data[5000] = {1, 2, 3};
    UNICODE_STRING name = nt_string_of("Start");
    struct world *world;
    (void)scale;
    nt_quick_parameters();
    world = open_world(path);
    const struct nt_key_plan plan = {.operation = NT_KEY_SET_VALUE,
                                     .key = world->key,
                                     .name = &name,
                                     .type = REG_BINARY,
                                     .data = data,
                                     .size = sizeof data};
    for (size_t i = 0; i < NT_ARRAY(settings); i++) {
        nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, PROBE, settings[i].text);
        struct expectation expected = set_expectation(world, 0, REG_BINARY, sizeof data);
        expected.data = settings[i].there != 0 ? data : NULL;
        expected.data_there = settings[i].there;
        expect(world, settings[i].text, &plan, &expected);
    }
    wvu_status status =
        nt_control(WVU_COMMAND_CONFIGURE_PROBE, PROBE, "data-bytes=4097", NULL, 0, NULL);
    nt_require(status == WVU_STATUS_INVALID_PARAMETER, "data-bytes=4097: 0x%08x", (unsigned)status);
    close_world(world);
    nt_string_free(&name);
}

/* Kernels that lack the newer routines: paths by the older one; no path at all; no probe at all. */
static void old_kernels(const char *path, uint32_t scale)
{
    UNICODE_STRING name = nt_string_of("New");
    (void)scale;
    nt_quick_parameters();
    nt_hide_routine("CmCallbackGetKeyObjectIDEx");
    struct world *world = open_world(path);
    struct nt_registry_key *key = nt_key_new(REGISTRY "\\Old");
    struct nt_key_plan plan = {
        .operation = NT_KEY_RENAME, .key = key, .name = &name, .new_path = REGISTRY "\\New"};
    struct expectation expected = nothing_but(WVU_EVENT_RegRenameKeyInfo, STATUS_SUCCESS);
    expected.key = REGISTRY "\\Old";
    expected.new_name = "New";
    expected.object = key;
    expect(world, "rename", &plan, &expected);
    close_world(world);
    nt_key_free(key);

    nt_hide_routine("CmCallbackGetKeyObjectID");
    world = open_world(path);
    plan.key = world->key;
    expected.object = world->key;
    expected.key = NULL;
    expect(world, "rename", &plan, &expected);
    close_world(world);

    nt_hide_routine("CmRegisterCallbackEx");
    nt_log_clear();
    world = open_world(path);
    nt_require(!nt_registry_callback_registered() && nt_log_contains("CmRegisterCallbackEx") &&
                   nt_process_callback_registered(),
               "without CmRegisterCallbackEx the other probes run, and the log says why this one "
               "does not");
    close_world(world);
    nt_hide_routine(NULL);
    nt_string_free(&name);
}

static void altitudes(const char *path, uint32_t scale)
{
    static const char instance[] = NT_SERVICE_KEY "\\Instances\\WinVirtUE Instance";
    char altitude[40];
    (void)scale;
    nt_quick_parameters();
    struct nt_driver *driver = nt_must_load(path);
    nt_registry_altitude(altitude, sizeof altitude);
    nt_require(strcmp(altitude, "360000") == 0, "without one in the registry: %s", altitude);
    nt_unload(driver);
    nt_registry_set_text(instance, "Altitude", "361234.5");
    driver = nt_must_load(path);
    nt_registry_altitude(altitude, sizeof altitude);
    nt_require(strcmp(altitude, "361234.5") == 0, "the registry's: %s", altitude);
    nt_unload(driver);
    nt_take_registry_altitude("361234.5");
    nt_log_clear();
    driver = nt_must_load(path);
    nt_require(!nt_registry_callback_registered() && nt_log_contains("altitude") &&
                   nt_process_callback_registered(),
               "an altitude that is taken: the others run, and the log says it");
    nt_unload(driver);
    nt_take_registry_altitude(NULL);
}

/* ---- post-notifications that never come -------------------------------------------------------------------------- */

static void delete_without_post(struct world *world, struct nt_registry_key *key)
{
    const struct nt_key_plan plan = {
        .operation = NT_KEY_DELETE, .key = key, .status = FAILED, .no_post = true};
    operate(world, &plan);
}

/* Each keeps a path. When all places are taken, deleting goes on and its event has no path; the places are
 * given back after a while, and at the end. */
static void lost_posts(const char *path, uint32_t scale)
{
    (void)scale;
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 600000); /* time is made to pass */
    struct world *world = open_world(path);
    struct nt_registry_key *key = nt_key_new(REGISTRY "\\Kept");
    struct nt_key_plan plan = {.operation = NT_KEY_DELETE, .key = key};
    struct expectation expected = nothing_but(WVU_EVENT_RegDeleteKeyInfo, STATUS_SUCCESS);
    expected.key = REGISTRY "\\Kept";
    expected.object = key;
    for (uint32_t i = 0; i < KEPT_MAX - 1; i++)
        delete_without_post(world, key);
    expect(world, "the last place", &plan, &expected);
    nt_key_free(key);
    plan.key = key = nt_key_new(REGISTRY "\\Kept");
    expected.object = key;
    delete_without_post(world, key);
    expected.key = NULL;
    expect(world, "no place", &plan, &expected);
    nt_key_free(key);

    plan.key = key = nt_key_new(REGISTRY "\\Kept");
    expected.object = key;
    expected.key = REGISTRY "\\Kept";
    nt_advance_uptime(UINT64_C(61000000000));
    expect(world, "an abandoned place", &plan, &expected);
    nt_key_free(key);
    close_world(world);
}

/* While one operation takes very long, all places are taken, and its own is given to another. */
static void take_all_places(void *context)
{
    struct world *world = context;
    struct nt_registry_key *key = nt_key_new(REGISTRY "\\Other");
    for (uint32_t i = 0; i < KEPT_MAX - 1; i++)
        delete_without_post(world, key);
    nt_advance_uptime(UINT64_C(61000000000));
    delete_without_post(world, key);
    nt_key_free(key);
}

static void late_post(const char *path, uint32_t scale)
{
    (void)scale;
    nt_quick_parameters();
    nt_registry_set_number(NT_PARAMETERS, "SendTimeoutMs", 600000); /* time is made to pass */
    struct world *world = open_world(path);
    struct nt_registry_key *key = nt_key_new(REGISTRY "\\Late");
    const struct nt_key_plan plan = {
        .operation = NT_KEY_DELETE, .key = key, .meanwhile = take_all_places, .context = world};
    struct expectation expected = nothing_but(WVU_EVENT_RegDeleteKeyInfo, STATUS_SUCCESS);
    expected.object = key; /* and no path, above all not another key's */
    expect(world, "a place that was given to another", &plan, &expected);
    nt_key_free(key);
    close_world(world);
}

/* The probe is stopped and started between pre- and post-notification: what the new one gets is not its own. */
static void restart_probe(void *context)
{
    (void)context;
    struct nt_process *before = nt_become_reader();
    nt_must_control(WVU_COMMAND_DISABLE_PROBE, PROBE, NULL);
    nt_must_control(WVU_COMMAND_ENABLE_PROBE, PROBE, NULL);
    (void)nt_attach_to(before);
}

static void restart_between(const char *path, uint32_t scale)
{
    nt_quick_parameters();
    struct world *world = open_world(path);
    for (uint32_t i = 0; i < scale; i++) {
        struct nt_registry_key *key = nt_key_new(REGISTRY "\\Gone");
        const struct nt_key_plan plan = {
            .operation = NT_KEY_DELETE, .key = key, .meanwhile = restart_probe};
        struct expectation expected = nothing_but(WVU_EVENT_RegDeleteKeyInfo, STATUS_SUCCESS);
        expected.object = key; /* and no path: the probe that knew it is gone */
        expect(world, "restart", &plan, &expected);
        nt_key_free(key);
    }
    close_world(world);
}

/* ---- storms ----------------------------------------------------------------------------------------------------------- */

#define WORKERS 4

struct storm {
    atomic_bool stop;
    atomic_ullong operations;
    uint32_t number; /* of each worker: at most so many; 0: until stopped */
};

static void work_once(struct nt_registry_key *key, const UNICODE_STRING *name, uint32_t i)
{
    uint32_t data = i, disposition = 1;
    struct nt_registry_key *other = nt_key_new(REGISTRY "\\Other");
    const struct nt_key_plan plans[] = {
        {.operation = NT_KEY_SET_VALUE,
         .key = key,
         .name = name,
         .type = REG_DWORD,
         .data = &data,
         .size = 4},
        {.operation = NT_KEY_OPEN, .key = key, .name = name, .status = FAILED},
        {.operation = NT_KEY_CREATE,
         .key = key,
         .result = other,
         .name = name,
         .disposition = &disposition},
        {.operation = NT_KEY_RENAME, .key = other, .name = name, .new_path = REGISTRY "\\New"},
        {.operation = NT_KEY_DELETE, .key = other, .no_post = i % 64 == 0},
    };
    for (size_t k = 0; k < NT_ARRAY(plans); k++)
        nt_key_operate(&plans[k]);
    nt_key_free(other);
}

static void work(void *context)
{
    struct storm *storm = context;
    struct nt_registry_key *key = nt_key_new(REGISTRY);
    UNICODE_STRING name = nt_string_of("Name");
    for (uint32_t i = 0; !storm->stop && (storm->number == 0 || i < storm->number); i++) {
        work_once(key, &name, i);
        storm->operations += 5;
    }
    nt_string_free(&name);
    nt_key_free(key);
}

static void start_workers(struct storm *storm, struct nt_runner **runners)
{
    for (int i = 0; i < WORKERS; i++)
        runners[i] = nt_run_thread("registry", NULL, work, storm);
}

static void join_workers(struct nt_runner **runners)
{
    for (int i = 0; i < WORKERS; i++)
        nt_join_thread(runners[i]);
}

/* The probe is switched all the time, and the driver unloads in the middle of it. */
static void toggled(const char *path, uint32_t scale)
{
    nt_quick_parameters();
    for (uint32_t round = 0; round < scale; round++) {
        struct storm storm = {.number = 0};
        struct nt_stream stream = {0};
        struct nt_runner *runners[WORKERS];
        struct nt_driver *driver = nt_must_load(path);
        struct nt_reader_thread *reader = nt_reader_thread_start(&stream);
        struct nt_process *before = nt_become_reader();
        start_workers(&storm, runners);
        for (uint32_t i = 0; i < 20; i++) {
            nt_must_control(i % 2 == 0 ? WVU_COMMAND_DISABLE_PROBE : WVU_COMMAND_ENABLE_PROBE,
                            PROBE, NULL);
            nt_must_control(WVU_COMMAND_CONFIGURE_PROBE, PROBE,
                            i % 3 == 0 ? "RegOpenKeyInfo=on" : "RegOpenKeyInfo=off");
        }
        nt_unload(driver);
        storm.stop = true;
        join_workers(runners);
        nt_reader_thread_stop(reader);
        (void)nt_attach_to(before);
        nt_require(stream.records != 0 && stream.stopped, "no SensorStop came");
    }
}

/* Far more registry events than the queue holds, while nobody reads, and some processes among them: of the
 * processes not one is lost. */
struct processes {
    uint32_t creates, destroys;
};

static void count_processes(void *context, const struct wvu_record *record)
{
    struct processes *processes = context;
    if (record->process_id < 20000)
        return;
    processes->creates += record->type == WVU_EVENT_ProcessCreate;
    processes->destroys += record->type == WVU_EVENT_ProcessDestroy;
}

#define PROCESSES 500u

static void make_processes(void)
{
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1, 2, 3, 1006}};
    UNICODE_STRING image = nt_string_of("\\??\\C:\\Windows\\System32\\cmd.exe");
    for (uint32_t i = 0; i < PROCESSES; i++) {
        const struct nt_process_plan plan = {
            .id = 20000 + 4 * i, .parent_id = 4, .user = &user, .image_file_name = &image};
        struct nt_process *process = nt_process_new(&plan);
        nt_process_announce(process, NULL);
        nt_process_exit(process, 0);
        nt_process_release(process);
    }
    nt_string_free(&image);
}

static bool all_came(void *context)
{
    const struct processes *processes = context;
    return processes->creates >= PROCESSES && processes->destroys >= PROCESSES;
}

static void flood(const char *path, uint32_t scale)
{
    struct storm storm = {.number = scale / 5 / WORKERS};
    struct processes processes = {0};
    struct nt_stream stream = {.on_record = count_processes, .context = &processes};
    struct nt_reader reader;
    struct nt_runner *runners[WORKERS];
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *before = nt_become_reader();
    start_workers(&storm, runners);
    make_processes();
    join_workers(runners);
    nt_must_connect(&reader, &stream);
    (void)nt_reader_until(&reader, all_came, &processes);
    nt_require(processes.creates == PROCESSES && processes.destroys == PROCESSES,
               "of %u processes %u starts and %u ends came through %llu registry operations",
               PROCESSES, processes.creates, processes.destroys,
               (unsigned long long)storm.operations);
    nt_require(stream.lost > 1000, "the queue did not even overflow");
    nt_require(stream.lost_by_type[WVU_EVENT_ProcessCreate] == 0 &&
                   stream.lost_by_type[WVU_EVENT_ProcessDestroy] == 0,
               "process events were lost");
    nt_unload(driver);
    nt_reader_disconnect(&reader);
    (void)nt_attach_to(before);
}

/* ---- failures ------------------------------------------------------------------------------------------------------------ */

/* Each call on the way of an event fails in turn: the event comes all the same, with or without its path. */
static void failures(const char *path, uint32_t scale)
{
    nt_quick_parameters();
    struct world *world = open_world(path);
    UNICODE_STRING name = nt_string_of("Start");
    const char *routine;
    uint64_t n = 0;
    do {
        struct nt_registry_key *key = nt_key_new(REGISTRY "\\Gone");
        const struct nt_key_plan create = {
            .operation = NT_KEY_CREATE, .key = world->key, .result = key, .name = &name};
        const struct nt_key_plan delete = {.operation = NT_KEY_DELETE, .key = key};
        world->wanted = world->last->count + 2;
        nt_fail_call(++n);
        operate(world, &create);
        operate(world, &delete);
        routine = nt_failed_routine();
        nt_fail_call(0);
        (void)nt_reader_until(&world->reader, has_come, world);
        if (nt_disconnected(world->reader.client)) { /* a send failed: readers connect again */
            nt_reader_disconnect(&world->reader);
            nt_must_connect(&world->reader, &world->stream);
        }
        nt_require(nt_reader_until(&world->reader, has_come, world), "%s failed: no event",
                   routine != NULL ? routine : "nothing");
        nt_key_free(key);
    } while (routine != NULL && n < scale);
    nt_require(routine == NULL && n > 2, "%llu calls is not to be believed", (unsigned long long)n);
    close_world(world);
    nt_string_free(&name);
}

/* ---- cost ------------------------------------------------------------------------------------------------- */

static void set_value(struct nt_registry_key *key, const UNICODE_STRING *name, uint8_t *data)
{
    const struct nt_key_plan plan = {.operation = NT_KEY_SET_VALUE,
                                     .key = key,
                                     .name = name,
                                     .type = REG_BINARY,
                                     .data = data,
                                     .size = DATA_BYTES};
    nt_key_operate(&plan);
}

static void open_key(struct nt_registry_key *key, const UNICODE_STRING *name)
{
    const struct nt_key_plan plan = {
        .operation = NT_KEY_OPEN, .key = key, .result = key, .name = name};
    nt_key_operate(&plan);
}

static void cost(const char *path, uint32_t scale)
{
    uint8_t data[DATA_BYTES] = {1};
    UNICODE_STRING name = nt_string_of("Start");
    struct nt_driver *driver = nt_must_load(path);
    struct nt_registry_key *key = nt_key_new(REGISTRY);
    (void)scale;
    set_value(key, &name, data); /* once before */
    nt_cost_begin();
    set_value(key, &name, data);
    struct nt_cost set = nt_cost_end();
    nt_cost_begin();
    open_key(key, &name);
    struct nt_cost off = nt_cost_end();
    printf("set a value, %u bytes of data    %6llu instructions in the driver, %llu calls of the "
           "kernel\n"
           "open a key, which is off        %6llu instructions in the driver, %llu calls of the "
           "kernel\n",
           DATA_BYTES, (unsigned long long)set.driver, (unsigned long long)set.calls,
           (unsigned long long)off.driver, (unsigned long long)off.calls);
    nt_require(set.driver > 100 && set.driver < 10000, "setting a value costs too much");
    nt_require(off.driver < 100 && off.calls == 0, "what is off costs something");
    nt_key_free(key);
    nt_unload(driver);
    nt_string_free(&name);
}

/* The same again and again, for callgrind.py. */
static void sets(const char *path, uint32_t scale)
{
    uint8_t data[DATA_BYTES] = {1};
    UNICODE_STRING name = nt_string_of("Start");
    struct nt_driver *driver = nt_must_load(path);
    struct nt_registry_key *key = nt_key_new(REGISTRY);
    for (uint32_t i = 0; i < scale; i++)
        set_value(key, &name, data);
    nt_print_image(driver);
    nt_key_free(key);
    nt_unload(driver);
    nt_string_free(&name);
}

static const struct scenario scenarios[] = {
    {"registry", operations, 1, 60,
     "every registry operation that is reported, each field checked"},
    {"registry-reads", reads, 1, 60, "opened keys and read values, when they are switched on"},
    {"registry-data", data_bytes, 1, 60, "how much of a value's data an event has"},
    {"registry-old", old_kernels, 1, 60, "kernels that lack routines of the configuration manager"},
    {"registry-altitude", altitudes, 1, 60, "the altitude is the registry's; one that is taken"},
    {"registry-no-post", lost_posts, 1, 60, "post-notifications that never come"},
    {"registry-late-post", late_post, 1, 60, "a post-notification that comes too late"},
    {"registry-restart", restart_between, 20, 60, "the probe restarts in the middle of operations"},
    {"registry-toggled", toggled, 5, 120, "operations on many threads while the probe is switched"},
    {"registry-flood", flood, 200000, 280,
     "registry events by the 100,000: no process event is lost"},
    {"registry-failures", failures, 1000, 60, "each call on the way of a registry event fails"},
    {"registry-cost", cost, 1, 30, "what registry operations cost, in instructions"},
    {"registry-sets", sets, 1000, 300, "the same value set again and again (for callgrind.py)"},
};
const struct scenario_table nt_registry_scenarios = NT_SCENARIOS(scenarios);
