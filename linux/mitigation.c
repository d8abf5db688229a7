/*
 * Ends processes. Called by the source's thread (rules, enforcer.c) and by threads that answer commands
 * (probe_process.c). No state, no locks.
 *
 * A pid alone names nobody: it is free as soon as its process is waited for. So a descriptor of the process is
 * opened first, then the kernel is asked for the key of whoever has the pid, and only when this is the wanted
 * one the descriptor gets the signal. The key was taken from a process that lived before the descriptor
 * was opened; if it has the pid now, it had it then, and it is the one behind the descriptor.
 */
#define _GNU_SOURCE
#include "mitigation.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void conclude(struct wvu_ending *ending, uint32_t outcome, wvu_status status,
                     const char *reason)
{
    ending->outcome = outcome;
    ending->status = status;
    if (reason != ending->reason)
        snprintf(ending->reason, sizeof ending->reason, "%s", reason);
}

static bool is_refused(struct wvu_sensor *sensor, struct wvu_ending *ending)
{
    const char *reason = ending->reason;
    if (ending->pid <= 1)
        reason = "the system ends with its first process";
    else if (ending->is_protected)
        reason = "a protect rule of the filter forbids it";
    else if (!wvu_sensor_must_live(sensor, ending->pid, ending->reason))
        return false;
    conclude(ending, WVU_OUTCOME_REFUSED, WVU_STATUS_ACCESS_DENIED, reason);
    return true;
}

static void fail(struct wvu_ending *ending, const char *what, int error)
{
    wvu_status status = WVU_STATUS_NO_RESOURCES;
    if (error == ESRCH) {
        status = WVU_STATUS_NOT_FOUND;
        snprintf(ending->reason, sizeof ending->reason, "process %u has ended already",
                 ending->pid);
    } else {
        status = error == EPERM ? WVU_STATUS_ACCESS_DENIED : status;
        snprintf(ending->reason, sizeof ending->reason, "%s: %s%s", what, strerror(error),
                 error == EPERM ? ": CAP_KILL is needed to end processes of others" : "");
    }
    conclude(ending, WVU_OUTCOME_FAILED, status, ending->reason);
}

/* True when the pid belongs to the wanted process now. */
static bool is_wanted(struct wvu_programs *programs, struct wvu_ending *ending)
{
    struct wvu_sample_running running;
    wvu_status status = wvu_programs_find(programs, ending->pid, &running);
    if (status == WVU_STATUS_OK && running.task.key == ending->key) {
        if ((running.task.flags & WVU_TASK_KERNEL_THREAD) == 0)
            return true;
        conclude(ending, WVU_OUTCOME_REFUSED, WVU_STATUS_ACCESS_DENIED,
                 "it is a thread of the kernel");
    } else if (status == WVU_STATUS_OK) {
        snprintf(ending->reason, sizeof ending->reason,
                 "the process has ended: %u is the id of another one now, with key 0x%016llx",
                 ending->pid, (unsigned long long)running.task.key);
        conclude(ending, WVU_OUTCOME_FAILED, WVU_STATUS_NOT_FOUND, ending->reason);
    } else if (status == WVU_STATUS_NOT_FOUND) {
        fail(ending, "", ESRCH);
    } else {
        conclude(ending, WVU_OUTCOME_FAILED, status, "the kernel's list of processes is not read");
    }
    return false;
}

void wvu_mitigation_end(struct wvu_sensor *sensor, struct wvu_programs *programs,
                        struct wvu_ending *ending)
{
    ending->reason[0] = '\0';
    if (is_refused(sensor, ending))
        return;
    int process = (int)syscall(SYS_pidfd_open, ending->pid, 0);
    if (process < 0) {
        fail(ending, "pidfd_open", errno);
        return;
    }
    if (is_wanted(programs, ending)) {
        if (syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) == 0)
            conclude(ending, WVU_OUTCOME_ENDED, WVU_STATUS_OK, "");
        else
            fail(ending, "pidfd_send_signal", errno);
    }
    close(process);
}
