"""The protocol as docs/protocol.md describes it, for tests that need to misbehave: nothing here was
taken from the C headers."""
import socket
import struct
from collections import namedtuple

WELCOME = struct.Struct("<HHiII")
MESSAGE = struct.Struct("<IIQ")
BATCH = struct.Struct("<HHIII16sQQ")
RECORD = struct.Struct("<IHHQqQ16sQQIHH")
REPLY = struct.Struct("<iIQHHIQ")

CONNECTION_LIMIT = 0xC0000246 - (1 << 32)
REDELIVERED = 1

Welcome = namedtuple("Welcome", "version size status message_max reserved")
Record = namedtuple("Record", "size type flags sequence time uptime sensor_id process_key present "
                              "process_id fixed_size reserved")


class Message:
    """One message, taken apart."""

    def __init__(self, packet):
        self.packet = packet
        self.reply_length, _, self.id = MESSAGE.unpack_from(packet)
        (version, header_size, size, count, self.flags, self.boot_id, self.first,
         self.last) = BATCH.unpack_from(packet, 16)
        if version != 1 or size + 16 != len(packet):
            raise ValueError(f"version {version}, size {size} in a packet of {len(packet)} bytes")
        self.records = []
        offset = 16 + header_size
        for _ in range(count):
            record = Record._make(RECORD.unpack_from(packet, offset))
            self.records.append(record)
            offset += record.size
        if offset != len(packet):
            raise ValueError(f"records end at {offset} of {len(packet)}")

    @property
    def redelivered(self):
        return bool(self.flags & REDELIVERED)

    @property
    def sequences(self):
        return [record.sequence for record in self.records]

    def all_processes(self):
        return [(record.type, record.process_id, record.process_key) for record in self.records]


def reply(message_id, acknowledged, status=0, version=1, size=16):
    return REPLY.pack(status, 0, message_id, version, size, 0, acknowledged)


class Port:
    """A connection to the sensor."""

    def __init__(self, run_dir, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(timeout)
        self.socket.connect(run_dir + "/WVUPort")
        packet = self.socket.recv(4096)
        self.welcome = Welcome._make(WELCOME.unpack(packet))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def receive(self):
        """The next message; None when the sensor has closed the connection."""
        packet = self.socket.recv(self.welcome.message_max)
        return Message(packet) if packet else None

    def send(self, packet):
        self.socket.send(packet)

    def acknowledge(self, message):
        self.send(reply(message.id, message.last))
