/*
 * Clients of the command port that do not behave, for the Wine tests; the one that does is wvuctl.exe. Test
 * only.
 *
 *   testclient garbage      requests that are too short, too long, with sizes that lie, unknown, random
 *   testclient crowd N      N connections at once, each asked in turn, three times; the answers are checked
 *   testclient sleep        says its process id and does nothing for a minute
 *
 * Prints what was wrong; status 0 when it was as it should be.
 */
#include <windows.h>

#include <fltuser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/winvirtue/protocol.h"

#define PORT L"\\WVUCommand"

static unsigned char input[WVU_REQUEST_MAX + 4096], output[WVU_RESPONSE_MAX];

static HANDLE connect_port(void)
{
    HANDLE port;
    HRESULT result = FilterConnectCommunicationPort(PORT, 0, NULL, 0, NULL, &port);
    if (FAILED(result)) {
        fprintf(stderr, "testclient: cannot connect: 0x%08lx\n", result);
        exit(1);
    }
    return port;
}

/* The response's status; 1 when there was no response. */
static int send_bytes(HANDLE port, unsigned size, unsigned room, unsigned *data_size)
{
    struct wvu_response response;
    DWORD returned = 0;
    HRESULT result = FilterSendMessage(port, input, size, output, room, &returned);
    if (FAILED(result) || returned < sizeof response)
        return 1;
    memcpy(&response, output, sizeof response);
    if (response.version != WVU_PROTOCOL_VERSION || response.size != sizeof response ||
        response.data_size > returned - sizeof response) {
        fprintf(stderr, "testclient: a response that is none\n");
        exit(1);
    }
    *data_size = response.data_size;
    return response.status;
}

static unsigned write_request(unsigned command, const char *text)
{
    struct wvu_request request = {.version = WVU_PROTOCOL_VERSION,
                                  .size = sizeof request,
                                  .command = command,
                                  .data_size = (unsigned)strlen(text)};
    memcpy(input, &request, sizeof request);
    memcpy(input + sizeof request, text, request.data_size);
    return (unsigned)sizeof request + request.data_size;
}

static void must_echo(HANDLE port, const char *text)
{
    unsigned data_size, size = write_request(WVU_COMMAND_ECHO, text);
    if (send_bytes(port, size, sizeof output, &data_size) != 0 || data_size != strlen(text) ||
        memcmp(output + sizeof(struct wvu_response), text, data_size) != 0) {
        fprintf(stderr, "testclient: '%s' does not come back\n", text);
        exit(1);
    }
}

static void must_fail(HANDLE port, unsigned size, unsigned room, const char *what)
{
    unsigned data_size;
    if (send_bytes(port, size, room, &data_size) == 0) {
        fprintf(stderr, "testclient: %s succeeds\n", what);
        exit(1);
    }
}

static void garbage(void)
{
    struct wvu_request *request = (struct wvu_request *)input;
    HANDLE port = connect_port();
    for (unsigned size = 0; size < sizeof *request; size++) {
        (void)write_request(WVU_COMMAND_ECHO, "x");
        must_fail(port, size, sizeof output, "a short request");
    }
    for (unsigned room = 0; room < sizeof(struct wvu_response); room++)
        must_fail(port, write_request(WVU_COMMAND_ECHO, "x"), room, "a request without room");
    (void)write_request(WVU_COMMAND_ECHO, "x");
    must_fail(port, sizeof input, sizeof output, "a request that is too long");
    unsigned size = write_request(WVU_COMMAND_ECHO, "x");
    request->data_size = 0xFFFFFFFF;
    must_fail(port, size, sizeof output, "a data size that lies");
    size = write_request(WVU_COMMAND_ECHO, "x");
    request->size = 0xFFFF;
    must_fail(port, size, sizeof output, "a size that lies");
    size = write_request(WVU_COMMAND_ECHO, "x");
    request->version = 77;
    must_fail(port, size, sizeof output, "a version that is none");
    must_fail(port, write_request(99, "x"), sizeof output, "a command that is none");
    must_fail(port, write_request(WVU_COMMAND_CONFIGURE_PROBE, "no=1"), sizeof output,
              "a setting that is none");
    must_fail(port, write_request(WVU_COMMAND_SET_FILTER, "nonsense"), sizeof output,
              "a filter that is none");
    srand(1);
    for (int i = 0; i < 2000; i++) {
        unsigned data_size, random_size = (unsigned)rand() % 200;
        for (unsigned k = 0; k < random_size; k++)
            input[k] = (unsigned char)rand();
        (void)send_bytes(port, random_size, (unsigned)rand() % 300, &data_size);
    }
    must_echo(port, "still there");
    (void)CloseHandle(port);
}

/* The stand-in has room for so many: it says so, and the sensor does not mind. */
static void crowd(unsigned count)
{
    HANDLE *ports = calloc(count, sizeof *ports);
    char text[32];
    if (ports == NULL)
        exit(1);
    for (unsigned i = 0; i < count; i++)
        ports[i] = connect_port();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < count; i++) {
            snprintf(text, sizeof text, "client %u, %u", i, round);
            must_echo(ports[i], text);
        }
    }
    for (unsigned i = 0; i < count; i++)
        (void)CloseHandle(ports[i]);
    free(ports);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "garbage") == 0) {
        garbage();
    } else if (argc == 3 && strcmp(argv[1], "crowd") == 0) {
        crowd((unsigned)atoi(argv[2]));
    } else if (argc == 2 && strcmp(argv[1], "sleep") == 0) {
        printf("%lu\n", GetCurrentProcessId());
        fflush(stdout);
        Sleep(60000);
    } else {
        fprintf(stderr, "usage: testclient garbage|crowd N|sleep\n");
        return 2;
    }
    return 0;
}
