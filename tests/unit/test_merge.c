/*
 * merge.c: the test plays the kernel, with rings of a few pages that it writes as the kernel does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "merge.h"

#define LANES     5u
#define RING      8192u
#define TIME_SIZE 8u

static struct {
    struct perf_event_mmap_page control[LANES];
    _Alignas(8) uint8_t data[LANES][RING];
    struct wvu_lane lanes[LANES];
    uint32_t heap[LANES];
    uint8_t scratch[WVU_MERGE_RECORD_MAX];
    struct wvu_merge merge;
} world;

static int begin(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    wvu_merge_init(&world.merge, world.lanes, world.heap, LANES, world.scratch);
    for (uint32_t lane = 0; lane < LANES; lane++)
        wvu_merge_open(&world.lanes[lane], &world.control[lane], world.data[lane], RING);
    return 0;
}

/* Positions near the end of 64 bits, so that they wrap too. */
static void move_positions(uint64_t to)
{
    for (uint32_t lane = 0; lane < LANES; lane++) {
        world.control[lane].data_head = to;
        world.control[lane].data_tail = to;
        world.lanes[lane].position = to;
        world.lanes[lane].released = to;
    }
}

static uint64_t space(uint32_t lane)
{
    return RING - (world.control[lane].data_head - world.control[lane].data_tail);
}

static void put(uint32_t lane, uint64_t position, const void *bytes, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        world.data[lane][(position + i) % RING] = ((const uint8_t *)bytes)[i];
}

/* A record of `size` bytes: header, then its time (samples) or last its time (others), the rest is
 * filled with a byte made of `mark`. */
static void write_record(uint32_t lane, uint32_t type, uint64_t time, uint32_t size, uint8_t mark)
{
    uint8_t record[RING];
    struct perf_event_header header = {.type = type, .size = (uint16_t)size};
    assert_true(size <= space(lane));
    memset(record, mark, size);
    memcpy(record, &header, sizeof header);
    memcpy(record + (type == PERF_RECORD_SAMPLE ? sizeof header : size - TIME_SIZE), &time,
           sizeof time);
    put(lane, world.control[lane].data_head, record, size);
    world.control[lane].data_head += size;
}

static void sample(uint32_t lane, uint64_t time)
{
    write_record(lane, PERF_RECORD_SAMPLE, time, 32, (uint8_t)time);
}

/* The next record is of this time, whole and unchanged; 0: there is none. */
static void expect(uint64_t wanted)
{
    uint64_t time = 0;
    const struct perf_event_header *header = wvu_merge_next(&world.merge, &time);
    if (wanted == 0) {
        assert_null(header);
        return;
    }
    assert_non_null(header);
    assert_int_equal(time, wanted);
    const uint8_t *bytes = (const uint8_t *)header;
    uint32_t first = header->type == PERF_RECORD_SAMPLE ? 16 : 8;
    uint32_t last = header->size - (header->type == PERF_RECORD_SAMPLE ? 0 : TIME_SIZE);
    for (uint32_t i = first; i < last; i++)
        assert_int_equal(bytes[i], (uint8_t)wanted);
}

static void records_come_in_the_order_of_time(void **state)
{
    (void)state;
    sample(0, 10);
    sample(0, 40);
    sample(1, 20);
    write_record(1, PERF_RECORD_MMAP2, 30, 80, 30);
    sample(3, 15);
    wvu_merge_begin(&world.merge, 100);
    expect(10);
    expect(15);
    expect(20);
    expect(30);
    expect(40);
    expect(0);
    assert_false(wvu_merge_end(&world.merge));
    assert_int_equal(world.merge.limit, 100);
    for (uint32_t lane = 0; lane < LANES; lane++)
        assert_int_equal(world.control[lane].data_tail, world.control[lane].data_head);
}

static void what_is_later_than_the_limit_waits(void **state)
{
    (void)state;
    sample(0, 10);
    sample(1, 11);
    sample(0, 12);
    wvu_merge_begin(&world.merge, 10);
    expect(10);
    expect(0);
    assert_true(wvu_merge_end(&world.merge));
    wvu_merge_begin(&world.merge, 12);
    expect(11);
    expect(12);
    expect(0);
    assert_false(wvu_merge_end(&world.merge));
}

