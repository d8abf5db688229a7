#!/usr/bin/env python3
"""ntfltmgr against a sensor that this program plays, and against Python's own idea of the wire, of UTF-8 and
of JSON (docs/protocol.md; nothing here was taken from the C headers).

    test_ntfltmgr.py NTFLTMGR [NAME]...    runs all tests, or those whose names contain a NAME

Prints TAP. Nothing sleeps to make a test pass: what has to have happened is waited for, with a deadline.
"""
import contextlib
import fcntl
import json
import os
import pty
import random
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

PATIENCE = 60
BOOT = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
SENSOR = uuid.UUID("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf")

IMAGE_LOAD, PROCESS_CREATE, PROCESS_DESTROY = 1, 2, 3
SENSOR_START, SENSOR_STOP, PROBE_STATE_CHANGED, EVENTS_LOST = 0x2001, 0x2002, 0x2003, 0x2004
CUT, UTF16 = 1, 2

CONNECTION_LIMIT = 0xC0000246 - (1 << 32)
ACCESS_DENIED = 0xC0000022 - (1 << 32)
VERSION_MISMATCH = 0xC0000059 - (1 << 32)

NTFLTMGR = None


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def equal(got, expected, what):
    if got != expected:
        raise Failure(f"{what}: got {got!r}, expected {expected!r}")


# ---- the wire --------------------------------------------------------------------------------------------------

RECORD = struct.Struct("<IHHQqQ16sQQIHH")
TEXT = struct.Struct("<HHHHI")


class Text:
    """A text and, when it is cut, how much is from its beginning and how long it was."""

    def __init__(self, data=b"", head=None, full=None):
        self.data = data
        self.head = len(data) if head is None else head
        self.full = len(data) if full is None else full

    @property
    def cut(self):
        return self.full > len(self.data)


def record(kind, sequence, fixed=b"", texts=(), present=0, pid=0, key=0, time=134398224001234567, flags=0):
    """`texts` are (offset of the descriptor in the record, Text)."""
    fixed_size = RECORD.size + len(fixed)
    body = bytearray(RECORD.size) + bytearray(fixed)
    for at, text in texts:
        offset = len(body) if text.data else 0
        TEXT.pack_into(body, at, offset, len(text.data), text.head, 0, text.full)
        body += text.data
        if text.cut:
            flags |= CUT
    body += bytes(-len(body) % 8)
    RECORD.pack_into(body, 0, len(body), kind, flags, sequence, time, 0, SENSOR.bytes, key, present, pid,
                     fixed_size, 0)
    return bytes(body)


def batch(records, boot=BOOT):
    sequences = [struct.unpack_from("<Q", r, 8)[0] for r in records]
    body = b"".join(records)
    return struct.pack("<HHIII16sQQ", 1, 48, 48 + len(body), len(records), 0, boot.bytes, sequences[0],
                       sequences[-1]) + body


def message(message_id, records, boot=BOOT):
    return struct.pack("<IIQ", 32, 0, message_id) + batch(records, boot)


def destroy(sequence, pid=0, exit_code=0):
    return record(PROCESS_DESTROY, sequence, struct.pack("<QIIII", 0, exit_code, 0, 0, 0), present=1 << 1,
                  pid=pid, key=pid)


CREATE_TEXTS = {"ImageFileName": 152, "CommandLine": 164, "Arguments": 176, "WorkingDirectory": 188,
                "ExecFileName": 200, "UserSid": 212}
CREATE_BITS = ["ParentProcessId", "ParentProcessKey", "Cause", "EProcess", "UniqueProcess", "UniqueThread",
               "FileObject", "CreationStatus", "UserId", "GroupId", "UserSid", "SessionId", "CgroupId",
               "PidNamespace", "Inode", "ImageFileName", "ExecFileName", "CommandLine", "Arguments",
               "WorkingDirectory"]


def create(sequence, values=(), pid=0, key=0, flags=0, time=134398224001234567):
    """A ProcessCreate with these fields: numbers, or Text."""
    values = dict(values)
    number = {name: value for name, value in values.items() if name not in CREATE_TEXTS}
    fixed = struct.pack("<6Q3Ii4I", *(number.get(name, 0) for name in (
        "ParentProcessKey", "EProcess", "FileObject", "CgroupId", "PidNamespace", "Inode", "ParentProcessId",
        "UniqueProcess", "UniqueThread", "CreationStatus", "Cause", "SessionId", "UserId", "GroupId")))
    texts = [(at, values[name]) for name, at in CREATE_TEXTS.items() if name in values]
    present = sum(1 << CREATE_BITS.index(name) for name in values)
    return record(PROCESS_CREATE, sequence, fixed + bytes(72), texts, present, pid, key, time, flags)


def lost(first, last, count=None, causes=((1, PROCESS_CREATE, 1),)):
    losses = b"".join(struct.pack("<HHIQ", cause, kind, 0, number) for cause, kind, number in causes)
    count = last - first + 1 if count is None else count
    return record(EVENTS_LOST, last, struct.pack("<QQQ", first, last, count) + bytes(16),
                  [(96, Text(losses))], present=0xf)


def sensor_stop(sequence):
    return record(SENSOR_STOP, sequence, struct.pack("<QQQ", 0, 0, 0) + bytes(16),
                  [(96, Text(b"asked to"))], present=0xf)


# ---- the sensor ------------------------------------------------------------------------------------------------


