/*
 * What a record costs to encode as JSON. Beside it, in the same rounds: jansson, which builds an object of the
 * same keys and values and dumps it.
 *
 *     bench_json [ROUNDS [RECORDS]]
 *
 * process create             about 300 bytes of output: only what every ProcessCreate has
 * process create, all fields what the Linux host sends: 750 bytes of output
 * ..., per 300 bytes         the same, divided by its output and multiplied by 300
 *
 * 64 records take turns, with other numbers, programs and arguments each, so that no branch is learnt by
 * heart. That both encoders write the same is checked before: by parsing the output and comparing.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <string.h>

#include "support/message_builder.h"

#ifdef WVU_BENCH_JANSSON
#include <jansson.h>
#endif

#define RECORDS 64u

static struct builder builders[2];
static wvu_message messages[2];
static const struct wvu_record *records[2][RECORDS];
static char output[WVU_JSON_MAX];

/* ---- the records ------------------------------------------------------------------------------------------- */

static const char *const programs[] = {"/usr/bin/python3.11", "/bin/dash", "/usr/bin/git",
                                       "/usr/lib/gcc/x86_64-linux-gnu/12/cc1"};
#define LIST(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal)                                                                   \
    }
static const struct {
    const char *bytes;
    size_t size;
} arguments[] = {
    LIST("python3\0-u\0/opt/tools/collect.py\0--interval=5\0--output\0/var/log/collect.json"),
    LIST("sh\0-c\0test -e /run/lock && echo \"it's there\" > /dev/null; exit 0"),
    LIST("git\0rev-parse\0--show-toplevel"),
    LIST(
        "cc1\0-quiet\0-imultiarch\0x86_64-linux-gnu\0main.c\0-mtune=generic\0-O2\0-o\0/tmp/ccX1.s"),
};

static void add_record(struct builder *builder, uint32_t i, bool all)
{
    struct wvu_process_create *create =
        build_record(builder, WVU_EVENT_ProcessCreate, sizeof *create, 1234500 + i);
    create->record.time += (int64_t)i * 123457;
    create->record.process_id = 23456 + i * 97;
    create->record.process_key = UINT64_C(0x0000b1c57a3e0000) + i * UINT64_C(0x12345) + (23456 + i);
    if (!all)
        return;
    create->record.present =
        WVU_PRESENT(wvu_process_create, ParentProcessId) |
        WVU_PRESENT(wvu_process_create, ParentProcessKey) | WVU_PRESENT(wvu_process_create, Cause) |
        WVU_PRESENT(wvu_process_create, UniqueProcess) |
        WVU_PRESENT(wvu_process_create, UniqueThread) | WVU_PRESENT(wvu_process_create, UserId) |
        WVU_PRESENT(wvu_process_create, GroupId) | WVU_PRESENT(wvu_process_create, SessionId) |
        WVU_PRESENT(wvu_process_create, CgroupId) | WVU_PRESENT(wvu_process_create, PidNamespace) |
        WVU_PRESENT(wvu_process_create, Inode) | WVU_PRESENT(wvu_process_create, ImageFileName) |
        WVU_PRESENT(wvu_process_create, Arguments) |
        WVU_PRESENT(wvu_process_create, WorkingDirectory);
    create->parent_process_id = 1000 + i;
    create->parent_process_key = create->record.process_key - 0x1000;
    create->cause = WVU_CREATE_EXEC;
    create->unique_process = create->parent_process_id;
    create->unique_thread = create->parent_process_id + i % 3;
    create->user_id = i % 4 == 0 ? 0 : 1000;
    create->group_id = create->user_id;
    create->session_id = 77 * i;
    create->cgroup_id = 4242 + i;
    create->pid_namespace = 4026531836;
    create->inode = 131072 + i * 7919;
    build_text(builder, &create->image_file_name, programs[i % 4], strlen(programs[i % 4]));
    build_text(builder, &create->arguments, arguments[i % 4].bytes, arguments[i % 4].size);
    build_text(builder, &create->working_directory, "/home/somebody/work", 19);
}

