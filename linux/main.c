/*
 * wvud: the sensor as a daemon. This file is its life: start, signals, stop. (reload.c reads the
 * configuration again.)
 *
 *   order of start   run directory (and its lock), ports, source, sensor with its probes, ports open
 *   order of stop    ports refuse, sensor (drains to the reader), ports, source, run directory
 *
 * Threads: the main thread does all of this and otherwise sleeps on a signalfd and on `asked`, which the
 * Shutdown command makes readable. Every signal that wvud knows is blocked in every thread, so each comes
 * here, one at a time. While the sensor drains, a thread of its own (`stop_sensor`) waits for it, so that
 * one more signal can cut it short. The event port's thread calls `reader_changed`, the command port's
 * thread the functions of `struct wvu_sensor_host`; what they share with the main thread is guarded by
 * `status_lock`.
 *
 * While the sensor is protected, SIGTERM and SIGINT are told in the stream and do nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counters.h"
#include "daemon.h"
#include "log.h"
#include "log_sink.h"
#include "notify.h"
#include "probes.h"
#include "rights.h"
#include "source.h"
#include "winvirtue/version.h"

/* Commands are given `host` as their context. */
static struct daemon *of_host(void *context)
{
    return (struct daemon *)(void *)((char *)context - offsetof(struct daemon, host));
}

/* ---- what others are told ------------------------------------------------------------------ */

/* Any thread. Without the probes' locks: one of them may be starting, and nobody waits for that here. */
static uint32_t count_running(const struct daemon *daemon)
{
    struct wvu_probe *probe;
    uint32_t running = 0;
    for (uint32_t i = 0; (probe = wvu_sensor_probe_at(daemon->sensor, i)) != NULL; i++)
        running += wvu_load_relaxed(&probe->condition) == WVU_PROBE_RUNNING;
    return running;
}

static struct shown look(const struct daemon *daemon)
{
    return (struct shown){count_running(daemon), wvu_sensor_is_protected(daemon->sensor)};
}

static void notify_status(struct daemon *daemon, const char *first_line)
{
    char reader[64] = "no reader";
    wvu_mutex_acquire(&daemon->status_lock);
    daemon->shown = look(daemon);
    if (daemon->has_reader)
        snprintf(reader, sizeof reader, "reader: process %d, user %u", (int)daemon->reader.pid,
                 (unsigned)daemon->reader.uid);
    wvu_status status = WVU_STATUS_OK;
    if (!daemon->stopping)
        status =
            wvu_notify("%sSTATUS=%u probes run; %s%s", first_line, daemon->shown.running, reader,
                       daemon->shown.is_protected ? "; protected: it refuses to stop" : "");
    wvu_mutex_release(&daemon->status_lock);
    if (status != WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_MAIN, "the service manager cannot be told the state: %s",
                        wvu_strerror(status));
}

/* The command port's thread. */
static void command_answered(void *context)
{
    struct daemon *daemon = of_host(context);
    const struct shown now = look(daemon);
    wvu_mutex_acquire(&daemon->status_lock);
    bool changed =
        now.running != daemon->shown.running || now.is_protected != daemon->shown.is_protected;
    wvu_mutex_release(&daemon->status_lock);
    if (changed)
        notify_status(daemon, "");
}

static void notify_stopping(struct daemon *daemon, const char *reason)
{
    wvu_mutex_acquire(&daemon->status_lock);
    daemon->stopping = true;
    (void)wvu_notify("STOPPING=1\nSTATUS=stopping: %s", reason); /* nothing depends on it */
    wvu_mutex_release(&daemon->status_lock);
}

/* The port's thread. */
static void reader_changed(void *context, const struct wvu_port_peer *reader)
{
    struct daemon *daemon = context;
    wvu_mutex_acquire(&daemon->status_lock);
    daemon->has_reader = reader != NULL;
    if (reader != NULL)
        daemon->reader = *reader;
    wvu_mutex_release(&daemon->status_lock);
    wvu_source_spare(daemon->host.source, reader != NULL ? (uint32_t)reader->pid : 0);
    notify_status(daemon, "");
}