class Sensor:
    """Listens in a run directory of its own. Each step is taken by the test."""

    def __init__(self, directory):
        self.run_dir = directory
        self.path = os.path.join(directory, "WVUPort")
        self.listener = None
        self.port = None
        self.next_id = 1
        self.listen()

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.listener.settimeout(PATIENCE)

    def stop_listening(self):
        self.listener.close()
        os.unlink(self.path)

    def accept(self, status=0, version=1):
        """Lets a reader in, or not."""
        self.port, _ = self.listener.accept()
        self.port.settimeout(PATIENCE)
        self.port.send(struct.pack("<HHiII", version, 16, status, 64016, 0))
        if status != 0:
            self.hang_up()
        return self

    def send(self, records, boot=BOOT, message_id=None):
        self.next_id += 1
        number = self.next_id if message_id is None else message_id
        self.port.send(message(number, records, boot))
        return number

    def reply(self):
        """(message id, acknowledged), or None when the reader is gone."""
        packet = self.port.recv(4096)
        if not packet:
            return None
        status, _, number, version, size, _, acknowledged = struct.unpack("<iIQHHIQ", packet)
        equal((status, version, size), (0, 1, 16), "a reply's status, version and size")
        return number, acknowledged

    def expect_reply(self, number, acknowledged):
        equal(self.reply(), (number, acknowledged), "message id and sequence of the reply")

    def deliver(self, records, boot=BOOT):
        """Sends a message and waits for its reply, which must acknowledge all of it."""
        number = self.send(records, boot)
        self.expect_reply(number, struct.unpack_from("<Q", records[-1], 8)[0])

    def expect_no_reply(self):
        ready, _, _ = select.select([self.port], [], [], 0)
        check(not ready, "there is a reply before the events were written")

    def expect_gone(self):
        try:
            equal(self.reply(), None, "what comes from a reader that ended")
        except ConnectionResetError:
            pass

    def hang_up(self):
        self.port.close()
        self.port = None


class Run:
    """A running ntfltmgr."""

    def __init__(self, session, *arguments, stdout=None, environment=None, **options):
        self.stderr_path = session.path("stderr")
        self.stdout_path = session.path("stdout")
        with open(self.stderr_path, "wb") as stderr, open(self.stdout_path, "wb") as output:
            self.process = subprocess.Popen([NTFLTMGR, *arguments], stdin=subprocess.DEVNULL,
                                            stdout=output if stdout is None else stdout, stderr=stderr,
                                            env={**os.environ, **(environment or {})}, **options)
        session.processes.append(self.process)

    def output(self):
        with open(self.stdout_path, "rb") as file:
            return file.read()

    def events(self):
        return [json.loads(line) for line in self.output().splitlines()]

    def sequences(self):
        return [event["Sequence"] for event in self.events()]

    def errors(self):
        with open(self.stderr_path, "rb") as file:
            return file.read().decode()

    def wait(self, expected):
        code = self.process.wait(PATIENCE)
        if code != expected:
            raise Failure(f"exit code {code}, expected {expected}; it said:\n{self.errors()}")
        return self

    def interrupt(self, expected=0, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait(expected)

    def wait_for_error(self, text):
        wait_until(lambda: text in self.errors() or self.process.poll() is not None, repr(text))
        check(text in self.errors(), f"it never said {text!r} but\n{self.errors()}")

    def wait_until_it_writes(self):
        """Until it sleeps in a write to a full pipe."""
        def writes():
            with open(f"/proc/{self.process.pid}/wchan") as file:
                where = file.read()
            if where == "0":  # a kernel that does not tell: the number of the call (x86-64, arm64)
                with open(f"/proc/{self.process.pid}/syscall") as file:
                    return file.read().split()[0] in ("1", "64")
            return "pipe_write" in where or self.process.poll() is not None
        wait_until(writes, "the reader to be stuck in its output")
        check(self.process.poll() is None, "the reader ended instead of being stuck")


class Session:
    """What one test needs; everything is ended and removed after it."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="wvu-ntfltmgr.")
        self.processes = []
        self.count = 0

    def path(self, name):
        self.count += 1
        return os.path.join(self.directory, f"{name}{self.count}")

    def sensor(self):
        directory = self.path("run")
        os.mkdir(directory)
        return Sensor(directory)

    def start(self, sensor, *arguments, **options):
        return Run(self, "--run-dir", sensor.run_dir, *arguments, **options)

    def connected(self, *arguments, **options):
        sensor = self.sensor()
        run = self.start(sensor, *arguments, **options)
        sensor.accept()
        return sensor, run

    def replay(self, messages, *arguments, expected=0, **options):
        """What is printed of a recording of these messages."""
        path = self.path("recording")
        with open(path, "wb") as file:
            file.write(recording(messages))
        return Run(self, "--replay", path, *arguments, **options).wait(expected)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory)


def recording(messages):
    return (b"WVUREC\r\n" + struct.pack("<II", 1, 16)
            + b"".join(struct.pack("<Q", len(m)) + m for m in messages))


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"waited in vain for {what}")
        time.sleep(0.002)


def fill(writing):
    """Line ends until nothing more goes into the pipe. Returns how many."""
    filled = 0
    os.set_blocking(writing, False)
    for size in (512, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(writing, b"\n" * size)
    os.set_blocking(writing, True)
    return filled


def full_pipe():
    """(reading end, writing end, bytes in it): nothing more goes into it."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    return reading, writing, fill(writing)


# ---- printing and replying -------------------------------------------------------------------------------------------


def test_events_are_printed_and_then_acknowledged(session):
    sensor, run = session.connected()
    sensor.deliver([destroy(1, pid=10), destroy(2, pid=11)])
    equal(run.sequences(), [1, 2], "what was printed when the reply came")
    sensor.deliver([destroy(3)])
    equal(run.sequences(), [1, 2, 3], "what was printed when the second reply came")
    run.interrupt()
    sensor.expect_gone()
    check(run.output().endswith(b"}\n"), "the output does not end with a line")


def test_no_reply_before_the_output_took_the_events(session):
    """Promise 4, on the reader's side."""
    reading, writing, filled = full_pipe()
    sensor, run = session.connected(stdout=writing)
    os.close(writing)
    number = sensor.send([destroy(1), destroy(2)])
    run.wait_until_it_writes()
    sensor.expect_no_reply()
    data = b""
    while data.count(b"\n") < filled + 2:
        data += os.read(reading, 65536)
    sensor.expect_reply(number, 2)
    equal([json.loads(line)["Sequence"] for line in data.split()], [1, 2], "what went through the pipe")
    run.interrupt()
    os.close(reading)


def test_killed_while_it_writes_it_has_acknowledged_nothing(session):
    reading, writing, _ = full_pipe()
    sensor, run = session.connected(stdout=writing)
    os.close(writing)
    sensor.send([destroy(1)])
    run.wait_until_it_writes()
    run.process.kill()
    sensor.expect_gone()
    os.close(reading)
    # The next reader gets it.
    run = session.start(sensor)
    sensor.accept().deliver([destroy(1)])
    equal(run.sequences(), [1], "what the second reader printed")


def test_a_signal_ends_a_write_that_is_stuck(session):
    """What went out whole is acknowledged, the rest is not."""
    sizes = [len(line) for line in session.replay([message(1, [destroy(n) for n in range(1, 40)])])
             .output().splitlines(True)]
    reading, writing = os.pipe()
    capacity = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    sensor, run = session.connected(stdout=writing)
    os.close(writing)
    number = sensor.send([destroy(n) for n in range(1, 40)])
    run.wait_until_it_writes()
    sensor.expect_no_reply()
    run.interrupt()
    data = os.read(reading, 65536)
    equal(len(data), capacity, "bytes in the pipe")
    whole = data.count(b"\n")
    check(0 < whole < 39 and sum(sizes[:whole]) <= capacity, f"{whole} whole lines")
    sensor.expect_reply(number, whole)
    sensor.expect_gone()
    if data[-1:] != b"\n":
        check("not complete" in run.errors(), f"it said {run.errors()!r}")
    os.close(reading)


def test_a_signal_ends_a_write_before_its_first_byte(session):
    reading, writing, _ = full_pipe()
    sensor, run = session.connected("--summary", stdout=writing)
    os.close(writing)
    sensor.send([destroy(1)])
    run.wait_until_it_writes()
    run.interrupt()
    sensor.expect_gone()
    check("0 events" in run.errors(), f"the summary counts what was not written:\n{run.errors()}")
    os.close(reading)


def test_a_full_disk_ends_it_without_a_reply(session):
    with open("/dev/full", "wb") as full:
        sensor, run = session.connected(stdout=full)
    sensor.send([destroy(1)])
    run.wait(1)
    sensor.expect_gone()
    check("No space left" in run.errors(), f"it said {run.errors()!r}")


def test_a_full_disk_in_mid_message_ends_it_without_a_reply(session):
    """The file takes some of the events; none is acknowledged, so none can be lost."""
    path = session.path("limited")
    sensor = session.sensor()
    run = session.start(sensor, "--output", path,
                        preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))))
    sensor.accept().send([destroy(n) for n in range(1, 20)])
    run.wait(1)
    sensor.expect_gone()
    equal(os.path.getsize(path), 1000, "size of the file")


