/*
 * The wire: what crosses the port between the sensor and a reader, and what a recording holds.
 *
 * docs/protocol.md explains every byte for people who do not read C; this header is for those who
 * do. All numbers are little-endian, naturally aligned and of fixed width; there are no pointers
 * and no implicit padding (static asserts below). Everything is at most WVU_MESSAGE_MAX bytes.
 *
 *   sensor -> reader   message = wvu_message_header, wvu_batch, records
 *   reader -> sensor   reply   = wvu_reply_header, wvu_reply
 *
 * The message and reply headers have the layout of FILTER_MESSAGE_HEADER and FILTER_REPLY_HEADER
 * (Windows SDK, fltUserStructures.h, as documented at learn.microsoft.com), so that one client
 * speaks to both hosts.
 */
#ifndef WINVIRTUE_PROTOCOL_H
#define WINVIRTUE_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

/* Raised when a reader that knows only older versions could misread what it gets. New event types
 * and new fields at the end of an event do not raise it. */
#define WVU_PROTOCOL_VERSION 1

/* A batch (wvu_batch and its records) is never larger than this; a message adds its header of 16.
 */
#define WVU_BATCH_MAX   64000u
#define WVU_MESSAGE_MAX (WVU_BATCH_MAX + 16u)

/* One record is never larger than this; longer texts are cut and say so. */
#define WVU_RECORD_MAX 61440u

/* ---- on connection (Linux only: on Windows FilterConnectCommunicationPort tells) ----------- */

/* The first packet a reader gets. When status is not 0 the sensor closes the connection after it.
 */
struct wvu_welcome {
    uint16_t version;     /* WVU_PROTOCOL_VERSION */
    uint16_t size;        /* of this structure */
    int32_t status;       /* wvu_status: OK, CONNECTION_LIMIT, ACCESS_DENIED, STOPPING */
    uint32_t message_max; /* a receive buffer of this many bytes holds every message */
    uint32_t reserved;    /* 0 */
};

/* ---- messages: sensor -> reader ------------------------------------------------------------ */

/* FILTER_MESSAGE_HEADER. */
struct wvu_message_header {
    uint32_t reply_length; /* bytes of the reply that is expected, wvu_reply_header included */
    uint32_t reserved;     /* 0 */
    uint64_t message_id;   /* to be given back in the reply; new each time a message is sent */
};

/* What the sensor sends: this, then record_count records, each starting where the last one ends. */
struct wvu_batch {
    uint16_t version;      /* WVU_PROTOCOL_VERSION */
    uint16_t header_size;  /* the first record begins here; at least sizeof(struct wvu_batch) */
    uint32_t size;         /* of the batch: header and records */
    uint32_t record_count; /* at least 1 */
    uint32_t flags;        /* WVU_BATCH_... */
    uint8_t boot_id[16];   /* random, made anew each time the sensor starts: sequences begin at 1 */
    uint64_t first_sequence; /* of the first record in this batch */
    uint64_t last_sequence;  /* of the last one; reply with it when all were written out */
};

#define WVU_BATCH_REDELIVERED 0x1u /* some of it was sent before and not replied to */

/* ---- replies: reader -> sensor ------------------------------------------------------------- */

/* FILTER_REPLY_HEADER. */
struct wvu_reply_header {
    int32_t status;      /* 0, or why the reader could not take the message */
    uint32_t reserved;   /* 0 */
    uint64_t message_id; /* of the message that this replies to */
};

/* How far the reader got: every record up to this sequence leaves the sensor, the others are sent
 * again. A reply that acknowledges nothing new is valid; one beyond last_sequence is refused. */
struct wvu_reply {
    uint16_t version; /* WVU_PROTOCOL_VERSION */
    uint16_t size;    /* of this structure */
    uint32_t reserved;
    uint64_t acknowledged; /* the last sequence that needs no second delivery */
};

/* ---- requests: client -> sensor, on WVUCommand; one response each ------------------------------ */

/* A request is this and data_size bytes of data. */
struct wvu_request {
    uint16_t version;     /* WVU_PROTOCOL_VERSION */
    uint16_t size;        /* of this structure: the data begins here */
    uint32_t command;     /* enum wvu_command */
    uint8_t probe_id[16]; /* of the probe that it is for; zero: all of them, or none */
    uint32_t data_size;
    uint32_t reserved; /* 0 */
};

