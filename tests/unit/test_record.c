/*
 * record.c: where texts stand, and how they are cut when they do not fit. Besides cases by hand, random
 * plans are checked for what must hold of every plan.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record.h"

#define FIXED ((uint16_t)sizeof(struct wvu_process_create))

static struct wvu_text_source whole(uint32_t member, uint16_t unit, uint32_t size,
                                    const void *bytes)
{
    return (struct wvu_text_source){.member = (uint16_t)member,
                                    .unit = unit,
                                    .size = size,
                                    .head = size,
                                    .full_size = size,
                                    .bytes = bytes};
}

static uint16_t member(uint32_t index)
{
    return (uint16_t)(offsetof(struct wvu_process_create, image_file_name) +
                      index * sizeof(struct wvu_text));
}

/* ---- the table of event types ------------------------------------------------------------------------- */

static void every_event_type_has_its_index(void **state)
{
    uint32_t expected = 1;

    (void)state;
#define WVU_EVENT(number, name, structure, description)                                            \
    assert_int_equal(wvu_event_index(number), expected);                                           \
    assert_int_equal(wvu_event_type_at(expected), number);                                         \
    expected++;
#include "winvirtue/events.def"
    assert_true(expected <= WVU_EVENT_KINDS);
    assert_int_equal(wvu_event_type_at(expected), 0);
}

static void unknown_types_have_index_0(void **state)
{
    (void)state;
    assert_int_equal(wvu_event_index(0), 0);
    assert_int_equal(wvu_event_index(0x7777), 0);
    assert_int_equal(wvu_event_type_at(0), 0);
    assert_int_equal(wvu_event_type_at(1000), 0);
}

/* ---- plans by hand ----------------------------------------------------------------------------------------- */

static void without_texts_there_is_the_fixed_part(void **state)
{
    struct wvu_record_plan plan;

    (void)state;
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, 96, NULL, 0);
    assert_int_equal(plan.size, 96);
    assert_int_equal(plan.fixed_size, 96);
    assert_int_equal(plan.type, WVU_EVENT_ProcessDestroy);
    assert_false(plan.cut);
    wvu_record_plan(&plan, WVU_EVENT_ProcessDestroy, 92, NULL, 0);
    assert_int_equal(plan.size, 96);
    assert_int_equal(plan.fixed_size, 92);
}

static void texts_follow_each_other(void **state)
{
    const struct wvu_text_source texts[] = {
        whole(member(0), 1, 5, "12345"),
        whole(member(1), 2, 4, "a\0b\0"), /* after an odd one: on an even offset */
        whole(member(2), 1, 0, NULL),
        whole(member(3), 1, 1, "x"),
    };
    struct wvu_record_plan plan;

    (void)state;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, texts, 4);
    assert_int_equal(plan.placed[0].offset, FIXED);
    assert_int_equal(plan.placed[0].size, 5);
    assert_int_equal(plan.placed[1].offset, FIXED + 6);
    assert_int_equal(plan.placed[2].offset, 0);
    assert_int_equal(plan.placed[2].size, 0);
    assert_int_equal(plan.placed[3].offset, FIXED + 10);
    assert_int_equal(plan.size, FIXED + 16);
    assert_false(plan.cut);
}

static void filling_writes_texts_and_nothing_else(void **state)
{
    const struct wvu_text_source texts[] = {whole(member(0), 1, 5, "12345"),
                                            whole(member(1), 2, 4, "a\0b\0")};
    struct wvu_record_plan plan;
    uint64_t memory[64] = {0};
    uint8_t expected[sizeof memory] = {0};
    struct wvu_record *record = (struct wvu_record *)memory;
    struct wvu_process_create *create = (struct wvu_process_create *)expected;

    (void)state;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, texts, 2);
    wvu_record_fill_texts(record, &plan, texts);
    create->record.fixed_size = FIXED;
    create->image_file_name = (struct wvu_text){FIXED, 5, 5, 0, 5};
    create->command_line = (struct wvu_text){FIXED + 6, 4, 4, 0, 4};
    memcpy(expected + FIXED, "12345\0a\0b\0", 10);
    assert_memory_equal(memory, expected, sizeof memory);
}

static void what_just_fits_is_not_cut(void **state)
{
    struct wvu_record_plan plan;
    uint32_t largest = 0;
    uint8_t *bytes = calloc(1, WVU_RECORD_MAX);

    (void)state;
    for (uint32_t size = 61000; size <= WVU_RECORD_MAX; size++) {
        const struct wvu_text_source text = whole(member(0), 1, size, bytes);

        wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, &text, 1);
        assert_true(plan.size <= WVU_RECORD_MAX);
        if (!plan.cut)
            largest = size;
        else
            assert_int_not_equal(largest, 0);
    }
    /* At most the rounding of offset and size is given away. */
    assert_in_range(largest, WVU_RECORD_MAX - FIXED - 16, WVU_RECORD_MAX - FIXED);
    free(bytes);
}

