#!/usr/bin/env python3
"""docs/protocol.md is true: the reader and the client printed there talk to a live sensor, and the worked example
decodes to what the page says."""
import os
import re
import subprocess
import sys

import e2e
import wire

PAGE = os.path.join(e2e.HERE, "../../docs/protocol.md")


def block(language, after=""):
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    text = text[text.index(after):] if after else text
    return re.search(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)[1]


def reader_of_the_page(session):
    path = os.path.join(session.directory, "reader.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(block("python", "## A complete reader"))
    return path


def test_reader_of_the_page(session):
    sensor = session.sensor()
    path = reader_of_the_page(session)
    output = os.path.join(session.directory, "output")
    with open(output, "wb") as file, open(output + ".err", "wb") as errors:
        reader = session.popen([sys.executable, path, sensor.run_dir], stdout=file, stderr=errors)
    spawned = session.spawn(count=300, arguments=["an argument", ""])
    mark = f"[{e2e.TINY!r}, '{session.serials(1)}']"
    subprocess.run([e2e.TINY, mark.split("'")[-2]], check=False)

    def lines():
        e2e.equal(reader.poll(), None, "the reader's end (see output.err)")
        with open(output, encoding="utf-8") as file:
            return file.read().splitlines()

    e2e.wait_until(lambda: any(mark in line for line in lines()), "the reader of the page to see the mark")
    text = lines()
    e2e.equal([int(line.split()[0]) for line in text], list(range(1, len(text) + 1)), "the numbers")
    for serial, pid, parent, status in spawned.entries:
        arguments = [e2e.TINY, str(serial), "an argument", ""]
        start = [line for line in text if f"Arguments={arguments!r}" in line]
        e2e.equal(len(start), 1, f"lines about the start of {pid}")
        e2e.check(f" ProcessCreate {pid} " in start[0] and f" ParentProcessId={parent} " in start[0],
                  f"the line {start[0]!r}")
        key = start[0].split()[4]
        end = [line for line in text if f" ProcessDestroy {pid} {key} " in line]
        e2e.equal(len(end), 1, f"lines about the end of {pid}")
        e2e.check(end[0].endswith(f" ExitCode={os.WEXITSTATUS(status)}"), f"the line {end[0]!r}")
    images = [line for line in text if f"FullImageName={e2e.TINY!r}" in line]
    e2e.check(len(images) > 300, f"{len(images)} lines about images")


def test_reader_of_the_page_counts_and_is_refused(session):
    sensor = session.sensor()
    path = reader_of_the_page(session)
    result = subprocess.run([sys.executable, path, sensor.run_dir, "1"], capture_output=True, text=True,
                            timeout=e2e.PATIENCE, check=False)
    e2e.equal(result.returncode, 0, f"its exit code ({result.stderr})")
    e2e.check(" SensorStart " in result.stdout.splitlines()[0], f"its first line: {result.stdout!r}")
    with wire.Port(sensor.run_dir):
        result = subprocess.run([sys.executable, path, sensor.run_dir], capture_output=True, text=True,
                                timeout=e2e.PATIENCE, check=False)
    e2e.check("0xC0000246" in result.stderr, f"refused, it said {result.stderr!r}")


def client_of_the_page(session):
    path = os.path.join(session.directory, "client.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(block("python", "## A complete client"))
    return path


def test_client_of_the_page(session):
    """Questions and changes, by the client printed in the page; what it says is what the sensor says elsewhere."""
    sensor = session.sensor()
    path = client_of_the_page(session)

    def ask(*arguments, code=0):
        result = subprocess.run([sys.executable, path, sensor.run_dir, *arguments], capture_output=True,
                                text=True, timeout=e2e.PATIENCE, check=False)
        e2e.equal(result.returncode, code, f"its exit code ({result.stderr})")
        return result.stdout if code == 0 else result.stderr

    def probe(name):
        return [line for line in ask("5").splitlines() if line.startswith(name + " ")][0]

    e2e.equal(ask("0", "all", "h\u00e4llo"), "h\u00e4llo\n", "the echo")
    e2e.check(probe("ProcessCreate").startswith("ProcessCreate running "), probe("ProcessCreate"))
    e2e.check(" ProcessDestroy=on" in probe("ProcessCreate"), probe("ProcessCreate"))
    e2e.equal(ask("6", "ProcessCreate", "ProcessDestroy=off"), "", "the answer to ConfigureProbe")
    e2e.check(" ProcessDestroy=off" in probe("ProcessCreate"), probe("ProcessCreate"))
    e2e.equal(ask("2", "ImageLoad"), "", "the answer to DisableProbe")
    e2e.check(probe("ImageLoad").startswith("ImageLoad stopped "), probe("ImageLoad"))
    e2e.equal(ask("19", "all", "# none\n"), "", "the answer to SetFilter")
    e2e.equal(ask("22"), "# none\n\n", "the filter")
    schema = ask("18").splitlines()
    e2e.check("event 0x0003 ProcessDestroy 96" in schema and "field 1 U32 80 ExitCode" in schema,
              f"the schema begins with {schema[:3]}")
    e2e.equal(ask("99", code=1), "status 0xC00000BB: there is no command 99\n", "an unknown command")
    e2e.equal(ask("6", "ImageLoad", "x=1", code=1),
              "status 0xC000000D: probe ImageLoad: 'x' is not a setting of this probe\n", "a wrong setting")


def test_worked_example(session):
    """The hexadecimal dump of the page, through the page's own reader."""
    dump = block("", "## A worked example")
    packet = bytes.fromhex("".join(re.sub(r"^[0-9a-f]{4}  |  .*$", "", line)
                                   for line in dump.splitlines()))
    message = wire.Message(packet)
    e2e.check(len(message.records) >= 2, f"{len(message.records)} records")
    path = reader_of_the_page(session)
    with open(path, encoding="utf-8") as file:
        source = file.read().replace("main(*sys.argv[1:])", "")
    program = os.path.join(session.directory, "decode.py")
    with open(program, "w", encoding="utf-8") as file:
        file.write(source + f"packet = bytes.fromhex({packet.hex()!r})\n"
                   "at = 64\n"
                   "while at < len(packet):\n"
                   "    size = RECORD.unpack_from(packet, at)[0]\n"
                   "    print_record(packet[at:at + size])\n"
                   "    at += size\n")
    printed = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True).stdout
    e2e.equal(printed, block("text", "## A worked example"), "what the reader prints of the example")


if __name__ == "__main__":
    e2e.main(test_reader_of_the_page, test_reader_of_the_page_counts_and_is_refused, test_client_of_the_page,
             test_worked_example)
