// SPDX-License-Identifier: MIT
// event_loop.hpp: what kept the event loop from looking outside, for how long, and what became of the tasks.
//
// A loop that runs one callback for 300 ms answers nobody meanwhile. Three views of that, and the book of tasks:
//   const EventLoop loop = event_loop_of(run, where, scheduling, coverage);
//   for (const EventLoop::Call& call : loop.calls) ...      // blocking and slow callbacks, with the stack that blocked
//   for (const EventLoop::Lag& lag : loop.lags) ...         // each stretch in which the loop was late, and who caused it
//   for (const EventLoop::Tasks& tasks : loop.tasks) ...    // created, settled, rejected, cancelled, pending, by location
// A *turn* is a stretch in which a lane did not look outside: runs one after the other, less than turn_gap_ns apart, none but
// the first begun from outside, the lane never parked. Something that comes in at a moment of a turn is served when it
// ends: the loop's *lag* at that moment. So the distribution of lag over all moments follows exactly from the lengths of
// the turns; it is not sampled. Where the host has measured its lag itself (counter loop-lag) that is shown beside it.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/coverage.hpp"
#include "thence/analysis/durations.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/analysis/scheduling.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/words.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Rows are those of the model; lanes those of Execution.
///   Lifetime  stands alone; rows mean something with their model.
struct EventLoop {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  /// How a call's stack is known: seen while it ran (a watchdog, a sampler), where the call began, where its resource was
  /// created.
  enum class StackOf : std::uint8_t { kNothing, kSampled, kCall, kCreation };

  /// A callback that held its lane for long. Of nested ones the innermost that did.
  struct Call {
    std::uint32_t invocation = kNone;
    std::uint64_t held_ns = 0;            ///< with what it called
    std::uint64_t self_ns = 0;
    bool blocking = false;                ///< else slow
    StackOf stack_of = StackOf::kNothing;
    std::uint32_t stack = kNone;          ///< of several the one that was seen most
    std::uint64_t samples = 0;            ///< in this call
    std::uint32_t location = kNone;       ///< row of `frames`: the first of the user's in that stack
  };
  /// A stretch in which a lane was late for whatever came in.
  struct Lag {
    std::uint32_t lane = kNone;
    std::uint64_t start_ns = 0;
    std::uint64_t lag_ns = 0;
    bool reported = false;                ///< by the host's own measurement; else a turn
    std::uint64_t runs = 0;               ///< in it
    std::uint32_t culprit = kNone;        ///< the invocation that held the lane longest in it
    std::uint64_t culprit_ns = 0;
  };
  struct LaneLag {
    std::uint32_t lane = kNone;
    std::uint64_t window_ns = 0;
    std::uint64_t turns = 0;
    std::uint64_t over = 0;               ///< turns over lag_warn_ns
    std::uint64_t late_ns = 0;            ///< moments at which the lag was over lag_warn_ns
    std::uint64_t p50_ns = 0;             ///< of all moments of the lane's window
    std::uint64_t p99_ns = 0;
    std::uint64_t p999_ns = 0;
    std::uint64_t max_ns = 0;
    Durations reported;                   ///< what the host measured
  };
  /// created = fulfilled + rejected + cancelled + settled_unknown + ended_unsaid + pending + not_told.
  struct Tasks {
    std::uint32_t location = kNone;       ///< of Locations; kNone: all that is beyond the list
    std::uint16_t type = 0;               ///< TypeId
    std::uint64_t created = 0;
    std::uint64_t fulfilled = 0;
    std::uint64_t rejected = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t settled_unknown = 0;    ///< settled; the trace does not say how
    std::uint64_t ended_unsaid = 0;       ///< destroyed, or of a kind that runs once and has run
    std::uint64_t not_told = 0;           ///< of a trace that records no settling at all: it may have ended, or not
    std::uint64_t pending = 0;
    std::uint64_t pending_since_ns = 0;   ///< the oldest, where there is one
    std::uint32_t oldest = kNone;         ///< resource
  };

