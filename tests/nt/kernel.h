/*
 * The stand-in kernel, between its files. Scenarios see nt.h only.
 *
 * One process is one machine: the drivers, their threads and the user programs of a scenario are
 * threads of it. Every thread that enters driver code is an nt_thread with a virtual IRQL.
 *
 * Locks of the stand-in itself: `nt_lock` guards all its tables (objects, handles, pool, ports,
 * callbacks). It is never held while driver code runs. Waiting for anything is waiting on
 * `nt_changed`, which is broadcast whenever a state changes that somebody may wait for.
 */
#ifndef NT_KERNEL_H
#define NT_KERNEL_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

#include "nt.h"

/* ---- reports (report.c): "WinVirtUE.sys+0x1234", or a plain address ---------------------------- */
void nt_place(uintptr_t address, char *text, size_t size);

/* ---- what the kernel exports (exports.c) ----------------------------------------------------- */

typedef void (*nt_function)(void);

/* One routine or variable that a driver can import. `source` is its page in Microsoft's driver
 * reference (learn.microsoft.com/windows-hardware/drivers/ddi/<source>), from where its IRQL bounds
 * are. */
struct nt_export {
    const char *name;
    nt_function function; /* NULL: a variable */
    void *data;
    uint8_t irql_min;
    uint8_t irql_max;
    bool fails;       /* can be made to fail (inject.c) ... */
    bool decides;     /* ... when the routine itself says so: not every use of it can */
    uint64_t failure; /* what it returns then */
    const char *source;
};

struct nt_export_table {
    const struct nt_export *exports;
    size_t count;
};

#define NT_ROUTINE(name, min, max, source)                                                         \
    {                                                                                              \
#name, (nt_function)name, NULL, min, max, false, false, 0, source                          \
    }
#define NT_FALLIBLE(name, min, max, failure, source)                                               \
    {                                                                                              \
#name, (nt_function)name, NULL, min, max, true, false, (uint64_t)(int64_t)(failure),       \
            source                                                                                 \
    }
#define NT_DECIDES(name, min, max, failure, source)                                                \
    {                                                                                              \
#name, (nt_function)name, NULL, min, max, true, true, (uint64_t)(int64_t)(failure), source \
    }
#define NT_VARIABLE(name, address, source)                                                         \
    {                                                                                              \
        name, NULL, address, PASSIVE_LEVEL, HIGH_LEVEL, false, false, 0, source                    \
    }
#define NT_TABLE(array)                                                                            \
    {                                                                                              \
        array, sizeof(array) / sizeof((array)[0])                                                  \
    }

extern const struct nt_export_table nt_cm_table, nt_dbg_table, nt_ex_table, nt_flt_table,
    nt_ke_table, nt_lock_table, nt_ob_table, nt_pool_table, nt_ps_table, nt_query_table,
    nt_rtl_table, nt_se_table, nt_seh_table, nt_system_table, nt_timer_table, nt_zw_table;

/* The address that a driver's import is bound to: a stub that goes through nt_gate. Names that do
 * not exist get a stub that ends the process when it is called; `must_exist` false: NULL then. */
void *nt_export_address(const char *name, bool must_exist);
void nt_exports_init(void);

/* ---- threads (thread.c) ---------------------------------------------------------------------- */

enum { NT_TRACE_LENGTH = 32, NT_HELD_MAX = 16 };

enum nt_lock_kind { NT_SPIN_LOCK, NT_MUTANT, NT_FAST_MUTEX };

struct nt_held {
    const void *lock;
    enum nt_lock_kind kind;
    uintptr_t where;
};

struct nt_context { /* registers in the order of their encoding */
    uint64_t r[16];
    uint64_t rip;
    uint32_t mxcsr;
    uint32_t padding;
    uint8_t xmm[16][16];
};

enum { NT_RAX, NT_RCX, NT_RDX, NT_RBX, NT_RSP, NT_RBP, NT_RSI, NT_RDI };

struct nt_thread {
    uint8_t *pcr; /* what GS points at in driver code; 0x188: the current thread */
    uint64_t id;  /* as the driver sees it: a multiple of 4 */
    char name[24];
    struct nt_object *object;
    struct nt_process *process; /* in whose context it runs */
    KIRQL irql;
    bool user_open;      /* user memory may be touched without another look at __try */
    uint32_t critical;   /* depth of critical regions */
    uint32_t depth;      /* calls into driver code under way */
    uintptr_t stack_top; /* where the outermost of them began */
    uintptr_t caller;    /* return address of the kernel routine under way */
    const char *routine; /* and its name */
    uint32_t held_count;
    struct nt_held held[NT_HELD_MAX];
    struct {
        const char *routine;
        uintptr_t caller;
        KIRQL irql;
    } trace[NT_TRACE_LENGTH];
    uint32_t trace_next;
    sigjmp_buf *exit; /* PsTerminateSystemThread goes here */
    bool main;        /* does not count as a thread of the driver */
    /* trap.c */
    int stepped_register; /* -1: none */
    uint64_t stepped_original;
    uint64_t stepped_substitute;
    struct nt_context fault_context;
    NTSTATUS fault_code;
    uint64_t fault_information[2];
    /* cost.c */
    bool counting;
    struct nt_cost cost;
    struct nt_thread *next; /* list of all */
};

