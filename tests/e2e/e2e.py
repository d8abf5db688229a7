"""What the end-to-end tests share: starting a sensor and readers, ground truth, checks of a stream.

A test is a function that takes a Session; main() runs the functions of one program and reports in TAP.
Every sensor lives in a run directory of its own, so tests disturb neither each other nor a sensor of
the machine. Events of everything else that happens on the machine are in the streams too: tests look at
the processes that they started themselves. Nothing here waits for time to pass, only for conditions.
"""
import ctypes
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("WVU_BUILD", os.path.join(HERE, "../../build/release"))
WVUD = os.path.join(BUILD, "linux/wvud")
NTFLTMGR = os.path.join(BUILD, "tools/ntfltmgr")
TINY, TINYDYN, SPAWNER, ACTOR = (os.path.realpath(os.path.join(BUILD, "tests/e2e", name))
                                 for name in ("tiny", "tinydyn", "spawner", "actor"))
SANITIZED = os.environ.get("WVU_SANITIZED") == "1"
PATIENCE = 120 if SANITIZED else 60  # seconds until a condition that should come counts as failed

# For tests in which nobody reads for a while: room for what other programs of the machine do meanwhile.
ROOMY = {"QueueRecords": 100000, "QueueBytes": "40M"}

libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A check that did not hold."""


class Skip(Exception):
    """What a test needs is not here."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(actual, expected, what):
    if actual != expected:
        raise Failure(f"{what} is {actual!r}, expected {expected!r}")


def code_of(serial):
    """The exit code of a target program; see code.h."""
    return 1 + serial * 7919 % 251


def wait_until(condition, what, timeout=None):
    """Looks until condition() is true and returns what it gave."""
    deadline = time.monotonic() + (timeout or PATIENCE)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"waited {timeout or PATIENCE} s in vain for {what}")
        time.sleep(0.005)


# ---- may this machine's kernel be traced? Asked of the kernel, not of the program under test. -----


def bpf(command, attributes):
    number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
    buffer = ctypes.create_string_buffer(attributes, 128)
    return libc.syscall(number, command, buffer, 128)


def why_not_traceable():
    """The reason why this process cannot trace the kernel, or None."""
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "the kernel has no BTF (/sys/kernel/btf/vmlinux)"
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    admin, perfmon, bpf_right = (effective >> bit & 1 for bit in (21, 38, 39))
    if not admin and not (perfmon and bpf_right):
        return "neither CAP_SYS_ADMIN nor CAP_BPF and CAP_PERFMON (run as root)"
    try:
        with open("/sys/kernel/security/lockdown") as lockdown:
            if "[confidentiality]" in lockdown.read():
                return "the kernel is locked down (confidentiality)"
    except OSError:
        pass  # no lockdown
    # return 0, as a raw tracepoint program
    code = ctypes.create_string_buffer(struct.pack("<BBhi", 0xB7, 0, 0, 0)
                                       + struct.pack("<BBhi", 0x95, 0, 0, 0), 16)
    licence = ctypes.create_string_buffer(b"GPL")
    program = bpf(5, struct.pack("<IIQQ", 17, 2, ctypes.addressof(code), ctypes.addressof(licence)))
    if program < 0:
        return f"the kernel refuses BPF programs: {os.strerror(ctypes.get_errno())}"
    os.close(program)
    number = {"x86_64": 298, "aarch64": 241}[platform.machine()]
    dummy = ctypes.create_string_buffer(struct.pack("<IIQ", 1, 128, 9), 128)
    event = libc.syscall(number, dummy, -1, 0, -1, 8)
    if event < 0:
        return f"the kernel refuses perf events: {os.strerror(ctypes.get_errno())}"
    os.close(event)
    return None


# ---- processes of a test ---------------------------------------------------------------------------


