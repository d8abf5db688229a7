/*
 * The rules of announcement (tracker.h names them). Called by the source's thread with the kernel's
 * events in the order of time, and by unit tests with made-up ones. No locks, no system calls.
 *
 *              fork                    exec                        exit
 *   (none) ----------> WAITING ---------------------> ANNOUNCED ----------> ENDED
 *      |                  | 25 ms, or any other event    ^  |  ^
 *      |                  +------------- Fork -----------+  +--+ exec: one more create
 *      | an event with only a pid           key learned ^
 *      +-------------------------> UNKNOWN -------------+ Found
 *
 * An exec is several events: COMM (exec has begun), the images that the kernel maps itself, then the
 * sample with everything else. Images that come between COMM and sample are held, and told after the
 * create that the sample makes. Images of a process whose key is not known are held, too, until an event
 * with the key comes, or a walk over all processes finds it.
 *
 * What a process runs (path and arguments) is remembered for its children, who inherit it: `program`
 * is a chain of blocks with a count of users. Blocks and entries are bounded. When they run out, events
 * are told with what they hold themselves, less is remembered, and the counters say so; only images that
 * cannot be held are lost, and reported as lost.
 *
 * The filter's verdict is asked for when a process is announced, with what is announced of it, and for all of them
 * when the filter changed. An entry keeps which events are wanted and what its children need of it.
 *
 * An end that is not seen (its sample was lost) shows when the pid is used again, or when a walk does
 * not find the process any more; it is then told without a status.
 */
#include "tracker.h"

#include <string.h>

#include "blocks.h"
#include "os.h"
#include "processes.h"

#define TRACKER_TAG WVU_TAG('W', 'v', 'T', 'r')

#define PATH_BYTES           4400u /* the kernel's paths, with what it appends */
#define REMEMBERED_HEAD      2730u
#define REMEMBERED_ARGUMENTS 4096u
#define HELD_IMAGES_MAX      64u

struct wvu_tracker {
    struct wvu_tracker_sink sink;
    struct wvu_processes processes;
    struct wvu_blocks blocks;
    struct wvu_tracker_counters counters;
    uint64_t unfollowed_alive; /* announced without an entry, and not ended yet */
    uint32_t walk;             /* number of the last walk */
    bool again;
    bool wants_sync;
    uint64_t sweep_at; /* time of the walk whose missing processes are gone; UINT64_MAX: none */
    uint8_t image_text[PATH_BYTES];
    uint8_t arguments_text[REMEMBERED_ARGUMENTS];
    uint8_t directory_text[WVU_EXEC_DIRECTORY_MAX + 16];
    uint8_t absolute_text[WVU_EXEC_DIRECTORY_MAX + WVU_EXEC_FILE_NAME_MAX + 16];
};

/* What stands at the front of a remembered program's chain, before its texts. */
struct program {
    uint32_t users;
    uint32_t image_size;
    uint32_t arguments_size;
    uint32_t arguments_head;
    uint32_t arguments_full;
    uint32_t arguments_known;
    uint64_t inode;
};

/* At the front of a held image's chain; its path follows. */
struct held {
    struct wvu_image image;
    uint32_t next;
    uint32_t reserved;
};
_Static_assert(sizeof(struct held) < WVU_BLOCK_DATA, "the front must be in the first block");

static struct wvu_bytes whole(const void *bytes, uint32_t size)
{
    return (struct wvu_bytes){bytes, size, size, size, true};
}

/* ---- programs ------------------------------------------------------------------------------------- */

static struct program *program_of(const struct wvu_tracker *tracker, uint32_t chain)
{
    return wvu_blocks_front(&tracker->blocks, chain);
}

static void forget_program(struct wvu_tracker *tracker, uint32_t *chain)
{
    if (*chain != WVU_BLOCK_NONE && --program_of(tracker, *chain)->users == 0)
        wvu_blocks_give(&tracker->blocks, *chain);
    *chain = WVU_BLOCK_NONE;
}

static uint32_t share_program(struct wvu_tracker *tracker, uint32_t chain)
{
    if (chain != WVU_BLOCK_NONE)
        program_of(tracker, chain)->users++;
    return chain;
}

/* As much as is remembered of arguments: their beginning and their end. */
static struct program shorten(const struct wvu_bytes *arguments)
{
    struct program program = {
        .users = 1,
        .arguments_size = arguments->size,
        .arguments_head = arguments->head,
        .arguments_full = arguments->full_size,
        .arguments_known = arguments->known,
    };
    if (arguments->size > REMEMBERED_ARGUMENTS) {
        uint32_t head = arguments->head < REMEMBERED_HEAD ? arguments->head : REMEMBERED_HEAD;
        uint32_t tail = REMEMBERED_ARGUMENTS - head;
        uint32_t tail_there =
            arguments->size - (arguments->head < arguments->size ? arguments->head : head);
        program.arguments_head = head;
        program.arguments_size = head + (tail < tail_there ? tail : tail_there);
    }
    return program;
}