/* A response is this and data_size bytes of data, whatever the command. When status is not 0 the data is a
 * text (UTF-8, not terminated) that says why, in words; it may be empty. */
struct wvu_response {
    uint16_t version; /* WVU_PROTOCOL_VERSION */
    uint16_t size;    /* of this structure */
    uint32_t command; /* of the request */
    int32_t status;   /* wvu_status */
    uint32_t data_size;
};

/* A request with its data, and a response with its, are never larger than this. */
#define WVU_REQUEST_MAX  65536u
#define WVU_RESPONSE_MAX 65536u

/* 0 to 7 are the numbers of the first WinVirtUE. Texts are UTF-8, not terminated. "Changes" marks the
 * commands that are told in the stream (CommandExecuted), whether they succeed or not. */
enum wvu_command {
    WVU_COMMAND_ECHO = 0,             /* data: anything; the response has the same */
    WVU_COMMAND_ENABLE_PROBE = 1,     /* changes; probe_id: one probe, or zero for all */
    WVU_COMMAND_DISABLE_PROBE = 2,    /* changes; likewise */
    WVU_COMMAND_ENABLE_UNLOAD = 3,    /* changes; the sensor may be stopped again */
    WVU_COMMAND_DISABLE_UNLOAD = 4,   /* changes; the sensor refuses to be stopped or unloaded */
    WVU_COMMAND_ENUMERATE_PROBES = 5, /* response: one struct wvu_probe_entry after the other */
    WVU_COMMAND_CONFIGURE_PROBE =
        6,                         /* changes; probe_id, or zero: every probe must take it; text */
    WVU_COMMAND_ONE_SHOT_KILL = 7, /* changes; text: a process id, maybe a blank and key=0x... */
    WVU_COMMAND_GET_STATISTICS = 16, /* response: struct wvu_statistics and what follows it */
    WVU_COMMAND_SET_LOG = 17,        /* changes; text: MODULE=LEVEL, separated by blanks */
    WVU_COMMAND_GET_SCHEMA = 18,     /* response: text; see docs/protocol.md */
    WVU_COMMAND_SET_FILTER = 19,     /* changes; text: all rules; empty: none */
    WVU_COMMAND_SHUTDOWN = 20,       /* changes; Linux: the sensor stops */
    WVU_COMMAND_GET_STATUS = 21,     /* response: struct wvu_sensor_status and its texts */
    WVU_COMMAND_GET_FILTER = 22      /* response: text: the rules in force, as they were given */
};

/* ---- records ------------------------------------------------------------------------------- */

/* Starts every record. Records are multiples of 8 bytes, zero-padded. */
struct wvu_record {
    uint32_t size;  /* of the record, header and texts included; a multiple of 8 */
    uint16_t type;  /* enum wvu_event_type; events.def */
    uint16_t flags; /* WVU_RECORD_... */
    uint64_t
        sequence; /* 1, 2, 3 ... since the sensor started; no gap that EventsLost does not cover */
    int64_t time; /* when it happened: 100 ns units since 1601-01-01 00:00 UTC */
    uint64_t uptime; /* the same instant on the monotonic clock: ns, never set back */
    uint8_t
        sensor_id[16]; /* of the probe that reports; RFC 4122 byte order; stable across restarts */
    uint64_t
        process_key;  /* names one process of this boot, even when its pid is used again; 0 none */
    uint64_t present; /* bit n: field n of the event's table (events.def, from 0) has a value */
    uint32_t process_id; /* of the process that the event is about; 0 none */
    uint16_t fixed_size; /* header and fixed fields; fields beyond it were unknown to the sender */
    uint16_t reserved;   /* 0 */
};

#define WVU_RECORD_CUT 0x1u /* at least one text is shorter than the original */
#define WVU_RECORD_UTF16                                                                           \
    0x2u /* texts are UTF-16LE (Windows); otherwise bytes as the kernel gave them */

/* Where a text (or other variable data) of a record is. A cut text keeps its beginning and its end:
 * `head` bytes from the beginning of the original, then size - head bytes from its end. */
