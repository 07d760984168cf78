// SPDX-License-Identifier: MIT
// analysis.hpp: everything that can be told from a trace, by one call.
//
//   TraceModel model = builder.build();
//   const Analysis all(model);
//   for (const Finding& found : all.findings) std::puts(found.summary.c_str());      // worst first
//   for (std::uint32_t request : all.by_duration) ...                                // slowest first
//   write_json(all, sink);                                                           // json_report.hpp
// Each part is a header of its own and can be made alone; this makes them in the order in which they need each other.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/coverage.hpp"
#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/event_loop.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/gaps.hpp"
#include "thence/analysis/groups.hpp"
#include "thence/analysis/ideal_schedule.hpp"
#include "thence/analysis/latency.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/pattern_context.hpp"
#include "thence/analysis/patterns.hpp"
#include "thence/analysis/scheduling.hpp"
#include "thence/analysis/settings.hpp"
#include "thence/analysis/time_split.hpp"
#include "thence/analysis/units.hpp"
#include "thence/config/version.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/request_order.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// All analyses of one trace.
///   Shape     some 500 bytes a resource.
///   Threads   made by one; then any number of readers, but for `ideal` and `context`, whose questions are for one at a time.
///   Cost      constructor: O(n log n); 1.0 s for a million resources (benchmarks/analysis).
///   Errors    std::bad_alloc.
///   Lifetime  not movable; the model outlives it.
class Analysis {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  explicit Analysis(const TraceModel& trace, AnalysisSettings with = {})
      : model(trace),
        settings(std::move(with)),
        normal(normalise(trace)),
        coverage(coverage_of(trace, normal)),
        run(trace, normal, settings),
        where(locations_of(trace, run.visible)),
        units(units_of(run)),
        groups(groups_of(run, units)),
        paths(run),
        ideal(run, paths),
        splits(run, paths),
        gaps(run),
        scheduling(scheduling_of(run, where, coverage)),
        loop(event_loop_of(run, where, scheduling, coverage)),
        latency(latency_of(run, units, where)),
        context(run, units, groups, where, paths, &ideal, gaps, coverage) {
    order_requests();
    collect_findings();
  }
  Analysis(const Analysis&) = delete;
  Analysis& operator=(const Analysis&) = delete;

  const TraceModel& model;
  const AnalysisSettings settings;
  const Normalised normal;
  const Coverage coverage;
  const Execution run;
  const Locations where;
  const Units units;
  const Groups groups;
  const CriticalPaths paths;
  IdealSchedule ideal;
  const TimeSplits splits;
  const Gaps gaps;
  const Scheduling scheduling;
  const EventLoop loop;
  const LatencyReport latency;
  PatternContext context;                   ///< for bottlenecks_of, profile_of: one question at a time

  /// Rows of run.requests, in order of their beginning; those whose resource was not seen created are left out. See number_of.
  std::vector<std::uint32_t> requests;
  std::vector<std::uint32_t> by_duration;   ///< the same, the slowest first
  std::uint64_t requests_unknown = 0;       ///< left out
  std::vector<Finding> findings;            ///< all of all analyses, the worst first

  /// How long they took, without those that have not ended.
  [[nodiscard]] Durations request_durations() const {
    std::vector<std::uint64_t> values;
    for (const std::uint32_t request : requests) {
      if (run.requests[request].is_ended) values.push_back(run.requests[request].duration());
    }
    return durations_of(values);
  }
  /// The number by which people call a request, from 1, in order of beginning, as `info` and `--request` count; 0: it has none.
  [[nodiscard]] std::uint32_t number_of(std::uint32_t request) const noexcept {
    return request < numbers_.size() ? numbers_[request] : 0;
  }
  /// Nearest rank: a request that is the q-quantile of those that have ended, in thousandths; kNone of none.
  [[nodiscard]] std::uint32_t request_at(std::uint32_t thousandths) const {
    std::vector<std::uint32_t> ended;
    for (const std::uint32_t request : by_duration) {
      if (run.requests[request].is_ended) ended.push_back(request);
    }
    if (ended.empty()) return by_duration.empty() ? kNone : by_duration.front();
    const std::size_t rank = (ended.size() * std::size_t{thousandths} + 999) / 1000;
    return ended[ended.size() - std::max<std::size_t>(rank, 1)];
  }
  /// What a resource is called by: its url, name or key, else nothing.
  [[nodiscard]] std::string_view label_of(std::uint32_t row) const noexcept {
    for (const std::string_view wanted : {"url", "name", "key", "path", "method"}) {
      for (const TraceModel::Note& note : model.notes_of(row)) {
        if (note.kind == ValueKind::kString && model.text(note.key) == wanted) return note.text;
      }
    }
    return {};
  }

 private:
  void order_requests() {
    const std::vector<std::uint32_t> rows = requests_of(model);
    numbers_.assign(rows.size(), 0);
    for (std::uint32_t n = 0; n < rows.size(); ++n) {
      numbers_[rows[n]] = n + 1;
      if (run.requests[rows[n]].resource == kNone) {
        ++requests_unknown;
      } else {
        requests.push_back(rows[n]);
      }
    }
    by_duration = requests;
    std::stable_sort(by_duration.begin(), by_duration.end(), [&](std::uint32_t a, std::uint32_t b) {
      return run.requests[a].duration() > run.requests[b].duration();
    });
  }

  void collect_findings() {
    findings = find_patterns(context);
    const auto take = [&](const std::vector<Finding>& more) { findings.insert(findings.end(), more.begin(), more.end()); };
    take(scheduling.findings);
    take(loop.findings);
    sort_findings(model, findings);
  }

  std::vector<std::uint32_t> numbers_;
};

}  // namespace THENCE_ABI
}  // namespace thence
