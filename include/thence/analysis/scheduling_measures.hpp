// SPDX-License-Identifier: MIT
// scheduling_measures.hpp: the numbers of scheduling.hpp: who waited for how long, for which lane, behind whom.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/coverage.hpp"
#include "thence/analysis/durations.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/analysis/scheduling_result.hpp"
#include "thence/analysis/scheduling_settings.hpp"
#include "thence/config/version.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

/// Makes the numbers of a Scheduling, and keeps what its findings are made of.
///   Lifetime  what it is made from outlives it.
class SchedulingMeasures {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

  struct Step {
    std::uint64_t time;
    std::uint64_t value;
  };

  SchedulingMeasures(const Execution& run, const Locations& where, const Coverage& coverage)
      : run_(run), model_(run.model), where_(where), settings_(run.settings.scheduling) {
    result.missing = coverage.missing(NeedSet(Need::kWakes) | Need::kLanes | Need::kParks | Need::kQueueDepths | Need::kCpuSamples);
    find_delays();
    find_counters();
    find_lanes();
    find_locations();
    find_pools();
    explain_delays();
    attribute_samples();
    count_wakes();
  }

  [[nodiscard]] std::uint32_t location_of(std::uint32_t at) const noexcept { return where_.of[run_.resource_of(at)]; }

  Scheduling result;
  std::vector<std::uint64_t> delay;                ///< by invocation; kUnknown: nothing tells it
  std::vector<std::uint32_t> depth;                ///< of the queue at its start, by invocation; kNone: not known
  std::vector<std::vector<Step>> queue_of_lane;
  std::vector<Step> global_queue;
  std::vector<std::uint32_t> delayed;              ///< invocations delayed for longer than explain_over_ns, in order of start
  RowIndex at_location;                            ///< invocations by location

 private:
  static constexpr std::uint32_t kLanesWithoutNames = 64;

  [[nodiscard]] std::uint32_t invocations() const noexcept { return static_cast<std::uint32_t>(model_.invocations.size()); }
  [[nodiscard]] std::uint64_t duration_of(std::uint32_t at) const noexcept { return run_.end(at) - run_.start(at); }

  // -- delays ---------------------------------------------------------------------------------------------------------