static uint8_t *numbered(uint32_t size)
{
    uint8_t *bytes = malloc(size);

    assert_non_null(bytes);
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8) * 3);
    return bytes;
}

static void a_cut_text_keeps_beginning_and_end(void **state)
{
    const uint32_t size = 200000;
    uint8_t *bytes = numbered(size);
    const struct wvu_text_source text = whole(member(0), 1, size, bytes);
    struct wvu_record_plan plan;
    struct wvu_record *record = calloc(1, WVU_RECORD_MAX);
    const uint8_t *kept;
    struct wvu_text placed;

    (void)state;
    assert_non_null(record);
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, &text, 1);
    placed = plan.placed[0];
    assert_true(plan.cut);
    assert_int_equal(placed.full_size, size);
    assert_true(placed.size > WVU_RECORD_MAX - FIXED - 32); /* the room is used */
    assert_in_range(placed.head, placed.size / 3 * 2 - 8, placed.size / 3 * 2 + 8);
    wvu_record_fill_texts(record, &plan, &text);
    assert_int_equal(record->flags, WVU_RECORD_CUT);
    kept = (const uint8_t *)record + placed.offset;
    assert_memory_equal(kept, bytes, placed.head);
    assert_memory_equal(kept + placed.head, bytes + size - (placed.size - placed.head),
                        placed.size - placed.head);
    free(record);
    free(bytes);
}

static void utf16_is_never_cut_within_a_unit(void **state)
{
    uint8_t *bytes = numbered(80000);
    struct wvu_record_plan plan;

    (void)state;
    for (uint32_t other = 0; other < 64; other++) {
        const struct wvu_text_source texts[] = {whole(member(0), 1, other, bytes),
                                                whole(member(1), 2, 80000, bytes),
                                                whole(member(2), 2, 70000 + 2 * other, bytes)};

        wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, texts, 3);
        for (uint32_t i = 1; i < 3; i++) {
            assert_int_equal(plan.placed[i].offset % 2, 0);
            assert_int_equal(plan.placed[i].size % 2, 0);
            assert_int_equal(plan.placed[i].head % 2, 0);
            assert_true(plan.placed[i].size < texts[i].size);
        }
    }
    free(bytes);
}

static void short_texts_are_kept_long_ones_share(void **state)
{
    uint8_t *bytes = numbered(100000);
    const struct wvu_text_source texts[] = {
        whole(member(0), 1, 300, bytes),   whole(member(1), 1, 100000, bytes),
        whole(member(2), 1, 10000, bytes), whole(member(3), 1, 50000, bytes),
        whole(member(4), 1, 0, NULL),
    };
    struct wvu_record_plan plan;

    (void)state;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, texts, 5);
    assert_int_equal(plan.placed[0].size, 300);
    assert_int_equal(plan.placed[2].size, 10000);
    assert_int_equal(plan.placed[1].size, plan.placed[3].size);
    assert_true(plan.placed[1].size > 25000);
    assert_true(plan.size <= WVU_RECORD_MAX && plan.size > WVU_RECORD_MAX - 128);
    free(bytes);
}

/* The host kept 1000 bytes of the beginning and 500 of the end of a text of 9000. */
static void a_seam_of_the_host_is_kept(void **state)
{
    uint8_t *bytes = numbered(1500);
    struct wvu_text_source text = whole(member(0), 1, 1500, bytes);
    struct wvu_record_plan plan;
    struct wvu_record *record = calloc(1, WVU_RECORD_MAX);

    (void)state;
    assert_non_null(record);
    text.head = 1000;
    text.full_size = 9000;
    wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, &text, 1);
    assert_true(plan.cut);
    assert_int_equal(plan.placed[0].size, 1500);
    assert_int_equal(plan.placed[0].head, 1000);
    assert_int_equal(plan.placed[0].full_size, 9000);
    wvu_record_fill_texts(record, &plan, &text);
    assert_int_equal(record->flags, WVU_RECORD_CUT);
    assert_memory_equal((uint8_t *)record + plan.placed[0].offset, bytes, 1500);
    free(record);
    free(bytes);
}

/* ---- any plan -------------------------------------------------------------------------------------------------- */

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % bound;
}

