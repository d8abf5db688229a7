#!/usr/bin/env python3
"""Results as tables.

    python3 bench/report.py bench/results/NAME.json                             print them
    python3 bench/report.py bench/results/NAME.json --into docs/performance.md  replace those of a page

measure.py writes the raw data; this makes the text beside it. A figure is "met" or "missed" by its median;
nothing is rounded in favour of either.
"""
import argparse
import json
import statistics
import sys


def median(samples):
    return statistics.median(samples)


def spread(samples, digits=1):
    return f"{median(samples):.{digits}f} [{min(samples):.{digits}f} - {max(samples):.{digits}f}]"


class Table:
    """Columns as wide as they must be; also valid Markdown."""

    def __init__(self, *heads):
        self.rows = [heads]

    def add(self, *cells):
        self.rows.append(tuple(str(cell) for cell in cells))

    def __str__(self):
        widths = [max(len(row[i]) for row in self.rows) for i in range(len(self.rows[0]))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
                 for row in self.rows]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join(lines)


# ---- figures with a target ------------------------------------------------------------------------------------


def micro(results, name, variant):
    for entry in results.get("micro", []):
        if entry["name"] == name and entry["variant"] == variant:
            return entry["samples"]
    return None


def pair_ratios(pairs):
    return [pair["on"] / pair["off"] for pair in pairs]


def ratio_of_medians(pairs):
    return median([pair["on"] for pair in pairs]) / median([pair["off"] for pair in pairs])


def all_watchers(results):
    return [entry for entry in [results.get("spawn_rate"), *results.get("peers", [])] if entry]


def watchers(results):
    return [entry for entry in all_watchers(results) if "pairs" in entry]


def ours(results):
    return results.get("spawn_rate", {}).get("pairs", {})


def figures(results):
    """[(what, target, measured as text, met)] of everything that was measured."""
    rows = []

    def add(what, target, value, text, at_most):
        met = value <= target if at_most else value >= target
        sign = "at most" if at_most else "at least"
        rows.append((what, f"{sign} {target:g}", text, "met" if met else "missed"))

    for load, target in (("tiny P=1", 0.93), ("tiny P=2", 0.90), ("tinydyn P=2", 0.97)):
        pairs = ours(results).get(load)
        if pairs:
            ratios = pair_ratios(pairs)
            add(f"spawn rate with / without, {load}", target, ratio_of_medians(pairs),
                f"{ratio_of_medians(pairs):.3f} (pairs: {spread(ratios, 2)})", False)
    blasts = results.get("blast", [])
    if blasts:
        costs = [blast["ms_per_1000"] for blast in blasts]
        add("processor time for 1000 events, blast (ms)", 1.5, median(costs), spread(costs, 2), True)
        problems = sum(sum(blast["problems"].values()) for blast in blasts)
        count = sum(blast["processes"] for blast in blasts)
        rates = [blast["rate"] for blast in blasts]
        add("wrong or missing of a blast's processes", 0, problems,
            f"{problems} of {count} at {min(rates):.0f} to {max(rates):.0f} a second", True)
    apart = results.get("delay_apart")
    if apart:
        for name in ("Exec", "ProcessDestroy"):
            entry = apart["classes"][name]
            add(f"delay, far apart, {name}, median (us)", 1000, entry["p50"],
                f"{entry['p50']:.0f} (p99 {entry['p99']:.0f}, {entry['count']} events)", True)
    loaded = results.get("delay_loaded")
    if loaded:
        for name in ("Exec", "ProcessDestroy", "ImageLoad"):
            entry = loaded["classes"][name]
            add(f"delay, blast, {name}, p99 (us)", 25000, entry["p99"],
                f"{entry['p99']:.0f} (median {entry['p50']:.0f}, p99.9 {entry['p999']:.0f}, "
                f"{entry['count']} events)", True)
        add("resident memory of wvud after these events (KiB)", 24 * 1024, loaded["rss_after_kib"],
            f"{loaded['rss_after_kib']} (at start {loaded['rss_before_kib']})", True)
    for variant, target, what in (("dispatcher", 100, "across two CPUs, through the dispatcher"),
                                  ("two-threads", 100, "across two CPUs, polled"),
                                  ("one-thread", 25, "one thread")):
        samples = micro(results, "winvirtue queue", variant)
        if samples:
            add(f"queue, 256-byte record, {what} (ns)", target, median(samples), spread(samples), True)
    samples = micro(results, "winvirtue port", "two-processes")
    if samples:
        add("port, acknowledged 256-byte records a second", 1e6, median(samples), spread(samples, 0), False)
    samples = micro(results, "winvirtue", "process create")
    if samples:
        add("JSON of a process create of 300 bytes (ns)", 150, median(samples), spread(samples), True)
    samples = micro(results, "winvirtue filter", "100 rules")
    if samples:
        add("filter, 100 rules, one judgement (ns)", 1000, median(samples), spread(samples), True)
    idle = results.get("idle")
    if idle:
        rows.append((f"runs of wvud + ntfltmgr in {idle['seconds']} quiet seconds", "0 for 0 events",
                     f"{idle['wvud'] + idle['ntfltmgr']} for {idle['events']} events", "-"))
    return rows


