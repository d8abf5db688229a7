/*
 * Threads that may enter driver code: their virtual processor state, and the way in and out.
 *
 * An nt_thread belongs to its Linux thread; other threads read it for reports only. The list of all
 * is guarded by nt_lock. System threads of the driver (ps.c) and user threads of a scenario
 * (nt_run_thread) attach; the first thread is attached by nt_init.
 *
 * GS points at a page that stands for the processor control region: gs:[188h] is the current thread,
 * as drivers compiled with KeGetCurrentThread inline read it. Linux programs do not use GS.
 */
#include <asm/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"

#define PCR_SIZE           4096u
#define PCR_CURRENT_THREAD 0x188u

__thread struct nt_thread *nt_self;
pthread_mutex_t nt_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t nt_changed;

static struct nt_thread *threads;
static _Atomic uint64_t next_id = 4;

void nt_threads_init(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&nt_changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static uint8_t *make_pcr(void *current_thread)
{
    uint8_t *pcr = mmap(NULL, PCR_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pcr == MAP_FAILED)
        abort();
    memset(pcr, 0xA7, PCR_SIZE);
    memcpy(pcr + PCR_CURRENT_THREAD, &current_thread, sizeof current_thread);
    mprotect(pcr, PCR_SIZE, PROT_READ);
    return pcr;
}

struct nt_thread *nt_thread_attach(const char *name, struct nt_process *process)
{
    struct nt_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL)
        abort();
    thread->id = atomic_fetch_add(&next_id, 4);
    thread->process = process;
    thread->stepped_register = -1;
    snprintf(thread->name, sizeof thread->name, "%s", name);
    thread->object = nt_object_create(NT_THREAD, thread);
    thread->pcr = make_pcr(thread->object->address);
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, thread->pcr) != 0)
        abort();
    nt_self = thread;
    nt_trap_thread_init();
    nt_keys_apply();
    pthread_mutex_lock(&nt_lock);
    thread->next = threads;
    threads = thread;
    pthread_mutex_unlock(&nt_lock);
    return thread;
}

void nt_thread_detach(void)
{
    struct nt_thread *thread = nt_self;
    if (thread->held_count != 0)
        nt_broken(NT_RULE_LOCK, "thread %s ends and holds %u locks", thread->name,
                  thread->held_count);
    pthread_mutex_lock(&nt_lock);
    for (struct nt_thread **at = &threads; *at != NULL; at = &(*at)->next) {
        if (*at == thread) {
            *at = thread->next;
            break;
        }
    }
    thread->object->signaled = true;
    thread->object->body = NULL;
    pthread_cond_broadcast(&nt_changed);
    pthread_mutex_unlock(&nt_lock);
    nt_object_drop(thread->object);
    munmap(thread->pcr, PCR_SIZE);
    nt_self = NULL;
    free(thread);
}

void nt_threads_dump(void)
{
    for (const struct nt_thread *thread = threads; thread != NULL; thread = thread->next)
        dprintf(STDERR_FILENO, "  thread %-20s irql %u, %u locks, %s %s\n", thread->name,
                thread->irql, thread->held_count,
                thread->depth != 0 ? "in the driver, last call" : "outside",
                thread->routine != NULL ? thread->routine : "");
}

/* ---- in and out -------------------------------------------------------------------------------- */

struct nt_entry nt_enter_driver(const char *what)
{
    struct nt_thread *thread = nt_self;
    struct nt_entry entry = {.irql = thread->irql,
                             .held = thread->held_count,
                             .critical = thread->critical,
                             .stack_top = thread->stack_top,
                             .what = what};
    thread->depth++;
    thread->stack_top = (uintptr_t)__builtin_frame_address(0);
    thread->user_open = false;
    nt_keys_apply();
    return entry;
}

void nt_leave_driver(const struct nt_entry *entry)
{
    struct nt_thread *thread = nt_self;
    if (thread->irql != entry->irql)
        nt_broken(NT_RULE_IRQL_CHANGED, "%s was called at IRQL %u and returned at %u", entry->what,
                  entry->irql, thread->irql);
    if (thread->held_count != entry->held)
        nt_broken(NT_RULE_LOCK, "%s returned with %u locks held; it was called with %u",
                  entry->what, thread->held_count, entry->held);
    if (thread->critical != entry->critical)
        nt_broken(NT_RULE_LOCK, "%s returned with %u critical regions entered; called with %u",
                  entry->what, thread->critical, entry->critical);
    thread->depth--;
    thread->stack_top = entry->stack_top;
    nt_keys_apply();
}