def test_a_closed_pipe_ends_it_without_a_reply(session):
    reading, writing = os.pipe()
    sensor = session.sensor()
    os.close(reading)
    run = session.start(sensor, stdout=writing)
    os.close(writing)
    # It may notice before or after it gets a message.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sensor.accept().send([destroy(1)])
    run.wait(1)
    sensor.expect_gone()
    check("standard output" in run.errors(), f"it said {run.errors()!r}")


def test_it_notices_a_closed_pipe_while_nothing_happens(session):
    reading, writing = os.pipe()
    sensor, run = session.connected(stdout=writing)
    os.close(writing)
    sensor.deliver([destroy(1)])
    os.close(reading)
    run.wait(1)
    sensor.expect_gone()


def test_without_standard_output_it_does_not_start(session):
    sensor = session.sensor()
    run = session.start(sensor, preexec_fn=lambda: os.close(1))
    run.wait(1)
    check("standard output is closed" in run.errors(), f"it said {run.errors()!r}")
    # With a file to write to, nothing else gets the number 1.
    path = session.path("output")
    run = session.start(sensor, "--output", path, preexec_fn=lambda: (os.close(0), os.close(1)))
    sensor.accept().deliver([destroy(1)])
    run.interrupt()
    with open(path) as file:
        equal([json.loads(line)["Sequence"] for line in file], [1], "what is in the file")


def test_a_non_blocking_output_is_waited_for(session):
    reading, writing, filled = full_pipe()
    os.set_blocking(writing, False)
    sensor, run = session.connected(stdout=writing)
    os.close(writing)
    number = sensor.send([destroy(n) for n in range(1, 100)])
    data = b""
    while data.count(b"\n") < filled + 99:
        data += os.read(reading, 100)
    sensor.expect_reply(number, 99)
    run.interrupt()
    os.close(reading)


def test_a_large_message_is_one_write(session):
    sensor, run = session.connected()
    argument = b"x" * 30000
    big = create(1, {"Arguments": Text(argument + b"\0")})
    strace = shutil.which("strace")
    sensor.deliver([big, create(2, {"Arguments": Text(argument + b"\0")})])
    equal([event["Arguments"] for event in run.events()], [["x" * 30000]] * 2, "the arguments")
    if strace:
        trace = session.path("trace")
        tracer = subprocess.Popen([strace, "-q", "-e", "trace=write", "-o", trace, "-p",
                                   str(run.process.pid)], stderr=subprocess.PIPE)
        session.processes.append(tracer)
        wait_until(lambda: "TracerPid:\t0\n" not in open(f"/proc/{run.process.pid}/status").read()
                   or tracer.poll() is not None, "strace to attach")
        if tracer.poll() is None:
            sensor.deliver([create(n, {"Arguments": Text(b"x\0")}) for n in range(3, 90)])
            tracer.send_signal(signal.SIGINT)  # it lets go
            tracer.wait(PATIENCE)
            run.interrupt()
            with open(trace) as file:
                writes = [line for line in file if line.startswith("write(1,")]
            equal(len(writes), 1, f"writes to standard output ({writes})")
            return
    run.interrupt()


# ---- what is printed ---------------------------------------------------------------------------------------------------


def test_count_acknowledges_exactly_what_it_prints(session):
    sensor, run = session.connected("--count", "3")
    sensor.deliver([destroy(1), destroy(2)])
    number = sensor.send([destroy(3), destroy(4), destroy(5)])
    sensor.expect_reply(number, 3)
    run.wait(0)
    sensor.expect_gone()
    equal(run.sequences(), [1, 2, 3], "what was printed")


