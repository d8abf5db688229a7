#!/usr/bin/env python3
"""Commands on a running sensor: what each does, what the stream tells of it, what bad requests come to, and
probes that are switched ten thousand times while processes start and end."""
import os
import random
import signal
import socket
import struct
import subprocess

import control
import e2e
from control import CONFIGURE, DISABLE, ENABLE, ENUMERATE, KILL, SET_FILTER

ECHO, ENABLE_UNLOAD, DISABLE_UNLOAD = 0, 3, 4
STATISTICS, SET_LOG, SCHEMA, SHUTDOWN, STATUS, GET_FILTER = 16, 17, 18, 20, 21, 22
CHANGES = {1: "EnableProbe", 2: "DisableProbe", 3: "EnableUnload", 4: "DisableUnload",
           6: "ConfigureProbe", 7: "OneShotKill", 17: "SetLog", 19: "SetFilter", 20: "Shutdown"}

INVALID_PARAMETER = 0xC000000D - (1 << 32)
VERSION_MISMATCH = 0xC0000059 - (1 << 32)
NOT_SUPPORTED = 0xC00000BB - (1 << 32)
NOT_FOUND = 0xC0000225 - (1 << 32)
CONNECTION_LIMIT = 0xC0000246 - (1 << 32)
BAD_MESSAGE = 0xC0000702 - (1 << 32)

NO_PROBE = bytes(16)
UNKNOWN_PROBE = bytes(range(16))
REQUEST_MAX = 65536
CLIENTS_MAX = 64
RUNNING = 1

# docs/protocol.md: the counters of the sensor as a whole, in their order
COUNTERS = ("uptime accepted delivered lost queued in_flight queued_bytes high_water unnumbered filtered "
            "cut batches sends timeouts bad_replies connections redelivered commands commands_failed "
            "mitigations").split()


def request(command, data=b"", probe=NO_PROBE, version=1, size=32, data_size=None, reserved=0):
    """A request; each of its parts can lie."""
    length = len(data) if data_size is None else data_size
    return control.REQUEST.pack(version, size, command, probe, length, reserved) + data


class Client(control.Control):
    """A client that can also send what is no request."""

    def send(self, packet):
        self.socket.send(packet)

    def receive(self):
        """A response, checked as far as docs/protocol.md describes it; None at the end of the connection."""
        packet = self.socket.recv(self.message_max + 1)
        if not packet:
            return None
        version, size, _, status, length = control.RESPONSE.unpack_from(packet)
        e2e.equal((version, size, length), (1, 16, len(packet) - 16), "version and sizes of a response")
        return control.Response(status, packet[16:])

    def do(self, command, data=b"", probe=NO_PROBE):
        """The data of a response that must be a success."""
        self.send(request(command, data, probe))
        response = self.receive()
        e2e.check(response is not None and response.status == 0, f"command {command} came to {response}")
        return response.data

    def refused(self, packet, status, *words):
        """Sends what must come to this status, with these words in the reason."""
        self.send(packet)
        response = self.receive()
        e2e.check(response is not None, f"the connection was closed after {packet[:40]!r}")
        reason = response.data.decode()
        e2e.equal(response.status & 0xFFFFFFFF, status & 0xFFFFFFFF,
                  f"the status ({reason}) of {packet[:60]!r}")
        for word in words:
            e2e.check(word in reason, f"'{word}' is not in the reason '{reason}'")
        return reason

    def configuration(self):
        """What EnumerateProbes says about settings, by probe."""
        found = {}
        data = self.do(ENUMERATE)
        while data:
            size = struct.unpack_from("<I", data)[0]
            texts = [text_at(data[:size], control.ENTRY.size + 12 * n) for n in range(3)]
            found[texts[0]] = dict(line.split("=", 1) for line in texts[1].split("\n"))
            data = data[size:]
        return found

    def statistics(self):
        data = self.do(STATISTICS)
        size, event_size, event_count, _ = struct.unpack_from("<IIII", data)
        counters = dict(zip(COUNTERS, struct.unpack_from(f"<{len(COUNTERS)}Q", data, 16)))
        histogram = struct.unpack_from("<32Q", data, 16 + 8 * len(COUNTERS))
        events = {}
        for n in range(event_count):
            kind, accepted, delivered, filtered, cut = struct.unpack_from("<H6xQQQQ", data,
                                                                           size + n * event_size)
            events[kind] = (accepted, delivered, filtered, cut)
        host = text_at(data, 16 + 8 * len(COUNTERS) + 8 * 32)
        return counters, histogram, events, dict(line.split("=") for line in host.split("\n"))

    def status(self):
        data = self.do(STATUS)
        fields = struct.unpack_from("<II16s16sqQIIIIIII", data)
        keys = ("size host boot_id sensor_id started uptime version pid is_protected reader_pid "
                "queue_records queue_bytes filter_rules").split()
        texts = "host_name sensor_version system_version configuration log".split()
        found = dict(zip(keys, fields))
        for n, name in enumerate(texts):
            found[name] = text_at(data, 84 + 12 * n)
        return found


