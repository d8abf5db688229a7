/*
 * records.c: the kernel's records and our samples, whole and damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "perf_ring.h"
#include "records.h"

static _Alignas(8) uint8_t bytes[65536];

/* ---- mappings -------------------------------------------------------------------------------------- */

struct mapping {
    const char *path;
    uint16_t misc;
    uint32_t trailer; /* bytes after the path */
    uint8_t identity[24];
};

static const struct perf_event_header *build_mapping(const struct mapping *mapping)
{
    struct perf_event_header *header = (struct perf_event_header *)(void *)bytes;
    const uint32_t ids[] = {12, 34};
    const uint64_t range[] = {0x1000, 0x2000, 0x3000};
    uint32_t padded = (uint32_t)(strlen(mapping->path) / 8 + 1) * 8;
    memset(bytes, 0, 8192);
    header->type = PERF_RECORD_MMAP2;
    header->misc = mapping->misc;
    header->size = (uint16_t)(72 + padded + mapping->trailer);
    memcpy(bytes + 8, ids, sizeof ids);
    memcpy(bytes + 16, range, sizeof range);
    memcpy(bytes + 40, mapping->identity, sizeof mapping->identity);
    memcpy(bytes + 72, mapping->path, strlen(mapping->path));
    memset(bytes + 72 + padded, 0xEE, mapping->trailer);
    return header;
}

/* Device 254:1 and inode 77, as the kernel writes them; a build id "0123...". */
#define INODE                                                                                      \
    {                                                                                              \
        254, 0, 0, 0, 1, 0, 0, 0, 77                                                               \
    }
#define BUILD_ID                                                                                   \
    {                                                                                              \
        20, 0, 0, 0, '0', '1', '2', '3'                                                            \
    }

static void a_mapping_with_its_inode(void **state)
{
    (void)state;
    struct wvu_image image;
    const struct mapping mapping = {"/lib/a.so", 0, WVU_TIME_TRAILER, INODE};
    assert_int_equal(wvu_records_mapping(build_mapping(&mapping), &image), WVU_MAPPING_FILE);
    assert_int_equal(image.pid, 12);
    assert_int_equal(image.tid, 34);
    assert_int_equal(image.base, 0x1000);
    assert_int_equal(image.size, 0x2000);
    assert_int_equal(image.file_offset, 0x3000);
    assert_int_equal(image.inode, 77);
    assert_int_equal(image.device_major, 254);
    assert_int_equal(image.device_minor, 1);
    assert_int_equal(image.build_id_size, 0);
    assert_int_equal(image.path_size, 9);
    assert_memory_equal(image.path, "/lib/a.so", 9);
}

static void a_mapping_with_its_build_id(void **state)
{
    (void)state;
    struct wvu_image image;
    const struct mapping mapping = {"/lib/ab", PERF_RECORD_MISC_MMAP_BUILD_ID, WVU_TIME_TRAILER,
                                    BUILD_ID};
    assert_int_equal(wvu_records_mapping(build_mapping(&mapping), &image), WVU_MAPPING_FILE);
    assert_int_equal(image.inode, 0);
    assert_int_equal(image.build_id_size, 20);
    assert_memory_equal(image.build_id, "0123", 4);
    assert_int_equal(image.path_size, 7);
}

/* The kernel leaves the flag set when it goes on to the next event; the trailer tells. */
static void the_flag_of_the_other_event_is_ignored(void **state)
{
    (void)state;
    struct wvu_image image;
    for (size_t length = 1; length < 20; length++) {
        char path[32] = "/";
        memset(path + 1, 'x', length - 1);
        const struct mapping mapping = {path, PERF_RECORD_MISC_MMAP_BUILD_ID, WVU_INODE_TRAILER,
                                        INODE};
        assert_int_equal(wvu_records_mapping(build_mapping(&mapping), &image), WVU_MAPPING_FILE);
        assert_int_equal(image.inode, 77);
        assert_int_equal(image.build_id_size, 0);
    }
}

static void both_halves_make_one(void **state)
{
    (void)state;
    struct wvu_image image;
    const struct mapping inode = {"/lib/a.so", PERF_RECORD_MISC_MMAP_BUILD_ID, WVU_INODE_TRAILER,
                                  INODE};
    const struct mapping build_id = {"/lib/a.so", PERF_RECORD_MISC_MMAP_BUILD_ID, WVU_TIME_TRAILER,
                                     BUILD_ID};
    wvu_records_mapping(build_mapping(&inode), &image);
    assert_true(wvu_records_join(&image, build_mapping(&build_id)));
    assert_int_equal(image.inode, 77);
    assert_int_equal(image.build_id_size, 20);
    wvu_records_mapping(build_mapping(&build_id), &image);
    assert_true(wvu_records_join(&image, build_mapping(&inode)));
    assert_int_equal(image.inode, 77);
    assert_int_equal(image.build_id_size, 20);

    for (uint32_t at = 8; at < 40; at += 4) { /* pid, tid, address, size, offset */
        build_mapping(&inode);
        bytes[at] ^= 1;
        assert_false(wvu_records_join(&image, (const struct perf_event_header *)(void *)bytes));
    }
    struct perf_event_header *header = (struct perf_event_header *)(void *)bytes;
    build_mapping(&inode);
    header->type = PERF_RECORD_SAMPLE;
    assert_false(wvu_records_join(&image, header));
    build_mapping(&inode);
    header->size = 80;
    assert_false(wvu_records_join(&image, header));
}

