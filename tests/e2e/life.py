#!/usr/bin/env python3
"""Promises 5 and 7 and the sensor's life: start, what runs already, reload, restart, stop in every state,
and silence when nothing happens."""
import os
import signal
import socket
import subprocess
import time

import e2e
import wire

STOP_WITHIN = 3 if e2e.SANITIZED else 1


def check_stop(sensor):
    seconds = sensor.stop()
    e2e.check(seconds < STOP_WITHIN, f"the stop took {seconds:.2f} s")
    e2e.check(not os.path.exists(sensor.run_dir + "/WVUPort"), "the socket is still there")


def test_stop_is_the_last_event(session):
    sensor = session.sensor()
    reader = session.reader(sensor, "--no-reconnect")
    spawned = session.spawn(count=100)
    check_stop(sensor)
    reader.process.wait(e2e.PATIENCE)
    events = reader.events()
    stop = events[-1]
    e2e.equal(stop["sensor_type"], "SensorStop", "the last event")
    e2e.equal(stop["Accepted"], stop["Sequence"] - 1, "the number of events before it")
    e2e.check("SIGTERM" in stop["Reason"], f"the reason: {stop['Reason']!r}")
    e2e.equal(e2e.check_numbers(events), 0, "numbers lost")
    e2e.check_spawned(events, spawned)
    stopped = [event["ProbeName"] for event in events
               if event["sensor_type"] == "ProbeStateChanged" and event["State"] == "Stopped"]
    e2e.equal(sorted(stopped), ["ImageLoad", "ProcessCreate", "ProcessListValidation", "ThreadCreate"],
              "the probes that were stopped")


def test_stop_with_nobody_connected(session):
    check_stop(session.sensor())


def test_stop_with_a_silent_reader(session):
    sensor = session.sensor()
    with wire.Port(sensor.run_dir) as port:
        port.receive()
        check_stop(sensor)


def test_stop_with_a_reader_that_does_not_receive(session):
    sensor = session.sensor()
    with wire.Port(sensor.run_dir):
        session.spawn(count=200)
        check_stop(sensor)


def test_stop_in_a_storm(session):
    sensor = session.sensor()
    reader = session.reader(sensor, "--no-reconnect")
    storm = session.start_spawner(count=10000000, workers=2)
    first = storm_create(reader, storm)
    e2e.check(first is not None, "no storm")
    check_stop(sensor)
    storm.process.kill()
    reader.process.wait(e2e.PATIENCE)
    e2e.check_numbers(reader.events())


def storm_create(reader, storm):
    return reader.wait_for(lambda event: event["sensor_type"] == "ProcessCreate"
                           and event.get("ImageFileName") == storm.program, "the storm")


def test_stop_right_after_start(session):
    for _ in range(5):
        check_stop(session.sensor())


def test_stop_by_interrupt(session):
    sensor = session.sensor()
    sensor.process.send_signal(signal.SIGINT)
    e2e.equal(sensor.process.wait(STOP_WITHIN), 0, "wvud's exit code")


def test_first_events(session):
    sensor = session.sensor(QueueRecords=4096, SendTimeoutMs=12345)
    reader = session.reader(sensor)
    session.mark(reader)
    start = reader.events()[0]
    e2e.equal(start["sensor_type"], "SensorStart", "the first event")
    e2e.equal(start["Sequence"], 1, "its number")
    e2e.equal(start["HostName"], socket.gethostname(), "the host's name")
    e2e.equal(start["Host"], "Linux", "the host's kind")
    e2e.equal(start["QueueRecords"], 4096, "the configuration")
    e2e.check("SendTimeoutMs=12345" in start["Configuration"].splitlines(), "the configuration: "
              + start["Configuration"])
    e2e.check(os.uname().release in start["SystemVersion"], f"the kernel: {start['SystemVersion']}")
    running = {event["ProbeName"]: event["State"] for event in reader.events()
               if event["sensor_type"] == "ProbeStateChanged"}
    e2e.equal(running, dict.fromkeys(("ImageLoad", "ProcessCreate", "ProcessListValidation",
                                      "ThreadCreate"), "Running"), "the probes' states")


