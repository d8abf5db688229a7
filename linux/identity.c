/*
 * Which machine this is. Main thread.
 *
 * The id is /etc/machine-id where there is one (systemd and others make it at installation; it outlives
 * host names and addresses), else the one the machine's firmware has. It never leaves the sensor:
 * probe ids are hashes that start from it.
 */
#define _GNU_SOURCE
#include "identity.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "log.h"
#include "uuid.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool wvu_identity_parse(const char *text, uint8_t id[16])
{
    uint8_t bytes[16] = {0}, any = 0;
    unsigned digits = 0;
    for (; *text != '\0' && !isspace((unsigned char)*text); text++) {
        int value = hex_value(*text);
        if (*text == '-')
            continue;
        if (value < 0 || digits == 32)
            return false;
        bytes[digits / 2] = (uint8_t)(bytes[digits / 2] << 4 | value);
        any |= (uint8_t)value;
        digits++;
    }
    while (isspace((unsigned char)*text))
        text++;
    if (*text != '\0' || digits != 32 || any == 0)
        return false;
    memcpy(id, bytes, sizeof bytes);
    return true;
}

static bool read_id(const char *path, uint8_t id[16])
{
    char line[80];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool found = fgets(line, sizeof line, file) != NULL && wvu_identity_parse(line, id);
    fclose(file);
    return found;
}

static void read_host_id(struct wvu_identity *identity)
{
    static const char *const paths[] = {"/etc/machine-id", "/sys/class/dmi/id/product_uuid"};
    /* RFC 4122, appendix C: the name space of domain names. */
    static const uint8_t names[16] = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                                      0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (read_id(paths[i], identity->host_id))
            return;
    wvu_uuid_from_name(names, identity->host_name, identity->host_id);
    wvu_log_warning(
        WVU_LOG_MAIN,
        "this machine has neither /etc/machine-id nor a firmware id; the sensor ids are "
        "made from its name, %s, and change with it (systemd-machine-id-setup makes one)",
        identity->host_name);
}

void wvu_identity_read(struct wvu_identity *identity)
{
    struct utsname system;
    memset(identity, 0, sizeof *identity);
    if (gethostname(identity->host_name, sizeof identity->host_name - 1) != 0 ||
        identity->host_name[0] == '\0')
        snprintf(identity->host_name, sizeof identity->host_name, "localhost");
    if (uname(&system) == 0)
        snprintf(identity->system_version, sizeof identity->system_version, "%s %s %s %s",
                 system.sysname, system.release, system.version, system.machine);
    read_host_id(identity);
}
