#!/usr/bin/env python3
"""What can be said of the Windows packages without running them: what scripts/windows left below
build/windows is looked at, not what the sources promise.

    tests/windows/static.py [NAME]...     all tests, or those whose names contain a word
"""
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "windows"))

import catalog  # noqa: E402
import link_driver  # noqa: E402
import pe  # noqa: E402
from tap import Skip, check, equal, main  # noqa: E402

PACKAGES = {name: os.path.join(ROOT, "build/windows/x64", name) for name in ("Release", "Debug")}
SYSTEM_LIBRARIES = {"advapi32.dll", "fltlib.dll", "kernel32.dll", "msvcrt.dll", "shell32.dll"}
FORCE_INTEGRITY, NX, DYNAMIC_BASE, HIGH_ENTROPY = 0x80, 0x100, 0x40, 0x20
NATIVE, CONSOLE = 1, 3


def driver(package):
    return os.path.join(PACKAGES[package], "WinVirtUE")


def driver_image(package):
    return pe.Image(os.path.join(driver(package), "WinVirtUE.sys"))


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8-sig") as file:
        return file.read()


def exports_table():
    rows = [line.split() for line in read("tests/windows/exports.txt").splitlines()
            if line and not line.startswith("#")]
    return {(module, name): since for name, module, since in rows}


# ---- the driver's image ---------------------------------------------------------------------------


def test_every_import_is_in_every_kernel_since_5_2():
    known = exports_table()
    for package in PACKAGES:
        for module, name in driver_image(package).imports():
            check(name is not None, f"{package}: an import of {module} by number")
            check((module, name) in known,
                  f"{package}: {name} of {module} is not in tests/windows/exports.txt: look it up at "
                  "load (windows/routines.h), or add it with the version that documents it")


def test_the_list_of_exports_has_no_line_that_nobody_needs():
    imported = {pair for package in PACKAGES for pair in driver_image(package).imports()}
    # What the compiler may ask for, depending on its version.
    spare = {"memcmp", "memmove", "memcpy", "memset", "strlen"}
    unused = [name for module, name in exports_table()
              if (module, name) not in imported and name not in spare]
    equal(unused, [], "exports.txt lists and no driver imports")


def test_routines_that_are_looked_up_are_not_imported_too():
    names = re.findall(r"WVU_ROUTINE\((\w+), \w+,", read("windows/routines.h"))
    check(len(names) > 5, "windows/routines.h could not be read")
    for package in PACKAGES:
        imported = {name for _, name in driver_image(package).imports()}
        equal(sorted(imported & set(names)), [], f"{package}: imported and looked up")


def test_no_c_runtime_is_imported():
    for package in PACKAGES:
        modules = {module for module, _ in driver_image(package).imports()}
        equal(modules, {"ntoskrnl.exe", "hal.dll", "fltmgr.sys"}, f"{package}: modules")


def test_headers_are_those_of_a_driver():
    for package in PACKAGES:
        image = driver_image(package)
        equal(image.machine, 0x8664, f"{package}: machine")
        equal(image.subsystem, NATIVE, f"{package}: subsystem")
        for flag, name in ((FORCE_INTEGRITY, "/integritycheck"), (NX, "/nxcompat"),
                           (DYNAMIC_BASE, "/dynamicbase"), (HIGH_ENTROPY, "/highentropyva")):
            check(image.dll_flags & flag, f"{package}: not linked with {name}")
        equal(image.section_alignment, 4096, f"{package}: section alignment")
        equal(image.characteristics & 0x2003, 2, f"{package}: executable, relocatable, no DLL")
        check(image.directories["relocation"][1], f"{package}: no relocations")
        for name in ("tls", "delay_import", "bound_import", "clr", "export"):
            equal(image.directories[name], (0, 0), f"{package}: directory {name}")
        equal(image.section_of(image.entry).name, ".text", f"{package}: the entry point's section")


def test_no_section_is_writable_and_executable():
    for package in PACKAGES:
        for section in driver_image(package).sections:
            check(not (section.writable and section.executable),
                  f"{package}: {section.name} is writable and executable")


def test_checksum_is_right():
    for package in PACKAGES:
        image = driver_image(package)
        equal(image.checksum, link_driver.checksum(image.data), f"{package}: checksum")


def test_exception_handlers_are_where_memory_may_fault_only():
    """Three guarded copies; more would mean that something else expects to fault."""
    for package in PACKAGES:
        image = driver_image(package)
        handled = [image.handler_of(unwind) for _, _, unwind in image.functions()]
        equal(len([handler for handler in handled if handler is not None]), 3,
              f"{package}: functions with an exception handler")


