#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Traces real requests and looks at their JSON. Usage: trace_test.py WORKER_BINARY [unittest arguments]

The oracle is the script: scripts/traced.js does known things, and what its trace must hold is written out here.
"""
import collections
import concurrent.futures
import glob
import json
import os
import re
import signal
import socket
import tempfile
import time
import unittest

from harness import HERE, Worker, run_to_end

SCHEMA = os.path.join(HERE, "../../docs/async-trace.schema.json")
OPERATIONS = {"fetch", "kv-get", "kv-put", "kv-delete", "kv-list", "cache-get", "cache-put", "timer", "microtask"}


class Trace:
    """One request-<n>.json."""

    def __init__(self, path):
        with open(path) as file:
            self.data = json.load(file)
        self.resources = self.data["resources"]
        self.by_id = {r["asyncId"]: r for r in self.resources}
        self.notes = collections.defaultdict(dict)
        for note in self.data["annotations"]:
            self.notes[note["asyncId"]][note["key"]] = note["value"]
        self.frames = {s["id"]: s["frames"] for s in self.data["stackTraces"]}
        self.causes = collections.defaultdict(set)
        for link in self.data["thence"]["links"]:
            if "effect" in link and "cause" in link:  # else one end is in another request
                self.causes[link["effect"]].add(link["cause"])

    def of(self, kind, **notes):
        return [r for r in self.resources if r["type"] == kind and all(str(self.notes[r["asyncId"]].get(k)) == v for k, v in notes.items())]

    def one(self, kind, **notes):
        found = self.of(kind, **notes)
        assert len(found) == 1, f"{len(found)} of {kind} {notes} in {[(r['type'], self.notes[r['asyncId']]) for r in self.resources]}"
        return found[0]

    def note(self, resource, key):
        return self.notes[resource["asyncId"]].get(key)

    def stack(self, resource):
        return self.frames.get(resource["stackTraceId"], [])

    def chain(self, resource):
        """Ids from a resource up to what has no trigger."""
        ids = [resource["asyncId"]]
        while self.by_id[ids[-1]]["triggerId"] != 0:
            ids.append(self.by_id[ids[-1]]["triggerId"])
            assert len(ids) <= len(self.resources)
        return ids

    def led_to(self, resource):
        """All that a resource's creation was made possible by: triggers, what they awaited, who settled that."""
        seen, todo = set(), [resource["triggerId"]]
        while todo:
            at = todo.pop()
            if at == 0 or at in seen:
                continue
            seen.add(at)
            r = self.by_id[at]
            todo.append(r["triggerId"])
            before = lambda other: other in self.by_id and self.by_id[other].get("settledAt", 1e99) <= resource["createdAt"]
            todo += [cause for cause in self.causes[at] if before(cause)]
            for run in r.get("invocations", []):
                if run["startedAt"] <= resource["createdAt"] and "causeBy" in run:
                    todo.append(run["causeBy"])
            if r.get("settledAt", 1e99) <= resource["createdAt"] and "settler" in r:
                todo.append(r["settler"])
        return seen


class Recording:
    """A traced worker and an origin beside it; `traces` is there when both have ended."""

    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out")
        self.origin = Worker("origin.js")
        self.worker = Worker("traced.js", "--trace", self.out, "--env", f"ORIGIN=http://127.0.0.1:{self.origin.port}", *self.options)
        return self

    def get(self, page, m="0", headers={}, **more):
        return self.worker.request(f"/{page}/{m}", headers=headers, **more)

    def end(self, how=signal.SIGTERM):
        code = self.worker.stop(how)
        assert code == 0, f"the worker ended with {code}\n{self.worker.log()}"
        paths = glob.glob(os.path.join(self.out, "request-*.json"))
        self.traces = [Trace(p) for p in sorted(paths, key=lambda p: int(re.search(r"(\d+)\.json", p)[1]))]
        return self.traces

    def __exit__(self, *error):
        if self.worker.process.poll() is None:
            self.worker.stop()
        self.origin.stop()
        self.folder.cleanup()


def traced(page, **more):
    """One request for one page, and its trace."""
    with Recording() as recording:
        recording.get(page, "7", **more)
        return recording.end()[0]