extern __thread struct nt_thread *nt_self;
extern pthread_mutex_t nt_lock;
extern pthread_cond_t nt_changed;

void nt_threads_init(void);
struct nt_thread *nt_thread_attach(const char *name, struct nt_process *process);
void nt_thread_detach(void);
void nt_threads_dump(void);
size_t nt_driver_threads(void); /* under nt_lock: how many threads of drivers run */

/* Around every call into driver code: driver must come back at the same IRQL, without locks. */
struct nt_entry {
    KIRQL irql;
    uint32_t held;
    uint32_t critical;
    uintptr_t stack_top;
    const char *what;
};
struct nt_entry nt_enter_driver(const char *what);
void nt_leave_driver(const struct nt_entry *entry);

/* ---- IRQL and locks (irql.c, lock.c) --------------------------------------------------------- */
void nt_set_irql(KIRQL irql); /* of this thread */
void nt_lock_taken(const void *lock, enum nt_lock_kind kind);
void nt_lock_released(const void *lock, enum nt_lock_kind kind);
bool nt_lock_held(const void *lock);
/* Ends the process if this thread may not wait now. `user`: the wait ends when a user program wants
 * it to, so that nothing at all may be held. */
void nt_check_wait(bool user);
void nt_locks_forget(uintptr_t begin, uintptr_t end); /* the memory is gone */

/* ---- protection keys (pkey.c): memory that may be touched only at times ------------------------
 */
enum nt_key { NT_KEY_PAGEABLE, NT_KEY_USER, NT_KEYS };
void nt_keys_init(void);
bool nt_keys_available(void);
int nt_key_of(int pkey); /* enum nt_key, -1: not one of ours */
void nt_key_protect(void *address, size_t size, int protection, enum nt_key key);
void nt_keys_apply(void);                   /* as this thread's state wants it */
void nt_keys_apply_in(ucontext_t *context); /* the same, for the code that a signal came from */

/* ---- traps and exceptions (trap.c, seh.c) ---------------------------------------------------- */
void nt_traps_init(void);
void nt_trap_thread_init(void);
void nt_shared_data_refresh(void);
/* True when a __try block of the driver covers the place; nothing is run. */
bool nt_seh_covered(const struct nt_context *context);
struct nt_image;
bool nt_seh_has_function(const struct nt_image *image, uintptr_t address); /* in .pdata */
/* Continues as the fault in nt_self wants it; on this thread's stack, outside of the handler. */
_Noreturn void nt_seh_raise(void);
_Noreturn void nt_context_resume(const struct nt_context *context);
extern const char nt_leaf_begin[], nt_leaf_end[];

/* ---- the driver's image (pe.c) --------------------------------------------------------------- */

enum { NT_SECTIONS_MAX = 24 };

struct nt_section {
    char name[9];
    uint32_t rva;
    uint32_t size;
    int protection;
    bool pageable;
    bool discardable;
};

struct nt_image {
    char path[256];
    uint8_t *base;
    uint32_t size;
    uint32_t entry;
    uint16_t dll_characteristics;
    uint32_t pdata;
    uint32_t pdata_size;
    uint32_t section_count;
    struct nt_section sections[NT_SECTIONS_MAX];
};

NTSTATUS nt_image_load(const char *path, struct nt_image *image);
void nt_image_discard(struct nt_image *image); /* what is needed during DriverEntry only */
void nt_image_unload(struct nt_image *image);
const struct nt_section *nt_image_section(const struct nt_image *image, uintptr_t address);
bool nt_image_contains(const struct nt_image *image, uintptr_t address);
bool nt_image_was_here(uintptr_t address); /* some image's place, loaded or not any more */

/* ---- the loaded driver (driver.c) ------------------------------------------------------------ */
struct nt_driver {
    struct nt_image image;
    DRIVER_OBJECT *object; /* in a page of its own */
    UNICODE_STRING registry_path;
    bool loaded;
    struct nt_driver *next;
};
extern struct nt_driver *nt_drivers;
const struct nt_image *nt_image_at(uintptr_t address); /* of any loaded driver; NULL */
struct nt_driver *nt_driver_at(uintptr_t address);

/* ---- ranges of addresses (space.c) ------------------------------------------------------------ */
struct nt_space {
    uintptr_t begin;
    uintptr_t end;
};
struct nt_space nt_space_reserve(uint64_t wanted);
bool nt_space_has(const struct nt_space *space, uintptr_t address);
void nt_space_clear(void *address, size_t size); /* what is mapped there is not any more */

