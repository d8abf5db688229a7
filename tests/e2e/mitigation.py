#!/usr/bin/env python3
"""Programs that may not run, and processes that are ended: which way, which not, and what is told of it.

Whether a program began is seen from outside: the tracer's first instructions write a byte."""
import os
import shutil
import signal
import subprocess

import control
import e2e

TRACER = os.path.join(os.path.dirname(e2e.TINY), "tracer")


class Scene:
    def __init__(self, session, *rules, **settings):
        self.session = session
        path = os.path.join(session.directory, "filter.conf")
        with open(path, "w") as file:
            file.write("\n".join(rules) + "\n")
        self.sensor = session.sensor(FilterFile=path, **settings)
        self.reader = session.reader(self.sensor)
        session.mark(self.reader)

    def run(self, program, *arguments, **options):
        """Starts a tracer; its trace and how it ended. One that is let live is killed here."""
        process = self.session.popen([program, *arguments], stdout=subprocess.PIPE, **options)
        trace = process.stdout.read(1)
        if trace and not self.ended_by_itself(process):
            process.kill()
        process.stdout.close()
        return process.pid, trace, process.wait()

    @staticmethod
    def ended_by_itself(process):
        try:
            process.wait(0.5)
            return True
        except subprocess.TimeoutExpired:
            return False

    def mitigations(self):
        self.session.mark(self.reader)
        return [event for event in self.reader.events() if event["sensor_type"] == "Mitigation"]

    def mitigation_of(self, pid):
        found = [event for event in self.mitigations() if event["ProcessId"] == pid]
        e2e.equal(len(found), 1, f"mitigations of process {pid}")
        return found[0]


def copy(session, name, program=TRACER):
    path = os.path.join(os.path.realpath(session.directory), name)
    shutil.copy(program, path)
    return path


def expect(event, **fields):
    for name, value in fields.items():
        e2e.equal(event.get(name), value, f"{name} in {event}")


# ---- deny ------------------------------------------------------------------------------------------


def test_report(session):
    """The default: nothing is done, and it is said what would have been."""
    tracer = copy(session, "tracer")
    scene = Scene(session, f"deny image={tracer} name=no-tracer")
    pid, trace, _ = scene.run(tracer)
    e2e.equal(trace, b"x", "the trace of a program that may run")
    expect(scene.mitigation_of(pid), Action="Deny", Outcome="Reported", Rule="no-tracer",
           ImageFileName=tracer)


def test_prevented_before_the_first_instruction(session):
    tracer = copy(session, "tracer")
    scene = Scene(session, f'deny image={tracer} mode=enforce name="no tracer"')
    pids = []
    for _ in range(200):
        pid, trace, status = scene.run(tracer)
        e2e.equal((trace, status), (b"", -signal.SIGKILL), "trace and end of a denied program")
        pids.append(pid)
    for pid in pids:
        expect(scene.mitigation_of(pid), Action="Deny", Outcome="Prevented", Rule="no tracer",
               ImageFileName=tracer)
    # It is a process all the same, which starts and is killed.
    key = scene.mitigation_of(pids[0])["ProcessKey"]
    story = [event for event in scene.reader.events() if event.get("ProcessKey") == key]
    e2e.equal([event["sensor_type"] for event in story if event.get("Cause") != "Fork"],
              ["ProcessCreate", "ImageLoad", "Mitigation", "ProcessDestroy"]
              if story[-3]["sensor_type"] == "ImageLoad" else
              ["ProcessCreate", "Mitigation", "ImageLoad", "ProcessDestroy"], "the story")
    expect(story[-1], Signal=9)


