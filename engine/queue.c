/*
 * ProbeDataQueue: two rings of bytes with records in their wire form.
 *
 *          head                                        tail
 *           v                                           v
 *   | ...   | C  | C   | B | C   | pad |  C  | B  | C  |   free  ...        main
 *           |<------ queued: oldest to newest -------->|
 *              |
 *              v  pushed out: guaranteed kinds are kept, the others are lost
 *   | ...   | gap | C | C | gap | C |   free  ...                           reserve
 *
 * Each record stands behind a slot (8 bytes: state and stride). head and tail count bytes since the
 * beginning and never go back; head_offset and tail_offset are the same places in the ring. A
 * record never wraps: when it does not fit at the end, a pad fills the end.
 *
 * Producers (any number, any IRQL up to DISPATCH)
 *   reserve, under the lock: push the oldest records out until there is room, write a BUSY slot,
 * give the next number, move tail. Then, without the lock, the producer fills the record in place.
 *   commit, without the lock: the slot becomes COMMITTED (release). From then on the record does
 * not change until it is pushed out or taken. Numbers are given in ring order, and what was reserved
 * is always committed, so the main ring holds consecutive numbers. A BUSY record cannot be pushed
 * out (its producer writes to it). Should the ring fill up behind one, reserve fails and the loss is
 * counted as QUEUE_BUSY; for guaranteed kinds the ring is larger.
 *
 * The reserve
 *   A storm of one kind of event must not push out what is rare and matters. So a record of a
 * guaranteed kind that must leave the main ring is copied to the tail of the reserve, whose bounds
 * are a quarter of the main ring's, in records and in bytes. All that is in the reserve is older than
 * all that is in the main ring; it is served first, and the stream stays in order. What was lost
 * before a kept record is told by a gap in front of it: an EventsLost for exactly that range, which
 * has no number of its own and counts nowhere but in bytes. When the reserve is full, its oldest
 * record is lost after all, and the gap behind it grows to one with what is lost before it. There is
 * no BUSY slot in the reserve, and no record that is too large for it when it is empty.
 *
 * The consumer (one thread)
 *   take: under the lock it notes head and sets `copying`; then, without the lock, it walks
 * COMMITTED records (acquire) and copies them; then, under the lock, it moves head. First the
 * reserve, then, if that is empty, the main ring. While `copying` is set nobody pushes out, so
 * nothing that is copied can change, in either ring. Producers meanwhile may exceed the bounds,
 * using the slack at the end of the main ring, which is there for just that; the next reserve pushes
 * out back to the bounds.
 *
 * Losses
 *   What is lost and not told yet is in one of two ledgers, summed by cause and type: `older`, right
 * before the head of the reserve, and `newer`, right before the head of the main ring. What each
 * ring has lost is always one range of numbers that ends there. `older` is empty when the reserve is:
 * then there is nothing between the two, and what was in it belongs to `newer`. A range is told by
 * the next take in front of the records of its ring, or by the gap of the next kept record. Losses
 * without numbers go to `newer` and come along, or, if there is no range, have a record of their own
 * (wvu_queue_reserve_losses). An EventsLost that is itself lost pays its counts back.
 *
 * The doorbell
 *   The consumer sleeps only after: armed = 1; full fence; nothing ready. A producer, after its
 *   commits: full fence; armed? then armed = 0 and set the event. Whatever the order, either the
 *   consumer sees the commit or the producer sees `armed`: the two fences make it impossible that
 * both miss. tests/model/queue.pml checks this protocol, and that it fails without either fence.
 * `armed` is taken by exchange, so one sleep costs one set, however many producers ring. A consumer
 * that waits for a time although there are records (to wake less often) arms the doorbell for a half full
 * queue instead: then what it waits for is "half full", which changes under the lock alone, so the lock
 * stands for the fence. The reserve changes nothing here: records come into it only from a full main ring, and are ready at once.
 *
 * Lock: `lock` guards everything in struct wvu_queue but `armed`, `cut_of` and the slots' states. It
 * is a leaf: nothing is called under it. It is held for some tens of nanoseconds; longer only when
 * one large record pushes many small ones out, or a large one is kept: at most the bytes of two
 * records of the largest size, and a gap for each record in them, are written.
 */
#include "queue.h"

#include <string.h>

#include "atomic.h"
#include "record.h"

