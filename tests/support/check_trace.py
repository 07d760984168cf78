#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks a Perfetto trace made by thence, and that JSON documents of the same run tell the same.

  check_trace.py trace.pftrace [request-1.json ...]

Exit code 0: all holds (a summary is printed). 1: it does not (each finding is a line). 2: a file cannot be read.

  --schema FILE   validate the JSON documents against this schema (needs python3-jsonschema)
  --cut           the trace may lack its head or its tail: what only a whole file can promise is not asked for
  --roots         every root that was sealed in the trace must have a JSON document
  --print         also print the resources as JSON

Written from Perfetto's documented behaviour and docs/formats.md, with a parser of its own: it shares no code with the
writer. It does what Perfetto's trace processor does with the packets: incremental state by sequence, events sorted by
time with ties in file order, an END closing the innermost slice of its track, flows joined in order of time.
"""
import argparse
import bisect
import json
import struct
import sys
import zlib
from collections import Counter, defaultdict


class Bad(Exception):
    pass


# -- protobuf ----------------------------------------------------------------------------------------------------------

def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data):
            raise Bad(f"varint runs past the end at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise Bad(f"varint longer than ten bytes at byte {at}")


def fields(data):
    """[(number, wire type, value)]; bytes stay bytes."""
    out = []
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        elif wire == 2:
            length, at = varint(data, at)
            if at + length > len(data):
                raise Bad(f"field {number} of {length} bytes runs past the end")
            value, at = data[at:at + length], at + length
        else:
            raise Bad(f"wire type {wire} at byte {at}")
        out.append((number, wire, value))
    return out


def first(message, number, default=None):
    for n, _, value in message:
        if n == number:
            return value
    return default


def every(message, number):
    return [value for n, _, value in message if n == number]


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def text(value):
    return value.decode("utf-8", "replace")


# -- the trace ---------------------------------------------------------------------------------------------------------

DICTIONARIES = {1: "category", 2: "event name", 3: "annotation name", 5: "function", 6: "frame", 7: "callstack",
                16: "build id", 17: "mapping path", 18: "source path", 19: "mapping", 29: "string value"}


# docs/formats.md: the extension fields of TrackEvent, from 1001 on, and what they are.
WORDS = {
    "outcome": ["unknown", "fulfilled", "rejected", "cancelled", "resolved"],
    "actor": ["unknown", "invocation", "external"],
    "cause": ["unspecified", "created", "settled", "scheduled", "external"],
    "link": ["awaits", "bridge"],
    "seal": ["finished", "grace", "abandoned", "session-ended"],
    "pause": ["pause", "gc-scavenge", "gc-major", "gc-incremental", "gc-weak-callbacks"],
    "sample": ["cpu", "off-cpu"],
}
KEYS = dict(enumerate([
    ("root", "uint"), ("trigger", "uint"), ("lane", "uint"), ("late", "bool"), ("cause", "cause"), ("cause_by", "uint"),
    ("woken_before", "uint"), ("waker", "uint"), ("scheduled_by", "actor"), ("wake_lane", "uint"), ("outcome", "outcome"),
    ("settled_by", "actor"), ("settler", "uint"), ("settled_before", "uint"), ("settled_on", "uint"), ("destroyed_after", "int"),
    ("destroyed_on", "uint"), ("link", "link"), ("link_cause", "uint"), ("open", "bool"), ("end_unknown", "bool"),
    ("split", "bool"), ("part", "uint"), ("invocation", "uint"), ("true_begin", "uint"), ("true_end", "uint"),
    ("exit_lane", "uint"), ("seal_reason", "seal"), ("open_resources", "uint"), ("count", "uint"), ("first", "uint"),
    ("last", "uint"), ("process_id", "int"), ("thread_id", "int"), ("name", "text"), ("version", "uint"), ("salt", "uint"),
    ("clock", "text"), ("overflow_policy", "text"), ("sampling", "text"), ("events", "uint"), ("lost", "uint"),
    ("late_events", "uint"), ("after_seal", "uint"), ("roots_sealed", "uint"), ("roots_abandoned", "uint"),
    ("drain_ns", "uint"), ("bytes_written", "uint"), ("exit_without_enter", "uint"), ("exits_crossed", "uint"),
    ("too_deep", "uint"), ("annotations_cut", "uint"), ("stacks_refused", "uint"), ("root_ends_lost", "uint"),
    ("ring_bytes", "uint"), ("stack", "uint"), ("pause", "pause"), ("stacks_missing", "uint"), ("value", "uint"),
    ("type", "text"), ("type_id", "uint"), ("sample", "sample"), ("counters", "uint")], 1001))
EDGES = {"create", "settle", "release", "ready", "awaited", "bridged", "unheeded"}


class Sequence:
    def __init__(self):
        self.valid = False
        self.interned = defaultdict(dict)
        self.default_track = None
        self.default_clock = None
        self.extra_counters = []
        self.clocks = {}   # incremental: id -> [last reading, nanoseconds to BOOTTIME]
        self.drops = 0
        self.packets = 0


class Event:
    __slots__ = ("ts", "order", "kind", "track", "name", "categories", "notes", "flows", "stack", "sequence", "counter",
                 "slice")


class Slice:
    """A slice, or an instant (which has no length)."""
    __slots__ = ("begin", "end", "name", "category", "notes", "track", "parent", "stack", "begin_event", "instant", "depth")

    def note(self, key, default=None):
        for k, v in self.notes:
            if k == key:
                return v
        return default


class Trace:
    def __init__(self, data, cut):
        self.errors = []
        self.order = 0
        self.last_counter = {}
        self.cut = cut
        self.sequences = defaultdict(Sequence)
        self.tracks = {}
        self.events = []
        self.snapshots = []
        self.stats = None
        self.uuid = None
        self.read(data)
        self.build()

    def error(self, message):
        self.errors.append(message)

    def read(self, data):
        at = 0
        while at < len(data):
            start = at
            try:
                tag, at = varint(data, at)
                length, at = varint(data, at)
                if tag != 0x0A:
                    raise Bad(f"byte {start}: not a packet")
                if at + length > len(data):
                    raise Bad(f"byte {start}: the packet of {length} bytes runs past the end")
                packet = fields(data[at:at + length])
            except Bad as bad:
                if self.cut:
                    break
                raise
            at += length
            self.order += 1
            self.packet(packet, self.order)

    def packet(self, packet, order):
        seq_id = first(packet, 10)
        flags = first(packet, 13, 0)
        sequence = self.sequences[seq_id] if seq_id else None
        if sequence is None and seq_id == 0:
            self.error(f"packet {order}: sequence id 0")
        if sequence is not None:
            sequence.packets += 1
            dropped = first(packet, 42, 0)
            if dropped:
                if sequence.packets == 1:
                    self.error(f"packet {order}: a drop mark on the first packet of sequence {seq_id} is not counted")
                sequence.drops += 1
                sequence.valid = False
            if flags & 1 or first(packet, 41):
                sequence.valid = True
                sequence.interned = defaultdict(dict)
                sequence.default_track = None
                sequence.default_clock = None
                sequence.extra_counters = []
            if flags & 2 and not sequence.valid:
                if not self.cut:
                    self.error(f"packet {order}: needs the state of sequence {seq_id}, which has none: skipped by readers")
                return
            defaults = first(packet, 59)
            if defaults is not None and sequence.valid:
                event_defaults = first(fields(defaults), 11)
                sequence.default_track = None
                sequence.extra_counters = []
                if event_defaults is not None:
                    sequence.default_track = first(fields(event_defaults), 11)
                    sequence.extra_counters = every(fields(event_defaults), 31)
                    if len(sequence.extra_counters) > 8:
                        self.error(f"packet {order}: more than 8 extra counters")
                sequence.default_clock = first(fields(defaults), 58)
            interned = first(packet, 12)
            if interned is not None and sequence.valid:
                for number, _, entry in fields(interned):
                    if number not in DICTIONARIES:
                        self.error(f"packet {order}: interned data of field {number}, which nothing reads")
                        continue
                    entry = fields(entry)
                    iid = first(entry, 1)
                    if not iid:
                        self.error(f"packet {order}: an interned {DICTIONARIES[number]} without iid")
                        continue
                    sequence.interned[number][iid] = entry
        if first(packet, 50) is not None:
            run = zlib.decompress(first(packet, 50))
            if len(run) > 512 * 1024:
                self.error(f"packet {order}: {len(run)} bytes in one compressed run: readers take 512 KB")
            self.read(run)
            return
        payloads = [n for n, _, _ in packet if n in (6, 11, 35, 60, 72, 89)]
        if len(payloads) > 1:
            self.error(f"packet {order}: {len(payloads)} payloads")
        snapshot = first(packet, 6)
        if snapshot is not None:
            snapshot = fields(snapshot)
            clocks = {first(fields(c), 1): first(fields(c), 2) for c in every(snapshot, 1)}
            own = [clock for clock in clocks if 64 <= clock < 128]
            for c in map(fields, every(snapshot, 1)):
                if first(c, 3):
                    if sequence is None or first(c, 1) not in own or 6 not in clocks:
                        self.error(f"packet {order}: an incremental clock that no reader can resolve")
                    else:
                        sequence.clocks[first(c, 1)] = [first(c, 2), clocks[6] - first(c, 2)]
            if not own:
                self.snapshots.append(clocks)
            if first(snapshot, 2) != 6:
                self.error(f"packet {order}: the primary clock of a snapshot is not BOOTTIME")
        uuid = first(packet, 89)
        if uuid is not None:
            self.uuid = tuple(first(fields(uuid), n, 0) for n in (1, 2))
        if first(packet, 35) is not None:
            self.stats = fields(first(packet, 35))
            self.stats_drops = {s: q.drops for s, q in self.sequences.items()}
        extension = first(packet, 72)
        if extension is not None:
            self.extension(fields(extension), order)
        descriptor = first(packet, 60)
        if descriptor is not None:
            self.descriptor(fields(descriptor), order)
        event = first(packet, 11)
        if event is not None:
            self.event(packet, fields(event), sequence, seq_id, order)

    def extension(self, extension, order):
        """The keys are described as they are here."""
        described = {}
        for file in every(fields(first(extension, 1)), 1):
            file = fields(file)
            enums = {}
            for e in map(fields, every(file, 5)):
                values = {first(v, 2, 0): text(first(v, 1)) for v in map(fields, every(e, 2))}
                enums["." + text(first(file, 2)) + "." + text(first(e, 1))] = [values[n] for n in sorted(values)]
            for f in map(fields, every(file, 7)):
                if text(first(f, 2)) != ".perfetto.protos.TrackEvent" or first(f, 4) != 1:
                    self.error(f"packet {order}: an extension of {text(first(f, 2))}")
                kind = {3: "int", 4: "uint", 8: "bool", 9: "text", 14: "enum"}.get(first(f, 5))
                if kind == "enum":
                    kind = enums.get(text(first(f, 6)))
                described[first(f, 3)] = (text(first(f, 1)), kind)
        expected = {n: ("thence_" + name, WORDS.get(kind, kind)) for n, (name, kind) in KEYS.items()}
        if described != expected:
            wrong = [n for n in sorted(set(described) | set(expected)) if described.get(n) != expected.get(n)]
            self.error(f"packet {order}: the extension descriptor says otherwise than docs/formats.md of the fields {wrong}")
        self.described_keys = True

    described_keys = False

    def time_of(self, packet, sequence, order):
        ts = first(packet, 8)
        clock = first(packet, 58, sequence.default_clock)
        if ts is None or clock in (None, 6):
            return ts
        known = sequence.clocks.get(clock)
        if known is None:
            self.error(f"packet {order}: clock {clock} is in no snapshot of its sequence before it")
            return None
        known[0] += ts
        return known[0] + known[1]

    def descriptor(self, d, order):
        uuid = first(d, 1)
        if not uuid:
            self.error(f"packet {order}: a track without uuid")
            return
        thread, process = first(d, 4), first(d, 3)
        track = {"uuid": uuid, "parent": first(d, 5), "name": text(first(d, 2, b"")), "counter": first(d, 8) is not None,
                 "process": None, "thread": None, "merge": first(d, 15, 0)}
        if process is not None:
            process = fields(process)
            track["process"] = signed(first(process, 1, 0))
            track["name"] = text(first(process, 6, b""))
        if thread is not None:
            thread = fields(thread)
            track["thread"] = (signed(first(thread, 1, 0)), signed(first(thread, 2, 0)))
            track["name"] = text(first(thread, 5, b""))
            if 0 in track["thread"]:
                self.error(f"packet {order}: a thread descriptor needs pid and tid")
        known = self.tracks.get(uuid)
        if known is not None and known != track:
            self.error(f"packet {order}: track {uuid} is described differently: {known} and {track}")
        self.tracks[uuid] = track

    def resolve(self, sequence, number, iid, order):
        entry = sequence.interned[number].get(iid)
        if entry is None:
            self.error(f"packet {order}: {DICTIONARIES[number]} {iid} is not defined")
            return None
        return entry

    def event(self, packet, e, sequence, seq_id, order):
        if sequence is None:
            self.error(f"packet {order}: an event without a sequence id is dropped by readers")
            return
        ts = self.time_of(packet, sequence, order)
        if ts is None:
            self.error(f"packet {order}: an event without a timestamp is dropped by readers")
            return
        for number, wire, _ in e:
            if number in (3, 12, 47) and wire == 2:
                self.error(f"packet {order}: field {number} is packed, which readers misread")
        out = Event()
        out.ts, out.order, out.sequence = ts, order, seq_id
        out.kind = first(e, 9)
        out.track = first(e, 11, sequence.default_track)
        if out.kind not in (1, 2, 3, 4):
            self.error(f"packet {order}: event type {out.kind}")
        if not out.track:
            self.error(f"packet {order}: an event without a track")
        out.name = text(first(e, 23)) if first(e, 23) is not None else None
        iid = first(e, 10)
        if iid is not None:
            if out.name is not None:
                self.error(f"packet {order}: both a name and a name iid")
            entry = self.resolve(sequence, 2, iid, order)
            out.name = text(first(entry, 2, b"")) if entry is not None else None
        if out.kind in (1, 3) and not out.name:
            self.error(f"packet {order}: a slice or instant without a name")
        out.categories = []
        for iid in every(e, 3):
            entry = self.resolve(sequence, 1, iid, order)
            out.categories.append(text(first(entry, 2, b"")) if entry is not None else "unknown")
        out.notes = [self.annotation(fields(a), sequence, order) for a in every(e, 4)]
        out.notes += self.keys(e, order)
        out.flows = every(e, 47)
        iid = first(e, 56)
        out.stack = self.callstack(sequence, iid, order) if iid is not None else None
        out.counter = None
        if out.kind == 4:
            out.counter = signed(first(e, 30)) if first(e, 30) is not None else None
            if first(e, 44) is not None:
                out.counter = struct.unpack("<d", struct.pack("<Q", first(e, 44)))[0]
            if out.counter is None:
                self.error(f"packet {order}: a counter without a value")
        out.slice = None
        self.events.append(out)
        values = every(e, 12)
        if len(values) > len(sequence.extra_counters):
            self.error(f"packet {order}: {len(values)} extra counter values for {len(sequence.extra_counters)} tracks")
        mask = dict(out.notes).get("thence.counters", -1)
        for place, (value, track) in enumerate(zip(values, sequence.extra_counters)):
            if not mask >> place & 1:
                if self.last_counter.get(track) != signed(value):
                    self.error(f"packet {order}: a counter that is no sample shows {signed(value)}, not its last value")
                continue
            self.last_counter[track] = signed(value)
            extra = Event()
            extra.ts, extra.order, extra.sequence, extra.kind, extra.track = ts, order, seq_id, 4, track
            extra.name, extra.categories, extra.notes, extra.flows, extra.stack = None, [], [], [], None
            extra.counter, extra.slice = signed(value), None
            self.events.append(extra)
        if out.kind == 4:
            self.last_counter[out.track] = out.counter

    def keys(self, e, order):
        """thence's own fields, as notes: words for what is one of few."""
        out = []
        for number, wire, value in e:
            if number == 52:
                out.append(("thence.id", value))
            elif 1000 <= number < 10000:
                if number not in KEYS:
                    self.error(f"packet {order}: extension field {number} is not in docs/formats.md")
                    continue
                name, kind = KEYS[number]
                if (wire == 2) != (kind == "text"):
                    self.error(f"packet {order}: {name} has wire type {wire}")
                    continue
                out.append(("thence." + name, text(value) if kind == "text" else bool(value) if kind == "bool"
                            else Int(signed(value)) if kind == "int" else WORDS[kind][value] if kind in WORDS else value))
        return out

    def annotation(self, a, sequence, order):
        name = first(a, 10)
        if name is not None:
            name = text(name)
        else:
            entry = self.resolve(sequence, 3, first(a, 1), order)
            name = text(first(entry, 2, b"")) if entry is not None else None
        for number, _, value in a:
            if number == 2:
                return name, bool(value)
            if number == 3:
                return name, value
            if number == 4:
                return name, Int(signed(value))
            if number == 5:
                return name, struct.unpack("<d", struct.pack("<Q", value))[0]
            if number == 6:
                return name, text(value)
            if number == 17:
                entry = self.resolve(sequence, 29, value, order)
                return name, text(first(entry, 2, b"")) if entry is not None else None
        self.error(f"packet {order}: annotation {name} without a value")
        return name, None

    def callstack(self, sequence, iid, order):
        """Frames, innermost first: (kind, function, file, line, column, relative pc, pc, build id)."""
        entry = self.resolve(sequence, 7, iid, order)
        if entry is None:
            return None
        if any(wire == 2 for number, wire, _ in entry if number == 2):
            self.error(f"packet {order}: packed frame ids")
        out = []
        for frame_id in every(entry, 2):
            frame = self.resolve(sequence, 6, frame_id, order)
            if frame is None:
                continue

            def named(dictionary, iid):
                if not iid:
                    return None
                found = self.resolve(sequence, dictionary, iid, order)
                return first(found, 2, b"") if found is not None else None

            function = named(5, first(frame, 2))
            file = named(18, first(frame, 5))
            kind = {1: "native", 3: "script", None: "source"}.get(first(frame, 7), "?")
            build_id = None
            if first(frame, 3):
                if first(frame, 4) is None:
                    self.error(f"packet {order}: a frame with a mapping and no rel_pc")
                mapping = self.resolve(sequence, 19, first(frame, 3), order)
                if mapping is not None:
                    build_id = named(16, first(mapping, 2))
                    if every(mapping, 7):
                        file = b"".join(b"/" + named(17, p) for p in every(mapping, 7))
                        if first(mapping, 7303):
                            file = named(17, first(mapping, 7303))
            out.append((kind, text(function) if function is not None else None, text(file) if file is not None else None,
                        first(frame, 6, 0), first(frame, 7301, 0), first(frame, 4, 0), first(frame, 7302, 0),
                        build_id.hex() if build_id is not None else None))
        return out[::-1]

    # -- what a reader makes of it

    def build(self):
        for uuid, track in self.tracks.items():
            parent, depth = track["parent"], 0
            while parent:
                if parent not in self.tracks:
                    if not self.cut:
                        self.error(f"track {uuid} ({track['name']}): its parent {parent} is not described: readers drop it")
                    break
                parent = self.tracks[parent]["parent"]
                depth += 1
                if depth > 98:
                    self.error(f"track {uuid}: deeper than 99 levels")
                    break
        self.slices = []
        stacks = defaultdict(list)
        flows = defaultdict(list)
        self.counters = 0
        undescribed = set()
        self.lane_tracks = {e.track for e in self.events if e.name == "thence.lane"}
        for event in sorted(self.events, key=lambda e: (e.ts, e.order)):
            track = self.tracks.get(event.track)
            if track is None and event.track not in undescribed:
                undescribed.add(event.track)
                if not self.cut:
                    self.error(f"packet {event.order}: track {event.track} is not described")
            stack = stacks[event.track]
            if event.kind == 4:
                self.counters += 1
                if track is not None and not track["counter"]:
                    self.error(f"packet {event.order}: a counter value on a track that is none")
                continue
            if track is not None and track["counter"]:
                self.error(f"packet {event.order}: a slice on a counter track")
            if event.kind in (1, 3):
                s = Slice()
                s.begin, s.end, s.name, s.notes = event.ts, None, event.name, list(event.notes)
                s.category = ",".join(event.categories) or self.category(event, track)
                s.track, s.parent, s.stack = event.track, stack[-1] if stack else None, event.stack
                s.begin_event, s.instant, s.depth = event, event.kind == 3, len(stack)
                self.slices.append(s)
                event.slice = s
                if event.kind == 3:
                    s.end = event.ts
                else:
                    stack.append(s)
                    if len(stack) > 512:
                        self.error(f"packet {event.order}: slices deeper than 512 are dropped by readers")
            elif event.kind == 2:
                if event.name is not None or event.categories:
                    self.error(f"packet {event.order}: an END with a name may cut other slices")
                if not stack:
                    if not self.cut:
                        self.error(f"packet {event.order}: END at {event.ts} on track {event.track} "
                                   f"({track['name'] if track else '?'}) closes nothing")
                else:
                    s = stack.pop()
                    s.end = event.ts
                    s.notes += event.notes
                    event.slice = s
            for flow in event.flows:
                flows[flow].append(event)
        if self.events and not self.described_keys and not self.cut:
            self.error("no extension descriptor: readers do not show what the keys say")
        for s in self.slices:
            after = s.note("thence.destroyed_after")
            if after is not None:
                s.notes.append(("thence.destroyed_at", (s.end if s.end is not None else s.begin) + after))
        self.open = [s for stack in stacks.values() for s in stack]
        self.flows = []
        for flow, ends in flows.items():
            if not flow:
                self.error("flow id 0")
            if len(ends) != 2:
                if not self.cut:
                    where = ", ".join(f"packet {e.order} ({e.name})" for e in ends)
                    self.error(f"flow {flow} has {len(ends)} ends: {where}")
                continue
            source, target = ends
            if source.slice is None or target.slice is None or source.slice is target.slice:
                self.error(f"flow {flow} has no two slices")
                continue
            if source.slice.begin > target.slice.begin:
                self.error(f"flow {flow}: readers turn it round, as its target begins before its source")
            self.flows.append((source.slice, target.slice))

    def category(self, event, track):
        """What lies on a track tells itself by the track."""
        if event.kind == 3:
            return "edge" if event.name in EDGES else "record"
        if event.track in self.lane_tracks:
            return "invocation"
        return "park" if track is not None and track["parent"] in self.lane_tracks else "resource"

    def structure(self):
        """Promises about the picture that need no JSON."""
        # Resources never overlap on their tracks.
        by_track = defaultdict(list)
        for s in self.slices:
            if s.category == "resource":
                by_track[s.track].append(s)
                if s.depth != 0:
                    self.error(f"resource {s.note('thence.id')} ({s.name}) lies inside another slice of its track")
                if s.parent is not None and s.parent.end is None:
                    self.error(f"resource {s.note('thence.id')}: its track has an open slice and was used again")
            if s.end is not None and s.end < s.begin:
                self.error(f"slice {s.name} ends before it begins")
            if s.parent is not None and s.end is not None and s.parent.end is not None and s.end > s.parent.end:
                self.error(f"slice {s.name} ends after the slice around it")
            if s.category == "":
                self.error(f"{s.name}: no category")
        # Flows begin where they say.
        for source, target in self.flows:
            if source.category not in ("edge", "record") or not source.instant:
                self.error(f"a flow starts at {source.name} ({source.category})")
            if source.name == "create":
                trigger = target.note("thence.trigger")
                if trigger is None:
                    self.error(f"a create edge leads to {target.name}, which has no trigger")
                around = source.parent
                while around is not None and around.note("thence.id") != trigger:
                    around = around.parent
                if around is not None:
                    self.inside_edges += 1
                else:
                    self.outside_edges += 1
            if source.name == "settle" and target.name != "settled":
                self.error(f"a settle edge leads to {target.name}")
        edges = {id(source) for source, _ in self.flows}
        for s in self.slices:
            if s.category == "edge" and id(s) not in edges and not any(s is t for _, t in self.flows):
                if not self.cut:
                    self.error(f"an edge instant {s.name} at {s.begin} without a flow")
        if not self.snapshots and not self.cut:
            self.error("no clock snapshot")
        for before, after in zip(self.snapshots, self.snapshots[1:]):
            for clock in (6, 3):
                if before.get(clock, 0) > after.get(clock, 0):
                    self.error(f"clock {clock} goes back between two snapshots")
        for clocks in self.snapshots:
            if 6 not in clocks:
                self.error("a clock snapshot without BOOTTIME")
        if self.uuid is None and not self.cut:
            self.error("no trace uuid")
        self.losses()

    inside_edges = 0
    outside_edges = 0

    def losses(self):
        lost = defaultdict(int)
        marks = defaultdict(int)
        for s in self.slices:
            if s.name == "thence.lost":
                lost[s.note("thence.lane")] += s.note("thence.count")
                marks[s.begin_event.sequence] += 1
                if not s.note("thence.first") <= s.note("thence.last"):
                    self.error("a loss whose range is upside down")
        self.lost = dict(lost)
        for seq_id, sequence in self.sequences.items():
            if self.cut:
                break
            if sequence.drops != marks.get(seq_id, 0) and (marks.get(seq_id, 0) or not self.lost):
                self.error(f"sequence {seq_id}: {sequence.drops} drop marks for {marks.get(seq_id, 0)} losses")
        if self.cut:
            return
        if self.stats is None:
            self.error("no TraceStats: readers do not show losses")
            return
        buffers = len(every(self.stats, 1))
        mapped = {first(fields(w), 1): first(fields(w), 4, 0) for w in every(self.stats, 18)}
        for seq_id, sequence in self.sequences.items():
            if seq_id not in mapped:
                self.error(f"TraceStats does not map sequence {seq_id}")
            elif mapped[seq_id] >= buffers:
                self.error(f"TraceStats maps sequence {seq_id} to buffer {mapped[seq_id]}, which it does not have")
            if self.stats_drops.get(seq_id, 0) != sequence.drops:
                self.error(f"sequence {seq_id}: a loss after the last TraceStats is not shown")
        summaries = [s for s in self.slices if s.name == "thence.summary"]
        if not summaries:
            self.error("no thence.summary")
        for s in summaries:
            lane = s.note("thence.lane")
            if lane is not None and s.note("thence.lost") != lost.get(lane, 0):
                self.error(f"lane {lane}: the summary says {s.note('thence.lost')} lost, the instants {lost.get(lane, 0)}")