class EachOperation(unittest.TestCase):
    """One recording; one request for each page."""

    @classmethod
    def setUpClass(cls):
        pages = ["sequential", "parallel", "kv", "cache", "timers", "microtask", "throwing", "rejecting", "unread", "refused", "waiting", "through"]
        with Recording() as recording:
            cls.answers = {page: recording.get(page, "7") for page in pages}
            cls.answers["body"] = recording.worker.request("/body/7", "POST", b"some bytes")
            cls.traces = dict(zip([*pages, "body"], recording.end()))
            cls.log = recording.worker.log()
            with open(os.path.join(recording.out, "trace.pftrace"), "rb") as file:
                cls.perfetto = file.read()

    def test_every_root_says_what_was_asked_and_answered(self):
        for page, trace in self.traces.items():
            root = trace.one("root")
            self.assertEqual((root["asyncId"], root["triggerId"]), (1, 0))
            self.assertEqual(trace.note(root, "method"), "POST" if page == "body" else "GET")
            self.assertRegex(trace.note(root, "url"), rf"^http://127\.0\.0\.1:\d+/{page}/7$")
            self.assertEqual(str(trace.note(root, "status")), str(self.answers[page][0]))
            self.assertEqual(root["outcome"], "rejected" if page == "throwing" else "fulfilled")

    def test_every_resource_hangs_on_the_root_and_is_caused_by_what_was_there_before_it(self):
        for page, trace in self.traces.items():
            for resource in trace.resources:
                chain = trace.chain(resource)
                self.assertEqual(chain[-1], 1, f"{page}: {resource}")
                times = [trace.by_id[i]["createdAt"] for i in chain]
                self.assertEqual(times, sorted(times, reverse=True), f"{page}: {resource}")

    def test_no_operation_is_left_open_when_the_root_ends(self):
        for page, trace in self.traces.items():
            for resource in trace.resources:
                if resource["type"] in OPERATIONS | {"root", "kj-to-js", "js-to-kj", "socket-connect", "stream-read", "other"}:
                    self.assertIn("outcome", resource, f"{page}: {resource} {trace.notes[resource['asyncId']]}")
            self.assertEqual(trace.data["thence"]["sealReason"], "finished")
            self.assertEqual(trace.data["thence"]["lost"], [])

    def test_a_results_way_to_the_script_bears_the_stack_of_the_call_that_began_the_operation(self):
        compared = 0
        for page, trace in self.traces.items():
            for way in trace.of("kj-to-js"):
                self.assertNotEqual(trace.stack(way), [], page)
                for operation in (trace.by_id[cause] for cause in trace.causes[way["asyncId"]]):
                    if operation["type"] in OPERATIONS:
                        self.assertEqual(trace.stack(way), trace.stack(operation), (page, operation["type"]))
                        compared += 1
        self.assertGreater(compared, 10)

    def test_an_operation_bears_the_stack_of_the_script_that_began_it(self):
        with open(os.path.join(HERE, "scripts/traced.js")) as file:
            lines = file.read().split("\n")
        line = 1 + next(i for i, text in enumerate(lines) if "await env.KV.get(`${m}:key`);" in text)
        trace = self.traces["kv"]
        self.assertTrue(any(re.fullmatch(rf"kv @ traced\.js:{line}:\d+", frame) for frame in trace.stack(trace.one("kv-get"))),
                        trace.stack(trace.one("kv-get")))
        for page, kind in (("timers", "timer"), ("cache", "cache-put"), ("sequential", "fetch"), ("microtask", "microtask")):
            for resource in self.traces[page].of(kind):
                self.assertTrue(any("traced.js:" in frame for frame in self.traces[page].stack(resource)), (page, kind))

    def test_kv_calls_bear_their_keys_rows_and_bytes_and_follow_each_other(self):
        self.assertEqual(self.answers["kv"][2], b"value1")
        t = self.traces["kv"]
        put, get, kv_list, delete = t.one("kv-put"), t.one("kv-get"), t.one("kv-list"), t.one("kv-delete")
        for resource, notes in ((put, {"key": "7:key", "bytes": "5"}), (get, {"key": "7:key", "bytes": "5", "rows": "1"}),
                                (kv_list, {"prefix": "7:", "rows": "1"}), (delete, {"key": "7:key", "rows": "1"})):
            self.assertEqual({k: str(v) for k, v in t.notes[resource["asyncId"]].items()}, notes)
            self.assertEqual((resource["outcome"], resource["settledBy"]), ("fulfilled", "external"))
        for earlier, later in ((put, get), (get, kv_list), (kv_list, delete)):
            self.assertIn(earlier["asyncId"], t.led_to(later))
            self.assertNotIn(later["asyncId"], t.led_to(earlier))

    def test_a_kj_promise_and_its_javascript_promise_are_one_operation(self):
        for page, kind in (("kv", "kv-get"), ("sequential", "fetch"), ("cache", "cache-put")):
            t = self.traces[page]
            for resource in t.of(kind):
                bridges = [r for r in t.of("kj-to-js") if resource["asyncId"] in t.causes[r["asyncId"]]]
                self.assertEqual(len(bridges), 1)
                self.assertEqual(bridges[0]["invocations"][0]["causeBy"], resource["asyncId"])
                promises = [r for r in t.of("js-promise") if bridges[0]["asyncId"] in t.causes[r["asyncId"]]]
                self.assertEqual([p["settler"] for p in promises], [bridges[0]["asyncId"]])
        self.assertEqual(len(self.traces["kv"].of("js-to-kj")), 1)  # the handler's promise, which the server waits for

    def test_sequential_fetches_follow_each_other_and_parallel_ones_do_not(self):
        t = self.traces["sequential"]
        first, second = t.of("fetch")
        self.assertIn(first["asyncId"], t.led_to(second))
        t = self.traces["parallel"]
        left, right = t.of("fetch")
        self.assertNotIn(left["asyncId"], t.led_to(right))
        self.assertNotIn(right["asyncId"], t.led_to(left))
        self.assertLess(right["createdAt"], left["settledAt"])

    def test_a_fetch_has_its_phases_as_parts(self):
        t = self.traces["sequential"]
        first, second = t.of("fetch")
        self.assertRegex(t.note(first, "url"), r"/7/first\?say=\*\*\*&ms=\*\*\*$")  # values of a query do not leave the process
        self.assertEqual((t.note(first, "method"), str(t.note(first, "status"))), ("GET", "200"))
        phases = lambda fetch: {t.note(r, "phase"): r for r in t.resources if r["triggerId"] == fetch["asyncId"] and t.note(r, "phase")}
        self.assertEqual(list(phases(first)), ["resolve", "connect", "first-byte", "body"])
        self.assertEqual(list(phases(second)), ["first-byte", "body"])  # the connection is used again
        parts = phases(first)
        self.assertEqual([parts[p]["type"] for p in parts], ["other", "socket-connect", "other", "stream-read"])
        self.assertLessEqual(parts["connect"]["settledAt"], parts["first-byte"]["createdAt"])
        self.assertLessEqual(parts["first-byte"]["settledAt"], first["settledAt"])
        self.assertLessEqual(parts["first-byte"]["settledAt"], parts["body"]["createdAt"])
        self.assertEqual(str(t.note(parts["body"], "bytes")), "5")
        self.assertEqual(parts["body"]["outcome"], "fulfilled")

    def test_a_body_that_nobody_reads_is_cancelled_and_one_that_is_passed_on_is_not(self):
        t = self.traces["unread"]
        self.assertEqual(t.one("stream-read", phase="body")["outcome"], "cancelled")
        t = self.traces["through"]
        self.assertEqual(t.one("stream-read", phase="body")["outcome"], "fulfilled")
        self.assertEqual(self.answers["through"][2], b"through")

    def test_a_refused_connection_is_a_rejected_connect_and_a_rejected_fetch(self):
        self.assertEqual(self.answers["refused"][2], b"TypeError")
        t = self.traces["refused"]
        self.assertEqual((t.one("fetch")["outcome"], t.one("socket-connect")["outcome"]), ("rejected", "rejected"))

    def test_timers_bear_their_delay_and_an_interval_has_many_invocations(self):
        t = self.traces["timers"]
        by_delay = {float(t.note(r, "delay")): r for r in t.of("timer")}
        self.assertEqual(set(by_delay), {10000.0, 2.0, 5.0})
        self.assertEqual([by_delay[d]["outcome"] for d in (10000.0, 2.0, 5.0)], ["cancelled", "cancelled", "fulfilled"])
        self.assertEqual([len(by_delay[d].get("invocations", [])) for d in (10000.0, 2.0, 5.0)], [0, 3, 1])
        self.assertTrue(all(run["cause"] == "external" for run in by_delay[2.0]["invocations"]))
        # KJ counts a delay from when its loop last read the clock: on a slow machine that is well before the call.
        self.assertGreater(by_delay[5.0]["callbackStartedAt"] - by_delay[5.0]["createdAt"], 5_000_000 / 2)

    def test_cache_calls_bear_their_key_and_whether_they_hit(self):
        t = self.traces["cache"]
        self.assertEqual([str(t.note(r, "hit")).lower() for r in t.of("cache-get")], ["false", "true"])
        self.assertEqual((t.note(t.one("cache-put"), "key"), str(t.note(t.one("cache-put"), "bytes"))), ("http://cache.test/7", "6"))

    def test_a_microtask_is_a_resource_that_runs(self):
        t = self.traces["microtask"]
        self.assertEqual((len(t.one("microtask")["invocations"]), t.one("microtask")["destroyed"]), (1, True))

    def test_the_request_body_is_read_as_an_operation(self):
        t = self.traces["body"]
        self.assertEqual(self.answers["body"][2], b"some bytes")
        self.assertEqual(str(t.note(t.one("stream-read"), "bytes")), "10")

    def test_the_stack_of_a_failing_script_is_in_its_trace(self):
        t = self.traces["throwing"]
        self.assertRegex(t.note(t.one("root"), "error"), r"^Error: thrown on purpose\n +at .*traced\.js:\d+:\d+")
        self.assertIn("thrown on purpose", self.log)

    def test_an_unhandled_rejection_is_noted_on_its_promise(self):
        t = self.traces["rejecting"]
        noted = [r for r in t.resources if t.note(r, "unhandled_rejection") is not None]
        self.assertEqual([(r["type"], r["outcome"]) for r in noted], [("js-promise", "rejected")])

    def test_a_root_ends_when_its_waitUntil_work_is_done(self):
        t = self.traces["waiting"]
        root = t.one("root")
        self.assertGreater(root["finishedAt"], t.one("kv-put")["settledAt"])
        self.assertEqual(t.one("kv-put")["outcome"], "fulfilled")
        self.assertGreater(t.one("kv-put")["createdAt"], root["settledAt"])

    def test_the_perfetto_trace_is_whole_packets_to_its_last_byte(self):
        at, packets = 0, 0
        while at < len(self.perfetto):
            self.assertEqual(self.perfetto[at], 0x0A)  # field 1 (packet), length-delimited
            size, shift, at = 0, 0, at + 1
            while True:
                byte = self.perfetto[at]
                size, shift, at = size | (byte & 0x7F) << shift, shift + 7, at + 1
                if byte < 0x80:
                    break
            at, packets = at + size, packets + 1
        self.assertEqual(at, len(self.perfetto))
        self.assertGreater(packets, sum(len(t.resources) for t in self.traces.values()))
        for text in (b"kv-get", b"7:key", b"thrown on purpose"):
            self.assertIn(text, self.perfetto)

    @unittest.skipUnless(os.path.exists(SCHEMA), "no schema here")
    def test_the_json_is_valid_by_the_schema(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("python3-jsonschema is not installed")
        with open(SCHEMA) as file:
            schema = json.load(file)
        for trace in self.traces.values():
            jsonschema.validate(trace.data, schema)


class Requests(unittest.TestCase):
    def test_concurrent_requests_do_not_mix(self):
        with Recording() as recording:
            with concurrent.futures.ThreadPoolExecutor(64) as pool:
                answers = list(pool.map(lambda m: recording.get("everything", str(m))[2].decode(), range(1000, 1320)))
            self.assertEqual(answers, [",".join([str(m)] * 4) for m in range(1000, 1320)])
            traces = recording.end()
        self.assertEqual(len(traces), 320, recording.worker.log()[-500:])
        lost = sum(loss["count"] for t in traces for loss in t.data["thence"]["lost"])
        self.assertEqual(lost, 0)
        seen = set()
        expected = {"fetch": 1, "kv-get": 1, "kv-put": 1, "cache-get": 1, "cache-put": 1, "timer": 1}
        for trace in traces:
            mark = re.search(r"/everything/(\d+)$", trace.note(trace.one("root"), "url"))[1]
            seen.add(mark)
            marks = set()
            for resource in trace.resources:
                self.assertEqual(trace.chain(resource)[-1], 1)
                for key in ("key", "url"):
                    value = trace.note(resource, key)
                    if value is not None:
                        marks |= set(re.findall(r"(?<!:)\b1\d\d\d\b", value))
            self.assertEqual(marks, {mark})
            self.assertEqual({kind: len(trace.of(kind)) for kind in expected}, expected)
        self.assertEqual(len(seen), 320)

    def test_in_light_mode_each_operation_has_its_request_and_trigger_and_there_is_no_promise(self):
        with Recording("--trace-mode", "light") as recording:
            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                answers = list(pool.map(lambda m: recording.get("everything", str(m))[2].decode(), range(1000, 1100)))
            self.assertEqual(answers, [",".join([str(m)] * 4) for m in range(1000, 1100)])
            recording.get("timers", "7")
            traces = recording.end()
        expected = {"fetch": 1, "kv-get": 1, "kv-put": 1, "cache-get": 1, "cache-put": 1, "timer": 1, "js-promise": 0, "kj-to-js": 0,
                    "js-to-kj": 0}
        seen = set()
        for trace in traces:
            root = trace.one("root")
            self.assertEqual(trace.note(root, "tracing"), "light")
            self.assertEqual((root["outcome"], root["settledBy"]), ("fulfilled", "unknown"))
            if "timers" in trace.note(root, "url"):
                continue
            mark = re.search(r"/everything/(\d+)$", trace.note(root, "url"))[1]
            seen.add(mark)
            self.assertEqual({kind: len(trace.of(kind)) for kind in expected}, expected)
            # The handler is one async function: it was called by the request, whatever it has awaited since.
            for kind in OPERATIONS:
                for operation in trace.of(kind):
                    self.assertEqual(operation["triggerId"], root["asyncId"])
                    self.assertEqual((operation["outcome"], operation["destroyed"]), ("fulfilled", True))
                    self.assertEqual(len(operation["invocations"]), 1)
                    for key in ("key", "url"):
                        self.assertTrue(set(re.findall(r"(?<!:)\b1\d\d\d\b", trace.note(operation, key) or mark)) == {mark})
            # The put is the first to be awaited, and what comes after it was made runnable by its end.
            put, get = trace.one("kv-put"), trace.one("kv-get")
            runs = [run for run in root["invocations"] if run["startedAt"] <= get["createdAt"] <= run["endedAt"]]
            self.assertEqual(runs[-1]["causeBy"], put["asyncId"])
        self.assertEqual(len(seen), 100)
        timers = next(t for t in traces if "/timers/" in t.note(t.one("root"), "url"))
        self.assertEqual({t["triggerId"] for t in timers.of("timer")}, {1})

    def test_what_one_request_waits_for_in_another_stays_the_others(self):
        with Recording() as recording:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                first = pool.submit(recording.get, "shared")
                time.sleep(0.02)
                second = pool.submit(recording.get, "shared")
                self.assertEqual([first.result()[2], second.result()[2]], [b"shared"] * 2)
            one, other = recording.end()
        self.assertEqual((len(one.of("kv-put")), len(one.of("timer"))), (1, 1))
        self.assertEqual((len(other.of("kv-put")), len(other.of("timer"))), (0, 0))
        for trace in (one, other):
            self.assertEqual({trace.chain(r)[-1] for r in trace.resources}, {1})
            self.assertEqual(trace.one("root")["outcome"], "fulfilled")

    def test_with_trace_when_header_only_those_who_ask_are_traced(self):
        with Recording("--trace-when", "header") as recording:
            for n in range(5):
                recording.get("everything", str(1000 + n))
            recording.get("everything", "1999", headers={"X-Thence-Trace": "1"})
            recording.get("kv")
            traces = recording.end()
            size = os.path.getsize(os.path.join(recording.out, "trace.pftrace"))
            with open(os.path.join(recording.out, "trace.pftrace"), "rb") as file:
                everything = file.read()
        self.assertEqual(len(traces), 1)
        self.assertRegex(traces[0].note(traces[0].one("root"), "url"), "/everything/1999$")
        self.assertIn(b"1999:key", everything)
        for n in range(5):
            self.assertNotIn(b"%d:key" % (1000 + n), everything)

    def test_a_client_that_leaves_ends_its_root_and_cancels_what_it_waited_for(self):
        with Recording() as recording:
            with socket.create_connection(("127.0.0.1", recording.worker.port)) as client:
                client.sendall(b"GET /abandoned/7 HTTP/1.1\r\nhost: h\r\n\r\n")
                recording.get("microtask")
            recording.worker.wait_for_log("the client has gone")
            traces = recording.end()
        trace = next(t for t in traces if "/abandoned/" in t.note(t.one("root"), "url"))
        self.assertEqual((trace.one("root")["outcome"], trace.one("timer")["outcome"]), ("cancelled", "cancelled"))
        self.assertEqual(trace.data["thence"]["sealReason"], "finished")

    def test_what_nobody_waited_for_is_cancelled_with_its_request(self):
        trace = traced("forgotten")
        self.assertEqual((trace.one("root")["outcome"], trace.one("timer")["outcome"], trace.one("fetch")["outcome"]),
                         ("fulfilled", "cancelled", "cancelled"))

    def test_in_light_mode_what_nobody_waited_for_is_cancelled_and_what_fails_is_rejected(self):
        with Recording("--trace-mode", "light") as recording:
            recording.get("forgotten")
            recording.get("refused")
            forgotten, refused = recording.end()
        self.assertEqual((forgotten.one("root")["outcome"], forgotten.one("timer")["outcome"], forgotten.one("fetch")["outcome"]),
                         ("fulfilled", "cancelled", "cancelled"))
        self.assertEqual((refused.one("fetch")["outcome"], refused.one("socket-connect")["outcome"]), ("rejected", "rejected"))
        self.assertEqual({r["destroyed"] for t in (forgotten, refused) for r in t.resources}, {True})

    def test_in_light_mode_too_only_those_who_ask_are_traced(self):
        with Recording("--trace-mode", "light", "--trace-when", "header") as recording:
            def ask(m):
                headers = {"X-Thence-Trace": "1"} if m % 10 == 0 else {}
                return recording.get("everything", str(m), headers=headers)[2].decode()
            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                self.assertEqual(list(pool.map(ask, range(1000, 1100))), [",".join([str(m)] * 4) for m in range(1000, 1100)])
            traces = recording.end()
            with open(os.path.join(recording.out, "trace.pftrace"), "rb") as file:
                marks = {int(mark) for mark in re.findall(rb"(1\d\d\d):key", file.read())}
        self.assertEqual(len(traces), 10)
        self.assertEqual(marks, set(range(1000, 1100, 10)))
        for trace in traces:
            self.assertEqual({kind: len(trace.of(kind)) for kind in ("fetch", "kv-get", "kv-put", "timer")},
                             {"fetch": 1, "kv-get": 1, "kv-put": 1, "timer": 1})

    def test_a_script_that_was_stopped_ends_its_root(self):
        with Recording("--script-limit", "200") as recording:
            self.assertEqual(recording.get("loop")[0], 500)
            self.assertEqual(recording.get("kv")[0], 200)
            loop, kv = recording.end()
        self.assertEqual(loop.one("root")["outcome"], "rejected")
        self.assertIn("ran longer than the limit", loop.note(loop.one("root"), "error"))
        self.assertEqual(len(kv.of("kv-get")), 1)

    def test_SIGTERM_finishes_the_trace_with_requests_in_flight(self):
        with Recording("--grace", "100") as recording:
            with socket.create_connection(("127.0.0.1", recording.worker.port)) as client:
                client.sendall(b"GET /abandoned/7 HTTP/1.1\r\nhost: h\r\n\r\n")
                recording.get("microtask")
                traces = recording.end()
        trace = next(t for t in traces if "/abandoned/" in t.note(t.one("root"), "url"))
        self.assertEqual(trace.one("root")["outcome"], "cancelled")

    def test_only_the_first_requests_get_a_file_each(self):
        with Recording("--trace-json", "3") as recording:
            for n in range(6):
                recording.get("microtask", str(n))
            traces = recording.end()
            self.assertEqual([t.note(t.one("root"), "url")[-1] for t in traces], ["0", "1", "2"])
            with open(os.path.join(recording.out, "trace.pftrace"), "rb") as file:
                self.assertIn(b"/microtask/5", file.read())

    def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(self):
        code, _, errors = run_to_end("serve", os.path.join(HERE, "scripts/traced.js"), "--port", "0", "--trace", "/proc/none/out")
        self.assertEqual(code, 1)
        self.assertIn("/proc/none/out", errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
