// SPDX-License-Identifier: MIT
// patterns.hpp: the fourteen patterns, sought in a whole trace.
//
// What makes a request slow is seldom new: requests in a row, keys one by one, a callback that holds the loop. Each
// detector looks for one of these and speaks with evidence: which operations, what it costs, how sure it is, what to do.
//   std::vector<Finding> found = find_patterns(context);
//   for (const Finding& one : found) ... one.id, one.summary, one.saving_ns, one.advice, one.mute_key
// Sorted: worst first. A finding that saves next to nothing and is not sure is one step less severe; where the path does not
// explain the time in question, nothing is known of what it saves, and it keeps its severity.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/finding.hpp"
#include "thence/analysis/pattern_context.hpp"
#include "thence/analysis/patterns_loop.hpp"
#include "thence/analysis/patterns_network.hpp"
#include "thence/analysis/patterns_promise.hpp"
#include "thence/analysis/patterns_storage.hpp"
#include "thence/analysis/patterns_waiting.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Their ids, in the order of docs/analyses.md. `descheduled` and `collected-unresolved` are other readings of #2 and #10.
inline constexpr std::string_view kPatternIds[] = {
    "sequential-fetch", "loop-block",  "unbatched-storage", "duplicate-fetch",   "deep-chain", "waterfall-fetch", "long-gap",
    "promise-flood",    "callback-flood", "fetch-concurrency", "unresolved",     "redundant-timer", "cache-miss", "hot-callback"};

///   Cost      O(n log n), and PatternSettings::savings_per_pattern replays of each request for sequential-fetch.
[[nodiscard]] inline std::vector<Finding> find_patterns(PatternContext& in) {
  std::vector<Finding> found;
  const SequentialRuns sequential = sequential_runs(in);
  find_sequential_fetches(in, sequential, found);
  find_loop_blocks(in, found);
  find_unbatched_storage(in, found);
  find_duplicate_fetches(in, found);
  find_deep_chains(in, found);
  find_waterfalls(in, sequential, found);
  find_long_gaps(in, found);
  find_promise_floods(in, found);
  find_callback_floods(in, found);
  find_crowded_origins(in, found);
  find_unresolved(in, found);
  find_redundant_timers(in, found);
  find_cache_misses(in, found);
  find_hot_callbacks(in, found);
  for (Finding& one : found) {
    const std::uint64_t whole = one.request == TraceModel::kNone ? in.model.last_time - in.model.first_time
                                                                 : in.run.requests[one.request].duration();
    const std::uint64_t trivial = std::max(in.settings.trivial_saving_ns, whole / 100 * in.settings.trivial_saving_percent);
    const bool dark = std::any_of(one.evidence.begin(), one.evidence.end(),
                                  [](const Evidence& fact) { return fact.name == PatternContext::kNotExplained; });
    if (one.confidence == Confidence::kLow && !dark && one.saving_ns < trivial && one.severity > Severity::kNote) {
      one.severity = static_cast<Severity>(static_cast<unsigned>(one.severity) - 1);
    }
    finish(in.model, one);
  }
  sort_findings(in.model, found);
  return found;
}

}  // namespace THENCE_ABI
}  // namespace thence
