#!/usr/bin/env python3
"""ProcessListValidation when one of its lists is missing: no process probe, or a /proc that does not show all."""
import os

import e2e
from validation import MNT_DETACH, NAME, Hidden, Scene, call, own_mounts, sleeper


def test_without_the_process_probe(session):
    own_mounts()
    scene = Scene(session, Probes=NAME)
    process = sleeper(session)
    with Hidden(process):
        event = scene.wait_for_report(process.pid)
    e2e.equal((event["InLists"], event["NotInLists"]), (["Kernel"], ["Proc"]), "the lists")


def test_proc_that_hides_processes(session):
    """With the right to see all the comparison works, without it the probe says what is missing."""
    own_mounts()
    call(e2e.libc.mount, b"proc", b"/proc", b"proc", 0, b"hidepid=2")
    try:
        scene = Scene(session)
        scene.wait_for_runs(2)
        e2e.equal(scene.reports(), [], "reports")
        path = os.path.join(session.directory, "without.log")
        with open(path, "w") as log:
            process = session.popen(
                ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", e2e.WVUD, "--config",
                 "/dev/null", "--run-dir", os.path.join(session.directory, "without")], stderr=log)

        def log():
            with open(path) as file:
                return file.read()

        e2e.wait_until(lambda: " ready: " in log() or process.poll() is not None, "the other sensor")
        e2e.check("ProcessListValidation cannot run" in log() and "hidepid" in log()
                  and "CAP_SYS_PTRACE" in log(), f"it said {log()}")
    finally:
        e2e.libc.umount2(b"/proc", MNT_DETACH)


def test_something_else_at_proc(session):
    """/proc itself is not what it should be: the run fails and says so, and reports nothing."""
    own_mounts()
    scene = Scene(session)
    scene.wait_for_runs(1)
    call(e2e.libc.mount, b"none", b"/proc", b"tmpfs", 0, None)
    try:
        e2e.wait_until(lambda: "something else is mounted" in scene.sensor.log(), "the complaint")
        e2e.equal(scene.reports(), [], "reports")
    finally:
        e2e.libc.umount2(b"/proc", MNT_DETACH)


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
