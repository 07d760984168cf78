// SPDX-License-Identifier: MIT
// critical_path.hpp: the chain that determined how long a request took.
//
// A request of 800 ms has run for 30. The rest it waited; but of the twenty operations that were in flight only one chain
// decided when it ended. It is walked backwards from the end: at each moment, what was this waiting for, and what ended
// that wait? The segments are disjoint, in order, and add up to the request's duration to the nanosecond; what the trace
// does not explain is a segment too, and says so.
//   const CriticalPaths paths(run);                            // of every request
//   for (const PathSegment& part : paths.of(request)) ...      // part.kind, part.start, part.end, part.resource
//   paths.explained_permille(request);                         // the badge: 870 of 1000 explained
// It is the chain that determined the duration, not the least duration there could be: shorten it enough and another takes
// over. What a change saves is in ideal_schedule.hpp. The algorithm and its proof against an oracle: docs/analyses.md.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/execution.hpp"
#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class PathKind : std::uint8_t {
  kExec,     ///< `invocation` of `resource` ran
  kWait,     ///< operation `resource` was in flight
  kQueue,    ///< operation `resource` had been asked for and had not begun (where it says so itself: PathSettings::started_key)
  kHop,      ///< `resource` had settled, and what waited for it was not ready yet
  kSched,    ///< `resource` was ready, and its lane free or not yet its own
  kBlocked,  ///< the lane was held by `invocation` of `resource`, of another request, while `other` was ready
  kPause,    ///< the lane was taken away from `invocation` (a collection of garbage)
  kUnknown,  ///< the trace does not tell
  kTail,     ///< after the last callback that is known
};
inline constexpr unsigned kPathKinds = 9;

[[nodiscard]] constexpr std::string_view word(PathKind kind) noexcept {
  switch (kind) {
    case PathKind::kExec: return "exec";
    case PathKind::kWait: return "wait";
    case PathKind::kQueue: return "queue";
    case PathKind::kHop: return "hop";
    case PathKind::kSched: return "sched";
    case PathKind::kBlocked: return "blocked";
    case PathKind::kPause: return "pause";
    case PathKind::kUnknown: return "unknown";
    case PathKind::kTail: return "tail";
  }
  return "unknown";
}

struct PathSegment {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint32_t resource = kNone;
  std::uint32_t invocation = kNone;  ///< that ran, or (kHop, kSched) that was to run
  std::uint32_t other = kNone;       ///< kBlocked: the resource that was ready
  PathKind kind = PathKind::kUnknown;
  bool inferred = false;             ///< it hangs on a cause that follows by rule: the trace tells none
  bool contention = false;           ///< it is on the path because it held the lane, not because something waited for its result
  bool unnamed = false;              ///< kWait: for the outside, by an operation that the trace does not name

  [[nodiscard]] std::uint64_t length() const noexcept { return end - start; }
};

/// The critical paths of all requests of a trace, by row of Execution::requests.
///   Shape     32 bytes a segment.
///   Threads   any number of readers.
///   Cost      constructor: O(length of the paths x log n). of: O(1).
///   Errors    std::bad_alloc.
///   Lifetime  keeps a reference to the Execution.
class CriticalPaths {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  explicit CriticalPaths(const Execution& execution) : run_(execution), seen_(execution.model.invocations.size(), 0) {
    for (const TraceModel::Note& note : run_.model.notes) {
      if (run_.model.text(note.key) == run_.settings.path.started_key) notes_tell_starts_ = true;
    }
    first_.push_back(0);
    segments_.reserve(run_.requests.empty() ? 0 : execution.model.invocations.size() + 4 * run_.requests.size());
    for (const Execution::Request& request : run_.requests) {
      walk(request.start, request.end, request.last, segments_);
      first_.push_back(static_cast<std::uint32_t>(segments_.size()));
      totals_.push_back(totals_of(of(static_cast<std::uint32_t>(totals_.size()))));
    }
  }

  /// In order of time; they cover [request.start, request.end) without a gap.
  [[nodiscard]] std::span<const PathSegment> of(std::uint32_t request) const noexcept {
    return {segments_.data() + first_[request], first_[request + 1] - first_[request]};
  }

  struct Totals {
    std::uint64_t by_kind[kPathKinds] = {};
    std::uint64_t inferred = 0;  ///< of what is explained: by rule, not by record
    std::uint64_t all = 0;

