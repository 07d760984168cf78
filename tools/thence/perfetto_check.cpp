// SPDX-License-Identifier: MIT
#include "perfetto_check.hpp"

#include <zlib.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "terminal.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace tool {

using namespace thence;

namespace {

constexpr std::size_t kMaxDepth = 512;  // deeper slices are dropped by the trace processor

std::string hex(std::uint64_t value) {
  std::string out = "0x";
  append_number(out, value, 16);
  return out;
}

}  // namespace

struct PerfettoCheck::State {
  struct Sequence {
    bool valid = false;
    bool dropped_unmapped = false;
    std::uint64_t default_track = 0;
    std::uint64_t default_clock = 0;
    std::uint64_t delta_clock = 0;  // each time of this clock is the distance from the one before; 0: none
    std::uint64_t delta_time = 0;   // the last one
    std::unordered_set<std::uint64_t> dictionary;  // field << 40 | iid
  };
  struct Track {
    bool described = false;
    bool counter = false;
    std::uint64_t parent = 0;
  };
  struct Event {
    std::uint64_t track;
    std::uint64_t time;
    std::uint32_t order;
    std::uint8_t type;
  };

  std::vector<std::byte> pending;
  bool stopped = false;
  std::uint64_t packets = 0;
  std::unordered_map<std::uint64_t, Sequence> sequences;
  std::unordered_map<std::uint64_t, Track> tracks;
  std::unordered_map<std::uint64_t, std::uint32_t> flows;  // ends
  std::vector<Event> events;
  bool boottime = false;
  bool any_clock = false;

  Promise sequence{"sequences", "every event has a sequence and a time, and comes after its sequence's start", 0, 0, {}, {}};
  Promise interning{"interning", "every number of a name, frame or stack is defined before it is used", 0, 0, {}, {}};
  Promise described{"tracks", "every track of an event is described, and so is its parent; counters lie on counter tracks", 0, 0, {}, {}};
  Promise nesting{"nesting", "no slice ends that has not begun, on any track, and none is deeper than 512", 0, 0, {}, {}};
  Promise flow{"flows", "every flow has both ends", 0, 0, {}, {}};
  Promise clocks{"clocks", "the clock snapshots have the clock of the events among them", 0, 0, {}, {}};
  Promise losses{"statistics", "what was dropped is in the statistics that show it", 0, 0, {}, {}};

  std::string here() const { return "packet " + grouped(packets); }

