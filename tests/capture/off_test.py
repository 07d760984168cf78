#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""With THENCE_ENABLED=0 an instrumented function compiles to the same instructions as the function without instrumentation.

    off_test.py --include DIR --objdump PROGRAM --work DIR COMPILER...

Compiles off.cpp with and without INSTRUMENTED, by each compiler at each level, and compares the disassembly and relocations
of every function and the sizes of the data. The control, THENCE_ENABLED=1, must differ.
"""
import argparse
import os
import re
import subprocess
import sys

LEVELS = ["-O1", "-O2", "-O3", "-Os"]
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-c"]
FUNCTIONS = {"run_one", "run_all", "fetch", "collect"}


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def compiled(compiler, include, work, name, *flags):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "off.cpp")
    target = os.path.join(work, name + ".o")
    run(compiler, *FLAGS, *flags, "-I", include, source, "-o", target)
    return target


def functions(objdump, target):
    """Each function's instructions and relocations, with addresses relative to it left as they are."""
    found = {}
    name = None
    for line in run(objdump, "-dr", "--no-show-raw-insn", target).splitlines():
        head = re.match(r"^[0-9a-f]+ <(.+)>:$", line)
        if head:
            name = head.group(1)
            found[name] = []
        elif name and line.strip() and not line.startswith("Disassembly"):
            found[name].append(re.sub(r"\s+", " ", line.strip()))
    return found


def data(objdump, target):
    """Sizes of the sections that a program keeps in memory."""
    sizes = {}
    for line in run(objdump, "-h", target).splitlines():
        row = re.match(r"^\s*\d+ (\S+)\s+([0-9a-f]{8,}) ", line)
        if row and re.match(r"^\.(text|data|rodata|bss|tdata|tbss|init_array|ctors|gcc_except_table|eh_frame)", row.group(1)):
            if int(row.group(2), 16):
                sizes[row.group(1)] = int(row.group(2), 16)
    return sizes


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--include", required=True)
    arguments.add_argument("--objdump", required=True)
    arguments.add_argument("--work", required=True)
    arguments.add_argument("compilers", nargs="+")
    given = arguments.parse_args()
    os.makedirs(given.work, exist_ok=True)
    wrong = 0
    for compiler in given.compilers:
        title = run(compiler, "--version").splitlines()[0]
        for level in LEVELS:
            def build(name, *flags):
                return compiled(compiler, given.include, given.work, name, level, *flags)

            plain = build("plain", "-DINSTRUMENTED=0")
            off = build("off", "-DINSTRUMENTED=1", "-DTHENCE_ENABLED=0")
            on = build("on", "-DINSTRUMENTED=1", "-DTHENCE_ENABLED=1") if level == "-O2" else None
            expected, got = functions(given.objdump, plain), functions(given.objdump, off)
            if not FUNCTIONS <= set(expected):
                sys.exit(f"{title} {level}: the functions to compare are not there: {sorted(expected)}")
            same = True
            for name in sorted(set(expected) | set(got)):
                if expected.get(name) != got.get(name):
                    same = False
                    print(f"{title} {level}: {name} differs: {len(expected.get(name, []))} lines without, {len(got.get(name, []))} with")
                    print("\n".join(got.get(name, ["(absent)"])[:40]))
            if data(given.objdump, plain) != data(given.objdump, off):
                same = False
                print(f"{title} {level}: sections differ: {data(given.objdump, plain)} without, {data(given.objdump, off)} with")
            if on and functions(given.objdump, on).get("collect") == expected["collect"]:
                same = False
                print(f"{title} {level}: the control with THENCE_ENABLED=1 does not differ: nothing was instrumented")
            print(f"{title} {level}: {len(expected)} functions {'are the same' if same else 'DIFFER'}")
            wrong += not same
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
