#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What thence says of an app comes true when the app is changed. Usage: advice_test.py WORKER_BINARY THENCE [unittest arguments]

The oracle is the change itself: the same app with its three fetches begun together.
"""
import glob
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import unittest

THENCE = os.path.abspath(sys.argv.pop(2)) if len(sys.argv) > 2 else sys.exit(f"usage: {sys.argv[0]} WORKER_BINARY THENCE [unittest arguments]")

from harness import PATIENCE, Worker

ROUNDS = 7  # medians of so many: a machine with other work slows one or the other
DELAY_MS = 120  # of each answer, large against what the machine adds


class Advice(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as out:
            origin = Worker("origin.js")
            with Worker("traced.js", "--trace", out, "--env", f"ORIGIN=http://127.0.0.1:{origin.port}") as worker:
                for n in range(ROUNDS + 1):  # side by side in time, so that they share whatever else the machine does
                    for page in ("in_turn", "together"):
                        assert worker.text(f"/{page}/{DELAY_MS}") == "abc"
            assert origin.stop() == 0
            cls.reports = {"in_turn": [], "together": []}
            for path in sorted(glob.glob(os.path.join(out, "request-*.json")), key=lambda p: int(re.search(r"(\d+)\.json", p)[1]))[2:]:
                with open(path) as file:  # but the first two, which connect and compile
                    trace = json.load(file)
                said = subprocess.run([THENCE, "analyze", "--json", path], capture_output=True, text=True, timeout=PATIENCE)
                assert said.returncode in (0, 2), said.stderr
                url = next(note["value"] for note in trace["annotations"] if note["asyncId"] == 1 and note["key"] == "url")
                cls.reports[url.split("/")[-2]].append((trace, json.loads(said.stdout)))

    @staticmethod
    def findings(report):
        return [found for found in report["findings"] if found["id"] == "sequential-fetch"]

    def test_fetches_in_a_row_are_named_and_those_begun_together_are_not(self):
        # In most rounds: a callback between two that the machine held up for 5 ms is work, and ends the row.
        named = [[len(found["resources"]) for found in self.findings(report)] for _, report in self.reports["in_turn"]]
        self.assertGreater(named.count([3]), ROUNDS / 2, named)
        for _, report in self.reports["together"]:
            self.assertEqual(self.findings(report), [])

    def test_what_beginning_them_together_is_said_to_save_is_what_it_saves(self):
        took = {page: statistics.median(trace["requestDurationNs"] for trace, _ in reports) for page, reports in self.reports.items()}
        saved = took["in_turn"] - took["together"]
        said = statistics.median(sum(found["saving_ns"] for found in self.findings(report)) for _, report in self.reports["in_turn"])
        self.assertGreater(saved, DELAY_MS * 1e6)  # two of three answers need not be waited for any more
        self.assertAlmostEqual(said, saved, delta=saved / 10)

    def test_each_long_gap_was_ended_by_its_fetch(self):
        for trace, report in self.reports["in_turn"]:
            answers = {r["settledAt"]: r for r in trace["resources"] if r["type"] == "fetch"}
            gaps = [gap for gap in report["requests"][0]["gaps"]["shown"] if gap["end_ns"] - gap["start_ns"] > DELAY_MS * 1e6 / 2]
            self.assertEqual([gap["cause"] for gap in gaps], ["network"] * 3)
            self.assertEqual(len({gap["operation"] for gap in gaps}), 3)
            zero = report["requests"][0]["start_ns"] - trace["resources"][0]["createdAt"]
            for gap in gaps:  # the answer that it ended with is the last before it
                last = max(at for at in answers if at + zero <= gap["end_ns"])
                self.assertGreater(last + zero, gap["start_ns"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