#define QUEUE_TAG WVU_TAG('W', 'v', 'Q', 'u')

/* Room beyond the bound in bytes, for what is reserved while nothing can be pushed out: behind a record
 * that is still being filled, or while the consumer copies. Half of it is for guaranteed kinds alone. */
#define QUEUE_SLACK (512u << 10)

/* What is written next is still in the consumer's cache, and fetching it from there takes longer than
 * to fill it: so it is asked for two records ahead. */
#define PREFETCH 512u

enum slot_state { SLOT_BUSY = 1, SLOT_COMMITTED = 2, SLOT_PAD = 3, SLOT_GAP = 4 };

struct slot {
    uint32_t state;
    uint32_t stride; /* bytes to the next slot */
};
_Static_assert(sizeof(struct slot) == 8, "records must stay 8-byte aligned");

#define SLOT ((uint32_t)sizeof(struct slot))

_Static_assert(WVU_RECORD_MAX + sizeof(struct slot) < WVU_QUEUE_BYTES_MIN / 4,
               "pushing one record out must leave a ring more than three quarters full");
_Static_assert(WVU_RECORD_MAX + WVU_LOST_RECORD_MAX + 2 * sizeof(struct slot) <=
                   WVU_QUEUE_BYTES_MIN / 4 - 8,
               "the largest record and its gap must fit the smallest reserve");

enum { DISARMED = 0, ARMED = 1, ARMED_HALF_FULL = 2 };

struct ring {
    uint64_t head;
    uint64_t tail;
    uint32_t head_offset;
    uint32_t tail_offset;
    uint32_t records; /* without pads and gaps */
    uint32_t capacity;
    uint8_t *bytes;
};

/* Losses that are not told yet. */
struct ledger {
    uint64_t first; /* the range of lost numbers; 0: none */
    uint64_t last;
    uint64_t total;
    uint32_t entries;                /* counts that are not 0 */
    uint32_t kinds[WVU_LOSS_CAUSES]; /* which ones: masks, so that few are looked at */
    uint64_t count[WVU_LOSS_CAUSES][WVU_EVENT_KINDS];
};

#define LINE 64u /* bytes that processors pass around as a whole */

/* Begins at a cache line. What producers and consumer both write is in the first one, nearly; then each has
 * its own, so that none slows the other down. */
struct wvu_queue {
    wvu_lock lock;
    struct ring main;
    bool copying;

    uint32_t byte_bound; /* of the main ring; its capacity has slack beyond it */
    uint32_t record_bound;
    uint64_t next_sequence; /* from here on by producers */
    uint64_t high_water;
    uint64_t accepted_of[WVU_EVENT_KINDS];

    uint8_t padding1[LINE];
    uint64_t in_flight; /* by the consumer */
    uint64_t delivered;
    uint64_t delivered_of[WVU_EVENT_KINDS];

    uint8_t padding2[LINE];
    struct ring reserve; /* by whoever pushes out or loses */
    struct ledger older;
    struct ledger newer;
    uint64_t lost;
    uint64_t unnumbered;
    uint64_t lost_of[WVU_LOSS_CAUSES][WVU_EVENT_KINDS]; /* ever */
    uint64_t cut_of[WVU_EVENT_KINDS];

    uint8_t padding3[LINE];
    uint32_t armed; /* by the consumer, and read by every wake */
    wvu_event *doorbell;
    void *block; /* as it was allocated */
};

static struct slot *slot_at(const struct ring *ring, uint32_t offset)
{
    return (struct slot *)(void *)(ring->bytes + offset);
}

static uint64_t records_in(const struct wvu_queue *queue)
{
    return (uint64_t)queue->main.records + queue->reserve.records;
}

static struct wvu_record *record_of(struct slot *slot)
{
    return (struct wvu_record *)(void *)(slot + 1);
}

static bool make_ring(struct ring *ring, uint32_t capacity)
{
    ring->capacity = capacity;
    ring->bytes = wvu_os_alloc(capacity, QUEUE_TAG);
    return ring->bytes != NULL;
}

wvu_status wvu_queue_create(uint32_t records, uint32_t bytes, wvu_event *doorbell,
                            struct wvu_queue **out)
{
    *out = NULL;
    if (records < WVU_QUEUE_RECORDS_MIN || records > WVU_QUEUE_RECORDS_MAX ||
        bytes < WVU_QUEUE_BYTES_MIN || bytes > WVU_QUEUE_BYTES_MAX)
        return WVU_STATUS_INVALID_PARAMETER;

