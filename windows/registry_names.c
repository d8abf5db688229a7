/*
 * Paths of registry keys. Called by the registry probe in the system's callbacks, at PASSIVE_LEVEL.
 *
 * "CmCallbackGetKeyObjectIDEx" (Windows 8 and later) gives the path as it is now and wants it back;
 * "CmCallbackGetKeyObjectID" (Windows Vista and 7) keeps it itself until the key is closed. The memory is
 * the configuration manager's in both cases; the driver allocates nothing.
 *
 * A key that was deleted has no path any more, and a renamed one has another. So for these two operations
 * the path is asked for in the pre-notification and kept in one of WVU_REGISTRY_NAMES_KEPT slots until the
 * post-notification, which finds the slot by CallContext ("Specifying Context Information"). CallContext
 * holds the slot's number and how often it was used, never a pointer: whatever comes back is checked.
 *
 * A post-notification may never come (another filter has ended the operation, the callback was removed in
 * between). Its slot is taken back when all are in use and it is older than ABANDONED_NS, or at close.
 *
 * `lock` guards the slots; no routine of the system is called under it. `uses` of a slot rises for as long
 * as the driver is loaded, so that a stale CallContext is known as such also after the probe was stopped and
 * started.
 */
#include "registry_names.h"

#include "atomic.h"
#include "os.h"
#include "routines.h"

#define NONE         UINT32_MAX
#define INDEX_BITS   8u
#define ABANDONED_NS UINT64_C(60000000000)
#define RETRY_NS     UINT64_C(1000000000)
_Static_assert(WVU_REGISTRY_NAMES_KEPT == 1u << INDEX_BITS,
               "CallContext has INDEX_BITS for the index");

struct slot {
    PCUNICODE_STRING name; /* NULL: free */
    uint64_t uses;
    uint64_t since; /* uptime */
    uint32_t next;  /* free slot; NONE */
};

static struct {
    LARGE_INTEGER cookie;
    uint32_t cookie_is_known; /* release and acquire: callbacks may run before it is known */
    wvu_lock lock;
    uint32_t free;
    uint64_t looked; /* when abandoned slots were last looked for */
    struct slot slots[WVU_REGISTRY_NAMES_KEPT];
} names;

/* ---- asking ------------------------------------------------------------------------------------- */

PCUNICODE_STRING wvu_registry_name_get(PVOID object)
{
    PCUNICODE_STRING name = NULL;
    NTSTATUS status = STATUS_NOT_SUPPORTED;
    if (object == NULL || wvu_load_acquire(&names.cookie_is_known) == 0)
        return NULL;
    if (wvu_routines.get_key_object_id_ex != NULL && wvu_routines.release_key_object_id_ex != NULL)
        status = wvu_routines.get_key_object_id_ex(&names.cookie, object, NULL, &name, 0);
    else if (wvu_routines.get_key_object_id != NULL)
        status = wvu_routines.get_key_object_id(&names.cookie, object, NULL, &name);
    return NT_SUCCESS(status) ? name : NULL;
}

void wvu_registry_name_release(PCUNICODE_STRING name)
{
    if (name != NULL && wvu_routines.get_key_object_id_ex != NULL &&
        wvu_routines.release_key_object_id_ex != NULL)
        wvu_routines.release_key_object_id_ex(name);
}

/* ---- keeping ------------------------------------------------------------------------------------ */

/* Lock held. The slot that was abandoned longest ago; NONE: there is none, or it was looked for a moment
 * ago. */
static uint32_t find_abandoned(uint64_t now)
{
    uint32_t oldest = NONE;
    if (now - names.looked < RETRY_NS)
        return NONE;
    names.looked = now;
    for (uint32_t i = 0; i < WVU_REGISTRY_NAMES_KEPT; i++) {
        if (now - names.slots[i].since >= ABANDONED_NS &&
            (oldest == NONE || names.slots[i].since < names.slots[oldest].since))
            oldest = i;
    }
    return oldest;
}

/* The slot's CallContext, or NULL; *left: what was in it. */
static PVOID put(PCUNICODE_STRING name, PCUNICODE_STRING *left)
{
    uint64_t context = 0, now = wvu_os_uptime();
    *left = NULL;
    wvu_lock_acquire(&names.lock);
    uint32_t index = names.free;
    if (index != NONE)
        names.free = names.slots[index].next;
    else
        index = find_abandoned(now);
    if (index != NONE) {
        struct slot *slot = &names.slots[index];
        *left = slot->name;
        slot->name = name;
        slot->since = now;
        context = ++slot->uses << INDEX_BITS | index;
    }
    wvu_lock_release(&names.lock);
    return (PVOID)(uintptr_t)context;
}

PVOID wvu_registry_name_keep(PVOID object)
{
    PCUNICODE_STRING left, name = wvu_registry_name_get(object);
    if (name == NULL)
        return NULL;
    PVOID context = put(name, &left);
    wvu_registry_name_release(context != NULL ? left : name);
    return context;
}

PCUNICODE_STRING wvu_registry_name_take(PVOID call_context)
{
    PCUNICODE_STRING name = NULL;
    uint64_t context = (uintptr_t)call_context;
    uint32_t index = (uint32_t)(context & (WVU_REGISTRY_NAMES_KEPT - 1));
    struct slot *slot = &names.slots[index];
    if (call_context == NULL)
        return NULL;
    wvu_lock_acquire(&names.lock);
    if (slot->uses == context >> INDEX_BITS && slot->name != NULL) {
        name = slot->name;
        slot->name = NULL;
        slot->next = names.free;
        names.free = index;
    }
    wvu_lock_release(&names.lock);
    return name;
}

/* ---- open and close: no callback runs ------------------------------------------------------------- */

void wvu_registry_names_open(void)
{
    wvu_lock_init(&names.lock);
    names.looked = 0;
    names.free = NONE;
    for (uint32_t i = WVU_REGISTRY_NAMES_KEPT; i-- != 0;) {
        names.slots[i].next = names.free;
        names.free = i;
    }
}

void wvu_registry_names_set_cookie(LARGE_INTEGER cookie)
{
    names.cookie = cookie;
    wvu_store_release(&names.cookie_is_known, 1);
}

void wvu_registry_names_close(void)
{
    wvu_store_relaxed(&names.cookie_is_known, 0);
    for (uint32_t i = 0; i < WVU_REGISTRY_NAMES_KEPT; i++) {
        wvu_registry_name_release(names.slots[i].name);
        names.slots[i].name = NULL;
    }
}
