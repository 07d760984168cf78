// SPDX-License-Identifier: MIT
// execution.hpp: who ran when on which lane, what made it run, and which request it was for: the ground of every analysis.
//
// A trace says what was seen: an invocation was entered, a promise was settled, a wake was sent. Analyses ask other
// questions: who held the lane at this moment, since when was that callback ready, which callback created this? Execution
// answers each in O(1) or O(log n), from flat tables made once:
//   const Normalised normal = normalise(model);
//   const Execution run(model, normal, settings);
//   run.ready[at];                                  // since when invocation `at` could have run
//   run.cause[at].kind, run.cause[at].invocation;   // what made it so
//   for (const Execution::Segment& stretch : run.segments_of(run.lane[at])) ...
//   for (const Execution::Request& request : run.requests) ...
// Lanes are those of the model; behind them comes one for each request whose invocations bear no lane (a plain document:
// one thread), and one for what belongs to no request. Invocations nest on a lane, and they cross (coroutines): at each
// moment the one that began last owns the time, so owners' segments never overlap and add up to the time the lane was busy.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "thence/analysis/settings.hpp"
#include "thence/analysis/type_class.hpp"
#include "thence/analysis/visibility.hpp"
#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// What made an invocation runnable, as far as the trace tells or a rule says.
enum class CauseOf : std::uint8_t {
  kUnknown,   ///< not told, and nothing infers it
  kRoot,      ///< the request's beginning
  kCreated,   ///< its resource's creation, by `invocation`
  kSettled,   ///< the settling of `resource`, by `invocation`
  kWoken,     ///< a wake by `invocation`
  kExternal,  ///< the outside: the completion of operation `resource`; kNone: an operation the trace does not name
  kCalled,    ///< it was called by `invocation`, in which it is nested
};

/// Tables by row of invocations, resources and lanes. Everybody may read them.
///   Shape     about 85 bytes an invocation, 44 a resource, 24 a segment (at most two an invocation).
///   Threads   any number of readers.
///   Cost      constructor: O(n log n). All else O(1), or O(log n) where it says so.
///   Errors    std::bad_alloc.
///   Lifetime  keeps references: model, normalised and settings outlive it.
class Execution {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  /// Yes or no by row, in a byte each: the bits of a vector<bool> take longer to read than to fetch.
  using Flags = std::vector<std::uint8_t>;
  /// A stretch of a lane's time and the invocation that owned it.
  struct Segment {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint32_t owner = kNone;
  };
  struct Cause {
    std::uint64_t at = 0;               ///< when: the creation, settling, wake; not after `ready`
    std::uint32_t invocation = kNone;
    std::uint32_t resource = kNone;
    CauseOf kind = CauseOf::kUnknown;
    bool inferred = false;              ///< by rule: the trace tells no causes
  };
  /// One root. T0 is `start`, T1 is `end`.
  struct Request {
    std::uint32_t root = kNone;         ///< row of model.roots
    std::uint32_t resource = kNone;     ///< kNone: its resource is not in the trace
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint32_t last = kNone;         ///< the invocation with which it ended; kNone: none that is known
    std::uint32_t ended_by = kNone;     ///< the operation whose completion ended it, where it was no invocation
    bool is_ended = false;              ///< the trace says when it ended; else `end` is the end of the trace
    [[nodiscard]] std::uint64_t duration() const noexcept { return end - start; }
  };

  Execution(const TraceModel& trace, const Normalised& by_rule, const AnalysisSettings& with)
      : model(trace), normal(by_rule), settings(with), visible(visibility_of(trace, by_rule, with)) {
    assign_requests();
    assign_lanes();
    sweep_lanes();
    own_time();
    collapse_operations();
    find_creators();
    order_parts();
    find_causes();
    find_requests_ends();
    collect_pauses();
  }
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  const TraceModel& model;
  const Normalised& normal;
  const AnalysisSettings& settings;
  Visibility visible;

  // -- invocations, by row of model.invocations -----------------------------------------------------------------------

  std::vector<std::uint32_t> resource;    ///< of which it is an invocation: the model's, in a column of its own
  std::vector<std::uint64_t> self;        ///< time it owned
  std::vector<std::uint64_t> ready;       ///< not after its start; its start where it is not known (see ready_known)
  std::vector<std::uint32_t> lane;        ///< kNone: a span, which says how long a request took and runs nowhere
  std::vector<std::uint32_t> container;   ///< in which it began, on its lane; kNone: none
  std::vector<std::uint32_t> previous;    ///< of the same resource; kNone: it is the first
  std::vector<std::uint32_t> first_segment;  ///< first of `segments` of its lane that ends after its start
  std::vector<Cause> cause;
  Flags ready_known;

