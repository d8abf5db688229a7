/*
 * A hash table of processes by id. Filled and emptied by the process probe (start and end of each process,
 * at PASSIVE_LEVEL), asked by every probe for each event (up to DISPATCH_LEVEL), listed by the process list
 * validation and when the filter changes.
 *
 * Bounded: all entries are taken from the pool once and chained into buckets by index. Nothing here waits or
 * allocates on the way of an event; one event costs one short chain under one spin lock.
 *
 * Locks: each of LOCKS spin locks guards every LOCKS-th bucket, so that processors that look up different
 * processes do not meet; `free_lock` guards the list of free entries and is never held together with another.
 * The memory is non-paged, as spin locks demand.
 *
 * `open` is written at PASSIVE by the process probe's start and stop. After close the probe's callbacks have
 * ended (its run-down), so nothing can be added behind it.
 */
#include "process_table.h"

#include <string.h>

#include "atomic.h"

#define TABLE_TAG WVU_TAG('W', 'v', 'P', 't')
#define BUCKETS   4096u
#define LOCKS     64u
#define NONE      UINT32_MAX

struct slot {
    struct wvu_process_entry entry;
    uint32_t next; /* in its bucket, or in the list of free ones */
};

/* Alone in its line of the cache. */
struct bucket_lock {
    wvu_lock lock;
    uint8_t padding[64 - sizeof(wvu_lock)];
};

struct wvu_process_table {
    struct bucket_lock locks[LOCKS];
    uint32_t buckets[BUCKETS]; /* index of the first slot; NONE */
    wvu_lock free_lock;
    uint32_t free;   /* index of the first free slot; under free_lock */
    uint32_t open;   /* relaxed */
    uint32_t count;  /* under free_lock, read relaxed */
    uint64_t missed; /* relaxed */
    struct slot slots[WVU_PROCESS_TABLE_CAPACITY];
};

/* Ids are multiples of 4 and given in sequence: neighbours fall into different buckets and locks. */
static uint32_t bucket_of(uint32_t process_id)
{
    return process_id / 4 % BUCKETS;
}

static wvu_lock *lock_of(struct wvu_process_table *table, uint32_t bucket)
{
    return &table->locks[bucket % LOCKS].lock;
}

/* ---- slots: free_lock is taken here --------------------------------------------------------------- */

static uint32_t take_slot(struct wvu_process_table *table)
{
    wvu_lock_acquire(&table->free_lock);
    uint32_t index = table->free;
    if (index != NONE) {
        table->free = table->slots[index].next;
        wvu_store_relaxed(&table->count, table->count + 1);
    }
    wvu_lock_release(&table->free_lock);
    return index;
}

static void put_slot(struct wvu_process_table *table, uint32_t index)
{
    wvu_lock_acquire(&table->free_lock);
    table->slots[index].next = table->free;
    table->free = index;
    wvu_store_relaxed(&table->count, table->count - 1);
    wvu_lock_release(&table->free_lock);
}

/* ---- chains: the bucket's lock is held -------------------------------------------------------------- */

/* Where the index of the process's slot stands; *place is NONE when it is not there. */
static uint32_t *place_of(struct wvu_process_table *table, uint32_t process_id)
{
    uint32_t *place = &table->buckets[bucket_of(process_id)];
    while (*place != NONE && table->slots[*place].entry.process_id != process_id)
        place = &table->slots[*place].next;
    return place;
}

static struct wvu_process_entry *entry_of(struct wvu_process_table *table, uint32_t process_id)
{
    uint32_t index = *place_of(table, process_id);
    return index != NONE ? &table->slots[index].entry : NULL;
}

/* ---- one process: Any ------------------------------------------------------------------------------- */

