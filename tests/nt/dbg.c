/*
 * The kernel debugger's log: formats as DbgPrintEx does, with the extensions that Windows has (%wZ,
 * %ws, %S) and its limit of 512 bytes, and keeps the lines for scenarios to look through.
 *
 * Arguments come in Microsoft's convention: each is one 8-byte slot. Unicode formats are allowed at
 * PASSIVE_LEVEL only. The kept log is under `log_lock`.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define LINE_MAX_BYTES 512u
#define KEEP           (1u << 20)

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char kept[KEEP];
static size_t kept_length;
static bool print;

static void keep(const char *line)
{
    size_t length = strlen(line);
    pthread_mutex_lock(&log_lock);
    if (kept_length + length + 1 > KEEP)
        kept_length = 0;
    memcpy(kept + kept_length, line, length + 1);
    kept_length += length;
    if (print)
        fprintf(stderr, "[log] %s", line);
    pthread_mutex_unlock(&log_lock);
}

bool nt_log_contains(const char *text)
{
    pthread_mutex_lock(&log_lock);
    bool found = kept_length != 0 && strstr(kept, text) != NULL;
    pthread_mutex_unlock(&log_lock);
    return found;
}

void nt_log_clear(void)
{
    pthread_mutex_lock(&log_lock);
    kept_length = 0;
    kept[0] = '\0';
    pthread_mutex_unlock(&log_lock);
}

void nt_log_print(bool value)
{
    print = value;
}

/* ---- formatting ------------------------------------------------------------------------------------ */

struct line {
    char text[LINE_MAX_BYTES + 1];
    size_t length;
};