def test_count_counts_what_passes_the_filters(session):
    sensor, run = session.connected("--count", "2", "--pid", "7")
    number = sensor.send([destroy(n, pid=7 if n % 3 == 0 else 8) for n in range(1, 12)])
    sensor.expect_reply(number, 6)
    run.wait(0)
    equal(run.sequences(), [3, 6], "what was printed")


def test_filters_print_less_and_acknowledge_all(session):
    records = [create(1, pid=5), destroy(2, pid=5), destroy(3, pid=6), create(4, pid=6), destroy(5, pid=77)]
    for arguments, expected in ((["--event", "ProcessCreate"], [1, 4]),
                                (["--event", "processcreate,IMAGELOAD"], [1, 4]),
                                (["--event", "ImageLoad", "--event", "ProcessDestroy"], [2, 3, 5]),
                                (["--pid", "5"], [1, 2]), (["--pid", "5,77"], [1, 2, 5]),
                                (["--pid", "5", "--pid", "6", "--event", "ProcessDestroy"], [2, 3]),
                                (["--pid", "1"], []), (["--event", "SensorStop"], [])):
        sensor, run = session.connected(*arguments)
        sensor.deliver(records)
        equal(run.sequences(), expected, f"what is printed with {arguments}")
        run.interrupt()


def test_unknown_events_are_printed_and_never_fatal(session):
    sensor, run = session.connected()
    sensor.deliver([record(0x7777, 1, b"\x01\x02\xff\0\0\0\0\0", pid=3), destroy(2)])
    event = run.events()[0]
    equal((event["sensor_type"], event["Type"], event["Bytes"], event["ProcessId"]),
          ("Unknown", 0x7777, "0102ff0000000000", 3), "an unknown event")
    run.interrupt()


# ---- duplicates and gaps ------------------------------------------------------------------------------------------------


def test_what_comes_twice_is_printed_once(session):
    sensor, run = session.connected("--summary")
    sensor.deliver([destroy(1), destroy(2)])
    sensor.deliver([destroy(1), destroy(2), destroy(3)])
    sensor.deliver([destroy(3)])
    sensor.hang_up()
    sensor.accept().deliver([destroy(2), destroy(3), destroy(4)])
    run.interrupt()
    equal(run.sequences(), [1, 2, 3, 4], "what was printed")
    check("5 duplicates, 1 reconnects" in run.errors(), f"the summary:\n{run.errors()}")


def test_another_boot_id_begins_anew(session):
    sensor, run = session.connected("--summary")
    sensor.deliver([destroy(1), destroy(2)])
    other = uuid.UUID(int=1)
    sensor.deliver([destroy(1), destroy(2)], boot=other)
    run.interrupt()
    equal([(event["BootId"], event["Sequence"]) for event in run.events()],
          [(str(BOOT), 1), (str(BOOT), 2), (str(other), 1), (str(other), 2)], "what was printed")
    check("0 missing, 0 duplicates" in run.errors(), f"the summary:\n{run.errors()}")


def test_a_gap_that_nobody_explains_is_told(session):
    sensor, run = session.connected("--summary")
    sensor.deliver([destroy(10), destroy(12)])
    sensor.deliver([destroy(20)])
    run.interrupt()
    for text in ("events 11 to 11 are missing", "events 13 to 19 are missing", " 8 missing"):
        check(text in run.errors(), f"it did not say {text!r} but\n{run.errors()}")
    equal(run.sequences(), [10, 12, 20], "what was printed")


def test_a_gap_that_events_lost_covers_is_none(session):
    sensor, run = session.connected("--summary")
    sensor.deliver([destroy(1), lost(2, 9), destroy(10)])
    sensor.deliver([lost(11, 11), lost(12, 15)])
    # One without a range: losses before events were numbered.
    unnumbered = record(EVENTS_LOST, 16, struct.pack("<QQQ", 0, 0, 5) + bytes(16),
                        [(96, Text(struct.pack("<HHIQ", 3, 0, 0, 5)))], present=0xc)
    sensor.deliver([unnumbered])
    run.interrupt()
    check("are missing" not in run.errors(), f"it complained:\n{run.errors()}")
    check("18 lost, 0 missing" in run.errors(), f"the summary:\n{run.errors()}")
    equal(run.events()[-1]["Lost"], [{"Cause": "KernelRingFull", "Event": "Unknown", "Count": 5}],
          "losses without numbers")


def test_events_lost_that_covers_half_a_gap_leaves_the_other_half(session):
    sensor, run = session.connected()
    sensor.deliver([destroy(1), lost(5, 9), destroy(10)])
    run.interrupt()
    check("events 2 to 4 are missing" in run.errors(), f"it said\n{run.errors()}")


# ---- connecting ---------------------------------------------------------------------------------------------------------


def test_it_waits_for_a_sensor_that_is_not_there(session):
    sensor = session.sensor()
    sensor.stop_listening()
    run = session.start(sensor)
    run.wait_for_error("waiting for it")
    sensor.listen()
    sensor.accept().deliver([destroy(1)])
    equal(run.sequences(), [1], "what was printed")
    run.wait_for_error("connected to")
    run.interrupt()
    equal(run.errors().count("waiting for it"), 1, "how often it said that it waits")


def test_it_connects_again_when_the_sensor_restarts(session):
    sensor, run = session.connected("--summary")
    sensor.deliver([destroy(1)])
    sensor.stop_listening()
    sensor.hang_up()
    run.wait_for_error("the connection ended")
    sensor.listen()
    sensor.accept().deliver([destroy(1)], boot=uuid.UUID(int=9))
    run.interrupt()
    equal(len(run.events()), 2, "events")
    check("1 reconnects" in run.errors(), f"the summary:\n{run.errors()}")