def test_processes_that_run_already(session):
    """A process that runs at the start is announced once; its end and its children have its key."""
    serial = session.serials(1)
    sleeper = session.popen([e2e.ACTOR, str(serial), "thread-exec", "/bin/sleep", "1000"])
    e2e.wait_until(lambda: program_of(sleeper.pid) == os.path.realpath("/bin/sleep"), "the sleeper")
    sensor = session.sensor()
    reader = session.reader(sensor)
    session.mark(reader)
    creates = [event for event in reader.events()
               if event["sensor_type"] == "ProcessCreate" and event["ProcessId"] == sleeper.pid]
    e2e.equal(len(creates), 1, "announcements of the running process")
    create = creates[0]
    e2e.equal(create["Cause"], "Running", "the cause")
    e2e.equal(create["Arguments"], ["/bin/sleep", "1000"], "its arguments")
    e2e.equal(create["ImageFileName"], os.path.realpath("/bin/sleep"), "its program")
    e2e.equal(create["ParentProcessId"], os.getpid(), "its parent")
    own = [event for event in reader.events()
           if event["sensor_type"] == "ProcessCreate" and event["ProcessId"] == os.getpid()]
    e2e.equal(len(own), 1, "announcements of this process")
    e2e.equal(create["ParentProcessKey"], own[0]["ProcessKey"], "its parent's key")
    sleeper.kill()
    sleeper.wait()
    destroy = reader.wait_for(lambda event: event["sensor_type"] == "ProcessDestroy"
                              and event["ProcessKey"] == create["ProcessKey"], "its end")
    e2e.equal(destroy["Signal"], signal.SIGKILL, "the signal that ended it")
    missing = [pid for pid in running_processes()
               if not any(event["sensor_type"] == "ProcessCreate" and event["ProcessId"] == pid
                          for event in reader.events())]
    e2e.equal(missing, [], "running processes that were not announced")


def program_of(pid):
    """None while a process changes from one program to the next, or when it has none."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


def running_processes():
    """Processes with a program (no kernel threads) that existed before and still do."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and program_of(entry):
                with open(f"/proc/{entry}/stat") as stat:
                    state = stat.read().rpartition(")")[2].split()[0]
                if state != "Z":
                    found.append(int(entry))
        except OSError:
            pass
    return found


def test_restart(session):
    sensor = session.sensor()
    reader = session.reader(sensor)  # reconnects by itself
    first = session.mark(reader)
    sensor.stop()
    sensor.start()
    second = session.mark(reader)
    e2e.check(first["BootId"] != second["BootId"], "the boot id is the same")
    e2e.equal(first["sensor_id"], second["sensor_id"], "the probe's id")
    events = reader.events()
    for boot_id in (first["BootId"], second["BootId"]):
        part = [event for event in events if event["BootId"] == boot_id]
        e2e.equal(e2e.check_numbers(part), 0, "numbers lost")

    def own_key(boot_id):
        return [event["ProcessKey"] for event in events if event["BootId"] == boot_id
                and event["sensor_type"] == "ProcessCreate" and event["ProcessId"] == os.getpid()]

    e2e.equal(own_key(first["BootId"]), own_key(second["BootId"]), "the key of a process that stayed")


def test_restart_after_a_crash(session):
    sensor = session.sensor()
    reader = session.reader(sensor)
    session.mark(reader)
    sensor.kill()
    sensor.start()
    session.mark(reader)


def test_second_sensor_in_the_same_directory(session):
    sensor = session.sensor()
    other = subprocess.run([e2e.WVUD, "--run-dir", sensor.run_dir, "--config", sensor.config_path],
                           capture_output=True, text=True, timeout=e2e.PATIENCE, check=False)
    e2e.check(other.returncode != 0, "a second sensor ran")
    e2e.check(sensor.run_dir in other.stderr and str(sensor.pid) in other.stderr,
              f"it said {other.stderr!r}")
    reader = session.reader(sensor)
    session.mark(reader)


def test_several_sensors_side_by_side(session):
    sensors = [session.sensor(name) for name in ("one", "two", "three")]
    readers = [session.reader(sensor) for sensor in sensors]
    spawned = session.spawn(count=200)
    for reader in readers:
        session.mark(reader)
        e2e.check_spawned(reader.events(), spawned)


def test_reload(session):
    sensor = session.sensor(SendTimeoutMs=20000)
    sensor.configure(SendTimeoutMs=300)
    length = len(sensor.log())
    sensor.process.send_signal(signal.SIGHUP)
    e2e.wait_until(lambda: "SendTimeoutMs" in sensor.log()[length:], "the reload to be logged")
    with wire.Port(sensor.run_dir) as port:
        first = port.receive()
        again = port.receive()  # within seconds only when the new time-out is in force
        e2e.equal(again.sequences, first.sequences, "what is sent again")


def test_reload_of_a_bad_file(session):
    sensor = session.sensor(SendTimeoutMs=20000)
    with open(sensor.config_path, "w") as file:
        file.write("# comment\nSendTimeoutMs=never\n")
    length = len(sensor.log())
    sensor.process.send_signal(signal.SIGHUP)
    e2e.wait_until(lambda: f"{sensor.config_path}:2" in sensor.log()[length:], "the complaint")
    complaint = sensor.log()[length:]
    e2e.check("SendTimeoutMs" in complaint and "10" in complaint and "600000" in complaint,
              f"the complaint does not name key and range: {complaint!r}")
    session.mark(session.reader(sensor))


