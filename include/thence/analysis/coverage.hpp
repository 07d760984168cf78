// SPDX-License-Identifier: MIT
// coverage.hpp: what a trace recorded, so that no result pretends to know more.
//
// A trace without wakes has no scheduling delays, and a delay of zero is not the same. Each analysis says what it needs;
// coverage says what of that is not there, and the report prints it beside the result:
//   const Coverage coverage = coverage_of(model, normal);
//   if (const NeedSet missing = coverage.missing(Need::kWakes | Need::kLanes); missing != NeedSet{}) ...
//   if (coverage.lost_within(begin, end) != 0) ...           // events of that stretch are gone
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// What a result can depend on.
enum class Need : std::uint8_t {
  kStacks,       ///< where resources were created
  kTriggers,     ///< which callback created them
  kCauses,       ///< what made an invocation runnable: a cause, a wake or an awaited settling
  kWakes,        ///< when it was made runnable
  kSettles,      ///< when, and that, resources were settled
  kSettlers,     ///< by whom
  kOutcomes,     ///< how: fulfilled, rejected, cancelled
  kLinks,        ///< who awaits whom
  kLanes,        ///< on which thread callbacks ran
  kParks,        ///< when threads had nothing to run
  kQueueDepths,  ///< how many were waiting for a thread
  kLoopLag,      ///< the event loop's own measurement of its lag
  kCpuSamples,   ///< what the processor was running
  kOffCpuSamples,///< where threads were taken off the processor
  kPauses,       ///< collections of garbage and the like
  kRoots,        ///< which request a resource belongs to
  kComplete,     ///< nothing was lost, and the trace was ended in order
};
inline constexpr unsigned kNeeds = static_cast<unsigned>(Need::kComplete) + 1;

/// A set of needs.
struct NeedSet {
  std::uint32_t bits = 0;

  constexpr NeedSet() = default;
  constexpr NeedSet(Need need) noexcept : bits(std::uint32_t{1} << static_cast<unsigned>(need)) {}  // NOLINT: a set of one
  [[nodiscard]] constexpr bool has(Need need) const noexcept { return (bits >> static_cast<unsigned>(need) & 1) != 0; }
  [[nodiscard]] constexpr bool empty() const noexcept { return bits == 0; }
  friend constexpr bool operator==(NeedSet, NeedSet) = default;
  friend constexpr NeedSet operator|(NeedSet a, NeedSet b) noexcept {
    NeedSet both;
    both.bits = a.bits | b.bits;
    return both;
  }
};
[[nodiscard]] constexpr NeedSet operator|(Need a, Need b) noexcept { return NeedSet(a) | NeedSet(b); }

/// As reports spell it: "recorded: stacks 98 % ...", "not recorded: wakes".
[[nodiscard]] constexpr std::string_view word(Need need) noexcept {
  switch (need) {
    case Need::kStacks: return "stacks";
    case Need::kTriggers: return "triggers";
    case Need::kCauses: return "causes";
    case Need::kWakes: return "wakes";
    case Need::kSettles: return "settles";
    case Need::kSettlers: return "settlers";
    case Need::kOutcomes: return "outcomes";
    case Need::kLinks: return "links";
    case Need::kLanes: return "lanes";
    case Need::kParks: return "parks";
    case Need::kQueueDepths: return "queue-depths";
    case Need::kLoopLag: return "loop-lag";
    case Need::kCpuSamples: return "cpu-samples";
    case Need::kOffCpuSamples: return "off-cpu-samples";
    case Need::kPauses: return "pauses";
    case Need::kRoots: return "roots";
    case Need::kComplete: return "complete";
  }
  return "unknown";
}

/// What was recorded of one need: `have` of `of`. Where there is nothing that could have it (`of` is 0: how many wakes there
/// ought to be, nobody knows), `have` alone counts.
struct Recorded {
  std::uint64_t have = 0;
  std::uint64_t of = 0;

  [[nodiscard]] constexpr bool any() const noexcept { return have != 0; }
  [[nodiscard]] constexpr bool all() const noexcept { return have >= of && (have != 0 || of == 0); }
};

/// What a trace holds, counted once.
///   Threads   any number of readers.
///   Cost      coverage_of: O(n) in all records. lost_within: O(losses).
///   Lifetime  stands alone.
struct Coverage {
  Recorded recorded[kNeeds];

  struct Lost {
    std::uint32_t lane = TraceModel::kNone;
    std::uint64_t count = 0;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };
  std::vector<Lost> losses;         ///< the trace's own records, by time
  std::uint64_t lost = 0;           ///< events, in all: the greater of what the records and what the summary says
  std::uint64_t late = 0;           ///< out of order, kept all the same
  std::uint64_t after_seal = 0;     ///< of requests that were closed: not kept
  bool ended = false;               ///< the trace has its last word
  bool inferred_wakes = false;      ///< none was recorded; those there are follow by rule
  std::uint64_t orphans = 0;        ///< resources whose trigger is not in the trace
  std::uint64_t edges_dropped = 0;  ///< triggers later than what they created
  std::uint64_t skew = 0;           ///< times that ran backwards
  std::uint64_t open_invocations = 0;
  std::uint64_t light_requests = 0; ///< whose promises were not followed: only the host's own operations are there
  TraceModel::Quality quality;      ///< what else the records had wrong with them

  [[nodiscard]] const Recorded& operator[](Need need) const noexcept { return recorded[static_cast<unsigned>(need)]; }

