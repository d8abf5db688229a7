#!/usr/bin/env python3
"""Measures everything and writes bench/results/DATE-MACHINE.json (raw data) and .txt (tables).

Called by run.sh, which sees to it that the programs are there. A measurement that fails ends the program
with an error; one that cannot be made on this machine is reported with the reason.
"""
import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import peers  # noqa: E402  (found through the path above)
import report  # noqa: E402
import system  # noqa: E402

PARTS = ("micro", "spawn-rate", "additions", "blast", "curve", "delay", "idle", "peers")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: to try it out")
    parser.add_argument("--pairs", type=int, help="off/on pairs of each spawn rate (default 11)")
    parser.add_argument("--out", metavar="NAME", help="write results/NAME.json and .txt")
    parser.add_argument("--add", action="store_true",
                        help="keep what the file already has of the parts that are not measured now")
    return parser.parse_args()


# ---- the machine ------------------------------------------------------------------------------------------


def machine():
    """What matters for the figures, and nothing that names this machine."""
    with open("/proc/cpuinfo") as file:
        models = re.findall(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1])
    return {"cpu": models[0] if models else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "kernel": re.match(r"[0-9.]+", platform.release()).group(0),
            "memory_gib": round(memory / 1048576)}


def processor_ticks():
    with open("/proc/stat") as file:
        return [int(word) for word in file.readline().split()[1:9]]


def stolen(before, after):
    """The part of the time that was wanted and that the hypervisor gave to others."""
    user, nice, kernel, _, _, irq, softirq, steal = (b - a for a, b in zip(before, after))
    wanted = user + nice + kernel + irq + softirq + steal
    return steal / wanted if wanted else 0


def name_of(description, date):
    model = re.sub(r"\((R|TM|tm)\)|CPU|@.*", "", description["cpu"])
    model = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    return f"{date}-{model}-{description['cores']}cpu"


# ---- parts ------------------------------------------------------------------------------------------------


def run_program(name, *arguments):
    """Lines of JSON that a measuring program prints."""
    path = os.path.join(system.e2e.BUILD, "bench", name)
    if not os.path.exists(path):
        system.log(f"  {name}: not built, left out")
        return []
    result = subprocess.run([path, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def measure_micro(options):
    rounds = 5 if options.quick else 31
    return [*run_program("bench_queue", rounds), *run_program("bench_port", rounds),
            *run_program("bench_json", rounds), *run_program("bench_filter", rounds)]


def pairs_of(options):
    return options.pairs or (3 if options.quick else 11)


def seconds_of(options):
    return 0.5 if options.quick else 1.5


def measure_peers(options):
    found = []
    for peer in peers.PEERS.values():
        watcher = peer(system.canary)
        system.log(f" {watcher.name}")
        found.append(system.spawn_rate(watcher, max(3, pairs_of(options) * 2 // 3), seconds_of(options)))
        if "skipped" in found[-1]:
            system.log(f"  not measured: {found[-1]['skipped']}")
    return found


def measure(part, options, session):
    """{key of the results: what was measured}"""
    quick = options.quick
    if part == "micro":
        return {"micro": measure_micro(options)}
    if part == "peers":
        return {"peers": measure_peers(options)}
    reason = system.e2e.why_not_traceable()
    if reason is not None:
        system.log(f"  not measured: {reason}")
        return {}
    if part == "spawn-rate":
        return {"spawn_rate": system.spawn_rate(system.Ours(session), pairs_of(options),
                                                seconds_of(options))}
    if part == "additions":
        # Many short rounds: what is looked for is smaller than what comes and goes between two longer ones.
        return {"additions": system.additions(session, 3 * pairs_of(options), seconds_of(options) / 3)}
    if part == "blast":
        return {"blast": [system.blast(session, 5000 if quick else 50000)
                          for _ in range(2 if quick else 5)]}
    if part == "curve":
        return {"curve": system.curve(session, 1 if quick else 4)}
    if part == "delay":
        return {"delay_apart": system.delay_apart(session, 60 if quick else 450),
                "delay_loaded": system.delay_loaded(session, 20000 if quick else 350000)}
    return {"idle": system.idle(session, 3 if quick else 10)}


def measure_parts(wanted, options, results):
    session = system.e2e.Session()
    results["file_system"] = system.file_system_of(session.directory)
    try:
        for part in wanted:
            system.log(part)
            ticks, load = processor_ticks(), system.load_average()
            results.update(measure(part, options, session))
            results["conditions"][part] = {"load_begin": load, "load_end": system.load_average(),
                                           "stolen": stolen(ticks, processor_ticks())}
    finally:
        session.close(False)


def main():
    options = parse_arguments()
    description = machine()
    date = datetime.date.today().isoformat()
    with open(os.path.join(HERE, "../include/winvirtue/version.h")) as file:
        version = re.search(r'WVU_VERSION "(.*)"', file.read()).group(1)
    directory = os.path.join(HERE, "results")
    os.makedirs(directory, exist_ok=True)
    base = os.path.join(directory, options.out or name_of(description, date))
    results = {"conditions": {}}
    if options.add:
        with open(base + ".json") as file:
            results = json.load(file)
    results.update(date=date, version=version, machine=description)

    # In the order of PARTS: the peers last, because what auditd leaves behind must not touch our figures.
    wanted = [part for part in PARTS if options.only is None or part in options.only]
    measure_parts(wanted, options, results)

    text = report.report(results)
    with open(base + ".json", "w") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    with open(base + ".txt", "w") as file:
        file.write(text)
    print(text)
    system.log(f"written to {os.path.relpath(base)}.json and .txt")


if __name__ == "__main__":
    main()