static uint32_t remember_program(struct wvu_tracker *tracker, const struct wvu_bytes *image,
                                 const struct wvu_bytes *arguments, uint64_t inode)
{
    if (image->size == 0 && !arguments->known)
        return WVU_BLOCK_NONE;
    struct program program = shorten(arguments);
    program.image_size = image->size < PATH_BYTES ? image->size : PATH_BYTES;
    program.inode = inode;
    uint32_t chain = wvu_blocks_take(
        &tracker->blocks, (uint32_t)sizeof program + program.image_size + program.arguments_size);
    if (chain == WVU_BLOCK_NONE) {
        tracker->counters.forgotten++;
        return chain;
    }
    uint32_t offset = sizeof program;
    memcpy(wvu_blocks_front(&tracker->blocks, chain), &program, sizeof program);
    wvu_blocks_write(&tracker->blocks, chain, offset, image->bytes, program.image_size);
    offset += program.image_size;
    wvu_blocks_write(&tracker->blocks, chain, offset, arguments->bytes, program.arguments_head);
    offset += program.arguments_head;
    uint32_t tail = program.arguments_size - program.arguments_head;
    if (tail != 0)
        wvu_blocks_write(&tracker->blocks, chain, offset,
                         (const uint8_t *)arguments->bytes + (arguments->size - tail), tail);
    return chain;
}

static struct wvu_bytes image_of(struct wvu_tracker *tracker, uint32_t chain)
{
    if (chain == WVU_BLOCK_NONE || program_of(tracker, chain)->image_size == 0)
        return (struct wvu_bytes){0};
    uint32_t size = program_of(tracker, chain)->image_size;
    return whole(
        wvu_blocks_read(&tracker->blocks, chain, sizeof(struct program), size, tracker->image_text),
        size);
}

/* ---- judging ---------------------------------------------------------------------------------------- */

static uint64_t parent_matches(const struct wvu_tracker *tracker,
                               const struct wvu_sample_task *task)
{
    const struct wvu_process *parent = wvu_processes_find(&tracker->processes, task->parent_pid);
    return parent != NULL && parent->task.key == task->parent_key ? parent->as_parent : 0;
}

/* What the filter says of a process that runs this image; the entry keeps what its events need of it. */
static void judge(struct wvu_tracker *tracker, struct wvu_process *process,
                  const struct wvu_bytes *image, struct wvu_verdict *verdict)
{
    const struct wvu_subject subject = {
        .image = image->size != 0 ? image->bytes : NULL,
        .image_size = image->size,
        .unit = 1,
        .has_user = process->task_known,
        .user_id = process->task.user_id,
        .parent_matches = process->task_known ? parent_matches(tracker, &process->task) : 0,
    };
    *verdict = (struct wvu_verdict){.wanted = WVU_WANTED_ALL};
    if (tracker->sink.judge != NULL)
        tracker->sink.judge(tracker->sink.context, &subject, verdict);
    process->wanted = verdict->wanted;
    process->as_parent = verdict->as_parent;
    process->is_protected = verdict->is_protected;
}

/* ---- announcing ------------------------------------------------------------------------------------- */

static void hold(struct wvu_tracker *tracker, struct wvu_process *process,
                 const struct wvu_image *image)
{
    struct held held = {*image, WVU_BLOCK_NONE, 0};
    if (held.image.path_size > PATH_BYTES)
        held.image.path_size = PATH_BYTES;
    uint32_t chain = WVU_BLOCK_NONE;
    if (process->held_count < HELD_IMAGES_MAX)
        chain = wvu_blocks_take(&tracker->blocks, (uint32_t)sizeof held + held.image.path_size);
    if (chain == WVU_BLOCK_NONE) {
        tracker->sink.lost(tracker->sink.context, WVU_EVENT_ImageLoad, 1);
        return;
    }
    memcpy(wvu_blocks_front(&tracker->blocks, chain), &held, sizeof held);
    wvu_blocks_write(&tracker->blocks, chain, sizeof held, image->path, held.image.path_size);
    if (process->held_last != WVU_BLOCK_NONE)
        ((struct held *)wvu_blocks_front(&tracker->blocks, process->held_last))->next = chain;
    else
        process->held_first = chain;
    process->held_last = chain;
    process->held_count++;
}

static const struct held *held_at(const struct wvu_tracker *tracker, uint32_t chain)
{
    return wvu_blocks_front(&tracker->blocks, chain);
}