struct wvu_text {
    uint16_t offset;    /* from the start of the record; 0 when size is 0 */
    uint16_t size;      /* bytes here */
    uint16_t head;      /* how many of them are from the beginning; equal to size when not cut */
    uint16_t reserved;  /* 0 */
    uint32_t full_size; /* bytes of the original; larger than size when it was cut */
};

/* One line of EventsLost's list. */
struct wvu_loss {
    uint16_t cause; /* enum wvu_loss_cause */
    uint16_t type;  /* enum wvu_event_type, 0 when it is not known which */
    uint32_t reserved;
    uint64_t count;
};

/* ---- data of responses ---------------------------------------------------------------------- */

/* Texts here are UTF-8; `offset` of a text counts from the start of the structure it is in. */

/* One probe. `fixed_size` is where the texts begin: later versions may append members before it. */
struct wvu_probe_entry {
    uint32_t size; /* of this entry with its texts; a multiple of 8: the next entry begins there */
    uint32_t fixed_size;
    uint8_t probe_id[16];
    uint32_t
        attributes; /* WVU_PROBE_... of engine/probe.h: 2 real time, 4 temporal, 8 enabled at start */
    uint32_t condition; /* enum wvu_probe_condition */
    int32_t status;     /* why it failed */
    uint32_t reserved;
    uint64_t operations;  /* events and runs since the sensor started */
    uint64_t filtered;    /* events that a filter or a switched-off kind kept away */
    uint64_t interval_ns; /* 0 unless temporal */
    int64_t last_run;     /* of the last event or run: 100 ns since 1601 UTC; 0: never */
    struct wvu_text name;
    struct wvu_text configuration; /* key=value, one a line: what ConfigureProbe takes */
    struct wvu_text reason;        /* why it failed, in words */
    uint32_t tail;                 /* 0 */
};

/* Counters since the sensor started. After these (at `size`) stand event_count entries of event_size bytes,
 * then the host's own counters as text (`host_counters`: key=value, one a line). */
struct wvu_statistics {
    uint32_t size;
    uint32_t event_size;
    uint32_t event_count;
    uint32_t callback_sample; /* one call of a probe in so many was timed */
#define WVU_STATISTIC(member, json, description) uint64_t member;
#include "statistics.def"
    uint64_t callback_ns
        [32]; /* timed calls that took 2^n to 2^(n+1) - 1 ns; the last: longer ones, too */
    struct wvu_text host_counters;
    uint32_t reserved;
};

#define WVU_STATISTICS_CAUSES 8u

/* Of one event type. */
struct wvu_event_statistics {
    uint16_t type; /* 0: of types that are not known to the counters */
    uint16_t reserved[3];
    uint64_t accepted;  /* numbers given */
    uint64_t delivered; /* replied to */
    uint64_t filtered;  /* kept away by a filter, or because the kind is switched off */
    uint64_t cut;       /* with at least one text cut */
    uint64_t lost[WVU_STATISTICS_CAUSES]; /* by enum wvu_loss_cause */
};

struct wvu_sensor_status {
    uint32_t size; /* of this structure: the texts begin here */
    uint32_t host; /* enum wvu_host_kind */
    uint8_t boot_id[16];
    uint8_t sensor_id[16];
    int64_t started;    /* 100 ns since 1601 UTC */
    uint64_t uptime_ns; /* of the sensor */
    uint32_t protocol_version;
    uint32_t process_id;        /* of the sensor; 4 (System) on Windows */
    uint32_t is_protected;      /* 1: it refuses to be stopped */
    uint32_t reader_process_id; /* who reads the events; 0: nobody */
    uint32_t queue_records;     /* bounds */
    uint32_t queue_bytes;
    uint32_t filter_rules;
    struct wvu_text host_name;
    struct wvu_text sensor_version;
    struct wvu_text system_version;
    struct wvu_text configuration; /* as in SensorStart */
    struct wvu_text log;           /* MODULE=LEVEL, one a line */
};

enum wvu_event_type {
    WVU_EVENT_NONE = 0,
#define WVU_EVENT(number, name, structure, description) WVU_EVENT_##name = (number),
#include "events.def"
};

