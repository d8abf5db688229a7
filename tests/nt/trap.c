/*
 * Traps: what a driver does inline that a Linux process cannot, is done for it; faults are either an
 * exception for the driver's own __try (seh.c) or a broken rule.
 *
 *   mov cr8            the virtual IRQL (KeGetCurrentIrql, KeRaiseIrql)
 *   0xFFFFF780'...     the shared data page: the instruction is executed on a page of ours, one step,
 *                      with the base register replaced
 *   int 29h, int3      fast fail, breakpoint
 *   user address       exception, if a __try block covers the place; otherwise a broken rule
 *   anything else      a broken rule, told by whose memory it is
 *
 * Handlers run on a stack of their own. A fault is always the running thread's own doing, so the
 * handlers may use nt_self. Exceptions are continued on the thread's stack: the handler only points
 * the thread at nt_seh_raise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel.h"

#define SHARED_DATA   UINT64_C(0xFFFFF78000000000)
#define PAGE          4096u
#define HANDLER_STACK 65536u
#define TRAP_FLAG     0x100

/* KUSER_SHARED_DATA: offsets from its page in the driver reference. */
#define SHARED_INTERRUPT_TIME 0x08
#define SHARED_SYSTEM_TIME    0x14
#define SHARED_NT_MAJOR       0x26C
#define SHARED_NT_MINOR       0x270
#define SHARED_TICK_COUNT     0x320

#ifndef SEGV_PKUERR
#define SEGV_PKUERR 4
#endif

static uint8_t *shared_data;

