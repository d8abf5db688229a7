#!/usr/bin/env python3
"""A sensor that is protected refuses to stop, and tells who tried; what protection cannot do is as the manual
says."""
import os
import signal
import socket
import subprocess

import control
import e2e
from control import OK

ECHO, ENABLE_UNLOAD, DISABLE_UNLOAD, SHUTDOWN = 0, 3, 4, 20
INVALID_STATE = 0xC0000184 - (1 << 32)


def refused(reader, count):
    """The refused stops that the stream tells of, when there are so many."""
    def look():
        found = [event for event in reader.events() if event["sensor_type"] == "StopRefused"]
        return found if len(found) >= count else None

    events = e2e.wait_until(look, f"{count} StopRefused events")
    e2e.equal(len(events), count, "the number of StopRefused events")
    return events


def check_alive(session, reader, client):
    e2e.equal(client.ask(ECHO, b"alive"), (OK, b"alive"), "the echo")
    session.mark(reader)


def test_signals_and_shutdown_are_refused(session):
    sensor = session.sensor()
    reader = session.reader(sensor)
    with control.Control(sensor) as client:
        e2e.equal(client.ask(DISABLE_UNLOAD).status, OK, "the status of DisableUnload")
        sensor.process.send_signal(signal.SIGTERM)
        refused(reader, 1)  # two that wait at the same time count as one: see signal(7)
        sensor.process.send_signal(signal.SIGINT)
        refused(reader, 2)
        killer = session.popen(["sh", "-c", f"kill -TERM {sensor.pid}; read line"], stdin=subprocess.PIPE)
        refused(reader, 3)
        e2e.equal(client.ask(SHUTDOWN).status, INVALID_STATE, "the status of Shutdown")
        events = refused(reader, 4)
        killer.communicate(b"\n")
        check_alive(session, reader, client)
        e2e.equal([event["Attempt"] for event in events], ["SIGTERM", "SIGINT", "SIGTERM", "Shutdown"],
                  "the attempts")
        e2e.equal([event["ProcessId"] for event in events],
                  [os.getpid(), os.getpid(), killer.pid, os.getpid()], "who tried")
        e2e.equal({event["UserId"] for event in events}, {os.getuid()}, "their user")
        e2e.equal([event.get("ImageFileName") for event in events],
                  [os.path.realpath(path) for path in ("/proc/self/exe", "/proc/self/exe", "/bin/sh",
                                                       "/proc/self/exe")], "their programs")
        e2e.check("refused to stop" in sensor.log() and "protect off" in sensor.log(), "nothing in the log")
        e2e.equal(client.ask(ENABLE_UNLOAD).status, OK, "the status of EnableUnload")
    sensor.stop()
    last = reader.wait_for(lambda e: e["sensor_type"] == "SensorStop", "the sensor's last event")
    e2e.check(last["Reason"].startswith("SIGTERM"), last["Reason"])
    e2e.equal(e2e.check_numbers(reader.stop()), 0, "lost numbers")


def test_protected_from_the_start(session):
    """Protect=yes; and a reload does not take it away."""
    sensor = session.sensor(Protect="yes")
    reader = session.reader(sensor)
    sensor.process.send_signal(signal.SIGTERM)
    refused(reader, 1)
    sensor.configure(Protect="no")
    sensor.process.send_signal(signal.SIGHUP)
    e2e.wait_until(lambda: "Protect stays 'yes'" in sensor.log(), "the line about the reload")
    sensor.process.send_signal(signal.SIGTERM)
    refused(reader, 2)
    with control.Control(sensor) as client:
        check_alive(session, reader, client)
        e2e.equal(client.ask(ENABLE_UNLOAD).status, OK, "the status of EnableUnload")
        sensor.stop()
    sensor.start()  # with Protect=no
    sensor.stop()
    reader.stop()


def test_service_manager_shows_it(session):
    """In the state that systemctl status prints; so for probes that are switched."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(e2e.PATIENCE)
    manager.bind(os.path.join(session.directory, "notify"))
    sensor = session.sensor(environment={"NOTIFY_SOCKET": os.path.join(session.directory, "notify")})

    def await_status(status):
        while manager.recv(4096).decode().split("\n")[-1] != "STATUS=" + status:
            pass  # recv gives up after a while

    await_status("4 probes run; no reader")
    with control.Control(sensor) as client:
        client.ask(DISABLE_UNLOAD)
        await_status("4 probes run; no reader; protected: it refuses to stop")
        client.of_probe(control.DISABLE, "ThreadCreate")
        await_status("3 probes run; no reader; protected: it refuses to stop")
        client.ask(ENABLE_UNLOAD)
        await_status("3 probes run; no reader")
    sensor.stop()
    manager.close()


def test_other_signals_do_what_they_always_do(session):
    sensor = session.sensor(Protect="yes")
    sensor.process.send_signal(signal.SIGUSR1)
    e2e.wait_until(lambda: "events accepted" in sensor.log(), "the counters")
    # No program can refuse this one. What it leaves behind does not keep the next one from starting.
    sensor.kill()
    sensor.start()
    with control.Control(sensor) as client:
        e2e.equal(client.ask(ENABLE_UNLOAD).status, OK, "the status of EnableUnload")
    sensor.stop()


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
