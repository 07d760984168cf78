// SPDX-License-Identifier: MIT
// scheduling_result.hpp: what scheduling_of tells of lanes, delays, locations and samples.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "thence/analysis/coverage.hpp"
#include "thence/analysis/durations.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Rows are those of the model; lanes those of Execution.
///   Lifetime  stands alone; rows mean something with their model.
struct Scheduling {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  struct Lane {
    std::uint32_t lane = kNone;          ///< of Execution; those of the model come first
    std::uint64_t first_ns = 0;          ///< its window
    std::uint64_t last_ns = 0;
    std::uint64_t runs = 0;
    std::uint64_t busy_ns = 0;
    std::uint64_t parked_ns = 0;
    std::uint64_t paused_ns = 0;
    std::uint64_t neither_ns = 0;
    bool parks_known = false;
    Durations delays;
    Durations durations;                 ///< of its runs
    Durations depths;                    ///< its queue, at the start of each run
    bool depths_recorded = false;        ///< by a counter; else counted from what is known to be ready
    std::vector<std::uint16_t> busy_permille;  ///< of equal parts of the trace's time
    [[nodiscard]] std::uint64_t window() const noexcept { return last_ns - first_ns; }
  };
  struct Location {
    std::uint32_t location = kNone;      ///< of Locations
    std::uint64_t tasks = 0;             ///< resources that ran
    std::uint64_t runs = 0;
    std::uint64_t busy_ns = 0;           ///< self time
    std::uint64_t self_wakes = 0;        ///< runs that an earlier run of the same resource had woken
    std::uint64_t blamed_ns = 0;         ///< what it added to others' delays that are over explain_over_ns
    Durations delays;
    Durations durations;
    Durations depths;
  };
  /// Lanes of one pool: of one process, and of names that differ in a number only.
  struct Pool {
    std::string name;
    std::vector<std::uint32_t> lanes;    ///< indexes of `lanes`
    std::uint32_t least_permille = 0;    ///< of the pool's time
    std::uint32_t most_permille = 0;
  };
  struct Blocker {
    std::uint32_t location = kNone;
    std::uint64_t ns = 0;
    std::uint64_t runs = 0;
  };
  /// A delay and where it went: the blockers (those beyond the list in `others_ns`), pauses, parked, idle add up to it.
  struct Blocked {
    std::uint32_t invocation = kNone;
    std::uint32_t lane = kNone;
    std::uint64_t ready_ns = 0;
    std::uint64_t delay_ns = 0;
    std::uint64_t others_ns = 0;
    std::uint64_t parked_ns = 0;
    std::uint64_t paused_ns = 0;
    std::uint64_t idle_ns = 0;           ///< the lane was free
    std::uint64_t samples = 0;           ///< taken of the lane in this time
    std::uint32_t top_stack = kNone;     ///< the one that most of them show
    bool moved = false;                  ///< its run before was on another lane
    std::vector<Blocker> blockers;       ///< the longest first
  };
  enum class SampleState : std::uint8_t { kRunning, kParked, kNeither };
  struct SampleGroup {
    std::uint32_t location = kNone;      ///< of what was running; kNone: nothing
    std::uint32_t stack = kNone;
    SampleKind kind = SampleKind::kCpu;
    SampleState state = SampleState::kNeither;
    std::uint64_t count = 0;
    std::uint64_t while_delayed = 0;     ///< of them, while somebody waited for this lane for over explain_over_ns
  };

  NeedSet missing;                       ///< of wakes, lanes, parks, queue depths and samples
  Durations delays;
  Durations durations;
  Log2Histogram delay_histogram;
  Log2Histogram duration_histogram;
  std::uint64_t runs = 0;
  std::uint64_t delays_unknown = 0;      ///< runs of which nothing tells when they were ready
  Durations global_depths;               ///< of the queue that all lanes share: its samples
  std::uint64_t wakes = 0;
  std::uint64_t wakes_again = 0;         ///< of what was ready already
  std::uint64_t self_wakes = 0;
  std::vector<Lane> lanes;
  std::uint64_t lanes_not_told = 0;      ///< requests without a lane, beyond those listed
  std::vector<Location> locations;       ///< the busiest first
  std::vector<Pool> pools;
  std::uint64_t over_limit = 0;          ///< delays over explain_over_ns
  std::uint64_t over_limit_ns = 0;
  std::vector<Blocked> blocked;          ///< the longest first
  std::vector<SampleGroup> samples;      ///< the most first
  std::uint64_t samples_without_lane = 0;
  std::vector<Finding> findings;
};

}  // namespace THENCE_ABI
}  // namespace thence
