/*
 * Walking through a checked message: records, fields, texts. Everything here relies on wvu_check having
 * accepted the message; nothing is checked twice. Any thread; no state.
 */
#include "winvirtue/winvirtue.h"

const struct wvu_record *wvu_next(const wvu_message *message, const struct wvu_record *record)
{
    const struct wvu_batch *batch = message->batch;
    const char *end = (const char *)batch + batch->size;
    const char *at = record == NULL ? (const char *)batch + batch->header_size
                                    : (const char *)record + record->size;
    return at < end ? (const void *)at : NULL;
}

bool wvu_has(const struct wvu_record *record, unsigned field)
{
    return field < 64 && (record->present >> field & 1) != 0;
}

const void *wvu_text_bytes(const struct wvu_record *record, const struct wvu_text *text,
                           size_t *size)
{
    *size = text->size;
    return text->size != 0 ? (const char *)record + text->offset : NULL;
}
