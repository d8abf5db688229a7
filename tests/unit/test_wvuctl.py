#!/usr/bin/env python3
"""wvuctl against a sensor that this program plays, which knows the wire from docs/protocol.md and nothing from
the C headers.

    test_wvuctl.py WVUCTL [NAME]...    runs all tests, or those whose names contain a NAME

Prints TAP. Nothing sleeps to make a test pass: what has to have happened is waited for, with a deadline.
"""
import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid

PATIENCE = 60

ECHO, ENABLE, DISABLE, ENABLE_UNLOAD, DISABLE_UNLOAD, ENUMERATE, CONFIGURE, KILL = range(8)
STATISTICS, SET_LOG, SCHEMA, SET_FILTER, SHUTDOWN, STATUS, GET_FILTER = range(16, 23)


def status(value):
    return value - (1 << 32)


INVALID_PARAMETER = status(0xC000000D)
ACCESS_DENIED = status(0xC0000022)
STOPPING = status(0xC0000056)
PRIVILEGE_NOT_HELD = status(0xC0000061)
NOT_SUPPORTED = status(0xC00000BB)
INVALID_STATE = status(0xC0000184)
NOT_FOUND = status(0xC0000225)
AGAIN = status(0xC000022D)
VERSION_MISMATCH = status(0xC0000059)
CONNECTION_LIMIT = status(0xC0000246)

DONE, FAILED, USAGE, NO_SENSOR, DENIED, PROTECTED = range(6)

BOOT = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
ZERO = bytes(16)
TIME = 134398224001234567  # 2026-11-22T12:00:00.1234567Z

WVUCTL = None


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def equal(got, expected, what):
    if got != expected:
        raise Failure(f"{what}: got {got!r}, expected {expected!r}")


# ---- the wire -------------------------------------------------------------------------------------------------


def with_texts(fixed, at, texts):
    """A structure of these fixed bytes with descriptors from offset `at` on, and the texts behind it."""
    body = bytearray(fixed)
    for n, text in enumerate(texts):
        data = text if isinstance(text, bytes) else text.encode()
        struct.pack_into("<HHHHI", body, at + 12 * n, len(body) if data else 0, len(data), len(data), 0, len(data))
        body += data
    return body


def probe(name, condition=1, configuration="", reason="", attributes=0x1a, why=0, operations=0, filtered=0,
          interval=0, last=0):
    identifier = uuid.uuid5(BOOT, name).bytes
    fixed = struct.pack("<II16sIIiIQQQq", 0, 112, identifier, attributes, condition, why, 0, operations, filtered,
                        interval, last) + bytes(40)
    body = with_texts(fixed, 72, [name, configuration, reason])
    body += bytes(-len(body) % 8)
    struct.pack_into("<I", body, 0, len(body))
    return bytes(body)


PROBES = [("ImageLoad", dict(configuration="imageload=on\nkernel=off", operations=1234, filtered=5, last=TIME)),
          ("ProcessCreate", dict(configuration="processcreate=on", operations=7)),
          ("ProcessListValidation", dict(attributes=0x1c, interval=30 * 10**9, condition=0)),
          ("ThreadCreate", dict(condition=2, why=NOT_SUPPORTED, reason="the kernel has no such tracepoint"))]
ALL_PROBES = b"".join(probe(name, **values) for name, values in PROBES)
NAMES = [name for name, _ in PROBES]


def identifier(name):
    return uuid.uuid5(BOOT, name).bytes


COUNTERS = ("UptimeNs", "Accepted", "Delivered", "Lost", "Queued", "InFlight", "QueuedBytes", "HighWater",
            "LostUnnumbered", "Filtered", "Cut", "Batches", "Sends", "Timeouts", "BadReplies", "Connections",
            "Redelivered", "Commands", "CommandsFailed", "Mitigations")


def statistics(events=(), host="", times=(), **values):
    """`events`: (type, accepted, delivered, filtered, cut, {cause: count})."""
    size = 16 + 8 * len(COUNTERS) + 256 + 16
    callback = [0] * 32
    for index, count in dict(times).items():
        callback[index] = count
    fixed = bytearray(struct.pack("<IIII", size, 104, len(events), 16))
    fixed += struct.pack(f"<{len(COUNTERS)}Q", *(values.get(name, 0) for name in COUNTERS))
    fixed += struct.pack("<32Q", *callback) + bytes(16)
    at = len(fixed) - 16
    for kind, accepted, delivered, filtered, cut, lost in events:
        causes = [lost.get(cause, 0) for cause in range(8)]
        fixed += struct.pack("<H6xQQQQ8Q", kind, accepted, delivered, filtered, cut, *causes)
    return bytes(with_texts(fixed, at, [host]))


def sensor_status(protected=0, reader=0, rules=0, host=1, log="main=info\nqueue=warning", name="box"):
    fixed = struct.pack("<II16s16sqQIIIIIII", 144, host, BOOT.bytes, identifier("sensor"), TIME, 3723 * 10**9, 1,
                        4242, protected, reader, 8192, 16 << 20, rules) + bytes(60)
    return bytes(with_texts(fixed, 84, [name, "1.2.3", "Linux 6.12.0", "QueueRecords=8192\nGroup=", log]))


SCHEMA_TEXT = """event 0x0003 ProcessDestroy 96
field 0 ADDRESS 72 EProcess
field 1 U32 80 ExitCode
sparkle of a newer sensor
event 0x0005 ThreadDestroy 80
field 0 U32 72 ThreadId
value ENUM_HOST 1 Linux
value ENUM_HOST 2 Windows
"""