  void packet(std::span<const std::byte> bytes, unsigned depth) {
    ++packets;
    std::uint64_t sequence_id = 0, flags = 0, time = 0, dropped = 0, clock_id = 0;
    bool has_time = false;
    std::span<const std::byte> event, interned, defaults, descriptor, clock, stats, compressed;
    bool has_event = false;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      using namespace perfetto;
      switch (reader.field()) {
        case trace_packet::kTimestamp: time = reader.varint(); has_time = true; break;
        case trace_packet::kTimestampClockId: clock_id = reader.varint(); break;
        case trace_packet::kTrustedPacketSequenceId: sequence_id = reader.varint(); break;
        case trace_packet::kSequenceFlags: flags |= reader.varint(); break;
        case 41: flags |= reader.boolean() ? trace_packet::kIncrementalStateCleared : 0; break;
        case trace_packet::kPreviousPacketDropped: dropped = reader.varint(); break;
        case trace_packet::kTrackEvent: event = reader.bytes(); has_event = true; break;
        case trace_packet::kInternedData: interned = reader.bytes(); break;
        case trace_packet::kTracePacketDefaults: defaults = reader.bytes(); break;
        case trace_packet::kTrackDescriptor: descriptor = reader.bytes(); break;
        case trace_packet::kClockSnapshot: clock = reader.bytes(); break;
        case trace_packet::kTraceStats: stats = reader.bytes(); break;
        case 50: compressed = reader.bytes(); break;
        default: break;
      }
    }
    if (!compressed.empty() && depth == 0) inflate_packets(compressed);
    Sequence& owner = sequences[sequence_id];
    if (dropped != 0 && owner.valid) {
      owner.valid = false;
      ++losses.looked;
      owner.dropped_unmapped = true;
    }
    if ((flags & perfetto::trace_packet::kIncrementalStateCleared) != 0) {
      owner.valid = true;
      owner.dictionary.clear();
      owner.default_track = owner.default_clock = 0;
    }
    if (!defaults.empty()) read_defaults(owner, defaults);
    if (!interned.empty() && owner.valid) intern(owner, interned);
    if (!descriptor.empty()) describe(descriptor);
    if (!clock.empty()) read_clock(owner, clock);
    if (!stats.empty()) read_stats(stats);
    if (!has_event) return;
    ++sequence.looked;
    if (sequence_id == 0) return sequence.fail(here() + ": an event without a sequence");
    if (!has_time) return sequence.fail(here() + ": an event without a time");
    if ((flags & perfetto::trace_packet::kNeedsIncrementalState) != 0 && !owner.valid) {
      return sequence.fail(here() + ": needs what sequence " + std::to_string(sequence_id) + " has not yet said, or has lost");
    }
    if (clock_id == 0) clock_id = owner.default_clock;
    if (clock_id != 0 && clock_id == owner.delta_clock) time = owner.delta_time += time;
    read_event(owner, event, time);
  }

  void read_defaults(Sequence& owner, std::span<const std::byte> bytes) {
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == perfetto::packet_defaults::kTimestampClockId) owner.default_clock = reader.varint();
      if (reader.field() != perfetto::packet_defaults::kTrackEventDefaults) continue;
      ProtobufReader inner{reader.bytes()};
      while (inner.next()) {
        if (inner.field() == perfetto::event_defaults::kTrackUuid) owner.default_track = inner.varint();
      }
    }
  }

  static std::uint64_t key_of(std::uint32_t field, std::uint64_t iid) { return std::uint64_t{field} << 40 | (iid & ((std::uint64_t{1} << 40) - 1)); }

  void intern(Sequence& owner, std::span<const std::byte> bytes) {
    ProtobufReader reader{bytes};
    // Entries of one packet may refer to each other in any order.
    std::vector<std::pair<std::uint32_t, std::span<const std::byte>>> entries;
    while (reader.next()) {
      if (!reader.is(WireType::kBytes)) continue;
      entries.push_back({reader.field(), reader.bytes()});
      ProtobufReader entry{reader.bytes()};
      while (entry.next()) {
        if (entry.field() == 1) owner.dictionary.insert(key_of(reader.field(), entry.varint()));
      }
    }
    using namespace perfetto;
    for (const auto& [field, content] : entries) {
      ProtobufReader entry{content};
      while (entry.next()) {
        if (field == interned_data::kCallstacks && entry.field() == callstack::kFrameIds) {
          refer(owner, interned_data::kFrames, entry.varint(), "frame");
        } else if (field == interned_data::kFrames && entry.field() == frame::kFunctionNameId) {
          refer(owner, interned_data::kFunctionNames, entry.varint(), "function");
        } else if (field == interned_data::kFrames && entry.field() == frame::kMappingId) {
          if (entry.varint() != 0) refer(owner, interned_data::kMappings, entry.varint(), "mapping");
        } else if (field == interned_data::kFrames && entry.field() == frame::kSourcePathIid) {
          refer(owner, interned_data::kSourcePaths, entry.varint(), "source path");
        } else if (field == interned_data::kMappings && entry.field() == mapping::kBuildId) {
          refer(owner, interned_data::kBuildIds, entry.varint(), "build id");
        } else if (field == interned_data::kMappings && entry.field() == mapping::kPathStringIds) {
          refer(owner, interned_data::kMappingPaths, entry.varint(), "mapping path");
        }
      }
    }
  }
  void refer(const Sequence& owner, std::uint32_t field, std::uint64_t iid, std::string_view what) {
    ++interning.looked;
    if (iid == 0 || owner.dictionary.contains(key_of(field, iid))) return;
    interning.fail(here() + ": " + std::string(what) + " " + std::to_string(iid) + " is not defined");
  }

  void describe(std::span<const std::byte> bytes) {
    std::uint64_t uuid = 0, parent = 0;
    bool counter = false, thread_or_process = false;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      using namespace perfetto;
      switch (reader.field()) {
        case track_descriptor::kUuid: uuid = reader.varint(); break;
        case track_descriptor::kParentUuid: parent = reader.varint(); break;
        case track_descriptor::kCounter: counter = true; break;
        case track_descriptor::kProcess:
        case track_descriptor::kThread: thread_or_process = true; break;
        default: break;
      }
    }
    Track& track = tracks[uuid];
    track.described = true;
    track.counter = track.counter || counter;
    if (!thread_or_process) track.parent = parent;
  }

  /// An incremental clock counts from its reading; a trace whose own differ from BOOTTIME is checked in order, not in time.
  void read_clock(Sequence& owner, std::span<const std::byte> bytes) {
    any_clock = true;
    ++clocks.looked;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() != perfetto::clock_snapshot::kClocks) continue;
      ProtobufReader clock{reader.bytes()};
      std::uint64_t id = 0, reading = 0;
      bool incremental = false;
      while (clock.next()) {
        switch (clock.field()) {
          case perfetto::clock::kClockId: id = clock.varint(); break;
          case perfetto::clock::kTimestamp: reading = clock.varint(); break;
          case perfetto::clock::kIsIncremental: incremental = clock.boolean(); break;
          default: break;
        }
      }
      if (id == perfetto::kClockBoottime) boottime = true;
      if (incremental) {
        owner.delta_clock = id;
        owner.delta_time = reading;
      }
    }
  }

  void read_stats(std::span<const std::byte> bytes) {
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() != perfetto::trace_stats::kWriterStats) continue;
      ProtobufReader writer{reader.bytes()};
      while (writer.next()) {
        if (writer.field() != perfetto::writer_stats::kSequenceId) continue;
        const auto owner = sequences.find(writer.varint());
        if (owner != sequences.end()) owner->second.dropped_unmapped = false;
      }
    }
  }

  void read_event(const Sequence& owner, std::span<const std::byte> bytes, std::uint64_t time) {
    std::uint64_t type = 0;
    std::optional<std::uint64_t> track;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      using namespace perfetto;
      switch (reader.field()) {
        case track_event::kType: type = reader.varint(); break;
        case track_event::kTrackUuid: track = reader.varint(); break;
        case track_event::kNameIid: refer(owner, interned_data::kEventNames, reader.varint(), "name"); break;
        case track_event::kCategoryIids: refer(owner, interned_data::kEventCategories, reader.varint(), "category"); break;
        case track_event::kCallstackIid: refer(owner, interned_data::kCallstacks, reader.varint(), "callstack"); break;
        case track_event::kDebugAnnotations: {
          ProtobufReader annotation{reader.bytes()};
          while (annotation.next()) {
            if (annotation.field() == debug_annotation::kNameIid) {
              refer(owner, interned_data::kDebugAnnotationNames, annotation.varint(), "annotation name");
            } else if (annotation.field() == debug_annotation::kStringIid) {
              refer(owner, interned_data::kDebugAnnotationStringValues, annotation.varint(), "annotation value");
            }
          }
          break;
        }
        case track_event::kFlowIds:
        case 48:
        case 36:
        case 42: ++flows[reader.varint()]; break;
        default: break;
      }
    }
    events.push_back({track.value_or(owner.default_track), time, static_cast<std::uint32_t>(events.size()), static_cast<std::uint8_t>(type)});
  }

  void inflate_packets(std::span<const std::byte> compressed) {
    std::vector<std::byte> plain(std::size_t{1} << 20);
    z_stream stream{};
    if (::inflateInit(&stream) != Z_OK) return;
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(compressed.data()));
    stream.avail_in = static_cast<uInt>(compressed.size());
    std::size_t made = 0;
    int result = Z_OK;
    while (result == Z_OK && made < (std::size_t{64} << 20)) {
      if (made == plain.size()) plain.resize(plain.size() * 2);
      stream.next_out = reinterpret_cast<Bytef*>(plain.data() + made);
      stream.avail_out = static_cast<uInt>(plain.size() - made);
      result = ::inflate(&stream, Z_NO_FLUSH);
      made = plain.size() - stream.avail_out;
    }
    ::inflateEnd(&stream);
    ProtobufReader reader{std::span(plain).first(made)};
    while (reader.next()) {
      if (reader.field() == perfetto::trace::kPacket) packet(reader.bytes(), 1);
    }
  }
};

