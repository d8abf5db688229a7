/*
 * The run-time library: strings, versions, memory.
 *
 * memcpy and its like are in leaf.S, not in C: they may fault on user memory, and an
 * exception must find its way through them.
 */
#include <stdio.h>
#include <string.h>

#include "kernel.h"

static size_t length_of(const WCHAR *text)
{
    size_t length = 0;
    while (text[length] != 0)
        length++;
    return length;
}

static NTAPI void RtlInitUnicodeString(UNICODE_STRING *string, const WCHAR *text)
{
    size_t bytes = text != NULL ? length_of(text) * sizeof *text : 0;
    if (bytes > 0xFFFC)
        nt_broken(NT_RULE_PARAMETER, "RtlInitUnicodeString: %zu bytes", bytes);
    string->Length = (uint16_t)bytes;
    string->MaximumLength = (uint16_t)(text != NULL ? bytes + sizeof *text : 0);
    string->Buffer = (WCHAR *)(uintptr_t)text;
}

static NTAPI void RtlCopyUnicodeString(UNICODE_STRING *to, const UNICODE_STRING *from)
{
    size_t bytes = from != NULL ? from->Length : 0;
    bytes = bytes < to->MaximumLength ? bytes : to->MaximumLength;
    if (bytes != 0)
        memcpy(to->Buffer, from->Buffer, bytes);
    to->Length = (uint16_t)bytes;
}

static NTAPI NTSTATUS RtlConvertSidToUnicodeString(UNICODE_STRING *string, const SID *sid,
                                                   BOOLEAN allocate)
{
    char text[256];
    if (allocate)
        nt_broken(NT_RULE_IMPORT, "RtlConvertSidToUnicodeString with allocation: not here");
    if (sid->Revision != 1 || sid->SubAuthorityCount > 15)
        return NT_STATUS(0xC0000078); /* STATUS_INVALID_SID */
    uint64_t authority = 0;
    for (int i = 0; i < 6; i++)
        authority = authority << 8 | sid->IdentifierAuthority[i];
    int length = snprintf(text, sizeof text, "S-1-%llu", (unsigned long long)authority);
    for (int i = 0; i < sid->SubAuthorityCount; i++)
        length +=
            snprintf(text + length, sizeof text - (size_t)length, "-%u", sid->SubAuthority[i]);
    if ((size_t)length * sizeof(WCHAR) > string->MaximumLength)
        return STATUS_BUFFER_OVERFLOW;
    for (int i = 0; i < length; i++)
        string->Buffer[i] = (WCHAR)text[i];
    string->Length = (uint16_t)((size_t)length * sizeof(WCHAR));
    if (string->Length < string->MaximumLength)
        string->Buffer[length] = 0;
    return STATUS_SUCCESS;
}

static NTAPI uint32_t RtlLengthSid(const SID *sid)
{
    return 8 + 4u * sid->SubAuthorityCount;
}

/* The letters of Latin-1 and of Cyrillic: enough to see whether case is asked of the system. */
static NTAPI WCHAR RtlUpcaseUnicodeChar(WCHAR unit)
{
    if ((unit >= 'a' && unit <= 'z') || (unit >= 0xE0 && unit <= 0xFE && unit != 0xF7) ||
        (unit >= 0x430 && unit <= 0x44F))
        return (WCHAR)(unit - 32);
    return unit;
}

static NTAPI size_t nt_strlen(const char *text)
{
    return strlen(text);
}

static NTAPI void *nt_memchr(const void *bytes, int byte, size_t size)
{
    return memchr(bytes, byte, size);
}

static NTAPI size_t nt_wcslen(const WCHAR *text)
{
    return length_of(text);
}

extern void nt_memcpy(void), nt_memmove(void), nt_memset(void), nt_memcmp(void);

static const struct nt_export exports[] = {
    {"memcpy", nt_memcpy, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0,
     "wdm/nf-wdm-rtlcopymemory"},
    {"RtlCopyMemory", nt_memcpy, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0,
     "wdm/nf-wdm-rtlcopymemory"},
    {"memmove", nt_memmove, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0,
     "wdm/nf-wdm-rtlmovememory"},
    {"RtlMoveMemory", nt_memmove, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0,
     "wdm/nf-wdm-rtlmovememory"},
    {"memset", nt_memset, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0,
     "wdm/nf-wdm-rtlfillmemory"},
    {"memcmp", nt_memcmp, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0,
     "wdm/nf-wdm-rtlcomparememory"},
    {"strlen", (nt_function)nt_strlen, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0, "C"},
    {"memchr", (nt_function)nt_memchr, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0, "C"},
    {"wcslen", (nt_function)nt_wcslen, NULL, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0, "C"},
    NT_ROUTINE(RtlInitUnicodeString, PASSIVE_LEVEL, DISPATCH_LEVEL,
               "wdm/nf-wdm-rtlinitunicodestring"),
    NT_ROUTINE(RtlCopyUnicodeString, PASSIVE_LEVEL, HIGH_LEVEL, "wdm/nf-wdm-rtlcopyunicodestring"),
    NT_FALLIBLE(RtlConvertSidToUnicodeString, PASSIVE_LEVEL, APC_LEVEL, STATUS_BUFFER_OVERFLOW,
                "ntifs/nf-ntifs-rtlconvertsidtounicodestring"),
    NT_ROUTINE(RtlUpcaseUnicodeChar, PASSIVE_LEVEL, PASSIVE_LEVEL,
               "ntifs/nf-ntifs-rtlupcaseunicodechar"),
    NT_ROUTINE(RtlLengthSid, PASSIVE_LEVEL, APC_LEVEL, "ntifs/nf-ntifs-rtllengthsid"),
};
const struct nt_export_table nt_rtl_table = NT_TABLE(exports);
