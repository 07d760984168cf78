#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every *.json in the directories is valid against the schema; every damaged one (made here) is not.

  check_schema.py SCHEMA DIRECTORY ...      (a directory that is not there is left out, by name)

Exit code 77: python3-jsonschema is missing.
"""
import copy
import glob
import json
import os
import sys

try:
    import jsonschema
except ImportError:
    print("check_schema: left out: no python3-jsonschema")
    sys.exit(77)


def damaged(document):
    """Documents that differ from a valid one in one thing that matters."""
    def change(what, act):
        bad = copy.deepcopy(document)
        act(bad)
        return what, bad

    yield change("no duration", lambda d: d.pop("requestDurationNs"))
    yield change("a duration that is a string", lambda d: d.update(requestDurationNs="1"))
    yield change("a negative duration", lambda d: d.update(requestDurationNs=-1))
    yield change("an unknown member", lambda d: d.update(extra=1))
    yield change("no resources", lambda d: d.update(resources=[]))
    for member in ("asyncId", "triggerId", "type", "stackTraceId", "createdAt", "callbackStartedAt", "callbackEndedAt", "destroyedAt"):
        yield change(f"no {member}", lambda d, m=member: d["resources"][0].pop(m))
        yield change(f"a fraction as {member}", lambda d, m=member: d["resources"][0].update({m: 1.5}))
    yield change("asyncId 0", lambda d: d["resources"][0].update(asyncId=0))
    yield change("a misspelt member", lambda d: d["resources"][0].update(settleAt=1))
    yield change("settled without an outcome", lambda d: (d["resources"][0].update(settledAt=1), d["resources"][0].pop("outcome", 0)))
    yield change("an empty invocation", lambda d: d["resources"][0].update(invocations=[{}]))
    yield change("an unknown actor", lambda d: d["resources"][0].update(settledAt=1, outcome="fulfilled", settledBy="me"))
    yield change("a frame that is no frame", lambda d: d["stackTraces"].append({"id": 9, "frames": ["main"]}))
    yield change("a number as an annotation", lambda d: d["annotations"].append({"asyncId": 1, "key": "a", "value": 1}))
    yield change("another version", lambda d: d.update(thence={**d.get("thence", {}), "version": 2}))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.check_schema(schema)
    failures = count = 0
    for directory in sys.argv[2:]:
        if not os.path.isdir(directory):
            print(f"check_schema: left out: no {directory}")
            continue
        paths = sorted(glob.glob(os.path.join(directory, "*.json")))
        if not paths:
            print(f"check_schema: nothing in {directory}")
            failures += 1
        for path in paths:
            with open(path, encoding="utf-8") as file:
                document = json.load(file)
            count += 1
            for error in validator.iter_errors(document):
                print(f"check_schema: {path}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}")
                failures += 1
            for what, bad in damaged(document):
                if validator.is_valid(bad):
                    print(f"check_schema: {path} with {what} is taken for valid")
                    failures += 1
    print(f"check_schema: {count} documents, {failures} failures")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
