#!/usr/bin/env python3
"""Draws the plots of docs/performance.md from a file of raw data.

    python3 bench/plot.py bench/results/NAME.json docs

writes docs/performance-spawn.svg (what is left of the spawn rate under each watcher) and
docs/performance-curve.svg (processor time an event at fixed rates).
"""
import json
import math
import os
import sys

import report

FONT = 'font-family="sans-serif" font-size="13"'
COLOURS = ("#2b6cb0", "#68a3d9", "#b9d4ee")
GRID = "#dddddd"
INK = "#222222"
LOADS = (("tiny P=1", 0.93, "static program, 1 worker"), ("tiny P=2", 0.90, "static program, 2 workers"),
         ("tinydyn P=2", 0.97, "libc program, 2 workers"))


class Drawing:
    def __init__(self, width, height):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                      f'width="{width}" height="{height}" {FONT} fill="{INK}">',
                      f'<rect width="{width}" height="{height}" fill="white"/>']

    def line(self, x1, y1, x2, y2, colour=INK, width=1.0, dash=None):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="{colour}" stroke-width="{width}"{dashes}/>')

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                          f'fill="{colour}"/>')

    def dot(self, x, y, colour):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')

    def text(self, x, y, text, anchor="middle", size=13):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                          f'font-size="{size}">{text}</text>')

    def path(self, points, colour):
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="2"/>')

    def write(self, path):
        with open(path, "w") as file:
            file.write("\n".join(self.parts) + "\n</svg>\n")


def draw_spawn(results, path):
    entries = report.watchers(results)
    group, left, top, height = 138, 60, 60, 260
    drawing = Drawing(left + group * len(entries) + 20, top + height + 60)
    most = 1.2

    def y_of(ratio):
        return top + height * (1 - min(ratio, most) / most)

    drawing.text(left, 22, "Spawn rate with the watcher, as a part of the rate without", "start", 15)
    for index, (_, _, label) in enumerate(LOADS):
        drawing.box(left + index * 200, 32, 12, 12, COLOURS[index])
        drawing.text(left + index * 200 + 18, 43, label, "start", 12)
    for tick in range(0, 13, 2):
        drawing.line(left, y_of(tick / 10), left + group * len(entries), y_of(tick / 10), GRID)
        drawing.text(left - 8, y_of(tick / 10) + 4, f"{tick / 10:.1f}", "end")
    drawing.line(left, y_of(1), left + group * len(entries), y_of(1), INK, 1, "4 3")
    for number, entry in enumerate(entries):
        for index, (load, target, _) in enumerate(LOADS):
            pairs = entry["pairs"][load]
            ratios = report.pair_ratios(pairs)
            x = left + number * group + 15 + index * 36
            ratio = report.ratio_of_medians(pairs)
            drawing.box(x, y_of(ratio), 30, y_of(0) - y_of(ratio), COLOURS[index])
            drawing.line(x + 15, y_of(min(ratios)), x + 15, y_of(max(ratios)), INK)
            drawing.text(x + 15, y_of(0) - 6, f"{ratio:.2f}", size=11)
            if entry["watcher"] == "winvirtue":
                drawing.line(x - 2, y_of(target), x + 32, y_of(target), "#c53030", 2)
        drawing.text(left + number * group + group / 2, top + height + 20, entry["watcher"].split(" (")[0])
    drawing.text(left, top + height + 45, "Bars: ratio of medians. Thin lines: the least and the most of the "
                 "pairs. Red: the target.", "start", 11)
    drawing.write(path)


def draw_curve(results, path):
    points = sorted((point["rate"], point) for point in results["curve"])
    left, top, width, height = 70, 50, 560, 260
    drawing = Drawing(left + width + 40, top + height + 60)
    least = math.log10(min(100, points[0][0]))
    most = math.log10(max(20000, points[-1][0]))
    highest = max(10.0, math.ceil(max(point["ms_per_1000"] for _, point in points)))

    def place(rate, value):
        return (left + width * (math.log10(rate) - least) / (most - least),
                top + height * (1 - value / highest))

    drawing.text(left, 22, "Processor time of wvud and ntfltmgr, milliseconds for 1000 events", "start", 15)
    for tick in range(6):
        value = highest * tick / 5
        drawing.line(left, place(100, value)[1], left + width, place(100, value)[1], GRID)
        drawing.text(left - 8, place(100, value)[1] + 4, f"{value:.0f}", "end")
    for rate in (100, 200, 500, 1000, 2000, 5000, 10000, 20000):
        x = place(rate, 0)[0]
        drawing.line(x, top, x, top + height, GRID)
        drawing.text(x, top + height + 18, f"{rate}")
    drawing.line(left, place(100, 1.5)[1], left + width, place(100, 1.5)[1], "#c53030", 1.5, "6 4")
    drawing.text(left + 6, place(100, 1.5)[1] - 5, "target at the blast: 1.5", "start", 11)
    for key, colour, label in (("wvud_s", COLOURS[1], "wvud"), ("ntfltmgr_s", "#718096", "ntfltmgr"),
                               (None, COLOURS[0], "both")):
        where = [place(rate, point["ms_per_1000"] if key is None else point[key] * 1e6 / point["events"])
                 for rate, point in points]
        drawing.path(where, colour)
        for x, y in where:
            drawing.dot(x, y, colour)
        drawing.text(where[0][0] + 10, where[0][1] - 8, label, "start", 12)
    lost = sum(sum(point["problems"].values()) for _, point in points)
    drawing.text(left + width / 2, top + height + 42, "processes a second (each about three events); "
                 f"events lost or wrong, all rates together: {lost}", size=12)
    drawing.write(path)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: plot.py RESULTS.json DIRECTORY")
    with open(sys.argv[1]) as file:
        results = json.load(file)
    if report.watchers(results):
        draw_spawn(results, os.path.join(sys.argv[2], "performance-spawn.svg"))
    if results.get("curve"):
        draw_curve(results, os.path.join(sys.argv[2], "performance-curve.svg"))


if __name__ == "__main__":
    main()