  [[nodiscard]] std::uint64_t start(std::uint32_t at) const noexcept { return normal.start[at]; }
  [[nodiscard]] std::uint64_t end(std::uint32_t at) const noexcept { return normal.end[at]; }
  [[nodiscard]] std::uint32_t resource_of(std::uint32_t at) const noexcept { return resource[at]; }
  [[nodiscard]] std::uint32_t request_of(std::uint32_t at) const noexcept { return request[resource_of(at)]; }
  /// A span: the interval that a plain document gives to its root, which is the request and no callback.
  [[nodiscard]] bool is_span(std::uint32_t at) const noexcept { return lane[at] == kNone; }

  // -- resources, by row ----------------------------------------------------------------------------------------------

  std::vector<std::uint32_t> request;     ///< row of `requests`; kNone: of none
  std::vector<std::uint32_t> top;         ///< the ancestor without a parent (itself, maybe)
  std::vector<std::uint32_t> creator;     ///< invocation that created it; kNone: not known
  std::vector<std::uint32_t> settler;     ///< invocation that settled it; kNone: the outside, or not known
  std::vector<std::uint64_t> settled;     ///< means something where settle_known
  std::vector<std::uint32_t> unit;        ///< the resource that stands for the operation of which it is a part: itself, maybe
  Flags operation;            ///< completed by external work
  Flags settle_known;
  Flags settle_external;      ///< it was settled from the outside
  Flags settle_inferred;      ///< by rule: a plain document tells no settling
  /// Of each unit its resources: `members[unit]`, in order of rows. Empty where a resource stands for none.
  RowIndex members;

  [[nodiscard]] std::uint64_t created(std::uint32_t row) const noexcept { return model.created[row]; }
  /// Whether two resources belong together: to one request, or, where there are none, to one top-level task.
  [[nodiscard]] bool same_request(std::uint32_t a, std::uint32_t b) const noexcept {
    return request[a] != kNone || request[b] != kNone ? request[a] == request[b] : top[a] == top[b];
  }
  /// Until when a resource was at work: settled, else destroyed, else its last callback's end if it had one, else its
  /// request's end. See open().
  [[nodiscard]] std::uint64_t finish_of(std::uint32_t row) const noexcept {
    if (settle_known[row]) return std::max(settled[row], created(row));
    if (model.has(row, ResourceFlag::kDestroyed)) return std::max(model.destroyed[row], created(row));
    const auto all = model.invocations_of(row);
    std::uint64_t last = created(row);
    for (const std::uint32_t at : all) last = std::max(last, end(at));
    if (!all.empty()) return last;
    return std::max(created(row), request[row] == kNone ? model.last_time : requests[request[row]].end);
  }
  /// Neither settled nor destroyed in the trace.
  [[nodiscard]] bool open(std::uint32_t row) const noexcept {
    return !settle_known[row] && !model.has(row, ResourceFlag::kDestroyed);
  }
  /// [created, settled) of an operation; where it was not settled, until it was destroyed or its request ended: flagged
  /// open by settle_known.
  struct Interval {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
  };
  [[nodiscard]] Interval operation_time(std::uint32_t row) const noexcept {
    const std::uint64_t from = created(row);
    if (settle_known[row]) return {from, std::max(from, settled[row])};
    std::uint64_t to = request[row] == kNone ? model.last_time : requests[request[row]].end;
    if (model.has(row, ResourceFlag::kDestroyed)) to = std::min(to, model.destroyed[row]);
    return {from, std::max(from, to)};
  }
  [[nodiscard]] TypeClass class_of(std::uint32_t row) const noexcept { return visible.class_of(model, row); }
  /// The operation for which the outside made a resource: its parent, where that had called nobody yet (the body of an
  /// answer, before its head was handed over). kNone: an invocation made it, or nobody knows who did.
  [[nodiscard]] std::uint32_t made_for(std::uint32_t row) const noexcept {
    const std::uint32_t parent = normal.parent[row];
    return creator[row] == kNone && parent != kNone && operation[parent] ? parent : kNone;
  }
  /// Of what the outside made for an operation, what it followed: what had settled last of that operation and of what was
  /// made under it earlier. kNone: nothing of it had, or made_for() is none. Empty where all are.
  std::vector<std::uint32_t> made_after;

  // -- requests -------------------------------------------------------------------------------------------------------

  std::vector<Request> requests;          ///< by row of model.roots

  // -- lanes ----------------------------------------------------------------------------------------------------------

  std::vector<Segment> segments;
  std::vector<std::uint32_t> segment_first;  ///< of lane l: segment_first[l] .. segment_first[l + 1]
  RowIndex on_lane;                          ///< invocations by lane, in order of start
  /// Before segments[s] of its lane so much time was owned: busy time is a difference of two.
  std::vector<std::uint64_t> busy_before;

