/*
 * tracker.c: sequences of kernel events, and what must be announced of them. The story of each test is
 * told in short calls; what the tracker says is written down as lines and compared as a whole.
 *
 *     + pid Cause path [arguments] exec=name cwd=directory     created
 *     i pid path                                               image
 *     - pid status                                             destroyed (? when it is not known)
 *     t+ pid tid by creator, t- pid tid                        a thread began, ended
 *     lost type count
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tracker.h"

#define MS 1000000u

static struct {
    struct wvu_tracker *tracker;
    uint64_t now;
    uint32_t generation; /* makes the key of a pid that is used again another one */
    bool show_parents;
    bool show_wanted;
    bool shuns_parent; /* the filter: who is a child of /bin/shunned is not wanted */
    char log[65536];
    size_t length;
    struct wvu_created last;
} world;

/* ---- writing down ------------------------------------------------------------------------------------ */

static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size =
        vsnprintf(world.log + world.length, sizeof world.log - world.length, format, arguments);
    va_end(arguments);
    world.length += (size_t)size;
    assert_true(world.length < sizeof world.log);
}

static uint64_t key_of(uint32_t pid)
{
    return (uint64_t)world.generation << 32 | pid;
}

static void say_list(const struct wvu_bytes *list)
{
    const char *text = list->bytes;
    say(" [");
    for (uint32_t i = 0; i < list->size; i++)
        say("%c", text[i] == '\0' ? '|' : text[i]);
    say("]");
}

static void on_created(void *context, const struct wvu_created *event)
{
    static const char *const causes[] = {"Unknown", "Exec", "Fork", "Running", "Found"};
    (void)context;
    world.last = *event;
    say("+ %u %s", event->task->pid, causes[event->cause]);
    if (event->image.known)
        say(" %.*s", (int)event->image.size, (const char *)event->image.bytes);
    if (event->arguments.known && event->arguments.size < 200)
        say_list(&event->arguments);
    if (event->exec_name.known)
        say(" exec=%.*s", (int)event->exec_name.size, (const char *)event->exec_name.bytes);
    if (event->directory.known)
        say(" cwd=%.*s", (int)event->directory.size, (const char *)event->directory.bytes);
    if (world.show_parents)
        say(" parent=%u creator=%u", event->task->parent_pid, event->task->creator_pid);
    if (world.show_wanted)
        say(" wanted=%x", event->verdict->wanted);
    say("\n");
}

static void say_wanted(uint32_t wanted)
{
    if (world.show_wanted)
        say(" wanted=%x", wanted);
    say("\n");
}

static void on_destroyed(void *context, const struct wvu_destroyed *event)
{
    (void)context;
    if (event->status_known)
        say("- %u %u", event->pid, event->status);
    else
        say("- %u ?", event->pid);
    say_wanted(event->wanted);
}

static void on_image(void *context, const struct wvu_image *event)
{
    (void)context;
    assert_true(event->key != 0);
    say("i %u %.*s", event->pid, (int)event->path_size, event->path);
    say_wanted(event->wanted);
}

static void on_thread(void *context, const struct wvu_thread_event *event)
{
    (void)context;
    assert_true(event->key != 0);
    if (event->ended)
        say("t- %u %u", event->pid, event->tid);
    else
        say("t+ %u %u by %u", event->pid, event->tid, event->creator_tid);
    say_wanted(event->wanted);
}

/* A filter: of /bin/muted nothing is wanted, and of the children of /bin/shunned, when that is asked for;
 * /bin/guarded is protected. */
static bool runs(const struct wvu_subject *subject, const char *path)
{
    return subject->image_size == strlen(path) &&
           memcmp(subject->image, path, subject->image_size) == 0;
}

static void on_judge(void *context, const struct wvu_subject *subject, struct wvu_verdict *verdict)
{
    (void)context;
    bool shunned = world.shuns_parent && subject->parent_matches != 0;
    *verdict = (struct wvu_verdict){
        .wanted = runs(subject, "/bin/muted") || shunned ? 0 : WVU_WANTED_ALL,
        .as_parent = runs(subject, "/bin/shunned") ? 1 : 0,
        .is_protected = runs(subject, "/bin/guarded"),
    };
}

static void on_lost(void *context, uint16_t type, uint64_t count)
{
    (void)context;
    say("lost %u %llu\n", type, (unsigned long long)count);
}

/* What was said since the last time is this. */
#define heard(text)                                                                                \
    do {                                                                                           \
        assert_string_equal(world.log, text);                                                      \
        world.length = 0;                                                                          \
        world.log[0] = '\0';                                                                       \
    } while (0)

/* ---- telling ----------------------------------------------------------------------------------------- */

static uint64_t tick(void)
{
    return world.now += 1000;
}

static struct wvu_sample_task task_of(uint32_t pid, uint32_t parent)
{
    return (struct wvu_sample_task){
        .pid = pid,
        .key = key_of(pid),
        .parent_pid = parent,
        .parent_key = parent != 0 ? key_of(parent) : 0,
        .creator_pid = parent,
        .creator_tid = parent,
    };
}

static void forks(uint32_t parent, uint32_t child)
{
    struct wvu_sample_task task = task_of(child, parent);
    wvu_tracker_fork(world.tracker, &task, tick());
}

static void begins_exec(uint32_t pid)
{
    wvu_tracker_exec_begins(world.tracker, pid, tick());
}

static void maps_file(uint32_t pid, const char *path, uint64_t inode)
{
    struct wvu_image image = {
        .time = tick(),
        .pid = pid,
        .tid = pid,
        .path = path,
        .path_size = (uint32_t)strlen(path),
        .inode = inode,
    };
    wvu_tracker_image(world.tracker, &image);
}