def test_no_stack_frame_is_large():
    for package in PACKAGES:
        image = driver_image(package)
        largest = max(image.frame_size(unwind) for _, _, unwind in image.functions())
        check(largest < 4096, f"{package}: a function takes {largest} bytes of stack")


def test_symbols_belong_to_the_image():
    for package in PACKAGES:
        image = driver_image(package)
        guid, _, name = image.debug()
        equal(name, "WinVirtUE.pdb", f"{package}: name of the symbols in the image")
        summary = subprocess.run(
            ["llvm-pdbutil", "dump", "--summary", os.path.join(driver(package), "WinVirtUE.pdb")],
            check=True, capture_output=True, text=True).stdout
        fields = struct.unpack("<IHH", guid[:8])
        text = "{%08X-%04X-%04X-%s-%s}" % (*fields, guid[8:10].hex().upper(), guid[10:].hex().upper())
        check(text in summary, f"{package}: the symbols are those of another image:\n{summary}")


def test_the_engine_is_in_the_driver_byte_for_byte():
    """The symbols name each source with the MD5 that it had when it was compiled."""
    sources = re.findall(r"'(\w+\.c)'",
                         read("engine/meson.build").split("engine_sources")[1].split(")")[0])
    check(len(sources) > 5, "engine/meson.build could not be read")
    for package in PACKAGES:
        listing = subprocess.run(
            ["llvm-pdbutil", "dump", "--files", os.path.join(driver(package), "WinVirtUE.pdb")],
            check=True, capture_output=True, text=True).stdout.replace("\\", "/")
        compiled = dict((name, digest) for digest, name in
                        re.findall(r"\(MD5: ([0-9A-F]{32})\) (engine/\S+)", listing))
        for source in sources:
            with open(os.path.join(ROOT, "engine", source), "rb") as file:
                digest = hashlib.md5(file.read()).hexdigest().upper()
            equal(compiled.get("engine/" + source), digest, f"{package}: engine/{source} in the driver")
    twins = [name for name in os.listdir(os.path.join(ROOT, "windows")) if name in sources]
    equal(twins, [], "files of windows/ that are called like the engine's")


def test_version_resource():
    version = re.search(r'WVU_VERSION "([^"]+)"', read("include/winvirtue/version.h")).group(1)
    for package, folder in PACKAGES.items():
        for name in ("WinVirtUE/WinVirtUE.sys", "ntfltmgr.exe", "wvuctl.exe", "winvirtue.dll"):
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
            for text in ("FileVersion\0", version + "\0", os.path.basename(name) + "\0"):
                check(text.encode("utf-16-le") in data, f"{package}: {name} has no {text!r}")
            fixed = data.index(struct.pack("<I", 0xFEEF04BD))
            high, low = struct.unpack_from("<II", data, fixed + 8)
            numbers = (high >> 16, high & 0xFFFF, low >> 16)
            equal(".".join(map(str, numbers)), version, f"{package}: {name}: version in numbers")
            debug = struct.unpack_from("<I", data, fixed + 28)[0] & 1
            equal(debug, int(package == "Debug"), f"{package}: {name}: debug flag")


def test_nothing_names_the_machine_it_was_built_on():
    for package, folder in PACKAGES.items():
        for path, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(path, name), "rb") as file:
                    data = file.read()
                for text in (ROOT, os.path.expanduser("~") + "/"):
                    if text != "//":
                        check(text.encode() not in data and text.encode("utf-16-le") not in data,
                              f"{package}: {name} contains {text}")


# ---- the programs ---------------------------------------------------------------------------------------


def test_programs_need_windows_alone():
    for package, folder in PACKAGES.items():
        for name in ("ntfltmgr.exe", "wvuctl.exe", "winvirtue.dll"):
            image = pe.Image(os.path.join(folder, name))
            modules = {module for module, _ in image.imports()}
            equal(sorted(modules - SYSTEM_LIBRARIES), [], f"{package}: {name} needs")
            for flag in (NX, DYNAMIC_BASE, HIGH_ENTROPY):
                check(image.dll_flags & flag, f"{package}: {name}: flag {flag:#x} is missing")


def test_the_library_exports_what_it_does_on_linux():
    on_linux = re.findall(r"^    (wvu_\w+);", read("client/winvirtue.map"), re.M)
    definition = re.findall(r"^    (wvu_\w+)$", read("windows/winvirtue.def"), re.M)
    equal(definition, sorted(on_linux), "windows/winvirtue.def")
    for package, folder in PACKAGES.items():
        image = pe.Image(os.path.join(folder, "winvirtue.dll"))
        equal(sorted(image.exports()), sorted(on_linux), f"{package}: exports of winvirtue.dll")