class Sensor(threading.Thread):
    """Answers requests on its own thread. `answers`: {command: data, (status, text), or a function of the
    request that gives one of these, bytes(...) as a raw packet wrapped in Raw, or None for silence}."""

    def __init__(self, directory, answers=(), welcome=0, version=1):
        super().__init__(daemon=True)
        self.run_dir = directory
        self.answers = {ENUMERATE: ALL_PROBES, STATUS: sensor_status(), STATISTICS: statistics(),
                        GET_FILTER: b"", SCHEMA: SCHEMA_TEXT.encode(), **dict(answers)}
        self.welcome, self.version = welcome, version
        self.requests = []  # (command, probe id, data)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(os.path.join(directory, "WVUCommand"))
        self.listener.listen(8)
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                port, _ = self.listener.accept()
                with port:
                    self.serve(port)

    def serve(self, port):
        port.send(struct.pack("<HHiII", self.version, 16, self.welcome, 65536, 0))
        if self.welcome != 0:
            return
        with contextlib.suppress(ConnectionError):
            while packet := port.recv(1 << 17):
                version, size, command, probe_id, data_size, reserved = struct.unpack_from("<HHI16sII", packet)
                good = (version, size, data_size, reserved) == (1, 32, len(packet) - 32, 0)
                self.requests.append((command, probe_id, packet[32:] if good else "a wrong request"))
                answer = self.answers.get(command, b"")
                if callable(answer):
                    answer = answer(packet[32:])
                if answer is HANG_UP:
                    return
                if answer is not SILENCE:
                    port.send(response(command, answer))

    def changes(self):
        """The requests that change something."""
        return [request for request in self.requests if request[0] not in (ENUMERATE, STATUS)]

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Raw:
    def __init__(self, packet):
        self.packet = packet


SILENCE, HANG_UP = object(), object()


def response(command, answer):
    if isinstance(answer, Raw):
        return answer.packet
    code, data = answer if isinstance(answer, tuple) else (0, answer)
    data = data.encode() if isinstance(data, str) else data
    return struct.pack("<HHIiI", 1, 16, command, code, len(data)) + data


class Session:
    """What one test needs; everything is ended and removed after it."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="wvu-wvuctl.")
        self.sensors, self.processes, self.count = [], [], 0

    def path(self, name):
        self.count += 1
        return os.path.join(self.directory, f"{name}{self.count}")

    def file(self, text):
        path = self.path("file")
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def sensor(self, answers=(), **options):
        directory = self.path("run")
        os.mkdir(directory)
        self.sensors.append(Sensor(directory, answers, **options))
        return self.sensors[-1]

    def start(self, sensor, *arguments, environment=None, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        where = ["--run-dir", sensor.run_dir if sensor else os.path.join(self.directory, "nowhere")]
        process = subprocess.Popen([WVUCTL, *where, *arguments],
                                   env={**os.environ, "NO_COLOR": "", "TERM": "xterm", **(environment or {})},
                                   **options)
        self.processes.append(process)
        return process

    def run(self, sensor, *arguments, expected=DONE, text=None, **options):
        """(output, errors) of a command that ends with this exit code."""
        if text is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(sensor, *arguments, **options)
        output, errors = process.communicate(text, timeout=PATIENCE)
        output, errors = (output or b"").decode(), (errors or b"").decode()
        if process.returncode != expected:
            raise Failure(f"{arguments}: exit code {process.returncode}, expected {expected}; it said:\n{output}{errors}")
        check(expected != DONE or not errors, f"{arguments}: it complained though it was done:\n{errors}")
        check(expected == DONE or errors.startswith("wvuctl: ") or "option" in errors,
              f"{arguments}: it did not say why:\n{errors}")
        return output, errors

    def json(self, sensor, *arguments, **options):
        output, _ = self.run(sensor, *arguments, "--json", **options)
        equal(output.count("\n"), 1, f"{arguments}: lines")
        return json.loads(output)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for file in (process.stdout, process.stderr, process.stdin):
                if file:
                    file.close()
        for sensor in self.sensors:
            sensor.close()
        shutil.rmtree(self.directory)


def on_terminal(session, sensor, *arguments, **environment):
    """What is written to a terminal."""
    master, slave = pty.openpty()
    process = session.start(sensor, *arguments, stdout=slave, environment=environment)
    os.close(slave)
    data = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 65536):
            data += chunk
    os.close(master)
    equal(process.wait(PATIENCE), DONE, f"{arguments} on a terminal")
    return data.decode().replace("\r\n", "\n")


def rows(text):
    """The lines of a table as lists of cells: cells are two blanks apart."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


# ---- status -------------------------------------------------------------------------------------------------------


def test_status_for_people(session):
    sensor = session.sensor({STATUS: sensor_status(protected=1, reader=77, rules=1)})
    table = {row[0]: row[1] for row in rows(session.run(sensor, "status")[0]) if len(row) == 2}
    equal(table, {"sensor": "WinVirtUE 1.2.3, process 4242", "host": "box, Linux 6.12.0",
                  "started": "2026-11-22 12:00:00 UTC, 1 h 2 min ago", "reader": "process 77 reads the events",
                  "queue": "at most 8192 events and 16.0 MiB", "filter": "1 rule",
                  "protection": "on: it refuses to be stopped"}, "the table")
    text = session.run(session.sensor(), "status")[0]
    for words in ("none: events wait in the queue", "no rules", "protection     off",
                  "configuration  QueueRecords=8192  Group=\n", "log            main=info  queue=warning\n"):
        check(words in text, f"{words!r} is not in\n{text}")


def test_status_is_short(session):
    log = "\n".join(f"module{n}=info" for n in range(12))
    check("log            all=info\n" in session.run(session.sensor({STATUS: sensor_status(log=log)}), "status")[0],
          "one level for all")
    text, _ = session.run(session.sensor({STATUS: sensor_status(log=log + "\nlast=trace")}), "status")
    check(max(map(len, text.splitlines())) <= 80 and "last=trace" in text, f"a long log:\n{text}")


def test_status_for_programs(session):
    expected = {"Host": "Windows", "HostName": "box", "SensorVersion": "1.2.3", "SystemVersion": "Linux 6.12.0",
                "ProtocolVersion": 1, "SensorId": str(uuid.UUID(bytes=identifier("sensor"))), "BootId": str(BOOT),
                "Started": "2026-11-22T12:00:00.1234567Z", "UptimeNs": 3723 * 10**9, "ProcessId": 4242,
                "Protected": True, "ReaderProcessId": 77, "QueueRecords": 8192, "QueueBytes": 16 << 20,
                "FilterRules": 3, "Configuration": {"QueueRecords": "8192", "Group": ""},
                "Log": {"main": "info", "queue": "warning"}}
    sensor = session.sensor({STATUS: sensor_status(protected=1, reader=77, rules=3, host=2)})
    equal(list(session.json(sensor, "status").items()), list(expected.items()), "status --json")
    equal(session.json(session.sensor(), "status")["ReaderProcessId"], None, "nobody reads")
    equal(session.json(session.sensor({STATUS: sensor_status(host=9)}), "status")["Host"], 9, "an unknown host")