enum wvu_loss_cause {
    WVU_LOSS_NONE = 0,
    WVU_LOSS_QUEUE_FULL = 1, /* overwritten by newer records while no reader took them: numbered */
    WVU_LOSS_QUEUE_BUSY = 2, /* no room because an older record was still being written or copied */
    WVU_LOSS_KERNEL_RING = 3,  /* the kernel's event ring was full */
    WVU_LOSS_KERNEL_PROBE = 4, /* a probe in the kernel could not read or write its event */
    WVU_LOSS_SOURCE_TABLE = 5, /* the host's own bounded tables had no room to follow the event */
    WVU_LOSS_CAUSES
};

enum wvu_create_cause {
    WVU_CREATE_UNKNOWN = 0,
    WVU_CREATE_EXEC = 1,    /* the process runs a new program */
    WVU_CREATE_FORK = 2,    /* the process goes on with the program it inherited */
    WVU_CREATE_RUNNING = 3, /* it ran already when the sensor started */
    WVU_CREATE_FOUND = 4    /* it was found later: its own events were lost */
};

enum wvu_probe_condition {
    WVU_PROBE_STOPPED = 0,
    WVU_PROBE_RUNNING = 1,
    WVU_PROBE_FAILED = 2 /* it could not start, or stopped by itself; status and reason say why */
};

enum wvu_mitigation_action {
    WVU_MITIGATION_NONE = 0,
    WVU_MITIGATION_TERMINATE = 1, /* a process that runs is ended */
    WVU_MITIGATION_DENY = 2       /* a program is kept from running */
};

enum wvu_mitigation_outcome {
    WVU_OUTCOME_UNKNOWN = 0,
    WVU_OUTCOME_REPORTED = 1,  /* the rule only reports: this is what it would have acted on */
    WVU_OUTCOME_PREVENTED = 2, /* not one instruction of the program ran */
    WVU_OUTCOME_ENDED = 3,     /* the process was ended after it had begun */
    WVU_OUTCOME_REFUSED = 4,   /* the target is one that must not be ended; reason says why */
    WVU_OUTCOME_FAILED = 5     /* it was tried; status and reason say why not */
};

enum wvu_host_kind { WVU_HOST_LINUX = 1, WVU_HOST_WINDOWS = 2, WVU_HOST_SIMULATED = 3 };

/* ---- the events' own fields, after the header ------------------------------------------------ */

struct wvu_image_load {
    struct wvu_record record;
    uint64_t eprocess;   /* Windows: keyed hash of the process object */
    uint64_t image_base; /* user address; 0 (absent) for kernel images */
    uint64_t image_size; /* bytes mapped */
    uint64_t file_offset;
    uint64_t inode;
    uint32_t device_major;
    uint32_t device_minor;
    uint32_t thread_id;     /* that mapped it */
    uint32_t kernel_image;  /* 1: a driver or kernel module */
    uint32_t signing_level; /* Windows: IMAGE_INFO.ImageSignatureLevel */
    uint32_t signing_type;  /* Windows: IMAGE_INFO.ImageSignatureType */
    uint32_t machine_type;  /* Windows: IMAGE_FILE_MACHINE_... */
    struct wvu_text full_image_name;
    struct wvu_text build_id;
    uint32_t reserved;
};

struct wvu_process_create {
    struct wvu_record record;
    uint64_t parent_process_key;
    uint64_t eprocess;    /* Windows: keyed hash of the process object */
    uint64_t file_object; /* Windows: keyed hash of the image's file object */
    uint64_t cgroup_id;
    uint64_t pid_namespace;
    uint64_t inode; /* of the image */
    uint32_t parent_process_id;
    uint32_t unique_process; /* the process and thread that created it; the parent can be another */
    uint32_t unique_thread;
    int32_t creation_status;
    uint32_t cause; /* enum wvu_create_cause */
    uint32_t session_id;
    uint32_t user_id;
    uint32_t group_id;
    struct wvu_text image_file_name;
    struct wvu_text command_line; /* Windows only; Linux has arguments */
    struct wvu_text arguments;    /* each argument followed by a NUL */
    struct wvu_text working_directory;
    struct wvu_text exec_file_name; /* the name given to exec: differs for scripts and links */
    struct wvu_text user_sid;       /* Windows: text form */
};

