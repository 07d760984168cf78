// SPDX-License-Identifier: MIT
// ideal_schedule.hpp: how long a request would take if nothing ever queued, and what it would save to have less of one thing.
//
// "Make this faster" is only worth its time in as far as nothing else then decides the end. So the request is played again:
// every callback runs as soon as all that it needs is there, on as many lanes as there is work, operations take as long as
// they took, and what the trace does not explain keeps its length. Played again without operation X it ends earlier by what
// X costs, and contention is not counted as saved.
//   IdealSchedule ideal(run, paths);
//   ideal.bounds[request].dependency_ns;                // S_dep: without any queueing
//   ideal.bounds[request].ideal_ns;                     // S_inf: and no lane does more than one thing at a time
//   for (const PathMember& member : ideal.members_of(request)) ... member.saving_ns
//   ideal.saving_of(request, units);                    // of any set of units
//   ideal.structural_bound(request, runs);              // if these runs of operations began together
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A unit (Execution::unit) that has time on a critical path.
struct PathMember {
  std::uint32_t unit = TraceModel::kNone;
  std::uint64_t on_path_ns = 0;   ///< as kExec, kWait, kQueue
  std::uint64_t saving_ns = 0;    ///< what the request would end earlier if it took no time at all
  bool saving_known = false;      ///< only of the first PathSettings::savings_per_request
};

/// The ideal schedules of all requests, by row of Execution::requests.
///   Shape     80 bytes a request, 24 a member; for one request at a time 48 bytes a node and 24 an edge of what its end needs.
///   Threads   one: it keeps the request that was asked for last.
///   Cost      constructor: O(n) expected, times 2 + PathSettings::savings_per_request; n is what happens during a request, summed over
///             requests. saving_of, structural_bound: O(request), and its first time O(request) more.
///   Errors    std::bad_alloc.
///   Lifetime  keeps references to the Execution and the paths.
class IdealSchedule {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  struct Bound {
    std::uint64_t observed_ns = 0;     ///< S
    std::uint64_t dependency_ns = 0;   ///< S_dep
    std::uint64_t lane_ns = 0;         ///< W_th: the most that one lane had to run for the request's end
    std::uint64_t ideal_ns = 0;        ///< S_inf = max(S_dep, W_th) <= S
    std::uint64_t exec_ns = 0;         ///< W: all that it ran
    std::uint64_t operations_ns = 0;   ///< O: all its operations' time, each unit once, within the request

    [[nodiscard]] double efficiency() const noexcept { return ratio(ideal_ns, observed_ns, 1); }
    [[nodiscard]] double contention_loss() const noexcept { return 1 - efficiency(); }
    [[nodiscard]] double average_concurrency() const noexcept { return ratio(exec_ns + operations_ns, observed_ns, 0); }
    [[nodiscard]] double max_speed_up() const noexcept { return ratio(exec_ns + operations_ns, ideal_ns, 1); }

   private:
    [[nodiscard]] static double ratio(std::uint64_t part, std::uint64_t whole, double none) noexcept {
      return whole == 0 ? none : static_cast<double>(part) / static_cast<double>(whole);
    }
  };
  std::vector<Bound> bounds;

  /// Operations that were begun one after the other and could begin together.
  using Run = std::span<const std::uint32_t>;

  IdealSchedule(const Execution& execution, const CriticalPaths& critical)
      : run_(execution), paths_(critical), local_of_(std::size_t{invocations()} + execution.model.resources(), 0) {
    bounds.resize(run_.requests.size());
    member_first_.assign(1, 0);
    slack_.assign(run_.model.resources(), kNoSlack);
    sum_times();
    for (std::uint32_t request = 0; request < run_.requests.size(); ++request) {
      prepare(request);
      Bound& bound = bounds[request];
      bound.observed_ns = run_.requests[request].duration();
      bound.dependency_ns = duration(evaluate());
      bound.lane_ns = busiest_lane();
      bound.ideal_ns = std::max(bound.dependency_ns, bound.lane_ns);
      find_slack(request);
      find_members(request);
    }
  }

