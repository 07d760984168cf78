// SPDX-License-Identifier: MIT
// time_split.hpp: where the time of one resource, or of one request, went: a sum without a remainder.
//
//   elapsed = running + blocked + waiting (for whom) + scheduling + unknown
// to the nanosecond. Unknown is a part of the sum, and is printed:
//   const TimeSplits splits(run, paths);
//   const TimeSplit& split = splits.of_resource(row);
//   for (const Waited& part : splits.waits_of(row)) ...      // part.on, part.ns
//   splits.of_request(request).waiting_ns;  splits.request_waits(request)
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct TimeSplit {
  std::uint64_t running_ns = 0;     ///< in its own callbacks, with all that these called
  std::uint64_t blocked_ns = 0;     ///< ready, and its lane was running something else
  std::uint64_t waiting_ns = 0;     ///< for somebody or something: see the waits
  std::uint64_t scheduling_ns = 0;  ///< ready, and its lane was free
  std::uint64_t unknown_ns = 0;     ///< the trace does not tell

  [[nodiscard]] std::uint64_t elapsed_ns() const noexcept {
    return running_ns + blocked_ns + waiting_ns + scheduling_ns + unknown_ns;
  }
  friend bool operator==(const TimeSplit&, const TimeSplit&) = default;
};

/// A part of the waiting: for which resource. Its own row: for its own operation to be done.
struct Waited {
  std::uint32_t on = TraceModel::kNone;  ///< kNone: for the outside, by an operation that the trace does not name
  std::uint64_t ns = 0;
};

/// The splits of all resources and requests.
///   Shape     48 bytes a resource, and 16 for each one it waited for.
///   Threads   any number of readers.
///   Cost      constructor: O(n log n). The rest O(1).
///   Lifetime  stands alone.
class TimeSplits {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  TimeSplits(const Execution& run, const CriticalPaths& paths) {
    const std::uint32_t resources = run.model.resources();
    splits_.resize(resources);
    wait_first_.reserve(resources + std::size_t{1});
    wait_first_.assign(1, 0);
    waits_.reserve(resources);
    for (std::uint32_t row = 0; row < resources; ++row) {
      split(run, row);
      wait_first_.push_back(static_cast<std::uint32_t>(waits_.size()));
    }
    request_wait_first_.assign(1, 0);
    for (std::uint32_t request = 0; request < run.requests.size(); ++request) {
      TimeSplit made;
      const std::size_t begin = request_waits_.size();
      for (const PathSegment& part : paths.of(request)) {
        switch (part.kind) {
          case PathKind::kExec: made.running_ns += part.length(); break;
          case PathKind::kBlocked:
          case PathKind::kPause: made.blocked_ns += part.length(); break;
          case PathKind::kWait:
          case PathKind::kQueue:
            made.waiting_ns += part.length();
            request_waits_.push_back({part.unnamed ? kNone : run.unit[part.resource], part.length()});
            break;
          case PathKind::kHop:
          case PathKind::kSched: made.scheduling_ns += part.length(); break;
          case PathKind::kUnknown:
          case PathKind::kTail: made.unknown_ns += part.length(); break;
        }
      }
      merge(request_waits_, begin);
      requests_.push_back(made);
      request_wait_first_.push_back(static_cast<std::uint32_t>(request_waits_.size()));
    }
  }

  /// From its creation until it was settled or its last callback ended, whichever was later; where it was not settled until
  /// it was destroyed, or until the end of its request if it never ran.
  [[nodiscard]] const TimeSplit& of_resource(std::uint32_t row) const noexcept { return splits_[row]; }
  /// By row of what it waited for.
  [[nodiscard]] std::span<const Waited> waits_of(std::uint32_t row) const noexcept {
    return {waits_.data() + wait_first_[row], wait_first_[row + 1] - wait_first_[row]};
  }
  /// From T0 to T1, along its critical path.
  [[nodiscard]] const TimeSplit& of_request(std::uint32_t request) const noexcept { return requests_[request]; }
  [[nodiscard]] std::span<const Waited> request_waits(std::uint32_t request) const noexcept {
    return {request_waits_.data() + request_wait_first_[request], request_wait_first_[request + 1] - request_wait_first_[request]};
  }

 private:
  void split(const Execution& run, std::uint32_t row) {
    TimeSplit& made = splits_[row];
    const std::size_t begin = waits_.size();
    if (!run.model.has(row, ResourceFlag::kCreated)) return;  // since when, nobody knows
    std::uint64_t time = run.created(row);
    const auto waited = [&](std::uint32_t on, std::uint64_t until) {
      if (until <= time) return;
      waits_.push_back({on, until - time});
      made.waiting_ns += until - time;
      time = until;
    };
    const auto unknown = [&](std::uint64_t until) {
      if (until <= time) return;
      made.unknown_ns += until - time;
      time = until;
    };
    const auto all = run.model.invocations_of(row);
    for (const std::uint32_t at : all) {
      if (run.is_span(at)) continue;
      const std::uint64_t start = run.start(at);
      if (start > time) {
        const Execution::Cause& cause = run.cause[at];
        switch (cause.kind) {
          case CauseOf::kUnknown: unknown(run.ready[at]); break;
          case CauseOf::kExternal: waited(cause.resource == kNone ? kNone : run.unit[cause.resource], run.ready[at]); break;
          case CauseOf::kSettled: waited(cause.resource, run.ready[at]); break;
          case CauseOf::kRoot:
          case CauseOf::kCreated:
          case CauseOf::kWoken:
          case CauseOf::kCalled:
            waited(cause.invocation == kNone ? kNone : run.resource_of(cause.invocation), run.ready[at]);
            break;
        }
        if (start > time) {
          const std::uint64_t busy = run.busy_ahead_of(at, time);
          made.blocked_ns += busy;
          made.scheduling_ns += start - time - busy;
          time = start;
        }
      }
      if (run.end(at) > time) {
        made.running_ns += run.end(at) - time;
        time = run.end(at);
      }
    }
    const std::uint64_t finish = run.finish_of(row);
    if (finish > time) {
      if (run.settle_known[row] && !run.settle_external[row] && run.settler[row] != kNone) {
        waited(run.resource_of(run.settler[row]), finish);
      } else if (run.settle_known[row] ? run.settle_external[row] || run.operation[row] : run.operation[row]) {
        waited(run.unit[row], finish);
      } else {
        unknown(finish);
      }
    }
    merge(waits_, begin);
  }

  static void merge(std::vector<Waited>& waits, std::size_t begin) {
    if (waits.size() - begin < 2) return;
    const auto from = waits.begin() + static_cast<std::ptrdiff_t>(begin);
    std::sort(from, waits.end(), [](const Waited& a, const Waited& b) { return a.on < b.on; });
    auto kept = from;
    for (auto at = from + 1; at != waits.end(); ++at) {
      if (kept->on == at->on) {
        kept->ns += at->ns;
      } else {
        *++kept = *at;
      }
    }
    waits.erase(kept + 1, waits.end());
  }

  std::vector<TimeSplit> splits_;
  std::vector<Waited> waits_;
  std::vector<std::uint32_t> wait_first_;
  std::vector<TimeSplit> requests_;
  std::vector<Waited> request_waits_;
  std::vector<std::uint32_t> request_wait_first_;
};

}  // namespace THENCE_ABI
}  // namespace thence