# ---- probes -------------------------------------------------------------------------------------------------------


def test_probes_for_people(session):
    text, _ = session.run(session.sensor(), "probes")
    lines = text.splitlines()
    equal(rows(text)[0], ["PROBE", "STATE", "EVENTS", "FILTERED", "LAST (UTC)", "EVERY"], "titles")
    found = {row[0]: row[1:] for row in rows(text)}
    equal(found["ImageLoad"], ["Running", "1234", "5", "2026-11-22 12:00:00", "-"], "a probe")
    equal(found["ProcessListValidation"], ["Stopped", "0", "0", "never", "30 s"], "a temporal probe")
    equal(found["ThreadCreate"][0], "Failed", "a failed probe")
    equal(lines[2].strip(), "imageload=on  kernel=off", "its settings")
    equal(lines[-1].strip(), "the kernel has no such tracepoint [NOT_SUPPORTED]", "why it failed")
    # Columns stand below their titles: numbers end where the title does.
    end = lines[0].index("EVENTS") + len("EVENTS")
    for line in (lines[1], lines[3]):
        check(line[end - 1].isdigit() and line[end] == " ", f"{line!r} is not aligned with\n{lines[0]!r}")


def test_intervals_for_people(session):
    for seconds, text in ((1, "1 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (86400, "24 h"),
                          (7260, "2 h 1 min"), (172800, "2 days"), (176400, "2 days 1 h")):
        output, _ = session.run(session.sensor({ENUMERATE: probe("P", interval=seconds * 10**9)}), "probes")
        equal(rows(output)[1][-1], text, f"{seconds} seconds")


def test_many_settings_are_broken_into_lines(session):
    settings = "\n".join(f"setting-number-{n}=on" for n in range(12))
    text, _ = session.run(session.sensor({ENUMERATE: probe("Registry", configuration=settings)}), "probes")
    equal(re.findall(r"setting-number-\d+=on", text), settings.split("\n"), "settings")
    check(max(map(len, text.splitlines())) <= 80, f"a line is too long:\n{text}")


def test_probes_by_name(session):
    text, _ = session.run(session.sensor(), "probes", "image", "THREADCREATE")
    equal([row[0] for row in rows(text) if row[0] in NAMES], ["ImageLoad", "ThreadCreate"], "probes")
    equal(session.run(session.sensor(), "probes", "--names")[0].split(), NAMES, "probes --names")
    equal(session.json(session.sensor(), "probes", "--names"), NAMES, "probes --names --json")
    session.run(session.sensor(), "probes", "nonsense", expected=USAGE)


def test_probes_for_programs(session):
    found = session.json(session.sensor(), "probes")
    equal([entry["Name"] for entry in found], NAMES, "names")
    equal(list(found[0].items()), list({
        "Name": "ImageLoad", "ProbeId": str(uuid.UUID(bytes=identifier("ImageLoad"))), "State": "Running",
        "Status": "0x00000000", "Reason": "", "Attributes": ["RealTime", "EnabledAtStart", "Dynamic"],
        "Operations": 1234, "Filtered": 5, "IntervalNs": None, "LastRun": "2026-11-22T12:00:00.1234567Z",
        "Configuration": {"imageload": "on", "kernel": "off"}}.items()), "a probe")
    equal(found[2]["IntervalNs"], 30 * 10**9, "a temporal probe's interval")
    equal(found[2]["Attributes"], ["Temporal", "EnabledAtStart", "Dynamic"], "its attributes")
    equal((found[3]["State"], found[3]["Status"], found[3]["LastRun"]), ("Failed", "0xc00000bb", None), "a failure")
    equal(session.json(session.sensor({ENUMERATE: b""}), "probes"), [], "a sensor without probes")


# ---- enable, disable, configure -------------------------------------------------------------------------------------


def test_enable_and_disable(session):
    for word, command, name in (("enable", ENABLE, "EnableProbe"), ("disable", DISABLE, "DisableProbe")):
        sensor = session.sensor()
        equal(session.run(sensor, word, "imageload")[0], f"ImageLoad: {word}d\n", "what it says")
        session.run(sensor, word, "all")
        equal(session.run(sensor, word, "proc", "thr", expected=USAGE)[0], "", "an ambiguous name")
        session.run(sensor, word, "ProcessC", "Image")
        equal(sensor.changes(), [(command, identifier("ImageLoad"), b""), (command, ZERO, b""),
                                 (command, identifier("ProcessCreate"), b""),
                                 (command, identifier("ImageLoad"), b"")], "requests")
        equal(session.json(sensor, word, "all"), {"Command": name, "Target": "all", "Status": "0x00000000"}, "JSON")


def test_a_wrong_name_lists_the_probes_and_changes_nothing(session):
    sensor = session.sensor()
    for words in (["enable", "nonsense"], ["disable", "ImageLoad", "nonsense"], ["configure", "nonsense", "a=1"],
                  ["enable", ""], ["enable", "Process"], ["configure", "nonsense"]):
        _, errors = session.run(sensor, *words, expected=USAGE)
        check(all(name in errors for name in NAMES), f"{words}: it did not list the probes:\n{errors}")
    equal(sensor.changes(), [], "requests")


def test_what_was_done_before_a_failure_is_said(session):
    answers = iter([b"", (NOT_SUPPORTED, "it cannot be")])
    output, errors = session.run(session.sensor({DISABLE: lambda _: next(answers)}), "disable", "image", "thread",
                                 "processc", expected=FAILED)
    equal(output, "ImageLoad: disabled\n", "output")
    equal(errors, "wvuctl: cannot disable ThreadCreate: it cannot be [NOT_SUPPORTED]\n", "errors")


def test_configure(session):
    sensor = session.sensor()
    equal(session.run(sensor, "configure", "image", "kernel=on", "x=1 y=2")[0], "ImageLoad: configured\n", "words")
    equal(session.json(sensor, "configure", "all", "a="),
          {"Command": "ConfigureProbe", "Target": "all", "Status": "0x00000000"}, "JSON")
    equal(sensor.changes(), [(CONFIGURE, identifier("ImageLoad"), b"kernel=on\nx=1 y=2"), (CONFIGURE, ZERO, b"a=")],
          "requests")
    for words in (["a"], ["a=1", "b"]):
        check("KEY=VALUE" in session.run(sensor, "configure", "image", *words, expected=USAGE)[1], "usage")
    why = "line 1: kernel: \"maybe\" is not one of on, off"
    _, errors = session.run(session.sensor({CONFIGURE: (INVALID_PARAMETER, why)}), "configure", "image",
                            "kernel=maybe", expected=FAILED)
    equal(errors, f"wvuctl: cannot configure ImageLoad: {why} [INVALID_PARAMETER]\n", "the sensor's reason")


def test_configure_without_values_shows_them(session):
    sensor = session.sensor()
    equal(session.run(sensor, "configure", "image")[0], "imageload=on\nkernel=off\n", "settings")
    equal(session.run(sensor, "configure", "all")[0],
          "ImageLoad imageload=on\nImageLoad kernel=off\nProcessCreate processcreate=on\n", "settings of all")
    equal(session.json(sensor, "configure", "image"), {"imageload": "on", "kernel": "off"}, "JSON")
    equal(session.json(sensor, "configure", "all"),
          {"ImageLoad": {"imageload": "on", "kernel": "off"}, "ProcessCreate": {"processcreate": "on"},
           "ProcessListValidation": {}, "ThreadCreate": {}}, "JSON of all")
    equal(sensor.changes(), [], "requests")


# ---- stats ----------------------------------------------------------------------------------------------------------


EVENTS = [(0, 0, 0, 0, 0, {}), (1, 100, 90, 5, 2, {1: 3}), (3, 7, 7, 0, 0, {}), (999, 1, 0, 0, 0, {3: 2, 7: 1})]
VALUES = {name: 1000 + n for n, name in enumerate(COUNTERS)}


def test_stats_for_people(session):
    sensor = session.sensor({STATISTICS: statistics(EVENTS, "rings=4\nring-lost=0", {8: 30, 9: 10}, **VALUES)})
    text, _ = session.run(sensor, "stats")
    found = {row[0]: row[1:] for row in rows(text)}
    equal(found["ImageLoad"], ["100", "90", "3", "5", "2"], "an event")
    equal(found["999"], ["1", "0", "3", "0", "0"], "an event that is not known")
    check("Unknown" not in found, "a line for what never was")
    check("lost: 3 QueueFull, 2 KernelRingFull, 1 7\n" in text, f"losses by cause:\n{text}")
    for name, value in VALUES.items():
        equal(found[name][0], str(value), name)
    equal(found["from 256 ns"], ["30", "75.0 %"], "a time")
    equal(found["from 512 ns"], ["10", "25.0 %"], "a time")
    check("one call in 16" in text, "the sample")
    equal((found["rings"], found["ring-lost"]), (["4"], ["0"]), "the host's own")
    quiet, _ = session.run(session.sensor(), "stats")
    check("lost:" not in quiet and "CALLBACK" not in quiet and "HOST" not in quiet, f"nothing to show:\n{quiet}")


def test_stats_for_programs(session):
    huge = (1 << 64) - 1
    sensor = session.sensor({STATISTICS: statistics(EVENTS, "a=4\nb=x\nc=007\nd=18446744073709551616\ne", {0: 1, 31: 2},
                                                    **{**VALUES, "Accepted": huge})})
    found = session.json(sensor, "stats")
    equal(list(found)[:len(COUNTERS)], list(COUNTERS), "the counters' names")
    equal((found["Accepted"], found["Mitigations"]), (huge, 1019), "counters")
    equal(found["Events"][1], {"Event": "ImageLoad", "Accepted": 100, "Delivered": 90, "Filtered": 5, "Cut": 2,
                               "Lost": {"QueueFull": 3}}, "an event")
    equal([event["Event"] for event in found["Events"]], ["Unknown", "ImageLoad", "ProcessDestroy", "999"], "names")
    equal(found["Events"][3]["Lost"], {"KernelRingFull": 2, "7": 1}, "causes")
    equal((found["CallbackSample"], len(found["CallbackNs"]), found["CallbackNs"][0], found["CallbackNs"][31]),
          (16, 32, 1, 2), "times")
    equal(found["Host"], {"a": 4, "b": "x", "c": "007", "d": "18446744073709551616", "e": ""}, "the host's own")
    check("PerSecond" not in found, "rates that nobody asked for")


def growing():
    """Each answer is 2 seconds of the sensor's later, 100 events more."""
    answers = [0]

    def answer(_):
        answers[0] += 1
        n = answers[0]
        return statistics(UptimeNs=2 * 10**9 * n, Accepted=100 * n, Delivered=50 * n, Lost=4 * n, LostUnnumbered=2 * n,
                          Filtered=20 * n, Queued=7, QueuedBytes=2048, Sends=10 * n)
    return answer


def test_watch_prints_rates(session):
    text, _ = session.run(session.sensor({STATISTICS: growing()}), "stats", "--watch", "--count", "2")
    lines = text.splitlines()
    equal(lines[0].split(), ["TIME", "ACCEPTED/s", "DELIVERED/s", "LOST/s", "FILTERED/s", "QUEUED", "BYTES", "SENDS/s"],
          "titles")
    for line in lines[1:]:
        match = re.fullmatch(r"\d\d:\d\d:\d\d +50 +25 +3 +10 +7 +2\.0 KiB +5", line)
        check(match is not None, f"rates of the sensor's seconds: {line!r}")
        equal(len(line), len(lines[0]), "width")
    equal(len(lines), 3, "lines")


def test_watch_for_programs(session):
    output, _ = session.run(session.sensor({STATISTICS: growing()}), "stats", "--watch=1", "--count=2", "--json")
    found = [json.loads(line) for line in output.splitlines()]
    equal([value["Accepted"] for value in found], [200, 300], "totals")
    equal(found[0]["IntervalNs"], 2 * 10**9, "the interval")
    equal((found[0]["PerSecond"]["Accepted"], found[0]["PerSecond"]["Lost"]), (50.0, 2.0), "rates")
    check("Queued" not in found[0]["PerSecond"] and "UptimeNs" not in found[0]["PerSecond"], "rates of levels")


def test_watch_ends_with_ctrl_c(session):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = session.start(session.sensor({STATISTICS: growing()}), "stats", "--watch")
        check(process.stdout.readline().startswith(b"TIME"), "titles")
        process.send_signal(number)
        equal(process.wait(PATIENCE), DONE, "exit code")
        equal(process.stderr.read(), b"", "errors")


def test_watch_ends_when_nobody_reads(session):
    process = session.start(session.sensor({STATISTICS: growing()}), "stats", "--watch=3600")
    process.stdout.close()  # it is asleep, and has written nothing
    equal(process.wait(PATIENCE), FAILED, "exit code")
    check(b"standard output" in process.stderr.read(), "why")


def test_watch_ends_when_the_sensor_does(session):
    answers = iter([statistics(UptimeNs=1), statistics(UptimeNs=2)])
    _, errors = session.run(session.sensor({STATISTICS: lambda _: next(answers, HANG_UP)}), "stats", "--watch",
                            expected=NO_SENSOR)
    check("went away" in errors, errors)


def test_watch_sleeps_between_lines(session):
    """No busy loop: an hour's interval costs no time."""
    asked = threading.Event()
    process = session.start(session.sensor({STATISTICS: lambda _: asked.set() or statistics(UptimeNs=1)}), "stats",
                            "--watch=3600")
    check(asked.wait(PATIENCE), "it never asked")

    def sleeps():
        with open(f"/proc/{process.pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "S"
    deadline = time.monotonic() + PATIENCE
    while not sleeps():
        check(time.monotonic() < deadline, "it never sleeps")
        time.sleep(0.002)

    def switches():
        with open(f"/proc/{process.pid}/status") as file:
            return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M).group(1))
    before = switches()
    time.sleep(0.3)  # what would wake it does so in this time
    check(switches() - before <= 2, "it wakes up without a reason")