def test_the_time_between_attempts_doubles(session):
    sensor = session.sensor()
    run = session.start(sensor)
    times = []
    for _ in range(5):
        sensor.accept(status=CONNECTION_LIMIT)
        times.append(time.monotonic())
    gaps = [after - before for before, after in zip(times, times[1:])]
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8)):
        check(gap >= least * 0.9, f"gaps between attempts: {gaps}")
    sensor.accept().deliver([destroy(1)])
    # After a message the series begins anew.
    sensor.hang_up()
    begin = time.monotonic()
    sensor.accept(status=CONNECTION_LIMIT)
    check(time.monotonic() - begin < 1.5, "it did not begin with a short pause again")
    run.interrupt()
    equal(run.errors().count("another reader is connected"), 2, "how often it told the reason")


def test_without_reconnect_it_ends(session):
    sensor = session.sensor()
    run = session.start(sensor, "--no-reconnect")
    sensor.accept(status=CONNECTION_LIMIT)
    run.wait(3)
    check("another reader is connected" in run.errors(), f"it said {run.errors()!r}")
    run = session.start(sensor, "--no-reconnect")
    sensor.accept().deliver([destroy(1)])
    sensor.hang_up()
    run.wait(3)
    equal(run.sequences(), [1], "what was printed")
    sensor.stop_listening()
    session.start(sensor, "--no-reconnect").wait(3)
    Run(session, "--no-reconnect", "--run-dir", "/" + "x" * 200).wait(3)


def test_the_proper_end_of_a_stream_is_no_error(session):
    sensor, run = session.connected("--no-reconnect")
    sensor.deliver([destroy(1), sensor_stop(2)])
    sensor.hang_up()
    run.wait(0)


def test_some_refusals_are_final(session):
    for status, version, code, text in ((ACCESS_DENIED, 1, 3, "access is denied"),
                                        (VERSION_MISMATCH, 1, 3, "version"), (0, 2, 3, "version")):
        sensor = session.sensor()
        run = session.start(sensor)
        sensor.accept(status, version)
        run.wait(code)
        check(text in run.errors(), f"it said {run.errors()!r}")


def test_garbage_ends_it_without_a_reply(session):
    sensor, run = session.connected()
    sensor.port.send(b"\0" * 500)
    run.wait(1)
    sensor.expect_gone()
    check("malformed" in run.errors(), f"it said {run.errors()!r}")


# ---- signals --------------------------------------------------------------------------------------------------------------


def test_every_signal_ends_it_cleanly(session):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        sensor, run = session.connected()
        sensor.deliver([destroy(1)])
        run.interrupt(number=number)
        sensor.expect_gone()
        equal(run.sequences(), [1], "what was printed")


def test_signals_end_it_while_it_waits_for_a_sensor(session):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        run = Run(session, "--run-dir", session.directory)
        run.wait_for_error("waiting for it")
        run.interrupt(number=number)


def test_nohup_is_respected(session):
    sensor, run = session.connected(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    run.process.send_signal(signal.SIGHUP)
    sensor.deliver([destroy(1)])
    run.interrupt()


# ---- recording and replaying -------------------------------------------------------------------------------------------------


def test_a_recording_has_the_messages_as_they_came(session):
    path = session.path("recording")
    sensor, run = session.connected("--record", path, "--event", "ProcessCreate")
    sent = [message(77, [create(1, pid=1), destroy(2)]), message(78, [destroy(1), destroy(2), destroy(3)]),
            message(1 << 63, [record(0x7777, 4)])]
    for packet in sent:
        sensor.port.send(packet)
        check(sensor.reply(), "a reply")
    run.interrupt()
    with open(path, "rb") as file:
        equal(file.read(), recording(sent), "the recording")
    equal(os.stat(path).st_mode & 0o777, 0o600, "mode of the recording")


def test_a_replay_prints_what_was_printed_live(session):
    path = session.path("recording")
    sensor, run = session.connected("--record", path)
    chance = random.Random(1)
    sequence = 0
    for _ in range(30):
        records = []
        for _ in range(chance.randrange(1, 20)):
            sequence += 1
            records.append(create(sequence, {"Arguments": Text(chance.randbytes(chance.randrange(300)))}))
        sensor.deliver(records)
        if chance.randrange(3) == 0:
            sensor.deliver(records)
    run.interrupt()
    live = run.output()
    equal(len(live.splitlines()), sequence, "lines")
    equal(Run(session, "--replay", path).wait(0).output(), live, "the replay")
    for arguments in ([], ["--count", "7"], ["--summary"], ["--stats"]):
        with open(path, "rb") as file:
            result = subprocess.run([NTFLTMGR, "--replay", "-", *arguments], stdin=file,
                                    capture_output=True, timeout=PATIENCE, check=True)
        expected = b"".join(live.splitlines(True)[:7]) if arguments[:1] == ["--count"] else live
        equal(result.stdout, expected, f"the replay from standard input with {arguments}")


def test_no_reply_before_the_recording_took_the_message(session):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    sensor, run = session.connected("--record", f"/proc/self/fd/{writing}", pass_fds=[writing])
    wait_until(lambda: select.select([reading], [], [], 0)[0], "the recording's header")
    fill(writing)
    number = sensor.send([destroy(1)])
    run.wait_until_it_writes()
    sensor.expect_no_reply()
    data = b""
    while not select.select([sensor.port], [], [], 0)[0]:
        if select.select([reading, sensor.port], [], [], PATIENCE)[0] == [reading]:
            data += os.read(reading, 65536)
    sensor.expect_reply(number, 1)
    run.interrupt()
    os.close(writing)
    while more := os.read(reading, 65536):
        data += more
    os.close(reading)
    equal(re.sub(b"\n{512,}", b"", data), recording([message(number, [destroy(1)])]), "the recording")


def test_a_recording_that_cannot_be_written_ends_it_without_a_reply(session):
    sensor, run = session.connected("--no-reconnect", "--record", session.path("limited"),
                                    preexec_fn=lambda: (
                                        signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))))
    sensor.deliver([destroy(1)])
    sensor.send([destroy(n) for n in range(2, 9)])
    run.wait(1)
    sensor.expect_gone()
    equal(run.sequences(), [1], "what was printed")
    Run(session, "--record", "/dev/full").wait(1)


