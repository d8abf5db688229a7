/*
 * ProbeDataQueue: a ring of bytes with records in their wire form.
 *
 *          head                                        tail
 *           v                                           v
 *   | ...   | C  | C   | B | C   | pad |  C  | B  | C  |   free  ...
 *           |<------ queued: oldest to newest -------->|
 *
 * Each record stands behind a slot (8 bytes: state and stride). head and tail count bytes since the
 * beginning and never go back; head_offset and tail_offset are the same places in the ring. A
 * record never wraps: when it does not fit at the end, a pad fills the end.
 *
 * Producers (any number, any IRQL up to DISPATCH)
 *   reserve, under the lock: discard the oldest records until there is room, write a BUSY slot,
 * give the next number, move tail. Then, without the lock, the producer fills the record in place.
 *   commit, without the lock: the slot becomes COMMITTED (release). From then on the record does
 * not change until it is discarded or taken. Numbers are given in ring order, and what was reserved
 * is always committed, so the ring holds consecutive numbers. A BUSY record cannot be discarded
 * (its producer writes to it). Should the ring fill up behind one, reserve fails and the loss is
 * counted as QUEUE_BUSY.
 *
 * The consumer (one thread)
 *   take: under the lock it notes head and sets `copying`; then, without the lock, it walks
 * COMMITTED records (acquire) and copies them; then, under the lock, it moves head. While `copying`
 * is set nobody discards, so nothing that is copied can change. Producers meanwhile may exceed the
 * bounds, using the slack at the end of the ring, which is there for just that; the next reserve
 * discards back to the bounds.
 *
 * Losses
 *   Discarding takes the oldest records, so what is lost is always one range of numbers that ends
 * right before head. The ledger sums losses by cause and type until they are told: with the range
 * by the next take, or, if only unnumbered losses are there, by a record of their own
 *   (wvu_queue_reserve_losses). A discarded EventsLost record pays its counts back into the
 * ledger.
 *
 * The doorbell
 *   The consumer sleeps only after: armed = 1; full fence; nothing ready. A producer, after its
 *   commits: full fence; armed? then armed = 0 and set the event. Whatever the order, either the
 *   consumer sees the commit or the producer sees `armed`: the two fences make it impossible that
 * both miss. tests/model/queue.pml checks this protocol, and that it fails without either fence.
 * `armed` is taken by exchange, so one sleep costs one set, however many producers ring. A consumer
 * that waits for a time although there are records (to wake less often) arms the doorbell for a half full
 * queue instead: then what it waits for is "half full", by the same protocol.
 *
 * Lock: `lock` guards everything in struct wvu_queue but `armed`, `cut_of` and the slots' states. It
 * is a leaf: nothing is called under it. It is held for some tens of nanoseconds; longer only when
 * one large record pushes many small ones out.
 */
#include "queue.h"

#include <string.h>

#include "atomic.h"
#include "record.h"

#define QUEUE_TAG WVU_TAG('W', 'v', 'Q', 'u')

/* Room beyond the bound in bytes, for what is reserved while the consumer copies: one batch, and
 * what producers add in the meantime. */
#define QUEUE_SLACK (512u << 10)

/* What is written next is still in the consumer's cache, and fetching it from there takes longer than
 * to fill it: so it is asked for two records ahead. */
#define PREFETCH 512u

enum slot_state { SLOT_BUSY = 1, SLOT_COMMITTED = 2, SLOT_PAD = 3 };

struct slot {
    uint32_t state;
    uint32_t stride; /* bytes to the next slot */
};
_Static_assert(sizeof(struct slot) == 8, "records must stay 8-byte aligned");

enum { DISARMED = 0, ARMED = 1, ARMED_HALF_FULL = 2 };

struct ledger {
    uint64_t total;
    uint64_t count[WVU_LOSS_CAUSES][WVU_EVENT_KINDS];
};

struct wvu_queue {
    wvu_lock lock;
    uint64_t head;
    uint64_t tail;
    uint32_t head_offset;
    uint32_t tail_offset;
    uint32_t capacity; /* bytes of the ring, slack included */
    uint32_t byte_bound;
    uint32_t record_bound;
    bool copying;
    uint64_t next_sequence;
    uint64_t queued;
    uint64_t high_water;
    uint64_t lost;
    uint64_t in_flight;
    uint64_t delivered;
    uint64_t unnumbered;
    uint64_t first_lost; /* 0: no untold range; its end is first_sequence_in_ring - 1 */
    uint64_t accepted_of[WVU_EVENT_KINDS];
    uint64_t delivered_of[WVU_EVENT_KINDS];
    struct ledger ledger;
    uint64_t lost_of[WVU_LOSS_CAUSES][WVU_EVENT_KINDS]; /* ever */

