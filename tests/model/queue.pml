/*
 * Model of the queue (engine/queue.c): reserve, commit, overwrite, take, and the doorbell between
 * producers and the consumer, on processors that delay stores.
 *
 * Checked exhaustively, for two producers' TOTAL events in a ring of BOUND records:
 *   - no lost wake-up: the consumer goes on until every event is accounted for, so a sleep from which nobody
 *     wakes it ends the run in an invalid state;
 *   - a consumer that lets records gather is woken when they fill more than half of the ring: its time-out, which
 *     ends that sleep anyway, never comes here while they do;
 *   - no record is delivered torn, before its commit, twice, or out of order;
 *   - accepted = delivered + lost + queued + in flight, whenever the lock is free;
 *   - every number that is not delivered was told as lost, in its place.
 *
 * What is modelled
 *   A record takes one place; number s stands in place s % PLACES. PLACES exceeds BOUND by the slack. Its
 *   content is two words, written and copied one after the other.
 *   Each process has a store buffer of one entry, for the stores that others read without the lock: a slot's
 *   state and `armed`. An entry becomes visible at any later time (process `memory`), at the latest when
 *   the next store needs the place. Full fences and the release of the lock wait for it; the acquire of the
 *   lock does not, as on processors where it is no full barrier.
 *   Critical sections are one step, as nobody without the lock looks at what they guard; except the look for
 *   something ready before sleeping, where the order of load and store is what matters.
 *   A producer may wake once after several commits. The consumer may let records gather before any take.
 *
 * Each of these, defined, breaks it, and the checker must say so (run.sh):
 *   NO_PRODUCER_FENCE, NO_CONSUMER_FENCE, NO_RECHECK   a wake-up is lost
 *   NO_GATHER_RECHECK, NO_PRODUCER_LOOK                so it is, by a consumer that lets records gather
 *   OVERWRITE_BUSY, OVERWRITE_COPIED, COMMIT_EARLY     a record is torn
 *   LOSS_NOT_COUNTED                                   an event disappears
 */
#define PRODUCERS 2
#define EVENTS    3 /* by the first producer; the second has one less */
#define BOUND     2
#define PLACES    3
#define HALF      1 /* of BOUND */

#ifdef OVERWRITE_BUSY
#define MAY_OVERWRITE_BUSY true
#else
#define MAY_OVERWRITE_BUSY false
#endif
#ifdef OVERWRITE_COPIED
#define MAY_OVERWRITE true
#else
#define MAY_OVERWRITE (!copying)
#endif

#define TOTAL     (EVENTS + EVENTS - 1)
#define CONSUMER  PRODUCERS /* index of its store buffer */
#define PROCESSES (PRODUCERS + 1)

#define NOTHING   0
#define BUSY      1
#define COMMITTED 2

/* Values of `armed`. */
#define DISARMED        0
#define ARMED           1
#define ARMED_HALF_FULL 2

/* What a store buffer holds. */
#define EMPTY         0
#define TO_ARMED      1
#define TO_STATE(i)   ((i) + 2)

/* Guarded by the lock. Numbers begin at 1; head is the oldest in the ring, tail the next to be given. */
bit locked;
byte head = 1;
byte tail = 1;
bit copying;
byte lost;
byte first_lost; /* 0: no untold range */
byte delivered;
byte in_flight;
byte unnumbered; /* no place for them, not told yet */

/* Read and written without it. */
byte state[PLACES];
byte word1[PLACES];
byte word2[PLACES];
byte armed;
bit bell;

byte buffer_to[PROCESSES];
byte buffer_value[PROCESSES];

/* For the assertions: what the consumer was told. */
byte expected = 1;
byte told;

inline drain(p)
{
    if
    :: buffer_to[p] == EMPTY
    :: buffer_to[p] == TO_ARMED -> armed = buffer_value[p]
    :: else -> state[buffer_to[p] - 2] = buffer_value[p]
    fi;
    buffer_to[p] = EMPTY;
    buffer_value[p] = 0
}

inline store(p, to, value)
{
    atomic {
        drain(p);
        buffer_to[p] = to;
        buffer_value[p] = value
    }
}

/* Everything that p stored is visible: p waits for the memory. */
inline fence(p)
{
    buffer_to[p] == EMPTY
}

inline check_identity()
{
    assert(tail - 1 == delivered + lost + (tail - head) + in_flight)
}

/* The delayed stores arrive. */
active proctype memory()
{
end:
    do
    :: atomic { buffer_to[0] != EMPTY -> drain(0) }
    :: atomic { buffer_to[1] != EMPTY -> drain(1) }
    :: atomic { buffer_to[CONSUMER] != EMPTY -> drain(CONSUMER) }
    od
}