  NeedSet missing;
  std::uint64_t blocking = 0;
  std::uint64_t slow = 0;
  std::vector<Call> calls;                ///< the longest first
  std::vector<LaneLag> lanes;
  std::uint64_t lags_over = 0;
  std::vector<Lag> lags;                  ///< the longest first
  Tasks all;
  std::vector<Tasks> tasks;               ///< the most pending first, then the most created
  std::uint64_t tasks_not_listed = 0;     ///< locations in the last entry
  std::vector<Finding> findings;
};

namespace detail {

class EventLoopMaker {
 public:
  EventLoopMaker(const Execution& run, const Locations& where, const Scheduling& scheduling, const Coverage& coverage)
      : run_(run), model_(run.model), where_(where), scheduling_(scheduling), coverage_(coverage), settings_(run.settings.event_loop) {}

  [[nodiscard]] EventLoop make() {
    out_.missing = coverage_.missing(NeedSet(Need::kLanes) | Need::kCauses | Need::kLoopLag | Need::kCpuSamples | Need::kOutcomes);
    find_calls();
    find_turns();
    find_reported_lags();
    keep_longest_lags();
    count_tasks();
    diagnose_lags();
    return std::move(out_);
  }

 private:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  [[nodiscard]] std::uint32_t invocations() const noexcept { return static_cast<std::uint32_t>(model_.invocations.size()); }
  [[nodiscard]] std::uint64_t held(std::uint32_t at) const noexcept { return run_.end(at) - run_.start(at); }

  // -- calls ----------------------------------------------------------------------------------------------------------

  void find_calls() {
    std::vector<bool> excused(invocations(), false);  // something in it held the lane, and is listed instead
    std::vector<std::uint32_t> over;
    for (std::uint32_t at = 0; at < invocations(); ++at) {
      if (run_.is_span(at) || held(at) <= settings_.slow_ns) continue;
      over.push_back(at);
      if (run_.container[at] != kNone) excused[run_.container[at]] = true;
    }
    for (const std::uint32_t at : over) {
      if (excused[at] && run_.self[at] <= settings_.slow_ns) continue;
      EventLoop::Call call;
      call.invocation = at;
      call.self_ns = run_.self[at];
      call.held_ns = excused[at] ? run_.self[at] : held(at);
      call.blocking = call.held_ns > settings_.blocking_ns;
      ++(call.blocking ? out_.blocking : out_.slow);
      out_.calls.push_back(call);
    }
    std::sort(out_.calls.begin(), out_.calls.end(), [](const EventLoop::Call& a, const EventLoop::Call& b) {
      return a.held_ns != b.held_ns ? a.held_ns > b.held_ns : a.invocation < b.invocation;
    });
    if (out_.calls.size() > settings_.calls_listed) out_.calls.resize(settings_.calls_listed);
    if (out_.calls.empty()) return;
    samples_by_lane_.build(run_.lanes(), model_.samples.size(), [&](std::uint32_t at) { return model_.samples[at].lane; });
    for (EventLoop::Call& call : out_.calls) find_stack(call);
  }

  void find_stack(EventLoop::Call& call) const {
    const std::uint32_t at = call.invocation;
    const std::uint32_t resource = run_.resource_of(at);
    const auto on_lane = samples_by_lane_[run_.lane[at]];
    auto sample = std::lower_bound(on_lane.begin(), on_lane.end(), run_.start(at),
                                   [&](std::uint32_t row, std::uint64_t time) { return model_.samples[row].time < time; });
    std::vector<std::uint32_t> stacks;
    for (; sample != on_lane.end() && model_.samples[*sample].time < run_.end(at); ++sample) {
      const TraceModel::Sample& seen = model_.samples[*sample];
      if (run_.owner_at(run_.lane[at], seen.time) != at && seen.resource != resource) continue;
      ++call.samples;
      if (seen.stack != kNone && model_.stacks[seen.stack].count != 0) stacks.push_back(seen.stack);
    }
    std::sort(stacks.begin(), stacks.end());
    std::size_t most = 0;
    for (std::size_t from = 0, to = 0; from < stacks.size(); from = to) {
      while (to < stacks.size() && stacks[to] == stacks[from]) ++to;
      if (to - from <= most) continue;
      most = to - from;
      call.stack = stacks[from];
      call.stack_of = EventLoop::StackOf::kSampled;
    }
    const auto take = [&](std::uint32_t stack, EventLoop::StackOf of) {
      if (call.stack != kNone || stack == kNone || model_.stacks[stack].count == 0) return;
      call.stack = stack;
      call.stack_of = of;
    };
    take(model_.invocations[at].stack, EventLoop::StackOf::kCall);
    take(model_.stack[resource], EventLoop::StackOf::kCreation);
    if (call.stack != kNone) call.location = run_.visible.first_user[call.stack];
    if (call.location == kNone) call.location = run_.visible.user_frame(model_, resource);
  }

