/*
 * The image probe: programs, libraries and drivers that are mapped for execution.
 *
 * The system calls the routine "at PASSIVE_LEVEL inside a critical region with normal kernel APCs
 * always disabled and sometimes with both kernel and special APCs disabled"
 * ("PLOAD_IMAGE_NOTIFY_ROUTINE"), before the image's entry point runs. It fills a record and
 * returns.
 *
 * The machine type is not told; it is read from the image's header, guarded, and only when the
 * header is addressable here: in the process that maps the image, or in system space. The page also
 * warns of routines that work on user address space up to Windows 7; reading is not among them.
 *
 * State: as in probe_process.c.
 */
#include <string.h>

#include "format.h"
#include "guarded.h"
#include "log.h"
#include "nt.h"
#include "nt_host.h"
#include "process_identity.h"
#include "routines.h"

#define REASON_SIZE 256

/* "PE Format": IMAGE_DOS_HEADER.e_lfanew, and IMAGE_FILE_HEADER.Machine behind the signature. */
#define DOS_MAGIC       0x5A4Du
#define NT_SIGNATURE    0x4550u
#define LFANEW_OFFSET   0x3C
#define LFANEW_MAX      0x10000u
#define SIGNATURE_BYTES 4

static struct wvu_probe *the_probe;

static bool read_mapped(const void *base, size_t image_size, size_t offset, void *to, size_t size)
{
    return offset + size <= image_size &&
           NT_SUCCESS(wvu_copy_mapped(to, (const char *)base + offset, size));
}

/* 0 when it cannot be read. */
static uint32_t machine_of(const IMAGE_INFO *info)
{
    uint16_t magic, machine;
    uint32_t header, signature;
    if (!read_mapped(info->ImageBase, info->ImageSize, 0, &magic, sizeof magic) ||
        magic != DOS_MAGIC ||
        !read_mapped(info->ImageBase, info->ImageSize, LFANEW_OFFSET, &header, sizeof header) ||
        header > LFANEW_MAX ||
        !read_mapped(info->ImageBase, info->ImageSize, header, &signature, sizeof signature) ||
        signature != NT_SIGNATURE ||
        !read_mapped(info->ImageBase, info->ImageSize, header + SIGNATURE_BYTES, &machine,
                     sizeof machine))
        return 0;
    return machine;
}

static void fill_process(struct wvu_image_load *event, const struct wvu_nt_host *host,
                         HANDLE process_id, bool *current)
{
    PEPROCESS process;
    event->record.process_id = (uint32_t)(uintptr_t)process_id;
    *current = false;
    if (!NT_SUCCESS(PsLookupProcessByProcessId(process_id, &process)))
        return;
    event->record.process_key = wvu_process_key(process, process_id);
    event->eprocess = wvu_nt_host_name_object(host, process);
    if (event->eprocess != 0)
        event->record.present |= WVU_PRESENT(wvu_image_load, EProcess);
    *current = process == IoGetCurrentProcess(); /* attached or not: whose addresses these are */
    ObDereferenceObject(process);
}

static void fill_image(struct wvu_image_load *event, const struct wvu_nt_host *host,
                       HANDLE process_id, const IMAGE_INFO *info)
{
    bool kernel = (info->Properties & WVU_IMAGE_SYSTEM_MODE) != 0;
    bool readable = kernel;
    event->record.flags |= WVU_RECORD_UTF16;
    event->record.present =
        WVU_PRESENT(wvu_image_load, ImageSize) | WVU_PRESENT(wvu_image_load, ThreadId) |
        WVU_PRESENT(wvu_image_load, KernelImage) | WVU_PRESENT(wvu_image_load, SigningLevel) |
        WVU_PRESENT(wvu_image_load, SigningType);
    event->image_size = info->ImageSize;
    event->thread_id = (uint32_t)(uintptr_t)PsGetCurrentThreadId();
    event->kernel_image = kernel ? 1 : 0;
    event->signing_level = WVU_IMAGE_SIGNATURE_LEVEL(info->Properties);
    event->signing_type = WVU_IMAGE_SIGNATURE_TYPE(info->Properties);
    if (!kernel) { /* where the kernel put a driver is nobody's business */
        event->image_base = (uint64_t)(uintptr_t)info->ImageBase;
        event->record.present |= WVU_PRESENT(wvu_image_load, ImageBase);
        fill_process(event, host, process_id, &readable);
    }
    if (readable)
        event->machine_type = machine_of(info);
    if (event->machine_type != 0)
        event->record.present |= WVU_PRESENT(wvu_image_load, MachineType);
}

