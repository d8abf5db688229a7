#!/usr/bin/env python3
"""Makes the driver package's catalog: the list of its files' hashes that Windows checks at
installation. It is unsigned; scripts/windows-sign signs it.

    catalog.py CATALOG FILE...

A catalog is a PKCS #7 SignedData whose content is a certificate trust list ("CTL_INFO" and
"CRYPTCATMEMBER" in Microsoft's cryptography reference). Each member is named by its hash in
hexadecimal and carries the hash once more as SPC_INDIRECT_DATA ("Windows Authenticode Portable
Executable Signature Format"), the file's name, and the interface (a GUID) that computes the hash:
for an image the Authenticode hash, which leaves out checksum and signature, for any other file that of
its bytes. This is version 1 of the format, with SHA-1, as driver catalogs commonly have it; the driver
itself is signed with SHA-256.
"""
import hashlib
import os
import struct
import sys
import time

OID_SIGNED_DATA = "1.2.840.113549.1.7.2"
OID_CTL = "1.3.6.1.4.1.311.10.1"
OID_CATALOG_LIST = "1.3.6.1.4.1.311.12.1.1"
OID_CATALOG_LIST_MEMBER = "1.3.6.1.4.1.311.12.1.2"
OID_NAME_VALUE = "1.3.6.1.4.1.311.12.2.1"
OID_MEMBER_INFO = "1.3.6.1.4.1.311.12.2.2"
OID_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
OID_PE_IMAGE_DATA = "1.3.6.1.4.1.311.2.1.15"
OID_CAB_DATA = "1.3.6.1.4.1.311.2.1.25"
OID_SHA1 = "1.3.14.3.2.26"

GUID_IMAGE = "{C689AAB8-8E78-11D0-8C47-00C04FC295EE}"
GUID_FILE = "{DE351A42-8E59-11D0-8C47-00C04FC295EE}"

NAME_VALUE_FLAGS = 0x10010001  # authenticated, text, as it stands
SYSTEMS = "_v100_X64"          # Windows 10 and 11, x64
SYSTEM_VERSIONS = "2:10.0"


# ---- DER ---------------------------------------------------------------------------------------


def der(tag, *parts):
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def sequence(*parts):
    return der(0x30, *parts)


def set_of(*parts):
    return der(0x31, *sorted(parts))


def explicit(number, *parts):
    return der(0xA0 | number, *parts)


def octets(value):
    return der(0x04, value)


def integer(value):
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bmp_string(text):
    return der(0x1E, text.encode("utf-16-be"))


def utc_time(epoch):
    return der(0x17, time.strftime("%y%m%d%H%M%SZ", time.gmtime(epoch)).encode("ascii"))


def oid(text):
    numbers = [int(part) for part in text.split(".")]
    body = bytearray([numbers[0] * 40 + numbers[1]])
    for number in numbers[2:]:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return der(0x06, bytes(body))


NULL = der(0x05)


# ---- hashes ----------------------------------------------------------------------------------------


def is_image(data):
    return data[:2] == b"MZ"


def image_hash(data, algorithm="sha1"):
    """The Authenticode hash of a PE image."""
    header = struct.unpack_from("<I", data, 0x3C)[0]
    optional = header + 24
    plus = struct.unpack_from("<H", data, optional)[0] == 0x20B
    checksum = optional + 64
    certificates = optional + (112 if plus else 96) + 4 * 8
    address, size = struct.unpack_from("<II", data, certificates)
    end = address if size else len(data)
    digest = hashlib.new(algorithm)
    digest.update(data[:checksum])
    digest.update(data[checksum + 4:certificates])
    digest.update(data[certificates + 8:end])
    return digest.digest()


def file_hash(data):
    return image_hash(data) if is_image(data) else hashlib.sha1(data).digest()


# ---- the catalog -------------------------------------------------------------------------------------


def name_value(name, value):
    return sequence(bmp_string(name), integer(NAME_VALUE_FLAGS),
                    octets((value + "\0").encode("utf-16-le")))


def attribute(kind, value):
    return sequence(oid(kind), set_of(value))


def indirect_data(data, digest):
    empty_file = explicit(2, der(0x80))
    if is_image(data):
        subject = sequence(oid(OID_PE_IMAGE_DATA),
                           sequence(der(0x03, b"\0"), explicit(0, empty_file)))
    else:
        subject = sequence(oid(OID_CAB_DATA), empty_file)
    return sequence(subject, sequence(sequence(oid(OID_SHA1), NULL), octets(digest)))


def member(path):
    with open(path, "rb") as file:
        data = file.read()
    digest = file_hash(data)
    tag = (digest.hex().upper() + "\0").encode("utf-16-le")
    info = sequence(bmp_string(GUID_IMAGE if is_image(data) else GUID_FILE), integer(0x200))
    return sequence(octets(tag), set_of(
        attribute(OID_NAME_VALUE, name_value("File", os.path.basename(path).lower())),
        attribute(OID_NAME_VALUE, name_value("OSAttr", SYSTEM_VERSIONS)),
        attribute(OID_MEMBER_INFO, info),
        attribute(OID_INDIRECT_DATA, indirect_data(data, digest))))


def build(paths, epoch):
    members = sorted(member(path) for path in paths)
    trust_list = sequence(
        sequence(oid(OID_CATALOG_LIST)),
        octets(hashlib.sha256(b"".join(members)).digest()[:16]),
        utc_time(epoch),
        sequence(oid(OID_CATALOG_LIST_MEMBER), NULL),
        sequence(*members),
        explicit(0, sequence(sequence(oid(OID_NAME_VALUE), octets(name_value("OS", SYSTEMS))))))
    signed_data = sequence(integer(1), set_of(),
                           sequence(oid(OID_CTL), explicit(0, trust_list)), set_of())
    return sequence(oid(OID_SIGNED_DATA), explicit(0, signed_data))


def write(target, paths, epoch):
    with open(target, "wb") as file:
        file.write(build(paths, epoch))


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2:], int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