static void log_configuration(const struct daemon *daemon, bool file_found)
{
    char line[WVU_CONFIG_TEXT_MAX];
    snprintf(line, sizeof line, "%s", daemon->configuration);
    for (char *end = line; (end = strchr(end, '\n')) != NULL;)
        *end = ' ';
    if (file_found)
        wvu_log_info(WVU_LOG_MAIN, "configuration from %s: %s", daemon->options->config_path, line);
    else
        wvu_log_info(WVU_LOG_MAIN, "configuration (there is no %s): %s",
                     daemon->options->config_path, line);
}

static struct wvu_counted counted_of(const struct daemon *daemon)
{
    return (struct wvu_counted){.started_at = daemon->started_at,
                                .sensor = daemon->sensor,
                                .source = daemon->host.source,
                                .port = daemon->port,
                                .command_port = daemon->command_port};
}

static void log_counters(const struct daemon *daemon, const char *when)
{
    const struct wvu_counted counted = counted_of(daemon);
    wvu_counters_log(&counted, when);
}

/* ---- probes -------------------------------------------------------------------------------- */

static const char *const *probe_names(void)
{
    static const char *names[WVU_CONFIG_PROBES_MAX + 1];
    for (size_t i = 0; i < WVU_CONFIG_PROBES_MAX && wvu_linux_probes[i] != NULL; i++)
        names[i] = wvu_linux_probes[i]->name;
    return names;
}

static void choose_probes(struct daemon *daemon)
{
    for (size_t i = 0; i < WVU_CONFIG_PROBES_MAX && wvu_linux_probes[i] != NULL; i++) {
        daemon->definitions[i] = *wvu_linux_probes[i];
        if ((daemon->config.probes & UINT32_C(1) << i) == 0)
            daemon->definitions[i].attributes &= ~WVU_PROBE_ENABLED_AT_START;
        else if (daemon->config.origin[WVU_CONFIG_PROBES] != WVU_CONFIG_FROM_DEFAULT)
            daemon->definitions[i].attributes |= WVU_PROBE_ENABLED_AT_START;
        daemon->probes[i] = &daemon->definitions[i];
    }
}

static bool is_right(wvu_status status)
{
    return status == WVU_STATUS_PRIVILEGE_NOT_HELD || status == WVU_STATUS_ACCESS_DENIED;
}

static int fail_for_rights(void)
{
    char text[512];
    wvu_rights_explain(text, sizeof text);
    wvu_log_error(WVU_LOG_MAIN, "wvud may not trace the kernel: %s", text);
    return WVU_EXIT_RIGHTS;
}

/* A sensor without a running probe would look alive and see nothing. */
static int check_probes(struct daemon *daemon)
{
    struct wvu_probe *probe;
    uint32_t wanted = 0, without_right = 0;
    if (count_running(daemon) > 0)
        return WVU_EXIT_CLEAN;
    for (uint32_t i = 0; (probe = wvu_sensor_probe_at(daemon->sensor, i)) != NULL; i++) {
        struct wvu_probe_state state;
        wvu_probe_read_state(probe, &state);
        wanted += (state.attributes & WVU_PROBE_ENABLED_AT_START) != 0;
        without_right += state.condition == WVU_PROBE_FAILED && is_right(state.status);
    }
    if (wanted > 0 && without_right == wanted)
        return fail_for_rights();
    wvu_log_error(WVU_LOG_MAIN,
                  "none of %u probes could start (see above), so there is nothing to do", wanted);
    return WVU_EXIT_FAILED;
}

/* ---- what commands ask of the host: the command port's thread ------------------------------ */

/* The last component of a path. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static wvu_status shut_down(void *context, const struct wvu_requester *requester, char *reason)
{
    struct daemon *daemon = of_host(context);
    (void)reason;
    wvu_mutex_acquire(&daemon->status_lock);
    snprintf(daemon->asked_by, sizeof daemon->asked_by, "command of process %u (%s), user %u",
             requester->process_id,
             requester->image[0] != '\0' ? base_name(requester->image) : "unknown",
             requester->user_id);
    wvu_mutex_release(&daemon->status_lock);
    /* Fails only when the counter is full, and then it is readable already. */
    (void)!write(daemon->asked, &(uint64_t){1}, sizeof(uint64_t));
    return WVU_STATUS_OK;
}