  // -- lag ------------------------------------------------------------------------------------------------------------

  /// Whether a run was begun by something that came in from outside: the lane had looked there before it.
  [[nodiscard]] bool from_outside(std::uint32_t at) const noexcept {
    const CauseOf kind = run_.cause[at].kind;
    return kind == CauseOf::kExternal || kind == CauseOf::kRoot;
  }

  void find_turns() {
    std::vector<std::vector<std::uint64_t>> parks(model_.lanes.size());
    for (const TraceModel::LaneEvent& event : model_.lane_events) {
      if (event.lane != kNone && (event.kind == EventKind::kParked || event.kind == EventKind::kUnparked)) {
        parks[event.lane].push_back(event.time);
      }
    }
    std::vector<std::uint64_t> lengths;
    for (const Scheduling::Lane& of : scheduling_.lanes) {
      EventLoop::LaneLag lag;
      lag.lane = of.lane;
      lag.window_ns = of.window();
      lengths.clear();
      std::size_t park = 0;
      EventLoop::Lag turn;
      std::uint64_t end = 0;
      bool open = false;
      const auto close = [&] {
        if (!open) return;
        open = false;
        turn.lag_ns = end - turn.start_ns;
        ++lag.turns;
        lengths.push_back(turn.lag_ns);
        if (turn.lag_ns <= settings_.lag_warn_ns) return;
        ++lag.over;
        lag.late_ns += turn.lag_ns - settings_.lag_warn_ns;
        out_.lags.push_back(turn);
      };
      for (const std::uint32_t at : run_.on_lane[of.lane]) {
        if (run_.is_span(at)) continue;
        const std::uint64_t start = run_.start(at);
        bool parked = false;
        if (of.lane < parks.size()) {
          const auto& times = parks[of.lane];
          while (park < times.size() && times[park] <= start) parked = times[park++] >= end || parked;
        }
        if (!open || (start >= end && (parked || start - end >= settings_.turn_gap_ns || from_outside(at)))) {
          close();
          turn = {};
          turn.lane = of.lane;
          turn.start_ns = start;
          end = start;
          open = true;
        }
        end = std::max(end, run_.end(at));
        ++turn.runs;
        if (turn.culprit == kNone || run_.self[at] > turn.culprit_ns) {
          turn.culprit = at;
          turn.culprit_ns = run_.self[at];
        }
      }
      close();
      distribute(lengths, lag);
      out_.lanes.push_back(lag);
    }
    out_.lags_over = out_.lags.size();
  }

  /// At a moment of a turn of length L the lag is what is left of it. So of a window W the moments with a lag over x are the
  /// sum of (L - x) over the turns longer than x, and the q-quantile is the x of which that is (1 - q) W.
  static void distribute(std::vector<std::uint64_t>& lengths, EventLoop::LaneLag& lag) {
    if (lengths.empty()) return;
    std::sort(lengths.begin(), lengths.end(), [](std::uint64_t a, std::uint64_t b) { return a > b; });
    lag.max_ns = lengths.front();
    const auto quantile = [&](std::uint64_t left_of_thousand) {
      const std::uint64_t wanted = lag.window_ns / 1000 * left_of_thousand + lag.window_ns % 1000 * left_of_thousand / 1000;
      std::uint64_t sum = 0;
      for (std::size_t n = 1; n <= lengths.size(); ++n) {
        sum += lengths[n - 1];
        const std::uint64_t below = n < lengths.size() ? lengths[n] : 0;
        // With x at `below` the n longest give so many moments: where that is enough, x lies above it.
        if (sum - below * n < wanted) continue;
        return (sum - wanted) / n;
      }
      return std::uint64_t{0};
    };
    lag.p50_ns = quantile(500);
    lag.p99_ns = quantile(10);
    lag.p999_ns = quantile(1);
  }

