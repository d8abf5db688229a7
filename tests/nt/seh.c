/*
 * Structured exceptions in driver code: finds the __try block that covers a fault by the driver's own
 * tables (.pdata, .xdata), asks its filter, runs the __finally blocks on the way, and continues in the
 * handler. As "x64 exception handling" (learn.microsoft.com/cpp/build/exception-handling-x64) has it.
 *
 * Only addresses of user programs are worth an exception: on Windows an invalid kernel address is a
 * bug check, __try or not (trap.c decides). Frames end at the first return address outside of the
 * driver: every call into a driver comes from the stand-in.
 *
 * Runs on the thread's own stack, never in a signal handler (trap.c arranges that).
 */
#include <stdio.h>
#include <string.h>

#include "kernel.h"

struct unwind_info {
    uint8_t version_flags;
    uint8_t prolog_size;
    uint8_t code_count;
    uint8_t frame;
    uint16_t codes[]; /* offset in prolog: 8 bits, operation: 4, information: 4 */
};

struct function {
    uint32_t begin;
    uint32_t end;
    uint32_t unwind;
};

struct scope {
    uint32_t begin;
    uint32_t end;
    uint32_t handler; /* filter, __finally block, or 1: handles everything */
    uint32_t target;  /* 0: a __finally block */
};

enum {
    UWOP_PUSH_NONVOL,
    UWOP_ALLOC_LARGE,
    UWOP_ALLOC_SMALL,
    UWOP_SET_FPREG,
    UWOP_SAVE_NONVOL,
    UWOP_SAVE_NONVOL_FAR,
    UWOP_EPILOG,
    UWOP_SPARE,
    UWOP_SAVE_XMM128,
    UWOP_SAVE_XMM128_FAR,
    UWOP_PUSH_MACHFRAME
};

#define FLAG_EXCEPTION 1u
#define FLAG_UNWIND    2u
#define FLAG_CHAINED   4u

/* One function on the stack. */
struct frame {
    const struct nt_image *image;
    const struct unwind_info *info;
    uint32_t pc;          /* offset in the image */
    uint64_t establisher; /* frame pointer that filters and __finally blocks get */
    const struct scope *scopes;
    uint32_t scope_count;
};

static uint64_t load(uint64_t address)
{
    uint64_t value;
    memcpy(&value, (const void *)address, sizeof value);
    return value;
}

static const struct function *find_function(const struct nt_image *image, uint32_t pc)
{
    const struct function *table =
        (const struct function *)(const void *)(image->base + image->pdata);
    size_t low = 0, high = image->pdata_size / sizeof *table;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (pc >= table[middle].end)
            low = middle + 1;
        else if (pc < table[middle].begin)
            high = middle;
        else
            return &table[middle];
    }
    return NULL;
}

bool nt_seh_has_function(const struct nt_image *image, uintptr_t address)
{
    return find_function(image, (uint32_t)(address - (uintptr_t)image->base)) != NULL;
}

/* Slots of one unwind code. */
static uint32_t slots(uint16_t code)
{
    switch (code >> 8 & 15) {
    case UWOP_ALLOC_LARGE:
        return (code >> 12) == 0 ? 2 : 3;
    case UWOP_SAVE_NONVOL:
    case UWOP_SAVE_XMM128:
    case UWOP_EPILOG:
        return 2;
    case UWOP_SAVE_NONVOL_FAR:
    case UWOP_SAVE_XMM128_FAR:
        return 3;
    default:
        return 1;
    }
}

static uint32_t wide(const uint16_t *codes)
{
    return codes[1] | (uint32_t)codes[2] << 16;
}

