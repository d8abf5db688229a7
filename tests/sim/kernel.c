/*
 * The simulated kernel. Producers are coroutines that have events at random moments; while a probe has its
 * callbacks registered they report through it, exactly as a probe's callback must (probe.h), and are held
 * to promise 1: between callback_begin and callback_end the simulated host refuses to wait or allocate.
 *
 * A producer can stop anywhere in a callback for up to KERNEL_STALL_MAX_NS, as a thread does that loses its
 * processor. A probe's stop does not wait for running callbacks (probe.h: the base waits them out); the
 * kernel itself waits for them before the driver may go (kernel_wait_callbacks).
 */
#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher.h"
#include "os_sim.h"
#include "sensor.h"

#define TEXT_MAX 70000u

/* ---- probes ------------------------------------------------------------------------------------------- */

static uint32_t index_of(const struct wvu_probe *probe)
{
    uint32_t index = 0;

    while (kernel_probes[index] != probe->definition)
        index++;
    return index;
}

static wvu_status probe_start(struct wvu_probe *probe, char *reason)
{
    struct kernel *kernel = probe->host;

    (void)reason;
    kernel->registered[index_of(probe)] = probe;
    if (wvu_sim_odds(2))
        wvu_sim_sleep(wvu_sim_random(WVU_SIM_MS)); /* events come already */
    return WVU_STATUS_OK;
}

static void probe_stop(struct wvu_probe *probe)
{
    struct kernel *kernel = probe->host;

    if (wvu_sim_odds(2))
        wvu_sim_sleep(wvu_sim_random(WVU_SIM_MS));
    kernel->registered[index_of(probe)] = NULL;
}

static wvu_status broken_start(struct wvu_probe *probe, char *reason)
{
    (void)probe;
    snprintf(reason, 256, "there is no such thing here");
    return WVU_STATUS_NOT_SUPPORTED;
}

static void probe_configured(struct wvu_probe *probe)
{
    struct kernel *kernel = probe->host;

    kernel->configured++;
}

static const struct wvu_setting probe_settings[] = {
    [KERNEL_SETTING_PACE] = {.name = "pace", .least = 1, .most = 30, .usual = 10},
    {.name = NULL},
};

static wvu_status clock_run(struct wvu_probe *probe)
{
    struct kernel *kernel = probe->host;

    kernel->runs++;
    wvu_sim_sleep(wvu_sim_random(WVU_SIM_MS));
    return wvu_sim_odds(10) ? WVU_STATUS_IO_ERROR : WVU_STATUS_OK;
}

static const struct wvu_probe_definition definitions[KERNEL_PROBES] = {
    [KERNEL_PROBE_A] = {.name = "A",
                        .attributes =
                            WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START | WVU_PROBE_DYNAMIC,
                        .start = probe_start,
                        .stop = probe_stop},
    [KERNEL_PROBE_B] = {.name = "B",
                        .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_DYNAMIC,
                        .start = probe_start,
                        .stop = probe_stop,
                        .settings = probe_settings,
                        .configured = probe_configured},
    [KERNEL_PROBE_CLOCK] = {.name = "Clock",
                            .attributes = WVU_PROBE_TEMPORAL | WVU_PROBE_DYNAMIC,
                            .interval_ns = 10 * WVU_SIM_MS,
                            .start = probe_start,
                            .stop = probe_stop,
                            .settings = probe_settings,
                            .configured = probe_configured,
                            .run = clock_run},
    [KERNEL_PROBE_BROKEN] = {.name = "Broken",
                             .attributes = WVU_PROBE_REAL_TIME | WVU_PROBE_ENABLED_AT_START,
                             .start = broken_start,
                             .stop = probe_stop},
};
const struct wvu_probe_definition *const kernel_probes[] = {
    &definitions[KERNEL_PROBE_A], &definitions[KERNEL_PROBE_B], &definitions[KERNEL_PROBE_CLOCK],
    &definitions[KERNEL_PROBE_BROKEN], NULL};

/* ---- one event ------------------------------------------------------------------------------------------ */

static void maybe_stall(struct kernel *kernel)
{
    if (kernel->stall_odds == 0 || !wvu_sim_odds(kernel->stall_odds))
        return;
    kernel->stalled++;
    wvu_sim_stall(1 + wvu_sim_random(KERNEL_STALL_MAX_NS));
    kernel->stalled--;
}

struct layout {
    uint16_t fixed_size;
    uint32_t texts;
    uint16_t member[2];
    uint16_t unit[2];
};

