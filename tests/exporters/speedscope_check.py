# SPDX-License-Identifier: MIT
"""speedscope_check.py: what speedscope reads in an export must be what stands in it.

    speedscope_check.py <node> <package speedscope> <folder with chrome.json and *.folded>
"""
import collections
import glob
import json
import os
import subprocess
import sys

node, package, folder = sys.argv[1:4]
problems = []


def speedscope(name):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "speedscope_import.js")
    done = subprocess.run([node, script, package, os.path.join(folder, name)], capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        problems.append(f"{name}: {done.stderr.strip()}")
        return None
    group = json.loads(done.stdout)
    if group["alerts"]:
        problems.append(f"{name}: speedscope warns: {group['alerts']}")
    return group


for file in sorted(glob.glob(os.path.join(folder, "*.folded"))):
    name = os.path.basename(file)
    expected, total = collections.Counter(), 0
    for line in open(file, encoding="utf-8", newline="\n"):
        where, value = line.rstrip("\n").rsplit(" ", 1)
        expected[where.split(";")[-1]] += int(value)
        total += int(value)
    if total == 0:
        continue
    group = speedscope(name)
    if group is None:
        continue
    (profile,) = group["profiles"]
    got = {frame: value for frame, value in profile["self"].items() if value}
    if profile["total"] != total or got != dict(expected):
        problems.append(f"{name}: speedscope has {profile['total']} and {got}; the file has {total} and {dict(expected)}")

# Complete events: the own time by name, on each thread, from the file by nesting whole nanoseconds.
expected = collections.defaultdict(collections.Counter)
chrome = json.load(open(os.path.join(folder, "chrome.json"), encoding="utf-8"))["traceEvents"]
threads = collections.defaultdict(list)
for event in chrome:
    if event["ph"] == "X":
        begin = round(event["ts"] * 1000)
        threads[event["tid"]].append((begin, -(begin + round(event["dur"] * 1000)), event["name"]))
for tid, slices in threads.items():
    open_ = []
    for begin, end, name in sorted(slices):
        while open_ and open_[-1][0] <= begin:
            open_.pop()
        expected[tid][name] += -end - begin
        if open_:
            expected[tid][open_[-1][1]] -= -end - begin
        open_.append((-end, name))
group = speedscope("chrome.json")
if group is not None:
    for profile in group["profiles"]:
        tid = int(profile["name"].split("tid ")[1].rstrip(")"))
        got = collections.Counter()
        for frame, value in profile["self"].items():
            got[frame.split(" {")[0]] += value  # it shows arguments as part of the name
        for name in set(got) | set(expected[tid]):
            # speedscope adds microseconds as doubles.
            if abs(got[name] * 1000 - expected[tid][name]) > 1:
                problems.append(f"chrome.json, thread {tid}: {name} has {got[name] * 1000:.3f} ns of its own, not {expected[tid][name]}")
    if len(group["profiles"]) != len(threads):
        problems.append(f"chrome.json: speedscope has {len(group['profiles'])} threads of {len(threads)}")

for problem in problems[:20]:
    print(problem)
sys.exit(1 if problems else 0)
