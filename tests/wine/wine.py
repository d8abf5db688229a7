#!/usr/bin/env python3
"""WinVirtUE.sys, ntfltmgr.exe and wvuctl.exe as built, under Wine, with a stand-in filter manager.

    wine.py CONFIGURATION PARTS [WORD...]

CONFIGURATION is build/windows/x64/Release or Debug; PARTS is the directory with the stand-ins
(fltmgr.sys, fltlib.dll, inject.exe, testreader.exe, testclient.exe, dummy.sys). Runs the tests whose names hold one of
the words, or all, and reports in TAP. Exit status 77: something that is needed is not here.

What this shows, and what it cannot: docs/testing.md. Every run has a Wine prefix of its own in a temporary
directory, which goes at the end, with every process that was started.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "windows"))
import tap  # noqa: E402  (shared with the checks of the package)

SKIPPED = 77
TIMEOUT = 90
GROUP = "FSFilter Activity Monitor"
PARAMETERS = r"HKLM\System\CurrentControlSet\Services\WinVirtUE\Parameters"


def find(name):
    """Debian keeps Wine's 64-bit programs where PATH does not look."""
    found = shutil.which(name)
    library = os.path.join("/usr/lib/wine", name)
    return found or (library if os.access(library, os.X_OK) else None)


class Machine:
    """A Wine prefix with the driver installed."""

    def __init__(self, configuration, parts):
        self.root = tempfile.mkdtemp(prefix="winvirtue-wine-")
        self.prefix = os.path.join(self.root, "prefix")
        self.work = os.path.join(self.root, "work")
        self.log = os.path.join(self.root, "driver.log")
        self.processes = []
        self.wine, self.server = find("wine64"), find("wineserver64") or find("wineserver")
        self.environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
        # The first Wine process hands its environment to the services, and so to drivers.
        self.environment.update(
            WINEPREFIX=self.prefix, WINEDEBUG="-all,warn+debugstr", WINEARCH="win64",
            WINEDLLOVERRIDES="mscoree,mshtml=;fltmgr.sys,fltlib=n")
        os.makedirs(self.work)
        try:
            self.create(configuration, parts)
        except BaseException:
            self.destroy()
            raise

    # ---- processes

    def wine_command(self, *arguments, **options):
        """Runs a program to its end; returns status and output. What drivers log goes to self.log."""
        for _ in range(3):
            with open(self.log, "a") as log:
                done = subprocess.run([self.wine, *arguments], env=self.environment, cwd=self.work,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                      timeout=TIMEOUT, **options)
            output = done.stdout.decode("utf-8", "replace")
            # A busy Wine now and then does not start a program at all; nothing of ours has run then.
            if "ShellExecuteEx failed: Internal error" not in output:
                break
        return done.returncode, output

    def start(self, *arguments, output):
        with open(self.log, "a") as log, open(output, "wb") as file:
            process = subprocess.Popen([self.wine, *arguments], env=self.environment, cwd=self.work,
                                       stdin=subprocess.DEVNULL, stdout=file, stderr=log)
        self.processes.append(process)
        return process

    def create(self, configuration, parts):
        # Not to pipes: services that outlive the command would keep them open.
        with open(os.path.join(self.root, "boot.log"), "w") as log:
            subprocess.run([self.wine, "wineboot", "-i"], env=self.environment, stdin=subprocess.DEVNULL,
                           stdout=log, stderr=log, timeout=TIMEOUT, check=True)
            # The server that made the prefix must be gone before the one that stays is started; and that one
            # stays, because drivers would be ended, without being unloaded, when no program runs.
            subprocess.run([self.server, "-w"], env=self.environment, stdout=log, stderr=log, timeout=TIMEOUT,
                           check=False)
            subprocess.run([self.server, "-p"], env=self.environment, stdout=log, stderr=log, timeout=TIMEOUT,
                           check=False)
        drivers = os.path.join(self.prefix, "drive_c", "windows", "system32", "drivers")
        for path in (os.path.join(configuration, "WinVirtUE", "WinVirtUE.sys"),
                     os.path.join(parts, "fltmgr.sys"), os.path.join(parts, "dummy.sys")):
            shutil.copy(path, drivers)
        for path in (os.path.join(configuration, "ntfltmgr.exe"), os.path.join(configuration, "wvuctl.exe"),
                     os.path.join(parts, "fltlib.dll"), os.path.join(parts, "inject.exe"),
                     os.path.join(parts, "testreader.exe"), os.path.join(parts, "testclient.exe")):
            shutil.copy(path, self.work)
        for name, kind in (("WinVirtUE", "filesys"), ("dummy", "kernel")):
            # The same group is the same process: image callbacks do not cross processes.
            status, output = self.wine_command("sc", "create", name, "type=", kind, "start=", "demand", "group=",
                                               GROUP, "binPath=", rf"C:\windows\system32\drivers\{name}.sys")
            tap.check(status == 0, f"sc create {name}: {output}")

    def destroy(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        subprocess.run([self.server, "-k"], env=self.environment, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        subprocess.run([self.server, "-w"], env=self.environment, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False, timeout=TIMEOUT)
        shutil.rmtree(self.root, ignore_errors=True)

    # ---- services

    def state(self, service):
        _, output = self.wine_command("sc", "query", service)
        for line in output.splitlines():
            if "STATE" in line:
                return line.split()[-1]
        return f"? ({output.strip()})"

    def wait_state(self, service, wanted):
        deadline = time.monotonic() + 30
        while (state := self.state(service)) != wanted:
            tap.check(time.monotonic() < deadline, f"{service} is {state} and does not become {wanted}")

    def control(self, verb, service, wanted):
        status, output = self.wine_command("sc", verb, service)
        tap.check(status == 0, f"sc {verb} {service}: {output}")
        self.wait_state(service, wanted)

    def ensure(self, state):
        """The driver runs, or is stopped: tests do not count on those before them."""
        if self.state("WinVirtUE") != state:
            self.control("start" if state == "RUNNING" else "stop", "WinVirtUE", state)

    def driver_log(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def parameter(self, name, value):
        status, output = self.wine_command("reg", "add", PARAMETERS, "/v", name, "/t", "REG_DWORD", "/d",
                                           str(value), "/f")
        tap.check(status == 0, f"reg add: {output}")


machine = None


# ---- readers and events ---------------------------------------------------------------------------------


class Reader:
    """ntfltmgr.exe, and what it has printed so far. With `with`, so that none is left for the next test."""

    count = 0

    def __init__(self, *arguments):
        Reader.count += 1
        self.path = os.path.join(machine.root, f"reader-{Reader.count}.json")
        self.process = machine.start("ntfltmgr.exe", *arguments, output=self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def events(self):
        with open(self.path, "rb") as file:
            lines = file.read().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def wait_for(self, condition, what):
        deadline = time.monotonic() + 60
        while not condition(events := self.events()):
            tap.check(self.process.poll() is None, f"ntfltmgr ended ({self.process.returncode}) before {what}")
            tap.check(time.monotonic() < deadline, f"not in a minute: {what}; there are {len(events)} events")
            time.sleep(0.05)
        return events

    def wait_for_end_of(self, story):
        """Until the last process of a story has ended."""
        pid = story.processes[-1]["pid"]
        return self.wait_for(lambda events: any(e["sensor_type"] == "ProcessDestroy" and e["ProcessId"] == pid
                                                for e in events), f"the end of process {pid}")


TEXTS = [
    (r"\??\C:\Windows\System32\cmd.exe", "cmd.exe /c echo {serial}"),
    ("\\??\\C:\\Größe\\programm.exe", "programm.exe --name=\"Zoë 東京 🎈\" {serial}"),
    (r"\??\C:\a.exe", "-"),
    ("-", "-"),
    (r"\??\C:\long.exe", "long.exe {serial} " + "x" * 20000),
    (r"\??\C:\quotes.exe", "quotes.exe \"a\\b\" 'c' \x01\x02 {serial}"),
]


class Story:
    """Processes to be made, and what must be told of them."""

    first = 100000

    def __init__(self, count):
        self.processes = []
        for i in range(count):
            pid = Story.first + 4 * i
            image, command = TEXTS[i % len(TEXTS)]
            self.processes.append({"pid": pid, "parent": pid - 4, "key": 2 ** 48 + pid,
                                   "image": None if image == "-" else image,
                                   "command": None if command == "-" else command.format(serial=pid),
                                   "exit": (pid * 7919) % 2 ** 32})
        Story.first += 4 * count

    def lines(self):
        for process in self.processes:
            yield "create {pid} {parent} {key} {image}\t{command}".format(
                **{**process, "image": process["image"] or "-", "command": process["command"] or "-"})
            yield "exit {pid} {key} {exit}".format(**process)

    def inject(self, part=slice(None)):
        path = os.path.join(machine.work, f"story-{time.monotonic_ns()}.txt")
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for line in list(self.lines())[part]:
                file.write(line + "\n")
        status, output = machine.wine_command("inject.exe", os.path.basename(path))
        tap.check(status == 0, f"inject: {output}{machine.driver_log()[-500:]}")

    def check(self, events):
        """Every process was told once, with everything that is known of it."""
        created = {event["ProcessId"]: event for event in events if event["sensor_type"] == "ProcessCreate"}
        ended = {event["ProcessId"]: event for event in events if event["sensor_type"] == "ProcessDestroy"}
        for process in self.processes:
            pid = process["pid"]
            tap.check(pid in created and pid in ended, f"process {pid} is not told of")
            create, end = created[pid], ended[pid]
            tap.equal(create.get("ImageFileName"), process["image"], f"ImageFileName of {pid}")
            tap.equal(create.get("CommandLine"), process["command"], f"CommandLine of {pid}")
            tap.equal(create["ParentProcessId"], process["parent"], f"ParentProcessId of {pid}")
            tap.equal(int(create["ProcessKey"], 16), process["key"], f"ProcessKey of {pid}")
            tap.equal(create["UserSid"], "S-1-5-18", f"UserSid of {pid}")
            tap.equal(create["SessionId"], 7, f"SessionId of {pid}")
            tap.equal(end["ExitCode"], process["exit"], f"ExitCode of {pid}")
            tap.check(create["Sequence"] < end["Sequence"], f"process {pid} ended before it began")


def check_stream(events):
    """Numbers without a gap and without a repetition."""
    for before, after in zip(events, events[1:]):
        tap.equal(after["Sequence"], before["Sequence"] + 1, "the next sequence number")
        tap.equal(after["BootId"], before["BootId"], "BootId")


def merge(*parts):
    """What several readers got one after the other: records seen twice are dropped, as readers do."""
    merged = []
    for part in parts:
        merged += [event for event in part if not merged or event["Sequence"] > merged[-1]["Sequence"]]
    return merged


# ---- tests ------------------------------------------------------------------------------------------------


def test_start_and_query():
    machine.ensure("STOPPED")
    machine.control("start", "WinVirtUE", "RUNNING")
    log = machine.driver_log()
    tap.check("runs on Windows NT" in log, f"the driver's log does not say that it runs:\n{log[-2000:]}")


def test_thousands_of_events():
    machine.ensure("RUNNING")
    with Reader() as reader:
        events = reader.wait_for(lambda events: events, "the first event")
        tap.equal(events[0]["sensor_type"], "SensorStart", "the first event")
        tap.equal(events[0]["Host"], "Windows", "Host")
        story = Story(1500)
        story.inject()
        events = reader.wait_for_end_of(story)
    check_stream(events)
    story.check(events)


def test_driver_image():
    machine.ensure("RUNNING")
    with Reader() as reader:
        machine.control("start", "dummy", "RUNNING")
        events = reader.wait_for(lambda events: any(e["sensor_type"] == "ImageLoad" for e in events), "an image")
    image = [e for e in events if e["sensor_type"] == "ImageLoad"][-1]
    tap.check(image["FullImageName"].lower().endswith("dummy.sys"), f"FullImageName is {image['FullImageName']}")
    tap.check(image["KernelImage"] is True, "KernelImage")
    tap.equal(image["MachineType"], 0x8664, "MachineType")
    tap.check("ImageBase" not in image, "the address of a driver is told")
    machine.control("stop", "dummy", "STOPPED")


def test_second_reader_is_refused():
    machine.ensure("RUNNING")
    before, after = Story(3), Story(3)
    with Reader() as first:
        before.inject()
        first.wait_for_end_of(before)
        with Reader("--no-reconnect") as second:
            tap.equal(second.process.wait(TIMEOUT), 3, "exit status of the second reader")
            tap.equal(second.events(), [], "events of the second reader")
        tap.check("another reader is connected" in machine.driver_log(), "nothing says why")
        after.inject()
        events = first.wait_for_end_of(after)
    before.check(events)
    after.check(events)


def test_killed_readers_lose_nothing():
    machine.ensure("RUNNING")
    parts = []
    story, last = Story(400), Story(1)
    lines = 2 * len(story.processes)
    for i in range(8):
        with Reader() as reader:
            story.inject(slice(i * lines // 8, (i + 1) * lines // 8))
            if i % 2 == 0:
                reader.wait_for(lambda events: events, "an event")
        parts.append(reader.events())
    with Reader() as reader:
        last.inject()
        parts.append(reader.wait_for_end_of(last))
    events = merge(*parts)
    check_stream(events)
    story.check(events)


def test_reconnects():
    machine.ensure("RUNNING")
    story = Story(1)
    story.inject()
    status, output = machine.wine_command("testreader.exe", "cycle", "300")
    tap.equal(status, 0, f"testreader cycle ({output})")
    with Reader() as reader:
        story.check(reader.wait_for_end_of(story))


def test_wrong_replies():
    machine.ensure("RUNNING")
    story = Story(2)
    story.inject()
    status, output = machine.wine_command("testreader.exe", "wrong")
    tap.equal(status, 0, f"testreader wrong ({output})")
    with Reader() as reader:
        story.check(reader.wait_for_end_of(story))


def test_stop_with_a_reader():
    """The reader gets everything up to SensorStop; the driver is gone in a moment."""
    machine.ensure("RUNNING")
    story = Story(50)
    with Reader("--no-reconnect") as reader:
        reader.wait_for(lambda events: events, "the reader is connected")
        story.inject()
        machine.control("stop", "WinVirtUE", "STOPPED")
        reader.process.wait(TIMEOUT)
    events = reader.events()
    tap.equal(events[-1]["sensor_type"], "SensorStop", "the last event")
    story.check(events)


def test_time_out_and_late_reply():
    machine.ensure("STOPPED")
    machine.parameter("SendTimeoutMs", 200)
    machine.control("start", "WinVirtUE", "RUNNING")
    status, output = machine.wine_command("testreader.exe", "late")
    tap.equal(status, 0, f"testreader late ({output.strip()})")
    status, output = machine.wine_command("testreader.exe", "silent")
    tap.equal(status, 0, f"testreader silent ({output.strip()})")
    with Reader() as reader:
        events = reader.wait_for(lambda events: events, "an event")
    tap.equal(events[0]["Sequence"], 1, "the first event that nobody acknowledged")
    machine.control("stop", "WinVirtUE", "STOPPED")
    machine.parameter("SendTimeoutMs", 20000)


def test_stop_in_the_middle_of_a_send():
    machine.ensure("STOPPED")
    machine.control("start", "WinVirtUE", "RUNNING")
    flag = os.path.join(machine.work, "held")
    holder = machine.start("testreader.exe", "hold", "held", output=os.path.join(machine.root, "hold.txt"))
    deadline = time.monotonic() + 30
    while not os.path.exists(flag):
        tap.check(time.monotonic() < deadline, "the message does not come")
        time.sleep(0.02)
    begun = time.monotonic()
    machine.control("stop", "WinVirtUE", "STOPPED")
    took = time.monotonic() - begun
    tap.check(took < 10, f"stopping took {took:.1f} s with a time-out of 20 s")
    tap.equal(holder.wait(TIMEOUT), 0, "the reader that held the message")


def test_restart():
    machine.ensure("STOPPED")
    boots = set()
    for _ in range(3):
        machine.control("start", "WinVirtUE", "RUNNING")
        story = Story(20)
        with Reader("--no-reconnect") as reader:
            story.inject()
            events = reader.wait_for_end_of(story)
            machine.control("stop", "WinVirtUE", "STOPPED")
            reader.process.wait(TIMEOUT)
        tap.equal(events[0]["Sequence"], 1, "the first number after a start")
        check_stream(events)
        story.check(events)
        boots.add(events[0]["BootId"])
    tap.equal(len(boots), 3, "boot ids of three starts")


# ---- commands -------------------------------------------------------------------------------------------------


def ask(*arguments):
    """wvuctl with --json: the value that it prints. It must succeed."""
    status, output = machine.wine_command("wvuctl.exe", "--json", *arguments)
    tap.equal(status, 0, f"wvuctl {' '.join(arguments)} ({output})")
    return json.loads(output)


def refused(*arguments):
    """The reason why the command fails, which it must."""
    status, output = machine.wine_command("wvuctl.exe", "--json", *arguments)
    tap.check(status not in (0, 2), f"wvuctl {' '.join(arguments)} has status {status} ({output})")
    return json.loads(output)["Error"]["Reason"]


def command_events(events):
    return [event for event in events if event["sensor_type"] == "CommandExecuted"]


def probe(name):
    return next(entry for entry in ask("probes") if entry["Name"] == name)


def write_filter(name, *rules):
    with open(os.path.join(machine.work, name), "w", encoding="utf-8", newline="\n") as file:
        file.write("".join(rule + "\n" for rule in rules))
    return name


def test_commands_that_ask():
    machine.ensure("RUNNING")
    status = ask("status")
    tap.equal((status["Host"], status["ProcessId"], status["Protected"]), ("Windows", 4, False), "status")
    tap.check(status["SystemVersion"].startswith("Windows NT"), f"SystemVersion is {status['SystemVersion']}")
    tap.equal(ask("protect", "status")["Protected"], False, "protect status")
    tap.check(ask("stats")["Accepted"] > 0, "stats count nothing")
    tap.check(any(event["Name"] == "RegSetValueKeyInfo" for event in ask("schema")["Events"]), "schema")
    tap.equal(ask("probes", "--names"), ["ProcessCreate", "ImageLoad", "ThreadCreate", "RegistryModification",
                                         "ProcessListValidation"], "probes")
    tap.check("main" in ask("log"), "log")
    status, output = machine.wine_command("wvuctl.exe", "echo", "Größe", "東京")
    tap.equal((status, output.strip()), (0, "Größe 東京"), "echo")


def test_probe_that_cannot_start():
    """Wine has no CmRegisterCallbackEx: this probe says so, and the others run."""
    machine.ensure("STOPPED")
    machine.control("start", "WinVirtUE", "RUNNING")
    states = {entry["Name"]: entry["State"] for entry in ask("probes")}
    tap.equal(states.pop("RegistryModification"), "Failed", "State of RegistryModification")
    tap.equal(set(states.values()), {"Running"}, "states of the others")
    tap.check("CmRegisterCallbackEx" in probe("RegistryModification")["Reason"], "Reason")
    tap.check("CmRegisterCallbackEx" in refused("enable", "RegistryModification"), "why it is refused")
    story = Story(5)
    with Reader() as reader:
        story.inject()
        events = reader.wait_for_end_of(story)
    story.check(events)
    failed = [e for e in events if e["sensor_type"] == "ProbeStateChanged" and e["State"] == "Failed"]
    tap.equal({e["ProbeName"] for e in failed}, {"RegistryModification"}, "probes that failed")


def test_commands_that_change():
    machine.ensure("RUNNING")
    rules = write_filter("rules.conf", r"exclude event=ProcessCreate,ProcessDestroy image-suffix=\a.exe")
    wrong = write_filter("wrong.conf", "include", "exclude color=red")
    with Reader() as reader:
        ask("configure", "ProcessListValidation", "repeat-interval=7")
        tap.equal(probe("ProcessListValidation")["IntervalNs"], 7 * 10 ** 9, "IntervalNs")
        tap.check("repeat-interval" in refused("configure", "ProcessListValidation", "repeat-interval=0"), "0 s")
        ask("configure", "ProcessListValidation", "repeat-interval=30")
        ask("disable", "ImageLoad")
        tap.equal(probe("ImageLoad")["State"], "Stopped", "State")
        ask("enable", "ImageLoad")
        tap.equal(probe("ImageLoad")["State"], "Running", "State")
        ask("log", "queue=error")
        tap.equal(ask("log")["queue"], "error", "log")
        ask("log", "all=info")
        tap.check("2" in refused("filter", "set", wrong), "which line is wrong")
        ask("filter", "set", rules)
        story = Story(12)
        story.inject()
        events = reader.wait_for_end_of(story)
        told = {e["ProcessId"] for e in events if e["sensor_type"] == "ProcessCreate"}
        for process in story.processes:
            kept_away = process["image"] == r"\??\C:\a.exe"
            tap.equal(process["pid"] not in told, kept_away, f"process {process['pid']} is kept away")
        ask("filter", "clear")
        refused("kill", "4")
        events = reader.wait_for(lambda events: len(command_events(events)) >= 11, "the commands")
    commands = command_events(events)
    tap.equal([(e["Command"], e["Status"] == "0x00000000") for e in commands],
              [("ConfigureProbe", True), ("ConfigureProbe", False), ("ConfigureProbe", True),
               ("DisableProbe", True), ("EnableProbe", True), ("SetLog", True), ("SetLog", True),
               ("SetFilter", False), ("SetFilter", True), ("SetFilter", True), ("OneShotKill", False)], "commands")
    for event in commands:
        tap.equal(event["UserSid"], "S-1-5-18", "UserSid")
        tap.check(event["ProcessId"] > 4, "ProcessId")


def test_kill():
    """A process of Wine's is ended, and the events say by whom."""
    machine.ensure("RUNNING")
    output = os.path.join(machine.root, "sleep.txt")
    with Reader() as reader:
        victim = machine.start("testclient.exe", "sleep", output=output)
        deadline = time.monotonic() + 30
        while not (pid := open(output).read().strip()):
            tap.check(time.monotonic() < deadline, "the program does not start")
            time.sleep(0.02)
        ask("kill", pid)
        victim.wait(30)
        events = reader.wait_for(lambda events: any(e["sensor_type"] == "Mitigation" for e in events), "Mitigation")
    mitigation = [e for e in events if e["sensor_type"] == "Mitigation"][-1]
    tap.equal((mitigation["Action"], mitigation["Outcome"], mitigation["ProcessId"]),
              ("Terminate", "Ended", int(pid)), "Mitigation")


def test_many_clients_at_once():
    machine.ensure("RUNNING")
    outputs = [os.path.join(machine.root, f"client-{i}.txt") for i in range(6)]
    with Reader() as reader:
        clients = [machine.start("wvuctl.exe", "--json",
                                 *(["configure", "ImageLoad", "ImageLoad=on"] if i % 2 else ["stats"]), output=path)
                   for i, path in enumerate(outputs)]
        crowd = machine.start("testclient.exe", "crowd", "60", output=os.path.join(machine.root, "crowd.txt"))
        story = Story(50)
        story.inject()
        for client in [*clients, crowd]:
            tap.equal(client.wait(TIMEOUT), 0, "exit status of a client")
        events = reader.wait_for_end_of(story)
    story.check(events)
    for path in outputs:
        with open(path) as file:
            tap.check("Error" not in json.loads(file.read()), f"an answer in {path}")


def test_garbage_requests():
    machine.ensure("RUNNING")
    status, output = machine.wine_command("testclient.exe", "garbage")
    tap.equal(status, 0, f"testclient garbage ({output}{machine.driver_log()[-500:]})")
    status, output = machine.wine_command("wvuctl.exe", "echo", "well")
    tap.equal((status, output.strip()), (0, "well"), "echo afterwards")


def test_process_that_nobody_else_knows():
    """A process that was announced and that the system neither lists nor finds."""
    machine.ensure("STOPPED")
    machine.control("start", "WinVirtUE", "RUNNING")
    ask("configure", "ProcessListValidation", "repeat-interval=1")
    story = Story(1)
    hidden = story.processes[0]["pid"]
    with Reader() as reader:
        story.inject(slice(0, 1))
        reader.wait_for(lambda events: any(e["sensor_type"] == "ProcessListValidationFailed" and
                                           e["ProcessId"] == hidden for e in events), "ProcessListValidationFailed")
        runs = probe("ProcessListValidation")["Operations"]
        deadline = time.monotonic() + 30
        while probe("ProcessListValidation")["Operations"] < runs + 3:
            tap.check(time.monotonic() < deadline, "it does not run again")
            time.sleep(0.2)
        story.inject(slice(1, 2))
        events = reader.wait_for_end_of(story)
    # Wine does not tell that a process has ended, so there are others: those that ran when the driver started.
    found = [e for e in events if e["sensor_type"] == "ProcessListValidationFailed" and e["ProcessId"] == hidden]
    tap.equal([(e["ProcessId"], e["InLists"], e["NotInLists"]) for e in found],
              [(hidden, ["Callbacks"], ["System", "Lookup"])], "what was found")
    ask("configure", "ProcessListValidation", "repeat-interval=30")


def test_unload_is_refused():
    machine.ensure("RUNNING")
    with Reader() as reader:
        ask("protect", "on")
        tap.equal(ask("status")["Protected"], True, "Protected")
        status, output = machine.wine_command("inject.exe", "--detach")
        tap.equal(status, 0, f"the driver is asked to go ({output})")
        reader.wait_for(lambda events: any(e["sensor_type"] == "StopRefused" for e in events), "StopRefused")
        ask("protect", "off")
        tap.equal(ask("status")["Protected"], False, "Protected")
    machine.control("stop", "WinVirtUE", "STOPPED")


def test_zy_stop_is_refused():
    """The last one: Wine's service manager takes no second wish to stop after one that was not granted."""
    machine.ensure("RUNNING")
    ask("protect", "on")
    machine.wine_command("sc", "stop", "WinVirtUE")
    story = Story(5)
    with Reader() as reader:
        story.inject()
        events = reader.wait_for_end_of(story)
    story.check(events)
    tap.equal(machine.state("WinVirtUE"), "RUNNING", "state")
    tap.equal(ask("status")["Protected"], True, "Protected")


def test_zz_nothing_crashed():
    log = machine.driver_log()
    bad = [line for line in log.splitlines() if "wine: Unhandled" in line or "wine: Unimplemented" in line
           or "wine: Call" in line]
    tap.equal(bad, [], "what Wine says of crashes")


def missing(configuration, parts):
    if find("wine64") is None:
        return "wine64 is not installed"
    for path in (os.path.join(configuration, "WinVirtUE", "WinVirtUE.sys"),
                 os.path.join(configuration, "ntfltmgr.exe"), os.path.join(configuration, "wvuctl.exe")):
        if not os.path.exists(path):
            return f"there is no {path}; `make windows` builds it"
    if not os.path.exists(os.path.join(parts, "fltmgr.sys")):
        return f"the stand-ins are not in {parts}"
    return None


def main():
    global machine
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    configuration, parts = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    reason = missing(configuration, parts)
    if reason:
        print(f"skipped: {reason}")
        return SKIPPED
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine = None
    try:
        machine = Machine(configuration, parts)
        code = tap.main(globals(), sys.argv[3:])
        if code != 0:
            print("# the end of the driver's log:")
            print("".join(f"#   {line}\n" for line in machine.driver_log().splitlines()[-40:]), end="")
        return code
    finally:
        if machine is not None:
            machine.destroy()


if __name__ == "__main__":
    sys.exit(main())
