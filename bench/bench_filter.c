/*
 * What the filter costs: judging one process by 1, 10 and 100 rules, and asking whether one of its events is
 * wanted, when the verdict is kept with it.
 *
 *     bench_filter [ROUNDS [PROCESSES]]
 *
 * winvirtue filter             paths are bytes, as on Linux
 * winvirtue filter, no case    paths are UTF-16 and case is ignored, as on Windows
 * winvirtue filter, one event  wvu_probe_wants with the mask that was kept
 *
 * The rules are what makes it slow: all conditions of all sorts, prefixes that all paths begin with, suffixes
 * that all end with up to a few units, exact paths as long as the paths are. No rule decides for most, so that
 * all are looked at. 64 paths of 30 to 70 characters take turns, so that no branch is learnt by heart. That the
 * verdicts are right is checked each time: one path in eight is excluded, and no other.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <string.h>

#include "filter.h"
#include "sensor.h"

#define PATHS 64u
#define LONG  96u

struct kind {
    const char *name;
    struct wvu_filter_host host;
    const char *directory; /* that all paths and rules have in common */
    const char *user;
};

static const struct kind kinds[] = {
    {"winvirtue filter", {.utf16 = false}, "/usr/lib/x86_64-linux-gnu/", "1000"},
    {"winvirtue filter, no case",
     {.utf16 = true, .ignore_case = true},
     "\\Device\\HarddiskVolume3\\Windows\\System32\\",
     "S-1-5-21-1004336348-1177238915-682003330-1000"},
};
#define KINDS 2u

static const uint32_t counts[] = {1, 10, 100};
#define COUNTS 3u

static struct wvu_subject subjects[KINDS][PATHS];
static struct wvu_filter *filters[KINDS][COUNTS];
static uint64_t processes;

/* ---- paths and rules ------------------------------------------------------------------------------------------ */

static const char *const names[] = {"python3.11", "dash", "systemd-udevd",  "gcc-helper-x86_64",
                                    "git",        "ld",   "update-service", "thumbnailer"};

/* Every eighth path is below "quiet". */
static void path_of(const struct kind *kind, uint32_t i, char *path)
{
    snprintf(path, LONG, "%s%s%c%s-%02u.run", kind->directory,
             i % 8 == 0 ? "quiet" : "plain-programs", kind->host.utf16 ? '\\' : '/', names[i / 8],
             i);
}

static void make_subjects(uint32_t k)
{
    static char bytes[PATHS][LONG];
    static uint16_t units[PATHS][LONG];
    for (uint32_t i = 0; i < PATHS; i++) {
        char path[LONG];
        path_of(&kinds[k], i, path);
        const uint32_t length = (uint32_t)strlen(path);
        for (uint32_t j = 0; j < length; j++)
            units[i][j] = (uint16_t)path[j];
        if (!kinds[k].host.utf16)
            memcpy(bytes[i], path, length);
        subjects[k][i] = (struct wvu_subject){
            .image = kinds[k].host.utf16 ? (const void *)units[i] : bytes[i],
            .image_size = kinds[k].host.utf16 ? length * 2 : length,
            .unit = kinds[k].host.utf16 ? 2 : 1,
            .has_user = !kinds[k].host.utf16,
            .user_id = 1000,
            .user_sid = kinds[k].host.utf16 ? kinds[k].user : NULL,
        };
    }
}

/* The last rule is the only one that hits. */
static size_t write_rule(const struct kind *kind, uint32_t i, bool last, char *text, size_t room)
{
    const char *directory = kind->directory;
    char path[LONG];
    int size = 0;
    path_of(kind, i % PATHS, path);
    if (last)
        size =
            snprintf(text, room, "exclude image-prefix=%squiet user=%s\n", directory, kind->user);
    else if (i % 5 == 0)
        size = snprintf(text, room, "deny image=%s%u\n", path, i);
    else if (i % 5 == 1)
        size = snprintf(text, room, "exclude image-prefix=%splain-programs%u\n", directory, i);
    else if (i % 5 == 2)
        size = snprintf(text, room, "exclude image-suffix=%u.run event=ImageLoad\n", 100 + i);
    else if (i % 5 == 3)
        size = snprintf(text, room, "exclude parent-prefix=%s%u image-prefix=%s\n", directory, i,
                        directory);
    else
        size = snprintf(text, room, "protect image-prefix=%s image-suffix=.run user=%s%u\n",
                        directory, kind->user, i);
    if (size < 0 || (size_t)size >= room)
        bench_fail("the rules are too long");
    return (size_t)size;
}

static struct wvu_filter *make_filter(const struct kind *kind, uint32_t rules)
{
    static char text[WVU_FILTER_TEXT_MAX];
    struct wvu_filter *filter;
    char reason[256];
    size_t length = 0;
    for (uint32_t i = 0; i < rules; i++)
        length += write_rule(kind, i, i == rules - 1, text + length, sizeof text - length);
    if (wvu_filter_create(text, length, &kind->host, &filter, reason) != WVU_STATUS_OK)
        bench_fail(reason);
    return filter;
}

