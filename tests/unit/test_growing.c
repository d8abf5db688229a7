/*
 * growing.c: arrays that grow up to a bound, or until there is no memory, and keep what they have. The simulated
 * host tells of memory that is left, and of a wrong tag.
 */
#include "support/simulated.h"

#include "growing.h"
#include "os.h"

#define TAG  WVU_TAG('T', 'e', 's', 't')
#define MANY 100000u

struct numbers {
    uint64_t *entries;
    uint32_t count;
    uint32_t capacity;
    bool failed;
};

static void add(struct numbers *numbers, uint32_t most)
{
    uint64_t number = UINT64_C(3) * numbers->count;
    wvu_growing_add(numbers, &number, most, TAG);
}

static void check_whole(const struct numbers *numbers, uint32_t count)
{
    check_equal(numbers->count, count);
    for (uint32_t i = 0; i < count; i++)
        check_equal(numbers->entries[i], UINT64_C(3) * i);
}

SIMULATED(many_are_all_there)
{
    struct numbers numbers = {.count = 0};
    uint64_t before = wvu_sim_services();
    for (uint32_t i = 0; i < MANY; i++)
        add(&numbers, UINT32_MAX);
    check(!numbers.failed);
    check_whole(&numbers, MANY);
    check_equal(wvu_sim_services() - before, 10); /* allocations: 256, 512, ... 131072 */
    wvu_os_free(numbers.entries, TAG);
}

SIMULATED(there_is_a_bound)
{
    static const uint32_t bounds[] = {0, 1, 255, 256, 257, 1000, 1024};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        struct numbers numbers = {.count = 0};
        for (uint32_t n = 0; n < bounds[i]; n++)
            add(&numbers, bounds[i]);
        check(!numbers.failed);
        check_equal(numbers.capacity, bounds[i]);
        add(&numbers, bounds[i]);
        check(numbers.failed);
        check_whole(&numbers, bounds[i]);
        wvu_os_free(numbers.entries, TAG);
    }
}

SIMULATED(without_memory_it_stays_as_it_was)
{
    struct numbers numbers = {.count = 0};
    wvu_sim_fail_service(1);
    add(&numbers, MANY);
    check(numbers.failed && numbers.entries == NULL && numbers.capacity == 0);
    numbers.failed = false;
    for (uint32_t i = 0; i < 256; i++)
        add(&numbers, MANY);
    wvu_sim_fail_service(1);
    add(&numbers, MANY);
    check(numbers.failed);
    check_equal(numbers.capacity, 256);
    check_whole(&numbers, 256);
    add(&numbers, MANY); /* there is some again */
    check_whole(&numbers, 257);
    wvu_os_free(numbers.entries, TAG);
}

/* 256 entries of this size are 2^64 + 256 bytes. */
SIMULATED(sizes_do_not_overflow)
{
    uint32_t capacity = 0;
    check(wvu_growing_room(NULL, 0, &capacity, SIZE_MAX / 256 + 2, MANY, TAG) == NULL);
    check_equal(capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_are_all_there),
        cmocka_unit_test(there_is_a_bound),
        cmocka_unit_test(without_memory_it_stays_as_it_was),
        cmocka_unit_test(sizes_do_not_overflow),
    };
    return cmocka_run_group_tests_name("growing", tests, NULL, NULL);
}