static void what_is_no_file(void **state)
{
    static const char *const names[] = {"[vdso]",    "//anon",       "[heap]",
                                        "[uprobes]", "anon_inode:x", ""};
    static const char *const files[] = {"/memfd:a (deleted)", "/tmp/x (deleted)", "//toolong"};
    (void)state;
    struct wvu_image image;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct mapping mapping = {names[i], 0, WVU_TIME_TRAILER, INODE};
        assert_int_equal(wvu_records_mapping(build_mapping(&mapping), &image), WVU_MAPPING_NO_FILE);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const struct mapping mapping = {files[i], 0, WVU_TIME_TRAILER, INODE};
        assert_int_equal(wvu_records_mapping(build_mapping(&mapping), &image), WVU_MAPPING_FILE);
        assert_int_equal(image.path_size, strlen(files[i]));
    }
}

static void damaged_mappings(void **state)
{
    (void)state;
    struct wvu_image image;
    const struct mapping mapping = {"/lib/a.so", PERF_RECORD_MISC_MMAP_BUILD_ID, WVU_TIME_TRAILER,
                                    BUILD_ID};
    struct perf_event_header *header = (struct perf_event_header *)(void *)bytes;
    for (uint16_t size = 8; size < 88; size = (uint16_t)(size + 8)) {
        build_mapping(&mapping);
        header->size = size;
        assert_int_equal(wvu_records_mapping(header, &image), WVU_MAPPING_MALFORMED);
    }
    build_mapping(&mapping);
    memset(bytes + 72, '/', header->size - 72u); /* no NUL */
    assert_int_equal(wvu_records_mapping(header, &image), WVU_MAPPING_MALFORMED);
    build_mapping(&mapping);
    bytes[40] = 200; /* a build id longer than there are */
    assert_int_equal(wvu_records_mapping(header, &image), WVU_MAPPING_FILE);
    assert_int_equal(image.build_id_size, 0);
}

/* ---- names and losses -------------------------------------------------------------------------------- */

static void names(void **state)
{
    struct perf_event_header *header = (struct perf_event_header *)(void *)bytes;
    const uint32_t ids[] = {12, 34};
    struct wvu_renamed renamed;
    (void)state;
    memset(bytes, 0, 64);
    header->type = PERF_RECORD_COMM;
    header->misc = PERF_RECORD_MISC_COMM_EXEC;
    header->size = 16 + 16 + WVU_TIME_TRAILER;
    memcpy(bytes + 8, ids, sizeof ids);
    memcpy(bytes + 16, "kworker/0:1", 11);
    assert_true(wvu_records_renamed(header, &renamed));
    assert_int_equal(renamed.pid, 12);
    assert_int_equal(renamed.tid, 34);
    assert_true(renamed.by_exec);
    assert_int_equal(renamed.size, 11);
    memset(bytes + 16, 'x', 16); /* no NUL */
    header->misc = 0;
    assert_true(wvu_records_renamed(header, &renamed));
    assert_false(renamed.by_exec);
    assert_int_equal(renamed.size, 16);
    header->size = 16;
    assert_false(wvu_records_renamed(header, &renamed));
}

static void losses(void **state)
{
    struct perf_event_header *header = (struct perf_event_header *)(void *)bytes;
    uint64_t count = 4711;
    (void)state;
    memset(bytes, 0, 64);
    header->type = PERF_RECORD_LOST;
    header->size = 32;
    memcpy(bytes + 16, &count, sizeof count);
    count = 0;
    assert_true(wvu_records_lost(header, &count));
    assert_int_equal(count, 4711);
    header->size = 24;
    assert_false(wvu_records_lost(header, &count));
}

/* ---- samples ------------------------------------------------------------------------------------------- */

static struct perf_event_header *build_sample(const void *sample, uint32_t size, uint32_t data)
{
    struct perf_event_header *header = (struct perf_event_header *)(void *)bytes;
    uint32_t whole = size + data;
    memset(bytes, 0, 4096);
    header->type = PERF_RECORD_SAMPLE;
    header->size = (uint16_t)((8 + 8 + 4 + whole + 7) / 8 * 8);
    memcpy(bytes + 16, &whole, sizeof whole);
    memcpy(bytes + 20, sample, size);
    return header;
}