static void a_record_that_comes_during_a_round_waits(void **state)
{
    (void)state;
    sample(0, 10);
    wvu_merge_begin(&world.merge, 50);
    sample(1, 20);
    expect(10);
    sample(0, 30);
    expect(0);
    wvu_merge_end(&world.merge);
    wvu_merge_begin(&world.merge, 50);
    expect(20);
    expect(30);
    expect(0);
    wvu_merge_end(&world.merge);
}

static void time_does_not_go_back_in_a_ring(void **state)
{
    uint64_t time;
    (void)state;
    sample(0, 20);
    sample(0, 15); /* the clock was adjusted */
    sample(1, 17);
    wvu_merge_begin(&world.merge, 100);
    expect(17);
    expect(20);
    assert_non_null(wvu_merge_next(&world.merge, &time));
    assert_int_equal(time, 20);
    expect(0);
    wvu_merge_end(&world.merge);
}

static void records_that_wrap_are_put_together(void **state)
{
    (void)state;
    move_positions(RING - 24);
    write_record(0, PERF_RECORD_SAMPLE, 7, 64, 7);
    write_record(1, PERF_RECORD_MMAP2, 8, 4000, 8);
    write_record(2, PERF_RECORD_COMM, 9, 24, 9); /* ends with the ring */
    write_record(2, PERF_RECORD_COMM, 10, 24, 10);
    wvu_merge_begin(&world.merge, 100);
    expect(7);
    expect(8);
    expect(9);
    expect(10);
    expect(0);
    assert_false(wvu_merge_end(&world.merge));
}

static void positions_can_wrap(void **state)
{
    (void)state;
    move_positions(UINT64_MAX - RING / 2 + 1);
    for (uint64_t time = 1; time <= RING / 32; time++)
        sample(4, time);
    wvu_merge_begin(&world.merge, 1000);
    for (uint64_t time = 1; time <= RING / 32; time++)
        expect(time);
    expect(0);
    assert_false(wvu_merge_end(&world.merge));
}

static void rings_are_given_back_during_a_round(void **state)
{
    (void)state;
    for (uint64_t time = 1; time <= RING / 32; time++)
        sample(0, time);
    assert_int_equal(space(0), 0);
    assert_int_equal(wvu_merge_fill(&world.merge), 256);
    wvu_merge_begin(&world.merge, 1000);
    for (uint64_t time = 1; time <= RING / 64; time++)
        expect(time);
    assert_true(space(0) >= RING / 4);
    assert_true(space(0) <= RING / 2);
    assert_true(wvu_merge_end(&world.merge));
    assert_int_equal(space(0), RING / 2);
    assert_int_equal(wvu_merge_fill(&world.merge), 128);
}

static void stopping_early_takes_the_current_record(void **state)
{
    (void)state;
    sample(0, 10);
    sample(1, 10);
    sample(1, 20);
    wvu_merge_begin(&world.merge, 100);
    expect(10);
    assert_true(wvu_merge_end(&world.merge));
    assert_true(world.merge.limit < 10); /* the other one of that time is still to come */
    wvu_merge_begin(&world.merge, 100);
    expect(10);
    expect(20);
    expect(0);
    wvu_merge_end(&world.merge);
}

static void the_follower_can_be_taken_along(void **state)
{
    (void)state;
    sample(0, 10);
    sample(0, 30);
    sample(0, 40);
    sample(1, 20);
    wvu_merge_begin(&world.merge, 35);
    expect(10);
    const struct perf_event_header *follower = wvu_merge_follower(&world.merge);
    assert_non_null(follower);
    assert_int_equal(((const uint8_t *)follower)[16], 30);
    wvu_merge_skip(&world.merge);
    expect(20);
    assert_null(wvu_merge_follower(&world.merge));
    expect(0);
    assert_true(wvu_merge_end(&world.merge));
    wvu_merge_begin(&world.merge, 50);
    expect(40);
    assert_null(wvu_merge_follower(&world.merge));
    expect(0);
    wvu_merge_end(&world.merge);
}

static void a_follower_that_wraps(void **state)
{
    (void)state;
    move_positions(RING - 80);
    sample(0, 10);
    write_record(0, PERF_RECORD_MMAP2, 11, 96, 11);
    wvu_merge_begin(&world.merge, 10);
    expect(10);
    const struct perf_event_header *follower = wvu_merge_follower(&world.merge);
    assert_non_null(follower);
    for (uint32_t i = 8; i < 88; i++)
        assert_int_equal(((const uint8_t *)follower)[i], 11);
    expect(0);
    wvu_merge_end(&world.merge);
}