  /// Largest on the path first.
  [[nodiscard]] std::span<const PathMember> members_of(std::uint32_t request) const noexcept {
    return {members_.data() + member_first_[request], member_first_[request + 1] - member_first_[request]};
  }

  /// By how much later a unit of a request could end, in the ideal schedule, without the request ending later.
  struct Slack {
    std::uint64_t ns = 0;
    bool needed = false;  ///< false: the request's end does not depend on it
  };
  [[nodiscard]] Slack slack_of(std::uint32_t unit) const noexcept {
    return slack_[unit] == kNoSlack ? Slack{} : Slack{slack_[unit], true};
  }

  /// What a request would end earlier if these units took no time: neither their operations, with all that these are made of,
  /// nor their callbacks.
  [[nodiscard]] std::uint64_t saving_of(std::uint32_t request, std::span<const std::uint32_t> units) {
    if (prepared_ != request) prepare(request);
    if (plain_.empty()) static_cast<void>(evaluate());
    return bounds[request].dependency_ns - duration(evaluate_without(units));
  }

  /// S_str: the ideal schedule in which the operations of each run begin when its first does.
  [[nodiscard]] std::uint64_t structural_bound(std::uint32_t request, std::span<const Run> runs) {
    if (prepared_ != request) prepare(request);
    together_.clear();
    for (const Run& run : runs) {
      for (std::size_t at = 1; at < run.size(); ++at) {
        together_.push_back({run[at], run[at], run[0]});
        const std::uint32_t operation[] = {run_.unit[run[at]]};
        find_inner(operation, true);
        for (const auto& [row, until] : inner_) together_.push_back({row, run[at], run[0]});
      }
    }
    std::sort(together_.begin(), together_.end(), [](const Together& a, const Together& b) { return a.row < b.row; });
    const std::uint64_t result = duration(evaluate());
    together_.clear();
    return result;
  }

  /// Concurrency in the ideal schedule: when each needed callback and operation would begin and end, from the request's begin.
  struct Stretch {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint32_t resource = kNone;
    bool operation = false;
  };
  [[nodiscard]] std::vector<Stretch> stretches(std::uint32_t request) {
    if (prepared_ != request) prepare(request);
    static_cast<void>(evaluate());
    const std::uint64_t zero = run_.requests[request].start;
    std::vector<Stretch> all;
    for (std::uint32_t at = 0; at < nodes_.size(); ++at) {
      const std::uint32_t node = nodes_[at];
      if (is_cut(node)) continue;
      if (node < invocations()) {
        const std::uint64_t length = run_.self[node];
        const std::uint64_t start = value_[at] > zero ? value_[at] - zero : 0;
        if (length != 0) all.push_back({start, start + length, run_.resource_of(node), false});
        continue;
      }
      const std::uint32_t row = node - invocations();
      if (!run_.operation[row] || run_.unit[row] != row) continue;
      const std::uint64_t length = std::min(run_.settled[row] - run_.created(row), value_[at] > zero ? value_[at] - zero : 0);
      if (length != 0) all.push_back({value_[at] - zero - length, value_[at] - zero, row, true});
    }
    return all;
  }

 private:
  static constexpr std::uint64_t kNoSlack = ~std::uint64_t{0};

  /// value(node) >= value(from) + offset + extra. `offset` is from the beginning of invocation `from` to a moment in it, and
  /// shrinks with what ran in between; `extra` is an operation's duration, or time that nothing explains.
  struct Edge {
    std::uint64_t offset = 0;
    std::uint64_t extra = 0;
    std::uint32_t from = kNone;  ///< node; kNone: `offset` is a moment
    bool is_operation = false;   ///< `extra` is the node's own operation
  };
  struct Zero {
    std::uint32_t lane;
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t before;  // sum of those before it on its lane
  };
  struct Together {
    std::uint32_t row;        // of the operation, or of a part of it
    std::uint32_t operation;
    std::uint32_t first;      // of its run
  };
  struct Frame {
    std::uint32_t node;
    std::uint32_t first;
    std::uint32_t next;
    std::uint32_t last;
  };