static uint64_t key_of(void *context, uint32_t pid)
{
    return wvu_source_key(of_host(context)->host.source, pid);
}

static void filter_changed(void *context)
{
    wvu_source_rejudge(of_host(context)->host.source);
}

static size_t format_counters(void *context, char *text, size_t size)
{
    const struct wvu_counted counted = counted_of(of_host(context));
    return wvu_counters_format(&counted, text, size);
}

static void fill_operations(struct daemon *daemon)
{
    daemon->operations = (struct wvu_sensor_host){
        .shutdown = shut_down,
        .filter_changed = filter_changed,
        .counters = format_counters,
        .filter = wvu_linux_filter_host,
        .process_id = (uint32_t)getpid(),
    };
}

/* ---- signals ------------------------------------------------------------------------------- */

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
}

/* Before there are threads, which inherit the mask. */
static wvu_status open_signals(struct daemon *daemon)
{
    sigset_t set;
    fill_signals(&set);
    signal(SIGPIPE, SIG_IGN); /* standard error may be a pipe that nobody reads */
    sigprocmask(SIG_BLOCK, &set, NULL);
    daemon->signals = signalfd(-1, &set, SFD_CLOEXEC);
    daemon->asked = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return daemon->signals >= 0 && daemon->asked >= 0 ? WVU_STATUS_OK : WVU_STATUS_NO_RESOURCES;
}

static void close_signals(struct daemon *daemon)
{
    if (daemon->asked >= 0)
        close(daemon->asked);
    if (daemon->signals >= 0)
        close(daemon->signals);
}