static const struct layout layouts[SHAPES] = {
    [SHAPE_BARE] = {.fixed_size = sizeof(struct wvu_record)},
    [SHAPE_DESTROY] = {.fixed_size = sizeof(struct wvu_process_destroy)},
    [SHAPE_IMAGE] = {.fixed_size = sizeof(struct wvu_image_load),
                     .texts = 2,
                     .member = {offsetof(struct wvu_image_load, full_image_name),
                                offsetof(struct wvu_image_load, build_id)},
                     .unit = {1, 1}},
    [SHAPE_CREATE] = {.fixed_size = sizeof(struct wvu_process_create),
                      .texts = 2,
                      .member = {offsetof(struct wvu_process_create, image_file_name),
                                 offsetof(struct wvu_process_create, command_line)},
                      .unit = {1, 2}},
};

static void fill_fixed(struct wvu_record *record, const struct truth_event *event)
{
    record->process_id = event->producer;
    record->process_key = event->serial;
    record->present = 1;
    switch (event->shape) {
    case SHAPE_DESTROY: {
        struct wvu_process_destroy *destroy = (struct wvu_process_destroy *)(void *)record;

        destroy->eprocess = ~event->serial;
        destroy->exit_code = event->producer;
        destroy->signal = 9;
        break;
    }
    case SHAPE_IMAGE: {
        struct wvu_image_load *image = (struct wvu_image_load *)(void *)record;

        image->image_base = ~event->serial;
        image->machine_type = event->producer;
        break;
    }
    case SHAPE_CREATE: {
        struct wvu_process_create *create = (struct wvu_process_create *)(void *)record;

        create->parent_process_key = ~event->serial;
        create->unique_thread = event->producer;
        break;
    }
    default:
        break;
    }
}

static void make_texts(const struct producer *producer, const struct truth_event *event,
                       const struct layout *layout, struct wvu_text_source sources[2])
{
    for (uint32_t t = 0; t < layout->texts; t++) {
        for (uint32_t i = 0; i < event->text_size[t]; i++)
            producer->texts[t][i] = truth_text_byte(event, t, i);
        sources[t] = (struct wvu_text_source){.member = layout->member[t],
                                              .unit = layout->unit[t],
                                              .size = event->text_size[t],
                                              .head = event->text_size[t],
                                              .full_size = event->text_size[t],
                                              .bytes = producer->texts[t]};
    }
}

/* The callback: from here to its end nothing may wait. */
static void report(struct kernel *kernel, struct wvu_probe *probe, const struct truth_event *event,
                   const struct layout *layout, const struct wvu_text_source *sources, bool wake)
{
    struct wvu_record_plan plan;
    struct wvu_record *record;
    struct truth_event *accepted;

    if (!wvu_probe_enter(probe)) {
        kernel->refused++;
        return;
    }
    wvu_record_plan(&plan, truth_type((enum event_shape)event->shape), layout->fixed_size, sources,
                    layout->texts);
    record = wvu_probe_reserve(probe, &plan, &event->stamp);
    if (record != NULL) {
        accepted = truth_accepted(kernel->truth, record->sequence);
        kernel->bytes += plan.size;
        memcpy(accepted, event, sizeof(*event));
        accepted->known = true;
        accepted->size = plan.size;
        maybe_stall(kernel);
        fill_fixed(record, event);
        wvu_record_fill_texts(record, &plan, sources);
        maybe_stall(kernel);
        accepted->committed = true;
        wvu_probe_commit(probe, record);
        maybe_stall(kernel);
    } else {
        truth_not_numbered(kernel->truth, WVU_LOSS_QUEUE_BUSY,
                           truth_type((enum event_shape)event->shape), 1);
    }
    if (wake)
        wvu_probe_wake(probe);
    wvu_probe_leave(probe);
}

void kernel_event(struct kernel *kernel, enum kernel_probe number, struct producer *producer,
                  enum event_shape shape, uint32_t text_size, bool wake)
{
    struct wvu_probe *probe = kernel->registered[number];
    struct wvu_text_source sources[2];
    struct truth_event event = {
        .shape = (uint8_t)shape, .producer = producer->number, .serial = ++producer->serial};

    if (probe == NULL) {
        kernel->refused++;
        return;
    }
    kernel->inside[number]++;
    event.stamp.time = wvu_os_system_time();
    event.stamp.uptime = wvu_os_uptime();
    event.text_size[0] = text_size - text_size / 3;
    event.text_size[1] = text_size / 3 & ~1u;
    make_texts(producer, &event, &layouts[shape], sources);
    kernel->events++;
    wvu_sim_callback_begin();
    report(kernel, probe, &event, &layouts[shape], sources, wake);
    wvu_sim_callback_end();
    kernel->inside[number]--;
}

/* ---- producers -------------------------------------------------------------------------------------------- */

/* Mostly small, now and then up to more than a record can hold. */
static uint32_t random_text_size(const struct kernel *kernel)
{
    uint64_t limit = wvu_sim_odds(12) ? kernel->largest_text : 120;

    return (uint32_t)wvu_sim_random(limit + 1);
}