static void maps(uint32_t pid, const char *path)
{
    maps_file(pid, path, 0);
}

struct exec {
    uint32_t pid;
    uint32_t parent;
    const char *name;        /* given to exec */
    const char *directory;   /* leaf first: "c/b/a/" */
    const char *arguments;   /* with | for NUL */
    uint32_t arguments_size; /* 0: of the text */
    uint32_t arguments_head;
    uint32_t arguments_full;
    uint32_t flags;
    uint64_t inode;
    uint32_t user;
};

static void finishes_exec_as(const struct exec *exec)
{
    static uint8_t data[65536];
    struct wvu_sample_exec sample = {.task = task_of(exec->pid, exec->parent)};
    size_t size = exec->arguments_size != 0 ? exec->arguments_size : strlen(exec->arguments);
    sample.task.user_id = exec->user;
    sample.file_name_size = (uint16_t)strlen(exec->name);
    sample.directory_size = (uint16_t)strlen(exec->directory);
    sample.arguments_size = (uint32_t)size;
    sample.arguments_head = exec->arguments_head != 0 ? exec->arguments_head : (uint32_t)size;
    sample.arguments_full = exec->arguments_full != 0 ? exec->arguments_full : (uint32_t)size;
    sample.flags = WVU_EXEC_ARGUMENTS_KNOWN | WVU_EXEC_DIRECTORY_KNOWN | exec->flags;
    sample.inode = exec->inode;
    memcpy(data, exec->name, sample.file_name_size);
    memcpy(data + sample.file_name_size, exec->directory, sample.directory_size);
    uint8_t *arguments = data + sample.file_name_size + sample.directory_size;
    memcpy(arguments, exec->arguments, size);
    for (size_t i = 0; i < size; i++) {
        if (arguments[i] == '|')
            arguments[i] = '\0';
    }
    wvu_tracker_exec(world.tracker, &sample, data, tick());
}

static void finishes_exec(uint32_t pid, uint32_t parent, const char *name, const char *arguments)
{
    finishes_exec_as(&(struct exec){
        .pid = pid, .parent = parent, .name = name, .directory = "", .arguments = arguments});
}

/* All of an exec as the kernel tells it. */
static void execs(uint32_t pid, uint32_t parent, const char *path, const char *arguments)
{
    begins_exec(pid);
    maps(pid, path);
    finishes_exec(pid, parent, path, arguments);
}

static void exits(uint32_t pid, uint32_t status)
{
    struct wvu_sample_exit exit = {.task = task_of(pid, 1), .status = status};
    wvu_tracker_exit(world.tracker, &exit, tick());
}

static void time_passes(uint64_t ns)
{
    world.now += ns;
    wvu_tracker_advance(world.tracker, world.now);
}

static void walk_sees(uint32_t pid, uint32_t parent, const char *path)
{
    struct wvu_sample_task task = task_of(pid, parent);
    task.creator_pid = 0;
    task.creator_tid = 0;
    uint32_t size = (uint32_t)strlen(path);
    struct wvu_created created = {
        .cause = WVU_CREATE_FOUND,
        .time = tick(),
        .task = &task,
        .task_known = true,
        .image = {path, size, size, size, true},
        .arguments = {"w\0", 2, 2, 2, true},
    };
    wvu_tracker_sync_running(world.tracker, &created);
}

static void walk_begins(void)
{
    wvu_tracker_sync_begin(world.tracker, false);
}

static void walk_ends(void)
{
    wvu_tracker_sync_end(world.tracker, tick());
}

static struct wvu_tracker_counters counters(void)
{
    struct wvu_tracker_counters now;
    wvu_tracker_read_counters(world.tracker, &now);
    return now;
}

static void begin_with(uint32_t processes, uint32_t blocks)
{
    const struct wvu_tracker_settings settings = {
        .processes = processes,
        .blocks = blocks,
        .sink = {on_created, on_destroyed, on_image, on_thread, on_judge, on_lost, NULL},
    };
    memset(&world, 0, sizeof world);
    world.now = 1000 * MS;
    world.generation = 1;
    assert_int_equal(wvu_tracker_create(&settings, &world.tracker), WVU_STATUS_OK);
}

/* A machine with init, as pid 1. */
static int begin(void **state)
{
    (void)state;
    begin_with(256, 256);
    walk_begins();
    walk_sees(1, 0, "/sbin/init");
    walk_ends();
    time_passes(1);
    heard("+ 1 Found /sbin/init [w|]\n");
    return 0;
}

static int end(void **state)
{
    (void)state;
    wvu_tracker_destroy(world.tracker);
    world.tracker = NULL;
    return 0;
}

/* ---- a process is announced once, with what it runs ----------------------------------------------------- */

static void exec_right_away(void **state)
{
    (void)state;
    forks(1, 10);
    begins_exec(10);
    maps(10, "/bin/a");
    maps(10, "/lib/ld.so");
    heard("");
    finishes_exec(10, 1, "/bin/a", "a|b c|||");
    maps(10, "/lib/libc.so");
    exits(10, 0x300);
    heard("+ 10 Exec /bin/a [a|b c|||] cwd=/\n"
          "i 10 /bin/a\n"
          "i 10 /lib/ld.so\n"
          "i 10 /lib/libc.so\n"
          "- 10 768\n");
    time_passes(100 * MS);
    heard("");
    assert_int_equal(counters().followed, 1);
    assert_int_equal(counters().blocks, 1); /* init's program alone */
}

static void a_create_is_not_younger_than_its_images(void **state)
{
    (void)state;
    forks(1, 10);
    uint64_t before = world.now;
    begins_exec(10);
    maps(10, "/bin/a");
    finishes_exec(10, 1, "/bin/a", "a|");
    assert_true(world.last.time > before);
    assert_true(world.last.time <= before + 1000); /* of the beginning of the exec */
}