    [[nodiscard]] std::uint64_t operator[](PathKind kind) const noexcept { return by_kind[static_cast<unsigned>(kind)]; }
    [[nodiscard]] std::uint64_t unexplained() const noexcept { return (*this)[PathKind::kUnknown] + (*this)[PathKind::kTail]; }
  };
  [[nodiscard]] const Totals& totals(std::uint32_t request) const noexcept { return totals_[request]; }
  /// How much of the request is explained, of 1000; rounded down, so that 1000 is all of it. An empty request is.
  [[nodiscard]] std::uint32_t explained_permille(std::uint32_t request) const noexcept {
    const Totals& sums = totals_[request];
    return sums.all == 0 ? 1000 : permille(sums.all - sums.unexplained(), sums.all);
  }
  /// How much of the request is explained by records alone.
  [[nodiscard]] std::uint32_t recorded_permille(std::uint32_t request) const noexcept {
    const Totals& sums = totals_[request];
    return sums.all == 0 ? 1000 : permille(sums.all - sums.unexplained() - sums.inferred, sums.all);
  }

  /// The path of one resource, as if it were a request of its own: from its creation until it was settled (Execution::finish_of).
  /// For traces without requests: the path of a task. O(length x log n).
  [[nodiscard]] std::vector<PathSegment> of_resource(std::uint32_t row) {
    std::vector<PathSegment> segments;
    const std::uint64_t from = run_.created(row), to = run_.finish_of(row);
    std::uint32_t last = run_.settler[row];
    if (last == kNone) {
      for (const std::uint32_t at : run_.model.invocations_of(row)) {
        if (run_.is_span(at) || run_.end(at) > to) continue;
        if (last == kNone || run_.end(at) >= run_.end(last)) last = at;
      }
    }
    walk(from, to, last, segments);
    return segments;
  }

  [[nodiscard]] static Totals totals_of(std::span<const PathSegment> path) noexcept {
    Totals sums;
    for (const PathSegment& part : path) {
      sums.by_kind[static_cast<unsigned>(part.kind)] += part.length();
      sums.all += part.length();
      if (part.inferred && part.kind != PathKind::kUnknown && part.kind != PathKind::kTail) sums.inferred += part.length();
    }
    return sums;
  }

