/*
 * The stand-in kernel as scenarios see it: load a driver, be the system around it, be its readers.
 *
 * Everything here is called from threads that nt_init or nt_run_thread made known. A broken rule
 * (rules.def) prints what happened and ends the process; a scenario only has to look at results.
 */
#ifndef NT_NT_H
#define NT_NT_H

#include "types.h"

/* ---- rules (report.c) ------------------------------------------------------------------------ */
enum nt_rule {
#define NT_RULE(identifier, name, meaning) NT_RULE_##identifier,
#include "rules.def"
    NT_RULES
};
/* A rule is broken: says so and ends the process; with success if just this was expected. */
_Noreturn void nt_broken(enum nt_rule rule, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Makes the breaking of a rule the process's success, and a run without it a failure. */
bool nt_expect(const char *rule);
/* For ground truth: ends the process unless it holds. */
#define nt_require(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition))                                                                          \
            nt_broken(NT_RULE_GROUND_TRUTH, __VA_ARGS__);                                          \
    } while (0)

/* ---- life -------------------------------------------------------------------------------------- */
void nt_init(void);
struct nt_driver;
/* Loads a driver and runs its DriverEntry. When that fails, the driver is unloaded again and must
 * have left nothing behind. */
NTSTATUS nt_load(const char *path, struct nt_driver **driver);
/* `sc stop`: unloads whatever the state. The driver must leave nothing behind. */
void nt_unload(struct nt_driver *driver);
/* `fltmc unload`: the driver may refuse; then it stays. */
NTSTATUS nt_filter_unload(struct nt_driver *driver);
/* `sc stop` as the service manager sees it: fails when the driver has no DriverUnload now. */
NTSTATUS nt_service_stop(struct nt_driver *driver);
/* A mandatory unload that had begun before anybody could take DriverUnload away. */
void nt_force_unload(struct nt_driver *driver);
/* Ends the process if anything is outstanding. */
void nt_check_nothing_outstanding(void);
void nt_list_exports(void);
void nt_print_image(const struct nt_driver *driver); /* its addresses, for tools */

/* ---- the system's settings (system.c) ----------------------------------------------------------
 */
void nt_hide_routine(
    const char *name); /* an older kernel: the name does not exist; NULL: all again */
/* Names that drivers asked MmGetSystemRoutineAddress for, in order; NULL at the end. */
const char *nt_asked_routine(size_t index);
void nt_set_version(uint32_t major, uint32_t minor, uint32_t build);
void nt_set_debugger(bool present);
uint64_t nt_breakpoints(void);                  /* hit while a debugger was there */
void nt_set_system_time_offset(int64_t offset); /* somebody sets the clock */
void nt_advance_uptime(uint64_t ns);            /* so much time passes at once */

/* Registry values; a key exists when it or one below it has a value. The machine's usual ones and an
 * empty service key are there from the start. Names are compared without case. */
#define NT_SERVICE_KEY "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\WinVirtUE"
void nt_registry_set(const char *key, const char *name, uint32_t type, const void *data,
                     uint32_t size);
void nt_registry_set_number(const char *key, const char *name, uint32_t number);
void nt_registry_set_text(const char *key, const char *name, const char *text);
/* A REG_MULTI_SZ: each line of the text is a string. */
void nt_registry_set_lines(const char *key, const char *name, const char *text);
void nt_registry_reset(void);
void nt_registry_forget(const char *key); /* its values */

/* Lines of the debug log since the start; for looking for a text. */
bool nt_log_contains(const char *text);
void nt_log_clear(void);
void nt_log_print(bool print);

/* ---- failing on purpose (inject.c) -------------------------------------------------------------- */
/* The n-th fallible call of a driver from now on (from 1) fails; 0: none. */
void nt_fail_call(uint64_t n);
void nt_fail_routine(const char *name, bool fail); /* every call of it; NULL and false: none */
const char *nt_fallible_routine(size_t index); /* names of those that can fail; NULL at the end */
const char *nt_failed_routine(void);           /* NULL: the n-th call was not reached */

/* ---- processes, threads, images (ps.c) ----------------------------------------------------------- */
struct nt_process;

