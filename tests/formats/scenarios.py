#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What must be in the files of scenarios.cpp: times, flows, tracks and members that were worked out by hand.

  scenarios.py DIRECTORY
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import check_trace  # noqa: E402

BASE = ""
ORIGIN = 1_000_000_000_000
MS = 1_000_000


def load(name):
    with open(os.path.join(BASE, name, "trace.pftrace"), "rb") as file:
        trace = check_trace.Trace(file.read(), False)
    trace.structure()
    model = check_trace.Model(trace)
    model.check()
    documents = {}
    for path in glob.glob(os.path.join(BASE, name, "request-*.json")):
        with open(path, encoding="utf-8") as file:
            documents[int(re.search(r"request-(\d+)", path).group(1))] = json.load(file)
    errors = trace.errors
    for ordinal, document in documents.items():
        check_trace.compare(model, document, f"request-{ordinal}.json", errors)
    return trace, model, documents, errors


def slices(trace, **wanted):
    out = []
    for s in trace.slices:
        if all({"name": s.name, "category": s.category, "id": s.note("thence.id")}[k] == v for k, v in wanted.items()):
            out.append(s)
    return out


def span(s):
    return (s.begin - ORIGIN, None if s.end is None else s.end - ORIGIN)


def resource(document, true_id):
    return next(r for r in document["resources"] if r.get("id") == true_id)


