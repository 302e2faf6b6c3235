#!/usr/bin/env python3
"""Runs benches with this tree's build and with another's, in turns, and prints ratios.

Usage: tests/against.py FOLDER BENCH... [--rounds N]      e.g. tests/against.py ../before/target/release wakes diffs

FOLDER has the other build: hostd, pilothouse and pilothouse-guest-static, as `tests/run.sh build` leaves them in
target/release. Both are measured by this tree's benches, so that a figure means the same of both. What a bench runs in
its own process (in spine and snapshots) is this tree's code both times, which may not read what the other has built: it
says so, and ends. Each bench runs N times (default 3) with each build, one after the other; what counts of a figure is
the median of its runs.
"""

import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Seconds, bytes or bytes a second in one of a unit.
UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1, "KiB": 1 << 10, "MiB": 1 << 20, "MB/s": 1e6}
ROW = re.compile(r"^\s*(?P<label>\S.*?)\s{2,}(?P<number>[\d.]+) ?(?P<unit>ns|µs|ms|s|KiB|MiB|MB/s)(?!\S)")


def built(bench):
    """The bench's program, built."""
    command = ["cargo", "bench", "--locked", "--package", "tests", "--bench", bench, "--no-run", "--message-format=json"]
    ran = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    programs = [m["executable"] for m in found if m.get("executable") and m["target"]["name"] == bench]
    if not programs:
        sys.exit(f"against.py: cargo names no program for the bench {bench}")
    return pathlib.Path(programs[0])


def rows(program):
    """The figures that one run of a bench prints, by their labels, in order: their size and unit. Those below a heading have it
    in their label."""
    ran = subprocess.run([program, "--bench"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    figures, heading = {}, ""
    for line in filter(None, ran.stdout.splitlines()):
        if row := ROW.match(line):
            label = f"{heading}: {row['label']}" if line.startswith(" ") and heading else row["label"]
            figures[label] = (float(row["number"]) * UNITS[row["unit"]], row["unit"])
        else:
            heading = line.strip()
    return figures


def show(value, unit):
    return f"{value / UNITS[unit]:10.1f} {unit}"


def compare(bench, ours, theirs):
    print(f"\n{bench}: this build, the other, and this by the other (a rate: the other by this), below 1: this is better")
    for label, (_, unit) in ours[0].items():
        pairs = [[run[label][0] for run in runs if label in run] for runs in (ours, theirs)]
        if not all(pairs):
            continue
        this, other = map(statistics.median, pairs)
        ratio = other / this if unit == "MB/s" else this / other
        print(f"{label:75} {show(this, unit)} {show(other, unit)}   {ratio:5.2f} x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="folder of the other build's programs")
    parser.add_argument("bench", nargs="+", help="spine, snapshots, diffs or wakes")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each bench with each build (default 3)")
    asked = parser.parse_args()
    for name in ("hostd", "pilothouse", "pilothouse-guest-static"):
        if not (asked.folder / name).exists():
            sys.exit(f"against.py: {asked.folder / name} is not there; run `tests/run.sh build` in the other tree")
    (asked.folder / "deps").mkdir(exist_ok=True)
    for bench in asked.bench:
        ours = built(bench)
        # A bench looks for the programs beside the folder that it lies in.
        theirs = (asked.folder / "deps" / f"against-{bench}").resolve()
        shutil.copy2(ours, theirs)
        runs = ([], [])
        for number in range(asked.rounds):
            for program, figures in zip((ours, theirs), runs):
                print(f"{bench}: run {number + 1} of {asked.rounds} with {program.parent.parent}", file=sys.stderr)
                figures.append(rows(program))
        compare(bench, *runs)
        theirs.unlink()


main()