struct wvu_process_destroy {
    struct wvu_record record;
    uint64_t eprocess;
    uint32_t exit_code; /* Linux: 0..255; Windows: NTSTATUS or what the process gave */
    uint32_t signal;    /* Linux: the signal that ended it; exit_code is absent then */
    uint32_t core_dumped;
    uint32_t reserved;
};

struct wvu_sensor_start {
    struct wvu_record record;
    uint32_t host; /* enum wvu_host_kind */
    uint32_t protocol_version;
    uint32_t queue_records; /* the most records the queue keeps */
    uint32_t queue_bytes;
    struct wvu_text host_name;
    struct wvu_text sensor_version;
    struct wvu_text system_version; /* of the operating system's kernel */
    struct wvu_text configuration;  /* key=value, one a line */
};

struct wvu_sensor_stop {
    struct wvu_record record;
    uint64_t accepted; /* records numbered before this one */
    uint64_t delivered;
    uint64_t lost;
    struct wvu_text reason;
    uint32_t reserved;
};

struct wvu_probe_state_changed {
    struct wvu_record record; /* sensor_id is the probe's */
    uint32_t state;           /* enum wvu_probe_condition */
    int32_t status;           /* why, when it failed */
    struct wvu_text probe_name;
    struct wvu_text reason;
};

struct wvu_events_lost {
    struct wvu_record
        record; /* sequence: last_sequence when there is a range, else its own number */
    uint64_t
        first_sequence; /* the numbers that will never come; absent for losses before numbering */
    uint64_t last_sequence;
    uint64_t count;       /* the sum of the list */
    struct wvu_text lost; /* an array of struct wvu_loss */
    uint32_t reserved;
};

struct wvu_thread_create {
    struct wvu_record record; /* process: the one that the thread belongs to */
    uint64_t start_address;   /* user addresses only */
    uint64_t win32_start_address;
    uint64_t creator_process_key;
    uint32_t thread_id;
    uint32_t creator_process_id;
    uint32_t creator_thread_id;
    uint32_t is_start_address_valid;
    uint32_t remote; /* 1: another process made it */
    uint32_t reserved;
};

struct wvu_thread_destroy {
    struct wvu_record record;
    uint32_t thread_id;
    uint32_t reserved;
};

struct wvu_process_list_validation_failed {
    struct wvu_record record;
    uint64_t eprocess; /* Windows: keyed hash of the process object */
    int32_t status;
    struct wvu_text in_lists; /* each name followed by a NUL */
    struct wvu_text not_in_lists;
    struct wvu_text image_file_name;
};

/* All registry events have the same members. */
#define WVU_REGISTRY_STRUCTURE(name)                                                               \
    struct name {                                                                                  \
        struct wvu_record record; /* process: the one that called */                               \
        uint64_t eprocess;        /* keyed hashes of the process and the key object */             \
        uint64_t object;                                                                           \
        uint32_t thread_id;                                                                        \
        int32_t status; /* of the operation, as the caller got it */                               \
        uint32_t type;  /* REG_... */                                                              \
        uint32_t data_size;                                                                        \
        uint32_t desired_access;                                                                   \
        uint32_t granted_access;                                                                   \
        uint32_t options;                                                                          \
        uint32_t disposition; /* 1: the key was made, 2: it was there */                           \
        uint32_t information_class;                                                                \
        struct wvu_text key_name;   /* the whole path */                                           \
        struct wvu_text value_name; /* known and empty: the key's default value */                 \
        struct wvu_text new_name;                                                                  \
        struct wvu_text data; /* the first bytes of the value's data */                            \
        uint32_t reserved;                                                                         \
    }
WVU_REGISTRY_STRUCTURE(wvu_reg_query_value_key_info);
WVU_REGISTRY_STRUCTURE(wvu_reg_create_key_info);
WVU_REGISTRY_STRUCTURE(wvu_reg_set_value_key_info);
WVU_REGISTRY_STRUCTURE(wvu_reg_open_key_info);
WVU_REGISTRY_STRUCTURE(wvu_reg_delete_value_key_info);
WVU_REGISTRY_STRUCTURE(wvu_reg_rename_key_info);
WVU_REGISTRY_STRUCTURE(wvu_reg_delete_key_info);