def text_at(structure, offset):
    begin, size = struct.unpack_from("<HH", structure, offset)
    return structure[begin:begin + size].decode()


def count_descriptors(sensor):
    return len(os.listdir(f"/proc/{sensor.pid}/fd"))


def told(reader):
    """The commands that the stream tells of so far."""
    return [event for event in reader.events() if event["sensor_type"] == "CommandExecuted"]


def wait_for_commands(reader, count):
    e2e.wait_until(lambda: len(told(reader)) >= count, f"{count} CommandExecuted events")
    e2e.equal(len(told(reader)), count, "the number of CommandExecuted events")
    return told(reader)


# ---- what commands do --------------------------------------------------------------------------------


def test_questions_are_answered(session):
    """Echo, EnumerateProbes, GetStatistics, GetSchema, GetStatus: against what is known otherwise."""
    sensor = session.sensor(QueueRecords=5000, **{"Probes": "all"})
    reader = session.reader(sensor)
    session.spawn(50)
    session.mark(reader)
    first = reader.wait_for(lambda e: e["sensor_type"] == "SensorStart", "the sensor's start")
    with Client(sensor) as client:
        for data in (b"", b"x", os.urandom(1000), os.urandom(REQUEST_MAX - 32)):
            e2e.equal(client.do(ECHO, data), data, f"the echo of {len(data)} bytes")
        probes = client.probes()
        started = {event["ProbeName"]: event for event in reader.events()
                   if event["sensor_type"] == "ProbeStateChanged"}
        e2e.equal(set(started), set(probes), "the probes")
        for name, probe in probes.items():
            e2e.equal(probe.condition, RUNNING, f"the condition of {name}")
        e2e.check(probes["ProcessCreate"].operations >= 100, f"{probes['ProcessCreate']}")

        counters, histogram, events, host = client.statistics()
        e2e.equal(counters["accepted"], counters["delivered"] + counters["lost"] + counters["queued"]
                  + counters["in_flight"], "accepted events")
        e2e.equal(counters["accepted"], sum(kind[0] for kind in events.values()),
                  "accepted events, by kind")
        e2e.check(events[2][0] >= 51 and events[3][0] >= 50, f"counters by kind: {events}")
        e2e.check(sum(histogram) > 0, "no call of a probe was timed")
        e2e.equal((counters["connections"], counters["commands_failed"]), (1, 0),
                  "readers and failed commands")
        e2e.check(int(host["ring-records"]) > 0 and host["command-clients"] == "1", f"{host}")

        schema = client.do(SCHEMA).decode()
        e2e.check("ProcessCreate" in schema and "CommandExecuted" in schema, schema[:200])
        status = client.status()
        e2e.equal((status["pid"], status["reader_pid"], status["is_protected"]),
                  (sensor.pid, reader.pid, 0), "sensor, reader and protection")
        e2e.equal((status["queue_records"], status["filter_rules"]), (5000, 0),
                  "queue and rules")
        e2e.equal(status["configuration"], first["Configuration"], "the configuration")
        e2e.equal(status["boot_id"].hex(), first["BootId"].replace("-", ""), "the boot id")
    session.mark(reader)
    e2e.equal(told(reader), [], "questions that are told in the stream")
    reader.stop()