  void find_reported_lags() {
    std::vector<std::vector<std::uint64_t>> values(run_.lanes());
    for (const TraceModel::CounterSample& sample : model_.counter_samples) {
      if (model_.counters[sample.counter].id != CounterId::kLoopLag || sample.lane == kNone) continue;
      const Value value = TraceModel::value_of(sample.kind, sample.bits);
      std::uint64_t ns = 0;
      if (value.kind == ValueKind::kUint) ns = value.uinteger;
      else if (value.kind == ValueKind::kInt) ns = value.integer < 0 ? 0 : static_cast<std::uint64_t>(value.integer);
      else if (value.kind == ValueKind::kDouble) ns = value.real >= 0 && value.real < 9e15 ? static_cast<std::uint64_t>(value.real) : 0;
      values[sample.lane].push_back(ns);
      if (ns <= settings_.lag_warn_ns) continue;
      EventLoop::Lag lag;
      lag.lane = sample.lane;
      lag.reported = true;
      lag.lag_ns = ns;
      lag.start_ns = sample.time - std::min(sample.time, ns);
      reported_.push_back(lag);
    }
    for (EventLoop::LaneLag& lane : out_.lanes) lane.reported = durations_of(values[lane.lane]);
    out_.lags_over += reported_.size();
  }

  void keep_longest_lags() {
    const auto longer = [](const EventLoop::Lag& a, const EventLoop::Lag& b) {
      if (a.lag_ns != b.lag_ns) return a.lag_ns > b.lag_ns;
      if (a.start_ns != b.start_ns) return a.start_ns < b.start_ns;
      return a.lane != b.lane ? a.lane < b.lane : a.reported < b.reported;
    };
    turns_over_ = out_.lags;
    std::sort(reported_.begin(), reported_.end(), longer);
    if (reported_.size() > settings_.lags_listed) reported_.resize(settings_.lags_listed);
    for (EventLoop::Lag& lag : reported_) {
      find_culprit(lag);
      out_.lags.push_back(lag);
    }
    std::sort(out_.lags.begin(), out_.lags.end(), longer);
    if (out_.lags.size() > settings_.lags_listed) out_.lags.resize(settings_.lags_listed);
  }

  /// Who held the lane longest in the time of a reported lag.
  void find_culprit(EventLoop::Lag& lag) const {
    const std::uint64_t from = lag.start_ns, to = lag.start_ns + lag.lag_ns;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> owners;
    for (std::uint32_t s = run_.segment_after(lag.lane, from); s < run_.segment_first[lag.lane + 1] && run_.segments[s].start < to; ++s) {
      const Execution::Segment& segment = run_.segments[s];
      owners.push_back({segment.owner, std::min(segment.end, to) - std::max(segment.start, from)});
    }
    std::sort(owners.begin(), owners.end());
    for (std::size_t at = 0; at < owners.size();) {
      std::uint64_t ns = 0;
      const std::uint32_t owner = owners[at].first;
      for (; at < owners.size() && owners[at].first == owner; ++at) ns += owners[at].second;
      ++lag.runs;
      if (ns <= lag.culprit_ns) continue;
      lag.culprit_ns = ns;
      lag.culprit = owner;
    }
  }

  // -- tasks ----------------------------------------------------------------------------------------------------------