  // Nodes: the beginning of invocation i is i, the settling of resource r is invocations() + r.
  [[nodiscard]] std::uint32_t invocations() const noexcept { return static_cast<std::uint32_t>(run_.model.invocations.size()); }
  [[nodiscard]] std::uint64_t actual(std::uint32_t node) const noexcept {
    return node < invocations() ? run_.start(node) : run_.settled[node - invocations()];
  }
  /// What was before the request began stays where it was.
  [[nodiscard]] bool is_cut(std::uint32_t node) const noexcept { return actual(node) < run_.requests[prepared_].start; }

  void from_invocation(std::uint32_t by, std::uint64_t moment, std::uint64_t until, bool is_operation = false) {
    if (by == kNone || run_.start(by) > moment) {
      pool_.push_back({moment, until - moment, kNone, is_operation});
    } else {
      pool_.push_back({moment - run_.start(by), until - moment, by, is_operation});
    }
  }
  void from_settling(std::uint32_t row) { pool_.push_back({0, 0, invocations() + row, false}); }

  /// From the creation of a resource, at `moment`, to a later one. What the outside made for an operation follows what of that
  /// had settled by then; else who made the operation.
  void from_creation(std::uint32_t row, std::uint64_t moment, std::uint64_t until, bool is_operation = false) {
    for (std::uint32_t by = run_.made_for(row); by != kNone; by = run_.made_for(row)) {
      const std::uint32_t part = run_.made_after[row];
      if (part != kNone && run_.settled[part] <= moment) {
        pool_.push_back({moment - run_.settled[part], until - moment, invocations() + part, is_operation});
        return;
      }
      row = by;
    }
    from_invocation(run_.creator[row], moment, until, is_operation);
  }

  /// All that a node needs.
  void collect(std::uint32_t node) {
    if (is_cut(node)) {
      pool_.push_back({actual(node), 0, kNone, false});
      return;
    }
    if (node >= invocations()) return collect_settling(node - invocations());
    const std::uint32_t row = run_.resource_of(node);
    const Execution::Cause& cause = run_.cause[node];
    const std::uint32_t before = run_.previous[node];
    const std::uint64_t ready = run_.ready[node];
    switch (cause.kind) {
      case CauseOf::kRoot: pool_.push_back({std::min(ready, run_.created(row)), 0, kNone, false}); break;
      case CauseOf::kCreated:
      case CauseOf::kWoken: from_invocation(cause.invocation, cause.at, cause.at); break;
      case CauseOf::kCalled: from_invocation(cause.invocation, run_.start(node), run_.start(node)); break;
      case CauseOf::kSettled: from_settling(cause.resource); break;
      case CauseOf::kExternal: {
        const std::uint32_t of = cause.resource;
        if (of != kNone && run_.settle_known[of] && run_.settled[of] <= cause.at) {
          from_settling(of);
        } else if (before != kNone && (of == kNone || run_.end(before) > run_.created(of))) {
          from_invocation(before, std::min(run_.end(before), ready), ready);
        } else {
          const std::uint32_t since = of == kNone ? row : of;
          from_creation(since, std::min(run_.created(since), ready), ready);
        }
        break;
      }
      case CauseOf::kUnknown:
        if (before != kNone) {
          from_invocation(before, std::min(run_.end(before), ready), ready);
        } else {
          from_creation(row, std::min(run_.created(row), ready), ready);
        }
        break;
    }
    // One after the other; and what is called in another stays at its place there.
    if (before != kNone && run_.end(before) <= run_.start(node)) from_invocation(before, run_.end(before), run_.end(before));
    const std::uint32_t inside = run_.container[node];
    if (inside != kNone && cause.kind != CauseOf::kCalled) from_invocation(inside, run_.start(node), run_.start(node));
    const std::uint64_t since = before == kNone ? 0 : run_.end(before);
    for (const std::uint32_t at : run_.model.links_by_effect[row]) {
      const TraceModel::Link& link = run_.model.links[at];
      // Said at the moment at which it began, it is of what comes after.
      if (link.kind != LinkKind::kAwaits || link.cause == kNone || link.time >= run_.start(node)) continue;
      if (!run_.settle_known[link.cause] || run_.settled[link.cause] > run_.start(node) || run_.settled[link.cause] < since) continue;
      from_settling(link.cause);
    }
  }
  void collect_settling(std::uint32_t row) {
    const std::uint64_t settled = run_.settled[row], created = std::min(run_.created(row), settled);
    if (run_.settler[row] != kNone) {
      from_invocation(run_.settler[row], settled, settled);
    } else {
      from_creation(row, created, settled, run_.settle_external[row] || run_.operation[row]);
    }
    for (const std::uint32_t at : run_.model.links_by_effect[row]) {
      const TraceModel::Link& link = run_.model.links[at];
      if (link.kind != LinkKind::kAwaits || link.cause == kNone || link.cause == row) continue;
      if (!run_.settle_known[link.cause] || run_.settled[link.cause] > settled) continue;
      from_settling(link.cause);
    }
  }