#define NT_HIDDEN_FROM_LIST   0x1u /* ZwQuerySystemInformation */
#define NT_HIDDEN_FROM_LOOKUP 0x2u /* PsLookupProcessByProcessId */

struct nt_process_plan {
    uint64_t id;
    uint64_t parent_id;
    uint64_t creator_process;
    uint64_t creator_thread;
    uint32_t session;
    const SID *user; /* NULL: the token gives none away */
    bool administrator;
    const UNICODE_STRING *image_file_name; /* NULL: none */
    const UNICODE_STRING *command_line;    /* NULL: none */
    bool no_file_object;
    bool subsystem;
    bool threadless; /* the system's list has it without a thread */
    uint32_t hidden; /* NT_HIDDEN_...: what somebody has taken it out of */
    NTSTATUS creation_status;
    bool may_be_denied; /* the driver may set CreationStatus to STATUS_ACCESS_DENIED */
    bool critical;      /* the system ends with it */
};

/* Creates the process object only. */
struct nt_process *nt_process_new(const struct nt_process_plan *plan);
/* Calls the create callbacks in the context of `creator` (NULL: the present one). Returns what became of
 * CreationStatus; a process that was denied exits then. */
NTSTATUS nt_process_announce(struct nt_process *process, struct nt_process *creator);
/* Calls the exit callbacks in its own context. */
void nt_process_exit(struct nt_process *process, NTSTATUS exit_status);
void nt_process_release(struct nt_process *process);
void nt_process_hide(struct nt_process *process, uint32_t hidden); /* NT_HIDDEN_... */
/* Hidden from the list, found by its id so often, and then gone. */
void nt_process_found_only(struct nt_process *process, uint32_t lookups);
void *nt_process_object(const struct nt_process *process);
uint64_t nt_process_start_key(const struct nt_process *process);
void *nt_process_file_object(const struct nt_process *process);

/* ZwTerminateProcess was called on it; it exits when the scenario says so. */
bool nt_process_was_terminated(const struct nt_process *process);
/* Threads of programs. */
struct nt_user_thread;
struct nt_thread_plan {
    uint64_t id;
    struct nt_process *owner;
    struct nt_process *creator; /* NULL: the owner */
    uint64_t creator_thread;
    uint64_t start_address;
    KIRQL irql;  /* the callback's: PASSIVE_LEVEL or APC_LEVEL */
    bool itself; /* the callback runs in the new thread, as some ways to register have it */
};
/* Calls the thread callbacks in the context of the creator. */
struct nt_user_thread *nt_user_thread_start(const struct nt_thread_plan *plan);
/* Calls them in its own context, and forgets it. */
void nt_user_thread_exit(struct nt_user_thread *thread);
bool nt_thread_callback_registered(void);

struct nt_image_plan {
    const UNICODE_STRING *name; /* NULL: none */
    uint64_t base;
    uint64_t size;
    uint32_t signature_level;
    uint32_t signature_type;
    bool system_mode;
    bool extended; /* IMAGE_INFO_EX */
};
/* Calls the image callbacks in the context of `process` (NULL: a driver is loaded). */
void nt_image_announce(struct nt_process *process, const struct nt_image_plan *plan);

bool nt_process_callback_registered(void);
bool nt_image_callback_registered(void);

/* ---- the registry's callbacks (cm.c) --------------------------------------------------------------- */
struct nt_registry_key; /* a key object that somebody has open */
struct nt_registry_key *nt_key_new(const char *path);
void nt_key_free(struct nt_registry_key *key);
void *nt_key_object(const struct nt_registry_key *key); /* NULL for NULL */
void nt_key_set_deleted(struct nt_registry_key *key);   /* somebody else deletes it */

enum nt_key_operation {
    NT_KEY_CREATE,
    NT_KEY_OPEN,
    NT_KEY_SET_VALUE,
    NT_KEY_DELETE_VALUE,
    NT_KEY_QUERY_VALUE,
    NT_KEY_DELETE,
    NT_KEY_RENAME
};