/* Gives the blocks of the held images back, after telling them or not. */
static void release_held(struct wvu_tracker *tracker, struct wvu_process *process, bool tell)
{
    uint32_t chain = process->held_first;
    process->held_first = WVU_BLOCK_NONE;
    process->held_last = WVU_BLOCK_NONE;
    process->held_count = 0;
    while (chain != WVU_BLOCK_NONE) {
        const struct held *held = held_at(tracker, chain);
        uint32_t next = held->next;
        if (tell) {
            struct wvu_image image = held->image;
            image.key = process->task.key;
            image.wanted = process->wanted;
            image.path = wvu_blocks_read(&tracker->blocks, chain, sizeof *held, image.path_size,
                                         tracker->image_text);
            tracker->sink.image(tracker->sink.context, &image);
        }
        wvu_blocks_give(&tracker->blocks, chain);
        chain = next;
    }
}

static void drop_held(struct wvu_tracker *tracker, struct wvu_process *process)
{
    if (process->held_count != 0)
        tracker->sink.lost(tracker->sink.context, WVU_EVENT_ImageLoad, process->held_count);
    release_held(tracker, process, false);
}

/* A create is not younger than the images it is told before, also for those who sort by time. */
static uint64_t not_after_held(const struct wvu_tracker *tracker, const struct wvu_process *process,
                               uint64_t time)
{
    if (process->held_first == WVU_BLOCK_NONE)
        return time;
    uint64_t first = held_at(tracker, process->held_first)->image.time;
    return first < time ? first : time;
}

/* Announces a process with what is remembered of its program, then what waited for that. */
static void announce(struct wvu_tracker *tracker, struct wvu_process *process, uint32_t cause,
                     uint64_t time)
{
    struct wvu_verdict verdict;
    struct wvu_created event = {
        .cause = cause,
        .time = not_after_held(tracker, process, time),
        .task = &process->task,
        .task_known = process->task_known,
        .image = image_of(tracker, process->program),
        .verdict = &verdict,
    };
    if (process->program != WVU_BLOCK_NONE) {
        const struct program *program = program_of(tracker, process->program);
        uint32_t offset = (uint32_t)sizeof *program + program->image_size;
        event.inode = program->inode;
        event.arguments =
            (struct wvu_bytes){wvu_blocks_read(&tracker->blocks, process->program, offset,
                                               program->arguments_size, tracker->arguments_text),
                               program->arguments_size, program->arguments_head,
                               program->arguments_full, program->arguments_known != 0};
    }
    wvu_processes_delist(&tracker->processes, process);
    process->state = WVU_PROCESS_ANNOUNCED;
    if (cause == WVU_CREATE_FOUND)
        tracker->counters.found++;
    judge(tracker, process, &event.image, &verdict);
    tracker->sink.created(tracker->sink.context, &event);
    process->exec_begun = false;
    release_held(tracker, process, true);
}

static void announce_fork(struct wvu_tracker *tracker, struct wvu_process *process)
{
    announce(tracker, process, WVU_CREATE_FORK, process->time);
}

/* The end of a process that is in the table, whatever is still owed of it. */
static void end(struct wvu_tracker *tracker, struct wvu_process *process,
                const struct wvu_destroyed *event)
{
    if (process->state == WVU_PROCESS_WAITING)
        announce_fork(tracker, process);
    release_held(tracker, process, true);
    struct wvu_destroyed told = *event;
    told.wanted = process->wanted;
    tracker->sink.destroyed(tracker->sink.context, &told);
    forget_program(tracker, &process->program);
    wvu_processes_end(&tracker->processes, process);
}

/* It is gone, and nobody said how. */
static void end_unseen(struct wvu_tracker *tracker, struct wvu_process *process, uint64_t time)
{
    struct wvu_destroyed event = {.time = time, .key = process->task.key, .pid = process->task.pid};
    tracker->counters.vanished++;
    end(tracker, process, &event);
}

/* ---- entries ------------------------------------------------------------------------------------------ */

static void make_room_for(struct wvu_tracker *tracker, uint32_t pid)
{
    struct wvu_process *process = wvu_processes_find(&tracker->processes, pid);
    if (process != NULL)
        wvu_processes_release(&tracker->processes, process);
}

static struct wvu_process *take(struct wvu_tracker *tracker, uint32_t pid)
{
    struct wvu_process *process = wvu_processes_take(&tracker->processes, pid);
    if (process == NULL)
        return NULL;
    process->walk = tracker->walk;
    return process;
}

/* A process and everything that its sample says of it, except who created it: only a fork knows. */
static void adopt(struct wvu_process *process, const struct wvu_sample_task *task)
{
    process->task = *task;
    process->task.creator_pid = 0;
    process->task.creator_tid = 0;
    process->task_known = true;
}

/* The entry of the process that a sample is about; NULL when there is none. An entry of the same pid and
 * another key belongs to a process whose end was lost. One that was UNKNOWN is not any more: the caller
 * announces it. */
static struct wvu_process *identify(struct wvu_tracker *tracker, const struct wvu_sample_task *task,
                                    uint64_t time)
{
    struct wvu_process *process = wvu_processes_find(&tracker->processes, task->pid);
    if (process == NULL)
        return NULL;
    if (process->state == WVU_PROCESS_UNKNOWN) {
        adopt(process, task);
        return process;
    }
    if (process->task.key == task->key)
        return process;
    if (process->state != WVU_PROCESS_ENDED)
        end_unseen(tracker, process, time);
    make_room_for(tracker, task->pid);
    return NULL;
}

