/*
 * DriverEntry and unload: what is made in which order, and undone in the reverse one.
 *
 *   load     stack guard, routines, clocks and pool, parameters, machine
 *            FltRegisterFilter, event port (closed), sensor (made), ports (open), sensor (runs),
 *            FltStartFiltering last
 *   unload   ports closed, sensor stops (probes off, callbacks run down, queue drained to a connected
 *            reader), readers go, FltUnregisterFilter, sensor destroyed
 *
 * Both run at PASSIVE_LEVEL in a system thread, never at the same time. The filter has no operation
 * callbacks: file I/O passes it by. It is a minifilter because the ports come with the Filter
 * Manager, and because activity monitors have their place and their altitude there.
 *
 * The Filter Manager sets DriverUnload itself in FltRegisterFilter and calls on_unload from there. Only
 * protection.c touches it: it takes it away while the sensor is protected.
 */
#include <string.h>

#include "flt.h"
#include "format.h"
#include "log.h"
#include "machine.h"
#include "names.h"
#include "nt_host.h"
#include "os_nt.h"
#include "parameters.h"
#include "port_command.h"
#include "port_filter.h"
#include "process_judge.h"
#include "protection.h"
#include "requester.h"
#include "routines.h"
#include "sensor.h"
#include "stack_guard.h"
#include "winvirtue/version.h"

DRIVER_INITIALIZE DriverEntry;

#define PROBES 5
static const struct wvu_probe_definition *const known_probes[PROBES + 1] = {
    &wvu_process_probe,  &wvu_image_probe,      &wvu_thread_probe,
    &wvu_registry_probe, &wvu_validation_probe, NULL,
};
_Static_assert(PROBES <= WVU_PARAMETERS_PROBES_MAX, "parameters.h has a bit for each probe");

/* The driver's data is in memory that never pages. One driver, one of each. */
static struct {
    PFLT_FILTER filter;
    struct wvu_parameters parameters;
    struct wvu_machine machine;
    struct wvu_nt_host host;
    char configuration[512];
    struct wvu_probe_definition definitions[PROBES]; /* as the parameters want them */
    const struct wvu_probe_definition *probes[PROBES + 1];
    struct wvu_port_filter event_port;
    struct wvu_port_command command_port;
    struct wvu_sensor *sensor;
} driver;

/* ---- load -------------------------------------------------------------------------------------- */

/* A probe that the parameters leave out exists and can be started; it just does not start by
 * itself. */
static void choose_probes(void)
{
    for (uint32_t i = 0; i < PROBES; i++) {
        driver.definitions[i] = *known_probes[i];
        if ((driver.parameters.probes >> i & 1) == 0)
            driver.definitions[i].attributes &= ~WVU_PROBE_ENABLED_AT_START;
        driver.probes[i] = &driver.definitions[i];
    }
    driver.probes[PROBES] = NULL;
}

static void make_host(PDRIVER_OBJECT object, PCUNICODE_STRING service_key)
{
    driver.host.driver_object = object;
    wvu_altitude_read(service_key, driver.host.altitude);
    wvu_status status = wvu_os_nt_secret(&driver.host.key, sizeof driver.host.key);
    driver.host.has_key = status == WVU_STATUS_OK;
    if (!driver.host.has_key)
        wvu_log_warning(WVU_LOG_MAIN,
                        "no secret random numbers (0x%08x): events go without EProcess and "
                        "FileObject, because hashes with a known key would give addresses away",
                        (unsigned)status);
}

#if defined(WVU_DEBUG)
/* Breaks into a kernel debugger; never without one, which would be a crash. */
static void break_if_wanted(void)
{
    if (driver.parameters.break_on_load == 0)
        return;
    if (wvu_routines.refresh_debugger_not_present != NULL &&
        !wvu_routines.refresh_debugger_not_present())
        DbgBreakPoint();
    else
        wvu_log_info(WVU_LOG_MAIN, "BreakOnLoad is set, and no kernel debugger is attached");
}
#else
static void break_if_wanted(void)
{
    if (driver.parameters.break_on_load != 0)
        wvu_log_warning(WVU_LOG_MAIN, "BreakOnLoad is set; only a Debug build obeys it");
}
#endif

