/*
 * What ntfltmgr and wvuctl ask of Windows: system.h and stop.h. Called by main and by what reads and writes; one
 * thread, and the threads in which the console calls on_control.
 *
 * Text. The program works with UTF-8. Arguments come as UTF-16 and are converted; so are paths that go to
 * the system. Standard output is binary, so that lines end as they do everywhere; only a console gets
 * UTF-16, by WriteConsoleW, because the code page that it would apply to bytes is a matter of luck.
 *
 * Stopping. Ctrl-C, Ctrl-Break, closing the console, logging off and shutting down set `requested` and an
 * event, interrupt a wait for the sensor, and cancel a read or write that is stuck, again and again,
 * because one that was about to begin would be missed: the console's thread goes on until the process has
 * ended. `lock` guards `waiting`, so that no client is interrupted that is being closed.
 */
#include "system.h"

#include <windows.h>

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <shellapi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "stop.h"

#define CANCEL_PERIOD_MS 200
/* Of UTF-8, at a time to a console: old ones fail for more than about 30 thousand units. */
#define CONSOLE_CHUNK 8192

static volatile LONG requested;
static HANDLE stop_event;
static HANDLE main_thread;
static SRWLOCK lock = SRWLOCK_INIT;
static wvu_client *waiting;

/* ---- text ---------------------------------------------------------------------------------------------- */

/* NULL: errno says why. To be freed. */
static wchar_t *wide_of(const char *text)
{
    int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
    wchar_t *wide = units > 0 ? malloc((size_t)units * sizeof *wide) : NULL;
    if (wide == NULL || MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, units) != units) {
        errno = units > 0 ? ENOMEM : EILSEQ;
        free(wide);
        return NULL;
    }
    return wide;
}

static char *narrow_of(const wchar_t *wide)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    if (text != NULL)
        (void)WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

/* Lives as long as the process. */
static bool convert_arguments(int *argc, char ***argv)
{
    int count;
    wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &count);
    char **arguments = wide != NULL ? calloc((size_t)count + 1, sizeof *arguments) : NULL;
    bool good = arguments != NULL;
    for (int i = 0; good && i < count; i++)
        good = (arguments[i] = narrow_of(wide[i])) != NULL;
    if (wide != NULL)
        (void)LocalFree(wide);
    if (!good) {
        errno = ENOMEM;
        return false;
    }
    *argc = count;
    *argv = arguments;
    return true;
}

/* ---- begin ----------------------------------------------------------------------------------------------- */

