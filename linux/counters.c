/*
 * What wvud has counted, for people who read the log and for those who ask on the command port. Called by the
 * main thread (SIGUSR1, the end) and by the command port's thread (GetStatistics); each part counts for
 * itself and has its own lock.
 */
#include "counters.h"

#include <stdio.h>

#include "log.h"
#include "port_command.h"
#include "port_socket.h"
#include "sensor.h"
#include "source.h"

#define NS_PER_MS UINT64_C(1000000)

typedef unsigned long long ull; /* what a format can print */

static void log_queue_counters(const struct wvu_counted *counted, const char *when)
{
    struct wvu_queue_counters queue;
    wvu_queue_read_counters(wvu_sensor_queue(counted->sensor), &queue);
    uint64_t ms = (wvu_os_uptime() - counted->started_at) / NS_PER_MS;
    wvu_log_info(WVU_LOG_MAIN,
                 "%s %llu.%03u s: %llu events accepted = %llu delivered + %llu lost + %llu "
                 "undelivered; %llu more lost before they had a number; %llu with a text cut; at "
                 "most %llu queued",
                 when, (ull)(ms / 1000), (unsigned)(ms % 1000), (ull)queue.accepted,
                 (ull)queue.delivered, (ull)queue.lost, (ull)(queue.queued + queue.in_flight),
                 (ull)queue.unnumbered, (ull)queue.cut, (ull)queue.high_water);
}

static void log_port_counters(const struct wvu_counted *counted)
{
    struct wvu_dispatcher_counters dispatcher;
    struct wvu_port_socket_counters port;
    wvu_dispatcher_read_counters(wvu_sensor_dispatcher(counted->sensor), &dispatcher);
    wvu_port_socket_read_counters(counted->port, &port);
    wvu_log_info(WVU_LOG_MAIN,
                 "port: %llu readers, %llu more refused; %llu messages sent, %llu time-outs, %llu "
                 "events sent again; %llu bad replies, %llu stray ones, %llu malformed packets",
                 (ull)port.connections,
                 (ull)(port.refused_busy + port.refused_unentitled + port.refused_stopping +
                       port.refused_failed),
                 (ull)dispatcher.sends, (ull)dispatcher.timeouts, (ull)dispatcher.redelivered,
                 (ull)dispatcher.bad_replies, (ull)port.stray_replies, (ull)port.malformed_packets);
}

static void log_command_counters(const struct wvu_counted *counted)
{
    struct wvu_port_command_counters port;
    wvu_port_command_read_counters(counted->command_port, &port);
    wvu_log_info(WVU_LOG_MAIN,
                 "commands: %llu requests of %llu clients, %llu more refused; %llu disconnected "
                 "because they did not read",
                 (ull)port.requests, (ull)port.connections,
                 (ull)(port.refused_full + port.refused_unentitled + port.refused_stopping +
                       port.refused_failed),
                 (ull)port.unread);
}

static void log_source_counters(const struct wvu_counted *counted)
{
    struct wvu_source_counters source;
    wvu_source_read_counters(counted->source, &source);
    wvu_log_info(
        WVU_LOG_MAIN,
        "kernel rings: %llu records taken in %llu looks; lost: %llu for lack of room, %llu "
        "that could not be read, %llu of the kernel's own; %llu malformed; %llu processes "
        "followed, %llu not for lack of room",
        (ull)source.records, (ull)source.looks, (ull)source.lost_full, (ull)source.lost_failed,
        (ull)source.lost_kernel, (ull)source.malformed, (ull)source.followed,
        (ull)(source.unfollowed + source.forgotten));
}

void wvu_counters_log(const struct wvu_counted *counted, const char *when)
{
    log_queue_counters(counted, when);
    log_port_counters(counted);
    log_command_counters(counted);
    log_source_counters(counted);
}

size_t wvu_counters_format(const struct wvu_counted *counted, char *text, size_t size)
{
    struct wvu_source_counters source;
    struct wvu_port_socket_counters port;
    struct wvu_port_command_counters command;
    wvu_source_read_counters(counted->source, &source);
    wvu_port_socket_read_counters(counted->port, &port);
    wvu_port_command_read_counters(counted->command_port, &command);
    const struct {
        const char *name;
        uint64_t value;
    } lines[] = {
        {"ring-records", source.records},
        {"ring-looks", source.looks},
        {"ring-sleeps", source.sleeps},
        {"ring-lost-full", source.lost_full},
        {"ring-lost-failed", source.lost_failed},
        {"ring-lost-kernel", source.lost_kernel},
        {"ring-malformed", source.malformed},
        {"process-walks", source.walks},
        {"processes-followed", source.followed},
        {"processes-without-room", source.unfollowed},
        {"programs-without-room", source.forgotten},
        {"programs-prevented", source.prevented},
        {"processes-ended", source.ended},
        {"readers-refused",
         port.refused_busy + port.refused_unentitled + port.refused_stopping + port.refused_failed},
        {"stray-replies", port.stray_replies},
        {"malformed-packets", port.malformed_packets},
        {"reader-floods", port.floods},
        {"command-clients", command.connections},
        {"command-clients-refused", command.refused_full + command.refused_unentitled +
                                        command.refused_stopping + command.refused_failed},
        {"command-clients-unread", command.unread},
    };
    size_t length = 0;
    for (size_t i = 0; i < sizeof lines / sizeof *lines && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%s=%llu", i != 0 ? "\n" : "",
                                   lines[i].name, (ull)lines[i].value);
    return length < size ? length : size - 1;
}
