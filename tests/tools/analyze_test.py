# SPDX-License-Identifier: MIT
"""analyze, compare, gate, flame and aggregate, end to end: against counts of our own from the input itself.

    analyze_test.py <thence> <make_traces> <source directory>
"""
import gzip
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import jsonschema

THENCE, MAKE_TRACES, SOURCE = sys.argv[1:4]
with open(os.path.join(SOURCE, "docs", "analyze.schema.json"), encoding="utf-8") as schema_file:
    SCHEMA = json.load(schema_file)
SHARED = os.path.join(SOURCE, "..", "shared", "corpus")
MS = 1_000_000


def thence(*arguments, code=0, stdin=b""):
    done = subprocess.run([THENCE, *arguments], input=stdin, capture_output=True, timeout=300)
    if done.returncode != code:
        raise AssertionError(f"thence {' '.join(arguments)}: exit code {done.returncode}, not {code}\n{done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout.decode(), done.stderr.decode()


def analyzed(*arguments, code=0):
    value = json.loads(thence("analyze", "--json", *arguments, code=code)[0])
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    return value


def document(steps, duration=None, work=MS):
    """A request of fetches one after the other, each begun by the callback of the one before; times in ms."""
    resources = [{"asyncId": 1, "triggerId": 0, "type": "root", "stackTraceId": 0, "createdAt": 0, "callbackStartedAt": 0,
                  "callbackEndedAt": work, "destroyedAt": 0}]
    time = work // 2
    for at, took in enumerate(steps):
        begun = time
        done = begun + took * MS
        resources.append({"asyncId": 2 + at, "triggerId": 1 + at, "type": "fetch", "stackTraceId": 1 + at, "createdAt": begun,
                          "callbackStartedAt": done, "callbackEndedAt": done + work, "destroyedAt": 0})
        time = done + work // 2
    end = duration if duration is not None else time + work // 2
    return {"requestDurationNs": end, "resources": resources,
            "stackTraces": [{"id": 1 + at, "frames": [f"step{at} @ app.js:{10 + at}:3"]} for at in range(len(steps))],
            "annotations": [{"asyncId": 1, "key": "url", "value": "https://shop.example/checkout/17"}]
                           + [{"asyncId": 2 + at, "key": "url", "value": f"https://api.example/{at}"} for at in range(len(steps))]}


def nearest_rank(values, thousandths):
    values = sorted(values)
    return values[max(math.ceil(len(values) * thousandths / 1000), 1) - 1]


class Analyze(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="thence-analyze-")
        subprocess.run([MAKE_TRACES, cls.folder], check=True)
        os.chdir(cls.folder)
        with open("steps.json", "w", encoding="utf-8") as file:
            json.dump(document([30, 40, 50]), file)

    @classmethod
    def tearDownClass(cls):
        os.chdir("/")
        shutil.rmtree(cls.folder)

    def check_report(self, report):
        """What holds of every report, whatever the trace."""
        for request in report["requests"]:
            path = request["critical_path"]
            at = request["start_ns"]
            for segment in path["segments"]:
                self.assertEqual(segment["start_ns"], at)
                self.assertGreater(segment["end_ns"], segment["start_ns"])
                at = segment["end_ns"]
            self.assertEqual(at, request["start_ns"] + request["duration_ns"])
            self.assertEqual(sum(path["by_kind"].values()), request["duration_ns"])
            dark = path["by_kind"].get("unknown", 0) + path["by_kind"].get("tail", 0)
            by_rule = sum(part["end_ns"] - part["start_ns"] for part in path["segments"] if part.get("inferred") and part["kind"] not in ("unknown", "tail"))
            for share, unsaid in (("explained_permille", dark), ("recorded_permille", dark + by_rule)):
                whole = request["duration_ns"]
                self.assertEqual(path[share], (whole - unsaid) * 1000 // whole if whole else 1000)
            for grouping in ("by_type", "by_location"):
                self.assertEqual(sum(share["ns"] for share in path[grouping]), request["duration_ns"])
            split = request["time_split"]
            self.assertEqual(split["elapsed_ns"], request["duration_ns"])
            self.assertEqual(sum(split[part] for part in ("running_ns", "blocked_ns", "waiting_ns", "scheduling_ns", "unknown_ns")), request["duration_ns"])
            self.assertEqual(sum(wait["ns"] for wait in split["waits"]), split["waiting_ns"])
            self.assertEqual(request["gaps"]["idle_ns"] + request["gaps"]["busy_ns"], request["duration_ns"])
            self.assertLessEqual(request["ideal"]["ideal_ns"], request["duration_ns"])
            for member in path["members"]:
                self.assertLessEqual(member.get("saving_ns", 0), request["duration_ns"])
        scheduling = report["scheduling"]
        for lane in scheduling["lanes"]:
            self.assertEqual(lane["busy_ns"] + lane["parked_ns"] + lane["paused_ns"] + lane["neither_ns"], lane["last_ns"] - lane["first_ns"])
        for blocked in scheduling["blocked"]:
            parts = sum(by["ns"] for by in blocked["blocked_by"]) + sum(blocked[part] for part in ("others_ns", "parked_ns", "paused_ns", "idle_ns"))
            self.assertEqual(parts, blocked["delay_ns"])
        ends = ("fulfilled", "rejected", "cancelled", "settled_unknown", "ended_unsaid", "not_told", "pending")
        tasks = report["event_loop"]["tasks"]
        self.assertEqual(tasks["created"], sum(tasks[end] for end in ends))
        self.assertEqual(tasks["created"], sum(one["created"] for one in tasks["by_location"]))
        severities = ["high", "medium", "low", "note"]
        order = [severities.index(finding["severity"]) for finding in report["findings"]]
        self.assertEqual(order, sorted(order))
        for finding in report["findings"]:
            self.assertTrue(finding["mute_key"].startswith(finding["id"] + "|"))
            if "request" in finding and "saving_ns" in finding:
                request = next((one for one in report["requests"] if one["n"] == finding["request"]), None)
                if request is not None:
                    self.assertLessEqual(finding["saving_ns"], request["duration_ns"])

    def test_the_path_of_requests_in_a_row_is_what_they_took(self):
        report = analyzed("steps.json")
        self.check_report(report)
        request = report["requests"][0]
        self.assertEqual(request["duration_ns"], 122 * MS + MS // 2)
        self.assertEqual(request["label"], "https://shop.example/checkout/17")
        waits = [segment for segment in request["critical_path"]["segments"] if segment["kind"] == "wait"]
        self.assertEqual([(wait["end_ns"] - wait["start_ns"]) // MS for wait in waits], [30, 40, 50])
        self.assertEqual([wait["location"] for wait in waits], ["step0 @ app.js:10", "step1 @ app.js:11", "step2 @ app.js:12"])

    def test_every_trace_that_there_is_keeps_the_rules(self):
        for name in sorted(os.listdir(".")):
            if name.endswith((".pftrace", ".json")):
                with self.subTest(name):
                    self.check_report(analyzed(name))

    def test_the_report_for_people_fits_100_columns_and_adds_up(self):
        for name in ("steps.json", "request.pftrace", "requests.pftrace", "chance.pftrace"):
            text = thence("analyze", name)[0]
            self.assertLessEqual(max(len(line) for line in text.splitlines()), 100, name)
            self.assertNotIn("\033", text)
        text = thence("analyze", "steps.json")[0]
        self.assertIn("= the request's duration", text)
        self.assertIn("step2 @ app.js:12", text)
        self.assertIn("not recorded: causes", text)
        colored = thence("analyze", "--color", "always", "steps.json")[0]
        self.assertIn("\033[1m", colored)

    def test_markdown_and_html(self):
        markdown = thence("analyze", "--markdown", "steps.json")[0]
        self.assertTrue(markdown.startswith("# steps.json\n"))
        self.assertIn("| took |", markdown)
        page = thence("analyze", "--html", "steps.json")[0]
        self.assertTrue(page.startswith("<!doctype html>"))
        self.assertNotIn("<script", page)
        evil = document([5])
        evil["annotations"][0]["value"] = "<script>alert(1)</script>|x"
        with open("evil.json", "w", encoding="utf-8") as file:
            json.dump(evil, file)
        self.assertNotIn("<script", thence("analyze", "--html", "evil.json")[0])
        self.assertIn("\\|x", thence("analyze", "--markdown", "evil.json")[0])
        thence("analyze", "--html", "--json", "steps.json", code=64)

    def test_which_request(self):
        report = analyzed("requests.pftrace")
        numbers = [request["n"] for request in report["requests"]]
        self.assertEqual(numbers, sorted(numbers))
        slowest = max(report["requests"], key=lambda request: (request["duration_ns"], -request["n"]))
        self.assertEqual([one["n"] for one in analyzed("--request", "slowest", "requests.pftrace")["requests"]], [slowest["n"]])
        self.assertEqual([one["n"] for one in analyzed("--request", str(numbers[-1]), "requests.pftrace")["requests"]], [numbers[-1]])
        self.assertEqual(len(analyzed("--request", "p99", "requests.pftrace")["requests"]), 1)
        info = json.loads(thence("info", "--json", "requests.pftrace")[0])[0]
        self.assertEqual(info["requests"][numbers[0] - 1]["n"], numbers[0])
        for wrong in ("0", "99999", "slow", "p", "-1"):
            thence("analyze", "--request=" + wrong, "requests.pftrace", code=64)

    def test_several_files_and_a_damaged_one(self):
        with open("steps.json", encoding="utf-8") as file:
            text = file.read()
        with open("half.json", "w", encoding="utf-8") as file:
            file.write(text[:len(text) // 2])
        reports = analyzed("steps.json", "half.json", code=65)
        self.assertEqual(len(reports), 2)
        self.assertIsNone(reports[0]["damage"])
        self.assertIsNotNone(reports[1]["damage"])
        os.remove("half.json")
        thence("analyze", "nothing.json", code=66)

    # -- compare

    def write_side(self, name, count, slower, seed):
        chance = random.Random(seed)
        files = []
        for at in range(count):
            file_name = f"{name}-{at}.json"
            with open(file_name, "w", encoding="utf-8") as file:
                json.dump(document([30 + slower + chance.randint(0, 3), 40 + chance.randint(0, 3), 50 + chance.randint(0, 3)]), file)
            files.append(file_name)
        return files

    def test_compare(self):
        base = self.write_side("base", 6, 0, 1)
        same = self.write_side("same", 6, 0, 2)
        slow = self.write_side("slow", 6, 25, 3)
        answer = json.loads(thence("compare", "--json", *base, "--", *slow, code=2)[0])
        self.assertTrue(answer["regressed"])
        self.assertEqual(answer["duration"]["verdict"], "regressed")
        self.assertGreater(answer["duration"]["shift"], 20 * MS)
        self.assertLess(answer["duration"]["shift"], 30 * MS)
        self.assertEqual((answer["base_traces"], answer["new_traces"]), (6, 6))
        answer = json.loads(thence("compare", "--json", *base, "--", *same)[0])
        self.assertFalse(answer["regressed"])
        self.assertEqual(answer["duration"]["verdict"], "no evidence")
        answer = json.loads(thence("compare", "--json", *slow, "--", *base)[0])
        self.assertEqual(answer["duration"]["verdict"], "improved")
        # Three against three cannot tell, and say so rather than "no change".
        text = thence("compare", *base[:3], "--", *slow[:3])[0]
        self.assertIn("Underpowered: 3 against 3", text)
        self.assertNotIn("No evidence", text)
        text = thence("compare", *base, "--", *slow, code=2)[0]
        self.assertIn("REGRESSED: requests take +2", text)
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 100)
        thence("compare", base[0], code=64)

    # -- gate

    def gate(self, rules, *files, code=0, extra=()):
        with open("rules.toml", "w", encoding="utf-8") as file:
            file.write(rules)
        return thence("gate", "rules.toml", *files, *extra, code=code)

    def test_gate_keeps_and_breaks(self):
        self.gate('max_duration.p99 = "130 ms"\nmax_duration.p50 = "1 s"\nmax_lost = 0\n', "steps.json")
        out, _ = self.gate('max_duration.p99 = "100 ms"\n', "steps.json", code=1)
        self.assertIn("BROKEN", out)
        self.assertIn("122 ms is over 100 ms", out)
        self.gate('max_duration = "122.5 ms"\n', "steps.json")
        self.gate('max_duration = "122.4 ms"\n', "steps.json", code=1)
        self.gate('[[route]]\nmatch = "*/checkout/*"\nmax_duration.max = "100 ms"\n', "steps.json", code=1)
        self.gate('[[route]]\nmatch = "*/checkout/*"\nmax_duration.max = "200 ms"\n', "steps.json")
        # A route that nobody took, a delay that nobody recorded: unknown is not kept, unless it is allowed.
        out, _ = self.gate('[[route]]\nmatch = "*/cart/*"\nmax_duration.max = "200 ms"\n', "steps.json", code=1)
        self.assertIn("UNKNOWN", out)
        self.gate('max_delay.p99 = "1 ms"\n', "steps.json", code=1)
        self.gate('allow_unknown = true\nmax_delay.p99 = "1 ms"\n', "steps.json")

    def test_gate_forbids_findings(self):
        with open("block.json", "w", encoding="utf-8") as file:
            json.dump(document([30], work=300 * MS), file)
        ids = {finding["id"] for finding in analyzed("block.json")["findings"]}
        self.assertIn("loop-block", ids)
        self.gate('no = ["finding.loop-block"]\n', "steps.json")
        out, _ = self.gate('no = ["finding.loop-block"]\n', "block.json", code=1, extra=("--junit", "junit.xml", "--sarif", "out.sarif"))
        self.assertIn("no finding.loop-block", out)
        suite = ElementTree.parse("junit.xml").getroot()
        self.assertEqual((suite.get("tests"), suite.get("failures")), ("1", "1"))
        self.assertEqual(suite.find(".//testcase").get("name"), "no finding.loop-block")
        self.assertIsNotNone(suite.find(".//failure"))
        with open("out.sarif", encoding="utf-8") as file:
            sarif = json.load(file)
        self.assertEqual(sarif["version"], "2.1.0")
        errors = [one for one in sarif["runs"][0]["results"] if one["level"] == "error"]
        self.assertTrue(errors)
        rules = {rule["id"] for rule in sarif["runs"][0]["tool"]["driver"]["rules"]}
        for result in sarif["runs"][0]["results"]:
            self.assertIn(result["ruleId"], rules)
        place = errors[0]["locations"][0]["physicalLocation"]
        self.assertEqual((place["artifactLocation"]["uri"], place["region"]["startLine"]), ("app.js", 10))
        # Known and accepted.
        key = next(finding["mute_key"] for finding in analyzed("block.json")["findings"] if finding["id"] == "loop-block")
        self.gate(f'no = ["finding.loop-block"]\nmute = {json.dumps([key])}\n', "block.json")
        self.gate('no = ["finding.loop-block"]\nmute = ["loop-block|*"]\n', "block.json")
        self.gate('max_findings.loop-block = 9\n', "block.json")
        self.gate('max_findings.high = 0\n', "block.json", code=1)
        self.gate('max_blocking = 0\n', "block.json", code=1)

    def test_gate_says_where_its_rules_are_wrong(self):
        for rules, message in (("max_duration.p98 = '1 s'\n", "rules.toml:1: 'p98' is no statistic"),
                               ("\nmax_duration = 250\n", "rules.toml:2: max_duration is a duration with its unit"),
                               ("max_duratoin = '1 s'\n", "'max_duratoin' is no rule"),
                               ("max_lost = -1\n", "whole number"), ("no = ['loop-block']\n", '"finding."'),
                               ("max_lost = = 1\n", "rules.toml:1: "), ("", "has no rule")):
            _, err = self.gate(rules, "steps.json", code=64)
            self.assertIn(message, err)

    # -- flame, aggregate

    def test_flame(self):
        out, _ = thence("flame", "request.pftrace")
        self.assertEqual(out.split(), ["request.running.svg", "request.waiting.svg"])
        for name in out.split():
            self.assertEqual(ElementTree.parse(name).getroot().tag, "{http://www.w3.org/2000/svg}svg")
        out, _ = thence("flame", "--folded", "--time", "running", "-o", "-", "request.pftrace")
        self.assertTrue(all(line.rsplit(" ", 1)[1].isdigit() for line in out.splitlines()))

    def test_aggregate_is_what_a_count_over_all_files_gives(self):
        files = self.write_side("many", 40, 0, 9)
        answer = json.loads(thence("aggregate", "--json", *files)[0])
        durations = [analyzed(name)["requests"][0]["duration_ns"] for name in files]
        self.assertEqual((answer["files"], answer["requests"]), (40, 40))
        for name, thousandths in (("p50_ns", 500), ("p90_ns", 900), ("p99_ns", 990)):
            exact = nearest_rank(durations, thousandths)
            self.assertGreaterEqual(answer["durations"][name], exact)
            self.assertLessEqual(answer["durations"][name], exact * 1.0625)
        self.assertEqual(answer["durations"]["max_ns"], max(durations))
        self.assertEqual([one["duration_ns"] for one in answer["slowest"]], sorted(durations, reverse=True)[:10])
        self.assertEqual([route["route"] for route in answer["routes"]], ["https://shop.example/checkout/{}"])
        self.assertEqual(answer["routes"][0]["n"], 40)
        places = {place["what"]: place for place in answer["locations"]}
        self.assertEqual(places["wait fetch  step1 @ app.js:11"]["n"], 40)
        self.assertIn("By route", thence("aggregate", *files)[0])
        answer = json.loads(thence("aggregate", "--json", files[0], "nothing.json", code=66)[0])
        self.assertEqual((answer["files"], answer["failed"]), (1, 1))

    # -- the shared corpus, where it is

    def test_every_sample_keeps_the_rules(self):
        folder = os.path.join(SHARED, "async-trace-samples")
        if not os.path.isdir(folder):
            self.skipTest("left out: async-trace-samples are not here")
        for name in sorted(os.listdir(folder)):
            with self.subTest(name):
                self.check_report(analyzed(os.path.join(folder, name)))

    def test_the_tokio_demo_agrees_with_a_direct_computation(self):
        path = os.path.join(SHARED, "tokio-telemetry-demo.jsonl.gz")
        if not os.path.exists(path):
            self.skipTest("left out: tokio-telemetry-demo.jsonl.gz is not here")
        report = analyzed(path)
        self.check_report(report)
        with gzip.open(path, "rt", encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
        self.compare_with_events(report, events)

    def test_made_tokio_telemetry_agrees_with_a_direct_computation(self):
        chance = random.Random(4)
        events, free = [], [0, 0, 0]
        for task in range(1, 40):
            events.append({"event": "TaskSpawn", "timestamp_ns": 1000 + task, "task_id": task, "spawn_loc": f"src/a.rs:{task % 3 + 1}:7", "instrumented": True})
        time = 2000
        last_end = {}
        for _ in range(4000):
            worker, task = chance.randrange(3), chance.randrange(1, 40)
            time += chance.randrange(40)
            start = max(time, free[worker], last_end.get(task, 0) + 1)
            end = start + 1 + int(chance.expovariate(1 / 80))
            if chance.random() < 0.9:
                wake = chance.randrange(last_end.get(task, 1500), start)
                events.append({"event": "WakeEvent", "timestamp_ns": wake, "waker_task_id": 0, "woken_task_id": task, "target_worker": worker})
            events.append({"event": "PollStart", "timestamp_ns": start, "worker": worker, "local_q": chance.randrange(30), "task_id": task,
                           "spawn_loc": f"src/a.rs:{task % 3 + 1}:7"})
            events.append({"event": "PollEnd", "timestamp_ns": end, "worker": worker})
            if chance.random() < 0.1:
                events.append({"event": "WorkerPark", "timestamp_ns": end + 1, "worker": worker, "local_q": 0, "cpu_ns": 0, "tid": 10 + worker})
                end += 30
                events.append({"event": "WorkerUnpark", "timestamp_ns": end, "worker": worker, "local_q": 0, "cpu_ns": 0, "sched_wait_ns": 0, "tid": 10 + worker})
            free[worker] = end + 1
            last_end[task] = end
        events.sort(key=lambda event: event["timestamp_ns"])
        with open("made.jsonl", "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(event) + "\n" for event in events))
        report = analyzed("made.jsonl")
        self.check_report(report)
        self.compare_with_events(report, events)

    def compare_with_events(self, report, events):
        """Polls, delays, durations, utilisation and spawn locations, from the lines themselves."""
        polling, wakes, runs, location = {}, {}, {}, {}
        polls, delays = {}, {}
        busy, parked, parked_since, window, told = {}, {}, {}, {}, set()
        depth, depths = {}, {}
        self_wakes = 0
        spawned = {}
        place = lambda text: text.rsplit(":", 1)[0]
        current = {}
        for event in events:
            time, kind = event["timestamp_ns"], event["event"]
            worker = event.get("worker")
            if worker is not None and kind in ("PollStart", "PollEnd", "WorkerPark", "WorkerUnpark", "CpuSample"):
                first, _ = window.get(worker, (time, time))
                window[worker] = (first, time)
            if kind in ("PollStart", "PollEnd", "WorkerPark", "WorkerUnpark") and "local_q" in event:
                depth[worker] = event["local_q"]
            if kind == "TaskSpawn":
                spawned[place(event["spawn_loc"])] = spawned.get(place(event["spawn_loc"]), 0) + 1
                location[event["task_id"]] = place(event["spawn_loc"])
            elif kind == "WakeEvent":
                wakes.setdefault(event["woken_task_id"], []).append((time, event["waker_task_id"]))
            elif kind == "PollStart":
                task = event["task_id"]
                location.setdefault(task, place(event["spawn_loc"]))
                pending = [wake for wake in wakes.get(task, [])]
                runs.setdefault(task, []).append([time, None, worker, pending[0] if pending else None])
                polling[worker] = (task, time, runs[task][-1])
                wakes[task] = []
                if worker in depth:
                    depths.setdefault(worker, []).append(depth[worker])
            elif kind == "PollEnd" and worker in polling:
                task, start, run = polling.pop(worker)
                run[1] = time
                polls.setdefault((worker, location[task]), []).append(time - start)
                busy[worker] = busy.get(worker, 0) + time - start
            elif kind == "WorkerPark":
                parked_since[worker] = time
                told.add(worker)
            elif kind == "WorkerUnpark":
                since = parked_since.pop(worker, time if worker in told else window[worker][0])
                parked[worker] = parked.get(worker, 0) + time - since
                told.add(worker)
        for worker, since in parked_since.items():
            parked[worker] = parked.get(worker, 0) + window[worker][1] - since
        # While it ran it did not wait: also where another worker's clock says that it began before the run before had ended.
        for task, polled in runs.items():
            before = None
            for start, end, worker, wake in polled:
                if wake is not None:
                    delays.setdefault((worker, location[task]), []).append(start - max(wake[0], min(before or 0, start)))
                    self_wakes += 1 if wake[1] == task else 0
                before = end
        scheduling = report["scheduling"]

        def check(is_of, values, unit="_ns"):
            self.assertEqual(is_of["n"], len(values))
            if not values:
                return
            self.assertEqual(is_of["sum" + unit], sum(values))
            self.assertEqual(is_of["max" + unit], max(values))
            self.assertEqual(is_of["p50" + unit], nearest_rank(values, 500))
            for name, thousandths, fewest in (("p90", 900, 10), ("p99", 990, 100), ("p999", 999, 1000)):
                self.assertEqual(is_of.get(name + unit), nearest_rank(values, thousandths) if len(values) >= fewest else None)

        every = lambda table, keep: [value for key, values in table.items() if keep(key) for value in values]
        check(scheduling["delays"], every(delays, lambda key: True))
        check(scheduling["durations"], every(polls, lambda key: True))
        self.assertEqual(scheduling["runs"], len(every(polls, lambda key: True)))
        self.assertEqual(scheduling["wakes"], sum(1 for event in events if event["event"] == "WakeEvent"))
        self.assertEqual(scheduling["self_wakes"], self_wakes)
        self.assertEqual(len(scheduling["lanes"]), len(window))
        for lane in scheduling["lanes"]:
            worker = int(lane["lane"].split()[1])
            check(lane["durations"], every(polls, lambda key: key[0] == worker))
            check(lane["delays"], every(delays, lambda key: key[0] == worker))
            check(lane["queue"], depths[worker], "")
            self.assertEqual(lane["busy_ns"], busy[worker])
            self.assertEqual(lane["parked_ns"], parked[worker])
            self.assertEqual((lane["first_ns"], lane["last_ns"]), window[worker])
        places = {key[1] for key in polls}
        self.assertEqual({one["location"] for one in scheduling["locations"]}, places)
        for one in scheduling["locations"]:
            check(one["durations"], every(polls, lambda key: key[1] == one["location"]))
            check(one["delays"], every(delays, lambda key: key[1] == one["location"]))
        created = {one["location"]: one["created"] for one in report["event_loop"]["tasks"]["by_location"]}
        self.assertEqual(created, spawned)
        self.assertEqual(report["event_loop"]["tasks"]["created"], sum(spawned.values()))
        print(f"tokio: {len(every(polls, lambda key: True))} polls, {len(every(delays, lambda key: True))} delays, {len(places)} locations agree", file=sys.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
