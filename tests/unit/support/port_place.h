/*
 * The place of a Linux port under test, a run directory, and what every port must do of those who come.
 * Include cmocka.h first.
 */
#ifndef WVU_UNIT_PORT_PLACE_H
#define WVU_UNIT_PORT_PLACE_H

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "run_dir.h"
#include "support/port_client.h"

#define MS           UINT64_C(1000000)
#define SOON         (5000 * MS) /* what "at once" may take on a machine that is busy */
#define GROUP        54321
#define NOBODY       65534
#define SHORT_PATH   24
#define RANDOM_FIRST 88172645463325252u

struct place {
    const char *file;    /* the port's name */
    uint32_t packet_max; /* as its welcome says */
    char path[100];
    struct wvu_run_dir run_dir;
    int descriptors; /* of this process, before */
    char reason[512];
};

static inline int count_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Makes a run directory whose path has so many bytes. */
static inline void open_place(struct place *place, size_t length)
{
    place->descriptors = count_descriptors();
    snprintf(place->path, sizeof place->path, "/tmp/wvu-port-%0*dXXXXXX", (int)length - 20, 0);
    assert_non_null(mkdtemp(place->path));
    assert_int_equal(
        wvu_run_dir_open(&place->run_dir, place->path, place->reason, sizeof place->reason),
        WVU_STATUS_OK);
}

/* Nothing is left in it, and nothing open. */
static inline void close_place(struct place *place)
{
    wvu_run_dir_close(&place->run_dir);
    assert_int_equal(rmdir(place->path), 0);
    assert_int_equal(count_descriptors(), place->descriptors);
}

static inline const char *path_of(const struct place *place, const char *file)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", place->path, file);
    return path;
}

static inline mode_t mode_of(const struct place *place, const char *file)
{
    struct stat status;
    assert_int_equal(stat(path_of(place, file), &status), 0);
    return status.st_mode & 07777;
}

/* ---- who comes ----------------------------------------------------------------------------- */

/* Only system calls, as in port_client.h. *fd is negative when there is no connection. */
static inline wvu_status come(const struct place *place, int *fd)
{
    *fd = connect_to_file(place->path, place->file);
    return *fd < 0 ? WVU_STATUS_DISCONNECTED : take_welcome_of(*fd, place->packet_max);
}

static inline void check_refused(const struct place *place, wvu_status why)
{
    unsigned char byte;
    int fd;
    assert_int_equal(come(place, &fd), why);
    assert_int_equal(take(fd, &byte, 1), -1);
    close(fd);
}

static inline int try_as_nobody(const struct place *place, gid_t group, const gid_t *groups,
                                size_t count)
{
    return try_port_as_nobody(place->path, place->file, place->packet_max, group, groups, count);
}

/* Should the modes be changed by somebody, the credentials still count. */
static inline void check_credentials_count(const struct place *place, gid_t group)
{
    assert_int_equal(chmod(place->path, 0755), 0);
    assert_int_equal(mode_of(place, place->file), 0600);
    assert_int_equal(try_as_nobody(place, group, NULL, 0), DENIED_BY_MODE);
    assert_int_equal(chmod(path_of(place, place->file), 0666), 0);
    assert_int_equal(try_as_nobody(place, group, NULL, 0), DENIED_BY_SENSOR);
}

/* xorshift: anything, the same each time */
static inline uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* At any moment within 3 ms. Until then it must have lived: nobody refused it. */
static inline void kill_soon(pid_t child, uint64_t *random)
{
    int status;
    nanosleep(&(struct timespec){0, (long)(next_random(random) % 3000000)}, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

#endif