static void fork_that_goes_on(void **state)
{
    (void)state;
    execs(1, 0, "/sbin/init", "init|-s|");
    forks(1, 10);
    uint64_t forked = world.now;
    heard("+ 1 Exec /sbin/init [init|-s|] cwd=/\ni 1 /sbin/init\n");
    assert_int_equal(wvu_tracker_deadline(world.tracker), forked + 25 * MS);
    time_passes(25 * MS - 1);
    heard("");
    time_passes(1);
    heard("+ 10 Fork /sbin/init [init|-s|]\n");
    assert_int_equal(world.last.time, forked);
    assert_true(wvu_tracker_deadline(world.tracker) == UINT64_MAX);
    exits(10, 9);
    heard("- 10 9\n");
    assert_int_equal(counters().blocks, 1); /* shared, and given back */
}

static void fork_that_does_something(void **state)
{
    (void)state;
    forks(1, 10);
    maps(10, "/lib/plugin.so");
    heard("+ 10 Fork /sbin/init [w|]\ni 10 /lib/plugin.so\n");
    forks(1, 11);
    exits(11, 0);
    heard("+ 11 Fork /sbin/init [w|]\n- 11 0\n");
    forks(1, 12);
    forks(12, 13);
    forks(13, 14);
    heard("+ 12 Fork /sbin/init [w|]\n+ 13 Fork /sbin/init [w|]\n");
    execs(14, 13, "/bin/a", "a|");
    exits(14, 0);
    exits(13, 0);
    exits(12, 0);
    heard("+ 14 Exec /bin/a [a|] cwd=/\ni 14 /bin/a\n- 14 0\n- 13 0\n- 12 0\n");
}

static void exec_later_has_the_same_key_and_parent(void **state)
{
    (void)state;
    world.show_parents = true;
    forks(1, 10);
    time_passes(30 * MS);
    heard("+ 10 Fork /sbin/init [w|] parent=1 creator=1\n");
    uint64_t key = world.last.task->key;
    finishes_exec_as(&(struct exec){
        .pid = 10, .parent = 77, .name = "/bin/a", .directory = "", .arguments = "a|", .user = 5});
    heard("+ 10 Exec /bin/a [a|] cwd=/ parent=1 creator=1\n");
    assert_true(world.last.task->key == key);
    assert_int_equal(world.last.task->user_id, 5);
    execs(10, 1, "/bin/b", "b|");
    heard("+ 10 Exec /bin/b [b|] cwd=/ parent=1 creator=1\ni 10 /bin/b\n");
}

static void creator_is_not_always_the_parent(void **state)
{
    (void)state;
    forks(1, 10);
    struct wvu_sample_task task = task_of(11, 1);
    task.creator_pid = 10; /* CLONE_PARENT */
    wvu_tracker_fork(world.tracker, &task, tick());
    heard("+ 10 Fork /sbin/init [w|]\n");
    world.show_parents = true;
    exits(11, 0);
    heard("+ 11 Fork /sbin/init [w|] parent=1 creator=10\n- 11 0\n");
}

/* ---- names ------------------------------------------------------------------------------------------------ */

static void the_name_given_to_exec_is_told_when_it_is_another(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *directory;
        const char *heard;
    } cases[] = {
        {"/bin/a", "", "+ 1 Exec /bin/a [a|] cwd=/\n"},
        {"./a", "bin/", "+ 1 Exec /bin/a [a|] cwd=/bin\n"},
        {".///a", "bin/", "+ 1 Exec /bin/a [a|] cwd=/bin\n"},
        {"bin/a", "", "+ 1 Exec /bin/a [a|] cwd=/\n"},
        {"/bin/link", "", "+ 1 Exec /bin/a [a|] exec=/bin/link cwd=/\n"},
        {"../bin/a", "home/", "+ 1 Exec /bin/a [a|] exec=../bin/a cwd=/home\n"},
        {"./script", "x/home/", "+ 1 Exec /bin/a [a|] exec=./script cwd=/home/x\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begins_exec(1);
        maps(1, "/bin/a");
        finishes_exec_as(&(struct exec){
            .pid = 1, .name = cases[i].name, .directory = cases[i].directory, .arguments = "a|"});
        char *end_of_line = strchr(world.log, '\n');
        assert_non_null(end_of_line);
        end_of_line[1] = '\0'; /* the image follows */
        heard(cases[i].heard);
    }
}

static void without_its_image_a_program_has_the_name_given_to_exec(void **state)
{
    (void)state;
    finishes_exec_as(
        &(struct exec){.pid = 1, .name = "../x/a", .directory = "c/b/", .arguments = "a|"});
    heard("+ 1 Exec /b/c/../x/a [a|] cwd=/b/c\n");
}

static void the_program_is_the_image_with_its_inode(void **state)
{
    (void)state;
    begins_exec(1);
    maps_file(1, "/lib/ld.so", 7);
    maps_file(1, "/bin/a", 8);
    finishes_exec_as(
        &(struct exec){.pid = 1, .name = "/bin/a", .directory = "", .arguments = "a|", .inode = 8});
    heard("+ 1 Exec /bin/a [a|] cwd=/\ni 1 /lib/ld.so\ni 1 /bin/a\n");
    begins_exec(1);
    maps_file(1, "/bin/b", 9);
    maps_file(1, "/lib/ld.so", 7);
    finishes_exec_as(&(struct exec){
        .pid = 1, .name = "/bin/b", .directory = "", .arguments = "b|", .inode = 1234});
    heard("+ 1 Exec /bin/b [b|] cwd=/\ni 1 /bin/b\ni 1 /lib/ld.so\n");
}

