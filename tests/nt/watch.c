/*
 * A reader that keeps what it reads; see watch.h. One thread. "All events of before this call" are those up to
 * the number that the sensor gave last, as its statistics tell.
 */
#include "watch.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "kernel.h"

static void keep(void *context, const struct wvu_record *record)
{
    struct nt_watch *watch = context;
    nt_require(watch->count < NT_WATCH_MAX, "more events than anybody asks for");
    struct wvu_record *copy = malloc(record->size);
    if (copy == NULL)
        abort();
    memcpy(copy, record, record->size);
    watch->records[watch->count++] = copy;
}

static void remove_at(struct nt_watch *watch, size_t index)
{
    free(watch->records[index]);
    watch->count--;
    memmove(&watch->records[index], &watch->records[index + 1],
            (watch->count - index) * sizeof watch->records[0]);
}

static void remove_all(struct nt_watch *watch)
{
    while (watch->count != 0)
        free(watch->records[--watch->count]);
}

void nt_watch_end(struct nt_watch *watch)
{
    nt_reader_disconnect(&watch->reader);
    remove_all(watch);
}

struct search {
    struct nt_watch *watch;
    uint16_t type;
    uint32_t process_id;
    size_t index; /* where it was found */
};

static bool find(void *context)
{
    struct search *search = context;
    for (search->index = 0; search->index < search->watch->count; search->index++) {
        const struct wvu_record *record = search->watch->records[search->index];
        if (record->type == search->type &&
            (search->process_id == 0 || record->process_id == search->process_id))
            return true;
    }
    return false;
}

/* False when it was not thrown out, or should not have been. */
static bool reconnect(struct nt_watch *watch)
{
    if (!watch->reconnects || !nt_disconnected(watch->reader.client))
        return false;
    nt_reader_disconnect(&watch->reader);
    nt_must_connect(&watch->reader, &watch->stream);
    return true;
}

static void read_up_to_now(struct nt_watch *watch)
{
    if (!nt_reader_try_up_to_now(&watch->reader)) {
        nt_require(reconnect(watch), "not all events come");
        nt_reader_up_to_now(&watch->reader);
    }
}

const void *nt_watch_next(struct nt_watch *watch, uint16_t type, uint32_t process_id)
{
    static uint64_t found[WVU_RECORD_MAX / sizeof(uint64_t)];
    struct search search = {watch, type, process_id, 0};
    if (!find(&search) && !nt_reader_until(&watch->reader, find, &search) && reconnect(watch))
        (void)nt_reader_until(&watch->reader, find, &search);
    nt_require(find(&search), "no event of type 0x%x about process %u came", type, process_id);
    memcpy(found, watch->records[search.index], watch->records[search.index]->size);
    remove_at(watch, search.index);
    return found;
}

bool nt_watch_has(struct nt_watch *watch, uint16_t type, uint32_t process_id)
{
    struct search search = {watch, type, process_id, 0};
    read_up_to_now(watch);
    return find(&search);
}

void nt_watch_forget(struct nt_watch *watch)
{
    read_up_to_now(watch);
    remove_all(watch);
}

void nt_watch_begin(struct nt_watch *watch)
{
    *watch = (struct nt_watch){.stream = {.on_record = keep}};
    watch->stream.context = watch;
    nt_must_connect(&watch->reader, &watch->stream);
    nt_reader_past_start(&watch->reader);
    nt_watch_forget(watch);
}

const char *nt_event_text(const void *record, const struct wvu_text *text)
{
    static char ascii[1024];
    size_t size;
    const uint8_t *bytes = wvu_text_bytes(record, text, &size);
    size_t unit = (((const struct wvu_record *)record)->flags & WVU_RECORD_UTF16) != 0 ? 2 : 1;
    size_t length = 0;
    for (size_t i = 0; i + unit <= size && length < sizeof ascii - 1; i += unit)
        ascii[length++] = (char)bytes[i];
    ascii[length] = '\0';
    return ascii;
}
