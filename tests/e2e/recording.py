#!/usr/bin/env python3
"""A recording is the messages as they came: replayed, it prints what was printed live."""
import json
import os
import subprocess

import e2e


def record(session):
    """A recording of a small storm: its path, and the lines that were printed meanwhile."""
    sensor = session.sensor()
    path = os.path.join(session.directory, "recording")
    reader = session.reader(sensor, "--no-reconnect", "--record", path)
    session.spawn(count=500)
    session.mark(reader)
    sensor.stop()
    reader.process.wait(e2e.PATIENCE)
    with open(reader.output_path, "rb") as file:
        return path, file.read()


def replay(path, *arguments):
    return subprocess.run([e2e.NTFLTMGR, "--replay", path, *arguments], capture_output=True,
                          timeout=e2e.PATIENCE, check=False)


def test_replay_prints_the_same(session):
    path, live = record(session)
    replayed = replay(path)
    e2e.equal(replayed.returncode, 0, f"the exit code ({replayed.stderr.decode()})")
    e2e.check(replayed.stdout == live, "the replay prints something else than what was printed live")


def test_formats_and_filters(session):
    path, live = record(session)
    events = [json.loads(line) for line in live.splitlines()]
    only = replay(path, "--event", "ProcessDestroy").stdout.splitlines()
    e2e.equal([json.loads(line)["Sequence"] for line in only],
              [event["Sequence"] for event in events if event["sensor_type"] == "ProcessDestroy"],
              "what --event ProcessDestroy lets through")
    pid = next(event["ProcessId"] for event in events if event["sensor_type"] == "ProcessDestroy")
    only = replay(path, "--pid", str(pid)).stdout.splitlines()
    e2e.equal([json.loads(line)["Sequence"] for line in only],
              [event["Sequence"] for event in events if event.get("ProcessId") == pid],
              "what --pid lets through")
    e2e.equal(replay(path, "--count", "7").stdout, b"".join(live.splitlines(True)[:7]),
              "what --count lets through")
    pretty = replay(path, "--format", "pretty").stdout.decode()
    decoder = json.JSONDecoder()
    decoded, at = [], 0
    while at < len(pretty):
        event, at = decoder.raw_decode(pretty, at)
        decoded.append(event)
        at += len(pretty[at:]) - len(pretty[at:].lstrip())
    e2e.equal(decoded, events, "what --format pretty prints")
    text = replay(path, "--format", "text").stdout
    e2e.check(len(text.splitlines()) >= len(events), "--format text leaves something out")
    e2e.check(b"\x1b" not in text, "colour codes although it is no terminal")


def test_damaged_recordings(session):
    """Whatever was damaged: an error, never a crash; what stands before the damage is printed."""
    path, live = record(session)
    with open(path, "rb") as file:
        whole = file.read()
    damaged = os.path.join(session.directory, "damaged")

    def try_with(data, what):
        with open(damaged, "wb") as file:
            file.write(data)
        result = replay(damaged)
        e2e.check(result.returncode > 0, f"{what}: exit code {result.returncode}")
        e2e.check(result.stderr.strip() != b"", f"{what}: nothing was said")
        e2e.check(live.startswith(result.stdout[:result.stdout.rfind(b"\n") + 1]) or what == "changed",
                  f"{what}: something else was printed")

    try_with(b"", "empty")
    try_with(b"\0" * 1000, "zeros")
    try_with(b"not a recording at all\n" * 10, "text")
    try_with(whole[:-1], "cut at the end")
    try_with(whole[:len(whole) // 2], "cut in the middle")
    try_with(whole + b"rubbish", "with rubbish behind it")
    missing = replay(os.path.join(session.directory, "missing"))
    e2e.check(missing.returncode != 0 and b"missing" in missing.stderr, f"it said {missing.stderr!r}")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
