/*
 * Who asks for something: the process in whose thread the Filter Manager calls. Called by the command port
 * for each request and at a refused unload, at PASSIVE_LEVEL. No state.
 */
#include "requester.h"

#include "process_identity.h"
#include "routines.h"
#include "text.h"

static void find_user(PEPROCESS process, struct wvu_requester *requester)
{
    struct wvu_process_user user;
    wvu_process_user_of(process, &user);
    /* A longer one than any that Windows makes is better left out than cut into another. */
    if (user.has_sid && user.sid_size / sizeof(WCHAR) < sizeof requester->user_sid)
        (void)wvu_utf8_from_utf16(requester->user_sid, sizeof requester->user_sid,
                                  (const uint16_t *)user.sid, user.sid_size / sizeof(WCHAR));
}

static void find_image(PEPROCESS process, struct wvu_requester *requester)
{
    PUNICODE_STRING path;
    if (wvu_routines.locate_process_image_name == NULL ||
        !NT_SUCCESS(wvu_routines.locate_process_image_name(process, &path)))
        return;
    if (path->Buffer != NULL)
        (void)wvu_utf8_end_from_utf16(requester->image, sizeof requester->image,
                                      (const uint16_t *)path->Buffer, path->Length / sizeof(WCHAR));
    ExFreePoolWithTag(path, 0);
}

void wvu_requester_describe(struct wvu_requester *requester)
{
    HANDLE id = PsGetCurrentProcessId();
    PEPROCESS process;
    RtlZeroMemory(requester, sizeof *requester);
    requester->process_id = (uint32_t)(uintptr_t)id;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(id, &process)))
        return;
    requester->process_key = wvu_process_key(process, id);
    find_user(process, requester);
    find_image(process, requester);
    ObDereferenceObject(process);
}