    /* Away from the producers' lines: written by the consumer, read by every wake. */
    uint8_t padding[64];
    uint32_t armed;
    wvu_event *doorbell;
    uint64_t cut_of[WVU_EVENT_KINDS];
    uint8_t *ring;
};

static struct slot *slot_at(struct wvu_queue *queue, uint32_t offset)
{
    return (struct slot *)(void *)(queue->ring + offset);
}

static struct wvu_record *record_of(struct slot *slot)
{
    return (struct wvu_record *)(void *)(slot + 1);
}

wvu_status wvu_queue_create(uint32_t records, uint32_t bytes, wvu_event *doorbell,
                            struct wvu_queue **out)
{
    *out = NULL;
    if (records < WVU_QUEUE_RECORDS_MIN || records > WVU_QUEUE_RECORDS_MAX ||
        bytes < WVU_QUEUE_BYTES_MIN || bytes > WVU_QUEUE_BYTES_MAX)
        return WVU_STATUS_INVALID_PARAMETER;

    struct wvu_queue *queue = wvu_os_alloc(sizeof *queue, QUEUE_TAG);
    if (queue == NULL)
        return WVU_STATUS_NO_MEMORY;
    queue->byte_bound = bytes - bytes % 8;
    queue->capacity = queue->byte_bound + QUEUE_SLACK;
    queue->ring = wvu_os_alloc(queue->capacity, QUEUE_TAG);
    if (queue->ring == NULL) {
        wvu_os_free(queue, QUEUE_TAG);
        return WVU_STATUS_NO_MEMORY;
    }
    wvu_lock_init(&queue->lock);
    queue->record_bound = records;
    queue->next_sequence = 1;
    queue->doorbell = doorbell;
    *out = queue;
    return WVU_STATUS_OK;
}

void wvu_queue_destroy(struct wvu_queue *queue)
{
    if (queue == NULL)
        return;
    wvu_os_free(queue->ring, QUEUE_TAG);
    wvu_os_free(queue, QUEUE_TAG);
}

/* ---- losses ---------------------------------------------------------------------------------- */

static uint32_t row_of(uint16_t cause)
{
    return cause < WVU_LOSS_CAUSES ? cause : WVU_LOSS_NONE;
}

static void ledger_add(struct ledger *ledger, uint16_t cause, uint16_t type, uint64_t count)
{
    ledger->count[row_of(cause)][wvu_event_index(type)] += count;
    ledger->total += count;
}

/* Lock held. A loss that happens now; ledger_add alone is for what was counted before. */
static void lose(struct wvu_queue *queue, uint16_t cause, uint16_t type, uint64_t count)
{
    ledger_add(&queue->ledger, cause, type, count);
    queue->lost_of[row_of(cause)][wvu_event_index(type)] += count;
}

/* A record that told losses is itself discarded: they are untold again. */
static void ledger_take_back(struct ledger *ledger, const struct wvu_record *record)
{
    const struct wvu_events_lost *event = (const struct wvu_events_lost *)(const void *)record;
    const uint8_t *base = (const uint8_t *)record;
    for (uint32_t i = 0; i + sizeof(struct wvu_loss) <= event->lost.size;
         i += sizeof(struct wvu_loss)) {
        struct wvu_loss loss;
        memcpy(&loss, base + event->lost.offset + i, sizeof loss);
        ledger_add(ledger, loss.cause, loss.type, loss.count);
    }
}

static void ledger_tell(struct ledger *ledger, struct wvu_loss_report *report)
{
    report->entries = 0;
    if (ledger->total == 0)
        return;
    for (uint32_t cause = 0; cause < WVU_LOSS_CAUSES; cause++) {
        for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++) {
            if (ledger->count[cause][kind] == 0)
                continue;
            report->loss[report->entries++] = (struct wvu_loss){
                .cause = (uint16_t)cause,
                .type = wvu_event_type_at(kind),
                .count = ledger->count[cause][kind],
            };
        }
    }
    memset(ledger, 0, sizeof *ledger);
}

/* ---- producers ---------------------------------------------------------------------------------
 */

static void move_head(struct wvu_queue *queue, uint32_t stride)
{
    queue->head += stride;
    queue->head_offset += stride;
    if (queue->head_offset == queue->capacity)
        queue->head_offset = 0;
}

