/*
 * What it takes to trace the kernel, and what of it is not there. Main thread, when the start failed.
 *
 * CAP_BPF loads the programs, CAP_PERFMON attaches them and opens the event rings; the other two are
 * for reading about processes that already run. CAP_SYS_ADMIN includes the first two.
 */
#define _GNU_SOURCE
#include "rights.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITY(n) (UINT64_C(1) << (n))

static const struct {
    int number;
    const char *name;
    bool with_sys_admin;
} needed[] = {
    {CAP_BPF, "CAP_BPF", true},
    {CAP_PERFMON, "CAP_PERFMON", true},
    {CAP_SYS_PTRACE, "CAP_SYS_PTRACE", false},
    {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", false},
};

static size_t list_missing(uint64_t capabilities, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        bool has = (capabilities & CAPABILITY(needed[i].number)) != 0 ||
                   (needed[i].with_sys_admin && (capabilities & CAPABILITY(CAP_SYS_ADMIN)) != 0);
        if (!has && length < size)
            length += (size_t)snprintf(text + length, size - length, "%s%s",
                                       length != 0 ? ", " : "", needed[i].name);
    }
    return length;
}

void wvu_rights_explain_facts(uint64_t capabilities, int initial_namespace, int confidential,
                              char *text, size_t size)
{
    char missing[128];
    if (!initial_namespace)
        snprintf(
            text, size,
            "this is a user namespace (a rootless container), and the kernel can be traced from "
            "the initial one only; run wvud on the host");
    else if (list_missing(capabilities, missing, sizeof missing) != 0)
        snprintf(text, size,
                 "missing: %s; run wvud as root (sudo wvud), as a service (systemctl start wvud), "
                 "or in a "
                 "container that has them added",
                 missing);
    else if (confidential)
        snprintf(text, size,
                 "all capabilities are there, but the kernel is locked down to confidentiality, "
                 "which forbids tracing; boot with lockdown=integrity or without lockdown");
    else
        snprintf(
            text, size,
            "all capabilities are there, but the kernel refuses; a seccomp filter or a security "
            "module may forbid bpf(2) or perf_event_open(2): in a container allow both");
}

static uint64_t read_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return 0;
    return (uint64_t)data[1].effective << 32 | data[0].effective;
}

/* Reads the beginning of a small file; empty when there is none. */
static void read_start(const char *path, char *text, int size)
{
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(text, size, file) == NULL)
        text[0] = '\0';
    fclose(file);
}

struct facts {
    uint64_t capabilities;
    bool initial_namespace;
    bool confidential;
};

static struct facts gather(void)
{
    char uid_map[128], lockdown[128];
    unsigned long inside, outside, count;
    read_start("/proc/self/uid_map", uid_map, sizeof uid_map);
    read_start("/sys/kernel/security/lockdown", lockdown, sizeof lockdown);
    return (struct facts){
        .capabilities = read_capabilities(),
        .initial_namespace = sscanf(uid_map, "%lu %lu %lu", &inside, &outside, &count) != 3 ||
                             (inside == 0 && outside == 0 && count == UINT32_MAX),
        .confidential = strstr(lockdown, "[confidentiality]") != NULL,
    };
}

void wvu_rights_explain(char *text, size_t size)
{
    const struct facts facts = gather();
    wvu_rights_explain_facts(facts.capabilities, facts.initial_namespace, facts.confidential, text,
                             size);
}

bool wvu_rights_are_missing(void)
{
    const struct facts facts = gather();
    char missing[128];
    return !facts.initial_namespace || facts.confidential ||
           list_missing(facts.capabilities, missing, sizeof missing) != 0;
}
