# SPDX-License-Identifier: MIT
"""check_exports.py: reads what the exporters wrote with readers that are not ours, and computes the results again.

    check_exports.py <folder with events.jsonl, events.csv, resources.csv, chrome.json, *.folded, *.svg> <events.schema.json>

The times of resources and the folded stacks are computed from the JSON lines by other means than the exporters': every
lane's time is cut at all begins and ends, and each piece given to the latest-started invocation that is open in it.
Says what differs and ends with 1, or with 0."""
import collections
import csv
import json
import os
import sqlite3
import subprocess
import sys
import xml.dom.minidom

import jsonschema

folder, schema = sys.argv[1], sys.argv[2]
problems = []


def check(true, what):
    if not true:
        problems.append(what)
    return true


def path(name):
    return os.path.join(folder, name)


# ---- JSONL: Python's json, line by line, against the schema
with open(path("events.jsonl"), encoding="utf-8", newline="\n") as file:
    lines = [json.loads(line) for line in file]
validator = jsonschema.Draft202012Validator(json.load(open(schema)))
# One alternative each: the message then names what is wrong in it.
by_event = {a["properties"]["event"]["const"]: a for a in validator.schema["oneOf"]}
for number, line in enumerate(lines, 1):
    if not check(line.get("event") in by_event, f"events.jsonl:{number}: unknown event {line.get('event')}"):
        continue
    one = {**by_event[line["event"]], "$defs": validator.schema["$defs"]}
    for error in jsonschema.Draft202012Validator(one).iter_errors(line):
        problems.append(f"events.jsonl:{number}: {error.message}")
check(lines[0]["event"] == "trace" and lines[-1]["event"] == "summary", "events.jsonl: the first and the last line")
events = [line for line in lines if "time" in line]
stacks = {line["stack"]: line["frames"] for line in lines if line["event"] == "stack"}

# ---- events.csv: Python's csv, and SQLite's import; the same events as in the JSONL
with open(path("events.csv"), encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file, strict=True))
check(len(rows) == len(events), f"events.csv has {len(rows)} rows for {len(events)} events")
OTHER = {"created": "trigger", "scheduled": "waker", "entered": "cause_by", "settled": "settler", "linked": "link_cause"}
DETAIL = {"entered": "cause", "settled": "outcome", "linked": "link", "pause-began": "pause", "pause-ended": "pause",
          "root-sealed": "reason", "sample": "sample"}


def text(value):
    return "" if value is None else "true" if value is True else "false" if value is False else str(value)


for number, (row, event) in enumerate(zip(rows, events), 2):
    kind = event["event"]
    expected = {
        "time_ns": text(event["time"]), "event": kind, "lane": text(event.get("lane")), "resource": text(event.get("resource")),
        "root": text(event.get("root")), "other": text(event.get(OTHER.get(kind))), "type": text(event.get("type")),
        "stack": text(event.get("stack")), "detail": text(event.get(DETAIL.get(kind))), "by": text(event.get("by")),
        "key": text(event.get("key") if kind == "annotated" else event.get("name", event.get("counter"))),
        "value_kind": text(event.get("value_kind")), "late": text(event.get("late")),
        "lost": text(event.get("count")), "first_lost_ns": text(event.get("first")), "last_lost_ns": text(event.get("last"))}
    for column, value in expected.items():
        if column == "detail" and event.get("cut"):
            value = "cut"
        check(row[column] == value, f"events.csv:{number}: {column} is {row[column]!r}, not {value!r}")
    if event.get("value_kind") == "double":
        check(float(row["value"]) == event["value"], f"events.csv:{number}: value {row['value']}")
    else:
        check(row["value"] == text(event.get("value")), f"events.csv:{number}: value {row['value']!r}, not {event.get('value')!r}")