# ---- log, filter, schema ----------------------------------------------------------------------------------------------


def test_log(session):
    sensor = session.sensor()
    equal(session.run(sensor, "log")[0], "main=info\nqueue=warning\n", "levels")
    equal(session.json(sensor, "log"), {"main": "info", "queue": "warning"}, "JSON")
    equal(session.run(sensor, "log", "all=error", "queue=trace")[0], "the log levels are set\n", "words")
    equal(sensor.changes(), [(SET_LOG, ZERO, b"all=error queue=trace")], "requests")
    session.run(sensor, "log", "all", expected=USAGE)
    _, errors = session.run(session.sensor({SET_LOG: (INVALID_PARAMETER, "there is no module x")}), "log", "x=y",
                            expected=FAILED)
    check("there is no module x" in errors, errors)


RULES = "# rules\nexclude image=/bin/true\ndefault include\n"


def test_filter_show(session):
    sensor = session.sensor({GET_FILTER: RULES})
    equal(session.run(sensor, "filter", "show")[0], RULES, "rules")
    equal(session.json(sensor, "filter", "show"), {"Rules": RULES}, "JSON")
    equal(session.run(session.sensor({GET_FILTER: "deny image=/x"}), "filter", "show")[0], "deny image=/x\n",
          "rules without a line end")
    equal(session.run(session.sensor(), "filter", "show")[0], "", "no rules")
    odd = b"exclude image=\"/tmp/\xff\x1b[31m\"\n"
    process = session.start(session.sensor({GET_FILTER: odd}), "filter", "show")
    equal(process.communicate(timeout=PATIENCE)[0], odd, "rules into a file, byte by byte")
    text = on_terminal(session, session.sensor({GET_FILTER: odd}), "filter", "show")
    check("\x1b" not in text and "\\u001b[31m" in text, f"rules on a terminal: {text!r}")