class Int(int):
    """A signed value, told apart from an unsigned one."""


# -- resources ---------------------------------------------------------------------------------------------------------

OURS = "thence."


def blank():
    return {"root": None, "type": None, "trigger": None, "created": None, "createdOn": None, "stack": None, "settled": None,
            "resolved": None, "destroyed": None, "destroyedOn": None, "finished": None, "invocations": [], "annotations": [],
            "open": False, "has_slice": False, "slice_open": False, "scheduled": [], "links": []}


class Model:
    def __init__(self, trace):
        self.trace = trace
        self.resources = defaultdict(blank)
        self.sealed = {}
        self.lanes = {}
        lane_of_sequence = {}
        for s in trace.slices:
            if s.name == "thence.lane":
                lane_of_sequence[s.begin_event.sequence] = s.note("thence.lane")
                self.lanes[s.note("thence.lane")] = (s.note("thence.process_id"), s.note("thence.thread_id"),
                                                     s.note("thence.name"))
        parts = {}
        loose = []
        for s in trace.slices:
            rid = s.note("thence.id")
            lane = lane_of_sequence.get(s.begin_event.sequence)
            if s.note("thence.lane") is not None:
                lane = s.note("thence.lane")
            if s.category == "resource":
                self.begin(s, rid, lane)
            elif s.category == "invocation":
                self.invocation(s, rid, lane, parts)
            elif s.category == "record" and s.name:
                if s.name == "sealed":
                    self.sealed[s.note("thence.root")] = (s.begin, s.note("thence.seal_reason"),
                                                          s.note("thence.open_resources"))
                elif s.name == "sample":
                    pass
                elif s.name in ("exited", "entered"):
                    loose.append((s, rid, lane))
                elif rid is not None:
                    self.record(s, rid, lane)
        for s, rid, lane in loose:
            self.loose_invocation(s, rid, lane)
        for resource in self.resources.values():
            resource["invocations"].sort(key=lambda i: (i["start"] if i["start"] is not None else i["end"], i["order"]))

    def take_root(self, resource, s):
        root = s.note("thence.root")
        if root is not None:
            resource["root"] = root

    def begin(self, s, rid, lane):
        r = self.resources[rid]
        if r["created"] is not None:
            self.trace.error(f"resource {rid} has two slices")
        self.take_root(r, s)
        r.update(type=s.name, trigger=s.note("thence.trigger"), created=s.begin, createdOn=lane, stack=s.stack, has_slice=True,
                 slice_open=s.end is None, slice_end=s.end)
        if s.note("thence.destroyed_at") is not None and (r["destroyed"] is None or s.note("thence.destroyed_at") < r["destroyed"]):
            r["destroyed"], r["destroyedOn"] = s.note("thence.destroyed_at"), s.note("thence.destroyed_on")
        self.annotate(r, s)
        if s.end is not None:
            self.held_settle(r, s, s.end)
        r["outcome_on_slice"] = s.note("thence.outcome")

    @staticmethod
    def held_settle(r, s, time):
        """Without flows the end of a slice says how it was settled."""
        before = s.note("thence.settled_before")
        if before is not None and (r["settled"] is None or time - before < r["settled"]["at"]):
            r["settled"] = {"at": time - before, "outcome": s.note("thence.outcome"),
                            "by": s.note("thence.settled_by", "unknown"), "settler": s.note("thence.settler"),
                            "lane": s.note("thence.settled_on")}

    def annotate(self, r, s):
        notes = [(k, v) for k, v in s.notes if not k.startswith(OURS) or k == "thence.cut"]
        for (k, v), (mark, key) in zip(notes, notes[1:] + [(None, None)]):
            if not k.startswith(OURS):
                r["annotations"].append((k, v, mark == "thence.cut" and key == k))

    def invocation(self, s, rid, lane, parts):
        r = self.resources[rid]
        self.take_root(r, s)
        if s.note("thence.split"):
            # Parts of one invocation follow each other on their lane; each but the first begins where one ended.
            key = s.note("thence.invocation")
            part = s.note("thence.part")
            known = parts.setdefault(key, [])
            if part == 0 or not known:
                known.clear()
                known.append({"entry": self.add(r, s, lane), "next": 1, "end": s.end})
                if part != 0:
                    self.trace.error(f"invocation of {rid}: part {part} comes first")
            else:
                state = known[0]
                if part != state["next"]:
                    self.trace.error(f"invocation of {rid}: part {part} where {state['next']} was expected")
                if state["end"] != s.begin:
                    self.trace.error(f"invocation of {rid}: a gap between its parts")
                state["next"] = part + 1
                state["end"] = s.end
                self.end_of(state["entry"], s)
            return
        self.add(r, s, lane)

    def add(self, r, s, lane):
        entry = {"lane": lane, "start": s.note("thence.true_begin", s.begin), "end": None, "exitLane": None,
                 "cause": s.note("thence.cause"), "causeBy": s.note("thence.cause_by"), "cut": False, "stack": s.stack, "order": s.begin_event.order}
        self.end_of(entry, s)
        r["invocations"].append(entry)
        self.folded_wake(r, s, entry["start"], lane)
        return entry

    @staticmethod
    def waker(s):
        """Who woke; one that is not said is an invocation if a waker is."""
        return s.note("thence.scheduled_by", "unknown" if s.note("thence.waker") is None else "invocation")

    def folded_wake(self, r, s, time, lane):
        """Without flows an invocation says a wake before it; which of several made it ready is for readers to find."""
        before = s.note("thence.woken_before")
        if before is None:
            return
        r["scheduled"].append({"at": time - before, "by": self.waker(s), "waker": s.note("thence.waker"),
                               "lane": s.note("thence.wake_lane", lane)})

    @staticmethod
    def end_of(entry, s):
        if s.note("thence.end_unknown"):
            entry["end"], entry["cut"] = None, True
        elif s.note("thence.true_end") is not None:
            entry["end"] = s.note("thence.true_end")
        elif s.note("thence.split"):
            pass
        else:
            entry["end"] = s.end
        if s.note("thence.exit_lane") is not None:
            entry["exitLane"] = s.note("thence.exit_lane")

    def loose_invocation(self, s, rid, lane):
        r = self.resources[rid]
        self.take_root(r, s)
        if s.name == "entered":
            self.folded_wake(r, s, s.begin, lane)
            r["invocations"].append({"lane": lane, "start": s.begin, "end": None, "exitLane": None, "cut": True,
                                     "cause": s.note("thence.cause"), "causeBy": s.note("thence.cause_by"),
                                     "stack": s.stack, "order": s.begin_event.order})
            return
        candidates = [i for i in r["invocations"] if i["cut"] and i["end"] is None and i["start"] <= s.begin]
        here = [i for i in candidates if i["lane"] == lane]
        if here or candidates:
            found = max(here or candidates, key=lambda i: (i["start"], i["order"]))
            found["end"] = s.begin
            if found["lane"] != lane:
                found["exitLane"] = lane
        else:
            r["invocations"].append({"lane": lane, "start": None, "end": s.begin, "exitLane": None, "cut": False,
                                     "cause": None, "causeBy": None, "stack": None,
                                     "order": s.begin_event.order})

    def record(self, s, rid, lane):
        r = self.resources[rid]
        self.take_root(r, s)
        if s.name == "settled":
            what = {"at": s.begin, "outcome": s.note("thence.outcome"), "by": s.note("thence.settled_by", "unknown"),
                    "settler": s.note("thence.settler"), "lane": lane}
            which = "resolved" if what["outcome"] == "resolved" else "settled"
            if r[which] is None:
                r[which] = what
        elif s.name == "destroyed":
            if r["destroyed"] is None or s.begin < r["destroyed"]:
                r["destroyed"], r["destroyedOn"] = s.begin, lane
        elif s.name == "created":
            if r["created"] is None:
                r.update(type=s.note("thence.type"), trigger=s.note("thence.trigger"), created=s.begin, createdOn=lane,
                         stack=s.stack)
        elif s.name == "finished":
            if r["finished"] is None:
                r["finished"] = s.begin
        elif s.name == "annotated":
            self.annotate(r, s)
        elif s.name == "open":
            r["open"] = True
            at = s.note("thence.destroyed_at")
            if at is not None and (r["destroyed"] is None or at < r["destroyed"]):
                r["destroyed"], r["destroyedOn"] = s.note("thence.destroyed_at"), s.note("thence.destroyed_on")
            self.annotate(r, s)
            self.held_settle(r, s, s.begin)
        elif s.name == "scheduled":
            r["scheduled"].append({"at": s.begin, "by": self.waker(s), "waker": s.note("thence.waker"),
                                   "lane": lane})
        elif s.name in ("awaits", "bridge"):
            r["links"].append((s.note("thence.link", s.name), rid, s.note("thence.link_cause"), s.begin, lane))
        else:
            self.trace.error(f"a record {s.name} of resource {rid} that is not known")

    def check(self):
        for s in self.trace.open:
            root = self.resources[s.note("thence.id")]["root"] if s.note("thence.id") is not None else None
            if s.category == "invocation" and root in self.sealed and not self.trace.cut:
                self.trace.error(f"an invocation of {s.note('thence.id')} runs on in the picture after its root {root} was sealed")
        for rid, r in sorted(self.resources.items()):
            if self.trace.cut:
                break
            if r["has_slice"] and r["open"] != r["slice_open"]:
                self.trace.error(f"resource {rid} ({r['type']}): "
                                 f"{'said to be open, its slice is closed' if r['open'] else 'its slice is open, not said so'}")
            if r["has_slice"] and not r["slice_open"]:
                end = r["slice_end"]
                if r["outcome_on_slice"] is not None and end < r["settled"]["at"]:
                    self.trace.error(f"resource {rid} ends at {end}, settled at {r['settled']['at']}")