def test_prevented_however_it_is_started(session):
    tracer = copy(session, "tracer")
    scene = Scene(session, f"deny image={tracer} mode=enforce")

    def spawn():
        pid = os.posix_spawn(tracer, [tracer], {}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
        return pid

    def fork():
        pid = os.fork()
        if pid == 0:
            os.dup2(write, 1)
            os.execv(tracer, [tracer])
        return pid

    for start in (spawn, fork):
        read, write = os.pipe()
        pid = start()
        os.close(write)
        e2e.equal(os.read(read, 1), b"", f"the trace ({start.__name__})")
        os.close(read)
        e2e.equal(os.WTERMSIG(os.waitpid(pid, 0)[1]), signal.SIGKILL, "what ended it")
        expect(scene.mitigation_of(pid), Outcome="Prevented")


def test_other_names_of_the_file(session):
    """It is the file that is denied: a hard link is the same file, a symbolic link leads there."""
    tracer = copy(session, "tracer")
    hard, soft = tracer + "-hard", tracer + "-soft"
    os.link(tracer, hard)
    os.symlink(tracer, soft)
    scene = Scene(session, f"deny image={tracer} mode=enforce name=file")
    for path, image in ((hard, hard), (soft, tracer)):
        pid, trace, status = scene.run(path)
        e2e.equal((trace, status), (b"", -signal.SIGKILL), f"trace and end of {path}")
        expect(scene.mitigation_of(pid), Outcome="Prevented", Rule="file", ImageFileName=image)


def test_scripts_run_their_interpreter(session):
    """A script's image is its interpreter: denying the script's path denies nothing, denying the interpreter
    denies the script."""
    interpreter = copy(session, "tracer")
    script = os.path.join(os.path.realpath(session.directory), "script")
    with open(script, "w") as file:
        file.write(f"#!{interpreter}\n")
    os.chmod(script, 0o755)
    scene = Scene(session, f"deny image={script} mode=enforce")
    e2e.equal(scene.run(script)[1], b"x", "the trace of a script that is denied by its own path")
    with control.Control(scene.sensor) as client:
        client.set_filter(f"deny image={interpreter} mode=enforce")
    pid, trace, _ = scene.run(script)
    e2e.equal(trace, b"", "the trace of a script whose interpreter is denied")
    expect(scene.mitigation_of(pid), Outcome="Prevented", ImageFileName=interpreter)


def test_a_file_that_was_replaced(session):
    """The path is another file now: the first time it is ended after it began, then it is known."""
    tracer = copy(session, "tracer")
    scene = Scene(session, f"deny image={tracer} mode=enforce")
    expect(scene.mitigation_of(scene.run(tracer)[0]), Outcome="Prevented")
    os.rename(copy(session, "other"), tracer)
    expect(scene.mitigation_of(scene.run(tracer)[0]), Outcome="Ended")
    pid, trace, _ = scene.run(tracer)
    e2e.equal(trace, b"", "the trace")
    expect(scene.mitigation_of(pid), Outcome="Prevented")


def test_a_file_that_comes_later(session):
    path = os.path.join(os.path.realpath(session.directory), "later")
    scene = Scene(session, f"deny image={path} mode=enforce")
    copy(session, "later")
    expect(scene.mitigation_of(scene.run(path)[0]), Outcome="Ended")
    expect(scene.mitigation_of(scene.run(path)[0]), Outcome="Prevented")


def test_a_program_that_ends_at_once(session):
    """It may have ended before it could be; it is known the next time all the same."""
    path = os.path.join(os.path.realpath(session.directory), "short")
    scene = Scene(session, f"deny image={path} mode=enforce")
    copy(session, "short", e2e.TINY)
    outcome = scene.mitigation_of(scene.run(path, "1")[0])["Outcome"]
    e2e.check(outcome in ("Ended", "Failed"), f"the first outcome is {outcome}")
    expect(scene.mitigation_of(scene.run(path, "1")[0]), Outcome="Prevented")


def test_rules_that_the_kernel_cannot_know(session):
    """Prefixes and parents are decided after the exec was seen: the process is ended then."""
    tracer = copy(session, "tracer")
    for rule in (f"image-prefix={os.path.dirname(tracer)}/", f"image={tracer} user={os.geteuid()}"):
        scene = Scene(session, f"deny {rule} mode=enforce name=later")
        pid, _, status = scene.run(tracer)
        e2e.equal(status, -signal.SIGKILL, "what ended it")
        expect(scene.mitigation_of(pid), Outcome="Ended", Rule="later", ImageFileName=tracer)
        scene.sensor.stop()


def test_protected_programs_run(session):
    tracer = copy(session, "tracer")
    scene = Scene(session, f"deny image={tracer} mode=enforce", f"protect image={tracer}")
    pid, trace, _ = scene.run(tracer)
    e2e.equal(trace, b"x", "the trace of a protected program")
    expect(scene.mitigation_of(pid), Outcome="Refused")
    e2e.check("protect" in scene.mitigation_of(pid)["Reason"], "the reason")


def test_what_runs_already_goes_on(session):
    tracer = copy(session, "tracer")
    scene = Scene(session)
    process = session.popen([tracer], stdout=subprocess.PIPE)
    e2e.equal(process.stdout.read(1), b"x", "its trace")
    with control.Control(scene.sensor) as client:
        client.set_filter(f"deny image={tracer} mode=enforce")
        e2e.equal(scene.run(tracer)[1], b"", "the trace of the second one")
        e2e.equal(process.poll(), None, "the first one's end")
        client.set_filter("")
    e2e.equal(scene.run(tracer)[1], b"x", "the trace when there is no rule any more")
    process.kill()
    process.stdout.close()


def test_without_the_process_probe_nothing_is_denied(session):
    tracer = copy(session, "tracer")
    scene = Scene(session, f"deny image={tracer} mode=enforce")
    with control.Control(scene.sensor) as client:
        e2e.equal(client.of_probe(control.DISABLE, "ProcessCreate").status, control.OK, "disable")
        e2e.equal(scene.run(tracer)[1], b"x", "the trace while the probe is off")
        e2e.equal(client.of_probe(control.ENABLE, "ProcessCreate").status, control.OK, "enable")
    e2e.equal(scene.run(tracer)[1], b"", "the trace when it is on again")


# ---- terminate -----------------------------------------------------------------------------------------


def sleeper(session, program=TRACER):
    process = session.popen([program], stdout=subprocess.PIPE)
    process.stdout.read(1)
    process.stdout.close()
    return process


def key_of(scene, pid):
    scene.session.mark(scene.reader)
    return [event["ProcessKey"] for event in scene.reader.events()
            if event["sensor_type"] == "ProcessCreate" and event["ProcessId"] == pid][-1]


def test_terminate_by_key(session):
    scene = Scene(session)
    process = sleeper(session)
    key = key_of(scene, process.pid)
    with control.Control(scene.sensor) as client:
        wrong = f"0x{int(key, 16) ^ 0x10000:016x}"
        e2e.equal(client.kill(process.pid, wrong).status, control.NOT_FOUND, "the status of a wrong key")
        e2e.equal(process.poll(), None, "whether it ended")
        failed = scene.mitigation_of(process.pid)
        expect(failed, Action="Terminate", Outcome="Failed", ProcessKey=wrong,
               RequesterProcessId=os.getpid())
        e2e.equal(client.kill(process.pid, key).status, control.OK, "the status")
    e2e.equal(process.wait(), -signal.SIGKILL, "what ended it")
    ended = scene.mitigations()[-1]
    expect(ended, Outcome="Ended", ProcessKey=key, ProcessId=process.pid, ImageFileName=TRACER)
    e2e.check("Rule" not in ended, "a command has no rule")


def test_terminate_without_key(session):
    scene = Scene(session)
    process = sleeper(session)
    key = key_of(scene, process.pid)
    with control.Control(scene.sensor) as client:
        e2e.equal(client.kill(process.pid).status, control.OK, "the status")
    e2e.equal(process.wait(), -signal.SIGKILL, "what ended it")
    expect(scene.mitigation_of(process.pid), Outcome="Ended", ProcessKey=key)


def test_terminate_nobody(session):
    scene = Scene(session)
    process = session.popen(["/bin/true"])
    process.wait()
    with control.Control(scene.sensor) as client:
        e2e.equal(client.kill(process.pid).status, control.NOT_FOUND, "the status")
    expect(scene.mitigation_of(process.pid), Outcome="Failed")


def test_terminate_while_no_probe_runs(session):
    scene = Scene(session, Probes="ProcessCreate")
    process = sleeper(session)
    with control.Control(scene.sensor) as client:
        e2e.equal(client.of_probe(control.DISABLE, "ProcessCreate").status, control.OK, "disable")
        e2e.equal(client.kill(process.pid).status, control.OK, "the status")
        e2e.equal(process.wait(), -signal.SIGKILL, "what ended it")


def a_kernel_thread():
    for pid in sorted((entry for entry in os.listdir("/proc") if entry.isdigit()), key=int):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if int(stat.read().rpartition(")")[2].split()[6]) & 0x200000 != 0:
                    return int(pid)
        except OSError:
            pass
    return None


def test_who_is_not_ended(session):
    tracer = copy(session, "guarded")
    scene = Scene(session, f"protect image={tracer}")
    protected = sleeper(session, tracer)
    targets = {"process 1": 1, "the sensor": scene.sensor.pid, "the reader": scene.reader.pid,
               "a protected process": protected.pid}
    if a_kernel_thread() is not None:
        targets["a kernel thread"] = a_kernel_thread()
    with control.Control(scene.sensor) as client:
        for what, pid in targets.items():
            e2e.equal(client.kill(pid).status, control.ACCESS_DENIED, f"the status for {what}")
    for what, pid in targets.items():
        event = scene.mitigation_of(pid)
        expect(event, Outcome="Refused")
        e2e.check(event["Reason"] != "", f"no reason for {what}")
    e2e.equal((scene.sensor.process.poll(), scene.reader.process.poll(), protected.poll()),
              (None, None, None), "those who were not to be ended")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
