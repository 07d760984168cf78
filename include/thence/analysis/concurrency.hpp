// SPDX-License-Identifier: MIT
// concurrency.hpp: how many callbacks ran and how many operations were in flight, at each moment.
//
//   const Concurrency curve = concurrency_of(run, request);
//   for (const Concurrency::Step& step : curve.steps) ...        // from step.time on: step.exec, step.wait
//   for (const Concurrency::Bucket& bucket : curve.buckets(600, begin, end)) ...
// The steps are exact. An operation counts once, whatever the number of promises through which it was seen.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/ideal_schedule.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A step function of time.
///   Cost      buckets: O(steps + buckets).
///   Lifetime  stands alone.
struct Concurrency {
  struct Step {
    std::uint64_t time = 0;
    std::uint32_t exec = 0;
    std::uint32_t wait = 0;
    friend bool operator==(const Step&, const Step&) = default;
  };
  std::vector<Step> steps;  ///< each differs from the one before; the last one is 0, 0

  struct Bucket {
    double exec_mean = 0, wait_mean = 0;  ///< weighted by time
    std::uint32_t exec_max = 0, wait_max = 0;
    bool bottleneck = false;              ///< throughout it, one thing ran or was awaited, and nothing else
  };
  [[nodiscard]] std::vector<Bucket> buckets(std::uint32_t count, std::uint64_t from, std::uint64_t to) const {
    std::vector<Bucket> all(count);
    if (count == 0 || to <= from) return all;
    std::size_t at = 0;
    std::uint32_t exec = 0, wait = 0;
    for (std::uint32_t which = 0; which < count; ++which) {
      const std::uint64_t start = edge(which, count, from, to), end = edge(which + 1, count, from, to);
      Bucket& bucket = all[which];
      std::uint64_t time = start, exec_area = 0, wait_area = 0;
      bool one = true;
      while (time < end) {
        while (at < steps.size() && steps[at].time <= time) {
          exec = steps[at].exec;
          wait = steps[at].wait;
          ++at;
        }
        const std::uint64_t until = at < steps.size() ? std::min(end, steps[at].time) : end;
        exec_area += (until - time) * exec;
        wait_area += (until - time) * wait;
        bucket.exec_max = std::max(bucket.exec_max, exec);
        bucket.wait_max = std::max(bucket.wait_max, wait);
        one = one && exec + wait == 1;
        time = until;
      }
      if (end == start) continue;
      bucket.exec_mean = static_cast<double>(exec_area) / static_cast<double>(end - start);
      bucket.wait_mean = static_cast<double>(wait_area) / static_cast<double>(end - start);
      bucket.bottleneck = one;
    }
    return all;
  }
  /// Where bucket `which` of `count` begins: equal parts, whole nanoseconds.
  [[nodiscard]] static std::uint64_t edge(std::uint32_t which, std::uint32_t count, std::uint64_t from, std::uint64_t to) noexcept {
    const std::uint64_t whole = to - from;
    return from + whole / count * which + whole % count * which / count;
  }

  /// One more beginning or end, of what runs or of what is in flight.
  struct Change {
    std::uint64_t time;
    std::int32_t exec;
    std::int32_t wait;
  };
  [[nodiscard]] static Concurrency of(std::vector<Change> changes) {
    std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.time < b.time; });
    Concurrency made;
    std::int64_t exec = 0, wait = 0;
    for (std::size_t at = 0; at < changes.size();) {
      const std::uint64_t time = changes[at].time;
      for (; at < changes.size() && changes[at].time == time; ++at) {
        exec += changes[at].exec;
        wait += changes[at].wait;
      }
      const Step step{time, static_cast<std::uint32_t>(exec), static_cast<std::uint32_t>(wait)};
      if (made.steps.empty() ? exec == 0 && wait == 0 : step.exec == made.steps.back().exec && step.wait == made.steps.back().wait) continue;
      made.steps.push_back(step);
    }
    return made;
  }
};

/// Of a request, within it; TraceModel::kNone: of all that is in the trace.
///   Cost      O(n log n) in the trace's callbacks and operations.
[[nodiscard]] inline Concurrency concurrency_of(const Execution& run, std::uint32_t request) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  std::vector<Concurrency::Change> changes;
  const std::uint64_t from = request == kNone ? 0 : run.requests[request].start;
  const std::uint64_t to = request == kNone ? ~std::uint64_t{0} : run.requests[request].end;
  const auto add = [&](std::uint64_t start, std::uint64_t end, bool exec) {
    start = std::max(start, from);
    end = std::min(end, to);
    if (start >= end) return;
    changes.push_back({start, exec ? 1 : 0, exec ? 0 : 1});
    changes.push_back({end, exec ? -1 : 0, exec ? 0 : -1});
  };
  for (const Execution::Segment& segment : run.segments) {
    if (request == kNone || run.request_of(segment.owner) == request) add(segment.start, segment.end, true);
  }
  const auto operation = [&](std::uint32_t row) {
    if (!run.operation[row] || run.unit[row] != row) return;
    const Execution::Interval time = run.operation_time(row);
    add(time.start, time.end, false);
  };
  for (std::uint32_t row = 0; row < run.model.resources(); ++row) {
    if (request == kNone || run.request[row] == request) operation(row);
  }
  return Concurrency::of(std::move(changes));
}

/// Of the ideal schedule of a request, from 0 to S_dep.
[[nodiscard]] inline Concurrency ideal_concurrency_of(IdealSchedule& ideal, std::uint32_t request) {
  std::vector<Concurrency::Change> changes;
  for (const IdealSchedule::Stretch& stretch : ideal.stretches(request)) {
    changes.push_back({stretch.start, stretch.operation ? 0 : 1, stretch.operation ? 1 : 0});
    changes.push_back({stretch.end, stretch.operation ? 0 : -1, stretch.operation ? -1 : 0});
  }
  return Concurrency::of(std::move(changes));
}

/// Which part of each bucket is covered by the critical path's running and waiting: 0 .. 1.
[[nodiscard]] inline std::vector<double> path_cover(std::span<const PathSegment> path, std::uint32_t count, std::uint64_t from,
                                                    std::uint64_t to) {
  std::vector<double> cover(count, 0);
  if (count == 0 || to <= from) return cover;
  std::size_t at = 0;
  for (std::uint32_t which = 0; which < count; ++which) {
    const std::uint64_t start = Concurrency::edge(which, count, from, to), end = Concurrency::edge(which + 1, count, from, to);
    if (end == start) continue;
    std::uint64_t covered = 0;
    while (at < path.size() && path[at].end <= start) ++at;
    for (std::size_t next = at; next < path.size() && path[next].start < end; ++next) {
      const PathKind kind = path[next].kind;
      if (kind != PathKind::kExec && kind != PathKind::kWait && kind != PathKind::kQueue) continue;
      covered += std::min(end, path[next].end) - std::max(start, path[next].start);
    }
    cover[which] = static_cast<double>(covered) / static_cast<double>(end - start);
  }
  return cover;
}

}  // namespace THENCE_ABI
}  // namespace thence
