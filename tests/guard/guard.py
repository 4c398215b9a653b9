#!/usr/bin/env python3
"""Counts the instructions of the data path and compares them with tests/guard/baseline.json.

    tests/guard/guard.py build/release/guard/path [--update] [--profile SCRIPT [--inclusive]]

Seconds depend on the machine and on what else runs; instructions hardly do, so a change that makes the path dearer is
seen on any machine. Fails when a script's count is more than 10 % above its baseline. Another compiler, or other
libraries, give other counts: a baseline is kept for each (gcc's and libwebsockets' versions), and without one the
counts are printed and nothing is judged. --update writes the counts as the baseline: for a change that is worth its
price, and for one that made the path cheaper, so that it stays so. --profile prints where a script's instructions go.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

SCRIPTS = {
    "pair": "message of a pair, answered and delivered",
    "group100": "delivery in a group of 100",
    "group1000": "delivery in a group of 1,000",
    "receipt": "receipt in a pair",
    "history": "newest page of 50",
    "page": "older page of 50, from a table",
}
ALLOWED = 1.10
BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.json")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def environment(path):
    comment = output("readelf", "-p", ".comment", path)
    gcc = re.search(r"GCC: .*?(\d+)\.\d+", comment)
    lws = output("dpkg-query", "-W", "-f", "${Version}", "libwebsockets-dev")
    return f"gcc {gcc.group(1) if gcc else 'unknown'}, libwebsockets {lws.split('-')[0]}, {os.uname().machine}"


def count(path, script, out):
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=counted_turn",
         f"--callgrind-out-file={out}", path, script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=900)
    if run.returncode != 0:
        sys.exit(f"guard: {script} failed:\n{run.stdout}{run.stderr}")
    operations = int(run.stdout.split()[1])
    return int(re.search(r"Collected : (\d+)", run.stderr).group(1)) / operations


def main():
    args = argparse.ArgumentParser()
    args.add_argument("path")
    args.add_argument("--update", action="store_true")
    args.add_argument("--profile", choices=SCRIPTS)
    args.add_argument("--inclusive", action="store_true")
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        if args.profile:
            print(f"{count(args.path, args.profile, out):,.0f} instructions each")
            subprocess.run(["callgrind_annotate", f"--inclusive={'yes' if args.inclusive else 'no'}", out], check=True)
            return 0
        counts = {s: round(count(args.path, s, out)) for s in SCRIPTS}
    with open(BASELINE, encoding="utf-8") as f:
        baselines = json.load(f)
    where = environment(args.path)
    known = baselines.get(where, {})
    failed = 0
    print(f"instructions, {where}")
    for script, what in SCRIPTS.items():
        base = known.get(script)
        ratio = counts[script] / base if base else None
        verdict = "no baseline" if not base else "ok" if ratio <= ALLOWED else "DEARER"
        failed += verdict == "DEARER"
        print(f"  {what:44} {counts[script]:>9,}  " + (f"{ratio:6.3f} of {base:,}  " if base else "") + verdict)
    if args.update:
        baselines[where] = counts
        with open(BASELINE, "w", encoding="utf-8") as f:
            json.dump(baselines, f, indent=2, sort_keys=True)
            f.write("\n")
        print("written as the baseline")
        return 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
