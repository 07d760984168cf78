#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The oracle of the random programs: what the log of events says must be what trace.pftrace and request-*.json say.

  check_events.py DIRECTORY

DIRECTORY holds events.jsonl (random_trace.hpp), trace.pftrace and request-<n>.json. The rules here are those of
docs/formats.md, applied to the events directly; nothing of the encoders is used.
"""
import glob
import json
import os
import sys
from collections import Counter, defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import check_trace  # noqa: E402

(PAYLOAD, CREATED, SCHEDULED, ENTERED, EXITED, SETTLED, DESTROYED, LINKED, ANNOTATED, COUNTER, PARKED, UNPARKED, PAUSE_BEGAN,
 PAUSE_ENDED, FINISHED, LOST, SEALED) = range(17)
ACTORS = ["unknown", "invocation", "external"]
CAUSES = [None, "created", "settled", "scheduled", "external"]
OUTCOMES = ["unknown", "fulfilled", "rejected", "cancelled", "resolved"]
LINKS = ["awaits", "bridge"]
TYPES = {0: "root", 1: "js-promise", 2: "kj-promise", 3: "kj-to-js", 4: "js-to-kj", 5: "fetch", 256: "query"}
RUNS_ONCE = {"js-promise", "microtask"}
REASONS = ["finished", "grace", "abandoned", "session-ended"]


def replay(path):
    resources = {}
    sealed = {}
    counts = Counter()
    with open(path, encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    for e in events:
        kind = e["kind"]
        counts[kind] += 1
        if kind == SEALED:
            sealed[e["root"]] = (e["time"], REASONS[e["flags"]])
        if kind in (COUNTER, PARKED, UNPARKED, PAUSE_BEGAN, PAUSE_ENDED, LOST, SEALED):
            continue
        r = resources.setdefault(e["resource"], {
            "root": e["root"] or None, "type": None, "created": None, "trigger": None, "settled": None, "resolved": None,
            "destroyed": None, "finished": None, "invocations": [], "scheduled": Counter(), "annotations": Counter(),
            "links": Counter(), "running": 0, "ran": False, "stacked": None})
        t, lane = e["time"], e["lane"]
        if kind == CREATED:
            r.update(created=t, type=TYPES[e["type"]], trigger=e["other"] or None, stacked=e["stack"] != 0)
        elif kind == SCHEDULED:
            r["scheduled"][(t, ACTORS[e["flags"]], e["other"] or None, lane)] += 1
        elif kind == ENTERED:
            early = [i for i in r["invocations"] if i["start"] is None and i["end"] >= t] if e["late"] else []
            if early:
                i = min(early, key=lambda i: i["end"])
                if i["lane"] != lane:
                    i["exitLane"] = i["lane"]
            else:
                i = {"end": None, "exitLane": None}
                r["invocations"].append(i)
                r["running"] += 1
            i.update(lane=lane, start=t, cause=CAUSES[e["flags"]], causeBy=e["other"] or None)
        elif kind == EXITED:
            running = [i for i in r["invocations"] if i["end"] is None and i["start"] is not None]
            here = [i for i in running if i["lane"] == lane]
            r["ran"] = True
            if running:
                i = (here or running)[-1]
                i["end"] = t
                r["running"] -= 1
                if i["lane"] != lane:
                    i["exitLane"] = lane
            else:
                r["invocations"].append({"lane": lane, "start": None, "end": t, "exitLane": None, "cause": None,
                                         "causeBy": None})
        elif kind == SETTLED:
            outcome = OUTCOMES[e["flags"] & 15]
            which = "resolved" if outcome == "resolved" else "settled"
            if r[which] is None or t < r[which]["at"]:
                r[which] = {"at": t, "outcome": outcome, "by": ACTORS[e["flags"] >> 4], "settler": e["other"] or None,
                            "lane": lane}
        elif kind == DESTROYED:
            r["destroyed"] = t if r["destroyed"] is None else min(t, r["destroyed"])
        elif kind == FINISHED:
            r["finished"] = t if r["finished"] is None else min(t, r["finished"])
        elif kind == LINKED:
            r["links"][(LINKS[e["flags"]], e["resource"], e["other"] or None, t, lane)] += 1
        elif kind == ANNOTATED:
            value = e["value"]
            value = [str, check_trace.Int, int, float, bool][e["valueKind"]](value)
            r["annotations"][(e["key"], check_trace.value_key(value), e["cut"])] += 1
    for r in resources.values():
        r["open"] = not (r["running"] == 0 and (
            r["settled"] or r["destroyed"] or r["finished"] or
            (r["created"] is not None and r["ran"] and not r["resolved"] and r["type"] in RUNS_ONCE)))
    return resources, sealed, counts, events


def told_by_trace(model, errors):
    out = {}
    for rid, t in model.resources.items():
        out[rid] = {"root": t["root"], "type": t["type"], "created": t["created"], "trigger": t["trigger"],
                    "settled": t["settled"], "resolved": t["resolved"], "destroyed": t["destroyed"],
                    "finished": t["finished"], "links": Counter(t["links"]),
                    "invocations": Counter((i["lane"], i["start"], i["end"], i["exitLane"], i["cause"], i["causeBy"])
                                           for i in t["invocations"]),
                    "scheduled": Counter((w["at"], w["by"], w["waker"], w["lane"]) for w in t["scheduled"]),
                    "annotations": Counter((k, check_trace.value_key(v), c) for k, v, c in t["annotations"]),
                    "open": t["open"] if t["has_slice"] else None, "stacked": t["stack"] is not None}
    return out


def main():
    directory = sys.argv[1]
    expected, sealed, counts, events = replay(os.path.join(directory, "events.jsonl"))
    with open(os.path.join(directory, "trace.pftrace"), "rb") as file:
        trace = check_trace.Trace(file.read(), False)
    trace.structure()
    model = check_trace.Model(trace)
    model.check()
    errors = trace.errors

    told = told_by_trace(model, errors)
    for rid, want in sorted(expected.items()):
        have = told.get(rid)
        if have is None:
            errors.append(f"resource {rid} is not in the trace")
            continue
        for what in ("root", "type", "created", "trigger", "settled", "resolved", "destroyed", "finished", "links",
                     "scheduled", "annotations"):
            if have[what] != want[what]:
                errors.append(f"resource {rid} ({want['type']}): {what}: the trace says {have[what]}, the events {want[what]}")
        invocations = Counter((i["lane"], i["start"], i["end"], i["exitLane"], i["cause"], i["causeBy"])
                              for i in want["invocations"])
        if have["invocations"] != invocations:
            errors.append(f"resource {rid}: invocations: the trace says {have['invocations'] - invocations}, the events "
                          f"{invocations - have['invocations']}")
        if want["created"] is not None and have["stacked"] != want["stacked"]:
            errors.append(f"resource {rid}: stack")
        # The trace may take for ended what the events leave open: where an exit was lost, and a promise that had run and
        # is resolved much later (no real one is). Never the other way round.
        if have["open"] is not None and have["open"] != want["open"]:
            excused = want["running"] != 0 or (want["type"] in RUNS_ONCE and want["ran"])
            if have["open"] or not excused:
                errors.append(f"resource {rid}: open: the trace says {have['open']}, the events {want['open']}")
    for rid in set(told) - set(expected):
        errors.append(f"resource {rid} is in the trace only")
    for root, what in sealed.items():
        have = model.sealed.get(root)
        if have is None or have[:2] != what:
            errors.append(f"root {root}: sealed {have}, the events say {what}")

    # Slices of the picture, counted.
    pauses = counts[PAUSE_BEGAN]
    parts = [s for s in trace.slices if s.category == "pause" and (s.note("thence.part") or 0) == 0]
    if len(parts) != pauses:
        errors.append(f"{len(parts)} pauses, the events have {pauses}")
    if trace.counters != counts[COUNTER]:
        errors.append(f"{trace.counters} counter values, the events have {counts[COUNTER]}")
    lost = Counter()
    for e in events:
        if e["kind"] == LOST:
            lost[e["lane"]] += e["count"]
    if lost != Counter(trace.lost):
        errors.append(f"lost: the trace says {trace.lost}, the events {dict(lost)}")

    documents = sorted(glob.glob(os.path.join(directory, "request-*.json")))
    seen = set()
    schema = None
    try:
        import jsonschema
        with open(os.path.join(HERE, "..", "..", "docs", "async-trace.schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        validator = jsonschema.validators.validator_for(schema)(schema)
    except ImportError:
        validator = None
    for path in documents:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if validator is not None:
            for error in validator.iter_errors(document):
                errors.append(f"{path}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}")
        check_trace.compare(model, document, os.path.basename(path), errors)
        for r in document["resources"]:
            if "id" not in r:
                continue
            seen.add(r["id"])
            want = expected[r["id"]]
            if bool(r.get("open")) != want["open"]:
                errors.append(f"{path}: resource {r['id']}: open {r.get('open')}, the events say {want['open']}")
    for rid in set(expected) - seen:
        errors.append(f"resource {rid} is in no document")
    for error in errors[:25]:
        print(f"check_events: {error}")
    if errors:
        print(f"check_events: {len(errors)} findings in {directory}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