def test_probes_are_switched_and_configured(session):
    """A probe that is disabled, and a kind that is switched off, is silent; the others go on."""
    sensor = session.sensor()
    reader = session.reader(sensor)
    with Client(sensor) as client:
        image = client.probes()["ImageLoad"].id
        process = client.probes()["ProcessCreate"].id
        client.do(DISABLE, probe=image)
        e2e.check(client.probes()["ImageLoad"].condition != RUNNING, "ImageLoad still runs")
        without = session.mark(reader)["ProcessKey"]
        client.do(ENABLE, probe=image)
        client.do(CONFIGURE, b"ProcessDestroy=off", probe=process)
        e2e.equal(client.configuration()["ProcessCreate"]["ProcessDestroy"], "off", "the setting")
        argv = [e2e.TINY, str(session.serials(1)), "quiet"]
        subprocess.run(argv, check=False)
        quiet = reader.wait_for(lambda e: e2e.is_create(e, argv), "a start")["ProcessKey"]
        client.do(CONFIGURE, b"ProcessDestroy=on", probe=process)
        session.mark(reader)
        client.do(DISABLE)  # all of them
        e2e.check(RUNNING not in [probe.condition for probe in client.probes().values()],
                  "a probe runs after all were disabled")
        client.do(ENABLE)
        e2e.equal({probe.condition for probe in client.probes().values()}, {RUNNING},
                  "the conditions after all were enabled")
        session.mark(reader)
    events = e2e.by_key(reader.stop())
    kinds = [event["sensor_type"] for event in events[without]]
    e2e.equal(kinds, ["ProcessCreate", "ProcessDestroy"], "events without ImageLoad")
    kinds = [event["sensor_type"] for event in events[quiet]]
    e2e.equal(kinds, ["ProcessCreate", "ImageLoad"], "events without ProcessDestroy")


def test_log_and_filter_are_set(session):
    """Until somebody else sets them: what is in force is what was set last, also by a reload."""
    rules = b"# by command\nexclude image=/bin/false\n"
    path = os.path.join(session.directory, "rules")
    with open(path, "w") as file:
        file.write("exclude image=/bin/true\n")
    sensor = session.sensor(FilterFile=path)
    with Client(sensor) as client:
        e2e.equal(client.do(GET_FILTER), b"exclude image=/bin/true\n", "the file's rules")
        client.do(SET_FILTER, rules)
        e2e.equal(client.do(GET_FILTER), rules, "the rules")
        e2e.equal(client.status()["filter_rules"], 1, "the number of rules")
        client.do(SET_LOG, b"comms=trace queue=error")
        log = dict(line.split("=") for line in client.status()["log"].split("\n"))
        e2e.equal((log["comms"], log["queue"], log["main"]), ("trace", "error", "info"), "the levels")
        Client(sensor).socket.close()
        e2e.wait_until(lambda: "command client disconnected" in sensor.log(), "a trace line")
        client.refused(request(SET_FILTER, b"\nexclude image\n"), INVALID_PARAMETER, "line 2")
        client.refused(request(SET_LOG, b"comms=info commms=info"), INVALID_PARAMETER, "commms")
        client.refused(request(SET_LOG, b"comms=loud"), INVALID_PARAMETER, "loud")
        e2e.equal(client.do(GET_FILTER), rules, "the rules after wrong ones")
        log = dict(line.split("=") for line in client.status()["log"].split("\n"))
        e2e.equal(log["comms"], "trace", "the level after wrong ones")

        def reload(count):
            sensor.process.send_signal(signal.SIGHUP)
            e2e.wait_until(lambda: sensor.log().count("reading the configuration again") == count
                           and client.do(ECHO) == b"", "the reload")

        with open(path, "w") as file:
            file.write("exclude\nexclude imagee=/bin/true\n")
        reload(1)
        e2e.wait_until(lambda: f"{path}:2: " in sensor.log(), "the wrong line in the log")
        e2e.equal(client.do(GET_FILTER), rules, "the rules after a wrong file")
        with open(path, "w") as file:
            file.write("exclude image=/bin/echo\n")
        reload(2)
        e2e.wait_until(lambda: client.do(GET_FILTER) == b"exclude image=/bin/echo\n", "the file's rules")
        e2e.wait_until(lambda: "comms=info" in client.status()["log"], "the file's level")
        client.do(SET_FILTER)
        e2e.equal(client.do(GET_FILTER), b"", "no rules")
    sensor.stop()


