/*
 * What the filter says about a process.
 */
#ifndef WVU_PROCESS_JUDGE_H
#define WVU_PROCESS_JUDGE_H

#include "nt_host.h"
#include "process_identity.h"

/* PASSIVE. A process of which this is known: `image` and `user` may be NULL. The parent's part is taken from
 * the table of processes. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_process_judge(const struct wvu_nt_host *host,
                                                          const UNICODE_STRING *image,
                                                          const struct wvu_process_user *user,
                                                          uint32_t parent_id, uint64_t parent_key,
                                                          struct wvu_verdict *verdict);

/* PASSIVE. The path of its program, to be freed by wvu_process_image_free; NULL when it cannot be had. */
_IRQL_requires_max_(PASSIVE_LEVEL) UNICODE_STRING *wvu_process_image(PEPROCESS process);
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_process_image_free(UNICODE_STRING *image);

/* PASSIVE. The filter is another one: judges every process of the table anew. */
_IRQL_requires_max_(PASSIVE_LEVEL) void wvu_process_judge_all(const struct wvu_nt_host *host);

#endif
