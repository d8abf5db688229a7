#!/usr/bin/env python3
"""docs/operations.md is true: its commands, given to a live sensor in the order of the page, answer in the shape
that the page shows. Numbers, times, units and paths of the run directory may differ; `...` on the page stands for any
lines; how lines are broken and how wide columns are does not matter."""
import os
import re
import subprocess

import e2e

PAGE = os.path.join(e2e.HERE, "../../docs/operations.md")
END = "--- the next command ---"

DURATION = r"(?:\d+ (?:days|h|min|s) ?)+"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
# What on the page is an example of what: the first that fits, from left to right.
KINDS = [(TIME + "|never", f"(?:{TIME}|never)"),
         (DURATION + "ago", DURATION + "ago"),
         (r"0x[0-9a-f]{16}", "0x[0-9a-f]{16}"),
         (r"RunDir=\S+", r"RunDir=\S+"),
         (r"all=info", r"\S.*=info"),  # or each module for itself
         (r"[\d.]+ (?:bytes|[KMGT]iB)", r"[\d.]+ (?:bytes|[KMGT]iB)"),
         (r"(?<![\w.])\d+(?:\.\d+)?", r"\d+(?:\.\d+)?")]


def text_of_page():
    with open(PAGE, encoding="utf-8") as file:
        return file.read()


def files(text):
    return re.findall(r"^<!-- file (\S+) -->\n```\w+\n(.*?)^```$", text, re.M | re.S)


def commands(text):
    """[(command, what the page says it prints)]."""
    found = []
    for block in re.findall(r"^<!-- run -->\n```console\n(.*?)^```$", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def unfolded(text):
    """Lines that go on are one line, and blanks are one blank."""
    return re.sub(r" +", " ", re.sub(r"\n +", " ", text))


def pattern_of_line(line):
    if line == "...":
        return r"(?:.*\n)*?"
    if line.startswith("from "):  # of a histogram, which has the lines that it needs
        return r"(?:from .*\n)*"
    whole = re.compile("|".join(f"(?P<k{n}>{kind})" for n, (kind, _) in enumerate(KINDS)))
    pattern, at = "", 0
    for match in whole.finditer(line):
        pattern += re.escape(line[at:match.start()]) + KINDS[int(match.lastgroup[1:])][1]
        at = match.end()
    return pattern + re.escape(line[at:]) + r"\n"


def pattern_of(output):
    return "".join(pattern_of_line(line) for line in unfolded(output).splitlines())


def make_tools(directory, sensor):
    """Programs of the page's names that ask this sensor, unless they are told another."""
    os.mkdir(directory)
    for name in ("wvuctl", "ntfltmgr"):
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec "{e2e.BUILD}/tools/{name}" --run-dir "{sensor.run_dir}" "$@"\n')
        os.chmod(path, 0o755)


def run_all(session, given):
    """What each command prints, standard error included."""
    script = "exec 2>&1\n" + "".join(f"{command}\necho '{END}'\n" for command, _ in given)
    folder = os.path.join(session.directory, "folder")
    os.mkdir(folder)
    for name, text in files(text_of_page()):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    environment = {**os.environ, "PATH": os.path.join(session.directory, "tools") + ":" + os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, stdout=subprocess.PIPE,
                          timeout=e2e.PATIENCE, text=True, check=False)
    outputs = done.stdout.split(END + "\n")
    e2e.equal(len(outputs), len(given) + 1, "the number of commands that were run")
    return outputs[:-1]


def test_the_page_shows_what_a_sensor_answers(session):
    sensor = session.sensor()
    reader = session.reader(sensor)
    session.mark(reader)
    make_tools(os.path.join(session.directory, "tools"), sensor)
    given = commands(text_of_page())
    e2e.check(len(given) >= 30, f"the page has only {len(given)} commands")
    for (command, expected), output in zip(given, run_all(session, given)):
        e2e.check(re.fullmatch(pattern_of(expected), unfolded(output)) is not None,
                  f"$ {command}\nthe page says\n{expected}\nthe sensor says\n{output}")
    reader.stop()
    sensor.stop()


def test_the_page_has_every_command_and_counter(session):
    del session
    text = text_of_page()
    tool = subprocess.run([os.path.join(e2e.BUILD, "tools/wvuctl"), "--help"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    names = re.findall(r"^  (\w+) ", tool.split("Commands\n")[1].split("\n\n")[0], re.M)
    e2e.check(len(names) >= 13, f"commands in the help: {names}")
    shown = " ".join(command for command, _ in commands(text))
    e2e.equal([name for name in names if f"wvuctl {name}" not in shown], [], "commands that the page does not show")
    counters = re.search(r"^COUNTER.*?\n(.*?)^$", text, re.M | re.S)[1]
    explained = "".join(line for line in text.splitlines(True) if line.startswith("| "))
    e2e.equal([line.split()[0] for line in counters.splitlines()
               if line.split()[0] != "UptimeNs" and not re.search(rf"\b{line.split()[0]}\b", explained)], [],
              "counters that no table explains")


if __name__ == "__main__":
    e2e.main(test_the_page_shows_what_a_sensor_answers, test_the_page_has_every_command_and_counter)