def test_filter_set_and_clear(session):
    sensor = session.sensor({STATUS: sensor_status(rules=2)})
    equal(session.run(sensor, "filter", "set", session.file(RULES))[0], "2 rules are in force\n", "words")
    session.run(sensor, "filter", "set", "-", text=RULES.encode())
    equal(session.json(sensor, "filter", "clear"), {"Command": "SetFilter", "Status": "0x00000000"}, "JSON")
    equal(sensor.changes(), [(SET_FILTER, ZERO, RULES.encode())] * 2 + [(SET_FILTER, ZERO, b"")], "requests")
    _, errors = session.run(session.sensor({SET_FILTER: (INVALID_PARAMETER, "line 3: no condition \"imag\"")}), "filter",
                            "set", session.file("x"), expected=FAILED)
    check("line 3: no condition" in errors, errors)


def test_filter_files_that_cannot_be(session):
    sensor = session.sensor()
    for path, words in (("/nonexistent/file", "No such file"), (session.directory, "directory"),
                        (session.file(b"#" * 65505), "65504")):
        _, errors = session.run(sensor, "filter", "set", path, expected=FAILED)
        check(words in errors and path in errors, f"{path}: {errors}")
    equal(sensor.requests, [], "requests")
    session.run(sensor, "filter", "set", session.file(b"#" * 65504))
    equal(len(sensor.changes()[0][2]), 65504, "the largest text")
    for words in (["filter"], ["filter", "nonsense"], ["filter", "set"], ["filter", "show", "x"], ["filter", "clear", "x"],
                  ["filter", "set", "a", "b"]):
        session.run(sensor, *words, expected=USAGE)


def test_schema(session):
    sensor = session.sensor()
    equal(session.run(sensor, "schema")[0], SCHEMA_TEXT, "for people")
    equal(session.json(sensor, "schema"), {
        "Events": [{"Name": "ProcessDestroy", "Type": 3, "Size": 96, "Fields": [
            {"Name": "EProcess", "Index": 0, "Kind": "ADDRESS", "Offset": 72},
            {"Name": "ExitCode", "Index": 1, "Kind": "U32", "Offset": 80}]},
            {"Name": "ThreadDestroy", "Type": 5, "Size": 80, "Fields": [
                {"Name": "ThreadId", "Index": 0, "Kind": "U32", "Offset": 72}]}],
        "Values": [{"Kind": "ENUM_HOST", "Value": 1, "Name": "Linux"},
                   {"Kind": "ENUM_HOST", "Value": 2, "Name": "Windows"}]}, "for programs")
    equal(session.json(session.sensor({SCHEMA: "field 0 U32 1 Lost\nevent 0x0001\n"}), "schema"),
          {"Events": [], "Values": []}, "half a schema")


