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

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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
#include "thence/config/version.hpp"
#include "thence/formats/words.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Rows are those of the model; lanes those of Execution.
///   Lifetime  stands alone; rows mean something with their model.
struct Scheduling {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  struct Lane {
    std::uint32_t lane = kNone;          ///< of Execution; those of the model come first
    std::uint64_t first_ns = 0;          ///< its window
    std::uint64_t last_ns = 0;
    std::uint64_t runs = 0;
    std::uint64_t busy_ns = 0;
    std::uint64_t parked_ns = 0;
    std::uint64_t paused_ns = 0;
    std::uint64_t neither_ns = 0;
    bool parks_known = false;
    Durations delays;
    Durations durations;                 ///< of its runs
    Durations depths;                    ///< its queue, at the start of each run
    bool depths_recorded = false;        ///< by a counter; else counted from what is known to be ready
    std::vector<std::uint16_t> busy_permille;  ///< of equal parts of the trace's time
    [[nodiscard]] std::uint64_t window() const noexcept { return last_ns - first_ns; }
  };
  struct Location {
    std::uint32_t location = kNone;      ///< of Locations
    std::uint64_t tasks = 0;             ///< resources that ran
    std::uint64_t runs = 0;
    std::uint64_t busy_ns = 0;           ///< self time
    std::uint64_t self_wakes = 0;        ///< runs that an earlier run of the same resource had woken
    std::uint64_t blamed_ns = 0;         ///< what it added to others' delays that are over explain_over_ns
    Durations delays;
    Durations durations;
    Durations depths;
  };
  /// Lanes of one pool: of one process, and of names that differ in a number only.
  struct Pool {
    std::string name;
    std::vector<std::uint32_t> lanes;    ///< indexes of `lanes`
    std::uint32_t least_permille = 0;    ///< of the pool's time
    std::uint32_t most_permille = 0;
  };
  struct Blocker {
    std::uint32_t location = kNone;
    std::uint64_t ns = 0;
    std::uint64_t runs = 0;
  };
  /// A delay and where it went: the blockers (those beyond the list in `others_ns`), pauses, parked, idle add up to it.
  struct Blocked {
    std::uint32_t invocation = kNone;
    std::uint32_t lane = kNone;
    std::uint64_t ready_ns = 0;
    std::uint64_t delay_ns = 0;
    std::uint64_t others_ns = 0;
    std::uint64_t parked_ns = 0;
    std::uint64_t paused_ns = 0;
    std::uint64_t idle_ns = 0;           ///< the lane was free
    std::uint64_t samples = 0;           ///< taken of the lane in this time
    std::uint32_t top_stack = kNone;     ///< the one that most of them show
    bool moved = false;                  ///< its run before was on another lane
    std::vector<Blocker> blockers;       ///< the longest first
  };
  enum class SampleState : std::uint8_t { kRunning, kParked, kNeither };
  struct SampleGroup {
    std::uint32_t location = kNone;      ///< of what was running; kNone: nothing
    std::uint32_t stack = kNone;
    SampleKind kind = SampleKind::kCpu;
    SampleState state = SampleState::kNeither;
    std::uint64_t count = 0;
    std::uint64_t while_delayed = 0;     ///< of them, while somebody waited for this lane for over explain_over_ns
  };

  NeedSet missing;                       ///< of wakes, lanes, parks, queue depths and samples
  Durations delays;
  Durations durations;
  Log2Histogram delay_histogram;
  Log2Histogram duration_histogram;
  std::uint64_t runs = 0;
  std::uint64_t delays_unknown = 0;      ///< runs of which nothing tells when they were ready
  Durations global_depths;               ///< of the queue that all lanes share: its samples
  std::uint64_t wakes = 0;
  std::uint64_t wakes_again = 0;         ///< of what was ready already
  std::uint64_t self_wakes = 0;
  std::vector<Lane> lanes;
  std::uint64_t lanes_not_told = 0;      ///< requests without a lane, beyond those listed
  std::vector<Location> locations;       ///< the busiest first
  std::vector<Pool> pools;
  std::uint64_t over_limit = 0;          ///< delays over explain_over_ns
  std::uint64_t over_limit_ns = 0;
  std::vector<Blocked> blocked;          ///< the longest first
  std::vector<SampleGroup> samples;      ///< the most first
  std::uint64_t samples_without_lane = 0;
  std::vector<Finding> findings;
};

namespace detail {

/// Makes a Scheduling, step by step.
class SchedulingMaker {
 public:
  SchedulingMaker(const Execution& run, const Locations& where, const Coverage& coverage)
      : run_(run), model_(run.model), where_(where), coverage_(coverage), settings_(run.settings.scheduling) {}

  [[nodiscard]] Scheduling make() {
    out_.missing = coverage_.missing(NeedSet(Need::kWakes) | Need::kLanes | Need::kParks | Need::kQueueDepths | Need::kCpuSamples);
    find_delays();
    find_counters();
    find_lanes();
    find_locations();
    find_pools();
    explain_delays();
    attribute_samples();
    count_wakes();
    diagnose_build_up();
    diagnose_inversion();
    diagnose_cpu_bound();
    diagnose_imbalance();
    diagnose_self_wakes();
    diagnose_lost_wakes();
    diagnose_never_yielded();
    for (Finding& found : out_.findings) finish(model_, found);
    sort_findings(model_, out_.findings);
    return std::move(out_);
  }

 private:
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};
  static constexpr std::uint32_t kLanesWithoutNames = 64;

  struct Step {
    std::uint64_t time;
    std::uint64_t value;
  };

  [[nodiscard]] std::uint32_t invocations() const noexcept { return static_cast<std::uint32_t>(model_.invocations.size()); }
  [[nodiscard]] std::uint32_t location_of(std::uint32_t at) const noexcept { return where_.of[run_.resource_of(at)]; }
  [[nodiscard]] std::uint64_t duration_of(std::uint32_t at) const noexcept { return run_.end(at) - run_.start(at); }

  // -- delays ---------------------------------------------------------------------------------------------------------

  void find_delays() {
    delay_.assign(invocations(), kUnknown);
    std::vector<std::uint64_t> delays, durations;
    delays.reserve(invocations());
    durations.reserve(invocations());
    for (std::uint32_t at = 0; at < invocations(); ++at) {
      if (run_.is_span(at)) continue;
      ++out_.runs;
      durations.push_back(duration_of(at));
      out_.duration_histogram.add(duration_of(at));
      const Execution::Cause& cause = run_.cause[at];
      const bool woken = model_.invocations[at].wake != kNone;
      const bool told = woken || (run_.ready_known[at] && !run_.normal.inferred && !cause.inferred && cause.kind != CauseOf::kUnknown &&
                                  cause.kind != CauseOf::kCalled && (cause.kind != CauseOf::kExternal || cause.resource != kNone));
      if (!told) {
        ++out_.delays_unknown;
        continue;
      }
      delay_[at] = run_.start(at) - run_.ready[at];
      delays.push_back(delay_[at]);
      out_.delay_histogram.add(delay_[at]);
    }
    out_.delays = durations_of(delays);
    out_.durations = durations_of(durations);
  }

