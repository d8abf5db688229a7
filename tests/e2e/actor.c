/*
 * Does one of the things that processes do and that a sensor must tell right (cases.py).
 *
 *     actor SERIAL CASE [ARGUMENT...]
 *
 * Standard output gets one line "NAME PID" for each process that takes part besides this one. A process
 * that ends by itself does so with the code given beside its name below.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "actor: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static void say(const char *name, pid_t pid)
{
    dprintf(STDOUT_FILENO, "%s %d\n", name, (int)pid);
}

static pid_t fork_or_fail(void)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("fork");
    return pid;
}

static void wait_for(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0)
        if (errno != EINTR)
            fail("waitpid");
}

static void pause_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

/* A child (7) that never execs. */
static int case_fork_exit(char **arguments)
{
    pid_t pid = fork_or_fail();

    (void)arguments;
    if (pid == 0)
        _exit(7);
    say("child", pid);
    wait_for(pid);
    return 0;
}

/* Four generations, none of which execs: codes 11, 12, 13, 14. */
static int case_chain(char **arguments)
{
    (void)arguments;
    for (int depth = 1; depth <= 4; depth++) {
        pid_t pid = fork_or_fail();

        if (pid != 0) {
            wait_for(pid);
            return depth == 1 ? 0 : 9 + depth;
        }
        say("generation", getpid());
    }
    return 14;
}

/* A child that execs ARGUMENT... at once. */
static int case_fork_exec(char **arguments)
{
    pid_t pid = fork_or_fail();

    if (pid == 0) {
        execv(arguments[0], arguments);
        fail(arguments[0]);
    }
    say("child", pid);
    wait_for(pid);
    return 0;
}

/* A child that goes on with this program for 100 ms and execs ARGUMENT... then. */
static int case_late_exec(char **arguments)
{
    pid_t pid = fork_or_fail();

    if (pid == 0) {
        pause_ms(100);
        execv(arguments[0], arguments);
        fail(arguments[0]);
    }
    say("child", pid);
    wait_for(pid);
    return 0;
}

/* A child that tries to exec what is not there and ends (127), as a shell does. */
static int case_failed_exec(char **arguments)
{
    pid_t pid = fork_or_fail();

    if (pid == 0) {
        execv("/nonexistent/program", arguments);
        _exit(127);
    }
    say("child", pid);
    wait_for(pid);
    return 0;
}

/* This process becomes ARGUMENT... */
static int case_exec(char **arguments)
{
    execv(arguments[0], arguments);
    fail(arguments[0]);
}

/* ... without any argument, not even a name. */
static int case_exec_nothing(char **arguments)
{
    char *none[] = {NULL};

    execve(arguments[0], none, environ);
    fail(arguments[0]);
}

static void *exec_in_thread(void *arguments)
{
    char **argv = arguments;

    execv(argv[0], argv);
    fail(argv[0]);
}

/* A thread that is not the first one execs ARGUMENT... */
static int case_thread_exec(char **arguments)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, exec_in_thread, arguments) != 0)
        fail("pthread_create");
    for (;;)
        pause();
}

static void *exit_after_leader(void *unused)
{
    (void)unused;
    pause_ms(50);
    exit(21);
}

/* The first thread ends, another ends the process later (21). */
static int case_leader_exits(char **arguments)
{
    pthread_t thread;

    (void)arguments;
    if (pthread_create(&thread, NULL, exit_after_leader, NULL) != 0)
        fail("pthread_create");
    pthread_exit(NULL);
}

/* Ends by signal number ARGUMENT. */
static int case_signal(char **arguments)
{
    int number = atoi(arguments[0]);

    signal(number, SIG_DFL);
    raise(number);
    return 98;
}

/* A child that outlives its parent, which ends at once; it is orphaned, then ends (31). */
static int case_orphan(char **arguments)
{
    int ends[2];
    pid_t pid;

    (void)arguments;
    if (pipe(ends) != 0)
        fail("pipe");
    pid = fork_or_fail();
    if (pid == 0) {
        char byte;

        close(ends[1]);
        (void)!read(ends[0], &byte, 1); /* until the parent has gone */
        _exit(31);
    }
    say("child", pid);
    return 0;
}