    uint8_t *block = wvu_os_alloc(sizeof(struct wvu_queue) + LINE, QUEUE_TAG);
    if (block == NULL)
        return WVU_STATUS_NO_MEMORY;
    struct wvu_queue *queue =
        (struct wvu_queue *)(void *)(block + (LINE - (uintptr_t)block % LINE) % LINE);
    queue->block = block;
    queue->byte_bound = bytes - bytes % 8;
    queue->record_bound = records;
    queue->next_sequence = 1;
    queue->doorbell = doorbell;
    wvu_lock_init(&queue->lock);
    if (!make_ring(&queue->main, queue->byte_bound + QUEUE_SLACK))
        goto free_queue;
    if (!make_ring(&queue->reserve, queue->byte_bound / 32 * 8))
        goto free_main;
    *out = queue;
    return WVU_STATUS_OK;

free_main:
    wvu_os_free(queue->main.bytes, QUEUE_TAG);
free_queue:
    wvu_os_free(queue->block, QUEUE_TAG);
    return WVU_STATUS_NO_MEMORY;
}

void wvu_queue_destroy(struct wvu_queue *queue)
{
    if (queue == NULL)
        return;
    wvu_os_free(queue->reserve.bytes, QUEUE_TAG);
    wvu_os_free(queue->main.bytes, QUEUE_TAG);
    wvu_os_free(queue->block, QUEUE_TAG);
}

/* ---- losses ---------------------------------------------------------------------------------- */

static uint32_t row_of(uint16_t cause)
{
    return cause < WVU_LOSS_CAUSES ? cause : WVU_LOSS_NONE;
}

static void ledger_add(struct ledger *ledger, uint16_t cause, uint16_t type, uint64_t count)
{
    uint32_t row = row_of(cause);
    uint32_t kind = wvu_event_index(type);
    if (ledger->count[row][kind] == 0) {
        ledger->kinds[row] |= 1u << kind;
        ledger->entries++;
    }
    ledger->count[row][kind] += count;
    ledger->total += count;
}

/* Numbers that follow what the range has, or begin it. */
static void ledger_extend(struct ledger *ledger, uint64_t first, uint64_t last)
{
    if (ledger->first == 0)
        ledger->first = first;
    ledger->last = last;
}

/* A record that told losses is itself lost: they are untold again. */
static void ledger_take_back(struct ledger *ledger, const struct wvu_record *record)
{
    const struct wvu_events_lost *event = (const struct wvu_events_lost *)(const void *)record;
    const uint8_t *base = (const uint8_t *)record;
    for (uint32_t i = 0; i + sizeof(struct wvu_loss) <= event->lost.size;
         i += (uint32_t)sizeof(struct wvu_loss)) {
        struct wvu_loss loss;
        memcpy(&loss, base + event->lost.offset + i, sizeof loss);
        ledger_add(ledger, loss.cause, loss.type, loss.count);
    }
}

static uint32_t ledger_record_size(const struct ledger *ledger)
{
    return (uint32_t)(sizeof(struct wvu_events_lost) + ledger->entries * sizeof(struct wvu_loss));
}

/* The list of an EventsLost, and with it the ledger is empty. */
static void ledger_move_counts(struct ledger *ledger, struct wvu_loss *list)
{
    for (uint32_t cause = 0; cause < WVU_LOSS_CAUSES; cause++) {
        uint32_t kinds = ledger->kinds[cause];
        for (uint32_t kind = 0; kinds != 0; kind++, kinds >>= 1) {
            if ((kinds & 1) == 0)
                continue;
            *list++ = (struct wvu_loss){
                .cause = (uint16_t)cause,
                .type = wvu_event_type_at(kind),
                .count = ledger->count[cause][kind],
            };
            ledger->count[cause][kind] = 0;
        }
        ledger->kinds[cause] = 0;
    }
    ledger->first = ledger->last = ledger->total = 0;
    ledger->entries = 0;
}

/* Lock held. Writes the EventsLost that tells a ledger, ledger_record_size() bytes, but for time, uptime
 * and sensor_id, for which there is no time under the lock. */