/* A process that an event names besides the one it is about, as creator or parent. It did something, so
 * it is announced. `key` 0: not known. */
static struct wvu_process *know(struct wvu_tracker *tracker, uint32_t pid, uint64_t key,
                                uint64_t time)
{
    struct wvu_process *process = wvu_processes_find(&tracker->processes, pid);
    bool same = process != NULL && (key == 0 || process->task.key == key);
    if (same && process->state == WVU_PROCESS_WAITING)
        announce_fork(tracker, process);
    if (same && process->state != WVU_PROCESS_UNKNOWN)
        return process;
    if (pid == 0 || key == 0) {
        tracker->wants_sync = tracker->wants_sync || pid != 0;
        return NULL;
    }
    struct wvu_sample_task task = {.pid = pid, .key = key};
    process = identify(tracker, &task, time);
    if (process == NULL)
        process = take(tracker, pid);
    if (process == NULL)
        return NULL;
    process->task = task;
    process->task_known = false;
    announce(tracker, process, WVU_CREATE_FOUND, time);
    return process;
}

/* ---- fork --------------------------------------------------------------------------------------------- */

void wvu_tracker_fork(struct wvu_tracker *tracker, const struct wvu_sample_task *child,
                      uint64_t time)
{
    bool by_parent = child->creator_pid == child->parent_pid;
    const struct wvu_process *creator =
        know(tracker, child->creator_pid, by_parent ? child->parent_key : 0, time);
    uint32_t program = creator != NULL ? creator->program : WVU_BLOCK_NONE;
    if (!by_parent)
        know(tracker, child->parent_pid, child->parent_key, time);

    struct wvu_process *process = identify(tracker, child, time);
    if (process == NULL)
        process = take(tracker, child->pid);
    else if (process->state != WVU_PROCESS_UNKNOWN)
        return; /* a walk found it before this event was read */
    if (process == NULL) {
        struct wvu_process unfollowed = {.task = *child,
                                         .task_known = true,
                                         .program = program,
                                         .held_first = WVU_BLOCK_NONE,
                                         .held_last = WVU_BLOCK_NONE};
        tracker->counters.unfollowed++;
        tracker->unfollowed_alive++;
        announce(tracker, &unfollowed, WVU_CREATE_FORK, time);
        return;
    }
    process->task = *child;
    process->task_known = true;
    process->time = time;
    process->state = WVU_PROCESS_WAITING;
    process->program = share_program(tracker, program);
    if (!process->exec_begun)
        wvu_processes_enlist(&tracker->processes, process, WVU_LIST_WAITING);
    if (process->held_count != 0 && !process->exec_begun)
        announce_fork(tracker, process); /* it loaded an image before this was read */
}

/* ---- exec --------------------------------------------------------------------------------------------- */

/* The directory from its components, which come leaf first, each followed by a slash. */
static struct wvu_bytes build_directory(struct wvu_tracker *tracker,
                                        const struct wvu_sample_exec *exec,
                                        const uint8_t *leaf_first)
{
    static const char deleted[] = " (deleted)";
    if ((exec->flags & WVU_EXEC_DIRECTORY_KNOWN) == 0)
        return (struct wvu_bytes){0};
    bool cut = (exec->flags & WVU_EXEC_DIRECTORY_CUT) != 0;
    uint8_t *to = tracker->directory_text;
    uint32_t size = 0;
    uint32_t end = exec->directory_size;
    while (end > 0) {
        uint32_t start = --end; /* of the component before the slash at `end` */
        while (start > 0 && leaf_first[start - 1] != '/')
            start--;
        if (!cut || size != 0)
            to[size++] = '/';
        memcpy(to + size, leaf_first + start, end - start);
        size += end - start;
        end = start;
    }
    if (size == 0)
        to[size++] = '/';
    if ((exec->flags & WVU_EXEC_DIRECTORY_DELETED) != 0) {
        memcpy(to + size, deleted, sizeof deleted - 1);
        size += sizeof deleted - 1;
    }
    struct wvu_bytes directory = whole(to, size);
    if (cut) {
        /* Only the end is here; how long the whole is, is not known: longer by a slash at least. */
        directory.head = 0;
        directory.full_size = size + 1;
    }
    return directory;
}