static void directories(void **state)
{
    (void)state;
    finishes_exec_as(&(struct exec){.pid = 1,
                                    .name = "/a",
                                    .directory = "x y/b/a/",
                                    .arguments = "a|",
                                    .flags = WVU_EXEC_DIRECTORY_DELETED});
    heard("+ 1 Exec /a [a|] cwd=/a/b/x y (deleted)\n");
    finishes_exec_as(&(struct exec){.pid = 1,
                                    .name = "a",
                                    .directory = "z/y/",
                                    .arguments = "a|",
                                    .flags = WVU_EXEC_DIRECTORY_CUT});
    heard("+ 1 Exec a [a|] cwd=y/z\n");
    assert_int_equal(world.last.directory.head, 0);
    assert_true(world.last.directory.full_size > world.last.directory.size);
}

static void kernel_threads_have_names(void **state)
{
    (void)state;
    struct wvu_sample_task task = task_of(20, 1);
    task.flags = WVU_TASK_KERNEL_THREAD;
    wvu_tracker_fork(world.tracker, &task, tick());
    wvu_tracker_renamed(world.tracker, 20, "kworker/0:1", 11);
    wvu_tracker_renamed(world.tracker, 1, "ignored", 7);
    time_passes(25 * MS);
    heard("+ 20 Fork [kworker/0:1]\n");
}

/* ---- arguments that are long -------------------------------------------------------------------------------- */

static void long_arguments_are_remembered_by_their_ends(void **state)
{
    (void)state;
    static char text[50000];
    memset(text, 'm', sizeof text);
    memcpy(text, "begin|", 6);
    memcpy(text + sizeof text - 4, "end|", 4);
    /* The kernel's program cut it already: 32,768 from the beginning. */
    finishes_exec_as(&(struct exec){.pid = 1,
                                    .name = "/a",
                                    .directory = "",
                                    .arguments = text,
                                    .arguments_size = 49152,
                                    .arguments_head = 32768,
                                    .arguments_full = 90000});
    assert_int_equal(world.last.arguments.size, 49152);
    assert_int_equal(world.last.arguments.head, 32768);
    assert_int_equal(world.last.arguments.full_size, 90000);
    finishes_exec_as(&(struct exec){
        .pid = 1, .name = "/a", .directory = "", .arguments = text, .arguments_size = sizeof text});
    forks(1, 10);
    time_passes(25 * MS);
    const struct wvu_bytes *kept = &world.last.arguments;
    const char *bytes = kept->bytes;
    assert_int_equal(kept->size, 4096);
    assert_int_equal(kept->full_size, sizeof text);
    assert_true(kept->head > 2000 && kept->head < 4096);
    assert_memory_equal(bytes, "begin\0m", 7);
    assert_memory_equal(bytes + kept->size - 5, "mend\0", 5);
}

/* ---- an exec that does not come to its end -------------------------------------------------------------------- */

static void an_exec_has_all_the_time_it_needs(void **state)
{
    (void)state;
    forks(1, 10);
    begins_exec(10);
    maps(10, "/bin/a");
    time_passes(10000 * (uint64_t)MS);
    heard("");
    finishes_exec(10, 1, "/bin/a", "a|");
    heard("+ 10 Exec /bin/a [a|] cwd=/\ni 10 /bin/a\n");
}

static void killed_within_exec(void **state)
{
    (void)state;
    forks(1, 10);
    begins_exec(10);
    maps(10, "/bin/a");
    exits(10, 9);
    heard("+ 10 Fork /sbin/init [w|]\ni 10 /bin/a\n- 10 9\n");
    execs(1, 0, "/sbin/x", "x|");
    begins_exec(1);
    maps(1, "/bin/b");
    exits(1, 11);
    heard("+ 1 Exec /sbin/x [x|] cwd=/\ni 1 /sbin/x\ni 1 /bin/b\n- 1 11\n");
}

/* ---- lost events ------------------------------------------------------------------------------------------------ */

static void the_second_report_of_an_end_is_dropped(void **state)
{
    (void)state;
    forks(1, 10);
    exits(10, 0x100);
    exits(10, 0x200);
    heard("+ 10 Fork /sbin/init [w|]\n- 10 256\n");
}

static void an_end_of_somebody_unknown(void **state)
{
    (void)state;
    world.show_parents = true;
    exits(10, 0x100);
    heard("+ 10 Found parent=1 creator=0\n- 10 256\n");
    assert_int_equal(counters().found, 2); /* and init */
}

static void an_exec_of_somebody_unknown(void **state)
{
    (void)state;
    world.show_parents = true;
    execs(10, 1, "/bin/a", "a|");
    heard("+ 10 Exec /bin/a [a|] cwd=/ parent=1 creator=0\ni 10 /bin/a\n");
}

static void a_fork_by_somebody_unknown(void **state)
{
    (void)state;
    forks(50, 51);
    heard("+ 50 Found\n");
    assert_false(world.last.task_known);
    time_passes(25 * MS);
    heard("+ 51 Fork\n");
    assert_true(world.last.task_known);
}

static void an_end_that_was_lost_shows_when_the_pid_is_used_again(void **state)
{
    (void)state;
    forks(1, 10);
    execs(10, 1, "/bin/a", "a|");
    heard("+ 10 Exec /bin/a [a|] cwd=/\ni 10 /bin/a\n");
    struct wvu_sample_task again = task_of(10, 1);
    again.key += UINT64_C(1) << 40;
    wvu_tracker_fork(world.tracker, &again, tick());
    heard("- 10 ?\n");
    time_passes(25 * MS);
    heard("+ 10 Fork /sbin/init [w|]\n");
    assert_true(world.last.task->key == again.key);
    assert_int_equal(counters().vanished, 1);
}