static void move_tail(struct wvu_queue *queue, uint32_t stride)
{
    queue->tail += stride;
    queue->tail_offset += stride;
    if (queue->tail_offset == queue->capacity)
        queue->tail_offset = 0;
}

/* Lock held. False when the oldest record is still being filled. */
static bool discard_oldest(struct wvu_queue *queue)
{
    struct slot *slot = slot_at(queue, queue->head_offset);
    uint32_t state = wvu_load_acquire(&slot->state);
    if (state == SLOT_BUSY)
        return false;
    if (state == SLOT_COMMITTED) {
        const struct wvu_record *record = record_of(slot);
        if (queue->first_lost == 0)
            queue->first_lost = record->sequence;
        lose(queue, WVU_LOSS_QUEUE_FULL, record->type, 1);
        if (record->type == WVU_EVENT_EventsLost)
            ledger_take_back(&queue->ledger, record);
        queue->lost++;
        queue->queued--;
    }
    move_head(queue, slot->stride);
    return true;
}

/* Lock held. Makes room for `need` contiguous bytes at tail; false when the ring is full behind a
 * record that may not be discarded now. On success tail stands where they begin. */
static bool make_room(struct wvu_queue *queue, uint32_t need)
{
    uint32_t to_end = queue->capacity - queue->tail_offset;
    uint32_t pad = to_end < need ? to_end : 0;
    uint64_t total = (uint64_t)pad + need;

    if (!queue->copying) {
        while (queue->queued != 0 && (queue->queued >= queue->record_bound ||
                                      queue->tail - queue->head + total > queue->byte_bound)) {
            if (!discard_oldest(queue))
                break; /* the slack may still hold it */
        }
    }
    if (queue->tail - queue->head + total > queue->capacity)
        return false;
    if (pad != 0) {
        struct slot *slot = slot_at(queue, queue->tail_offset);
        slot->stride = pad;
        wvu_store_release(&slot->state, SLOT_PAD);
        move_tail(queue, pad);
    }
    return true;
}

/* Lock held. A BUSY slot at the tail, and the next number; NULL when there is no room. */
static struct slot *append(struct wvu_queue *queue, uint32_t kind, uint32_t size,
                           uint64_t *sequence)
{
    uint32_t stride = size + (uint32_t)sizeof(struct slot);
    if (!make_room(queue, stride))
        return NULL;
    struct slot *slot = slot_at(queue, queue->tail_offset);
    slot->stride = stride;
    wvu_store_relaxed(&slot->state, SLOT_BUSY);
    *sequence = queue->next_sequence++;
    queue->accepted_of[kind]++;
    move_tail(queue, stride);
    if (++queue->queued > queue->high_water)
        queue->high_water = queue->queued;
    return slot;
}

/* Without the lock: zeroes the record of a slot just appended, and begins its header. */
static struct wvu_record *open_record(struct slot *slot, uint16_t type, uint32_t size,
                                      uint64_t sequence)
{
    struct wvu_record *record = record_of(slot);
    wvu_prefetch_write((const uint8_t *)record + size, PREFETCH);
    memset(record, 0, size);
    record->size = size;
    record->type = type;
    record->sequence = sequence;
    return record;
}

wvu_status wvu_queue_reserve(struct wvu_queue *queue, uint16_t type, uint32_t size,
                             struct wvu_record **out)
{
    *out = NULL;
    if (size < sizeof(struct wvu_record) || size > WVU_RECORD_MAX)
        return WVU_STATUS_INVALID_PARAMETER;
    size = (size + 7u) & ~7u;

    uint32_t kind = wvu_event_index(type);
    uint64_t sequence = 0;
    wvu_lock_acquire(&queue->lock);
    struct slot *slot = append(queue, kind, size, &sequence);
    if (slot == NULL) {
        lose(queue, WVU_LOSS_QUEUE_BUSY, type, 1);
        queue->unnumbered++;
    }
    wvu_lock_release(&queue->lock);
    if (slot == NULL)
        return WVU_STATUS_BUSY;
    *out = open_record(slot, type, size, sequence);
    return WVU_STATUS_OK;
}

void wvu_queue_commit(struct wvu_queue *queue, struct wvu_record *record)
{
    struct slot *slot = (struct slot *)(void *)record - 1;
    if ((record->flags & WVU_RECORD_CUT) != 0)
        wvu_add64_relaxed(&queue->cut_of[wvu_event_index(record->type)], 1);
    wvu_store_release(&slot->state, SLOT_COMMITTED);
}