static void make_records(unsigned set)
{
    build_begin(&builders[set]);
    for (uint32_t i = 0; i < RECORDS; i++)
        add_record(&builders[set], i, set == 1);
    build_end(&builders[set]);
    if (wvu_check_message(builders[set].u.bytes, builders[set].size, &messages[set]) != 0)
        bench_fail("the records are malformed");
    const struct wvu_record *record = NULL;
    for (uint32_t i = 0; i < RECORDS; i++)
        records[set][i] = record = wvu_next(&messages[set], record);
}

/* ---- the encoders -------------------------------------------------------------------------------------------- */

static size_t encode_ours(unsigned set, uint32_t i)
{
    return wvu_json(&messages[set], records[set][i], output, sizeof output);
}

#ifdef WVU_BENCH_JANSSON
static void set_uuid(json_t *object, const char *key, const uint8_t id[16])
{
    static const char digits[] = "0123456789abcdef";
    char text[37];
    char *at = text;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[id[i] >> 4];
        *at++ = digits[id[i] & 15];
    }
    json_object_set_new_nocheck(object, key, json_stringn_nocheck(text, 36));
}

static void set_key(json_t *object, const char *key, uint64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof text, "0x%016llx", (unsigned long long)value);
    json_object_set_new_nocheck(object, key, json_stringn_nocheck(text, (size_t)size));
}

static void set_number(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new_nocheck(object, key, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *key, const struct wvu_record *record,
                     const struct wvu_text *text)
{
    size_t size;
    const char *bytes = wvu_text_bytes(record, text, &size);
    json_object_set_new(object, key, json_stringn(bytes, size)); /* checks its UTF-8, as we do */
}

/* The date does not change within this program; computing it would only make jansson look slower. */
static void set_time(json_t *object, int64_t time)
{
    char text[40];
    uint64_t in_day = (uint64_t)time % UINT64_C(864000000000);
    unsigned second = (unsigned)(in_day / 10000000);
    int size = snprintf(text, sizeof text, "2026-11-22T%02u:%02u:%02u.%07uZ", second / 3600,
                        second / 60 % 60, second % 60, (unsigned)(in_day % 10000000));
    json_object_set_new_nocheck(object, "Timestamp", json_stringn_nocheck(text, (size_t)size));
}

/* The arguments, and a command line with simple quotes: enough for the arguments above. */
static void set_arguments(json_t *object, const struct wvu_process_create *create)
{
    char line[512];
    char *at = line;
    size_t size;
    const char *p = wvu_text_bytes(&create->record, &create->arguments, &size);
    const char *end = p + size;
    json_t *list = json_array();
    while (p < end) {
        size_t length = strlen(p);
        bool quoted = strpbrk(p, " \"'&;>") != NULL;
        json_array_append_new(list, json_stringn(p, length));
        if (at != line)
            *at++ = ' ';
        if (quoted)
            *at++ = '\'';
        for (const char *c = p; *c != '\0'; c++) {
            if (*c == '\'') {
                memcpy(at, "'\\''", 4);
                at += 4;
            } else {
                *at++ = *c;
            }
        }
        if (quoted)
            *at++ = '\'';
        p += length + 1;
    }
    json_object_set_new_nocheck(object, "CommandLine", json_stringn(line, (size_t)(at - line)));
    json_object_set_new_nocheck(object, "Arguments", list);
}

static json_t *object_of(unsigned set, uint32_t i)
{
    const struct wvu_record *record = records[set][i];
    const struct wvu_process_create *create = (const void *)record;
    json_t *object = json_object();
    set_uuid(object, "sensor_id", record->sensor_id);
    json_object_set_new_nocheck(object, "sensor_type", json_string_nocheck("ProcessCreate"));
    set_number(object, "CurrentGMT", (uint64_t)record->time);
    set_uuid(object, "BootId", messages[set].batch->boot_id);
    set_number(object, "Sequence", record->sequence);
    set_time(object, record->time);
    set_number(object, "ProcessId", record->process_id);
    set_key(object, "ProcessKey", record->process_key);
    if (set == 0) {
        json_object_set_new_nocheck(object, "ImageFileName", json_string_nocheck(""));
        json_object_set_new_nocheck(object, "CommandLine", json_string_nocheck(""));
        json_object_set_new_nocheck(object, "Arguments", json_array());
        return object;
    }
    set_number(object, "ParentProcessId", create->parent_process_id);
    set_key(object, "ParentProcessKey", create->parent_process_key);
    json_object_set_new_nocheck(object, "Cause", json_string_nocheck("Exec"));
    set_number(object, "UniqueProcess", create->unique_process);
    set_number(object, "UniqueThread", create->unique_thread);
    set_number(object, "UserId", create->user_id);
    set_number(object, "GroupId", create->group_id);
    set_number(object, "SessionId", create->session_id);
    set_number(object, "CgroupId", create->cgroup_id);
    set_number(object, "PidNamespace", create->pid_namespace);
    set_number(object, "Inode", create->inode);
    set_text(object, "ImageFileName", record, &create->image_file_name);
    set_arguments(object, create);
    set_text(object, "WorkingDirectory", record, &create->working_directory);
    return object;
}

static size_t encode_jansson(unsigned set, uint32_t i)
{
    json_t *object = object_of(set, i);
    size_t size = json_dumpb(object, output, sizeof output, JSON_COMPACT);
    json_decref(object);
    return size;
}

static void check_ours(void)
{
    for (unsigned set = 0; set < 2; set++) {
        for (uint32_t i = 0; i < RECORDS; i++) {
            json_t *expected = object_of(set, i);
            json_t *parsed = json_loadb(output, encode_ours(set, i), JSON_REJECT_DUPLICATES, NULL);
            if (parsed == NULL || !json_equal(parsed, expected))
                bench_fail("the encoders do not write the same");
            json_decref(parsed);
            json_decref(expected);
        }
    }
}
#endif

/* ---- measuring ---------------------------------------------------------------------------------------------------- */

struct kind {
    const char *name;
    size_t (*encode)(unsigned set, uint32_t i);
};

static const struct kind kinds[] = {
    {"winvirtue", encode_ours},
#ifdef WVU_BENCH_JANSSON
    {"jansson", encode_jansson},
#endif
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* The thread's own time: nothing waits here, so what others do on the processor is left out. */
static uint64_t cpu_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Nanoseconds a record. */
static double measure(const struct kind *kind, unsigned set, uint32_t count)
{
    uint64_t begin = cpu_now();
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += kind->encode(set, i % RECORDS);
    uint64_t end = cpu_now();
    if (bytes == 0)
        bench_fail("nothing was written");
    return (double)(end - begin) / count;
}

static double bytes_of(unsigned set)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < RECORDS; i++)
        bytes += encode_ours(set, i);
    return (double)bytes / RECORDS;
}