static void ledger_tell(struct ledger *ledger, uint64_t sequence, void *where)
{
    struct wvu_events_lost *event = where;
    uint32_t list_size = ledger->entries * (uint32_t)sizeof(struct wvu_loss);
    memset(event, 0, sizeof *event);
    event->record.size = ledger_record_size(ledger);
    event->record.type = WVU_EVENT_EventsLost;
    event->record.sequence = sequence;
    event->record.fixed_size = sizeof *event;
    event->record.present =
        WVU_PRESENT(wvu_events_lost, Count) | WVU_PRESENT(wvu_events_lost, Lost);
    if (ledger->first != 0)
        event->record.present |= WVU_PRESENT(wvu_events_lost, FirstSequence) |
                                 WVU_PRESENT(wvu_events_lost, LastSequence);
    event->first_sequence = ledger->first;
    event->last_sequence = ledger->last;
    event->count = ledger->total;
    event->lost = (struct wvu_text){
        .offset = sizeof *event,
        .size = (uint16_t)list_size,
        .head = (uint16_t)list_size,
        .full_size = list_size,
    };
    ledger_move_counts(ledger, (struct wvu_loss *)(void *)(event + 1));
}
_Static_assert(WVU_LOSS_ENTRIES * sizeof(struct wvu_loss) <= UINT16_MAX, "the list is one text");
_Static_assert(sizeof(struct wvu_events_lost) % 8 == 0, "its list must be aligned");

/* Lock held. The reserve is empty: what is lost before it is lost right before the main ring. */
static void merge_ledgers(struct wvu_queue *queue)
{
    struct ledger *older = &queue->older;
    struct ledger *newer = &queue->newer;
    if (older->first == 0)
        return;
    if (newer->first == 0)
        newer->last = older->last;
    newer->first = older->first;
    for (uint32_t cause = 0; cause < WVU_LOSS_CAUSES; cause++)
        for (uint32_t kind = 0; kind < WVU_EVENT_KINDS; kind++)
            if (older->count[cause][kind] != 0)
                ledger_add(newer, (uint16_t)cause, wvu_event_type_at(kind),
                           older->count[cause][kind]);
    memset(older, 0, sizeof *older);
}

/* Lock held. A loss that happens now; ledger_add alone is for what was counted before. */
static void lose(struct wvu_queue *queue, struct ledger *ledger, uint16_t cause, uint16_t type,
                 uint64_t count)
{
    ledger_add(ledger, cause, type, count);
    queue->lost_of[row_of(cause)][wvu_event_index(type)] += count;
}

/* Lock held. */
static void lose_record(struct wvu_queue *queue, struct ledger *ledger,
                        const struct wvu_record *record)
{
    ledger_extend(ledger, record->sequence, record->sequence);
    lose(queue, ledger, WVU_LOSS_QUEUE_FULL, record->type, 1);
    if (record->type == WVU_EVENT_EventsLost)
        ledger_take_back(ledger, record);
    queue->lost++;
}

/* ---- rings ----------------------------------------------------------------------------------- */

static void move_head(struct ring *ring, uint32_t stride)
{
    ring->head += stride;
    ring->head_offset += stride;
    if (ring->head_offset == ring->capacity)
        ring->head_offset = 0;
}

static void move_tail(struct ring *ring, uint32_t stride)
{
    ring->tail += stride;
    ring->tail_offset += stride;
    if (ring->tail_offset == ring->capacity)
        ring->tail_offset = 0;
}

/* An empty ring begins anew: the next records find memory that is still in the caches. */
static void rewind_if_empty(struct ring *ring)
{
    if (ring->head == ring->tail)
        ring->head_offset = ring->tail_offset = 0;
}

/* Bytes to be left unused at the ring's end, so that `need` stand in one piece. */
static uint32_t pad_before(const struct ring *ring, uint32_t need)
{
    uint32_t to_end = ring->capacity - ring->tail_offset;
    return to_end < need ? to_end : 0;
}

static struct slot *push_slot(struct ring *ring, uint32_t state, uint32_t stride)
{
    struct slot *slot = slot_at(ring, ring->tail_offset);
    slot->stride = stride;
    wvu_store_release(&slot->state, state);
    move_tail(ring, stride);
    return slot;
}

/* ---- the reserve ------------------------------------------------------------------------------ */

