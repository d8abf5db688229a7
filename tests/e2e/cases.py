#!/usr/bin/env python3
"""What processes do besides fork, exec and exit, one case a test: each is reported as what it is."""
import os
import shutil
import signal
import subprocess

import e2e


class Scene:
    """Runs one case while a reader watches, then has its events."""

    def __init__(self, session, command, **options):
        sensor = session.sensor()
        reader = session.reader(sensor)
        reader.wait_for(lambda event: event["sensor_type"] == "SensorStart", "the sensor's start")
        self.command = command
        process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
        self.pid = process.pid
        output = process.communicate()[0].decode(errors="replace")
        self.code = process.returncode
        self.said = [(line.split()[0], int(line.split()[1])) for line in output.splitlines()
                     if len(line.split()) == 2]
        session.mark(reader)
        self.events = list(reader.events())
        e2e.equal(e2e.losses(self.events), [], "what was lost")
        e2e.equal(e2e.check_numbers(self.events), 0, "numbers lost")

    def told(self, name):
        """The pid that the actor gave a name."""
        return next(pid for told, pid in self.said if told == name)

    def story(self, pid=None, all_of_it=False):
        """Creates and destroys of one process, in order; the first one by default. An announcement at
        fork that only a busy machine made necessary is left out."""
        keys = {event["ProcessKey"] for event in self.events
                if event["sensor_type"] == "ProcessCreate" and event["ProcessId"] == (pid or self.pid)
                and event["Cause"] != "Running"}
        e2e.equal(len(keys), 1, f"the number of keys of process {pid or self.pid}")
        key = keys.pop()
        events = [event for event in self.events if event.get("ProcessKey") == key]
        e2e.equal(events[0]["sensor_type"], "ProcessCreate", f"the first event of process {pid}")
        e2e.equal(events[-1]["sensor_type"], "ProcessDestroy", f"the last event of process {pid}")
        story = [event for event in events
                 if event["sensor_type"] in ("ProcessCreate", "ProcessDestroy")]
        return story[1:] if e2e.took_long_to_exec(story) and not all_of_it else story

    def images(self, pid=None):
        key = self.story(pid)[0]["ProcessKey"]
        return [event["FullImageName"] for event in self.events
                if event["sensor_type"] == "ImageLoad" and event.get("ProcessKey") == key]


def actor(session, case, *arguments):
    return Scene(session, [e2e.ACTOR, str(session.serials(1)), case, *arguments])


def expect(event, **fields):
    for name, value in fields.items():
        e2e.equal(event.get(name), value, f"{name} in {event}")


def causes(story):
    return [event.get("Cause", "destroyed") for event in story]


# ---- fork ----------------------------------------------------------------------------------------


def test_fork_without_exec(session):
    scene = actor(session, "fork-exit")
    parent, child = scene.story(), scene.story(scene.told("child"))
    e2e.equal(causes(child), ["Fork", "destroyed"], "the child's story")
    expect(child[0], ImageFileName=e2e.ACTOR, Arguments=scene.command, ParentProcessId=scene.pid,
           ParentProcessKey=parent[0]["ProcessKey"], UniqueProcess=scene.pid)
    expect(child[-1], ExitCode=7)


def test_generations_without_exec(session):
    scene = actor(session, "chain")
    generations = [pid for _, pid in scene.said]
    e2e.equal(len(generations), 4, "generations")
    parent = scene.story()[0]
    for code, pid in zip((11, 12, 13, 14), generations):
        story = scene.story(pid)
        e2e.equal(causes(story), ["Fork", "destroyed"], f"the story of {pid}")
        expect(story[0], ParentProcessId=parent["ProcessId"], ParentProcessKey=parent["ProcessKey"])
        e2e.check(story[0]["Sequence"] > parent["Sequence"], "a child is announced before its parent")
        expect(story[-1], ExitCode=code)
        parent = story[0]