/* Registers of a signal frame, in the order of their encoding. */
static const int frame_registers[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

extern const char nt_raise_place[];

static greg_t *frame_register(ucontext_t *frame, int number)
{
    return &frame->uc_mcontext.gregs[frame_registers[number]];
}

static uint64_t frame_rip(const ucontext_t *frame)
{
    return (uint64_t)frame->uc_mcontext.gregs[REG_RIP];
}

static void context_of(ucontext_t *frame, struct nt_context *context)
{
    for (int i = 0; i < 16; i++)
        context->r[i] = (uint64_t)*frame_register(frame, i);
    context->rip = frame_rip(frame);
    context->mxcsr = frame->uc_mcontext.fpregs->mxcsr;
    memcpy(context->xmm, frame->uc_mcontext.fpregs->_xmm, sizeof context->xmm);
}

/* ---- mov cr8 --------------------------------------------------------------------------------------- */

/* 44 0F 20 /r: mov reg, cr8; 44 0F 22 /r: mov cr8, reg; REX.B (45) for r8 to r15. */
static bool emulate_cr8(ucontext_t *frame)
{
    const uint8_t *code = (const uint8_t *)frame_rip(frame);
    if ((code[0] & 0xFE) != 0x44 || code[1] != 0x0F || (code[2] & 0xFD) != 0x20 ||
        (code[3] & 0xF8) != 0xC0)
        return false;
    greg_t *operand = frame_register(frame, (code[3] & 7) | (code[0] & 1) << 3);
    if (code[2] == 0x20) {
        *operand = nt_self->irql;
    } else {
        if (*operand > HIGH_LEVEL)
            nt_broken(NT_RULE_IRQL, "IRQL %lld", (long long)*operand);
        nt_self->irql = (KIRQL)*operand;
        nt_keys_apply_in(frame);
    }
    frame->uc_mcontext.gregs[REG_RIP] += 4;
    return true;
}

/* ---- the shared data page ---------------------------------------------------------------------------- */

static void put_time(uint32_t offset, uint64_t value)
{
    uint32_t low = (uint32_t)value, high = (uint32_t)(value >> 32);
    memcpy(shared_data + offset, &low, sizeof low);
    memcpy(shared_data + offset + 4, &high, sizeof high);
    memcpy(shared_data + offset + 8, &high, sizeof high);
}

void nt_shared_data_refresh(void)
{
    put_time(SHARED_INTERRUPT_TIME, nt_now() / 100);
    put_time(SHARED_SYSTEM_TIME, (uint64_t)nt_system_time());
    put_time(SHARED_TICK_COUNT, nt_now() / 15625000);
}

/* mov al|eax|rax, [64-bit address]: no register to replace. */
static bool emulate_absolute_move(ucontext_t *frame)
{
    const uint8_t *code = (const uint8_t *)frame_rip(frame);
    bool quad = code[0] == 0x48;
    uint64_t address, value = 0;
    if (code[quad] != 0xA1)
        return false;
    memcpy(&address, code + quad + 1, sizeof address);
    memcpy(&value, shared_data + (address - SHARED_DATA), quad ? 8 : 4);
    frame->uc_mcontext.gregs[REG_RAX] = (greg_t)value;
    frame->uc_mcontext.gregs[REG_RIP] += 9 + quad;
    return true;
}

static bool step_on_shadow(ucontext_t *frame)
{
    struct nt_thread *thread = nt_self;
    for (int i = 0; i < 16; i++) {
        uint64_t value = (uint64_t)*frame_register(frame, i);
        if (i == NT_RSP || value - (SHARED_DATA - PAGE) > 2 * PAGE)
            continue;
        thread->stepped_register = i;
        thread->stepped_original = value;
        thread->stepped_substitute = (uintptr_t)shared_data + (value - SHARED_DATA);
        *frame_register(frame, i) = (greg_t)thread->stepped_substitute;
        frame->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
        return true;
    }
    return false;
}

static bool emulate_shared_data(ucontext_t *frame, uint64_t address)
{
    if (address - SHARED_DATA >= PAGE)
        return false;
    nt_shared_data_refresh();
    return emulate_absolute_move(frame) || step_on_shadow(frame);
}

/* After the step: the register gets its address back, unless it was the destination. */
static void end_step(ucontext_t *frame)
{
    struct nt_thread *thread = nt_self;
    greg_t *stepped = frame_register(frame, thread->stepped_register);
    if ((uint64_t)*stepped == thread->stepped_substitute)
        *stepped = (greg_t)thread->stepped_original;
    thread->stepped_register = -1;
    if (!thread->counting)
        frame->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

/* ---- faults ------------------------------------------------------------------------------------------ */

static void raise_exception(ucontext_t *frame, NTSTATUS code, bool write, uint64_t address)
{
    struct nt_thread *thread = nt_self;
    context_of(frame, &thread->fault_context);
    thread->fault_code = code;
    thread->fault_information[0] = write;
    thread->fault_information[1] = address;
    greg_t stack = (frame->uc_mcontext.gregs[REG_RSP] - 1024) & ~(greg_t)15;
    frame->uc_mcontext.gregs[REG_RSP] = stack - 8; /* as after a call */
    frame->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)nt_seh_raise;
    frame->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static bool in_driver_or_leaf(uint64_t rip)
{
    return nt_image_at(rip) != NULL ||
           (rip >= (uintptr_t)nt_leaf_begin && rip < (uintptr_t)nt_leaf_end);
}

static void describe(uint64_t rip, char *text, size_t size)
{
    if (nt_image_at(rip) != NULL)
        nt_place(rip, text, size);
    else
        snprintf(text, size, "%s", nt_self->routine != NULL ? nt_self->routine : "the stand-in");
}

/* A fault that no driver may have, told by what is there. */
static _Noreturn void report_fault(uint64_t rip, uint64_t address, const char *what)
{
    char where[96], who[300];
    describe(rip, where, sizeof where);
    if (nt_is_object(address)) {
        nt_object_explain(address, who, sizeof who);
        nt_broken(NT_RULE_OPAQUE, "%s: %s of %s", where, what, who);
    }
    if (nt_pool_explain(address, who, sizeof who))
        nt_broken(nt_pool_is_freed(address) ? NT_RULE_USE_AFTER_FREE : NT_RULE_POOL_OVERRUN,
                  "%s: %s of %s", where, what, who);
    if (nt_image_was_here(address) && nt_image_at(address) == NULL)
        nt_broken(NT_RULE_UNLOADED, "%s: %s of the place of a driver that is unloaded", where,
                  what);
    const struct nt_image *image = nt_image_at(address);
    const struct nt_section *section = image != NULL ? nt_image_section(image, address) : NULL;
    nt_broken(NT_RULE_BAD_POINTER, "%s: %s of 0x%llx%s%s", where, what, (unsigned long long)address,
              section != NULL ? ", in the driver's section " : "",
              section != NULL ? section->name : "");
}

static void key_fault(ucontext_t *frame, int key, uint64_t address, const char *what)
{
    struct nt_context context;
    char where[96];
    uint64_t rip = frame_rip(frame);
    describe(rip, where, sizeof where);
    if (nt_key_of(key) == NT_KEY_PAGEABLE)
        nt_broken(NT_RULE_PAGEABLE, "%s: %s of pageable memory at IRQL %u", where, what,
                  nt_self->irql);
    context_of(frame, &context);
    if (!in_driver_or_leaf(rip))
        nt_broken(NT_RULE_USER_MEMORY, "%s was given user memory (0x%llx)", where,
                  (unsigned long long)address);
    if (!nt_seh_covered(&context))
        nt_broken(NT_RULE_USER_MEMORY, "%s: %s of user memory, and no __try block covers it", where,
                  what);
    nt_self->user_open = true;
    nt_keys_apply_in(frame);
}

static void on_fault(int number, siginfo_t *information, void *opaque)
{
    ucontext_t *frame = opaque;
    uint64_t rip = frame_rip(frame), address = (uintptr_t)information->si_addr;
    bool write = (frame->uc_mcontext.gregs[REG_ERR] & 2) != 0;
    bool fetch = (frame->uc_mcontext.gregs[REG_ERR] & 16) != 0 || rip == address;
    const char *what = fetch ? "execution" : write ? "a write" : "a read";
    (void)number;
    if (nt_self == NULL || nt_self->depth == 0) {
        dprintf(STDERR_FILENO, "nt-harness itself faults at 0x%llx, address 0x%llx\n",
                (unsigned long long)rip, (unsigned long long)address);
        abort();
    }
    if (information->si_code == SEGV_PKUERR) {
        key_fault(frame, (int)information->si_pkey, address, what);
        return;
    }
    bool in_driver = nt_image_at(rip) != NULL && !fetch;
    if (information->si_code == SI_KERNEL && in_driver) { /* a general protection fault */
        const uint8_t *code = (const uint8_t *)rip;
        if (emulate_cr8(frame))
            return;
        if (code[0] == 0xCD && code[1] == 0x29)
            nt_broken(NT_RULE_EXCEPTION, "the driver gave itself up: fast fail code %lld",
                      (long long)frame->uc_mcontext.gregs[REG_RCX]);
        address = UINT64_MAX; /* most likely an address that is not canonical */
    }
    if (in_driver && emulate_shared_data(frame, address))
        return;
    if (in_driver_or_leaf(rip) && !fetch && nt_is_user(address)) {
        struct nt_context context;
        context_of(frame, &context);
        if (!nt_seh_covered(&context)) {
            char where[96];
            describe(rip, where, sizeof where);
            nt_broken(address < 0x10000 ? NT_RULE_BAD_POINTER : NT_RULE_USER_MEMORY,
                      "%s: %s of user address 0x%llx, and no __try block covers it", where, what,
                      (unsigned long long)address);
        }
        raise_exception(frame, STATUS_ACCESS_VIOLATION, write, address);
        return;
    }
    report_fault(rip, address, what);
}

static void on_illegal(int number, siginfo_t *information, void *opaque)
{
    ucontext_t *frame = opaque;
    (void)number;
    (void)information;
    uint64_t rip = frame_rip(frame);
    if (rip == (uintptr_t)nt_raise_place)
        raise_exception(frame, (NTSTATUS)frame->uc_mcontext.gregs[REG_RAX], false, 0);
    else
        nt_broken(NT_RULE_EXCEPTION, "an illegal instruction (a trap of the compiler?) at 0x%llx",
                  (unsigned long long)rip);
}

static void on_trap(int number, siginfo_t *information, void *opaque)
{
    ucontext_t *frame = opaque;
    (void)number;
    if (information->si_code == TRAP_TRACE || information->si_code == TRAP_BRKPT) {
        if (nt_self->stepped_register >= 0)
            end_step(frame);
        if (nt_self->counting)
            nt_step_count(nt_self, frame_rip(frame));
        if (nt_self->counting)
            frame->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
        return;
    }
    if (!nt_debugger_present())
        nt_broken(NT_RULE_BREAKPOINT, "a breakpoint without a debugger stops the system");
    nt_count_breakpoint();
}

static void on_arithmetic(int number, siginfo_t *information, void *opaque)
{
    ucontext_t *frame = opaque;
    (void)number;
    (void)information;
    raise_exception(frame, STATUS_INTEGER_DIVIDE_BY_ZERO, false, 0);
}

/* ---- set-up ------------------------------------------------------------------------------------------ */

static void install(int number, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    action.sa_sigaction = handler;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, NULL) != 0)
        abort();
}

void nt_traps_init(void)
{
    shared_data = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (shared_data == MAP_FAILED)
        abort();
    shared_data += PAGE; /* a base register may point before it */
    uint32_t major = 10, minor = 0;
    memcpy(shared_data + SHARED_NT_MAJOR, &major, sizeof major);
    memcpy(shared_data + SHARED_NT_MINOR, &minor, sizeof minor);
    install(SIGSEGV, on_fault);
    install(SIGBUS, on_fault);
    install(SIGILL, on_illegal);
    install(SIGTRAP, on_trap);
    install(SIGFPE, on_arithmetic);
}

/* The stack of a thread's handlers lives as long as the process: threads are few. */
void nt_trap_thread_init(void)
{
    static __thread bool done;
    if (done)
        return;
    done = true;
    stack_t stack = {.ss_size = HANDLER_STACK};
    stack.ss_sp =
        mmap(NULL, HANDLER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) != 0)
        abort();
}
