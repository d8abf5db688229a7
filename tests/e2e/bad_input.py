#!/usr/bin/env python3
"""What the port does with clients that are wrong: each gets a status or is dropped, with a counted log
line, and neither events nor the sensor are lost."""
import os
import random
import socket
import struct
import time

import e2e
import wire


def check_alive(session, sensor):
    """The next reader gets in and has everything from number 1."""
    reader = session.reader(sensor)
    session.mark(reader)
    e2e.equal(reader.events()[0]["Sequence"], 1, "the first number")
    e2e.equal(e2e.check_numbers(reader.events()), 0, "numbers lost")


def is_resent(port, message):
    """What comes next is the same records again."""
    again = port.receive()
    e2e.check(again is not None, "the sensor closed the connection")
    e2e.equal(again.sequences, message.sequences, "the numbers sent again")
    return again


def test_malformed_replies(session):
    """Each is refused; the third in a row without progress costs the connection."""
    bodies = {
        "no body": lambda m: struct.pack("<iIQ", 0, 0, m.id),
        "half a body": lambda m: wire.reply(m.id, m.last)[:24],
        "another version": lambda m: wire.reply(m.id, m.last, version=2),
        "a size too small": lambda m: wire.reply(m.id, m.last, size=8),
        "a size too large": lambda m: wire.reply(m.id, m.last, size=64),
        "beyond the last number": lambda m: wire.reply(m.id, m.last + 1),
        "beyond all numbers": lambda m: wire.reply(m.id, (1 << 64) - 1),
    }
    sensor = session.sensor(SendTimeoutMs=2000, **e2e.ROOMY)
    for what, make in bodies.items():
        with wire.Port(sensor.run_dir) as port:
            message = port.receive()
            port.send(make(message))
            again = is_resent(port, message)
            e2e.check(again.redelivered, f"after a reply with {what}: not marked as sent before")
            port.send(make(again))
            third = is_resent(port, message)
            port.send(make(third))
            e2e.equal(port.receive(), None, f"what comes after three replies with {what}")
    e2e.check("malformed reply" in sensor.log(), "the log says nothing of malformed replies")
    check_alive(session, sensor)


def test_packets_that_are_no_replies(session):
    sensor = session.sensor(SendTimeoutMs=20000, **e2e.ROOMY)
    with wire.Port(sensor.run_dir) as port:
        message = port.receive()
        for packet in (b"\0", b"short", bytes(16), os.urandom(200), bytes(5000),
                       wire.reply(0, message.last), wire.reply(message.id + 1, message.last),
                       wire.reply((1 << 64) - 1, message.last)):
            port.send(packet)
        # None of these counted as the reply; this one does, in part.
        port.send(wire.reply(message.id, message.first))
        rest = port.receive()
        e2e.equal(rest.first, message.first + 1, "the first number after the right reply")
        port.send(wire.reply(rest.id, 0))  # allowed: acknowledges nothing
        is_resent(port, rest)
    log = sensor.log()
    e2e.check("no reply" in log and "nobody waits for" in log, f"the log: {log}")
    reader = session.reader(sensor)
    session.mark(reader)
    e2e.equal(e2e.check_numbers(reader.events(), first=message.first + 1), 0, "numbers lost")


def test_flood(session):
    """A reader that sends packets as fast as it can is disconnected, and delays nobody."""
    sensor = session.sensor(SendTimeoutMs=20000, **e2e.ROOMY)
    with wire.Port(sensor.run_dir) as port:
        port.receive()
        sent = 0
        try:
            while sent < 1000000:
                port.send(bytes(100))
                sent += 1
        except OSError:
            pass  # disconnected
        e2e.check(sent < 1000000, "a million packets were accepted")
    check_alive(session, sensor)
    e2e.check(sensor.log().count("\n") < 200, "each packet has a line in the log")


def test_replies_before_any_message(session):
    sensor = session.sensor(**e2e.ROOMY)
    with wire.Port(sensor.run_dir) as port:
        for number in range(50):
            port.send(wire.reply(1000000 + number, number))
        message = port.receive()
        e2e.check(message is not None, "the sensor closed the connection")
    check_alive(session, sensor)