def sqlite_rows(name):
    """What the sqlite3 shell's .import makes of a file; None where there is no sqlite3."""
    try:
        out = subprocess.run(["sqlite3", "-json", ":memory:", f".import --csv {path(name)} t", "select * from t"],
                             capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return None
    check(out.stderr == "", f"sqlite3 on {name}: {out.stderr}")
    return json.loads(out.stdout) if out.stdout else []


for name, read in (("events.csv", rows), ("resources.csv", None)):
    if read is None:
        with open(path(name), encoding="utf-8", newline="") as file:
            read = list(csv.DictReader(file, strict=True))
        resources = read
    shell = sqlite_rows(name)
    if shell is None:  # the same engine, fed by Python
        database = sqlite3.connect(":memory:")
        columns = list(read[0]) if read else ["none"]
        database.execute("create table t (%s)" % ",".join(f'"{c}"' for c in columns))
        database.executemany("insert into t values (%s)" % ",".join("?" * len(columns)), [list(r.values()) for r in read])
        shell = read
    check(shell == read, f"{name}: SQLite's import differs from Python's csv")

# ---- what the lanes spent on each resource, again
Invocation = collections.namedtuple("Invocation", "order begin end resource pause cut")
lanes = collections.defaultdict(list)
running = collections.defaultdict(list)
unmatched = collections.Counter()
last_time = 0
for order, event in enumerate(events):
    kind, lane, now = event["event"], event.get("lane", 0), event["time"]
    last_time = max(last_time, now)
    if kind == "entered":
        running[lane].append([order, now, event["resource"], False])
    elif kind == "pause-began":
        running[lane].append([order, now, None, True])
    elif kind in ("exited", "pause-ended"):
        for at in range(len(running[lane]) - 1, -1, -1):
            one = running[lane][at]
            if one[3] == (kind == "pause-ended") and (one[3] or one[2] == event["resource"]):
                lanes[lane].append(Invocation(one[0], one[1], now, one[2], one[3], False))
                del running[lane][at]
                break
        else:
            if kind == "exited":
                unmatched[event["resource"]] += 1
    elif kind == "lost":
        for one in running[lane]:
            lanes[lane].append(Invocation(one[0], one[1], event["first"], one[2], one[3], True))
        running[lane] = []
for lane, left in running.items():
    for one in left:
        lanes[lane].append(Invocation(one[0], one[1], None, one[2], one[3], False))

own, paused, ran, cut, still = (collections.Counter() for _ in range(5))
by_resource = collections.defaultdict(list)
for all_ in lanes.values():
    cuts = sorted({t for i in all_ for t in (i.begin, i.end) if t is not None} | {last_time})
    for begin, end in zip(cuts, cuts[1:]):
        # No invocation with the same begin and end covers a piece.
        there = [i for i in all_ if i.begin <= begin and (i.end is None or i.end >= end)]
        if not there:
            continue
        calls = [i for i in there if not i.pause]
        if not calls:
            continue
        owner = max(calls, key=lambda i: i.order)
        own[owner.resource] += end - begin
        if any(i.pause and i.order > owner.order for i in there):
            paused[owner.resource] += end - begin
    for one in all_:
        if one.pause:
            continue
        by_resource[one.resource].append(one)
        cut[one.resource] += one.cut
        still[one.resource] += one.end is None
        if one.end is not None and not one.cut:
            ran[one.resource] += one.end - one.begin

first = lambda id_, kind: next((e for e in events if e["event"] == kind and e.get("resource") == id_), None)
mentioned = []
for event in events:
    if event.get("resource") and event["event"] not in ("parked", "unparked", "sample") and event["resource"] not in mentioned:
        mentioned.append(event["resource"])
table = {int(row["id"]): row for row in resources}
check(len(table) == len(resources), "resources.csv: a resource has two rows")
check(sorted(table) == sorted(mentioned), "resources.csv: not the resources of the events")
times = {}
for id_ in mentioned:
    row = table.get(id_)
    if row is None:
        continue
    created, settled = first(id_, "created"), None
    for event in events:
        if event["event"] == "settled" and event["resource"] == id_ and event["outcome"] != "resolved":
            settled = event
    calls = sorted(by_resource[id_], key=lambda i: i.order)
    known = calls and not cut[id_] and not still[id_] and not unmatched[id_]
    ends = [i.end for i in calls if i.end is not None and not i.cut]
    exits = [e["time"] for e in events if e["event"] == "exited" and e.get("resource") == id_]
    delay = calls[0].begin - created["time"] if created and calls and calls[0].begin >= created["time"] else None
    waiting = None
    if created and (calls or unmatched[id_]):
        # Invocations of one resource do not overlap in these traces.
        waiting, since = 0, created["time"]
        for call in calls:
            if call.begin >= since:
                waiting += call.begin - since
            if call.end is not None and not call.cut:
                since = max(since if since != created["time"] else 0, call.end)
    elif created and settled:
        waiting = settled["time"] - created["time"]
    scheduled, followed, woken = 0, 0, None
    for event in events:
        if event.get("resource") != id_:
            continue
        if event["event"] == "scheduled" and woken is None:
            woken = event["time"]
        elif event["event"] == "entered" and woken is not None:
            scheduled, followed, woken = scheduled + event["time"] - woken, followed + 1, None
    times[id_] = {"own": own[id_] if known else None, "paused": paused[id_], "waiting": waiting,
                  "invocations": len(calls) + unmatched[id_]}
    expected = {
        "trigger": created and created.get("trigger"), "type": created and created["type"], "created_ns": created and created["time"],
        "first_entered_ns": calls[0].begin if calls else None, "last_exited_ns": max(exits) if exits else None,
        "settled_ns": settled and settled["time"], "outcome": settled and settled["outcome"],
        "invocations": len(calls) + unmatched[id_], "async_delay_ns": delay,
        "sync_time_ns": ran[id_] if known else None, "self_time_ns": own[id_] if known else None,
        "scheduling_delay_ns": scheduled if followed else None, "waiting_ns": waiting,
        "total_ns": max(exits) - created["time"] if exits and created else None}
    for column, value in expected.items():
        check(row[column] == text(value), f"resources.csv, resource {id_}: {column} is {row[column]!r}, not {text(value)!r}")


# ---- folded stacks by a second implementation
def frame_text(frame):
    out = frame.get("function", "(anonymous)")
    if "file" in frame:
        out += " " + frame["file"] + "".join(f":{frame[p]}" for p in ("line", "column") if p in frame)
    return out


def label(value):
    return "".join(":" if c == ";" else " " if ord(c) < 32 or ord(c) == 127 else c for c in value)


created_in_order = {e["resource"]: e for e in events if e["event"] == "created"}


def chain(id_):
    out = []
    while id_:
        event = created_in_order.get(id_)
        if event is None:
            out.append("[unknown trigger]")
            break
        frames = stacks.get(event.get("stack"), [])
        out.append(event["type"] + (" " + frame_text(frames[0]) if frames else ""))
        id_ = event.get("trigger")
    return out[::-1]


def creation(id_):
    event = created_in_order[id_]
    frames = stacks.get(event.get("stack"), [])
    return [frame_text(f) for f in reversed(frames)] or ["[no stack]"], event["type"]


def folded(by, time):
    sums = collections.Counter()
    for id_, t in times.items():
        if id_ not in created_in_order:
            where = ["[created before the trace]"]
        elif by == "chain":
            where = chain(id_)
        else:
            frames, type_ = creation(id_)
            where = frames + [type_]
        add = lambda more, value: sums.update({";".join(label(p) for p in where + more): value})
        if time in ("running", "both") and t["own"] is not None:
            mark = ["[running]"] if time == "both" else []
            add(mark, t["own"] - t["paused"])
            add(mark + ["[pause]"], t["paused"])
        if time in ("waiting", "both") and t["waiting"] is not None:
            add(["[waiting]"] if time == "both" else [], t["waiting"])
    return {path_: value for path_, value in sums.items() if value}


for by in ("stack", "chain"):
    for time in ("running", "waiting", "both"):
        name = f"{by}.{time}.folded"
        ours = {}
        with open(path(name), encoding="utf-8", newline="\n") as file:
            for line in file:
                where, value = line.rstrip("\n").rsplit(" ", 1)
                check(where not in ours, f"{name}: {where} has two lines")
                ours[where] = int(value)
        theirs = folded(by, time)
        for where in sorted(set(ours) | set(theirs)):
            check(ours.get(where) == theirs.get(where), f"{name}: {where}: {ours.get(where)}, by the second implementation {theirs.get(where)}")
        # The picture: well-formed, no script, nothing from elsewhere, and the sum of its top row.
        svg = xml.dom.minidom.parse(path(f"{by}.{time}.svg"))
        check(not svg.getElementsByTagName("script"), f"{by}.{time}.svg has a script")
        raw = open(path(f"{by}.{time}.svg"), encoding="utf-8").read()
        check(raw.count("http") == 1 and 'xmlns="http://www.w3.org/2000/svg"' in raw, f"{by}.{time}.svg refers to something outside")

# ---- Chrome: the rules of the Trace Event Format
chrome = json.load(open(path("chrome.json"), encoding="utf-8"))["traceEvents"]
slices = collections.defaultdict(list)
asyncs = collections.defaultdict(list)
flows = collections.defaultdict(list)
for event in chrome:
    check({"ph", "name", "pid", "tid"} <= set(event), f"chrome.json: {event}")
    ph = event["ph"]
    if ph == "X":
        slices[event["pid"], event["tid"]].append((round(event["ts"] * 1000), round((event["ts"] + event["dur"]) * 1000), event))
    elif ph in "bne":
        asyncs[event["cat"] if ph != "n" else None, event["id"]].append(event)
    elif ph in "sf":
        flows[event["id"]].append(event)
for thread, all_ in slices.items():
    open_ = []
    for begin, end, event in sorted(all_, key=lambda s: (s[0], -s[1])):
        while open_ and open_[-1] <= begin:
            open_.pop()
        check(not open_ or end <= open_[-1], f"chrome.json: {event['name']} at {event['ts']} crosses another on {thread}")
        open_.append(end)
for key, pair in flows.items():
    check([e["ph"] for e in pair] == ["s", "f"], f"chrome.json: flow {key} has not one begin and one end")
    for end in pair:
        at = round(end["ts"] * 1000)
        check(any(b <= at <= e for b, e, _ in slices[end["pid"], end["tid"]]), f"chrome.json: flow {key} ends at no slice")
for (category, key), all_ in asyncs.items():
    if category is None:
        continue
    phases = [e["ph"] for e in all_]
    check(phases in (["b"], ["b", "e"]), f"chrome.json: async {category} {key} is {phases}")
check(len([e for e in chrome if e["ph"] == "b"]) == len(created_in_order), "chrome.json: not an async event for each resource")
# All the time that ran is in the slices, in whatever parts. Of an invocation whose end is not known, the last part says so.
in_slices, unknown_ends = collections.Counter(), set()
for all_ in slices.values():
    for begin, end, event in all_:
        if event["cat"] == "invocation" and "end" in event["args"]:
            unknown_ends.add((event["args"]["id"], event["args"].get("true_begin_ns", begin)))
for all_ in slices.values():
    for begin, end, event in all_:
        args = event.get("args", {})
        if event["cat"] == "invocation" and (args["id"], args.get("true_begin_ns", begin)) not in unknown_ends:
            if "true_begin_ns" in args:
                # The pieces of a cut stand apart by a nanosecond for each invocation that is open.
                check(args["true_begin_ns"] <= begin and end <= args.get("true_end_ns", end) + 8, f"chrome.json: {event} is not within its true interval")
                if "true_end_ns" in args:
                    in_slices[args["id"]] += args["true_end_ns"] - args["true_begin_ns"]
            else:
                in_slices[args["id"]] += end - begin
for id_ in mentioned:
    check(in_slices[id_] == ran[id_], f"chrome.json: the slices of {id_} last {in_slices[id_]} ns, not {ran[id_]}")

for problem in problems[:40]:
    print(problem)
if len(problems) > 40:
    print(f"... and {len(problems) - 40} more")
sys.exit(1 if problems else 0)