  // -- lanes ----------------------------------------------------------------------------------------------------------

  [[nodiscard]] static std::uint64_t depth_of(const TraceModel::CounterSample& sample) noexcept {
    const Value value = TraceModel::value_of(sample.kind, sample.bits);
    switch (value.kind) {
      case ValueKind::kUint: return value.uinteger;
      case ValueKind::kInt: return value.integer < 0 ? 0 : static_cast<std::uint64_t>(value.integer);
      case ValueKind::kDouble:
        return value.real >= 0 && value.real < 9e15 ? static_cast<std::uint64_t>(value.real) : 0;  // not so of a NaN
      default: return 0;
    }
  }

  void find_counters() {
    queue_of_lane_.resize(run_.lanes());
    std::vector<std::uint64_t> global;
    std::vector<bool> is_depth(model_.counters.size(), false);
    for (std::size_t at = 0; at < model_.counters.size(); ++at) {
      is_depth[at] = model_.counters[at].id == CounterId::kQueueDepth ||
                     model_.text(model_.counters[at].name).find("queue depth") != std::string_view::npos;
    }
    for (const TraceModel::CounterSample& sample : model_.counter_samples) {
      if (!is_depth[sample.counter]) continue;
      const Step step{sample.time, depth_of(sample)};
      if (sample.lane != kNone) {
        queue_of_lane_[sample.lane].push_back(step);
      } else {
        global_queue_.push_back(step);
        global.push_back(step.value);
      }
    }
    out_.global_depths = durations_of(global);
  }

