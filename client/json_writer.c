/*
 * Where JSON goes: the caller's buffer while there is room in it, then a small stage that is emptied into
 * what is left of the buffer and counted. Called by json.c and json_text.c through wvu_room; see
 * json_writer.h for the idea. Any thread; the writer is the caller's.
 */
#include "json_writer.h"

char *wvu_writer_init(struct wvu_writer *writer, char *buffer, size_t size)
{
    writer->out = buffer;
    writer->size = size;
    writer->length = 0;
    writer->staging = size == 0; /* buffer may be NULL */
    writer->limit = writer->staging ? writer->stage + WVU_STAGE_SIZE : buffer + size;
    return writer->staging ? writer->stage : buffer;
}

char *wvu_writer_go_on(struct wvu_writer *writer, char *at)
{
    if (!writer->staging) {
        writer->staging = true;
        writer->length = (size_t)(at - writer->out);
    } else {
        size_t staged = (size_t)(at - writer->stage);
        size_t room = writer->length < writer->size ? writer->size - writer->length : 0;
        if (room != 0)
            memcpy(writer->out + writer->length, writer->stage, staged < room ? staged : room);
        writer->length += staged;
    }
    writer->limit = writer->stage + WVU_STAGE_SIZE;
    return writer->stage;
}

size_t wvu_writer_finish(struct wvu_writer *writer, char *at)
{
    if (writer->staging)
        (void)wvu_writer_go_on(writer, at);
    else
        writer->length = (size_t)(at - writer->out);
    if (writer->length < writer->size)
        writer->out[writer->length] = '\0';
    return writer->length;
}
