// SPDX-License-Identifier: MIT
// encoded_lane.hpp: what the encoder of Perfetto traces keeps of a lane: what runs on it, and its counters.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/formats/perfetto/fields.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

class WrittenSequence;

/// An invocation or a pause that has a slice on a lane.
struct RunSlice {
  RunSlice() noexcept {}  // a compiler clears an aggregate by `rep stos`, which takes longer than all it is for

  std::uint64_t resource = 0;
  std::uint64_t root = 0;
  std::uint64_t begin = 0;          // as recorded
  std::uint64_t end = 0;
  std::uint64_t written_begin = 0;  // as written: on a lane, times never go back
  std::uint64_t written_end = 0;
  std::uint64_t begin_order = 0;
  std::uint64_t end_order = 0;      // 0: has not ended
  std::uint64_t entry = 0;          // its place among all entries, of whatever lane
  std::uint32_t name = 0;
  std::uint32_t generation = 0;     // of the lane's sequence in which it began
  std::uint32_t part = 0;           // parts written before this one
  std::uint32_t exit_lane = 0;
  bool pause = false;
  bool end_unknown = false;
  bool split = false;

  [[nodiscard]] bool ended() const noexcept { return end_order != 0; }
};

/// An invocation whose exit will be a record of its own: it has no slice, as too many lie around it, or its slice was
/// cut at a loss.
struct LooseRun {
  std::uint64_t resource = 0;
  std::uint64_t root = 0;
  std::uint64_t entry = 0;
  bool cut = false;  // its resource counts it as left
};

/// An invocation that has not ended: on the stack of its lane, or in its list of loose ones.
struct FoundRun {
  std::uint32_t lane = 0;   // its place
  std::size_t at = 0;       // in the stack, or among the loose ones
  std::uint64_t entry = 0;  // 0: none was found
  bool loose = false;
};

struct LaneCounter {
  CounterId id = CounterId::kNone;
  std::uint64_t uuid = 0;
  std::uint32_t generation = 0;
  std::int64_t last = 0;
  bool whole = false;  // `last` is what the track shows
};
/// The counters that ride on the packets of a sequence.
struct Riders {
  std::uint32_t generation = 0;
  std::uint32_t count = 0;
  std::uint8_t counters[kMaxExtraCounters] = {};  // place in EncodedLane::counters
};

struct EncodedLane {
  LaneId id = LaneId::kNone;
  std::uint32_t generation = 0;  // in which its track was last described
  WrittenSequence* sequence = nullptr;
  WrittenSequence* park_sequence = nullptr;
  std::uint32_t park_generation = 0;
  std::uint32_t process = 0;
  std::int32_t process_id = 0;
  std::int32_t thread_id = 0;
  std::uint64_t uuid = 0;
  std::uint64_t park_uuid = 0;
  std::uint64_t clock = 0;  // no slice begins or ends before this any more
  std::uint64_t order = 0;
  std::uint64_t last_pending_order = 0;
  std::size_t pending = 0;  // slices on the stack that have ended
  detail::Vector<LooseRun> loose;
  bool parked = false;
  bool announce = true;
  std::uint64_t lost = 0;
  LossRange not_taken;  // as taking it threw, which is to be told yet
  LossRange not_taken_in_all;
  std::string name;
  detail::Vector<RunSlice> stack;
  detail::Vector<LaneCounter> counters;
  Riders riders;
  Riders park_riders;

  /// The run of a resource, or the pause of that number, that was entered last. `place`: the lane's own.
  [[nodiscard]] FoundRun innermost(std::uint32_t place, std::uint64_t resource, bool pause) const noexcept {
    FoundRun found;
    for (std::size_t at = stack.size(); at-- != 0;) {
      if (!stack[at].ended() && stack[at].pause == pause && stack[at].resource == resource) {
        found = {place, at, stack[at].entry, false};
        break;
      }
    }
    for (std::size_t at = loose.size(); !pause && at-- != 0;) {
      if (loose[at].resource == resource && loose[at].entry > found.entry) {
        found = {place, at, loose[at].entry, true};
        break;
      }
    }
    return found;
  }
  /// Whether an exit of a resource is held back.
  [[nodiscard]] bool has_pending(std::uint64_t resource) const noexcept {
    if (pending == 0) return false;
    for (const RunSlice& run : stack) {
      if (run.ended() && !run.pause && run.resource == resource) return true;
    }
    return false;
  }
  /// The place of a counter that `counters` has; their number: of none.
  [[nodiscard]] std::uint32_t find_counter(CounterId counter) const noexcept {
    std::uint32_t at = 0;
    while (at < counters.size() && counters[at].id != counter) ++at;
    return at;
  }
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