  [[nodiscard]] std::uint32_t lanes() const noexcept { return static_cast<std::uint32_t>(segment_first.size() - 1); }
  [[nodiscard]] std::span<const Segment> segments_of(std::uint32_t which) const noexcept {
    return {segments.data() + segment_first[which], segment_first[which + 1] - segment_first[which]};
  }
  /// First segment of a lane that ends after `time`; segment_first[which + 1] if there is none. O(log n).
  [[nodiscard]] std::uint32_t segment_after(std::uint32_t which, std::uint64_t time) const noexcept {
    const auto all = segments_of(which);
    const auto found = std::upper_bound(all.begin(), all.end(), time,
                                        [](std::uint64_t wanted, const Segment& segment) { return wanted < segment.end; });
    return segment_first[which] + static_cast<std::uint32_t>(found - all.begin());
  }
  /// How long a lane was busy within [from, to). O(log n).
  [[nodiscard]] std::uint64_t busy(std::uint32_t which, std::uint64_t from, std::uint64_t to) const noexcept {
    return from >= to ? 0 : busy_until(which, to) - busy_until(which, from);
  }
  /// Who owned a lane at a moment; kNone: nobody. O(log n).
  [[nodiscard]] std::uint32_t owner_at(std::uint32_t which, std::uint64_t time) const noexcept {
    const std::uint32_t at = segment_after(which, time);
    return at < segment_first[which + 1] && segments[at].start <= time ? segments[at].owner : kNone;
  }
  /// The last segment of a lane that began before `time`; kNone: none. O(log n).
  [[nodiscard]] std::uint32_t segment_before(std::uint32_t which, std::uint64_t time) const noexcept {
    const auto all = segments_of(which);
    const auto found = std::lower_bound(all.begin(), all.end(), time,
                                        [](const Segment& segment, std::uint64_t wanted) { return segment.start < wanted; });
    return found == all.begin() ? kNone : segment_first[which] + static_cast<std::uint32_t>(found - all.begin()) - 1;
  }
  /// The last segment of its lane that began before an invocation did; kNone: none. O(1).
  [[nodiscard]] std::uint32_t segment_ahead_of(std::uint32_t at) const noexcept {
    return first_segment[at] == segment_first[lane[at]] ? kNone : first_segment[at] - 1;  // segments are split where one begins
  }
  /// How long the lane of an invocation was busy within [from, its start). O(1) where that is short.
  [[nodiscard]] std::uint64_t busy_ahead_of(std::uint32_t at, std::uint64_t from) const noexcept {
    std::uint32_t next = segment_ahead_of(at);
    std::uint64_t sum = 0;
    for (unsigned steps = 0; next != kNone && segments[next].end > from; ++steps) {
      if (steps == kShortWalk) return busy(lane[at], from, start(at));
      sum += segments[next].end - std::max(from, segments[next].start);
      if (next == segment_first[lane[at]]) break;
      --next;
    }
    return sum;
  }
  /// The invocation of a resource that was running at `time`: of several the first, if one is on `wanted_lane` the first of
  /// those. Where none was, the last one that began before; kNone: none did. O(log n).
  /// The first, because an invocation that ends at a moment and the next one of its resource, which begins at the same, have
  /// no time between them, and the earlier one cannot have been caused by what it did itself.
  [[nodiscard]] std::uint32_t invocation_at(std::uint32_t row, std::uint64_t time, std::uint32_t wanted_lane = kNone) const noexcept {
    if (row == kNone) return kNone;
    const std::uint32_t from = model.invocations_by_resource.first[row], to = model.invocations_by_resource.first[row + 1];
    const std::uint32_t* const items = model.invocations_by_resource.items.data();
    const std::uint64_t* const reaches = std::lower_bound(reach_.data() + from, reach_.data() + to, time);
    const auto first = static_cast<std::uint32_t>(reaches - reach_.data());
    std::uint32_t running = kNone;
    for (std::uint32_t at = first; at < to && at - first < kLongestSearch && start(items[at]) <= time; ++at) {
      const std::uint32_t found = items[at];
      if (is_span(found) || end(found) < time) continue;
      if (running == kNone) running = found;
      if (wanted_lane == kNone || lane[found] == wanted_lane) return found;
    }
    if (running != kNone) return running;
    const std::uint32_t* const behind =
        std::upper_bound(items + from, items + to, time,
                         [&](std::uint64_t wanted, std::uint32_t other) { return wanted < start(other); });
    if (behind == items + from) return kNone;
    return is_span(*(behind - 1)) ? kNone : *(behind - 1);
  }

  /// Pauses of lanes (a collection of garbage), merged, by lane of the model.
  struct Pause {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
  };
  std::vector<Pause> pauses;
  std::vector<std::uint32_t> pause_first;
  [[nodiscard]] std::span<const Pause> pauses_of(std::uint32_t which) const noexcept {
    if (which + std::size_t{1} >= pause_first.size()) return {};
    return {pauses.data() + pause_first[which], pause_first[which + 1] - pause_first[which]};
  }

  // -- how sure -------------------------------------------------------------------------------------------------------

  std::uint64_t causes_unknown = 0;    ///< invocations without a cause
  std::uint64_t causes_inferred = 0;
  std::uint64_t settles_inferred = 0;  ///< of operations, by their callback or their bridge's
  std::uint64_t spans = 0;

 private:
  static constexpr unsigned kLongestSearch = 64;
  static constexpr unsigned kShortWalk = 16;