# ---- kill, protect, shutdown, echo ----------------------------------------------------------------------------------------


def test_kill(session):
    sensor = session.sensor()
    equal(session.run(sensor, "kill", "4242")[0], "process 4242 was ended\n", "words")
    equal(session.json(sensor, "kill", "7", "--key=0xAB"),
          {"Command": "OneShotKill", "Target": "7 key=0x00000000000000ab", "Status": "0x00000000"}, "JSON")
    session.run(sensor, "kill", "--key", "0xffffffffffffffff", "4294967295")
    equal(sensor.changes(), [(KILL, ZERO, b"4242"), (KILL, ZERO, b"7 key=0x00000000000000ab"),
                             (KILL, ZERO, b"4294967295 key=0xffffffffffffffff")], "requests")
    for words in (["0"], ["x"], ["1x"], ["4294967296"], ["99999999999999999999"], ["1", "2"], ["1", "--key=12"],
                  ["1", "--key=0x"], ["1", "--key=0xg"], ["1", "--key=0x0"], ["1", "--key=0x10000000000000000"], []):
        session.run(sensor, "kill", *words, expected=USAGE)
    session.run(sensor, "kill", "--", "-1", expected=USAGE)
    equal(len(sensor.requests), 3, "requests")


def test_protect(session):
    sensor = session.sensor({STATUS: sensor_status(protected=1)})
    equal(session.run(sensor, "protect", "status")[0], "on\n", "status")
    equal(session.json(sensor, "protect", "status"), {"Protected": True}, "JSON")
    equal(session.run(session.sensor(), "protect", "status")[0], "off\n", "status")
    check("protection is on" in session.run(sensor, "protect", "on")[0], "words")
    equal(session.json(sensor, "protect", "off"), {"Command": "EnableUnload", "Status": "0x00000000"}, "JSON")
    equal(sensor.changes(), [(DISABLE_UNLOAD, ZERO, b""), (ENABLE_UNLOAD, ZERO, b"")], "requests")
    session.run(sensor, "protect", "maybe", expected=USAGE)
    session.run(sensor, "protect", expected=USAGE)


def test_shutdown(session):
    sensor = session.sensor()
    equal(session.run(sensor, "shutdown")[0], "the sensor stops\n", "words")
    equal(sensor.changes(), [(SHUTDOWN, ZERO, b"")], "requests")


def test_echo(session):
    sensor = session.sensor({ECHO: lambda data: data})
    equal(session.run(sensor, "echo", "are", "you there?")[0], "are you there?\n", "words")
    equal(session.json(sensor, "echo", 'a"b\\c\u00e9'), {"Text": 'a"b\\c\u00e9'}, "JSON")
    equal(session.run(sensor, "echo", "--", "--json", "-x", "--")[0], "--json -x --\n", "words behind --")
    _, errors = session.run(session.sensor({ECHO: b"something else"}), "echo", "x", expected=FAILED)
    check("something else" in errors, errors)
    session.run(sensor, "echo", expected=USAGE)


# ---- failures and exit codes ------------------------------------------------------------------------------------------------


EVERY = [["status"], ["probes"], ["enable", "all"], ["disable", "all"], ["configure", "all", "a=1"],
         ["configure", "all"], ["stats"], ["log"], ["log", "all=info"], ["filter", "show"], ["filter", "clear"],
         ["kill", "1"], ["protect", "on"], ["protect", "off"], ["protect", "status"], ["schema"], ["echo", "x"],
         ["shutdown"]]


def test_refusals_have_exit_codes(session):
    for code, expected in ((INVALID_PARAMETER, FAILED), (NOT_SUPPORTED, FAILED), (NOT_FOUND, FAILED),
                           (STOPPING, NO_SENSOR), (AGAIN, NO_SENSOR), (PRIVILEGE_NOT_HELD, DENIED),
                           (status(0xC0FFEE01), FAILED)):
        sensor = session.sensor({command: (code, "because of the tests") for command in range(23)})
        for words in EVERY:
            output, errors = session.run(sensor, *words, expected=expected)
            check("because of the tests [" in errors and output == "", f"{words}: {output}{errors}")
    sensor = session.sensor({command: (ACCESS_DENIED, "") for command in range(23)})
    session.run(sensor, "enable", "all", expected=DENIED)
    check("access is denied [ACCESS_DENIED]" in session.run(sensor, "status", expected=DENIED)[1], "the status's text")
    session.run(sensor, "kill", "1", expected=PROTECTED)
    sensor = session.sensor({command: (INVALID_STATE, "protected") for command in range(23)})
    session.run(sensor, "shutdown", expected=PROTECTED)
    session.run(sensor, "enable", "all", expected=FAILED)
    sensor = session.sensor({STATUS: (status(0xC0FFEE01), "")})
    check("unknown status 0xc0ffee01" in session.run(sensor, "status", expected=FAILED)[1], "an unknown status")


def test_failures_for_programs(session):
    sensor = session.sensor({CONFIGURE: (INVALID_PARAMETER, 'no "key" here')})
    output, _ = session.run(sensor, "configure", "image", "a=1", "--json", expected=FAILED)
    equal(json.loads(output), {"Error": {"Exit": 1, "Status": "0xc000000d", "Name": "INVALID_PARAMETER",
                                         "Failed": "configure ImageLoad", "Reason": 'no "key" here'}}, "JSON")
    output, _ = session.run(None, "status", "--json", expected=NO_SENSOR)
    equal(json.loads(output)["Error"]["Name"], "NAME_NOT_FOUND", "JSON without a sensor")