  [[nodiscard]] bool is_local(std::uint32_t node) const noexcept {
    const std::uint32_t at = local_of_[node];
    return at < nodes_.size() && nodes_[at] == node;
  }

  /// Collects what the end of a request needs, causes before effects, without recursion.
  void prepare(std::uint32_t request) {
    prepared_ = request;
    nodes_.clear();
    edges_.clear();
    edge_first_.assign(1, 0);
    pool_.clear();
    together_.clear();
    plain_.clear();
    const Execution::Request& of = run_.requests[request];
    end_node_ = kNone;
    end_offset_ = 0;
    if (of.resource != kNone && run_.settle_known[of.resource] && run_.settled[of.resource] == of.end &&
        !run_.settle_external[of.resource] && run_.settler[of.resource] != kNone) {
      end_node_ = invocations() + of.resource;
    } else if (of.last != kNone) {
      end_node_ = of.last;
      end_offset_ = of.end - std::min(of.end, run_.start(of.last));
    }
    if (end_node_ == kNone) return;
    enter(end_node_);
    while (!stack_.empty()) {
      Frame& frame = stack_.back();
      if (frame.next != frame.last) {
        Edge& edge = pool_[frame.next++];
        if (edge.from == kNone || is_local(edge.from)) continue;
        if (open_mark(edge.from)) {  // needs itself, at one moment: without this edge, or, if it has no other, where it was
          edge = {frame.last - frame.first > 1 ? 0 : actual(frame.node), 0, kNone, false};
          continue;
        }
        enter(edge.from);
        continue;
      }
      leave();
    }
  }
  void enter(std::uint32_t node) {
    const auto first = static_cast<std::uint32_t>(pool_.size());
    collect(node);
    const auto last = static_cast<std::uint32_t>(pool_.size());
    local_of_[node] = static_cast<std::uint32_t>(kOpen + stack_.size());
    stack_.push_back({node, first, first, last});
  }
  [[nodiscard]] bool open_mark(std::uint32_t node) const noexcept {
    const std::uint32_t at = local_of_[node];
    return at >= kOpen && at - kOpen < stack_.size() && stack_[at - kOpen].node == node;
  }
  void leave() {
    const Frame frame = stack_.back();
    stack_.pop_back();
    local_of_[frame.node] = static_cast<std::uint32_t>(nodes_.size());
    nodes_.push_back(frame.node);
    const std::size_t begin = edges_.size();
    edges_.insert(edges_.end(), pool_.begin() + frame.first, pool_.begin() + frame.last);
    for (std::size_t at = begin; at < edges_.size(); ++at) {
      if (edges_[at].from != kNone) edges_[at].from = local_of_[edges_[at].from];
    }
    edge_first_.push_back(static_cast<std::uint32_t>(edges_.size()));
    pool_.resize(frame.first);
  }