/* Lock held. The reserve's oldest record is lost after all; the gap behind it becomes one with that. */
static void lose_oldest_kept(struct wvu_queue *queue)
{
    struct ring *reserve = &queue->reserve;
    for (bool lost = false; reserve->head != reserve->tail;) {
        struct slot *slot = slot_at(reserve, reserve->head_offset);
        const struct wvu_record *record = record_of(slot);
        uint32_t state = wvu_load_relaxed(&slot->state);
        if (state == SLOT_COMMITTED) {
            if (lost)
                break;
            lose_record(queue, &queue->older, record);
            reserve->records--;
            lost = true;
        } else if (state == SLOT_GAP) {
            const struct wvu_events_lost *gap =
                (const struct wvu_events_lost *)(const void *)record;
            ledger_extend(&queue->older, gap->first_sequence, gap->last_sequence);
            ledger_take_back(&queue->older, record);
        }
        move_head(reserve, slot->stride);
    }
    rewind_if_empty(reserve);
}

/* Lock held. Makes room in the reserve for a record of this size, with the gap in front of it; returns
 * the bytes of both with their slots, which fit without a wrap behind a pad. Ends at the latest when
 * the reserve is empty. */
static uint32_t make_room_to_keep(struct wvu_queue *queue, uint32_t size)
{
    struct ring *reserve = &queue->reserve;
    for (;;) {
        if (reserve->records == 0)
            merge_ledgers(queue);
        uint32_t need = SLOT + size;
        if (queue->newer.first != 0)
            need += SLOT + ledger_record_size(&queue->newer);
        uint64_t total = (uint64_t)pad_before(reserve, need) + need;
        if (reserve->records < queue->record_bound / 4 &&
            reserve->tail - reserve->head + total <= reserve->capacity)
            return need;
        lose_oldest_kept(queue);
    }
}

/* Lock held. */
static void keep(struct wvu_queue *queue, const struct wvu_record *record)
{
    struct ring *reserve = &queue->reserve;
    uint32_t need = make_room_to_keep(queue, record->size);
    uint32_t pad = pad_before(reserve, need);
    if (pad != 0)
        (void)push_slot(reserve, SLOT_PAD, pad);
    if (queue->newer.first != 0) {
        struct slot *gap = push_slot(reserve, SLOT_GAP, SLOT + ledger_record_size(&queue->newer));
        ledger_tell(&queue->newer, queue->newer.last, record_of(gap));
    }
    struct slot *slot = push_slot(reserve, SLOT_COMMITTED, SLOT + record->size);
    memcpy(record_of(slot), record, record->size);
    reserve->records++;
}

/* ---- producers ---------------------------------------------------------------------------------
 */

/* Lock held. The main ring's oldest record makes room; false when it is still being filled. */
static bool push_out_oldest(struct wvu_queue *queue)
{
    struct slot *slot = slot_at(&queue->main, queue->main.head_offset);
    uint32_t state = wvu_load_acquire(&slot->state);
    if (state == SLOT_BUSY)
        return false;
    if (state == SLOT_COMMITTED) {
        const struct wvu_record *record = record_of(slot);
        if (wvu_event_is_guaranteed(record->type))
            keep(queue, record);
        else
            lose_record(queue, &queue->newer, record);
        queue->main.records--;
    }
    move_head(&queue->main, slot->stride);
    return true;
}

/* Lock held. Makes room for `need` contiguous bytes at tail; false when the ring is full, `spare` bytes
 * being left, behind a record that may not be pushed out now. On success tail stands where they begin. */
static bool make_room(struct wvu_queue *queue, uint32_t need, uint32_t spare)
{
    struct ring *ring = &queue->main;
    uint32_t pad = pad_before(ring, need);
    uint64_t total = (uint64_t)pad + need;

    if (!queue->copying) {
        while (ring->records != 0 && (ring->records >= queue->record_bound ||
                                      ring->tail - ring->head + total > queue->byte_bound)) {
            if (!push_out_oldest(queue))
                break; /* the slack may still hold it */
        }
    }
    if (ring->tail - ring->head + total + spare > ring->capacity)
        return false;
    if (pad != 0)
        (void)push_slot(ring, SLOT_PAD, pad);
    return true;
}

