/*
 * The processes that run, as the process probe saw them start: what the filter said about each, and the
 * history that others can compare with what the system says. See process_table.c.
 *
 * One table, from load to unload; it is filled while the process probe runs and empty otherwise. What it
 * does not have is unknown, not absent: a process may have had no room (wvu_process_table_missed).
 */
#ifndef WVU_PROCESS_TABLE_H
#define WVU_PROCESS_TABLE_H

#include "filter.h"
#include "os.h"

/* More than any machine runs, short of a server that has given up. */
#define WVU_PROCESS_TABLE_CAPACITY 8192u

#define WVU_THREADS_UNKNOWN UINT32_MAX

struct wvu_process_table;

struct wvu_process_entry {
    uint64_t process_key;
    uint64_t parent_key; /* 0: not known */
    uint64_t as_parent;  /* wvu_verdict.as_parent, for its children */
    uint32_t process_id;
    uint32_t parent_id;
    uint32_t wanted;   /* wvu_verdict.wanted: mask of kinds of event */
    uint32_t threads;  /* how many run, when all were seen; WVU_THREADS_UNKNOWN otherwise */
    bool is_protected; /* wvu_verdict.is_protected */
    bool was_running;  /* it was there when the probe started; its start was not seen */
};

/* What a thread's start or end means for its process. */
enum wvu_thread_place {
    WVU_THREAD_PLACE_UNKNOWN, /* the process is not known */
    WVU_THREAD_FIRST_OR_LAST, /* it starts or ends with its process */
    WVU_THREAD_BETWEEN        /* it does not; or it ends and not all threads were seen */
};

/* PASSIVE. All memory is taken here. */
wvu_status wvu_process_table_create(struct wvu_process_table **table);
void wvu_process_table_destroy(struct wvu_process_table *table); /* NULL is allowed */

/* PASSIVE, by the process probe: before its first process, and after its last one. */
void wvu_process_table_open(struct wvu_process_table *table);
void wvu_process_table_close(struct wvu_process_table *table);

/* Any. Takes the place of an entry with the same id and another key; an entry with the same key stays as
 * it is. False: there is no room (counted), or the table is closed. */
bool wvu_process_table_add(struct wvu_process_table *table, const struct wvu_process_entry *entry);
/* Any. `key` 0: whichever it is. `entry` NULL: not asked for. False: it is not there. */
bool wvu_process_table_remove(struct wvu_process_table *table, uint32_t process_id, uint64_t key,
                              struct wvu_process_entry *entry);
bool wvu_process_table_find(struct wvu_process_table *table, uint32_t process_id,
                            struct wvu_process_entry *entry);
/* Any. The kinds of event that are wanted of it; WVU_WANTED_ALL when it is not known. */
uint32_t wvu_process_table_wanted(struct wvu_process_table *table, uint32_t process_id);
/* Any. The filter changed: the new verdict about the process, if it is still there. */
void wvu_process_table_judged(struct wvu_process_table *table, uint32_t process_id, uint64_t key,
                              const struct wvu_verdict *verdict);

/* PASSIVE. What the filter says is not known: all events of all processes are wanted. */
void wvu_process_table_want_all(struct wvu_process_table *table);

/* Any. By the thread probe, for each thread that starts and ends. */
enum wvu_thread_place wvu_process_table_thread_starts(struct wvu_process_table *table,
                                                      uint32_t process_id);
enum wvu_thread_place wvu_process_table_thread_ends(struct wvu_process_table *table,
                                                    uint32_t process_id);
/* PASSIVE, by the thread probe when it starts: the threads of those that are there were not counted. */
void wvu_process_table_forget_threads(struct wvu_process_table *table);

/* Any. Copies up to `capacity` entries, in no order, into memory that never pages; returns how many there
 * are, which may be more. Not one instant: a process that starts or ends meanwhile may be in or out. */
size_t wvu_process_table_list(struct wvu_process_table *table, struct wvu_process_entry *entries,
                              size_t capacity);

bool wvu_process_table_is_open(const struct wvu_process_table *table); /* Any */
/* Any. Processes for which there was no room, since the table was created. */
uint64_t wvu_process_table_missed(const struct wvu_process_table *table);
uint32_t wvu_process_table_count(const struct wvu_process_table *table);

#endif
