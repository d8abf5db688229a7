#!/usr/bin/env python3
"""Threads that begin and end: each is told once, with who made it, between the start and the end of its
process."""
import os
import threading

import e2e

THREADS = ("ThreadCreate", "ThreadDestroy")


def watched(session, **settings):
    sensor = session.sensor(**settings)
    reader = session.reader(sensor)
    reader.wait_for(lambda event: event["sensor_type"] == "SensorStart", "the sensor's start")
    return reader


def threads_of(reader, pid):
    return [event for event in reader.events()
            if event["sensor_type"] in THREADS and event["ProcessId"] == pid]


def story_of(session, reader, *command):
    """Runs an actor's case; the story of the process: (what, thread id or cause)."""
    process = session.popen([e2e.ACTOR, str(session.serials(1)), *command])
    process.wait()
    session.mark(reader)
    key = next(event["ProcessKey"] for event in reader.events() if event["sensor_type"] == "ProcessCreate"
               and event["ProcessId"] == process.pid and event["Cause"] == "Exec")
    story = [(event["sensor_type"], event.get("ThreadId", event.get("Cause")))
             for event in reader.events()
             if event.get("ProcessKey") == key and event["sensor_type"] != "ImageLoad"]
    if story[1] == ("ProcessCreate", "Exec") and story[0] == ("ProcessCreate", "Fork"):
        story = story[1:]  # a busy machine
    return process, story


def test_every_thread_is_told(session):
    reader = watched(session)
    made = {}  # thread: its maker

    def child():
        made[threading.get_native_id()] = os.getpid()

    def parent():
        made[threading.get_native_id()] = os.getpid()

        def grandchild():
            made[threading.get_native_id()] = own

        own = threading.get_native_id()
        thread = threading.Thread(target=grandchild)
        thread.start()
        thread.join()

    for body in [child] * 200 + [parent] * 20:
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    session.mark(reader)

    events = threads_of(reader, os.getpid())
    creates = [event for event in events if event["sensor_type"] == "ThreadCreate"]
    e2e.equal({event["ThreadId"]: event["CreatorThreadId"] for event in creates}, made, "the threads")
    e2e.equal(len(creates), len(made), "how many were created")
    own = next(event for event in reader.events()
               if event["sensor_type"] == "ProcessCreate" and event["ProcessId"] == os.getpid())
    for event in creates:
        e2e.equal((event["ProcessKey"], event["CreatorProcessKey"], event["CreatorProcessId"],
                   event["Remote"]), (own["ProcessKey"], own["ProcessKey"], os.getpid(), False),
                  f"the processes in {event}")
        e2e.check(event["Sequence"] > own["Sequence"], "a thread is told before its process")
    alive = set()
    for event in events:
        if event["sensor_type"] == "ThreadCreate":
            alive.add(event["ThreadId"])
        else:
            e2e.check(event["ThreadId"] in alive, f"an end without a beginning: {event}")
            alive.remove(event["ThreadId"])
    e2e.equal(alive, set(), "threads without an end")
    e2e.equal(e2e.losses(reader.events()), [], "what was lost")


def test_exec_ends_all_threads_but_one(session):
    reader = watched(session)
    process, story = story_of(session, reader, "thread-exec", e2e.TINY, str(session.serials(1)))
    thread = next(thread for what, thread in story if what == "ThreadCreate")
    e2e.equal(story[:2], [("ProcessCreate", "Exec"), ("ThreadCreate", thread)], "the beginning")
    e2e.equal(sorted(story[2:4]), sorted([("ThreadDestroy", process.pid), ("ThreadDestroy", thread)]),
              "the first thread, and the one that became the first")
    e2e.equal(story[4:], [("ProcessCreate", "Exec"), ("ProcessDestroy", None)], "what follows")


def test_the_last_thread_ends_with_its_process(session):
    reader = watched(session)
    process, story = story_of(session, reader, "leader-exits")
    thread = next(thread for what, thread in story if what == "ThreadCreate")
    e2e.equal(story, [("ProcessCreate", "Exec"), ("ThreadCreate", thread),
                      ("ThreadDestroy", process.pid), ("ProcessDestroy", None)], "the story")


def test_threads_that_nobody_wants_are_not_told(session):
    reader = watched(session, Probes="ProcessCreate,ImageLoad")
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    session.mark(reader)
    e2e.equal([event for event in reader.events() if event["sensor_type"] in THREADS], [], "threads")


def test_threads_alone(session):
    """The probe needs no other one."""
    reader = watched(session, Probes="ThreadCreate")
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    e2e.wait_until(lambda: len(threads_of(reader, os.getpid())) == 2, "the thread's two events")
    e2e.check(all(event["ProcessKey"] != "0x0000000000000000"
                  for event in threads_of(reader, os.getpid())), "a key is missing")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
