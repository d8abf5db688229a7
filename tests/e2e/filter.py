#!/usr/bin/env python3
"""The filter decides which events get a number: by kind, program, parent and user; also when it changes while
processes run."""
import os
import signal

import control
import e2e


def start(session, *rules, **settings):
    sensor = session.sensor(FilterFile=write(session, rules), **settings)
    reader = session.reader(sensor)
    reader.wait_for(lambda event: event["sensor_type"] == "SensorStart", "the sensor's start")
    return sensor, reader


def write(session, rules):
    path = os.path.join(session.directory, "filter.conf")
    with open(path, "w") as file:
        file.write("# a filter\n" + "\n".join(rules) + "\n")
    return path


def types_of(reader, pid):
    """The kinds of event of the newest process with this pid, in order, without a fork that was told because
    the machine is busy."""
    keys = [event["ProcessKey"] for event in reader.events() if event.get("ProcessId") == pid]
    return [event["sensor_type"] for event in reader.events()
            if keys and event.get("ProcessKey") == keys[-1] and event.get("Cause") != "Fork"]


def run(session, *command):
    process = session.popen([*command])
    process.wait()
    return process.pid


def check_numbers(reader):
    """What was kept away leaves no gap."""
    e2e.equal(e2e.check_numbers(reader.events()), 0, "numbers lost")
    e2e.equal(e2e.losses(reader.events()), [], "what was lost")


def test_kinds(session):
    _, reader = start(session, f"exclude event=ImageLoad,ThreadCreate image={e2e.TINY}")
    pid = run(session, e2e.TINY, str(session.serials(1)))
    other = run(session, e2e.TINYDYN, str(session.serials(1)))
    session.mark(reader)
    e2e.equal(types_of(reader, pid), ["ProcessCreate", "ProcessDestroy"], "events of tiny")
    e2e.check("ImageLoad" in types_of(reader, other), "images of others are missing")
    check_numbers(reader)


def test_only_some_programs(session):
    directory = os.path.dirname(e2e.TINY)
    _, reader = start(session, f"include image={e2e.TINY}", "include image-suffix=/tinydyn",
                      f"exclude image-prefix={directory}/")
    tiny = run(session, e2e.TINY, str(session.serials(1)))
    dynamic = run(session, e2e.TINYDYN, str(session.serials(1)))
    actor = run(session, e2e.ACTOR, str(session.serials(1)), "fork-exit")
    session.mark(reader)
    e2e.equal(types_of(reader, tiny), ["ProcessCreate", "ImageLoad", "ProcessDestroy"], "events of tiny")
    e2e.check(types_of(reader, dynamic).count("ImageLoad") > 1, "images of tinydyn")
    # Between fork and exec it can be told with the program of this test.
    e2e.check(set(types_of(reader, actor)) <= {"ProcessCreate"}, f"{types_of(reader, actor)}")
    check_numbers(reader)


def test_parent(session):
    serial = session.serials(2)
    _, reader = start(session, f"exclude image={e2e.TINY} parent={e2e.ACTOR}")
    process = session.popen([e2e.ACTOR, str(serial), "fork-exec", e2e.TINY, str(serial + 1)])
    process.wait()
    session.mark(reader)  # tiny, with another parent
    tinies = [event for event in reader.events() if event["sensor_type"] == "ProcessCreate"
              and event.get("Arguments") == [e2e.TINY, str(serial + 1)]]
    e2e.equal(tinies, [], "the child of the excluded parent")
    e2e.check("ProcessDestroy" in types_of(reader, process.pid), "the parent itself")
    check_numbers(reader)


def test_user(session):
    if os.geteuid() != 0:
        raise e2e.Skip("needs root to start a program as another user")
    _, reader = start(session, "default exclude", "include user=0")
    process = session.popen([e2e.ACTOR, str(session.serials(1)), "user", "65534", "/bin/true"])
    process.wait()
    session.mark(reader)
    users = {event["UserId"] for event in reader.events() if event["sensor_type"] == "ProcessCreate"
             and "UserId" in event and event["Cause"] != "Running"}
    e2e.equal(users, {0}, "the users whose processes were told")
    check_numbers(reader)


def test_processes_that_run_are_judged_anew(session):
    sensor, reader = start(session)
    kept, dropped = (session.popen([e2e.ACTOR, str(session.serials(1)), "exec", program, "1000"])
                     for program in ("/bin/sleep", "/bin/sleep"))
    for process in (kept, dropped):
        reader.wait_for(lambda event, pid=process.pid: event["sensor_type"] == "ProcessCreate"
                        and event["ProcessId"] == pid
                        and event.get("ImageFileName") == os.path.realpath("/bin/sleep"), "the sleeper")
    with control.Control(sensor) as client:
        e2e.equal(client.set_filter("exclude image-suffix=/sleep").status, control.OK, "set filter")
        dropped.kill()
        dropped.wait()
        session.mark(reader)
        e2e.equal(client.set_filter("include image-suffix=/sleep").status, control.OK, "set filter")
        kept.kill()
        kept.wait()
        session.mark(reader)
    ended = [event["ProcessId"] for event in reader.events() if event["sensor_type"] == "ProcessDestroy"]
    e2e.check(dropped.pid not in ended, "the end of a process that was not wanted any more")
    e2e.check(kept.pid in ended, "the end of a process that is wanted again")
    check_numbers(reader)


def test_a_wrong_filter_changes_nothing(session):
    sensor, reader = start(session, f"exclude image={e2e.TINYDYN}")
    with control.Control(sensor) as client:
        response = client.set_filter("exclude image=/bin/x", "nonsense")
        e2e.check(response.status != control.OK, "a wrong filter was taken")
        e2e.check(b"2" in response.data, f"the line is not named: {response.data!r}")
    pid = run(session, e2e.TINYDYN, str(session.serials(1)))
    session.mark(reader)
    e2e.check("ProcessDestroy" not in types_of(reader, pid), "the old filter is not in force any more")


def test_the_file_is_read_again(session):
    sensor, reader = start(session)
    session.mark(reader)
    write(session, [f"exclude image={e2e.TINYDYN}"])
    sensor.process.send_signal(signal.SIGHUP)
    with control.Control(sensor) as client:
        e2e.wait_until(lambda: e2e.TINYDYN.encode() in client.ask(control.GET_FILTER).data, "the reload")
    pid = run(session, e2e.TINYDYN, str(session.serials(1)))
    session.mark(reader)
    e2e.check("ProcessDestroy" not in types_of(reader, pid), "the new filter is not in force")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