/* The name given to exec as a path from the root, as far as that can be said without looking. */
static struct wvu_bytes make_absolute(struct wvu_tracker *tracker, const struct wvu_bytes *name,
                                      const struct wvu_bytes *directory)
{
    const uint8_t *relative = name->bytes;
    uint32_t size = name->size;
    if (size == 0 || relative[0] == '/' || directory->size == 0 || directory->head == 0)
        return *name;
    while (size >= 2 && relative[0] == '.' && relative[1] == '/') {
        relative += 2;
        size -= 2;
        while (size >= 1 && relative[0] == '/') {
            relative++;
            size--;
        }
    }
    uint8_t *to = tracker->absolute_text;
    uint32_t length = directory->size;
    memcpy(to, directory->bytes, length);
    if (to[length - 1] != '/')
        to[length++] = '/';
    memcpy(to + length, relative, size);
    return whole(to, length + size);
}

/* The path of the new program as the kernel found it: that of the image with its inode, else the first
 * one that the exec mapped; the loader comes after the program. */
static struct wvu_bytes main_image(struct wvu_tracker *tracker, const struct wvu_process *process,
                                   const struct wvu_sample_exec *exec)
{
    uint32_t found = process->exec_begun ? process->held_first : WVU_BLOCK_NONE;
    for (uint32_t chain = found; chain != WVU_BLOCK_NONE; chain = held_at(tracker, chain)->next) {
        const struct wvu_image *image = &held_at(tracker, chain)->image;
        if (image->inode != 0 && image->inode == exec->inode &&
            image->device_major == exec->device_major &&
            image->device_minor == exec->device_minor) {
            found = chain;
            break;
        }
    }
    if (found == WVU_BLOCK_NONE)
        return (struct wvu_bytes){0};
    uint32_t size = held_at(tracker, found)->image.path_size;
    return whole(
        wvu_blocks_read(&tracker->blocks, found, sizeof(struct held), size, tracker->image_text),
        size);
}

