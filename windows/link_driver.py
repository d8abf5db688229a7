#!/usr/bin/env python3
"""Runs the linker, then writes the image's checksum.

    link_driver.py IMAGE LINKER ARGUMENT...

The kernel compares the checksum of every driver with its bytes before it maps it; lld-link has no
switch that computes it.
"""
import struct
import subprocess
import sys

CHECKSUM_IN_HEADERS = 4 + 20 + 64  # signature, file header, offset in the optional header


def checksum_offset(image):
    return struct.unpack_from("<I", image, 0x3C)[0] + CHECKSUM_IN_HEADERS


def checksum(image):
    """The sum of the image's 16-bit words with the carry added, the checksum's own field left out,
    plus the length: what CheckSumMappedFile (imagehlp) computes."""
    data = bytearray(image)
    struct.pack_into("<I", data, checksum_offset(image), 0)
    if len(data) % 2:
        data.append(0)
    total = sum(struct.unpack("<%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(image)


def main():
    path, linker = sys.argv[1], sys.argv[2:]
    status = subprocess.call(linker)
    if status:
        return status
    with open(path, "r+b") as file:
        image = file.read()
        file.seek(checksum_offset(image))
        file.write(struct.pack("<I", checksum(image)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
