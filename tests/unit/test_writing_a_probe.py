#!/usr/bin/env python3
"""The probe of docs/writing-a-probe.md, built and run exactly as it is printed there.

    test_writing_a_probe.py [NAME]...    all tests, or those whose names contain a NAME

The blocks of the page go where the page says, in a copy of the headers; then the whole engine is compiled with them,
and a sensor with the probe runs (support/probe_host.c). What it must tell, this program does to a file. Nothing
sleeps to make a test pass: what has to happen is waited for. Prints TAP.
"""
import functools
import glob
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "windows"))
from tap import Failure, check, equal, main  # noqa: E402

PATIENCE = 60
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wno-sign-conversion",
            "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wwrite-strings", "-Wvla", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def page():
    with open(os.path.join(ROOT, "docs", "writing-a-probe.md"), encoding="utf-8") as file:
        return file.read()


def blocks():
    found = re.findall(r"^```c\n(.*?)^```$", page(), re.M | re.S)
    equal(len(found), 6, "blocks of C in the page")
    return dict(zip(("event", "structure", "layout", "probe", "declaration", "list"), found))


def insert(path, anchor, text):
    """`text` before the one line that begins with `anchor`."""
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    places = [number for number, line in enumerate(lines) if line.startswith(anchor)]
    equal(len(places), 1, f"lines of {path} that begin with {anchor!r}")
    lines[places[0]:places[0]] = [text]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)


def run(command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, f"{' '.join(command[:3])} ...:\n{done.stdout[-3000:]}")


def put_in_place(folder):
    """A copy of the headers with what the page adds, and the probe."""
    c = blocks()
    shutil.copytree(os.path.join(ROOT, "include"), os.path.join(folder, "include"))
    os.mkdir(os.path.join(folder, "linux"))
    for name in ("probes.h", "probes.c"):
        shutil.copy(os.path.join(ROOT, "linux", name), os.path.join(folder, "linux", name))
    wire = os.path.join(folder, "include", "winvirtue")
    insert(os.path.join(wire, "events.def"), "WVU_EVENT(0x2001", c["event"] + "\n")
    insert(os.path.join(wire, "protocol.h"), "/* The bit of a field", c["structure"] + "\n")
    insert(os.path.join(wire, "protocol.h"), "WVU_LAYOUT(struct wvu_probe_entry", c["layout"])
    insert(os.path.join(folder, "linux", "probes.h"), "/* The source's thread", c["declaration"])
    with open(os.path.join(folder, "linux", "probe_preload.c"), "w", encoding="utf-8") as file:
        file.write(c["probe"])
    # The list's last line ends with NULL; the page's line goes before that.
    path = os.path.join(folder, "linux", "probes.c")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    changed, count = re.subn(r"NULL,\n\};", lambda _: c["list"].strip() + " NULL,\n};", text)
    equal(count, 1, "places for the probe in linux/probes.c")
    with open(path, "w", encoding="utf-8") as file:
        file.write(changed)
    return ["-I" + os.path.join(folder, "include"), "-I" + os.path.join(folder, "linux"), "-Iengine", "-Ilinux"]


@functools.lru_cache(maxsize=None)
def built():
    """The directory with the program. Compiled once; removed when this program ends."""
    holder = tempfile.TemporaryDirectory(prefix="winvirtue-probe-")
    built.holder = holder
    folder = holder.name
    include = put_in_place(folder)
    run(["cc", *WARNINGS, *include, "-fsyntax-only", os.path.join(folder, "linux", "probes.c")])
    run(["cc", *WARNINGS, *include, "-O1", "-g", *SANITIZERS, "-c", "-o", os.path.join(folder, "probe.o"),
         os.path.join(folder, "linux", "probe_preload.c")])
    client = [path for path in glob.glob(os.path.join(ROOT, "client", "*.c"))
              if not path.endswith("_filter.c")]
    run(["cc", "-std=c11", "-w", "-O1", "-g", "-fno-strict-aliasing", *SANITIZERS, *include, "-Wl,--wrap=stat",
         "-o", os.path.join(folder, "probe_host"), os.path.join(HERE, "support", "probe_host.c"),
         os.path.join(folder, "probe.o"), *glob.glob(os.path.join(ROOT, "engine", "*.c")), *client,
         "linux/os_linux.c", "linux/log_sink.c", "-pthread"])
    return folder