static void undo(const uint16_t *codes, const struct unwind_info *info, uint64_t frame_base,
                 struct nt_context *context)
{
    uint32_t operation = codes[0] >> 8 & 15, information = codes[0] >> 12;
    switch (operation) {
    case UWOP_PUSH_NONVOL:
        context->r[information] = load(context->r[NT_RSP]);
        context->r[NT_RSP] += 8;
        break;
    case UWOP_ALLOC_LARGE:
        context->r[NT_RSP] += information == 0 ? codes[1] * UINT64_C(8) : wide(codes);
        break;
    case UWOP_ALLOC_SMALL:
        context->r[NT_RSP] += information * 8 + 8;
        break;
    case UWOP_SET_FPREG:
        context->r[NT_RSP] = context->r[info->frame & 15] - (info->frame >> 4) * UINT64_C(16);
        break;
    case UWOP_SAVE_NONVOL:
        context->r[information] = load(frame_base + codes[1] * UINT64_C(8));
        break;
    case UWOP_SAVE_NONVOL_FAR:
        context->r[information] = load(frame_base + wide(codes));
        break;
    case UWOP_SAVE_XMM128:
        memcpy(context->xmm[information], (const void *)(frame_base + codes[1] * UINT64_C(16)), 16);
        break;
    case UWOP_SAVE_XMM128_FAR:
        memcpy(context->xmm[information], (const void *)(frame_base + wide(codes)), 16);
        break;
    default:
        nt_broken(NT_RULE_IMAGE, "unwind code %u is not expected in a driver", operation);
    }
}

static const struct function *chained(const struct unwind_info *info)
{
    uint32_t count = (info->code_count + 1u) & ~1u;
    return (const struct function *)(const void *)&info->codes[count];
}

/* The caller of the frame. */
static void unwind(const struct frame *frame, uint32_t function_begin, struct nt_context *context)
{
    const struct unwind_info *info = frame->info;
    uint32_t offset = frame->pc - function_begin;
    uint64_t frame_base = frame->establisher;
    bool whole = false; /* in a chained one all of the prolog was executed */
    for (;;) {
        for (uint32_t i = 0; i < info->code_count; i += slots(info->codes[i])) {
            if (whole || (info->codes[i] & 0xFF) <= offset)
                undo(&info->codes[i], info, frame_base, context);
        }
        if ((info->version_flags >> 3 & FLAG_CHAINED) == 0)
            break;
        info =
            (const struct unwind_info *)(const void *)(frame->image->base + chained(info)->unwind);
        whole = true;
    }
    context->rip = load(context->r[NT_RSP]);
    context->r[NT_RSP] += 8;
}

static uint64_t establisher_of(const struct unwind_info *info, uint32_t offset,
                               const struct nt_context *context)
{
    if ((info->frame & 15) == 0)
        return context->r[NT_RSP];
    for (uint32_t i = 0; i < info->code_count; i += slots(info->codes[i])) {
        if ((info->codes[i] >> 8 & 15) == UWOP_SET_FPREG && (info->codes[i] & 0xFF) > offset)
            return context->r[NT_RSP]; /* not set yet */
    }
    return context->r[info->frame & 15] - (info->frame >> 4) * UINT64_C(16);
}

static void find_scopes(struct frame *frame, const struct function *function)
{
    const struct unwind_info *info = frame->info;
    const struct nt_image *image = frame->image;
    frame->scope_count = 0;
    if ((info->version_flags >> 3 & (FLAG_EXCEPTION | FLAG_UNWIND)) == 0 ||
        (info->version_flags >> 3 & FLAG_CHAINED) != 0)
        return;
    (void)function;
    uint32_t count = (info->code_count + 1u) & ~1u;
    const uint32_t *data = (const uint32_t *)(const void *)&info->codes[count];
    /* data[0] is the language's handler: a jump through the import of __C_specific_handler. */
    const uint8_t *thunk = image->base + data[0];
    int32_t displacement;
    memcpy(&displacement, thunk + 2, sizeof displacement);
    if (thunk[0] != 0xFF || thunk[1] != 0x25 ||
        load((uintptr_t)thunk + 6 + (uint64_t)(int64_t)displacement) !=
            (uintptr_t)nt_export_address("__C_specific_handler", true))
        nt_broken(NT_RULE_IMAGE, "an exception handler that is not __C_specific_handler");
    frame->scope_count = data[1];
    frame->scopes = (const struct scope *)(const void *)&data[2];
}

