// SPDX-License-Identifier: MIT
// clock_readings.hpp: relates the clocks of a Perfetto trace to each other, by its clock snapshots.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/reader/sequence.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// What the clocks of a trace read at the same moments.
///   Shape     32 bytes a reading, up to 65 536 readings; later ones are not kept.
///   Threads   one.
///   Cost      relating a time: O(readings).
///   Errors    std::bad_alloc.
class ClockReadings {
 public:
  /// A clock's key: its id; of a sequence's own clock with the sequence in the upper half.
  [[nodiscard]] static std::uint64_t key(std::uint64_t clock, std::uint64_t sequence) noexcept {
    return is_own(clock) ? sequence << 32 | clock : clock;
  }

  /// Reads a ClockSnapshot of `sequence`, or of none. `told`: the trace's clocks; boottime 0: it has none to tell.
  /// Returns what was expected where it is damaged, else nothing.
  [[nodiscard]] std::string_view read(std::span<const std::byte> bytes, Sequence* sequence, ClockSnapshot& told) {
    std::uint64_t primary = 0;
    bool has_boottime = false, incremental = false;
    bool own = false;  // a sequence relates a clock of its own: no reading of the trace's clocks
    const std::size_t first = readings_.size();
    ++snapshots_;
    ProtobufReader reader{bytes};
    while (reader.next()) {
      if (reader.field() == clock_snapshot::kPrimaryTraceClock) primary = reader.varint();
      if (reader.field() != clock_snapshot::kClocks) continue;
      Clock read;
      ProtobufReader one{reader.bytes()};
      while (one.next()) {
        switch (one.field()) {
          case clock::kClockId: read.id = one.varint(); break;
          case clock::kTimestamp: read.time = one.varint(); break;
          case clock::kIsIncremental: read.incremental = one.boolean(); break;
          case clock::kUnitMultiplier: read.unit = std::max<std::uint64_t>(one.varint(), 1); break;
          default: break;
        }
      }
      if (one.damaged()) return one.expected();
      if (read.id == kClockBoottime) {
        told.boottime = read.time;
        has_boottime = true;
      }
      if (read.id == kClockMonotonic) told.monotonic = read.time;
      if (read.id == kClockRealtime) told.realtime = read.time;
      read.time *= read.unit;
      if (read.incremental && sequence != nullptr) {
        sequence->incremental_clock = read.id;
        sequence->incremental = read.time;
        sequence->incremental_unit = read.unit;
        sequence->incremental_is_boottime = false;
        incremental = true;
      }
      own = own || is_own(read.id);
      if (read.id != 0 && readings_.size() < kMaxReadings) {
        readings_.push_back({key(read.id, sequence == nullptr ? 0 : sequence->id), read.time, snapshots_});
      }
    }
    if (reader.damaged()) return reader.expected();
    if (trace_clock_ == 0) {
      for (std::size_t at = first; at < readings_.size(); ++at) {
        if (readings_[at].clock == kClockBoottime) trace_clock_ = kClockBoottime;
      }
      if (primary != 0) trace_clock_ = primary;
    }
    if (incremental && has_boottime) {
      sequence->incremental_is_boottime = trace_clock_ == kClockBoottime;
      sequence->incremental_offset = told.boottime - sequence->incremental;
      if (sequence->incremental_is_boottime && readings_.size() == first + 2) readings_.resize(first);  // said by the offset
    }
    if (own) told = {};
    return {};
  }

  /// Puts a clock's time on the trace's clock, directly or over one clock between. False: nothing relates the two.
  [[nodiscard]] bool to_trace_clock(std::uint64_t clock, std::uint64_t& time) const noexcept {
    const std::uint64_t target = trace_clock_ == 0 ? kClockBoottime : trace_clock_;
    if (clock == target || readings_.empty()) return clock == target || clock < kFirstOwn;
    std::uint64_t result = 0;
    if (convert(clock, target, time, result)) {
      time = result;
      return true;
    }
    for (std::size_t at = 0; at < readings_.size() && at < 64; ++at) {
      std::uint64_t middle = 0;
      if (readings_[at].clock != clock && readings_[at].clock != target && convert(clock, readings_[at].clock, time, middle) &&
          convert(readings_[at].clock, target, middle, result)) {
        time = result;
        return true;
      }
    }
    return false;
  }

 private:
  struct Clock {
    std::uint64_t id = 0;
    std::uint64_t time = 0;
    std::uint64_t unit = 1;
    bool incremental = false;
  };
  struct Reading {
    std::uint64_t clock = 0;
    std::uint64_t time = 0;
    std::uint32_t snapshot = 0;
  };
  static constexpr std::size_t kMaxReadings = 1 << 16;
  static constexpr std::uint64_t kFirstOwn = 64, kEndOwn = 128;  // clocks of a sequence's own

  [[nodiscard]] static bool is_own(std::uint64_t clock) noexcept { return clock >= kFirstOwn && clock < kEndOwn; }

  /// `time` of one clock on another, by one snapshot that has both: the last one not after it, else the first.
  [[nodiscard]] bool convert(std::uint64_t from, std::uint64_t to, std::uint64_t time, std::uint64_t& result) const noexcept {
    const Reading* best_from = nullptr;
    const Reading* best_to = nullptr;
    for (std::size_t first = 0, end = 0; first < readings_.size(); first = end) {
      while (end < readings_.size() && readings_[end].snapshot == readings_[first].snapshot) ++end;
      const std::span<const Reading> snapshot(&readings_[first], end - first);
      const auto of = [&](std::uint64_t clock) {
        return std::find_if(snapshot.begin(), snapshot.end(), [&](const Reading& reading) { return reading.clock == clock; });
      };
      const auto read_from = of(from), read_to = of(to);
      if (read_from == snapshot.end() || read_to == snapshot.end()) continue;
      if (best_from != nullptr && read_from->time > time) continue;
      best_from = &*read_from;
      best_to = &*read_to;
    }
    if (best_from == nullptr) return false;
    const auto moved = static_cast<std::int64_t>(time - best_from->time);
    result = best_to->time + static_cast<std::uint64_t>(moved);
    return !(moved < 0 && result > best_to->time);  // before the clock's start
  }

  std::vector<Reading> readings_;
  std::uint32_t snapshots_ = 0;
  std::uint64_t trace_clock_ = 0;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