  /// The values of all nodes, in `value_`; returns the end's.
  std::uint64_t evaluate() {
    if (end_node_ == kNone) return run_.requests[prepared_].end;
    value_.resize(nodes_.size());
    for (std::uint32_t at = 0; at < nodes_.size(); ++at) {
      std::uint64_t value = 0;
      for (std::uint32_t next = edge_first_[at]; next < edge_first_[at + 1]; ++next) {
        Edge edge = edges_[next];
        if (!together_.empty()) begin_together(nodes_[at], edge);
        value = std::max(value, edge.offset + edge.extra + (edge.from == kNone ? 0 : value_[edge.from]));
      }
      value_[at] = value;
    }
    if (together_.empty()) plain_ = value_;
    return value_[local_of_[end_node_]] + end_offset_;
  }

  /// The same if these units took no time, after evaluate().
  std::uint64_t evaluate_without(std::span<const std::uint32_t> units) {
    if (end_node_ == kNone) return run_.requests[prepared_].end;
    collect_zeros(units);
    const std::uint32_t first = mark_changed();
    value_ = plain_;
    for (std::uint32_t at = first; at < nodes_.size(); ++at) {
      const bool zero = changed_[at] != 0 && nodes_[at] >= invocations() && is_zero(nodes_[at] - invocations());
      std::uint64_t value = 0;
      for (std::uint32_t next = edge_first_[at]; next < edge_first_[at + 1]; ++next) {
        const Edge& edge = edges_[next];
        std::uint64_t moment = edge.offset;
        if (edge.from != kNone) {
          if (changed_[edge.from] != 0) moment -= zero_within(nodes_[edge.from], edge.offset);
          moment += value_[edge.from];
        }
        if (!(zero && edge.is_operation)) moment += edge.extra;
        value = std::max(value, moment);
      }
      value_[at] = value;
    }
    return value_[local_of_[end_node_]] + end_offset_ - zero_within(end_node_, end_offset_);
  }
  [[nodiscard]] std::uint64_t duration(std::uint64_t end) const noexcept {
    const std::uint64_t start = run_.requests[prepared_].start;
    return end > start ? end - start : 0;
  }

  /// Marks the nodes of these units, and of all in which their callbacks are nested, whose offsets hold their time. The first
  /// of them: nodes before it, causes before effects, keep their values.
  [[nodiscard]] std::uint32_t mark_changed() {
    changed_.assign(nodes_.size(), 0);
    auto first = static_cast<std::uint32_t>(nodes_.size());
    const auto mark = [&](std::uint32_t node) {
      if (!is_local(node)) return;
      changed_[local_of_[node]] = 1;
      first = std::min(first, local_of_[node]);
    };
    for (const std::uint32_t unit : zero_units_) {
      for (const std::uint32_t row : run_.members[unit]) {
        mark(invocations() + row);
        for (const std::uint32_t at : run_.model.invocations_of(row)) {
          for (std::uint32_t around = at; around != kNone && !run_.is_span(around); around = run_.container[around]) mark(around);
        }
      }
    }
    return first;
  }

  /// What the creator of an operation began for it, the operation itself or a part of it, is begun by the creator of the first
  /// of its run, as long after that one's creation.
  void begin_together(std::uint32_t node, Edge& edge) const {
    const std::uint32_t row = node < invocations() ? run_.resource_of(node) : node - invocations();
    const Together* const found = together_with(row);
    if (found == nullptr) return;
    const std::uint32_t by = run_.creator[found->operation];
    std::uint64_t later = 0;  // than the creation of the operation
    if (edge.from == kNone) {
      if (!edge.is_operation) return;
    } else {
      const std::uint32_t from = nodes_[edge.from];
      if (from >= invocations()) return;
      const std::uint64_t moment = run_.start(from) + edge.offset;
      if (moment < run_.created(found->operation)) return;
      if (from != by && !begins_in_turn(row, from, moment, found->operation)) return;
      later = moment - run_.created(found->operation);
    }
    const std::uint32_t first = found->first, first_by = run_.creator[first];
    if (first_by == kNone || !is_local(first_by) || run_.start(first_by) > run_.created(first)) {
      edge.from = kNone;
      edge.offset = run_.created(first) + later;
    } else {
      edge.from = local_of_[first_by];
      edge.offset = run_.created(first) - run_.start(first_by) + later;
    }
  }