static void prepare(PDRIVER_OBJECT object, PUNICODE_STRING service_key)
{
    wvu_os_nt_init(); /* the log needs the clock */
    wvu_routines_find();
    wvu_parameters_read(service_key, known_probes, &driver.parameters);
    wvu_log_configure(driver.parameters.log_modules, driver.parameters.log_level);
    break_if_wanted();
    choose_probes();
    (void)wvu_parameters_describe(&driver.parameters, known_probes, driver.configuration,
                                  sizeof driver.configuration);
    wvu_machine_describe(&driver.machine);
    make_host(object, service_key);
    wvu_names_init();
}

/* ---- what commands ask of the host: PASSIVE ------------------------------------------------------ */

static void filter_changed(void *context)
{
    wvu_process_judge_all(context);
}

static size_t counters(void *context, char *text, size_t size)
{
    const struct wvu_nt_host *host = context;
    return wvu_format(text, size, "processes=%u\nprocesses-without-room=%llu",
                      (unsigned)wvu_process_table_count(host->processes),
                      (unsigned long long)wvu_process_table_missed(host->processes));
}

#define SYSTEM_PROCESS_ID 4

static const struct wvu_sensor_host host_operations = {
    .protect = wvu_protection_switch,
    .filter_changed = filter_changed,
    .counters = counters,
    .filter = {.utf16 = true, .ignore_case = true, .spelling = wvu_names_spelling},
    .process_id = SYSTEM_PROCESS_ID,
};

/* ---- the sensor ---------------------------------------------------------------------------------- */

/* A filter that is wrong must not keep the driver from running: then nobody would see anything. */
static const char *usable_filter(void)
{
    struct wvu_filter *filter;
    char reason[256];
    const char *text = driver.parameters.filter;
    if (text == NULL)
        return NULL;
    wvu_status status =
        wvu_filter_create(text, strlen(text), &host_operations.filter, &filter, reason);
    if (status == WVU_STATUS_OK) {
        wvu_filter_destroy(filter);
        return text;
    }
    wvu_log_error(WVU_LOG_MAIN, "parameter Filter: %s (0x%08x): %s; there are no rules",
                  wvu_strerror(status), (unsigned)status, reason);
    return NULL;
}

static wvu_status create_sensor(void)
{
    const struct wvu_sensor_settings settings = {
        .host_kind = WVU_HOST_WINDOWS,
        .host_id = driver.machine.id,
        .host_name = driver.machine.name,
        .system_version = driver.machine.system,
        .configuration = driver.configuration,
        .queue_records = driver.parameters.queue_records,
        .queue_bytes = driver.parameters.queue_bytes,
        .send_timeout_ms = driver.parameters.send_timeout_ms,
        .drain_ms = driver.parameters.drain_ms,
        .port = &driver.event_port.port,
        .host = &driver.host,
        .operations = &host_operations,
        .filter = usable_filter(),
        .probes = driver.probes,
    };
    wvu_status status = wvu_sensor_create(&settings, &driver.sensor);
    driver.host.sensor = driver.sensor;
    return status;
}

/* "DisableUnload", from the start. */
static void protect_if_wanted(void)
{
    char reason[256];
    if (driver.parameters.protect == 0)
        return;
    wvu_status status = wvu_sensor_protect(driver.sensor, true, reason);
    if (status != WVU_STATUS_OK)
        wvu_log_error(WVU_LOG_MAIN, "cannot be protected: %s (0x%08x): %s", wvu_strerror(status),
                      (unsigned)status, reason);
}

static NTSTATUS FLTAPI on_unload(FLT_FILTER_UNLOAD_FLAGS flags);

static const FLT_REGISTRATION registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .FilterUnloadCallback = on_unload,
};