# -- the JSON documents ------------------------------------------------------------------------------------------------

def same(errors, where, what, trace, document):
    if trace != document:
        errors.append(f"{where}: {what}: the trace says {trace!r}, the JSON {document!r}")


def frames_of(stack):
    if stack is None:
        return []
    return [f"{function if function is not None else '(unknown)'} @ {file if file is not None else '(unknown)'}"
            f":{line}:{column}" for _, function, file, line, column, *_ in stack]


def details_of(stack):
    """frameDetails, as the document should have them; None where the frames say all."""
    if stack is None or all(f[0] == "script" and f[1] is not None and f[2] is not None for f in stack):
        return None
    out = []
    for kind, function, file, _, _, relative_pc, pc, build_id in stack:
        d = {"kind": kind}
        if function is None:
            d["functionUnknown"] = True
        if file is None:
            d["fileUnknown"] = True
        if kind == "native":
            d["pc"], d["relativePc"] = pc, relative_pc
            if build_id is not None:
                d["buildId"] = build_id
        out.append(d)
    return out


def typed(note):
    kind = note.get("valueType", "string")
    if kind == "string":
        return note["value"]
    if "typedValue" not in note:
        return float(note["value"])
    value = note["typedValue"]
    return Int(value) if kind == "int" else float(value) if kind == "double" else value