static void images_of_somebody_unknown_wait_for_a_name(void **state)
{
    (void)state;
    maps(10, "/lib/a.so");
    assert_true(wvu_tracker_wants_sync(world.tracker));
    maps(11, "/lib/b.so");
    maps(12, "/lib/c.so");
    maps(13, "/lib/d.so");
    maps(50, "/lib/e.so");
    heard("");
    exits(10, 0);
    heard("+ 10 Found\ni 10 /lib/a.so\n- 10 0\n");
    finishes_exec(11, 1, "/bin/b", "b|");
    heard("+ 11 Exec /bin/b [b|] cwd=/\ni 11 /lib/b.so\n");
    forks(50, 51);
    heard("+ 50 Found\ni 50 /lib/e.so\n");
    walk_begins();
    assert_false(wvu_tracker_wants_sync(world.tracker));
    walk_sees(1, 0, "/sbin/init");
    walk_sees(11, 1, "/bin/b");
    walk_sees(12, 1, "/bin/c");
    walk_sees(50, 1, "/bin/e");
    walk_sees(51, 1, "/bin/e");
    walk_ends();
    heard("+ 12 Found /bin/c [w|]\ni 12 /lib/c.so\n");
    time_passes(1);
    heard("lost 1 1\n"); /* of 13, which nobody knows */
}

static void a_walk_ends_who_is_gone_when_all_before_it_is_told(void **state)
{
    (void)state;
    forks(1, 10);
    forks(1, 11);
    walk_begins();
    walk_sees(1, 0, "/sbin/init");
    forks(1, 12); /* comes while it is under way */
    walk_ends();
    heard("");
    exits(11, 0); /* its event is told after the walk, and happened before its end */
    heard("+ 11 Fork /sbin/init [w|]\n- 11 0\n");
    time_passes(1);
    heard("+ 10 Fork /sbin/init [w|]\n- 10 ?\n");
    time_passes(25 * MS);
    heard("+ 12 Fork /sbin/init [w|]\n");
    assert_int_equal(counters().vanished, 1);
}

static void a_lost_exec_is_found_by_the_walk(void **state)
{
    (void)state;
    forks(1, 10);
    begins_exec(10);
    maps(10, "/bin/a");
    begins_exec(1);
    maps(1, "/bin/b");
    walk_begins();
    walk_sees(1, 0, "/bin/b");
    walk_sees(10, 1, "/bin/a");
    walk_ends();
    heard("");
    time_passes(1);
    assert_non_null(strstr(world.log, "+ 1 Found /bin/b [w|]\ni 1 /bin/b\n"));
    assert_non_null(strstr(world.log, "+ 10 Found /bin/a [w|]\ni 10 /bin/a\n"));
    assert_int_equal(world.length, strlen("+ 1 Found /bin/b [w|]\ni 1 /bin/b\n"
                                          "+ 10 Found /bin/a [w|]\ni 10 /bin/a\n"));
}

static void what_the_walk_told_is_not_told_again(void **state)
{
    (void)state;
    /* What these are about happened before the walk, and is read after it. */
    uint64_t before = world.now;
    world.now += 10 * MS;
    walk_begins();
    walk_sees(1, 0, "/sbin/init");
    walk_sees(10, 1, "/bin/a");
    walk_ends();
    heard("+ 10 Found /bin/a [w|]\n");
    world.now = before;
    forks(1, 10);
    execs(10, 1, "/bin/a", "a|");
    heard("i 10 /bin/a\n");
    world.now += 20 * MS;
    execs(10, 1, "/bin/b", "b|");
    heard("+ 10 Exec /bin/b [b|] cwd=/\ni 10 /bin/b\n");
}

static void somebody_new_is_told_of_all(void **state)
{
    (void)state;
    forks(1, 10);
    wvu_tracker_sync_begin(world.tracker, true);
    walk_sees(1, 0, "/sbin/init");
    walk_sees(10, 1, "/bin/a");
    walk_ends();
    heard("+ 1 Found /sbin/init [w|]\n"); /* 10 is still to be announced */
    time_passes(25 * MS);
    heard("+ 10 Fork /sbin/init [w|]\n");
}

/* ---- bounds -------------------------------------------------------------------------------------------------------- */

static void a_full_table_delays_nothing(void **state)
{
    (void)state;
    end(state);
    begin_with(4, 64);
    for (uint32_t pid = 1; pid <= 4; pid++)
        finishes_exec(pid, 0, "/bin/a", "a|");
    heard("+ 1 Exec /bin/a [a|] cwd=/\n+ 2 Exec /bin/a [a|] cwd=/\n"
          "+ 3 Exec /bin/a [a|] cwd=/\n+ 4 Exec /bin/a [a|] cwd=/\n");
    forks(1, 10);
    heard("+ 10 Fork /bin/a [a|]\n");
    maps(10, "/lib/a.so");
    heard("lost 1 1\n");
    finishes_exec(10, 1, "/bin/b", "b|");
    heard("+ 10 Exec /bin/b [b|] cwd=/\n");
    exits(10, 0);
    heard("- 10 0\n");
    exits(11, 0);
    heard("+ 11 Found\n- 11 0\n");
    assert_int_equal(counters().unfollowed, 1);
    exits(4, 0);
    forks(1, 12);
    heard("- 4 0\n"); /* there is room again, so it waits */
    time_passes(25 * MS);
    heard("+ 12 Fork /bin/a [a|]\n");
}