WVU_NT_NO_STACK_GUARD NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object, PUNICODE_STRING service_key)
{
    wvu_stack_guard_init();
    prepare(object, service_key);

    NTSTATUS status = FltRegisterFilter(object, &registration, &driver.filter);
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_MAIN,
                      "FltRegisterFilter failed (0x%08x): is the Instances key below the service "
                      "there, with an altitude?",
                      (unsigned)status);
        goto forget_parameters;
    }
    wvu_protection_init(object);
    status = wvu_port_filter_init(&driver.event_port, driver.filter);
    if (!NT_SUCCESS(status))
        goto unregister;
    status = wvu_process_table_create(&driver.host.processes);
    if (!NT_SUCCESS(status))
        goto destroy_port;
    status = create_sensor();
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_MAIN, "the sensor cannot be made: %s (0x%08x)", wvu_strerror(status),
                      (unsigned)status);
        goto destroy_table;
    }
    status = wvu_port_filter_open(&driver.event_port, wvu_sensor_dispatcher(driver.sensor));
    if (!NT_SUCCESS(status))
        goto destroy_sensor;
    status = wvu_port_command_open(&driver.command_port, driver.filter, driver.sensor);
    if (!NT_SUCCESS(status))
        goto close_event_port;
    status = wvu_sensor_start(driver.sensor);
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_MAIN, "the sensor cannot start: %s (0x%08x)", wvu_strerror(status),
                      (unsigned)status);
        goto close_command_port;
    }
    status = FltStartFiltering(driver.filter);
    if (!NT_SUCCESS(status)) {
        wvu_log_error(WVU_LOG_MAIN, "FltStartFiltering failed (0x%08x)", (unsigned)status);
        goto stop_sensor;
    }
    protect_if_wanted();
    wvu_log_info(WVU_LOG_MAIN, "version " WVU_VERSION " runs on %s", driver.machine.system);
    return STATUS_SUCCESS;

stop_sensor:
    wvu_sensor_stop(driver.sensor, "the driver could not be loaded");
close_command_port:
    wvu_port_command_close(&driver.command_port);
close_event_port:
    wvu_port_filter_close(&driver.event_port);
    wvu_port_filter_end(&driver.event_port);
destroy_sensor:
    wvu_sensor_destroy(driver.sensor);
destroy_table:
    wvu_process_table_destroy(driver.host.processes);
destroy_port:
    wvu_port_filter_destroy(&driver.event_port);
unregister:
    FltUnregisterFilter(driver.filter);
forget_parameters:
    wvu_parameters_forget(&driver.parameters);
    return status;
}

/* ---- unload ------------------------------------------------------------------------------------ */

static bool refuse_unload(FLT_FILTER_UNLOAD_FLAGS flags)
{
    struct wvu_requester requester;
    if (!wvu_sensor_is_protected(driver.sensor) || (flags & FLTFL_FILTER_UNLOAD_MANDATORY) != 0)
        return false;
    wvu_requester_describe(&requester);
    wvu_sensor_report_refused_stop(driver.sensor, &requester, "unload of the filter");
    return true;
}

/* "FilterUnloadCallback": PASSIVE_LEVEL; STATUS_SUCCESS lets the driver go. A mandatory unload cannot be
 * refused; while the sensor is protected, none can be asked for (protection.c). */
static NTSTATUS FLTAPI on_unload(FLT_FILTER_UNLOAD_FLAGS flags)
{
    char reason[256];
    if (refuse_unload(flags))
        return STATUS_FLT_DO_NOT_DETACH;
    wvu_log_info(WVU_LOG_MAIN, "unloading%s",
                 (flags & FLTFL_FILTER_UNLOAD_MANDATORY) != 0 ? " (mandatory)" : "");
    wvu_port_filter_close(&driver.event_port);
    wvu_port_command_close(&driver.command_port); /* no command after this */
    (void)wvu_protection_switch(&driver.host, false, reason);
    wvu_sensor_stop(driver.sensor, "the driver is unloaded");
    wvu_port_filter_end(&driver.event_port);
    FltUnregisterFilter(driver.filter);
    wvu_port_filter_destroy(&driver.event_port);
    wvu_sensor_destroy(driver.sensor);
    wvu_process_table_destroy(driver.host.processes);
    wvu_parameters_forget(&driver.parameters);
    return STATUS_SUCCESS;
}