def value_key(value):
    return (type(value).__name__, repr(value))


def compare(model, document, name, errors):
    ours = document.get("thence")
    if ours is None:
        errors.append(f"{name}: no member thence: not written by thence")
        return
    t0 = ours["startBoottimeNs"]
    root = ours.get("rootId")
    by_async = {r["asyncId"]: r for r in document["resources"]}
    ids = {r["asyncId"]: r.get("id") for r in document["resources"]}
    stacks = {s["id"]: s for s in document["stackTraces"]}
    if sorted(by_async) != list(range(1, len(by_async) + 1)):
        errors.append(f"{name}: asyncIds are not dense")

    def true_id(owner, key):
        if key in owner:
            return ids[owner[key]]
        return owner.get(key + "Ref")

    def absolute(value):
        return None if value is None else value + t0

    notes = defaultdict(list)
    for note in document["annotations"]:
        if note["asyncId"] not in by_async:
            errors.append(f"{name}: an annotation of resource {note['asyncId']}, which is not there")
            continue
        notes[ids[note["asyncId"]]].append((note["key"], value_key(typed(note)), note.get("cut", False)))
    links = defaultdict(list)
    for link in ours["links"]:
        links[true_id(link, "effect")].append((link["kind"], true_id(link, "effect"), true_id(link, "cause"),
                                               absolute(link["at"]), link.get("lane")))
    seen = set()
    open_count = 0
    for r in document["resources"]:
        rid = r.get("id")
        if rid is None:
            if not r.get("placeholder"):
                errors.append(f"{name}: resource {r['asyncId']} has neither id nor placeholder")
            continue
        seen.add(rid)
        where = f"{name}: resource {r['asyncId']} (id {rid}, {r['type']})"
        if rid not in model.resources:
            errors.append(f"{where}: not in the trace")
            continue
        t = model.resources[rid]
        open_count += bool(r.get("open"))
        if r.get("creationLost"):
            same(errors, where, "created", t["created"], None)
        else:
            same(errors, where, "type", t["type"], r["type"])
            same(errors, where, "created", t["created"],
                 absolute(r["createdAt"] if "createdBeforeStart" not in r else -r["createdBeforeStart"]))
            same(errors, where, "created on", t["createdOn"], r.get("createdOn", 0))
            trigger = ids.get(r["triggerId"]) if r["triggerId"] else r.get("triggerRef")
            same(errors, where, "trigger", t["trigger"], trigger)
            if not r.get("stackMissing"):
                stack = stacks[r["stackTraceId"]]
                same(errors, where, "stack", frames_of(t["stack"]), stack["frames"])
                same(errors, where, "frame details", details_of(t["stack"]), stack.get("frameDetails"))
            # The trace may end a slice at a loss or a seal for want of the exit; and a promise that has run has ended.
            excused = r.get("open") and not t["open"] and (
                any("endedAt" not in i for i in r.get("invocations", [])) or r["type"] in ("js-promise", "microtask"))
            if t["has_slice"] and not excused:
                same(errors, where, "open", bool(t["open"]), bool(r.get("open")))
        same(errors, where, "root", t["root"], root)
        for which, at, by, who, on in (("settled", "settledAt", "settledBy", "settler", "settledOn"),
                                       ("resolved", "resolvedAt", "resolvedBy", "resolver", "resolvedOn")):
            expected = None
            if at in r:
                expected = {"at": absolute(r[at]), "outcome": r["outcome"] if which == "settled" else "resolved",
                            "by": r[by], "settler": true_id(r, who), "lane": r.get(on)}
            same(errors, where, which, t[which], expected)
        same(errors, where, "destroyed", t["destroyed"], absolute(r["destroyedAt"]) if r.get("destroyed") else None)
        same(errors, where, "finished", t["finished"], absolute(r.get("finishedAt")))
        invocations = [(i.get("lane"), absolute(i.get("startedAt")), absolute(i.get("endedAt")), i.get("exitLane"),
                        i.get("cause"), true_id(i, "causeBy"), frames_of_document(stacks, i)) for i in r.get("invocations", [])]
        told = [(i["lane"], i["start"], i["end"], i["exitLane"], i["cause"], i["causeBy"], frames_of(i["stack"]))
                for i in t["invocations"]]
        same(errors, where, "invocations", Counter(map(str, told)), Counter(map(str, invocations)))
        started = [i.get("startedAt") for i in r.get("invocations", [])]
        if started and started[0] is not None and r["callbackStartedAt"] != max(0, started[0]):
            errors.append(f"{where}: callbackStartedAt is not its first invocation's")
        ended = [i["endedAt"] for i in r.get("invocations", []) if "endedAt" in i]
        if r["callbackEndedAt"] != max([0] + ended):
            errors.append(f"{where}: callbackEndedAt is not its last invocation's")
        scheduled = Counter((absolute(i["readyAt"]), i["readyBy"], true_id(i, "waker"), i.get("readyOn"))
                            for i in r.get("invocations", []) if "readyAt" in i)
        scheduled += Counter((absolute(w["at"]), w["by"], true_id(w, "waker"), w.get("lane")) for w in r.get("wakes", []))
        same(errors, where, "wakes", Counter((w["at"], w["by"], w["waker"], w["lane"]) for w in t["scheduled"]), scheduled)
        same(errors, where, "annotations", Counter((k, value_key(v), c) for k, v, c in t["annotations"]), Counter(notes[rid]))
        same(errors, where, "links", Counter(t["links"]), Counter(links[rid]))
    if root is not None:
        missing = sorted(rid for rid, t in model.resources.items() if t["root"] == root and rid not in seen)
        if missing and not ours["notKept"]:
            errors.append(f"{name}: not in the JSON: resources {missing[:10]}")
        sealed = model.sealed.get(root)
        if "sealReason" in ours:
            same(errors, name, "seal", (sealed[0], sealed[1]) if sealed else None,
                 (absolute(ours["sealedAt"]), ours["sealReason"]))
        same(errors, name, "openResources", open_count, ours["openResources"])
    for lane in ours["lanes"]:
        told = model.lanes.get(lane["id"])
        if told is not None and told != (lane["processId"], lane["threadId"], lane["name"]):
            errors.append(f"{name}: lane {lane['id']}: the trace says {told}")