  void find_lanes() {
    const auto own = static_cast<std::uint32_t>(model_.lanes.size());
    parked_.resize(run_.lanes());
    std::vector<std::uint64_t> first(run_.lanes(), kUnknown), last(run_.lanes(), 0);
    const auto seen = [&](std::uint32_t lane, std::uint64_t time) {
      if (lane == kNone) return;
      first[lane] = std::min(first[lane], time);
      last[lane] = std::max(last[lane], time);
    };
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      const auto segments = run_.segments_of(lane);
      if (segments.empty()) continue;
      seen(lane, segments.front().start);
      seen(lane, segments.back().end);
    }
    for (const TraceModel::CounterSample& sample : model_.counter_samples) seen(sample.lane, sample.time);
    for (const TraceModel::Sample& sample : model_.samples) seen(sample.lane, sample.time);
    std::vector<std::uint64_t> parked_since(own, kUnknown);
    std::vector<bool> told(own, false);
    for (const TraceModel::LaneEvent& event : model_.lane_events) {
      if (event.lane == kNone) continue;
      seen(event.lane, event.time);
      if (event.kind == EventKind::kParked) {
        if (parked_since[event.lane] == kUnknown) parked_since[event.lane] = event.time;
        told[event.lane] = true;
      } else if (event.kind == EventKind::kUnparked) {
        // The first word of a lane is that it wakes up: it was parked before.
        const std::uint64_t since = parked_since[event.lane] != kUnknown ? parked_since[event.lane]
                                    : told[event.lane]                   ? event.time
                                                                         : first[event.lane];
        if (since < event.time) parked_[event.lane].push_back({since, event.time});
        parked_since[event.lane] = kUnknown;
        told[event.lane] = true;
      }
    }
    for (std::uint32_t lane = 0; lane < own; ++lane) {
      if (parked_since[lane] != kUnknown && parked_since[lane] < last[lane]) parked_[lane].push_back({parked_since[lane], last[lane]});
    }
    depth_.assign(invocations(), kNone);
    lane_index_.assign(run_.lanes(), kNone);
    std::vector<std::uint64_t> readies;
    std::vector<Run> runs;
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      if (first[lane] == kUnknown) continue;
      if (lane >= own + kLanesWithoutNames) {
        ++out_.lanes_not_told;
        continue;
      }
      lane_index_[lane] = static_cast<std::uint32_t>(out_.lanes.size());
      out_.lanes.emplace_back();
      Scheduling::Lane& is = out_.lanes.back();
      is.lane = lane;
      is.first_ns = first[lane];
      is.last_ns = last[lane];
      is.parks_known = lane < own && told[lane];
      split(lane, is);
      find_depths(lane, is, readies);
      runs.clear();
      for (const std::uint32_t at : run_.on_lane[lane]) {
        if (!run_.is_span(at)) runs.push_back({duration_of(at), delay_[at], depth_[at]});
      }
      collect(runs, is.delays, is.durations, is.depths);
      is.runs = is.durations.n;
      timeline(lane, is);
    }
  }

  /// Busy, else parked, else in a pause, else neither.
  void split(std::uint32_t lane, Scheduling::Lane& is) const {
    for (const Execution::Segment& segment : run_.segments_of(lane)) is.busy_ns += segment.end - segment.start;
    const auto& parked = parked_[lane];
    for (const Execution::Pause& stretch : parked) {
      is.parked_ns += stretch.end - stretch.start - run_.busy(lane, stretch.start, stretch.end);
    }
    std::size_t next = 0;
    for (const Execution::Pause& pause : run_.pauses_of(lane)) {
      const std::uint64_t start = std::max(pause.start, is.first_ns), end = std::min(pause.end, is.last_ns);
      if (start >= end) continue;
      std::uint64_t free = end - start - run_.busy(lane, start, end);
      while (next < parked.size() && parked[next].end <= start) ++next;
      for (std::size_t at = next; at < parked.size() && parked[at].start < end; ++at) {
        const std::uint64_t from = std::max(start, parked[at].start), to = std::min(end, parked[at].end);
        if (from < to) free -= to - from - run_.busy(lane, from, to);
      }
      is.paused_ns += free;
    }
    is.neither_ns = is.window() - is.busy_ns - is.parked_ns - is.paused_ns;
  }

  /// The queue at the start of each run: the counter's last word before it; else how many that ran here later were ready.
  void find_depths(std::uint32_t lane, Scheduling::Lane& is, std::vector<std::uint64_t>& readies) {
    const auto on_lane = run_.on_lane[lane];
    const auto& queue = queue_of_lane_[lane];
    is.depths_recorded = !queue.empty();
    if (is.depths_recorded) {
      std::size_t next = 0;
      for (const std::uint32_t at : on_lane) {
        while (next < queue.size() && queue[next].time <= run_.start(at)) ++next;
        if (next != 0) depth_[at] = clamp_depth(queue[next - 1].value);
      }
      return;
    }
    readies.clear();
    for (const std::uint32_t at : on_lane) {
      if (delay_[at] != kUnknown) readies.push_back(run_.ready[at]);
    }
    if (!std::is_sorted(readies.begin(), readies.end())) std::sort(readies.begin(), readies.end());
    std::size_t ready = 0;
    std::uint64_t started = 0;
    for (const std::uint32_t at : on_lane) {
      while (ready < readies.size() && readies[ready] <= run_.start(at)) ++ready;
      if (delay_[at] == kUnknown) continue;
      ++started;  // it has left the queue
      depth_[at] = clamp_depth(ready - started);
    }
  }
  [[nodiscard]] static std::uint32_t clamp_depth(std::uint64_t depth) noexcept {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(depth, kNone - 1));
  }

  struct Run {
    std::uint64_t duration;
    std::uint64_t delay;  // kUnknown: not known
    std::uint32_t depth;  // kNone: not known
  };
  void collect(std::span<const Run> runs, Durations& delays, Durations& durations, Durations& depths) {
    for (std::vector<std::uint64_t>& scratch : scratch_) scratch.clear();
    for (const Run& run : runs) {
      scratch_[0].push_back(run.duration);
      if (run.delay != kUnknown) scratch_[1].push_back(run.delay);
      if (run.depth != kNone) scratch_[2].push_back(run.depth);
    }
    durations = durations_of(scratch_[0]);
    delays = durations_of(scratch_[1]);
    depths = durations_of(scratch_[2]);
  }

  void timeline(std::uint32_t lane, Scheduling::Lane& is) const {
    const std::uint64_t span = model_.last_time - model_.first_time;
    const std::uint32_t buckets = std::min<std::uint32_t>(settings_.timeline_buckets, 10'000);
    if (span == 0 || buckets == 0) return;
    is.busy_permille.resize(buckets);
    std::uint64_t from = model_.first_time;
    for (std::uint32_t bucket = 0; bucket < buckets; ++bucket) {
      const std::uint64_t to = model_.first_time + span / buckets * (bucket + 1) + span % buckets * (bucket + 1) / buckets;
      is.busy_permille[bucket] = static_cast<std::uint16_t>(permille(run_.busy(lane, from, to), to - from));
      from = to;
    }
  }

  [[nodiscard]] static std::uint32_t permille(std::uint64_t part, std::uint64_t whole) noexcept { return report::permille(part, whole); }

  // -- locations ------------------------------------------------------------------------------------------------------

  void find_locations() {
    const auto entries = static_cast<std::uint32_t>(where_.entries.size());
    at_location_.build(entries, invocations(), [&](std::uint32_t at) { return run_.is_span(at) ? kNone : location_of(at); });
    location_index_.assign(entries, kNone);
    for (std::uint32_t entry = 0; entry < entries; ++entry) {
      if (at_location_[entry].empty()) continue;
      location_index_[entry] = static_cast<std::uint32_t>(out_.locations.size());
      out_.locations.emplace_back();
      out_.locations.back().location = entry;
      out_.locations.back().runs = at_location_[entry].size();
    }
    // In order of time, which is in order of memory; each location's values go to where it has its own.
    std::vector<std::uint32_t> next(at_location_.first);
    std::vector<Run> runs(at_location_.items.size());
    for (std::uint32_t at = 0; at < invocations(); ++at) {
      if (run_.is_span(at)) continue;
      const std::uint32_t entry = location_of(at);
      Scheduling::Location& is = out_.locations[location_index_[entry]];
      is.busy_ns += run_.self[at];
      if (run_.previous[at] == kNone) ++is.tasks;
      const std::uint32_t wake = model_.invocations[at].wake;
      if (wake != kNone && model_.wakes[wake].by == run_.resource_of(at) && model_.wakes[wake].actor == Actor::kInvocation) ++is.self_wakes;
      runs[next[entry]++] = {duration_of(at), delay_[at], depth_[at]};
    }
    for (Scheduling::Location& is : out_.locations) {
      collect(std::span<const Run>(runs.data() + at_location_.first[is.location], is.runs), is.delays, is.durations, is.depths);
      out_.self_wakes += is.self_wakes;
    }
    std::sort(out_.locations.begin(), out_.locations.end(), [](const Scheduling::Location& a, const Scheduling::Location& b) {
      return a.busy_ns != b.busy_ns ? a.busy_ns > b.busy_ns : a.location < b.location;
    });
    for (std::uint32_t at = 0; at < out_.locations.size(); ++at) location_index_[out_.locations[at].location] = at;
  }

  void find_pools() {
    std::vector<std::string> names;
    std::vector<std::uint32_t> sources;
    for (std::uint32_t at = 0; at < out_.lanes.size(); ++at) {
      const std::uint32_t lane = out_.lanes[at].lane;
      if (lane >= model_.lanes.size()) continue;
      const TraceModel::Lane& of = model_.lanes[lane];
      std::string name;
      for (const char c : model_.text(of.name)) {
        if (c < '0' || c > '9') name += c;
      }
      while (!name.empty() && (name.back() == ' ' || name.back() == '-' || name.back() == '#' || name.back() == '_')) name.pop_back();
      std::size_t pool = 0;
      while (pool < names.size() && (names[pool] != name || sources[pool] != of.source)) ++pool;
      if (pool == names.size()) {
        names.push_back(name);
        sources.push_back(of.source);
        out_.pools.emplace_back();
        out_.pools.back().name = name.empty() ? "lanes" : name;
      }
      out_.pools[pool].lanes.push_back(at);
    }
    for (Scheduling::Pool& pool : out_.pools) {
      std::uint64_t from = kUnknown, to = 0;
      for (const std::uint32_t at : pool.lanes) {
        from = std::min(from, out_.lanes[at].first_ns);
        to = std::max(to, out_.lanes[at].last_ns);
      }
      pool.least_permille = 1000;
      for (const std::uint32_t at : pool.lanes) {
        const std::uint32_t share = permille(out_.lanes[at].busy_ns, to - from);
        pool.least_permille = std::min(pool.least_permille, share);
        pool.most_permille = std::max(pool.most_permille, share);
      }
      if (pool.lanes.empty()) pool.least_permille = 0;
    }
  }

  // -- who blocked whom -----------------------------------------------------------------------------------------------

  void explain_delays() {
    // The longest, explained one by one.
    std::vector<std::uint32_t> longest;
    for (std::uint32_t at = 0; at < invocations(); ++at) {
      if (delay_[at] == kUnknown || delay_[at] <= settings_.explain_over_ns) continue;
      ++out_.over_limit;
      out_.over_limit_ns += delay_[at];
      longest.push_back(at);
    }
    delayed_ = longest;
    const auto worse = [&](std::uint32_t a, std::uint32_t b) { return delay_[a] != delay_[b] ? delay_[a] > delay_[b] : a < b; };
    const std::size_t kept = std::min<std::size_t>(longest.size(), settings_.explained);
    std::partial_sort(longest.begin(), longest.begin() + static_cast<std::ptrdiff_t>(kept), longest.end(), worse);
    longest.resize(kept);
    blame_.assign(where_.entries.size(), {});
    for (const std::uint32_t at : longest) explain(at);
    // All of them, summed up: each stretch of a lane counts once for each that waits for it.
    RowIndex by_lane;
    by_lane.build(run_.lanes(), delayed_.size(), [&](std::uint32_t n) { return run_.lane[delayed_[n]]; });
    std::vector<Step> steps;
    waiting_.resize(run_.lanes());
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      if (by_lane[lane].empty()) continue;
      steps.clear();
      for (const std::uint32_t n : by_lane[lane]) {
        const std::uint32_t at = delayed_[n];
        steps.push_back({run_.ready[at], 1});
        steps.push_back({run_.start(at), kUnknown});  // -1
      }
      std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.time < b.time; });
      std::vector<Step>& waiting = waiting_[lane];  // from each time on so many wait
      std::uint64_t count = 0;
      for (std::size_t at = 0; at < steps.size(); ++at) {
        count += steps[at].value;
        if (at + 1 == steps.size() || steps[at + 1].time != steps[at].time) waiting.push_back({steps[at].time, count});
      }
      std::size_t next = 0;
      for (const Execution::Segment& segment : run_.segments_of(lane)) {
        while (next + 1 < waiting.size() && waiting[next + 1].time <= segment.start) ++next;
        std::uint64_t blamed = 0;
        for (std::size_t at = next; at < waiting.size() && waiting[at].time < segment.end; ++at) {
          const std::uint64_t from = std::max(segment.start, waiting[at].time);
          const std::uint64_t to = at + 1 < waiting.size() ? std::min(segment.end, waiting[at + 1].time) : segment.end;
          if (from < to) blamed += (to - from) * waiting[at].value;
        }
        if (blamed == 0) continue;
        const std::uint32_t index = location_index_[location_of(segment.owner)];
        if (index != kNone) out_.locations[index].blamed_ns += blamed;
      }
    }
  }

  void explain(std::uint32_t at) {
    Scheduling::Blocked blocked;
    blocked.invocation = at;
    blocked.lane = run_.lane[at];
    blocked.ready_ns = run_.ready[at];
    blocked.delay_ns = delay_[at];
    blocked.moved = run_.previous[at] != kNone && run_.lane[run_.previous[at]] != run_.lane[at];
    const std::uint64_t from = run_.ready[at], to = run_.start(at);
    const std::uint32_t lane = blocked.lane;
    std::vector<std::uint32_t> touched;
    std::uint32_t last_owner = kNone;
    std::uint64_t busy = 0;
    for (std::uint32_t s = run_.segment_after(lane, from); s < run_.segment_first[lane + 1] && run_.segments[s].start < to; ++s) {
      const Execution::Segment& segment = run_.segments[s];
      const std::uint64_t ns = std::min(segment.end, to) - std::max(segment.start, from);
      const std::uint32_t location = location_of(segment.owner);
      Scheduling::Blocker& by = blame_[location];
      if (by.runs == 0) touched.push_back(location);
      by.location = location;
      by.ns += ns;
      if (segment.owner != last_owner) ++by.runs;
      last_owner = segment.owner;
      busy += ns;
    }
    for (const std::uint32_t location : touched) {
      blocked.blockers.push_back(blame_[location]);
      blame_[location] = {};
    }
    std::sort(blocked.blockers.begin(), blocked.blockers.end(), [](const Scheduling::Blocker& a, const Scheduling::Blocker& b) {
      return a.ns != b.ns ? a.ns > b.ns : a.location < b.location;
    });
    while (blocked.blockers.size() > settings_.blockers_listed) {
      blocked.others_ns += blocked.blockers.back().ns;
      blocked.blockers.pop_back();
    }
    const auto within = [&](std::uint64_t a, std::uint64_t b) { return a < b ? b - a - run_.busy(lane, a, b) : 0; };
    const auto& parked = parked_[lane];
    const auto first_parked = std::upper_bound(parked.begin(), parked.end(), from,
                                               [](std::uint64_t time, const Execution::Pause& span) { return time < span.end; });
    for (auto span = first_parked; span != parked.end() && span->start < to; ++span) {
      blocked.parked_ns += within(std::max(from, span->start), std::min(to, span->end));
    }
    for (const Execution::Pause& pause : run_.pauses_of(lane)) {
      if (pause.end <= from || pause.start >= to) continue;
      const std::uint64_t start = std::max(from, pause.start), end = std::min(to, pause.end);
      std::uint64_t free = within(start, end);
      for (auto span = first_parked; span != parked.end() && span->start < end; ++span) {
        free -= within(std::max(start, span->start), std::min(end, span->end));
      }
      blocked.paused_ns += free;
    }
    blocked.idle_ns = blocked.delay_ns - busy - blocked.parked_ns - blocked.paused_ns;
    out_.blocked.push_back(std::move(blocked));
  }

  // -- samples --------------------------------------------------------------------------------------------------------

  void attribute_samples() {
    struct Seen {
      std::uint64_t key;   // location, kind, state
      std::uint32_t stack;
      bool delayed;
    };
    std::vector<Seen> seen;
    seen.reserve(model_.samples.size());
    RowIndex by_lane;
    by_lane.build(run_.lanes(), model_.samples.size(), [&](std::uint32_t at) { return model_.samples[at].lane; });
    const auto key_of = [](std::uint32_t location, SampleKind kind, Scheduling::SampleState state) {
      return std::uint64_t{location} << 8 | static_cast<std::uint64_t>(kind) << 4 | static_cast<std::uint64_t>(state);
    };
    for (const TraceModel::Sample& sample : model_.samples) {
      if (sample.lane != kNone) continue;
      ++out_.samples_without_lane;
      if (sample.resource == kNone) continue;
      seen.push_back({key_of(where_.of[sample.resource], sample.kind, Scheduling::SampleState::kRunning), sample.stack, false});
    }
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      const auto segments = run_.segments_of(lane);
      const auto& parked = parked_[lane];
      const auto& waiting = waiting_[lane];
      std::size_t segment = 0, park = 0, wait = 0;
      for (const std::uint32_t at : by_lane[lane]) {
        const TraceModel::Sample& sample = model_.samples[at];
        while (segment < segments.size() && segments[segment].end <= sample.time) ++segment;
        while (park < parked.size() && parked[park].end <= sample.time) ++park;
        while (wait < waiting.size() && waiting[wait].time <= sample.time) ++wait;
        // Who held the lane then; where the trace has not seen that, whom the sampler names.
        std::uint32_t resource = sample.resource;
        Scheduling::SampleState state = Scheduling::SampleState::kNeither;
        if (segment < segments.size() && segments[segment].start <= sample.time) {
          resource = run_.resource_of(segments[segment].owner);
          state = Scheduling::SampleState::kRunning;
        } else if (resource != kNone) {
          state = Scheduling::SampleState::kRunning;
        } else if (park < parked.size() && parked[park].start <= sample.time) {
          state = Scheduling::SampleState::kParked;
        }
        const bool delayed = wait != 0 && waiting[wait - 1].value != 0;
        seen.push_back({key_of(resource == kNone ? kNone : where_.of[resource], sample.kind, state), sample.stack, delayed});
      }
      for (Scheduling::Blocked& blocked : out_.blocked) {
        if (blocked.lane == lane) samples_of(blocked, by_lane[lane]);
      }
    }
    std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.key != b.key ? a.key < b.key : a.stack < b.stack; });
    for (const Seen& one : seen) {
      const auto location = static_cast<std::uint32_t>(one.key >> 8);
      const auto kind = static_cast<SampleKind>(one.key >> 4 & 0xf);
      const auto state = static_cast<Scheduling::SampleState>(one.key & 0xf);
      if (out_.samples.empty() || out_.samples.back().location != location || out_.samples.back().kind != kind ||
          out_.samples.back().state != state || out_.samples.back().stack != one.stack) {
        out_.samples.push_back({location, one.stack, kind, state, 0, 0});
      }
      ++out_.samples.back().count;
      if (one.delayed) ++out_.samples.back().while_delayed;
    }
    std::stable_sort(out_.samples.begin(), out_.samples.end(),
                     [](const Scheduling::SampleGroup& a, const Scheduling::SampleGroup& b) { return a.count > b.count; });
  }
  void samples_of(Scheduling::Blocked& blocked, std::span<const std::uint32_t> on_lane) const {
    auto at = std::lower_bound(on_lane.begin(), on_lane.end(), blocked.ready_ns,
                               [&](std::uint32_t sample, std::uint64_t time) { return model_.samples[sample].time < time; });
    std::vector<std::uint32_t> stacks;
    for (; at != on_lane.end() && model_.samples[*at].time < blocked.ready_ns + blocked.delay_ns; ++at) {
      stacks.push_back(model_.samples[*at].stack);
    }
    blocked.samples = stacks.size();
    std::sort(stacks.begin(), stacks.end());
    std::size_t most = 0;
    for (std::size_t from = 0, to = 0; from < stacks.size(); from = to) {
      while (to < stacks.size() && stacks[to] == stacks[from]) ++to;
      if (to - from <= most || stacks[from] == kNone) continue;
      most = to - from;
      blocked.top_stack = stacks[from];
    }
  }

  void count_wakes() {
    out_.wakes = model_.wakes.size();
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      const auto wakes = model_.wakes_by_resource[row];
      if (wakes.size() < 2) continue;
      for (std::size_t n = 0; n + 1 < wakes.size(); ++n) {
        if (model_.wakes[wakes[n]].invocation == kNone) ++out_.wakes_again;
      }
      // The last one is a wake again only if another that nothing has followed yet came before it.
      const std::uint32_t last = wakes.back();
      if (model_.wakes[last].invocation != kNone) continue;
      const auto all = model_.invocations_of(row);
      const std::uint64_t ran = all.empty() ? 0 : run_.start(all.back());
      if (model_.wakes[wakes[wakes.size() - 2]].time > ran || model_.wakes[last].time <= ran) ++out_.wakes_again;
    }
  }

  // -- diagnoses ------------------------------------------------------------------------------------------------------

  [[nodiscard]] static std::string number_text(std::uint64_t value) { return report::number_text(value); }
  [[nodiscard]] static std::string duration_text(std::uint64_t ns) { return report::duration_text(ns); }
  [[nodiscard]] std::string lane_text(std::uint32_t lane) const { return report::lane_text(model_, lane); }
  [[nodiscard]] const std::string& place(std::uint32_t location) const noexcept { return where_.entries[location].text; }
  void set_location(Finding& found, std::uint32_t location) const {
    found.location = where_.entries[location].frame;
    found.mute_key = found.id;
    found.mute_key += '|';
    found.mute_key += place(location);
  }
  /// Of many of a kind the first few; the last one of them says how many more there are.
  void keep(std::vector<Finding>& found) {
    for (Finding& one : found) finish(model_, one);
    sort_findings(model_, found);
    const std::size_t kept = std::min<std::size_t>(found.size(), settings_.findings_a_kind);
    if (kept != 0 && kept < found.size()) found[kept - 1].says("more of this kind", Evidence::Unit::kCount, found.size() - kept);
    for (std::size_t at = 0; at < kept; ++at) out_.findings.push_back(std::move(found[at]));
  }

  void diagnose_build_up() {
    std::vector<Finding> all;
    std::vector<std::uint64_t> scratch;
    std::vector<std::uint64_t> time_at(where_.entries.size(), 0);
    for (const Scheduling::Lane& lane : out_.lanes) {
      const auto rows = run_.on_lane[lane.lane];
      Finding open;
      std::uint64_t worst_p99 = 0, worst_depth = 0, busy = 0;
      std::size_t first_row = 0;
      const auto close = [&](std::size_t end_row) {
        if (open.id.empty()) return;
        const bool high = open.severity == Severity::kHigh;
        std::uint32_t busiest = kNone, longest = kNone;
        for (std::size_t n = first_row; n < end_row; ++n) {
          const std::uint32_t at = rows[n], location = location_of(at);
          time_at[location] += run_.self[at];
          if (busiest == kNone || time_at[location] > time_at[busiest]) busiest = location;
          if (longest == kNone || run_.self[at] > run_.self[longest]) longest = at;
        }
        const std::uint64_t most = busiest == kNone ? 0 : time_at[busiest];
        for (std::size_t n = first_row; n < end_row; ++n) time_at[location_of(rows[n])] = 0;
        const std::uint64_t span = open.end_ns - open.start_ns;
        const std::uint32_t share = permille(busy, span);
        open.summary = lane_text(lane.lane) + " had up to " + number_text(worst_depth) + " waiting and a p99 delay of " +
                       duration_text(worst_p99) + " in " + duration_text(span) + ", " + number_text((share + 5) / 10) + " % busy";
        open.says("p99 delay", Evidence::Unit::kNanoseconds, worst_p99);
        open.says("queue", Evidence::Unit::kCount, worst_depth);
        open.says("lane busy", Evidence::Unit::kPermille, share);
        if (!global_queue_.empty()) open.says("shared queue", Evidence::Unit::kCount, global_most(open.start_ns, open.end_ns));
        open.advice = high ? "More work is made ready here than one lane can run: spread it over the lanes, or shorten the runs of the location named."
                           : "Callbacks wait for the lane here: worth a look before the load grows.";
        open.confidence = lane.depths_recorded && !global_queue_.empty() ? Confidence::kHigh : Confidence::kMedium;
        if (longest != kNone) {
          open.resources = {run_.resource_of(longest)};
          open.invocations = {longest};
        }
        if (busiest != kNone) {
          set_location(open, busiest);
          open.says("ran most", place(busiest));
          open.says("ran most for", Evidence::Unit::kNanoseconds, most);
        }
        all.push_back(std::move(open));
        open = {};
      };
      const auto& queue = queue_of_lane_[lane.lane];
      std::size_t begin = 0, next_depth = 0;
      while (begin < rows.size()) {
        // A window lasts its time at least, and until it has runs enough for a p99.
        const std::uint64_t from = run_.start(rows[begin]);
        std::size_t end = begin;
        scratch.clear();
        std::uint64_t depth = 0;
        while (end < rows.size() && (run_.start(rows[end]) - from < settings_.window_ns || scratch.size() < settings_.window_min_runs)) {
          if (delay_[rows[end]] != kUnknown) scratch.push_back(delay_[rows[end]]);
          if (depth_[rows[end]] != kNone) depth = std::max<std::uint64_t>(depth, depth_[rows[end]]);
          ++end;
        }
        const std::uint64_t to = end < rows.size() ? run_.start(rows[end]) : std::max(run_.end(rows[end - 1]), from + 1);
        while (next_depth < queue.size() && queue[next_depth].time < to) {
          if (queue[next_depth].time >= from) depth = std::max(depth, queue[next_depth].value);
          ++next_depth;
        }
        const std::uint64_t p99 = durations_of(scratch).p99.value_or(0);
        const std::uint64_t ran = run_.busy(lane.lane, from, to);
        Severity severity = Severity::kNote;
        if (p99 > settings_.look_p99_ns || depth > settings_.look_queue) severity = Severity::kLow;
        if (p99 > settings_.build_up_p99_ns && depth > settings_.build_up_queue &&
            permille(ran, to - from) > settings_.build_up_busy_percent * 10 && global_most(from, to) == 0) {
          severity = Severity::kHigh;
        }
        if (!open.id.empty() && open.severity != severity) close(begin);
        if (severity != Severity::kNote) {
          if (open.id.empty()) {
            open.id = "queue-build-up";
            open.severity = severity;
            open.lane = lane.lane < model_.lanes.size() ? lane.lane : kNone;
            open.start_ns = from;
            worst_p99 = worst_depth = busy = 0;
            first_row = begin;
          }
          open.end_ns = to;
          worst_p99 = std::max(worst_p99, p99);
          worst_depth = std::max(worst_depth, depth);
          busy += ran;
        }
        begin = end;
      }
      close(rows.size());
    }
    keep(all);
  }
  /// The longest that the shared queue was; 0 where nobody counted it.
  [[nodiscard]] std::uint64_t global_most(std::uint64_t from, std::uint64_t to) const noexcept {
    auto at = std::lower_bound(global_queue_.begin(), global_queue_.end(), from,
                               [](const Step& step, std::uint64_t time) { return step.time < time; });
    std::uint64_t most = 0;
    for (; at != global_queue_.end() && at->time < to; ++at) most = std::max(most, at->value);
    return most;
  }

  // -- priorities

  [[nodiscard]] static bool priority_of_note(const TraceModel::Note& note, std::int32_t& priority) noexcept {
    if (note.kind == ValueKind::kString) {
      if (note.text == "background" || note.text == "low") priority = 0;
      else if (note.text == "normal" || note.text == "default") priority = 1;
      else if (note.text == "high") priority = 2;
      else if (note.text == "critical") priority = 3;
      else return false;
      return true;
    }
    if (note.kind == ValueKind::kInt || note.kind == ValueKind::kUint) {
      const auto value = static_cast<std::int64_t>(note.bits);
      priority = static_cast<std::int32_t>(std::clamp<std::int64_t>(value, -1'000'000, 1'000'000));
      return true;
    }
    return false;
  }

  void diagnose_inversion() {
    if (delayed_.empty()) return;
    std::vector<std::int32_t> priority(model_.resources(), 0);
    std::vector<std::int32_t> of_location(where_.entries.size(), 0);
    std::vector<bool> by_location(where_.entries.size(), false);
    for (std::size_t entry = 0; entry < where_.entries.size(); ++entry) {
      for (const LocationPriority& rule : settings_.priorities) {
        if (rule.contains.empty() || where_.entries[entry].text.find(rule.contains) == std::string::npos) continue;
        of_location[entry] = rule.priority;
        by_location[entry] = true;
        break;
      }
    }
    std::vector<std::int32_t> noted(model_.resources(), 0);
    std::vector<bool> has_note(model_.resources(), false);
    for (const TraceModel::Note& note : model_.notes) {
      if (model_.text(note.key) != "priority") continue;
      std::int32_t value = 0;
      if (!priority_of_note(note, value)) continue;
      noted[note.resource] = value;
      has_note[note.resource] = true;
    }
    std::vector<bool> told(model_.resources(), false);
    std::vector<std::int32_t> levels;
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      const std::uint32_t parent = run_.normal.parent[row];
      if (has_note[row]) {
        priority[row] = noted[row];
        told[row] = true;
      } else if (by_location[where_.of[row]]) {
        priority[row] = of_location[where_.of[row]];
        told[row] = true;
      } else if (parent != kNone && told[parent]) {
        priority[row] = priority[parent];
        told[row] = true;
      } else {
        priority[row] = run_.request[row] == kNone ? 0 : 1;
      }
      if (model_.invocations_of(row).empty()) continue;
      const auto place_of = std::lower_bound(levels.begin(), levels.end(), priority[row]);
      if ((place_of == levels.end() || *place_of != priority[row]) && levels.size() < 64) levels.insert(place_of, priority[row]);
    }
    if (levels.size() < 2) return;

    RowIndex by_lane;
    by_lane.build(run_.lanes(), delayed_.size(), [&](std::uint32_t n) { return run_.lane[delayed_[n]]; });
    struct Case {
      std::uint32_t location = kNone;
      std::uint64_t count = 0;
      std::uint64_t ns = 0;
      std::uint32_t worst = kNone;
      std::uint64_t worst_ns = 0;
    };
    std::vector<Case> cases(where_.entries.size());
    std::vector<std::uint64_t> below;
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      if (by_lane[lane].empty()) continue;
      const auto segments = run_.segments_of(lane);
      for (std::size_t level = 1; level < levels.size(); ++level) {
        below.assign(segments.size() + 1, 0);
        bool filled = false;
        for (const std::uint32_t n : by_lane[lane]) {
          const std::uint32_t at = delayed_[n];
          if (priority[run_.resource_of(at)] != levels[level]) continue;
          if (!filled) {
            for (std::size_t s = 0; s < segments.size(); ++s) {
              const bool less = priority[run_.resource_of(segments[s].owner)] < levels[level];
              below[s + 1] = below[s] + (less ? segments[s].end - segments[s].start : 0);
            }
            filled = true;
          }
          const auto until = [&](std::uint64_t time) {
            const std::size_t s = run_.segment_after(lane, time) - run_.segment_first[lane];
            if (s == segments.size() || time <= segments[s].start || below[s + 1] == below[s]) return below[s];
            return below[s] + (time - segments[s].start);
          };
          const std::uint64_t lost = until(run_.start(at)) - until(run_.ready[at]);
          if (lost * 100 <= delay_[at] * settings_.inversion_percent) continue;
          Case& one = cases[location_of(at)];
          one.location = location_of(at);
          ++one.count;
          one.ns += lost;
          if (one.worst == kNone || lost > one.worst_ns || (lost == one.worst_ns && at < one.worst)) {
            one.worst = at;
            one.worst_ns = lost;
          }
        }
      }
    }
    std::vector<Finding> all;
    for (const Case& one : cases) {
      if (one.count == 0) continue;
      const std::uint32_t lane = run_.lane[one.worst];
      // Who of the less important held the lane for longest, in the worst case.
      std::uint32_t blocker = kNone;
      std::uint64_t blocker_ns = 0;
      const std::uint64_t from = run_.ready[one.worst], to = run_.start(one.worst);
      for (std::uint32_t s = run_.segment_after(lane, from); s < run_.segment_first[lane + 1] && run_.segments[s].start < to; ++s) {
        const Execution::Segment& segment = run_.segments[s];
        if (priority[run_.resource_of(segment.owner)] >= priority[run_.resource_of(one.worst)]) continue;
        const std::uint64_t ns = std::min(segment.end, to) - std::max(segment.start, from);
        if (ns > blocker_ns) {
          blocker_ns = ns;
          blocker = segment.owner;
        }
      }
      Finding found;
      found.id = "priority-inversion";
      found.severity = Severity::kHigh;
      found.confidence = Confidence::kHigh;
      found.lane = lane < model_.lanes.size() ? lane : kNone;
      found.start_ns = from;
      found.end_ns = to;
      found.request = run_.request[run_.resource_of(one.worst)];
      found.resources = {run_.resource_of(one.worst)};
      found.invocations = {one.worst};
      if (blocker != kNone) {
        found.resources.push_back(run_.resource_of(blocker));
        found.invocations.push_back(blocker);
        set_location(found, location_of(blocker));
      }
      found.summary = place(one.location) + " waited " + duration_text(delay_[one.worst]) + " while less important work ran";
      if (blocker != kNone) found.summary += ", of it " + duration_text(blocker_ns) + " in " + place(location_of(blocker));
      found.says("delayed", Evidence::Unit::kCount, one.count);
      found.says("lost to less important work", Evidence::Unit::kNanoseconds, one.ns);
      found.says("worst delay", Evidence::Unit::kNanoseconds, delay_[one.worst]);
      found.says("delayed location", place(one.location));
      found.advice = "Run the background work on lanes of its own, or let it yield more often.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_cpu_bound() {
    std::uint64_t busy = 0;
    for (const Scheduling::Lane& lane : out_.lanes) busy += lane.busy_ns;
    std::vector<Finding> all;
    for (const Scheduling::Location& is : out_.locations) {
      if (is.runs < settings_.cpu_bound_min_runs || is.busy_ns / is.runs <= settings_.cpu_bound_run_ns) continue;
      if (is.delays.n != 0 && is.delays.p50 > settings_.cpu_bound_delay_ns) continue;
      if (permille(is.busy_ns, busy) < settings_.cpu_bound_min_percent * 10) continue;
      std::uint64_t on = 0, off = 0;
      std::uint32_t stack = kNone;
      for (const Scheduling::SampleGroup& group : out_.samples) {
        if (group.location != is.location || group.state != Scheduling::SampleState::kRunning) continue;
        (group.kind == SampleKind::kCpu ? on : off) += group.count;
        if (group.kind == SampleKind::kCpu && stack == kNone) stack = group.stack;
      }
      Finding found;
      found.id = "cpu-bound";
      found.severity = Severity::kMedium;
      // Samples of it off the processor say that it rather blocks; without any sample nobody knows.
      found.confidence = off > on && on + off >= 10 ? Confidence::kLow : on >= 10 ? Confidence::kHigh : Confidence::kMedium;
      set_location(found, is.location);
      std::uint32_t longest = kNone;
      for (const std::uint32_t at : at_location_[is.location]) {
        if (longest == kNone || run_.self[at] > run_.self[longest]) longest = at;
      }
      found.resources = {run_.resource_of(longest)};
      found.invocations = {longest};
      found.start_ns = run_.start(longest);
      found.end_ns = run_.end(longest);
      found.summary = place(is.location) + " ran " + number_text(is.runs) + " times for " + duration_text(is.busy_ns / is.runs) +
                      " on average, " + duration_text(is.busy_ns) + " in all";
      found.says("runs", Evidence::Unit::kCount, is.runs);
      found.says("mean run", Evidence::Unit::kNanoseconds, is.busy_ns / is.runs);
      found.says("longest run", Evidence::Unit::kNanoseconds, run_.self[longest]);
      found.says("of busy time", Evidence::Unit::kPermille, permille(is.busy_ns, busy));
      if (is.delays.n != 0) found.says("median delay", Evidence::Unit::kNanoseconds, is.delays.p50);
      if (on + off != 0) {
        found.says("samples on the processor", Evidence::Unit::kCount, on);
        found.says("samples off the processor", Evidence::Unit::kCount, off);
      }
      if (stack != kNone && model_.stacks[stack].count != 0) {
        found.says("most sampled", location_text(model_, model_.frames_of(stack).front()));
      }
      found.advice = "This computes rather than waits: move it to a pool for computation, or cut it into pieces that yield.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_imbalance() {
    std::vector<Finding> all;
    for (const Scheduling::Pool& pool : out_.pools) {
      if (pool.lanes.size() < 2 || pool.most_permille - pool.least_permille <= settings_.imbalance_percent * 10) continue;
      std::uint64_t from = kUnknown, to = 0;
      std::uint32_t most = pool.lanes.front(), least = pool.lanes.front();
      for (const std::uint32_t at : pool.lanes) {
        from = std::min(from, out_.lanes[at].first_ns);
        to = std::max(to, out_.lanes[at].last_ns);
        if (out_.lanes[at].busy_ns > out_.lanes[most].busy_ns) most = at;
        if (out_.lanes[at].busy_ns < out_.lanes[least].busy_ns) least = at;
      }
      if (to - from < settings_.imbalance_min_ns) continue;
      Finding found;
      found.id = "imbalance";
      found.severity = Severity::kMedium;
      found.confidence = coverage_.lost_within(from, to) == 0 ? Confidence::kHigh : Confidence::kLow;
      found.lane = out_.lanes[most].lane;
      found.start_ns = from;
      found.end_ns = to;
      found.summary = lane_text(out_.lanes[most].lane) + " was busy " + number_text((pool.most_permille + 5) / 10) + " % of the time, " +
                      lane_text(out_.lanes[least].lane) + " " + number_text((pool.least_permille + 5) / 10) + " %";
      found.says("lanes", Evidence::Unit::kCount, pool.lanes.size());
      found.says("busiest", Evidence::Unit::kPermille, pool.most_permille);
      found.says("idlest", Evidence::Unit::kPermille, pool.least_permille);
      // What the busiest lane ran most.
      std::vector<std::uint64_t> time_at(where_.entries.size(), 0);
      std::uint32_t busiest = kNone;
      for (const std::uint32_t at : run_.on_lane[out_.lanes[most].lane]) {
        const std::uint32_t location = location_of(at);
        time_at[location] += run_.self[at];
        if (busiest == kNone || time_at[location] > time_at[busiest]) busiest = location;
      }
      if (busiest != kNone) {
        found.says("ran most", place(busiest));
        found.location = where_.entries[busiest].frame;
      }
      found.mute_key = std::string("imbalance|") + pool.name;
      found.advice = "Work stays on the lane that made it: spread what the busiest lane runs, or let idle lanes take it.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_self_wakes() {
    std::vector<Finding> all;
    for (const Scheduling::Location& is : out_.locations) {
      if (is.self_wakes < settings_.self_wake_min || is.self_wakes * 100 <= is.runs * settings_.self_wake_percent) continue;
      Finding found;
      found.id = "self-wakes";
      found.severity = Severity::kMedium;
      found.confidence = Confidence::kHigh;
      set_location(found, is.location);
      std::uint32_t most = kNone;
      std::uint64_t most_count = 0, count = 0;
      std::uint32_t last = kNone;
      // The resource with the most of them: its runs need not be next to each other.
      std::vector<std::uint32_t> woken;
      for (const std::uint32_t at : at_location_[is.location]) {
        const std::uint32_t wake = model_.invocations[at].wake;
        if (wake != kNone && model_.wakes[wake].by == run_.resource_of(at)) woken.push_back(run_.resource_of(at));
      }
      std::sort(woken.begin(), woken.end());
      for (const std::uint32_t row : woken) {
        count = row == last ? count + 1 : 1;
        last = row;
        if (count > most_count) {
          most_count = count;
          most = row;
        }
      }
      if (most != kNone) found.resources = {most};
      found.start_ns = model_.first_time;
      found.end_ns = model_.last_time;
      found.summary = place(is.location) + " woke itself for " + number_text(is.self_wakes) + " of its " + number_text(is.runs) + " runs";
      found.says("self-wakes", Evidence::Unit::kCount, is.self_wakes);
      found.says("runs", Evidence::Unit::kCount, is.runs);
      found.says("mean run", Evidence::Unit::kNanoseconds, is.busy_ns / is.runs);
      found.says("most of one task", Evidence::Unit::kCount, most_count);
      found.advice = "A task that wakes itself polls: let it wait for what it polls for, or do more in each run.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_lost_wakes() {
    std::vector<Finding> all;
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      if (!run_.open(row)) continue;
      const auto runs = model_.invocations_of(row);
      if (!runs.empty() && (runs_once(static_cast<TypeId>(model_.type[row])) || !model_.invocations[runs.back()].ended)) continue;
      const std::uint64_t ran = runs.empty() ? 0 : run_.end(runs.back());
      const auto wakes = model_.wakes_by_resource[row];
      std::uint64_t since = kUnknown;
      std::uint32_t waker = kNone;
      Confidence confidence = Confidence::kHigh;
      if (!wakes.empty()) {
        const TraceModel::Wake& last = model_.wakes[wakes.back()];
        if (last.invocation == kNone && (runs.empty() || last.time > run_.start(runs.back()))) {
          since = std::max(last.time, ran);
          waker = last.by;
        }
      } else if (runs.empty() && model_.has(row, ResourceFlag::kCreated)) {
        // Everything that it awaits is settled, and nobody has run it.
        std::uint64_t settled = 0;
        bool any = false, every = true;
        for (const std::uint32_t link : model_.links_by_effect[row]) {
          if (model_.links[link].kind != LinkKind::kAwaits) continue;
          const std::uint32_t of = model_.links[link].cause;
          any = true;
          if (of == kNone || !run_.settle_known[of]) {
            every = false;
            break;
          }
          settled = std::max({settled, run_.settled[of], model_.links[link].time});
        }
        if (any && every) {
          since = settled;
          confidence = Confidence::kMedium;
        }
      }
      // After its request's end nobody would have recorded its run.
      const std::uint64_t until = run_.request[row] == kNone ? model_.last_time : run_.requests[run_.request[row]].end;
      if (since == kUnknown || since >= until || until - since <= settings_.lost_wake_ns) continue;
      if (coverage_.lost_within(since, until) != 0) confidence = Confidence::kLow;
      Finding found;
      found.id = "lost-wake";
      found.severity = Severity::kHigh;
      found.confidence = confidence;
      found.request = run_.request[row];
      found.start_ns = since;
      found.end_ns = until;
      found.resources = {row};
      if (waker != kNone) found.resources.push_back(waker);
      set_location(found, where_.of[row]);
      found.summary = place(where_.of[row]) + " was made ready and never ran in the " + duration_text(until - since) + " that followed";
      found.says("waited", Evidence::Unit::kNanoseconds, until - since);
      found.advice = "Its wake went to nobody: look for a waker that is dropped, a queue that is not drained, or a lane that stopped.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  void diagnose_never_yielded() {
    // Only a type that is seen to be suspended and resumed can fail to.
    std::vector<bool> resumes(model_.type_names.size() + 1, false);
    const auto type_of = [&](std::uint32_t row) {
      return model_.has(row, ResourceFlag::kCreated) ? std::min<std::size_t>(model_.type[row], model_.type_names.size())
                                                     : model_.type_names.size();
    };
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      if (model_.invocations_of(row).size() > 1) resumes[type_of(row)] = true;
    }
    std::vector<Finding> all;
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      const auto runs = model_.invocations_of(row);
      if (runs.size() != 1 || !model_.has(row, ResourceFlag::kCreated) || !resumes[type_of(row)]) continue;
      const std::uint32_t at = runs.front();
      if (run_.is_span(at) || run_.self[at] <= settings_.never_yielded_ns || run_.class_of(row) == TypeClass::kRoot) continue;
      const bool done = run_.settle_known[row] || model_.has(row, ResourceFlag::kDestroyed);
      if (!done && model_.invocations[at].ended) continue;  // it did yield, and waits
      Finding found;
      found.id = "never-yielded";
      found.severity = Severity::kMedium;
      found.confidence = model_.invocations[at].ended ? Confidence::kHigh : Confidence::kMedium;
      found.request = run_.request[row];
      found.lane = run_.lane[at] < model_.lanes.size() ? run_.lane[at] : kNone;
      found.start_ns = run_.start(at);
      found.end_ns = run_.end(at);
      found.resources = {row};
      found.invocations = {at};
      set_location(found, where_.of[row]);
      found.summary = place(where_.of[row]) + " ran for " + duration_text(run_.self[at]) + " from its first moment to its last without a break";
      found.says("ran", Evidence::Unit::kNanoseconds, run_.self[at]);
      found.advice = "It held its lane from beginning to end: let it yield, or run it on a pool for blocking work.";
      all.push_back(std::move(found));
    }
    keep(all);
  }

  const Execution& run_;
  const TraceModel& model_;
  const Locations& where_;
  const Coverage& coverage_;
  const SchedulingSettings& settings_;
  Scheduling out_;
  std::vector<std::uint64_t> scratch_[3];
  std::vector<std::uint64_t> delay_;         // by invocation
  std::vector<std::uint32_t> depth_;         // by invocation; kNone: not known
  std::vector<std::vector<Step>> queue_of_lane_;
  std::vector<Step> global_queue_;
  std::vector<std::vector<Execution::Pause>> parked_;
  std::vector<std::vector<Step>> waiting_;   // by lane: how many wait too long, from each moment on
  std::vector<std::uint32_t> lane_index_;
  std::vector<std::uint32_t> location_index_;
  RowIndex at_location_;
  std::vector<std::uint32_t> delayed_;       // invocations, in order of start
  std::vector<Scheduling::Blocker> blame_;   // by location, for one explanation at a time
};

}  // namespace detail

///   Cost      O(n log n) in invocations, samples and counters.
///   Errors    std::bad_alloc.
[[nodiscard]] inline Scheduling scheduling_of(const Execution& run, const Locations& where, const Coverage& coverage) {
  return detail::SchedulingMaker(run, where, coverage).make();
}

}  // namespace THENCE_ABI
}  // namespace thence