static bool same_bytes(const struct wvu_bytes *a, const struct wvu_bytes *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static struct wvu_created describe_exec(struct wvu_tracker *tracker,
                                        const struct wvu_process *process,
                                        const struct wvu_sample_exec *exec, const uint8_t *data,
                                        uint64_t time)
{
    struct wvu_created event = {
        .cause = WVU_CREATE_EXEC,
        .time = process->exec_begun ? process->exec_time : not_after_held(tracker, process, time),
        .inode = exec->inode,
        .task = &process->task,
        .task_known = true,
        .directory = build_directory(tracker, exec, data + exec->file_name_size),
        .image = main_image(tracker, process, exec),
    };
    struct wvu_bytes name = whole(data, exec->file_name_size);
    struct wvu_bytes absolute = make_absolute(tracker, &name, &event.directory);
    if (name.size == 0)
        ; /* it could not be read */
    else if (event.image.size == 0)
        event.image = absolute;
    else if (!same_bytes(&absolute, &event.image))
        event.exec_name = name;
    if ((exec->flags & WVU_EXEC_ARGUMENTS_KNOWN) != 0)
        event.arguments = (struct wvu_bytes){data + exec->file_name_size + exec->directory_size,
                                             exec->arguments_size, exec->arguments_head,
                                             exec->arguments_full, true};
    return event;
}

/* Takes over what an exec can change; parent and creator stay those of the fork. */
static void renew_task(struct wvu_process *process, const struct wvu_sample_task *task)
{
    if (!process->task_known) {
        adopt(process, task);
        return;
    }
    process->task.user_id = task->user_id;
    process->task.group_id = task->group_id;
    process->task.session_id = task->session_id;
    process->task.cgroup_id = task->cgroup_id;
    process->task.pid_namespace = task->pid_namespace;
    process->task.flags = task->flags;
}

static void exec_unfollowed(struct wvu_tracker *tracker, const struct wvu_sample_exec *exec,
                            const void *data, uint64_t time)
{
    struct wvu_process unfollowed = {.held_first = WVU_BLOCK_NONE, .held_last = WVU_BLOCK_NONE};
    adopt(&unfollowed, &exec->task);
    struct wvu_verdict verdict;
    struct wvu_created event = describe_exec(tracker, &unfollowed, exec, data, time);
    judge(tracker, &unfollowed, &event.image, &verdict);
    event.verdict = &verdict;
    if (tracker->unfollowed_alive == 0) { /* its fork was not announced: lost */
        tracker->counters.unfollowed++;
        tracker->unfollowed_alive++;
    }
    tracker->sink.created(tracker->sink.context, &event);
}

/* A thread that is not the first one calls exec: it goes on as the first, and its own id is free. */
static void end_caller(struct wvu_tracker *tracker, const struct wvu_process *process,
                       const struct wvu_sample_exec *exec, uint64_t time)
{
    if (exec->tid == 0 || exec->tid == exec->task.pid || process->state != WVU_PROCESS_ANNOUNCED)
        return;
    const struct wvu_thread_event event = {
        .time = process->exec_begun ? process->exec_time : time,
        .key = process->task.key,
        .pid = process->task.pid,
        .tid = exec->tid,
        .ended = true,
        .wanted = process->wanted,
    };
    tracker->sink.thread(tracker->sink.context, &event);
}

void wvu_tracker_exec(struct wvu_tracker *tracker, const struct wvu_sample_exec *exec,
                      const void *data, uint64_t time)
{
    struct wvu_process *process = identify(tracker, &exec->task, time);
    if (process == NULL) {
        process = take(tracker, exec->task.pid);
        if (process == NULL) {
            exec_unfollowed(tracker, exec, data, time);
            return;
        }
        adopt(process, &exec->task);
    }
    if (process->state == WVU_PROCESS_ENDED)
        return;
    end_caller(tracker, process, exec, time);
    if (process->state == WVU_PROCESS_ANNOUNCED && time <= process->described) {
        process->exec_begun = false; /* the walk saw the new program already */
        release_held(tracker, process, true);
        return;
    }
    renew_task(process, &exec->task);
    struct wvu_verdict verdict;
    struct wvu_created event = describe_exec(tracker, process, exec, data, time);
    judge(tracker, process, &event.image, &verdict);
    event.verdict = &verdict;
    wvu_processes_delist(&tracker->processes, process);
    process->state = WVU_PROCESS_ANNOUNCED;
    tracker->sink.created(tracker->sink.context, &event);
    forget_program(tracker, &process->program);
    process->program = remember_program(tracker, &event.image, &event.arguments, event.inode);
    process->exec_begun = false;
    release_held(tracker, process, true);
}

/* ---- the other events ----------------------------------------------------------------------------------- */

void wvu_tracker_exit(struct wvu_tracker *tracker, const struct wvu_sample_exit *exit,
                      uint64_t time)
{
    struct wvu_destroyed event = {
        .time = time,
        .key = exit->task.key,
        .pid = exit->task.pid,
        .status = exit->status,
        .status_known = true,
        .wanted = WVU_WANTED_ALL,
    };
    struct wvu_process *process = identify(tracker, &exit->task, time);
    if (process == NULL && tracker->unfollowed_alive != 0) {
        tracker->unfollowed_alive--;
        tracker->sink.destroyed(tracker->sink.context, &event);
        return;
    }
    if (process == NULL) {
        process = take(tracker, exit->task.pid);
        if (process == NULL) {
            struct wvu_process unfollowed = {.program = WVU_BLOCK_NONE,
                                             .held_first = WVU_BLOCK_NONE,
                                             .held_last = WVU_BLOCK_NONE};
            adopt(&unfollowed, &exit->task);
            announce(tracker, &unfollowed, WVU_CREATE_FOUND, time);
            event.wanted = unfollowed.wanted;
            tracker->sink.destroyed(tracker->sink.context, &event);
            return;
        }
        adopt(process, &exit->task);
    }
    if (process->state == WVU_PROCESS_ENDED)
        return; /* the second report of two threads that ended at once */
    if (process->state == WVU_PROCESS_UNKNOWN)
        announce(tracker, process, WVU_CREATE_FOUND, time);
    end(tracker, process, &event);
}

/* The entry for an event that has only a pid. NULL: the table is full. */
static struct wvu_process *find_or_take(struct wvu_tracker *tracker, uint32_t pid)
{
    struct wvu_process *process = wvu_processes_find(&tracker->processes, pid);
    if (process != NULL && process->state != WVU_PROCESS_ENDED)
        return process;
    if (process != NULL)
        wvu_processes_release(&tracker->processes, process); /* the pid is in use again */
    tracker->wants_sync = true;
    return take(tracker, pid);
}

void wvu_tracker_exec_begins(struct wvu_tracker *tracker, uint32_t pid, uint64_t time)
{
    struct wvu_process *process = find_or_take(tracker, pid);
    if (process == NULL)
        return;
    /* What is held from before belongs to the old program; it can only be there when that one was not
     * announced (UNKNOWN), and then it still comes first. */
    process->exec_begun = true;
    process->exec_time = time;
    process->exec_walk = tracker->walk;
    if (process->state == WVU_PROCESS_WAITING)
        wvu_processes_delist(&tracker->processes, process);
}

void wvu_tracker_renamed(struct wvu_tracker *tracker, uint32_t pid, const char *name, uint32_t size)
{
    struct wvu_process *process = wvu_processes_find(&tracker->processes, pid);
    if (process == NULL || process->state == WVU_PROCESS_ENDED || size > 64 ||
        (process->task.flags & WVU_TASK_KERNEL_THREAD) == 0)
        return;
    uint8_t text[66];
    text[0] = '[';
    memcpy(text + 1, name, size);
    text[size + 1] = ']';
    struct wvu_bytes image = whole(text, size + 2);
    struct wvu_bytes none = {0};
    forget_program(tracker, &process->program);
    process->program = remember_program(tracker, &image, &none, 0);
}

void wvu_tracker_image(struct wvu_tracker *tracker, const struct wvu_image *image)
{
    struct wvu_process *process = find_or_take(tracker, image->pid);
    if (process == NULL) {
        tracker->sink.lost(tracker->sink.context, WVU_EVENT_ImageLoad, 1);
        return;
    }
    if (process->state == WVU_PROCESS_UNKNOWN || process->exec_begun) {
        hold(tracker, process, image);
        return;
    }
    if (process->state == WVU_PROCESS_WAITING)
        announce_fork(tracker, process);
    struct wvu_image event = *image;
    event.key = process->task.key;
    event.wanted = process->wanted;
    tracker->sink.image(tracker->sink.context, &event);
}

void wvu_tracker_thread(struct wvu_tracker *tracker, const struct wvu_sample_thread *thread,
                        uint64_t time)
{
    const struct wvu_process *process = know(tracker, thread->pid, thread->key, time);
    if (process != NULL && process->state == WVU_PROCESS_ENDED)
        return; /* it ended together with its process, whose end was told by another thread */
    const struct wvu_thread_event event = {
        .time = time,
        .key = thread->key,
        .pid = thread->pid,
        .tid = thread->tid,
        .creator_tid = thread->creator_tid,
        .ended = thread->kind == WVU_SAMPLE_THREAD_EXIT,
        .wanted = process != NULL ? process->wanted : WVU_WANTED_ALL,
    };
    tracker->sink.thread(tracker->sink.context, &event);
}

uint64_t wvu_tracker_key(const struct wvu_tracker *tracker, uint32_t pid)
{
    const struct wvu_process *process = wvu_processes_find(&tracker->processes, pid);
    return process != NULL ? process->task.key : 0;
}

/* ---- time ------------------------------------------------------------------------------------------- */

/* After a walk, when everything that happened before its end was told. */
static void sweep(struct wvu_tracker *tracker, uint64_t time)
{
    for (uint32_t i = 0; i < tracker->processes.count; i++) {
        struct wvu_process *process = &tracker->processes.entries[i];
        if (process->state == WVU_PROCESS_FREE || process->state == WVU_PROCESS_ENDED)
            continue;
        if (process->walk == tracker->walk) {
            /* It lives. If its exec began before the walk, the sample of that was lost. */
            if (process->exec_begun && process->exec_walk != tracker->walk &&
                process->state != WVU_PROCESS_UNKNOWN)
                announce(tracker, process, WVU_CREATE_FOUND, time);
        } else if (process->state == WVU_PROCESS_UNKNOWN) {
            drop_held(tracker, process);
            wvu_processes_release(&tracker->processes, process);
        } else {
            end_unseen(tracker, process, time);
        }
    }
}

void wvu_tracker_advance(struct wvu_tracker *tracker, uint64_t time)
{
    struct wvu_process *process;
    while ((process = wvu_processes_oldest(&tracker->processes, WVU_LIST_WAITING)) != NULL &&
           process->time + WVU_TRACKER_FORK_NS <= time)
        announce_fork(tracker, process);
    if (time >= tracker->sweep_at) {
        tracker->sweep_at = UINT64_MAX;
        sweep(tracker, time);
    }
}

uint64_t wvu_tracker_deadline(const struct wvu_tracker *tracker)
{
    const struct wvu_process *process = wvu_processes_oldest(&tracker->processes, WVU_LIST_WAITING);
    return process != NULL ? process->time + WVU_TRACKER_FORK_NS : UINT64_MAX;
}

/* ---- walks ------------------------------------------------------------------------------------------ */

bool wvu_tracker_wants_sync(const struct wvu_tracker *tracker)
{
    return tracker->wants_sync;
}

void wvu_tracker_sync_begin(struct wvu_tracker *tracker, bool again)
{
    tracker->walk++;
    tracker->again = again;
    tracker->wants_sync = false;
    tracker->sweep_at = UINT64_MAX;
}

bool wvu_tracker_sync_needs(const struct wvu_tracker *tracker, const struct wvu_sample_task *task)
{
    const struct wvu_process *process = wvu_processes_find(&tracker->processes, task->pid);
    return process == NULL || process->task.key != task->key || tracker->again ||
           process->exec_begun;
}

static void announce_running(struct wvu_tracker *tracker, struct wvu_process *process,
                             const struct wvu_created *created)
{
    struct wvu_verdict verdict;
    struct wvu_created event = *created;
    judge(tracker, process, &created->image, &verdict);
    event.verdict = &verdict;
    tracker->sink.created(tracker->sink.context, &event);
}

/* A process that is known: it is alive, and maybe there is more to be told of it. */
static void see_again(struct wvu_tracker *tracker, struct wvu_process *process,
                      const struct wvu_created *created)
{
    process->walk = tracker->walk;
    if (process->exec_begun) {
        /* For the case that the exec's sample was lost; if not, it comes and says better. */
        forget_program(tracker, &process->program);
        process->program =
            remember_program(tracker, &created->image, &created->arguments, created->inode);
    }
    if (tracker->again && process->state == WVU_PROCESS_ANNOUNCED) {
        process->described = created->time;
        announce_running(tracker, process, created);
    }
}

void wvu_tracker_sync_running(struct wvu_tracker *tracker, const struct wvu_created *created)
{
    struct wvu_process *process = identify(tracker, created->task, created->time);
    if (process != NULL && process->state == WVU_PROCESS_ENDED)
        return; /* it ended since */
    if (process != NULL && process->state != WVU_PROCESS_UNKNOWN) {
        see_again(tracker, process, created);
        return;
    }
    if (process == NULL)
        process = take(tracker, created->task->pid);
    if (created->cause == WVU_CREATE_FOUND)
        tracker->counters.found++;
    if (process == NULL) {
        struct wvu_process unfollowed = {0};
        adopt(&unfollowed, created->task);
        announce_running(tracker, &unfollowed, created);
        tracker->counters.unfollowed++;
        tracker->unfollowed_alive++;
        return;
    }
    adopt(process, created->task);
    announce_running(tracker, process, created);
    process->walk = tracker->walk;
    process->state = WVU_PROCESS_ANNOUNCED;
    process->described = created->time;
    process->program =
        remember_program(tracker, &created->image, &created->arguments, created->inode);
    if (!process->exec_begun)
        release_held(tracker, process, true);
}

void wvu_tracker_sync_end(struct wvu_tracker *tracker, uint64_t time)
{
    tracker->sweep_at = time;
}

/* ---- what is known now ------------------------------------------------------------------------------ */

static bool is_alive(const struct wvu_process *process)
{
    return process->state == WVU_PROCESS_WAITING || process->state == WVU_PROCESS_ANNOUNCED;
}

/* Twice: what a process is as a parent does not depend on its own parent, so it is right after the first round,
 * and what it is as a child after the second. */
void wvu_tracker_judge_all(struct wvu_tracker *tracker)
{
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < tracker->processes.count; i++) {
            struct wvu_process *process = &tracker->processes.entries[i];
            if (!is_alive(process))
                continue;
            struct wvu_verdict verdict;
            struct wvu_bytes image = image_of(tracker, process->program);
            judge(tracker, process, &image, &verdict);
        }
    }
}

