// SPDX-License-Identifier: MIT
// scheduling.hpp: how long work that could run had to wait for a lane, and who held the lane meanwhile.
//
// A callback that is ready and does not run is delayed by what runs instead. Users of Tokio ask for this first: the delay
// from wake to run by worker and by spawn location, the queues, how busy each worker is, and what blocked whom.
//   const Scheduling scheduling = scheduling_of(run, where, coverage);
//   scheduling.delays.p99                                    // of all that is known
//   for (const auto& blocked : scheduling.blocked) ...       // the longest delays, explained to the nanosecond
//   for (const Finding& found : scheduling.findings) ...     // build-up, inversion, CPU-bound, imbalance, self-wakes ...
// Words. A *run* is an invocation. Its *delay* is from when it was ready (its wake, its cause's moment; not before the end of
// the run before) to its start, and is known only where the trace tells what made it ready: what is inferred, called
// directly, or not told has no delay, which is not a delay of 0. A lane's window is from its first to its last record; in
// it a lane is *busy* (an invocation owns it), else *parked*, else in a *pause*, else *neither*; the four add up.
// Layer: analysis (includes model/ and below).
#pragma once

#include <utility>

#include "thence/analysis/coverage.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/scheduling_findings.hpp"
#include "thence/analysis/scheduling_measures.hpp"
#include "thence/analysis/scheduling_result.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

///   Cost      O(n log n) in invocations, samples and counters.
///   Errors    std::bad_alloc.
[[nodiscard]] inline Scheduling scheduling_of(const Execution& run, const Locations& where, const Coverage& coverage) {
  detail::SchedulingMeasures measured(run, where, coverage);
  detail::SchedulingFindings(measured, run, where, coverage).add();
  return std::move(measured.result);
}

}  // namespace THENCE_ABI
}  // namespace thence