static void without_blocks_programs_are_forgotten_and_images_lost(void **state)
{
    (void)state;
    end(state);
    begin_with(64, 2);
    execs(1, 0, "/bin/a", "a|");
    heard("+ 1 Exec /bin/a [a|] cwd=/\ni 1 /bin/a\n");
    forks(1, 10);
    begins_exec(10);
    maps(10, "/bin/c");
    heard("");
    maps(10, "/lib/ld.so");
    heard("lost 1 1\n");
    finishes_exec(10, 2, "/bin/c", "c|");
    heard("+ 10 Exec /bin/c [c|] cwd=/\ni 10 /bin/c\n");
    assert_int_equal(counters().forgotten, 1);
    forks(10, 11);
    time_passes(25 * MS);
    heard("+ 11 Fork\n");
    exits(1, 0);
    heard("- 1 0\n");
    execs(11, 10, "/bin/d", "d|");
    forks(11, 12);
    time_passes(25 * MS);
    heard("+ 11 Exec /bin/d [d|] cwd=/\ni 11 /bin/d\n+ 12 Fork /bin/d [d|]\n");
}

/* ---- any sequence at all ---------------------------------------------------------------------------------------------- */

#define LIVES 64

static struct {
    uint64_t key;
    uint32_t pid;
    bool created;
    bool destroyed;
} seen[1u << 16];
static uint32_t seen_count;

static uint32_t find_life(uint64_t key, uint32_t pid)
{
    for (uint32_t i = seen_count; i-- > 0;) {
        if (seen[i].key == key)
            return i;
    }
    assert_true(seen_count < sizeof seen / sizeof *seen);
    seen[seen_count].key = key;
    seen[seen_count].pid = pid;
    seen[seen_count].created = false;
    seen[seen_count].destroyed = false;
    return seen_count++;
}

static void check_created(void *context, const struct wvu_created *event)
{
    (void)context;
    uint32_t life = find_life(event->task->key, event->task->pid);
    assert_false(seen[life].destroyed);
    if (event->cause != WVU_CREATE_EXEC && event->cause != WVU_CREATE_FOUND)
        assert_false(seen[life].created);
    seen[life].created = true;
}

static void check_destroyed(void *context, const struct wvu_destroyed *event)
{
    (void)context;
    uint32_t life = find_life(event->key, event->pid);
    assert_true(seen[life].created);
    assert_false(seen[life].destroyed);
    seen[life].destroyed = true;
}

static void check_image(void *context, const struct wvu_image *event)
{
    (void)context;
    uint32_t life = find_life(event->key, event->pid);
    assert_true(seen[life].created);
    assert_false(seen[life].destroyed);
}

static void check_thread(void *context, const struct wvu_thread_event *event)
{
    (void)context;
    uint32_t life = find_life(event->key, event->pid);
    assert_true(seen[life].created);
    assert_false(seen[life].destroyed);
}

static void check_lost(void *context, uint16_t type, uint64_t count)
{
    (void)context;
    assert_int_equal(type, WVU_EVENT_ImageLoad);
    assert_true(count != 0);
}

/* A machine of its own: what lives, what runs; each event is told with some probability. */
struct machine {
    uint64_t random;
    uint32_t loss; /* of 256 */
    struct {
        bool alive;
        struct wvu_sample_task task;
    } lives[LIVES];
    uint64_t keys;
};

static uint32_t roll(struct machine *machine, uint32_t sides)
{
    machine->random = machine->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(machine->random >> 33) % sides;
}

static bool is_told(struct machine *machine)
{
    return roll(machine, 256) >= machine->loss;
}

static void machine_forks(struct machine *machine, uint32_t parent, uint32_t child)
{
    struct wvu_sample_task *task = &machine->lives[child].task;
    *task = (struct wvu_sample_task){
        .pid = child + 1,
        .key = ++machine->keys << 16 | (child + 1),
        .parent_pid = machine->lives[parent].task.pid,
        .parent_key = machine->lives[parent].task.key,
        .creator_pid = machine->lives[parent].task.pid,
    };
    machine->lives[child].alive = true;
    if (is_told(machine))
        wvu_tracker_fork(world.tracker, task, tick());
}

static void machine_execs(struct machine *machine, uint32_t life)
{
    struct wvu_sample_exec exec = {
        .task = machine->lives[life].task,
        .file_name_size = 6,
        .flags = WVU_EXEC_ARGUMENTS_KNOWN,
        .arguments_size = roll(machine, 600),
    };
    exec.arguments_head = exec.arguments_size;
    exec.arguments_full = exec.arguments_size;
    static char data[1024] = "/bin/x";
    uint32_t pid = exec.task.pid;
    if (is_told(machine))
        begins_exec(pid);
    for (uint32_t i = roll(machine, 4); i > 0; i--) {
        if (is_told(machine))
            maps(pid, "/lib/something/with/a/name.so");
    }
    if (is_told(machine))
        wvu_tracker_exec(world.tracker, &exec, data, tick());
}

static void machine_exits(struct machine *machine, uint32_t life)
{
    struct wvu_sample_exit exit = {.task = machine->lives[life].task, .status = 0};
    machine->lives[life].alive = false;
    for (uint32_t reports = 1 + (roll(machine, 8) == 0); reports > 0; reports--) {
        if (is_told(machine))
            wvu_tracker_exit(world.tracker, &exit, tick());
    }
}

static void machine_threads(struct machine *machine, uint32_t life)
{
    struct wvu_sample_thread thread = {
        .kind = roll(machine, 2) == 0 ? WVU_SAMPLE_THREAD : WVU_SAMPLE_THREAD_EXIT,
        .pid = machine->lives[life].task.pid,
        .key = machine->lives[life].task.key,
        .tid = 5000,
    };
    if (is_told(machine))
        wvu_tracker_thread(world.tracker, &thread, tick());
}