def test_fork_and_exec_is_one_start(session):
    serial = session.serials(1)
    scene = actor(session, "fork-exec", e2e.TINY, str(serial))
    child = scene.story(scene.told("child"))
    e2e.equal(causes(child), ["Exec", "destroyed"], "the child's story")
    expect(child[0], ImageFileName=e2e.TINY, Arguments=[e2e.TINY, str(serial)],
           ParentProcessKey=scene.story()[0]["ProcessKey"])
    expect(child[-1], ExitCode=e2e.code_of(serial))


def test_exec_long_after_fork(session):
    serial = session.serials(1)
    scene = actor(session, "late-exec", e2e.TINY, str(serial))
    child = scene.story(scene.told("child"), all_of_it=True)
    e2e.equal(causes(child), ["Fork", "Exec", "destroyed"], "the child's story")
    expect(child[0], ImageFileName=e2e.ACTOR, Arguments=scene.command)
    expect(child[1], ImageFileName=e2e.TINY, Arguments=[e2e.TINY, str(serial)])
    expect(child[2], ExitCode=e2e.code_of(serial))


def test_exec_that_fails(session):
    scene = actor(session, "failed-exec")
    child = scene.story(scene.told("child"))
    e2e.equal(causes(child), ["Fork", "destroyed"], "the child's story")
    expect(child[0], ImageFileName=e2e.ACTOR)
    expect(child[-1], ExitCode=127)


def test_vfork_without_exec(session):
    scene = actor(session, "vfork-exit")
    child = scene.story(scene.told("child"))
    e2e.equal(causes(child), ["Fork", "destroyed"], "the child's story")
    expect(child[-1], ExitCode=51)


def test_orphan_keeps_its_parent(session):
    scene = actor(session, "orphan")
    parent, child = scene.story(), scene.story(scene.told("child"))
    expect(child[0], ParentProcessId=scene.pid, ParentProcessKey=parent[0]["ProcessKey"])
    expect(child[-1], ExitCode=31)
    e2e.check(child[-1]["Sequence"] > parent[-1]["Sequence"], "the orphan ended before its parent")


def test_creator_is_not_the_parent(session):
    scene = actor(session, "sibling")
    root, child, sibling = (scene.story(pid) for pid in
                            (scene.pid, scene.told("child"), scene.told("sibling")))
    expect(sibling[0], ParentProcessId=scene.pid, ParentProcessKey=root[0]["ProcessKey"],
           UniqueProcess=scene.told("child"), UniqueThread=scene.told("child"))
    expect(child[-1], ExitCode=41)
    expect(sibling[-1], ExitCode=42)


# ---- exec -------------------------------------------------------------------------------------------


def test_exec_twice(session):
    serial = session.serials(1)
    scene = actor(session, "exec", e2e.TINY, str(serial))
    story = scene.story()
    e2e.equal(causes(story), ["Exec", "Exec", "destroyed"], "the story")
    expect(story[0], ImageFileName=e2e.ACTOR)
    expect(story[1], ImageFileName=e2e.TINY, ParentProcessId=os.getpid(),
           ParentProcessKey=story[0]["ParentProcessKey"])
    expect(story[2], ExitCode=e2e.code_of(serial))
    # The images of the first program come before the second one starts, the others after.
    key = story[0]["ProcessKey"]
    for event in scene.events:
        if event.get("ProcessKey") == key and event["sensor_type"] == "ImageLoad":
            tiny = event["FullImageName"] == e2e.TINY
            e2e.equal(event["Sequence"] > story[1]["Sequence"], tiny, f"{event} after the second exec")


def test_exec_in_a_thread(session):
    serial = session.serials(1)
    scene = actor(session, "thread-exec", e2e.TINY, str(serial))
    story = scene.story()
    e2e.equal(causes(story), ["Exec", "Exec", "destroyed"], "the story")
    e2e.equal({event["ProcessId"] for event in story}, {scene.pid}, "the pids")
    expect(story[2], ExitCode=e2e.code_of(serial))


def test_first_thread_ends_first(session):
    scene = actor(session, "leader-exits")
    story = scene.story()
    e2e.equal(causes(story), ["Exec", "destroyed"], "the story")
    expect(story[1], ExitCode=21)