static void add(struct line *line, const char *text, size_t length)
{
    size_t room = LINE_MAX_BYTES - line->length;
    length = length < room ? length : room;
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void add_units(struct line *line, const WCHAR *units, size_t count)
{
    if (nt_self->irql != PASSIVE_LEVEL)
        nt_broken(NT_RULE_IRQL, "DbgPrint with a Unicode format at IRQL %u", nt_self->irql);
    for (size_t i = 0; i < count; i++) {
        char c = units[i] < 0x80 ? (char)units[i] : '?';
        add(line, &c, 1);
    }
}

struct specification {
    char text[32]; /* as printf wants it, without length */
    bool wide;     /* %w... or a length of l */
    bool quad;
    char conversion;
};

static const char *parse(const char *at, struct specification *specification)
{
    size_t n = 0;
    specification->text[n++] = '%';
    while (n < sizeof specification->text - 4 && *at != '\0' && strchr("-+ #0123456789.*", *at))
        specification->text[n++] = *at++;
    specification->wide = specification->quad = false;
    for (;; at++) {
        if (*at == 'l' && at[1] == 'l')
            specification->quad = true, at++;
        else if (strncmp(at, "I64", 3) == 0)
            specification->quad = true, at += 2;
        else if (*at == 'w' || *at == 'l')
            specification->wide = true;
        else if (*at == 'z')
            specification->quad = true;
        else if (*at != 'h')
            break;
    }
    specification->conversion = *at;
    specification->text[n] = '\0';
    return *at != '\0' ? at + 1 : at;
}

static void add_number(struct line *line, struct specification *specification, uint64_t value)
{
    char text[128];
    size_t n = strlen(specification->text);
    char conversion = specification->conversion;
    if (conversion == 'p') {
        nt_broken(NT_RULE_PARAMETER, "the log shows an address (%%p)");
    }
    bool is_signed = conversion == 'd' || conversion == 'i';
    if (!specification->quad)
        value = is_signed ? (uint64_t)(int64_t)(int32_t)value : (uint32_t)value;
    memcpy(specification->text + n, "ll", 2);
    specification->text[n + 2] = conversion;
    specification->text[n + 3] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int length = snprintf(text, sizeof text, specification->text, value);
#pragma GCC diagnostic pop
    add(line, text, length > 0 ? (size_t)length : 0);
}

static void add_argument(struct line *line, struct specification *specification, uint64_t value)
{
    const void *pointer = (const void *)(uintptr_t)value;
    switch (specification->conversion) {
    case 'Z': {
        const UNICODE_STRING *string = pointer;
        if (string != NULL && specification->wide)
            add_units(line, string->Buffer, string->Length / sizeof(WCHAR));
        else if (string != NULL)
            add(line, ((const ANSI_STRING *)pointer)->Buffer,
                ((const ANSI_STRING *)pointer)->Length);
        break;
    }
    case 's':
    case 'S': {
        if (pointer == NULL) {
            add(line, "(null)", 6);
        } else if (specification->wide || specification->conversion == 'S') {
            const WCHAR *units = pointer;
            size_t count = 0;
            while (units[count] != 0)
                count++;
            add_units(line, units, count);
        } else {
            add(line, pointer, strlen(pointer));
        }
        break;
    }
    case 'c': {
        char c = (char)value;
        add(line, &c, 1);
        break;
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'p':
        add_number(line, specification, value);
        break;
    default:
        nt_broken(NT_RULE_PARAMETER, "DbgPrint: %%%c is no format", specification->conversion);
    }
}

static void format_line(const char *prefix, const char *format, __builtin_ms_va_list arguments)
{
    struct line line = {.length = 0};
    add(&line, prefix, strlen(prefix));
    for (const char *at = format; *at != '\0';) {
        if (*at != '%' || at[1] == '%') {
            add(&line, at, 1);
            at += *at == '%' ? 2 : 1;
            continue;
        }
        struct specification specification;
        at = parse(at + 1, &specification);
        if (strchr(specification.text, '*') != NULL)
            nt_broken(NT_RULE_PARAMETER, "DbgPrint: '*' is not supported here");
        add_argument(&line, &specification, __builtin_va_arg(arguments, uint64_t));
    }
    line.text[line.length] = '\0';
    keep(line.text);
}

static NTAPI uint32_t DbgPrintEx(uint32_t component, uint32_t level, const char *format, ...)
{
    (void)component;
    (void)level;
    __builtin_ms_va_list arguments;
    __builtin_ms_va_start(arguments, format);
    format_line("", format, arguments);
    __builtin_ms_va_end(arguments);
    return 0;
}

static NTAPI uint32_t DbgPrint(const char *format, ...)
{
    __builtin_ms_va_list arguments;
    __builtin_ms_va_start(arguments, format);
    format_line("", format, arguments);
    __builtin_ms_va_end(arguments);
    return 0;
}

static NTAPI uint32_t vDbgPrintEx(uint32_t component, uint32_t level, const char *format,
                                  __builtin_ms_va_list arguments)
{
    (void)component;
    (void)level;
    format_line("", format, arguments);
    return 0;
}

static NTAPI uint32_t vDbgPrintExWithPrefix(const char *prefix, uint32_t component, uint32_t level,
                                            const char *format, __builtin_ms_va_list arguments)
{
    (void)component;
    (void)level;
    format_line(prefix, format, arguments);
    return 0;
}

static NTAPI void DbgBreakPoint(void)
{
    if (!nt_debugger_present())
        nt_broken(NT_RULE_BREAKPOINT, "DbgBreakPoint without a debugger stops the system");
    nt_count_breakpoint();
}

/* "DbgPrintEx: can be called at IRQL <= DIRQL". */
static const struct nt_export exports[] = {
    NT_ROUTINE(DbgPrintEx, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-dbgprintex"),
    NT_ROUTINE(DbgPrint, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-dbgprint"),
    NT_ROUTINE(vDbgPrintEx, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-vdbgprintex"),
    NT_ROUTINE(vDbgPrintExWithPrefix, PASSIVE_LEVEL, HIGH_LEVEL,
               "wdm/nf-wdm-vdbgprintexwithprefix"),
    NT_ROUTINE(DbgBreakPoint, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-dbgbreakpoint"),
};
const struct nt_export_table nt_dbg_table = NT_TABLE(exports);