static void machine_is_walked(struct machine *machine)
{
    wvu_tracker_sync_begin(world.tracker, false);
    for (uint32_t life = 0; life < LIVES; life++) {
        if (!machine->lives[life].alive)
            continue;
        struct wvu_created created = {
            .cause = WVU_CREATE_FOUND,
            .time = tick(),
            .task = &machine->lives[life].task,
            .task_known = true,
            .image = {"/bin/y", 6, 6, 6, true},
        };
        wvu_tracker_sync_running(world.tracker, &created);
    }
    wvu_tracker_sync_end(world.tracker, tick());
    wvu_tracker_advance(world.tracker, world.now);
}

static void machine_does_something(struct machine *machine)
{
    uint32_t life = roll(machine, LIVES);
    uint32_t other = roll(machine, LIVES);
    if (!machine->lives[life].alive)
        life = 0; /* init never ends */
    switch (roll(machine, 9)) {
    case 0:
    case 1:
        if (!machine->lives[other].alive)
            machine_forks(machine, life, other);
        break;
    case 2:
    case 3:
        machine_execs(machine, life);
        break;
    case 4:
        if (life != 0)
            machine_exits(machine, life);
        break;
    case 5:
    case 6:
        if (is_told(machine))
            maps(machine->lives[life].task.pid, "/lib/a.so");
        break;
    case 7:
        machine_threads(machine, life);
        break;
    default:
        time_passes(roll(machine, 20) * MS);
        break;
    }
}

/* ---- threads ---------------------------------------------------------------------------------------- */

static void thread_of(uint32_t kind, uint32_t pid, uint32_t tid, uint32_t creator)
{
    const struct wvu_sample_thread thread = {
        .kind = kind,
        .pid = pid,
        .key = key_of(pid),
        .tid = tid,
        .creator_tid = creator,
    };
    wvu_tracker_thread(world.tracker, &thread, tick());
}

static void begins_thread(uint32_t pid, uint32_t tid, uint32_t creator)
{
    thread_of(WVU_SAMPLE_THREAD, pid, tid, creator);
}

static void ends_thread(uint32_t pid, uint32_t tid)
{
    thread_of(WVU_SAMPLE_THREAD_EXIT, pid, tid, 0);
}

static void threads_are_told_between_their_process_s_start_and_end(void **state)
{
    (void)state;
    forks(1, 10);
    begins_thread(10, 11, 10); /* so it goes on with its parent's program */
    begins_thread(10, 12, 11);
    ends_thread(10, 11);
    exits(10, 0);
    heard("+ 10 Fork /sbin/init [w|]\n"
          "t+ 10 11 by 10\n"
          "t+ 10 12 by 11\n"
          "t- 10 11\n"
          "- 10 0\n");
    ends_thread(10, 12); /* it found, a moment too early, that it was not the last one */
    heard("");
}

static void a_thread_of_somebody_unknown(void **state)
{
    (void)state;
    begins_thread(10, 11, 10);
    heard("+ 10 Found\n"
          "t+ 10 11 by 10\n");
}

static void a_thread_that_calls_exec_becomes_the_first(void **state)
{
    (void)state;
    execs(10, 1, "/bin/a", "a|");
    heard("+ 10 Exec /bin/a [a|] cwd=/\n"
          "i 10 /bin/a\n");
    begins_thread(10, 11, 10);
    ends_thread(10, 10);
    begins_exec(10);
    struct wvu_sample_exec exec = {.task = task_of(10, 1), .tid = 11, .file_name_size = 6};
    exec.task.kind = WVU_SAMPLE_EXEC;
    wvu_tracker_exec(world.tracker, &exec, "/bin/b", tick());
    heard("t+ 10 11 by 10\n"
          "t- 10 10\n"
          "t- 10 11\n"
          "+ 10 Exec /bin/b\n");
}

static void threads_of_processes_without_room_are_told(void **state)
{
    end(state);
    begin_with(64, 64);
    for (uint32_t pid = 100; pid < 165; pid++)
        execs(pid, 0, "/bin/a", "a|");
    world.length = 0;
    begins_thread(164, 1000, 164);
    heard("t+ 164 1000 by 164\n");
    assert_false(wvu_tracker_is_complete(world.tracker));
}

/* ---- the filter ------------------------------------------------------------------------------------- */

static void all_events_of_a_process_have_its_verdict(void **state)
{
    (void)state;
    world.show_wanted = true;
    forks(1, 10);
    begins_exec(10);
    maps(10, "/bin/muted");
    finishes_exec(10, 1, "/bin/muted", "m|");
    begins_thread(10, 11, 10);
    forks(10, 20);
    maps(20, "/lib/a.so"); /* a child runs the same program */
    exits(20, 0);
    execs(10, 1, "/bin/b", "b|"); /* another program, another verdict */
    exits(10, 0);
    heard("+ 10 Exec /bin/muted [m|] cwd=/ wanted=0\n"
          "i 10 /bin/muted wanted=0\n"
          "t+ 10 11 by 10 wanted=0\n"
          "+ 20 Fork /bin/muted [m|] wanted=0\n"
          "i 20 /lib/a.so wanted=0\n"
          "- 20 0 wanted=0\n"
          "+ 10 Exec /bin/b [b|] cwd=/ wanted=ffffffff\n"
          "i 10 /bin/b wanted=ffffffff\n"
          "- 10 0 wanted=ffffffff\n");
}

static void a_child_is_judged_by_what_its_parent_runs(void **state)
{
    (void)state;
    world.show_wanted = true;
    world.shuns_parent = true;
    execs(10, 1, "/bin/shunned", "s|");
    forks(10, 20);
    execs(20, 10, "/bin/a", "a|");
    forks(20, 30);
    execs(30, 20, "/bin/a", "a|");
    heard("+ 10 Exec /bin/shunned [s|] cwd=/ wanted=ffffffff\n"
          "i 10 /bin/shunned wanted=ffffffff\n"
          "+ 20 Exec /bin/a [a|] cwd=/ wanted=0\n"
          "i 20 /bin/a wanted=0\n"
          "+ 30 Exec /bin/a [a|] cwd=/ wanted=ffffffff\n"
          "i 30 /bin/a wanted=ffffffff\n");
}