struct nt_key_plan {
    enum nt_key_operation operation;
    struct nt_registry_key *key;    /* create and open: the root, or NULL */
    struct nt_registry_key *result; /* create and open: the key that comes of it */
    const UNICODE_STRING *name; /* of the value; create and open: the path; rename: the new name */
    uint32_t type;              /* of the value; query: KEY_VALUE_INFORMATION_CLASS */
    void *data;                 /* query: the answer */
    uint32_t size;
    uint32_t desired_access;
    uint32_t granted_access;
    uint32_t options;
    uint32_t *disposition;
    const char *new_path; /* rename */
    NTSTATUS status;
    bool no_post; /* another filter ends it so that the post-notification never comes */
    void (*meanwhile)(void *context); /* between pre- and post-notification; NULL: nothing */
    void *context;
};
/* Calls the callbacks before and after, in the context of this thread's process. */
void nt_key_operate(const struct nt_key_plan *plan);
/* One call of the topmost callback with any class. */
void nt_key_notify(uint32_t notify_class, void *information);
bool nt_registry_callback_registered(void);
void nt_registry_altitude(char *text, size_t size);   /* of the callback; "" without */
void nt_take_registry_altitude(const char *altitude); /* another driver has it; NULL: nobody */

/* A thread that may call everything here, in the context of a process (NULL: System). */
struct nt_runner;
struct nt_runner *nt_run_thread(const char *name, struct nt_process *process, void (*body)(void *),
                                void *context);
void nt_join_thread(struct nt_runner *runner);
struct nt_process *nt_attach_to(struct nt_process *process); /* of this thread; returns the last */

/* Pageable kernel memory that holds a copy of `text`, right before an unmapped page; the string must
 * be freed by nt_string_free. */
UNICODE_STRING nt_string(const WCHAR *text, size_t bytes);
UNICODE_STRING nt_string_of(const char *text);
void nt_string_free(UNICODE_STRING *string);

size_t nt_pool_blocks(void); /* of drivers, now */

/* ---- memory of user programs (user.c) ------------------------------------------------------------ */
void *nt_user_alloc(size_t size); /* right before an unmapped page */
void nt_user_free(void *memory);
void nt_user_unmap(void *memory); /* the program unmaps it while somebody may be looking */
void nt_user_read_only(void *memory);

/* ---- Filter Manager from the user's side (flt.c): what fltlib does ------------------------------- */
struct nt_client;

/* As FilterConnectCommunicationPort, in the context of this thread's process. */
NTSTATUS nt_connect(const char *port, const void *context, uint16_t context_size,
                    struct nt_client **client);
/* As FilterGetMessage: `buffer` is FILTER_MESSAGE_HEADER and body. STATUS_TIMEOUT when none came. */
NTSTATUS nt_get_message(struct nt_client *client, void *buffer, uint32_t size, uint32_t *received,
                        uint64_t timeout_ns);
/* As FilterReplyMessage: `buffer` is FILTER_REPLY_HEADER and body. */
NTSTATUS nt_reply_message(struct nt_client *client, const void *buffer, uint32_t size);
/* As FilterSendMessage; the buffers should be user memory. */
NTSTATUS nt_send_message(struct nt_client *client, void *input, uint32_t input_size, void *output,
                         uint32_t output_size, uint32_t *returned);
/* The program closes its handle, or ends. */
void nt_disconnect(struct nt_client *client);
bool nt_disconnected(struct nt_client *client); /* the driver closed it */
uint32_t nt_connections(const char *port);
uint32_t nt_port_access(const char *port); /* the most that its descriptor gives anybody */
bool nt_filter_started(void);

struct nt_flt_quirks {
    bool timeout_ignored_once_fetched; /* FltSendMessage then waits for the reply alone */
    bool notify_after_close;           /* disconnect notice even if the driver closed the port */
    uint64_t send_delay_ns;            /* FltSendMessage is slow to begin */
};
void nt_set_flt_quirks(const struct nt_flt_quirks *quirks);
uint64_t nt_sends_under_way(void);

/* ---- cost (cost.c) -------------------------------------------------------------------------------- */
struct nt_cost {
    uint64_t driver; /* instructions executed in the driver */
    uint64_t kernel; /* in the stand-in, on its behalf */
    uint64_t calls;  /* of kernel routines */
};
void nt_cost_begin(void); /* of this thread */
struct nt_cost nt_cost_end(void);
size_t nt_stack_used(void); /* the most kernel stack that any callback of a driver used so far */

#endif
