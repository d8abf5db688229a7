/*
 * What a driver's imports are bound to: one small stub for each export, which asks nt_gate before it
 * goes on to the routine.
 *
 * The gate is where the rules live that hold for every routine: IRQL bounds, no call from pageable
 * code at DISPATCH_LEVEL, stack, the trace, and failing on purpose. So no routine can forget them.
 * Stubs are made when first asked for, and stay: PAGE_STUBS of them fit the code area.
 *
 * Any thread. Making stubs takes `stubs_lock`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel.h"

/* A callback runs on what is left of a 24 KiB stack. Half of it is for those that are below. */
#define STACK_LIMIT (12u << 10)

#define STUB_SIZE 80u
#define STUBS_MAX 1024u

struct stub {
    const struct nt_export *row;
    uint8_t *code;
};

static pthread_mutex_t stubs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct stub stubs[STUBS_MAX];
static size_t stub_count;
static uint8_t *code_area;
static _Atomic size_t stack_used;

static const struct nt_export_table *const tables[] = {
    &nt_cm_table,  &nt_dbg_table,    &nt_ex_table,    &nt_flt_table,
    &nt_ke_table,  &nt_lock_table,   &nt_ob_table,    &nt_pool_table,
    &nt_ps_table,  &nt_query_table,  &nt_rtl_table,   &nt_se_table,
    &nt_seh_table, &nt_system_table, &nt_timer_table, &nt_zw_table,
};

size_t nt_stack_used(void)
{
    return stack_used;
}

static void check_stack(const struct nt_thread *thread, uintptr_t top)
{
    if (thread->stack_top <= top)
        return;
    size_t used = thread->stack_top - top;
    size_t most = stack_used;
    while (used > most && !atomic_compare_exchange_weak(&stack_used, &most, used))
        ;
    if (used > STACK_LIMIT)
        nt_broken(NT_RULE_STACK, "%zu bytes of stack in use at a call of %s; %u are allowed", used,
                  thread->routine, STACK_LIMIT);
}

static void check_irql(const struct nt_thread *thread, const struct nt_export *row)
{
    if (thread->irql < row->irql_min || thread->irql > row->irql_max)
        nt_broken(NT_RULE_IRQL, "%s was called at IRQL %u; it allows %u to %u (%s)", row->name,
                  thread->irql, row->irql_min, row->irql_max, row->source);
    if (thread->irql < DISPATCH_LEVEL)
        return;
    const struct nt_image *image = nt_image_at(thread->caller);
    const struct nt_section *section =
        image != NULL ? nt_image_section(image, thread->caller) : NULL;
    if (section != NULL && section->pageable)
        nt_broken(NT_RULE_PAGEABLE, "code in the pageable section %s runs at IRQL %u",
                  section->name, thread->irql);
}

/* A function that calls others is no leaf and must be in the table of functions: without, an exception
 * cannot pass through it, and a debugger shows no stack. Compilers leave it out when they are told to
 * (-ffreestanding, for one). */
static void check_unwind_data(const struct nt_thread *thread)
{
    const struct nt_image *image = nt_image_at(thread->caller);
    if (image != NULL && !nt_seh_has_function(image, thread->caller))
        nt_broken(NT_RULE_IMAGE, "the code that calls %s has no unwind data", thread->routine);
}

/* Before each call of a driver. `stack` are rcx, rdx, r8, r9 and the return address. Returns where to
 * go on; NULL: nowhere, the call fails. */
static NTAPI nt_function gate(const struct nt_export *row, const uint64_t *stack)
{
    struct nt_thread *thread = nt_self;
    if (thread == NULL) {
        fprintf(stderr, "%s was called by a thread that the stand-in kernel does not know\n",
                row->name);
        abort();
    }
    thread->caller = stack[4];
    thread->routine = row->name;
    uint32_t slot = thread->trace_next++ % NT_TRACE_LENGTH;
    thread->trace[slot].routine = row->name;
    thread->trace[slot].caller = thread->caller;
    thread->trace[slot].irql = thread->irql;
    if (thread->counting)
        thread->cost.calls++;
    if (row->function == NULL)
        nt_broken(NT_RULE_IMPORT, "%s does not exist in the stand-in kernel", row->name);
    check_irql(thread, row);
    check_unwind_data(thread);
    check_stack(thread, (uintptr_t)(stack + 4));
    if (thread->user_open) {
        thread->user_open = false;
        nt_keys_apply();
    }
    return row->fails && !row->decides && nt_inject(row->name) ? NULL : row->function;
}