def test_without_a_sensor(session):
    for words in EVERY:
        _, errors = session.run(None, *words, expected=NO_SENSOR)
        check("no sensor runs there" in errors and "WVUCommand" in errors, f"{words}: {errors}")
    for welcome, expected, text in ((ACCESS_DENIED, DENIED, "access is denied"), (STOPPING, NO_SENSOR, "stopping")):
        _, errors = session.run(session.sensor(welcome=welcome), "status", expected=expected)
        check(text in errors, errors)
    _, errors = session.run(session.sensor(version=2), "status", expected=NO_SENSOR)
    check("versions" in errors, errors)
    _, errors = session.run(session.sensor(welcome=CONNECTION_LIMIT), "--timeout=1", "status", expected=NO_SENSOR)
    check("too many" in errors, errors)
    output = subprocess.run([WVUCTL, "--run-dir", "/" + "x" * 200, "status"], capture_output=True, timeout=PATIENCE)
    equal(output.returncode, USAGE, "a run directory that is too long")


def test_a_sensor_that_does_not_answer(session):
    _, errors = session.run(session.sensor({STATUS: lambda _: SILENCE}), "status", "--timeout", "1", expected=NO_SENSOR)
    check("in time" in errors and "[TIMEOUT]" in errors, errors)
    _, errors = session.run(session.sensor({STATUS: lambda _: HANG_UP}), "status", expected=NO_SENSOR)
    check("went away" in errors, errors)
    process = session.start(session.sensor({STATUS: lambda _: SILENCE}), "status")
    while not session.sensors[-1].requests:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    equal(process.wait(PATIENCE), -signal.SIGINT, "Ctrl-C while it waits")


def test_answers_that_make_no_sense(session):
    whole = {STATUS: sensor_status(), ENUMERATE: ALL_PROBES, STATISTICS: statistics(EVENTS, "rings=4")}
    words = {STATUS: "status", ENUMERATE: "probes", STATISTICS: "stats"}
    for command, data in whole.items():
        good = response(command, data)
        bad = [good[:15], good[:-1], good + b"x", struct.pack("<H", 2) + good[2:],
               good[:4] + struct.pack("<I", 99) + good[8:], good[:8] + struct.pack("<i", 1) + good[12:],
               response(command, data[:8]), response(command, data[:-9]),
               response(command, b"\xff" * len(data)), response(command, struct.pack("<I", 2**32 - 1) + data[4:])]
        for packet in bad:
            if packet[12:16] == good[12:16] and packet == good:
                continue
            output, errors = session.run(session.sensor({command: Raw(packet)}), words[command], expected=NO_SENSOR)
            check(output == "" and ("no sense" in errors or "versions" in errors), f"{packet[:32].hex()}: {errors}")


NASTY = "\x1b[2J\x07\r\n\x7f\x80\x9b\u200e\u2028\u202e\u2066\u061c"


def test_texts_cannot_disturb_a_terminal(session):
    sensor = session.sensor({
        ENUMERATE: probe(NASTY, configuration=NASTY + "=" + NASTY, reason=NASTY, condition=2, why=NOT_SUPPORTED),
        STATUS: sensor_status(name=NASTY, log=NASTY), STATISTICS: statistics(host=NASTY + "=" + NASTY),
        SCHEMA: NASTY, SHUTDOWN: (NOT_SUPPORTED, NASTY), ECHO: lambda data: data, GET_FILTER: NASTY})

    def harmless(text, what):
        bad = [c for c in text if (ord(c) < 0x20 and c not in "\n\t") or 0x7f <= ord(c) < 0xa0
               or c in "\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"]
        equal(bad, [], f"{what}: characters that a terminal could obey")
    for words in (["probes"], ["status"], ["stats"], ["schema"], ["echo", NASTY], ["log"], ["configure", "all"],
                  ["probes", "--names"]):
        harmless(session.run(sensor, *words)[0], words)
        output, _ = session.run(sensor, *words, "--json")
        harmless(output, words)
        json.loads(output)
    harmless(session.run(sensor, "shutdown", expected=FAILED)[1], "an error")
    harmless(session.run(sensor, "enable", "x", expected=USAGE)[1], "the list of probes")
    equal(session.json(sensor, "probes", "--names"), [NASTY], "JSON keeps the text")


def test_texts_that_are_no_utf8(session):
    for bad in (b"\xff", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"\x80"):
        sensor = session.sensor({STATUS: sensor_status(name=b"a" + bad + b"z")})
        expected = (b"a" + bad + b"z").decode("utf-8", "replace")
        got = session.json(sensor, "status")["HostName"]
        equal((got[0], got[-1], set(got[1:-1])), (expected[0], expected[-1], {"\ufffd"}), f"{bad.hex()} as JSON")
        check("\ufffd" in session.run(sensor, "status")[0], f"{bad.hex()} for people")


# ---- output -----------------------------------------------------------------------------------------------------------------


def test_colour_is_for_terminals(session):
    for words in (["probes"], ["status"], ["stats"]):
        sensor = session.sensor({STATISTICS: statistics(EVENTS, "a=1", {3: 1})})
        check("\x1b" not in session.run(sensor, *words)[0], f"{words}: colour in a pipe")
        check("\x1b[" in on_terminal(session, sensor, *words), f"{words}: no colour on a terminal")
        check("\x1b" not in on_terminal(session, sensor, *words, NO_COLOR="1"), f"{words}: colour despite NO_COLOR")
        check("\x1b" not in on_terminal(session, sensor, *words, TERM="dumb"), f"{words}: colour on a dumb terminal")
        check("\x1b" not in on_terminal(session, sensor, *words, "--json"), f"{words}: colour in JSON")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(session, sensor, *words))
        equal(plain, session.run(sensor, *words)[0], f"{words}: the same but for colour")


def test_output_that_cannot_be_written(session):
    for words in (["status"], ["probes"], ["stats", "--watch", "--count=1"], ["enable", "all"], ["status", "--json"]):
        with open("/dev/full", "wb") as full:
            _, errors = session.run(session.sensor(), *words, stdout=full, expected=FAILED)
        check("standard output" in errors, f"{words}: {errors}")
    reading, writing = os.pipe()
    os.close(reading)
    process = session.start(session.sensor(), "status", stdout=writing)
    os.close(writing)
    equal(process.wait(PATIENCE), -signal.SIGPIPE, "a broken pipe, as every program's")
    process = session.start(session.sensor(), "status", preexec_fn=lambda: os.close(1), stdout=None)
    equal(process.wait(PATIENCE), FAILED, "without standard output")
    for option in ("--help", "--version"):
        with open("/dev/full", "wb") as full:
            equal(subprocess.run([WVUCTL, option], stdout=full, timeout=PATIENCE).returncode, FAILED, option)


