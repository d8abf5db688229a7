/*
 * Fuzzes what reads whole messages: wvu_check_message, and ntfltmgr's way from a recording to its output in
 * every format. The input is a recording's content behind its header if the first byte is odd, one
 * message otherwise; other bits of that byte choose the format.
 *
 * Whatever comes: an error, or lines. JSON is valid, and a line for people has no control characters.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "recording.h"
#include "stream.h"
#include "support/json_valid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buffer out;
static struct buffer scratch;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_line(enum format format, const char *line, size_t size)
{
    require(size != 0 && line[size - 1] == '\n');
    if (format != FORMAT_TEXT) {
        require(json_valid(line, size));
        return;
    }
    for (size_t i = 0; i + 1 < size; i++)
        require((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
}

static void print_message(enum format format, const wvu_message *message, struct stream *stream)
{
    const struct wvu_record *record = NULL;
    unsigned printed = 0;
    out.size = 0;
    while ((record = wvu_next(message, record)) != NULL && printed < 16) {
        struct gap gap;
        size_t before = out.size;
        if (!stream_see(stream, message, record, &gap))
            continue;
        require(gap.first <= gap.last && gap.last < record->sequence);
        require(format_event(format, false, message, record, &out, &scratch));
        check_line(format, out.bytes + before, out.size - before);
        printed++;
    }
}

static void read_recording(enum format format, const uint8_t *data, size_t size)
{
    struct recording_header header = {.version = RECORDING_VERSION, .header_size = sizeof header};
    static struct player player;
    struct stream stream = {.known = false};
    wvu_message message;
    memcpy(header.magic, RECORDING_MAGIC, sizeof header.magic);
    size_t whole = sizeof header + size;
    uint8_t *bytes = malloc(whole);
    require(bytes != NULL);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, data, size);
    FILE *file = fmemopen(bytes, whole, "rb");
    require(file != NULL);
    require(player_begin(&player, file) == RECORDING_MESSAGE);
    enum recording_result result;
    while ((result = player_next(&player, &message)) == RECORDING_MESSAGE)
        print_message(format, &message, &stream);
    require(result == RECORDING_END ? player.offset == whole : player.reason[0] != '\0');
    (void)fclose(file);
    free(bytes);
}

/* The bytes themselves as a recording, header included. */
static void begin_recording(const uint8_t *data, size_t size)
{
    static struct player player;
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "rb");
    if (file == NULL)
        return;
    if (player_begin(&player, file) == RECORDING_FAILED)
        require(player.reason[0] != '\0');
    (void)fclose(file);
}

static void read_message(enum format format, const uint8_t *data, size_t size)
{
    struct stream stream = {.known = false};
    wvu_message message;
    void *bytes = malloc(size != 0 ? size : 1);
    require(bytes != NULL);
    memcpy(bytes, data, size);
    if (wvu_check_message(bytes, size, &message) == WVU_STATUS_OK) {
        require(message.header == bytes && (const char *)message.batch == (char *)bytes + 16);
        print_message(format, &message, &stream);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    enum format format = (enum format)(data[0] / 2 % 3);
    if (data[0] % 2 != 0)
        read_recording(format, data + 1, size - 1);
    else
        read_message(format, data + 1, size - 1);
    begin_recording(data + 1, size - 1);
    return 0;
}
