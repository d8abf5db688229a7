#!/usr/bin/env python3
"""`make run` as a person types it (without building): output, Ctrl-C, a pipe that closes, missing rights,
and nothing left behind."""
import json
import os
import pty
import signal
import subprocess

import e2e

RUN = os.path.join(e2e.HERE, "../../scripts/run")


def start(session, *arguments, **options):
    """scripts/run in a process group of its own, with its run directory below ours."""
    environment = {**os.environ, "TMPDIR": session.directory, "WVU_BIN": session.directory + "/bin"}
    os.makedirs(environment["WVU_BIN"], exist_ok=True)
    for program in (e2e.WVUD, e2e.NTFLTMGR):
        link = os.path.join(environment["WVU_BIN"], os.path.basename(program))
        if not os.path.exists(link):
            os.symlink(os.path.realpath(program), link)
    process = subprocess.Popen([RUN, *arguments], env=environment, stdin=subprocess.DEVNULL,
                               start_new_session=True, **options)
    session.started(process)
    return process


def family(process):
    """The programs that a running scripts/run has started."""
    found = {}
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                text = stat.read()
            if int(text.rpartition(")")[2].split()[1]) == process.pid:
                found[text[text.index("(") + 1:text.rindex(")")]] = int(entry)
        except (OSError, ValueError, IndexError):
            pass
    return found


def check_nothing_is_left(session, programs):
    for name, pid in programs.items():
        e2e.check(not os.path.exists(f"/proc/{pid}"), f"{name} outlived scripts/run")
    left = [name for name in os.listdir(session.directory) if name.startswith("winvirtue.")]
    e2e.equal(left, [], "directories left behind")


def interrupted(session, make_signal):
    with open(session.directory + "/out", "wb") as out, open(session.directory + "/err", "wb") as err:
        process = start(session, stdout=out, stderr=err)
    e2e.wait_until(lambda: os.path.getsize(session.directory + "/out") > 1000, "events")
    programs = family(process)
    e2e.check({"wvud", "ntfltmgr"} <= set(programs), f"scripts/run has started {programs}")
    make_signal(process)
    e2e.equal(process.wait(e2e.PATIENCE), 0, "the exit code")
    check_nothing_is_left(session, programs)
    with open(session.directory + "/out", encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    e2e.equal(e2e.check_numbers(events), 0, "numbers lost")
    e2e.equal(events[-1]["sensor_type"], "SensorStop", "the last event")
    with open(session.directory + "/err", encoding="utf-8") as file:
        summary = file.read()
    for word in ("ProcessCreate", "ProcessDestroy", "ImageLoad", "lost", "duplicate", "reconnect"):
        e2e.check(word in summary, f"the summary says nothing of {word}: {summary}")


def test_interrupt(session):
    interrupted(session, lambda process: process.send_signal(signal.SIGINT))


def test_interrupt_of_the_whole_group(session):
    interrupted(session, lambda process: os.killpg(process.pid, signal.SIGINT))


def test_terminate(session):
    interrupted(session, lambda process: process.send_signal(signal.SIGTERM))


def test_interrupt_from_a_terminal(session):
    master, slave = pty.openpty()
    process = start(session, "--format", "text", stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    while b"\x1b[" not in seen and len(seen) < 1 << 20:
        seen += os.read(master, 4096)
    e2e.check(b"\x1b[" in seen, "no colour on a terminal")
    programs = family(process)
    process.send_signal(signal.SIGINT)
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass  # the other side has been closed
    e2e.equal(process.wait(e2e.PATIENCE), 0, "the exit code")
    check_nothing_is_left(session, programs)


def test_pipe_that_closes(session):
    process = start(session, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    programs = {}
    for _ in range(5):
        json.loads(process.stdout.readline())
        programs.update(family(process))
    process.stdout.close()
    subprocess.run([e2e.TINY, "1"], check=False)
    errors = process.stderr.read().decode()
    e2e.equal(process.wait(e2e.PATIENCE), 0, f"the exit code ({errors})")
    check_nothing_is_left(session, programs)


def test_count(session):
    process = start(session, "--count", "3", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output = process.communicate()[0].decode().splitlines()
    e2e.equal(len(output), 3, "lines")
    e2e.equal(process.returncode, 0, "the exit code")
    check_nothing_is_left(session, {})


def test_killed(session):
    """Even when scripts/run is killed, the kernel ends what it started."""
    with open(session.directory + "/out", "wb") as out:
        process = start(session, stdout=out, stderr=subprocess.DEVNULL)
    e2e.wait_until(lambda: os.path.getsize(session.directory + "/out") > 1000, "events")
    programs = family(process)
    process.kill()
    process.wait()
    e2e.wait_until(lambda: not any(is_running(pid) for pid in programs.values()), "all to end")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_rights(session):
    os.chmod(session.directory, 0o777)
    process = subprocess.run(["setpriv", "--bounding-set=-all", "--inh-caps=-all", e2e.WVUD,
                              "--run-dir", session.directory + "/run"], capture_output=True, text=True,
                             timeout=e2e.PATIENCE, check=False)
    e2e.check(process.returncode != 0, "wvud runs without any right")
    e2e.check("CAP_" in process.stderr and "root" in process.stderr, f"it said {process.stderr!r}")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