int main(int argc, char **argv)
{
    static double samples[2][KINDS][BENCH_ROUNDS_MAX];
    static const char *const variants[] = {"process create", "process create, all fields"};
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 51;
    uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20000;
    if (rounds == 0 || rounds > BENCH_ROUNDS_MAX || count == 0)
        bench_fail("usage: bench_json [ROUNDS [RECORDS]]");
    for (unsigned set = 0; set < 2; set++)
        make_records(set);
#ifdef WVU_BENCH_JANSSON
    check_ours();
#endif
    int first;
    int last = 0;
    bench_two_cpus(&first, &last);
    bench_pin(last);
    for (uint32_t round = 0; round < rounds; round++) {
        for (unsigned set = 0; set < 2; set++) {
            for (unsigned k = 0; k < KINDS; k++)
                samples[set][k][round] = measure(&kinds[k], set, k == 0 ? count : count / 10 + 1);
        }
    }
    for (unsigned k = 0; k < KINDS; k++) {
        for (unsigned set = 0; set < 2; set++)
            bench_print("json", kinds[k].name, variants[set], "ns", samples[set][k], rounds);
        double scale = 300 / bytes_of(1);
        for (uint32_t round = 0; round < rounds; round++)
            samples[1][k][round] *= scale;
        bench_print("json", kinds[k].name, "process create, all fields, per 300 bytes", "ns",
                    samples[1][k], rounds);
    }
    for (unsigned set = 0; set < 2; set++) {
        double bytes = bytes_of(set);
        bench_print("json", "output", variants[set], "bytes", &bytes, 1);
    }
    return 0;
}
