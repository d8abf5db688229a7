/*
 * Names of programs. Called when a filter is made (spellings of the paths in its rules) and before something
 * is done to a process (is it critical?); PASSIVE_LEVEL.
 *
 * The kernel tells a process's program by the name with which it was opened, \??\C:\Windows\x.exe for one, or
 * by that of its file, \Device\HarddiskVolume3\Windows\x.exe. People write C:\Windows\x.exe. So each path in a
 * rule is compared in all of its spellings. Which device a letter stands for is asked of the object manager;
 * a letter that is mapped later, or for one session only, is not known.
 *
 * State: `system_root`, written by wvu_names_init, then only read.
 */
#include "names.h"

#include <string.h>

#include "log.h"
#include "registry.h"
#include "text.h"
#include "words.h"

#define PATH_BYTES 512u

/* "C:\Windows", without a backslash at its end; "" when it cannot be read. */
static char system_root[PATH_BYTES / 2];

static const char *const critical_programs[] = {"csrss.exe",    "smss.exe",     "wininit.exe",
                                                "winlogon.exe", "services.exe", "lsass.exe"};

/* ---- characters ------------------------------------------------------------------------------------- */

/* Ignoring ASCII case. */
static bool is_equal(const char *text, size_t length, const char *name)
{
    const struct wvu_word word = {text, length};
    return wvu_word_is(&word, name);
}

static bool has_letter(const char *path, size_t length)
{
    return length >= 3 &&
           ((path[0] >= 'A' && path[0] <= 'Z') || (path[0] >= 'a' && path[0] <= 'z')) &&
           path[1] == ':' && path[2] == '\\';
}

/* Both parts in a row; 0 when they do not fit. */
static size_t join(char *out, size_t capacity, const char *first, size_t first_length,
                   const char *second, size_t second_length)
{
    if (first_length > capacity || second_length > capacity - first_length)
        return 0;
    RtlCopyMemory(out, first, first_length);
    RtlCopyMemory(out + first_length, second, second_length);
    return first_length + second_length;
}

/* ---- letters ------------------------------------------------------------------------------------------ */

/* What \??\C: stands for, as UTF-8; its length, 0 when it is not known. */
static size_t device_of_letter(char letter, char *device, size_t size)
{
    WCHAR link_name[] = L"\\??\\C:";
    WCHAR target_text[PATH_BYTES / 4];
    UNICODE_STRING link;
    UNICODE_STRING target = {.Buffer = target_text, .MaximumLength = sizeof target_text};
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle;
    link_name[4] = (WCHAR)letter;
    RtlInitUnicodeString(&link, link_name);
    InitializeObjectAttributes(&attributes, &link, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL,
                               NULL);
    NTSTATUS status = ZwOpenSymbolicLinkObject(&handle, GENERIC_READ, &attributes);
    if (!NT_SUCCESS(status))
        return 0;
    status = ZwQuerySymbolicLinkObject(handle, &target, NULL);
    (void)ZwClose(handle);
    if (!NT_SUCCESS(status))
        return 0;
    return wvu_utf8_from_utf16(device, size, (const uint16_t *)target.Buffer,
                               target.Length / sizeof(WCHAR));
}

/* ---- spellings ---------------------------------------------------------------------------------------- */

static size_t spell_as_dos_device(const char *path, size_t length, char *out, size_t capacity)
{
    return join(out, capacity, "\\??\\", 4, path, length);
}

static size_t spell_with_device(const char *path, size_t length, char *out, size_t capacity)
{
    char device[PATH_BYTES / 2];
    size_t device_length = device_of_letter(path[0], device, sizeof device);
    return device_length != 0 ? join(out, capacity, device, device_length, path + 2, length - 2)
                              : 0;
}

static size_t spell_below_system_root(const char *path, size_t length, char *out, size_t capacity)
{
    size_t root_length = strlen(system_root);
    if (root_length == 0 || length < root_length || !is_equal(path, root_length, system_root) ||
        (length > root_length && path[root_length] != '\\'))
        return 0;
    return join(out, capacity, "\\SystemRoot", 11, path + root_length, length - root_length);
}

/* There are gaps when one spelling does not exist, so it counts those that do. */
size_t wvu_names_spelling(void *context, const char *path, size_t length, uint32_t index, char *out,
                          size_t capacity)
{
    static size_t (*const spellings[])(const char *, size_t, char *, size_t) = {
        spell_as_dos_device, spell_with_device, spell_below_system_root};
    (void)context;
    if (!has_letter(path, length))
        return 0;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        size_t written = spellings[i](path, length, out, capacity);
        if (written != 0 && index-- == 0)
            return written;
    }
    return 0;
}

/* ---- critical programs -------------------------------------------------------------------------------- */

static bool is_spelled(const char *image, size_t length, const char *path)
{
    char spelling[PATH_BYTES];
    if (is_equal(image, length, path))
        return true;
    for (uint32_t i = 0;; i++) {
        size_t spelled =
            wvu_names_spelling(NULL, path, strlen(path), i, spelling, sizeof spelling - 1);
        if (spelled == 0)
            return false;
        spelling[spelled] = '\0';
        if (is_equal(image, length, spelling))
            return true;
    }
}

/* The name alone counts when it is not known where Windows is. */
static bool is_program(const char *image, size_t length, const char *program)
{
    char path[PATH_BYTES];
    struct wvu_builder builder;
    size_t name_length = strlen(program);
    if (length <= name_length || image[length - name_length - 1] != '\\' ||
        !is_equal(image + length - name_length, name_length, program))
        return false;
    if (system_root[0] == '\0')
        return true;
    wvu_build_begin(&builder, path, sizeof path);
    wvu_build_text(&builder, system_root);
    wvu_build_text(&builder, "\\System32\\");
    wvu_build_text(&builder, program);
    return is_spelled(image, length, path);
}

bool wvu_names_is_critical(const UNICODE_STRING *image)
{
    char path[PATH_BYTES];
    if (image == NULL || image->Buffer == NULL || image->Length / sizeof(WCHAR) >= sizeof path)
        return false;
    size_t length = wvu_utf8_from_utf16(path, sizeof path, (const uint16_t *)image->Buffer,
                                        image->Length / sizeof(WCHAR));
    for (size_t i = 0; i < sizeof critical_programs / sizeof critical_programs[0]; i++) {
        if (is_program(path, length, critical_programs[i]))
            return true;
    }
    return false;
}

/* ---- life: PASSIVE ------------------------------------------------------------------------------------ */

void wvu_names_init(void)
{
    NTSTATUS status = wvu_registry_read_text(
        L"\\Registry\\Machine\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", L"SystemRoot",
        system_root, sizeof system_root);
    size_t length = strlen(system_root);
    if (length != 0 && system_root[length - 1] == '\\')
        system_root[--length] = '\0';
    if (!has_letter(system_root, length)) {
        system_root[0] = '\0';
        wvu_log_warning(WVU_LOG_MAIN,
                        "where Windows is cannot be read (0x%08x): critical programs are known by "
                        "their names alone",
                        (unsigned)status);
    }
}