/* ---- stubs ------------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

static uint8_t *put_address(uint8_t *at, uint64_t value)
{
    return put(at, &value, sizeof value);
}

static void write_stub(uint8_t *at, const struct nt_export *row)
{
    static const uint8_t save[] = {0x41, 0x51, 0x41, 0x50, 0x52, 0x51, /* push r9, r8, rdx, rcx */
                                   0x48, 0x83, 0xEC, 0x28,             /* sub rsp, 40 */
                                   0x48, 0xB9};                        /* mov rcx, row */
    static const uint8_t arguments[] = {0x48, 0x8D, 0x54, 0x24, 0x28,  /* lea rdx, [rsp+40] */
                                        0x48, 0xB8};                   /* mov rax, gate */
    static const uint8_t restore[] = {0xFF, 0xD0,                      /* call rax */
                                      0x48, 0x83, 0xC4, 0x28,          /* add rsp, 40 */
                                      0x59, 0x5A, 0x41, 0x58, 0x41, 0x59, /* pop them */
                                      0x48, 0x85, 0xC0,                   /* test rax, rax */
                                      0x74, 0x02,                         /* jz fail */
                                      0xFF, 0xE0,                         /* jmp rax */
                                      0x48, 0xB8}; /* fail: mov rax, failure */
    at = put(at, save, sizeof save);
    at = put_address(at, (uintptr_t)row);
    at = put(at, arguments, sizeof arguments);
    at = put_address(at, (uintptr_t)gate);
    at = put(at, restore, sizeof restore);
    at = put_address(at, row->failure);
    *at = 0xC3; /* ret */
}

static void *stub_for(const struct nt_export *row)
{
    for (size_t i = 0; i < stub_count; i++) {
        if (stubs[i].row == row)
            return stubs[i].code;
    }
    if (stub_count == STUBS_MAX)
        abort();
    uint8_t *code = code_area + stub_count * STUB_SIZE;
    mprotect(code_area, STUBS_MAX * STUB_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    write_stub(code, row);
    mprotect(code_area, STUBS_MAX * STUB_SIZE, PROT_READ | PROT_EXEC);
    stubs[stub_count++] = (struct stub){row, code};
    return code;
}

/* A name that nobody knows: a row of its own, so that the report can tell it. */
static const struct nt_export *missing_row(const char *name)
{
    for (size_t i = 0; i < stub_count; i++) {
        const struct nt_export *row = stubs[i].row;
        if (row->function == NULL && row->data == NULL && strcmp(row->name, name) == 0)
            return row;
    }
    struct nt_export *row = calloc(1, sizeof *row);
    char *copy = strdup(name);
    if (row == NULL || copy == NULL)
        abort();
    *row = (struct nt_export){.name = copy, .irql_max = HIGH_LEVEL, .source = "unknown"};
    return row;
}

static const struct nt_export *find(const char *name)
{
    for (size_t t = 0; t < NT_ARRAY(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            if (strcmp(tables[t]->exports[i].name, name) == 0)
                return &tables[t]->exports[i];
        }
    }
    return NULL;
}

void *nt_export_address(const char *name, bool must_exist)
{
    const struct nt_export *row = find(name);
    if (row != NULL && row->data != NULL)
        return row->data;
    pthread_mutex_lock(&stubs_lock);
    void *address = NULL;
    if (row != NULL || must_exist)
        address = stub_for(row != NULL ? row : missing_row(name));
    pthread_mutex_unlock(&stubs_lock);
    return address;
}

void nt_exports_init(void)
{
    code_area = mmap(NULL, STUBS_MAX * STUB_SIZE, PROT_READ | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code_area == MAP_FAILED)
        abort();
}

const char *nt_fallible_routine(size_t index)
{
    for (size_t t = 0; t < NT_ARRAY(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            if (tables[t]->exports[i].fails && index-- == 0)
                return tables[t]->exports[i].name;
        }
    }
    return NULL;
}

void nt_list_exports(void)
{
    printf("routine                                  IRQL   can fail  source\n");
    for (size_t t = 0; t < NT_ARRAY(tables); t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct nt_export *row = &tables[t]->exports[i];
            if (row->function != NULL)
                printf("%-40s %2u-%-2u  %-8s  %s\n", row->name, row->irql_min, row->irql_max,
                       row->fails ? "yes" : "", row->source);
        }
    }
}