# ---- the package ------------------------------------------------------------------------------------------


def test_the_zip_holds_the_package():
    for package, folder in PACKAGES.items():
        archives = [name for name in os.listdir(folder) if name.endswith(".zip")]
        equal(len(archives), 1, f"{package}: archives")
        with zipfile.ZipFile(os.path.join(folder, archives[0])) as archive:
            names = set(archive.namelist())
            for path, _, files in os.walk(folder):
                for name in files:
                    relative = os.path.relpath(os.path.join(path, name), folder)
                    if name.endswith(".zip"):
                        continue
                    check(relative in names, f"{package}: {relative} is not in the archive")
                    with open(os.path.join(path, name), "rb") as file:
                        equal(archive.read(relative), file.read(), f"{package}: {relative}")


def test_the_catalog_has_the_files():
    for package in PACKAGES:
        folder = driver(package)
        with open(os.path.join(folder, "WinVirtUE.cat"), "rb") as file:
            data = file.read()
        for name in ("WinVirtUE.sys", "WinVirtUE.inf"):
            with open(os.path.join(folder, name), "rb") as file:
                digest = catalog.file_hash(file.read())
            check(digest in data, f"{package}: the catalog has another hash of {name}")
            check(digest.hex().upper().encode("utf-16-le") in data, f"{package}: {name} is no member")


def test_the_catalog_is_der():
    for package in PACKAGES:
        done = subprocess.run(["openssl", "asn1parse", "-inform", "DER", "-noout", "-in",
                               os.path.join(driver(package), "WinVirtUE.cat")], capture_output=True)
        equal(done.returncode, 0, f"{package}: openssl on the catalog: {done.stderr.decode()}")


def test_signing():
    """Signs a copy with a certificate of its own, and finds a change that is made afterwards."""
    if not shutil.which("osslsigncode"):
        raise Skip("osslsigncode is not installed")
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
                        certificate, "-subj", "/CN=test", "-addext", "extendedKeyUsage=codeSigning"],
                       check=True, capture_output=True)
        copy = os.path.join(folder, "package")
        shutil.copytree(PACKAGES["Release"], copy)
        done = subprocess.run([os.path.join(ROOT, "scripts/windows-sign"), copy], text=True,
                              capture_output=True, env={**os.environ, "WVU_SIGN_CERT": certificate,
                                                        "WVU_SIGN_KEY": key})
        equal(done.returncode, 0, f"windows-sign: {done.stderr}")
        signed = os.path.join(copy, "WinVirtUE/WinVirtUE.sys")
        image = pe.Image(signed)
        check(image.directories["certificate"][1], "the driver has no signature")
        equal(image.checksum, link_driver.checksum(image.data), "checksum of the signed driver")
        verify = ["osslsigncode", "verify", "-CAfile", certificate, "-in"]
        equal(subprocess.run(verify + [signed], capture_output=True).returncode, 0, "verification")
        changed = bytearray(image.data)
        changed[image.offset(image.entry)] ^= 1
        with open(signed, "wb") as file:
            file.write(changed)
        check(subprocess.run(verify + [signed], capture_output=True).returncode != 0,
              "a changed driver has a good signature")


def test_two_builds_give_the_same_bytes():
    """From a copy of the tree elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "elsewhere")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
        epoch = os.environ.get("SOURCE_DATE_EPOCH") or subprocess.run(
            ["git", "-C", ROOT, "log", "-1", "--format=%ct"], check=True, capture_output=True,
            text=True).stdout.strip()
        environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
        subprocess.run([os.path.join(ROOT, "scripts/windows"), "release"], check=True,
                       capture_output=True, env=environment)
        done = subprocess.run([os.path.join(copy, "scripts/windows"), "release"], text=True,
                              capture_output=True, env=environment)
        equal(done.returncode, 0, f"the build elsewhere: {done.stderr[-2000:]}")
        first = PACKAGES["Release"]
        second = os.path.join(copy, "build/windows/x64/Release")
        for path, _, names in os.walk(first):
            for name in names:
                one = os.path.join(path, name)
                two = os.path.join(second, os.path.relpath(one, first))
                with open(one, "rb") as a, open(two, "rb") as b:
                    check(a.read() == b.read(), f"{os.path.relpath(one, first)} differs")


if __name__ == "__main__":
    for folder in PACKAGES.values():
        if not os.path.exists(os.path.join(folder, "WinVirtUE/WinVirtUE.sys")):
            sys.exit(f"there is no {folder}: scripts/windows builds it")
    sys.exit(main(globals(), sys.argv[1:]))
