/*
 * What callbacks cost, in instructions; and how much stack.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"

#define COMMAND_LINE                                                                               \
    "\"C:\\Program Files\\Example\\program.exe\" --serial=0123456789 --output=C:\\Temp\\log.txt "  \
    "--quiet --retry=3"

/* Far above what it is (the scenario prints it), far below what would be felt. */
#define MOST_INSTRUCTIONS 20000u

static struct nt_cost cost_of_create(struct nt_process *process)
{
    nt_cost_begin();
    nt_process_announce(process, NULL);
    return nt_cost_end();
}

static struct nt_cost cost_of_exit(struct nt_process *process)
{
    nt_cost_begin();
    nt_process_exit(process, 0);
    return nt_cost_end();
}

static struct nt_cost cost_of_image(struct nt_process *process, const struct nt_image_plan *plan)
{
    nt_cost_begin();
    nt_image_announce(process, plan);
    return nt_cost_end();
}

/* What an administrator of many machines may come to: none of them decides. */
static void set_rules(uint32_t count)
{
    static char rules[100 * 96];
    size_t length = 0;
    rules[0] = '\0';
    for (uint32_t i = 0; i < count; i++)
        length += (size_t)snprintf(
            rules + length, sizeof rules - length,
            i % 2 == 0
                ? "exclude event=ImageLoad image-prefix=\"C:\\\\Program Files\\\\Product %u\\\\\"\n"
                : "exclude event=ImageLoad image-suffix=\\program%u.exe\n",
            i);
    nt_registry_set_lines(NT_PARAMETERS, "Filter", rules);
}

static void print(const char *what, struct nt_cost cost)
{
    printf("%-32s %6llu in the driver, %3llu calls of the kernel\n", what,
           (unsigned long long)cost.driver, (unsigned long long)cost.calls);
    nt_require(cost.driver > 100 && cost.driver < MOST_INSTRUCTIONS, "%s: %llu instructions", what,
               (unsigned long long)cost.driver);
}

static void costs(const char *path, uint32_t rules)
{
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1111, 2222, 3333, 1001}};
    UNICODE_STRING image = nt_string_of("\\??\\C:\\Program Files\\Example\\program.exe");
    UNICODE_STRING command = nt_string_of(COMMAND_LINE);
    UNICODE_STRING library =
        nt_string_of("\\Device\\HarddiskVolume2\\Windows\\System32\\ntdll.dll");
    const struct nt_process_plan plan = {.id = 20000,
                                         .parent_id = 4,
                                         .creator_process = 4,
                                         .creator_thread = 8,
                                         .user = &user,
                                         .image_file_name = &image,
                                         .command_line = &command};
    uint8_t *mapped = nt_user_alloc(4096);
    memset(mapped, 0, 4096);
    memcpy(mapped, "MZ", 2);
    mapped[0x3C] = 0x80;
    memcpy(mapped + 0x80, "PE\0\0\x64\x86", 6);
    const struct nt_image_plan loaded = {.name = &library, .base = (uintptr_t)mapped, .size = 4096};
    set_rules(rules);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *process = nt_process_new(&plan);
    nt_require(!nt_log_contains("there are no rules"), "the rules were not taken");
    (void)cost_of_create(process); /* once before */
    printf("instructions, command line of %zu characters, %u rules:\n", strlen(COMMAND_LINE),
           rules);
    print("process create", cost_of_create(process));
    print("image load", cost_of_image(process, &loaded));
    print("process exit", cost_of_exit(process));
    printf("most stack at a call of the kernel: %zu bytes\n", nt_stack_used());
    nt_process_release(process);
    nt_unload(driver);
    nt_user_free(mapped);
    nt_string_free(&image);
    nt_string_free(&command);
    nt_string_free(&library);
}

static void cost(const char *path, uint32_t scale)
{
    (void)scale;
    costs(path, 0);
    costs(path, 100);
}

/* The same create event again and again, for callgrind.py: what one more costs is what one costs. */
static void creates(const char *path, uint32_t scale)
{
    static const SID user = {1, 5, {0, 0, 0, 0, 0, 5}, {21, 1111, 2222, 3333, 1001}};
    UNICODE_STRING image = nt_string_of("\\??\\C:\\Program Files\\Example\\program.exe");
    UNICODE_STRING command = nt_string_of(COMMAND_LINE);
    const struct nt_process_plan plan = {.id = 20000,
                                         .parent_id = 4,
                                         .creator_process = 4,
                                         .creator_thread = 8,
                                         .user = &user,
                                         .image_file_name = &image,
                                         .command_line = &command};
    set_rules(100);
    struct nt_driver *driver = nt_must_load(path);
    struct nt_process *process = nt_process_new(&plan);
    for (uint32_t i = 0; i < scale; i++)
        nt_process_announce(process, NULL);
    nt_print_image(driver);
    nt_process_release(process);
    nt_unload(driver);
    nt_string_free(&image);
    nt_string_free(&command);
}

static const struct scenario scenarios[] = {
    {"cost", cost, 1, 30, "what callbacks cost, in instructions"},
    {"creates", creates, 1000, 300, "the same create event again and again (for callgrind.py)"},
};
const struct scenario_table nt_cost_scenarios = NT_SCENARIOS(scenarios);
