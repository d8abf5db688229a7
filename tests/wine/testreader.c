/*
 * Readers that do not behave, for the Wine tests; the one that does is ntfltmgr.exe. Test only.
 *
 *   testreader cycle N      connects and disconnects N times; takes a message now and then, never replies
 *   testreader silent       takes messages and never replies, until it is thrown out
 *   testreader late         replies after the sensor's time-out, then in time
 *   testreader hold FILE    takes one message, says so by making FILE, and waits until it is disconnected
 *   testreader wrong        wrong replies of many kinds, then disconnects
 *
 * Prints what was seen; status 0 when it was as it should be.
 */
#include <windows.h>

#include <fltuser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT         L"\\WVUPort"
#define NO_WAITER    ((HRESULT)0x801F0020)
#define DISCONNECTED HRESULT_FROM_WIN32(ERROR_INVALID_HANDLE)

static union {
    FILTER_MESSAGE_HEADER header;
    unsigned long long align;
    unsigned char bytes[65536];
} message;

static HANDLE connect_port(void)
{
    HANDLE port;
    HRESULT result = FilterConnectCommunicationPort(PORT, 0, NULL, 0, NULL, &port);
    if (FAILED(result)) {
        fprintf(stderr, "testreader: cannot connect: 0x%08lx\n", result);
        exit(1);
    }
    return port;
}

static HRESULT get(HANDLE port)
{
    return FilterGetMessage(port, &message.header, sizeof message.bytes, NULL);
}

/* As wvu_reply_header and wvu_reply have it. */
static HRESULT reply(HANDLE port, ULONGLONG id, NTSTATUS status, unsigned short version,
                     ULONGLONG acknowledged, DWORD size)
{
    struct {
        NTSTATUS status;
        ULONG reserved;
        ULONGLONG id;
        unsigned short version;
        unsigned short size;
        ULONG reserved2;
        ULONGLONG acknowledged;
        unsigned char more[64];
    } bytes = {
        .status = status, .id = id, .version = version, .size = 16, .acknowledged = acknowledged};
    return FilterReplyMessage(port, (PFILTER_REPLY_HEADER)(void *)&bytes, size);
}

static int cycle(int count)
{
    for (int i = 0; i < count; i++) {
        HANDLE port = connect_port();
        HRESULT result = i % 4 == 0 ? get(port) : S_OK;
        if (FAILED(result)) {
            fprintf(stderr, "testreader: no message in round %d: 0x%08lx\n", i, result);
            return 1;
        }
        (void)CloseHandle(port);
    }
    return 0;
}

static int silent(void)
{
    HANDLE port = connect_port();
    int messages = 0;
    HRESULT result;
    while (SUCCEEDED(result = get(port)))
        messages++;
    printf("%d messages, then 0x%08lx\n", messages, result);
    (void)CloseHandle(port);
    return messages >= 1 && result == DISCONNECTED ? 0 : 1;
}

static int late(void)
{
    HANDLE port = connect_port();
    HRESULT first = get(port);
    ULONGLONG id = message.header.MessageId;
    HRESULT second = get(port); /* comes when the first one has timed out */
    HRESULT too_late = reply(port, id, 0, 1, 0, 32);
    HRESULT in_time = reply(port, message.header.MessageId, 0, 1, 0, 32);
    printf("0x%08lx 0x%08lx late 0x%08lx in time 0x%08lx\n", first, second, too_late, in_time);
    (void)CloseHandle(port);
    return first == S_OK && second == S_OK && too_late == NO_WAITER && in_time == S_OK ? 0 : 1;
}

static int hold(const char *path)
{
    HANDLE port = connect_port();
    HRESULT result = get(port);
    FILE *file = fopen(path, "wb");
    if (FAILED(result) || file == NULL)
        return 1;
    fclose(file);
    result = get(port);
    printf("0x%08lx\n", result);
    return result == DISCONNECTED ? 0 : 1;
}

static int wrong(void)
{
    static const struct {
        NTSTATUS status;
        unsigned short version;
        ULONGLONG acknowledged;
        DWORD size;
    } replies[] = {
        {0, 0, 0, 32},     {0, 9, 0, 32},          {0, 1, ~0ull, 32},      {0, 1, 1000000, 32},
        {0, 1, 0, 16},     {0, 1, 0, 17},          {0, 1, 0, 31},          {0, 1, 0, 90},
        {0x102, 1, 0, 32}, {0xC000009A, 1, 0, 32}, {0x80000005, 1, 0, 32},
    };
    for (unsigned i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        HANDLE port = connect_port();
        if (FAILED(get(port)))
            return 1;
        (void)reply(port, message.header.MessageId + 1, 0, 1, 0, 32); /* to nobody */
        (void)reply(port, message.header.MessageId, replies[i].status, replies[i].version,
                    replies[i].acknowledged, replies[i].size);
        (void)CloseHandle(port);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "cycle") == 0 && argc == 3)
        return cycle(atoi(argv[2]));
    if (strcmp(command, "silent") == 0)
        return silent();
    if (strcmp(command, "late") == 0)
        return late();
    if (strcmp(command, "hold") == 0 && argc == 3)
        return hold(argv[2]);
    if (strcmp(command, "wrong") == 0)
        return wrong();
    fprintf(stderr, "testreader: unknown command\n");
    return 2;
}