/* ---- the system's call: PASSIVE ------------------------------------------------------------------
 */

/* Drivers are in no process: rules without conditions are those that speak of them. */
static uint32_t wanted_of(struct wvu_probe *probe, HANDLE process_id, const IMAGE_INFO *info)
{
    const struct wvu_nt_host *host = probe->host;
    if ((info->Properties & WVU_IMAGE_SYSTEM_MODE) == 0)
        return wvu_process_table_wanted(host->processes, (uint32_t)(uintptr_t)process_id);
    const struct wvu_subject nothing = {.unit = sizeof(WCHAR)};
    struct wvu_verdict verdict;
    wvu_sensor_judge(probe->sensor, &nothing, &verdict);
    return verdict.wanted;
}

static void report(struct wvu_probe *probe, PUNICODE_STRING name, HANDLE process_id,
                   PIMAGE_INFO info)
{
    struct wvu_text_source text = {
        .member = offsetof(struct wvu_image_load, full_image_name),
        .unit = sizeof(WCHAR),
    };
    if (name != NULL && name->Buffer != NULL) {
        text.size = text.head = text.full_size = name->Length & ~1u;
        text.bytes = text.size != 0 ? name->Buffer : NULL;
    }
    struct wvu_record_plan plan;
    wvu_record_plan(&plan, WVU_EVENT_ImageLoad, sizeof(struct wvu_image_load), &text, 1);
    struct wvu_image_load *event = wvu_probe_reserve(probe, &plan, NULL);
    if (event != NULL) {
        fill_image(event, probe->host, process_id, info);
        if (text.size != 0)
            event->record.present |= WVU_PRESENT(wvu_image_load, FullImageName);
        wvu_record_fill_texts(&event->record, &plan, &text);
        wvu_probe_commit(probe, &event->record);
        wvu_probe_wake(probe);
    }
}

_IRQL_requires_max_(PASSIVE_LEVEL) static VOID NTAPI
    on_image(PUNICODE_STRING name, HANDLE process_id, PIMAGE_INFO info)
{
    struct wvu_probe *probe = the_probe;
    if (!wvu_probe_enter(probe))
        return;
    uint64_t begun = wvu_probe_time_begin(probe);
    if (wvu_probe_wants(probe, WVU_EVENT_ImageLoad, wanted_of(probe, process_id, info)))
        report(probe, name, process_id, info);
    wvu_probe_time_end(probe, begun);
    wvu_probe_leave(probe);
}

/* ---- start and stop: PASSIVE, under the probe's control mutex ----------------------------------- */

static wvu_status start(struct wvu_probe *probe, char *reason)
{
    the_probe = probe;
    NTSTATUS status = STATUS_NOT_SUPPORTED;
    if (wvu_routines.set_load_image_notify_ex != NULL)
        status = wvu_routines.set_load_image_notify_ex(on_image,
                                                       WVU_IMAGE_NOTIFY_CONFLICTING_ARCHITECTURE);
    if (!NT_SUCCESS(status))
        status = PsSetLoadImageNotifyRoutine(on_image);
    if (NT_SUCCESS(status))
        return WVU_STATUS_OK;
    (void)wvu_format(reason, REASON_SIZE,
                     "no image routine could be registered (0x%08x); the system has a limit of 64 "
                     "such routines (8 before 2014)",
                     (unsigned)status);
    return WVU_STATUS_NO_RESOURCES;
}

static void stop(struct wvu_probe *probe)
{
    (void)probe;
    NTSTATUS status = PsRemoveLoadImageNotifyRoutine(on_image);
    if (!NT_SUCCESS(status))
        wvu_log_error(WVU_LOG_MODULE, "the image routine could not be removed (0x%08x)",
                      (unsigned)status);
}

static const uint16_t events[] = {WVU_EVENT_ImageLoad, 0};

const struct wvu_probe_definition wvu_image_probe = {
    .name = "ImageLoad",
    .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
    .events = events,
    .start = start,
    .stop = stop,
};
