/*
 * inject FILE: makes processes happen, one for each line of FILE, in order. Test only.
 *
 *   create PID PARENT KEY IMAGE <tab> COMMAND LINE     UTF-8; "-" alone: there is none
 *   exit PID KEY STATUS
 *
 * Ends with status 0 when the driver was told all of them.
 *
 * inject --detach: asks the driver to let itself be unloaded, as `fltmc unload` does; status 0 when it refuses.
 */
#include <windows.h>
#include <winioctl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

#define LINE 200000

static union {
    struct injection injection;
    unsigned char bytes[sizeof(struct injection) + 2 * 65536];
} request;

/* Returns the bytes of the text, or 0xFFFF when there is none. */
static UINT16 add_text(const char *text, unsigned char **at)
{
    if (strcmp(text, "-") == 0)
        return 0xFFFF;
    int units =
        MultiByteToWideChar(CP_UTF8, 0, text, (int)strlen(text), (WCHAR *)(void *)*at, 32767);
    *at += (size_t)units * sizeof(WCHAR);
    return (UINT16)((size_t)units * sizeof(WCHAR));
}

static size_t parse(char *line)
{
    struct injection *injection = &request.injection;
    unsigned char *at = (unsigned char *)(injection + 1);
    unsigned process, parent, status;
    unsigned long long key;
    int texts = 0;
    memset(injection, 0, sizeof *injection);
    if (sscanf(line, "create %u %u %llu %n", &process, &parent, &key, &texts) == 3 && texts != 0) {
        char *image = line + texts, *command = strchr(image, '\t');
        if (command == NULL)
            return 0;
        *command++ = '\0';
        injection->kind = INJECT_CREATE;
        injection->parent = parent;
        injection->image_length = add_text(image, &at);
        injection->command_length = add_text(command, &at);
    } else if (sscanf(line, "exit %u %llu %u", &process, &key, &status) == 3) {
        injection->kind = INJECT_EXIT;
        injection->status = status;
        injection->image_length = injection->command_length = 0xFFFF;
    } else {
        return 0;
    }
    injection->process = process;
    injection->key = key;
    return (size_t)(at - request.bytes);
}

static int detach(HANDLE device)
{
    DWORD returned;
    if (!DeviceIoControl(device, IOCTL_DETACH, NULL, 0, NULL, 0, &returned, NULL))
        return 0;
    fprintf(stderr, "inject: the driver lets itself be unloaded\n");
    return 1;
}

int main(int argc, char **argv)
{
    static char line[LINE];
    HANDLE device =
        CreateFileW(PROGRAM_PATH, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    if (argc == 2 && strcmp(argv[1], "--detach") == 0 && device != INVALID_HANDLE_VALUE)
        return detach(device);
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL || device == INVALID_HANDLE_VALUE) {
        fprintf(stderr, "inject: cannot open %s\n", file == NULL ? "the file" : "the device");
        return 1;
    }
    for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        DWORD returned;
        line[strcspn(line, "\r\n")] = '\0';
        size_t size = parse(line);
        if (size == 0 || !DeviceIoControl(device, IOCTL_INJECT, request.bytes, (DWORD)size, NULL, 0,
                                          &returned, NULL)) {
            fprintf(stderr, "inject: line %u: error %lu\n", number, size == 0 ? 0 : GetLastError());
            return 1;
        }
    }
    return 0;
}