/* Colours and rewriting a line in place are escape sequences; a console obeys them only when told. */
static void prepare_console(DWORD number)
{
    DWORD mode;
    HANDLE handle = GetStdHandle(number);
    if (handle != NULL && GetConsoleMode(handle, &mode))
        (void)SetConsoleMode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

static UINT code_page;

static void restore_code_page(void)
{
    (void)SetConsoleOutputCP(code_page);
}

#if defined(_MSC_VER)
/* Microsoft's library ends a program that uses a descriptor which is not open; this one may have been
 * started without some. */
static void ignore_invalid_parameter(const wchar_t *expression, const wchar_t *function,
                                     const wchar_t *file, unsigned line, uintptr_t reserved)
{
    (void)expression;
    (void)function;
    (void)file;
    (void)line;
    (void)reserved;
}
#endif

bool system_begin(int *argc, char ***argv, bool *output_closed)
{
#if defined(_MSC_VER)
    (void)_set_invalid_parameter_handler(ignore_invalid_parameter);
#endif
    HANDLE output = GetStdHandle(STD_OUTPUT_HANDLE);
    *output_closed = output == NULL || output == INVALID_HANDLE_VALUE || _fileno(stdout) < 0;
    (void)_setmode(SYSTEM_OUTPUT, _O_BINARY);
    (void)_setmode(0, _O_BINARY);
    prepare_console(STD_OUTPUT_HANDLE);
    prepare_console(STD_ERROR_HANDLE);
    code_page = GetConsoleOutputCP();                  /* 0: there is no console */
    if (code_page != 0 && SetConsoleOutputCP(CP_UTF8)) /* for messages on standard error */
        (void)atexit(restore_code_page);
    return convert_arguments(argc, argv);
}

/* ---- stopping ---------------------------------------------------------------------------------------------
 */

static BOOL WINAPI on_control(DWORD kind)
{
    (void)kind;
    (void)InterlockedExchange(&requested, 1);
    (void)SetEvent(stop_event);
    for (;;) {
        AcquireSRWLockExclusive(&lock);
        if (waiting != NULL)
            wvu_interrupt(waiting);
        ReleaseSRWLockExclusive(&lock);
        (void)CancelSynchronousIo(main_thread);
        Sleep(CANCEL_PERIOD_MS);
    }
}

static void set_errno(DWORD error)
{
    switch (error) {
    case ERROR_OPERATION_ABORTED:
        errno = EINTR;
        break;
    case ERROR_BROKEN_PIPE:
    case ERROR_NO_DATA:
        errno = EPIPE;
        break;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
        errno = ENOSPC;
        break;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME:
        errno = ENOENT;
        break;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
        errno = EACCES;
        break;
    case ERROR_INVALID_HANDLE:
        errno = EBADF;
        break;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
        errno = ENOMEM;
        break;
    default:
        errno = EIO;
        break;
    }
}

bool stop_init(void)
{
    stop_event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (stop_event == NULL ||
        !DuplicateHandle(GetCurrentProcess(), GetCurrentThread(), GetCurrentProcess(), &main_thread,
                         0, FALSE, DUPLICATE_SAME_ACCESS) ||
        !SetConsoleCtrlHandler(on_control, TRUE)) {
        set_errno(GetLastError());
        return false;
    }
    return true;
}

bool stop_requested(void)
{
    return requested != 0;
}

/* False when a stop was requested before: then nobody would interrupt the wait. */
static bool begin_wait(wvu_client *client)
{
    AcquireSRWLockExclusive(&lock);
    bool go_on = requested == 0;
    waiting = go_on ? client : NULL;
    ReleaseSRWLockExclusive(&lock);
    return go_on;
}

static void end_wait(void)
{
    AcquireSRWLockExclusive(&lock);
    waiting = NULL;
    ReleaseSRWLockExclusive(&lock);
}

/* That the other side of the output is gone is seen at the next write: a pipe tells its writer nothing
 * before that. */
enum system_wait system_wait(wvu_client *client, int output, int timeout_ms)
{
    (void)output;
    if (client == NULL) {
        (void)WaitForSingleObject(stop_event, timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms);
    } else if (begin_wait(client)) {
        (void)wvu_wait(client, timeout_ms); /* why it ended, the next wvu_get says */
        end_wait();
    }
    return SYSTEM_READY;
}

void system_wait_writable(int fd)
{
    (void)fd;
    (void)WaitForSingleObject(stop_event, 10); /* no descriptor is non-blocking here */
}

/* ---- files -----------------------------------------------------------------------------------------------------
 */

/* How many of `size` bytes are whole characters; all when the last one is not UTF-8 anyhow. */
static size_t whole_characters(const char *bytes, size_t size)
{
    size_t at = size;
    while (at != 0 && size - at < 4 && ((unsigned char)bytes[at - 1] & 0xC0) == 0x80)
        at--;
    if (at == 0 || size - at >= 4)
        return size;
    unsigned char lead = (unsigned char)bytes[at - 1];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return size - at + 1 < need && at != 1 ? at - 1 : size;
}

static int64_t write_console(HANDLE console, const char *bytes, size_t size)
{
    wchar_t wide[CONSOLE_CHUNK];
    DWORD written;
    size = whole_characters(bytes, size < CONSOLE_CHUNK ? size : CONSOLE_CHUNK);
    int units = MultiByteToWideChar(CP_UTF8, 0, bytes, (int)size, wide, CONSOLE_CHUNK);
    for (int at = 0; at < units; at += (int)written) {
        if (!WriteConsoleW(console, wide + at, (DWORD)(units - at), &written, NULL)) {
            set_errno(GetLastError());
            return -1;
        }
    }
    return (int64_t)size;
}

int64_t system_write(int fd, const char *bytes, size_t size)
{
    HANDLE handle = (HANDLE)_get_osfhandle(fd);
    DWORD mode;
    DWORD written;
    if (GetConsoleMode(handle, &mode))
        return write_console(handle, bytes, size);
    if (!WriteFile(handle, bytes, size < INT_MAX ? (DWORD)size : INT_MAX, &written, NULL)) {
        set_errno(GetLastError());
        return -1;
    }
    return written;
}

int system_open(const char *path, bool append)
{
    wchar_t *wide = wide_of(path);
    if (wide == NULL)
        return -1;
    /* With append rights alone every write goes to the end, whoever else writes. */
    HANDLE handle =
        CreateFileW(wide, append ? FILE_APPEND_DATA | FILE_READ_ATTRIBUTES : GENERIC_WRITE,
                    FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_ALWAYS,
                    FILE_ATTRIBUTE_NORMAL, NULL);
    DWORD error = GetLastError();
    free(wide);
    if (handle == INVALID_HANDLE_VALUE) {
        set_errno(error);
        return -1;
    }
    int fd = _open_osfhandle((intptr_t)handle, _O_BINARY | _O_NOINHERIT | (append ? _O_APPEND : 0));
    if (fd < 0)
        (void)CloseHandle(handle);
    return fd;
}

int system_close(int fd)
{
    return _close(fd);
}

int64_t system_file_size(int fd)
{
    HANDLE handle = (HANDLE)_get_osfhandle(fd);
    LARGE_INTEGER size;
    if (GetFileType(handle) != FILE_TYPE_DISK)
        return 0;
    if (!GetFileSizeEx(handle, &size)) {
        set_errno(GetLastError());
        return -1;
    }
    return size.QuadPart;
}

FILE *system_open_stream(const char *path)
{
    wchar_t *wide = wide_of(path);
    if (wide == NULL)
        return NULL;
    FILE *file = _wfopen(wide, L"rbN");
    free(wide);
    return file;
}

bool system_is_terminal(int fd)
{
    DWORD mode;
    return GetConsoleMode((HANDLE)_get_osfhandle(fd), &mode) != 0;
}

int64_t system_now_ms(void)
{
    return (int64_t)GetTickCount64();
}

/* ---- words ---------------------------------------------------------------------------------------------------
 */

const char *system_port_name(const char *run_dir, const char *port, char *buffer, size_t size)
{
    (void)run_dir;
    (void)snprintf(buffer, size, "\\%s", port);
    return buffer;
}

const char *system_connect_advice(int status)
{
    switch (status) {
    case WVU_STATUS_NAME_NOT_FOUND:
        return "no sensor runs on this machine (is the driver started? sc start WinVirtUE)";
    case WVU_STATUS_ACCESS_DENIED:
        return "access is denied (run it as administrator, from an elevated prompt)";
    case WVU_STATUS_INVALID_PARAMETER:
        return "a sensor on Windows has no run directory";
    default:
        return NULL;
    }
}
