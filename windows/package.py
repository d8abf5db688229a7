#!/usr/bin/env python3
"""Puts what was built into the shape that is handed out.

    package.py BUILD_DIRECTORY PACKAGE_DIRECTORY     all of it
    package.py --catalog PACKAGE_DIRECTORY           the catalog anew, after files were signed
    package.py --zip PACKAGE_DIRECTORY               the ZIP anew

Copies the files, makes the INF (its date and version are stamped here), the catalog and the ZIP.
Everything that could differ between two builds of the same sources (dates, order) is taken from the
sources or fixed: SOURCE_DATE_EPOCH says when.
"""
import os
import re
import shutil
import sys
import time
import zipfile

import catalog

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER_FILES = ("WinVirtUE.sys", "WinVirtUE.pdb")
PROGRAM_FILES = {  # as it is built: as it is handed out
    "ntfltmgr.exe": "ntfltmgr.exe",
    "ntfltmgr.pdb": "ntfltmgr.pdb",
    "wvuctl.exe": "wvuctl.exe",
    "wvuctl.pdb": "wvuctl.pdb",
    "winvirtue.dll": "winvirtue.dll",
    "winvirtue.pdb": "winvirtue.pdb",
    "winvirtue.dll.a": "winvirtue.lib",  # the format is the same
}


def version():
    with open(os.path.join(HERE, "../include/winvirtue/version.h"), encoding="utf-8") as file:
        return re.search(r'WVU_VERSION "([^"]+)"', file.read()).group(1)


def make_inf(target, epoch, architecture="amd64"):
    """What stampinf of the WDK does with an .inx file."""
    with open(os.path.join(HERE, "WinVirtUE.inx"), encoding="ascii") as file:
        text = file.read()
    date = time.strftime("%m/%d/%Y", time.gmtime(epoch))
    text = text.replace("$ARCH$", architecture)
    text, stamped = re.subn(r"^(DriverVer *= ).*$", rf"\g<1>{date},{version()}.0", text,
                            flags=re.MULTILINE)
    assert stamped == 1, "WinVirtUE.inx has one DriverVer"
    with open(target, "w", encoding="ascii", newline="\r\n") as file:
        file.write(text)


def make_zip(path, directory, epoch):
    """Sorted, with one date for all: the same bytes for the same files."""
    names = [os.path.join(folder, name) for folder, _, files in os.walk(directory)
             for name in files if not name.endswith((".zip", ".new"))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(names):
            entry = zipfile.ZipInfo(os.path.relpath(name, directory), time.gmtime(epoch)[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 0  # FAT, wherever it was made
            with open(name, "rb") as file:
                archive.writestr(entry, file.read())


def make_catalog(package, epoch):
    driver = os.path.join(package, "WinVirtUE")
    catalog.write(os.path.join(driver, "WinVirtUE.cat"),
                  [os.path.join(driver, "WinVirtUE.inf"), os.path.join(driver, "WinVirtUE.sys")],
                  epoch)


def make_archive(package, epoch):
    archive = os.path.join(package, f"WinVirtUE-{version()}-x64.zip")
    if os.path.exists(archive):
        os.remove(archive)
    make_zip(archive + ".new", package, epoch)
    os.replace(archive + ".new", archive)


def make_package(build, package, epoch):
    driver = os.path.join(package, "WinVirtUE")
    shutil.rmtree(package, ignore_errors=True)
    os.makedirs(driver)
    for name in DRIVER_FILES:
        shutil.copyfile(os.path.join(build, "windows", name), os.path.join(driver, name))
    for name, target in PROGRAM_FILES.items():
        shutil.copyfile(os.path.join(build, "windows", name), os.path.join(package, target))
    shutil.copyfile(os.path.join(HERE, "../LICENSE"), os.path.join(package, "LICENSE.txt"))
    make_inf(os.path.join(driver, "WinVirtUE.inf"), epoch)
    make_catalog(package, epoch)
    make_archive(package, epoch)


def main():
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    if sys.argv[1] == "--catalog":
        make_catalog(sys.argv[2], epoch)
    elif sys.argv[1] == "--zip":
        make_archive(sys.argv[2], epoch)
    else:
        make_package(sys.argv[1], sys.argv[2], epoch)


if __name__ == "__main__":
    main()
