// SPDX-License-Identifier: MIT
// track_table.hpp: the tracks of a Perfetto trace, and what is open on them.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// What a slice of ours stands for.
enum class SliceKind : std::uint8_t { kResource, kInvocation, kPause, kPark, kOther };

/// A slice that was begun and not ended.
struct OpenSlice {
  std::uint64_t id = 0;
  RootId root = RootId::kNone;
  std::uint64_t begin = 0;       // as written
  std::uint64_t invocation = 0;  // of a split one
  SliceKind kind = SliceKind::kOther;
  PauseKind pause = PauseKind::kOther;
  bool split = false;
};

struct Track {
  std::uint64_t uuid = 0;
  std::uint64_t parent = 0;
  std::uint32_t up = IdMap::kAbsent;  // the parent's place, once asked for
  std::uint32_t name = 0;             // text
  std::uint32_t unit = 0;             // text
  std::int32_t process_id = 0;
  std::int32_t thread_id = 0;
  LaneId lane = LaneId::kNone;
  CounterId counter = CounterId::kNone;  // as the file numbers it, where it does
  bool is_thread = false;
  bool is_process = false;
  bool has_lane = false;    // ours: it is a lane's
  bool thread_asked = false;  // others': `thread` is known
  std::uint32_t thread = IdMap::kAbsent;  // the track of the thread that it is, or lies below
  std::vector<OpenSlice> open;
  std::vector<std::uint64_t> ended;  // of split invocations: whose exit has been handed over
};

/// The tracks by uuid; 0 is one, too. A track is known by its place in the table.
///   Threads   one.
///   Cost      O(1) expected.
///   Errors    std::bad_alloc.
class TrackTable {
 public:
  static constexpr std::uint32_t kNone = IdMap::kAbsent;

  /// `texts` outlives the table.
  explicit TrackTable(TextNumbers& texts) : texts_(texts), no_text_(texts.number_of({})) {}

  [[nodiscard]] Track& operator[](std::uint32_t at) noexcept { return tracks_[at]; }
  [[nodiscard]] auto begin() noexcept { return tracks_.begin(); }
  [[nodiscard]] auto end() noexcept { return tracks_.end(); }

  /// The place of a track, which is made where it is new.
  [[nodiscard]] std::uint32_t of(std::uint64_t uuid) {
    if (last_ < tracks_.size() && tracks_[last_].uuid == uuid) return last_;
    last_ = uuid == 0 ? zero_ : by_uuid_.find(uuid);
    if (last_ == kNone) {
      last_ = static_cast<std::uint32_t>(tracks_.size());
      tracks_.emplace_back();
      tracks_.back().uuid = uuid;
      tracks_.back().name = tracks_.back().unit = no_text_;
      if (uuid == 0) {
        zero_ = last_;
      } else {
        by_uuid_.insert(uuid, last_);
      }
    }
    return last_;
  }

  /// The track above; kNone: none, or it has not been heard of.
  [[nodiscard]] std::uint32_t parent_of(std::uint32_t at) noexcept {
    Track& track = tracks_[at];
    if (track.up == kNone && track.parent != 0) track.up = by_uuid_.find(track.parent);
    return track.up;
  }
  /// The lane of a track of ours: its own, or that of the one above it.
  [[nodiscard]] LaneId lane_of(std::uint32_t at) noexcept {
    for (unsigned steps = 0; steps < 8 && at != kNone; ++steps) {
      if (tracks_[at].has_lane) return tracks_[at].lane;
      at = parent_of(at);
    }
    return LaneId::kNone;
  }

  /// Reads a TrackDescriptor. Returns what was expected where it is damaged, else nothing.
  [[nodiscard]] std::string_view read_descriptor(std::span<const std::byte> bytes) {
    std::uint64_t uuid = 0, parent = 0, counter_id = 0;
    std::string_view name, unit;
    std::int32_t process_id = 0, thread_id = 0;
    bool is_thread = false, is_process = false;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      switch (reader.field()) {
        case track_descriptor::kUuid: uuid = reader.varint(); break;
        case track_descriptor::kParentUuid: parent = reader.varint(); break;
        case track_descriptor::kName:
        case track_descriptor::kStaticName:
        case track_descriptor::kAtraceName: name = reader.text(); break;
        case track_descriptor::kProcess: {
          is_process = true;
          ProtobufReader process{reader.bytes()};
          while (process.next()) {
            if (process.field() == process_descriptor::kPid) process_id = static_cast<std::int32_t>(process.varint());
            if (process.field() == process_descriptor::kProcessName) name = process.text();
          }
          if (process.damaged()) return process.expected();
          break;
        }
        case track_descriptor::kThread: {
          is_thread = true;
          ProtobufReader thread{reader.bytes()};
          while (thread.next()) {
            if (thread.field() == thread_descriptor::kPid) process_id = static_cast<std::int32_t>(thread.varint());
            if (thread.field() == thread_descriptor::kTid) thread_id = static_cast<std::int32_t>(thread.varint());
            if (thread.field() == thread_descriptor::kThreadName) name = thread.text();
          }
          if (thread.damaged()) return thread.expected();
          break;
        }
        case track_descriptor::kCounter: {
          ProtobufReader counter{reader.bytes()};
          while (counter.next()) {
            if (counter.field() == counter_descriptor::kUnitName) unit = counter.text();
            if (counter.field() == thence_fields::kCounterId) counter_id = counter.varint();
            if (counter.field() == counter_descriptor::kUnit && unit.empty()) unit = unit_name(counter.varint());
          }
          if (counter.damaged()) return counter.expected();
          break;
        }
        default: break;
      }
    }
    if (reader.damaged()) return reader.expected();
    Track& track = tracks_[of(uuid)];
    if (parent != uuid && parent != track.parent) {
      track.parent = parent;
      track.up = kNone;
    }
    if (!name.empty()) track.name = texts_.number_of(name);
    if (!unit.empty()) track.unit = texts_.number_of(unit);
    if (process_id != 0) track.process_id = process_id;
    if (thread_id != 0) track.thread_id = thread_id;
    if (counter_id <= 0xffff && counter_id != 0) track.counter = static_cast<CounterId>(counter_id);
    track.is_thread = track.is_thread || is_thread;
    track.is_process = track.is_process || is_process;
    return {};
  }

 private:
  [[nodiscard]] static std::string_view unit_name(std::uint64_t unit) noexcept {
    switch (unit) {
      case counter_descriptor::kUnitTimeNs: return "ns";
      case counter_descriptor::kUnitCount: return "count";
      case counter_descriptor::kUnitSizeBytes: return "bytes";
      default: return {};
    }
  }

  TextNumbers& texts_;
  std::uint32_t no_text_;
  std::vector<Track> tracks_;
  IdMap by_uuid_;
  std::uint32_t zero_ = kNone;
  std::uint32_t last_ = kNone;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