def test_processes_are_ended(session):
    """By pid; by pid and key only when both are of the same process."""
    sensor = session.sensor()
    reader = session.reader(sensor)
    with Client(sensor) as client:
        for by_key in (False, True):
            target = session.popen(["sleep", "1000"])
            key = reader.wait_for(lambda e: e["sensor_type"] == "ProcessCreate"
                                  and e["ProcessId"] == target.pid and e["Cause"] == "Exec",
                                  "the target's start")["ProcessKey"]
            if by_key:
                client.refused(request(KILL, f"{target.pid} key=0x{int(key, 16) + 1:x}".encode()),
                               NOT_FOUND)
                e2e.equal(target.poll(), None, "the target's end by another's key")
            client.do(KILL, f"{target.pid} key={key}".encode() if by_key else str(target.pid).encode())
            e2e.equal(target.wait(e2e.PATIENCE), -signal.SIGKILL, "the target's end")
        for pid, why in ((sensor.pid, "sensor"), (reader.pid, "reads")):
            client.refused(request(KILL, str(pid).encode()), control.ACCESS_DENIED, why)
        client.refused(request(KILL, b"no pid"), INVALID_PARAMETER)
    mitigations = [event for event in reader.stop() if event["sensor_type"] == "Mitigation"]
    outcomes = [event["Outcome"] for event in mitigations]
    e2e.equal(outcomes.count("Ended"), 2, f"ended processes in {outcomes}")
    e2e.equal({event["RequesterProcessId"] for event in mitigations}, {os.getpid()}, "requesters")


def test_shutdown_stops_the_sensor(session):
    sensor = session.sensor()
    reader = session.reader(sensor)
    reader.wait_for(lambda e: e["sensor_type"] == "SensorStart", "the sensor's start")
    with Client(sensor) as client:
        client.do(SHUTDOWN)
        e2e.equal(sensor.process.wait(e2e.PATIENCE), 0, "wvud's exit code")
        e2e.equal(client.receive(), None, "what comes after the sensor's end")
    e2e.equal(os.listdir(sensor.run_dir), [], "what the sensor left in its run directory")
    last = reader.wait_for(lambda e: e["sensor_type"] == "SensorStop", "the sensor's last event")
    e2e.check(f"process {os.getpid()} " in last["Reason"], last["Reason"])
    e2e.equal([event["Command"] for event in told(reader)], ["Shutdown"], "commands in the stream")
    reader.stop()


def test_changes_are_told(session):
    """Each command that changes something is an event, also one that fails; nothing else is."""
    sensor = session.sensor()
    reader = session.reader(sensor)
    image = os.path.realpath("/proc/self/exe")
    expected = []
    with Client(sensor) as client:
        ids = {name: probe.id for name, probe in client.probes().items()}

        def give(command, data=b"", probe=NO_PROBE, status=0, target=None, detail=None):
            client.send(request(command, data, probe))
            e2e.equal(client.receive().status, status, f"the status of command {command}")
            expected.append((CHANGES[command], f"0x{status & 0xFFFFFFFF:08X}", target, detail))

        give(DISABLE, probe=ids["ImageLoad"], target="ImageLoad")
        give(ENABLE, probe=ids["ImageLoad"], target="ImageLoad")
        give(CONFIGURE, b"ImageLoad=on", ids["ImageLoad"], target="ImageLoad", detail="ImageLoad=on")
        give(CONFIGURE, b"colour=red", ids["ImageLoad"], INVALID_PARAMETER, "ImageLoad")
        give(SET_LOG, b"comms=info", detail="comms=info")
        give(SET_FILTER, b"exclude image=/nowhere", detail="exclude image=/nowhere")
        give(SET_FILTER, b"exclude imagee=/", status=INVALID_PARAMETER)
        give(DISABLE_UNLOAD)
        give(ENABLE_UNLOAD)
        give(KILL, b"x", status=INVALID_PARAMETER)
        client.do(ECHO, b"x")
        client.do(ENUMERATE)
        key = reader.wait_for(lambda e: e["sensor_type"] == "ProcessCreate"
                              and e["ProcessId"] == os.getpid(), "this process")["ProcessKey"]
        events = wait_for_commands(reader, len(expected))
    for event, (command, status, target, detail) in zip(events, expected):
        e2e.equal((event["Command"], event["Status"].lower()), (command, status.lower()), "command and status")
        e2e.equal((event["ProcessId"], event["ProcessKey"], event["UserId"], event["ImageFileName"]),
                  (os.getpid(), key, os.getuid(), image), f"who gave {command}")
        if target is not None:
            e2e.equal(event.get("Target"), target, f"the target of {command}")
        if detail is not None:
            e2e.equal(event.get("Detail"), detail, f"the detail of {command}")
        if status != "0x00000000":
            e2e.check(event.get("Detail"), f"{command} failed and the event does not say why")
    e2e.check("colour" in events[3]["Detail"], f"{events[3]}")
    reader.stop()


# ---- bad input ---------------------------------------------------------------------------------------


