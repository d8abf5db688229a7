/*
 * What a callback costs, in instructions: the processor's single-step trap counts each one, in the
 * driver and in the stand-in on its behalf. Exact and the same on every run and machine; an
 * instruction with a repeat prefix counts once for each repetition.
 *
 * Only for the calling thread.
 */
#include <string.h>

#include "kernel.h"

void nt_step_count(struct nt_thread *thread, uint64_t rip)
{
    if (thread->depth == 0)
        return;
    if (nt_image_at(rip) != NULL)
        thread->cost.driver++;
    else
        thread->cost.kernel++;
}

void nt_cost_begin(void)
{
    memset(&nt_self->cost, 0, sizeof nt_self->cost);
    nt_self->counting = true;
    __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}

struct nt_cost nt_cost_end(void)
{
    nt_self->counting = false;
    __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
    return nt_self->cost;
}