static bool read_signal(struct daemon *daemon, struct signalfd_siginfo *signal)
{
    ssize_t got;
    do {
        got = read(daemon->signals, signal, sizeof *signal);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof *signal;
}

static const char *signal_name(const struct signalfd_siginfo *signal)
{
    return signal->ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
}

static void describe_signal(const struct signalfd_siginfo *signal, char *text, size_t size)
{
    const char *name = signal_name(signal);
    if (signal->ssi_code == SI_KERNEL)
        snprintf(text, size, "%s from the terminal", name);
    else if (signal->ssi_pid == 0)
        snprintf(text, size, "%s from outside of this container", name);
    else
        snprintf(text, size, "%s from process %u, user %u", name, signal->ssi_pid, signal->ssi_uid);
}

/* True when the sensor is protected: then it was told who tried. */
static bool refuse_to_stop(struct daemon *daemon, const struct signalfd_siginfo *signal)
{
    if (!wvu_sensor_is_protected(daemon->sensor))
        return false;
    struct wvu_requester requester = {
        .process_id = signal->ssi_pid, .has_user = true, .user_id = signal->ssi_uid};
    wvu_peer_image((pid_t)signal->ssi_pid, requester.image, sizeof requester.image);
    requester.process_key = wvu_source_key(daemon->host.source, signal->ssi_pid);
    wvu_sensor_report_refused_stop(daemon->sensor, &requester, signal_name(signal));
    wvu_log_warning(WVU_LOG_MAIN, "to stop it, first: wvuctl --run-dir %s protect off",
                    daemon->run_dir.path);
    return true;
}

static void take_shutdown(struct daemon *daemon, char *reason, size_t reason_size)
{
    wvu_mutex_acquire(&daemon->status_lock);
    snprintf(reason, reason_size, "%s", daemon->asked_by);
    wvu_mutex_release(&daemon->status_lock);
}

static void handle_hangup(struct daemon *daemon)
{
    wvu_log_info(WVU_LOG_MAIN, "reading the configuration again");
    wvu_status status = wvu_notify("RELOADING=1\nMONOTONIC_USEC=%llu",
                                   (unsigned long long)(wvu_os_uptime() / 1000));
    if (status != WVU_STATUS_OK)
        wvu_log_warning(WVU_LOG_MAIN, "the service manager cannot be told of the reload: %s",
                        wvu_strerror(status));
    (void)wvu_daemon_reload(daemon); /* it has said what is wrong; the old configuration goes on */
    notify_status(daemon, "READY=1\n");
}

/* True: stop, for this reason. */
static bool handle_signal(struct daemon *daemon, const struct signalfd_siginfo *signal,
                          char *reason, size_t reason_size)
{
    switch (signal->ssi_signo) {
    case SIGHUP:
        handle_hangup(daemon);
        return false;
    case SIGUSR1:
        log_counters(daemon, "after");
        return false;
    default:
        if (refuse_to_stop(daemon, signal))
            return false;
        describe_signal(signal, reason, reason_size);
        return true;
    }
}

/* Serves until told to stop; `reason` says by what. False when it can serve no longer. */
static bool serve(struct daemon *daemon, char *reason, size_t reason_size)
{
    struct pollfd fds[2] = {{.fd = daemon->signals, .events = POLLIN},
                            {.fd = daemon->asked, .events = POLLIN}};
    for (;;) {
        struct signalfd_siginfo signal;
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (fds[1].revents != 0) {
            take_shutdown(daemon, reason, reason_size);
            return true;
        }
        if (!read_signal(daemon, &signal))
            break;
        if (handle_signal(daemon, &signal, reason, reason_size))
            return true;
    }
    snprintf(reason, reason_size, "signals cannot be read: %s", strerror(errno));
    return false;
}

/* ---- stop ---------------------------------------------------------------------------------- */

struct stopper {
    struct wvu_sensor *sensor;
    const char *reason;
    int done; /* eventfd */
};

static void stop_sensor(void *context)
{
    struct stopper *stopper = context;
    wvu_sensor_stop(stopper->sensor, stopper->reason);
    (void)!write(stopper->done, &(uint64_t){1}, sizeof(uint64_t)); /* cannot fail: it is at 0 */
}

/* Until the stopper is done; a SIGINT cuts the draining short. (Not a SIGTERM: some programs send more
 * than one to say the same.) */
static void watch_stopper(struct daemon *daemon, int done)
{
    struct pollfd fds[2] = {{.fd = done, .events = POLLIN},
                            {.fd = daemon->signals, .events = POLLIN}};
    while ((fds[0].revents & POLLIN) == 0) {
        struct signalfd_siginfo signal;
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return; /* joining the stopper waits as well */
        if ((fds[1].revents & POLLIN) == 0 || !read_signal(daemon, &signal))
            continue;
        if (signal.ssi_signo == SIGINT) {
            struct wvu_port *port = wvu_port_socket_port(daemon->port);
            wvu_log_info(WVU_LOG_MAIN, "interrupted: stopping without sending what is queued");
            port->operations->cancel(port);
        }
    }
}

static void stop(struct daemon *daemon, const char *reason)
{
    struct stopper stopper = {daemon->sensor, reason, eventfd(0, EFD_CLOEXEC)};
    wvu_thread thread;
    wvu_log_info(WVU_LOG_MAIN, "stopping: %s", reason);
    notify_stopping(daemon, reason);
    wvu_port_socket_refuse(daemon->port);
    wvu_port_command_refuse(daemon->command_port);
    if (stopper.done >= 0 &&
        wvu_thread_start(&thread, "wvu-stop", stop_sensor, &stopper) == WVU_STATUS_OK) {
        watch_stopper(daemon, stopper.done);
        wvu_thread_join(&thread);
    } else {
        wvu_sensor_stop(daemon->sensor, reason); /* then no signal can hasten it */
    }
    if (stopper.done >= 0)
        close(stopper.done);
    wvu_port_command_stop(daemon->command_port);
    wvu_port_socket_stop(daemon->port);
    log_counters(daemon, "stopped after");
}

/* ---- start --------------------------------------------------------------------------------- */

static int fail_start(const char *what, wvu_status status, const char *reason)
{
    wvu_log_error(WVU_LOG_MAIN, "%s: %s", what, reason[0] != '\0' ? reason : wvu_strerror(status));
    return WVU_EXIT_FAILED;
}

static wvu_status create_sensor(struct daemon *daemon)
{
    const struct wvu_sensor_settings settings = {
        .host_kind = WVU_HOST_LINUX,
        .host_id = daemon->identity.host_id,
        .host_name = daemon->identity.host_name,
        .system_version = daemon->identity.system_version,
        .configuration = daemon->configuration,
        .queue_records = daemon->config.queue_records,
        .queue_bytes = daemon->config.queue_bytes,
        .send_timeout_ms = daemon->config.send_timeout_ms,
        .drain_ms = daemon->config.drain_ms,
        .port = wvu_port_socket_port(daemon->port),
        .host = &daemon->host,
        .operations = &daemon->operations,
        .filter = daemon->filter,
        .probes = daemon->probes,
    };
    return wvu_sensor_create(&settings, &daemon->sensor);
}

static wvu_status protect_and_open(struct daemon *daemon, char *reason, size_t reason_size)
{
    wvu_status status = WVU_STATUS_OK;
    if (daemon->config.is_protected != 0)
        status = wvu_sensor_protect(daemon->sensor, true, reason);
    if (status == WVU_STATUS_OK)
        status = wvu_port_socket_start(daemon->port, wvu_sensor_dispatcher(daemon->sensor), reason,
                                       reason_size);
    if (status == WVU_STATUS_OK)
        status = wvu_port_command_start(daemon->command_port, daemon->sensor, reason, reason_size);
    return status;
}

/* Everything the daemon needs, in order; undone in reverse. The sensor runs when `serve` is reached. */
static int run(struct daemon *daemon)
{
    char reason[WVU_REASON_MAX] = "";
    int exit_status = WVU_EXIT_FAILED;
    wvu_status status =
        wvu_run_dir_open(&daemon->run_dir, daemon->config.run_dir, reason, sizeof reason);
    if (status != WVU_STATUS_OK) {
        fail_start("wvud cannot start", status, reason);
        /* Another directory would not help somebody who may not trace the kernel either. */
        return status == WVU_STATUS_ACCESS_DENIED && wvu_rights_are_missing() ? fail_for_rights()
                                                                              : WVU_EXIT_FAILED;
    }

    const struct wvu_port_socket_settings port_settings = {
        .run_dir = &daemon->run_dir,
        .has_group = daemon->has_group,
        .group = daemon->group,
        .changed = reader_changed,
        .context = daemon,
    };
    status = wvu_port_socket_create(&port_settings, &daemon->port, reason, sizeof reason);
    if (status != WVU_STATUS_OK) {
        fail_start("the port cannot be made", status, reason);
        goto close_run_dir;
    }
    const struct wvu_port_command_settings command_settings = {
        .run_dir = &daemon->run_dir,
        .has_group = daemon->has_group,
        .group = daemon->group,
        .key_of = key_of,
        .answered = command_answered,
        .context = &daemon->host,
    };
    status =
        wvu_port_command_create(&command_settings, &daemon->command_port, reason, sizeof reason);
    if (status != WVU_STATUS_OK) {
        fail_start("the command port cannot be made", status, reason);
        goto destroy_port;
    }
    const struct wvu_source_settings source_settings = {
        .ring_bytes = daemon->config.ring_bytes,
        .processes = daemon->config.processes,
    };
    status = wvu_source_create(&source_settings, &daemon->host.source);
    if (status != WVU_STATUS_OK) {
        fail_start("the kernel event source cannot be made", status, reason);
        goto destroy_command_port;
    }
    status = create_sensor(daemon);
    if (status != WVU_STATUS_OK) {
        fail_start("the sensor cannot be made", status, reason);
        goto destroy_source;
    }
    status = wvu_sensor_start(daemon->sensor);
    if (status != WVU_STATUS_OK) {
        fail_start("the sensor cannot start", status, reason);
        goto destroy_sensor;
    }
    exit_status = check_probes(daemon);
    if (exit_status != WVU_EXIT_CLEAN)
        goto stop_the_sensor;
    status = protect_and_open(daemon, reason, sizeof reason);
    if (status != WVU_STATUS_OK) {
        exit_status = fail_start("the sensor cannot serve", status, reason);
        goto stop_the_sensor;
    }
    wvu_log_info(WVU_LOG_MAIN, "ready: readers connect to %s/%s, commands go to %s/%s%s",
                 daemon->run_dir.path, WVU_PORT_FILE, daemon->run_dir.path, WVU_COMMAND_FILE,
                 daemon->config.is_protected != 0 ? "; protected: it refuses to stop" : "");
    notify_status(daemon, "READY=1\n");
    if (!serve(daemon, reason, sizeof reason))
        exit_status = WVU_EXIT_FAILED;
    stop(daemon, reason);

stop_the_sensor:
    wvu_sensor_stop(daemon->sensor, "it could not start"); /* nothing to do after `stop` */
    wvu_port_command_stop(daemon->command_port);
    wvu_port_socket_stop(daemon->port);
destroy_sensor:
    wvu_sensor_destroy(daemon->sensor);
destroy_source:
    wvu_source_destroy(daemon->host.source);
destroy_command_port:
    wvu_port_command_destroy(daemon->command_port);
destroy_port:
    wvu_port_socket_destroy(daemon->port);
close_run_dir:
    wvu_run_dir_close(&daemon->run_dir);
    return exit_status;
}

/* The configuration as it counts; false when it is wrong, which was then said. */
static bool configure(struct daemon *daemon, bool *file_found)
{
    struct wvu_config_error error;
    wvu_status status =
        wvu_options_load(daemon->options, probe_names(), &daemon->config, file_found, &error);
    if (status == WVU_STATUS_OK)
        status = wvu_config_find_group(&daemon->config, daemon->options->config_path,
                                       &daemon->has_group, &daemon->group, &error);
    if (status == WVU_STATUS_OK)
        status = wvu_filter_file_read(&daemon->config, daemon->filter, &error);
    if (status == WVU_STATUS_OK)
        return true;
    fprintf(stderr, "wvud: %s\n", error.text);
    return false;
}

static void print_configuration(const struct daemon *daemon)
{
    char text[WVU_CONFIG_TEXT_MAX];
    wvu_config_format(&daemon->config, daemon->options->config_path, text, sizeof text);
    puts(text);
}

static int start(struct daemon *daemon, bool file_found)
{
    daemon->started_at = wvu_os_uptime();
    wvu_config_format(&daemon->config, NULL, daemon->configuration, sizeof daemon->configuration);
    wvu_log_configure(daemon->config.log_modules, daemon->config.log_level);
    wvu_identity_read(&daemon->identity);
    wvu_log_info(WVU_LOG_MAIN, "wvud " WVU_VERSION " starts on %s, %s", daemon->identity.host_name,
                 daemon->identity.system_version);
    log_configuration(daemon, file_found);
    choose_probes(daemon);
    fill_operations(daemon);

    wvu_status status = wvu_mutex_init(&daemon->status_lock);
    if (status != WVU_STATUS_OK)
        return fail_start("wvud cannot start", status, "");
    int exit_status = WVU_EXIT_FAILED;
    status = open_signals(daemon);
    if (status == WVU_STATUS_OK)
        exit_status = run(daemon);
    else
        fail_start("signals cannot be received", status, "");
    close_signals(daemon);
    wvu_mutex_destroy(&daemon->status_lock);
    return exit_status;
}

int main(int argc, char **argv)
{
    static struct daemon daemon; /* too large for a stack that must not grow */
    struct wvu_options options;
    int exit_status;
    bool file_found;

    mallopt(M_ARENA_MAX, 1); /* no arena for each thread: memory use is fixed after the start */
    umask(022);
    wvu_log_sink_init();
    if (wvu_options_parse(&options, argc, argv, &exit_status)) {
        daemon.options = &options;
        if (!configure(&daemon, &file_found))
            exit_status = WVU_EXIT_USAGE;
        else if (options.check)
            print_configuration(&daemon);
        else
            exit_status = start(&daemon, file_found);
    }
    wvu_options_free(&options);
    return exit_status;
}
