"""The command port as docs/protocol.md describes it, for tests that give commands: nothing here was taken from
the C headers."""
import socket
import struct
from collections import namedtuple

WELCOME = struct.Struct("<HHiII")
REQUEST = struct.Struct("<HHI16sII")
RESPONSE = struct.Struct("<HHIiI")
ENTRY = struct.Struct("<II16sIIiIQQQq")
TEXT = struct.Struct("<HHHHI")

ENABLE, DISABLE, ENUMERATE, CONFIGURE, KILL, SET_FILTER, GET_FILTER = 1, 2, 5, 6, 7, 19, 22

OK = 0
ACCESS_DENIED = 0xC0000022 - (1 << 32)
NOT_FOUND = 0xC0000225 - (1 << 32)

Response = namedtuple("Response", "status data")
Probe = namedtuple("Probe", "id attributes condition status operations filtered interval last_run name")


class Control:
    """A client of the command port."""

    def __init__(self, sensor, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(timeout)
        self.socket.connect(sensor.run_dir + "/WVUCommand")
        self.message_max = WELCOME.unpack(self.socket.recv(4096))[3]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, command, data=b"", probe_id=bytes(16)):
        self.socket.send(REQUEST.pack(1, REQUEST.size, command, probe_id, len(data), 0) + data)
        packet = self.socket.recv(self.message_max)
        _, size, _, status, length = RESPONSE.unpack_from(packet)
        return Response(status, packet[size:size + length])

    def probes(self):
        """The probes by name."""
        found = {}
        data = self.ask(ENUMERATE).data
        while data:
            (size, _, probe_id, attributes, condition, status, _, operations, filtered, interval,
             last_run) = ENTRY.unpack_from(data)
            offset, length = TEXT.unpack_from(data, ENTRY.size)[:2]
            name = data[offset:offset + length].decode()
            found[name] = Probe(probe_id, attributes, condition, status, operations, filtered, interval,
                                last_run, name)
            data = data[size:]
        return found

    def of_probe(self, command, name, data=b""):
        """A command for one probe."""
        return self.ask(command, data, self.probes()[name].id)

    def kill(self, pid, key=None):
        text = str(pid) + (f" key={key}" if key else "")
        return self.ask(KILL, text.encode())

    def set_filter(self, *rules):
        return self.ask(SET_FILTER, "\n".join(rules).encode())
