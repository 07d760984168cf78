#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How many instructions a call of the hot path takes, counted by callgrind: the same on every run, whatever else the machine does.

    instructions_test.py VALGRIND PROGRAM

Each call is made 1,000 and 11,000 times; the difference, less that of an empty function, is the call's own.
"""
import re
import subprocess
import sys

# g++ 12 with -O2 makes 50, 42, 28, 30, 38, 18 and 7 of it, clang 14 up to 55, 52, 31, 31, 48, 21, 8.
LIMITS = {
    ("enter_exit",): 58,
    ("create",): 55,
    ("schedule",): 33,
    ("settle",): 35,
    ("annotate",): 60,
    ("enter_exit", "stopped"): 24,
    ("create", "stopped"): 10,
}


def instructions(valgrind, program, call, times, *more):
    done = subprocess.run([valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", program, call, str(times), *more],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def main():
    valgrind, program = sys.argv[1:]

    def one(call, *more):
        return (instructions(valgrind, program, call, 11_000, *more) - instructions(valgrind, program, call, 1_000, *more)) / 10_000

    empty = one("nothing")
    failed = False
    for call, limit in LIMITS.items():
        count = one(*call) - empty
        print(f"{' '.join(call)}: {count:.1f} instructions (limit {limit})")
        failed = failed or count > limit
    if failed:
        print("more than the limit: where did they come from?", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
