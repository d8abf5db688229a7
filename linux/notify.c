/*
 * One datagram to the socket that NOTIFY_SOCKET names. Any thread; no state.
 */
#define _GNU_SOURCE
#include "notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or with @ in front a name in the abstract name space. Returns the address's length or 0. */
static socklen_t make_address(const char *name, struct sockaddr_un *address)
{
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof address->sun_path)
        return 0;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, name, length);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '/'));
}

static wvu_status send_text(const char *name, const char *text, size_t length)
{
    struct sockaddr_un address;
    socklen_t address_length = make_address(name, &address);
    if (address_length == 0)
        return WVU_STATUS_INVALID_PARAMETER;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return WVU_STATUS_IO_ERROR;
    ssize_t sent = sendto(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT,
                          (const struct sockaddr *)&address, address_length);
    close(fd);
    return sent == (ssize_t)length ? WVU_STATUS_OK : WVU_STATUS_IO_ERROR;
}

wvu_status wvu_notify(const char *format, ...)
{
    const char *name = getenv("NOTIFY_SOCKET");
    char text[512];
    va_list arguments;
    if (name == NULL)
        return WVU_STATUS_OK;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= (int)sizeof text)
        return WVU_STATUS_INVALID_PARAMETER;
    return send_text(name, text, (size_t)length);
}