  void count_tasks() {
    std::vector<bool> resolved;
    for (const TraceModel::Extra& extra : model_.extras) {
      if (extra.kind != EventKind::kSettled || static_cast<Outcome>(extra.flags & 0xf) != Outcome::kResolved || extra.resource == kNone) continue;
      if (resolved.empty()) resolved.assign(model_.resources(), false);
      resolved[extra.resource] = true;
    }
    std::vector<bool> finished(model_.resources(), false);
    for (const TraceModel::Root& root : model_.roots) {
      if (root.resource != kNone && root.has_finished) finished[root.resource] = true;
    }
    IdMap places;  // by location and type: few, and in any order
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      if (!model_.has(row, ResourceFlag::kCreated)) continue;
      const std::uint64_t key = (std::uint64_t{where_.of[row]} << 16 | model_.type[row]) + 1;
      std::uint32_t place = places.find(key);
      if (place == IdMap::kAbsent) {
        place = static_cast<std::uint32_t>(out_.tasks.size());
        places.insert(key, place);
        out_.tasks.emplace_back();
        out_.tasks.back().location = where_.of[row];
        out_.tasks.back().type = model_.type[row];
      }
      count(row, out_.tasks[place], !resolved.empty() && resolved[row], finished[row]);
    }
    for (const EventLoop::Tasks& tasks : out_.tasks) add(out_.all, tasks);
    std::sort(out_.tasks.begin(), out_.tasks.end(), [](const EventLoop::Tasks& a, const EventLoop::Tasks& b) {
      if (a.pending != b.pending) return a.pending > b.pending;
      if (a.created != b.created) return a.created > b.created;
      return a.location != b.location ? a.location < b.location : a.type < b.type;
    });
    if (out_.tasks.size() <= settings_.locations_listed || settings_.locations_listed == 0) return;
    EventLoop::Tasks rest;
    for (std::size_t at = settings_.locations_listed; at < out_.tasks.size(); ++at) add(rest, out_.tasks[at]);
    out_.tasks_not_listed = out_.tasks.size() - settings_.locations_listed;
    out_.tasks.resize(settings_.locations_listed);
    out_.tasks.push_back(rest);
  }

  void count(std::uint32_t row, EventLoop::Tasks& tasks, bool resolved, bool finished) const {
    ++tasks.created;
    if (model_.has(row, ResourceFlag::kSettled)) {
      switch (model_.outcome(row)) {
        case Outcome::kFulfilled: ++tasks.fulfilled; return;
        case Outcome::kRejected: ++tasks.rejected; return;
        case Outcome::kCancelled: ++tasks.cancelled; return;
        default: ++tasks.settled_unknown; return;
      }
    }
    Life life;
    life.type = static_cast<TypeId>(model_.type[row]);
    life.created = true;
    life.resolved = resolved;
    life.destroyed = model_.has(row, ResourceFlag::kDestroyed);
    life.finished = finished;
    for (const std::uint32_t at : model_.invocations_of(row)) {
      if (model_.invocations[at].ended) {
        life.ran = true;
      } else {
        ++life.running;
      }
    }
    if (life.ended()) {
      ++tasks.ended_unsaid;
      return;
    }
    if (run_.settle_known[row]) {  // by rule
      ++tasks.settled_unknown;
      return;
    }
    if (!coverage_[Need::kSettles].any() && life.running == 0) {
      ++tasks.not_told;
      return;
    }
    ++tasks.pending;
    if (tasks.oldest != kNone && (tasks.pending_since_ns < model_.created[row] ||
                                  (tasks.pending_since_ns == model_.created[row] && tasks.oldest < row))) {
      return;
    }
    tasks.oldest = row;
    tasks.pending_since_ns = model_.created[row];
  }
  static void add(EventLoop::Tasks& to, const EventLoop::Tasks& more) noexcept {
    to.created += more.created;
    to.fulfilled += more.fulfilled;
    to.rejected += more.rejected;
    to.cancelled += more.cancelled;
    to.settled_unknown += more.settled_unknown;
    to.ended_unsaid += more.ended_unsaid;
    to.not_told += more.not_told;
    to.pending += more.pending;
    if (more.oldest == kNone) return;
    if (to.oldest == kNone || more.pending_since_ns < to.pending_since_ns ||
        (more.pending_since_ns == to.pending_since_ns && more.oldest < to.oldest)) {
      to.oldest = more.oldest;
      to.pending_since_ns = more.pending_since_ns;
    }
  }

