/*
 * Who a process is: key, user, session. Called by the probes inside kernel callbacks.
 *
 * No state. The key costs a read of the process object. The user costs a reference to the token and
 * two queries of it; SeQueryInformationToken allocates its answer from paged pool. It is the only
 * allocation on the way of an event, is made once for each process, at PASSIVE_LEVEL, where the
 * system is creating a process with thousands of them anyhow, and without it the user would have to
 * be asked for later, when the process may be gone. If it fails, the event goes out without a user.
 */
#include "process_identity.h"

#include "routines.h"

/* 1.6 microseconds in the upper 48 bits, so the counter begins anew after 14 years; the same pid
 * twice within that time is impossible. Pids are multiples of 4. */
static uint64_t key_from_creation_time(LONGLONG time, HANDLE pid)
{
    return (uint64_t)time >> 4 << 16 | ((uint64_t)(uintptr_t)pid >> 2 & 0xFFFF);
}

uint64_t wvu_process_key(PEPROCESS process, HANDLE pid)
{
    if (wvu_routines.process_start_key != NULL)
        return wvu_routines.process_start_key(process);
    if (wvu_routines.process_create_time != NULL)
        return key_from_creation_time(wvu_routines.process_create_time(process), pid);
    return 0;
}

uint64_t wvu_process_key_of_pid(HANDLE pid)
{
    PEPROCESS process;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(pid, &process)))
        return 0;
    uint64_t key = wvu_process_key(process, pid);
    ObDereferenceObject(process);
    return key;
}

static void find_sid(PACCESS_TOKEN token, struct wvu_process_user *user)
{
    PTOKEN_USER token_user = NULL;
    if (!NT_SUCCESS(SeQueryInformationToken(token, TokenUser, (PVOID *)(void *)&token_user)))
        return;
    UNICODE_STRING text = {.Buffer = user->sid, .MaximumLength = sizeof user->sid};
    if (NT_SUCCESS(RtlConvertSidToUnicodeString(&text, token_user->User.Sid, FALSE))) {
        user->has_sid = true;
        user->sid_size = text.Length;
    }
    ExFreePoolWithTag(token_user, 0); /* it is ExFreePool; tag 0 frees whatever the tag is */
}

void wvu_process_user_of(PEPROCESS process, struct wvu_process_user *user)
{
    user->has_sid = false;
    user->has_session = false;
    user->sid_size = 0;
    PACCESS_TOKEN token = PsReferencePrimaryToken(process);
    if (token == NULL)
        return;
    find_sid(token, user);
    /* "The buffer receives a DWORD value (not a pointer to it)": nothing to free. */
    PVOID session = NULL;
    if (NT_SUCCESS(SeQueryInformationToken(token, TokenSessionId, &session))) {
        user->has_session = true;
        user->session = (ULONG)(uintptr_t)session;
    }
    PsDereferencePrimaryToken(token);
}
