/*
 * Tokens: who the user of a process is. The answer of SeQueryInformationToken is paged pool, as
 * documented; the caller frees it.
 */
#include <string.h>

#include "kernel.h"

enum { TokenUser = 1, TokenSessionId = 12 };

struct token_user { /* TOKEN_USER and the SID that it points to */
    const SID *Sid;
    uint32_t Attributes;
    uint32_t Padding;
    SID Value;
};

static size_t sid_size(const SID *sid)
{
    return offsetof(SID, SubAuthority) + sid->SubAuthorityCount * sizeof sid->SubAuthority[0];
}

static NTAPI NTSTATUS SeQueryInformationToken(void *token, uint32_t information, void **out)
{
    const struct nt_process *process = nt_object_check(token, NT_TOKEN)->body;
    if (information == TokenSessionId) {
        uint32_t session = nt_process_session(process);
        memset(out, 0xA5, sizeof *out); /* "a DWORD value": the other half is not said to be 0 */
        memcpy(out, &session, sizeof session);
        return STATUS_SUCCESS;
    }
    const SID *user = nt_process_user(process);
    if (information != TokenUser || user == NULL)
        return information != TokenUser ? STATUS_INVALID_INFO_CLASS : STATUS_ACCESS_DENIED;
    size_t size = offsetof(struct token_user, Value) + sid_size(user);
    struct token_user *answer = nt_pool_take(size, 0x20206553 /* "Se  " */, true, NULL);
    answer->Attributes = 0;
    memcpy(&answer->Value, user, sid_size(user));
    answer->Sid = &answer->Value;
    *out = answer;
    return STATUS_SUCCESS;
}

static const struct nt_export exports[] = {
    NT_FALLIBLE(SeQueryInformationToken, PASSIVE_LEVEL, PASSIVE_LEVEL,
                STATUS_INSUFFICIENT_RESOURCES, "ntifs/nf-ntifs-sequeryinformationtoken"),
};
const struct nt_export_table nt_se_table = NT_TABLE(exports);