 private:
  [[nodiscard]] static std::uint32_t permille(std::uint64_t part, std::uint64_t whole) noexcept {
    if (part >= whole) return 1000;
    while (whole > ~std::uint64_t{0} / 1000) {
      part >>= 1;
      whole >>= 1;
    }
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(999, part * 1000 / whole));
  }

  /// One walk, from its end to its beginning.
  struct Walk {
    std::vector<PathSegment>& out;
    std::uint64_t from;
    std::uint64_t time;
    bool inferred = false;
    bool contention = false;

    /// [start, time) is of that kind, and the walk goes on at its start.
    void emit(PathKind kind, std::uint64_t start, std::uint32_t resource, std::uint32_t invocation, std::uint32_t other = kNone,
              bool unnamed = false) {
      start = std::max(start, from);
      if (start >= time) return;
      PathSegment made;
      made.start = start;
      made.end = time;
      made.resource = resource;
      made.invocation = invocation;
      made.other = other;
      made.kind = kind;
      made.inferred = inferred;
      made.contention = contention;
      made.unnamed = unnamed;
      out.push_back(made);
      time = start;
    }
  };

  void walk(std::uint64_t from, std::uint64_t to, std::uint32_t at, std::vector<PathSegment>& out) {
    const std::size_t begin = out.size();
    if (++stamp_ == 0) {  // all stamps are used up
      std::fill(seen_.begin(), seen_.end(), 0);
      stamp_ = 1;
    }
    Walk path{out, from, to};
    if (at != kNone && run_.end(at) < path.time) path.emit(PathKind::kTail, run_.end(at), run_.resource_of(at), at);
    while (path.time > from && at != kNone) {
      if (seen_[at] == stamp_) break;  // what nothing but itself caused
      seen_[at] = stamp_;
      const std::uint32_t row = run_.resource_of(at);
      // Created, or settled, by a callback that had ended by then: who did it in truth is not told.
      path.emit(PathKind::kUnknown, run_.end(at), row, at);
      ran(path, at);
      path.contention = false;
      const std::uint32_t holder = delay(path, at);
      if (holder != kNone) {
        at = holder;
        path.contention = true;
        continue;
      }
      at = follow(path, at, row);
    }
    path.inferred = path.contention = false;
    path.emit(PathKind::kUnknown, from, kNone, kNone);
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end());
  }

  /// [start of `at`, time): its own, or of what ran nested in it.
  void ran(Walk& path, std::uint32_t at) {
    const std::uint64_t start = std::max(run_.start(at), path.from);
    if (start >= path.time) return;
    const std::uint32_t lane = run_.lane[at];
    const std::uint32_t row = run_.resource_of(at);
    const std::uint32_t own = run_.first_segment[at];
    const bool alone = own < run_.segment_first[lane + 1] && run_.segments[own].end >= path.time;  // nothing nested in it
    for (std::uint32_t next = alone ? own : run_.segment_before(lane, path.time); next != kNone && path.time > start; --next) {
      const Execution::Segment& segment = run_.segments[next];
      const std::uint32_t owner = segment.owner;
      const std::uint64_t begin = std::max(start, segment.start);
      const std::uint32_t by = run_.resource_of(owner);
      if (run_.same_request(by, row)) {
        executed(path, begin, by, owner, lane);
      } else {
        path.emit(PathKind::kBlocked, begin, by, owner, row);
      }
      if (next == run_.segment_first[lane]) break;
    }
  }
  /// [begin, time) is of one owner: less the pauses in it.
  void executed(Walk& path, std::uint64_t begin, std::uint32_t row, std::uint32_t owner, std::uint32_t lane) {
    const auto pauses = run_.pauses_of(lane);
    auto pause = std::lower_bound(pauses.begin(), pauses.end(), path.time,
                                  [](const Execution::Pause& a, std::uint64_t time) { return a.start < time; });
    while (pause != pauses.begin()) {
      --pause;
      if (pause->end <= begin) break;
      path.emit(PathKind::kExec, std::max(begin, pause->end), row, owner);
      path.emit(PathKind::kPause, std::max(begin, pause->start), row, owner);
    }
    path.emit(PathKind::kExec, begin, row, owner);
  }

  /// [ready, start of `at`): who held its lane. Of its own request, it is what the path goes on with: returned.
  std::uint32_t delay(Walk& path, std::uint32_t at) {
    const std::uint64_t ready = run_.ready[at];
    if (ready >= path.time || run_.is_span(at)) return kNone;
    const std::uint32_t row = run_.resource_of(at);
    const std::uint32_t lane = run_.lane[at];
    const bool was_inferred = path.inferred;
    path.inferred = was_inferred || run_.cause[at].inferred;
    std::uint32_t next = run_.settings.path.dependency_only     ? kNone
                         : path.time == run_.start(at) ? run_.segment_ahead_of(at)
                                                       : run_.segment_before(lane, path.time);
    while (path.time > ready && next != kNone) {
      const Execution::Segment& segment = run_.segments[next];
      if (segment.end <= ready) break;
      const std::uint64_t until = std::min(segment.end, path.time);
      if (path.time - until > run_.settings.path.dispatch_gap_ns && woken_elsewhere(at)) break;
      path.emit(PathKind::kSched, until, row, at);
      const std::uint32_t by = run_.resource_of(segment.owner);
      if (run_.same_request(by, row)) {
        path.inferred = was_inferred;
        return segment.owner;
      }
      path.emit(PathKind::kBlocked, std::max(ready, segment.start), by, segment.owner, row);
      if (next == run_.segment_first[lane]) break;
      --next;
    }
    path.emit(PathKind::kSched, ready, row, at);
    path.inferred = was_inferred;
    return kNone;
  }

  [[nodiscard]] bool woken_elsewhere(std::uint32_t at) const noexcept {
    const std::uint32_t wake = run_.model.invocations[at].wake;
    const std::uint32_t on = wake == kNone ? kNone : run_.model.wakes[wake].lane;
    return on != kNone && on != run_.lane[at];
  }

  /// What made `at` ready. The invocation with which the path goes on; kNone: it ends.
  std::uint32_t follow(Walk& path, std::uint32_t at, std::uint32_t row) {
    const Execution::Cause& cause = run_.cause[at];
    const std::uint32_t before = run_.previous[at];
    const std::uint64_t since = before == kNone ? run_.created(row) : run_.end(before);
    const std::uint32_t origin = before == kNone ? run_.creator[row] : before;
    path.inferred = cause.inferred;
    switch (cause.kind) {
      case CauseOf::kRoot: return kNone;
      case CauseOf::kCalled: return cause.invocation;
      case CauseOf::kCreated:
      case CauseOf::kSettled:
      case CauseOf::kWoken:
        path.emit(PathKind::kHop, cause.at, cause.kind == CauseOf::kSettled ? cause.resource : row, at);
        return cause.invocation;
      case CauseOf::kExternal: {
        const std::uint32_t of = cause.resource;
        if (of == kNone) {
          path.emit(PathKind::kWait, since, row, at, kNone, true);
          return origin;
        }
        const bool done = run_.settle_known[of] && run_.settled[of] <= cause.at;
        if (done) path.emit(PathKind::kHop, run_.settled[of], of, at);
        // An operation that goes on and on (an interval) is waited for since the last time.
        if (!done && before != kNone && since > run_.created(of)) {
          path.emit(PathKind::kWait, since, of, at);
          return before;
        }
        const std::uint64_t began = started(of);
        if (began > run_.created(of)) path.emit(PathKind::kWait, began, of, at);
        path.emit(began > run_.created(of) ? PathKind::kQueue : PathKind::kWait, run_.created(of), of, at);
        // Made for an operation that had called nobody yet (the body of an answer, before its head was handed over): the
        // outside made it, when that operation had come so far.
        std::uint32_t made = of;
        for (std::uint32_t by; (by = run_.made_for(made)) != kNone; made = by) path.emit(PathKind::kWait, run_.created(by), by, at);
        return run_.creator[made];
      }
      case CauseOf::kUnknown: break;
    }
    path.inferred = false;
    path.emit(PathKind::kUnknown, since, row, at);
    return origin;
  }

  /// When an operation was begun, where an annotation tells it; else 0.
  [[nodiscard]] std::uint64_t started(std::uint32_t row) const noexcept {
    if (!notes_tell_starts_) return 0;
    for (const TraceModel::Note& note : run_.model.notes_of(row)) {
      if (note.kind != ValueKind::kUint && note.kind != ValueKind::kInt) continue;
      if (run_.model.text(note.key) != run_.settings.path.started_key) continue;
      const std::uint64_t latest = run_.operation_time(row).end;
      return note.bits > latest - run_.created(row) ? latest : run_.created(row) + note.bits;
    }
    return 0;
  }

  const Execution& run_;
  std::vector<PathSegment> segments_;
  std::vector<std::uint32_t> first_;
  std::vector<Totals> totals_;
  std::vector<std::uint32_t> seen_;  // by invocation: the walk that met it last
  std::uint32_t stamp_ = 0;
  bool notes_tell_starts_ = false;
};