def test_a_recording_is_never_overwritten(session):
    path = session.path("recording")
    with open(path, "w") as file:
        file.write("precious")
    run = Run(session, "--record", path).wait(1)
    check("not empty" in run.errors(), f"it said {run.errors()!r}")
    with open(path) as file:
        equal(file.read(), "precious", "the file")
    run = Run(session, "--record", "/nonexistent/x").wait(1)
    check("/nonexistent/x" in run.errors(), f"it said {run.errors()!r}")


def test_damaged_recordings_are_told_apart(session):
    packets = [message(n, [destroy(n)]) for n in range(1, 4)]
    whole = recording(packets)

    def replay(data):
        path = session.path("damaged")
        with open(path, "wb") as file:
            file.write(data)
        return Run(session, "--replay", path)

    equal(replay(whole).wait(0).sequences(), [1, 2, 3], "the whole recording")
    ends = [16 + sum(8 + len(p) for p in packets[:n]) for n in range(4)]
    for size in sorted({*range(0, len(whole), 11), *(end + d for end in ends for d in (-1, 0, 1, 8))}):
        if size >= len(whole):
            continue
        run = replay(whole[:size])
        good = sum(1 for end in ends[1:] if end <= size)
        run.wait(0 if size in ends else 1)
        equal(run.sequences(), list(range(1, good + 1)), f"what is printed of {size} bytes")
        if size not in ends and size > 16:
            check(f"at byte {size}" in run.errors(), f"for {size} bytes it said {run.errors()!r}")
    for at, value in ((0, 0x77), (7, 0x0d), (8, 2), (12, 15), (12, 17), (13, 0xff), (16, 0), (16, 0x11),
                      (19, 1), (23, 0x80), (24, 31), (40, 2), (44, 1)):
        damaged = bytearray(whole)
        damaged[at] = value
        run = replay(bytes(damaged)).wait(1)
        equal(run.output(), b"", f"what is printed with {value} at {at}")
    check("no recording" in replay(b"\0" * 100).wait(1).errors(), "a file of zeros")
    check("no recording" in replay(b"").wait(1).errors(), "an empty file")
    # A longer header is from a later version of the format's writer.
    equal(replay(whole[:12] + struct.pack("<I", 32) + bytes(16) + whole[16:]).wait(0).sequences(),
          [1, 2, 3], "with a longer header")
    run = Run(session, "--replay", "/nonexistent/file").wait(1)
    check("/nonexistent/file" in run.errors(), f"it said {run.errors()!r}")


def test_a_signal_ends_a_replay_that_waits_for_input(session):
    reading, writing = os.pipe()
    process = subprocess.Popen([NTFLTMGR, "--replay", "-"], stdin=reading, stdout=subprocess.PIPE)
    session.processes.append(process)
    os.close(reading)
    os.write(writing, recording([message(1, [destroy(1)])]) + b"\x50")
    check(b'"Sequence":1' in process.stdout.readline(), "the first event")
    process.send_signal(signal.SIGINT)
    equal(process.wait(PATIENCE), 0, "the exit code")
    process.stdout.close()
    os.close(writing)


# ---- files and formats ---------------------------------------------------------------------------------------------------------


def test_output_is_appended_and_begins_a_line(session):
    path = session.path("output")
    for before, expected in ((b"", b""), (b"old\n", b"old\n"), (b"old", b"old\n")):
        with open(path, "wb") as file:
            file.write(before)
        run = session.replay([message(1, [destroy(1)])], "--output", path)
        equal(run.output(), b"", "standard output")
        with open(path, "rb") as file:
            data = file.read()
        check(data.startswith(expected + b'{"sensor_id"') and data.count(b"\n") == before.count(b"\n") +
              (2 if before == b"old" else 1), f"the file after {before!r}: {data!r}")
    run = session.replay([message(1, [destroy(1)])], "--output", "/nonexistent/x", expected=1)
    check("/nonexistent/x" in run.errors(), f"it said {run.errors()!r}")
    new = session.path("new")
    session.replay([message(1, [destroy(1)])], "--output", new)
    equal(os.stat(new).st_mode & 0o777, 0o600, "mode of a new file")


SAMPLE = [create(1, {"ParentProcessId": 1, "Cause": 1, "ImageFileName": Text(b"/bin/sh"), "UserId": 1000,
                     "Arguments": Text(b"sh\0-c\0echo \"a b\"\0"), "WorkingDirectory": Text(b"/")}, pid=4242,
                 key=7),
          create(2, {"Arguments": Text(b"")}), destroy(3, pid=4242, exit_code=3), lost(4, 5),
          record(0x7777, 6, b"12345678")]


def test_pretty_is_the_same_indented(session):
    plain = session.replay([message(1, SAMPLE)]).events()
    pretty = session.replay([message(1, SAMPLE)], "--format", "pretty").output().decode()
    equal(pretty, "".join(json.dumps(event, indent=2, ensure_ascii=False) + "\n" for event in plain),
          "the indented output")


def test_text_is_one_line_an_event(session):
    lines = session.replay([message(1, SAMPLE)], "--format", "text").output().decode().splitlines()
    equal(lines[0], "2026-11-22 12:00:00.123456  ProcessCreate         4242  sh -c 'echo \"a b\"'"
                    "  image=/bin/sh  cause=Exec  parent=1  user=1000  in=/", "a create")
    equal(lines[2], "2026-11-22 12:00:00.123456  ProcessDestroy        4242  exit=3", "a destroy")
    check("EventsLost" in lines[3] and "count=2" in lines[3], lines[3])
    check("Unknown" in lines[4] and "Type=30583" in lines[4] and "3132333435363738" in lines[4], lines[4])
    equal(len(lines), 5, "lines")