  std::vector<std::uint64_t> reach_;  // by place in invocations_by_resource: the latest end so far, of its resource

  [[nodiscard]] std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(model.invocations.size()); }
  [[nodiscard]] bool is_first_of(std::uint32_t at) const noexcept { return previous[at] == kNone; }

  [[nodiscard]] std::uint64_t busy_until(std::uint32_t which, std::uint64_t time) const noexcept {
    const std::uint32_t at = segment_after(which, time);
    if (at == segment_first[which + 1]) {
      if (at == segment_first[which]) return 0;
      return busy_before[at - 1] + (segments[at - 1].end - segments[at - 1].start);
    }
    return busy_before[at] + (time > segments[at].start ? time - segments[at].start : 0);
  }

  void assign_requests() {
    const std::uint32_t resources = model.resources();
    request.resize(resources);
    top.resize(resources);
    for (std::uint32_t row = 0; row < resources; ++row) {  // a parent's row is below
      const std::uint32_t parent = normal.parent[row];
      request[row] = model.root[row] != kNone || parent == kNone ? model.root[row] : request[parent];
      top[row] = parent == kNone ? row : top[parent];
    }
    requests.resize(model.roots.size());
    std::vector<std::uint64_t> first(model.roots.size(), ~std::uint64_t{0});
    for (std::uint32_t row = 0; row < resources; ++row) {
      if (request[row] != kNone) first[request[row]] = std::min(first[request[row]], created(row));
    }
    for (std::uint32_t at = 0; at < requests.size(); ++at) {
      const TraceModel::Root& root = model.roots[at];
      Request& made = requests[at];
      made.root = at;
      made.resource = root.resource;
      const bool known = root.resource != kNone && model.has(root.resource, ResourceFlag::kCreated);
      made.start = known ? created(root.resource) : first[at] == ~std::uint64_t{0} ? model.first_time : first[at];
      made.end = std::max(made.start, end_of_root(model, at));
      made.is_ended = (root.resource != kNone && model.has(root.resource, ResourceFlag::kSettled)) || root.has_finished || root.has_sealed;
    }
  }

  void assign_lanes() {
    const auto recorded = static_cast<std::uint32_t>(model.lanes.size());
    const auto roots = static_cast<std::uint32_t>(requests.size());
    resource.resize(count());
    lane.resize(count());
    previous.assign(count(), kNone);
    bool unplaced = false;
    for (std::uint32_t at = 0; at < count(); ++at) {
      resource[at] = model.invocations[at].resource;
      const std::uint32_t on = model.invocations[at].lane;
      lane[at] = on != kNone ? on : recorded + std::min(request_of(at), roots);
      unplaced = unplaced || on == kNone;
    }
    segment_first.assign(std::size_t{recorded} + (unplaced ? roots + std::size_t{1} : 0) + 1, 0);
    if (normal.inferred) find_spans();
    reach_.resize(count());
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      std::uint32_t before = kNone;
      std::uint64_t furthest = 0;
      std::uint32_t item = model.invocations_by_resource.first[row];
      for (const std::uint32_t at : model.invocations_of(row)) {
        furthest = std::max(furthest, is_span(at) ? 0 : end(at));
        reach_[item++] = furthest;
        if (is_span(at)) continue;
        previous[at] = before;
        before = at;
      }
    }
    on_lane.build(lanes(), count(), [&](std::uint32_t at) { return lane[at]; });
    for (std::uint32_t which = 0; which < lanes(); ++which) {
      std::uint32_t* const from = on_lane.items.data() + on_lane.first[which];
      std::uint32_t* const to = on_lane.items.data() + on_lane.first[which + 1];
      // Of those that begin at one moment: what takes no time, then the longest, in which the others are nested.
      const auto earlier = [&](std::uint32_t a, std::uint32_t b) {
        if (start(a) != start(b)) return start(a) < start(b);
        const bool none_a = end(a) == start(a), none_b = end(b) == start(b);
        if (none_a != none_b) return none_a;
        return end(a) != end(b) ? end(a) > end(b) : a < b;
      };
      if (!std::is_sorted(from, to, earlier)) std::sort(from, to, earlier);
    }
  }

  /// A plain document gives its root one interval, the request's own: no callback, where others ran during it.
  void find_spans() {
    std::vector<std::uint32_t> root_invocation(requests.size(), kNone);
    for (std::uint32_t at = 0; at < requests.size(); ++at) {
      if (requests[at].resource == kNone) continue;
      const auto all = model.invocations_of(requests[at].resource);
      if (all.size() == 1) root_invocation[at] = all.front();
    }
    for (std::uint32_t at = 0; at < count(); ++at) {
      const std::uint32_t which = request_of(at);
      if (which == kNone || root_invocation[which] == kNone) continue;
      const std::uint32_t whole = root_invocation[which];
      if (at == whole || start(at) < start(whole) || start(at) >= end(whole)) continue;
      lane[whole] = kNone;
      root_invocation[which] = kNone;
      ++spans;
    }
  }

  void sweep_lanes() {
    container.assign(count(), kNone);
    segments.reserve(count());
    std::vector<std::uint32_t> open;
    for (std::uint32_t which = 0; which < lanes(); ++which) {
      segment_first[which] = static_cast<std::uint32_t>(segments.size());
      open.clear();
      std::uint64_t time = 0;
      const auto run_until = [&](std::uint64_t until) {
        while (!open.empty()) {
          const std::uint32_t owner = open.back();
          if (end(owner) <= time) {  // ended while a later one had the lane
            open.pop_back();
            continue;
          }
          if (time >= until) return;
          const std::uint64_t to = std::min(until, end(owner));
          segments.push_back({time, to, owner});
          time = to;
        }
      };
      for (const std::uint32_t at : on_lane[which]) {
        run_until(start(at));
        time = std::max(time, start(at));
        if (!open.empty()) container[at] = open.back();
        open.push_back(at);
      }
      run_until(~std::uint64_t{0});
    }
    segment_first[lanes()] = static_cast<std::uint32_t>(segments.size());
  }

  void own_time() {
    self.assign(count(), 0);
    first_segment.assign(count(), 0);
    busy_before.resize(segments.size());
    for (std::uint32_t which = 0; which < lanes(); ++which) {
      std::uint64_t total = 0;
      for (std::uint32_t at = segment_first[which]; at < segment_first[which + 1]; ++at) {
        busy_before[at] = total;
        const std::uint64_t length = segments[at].end - segments[at].start;
        total += length;
        self[segments[at].owner] += length;
      }
      std::uint32_t next = segment_first[which];
      for (const std::uint32_t at : on_lane[which]) {
        while (next < segment_first[which + 1] && segments[next].end <= start(at)) ++next;
        first_segment[at] = next;
      }
    }
  }

  // -- operations -----------------------------------------------------------------------------------------------------

  void collapse_operations() {
    const std::uint32_t resources = model.resources();
    operation.assign(resources, false);
    settle_known.assign(resources, false);
    settle_external.assign(resources, false);
    settle_inferred.assign(resources, false);
    settled.assign(resources, 0);
    unit.resize(resources);
    for (std::uint32_t row = 0; row < resources; ++row) {
      unit[row] = row;
      const bool outside = model.has(row, ResourceFlag::kSettled) && model.settled_by(row) == Actor::kExternal;
      operation[row] = is_operation(class_of(row)) || (outside && class_of(row) != TypeClass::kRoot);
      if (!model.has(row, ResourceFlag::kSettled)) continue;
      settle_known[row] = true;
      settled[row] = std::max(model.settled[row], created(row));
      settle_external[row] = outside;
    }
    for (const TraceModel::Link& link : model.links) {
      if (link.kind == LinkKind::kBridge && link.effect != kNone && link.cause != kNone) join(link.effect, link.cause);
    }
    if (normal.inferred) {
      infer_completions();
      pair_bridges();
    }
    for (std::uint32_t row = 0; row < resources; ++row) unit[row] = unit_of(row);
    // What stands for a unit is its first operation.
    std::vector<std::uint32_t> speaker(resources, kNone);
    for (std::uint32_t row = 0; row < resources; ++row) {
      std::uint32_t& of = speaker[unit[row]];
      if (of == kNone || (operation[row] && !operation[of]) ||
          (operation[row] && is_operation(class_of(row)) && !is_operation(class_of(of)))) {
        of = row;
      }
    }
    for (std::uint32_t row = 0; row < resources; ++row) unit[row] = speaker[unit[row]];
    members.build(resources, resources, [&](std::uint32_t row) { return unit[row]; });
  }
  /// Halves the way up as it goes.
  std::uint32_t unit_of(std::uint32_t row) noexcept {
    while (unit[row] != row) {
      unit[row] = unit[unit[row]];
      row = unit[row];
    }
    return row;
  }
  void join(std::uint32_t a, std::uint32_t b) noexcept {
    a = unit_of(a);
    b = unit_of(b);
    unit[std::max(a, b)] = std::min(a, b);
  }

  void settle_outside(std::uint32_t row, std::uint64_t time) {
    if (settle_known[row] || time < created(row)) return;
    settle_known[row] = settle_external[row] = settle_inferred[row] = true;
    settled[row] = time;
    ++settles_inferred;
  }
  /// An operation of a plain document is done when its own callback begins.
  void infer_completions() {
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      if (!operation[row] || model.invocations_of(row).empty()) continue;
      settle_outside(row, start(model.invocations_of(row).front()));
    }
  }
  /// Of a plain document: each operation and the smallest later bridge of the same parent and stack, each once.
  void pair_bridges() {
    struct Part {
      std::uint32_t parent;
      std::uint32_t stack;
      std::uint64_t id;
      std::uint32_t row;
    };
    std::vector<Part> parts;
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      if (is_operation(class_of(row)) || class_of(row) == TypeClass::kBridge) {
        parts.push_back({normal.parent[row], model.stack[row], model.id[row], row});
      }
    }
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
      if (a.parent != b.parent) return a.parent < b.parent;
      return a.stack != b.stack ? a.stack < b.stack : a.id < b.id;
    });
    // Operations wait in the order of their ids, and each bridge takes the first that was created before it.
    std::vector<std::uint32_t> waiting;
    std::size_t next = 0;
    for (std::size_t at = 0; at < parts.size(); ++at) {
      const Part& part = parts[at];
      if (at == 0 || part.parent != parts[at - 1].parent || part.stack != parts[at - 1].stack) {
        waiting.clear();
        next = 0;
      }
      if (class_of(part.row) != TypeClass::kBridge) {
        waiting.push_back(part.row);
        continue;
      }
      if (next == waiting.size() || created(waiting[next]) > created(part.row)) continue;
      const std::uint32_t row = waiting[next++];
      join(row, part.row);
      const auto callbacks = model.invocations_of(part.row);
      if (!callbacks.empty()) settle_outside(row, start(callbacks.front()));
    }
  }

  // -- causes ---------------------------------------------------------------------------------------------------------

  [[nodiscard]] std::uint32_t who_ran(std::uint32_t row, std::uint64_t time, std::uint32_t on) const noexcept {
    const std::uint32_t found = invocation_at(row, time, on);
    if (found != kNone || row != kNone || on == kNone) return found;
    return owner_at(on, time);
  }

  void find_creators() {
    const std::uint32_t resources = model.resources();
    creator.assign(resources, kNone);
    settler.assign(resources, kNone);
    for (std::uint32_t row = 0; row < resources; ++row) {
      if (model.has(row, ResourceFlag::kCreated)) {
        const std::uint32_t trigger = model.trigger[row];
        const std::uint32_t by = trigger == kNone ? normal.parent[row] : trigger;
        creator[row] = invocation_at(by, created(row), model.created_lane[row]);
        if (creator[row] == kNone && model.created_lane[row] != kNone) {
          creator[row] = owner_at(model.created_lane[row], created(row));
        }
      }
      if (model.has(row, ResourceFlag::kSettled) && model.settled_by(row) != Actor::kExternal &&
          (model.settled_by(row) == Actor::kInvocation || model.settler[row] != kNone)) {
        settler[row] = who_ran(model.settler[row], settled[row], model.settled_lane[row]);
      }
    }
  }

  void order_parts() {
    struct Part {
      std::uint64_t settled;
      std::uint32_t row;
      [[nodiscard]] bool operator>(const Part& other) const noexcept {
        return settled != other.settled ? settled > other.settled : row > other.row;
      }
    };
    std::vector<Part> open;  // a heap: on top what settles first
    for (std::uint32_t of = 0; of < model.resources(); ++of) {
      if (!operation[of]) continue;
      const auto parts = normal.children[of];  // in order of creation
      if (std::none_of(parts.begin(), parts.end(), [&](std::uint32_t part) { return creator[part] == kNone; })) continue;
      if (made_after.empty()) made_after.assign(model.resources(), kNone);
      open.clear();
      if (settle_known[of]) open.push_back({settled[of], of});
      std::uint32_t last = kNone;
      for (const std::uint32_t part : parts) {
        for (; !open.empty() && open.front().settled <= created(part); open.pop_back()) {
          last = open.front().row;
          std::pop_heap(open.begin(), open.end(), std::greater<>{});
        }
        if (creator[part] == kNone) made_after[part] = last;
        if (!settle_known[part]) continue;
        open.push_back({settled[part], part});
        std::push_heap(open.begin(), open.end(), std::greater<>{});
      }
    }
  }

  void find_causes() {
    cause.resize(count());
    ready.resize(count());
    ready_known.assign(count(), false);
    // The operation whose bridge an invocation is: of a plain document.
    std::vector<std::uint32_t> operation_of;
    if (normal.inferred) {
      operation_of.assign(model.resources(), kNone);
      for (std::uint32_t row = 0; row < model.resources(); ++row) {
        if (unit[row] != row && operation[unit[row]]) operation_of[row] = unit[row];
      }
    }
    for (std::uint32_t at = 0; at < count(); ++at) {
      ready[at] = start(at);
      if (is_span(at)) continue;
      Cause& made = cause[at];
      const TraceModel::Invocation& invocation = model.invocations[at];
      const std::uint32_t woken_by = wake_of(at);
      tell_cause(at, invocation, woken_by, made);
      if (made.kind == CauseOf::kUnknown && normal.inferred) infer_cause(at, invocation.resource, operation_of, made);
      if (made.kind == CauseOf::kUnknown && container[at] != kNone) {
        made.kind = CauseOf::kCalled;
        made.invocation = container[at];
        made.at = start(at);
      }
      if (made.kind == CauseOf::kUnknown) ++causes_unknown;
      if (made.inferred) ++causes_inferred;
      // A wake tells the moment; else the cause does.
      if (woken_by != kNone) {
        ready[at] = std::min(start(at), model.wakes[woken_by].time);
        ready_known[at] = true;
      } else if (made.kind != CauseOf::kUnknown) {
        ready[at] = std::min(start(at), made.at);
        ready_known[at] = true;
      }
      const std::uint32_t before = previous[at];
      if (before != kNone) ready[at] = std::max(ready[at], std::min(end(before), start(at)));  // while it ran, it did not wait
      made.at = made.kind == CauseOf::kUnknown ? ready[at] : std::min(made.at, ready[at]);
    }
  }

  void settled_cause(std::uint32_t by, Cause& made) const noexcept {
    if (by == kNone || !settle_known[by]) return;
    if (settle_external[by]) {
      made = {settled[by], kNone, by, CauseOf::kExternal, settle_inferred[by] != 0};
    } else if (settler[by] != kNone) {
      made = {settled[by], settler[by], by, CauseOf::kSettled, false};
    } else if (operation[by]) {
      made = {settled[by], kNone, by, CauseOf::kExternal, false};
    }
  }
  /// The wake that made an invocation ready: the model's, else one of the moment at which the invocation before it began, if
  /// that did not need it. (The model gives such a wake to the earlier of the two.)
  [[nodiscard]] std::uint32_t wake_of(std::uint32_t at) const noexcept {
    const TraceModel::Invocation& invocation = model.invocations[at];
    const std::uint32_t before = previous[at];
    if (invocation.wake != kNone || before == kNone) return invocation.wake;
    const auto wakes = model.wakes_by_resource[invocation.resource];
    auto next = std::lower_bound(wakes.begin(), wakes.end(), start(before),
                                 [&](std::uint32_t wake, std::uint64_t time) { return model.wakes[wake].time < time; });
    std::uint32_t found = kNone;
    for (; next != wakes.end() && model.wakes[*next].time == start(before); ++next) {
      const std::uint32_t given = model.wakes[*next].invocation;
      if (given == kNone || (given == before && cause[before].kind == CauseOf::kRoot)) found = *next;
    }
    return found;
  }
  void wake_cause(const TraceModel::Invocation& invocation, std::uint32_t woken_by, Cause& made) const noexcept {
    if (woken_by == kNone) return;
    const TraceModel::Wake& wake = model.wakes[woken_by];
    if (wake.actor == Actor::kInvocation || (wake.actor == Actor::kUnknown && wake.by != kNone)) {
      const std::uint32_t by = who_ran(wake.by, wake.time, wake.lane);
      if (by != kNone) made = {wake.time, by, kNone, CauseOf::kWoken, false};
    } else if (wake.actor == Actor::kExternal) {
      made = {wake.time, kNone, kNone, CauseOf::kExternal, false};
      external_operation(invocation.resource, wake.by, made);
    }
  }
  /// Which operation's completion it was: the one that is named, else the resource itself where it was settled from outside.
  void external_operation(std::uint32_t row, std::uint32_t named, Cause& made) const noexcept {
    const std::uint32_t of = named != kNone ? named : operation[row] && settle_known[row] ? row : kNone;
    if (of == kNone || !settle_known[of] || settled[of] > made.at) {
      made.resource = named;
      return;
    }
    made.resource = of;
    made.at = settled[of];
  }

  void tell_cause(std::uint32_t at, const TraceModel::Invocation& invocation, std::uint32_t woken_by, Cause& made) const noexcept {
    const std::uint32_t row = invocation.resource;
    switch (invocation.cause) {
      case CauseKind::kCreated: {
        const std::uint32_t by = invocation.cause_by == kNone ? creator[row]
                                                              : who_ran(invocation.cause_by, created(row), model.created_lane[row]);
        if (by != kNone) made = {created(row), by, kNone, CauseOf::kCreated, false};
        break;
      }
      case CauseKind::kSettled:
        if (invocation.cause_by != kNone && settle_known[invocation.cause_by] && settled[invocation.cause_by] <= start(at)) {
          settled_cause(invocation.cause_by, made);
        }
        break;
      case CauseKind::kScheduled: {
        wake_cause(invocation, woken_by, made);
        if (made.kind == CauseOf::kUnknown && invocation.cause_by != kNone) {
          const std::uint32_t by = invocation_at(invocation.cause_by, start(at));
          if (by != kNone && by != at) made = {std::min(start(at), end(by)), by, kNone, CauseOf::kWoken, false};
        }
        break;
      }
      case CauseKind::kExternal:
        made = {woken_by == kNone ? start(at) : std::min(start(at), model.wakes[woken_by].time), kNone, kNone,
                CauseOf::kExternal, false};
        external_operation(row, invocation.cause_by, made);
        break;
      case CauseKind::kUnspecified: break;
    }
    if (made.kind != CauseOf::kUnknown) return;
    const bool is_root = request[row] != kNone && requests[request[row]].resource == row;
    if (is_root && is_first_of(at)) {
      made = {created(row), kNone, kNone, CauseOf::kRoot, false};
      return;
    }
    wake_cause(invocation, woken_by, made);
    if (made.kind != CauseOf::kUnknown || normal.inferred) return;
    // What it awaited: of what was settled since it last ran, the last.
    const std::uint64_t since = is_first_of(at) ? created(row) : end(previous[at]);
    // A link that was said at the moment at which it began is rather of what it awaited next.
    std::uint32_t last = kNone, at_once = kNone;
    for (const std::uint32_t link : model.links_by_effect[row]) {
      const std::uint32_t of = model.links[link].cause;
      const std::uint64_t said = model.links[link].time;
      if (of == kNone || !settle_known[of] || settled[of] > start(at) || said > start(at)) continue;
      if (!is_first_of(at) && settled[of] < since) continue;
      std::uint32_t& best = said < start(at) ? last : at_once;
      if (best == kNone || settled[of] > settled[best] || (settled[of] == settled[best] && of > best)) best = of;
    }
    if (last == kNone) last = at_once;
    if (last != kNone) settled_cause(last, made);
    if (made.kind == CauseOf::kUnknown && operation[row] && settle_known[row] && settled[row] <= start(at) &&
        (is_first_of(at) || settled[row] >= since)) {
      settled_cause(row, made);
    }
  }

  void infer_cause(std::uint32_t at, std::uint32_t row, const std::vector<std::uint32_t>& operation_of, Cause& made) const noexcept {
    const std::uint32_t of = operation[row] ? row : operation_of[row];
    if (is_first_of(at) && of != kNone && settle_known[of] && settled[of] <= start(at)) {
      made = {settled[of], kNone, of, CauseOf::kExternal, true};
      return;
    }
    std::uint32_t by = normal.inferred_wake[at];
    if (by != kNone && (is_span(by) || lane[by] != lane[at])) by = kNone;
    // A bridge's callback, too, makes ready what runs right behind it.
    const std::uint32_t ahead = segment_ahead_of(at);
    if (ahead != kNone) {
      const std::uint32_t bridge = segments[ahead].owner;
      if (class_of(resource_of(bridge)) == TypeClass::kBridge && end(bridge) <= start(at) && start(bridge) >= created(row) &&
          start(at) - end(bridge) <= settings.path.infer_within_ns && (by == kNone || end(bridge) >= end(by))) {
        by = bridge;
      }
    }
    if (by != kNone) made = {end(by), by, kNone, CauseOf::kWoken, true};
  }

  // -- the ends of requests -------------------------------------------------------------------------------------------

  void find_requests_ends() {
    if (requests.empty()) return;
    // The invocation that ended last, not after the request; of several the one with the larger row.
    std::vector<std::uint32_t> latest(requests.size(), kNone);
    for (std::uint32_t at = 0; at < count(); ++at) {
      const std::uint32_t which = request_of(at);
      if (which == kNone || is_span(at) || end(at) > requests[which].end) continue;
      if (latest[which] == kNone || end(at) >= end(latest[which])) latest[which] = at;
    }
    for (std::uint32_t at = 0; at < requests.size(); ++at) {
      Request& of = requests[at];
      of.last = latest[at];
      if (of.resource != kNone && settle_known[of.resource]) {
        if (settler[of.resource] != kNone) of.last = settler[of.resource];
        continue;
      }
      const TraceModel::Root& root = model.roots[at];
      if (!root.has_finished || root.finished_lane == kNone || root.finished != of.end) continue;
      // Whoever of this request held the lane when it was finished, even though its callback went on.
      std::uint32_t owner = owner_at(root.finished_lane, of.end);
      while (owner != kNone && request_of(owner) != at) owner = container[owner];
      if (owner != kNone && end(owner) > of.end && start(owner) <= of.end) of.last = owner;
    }
  }

  void collect_pauses() {
    pause_first.assign(model.lanes.size() + 1, 0);
    bool any = false;
    for (const TraceModel::LaneEvent& event : model.lane_events) any = any || event.kind == EventKind::kPauseBegan;
    if (!any) return;
    RowIndex by_lane;
    by_lane.build(model.lanes.size(), model.lane_events.size(), [&](std::uint32_t at) {
      const TraceModel::LaneEvent& event = model.lane_events[at];
      return event.kind == EventKind::kPauseBegan || event.kind == EventKind::kPauseEnded ? event.lane : kNone;
    });
    for (std::uint32_t which = 0; which < model.lanes.size(); ++which) {
      pause_first[which] = static_cast<std::uint32_t>(pauses.size());
      unsigned depth = 0;
      std::uint64_t began = 0;
      for (const std::uint32_t at : by_lane[which]) {
        const TraceModel::LaneEvent& event = model.lane_events[at];
        if (event.kind == EventKind::kPauseBegan) {
          if (depth++ == 0) began = event.time;
        } else if (depth != 0 && --depth == 0 && event.time > began) {
          pauses.push_back({began, event.time});
        }
      }
    }
    pause_first[model.lanes.size()] = static_cast<std::uint32_t>(pauses.size());
  }
};

}  // namespace THENCE_ABI
}  // namespace thence
