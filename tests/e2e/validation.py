#!/usr/bin/env python3
"""ProcessListValidation: a process that /proc does not show is reported once, and processes that start and end
are not."""
import ctypes
import os
import subprocess

import control
import e2e

NAME = "ProcessListValidation"
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 0x40000, 2


class Scene:
    """A sensor that compares the lists each second."""

    def __init__(self, session, **settings):
        self.session = session
        self.sensor = session.sensor(**settings)
        self.reader = session.reader(self.sensor)
        self.client = control.Control(self.sensor)
        e2e.equal(self.client.of_probe(control.CONFIGURE, NAME, b"repeat-interval=1").status, control.OK,
                  "the status of the configuration")
        self.known = set()
        self.sees_processes = "Probes" not in settings
        self.wait_for_run(1)
        # Some kernels keep a process of their own making out of their list: that is for this machine to explain.
        self.known = {event["ProcessId"] for event in self.reports()}

    def runs(self):
        return self.client.probes()[NAME].operations

    def wait_for_runs(self, count):
        """So many whole runs from now on, and the reader has written what they told."""
        self.wait_for_run(self.runs() + count + 1)

    def wait_for_run(self, number):
        e2e.wait_until(lambda: self.runs() >= number, f"comparison {number}")
        if self.sees_processes:
            self.session.mark(self.reader)

    def reports(self, pid=None):
        return [event for event in self.reader.events()
                if event["sensor_type"] == "ProcessListValidationFailed"
                and event["ProcessId"] == (pid or event["ProcessId"])
                and event["ProcessId"] not in self.known]

    def wait_for_report(self, pid):
        return self.reader.wait_for(lambda event: event["sensor_type"] == "ProcessListValidationFailed"
                                    and event["ProcessId"] == pid, "the report")


def call(function, *arguments):
    if function(*arguments) != 0:
        raise e2e.Skip(f"no right to mount: {os.strerror(ctypes.get_errno())}")


def own_mounts():
    """This process and what it starts get a mount name space of their own."""
    call(e2e.libc.unshare, CLONE_NEWNS)
    call(e2e.libc.mount, b"none", b"/", None, MS_REC | MS_PRIVATE, None)


class Hidden:
    """A process whose entry in /proc has something mounted over it."""

    def __init__(self, process, kind=b"tmpfs", source=b"none", flags=0):
        self.path = f"/proc/{process.pid}".encode()
        call(e2e.libc.mount, source, self.path, kind, flags, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        e2e.libc.umount2(self.path, MNT_DETACH)


def sleeper(session):
    return session.popen(["/bin/sleep", "1000"])


def test_hidden_process_is_reported_once(session):
    own_mounts()
    scene = Scene(session)
    process = sleeper(session)
    scene.wait_for_runs(2)
    e2e.equal(scene.reports(), [], "reports while nothing is hidden")
    with Hidden(process):
        event = scene.wait_for_report(process.pid)
        create = next(e for e in scene.reader.events() if e["sensor_type"] == "ProcessCreate"
                      and e["ProcessId"] == process.pid and e["Cause"] == "Exec")
        e2e.equal({name: event.get(name) for name in
                   ("ProcessId", "ProcessKey", "Status", "InLists", "NotInLists", "ImageFileName")},
                  {"ProcessId": process.pid, "ProcessKey": create["ProcessKey"],
                   "Status": "0xc0000225", "InLists": ["Kernel", "Callbacks"], "NotInLists": ["Proc"],
                   "ImageFileName": os.path.realpath("/bin/sleep")}, "the report")
        scene.wait_for_runs(3)
        e2e.equal(len(scene.reports()), 1, "reports while it lasts")
    scene.wait_for_runs(2)
    with Hidden(process):
        e2e.wait_until(lambda: len(scene.reports(process.pid)) == 2, "the report when it is hidden again")
    e2e.equal(len(scene.reports()), 2, "reports in all")


def test_hidden_behind_another_process(session):
    """The entry is there and can be read, but it is that of somebody else."""
    own_mounts()
    scene = Scene(session)
    process, other = sleeper(session), sleeper(session)
    with Hidden(process, kind=None, source=f"/proc/{other.pid}".encode(), flags=0x1000):  # MS_BIND
        scene.wait_for_report(process.pid)
    e2e.equal(scene.reports(other.pid), [], "reports of the other process")


def test_no_false_reports_in_a_storm(session):
    scene = Scene(session, **e2e.ROOMY)
    before = scene.runs()
    session.spawn(count=10000, workers=4)
    e2e.check(scene.runs() > before, "no comparison was made meanwhile")
    scene.wait_for_runs(2)
    session.mark(scene.reader)
    e2e.equal(scene.reports(), [], "false reports")


def test_the_dead_are_no_processes(session):
    """A process that nobody waits for, and one whose first thread has ended."""
    scene = Scene(session)
    dead = subprocess.Popen(["/bin/true"])
    e2e.wait_until(lambda: state_of(dead.pid) == "Z", "its end")
    scene.wait_for_runs(3)
    e2e.equal(scene.reports(), [], "reports of the dead")
    dead.wait()


def state_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