PerfettoCheck::PerfettoCheck() : state_(std::make_unique<State>()) {}
PerfettoCheck::~PerfettoCheck() = default;

void PerfettoCheck::feed(std::span<const std::byte> bytes) {
  State& state = *state_;
  if (state.stopped) return;
  state.pending.insert(state.pending.end(), bytes.begin(), bytes.end());
  const std::byte* at = state.pending.data();
  const std::byte* const end = at + state.pending.size();
  for (;;) {
    const std::byte* head = at;
    if (head == end) break;
    const std::uint64_t tag = take_varint(head, end);
    if (head == nullptr) break;
    if ((tag & 7) != 2) {
      state.stopped = tag != 0 || end - at > 10;
      break;
    }
    const std::uint64_t length = take_varint(head, end);
    if (head == nullptr || length > static_cast<std::uint64_t>(end - head)) break;
    if (tag >> 3 == perfetto::trace::kPacket) state.packet({head, static_cast<std::size_t>(length)}, 0);
    at = head + length;
  }
  state.pending.erase(state.pending.begin(), state.pending.begin() + (at - state.pending.data()));
}

std::vector<Promise> PerfettoCheck::finish() {
  State& state = *state_;
  std::sort(state.events.begin(), state.events.end(), [](const State::Event& a, const State::Event& b) {
    if (a.track != b.track) return a.track < b.track;
    return a.time != b.time ? a.time < b.time : a.order < b.order;
  });
  std::size_t depth = 0;
  for (std::size_t at = 0; at < state.events.size(); ++at) {
    const State::Event& event = state.events[at];
    if (at == 0 || state.events[at - 1].track != event.track) {
      depth = 0;
      ++state.described.looked;
      const auto known = state.tracks.find(event.track);
      const bool described = known != state.tracks.end() && known->second.described;
      if (!described) {
        state.described.fail("track " + hex(event.track) + " has events and is not described");
      } else if (known->second.parent != 0 && !(state.tracks.contains(known->second.parent) && state.tracks[known->second.parent].described)) {
        state.described.fail("track " + hex(event.track) + " lies below " + hex(known->second.parent) + ", which is not described");
      }
    }
    if (event.type == perfetto::track_event::kCounter) {
      const auto known = state.tracks.find(event.track);
      if (known != state.tracks.end() && known->second.described && !known->second.counter) {
        state.described.fail("track " + hex(event.track) + " has a counter's value and is no counter's track");
      }
    }
    if (event.type == perfetto::track_event::kSliceBegin) {
      ++state.nesting.looked;
      if (++depth == kMaxDepth + 1) {
        state.nesting.fail("track " + hex(event.track) + " is deeper than 512 at " + std::to_string(event.time) + " ns");
      }
    } else if (event.type == perfetto::track_event::kSliceEnd) {
      if (depth == 0) {
        state.nesting.fail("track " + hex(event.track) + ": a slice ends at " + std::to_string(event.time) + " ns and none is open");
      } else {
        --depth;
      }
    }
  }
  std::vector<std::uint64_t> single;
  for (const auto& [id, ends] : state.flows) {
    ++state.flow.looked;
    if (ends < 2) single.push_back(id);
  }
  std::sort(single.begin(), single.end());
  for (const std::uint64_t id : single) state.flow.fail("flow " + hex(id) + " has one end only");
  // Without any snapshot the times are taken as they are: nothing is promised of them.
  if (state.any_clock && !state.boottime) state.clocks.fail("no snapshot has BOOTTIME");
  std::vector<std::uint64_t> unmapped;
  for (const auto& [id, sequence] : state.sequences) {
    if (sequence.dropped_unmapped) unmapped.push_back(id);
  }
  std::sort(unmapped.begin(), unmapped.end());
  for (const std::uint64_t id : unmapped) {
    state.losses.fail("sequence " + std::to_string(id) + " says that packets were dropped, and no TraceStats after that names it");
  }
  return {state.sequence, state.interning, state.described, state.nesting, state.flow, state.clocks, state.losses};
}

}  // namespace tool