proctype producer(byte me)
{
    byte event = me; /* the second has one less */
    byte mine; /* the number got; 0: none */
    bit ring;

    do
    :: event < EVENTS ->
        event++;

        /* reserve */
        atomic {
            !locked;
            drain(me);
            do
            :: MAY_OVERWRITE && tail - head >= BOUND ->
                if
                :: state[head % PLACES] == BUSY && !MAY_OVERWRITE_BUSY -> break
                :: else ->
                    if
                    :: first_lost == 0 -> first_lost = head
                    :: else
                    fi;
#ifndef LOSS_NOT_COUNTED
                    lost++;
#endif
                    head++
                fi
            :: else -> break
            od;
            if
            :: tail - head < PLACES ->
                mine = tail;
                state[mine % PLACES] = BUSY;
                tail++
            :: else ->
                mine = 0;
                unnumbered++
            fi;
            check_identity()
        }

        if
        :: mine != 0 ->
#ifdef COMMIT_EARLY
            store(me, TO_STATE(mine % PLACES), COMMITTED);
#endif
            word1[mine % PLACES] = mine; /* fill, without the lock */
            word2[mine % PLACES] = mine;
#ifndef COMMIT_EARLY
            store(me, TO_STATE(mine % PLACES), COMMITTED)
#endif
        :: else
        fi;

        /* wake; or leave it to the one after the next commit */
        if
        :: event < EVENTS
        :: true ->
#ifndef NO_PRODUCER_FENCE
            fence(me);
#endif
            if
            :: armed == ARMED -> ring = 1
            :: armed == ARMED_HALF_FULL ->
                atomic {
                    !locked;
                    drain(me);
#ifndef NO_PRODUCER_LOOK
                    ring = (tail - head > HALF)
#endif
                }
            :: armed == DISARMED
            fi;
            if
            :: ring ->
                atomic { /* exchange: a full barrier */
                    drain(me);
                    if
                    :: armed != DISARMED -> armed = DISARMED; bell = 1
                    :: else
                    fi;
                    ring = 0
                }
            :: else
            fi
        fi
    :: else -> break
    od
}

proctype consumer()
{
    byte at;    /* the number that is looked at */
    byte until; /* what was reserved when the take began */
    byte copy;
    byte taken;
    bit ready;

    do
    :: delivered + told < TOTAL ->

        /* let records gather, or not */
        if
        :: true ->
            store(CONSUMER, TO_ARMED, ARMED_HALF_FULL);
            /* No fence here: what is looked at changes under the lock alone. */
#ifdef NO_GATHER_RECHECK
            ready = 0;
#else
            atomic { !locked -> locked = 1 };
            ready = (tail - head > HALF);
            fence(CONSUMER); /* of the release */
            locked = 0;
#endif
            if
            :: !ready ->
                if /* asleep until it rings, or for a while */
                :: atomic { bell -> bell = 0 }
                :: tail - head <= HALF
                fi
            :: else
            fi;
            store(CONSUMER, TO_ARMED, DISARMED);
            ready = 0
        :: true
        fi;

        /* take: what is lost is told first */
        atomic {
            !locked;
            drain(CONSUMER);
            if
            :: first_lost != 0 ->
                assert(first_lost == expected);
                told = told + (head - first_lost);
                expected = head;
                first_lost = 0
            :: else
            fi;
            told = told + unnumbered;
            unnumbered = 0;
            copying = 1;
            at = head;
            until = tail;
            taken = 0
        }
        do
        :: at < until ->
            if
            :: state[at % PLACES] == COMMITTED ->
                copy = word1[at % PLACES];
                assert(copy == at && copy == expected);
                copy = word2[at % PLACES];
                assert(copy == at);
                expected++;
                at++;
                taken++
            :: else -> break
            fi
        :: else -> break
        od;
        atomic {
            !locked;
            drain(CONSUMER);
            head = at;
            in_flight = taken;
            copying = 0;
            copy = 0;
            check_identity()
        }

        if
        :: taken != 0 -> /* sent and replied to */
            atomic {
                !locked;
                drain(CONSUMER);
                delivered = delivered + in_flight;
                in_flight = 0;
                check_identity()
            }
        :: taken == 0 && delivered + told < TOTAL ->

            /* arm */
            store(CONSUMER, TO_ARMED, ARMED);
#ifndef NO_CONSUMER_FENCE
            fence(CONSUMER);
#endif
#ifdef NO_RECHECK
            ready = 0;
#else
            atomic { !locked -> locked = 1 };
            if
            :: tail != head -> ready = (state[head % PLACES] == COMMITTED)
            :: else -> ready = (unnumbered != 0)
            fi;
            fence(CONSUMER); /* of the release */
            locked = 0;
#endif
            if
            :: !ready ->
                atomic { bell -> bell = 0 } /* asleep until it rings */
            :: else
            fi;
            store(CONSUMER, TO_ARMED, DISARMED)
        :: else
        fi;
        ready = 0;
        taken = 0;
        at = 0;
        until = 0
    :: else -> break
    od;

    /* Every event is accounted for. */
    assert(delivered + told == TOTAL && head == tail && in_flight == 0);
    assert(delivered + lost == tail - 1)
}

init
{
    atomic {
        byte i;

        for (i : 0 .. PRODUCERS - 1) {
            run producer(i)
        }
        run consumer()
    }
}