static bool fuller_than(struct wvu_queue *queue, uint32_t quarters)
{
    wvu_lock_acquire(&queue->lock);
    bool result = queue->queued > queue->record_bound / 4 * quarters ||
                  queue->tail - queue->head > queue->byte_bound / 4 * quarters;
    wvu_lock_release(&queue->lock);
    return result;
}

void wvu_queue_wake(struct wvu_queue *queue)
{
    wvu_fence(); /* the commits before this are seen by a consumer whose `armed` we do not see */
    uint32_t armed = wvu_load_relaxed(&queue->armed);
    if (armed == DISARMED || (armed == ARMED_HALF_FULL && !fuller_than(queue, 2)))
        return;
    if (wvu_exchange_full(&queue->armed, DISARMED) != DISARMED)
        wvu_event_set(queue->doorbell);
}

void wvu_queue_count_loss(struct wvu_queue *queue, uint16_t cause, uint16_t type, uint64_t count)
{
    if (count == 0)
        return;
    wvu_lock_acquire(&queue->lock);
    lose(queue, cause, type, count);
    queue->unnumbered += count;
    wvu_lock_release(&queue->lock);
}

/* What is told and the number it is told with are taken in one step: whoever takes a number after
 * this one knows that the losses before it come first. */
wvu_status wvu_queue_reserve_losses(struct wvu_queue *queue, struct wvu_loss_report *report,
                                    struct wvu_record **out)
{
    *out = NULL;
    memset(report, 0, offsetof(struct wvu_loss_report, loss));

    uint64_t sequence = 0;
    uint32_t size = 0;
    struct slot *slot = NULL;
    wvu_lock_acquire(&queue->lock);
    if (queue->first_lost == 0)
        ledger_tell(&queue->ledger, report);
    if (report->entries != 0) {
        size = wvu_loss_report_size(report);
        slot = append(queue, WVU_EVENT_INDEX_EventsLost, size, &sequence);
        for (uint32_t i = 0; slot == NULL && i < report->entries; i++)
            ledger_add(&queue->ledger, report->loss[i].cause, report->loss[i].type,
                       report->loss[i].count);
    }
    wvu_lock_release(&queue->lock);
    if (slot == NULL)
        return report->entries != 0 ? WVU_STATUS_BUSY : WVU_STATUS_AGAIN;
    *out = open_record(slot, WVU_EVENT_EventsLost, size, sequence);
    return WVU_STATUS_OK;
}

/* ---- the consumer ------------------------------------------------------------------------------
 */

/* Lock held. The range that ends before head, if it is not told yet, and with it the whole ledger.
 */
static void tell_range(struct wvu_queue *queue, struct wvu_loss_report *report)
{
    memset(report, 0, offsetof(struct wvu_loss_report, loss));
    if (queue->first_lost == 0)
        return;
    report->first_sequence = queue->first_lost;
    report->last_sequence = queue->next_sequence - queue->queued - 1;
    queue->first_lost = 0;
    ledger_tell(&queue->ledger, report);
}

wvu_status wvu_queue_take(struct wvu_queue *queue, void *buffer, uint32_t capacity,
                          struct wvu_batch_info *info)
{
    info->first_sequence = info->last_sequence = 0;
    info->records = info->bytes = 0;

    wvu_lock_acquire(&queue->lock);
    tell_range(queue, &info->lost);
    uint32_t offset = queue->head_offset;
    uint64_t left = queue->tail - queue->head; /* what is reserved later waits for the next take */
    queue->copying = true;
    wvu_lock_release(&queue->lock);

    uint64_t passed = 0;
    uint8_t *to = buffer;
    while (passed < left) {
        struct slot *slot = slot_at(queue, offset);
        uint32_t state = wvu_load_acquire(&slot->state);
        if (state == SLOT_BUSY)
            break;
        if (state == SLOT_COMMITTED) {
            const struct wvu_record *record = record_of(slot);
            if (record->size > capacity - info->bytes)
                break;
            memcpy(to + info->bytes, record, record->size);
            if (info->records++ == 0)
                info->first_sequence = record->sequence;
            info->last_sequence = record->sequence;
            info->bytes += record->size;
        }
        passed += slot->stride;
        offset += slot->stride;
        if (offset == queue->capacity)
            offset = 0;
    }