static struct wvu_text_source random_source(uint32_t index, const uint8_t *bytes)
{
    static const uint32_t bounds[] = {2, 50, 5000, 40000, 100000};
    uint16_t unit = random_below(2) == 0 ? 1 : 2;
    uint32_t size = random_below(bounds[random_below(5)]) / unit * unit;
    struct wvu_text_source text = whole(member(index), unit, size, size != 0 ? bytes : NULL);

    if (size > 4 && random_below(4) == 0) { /* cut by the host before */
        text.head = random_below(size) / unit * unit;
        text.full_size = size + unit * (1 + random_below(100000));
    }
    return text;
}

static void check_text(const struct wvu_record *record, const struct wvu_text_source *source,
                       const struct wvu_text *placed)
{
    const uint8_t *bytes = source->bytes;
    uint32_t tail = (uint32_t)placed->size - placed->head;
    bool cut_before = source->full_size > source->size;

    assert_true(placed->size <= source->size && placed->head <= placed->size);
    assert_int_equal(placed->size % source->unit, 0);
    assert_int_equal(placed->head % source->unit, 0);
    assert_int_equal(placed->full_size, source->full_size);
    if (placed->size == 0) {
        assert_int_equal(placed->offset, 0);
        return;
    }
    assert_int_equal(placed->offset % source->unit, 0);
    /* The beginning is of the original's beginning, the end of its end: not across the host's seam. */
    if (cut_before) {
        assert_true(placed->head <= source->head);
        assert_true(tail <= source->size - source->head);
    }
    assert_memory_equal((const uint8_t *)record + placed->offset, bytes, placed->head);
    assert_memory_equal((const uint8_t *)record + placed->offset + placed->head,
                        bytes + source->size - tail, tail);
}

/* Nobody whose text is cut has less than somebody whose text is not. */
static void check_fair(const struct wvu_text_source *sources, const struct wvu_record_plan *plan)
{
    for (uint32_t i = 0; i < plan->texts; i++) {
        bool seam = sources[i].head < sources[i].size; /* its place limits both parts */

        if (plan->placed[i].size == sources[i].size || seam)
            continue;
        for (uint32_t k = 0; k < plan->texts; k++)
            if (plan->placed[k].size == sources[k].size)
                assert_true(plan->placed[k].size <= plan->placed[i].size + 8u);
    }
}

static void every_plan_keeps_the_rules(void **state)
{
    uint8_t *bytes = numbered(100000);
    struct wvu_record *record = malloc(WVU_RECORD_MAX);

    (void)state;
    assert_non_null(record);
    for (uint32_t round = 0; round < 3000; round++) {
        struct wvu_text_source sources[6];
        struct wvu_record_plan plan;
        uint32_t count = random_below(7);
        uint32_t end = FIXED;
        bool shortened = false;

        for (uint32_t i = 0; i < count; i++)
            sources[i] = random_source(i, bytes);
        wvu_record_plan(&plan, WVU_EVENT_ProcessCreate, FIXED, sources, count);
        assert_true(plan.size <= WVU_RECORD_MAX && plan.size % 8 == 0);
        memset(record, 0, plan.size);
        wvu_record_fill_texts(record, &plan, sources);
        for (uint32_t i = 0; i < count; i++) {
            const struct wvu_text *placed = &plan.placed[i];

            check_text(record, &sources[i], placed);
            shortened = shortened || placed->size < placed->full_size;
            if (placed->size != 0) {
                assert_true(placed->offset >= end);
                end = (uint32_t)placed->offset + placed->size;
            }
            assert_memory_equal((uint8_t *)record + member(i), placed, sizeof *placed);
        }
        assert_true(end <= plan.size && plan.size - end < 16);
        assert_int_equal(plan.cut, shortened);
        assert_int_equal(record->flags, shortened ? WVU_RECORD_CUT : 0);
        check_fair(sources, &plan);
    }
    free(record);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_type_has_its_index),
        cmocka_unit_test(unknown_types_have_index_0),
        cmocka_unit_test(without_texts_there_is_the_fixed_part),
        cmocka_unit_test(texts_follow_each_other),
        cmocka_unit_test(filling_writes_texts_and_nothing_else),
        cmocka_unit_test(what_just_fits_is_not_cut),
        cmocka_unit_test(a_cut_text_keeps_beginning_and_end),
        cmocka_unit_test(utf16_is_never_cut_within_a_unit),
        cmocka_unit_test(short_texts_are_kept_long_ones_share),
        cmocka_unit_test(a_seam_of_the_host_is_kept),
        cmocka_unit_test(every_plan_keeps_the_rules),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