def test_text_cannot_disturb_a_terminal(session):
    nasty = "\x1b[2J\x07\r\n\x7f\x80\x9b\u200e\u2028\u202e\u2066" + "\u2026\u20ac\u00e9"
    run = session.replay([message(1, [create(1, {"Arguments": Text(nasty.encode() + b"\0"),
                                                 "ImageFileName": Text(nasty.encode())})])],
                         "--format", "text")
    line = run.output().decode()
    equal(line.count("\n"), 1, "line ends")
    bad = [c for c in line[:-1] if ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0
           or c in "\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
    equal(bad, [], "characters that a terminal could obey")
    check("\u2026\u20ac\u00e9" in line, "harmless characters should stay")


def test_colour_is_for_terminals_unless_asked_for(session):
    path = session.path("recording")
    with open(path, "wb") as file:
        file.write(recording([message(1, SAMPLE)]))
    base = ["--replay", path, "--format", "text"]
    check(b"\x1b" not in Run(session, *base).wait(0).output(), "colour in a file")
    check(b"\x1b[32m" in Run(session, *base, "--color", "always").wait(0).output(), "no colour though asked")

    def on_terminal(*arguments, **environment):
        master, slave = pty.openpty()
        run = Run(session, *base, *arguments, stdout=slave,
                  environment={"NO_COLOR": "", "TERM": "xterm", **environment})
        os.close(slave)
        data = b""
        with contextlib.suppress(OSError):
            while True:
                data += os.read(master, 65536)
        run.wait(0)
        os.close(master)
        return data

    check(b"\x1b[32m" in on_terminal(), "no colour on a terminal")
    for arguments, environment in (([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}),
                                   (["--color", "never"], {})):
        check(b"\x1b" not in on_terminal(*arguments, **environment), f"colour {arguments} {environment}")
    check(b"\x1b" in on_terminal("--color", "always", NO_COLOR="1"), "no colour though asked")


def test_statistics_go_to_standard_error(session):
    sensor, run = session.connected("--stats", "--summary")
    sensor.deliver(SAMPLE)
    run.wait_for_error("5 events,")
    run.interrupt()
    for text in ("events/s", "5 events in ", "5 written", "ProcessCreate                2",
                 "Unknown                      1", "2 lost, 0 missing, 0 duplicates, 0 reconnects"):
        check(text in run.errors(), f"it did not say {text!r} but\n{run.errors()}")
    equal(run.sequences(), [1, 2, 3, 5, 6], "standard output")


# ---- options -------------------------------------------------------------------------------------------------------------------


def test_wrong_usage_has_its_own_exit_code(session):
    for arguments, text in ((["--nonsense"], "nonsense"), (["-x"], "x"), (["extra"], "extra"),
                            (["--event", "Nonsense"], "ProcessCreate"), (["--event", ""], "ProcessCreate"),
                            (["--event", "ProcessCreate,"], "ProcessCreate"), (["--pid", "x"], "process id"),
                            (["--pid", "0"], "process id"), (["--pid", "4294967296"], "process id"),
                            (["--pid", "-1"], "process id"), (["--count", "0"], "--count"),
                            (["--count", "-1"], "--count"), (["--count", "1x"], "--count"),
                            (["--count", "18446744073709551616"], "--count"), (["--format", "xml"], "json"),
                            (["--color", "red"], "always"), (["--run-dir"], "run-dir"),
                            (["--replay", "a", "--record", "b"], "--record"),
                            (["--pid", ",".join(["1"] * 65)], "at most 64")):
        run = Run(session, *arguments).wait(2)
        equal(run.output(), b"", f"standard output for {arguments}")
        check(text in run.errors() and "--help" in run.errors(), f"{arguments}: it said {run.errors()!r}")


def test_help_and_version_go_to_standard_output(session):
    for option in ("--help", "--version"):
        run = Run(session, option).wait(0)
        equal(run.errors(), "", "standard error")
        check(run.output().startswith(b"Usage: ntfltmgr" if option == "--help" else b"ntfltmgr 0"),
              f"{option} prints {run.output()!r}")
        with open("/dev/full", "wb") as full:
            Run(session, option, stdout=full).wait(1)
    text = Run(session, "--help").wait(0).output().decode()
    check(max(map(len, text.splitlines())) <= 100, "a line of the help is too long")


# ---- JSON against Python -----------------------------------------------------------------------------------------------------


def model_text(data, utf16):
    codec = "utf-16-le" if utf16 else "utf-8"
    shown = data.decode(codec, "replace")
    try:
        data.decode(codec)
        return shown, True
    except UnicodeDecodeError:
        return shown, False


def model_line(arguments):
    def quote(argument):
        if argument and not re.search(r"[^A-Za-z0-9@%+=:,./_\-\u0080-\U0010ffff]", argument):
            return argument
        return "'" + argument.replace("'", "'\\''") + "'"
    return " ".join(map(quote, arguments))


def model_create(sequence, values, pid, key, flags, ticks):
    """The JSON object for create(...) of these uncut values, as Python sees it."""
    event = {"sensor_id": str(SENSOR), "sensor_type": "ProcessCreate", "CurrentGMT": ticks,
             "BootId": str(BOOT), "Sequence": sequence, "Timestamp": model_time(ticks)}
    if pid:
        event["ProcessId"] = pid
    if key:
        event["ProcessKey"] = f"0x{key:016x}"
    for name in CREATE_BITS:
        if name == "CommandLine" and "CommandLine" not in values and "Arguments" in values and not flags:
            parts = model_list(values["Arguments"].data, False)[0]
            event["CommandLine"] = model_line(parts)
            continue
        if name not in values:
            if not flags and name in ("ImageFileName", "CommandLine", "Arguments"):
                event[name] = [] if name == "Arguments" else ""
            continue
        value = values[name]
        if name in ("ParentProcessKey",):
            event[name] = f"0x{value:016x}"
        elif name in ("EProcess", "FileObject"):
            event[name] = hex(value)
        elif name == "CreationStatus":
            event[name] = f"0x{value & 0xffffffff:08x}"
        elif name == "Cause":
            event[name] = dict(enumerate(("Unknown", "Exec", "Fork", "Running", "Found"))).get(value, value)
        elif name in CREATE_TEXTS:
            shown, good = (model_list if name == "Arguments" else model_text)(value.data, bool(flags))
            event[name] = shown
            if not good:
                event[name + "Bytes"] = value.data.hex()
        else:
            event[name] = value
    return event


def model_list(data, utf16):
    nul = b"\0\0" if utf16 else b"\0"
    if utf16:
        units = [data[i:i + 2] for i in range(0, len(data), 2)]
        elements, now = [], b""
        for unit in units:
            if unit == nul:
                elements.append(now)
                now = b""
            else:
                now += unit
        elements += [now] if now else []
    else:
        elements = data.split(nul)
        if elements[-1] == b"":
            elements.pop()
    shown = [model_text(element, utf16) for element in elements]
    return [text for text, _ in shown], all(good for _, good in shown)


def model_time(ticks):
    seconds, rest = divmod(ticks, 10**7)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds - 11644473600)) + f".{rest:07d}Z"


