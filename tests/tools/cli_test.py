# SPDX-License-Identifier: MIT
"""The thence command end to end: exit codes, messages word for word, stdin and stdout, JSON answers, completion, manual.

    cli_test.py <thence> <make_traces> <source directory>
"""
import gzip
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

import jsonschema

THENCE, MAKE_TRACES, SOURCE = sys.argv[1:4]
SCHEMA = json.load(open(os.path.join(SOURCE, "docs", "thence.schema.json"), encoding="utf-8"))

DOCUMENT = {
    "requestDurationNs": 5000,
    "resources": [
        {"asyncId": 1, "triggerId": 0, "type": "root", "stackTraceId": 0, "createdAt": 0, "callbackStartedAt": 0,
         "callbackEndedAt": 900, "destroyedAt": 5000},
        {"asyncId": 2, "triggerId": 1, "type": "fetch", "stackTraceId": 1, "createdAt": 100, "callbackStartedAt": 3000,
         "callbackEndedAt": 3100, "destroyedAt": 4000}],
    "stackTraces": [{"id": 1, "frames": ["load @ app.js:7:3", "main @ app.js:40:1"]}],
    "annotations": [{"asyncId": 2, "key": "url", "value": "https://a.example/"}]}


def thence(*arguments, stdin=b"", env=None, code=0):
    """(stdout as text, stderr as text); the exit code must be `code`."""
    environment = {**os.environ, **(env or {})}
    done = subprocess.run([THENCE, *arguments], input=stdin, capture_output=True, env=environment, timeout=120)
    if done.returncode != code:
        raise AssertionError(f"thence {' '.join(arguments)}: exit code {done.returncode}, not {code}\n{done.stderr.decode()}")
    return done.stdout.decode(), done.stderr.decode()


