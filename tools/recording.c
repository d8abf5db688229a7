/*
 * Recordings: writing messages to a file and reading them back. recording.h has the format. Called by
 * main; one thread. What is read is not trusted: sizes are compared with the buffer, and each message is
 * checked as one from the port is.
 */
#include "recording.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stop.h"
#include "system.h"

/* ---- writing ---------------------------------------------------------------------------------------------- */

int recording_create(const char *path)
{
    struct recording_header header = {.version = RECORDING_VERSION, .header_size = sizeof header};
    size_t written;
    memcpy(header.magic, RECORDING_MAGIC, sizeof header.magic);
    int fd = system_open(path, false);
    if (fd < 0)
        return -1;
    errno = EEXIST;
    if (system_file_size(fd) != 0 ||
        write_all(fd, (const char *)&header, sizeof header, &written) != WRITE_DONE) {
        int error = errno;
        (void)system_close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

enum write_result recording_add(int fd, const wvu_message *message)
{
    struct {
        uint64_t size;
        char bytes[WVU_MESSAGE_MAX];
    } entry;
    size_t written;
    entry.size = sizeof *message->header + message->batch->size;
    memcpy(entry.bytes, message->header, entry.size);
    return write_all(fd, (const char *)&entry, sizeof entry.size + entry.size, &written);
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

static enum recording_result fail(struct player *player, const char *reason)
{
    (void)snprintf(player->reason, sizeof player->reason, "%s", reason);
    return RECORDING_FAILED;
}

static enum recording_result fail_in_message(struct player *player, uint64_t end)
{
    (void)snprintf(player->reason, sizeof player->reason,
                   "it ends in the middle of a message, at byte %" PRIu64, end);
    return RECORDING_FAILED;
}

/* Reads `size` bytes. END: there is nothing at all. */
static enum recording_result read_all(struct player *player, void *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        got += fread((char *)bytes + got, 1, size - got, player->file);
        if (got == size || feof(player->file))
            break;
        if (errno != EINTR) {
            (void)snprintf(player->reason, sizeof player->reason, "%s", strerror(errno));
            return RECORDING_FAILED;
        }
        if (stop_requested())
            return RECORDING_STOPPED;
        clearerr(player->file);
    }
    if (got == 0)
        return RECORDING_END;
    if (got < size)
        return fail_in_message(player, player->offset + got);
    player->offset += size;
    return RECORDING_MESSAGE;
}

enum recording_result player_begin(struct player *player, FILE *file)
{
    struct recording_header header;
    char more[8];
    player->file = file;
    player->offset = 0;
    enum recording_result result = read_all(player, &header, sizeof header);
    if (result == RECORDING_STOPPED)
        return result;
    if (result != RECORDING_MESSAGE ||
        memcmp(header.magic, RECORDING_MAGIC, sizeof header.magic) != 0)
        return result == RECORDING_FAILED && ferror(file) ? result
                                                          : fail(player, "it is no recording");
    if (header.version != RECORDING_VERSION)
        return fail(player, "its format is newer than this program");
    if (header.header_size < sizeof header || header.header_size % 8 != 0 ||
        header.header_size > 4096)
        return fail(player, "its header is malformed");
    while (result == RECORDING_MESSAGE && player->offset < header.header_size)
        result = read_all(player, more, sizeof more);
    return result == RECORDING_END ? fail(player, "its header is malformed") : result;
}

enum recording_result player_next(struct player *player, wvu_message *message)
{
    uint64_t begin = player->offset;
    uint64_t size;
    int status = WVU_STATUS_BAD_MESSAGE;
    enum recording_result result = read_all(player, &size, sizeof size);
    if (result != RECORDING_MESSAGE)
        return result;
    if (size != 0 && size <= sizeof player->message.bytes) {
        result = read_all(player, player->message.bytes, (size_t)size);
        if (result == RECORDING_END)
            return fail_in_message(player, player->offset);
        if (result != RECORDING_MESSAGE)
            return result;
        status = wvu_check_message(player->message.bytes, (size_t)size, message);
    }
    if (status != WVU_STATUS_OK) {
        (void)snprintf(player->reason, sizeof player->reason, "at byte %" PRIu64 ": %s", begin,
                       wvu_strerror(status));
        return RECORDING_FAILED;
    }
    return RECORDING_MESSAGE;
}
