/*
 * The configuration manager's callbacks, as the driver uses them: "RegistryCallback"
 * (EX_CALLBACK_FUNCTION), REG_NOTIFY_CLASS and the structures that it is given. MinGW-w64's wdm.h has them
 * all; the asserts hold its layouts, and with the WDK Microsoft's, to the documented ones.
 *
 * What the pages say and the registry probe relies on:
 *   - A RegistryCallback runs "at IRQL = PASSIVE_LEVEL and in the context of the thread that is performing
 *     the registry operation".
 *   - PreInformation of REG_POST_OPERATION_INFORMATION points to the structure of the pre-notification.
 *   - Input buffers of user programs are captured from Windows 8 on and only partly before; output buffers
 *     (Disposition, KeyValueInformation, ResultLength) are the program's own memory. So all of them are
 *     read in __try.
 *   - "Invalid Key Object Pointers in Registry Notifications": Object of a post-notification is valid only
 *     when Status is STATUS_SUCCESS, not for other codes that NT_SUCCESS likes.
 */
#ifndef WVU_CM_H
#define WVU_CM_H

#include "nt.h"

#if defined(_WIN64)
_Static_assert(RegNtPreDeleteKey == 0 && RegNtPreRenameKey == 4, "REG_NOTIFY_CLASS");
_Static_assert(RegNtPostDeleteKey == 15 && RegNtPostSetValueKey == 16, "REG_NOTIFY_CLASS");
_Static_assert(RegNtPostDeleteValueKey == 17 && RegNtPostRenameKey == 19, "REG_NOTIFY_CLASS");
_Static_assert(RegNtPostQueryValueKey == 23 && RegNtPostCreateKeyEx == 27, "REG_NOTIFY_CLASS");
_Static_assert(RegNtPostOpenKeyEx == 29, "REG_NOTIFY_CLASS");

_Static_assert(sizeof(REG_POST_OPERATION_INFORMATION) == 56, "REG_POST_OPERATION_INFORMATION");
_Static_assert(offsetof(REG_POST_OPERATION_INFORMATION, PreInformation) == 16,
               "REG_POST_OPERATION_INFORMATION");
_Static_assert(offsetof(REG_POST_OPERATION_INFORMATION, CallContext) == 32,
               "REG_POST_OPERATION_INFORMATION");
_Static_assert(sizeof(REG_SET_VALUE_KEY_INFORMATION) == 64, "REG_SET_VALUE_KEY_INFORMATION");
_Static_assert(offsetof(REG_SET_VALUE_KEY_INFORMATION, Type) == 20,
               "REG_SET_VALUE_KEY_INFORMATION");
_Static_assert(offsetof(REG_SET_VALUE_KEY_INFORMATION, Data) == 24,
               "REG_SET_VALUE_KEY_INFORMATION");
_Static_assert(offsetof(REG_SET_VALUE_KEY_INFORMATION, DataSize) == 32,
               "REG_SET_VALUE_KEY_INFORMATION");
_Static_assert(sizeof(REG_QUERY_VALUE_KEY_INFORMATION) == 72, "REG_QUERY_VALUE_KEY_INFORMATION");
_Static_assert(offsetof(REG_QUERY_VALUE_KEY_INFORMATION, KeyValueInformation) == 24,
               "REG_QUERY_VALUE_KEY_INFORMATION");
_Static_assert(offsetof(REG_QUERY_VALUE_KEY_INFORMATION, Length) == 32,
               "REG_QUERY_VALUE_KEY_INFORMATION");
_Static_assert(sizeof(REG_DELETE_VALUE_KEY_INFORMATION) == 40, "REG_DELETE_VALUE_KEY_INFORMATION");
_Static_assert(sizeof(REG_RENAME_KEY_INFORMATION) == 40, "REG_RENAME_KEY_INFORMATION");
_Static_assert(offsetof(REG_RENAME_KEY_INFORMATION, CallContext) == 16,
               "REG_RENAME_KEY_INFORMATION");
_Static_assert(sizeof(REG_DELETE_KEY_INFORMATION) == 32, "REG_DELETE_KEY_INFORMATION");
_Static_assert(offsetof(REG_DELETE_KEY_INFORMATION, CallContext) == 8,
               "REG_DELETE_KEY_INFORMATION");
/* The later versions of this one (REG_CREATE_KEY_INFORMATION_V1) only append members. */
_Static_assert(offsetof(REG_CREATE_KEY_INFORMATION, RootObject) == 8, "REG_CREATE_KEY_INFORMATION");
_Static_assert(offsetof(REG_CREATE_KEY_INFORMATION, DesiredAccess) == 56,
               "REG_CREATE_KEY_INFORMATION");
_Static_assert(offsetof(REG_CREATE_KEY_INFORMATION, GrantedAccess) == 60,
               "REG_CREATE_KEY_INFORMATION");
_Static_assert(offsetof(REG_CREATE_KEY_INFORMATION, Disposition) == 64,
               "REG_CREATE_KEY_INFORMATION");
_Static_assert(sizeof(REG_CREATE_KEY_INFORMATION) == 112, "REG_CREATE_KEY_INFORMATION");
#endif

#endif