  [[nodiscard]] const Together* together_with(std::uint32_t row) const noexcept {
    const auto found =
        std::lower_bound(together_.begin(), together_.end(), row, [](const Together& a, std::uint32_t wanted) { return a.row < wanted; });
    return found == together_.end() || found->row != row ? nullptr : &*found;
  }
  /// Whether a part of an operation was begun by a callback that has nothing to do with the operation, but came right behind
  /// its creation: a loop's own step, under whatever name it went.
  [[nodiscard]] bool begins_in_turn(std::uint32_t row, std::uint32_t from, std::uint64_t moment, std::uint32_t operation) const {
    if (run_.creator[row] != from || run_.created(row) != moment) return false;
    const Together* const by = together_with(run_.resource_of(from));
    if (by != nullptr && by->operation == operation) return false;  // it moves with it
    const std::uint64_t since = run_.created(operation);
    return moment - since - run_.busy(run_.lane[from], since, moment) <= run_.settings.path.dispatch_gap_ns;
  }

  [[nodiscard]] bool is_zero(std::uint32_t row) const noexcept {
    return std::binary_search(zero_units_.begin(), zero_units_.end(), run_.unit[row]);
  }
  /// What an operation is made of: its connecting, its wait for the first byte. Made under it, and over before it.
  void add_inner_units() {
    find_inner(zero_units_);
    for (const auto& [row, until] : inner_) zero_units_.push_back(run_.unit[row]);
    std::sort(zero_units_.begin(), zero_units_.end());
    zero_units_.erase(std::unique(zero_units_.begin(), zero_units_.end()), zero_units_.end());
  }
  /// Those operations and their parts, into `inner_`; with what the outside made for them and was over later.
  void find_inner(std::span<const std::uint32_t> units, bool with_later = false) {
    inner_.clear();
    for (const std::uint32_t unit : units) {
      for (const std::uint32_t row : run_.members[unit]) {
        if (run_.operation[row] && run_.settle_known[row]) inner_.push_back({row, run_.settled[row]});
      }
    }
    for (std::size_t next = 0; next < inner_.size(); ++next) {
      const auto [row, until] = inner_[next];
      for (const std::uint32_t child : run_.normal.children[row]) {
        const bool over = run_.settle_known[child] && run_.settled[child] <= until;
        if (over || (with_later && run_.made_for(child) == row)) inner_.push_back({child, until});
      }
    }
  }

  /// The time that callbacks of these units owned.
  void collect_zeros(std::span<const std::uint32_t> units) {
    zeros_.clear();
    zero_units_.assign(units.begin(), units.end());
    if (units.empty()) return;
    add_inner_units();
    for (const std::uint32_t unit : zero_units_) {
      for (const std::uint32_t row : run_.members[unit]) {
        for (const std::uint32_t at : run_.model.invocations_of(row)) {
          if (run_.is_span(at)) continue;
          const std::uint32_t lane = run_.lane[at];
          for (std::uint32_t next = run_.first_segment[at]; next < run_.segment_first[lane + 1]; ++next) {
            const Execution::Segment& segment = run_.segments[next];
            if (segment.start >= run_.end(at)) break;
            if (segment.owner == at) zeros_.push_back({lane, segment.start, segment.end, 0});
          }
        }
      }
    }
    std::sort(zeros_.begin(), zeros_.end(), [](const Zero& a, const Zero& b) {
      return a.lane != b.lane ? a.lane < b.lane : a.start < b.start;
    });
    for (std::size_t at = 1; at < zeros_.size(); ++at) {
      if (zeros_[at].lane == zeros_[at - 1].lane) zeros_[at].before = zeros_[at - 1].before + (zeros_[at - 1].end - zeros_[at - 1].start);
    }
  }
  /// How much of [start, start + offset) of an invocation is zero.
  [[nodiscard]] std::uint64_t zero_within(std::uint32_t node, std::uint64_t offset) const noexcept {
    if (node >= invocations()) return 0;
    const std::uint64_t from = run_.start(node), to = std::min(from + offset, run_.end(node));
    if (to <= from) return 0;
    return zero_until(run_.lane[node], to) - zero_until(run_.lane[node], from);
  }
  [[nodiscard]] std::uint64_t zero_until(std::uint32_t lane, std::uint64_t time) const noexcept {
    const auto found = std::lower_bound(zeros_.begin(), zeros_.end(), time, [&](const Zero& zero, std::uint64_t wanted) {
      return zero.lane != lane ? zero.lane < lane : zero.start < wanted;
    });
    if (found == zeros_.begin()) return 0;
    const Zero& last = *(found - 1);
    return last.lane != lane ? 0 : last.before + (std::min(last.end, time) - last.start);
  }