# ---- tables ------------------------------------------------------------------------------------------------------


def table_of_watchers(results):
    table = Table("watcher", "tiny P=1", "tiny P=2", "tinydyn P=2", "us of its own a process (tiny P=2)")
    for entry in all_watchers(results):
        if "pairs" not in entry:
            table.add(entry["watcher"], f"not measured: {' '.join(entry['skipped'].split())[-150:]}",
                      "", "", "")
            continue
        cells = []
        for load in ("tiny P=1", "tiny P=2", "tinydyn P=2"):
            pairs = entry["pairs"][load]
            ratios = pair_ratios(pairs)
            cells.append(f"{ratio_of_medians(pairs):.2f} [{min(ratios):.2f} - {max(ratios):.2f}]")
        cost = median([pair["cpu"] / pair["count"] * 1e6 for pair in entry["pairs"]["tiny P=2"]])
        table.add(entry["watcher"], *cells, f"{cost:.1f}")
    return table


def table_of_additions(results):
    table = Table("load", "what is on", "spawn rate with / without", "us of its own a process")
    for load, rounds in results.get("additions", {}).items():
        for what, name in (("stopped", "what works in the kernel, alone"),
                           ("least", "probes for processes and images"), ("all", "all probes, 100 rules")):
            if what not in rounds[0]:  # results of before that was measured
                continue
            ratios = [entry[what] / entry["off"] for entry in rounds]
            costs = [entry[what + "_cpu"] / entry["count"] * 1e6 for entry in rounds]
            ratio = median([entry[what] for entry in rounds]) / median([entry["off"] for entry in rounds])
            table.add(load, name, f"{ratio:.3f} (rounds: {spread(ratios, 2)})",
                      "-" if what == "stopped" else spread(costs))
    return table


def table_of_micro(results):
    table = Table("what", "how", "median [least - most]", "unit")
    for entry in results.get("micro", []):
        table.add(entry["name"], entry["variant"],
                  spread(entry["samples"], 0 if median(entry["samples"]) > 10000 else 1), entry["unit"])
    return table


def table_of_curve(results):
    table = Table("processes/s", "events/s", "ms for 1000 events", "wvud", "ntfltmgr", "lost or wrong")
    for point in results.get("curve", []):
        events = point["events"] * point["rate"] / point["processes"]
        table.add(f"{point['rate']:.0f}", f"{events:.0f}", f"{point['ms_per_1000']:.2f}",
                  f"{point['wvud_s'] * 1e6 / point['events']:.2f}",
                  f"{point['ntfltmgr_s'] * 1e6 / point['events']:.2f}",
                  sum(point["problems"].values()))
    return table


def table_of_delays(results):
    table = Table("when", "event", "events", "median (us)", "p90", "p99", "p99.9", "most")
    for key, name in (("delay_apart", "far apart"), ("delay_loaded", "blast")):
        for entry in results.get(key, {}).get("classes", {}).values():
            table.add(name, entry["name"], entry["count"],
                      *(f"{entry[quantile]:.0f}" for quantile in ("p50", "p90", "p99", "p999", "max")))
    return table


def conditions(results):
    table = Table("part", "load average before", "after", "stolen by the hypervisor")
    for part, state in results["conditions"].items():
        table.add(part, f"{state['load_begin']:.2f}", f"{state['load_end']:.2f}", f"{state['stolen']:.1%}")
    return table


def report(results):
    machine = results["machine"]
    table = Table("figure", "target", "measured", "")
    for row in figures(results):
        table.add(*row)
    sections = [
        (f"{machine['cpu']}, {machine['cores']} processors, Linux {machine['kernel']}, "
         f"{machine['memory_gib']} GiB; {results['date']}; WinVirtUE {results['version']}; JSON written to "
         f"{results.get('file_system', '-')}.", table)]
    if all_watchers(results):
        sections.append(("Spawn rate with / without, ratio of medians [each pair]:", table_of_watchers(results)))
    if "additions" in results:
        sections.append(("What its parts cost, in the same interleaved rounds:",
                         table_of_additions(results)))
    if "curve" in results:
        sections.append(("Processor time and losses at fixed rates:", table_of_curve(results)))
    if "delay_apart" in results:
        sections.append(("From the kernel's time of an event to its line at the reader's standard output:",
                         table_of_delays(results)))
    if "micro" in results:
        sections.append(("One thing at a time, all in the same interleaved rounds:", table_of_micro(results)))
    sections.append(("How quiet the machine was:", conditions(results)))
    return "\n".join(f"{head}\n\n{body}\n" for head, body in sections)


# ---- the page ----------------------------------------------------------------------------------------------------

BEGIN = "<!-- from here to the end mark: python3 bench/report.py RESULTS --into docs/performance.md -->\n"
END = "<!-- end of results -->\n"


def put_into(path, text):
    with open(path) as file:
        page = file.read()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{path}: the marks around the results are not there")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    with open(path, "w") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description="Prints results as tables.")
    parser.add_argument("results", help="bench/results/NAME.json")
    parser.add_argument("--into", metavar="PAGE", help="replace the tables of this page")
    options = parser.parse_args()
    with open(options.results) as source:
        text = report(json.load(source))
    if options.into:
        put_into(options.into, text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