/* Puts the entry into `spare` or into the slot that its id has already; false: it took no slot. */
static bool insert(struct wvu_process_table *table, const struct wvu_process_entry *entry,
                   uint32_t spare)
{
    uint32_t bucket = bucket_of(entry->process_id);
    wvu_lock_acquire(lock_of(table, bucket));
    struct wvu_process_entry *present = entry_of(table, entry->process_id);
    if (present != NULL) {
        /* Without keys (old kernels) a start that was seen is a new process. */
        if (present->process_key != entry->process_key ||
            (entry->process_key == 0 && !entry->was_running))
            *present = *entry;
        /* Announced while it was being created: its first thread is still to come. */
        else if (present->was_running && !entry->was_running)
            present->threads = entry->threads;
    } else {
        table->slots[spare].entry = *entry;
        table->slots[spare].next = table->buckets[bucket];
        table->buckets[bucket] = spare;
    }
    wvu_lock_release(lock_of(table, bucket));
    return present == NULL;
}

bool wvu_process_table_add(struct wvu_process_table *table, const struct wvu_process_entry *entry)
{
    if (!wvu_process_table_is_open(table))
        return false;
    uint32_t spare = take_slot(table);
    if (spare == NONE) {
        wvu_add64_relaxed(&table->missed, 1);
        return false;
    }
    if (!insert(table, entry, spare))
        put_slot(table, spare);
    return true;
}

bool wvu_process_table_remove(struct wvu_process_table *table, uint32_t process_id, uint64_t key,
                              struct wvu_process_entry *entry)
{
    uint32_t bucket = bucket_of(process_id);
    wvu_lock_acquire(lock_of(table, bucket));
    uint32_t *place = place_of(table, process_id);
    uint32_t index = *place;
    if (index != NONE && key != 0 && table->slots[index].entry.process_key != key)
        index = NONE;
    if (index != NONE) {
        if (entry != NULL)
            *entry = table->slots[index].entry;
        *place = table->slots[index].next;
    }
    wvu_lock_release(lock_of(table, bucket));
    if (index != NONE)
        put_slot(table, index);
    return index != NONE;
}

bool wvu_process_table_find(struct wvu_process_table *table, uint32_t process_id,
                            struct wvu_process_entry *entry)
{
    uint32_t bucket = bucket_of(process_id);
    wvu_lock_acquire(lock_of(table, bucket));
    const struct wvu_process_entry *present = entry_of(table, process_id);
    if (present != NULL)
        *entry = *present;
    wvu_lock_release(lock_of(table, bucket));
    return present != NULL;
}

uint32_t wvu_process_table_wanted(struct wvu_process_table *table, uint32_t process_id)
{
    uint32_t bucket = bucket_of(process_id);
    wvu_lock_acquire(lock_of(table, bucket));
    const struct wvu_process_entry *present = entry_of(table, process_id);
    uint32_t wanted = present != NULL ? present->wanted : WVU_WANTED_ALL;
    wvu_lock_release(lock_of(table, bucket));
    return wanted;
}

void wvu_process_table_judged(struct wvu_process_table *table, uint32_t process_id, uint64_t key,
                              const struct wvu_verdict *verdict)
{
    uint32_t bucket = bucket_of(process_id);
    wvu_lock_acquire(lock_of(table, bucket));
    struct wvu_process_entry *present = entry_of(table, process_id);
    if (present != NULL && present->process_key == key) {
        present->wanted = verdict->wanted;
        present->as_parent = verdict->as_parent;
        present->is_protected = verdict->is_protected;
    }
    wvu_lock_release(lock_of(table, bucket));
}

/* ---- threads: Any ----------------------------------------------------------------------------------- */

static enum wvu_thread_place count_thread(struct wvu_process_table *table, uint32_t process_id,
                                          bool starts)
{
    enum wvu_thread_place place = WVU_THREAD_PLACE_UNKNOWN;
    uint32_t bucket = bucket_of(process_id);
    wvu_lock_acquire(lock_of(table, bucket));
    struct wvu_process_entry *present = entry_of(table, process_id);
    if (present != NULL)
        place = WVU_THREAD_BETWEEN;
    if (present != NULL && present->threads != WVU_THREADS_UNKNOWN &&
        (starts || present->threads != 0)) {
        uint32_t before = present->threads;
        uint32_t after = starts ? before + 1 : before - 1;
        present->threads = after;
        if (before == 0 || after == 0)
            place = WVU_THREAD_FIRST_OR_LAST;
    }
    wvu_lock_release(lock_of(table, bucket));
    return place;
}