static enum event_shape random_shape(const struct kernel *kernel)
{
    bool either = wvu_sim_odds(2);

    if (wvu_sim_odds(kernel->guaranteed_odds))
        return either ? SHAPE_DESTROY : SHAPE_CREATE;
    return either ? SHAPE_BARE : SHAPE_IMAGE;
}

static void lose_some(struct kernel *kernel, enum kernel_probe number)
{
    struct wvu_probe *probe = kernel->registered[number];
    uint64_t count = 1 + wvu_sim_random(1000);
    uint16_t type = wvu_sim_odds(2) ? WVU_EVENT_NONE : WVU_EVENT_ProcessCreate;

    if (probe == NULL)
        return;
    kernel->inside[number]++;
    wvu_sim_callback_begin();
    if (wvu_probe_enter(probe)) {
        wvu_probe_count_loss(probe, WVU_LOSS_KERNEL_RING, type, count);
        truth_not_numbered(kernel->truth, WVU_LOSS_KERNEL_RING, type, count);
        wvu_probe_wake(probe);
        wvu_probe_leave(probe);
    }
    wvu_sim_callback_end();
    kernel->inside[number]--;
}

static void burst(struct producer *producer)
{
    struct kernel *kernel = producer->kernel;
    enum kernel_probe number = wvu_sim_odds(3) ? KERNEL_PROBE_B : KERNEL_PROBE_A;
    uint64_t events = 1 + wvu_sim_random(kernel->burst);
    bool wake_once = wvu_sim_odds(2);

    for (uint64_t i = 1; i <= events; i++)
        kernel_event(kernel, number, producer, random_shape(kernel), random_text_size(kernel),
                     !wake_once || i == events);
    if (!kernel->quiet && wvu_sim_odds(20))
        lose_some(kernel, number);
}

/* A source with a buffer of its own waits for a reader that makes progress. */
static void maybe_hold(struct kernel *kernel)
{
    if (kernel->quiet || kernel->sensor == NULL || !wvu_sim_odds(2))
        return;
    if (wvu_dispatcher_should_hold(wvu_sensor_dispatcher(kernel->sensor)))
        wvu_sim_sleep(5 * WVU_SIM_MS);
}

static void produce(void *context)
{
    struct producer *producer = context;
    struct kernel *kernel = producer->kernel;

    for (uint32_t i = 0; i < producer->bursts && !kernel->must_end; i++) {
        burst(producer);
        maybe_hold(kernel);
        if (wvu_sim_odds(2))
            wvu_sim_sleep(wvu_sim_random(kernel->gap_ns + 1));
    }
}

wvu_status kernel_prepare(struct kernel *kernel, struct truth *truth)
{
    memset(kernel, 0, sizeof(*kernel));
    kernel->truth = truth;
    kernel->largest_text = TEXT_MAX;
    kernel->burst = 1;
    kernel->guaranteed_odds = 2;
    for (uint32_t i = 0; i < KERNEL_PRODUCERS_MAX; i++) {
        struct producer *producer = &kernel->producer[i];

        producer->kernel = kernel;
        producer->number = i + 1;
        for (uint32_t t = 0; t < 2; t++) {
            producer->texts[t] = malloc(TEXT_MAX);
            if (producer->texts[t] == NULL)
                return WVU_STATUS_NO_MEMORY;
        }
    }
    return WVU_STATUS_OK;
}

void kernel_destroy(struct kernel *kernel)
{
    for (uint32_t i = 0; i < KERNEL_PRODUCERS_MAX; i++) {
        free(kernel->producer[i].texts[0]);
        free(kernel->producer[i].texts[1]);
    }
}

wvu_status kernel_start(struct kernel *kernel, uint32_t producers, uint32_t bursts)
{
    for (kernel->producers = 0; kernel->producers < producers; kernel->producers++) {
        struct producer *producer = &kernel->producer[kernel->producers];
        wvu_status status;
        char name[16];

        producer->bursts = bursts;
        snprintf(name, sizeof(name), "producer %u", producer->number);
        status = wvu_thread_start(&producer->thread, name, produce, producer);
        if (status != WVU_STATUS_OK)
            return status;
    }
    return WVU_STATUS_OK;
}

void kernel_join(struct kernel *kernel)
{
    while (kernel->producers > 0)
        wvu_thread_join(&kernel->producer[--kernel->producers].thread);
}

void kernel_wait_callbacks(struct kernel *kernel)
{
    for (uint32_t i = 0; i < KERNEL_PROBES; i++)
        while (kernel->inside[i] != 0)
            wvu_sim_sleep(WVU_SIM_MS);
}