static struct wvu_followed followed_of(const struct wvu_process *process)
{
    return (struct wvu_followed){
        .task = &process->task,
        .task_known = process->task_known,
        .is_protected = process->is_protected,
        .wanted = process->wanted,
    };
}

void wvu_tracker_each(struct wvu_tracker *tracker,
                      void (*each)(void *context, const struct wvu_followed *followed),
                      void *context)
{
    for (uint32_t i = 0; i < tracker->processes.count; i++) {
        const struct wvu_process *process = &tracker->processes.entries[i];
        if (!is_alive(process))
            continue;
        struct wvu_followed followed = followed_of(process);
        each(context, &followed);
    }
}

bool wvu_tracker_find(struct wvu_tracker *tracker, uint32_t pid, uint64_t key,
                      struct wvu_followed *followed)
{
    const struct wvu_process *process = wvu_processes_find(&tracker->processes, pid);
    if (process == NULL || !is_alive(process) || (key != 0 && process->task.key != key))
        return false;
    *followed = followed_of(process);
    followed->image = image_of(tracker, process->program);
    return true;
}

bool wvu_tracker_is_complete(const struct wvu_tracker *tracker)
{
    return tracker->unfollowed_alive == 0;
}

/* ---- life --------------------------------------------------------------------------------------------- */

