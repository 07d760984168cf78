#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""With THENCE_ENABLED=0 a function that traces its KJ promises compiles to what one that does not compiles to.

The same functions, the same calls in the same order, the same data; and no instruction more but for the move of the promise
itself (16 bytes), where it is handed on as it came: C++ elides that one only without a call in between.

    off_test.py --include DIR --objdump PROGRAM --work DIR COMPILER...
"""
import argparse
import os
import re
import subprocess
import sys

MOVE = 8
NAMES = ("one", "chained", "waited", "dropped", "timed")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def functions(given, compiler, level, name, *flags):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "off.cpp")
    target = os.path.join(given.work, name + ".o")
    run(compiler, "-std=c++20", "-c", level, *flags, "-I", given.include, source, "-o", target)
    found, current = {}, None
    for line in run(given.objdump, "-drC", "--no-show-raw-insn", target).splitlines():
        head = re.match(r"^[0-9a-f]+ <(.+)>:$", line)
        if head:
            current = found.setdefault(head.group(1), [])
        elif current is not None and line.strip() and not line.startswith("Disassembly"):
            current.append(re.sub(r"\s+", " ", line.strip()))
    return found


def calls(lines):
    return [line.split(": ", 1)[1] for line in lines if "R_X86_64_" in line or "R_AARCH64_" in line]


def count(lines):
    """Instructions, without relocations and padding."""
    return sum("R_X86_64_" not in line and "R_AARCH64_" not in line and not re.search(r": (data16|nop|xchg %ax,%ax|cs nop)", line)
               for line in lines)


def main():
    arguments = argparse.ArgumentParser()
    for name in ("--include", "--objdump", "--work"):
        arguments.add_argument(name, required=True)
    arguments.add_argument("compilers", nargs="+")
    given = arguments.parse_args()
    os.makedirs(given.work, exist_ok=True)
    wrong = 0
    for compiler in given.compilers:
        title = run(compiler, "--version").splitlines()[0]
        plain = functions(given, compiler, "-O2", "plain", "-DINSTRUMENTED=0")
        off = functions(given, compiler, "-O2", "off", "-DINSTRUMENTED=1", "-DTHENCE_ENABLED=0")
        on = functions(given, compiler, "-O2", "on", "-DINSTRUMENTED=1", "-DTHENCE_ENABLED=1")
        for name in NAMES:
            of = [key for key in plain if re.match(rf"^{name}\([^()]*\)$", key)]
            if len(of) != 1:
                sys.exit(f"{title}: {name} is not there: {sorted(plain)}")
            without, got = plain[of[0]], off.get(of[0], [])
            more = count(got) - count(without)
            same = calls(without) == calls(got) and more <= MOVE
            differs_on = calls(without) != calls(on.get(of[0], []))
            print(f"{title}: {name} {'is the same' if same else 'DIFFERS'}, {more} instructions more"
                  f"{'' if differs_on else ', and the control does not differ'}")
            if not same:
                print("\n".join(off.get(of[0], ["(absent)"])))
                print("--- without\n" + "\n".join(plain[of[0]]))
            wrong += not same or not differs_on
        extra = sorted(set(off) - set(plain))
        if extra:
            print(f"{title}: functions that are there only with tracing compiled out: {extra}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