static void samples_of_each_kind(void **state)
{
    struct wvu_sample sample;
    (void)state;
    struct wvu_sample_task fork = {.kind = WVU_SAMPLE_FORK, .pid = 5, .key = 6};
    assert_true(wvu_records_sample(build_sample(&fork, sizeof fork, 0), &sample));
    assert_int_equal(sample.kind, WVU_SAMPLE_FORK);
    assert_int_equal(sample.task.key, 6);
    struct wvu_sample_exit exit = {.task.kind = WVU_SAMPLE_EXIT, .status = 9};
    assert_true(wvu_records_sample(build_sample(&exit, sizeof exit, 0), &sample));
    assert_int_equal(sample.exit.status, 9);
    struct wvu_sample_module module = {.kind = WVU_SAMPLE_MODULE, .name = "ext4"};
    assert_true(wvu_records_sample(build_sample(&module, sizeof module, 0), &sample));
    assert_string_equal(sample.module.name, "ext4");
    module.build_id_size = 21;
    assert_false(wvu_records_sample(build_sample(&module, sizeof module, 0), &sample));
    struct wvu_sample_thread thread = {.kind = WVU_SAMPLE_THREAD, .tid = 77, .creator_tid = 5};
    assert_true(wvu_records_sample(build_sample(&thread, sizeof thread, 0), &sample));
    assert_int_equal(sample.thread.tid, 77);
    assert_int_equal(sample.thread.creator_tid, 5);
    assert_false(wvu_records_sample(build_sample(&thread, sizeof thread - 8, 0), &sample));
    thread.kind = WVU_SAMPLE_THREAD_EXIT;
    assert_true(wvu_records_sample(build_sample(&thread, sizeof thread, 0), &sample));
    thread.kind = WVU_SAMPLE_TASK; /* never in a ring */
    assert_false(wvu_records_sample(build_sample(&thread, sizeof thread, 0), &sample));
}

static struct wvu_sample_exec exec_with(uint16_t name, uint16_t directory, uint32_t arguments)
{
    return (struct wvu_sample_exec){
        .task.kind = WVU_SAMPLE_EXEC,
        .file_name_size = name,
        .directory_size = directory,
        .arguments_size = arguments,
        .arguments_head = arguments,
        .arguments_full = arguments,
    };
}

static bool exec_is_taken(struct wvu_sample_exec exec, uint32_t data)
{
    struct wvu_sample sample;
    bool taken = wvu_records_sample(build_sample(&exec, sizeof exec, data), &sample);
    if (taken)
        assert_ptr_equal(sample.data, bytes + 20 + sizeof exec);
    return taken;
}

static void sizes_in_an_exec_are_checked(void **state)
{
    (void)state;
    assert_true(exec_is_taken(exec_with(10, 20, 30), 60));
    assert_true(exec_is_taken(exec_with(10, 20, 30), 61));
    assert_true(exec_is_taken(exec_with(0, 0, 0), 0));
    assert_false(exec_is_taken(exec_with(10, 20, 30), 59));
    assert_false(exec_is_taken(exec_with(0, 0, UINT32_MAX), 100));
    assert_false(exec_is_taken(exec_with(4097, 0, 0), 5000));
    assert_false(exec_is_taken(exec_with(0, WVU_EXEC_DIRECTORY_MAX + 1, 0), 5000));
    struct wvu_sample_exec exec = exec_with(0, 0, 30);
    exec.arguments_head = 31;
    assert_false(exec_is_taken(exec, 60));
    exec.arguments_head = 10;
    exec.arguments_full = 29;
    assert_false(exec_is_taken(exec, 60));
    exec.arguments_full = 1000000;
    assert_true(exec_is_taken(exec, 60));
}

static void damaged_samples(void **state)
{
    struct wvu_sample sample;
    (void)state;
    struct wvu_sample_task task = {.kind = WVU_SAMPLE_FORK};
    struct perf_event_header *header = build_sample(&task, sizeof task, 0);
    for (uint16_t size = 8; size < header->size; size = (uint16_t)(size + 8)) {
        header = build_sample(&task, sizeof task, 0);
        header->size = size;
        assert_false(wvu_records_sample(header, &sample));
    }
    assert_false(wvu_records_sample(build_sample(&task, sizeof task - 8, 0), &sample));
    static const uint32_t kinds[] = {WVU_SAMPLE_NONE, WVU_SAMPLE_TASK, WVU_SAMPLE_KINDS, 0xFFFF};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        task.kind = kinds[i];
        assert_false(wvu_records_sample(build_sample(&task, sizeof task, 100), &sample));
    }
    task.kind = WVU_SAMPLE_EXEC; /* too short for one */
    assert_false(wvu_records_sample(build_sample(&task, sizeof task, 0), &sample));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapping_with_its_inode),
        cmocka_unit_test(a_mapping_with_its_build_id),
        cmocka_unit_test(the_flag_of_the_other_event_is_ignored),
        cmocka_unit_test(both_halves_make_one),
        cmocka_unit_test(what_is_no_file),
        cmocka_unit_test(damaged_mappings),
        cmocka_unit_test(names),
        cmocka_unit_test(losses),
        cmocka_unit_test(samples_of_each_kind),
        cmocka_unit_test(sizes_in_an_exec_are_checked),
        cmocka_unit_test(damaged_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