wvu_status wvu_tracker_create(const struct wvu_tracker_settings *settings,
                              struct wvu_tracker **created)
{
    struct wvu_tracker *tracker = wvu_os_alloc(sizeof *tracker, TRACKER_TAG);
    if (tracker == NULL)
        return WVU_STATUS_NO_MEMORY;
    tracker->sink = settings->sink;
    tracker->sweep_at = UINT64_MAX;
    wvu_status status = wvu_processes_create(&tracker->processes, settings->processes);
    if (status != WVU_STATUS_OK)
        goto free_tracker;
    status = wvu_blocks_create(&tracker->blocks, settings->blocks);
    if (status != WVU_STATUS_OK)
        goto destroy_processes;
    *created = tracker;
    return WVU_STATUS_OK;

destroy_processes:
    wvu_processes_destroy(&tracker->processes);
free_tracker:
    wvu_os_free(tracker, TRACKER_TAG);
    return status;
}

void wvu_tracker_destroy(struct wvu_tracker *tracker)
{
    if (tracker == NULL)
        return;
    wvu_blocks_destroy(&tracker->blocks);
    wvu_processes_destroy(&tracker->processes);
    wvu_os_free(tracker, TRACKER_TAG);
}

void wvu_tracker_read_counters(const struct wvu_tracker *tracker,
                               struct wvu_tracker_counters *counters)
{
    *counters = tracker->counters;
    counters->followed = tracker->processes.used;
    counters->blocks = tracker->blocks.count - tracker->blocks.free_count;
}
