"""What watching costs and what it delivers, measured on the running kernel.

    spawn rate    processes a second that a spawner starts, waits for and sees end; without and with the
                  watcher, in pairs that follow each other and whose order alternates
    processor     time of all threads of wvud and ntfltmgr (the kernel's nanoseconds, /proc/PID/schedstat)
    completeness  every process of a blast, compared with what the spawner wrote down
    delay         from the kernel's time of an event to its line at the reader's standard output
    additions     the spawn rate and processor time again, in turns: without us, with what works in the kernel alone
                  (wvud is stopped, its rings are large), with the probes for processes and images alone, and with
                  all probes and a hundred rules
    curve         processor time and losses at fixed rates of starts
    memory        resident memory of wvud at start, and after a million events
    idle          how often the threads of wvud and ntfltmgr run in ten seconds in which nothing happens

Nothing here fails on a slow machine: it only reports. Used by measure.py.
"""
import contextlib
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/e2e"))

import e2e  # noqa: E402  (found through the path above)
import peers  # noqa: E402

DELAY = os.path.join(e2e.BUILD, "bench/delay")

LOADS = {  # the program, workers; how many processes a second it makes on an idle machine, roughly
    "tiny P=1": (e2e.TINY, 1, 8000),
    "tiny P=2": (e2e.TINY, 2, 14000),
    "tinydyn P=2": (e2e.TINYDYN, 2, 2500),
}


def log(text):
    print(text, file=sys.stderr, flush=True)


def load_average():
    with open("/proc/loadavg") as file:
        return float(file.read().split()[0])


