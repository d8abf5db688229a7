/*
 * Signals that ask ntfltmgr to end become a flag and a descriptor that main and everything that waits
 * look at. Handlers interrupt system calls (no SA_RESTART), so a write that is stuck returns. A signal
 * that comes just before such a call blocks would be missed by it: from the first one on an alarm
 * interrupts again each second until the program has ended.
 *
 * Called by main and by what reads and writes; one thread.
 */
#define _GNU_SOURCE
#include "stop.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static volatile sig_atomic_t requested;
static int event = -1;

static void on_signal(int number)
{
    const uint64_t one = 1;
    int error = errno;
    if (number != SIGALRM)
        requested = 1;
    ssize_t written = write(event, &one, sizeof one);
    (void)written;
    (void)alarm(1);
    errno = error;
}

bool stop_init(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};
    struct sigaction action;
    struct sigaction before;

    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0)
        return false;
    memset(&action, 0, sizeof action);
    (void)sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    if (sigaction(SIGPIPE, &action, NULL) < 0)
        return false;
    action.sa_handler = on_signal;
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (sigaction(signals[i], NULL, &before) < 0)
            return false;
        if (signals[i] == SIGHUP && before.sa_handler == SIG_IGN)
            continue; /* nohup */
        if (sigaction(signals[i], &action, NULL) < 0)
            return false;
    }
    return true;
}

bool stop_requested(void)
{
    return requested != 0;
}

int stop_fd(void)
{
    return event;
}
