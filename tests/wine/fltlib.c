/*
 * A stand-in for fltlib.dll under Wine: the Filter Manager's interface for programs, over the device of the
 * stand-in fltmgr.sys. Test only.
 *
 * Results are those that the real library gives: NTSTATUS of the facility "filter" become 0x801Fxxxx,
 * others HRESULT_FROM_WIN32. Its own calls pass no context, so that no packet of theirs reaches the
 * program's completion port.
 */
#include <windows.h>
#include <winternl.h>
#include <winioctl.h>

#include <fltuser.h>

#include "control.h"

NTSYSAPI NTSTATUS NTAPI NtWaitForSingleObject(HANDLE handle, BOOLEAN alertable,
                                              PLARGE_INTEGER timeout);

static HRESULT result_of(NTSTATUS status)
{
    ULONG value = (ULONG)status;
    if ((value & 0xFFFF0000u) == 0xC01C0000u)
        return (HRESULT)(0x801F0000u | (value & 0xFFFF));
    return status >= 0 ? S_OK : HRESULT_FROM_WIN32(RtlNtStatusToDosError(status));
}

/* Waits for the end of a request on a handle that may be in a completion port. */
static NTSTATUS request(HANDLE port, ULONG code, PVOID input, ULONG input_size, PVOID output,
                        ULONG output_size, PULONG returned)
{
    IO_STATUS_BLOCK io = {.Information = 0};
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (event == NULL)
        return (NTSTATUS)0xC000009A; /* STATUS_INSUFFICIENT_RESOURCES */
    NTSTATUS status = NtDeviceIoControlFile(port, event, NULL, NULL, &io, code, input, input_size,
                                            output, output_size);
    if (status == 0x103 /* STATUS_PENDING */) {
        (void)NtWaitForSingleObject(event, FALSE, NULL);
        status = io.Status;
    }
    if (returned != NULL)
        *returned = (ULONG)io.Information;
    (void)CloseHandle(event);
    return status;
}

HRESULT WINAPI FilterConnectCommunicationPort(LPCWSTR name, DWORD options, LPCVOID context,
                                              WORD size, LPSECURITY_ATTRIBUTES security,
                                              HANDLE *port)
{
    (void)options;
    (void)context;
    (void)size;
    (void)security;
    *port = INVALID_HANDLE_VALUE;
    HANDLE file =
        CreateFileW(PROGRAM_PATH, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE,
                    NULL, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return HRESULT_FROM_WIN32(GetLastError());
    NTSTATUS status = request(file, IOCTL_CONNECT, (PVOID)(ULONG_PTR)name,
                              (ULONG)(wcslen(name) * sizeof *name), NULL, 0, NULL);
    if (status < 0) {
        (void)CloseHandle(file);
        return result_of(status);
    }
    *port = file;
    return S_OK;
}

HRESULT WINAPI FilterGetMessage(HANDLE port, PFILTER_MESSAGE_HEADER buffer, DWORD size,
                                LPOVERLAPPED overlapped)
{
    DWORD returned;
    if (overlapped == NULL)
        return result_of(request(port, IOCTL_GET, NULL, 0, buffer, size, NULL));
    if (DeviceIoControl(port, IOCTL_GET, NULL, 0, buffer, size, &returned, overlapped))
        return S_OK;
    return HRESULT_FROM_WIN32(GetLastError());
}

HRESULT WINAPI FilterReplyMessage(HANDLE port, PFILTER_REPLY_HEADER buffer, DWORD size)
{
    return result_of(request(port, IOCTL_REPLY, buffer, size, NULL, 0, NULL));
}

HRESULT WINAPI FilterSendMessage(HANDLE port, LPVOID input, DWORD input_size, LPVOID output,
                                 DWORD output_size, LPDWORD returned)
{
    return result_of(request(port, IOCTL_SEND, input, input_size, output, output_size, returned));
}