  void find_delays() {
    delay.assign(invocations(), kUnknown);
    std::vector<std::uint64_t> delays, durations;
    delays.reserve(invocations());
    durations.reserve(invocations());
    for (std::uint32_t at = 0; at < invocations(); ++at) {
      if (run_.is_span(at)) continue;
      ++result.runs;
      durations.push_back(duration_of(at));
      result.duration_histogram.add(duration_of(at));
      const Execution::Cause& cause = run_.cause[at];
      const bool woken = model_.invocations[at].wake != kNone;
      const bool told = woken || (run_.ready_known[at] && !run_.normal.inferred && !cause.inferred && cause.kind != CauseOf::kUnknown &&
                                  cause.kind != CauseOf::kCalled && (cause.kind != CauseOf::kExternal || cause.resource != kNone));
      if (!told) {
        ++result.delays_unknown;
        continue;
      }
      delay[at] = run_.start(at) - run_.ready[at];
      delays.push_back(delay[at]);
      result.delay_histogram.add(delay[at]);
    }
    result.delays = durations_of(delays);
    result.durations = durations_of(durations);
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
    queue_of_lane.resize(run_.lanes());
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
        queue_of_lane[sample.lane].push_back(step);
      } else {
        global_queue.push_back(step);
        global.push_back(step.value);
      }
    }
    result.global_depths = durations_of(global);
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
    depth.assign(invocations(), kNone);
    lane_index_.assign(run_.lanes(), kNone);
    std::vector<std::uint64_t> readies;
    std::vector<Run> runs;
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      if (first[lane] == kUnknown) continue;
      if (lane >= own + kLanesWithoutNames) {
        ++result.lanes_not_told;
        continue;
      }
      lane_index_[lane] = static_cast<std::uint32_t>(result.lanes.size());
      result.lanes.emplace_back();
      Scheduling::Lane& is = result.lanes.back();
      is.lane = lane;
      is.first_ns = first[lane];
      is.last_ns = last[lane];
      is.parks_known = lane < own && told[lane];
      split(lane, is);
      find_depths(lane, is, readies);
      runs.clear();
      for (const std::uint32_t at : run_.on_lane[lane]) {
        if (!run_.is_span(at)) runs.push_back({duration_of(at), delay[at], depth[at]});
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
    const auto& queue = queue_of_lane[lane];
    is.depths_recorded = !queue.empty();
    if (is.depths_recorded) {
      std::size_t next = 0;
      for (const std::uint32_t at : on_lane) {
        while (next < queue.size() && queue[next].time <= run_.start(at)) ++next;
        if (next != 0) depth[at] = clamp_depth(queue[next - 1].value);
      }
      return;
    }
    readies.clear();
    for (const std::uint32_t at : on_lane) {
      if (delay[at] != kUnknown) readies.push_back(run_.ready[at]);
    }
    if (!std::is_sorted(readies.begin(), readies.end())) std::sort(readies.begin(), readies.end());
    std::size_t ready = 0;
    std::uint64_t started = 0;
    for (const std::uint32_t at : on_lane) {
      while (ready < readies.size() && readies[ready] <= run_.start(at)) ++ready;
      if (delay[at] == kUnknown) continue;
      ++started;  // it has left the queue
      depth[at] = clamp_depth(ready - started);
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
      is.busy_permille[bucket] = static_cast<std::uint16_t>(report::permille(run_.busy(lane, from, to), to - from));
      from = to;
    }
  }

  // -- locations ------------------------------------------------------------------------------------------------------

  void find_locations() {
    const auto entries = static_cast<std::uint32_t>(where_.entries.size());
    at_location.build(entries, invocations(), [&](std::uint32_t at) { return run_.is_span(at) ? kNone : location_of(at); });
    location_index_.assign(entries, kNone);
    for (std::uint32_t entry = 0; entry < entries; ++entry) {
      if (at_location[entry].empty()) continue;
      location_index_[entry] = static_cast<std::uint32_t>(result.locations.size());
      result.locations.emplace_back();
      result.locations.back().location = entry;
      result.locations.back().runs = at_location[entry].size();
    }
    // In order of time, which is in order of memory; each location's values go to where it has its own.
    std::vector<std::uint32_t> next(at_location.first);
    std::vector<Run> runs(at_location.items.size());
    for (std::uint32_t at = 0; at < invocations(); ++at) {
      if (run_.is_span(at)) continue;
      const std::uint32_t entry = location_of(at);
      Scheduling::Location& is = result.locations[location_index_[entry]];
      is.busy_ns += run_.self[at];
      if (run_.previous[at] == kNone) ++is.tasks;
      const std::uint32_t wake = model_.invocations[at].wake;
      if (wake != kNone && model_.wakes[wake].by == run_.resource_of(at) && model_.wakes[wake].actor == Actor::kInvocation) ++is.self_wakes;
      runs[next[entry]++] = {duration_of(at), delay[at], depth[at]};
    }
    for (Scheduling::Location& is : result.locations) {
      collect(std::span<const Run>(runs.data() + at_location.first[is.location], is.runs), is.delays, is.durations, is.depths);
      result.self_wakes += is.self_wakes;
    }
    std::sort(result.locations.begin(), result.locations.end(), [](const Scheduling::Location& a, const Scheduling::Location& b) {
      return a.busy_ns != b.busy_ns ? a.busy_ns > b.busy_ns : a.location < b.location;
    });
    for (std::uint32_t at = 0; at < result.locations.size(); ++at) location_index_[result.locations[at].location] = at;
  }

  void find_pools() {
    std::vector<std::string> names;
    std::vector<std::uint32_t> sources;
    for (std::uint32_t at = 0; at < result.lanes.size(); ++at) {
      const std::uint32_t lane = result.lanes[at].lane;
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
        result.pools.emplace_back();
        result.pools.back().name = name.empty() ? "lanes" : name;
      }
      result.pools[pool].lanes.push_back(at);
    }
    for (Scheduling::Pool& pool : result.pools) {
      std::uint64_t from = kUnknown, to = 0;
      for (const std::uint32_t at : pool.lanes) {
        from = std::min(from, result.lanes[at].first_ns);
        to = std::max(to, result.lanes[at].last_ns);
      }
      pool.least_permille = 1000;
      for (const std::uint32_t at : pool.lanes) {
        const std::uint32_t share = report::permille(result.lanes[at].busy_ns, to - from);
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
      if (delay[at] == kUnknown || delay[at] <= settings_.explain_over_ns) continue;
      ++result.over_limit;
      result.over_limit_ns += delay[at];
      longest.push_back(at);
    }
    delayed = longest;
    const auto worse = [&](std::uint32_t a, std::uint32_t b) { return delay[a] != delay[b] ? delay[a] > delay[b] : a < b; };
    const std::size_t kept = std::min<std::size_t>(longest.size(), settings_.explained);
    std::partial_sort(longest.begin(), longest.begin() + static_cast<std::ptrdiff_t>(kept), longest.end(), worse);
    longest.resize(kept);
    blame_.assign(where_.entries.size(), {});
    for (const std::uint32_t at : longest) explain(at);
    // All of them, summed up: each stretch of a lane counts once for each that waits for it.
    RowIndex by_lane;
    by_lane.build(run_.lanes(), delayed.size(), [&](std::uint32_t n) { return run_.lane[delayed[n]]; });
    std::vector<Step> steps;
    waiting_.resize(run_.lanes());
    for (std::uint32_t lane = 0; lane < run_.lanes(); ++lane) {
      if (by_lane[lane].empty()) continue;
      steps.clear();
      for (const std::uint32_t n : by_lane[lane]) {
        const std::uint32_t at = delayed[n];
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
        if (index != kNone) result.locations[index].blamed_ns += blamed;
      }
    }
  }

  void explain(std::uint32_t at) {
    Scheduling::Blocked blocked;
    blocked.invocation = at;
    blocked.lane = run_.lane[at];
    blocked.ready_ns = run_.ready[at];
    blocked.delay_ns = delay[at];
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
    result.blocked.push_back(std::move(blocked));
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
      ++result.samples_without_lane;
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
        const bool was_delayed = wait != 0 && waiting[wait - 1].value != 0;
        seen.push_back({key_of(resource == kNone ? kNone : where_.of[resource], sample.kind, state), sample.stack, was_delayed});
      }
      for (Scheduling::Blocked& blocked : result.blocked) {
        if (blocked.lane == lane) samples_of(blocked, by_lane[lane]);
      }
    }
    std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.key != b.key ? a.key < b.key : a.stack < b.stack; });
    for (const Seen& one : seen) {
      const auto location = static_cast<std::uint32_t>(one.key >> 8);
      const auto kind = static_cast<SampleKind>(one.key >> 4 & 0xf);
      const auto state = static_cast<Scheduling::SampleState>(one.key & 0xf);
      if (result.samples.empty() || result.samples.back().location != location || result.samples.back().kind != kind ||
          result.samples.back().state != state || result.samples.back().stack != one.stack) {
        result.samples.push_back({location, one.stack, kind, state, 0, 0});
      }
      ++result.samples.back().count;
      if (one.delayed) ++result.samples.back().while_delayed;
    }
    std::stable_sort(result.samples.begin(), result.samples.end(),
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
    result.wakes = model_.wakes.size();
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      const auto wakes = model_.wakes_by_resource[row];
      if (wakes.size() < 2) continue;
      for (std::size_t n = 0; n + 1 < wakes.size(); ++n) {
        if (model_.wakes[wakes[n]].invocation == kNone) ++result.wakes_again;
      }
      // The last one is a wake again only if another that nothing has followed yet came before it.
      const std::uint32_t last = wakes.back();
      if (model_.wakes[last].invocation != kNone) continue;
      const auto all = model_.invocations_of(row);
      const std::uint64_t ran = all.empty() ? 0 : run_.start(all.back());
      if (model_.wakes[wakes[wakes.size() - 2]].time > ran || model_.wakes[last].time <= ran) ++result.wakes_again;
    }
  }

  const Execution& run_;
  const TraceModel& model_;
  const Locations& where_;
  const SchedulingSettings& settings_;
  std::vector<std::uint64_t> scratch_[3];
  std::vector<std::vector<Execution::Pause>> parked_;
  std::vector<std::vector<Step>> waiting_;   // by lane: how many wait too long, from each moment on
  std::vector<std::uint32_t> lane_index_;
  std::vector<std::uint32_t> location_index_;
  std::vector<Scheduling::Blocker> blame_;   // by location, for one explanation at a time
};

}  // namespace detail

}  // namespace THENCE_ABI
}  // namespace thence
