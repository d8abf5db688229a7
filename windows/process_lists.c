/*
 * Compares the lists of what runs. Called by the probe ProcessListValidation, in the poller's thread, at
 * PASSIVE_LEVEL. No state, no locks; memory from the pool.
 *
 * No process stands still to be compared, so what is found must not depend on luck. The lists are taken one
 * after the other, and once more when anything was found, in the same order: A1 B1 C1 A2 B2 C2. A mismatch
 * counts when one list had the process both times, with the same key, and another one had it neither time.
 * Whichever two these are, there is a time at which the one had it before and after the other had not; and
 * with one key it is one process, which lived all that time. What started or ended meanwhile is in a list
 * once at most.
 *
 * A list that cannot be had, or has gaps, says nothing about what it does not have.
 */
#include "process_lists.h"

#include "growing.h"
#include "os.h"

#define LISTS_TAG WVU_TAG('W', 'v', 'L', 's')

/* ---- lists ------------------------------------------------------------------------------------------ */

void wvu_process_list_add(struct wvu_process_list *list, const struct wvu_listed *process)
{
    wvu_growing_add(list, process, WVU_PROCESS_LIST_MOST, LISTS_TAG);
}

void wvu_process_list_free(struct wvu_process_list *list)
{
    wvu_os_free(list->entries, LISTS_TAG);
    *list = (struct wvu_process_list){.entries = NULL};
}

void wvu_mismatches_free(struct wvu_mismatches *mismatches)
{
    wvu_os_free(mismatches->entries, LISTS_TAG);
    *mismatches = (struct wvu_mismatches){.entries = NULL};
}

/* ---- order: a heap, which needs neither stack nor memory ---------------------------------------------- */

static void swap(struct wvu_listed *a, struct wvu_listed *b)
{
    struct wvu_listed copy = *a;
    *a = *b;
    *b = copy;
}

static void sink(struct wvu_listed *entries, uint32_t at, uint32_t count)
{
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && entries[child + 1].pid > entries[child].pid)
            child++;
        if (entries[at].pid >= entries[child].pid)
            return;
        swap(&entries[at], &entries[child]);
        at = child;
    }
}

void wvu_process_list_sort(struct wvu_process_list *list)
{
    for (uint32_t i = list->count / 2; i-- != 0;)
        sink(list->entries, i, list->count);
    for (uint32_t last = list->count; last-- > 1;) {
        swap(&list->entries[0], &list->entries[last]);
        sink(list->entries, 0, last);
    }
}

/* ---- comparing ---------------------------------------------------------------------------------------- */

/* Adds what a list says of the process; false when two lists say different things: then it is not one
 * process, or not any more. */
static bool join(struct wvu_mismatch *mismatch, const struct wvu_listed *listed, uint32_t list)
{
    bool same = mismatch->key == 0 || listed->key == 0 || mismatch->key == listed->key;
    mismatch->in |= list;
    mismatch->key = mismatch->key != 0 ? mismatch->key : listed->key;
    if (list == WVU_LIST_SYSTEM) {
        mismatch->threads = listed->threads;
        mismatch->first_thread = listed->first_thread;
    }
    return same;
}

void wvu_process_lists_compare(const struct wvu_process_lists *lists,
                               struct wvu_mismatches *mismatches)
{
    uint32_t at[WVU_LISTS] = {0};
    for (;;) {
        struct wvu_mismatch mismatch = {.pid = UINT32_MAX};
        bool any = false, same = true;
        for (uint32_t i = 0; i < WVU_LISTS; i++) {
            const struct wvu_process_list *list = &lists->lists[i];
            if (at[i] < list->count && list->entries[at[i]].pid <= mismatch.pid) {
                mismatch.pid = list->entries[at[i]].pid;
                any = true;
            }
        }
        if (!any)
            return;
        for (uint32_t i = 0; i < WVU_LISTS; i++) {
            const struct wvu_process_list *list = &lists->lists[i];
            while (at[i] < list->count && list->entries[at[i]].pid == mismatch.pid)
                same = join(&mismatch, &list->entries[at[i]++], 1u << i) && same;
        }
        mismatch.not_in = lists->complete & ~mismatch.in;
        if (same && mismatch.not_in != 0)
            wvu_growing_add(mismatches, &mismatch, WVU_PROCESS_LIST_MOST, LISTS_TAG);
    }
}

/* System tells no key; there the process is known by its first thread. */
const struct wvu_mismatch *wvu_mismatches_find(const struct wvu_mismatches *mismatches,
                                               const struct wvu_mismatch *mismatch)
{
    for (uint32_t i = 0; i < mismatches->count; i++) {
        const struct wvu_mismatch *other = &mismatches->entries[i];
        if (other->pid == mismatch->pid && other->key == mismatch->key &&
            (mismatch->key != 0 || other->first_thread == mismatch->first_thread))
            return other;
    }
    return NULL;
}

void wvu_mismatches_confirm(struct wvu_mismatches *first, const struct wvu_mismatches *second)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < first->count; i++) {
        struct wvu_mismatch mismatch = first->entries[i];
        const struct wvu_mismatch *again = wvu_mismatches_find(second, &mismatch);
        if (again == NULL)
            continue;
        mismatch.in &= again->in;
        mismatch.not_in &= again->not_in;
        if (mismatch.in != 0 && mismatch.not_in != 0)
            first->entries[kept++] = mismatch;
    }
    first->count = kept;
}