    wvu_lock_acquire(&queue->lock);
    queue->head += passed;
    queue->head_offset = offset;
    queue->queued -= info->records;
    queue->in_flight += info->records;
    queue->copying = false;
    if (queue->head == queue->tail) /* the next records find memory that is still in the caches */
        queue->head_offset = queue->tail_offset = 0;
    wvu_lock_release(&queue->lock);
    return info->records != 0 || info->lost.first_sequence != 0 ? WVU_STATUS_OK : WVU_STATUS_AGAIN;
}

/* The EventsLost of a range is none of the queue's records: it has a number that was lost. */
static bool has_own_number(const struct wvu_record *record)
{
    const struct wvu_events_lost *event = (const struct wvu_events_lost *)(const void *)record;
    return record->type != WVU_EVENT_EventsLost || event->first_sequence == 0;
}

void wvu_queue_delivered(struct wvu_queue *queue, const void *records, uint32_t bytes)
{
    uint32_t count_of[WVU_EVENT_KINDS] = {0};
    uint32_t count = 0;
    for (uint32_t at = 0; at < bytes;) {
        const struct wvu_record *record =
            (const struct wvu_record *)(const void *)((const uint8_t *)records + at);
        if (has_own_number(record)) {
            count_of[wvu_event_index(record->type)]++;
            count++;
        }
        at += record->size;
    }
    wvu_lock_acquire(&queue->lock);
    queue->in_flight -= count;
    queue->delivered += count;
    for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++)
        queue->delivered_of[kind] += count_of[kind];
    wvu_lock_release(&queue->lock);
}

/* Something to take, or something to tell that needs not wait behind a record that is being filled
 * (its commit will ring). */
static bool ready(struct wvu_queue *queue)
{
    wvu_lock_acquire(&queue->lock);
    bool result;
    if (queue->queued != 0) {
        struct slot *slot = slot_at(queue, queue->head_offset);
        if (wvu_load_acquire(&slot->state) == SLOT_PAD)
            slot = slot_at(queue, 0); /* a pad ends the ring, and a record follows it */
        result = wvu_load_acquire(&slot->state) == SLOT_COMMITTED;
    } else {
        result = queue->ledger.total != 0;
    }
    wvu_lock_release(&queue->lock);
    return result;
}

bool wvu_queue_arm(struct wvu_queue *queue)
{
    wvu_store_relaxed(&queue->armed, ARMED);
    wvu_fence(); /* pairs with the one in wvu_queue_wake */
    if (!ready(queue))
        return true;
    wvu_store_relaxed(&queue->armed, DISARMED);
    return false;
}

bool wvu_queue_arm_half_full(struct wvu_queue *queue)
{
    wvu_store_relaxed(&queue->armed, ARMED_HALF_FULL);
    wvu_fence(); /* as above */
    if (!fuller_than(queue, 2))
        return true;
    wvu_store_relaxed(&queue->armed, DISARMED);
    return false;
}

void wvu_queue_disarm(struct wvu_queue *queue)
{
    wvu_store_relaxed(&queue->armed, DISARMED);
}

/* ---- looking on ----------------------------------------------------------------------------- */

void wvu_queue_read_counters(struct wvu_queue *queue, struct wvu_queue_counters *counters)
{
    uint64_t cut = 0;
    for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++)
        cut += wvu_load64_relaxed(&queue->cut_of[kind]);
    wvu_lock_acquire(&queue->lock);
    *counters = (struct wvu_queue_counters){
        .accepted = queue->next_sequence - 1,
        .delivered = queue->delivered,
        .lost = queue->lost,
        .queued = queue->queued,
        .in_flight = queue->in_flight,
        .queued_bytes = queue->tail - queue->head,
        .high_water = queue->high_water,
        .unnumbered = queue->unnumbered,
        .cut = cut,
    };
    wvu_lock_release(&queue->lock);
}

void wvu_queue_read_event_counters(struct wvu_queue *queue, uint32_t index,
                                   struct wvu_event_counters *counters)
{
    uint32_t kind = index < WVU_EVENT_KINDS ? index : WVU_EVENT_INDEX_NONE;
    wvu_lock_acquire(&queue->lock);
    counters->accepted = queue->accepted_of[kind];
    counters->delivered = queue->delivered_of[kind];
    for (uint32_t cause = 0; cause < WVU_LOSS_CAUSES; cause++)
        counters->lost[cause] = queue->lost_of[cause][kind];
    wvu_lock_release(&queue->lock);
    counters->cut = wvu_load64_relaxed(&queue->cut_of[kind]);
}

bool wvu_queue_nearly_full(struct wvu_queue *queue)
{
    return fuller_than(queue, 3);
}