enum wvu_thread_place wvu_process_table_thread_starts(struct wvu_process_table *table,
                                                      uint32_t process_id)
{
    return count_thread(table, process_id, true);
}

enum wvu_thread_place wvu_process_table_thread_ends(struct wvu_process_table *table,
                                                    uint32_t process_id)
{
    return count_thread(table, process_id, false);
}

/* ---- all of them ------------------------------------------------------------------------------------ */

void wvu_process_table_forget_threads(struct wvu_process_table *table)
{
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        wvu_lock_acquire(lock_of(table, bucket));
        for (uint32_t i = table->buckets[bucket]; i != NONE; i = table->slots[i].next)
            table->slots[i].entry.threads = WVU_THREADS_UNKNOWN;
        wvu_lock_release(lock_of(table, bucket));
    }
}

void wvu_process_table_want_all(struct wvu_process_table *table)
{
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        wvu_lock_acquire(lock_of(table, bucket));
        for (uint32_t i = table->buckets[bucket]; i != NONE; i = table->slots[i].next) {
            table->slots[i].entry.wanted = WVU_WANTED_ALL;
            table->slots[i].entry.as_parent = 0;
        }
        wvu_lock_release(lock_of(table, bucket));
    }
}

size_t wvu_process_table_list(struct wvu_process_table *table, struct wvu_process_entry *entries,
                              size_t capacity)
{
    size_t count = 0;
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        wvu_lock_acquire(lock_of(table, bucket));
        for (uint32_t i = table->buckets[bucket]; i != NONE; i = table->slots[i].next) {
            if (count < capacity)
                entries[count] = table->slots[i].entry;
            count++;
        }
        wvu_lock_release(lock_of(table, bucket));
    }
    return count;
}

bool wvu_process_table_is_open(const struct wvu_process_table *table)
{
    return wvu_load_relaxed(&table->open) != 0;
}

uint64_t wvu_process_table_missed(const struct wvu_process_table *table)
{
    return wvu_load64_relaxed((uint64_t *)&table->missed);
}

uint32_t wvu_process_table_count(const struct wvu_process_table *table)
{
    return wvu_load_relaxed(&table->count);
}

/* ---- life: PASSIVE ---------------------------------------------------------------------------------- */

static void remove_all(struct wvu_process_table *table)
{
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++)
        table->buckets[bucket] = NONE;
    for (uint32_t i = 0; i < WVU_PROCESS_TABLE_CAPACITY; i++)
        table->slots[i].next = i + 1 < WVU_PROCESS_TABLE_CAPACITY ? i + 1 : NONE;
    table->free = 0;
    table->count = 0;
}

wvu_status wvu_process_table_create(struct wvu_process_table **out)
{
    struct wvu_process_table *table = wvu_os_alloc(sizeof *table, TABLE_TAG);
    *out = table;
    if (table == NULL)
        return WVU_STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < LOCKS; i++)
        wvu_lock_init(&table->locks[i].lock);
    wvu_lock_init(&table->free_lock);
    remove_all(table);
    return WVU_STATUS_OK;
}

void wvu_process_table_destroy(struct wvu_process_table *table)
{
    wvu_os_free(table, TABLE_TAG);
}

void wvu_process_table_open(struct wvu_process_table *table)
{
    wvu_store_relaxed(&table->open, 1);
}

/* One by one, because other probes may be looking. */
void wvu_process_table_close(struct wvu_process_table *table)
{
    wvu_store_relaxed(&table->open, 0);
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        wvu_lock_acquire(lock_of(table, bucket));
        uint32_t first = table->buckets[bucket];
        table->buckets[bucket] = NONE;
        wvu_lock_release(lock_of(table, bucket));
        while (first != NONE) {
            uint32_t next = table->slots[first].next;
            put_slot(table, first);
            first = next;
        }
    }
}