def test_bad_requests_are_answered_and_change_nothing(session):
    sensor = session.sensor()
    with Client(sensor) as client:
        before = (client.configuration(), [probe[:4] for probe in client.probes().values()],
                  client.do(GET_FILTER), client.status()["log"])
        known = client.probes()["ImageLoad"].id
        for size in range(1, 32):
            client.refused(request(ECHO)[:size], BAD_MESSAGE)
        cases = [
            (request(ECHO, bytes(REQUEST_MAX - 31)), BAD_MESSAGE),
            (request(DISABLE, bytes(100000), known), BAD_MESSAGE),
            (request(DISABLE, probe=known, version=2), VERSION_MISMATCH),
            (request(DISABLE, probe=known, version=0), VERSION_MISMATCH),
            (request(DISABLE, probe=known, size=31), BAD_MESSAGE),
            (request(DISABLE, probe=known, size=33), BAD_MESSAGE),
            (request(DISABLE, probe=known, size=65535), BAD_MESSAGE),
            (request(DISABLE, probe=known, data_size=1), BAD_MESSAGE),
            (request(DISABLE, b"x", probe=known, data_size=0), BAD_MESSAGE),
            (request(DISABLE, probe=known, data_size=0xFFFFFFFF), BAD_MESSAGE),
            (request(DISABLE, probe=known, data_size=0xFFFFFFE0), BAD_MESSAGE),
            (request(DISABLE, probe=known, reserved=1), BAD_MESSAGE),
            (request(DISABLE, b"unwanted", probe=known), INVALID_PARAMETER),
            (request(8), NOT_SUPPORTED),
            (request(15, b"x"), NOT_SUPPORTED),
            (request(0xFFFFFFFF), NOT_SUPPORTED),
            (request(DISABLE, probe=UNKNOWN_PROBE), NOT_FOUND),
            (request(CONFIGURE, b"ImageLoad=off", probe=UNKNOWN_PROBE), NOT_FOUND),
            (request(ECHO, probe=known), INVALID_PARAMETER),
            (request(CONFIGURE, b"ImageLoad=off\0", known), INVALID_PARAMETER),
            (request(SET_FILTER, b"exclude\0"), INVALID_PARAMETER),
        ]
        for packet, status in cases:
            client.refused(packet, status)
            e2e.equal(client.do(ECHO, b"still there"), b"still there", "the echo after it")
        chance = random.Random(1)
        for _ in range(300):
            packet = bytearray(request(chance.choice((ECHO, ENUMERATE, STATUS)), b"data" * 10))
            for _ in range(chance.randrange(1, 4)):
                packet[chance.choice((0, 1, 2, 3, 24, 25, 26, 27, 28, 31))] ^= chance.randrange(1, 256)
            client.send(bytes(packet))
            e2e.check(client.receive() is not None, f"no answer to {packet.hex()}")
        e2e.equal((client.configuration(), [probe[:4] for probe in client.probes().values()],
                   client.do(GET_FILTER), client.status()["log"]), before, "the sensor after it all")
    sensor.stop()


def test_wrong_configuration_names_the_key(session):
    sensor = session.sensor()
    with Client(sensor) as client:
        probe = client.probes()["ProcessCreate"].id
        before = client.configuration()
        for text, word in ((b"ProcessDestroy=off colour=red", "colour"),
                           (b"ProcessDestroy=off ProcessCreate=maybe", "ProcessCreate"),
                           (b"ProcessDestroy=off ImageLoad=off", "ImageLoad"),
                           (b"ProcessDestroy", "ProcessDestroy"), (b"=off", "setting")):
            client.refused(request(CONFIGURE, text, probe), INVALID_PARAMETER, word)
            e2e.equal(client.configuration(), before, f"the settings after {text}")
        # For all probes: what one of them does not take, none takes.
        client.refused(request(CONFIGURE, b"ProcessDestroy=off"), INVALID_PARAMETER, "ProcessDestroy")
        temporal = client.probes()["ProcessListValidation"].id
        client.refused(request(CONFIGURE, b"repeat-interval=0", temporal), INVALID_PARAMETER,
                       "repeat-interval")
        e2e.equal(client.configuration(), before, "the settings after it all")
    sensor.stop()