/* Out of a leaf of the stand-in that was called by the driver; see leaf.S. */
static void leave_leaf(struct nt_context *context)
{
    if (context->rip < (uintptr_t)nt_leaf_begin || context->rip >= (uintptr_t)nt_leaf_end)
        return;
    if (*(const uint8_t *)context->rip == 0xF3) { /* rep: rdi and rsi are in r10 and r11 */
        context->r[NT_RDI] = context->r[10];
        context->r[NT_RSI] = context->r[11];
    }
    context->rip = load(context->r[NT_RSP]);
    context->r[NT_RSP] += 8;
}

/* Describes the function that the context is in and moves the context to its caller. False: the
 * context is not in a driver. */
static bool next_frame(struct nt_context *context, struct frame *frame)
{
    memset(frame, 0, sizeof *frame);
    frame->image = nt_image_at(context->rip);
    if (frame->image == NULL)
        return false;
    frame->pc = (uint32_t)(context->rip - (uintptr_t)frame->image->base);
    const struct function *function = find_function(frame->image, frame->pc);
    if (function == NULL) { /* a leaf of the driver */
        context->rip = load(context->r[NT_RSP]);
        context->r[NT_RSP] += 8;
        return true;
    }
    frame->info = (const struct unwind_info *)(const void *)(frame->image->base + function->unwind);
    frame->establisher = establisher_of(frame->info, frame->pc - function->begin, context);
    find_scopes(frame, function);
    unwind(frame, function->begin, context);
    return true;
}

static bool covers(const struct scope *scope, uint32_t pc)
{
    return pc >= scope->begin && pc < scope->end;
}

bool nt_seh_covered(const struct nt_context *start)
{
    struct nt_context context = *start;
    struct frame frame;
    leave_leaf(&context);
    while (next_frame(&context, &frame)) {
        for (uint32_t i = 0; i < frame.scope_count; i++) {
            if (covers(&frame.scopes[i], frame.pc) && frame.scopes[i].target != 0)
                return true;
        }
    }
    return false;
}

/* ---- dispatch -------------------------------------------------------------------------------------- */

struct exception_record { /* EXCEPTION_RECORD */
    NTSTATUS code;
    uint32_t flags;
    struct exception_record *nested;
    uint64_t address;
    uint32_t count;
    uint32_t padding;
    uint64_t information[15];
};

struct exception_pointers {
    struct exception_record *record;
    void *context;
};

typedef int32_t(NTAPI *filter_function)(struct exception_pointers *pointers, uint64_t frame);
typedef void(NTAPI *finally_function)(uint8_t abnormal, uint64_t frame);

static void *in_image(const struct frame *frame, uint32_t rva)
{
    return frame->image->base + rva;
}

/* What the scope's filter says: 1 handle, 0 search on, -1 continue where it was. */
static int32_t ask(const struct frame *frame, const struct scope *scope,
                   struct exception_pointers *pointers)
{
    if (scope->handler == 1)
        return 1;
    return ((filter_function)(uintptr_t)in_image(frame, scope->handler))(pointers,
                                                                         frame->establisher);
}

/* Unwinds to the frame with `establisher` and scope number `index`, and goes on in its handler. */
static _Noreturn void unwind_to(const struct nt_context *start, uint64_t establisher,
                                uint32_t index, NTSTATUS code)
{
    struct nt_context context = *start, before;
    struct frame frame;
    for (;;) {
        before = context;
        if (!next_frame(&context, &frame))
            break;
        bool target = frame.scope_count != 0 && frame.establisher == establisher;
        for (uint32_t i = 0; i < frame.scope_count && !(target && i == index); i++) {
            if (covers(&frame.scopes[i], frame.pc) && frame.scopes[i].target == 0)
                ((finally_function)(uintptr_t)in_image(&frame, frame.scopes[i].handler))(
                    1, frame.establisher);
        }
        if (!target)
            continue;
        before.rip = (uintptr_t)in_image(&frame, frame.scopes[index].target);
        before.r[NT_RAX] = (uint32_t)code;
        nt_context_resume(&before);
    }
    nt_broken(NT_RULE_EXCEPTION, "a handler was found and then lost");
}