/// The parts of a path that are of one kind, type and code location, added up.
struct PathShare {
  std::uint64_t total = 0;
  std::uint64_t count = 0;
  std::uint32_t first = PathSegment::kNone;     ///< the resource of the first of them
  std::uint32_t location = PathSegment::kNone;  ///< row of `frames`; kNone: not known
  std::uint32_t type = PathSegment::kNone;      ///< TypeId; kNone: none (kUnknown, kTail without a resource)
  PathKind kind = PathKind::kUnknown;
};

/// How a path is added up: by kind and ...
enum class PathGrouping : std::uint8_t { kLocationAndType, kType, kLocation };

/// Largest first; of equal ones the one whose first resource has the smaller row. They add up to the path's length.
///   Cost      O(segments log segments).
[[nodiscard]] inline std::vector<PathShare> path_shares(const Execution& run, std::span<const PathSegment> path,
                                                        PathGrouping grouping = PathGrouping::kLocationAndType) {
  constexpr std::uint32_t kNone = PathSegment::kNone;
  std::vector<PathShare> shares;
  shares.reserve(path.size());
  for (const PathSegment& part : path) {
    PathShare share;
    share.total = part.length();
    share.count = 1;
    share.kind = part.kind;
    share.first = part.resource;
    if (part.resource != kNone) {
      const std::uint32_t unit = run.unit[part.resource];
      if (grouping != PathGrouping::kLocation && run.model.has(unit, ResourceFlag::kCreated)) share.type = run.model.type[unit];
      if (grouping != PathGrouping::kType) {
        share.location = run.visible.user_frame(run.model, unit);
        if (share.location == kNone) share.location = run.visible.user_frame(run.model, part.resource);
      }
    }
    shares.push_back(share);
  }
  std::sort(shares.begin(), shares.end(), [](const PathShare& a, const PathShare& b) {
    if (a.kind != b.kind) return a.kind < b.kind;
    if (a.type != b.type) return a.type < b.type;
    return a.location != b.location ? a.location < b.location : a.first < b.first;
  });
  std::size_t kept = 0;
  for (std::size_t at = 0; at < shares.size(); ++at) {
    if (kept != 0 && shares[kept - 1].kind == shares[at].kind && shares[kept - 1].type == shares[at].type &&
        shares[kept - 1].location == shares[at].location) {
      shares[kept - 1].total += shares[at].total;
      shares[kept - 1].count += shares[at].count;
    } else {
      shares[kept++] = shares[at];
    }
  }
  shares.resize(kept);
  std::sort(shares.begin(), shares.end(), [](const PathShare& a, const PathShare& b) {
    if (a.total != b.total) return a.total > b.total;
    if (a.first != b.first) return a.first < b.first;
    if (a.kind != b.kind) return a.kind < b.kind;
    return a.location < b.location;
  });
  return shares;
}

}  // namespace THENCE_ABI
}  // namespace thence