/* ---- rounds --------------------------------------------------------------------------------------------------- */

/* Nanoseconds a judgement. */
static double judge(uint32_t k, uint32_t c)
{
    const struct wvu_filter *filter = filters[k][c];
    uint64_t excluded = 0, begin = 0;
    /* The first tenth warms up. */
    const uint64_t warm = processes / 10 / PATHS * PATHS;
    for (uint64_t i = 0; i < warm + processes; i++) {
        struct wvu_verdict verdict;
        if (i == warm)
            begin = bench_now();
        wvu_filter_judge(filter, &subjects[k][i % PATHS], &verdict);
        excluded += verdict.wanted != WVU_WANTED_ALL;
        if (verdict.deny != WVU_DENY_NONE || verdict.is_protected)
            bench_fail("a rule holds that does not");
    }
    const uint64_t end = bench_now();
    if (excluded != (warm + processes) / 8)
        bench_fail("not the paths that the rules name are excluded");
    return (double)(end - begin) / (double)processes;
}

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    (void)probe;
    reason[0] = '\0';
    return WVU_STATUS_OK;
}

static void stop(struct wvu_probe *probe)
{
    (void)probe;
}

/* A sensor that is never started, for its probe. */
static struct wvu_sensor *make_sensor(void)
{
    static const uint8_t id[16] = {1};
    static const uint16_t events[] = {WVU_EVENT_ProcessCreate, WVU_EVENT_ImageLoad, 0};
    static const struct wvu_probe_definition probe = {
        .name = "bench", .events = events, .start = start, .stop = stop};
    static const struct wvu_probe_definition *const probes[] = {&probe, NULL};
    static const struct wvu_port_operations operations = {0};
    static struct wvu_port port = {&operations};
    const struct wvu_sensor_settings settings = {.host_kind = WVU_HOST_SIMULATED,
                                                 .host_id = id,
                                                 .host_name = "",
                                                 .system_version = "",
                                                 .configuration = "",
                                                 .queue_records = WVU_QUEUE_RECORDS_MIN,
                                                 .queue_bytes = WVU_QUEUE_BYTES_MIN,
                                                 .send_timeout_ms = 1000,
                                                 .port = &port,
                                                 .probes = probes};
    struct wvu_sensor *sensor;
    if (wvu_sensor_create(&settings, &sensor) != WVU_STATUS_OK)
        bench_fail("the sensor cannot be made");
    return sensor;
}

/* Nanoseconds an event of processes whose verdict is known. */
static double ask(struct wvu_sensor *sensor)
{
    struct wvu_probe *probe = wvu_sensor_probe_at(sensor, 0);
    uint32_t wanted[PATHS];
    uint64_t found = 0;
    for (uint32_t i = 0; i < PATHS; i++) {
        struct wvu_verdict verdict;
        wvu_filter_judge(filters[0][COUNTS - 1], &subjects[0][i], &verdict);
        wanted[i] = verdict.wanted;
    }
    const uint64_t begin = bench_now();
    for (uint64_t i = 0; i < processes; i++)
        found += wvu_probe_wants(probe, WVU_EVENT_ImageLoad, wanted[i % PATHS]);
    const uint64_t end = bench_now();
    if (found != processes - processes / 8)
        bench_fail("not the events of the excluded paths are unwanted");
    return (double)(end - begin) / (double)processes;
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most)
        bench_fail("usage: bench_filter [ROUNDS (1..1000) [PROCESSES (64..)]]");
    return value;
}

int main(int argc, char **argv)
{
    static double judged[KINDS][COUNTS][BENCH_ROUNDS_MAX];
    static double asked[BENCH_ROUNDS_MAX];
    const uint32_t rounds = argc > 1 ? (uint32_t)number(argv[1], 1, BENCH_ROUNDS_MAX) : 21;
    processes = argc > 2 ? number(argv[2], PATHS, UINT64_MAX / 4) : 64000;
    processes = processes / PATHS * PATHS;
    struct wvu_sensor *sensor = make_sensor();
    for (uint32_t k = 0; k < KINDS; k++) {
        make_subjects(k);
        for (uint32_t c = 0; c < COUNTS; c++)
            filters[k][c] = make_filter(&kinds[k], counts[c]);
    }
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t k = 0; k < KINDS; k++) {
            for (uint32_t c = 0; c < COUNTS; c++)
                judged[k][c][round] = judge(k, c);
        }
        asked[round] = ask(sensor);
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        for (uint32_t c = 0; c < COUNTS; c++) {
            char variant[24];
            snprintf(variant, sizeof variant, counts[c] == 1 ? "%u rule" : "%u rules", counts[c]);
            bench_print("filter", kinds[k].name, variant, "ns", judged[k][c], rounds);
            wvu_filter_destroy(filters[k][c]);
        }
    }
    bench_print("filter", "winvirtue filter, one event", "kept verdict", "ns", asked, rounds);
    wvu_sensor_destroy(sensor);
    return 0;
}
