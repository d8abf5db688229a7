"""Reads what the tests need of a PE image ("PE Format" in Microsoft's reference). Nothing is assumed to be
right: an offset outside of the file raises struct.error or IndexError."""
import struct

DIRECTORIES = ("export", "import", "resource", "exception", "certificate", "relocation", "debug",
               "architecture", "global_pointer", "tls", "load_config", "bound_import", "iat",
               "delay_import", "clr", "reserved")


class Section:
    def __init__(self, data, offset):
        name, self.virtual_size, self.address, self.raw_size, self.raw = struct.unpack_from(
            "<8sIIII", data, offset)
        self.name = name.rstrip(b"\0").decode("ascii")
        self.flags = struct.unpack_from("<I", data, offset + 36)[0]

    writable = property(lambda self: bool(self.flags & 0x80000000))
    executable = property(lambda self: bool(self.flags & 0x20000000))
    discardable = property(lambda self: bool(self.flags & 0x02000000))


class Image:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = data = file.read()
        assert data[:2] == b"MZ", f"{path} is no image"
        header = struct.unpack_from("<I", data, 0x3C)[0]
        assert data[header:header + 4] == b"PE\0\0", f"{path} is no image"
        self.machine, count, self.timestamp = struct.unpack_from("<HHI", data, header + 4)
        optional_size, self.characteristics = struct.unpack_from("<HH", data, header + 20)
        self.optional = optional = header + 24
        self.plus = struct.unpack_from("<H", data, optional)[0] == 0x20B
        self.entry = struct.unpack_from("<I", data, optional + 16)[0]
        self.section_alignment, self.file_alignment = struct.unpack_from("<II", data, optional + 32)
        self.checksum, self.subsystem, self.dll_flags = struct.unpack_from("<IHH", data, optional + 64)
        directories = optional + (112 if self.plus else 96)
        self.directories = {
            name: struct.unpack_from("<II", data, directories + 8 * index)
            for index, name in enumerate(DIRECTORIES)}
        table = optional + optional_size
        self.sections = [Section(data, table + 40 * index) for index in range(count)]

    def offset(self, address):
        for section in self.sections:
            if section.address <= address < section.address + max(section.virtual_size,
                                                                  section.raw_size):
                return section.raw + address - section.address
        raise IndexError(f"address {address:#x} is in no section")

    def section_of(self, address):
        for section in self.sections:
            if section.address <= address < section.address + section.virtual_size:
                return section
        raise IndexError(f"address {address:#x} is in no section")

    def text(self, address):
        start = self.offset(address)
        return self.data[start:self.data.index(b"\0", start)].decode("ascii")

    def imports(self):
        """[(module, name)]; a name that is None was imported by number."""
        found = []
        descriptor = self.offset(self.directories["import"][0])
        size, number = (8, 1 << 63) if self.plus else (4, 1 << 31)
        while True:
            lookup, _, _, module, thunks = struct.unpack_from("<IIIII", self.data, descriptor)
            if not module:
                return found
            entry = self.offset(lookup or thunks)
            while value := int.from_bytes(self.data[entry:entry + size], "little"):
                found.append((self.text(module).lower(),
                              None if value & number else self.text(value + 2)))
                entry += size
            descriptor += 20

    def exports(self):
        address, _ = self.directories["export"]
        if not address:
            return []
        count, _, names = struct.unpack_from("<III", self.data, self.offset(address) + 24)
        table = self.offset(names)
        return [self.text(struct.unpack_from("<I", self.data, table + 4 * n)[0])
                for n in range(count)]

    def debug(self):
        """(guid, age, name) of the program database, or None."""
        address, size = self.directories["debug"]
        start = self.offset(address) if address else 0
        for entry in range(start, start + size, 28):
            kind, length, _, raw = struct.unpack_from("<IIII", self.data, entry + 12)
            if kind == 2 and self.data[raw:raw + 4] == b"RSDS":
                guid, age = struct.unpack_from("<16sI", self.data, raw + 4)
                name = self.data[raw + 24:raw + length].rstrip(b"\0").decode("utf-8")
                return guid, age, name
        return None

    def functions(self):
        """[(begin, end, unwind information)] from .pdata."""
        address, size = self.directories["exception"]
        start = self.offset(address)
        return [struct.unpack_from("<III", self.data, entry)
                for entry in range(start, start + size, 12)]

    def handler_of(self, unwind):
        """The address of a function's exception handler, or None."""
        start = self.offset(unwind)
        flags, count = self.data[start] >> 3, self.data[start + 2]
        if not flags & 3:
            return None
        return struct.unpack_from("<I", self.data, start + 4 + 2 * (count + count % 2))[0]

    def frame_size(self, unwind):
        """Bytes of stack that a function takes at its start (x64 unwind codes)."""
        start = self.offset(unwind)
        count, index, size = self.data[start + 2], 0, 0
        while index < count:
            code, operation, info = (self.data[start + 5 + 2 * index], None, None)
            operation, info = code & 15, code >> 4
            slot = start + 4 + 2 * (index + 1)
            if operation == 0:      # push
                size += 8
            elif operation == 1:    # large allocation
                if info == 0:
                    size += 8 * struct.unpack_from("<H", self.data, slot)[0]
                    index += 1
                else:
                    size += struct.unpack_from("<I", self.data, slot)[0]
                    index += 2
            elif operation == 2:    # small allocation
                size += 8 * info + 8
            elif operation in (4, 8):  # a register saved nearby
                index += 1
            elif operation in (5, 9):  # or far away
                index += 2
            index += 1
        return size
