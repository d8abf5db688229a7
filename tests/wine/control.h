/*
 * Between the stand-in filter manager's halves: fltmgr.sys and fltlib.dll, and the program that makes
 * events happen. Requests to the device \\.\WvuFltMgr; a handle of it is one communication port.
 */
#ifndef WINE_CONTROL_H
#define WINE_CONTROL_H

#define DEVICE_NAME  L"\\Device\\WvuFltMgr"
#define LINK_NAME    L"\\DosDevices\\WvuFltMgr"
#define DEVICE_PATH  L"\\??\\WvuFltMgr"
#define PROGRAM_PATH L"\\\\.\\WvuFltMgr"

#define CONTROL(number)                                                                            \
    CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (number), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_CONNECT CONTROL(0) /* in: the port's name, UTF-16 */
#define IOCTL_GET     CONTROL(1) /* out: FILTER_MESSAGE_HEADER and body; waits */
#define IOCTL_REPLY   CONTROL(2) /* in: FILTER_REPLY_HEADER and body */
#define IOCTL_SEND    CONTROL(3) /* in and out: as FilterSendMessage */
#define IOCTL_INJECT  CONTROL(4) /* in: struct injection */
#define IOCTL_DETACH  CONTROL(5) /* as `fltmc unload`: the driver is asked, and must refuse */

enum injection_kind { INJECT_CREATE = 1, INJECT_EXIT = 2 };

/* A process that is said to start or end. Lengths in bytes; 0xFFFF: the string is NULL. */
struct injection {
    UINT32 kind;
    UINT32 process;
    UINT32 parent;
    UINT32 status; /* of the exit */
    UINT64 key;
    UINT16 image_length;
    UINT16 command_length;
    UINT32 reserved;
    /* image, then command line */
};

#endif