def processor_time(pids):
    """Seconds on a processor of all threads of these processes; kernel threads too."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def file_system_of(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                          check=True).stdout.strip()


def spawn(program, workers, count, rate=0, out=None, first=1, arguments=()):
    """Runs the spawner; processes a second."""
    command = [e2e.SPAWNER, "--program", program, "--count", str(count), "--workers", str(workers),
               "--rate", str(rate), "--first", str(first)]
    if out is not None:
        command += ["--out", out]
    result = subprocess.run([*command, "--", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"the spawner failed: {result.stdout}{result.stderr}")
    nanoseconds, spawned, _ = (int(word) for word in result.stdout.split())
    return spawned * 1e9 / nanoseconds


# ---- watchers ---------------------------------------------------------------------------------------------


def write_rules(path):
    """A hundred rules that decide nothing, so that each is looked at for each process."""
    with open(path, "w") as file:
        for i in range(25):
            file.write(f"exclude event=ImageLoad image-prefix=/opt/nothing-{i}/\n"
                       f"exclude image-suffix=/nobody-{i}\n"
                       f"exclude parent=/usr/local/bin/none-{i} user={10000 + i}\n"
                       f"deny image=/opt/denied/{i} mode=enforce\n")
    return path


class Ours:
    """The whole project: wvud with all its probes and a hundred rules, and ntfltmgr that writes JSON to a file.
    `least`: only the probes for processes and images, and no rules. `stopped`: as that, and wvud stands still while
    there is load."""

    name = "winvirtue"

    def __init__(self, session, variant="all"):
        self.session = session
        self.variant = variant
        self.sensor = self.reader = self.path = None
        self.marks = 0

    def missing(self):
        return e2e.why_not_traceable()

    def start(self, directory, stdout=None):
        if self.variant == "all":
            rules = write_rules(os.path.join(self.session.directory, "bench-rules.conf"))
            self.sensor = self.session.sensor(FilterFile=rules)
        else:
            size = "16M" if self.variant == "stopped" else "4M"
            self.sensor = self.session.sensor(Probes="ProcessCreate, ImageLoad", RingBytes=size)
        self.reader = self.session.reader(self.sensor, stdout=stdout)
        self.path = self.reader.output_path
        if stdout is None:
            self.mark()

    def mark(self):
        """Returns when all that happened until now is in the file."""
        self.marks += 1
        text = f"bench-mark-{os.getpid()}-{self.marks}-{time.monotonic_ns()}"
        begin = os.path.getsize(self.path)
        subprocess.run([e2e.TINY, "1", text], check=False)
        key = None
        deadline = time.monotonic() + e2e.PATIENCE
        while time.monotonic() < deadline:
            with open(self.path, "rb") as file:
                file.seek(max(0, begin))
                data = file.read()
            for line in data.split(b"\n"):
                if text.encode() in line:
                    key = json.loads(line)["ProcessKey"]
                if key is not None and b'"ProcessDestroy"' in line and key.encode() in line:
                    return
            time.sleep(0.05)
        raise RuntimeError("a process does not appear in the reader's output:\n" + self.reader.errors()
                           + self.sensor.log())

    def pids(self):
        return [self.sensor.pid, self.reader.pid]

    def finish(self):
        pass

    def stop(self):
        """The reader ends after the sensor, and has read all there was."""
        self.sensor.process.terminate()
        self.sensor.process.wait(e2e.PATIENCE)
        self.reader.process.terminate()
        self.reader.process.wait(e2e.PATIENCE)


def canary():
    """For peers: 200 processes fill any output buffer."""
    text = f"bench-canary-{time.monotonic_ns()}"
    spawn(e2e.TINY, 1, 200, arguments=[text])
    return e2e.TINY


# ---- spawn rate -------------------------------------------------------------------------------------------


def count_of(load, seconds):
    return max(200, int(LOADS[load][2] * seconds))


@contextlib.contextmanager
def stopped(watcher):
    """Nothing, unless the watcher is to be stopped."""
    if getattr(watcher, "variant", None) != "stopped":
        yield
        return
    os.kill(watcher.sensor.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(watcher.sensor.pid, signal.SIGCONT)


def watched(watcher, load, count):
    """(processes a second, seconds of the watcher's own)"""
    program, workers, _ = LOADS[load]
    with tempfile.TemporaryDirectory(prefix="wvu-bench.") as directory:
        watcher.start(directory)
        try:
            before = processor_time(watcher.pids())
            with stopped(watcher):
                rate = spawn(program, workers, count)
            if isinstance(watcher, Ours):
                watcher.mark()
            own = processor_time(watcher.pids()) - before
        finally:
            watcher.stop()
        if isinstance(watcher, Ours):
            os.unlink(watcher.path)
    return rate, own


def measure_pairs(watcher, load, pairs, seconds):
    """[{"off": rate, "on": rate, "cpu": seconds, "load": average}]; the order alternates."""
    program, workers, _ = LOADS[load]
    count = count_of(load, seconds)
    results = []
    for pair in range(pairs):
        result = {"order": "off-on" if pair % 2 == 0 else "on-off", "count": count}
        for phase in result["order"].split("-"):
            if phase == "off":
                result["off"] = spawn(program, workers, count)
            else:
                result["on"], result["cpu"] = watched(watcher, load, count)
        result["load"] = load_average()
        results.append(result)
    return results


def spawn_rate(watcher, pairs, seconds, loads=tuple(LOADS)):
    reason = watcher.missing()
    if reason is not None:
        return {"watcher": watcher.name, "skipped": reason}
    results = {}
    try:
        for load in loads:
            results[load] = measure_pairs(watcher, load, pairs, seconds)
            off = statistics.median(pair["off"] for pair in results[load])
            on = statistics.median(pair["on"] for pair in results[load])
            log(f"  {watcher.name}, {load}: {off:.0f} -> {on:.0f} a second, {on / off:.3f}")
    except peers.PeerFailure as failure:
        return {"watcher": watcher.name, "skipped": str(failure)}
    finally:
        watcher.finish()
    return {"watcher": watcher.name, "pairs": results}


ADDITIONS = ("off", "stopped", "least", "all")


def additions(session, rounds, seconds):
    """{load: [{"count", "off": rate, "stopped": rate, "stopped_cpu": seconds, ...}]}. Who comes first changes from
    round to round."""
    results = {}
    for load, (program, workers, _) in LOADS.items():
        count = count_of(load, seconds)
        results[load] = []
        for number in range(rounds):
            result = {"count": count}
            first = number % len(ADDITIONS)
            for what in ADDITIONS[first:] + ADDITIONS[:first]:
                if what == "off":
                    result["off"] = spawn(program, workers, count)
                else:
                    result[what], result[what + "_cpu"] = watched(Ours(session, what), load, count)
            results[load].append(result)
        log(f"  {load}: " + ", ".join(
            f"{what} {statistics.median(result[what] for result in results[load]):.0f} a second"
            for what in ADDITIONS))
    return results


# ---- completeness, processor time, curve -------------------------------------------------------------------


def check_blast(path, entries, program, arguments):
    """Compares the file of JSON lines with the ground truth. Returns counts of what is not as it was."""
    wanted = {str(serial): (pid, parent, status) for serial, pid, parent, status in entries}
    problems = dict.fromkeys(["missing creates", "wrong creates", "missing destroys", "wrong destroys",
                              "missing images", "gaps", "events lost", "repeats", "out of order"], 0)
    created, destroyed, images = {}, {}, set()
    lines = 0
    expected = None
    with open(path, "rb") as file:
        for line in file:
            event = json.loads(line)
            lines += 1
            kind, sequence = event["sensor_type"], event["Sequence"]
            if kind == "EventsLost":
                problems["events lost"] += event["Count"]
                expected = sequence + 1 if "FirstSequence" in event else expected
            if expected is not None and sequence != expected and kind != "EventsLost":
                problems["gaps" if sequence > expected else "repeats"] += 1
            expected = sequence + 1
            if kind == "ProcessCreate" and (event.get("Arguments") or [""])[0] == program:
                argv = event["Arguments"]
                if len(argv) > 1 and argv[1] in wanted and argv[2:] == arguments:
                    created[event["ProcessKey"]] = argv[1]
                    pid, parent, _ = wanted[argv[1]]
                    if (event["ProcessId"] != pid or event["ParentProcessId"] != parent
                            or event["ImageFileName"] != program):
                        problems["wrong creates"] += 1
            elif kind == "ImageLoad" and event["FullImageName"] == program:
                images.add(event["ProcessKey"])
            elif kind == "ProcessDestroy" and event["ProcessKey"] in created:
                destroyed[event["ProcessKey"]] = event.get("ExitCode")
                if event["ProcessKey"] not in images:
                    problems["out of order"] += 1
    problems["missing creates"] = len(wanted) - len(set(created.values()))
    for key, serial in created.items():
        if key not in destroyed:
            problems["missing destroys"] += 1
        elif destroyed[key] != os.waitstatus_to_exitcode(wanted[serial][2]):
            problems["wrong destroys"] += 1
        if key not in images:
            problems["missing images"] += 1
    return lines, problems


def blast(session, count, rate=0, workers=2):
    """One run of `count` tiny processes: rate, processor time an event, completeness."""
    watcher = Ours(session)
    arguments = ["two words", "", "plain"]
    with tempfile.TemporaryDirectory(prefix="wvu-bench.") as directory:
        truth = os.path.join(directory, "truth")
        watcher.start(directory)
        try:
            size = os.path.getsize(watcher.path)
            before = [processor_time([pid]) for pid in watcher.pids()]
            reached = spawn(e2e.TINY, workers, count, rate=rate, out=truth, first=1000,
                            arguments=arguments)
            watcher.mark()
            after = [processor_time([pid]) for pid in watcher.pids()]
        finally:
            watcher.stop()
        with open(watcher.path, "rb") as file:
            file.seek(size)
            events = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        with open(truth, "rb") as file:
            entries = [entry[:4] for entry in struct.iter_unpack("<QIIiI", file.read())]
        _, problems = check_blast(watcher.path, entries, e2e.TINY, arguments)
        os.unlink(watcher.path)
    wvud, ntfltmgr = (end - begin for begin, end in zip(before, after))
    return {"processes": count, "rate": reached, "events": events, "wvud_s": wvud,
            "ntfltmgr_s": ntfltmgr, "ms_per_1000": (wvud + ntfltmgr) * 1e6 / events,
            "problems": problems, "load": load_average()}


def curve(session, seconds):
    """Fixed rates: processor time an event, and what was lost."""
    points = []
    for rate in (100, 500, 1000, 2000, 4000, 8000, 0):
        count = int((rate or 14000) * seconds)
        point = blast(session, max(200, count), rate=rate // 2)
        point["asked"] = rate or None
        points.append(point)
        log(f"  {point['rate']:.0f} processes a second: {point['ms_per_1000']:.2f} ms for 1000 events, "
            f"{sum(point['problems'].values())} problems")
    return points


# ---- delay, memory, idle -------------------------------------------------------------------------------------


def delay(session, load):
    """`load` is called while the reader writes to the program that takes the time."""
    watcher = Ours(session)
    reader_end, writer_end = os.pipe()
    with tempfile.TemporaryDirectory(prefix="wvu-bench.") as directory:
        measuring = session.popen([DELAY], stdin=reader_end, stdout=subprocess.PIPE, text=True)
        os.close(reader_end)
        watcher.start(directory, stdout=writer_end)
        os.close(writer_end)
        time.sleep(1)  # what ran before has been reported
        begin = resident_kib(watcher.sensor.pid)
        rate = load()
        time.sleep(1)
        end = resident_kib(watcher.sensor.pid)
        watcher.stop()
        output = measuring.communicate()[0]
    classes = {entry["name"]: entry for entry in (json.loads(line) for line in output.splitlines())}
    return {"classes": classes, "rate": rate, "rss_before_kib": begin, "rss_after_kib": end,
            "load": load_average()}


def delay_apart(session, count):
    """One ordinary process every 67 ms."""
    return delay(session, lambda: spawn(e2e.TINYDYN, 1, count, rate=15))


def delay_loaded(session, count):
    """The blast; with a million events, the memory after them."""
    return delay(session, lambda: spawn(e2e.TINY, 2, count))


def idle(session, seconds):
    watcher = Ours(session)
    with tempfile.TemporaryDirectory(prefix="wvu-bench.") as directory:
        watcher.start(directory)
        time.sleep(1)
        lines = os.path.getsize(watcher.path)
        before = {pid: e2e.wakeups(pid) for pid in watcher.pids()}
        cpu = processor_time(watcher.pids())
        time.sleep(seconds)
        result = {"seconds": seconds,
                  "wvud": e2e.wakeups(watcher.sensor.pid) - before[watcher.sensor.pid],
                  "ntfltmgr": e2e.wakeups(watcher.reader.pid) - before[watcher.reader.pid],
                  "cpu_s": processor_time(watcher.pids()) - cpu}
        with open(watcher.path, "rb") as file:
            file.seek(lines)
            result["events"] = file.read().count(b"\n")
        watcher.stop()
    return result