class Scenarios(unittest.TestCase):
    def good(self, name):
        trace, model, documents, errors = load(name)
        self.assertEqual(errors, [])
        return trace, model, documents

    def test_a_life_is_told_whole_and_at_its_times(self):
        trace, model, documents = self.good("life")
        (root,) = slices(trace, category="resource", id=1)
        (fetch,) = slices(trace, category="resource", id=2)
        (promise,) = slices(trace, category="resource", id=3)
        self.assertEqual([span(root), span(fetch), span(promise)], [(0, 1400), (20, 1000), (30, 1200)])
        self.assertEqual(trace.tracks[root.track]["name"], "request")
        self.assertEqual(trace.tracks[fetch.track]["parent"], root.track)
        self.assertEqual([span(s) for s in slices(trace, category="invocation")], [(10, 40), (1100, 1200)])
        lane = slices(trace, category="invocation", id=1)[0].track
        self.assertEqual(trace.tracks[lane]["thread"], (77, 78))
        # Every flow: where it starts (with the slice around it), where it leads, when.
        flows = sorted((source.name, source.parent.note("thence.id") if source.parent else None, source.begin - ORIGIN,
                        target.name, target.note("thence.id"), target.begin - ORIGIN) for source, target in trace.flows)
        self.assertEqual(flows, [
            ("awaited", 2, 35, "awaits", 3, 35),
            ("create", 1, 20, "fetch", 2, 20),
            ("create", 1, 30, "js-promise", 3, 30),
            ("release", 2, 1000, "js-promise", 3, 1100),
            ("settle", 3, 1150, "settled", 1, 1150),
            ("settle", 3, 1160, "settled", 3, 1160)])
        invocation = slices(trace, category="invocation", id=3)[0]
        self.assertEqual((invocation.note("thence.cause"), invocation.note("thence.cause_by")), ("settled", 2))
        self.assertEqual([w.begin for w in slices(trace, name="scheduled")], [ORIGIN + 1010])
        self.assertEqual([(k, v) for k, v in fetch.notes if not k.startswith("thence.")],
                         [("url", 'https://example.org/?q="\u00e4"'), ("rows", 18446744073709551615), ("delta", -5),
                          ("ratio", 0.25), ("hit", True), ("body", "abc")])
        self.assertEqual(model.resources[2]["annotations"][-1], ("body", "abc", True))
        self.assertEqual(model.resources[2]["destroyed"], ORIGIN + 1300)
        self.assertEqual(fetch.stack, [("script", "load", "app.js", 12, 5, 0, 0, None), ("script", "fetch", "app.js", 3, 1, 0, 0, None)])
        self.assertEqual(promise.stack, [("native", None, "/usr/lib/libx.so", 0, 0, 0x1234, 0x7f0000001234, "0a1bff"),
                                         ("native", "main", "worker", 0, 0, 0x10, 0x400010, None)])
        self.assertEqual(root.stack, [("source", "serve", "src/server.cpp", 99, 0, 0, 0, None)])
        self.assertEqual(model.sealed, {1: (ORIGIN + 1500, "finished", 0)})

        document = documents[1]
        self.assertEqual(document["requestDurationNs"], 1400)
        self.assertEqual([(r["asyncId"], r["triggerId"], r["type"], r["createdAt"], r["callbackStartedAt"],
                           r["callbackEndedAt"], r["destroyedAt"]) for r in document["resources"]],
                         [(1, 0, "root", 0, 10, 40, 0), (2, 1, "fetch", 20, 0, 0, 1300), (3, 1, "js-promise", 30, 1100, 1200, 0)])
        frames = {s["id"]: s["frames"] for s in document["stackTraces"]}
        self.assertEqual(frames[resource(document, 2)["stackTraceId"]], ["load @ app.js:12:5", "fetch @ app.js:3:1"])
        self.assertEqual(frames[resource(document, 3)["stackTraceId"]], ["(unknown) @ /usr/lib/libx.so:0:0", "main @ worker:0:0"])
        self.assertEqual(frames[0], [])
        self.assertEqual(document["annotations"][1], {"asyncId": 2, "key": "rows", "value": "18446744073709551615",
                                                      "valueType": "uint", "typedValue": 18446744073709551615})
        self.assertEqual(document["annotations"][5], {"asyncId": 2, "key": "body", "value": "abc", "cut": True})
        promise = resource(document, 3)
        self.assertEqual(promise["invocations"], [{"lane": 1, "startedAt": 1100, "endedAt": 1200, "readyAt": 1010,
                                                   "readyBy": "external", "readyOn": 1, "cause": "settled", "causeBy": 2}])
        self.assertEqual((promise["settledAt"], promise["outcome"], promise["settledBy"], promise["settler"]),
                         (1160, "fulfilled", "invocation", 3))
        fetch = resource(document, 2)
        self.assertNotIn("settler", fetch)
        self.assertEqual(fetch["settledBy"], "external")
        ours = document["thence"]
        self.assertEqual(ours["links"], [{"kind": "awaits", "effect": 3, "cause": 2, "at": 35, "lane": 1}])
        self.assertEqual((ours["rootId"], ours["startBoottimeNs"], ours["startUnixNs"], ours["sealReason"], ours["sealedAt"],
                          ours["durationFrom"], ours["openResources"]),
                         (1, ORIGIN, ORIGIN + 5000, "finished", 1500, "finished", 0))

    def test_where_invocations_cross_the_later_one_is_split_and_each_part_has_the_true_interval(self):
        trace, model, documents = self.good("crossing")
        parts = [(s.name, s.note("thence.id"), *span(s), s.note("thence.true_begin", 0) - ORIGIN,
                  s.note("thence.true_end", 0) - ORIGIN, s.note("thence.part"), s.depth)
                 for s in trace.slices if s.category in ("invocation", "pause")]
        none = -ORIGIN
        self.assertEqual(parts[:4], [
            ("timer", 2, 100, 300, none, none, None, 0),
            ("timer", 3, 200, 300, 200, 400, 0, 1),
            ("timer", 3, 300, 400, 200, 400, 1, 0),
            ("timer", 4, 350, 360, none, none, None, 1)])
        # What crosses is moved by a nanosecond where it would share the time of another's end; the true times stand beside it.
        second = [(p[1], p[6], p[4] + ORIGIN, p[5] + ORIGIN) for p in parts[4:] if p[2] < 590 and p[6] is not None]
        self.assertEqual(sorted(second), [(3, 0, ORIGIN + 510, ORIGIN + 540), (3, 1, ORIGIN + 510, ORIGIN + 540),
                                          (4, 0, ORIGIN + 520, ORIGIN + 550), (4, 1, ORIGIN + 520, ORIGIN + 550),
                                          (4, 2, ORIGIN + 520, ORIGIN + 550)])
        self.assertEqual([i["end"] and i["end"] - ORIGIN for i in model.resources[2]["invocations"]], [300, 530, 630, 720])
        self.assertEqual([i["end"] and i["end"] - ORIGIN for i in model.resources[3]["invocations"]], [400, 540, None])
        self.assertEqual([i["end"] - ORIGIN for i in model.resources[4]["invocations"]], [360, 550])
        (pause,) = slices(trace, category="pause")
        self.assertEqual((pause.name, span(pause)), ("gc-major", (600, 620)))

    def test_what_is_open_stays_open_and_its_track_is_never_used_again(self):
        trace, model, documents = self.good("open")
        of = {s.note("thence.id"): s for s in slices(trace, category="resource")}
        self.assertEqual({i for i, s in of.items() if s.end is None}, {2, 14, 16})
        self.assertEqual({r["id"] for d in documents.values() for r in d["resources"] if r.get("open")}, {2, 14, 16})
        self.assertEqual(span(of[15])[1], 271 * MS)
        tracks = {i: s.track for i, s in of.items()}
        # 1 left something open: no later request is on its tracks. 3 was gone for long enough when 7 began, not when 5 did.
        self.assertNotIn(tracks[1], [tracks[i] for i in (3, 5, 7, 9, 13)])
        self.assertNotIn(tracks[2], [tracks[i] for i in (4, 6, 8, 10, 11, 12)])
        self.assertNotEqual(tracks[5], tracks[3])
        self.assertIn((tracks[7], tracks[8]), [(tracks[3], tracks[4]), (tracks[5], tracks[6])])
        self.assertNotEqual(tracks[10], tracks[11])
        self.assertIn(tracks[12], (tracks[10], tracks[11]))
        self.assertNotIn(tracks[20], (tracks[18], tracks[21]))
        self.assertEqual(model.sealed[6], (ORIGIN + 300 * MS, "grace", 2))
        self.assertEqual(documents[6]["thence"]["openResources"], 2)
        self.assertEqual(resource(documents[6], 16)["resolvedBy"], "invocation")
        self.assertNotIn("settledAt", resource(documents[6], 16))

    def test_a_loss_is_counted_in_the_picture_in_the_stats_and_in_the_document(self):
        trace, model, documents = self.good("loss")
        self.assertEqual(trace.lost, {1: 10})
        instants = slices(trace, name="thence.lost")
        self.assertEqual([(s.note("thence.count"), s.note("thence.first") - ORIGIN, s.note("thence.last") - ORIGIN) for s in instants],
                         [(7, 100, 200), (3, 500, 600)])
        lane_sequence = instants[0].begin_event.sequence
        self.assertEqual(trace.sequences[lane_sequence].drops, 2)
        buffers = [check_trace.fields(b) for b in check_trace.every(trace.stats, 1)]
        mapped = {check_trace.first(check_trace.fields(w), 1): check_trace.first(check_trace.fields(w), 4, 0)
                  for w in check_trace.every(trace.stats, 18)}
        self.assertEqual(check_trace.first(buffers[mapped[lane_sequence]], 19), 10)
        # 1 ran when the loss began: its slice goes to there, its exit is a record, and the reader has it whole.
        (running,) = slices(trace, category="invocation", id=1)
        self.assertEqual((span(running), running.note("thence.end_unknown")), ((0, 100), True))
        self.assertEqual([(i["start"] - ORIGIN, i["end"] - ORIGIN) for i in model.resources[1]["invocations"]], [(0, 400)])
        document = documents[1]
        self.assertEqual(document["thence"]["lost"], [{"lane": 1, "count": 10, "firstAt": 100, "lastAt": 600}])
        third = resource(document, 3)
        self.assertEqual((third["creationLost"], third["type"], third["createdAt"], third["firstHeardAt"]), (True, "unknown", 0, 300))
        self.assertEqual(third["invocations"], [{"lane": 1, "startedAt": 300, "endedAt": 310, "cause": "scheduled", "causeByRef": 9}])
        self.assertEqual((third["settledBy"], third["outcome"]), ("unknown", "rejected"))
        self.assertEqual(slices(trace, category="resource", id=3), [])
        abandoned = documents[2]
        self.assertEqual(abandoned["resources"][0], {"asyncId": 1, "triggerId": 0, "type": "root", "stackTraceId": 0, "createdAt": 0,
                                                     "callbackStartedAt": 0, "callbackEndedAt": 0, "destroyedAt": 0,
                                                     "placeholder": True})
        self.assertEqual((abandoned["thence"]["startUnknown"], abandoned["thence"]["startBoottimeNs"]), (True, ORIGIN + 1000))

    def test_wrong_use_is_told_and_never_breaks_the_picture(self):
        trace, model, documents = self.good("misuse")
        self.assertEqual(model.resources[2]["invocations"][0]["start"], None)
        self.assertEqual(model.resources[99]["settled"]["by"], "invocation")
        self.assertEqual(model.resources[2]["settled"]["outcome"], "fulfilled")
        self.assertEqual(resource(documents[1], 2)["furtherSettles"], 1)
        self.assertEqual(model.resources[1]["invocations"][0]["exitLane"], 2)
        self.assertEqual(len(slices(trace, category="park")), 1)
        self.assertEqual(trace.counters, 4)
        self.assertEqual(len(slices(trace, name="unparked")), 1)
        self.assertEqual(len(slices(trace, name="pause ended")), 1)
        self.assertEqual(len(slices(trace, name="parked", category="record")), 1)
        (rootless,) = slices(trace, category="resource", id=50)
        self.assertEqual(trace.tracks[trace.tracks[rootless.track]["parent"]]["name"], "no request")
        self.assertTrue(documents[0]["thence"]["rootless"])
        self.assertEqual(resource(documents[1], 2)["wakes"], [{"at": 140, "lane": 1, "by": "unknown"}, {"at": 130, "lane": 1, "by": "external"}])

    def test_a_file_whose_head_or_tail_is_cut_off_stays_readable(self):
        path = os.path.join(BASE, "cut", "trace.pftrace")
        self.good("cut")
        with open(path, "rb") as file:
            data = file.read()
        starts = []
        at = 0
        while at < len(data):
            starts.append(at)
            _, at = check_trace.varint(data, at)
            length, at = check_trace.varint(data, at)
            at += length
        for cut_at in starts[len(starts) // 3:len(starts) // 2:31]:
            trace = check_trace.Trace(data[cut_at:], True)
            trace.structure()
            self.assertEqual(trace.errors, [], f"cut at {cut_at}")
            # After at most clear_after_bytes (and what a clearing itself takes) all is there again.
            whole = {s.note("thence.id") for s in slices(trace, category="resource")}
            last = max(whole)
            self.assertEqual(last, 120)
            readable = [s for s in slices(trace, category="resource") if s.track in trace.tracks]
            self.assertGreater(len(readable), 40)
            lanes = slices(trace, name="thence.lane")
            self.assertTrue(lanes)
            self.assertTrue(slices(trace, name="thence.trace"))
        for cut_at in range(len(data) // 2, len(data) // 2 + 200, 3):
            trace = check_trace.Trace(data[:cut_at], True)
            trace.structure()
            self.assertEqual([e for e in trace.errors], [], f"cut to {cut_at}")

    def test_the_bytes_parse_with_official_protobuf(self):
        protoc = shutil.which("protoc")
        if protoc is None:
            self.skipTest("no protoc")
        for path in glob.glob(os.path.join(BASE, "*", "trace.pftrace")):
            with open(path, "rb") as file:
                out = subprocess.run([protoc, "--decode=thence.test.Trace", "-I", os.path.join(HERE, "perfetto"), "trace_subset.proto"],
                                     stdin=file, capture_output=True, check=False)
            self.assertEqual(out.returncode, 0, out.stderr.decode())
            unknown = re.search(rb"^\s*\d+(:| \{)", out.stdout, re.M)
            self.assertIsNone(unknown, f"{path}: fields that the schema does not know")
            self.assertGreater(out.stdout.count(b"packet {"), 10)

    def test_every_document_is_valid(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("no python3-jsonschema")
        with open(os.path.join(HERE, "..", "..", "docs", "async-trace.schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        validator = jsonschema.validators.validator_for(schema)(schema)
        validator.check_schema(schema)
        for path in glob.glob(os.path.join(BASE, "*", "request-*.json")):
            with open(path, encoding="utf-8") as file:
                self.assertEqual([e.message for e in validator.iter_errors(json.load(file))], [], path)


if __name__ == "__main__":
    BASE = sys.argv.pop(1)
    unittest.main()
