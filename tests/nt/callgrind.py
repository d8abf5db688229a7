#!/usr/bin/env python3
"""What an event costs in the Windows driver, in instructions, counted by callgrind.

    callgrind.py NT-HARNESS DRIVER.sys [SCENARIO]

A second opinion on the scenarios "cost" and "registry-cost", which count with the processor's single-step trap.
Runs the scenario "creates" (or "registry-sets") twice, with N and 2 N events, and divides the difference: so loading and unloading do not count.
"""
import os
import re
import subprocess
import sys
import tempfile

EVENTS = 500


def count(harness, driver, scenario, events, directory):
    """Instructions in the driver's image and in everything, for one run."""
    out = os.path.join(directory, f"callgrind.{events}")
    run = subprocess.run(["valgrind", "--tool=callgrind", "--dump-instr=yes",
                          "--compress-pos=no", f"--callgrind-out-file={out}", harness, "--scale", str(events),
                          driver, scenario], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    found = re.search(r"^image (0x[0-9a-f]+) to (0x[0-9a-f]+)$", run.stdout, re.M)
    if run.returncode != 0 or not found:
        sys.exit(f"{run.stdout}{run.stderr}")
    begin, end = (int(address, 16) for address in found.groups())
    inside, total, called = 0, 0, False
    with open(out) as file:
        for line in file:
            if line.startswith("calls="):
                called = True  # the next line is the cost of what was called
            elif line.startswith("0x"):
                address, _, cost = (line.split() + ["0"])[:3]
                if not called:
                    total += int(cost)
                    inside += int(cost) if begin <= int(address, 16) < end else 0
                called = False
    return inside, total


def main():
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="winvirtue-callgrind-") as directory:
        scenario = (sys.argv[3:] or ["creates"])[0]
        few = count(sys.argv[1], sys.argv[2], scenario, EVENTS, directory)
        many = count(sys.argv[1], sys.argv[2], scenario, 2 * EVENTS, directory)
    driver, total = ((b - a) / EVENTS for a, b in zip(few, many))
    print(f"{scenario}: one costs {driver:.0f} instructions in the driver, {total:.0f} with the stand-in kernel's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
