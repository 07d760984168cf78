# SPDX-License-Identifier: MIT
"""`thence convert`: every format from every format, read by readers that are not ours, the same bytes every time, and back.

    exports_test.py <thence> <make_traces> <source directory>
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema

THENCE, MAKE_TRACES, SOURCE = sys.argv[1:4]
TESTS = os.path.join(SOURCE, "tests", "exporters")
SPEEDSCOPE = os.path.join(SOURCE, "build", "deps", "speedscope", "node_modules", "speedscope")
DEVTOOLS = os.path.join(SOURCE, "build", "deps", "devtools", "node_modules", "@paulirish", "trace_engine")
TRACES = ["request", "requests", "chance", "lost", "other", "native"]


def thence(*arguments, code=0):
    done = subprocess.run([THENCE, *arguments], capture_output=True, timeout=300)
    if done.returncode != code:
        raise AssertionError(f"thence {' '.join(arguments)}: exit code {done.returncode}, not {code}\n{done.stderr.decode()}")
    return done.stdout


def read(path):
    with open(path, "rb") as file:
        return file.read()


def document_of(path):
    """A document without the lanes on which nothing of the request happened: a .pftrace has no record that says their numbers."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    used = set()

    def look(value):
        for key, inner in (value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()):
            if key == "lane" or (isinstance(key, str) and key.endswith("Lane")):
                used.add(inner)
            look(inner)
    look({key: value for key, value in document.items() if key != "thence"})
    look({key: value for key, value in document["thence"].items() if key != "lanes"})
    document["thence"]["lanes"] = [lane for lane in document["thence"]["lanes"] if lane["id"] in used]
    return document