def test_clients_that_misbehave_disturb_nobody(session):
    """A client that never reads, many that hold connections, and a crowd that comes and goes."""
    sensor = session.sensor()
    with Client(sensor) as client, Client(sensor) as silent:
        descriptors = count_descriptors(sensor)
        large = request(ECHO, bytes(60000))
        silent.socket.setblocking(False)

        def is_closed():
            try:
                silent.send(large)
            except BlockingIOError:
                pass  # the sensor has not come to it yet
            except (BrokenPipeError, ConnectionResetError):
                return True
            e2e.equal(client.do(ECHO, b"x"), b"x", "the echo for another client")
            return False

        e2e.wait_until(is_closed, "the end of a client that does not read")
        e2e.wait_until(lambda: "does not read its responses" in sensor.log(), "the line about it")
        with session_of(sensor, CLIENTS_MAX - 1):
            late = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            late.connect(sensor.run_dir + "/WVUCommand")
            e2e.equal(control.WELCOME.unpack(late.recv(100))[2], CONNECTION_LIMIT, "the welcome of one more")
            e2e.equal(late.recv(100), b"", "what comes after it")
            late.close()
            e2e.equal(client.do(ECHO, b"y"), b"y", "the echo when all places are taken")
    for number in range(500):
        with Client(sensor) as client:
            e2e.equal(client.do(ECHO, str(number).encode()), str(number).encode(), "an echo")
    # Each of the two clients that were there had a socket and a pidfd.
    e2e.wait_until(lambda: count_descriptors(sensor) == descriptors - 4,
                   f"as many descriptors as before ({descriptors} - 4)")
    sensor.stop()


class session_of:  # pylint: disable=invalid-name
    """So many clients at once."""

    def __init__(self, sensor, count):
        self.clients = [Client(sensor) for _ in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.socket.close()


# ---- switching under load ----------------------------------------------------------------------------

TOGGLES = 1000 if e2e.SANITIZED else 10000


def toggle(client, probe, count):
    for _ in range(count // 2):
        client.do(DISABLE, probe=probe)
        client.do(ENABLE, probe=probe)


def test_probes_are_switched_under_load(session):
    """Ten thousand times, while processes start and end: every number arrives, every process that another
    probe reports is there with start and end, and the sensor holds no more than before."""
    sensor = session.sensor(LogModules="main", **e2e.ROOMY)
    reader = session.reader(sensor)
    with Client(sensor) as client:
        probes = client.probes()
        session.spawn(500)
        toggle(client, probes["ImageLoad"].id, 200)  # what is allocated once is allocated now
        toggle(client, NO_PROBE, 4)
        session.mark(reader)
        descriptors, memory = count_descriptors(sensor), sensor.memory()
        switched = 204

        spawner = session.start_spawner(3000, workers=1, rate=400)
        for name in ("ImageLoad", "ThreadCreate"):
            toggle(client, probes[name].id, TOGGLES // 2)
            switched += TOGGLES // 2
        spawned = spawner.finish()
        toggle(client, probes["ProcessCreate"].id, TOGGLES // 10)
        toggle(client, NO_PROBE, 10)  # which lets go of the kernel, and takes hold of it again
        switched += TOGGLES // 10 + 10
        session.mark(reader)
        e2e.equal({probe.condition for probe in client.probes().values()}, {RUNNING}, "the conditions")
        e2e.equal(count_descriptors(sensor), descriptors, "wvud's descriptors")
        growth = sensor.memory() - memory
        if not e2e.SANITIZED:  # which keep what is freed for a while, and look for leaks themselves
            e2e.check(growth < 2 << 20, f"wvud grew by {growth} bytes")
        counters, _, _, _ = client.statistics()
        e2e.equal(counters["lost"] + counters["unnumbered"], 0, "lost events")
    sensor.stop()
    reader.wait_for(lambda e: e["sensor_type"] == "SensorStop", "the sensor's last event")
    events = reader.stop()
    e2e.equal(e2e.check_numbers(events), 0, "lost numbers")
    commands = [event["Command"] for event in events if event["sensor_type"] == "CommandExecuted"]
    e2e.equal(commands, ["DisableProbe", "EnableProbe"] * (switched // 2), "the commands in the stream")
    starts = {event["Arguments"][1]: event["ProcessKey"] for event in events
              if event["sensor_type"] == "ProcessCreate" and event.get("Cause") == "Exec"
              and event.get("ImageFileName") == spawned.program}
    ended = {event["ProcessKey"] for event in events if event["sensor_type"] == "ProcessDestroy"}
    missing = [serial for serial, _, _, _ in spawned.entries if starts.get(str(serial)) not in ended]
    e2e.equal(missing, [], "processes without start or end")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