static void a_record_that_is_returned_comes_again(void **state)
{
    (void)state;
    sample(0, 10);
    sample(1, 5);
    sample(1, 12);
    wvu_merge_begin(&world.merge, 100);
    expect(5);
    expect(10);
    wvu_merge_return(&world.merge);
    expect(0); /* 12 may be a consequence of 10 */
    assert_true(wvu_merge_end(&world.merge));
    assert_int_equal(world.merge.limit, 9);
    assert_int_equal(world.control[0].data_tail, 0);
    wvu_merge_begin(&world.merge, 100);
    expect(10);
    expect(12);
    expect(0);
    assert_false(wvu_merge_end(&world.merge));
}

static void closed_lanes_are_left_out(void **state)
{
    (void)state;
    sample(0, 10);
    sample(2, 11);
    wvu_merge_open(&world.lanes[0], NULL, NULL, 0);
    wvu_merge_begin(&world.merge, 100);
    expect(11);
    expect(0);
    assert_false(wvu_merge_end(&world.merge));
    assert_int_equal(wvu_merge_fill(&world.merge), 0);
}

static void what_is_no_record_is_skipped(void **state)
{
    static const uint16_t sizes[] = {0, 8, 20, 60000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct perf_event_header header = {.type = PERF_RECORD_SAMPLE, .size = sizes[i]};
        begin(state);
        put(0, 0, &header, sizeof header);
        world.control[0].data_head = 64;
        sample(1, 10);
        wvu_merge_begin(&world.merge, 100);
        expect(10);
        expect(0);
        wvu_merge_end(&world.merge);
        assert_int_equal(world.merge.broken, 64);
        sample(0, 20);
        wvu_merge_begin(&world.merge, 100);
        expect(20);
        expect(0);
        wvu_merge_end(&world.merge);
    }
}

/* Many rounds with records of all sizes, told in causal order: each record is stamped after all before it
 * were written, on whatever CPU. They must come out in exactly that order. */
static void any_sequence_comes_out_in_the_order_of_causes(void **state)
{
    uint64_t random = 12345;
    uint64_t now = 1;
    uint64_t told = 0;
    uint64_t next = 1; /* the time that must come next; times are 1, 2, 3 ... */
    (void)state;
    move_positions(UINT64_MAX - 50000 / 8 * 8 + 1);
    for (uint32_t round = 0; round < 20000; round++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint32_t dice = (uint32_t)(random >> 33);
        uint32_t lane = dice % LANES;
        uint32_t size = 24 + dice / 8 % 100 * 8;
        if (dice % 7 < 5 && size <= space(lane)) {
            uint32_t type = dice % 3 == 0 ? PERF_RECORD_MMAP2 : PERF_RECORD_SAMPLE;
            write_record(lane, type, now, size, (uint8_t)now);
            now++;
            continue;
        }
        wvu_merge_begin(&world.merge, now - dice % 3);
        uint64_t stop_after = dice % 4 == 0 ? dice % 11 : UINT64_MAX;
        uint64_t time;
        const struct perf_event_header *header;
        while (stop_after-- != 0 && (header = wvu_merge_next(&world.merge, &time)) != NULL) {
            assert_int_equal(time, next);
            assert_int_equal(((const uint8_t *)header)[header->size > 24 ? 16 : 8], (uint8_t)next);
            next++;
            told++;
        }
        wvu_merge_end(&world.merge);
    }
    assert_true(told > 5000);
    assert_int_equal(world.merge.broken, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_come_in_the_order_of_time),
        TEST(what_is_later_than_the_limit_waits),
        TEST(a_record_that_comes_during_a_round_waits),
        TEST(time_does_not_go_back_in_a_ring),
        TEST(records_that_wrap_are_put_together),
        TEST(positions_can_wrap),
        TEST(rings_are_given_back_during_a_round),
        TEST(stopping_early_takes_the_current_record),
        TEST(the_follower_can_be_taken_along),
        TEST(a_follower_that_wraps),
        TEST(a_record_that_is_returned_comes_again),
        TEST(closed_lanes_are_left_out),
        TEST(what_is_no_record_is_skipped),
        TEST(any_sequence_comes_out_in_the_order_of_causes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