static void a_new_filter_judges_all(void **state)
{
    (void)state;
    execs(30, 1, "/bin/shunned", "s|");
    forks(30, 10); /* whose place in the table is before its parent's, or after: both work */
    execs(10, 30, "/bin/guarded", "a|");
    struct wvu_followed followed;
    assert_true(wvu_tracker_find(world.tracker, 10, key_of(10), &followed));
    assert_int_equal(followed.wanted, WVU_WANTED_ALL);
    assert_true(followed.is_protected);
    assert_int_equal(followed.image.size, strlen("/bin/guarded"));
    world.shuns_parent = true;
    wvu_tracker_judge_all(world.tracker);
    assert_true(wvu_tracker_find(world.tracker, 10, 0, &followed));
    assert_int_equal(followed.wanted, 0);
    assert_false(wvu_tracker_find(world.tracker, 10, key_of(11), &followed));
    assert_false(wvu_tracker_find(world.tracker, 11, 0, &followed));
}

static void count_one(void *context, const struct wvu_followed *followed)
{
    uint64_t *sum = context;
    *sum += followed->task->pid;
}

static void the_list_has_who_lives(void **state)
{
    (void)state;
    uint64_t sum = 0;
    forks(1, 10); /* not announced, and alive */
    execs(20, 1, "/bin/a", "a|");
    execs(30, 1, "/bin/a", "a|");
    exits(30, 0);
    maps(40, "/lib/a.so"); /* nobody knows who this is */
    wvu_tracker_each(world.tracker, count_one, &sum);
    assert_int_equal(sum, 1 + 10 + 20);
}

/* Every process that lived was created and ended, once, in order, however much was lost. */
static void the_rules_hold_whatever_comes(void **state)
{
    end(state);
    for (uint32_t seed = 1; seed <= 300; seed++) {
        static struct machine machine;
        memset(&machine, 0, sizeof machine);
        machine.random = seed;
        machine.loss = seed % 4 == 0 ? 0 : seed % 128;
        const struct wvu_tracker_settings settings = {
            .processes = seed % 3 != 0 ? 256 : 80,
            .blocks = seed % 5 != 0 ? 512 : 40,
            .sink = {check_created, check_destroyed, check_image, check_thread, NULL, check_lost,
                     NULL},
        };
        assert_int_equal(wvu_tracker_create(&settings, &world.tracker), WVU_STATUS_OK);
        seen_count = 0;
        machine.lives[0].alive = true;
        machine.lives[0].task = (struct wvu_sample_task){.pid = 1, .key = 1};
        machine_is_walked(&machine);
        for (uint32_t step = 0; step < 2000; step++) {
            machine_does_something(&machine);
            if (machine.loss != 0 && step % 200 == 199)
                machine_is_walked(&machine);
        }
        for (uint32_t life = 1; life < LIVES; life++) {
            if (machine.lives[life].alive)
                machine_exits(&machine, life);
        }
        time_passes(100 * MS);
        machine_is_walked(&machine);
        time_passes(100 * MS);
        for (uint32_t i = 0; i < seen_count; i++) {
            assert_true(seen[i].created);
            assert_true(seen[i].destroyed || seen[i].key == 1);
        }
        assert_int_equal(counters().followed, 1);
        assert_true(counters().blocks <= 4); /* of init's program */
        if (machine.loss == 0)
            assert_int_equal(counters().vanished, 0);
        wvu_tracker_destroy(world.tracker);
    }
    begin(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(exec_right_away),
        TEST(a_create_is_not_younger_than_its_images),
        TEST(fork_that_goes_on),
        TEST(fork_that_does_something),
        TEST(exec_later_has_the_same_key_and_parent),
        TEST(creator_is_not_always_the_parent),
        TEST(the_name_given_to_exec_is_told_when_it_is_another),
        TEST(without_its_image_a_program_has_the_name_given_to_exec),
        TEST(the_program_is_the_image_with_its_inode),
        TEST(directories),
        TEST(kernel_threads_have_names),
        TEST(long_arguments_are_remembered_by_their_ends),
        TEST(an_exec_has_all_the_time_it_needs),
        TEST(killed_within_exec),
        TEST(the_second_report_of_an_end_is_dropped),
        TEST(an_end_of_somebody_unknown),
        TEST(an_exec_of_somebody_unknown),
        TEST(a_fork_by_somebody_unknown),
        TEST(an_end_that_was_lost_shows_when_the_pid_is_used_again),
        TEST(images_of_somebody_unknown_wait_for_a_name),
        TEST(a_walk_ends_who_is_gone_when_all_before_it_is_told),
        TEST(a_lost_exec_is_found_by_the_walk),
        TEST(what_the_walk_told_is_not_told_again),
        TEST(somebody_new_is_told_of_all),
        TEST(a_full_table_delays_nothing),
        TEST(without_blocks_programs_are_forgotten_and_images_lost),
        TEST(threads_are_told_between_their_process_s_start_and_end),
        TEST(a_thread_of_somebody_unknown),
        TEST(a_thread_that_calls_exec_becomes_the_first),
        TEST(threads_of_processes_without_room_are_told),
        TEST(all_events_of_a_process_have_its_verdict),
        TEST(a_child_is_judged_by_what_its_parent_runs),
        TEST(a_new_filter_judges_all),
        TEST(the_list_has_who_lives),
        TEST(the_rules_hold_whatever_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