# ---- options ----------------------------------------------------------------------------------------------------------------


def test_wrong_usage_has_its_own_exit_code(session):
    sensor = session.sensor()
    for words, text in (([], "which command"), (["nonsense"], "nonsense"), (["--nonsense"], "nonsense"), (["-x"], "x"),
                        (["status", "extra"], "extra"), (["status", "--watch"], "watch"), (["status", "--key=0x1"], "key"),
                        (["stats", "--names"], "names"), (["stats", "--count=1"], "--watch"),
                        (["stats", "--watch=0"], "--watch"), (["stats", "--watch=x"], "--watch"),
                        (["stats", "--watch", "--count=0"], "--count"), (["status", "--timeout=0"], "--timeout"),
                        (["status", "--timeout=3601"], "--timeout"), (["status", "--timeout=-1"], "--timeout"),
                        (["enable"], "NAME"), (["configure"], "NAME"), (["echo"], "TEXT"), (["status", "--json=1"], "json"),
                        (["echo", *["x"] * 257], "256")):
        output, errors = session.run(sensor, *words, expected=USAGE)
        equal(output, "", f"{words}: standard output")
        check(text in errors and "--help" in errors, f"{words}: it said {errors!r}")
    equal(sensor.requests, [], "requests")


def test_options_may_stand_anywhere(session):
    sensor = session.sensor({STATISTICS: growing()})
    for words in (["--json", "probes", "image", "--names"], ["probes", "--names", "image", "--json"],
                  ["--names", "--json", "probes", "--", "image"]):
        equal(json.loads(session.run(sensor, *words)[0]), ["ImageLoad"], f"{words}")
    equal(session.run(sensor, "stats", "--count", "1", "--wat")[0].count("\n"), 2, "an option's beginning")


def test_help_and_version(session):
    def run(*words):
        done = subprocess.run([WVUCTL, *words], capture_output=True, timeout=PATIENCE)
        equal((done.returncode, done.stderr), (DONE, b""), f"{words}")
        return done.stdout.decode()
    check(run("--version").startswith("wvuctl 0"), "version")
    text = run("--help")
    commands = re.findall(r"^  (\w+) ", text.split("Commands\n")[1].split("\n\n")[0], re.M)
    equal(set(commands), {words[0] for words in EVERY}, "commands in the help")
    for name in commands:
        own = run(name, "--help")
        check(own.startswith(f"Usage: wvuctl {name}"), f"{name} --help:\n{own}")
        text += own
    check(max(map(len, text.splitlines())) <= 100, "a line of the help is too long")
    check("--key" in run("kill", "--help") and "--watch" in run("--help", "stats"), "the commands' own options")


def test_the_manual_page_has_every_command_key_and_option(session):
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/man/wvuctl.1")
    with open(page, encoding="utf-8") as file:
        text = file.read().replace("\\-", "-")
    sensor = session.sensor({STATISTICS: growing()})
    words = {word for words in EVERY for word in words[:1]} | {"--run-dir", "--timeout", "--json", "--help", "--version",
                                                               "--names", "--watch", "--count", "--key"}
    words |= set(session.json(sensor, "status")) | set(session.json(sensor, "probes")[0])
    output, _ = session.run(sensor, "stats", "--watch", "--count=1", "--json")
    words |= set(json.loads(output)) | {"Event", "Error", "Exit", "Failed", "Command", "Target", "Rules", "Text"}
    missing = sorted(word for word in words if re.search(rf"(?<![\w-]){word}\b", text) is None)
    equal(missing, [], "not in wvuctl.1")


# ---- completion ---------------------------------------------------------------------------------------------------------------


COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=/}
_wvuctl && printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes(session):
    sensor = session.sensor()
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/completions/wvuctl.bash")

    def complete(*words):
        done = subprocess.run(["bash", "-c", COMPLETE, "bash", script, WVUCTL, "--run-dir", sensor.run_dir, *words],
                              capture_output=True, text=True, timeout=PATIENCE)
        equal((done.returncode, done.stderr), (0, ""), f"completion of {words}")
        return done.stdout.split()
    equal(set(complete("")), {words[0] for words in EVERY}, "commands")
    equal(complete("st"), ["status", "stats"], "beginnings of commands")
    equal(complete("enable", ""), [*NAMES, "all"], "probes")
    equal(complete("--json", "disable", "image"), ["ImageLoad"], "a probe in another case")
    equal(complete("probes", "--n"), ["--names"], "a command's own option")
    equal(complete("configure", "image", ""), ["imageload=", "kernel="], "settings")
    equal(complete("configure", "image", "kernel="), ["kernel=on", "kernel=off"], "values")
    equal(complete("log", ""), ["all=", "main=", "queue="], "log modules")
    equal(complete("log", "main=w"), ["main=warning"], "log levels")
    equal(complete("filter", "s"), ["show", "set"], "actions")
    equal(complete("filter", "set", session.directory[:-1]), [session.directory], "files")
    equal(complete("protect", ""), ["on", "off", "status"], "on, off, status")
    check(str(os.getpid()) in complete("kill", ""), "processes")
    sensor.close()
    equal(complete("enable", "a"), ["all"], "without a sensor")


def test_completions_know_every_command(session):
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/completions")
    for shell in ("bash", "zsh", "fish"):
        with open(os.path.join(folder, "wvuctl." + shell), encoding="utf-8") as file:
            text = file.read()
        missing = [word for word in ({words[0] for words in EVERY} | {"names", "watch", "count", "key", "timeout"})
                   if not re.search(rf"\b{word}\b", text)]
        equal(missing, [], f"not in wvuctl.{shell}")
        if shutil.which(shell):
            done = subprocess.run([shell, "-n", os.path.join(folder, "wvuctl." + shell)], capture_output=True)
            equal((done.returncode, done.stderr), (0, b""), f"syntax of wvuctl.{shell}")


# ---- all of it ----------------------------------------------------------------------------------------------------------------


def main():
    global WVUCTL
    WVUCTL = os.path.abspath(sys.argv[1])
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
