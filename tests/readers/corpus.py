#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""corpus: what the readers made of files, judged against the files themselves by Python's json.

  corpus.py PROGRAM DIRECTORY json|tokio FILE...      exit 1 and say what is lost; 77 where there is no file
"""
import collections
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path


def in_form(frame):
    """What is not `function @ file:line:column` is a function of which no place is known, and is written so."""
    return frame if re.fullmatch(r".+ @ .+:\d+:\d+", frame) else frame + " @ (unknown):0:0"


def base(document):
    """The format's own members, by the true ids, with frames for stack numbers; in no order."""
    stacks = {stack["id"]: tuple(in_form(frame) for frame in stack["frames"]) for stack in document["stackTraces"]}
    true_id = {r["asyncId"]: r.get("id", r["asyncId"]) for r in document["resources"]}
    true_id[0] = 0
    resources = {}
    for r in document["resources"]:
        resources[true_id[r["asyncId"]]] = (
            true_id[r["triggerId"]], r["type"], stacks[r["stackTraceId"]], r["createdAt"], r["callbackStartedAt"],
            r["callbackEndedAt"], r["destroyedAt"])
    notes = collections.defaultdict(list)
    for a in document["annotations"]:
        notes[true_id[a["asyncId"]]].append((a["key"], a["value"]))
    return document["requestDurationNs"], resources, dict(notes)


def difference(a, b):
    out = []
    if a[0] != b[0]:
        out.append(f"requestDurationNs {a[0]} != {b[0]}")
    for what, left, right in (("resource", a[1], b[1]), ("annotations of", a[2], b[2])):
        for key in sorted(set(left) | set(right)):
            if left.get(key) != right.get(key):
                out.append(f"{what} {key}: {left.get(key)} != {right.get(key)}")
    return out


def run(program, what, source, target):
    subprocess.run([program, what, str(source), str(target)], check=True)
    return json.loads(target.read_text())


def check_json(program, directory, path):
    original = json.loads(path.read_text())
    once = run(program, "json", path, directory / (path.stem + ".once.json"))
    twice = run(program, "json-twice", path, directory / (path.stem + ".twice.json"))
    problems = difference(base(original), base(once))
    if once != twice:
        problems.append("what was written is not read back whole")
    return problems


def check_tokio(program, directory, path):
    text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
    plain = directory / "tokio.jsonl"
    plain.write_text(text)
    made = run(program, "tokio", plain, directory / "tokio.counts.json")
    tasks = collections.defaultdict(lambda: dict(created=0, destroyed=0, polls=0, busy=0, first=0, wakes=0, loc=""))
    lanes = collections.defaultdict(lambda: dict(polls=0, parks=0, tid=0))
    polling, since, ready = {}, {}, {}
    totals = collections.Counter()
    for line in text.splitlines():
        d = json.loads(line)
        t = d["timestamp_ns"]
        what = d["event"]
        worker = d.get("worker")
        lane = lanes[f"worker {worker}"] if worker is not None else None
        if lane is not None and "tid" in d:
            lane["tid"] = d["tid"]
        if what == "TaskSpawn":
            tasks[str(d["task_id"])].update(created=t, loc=d["spawn_loc"])
        elif what == "PollStart":
            task = tasks[str(d["task_id"])]
            polling[worker] = d["task_id"]
            since[worker] = t
            task["polls"] += 1
            task["first"] = task["first"] or t
            lane["polls"] += 1
            if d["task_id"] in ready:
                totals["delay"] += t - ready.pop(d["task_id"])
        elif what == "PollEnd" and worker in polling:
            tasks[str(polling.pop(worker))]["busy"] += t - since[worker]
        elif what == "WakeEvent":
            totals["wakes"] += 1
            ready.setdefault(d["woken_task_id"], t)
            tasks[str(d["woken_task_id"])]["wakes"] += 1
            if d["waker_task_id"]:
                tasks[str(d["waker_task_id"])]
        elif what == "TaskTerminate":
            tasks[str(d["task_id"])]["destroyed"] = t
        elif what == "WorkerPark":
            lane["parks"] += 1
        elif what == "CpuSample":
            totals["samples"] += 1
            totals["off"] += d["source"] == "SchedEvent"
            totals["frames"] += len(d["callchain"])
            totals["onTask"] += worker in polling
        elif what == "QueueSample":
            totals["queue"] += d["global_q"]
        elif what == "ClockSync":
            totals["clocks"] += 1
    problems = []
    for name, ours, theirs in (("task", made["resources"], tasks), ("lane", made["lanes"], lanes)):
        for key in sorted(set(ours) | set(theirs)):
            if ours.get(key) != dict(theirs.get(key, {})):
                problems.append(f"{name} {key}: {ours.get(key)} != {dict(theirs.get(key, {}))}")
    for key, value in totals.items():
        if made[key] != value:
            problems.append(f"{key}: {made[key]} != {value}")
    return problems


def main():
    program, directory, what = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    paths = [Path(p) for p in sys.argv[4:]]
    if not paths:
        return 77
    directory.mkdir(parents=True, exist_ok=True)
    bad = 0
    for path in paths:
        problems = (check_json if what == "json" else check_tokio)(program, directory, path)
        for problem in problems[:10]:
            print(f"{path.name}: {problem}")
        bad += len(problems)
    print(f"{len(paths)} files, {bad} problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