/* The record's process is the one that gave the command. */
struct wvu_command_executed {
    struct wvu_record record;
    uint32_t command; /* enum wvu_command */
    int32_t status;
    uint32_t user_id;
    struct wvu_text user_sid;
    struct wvu_text image_file_name; /* of the program that gave it */
    struct wvu_text target;          /* name of a probe, a process */
    struct wvu_text detail;          /* what was set; or why it failed */
};

/* The record's process is the target. */
struct wvu_mitigated {
    struct wvu_record record;
    uint32_t action;  /* enum wvu_mitigation_action */
    uint32_t outcome; /* enum wvu_mitigation_outcome */
    int32_t status;
    uint32_t requester_process_id; /* whose command it was; 0: a rule's */
    struct wvu_text rule;
    struct wvu_text image_file_name; /* of the target */
    struct wvu_text reason;
    uint32_t reserved;
};

/* The record's process is the one that tried. */
struct wvu_stop_refused {
    struct wvu_record record;
    uint32_t user_id;
    struct wvu_text attempt; /* how it was tried */
    struct wvu_text image_file_name;
    uint32_t reserved;
};

/* The bit of a field in wvu_record.present: WVU_PRESENT(wvu_process_destroy, Signal). */
#define WVU_PRESENT(structure, json) (UINT64_C(1) << WVU_FIELD_INDEX_##structure##_##json)

#define WVU_EVENT(number, name, structure, description)                                            \
    enum wvu_fields_of_##structure                                                                 \
    {
#define WVU_FIELD(structure, kind, json, member, description) WVU_FIELD_INDEX_##structure##_##json,
#define WVU_EVENT_END(name)                                                                        \
    WVU_FIELD_COUNT_##name                                                                         \
    }                                                                                              \
    ;
#include "events.def"

/* ---- layout -------------------------------------------------------------------------------- */

#ifdef __cplusplus
#define WVU_LAYOUT(type, bytes) static_assert(sizeof(type) == (bytes), "layout of " #type)
#else
#define WVU_LAYOUT(type, bytes) _Static_assert(sizeof(type) == (bytes), "layout of " #type)
#endif
WVU_LAYOUT(struct wvu_welcome, 16);
WVU_LAYOUT(struct wvu_message_header, 16);
WVU_LAYOUT(struct wvu_batch, 48);
WVU_LAYOUT(struct wvu_reply_header, 16);
WVU_LAYOUT(struct wvu_reply, 16);
WVU_LAYOUT(struct wvu_request, 32);
WVU_LAYOUT(struct wvu_response, 16);
WVU_LAYOUT(struct wvu_record, 72);
WVU_LAYOUT(struct wvu_text, 12);
WVU_LAYOUT(struct wvu_loss, 16);
WVU_LAYOUT(struct wvu_image_load, 168);
WVU_LAYOUT(struct wvu_process_create, 224);
WVU_LAYOUT(struct wvu_process_destroy, 96);
WVU_LAYOUT(struct wvu_sensor_start, 136);
WVU_LAYOUT(struct wvu_sensor_stop, 112);
WVU_LAYOUT(struct wvu_probe_state_changed, 104);
WVU_LAYOUT(struct wvu_events_lost, 112);
WVU_LAYOUT(struct wvu_thread_create, 120);
WVU_LAYOUT(struct wvu_thread_destroy, 80);
WVU_LAYOUT(struct wvu_process_list_validation_failed, 120);
WVU_LAYOUT(struct wvu_reg_query_value_key_info, 176);
WVU_LAYOUT(struct wvu_reg_delete_key_info, 176);
WVU_LAYOUT(struct wvu_command_executed, 136);
WVU_LAYOUT(struct wvu_mitigated, 128);
WVU_LAYOUT(struct wvu_stop_refused, 104);
WVU_LAYOUT(struct wvu_probe_entry, 112);
WVU_LAYOUT(struct wvu_event_statistics, 104);
WVU_LAYOUT(struct wvu_sensor_status, 144);
#undef WVU_LAYOUT

#endif