def test_silent_clients(session):
    """Clients that connect and say nothing keep nobody out: only the first one is the reader, and
    it is dropped after the third time-out."""
    sensor = session.sensor(SendTimeoutMs=200, **e2e.ROOMY)
    clients = [wire.Port(sensor.run_dir) for _ in range(20)]
    e2e.equal([client.welcome.status for client in clients[1:]], [wire.CONNECTION_LIMIT] * 19,
              "the statuses of further clients")
    check_alive(session, sensor)
    for client in clients:
        client.close()


def test_connections_that_end_at_once(session):
    sensor = session.sensor(**e2e.ROOMY)
    for _ in range(300):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(sensor.run_dir + "/WVUPort")
    check_alive(session, sensor)


def test_reader_that_closes_at_any_moment(session):
    sensor = session.sensor(**e2e.ROOMY)
    chance = random.Random(2)
    spawned = session.start_spawner(count=2000, workers=1, rate=1000)
    records = {}
    while spawned.process.poll() is None:
        try:
            with wire.Port(sensor.run_dir) as port:
                if port.welcome.status != 0:
                    continue
                for _ in range(chance.randrange(4)):
                    message = port.receive()
                    for record in message.records:
                        records[record.sequence] = record.type
                    port.acknowledge(message)
        except ConnectionRefusedError:
            raise e2e.Failure("the sensor refuses connections") from None
    reader = session.reader(sensor)
    session.mark(reader)
    rest = [event["Sequence"] for event in reader.events()]
    seen = sorted(set(records) | set(rest))
    e2e.equal(seen, list(range(1, rest[-1] + 1)), "the numbers seen by one reader or another")
    spawned.finish()


def test_wrong_kind_of_socket(session):
    sensor = session.sensor(**e2e.ROOMY)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as client:
            try:
                client.connect(sensor.run_dir + "/WVUPort")
                raise e2e.Failure("another kind of socket was let in")
            except OSError:
                pass
    check_alive(session, sensor)


def test_half_closed_connection_frees_the_port(session):
    sensor = session.sensor(SendTimeoutMs=20000, **e2e.ROOMY)
    with wire.Port(sensor.run_dir) as port:
        port.receive()
        port.socket.shutdown(socket.SHUT_WR)
        begin = time.monotonic()
        check_alive(session, sensor)
        e2e.check(time.monotonic() - begin < 10, "the port was free only after the time-out")


def test_user_without_rights(session):
    if os.geteuid() != 0:
        raise e2e.Skip("only root can become somebody else")
    sensor = session.sensor(**e2e.ROOMY)
    os.chmod(session.directory, 0o755)
    reader = session.reader(sensor, "--no-reconnect",
                            prefix=["setpriv", "--reuid", "65534", "--regid", "65534",
                                    "--clear-groups"])
    e2e.check(reader.process.wait(e2e.PATIENCE) != 0, "anybody can read")
    e2e.check("denied" in reader.errors().lower(), f"it said {reader.errors()!r}")
    mode = os.stat(sensor.run_dir + "/WVUPort").st_mode & 0o777
    e2e.equal(oct(mode), oct(0o600), "the socket's mode")


def test_group_with_rights(session):
    if os.geteuid() != 0:
        raise e2e.Skip("only root can become somebody else")
    group = 54321
    os.chmod(session.directory, 0o755)
    sensor = session.sensor(Group=group)
    reader = session.reader(sensor, prefix=["setpriv", "--reuid", "65534", "--regid", "65534",
                                            "--groups", str(group)])
    session.mark(reader)
    mode = os.stat(sensor.run_dir + "/WVUPort").st_mode & 0o777
    e2e.equal(oct(mode), oct(0o660), "the socket's mode")


if __name__ == "__main__":
    e2e.main(*(value for name, value in sorted(globals().items()) if name.startswith("test_")))