def test_script(session):
    path = os.path.join(session.directory, "script")
    with open(path, "w") as file:
        file.write("#!/bin/sh -e\nexit 3\n")
    os.chmod(path, 0o755)
    scene = Scene(session, [path, "argument"])
    story = scene.story()
    expect(story[0], ImageFileName=os.path.realpath("/bin/sh"), ExecFileName=path,
           Arguments=["/bin/sh", "-e", path, "argument"])
    expect(story[1], ExitCode=3)


def test_link_and_working_directory(session):
    link = os.path.join(session.directory, "link")
    os.symlink(e2e.TINY, link)
    serial = session.serials(1)
    scene = Scene(session, ["./link", str(serial)], cwd=session.directory)
    expect(scene.story()[0], ImageFileName=e2e.TINY, ExecFileName="./link",
           WorkingDirectory=os.path.realpath(session.directory), Arguments=["./link", str(serial)])


def test_program_in_memory(session):
    serial = session.serials(1)
    scene = actor(session, "memory", e2e.TINY, str(serial))
    story = scene.story()
    e2e.equal(causes(story), ["Exec", "Exec", "destroyed"], "the story")
    e2e.check("only-in-memory" in story[1]["ImageFileName"], f"the image is {story[1]['ImageFileName']}")
    e2e.check(any("only-in-memory" in image for image in scene.images()), f"{scene.images()}")
    expect(story[2], ExitCode=e2e.code_of(serial))


def test_program_that_was_deleted(session):
    path = os.path.join(os.path.realpath(session.directory), "to-be-deleted")
    shutil.copy(e2e.TINY, path)
    serial = session.serials(1)
    scene = actor(session, "deleted", path, str(serial))
    story = scene.story()
    e2e.check(story[1]["ImageFileName"].startswith(path), f"the image is {story[1]['ImageFileName']}")
    expect(story[2], ExitCode=e2e.code_of(serial))


# ---- arguments ----------------------------------------------------------------------------------------


def test_empty_arguments(session):
    command = [e2e.TINY, str(session.serials(1)), "", "", "x", ""]
    expect(Scene(session, command).story()[0], Arguments=command)


def test_no_arguments_at_all(session):
    story = actor(session, "exec-nothing", e2e.TINY).story()
    # Kernels since 5.18 put one empty argument there.
    e2e.check(story[1].get("Arguments") in ([], [""], None), f"arguments: {story[1]}")
    expect(story[1], ImageFileName=e2e.TINY)


def test_many_arguments(session):
    command = [e2e.TINY, str(session.serials(1)), *(f"argument {i}" for i in range(3000))]
    scene = Scene(session, command)
    expect(scene.story()[0], Arguments=command)
    e2e.check("Cut" not in scene.story()[0], "marked as cut")


def test_arguments_that_do_not_fit(session):
    long = "<" + "0123456789" * 12000 + ">"
    command = [e2e.TINY, str(session.serials(1)), long, "end"]
    scene = Scene(session, command)
    create = scene.story()[0]
    cut = create["Cut"]["Arguments"]
    e2e.equal(cut["Size"], sum(len(argument) + 1 for argument in command), "the original's size")
    e2e.check(cut["Kept"] > 40000, f"only {cut['Kept']} bytes were kept")
    e2e.check(0 < cut["Head"] < cut["Kept"], f"head and tail: {cut}")
    e2e.equal(create["Arguments"][:2], command[:2], "the first arguments")
    e2e.check(long.startswith(create["Arguments"][2]), "the long argument's beginning")
    e2e.check(long.endswith(create["Arguments"][3]), "the long argument's end")
    e2e.equal(create["Arguments"][4:], ["end"], "the last argument")


def test_arguments_that_are_not_text(session):
    serial = str(session.serials(1))
    command = [e2e.TINY.encode(), serial.encode(), b"\xff\xfe", b"", b"a\xe2\x82", b"\xed\xa0\x80"]
    create = Scene(session, command).story()[0]
    expect(create, Arguments=[e2e.TINY, serial, "\ufffd\ufffd", "", "a\ufffd", "\ufffd\ufffd\ufffd"],
           ArgumentsBytes=b"".join(argument + b"\0" for argument in command).hex())