PIECES = [b"a", b"plain/text", b"-", b"=", "é".encode(), "€".encode(), "😀".encode(), b"\xff", b"\x80",
          b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b'"',
          b"\\", b"'", b" ", b"\n", b"\x1b", b"\x7f", b"\0", b"\0", b"\0"]
UNITS = [0x61, 0x22, 0x5c, 0x0a, 0, 0, 0x7f, 0x80, 0xe9, 0x7ff, 0x800, 0x20ac, 0xd7ff, 0xe000, 0xffff]


def random_text(chance, utf16):
    if not utf16:
        return b"".join(chance.choice(PIECES) for _ in range(chance.randrange(40)))
    units = []
    for _ in range(chance.randrange(40)):
        if chance.randrange(6) == 0:
            units += [chance.randrange(0xd800, 0xdc00), chance.randrange(0xdc00, 0xe000)]
        elif chance.randrange(20) == 0:
            units += [chance.randrange(0xd800, 0xe000), 0x61]
        else:
            units.append(chance.choice(UNITS))
    return struct.pack(f"<{len(units)}H", *units)


def test_python_reads_what_python_would_have_written(session):
    chance = random.Random(20261122)
    records, expected = [], []
    for sequence in range(1, 4001):
        flags = UTF16 if chance.randrange(4) == 0 else 0
        values = {}
        for name in CREATE_BITS:
            if chance.randrange(3) == 0:
                continue
            if name in CREATE_TEXTS:
                values[name] = Text(random_text(chance, flags))
            elif name == "CreationStatus":
                values[name] = chance.randrange(-2**31, 2**31)
            elif name == "Cause":
                values[name] = chance.randrange(8)
            else:
                wide = name in ("ParentProcessKey", "EProcess", "FileObject", "CgroupId", "PidNamespace",
                                "Inode")
                values[name] = chance.getrandbits(chance.randrange(1, 65 if wide else 33))
        ticks = chance.randrange(0, 10**18)
        pid, key = chance.choice((0, 1, 2**32 - 1)), chance.choice((0, 2**64 - 1, chance.getrandbits(64)))
        records.append(create(sequence, values, pid, key, flags, ticks))
        expected.append(model_create(sequence, values, pid, key, flags, ticks))
    packets = [message(n, records[n:n + 20]) for n in range(0, len(records), 20)]
    lines = session.replay(packets).output().splitlines()
    equal(len(lines), len(expected), "lines")
    for line, event in zip(lines, expected):
        got = json.loads(line.decode("utf-8", "strict"))
        equal(list(got.items()), list(event.items()), "an event")
        # A shell reads the arguments again, if they are text that a shell can have.
        if "Arguments" in event and not b"\0" in b"".join(a.encode() for a in event["Arguments"]) \
                and line.count(b'"CommandLine":') and "\ufffd" not in event["CommandLine"] \
                and records[event["Sequence"] - 1][6] & UTF16 == 0 \
                and CREATE_BITS.index("CommandLine") not in bits(records[event["Sequence"] - 1]):
            equal(shlex.split(got["CommandLine"]), got["Arguments"], "what a shell makes of the command line")


def bits(packed):
    present = RECORD.unpack_from(packed)[8]
    return {n for n in range(64) if present >> n & 1}


def test_every_two_bytes_decode_as_python_decodes_them(session):
    """And the text around them stays what it is."""
    texts = [bytes([a, b]) for a in range(0x80, 0x100) for b in range(0x78, 0x100)]
    records = [create(n + 1, {"ImageFileName": Text(b"abc" + text + b"xyz")}) for n, text in enumerate(texts)]
    packets = [message(n, records[n:n + 200]) for n in range(0, len(records), 200)]
    for text, event in zip(texts, session.replay(packets).events()):
        shown, good = model_text(b"abc" + text + b"xyz", False)
        equal(event["ImageFileName"], shown, f"{text.hex()} decoded")
        equal(event.get("ImageFileNameBytes"), None if good else (b"abc" + text + b"xyz").hex(),
              f"the bytes of {text.hex()}")


def test_numbers_are_exact(session):
    numbers = [2**n + d for n in range(1, 64) for d in (-1, 0, 1)] + [2**64 - 1, 10**19, 2**53 + 1]
    records = [create(n + 1, {"CgroupId": number}) for n, number in enumerate(numbers)]
    equal([event["CgroupId"] for event in session.replay([message(1, records)]).events()], numbers, "numbers")


# ---- all of it -------------------------------------------------------------------------------------------------------------------


def main():
    global NTFLTMGR
    NTFLTMGR = os.path.abspath(sys.argv[1])
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started this may ignore it, and readers inherit that
    names = sys.argv[2:]
    tests = [(name, value) for name, value in globals().items() if name.startswith("test_")
             and (not names or any(wanted in name for wanted in names))]
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, test) in enumerate(tests, 1):
        session = Session()
        try:
            test(session)
            print(f"ok {number} - {name}")
        except Exception as error:  # whatever goes wrong is this test's failure
            failed += 1
            print(f"not ok {number} - {name}")
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            print("".join(f"#   {line}\n" for line in text[:4000].splitlines()), end="")
        finally:
            session.close()
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