class Sensor:
    """The running program: its events in order, and its answers."""

    def __init__(self, watched):
        self.watched = watched
        self.process = subprocess.Popen([os.path.join(built(), "probe_host"), watched], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pending = b""
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def line(self):
        """The next line; None at the end."""
        while b"\n" not in self.pending:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            check(ready, f"nothing more came; so far {self.events}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode()

    def event(self, name):
        """The next event that is named so and that nobody asked for yet."""
        while True:
            for index, event in enumerate(self.events):
                if event["sensor_type"] == name:
                    del self.events[:index + 1]
                    return event
            line = self.line()
            check(line is not None, f"the sensor ended without {name}")
            check(not line.startswith("#"), f"an answer that nobody waits for: {line}")
            self.events.append(json.loads(line))

    def ask(self, request):
        self.process.stdin.write(request.encode() + b"\n")
        self.process.stdin.flush()
        while True:
            line = self.line()
            check(line is not None, f"no answer to {request}")
            if line.startswith("#"):
                return line[1:]
            self.events.append(json.loads(line))

    def wait_for_state(self, wanted):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            operations, filtered = map(int, self.ask("state").split())
            if wanted(operations, filtered):
                return
            select.select([], [], [], 0.02)  # the probe's interval is a second
        raise Failure("the state did not change")

    def end(self):
        """Ends it in an orderly way; the events that were left."""
        self.process.stdin.close()
        while (line := self.line()) is not None:
            self.events.append(json.loads(line))
        errors = self.process.stderr.read().decode()
        check(self.process.wait(PATIENCE) == 0 and "ERROR" not in errors, errors)
        return self.events


def write(path, text):
    """As editors do: a new file in place of the old one."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def test_the_probe_is_short():
    check(blocks()["probe"].count("\n") < 80, "the probe has 80 lines or more")


def test_it_tells_what_happens_to_the_file():
    with tempfile.TemporaryDirectory() as folder, Sensor(os.path.join(folder, "preload")) as sensor:
        equal(sensor.ask("describe"), "repeat-interval=10 PreloadChanged=on", "settings at first")
        equal(sensor.ask("configure repeat-interval=1"), "", "answer")
        state = sensor.event("ProbeStateChanged")
        equal((state["ProbeName"], state["State"]), ("PreloadFile", "Running"), "state")

        write(sensor.watched, "/tmp/evil.so\n")
        event = sensor.event("PreloadChanged")
        equal((event["Path"], event["FileSize"]), ("/etc/ld.so.preload", 13), "a new file")
        equal(event["sensor_id"], state["sensor_id"], "the probe's id")
        check("ProcessId" not in event or event["ProcessId"] == 0, "it is about no process")
        write(sensor.watched, "/tmp/other.so\n")
        equal(sensor.event("PreloadChanged")["FileSize"], 14, "another one")
        write(sensor.watched, "/tmp/anoth.so\n")
        equal(sensor.event("PreloadChanged")["FileSize"], 14, "one of the same size")
        os.remove(sensor.watched)
        event = sensor.event("PreloadChanged")
        equal((event["Path"], "FileSize" in event), ("/etc/ld.so.preload", False), "no file any more")
        equal([event["sensor_type"] for event in sensor.end()], ["ProbeStateChanged", "SensorStop"], "the rest")


def test_it_can_be_switched():
    with tempfile.TemporaryDirectory() as folder, Sensor(os.path.join(folder, "preload")) as sensor:
        equal(sensor.event("ProbeStateChanged")["State"], "Running", "state")
        check("'PreloadChange' is not a setting" in sensor.ask("configure PreloadChange=off"), "wrong settings")
        equal(sensor.ask("configure PreloadChanged=off repeat-interval=1"), "", "answer")
        write(sensor.watched, "22")
        sensor.wait_for_state(lambda _, filtered: filtered > 0)
        equal(sensor.ask("configure PreloadChanged=on"), "", "answer")
        write(sensor.watched, "333")
        equal(sensor.event("PreloadChanged")["FileSize"], 3, "the first one that is wanted")

        for _ in range(100):  # leaves nothing behind: the sanitizer looks at the end
            equal(sensor.ask("stop"), "", "answer")
            equal(sensor.ask("start"), "", "answer")
        write(sensor.watched, "4444")
        equal(sensor.event("PreloadChanged")["FileSize"], 4, "after stop and start")
        numbers = [event["Sequence"] for event in sensor.end()]
        equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "numbers")


def test_it_says_why_it_cannot_start():
    with tempfile.TemporaryDirectory() as folder:
        write(os.path.join(folder, "file"), "")
        with Sensor(os.path.join(folder, "file", "preload")) as sensor:  # not a directory
            state = sensor.event("ProbeStateChanged")
            equal((state["State"], state["Status"]), ("Failed", "0xc00000e9"), "state")
            equal(state["Reason"], "/etc/ld.so.preload cannot be looked at; may the sensor enter /etc?", "reason")
            equal([event["sensor_type"] for event in sensor.end()], ["SensorStop"], "the rest")


if __name__ == "__main__":
    sys.exit(main(dict(globals()), sys.argv[1:]))