/* ---- pool and user memory (pool.c, user.c) --------------------------------------------------- */
/* For the stand-in's own gifts to the driver: freed through the routine made for its `kind` with
 * nt_pool_give_back, or by ExFreePool when `kind` is NULL. */
void *nt_pool_take(size_t size, uint32_t tag, bool paged, const char *kind);
void nt_pool_give_back(void *block, const char *kind);
bool nt_pool_explain(uintptr_t address, char *text, size_t size); /* false: not pool's place */
bool nt_pool_is_freed(uintptr_t address);
bool nt_pool_at(uintptr_t address); /* a live block covers it */
void nt_pool_check_leaks(void);
void nt_pool_init(void);
void nt_user_init(void);
bool nt_is_user(uintptr_t address);

/* ---- objects and handles (ob.c) -------------------------------------------------------------- */

enum nt_type {
    NT_PROCESS,
    NT_THREAD,
    NT_TOKEN,
    NT_FILE,
    NT_FILTER,
    NT_PORT,
    NT_CLIENT,
    NT_KEY,
    NT_LINK
};

struct nt_object {
    void *address; /* what the driver holds; nothing is mapped there */
    enum nt_type type;
    bool signaled;
    bool gone;          /* the kernel's own reference was dropped */
    int64_t references; /* the driver's */
    int64_t kernel_references;
    uintptr_t last_taken; /* where the driver last took one */
    void *body;
};

void nt_objects_init(void);
struct nt_object *nt_object_create(enum nt_type type, void *body);
void nt_object_drop(struct nt_object *object);         /* the kernel's reference */
struct nt_object *nt_object_find(const void *address); /* NULL: no object there */
/* For a routine that was given one by the driver: must be of the type, and alive. */
struct nt_object *nt_object_check(const void *address, enum nt_type type);
void nt_object_take(struct nt_object *object);        /* a reference of the driver's */
void nt_object_take_locked(struct nt_object *object); /* nt_lock is held */
int64_t nt_object_give_back(const void *address);
bool nt_is_object(uintptr_t address);
void nt_object_explain(uintptr_t address, char *text, size_t size);
HANDLE nt_handle_open(struct nt_object *object);
HANDLE nt_handle_open_with(struct nt_object *object, uint32_t access);
uint32_t nt_handle_access(HANDLE handle);          /* as it was opened by pointer; all for others */
struct nt_object *nt_handle_object(HANDLE handle); /* ends the process for a bad one */
void nt_objects_check_leaks(void);

/* ---- the rest -------------------------------------------------------------------------------- */
uint64_t nt_now(void); /* monotonic, ns */
uint64_t
nt_real_time(void); /* the same without what nt_advance_uptime added: how long something took */
int64_t nt_system_time(void); /* 100 ns since 1601 */
/* Deadline in ns of a time-out as NT has it; UINT64_MAX without one. */
uint64_t nt_deadline(const int64_t *timeout);
/* Waits for nt_changed, under nt_lock; false when the deadline is over. */
bool nt_wait_changed(uint64_t deadline);

void nt_ps_init(void);
const SID *nt_process_user(const struct nt_process *process); /* NULL: unknown */
uint32_t nt_process_session(const struct nt_process *process);
bool nt_process_is_administrator(const struct nt_process *process);
/* Those that started and did not end; fills `plans`, returns how many. */
/* What the system's list says of a process: a copy, which stays when the process does not. */
struct nt_running {
    uint64_t id;
    uint64_t parent_id;
    uint64_t first_thread; /* no other process of this run has it; 0: it has no thread */
    WCHAR name[64];        /* the last part of its path; what is longer is cut */
    uint16_t name_units;
};
size_t nt_running_processes(struct nt_running *running, size_t most);
const struct nt_process_plan *nt_process_plan_of(const struct nt_process *process);
void nt_ps_check_leaks(void);
void nt_cm_check_leaks(void);
void nt_flt_check_leaks(void);
void nt_timers_check_leaks(void);
void nt_timers_forget(uintptr_t begin, uintptr_t end);
/* Under nt_lock. Signals a timer that is due; returns when it is (ns), UINT64_MAX when not set. */
uint64_t nt_timer_poll(KTIMER *timer);
void nt_ke_forget(uintptr_t begin, uintptr_t end); /* memory with waiters must not go */
bool nt_inject(const char *routine);               /* true: this call fails */
NTSTATUS nt_call_filter_unload(uint32_t flags);
void *nt_flt_unload_hook(void); /* what the Filter Manager has put into DriverUnload */
bool nt_flt_registered(void);
bool nt_version_at_least(uint32_t major, uint32_t minor);
bool nt_debugger_present(void);
bool nt_registry_has(const char *key, const char *name);
void nt_count_breakpoint(void);

void nt_step_count(struct nt_thread *thread, uint64_t rip);

void nt_units_from(const char *text, WCHAR *units, size_t count); /* ASCII, terminated */

#define NT_ARRAY(a) (sizeof(a) / sizeof((a)[0]))

#endif
