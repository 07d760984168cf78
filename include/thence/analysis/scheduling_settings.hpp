// SPDX-License-Identifier: MIT
// scheduling_settings.hpp: the thresholds of scheduling and of the event loop, part of AnalysisSettings.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// How important what a location made is; the first that matches holds. Work in a request is of priority 1, work in none of
/// priority 0; an annotation `priority` (a number, or low, background, normal, high, critical) says otherwise.
struct LocationPriority {
  std::string contains;  ///< a part of `function @ file:line`
  std::int32_t priority = 0;
};

struct SchedulingSettings {
  /// A delay over this is explained: who held the lane meanwhile.
  std::uint64_t explain_over_ns = 10'000'000;
  std::uint32_t explained = 20;         ///< the longest of them are listed one by one
  std::uint32_t blockers_listed = 8;    ///< locations that held the lane, of each

  // Queue build-up, in stretches of `window_ns`. High: all four. Low: the two of "worth a look".
  std::uint64_t window_ns = 1'000'000'000;
  std::uint32_t window_min_runs = 100;  ///< fewer have no p99
  std::uint64_t build_up_p99_ns = 50'000'000;
  std::uint64_t build_up_queue = 30;
  std::uint32_t build_up_busy_percent = 70;
  std::uint64_t look_p99_ns = 10'000'000;
  std::uint64_t look_queue = 20;

  // Priority inversion: a delay over explain_over_ns of which so much went to less important work.
  std::uint32_t inversion_percent = 50;
  std::vector<LocationPriority> priorities;

  // CPU-bound: the mean run of a location is over this, and half of its delays are under that.
  std::uint64_t cpu_bound_run_ns = 500'000;
  std::uint64_t cpu_bound_delay_ns = 1'000'000;
  std::uint32_t cpu_bound_min_runs = 10;
  std::uint32_t cpu_bound_min_percent = 5;  ///< of the time that lanes were busy

  /// The busiest and the idlest lane of a pool differ by over this part of the time.
  std::uint32_t imbalance_percent = 10;
  std::uint64_t imbalance_min_ns = 10'000'000;  ///< of a trace that is shorter nothing is said

  // Self-wakes: a location's runs that were woken by the run before.
  std::uint32_t self_wake_min = 100;
  std::uint32_t self_wake_percent = 50;

  /// Woken and never run, though the trace went on for over this long.
  std::uint64_t lost_wake_ns = 1'000'000'000;
  /// One run over this long, and never suspended.
  std::uint64_t never_yielded_ns = 10'000'000;
  std::uint32_t findings_a_kind = 10;  ///< at most so many; how many more there were is said

  std::uint32_t timeline_buckets = 60;  ///< of each lane's utilisation over time
};

struct EventLoopSettings {
  std::uint64_t blocking_ns = 100'000'000;  ///< an invocation that held the lane for over this blocks
  std::uint64_t slow_ns = 50'000'000;       ///< over this it is slow
  std::uint32_t calls_listed = 50;
  std::uint64_t lag_warn_ns = 10'000'000;
  /// Callbacks with less than this between them are one turn of the loop, if the later one was not begun from outside.
  std::uint64_t turn_gap_ns = 100'000;
  std::uint32_t lags_listed = 50;
  std::uint32_t locations_listed = 100;     ///< of tasks; what is beyond is summed up
};

}  // namespace THENCE_ABI
}  // namespace thence