def die_with_parent():
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class Sensor:
    """A running wvud. Settings are lines of its configuration file."""

    def __init__(self, session, name="sensor", arguments=(), environment=None, **settings):
        self.session = session
        self.run_dir = os.path.join(session.directory, name)
        os.makedirs(self.run_dir, exist_ok=True)
        self.config_path = self.run_dir + ".conf"
        self.log_path = self.run_dir + ".log"
        self.arguments = list(arguments)
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.configure(**settings)
        self.start()

    def configure(self, **settings):
        with open(self.config_path, "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in settings.items())

    def start(self):
        """Returns when the sensor says in its log that it is ready."""
        length = len(self.log())
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [WVUD, "--config", self.config_path, "--run-dir", self.run_dir, *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent,
                env=self.environment)
        self.session.started(self.process)

        def ready():
            if self.process.poll() is not None:
                raise Failure(f"wvud ended at start with {self.process.returncode}:\n{self.log()}")
            return " ready: " in self.log()[length:]

        wait_until(ready, "the sensor to be ready")

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def stop(self, expected=0):
        """SIGTERM; returns how many seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        equal(code, expected, "wvud's exit code")
        return time.monotonic() - begin

    def kill(self):
        self.process.kill()
        self.process.wait()

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def wakeups(self):
        return wakeups(self.pid)


def wakeups(pid):
    """How often the threads of a process have been switched to and from, in total."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            total += sum(int(line.split()[1]) for line in file if "voluntary_ctxt_switches" in line)
    return total


class Reader:
    """A running ntfltmgr whose JSON lines go to a file."""

    def __init__(self, session, run_dir, *arguments, name="reader", stdout=None, prefix=()):
        self.session = session
        self.output_path = session.unused_path(name + ".json")
        self.error_path = self.output_path[:-5] + ".err"
        self.offset = 0
        self.seen = []
        command = [*prefix, NTFLTMGR, *(["--run-dir", run_dir] if run_dir else []), *arguments]
        with open(self.output_path, "wb") as output, open(self.error_path, "wb") as error:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=error,
                                            stdout=output if stdout is None else stdout,
                                            preexec_fn=die_with_parent)
        session.started(self.process)

    @property
    def pid(self):
        return self.process.pid

    def errors(self):
        with open(self.error_path, errors="replace") as file:
            return file.read()

    def events(self):
        """All events of complete lines so far."""
        with open(self.output_path, "rb") as file:
            file.seek(self.offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        for line in data[:end].splitlines():
            self.seen.append(json.loads(line))
        self.offset += end
        return self.seen

    def wait_for(self, condition, what, timeout=None):
        """The first event for which condition(event) is true."""
        looked_at = 0

        def look():
            nonlocal looked_at
            events = self.events()
            while looked_at < len(events):
                looked_at += 1
                if condition(events[looked_at - 1]):
                    return events[looked_at - 1]
            if self.process.poll() is not None and not data_left():
                raise Failure(f"ntfltmgr ended with {self.process.returncode} before {what} came:\n"
                              + self.errors())
            return None

        def data_left():
            return os.path.getsize(self.output_path) > self.offset

        return wait_until(look, what, timeout)

    def stop(self, expected=0):
        self.process.send_signal(signal.SIGINT)
        equal(self.process.wait(PATIENCE), expected, "ntfltmgr's exit code")
        return self.events()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Session:
    """Owns what one test starts; ends and removes it all afterwards."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="wvu-e2e.")
        self.processes = []
        self.next_serial = int.from_bytes(os.urandom(3), "little") * 1000000
        self.names = {}

    def unused_path(self, name):
        count = self.names[name] = self.names.get(name, 0) + 1
        stem, _, ending = name.rpartition(".")
        return os.path.join(self.directory, f"{stem}{count}.{ending}")

    def started(self, process):
        self.processes.append(process)

    def sensor(self, *arguments, **settings):
        return Sensor(self, *arguments, **settings)

    def reader(self, sensor, *arguments, **options):
        return Reader(self, sensor.run_dir, *arguments, **options)

    def popen(self, command, **options):
        process = subprocess.Popen(command, preexec_fn=die_with_parent, **options)
        self.started(process)
        return process

    def serials(self, count):
        """Numbers that no other process of any test carries."""
        first = self.next_serial + 1
        self.next_serial += count
        return first

    def start_spawner(self, count, workers=2, program=TINY, arguments=(), rate=0):
        """Starts the spawner; finish_spawner() waits for it."""
        first = self.serials(count)
        path = self.unused_path("spawned.bin")
        process = self.popen([SPAWNER, "--program", program, "--count", str(count),
                              "--first", str(first), "--workers", str(workers), "--rate", str(rate),
                              "--out", path, "--", *arguments], stdout=subprocess.PIPE)
        return Spawned(process, path, program, list(arguments))

    def spawn(self, count, **options):
        return self.start_spawner(count, **options).finish()

    def mark(self, reader):
        """Starts one process now and waits until the reader has written its end: everything that
        happened before is then in the reader's output too. Returns that event."""
        serial = self.serials(1)
        subprocess.run([TINY, str(serial), "mark"], check=False)
        create = reader.wait_for(lambda e: is_create(e, [TINY, str(serial), "mark"]), "the mark's start")
        return reader.wait_for(lambda e: e["sensor_type"] == "ProcessDestroy"
                               and e["ProcessKey"] == create["ProcessKey"], "the mark's end")

    def close(self, failed):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
                process.wait()
        if failed:
            for name in sorted(os.listdir(self.directory)):
                if name.endswith((".log", ".err")):
                    with open(os.path.join(self.directory, name), errors="replace") as file:
                        for line in file.readlines()[-40:]:
                            print(f"#   {name}: {line.rstrip()}")
        if failed and os.environ.get("WVU_KEEP"):
            print(f"# kept: {self.directory}")
        else:
            shutil.rmtree(self.directory)


class Spawned:
    """What the spawner did: the ground truth."""

    def __init__(self, process, path, program, arguments):
        self.process = process
        self.path = path
        self.program = program
        self.arguments = arguments
        self.pid = process.pid
        self.entries = []  # (serial, pid, parent's pid, status as of wait)

    def finish(self):
        output = self.process.communicate()[0]
        equal(self.process.returncode, 0, f"the spawner's exit code (it said {output!r})")
        with open(self.path, "rb") as file:
            data = file.read()
        self.entries = [entry[:4] for entry in struct.iter_unpack("<QIIiI", data)]
        return self

    def argv(self, serial):
        return [self.program, str(serial), *self.arguments]


# ---- checks of streams -------------------------------------------------------------------------------


def is_create(event, argv):
    return event["sensor_type"] == "ProcessCreate" and event.get("Arguments") == argv


def identity(event):
    return event["BootId"], event["Sequence"]


def without_repeats(events):
    """Drops what was seen before, as docs/protocol.md tells readers to: what is not above the highest
    number of its boot id."""
    highest = {}
    kept = []
    for event in events:
        boot_id, sequence = identity(event)
        if sequence > highest.get(boot_id, 0):
            highest[boot_id] = sequence
            kept.append(event)
    return kept


def check_numbers(events, first=1):
    """Every number from `first` on is there once, in order, or covered by an EventsLost in its place.
    Returns how many were lost."""
    expected = first
    lost = 0
    for event in events:
        if event["sensor_type"] == "EventsLost" and "FirstSequence" in event:
            equal(event["FirstSequence"], expected, "the first number of a loss")
            equal(event["LastSequence"], event["Sequence"], "the last number of a loss")
            lost += event["LastSequence"] - event["FirstSequence"] + 1
        else:
            equal(event["Sequence"], expected, "the next number")
        expected = event["Sequence"] + 1
    return lost


def losses(events):
    """Everything that the stream reports as lost: [(event type, cause, count)]."""
    return [(entry.get("Event"), entry.get("Cause"), entry.get("Count"))
            for event in events if event["sensor_type"] == "EventsLost"
            for entry in event.get("Lost", [])]


def by_key(events):
    """Events of each process, in order."""
    table = {}
    for event in events:
        if event.get("ProcessKey") is not None:
            table.setdefault(event["ProcessKey"], []).append(event)
    return table


def check_spawned(events, spawned):
    """Every process of a Spawned is reported exactly once and completely."""
    processes = by_key(events)
    starts = {}
    for event in events:
        if event["sensor_type"] == "ProcessCreate" and event.get("Cause") == "Exec" \
                and event.get("ImageFileName") == spawned.program:
            starts.setdefault(tuple(event.get("Arguments", ())), []).append(event)
    spawner_keys = {}
    for event in events:
        if event["sensor_type"] == "ProcessCreate":
            spawner_keys.setdefault(event["ProcessId"], set()).add(event["ProcessKey"])
    images = [spawned.program] + (dynamic_images() if spawned.program == TINYDYN else [])
    for serial, pid, parent, status in spawned.entries:
        name = f"process {pid} (serial {serial})"
        found = starts.get(tuple(spawned.argv(serial)), [])
        equal(len(found), 1, f"the number of starts reported of {name}")
        create = found[0]
        equal(create["ProcessId"], pid, f"the pid of {name}")
        story = processes[create["ProcessKey"]]
        story = story[1 if took_long_to_exec(story) else 0:]
        equal(create["ParentProcessId"], parent, f"the parent of {name}")
        check(create["ParentProcessKey"] in spawner_keys.get(parent, ()),
              f"the parent's key of {name}, {create['ParentProcessKey']}, is not that of {parent}")
        equal([event["sensor_type"] for event in story if event["sensor_type"] != "ImageLoad"],
              ["ProcessCreate", "ProcessDestroy"], f"the events of {name}")
        check(story[0] is create, f"something comes before the start of {name}")
        destroy = story[-1]
        equal(destroy["sensor_type"], "ProcessDestroy", f"the last event of {name}")
        equal({event["ProcessId"] for event in story}, {pid}, f"the pids in the events of {name}")
        loaded = [event["FullImageName"] for event in story[1:-1]]
        for image in images:
            equal(loaded.count(image), 1, f"how often {name} loaded {image} (all: {loaded})")
        check_end(destroy, status, name)


def ticks(event):
    """When it happened, in 100 ns."""
    return event["CurrentGMT"]


def took_long_to_exec(story):
    """On a busy machine a child may get to exec only after 25 ms, and is announced twice then. (A
    millisecond is for the difference between the kernel's fork and its timestamp.)"""
    if [event.get("Cause") for event in story[:2]] != ["Fork", "Exec"]:
        return False
    return ticks(story[1]) - ticks(story[0]) >= 24 * 10000


def check_end(destroy, status, name):
    """The end that a ProcessDestroy tells is the one that wait() told."""
    if os.WIFEXITED(status):
        equal(destroy.get("ExitCode"), os.WEXITSTATUS(status), f"the exit code of {name}")
        check("Signal" not in destroy, f"{name} has a signal besides its exit code")
    else:
        equal(destroy.get("Signal"), os.WTERMSIG(status), f"the signal of {name}")
        check("ExitCode" not in destroy, f"{name} has an exit code besides its signal")
        equal(destroy.get("CoreDumped", False), os.WCOREDUMP(status), f"core dump of {name}")


def dynamic_images():
    """The libraries of tinydyn, as the dynamic linker itself names them."""
    output = subprocess.run(["ldd", TINYDYN], capture_output=True, text=True, check=True).stdout
    paths = [word for line in output.splitlines() for word in line.split() if word.startswith("/")]
    return [os.path.realpath(path) for path in paths]


# ---- running ---------------------------------------------------------------------------------------


def main(*tests):
    """Runs the tests of a program, or those named on its command line."""
    reason = why_not_traceable()
    if reason:
        print(f"1..0 # SKIP {reason}")
        sys.exit(77)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # and clean up
    chosen = [test for test in tests if not sys.argv[1:] or test.__name__ in sys.argv[1:]]
    failed = False
    print(f"1..{len(chosen)}", flush=True)
    for number, test in enumerate(chosen, 1):
        session = Session()
        bad = True
        begin = time.monotonic()
        try:
            test(session)
            bad = False
            print(f"ok {number} - {test.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Skip as skip:
            bad = False
            print(f"ok {number} - {test.__name__} # SKIP {skip}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            print(f"not ok {number} - {test.__name__}", flush=True)
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            where = traceback.extract_tb(error.__traceback__)
            place = next((f"{frame.filename}:{frame.lineno}" for frame in reversed(where)
                          if not frame.filename.endswith("e2e.py")), "")
            print("\n".join("# " + line for line in f"{text}\n({place})".splitlines()), flush=True)
        finally:
            session.close(bad)
        failed = failed or bad
    sys.exit(1 if failed else 0)