void nt_seh_raise(void)
{
    struct nt_thread *thread = nt_self;
    struct nt_context start = thread->fault_context;
    leave_leaf(&start);
    struct nt_context context = start;
    struct exception_record record = {
        .code = thread->fault_code,
        .address = thread->fault_context.rip,
        .count = 2,
        .information = {thread->fault_information[0], thread->fault_information[1]}};
    uint8_t windows_context[1232] = {0}; /* CONTEXT: for filters that look at it */
    struct exception_pointers pointers = {&record, windows_context};
    struct frame frame;
    while (next_frame(&context, &frame)) {
        for (uint32_t i = 0; i < frame.scope_count; i++) {
            if (!covers(&frame.scopes[i], frame.pc) || frame.scopes[i].target == 0)
                continue;
            int32_t answer = ask(&frame, &frame.scopes[i], &pointers);
            if (answer < 0)
                nt_context_resume(&thread->fault_context);
            if (answer > 0)
                unwind_to(&start, frame.establisher, i, record.code);
        }
    }
    char where[128];
    nt_place(record.address, where, sizeof where);
    nt_broken(NT_RULE_EXCEPTION, "exception 0x%08x at %s, address 0x%llx, is handled by nobody",
              (unsigned)record.code, where, (unsigned long long)record.information[1]);
}

/* ---- exports ----------------------------------------------------------------------------------------- */

/* Called by leaf.S with the driver's arguments. */
NTAPI NTSTATUS nt_probe_read(const void *address, size_t size, uint32_t alignment);
NTAPI NTSTATUS nt_probe_write(const void *address, size_t size, uint32_t alignment);

NTAPI NTSTATUS nt_probe_read(const void *address, size_t size, uint32_t alignment)
{
    uintptr_t begin = (uintptr_t)address;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 16)
        nt_broken(NT_RULE_PARAMETER, "%s: alignment %u", nt_self->routine, alignment);
    if (size == 0)
        return STATUS_SUCCESS; /* "If Length is zero, no checks are done" */
    if ((begin & (alignment - 1)) != 0)
        return STATUS_DATATYPE_MISALIGNMENT;
    if (begin + size < begin || !nt_is_user(begin) || !nt_is_user(begin + size - 1))
        return STATUS_ACCESS_VIOLATION;
    return STATUS_SUCCESS;
}

/* Windows also writes to each page; the copy that follows will find out here. */
NTAPI NTSTATUS nt_probe_write(const void *address, size_t size, uint32_t alignment)
{
    return nt_probe_read(address, size, alignment);
}

/* Named in tables, never called: the stand-in does its work. */
static NTAPI uint32_t __C_specific_handler(void)
{
    nt_broken(NT_RULE_PARAMETER, "__C_specific_handler was called by the driver");
}

extern void nt_ProbeForRead(void), nt_ProbeForWrite(void), nt_ExRaiseStatus(void);

static const struct nt_export exports[] = {
    {"ProbeForRead", nt_ProbeForRead, NULL, PASSIVE_LEVEL, APC_LEVEL, false, false, 0,
     "wdm/nf-wdm-probeforread"},
    {"ProbeForWrite", nt_ProbeForWrite, NULL, PASSIVE_LEVEL, APC_LEVEL, false, false, 0,
     "wdm/nf-wdm-probeforwrite"},
    {"ExRaiseStatus", nt_ExRaiseStatus, NULL, PASSIVE_LEVEL, APC_LEVEL, false, false, 0,
     "wdm/nf-wdm-exraisestatus"},
    NT_ROUTINE(__C_specific_handler, PASSIVE_LEVEL, HIGH_LEVEL, "see seh.c"),
};
const struct nt_export_table nt_seh_table = NT_TABLE(exports);