def test_arguments_with_all_characters(session):
    command = [e2e.TINY, str(session.serials(1)), "".join(map(chr, range(1, 128))), "\u20ac \U0001f600",
               "\"quoted\" and 'quoted'", "back\\slash\nnew line\ttab"]
    expect(Scene(session, command).story()[0], Arguments=command)


# ---- who and where --------------------------------------------------------------------------------------


def test_user_and_session(session):
    serial = session.serials(1)
    program = os.path.join(session.directory, "tiny")
    shutil.copy(e2e.TINY, program)
    os.chmod(session.directory, 0o755)
    scene = actor(session, "user", "65534", program, str(serial))
    child = scene.told("child")
    expect(scene.story()[0], UserId=os.geteuid(), GroupId=os.getegid(), SessionId=os.getsid(0))
    expect(scene.story(child)[0], UserId=65534, GroupId=65534, SessionId=child)


def test_pid_namespace(session):
    scene = actor(session, "namespace", e2e.TINY, str(session.serials(1)))
    if scene.code == 77:
        raise e2e.Skip("no right to make a pid namespace")
    create = scene.story(scene.told("child"))[0]
    own = int(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    expect(scene.story()[0], PidNamespace=own)
    e2e.check(create["PidNamespace"] not in (own, 0), f"the namespace of the child: {create}")


def test_cgroup(session):
    scene = Scene(session, [e2e.TINY, str(session.serials(1))])
    with open("/proc/self/cgroup") as file:
        unified = [line.strip().split("::")[1] for line in file if line.startswith("0::")]
    path = "/sys/fs/cgroup" + unified[0] if unified else ""
    if not os.path.exists(path + "/cgroup.procs"):
        raise e2e.Skip("the unified control group hierarchy is not mounted at /sys/fs/cgroup")
    expect(scene.story()[0], CgroupId=os.stat(path).st_ino)


# ---- ends and images ----------------------------------------------------------------------------------------


def ends_by(session, number):
    scene = actor(session, "signal", str(int(number)))
    destroy = scene.story()[-1]
    e2e.equal(scene.code, -number, "the signal that wait() tells")
    expect(destroy, Signal=int(number))
    e2e.check("ExitCode" not in destroy, "an exit code besides the signal")
    return destroy


def test_killed(session):
    e2e.equal(ends_by(session, signal.SIGKILL).get("CoreDumped", False), False, "core dump")


def test_crashed(session):
    ends_by(session, signal.SIGSEGV)


def test_ended_by_real_time_signal(session):
    ends_by(session, signal.SIGRTMIN + 3)


def test_library_loaded_later(session):
    path = os.path.join(os.path.realpath(session.directory), "library.so")
    shutil.copy(e2e.TINYDYN, path)
    scene = actor(session, "map", path)
    loads = [event for event in scene.events
             if event["sensor_type"] == "ImageLoad" and event["FullImageName"] == path]
    e2e.equal(len(loads), 1, "loads of the library")
    expect(loads[0], ProcessId=scene.pid, ThreadId=scene.pid, Inode=os.stat(path).st_ino,
           FileOffset=0)
    e2e.equal(scene.images()[-1], path, "the last image")


def test_images_tell_what_was_mapped(session):
    scene = Scene(session, [e2e.TINYDYN, str(session.serials(1))])
    key = scene.story()[0]["ProcessKey"]
    loads = [event for event in scene.events
             if event["sensor_type"] == "ImageLoad" and event.get("ProcessKey") == key]
    for load in loads:
        if not load["FullImageName"].startswith("["):
            status = os.stat(load["FullImageName"])
            if load.get("Inode") is not None:
                e2e.equal(load["Inode"], status.st_ino, f"the inode in {load}")
            e2e.check(0 < load["ImageSize"] <= status.st_size + 4096, f"the size in {load}")
            e2e.check(int(load["ImageBase"], 16) % 4096 == 0, f"the address in {load}")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