  /// Those of `needs` of which nothing at all was recorded.
  [[nodiscard]] NeedSet missing(NeedSet needs) const noexcept {
    NeedSet absent;
    for (unsigned at = 0; at < kNeeds; ++at) {
      const auto need = static_cast<Need>(at);
      if (needs.has(need) && !recorded[at].any()) absent = absent | need;
    }
    return absent;
  }
  /// Those of `needs` that are not recorded for everything: the missing ones are among them.
  [[nodiscard]] NeedSet partial(NeedSet needs) const noexcept {
    NeedSet absent;
    for (unsigned at = 0; at < kNeeds; ++at) {
      const auto need = static_cast<Need>(at);
      if (needs.has(need) && !(recorded[at].any() && recorded[at].all())) absent = absent | need;
    }
    return absent;
  }
  /// How many events were lost on any lane in stretches that overlap [begin, end].
  [[nodiscard]] std::uint64_t lost_within(std::uint64_t begin, std::uint64_t end) const noexcept {
    std::uint64_t count = 0;
    for (const Lost& loss : losses) {
      if (loss.first <= end && loss.last >= begin) count += loss.count;
    }
    return count;
  }
};

/// Requests that the host traced without following their promises, as it says in an annotation of the root.
[[nodiscard]] inline std::uint64_t light_requests(const TraceModel& model) noexcept {
  std::uint64_t count = 0;
  for (const TraceModel::Root& root : model.roots) {
    if (root.resource == TraceModel::kNone) continue;
    for (const TraceModel::Note& note : model.notes_of(root.resource)) {
      if (note.kind != ValueKind::kString || model.text(note.key) != kTracingKey || note.text != kTracingLight) continue;
      ++count;
      break;
    }
  }
  return count;
}

/// Counts what is there.
[[nodiscard]] inline Coverage coverage_of(const TraceModel& model, const Normalised& normal) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  Coverage coverage;
  const auto have = [&](Need need) -> Recorded& { return coverage.recorded[static_cast<unsigned>(need)]; };
  const auto count = [&](Need need, bool is) {
    ++have(need).of;
    if (is) ++have(need).have;
  };
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    if (!model.has(row, ResourceFlag::kCreated)) continue;
    const bool is_root = model.root[row] != kNone && model.roots[model.root[row]].resource == row;
    if (!is_root) {
      count(Need::kTriggers, model.trigger[row] != kNone && model.has(model.trigger[row], ResourceFlag::kCreated));
      count(Need::kStacks, model.stack[row] != kNone && model.stacks[model.stack[row]].defined &&
                               model.stacks[model.stack[row]].count != 0);
    }
    count(Need::kRoots, model.root[row] != kNone);
    const bool settled = model.has(row, ResourceFlag::kSettled);
    count(Need::kSettles, settled);
    if (settled) {
      count(Need::kSettlers, model.settled_by(row) != Actor::kUnknown || model.settler[row] != kNone);
      count(Need::kOutcomes, model.outcome(row) != Outcome::kUnknown);
    }
  }
  for (const TraceModel::Invocation& invocation : model.invocations) {
    count(Need::kLanes, invocation.lane != kNone);
    count(Need::kCauses, invocation.cause != CauseKind::kUnspecified || invocation.wake != kNone);
    count(Need::kWakes, invocation.wake != kNone);
  }
  have(Need::kLinks).have = model.links.size();
  for (const TraceModel::LaneEvent& event : model.lane_events) {
    const bool pause = event.kind == EventKind::kPauseBegan || event.kind == EventKind::kPauseEnded;
    ++have(pause ? Need::kPauses : Need::kParks).have;
  }
  for (const TraceModel::CounterSample& sample : model.counter_samples) {
    const CounterId id = model.counters[sample.counter].id;
    const std::string_view name = model.text(model.counters[sample.counter].name);
    if (id == CounterId::kQueueDepth || name.find("queue depth") != std::string_view::npos) ++have(Need::kQueueDepths).have;
    if (id == CounterId::kLoopLag) ++have(Need::kLoopLag).have;
  }
  for (const TraceModel::Sample& sample : model.samples) {
    ++have(sample.kind == SampleKind::kCpu ? Need::kCpuSamples : Need::kOffCpuSamples).have;
  }
  std::uint64_t recorded_losses = 0;
  for (const TraceModel::Loss& loss : model.losses) {
    coverage.losses.push_back({loss.lane, loss.count, loss.first, loss.last});
    recorded_losses += loss.count;
  }
  std::sort(coverage.losses.begin(), coverage.losses.end(), [](const Coverage::Lost& a, const Coverage::Lost& b) {
    if (a.first != b.first) return a.first < b.first;
    return a.last != b.last ? a.last < b.last : a.lane < b.lane;
  });
  std::uint64_t by_lane = 0;
  for (const TraceModel::LaneTotals& totals : model.lane_totals) by_lane += totals.lost.count;
  coverage.lost = std::max({recorded_losses, by_lane, model.summary.lost});
  coverage.late = model.summary.late_events;
  coverage.after_seal = model.summary.after_seal;
  coverage.ended = model.has_summary;
  coverage.inferred_wakes = normal.inferred;
  coverage.orphans = normal.orphans;
  coverage.edges_dropped = normal.edges_dropped;
  coverage.skew = normal.skew;
  coverage.open_invocations = normal.open_invocations;
  coverage.light_requests = light_requests(model);
  coverage.quality = model.quality;
  have(Need::kComplete) = {coverage.lost == 0 && coverage.quality.unknown_creations == 0 ? std::uint64_t{1} : 0, 1};
  return coverage;
}

}  // namespace THENCE_ABI
}  // namespace thence
