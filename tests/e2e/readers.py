#!/usr/bin/env python3
"""Promises 2, 3, 4 and 6: readers that are killed, never reply, come second, cannot write, or are not
there at all. Nothing is lost without saying so, and the next reader always gets in."""
import fcntl
import os
import random
import select
import signal
import subprocess
import time

import e2e
import wire


def kill_while_it_writes(session, sensor, spawned, enough):
    """A reader that is killed in the middle of a message: its output is a pipe that is full. Returns
    it, with what came through the pipe as its output; it has written at least `enough` bytes, unless the
    storm was over."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 8192)
    os.set_blocking(read_end, False)
    reader = session.reader(sensor, stdout=write_end)

    def stuck():
        return not select.select([], [write_end], [], 0)[1] or is_over(spawned)

    with open(reader.output_path, "ab") as output:
        e2e.wait_until(stuck, "the pipe to be full")
        while output.tell() < enough and not is_over(spawned):
            output.write(os.read(read_end, 4096))
            e2e.wait_until(stuck, "the pipe to be full")
        reader.kill()
        os.close(write_end)
        while data := os.read(read_end, 65536):
            output.write(data)
    os.close(read_end)
    return reader


def is_over(spawned):
    return spawned.process.poll() is not None


def kill_at_any_moment(session, sensor, spawned, enough):
    reader = session.reader(sensor)
    e2e.wait_until(lambda: os.path.getsize(reader.output_path) >= enough or is_over(spawned),
                   "the reader to write")
    reader.kill()
    return reader


def test_reader_killed_again_and_again(session):
    kills = 10 if e2e.SANITIZED else 30
    sensor = session.sensor(**e2e.ROOMY)
    spawned = session.start_spawner(count=kills * 400, workers=1, rate=1500)
    chance = random.Random(1)
    outputs = []
    for number in range(kills):
        kill = kill_while_it_writes if number % 2 else kill_at_any_moment
        outputs.append(kill(session, sensor, spawned, chance.randrange(1, 60000)))
    last = session.reader(sensor)
    spawned.finish()
    session.mark(last)
    outputs.append(last)
    # A killed reader can leave half a line; events() leaves it out, as the next reader has the event.
    events = [event for reader in outputs for event in reader.events()]
    union = e2e.without_repeats(events)
    e2e.check(len(events) > len(union), "nothing came twice: no reader was killed in mid-message")
    e2e.equal(e2e.check_numbers(union), 0, "numbers lost")
    if e2e.SANITIZED and e2e.losses(union):
        return  # a sanitized sensor on a busy machine is too slow for the kernel; it has said so
    e2e.equal(e2e.losses(union), [], "what was lost")
    e2e.check_spawned(union, spawned)


def test_reader_that_never_replies(session):
    timeout = 0.4
    sensor = session.sensor(SendTimeoutMs=int(timeout * 1000), **e2e.ROOMY)
    with wire.Port(sensor.run_dir) as silent:
        e2e.equal(silent.welcome.status, 0, "the welcome's status")
        first = silent.receive()
        begin = time.monotonic()
        again = silent.receive()
        waited = time.monotonic() - begin
        third = silent.receive()
        end = silent.receive()
        e2e.check(waited > timeout * 0.8, f"sent again after {waited} s already")
        e2e.check(not first.redelivered, "the first message is marked as sent before")
        for repeated in (again, third):
            e2e.check(repeated.redelivered, "a repeated message is not marked")
            e2e.equal(repeated.sequences, first.sequences, "the numbers in the repeated message")
            e2e.equal(repeated.all_processes(), first.all_processes(), "what the repeated message tells")
        e2e.equal(len({first.id, again.id, third.id}), 3, "different message ids")
        e2e.equal(end, None, "what comes after the third time-out")
        reader = session.reader(sensor, "--no-reconnect")
        session.mark(reader)
    e2e.equal(e2e.check_numbers(reader.events()), 0, "numbers lost")


def test_partial_and_late_replies(session):
    sensor = session.sensor(SendTimeoutMs=300, **e2e.ROOMY)
    with wire.Port(sensor.run_dir) as port:
        first = port.receive()
        e2e.check(len(first.records) >= 3, f"only {len(first.records)} records at start")
        middle = first.sequences[1]
        port.send(wire.reply(first.id, middle))
        rest = port.receive()
        e2e.equal(rest.sequences[0], middle + 1, "the first number after a partial reply")
        e2e.check(rest.redelivered, "the rest is not marked as sent before")
        repeated = port.receive()  # the time-out has passed
        e2e.equal(repeated.sequences, rest.sequences, "the numbers in the repeated message")
        port.send(wire.reply(rest.id, rest.last))  # too late: it must count for nothing
        port.send(wire.reply(repeated.id, repeated.first))
        last = port.receive()
        e2e.equal(last.sequences[0], repeated.first + 1, "the first number after the late reply")
    reader = session.reader(sensor)
    session.mark(reader)
    e2e.equal(reader.events()[0]["Sequence"], last.sequences[0], "where the next reader begins")


def test_second_reader_is_refused(session):
    sensor = session.sensor()
    first = session.reader(sensor)
    session.mark(first)
    with wire.Port(sensor.run_dir) as second:
        e2e.equal(second.welcome.status, wire.CONNECTION_LIMIT, "the second reader's status")
        e2e.equal(second.receive(), None, "what the second reader gets")
    refused = session.reader(sensor, "--no-reconnect")
    e2e.check(refused.process.wait(e2e.PATIENCE) != 0, "the second reader ended with success")
    e2e.check("another reader" in refused.errors(), f"the second reader said: {refused.errors()!r}")
    e2e.equal(refused.events(), [], "the second reader's events")
    session.mark(first)
    # One that waits gets in as soon as the first one has gone, however it went.
    waiting = session.reader(sensor)
    e2e.wait_until(lambda: "another reader" in waiting.errors(), "the waiting reader to be refused")
    first.kill()
    session.mark(waiting)
    union = e2e.without_repeats(first.events() + waiting.events())
    e2e.equal(e2e.check_numbers(union), 0, "numbers lost")


def test_output_that_fails(session):
    """The disk is full, the pipe is closed: the reader says so and ends, and the sensor has the events."""
    sensor = session.sensor()
    with open("/dev/full", "wb") as full:
        reader = session.reader(sensor, stdout=full)
        e2e.check(reader.process.wait(e2e.PATIENCE) != 0, "a full disk is a success")
        e2e.check("No space left" in reader.errors(), f"about a full disk it said {reader.errors()!r}")
    # The first message does not fit this pipe, so it is never written as a whole.
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    reader = session.reader(sensor, stdout=write_end)
    os.close(write_end)
    os.read(read_end, 100)
    os.close(read_end)
    subprocess.run([e2e.TINY, "1"], check=False)
    e2e.check(reader.process.wait(e2e.PATIENCE) != 0, "a closed pipe is a success")
    e2e.check(reader.process.returncode != -signal.SIGPIPE, "a closed pipe killed the reader")
    last = session.reader(sensor)
    session.mark(last)
    numbers = [event["Sequence"] for event in last.events()]
    e2e.equal(numbers[0], 1, "the first number after failures that took nothing")
    e2e.equal(e2e.check_numbers(last.events()), 0, "numbers lost")


def test_nobody_reads(session):
    """The newest QueueRecords are kept, a quarter as many of older process events, and an EventsLost stands in
    each place where something is missing."""
    records = 1000
    sensor = session.sensor(QueueRecords=records)
    before = sensor.memory()
    spawned = session.spawn(count=3000)
    port = wire.Port(sensor.run_dir)
    # Whatever is under way from the kernel has come when the mark has; the storm is far behind then.
    message = port.receive()
    port.close()
    reader = session.reader(sensor)
    session.mark(reader)
    events = reader.events()
    gaps = [event for event in events if "FirstSequence" in event]
    e2e.equal(events[0]["sensor_type"], "EventsLost", "the first event")
    e2e.equal(events[0]["FirstSequence"], 1, "the first number lost")
    e2e.check(e2e.check_numbers(events) >= events[0]["LastSequence"], "numbers lost")
    e2e.equal(message.records[0].sequence, events[0]["Sequence"],
              "the first number of the message before")
    e2e.equal({cause for _, cause, _ in e2e.losses(gaps)}, {"QueueFull"}, "the causes of loss")
    for gap in gaps:
        e2e.equal(sum(count for _, _, count in e2e.losses([gap])), gap["Count"], "the sum of losses")
        e2e.equal(gap["Count"], gap["LastSequence"] - gap["FirstSequence"] + 1, "the count of losses")
    for kind in ("ProcessCreate", "ProcessDestroy", "ImageLoad"):
        lost = sum(count for event, _, count in e2e.losses(gaps) if event == kind)
        kept = sum(1 for event in events if event["sensor_type"] == kind)
        e2e.check(lost + kept >= 3000, f"{lost} lost and {kept} kept of 3000 {kind} events")
    # The oldest are lost, and of what is kept beyond the newest 1000 only others than processes. (Other
    # programs can have made for one more gap with processes, between the message and the reader.)
    with_processes = [gap for gap in gaps
                      if {"ProcessCreate", "ProcessDestroy"} & {event for event, _, _ in e2e.losses([gap])}]
    e2e.check(1 <= len(with_processes) <= 2, f"{len(with_processes)} gaps with processes")
    starts = {event["ProcessId"] for event in events if event["sensor_type"] == "ProcessCreate"}
    if len(with_processes) == 1:
        kept = len(events) - len(gaps)
        e2e.check(kept >= records + records // 4, f"{kept} events were kept")
        e2e.check(len(gaps) > 1, "nothing is missing between the older process events")
        for worker in {entry[2] for entry in spawned.entries}:
            there = [entry[1] in starts for entry in spawned.entries if entry[2] == worker]
            e2e.equal(there, sorted(there), f"which processes of worker {worker} are there")
    e2e.check(sensor.memory() - before < 2 << 20, f"memory grew from {before} to {sensor.memory()}")
    sensor.stop()
    stop = reader.wait_for(lambda event: event["sensor_type"] == "SensorStop", "the sensor's stop")
    e2e.equal(stop["LostEvents"], e2e.check_numbers(reader.events()), "lost, by the sensor's own account")
    e2e.equal(stop["Accepted"], stop["Sequence"] - 1, "accepted, by the sensor's own account")
    e2e.check(stop["Delivered"] + stop["LostEvents"] <= stop["Accepted"], f"more than there was: {stop}")


if __name__ == "__main__":
    e2e.main(test_reader_killed_again_and_again, test_reader_that_never_replies,
             test_partial_and_late_replies, test_second_reader_is_refused, test_output_that_fails,
             test_nobody_reads)