def test_start_with_a_bad_file(session):
    path = os.path.join(session.directory, "bad.conf")
    for line, word in (("QueueRecord=5", "QueueRecord"), ("QueueRecords=5", "16"), ("nonsense", "=")):
        with open(path, "w") as file:
            file.write(f"\n{line}\n")
        result = subprocess.run([e2e.WVUD, "--run-dir", session.directory, "--config", path],
                                capture_output=True, text=True, timeout=e2e.PATIENCE, check=False)
        e2e.check(result.returncode != 0, f"wvud ran with {line!r}")
        e2e.check(f"{path}:2" in result.stderr and word in result.stderr,
                  f"about {line!r} it said {result.stderr!r}")


def test_start_with_wrong_rules(session):
    path = os.path.join(session.directory, "rules")
    with open(path, "w") as file:
        file.write("# one that is right\nexclude image=/bin/true\nexclude imagee=/bin/true\n")
    for arguments in ([], ["--check"]):
        result = subprocess.run([e2e.WVUD, "--run-dir", session.directory + "/none", "--set",
                                 "FilterFile=" + path, *arguments], capture_output=True, text=True,
                                timeout=e2e.PATIENCE, check=False)
        e2e.equal(result.returncode, 2, "wvud's exit code")
        e2e.check(f"{path}:3: 'imagee'" in result.stderr, f"it says: {result.stderr}")
    os.unlink(path)
    result = subprocess.run([e2e.WVUD, "--check", "--set", "FilterFile=" + path], capture_output=True,
                            text=True, timeout=e2e.PATIENCE, check=False)
    e2e.equal(result.returncode, 2, "wvud's exit code without the file")
    e2e.check(path in result.stderr, f"it says: {result.stderr}")


def test_ordinary_user_is_told_which_rights_are_missing(_session):
    """Also where already the run directory cannot be made."""
    if os.getuid() != 0:
        raise e2e.Skip("only root can become somebody else")
    program = os.open(e2e.WVUD, os.O_RDONLY)  # whose directory that user may not be able to enter
    result = subprocess.run([f"/proc/self/fd/{program}", "--config", "/dev/null"], pass_fds=[program],
                            user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True,
                            text=True, timeout=e2e.PATIENCE, check=False)
    os.close(program)
    e2e.equal(result.returncode, 77, f"wvud's exit code ({result.stderr})")
    e2e.check("CAP_BPF" in result.stderr and "/run/winvirtue" in result.stderr, result.stderr)


def test_service_manager_is_told(session):
    """The messages of sd_notify(3)."""
    path = os.path.join(session.directory, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(e2e.PATIENCE)
        sensor = session.sensor(environment={"NOTIFY_SOCKET": path})

        def told(words):
            while True:
                text = manager.recv(4096).decode()
                if all(word in text for word in words):
                    return text

        told(["READY=1", "STATUS=4 probes run; no reader"])
        with wire.Port(sensor.run_dir):
            told([f"reader: process {os.getpid()}"])
        told(["no reader"])
        sensor.process.send_signal(signal.SIGHUP)
        told(["RELOADING=1", "MONOTONIC_USEC="])
        told(["READY=1"])
        sensor.stop()
        told(["STOPPING=1"])


def forks_of_machine():
    """Processes and threads that were started since the machine was."""
    with open("/proc/stat") as stat:
        return next(int(line.split()[1]) for line in stat if line.startswith("processes"))


def test_nothing_happens_nothing_wakes(session):
    """While no event comes, neither the sensor nor the reader runs at all."""
    sensor = session.sensor()
    reader = session.reader(sensor)
    session.mark(reader)
    still = stirred = 0
    deadline = time.monotonic() + 20
    while still < 4:
        events = len(reader.events())
        forks = forks_of_machine()
        before = sensor.wakeups() + e2e.wakeups(reader.pid)
        time.sleep(0.5)  # the span that is measured
        switches = sensor.wakeups() + e2e.wakeups(reader.pid) - before
        # A thread that starts anywhere is no event, but the kernel tells the sensor of it.
        if len(reader.events()) == events and forks_of_machine() == forks:
            # One stir can be the end of what happened before; a timer would stir again and again.
            still += switches == 0
            stirred += switches != 0
        e2e.check(stirred <= 2, f"{switches} switches in half a second without any event")
        if time.monotonic() > deadline:
            raise e2e.Skip("other programs of this machine are never quiet for half a second")


def test_memory_stays_the_same(session):
    """Everything is allocated at the start."""
    sensor = session.sensor()
    reader = session.reader(sensor)
    session.spawn(count=1000)
    session.mark(reader)
    before = sensor.memory()
    session.spawn(count=2000 if e2e.SANITIZED else 10000)
    session.mark(reader)
    after = sensor.memory()
    if not e2e.SANITIZED:
        e2e.check(after - before <= 256 << 10, f"memory grew from {before} to {after}")
        e2e.check(after < 24 << 20, f"{after} bytes are resident")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