  // -- bounds ---------------------------------------------------------------------------------------------------------

  void sum_times() {
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      for (const Execution::Segment& segment : run_.segments_of(lane)) {
        const std::uint32_t request = run_.request_of(segment.owner);
        if (request != kNone) bounds[request].exec_ns += within(request, segment.start, segment.end);
      }
    }
    for (std::uint32_t row = 0; row < run_.model.resources(); ++row) {
      if (!run_.operation[row] || run_.unit[row] != row || run_.request[row] == kNone) continue;
      const Execution::Interval time = run_.operation_time(row);
      bounds[run_.request[row]].operations_ns += within(run_.request[row], time.start, time.end);
    }
  }
  [[nodiscard]] std::uint64_t within(std::uint32_t request, std::uint64_t start, std::uint64_t end) const noexcept {
    start = std::max(start, run_.requests[request].start);
    end = std::min(end, run_.requests[request].end);
    return end > start ? end - start : 0;
  }

  /// Of each needed callback the part before the last moment that is needed of it, added up by lane.
  std::uint64_t busiest_lane() {
    if (end_node_ == kNone) return 0;
    needed_.assign(nodes_.size(), 0);
    for (const Edge& edge : edges_) {
      if (edge.from != kNone) needed_[edge.from] = std::max(needed_[edge.from], edge.offset);
    }
    std::uint64_t& last = needed_[local_of_[end_node_]];
    last = std::max(last, end_offset_);
    const Execution::Request& of = run_.requests[prepared_];
    if (loads_.empty()) loads_.assign(run_.lanes(), 0);
    lanes_used_.clear();
    for (std::uint32_t at = 0; at < nodes_.size(); ++at) {
      const std::uint32_t node = nodes_[at];
      if (node >= invocations() || needed_[at] == 0 || run_.is_span(node)) continue;
      const std::uint64_t from = std::max(of.start, run_.start(node));
      const std::uint64_t to = std::min({run_.start(node) + needed_[at], run_.end(node), of.end});
      if (to <= from) continue;
      std::uint64_t sum = 0;
      const std::uint32_t lane = run_.lane[node];
      for (std::uint32_t next = run_.first_segment[node]; next < run_.segment_first[lane + 1]; ++next) {
        const Execution::Segment& segment = run_.segments[next];
        if (segment.start >= to) break;
        if (segment.owner != node || segment.end <= from) continue;
        sum += std::min(segment.end, to) - std::max(segment.start, from);
      }
      std::uint64_t& load = loads_[lane];
      if (load == 0 && sum != 0) lanes_used_.push_back(lane);
      load += sum;
    }
    std::uint64_t most = 0;
    for (const std::uint32_t lane : lanes_used_) {
      most = std::max(most, loads_[lane]);
      loads_[lane] = 0;
    }
    return most;
  }

  /// Backwards through the values that were evaluated last: the latest that each may be.
  void find_slack(std::uint32_t request) {
    if (end_node_ == kNone) return;
    needed_.assign(nodes_.size(), kNoSlack);  // the slack of each node
    needed_[local_of_[end_node_]] = 0;
    for (std::size_t at = nodes_.size(); at-- > 0;) {
      if (needed_[at] == kNoSlack) continue;
      for (std::uint32_t next = edge_first_[at]; next < edge_first_[at + 1]; ++next) {
        const Edge& edge = edges_[next];
        if (edge.from == kNone) continue;
        const std::uint64_t room = value_[at] - (value_[edge.from] + edge.offset + edge.extra) + needed_[at];
        needed_[edge.from] = std::min(needed_[edge.from], room);
      }
    }
    for (std::size_t at = 0; at < nodes_.size(); ++at) {
      if (needed_[at] == kNoSlack || is_cut(nodes_[at])) continue;
      const std::uint32_t row = nodes_[at] < invocations() ? run_.resource_of(nodes_[at]) : nodes_[at] - invocations();
      if (run_.request[row] != request) continue;
      std::uint64_t& slack = slack_[run_.unit[row]];
      slack = std::min(slack, needed_[at]);
    }
  }

  void find_members(std::uint32_t request) {
    const auto begin = static_cast<std::ptrdiff_t>(members_.size());
    if (on_path_.empty()) on_path_.assign(run_.model.resources(), 0);
    for (const PathSegment& part : paths_.of(request)) {
      if (part.resource == kNone || part.unnamed) continue;
      if (part.kind != PathKind::kExec && part.kind != PathKind::kWait && part.kind != PathKind::kQueue) continue;
      std::uint64_t& sum = on_path_[run_.unit[part.resource]];
      if (sum == 0) members_.push_back({run_.unit[part.resource], 0, 0, false});
      sum += part.length();
    }
    for (auto at = members_.begin() + begin; at != members_.end(); ++at) {
      at->on_path_ns = on_path_[at->unit];
      on_path_[at->unit] = 0;
    }
    std::sort(members_.begin() + begin, members_.end(), [](const PathMember& a, const PathMember& b) {
      return a.on_path_ns != b.on_path_ns ? a.on_path_ns > b.on_path_ns : a.unit < b.unit;
    });
    const auto some = std::min<std::size_t>(run_.settings.path.savings_per_request, members_.size() - static_cast<std::size_t>(begin));
    for (std::size_t at = 0; at < some; ++at) {
      PathMember& member = members_[static_cast<std::size_t>(begin) + at];
      const std::uint32_t unit[] = {member.unit};
      member.saving_ns = bounds[request].dependency_ns - duration(evaluate_without(unit));
      member.saving_known = true;
    }
    member_first_.push_back(static_cast<std::uint32_t>(members_.size()));
  }

  static constexpr std::uint32_t kOpen = std::uint32_t{1} << 31;

  const Execution& run_;
  const CriticalPaths& paths_;
  std::vector<PathMember> members_;
  std::vector<std::uint32_t> member_first_;
  std::vector<std::uint64_t> slack_;

  // The request that was asked for last.
  std::uint32_t prepared_ = kNone;
  std::uint32_t end_node_ = kNone;
  std::uint64_t end_offset_ = 0;
  std::vector<std::uint32_t> nodes_;  // causes before effects
  std::vector<Edge> edges_;
  std::vector<std::uint32_t> edge_first_;
  std::vector<std::uint32_t> local_of_;  // by node: its place in nodes_, if that says so too
  std::vector<std::uint64_t> value_;
  std::vector<std::uint64_t> plain_;  // as it is, with nothing taken away
  std::vector<std::uint8_t> changed_;  // of the evaluation without some: see mark_changed
  std::vector<std::uint64_t> needed_;
  std::vector<Together> together_;  // by row
  std::vector<std::uint64_t> loads_;      // by lane; zeros between two requests
  std::vector<std::uint32_t> lanes_used_;
  std::vector<std::uint64_t> on_path_;    // by unit; zeros between two requests
  std::vector<Zero> zeros_;
  std::vector<std::uint32_t> zero_units_;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> inner_;  // a resource, and when the operation that it is a part of was over
  std::vector<Frame> stack_;
  std::vector<Edge> pool_;
};

}  // namespace THENCE_ABI
}  // namespace thence
