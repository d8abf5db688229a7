/*
 * Broken rules: says what happened and ends the process, as a bug check ends Windows.
 *
 * Any thread, also from a signal handler and with nt_lock held: takes no lock, allocates nothing.
 * Only the first broken rule counts; a second thread that breaks one waits here for the end.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"

static const struct {
    const char *name;
    const char *meaning;
} rules[] = {
#define NT_RULE(identifier, name, meaning) {name, meaning},
#include "rules.def"
};

static int expected = -1;
static atomic_flag broken = ATOMIC_FLAG_INIT;

bool nt_expect(const char *rule)
{
    for (int i = 0; i < NT_RULES; i++) {
        if (strcmp(rules[i].name, rule) == 0) {
            expected = i;
            return true;
        }
    }
    return false;
}

/* Where in a driver that is: its file's name and the offset that its map and PDB know. */
void nt_place(uintptr_t address, char *text, size_t size)
{
    const struct nt_image *image = nt_image_at(address);
    if (image == NULL) {
        snprintf(text, size, "0x%lx", (unsigned long)address);
        return;
    }
    const char *name = strrchr(image->path, '/');
    snprintf(text, size, "%s+0x%lx", name != NULL ? name + 1 : image->path,
             (unsigned long)(address - (uintptr_t)image->base));
}

static void print_place(const char *what, uintptr_t address)
{
    char text[128];
    nt_place(address, text, sizeof text);
    dprintf(STDERR_FILENO, "  %s %s\n", what, text);
}

static void print_trace(const struct nt_thread *thread)
{
    dprintf(STDERR_FILENO, "  the driver's last calls, newest first:\n");
    uint32_t count = thread->trace_next < NT_TRACE_LENGTH ? thread->trace_next : NT_TRACE_LENGTH;
    for (uint32_t i = 1; i <= count && i <= 12; i++) {
        uint32_t slot = (thread->trace_next - i) % NT_TRACE_LENGTH;
        dprintf(STDERR_FILENO, "    irql %u  %s", thread->trace[slot].irql,
                thread->trace[slot].routine);
        print_place(" from", thread->trace[slot].caller);
    }
}

void nt_broken(enum nt_rule rule, const char *format, ...)
{
    while (atomic_flag_test_and_set(&broken))
        pause();
    bool wanted = (int)rule == expected;
    dprintf(STDERR_FILENO, "%s: %s: %s\n  ", wanted ? "broken as expected" : "RULE BROKEN",
            rules[rule].name, rules[rule].meaning);
    va_list arguments;
    va_start(arguments, format);
    vdprintf(STDERR_FILENO, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "\n");
    const struct nt_thread *thread = nt_self;
    if (thread != NULL && !wanted) {
        dprintf(STDERR_FILENO, "  thread %s, irql %u, %u locks held\n", thread->name, thread->irql,
                thread->held_count);
        if (thread->depth != 0 && thread->routine != NULL)
            print_place("called from", thread->caller);
        print_trace(thread);
    }
    _exit(wanted ? 0 : 1);
}