def validated(name, text):
    value = json.loads(text)
    jsonschema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}"}).validate(value)
    return value


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="thence-cli-")
        subprocess.run([MAKE_TRACES, cls.folder], check=True)
        os.chdir(cls.folder)
        with open("request.json", "w", encoding="utf-8") as file:
            json.dump(DOCUMENT, file)

    @classmethod
    def tearDownClass(cls):
        os.chdir("/")
        shutil.rmtree(cls.folder)

    # ---- the command line

    def test_wrong_use_ends_with_64_and_says_what_is_wrong(self):
        for arguments, message in [
                (["nonsense"], "thence: 'nonsense' is no subcommand: there are analyze, compare, gate, aggregate, flame, info, convert, query, cat, merge, symbolize, check, completion, man\n"),
                ([], "thence: A subcommand is required\nRun with --help for what is understood.\n"),
                (["info"], "thence: FILE is required\nRun with --help for what is understood.\n"),
                (["convert", "request.json", "out.xyz"], "thence: out.xyz: its name does not say a format: use --to\n"),
                (["convert", "request.json", "-"], "thence: standard output: its name does not say a format: use --to\n"),
                (["convert", "request.json", "-", "--to", "csv"],
                 "thence: csv is two files: give a folder (out/), or --to resources.csv or events.csv\n"),
                (["convert", "request.json", "-", "--to", "jsonl", "--json"],
                 "thence: --json would mix with the trace on standard output\n"),
                (["convert", "request.json", "out.jsonl", "--range", "5"],
                 "thence: --range 5: expected A..B, like 10ms..20ms; either end may be left out\n"),
                (["convert", "request.json", "out.jsonl", "--range", "5h.."],
                 "thence: --range 5h..: '5h' is no time: expected a number and a unit, like 10ms (ns, us, ms, s, m)\n"),
                (["convert", "request.json", "out.jsonl", "--range", "5ms..1ms"],
                 "thence: --range 5ms..1ms: ends before it begins\n"),
                (["convert", "request.json", "out.jsonl", "--request", "2"], "thence: --request 2: there is 1 request\n"),
                (["convert", "requests.pftrace", "out.jsonl", "--request", "7"], "thence: --request 7: there are 3 requests\n"),
                (["convert", "requests.pftrace", "out.json"],
                 "thence: the async-trace JSON is one document a request, and there are 3 requests: choose one with --request N, or "
                 "give a folder (out.json/)\n"),
                (["convert", "request.json", "out.svg", "--min", "much"],
                 "thence: --min much: expected a number and a unit, like 1ms (ns, us, ms, s, m)\n"),
                (["query", "request.json", "wait>fast"],
                 "thence: query: 'wait>fast': expected a number and a unit, like 50ms (ns, us, ms, s, m), not 'fast'\n"),
                (["merge", "-", "-", "-o", "out.pftrace"], "thence: standard input can be read once only\n"),
        ]:
            with self.subTest(arguments):
                out, err = thence(*arguments, code=64)
                self.assertEqual(out, "")
                self.assertEqual(err, message)
        self.assertFalse(os.path.exists("out.jsonl") or os.path.exists("out.json") or os.path.exists("out.svg"))
        _, err = thence("convert", "request.json", "out.jsonl", "--to", "yaml", code=64)
        self.assertIn("yaml", err)

    def test_help_and_version_end_with_0(self):
        self.assertRegex(thence("--version")[0], r"^thence \d+\.\d+\.\d+\n$")
        self.assertIn("convert", thence("--help")[0])
        self.assertIn("--request", thence("convert", "--help")[0])

    # ---- bad input, word for word

    def bad(self, name, content, message, code=65, command=("info",)):
        with open(name, "wb") as file:
            file.write(content)
        _, err = thence(*command, name, code=code)
        self.assertEqual(err, f"thence: {name}{message}\n")

    def test_a_file_that_cannot_be_opened_ends_with_66(self):
        self.assertEqual(thence("info", "nothing.pftrace", code=66)[1],
                         "thence: nothing.pftrace: cannot be opened: No such file or directory\n")
        self.assertEqual(thence("info", ".", code=66)[1], "thence: .: is a folder, not a trace\n")

    def test_a_file_that_is_no_trace_is_told_by_its_content(self):
        self.bad("empty", b"", ": is empty", 66)
        self.bad("elf.pftrace", b"\x7fELF\x02\x01\x01" + b"\0" * 90,
                 r": is not a trace that is read here: it begins with '\x7fELF\x02\x01\x01\x00'", 66)
        self.bad("text.json", b"hello, world\n", ": is not a trace that is read here: it begins with 'hello, w'", 66)
        self.bad("other.json", b'{"a": 1}',
                 ": is JSON, but of no format that is read here (async-trace, Tokio telemetry, Chrome trace events); --from says which it is", 66)
        thence("convert", "request.json", "ours.jsonl")
        self.assertEqual(thence("info", "ours.jsonl", code=66)[1],
                         "thence: ours.jsonl: is our JSONL, which is written and not read: keep the .pftrace or the JSON\n")

    def test_a_cut_off_or_damaged_trace_ends_with_65_says_where_and_uses_what_is_good(self):
        whole = open("requests.pftrace", "rb").read()
        with open("cut.pftrace", "wb") as file:
            file.write(whole[:len(whole) // 2])
        out, err = thence("info", "cut.pftrace", code=65)
        match = re.fullmatch(r"thence: cut.pftrace: cut off at byte ([\d,]+): expected .+; (\d+) events before it are good\n", err)
        self.assertTrue(match, err)
        self.assertLessEqual(int(match[1].replace(",", "")), len(whole) // 2)
        self.assertIn("damage", out)
        lines = [json.loads(line) for line in thence("cat", "--json", "cut.pftrace", code=65)[0].splitlines()]
        self.assertEqual(len([line for line in lines if "time" in line]), int(match[2]))
        # What is good of it is converted, and the exit code tells.
        thence("convert", "cut.pftrace", "good.jsonl", "-q", code=65)
        self.assertEqual(len([1 for line in open("good.jsonl") if '"time"' in line]), int(match[2]))
        broken = bytearray(whole)
        broken[len(whole) // 2:] = b"\xff" * (len(whole) - len(whole) // 2)
        with open("damaged.pftrace", "wb") as file:
            file.write(broken)
        err = thence("info", "damaged.pftrace", code=65)[1]
        self.assertRegex(err, r"^thence: damaged.pftrace: (damaged|cut off) at byte [\d,]+: expected .+; [\d,]+ events before it are good\n$")

    def test_damaged_json_is_told_by_byte_and_line(self):
        text = json.dumps(DOCUMENT, indent=1).encode()
        at = text.index(b'"stackTraces"')
        line = text[:at].count(b"\n") + 1
        self.bad("bad.json", text[:at] + b"?" + text[at:],
                 f": damaged at byte {at}, line {line}: expected a key; 9 events before it are good")
        end = text.index(b'"annotations"') + 5
        self.bad("short.json", text[:end],
                 f": cut off at byte {end}, line {text[:end].count(10) + 1}: expected '\"'; 9 events before it are good")

    def test_damaged_zstd_is_told_by_the_byte_of_the_file_and_a_bomb_is_refused_in_little_memory(self):
        def frame(*blocks, window=7):
            """A zstd frame by its specification (RFC 8878), without a checksum; a block is bytes, or (one byte, how often)."""
            out = b"\x28\xb5\x2f\xfd\0" + bytes([window << 3])
            for at, block in enumerate(blocks):
                repeated = isinstance(block, tuple)
                size = block[1] if repeated else len(block)
                out += ((at == len(blocks) - 1) | repeated << 1 | size << 3).to_bytes(3, "little") + (block[0] if repeated else block)
            return out
        def write(name, content):
            with open(name, "wb") as file:
                file.write(content)
        document = json.dumps(DOCUMENT).encode()
        blanks = (b" ", 1 << 17)
        write("plain.zst", frame(document))
        whole = thence("info", "--json", "plain.zst")[0]
        # What is decompressed by the last byte is more than a piece: nothing of it is missing.
        for count in (1, 2, 3, 4):
            write("long.zst", frame(document, *[blanks] * count))
            self.assertEqual(json.loads(thence("info", "--json", "long.zst")[0])[0]["resources"], json.loads(whole)[0]["resources"])
        # 1 GB of 32 KB.
        bomb = frame(document, *[blanks] * 8192)
        write("bomb.zst", bomb)
        running = subprocess.Popen([THENCE, "info", "bomb.zst"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        err = running.stderr.read()
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        running.stderr.close()
        self.assertEqual(running.returncode, 65)
        self.assertRegex(err, r"^thence: bomb.zst: damaged at byte [\d,]+: expected compressed data that expands less than 500 times; 10 events before it are good\n$")
        self.assertLess(used.ru_maxrss, 400_000)  # KB
        # A frame that asks for a window of 256 MB.
        self.bad("window.zst", frame(document, window=18), ": damaged at byte 0: expected zstd data; 0 events before it are good")
        # Cut off, or a byte changed, anywhere: said, with a place in the file; never taken for good.
        thence("convert", "requests.pftrace", "good.pftrace.zst")
        good = open("good.pftrace.zst", "rb").read()
        for at in range(5, len(good), max(1, len(good) // 60)):
            write("cut.zst", good[:at])
            done = subprocess.run([THENCE, "info", "cut.zst"], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 65 if "cut off" in done.stderr else 66)
            self.assertRegex(done.stderr, rf"^thence: cut.zst: (is empty|cut off at byte {at:,}: expected more of the zstd data; "
                                          r"[\d,]+ events? before it (are|is) good)\n$")
            write("flipped.zst", good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:])
            done = subprocess.run([THENCE, "info", "flipped.zst"], capture_output=True, text=True, timeout=60)
            self.assertIn(done.returncode, (65, 66), at)
            self.assertRegex(done.stderr, r"^thence: flipped.zst: ")

    def test_each_kind_of_bad_input_has_its_words(self):
        whole = open("requests.pftrace", "rb").read()
        resource = '{"asyncId":1,"triggerId":0,"type":"root","stackTraceId":0,"createdAt":0,"callbackStartedAt":0,"callbackEndedAt":5,"destroyedAt":0}'
        tokio = b'{"event":"TaskSpawn","timestamp_ns":1,"task_id":7}\n'
        def varint(number):
            out = b""
            while number > 127:
                out, number = out + bytes([number & 127 | 128]), number >> 7
            return out + bytes([number])
        def field(number, content):
            return varint(number << 3 | 2) + varint(len(content)) + content
        none = "; 0 events before it are good"
        for name, content, message in [
                # cut off, in each format
                ("cut-short.pftrace", whole[:100], ": cut off at byte 100: expected the rest of a packet" + none),
                ("cut.tokio", tokio + b'{"event":"Poll', ": cut off at byte 65, line 2: expected '\"'; 1 event before it is good"),
                ("cut.chrome", b'[{"name":"a","ph":"X"', ": cut off at byte 21, line 1: expected ',' or '}'" + none),
                ("cut.json", b'{"requestDurationNs":1,"resources":[', ": cut off at byte 36, line 1: expected a value or ']'" + none),
                # numbers that cannot be
                ("negative.chrome", b'[{"name":"a","ph":"X","ts":1,"dur":-5,"pid":1,"tid":1}]',
                 ": damaged at byte 35, line 1: expected a number of microseconds, 0 or more" + none),
                ("negative.json", b'{"requestDurationNs":-5,"resources":[]}',
                 ": damaged at byte 21, line 1: expected a whole number, 0 or more" + none),
                ("beyond.json", b'{"resources":[{"asyncId":9007199254740993}]}',
                 ": damaged at byte 25, line 1: expected an id below 281474976710656" + none),
                ("beyond.tokio", tokio + b'{"event":"TaskSpawn","timestamp_ns":1,"task_id":9007199254740993}',
                 ": damaged at byte 99, line 2: expected an id below 281474976710656; 1 event before it is good"),
                ("huge.json", b'{"requestDurationNs":1e999,"resources":[]}',
                 ": damaged at byte 21, line 1: expected a number that fits a double" + none),
                # what is nested too deep
                ("deep.json", b'{"requestDurationNs":1,"x":' + b"[" * 1_000_000, ": damaged at byte 282, line 1: expected less nesting" + none),
                ("deep.chrome", b'[{"args":{"x":' + b"[" * 1_000_000, ": damaged at byte 267, line 1: expected less nesting" + none),
                # what is no UTF-8
                ("latin1.json", b'{"requestDurationNs":1,"resources":[],"x":"\xe9"}', ": damaged at byte 43, line 1: expected UTF-8" + none),
                # a packet that says it is longer than any, and bytes that are no packet
                ("long.pftrace", whole[:0] + b"\x0a\xff\xff\xff\xff\x0f", ": is not a trace that is read here: it begins with '\\x0a\\xff\\xff\\xff\\xff\\x0f'"),
                ("after.pftrace", whole + b"\0", f": damaged at byte {len(whole):,}: expected a packet; 30 events before it are good"),
                # compressed packets that become too much: 512 MB of empty packets
                ("bomb.pftrace", field(1, field(50, zlib.compress(b"\x0a\0" * (1 << 28), 9))),
                 ": damaged at byte 4: expected compressed packets that become fewer bytes" + none),
        ]:
            with self.subTest(name):
                self.bad(name, content, message, 66 if "is not a trace" in message else 65)
        # Triggers in a circle, ends before beginnings: read as they stand; check says so.
        circle = '{"requestDurationNs":9,"resources":[' + ",".join(
            resource.replace('"asyncId":1,"triggerId":0', f'"asyncId":{n},"triggerId":{n % 3 + 1}')
            .replace('"callbackStartedAt":0,"callbackEndedAt":5', '"callbackStartedAt":8,"callbackEndedAt":3') for n in (1, 2, 3)) + "]}"
        with open("circle.json", "w", encoding="utf-8") as file:
            file.write(circle)
        (info,) = validated("info", thence("info", "--json", "circle.json")[0])
        self.assertEqual((info["resources"]["count"], info["quality"]["exits_unmatched"]), (3, 3))
        # Each was entered once, whatever its exit says.
        self.assertEqual(([each["invocations"] for each in info["resources"]["types"]], info["records"]["invocations"]), ([3], 3))
        thence("convert", "circle.json", "circle.pftrace", "-q")
        self.assertEqual(thence("query", "--count", "circle.pftrace")[0], "3\n")
        (answer,) = validated("check", thence("check", "--json", "circle.json", code=1)[0])
        self.assertIn("invocations", [promise["name"] for promise in answer["promises"] if promise["broken"]])

    def test_what_a_reader_passes_over_is_said(self):
        with open("ends.json", "w", encoding="utf-8") as file:
            file.write('[{"name":"a","ph":"E","ts":1,"pid":1,"tid":1},{"name":"a","ph":"?","ts":1,"pid":1,"tid":1}]')
        out = thence("info", "ends.json")[0]
        self.assertIn("not read    events of a phase that is not read: 1, ends of slices that did not begin: 1\n", out)
        self.assertIn("time        unknown: there is no event", out)
        (info,) = validated("info", thence("info", "--json", "ends.json")[0])
        self.assertEqual(info["unread"], {"unknown_phases": 1, "unmatched_ends": 1})
        self.assertNotIn("span_ns", info["time"])
        self.assertEqual(thence("convert", "ends.json", "ends.jsonl")[1],
                         "thence: ends.json: not read: events of a phase that is not read: 1\n"
                         "thence: ends.json: not read: ends of slices that did not begin: 1\n")
        self.assertIn("  none    ids: ", thence("check", "ends.json")[0])
        for command in (["cat", "ends.json"], ["query", "ends.json"], ["merge", "ends.json", "request.json", "-o", "ends.jsonl"]):
            self.assertIn("thence: ends.json: not read: ends of slices that did not begin: 1\n", thence(*command)[1])
            self.assertEqual(thence(*command, "-q")[1], "")

    def test_a_file_that_may_not_be_read_ends_with_66(self):
        with tempfile.TemporaryDirectory(prefix="thence-secret-") as folder:
            os.chmod(folder, 0o755)
            secret, program = os.path.join(folder, "secret.json"), os.path.join(folder, "thence")
            with open(secret, "w", encoding="utf-8") as file:
                json.dump(DOCUMENT, file)
            os.chmod(secret, 0)
            # Root may read everything: it asks as somebody else, with a program that everybody may run.
            shutil.copy(THENCE, program)
            as_nobody = (lambda: os.setuid(65534)) if os.geteuid() == 0 else None
            done = subprocess.run([program, "info", secret], capture_output=True, preexec_fn=as_nobody, cwd=folder, timeout=60)
            self.assertEqual((done.returncode, done.stderr.decode()), (66, f"thence: {secret}: cannot be opened: Permission denied\n"))
        if os.path.exists("/proc/self/mem"):
            self.assertEqual(thence("info", "/proc/self/mem", code=66)[1],
                             "thence: /proc/self/mem: cannot be read beyond byte 0: Input/output error\n")

    def test_damaged_compression_is_told_as_such(self):
        whole = gzip.compress(open("requests.pftrace", "rb").read())
        self.bad("cut.gz", whole[:len(whole) // 2],
                 f": cut off at byte {len(whole) // 2:,}: expected more of the gzip data; " +
                 self.good_of("cut.gz") + " before it are good")
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 0xff
        with open("damaged.gz", "wb") as file:
            file.write(damaged)
        self.assertRegex(thence("info", "damaged.gz", code=65)[1],
                         r"^thence: damaged.gz: damaged at byte [\d,]+: expected gzip data; \d+ events before it are good\n$")

    def good_of(self, name):
        whole = gzip.compress(open("requests.pftrace", "rb").read())
        with open(name, "wb") as file:
            file.write(whole[:len(whole) // 2])
        return re.search(r"(\d+ events?) before", thence("info", name, code=65)[1])[1]

    def test_a_compression_bomb_is_refused_in_bounded_time_and_memory(self):
        import resource
        # 1 GB of blanks in 1 MB.
        with open("bomb.gz", "wb") as file:
            piece = gzip.compress(b'{"traceEvents":[' + b" " * (1 << 20), 9)
            blanks = gzip.compress(b" " * (1 << 27), 9)
            file.write(piece + blanks * 8)
        began = time.monotonic()
        done = subprocess.run([THENCE, "info", "bomb.gz"], capture_output=True, timeout=120,
                              preexec_fn=None if "ASAN_OPTIONS" in os.environ else
                              lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertRegex(done.stderr.decode(), r"^thence: bomb.gz: damaged at byte [\d,]+: expected compressed data that expands less than 500 times; 0 events")
        self.assertLess(time.monotonic() - began, 100)

    # ---- input and output

    def test_formats_are_told_by_content_and_not_by_name(self):
        shutil.copy("requests.pftrace", "lies.json")
        shutil.copy("request.json", "lies.pftrace")
        self.assertEqual(validated("info", thence("info", "--json", "lies.json")[0])[0]["format"], "pftrace")
        self.assertEqual(validated("info", thence("info", "--json", "lies.pftrace")[0])[0]["format"], "json")
        thence("convert", "request.json", "request.chrome.json")
        self.assertEqual(validated("info", thence("info", "--json", "request.chrome.json")[0])[0]["format"], "chrome")
        with open("tokio", "w", encoding="utf-8") as file:
            file.write('{"event":"TaskSpawn","timestamp_ns":10,"task_id":3,"spawn_loc":"src/main.rs:2:1","instrumented":true}\n')
        self.assertEqual(validated("info", thence("info", "--json", "tokio")[0])[0]["format"], "tokio")

    def test_stdin_and_stdout_give_the_same_as_files_plain_and_compressed(self):
        thence("convert", "requests.pftrace", "plain.jsonl")
        plain = open("plain.jsonl", "rb").read()
        whole = open("requests.pftrace", "rb").read()
        self.assertEqual(thence("convert", "-", "-", "--to", "jsonl", stdin=whole)[0].encode(), plain)
        self.assertEqual(thence("convert", "-", "-", "--to", "jsonl", stdin=gzip.compress(whole))[0].encode(), plain)
        two_members = gzip.compress(whole[:1000]) + gzip.compress(whole[1000:])
        self.assertEqual(thence("convert", "-", "-", "--to", "jsonl", stdin=two_members)[0].encode(), plain)
        thence("convert", "requests.pftrace", "packed.jsonl.gz")
        self.assertEqual(gzip.open("packed.jsonl.gz").read(), plain)
        thence("convert", "requests.pftrace", "packed.pftrace.zst")
        self.assertEqual(open("packed.pftrace.zst", "rb").read(4), b"\x28\xb5\x2f\xfd")
        thence("convert", "packed.pftrace.zst", "unpacked.jsonl")
        self.assertEqual(open("unpacked.jsonl", "rb").read(), plain)
        if shutil.which("zstd"):
            unpacked = subprocess.run(["zstd", "-dc", "packed.pftrace.zst"], capture_output=True, check=True).stdout
            thence("convert", "requests.pftrace", "again.pftrace")
            self.assertEqual(unpacked, open("again.pftrace", "rb").read())

    def test_what_a_pftrace_shows_is_chosen_and_nothing_of_it_is_lost(self):
        # Timers far enough apart that the later ones get the tracks of the earlier ones.
        resources = [{"asyncId": n, "triggerId": 0 if n == 1 else 1, "type": "root" if n == 1 else "timer", "stackTraceId": 0,
                      "createdAt": n * 20_000_000, "callbackStartedAt": n * 20_000_000 + 900, "callbackEndedAt": n * 20_000_000 + 1000,
                      "destroyedAt": n * 20_000_000 + 1500} for n in range(1, 40)]
        with open("apart.json", "w", encoding="utf-8") as file:
            json.dump({"requestDurationNs": 900_000_000, "resources": resources, "stackTraces": [{"id": 0, "frames": []}]}, file)
        thence("convert", "apart.json", "plain.jsonl")
        plain = open("plain.jsonl", "rb").read()
        thence("convert", "apart.json", "plain.pftrace")
        sizes = {}
        for switches in ([], ["--no-flows"], ["--spans", "requests"], ["--spans", "lanes"], ["--track-per-resource"], ["--compress-packets"]):
            with self.subTest(switches=switches):
                thence("convert", "apart.json", "chosen.pftrace", *switches)
                thence("check", "-q", "chosen.pftrace")
                thence("convert", "chosen.pftrace", "chosen.jsonl")
                self.assertEqual(open("chosen.jsonl", "rb").read(), plain)
                whole = open("chosen.pftrace", "rb").read()
                self.assertEqual(whole == open("plain.pftrace", "rb").read(), switches == [])
                sizes[" ".join(switches)] = len(whole)
        self.assertLess(sizes["--no-flows"], sizes[""])
        self.assertLess(sizes["--compress-packets"], sizes[""] / 2)

    def test_an_output_that_cannot_be_written_ends_with_74_and_leaves_nothing_behind(self):
        self.assertEqual(thence("convert", "request.json", "no/such/folder.jsonl", code=74)[1],
                         "thence: no/such/folder.jsonl: cannot be created: No such file or directory\n")
        if os.path.exists("/dev/full"):
            self.assertEqual(thence("convert", "request.json", "/dev/full", "--to", "jsonl", code=74)[1],
                             "thence: /dev/full: cannot be written beyond byte 0: No space left on device\n")
            done = subprocess.run([THENCE, "info", "request.json"], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(done.returncode, 74)
            self.assertEqual(done.stderr.decode(), "thence: standard output: cannot be written beyond byte 0: No space left on device\n")
        self.assertFalse([name for name in os.listdir(".") if name.endswith(".part")])

    def test_a_file_may_be_converted_onto_itself(self):
        shutil.copy("requests.pftrace", "self.pftrace")
        thence("convert", "self.pftrace", "self.pftrace")
        self.assertEqual(thence("convert", "self.pftrace", "-", "--to", "jsonl")[0], thence("convert", "requests.pftrace", "-", "--to", "jsonl")[0])

    def test_a_reader_that_goes_away_ends_the_command_quietly(self):
        process = subprocess.Popen([THENCE, "cat", "chance.pftrace"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(10)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertIn(process.wait(60), (0, -signal.SIGPIPE))

    # ---- colours and progress

    def on_a_terminal(self, *arguments, env=None):
        main, other = pty.openpty()
        process = subprocess.Popen([THENCE, *arguments], stdout=other, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm", **(env or {})})
        os.close(other)
        text = b""
        while True:
            ready, _, _ = select.select([main], [], [], 30)
            if not ready:
                break
            try:
                piece = os.read(main, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        process.stderr.close()
        process.wait(60)
        os.close(main)
        return text

    def test_colours_only_on_a_terminal_and_not_with_no_color(self):
        quiet = {"NO_COLOR": ""}
        self.assertNotIn(b"\033[", thence("info", "request.json")[0].encode())
        self.assertIn(b"\033[", self.on_a_terminal("info", "request.json", env=quiet))
        self.assertNotIn(b"\033[", self.on_a_terminal("info", "request.json", env={"NO_COLOR": "1"}))
        self.assertNotIn(b"\033[", self.on_a_terminal("info", "request.json", "--color", "never", env=quiet))
        self.assertNotIn(b"\033[", self.on_a_terminal("info", "request.json", "--json", env=quiet))
        self.assertIn("\033[", thence("info", "request.json", "--color", "always", env={"NO_COLOR": "1"})[0])

    def test_text_of_a_trace_cannot_write_on_the_terminal(self):
        document = json.loads(json.dumps(DOCUMENT))
        document["annotations"][0]["value"] = "\x1b[2J\x07\u009b31m\x7f"
        with open("evil.json", "w", encoding="utf-8") as file:
            json.dump(document, file)
        for command in (["cat", "evil.json"], ["query", "evil.json"], ["info", "evil.json"]):
            out = thence(*command, "--color", "never")[0]
            for bad in "\x1b\x07\u009b\x7f":
                self.assertNotIn(bad, out)

    # ---- what the subcommands answer

    def test_info_says_what_is_in_a_trace(self):
        (info,) = validated("info", thence("info", "--json", "requests.pftrace")[0])
        self.assertEqual(info["events"], 30)
        self.assertIsNone(info["damage"])
        self.assertEqual(info["time"], {"first_ns": 1000000, "last_ns": 5000000, "span_ns": 4000000,
                                        "first_realtime_ns": 1700000000001000000, "clock_snapshots": 1})
        self.assertEqual([(r["n"], r["root"], r["id"], r["duration_ns"], r["resources"], r["open"], r["state"], r["label"]) for r in info["requests"]],
                         [(1, 1, 1, 300000, 3, 0, "finished", "https://a.example/"), (2, 2, 11, 300000, 3, 0, "finished", "https://a.example/"),
                          (3, 3, 21, 300000, 3, 1, "finished", "https://a.example/")])
        self.assertEqual({t["type"]: (t["count"], t["open"]) for t in info["resources"]["types"]},
                         {"fetch": (3, 0), "timer": (3, 1), "root": (3, 0), "other": (1, 1)})
        self.assertEqual([(lane["lane"], lane["name"], lane["invocations"]) for lane in info["lanes"]], [(1, "main", 2), (2, "other", 1)])
        (lost,) = validated("info", thence("info", "--json", "lost.pftrace")[0])
        self.assertEqual(lost["losses"], {"events": 7, "ranges": [{"lane": 1, "count": 7, "first_ns": 2200, "last_ns": 2290}]})
        self.assertIn("lost        7 events, in 1 place\n", thence("info", "lost.pftrace")[0])

    def test_query_answers_as_table_csv_and_json(self):
        out = thence("query", "requests.pftrace", "type:fetch|timer wait>=59us", "--sort", "wait", "--color", "never")[0]
        self.assertEqual([line.split()[:4] for line in out.splitlines()],
                         [["id", "request", "type", "status"], ["#22", "3", "fetch", "fulfilled"], ["#12", "2", "fetch", "fulfilled"],
                          ["#3", "1", "timer", "rejected"], ["#13", "2", "timer", "fulfilled"], ["4", "of", "10", "resources"]])
        answer = validated("query", thence("query", "--json", "requests.pftrace", "status:open")[0])
        self.assertEqual((answer["matched"], [row["id"] for row in answer["rows"]]), (2, [23, 99]))
        self.assertNotIn("settled_ns", answer["rows"][0])
        import csv
        import io
        rows = list(csv.DictReader(io.StringIO(thence("query", "requests.pftrace", "#12", "--format", "csv")[0], newline="")))
        self.assertEqual((rows[0]["wait_ns"], rows[0]["exec_ns"], rows[0]["request"], rows[0]["trigger"]), ("99900", "", "2", "11"))
        self.assertEqual(thence("query", "requests.pftrace", "--count", "--", "-type:root")[0], "7\n")
        self.assertEqual(thence("query", "requests.pftrace", "--count", "on:cp type:root")[0], "3\n")
        self.assertEqual(thence("query", "requests.pftrace", "--count", "finding:any")[0], "0\n")
        limited = validated("query", thence("query", "--json", "requests.pftrace", "--limit", "2", "--sort", "id")[0])
        self.assertEqual((limited["matched"], [row["id"] for row in limited["rows"]]), (10, [1, 2]))

    def test_cat_prints_one_line_an_event(self):
        out = thence("cat", "lost.pftrace")[0]
        lines = [re.sub(r" +", " ", line) for line in out.splitlines()]
        self.assertEqual(len(lines), 4)
        self.assertRegex(lines[0], r"^\+0\.000000000 \S.* created #1 timer$")
        self.assertEqual(lines[2], "+0.000000200 main lost 7 events")
        events = [json.loads(line) for line in thence("cat", "--json", "lost.pftrace")[0].splitlines()]
        schema = json.load(open(os.path.join(SOURCE, "docs", "events.schema.json"), encoding="utf-8"))
        for event in events:
            jsonschema.Draft202012Validator(schema).validate(event)
        self.assertEqual([e["time"] for e in events if "time" in e], [2000, 2100, 2200, 2400])

    def test_cat_tells_the_traces_of_a_joined_file_apart(self):
        other = json.loads(json.dumps(DOCUMENT).replace("load @ app.js:7:3", "store @ db.js:1:1"))
        both = ""
        with open("both.pftrace", "wb") as joined:
            for name, document in (("alone-1", DOCUMENT), ("alone-2", other)):
                with open(f"{name}.json", "w", encoding="utf-8") as file:
                    json.dump(document, file)
                thence("convert", f"{name}.json", f"{name}.pftrace")
                both += thence("cat", "--absolute", f"{name}.pftrace")[0]
                with open(f"{name}.pftrace", "rb") as file:
                    joined.write(file.read())
        self.assertIn("at=store db.js:1", both)
        self.assertEqual(thence("cat", "--absolute", "both.pftrace")[0], both)

    def test_cat_follows_a_growing_file_until_interrupted(self):
        whole = open("requests.pftrace", "rb").read()
        with open("growing.pftrace", "wb") as file:
            file.write(whole[:len(whole) // 3])
        process = subprocess.Popen([THENCE, "cat", "--follow", "growing.pftrace"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(process.stdout.fileno(), False)
        seen, expected = b"", thence("cat", "requests.pftrace")[0].encode()
        deadline = time.monotonic() + 60
        while b"\n" not in seen and time.monotonic() < deadline:
            select.select([process.stdout], [], [], 1)
            seen += process.stdout.read() or b""
        self.assertIn(b"\n", seen)
        self.assertLess(len(seen), len(expected))
        with open("growing.pftrace", "ab") as file:
            file.write(whole[len(whole) // 3:])
        # The reader may keep the last event until it knows that no more of it comes.
        while seen.count(b"\n") < expected.count(b"\n") - 1 and time.monotonic() < deadline:
            select.select([process.stdout], [], [], 1)
            seen += process.stdout.read() or b""
        process.send_signal(signal.SIGINT)
        process.wait(60)
        seen += process.stdout.read() or b""
        self.assertEqual((process.returncode, process.stderr.read()), (0, b""))
        process.stdout.close()
        process.stderr.close()
        self.assertEqual(seen, expected)

    def test_merge_joins_traces_whose_ids_clash_in_the_order_of_time(self):
        answer = validated("merge", thence("merge", "requests.pftrace", "other.pftrace", "-o", "merged.jsonl", "--json")[0])
        self.assertEqual((answer["events"], answer["resources"], answer["requests"], answer["lanes"]), (35, 12, 4, 3))
        events = [json.loads(line) for line in open("merged.jsonl") if '"time"' in line]
        times = [event["time"] for event in events]
        self.assertEqual(times, sorted(times))
        created = [event for event in events if event["event"] == "created"]
        self.assertEqual(len({event["resource"] for event in created}), 12)
        crypto = next(event for event in created if event["type"] == "crypto")
        trigger = next(event for event in created if event["resource"] == crypto["trigger"])
        self.assertEqual((trigger["time"], crypto["root"], crypto["lane"]), (1500000, trigger["root"], 3))
        # The other machine's clock was 500 us ahead at the same time of day.
        thence("merge", "requests.pftrace", "other.pftrace", "-o", "aligned.jsonl", "--align", "realtime")
        aligned = [json.loads(line) for line in open("aligned.jsonl") if '"crypto"' in line]
        self.assertEqual(aligned[0]["time"], 1500100 - 500000)
        self.assertEqual(thence("merge", "requests.pftrace", "request.json", "-o", "x.jsonl", "--align", "realtime", code=66)[1],
                         "thence: request.json: no clock snapshot says the time of day: it cannot be aligned by --align realtime\n")

    def test_symbolize_finds_the_names_of_binaries_with_the_same_build_id_only(self):
        if shutil.which("addr2line") is None:
            self.skipTest("no addr2line")
        answer = validated("symbolize", thence("symbolize", "native.pftrace", "named.pftrace", "--json")[0])
        self.assertEqual((answer["native_frames"], answer["named_before"], answer["named_now"]), (2, 0, 1))
        self.assertEqual([(m["path"], m.get("why_not")) for m in answer["modules"] if "binary" not in m], [("/nowhere/libgone.so", "not found")])
        frames = [json.loads(line) for line in thence("cat", "--json", "named.pftrace")[0].splitlines() if '"stack"' in line][0]["frames"]
        self.assertEqual([frame.get("function") for frame in frames], ["the_caller_to_be_found()", None, "load"])
        self.assertEqual(frames[0]["kind"], "native")
        thence("symbolize", "native.pftrace", "lines.jsonl", "--lines", "-q")
        self.assertRegex(open("lines.jsonl").read(), r'"the_caller_to_be_found\(\) \(make_traces\.cpp:\d+\)"')
        self.assertEqual(thence("symbolize", "native.pftrace", "named.pftrace")[1],
                         "thence: 1 of 2 native frames without a name got one\n"
                         "thence: /nowhere/libgone.so (build id 00112233445566778899aabbccddeeff00112233): not found\n")
        os.makedirs("elsewhere", exist_ok=True)
        shutil.copy(THENCE, "elsewhere/libgone.so")
        _, err = thence("symbolize", "native.pftrace", "named.pftrace", "--debug-dir", "elsewhere")
        self.assertIn("what is there has another build id", err)
        self.assertEqual(thence("symbolize", "native.pftrace", "x.jsonl", "--addr2line", "./none", code=69)[1],
                         "thence: ./none: cannot be run: No such file or directory (binutils has it; --addr2line names another)\n")

    def test_check_ends_with_0_for_what_keeps_its_promises_and_1_for_what_does_not(self):
        for name in ("requests.pftrace", "request.pftrace", "chance.pftrace", "lost.pftrace", "request.json"):
            (answer,) = validated("check", thence("check", "--json", name)[0])
            self.assertTrue(answer["kept"], name)
        (answer,) = validated("check", thence("check", "--json", "broken.pftrace", code=1)[0])
        self.assertFalse(answer["kept"])
        self.assertEqual({p["name"]: p["first"] for p in answer["promises"] if p["broken"]},
                         {"ids": "#1 was settled a second time, at 2300 ns",
                          "invocations": "#1 was left at 2100 ns and had not been entered"})
        out = thence("check", "broken.pftrace", "requests.pftrace", code=1)[0]
        self.assertIn("  broken  ids: every resource is created, settled and destroyed once at most\n"
                      "          1 time: #1 was settled a second time, at 2300 ns\n", out)
        self.assertIn("  but     references: what is referred to, a resource or a stack, is in the trace\n"
                      "          1 time: #5 is mentioned and was not created in the trace\n"
                      "          the trace says that it lost events: these may be among them\n", thence("check", "lost.pftrace")[0])
        self.assertEqual(thence("check", "-", stdin=open("requests.pftrace", "rb").read())[0].splitlines()[1:],
                         thence("check", "requests.pftrace")[0].splitlines()[1:])

    # ---- completion and manual

    def help_on(self, heading, *command):
        return re.split(f"^{heading}:$", thence(*command, "--help")[0], flags=re.M | re.I)[1]  # in capitals since CLI11 2.6

    def options(self):
        commands = re.findall(r"^  (\w+)  ", self.help_on("Subcommands"), re.M)
        return {command: sorted(set(re.findall(r"--[a-z0-9-]+", self.help_on("Options", command)))) for command in commands}

    def test_the_manual_has_every_option_of_every_subcommand(self):
        page = thence("man")[0].replace("\\-", "-")
        for command, options in self.options().items():
            section = page.split(f".SS thence {command}")[1].split(".SS")[0].split(".SH")[0]
            for option in options:
                if option != "--help" and re.search(rf"^  (-\w,)? *{option}\b", thence(command, "--help")[0], re.M):
                    self.assertIn(option, section, command)
        for code in (0, 1, 64, 65, 66, 69, 70, 74):
            self.assertIn(f".B {code}\n", page)
        if shutil.which("man"):
            done = subprocess.run(["man", "--warnings", "-l", "-"], input=thence("man")[0].encode(), capture_output=True,
                                  env={**os.environ, "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
            self.assertEqual(done.returncode, 0)
            self.assertEqual(done.stderr.decode(), "")

    def test_the_completion_scripts_are_read_by_their_shells_and_know_the_options(self):
        for shell, check in (("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "-n"])):
            script = thence("completion", shell)[0]
            self.assertIn("symbolize", script)
            self.assertIn("follow", script)
            if shutil.which(shell):
                with open(f"completion.{shell}", "w", encoding="utf-8") as file:
                    file.write(script)
                subprocess.run([*check, f"completion.{shell}"], check=True, capture_output=True)
        completed = subprocess.run(["bash", "-c", 'source completion.bash; COMP_WORDS=(thence convert --to p); COMP_CWORD=3; _thence; echo "${COMPREPLY[*]}"; '
                                    'COMP_WORDS=(thence con); COMP_CWORD=1; _thence; echo "${COMPREPLY[*]}"; '
                                    'COMP_WORDS=(thence cat --fo); COMP_CWORD=2; _thence; echo "${COMPREPLY[*]}"'], capture_output=True, text=True, check=True)
        self.assertEqual(completed.stdout, "pftrace\nconvert\n--follow\n")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], warnings="ignore")