/* Lock held. What make_room would find out, in the usual case: there is room, and nothing to be done. */
static bool has_room(const struct wvu_queue *queue, uint32_t need)
{
    const struct ring *ring = &queue->main;
    return ring->records < queue->record_bound &&
           ring->tail - ring->head + need <= queue->byte_bound && pad_before(ring, need) == 0;
}

/* Lock held. A BUSY slot at the tail, where there is room, which has the next number. */
static struct slot *append(struct wvu_queue *queue, uint32_t kind, uint32_t size)
{
    struct slot *slot = slot_at(&queue->main, queue->main.tail_offset);
    slot->stride = SLOT + size;
    wvu_store_relaxed(&slot->state, SLOT_BUSY);
    queue->next_sequence++;
    move_tail(&queue->main, SLOT + size);
    queue->accepted_of[kind]++;
    queue->main.records++;
    if (records_in(queue) > queue->high_water)
        queue->high_water = records_in(queue);
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
    uint32_t spare = wvu_event_is_guaranteed(type) ? 0 : QUEUE_SLACK / 2;
    struct slot *slot = NULL;
    wvu_lock_acquire(&queue->lock);
    uint64_t sequence = queue->next_sequence;
    if (has_room(queue, SLOT + size) || make_room(queue, SLOT + size, spare)) {
        slot = append(queue, kind, size);
    } else {
        lose(queue, &queue->newer, WVU_LOSS_QUEUE_BUSY, type, 1);
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

/* Of the main ring. As long as something is in the reserve this is more than three quarters full: what
 * pushes out stops at once when it fits, and nothing is taken from it before the reserve is empty. */
static bool fuller_than(struct wvu_queue *queue, uint32_t quarters)
{
    wvu_lock_acquire(&queue->lock);
    const struct ring *ring = &queue->main;
    bool result = ring->records > queue->record_bound / 4 * quarters ||
                  ring->tail - ring->head > queue->byte_bound / 4 * quarters;
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
    lose(queue, &queue->newer, cause, type, count);
    queue->unnumbered += count;
    wvu_lock_release(&queue->lock);
}

/* What is told and the number it is told with are taken in one step: whoever takes a number after
 * this one knows that the losses before it come first. Making room can itself lose something: then
 * there is a gap that carries them, or has told them already. */
wvu_status wvu_queue_reserve_losses(struct wvu_queue *queue, struct wvu_record **out)
{
    wvu_status status = WVU_STATUS_AGAIN;
    struct ledger *ledger = &queue->newer;
    *out = NULL;
    wvu_lock_acquire(&queue->lock);
    if (ledger->total != 0 && ledger->first == 0) {
        uint32_t size = ledger_record_size(ledger);
        if (!make_room(queue, SLOT + size, QUEUE_SLACK / 2)) { /* there is time */
            status = WVU_STATUS_BUSY;
        } else if (ledger->total != 0 && ledger->first == 0) {
            uint64_t sequence = queue->next_sequence;
            struct slot *slot = append(queue, WVU_EVENT_INDEX_EventsLost, size);
            ledger_tell(ledger, sequence, record_of(slot));
            *out = record_of(slot);
            status = WVU_STATUS_OK;
        }
    }
    wvu_lock_release(&queue->lock);
    return status;
}

/* ---- the consumer ------------------------------------------------------------------------------
 */

/* Where a take puts what it copies. */
struct copy {
    uint8_t *to;
    uint32_t capacity;
    struct wvu_batch_info info;
};

static void note_copied(struct copy *copy, const struct wvu_record *record)
{
    if (copy->info.records++ == 0)
        copy->info.first_sequence = record->sequence;
    copy->info.last_sequence = record->sequence;
    copy->info.bytes += record->size;
}

/* Lock held. The range before a ring's head, if it is not told yet, and with it the whole ledger. False
 * when there is no room for it. */
static bool tell_range(struct ledger *ledger, struct copy *copy)
{
    if (ledger->first == 0)
        return true;
    if (ledger_record_size(ledger) > copy->capacity - copy->info.bytes)
        return false;
    uint8_t *where = copy->to + copy->info.bytes;
    ledger_tell(ledger, ledger->last, where);
    note_copied(copy, (const struct wvu_record *)(const void *)where);
    copy->info.gaps++;
    return true;
}

/* Without the lock, `copying` set. Moves the head of `part`, which is a ring as it was a moment ago; what is
 * reserved later waits for the next take. Everything comes and goes by value, so that it stays in registers,
 * and nothing of the queue is touched meanwhile that producers write to. */
static struct copy copy_records(struct ring *part, struct copy copy)
{
    struct ring ring = *part;
    while (ring.head != ring.tail) {
        struct slot *slot = slot_at(&ring, ring.head_offset);
        uint32_t state = wvu_load_acquire(&slot->state);
        if (state == SLOT_BUSY)
            break;
        if (state != SLOT_PAD) {
            const struct wvu_record *record = record_of(slot);
            if (record->size > copy.capacity - copy.info.bytes)
                break;
            memcpy(copy.to + copy.info.bytes, record, record->size);
            note_copied(&copy, record);
            copy.info.gaps += state == SLOT_GAP;
        }
        move_head(&ring, slot->stride);
    }
    *part = ring;
    return copy;
}

/* Takes what fits from the ring that is to be served now. True when it emptied the reserve: then there
 * may be more behind it. */
static bool take_from_one_ring(struct wvu_queue *queue, struct copy *copy)
{
    wvu_lock_acquire(&queue->lock);
    bool reserve = queue->reserve.records != 0;
    struct ring *ring = reserve ? &queue->reserve : &queue->main;
    if (!tell_range(reserve ? &queue->older : &queue->newer, copy)) {
        wvu_lock_release(&queue->lock);
        return false;
    }
    struct ring part = *ring;
    queue->copying = true;
    wvu_lock_release(&queue->lock);

    uint32_t before = copy->info.records - copy->info.gaps;
    *copy = copy_records(&part, *copy);
    uint32_t numbered = copy->info.records - copy->info.gaps - before;

    wvu_lock_acquire(&queue->lock);
    ring->head = part.head;
    ring->head_offset = part.head_offset;
    ring->records -= numbered;
    rewind_if_empty(ring);
    queue->in_flight += numbered;
    queue->copying = false;
    bool emptied = reserve && ring->records == 0;
    wvu_lock_release(&queue->lock);
    return emptied;
}

wvu_status wvu_queue_take(struct wvu_queue *queue, void *buffer, uint32_t capacity,
                          struct wvu_batch_info *info)
{
    struct copy copy = {.to = buffer, .capacity = capacity};
    while (take_from_one_ring(queue, &copy))
        ;
    *info = copy.info;
    return info->records != 0 ? WVU_STATUS_OK : WVU_STATUS_AGAIN;
}

void wvu_queue_delivered(struct wvu_queue *queue, const void *records, uint32_t bytes)
{
    uint32_t count_of[WVU_EVENT_KINDS] = {0};
    for (uint32_t at = 0; at < bytes;) {
        const struct wvu_record *record =
            (const struct wvu_record *)(const void *)((const uint8_t *)records + at);
        count_of[wvu_event_index(record->type)] += wvu_record_is_numbered(record);
        at += record->size;
    }
    wvu_lock_acquire(&queue->lock);
    for (uint32_t kind = 0; kind < WVU_EVENT_INDICES; kind++) {
        queue->in_flight -= count_of[kind];
        queue->delivered += count_of[kind];
        queue->delivered_of[kind] += count_of[kind];
    }
    wvu_lock_release(&queue->lock);
}

/* Something to take, or something to tell that needs not wait behind a record that is being filled
 * (its commit will ring). */
static bool ready(struct wvu_queue *queue)
{
    wvu_lock_acquire(&queue->lock);
    bool result;
    if (queue->reserve.records != 0) {
        result = true;
    } else if (queue->main.records != 0) {
        struct slot *slot = slot_at(&queue->main, queue->main.head_offset);
        if (wvu_load_acquire(&slot->state) == SLOT_PAD)
            slot = slot_at(&queue->main, 0); /* a pad ends the ring, and a record follows it */
        result = wvu_load_acquire(&slot->state) == SLOT_COMMITTED;
    } else {
        result = queue->newer.total != 0;
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
    /* No fence: how full it is changes under the lock alone, and so who fills it after this look sees the store. */
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
        .queued = records_in(queue),
        .in_flight = queue->in_flight,
        .queued_bytes =
            queue->main.tail - queue->main.head + queue->reserve.tail - queue->reserve.head,
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
