#!/usr/bin/env python3
"""What can be said of windows/ from its sources: the INF, the solution beside Meson, compilers and analyzers.

    tests/windows/sources.py [NAME]...     all tests, or those whose names contain a word
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

from tap import Skip, check, equal, main

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DDK = "/usr/x86_64-w64-mingw32/include/ddk"
NS = {"m": "http://schemas.microsoft.com/developer/msbuild/2003"}

sys.path.insert(0, os.path.join(ROOT, "windows"))
import package  # noqa: E402


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8-sig") as file:
        return file.read()


# ---- the INF: the rules that "INF Validation Errors and Warnings" documents for InfVerif, and those of
# ---- "Creating a Primitive Driver". The codes are InfVerif's. -----------------------------------------------


class Inf:
    """Sections of [(key, value)] with %strings% replaced; a line without '=' has the key None."""

    def __init__(self, text):
        self.sections = {}
        section = None
        for number, line in enumerate(text.splitlines(), 1):
            line = self.without_comment(line).strip()
            if not line:
                continue
            if line.startswith("["):
                check(line.endswith("]"), f"line {number}: a section's name does not end (1002)")
                section = line[1:-1].lower()
                check(section not in self.sections, f"section {section} is there twice")
                self.sections[section] = []
            else:
                check(section is not None, f"line {number} stands before any section (1002)")
                key, equals, value = line.partition("=")
                if not equals or section_is_list(section, line):
                    key, value = None, line
                self.sections[section].append((key.strip() if key else None, value.strip()))
        strings = {key.lower(): value.strip('"') for key, value in self.sections.get("strings", [])}
        self.used = set()

        def replace(match):
            name = match.group(1).lower()
            if not name:
                return "%"
            if name.isdigit():
                return match.group(0)
            check(name in strings, f"%{name}% is not in [Strings] (1203)")
            self.used.add(name)
            return strings[name]

        for name, entries in self.sections.items():
            if name != "strings":
                self.sections[name] = [
                    (key and re.sub(r"%([^%]*)%", replace, key), re.sub(r"%([^%]*)%", replace, value))
                    for key, value in entries]
        self.strings = strings

    @staticmethod
    def without_comment(line):
        quoted = False
        for index, character in enumerate(line):
            if character == '"':
                quoted = not quoted
            elif character == ";" and not quoted:
                return line[:index]
        check(not quoted, f"a quotation does not end: {line} (1002)")
        return line

    def get(self, section, key):
        values = [value for name, value in self.sections.get(section.lower(), [])
                  if name and name.lower() == key.lower()]
        check(len(values) <= 1, f"[{section}] has {key} {len(values)} times (1088)")
        return values[0] if values else None


def section_is_list(section, line):
    """Lines of AddReg sections may have '=' in a value."""
    return section.endswith("addregistry") and line.upper().startswith("HK")


def made_inf():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "WinVirtUE.inf")
        package.make_inf(path, 1700000000)
        with open(path, "rb") as file:
            data = file.read()
    return data, Inf(data.decode("ascii"))


def test_inf_encoding():
    data, _ = made_inf()
    check(all(byte < 0x80 for byte in data), "it is not ASCII (1003)")
    equal(data.count(b"\n"), data.count(b"\r\n"), "lines that end as Windows' do")


def test_inf_version_section():
    _, inf = made_inf()
    equal((inf.get("Version", "Signature") or "").strip('"').lower(), "$windows nt$", "Signature (1001)")
    equal(inf.get("Version", "Class"), '"ActivityMonitor"', "Class")
    equal(inf.get("Version", "ClassGuid"), "{b86dff51-a31e-4bac-b3cf-e8cfe75c9fc2}",
          "ClassGuid (1010; \"File System Filter Driver Classes and Class GUIDs\")")
    check(inf.get("Version", "Provider"), "Provider is empty (1013)")
    equal(inf.get("Version", "CatalogFile"), "WinVirtUE.cat", "CatalogFile")
    equal(inf.get("Version", "PnpLockdown"), "1", "PnpLockdown (1324)")
    version = re.search(r'WVU_VERSION "([^"]+)"', read("include/winvirtue/version.h")).group(1)
    equal(inf.get("Version", "DriverVer"), f"11/14/2023,{version}.0", "DriverVer, stamped")


def test_inf_is_a_primitive_driver():
    _, inf = made_inf()
    for name in inf.sections:
        check(not name.startswith(("manufacturer", "models")), f"section [{name}] (1420)")
        if name.startswith(("defaultinstall", "defaultuninstall")):
            check(".ntamd64" in name, f"[{name}] names no architecture (1421)")
    check("defaultinstall.ntamd64" in inf.sections, "[DefaultInstall.NTamd64] is missing (1423)")
    check("defaultinstall.ntamd64.services" in inf.sections, "its services are missing")
    equal(inf.get("DefaultUninstall.NTamd64", "LegacyUninstall"), "1", "LegacyUninstall (1422)")
    equal([key for key, _ in inf.sections["defaultuninstall.ntamd64"]], ["LegacyUninstall"],
          "what [DefaultUninstall] does (1308, 1309)")
    text = " ".join(f"{key}={value}" for entries in inf.sections.values() for key, value in entries).lower()
    for word in ("coinstaller", "classinstall", "delfiles", "delreg", "renfiles", "registerdlls",
                 "profileitems", "bitreg", "logconfig", "updateinis"):
        check(word not in text, f"it uses {word} (1300 to 1309)")


def test_inf_files_stay_in_the_driver_store():
    _, inf = made_inf()
    for key, value in inf.sections["destinationdirs"]:
        equal(value, "13", f"[DestinationDirs] {key} (1322)")
    copied = inf.get("DefaultInstall.NTamd64", "CopyFiles")
    files = [value for name in copied.split(",") for _, value in inf.sections[name.strip().lower()]]
    equal(files, ["WinVirtUE.sys"], "copied files")
    for name in files:
        disk = inf.get("SourceDisksFiles", name)
        check(disk is not None and inf.get("SourceDisksNames", disk),
              f"{name} is on no disk of [SourceDisksFiles] (1008, 1016)")


def test_inf_service():
    _, inf = made_inf()
    name, flags, section = [part.strip() for part in
                            inf.get("DefaultInstall.NTamd64.Services", "AddService").split(",")]
    equal((name, flags), ("WinVirtUE", ""), "AddService: a service without a device has no flags")
    check(section.lower() in inf.sections, f"[{section}] is missing (1203)")
    for key, value in (("ServiceBinary", r"%13%\WinVirtUE.sys"), ("ServiceType", "2"),
                       ("StartType", "3"), ("ErrorControl", "1"),
                       ("LoadOrderGroup", '"FSFilter Activity Monitor"'), ("Dependencies", "FltMgr")):
        equal(inf.get(section, key), value, key)
    equal(inf.get("DefaultUninstall.NTamd64.Services", "DelService").replace(" ", ""),
          "WinVirtUE,0x200", "DelService stops the service first")


def test_inf_registry():
    _, inf = made_inf()
    values = {}
    for _, line in inf.sections["winvirtue.addregistry"]:
        root, key, name, kind, data = [part.strip() for part in line.split(",", 4)]
        equal(root, "HKR", f"the root of {line} (1304, 1320, 1321)")
        check((key.replace('"', "").lower(), name.lower()) not in values, f"{line} is there twice (1086)")
        values[key.replace('"', "").lower(), name.strip('"').lower()] = (int(kind, 16), data.strip('"'))
    # Where the Filter Manager looks from Windows 11 24H2 on, and where it looked before (1323 asks for
    # the first one alone, which only the newest systems understand).
    for base in ("parameters\\", ""):
        instances = values[base + "instances", "defaultinstance"][1]
        key = f"{base}instances\\{instances}".lower()
        altitude = float(values[key, "altitude"][1])
        check(360000 <= altitude <= 389999, f"altitude {altitude} is not an activity monitor's")
        equal(int(values[key, "flags"][1], 16), 0, "flags: attach by itself")
    equal(values["parameters", "supportedfeatures"], (0x10001, "0x3"), "SupportedFeatures")


def test_inf_has_no_leftovers():
    _, inf = made_inf()
    equal(sorted(set(inf.strings) - inf.used), [], "[Strings] that nothing uses")
    reachable = {"version", "destinationdirs", "sourcedisksnames", "sourcedisksfiles", "strings"}
    for name, entries in inf.sections.items():
        if name.startswith("default"):
            reachable.add(name)
        for key, value in entries:
            if key and key.lower() in ("copyfiles", "addreg"):
                reachable.add(value.lower())
            if key and key.lower() == "addservice":
                reachable.add(value.split(",")[2].strip().lower())
    equal(sorted(set(inf.sections) - reachable), [], "sections that nothing uses")


# ---- the solution beside Meson ------------------------------------------------------------------------------


def meson_list(path, name):
    """The files of every `name = files(...)` and `name += files(...)` for Windows, from the root."""
    text = read(path)
    folder = os.path.dirname(path)
    found = []
    for match in re.finditer(rf"^{name} \+?= (.*?\))$", text, re.M | re.S):
        part = match.group(1)
        if "'windows'" in part:  # a choice: what comes first is for Windows
            part = part.split("?", 1)[1].split(":", 1)[0]
        found += re.findall(r"'([^']+\.c)'", part)
    check(found, f"{path} has no {name}")
    return [os.path.normpath(os.path.join(folder, name)) for name in found]


def project(name):
    return ElementTree.parse(os.path.join(ROOT, "windows", name)).getroot()


def project_sources(root):
    return [os.path.normpath(os.path.join("windows", item.get("Include").replace("\\", "/")))
            for item in root.findall(".//m:ItemGroup/m:ClCompile", NS)]


PROJECTS = {
    "WinVirtUE.vcxproj": lambda: meson_list("windows/meson.build", "driver_sources") +
                                 meson_list("engine/meson.build", "engine_sources"),
    "libwinvirtue.vcxproj": lambda: meson_list("client/meson.build", "client_sources"),
    "ntfltmgr.vcxproj": lambda: meson_list("tools/meson.build", "ntfltmgr_sources") +
                                meson_list("client/meson.build", "client_sources"),
    "wvuctl.vcxproj": lambda: meson_list("tools/meson.build", "wvuctl_sources") +
                              meson_list("client/meson.build", "client_sources"),
}


def test_projects_have_the_sources_of_meson():
    for name, sources in PROJECTS.items():
        listed = project_sources(project(name))
        equal(sorted(listed), sorted(sources()), f"sources of {name}")
        bases = [os.path.basename(path) for path in listed]
        equal(len(set(bases)), len(bases), f"{name}: object files, which all go to one directory")
        for path in listed:
            check(os.path.exists(os.path.join(ROOT, path)), f"{name}: {path} does not exist")


def test_projects_have_the_settings_of_meson():
    meson = read("windows/meson.build")
    driver = read("windows/WinVirtUE.vcxproj")
    common = read("windows/WinVirtUE.props")
    version = re.search(r"-DNTDDI_VERSION=(0x\w+)'", meson).group(1)
    check(f"NTDDI_VERSION={version}" in driver, f"WinVirtUE.vcxproj: NTDDI_VERSION is not {version}")
    check(f"<_NT_TARGET_VERSION>0x{int(version, 16):X}" in driver, "WinVirtUE.vcxproj: _NT_TARGET_VERSION")
    check("'-integritycheck'" in meson and "/INTEGRITYCHECK" in driver, "/integritycheck in both")
    check("warning_level=3" in read("meson.build") and "<WarningLevel>Level4<" in common,
          "the highest useful warning level in both")
    check("werror=true" in read("meson.build") and "<TreatWarningAsError>true<" in common,
          "warnings are errors in both")
    check("c_std=c11" in read("meson.build") and "<LanguageStandard_C>stdc11<" in common, "C11 in both")
    check("'-brepro'" in meson and "/Brepro" in common, "/Brepro in both")
    check("['-DWVU_DEBUG']" in meson and "WVU_DEBUG;" in driver, "WVU_DEBUG in both")
    for name in PROJECTS:
        check('<Import Project="WinVirtUE.props" />' in read("windows", name), f"{name}: WinVirtUE.props")
        root = project(name)
        pairs = {item.get("Include") for item in root.findall(".//m:ProjectConfiguration", NS)}
        equal(pairs, {"Debug|x64", "Release|x64", "Debug|ARM64", "Release|ARM64"}, f"{name}: configurations")


def test_resources_are_in_both():
    meson = read("windows/meson.build")
    for name, resource in (("WinVirtUE.vcxproj", "driver"), ("libwinvirtue.vcxproj", "libwinvirtue"),
                           ("ntfltmgr.vcxproj", "ntfltmgr"), ("wvuctl.vcxproj", "wvuctl")):
        items = [item.get("Include") for item in project(name).findall(".//m:ItemGroup/m:ResourceCompile", NS)]
        equal(items, [resource + ".rc"], f"{name}: resources")
        named = rf"resources\['{resource}'\]|^programs = .*'{resource}' : {resource}_sources"
        check(re.search(named, meson, re.M), f"meson.build: resource {resource}")


def test_solution_has_the_projects():
    text = read("windows/WinVirtUE.sln")
    listed = dict((path, guid) for path, guid in
                  re.findall(r'= "[^"]+", "([^"]+)", "(\{[^}]+\})"', text))
    equal(sorted(listed), sorted(PROJECTS), "projects of the solution")
    for name, guid in listed.items():
        equal(project(name).find(".//m:ProjectGuid", NS).text, guid, f"identifier of {name}")
        for configuration in ("Debug|x64", "Release|x64", "Debug|ARM64", "Release|ARM64"):
            check(f"{guid}.{configuration}.Build.0 = {configuration}" in text,
                  f"{name} is not built for {configuration}")


# ---- the page ------------------------------------------------------------------------------------------------------


def test_the_page_has_the_parameters_as_they_are():
    """docs/windows.md, "Tune", against the table in parameters.c; the compiler knows the values."""
    rows = re.findall(r"NUMBER\((\w+), \w+, ([^,]+), ([^,]+),\s*([^,)]+)\)", read("windows/parameters.c"))
    rows = [row for row in rows if row[1] != "least"]  # the macro's own definition
    check(len(rows) >= 7, "windows/parameters.c could not be read")
    own = re.findall(r"^#define WVU_DRAIN.*$", read("windows/parameters.h"), re.M)
    lines = "".join(f'printf("{name} %u %u %u\\n", (unsigned)({least}), (unsigned)({most}), '
                    f'(unsigned)({usual}));\n' for name, least, most, usual in rows)
    program = ('#include "dispatcher.h"\n#include "log.h"\n#include "queue.h"\n#include <stdio.h>\n' +
               "\n".join(own) + "\nint main(void) {\n" + lines + "}\n")
    with tempfile.TemporaryDirectory() as folder:
        binary = os.path.join(folder, "values")
        subprocess.run(["cc", "-Iinclude", "-Iengine", "-x", "c", "-", "-o", binary], input=program,
                       cwd=ROOT, text=True, check=True)
        values = subprocess.run([binary], capture_output=True, text=True, check=True).stdout
    page = {cells[0]: cells[1:] for cells in
            ([cell.strip() for cell in line.strip("|").split("|")]
             for line in read("docs/windows.md").splitlines() if line.startswith("| ")) if len(cells) > 3}
    for line in values.splitlines():
        name, least, most, usual = line.split()
        check(name in page, f"docs/windows.md does not have {name}")
        kind, default, allowed = page[name][:3]
        equal((kind, int(default, 0)), ("DWORD", int(usual)), f"{name} on the page")
        if allowed != "any":
            bounds = re.findall(r"\d+", allowed)
            equal((bounds[0], bounds[-1]), (least, most), f"what {name} may be, on the page")


# ---- compilers and analyzers ------------------------------------------------------------------------------------


def driver_files():
    return meson_list("windows/meson.build", "driver_sources") + \
        meson_list("engine/meson.build", "engine_sources")


def target_arguments(target="x86_64-w64-mingw32"):
    return ["clang", f"--target={target}", "-std=c11", "-fms-extensions", "-D_WIN32_WINNT=0x0A00",
            "-DNTDDI_VERSION=0x0A000006", "-isystem", DDK, "-Iinclude", "-Iengine", "-Iwindows"]


def test_clang_analyzer_finds_nothing():
    if not os.path.isdir(DDK):
        raise Skip("the MinGW-w64 headers are not installed")
    def analyze(path, *macros):
        # A third of the states that it looks at by itself: of a few functions it would look at more and more alike ones.
        done = subprocess.run(
            target_arguments() + [*macros, "-D_AMD64_", "--analyze", "-Xclang", "-analyzer-output=text",
                                  "-Xclang", "-analyzer-config", "-Xclang", "max-nodes=75000",
                                  "-Xclang", "-analyzer-werror", "-o", os.devnull, path],
            cwd=ROOT, capture_output=True, text=True)
        equal(done.returncode, 0, f"clang --analyze {path}:\n{done.stderr}")

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(analyze, path) for path in driver_files()]
        runs.append(pool.submit(analyze, "windows/driver.c", "-DWVU_DEBUG"))
        for one in runs:
            one.result()


def test_cppcheck_finds_nothing():
    if not shutil.which("cppcheck"):
        raise Skip("cppcheck is not installed")
    done = subprocess.run(
        ["cppcheck", "--quiet", f"-j{os.cpu_count()}", "--std=c11", "--platform=win64", "--error-exitcode=1", "--inline-suppr",
         "--enable=warning,performance,portability", "--suppress=missingIncludeSystem",
         "-D__MINGW32__", "-D_WIN64", "-D__x86_64__", "-D__clang__", "-U__aarch64__", "-U_MSC_VER",
         "-UWVU_SIMULATED", "-U_M_ARM64", "-Iinclude", "-Iengine", "-Iwindows"] + driver_files(),
        cwd=ROOT, capture_output=True, text=True)
    equal(done.returncode, 0, f"cppcheck:\n{done.stderr}{done.stdout}")


def compile_atomic(processor):
    """Compiles the branch of atomic.h for Microsoft's compiler with clang's version of its intrinsics."""
    source = """
        #include <stdint.h>
        #include <stdbool.h>
        #include <intrin.h>
        #ifndef _ARM64_BARRIER_ISH
        #define _ARM64_BARRIER_ISH 0xB
        #endif
        #undef __clang__
        #undef __GNUC__
        #include "engine/atomic.h"
        uint32_t load(uint32_t *p) { return wvu_load_acquire(p); }
        void store(uint32_t *p) { wvu_store_release(p, 1); }
        uint64_t load64(uint64_t *p) { return wvu_load64_acquire(p) + wvu_load64_relaxed(p); }
        void store64(uint64_t *p) { wvu_store64_release(p, 1); wvu_store64_relaxed(p, 2); }
        uint32_t exchange(uint32_t *p) { return wvu_exchange_full(p, 1); }
        bool compare(uint32_t *p) { return wvu_compare_exchange_full(p, 1, 2); }
        uint64_t add(uint64_t *p) { return wvu_add64_relaxed(p, 1); }
        void fence(void) { wvu_fence(); }
        void prefetch(void *p) { wvu_prefetch_write(p, 64); }
        """
    resources = subprocess.run(["clang", "-print-resource-dir"], capture_output=True, text=True,
                               check=True).stdout.strip()
    done = subprocess.run(
        ["clang", f"--target={processor}-pc-windows-msvc", "-ffreestanding", "-nostdinc", "-isystem",
         os.path.join(resources, "include"), "-fms-compatibility-version=19.28", "-O2", "-w", "-I.", "-S",
         "-o", "-", "-x", "c", "-"], input=source, cwd=ROOT, capture_output=True, text=True)
    equal(done.returncode, 0, f"atomic.h for Microsoft's compiler on {processor}:\n{done.stderr}")
    functions = {}
    for line in done.stdout.splitlines():
        if label := re.match(r"(\w+):", line):
            functions[label.group(1)] = body = []
        elif re.match(r"\s+[a-z]", line):
            body.append(line.split()[0])
    return functions


def test_atomic_for_microsofts_compiler_on_x64():
    functions = compile_atomic("x86_64")
    check("mfence" in functions["fence"], f"a fence is {functions['fence']}")
    check("lock" in functions["compare"], f"a compare-exchange is {functions['compare']}")
    check(any(word.startswith("xchg") for word in functions["exchange"]), "an exchange is no xchg")


def test_atomic_for_microsofts_compiler_on_arm64():
    functions = compile_atomic("aarch64")
    equal(functions["fence"][0], "dmb", "a fence")
    check(functions["load"].index("ldr") < functions["load"].index("dmb"), "acquire: load, then barrier")
    check(functions["store"].index("dmb") < functions["store"].index("str"), "release: barrier, then store")
    check(functions["load64"].index("ldr") < functions["load64"].index("dmb"), "acquire of 64 bits")
    check(functions["store64"].index("dmb") < functions["store64"].index("str"), "release of 64 bits")


def test_the_engine_compiles_for_arm64():
    for path in meson_list("engine/meson.build", "engine_sources"):
        done = subprocess.run(
            ["clang", "--target=aarch64-w64-mingw32", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror",
             "-isystem", os.path.dirname(DDK), "-Iinclude", "-Iengine", "-c", "-o", os.devnull, path],
            cwd=ROOT, capture_output=True, text=True)
        equal(done.returncode, 0, f"{path} for ARM64:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main(globals(), sys.argv[1:]))