/* A child (41) that makes a sibling of itself (42): its parent is not the process that made it. */
static int case_sibling(char **arguments)
{
    pid_t pid = fork_or_fail();

    (void)arguments;
    if (pid == 0) {
        long sibling = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);

        if (sibling < 0)
            fail("clone");
        if (sibling == 0)
            _exit(42);
        say("sibling", (pid_t)sibling);
        _exit(41);
    }
    say("child", pid);
    while (wait(NULL) > 0)
        continue;
    return 0;
}

/* A vfork child that ends without exec (51). */
static int case_vfork_exit(char **arguments)
{
    pid_t pid;

    (void)arguments;
    pid = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid < 0)
        fail("clone");
    if (pid == 0)
        _exit(51);
    say("child", pid);
    wait_for(pid);
    return 0;
}

/* A child that is number 1 of a new pid namespace and execs ARGUMENT... */
static int case_namespace(char **arguments)
{
    pid_t pid;

    if (unshare(CLONE_NEWPID) != 0)
        return 77;
    pid = fork_or_fail();
    if (pid == 0) {
        execv(arguments[0], arguments);
        fail(arguments[0]);
    }
    say("child", pid);
    wait_for(pid);
    return 0;
}

/* Execs ARGUMENT[1]... as user and group ARGUMENT[0], in a session of its own. */
static int case_user(char **arguments)
{
    unsigned id = (unsigned)atoi(arguments[0]);
    pid_t pid = fork_or_fail();

    if (pid == 0) {
        if (setsid() < 0 || setgroups(0, NULL) != 0 || setgid(id) != 0 || setuid(id) != 0)
            fail("becoming another user");
        execv(arguments[1], arguments + 1);
        fail(arguments[1]);
    }
    say("child", pid);
    wait_for(pid);
    return 0;
}

/* Execs a copy of ARGUMENT[0] that exists in memory only, with ARGUMENT... */
static int case_memory(char **arguments)
{
    int source = open(arguments[0], O_RDONLY | O_CLOEXEC);
    int copy = memfd_create("only-in-memory", MFD_CLOEXEC);
    char buffer[4096];
    ssize_t size;

    if (source < 0 || copy < 0)
        fail("memfd");
    while ((size = read(source, buffer, sizeof(buffer))) > 0)
        if (write(copy, buffer, (size_t)size) != size)
            fail("write");
    fexecve(copy, arguments, environ);
    fail("fexecve");
}

/* Removes ARGUMENT[0] and execs it all the same. */
static int case_deleted(char **arguments)
{
    int file = open(arguments[0], O_PATH | O_CLOEXEC);

    if (file < 0 || unlink(arguments[0]) != 0)
        fail(arguments[0]);
    fexecve(file, arguments, environ);
    fail("fexecve");
}

/* Maps file ARGUMENT for execution, as loading a library does. */
static int case_map(char **arguments)
{
    int file = open(arguments[0], O_RDONLY | O_CLOEXEC);

    if (file < 0 || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED)
        fail(arguments[0]);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(char **arguments);
} cases[] = {
    {"fork-exit", case_fork_exit},
    {"chain", case_chain},
    {"fork-exec", case_fork_exec},
    {"late-exec", case_late_exec},
    {"failed-exec", case_failed_exec},
    {"exec", case_exec},
    {"exec-nothing", case_exec_nothing},
    {"thread-exec", case_thread_exec},
    {"leader-exits", case_leader_exits},
    {"signal", case_signal},
    {"orphan", case_orphan},
    {"sibling", case_sibling},
    {"vfork-exit", case_vfork_exit},
    {"namespace", case_namespace},
    {"user", case_user},
    {"memory", case_memory},
    {"deleted", case_deleted},
    {"map", case_map},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc >= 3 && i < sizeof(cases) / sizeof(cases[0]); i++)
        if (strcmp(cases[i].name, argv[2]) == 0)
            return cases[i].run(argv + 3);
    fprintf(stderr, "usage: actor SERIAL CASE [ARGUMENT...]\n");
    return 2;
}