def frames_of_document(stacks, owner):
    return stacks[owner["stackTraceId"]]["frames"] if "stackTraceId" in owner else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("documents", nargs="*")
    parser.add_argument("--schema")
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--roots", action="store_true")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    try:
        with open(options.trace, "rb") as file:
            trace = Trace(file.read(), options.cut)
        documents = []
        for path in options.documents:
            with open(path, encoding="utf-8") as file:
                documents.append((path, json.load(file)))
    except (OSError, Bad, ValueError, IndexError) as error:
        print(f"check_trace: {error}", file=sys.stderr)
        return 2
    trace.structure()
    model = Model(trace)
    model.check()
    errors = trace.errors
    if options.schema:
        import jsonschema
        with open(options.schema, encoding="utf-8") as file:
            schema = json.load(file)
        validator = jsonschema.validators.validator_for(schema)(schema)
        for path, document in documents:
            for error in validator.iter_errors(document):
                errors.append(f"{path}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}")
    for path, document in documents:
        compare(model, document, path, errors)
    if options.roots:
        told = {d.get("thence", {}).get("rootId") for _, d in documents}
        for root in sorted(set(model.sealed) - told):
            if any(t["root"] == root for t in model.resources.values()):
                errors.append(f"root {root} was sealed and has no document")
    if options.print:
        print(json.dumps({k: v for k, v in sorted(model.resources.items())}, indent=1, default=str))
    for error in errors[:50]:
        print(f"check_trace: {error}")
    if len(errors) > 50:
        print(f"check_trace: and {len(errors) - 50} more")
    if errors:
        return 1
    kinds = Counter(source.name if source.category == "edge" else source.name for source, _ in trace.flows)
    print(f"good: {len(trace.events)} events on {len({e.track for e in trace.events})} tracks, "
          f"{len(model.resources)} resources ({sum(r['open'] for r in model.resources.values())} open), "
          f"{sum(len(r['invocations']) for r in model.resources.values())} invocations, "
          f"{len(trace.flows)} flows {dict(sorted(kinds.items()))}, {trace.outside_edges} of "
          f"{trace.inside_edges + trace.outside_edges} creations outside of their trigger's invocation, "
          f"{trace.counters} counter values, {sum(trace.lost.values())} lost, {len(documents)} documents")
    return 0


if __name__ == "__main__":
    sys.exit(main())
