/*
 * A hash table with chains over a fixed array. Pids are handed out in sequence, so their low bits spread
 * them evenly over the buckets without any hashing. One thread, no locks; no system call after
 * create.
 *
 * Invariant: an entry that is not FREE is in exactly one bucket; it is in the list `list` says, if any.
 */
#include "processes.h"

#include <string.h>

#include "blocks.h"
#include "filter.h"
#include "os.h"

#define PROCESSES_TAG WVU_TAG('W', 'v', 'P', 't')

/* Two threads of a process can both report its end; between the two there are some microseconds, or the
 * time it takes until a preempted thread runs again: at 25,000 ends a second this is 40 ms. */
#define ENDED_MAX 1024u

static uint32_t index_of(const struct wvu_processes *table, const struct wvu_process *process)
{
    return (uint32_t)(process - table->entries);
}

wvu_status wvu_processes_create(struct wvu_processes *table, uint32_t count)
{
    uint32_t buckets = 16;
    memset(table, 0, sizeof *table);
    while (buckets < count)
        buckets *= 2;
    table->entries = wvu_os_alloc(count * sizeof *table->entries, PROCESSES_TAG);
    table->buckets = wvu_os_alloc(buckets * sizeof *table->buckets, PROCESSES_TAG);
    if (table->entries == NULL || table->buckets == NULL) {
        wvu_processes_destroy(table);
        return WVU_STATUS_NO_MEMORY;
    }
    table->count = count;
    table->mask = buckets - 1;
    table->ended_max = count / 4 < ENDED_MAX ? count / 4 : ENDED_MAX;
    for (uint32_t i = 0; i < buckets; i++)
        table->buckets[i] = WVU_PROCESS_NONE;
    for (uint32_t i = 0; i < count; i++)
        table->entries[i].next = i + 1 < count ? i + 1 : WVU_PROCESS_NONE;
    table->free = 0;
    for (uint32_t list = 0; list < WVU_LISTS; list++) {
        table->oldest[list] = WVU_PROCESS_NONE;
        table->newest[list] = WVU_PROCESS_NONE;
    }
    return WVU_STATUS_OK;
}

void wvu_processes_destroy(struct wvu_processes *table)
{
    wvu_os_free(table->buckets, PROCESSES_TAG);
    wvu_os_free(table->entries, PROCESSES_TAG);
    memset(table, 0, sizeof *table);
}

struct wvu_process *wvu_processes_find(const struct wvu_processes *table, uint32_t pid)
{
    uint32_t index = table->buckets[pid & table->mask];
    while (index != WVU_PROCESS_NONE && table->entries[index].task.pid != pid)
        index = table->entries[index].next;
    return index != WVU_PROCESS_NONE ? &table->entries[index] : NULL;
}

struct wvu_process *wvu_processes_take(struct wvu_processes *table, uint32_t pid)
{
    if (table->free == WVU_PROCESS_NONE) {
        struct wvu_process *ended = wvu_processes_oldest(table, WVU_LIST_ENDED);
        if (ended == NULL)
            return NULL;
        wvu_processes_release(table, ended);
    }
    uint32_t index = table->free;
    struct wvu_process *process = &table->entries[index];
    table->free = process->next;
    *process = (struct wvu_process){
        .task.pid = pid,
        .state = WVU_PROCESS_UNKNOWN,
        .wanted = WVU_WANTED_ALL,
        .program = WVU_BLOCK_NONE,
        .held_first = WVU_BLOCK_NONE,
        .held_last = WVU_BLOCK_NONE,
        .next = table->buckets[pid & table->mask],
        .older = WVU_PROCESS_NONE,
        .newer = WVU_PROCESS_NONE,
    };
    table->buckets[pid & table->mask] = index;
    table->used++;
    return process;
}

void wvu_processes_release(struct wvu_processes *table, struct wvu_process *process)
{
    uint32_t index = index_of(table, process);
    uint32_t *link = &table->buckets[process->task.pid & table->mask];
    while (*link != index)
        link = &table->entries[*link].next;
    *link = process->next;
    wvu_processes_delist(table, process);
    if (process->state != WVU_PROCESS_ENDED)
        table->used--;
    process->state = WVU_PROCESS_FREE;
    process->next = table->free;
    table->free = index;
}

void wvu_processes_end(struct wvu_processes *table, struct wvu_process *process)
{
    process->state = WVU_PROCESS_ENDED;
    table->used--;
    wvu_processes_enlist(table, process, WVU_LIST_ENDED);
    if (table->in_list[WVU_LIST_ENDED] > table->ended_max)
        wvu_processes_release(table, wvu_processes_oldest(table, WVU_LIST_ENDED));
}

void wvu_processes_enlist(struct wvu_processes *table, struct wvu_process *process,
                          enum wvu_process_list list)
{
    wvu_processes_delist(table, process);
    uint32_t index = index_of(table, process);
    process->list = (uint8_t)list;
    process->older = table->newest[list];
    process->newer = WVU_PROCESS_NONE;
    if (process->older != WVU_PROCESS_NONE)
        table->entries[process->older].newer = index;
    else
        table->oldest[list] = index;
    table->newest[list] = index;
    table->in_list[list]++;
}

void wvu_processes_delist(struct wvu_processes *table, struct wvu_process *process)
{
    uint32_t list = process->list;
    if (list == WVU_LIST_NONE)
        return;
    if (process->older != WVU_PROCESS_NONE)
        table->entries[process->older].newer = process->newer;
    else
        table->oldest[list] = process->newer;
    if (process->newer != WVU_PROCESS_NONE)
        table->entries[process->newer].older = process->older;
    else
        table->newest[list] = process->older;
    table->in_list[list]--;
    process->list = WVU_LIST_NONE;
}

struct wvu_process *wvu_processes_oldest(const struct wvu_processes *table,
                                         enum wvu_process_list list)
{
    uint32_t index = table->oldest[list];
    return index != WVU_PROCESS_NONE ? &table->entries[index] : NULL;
}