  // -- findings -------------------------------------------------------------------------------------------------------

  /// One a location that caused lag: the turns in which it held the lane longest.
  void diagnose_lags() {
    struct Case {
      std::uint64_t turns = 0;
      std::uint64_t late_ns = 0;
      EventLoop::Lag worst;
    };
    std::vector<Case> cases(where_.entries.size());
    for (const EventLoop::Lag& lag : turns_over_) {
      if (lag.culprit == kNone) continue;
      Case& one = cases[where_.of[run_.resource_of(lag.culprit)]];
      ++one.turns;
      one.late_ns += lag.lag_ns - settings_.lag_warn_ns;
      if (lag.lag_ns > one.worst.lag_ns) one.worst = lag;
    }
    for (std::uint32_t entry = 0; entry < cases.size(); ++entry) {
      const Case& one = cases[entry];
      if (one.turns == 0) continue;
      const EventLoop::Lag& worst = one.worst;
      Finding found;
      found.id = "loop-lag";
      found.severity = worst.lag_ns > settings_.blocking_ns ? Severity::kMedium : Severity::kLow;
      found.confidence = worst.culprit_ns * 2 > worst.lag_ns ? Confidence::kHigh : Confidence::kMedium;
      found.request = run_.request[run_.resource_of(worst.culprit)];
      found.lane = worst.lane < model_.lanes.size() ? worst.lane : kNone;
      found.start_ns = worst.start_ns;
      found.end_ns = worst.start_ns + worst.lag_ns;
      found.resources = {run_.resource_of(worst.culprit)};
      found.invocations = {worst.culprit};
      found.location = where_.entries[entry].frame;
      found.mute_key = std::string("loop-lag|") + where_.entries[entry].text;
      found.summary = report::lane_text(model_, worst.lane) + " did not look outside for " + report::duration_text(worst.lag_ns) + ", of it " +
                      report::duration_text(worst.culprit_ns) + " in " + where_.entries[entry].text;
      found.says("turns over the limit", Evidence::Unit::kCount, one.turns);
      found.says("longest turn", Evidence::Unit::kNanoseconds, worst.lag_ns);
      found.says("callbacks in it", Evidence::Unit::kCount, worst.runs);
      found.says("of it in this location", Evidence::Unit::kNanoseconds, worst.culprit_ns);
      found.advice = worst.runs == 1 || worst.culprit_ns * 2 > worst.lag_ns
                         ? "One callback holds the loop: split it, yield in it, or move it off this thread."
                         : "Many callbacks run without a break: let the loop look outside between them (yield to a macrotask).";
      out_.findings.push_back(std::move(found));
    }
    sort_findings(model_, out_.findings);
    const std::size_t kept = run_.settings.scheduling.findings_a_kind;
    if (out_.findings.size() <= kept || kept == 0) return;
    out_.findings[kept - 1].says("more of this kind", Evidence::Unit::kCount, out_.findings.size() - kept);
    out_.findings.resize(kept);
  }

  const Execution& run_;
  const TraceModel& model_;
  const Locations& where_;
  const Scheduling& scheduling_;
  const Coverage& coverage_;
  const EventLoopSettings& settings_;
  EventLoop out_;
  RowIndex samples_by_lane_;
  std::vector<EventLoop::Lag> turns_over_;
  std::vector<EventLoop::Lag> reported_;
};

}  // namespace detail

///   Cost      O(n log n).
///   Errors    std::bad_alloc.
[[nodiscard]] inline EventLoop event_loop_of(const Execution& run, const Locations& where, const Scheduling& scheduling,
                                             const Coverage& coverage) {
  return detail::EventLoopMaker(run, where, scheduling, coverage).make();
}

}  // namespace THENCE_ABI
}  // namespace thence
