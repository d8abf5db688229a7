/*
 * Loaded drivers: load, unload, and that nothing is outstanding afterwards.
 *
 * The DRIVER_OBJECT ends at an unmapped page. Loading and unloading happen in the thread that asks, as
 * in a system thread of Windows; at most one at a time (`load_lock`). The list of drivers is read by
 * any thread: entries are published whole and freed never.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel.h"

#define PAGE 4096u

struct nt_driver *nt_drivers;
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;

struct nt_driver *nt_driver_at(uintptr_t address)
{
    struct nt_driver *driver = __atomic_load_n(&nt_drivers, __ATOMIC_ACQUIRE);
    for (; driver != NULL; driver = driver->next) {
        if (driver->loaded && nt_image_contains(&driver->image, address))
            return driver;
    }
    return NULL;
}

const struct nt_image *nt_image_at(uintptr_t address)
{
    const struct nt_driver *driver = nt_driver_at(address);
    return driver != NULL ? &driver->image : NULL;
}

static DRIVER_OBJECT *make_object(const struct nt_driver *driver)
{
    uint8_t *pages =
        mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        abort();
    mprotect(pages + PAGE, PAGE, PROT_NONE);
    DRIVER_OBJECT *object = (DRIVER_OBJECT *)(void *)(pages + PAGE - sizeof *object);
    object->Type = 4;
    object->Size = sizeof *object;
    object->DriverStart = driver->image.base;
    object->DriverSize = driver->image.size;
    return object;
}

static void destroy_object(DRIVER_OBJECT *object)
{
    munmap((uint8_t *)object + sizeof *object - PAGE, 2 * PAGE);
}

void nt_check_nothing_outstanding(void)
{
    /* A thread that was just joined may not have left the tables yet. */
    pthread_mutex_lock(&nt_lock);
    size_t threads = nt_driver_threads();
    pthread_mutex_unlock(&nt_lock);
    if (threads != 0)
        nt_broken(NT_RULE_LEAK_THREAD, "%zu threads of the driver run", threads);
    nt_ps_check_leaks();
    nt_cm_check_leaks();
    nt_flt_check_leaks();
    nt_timers_check_leaks();
    nt_objects_check_leaks();
    nt_pool_check_leaks();
}

static void remove_driver(struct nt_driver *driver)
{
    nt_check_nothing_outstanding();
    uintptr_t begin = (uintptr_t)driver->image.base;
    pthread_mutex_lock(&nt_lock);
    nt_ke_forget(begin, begin + driver->image.size);
    nt_locks_forget(begin, begin + driver->image.size);
    pthread_mutex_unlock(&nt_lock);
    nt_image_unload(&driver->image);
    driver->loaded = false;
    destroy_object(driver->object);
    driver->object = NULL;
    nt_string_free(&driver->registry_path);
}

NTSTATUS nt_load(const char *path, struct nt_driver **out)
{
    struct nt_driver *driver = calloc(1, sizeof *driver);
    *out = NULL;
    if (driver == NULL)
        abort();
    pthread_mutex_lock(&load_lock);
    NTSTATUS status = nt_image_load(path, &driver->image);
    if (status != STATUS_SUCCESS) {
        free(driver);
        goto out;
    }
    driver->registry_path = nt_string_of(NT_SERVICE_KEY);
    driver->object = make_object(driver);
    driver->loaded = true;
    driver->next = nt_drivers;
    __atomic_store_n(&nt_drivers, driver, __ATOMIC_RELEASE);

    DRIVER_INITIALIZE entry_point =
        (DRIVER_INITIALIZE)(uintptr_t)(driver->image.base + driver->image.entry);
    driver->object->DriverInit = entry_point;
    struct nt_entry entry = nt_enter_driver("DriverEntry");
    status = entry_point(driver->object, &driver->registry_path);
    nt_leave_driver(&entry);
    /* The I/O manager looks at NT_SUCCESS: STATUS_TIMEOUT, for one, would leave the driver loaded. */
    if (status < 0) {
        remove_driver(driver);
    } else {
        nt_image_discard(&driver->image);
        *out = driver;
    }
out:
    pthread_mutex_unlock(&load_lock);
    return status;
}

static void check_unload_hook(const struct nt_driver *driver)
{
    uintptr_t hook = (uintptr_t)driver->object->DriverUnload;
    if (hook == 0)
        nt_broken(NT_RULE_CALLBACK, "the driver cannot be unloaded: DriverUnload is not set");
    if (nt_flt_registered() && hook != (uintptr_t)nt_flt_unload_hook())
        nt_broken(NT_RULE_CALLBACK, "the driver replaced the Filter Manager's DriverUnload");
}

static void end_driver(struct nt_driver *driver)
{
    if (nt_flt_registered()) {
        uintptr_t hook = (uintptr_t)nt_flt_unload_hook();
        (void)nt_call_filter_unload(FLTFL_FILTER_UNLOAD_MANDATORY);
        if ((uintptr_t)driver->object->DriverUnload != hook)
            nt_broken(NT_RULE_CALLBACK, "unloaded, and DriverUnload is not the Filter Manager's");
    } else {
        struct nt_entry entry = nt_enter_driver("DriverUnload");
        driver->object->DriverUnload(driver->object);
        nt_leave_driver(&entry);
    }
    remove_driver(driver);
}

void nt_unload(struct nt_driver *driver)
{
    pthread_mutex_lock(&load_lock);
    check_unload_hook(driver);
    end_driver(driver);
    pthread_mutex_unlock(&load_lock);
}

NTSTATUS nt_service_stop(struct nt_driver *driver)
{
    /* "If the driver ... has no DriverUnload callback routine ..." ("ZwUnloadDriver"). */
    if (driver->object->DriverUnload == NULL)
        return STATUS_INVALID_DEVICE_REQUEST;
    nt_unload(driver);
    return STATUS_SUCCESS;
}

void nt_force_unload(struct nt_driver *driver)
{
    pthread_mutex_lock(&load_lock);
    end_driver(driver);
    pthread_mutex_unlock(&load_lock);
}

NTSTATUS nt_filter_unload(struct nt_driver *driver)
{
    pthread_mutex_lock(&load_lock);
    void *hook = nt_flt_unload_hook();
    NTSTATUS status = nt_call_filter_unload(0);
    if (status >= 0) {
        /* It goes on with the driver object: the routine must be there again. */
        if ((uintptr_t)driver->object->DriverUnload != (uintptr_t)hook)
            nt_broken(NT_RULE_CALLBACK, "unloaded, and DriverUnload is not the Filter Manager's");
        remove_driver(driver);
    }
    pthread_mutex_unlock(&load_lock);
    return status;
}

void nt_print_image(const struct nt_driver *driver)
{
    printf("image %p to %p\n", (void *)driver->image.base,
           (void *)(driver->image.base + driver->image.size));
}

void nt_init(void)
{
    nt_threads_init();
    nt_keys_init();
    nt_exports_init();
    nt_pool_init();
    nt_user_init();
    nt_objects_init();
    nt_traps_init();
    struct nt_thread *thread = nt_thread_attach("main", NULL);
    thread->main = true;
    nt_ps_init();
    nt_registry_reset();
}
