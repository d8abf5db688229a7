#!/usr/bin/env python3
"""Promises 3 and 4, at full speed: every process is reported exactly once, with all that belongs to it,
in order, and nothing is lost. The truth is what the spawner and wait() say."""
import os

import e2e


def watch(session, count, program, arguments=()):
    sensor = session.sensor()
    reader = session.reader(sensor)
    reader.wait_for(lambda event: event["sensor_type"] == "SensorStart", "the sensor's start")
    spawned = session.spawn(count, workers=2, program=program, arguments=arguments)
    session.mark(reader)
    events = list(reader.events())
    e2e.equal(e2e.check_numbers(events), 0, "numbers lost")
    if e2e.SANITIZED and e2e.losses(events):
        return events  # a sanitized sensor on a busy machine is too slow for the kernel; it has said so
    e2e.equal(e2e.losses(events), [], "what was lost")
    e2e.check_spawned(events, spawned)
    return events


def test_every_process_at_full_speed(session):
    count = int(os.environ.get("WVU_SPAWNS", "20000"))
    watch(session, count, e2e.TINY, ["with", "", "several arguments", "\u00e4\u20ac"])


def test_every_image_of_ordinary_programs(session):
    count = int(os.environ.get("WVU_SPAWNS", "20000")) // 10
    events = watch(session, count, e2e.TINYDYN)
    build_ids = {event.get("BuildId") for event in events if event["sensor_type"] == "ImageLoad"
                 and event["FullImageName"] == e2e.TINYDYN}
    e2e.equal(build_ids, {build_id(e2e.TINYDYN)}, "the build ids reported for tinydyn")


def build_id(path):
    """From the file's own notes: 4, 20, 3, "GNU\\0", then the id."""
    with open(path, "rb") as file:
        data = file.read()
    at = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
    return data[at:at + 20].hex()


if __name__ == "__main__":
    e2e.main(test_every_process_at_full_speed, test_every_image_of_ordinary_programs)