class Exports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="thence-exports-")
        subprocess.run([MAKE_TRACES, cls.folder], check=True)
        os.chdir(cls.folder)

    @classmethod
    def tearDownClass(cls):
        os.chdir("/")
        shutil.rmtree(cls.folder)

    def export_all(self, trace, folder):
        os.makedirs(folder)
        thence("convert", trace, folder, "--to", "csv")
        thence("convert", trace, f"{folder}/events.jsonl")
        thence("convert", trace, f"{folder}/chrome.json", "--to", "chrome")
        for by in ("stack", "chain"):
            for time in ("running", "waiting", "both"):
                for end in ("folded", "svg"):
                    thence("convert", trace, f"{folder}/{by}.{time}.{end}", "--by", by, "--time", time, "-q")

    def test_what_is_exported_is_read_and_understood_alike_by_readers_that_are_not_ours(self):
        for name in TRACES:
            with self.subTest(name):
                self.export_all(f"{name}.pftrace", f"out-{name}")
                done = subprocess.run([sys.executable, os.path.join(TESTS, "check_exports.py"), f"out-{name}",
                                       os.path.join(SOURCE, "docs", "events.schema.json")], capture_output=True, text=True)
                self.assertEqual((done.stdout, done.stderr, done.returncode), ("", "", 0))

    @unittest.skipUnless(shutil.which("node") and os.path.isdir(SPEEDSCOPE), "no npm package speedscope in build/deps/speedscope")
    def test_speedscope_reads_what_is_exported(self):
        for name in ("request", "chance"):
            self.export_all(f"{name}.pftrace", f"speed-{name}")
            done = subprocess.run([sys.executable, os.path.join(TESTS, "speedscope_check.py"), shutil.which("node"), SPEEDSCOPE, f"speed-{name}"],
                                  capture_output=True, text=True)
            self.assertEqual((done.stdout, done.stderr, done.returncode), ("", "", 0))

    @unittest.skipUnless(shutil.which("node") and os.path.isdir(DEVTOOLS), "no npm package @paulirish/trace_engine in build/deps/devtools")
    def test_the_trace_engine_of_chromiums_devtools_reads_what_is_exported(self):
        for name in ("requests", "chance"):
            thence("convert", f"{name}.pftrace", f"{name}.chrome.json", "-q")
            done = subprocess.run([shutil.which("node"), os.path.join(TESTS, "devtools_check.mjs"), DEVTOOLS, f"{name}.chrome.json"],
                                  capture_output=True, text=True)
            self.assertEqual((done.stdout, done.stderr, done.returncode), ("", "", 0))

    def test_the_same_input_gives_the_same_bytes_in_every_format(self):
        for to in ("pftrace", "jsonl", "resources.csv", "events.csv", "chrome", "folded", "svg"):
            for packed in ("", ".gz", ".zst"):
                thence("convert", "chance.pftrace", f"one.{to}{packed}", "--to", to, "-q")
                thence("convert", "chance.pftrace", f"two.{to}{packed}", "--to", to, "-q")
                self.assertEqual(read(f"one.{to}{packed}"), read(f"two.{to}{packed}"), to + packed)

    def test_a_pftrace_through_pftrace_says_the_same_events(self):
        for name in TRACES:
            thence("convert", f"{name}.pftrace", "again.pftrace")
            self.assertEqual(thence("convert", f"{name}.pftrace", "-", "--to", "jsonl"), thence("convert", "again.pftrace", "-", "--to", "jsonl"), name)

    def test_json_goes_to_pftrace_and_back_without_a_difference_and_keeps_its_schema(self):
        schema = json.load(open(os.path.join(SOURCE, "docs", "async-trace.schema.json"), encoding="utf-8"))
        thence("convert", "requests.pftrace", "documents/", "--to", "json")
        self.assertEqual(sorted(os.listdir("documents")), ["no-request.json", "request-1.json", "request-2.json", "request-3.json"])
        for name in os.listdir("documents"):
            document = json.load(open(f"documents/{name}", encoding="utf-8"))
            jsonschema.validators.validator_for(schema)(schema).validate(document)
        for name in ("request-1.json", "request-2.json", "request-3.json"):
            first = f"documents/{name}"
            thence("convert", first, "between.pftrace")
            thence("convert", "between.pftrace", "back.json")
            self.assertEqual(document_of(first), document_of("back.json"), name)
            thence("convert", first, "straight.json")
            self.assertEqual(json.load(open(first)), json.load(open("straight.json")), name)
        thence("convert", "requests.pftrace", "second.json", "--request", "2")
        self.assertEqual(json.load(open("second.json")), json.load(open("documents/request-2.json")))

    def test_a_plain_document_keeps_every_member_of_its_format(self):
        document = {
            "requestDurationNs": 119000000,
            "resources": [
                {"asyncId": 1, "triggerId": 0, "type": "root", "stackTraceId": 0, "createdAt": 0, "callbackStartedAt": 0, "callbackEndedAt": 119000000, "destroyedAt": 120000000},
                {"asyncId": 2, "triggerId": 1, "type": "stream-tee", "stackTraceId": 1, "createdAt": 1000000, "callbackStartedAt": 51000000, "callbackEndedAt": 52000000, "destroyedAt": 0},
                {"asyncId": 3, "triggerId": 1, "type": "timer", "stackTraceId": 1, "createdAt": 1500000, "callbackStartedAt": 51500000, "callbackEndedAt": 52500000, "destroyedAt": 53000000},
                {"asyncId": 4, "triggerId": 3, "type": "js-promise", "stackTraceId": 2, "createdAt": 52000000, "callbackStartedAt": 0, "callbackEndedAt": 0, "destroyedAt": 0}],
            "stackTraces": [{"id": 0, "frames": ["fetch @ worker.js:5:10"]}, {"id": 1, "frames": ["setTimeout @ worker.js:15:10", "go @ worker.js:12:3"]}, {"id": 2, "frames": []}],
            "annotations": [{"asyncId": 2, "key": "url", "value": "https://a.example/?q=\u00e9\u4e2d\"\\"}, {"asyncId": 3, "key": "delay", "value": "50"}]}
        with open("plain.json", "w", encoding="utf-8") as file:
            json.dump(document, file)
        for way in (["plain.json"], ["plain.pftrace"]):
            if way == ["plain.pftrace"]:
                thence("convert", "plain.json", "plain.pftrace")
            thence("convert", way[0], "result.json")
            result = json.load(open("result.json", encoding="utf-8"))
            stacks = {stack["id"]: stack["frames"] for stack in result["stackTraces"]}
            wanted = {stack["id"]: stack["frames"] for stack in document["stackTraces"]}
            for before, after in zip(document["resources"], result["resources"]):
                for member in before:
                    if member != "stackTraceId":
                        self.assertEqual(after[member], before[member], (before["asyncId"], member))
                self.assertEqual(stacks[after["stackTraceId"]], wanted[before["stackTraceId"]])
            self.assertEqual([{k: a[k] for k in ("asyncId", "key", "value")} for a in result["annotations"]], document["annotations"])
            self.assertEqual(result["requestDurationNs"] > 0, True)

    def test_a_selection_keeps_what_it_asks_for_and_what_led_to_it(self):
        def kept(*arguments):
            out = thence("convert", "requests.pftrace", "-", "--to", "jsonl", *arguments)
            return [json.loads(line)["resource"] for line in out.splitlines() if b'"created"' in line]
        self.assertEqual(kept("--request", "2"), [11, 12, 13])
        self.assertEqual(kept("--type", "fetch"), [1, 2, 11, 12, 21, 22])
        self.assertEqual(kept("--type", "FE*", "--type", "other"), [1, 2, 11, 12, 21, 22, 99])
        self.assertEqual(kept("--request", "3", "--type", "timer"), [21, 23])
        # 1 runs 0..300 us of its request, its fetch 0.1..50 us, its timer 0.2..60 us.
        self.assertEqual(kept("--range", "..55us"), [1, 2, 3])
        self.assertEqual(kept("--range", "55us..100us"), [1, 3])
        self.assertEqual(kept("--range", "1ms..1100us"), [11, 12, 13])
        self.assertEqual(kept("--range", "@4999999.."), [99])
        self.assertEqual(kept("--range", "3500us.."), [99])
        sealed = thence("convert", "requests.pftrace", "-", "--to", "jsonl", "--request", "2").count(b'"root-sealed"')
        self.assertEqual(sealed, 1)

    @unittest.skipUnless(shutil.which("protoc"), "no protoc")
    def test_official_protobuf_reads_what_is_written(self):
        for name in ("chance", "requests"):
            thence("convert", f"{name}.pftrace", "decoded.pftrace")
            with open("decoded.pftrace", "rb") as file:
                done = subprocess.run(["protoc", "--decode_raw"], stdin=file, capture_output=True)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertGreater(done.stdout.count(b"\n"), 100)

    def test_notes_say_what_a_format_could_not_take(self):
        done = subprocess.run([THENCE, "convert", "lost.pftrace", "lost.folded"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("resources are left out: a begin or an end that their time depends on is not known", done.stderr)
        answer = json.loads(thence("convert", "lost.pftrace", "lost.folded", "--json", "-q"))
        self.assertEqual(len(answer["notes"]), 1)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], warnings="ignore")
